# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# What all parts of vmtest.sh share: verdict classes, messages, the cache.

# Where modinfo is, for users whose path has no room for it.
PATH=$PATH:/usr/sbin:/sbin

# As -k and --arch have it, whatever uname(1) says.
case $HOSTTYPE in
aarch64) readonly HOST_ARCH=arm64 ;;
*) readonly HOST_ARCH=$HOSTTYPE ;;
esac

cache_home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
readonly CACHE=${cache_home:-${TMPDIR:-/tmp}/cache-$UID}/sockmap-tests

# Verdict classes, which are the exit codes; vm/watch.c has the same.
readonly PASS=0 FAIL=1 USAGE=2 CRASH=3 HANG=4 SPLAT=5 BOOTFAIL=6 INFRA=7 UNTESTABLE=8
readonly SKIP=77 TIMEOUT=124 INTERRUPTED=130
# From bad to good: a matrix ends with the first of these that one of its kernels got.
readonly CLASSES=(INTERRUPTED INFRA USAGE CRASH HANG FAIL TIMEOUT BOOTFAIL SPLAT UNTESTABLE SKIP PASS)

verdict_name() {
	local class

	for class in "${CLASSES[@]}"; do
		[[ $1 != "${!class}" ]] || { echo "$class"; return; }
	done
	echo INFRA
}

say() {
	printf 'vmtest: %s\n' "$*" >&2
}

# Set while git listens to our exit status.
bisecting=''

# die CLASS WHY... To git, the codes below 125 are all "bad": it is told to stop.
die() {
	say "$1: ${*:2}"
	[[ ! $bisecting || $BASHPID != "$$" ]] || exit 128
	exit "${!1}"
}

# need TOOL PACKAGE...: it is there, or this side cannot do what is asked.
need() {
	command -v "$1" >/dev/null || die INFRA "$1 is missing: apt-get install ${*:2}"
}

# Milliseconds, to be stored in the variable named by $1.
now_ms() {
	local usec=${EPOCHREALTIME/[^0-9]/}

	printf -v "$1" '%d' "${usec%???}"
}

# A name for contents: of the standard input.
digest() {
	local sum

	sum=$(sha256sum) && printf '%s\n' "${sum:0:32}"
}
