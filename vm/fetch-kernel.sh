#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Fetch a Debian cloud kernel and print the directory it was unpacked into.
#
# The archive, its keys and any proxy are those of this machine's own apt configuration; the suites
# looked at are this machine's and those of its neighbour releases. Everything is done in the cache,
# through an apt state of its own: no root is needed, and the machine's apt is left as it is.
set -u -o pipefail

readonly PROG=${0##*/}
HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P) || exit 1

# shellcheck source-path=SCRIPTDIR
. "$HERE/apt.sh"

usage() {
	cat <<-USAGE
	Usage: vm/$PROG [--arch ARCH] [--update] PATTERN [CACHE]
	       vm/$PROG [--arch ARCH] [--update] --list [CACHE]

	PATTERN is the beginning of a kernel release, in whole components ("6.1", "6.12", "5.10",
	"6.1.0-56-cloud-amd64"), or "default": the kernel that linux-image-cloud-ARCH depends on.
	CACHE defaults to \$XDG_CACHE_HOME/sockmap-tests/kernels. A pattern that was fetched before is
	answered from it without any network; --update looks for a newer kernel. ARCH is amd64 or arm64
	[amd64]. --list prints every release that the archive has, and those that are here.
	USAGE
}

die() {
	printf '%s: %s\n' "$PROG" "$*" >&2
	exit 1
}

note() {
	printf '%s: %s\n' "$PROG" "$*" >&2
}

# ---- The cache ---------------------------------------------------------------------------------

default_cache() {
	local base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}

	[[ $base ]] || die "neither XDG_CACHE_HOME nor HOME is set; name a cache directory"
	printf '%s\n' "$base/sockmap-tests/kernels$([[ $arch == amd64 ]] || echo "/$arch")"
}

# A pattern's answer is a symbolic link to a release, both put in place by rename: whatever is
# visible is whole.
remember() {
	local release=$1

	if ! ln -sfn "../$release" "$cache/by-pattern/.new.$$" ||
		! mv -T "$cache/by-pattern/.new.$$" "$cache/by-pattern/$pattern"; then
		die "cannot write to $cache"
	fi
}

answer() {
	printf '%s\n' "$(cd "$1" && pwd -P)"
	exit 0
}

# What an earlier, killed run has left. The lock is held, so nobody else is at work.
open_cache() {
	mkdir -p "$cache/by-pattern" || die "cannot create $cache"
	exec 9>"$cache/.lock" || die "cannot write to $cache"
	flock -n 9 || { note "waiting for another download"; flock 9; }
	rm -rf "$cache"/.new.* "$cache"/by-pattern/.new.*
	work=$(mktemp -d "$cache/.new.XXXXXX") || die "cannot write to $cache"
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM HUP
}

# Whole components: 6.1 is not 6.12.
release_regex() {
	local literal=${pattern//./\\.}

	literal=${literal//+/\\+}
	case $pattern in
	default) echo "-cloud-$arch\$" ;;
	*-cloud-"$arch") printf '^%s$\n' "$literal" ;;
	*) printf '^%s([.+-].*)?-cloud-%s$\n' "$literal" "$arch" ;;
	esac
}

newest_cached() {
	local dir

	for dir in "$cache"/*/; do
		dir=${dir%/}
		[[ ${dir##*/} =~ $release_re ]] && printf '%s\n' "${dir##*/}"
	done | sort -V | tail -n 1
}

# ---- Searching ----------------------------------------------------------------------------------

find_package() {
	if [[ $pattern == default ]]; then
		apt_own apt-cache depends --important "linux-image-cloud-$arch" 2>/dev/null |
			sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
		return
	fi
	apt_own apt-cache pkgnames linux-image- 2>&8 |
		sed -n 's/^linux-image-\([0-9].*\)$/\1/p' | grep -E "$release_re" | sort -rV |
		while read -r release; do
			# A name that is only mentioned by others has no version to download.
			apt_own apt-cache show "linux-image-$release" >/dev/null 2>&1 || continue
			printf 'linux-image-%s\n' "$release"
			break
		done
}

# Suites that keep many kernels in small indexes come first; the large indexes only if need be.
search_archive() {
	local where places=(small releases)

	[[ $pattern == default ]] && places=(own)
	for where in "${places[@]}"; do
		update_lists "$where"
		package=$(find_package)
		[[ $package ]] && return 0
	done
	return 1
}

# ---- Fetching -----------------------------------------------------------------------------------

# The package and those of its dependencies that carry the same release in their names: from 6.19 on
# the image and the modules are packages of their own.
package_closure() {
	local release=$1 todo=("linux-image-$1") seen=" " name

	while ((${#todo[@]})); do
		name=${todo[0]}
		todo=("${todo[@]:1}")
		[[ $seen == *" $name "* ]] && continue
		seen+="$name "
		printf '%s\n' "$name"
		mapfile -t -O "${#todo[@]}" todo < <(apt_own apt-cache depends --important "$name" \
			2>/dev/null | sed -n 's/^[ |]*\(Pre\)\{0,1\}Depends: \([^ <>]*\).*/\2/p' |
			grep -F -- "$release")
	done
}

# An archive may keep an image longer than what else was built with it.
note_lost_modules() {
	local lost

	lost=$(apt_own apt-cache depends --important "${packages[@]}" 2>/dev/null |
		sed -n 's/^[ |]*Depends: <\(linux-modules-.*\)>$/\1/p')
	[[ ! $lost ]] || note "the archive has no $lost: this kernel comes without modules"
}

# Sets packages and files.
download() {
	local release=$1 uri file size hash

	mapfile -t packages < <(package_closure "$release")
	note_lost_modules
	note "downloading ${packages[*]}"
	while read -r uri file size hash; do
		download_file "${uri//\'/}" "$file" "$size" "${hash#SHA256:}"
		files+=("$archives/$file")
	done < <(apt_own apt-get -q download --print-uris "${packages[@]}" 2>"$work/download.log")
	((${#files[@]} == ${#packages[@]})) ||
		die "download failed: $(grep -m 1 '^E:' "$work/download.log" || echo "apt knows no ${packages[*]}")"
}

# apt begins an interrupted file anew, so curl does this part; what it must amount to is what apt's signed
# indexes say. Other kinds of archives than http, and machines without curl, have apt.
download_file() {
	local uri=$1 file=$archives/$2 size=$3 hash=$4

	if [[ $uri == http* ]] && command -v curl >/dev/null; then
		if (($(stat -c %s "$file" 2>/dev/null || echo 0) < size)); then
			curl_file "$uri" "$file" -C - || { (($? == 33)) && curl_file "$uri" "$file"; } ||
				die "download failed: $(tail -n 1 "$work/download.log")"
		fi
	else
		(cd "$archives" && apt_own apt-get -q download "${2%%_*}") >"$work/download.log" 2>&1 ||
			die "download failed: $(grep -m 1 '^E:' "$work/download.log")"
	fi
	if [[ $hash != "$(sha256sum "$file" | cut -d ' ' -f 1)" ]]; then
		rm -f "$file"
		die "what $uri gave is not what the archive's signed index says; try again"
	fi
}

# Fails with 33 where the server cannot go on in the middle of a file. Dies with us, since it holds the
# lock as we do, and gives up when nothing comes.
curl_file() {
	local uri=$1 file=$2

	shift 2
	# shellcheck disable=SC2046 # two words or none
	setpriv --pdeathsig KILL curl -fsSL --retry 2 --connect-timeout 30 --speed-limit 1 --speed-time 60 \
		"$@" $(curl_proxy "$uri") -o "$file" "$uri" 2>"$work/download.log"
}

# curl looks at the environment only.
curl_proxy() {
	local proxy=''

	eval "$(apt_own apt-config shell proxy "Acquire::${1%%:*}::Proxy")"
	[[ ! $proxy || $proxy == DIRECT ]] || printf -- '--proxy %s' "$proxy"
}

unpack() {
	local release=$1 deb

	mkdir "$work/tree" || die "cannot write to $cache"
	# Other files there are the beginnings of other downloads.
	for deb in "${files[@]}"; do
		dpkg-deb -x "$deb" "$work/tree" || die "cannot unpack ${deb##*/}"
		rm -f "$deb"
	done
	rm -rf "$work/tree/usr/share"
	compgen -G "$work/tree/boot/vmlinuz-*" >/dev/null ||
		compgen -G "$work/tree/usr/lib/modules/*/vmlinuz" >/dev/null ||
		die "no kernel image in ${packages[*]:-the packages of $release}"
	chmod 755 "$work/tree"
	rm -rf "${cache:?}/$release"
	mv -T "$work/tree" "$cache/$release" || die "cannot write to $cache"
}

check_tools() {
	local tool

	for tool in apt-get apt-cache apt-config dpkg-deb flock setpriv; do
		command -v "$tool" >/dev/null || die "$tool is missing; give vmtest.sh a kernel file"
	done
}

fetch() {
	local package release packages=() files=()

	check_tools
	write_apt_conf
	if ! search_archive; then
		release=$(newest_cached)
		if [[ $release ]]; then
			note "not found in the archive; using $release, which is here"
			answer "$cache/$release"
		fi
		! grep -q 'No space left' /dev/fd/8 || die "no space left in $cache"
		compgen -G "$work/lists/*Packages*" >/dev/null ||
			die "the archive cannot be reached: $(grep -m 1 '^[EW]:' /dev/fd/8)"
		die "no cloud-$arch kernel matches \"$pattern\" in the archive"
	fi
	release=${package#linux-image-}
	if [[ ! -d $cache/$release ]]; then
		download "$release"
		unpack "$release"
	fi
	remember "$release"
	answer "$cache/$release"
}

# ---- A list -------------------------------------------------------------------------------------

# "RELEASE SUITE" of all that the archive offers; kept for a day.
offered() {
	local index=$cache/.offered where

	if [[ $update || ! -s $index || $(find "$index" -mmin +1440) ]]; then
		open_cache
		check_tools
		write_apt_conf
		for where in small releases; do
			update_lists "$where"
			apt_own apt-cache pkgnames linux-image- | sed -n "s/^linux-image-\([0-9].*-cloud-$arch\)\$/\1/p" |
				while read -r release; do
					apt_own apt-cache madison "linux-image-$release" 2>/dev/null |
						awk -F '|' -v r="$release" 'NR == 1 { split($3, w, " "); print r, w[2] }'
				done
		done | sort -u -k 1,1 >"$work/offered"
		[[ -s $work/offered ]] && mv "$work/offered" "$index"
	fi
	cat "$index" 2>/dev/null
}

list_kernels() {
	local release suite dir
	local -A suites=()

	pattern=default release_re=$(release_regex)
	while read -r release suite; do
		suites[$release]=${suite%/*}
	done < <(offered)
	((${#suites[@]})) || note "the archive cannot be reached; only what is here"
	for dir in "$cache"/*-cloud-"$arch"; do
		[[ ! -d $dir ]] || suites[${dir##*/}]+="${suites[${dir##*/}]:+, }here"
	done
	((${#suites[@]})) || die "no kernel is here either"
	for release in "${!suites[@]}"; do
		printf '%-36s %s\n' "$release" "${suites[$release]}"
	done | sort -V
}

main() {
	local list='' update=''

	arch=amd64
	while [[ ${1-} == -* ]]; do
		case $1 in
		-h | --help) usage; exit 0 ;;
		--update) update=1 ;;
		--list) list=1 ;;
		--arch)
			[[ ${2-} =~ ^(amd64|arm64)$ ]] || die "--arch is amd64 or arm64"
			arch=$2
			shift
			;;
		*) usage >&2; exit 2 ;;
		esac
		shift
	done
	if [[ $list ]]; then
		(($# <= 1)) || { usage >&2; exit 2; }
		cache=${1:-$(default_cache)} || exit 1
		archives=$cache/archives
		list_kernels
		exit 0
	fi
	(($# == 1 || $# == 2)) || { usage >&2; exit 2; }
	pattern=$1
	[[ $pattern =~ ^(default|[0-9][A-Za-z0-9.+~-]*)$ ]] || die "\"$pattern\" is not a kernel release"
	cache=${2:-$(default_cache)} || exit 1
	archives=$cache/archives
	release_re=$(release_regex)

	[[ ! $update && -d $cache/by-pattern/$pattern ]] && answer "$cache/by-pattern/$pattern"
	open_cache
	# Somebody else may have fetched it while we waited for the lock.
	[[ ! $update && -d $cache/by-pattern/$pattern ]] && answer "$cache/by-pattern/$pattern"
	[[ ! $update && $pattern == *-cloud-$arch && -d $cache/$pattern ]] && answer "$cache/$pattern"
	fetch
}

main "$@"
