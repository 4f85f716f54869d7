# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# --doctor: what this machine has and lacks, and how to get it. Ends with 0 if a plain run can work.

doctor_rc=0

# line STATE WHAT [HOW TO GET IT]
line() {
	printf '%-8s %s%s\n' "$1" "$2" "${3:+: $3}"
}

# essential|optional TOOL PACKAGE FOR...
essential() {
	has_tool "$@" || doctor_rc=$INFRA
}

optional() {
	has_tool "$@" || return 0
}

has_tool() {
	if command -v "$1" >/dev/null; then
		line ok "$1 ($3)"
	else
		line missing "$1 ($3)" "apt-get install $2"
		return 1
	fi
}

check_tools() {
	essential "${QEMU:-$qemu_default}" "$qemu_package" "the machine"
	essential modinfo kmod "the kernel's modules"
	optional xz xz-utils "packed modules of Debian's kernels"
	optional zstd zstd "packed modules of Ubuntu's kernels"
	command -v ar >/dev/null || optional dpkg-deb dpkg "kernels in .deb packages"
	optional apt-get apt "-k debian:RELEASE"
	optional flock util-linux "several runs at once"
	optional addr2line binutils "source lines in call traces"
	optional busybox busybox-static "--shell"
	optional gdb gdb "--gdb"
	optional git git "--bisect"
	for tool in make gcc flex bison bc; do
		optional "$tool" "$tool" "--build"
	done
	optional pahole dwarves "--build with BTF"
	optional aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" "--arch arm64"
	optional qemu-system-aarch64 qemu-system-arm "--arch arm64"
}

check_programs() {
	local file

	for file in "$bin" "$out_dir/init" "$host_dir/mkinitramfs" "$host_dir/vmwatch"; do
		if [[ -x $file ]]; then
			line ok "$file"
		else
			line missing "$file" "$make_hint"
			doctor_rc=$INFRA
		fi
	done
	(check_binary) 2>/dev/null || { line bad "$bin" "not a static ${arch/_/-} binary"; doctor_rc=$INFRA; }
}

check_resources() {
	local kib where

	kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
	if ((kib / 1024 >= ${mem:-512} + 128)); then
		line ok "memory: $((kib / 1024)) MiB"
	else
		line short "memory: $((kib / 1024)) MiB" "the guest gets ${mem:-512}; see --mem"
	fi
	for where in "${TMPDIR:-/tmp}" "$HERE" "${CACHE%/*}"; do
		[[ -d $where ]] || continue
		kib=$(df -Pk "$where" | awk 'NR == 2 { print $4 }')
		if ((kib >= 512 * 1024)); then
			line ok "disk: $((kib / 1024)) MiB in $where"
		else
			line short "disk: $((kib / 1024)) MiB in $where" "a kernel's package needs about 500"
		fi
	done
}

# Opening it, or even running code in it, proves nothing: only a kernel that boots does.
check_kvm() {
	if [[ ! -e /dev/kvm ]]; then
		line missing "/dev/kvm" "TCG works, about ten times slower"
	elif [[ ! -r /dev/kvm || ! -w /dev/kvm ]]; then
		line missing "permission for /dev/kvm" "usermod -aG kvm $(id -un), and log in again"
	elif ! command -v "${QEMU:-$qemu_default}" >/dev/null; then
		line unknown "/dev/kvm opens; without QEMU nothing can be said about it"
	else
		boot_for_kvm
	fi
}

boot_for_kvm() {
	find_qemu
	choose_accel 2>/dev/null
	if [[ $accel == kvm && ! $kvm_proven ]] && ((doctor_rc == 0)); then
		scratch_dir=$(mktemp -d) || return
		trap cleanup EXIT
		test_args=(-n 1/1 -q)
		run_kernel "${kernels[0]}" "$scratch_dir" >/dev/null 2>&1 </dev/null
		choose_accel 2>/dev/null
	fi
	if [[ $accel == kvm && $kvm_proven ]]; then
		line ok "KVM boots kernels"
	elif [[ $accel == tcg ]]; then
		line broken "KVM opens, but boots no kernel ($accel_reason)" "TCG is used"
	else
		line unknown "/dev/kvm opens; it has not booted a kernel yet"
	fi
}

# Of the kernel in question, if there is one.
check_kernel() {
	local part missing

	[[ ${kernels[0]} ]] || return 0
	find_kernel "${kernels[0]}"
	line ok "kernel $name: $image"
	[[ $config_file ]] || { line unknown "its configuration: no config file beside it"; return; }
	for part in required optional; do
		missing=$(config_missing "$config_file" "$part" "$HERE/vm/kernel"{,".$arch"}.config)
		[[ $missing ]] || { line ok "$part options in $config_file"; continue; }
		line missing "$part options in $config_file:"
		printf '%s\n' "$missing" | sed 's/^/         /'
		[[ $part != required ]] || doctor_rc=$UNTESTABLE
	done
}

doctor() {
	local tool

	check_tools
	check_programs
	check_resources
	check_kvm
	check_kernel
	exit "$doctor_rc"
}
