#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# decode-stack.sh VMLINUX: copy the standard input, and behind each "function+0x12/0x34" say where
# that is in the source.
set -eu -o pipefail

readonly SYMBOL='[A-Za-z_][A-Za-z0-9_.]*\+0x[0-9a-f]+/0x[0-9a-f]+'

if (($# != 1)) || [[ ! -r $1 ]]; then
	echo "usage: ${0##*/} VMLINUX <LOG" >&2
	exit 2
fi
vmlinux=$1
text=$(cat)

# "NAME START END" of every function of these names; its end is the next symbol, as the kernel
# reckons. Static functions of one name are told apart by that.
functions() {
	awk 'NR == FNR { wanted[$1]; next }
		$1 != address { for (name in found) print name, address, $1; delete found; address = $1 }
		$3 in wanted { found[$3] }' \
		<(grep -oE "$SYMBOL" <<<"$text" | sed 's/+.*//' | sort -u) <(nm -n "$vmlinux")
}

declare -A where=()
while read -r name start end; do
	printf -v size '0x%x' $((16#$end - 16#$start))
	while IFS= read -r symbol; do
		[[ $symbol == "$name+"*"/$size" ]] || continue
		offset=${symbol#*+}
		printf -v address '%x' $((16#$start + ${offset%/*}))
		where[$symbol]=$(addr2line -s -e "$vmlinux" "$address")
	done < <(grep -oE "$SYMBOL" <<<"$text" | sort -u)
done < <(functions)

while IFS= read -r line; do
	[[ ! $line =~ $SYMBOL ]] || line+="  ${where[${BASH_REMATCH[0]}]-}"
	printf '%s\n' "$line"
done <<<"$text"
