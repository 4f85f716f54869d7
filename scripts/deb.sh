#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# deb.sh VERSION ROOT OUT: make a Debian package in OUT of what `make install` put into ROOT.
set -eu -o pipefail
umask 022

version=$1 root=$2 out=$3
arch=$(dpkg --print-architecture)
# The one who packages it, named as Debian's own tools do it.
maintainer="${DEBFULLNAME:-$(id -un)} <${DEBEMAIL:-$(id -un)@$(hostname)}>"

# What is in the package is static; the rest is for the virtual machine.
recommended() {
	local packages

	read -ra packages < <("$(dirname -- "${BASH_SOURCE[0]}")/deps.sh" --print vm)
	printf '%s' "${packages[0]}" "${packages[@]/#/, }" | sed 's/, [^,]*//'
}

doc=$root/usr/share/doc/sockmap-tests
cat >"$doc/copyright" <<-COPYRIGHT
	Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
	Upstream-Name: sockmap-tests

	Files: *
	Copyright: the authors of sockmap-tests
	License: GPL-2
	 On Debian systems, the whole text of this license is in
	 /usr/share/common-licenses/GPL-2.
COPYRIGHT
gzip -9nf "$root"/usr/share/man/man1/*.1

mkdir -p "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<-CONTROL
	Package: sockmap-tests
	Version: $version
	Architecture: $arch
	Section: devel
	Priority: optional
	Maintainer: $maintainer
	Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
	Recommends: $(recommended)
	Description: tests of BPF sockmap and sockhash redirection
	 Tests whether the kernel delivers what BPF verdict programs redirect
	 between sockets, once, in order, to the right socket, and with a wake-up
	 for its reader. vmtest runs them on any kernel in QEMU, for a verdict that
	 CI and git bisect can use.
CONTROL
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$root" "$out/sockmap-tests_${version}_$arch.deb"
