# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# One kernel, from its image to a verdict: test_kernel KERNEL DIRECTORY. It runs in a process of its
# own, ends with the verdict, and leaves what is known about it in DIRECTORY/facts.

# What the last boot was like, as vmwatch tells it; see vm/watch.c.
declare -A fact=()

# What a boot leaves; vmwatch has the same.
readonly LOGS=({console,control,test,qemu}.log {dmesg,hang,splat,kmemleak}.txt {verdict,results}.json config.gz)

test_kernel() {
	out=$2
	now_ms started
	trap cleanup EXIT
	trap 'stop_children; exit $INTERRUPTED' INT TERM HUP
	[[ ! $build ]] || build_kernel "$1"
	find_kernel "${built_image:-$1}"
	choose_accel
	prepare_output
	prepare_github
	build_initramfs
	recall_verdict
	boot_repeatedly
}

# run_kernel KERNEL DIRECTORY: the same, as a child of ours; its exit status is the verdict.
run_kernel() {
	local rc=0

	(test_kernel "$@") <&0 &
	child=$!
	wait "$child" || rc=$?
	child=''
	return $rc
}

read_facts() {
	local key value

	fact=()
	[[ -r $1 ]] || return 0
	while IFS='=' read -r key value; do
		fact[$key]=$value
	done <"$1"
}

# Whatever an earlier run left must not be taken for this one's.
prepare_output() {
	local file

	out=${out:-$logs_dir/$name}
	[[ -d $out ]] || mkdir -p "$out" 2>/dev/null || die INFRA "cannot create $out"
	out=$(cd "$out" && pwd -P) || die INFRA "cannot enter $out"
	exec {lock}>"$out/.lock" || die INFRA "cannot write to $out"
	if command -v flock >/dev/null; then
		flock -n "$lock" || die INFRA "another $PROG is writing to $out; choose one with -o"
	fi
	rm -rf "$out"/{run,core}[-.][0-9]* "$out"/{facts,qemu.cmd,initramfs.list,decoded.txt,step-summary.md}
	remove_logs
	for file in "${collected[@]}"; do
		[[ ! -f $file ]] || rm -f -- "$file"
	done
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/vmtest.XXXXXX") || die INFRA "cannot create a scratch directory"
}

remove_logs() {
	(cd "$out" && rm -f "${LOGS[@]}")
}

# ---- Building ------------------------------------------------------------------------------------

# Sets built_image. A tree that does not build, or not with what the tests need, has no verdict.
build_kernel() {
	local dir=${out:-$logs_dir} rc=0
	local args=(--log "$dir/build.log" --arch "$arch")

	[[ -d $1 ]] || die USAGE "--build needs a kernel tree; -k is \"$1\""
	mkdir -p "$dir" || die INFRA "cannot create $dir"
	[[ ! $debug ]] || args+=(--debug)
	[[ ! $build_target ]] || args+=(--target "$build_target")
	[[ ! $base_config ]] || args+=(--base "$base_config")
	wait_for built_image "$HERE/vm/build-kernel.sh" "${args[@]}" "${config_fragments[@]/#/--config=}" "$1" ||
		rc=$?
	((rc)) || return 0
	((rc != UNTESTABLE)) || printf 'reason=not built; see %s\n' "$dir/build.log" >"$dir/facts"
	exit "$rc"
}

# wait_for VARIABLE COMMAND...: its output; its exit status is ours. In the background, and a process group
# of its own, so that a signal is answered at once, by what the command waits for, too.
wait_for() {
	local -n into=$1
	local file text rc=0

	file=$(mktemp) || die INFRA "cannot create a scratch file"
	exec {text}<>"$file"
	rm -f "$file"
	setsid "${@:2}" >&"$text" &
	child=-$!
	wait "${child#-}" || rc=$?
	child=''
	into=$(<"/dev/fd/$text")
	exec {text}>&-
	return "$rc"
}

# ---- Booting -------------------------------------------------------------------------------------

watch_options() {
	local factor option

	factor=$(slowness)
	watch=(
		-o "$run" --nonce "$nonce" --facts "$tmp/facts"
		--timeout "${total_timeout:-$((factor == 1 ? 600 : 1800 * factor))}"
		--boot-timeout "${boot_timeout:-$((factor == 1 ? 60 : 90 * factor))}"
		--hang-timeout "${hang_timeout:-$((90 * factor))}"
		--image "$image" --info "image=$image" --info "accel=$accel" --info "accel_reason=$accel_reason"
		"${collect_args[@]}"
	)
	[[ $accel != kvm || $kvm_proven ]] || watch+=(--first-sign 15)
	[[ ! $show_tests ]] || watch+=(--show-tests)
	[[ ! $verbose ]] || watch+=(--show-console)
	[[ ! $shell ]] || watch+=(--terminal)
	[[ ! $gdb ]] || watch+=(--timeout 0 --boot-timeout 0 --hang-timeout 0)
	[[ ! $no_splat ]] || watch+=(--no-splat)
	for option in "${splat_allow[@]}"; do
		watch+=(--splat-allow "$option")
	done
	[[ ! $use_expect ]] || watch+=(--expect "$HERE/vm/expect")
}

boot_once() {
	local watch

	printf -v nonce '%08x%08x' "$SRANDOM" "$SRANDOM"
	qemu_command
	watch_options
	[[ ! $gdb ]] || say "waiting for: gdb ${vmlinux:-VMLINUX} -ex 'target remote $out/gdb.sock'"
	[[ ! -e $tmp/facts ]] || rm "$tmp/facts"
	"$host_dir/vmwatch" "${watch[@]}" -- "${machine[@]}" "${ports[@]}" <&0 &
	child=$!
	write_qemu_cmd
	wait "$child"
	code=$?
	child=''
	read_facts "$tmp/facts"
	[[ ! -s $run/qemu.log ]] || ! grep -q 'PVH ELF Note' "$run/qemu.log" ||
		die UNTESTABLE "QEMU boots a vmlinux only with CONFIG_PVH; name the bzImage instead"
	[[ ${fact[code]-} == "$code" ]] || die INFRA "vmwatch ended with status $code and no verdict"
}

# KVM, not the kernel, is at fault when QEMU says so, or ends or is silent before the kernel's first
# line. Had it been the kernel's fault, TCG would not have booted it either.
kvm_is_broken() {
	[[ $accel_mode == auto && $accel == kvm ]] || return 1
	[[ ${fact[kvm_error]} ]] && return 0
	[[ ! $kvm_proven && ${fact[outcome]} =~ ^(died|silent)$ && ${fact[spoke]} != 1 ]]
}

# While the kernel patches its code, one emulated processor may still run the breakpoint that another
# has already removed; the kernel then dies of an int3 that it knows nothing about. Seen about once
# in 200 boots. Much more rarely an interrupt finds flags in the processor that there cannot be, which
# is a double fault. A breakpoint of the kernel's own making comes back in the second run, and counts.
# Now and then a boot stops without a word; that, too, has a second run to prove itself.
tcg_has_misfired() {
	[[ $accel == tcg && $arch == x86_64 && ! $tcg_threads ]] || return 1
	[[ ${fact[outcome]} == unbooted ]] || [[ ${fact[misfired]} == 1 ]]
}

# QEMU itself failed, before the kernel had any part in it.
qemu_has_failed() {
	[[ $code == "$INFRA" && ${fact[outcome]} == died && ${fact[spoke]} != 1 ]]
}

boot() {
	boot_once
	if kvm_is_broken; then
		accel_reason=${fact[kvm_error]:-"no sign of the kernel; QEMU: ${fact[outcome]}"}
		accel=tcg
		note_accel
		boot_once
		[[ ${fact[phase]} == none ]] || remember_accel "tcg $accel_reason"
	elif [[ $accel == kvm && ${fact[phase]} != none ]]; then
		remember_accel kvm
	fi
	if tcg_has_misfired; then
		say "note: the guest failed as it does at times when QEMU has a thread for each processor; again with one"
		tcg_threads=,thread=single
		boot_once
	elif qemu_has_failed; then
		say "note: QEMU failed (${fact[reason]}); trying once more"
		boot_once
	fi
}

# Sets code and fact to those of the worst run: a flake is found by the runs that fail.
boot_repeatedly() {
	local i begun bad=0 worst='' runs=$repeat
	local -A worst_fact=()

	for ((i = 1; i <= runs; i++)); do
		run=$out
		((runs == 1)) || run=$out/run-$i
		[[ -d $run ]] || mkdir "$run" || die INFRA "cannot write to $out"
		now_ms begun
		boot
		elapsed "$begun"
		((runs == 1)) || say "run $i of $runs: $(verdict_line)"
		((code == PASS || code == SKIP)) || bad=$((bad + 1))
		if [[ ! $worst ]] || is_worse "$code" "$worst"; then
			worst=$code
			copy_facts fact worst_fact
			[[ $run == "$out" ]] || keep_logs "$run"
		fi
		((bad == 0)) || [[ ! $until_fail ]] || break
	done
	code=$worst
	copy_facts worst_fact fact
	((runs == 1)) || fact[reason]="$bad of $((i > runs ? runs : i)) runs failed${fact[reason]:+: ${fact[reason]}}"
	conclude
}

copy_facts() {
	local -n from=$1 to=$2
	local key

	to=()
	for key in "${!from[@]}"; do
		to["$key"]=${from["$key"]}
	done
}

# The logs of the run that decides are where those of a single run would be, and no others.
keep_logs() {
	remove_logs
	find "$1" -maxdepth 1 -type f -exec ln -f {} "$out/" \; || die INFRA "cannot write to $out"
}

is_worse() {
	local class a b

	a=$(verdict_name "$1") b=$(verdict_name "$2")
	for class in "${CLASSES[@]}"; do
		[[ $class != "$b" ]] || return 1
		[[ $class != "$a" ]] || return 0
	done
	return 1
}

# ---- The verdict -------------------------------------------------------------------------------

counts() {
	local key text=''

	for key in passed failed skipped xfailed; do
		[[ ! ${fact[$key]-} || $key:${fact[$key]} == xfailed:0 ]] || text+="${text:+, }${fact[$key]} $key"
	done
	printf '%s' "$text"
}

# elapsed SINCE: sets seconds.
elapsed() {
	local now

	now_ms now
	printf -v seconds '%d.%d' $(((now - $1) / 1000)) $(((now - $1) % 1000 / 100))
}

verdict_line() {
	local label=${fact[release]:-$name} why

	[[ $name == "$label" ]] || label="$name ($label)"
	why=$(counts)
	why+=${fact[reason]:+${why:+; }${fact[reason]}}
	printf '%s %s (%s) in %s s%s\n' "$(verdict_name "$code")" "$label" "$accel" "$seconds" "${why:+: $why}"
}

# What a kernel without this or that option explains.
explain_config() {
	local missing

	# A kernel that came without its configuration may have handed it out.
	[[ $config_file || ! -s $out/config.gz ]] || config_file=$out/config.gz
	[[ $code =~ ^($BOOTFAIL|$UNTESTABLE|$SKIP)$ && $config_file ]] || return 0
	missing=$(config_missing "$config_file" required "$HERE/vm/kernel"{,".$arch"}.config)
	[[ ! $missing ]] || say "missing in $config_file:"$'\n    '"${missing//$'\n'/$'\n    '}"
}

conclude() {
	elapsed "$started"
	close_fold
	explain_config
	[[ ! -s $out/splat.txt || ! $vmlinux ]] || decode_stack
	say "$(verdict_line)"
	conclude_github "$(verdict_line)"
	write_facts || die INFRA "cannot write to $out"
	[[ $in_matrix ]] || make_page "$out"
	keep_verdict
	exit "$code"
}

# make_page DIRECTORY...: of the logs in them.
make_page() {
	[[ ! $page ]] || "$host_dir/test_progs" --report "$page" "$@" || die INFRA "there is no $page"
}

# For the matrix and the bisect.
write_facts() {
	local key

	fact[name]=$name fact[seconds]=$seconds fact[image]=$image fact[accel]=$accel
	for key in "${!fact[@]}"; do
		printf '%s=%s\n' "$key" "${fact[$key]}"
	done >"$out/facts"
}

# ---- Reading a stack -----------------------------------------------------------------------------

# Source lines for the call traces in splat.txt, from a vmlinux of the same build.
decode_stack() {
	local banner

	command -v addr2line >/dev/null && command -v nm >/dev/null || return 0
	banner=$(grep -a -h -o -m 1 'Linux version .*' "$out/dmesg.txt" "$out/console.log" 2>/dev/null |
		head -n 1 | tr -d '\r')
	grep -a -q -F -- "$banner" "$vmlinux" || return 0
	"$HERE/vm/decode-stack.sh" "$vmlinux" <"$out/splat.txt" >"$out/decoded.txt" &&
		say "with source lines: $out/decoded.txt"
}

# ---- Leaving -------------------------------------------------------------------------------------

stop_children() {
	[[ ! ${child-} ]] || { kill -TERM -- "$child"; wait "${child#-}"; } 2>/dev/null
}

cleanup() {
	close_fold
	[[ $keep || ! ${tmp-} ]] || rm -rf "$tmp"
	[[ ! ${scratch_dir-} ]] || rm -rf "$scratch_dir"
}
