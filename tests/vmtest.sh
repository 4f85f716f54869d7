#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of vmtest.sh: small guests in place of test_progs in a real QEMU, and faked trouble on the
# host's side. Every row states the exit code and, if it matters, a pattern of the output.
#
#   tests/vmtest.sh [NAME...]    all, or those whose names contain one of the words
#
# KERNEL is what -k takes (default: vmtest.sh's own), CC the compiler.
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly HERE
kernel=(${KERNEL:+-k "$KERNEL"})
filter=("$@")
count=0 failed=0

dir=$(mktemp -d "${TMPDIR:-/tmp}/vmtest-test.XXXXXX") || exit 1
# shellcheck disable=SC2317 # called by the trap
cleanup() {
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail_setup() {
	echo "Bail out! $*"
	exit 1
}

prepare() {
	"${CC:-cc}" -O2 -static -o "$dir/guest" "$HERE/tests/guests/guest.c" ||
		fail_setup "cannot build the guest; is there a static libc?"
	"${CC:-cc}" -O2 -o "$dir/dynamic" "$HERE/tests/guests/guest.c" || fail_setup "no compiler"
	mkdir "$dir/bin" "$dir/a b" "$dir/cache" "$dir/scratch"
	ln -s "$(command -v bash)" "$dir/bin/bash"
	# A fallback to TCG would be looked for again in every empty cache: keep the real one's.
	cache=${XDG_CACHE_HOME:-$HOME/.cache}
	real_qemu=$(command -v "${QEMU:-qemu-system-x86_64}") || fail_setup "QEMU is missing"
}

fake_qemu() {
	printf '#!/bin/sh\n%s\n' "$1" >"$dir/fake-qemu"
	chmod +x "$dir/fake-qemu"
}

selected() {
	local word

	((${#filter[@]})) || return 0
	for word in "${filter[@]}"; do
		[[ $1 == *"$word"* ]] && return 0
	done
	return 1
}

report() {
	local name=$1 why=$2

	count=$((count + 1))
	if [[ ! $why ]]; then
		echo "ok $count $name"
		return
	fi
	echo "not ok $count $name"
	echo "# $why"
	sed 's/^/#   /' "$dir/stderr" "$dir/stdout" | tail -n 25
	failed=$((failed + 1))
}

# row NAME CODE PATTERN COMMAND...: PATTERN (an ERE, or empty) is looked for in stdout and stderr.
row() {
	local name=$1 want=$2 pattern=$3 got why=''

	selected "$name" || return 0
	shift 3
	"$@" >"$dir/stdout" 2>"$dir/stderr" </dev/null
	got=$?
	((got == want)) || why="exit code $got, not $want"
	[[ ! $pattern ]] || grep -qE -- "$pattern" "$dir/stdout" "$dir/stderr" ||
		why+="${why:+; }no \"$pattern\" in the output"
	[[ $(tail -n 1 "$dir/stderr") =~ ^vmtest:\ [A-Z]+ ]] ||
		why+="${why:+; }the last line is no verdict"
	((want != 2 || $(wc -l <"$dir/stderr") == 1)) || [[ $name == told-* ]] ||
		why+="${why:+; }more than one line"
	report "$name" "$why"
}

# check NAME COMMAND...: anything else that must succeed.
check() {
	local name=$1 why=''

	selected "$name" || return 0
	shift
	"$@" >"$dir/stdout" 2>"$dir/stderr" </dev/null || why="failed: $*"
	report "$name" "$why"
}

vmtest() {
	"$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/out" "$@"
}

vmtest_without_qemu() {
	env -u QEMU PATH="$dir/bin" bash "$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/out"
}

vmtest_with_fake() {
	fake_qemu "$1"
	shift
	QEMU=$dir/fake-qemu vmtest --accel tcg "$@"
}

# A QEMU that says the control lines in its arguments, in a hurry. One that begins with a blank goes
# without the nonce.
vmtest_with_script() {
	local line commands=''

	for line in "$@"; do
		case $line in
		\ *) commands+="echo '${line# }';" ;;
		*) commands+="echo \"VMTEST \$nonce $line\";" ;;
		esac
	done
	# shellcheck disable=SC2016 # for the fake to expand
	vmtest_with_fake 'for arg; do
		case $arg in
		*vmtest.nonce=*) nonce=${arg#*vmtest.nonce=} ;;
		pipe,id=control,*) fifo=${arg#*path=} ;;
		esac
	done
	{ '"$commands"' } >>"${fifo%%,*}.out"
	exit 0'
}

# Dies of a stray breakpoint unless it has one thread.
vmtest_with_int3() {
	# shellcheck disable=SC2016
	vmtest_with_fake 'for arg; do
		case $arg in
		*vmtest.nonce=*) nonce=${arg#*vmtest.nonce=} ;;
		pipe,id=console,*) log=${arg#*logfile=} ;;
		pipe,id=control,*) fifo=${arg#*path=} ;;
		esac
	done
	{
		echo "VMTEST $nonce BOOT 1.2.3"
		case "$*" in *thread=single*) ;; *) echo "Oops: int3: 0000 [#1] SMP" >>"$log"; exit 0 ;; esac
		echo "VMTEST $nonce TESTS-START"
		echo "VMTEST $nonce DONE 0"
		echo "VMTEST $nonce END"
	} >>"${fifo%%,*}.out"'
}

# ---- What the guest does -------------------------------------------------------------------------

test_verdicts() {
	row pass 0 'vmtest: PASS ' vmtest -- exit=0
	row fail 1 'vmtest: FAIL ' vmtest -- exit=1
	row skip 77 'vmtest: SKIP' vmtest -- exit=4
	row segfault 1 'SIGSEGV' vmtest -- segfault
	row forged-verdict 1 'vmtest: FAIL' vmtest -- forge
	row panic 3 'vmtest: CRASH .*sysrq triggered crash' vmtest -- panic
	row restart 3 'vmtest: CRASH .*restarted' vmtest -- restart
	row splat 5 'vmtest: SPLAT .*WARNING: CPU' vmtest -- kmsg=0 '<4>WARNING: CPU: 0 PID: 1 at x.c:1'
	row splat-and-fail 1 'FAIL .*kernel said: BUG' vmtest -- kmsg=1 '<4>BUG: spinlock bad magic'
	row splat-allowed 0 'PASS' vmtest -- kmsg=0 '<4>WARNING: Spectre V2 : whatever'
	row hang 4 'vmtest: HANG' vmtest --hang-timeout 2 -- hang
	check hang-dump grep -q 'task:test_progs' "$dir/out/hang.txt"
	row timeout 124 'vmtest: TIMEOUT' vmtest --timeout 5 -- chatter
	row no-init 6 'BOOTFAIL.*panic' vmtest --append rdinit=/none -- exit=0
}

# Every status of test_progs, and what must never count as a proof.
test_protocol() {
	local begin=('BOOT 1.2.3' TESTS-START)

	row told-0 0 'PASS .*1\.2\.3' vmtest_with_script "${begin[@]}" 'DONE 0' END
	row told-1 1 FAIL vmtest_with_script "${begin[@]}" 'DONE 1' END
	row told-2 2 'USAGE .*refuses' vmtest_with_script "${begin[@]}" 'DONE 2' END
	row told-3 8 UNTESTABLE vmtest_with_script "${begin[@]}" 'DONE 3' END
	row told-4 77 SKIP vmtest_with_script "${begin[@]}" 'DONE 4' END
	row told-64 2 'USAGE .*refuses' vmtest_with_script "${begin[@]}" 'DONE 64' END
	row told-255 1 'exited with 255' vmtest_with_script "${begin[@]}" 'DONE 255' END
	row told-signal 1 'killed by SIGKILL' vmtest_with_script "${begin[@]}" 'DONE signal 9' END
	row no-end 3 CRASH vmtest_with_script "${begin[@]}" 'DONE 0'
	row no-done 3 CRASH vmtest_with_script "${begin[@]}" END
	row no-start 7 garbled vmtest_with_script 'BOOT 1.2.3' 'DONE 0' END
	row no-nonce 6 BOOTFAIL vmtest_with_script ' VMTEST none BOOT 1' ' VMTEST none TESTS-START' \
		' VMTEST none DONE 0' ' VMTEST none END'
	row two-verdicts 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' 'DONE 0' END
	row no-number 7 garbled vmtest_with_script "${begin[@]}" 'DONE x' END
	row short-file 3 CRASH vmtest_with_script "${begin[@]}" 'DONE 0' 'FILE dmesg.txt 999' ' 12345678' END
	row long-file 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' 'FILE dmesg.txt 2' ' 12345678' END
	row garbage 0 PASS vmtest_with_script ' junk' "${begin[@]}" ' VMTEST' ' *' 'NOTE a' 'DONE 0' END
	row stray-int3 0 'the boot failed as it does at times' vmtest_with_int3
	row fatal 6 'BOOTFAIL.*no devtmpfs' vmtest_with_script 'FATAL no devtmpfs'
}

test_output() {
	row messy-output 0 'no line feed' vmtest -- messy
	row flood 0 'line 7999 ' vmtest -- flood
	row closed-output 0 PASS vmtest -- closed
	row reader-gone 0 PASS reader_gone
	row arguments 0 '' arguments_arrive
	row files 0 '' files_travel
	check quiet quiet_is_quiet
}

reader_gone() {
	vmtest -- flood | head -n 1
}

arguments_arrive() {
	vmtest -- args 'a  *b' '' $'two\nlines' >"$dir/args" || return 99
	tail -n 4 "$dir/args" | cmp - <(printf 'argv[%s\n' '5]=<a  *b>' '6]=<>' $'7]=<two\nlines>')
}

quiet_is_quiet() {
	vmtest -q -- exit=0 >"$dir/quiet" && [[ ! -s $dir/quiet ]] &&
		grep -q '"verdict": "PASS"' "$dir/out/verdict.json" &&
		grep -q 'tests start' "$dir/out/dmesg.txt"
}

# Through -d @FILE into the guest, and out of it again through -J, with a blank in the path.
files_travel() {
	local in="$dir/a b/in" back="$dir/a b/back"

	echo "to and fro" >"$in"
	vmtest -- -J "$back" copy "@$in" to "$back" && cmp "$in" "$back" && cmp "$in" "$dir/out/results.json"
}

# ---- What the host lacks -------------------------------------------------------------------------

test_host() {
	row no-binary 2 'does not exist' vmtest --bin "$dir/nothing"
	row dynamic-binary 2 'not static' vmtest --bin "$dir/dynamic"
	row script-binary 2 'not an x86-64 ELF' vmtest --bin "$HERE/vmtest.sh"
	row no-kernel 2 'no such file' vmtest -k "$dir/nothing"
	row not-a-kernel 2 'not a kernel image' vmtest -k "$HERE/tests/guests/guest.c"
	row bad-option 2 'unknown option' vmtest --nonsense
	row no-value 2 'needs a value' vmtest --smp
	row bad-number 2 'needs a number' vmtest --mem=64
	row bad-accel 2 'auto, kvm or tcg' vmtest --accel fast
	row missing-list 2 'no such file' vmtest -- -d @"$dir/nothing"
	row missing-list-of-two 2 'no such file' vmtest -- --deny=one,@"$dir/nothing"
	row no-directory 2 'cannot write' vmtest -- -J "$dir/no/such/file"
	row no-qemu 7 'apt-get install' vmtest_without_qemu
	row qemu-dies 7 'no good' vmtest_with_fake 'echo no good >&2; exit 1'
	row qemu-aborts 7 'status 134' vmtest_with_fake 'kill -ABRT $$'
	row qemu-quits 6 'restarted before' vmtest_with_fake 'exit 0'
	row qemu-silent 6 'BOOTFAIL' vmtest_with_fake 'exec sleep 60' --boot-timeout 1
	row locked 7 'another' locked_output
	row interrupted 130 INTERRUPTED interrupt_it
	check nothing-left nothing_left
	check print-cmd print_command
}

locked_output() {
	mkdir -p "$dir/out"
	flock "$dir/out/.lock" "$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/out"
}

interrupt_it() {
	local pid i

	TMPDIR=$dir/scratch "$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/out" -- hang &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		grep -q 'going to sleep' "$dir/out/test.log" 2>/dev/null && break
		sleep 0.2
	done
	kill -TERM "$pid"
	wait "$pid"
}

# No scratch directory, and no QEMU that uses our output directory.
nothing_left() {
	[[ ! $(ls -A "$dir/scratch") ]] && ! grep -qls "logfile=$dir/out" /proc/[0-9]*/cmdline
}

print_command() {
	vmtest --print-cmd | grep -q isa-serial
}

# A KVM that opens but boots nothing is found out once, and then remembered.
test_kvm() {
	[[ -r /dev/kvm && -w /dev/kvm ]] || return 0
	export XDG_CACHE_HOME=$dir/cache
	mkdir -p "$dir/cache/sockmap-tests"
	ln -sfn "$cache/sockmap-tests/kernels" "$dir/cache/sockmap-tests/kernels"
	fake_qemu "case \"\$*\" in *\"-accel kvm\"*) echo error: failed to set MSR 0x1 >&2; kill -ABRT \$\$ ;; esac
		exec '$real_qemu' \"\$@\""
	export QEMU=$dir/fake-qemu
	row kvm-falls-back 0 'note: KVM is unusable here .*MSR 0x1' vmtest -- exit=0
	check kvm-remembered grep -rq '^tcg ' "$dir/cache/sockmap-tests/accel"
	row kvm-demanded 7 'INFRA' vmtest --accel kvm -- exit=0
	unset QEMU
	export XDG_CACHE_HOME=$cache
}

prepare
test_verdicts
test_protocol
test_output
test_host
test_kvm
echo "1..$count"
echo "vmtest.sh: $((count - failed)) passed, $failed failed, 0 skipped"
((failed == 0))
