# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154 # variables of those who source it
#
# An apt of our own: the machine's settings and archive, but lists and packages in a folder of ours, so
# that no root is needed and the machine's apt is left as it is. Wants
#
#   work      a scratch folder           archives  where packages go, and partial ones
#   cache     the folder of both         arch      amd64 or arm64
#   die       how to give up
#
# and has descriptor 8: what apt said.

readonly NEIGHBOURS=(bullseye bookworm trixie)
readonly KEYRINGS="/usr/share/keyrings/debian-archive-keyring"

# Not a file in the cache, which can be out of room, and with no name that could be left behind.
open_apt_log() {
	local file

	file=$(mktemp) || die "cannot write to ${TMPDIR:-/tmp}"
	exec 8<>"$file"
	rm -f "$file"
}

# The machine's settings (proxies, certificates), without its hooks and without indexes other than
# those of packages. What is not signed is refused even if the machine puts up with it.
write_apt_conf() {
	open_apt_log
	mkdir -p "$work/lists/partial" "$archives/partial" "$work/sources.list.d" ||
		die "cannot write to $cache"
	{
		apt-config dump |
			grep -vE '^(Dir|Dir::(State|Cache|Etc)(::.*)?|APT::(Update|Architectures?)(::.*)?|DPkg::.*|Acquire::(Languages|IndexTargets::deb::[^P].*)(::)?) "'
		cat <<-CONF
		Dir "/";
		Dir::State "$work";
		Dir::State::lists "$work/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$work";
		Dir::Cache::archives "$archives";
		Dir::Etc "/etc/apt";
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "$work/sources.list.d";
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::ForceHash "SHA256";
		Acquire::AllowInsecureRepositories "false";
		Acquire::AllowWeakRepositories "false";
		Acquire::AllowDowngradeToInsecureRepositories "false";
		APT::Get::AllowUnauthenticated "false";
		Acquire::Retries "2";
		CONF
	} >"$work/apt.conf"
}

# "URI|suite|codename|origin" of every package index that the machine itself uses.
machine_suites() {
	# shellcheck disable=SC2016 # the $(...) are apt's
	apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(ORIGIN)' \
		'Created-By: Packages' 2>/dev/null | sort -u
}

codename() {
	sed -n 's/^VERSION_CODENAME="\{0,1\}\([a-z]*\).*/\1/p' /etc/os-release
}

# The suite that the machine is of; sources.list may have it as "stable". sid says that it is the next
# release, and has no such suite.
own_suite() {
	machine_suites | awk -F '|' -v own="$(codename)" '
		$2 == own || $3 == own { found = own }
		!first && $4 == "Debian" && $3 !~ /-/ { first = $3 }
		END { print found ? found : first }'
}

# archive_of SUITE: its URI.
archive_of() {
	machine_suites | awk -F '|' -v suite="$1" '$2 == suite || $3 == suite { print $1; exit }'
}

# The machine's two archives: the one with the releases, and the one with their security updates.
# Another machine's suites are in the same places.
write_sources() {
	local where=$1 own main security suite option='' key

	[[ $(machine_suites) ]] || die "apt knows of no packages: run apt-get update as root"
	own=$(own_suite)
	main=$(archive_of "$own")
	security=$(archive_of "$own-security")
	[[ $main ]] || die "apt's configuration names no Debian archive; give vmtest.sh a kernel file"
	for key in "$KEYRINGS".gpg "$KEYRINGS".pgp; do
		[[ -r $key ]] && option="[signed-by=$key]"
	done
	: >"$work/sources.list"
	for suite in $(printf '%s\n' "$own" "${NEIGHBOURS[@]}" | sort -u); do
		case $where in
		small)
			[[ $security ]] && echo "deb $option $security $suite-security main"
			echo "deb $option $main $suite-backports main"
			;;
		own)
			[[ $suite == "$own" ]] || continue
			[[ $security ]] && echo "deb $option $security $suite-security main"
			echo "deb $option $main $suite main"
			;;
		releases)
			echo "deb $option $main $suite main"
			;;
		esac
	done >>"$work/sources.list"
}

# A suite that has gone or has expired is an error to apt and no loss to us: the others are there.
update_lists() {
	write_sources "$1"
	apt_own apt-get -q update >&8 2>&1
	return 0
}

# What it says is for us to read: in no other language.
apt_own() {
	LC_ALL=C APT_CONFIG=$work/apt.conf "$@" 9>&-
}
