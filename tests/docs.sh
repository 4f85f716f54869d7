#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the documentation shows does what it says: the example of docs/adding-a-test.md is built and
# run, in a copy of the tree; the redirect matrix has all its parts; and links lead somewhere. As root.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/lib.sh
source tests/lib.sh
scratch docs

# The tree with what is built, so that only the example has to be.
build_example() {
	mkdir "$dir/tree" && cp -a --reflink=auto Makefile .clang-format test_progs.c network_helpers.? harness \
		prog_tests progs html vm .output "$dir/tree" || return
	# shellcheck disable=SC2016 # these backquotes are Markdown's
	awk '/^```/ { code = /```c$/; next } code' docs/adding-a-test.md >"$dir/tree/prog_tests/sockmap_example.c"
	make -C "$dir/tree" -s test_progs && clang-format --dry-run -Werror "$dir/tree/prog_tests/sockmap_example.c"
}

run_example() {
	"$dir/tree/test_progs" -t sockmap_example "$@"
}

# docs/redirect-matrix.md has all kernels, hooks and directions, and in each table the kinds of sockets
# that the test has; each word in it is explained.
matrix_is_whole() {
	./test_progs --matrix -l | sed -n 's|^#[0-9]*/[0-9]* *sockmap_redir/||p' >"$dir/cells"
	python3 - "$1" "$dir/cells" <<-'PYTHON' || { echo "make redirect-matrix makes it anew" >&2; return 1; }
	import re, sys
	cells = {l.strip().split("/", 1)[1] for l in open(sys.argv[2])}
	grids = {}
	for cell in cells:
	    grid, pair = cell.split("/")
	    ins, outs = grids.setdefault(grid.replace("-", ", "), (set(), set()))
	    ins.add(pair.split("-")[0]), outs.add(pair.split("-")[1])
	kernels = re.split(r"^## Linux (.*), x86_64$", open(sys.argv[1]).read(), flags=re.M)[1:]
	releases = [".".join(r.split(".")[:2]) for r in kernels[::2]]
	assert releases[:3] == ["5.10", "6.1", "6.12"] and len(releases) >= 4, releases
	for release, text in zip(releases, kernels[1::2]):
	    parts = re.split(r"^### (.*)$", text, flags=re.M)[1:]
	    assert parts[::2] == ["sk_msg, ingress", "sk_msg, egress", "sk_skb, ingress", "sk_skb, egress",
	                          "parser, ingress", "parser, egress"] and set(parts[::2]) == set(grids), parts[::2]
	    words = set()
	    for grid, table in zip(parts[::2], parts[1::2]):
	        rows = [[c.strip() for c in l[1:-1].split("|")] for l in table.split("\n") if l.startswith("|")]
	        ins, outs = grids[grid]
	        assert rows[0][0] == "in \\ out" and set(rows[0][1:]) == outs, (release, grid, rows[0])
	        assert {r[0] for r in rows[2:]} == ins and len(rows) == 2 + len(ins), (release, grid)
	        for row in rows:
	            assert len(row) == 1 + len(outs), (release, grid, row)
	        words |= {word for row in rows[2:] for cell in row[1:] for word in cell.split("/")}
	    known = set(re.findall("`([^`]*)`", text))
	    for word in words:
	        assert word and word != "?", (release, word)
	        assert word.rstrip("!") in known and (word[-1] != "!" or "!" in known), (release, word)
	PYTHON
}

# One table less, one cell less, a word that nobody explains: none of them is whole.
matrix_can_be_broken() {
	local doc=docs/redirect-matrix.md bad

	sed '0,/^### sk_skb, egress/s///' "$doc" >"$dir/bad.1"
	sed '0,/ vsock_seqpacket |$/s/ vsock_seqpacket |$//' "$doc" >"$dir/bad.2"
	sed '0,/| delivered /s//| derlivered /' "$doc" >"$dir/bad.3"
	sed '0,/^| udp6 .*/s///' "$doc" >"$dir/bad.4"
	for bad in "$dir"/bad.?; do
		! cmp -s "$doc" "$bad" || { echo "$bad is not broken"; return 1; }
		! matrix_is_whole "$bad" || { echo "$bad is whole"; return 1; }
	done
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
row matrix 0 '' matrix_is_whole docs/redirect-matrix.md
row matrix-can-fail 0 '' matrix_can_be_broken
row links 0 '' links

finish docs
