#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Boot a kernel in QEMU with test_progs as its user space, and return a verdict.
#
# The guest needs nothing from the kernel but an initramfs and three serial ports: its console, a
# control line on which vm/init.c reports phases and files, and the output of the tests. The verdict
# is what the control line proves. QEMU's own exit status proves nothing (it is 0 after a panic), and
# the absence of a proof is never a success.
#
#   vm/common.sh     verdict classes, messages        vm/boot.sh     one kernel, from image to verdict
#   vm/kernel.sh     what -k names                    vm/watch.c     one boot: QEMU and its serial lines
#   vm/initramfs.*   what the guest finds             vm/matrix.sh   several kernels
#   vm/machine.sh    QEMU's command line, KVM or not  vm/bisect.sh   what a verdict says about a commit
#   vm/github.sh     what a job of GitHub shows
#
# shellcheck disable=SC2034 # options are read by the parts above
set -u -o pipefail

readonly PROG=${0##*/}
# INFRA, as long as there is no die(). git would take it for "bad", and is told to stop.
trouble=7
[[ " $* " != *" --bisect "* ]] || trouble=128
HERE=$(realpath -- "${BASH_SOURCE[0]}") || exit "$trouble"
readonly HERE=${HERE%/*}

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
	{ echo "$PROG: bash 5.1 or newer is needed" >&2; exit "$trouble"; }
# shellcheck source-path=SCRIPTDIR
{
	. "$HERE/vm/common.sh"
	. "$HERE/vm/config.sh"
	. "$HERE/vm/kernel.sh"
	. "$HERE/vm/initramfs.sh"
	. "$HERE/vm/machine.sh"
	. "$HERE/vm/boot.sh"
	. "$HERE/vm/matrix.sh"
	. "$HERE/vm/bisect.sh"
	. "$HERE/vm/github.sh"
	. "$HERE/vm/doctor.sh"
} || exit "$trouble"

# ---- Options -----------------------------------------------------------------------------------

mode=run # doctor, list-kernels, self-test, print-cmd, bisect, bisect-check
kernels=() jobs=1 arch_arg=$HOST_ARCH build='' build_target='' debug='' config_fragments=() base_config=''
test_args=() bin='' guest_env=() guest_sysctls=() module_mode=auto more_modules=() use_expect=1
accel_mode=auto smp=2 mem='' cpu='' qemu_args=() extra_append=() strict='' gdb='' shell=''
total_timeout='' boot_timeout='' hang_timeout='' repeat=1 until_fail='' no_splat='' splat_allow=()
expect_class='' match='' invert='' check_ends=()
out='' page='' quiet='' verbose='' keep='' show_tests=1 in_matrix=''

started=0 # in milliseconds
child='' tmp='' scratch_dir='' restore=() verdict_cache='' known='' built_image='' initramfs_size=0

usage() {
	cat <<-USAGE
	Usage: $PROG [options] [-- test_progs arguments]

	Boot a kernel in QEMU, run test_progs in it, and exit with the verdict.

	Kernel:
	  -k, --kernel KERNEL   bzImage, vmlinuz or vmlinux; kernel tree or build directory; directory
	                        with boot/vmlinuz-*; .deb (more, with commas, if split); installed
	                        release; debian:RELEASE or its beginning (debian:6.1, or just 6.1), which
	                        is fetched. Repeatable: a row for each. [newest of this Debian release]
	  -j N                  kernels side by side [$jobs]
	      --list-kernels    the releases that debian: has, and those that are here
	      --arch ARCH       x86_64 or arm64 [$arch_arg]
	      --build[=TARGET]  build the tree, and TARGET, first, with the options in vm/kernel.config
	                        added to its own; a failure is UNTESTABLE
	      --config-fragment FILE   more of those (repeatable)
	      --debug           those of vm/debug.config: KASAN, kmemleak, lockdep
	      --modules HOW     none; auto: those that the tests use, once they do; NAME,...: and these
	                        [auto]
	Tests:
	      --bin FILE        static test binary [test_progs]
	      --add FILE[:DEST]   a file for the guest
	      --collect PATH:FILE   when the tests are through, PATH of the guest becomes FILE here; of
	                        a directory, a tar
	      --env NAME=VALUE, --sysctl NAME=VALUE   for the guest
	      --no-xfail        do not consult vm/expect, where known failures of stock kernels are
	      --write-expect FILE   draft such a list from this run
	Machine:
	      --smp N, --mem MIB, --cpu MODEL, --qemu-arg ARG, --append STRING (kernel's command line)
	      --accel HOW       auto, kvm or tcg; auto falls back to tcg if KVM boots no kernel [auto]
	Verdict:
	      --timeout S       for everything [600; 3600 under TCG]
	      --boot-timeout S  of silence until the tests start, and three times that in all [60; 180]
	      --hang-timeout S  of silence from then on [90; 180]. A debug kernel has as long under KVM as
	                        others under TCG, and there twice as long; so has another architecture
	      --repeat N        boots; the worst verdict counts
	      --until-fail      and end with the first that is bad
	      --strict          a WARNING in the kernel is a crash
	      --splat-allow FILE   more exceptions, as in vm/splats.allow;  --no-splat: none count
	Bisect (docs/bisecting.md):
	      --bisect          exit as git bisect run wants it: 0, 1, 125, 128 and above
	      --expect CLASS    bad is only: fail, crash, hang, splat or boot
	      --match REGEX     bad is only a failure whose text matches
	      --invert          look for the first good commit
	      --bisect-check GOOD BAD   are both ends what they should be?
	Output:
	  -o DIR                directory for the logs [${logs_dir/#"$PWD/"/}/KERNEL]
	      --report PAGE     an HTML page of the results, with a column for each kernel
	  -q, --quiet           show the tests' output only if the verdict is bad
	  -v, --verbose         show the kernel's console too (stderr)
	      --keep            keep the scratch directory
	Looking inside:
	      --shell           a shell in the guest instead of the tests; C-] ends it
	      --gdb             wait for gdb before the first instruction
	      --print-cmd       print the QEMU command
	      --doctor          what this machine lacks, and how to get it
	      --self-test       the tests of $PROG itself
	  -h, --help            show this

	Arguments behind -- reach test_progs unchanged; without -j it gets as many workers as there are
	processors. Files that they name (-d @FILE, --durations FILE) are put into the guest; those of -J
	and of -o FORMAT:FILE come back out of it.

	Exit status:
	  0     pass
	  1     fail
	  2     usage
	  3     the kernel crashed
	  4     hang
	  5     passed, but with a splat in the kernel's log
	  6     the kernel did not boot
	  7     trouble on this side: QEMU, disk
	  8     untestable: it does not build, or lacks what the tests need
	  77    all skipped
	  124   timeout
	  130   interrupted

	Environment: QEMU names another QEMU; KBUILD_OUTPUT, CC, LLVM and the like are the build's.
	USAGE
}

parse_options() {
	while (($#)); do
		case $1 in
		--)
			shift
			test_args+=("$@")
			return
			;;
		-h | --help)
			usage
			exit 0
			;;
		-q | --quiet) quiet=1 show_tests='' ;;
		-v | --verbose) verbose=1 ;;
		--doctor | --list-kernels | --self-test | --print-cmd | --bisect) mode=${1#--} ;;
		--build) build=1 ;;
		--debug) debug=1 ;;
		--no-xfail) use_expect='' ;;
		--until-fail) until_fail=1 ;;
		--strict) strict=1 ;;
		--no-splat) no_splat=1 ;;
		--invert) invert=1 ;;
		--keep) keep=1 ;;
		--shell) shell=1 ;;
		--gdb) gdb=1 ;;
		--bisect-check)
			[[ ${2-} && ${3-} ]] || die USAGE "$1 needs two commits"
			mode=bisect-check check_ends=("$2" "$3")
			shift 2
			;;
		--build=*) build=1 build_target=${1#*=} ;;
		--*=*) set_option "${1%%=*}" "${1#*=}" ;;
		-[jko]?*) set_option "${1:0:2}" "${1:2}" ;;
		-*)
			set_option "$1" "${2-}" $(($# < 2))
			shift
			;;
		*) die USAGE "unexpected argument \"$1\"; arguments of test_progs go behind --" ;;
		esac
		shift
	done
}

set_option() {
	local name=$1 value=$2 missing=${3-0}

	case $name in
	-k | --kernel) needed && kernels+=("$value") ;;
	-j) number 1 && jobs=$value ;;
	--arch) needed && arch_arg=$value ;;
	--config-fragment) readable && config_fragments+=("$(realpath -- "$value")") ;;
	--modules) needed && choose_modules ;;
	--bin) needed && bin=$value ;;
	--add) needed && add_guest_file "${value%%:*}" "${value#*:}" ;;
	--collect) needed && collect_guest_file "$value" ;;
	--env) assignment && guest_env+=("$value") ;;
	--sysctl) assignment && guest_sysctls+=("$value") ;;
	--write-expect) needed && test_args+=(--write-expect "$value") && use_expect='' ;;
	--smp) number 1 && smp=$value ;;
	--mem) number 512 && mem=$value ;;
	--cpu) needed && cpu=$value ;;
	--qemu-arg) needed && qemu_args+=("$value") ;;
	--append) ((!missing)) || die USAGE "$name needs a value" && extra_append+=("$value") ;;
	--accel) one_of auto kvm tcg && accel_mode=$value ;;
	--timeout) number 1 && total_timeout=$value ;;
	--boot-timeout) number 1 && boot_timeout=$value ;;
	--hang-timeout) number 1 && hang_timeout=$value ;;
	--repeat) number 1 && repeat=$value ;;
	--splat-allow) readable && valid_patterns "$value" && splat_allow+=("$(realpath -- "$value")") ;;
	--expect) one_of fail crash hang splat boot && expect_class=$value ;;
	--match) needed && valid_regex "$value" && match=$value ;;
	-o) needed && out=$value ;;
	--report) needed && check_output_file "$value" && page=$value ;;
	*) die USAGE "unknown option $name; see --help" ;;
	esac
}

# These look at the name and the value of set_option().
needed() {
	[[ $value ]] || die USAGE "$name needs a value"
}

number() {
	needed
	[[ $value =~ ^[1-9][0-9]{0,6}$ && $value -ge $1 ]] || die USAGE "$name needs a number, at least $1"
}

one_of() {
	needed
	[[ " $* " == *" $value "* ]] || die USAGE "$name is one of: $*"
}

readable() {
	needed
	[[ -f $value && -r $value ]] || die USAGE "$value: no such file"
}

assignment() {
	[[ $value =~ ^[A-Za-z_][A-Za-z0-9_.]*=[^[:space:]]*$ ]] || die USAGE "$name needs NAME=VALUE"
}

choose_modules() {
	case $value in
	auto | none) module_mode=$value ;;
	*) module_mode=auto && IFS=, read -r -a more_modules <<<"${value//-/_}" ;;
	esac
}

valid_regex() {
	grep -qE -e "$1" </dev/null 2>/dev/null
	(($? < 2)) || die USAGE "$name: \"$1\" is not a regular expression"
}

# A line that is no regular expression would except nothing, without a word.
valid_patterns() {
	local line

	while IFS='' read -r line || [[ $line ]]; do
		[[ ! $line || $line == \#* ]] || valid_regex "$line"
	done <"$1"
}

# What goes together, and what follows from what.
check_options() {
	((${#kernels[@]})) || kernels=('')
	[[ $mode == run ]] || ((${#kernels[@]} == 1)) || die USAGE "--$mode takes one kernel"
	[[ $mode == run || ! $shell$gdb ]] || die USAGE "--shell and --gdb do not go with --$mode"
	((${#kernels[@]} == 1)) || [[ ! $shell$gdb ]] || die USAGE "--shell and --gdb take one kernel"
	[[ ! $mode =~ ^bisect || ${kernels[0]} ]] || die USAGE "--$mode needs -k, the kernel that a commit makes"
	[[ $mode =~ ^bisect || ! $expect_class$match$invert ]] ||
		die USAGE "--expect, --match and --invert go with --bisect"
	[[ ! $debug || $build ]] || die USAGE "--debug goes with --build"
	[[ $mode == run || ! $page ]] || die USAGE "--report does not go with --$mode"
	[[ ! $page || -x $host_dir/test_progs ]] || die USAGE "--report needs $host_dir/test_progs: make"
	((repeat > 1)) || [[ ! $until_fail ]] || die USAGE "--until-fail goes with --repeat"
	# What is known to fail may be what is looked for.
	[[ ! $mode =~ ^bisect ]] || use_expect=''
	use_arch "$arch_arg"
	bin=${bin:-$bin_default}
}

# ---- Ways to end ---------------------------------------------------------------------------------

# shellcheck disable=SC2317 # called by traps
interrupted() {
	trap '' INT TERM HUP
	stop_children
	((${#row_pid[@]} == 0)) || { kill -TERM "${row_pid[@]}"; wait "${row_pid[@]}"; } 2>/dev/null
	say "INTERRUPTED"
	exit "$INTERRUPTED"
}

print_command() {
	find_kernel "${kernels[0]}"
	choose_accel
	nonce=NONCE out=${out:-$logs_dir/$name}
	qemu_command
	printf '%q ' "${machine[@]}" "${ports[@]}"
	echo
}

main() {
	local option

	now_ms started
	row_pid=()
	trap interrupted INT TERM HUP
	# Before anything can go wrong.
	for option; do
		[[ $option != -- ]] || break
		[[ $option != --bisect ]] || bisecting=1
	done
	parse_options "$@"
	check_options
	case $mode in
	doctor) doctor ;;
	list-kernels) exec "$HERE/vm/fetch-kernel.sh" --arch "$deb_arch" --list "$CACHE/kernels$kernels_dir" ;;
	self-test)
		[[ -x $HERE/tests/vmtest.sh ]] || die USAGE "--self-test needs the source tree"
		exec "$HERE/tests/vmtest.sh"
		;;
	esac
	find_qemu
	check_binary
	find_input_files
	find_output_files
	[[ $mode == print-cmd ]] || build_programs
	case $mode in
	print-cmd) print_command ;;
	bisect) bisect_step ;;
	bisect-check) bisect_check ;;
	run)
		((${#kernels[@]} == 1)) || run_matrix
		run_kernel "${kernels[0]}" "$out"
		;;
	esac
}

main "$@"
