# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# What the guest finds: init, the tests, their arguments and files, and modules. vm/init.c says how
# the parts are laid out, and vm/initramfs.c makes an archive of them.

# What the kernel may ask for, where it has them as modules. The ciphers are those of TLS.
readonly MODULES=(tls vsock_loopback gcm ghash_generic ctr)

# Options of test_progs whose value is a file that it reads, and those of files that it writes.
readonly INPUT_OPTIONS="--durations"
readonly OUTPUT_OPTIONS="-J --json-summary -o --output --write-expect"
# Where the guest writes its results if the arguments do not say so, and where known failures are.
readonly GUEST_RESULTS=/run/results.json
readonly GUEST_EXPECT=/expect

# ---- The test binary and its files ---------------------------------------------------------------

# Static means: no program header of type PT_INTERP (3).
is_static_elf() {
	local -a w
	local i

	# shellcheck disable=SC2207 # numbers; read(1) would take them byte by byte
	w=($(od -An -v -tu4 -N4096 "$1" 2>/dev/null))
	((${#w[@]} >= 16 && w[0] == 0x464c457f && w[4] >> 16 == elf_machine)) || return 2
	# The headers lie at w[8], are w[13] >> 16 bytes large each, and w[14] & 0xffff many.
	for ((i = w[14] & 0xffff; i > 0; i--)); do
		((w[(w[8] + (i - 1) * (w[13] >> 16)) / 4] != 3)) || return 1
	done
}

check_binary() {
	local rc=0

	[[ -e $bin ]] || die USAGE "$bin does not exist; build it with ${make_hint}, or name another with --bin"
	[[ -f $bin && -r $bin && -x $bin ]] || die USAGE "$bin is not an executable file"
	is_static_elf "$bin" || rc=$?
	((rc != 2)) || die USAGE "$bin is not an ${arch/_/-} ELF binary"
	((rc == 0)) || die USAGE "$bin is not static: the guest has no shared libraries"
}

# Host files by the path at which the guest will look for them, and the reverse for what comes back.
declare -A guest_files=() collected=()
results_path=''

# The guest's working directory is its root.
guest_path() {
	realpath -m -s "/$1" 2>/dev/null
}

add_guest_file() {
	local file=$1 where

	where=$(guest_path "${2:-$file}")
	[[ -f $file && -r $file ]] || die USAGE "$file: no such file"
	[[ ! $where =~ ^/(dev|proc|sys)/ ]] || die USAGE "$file: cannot be put into the guest's $where"
	guest_files[$where]=$file
}

collect_guest_file() {
	[[ $1 == /*:?* ]] || die USAGE "--collect needs an absolute path of the guest, a colon and a file"
	check_output_file "${1#*:}"
	collected[${1%%:*}]=${1#*:}
}

add_input_file() {
	add_guest_file "$1"
}

# A list may hold several files, "-d @one,name,@two", and may be part of its option, "--deny=@one".
find_input_files() {
	local arg part
	local -a parts

	for arg in "${test_args[@]}"; do
		[[ $arg =~ (^|^-[a-zA-Z]|=|,)@ ]] || continue
		arg=${arg#-[a-zA-Z]}
		[[ $arg == --*=* ]] && arg=${arg#*=}
		IFS=, read -r -a parts <<<"$arg"
		for part in "${parts[@]}"; do
			[[ $part == @?* ]] && add_guest_file "${part#@}"
		done
	done
	each_value "$INPUT_OPTIONS" add_input_file
}

check_output_file() {
	local dir

	[[ ! -d $1 ]] || die USAGE "$1 is a directory"
	dir=$(dirname -- "$1")
	[[ -d $dir && -w $dir ]] || die USAGE "cannot write to $dir"
}

# add_output_file VALUE OPTION: -o has FORMAT[:FILE], and json is what -J writes.
add_output_file() {
	local file=$1 format=''

	case $2 in
	-o | --output)
		[[ $file == *:* ]] || file+=:-
		format=${file%%:*} file=${file#*:}
		;;
	-J | --json-summary) format=json ;;
	esac
	[[ $file ]] || return 0
	# The verdict has to read it.
	[[ $format != json || $file != - ]] || die USAGE "results in JSON need a file, with -J FILE"
	[[ $file != - ]] || return 0
	check_output_file "$file"
	collected[$(guest_path "$file")]=$file
	[[ $format != json ]] || results_path=$(guest_path "$file")
}

# each_value OPTIONS COMMAND: run COMMAND VALUE OPTION for each of them among the tests' arguments.
each_value() {
	local option i

	for ((i = 0; i < ${#test_args[@]}; i++)); do
		for option in $1; do
			case ${test_args[i]} in
			# A long option may be shortened.
			--?*=*) [[ $option == "${test_args[i]%%=*}"* ]] &&
				"$2" "${test_args[i]#*=}" "$option" ;;
			"$option" | --?*) [[ $option == "${test_args[i]}"* ]] &&
				"$2" "${test_args[i + 1]-}" "$option" ;;
			"$option"?*) "$2" "${test_args[i]#"$option"}" "$option" ;;
			esac
		done
	done
}

find_output_files() {
	each_value "$OUTPUT_OPTIONS" add_output_file
	((${#kernels[@]} == 1 || ${#collected[@]} == 0)) ||
		die USAGE "several kernels cannot share ${collected[*]}; each has its results in the folder of -o"
}

# ---- Arguments -----------------------------------------------------------------------------------

# has_option PATTERN: one of the tests' arguments is such an option.
has_option() {
	local arg

	for arg in "${test_args[@]}"; do
		[[ $arg =~ ^($1) ]] && return 0
	done
	return 1
}

says_where_results_go() {
	[[ $results_path ]] || has_option '-J|--js'
}

# As many workers as processors, results to look at, the known failures of stock kernels, and more
# patience with a kernel that is slow, unless the arguments say otherwise.
guest_arguments() {
	local args=("${test_args[@]}") slow

	if [[ $use_expect ]] && ! has_option '--exp'; then
		args=(--expect "$GUEST_EXPECT" "${args[@]}")
	fi
	slow=$(slowness)
	if ((slow > 2)); then
		has_option '-w|--wa' || args=("-w$((30 * slow))" "${args[@]}")
		has_option '--io' || args=("--io-timeout=$((5 * slow))" "${args[@]}")
	fi
	has_option '-j|--wo' || args=("-j$smp" "${args[@]}")
	says_where_results_go || args=(-J "$GUEST_RESULTS" "${args[@]}")
	((${#args[@]} == 0)) || printf '%s\0' "${args[@]}"
}

# What the tests hand back: a name and a path each, for init. The names are ours; "results" is the
# one that the verdict is checked against.
collect_list() {
	local path name i=0

	says_where_results_go || printf 'results\0%s\0' "$GUEST_RESULTS"
	collect_args=()
	for path in "${!collected[@]}"; do
		name=results
		[[ $path == "$results_path" ]] || name=file$((++i))
		contents+=("${path%/*}" '')
		printf '%s\0%s\0' "$name" "$path"
		collect_args+=(--collect "$name=${collected[$path]}")
	done
}

# ---- Modules -----------------------------------------------------------------------------------

# module_files[NAME]=PATH for every module of the kernel.
index_modules() {
	local path base

	while IFS= read -r path; do
		base=${path##*/}
		base=${base%%.ko*}
		module_files[${base//-/_}]=$path
	done < <(
		if [[ -f $modules_dir/modules.order && ! -d $modules_dir/kernel/drivers ]]; then
			sed -e 's/\.o$/.ko/' -e "s|^|$modules_dir/|" "$modules_dir/modules.order"
		else
			find "$modules_dir/kernel" -name '*.ko*' -type f
		fi
	)
}

# Appends a module to module_order, behind those it depends on.
want_module() {
	local module=$1 path=${module_files[$1]-} need

	[[ $path && -f $path && " ${module_order[*]-} " != *" $module "* ]] || return 0
	for need in $(modinfo -F depends "$path" | tr ',-' ' _'); do
		want_module "$need"
	done
	module_order+=("$module")
}

# Decompressed here, since older kernels cannot do it.
copy_module() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac >"$2"
}

# The guest's /modules: what may be asked for, and the list of aliases. $1 is the directory.
collect_modules() {
	local -A module_files=()
	local module name

	need modinfo kmod
	index_modules
	for module in "${MODULES[@]}" "${more_modules[@]}"; do
		local -a module_order=()
		want_module "$module"
		for name in "${module_order[@]}"; do
			[[ -f $1/$name.ko ]] || copy_module "${module_files[$name]}" "$1/$name.ko" || return 1
		done
		add_aliases "$module"
	done >"$1/aliases"
}

# A line for each name by which the kernel asks for a module, its own among them: the name, and what is
# to be loaded.
add_aliases() {
	local alias

	[[ ${module_files[$1]-} ]] || return 0
	for alias in "$1" $(modinfo -F alias "${module_files[$1]}"); do
		printf '%s' "$alias"
		printf ' /modules/%s.ko' "${module_order[@]}"
		echo
	done
}

# A package's modules never change, so what was made of them is kept. A tree's do.
stage_modules() {
	local dir=$tmp/modules file name

	[[ $modules_dir && $module_mode == auto ]] || return 0
	if [[ ! $tree ]]; then
		dir=$CACHE/modules/$(modules_key)
	fi
	if [[ ! -d $dir ]]; then
		mkdir -p "${dir%/*}" "$tmp/new-modules" || die INFRA "cannot write to ${dir%/*}"
		collect_modules "$tmp/new-modules" || die INFRA "cannot unpack the modules in $modules_dir"
		put_in_place "$tmp/new-modules" "$dir"
	fi
	for file in "$dir"/*; do
		contents+=("modules/${file##*/}" "$file")
	done
	for name in "${more_modules[@]}"; do
		[[ -f $dir/$name.ko ]] || is_built_in "$name" || say "note: there is no module $name in $modules_dir"
	done
}

is_built_in() {
	tr - _ <"$modules_dir/modules.builtin" 2>/dev/null | grep -q "/$1\.ko"
}

modules_key() {
	{
		stat -c '%n %Y %i' "$modules_dir/kernel"
		echo "${MODULES[*]} ${more_modules[*]}"
		declare -f collect_modules add_aliases # what they make of it
	} | digest
}

# Others may be doing the same; whoever comes first wins.
put_in_place() {
	local scratch

	if ! scratch=$(mktemp -d "$2.XXXXXX") || ! cp -r "$1/." "$scratch"; then
		die INFRA "cannot write to ${2%/*}"
	fi
	chmod 755 "$scratch"
	mv -T "$scratch" "$2" 2>/dev/null || rm -rf "$scratch"
}

# ---- The archive ---------------------------------------------------------------------------------

# Static, since there is nothing else in the guest that it could need.
stage_shell() {
	local busybox

	if ! busybox=$(command -v busybox) || ! is_static_elf "$busybox"; then
		die INFRA "--shell needs a static busybox: apt-get install busybox-static"
	fi
	printf '%s\0' /bin/busybox sh -c '/bin/busybox --install -s /bin; exec /bin/sh -l' >"$tmp/shell" ||
		die INFRA "cannot write to $tmp"
	contents+=(bin/busybox "$busybox" shell "$tmp/shell")
}

# Appends to contents a path of the guest and the file for it, or nothing for a directory. Of one path, the
# last counts.
stage_files() {
	local file

	contents=(init "$out_dir/init" test_progs "$bin")
	for file in dev proc sys tmp run modules "$GUEST_EXPECT"; do
		contents+=("$file" '')
	done
	for file in "$HERE"/vm/expect/*; do
		contents+=("$GUEST_EXPECT/${file##*/}" "$file")
	done
	for file in "${!guest_files[@]}"; do
		contents+=("$file" "${guest_files[$file]}")
	done
	guest_arguments >"$tmp/args" || die INFRA "cannot write to $tmp"
	collect_list >"$tmp/collect" || die INFRA "cannot write to $tmp"
	contents+=(args "$tmp/args" collect "$tmp/collect")
	if ((${#guest_env[@]})); then
		printf '%s\0' "${guest_env[@]}" >"$tmp/env" || die INFRA "cannot write to $tmp"
		contents+=(env "$tmp/env")
	fi
	[[ ! $shell ]] || stage_shell
	stage_modules
}

# Sets initramfs_size.
build_initramfs() {
	local -a contents

	stage_files
	initramfs_size=$("$host_dir/mkinitramfs" "$out/initramfs.cpio" "$out/initramfs.list" "${contents[@]}") ||
		die INFRA "cannot write $out/initramfs.cpio"
	[[ ! $keep ]] || say "scratch directory: $tmp"
}
