# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# In a job of GitHub Actions: an annotation for each kernel with a bad verdict, and the verdict in the
# summary of the step. What test_progs has to say about its failures it says itself, in the guest; its
# output is folded.

readonly GUEST_SUMMARY=/step-summary.md

in_github() {
	[[ ${GITHUB_ACTIONS-} == true && ! $bisecting ]]
}

# For one kernel, whose logs are in $out.
prepare_github() {
	in_github || return 0
	guest_env+=(GITHUB_ACTIONS=true)
	[[ $in_matrix || ! $show_tests ]] || open_fold
	[[ ${GITHUB_STEP_SUMMARY-} ]] || return 0
	guest_env+=("GITHUB_STEP_SUMMARY=$GUEST_SUMMARY")
	collected["$GUEST_SUMMARY"]=$out/step-summary.md
}

open_fold() {
	echo "::group::${bin##*/} on $name"
	fold_is_open=1
}

close_fold() {
	[[ ! ${fold_is_open-} ]] || echo '::endgroup::'
	fold_is_open=''
}

# github_escape TEXT: as the message of a command.
github_escape() {
	local text=${1//%/%25}

	text=${text//$'\r'/%0D}
	printf '%s' "${text//$'\n'/%0A}"
}

# conclude_github LINE: the verdict. The output of the tests is not shown in a matrix.
conclude_github() {
	in_github || return 0
	if ((code != PASS && code != SKIP)); then
		printf '::error title=vmtest::%s\n' "$(github_escape "$1")" >&2
		[[ ! $in_matrix ]] || grep -a '^::error ' "$out/test.log" >&2
	fi
	[[ ${GITHUB_STEP_SUMMARY-} ]] || return 0
	{
		printf "\`vmtest: %s\`\n\n" "${1//\`/\'}"
		[[ ! -s $out/step-summary.md ]] || cat "$out/step-summary.md"
	} >>"$GITHUB_STEP_SUMMARY" || say "note: cannot write to $GITHUB_STEP_SUMMARY"
}
