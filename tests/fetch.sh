#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of vm/fetch-kernel.sh and scripts/sysroot.sh, against a small archive of our own, signed with a key
# of our own, that a local server offers. Needs no network and no root.
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly HERE RELEASE=9.9.1-cloud-amd64
server=''
# shellcheck source=tests/lib.sh
source "$HERE/tests/lib.sh"

scratch fetch
[[ $dir != *[[:space:]]* ]] || bail_out "sources.list has no way to quote the blanks in $dir: choose another TMPDIR"

# shellcheck disable=SC2317 # called by the trap
clean_up() {
	[[ ! $server ]] || kill "$server"
	GNUPGHOME=$dir/gpg gpgconf --kill all
} 2>/dev/null

# row NAME CODE PATTERN COMMAND...: whatever fails leaves no kernel behind.
row() {
	try "${@:2}"
	(($2 == 0)) || [[ ! $(compgen -G "$dir/cache/*-cloud-*") ]] || because "a kernel is visible"
	tried "$1"
}

# ---- The archive ---------------------------------------------------------------------------------

# GETs with ranges, also as a proxy for everybody; those of packages are logged. While "stall" exists,
# a package comes only to its half, and FIFO "stalled" tells when.
start_server() {
	mkfifo "$dir/stalled" "$dir/port"
	python3 - "$dir" >>"$dir/server.log" 2>&1 <<-'PYTHON' &
	import contextlib, http.server, os, sys, urllib.parse
	top = sys.argv[1]
	class Handler(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        path = top + "/archive" + urllib.parse.urlsplit(self.path).path
	        if not os.path.isfile(path):
	            return self.send_error(404)
	        data, start = open(path, "rb").read(), 0
	        if path.endswith(".deb"):
	            if "Range" in self.headers and not os.path.exists(top + "/no-ranges"):
	                start = int(self.headers["Range"].split("=")[1].split("-")[0])
	            print("deb from", start, "of", len(data), flush=True)
	        self.send_response(206 if start else 200)
	        if start:
	            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
	        self.send_header("Content-Length", str(len(data) - start))
	        self.end_headers()
	        if path.endswith(".deb") and os.path.exists(top + "/stall"):
	            self.wfile.write(data[start:len(data) // 2])
	            with open(top + "/stalled", "w") as fifo:
	                fifo.write("now\n")
	            with contextlib.suppress(ConnectionResetError):
	                self.rfile.read()
	        else:
	            self.wfile.write(data[start:])
	    def log_message(self, *args):
	        pass
	server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
	with open(top + "/port", "w") as fifo:
	    fifo.write("%d\n" % server.server_port)
	server.serve_forever()
	PYTHON
	server=$!
	read -r -t 20 port <>"$dir/port" || bail_out "no server"
}

# make_package NAME VERSION ARCH [FIELD]: of what is in $dir/tree.
make_package() {
	mkdir -p "$dir/tree/DEBIAN"
	printf '%s\n' "Package: $1" "Version: $2" "Architecture: $3" 'Maintainer: Nobody <nobody@localhost>' \
		'Description: nothing' ${4+"$4"} >"$dir/tree/DEBIAN/control"
	dpkg-deb -Znone --root-owner-group -b "$dir/tree" "$dir/archive/pool/$1_$2_$3.deb" >/dev/null ||
		bail_out "dpkg-deb"
}

# A kernel whose modules have gone, and libraries for another architecture.
make_packages() {
	local name

	mkdir -p "$dir/archive/pool" "$dir/tree/usr/include"
	touch "$dir/tree/usr/include/x.h"
	while read -r name; do
		make_package "$name" 1 arm64
	done < <(sed -n 's/^readonly PACKAGES=(\(.*\))/\1/p' "$HERE/scripts/sysroot.sh" | tr ' ' '\n')
	mkdir "$dir/tree/boot"
	head -c 2000000 /dev/urandom >"$dir/tree/boot/vmlinuz-$RELEASE"
	make_package "linux-image-$RELEASE" 9.9.1-1 amd64 "Depends: linux-modules-$RELEASE"
}

hash_of() {
	sha256sum <"$1" | cut -d ' ' -f 1
}

# index ARCH: what the archive has for it.
index() {
	local file

	mkdir -p "$dists/main/binary-$1"
	for file in "$dir/archive/pool/"*"_$1.deb"; do
		dpkg-deb -f "$file"
		printf '%s\n' "Filename: pool/${file##*/}" "Size: $(stat -c %s "$file")" \
			"SHA256: $(hash_of "$file")" ''
	done >"$dists/main/binary-$1/Packages"
}

# publish [LINE]: sign the packages into our suite, with one more line in its Release.
publish() {
	local file

	index amd64
	index arm64
	{
		printf '%s\n' "Suite: $suite" "Codename: $suite" 'Components: main' \
			'Architectures: amd64 arm64' "Date: $(date -Ru -d '2 days ago')" ${1+"$1"} SHA256:
		for file in main/binary-{amd64,arm64}/Packages; do
			printf ' %s %s %s\n' "$(hash_of "$dists/$file")" "$(stat -c %s "$dists/$file")" "$file"
		done
	} >"$dists/Release"
	gpg --batch --yes -q --clearsign -o "$dists/InRelease" "$dists/Release" || bail_out "gpg"
}

# The scripts under test are as they are, but for the keyring. The machine's apt is one that puts up with what
# is not signed.
prepare() {
	local tool

	for tool in python3 gpg apt-get dpkg-deb curl; do
		command -v "$tool" >/dev/null || bail_out "$tool is missing"
	done
	suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	dists=$dir/archive/dists/$suite
	deb=$dir/archive/pool/linux-image-${RELEASE}_9.9.1-1_amd64.deb
	mkdir -m 700 "$dir/gpg"
	export GNUPGHOME=$dir/gpg
	gpg --batch -q --passphrase '' --quick-gen-key fetch-test rsa2048 sign never 2>/dev/null ||
		bail_out "gpg"
	gpg --batch -q --export >"$dir/key.gpg" || bail_out "gpg"
	mkdir "$dir/vm" "$dir/scripts" "$dir/empty" "$dir/state" "$dir/small" "$dir/bin"
	cp "$HERE"/vm/*.sh "$dir/vm"
	cp "$HERE/vmtest.sh" "$dir"
	cp "$HERE/scripts/sysroot.sh" "$dir/scripts"
	sed "s|^readonly KEYRINGS=.*|readonly KEYRINGS=$dir/key|" "$HERE/vm/apt.sh" >"$dir/vm/apt.sh"
	make_packages
	publish
	start_server
	echo "deb [trusted=yes] http://127.0.0.1:$port $suite main" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-CONF
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "$dir/empty";
	Dir::Etc::main "/dev/null";
	Dir::Etc::parts "/dev/null";
	Dir::State "$dir/state";
	Dir::Cache "$dir/state";
	APT::Sandbox::User "root";
	Acquire::AllowInsecureRepositories "true";
	Acquire::Check-Date "true";
	Acquire::Check-Valid-Until "true";
	Acquire::http::Proxy::127.0.0.1 "DIRECT";
	APT::Get::AllowUnauthenticated "true";
	CONF
	export APT_CONFIG=$dir/apt.conf no_proxy=127.0.0.1
	apt-get -q update >"$dir/stdout" 2>&1 || bail_out "apt: $(tail -n 1 "$dir/stdout")"
}

fetch() {
	timeout 30 "$dir/vm/fetch-kernel.sh" "$@" "$dir/cache"
}

anew() {
	rm -rf "$dir/cache"
	: >"$dir/server.log"
}

# ---- What must be refused ------------------------------------------------------------------------

test_refused() {
	local refused='cannot be reached|no cloud-amd64 kernel'

	row unknown-kernel 1 'no cloud-amd64 kernel matches' fetch 8.8
	row bad-pattern 1 'not a kernel release' fetch ../x
	sed -i 's/^Description: .*/Description: forged!/' "$dists/main/binary-amd64/Packages"
	row forged-index 1 "$refused" fetch 9.9
	publish
	sed -i 's/^Components: .*/Components: main forged/' "$dists/InRelease"
	row forged-release 1 "$refused" fetch 9.9
	rm "$dists/InRelease"
	row unsigned-release 1 "$refused" fetch 9.9
	publish "Valid-Until: $(date -Ru -d yesterday)"
	row expired-release 1 "$refused" fetch 9.9
	publish
	anew
	cp "$deb" "$dir/good.deb"
	printf XXXX | dd of="$deb" bs=1 seek=1000000 conv=notrunc status=none
	row forged-package 1 "not what the archive's signed index says" fetch 9.9
	cp "$dir/good.deb" "$deb"
	row after-forged-package 0 "/$RELEASE\$" fetch 9.9
}

# ---- What must go on -----------------------------------------------------------------------------

# Kills the script, and nothing but the script, when half of a package has come.
# What the server has sent may still be under way to the file.
beginning_is_there() {
	local until=$((SECONDS + 20))

	until [[ -s $(compgen -G "$dir/cache/archives/*.deb") ]] || ((SECONDS > until)); do
		sleep 0.01
	done
}

kill_midway() {
	local pid

	anew
	touch "$dir/stall"
	"$dir/vm/fetch-kernel.sh" 9.9 "$dir/cache" >"$dir/killed" 2>&1 &
	pid=$!
	read -r -t 20 <>"$dir/stalled"
	beginning_is_there
	kill -KILL "$pid"
	wait "$pid"
	rm "$dir/stall"
} 2>/dev/null

# The second request starts behind what the first one had brought, not at 0.
went_on() {
	cat "$dir/server.log"
	[[ $(wc -l <"$dir/server.log") == 2 ]] && tail -n 1 "$dir/server.log" | grep -q '^deb from [1-9]'
}

# vmtest.sh is told to end while half of a package has come: it does, and so does the download.
interrupt_vmtest() {
	local pid rc began

	anew
	touch "$dir/stall"
	QEMU=true XDG_CACHE_HOME=$dir/home "$dir/vmtest.sh" --bin "$HERE/.output/init" --print-cmd -k 9.9 &
	pid=$!
	read -r -t 20 <>"$dir/stalled"
	began=$SECONDS
	kill -TERM "$pid"
	wait "$pid"
	rc=$?
	rm "$dir/stall"
	((SECONDS - began < 20)) && ! grep -qls "$dir/home" /proc/[0-9]*/cmdline || return 1
	return $rc
}

test_resumed() {
	kill_midway
	row killed-midway 0 "/$RELEASE\$" fetch 9.9
	check goes-on went_on
	check whole cmp "$dir/tree/boot/vmlinuz-$RELEASE" "$dir/cache/$RELEASE/boot/vmlinuz-$RELEASE"
	kill_midway
	touch "$dir/no-ranges"
	row server-without-ranges 0 "/$RELEASE\$" fetch 9.9
	rm "$dir/no-ranges"
	kill_midway
	touch "$dir/cache/archives/linux-image-${RELEASE}_9.9.0-1_amd64.deb"
	row beside-an-older-version 0 "/$RELEASE\$" fetch 9.9
	row interrupted 130 INTERRUPTED interrupt_vmtest
}

# ---- Other ways to the archive, and to little disk -----------------------------------------------

# fetch_from SOURCE [SETTING]: as on a machine whose apt has these.
fetch_from() {
	echo "deb $1 main" >"$dir/other.list"
	printf '%s\n' "$(<"$dir/apt.conf")" "Dir::Etc::sourcelist \"$dir/other.list\";" \
		"Dir::State \"$dir/other\";" ${2+"$2"} >"$dir/other.conf"
	rm -rf "$dir/cache" "$dir/other"
	mkdir "$dir/other"
	APT_CONFIG=$dir/other.conf apt-get -q update && APT_CONFIG=$dir/other.conf fetch 9.9
}

# As in the image of a container: nobody has run apt-get update.
fetch_without_lists() {
	rm -rf "$dir/other/lists"
	APT_CONFIG=$dir/other.conf fetch --update 9.9
}

# publish_as SUITE [LINE]: the same archive under another name.
publish_as() {
	suite=$1 dists=$dir/archive/dists/$1 publish ${2+"$2"}
}

list() {
	XDG_CACHE_HOME=$dir/home "$dir/vm/fetch-kernel.sh" --list
}

fetch_at_home() {
	XDG_CACHE_HOME=$dir/home "$dir/vm/fetch-kernel.sh" 9.9
}

# on_small_disk SIZE [TOOL]: no more than that for the cache, and nothing once TOOL is called; whether what
# is left is a kernel for others.
on_small_disk() {
	local rc

	# shellcheck disable=SC2016 # for the tool to expand
	[[ ! ${2-} ]] || printf '#!/bin/bash\nhead -c 1G /dev/zero >"$SMALL/filler"\nexec %q "$@"\n' \
		"$(command -v "$2")" >"$dir/bin/$2"
	chmod +x "$dir/bin/"* 2>/dev/null
	# shellcheck disable=SC2016 # for the inner shell
	SMALL=$dir/small PATH=$dir/bin:$PATH unshare -rm bash -c '
		mount -t tmpfs -o size="$1" none "$SMALL" || exit 99
		rc=0; "$2" 9.9 "$SMALL/cache" || rc=$?
		! compgen -G "$SMALL/cache/*-cloud-*" || exit 98
		exit $rc' - "$1" "$dir/vm/fetch-kernel.sh"
	rc=$?
	rm -f "$dir/bin/"*
	return $rc
}

test_ways() {
	local here="[trusted=yes] http://127.0.0.1:$port"

	# Nobody but a proxy knows that host.
	row by-proxy 0 "/$RELEASE\$" fetch_from "http://archive.invalid $suite" \
		"Acquire::http::Proxy \"http://127.0.0.1:$port\";"
	ln -s "$suite" "$dir/archive/dists/stable"
	row stable 0 "/$RELEASE\$" fetch_from "$here stable"
	publish_as sid 'Origin: Debian'
	row sid 0 "/$RELEASE\$" fetch_from "$here sid"
	publish_as nonesuch
	row not-debian 1 'names no Debian archive' fetch_from "$here nonesuch"
	row no-lists 1 'run apt-get update' fetch_without_lists
	anew
	row lost-modules 0 "has no linux-modules-$RELEASE" fetch 9.9
	anew
	row another-language 0 "has no linux-modules-$RELEASE" env LC_ALL=C.UTF-8 LANGUAGE=de \
		"$dir/vm/fetch-kernel.sh" 9.9 "$dir/cache"
	row list 0 "^$RELEASE +$suite\$" list
	row list-here 0 "^$RELEASE +$suite, here\$" eval 'fetch_at_home && list'
	anew
	row no-room-for-lists 1 'no space left' on_small_disk 1m
	row no-room-for-package 1 'download failed' on_small_disk 99m curl
	row no-room-to-unpack 1 'cannot unpack' on_small_disk 99m dpkg-deb
}

sysroot() {
	XDG_CACHE_HOME=$dir/home "$dir/scripts/sysroot.sh" "$@"
}

test_sysroot() {
	row sysroot 0 "/arm64-$suite\$" sysroot arm64
	check sysroot-contents test -f "$dir/home/sockmap-tests/sysroot/arm64-$suite/usr/include/x.h"
	row sysroot-bad-arch 64 usage sysroot mips
	rm -rf "${dir:?}/home"
	mv "$dir/archive/pool/libelf-dev_1_arm64.deb" "$dir"
	row sysroot-lost-package 1 'download failed' sysroot arm64
	check sysroot-all-or-nothing test ! -e "$dir/home/sockmap-tests/sysroot/arm64-$suite"
	mv "$dir/libelf-dev_1_arm64.deb" "$dir/archive/pool"
}

# Three at once, of two patterns: one download, one answer.
at_once() {
	local pattern pids=() pid rc=0

	anew
	for pattern in 9.9 9 9.9; do
		fetch "$pattern" >>"$dir/answers" 2>>"$dir/waiting" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || rc=1
	done
	cat "$dir/answers" "$dir/waiting" "$dir/server.log"
	((rc == 0)) && [[ $(sort -u "$dir/answers") == "$dir/cache/$RELEASE" ]] &&
		[[ $(wc -l <"$dir/server.log") == 1 ]] && grep -q 'waiting for another' "$dir/waiting"
}

test_cache() {
	check at-once at_once
	kill "$server"
	wait "$server" 2>/dev/null
	server=''
	row cached 0 "/$RELEASE\$" fetch 9.9
	row without-network-cached 0 "/$RELEASE\$" fetch --update 9.9
	anew
	row without-network 1 'cannot be reached' fetch 9.9
	anew
	touch "$dir/cache"
	row no-cache 1 'cannot create' fetch 9.9
}

prepare
test_refused
test_resumed
test_ways
test_sysroot
test_cache
finish fetch-kernel.sh
