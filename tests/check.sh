#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# All tests of the project, and the project's own main job natively and in QEMU. Ends with the line
# "N passed, N failed, N skipped".
#
#   tests/check.sh           what fits in a few minutes
#   tests/check.sh guests    the part of it that runs beside the rest, in guests
#   tests/check.sh vm        all of vmtest.sh: the stock kernels, git bisect, arm64
set -u -o pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1

# What the project began with: redirected data and its wake-ups. Time allows no more in a guest; all of
# the suites on all kernels are for `make check-vm`. sockmap_redir alone has a thousand subtests.
readonly MAIN_JOB=sockmap_listen,sockmap_delivery,sockmap_wakeup

passed=0 failed=0 skipped=0

scratch=$(mktemp -d) || exit 1
log=$scratch/log guests=''
trap 'exit 130' INT TERM
trap clean_up EXIT

# shellcheck disable=SC2317 # called by the trap
clean_up() {
	[[ ! $guests ]] || kill -TERM -- -"$guests" 2>/dev/null
	rm -rf "$scratch"
}

count() {
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
}

# One check, that its command's exit status answers.
check() {
	local name=$1

	shift
	if "$@" >"$log" 2>&1; then
		echo "ok - $name"
		count 1 0 0
	else
		echo "not ok - $name"
		sed 's/^/#   /' "$log"
		count 0 1 0
	fi
}

# Checks that count themselves, and say so in their last line. No such line is a failure, and so is
# an exit status that does not go with it.
suite() {
	local name=$1 began=$SECONDS status failures

	shift
	echo "# $name"
	"$@" 2>&1 | tee "$log"
	status=$?
	echo "# $((SECONDS - began)) s"
	if [[ ! $(tail -n 1 "$log") =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
		echo "not ok - $name: it did not say what it found (exit status $status)"
		count 0 1 0
		return
	fi
	failures=${BASH_REMATCH[2]}
	count "${BASH_REMATCH[@]:1:3}"
	if ((status && !failures)); then
		echo "not ok - $name: exit status $status"
		count 0 1 0
	fi
}

# test_progs counts in its own way: tests, and of subtests those that passed.
natively() {
	local results status

	results=$(mktemp) || return 1
	./test_progs -j -J "$results"
	status=$?
	python3 - "$results" <<-'PYTHON'
	import json, sys
	r = json.load(open(sys.argv[1]))
	print("%d passed, %d failed, %d skipped" % (r["success_subtest"], r["failed_subtest"], r["skipped"]))
	PYTHON
	rm -f "$results"
	return $status
}

scripts() {
	find . -name .output -prune -o \( -name '*.sh' -o -path ./.ci/run \) -print
}

check_scripts() {
	local files

	mapfile -t files < <(scripts)
	shellcheck -x "${files[@]}"
}

check_format() {
	find . -name .output -prune -o -name '*.[ch]' -exec clang-format --dry-run --Werror {} +
}

# The one way to see that it builds without warnings with both compilers.
check_clang() {
	make -s OUT=.output/clang CC=clang .output/clang/{test_progs,init,mkinitramfs,vmwatch}
}

check_guests() {
	suite "vmtest.sh" env QUICK=1 tests/vmtest.sh
	suite "git bisect run" tests/bisect.sh
	suite "jobs for CI" tests/ci.sh
}

# Beside what comes now: a guest has one processor, and machines have more. In a session of its own, so
# that it can be ended with all that it has started.
start_guests() {
	setsid tests/check.sh guests >"$scratch/guests" 2>&1 </dev/null &
	guests=$!
}

join_guests() {
	tail -n +1 -f --pid="$guests" "$scratch/guests"
}

check_all() {
	check "shellcheck" check_scripts
	check "clang-format" check_format
	check "builds with clang" check_clang
	suite "unit tests" .output/unit
	# It builds, where the guests take their programs from.
	suite "installation" tests/install.sh
	start_guests
	suite "the harness" tests/harness.sh
	suite "timelines" tests/trace.sh
	suite "reports" tests/report.sh
	suite "the page for a browser" tests/html.sh
	suite "sockmap tests on this kernel" natively
	suite "documentation" tests/docs.sh
	suite "coverage" tests/coverage.sh
	suite "fetching kernels" tests/fetch.sh
	suite "building kernels" tests/build.sh
	suite "sockmap tests on a Debian kernel in QEMU" ./vmtest.sh -o .output/vm/check -- -t "$MAIN_JOB"
	check "the oldest and a new kernel" stock_kernels 5.10 6.18 -- -t sockmap_listen,sockmap_map
	suite "in guests, meanwhile" join_guests
}

# RELEASE... [-- ARGUMENTS of test_progs]: clean, that is, but for what vm/expect has.
stock_kernels() {
	local kernels=()

	while (($# > 0)) && [[ $1 != -- ]]; do
		kernels+=(-k "debian:$1")
		shift
	done
	./vmtest.sh "${kernels[@]}" -o .output/vm/stock "$@"
}

check_vm() {
	suite "vmtest.sh" tests/vmtest.sh
	suite "git bisect run" tests/bisect.sh
	check "stock kernels, with their known failures" stock_kernels 5.10 6.1 6.12 6.16 6.18 7.0 7.3
	check "arm64" ./vmtest.sh --arch arm64 -k debian:6.12 -o .output/vm/arm64
}

"check_${1:-all}"
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
