# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# One step of `git bisect run`: what a verdict says about a commit. git takes 0 for good, 1 for bad,
# 125 for "cannot be tested", and stops at 128 and above. docs/bisecting.md is the guide.

readonly GOOD=0 BAD=1 UNKNOWN=125 ABORT=128

# ---- What a verdict means ------------------------------------------------------------------------

# Sets mark and because from code and fact.
judge_commit() {
	because=''
	case $code in
	"$PASS") mark=$GOOD ;;
	"$FAIL" | "$CRASH" | "$HANG") mark=$BAD ;;
	"$SPLAT") mark=$GOOD because="a kernel splat, which does not count without --expect splat" ;;
	"$BOOTFAIL" | "$UNTESTABLE" | "$SKIP") mark=$UNKNOWN ;;
	"$TIMEOUT") mark=$UNKNOWN because="out of time while still making progress: no evidence" ;;
	"$INTERRUPTED") mark=$INTERRUPTED ;;
	*) mark=$ABORT ;;
	esac
	[[ ! $expect_class ]] || judge_by_class
	((mark != BAD)) || [[ ! $match ]] || judge_by_text
	[[ ! $invert ]] || case $mark in
	"$GOOD") mark=$BAD ;;
	"$BAD") mark=$GOOD ;;
	esac
}

# One class of failure is looked for: any other one says nothing about it. But whoever looks for a
# kernel that does not boot has seen enough once it does.
judge_by_class() {
	local wanted

	case $expect_class in
	fail) wanted=$FAIL ;;
	crash) wanted=$CRASH ;;
	hang) wanted=$HANG ;;
	splat) wanted=$SPLAT ;;
	boot) wanted=$BOOTFAIL ;;
	esac
	((mark < ABORT)) || return 0
	if ((code == wanted)) || [[ $expect_class == splat && ${fact[splat]-} ]]; then
		mark=$BAD because=''
	elif [[ $expect_class == boot && ${fact[phase]-} =~ ^(tests|finished)$ ]]; then
		mark=$GOOD because="it boots"
	elif ((mark == BAD)); then
		mark=$UNKNOWN because="not the failure that is looked for (--expect $expect_class)"
	fi
}

# What failed, in words: no line of what passed.
failure_text() {
	printf '%s\n' "${fact[reason]-}" "${fact[splat]-}"
	grep -avE ':(OK|SKIP|XFAIL)\>|^Summary:' "$out/test.log" 2>/dev/null
	cat "$out/splat.txt" 2>/dev/null
}

judge_by_text() {
	grep -aqE -e "$match" < <(failure_text) && return
	mark=$UNKNOWN because="not the failure that is looked for: nothing matches \"$match\""
}

mark_name() {
	case $1 in
	"$GOOD") echo good ;;
	"$BAD") echo bad ;;
	"$UNKNOWN") echo skip ;;
	*) echo abort ;;
	esac
}

# ---- A session -----------------------------------------------------------------------------------

git_path() {
	git -C "$tree_arg" rev-parse --path-format=absolute --git-path "$1" 2>/dev/null
}

# Identifies one `git bisect start`; nothing without one.
session_id() {
	local start

	start=$(git_path BISECT_START) && [[ -f $start ]] && stat -c '%n %i %Y' "$start"
}

# What must be the same in every step is put aside at the first: the tests, and the configuration
# that the kernels are built from. A new session forgets the old one's verdicts.
enter_session() {
	local id

	mkdir -p "$out" || die INFRA "cannot create $out"
	out=$(cd "$out" && pwd -P)
	id=$(session_id) || id=''
	if [[ ! $id || $id != "$(cat "$out/session" 2>/dev/null)" ]]; then
		rm -rf "$out/verdicts" "$out/base.config" "$out/frozen"
		[[ ! -f $out/bisect.log ]] || mv -f "$out/bisect.log" "$out/bisect.log.old"
		if ! mkdir "$out/frozen" || ! cp -L "$bin" "$out/frozen/test_progs"; then
			die INFRA "cannot write to $out"
		fi
		[[ ! -f $tree_arg/.config ]] || cp "$tree_arg/.config" "$out/base.config"
		printf '%s\n' "$id" >"$out/session"
	fi
	cmp -s "$bin" "$out/frozen/test_progs" ||
		say "note: $bin has changed since this bisect began; using what it was then"
	bin=$out/frozen/test_progs
	[[ $base_config || ! -f $out/base.config ]] || base_config=$out/base.config
	# Without a session nothing tells how long a verdict would stay true.
	[[ ! $id ]] || verdict_cache=$out/verdicts
}

# The harness must not change, or vanish, when git checks out another commit.
refuse_own_tree() {
	local top

	top=$(git -C "$tree_arg" rev-parse --show-toplevel 2>/dev/null) || return 0
	[[ $HERE/ != "$top"/* || ! $(git -C "$top" ls-files -- "$HERE/vmtest.sh") ]] ||
		die USAGE "$HERE is part of the tree that is bisected: copy it elsewhere and run the copy"
}

commit_name() {
	git -C "$tree_arg" rev-parse --short=12 HEAD 2>/dev/null || basename -- "$tree_arg"
}

log_step() {
	local line

	printf -v line '%s %s %s %s s%s' "$(commit_name)" "$(verdict_name "$code")" "$(mark_name "$mark")" \
		"${fact[seconds]:-0}" "${because:+ ($because)}${fact[reason]:+ ${fact[reason]}}"
	printf '%s\n' "$line" >>"$out/bisect.log" || die INFRA "cannot write to $out"
	say "bisect: $line"
}

# Many commits that cannot be tested make for an answer of many commits.
warn_of_skips() {
	local all skips

	all=$(wc -l <"$out/bisect.log")
	skips=$(awk '$3 == "skip"' "$out/bisect.log" | wc -l)
	((all < 4 || skips * 10 <= all * 3)) ||
		say "bisect: $skips of $all commits could not be tested; see $out/bisect.log"
}

# ---- Running -------------------------------------------------------------------------------------

run_step() {
	local begun

	code='' fact=()
	# Without a kernel nobody says anything about this step: then it must not be what was said of the last.
	rm -f "$out/facts"
	now_ms begun
	run_kernel "${kernels[0]}" "$out" || code=$?
	code=${code:-0}
	read_facts "$out/facts"
	elapsed "$begun"
	fact[seconds]=${fact[seconds]-$seconds}
	judge_commit
	log_step
}

bisect_step() {
	tree_arg=${kernels[0]}
	out=${out:-$logs_dir/bisect}
	refuse_own_tree
	enter_session
	run_step
	warn_of_skips
	exit "$mark"
}

# Both ends, before a bisect that could only go wrong: GOOD must be good, and BAD bad.
bisect_check() {
	local head top=${kernels[0]} want_good=${check_ends[0]} want_bad=${check_ends[1]} good bad fine=1 dir

	tree_arg=$top
	git -C "$top" rev-parse --git-dir >/dev/null 2>&1 || die USAGE "--bisect-check needs a git tree: -k TREE"
	git -C "$top" diff --quiet HEAD 2>/dev/null || die USAGE "$top has changes that are not committed"
	refuse_own_tree
	good=$(commit_id "$want_good") && bad=$(commit_id "$want_bad") || exit
	head=$(git -C "$top" symbolic-ref -q --short HEAD || git -C "$top" rev-parse HEAD)
	dir=${out:-$logs_dir/bisect-check}
	restore=(git -C "$top" checkout -q "$head" --)
	trap restore_tree EXIT
	check_end "$want_good" "$good" good "$dir/good" || fine=''
	check_end "$want_bad" "$bad" bad "$dir/bad" || fine=''
	restore_tree || die INFRA "cannot check out $head again"
	[[ $fine ]] || { say "bisect-check: these two ends have no bisect between them"; exit "$FAIL"; }
	say "bisect-check: $want_good is good and $want_bad is bad; now: git bisect start $want_bad $want_good"
	exit 0
}

# commit_id NAME: what it names now, and still does when something else is checked out.
commit_id() {
	git -C "$tree_arg" rev-parse -q --verify "$1^{commit}" || die USAGE "no commit $1"
}

# Once, however this ends.
restore_tree() {
	local command=("${restore[@]}")

	restore=()
	((${#command[@]} == 0)) || "${command[@]}"
}

# check_end NAME COMMIT good|bad DIRECTORY
check_end() {
	git -C "$tree_arg" checkout -q --detach "$2" -- || die INFRA "cannot check out $1"
	out=$4
	enter_session
	run_step
	((mark < ABORT)) || exit "$mark"
	[[ $(mark_name "$mark") == "$3" ]] && return
	say "bisect-check: $1 is not $3 but $(mark_name "$mark")"
	return 1
}

# ---- Identical images ----------------------------------------------------------------------------

# What decides the verdict: the kernel; the tests, their arguments and its modules, which are all in the
# initramfs; the machine; and what counts as what.
verdict_key() {
	local machine=("$arch" "$accel" "$smp" "$mem" "$cpu" "${qemu_args[@]}")
	local command_line=("$strict" "${guest_sysctls[@]}" "${extra_append[@]}")
	local verdict=("$repeat" "$until_fail" "$no_splat" "$total_timeout" "$boot_timeout" "$hang_timeout")

	{
		cat -- "$image" "$out/initramfs.cpio" "${splat_allow[@]}"
		printf '%s\0' "${machine[@]}" -- "${command_line[@]}" -- "${verdict[@]}"
	} | digest
}

# A commit that changed nothing in the image needs no boot.
recall_verdict() {
	[[ $verdict_cache ]] || return 0
	known=$verdict_cache/$(verdict_key)
	[[ -f $known/facts ]] || return 0
	find "$known" -type f -exec cp {} "$out/" \;
	sed -i 's/^seconds=.*/seconds=0.0/' "$out/facts"
	read_facts "$out/facts"
	code=${fact[code]}
	say "$(verdict_name "$code"), as this very image was tested before"
	exit "$code"
}

# Only what says something about the image: a second try may end otherwise.
keep_verdict() {
	[[ $known && ! $code =~ ^($INFRA|$USAGE|$TIMEOUT|$INTERRUPTED)$ ]] || return 0
	mkdir -p "$known" || return 0
	find "$out" -maxdepth 1 \( -name facts -o -name test.log -o -name splat.txt -o -name verdict.json \) \
		-exec cp {} "$known/" \;
}
