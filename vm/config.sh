# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Kernel configurations, held against fragments such as vm/kernel.config.

# config_missing CONFIG required|optional FRAGMENT...: a line "CONFIG_X  effect" for each option of that
# part which the configuration lacks. What is optional may be a module: the guest loads those it needs.
# An option that an older kernel does not know is missing there; no test depends on its name.
config_missing() {
	local config=$1 part=$2

	shift 2
	{
		case $config in
		*.gz) gzip -dc -- "$config" ;;
		*) cat -- "$config" ;;
		esac
		# No configuration has such a line.
		echo "# fragment"
		cat -- "$@"
	} | awk -v wanted="$part" '
		/^# fragment$/ { fragment = 1; next }
		!fragment { sub(/^# /, ""); sub(/ is not set$/, "=n"); have[$1] = 1; next }
		/^# (required|optional)$/ { part = $2; next }
		part != wanted || !/^CONFIG_/ { next }
		!(($1 in have) || (part == "optional" && (substr($1, 1, length($1) - 1) "m") in have)) {
			name = $1
			sub(/=.*/, "", name)
			sub(/^[^#]*# */, "")
			printf "%s  %s\n", name, $0
		}'
}
