#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of the reports of .output/selftest_progs: against golden files, and as their readers see them.
#
#   tests/report.sh [FILTER...]    all, or those whose names contain one of the words
#   tests/report.sh --golden       write tests/golden/ anew, to be looked at with git diff
#
# Needs root and BPF, as the subtests do. KTREE=DIR names a kernel tree, whose own parser then reads KTAP.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly SELF=$PWD/.output/selftest_progs GOLDEN=tests/golden
readonly formats=(human json jsonl ktap junit matrix matrix-md)
# shellcheck source=tests/lib.sh
source tests/lib.sh

[[ -x $SELF ]] || bail_out "$SELF is missing: make selftests"
((EUID == 0)) || bail_out "run it as root"
scratch report

# ---- Looking -------------------------------------------------------------------------------------

# want_python WHAT FILE...: the program on standard input is content with the files.
want_python() {
	python3 - "${@:2}" >"$dir/python" 2>&1 || problem "$1: $(tail -n 5 "$dir/python")"
}

# usage PATTERN OPTION...: it says what is wrong, in one line, and runs nothing.
usage() {
	local pattern=$1

	shift
	run "$SELF" "$@"
	want_status 64
	want_in "$dir/err" "$pattern"
	want_text 1 "$(wc -l <"$dir/err")" "lines on standard error"
	want_text '' "$(cat "$dir/out")" "standard output"
}

# ---- One run, in all formats ---------------------------------------------------------------------

# All verdicts, dimensions, a guard, a note, and text that no format takes as it is.
all_formats() {
	cat >"$dir/expect" <<-'EOF'
	fix: 123456789abc ("fails_bytes: Fix it")
	why: it <goes> wrong
	fail: misbehave/fails_bytes
	EOF
	run "$SELF" -a 'outcomes,behave,misbehave/skips,misbehave/fails*d,misbehave/fails_bytes,misbehave/notes' \
		--expect "$dir/expect" "$@" -o "human:$dir/human" -o "json:$dir/json" -o "jsonl:$dir/jsonl" \
		-o "ktap:$dir/ktap" -o "junit:$dir/junit" -o "matrix:$dir/matrix" -o "matrix-md:$dir/matrix-md"
}

main_run() {
	[[ -e $dir/main ]] && return
	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY="$dir/summary" all_formats
	want_status 1
	cp "$dir/err" "$dir/annotations"
	want_text '' "$(cat "$dir/out")" "standard output"
	touch "$dir/main"
}

# What differs from run to run, from kernel to kernel, and with each line that is added to a test.
normalized() {
	sed -E -e 's/time="[0-9.]+"/time="T"/; s/("duration_ms": ?)[0-9.]+/\10/g' \
		-e 's/(misbehave|outcomes)\.c:[0-9]+/\1.c:N/g; s/^(# kernel ).*/\1K/' \
		-e 's/("kernel": ?|name="kernel" value=|"machine": ?|name="machine" value=)"[^"]*"/\1"K"/' \
		-e 's|("command_line": ?)"[^"]*"|\1"C"|; s|(name="command_line" value=)"[^"]*"|\1"C"|' \
		-e 's/^(## )?Linux .*/\1Linux K/; s/\(Linux [^)]*\)/(Linux K)/; s/^(### test_progs, Linux ).*/\1K/' \
		-e 's/,line=[0-9]+/,line=N/' -e "s|$dir|DIR|g" -e 's/(no insert_unix_seqpacket) \([A-Z]+\)/\1 (E)/' "$1"
}

golden() {
	main_run
	normalized "$dir/$1" | diff "$GOLDEN/report.$1" - >"$dir/diff" || problem "$(cat "$dir/diff")"
}

write_golden() {
	local format

	mkdir -p "$GOLDEN"
	main_run
	for format in "${formats[@]}" annotations summary; do
		normalized "$dir/$format" >"$GOLDEN/report.$format"
	done
}

ktap_for_kernel() {
	if [[ ! -e ${KTREE:-}/tools/testing/kunit/kunit.py ]]; then
		why_skip='KTREE names no kernel tree'
		return
	fi
	main_run
	run python3 "$KTREE/tools/testing/kunit/kunit.py" parse "$dir/ktap"
	want_in "$dir/out" 'Ran 16 tests: passed: 12, failed: 2, skipped: 2$'
}

# KTAP's own rules: nested plans that hold, numbers from 1, no "#" but for directives.
ktap_rules() {
	main_run
	want_python "KTAP" "$dir/ktap" <<-'PYTHON'
	import re, sys
	lines = [l for l in open(sys.argv[1], encoding="latin-1").read().split("\n")[:-1]]
	assert lines[:2] == ["KTAP version 1", "1..3"], lines[:2]
	plan, seen, tests = None, 0, 0
	for l in lines[2:]:
	    if re.match(r"(  )?# ?", l) or l.startswith("  #"): continue
	    if l == "  KTAP version 1": assert plan is None; plan = 0; seen = 0; continue
	    m = re.fullmatch(r"  1\.\.(\d+)", l)
	    if m: plan = int(m[1]); continue
	    m = re.fullmatch(r"(  )?(ok|not ok) (\d+) - ([^#]+?)( # (SKIP|XFAIL) .*)?", l)
	    assert m, l
	    if m[1]: seen += 1; assert int(m[3]) == seen, l
	    else: tests += 1; assert int(m[3]) == tests and seen == plan, l; plan = None
	assert tests == 3 and plan is None
	PYTHON
}

junit_schema() {
	main_run
	run xmllint --noout --nonet --schema tests/junit.xsd "$dir/junit"
	want_status 0
	# The schema can say no.
	sed 's/ failures="[0-9]*"//' "$dir/junit" >"$dir/bad"
	run xmllint --noout --nonet --schema tests/junit.xsd "$dir/bad"
	((status)) || problem "a report without failures= is valid"
}

junit_says() {
	main_run
	want_python "JUnit" "$dir/junit" <<-'PYTHON'
	import sys, xml.etree.ElementTree as E
	root = E.parse(sys.argv[1]).getroot()
	cases = {c.get("classname") + "/" + c.get("name"): c for c in root.iter("testcase")}
	assert len(cases) == int(root.get("tests")) == 16, len(cases)
	assert len(list(root.iter("failure"))) == int(root.get("failures")) == 2
	assert "one and two" in cases["misbehave/fails_guarded"].find("failure").get("message")
	assert "guards 123456789abc" in cases["misbehave/fails_guarded"].find("failure").text
	assert cases["misbehave/fails_bytes"].find("skipped").get("message") == "known failure: it <goes> wrong"
	log = cases["outcomes/sockmap/sk_skb-ingress/udp4-udp4"].find("system-out").text
	assert "? <b>&amp;</b> ]]> \" ' ? ??? \u00e9 # SKIP\n# Subtest: none\n</script>\n" in log, log
	PYTHON
}

jsonl_says() {
	main_run
	want_python "JSON lines" "$dir/jsonl" "$dir/json" <<-'PYTHON'
	import json, sys
	events = [json.loads(l) for l in open(sys.argv[1])]
	doc = json.load(open(sys.argv[2]))
	assert [e["event"] for e in events] == ["begin"] + 16 * ["result"] + ["end"]
	begin, end = events[0], events[-1]
	assert begin["subtests"] == 16 and begin["tests"] == 3
	results = events[1:-1]
	subs = [dict(s, test=t["name"]) for t in doc["results"] for s in t["subtests"]]
	for event, sub in zip(results, subs):
	    assert sub.items() <= event.items(), (sub, event)
	for events in (begin, end):
	    for key, value in events.items():
	        assert key in ("event", "tests", "subtests") or doc[key] == value, key
	PYTHON
}

# Those that grow hold what has been; those that cannot are not there, not even from an earlier run.
killed() {
	local i

	echo old >"$dir/k.junit"
	"$SELF" -a behave,misbehave/sleeps -o "jsonl:$dir/k.jsonl" -o "ktap:$dir/k.ktap" \
		-o "junit:$dir/k.junit" >/dev/null 2>&1 &
	for ((i = 0; i < 200; i++)); do
		grep -q fifth "$dir/k.jsonl" 2>/dev/null && break
		sleep 0.05
	done
	kill -KILL $!
	wait $! 2>/dev/null
	want_python "JSON lines" "$dir/k.jsonl" <<-'PYTHON'
	import json, sys
	events = [json.loads(l) for l in open(sys.argv[1])]
	assert [e.get("name") for e in events] == [None, "first", "second", "third part", "fourth part", "fifth"]
	PYTHON
	want_in "$dir/k.ktap" '^ok 1 - behave$'
	want_in "$dir/k.ktap" '^1\.\.2$'
	[[ ! -e $dir/k.junit ]] || problem "there is a JUnit report: $(head -n 1 "$dir/k.junit")"
}

# What has not run is missing in KTAP, where the plan shows it, and its test has not passed.
stopped() {
	run "$SELF" -a behave,misbehave/fails,misbehave/passes --until-fail --shuffle=1 --repeat 1 \
		-o "ktap:$dir/s.ktap" -o "junit:$dir/s.junit"
	want_status 1
	want_in "$dir/s.ktap" '^# stopped: [1-9][0-9]* subtests have not run'
	run xmllint --noout --nonet --schema tests/junit.xsd "$dir/s.junit"
	want_status 0
	want_in "$dir/s.junit" 'it has not run'
}

# Out of order and twice: KTAP is in the order of the plan all the same, each subtest once.
ordered() {
	main_run
	mkdir "$dir/again"
	cp "$dir/ktap" "$dir/again/"
	all_formats --shuffle=7 --repeat 2 -j3
	diff <(normalized "$dir/again/ktap") <(normalized "$dir/ktap") >"$dir/diff" ||
		problem "$(cat "$dir/diff")"
	want_text 32 "$(grep -c '"event":"result"' "$dir/jsonl")" "results"
	rm "$dir/main"
}

# All cells and nothing else run; what differs between two of one cell is shown.
matrix() {
	run "$SELF" --matrix -J "$dir/m.json"
	want_status 1
	want_in "$dir/out" '^Linux '
	want_in "$dir/out" '^  tcp4 +delivered  delivered/dropped$'
	want_in "$dir/out" '^  outcomes/sockmap/sk_skb-ingress/udp4-udp4: .* 100% &amp; <outcome>'
	want_python "what runs" "$dir/m.json" <<-'PYTHON'
	import json, sys
	doc = json.load(open(sys.argv[1]))
	assert [t["name"] for t in doc["results"]] == ["outcomes"], doc["results"]
	assert len(doc["results"][0]["subtests"]) == 7
	PYTHON
	run "$SELF" --matrix=md -a 'outcomes/*egress*'
	want_status 0
	want_in "$dir/out" '^\| tcp4 +\| EACCES \|$'
	want_text 1 "$(grep -c '^###' "$dir/out")" "grids"
}

matrix_known() {
	printf '%s\n' 'fix: 123456789abc ("outcomes: Fix it")' 'why: it goes wrong' \
		'fail: outcomes/sockmap/sk_skb-ingress/udp4-udp4' >"$dir/m.expect"
	run "$SELF" --matrix --expect "$dir/m.expect"
	want_status 0
	want_in "$dir/out" '^  udp4 +[.] +failed! +-$'
	want_in "$dir/out" '^  123456789abc .*outcomes: Fix it'
}

no_matrix() {
	run "$SELF" --matrix -t behave
	want_status 2
	want_in "$dir/err" 'belongs to the redirect matrix'
}

# Nobody asked for them, or not for the summary, or it has something in it.
github() {
	local failing=(-a "behave,misbehave/fails" -o human:/dev/null)

	GITHUB_ACTIONS=false GITHUB_STEP_SUMMARY="$dir/g.md" run "$SELF" "${failing[@]}"
	want_text '' "$(cat "$dir/err")" "annotations, not in GitHub"
	[[ ! -e $dir/g.md ]] || problem "there is a summary, not in GitHub"
	GITHUB_ACTIONS=true run "$SELF" "${failing[@]}"
	want_text 1 "$(grep -c '^::error ' "$dir/err")" "annotations"
	echo before >"$dir/g.md"
	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY="$dir/g.md" run "$SELF" -a behave
	want_text '' "$(cat "$dir/err")" "annotations, where all is well"
	want_text before "$(head -n 1 "$dir/g.md")" "first line of the summary"
	want_in "$dir/g.md" '^\| 5 \| 0 \| 0 \| 0 \| 0 \|$'
	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=/nonexistent/g.md run "$SELF" -a behave
	want_status 64
	want_in "$dir/err" 'cannot write the summary to /nonexistent/g.md'
	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=/dev/full run "$SELF" -a behave
	want_status 3
	want_in "$dir/err" 'cannot write the summary to /dev/full'
}

# GitHub shows ten of a step; the last one says how many there are besides.
many_annotations() {
	local failed

	GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY="$dir/many.md" run "$SELF" -j4 -w 2 -a misbehave \
		--require insert_unix_seqpacket -o human:/dev/null
	failed=$(sed -n 's/^| [0-9]* | \([0-9]*\) | .*/\1/p' "$dir/many.md")
	want_text 10 "$(grep -c '^::error ' "$dir/err")" "annotations"
	want_in "$dir/err" '^::error title=test_progs .*::Required: no insert_unix_seqpacket'
	want_text "::and $((failed - 8)) failures more" "$(grep -o '::and .*' "$dir/err")" "the last one"
	want_text "$failed" "$(grep -c '^<details>' "$dir/many.md")" "failures in the summary"
}

on_stdout() {
	run "$SELF" -a behave -o "$1"
	want_status 0
	want_text "$2" "$(head -n 1 "$dir/out" | cut -c1-${#2})" "first line"
	grep -q '^#1/1 ' "$dir/out" && problem "the report for people is there as well"
}

# page_faults OPTION...: of the runner and its subtests; where memory is inherited, a fault is a copy.
page_faults() {
	python3 - ./test_progs -t sockmap_verdict "$@" <<-'PYTHON'
	import resource, subprocess, sys
	subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
	print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt)
	PYTHON
}

# What is written again and again leaves freed memory behind, which subtests once spent most time with.
json_is_cheap() {
	local without with

	without=$(page_faults) with=$(page_faults -J "$dir/cheap.json")
	((without > 0 && with < 2 * without)) || problem "page faults: $with with -J, $without without"
}

full() {
	run "$SELF" -a behave -o "$1:/dev/full"
	want_status 3
	want_in "$dir/err" '^cannot write the results to /dev/full: No space left'
}

keeps_old() {
	echo old >"$dir/old"
	run "$SELF" -a behave -o "$1:$dir/old" -o human:/nonexistent/file
	want_status 64
	want_text old "$(cat "$dir/old")" "the report of an earlier run"
}

if [[ ${1:-} == --golden ]]; then
	filter=()
	write_golden
	exit
fi
filter=("$@")

for format in "${formats[@]}"; do
	t "-o $format: as in tests/golden" golden "$format"
	t "-o $format: a full device" full "$format"
	t "-o $format: an earlier report survives a usage error" keeps_old "$format"
done
t "GitHub: annotations" golden annotations
t "GitHub: the summary of the step" golden summary
t "GitHub: only there, and where it can be written" github
t "GitHub: no more annotations than it shows" many_annotations
t "-o ktap: plans, numbers and names" ktap_rules
t "-o ktap: the kernel's parser reads it" ktap_for_kernel
t "-o junit: valid" junit_schema
t "-o junit: verdicts, reasons and odd text" junit_says
t "-o jsonl: events with the keys of the JSON document" jsonl_says
t "a killed runner leaves what is true" killed
t "a run that stops" stopped
t "a shuffled and repeated run" ordered
t "-o ktap: instead of the report for people" on_stdout ktap 'KTAP version 1'
t "-o junit: instead of the report for people" on_stdout junit '<?xml'
t "-o jsonl: instead of the report for people" on_stdout jsonl '{"event":"begin"'
t "-o json: instead of the report for people" on_stdout json '{'
t "-J: costs the subtests next to nothing" json_is_cheap
t "-o html: instead of the report for people" on_stdout html '<!DOCTYPE html>'
t "-o html: a full device" full html
t "-o html: an earlier report survives a usage error" keeps_old html
t "--matrix: what the cells say" matrix
t "--matrix: known failures" matrix_known
t "--matrix: nothing of it is selected" no_matrix
t "--matrix: no such style" usage 'matrix=md, not' --matrix=html
t "--matrix: two on standard output" usage 'standard output cannot hold two' --matrix --matrix=md
t "-o: no such format" usage 'no format "nope"' -o nope
t "-o: no format" usage 'no format ""' -o :file
t "-o: no file" usage 'which file' -o ktap:
t "-o: two on standard output" usage 'standard output cannot hold two' -o ktap -o junit
t "-o: two on standard output, -J" usage 'standard output cannot hold two' -o ktap -J -
t "-o: two in a file" usage 'cannot hold two' -o "ktap:$dir/x" -o "junit:$dir/x"
t "-o: the same twice" usage 'one ktap report is enough' -o ktap -o "ktap:$dir/x"
t "-o: cannot be written" usage 'cannot write the results to /nonexistent/x' -o ktap:/nonexistent/x

finish reports
