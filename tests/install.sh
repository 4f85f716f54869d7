#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of what users get: `make install`, the Debian package, man pages and completion. Needs no root.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/lib.sh
source tests/lib.sh
scratch install

# ---- Installed -----------------------------------------------------------------------------------

readonly ROOT=$dir/root USR=$dir/root/usr

# Commands and what they need, and nothing that only the tree is for.
layout() {
	(cd "$USR" && find . -mindepth 1 -maxdepth 2 ! -name man ! -name doc ! -name bash-completion | LC_ALL=C sort | paste -sd ' ')
	find "$USR" -name '.*' -o -name '*.c' -o -name '*.o' | grep . && return 1
	find "$USR" -xtype l | grep . && return 1
	return 0
}

# Away from the tree, by its link, with nothing of the caller's but PATH and kernels.
installed() {
	(cd / && env -i "PATH=$PATH" "HOME=$dir/home" "XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}" \
		"$USR/bin/$1" "${@:2}")
}

no_self_test() {
	installed vmtest --self-test 2>&1
	(($? == 2))
}

logs_at_home() {
	[[ -s $(echo "$dir"/home/.local/state/sockmap-tests/vm/*/results.json) ]]
}

# For everybody, whatever is usual where it is installed; an ARCH in the environment is some kernel's.
install_for_all() {
	(umask 077 && ARCH=arm64 make -s install "DESTDIR=$ROOT" PREFIX=/usr) || return
	find "$ROOT/usr" ! -type l ! -perm -o=r | grep . && return 1
	return 0
}

# ---- Man pages -----------------------------------------------------------------------------------

# Each option of the help is in the page.
all_options() {
	local page=$USR/share/man/man1/$1.1 option missing=''

	# Bold is a letter over itself.
	mandoc -Tascii "$page" | sed 's/.\x08//g' >"$dir/page"
	while read -r option; do
		grep -qF -e "$option" "$dir/page" || missing+=" $option"
	done < <("$USR/bin/$1" --help | grep -oE -e '--[a-z][a-z-]+' | sort -u)
	echo "missing:$missing"
	[[ ! $missing ]]
}

# ---- Completion ----------------------------------------------------------------------------------

# complete_line WORD...: what bash would offer for the last one, a line each.
complete_line() {
	# shellcheck disable=SC2016 # the other Bash expands this
	env -u BASH_ENV bash --norc -c '
		. "$1"; shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		function_of=$(complete -p "${1##*/}") && function_of=${function_of#* -F }
		"${function_of% *}" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}"' - "$USR/share/bash-completion/completions/test_progs" "$@"
}

# ---- The package ---------------------------------------------------------------------------------

package() {
	echo .output/sockmap-tests_*_"$(dpkg --print-architecture)".deb
}

unpacked() {
	dpkg-deb -x "$(package)" "$dir/deb" && dpkg-deb -e "$(package)" "$dir/control" &&
		(cd "$dir/deb" && md5sum --quiet -c "$dir/control/md5sums") && "$dir/deb/usr/bin/test_progs" -c
}

row install 0 '' install_for_all
row layout 0 '^./bin ./bin/test_progs ./bin/vmtest ./lib ./lib/sockmap-tests ./share$' layout
row installed-test_progs 0 '^[0-9]+/[0-9]+$' installed test_progs --count
row installed-vmtest 0 'PASS' installed vmtest -k debian:6.1 -- -t sockmap_listen -n 1/1-3
row installed-vmtest-logs 0 '' logs_at_home
row installed-self-test 0 'needs the source tree' no_self_test

for command in test_progs vmtest; do
	row "man-$command" 0 '' mandoc -Tlint -Werror "$USR/share/man/man1/$command.1"
	row "man-$command-options" 0 '' all_options "$command"
done

row complete-option 0 '^--watchdog-timeout$' complete_line ./test_progs --wa
row complete-test 0 '^sockmap_listen$' complete_line ./test_progs -t sockmap_l
row complete-subtest 0 '^sockmap_listen/sockhash' complete_line ./test_progs -a sockmap_listen/sockhash
row complete-quoted 0 '^sockmap_listen/sockmap IPv4' complete_line ./test_progs -t 'sockmap_listen/sockmap\ IP'
row complete-list 0 '^x,sockmap_listen$' complete_line ./test_progs -t x,sockmap_l
row complete-equals 0 '^sockmap_listen$' complete_line ./test_progs --name = sockmap_l
row complete-file 0 '^@Makefile$' complete_line ./test_progs -d @Makef
row complete-feature 0 '^insert_udp4$' complete_line ./test_progs --require insert_ud
row complete-vmtest-option 0 '^--accel$' complete_line ./vmtest.sh --acc
row complete-vmtest-value 0 '^splat$' complete_line ./vmtest.sh --expect spl
row complete-guest 0 '^sockmap_listen$' complete_line ./vmtest.sh -k 6.1 -- -t sockmap_l

row deb 0 'sockmap-tests_.*\.deb' bash -c 'umask 077 && make deb'
row deb-unpacked 0 '^[0-9]+/[0-9]+$' unpacked
row deb-recommends 0 'qemu-system-x86.*curl' dpkg-deb -f "$(package)" Recommends

finish install
