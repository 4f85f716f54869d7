#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# deps.sh build|vm|kernel|arm64|man|check|browser|lava...: install the Debian packages that these need and
# that are missing. Does nothing, and needs no root, where all of them are there.
# deps.sh --print vm...: only name them.
set -eu -o pipefail

packages_for() {
	case $1 in
	build)
		echo gcc make pkg-config libc6-dev linux-libc-dev clang bpftool \
			libbpf-dev libelf-dev zlib1g-dev libjansson-dev
		;;
	vm) echo qemu-system-x86 kmod xz-utils zstd util-linux curl ;;
	kernel) echo gcc make flex bison bc libelf-dev libssl-dev dwarves ;;
	arm64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm ;;
	man) echo help2man ;;
	# flex, bison and bc: the tests of --build do not build a kernel, but are asked for them.
	check) echo shellcheck clang-format python3 util-linux procps git busybox-static binutils flex bison bc \
		gnupg curl help2man mandoc libxml2-utils python3-yaml ;;
	# For the tests of the page that test_progs --report makes.
	browser) echo chromium ;;
	# LAVA's schema, which not every release of Debian has.
	lava) echo lava-common ;;
	*)
		echo "deps.sh: what is \"$1\"? (build, vm, kernel, arm64, man, check, browser, lava)" >&2
		exit 64
		;;
	esac
}

is_installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

main() {
	local set package missing=()

	if [[ ${1-} == --print ]]; then
		shift
		for set; do
			packages_for "$set"
		done
		return
	fi
	if ! command -v dpkg-query >/dev/null; then
		echo "deps.sh: not a Debian system: assuming that what is needed is there" >&2
		return
	fi
	for set; do
		for package in $(packages_for "$set"); do
			is_installed "$package" || missing+=("$package")
		done
	done
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		echo "deps.sh: missing; as root: apt-get install ${missing[*]}" >&2
		exit 3
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -qy --no-install-recommends "${missing[@]}"
}

main "$@"
