# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with vmtest.sh
#
# Several kernels: a row for each, the logs in a directory for each, and the worst of the verdicts.

readonly ROW='%-36s %-11s %6s %5s %5s %6s %9s  %s\n'

# DIRECTORY/NAME of a kernel's logs, from what was typed; two of one name get a number.
row_directory() {
	local base=${1:-default} n=1

	base=${base%/}
	base=${base##*/}
	base=${base//[^A-Za-z0-9.+_-]/-}
	[[ $base =~ ^\.*$ ]] && base=tree
	while [[ " ${directories[*]-} " == *" $base$((n > 1 ? n : 0)) "* ]]; do
		n=$((n + 1))
	done
	directories+=("$base$((n > 1 ? n : 0))")
	((n == 1)) || base+=-$n
	printf -v "$2" '%s' "$out/$base"
}

start_row() {
	local i=$1

	mkdir -p "${row_dir[i]}" || die INFRA "cannot create ${row_dir[i]}"
	rm -f "${row_dir[i]}"/{facts,{verdict,results}.json,splat.txt}
	(
		show_tests='' in_matrix=1
		test_kernel "${kernels[i]}" "${row_dir[i]}"
	) </dev/null >"${row_dir[i]}/vmtest.log" 2>&1 &
	row_pid[i]=$!
}

# A row whose kernel was not even found has its reason in the last line of its log.
print_row() {
	local i=$1 key value why
	local -A row=()

	while IFS='=' read -r key value; do
		row[$key]=$value
	done < <(cat "${row_dir[i]}/facts" 2>/dev/null)
	why=${row[reason]-$(sed -n '$s/^vmtest: [A-Z]*: //p' "${row_dir[i]}/vmtest.log")}
	# shellcheck disable=SC2059 # the format is ours
	printf "$ROW" "${row[release]:-${row[name]:-${kernels[i]:-default}}}" \
		"$(verdict_name "${row_code[i]}")" "${row[passed]:--}" "${row[skipped]:--}" \
		"${row[failed]:--}" "${row[xfailed]:--}" "${row[seconds]:--} s" "$why"
}

# Rows come in the order of the options, each as soon as it and those before it are there.
run_matrix() {
	local i=0 printed=0 pid rc
	local -a row_dir=() row_pid=() row_code=() directories=()

	out=${out:-$logs_dir}
	for ((i = 0; i < ${#kernels[@]}; i++)); do
		row_directory "${kernels[i]}" "row_dir[$i]"
	done
	# shellcheck disable=SC2059
	printf "$ROW" KERNEL VERDICT PASSED SKIP FAIL XFAIL TIME WHY
	i=0
	while ((printed < ${#kernels[@]})); do
		while ((i < ${#kernels[@]} && i - $(finished_rows) < jobs)); do
			start_row $((i++))
		done
		wait -n -p pid "${row_pid[@]}"
		rc=$?
		[[ ! ${pid-} ]] || row_done "$pid" "$rc"
		while ((printed < ${#kernels[@]})) && [[ ${row_code[printed]-} ]]; do
			print_row $((printed++))
		done
	done
	finish_matrix
}

finished_rows() {
	echo ${#row_code[@]}
}

row_done() {
	local i

	for i in "${!row_pid[@]}"; do
		[[ ${row_pid[i]} == "$1" ]] || continue
		row_code[i]=$2
		unset "row_pid[i]"
	done
}

finish_matrix() {
	local i worst=$PASS

	for i in "${!kernels[@]}"; do
		is_worse "${row_code[i]}" "$worst" && worst=${row_code[i]}
		((row_code[i] == PASS)) || sed "s|^vmtest: |&${row_dir[i]##*/}: |" "${row_dir[i]}/vmtest.log" |
			grep -a "^vmtest: \|^    \|^::error " >&2
	done
	{
		echo '['
		for i in "${!kernels[@]}"; do
			[[ ! -s ${row_dir[i]}/verdict.json ]] || cat "${row_dir[i]}/verdict.json"
		done | sed 's/^}$/},/' | sed '$s/},$/}/'
		echo ']'
	} >"$out/matrix.json" || die INFRA "cannot write to $out"
	make_page "${row_dir[@]}"
	say "$(verdict_name "$worst"): ${#kernels[@]} kernels; logs: $out"
	exit "$worst"
}
