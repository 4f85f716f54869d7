#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What a trace shows on a kernel without a known bug: the whole trail of each delivery, and that it was
# delivered, by fentry and by kprobes.
#
#   tests/trace.sh [FILTER...]    all, or those whose names contain one of the words
#
# On this machine's kernel, if it can be traced, and on KERNEL (what -k takes; debian:6.12) in QEMU.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly KERNEL=${KERNEL:-debian:6.12}
# shellcheck source=tests/lib.sh
source tests/lib.sh
filter=("$@")

[[ -x ./test_progs ]] || bail_out "./test_progs is missing: make"
scratch trace

# ---- What has to be there ------------------------------------------------------------------------

readonly MSG_KINDS=(tcp4 tcp6)
readonly SKB_KINDS=(tcp4 udp4 udp6 unix_stream unix_dgram)

# The events of a path, in their order.
declare -rA TRAIL=(
	[sk_msg-ingress]='send@in.mapped verdict@in.mapped message_redirected@out.mapped data_ready@out.mapped
		poll@out.mapped reader_awake@out.mapped data_taken@out.mapped read@out.mapped'
	[sk_msg-egress]='send@in.mapped verdict@in.mapped message_redirected@out.mapped data_ready@out.peer
		message_sent@out.mapped poll@out.peer reader_awake@out.peer read@out.peer'
	[sk_skb-ingress]='send@in.peer data_arrives@in.mapped verdict@in.mapped work_queued@in.mapped
		worker_begins@out.mapped data_queued@out.mapped data_ready@out.mapped worker_ends@out.mapped
		poll@out.mapped reader_awake@out.mapped data_taken@out.mapped read@out.mapped'
	[sk_skb-egress]='send@in.peer data_arrives@in.mapped verdict@in.mapped work_queued@in.mapped
		worker_begins@out.mapped data_ready@out.peer data_sent@out.mapped worker_ends@out.mapped
		poll@out.peer reader_awake@out.peer read@out.peer'
)

# The kinds of sockets that a hook has.
kinds_of() {
	case $1 in
	sk_msg-*) echo "${MSG_KINDS[@]}" ;;
	sk_skb-ingress) echo "${SKB_KINDS[@]}" ;;
	sk_skb-egress) echo "${SKB_KINDS[@]}" vsock_stream ;;
	esac
}

# The names of the subtests, for -a.
subtests() {
	local path kind

	for path in "${!TRAIL[@]}"; do
		for kind in $(kinds_of "$path"); do
			printf ',sockmap_redir/sockmap/%s/%s-%s' "$path" "$kind" "$kind"
		done
	done
}

# ---- A run for each place and way ----------------------------------------------------------------

# traced PLACE WAY: the results are in $dir/PLACE-WAY.
traced() {
	local results=$dir/$1-$2 options=() names

	[[ ! -e $results.out ]] || return 0
	[[ $2 != kprobes ]] || options=(--no-btf)
	names=$(subtests)
	run_in_"$1" -a "${names#,}" --trace "${options[@]}" -J "$results" >"$results.out" 2>&1 </dev/null
}

run_in_QEMU() {
	./vmtest.sh -k "$KERNEL" -o "$dir/vm" -- "$@"
}

run_in_place() {
	./test_progs "$@"
}

# trail PLACE WAY PATH KIND: the subtest was delivered, and all steps on its way are there.
trail() {
	traced "$1" "$2"
	python3 - "$dir/$1-$2" "sockmap/$3/$4-$4" "$2" "${TRAIL[$3]}" >"$dir/python" 2>&1 <<-'PYTHON'
	import json, sys
	path, name, way, trail = sys.argv[1:]
	s = [s for t in json.load(open(path))["results"] for s in t["subtests"] if s["name"] == name][0]
	if s["verdict"] == "skip" or "cannot be traced" in s["timeline_gaps"]:
	    print(s.get("skip_reason") or s["timeline_gaps"])
	    sys.exit(2)
	assert s["verdict"] == "pass", s["verdict"]
	assert s["conclusion"].startswith("delivered: the reader got data "), s["conclusion"]
	assert "fault" not in s["conclusion"], s["conclusion"]
	assert "by this kernel" not in s["timeline_gaps"], s["timeline_gaps"]
	assert ("without BTF" in s["timeline_gaps"]) == (way == "kprobes"), s["timeline_gaps"]
	events = iter("%s@%s" % (e["event"].replace(" ", "_"), e["socket"]) for e in s["timeline"])
	for step in trail.split():
	    assert step in events, "%s is missing, or too early" % step
	PYTHON
	case $? in
	0) ;;
	2) skip_case "$(tail -n 1 "$dir/python")" ;;
	*) problem "$(tail -n 1 "$dir/python") $(tail -n 1 "$dir/$1-$2.out")" ;;
	esac
}

for place in place QEMU; do
	for way in fentry kprobes; do
		for path in sk_msg-ingress sk_msg-egress sk_skb-ingress sk_skb-egress; do
			for kind in $(kinds_of "$path"); do
				t "in $place, by $way: $path, $kind" trail "$place" "$way" "$path" "$kind"
			done
		done
	done
done

finish trace
