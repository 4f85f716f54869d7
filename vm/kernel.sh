# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# What -k names: find_kernel KERNEL sets
#
#   image        the file that QEMU boots
#   release      as far as the image tells, or ""
#   name         for people, and for the output directory
#   modules_dir  holds kernel/ with the modules, or is a tree; or ""
#   config_file  its configuration, or ""
#   vmlinux      with symbols, or ""
#   tree         the kernel tree, if it is one; or ""
#   debug_kernel not empty if it is slow and needs more memory, as with vm/debug.config

find_kernel() {
	local arg=$1

	image='' release='' name='' modules_dir='' config_file='' vmlinux='' tree=''
	case $arg in
	'') fetch_kernel default ;;
	debian:*) fetch_kernel "${arg#debian:}" ;;
	*.deb) use_packages "$arg" ;;
	*)
		if [[ -d $arg ]]; then
			use_directory "$(realpath -- "$arg")"
		elif [[ -f $arg ]]; then
			[[ -r $arg ]] || die USAGE "$arg is not readable"
			use_image "$(realpath -- "$arg")"
		elif [[ -e /boot/vmlinuz-$arg ]]; then
			use_installed "$arg"
		elif [[ $arg =~ ^[0-9]+\.[0-9][A-Za-z0-9.+~-]*$ ]]; then
			fetch_kernel "$arg"
		else
			die USAGE "$arg: no such file, and not a kernel release"
		fi
		;;
	esac
}

use_installed() {
	[[ -r /boot/vmlinuz-$1 ]] ||
		die USAGE "/boot/vmlinuz-$1 is not readable; copy it, or chmod it as root"
	use_image "/boot/vmlinuz-$1"
}

# What was fetched before is in the cache, and needs no script to find it.
fetch_kernel() {
	local dir=$CACHE/kernels$kernels_dir/by-pattern/$1

	if [[ $1 && -d $dir ]]; then
		dir=$(cd -P "$dir" && pwd)
	else
		wait_for dir "$HERE/vm/fetch-kernel.sh" --arch "$deb_arch" "$1" "$CACHE/kernels$kernels_dir" ||
			die INFRA "no kernel for \"$1\"; name a file with -k"
	fi
	use_directory "$dir"
}

# Packages are unpacked once; the cache knows them by their contents.
use_packages() {
	local -a debs
	local deb dir

	IFS=, read -r -a debs <<<"$1"
	for deb in "${debs[@]}"; do
		[[ -f $deb && -r $deb ]] || die USAGE "$deb: no such file"
		[[ $(head -c 7 -- "$deb" | tr -d '\0') == '!<arch>' ]] || die USAGE "$deb is not a Debian package"
	done
	dir=$CACHE/debs/$(cat -- "${debs[@]}" | digest)
	if [[ ! -d $dir ]]; then
		mkdir -p "${dir%/*}" || die INFRA "cannot write to ${dir%/*}"
		scratch_dir=$(mktemp -d "$dir.XXXXXX") || die INFRA "cannot write to ${dir%/*}"
		for deb in "${debs[@]}"; do
			unpack_package "$deb" "$scratch_dir" || die INFRA "cannot unpack $deb"
		done
		chmod 755 "$scratch_dir"
		mv -T "$scratch_dir" "$dir" 2>/dev/null || rm -rf "$scratch_dir"
	fi
	use_directory "$dir"
}

# Other distributions have no dpkg, but ar and tar.
unpack_package() {
	local data

	if command -v dpkg-deb >/dev/null; then
		dpkg-deb -x "$1" "$2"
		return
	fi
	need ar "binutils, or dpkg"
	data=$(ar t "$1" 2>/dev/null | grep '^data\.tar') || return
	# GNU tar knows by itself how a file is packed, but not what comes through a pipe.
	ar p "$1" "$data" >"$2/.$data" && tar -C "$2" -xf "$2/.$data" && rm "$2/.$data"
}

# A kernel tree (or its O= directory), an unpacked package, or a root directory.
use_directory() {
	local dir=${1%/} found

	if [[ -f $dir/$tree_image ]]; then
		use_image "$dir/$tree_image"
		return
	fi
	found=$(compgen -G "$dir/boot/vmlinuz-*" || compgen -G "$dir/usr/lib/modules/*/vmlinuz" ||
		compgen -G "$dir/lib/modules/*/vmlinuz") ||
		die USAGE "$dir holds neither boot/vmlinuz-* nor $tree_image$(hint_at_build "$dir")"
	[[ $found != *$'\n'* ]] || found=$(sort -V <<<"$found" | tail -n 1)
	use_image "$found"
}

hint_at_build() {
	[[ ! -f $1/Kconfig ]] || echo "; --build builds it"
}

use_image() {
	image=$1
	[[ $image != */"$tree_image" ]] || tree=${image%/"$tree_image"}
	release=$(image_release "$image") || die USAGE "$image is not a kernel image for $arch"
	name=${image##*/}
	case $name in
	bzImage | Image | Image.gz | vmlinuz | vmlinux) name=${release:-$name} ;;
	vmlinuz-*) name=${name#vmlinuz-} ;;
	esac
	find_companions
}

# What lies where packages, installations and trees have it, relative to the image.
find_companions() {
	local root=${image%/boot/*} file

	for file in "$root"{,/usr}/lib/modules/"$release" "${image%/vmlinuz}"; do
		[[ ! $release || ! -d $file/kernel ]] || modules_dir=$file
	done
	[[ ! $tree || ! -f $tree/modules.order ]] || modules_dir=$tree
	# A tree's .config may have changed since, or be another's than the image's.
	for file in "${tree:-/nonexistent}"/{include/config/auto.conf,.config} "${image%/*}/config-$release" "$modules_dir/config" \
		"$root/boot/config-$release"; do
		[[ -r $file ]] && config_file=$file && break
	done
	for file in "${tree:-/nonexistent}/vmlinux" "${image%/*}/vmlinux" "$image" \
		"$root/usr/lib/debug/boot/vmlinux-$release"; do
		[[ -r $file ]] && is_elf "$file" && vmlinux=$file && break
	done
	debug_kernel=''
	[[ ! $config_file ]] ||
		debug_kernel=$(grep -E '^CONFIG_(KASAN|DEBUG_KMEMLEAK|PROVE_LOCKING)=y' "$config_file")
	return 0
}

is_elf() {
	local magic

	LC_ALL=C IFS='' read -r -d '' -N 4 magic <"$1"
	[[ $magic == $'\x7fELF' ]]
}

# The release that an image names; nothing if it keeps that to itself; fails if it is no kernel.
image_release() {
	local text

	if is_elf "$1"; then
		text=$(grep -a -o -m 1 'Linux version [^ ]*' "$1" | head -n 1)
		printf '%s\n' "${text#Linux version }"
	elif [[ $arch == x86_64 ]]; then
		bzimage_release "$1"
	else
		is_arm64_image "$1" && grep -a -o -m 1 'Linux version [^ ]*' "$1" | sed -n '1s/.* //p'
	fi
}

bzimage_release() {
	local -a w
	local text

	read -r -a w < <(od -An -v -tu2 -w16 -j 512 -N 16 "$1" 2>/dev/null)
	((${#w[@]} == 8 && w[1] == 0x6448 && w[2] == 0x5372)) || return 1
	IFS='' read -r -d '' -n 256 text < <(tail -c +$((w[7] + 0x200 + 1)) "$1" 2>/dev/null)
	printf '%s\n' "${text%% *}"
}

# An Image has "ARM\x64" at 56; one that is compressed is known to QEMU by its own magic.
is_arm64_image() {
	[[ $(od -An -v -tx1 -j 56 -N 4 "$1" 2>/dev/null) == " 41 52 4d 64" ||
		$(od -An -v -tx1 -N 2 "$1" 2>/dev/null) == " 1f 8b" ]]
}
