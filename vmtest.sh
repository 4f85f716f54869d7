#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Boot a kernel in QEMU with test_progs as its user space, and return a verdict.
#
# The guest needs nothing from the kernel but an initramfs and three 8250 serial ports: its console,
# a control line on which vm/init.c reports phases and files, and the output of the tests. The
# verdict is what the control line proves. QEMU's own exit status proves nothing (it is 0 after a
# panic), and the absence of a proof is never a success.
#
# shellcheck disable=SC2054 # commas belong to QEMU's arguments and the kernel's parameters
set -u -o pipefail

readonly PROG=${0##*/}
HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P) || exit 7
readonly HERE
# Where modinfo is, for users whose path has no room for it.
PATH=$PATH:/usr/sbin:/sbin

# Exit codes; verdict_name() has their names.
readonly PASS=0 FAIL=1 USAGE=2 CRASH=3 HANG=4 SPLAT=5 BOOTFAIL=6 INFRA=7 UNTESTABLE=8
readonly SKIP=77 TIMEOUT=124 INTERRUPTED=130

# Loaded in the guest where the kernel has them as modules, with what they depend on. The ciphers are
# those of TLS: the guest has no modprobe by which the kernel could ask for them.
readonly MODULES="tls vsock vmw_vsock_virtio_transport_common vsock_loopback veth unix_diag inet_diag
	tcp_diag udp_diag gcm ghash_generic ctr"

# Options of test_progs whose value is a file that it writes.
readonly OUTPUT_OPTIONS="-J --json-summary"
# Where the guest writes its results if the arguments do not say so.
readonly GUEST_RESULTS=/run/results.json

# Descriptors with fixed numbers; the read ends of the FIFOs have others.
readonly CTL=3 CONSOLE_IN=4 MONITOR_IN=5 LOCK=9

begun=0 started=0 # in milliseconds
kernel_arg='' bin=$HERE/test_progs out='' accel_mode=auto smp=2 mem=512 extra_append=''
total_timeout='' boot_timeout='' hang_timeout='' quiet='' verbose='' print_cmd=''
test_args=()

usage() {
	cat <<-USAGE
	Usage: $PROG [options] [-- test_progs arguments]

	Boot a kernel in QEMU, run test_progs in it, and exit with the verdict.

	  -k, --kernel KERNEL   bzImage or vmlinuz; directory with boot/vmlinuz-* or a kernel tree;
	                        linux-image .deb (more, with commas, if split); installed release; or
	                        the beginning of a Debian release ("6.1", "5.10"), which is fetched
	                        [newest cloud kernel of this machine's own release]
	      --bin FILE        static test binary [test_progs]
	  -o DIR                directory for the logs [.output/vm/KERNEL]
	      --smp N           processors [$smp]
	      --mem MIB         memory [$mem]
	      --accel HOW       auto, kvm or tcg; auto falls back to tcg if KVM boots no kernel [auto]
	      --append STRING   more for the kernel's command line
	      --timeout S       for everything [600; 1800 under tcg]
	      --boot-timeout S  until the tests start [60; 180 under tcg]
	      --hang-timeout S  without any output [90; 180 under tcg]
	  -q, --quiet           show the tests' output only if the verdict is bad
	  -v, --verbose         show the kernel's console too (stderr)
	      --print-cmd       print the QEMU command and exit
	  -h, --help            show this

	Arguments behind -- reach test_progs unchanged; without -j it gets as many workers as there are
	processors. Files that they name (-d @FILE) are put into the guest; the file of -J comes back
	out of it.

	Exit status: 0 pass; 1 fail; 2 usage; 3 the kernel crashed; 4 hang; 5 passed, but a kernel
	splat; 6 the kernel did not boot; 7 trouble on this side (QEMU, disk); 8 untestable (the kernel
	lacks what the tests need); 77 all skipped; 124 timeout; 130 interrupted.

	Environment: QEMU names another qemu-system-x86_64.
	USAGE
}

# ---- Messages ----------------------------------------------------------------------------------

say() {
	printf 'vmtest: %s\n' "$*" >&2
}

die() {
	local code=$1

	shift
	say "$(verdict_name "$code"): $*"
	exit "$code"
}

verdict_name() {
	case $1 in
	"$PASS") echo PASS ;;
	"$FAIL") echo FAIL ;;
	"$USAGE") echo USAGE ;;
	"$CRASH") echo CRASH ;;
	"$HANG") echo HANG ;;
	"$SPLAT") echo SPLAT ;;
	"$BOOTFAIL") echo BOOTFAIL ;;
	"$UNTESTABLE") echo UNTESTABLE ;;
	"$SKIP") echo SKIP ;;
	"$TIMEOUT") echo TIMEOUT ;;
	"$INTERRUPTED") echo INTERRUPTED ;;
	*) echo INFRA ;;
	esac
}

# Milliseconds, to be stored in the variable named by $1. No fork: this is called all the time.
now_ms() {
	local usec=${EPOCHREALTIME/[^0-9]/}

	printf -v "$1" '%d' "${usec%???}"
}

# ---- Command line ------------------------------------------------------------------------------

parse_options() {
	while (($#)); do
		case $1 in
		--)
			shift
			test_args=("$@")
			return
			;;
		-h | --help)
			usage
			exit 0
			;;
		-q | --quiet) quiet=1 ;;
		-v | --verbose) verbose=1 ;;
		--print-cmd) print_cmd=1 ;;
		--*=*)
			set_option "${1%%=*}" "${1#*=}"
			;;
		*)
			set_option "$1" "${2-}" $(($# < 2))
			shift
			;;
		esac
		shift
	done
}

set_option() {
	local name=$1 value=$2 missing=${3-0}

	if [[ ! $value && $name =~ ^(-k|-o|--(kernel|bin|smp|mem|accel|(boot-|hang-)?timeout))$ ]] ||
		[[ $name == --append && $missing == 1 ]]; then
		die $USAGE "$name needs a value"
	fi
	case $name in
	-k | --kernel) kernel_arg=$value ;;
	--bin) bin=$value ;;
	-o) out=$value ;;
	--smp) need_number "$name" "$value" 1 && smp=$value ;;
	--mem) need_number "$name" "$value" 512 && mem=$value ;;
	--accel) accel_mode=$value ;;
	--append) extra_append=$value ;;
	--timeout) need_number "$name" "$value" 1 && total_timeout=$value ;;
	--boot-timeout) need_number "$name" "$value" 1 && boot_timeout=$value ;;
	--hang-timeout) need_number "$name" "$value" 1 && hang_timeout=$value ;;
	-*) die $USAGE "unknown option $name; see --help" ;;
	*) die $USAGE "unexpected argument \"$name\"; arguments of test_progs go behind --" ;;
	esac
	[[ $accel_mode =~ ^(auto|kvm|tcg)$ ]] || die $USAGE "--accel is auto, kvm or tcg"
}

need_number() {
	[[ $2 =~ ^[1-9][0-9]{0,6}$ && $2 -ge $3 ]] || die $USAGE "$1 needs a number, at least $3"
}

# ---- The test binary and its arguments -----------------------------------------------------------

# Static means: no program header of type PT_INTERP (3).
is_static_elf() {
	local -a w
	local phoff

	read -r -a w < <(od -An -v -tu2 -w64 -N64 "$1" 2>/dev/null)
	((${#w[@]} == 32 && w[0] == 0x457f && w[1] == 0x464c && w[9] == 62)) || return 2
	phoff=$((w[16] | w[17] << 16))
	! od -An -v -tu4 -w"${w[27]}" -j "$phoff" -N $((w[27] * w[28])) "$1" | grep -q '^ *3 '
}

check_binary() {
	local rc=0

	[[ -e $bin ]] || die $USAGE "$bin does not exist; build it with make, or name another with --bin"
	[[ -f $bin && -r $bin && -x $bin ]] || die $USAGE "$bin is not an executable file"
	is_static_elf "$bin" || rc=$?
	((rc != 2)) || die $USAGE "$bin is not an x86-64 ELF binary"
	((rc == 0)) || die $USAGE "$bin is not static: the guest has no shared libraries"
}

# Host files by the path at which the guest will look for them, and the reverse for what comes back.
declare -A guest_files=() collected=()

# The guest's working directory is its root.
guest_path() {
	realpath -m -s "/$1" 2>/dev/null
}

add_guest_file() {
	local file=$1 where

	where=$(guest_path "$file")
	[[ -f $file && -r $file ]] || die $USAGE "@$file: no such file"
	[[ ! $where =~ ^/(dev|proc|sys)/ ]] || die $USAGE "@$file: not a file that the guest can have"
	guest_files[$where]=$file
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
}

add_output_file() {
	local file=$1 dir

	[[ $file && $file != - ]] || return 0
	[[ ! -d $file ]] || die $USAGE "$file is a directory"
	dir=$(dirname -- "$file")
	[[ -d $dir && -w $dir ]] || die $USAGE "cannot write to $dir"
	collected[$(guest_path "$file")]=$file
}

find_output_files() {
	local option i

	for ((i = 0; i < ${#test_args[@]}; i++)); do
		for option in $OUTPUT_OPTIONS; do
			case ${test_args[i]} in
			# A long option may be shortened.
			--?*=*) [[ $option == "${test_args[i]%%=*}"* ]] &&
				add_output_file "${test_args[i]#*=}" ;;
			"$option" | --?*) [[ $option == "${test_args[i]}"* ]] &&
				add_output_file "${test_args[i + 1]-}" ;;
			"$option"?*) add_output_file "${test_args[i]#"$option"}" ;;
			esac
		done
	done
}

# ---- The kernel --------------------------------------------------------------------------------

cache_dir() {
	local base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}

	printf '%s\n' "${base:-${TMPDIR:-/tmp}/cache-$UID}/sockmap-tests"
}

# The release that a bzImage's header names; fails if it is none.
bzimage_release() {
	local -a w
	local text

	read -r -a w < <(od -An -v -tu2 -w16 -j 512 -N 16 "$1" 2>/dev/null)
	((${#w[@]} == 8 && w[1] == 0x6448 && w[2] == 0x5372)) || return 1
	text=$(tail -c +$((w[7] + 0x200 + 1)) "$1" 2>/dev/null | head -c 256 | tr '\0' '\n' | head -n 1)
	printf '%s\n' "${text%% *}"
}

# Sets image, release (as far as the image tells), name (of the output directory), modules_dir.
use_image() {
	local dir

	image=$1
	if ! release=$(bzimage_release "$image"); then
		[[ $(head -c 4 "$image" 2>/dev/null) == $'\x7fELF' ]] ||
			die $USAGE "$image is not a kernel image"
		release=''
	fi
	name=${image##*/}
	case $name in
	bzImage | vmlinuz | vmlinux) name=${release:-$name} ;;
	vmlinuz-*) name=${name#vmlinuz-} ;;
	esac
	for dir in "${image%/boot/*}"{,/usr}/lib/modules/"$release" "${image%/vmlinuz}"; do
		[[ $release && -d $dir/kernel ]] && modules_dir=$dir && return
	done
	return 0
}

# An unpacked package, a root directory, or a kernel tree (or its O= directory).
use_directory() {
	local dir=${1%/} found

	if [[ -f $dir/arch/x86/boot/bzImage ]]; then
		use_image "$dir/arch/x86/boot/bzImage"
		[[ -f $dir/modules.order ]] && modules_dir=$dir
		return
	fi
	found=$(compgen -G "$dir/boot/vmlinuz-*" || compgen -G "$dir/usr/lib/modules/*/vmlinuz" ||
		compgen -G "$dir/lib/modules/*/vmlinuz") ||
		die $USAGE "$dir holds neither boot/vmlinuz-* nor arch/x86/boot/bzImage"
	use_image "$(sort -V <<<"$found" | tail -n 1)"
}

# Packages are unpacked once; the cache knows them by their contents.
use_packages() {
	local -a debs
	local deb key dir

	IFS=, read -r -a debs <<<"$1"
	for deb in "${debs[@]}"; do
		[[ -f $deb && -r $deb ]] || die $USAGE "$deb: no such file"
	done
	command -v dpkg-deb >/dev/null || die $INFRA "dpkg-deb is missing: apt-get install dpkg"
	key=$(cat -- "${debs[@]}" | sha256sum)
	dir=$(cache_dir)/debs/${key%% *}
	if [[ ! -d $dir ]]; then
		mkdir -p "${dir%/*}" || die $INFRA "cannot write to ${dir%/*}"
		scratch_dir=$(mktemp -d "$dir.XXXXXX") || die $INFRA "cannot write to ${dir%/*}"
		for deb in "${debs[@]}"; do
			dpkg-deb -x "$deb" "$scratch_dir" || die $USAGE "$deb is not a Debian package"
		done
		chmod 755 "$scratch_dir"
		mv -T "$scratch_dir" "$dir" 2>/dev/null || rm -rf "$scratch_dir"
	fi
	use_directory "$dir"
}

fetch_kernel() {
	local dir

	dir=$("$HERE/vm/fetch-kernel.sh" "$1") || die $INFRA "no kernel for \"$1\"; name a file with -k"
	use_directory "$dir"
}

find_kernel() {
	local arg=$kernel_arg

	image='' release='' name='' modules_dir=''
	case $arg in
	'') fetch_kernel default ;;
	*.deb) use_packages "$arg" ;;
	*)
		if [[ -d $arg ]]; then
			use_directory "$(realpath -- "$arg")"
		elif [[ -f $arg ]]; then
			[[ -r $arg ]] || die $USAGE "$arg is not readable"
			use_image "$(realpath -- "$arg")"
		elif [[ -r /boot/vmlinuz-$arg ]]; then
			use_image "/boot/vmlinuz-$arg"
		elif [[ $arg =~ ^[0-9]+\.[0-9][A-Za-z0-9.+~-]*$ ]]; then
			fetch_kernel "$arg"
		else
			die $USAGE "$arg: no such file, and not a kernel release"
		fi
		;;
	esac
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
		if [[ -f $modules_dir/kernel/Makefile ]]; then
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

stage_modules() {
	local -A module_files=()
	local -a module_order=()
	local module

	true >"$stage/modules" || die $INFRA "cannot write to $tmp"
	[[ $modules_dir ]] || return 0
	command -v modinfo >/dev/null || die $INFRA "modinfo is missing: apt-get install kmod"
	index_modules
	for module in $MODULES; do
		want_module "$module"
	done
	for module in "${module_order[@]}"; do
		copy_module "${module_files[$module]}" "$stage/lib/$module.ko" ||
			die $INFRA "cannot unpack ${module_files[$module]}"
		echo "/lib/$module.ko" >>"$stage/modules"
	done
}

# ---- The initramfs -----------------------------------------------------------------------------

# As many workers as processors, unless the arguments say how many.
has_workers_option() {
	local arg

	for arg in "${test_args[@]}"; do
		[[ $arg == -j* || $arg == --wo* ]] && return 0
	done
	return 1
}

# What the tests hand back: name and path of each, for init. The names are ours.
stage_collect() {
	local path i=0

	collect_names=()
	for path in "${!collected[@]}"; do
		mkdir -p "$stage/${path%/*}"
		printf '%s\0%s\0' "file$i" "$path"
		collect_names+=("${collected[$path]}")
		i=$((i + 1))
	done >"$stage/collect" || die $INFRA "cannot write to $tmp"
}

stage_arguments() {
	local args=("${test_args[@]}")

	has_workers_option || args=("-j$smp" "${args[@]}")
	if ((!${#collected[@]})); then
		collected[$GUEST_RESULTS]=$out/results.json
		args=(-J "$GUEST_RESULTS" "${args[@]}")
	fi
	{
		((${#args[@]} == 0)) || printf '%s\0' "${args[@]}"
	} >"$stage/args" || die $INFRA "cannot write to $tmp"
}

stage_input_files() {
	local path

	for path in "${!guest_files[@]}"; do
		mkdir -p "$stage/${path%/*}"
		ln -sfn "$(realpath -- "${guest_files[$path]}")" "$stage/$path"
	done
}

# Links instead of copies: cpio -L follows them.
build_initramfs() {
	local stage=$tmp/stage init=$HERE/.output/init

	command -v cpio >/dev/null || die $INFRA "cpio is missing: apt-get install cpio"
	if [[ ! -x $init || $HERE/vm/init.c -nt $init ]]; then
		make -s -C "$HERE" .output/init >&2 || die $INFRA "cannot build $init"
	fi
	mkdir -p "$stage"/{dev,proc,sys,tmp,run,lib} || die $INFRA "cannot write to $tmp"
	ln -s "$init" "$stage/init"
	ln -s "$(realpath -- "$bin")" "$stage/test_progs"
	stage_input_files
	stage_arguments
	stage_collect
	stage_modules
	(cd "$stage" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio -o -0 -L -H newc -R 0:0 --quiet) >"$out/initramfs.cpio" ||
		die $INFRA "cannot write $out/initramfs.cpio"
	(cd "$stage" && find -L . -mindepth 1 -printf '%M %10s %P\n' | LC_ALL=C sort -k 3) \
		>"$out/initramfs.list"
}

# ---- The output directory ------------------------------------------------------------------------

prepare_output() {
	local file

	out=${out:-$HERE/.output/vm/$name}
	mkdir -p "$out" 2>/dev/null || die $INFRA "cannot create $out"
	out=$(cd "$out" && pwd -P) || die $INFRA "cannot enter $out"
	eval "exec $LOCK>\"\$out/.lock\"" 2>/dev/null || die $INFRA "cannot write to $out"
	if command -v flock >/dev/null; then
		flock -n "$LOCK" || die $INFRA "another $PROG is writing to $out; choose one with -o"
	fi
	# Whatever an earlier run left must not be taken for this one's.
	for file in console.log control.log test.log qemu.log hang.txt dmesg.txt results.json \
		verdict.json qemu.cmd initramfs.list; do
		rm -f "$out/$file"
	done
	for file in "${collected[@]}"; do
		[[ ! -f $file ]] || rm -f -- "$file"
	done
	true 2>/dev/null >"$out/control.log" || die $INFRA "cannot write to $out"
}

make_scratch() {
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/vmtest.XXXXXX") || die $INFRA "cannot create a scratch directory"
}

# ---- Accelerator -------------------------------------------------------------------------------

# What was proven holds until the machine boots anew or QEMU changes; its size and date tell that
# twenty times faster than --version.
accel_cache_file() {
	local boot

	boot=$(</proc/sys/kernel/random/boot_id)
	printf '%s\n' "$(cache_dir)/accel/$boot-$(stat -L -c %s-%Y "$QEMU")"
}

# Sets accel, kvm_proven (a kernel has booted with it) and accel_reason.
choose_accel() {
	local known=''

	kvm_proven='' accel_reason='' tcg_threads='' accel=$accel_mode
	[[ $accel_mode == auto ]] || return 0
	accel_cache=$(accel_cache_file)
	if [[ ! -e /dev/kvm ]]; then
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
	[[ $accel_reason ]] || return 0
	say "note: KVM is unusable here ($accel_reason); using TCG, about ten times slower"
}

remember_accel() {
	[[ $accel_mode == auto ]] || return 0
	mkdir -p "${accel_cache%/*}" 2>/dev/null || return 0
	printf '%s\n' "$*" >"$accel_cache.$$" 2>/dev/null && mv "$accel_cache.$$" "$accel_cache"
}

# Evidence that KVM, not the kernel, is at fault: QEMU says so, or ends or stays silent before the
# kernel's first line.
kvm_is_broken() {
	[[ $accel_mode == auto && $accel == kvm ]] || return 1
	grep -qE 'KVM internal error|kvm run failed|failed to set MSR' "$out/qemu.log" && return 0
	[[ ! $kvm_proven && $outcome =~ ^(died|silent)$ ]] && ! kernel_has_spoken
}

kernel_has_spoken() {
	grep -q 'Linux version' "$out/console.log"
}

kvm_complaint() {
	local line

	line=$(grep -m 1 -iE 'error|failed|abort' "$out/qemu.log" | sed -E 's/^(.*qemu[^:]*: )?(error: )?//')
	[[ $outcome == silent ]] && line=${line:-the kernel printed nothing in 15 s}
	printf '%s\n' "${line:-QEMU ended at once}"
}

# While the kernel patches its code, one emulated processor may still run the breakpoint that another
# has already removed; the kernel then dies of an int3 that it knows nothing about. Seen about once
# in 200 boots. A breakpoint of the kernel's own making comes back in the second run, and counts. As
# rarely, a boot stops without a word; that, too, has a second run to prove itself.
tcg_has_misfired() {
	[[ $accel == tcg && ! $tcg_threads && $outcome == unbooted ]] && return 0
	[[ $accel == tcg && ! $tcg_threads && $outcome =~ ^(died|panicked)$ ]] &&
		grep -qE 'int3: [0-9]+ \[#' "$out/console.log"
}

set_deadlines() {
	local factor=1

	[[ $accel == tcg ]] && factor=2
	total_limit=$((${total_timeout:-$((factor == 1 ? 600 : 1800))} * 1000))
	boot_limit=$((${boot_timeout:-$((factor == 1 ? 60 : 180))} * 1000))
	hang_limit=$((${hang_timeout:-$((90 * factor))} * 1000))
}

# ---- QEMU --------------------------------------------------------------------------------------

find_qemu() {
	QEMU=$(command -v "${QEMU:-qemu-system-x86_64}") ||
		die $INFRA "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
}

# panic=-1 with -no-reboot ends QEMU at once. An oops is a panic, a warning is not. The lockup
# detectors turn a stuck kernel into a panic that names the culprit. no_timer_check: a loaded host
# may lose the timer interrupts that the boot-time check waits for.
kernel_cmdline() {
	local words=(
		console=ttyS0,115200 loglevel=6 printk.time=1 printk.devkmsg=on log_buf_len=4M
		panic=-1 oops=panic panic_on_warn=0 unknown_nmi_panic=1 sysrq_always_enabled=1
		softlockup_panic=1 hung_task_panic=1 sysctl.kernel.hung_task_timeout_secs=30
		sysctl.vm.panic_on_oom=1 kasan_multi_shot no_timer_check reboot=t
	)

	[[ $accel == kvm ]] && words+=(nmi_watchdog=panic)
	words+=("vmtest.nonce=$nonce")
	printf '%s' "${words[*]}${extra_append:+ $extra_append}"
}

# Sets machine, the part of the command that qemu.cmd repeats, and ports, the part that is ours.
qemu_command() {
	# QEMU wants a comma in a value doubled.
	local cpu=max fifos=${tmp//,/,,} logs=${out//,/,,}

	[[ $accel == kvm ]] && cpu=host
	machine=(
		"$QEMU" -nodefaults -no-user-config -no-reboot -display none
		-machine pc -accel "$accel$tcg_threads" -cpu "$cpu" -smp "$smp" -m "$mem"
		-kernel "$image" -initrd "$out/initramfs.cpio" -append "$(kernel_cmdline)"
	)
	# An interrupt line of its own for the third port: legacy ports share theirs in pairs.
	ports=(
		-chardev "pipe,id=console,path=$fifos/console,logfile=$logs/console.log"
		-chardev "pipe,id=control,path=$fifos/control,logfile=$logs/control.log"
		-chardev "pipe,id=tests,path=$fifos/tests,logfile=$logs/test.log"
		-chardev "pipe,id=monitor,path=$fifos/monitor"
		-device isa-serial,chardev=console,index=0
		-device isa-serial,chardev=control,index=1
		-device isa-serial,chardev=tests,index=2,irq=5
		-mon chardev=monitor,mode=readline
	)
}

# A script that boots the same machine again, with its console on the terminal.
write_qemu_cmd() {
	if ! {
		echo '#!/bin/sh'
		echo '# The machine of this run, with its console on this terminal; C-a x ends it.'
		printf 'exec'
		printf ' %q' "${machine[@]}" -serial mon:stdio -serial null \
			-chardev file,id=tests,path=/dev/stderr \
			-device isa-serial,chardev=tests,index=2,irq=5
		# shellcheck disable=SC2016 # for the script to expand
		echo ' "$@"'
	} >"$out/qemu.cmd"; then
		die $INFRA "cannot write to $out"
	fi
	chmod +x "$out/qemu.cmd"
}

# Creates a FIFO and opens it for reading. The guard is a second, writing end: QEMU inherits it and
# nobody else keeps it, so that the reader sees the end of the file exactly when QEMU is gone, even
# if that happens before QEMU opens the FIFO.
open_fifo() {
	local path=$1 guard reader

	mkfifo "$path" || die $INFRA "cannot write to $tmp"
	# shellcheck disable=SC2094
	exec {guard}<>"$path" {reader}<"$path"
	guards+=("$guard")
	readers+=("$reader")
	opened=$reader
}

close_fds() {
	local fd

	for fd in "$@"; do
		exec {fd}>&-
	done
}

# Passes on what comes and drains the rest if nobody listens any more: a full FIFO stops the guest.
pump() {
	cat 2>/dev/null
	cat >/dev/null
}

start_qemu() {
	local guards=() readers=() opened console_fd tests_fd monitor_fd
	local run=()

	rm -f "$tmp"/*.in "$tmp"/*.out
	: >"$out/console.log"
	: >"$out/test.log"
	: >"$tmp/monitor.txt"
	mkfifo "$tmp"/{console,control,tests,monitor}.in || die $INFRA "cannot write to $tmp"
	open_fifo "$tmp/control.out"
	eval "exec $CTL<&$opened"
	open_fifo "$tmp/console.out" && console_fd=$opened
	open_fifo "$tmp/tests.out" && tests_fd=$opened
	open_fifo "$tmp/monitor.out" && monitor_fd=$opened
	eval "exec $CONSOLE_IN<>\"\$tmp/console.in\" $MONITOR_IN<>\"\$tmp/monitor.in\""

	# QEMU must not outlive this script, not even if it is killed.
	command -v setpriv >/dev/null && run=(setpriv --pdeathsig KILL --)
	(
		close_fds "${readers[@]}" $CTL $CONSOLE_IN $MONITOR_IN $LOCK
		exec "${run[@]}" "${machine[@]}" "${ports[@]}" </dev/null >"$out/qemu.log" 2>&1
	) &
	qemu_pid=$!
	close_fds "${guards[@]}"
	pumps=()
	start_pump "$console_fd" "${verbose:+/dev/fd/2}"
	start_pump "$tests_fd" "${show_tests:+/dev/fd/1}"
	start_pump "$monitor_fd" "$tmp/monitor.txt"
	close_fds "${readers[@]}"
}

start_pump() {
	local from=$1 to=${2:-/dev/null}

	case $to in
	/dev/fd/1) (close_fds $CTL $CONSOLE_IN $MONITOR_IN $LOCK; pump) <&"$from" & ;;
	/dev/fd/2) (close_fds $CTL $CONSOLE_IN $MONITOR_IN $LOCK; pump) <&"$from" >&2 & ;;
	*) (close_fds $CTL $CONSOLE_IN $MONITOR_IN $LOCK; pump) <&"$from" >>"$to" & ;;
	esac
	pumps+=($!)
}

# Ends QEMU if need be. The output of the tests is complete once its pump has seen the end.
stop_qemu() {
	[[ $qemu_pid ]] || return 0
	kill -KILL "$qemu_pid" 2>/dev/null
	reap_qemu
}

reap_qemu() {
	wait "$qemu_pid" 2>/dev/null
	qemu_rc=$?
	qemu_pid=''
	close_fds $CTL $CONSOLE_IN $MONITOR_IN
	wait "${pumps[@]}" 2>/dev/null
	pumps=()
}

# ---- Watching the guest --------------------------------------------------------------------------

# Grows with every byte that the guest prints anywhere.
output_size() {
	local sizes

	sizes=$(stat -c %s "$out/console.log" "$out/test.log" "$out/control.log")
	printf '%s' "${sizes//$'\n'/ }"
}

# What can have happened, into outcome: end (the guest has said everything), died (QEMU is gone),
# panicked (and did not go), silent (KVM shows no sign of life), unbooted, hang, timeout, unwritten
# (our disk is full), garbled.
watch_guest() {
	local line rest='' rc now next_check=0

	outcome='' phase=none done_kind='' done_value='' guest_release='' fatal=''
	now_ms started
	progress_at=$started
	last_size=''
	while [[ ! $outcome ]]; do
		IFS= read -r -t 1 -u $CTL line
		rc=$?
		line=$rest$line
		rest=''
		if ((rc == 0)); then
			now_ms progress_at
			control_line "${line%$'\r'}"
		elif ((rc > 128)); then
			rest=$line
		else
			outcome=died
		fi
		# Also while lines keep coming: a flood of them must not keep the clock from running out.
		now_ms now
		if [[ ! $outcome ]] && ((now >= next_check)); then
			next_check=$((now + 900))
			check_deadlines
		fi
	done
}

control_line() {
	local words

	# A file is followed by the next line of ours, or bytes have been lost.
	if [[ $after_file && $1 ]]; then
		[[ $1 == "VMTEST $nonce "* ]] || outcome=garbled
		after_file=''
	fi
	[[ $1 == "VMTEST $nonce "* ]] || return 0
	read -r -a words <<<"${1#VMTEST "$nonce" }"
	case ${words[0]-} in
	BOOT)
		phase=boot guest_release=${words[1]-}
		[[ $accel == kvm ]] && remember_accel kvm
		;;
	NOTE) [[ $verbose ]] && say "note: ${words[*]:1}" ;;
	FATAL) fatal=${words[*]:1} ;;
	TESTS-START) phase=tests ;;
	DONE) take_done "${words[@]:1}" ;;
	FILE) receive_file "${words[1]-}" "${words[2]-}" ;;
	END) [[ $phase == finished ]] && outcome=end ;;
	esac
	return 0
}

take_done() {
	# A second one can only be a forgery.
	[[ $phase == tests ]] || { outcome=garbled; return; }
	phase=finished
	if [[ ${1-} == signal && ${2-} =~ ^[0-9]+$ ]]; then
		done_kind=signal done_value=$2
	elif [[ ${1-} =~ ^[0-9]+$ ]]; then
		done_kind=exit done_value=$1
	else
		outcome=garbled
	fi
}

receive_file() {
	local file=$1 size=$2 to head_pid

	[[ $phase == finished && $size =~ ^[0-9]{1,9}$ ]] || { outcome=garbled; return; }
	case $file in
	dmesg.txt) to=$out/dmesg.txt ;;
	file*) to=${collect_names[${file#file}]-} ;;
	esac
	timeout 60 head -c "$size" <&$CTL >"${to:-/dev/null}" 2>/dev/null &
	head_pid=$!
	if ! wait $head_pid; then
		outcome=unwritten unwritten=$to
		return
	fi
	after_file=1
	[[ $file == dmesg.txt || $to == "$out/results.json" ]] || cp -- "$to" "$out/results.json"
}

check_deadlines() {
	local size

	size=$(output_size)
	[[ $size == "$last_size" ]] || progress_at=$now
	last_size=$size
	# The restart after a panic can hang too.
	if ((now - progress_at > 5000)) && has_panicked; then
		outcome=panicked
		return
	fi
	if [[ $phase == none && $accel == kvm && ! $kvm_proven ]]; then
		if grep -q 'KVM internal error' "$out/qemu.log" ||
			{ ((now - started > 15000)) && ! kernel_has_spoken; }; then
			outcome=silent
			return
		fi
	fi
	if ((now - started > total_limit)); then
		outcome=timeout
	elif [[ $phase =~ ^(none|boot)$ ]]; then
		((now - started > boot_limit)) && outcome=unbooted
	elif ((now - progress_at > hang_limit)); then
		outcome=hang
	fi
	return 0
}

# ---- A guest that hangs --------------------------------------------------------------------------

monitor() {
	printf '%s\n' "$*" >&$MONITOR_IN
}

# Waits until the console has been still for a while, ten seconds at most.
console_settles() {
	local before=-1 size i

	for ((i = 0; i < 50; i++)); do
		size=$(stat -c %s "$out/console.log")
		((size == before)) && return
		before=$size
		sleep 0.2
	done
}

sysrq() {
	monitor chardev-send-break console
	sleep 0.1
	printf '%s' "$1" >&$CONSOLE_IN
	console_settles
}

# Everything to the console (8); blocked tasks, what runs on each processor, all tasks; the registers;
# and last an NMI, at which the kernel prints its own trace and panics, even with interrupts off.
dump_guest() {
	local from key

	[[ $qemu_pid ]] && kill -0 "$qemu_pid" 2>/dev/null || return 0
	say "the guest hangs; asking it for its state"
	from=$(stat -c %s "$out/console.log")
	for key in 8 w l t; do
		sysrq "$key"
	done
	monitor info registers -a
	sleep 0.2
	monitor nmi
	console_settles
	{
		echo "==== console: blocked tasks (w), processors (l), all tasks (t), NMI"
		tail -c +$((from + 1)) "$out/console.log" | tr -d '\r'
		echo "==== processor registers"
		grep -a = "$tmp/monitor.txt" | tr -d '\r'
	} >"$out/hang.txt"
}

# ---- The verdict -------------------------------------------------------------------------------

# The kernel's messages from the start of the tests on, without time stamps; all of them if the mark
# is missing.
messages_of_tests() {
	local log=$1

	[[ -s $log ]] || return 0
	tr -d '\r' <"$log" | awk -v mark="vmtest: $nonce tests start" '
		{ line[NR] = $0; if (!from && index($0, mark)) from = NR }
		END { for (i = from + 1; i <= NR; i++) print line[i] }' |
		sed -E 's/^\[ *[0-9]+\.[0-9]+\](\[ *[TC][0-9]+\])? //'
}

patterns() {
	grep -vE '^[[:space:]]*(#|$)' "$HERE/vm/splat.$1"
}

# Prints the first splat and what follows it. The guest's own copy of its messages comes first: the
# console may have been cut short.
find_splat() {
	local log

	for log in "$out/dmesg.txt" "$out/console.log"; do
		messages_of_tests "$log" >"$tmp/messages"
		splat_line=$(grep -nE -f <(patterns deny) "$tmp/messages" |
			sed 's/^\([0-9]*\):/\1\t/' |
			awk -F '\t' '{ print $2 "\t" $1 }' |
			grep -vE -f <(patterns allow) | head -n 1)
		[[ $splat_line ]] || continue
		splat=${splat_line%$'\t'*}
		splat_at=${splat_line##*$'\t'}
		sed -n "$((splat_at > 1 ? splat_at - 1 : 1)),$((splat_at + 40))p" "$tmp/messages" \
			>"$tmp/splat"
		return 0
	done
	return 1
}

has_panicked() {
	grep -qE 'Kernel panic - not syncing|---\[ end Kernel panic' "$out/console.log"
}

# The cases are in the order of what is known for certain.
classify() {
	splat='' running=''
	case $outcome in
	end) classify_done ;;
	died) classify_death ;;
	panicked)
		qemu_rc=0
		classify_death
		;;
	silent | unbooted)
		code=$BOOTFAIL reason="no sign of the tests in $((boot_limit / 1000)) s"
		;;
	hang) code=$HANG reason="nothing happened for $((hang_limit / 1000)) s" ;;
	timeout) code=$TIMEOUT reason="not finished in $((total_limit / 1000)) s" ;;
	unwritten) code=$INFRA reason="cannot write $unwritten" ;;
	*) code=$INFRA reason="the control line is garbled; see control.log" ;;
	esac
}

classify_done() {
	case $done_kind:$done_value in
	exit:0) code=$PASS reason='' ;;
	exit:2 | exit:64) code=$USAGE reason="test_progs refuses its arguments" ;;
	exit:3) code=$UNTESTABLE reason="the kernel lacks what the tests need" ;;
	exit:4) code=$SKIP reason="every test was skipped" ;;
	exit:1) code=$FAIL reason="" ;;
	exit:*) code=$FAIL reason="test_progs exited with $done_value" ;;
	*) code=$FAIL reason="test_progs was killed by SIG$(kill -l "$done_value" 2>/dev/null || echo " $done_value")" ;;
	esac
	find_splat || return 0
	if ((code == PASS || code == SKIP)); then
		code=$SPLAT reason=$splat
	else
		reason+="${reason:+; }and the kernel said: $splat"
	fi
}

classify_death() {
	if [[ $phase =~ ^(tests|finished)$ ]]; then
		code=$CRASH
		if find_splat; then
			reason=$splat
		elif ((qemu_rc)); then
			code=$INFRA reason="QEMU ended with status $qemu_rc"
		else
			reason="the guest restarted without a word"
		fi
	elif has_panicked || [[ $fatal ]]; then
		code=$BOOTFAIL
		reason=${fatal:-$(grep -oE 'Kernel panic - not syncing.*' "$out/console.log" | tr -d '\r' | head -n 1)}
	elif ((qemu_rc)); then
		code=$INFRA reason="QEMU ended with status $qemu_rc"
	else
		code=$BOOTFAIL reason="the guest restarted before the tests"
	fi
}

# ---- Reporting ---------------------------------------------------------------------------------

indent() {
	sed 's/^/    /' >&2
}

show_tail() {
	local lines=$1 file=$2

	[[ -s $file ]] || return 0
	say "the end of $file:"
	tail -n "$lines" "$file" | tr -d '\r' | indent
}

show_splat() {
	[[ -s $tmp/splat ]] || return 0
	say "the kernel said:"
	indent <"$tmp/splat"
}

# The last thing that the tests printed: the one which was running is that or the next.
show_running() {
	local line

	line=$(grep -v '^[[:space:]]*$' "$out/test.log" | tail -n 1 | tr -d '\r' | cut -c 1-200)
	running=$(tr -d '\r' <"$out/console.log" | sed -n 's/.*test_progs: start \(.*\)/\1/p' | tail -n 1)
	[[ ! $running ]] || say "running: $running"
	[[ ! $line ]] || say "last line of the tests: $line"
}

show_details() {
	case $code in
	"$PASS" | "$SKIP") return ;;
	"$CRASH")
		show_splat
		[[ -s $tmp/splat ]] || show_tail 30 "$out/console.log"
		show_running
		;;
	"$HANG" | "$TIMEOUT") show_running ;;
	"$SPLAT") show_splat ;;
	"$BOOTFAIL")
		show_tail 40 "$out/console.log"
		[[ -s $out/console.log ]] ||
			say "the console is empty; try --append earlyprintk=serial,ttyS0,115200"
		;;
	"$INFRA")
		show_tail 20 "$out/qemu.log"
		;;
	esac
	[[ ! $quiet || $code -eq $BOOTFAIL ]] || show_tail 40 "$out/test.log"
	[[ ! -s $out/hang.txt ]] || say "state of the guest: $out/hang.txt"
	say "logs: $out"
}

json_string() {
	local s=$1

	s=${s//\\/\\\\}
	s=${s//\"/\\\"}
	s=${s//[$'\001'-$'\037']/ }
	printf '"%s"' "$s"
}

# What test_progs counted, for the verdict: 130 passed, 22 failed, 0 skipped.
count_subtests() {
	local key label n

	tests=''
	[[ -s $out/results.json ]] || return 0
	for key in success_subtest:passed failed_subtest:failed skipped:skipped; do
		label=${key#*:}
		n=$(sed -n "s/^ *\"${key%:*}\": *\([0-9]\{1,\}\),\{0,1\}\$/\1/p" "$out/results.json" | head -n 1)
		[[ ! $n ]] || tests+="${tests:+, }$n $label"
	done
}

write_verdict() {
	local text

	printf -v text '  %s,\n' \
		"\"verdict\": $(json_string "$(verdict_name "$code")")" \
		"\"code\": $code" \
		"\"reason\": $(json_string "$reason")" \
		"\"phase\": $(json_string "$phase")" \
		"\"exit\": $(json_string "${done_kind:+$done_kind $done_value}")" \
		"\"tests\": $(json_string "$tests")" \
		"\"splat\": $(json_string "$splat")" \
		"\"running\": $(json_string "$running")" \
		"\"release\": $(json_string "$guest_release")" \
		"\"image\": $(json_string "$image")" \
		"\"accel\": $(json_string "$accel")" \
		"\"accel_reason\": $(json_string "$accel_reason")"
	printf '{\n%s  "seconds": %s\n}\n' "$text" "$seconds" 2>/dev/null >"$out/verdict.json"
}

report() {
	local now label

	now_ms now
	printf -v seconds '%d.%d' $(((now - begun) / 1000)) $(((now - begun) % 1000 / 100))
	show_details
	count_subtests
	if ! write_verdict && ((code == PASS)); then
		code=$INFRA reason="cannot write to $out"
	fi
	label=${guest_release:-$name}
	[[ $name == "$label" ]] || label="$name ($label)"
	[[ ! $tests || $phase != finished ]] || reason=$tests${reason:+; $reason}
	say "$(verdict_name "$code") $label ($accel) in $seconds s${reason:+: $reason}"
	exit "$code"
}

# ---- Putting it together -------------------------------------------------------------------------

# shellcheck disable=SC2317 # called by traps
cleanup() {
	trap '' INT TERM HUP
	[[ ! ${qemu_pid-} ]] || kill -KILL "$qemu_pid" 2>/dev/null
	[[ ! ${pumps[*]-} ]] || { wait "${qemu_pid:-$$}"; kill "${pumps[@]}"; } 2>/dev/null
	[[ ! ${tmp-} ]] || rm -rf "$tmp"
	[[ ! ${scratch_dir-} ]] || rm -rf "$scratch_dir"
}

# shellcheck disable=SC2317
interrupted() {
	say "INTERRUPTED${name:+ $name}"
	exit "$INTERRUPTED"
}

boot_once() {
	after_file=''
	set_deadlines
	qemu_command
	write_qemu_cmd
	start_qemu
	watch_guest
	case $outcome in
	hang | timeout | unbooted) dump_guest ;;
	esac
	# When the FIFO has ended QEMU has too, or is about to, with a status worth knowing.
	if [[ $outcome == died ]]; then
		reap_qemu
	else
		stop_qemu
	fi
}

boot() {
	nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')
	boot_once
	if kvm_is_broken; then
		accel_reason=$(kvm_complaint)
		accel=tcg
		note_accel
		boot_once
		# Had it been the kernel's fault, TCG would not have booted it either.
		[[ $phase == none ]] || remember_accel "tcg $accel_reason"
	fi
	if tcg_has_misfired; then
		say "note: the boot failed as it does at times when QEMU has a thread for each processor; again with one"
		tcg_threads=,thread=single
		boot_once
	fi
}

print_command() {
	nonce=NONCE
	tmp=TMP
	qemu_command
	printf '%q ' "${machine[@]}" "${ports[@]}"
	echo
	exit 0
}

main() {
	((BASH_VERSINFO[0] >= 5)) || die $INFRA "bash 5 or newer is needed"
	now_ms begun
	trap cleanup EXIT
	trap interrupted INT TERM HUP
	parse_options "$@"
	find_qemu
	check_binary
	find_input_files
	find_output_files
	find_kernel
	choose_accel
	show_tests=$([[ $quiet ]] || echo 1)
	[[ ! $print_cmd ]] || { out=${out:-$HERE/.output/vm/$name}; print_command; }
	make_scratch
	prepare_output
	build_initramfs
	boot
	classify
	report
}

main "$@"
