#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the documentation shows does what it says: the example of docs/adding-a-test.md is built and
# run, in a copy of the tree; and links lead somewhere. As root.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
count=0 failed=0

dir=$(mktemp -d "${TMPDIR:-/tmp}/docs-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

row() {
	local name=$1 pattern=$2 why=''

	shift 2
	"$@" >"$dir/output" 2>&1 </dev/null || why="exit status $?: $*"
	[[ ! $pattern ]] || grep -qE -- "$pattern" "$dir/output" || why+="${why:+; }no \"$pattern\" in the output"
	count=$((count + 1))
	if [[ ! $why ]]; then
		echo "ok $count $name"
		return
	fi
	echo "not ok $count $name"
	echo "# $why"
	sed 's/^/#   /' "$dir/output" | tail -n 25
	failed=$((failed + 1))
}

# The tree with what is built, so that only the example has to be.
build_example() {
	mkdir "$dir/tree" && cp -a --reflink=auto Makefile .clang-format test_progs.c network_helpers.? harness \
		prog_tests progs vm .output "$dir/tree" || return
	# shellcheck disable=SC2016 # these backquotes are Markdown's
	awk '/^```/ { code = /```c$/; next } code' docs/adding-a-test.md >"$dir/tree/prog_tests/sockmap_example.c"
	make -C "$dir/tree" -s test_progs && clang-format --dry-run -Werror "$dir/tree/prog_tests/sockmap_example.c"
}

run_example() {
	"$dir/tree/test_progs" -t sockmap_example "$@"
}

# Links to files, of each document, from where it is.
links() {
	local document link broken=0

	for document in README.md docs/*.md; do
		while read -r link; do
			[[ $link == *://* || -e $(dirname "$document")/${link%%#*} ]] && continue
			echo "$document: $link leads nowhere"
			broken=1
		done < <(grep -oE '\]\([^)#]+[^)]*\)' "$document" | sed 's/^](//; s/)$//')
	done
	return $broken
}

row example-builds '' build_example
row example-passes 'Summary: 1/[1-9][0-9]* PASSED, 0 SKIPPED, 0 FAILED' run_example
row example-named 'sockmap_example/sk_skb-ingress/tcp6-unix_stream/two-reads' run_example -l
sed -i 's/bytes + 50, 50/bytes + 51, 49/' "$dir/tree/prog_tests/sockmap_example.c"
row example-rebuilds '' make -C "$dir/tree" -s test_progs
row example-can-fail 'second half' bash -c '"$@"; (($? == 1))' - "$dir/tree/test_progs" -t sockmap_example
row links '' links

echo "docs: $((count - failed)) passed, $failed failed, 0 skipped"
((failed == 0))
