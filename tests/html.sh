#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of the page for a browser: what it is made of, and in Chromium, what it shows. As root.
#
#   tests/html.sh [FILTER...]    all, or those whose names contain one of the words
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly SELF=$PWD/.output/selftest_progs
# shellcheck source=tests/lib.sh
source tests/lib.sh

[[ -x $SELF ]] || bail_out "$SELF is missing: make selftests"
((EUID == 0)) || bail_out "run it as root"
scratch html

# ---- Pages ---------------------------------------------------------------------------------------

# Two kernels that differ: one knows of a failure. A third has crashed.
make_page() {
	local subtests='outcomes,behave,misbehave/skips,misbehave/fails_bytes,misbehave/fails_guarded'

	[[ -e $dir/page.html ]] && return
	cat >"$dir/expect" <<-'EXPECT'
	fix: 123456789abc ("fails_bytes: Fix it")
	why: it <goes> wrong
	fail: misbehave/fails_bytes
	EXPECT
	"$SELF" -a "$subtests" -J "$dir/one.json" -o "html:$dir/single.html" >/dev/null 2>&1
	"$SELF" -a "$subtests" --expect "$dir/expect" -J "$dir/two.json" >/dev/null 2>&1
	mkdir -p "$dir/third"
	echo '{"verdict": "CRASH", "reason": "BUG: it <was> so", "running": "misbehave/x", "release": "9.9"}' \
		>"$dir/third/verdict.json"
	printf 'BUG: it was so\n </script><script>throw 1</script>\n' >"$dir/third/splat.txt"
	"$SELF" --report "$dir/page.html" "$dir/one.json" "$dir/two.json" "$dir/third" ||
		bail_out "--report does not make a page"
}

# What is in the page is what is in the files, but for what says nothing.
embedded() {
	make_page
	python3 - "$dir/page.html" "$dir/one.json" "$dir/two.json" >"$dir/out" 2>&1 <<-'PYTHON' || problem "$(tail -n 5 "$dir/out")"
	import html.parser, json, sys
	class Page(html.parser.HTMLParser):
	    scripts, inside = [], False
	    def handle_starttag(self, tag, attrs):
	        if tag == "script": self.scripts.append([dict(attrs).get("type"), ""]); self.inside = True
	        for key, value in attrs:
	            assert key not in ("src", "srcset", "action") and not (key == "href" and value), (tag, key)
	        assert tag not in ("link", "img", "iframe", "object"), tag
	    def handle_endtag(self, tag): self.inside = self.inside and tag != "script"
	    def handle_data(self, data):
	        if self.inside: self.scripts[-1][1] += data
	page = Page()
	page.feed(open(sys.argv[1], encoding="utf-8").read())
	assert [s[0] for s in page.scripts] == ["application/json", None], [s[0] for s in page.scripts]
	runs = json.loads(page.scripts[0][1])
	assert len(runs) == 3 and "run" not in runs[2] and "</script>" in runs[2]["log"], runs[2]
	for run, path in zip(runs, sys.argv[2:]):
	    want = json.load(open(path))
	    for test in want["results"]:
	        test["subtests"] = [{k: v for k, v in s.items() if v is not False and v not in ("", [], {})}
	                            for s in test["subtests"]]
	    assert run["run"] == want, path
	    assert any("</script>" in s.get("message", "") for t in want["results"] for s in t["subtests"])
	PYTHON
}

# refuses PATTERN ARGUMENT...: one line on stderr, and no page.
refuses() {
	local pattern=$1

	shift
	make_page
	rm -f "$dir/none.html"
	run "$SELF" --report "$@"
	want_status 64
	want_in "$dir/err" "$pattern"
	want_text 1 "$(wc -l <"$dir/err")" "lines on standard error"
	[[ ! -e $dir/none.html ]] || problem "there is a page"
}

bad_files() {
	mkdir -p "$dir/empty" "$dir/half"
	echo '{"results": [' >"$dir/cut.json"
	echo '{"kernel": "1", "results": [{"name": "x", "subtests": [{"name": "y"}]}]}' >"$dir/other.json"
	echo '{"verdict": "PASS"}' >"$dir/half/verdict.json"
	cp "$dir/cut.json" "$dir/half/results.json"
}

# ---- In a browser --------------------------------------------------------------------------------

# browse FILE[#HASH] [OPTION...]: what the browser has made of it, in $dir/dom and $dir/page.png. It may
# not complain.
browse() {
	run chromium --headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run \
		--user-data-dir="$dir/profile" --window-size=1400,900 --virtual-time-budget=5000 \
		--enable-logging=stderr --dump-dom --screenshot="$dir/page.png" "${@:2}" "file://$1"
	want_status 0
	cp "$dir/out" "$dir/dom"
	complained && problem "the console: $(grep -m 3 CONSOLE "$dir/err")"
	return 0
}

complained() {
	grep -q 'CONSOLE' "$dir/err" || grep -q '<html[^>]* data-error=' "$dir/dom"
}

# want_dom WHAT <<PYTHON: the program is content with the elements. all(tag, class) has the text of
# those that match, in the order of the page.
want_dom() {
	local program

	program=$(cat)
	python3 - "$dir/dom" >"$dir/python" 2>&1 <<-PYTHON || problem "$1: $(tail -n 3 "$dir/python")"
	import html.parser, sys
	class Page(html.parser.HTMLParser):
	    VOID = {"meta", "input", "wbr", "br"}
	    def __init__(self):
	        super().__init__(); self.open = []; self.elements = []
	    def handle_starttag(self, tag, attrs):
	        e = [tag, dict(attrs), ""]; self.elements.append(e)
	        if tag not in self.VOID: self.open.append(e)
	    def handle_endtag(self, tag):
	        while self.open and self.open.pop()[0] != tag: pass
	    def handle_data(self, data):
	        for e in self.open: e[2] += data
	page = Page()
	page.feed(open(sys.argv[1], encoding="utf-8").read())
	def elements(tag, cls=None):
	    return [e for e in page.elements if e[0] == tag and (cls is None or cls in (e[1].get("class") or "").split())]
	def all(tag, cls=None):
	    return [e[2] for e in elements(tag, cls)]
	def ids():
	    return [e[1]["data-id"] for e in elements("tr", "sub")]
	$program
	PYTHON
}

# corner FILE: the color of the first pixel of a PNG, in hex.
corner() {
	python3 - "$1" <<-'PYTHON'
	import struct, sys, zlib
	png, at, data = open(sys.argv[1], "rb").read(), 8, b""
	while at < len(png):
	    size, kind = struct.unpack(">I4s", png[at:at + 8])
	    data += png[at + 8:at + 8 + size] if kind == b"IDAT" else b""
	    at += 12 + size
	print(zlib.decompress(data)[1:4].hex())
	PYTHON
}

# At first: what failed, and no more than the names of the rest. The worst test is first.
grid() {
	make_page
	browse "$dir/page.html" --blink-settings=preferredColorScheme=1
	want_text ffffff "$(corner "$dir/page.png")" "the background of the light scheme"
	want_dom "the grid" <<-'PYTHON'
	assert all("th")[0] == "subtest" and len(elements("thead")) == 1
	heads = all("th")[1:4]
	assert heads[0].endswith("one.json") or heads[0].endswith("#1"), heads
	assert heads[2] == "9.9thirdCRASH", heads
	suites = all("tr", "suite")
	assert len(suites) == 3 and "behave" in suites[2] and "misbehave" not in suites[2], suites
	assert sorted(ids()) == ["misbehave/fails_bytes", "misbehave/fails_guarded", "outcomes/sockmap/sk_skb-ingress/udp4-udp4"], ids()
	bytes = [e for e in elements("tr", "sub") if e[1]["data-id"] == "misbehave/fails_bytes"][0]
	assert bytes[2] == "fails_bytesfailxfail-", bytes
	assert "BUG: it <was> so" in all("section", "about")[0] and "<script>throw 1" in all("section", "about")[0]
	assert not elements("tr", "detail")
	PYTHON
}

single() {
	make_page
	browse "$dir/single.html" --blink-settings=preferredColorScheme=0
	want_text 12161b "$(corner "$dir/page.png")" "the background of the dark scheme"
	want_dom "one kernel" <<-'PYTHON'
	assert len(all("th")) > 2 and len(elements("thead")[0:]) == 1
	assert len(elements("tr", "suite")) == 3 and "misbehave/fails_bytes" in ids()
	PYTHON
}

filtered() {
	make_page
	browse "$dir/page.html#?show=xfail"
	want_dom "what is known to fail" <<-PYTHON
	assert ids() == ["misbehave/fails_bytes"], ids()
	PYTHON
}

deep_link() {
	make_page
	browse "$dir/page.html#outcomes/sockmap/sk_skb-ingress/udp4-udp4"
	want_dom "the subtest of the link" <<-'PYTHON'
	detail = all("tr", "detail")
	assert len(detail) == 1 and len(elements("tr", "open")) == 1, detail
	for part in ("100%% &amp; <outcome>", "<b>&amp;</b> ]]>", "# Subtest: none\n</script>", "hook=sk_skb",
	             "./test_progs -v -a 'outcomes/sockmap/sk_skb-ingress/udp4-udp4'"):
	    assert part.replace("%%", "%") in detail[0] or part in detail[0], part
	assert not elements("b")
	PYTHON
}

matrix() {
	make_page
	browse "$dir/page.html#?view=matrix"
	want_dom "the matrix" <<-'PYTHON'
	assert all("h2") == ["sk_msg, ingress", "sk_msg, egress", "sk_skb, ingress"], all("h2")
	assert len(elements("figure")) == 6
	cells = {(e[1]["title"].split(":")[0], c) for e in elements("td") if "title" in e[1] for c in [e[1].get("class")]}
	for want in (("tcp4 → udp4", "o-mixed"), ("tcp4 → udp4", "o-error"), ("udp4 → udp4", "o-bad"),
	             ("tcp4 → tcp4", "o-local"), ("tcp4 → tcp4", "o-delivered"), ("udp4 → unix_seqpacket", "o-skip")):
	    assert want in cells, (want, cells)
	PYTHON
}

# Three paths, on a logarithmic scale: a hundred times as long is as far again.
latency() {
	python3 - >"$dir/latency.json" <<-'PYTHON'
	import json
	path = lambda out, ns: {"hook": "sk_skb", "in": "tcp4", "out": out, "direction": "egress", "ns": ns}
	print(json.dumps({"kernel": "1.2", "results": [{"name": "t", "subtests": [{"name": "s", "verdict": "pass",
	    "dimensions": {"hook": "sk_msg", "direction": "egress", "in": "tcp4", "out": "tcp4"},
	    "bench": {"sockmap": {"bytes_per_s": 2e9, "p50_ns": 1, "p99_ns": 2}, "plain": {"bytes_per_s": 1e9, "p50_ns": 1, "p99_ns": 2}}, "wakeups": [path("tcp4", 1000), path("udp4", 100000), path("unix", 10000000)]}]}]}))
	PYTHON
	"$SELF" --report "$dir/latency.html" "$dir/latency.json" || problem "--report fails"
	browse "$dir/latency.html#?view=latency"
	want_dom "latency" <<-'PYTHON'
	assert all("h2") == ["sk_skb, egress", "throughput, with sockmap and without"], all("h2")
	texts = all("text")
	for want in ("tcp4 → tcp4", "tcp4 → udp4", "1.00 µs", "100 µs", "10.0 ms"):
	    assert want in texts, (want, texts)
	bars = [float(e[1]["width"]) for e in elements("rect") if e[1].get("height") == "12"]
	assert len(bars) == 2 and bars[0] == 2 * bars[1], bars
	assert "redirect matrix" not in all("button"), all("button")
	x = [float(e[1]["x"]) for e in elements("rect") if e[1].get("width") == "3"]
	assert len(x) == 3 and abs((x[2] - x[1]) - (x[1] - x[0])) < 0.01 and x[1] - x[0] > 100, x
	PYTHON
}

# On a telephone nothing is to be found outside of the window, also when a subtest is open.
narrow() {
	local hash

	make_page
	cat >"$dir/width.js" <<-'JS'
	const page = document.documentElement;
	page.dataset.outside = page.scrollWidth - page.clientWidth;
	JS
	sed "/^follow();$/r $dir/width.js" "$dir/page.html" >"$dir/narrow.html"
	for hash in '' '#misbehave/fails_bytes' '#?view=matrix'; do
		browse "$dir/narrow.html$hash" --window-size=400,900
		want_text 'data-outside="0"' "$(grep -om 1 'data-outside="[0-9]*"' "$dir/dom")" "page.html$hash"
	done
}

# What people do: a script in the page presses keys and clicks, and writes down what that has done.
hands() {
	make_page
	cat >"$dir/hands.js" <<-'JS'
	const log = [], say = (text) => log.push(text), $ = (s) => document.querySelector(s);
	const press = (key) => (document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
	press("/"); say("search " + (document.activeElement.id === "q"));
	$("#q").value = "fails_bytes"; $("#q").dispatchEvent(new Event("input"));
	say("rows " + document.querySelectorAll("tr.sub").length + " hash " + location.hash);
	press("Escape");
	press("ArrowDown"); press("ArrowDown"); say("at " + document.activeElement.textContent);
	press("ArrowRight"); press("ArrowRight"); say("at " + document.activeElement.textContent); press("Enter");
	say("detail " + $("tr.detail").textContent.includes("it <goes> wrong") + " hash " + location.hash.includes("misbehave/fails_bytes"));
	press("Escape"); say("closed " + ($("tr.detail") === null));
	$("#q").value = ""; $("#q").dispatchEvent(new Event("input"));
	const before = document.querySelectorAll("tr.sub").length;
	$("tr.suite button").click(); say("more " + (document.querySelectorAll("tr.sub").length > before));
	const rows = () => [...document.querySelectorAll("tr.sub")].map((r) => r.dataset.id).join();
	const go = (hash) => { history.replaceState(null, "", hash); follow(); };
	go("#?q=GOT%20want%20payload"); say("words " + rows());
	go("#?view=matrix"); $("#q").value = "skips"; $("#q").dispatchEvent(new Event("input")); say("from the matrix " + rows());
	go("#?differs=1"); say("differs " + rows());
	go("#behave/third%20part"); say("blank " + $("tr.detail").textContent.includes("'behave/third part'"));
	go("#100%"); say("typed " + $("p.broken").textContent.includes('"100%"'));
	go("#no/such"); say("none " + $("p.broken").textContent);
	document.body.dataset.hands = log.join("; ");
	JS
	sed "/^follow();$/r $dir/hands.js" "$dir/page.html" >"$dir/hands.html"
	browse "$dir/hands.html"
	want_in "$dir/dom" 'data-hands="search true; rows 1 hash #\?q=fails_bytes; at fails_bytes; at xfail; detail true hash true; closed true; more true; words misbehave/fails_bytes; from the matrix misbehave/skips; differs misbehave/fails_bytes; blank true; typed true; none There is no subtest &quot;no/such&quot; here."'
}

# A page that is broken is seen to be.
seen_broken() {
	make_page
	sed 's/^follow();$/follow(); nothing.there();/' "$dir/page.html" >"$dir/broken.html"
	browse "$dir/broken.html"
	complained || problem "a script that fails is not seen"
	problems=()
	want_in "$dir/dom" 'This page is broken: .*nothing is not defined'
}

# As many rows as there are, eight times: what is closed costs nothing, and what is open has an end.
many() {
	local i files=()

	./test_progs --list | sed -n 's|^#[0-9]*/[0-9]* *||p' >"$dir/names"
	python3 - "$dir" <<-'PYTHON'
	import json, sys
	tests = {}
	for line in open(sys.argv[1] + "/names"):
	    test, name = line.rstrip("\n").split("/", 1)
	    tests.setdefault(test, []).append({"name": name, "verdict": "pass", "checks": 1, "duration_ms": 1.0})
	for i in range(8):
	    json.dump({"kernel": "5.%d" % i, "results": [{"name": t, "subtests": s} for t, s in tests.items()]},
	              open("%s/many%d.json" % (sys.argv[1], i), "w"))
	PYTHON
	for i in {0..7}; do
		files+=("$dir/many$i.json")
	done
	"$SELF" --report "$dir/many.html" "${files[@]}" || problem "--report fails"
	browse "$dir/many.html#?show=pass"
	want_dom "the first view of many" <<-PYTHON
	assert all("th")[0] == "$(wc -l <"$dir/names") subtests" and not ids(), (all("th")[0], len(ids()))
	assert len(elements("tr", "suite")) == $(cut -d/ -f1 "$dir/names" | sort -u | wc -l)
	PYTHON
}

filter=("$@")

t "--report: the page holds the files, and asks for nothing else" embedded
make_page && bad_files
t "--report: a file that is not there" refuses '/nowhere.json: No such file' "$dir/none.html" "$dir/one.json" "$dir/nowhere.json"
t "--report: a file that ends too early" refuses 'cut.json: line 2 is not JSON' "$dir/none.html" "$dir/cut.json"
t "--report: a file of something else" refuses 'other.json: these are not results that -J wrote' "$dir/none.html" "$dir/other.json"
t "--report: a directory of something else" refuses 'empty: there is no verdict.json' "$dir/none.html" "$dir/empty"
t "--report: a directory with half a file" refuses 'half/results.json: line 2 is not JSON' "$dir/none.html" "$dir/half"
t "--report: no files" refuses 'of which files' "$dir/none.html"
t "--report: nowhere to write" refuses 'cannot write the results to /nowhere/x' /nowhere/x "$dir/one.json"
if command -v chromium >/dev/null; then
	t "browser: the grid of three kernels, in light" grid
	t "browser: one kernel, in dark" single
	t "browser: a link to a filter" filtered
	t "browser: a link to a subtest" deep_link
	t "browser: the redirect matrix" matrix
	t "browser: latency" latency
	t "browser: a narrow window" narrow
	t "browser: keys, clicks and other filters" hands
	t "browser: thousands of rows" many
	t "browser: a broken page is seen" seen_broken
else
	echo "# NO BROWSER: nobody has looked at the page. apt-get install chromium, or scripts/deps.sh browser" >&2
	skip "browser: all that needs one" "chromium is not installed (scripts/deps.sh browser)"
fi
finish html
