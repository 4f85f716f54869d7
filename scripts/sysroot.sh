#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# sysroot.sh ARCH: the libraries that test_progs is linked with, for another architecture: Debian's
# packages of this machine's own release, unpacked into the cache. Prints the folder. No root is needed,
# and dpkg does not hear of the foreign architecture; the C library is the cross compiler's.
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly PACKAGES=(libbpf-dev libelf-dev zlib1g-dev libjansson-dev libzstd-dev liblzma-dev libbz2-dev)

die() {
	printf 'sysroot.sh: %s\n' "$*" >&2
	exit 1
}

# shellcheck source-path=SCRIPTDIR/..
. "$HERE/vm/apt.sh"

download() {
	mkdir -p "$archives" "$cache" || die "cannot write to $cache"
	write_apt_conf
	update_lists own
	(cd "$archives" && apt_own apt-get -q download "${PACKAGES[@]}") >"$work/download.log" 2>&1 ||
		die "download failed: $(grep -m 1 '^E:' "$work/download.log")"
}

main() {
	local deb dir

	arch=${1-}
	[[ $arch == arm64 ]] || { echo "usage: sysroot.sh arm64" >&2; exit 64; }
	cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/sockmap-tests/sysroot
	dir=$cache/$arch-$(codename)
	if [[ ! -d $dir ]]; then
		mkdir -p "$cache" || die "cannot create $cache"
		work=$(mktemp -d "$cache/.new.XXXXXX") || die "cannot write to $cache"
		trap 'rm -rf "$work"' EXIT
		archives=$work/archives
		echo "sysroot.sh: downloading ${PACKAGES[*]} for $arch" >&2
		download
		for deb in "$archives"/*.deb; do
			dpkg-deb -x "$deb" "$work/tree" || die "cannot unpack ${deb##*/}"
		done
		chmod 755 "$work/tree"
		# Somebody else may have been faster.
		mv -T "$work/tree" "$dir" 2>/dev/null || [[ -d $dir ]] || die "cannot write to $cache"
	fi
	printf '%s\n' "$dir"
}

main "$@"
