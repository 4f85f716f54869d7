#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of scripts/coverage.sh, on a program that was built where and how the kernel builds a file.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/lib.sh
source tests/lib.sh
scratch coverage

# Of its 4 lines, 3 run; its condition goes one of two ways.
make_tree() {
	mkdir -p "$dir/tree/net/core" "$dir/sys" || return
	cat >"$dir/tree/net/core/skmsg.c" <<-C
	int main(int argc, char **argv)
	{
		if (argc > 1)
			return argv[1][0];
		return 0;
	}
	C
	(cd "$dir/tree" && gcc --coverage -O0 -o "$dir/program" -c net/core/skmsg.c -o net/core/skmsg.o &&
		gcc --coverage -o "$dir/program" net/core/skmsg.o) || return
	GCOV_PREFIX=$dir/sys "$dir/program" && tar -C "$dir/sys" -cf "$dir/counters.tar" .
}

make_tree || bail_out "no program with counters"

readonly COVERAGE=scripts/coverage.sh
row counted 0 '^net/core/skmsg.c +3 of +4 +75.0 % +1 of +2 +50.0 %$' $COVERAGE "$dir/tree" "$dir/counters.tar"
row total 0 '^all +3 of +4 ' $COVERAGE "$dir/tree" "$dir/counters.tar"
row no-counters-of-others 0 '^net/ipv4/tcp_bpf.c: no counters$' $COVERAGE "$dir/tree" "$dir/counters.tar"
row annotated 0 '' $COVERAGE -o "$dir/annotated" "$dir/tree" "$dir/counters.tar"
row annotated-source 0 '#####: .*return argv' cat "$dir/annotated/skmsg.c.gcov"
row no-arguments 2 'tree and a tar' $COVERAGE
row no-tree 2 'no such directory' $COVERAGE "$dir/none" "$dir/counters.tar"
row no-tar 2 'no such file' $COVERAGE "$dir/tree" "$dir/none"
row not-a-tar 2 'not a tar' $COVERAGE "$dir/tree" "$0"
tar -C "$dir" -cf "$dir/empty.tar" -T /dev/null
row nothing-in-it 2 'counters of none' $COVERAGE "$dir/tree" "$dir/empty.tar"
mv "$dir/tree/net/core/skmsg.gcno" "$dir/gcno"
row another-tree 2 'gcno is missing' $COVERAGE "$dir/tree" "$dir/counters.tar"

finish coverage
