#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build a kernel tree for the VM, and print the image's path.
#
# The tree's own .config stays as it is: the build's is .config.vmtest beside it, made of that one (or of
# tinyconfig, where there is none), vm/kernel.config and its part for the architecture, and the fragments that are named. Whether each
# option survived is checked. Nothing in the image tells when or where it was built, or from which
# commit, so that equal sources make equal images.
set -u -o pipefail

readonly PROG=${0##*/}
HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P) || exit 7
readonly HERE
# Exit codes of vmtest.sh.
readonly USAGE=2 INFRA=7 UNTESTABLE=8
readonly CONFIG=.config.vmtest

# shellcheck source-path=SCRIPTDIR
. "$HERE/config.sh"

arch=$(uname -m) fragments=("$HERE/kernel.config") base='' log='' target='' jobs=$(nproc) tree='' build=''

usage() {
	cat <<-USAGE
	Usage: vm/$PROG [options] TREE

	  --arch ARCH      x86_64 or arm64; without CC, LLVM and CROSS_COMPILE, another than this
	                   machine's is built with Debian's cross compiler [$arch]
	  --config FILE    one more fragment (repeatable)
	  --debug          and vm/debug.config
	  --base FILE      start from this configuration [TREE's .config, or else tinyconfig]
	  --target TARGET  what to make besides bzImage, or Image
	  --jobs N         [$jobs]
	  --log FILE       the output of make [TREE/vmtest-build.log]

	CC, LLVM and KBUILD_OUTPUT in the environment mean what they mean to the kernel's Makefile.
	Exit status: 0 built; 2 usage; 7 something is missing on this side, memory and disk too;
	8 it does not build, or not with what the tests need; 130 interrupted.
	USAGE
}

say() {
	printf 'vmtest: %s\n' "$*" >&2
}

die() {
	local code=$1

	shift
	say "$*"
	exit "$code"
}

parse_options() {
	while (($#)); do
		case $1 in
		-h | --help) usage; exit 0 ;;
		--debug) fragments+=("$HERE/debug.config") ;;
		--*=*) set_option "${1%%=*}" "${1#*=}" ;;
		--*) set_option "$1" "${2-}"; shift ;;
		*) tree=$1 ;;
		esac
		shift
	done
	[[ $tree ]] || { usage >&2; exit "$USAGE"; }
}

set_option() {
	[[ $2 ]] || die "$USAGE" "USAGE: $1 needs a value"
	case $1 in
	--arch) arch=$2 ;;
	--config) fragments+=("$2") ;;
	--base) base=$2 ;;
	--target) target=$2 ;;
	--jobs) jobs=$2 ;;
	--log) log=$2 ;;
	*) die "$USAGE" "USAGE: unknown option $1; see --help" ;;
	esac
}

check_tools() {
	local tool missing=()

	# shellcheck disable=SC2046 # the first word of "ccache gcc"
	for tool in make flex bison bc $(compiler); do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	((${#missing[@]} == 0)) || die "$INFRA" "INFRA: missing: ${missing[*]}; apt-get install $packages"
}
packages="make gcc flex bison bc libelf-dev libssl-dev dwarves"

choose_arch() {
	local triplet

	case $arch in
	x86_64 | amd64) kernel_arch=x86_64 image=arch/x86/boot/bzImage ;;
	arm64 | aarch64) kernel_arch=arm64 image=arch/arm64/boot/Image ;;
	*) die "$USAGE" "USAGE: --arch is x86_64 or arm64" ;;
	esac
	fragments+=("$HERE/kernel.$kernel_arch.config")
	triplet=${kernel_arch/arm64/aarch64}-linux-gnu
	[[ $triplet != "$(uname -m)"-* && ! ${LLVM-}${CC-}${CROSS_COMPILE-} ]] || return 0
	export CROSS_COMPILE=$triplet-
	packages+=" gcc-${triplet/_/-}"
}

check_tree() {
	local file

	[[ -d $tree ]] || die "$USAGE" "USAGE: $tree is not a directory"
	tree=$(realpath -- "$tree")
	[[ -f $tree/Makefile && -f $tree/Kconfig ]] || die "$USAGE" "USAGE: $tree is not a kernel tree"
	for file in "${fragments[@]}" ${base:+"$base"}; do
		[[ -r $file ]] || die "$USAGE" "USAGE: $file: no such file"
	done
	build=$(cd "$tree" && realpath -m -- "${KBUILD_OUTPUT:-.}")
	mkdir -p "$build" || die "$INFRA" "INFRA: cannot create $build"
	log=${log:-$build/vmtest-build.log}
	: >"$log" || die "$INFRA" "INFRA: cannot write $log"
}

# In the background, so that a signal is answered at once. In English, since its log is read here; the
# kernel's Makefile has no regard for LC_ALL.
run_make() {
	local rc=0

	LC_ALL=C LANG=C LC_MESSAGES=C setsid make -C "$tree" -j"$jobs" \
		ARCH="$kernel_arch" KCONFIG_CONFIG="$CONFIG" \
		KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=vmtest \
		KBUILD_BUILD_HOST=vmtest KBUILD_BUILD_VERSION=1 "$@" >>"$log" 2>&1 </dev/null &
	child=$!
	wait "$child" || rc=$?
	child=''
	return $rc
}

# shellcheck disable=SC2317 # called by the trap
interrupted() {
	[[ ! ${child-} ]] || { kill -TERM -- "-$child"; wait "$child"; } 2>/dev/null
	exit 130
}

first_errors() {
	grep -aE '(error:|Error [0-9]|undefined reference|No rule to make|not found|\*\*\*)' "$log" | head -n 8
}

# What the kernel's Makefile makes of these variables.
compiler() {
	case ${LLVM-} in
	'') echo "${CC:-${CROSS_COMPILE-}gcc}" ;;
	*/) echo "${CC:-${LLVM}clang}" ;;
	-*) echo "${CC:-clang$LLVM}" ;;
	*) echo "${CC:-clang}" ;;
	esac
}

# This machine, and not the sources: a compiler that the OOM killer ended, or a full disk. make itself
# says no more than that a step failed.
machine_trouble() {
	local memory='\bKilled\b.*|Error 137$|Cannot allocate memory|virtual memory exhausted.*'
	local disk='No space left on device|Disk quota exceeded'

	grep -aoE -m 1 "($memory|$disk)" "$log"
}

build_failed() {
	local trouble

	if trouble=$(machine_trouble); then
		die "$INFRA" "INFRA: make $1 failed: $trouble; see $log"
	fi
	# shellcheck disable=SC2046 # "ccache gcc" is two words
	say "UNTESTABLE: make $1 failed with $($(compiler) --version 2>/dev/null | head -n 1); see $log"
	first_errors | sed 's/^/    /' >&2
	exit "$UNTESTABLE"
}

configure() {
	local words='"([^"\\]|\\.)*"'

	if [[ ! $base && -f $build/.config ]]; then
		base=$build/.config
	fi
	if [[ $base -ef $build/$CONFIG ]]; then
		: # what an earlier build has left
	elif [[ $base ]]; then
		cp -- "$base" "$build/$CONFIG" || die "$INFRA" "INFRA: cannot write to $build"
	else
		say "note: no .config; starting from tinyconfig"
		run_make tinyconfig || build_failed tinyconfig
	fi
	cat -- "${fragments[@]}" | sed -E "s/^(CONFIG_[A-Za-z0-9_]+=($words|[^[:space:]]*)).*/\1/" >>"$build/$CONFIG"
	run_make olddefconfig || build_failed olddefconfig
}

# An option that depends on another that is off vanishes without a word.
verify() {
	local missing

	missing=$(config_missing "$build/$CONFIG" required "${fragments[@]}")
	if [[ $missing ]]; then
		say "UNTESTABLE: required options that this tree cannot have:"
		printf '    %s\n' "${missing//$'\n'/$'\n    '}" >&2
		exit "$UNTESTABLE"
	fi
	missing=$(config_missing "$build/$CONFIG" optional "${fragments[@]}" | tr '\n' ';')
	[[ ! $missing ]] || say "note: without ${missing%;}"
}

main() {
	local targets

	trap interrupted INT TERM HUP
	parse_options "$@"
	choose_arch
	check_tools
	check_tree
	configure
	verify
	# Whatever else is wanted: an image from before would be another kernel's.
	targets=(${target:+"$target"} "${image##*/}")
	say "building ${targets[*]} in $build; $log has what make says"
	run_make "${targets[@]}" || build_failed "${targets[*]}"
	[[ -f $build/$image ]] || die "$UNTESTABLE" "UNTESTABLE: make ${targets[*]} made no $image"
	printf '%s\n' "$build/$image"
}

main "$@"
