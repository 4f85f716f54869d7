#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the documentation shows does what it says: the example of docs/adding-a-test.md is built and
# run, in a copy of the tree; and links lead somewhere. As root.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/lib.sh
source tests/lib.sh
scratch docs

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

row example-builds 0 '' build_example
row example-passes 0 'Summary: 1/[1-9][0-9]* PASSED, 0 SKIPPED, 0 FAILED' run_example
row example-named 0 'sockmap_example/sk_skb-ingress/tcp6-unix_stream/two-reads' run_example -l
sed -i 's/bytes + 50, 50/bytes + 51, 49/' "$dir/tree/prog_tests/sockmap_example.c"
row example-rebuilds 0 '' make -C "$dir/tree" -s test_progs
row example-can-fail 0 'second half' bash -c '"$@"; (($? == 1))' - "$dir/tree/test_progs" -t sockmap_example
row links 0 '' links

finish docs
