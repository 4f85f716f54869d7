#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of vm/build-kernel.sh, with trees that are kernels only as far as it can tell. They tell it in turn
# what make(1) was given.
#
#   tests/build.sh [NAME...]    all, or those whose names contain one of the words
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly HERE
# shellcheck source=tests/lib.sh
source "$HERE/tests/lib.sh"
filter=("$@")
scratch build
unset KBUILD_OUTPUT CC LLVM CROSS_COMPILE MAKEFLAGS

# row NAME CODE PATTERN COMMAND...: only a build that succeeds prints a path.
row() {
	selected "$1" || return 0
	try "${@:2}"
	(($2 == 0)) || [[ ! -s $dir/stdout ]] || because "a path is printed"
	(($2 != 0)) || [[ -f $(<"$dir/stdout") ]] || because "stdout is not the path of an image"
	tried "$1"
}

# Like Kbuild: the last word on an option counts, those in the file "dropped" are not to be had, the output
# may be elsewhere, and an image says who built it, when, and with which options.
make_tree() {
	mkdir -p "$1"
	: >"$1/Kconfig"
	cat >"$1/Makefile" <<-'MAKEFILE'
	O := $(or $(KBUILD_OUTPUT),.)
	CONFIG := $(O)/$(KCONFIG_CONFIG)
	STAMP := $(or $(KBUILD_BUILD_TIMESTAMP),$(shell date +%s.%N))
	BUILDER := $(or $(KBUILD_BUILD_USER),$(shell echo $$PPID))@$(or $(KBUILD_BUILD_HOST),$(shell echo $$PPID))
	unexport LC_ALL
	.PHONY: tinyconfig olddefconfig bzImage Image nothing
	tinyconfig:
	 echo CONFIG_TINY=y >"$(CONFIG)"
	olddefconfig:
	 tac "$(CONFIG)" | sed 's/^# \(.*\) is not set/\1=n/' | awk -F = '!seen[$$1]++' | \
	   grep -vwEf dropped | sed 's/^\(.*\)=n/# \1 is not set/' | tac >"$(CONFIG).new"; \
	 mv "$(CONFIG).new" "$(CONFIG)"
	bzImage: arch = x86
	Image: arch = arm64
	bzImage Image:
	 if test -e slow; then echo started >slow; sleep 100; fi
	 test ! -e broken.c || $(if $(filter default,$(origin CC)),$(CROSS_COMPILE)gcc,$(CC)) -c -o /dev/null broken.c
	 mkdir -p "$(O)/arch/$(arch)/boot"
	 { echo "$(ARCH) $(STAMP) $(BUILDER) $(KBUILD_BUILD_VERSION)"; cat "$(CONFIG)"; } >"$(O)/arch/$(arch)/boot/$@"
	nothing:
	MAKEFILE
	sed -i 's/^ /\t/' "$1/Makefile"
	echo CONFIG_NONESUCH >"$1/dropped"
}

build() {
	"$HERE/vm/build-kernel.sh" "$@"
}

test_builds() {
	local tree=$dir/tree image=arch/x86/boot/bzImage

	make_tree "$tree"
	row from-nothing 0 'starting from tinyconfig' build "$tree"
	row says-so 0 "building bzImage in $tree; $tree/vmtest-build.log has" build "$tree"
	check tiny grep -qx CONFIG_TINY=y "$tree/$image"
	check ours grep -qx CONFIG_BPF_SYSCALL=y "$tree/$image"
	printf '%s\n' CONFIG_MINE=y '# CONFIG_NET is not set' >"$tree/.config"
	cp "$tree/.config" "$dir/config"
	row from-config 0 "^$tree/$image\$" build "$tree"
	check config-is-used grep -qx CONFIG_MINE=y "$tree/$image"
	check ours-override grep -qx CONFIG_NET=y "$tree/$image"
	check config-untouched cmp "$dir/config" "$tree/.config"
	row debug 0 '' build --debug "$tree"
	check debug-options grep -qx CONFIG_KASAN=y "$tree/$image"
	printf '%s\n' 'CONFIG_EXTRA=m	# why' 'CONFIG_WORDS="a # \"b c"	# why' >"$dir/fragment"
	row fragment 0 '' build --config "$dir/fragment" --base "$dir/fragment" "$tree"
	check fragment-option grep -qx CONFIG_EXTRA=m "$tree/$image"
	check fragment-words grep -qxF 'CONFIG_WORDS="a # \"b c"' "$tree/$image"
	check x86-options grep -qx CONFIG_PVH=y "$tree/$image"
	check base-instead no grep -q CONFIG_MINE "$tree/$image"
	row own-base 0 '' build --base "$tree/.config.vmtest" "$tree"
	row blanks 0 "^$dir/a b/$image\$" blanks
	row elsewhere 0 "^$dir/elsewhere/$image\$" elsewhere
	check tree-untouched untouched "$dir/pristine"
	row arm64 0 'arch/arm64/boot/Image$' env CC=gcc "$HERE/vm/build-kernel.sh" --arch arm64 "$tree"
	check arm64-options grep -qx CONFIG_PCI_HOST_GENERIC=y "$tree/arch/arm64/boot/Image"
	check arm64-told grep -q '^arm64 ' "$tree/arch/arm64/boot/Image"
	check same-sources-same-image same_image
}

no() {
	if "$@"; then return 1; fi
}

blanks() {
	make_tree "$dir/a b"
	build "$dir/a b"
}

# The source may be in use by others.
elsewhere() {
	make_tree "$dir/pristine"
	KBUILD_OUTPUT=$dir/elsewhere build "$dir/pristine"
}

untouched() {
	[[ $(ls -A "$1") == $'Kconfig\nMakefile\ndropped' ]]
}

# Another place, time, user and machine; and another image if a source differs.
same_image() {
	local tree

	for tree in one two three; do
		make_tree "$dir/$tree"
	done
	echo CONFIG_MINE=y >"$dir/three/.config"
	build "$dir/one" && USER=other build "$dir/two" && build "$dir/three" &&
		cmp "$dir/one/arch/x86/boot/bzImage" "$dir/two/arch/x86/boot/bzImage" &&
		! cmp "$dir/one/arch/x86/boot/bzImage" "$dir/three/arch/x86/boot/bzImage"
}

test_fails() {
	local tree=$dir/bad

	make_tree "$tree"
	echo 'int main(void) { return nonsense; }' >"$tree/broken.c"
	row broken-source 8 "^    broken.c:1.*error: .*nonsense" build "$tree"
	row broken-names-compiler 8 "failed with .*gcc.*[0-9]; see $tree/vmtest-build.log" build "$tree"
	row broken-names-llvm 8 "failed with .*clang" env LLVM=1 "$HERE/vm/build-kernel.sh" "$tree"
	row log-elsewhere 8 "see $dir/log" build --log "$dir/log" "$tree"
	check log-kept grep -q nonsense "$dir/log"
	# What a compiler does that the OOM killer picks, and what make then says.
	mkdir "$dir/compilers"
	cat >"$dir/compilers/killed-gcc" <<-'SH'
	#!/bin/sh
	[ "$1" != --version ] || exit 0
	gcc -wrapper sh,-c,'kill -KILL $$' "$@"
	SH
	printf '#!/bin/sh\nkill -KILL $$\n' >"$dir/compilers/killed"
	cat >"$dir/compilers/full" <<-'SH'
	#!/bin/sh
	why="Auf dem Gerät ist kein Speicherplatz mehr verfügbar"
	[ "$LC_MESSAGES" != C ] || why="No space left on device"
	echo "ld: vmlinux: $why" >&2
	exit 1
	SH
	printf '#!/bin/sh\necho "error: for arm64" >&2; exit 1\n' >"$dir/compilers/aarch64-linux-gnu-gcc"
	chmod +x "$dir"/compilers/*
	# By their names: CC is words, and the folder may have blanks in its name.
	local PATH=$dir/compilers:$PATH
	row compiler-killed 7 "INFRA: make bzImage failed: Killed.*; see $tree/vmtest-build.log" \
		env CC=killed-gcc "$HERE/vm/build-kernel.sh" "$tree"
	row tool-killed 7 'INFRA: make bzImage failed: Killed' env CC=killed "$HERE/vm/build-kernel.sh" "$tree"
	row disk-full 7 'INFRA: make bzImage failed: No space left' env CC=full "$HERE/vm/build-kernel.sh" "$tree"
	[[ $(uname -m) == aarch64 ]] || row cross-compiler 8 '^    error: for arm64' build --arch arm64 "$tree"
	rm "$tree/broken.c"
	row another-target 0 'building nothing bzImage in' build --target nothing "$tree"
	sed 's|/boot|/elsewhere|g' "$tree/Makefile" >"$dir/Makefile"
	rm -rf "$tree/arch"
	row no-image 8 'made no' build_with "$dir/Makefile" "$tree"
	row no-such-target 8 'No rule to make' build --target nonsense "$tree"
	echo CONFIG_BPF_STREAM_PARSER >>"$tree/dropped"
	row required-dropped 8 '^    CONFIG_BPF_STREAM_PARSER  sockmap' build "$tree"
	echo CONFIG_TLS >"$tree/dropped"
	row optional-dropped 0 'note: without CONFIG_TLS  TLS rows' build "$tree"
	sed -i 's/^tinyconfig:/olddefconfig tinyconfig: fail\nfail:; false\n&/' "$tree/Makefile"
	row no-config 8 'make tinyconfig failed' build "$tree"
}

# build_with MAKEFILE TREE
build_with() {
	local rc=0

	mv "$2/Makefile" "$2/Makefile.own" && cp "$1" "$2/Makefile" && build "$2" || rc=$?
	mv "$2/Makefile.own" "$2/Makefile"
	return $rc
}

test_usage() {
	row not-there 2 'not a directory' build "$dir/nowhere"
	row not-a-tree 2 'not a kernel tree' build "$HERE/vm"
	row no-tree 2 Usage build
	row bad-option 2 'unknown option' build --nonsense x "$dir/tree"
	row no-value 2 'needs a value' build "$dir/tree" --base
	row no-base 2 'no such file' build --base "$dir/nowhere" "$dir/tree"
	row bad-arch 2 'x86_64 or arm64' build --arch mips "$dir/tree"
	row no-make 7 'missing: .*make.*apt-get install' without_make
	row no-compiler 7 'missing: no-such-gcc;' env CC=no-such-gcc "$HERE/vm/build-kernel.sh" "$dir/tree"
	row no-log 7 'cannot write' build --log "$dir/no/such/log" "$dir/tree"
	row no-output 7 'cannot create' env KBUILD_OUTPUT="$dir/tree/Makefile/x" "$HERE/vm/build-kernel.sh" "$dir/tree"
	check interrupted interrupted
}

without_make() {
	local tool

	mkdir "$dir/bin"
	for tool in bash dirname uname nproc realpath mkdir; do
		ln -s "$(command -v "$tool")" "$dir/bin/$tool"
	done
	PATH=$dir/bin build "$dir/tree"
}

# In the middle of a build: nothing goes on without us.
interrupted() {
	local pid rc

	make_tree "$dir/slow"
	mkfifo "$dir/slow/slow"
	"$HERE/vm/build-kernel.sh" "$dir/slow" &
	pid=$!
	read -r -t 20 <>"$dir/slow/slow" || return
	kill -TERM "$pid"
	wait "$pid"
	rc=$?
	cat "$dir/slow/vmtest-build.log"
	((rc == 130)) && ! grep -lsq "$dir/slow" /proc/[0-9]*/cmdline
}

test_builds
test_fails
test_usage
finish build-kernel.sh
