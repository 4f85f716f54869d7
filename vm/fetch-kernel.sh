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
readonly PACKAGE=linux-image-cloud-amd64
readonly NEIGHBOURS=(bullseye bookworm trixie)
readonly KEYRINGS="/usr/share/keyrings/debian-archive-keyring"

usage() {
	cat <<-USAGE
	Usage: vm/$PROG [--update] PATTERN [CACHE]

	PATTERN is the beginning of a kernel release, in whole components ("6.1", "6.12", "5.10",
	"6.1.0-56-cloud-amd64"), or "default": the kernel that $PACKAGE depends on.
	CACHE defaults to \$XDG_CACHE_HOME/sockmap-tests/kernels. A pattern that was fetched before is
	answered from it without any network; --update looks for a newer kernel.
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
	printf '%s\n' "$base/sockmap-tests/kernels"
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
	flock 9
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
	default) echo '-cloud-amd64$' ;;
	*-cloud-amd64) printf '^%s$\n' "$literal" ;;
	*) printf '^%s([.+-].*)?-cloud-amd64$\n' "$literal" ;;
	esac
}

newest_cached() {
	local dir

	for dir in "$cache"/*/; do
		dir=${dir%/}
		[[ ${dir##*/} =~ $release_re ]] && printf '%s\n' "${dir##*/}"
	done | sort -V | tail -n 1
}

# ---- An apt of our own --------------------------------------------------------------------------

# The machine's settings (proxies, certificates), without its hooks and without indexes other than
# those of packages.
write_apt_conf() {
	mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/sources.list.d" ||
		die "cannot write to $cache"
	{
		apt-config dump |
			grep -vE '^(Dir|Dir::(State|Cache|Etc)(::.*)?|APT::(Update|Architectures?)(::.*)?|DPkg::.*|Acquire::(Languages|IndexTargets::deb::[^P].*)(::)?) "'
		cat <<-CONF
		Dir "/";
		Dir::State "$work";
		Dir::State::lists "$work/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$work";
		Dir::Cache::archives "$work/archives";
		Dir::Etc "/etc/apt";
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "$work/sources.list.d";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "2";
		CONF
	} >"$work/apt.conf"
}

# "URI suite" of every package index that the machine itself uses.
machine_suites() {
	# shellcheck disable=SC2016 # the $(...) are apt's
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
		sort -u
}

codename() {
	sed -n 's/^VERSION_CODENAME="\{0,1\}\([a-z]*\).*/\1/p' /etc/os-release
}

# The machine's two archives: the one with the releases, and the one with their security updates.
# Another machine's suites are in the same places.
write_sources() {
	local where=$1 own main security suite option='' key

	own=$(codename)
	main=$(machine_suites | awk -v s="$own" '$2 == s { print $1; exit }')
	security=$(machine_suites | awk -v s="$own-security" '$2 == s { print $1; exit }')
	[[ $main ]] || die "apt's configuration names no Debian archive; give vmtest.sh a kernel file"
	for key in "$KEYRINGS".gpg "$KEYRINGS".pgp; do
		[[ -r $key ]] && option="[signed-by=$key]"
	done
	: >"$work/sources.list"
	for suite in $(printf '%s\n' "$own" "${NEIGHBOURS[@]}" | sort -u); do
		case $where in
		small)
			[[ $security ]] && echo "deb $option $security $suite-security main"
			echo "deb $option $main $suite-backports main"
			;;
		own)
			[[ $suite == "$own" ]] || continue
			[[ $security ]] && echo "deb $option $security $suite-security main"
			echo "deb $option $main $suite main"
			;;
		releases)
			echo "deb $option $main $suite main"
			;;
		esac
	done >>"$work/sources.list"
}

# A suite that has gone or has expired is an error to apt and no loss to us: the others are there.
update_lists() {
	write_sources "$1"
	apt_own apt-get -q update >"$work/update.log" 2>&1
	return 0
}

apt_own() {
	APT_CONFIG=$work/apt.conf "$@" 9>&-
}

find_package() {
	if [[ $pattern == default ]]; then
		apt_own apt-cache depends --important "$PACKAGE" 2>/dev/null |
			sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
		return
	fi
	apt_own apt-cache pkgnames linux-image- |
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

download() {
	local release=$1 packages

	mapfile -t packages < <(package_closure "$release")
	note "downloading ${packages[*]}"
	(cd "$work/archives" && apt_own apt-get -q download "${packages[@]}") >"$work/download.log" 2>&1 ||
		die "download failed: $(grep -m 1 '^E:' "$work/download.log" || echo "see apt-get download ${packages[0]}")"
}

unpack() {
	local release=$1 deb

	mkdir "$work/tree" || die "cannot write to $cache"
	for deb in "$work/archives"/*.deb; do
		dpkg-deb -x "$deb" "$work/tree" || die "cannot unpack ${deb##*/}"
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

	for tool in apt-get apt-cache apt-config dpkg-deb flock; do
		command -v "$tool" >/dev/null || die "$tool is missing; give vmtest.sh a kernel file"
	done
}

fetch() {
	local package release

	check_tools
	write_apt_conf
	if ! search_archive; then
		release=$(newest_cached)
		if [[ $release ]]; then
			note "not found in the archive; using $release, which is here"
			answer "$cache/$release"
		fi
		compgen -G "$work/lists/*Packages*" >/dev/null ||
			die "the archive cannot be reached: $(grep -m 1 '^[EW]:' "$work/update.log")"
		die "no cloud-amd64 kernel matches \"$pattern\" in the archive"
	fi
	release=${package#linux-image-}
	if [[ ! -d $cache/$release ]]; then
		download "$release"
		unpack "$release"
	fi
	remember "$release"
	answer "$cache/$release"
}

main() {
	local update=

	case ${1-} in
	-h | --help) usage; exit 0 ;;
	--update) update=1; shift ;;
	esac
	(($# == 1 || $# == 2)) || { usage >&2; exit 2; }
	pattern=$1
	[[ $pattern =~ ^(default|[0-9][A-Za-z0-9.+~-]*)$ ]] || die "\"$pattern\" is not a kernel release"
	cache=${2:-$(default_cache)} || exit 1
	release_re=$(release_regex)

	[[ ! $update && -d $cache/by-pattern/$pattern ]] && answer "$cache/by-pattern/$pattern"
	open_cache
	# Somebody else may have fetched it while we waited for the lock.
	[[ ! $update && -d $cache/by-pattern/$pattern ]] && answer "$cache/by-pattern/$pattern"
	[[ ! $update && $pattern == *-cloud-amd64 && -d $cache/$pattern ]] && answer "$cache/$pattern"
	fetch
}

main "$@"
