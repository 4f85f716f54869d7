#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of vmtest.sh: small guests in place of test_progs in a real QEMU, and faked trouble on the
# host's side. Every row states the exit code and, if it matters, a pattern of the output.
#
#   tests/vmtest.sh [NAME...]    all, or those whose names contain one of the words
#
# KERNEL is what -k takes (default: vmtest.sh's own), CC the compiler. QUICK=1 leaves out the rows that
# wait out a deadline for most of a minute.
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly HERE
kernel=(-k "${KERNEL:-debian:default}")
# shellcheck source=tests/lib.sh
source "$HERE/tests/lib.sh"
filter=("$@")
scratch vmtest

prepare() {
	"${CC:-cc}" -O2 -static -o "$dir/guest" "$HERE/tests/guests/guest.c" ||
		bail_out "cannot build the guest; is there a static libc?"
	"${CC:-cc}" -O2 -o "$dir/dynamic" "$HERE/tests/guests/guest.c" || bail_out "no compiler"
	mkdir "$dir/bin" "$dir/a b" "$dir/cache" "$dir/scratch" "$dir/small"
	echo "WARNING: CPU: 0 at x.c" >"$dir/allow"
	printf '# a comment\n\nfine\n(\n' >"$dir/bad-allow"
	echo "to and fro" >"$dir/a b/in"
	echo "two of them" >"$dir/two"
	ln -s "$(command -v bash)" "$dir/bin/bash"
	for tool in dirname realpath od stat uname cat sha256sum grep sed head tr; do
		ln -s "$(command -v $tool)" "$dir/bin/$tool"
	done
	printf '{ "success_subtest": 1, "failed_subtest": 0, "skipped": 0 }' >"$dir/results"
	sed 's/[[:space:]].*//; /STREAM_PARSER/d' "$HERE/vm/kernel.config" | gzip >"$dir/config.gz"
	for file in results config.gz; do
		as_sent <"$dir/$file" >"$dir/$file.z"
	done
	# Machine code for the guests that break their kernel: ud2; jmp . ; cli, and that.
	printf '\x0f\x0b' >"$dir/ud2"
	printf '\xeb\xfe' >"$dir/loop"
	printf '\xfa\xeb\xfe' >"$dir/cli"
	# A fallback to TCG would be looked for again in every empty cache: keep the real one's.
	cache=${XDG_CACHE_HOME:-$HOME/.cache}
	real_qemu=$(command -v "${QEMU:-qemu-system-x86_64}") || bail_out "QEMU is missing"
}

# As a guest packs what it sends.
as_sent() {
	python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))'
}

# What a QEMU is told, for those that only pretend to be one.
# shellcheck disable=SC2016
parse_arguments='flood() { yes "[    1.000000] 0123456789 0123456789 0123456789 0123456789" | head -n 600000; }
for arg; do
	case $arg in
	*vmtest.nonce=*) nonce=${arg#*vmtest.nonce=} ;;
	socket,id=control,*) control=${arg##*=} ;;
	socket,id=console,*) console=${arg##*=} ;;
	socket,id=tests,*) tests=${arg##*=} ;;
	esac
done
'

fake_qemu() {
	printf '#!/bin/bash\n%s\n' "$1" >"$dir/fake-qemu"
	chmod +x "$dir/fake-qemu"
}

# slow ROW...: those that QUICK leaves out.
slow() {
	if [[ ${QUICK-} ]]; then
		! selected "$2" || skip "$2" "takes long; make check-vm has it"
	else
		"$@"
	fi
}

# row NAME CODE PATTERN COMMAND...: the last line is always a verdict, and of wrong usage there is no other.
row() {
	selected "$1" || return 0
	try "${@:2}"
	[[ $(tail -n 1 "$dir/stderr") =~ ^vmtest:\ [A-Z]+ || $1 == doctor* ]] ||
		because "the last line is no verdict"
	(($2 != 2 || $(wc -l <"$dir/stderr") == 1)) || [[ $1 == told-* ]] || because "more than one line"
	tried "$1"
}

vmtest() {
	vmtest_on "${kernel[@]}" -- "$@"
}

# vmtest_on -k KERNEL... -- OPTION...
vmtest_on() {
	local kernels=()

	while [[ $1 != -- ]]; do
		kernels+=("$1")
		shift
	done
	shift
	"$HERE/vmtest.sh" "${kernels[@]}" --bin "$dir/guest" -o "$dir/out" "$@"
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
# without the nonce; @NAME is a file of that name, and exit=N its own end.
vmtest_with_script() {
	local line file commands=''

	for line in "$@"; do
		case $line in
		\ *) commands+="echo '${line# }';" ;;
		@*)
			file=$dir/${line#@}
			commands+="echo \"VMTEST \$nonce FILE ${line#@} $(stat -c %s "$file.z") $(stat -c %s "$file")\"; cat '$file.z';"
			;;
		exit=*) commands+="exit ${line#exit=};" ;;
		*) commands+="echo \"VMTEST \$nonce $line\";" ;;
		esac
	done
	vmtest_with_fake "$parse_arguments { $commands } >&\$control"
}

# The tests pass, and this is the guest's copy of its log.
vmtest_with_log() {
	printf '%s\n' "$1" >"$dir/dmesg.txt"
	as_sent <"$dir/dmesg.txt" >"$dir/dmesg.txt.z"
	vmtest_with_script 'BOOT 1.2.3' TESTS-START 'DONE 0' @results @dmesg.txt END
}

# The image lies there by itself; the guest has /proc/config.gz.
vmtest_without_config() {
	local kernel

	cp "$(image_path vmtest)" "$dir/bzImage"
	kernel=(-k "$dir/bzImage")
	vmtest_with_script "$@"
}

# A kernel with symbols warns; $1 is the banner that it boots with.
# shellcheck disable=SC2016 # for the fake to expand
vmtest_with_symbols() {
	local start end where

	cat >"$dir/source.c" <<-'SOURCE'
		const char banner[] = "Linux version 1.2.3-fake (me@here) #1 SMP";
		int innocent(int x) { return x; }
		int guilty(int x)
		{
			return x + 1;
		}
		void _start(void) { }
	SOURCE
	"${CC:-cc}" -g -O0 -static -nostdlib -o "$dir/vmlinux" "$dir/source.c" || return 99
	read -r start end < <(nm -n "$dir/vmlinux" |
		awk '$3 == "guilty" { start = $1 } $3 == "_start" { print "0x" start, "0x" $1 }')
	printf -v where 'guilty+0x4/0x%x' $((end - start))
	fake_qemu "$parse_arguments"'
	echo "[    0.000000] Linux version '"$1"'" >&$console
	{ echo "VMTEST $nonce BOOT 1.2.3-fake"; echo "VMTEST $nonce TESTS-START"; } >&$control
	printf "%s\n" "[    1.000000] WARNING: CPU: 0 PID: 1 at x.c:1" "[    1.000000] Call Trace:" \
		"[    1.000000]  ? '"$where"'" >&$console
	{ echo "VMTEST $nonce DONE 4"; echo "VMTEST $nonce END"; } >&$control'
	QEMU=$dir/fake-qemu vmtest_on -k "$dir/vmlinux" -- --accel tcg
}

# vmtest_with_console MESSAGE...: the kernel says so while tests run.
vmtest_with_console() {
	# shellcheck disable=SC2016 # for the fake to expand
	vmtest_with_fake "$parse_arguments"'
	{ echo "VMTEST $nonce BOOT 1.2.3"; echo "VMTEST $nonce TESTS-START"; } >&$control
	{ '"$(printf 'echo "[    1.000000] %s";' "$@")"' } >&$console
	{ echo "VMTEST $nonce DONE 4"; echo "VMTEST $nonce END"; } >&$control'
}

# The same, at the time when test_progs looks for leaks.
vmtest_with_leaks() {
	vmtest_with_console 'test_progs: looks for leaks' "$@"
}

# Talks without an end: 60 MiB on the line named by $1, and in the middle of it $2.
# shellcheck disable=SC2016 # for the fake to expand
vmtest_with_flood() {
	vmtest_with_fake "$parse_arguments"'
	echo "VMTEST $nonce BOOT 1.2.3" >&$control
	echo "VMTEST $nonce TESTS-START" >&$control
	{ flood; echo "'"$2"'"; flood; echo "the end"; } >&$'"$1"'
	{ echo "VMTEST $nonce DONE 4"; echo "VMTEST $nonce END"; } >&$control' -q
}

# A log that is cut short keeps its beginning, its end and what matters.
log_is_bounded() {
	local log=$dir/out/$1

	(($(stat -c %s "$log") < 48 << 20)) && grep -q 'bytes are left out' "$log" &&
		[[ $(head -n 1 "$log") == *0123456789* && $(tail -n 1 "$log") == "the end" ]]
}

# Dies of a stray breakpoint unless it has one thread.
vmtest_with_int3() {
	# shellcheck disable=SC2016 # for the fake to expand
	vmtest_with_fake "$parse_arguments"'
	echo "VMTEST $nonce BOOT 1.2.3" >&$control
	case "$*" in *thread=single*) ;; *) echo "Oops: int3: 0000 [#1] SMP" >&$console; exit 0 ;; esac
	{ echo "VMTEST $nonce TESTS-START"; echo "VMTEST $nonce DONE 4"; echo "VMTEST $nonce END"; } >&$control'
}

# Somebody, or the OOM killer, ends QEMU after the kernel has said that.
# shellcheck disable=SC2016 # for the fake to expand
vmtest_killed_after() {
	vmtest_with_fake "$parse_arguments"'
	{ echo "VMTEST $nonce BOOT 1.2.3"; echo "VMTEST $nonce TESTS-START"; } >&$control
	echo "[    1.000000] '"$1"'" >&$console
	kill -KILL $$'
}

# A double fault in the middle of the tests, with EFLAGS.
# shellcheck disable=SC2016 # for the fake to expand
vmtest_with_flags() {
	vmtest_with_fake "$parse_arguments"'
	{ echo "VMTEST $nonce BOOT 1.2.3"; echo "VMTEST $nonce TESTS-START"; } >&$control
	case "$*" in
	*thread=single*) { echo "VMTEST $nonce DONE 4"; echo "VMTEST $nonce END"; } >&$control ;;
	*) printf "[    1.000000] %s\n" "traps: PANIC: double fault, error_code: 0x0" \
		"RSP: 0018:ff6352a9804e3c00 EFLAGS: '"$1"'" "Kernel panic - not syncing: x" >&$console ;;
	esac'
}

# ---- What the guest does -------------------------------------------------------------------------

test_verdicts() {
	row pass 0 'vmtest: PASS ' vmtest -- exit=0
	check kernel-in-verdict kernel_in_verdict
	row fail 1 'vmtest: FAIL ' vmtest -- exit=1
	row skip 77 'vmtest: SKIP' vmtest -- exit=4
	row odd-exit 1 'exited with 255' vmtest -- exit=255
	row segfault 1 'SIGSEGV' vmtest -- segfault
	check core-dump core_comes_back
	row forged-verdict 1 'vmtest: FAIL' vmtest -- forge
	row no-results 7 'results are lost' vmtest -- lose-results
	row nothing-ran 1 'no test ran' vmtest -- run-nothing
	row panic 3 'vmtest: CRASH .*sysrq triggered crash' vmtest -- panic
	row oops 3 'CRASH .*(invalid opcode|Oops)' vmtest_broken ud2
	row soft-lockup 3 'CRASH .*soft lockup' vmtest_broken loop --sysctl kernel.watchdog_thresh=2
	slow row hard-lockup 4 'HANG' vmtest_broken cli --hang-timeout 4
	slow check hard-lockup-dump grep -q 'getppid' "$dir/out/hang.txt"
	row starved 4 'HANG' vmtest --hang-timeout 4 -- starve
	row init-killed 3 'CRASH .*Attempted to kill init' vmtest -- kill-init
	row restart 3 'vmtest: CRASH .*restarted' vmtest -- restart
	row splat 5 'vmtest: SPLAT .*WARNING: CPU' vmtest -- kmsg=0 '<4>WARNING: CPU: 0 PID: 1 at x.c:1'
	row splat-and-fail 1 'FAIL .*kernel said: BUG' vmtest -- kmsg=1 '<4>BUG: spinlock bad magic'
	row splat-known 0 'PASS' vmtest -- kmsg=0 '<4>WARNING: Spectre V2 : whatever'
	row splat-allowed 0 'PASS' vmtest --splat-allow "$dir/allow" -- kmsg=0 '<4>WARNING: CPU: 0 at x.c:1'
	row splat-ignored 0 'PASS' vmtest --no-splat -- kmsg=0 '<4>WARNING: CPU: 0 at x.c:1'
	row hang 4 'vmtest: HANG' vmtest --hang-timeout 2 -- hang
	check hang-is-no-splat grep -q '"splat": ""' "$dir/out/verdict.json"
	check hang-dump grep -q '^test_progs:.*(S)' "$dir/out/hang.txt"
	row timeout 124 'vmtest: TIMEOUT' vmtest --timeout 5 -- chatter
	row no-init 6 'BOOTFAIL.*panic' vmtest --append rdinit=/none -- exit=0
}

# Which kernel that was: its release may be that of many.
kernel_in_verdict() {
	local sum image

	image=$(image_path vmtest)
	sum=$(sha256sum "$image") && grep -q "\"image_sha256\": \"${sum%% *}\"" "$dir/out/verdict.json" &&
		grep -q "\"image\": \"$image\"" "$dir/out/verdict.json" &&
		grep -q '"version": "#1 .*20[0-9][0-9]' "$dir/out/verdict.json"
}

# An ELF file of type ET_CORE (4). The next run takes it away.
core_comes_back() {
	[[ $(od -An -tx1 -j 16 -N 2 "$dir"/out/core.[0-9]*) == " 04 00" ]] && vmtest -q -- exit=0 &&
		! compgen -G "$dir/out/core.*"
}

# vmtest_broken CODE OPTION...: the guest puts that machine code over a system call, and makes it.
vmtest_broken() {
	vmtest --qemu-arg -fw_cfg --qemu-arg "name=opt/code,file=$dir/$1" "${@:2}" -- break
}

# Every status of test_progs, and what must never count as a proof.
test_protocol() {
	local begin=('BOOT 1.2.3' TESTS-START)
	local rest=$'[ 9.1] Call Trace:\n[ 9.1]  f+0x1/0x2\n[ 9.1] ---[ end trace 0 ]---'

	row told-0 0 'PASS .*1\.2\.3' vmtest_with_script "${begin[@]}" 'DONE 0' @results END
	row told-1 1 FAIL vmtest_with_script "${begin[@]}" 'DONE 1' END
	row told-2 2 'USAGE .*refuses' vmtest_with_script "${begin[@]}" 'DONE 2' END
	row told-config 8 '^    CONFIG_BPF_STREAM_PARSER  sockmap' vmtest_without_config "${begin[@]}" 'DONE 3' @config.gz END
	row told-3 8 UNTESTABLE vmtest_with_script "${begin[@]}" 'DONE 3' END
	row told-4 77 SKIP vmtest_with_script "${begin[@]}" 'DONE 4' END
	row told-64 2 'USAGE .*refuses' vmtest_with_script "${begin[@]}" 'DONE 64' END
	row told-255 1 'exited with 255' vmtest_with_script "${begin[@]}" 'DONE 255' END
	row told-signal 1 'killed by SIGKILL' vmtest_with_script "${begin[@]}" 'DONE signal 9' END
	row confirmed 0 PASS vmtest_with_script "${begin[@]}" 'DONE 0' @results END exit=65
	row not-confirmed 7 'verdict mismatch' vmtest_with_script "${begin[@]}" 'DONE 0' @results END exit=67
	row told-unknown 7 garbled vmtest_with_script "${begin[@]}" 'WELL DONE' 'DONE 0' @results END
	row start-after-done 7 garbled vmtest_with_script "${begin[@]}" 'DONE 4' TESTS-START END
	row no-boot 7 garbled vmtest_with_script TESTS-START 'DONE 4' END
	row cut-by-return 7 garbled vmtest_with_script "${begin[@]}" $'DONE 4\r1' END
	row no-end 3 CRASH vmtest_with_script "${begin[@]}" 'DONE 0'
	row no-done 7 garbled vmtest_with_script "${begin[@]}" END
	row no-start 7 garbled vmtest_with_script 'BOOT 1.2.3' 'DONE 0' END
	row no-nonce 6 BOOTFAIL vmtest_with_script ' VMTEST none BOOT 1' ' VMTEST none TESTS-START' \
		' VMTEST none DONE 0' ' VMTEST none END'
	row two-verdicts 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' 'DONE 0' END
	row no-number 7 garbled vmtest_with_script "${begin[@]}" 'DONE x' END
	row log-begins-in-splat 0 PASS vmtest_with_log "$rest"
	row log-has-bare-trace 5 'SPLAT .*Call Trace' vmtest_with_log "$rest"$'\n[ 9.2] Call Trace:'
	row short-file 3 CRASH vmtest_with_script "${begin[@]}" 'DONE 0' 'FILE dmesg.txt 999 999' ' 12345678' END
	row long-file 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' 'FILE dmesg.txt 2 2' ' 12345678' END
	row huge-file 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' 'FILE dmesg.txt 99999999999 2' END
	row bytes-after-file 7 garbled vmtest_with_script "${begin[@]}" 'DONE 0' @results ' 12345678' END
	row garbage 77 SKIP vmtest_with_script ' junk' "${begin[@]}" ' VMTEST' ' *' 'NOTE a' 'DONE 4' END
	row stray-int3 77 'the guest failed as it does at times' vmtest_with_int3
	row killed-after-warning 7 'INFRA .*status 137' vmtest_killed_after 'WARNING: CPU: 0 PID: 1 at x.c:1'
	row killed-after-panic 3 'CRASH .*panic' vmtest_killed_after 'Kernel panic - not syncing: x'
	row impossible-flags 77 'the guest failed as it does at times' vmtest_with_flags c233ee02
	row possible-flags 3 'CRASH .*double fault' vmtest_with_flags 00010206
	row leak-suspected 77 '' vmtest_with_leaks 'kmemleak: 1 new suspected memory leaks (see x)'
	row leak 5 'SPLAT .*unreferenced object 0xffff888102 ' vmtest_with_leaks \
		'kmemleak: 1 new suspected memory leaks (see x)' 'unreferenced object 0xffff888102 (size 8):'
	row leak-unasked 5 'SPLAT .*suspected' vmtest_with_console 'kmemleak: 1 new suspected memory leaks (see x)'
	row fatal 6 'BOOTFAIL.*no devtmpfs' vmtest_with_script 'FATAL no devtmpfs'
}

test_output() {
	row decoded 5 'with source lines' vmtest_with_symbols '1.2.3-fake (me@here) #1 SMP'
	check decoded-line grep -qE ' guilty\+0x4/0x[0-9a-f]+ +source\.c:[3-5]' "$dir/out/decoded.txt"
	row decoded-by-its-own 5 SPLAT vmtest_with_symbols '1.2.3-fake (me@here) #2 SMP'
	check decoded-not-by-others test ! -e "$dir/out/decoded.txt"
	row console-flood 5 'SPLAT .*WARNING: CPU: 0' vmtest_with_flood console '[    2.000000] WARNING: CPU: 0 PID: 1 at x.c:1'
	check console-flood-log log_is_bounded console.log
	row tests-flood 77 'bytes of a log in .* are left out' vmtest_with_flood tests ''
	check tests-flood-log log_is_bounded test.log
	row messy-output 0 'no line feed' vmtest -- messy
	row flood 0 'line 7999 ' vmtest -- flood
	row escapes 1 '^    \?\[2J0+\.\.\.$' vmtest -q -- forge
	row closed-output 0 PASS vmtest -- closed
	row reader-gone 0 PASS reader_gone
	row slow-reader 0 PASS slow_reader
	slow row lost-memory 1 'loses:FAIL' loses_memory
	slow row lost-memory-once 0 'loses_once:OK' loses_memory_once
	row environment 0 '' environment_arrives
	check initramfs-list grep -qE '^-rw[-r]{7} +11 etc/colour$' "$dir/out/initramfs.list"
	row last-file-counts 0 'two of them' vmtest --add "$dir/a b/in:/x" --add "$dir/two:/x" -- show /x
	row arguments 0 '' arguments_arrive
	row slow-kernel 0 watchdog_thresh slow_kernel_gets_patience
	row files 0 '' files_travel
	row reports 0 '' reports_travel
	check github annotations_and_summary
	row tree 0 '' tree_comes_back
	row modules 0 PASS vmtest -- use-modules
	row no-modules 1 'vsock|tls|connect' vmtest --modules none -- use-modules
	row module-unasked 1 'No such file' vmtest -- write /proc/sys/net/ipv4/tcp_congestion_control vegas
	row module-named 0 '' vmtest --modules tcp-vegas -- write /proc/sys/net/ipv4/tcp_congestion_control vegas
	row module-unknown 0 'no module nonsense' vmtest --modules nonsense -- exit=0
	check module-built-in module_is_built_in
	check quiet quiet_is_quiet
}

reader_gone() {
	vmtest -- flood | head -n 1
}

# For longer than the guest may be silent: it is not the guest that does nothing.
slow_reader() {
	vmtest --hang-timeout 2 -- flood | { sleep 6; wc -l; } | grep -qx 8001
}

# What the harness finds in the slab caches only tells where nobody else is at work.
lose_memory() {
	"$HERE/vmtest.sh" "${kernel[@]}" --bin "$HERE/.output/selftest_progs" -o "$dir/out" --no-xfail \
		--env WASTE=lost -- "$@"
}

loses_memory() {
	lose_memory -a waste/keeps_clean,waste/loses,waste/loses_once >"$dir/lost"
	local status=$?

	cat "$dir/lost"
	grep -q 'keeps_clean:OK' "$dir/lost" && grep -q 'loses_once:OK' "$dir/lost" &&
		grep -q 'leaks memory: .* slab cache kmalloc-1k' "$dir/lost" || return 99
	return $status
}

loses_memory_once() {
	lose_memory -a waste/loses_once,waste/keeps_clean
}

environment_arrives() {
	vmtest --env COLOUR=blue --add "$dir/a b/in:/etc/colour" --sysctl net.core.somaxconn=77 -- \
		show COLOUR /etc/colour /proc/sys/net/core/somaxconn >"$dir/shown" || return 99
	printf '%s\n' COLOUR=blue 'to and fro' 77 | cmp - <(tail -n 3 "$dir/shown")
}

arguments_arrive() {
	vmtest -- args 'a  *b' '' $'two\nlines' >"$dir/args" || return 99
	tail -n 4 "$dir/args" | sed 's/^argv.[0-9]*.//' | cmp - <(printf '=<%s>\n' 'a  *b' '' $'two\nlines')
}

# With a kernel that has KASAN, as far as its configuration tells.
slow_kernel_gets_patience() {
	local image release

	image=$(image_path vmtest)
	release=${image##*/vmlinuz-}
	mkdir -p "$dir/debug" && cp "$image" "${image%/*}/config-$release" "$dir/debug" || return
	echo CONFIG_KASAN=y >>"$dir/debug/config-$release"
	vmtest_on -k "$dir/debug/${image##*/}" -- --accel tcg -- args >"$dir/args" || return 99
	grep -F '<-w120>' "$dir/args" && grep -F '<--io-timeout=20>' "$dir/args" &&
		grep -o 'watchdog_thresh=25' "$dir/out/qemu.cmd"
}

quiet_is_quiet() {
	vmtest -q -- exit=0 >"$dir/quiet" && [[ ! -s $dir/quiet ]] &&
		grep -q '"verdict": "PASS"' "$dir/out/verdict.json" &&
		grep -q 'tests start' "$dir/out/dmesg.txt"
}

# Through -d @FILE into the guest, and out of it again through -J, with a blank in the path.
files_travel() {
	local in="$dir/a b/results" back="$dir/a b/back"

	cp "$dir/results" "$in"
	vmtest -- -J "$back" copy "@$in" to "$back" && cmp "$in" "$back" &&
		cmp "$in" "$dir/out/results.json" && rm "$back" &&
		vmtest -- -J "$back" --durations "$in" copy "$in" to "$back" && cmp "$in" "$back"
}

# A report of -o comes back as well, and that in JSON is where the verdict looks for the results.
reports_travel() {
	local in="$dir/a b/results" back="$dir/a b/report"

	vmtest -- -o json:"$back" copy "@$in" to "$back" && cmp "$in" "$back" &&
		cmp "$in" "$dir/out/results.json" && rm "$back" &&
		vmtest -- -o junit:"$back" copy "@$in" to "$back" && cmp "$in" "$back"
}

# in_github ARG...: what GitHub sees in $dir/seen, and the summary of the step in $dir/summary.
in_github() {
	rm -f "$dir/summary"
	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY="$dir/summary" vmtest "$@" >"$dir/seen" 2>&1
}

verdict_is_not_folded() {
	sed -n '/^::group::guest on /,/^::endgroup::/p' "$dir/seen" | grep -q '^guest: copy' &&
		sed -n '/^::endgroup::/,$p' "$dir/seen" | grep -q 'PASS'
}

# The guest has its part in both; a verdict that is not bad is no annotation.
annotations_and_summary() {
	local in="$dir/a b/results"

	cp "$dir/results" "$in"
	in_github -- -J "$dir/a b/back" copy "@$in" to /step-summary.md
	grep -q '^`vmtest: PASS ' "$dir/summary" && tail -n 1 "$dir/summary" | cmp - <(tail -n 1 "$in") &&
		! grep -q '^::error' "$dir/seen" && verdict_is_not_folded && in_github -- show GITHUB_ACTIONS GITHUB_STEP_SUMMARY &&
		grep -qx 'GITHUB_ACTIONS=true' "$dir/seen" &&
		grep -qx 'GITHUB_STEP_SUMMARY=/step-summary.md' "$dir/seen" || return 99
	in_github -- annotate
	grep -q '^::error title=vmtest::FAIL ' "$dir/seen" && grep -q '^`vmtest: FAIL ' "$dir/summary" &&
		[[ $(grep -c '^::error title=guest' "$dir/seen") == 1 ]]
}

# A directory of the guest comes back whole, a path of more than 100 characters among others.
tree_comes_back() {
	local deep

	deep=$(printf '/d%.0s' {1..60})
	vmtest --add "$dir/a b/in:/tree/a" --add "$dir/results:/tree$deep/b" --collect "/tree:$dir/a b/tree.tar" \
		--collect "/tree/a:$dir/a b/one" -- exit=0 || return 99
	mkdir -p "$dir/unpacked" && tar -C "$dir/unpacked" -xf "$dir/a b/tree.tar" || return 98
	cmp "$dir/a b/in" "$dir/unpacked/tree/a" && cmp "$dir/results" "$dir/unpacked/tree$deep/b" &&
		cmp "$dir/a b/in" "$dir/a b/one" && [[ $(find "$dir/unpacked" -type f | wc -l) == 2 ]]
}

module_is_built_in() {
	vmtest --modules tcp_cubic -- exit=0 2>"$dir/said" && ! grep 'there is no module' "$dir/said"
}

# ---- Packages ------------------------------------------------------------------------------------

# image_path VMTEST...: the kernel that it would boot.
image_path() {
	"$@" --print-cmd 2>/dev/null | grep -oE -- '-kernel [^ ]+' | sed 's/^-kernel //'
}

# Of the kernel at hand, a package of the image and one of some modules; and a folder of programs without
# those of dpkg.
make_packages() {
	local image release modules part

	image=$(image_path vmtest)
	release=${image##*/vmlinuz-}
	for part in image modules; do
		mkdir -p "$dir/$part/DEBIAN"
		printf '%s\n' "Package: linux-$part-1" 'Version: 1' 'Architecture: all' \
			'Maintainer: t <t@localhost>' 'Description: t' >"$dir/$part/DEBIAN/control"
	done
	mkdir -p "$dir/image/boot" "$dir/modules/lib/modules/$release/kernel" "$dir/no-dpkg"
	cp "$image" "$dir/image/boot"
	modules=$(find "${image%/boot/*}"/{,usr/}lib/modules/"$release" -name kernel -print -quit 2>/dev/null)
	cp -r "$modules"/{net,crypto,arch} "$dir/modules/lib/modules/$release/kernel"
	for part in image modules; do
		dpkg-deb -Zxz -z0 --root-owner-group -b "$dir/$part" "$dir/$part.deb" >/dev/null || bail_out "no package"
	done
	ln -s /usr/bin/* "$dir/no-dpkg"
	rm "$dir"/no-dpkg/dpkg*
	echo nonsense >"$dir/nonsense.deb"
	head -c 100000 "$dir/image.deb" >"$dir/cut.deb"
}

test_packages() {
	selected packages || return 0
	make_packages
	row packages 0 PASS vmtest_with_packages "$dir/image.deb,$dir/modules.deb" -- use-modules
	row packages-image-alone 1 'vsock|tls|connect' vmtest_with_packages "$dir/image.deb" -- use-modules
	row packages-nonsense 2 'not a Debian package' vmtest_with_packages "$dir/nonsense.deb"
	row packages-cut-short 7 'cannot unpack' vmtest_with_packages "$dir/cut.deb"
	rm -r "$dir/cache/sockmap-tests/debs"
	check packages-without-dpkg unpacked_without_dpkg
	row packages-cut-without-dpkg 7 'cannot unpack' env PATH="$dir/no-dpkg" XDG_CACHE_HOME="$dir/cache" \
		"$HERE/vmtest.sh" -k "$dir/cut.deb" --bin "$dir/guest" -o "$dir/out"
}

# Without what the machine has in its cache about KVM, but that is not the point.
vmtest_with_packages() {
	XDG_CACHE_HOME=$dir/cache vmtest_on -k "$1" -- --accel tcg "${@:2}"
}

unpacked_without_dpkg() {
	local image

	export XDG_CACHE_HOME=$dir/cache
	image=$(PATH=$dir/no-dpkg image_path vmtest_on -k "$dir/image.deb,$dir/modules.deb" --)
	export XDG_CACHE_HOME=$cache
	cmp "$image" "$dir/image/boot/${image##*/}" && diff -r "$dir/modules/lib" "${image%/boot/*}/lib" &&
		[[ ! $(find "${image%/boot/*}" -name '.data*') ]]
}

# ---- What the host lacks -------------------------------------------------------------------------

test_host() {
	row no-binary 2 'does not exist' vmtest --bin "$dir/nothing"
	row dynamic-binary 2 'not static' vmtest --bin "$dir/dynamic"
	row script-binary 2 'not an x86-64 ELF' vmtest --bin "$HERE/vmtest.sh"
	row no-kernel 2 'no such file' vmtest_on -k "$dir/nothing" --
	row not-a-kernel 2 'not a kernel image' vmtest_on -k "$HERE/tests/guests/guest.c" --
	row bad-option 2 'unknown option' vmtest --nonsense
	row no-value 2 'needs a value' vmtest --smp
	row bad-number 2 'needs a number' vmtest --mem=64
	row bad-collect 2 'absolute path' vmtest --collect results
	row collect-nowhere 2 'cannot write to' vmtest --collect /a:/nowhere/b
	row bad-accel 2 'auto kvm tcg' vmtest --accel fast
	row bad-regex 128 'not a regular expression' vmtest --bisect --match '('
	row bisect-of-nothing 128 'needs -k' vmtest_on -- --bisect
	row match-alone 2 'go with --bisect' vmtest --match x
	row debug-alone 2 'goes with --build' vmtest --debug
	row bad-env 2 'NAME=VALUE' vmtest --env colour
	row bad-allow-file 2 '"\(" is not a regular expression' vmtest --splat-allow "$dir/bad-allow"
	row bad-allow-file-for-git 128 'regular expression' vmtest --bisect --splat-allow "$dir/bad-allow"
	row no-allow-file 2 'no such file' vmtest --splat-allow "$dir/nothing"
	row build-image 2 'needs a kernel tree' vmtest_on -k "$HERE/vmtest.sh" -- --build
	row missing-list 2 'no such file' vmtest -- -d @"$dir/nothing"
	row missing-list-of-two 2 'no such file' vmtest -- --deny=one,@"$dir/nothing"
	row no-directory 2 'cannot write' vmtest -- -J "$dir/no/such/file"
	row results-to-stdout 2 'need a file' vmtest -- -J -
	row json-to-stdout 2 'need a file' vmtest -- -o json
	row results-of-two 2 'cannot share .*/r\.json' vmtest "${kernel[@]}" -- -J "$dir/r.json"
	row collected-of-two 2 'cannot share' vmtest "${kernel[@]}" --collect "/x:$dir/x"
	row shell-in-two 2 'take one kernel' vmtest "${kernel[@]}" --shell
	! command -v busybox >/dev/null || row shell-for-nobody 130 'before there was a shell' vmtest --shell
	row no-qemu 7 'apt-get install' vmtest_without_qemu
	row no-such-qemu 7 'INFRA: /no/such is missing' env QEMU=/no/such "$HERE/vmtest.sh" --bin "$dir/guest" -k 6.1
	row qemu-dies 7 'no good' vmtest_with_fake 'echo no good >&2; exit 1'
	row qemu-aborts 7 'status 134' vmtest_with_fake 'kill -ABRT $$'
	row qemu-quits 6 'restarted before' vmtest_with_fake 'exit 0'
	slow row qemu-silent 6 'QEMU is stuck' vmtest_with_fake 'exec sleep 60' --boot-timeout 1
	row locked 7 'another' locked_output
	row disk-full 7 'cannot write' disk_full
	slow row reader-stalls 0 PASS reader_stalls
	row interrupted 130 INTERRUPTED interrupt_it
	check nothing-left nothing_left
	check print-cmd print_command
	check arm64-at-home prints_for_arm64 aarch64 'accel kvm|KVM is unusable here'
	check arm64-abroad prints_for_arm64 x86_64 'accel tcg'
}

# A disk with room for the initramfs and not much more.
disk_full() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m bash -c '
		mount -t tmpfs -o size=6m none "$1" && shift && "$@"' - "$dir/small" \
		"$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/small/out" -- megabytes
}

locked_output() {
	mkdir -p "$dir/out"
	flock "$dir/out/.lock" "$HERE/vmtest.sh" "${kernel[@]}" --bin "$dir/guest" -o "$dir/out"
}

# Whoever stops to read loses the rest, and does not keep the verdict from the others.
reader_stalls() {
	vmtest -- megabytes | (sleep 20)
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
	[[ ! $(ls -A "$dir/scratch") ]] && ! grep -qls "$dir/out" /proc/[0-9]*/cmdline
}

print_command() {
	vmtest --print-cmd | grep -q isa-serial
}

# What there is to see of an Image and of a static binary for arm64: KVM is worth a try at home.
prints_for_arm64() {
	{ head -c 56 /dev/zero; printf 'ARM\x64Linux version 1.2.3 '; } >"$dir/Image"
	{ printf '\x7fELF'; head -c 14 /dev/zero; printf '\xb7'; head -c 45 /dev/zero; } >"$dir/arm64"
	chmod +x "$dir/arm64"
	fake_qemu 'exit 0'
	HOSTTYPE=$1 QEMU=$dir/fake-qemu "$HERE/vmtest.sh" -k "$dir/Image" --arch arm64 --bin "$dir/arm64" \
		--print-cmd 2>&1 | grep -qE -e "$2"
}

# ---- More than one boot --------------------------------------------------------------------------

test_modes() {
	row repeat 1 '3 of 3 runs failed' vmtest --repeat 3 -- exit=1
	check repeat-logs logs_of_the_worst
	check remembers verdicts_are_remembered
	check bisect-check-comes-back ends_leave_the_head
	row bisect-check-of-nothing 2 'no commit nonesuch' vmtest_on -k "$dir/ends" -- --bisect-check HEAD nonesuch
	row until-fail 1 'run 1 of 9' vmtest --repeat 9 --until-fail -- exit=1
	check matrix matrix_of_three
	check page page_of_two
	row page-nowhere 2 'cannot write to /nowhere' vmtest --report /nowhere/page.html
	row page-of-nothing 2 'does not go with --print-cmd' vmtest --print-cmd --report "$dir/page.html"
	check github-matrix annotations_of_rows
	check list-kernels "$HERE/vmtest.sh" --list-kernels
	check list-kernels-homeless without_a_home --list-kernels
	check doctor "$HERE/vmtest.sh" --doctor
	row doctor-without-qemu 7 'missing  qemu' env -u QEMU PATH="$dir/bin" bash "$HERE/vmtest.sh" --doctor
	check shell a_shell
}

# The second run fails, and has nothing of what the first one, or one before that, had to say.
# shellcheck disable=SC2016 # for the fake to expand
logs_of_the_worst() {
	mkdir -p "$dir/out" && echo 'of another kernel' >"$dir/out/hang.txt"
	vmtest_with_fake "$parse_arguments"'
	{ echo "VMTEST $nonce BOOT 1.2.3"; echo "VMTEST $nonce TESTS-START"; } >&$control
	[[ -e '"$dir"'/again ]] || echo "[    1.000000] WARNING: CPU: 0 PID: 1 at x.c:1" >&$console
	status=4; [[ ! -e '"$dir"'/again ]] || status=1
	touch '"$dir"'/again
	{ echo "VMTEST $nonce DONE $status"; echo "VMTEST $nonce END"; } >&$control' --repeat 2
	(($? == 1)) && [[ -s $dir/out/run-1/splat.txt && ! -e $dir/out/splat.txt && ! -e $dir/out/hang.txt ]]
}

# recalls OPTION...: a step of a bisect in $dir/tree, on that same image, boots nothing.
recalls() {
	QEMU=$dir/fake-qemu vmtest_on -k "$dir/tree" -- --accel tcg --bisect "$@" >"$dir/said" 2>&1
	grep 'this very image' "$dir/said"
}

# Only for the same tests in the same machine.
# shellcheck disable=SC2016 # for the fake to expand
verdicts_are_remembered() {
	local option

	mkdir -p "$dir/tree/arch/x86/boot" && cp "$(image_path vmtest)" "$dir/tree/arch/x86/boot/bzImage" &&
		git init -q "$dir/tree" && touch "$dir/tree/.git/BISECT_START" || return
	fake_qemu "$parse_arguments"'
	{ printf "VMTEST $nonce %s\n" "BOOT 1.2.3" TESTS-START "DONE 4" END; } >&$control'
	! recalls -- exit=0 && recalls -- exit=0 || return
	for option in --sysctl=a.b=1 --env=A=1 --add="$dir/two" --strict --no-splat --splat-allow="$dir/allow" \
		--cpu=max --qemu-arg=-S --hang-timeout=9; do
		! recalls "$option" -- exit=0 || return
	done
	recalls -- exit=0
}

# A tree without a kernel has no verdict, and the branch that it was at.
ends_leave_the_head() {
	local message

	git init -q "$dir/ends" || return
	for message in one two; do
		git -C "$dir/ends" -c user.name=t -c user.email=t@localhost commit -q --allow-empty -m "$message" || return
	done
	vmtest_on -k "$dir/ends" -- --bisect-check HEAD~1 HEAD -- exit=0
	(($? == 128)) && git -C "$dir/ends" symbolic-ref -q HEAD
}

# The cache is where there is room; this one has a list.
without_a_home() {
	local folder=$dir/homeless/cache-$UID/sockmap-tests/kernels

	mkdir -p "$folder" && echo "9.9.1-cloud-amd64 nonesuch" >"$folder/.offered"
	env -u HOME -u XDG_CACHE_HOME TMPDIR="$dir/homeless" "$HERE/vmtest.sh" "$@" | grep '^9\.9\.1-.* nonesuch$'
}

# Two that pass and one that is not there: a row each, and the worst class.
matrix_of_three() {
	vmtest -k "$dir/nothing" "${kernel[@]}" -j 2 -- exit=0 >"$dir/rows"
	(($? == 2)) && grep -qE '^[0-9.]+[^ ]* +PASS +1 ' "$dir/rows" && (($(wc -l <"$dir/rows") == 4)) &&
		grep -qE '/nothing +USAGE .*no such file' "$dir/rows" && python3 -m json.tool "$dir/out/matrix.json"
}

# A column for each, also for the one that is not there; and what an earlier run has left is not shown.
page_of_two() {
	local page="$dir/a b/page.html"

	mkdir -p "$dir/out/nothing"
	echo '{}' >"$dir/out/nothing/results.json"
	vmtest -k "$dir/nothing" --report "$page" -- exit=0
	(($? == 2)) && python3 - "$page" <<-'PYTHON' || return
	import json, re, sys
	data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', open(sys.argv[1]).read(), re.S)[1]
	good, bad = json.loads(data)
	assert good["verdict"]["verdict"] == "PASS" and good["run"]["results"][0]["subtests"][0]["name"] == "ran", good
	assert "run" not in bad and "no such file" in bad["verdict"]["reason"], bad
	PYTHON
	rm "$page" && vmtest --report "$page" -- exit=0 && grep -q '"name":"ran"' "$page"
}

# The output of the tests is not shown, but its annotations are.
annotations_of_rows() {
	in_github "${kernel[@]}" -- annotate
	(($? == 1)) && [[ $(grep -c '^::error title=vmtest::FAIL ' "$dir/seen") == 2 &&
		$(grep -c '^::error title=guest' "$dir/seen") == 2 && $(grep -c '^`vmtest: FAIL ' "$dir/summary") == 2 ]]
}

# Through a terminal of its own; the shell runs in the guest, so its kernel's name is the guest's.
a_shell() {
	command -v busybox >/dev/null || return 0
	rm -f "$dir/out/test.log"
	{ until grep -qs '/ # ' "$dir/out/test.log"; do sleep 0.2; done; printf 'uname -r >/dev/kmsg\nexit\n'; } |
		timeout 120 script -qec "'$HERE/vmtest.sh' ${kernel[*]} -o '$dir/out' --shell" /dev/null &&
		grep -q "$(sed -n 's/.*"release": "\(.*\)".*/\1/p' "$dir/out/verdict.json")\$" "$dir/out/dmesg.txt"
}

# A KVM that opens but boots nothing is found out once, and then remembered.
test_kvm() {
	[[ -r /dev/kvm && -w /dev/kvm ]] || return 0
	export XDG_CACHE_HOME=$dir/cache
	mkdir -p "$dir/cache/sockmap-tests"
	ln -sfn "$cache/sockmap-tests/kernels" "$dir/cache/sockmap-tests/kernels"
	check kvm-not-blamed silent_for_gdb
	fake_qemu "case \"\$*\" in *\"-accel kvm\"*) echo error: failed to set MSR 0x1 >&2; kill -ABRT \$\$ ;; esac
		exec '$real_qemu' \"\$@\""
	export QEMU=$dir/fake-qemu
	row kvm-falls-back 0 'note: KVM is unusable here .*MSR 0x1' vmtest -- exit=0
	check kvm-remembered grep -rq '^tcg ' "$dir/cache/sockmap-tests/accel"
	row kvm-demanded 7 'INFRA' vmtest --accel kvm -- exit=0
	unset QEMU
	export XDG_CACHE_HOME=$cache
}

# Whoever debugs may leave before the kernel has said a word.
silent_for_gdb() {
	fake_qemu 'exit 0'
	QEMU=$dir/fake-qemu vmtest --gdb -- exit=0 2>"$dir/said"
	grep 'restarted before' "$dir/said" && ! grep 'KVM is unusable' "$dir/said"
}

prepare
test_verdicts
test_protocol
test_output
test_packages
test_host
test_modes
test_kvm
finish vmtest.sh
