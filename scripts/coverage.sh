#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# How much of the kernel's sockmap code the tests have run.
#
#   scripts/coverage.sh [-o DIR] TREE COUNTERS.tar
#
# TREE is where a kernel was built with CONFIG_GCOV_KERNEL, and GCOV_PROFILE for the files below in
# their Makefiles. COUNTERS.tar is what its run left behind:
#
#   ./vmtest.sh -k TREE/arch/x86/boot/bzImage --collect /sys/kernel/debug/gcov:COUNTERS.tar
#
# Prints a row a file: lines, and branches taken at least once. -o keeps gcov's annotated sources.
# Exit: 0; 2 for what cannot be read.
set -u -o pipefail

readonly FILES=(net/core/sock_map net/core/skmsg net/ipv4/tcp_bpf net/ipv4/udp_bpf net/unix/unix_bpf
	net/vmw_vsock/vsock_bpf net/strparser/strparser)

die() {
	echo "coverage.sh: $*" >&2
	exit 2
}

tmp=$(mktemp -d) || die "no scratch directory"
trap 'rm -rf "$tmp"' EXIT
out=$tmp/annotated

while getopts o: option; do
	case $option in
	o) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
(($# == 2)) || die "a kernel tree and a tar of counters are needed"
tree=$(cd "$1" 2>/dev/null && pwd) || die "$1: no such directory"
[[ -r $2 ]] || die "$2: no such file"
command -v gcov >/dev/null || die "gcov is missing; it comes with gcc"
mkdir -p "$tmp/counters" "$tmp/work" "$out" || die "cannot write to $out"
ln -s "$tree"/*/ "$tmp/work" || die "$tree is no kernel tree"
tar -C "$tmp/counters" -xf "$2" || die "$2 is not a tar"

# The counters next to the notes that the compiler made, which are of no use without each other; and
# the tree's folders below the working directory, since the notes name sources relative to the tree.
annotate() {
	local counters

	counters=$(find "$tmp/counters" -path "*/$1.gcda" | head -n 1)
	[[ $counters ]] || return 0
	[[ -e $tree/$1.gcno ]] || die "$tree/$1.gcno is missing: was it built there, with coverage?"
	cp "$counters" "$tree/$1.gcno" "$tmp/work" || die "cannot write to $tmp"
	(cd "$tmp/work" && gcov -b "${1##*/}.gcda") 2>"$tmp/stderr" || die "$(<"$tmp/stderr")"
	mv "$tmp/work"/*.gcov "$out"
}

# "lines-run lines branches-taken branches" of the file, out of gcov's summaries of all it includes.
summary() {
	awk -v "source=$1.c'" '
	/^File / { wanted = substr($0, length($0) - length(source) + 1) == source }
	wanted && /^Lines executed:/ { split($0, l, /[:% ]+/); lines = $NF; run = int(l[3] * lines / 100 + 0.5) }
	wanted && /^Taken at least once:/ { split($0, b, /[:% ]+/); branches = $NF; taken = int(b[5] * branches / 100 + 0.5) }
	END { print run + 0, lines + 0, taken + 0, branches + 0 }'
}

row() {
	awk -v name="$1" -v r="$2" -v l="$3" -v t="$4" -v b="$5" 'BEGIN {
		printf "%-26s %5d of %5d %5.1f %%   %5d of %5d %5.1f %%\n", name, r, l, l ? 100 * r / l : 0,
			t, b, b ? 100 * t / b : 0 }'
}

total=(0 0 0 0)
printf '%-26s %22s   %22s\n' '' lines branches
for file in "${FILES[@]}"; do
	numbers=$(annotate "$file" | summary "$file") || exit
	read -ra numbers <<<"$numbers"
	if ((numbers[1] == 0)); then
		echo "$file.c: no counters"
		continue
	fi
	row "$file.c" "${numbers[@]}"
	for i in 0 1 2 3; do
		total[i]=$((total[i] + numbers[i]))
	done
done
((total[1])) || die "$2 has counters of none of these files"
row all "${total[@]}"
