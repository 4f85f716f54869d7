# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests in this folder share; sourced by them. Each is a script of rows, and ends with finish.

# What is written in a job of GitHub is a matter of some rows, and in the way of others.
unset GITHUB_ACTIONS GITHUB_STEP_SUMMARY

# What goes into packages is for everybody to read.
umask 022

passed=0 failed=0 skipped=0 why=''
filter=() # words, one of which the name of a row has to contain; none: all rows

# scratch NAME: a folder that goes with the script, in $dir. A script with more to undo has clean_up().
scratch() {
	dir=$(mktemp -d "${TMPDIR:-/tmp}/$1-test.XXXXXX") || bail_out "no temporary folder"
	trap remove_scratch EXIT
	trap 'exit 130' INT TERM
}

# shellcheck disable=SC2317 # called by the trap
remove_scratch() {
	if declare -F clean_up >/dev/null; then
		clean_up
	fi
	[[ ${KEEP_DIR-} ]] || rm -rf "$dir"
}

bail_out() {
	echo "Bail out! $*"
	exit 1
}

selected() {
	local word

	((${#filter[@]})) || return 0
	for word in "${filter[@]}"; do
		[[ $1 == *"$word"* ]] && return 0
	done
	return 1
}

# ---- Results -------------------------------------------------------------------------------------

# result NAME WHY [FILE...]: WHY is empty if it went well; else it is shown, and the end of the files.
result() {
	local number=$((passed + failed + skipped + 1)) name=$1 reason=$2

	shift 2
	if [[ ! $reason ]]; then
		echo "ok $number - $name"
		passed=$((passed + 1))
		return
	fi
	echo "not ok $number - $name"
	{
		head -n 40 <<<"$reason" | cut -c1-300
		(($# == 0)) || cat "$@" | tail -n 25 | sed 's/^/  /'
	} | sed 's/^/# /'
	failed=$((failed + 1))
}

# skip NAME WHY
skip() {
	echo "ok $((passed + failed + skipped + 1)) - $1 # SKIP $2"
	skipped=$((skipped + 1))
}

# finish NAME: the last line, and the exit status.
finish() {
	echo "1..$((passed + failed + skipped))"
	echo "$1: $passed passed, $failed failed, $skipped skipped"
	((failed == 0))
}

# ---- Rows ----------------------------------------------------------------------------------------

# One more reason why the row has failed.
because() {
	why+="${why:+; }$1"
}

# try CODE PATTERN COMMAND...: run it, and have in $why what was not as wanted: its exit code, or no line
# in $dir/stdout and $dir/stderr that matches the pattern, which is an ERE, or empty.
try() {
	local want=$1 pattern=$2 got

	shift 2
	why=''
	"$@" >"$dir/stdout" 2>"$dir/stderr" </dev/null
	got=$?
	((got == want)) || because "exit code $got, not $want: $*"
	[[ ! $pattern ]] || grep -qE -- "$pattern" "$dir/stdout" "$dir/stderr" ||
		because "no \"$pattern\" in the output"
}

# The result of what was tried.
tried() {
	result "$1" "$why" "$dir/stderr" "$dir/stdout"
}

# row NAME CODE PATTERN COMMAND...: as try. Scripts that want more of each row have a row of their own.
row() {
	selected "$1" || return 0
	try "${@:2}"
	tried "$1"
}

# check NAME COMMAND...: it has to succeed.
check() {
	selected "$1" || return 0
	try 0 '' "${@:2}"
	tried "$1"
}

# ---- Cases: functions that look at something, and say what is wrong with it ------------------------

problems=() why_skip='' status=0

# t NAME FUNCTION [ARGUMENT...]: a case; it has failed if there was a problem.
t() {
	local name=$1

	shift
	selected "$name" || return 0
	problems=() why_skip=''
	"$@"
	if ((${#problems[@]} == 0)) && [[ $why_skip ]]; then
		skip "$name" "$why_skip"
	else
		result "$name" "$( ((${#problems[@]} == 0)) || printf '%s\n' "${problems[@]}")"
	fi
}

# What was wanted, and what was there.
problem() {
	problems+=("$1")
}

# The case is skipped, unless it has a problem.
skip_case() {
	why_skip=$1
}

# run COMMAND...: $dir/out, $dir/err and $status; none may hang.
run() {
	timeout -k 5 60 "$@" >"$dir/out" 2>"$dir/err" </dev/null
	status=$?
}

want_status() {
	((status == $1)) || problem "exit status: want $1, got $status: $(tail -n 2 "$dir/err" "$dir/out")"
}

# want_in FILE PATTERN: a line matches the extended regular expression.
want_in() {
	grep -Eqe "$2" "$1" || problem "want /$2/, got: $(head -c 600 "$1")"
}

# want_text WANTED GOT [WHAT]
want_text() {
	[[ $1 == "$2" ]] || problem "${3:-text}: want \"$1\", got \"$2\""
}
