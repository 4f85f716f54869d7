#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Write docs/redirect-matrix.md: what each of Debian's kernels was seen to redirect to what, in QEMU.
#
#   scripts/redirect-matrix.sh RELEASE...     such as 5.10 6.12
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly DOC=docs/redirect-matrix.md

(($#)) || { echo "usage: $0 RELEASE..." >&2; exit 2; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/redirect-matrix.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

intro() {
	cat <<-'EOF'
	# What can be redirected to what

	As observed: each cell is what `./test_progs --matrix` saw on that kernel, with a SOCKMAP and with a
	SOCKHASH; where these differ, it has both. `./test_progs --matrix` shows it for the kernel that runs,
	`./vmtest.sh -k KERNEL -- --matrix` for any other. `make redirect-matrix` makes this page anew.

	    in.peer <------> in.mapped ==[ verdict ]==> out.mapped <------> out.peer

	    hook                     send on      to ingress: read on    to egress: read on
	    sk_msg                   in.mapped    out.mapped             out.peer
	    sk_skb, parser+verdict   in.peer      out.mapped             out.peer

	Rows are kinds of `in`, columns are kinds of `out`. `unix_stream_oob` is a unix_stream socket that
	sends its last byte with `MSG_OOB`. In so many cells data is delivered, and nothing is amiss:

	EOF
}

# count_pairs FILE: the cells of each table in it that say that data is delivered, and nothing else.
count_pairs() {
	awk -F '|' '
		/^### / { name[++n] = substr($0, 5) }
		/^\| / { for (i = 3; i < NF; i++) count[n] += $i ~ /^ delivered *$/ }
		END { for (i = 1; i <= n; i++) printf "%s\t%d\n", name[i], count[i] }' "$1"
}

# The counts of all kernels, side by side.
overview() {
	local release

	printf '|     |'
	printf ' %s |' "$@"
	printf '\n| --- |'
	printf ' ---: |%.0s' "$@"
	echo
	cut -f 1 "$dir/count.$1" | sed 's/^/| /; s/$/ /' >"$dir/table"
	for release; do
		cut -f 2 "$dir/count.$release" | paste -d '|' "$dir/table" - | sed 's/|\([0-9]*\)$/| \1 /' >"$dir/next"
		mv "$dir/next" "$dir/table"
	done
	sed 's/$/|/' "$dir/table"
}

for release; do
	./vmtest.sh -q -k "debian:$release" -o "$dir/out" -- --matrix -o "matrix-md:$dir/part" >"$dir/log" 2>&1
	status=$?
	# Tests may fail, and the cells say so. A kernel that ends before the tables do has none.
	if ((status != 0 && status != 1 && status != 5)) || [[ ! -s $dir/part ]]; then
		tail -n 20 "$dir/log" >&2
		echo "$release: no matrix" >&2
		exit 1
	fi
	{ echo && cat "$dir/part"; } >>"$dir/parts"
	count_pairs "$dir/part" >"$dir/count.$release"
	tail -n 1 "$dir/log"
	rm "$dir/part"
done
{ intro && overview "$@" && cat "$dir/parts"; } >"$dir/doc"
mv "$dir/doc" "$DOC"
