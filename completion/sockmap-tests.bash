# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2207 # words are split at newlines alone
#
# Completion for test_progs and vmtest.sh: source this file, or let `make install` put it where bash
# looks. Options come from --help, and the names of subtests from --list, so that nothing is said twice.

# Options in the --help of COMMAND that begin with CUR.
_sockmap_options() {
	local IFS=$'\n'

	COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null |
		grep -oE -- '(^|[[:space:],])--?[[:alnum:]][[:alnum:]-]*' | grep -oE -- '-.*' | sort -u)" -- "$2"))
}

# The last element of the comma-separated list that the current word is, completed from stdin. Names may
# have blanks: what is typed of them has them quoted, and bash quotes the rest of what it takes for files.
_sockmap_list() {
	local cur=${1//\\/} before='' name

	[[ $cur != *,* ]] || before=${cur%,*},
	cur=${cur##*,}
	COMPREPLY=()
	while read -r name; do
		[[ $name != "$cur"* ]] || COMPREPLY+=("$before$name")
	done
	compopt -o filenames -o nospace 2>/dev/null
}

# Tests, and once a slash is there, subtests.
_sockmap_names() {
	local wanted='^[^/]*$'

	[[ ${2##*,} != */* ]] || wanted=/
	_sockmap_list "$2" < <("$1" --list 2>/dev/null | sed 's/^#[0-9/]* *//' | grep -- "$wanted")
}

_sockmap_features() {
	_sockmap_list "$2" < <(echo all && "$1" --help 2>/dev/null | sed '1,/^FEATURES /d' | tr -s ', ' '\n')
}

_sockmap_files() {
	local IFS=$'\n'

	COMPREPLY=($(compgen -f -- "$1"))
	compopt -o filenames 2>/dev/null
}

_test_progs() {
	local command=$1 cur=$2 prev=$3

	# --name=VALUE comes as three words.
	if [[ $cur == = ]]; then
		cur=''
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $prev in
	-t | --name | -a | --allow | -b | --name-blacklist | -d | --deny)
		if [[ $cur == @* ]]; then
			_sockmap_files "${cur#@}"
			COMPREPLY=("${COMPREPLY[@]/#/@}")
		else
			_sockmap_names "$command" "$cur"
		fi
		;;
	--require) _sockmap_features "$command" "$cur" ;;
	--matrix) COMPREPLY=($(compgen -W md -- "$cur")) ;;
	-J | --json-summary | --durations | --expect | --write-expect | --report) _sockmap_files "$cur" ;;
	*) _sockmap_options "$command" "$cur" ;;
	esac
}

# The program that vmtest.sh takes into the guest, unless --bin names another.
_sockmap_guest_program() {
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} != --bin ]] || { echo "${COMP_WORDS[i + 1]}" && return; }
	done
	echo "$(dirname -- "$(realpath -- "$(type -P "$1")")")/test_progs"
}

# Installed releases, and those of Debian's that were fetched before.
_sockmap_kernels() {
	local IFS=$'\n' cache=${XDG_CACHE_HOME:-$HOME/.cache}/sockmap-tests/kernels

	_sockmap_files "$1"
	COMPREPLY+=($(compgen -W "$(find /lib/modules/ "$cache" -mindepth 1 -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null |
		sort -uV)" -- "$1"))
}

_vmtest() {
	local command=$1 cur=$2 prev=$3 i

	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then
			_test_progs "$(_sockmap_guest_program "$command")" "$cur" "$prev"
			return
		fi
	done
	case $prev in
	-k | --kernel) _sockmap_kernels "$cur" ;;
	--arch) COMPREPLY=($(compgen -W $'x86_64\narm64' -- "$cur")) ;;
	--accel) COMPREPLY=($(compgen -W $'auto\nkvm\ntcg' -- "$cur")) ;;
	--modules) COMPREPLY=($(compgen -W $'auto\nnone' -- "$cur")) ;;
	--expect) COMPREPLY=($(compgen -W $'fail\ncrash\nhang\nsplat\nboot' -- "$cur")) ;;
	-o | --bin | --add | --config-fragment | --splat-allow | --write-expect | --report) _sockmap_files "$cur" ;;
	*) _sockmap_options "$command" "$cur" ;;
	esac
}

complete -F _test_progs test_progs
complete -F _vmtest vmtest vmtest.sh
