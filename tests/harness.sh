#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of the harness: .output/selftest_progs, whose tests misbehave, and ./test_progs itself.
#
#   tests/harness.sh [FILTER...]    all, or those whose names contain one of the words
#
# As root all of them run; what needs root and BPF is skipped for others.
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
cd "$HERE" || exit 1
readonly HERE SELF=.output/selftest_progs
# shellcheck source=tests/lib.sh
source "$HERE/tests/lib.sh"
filter=("$@")
runner=''

for program in "$SELF" ./test_progs; do
	[[ -x $program ]] || bail_out "$program is missing: make all selftests"
done
scratch harness
# Programs that other users are to run: the tree may be closed to them.
chmod 755 "$dir"
cp "$SELF" ./test_progs "$dir/"

# shellcheck disable=SC2317 # called by the trap
clean_up() {
	local pid

	for pid in $(jobs -p); do
		kill "$pid" 2>/dev/null
	done
	wait
	kill_left
}

# ---- Looking -------------------------------------------------------------------------------------

# As t, for what loads BPF objects.
root_t() {
	if ((can_run)); then
		t "$@"
	else
		t "$1" skip_case "needs root and sockmap"
	fi
}

want_not_in() {
	local line

	line=$(grep -Em1 -e "$2" "$1") && problem "want no /$2/, got: $line"
}

# The report on one subtest: its line, and what is indented below it.
report_of() {
	awk -v name=" $2:" '
		/^[^ ]/ { if (found) exit; found = index($0, name) }
		found' "$1"
}

# The numbers that -l lists.
listed() {
	awk '$1 ~ /\// { sub("#", "", $1); print $1 }' "$dir/out" | paste -sd' '
}

# Processes of this script's program (the long run has its own copy), without dead ones that nobody
# has waited for yet.
left_processes() {
	local exe

	for exe in /proc/[0-9]*/exe; do
		[[ $(readlink "$exe" 2>/dev/null) == "$dir/selftest_progs" ]] || continue
		exe=${exe%/exe}
		echo "${exe##*/}"
	done
}

kill_left() {
	local pid

	for pid in $(left_processes); do
		kill -KILL "$pid" 2>/dev/null
	done
}

want_none_left() {
	local left i

	for ((i = 0; i < 20; i++)); do
		left=$(left_processes)
		[[ $left ]] || return
		sleep 0.1
	done
	problem "processes left: $(tr '\n' ' ' <<<"$left")"
	kill_left
}

# netns_list PID...: the namespaces that they are in.
netns_list() {
	readlink "${@/%//ns/net}" 2>/dev/null | sort -u
}

valid_json() {
	if ! python3 -c '' 2>/dev/null; then
		why_skip='needs python3'
		return 1
	fi
	python3 -m json.tool "$1" >/dev/null 2>"$dir/json_err" ||
		problem "want valid JSON: $(cat "$dir/json_err")"
}

# json_get FILE EXPRESSION: of the results r, or of the verdicts v by subtest.
json_get() {
	python3 - "$1" "$2" <<-'PYTHON' 2>&1
	import json, sys
	r = json.load(open(sys.argv[1]))
	v = {s["name"]: s["verdict"] for t in r["results"] for s in t["subtests"]}
	m = {s["name"]: s for t in r["results"] for s in t["subtests"]}
	print(eval(sys.argv[2]))
	PYTHON
}

# ---- Runs that several cases look at -------------------------------------------------------------

# Those that take long, beside all others; a map that stays needs a bpffs that goes away by itself.
start_long_run() {
	mkdir "$dir/bpf"
	cp "$SELF" "$dir/slow_progs"
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m bash -c 'mount -t bpf bpf "$1/bpf" && export MISBEHAVE_BPFFS=$1/bpf
		slow=misbehave/is_slow,misbehave/leaves_map,misbehave/keeps_netns
		exec "$1/slow_progs" -j2 -v -a "$slow"' - "$dir" \
		>"$dir/long" 2>&1 </dev/null &
	long_pid=$!
}

main_run() {
	[[ -e $dir/main ]] && return
	run "$dir/selftest_progs" -w 2 -d misbehave/is_slow,misbehave/leaves_map,misbehave/keeps_netns -J "$dir/main.json"
	cp "$dir/out" "$dir/main"
	main_status=$status
}

long_run() {
	wait "$long_pid"
}

# verdict SUBTEST VERDICT PATTERN...: in the report on the main run.
verdict() {
	local name=$1 word=$2 pattern

	main_run
	report_of "$dir/main" "misbehave/$name" >"$dir/report"
	want_in "$dir/report" "misbehave/$name:$word"
	shift 2
	for pattern in "$@"; do
		want_in "$dir/report" "$pattern"
	done
}

# After what crashed, hung or left something behind, the next one is run and judged as ever.
others_run() {
	main_run
	((main_status == 1)) || problem "exit status: want 1, got $main_status"
	want_text 41 "$(grep -Ec '^#[0-9]+/[0-9]+ .*:(OK|FAIL|SKIP)' <(sed '/^All error logs/,$d' "$dir/main"))" \
		"subtests reported"
	want_in "$dir/main" '^#2 +misbehave:FAIL'
	want_in "$dir/main" '^Only the failed ones again: -n 2/2-3,5-15,17-18,20,23,30-31 -n 3/6$'
	want_in "$dir/main" '^Summary: 1/17 PASSED, 4 SKIPPED, 2 FAILED'
	want_in "$dir/main" "^$(grep -Ec ' left .* behind' <(sed '/^All error logs/,$d' "$dir/main")) subtests left something behind\.$"
}

# The same verdicts when each is on its own, in another order.
others_run_shuffled() {
	main_run
	run "$dir/selftest_progs" -w 2 -j4 --shuffle=5 -d misbehave/is_slow,misbehave/leaves_map,misbehave/keeps_netns
	verdicts "$dir/main" >"$dir/wanted"
	verdicts "$dir/out" | diff "$dir/wanted" - >"$dir/diff" ||
		problem "verdicts with -j4 --shuffle: $(cat "$dir/diff")"
	want_none_left
}

verdicts() {
	sed '/^All error logs/,$d' "$1" | grep -Eo '^#[0-9]+/.*:(OK|FAIL|SKIP)' | sort
}

json_of_main() {
	main_run
	valid_json "$dir/main.json" || return
	want_text 'fail fail skip pass' \
		"$(json_get "$dir/main.json" "v['fails'], v['sleeps'], v['skips'], v['closes_all']" |
			tr -d "(),'")" "verdicts"
	want_text "tests/cases/misbehave.c FAIL" "$(json_get "$dir/main.json" \
		"m['closes_all_fails']['reason']" | sed 's/:.*FAIL:.*/ FAIL/')" "reason"
	want_text "killed by SIGSEGV (Segmentation fault)" \
		"$(json_get "$dir/main.json" "m['segfaults']['reason']")" "reason"
	want_text "it is not its day" "$(json_get "$dir/main.json" "m['skips']['skip_reason']")"
	want_text "a part was left out" "$(json_get "$dir/main.json" "m['notes']['notes']")"
	want_text "2 2" "$(json_get "$dir/main.json" \
		"str(m['fails']['checks']) + ' ' + str(m['fails']['failed_checks'])")" "checks"
	want_text True "$(json_get "$dir/main.json" "'before?after' in m['prints_much']['message']")"
	want_text True "$(json_get "$dir/main.json" "len(m['prints_much']['message']) < 300000")"
}

# Standard input of the runner is a file here, so that the subtest cannot have it from there.
alone() {
	"$dir/selftest_progs" -a misbehave/is_alone <"$0" >"$dir/out" 2>"$dir/err"
	status=$?
	want_status 0
	want_in "$dir/out" 'misbehave/is_alone:OK'
}

note_once() {
	main_run
	want_text 1 "$(grep -c '^Note: a part was left out$' "$dir/main")" "lines with the note"
}

slow() {
	long_run
	report_of "$dir/long" misbehave/is_slow >"$dir/report"
	want_in "$dir/report" 'is_slow:OK'
	want_text 1 "$(grep -c 'WATCHDOG: runs for 10 seconds' "$dir/report")" "notices"
	want_in "$dir/report" 'thread [0-9]'
	want_in "$dir/report" '\[<0>\] .*nanosleep'
}

left_map() {
	long_run
	report_of "$dir/long" misbehave/leaves_map >"$dir/report"
	if grep -q 'names no directory\|mount:' "$dir/long"; then
		why_skip='no bpffs'
		return
	fi
	want_in "$dir/report" 'leaves_map:FAIL'
	want_in "$dir/report" 'left 1 BPF maps or programs behind'
}

kept_netns() {
	long_run
	report_of "$dir/long" misbehave/keeps_netns >"$dir/report"
	want_in "$dir/report" 'keeps_netns:FAIL'
	want_in "$dir/report" 'lost a reference to a socket: .* namespace does not end'
}

impossible() {
	run "$dir/selftest_progs" -a misbehave/impossible,misbehave/passes --require "$1"
	want_status 1
	want_in "$dir/out" 'misbehave/impossible:FAIL'
	want_in "$dir/out" 'no insert_unix_seqpacket \(.*\); needs sockmap support'
	want_in "$dir/out" 'misbehave/passes:OK'
}

keeps_off_stdout() {
	run "$dir/selftest_progs" -v -a misbehave/reuses_stdout
	want_status 0
	want_in "$dir/out" 'reuses_stdout:OK'
}

# What a daemon leaves when it dies is found as well, before the next one can be blamed for it.
daemons_every_time() {
	run "$dir/selftest_progs" --repeat 20 -a misbehave/leaves_daemons,misbehave/passes
	want_text 20 "$(grep -c 'misbehave/passes:OK' "$dir/out")" "passes of the neighbour"
	want_text 20 "$(sed '/^All error logs/,$d' "$dir/out" | grep -c 'left processes behind')" \
		"rounds in which both were found"
	want_none_left
}

# What the runner has not written yet is not to be written by its children.
clean_logs() {
	run "$dir/selftest_progs" --shuffle=3 --repeat 2 -a misbehave/exits_early -v
	want_text 1 "$(grep -c '^Shuffled' "$dir/out")" "lines about the seed"
	want_not_in "$dir/out" '^ +(Shuffled|Round)'
}

# ---- Exit status ---------------------------------------------------------------------------------

exits() {
	local wanted=$1

	shift
	run "$@"
	want_status "$wanted"
}

list_to_full_device() {
	"$dir/selftest_progs" "$1" >/dev/full 2>"$dir/err"
	status=$?
	want_status 3
	want_in "$dir/err" 'cannot write to standard output'
}

# usage PATTERN OPTION...: it says what is wrong, in one line, and runs nothing.
usage() {
	local pattern=$1

	shift
	run "$dir/selftest_progs" "$@"
	want_status 64
	want_in "$dir/err" "$pattern"
	want_text '' "$(cat "$dir/out")" "standard output"
}

as_nobody() {
	if ((EUID == 0)); then
		run setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$@"
	else
		run "$@"
	fi
}

needs_root() {
	as_nobody "$dir/test_progs"
	want_status 3
	want_in "$dir/err" '^test_progs: .*run it as root'
	want_text 1 "$(wc -l <"$dir/err")" "lines on standard error"
	want_not_in "$dir/out" ':(OK|FAIL|SKIP)'
}

# ---- Selection -----------------------------------------------------------------------------------

# lists NUMBERS OPTION...: what is selected, without running it.
lists() {
	local wanted=$1

	shift
	run "$dir/selftest_progs" -l "$@"
	want_status 0
	want_text "$wanted" "$(listed)" "selection"
	run "$dir/selftest_progs" -c "$@"
	want_text "$(tr ' ' '\n' <<<"$wanted" | cut -d/ -f1 | sort -u | wc -l)/$(wc -w <<<"$wanted")" \
		"$(cat "$dir/out")" "count"
}

no_match() {
	local pattern=$1

	shift
	run "$dir/selftest_progs" -l "$@"
	want_status 2
	want_in "$dir/err" "$pattern"
	want_text '' "$(cat "$dir/out")" "standard output"
}

# file CONTENT: a list of tests, with printf's escapes.
file() {
	printf '%b' "$1" >"$dir/list"
}

lists_file() {
	file "$1"
	shift
	lists "$@"
}

usage_file() {
	file "$1"
	shift
	usage "$@"
}

no_match_file() {
	file "$1"
	shift
	no_match "$@"
}

# ---- Shares of the plan --------------------------------------------------------------------------

# durations WHAT: the document of a run of all tests of selftest_progs, $dir/durations.
durations() {
	"$dir/selftest_progs" -l | python3 -c '
import json, sys, zlib
tests, what = {}, sys.argv[2]
for line in sys.stdin:
    number, name = line.split(maxsplit=1)
    if "/" in number: tests.setdefault(name.split("/")[0], []).append(name.strip().split("/", 1)[1])
by_crc = lambda t, s: zlib.crc32((t + s).encode()) % 500
took = {"random": by_crc, "reversed": by_crc, "one": lambda t, s: 1e6 if s == "sleeps" else 10,
        "behave": lambda t, s: 50000 if t == "behave" else 1}.get(what)
results = [{"name": t, "subtests": [{"name": s, "duration_ms": took(t, s), "runs": 1}
                                    for s in subs if what != "behave" or s not in ("second", "fifth")]}
           for t, subs in tests.items()]
if what == "reversed":
    results.reverse()
    for t in results: t["subtests"].reverse()
json.dump({"results": results}, open(sys.argv[1], "w"))' "$dir/durations" "$1"
}

# shares N OPTION...: the names in each share, in $dir/share.K.
shares() {
	local count=$1 k

	shift
	for ((k = 1; k <= count; k++)); do
		run "$dir/selftest_progs" -l --shard "$k/$count" "$@"
		want_status 0
		sed -n 's|^#[0-9]*/[0-9]* *||p' "$dir/out" >"$dir/share.$k"
	done
}

# each_in_one_share N OPTION...: and the largest has at most one more than the smallest.
each_in_one_share() {
	local count=$1

	shares "$@"
	shift
	"$dir/selftest_progs" -l "$@" | sed -n 's|^#[0-9]*/[0-9]* *||p' | sort >"$dir/all"
	cat "$dir"/share.* | sort | diff "$dir/all" - >"$dir/diff" ||
		problem "not each one once: $(head -n 5 "$dir/diff")"
	wc -l "$dir"/share.* | awk '$2 != "total" { n[$1] } END { for (a in n) for (b in n) if (a - b > 1) exit 1 }' ||
		problem "$count shares: $(wc -l "$dir"/share.*)"
	rm "$dir"/share.*
}

# No two shares differ by more than the longest subtest of the longer one takes.
shares_by_durations() {
	durations random
	shares 4 --durations "$dir/durations"
	python3 - "$dir" >"$dir/python" 2>&1 <<-'PYTHON' || problem "$(tail -n 3 "$dir/python")"
	import json, sys
	took = {t["name"] + "/" + s["name"]: s["duration_ms"] + 2
	        for t in json.load(open(sys.argv[1] + "/durations"))["results"] for s in t["subtests"]}
	shares = [[took.pop(l.rstrip("\n")) for l in open("%s/share.%d" % (sys.argv[1], k))] for k in (1, 2, 3, 4)]
	assert not took, took
	sums = [sum(s) for s in shares]
	assert max(sums) - min(sums) <= max(max(s) for s in shares), sums
	assert max(sums) - min(sums) < 100, sums
	PYTHON
}

same_shares_everywhere() {
	local k

	durations random
	shares 3 --durations "$dir/durations"
	for k in 1 2 3; do mv "$dir/share.$k" "$dir/before.$k"; done
	durations reversed
	shares 3 --durations "$dir/durations"
	for k in 1 2 3; do
		cmp -s "$dir/before.$k" "$dir/share.$k" || problem "share $k differs"
	done
}

long_one_alone() {
	durations one
	shares 2 --durations "$dir/durations"
	want_text misbehave/sleeps "$(cat "$dir"/share.1)" "the first share"
}

# Two of behave's five are not known: they take as long as the other three.
unknown_takes_the_mean() {
	durations behave
	shares 5 --durations "$dir/durations"
	want_text "1 1 1 1 1 " "$(grep -c '^behave/' "$dir"/share.* | cut -d: -f2 | tr '\n' ' ')" "of behave in each"
}

durations_of_a_run() {
	run "$dir/selftest_progs" -a behave -J "$dir/run.json"
	run "$dir/selftest_progs" -c --shard 1/1 --durations "$dir/run.json" --durations "$dir/run.json"
	want_status 0
}

# bad_durations PATTERN CONTENT
bad_durations() {
	printf '%s' "$2" >"$dir/durations"
	usage "$1" --shard 1/2 --durations "$dir/durations"
}

durations_alone() {
	durations one
	usage 'is for --shard' --durations "$dir/durations"
}

foreign_durations() {
	printf '%s' '{"results": [{"name": "x", "subtests": [{"name": "y", "duration_ms": 1.5, "runs": 1}]}]}' \
		>"$dir/durations"
	no_match 'all of other subtests' --shard 1/2 --durations "$dir/durations"
}

names_of_sockmap_listen() {
	as_nobody "$dir/test_progs" -l -a sockmap_listen
	want_status 0
	grep '/' "$dir/out" | sed 's/^#[^ ]* *//' >"$dir/names"
	want_text 152 "$(wc -l <"$dir/names")" "names"
	want_text 152 "$(sort -u "$dir/names" | wc -l)" "different names"
	want_text 'sockmap_listen/sockmap IPv4 TCP test_insert_invalid' "$(head -n 1 "$dir/names")" first
	want_text 'sockmap_listen/sockhash Unix test_unix_redir stream' "$(tail -n 1 "$dir/names")" last
	as_nobody "$dir/test_progs" -c -a sockmap_listen
	want_text 1/152 "$(cat "$dir/out")" "count"
}

alias_selects_two() {
	as_nobody "$dir/test_progs" -l -a 'sockmap_listen/sockmap Unix test_unix_redir'
	want_status 0
	want_text 2 "$(grep -c 'sockmap Unix test_unix_redir' "$dir/out")" "selected subtests"
	want_text 3 "$(wc -l <"$dir/out")" "lines"
}

# ---- Reports -------------------------------------------------------------------------------------

json_unwritable() {
	run "$dir/selftest_progs" -a misbehave/passes -J "$1"
	want_status 64
	want_in "$dir/err" "cannot write the results to $1"
	want_not_in "$dir/out" ':OK'
}

# Nobody can know before that a device is full.
json_full() {
	run "$dir/selftest_progs" -a misbehave/passes -J /dev/full
	((status)) || problem "exit status: want a failure, got 0"
	want_in "$dir/err" "cannot write the results to /dev/full: No space"
}

json_survives_usage_error() {
	echo '{"old": true}' >"$dir/old.json"
	run "$dir/selftest_progs" -J "$dir/old.json" -n 0
	want_status 64
	want_text '{"old": true}' "$(cat "$dir/old.json")" "old results"
	run "$dir/selftest_progs" -J "$dir/old.json" -a no_such
	want_status 2
	want_text '{"old": true}' "$(cat "$dir/old.json")" "old results"
}

json_to_stdout() {
	run "$dir/selftest_progs" -a misbehave/passes -J -
	sed -n '/^{/,$p' "$dir/out" >"$dir/stdout.json"
	want_status 0
	valid_json "$dir/stdout.json"
}

# background OPTION...: start it, and wait until what hangs is all that is left to do.
background() {
	"$dir/selftest_progs" "$@" >"$dir/out" 2>"$dir/err" </dev/null &
	runner=$!
	for ((i = 0; i < 100; i++)); do
		grep -q 'misbehave/leaves_child:' "$dir/out" && break
		sleep 0.05
	done
	# The ones that hang start after it.
	sleep 0.3
}

# Job control, since a shell without it starts its children with SIGINT ignored.
interrupted() {
	local before during=() i

	# Those of the workers alone: others on this machine come and go.
	before=$(netns_list /proc/[0-9]*)
	set -m
	background -j3 -J "$dir/int.json" \
		-a 'misbehave/passes,misbehave/leaves_child,behave/*,misbehave/sleeps,misbehave/spins' \
		--shuffle=7
	set +m
	mapfile -t during < <(left_processes | sed 's|^|/proc/|')
	mapfile -t during < <(netns_list "${during[@]}" | comm -13 <(echo "$before") -)
	((${#during[@]})) || problem "want a network namespace while subtests run"
	kill "-$1" "$runner"
	wait "$runner" 2>/dev/null
	status=$?
	want_status 130
	want_in "$dir/out" '^Summary: '
	want_in "$dir/out" '^Interrupted: [1-9][0-9]* subtests have not run'
	want_none_left
	want_text '' "$(netns_list /proc/[0-9]* | grep -Fx "${during[@]/#/-e}")" \
		"network namespaces that stayed"
	valid_json "$dir/int.json" &&
		want_text True "$(json_get "$dir/int.json" "r['interrupted']")" "interrupted"
}

killed() {
	local name

	background -J "$dir/kill.json" \
		-a 'behave/*,misbehave/passes,misbehave/fails,misbehave/leaves_child,misbehave/is_slow'
	kill -KILL "$runner"
	wait "$runner" 2>/dev/null
	want_none_left
	valid_json "$dir/kill.json" || return
	for name in first fifth passes fails leaves_child; do
		want_text True "$(json_get "$dir/kill.json" "'$name' in v")" "$name was reported"
	done
	want_text 1 "$(json_get "$dir/kill.json" "r['not_run']")" "not run"
}

order_is_that_of_the_plan() {
	run "$dir/selftest_progs" -l -t 'behave/[a-p]*' -d 'misbehave/is_*,misbehave/leaves_*'
	listed >"$dir/plan"
	run "$dir/selftest_progs" -w 1 -j4 -t 'behave/[a-p]*' -d 'misbehave/is_*,misbehave/leaves_*'
	sed -i '/^All error logs/,$d' "$dir/out"
	want_text "$(cat "$dir/plan")" "$(grep -Eo '^#[0-9]+/[0-9]+' "$dir/out" | tr -d '#' |
		paste -sd' ')" "order"
}

shuffled() {
	local first

	run "$dir/selftest_progs" -t behave -d 'misbehave/*' -l --shuffle=11
	first=$(listed)
	want_text '1/1 1/2 1/3 1/4 1/5' "$(tr ' ' '\n' <<<"$first" | sort | paste -sd' ')" "permutation"
	run "$dir/selftest_progs" -t behave -d 'misbehave/*' -l --shuffle=11
	want_text "$first" "$(listed)" "the same seed"
	run "$dir/selftest_progs" -l --shuffle=11
	first=$(listed)
	run "$dir/selftest_progs" -l --shuffle=12
	[[ $(listed) != "$first" ]] || problem "another seed: want another order, got $first"
}

# What the list says is what runs, and the seed is printed.
shuffled_run() {
	local list

	run "$dir/selftest_progs" -a behave --shuffle=11 -l
	list=$(listed)
	run "$dir/selftest_progs" -a behave --shuffle=11
	want_in "$dir/out" '^Shuffled with --shuffle=11$'
	want_text "$list" "$(grep -Eo '^#[0-9]+/[0-9]+' "$dir/out" | tr -d '#' | paste -sd' ')" "order"
	run "$dir/selftest_progs" -a behave --shuffle
	want_in "$dir/out" '^Shuffled with --shuffle=[0-9]+$'
}

repeated() {
	export MISBEHAVE_STATE=$dir/state
	rm -f "$MISBEHAVE_STATE"
	run "$dir/selftest_progs" --repeat 3 -a misbehave/flips
	want_status 1
	want_text 'Round 1: Round 2: Round 3:' "$(grep ^Round "$dir/out" | paste -sd' ')" "rounds"
	want_text 'OK FAIL OK' "$(sed '/^All error/,$d' "$dir/out" | grep -o 'flips:.*' | cut -d: -f2 |
		paste -sd' ')" "verdicts"
	want_in "$dir/out" 'misbehave/flips:FAIL \(1 of 3 runs\)'
}

until_fail() {
	export MISBEHAVE_STATE=$dir/state
	rm -f "$MISBEHAVE_STATE"
	run "$dir/selftest_progs" --until-fail -a misbehave/flips,misbehave/is_alone
	want_status 1
	want_text 'Round 1: Round 2:' "$(grep ^Round "$dir/out" | paste -sd' ')" "rounds"
	want_text 1 "$(grep -c 'is_alone:OK' "$dir/out")" "runs of what comes after it"
	run "$dir/selftest_progs" --until-fail --repeat 3 -a misbehave/passes
	want_status 0
	want_text 3 "$(grep -c 'passes:OK' "$dir/out")" "rounds without a failure"
}

plain() {
	run "$dir/selftest_progs" -a behave/first,misbehave/fails
	want_not_in "$dir/out" $'\033|\r'
	want_not_in "$dir/out" '^\['
}

# terminal COMMAND: what it prints to a terminal.
terminal() {
	if ! script --version >/dev/null 2>&1; then
		why_skip='needs script(1)'
		return 1
	fi
	TERM=xterm timeout 40 script -qec "$1" /dev/null >"$dir/out" 2>"$dir/err" </dev/null
	status=$?
}

coloured() {
	terminal "env -u NO_COLOR $dir/selftest_progs -a misbehave/passes,misbehave/fails,misbehave/skips" ||
		return
	want_status 1
	want_in "$dir/out" $'passes:\033\\[32mOK\033\\[0m'
	want_in "$dir/out" $'fails:\033\\[31mFAIL'
	want_in "$dir/out" $'skips:\033\\[33mSKIP'
	want_in "$dir/out" '\[0/3\] misbehave/passes'
}

not_coloured() {
	terminal "env $1 $dir/selftest_progs -a misbehave/passes,misbehave/fails" || return
	want_status 1
	want_not_in "$dir/out" $'\033\\[3'
	want_in "$dir/out" 'passes:OK'
}

# ---- Known failures ------------------------------------------------------------------------------

# A list for --expect, with printf's escapes; each line ends in \n.
expect_file() {
	printf '%b' "$1" >"$dir/expect"
}

# A block on subtests of misbehave: expect_block "SUBTEST..." [LINE...]
expect_block() {
	local name

	printf 'fix: 123456789abc ("%s: Fix it")\nfixed: v6.1\nwhy: it goes wrong\n' "${1%% *}"
	for name in $1; do
		echo "fail: misbehave/$name"
	done
	shift
	(($# == 0)) || printf '%s\n' "$@"
}

# expect_run OPTION...: with the list that is on standard input.
expect_run() {
	cat >"$dir/expect"
	run "$dir/selftest_progs" --expect "$dir/expect" "$@"
}

xfail_all_kinds() {
	expect_run -w 1 -j4 -J "$dir/x.json" \
		-a 'misbehave/fails,misbehave/segfaults,misbehave/sleeps,misbehave/leaves_child,misbehave/closes_all_fails,misbehave/checks_nothing' \
		< <(expect_block "fails segfaults sleeps leaves_child closes_all_fails checks_nothing")
	want_status 0
	want_text 6 "$(grep -c '^#2/.*:XFAIL (fix: 123456789abc ("fails: Fix it"))$' "$dir/out")" XFAIL
	want_in "$dir/out" '^#2 +misbehave:XFAIL$'
	want_in "$dir/out" "^Known failures: $dir/expect\$"
	want_in "$dir/out" '^Summary: 0/0 PASSED, 0 SKIPPED, 0 FAILED, 6 XFAIL$'
	want_not_in "$dir/out" 'one and two'
	valid_json "$dir/x.json" || return
	want_text "6 0 0 0 $dir/expect" "$(json_get "$dir/x.json" "' '.join(str(r[k]) for k in
		('xfail_subtest', 'xpass_subtest', 'failed', 'failed_subtest', 'expect'))")" "counts"
	want_text 'xfail False' "$(json_get "$dir/x.json" \
		"m['fails']['verdict'] + ' ' + str(m['fails']['failed'])")" "verdict"
	want_text '123456789abc ("fails: Fix it")|v6.1|it goes wrong' "$(json_get "$dir/x.json" \
		"'|'.join(m['fails']['known'][0][k] for k in ('fix', 'fixed', 'why'))")" "known"
	want_text 'killed by SIGSEGV (Segmentation fault)' \
		"$(json_get "$dir/x.json" "m['segfaults']['reason']")" "reason"
}

xfail_verbose() {
	expect_run -v -a misbehave/fails < <(expect_block fails)
	report_of "$dir/out" misbehave/fails >"$dir/report"
	want_in "$dir/report" '^    .*: FAIL: one and two: 1 is 1, want 2'
	want_in "$dir/report" '^    known: it goes wrong \(fixed in v6\.1\)'
}

# Only the one that is listed, and the others fail as ever.
xfail_others_fail() {
	expect_run -a misbehave/fails,misbehave/exits_3,misbehave/passes < <(expect_block fails)
	want_status 1
	want_in "$dir/out" 'misbehave/fails:XFAIL'
	want_in "$dir/out" 'misbehave/exits_3:FAIL$'
	want_in "$dir/out" '^#2 +misbehave:FAIL$'
	want_in "$dir/out" '^Only the failed ones again: -n 2/10$'
	want_in "$dir/out" '^Summary: 0/1 PASSED, 0 SKIPPED, 1 FAILED, 1 XFAIL$'
}

# xfail_says SUBTEST UNKNOWN ERE...: it is not known, since none of them is that.
xfail_says_not() {
	local name=$1 unknown=$2

	shift 2
	expect_run -w 1 -a "misbehave/$name,misbehave/passes" < <(expect_block "$name" "${@/#/says: }")
	want_status 1
	report_of "$dir/out" "misbehave/$name" >"$dir/report"
	want_in "$dir/report" "misbehave/$name:FAIL\$"
	want_in "$dir/report" "listed as a known failure \(fix: 12.*\), but without this: $unknown"
}

xfail_says() {
	local name=$1

	shift
	expect_run -w 1 -a "misbehave/$name" < <(expect_block "$name" "${@/#/says: }")
	want_status 0
	want_in "$dir/out" "misbehave/$name:XFAIL"
}

# A splat is all that such a block expects.
xfail_splat_only() {
	expect_run -a misbehave/fails < <(expect_block fails 'splat: WARNING')
	want_status 1
	want_in "$dir/out" 'misbehave/fails:FAIL'
}

xpass() {
	expect_run -J "$dir/x.json" -a misbehave/passes,misbehave/fails,misbehave/skips \
		< <(expect_block "passes fails skips")
	want_status 0
	want_in "$dir/out" 'misbehave/passes:OK \(listed as a known failure: 12.* it"\); fixed here\?\)$'
	want_in "$dir/out" 'misbehave/skips:SKIP \(it is not its day\)$'
	want_in "$dir/out" "^Passed, though $dir/expect lists it: misbehave/passes\$"
	want_in "$dir/out" '^Summary: 1/1 PASSED, 1 SKIPPED, 0 FAILED, 1 XFAIL, 1 XPASS$'
	valid_json "$dir/x.json" || return
	want_text "1 pass 123456789abc" "$(json_get "$dir/x.json" "' '.join([str(r['xpass_subtest']),
		v['passes'], m['passes']['known'][0]['fix'][:12]])")" "JSON"
}

# What would crash the kernel here would not come back to be reported.
norun() {
	local state=$dir/norun

	rm -f "$state"
	MISBEHAVE_STATE=$state expect_run -J "$dir/x.json" -a misbehave/flips,misbehave/passes \
		< <(expect_block none | sed 's|^fail: .*|norun: misbehave/fl*|')
	want_status 0
	[[ ! -e $state ]] || problem "it has run"
	want_in "$dir/out" 'misbehave/flips:XFAIL \(not run; fix: 12.*\)$'
	want_in "$dir/out" '^Summary: 1/1 PASSED, 0 SKIPPED, 0 FAILED, 1 XFAIL$'
	valid_json "$dir/x.json" || return
	want_text 'not run: it goes wrong' "$(json_get "$dir/x.json" "m['flips']['reason']")" "reason"
}

# No test has run then, which is no success.
norun_only() {
	expect_run -a misbehave/fails < <(expect_block none | sed 's|^fail:.*|norun: misbehave/fails|')
	want_status 4
}

# A known failure ends nothing, and is not undone by a later success; a failure outweighs it.
xfail_repeated() {
	export MISBEHAVE_STATE=$dir/state
	rm -f "$MISBEHAVE_STATE"
	expect_run --repeat 3 --until-fail -a misbehave/flips < <(expect_block flips)
	want_status 0
	want_text 'OK XFAIL OK' "$(grep -o 'misbehave/flips:[A-Z]*' "$dir/out" | cut -d: -f2 | paste -sd' ')" \
		"verdicts"
	want_in "$dir/out" '^Summary: 0/0 PASSED, 0 SKIPPED, 0 FAILED, 1 XFAIL$'
	rm -f "$MISBEHAVE_STATE"
	expect_run --repeat 4 -a misbehave/flips < <(expect_block flips 'says: run 2 of it')
	want_status 1
	want_text 'OK XFAIL OK FAIL' "$(sed '/^All error/,$d' "$dir/out" | grep -o 'misbehave/flips:[A-Z]*' |
		cut -d: -f2 | paste -sd' ')" "verdicts"
}

xfail_directory() {
	local release

	release=$(uname -r)
	mkdir -p "$dir/lists"
	rm -f "$dir/lists/"*
	expect_block passes >"$dir/lists/${release%%.*}"
	expect_block fails >"$dir/lists/${release%%[+-]*}"
	echo broken >"$dir/lists/${release%%[+-]*}0"
	run "$dir/selftest_progs" --expect "$dir/lists" -a misbehave/fails
	want_status 0
	want_in "$dir/out" "^Known failures: $dir/lists/${release%%[+-]*}\$"
	rm "$dir/lists/"*
	run "$dir/selftest_progs" --expect "$dir/lists" -a misbehave/passes,misbehave/fails
	want_status 1
	want_in "$dir/out" "^Known failures: none, $dir/lists has no list for $release\$"
	want_in "$dir/out" '^Summary: 0/1 PASSED, 0 SKIPPED, 1 FAILED$'
}

usage_expect() {
	expect_file "$1"
	usage "$2" --expect "$dir/expect"
	# To look whether a list is in order takes no root.
	usage "$2" --expect "$dir/expect" -l
}

# The lists of the project name subtests that there are.
stock_lists() {
	local list

	for list in vm/expect/*; do
		run "$dir/test_progs" --expect "$list" -c
		want_status 0
	done
}

# A draft is complete but for what only a person can know, and then accounts for each failure.
write_expect() {
	rm -f "$dir/draft"
	run "$dir/selftest_progs" -w 1 --write-expect "$dir/draft" -d 'misbehave/is_slow,misbehave/flips'
	want_status 1
	want_in "$dir/draft" '^fail:  misbehave/segfaults$'
	want_in "$dir/draft" '^says:  killed by SIGSEGV \\\(Segmentation fault\\\)$'
	want_in "$dir/draft" '^says:  timed out after \[0-9\]\+ s$'
	want_in "$dir/draft" '^says:  payload: got 7 bytes, want 7$'
	want_in "$dir/draft" '^fix:   123456789abc \("behave: Fix it"\)$'
	usage '"fix: \?" is still to be filled in' --expect "$dir/draft"
	sed -i 's/^fix:   ?/fix: x/' "$dir/draft"
	usage '"why: \?" is still to be filled in' --expect "$dir/draft"
	sed -i 's/^why:   ?/why: x/' "$dir/draft"
	run "$dir/selftest_progs" -w 1 --expect "$dir/draft" -d 'misbehave/is_slow,misbehave/flips'
	want_status 0
	want_text "$(grep -c '^fail:' "$dir/draft") XFAIL" \
		"$(grep -o '[0-9]* XFAIL$' "$dir/out")" "known failures"
}

# Work that was put into one is not lost, and nothing is left beside it.
write_expect_keeps() {
	echo mine >"$dir/draft"
	usage 'cannot write the draft .*draft: File exists' --write-expect "$dir/draft" -a misbehave/fails
	want_text mine "$(cat "$dir/draft")" "draft"
	usage 'cannot write the draft .*: No such file' --write-expect "$dir/none/draft"
	rm "$dir/draft"
	run "$dir/selftest_progs" --write-expect "$dir/draft" -a misbehave/passes
	want_status 0
	want_in "$dir/err" 'nothing has failed: there is no draft'
	[[ ! -e $dir/draft ]] || problem "want no draft of nothing"
	run "$dir/selftest_progs" --write-expect "$dir/draft" -a misbehave/fails
	want_text "$dir/draft" "$(echo "$dir"/draft*)" "files"
}

# ---- Timelines and measurements ------------------------------------------------------------------

# strays OPTION...: run tests whose data goes astray.
strays() {
	: >"$dir/strays"
	STRAYS=$dir/strays run "$dir/selftest_progs" -J "$dir/strays.json" "$@"
}

traced_failure() {
	strays -a strays/misdirected
	want_status 1
	want_in "$dir/out" '^    Timeline, in us since the send:'
	want_in "$dir/out" ' 0\.0 +cpu[0-9]+ +selftest_progs +send +peer1 +10 bytes'
	want_in "$dir/out" ' reader asleep +mapped2 +in poll'
	want_in "$dir/out" '^    Conclusion: delivered to mapped1 instead of mapped2'
	valid_json "$dir/strays.json" || return
	want_text '1 1 send peer1' "$(json_get "$dir/strays.json" \
		"'{runs} {failed_runs} {timeline[1][event]} {timeline[1][socket]}'.format(**m['misdirected'])")" \
		"results"
	want_text True "$(json_get "$dir/strays.json" \
		"'instead of mapped2' in m['misdirected']['conclusion']")" "conclusion"
}

traced_limit() {
	strays --trace=0 -a strays/misdirected,strays/misdirected_once
	want_status 1
	want_not_in "$dir/out" 'Timeline|Conclusion'
	strays --trace=1 -a strays/misdirected,strays/misdirected_once
	want_text 1 "$(sed '/^All error logs/,$d' "$dir/out" | grep -c Timeline)" "timelines"
	strays -a strays/arrives
	want_status 0
	want_not_in "$dir/out" 'Timeline|Conclusion'
	strays --trace -a strays/arrives
	want_status 0
	want_in "$dir/out" '^    Conclusion: delivered: the reader got data [0-9.]+ us after the send$'
}

# A second run is there to explain the first one, whatever becomes of it.
traced_again() {
	strays -a strays/misdirected_once
	want_status 1
	want_in "$dir/out" '^#[0-9/]+ +strays/misdirected_once:FAIL'
	want_in "$dir/out" '^    Conclusion: passed when traced: it depends on timing'
	want_text 2 "$(wc -c <"$dir/strays")" "runs"
	strays -w 1 -a strays/misdirected_then_hangs
	want_in "$dir/out" 'strays/misdirected_then_hangs:FAIL'
	want_not_in "$dir/out" 'timed out'
	want_in "$dir/out" '^    Conclusion: delivered to mapped1 instead of mapped2'
	strays -a strays/sends_nothing
	want_text 1 "$(wc -c <"$dir/strays")" "runs of what sends nothing"
}

traced_interrupted() {
	: >"$dir/strays"
	STRAYS=$dir/strays "$dir/selftest_progs" -a strays/misdirected_then_hangs >"$dir/out" 2>&1 &
	runner=$!
	until [[ $(wc -c <"$dir/strays") -ge 2 ]]; do
		kill -0 "$runner" || break
		sleep 0.05
	done
	kill -INT "$runner"
	wait "$runner"
	status=$?
	want_status 130
	want_in "$dir/out" 'strays/misdirected_then_hangs:FAIL'
	want_not_in "$dir/out" 'passed when traced'
}

# What is through is told, though what comes before it is not.
interrupted_in_between() {
	: >"$dir/strays"
	STRAYS=$dir/strays "$dir/selftest_progs" -j2 -a misbehave/sleeps,strays/sends_nothing \
		-J "$dir/interrupted.json" >"$dir/out" 2>&1 &
	runner=$!
	until [[ -s $dir/strays ]]; do
		kill -0 "$runner" || break
		sleep 0.05
	done
	sleep 3
	kill -INT "$runner"
	wait "$runner"
	status=$?
	want_status 130
	want_in "$dir/out" 'strays/sends_nothing:FAIL'
	want_not_in "$dir/out" 'misbehave/sleeps'
	valid_json "$dir/interrupted.json" || return
	want_text fail "$(json_get "$dir/interrupted.json" "m['sends_nothing']['verdict']")" verdict
}

latency() {
	run "$dir/test_progs" --latency -t sockmap_listen/test_udp_redir -J "$dir/latency.json"
	want_status 0
	want_in "$dir/out" '^sk_skb +udp4 +ingress +[0-9]+( +[0-9]+\.[0-9]){4} \|'
	want_not_in "$dir/out" 'Timeline'
	valid_json "$dir/latency.json" || return
	want_text True "$(json_get "$dir/latency.json" "all(w['ns'] > 0 and w['out'] in ('udp4', 'udp6')
		for s in m.values() for w in s['wakeups'])")" "delays"
}

# To egress: reading what is redirected to ingress while more of it comes is a race that kernels have.
bench() {
	run "$dir/test_progs" --bench --bench-time 1 -a bench/sk_skb-egress/udp4 -J "$dir/bench.json"
	want_status 0
	want_in "$dir/out" '^sk_skb-egress/udp4( +[0-9]+\.[0-9]+){3} \|( +[0-9]+\.[0-9]+){3} \|'
	valid_json "$dir/bench.json" || return
	want_text True "$(json_get "$dir/bench.json" \
		"all(f[k] > 0 for f in m['sk_skb-egress/udp4']['bench'].values() for k in f)")" "values"
	run "$dir/test_progs" --bench -a sockmap_listen
	want_status 2
}

# ---- Splats --------------------------------------------------------------------------------------

can_complain() {
	{ : >/dev/kmsg; } 2>/dev/null && return
	why_skip='needs to write to /dev/kmsg'
	return 1
}

# splats ARG...: with a tag of its own, since the log is that of the whole machine.
splats() {
	can_complain || return
	SPLATS=$dir/meet KMSG_TAG="harness-test $$: " run "$dir/selftest_progs" -J "$dir/splats.json" "$@"
}

want_complaint() {
	report_of "$dir/out" splats/complains >"$dir/report"
	want_in "$dir/report" 'splats/complains:FAIL'
	want_in "$dir/report" '^    the kernel complained: WARNING: CPU: 1 PID: 8 at net/core/skmsg'
	want_in "$dir/report" '^    ---\[ end trace'
}

splat_alone() {
	splats -a splats/complains,splats/quiet || return
	want_status 1
	want_complaint
	want_in "$dir/out" 'splats/quiet:OK'
	want_in "$dir/out" '^1 subtest made the kernel complain\.$'
	valid_json "$dir/splats.json" || return
	want_text 'True False' "$(json_get "$dir/splats.json" \
		"'{} {}'.format(*('sk_psock_destroy' in s.get('kernel_log', '') for s in m.values()))")" \
		"kernel_log"
	want_text 1 "$(json_get "$dir/splats.json" "r['splats']")" "count"
}

# Two run side by side, and each may be the one that did it: on its own, one does it again.
splat_suspects() {
	mkfifo "$dir/meet"
	splats -j2 -a splats/complains,splats/quiet || return
	want_status 1
	want_complaint
	want_in "$dir/out" 'splats/quiet:OK'
	want_in "$dir/out" '^1 subtest made the kernel complain\.$'
	want_text '' "$(find "$dir/meet" 2>/dev/null)" "FIFO, that shows whether they ran side by side"
}

splat_once() {
	local name

	mkfifo "$dir/meet"
	splats -j2 -a splats/complains_once,splats/quiet || return
	want_status 1
	for name in complains_once quiet; do
		report_of "$dir/out" "splats/$name" >"$dir/report"
		want_in "$dir/report" "splats/$name:FAIL"
		want_in "$dir/report" ' while this and other subtests ran; none of them repeats it'
	done
	want_in "$dir/out" '^2 subtests made the kernel complain\.$'
}

# One that is found is to blame for what was said while it ran, and for nothing else.
splat_of_another() {
	local name

	mkfifo "$dir/meet" "$dir/meet.later"
	splats -j2 -a splats/complains_once,splats/quiet,splats/complains_later,splats/quiet_later || return
	want_status 1
	for name in complains_once quiet; do
		report_of "$dir/out" "splats/$name" >"$dir/report"
		want_in "$dir/report" ' while this and other subtests ran; none of them repeats it'
		want_in "$dir/report" 'sk_psock_drop'
	done
	report_of "$dir/out" splats/complains_later >"$dir/report"
	want_in "$dir/report" '^    the kernel complained: WARNING: .* sk_psock_link'
	want_in "$dir/out" 'splats/quiet_later:OK'
}

# Nobody has run on his own, so nobody is to blame; but the kernel has said it.
splat_interrupted() {
	can_complain || return
	mkfifo "$dir/meet"
	SPLATS=$dir/meet KMSG_TAG="harness-test $$: " \
		"$dir/selftest_progs" -j2 -a misbehave/sleeps,splats/complains >"$dir/out" 2>&1 &
	runner=$!
	read -r -n1 _ <"$dir/meet"
	rm "$dir/meet"
	sleep 3
	kill -INT "$runner"
	wait "$runner"
	status=$?
	want_status 130
	want_in "$dir/out" '^The kernel complained, but not about what a subtest did:$'
	want_in "$dir/out" '^    WARNING: CPU: 1 PID: 8 at net/core/skmsg.c:1 sk_psock_drop'
}

# The run has failed, but no subtest has.
splat_foreign() {
	splats -a splats/stands_by || return
	want_status 1
	want_in "$dir/out" 'splats/stands_by:OK'
	want_in "$dir/out" '^The kernel complained, but not about what a subtest did:$'
	want_in "$dir/out" '^    WARNING: CPU: 1 PID: 8 at drivers/gpu/drm/drm_fence'
	want_in "$dir/out" '^Summary: 1/1 PASSED, 0 SKIPPED, 0 FAILED$'
	want_not_in "$dir/out" 'made the kernel complain'
}

# ---- All of them ---------------------------------------------------------------------------------

can_run=0 long_pid=''
"$dir/selftest_progs" -a misbehave/passes >"$dir/out" 2>&1
(($? == 3)) || can_run=1
((can_run)) && { selected "takes long" || selected "BPF map" || selected "keeps its network"; } &&
	start_long_run

root_t "passes" verdict passes OK
root_t "fails: where, what was wanted and what was there" verdict fails FAIL \
	'tests/cases/misbehave\.c:[0-9]+: FAIL: one and two: 1 is 1, want 2' 'later failure.*want 4'
root_t "fails with bytes: the first difference" verdict fails_bytes FAIL \
	'payload: got 7 bytes, want 7; from byte 4 on got 6d 61 70, want 65 74 73'
root_t "skips, with the reason" verdict skips 'SKIP \(it is not its day\)'
root_t "a failed check outweighs a skip" verdict fails_and_skips FAIL 'want 2'
root_t "no checks is a failure" verdict checks_nothing FAIL 'made no checks'
root_t "segfault: the static function is in the backtrace" verdict segfaults FAIL \
	'killed by SIGSEGV' ' write_to_nowhere\+0x' ' segfaults\+0x'
root_t "abort: its caller is in the backtrace" verdict aborts FAIL 'killed by SIGABRT' ' aborts\+0x'
root_t "exit(0) is not the end" verdict exits_early FAIL 'exited with status 0 before its end'
root_t "exit(3)" verdict exits_3 FAIL 'exited with status 3'
root_t "hangs asleep: where" verdict sleeps FAIL 'timed out after 2 s' 'WATCHDOG' '\[<0>\] .*pause'
root_t "hangs on a CPU" verdict spins FAIL 'timed out after 2 s' 'syscall: running'
root_t "leaves a child" verdict leaves_child FAIL 'left processes behind'
root_t "leaves a child in a session of its own" verdict leaves_daemon FAIL 'left processes behind'
root_t "leaves a daemon and its child" daemons_every_time
root_t "a forked copy returns" verdict copy_returns OK
root_t "a forked copy returns, the process does not" verdict copy_survives FAIL 'before its end'
root_t "a check fails in a forked copy" verdict copy_fails FAIL 'in the copy: 1 is 1, want 2'
root_t "closes all descriptors" verdict closes_all OK
root_t "closes all descriptors and fails: the reason survives" verdict closes_all_fails FAIL \
	'nothing is open: 1 is 1, want 2'
root_t "a socket that gets the number of standard output stays untouched" verdict reuses_stdout OK
root_t "the same with -v" keeps_off_stdout
root_t "prints NUL bytes and 1 MB" verdict prints_much OK
root_t "prints 1 MB and aborts: the backtrace survives" verdict prints_much_aborts FAIL \
	'before\?after' 'killed by SIGABRT' ' gsignal\+0x|raise\+0x'
root_t "a note is printed once" note_once
root_t "a missing feature skips, with reason and remedy" verdict impossible \
	'SKIP \(no insert_unix_seqpacket \(.*\); needs sockmap support for this kind'
root_t "a required feature that is missing is a failure" impossible insert_unix_seqpacket
root_t "a missing feature is a failure with --require all" impossible all
root_t "is on its own: namespace, group, standard input" alone
root_t "the others run, and the summary adds up" others_run
root_t "the same verdicts with -j4, in another order" others_run_shuffled
root_t "JSON holds verdicts, reasons and logs" json_of_main
root_t "logs hold nothing of the runner" clean_logs

root_t "exit 0: passed" exits 0 "$dir/selftest_progs" -a behave
root_t "exit 1: failed" exits 1 "$dir/selftest_progs" -a behave,misbehave/fails
t "exit 2: nothing matches" exits 2 "$dir/selftest_progs" -t no_such
t "exit 3: not root, and a line that says so" needs_root
root_t "exit 4: all are skipped" exits 4 "$dir/selftest_progs" -a misbehave/skips,misbehave/impossible
t "exit 64: an unknown option" exits 64 "$dir/selftest_progs" --no-such-option
t "exit 64: an operand" usage 'what is "behave"' behave
t "exit 64: an unknown feature" usage 'no feature "wings"' --require wings
t "exit 64: no feature" usage 'no feature ""' --require ''
t "exit 64: no feature behind a comma" usage 'no feature ""' --require insert_tcp4,
t "exit 64: -J without a name" usage 'cannot write the results to : No such file' -J '' -a behave
for list in -l -c; do
	t "exit 3: $list to a full device" list_to_full_device "$list"
done
for args in '-j 0' '-j x' '-j 1x' '-w -1' '-w x' '--repeat 0' '--repeat=-1' '--shuffle=0' \
	'--io-timeout=0' '-vvvv' '-vx'; do
	# shellcheck disable=SC2086 # an option and its argument
	t "exit 64: ${args/-j /-j}" usage 'whole number|-v, -vv' ${args/-j /-j}
done
root_t "the parent has ignored SIGCHLD" exits 0 env --ignore-signal=CHLD "$dir/selftest_progs" -a behave
root_t "it is process 1, as in a container" exits 0 \
	unshare --pid --fork --mount-proc "$dir/selftest_progs" -a behave
root_t "it gets few descriptors" exits 0 sh -c "ulimit -Sn 64 && exec $dir/selftest_progs -j64 -a behave"
root_t "exit 130: SIGINT leaves nothing" interrupted INT
root_t "exit 130: SIGTERM leaves nothing" interrupted TERM

t "--shard: 1 of 1" each_in_one_share 1
t "--shard: each subtest in one of 3" each_in_one_share 3
t "--shard: each subtest in one of 7" each_in_one_share 7
t "--shard: of what is selected" each_in_one_share 4 -t misbehave -d misbehave/fails
t "--shard: shares take as long as each other" shares_by_durations
t "--shard: the same shares, in whatever order durations come" same_shares_everywhere
t "--shard: what takes longer than all others is alone" long_one_alone
t "--shard: no duration is that of the others" unknown_takes_the_mean
root_t "--durations: of a run" durations_of_a_run
t "--durations: of other subtests" foreign_durations
t "--durations: no such file" usage 'cannot read durations from /nonexistent' --shard 1/2 --durations /nonexistent
t "--durations: not JSON" bad_durations 'cannot read durations' 'x'
t "--durations: not of a run" bad_durations 'is not what -J writes' '{"results": [{"name": "x"}]}'
t "--durations: a list" bad_durations 'is not what -J writes' '[]'
t "--durations: negative" bad_durations 'is not what -J writes' \
	'{"results": [{"name": "x", "subtests": [{"name": "y", "duration_ms": -1.5, "runs": 1}]}]}'
t "--durations: without --shard" durations_alone
t "--shard: an empty share" no_match 'share 3/3 is empty: only 2 subtests' -n 1/1-2 --shard 3/3
for shard in 0/3 4/3 3 1/0 a/b 1/2/3 -1/2 '1/ 2' 1/10001 4294967297/2 '' /; do
	t "--shard '$shard'" usage "takes K/N, such as 2/3, not \"$shard\"" --shard="$shard"
done
t "-n 1,2" lists "$(echo 1/{1..5} 2/{1..32})" -n 1,2
t "-n 1" lists "$(echo 1/{1..5})" -n 1
t "-n 1/2,4-5" lists '1/2 1/4 1/5' -n 1/2,4-5
t "-n 1-2/3" lists '1/3 2/3' -n 1-2/3
t "-n twice adds up" lists '1/1 2/2' -n 1/1 -n 2/2
for list in 0 1- a 2-1 '' 1/ / 1/0 '1,' ',1' -1 +1 ' 1' 1/2/3 1/a 99999999999; do
	t "-n '$list' is malformed" usage 'is no list of numbers' -n "$list"
done
t "-n of what is not there" no_match 'no test matches "1/2,?9?"' -n 1/29
t "-n 4 of what is not there" no_match 'no test matches "4"' -n 4
t "-t looks for a part of the name" lists "$(echo 1/{1..5} 2/{1..32})" -t ehav
t "-t TEST/SUBTEST, each a part" lists '2/2 2/3 2/5 2/18 2/20 2/30 2/31' -t misb/fails
t "-t with globs" lists '1/3 1/4' -t 'behave/*part' -d 'misbehave/*_*'
t "-a is exact" lists "$(echo 1/{1..5})" -a behave
t "-a with a part of a name" no_match 'no test matches "ehave"' -a ehave
t "-a with globs" lists '1/1 1/4 1/5' -a 'behave/f*'
t "-a with ? and []" lists '1/1 2/10' -a 'behave/fir?t,misbehave/exits_[0-9]'
t "-b takes out parts of names" lists "$(echo 1/{1..5})" -b misb,outc
t "-b TEST/SUBTEST" lists '1/1 1/2 1/5' -a behave -b behave/part
t "-d is exact" lists "$(echo 2/{1..32})" -d behave,outcomes
t "-d with globs" lists '1/2 1/3' -a behave -d 'behave/f*'
t "deny beats allow, in either order" lists '1/2 1/3 1/4 1/5' -d behave/first -a behave/first,behave
t "a later, narrower entry takes nothing away" lists "$(echo 1/{1..5})" -a behave,behave/first
t "an earlier, narrower entry takes nothing away" lists "$(echo 1/{1..5})" -a behave/first,behave
t "an alias selects all that share it" lists '1/3 1/4' -a behave/shared
t "an alias denies all that share it" lists '1/1 1/2 1/5' -a behave -d behave/shared
t "a pattern that matches nothing" no_match 'no test matches "nope"' -a behave,nope
t "a denied pattern that matches nothing" no_match 'no test matches "nope"' -d nope
t "all is denied" no_match 'nothing is left to run' -a behave -d behave
t "an empty pattern" usage 'empty pattern' -t behave,,misbehave
t "an empty list" usage 'empty pattern' -a ''
t "a pattern without a test" usage 'lacks a name' -t /first
t "a pattern without a subtest" usage 'lacks a name' -t behave/
t "@FILE: comments and blanks" lists_file '# a list\n\n  behave/first  # why\n\tbehave/third part\n' \
	'1/1 1/3' -a "@$dir/list"
t "@FILE: in a list" lists_file 'behave/first\n' '1/1 1/2' -a "behave/second,@$dir/list"
t "@FILE: denied" lists_file 'behave/first\n' '1/2 1/3 1/4 1/5' -a behave -d "@$dir/list"
t "@FILE: missing" usage 'cannot read @.*No such file' -a "@$dir/missing"
t "@FILE: a directory" usage 'cannot read .*directory' -a "@$dir"
t "@FILE: empty" usage_file '' 'holds no pattern' -a "@$dir/list"
t "@FILE: only comments" usage_file '# nothing\n\n' 'holds no pattern' -d "@$dir/list"
t "@FILE: truncated" usage_file 'behave/first\nbehave/sec' 'list:2: .*truncated' -a "@$dir/list"
t "@FILE: a NUL byte" usage_file 'behave/first\nbehave\0/x\n' 'list:2: a NUL byte' -a "@$dir/list"
t "@FILE: a line that matches nothing" no_match_file 'behave/first\nnope\n' \
	'list:2: no test matches "nope"' -a "@$dir/list"
t "the names in sockmap_listen, without root" names_of_sockmap_listen
t "an old name of sockmap_listen selects both subtests" alias_selects_two

root_t "a failure is traced in a second run" traced_failure
root_t "--trace: how many, none, all" traced_limit
root_t "the second run does not change the verdict" traced_again
root_t "a failure that is being traced survives an interrupt" traced_interrupted
root_t "so does one that comes after what is not through" interrupted_in_between
root_t "--latency" latency
root_t "--bench" bench

root_t "a splat: of the only one that runs" splat_alone
root_t "a splat: of one of several" splat_suspects
root_t "a splat: that none of them repeats" splat_once
root_t "a splat: of one of others, beside one that is found" splat_of_another
root_t "a splat: whose is not known when it is interrupted" splat_interrupted
root_t "a splat: of a driver that has nothing to do with it" splat_foreign

root_t "-J in a directory that is missing" json_unwritable "$dir/missing/results.json"
root_t "-J with a directory" json_unwritable "$dir"
root_t "-J with a full device" json_full
root_t "-J -" json_to_stdout
t "-J: old results survive a usage error" json_survives_usage_error
root_t "-J: a killed runner leaves what it has reported" killed
root_t "-j4 reports in the order of the plan" order_is_that_of_the_plan
t "--shuffle=SEED is an order that can be had again" shuffled
root_t "--shuffle runs in the order that -l lists" shuffled_run
root_t "--repeat 3" repeated
root_t "--until-fail" until_fail
root_t "no terminal: no colour, no progress" plain
root_t "a terminal: colour and progress" coloured
root_t "a terminal, NO_COLOR=1: no colour" not_coloured NO_COLOR=1
root_t "a dumb terminal: no colour" not_coloured TERM=dumb
root_t "--expect: each kind of failure" xfail_all_kinds
root_t "--expect: -v shows what failed, and why" xfail_verbose
root_t "--expect: others fail as ever" xfail_others_fail
root_t "--expect: says matches each failed check" xfail_says fails 'want 2$' '^a later'
root_t "--expect: a check that says does not match" xfail_says_not fails 'a later failure' 'want 2$'
root_t "--expect: says is not about where the check is" xfail_says_not fails 'one and' 'misbehave\.c'
root_t "--expect: says matches a crash" xfail_says segfaults '^killed by SIGSEGV'
root_t "--expect: a crash that says does not match" xfail_says_not segfaults 'killed by' 'SIGABRT'
root_t "--expect: says matches a timeout" xfail_says sleeps '^timed out'
root_t "--expect: a timeout that says does not match" xfail_says_not sleeps 'timed out' 'killed by'
root_t "--expect: says matches what a closed log has lost" xfail_says closes_all_fails 'want 2'
root_t "--expect: what is left behind is not hidden" xfail_says_not fails_and_leaves \
	'left processes behind' 'want 2'
root_t "--expect: what is left behind is known" xfail_says fails_and_leaves 'want 2' 'left processes'
root_t "--expect: a block with a splat expects no check" xfail_splat_only
root_t "--expect: one that passes is reported" xpass
root_t "--expect: norun" norun
root_t "--expect: norun alone is no success" norun_only
root_t "--expect: --repeat and --until-fail" xfail_repeated
root_t "--expect DIR" xfail_directory
t "--expect: missing" usage 'cannot read .*missing: No such file' --expect "$dir/missing"
t "--expect: empty" usage_expect '' 'expect holds no known failure'
t "--expect: truncated" usage_expect 'fix: x\nwhy: x\nfail: beha' 'expect:3: .*truncated'
t "--expect: a NUL byte" usage_expect 'fix: x\nwhy: \0\n' 'expect:2: a NUL byte'
t "--expect: an unknown key" usage_expect 'fix: x\nwhat: x\n' 'expect:2: "what" is no key'
t "--expect: a bad regular expression" usage_expect \
	'fix: x\nwhy: x\nfail: behave/first\nsays: a(\n' 'expect:4: .* is no regular expression'
t "--expect: without a fix" usage_expect '\nwhy: x\nfail: behave\n' 'expect:2: .*without "fix:"'
t "--expect: without a subtest" usage_expect 'fix: x\nwhy: x\n' 'expect:1: .*neither'
t "--expect: a name that matches nothing" usage_expect \
	'fix: x\nwhy: x\nfail: behave/first\nnorun: behave/frist\n' \
	'expect:4: no test matches "behave/frist"'
t "--expect: the lists of the project" stock_lists
root_t "--write-expect: a draft" write_expect
root_t "--write-expect: what is there stays" write_expect_keeps
root_t "what takes long is said to be slow, and where it is" slow
root_t "leaves a BPF map" left_map
root_t "keeps its network namespace" kept_netns
root_t "nothing is left at the end" want_none_left

finish harness
