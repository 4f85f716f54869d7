# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
# shellcheck disable=SC2054 # commas belong to QEMU's arguments and the kernel's parameters
#
# The machine: which accelerator, and QEMU's command line.

# Where what is compiled is, and the logs go: below .output in a source tree. Where `make install` put
# all this, programs are beside vmtest.sh, and nobody can write there.
if [[ -e $HERE/Makefile ]]; then
	readonly host_dir=$HERE/.output logs_dir=$HERE/.output/vm
else
	readonly host_dir=$HERE logs_dir=${XDG_STATE_HOME:-${HOME-}/.local/state}/sockmap-tests/vm
fi

# What differs between architectures.
use_arch() {
	case $1 in
	x86_64 | amd64)
		arch=x86_64 deb_arch=amd64 kernels_dir='' elf_machine=62 tree_image=arch/x86/boot/bzImage
		qemu_default=qemu-system-x86_64 qemu_package=qemu-system-x86
		out_dir=$host_dir make_args=() make_hint=make bin_default=$HERE/test_progs
		;;
	arm64 | aarch64)
		arch=arm64 deb_arch=arm64 kernels_dir=/arm64 elf_machine=183 tree_image=arch/arm64/boot/Image
		qemu_default=qemu-system-aarch64 qemu_package=qemu-system-arm
		out_dir=$host_dir/arm64 make_args=(ARCH=arm64) make_hint="make ARCH=arm64"
		bin_default=$out_dir/test_progs
		;;
	*) die USAGE "--arch is x86_64 or arm64" ;;
	esac
}

find_qemu() {
	local wanted=${QEMU:-$qemu_default}

	QEMU=$(command -v "$wanted") || die INFRA "$wanted is missing: apt-get install $qemu_package"
}

# What this side, and the guest's, has of compiled programs besides the tests.
build_programs() {
	local program

	build_program "$out_dir/init" "${make_args[@]}"
	for program in mkinitramfs vmwatch; do
		build_program "$host_dir/$program"
	done
}

# build_program FILE [MAKE'S ARGUMENT...]
build_program() {
	[[ ! -x $1 ]] || return 0
	make -s -C "$HERE" "${@:2}" "${1#"$HERE/"}" >&2 || die INFRA "cannot build $1"
}

# ---- Accelerator -------------------------------------------------------------------------------

# What was proven holds until the machine boots anew or QEMU changes; its size and date tell that
# twenty times faster than --version.
set_accel_cache() {
	local boot

	read -r boot </proc/sys/kernel/random/boot_id
	accel_cache=$CACHE/accel/$boot-$(stat -L -c %s-%Y "$QEMU")
}

# Sets accel, kvm_proven (a kernel has booted with it) and accel_reason.
choose_accel() {
	local known=''

	# Whoever waits for gdb says nothing, with a KVM that works as well.
	kvm_proven=$gdb accel_reason='' tcg_threads='' accel=$accel_mode
	[[ $accel_mode == auto ]] || return 0
	set_accel_cache
	if [[ $arch != "$HOST_ARCH" ]]; then
		accel=tcg accel_reason="another architecture"
	elif [[ ! -e /dev/kvm ]]; then
		accel=tcg accel_reason="no /dev/kvm"
	elif [[ ! -r /dev/kvm || ! -w /dev/kvm ]]; then
		accel=tcg accel_reason="no permission for /dev/kvm"
	else
		accel=kvm
		[[ -r $accel_cache ]] && IFS= read -r known <"$accel_cache"
		[[ $known == kvm ]] && kvm_proven=1
		[[ $known == tcg* ]] && accel=tcg accel_reason=${known#tcg }
	fi
	note_accel
}

note_accel() {
	[[ $accel_reason && $arch == "$HOST_ARCH" ]] || return 0
	say "note: KVM is unusable here ($accel_reason); using TCG, about ten times slower"
}

remember_accel() {
	[[ $accel_mode == auto ]] || return 0
	mkdir -p "${accel_cache%/*}" 2>/dev/null || return 0
	printf '%s\n' "$*" >"$accel_cache.$$" 2>/dev/null && mv "$accel_cache.$$" "$accel_cache"
}

# ---- QEMU --------------------------------------------------------------------------------------

# How much slower than under KVM a guest may be, where deadlines are concerned.
slowness() {
	local factor=1

	[[ $accel == tcg ]] && factor=2
	[[ $arch == "$HOST_ARCH" ]] || factor=4
	[[ ! $debug_kernel ]] || factor=$((factor * 2))
	echo "$factor"
}

# panic=-1 with -no-reboot ends QEMU at once. An oops is a panic, a warning is not. The lockup
# detectors turn a stuck kernel into a panic that names the culprit. no_timer_check: a loaded host
# may lose the timer interrupts that the boot-time check waits for. panic_print: what all processors
# did; the one that panics need not be the one that is stuck. A debug kernel on a busy host has been
# seen to spend 22 s in an initcall, which is a soft lockup by the kernel's own default.
set_cmdline() {
	local slow words

	slow=$(slowness)
	words=(
		loglevel=6 printk.time=1 printk.devkmsg=on log_buf_len=4M
		panic=-1 oops=panic panic_on_warn=$((${strict:-0})) unknown_nmi_panic=1
		sysrq_always_enabled=1 softlockup_panic=1 hung_task_panic=1
		watchdog_thresh=$((5 + 5 * slow))
		sysctl.kernel.hung_task_timeout_secs=$((15 + 15 * slow))
		sysctl.vm.panic_on_oom=1 kasan_multi_shot panic_print=64
	)

	case $arch in
	x86_64) words+=(console=ttyS0,115200 no_timer_check reboot=t) ;;
	arm64) words+=(console=ttyAMA0 vmtest.control=ttyS0 vmtest.tests=ttyS1) ;;
	esac
	[[ $accel == kvm ]] && words+=(nmi_watchdog=panic)
	[[ $gdb ]] && words+=(nokaslr)
	words+=("${guest_sysctls[@]/#/sysctl.}" "vmtest.nonce=$nonce" "${extra_append[@]}")
	cmdline=${words[*]}
}

# A sanitizer's shadow takes an eighth of the memory and its quarantine more.
set_memory() {
	memory=${mem:-$((512 + 3 * initramfs_size / 1048576))}
	[[ $mem || ! $debug_kernel ]] || memory=$((memory + 1536))
}

# Sets machine, the part of the command that qemu.cmd repeats, and ports, the part that vmwatch
# attaches to. An interrupt line of its own for the third legacy port: they share theirs in pairs.
qemu_command() {
	local default_cpu=max cmdline memory

	set_memory
	set_cmdline
	[[ $accel != kvm ]] || default_cpu=host
	machine=(
		"$QEMU" -nodefaults -no-user-config -no-reboot -display none
		-accel "$accel$tcg_threads" -smp "$smp" -m "$memory"
		-kernel "$image" -initrd "$out/initramfs.cpio" -append "$cmdline"
	)
	case $arch in
	x86_64)
		machine+=(-machine pc -device isa-debug-exit,iobase=0x501,iosize=1)
		ports=(
			-device isa-serial,chardev=console,index=0
			-device isa-serial,chardev=control,index=1
			-device isa-serial,chardev=tests,index=2,irq=5
		)
		;;
	arm64)
		machine+=(-machine virt)
		ports=(
			-serial chardev:console
			-device pci-serial-2x,chardev1=control,chardev2=tests
		)
		;;
	esac
	machine+=(-cpu "${cpu:-$default_cpu}" "${qemu_args[@]}")
	[[ ! $gdb ]] || machine+=(-S -gdb "unix:${out//,/,,}/gdb.sock,server=on,wait=off")
	ports+=(-mon "chardev=monitor,mode=readline")
}

# A script that boots the same machine again, with its console on the terminal. The tests' port goes
# to stderr; nobody listens to the control port.
write_qemu_cmd() {
	local replay=(-chardev "stdio,id=console,mux=on,signal=off" -chardev "null,id=control"
		-chardev "file,id=tests,path=/dev/stderr" -mon "chardev=console,mode=readline")

	{
		echo '#!/bin/sh'
		echo '# The machine of this run, with its console on this terminal; C-a x ends it.'
		printf 'exec'
		printf ' %q' "${machine[@]}" "${replay[@]}" "${ports[@]:0:${#ports[@]}-2}"
		# shellcheck disable=SC2016 # for the script to expand
		echo ' "$@"'
	} >"$out/qemu.cmd" || die INFRA "cannot write to $out"
	chmod +x "$out/qemu.cmd"
}
