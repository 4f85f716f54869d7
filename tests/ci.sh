#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The jobs in docs/ci.md: whether those who are to read them can, and what their commands do. As root.
set -u -o pipefail

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/lib.sh
source tests/lib.sh
filter=("$@")
scratch ci

# job TITLE: the example in that section.
job() {
	awk -v title="## $1" '
		/^## / { here = index($0, title) == 1 }
		/^```/ { code = /yaml/; next }
		here && code' docs/ci.md
}

# in_yaml FILE EXPRESSION: what is in there, in Python's words; d is the document, in which a key that is
# there twice is an error. Debian's python3 is the one that has Debian's modules.
in_yaml() {
	/usr/bin/python3 - "$1" "$2" <<-'PYTHON'
	import sys, yaml
	class Loader(yaml.SafeLoader):
	    pass
	def mapping(loader, node):
	    keys = [k.value for k, _ in node.value]
	    assert len(keys) == len(set(keys)), "a key is there twice: %s" % keys
	    return loader.construct_mapping(node, deep=True)
	Loader.add_constructor("tag:yaml.org,2002:map", mapping)
	with open(sys.argv[1]) as f:
	    d = yaml.load(f, Loader)
	value = eval(" ".join(sys.argv[2].split()))
	assert value is not False, "it does not hold: %s" % sys.argv[2]
	print(value)
	PYTHON
}

# ---- Their readers -------------------------------------------------------------------------------

# YAML takes "on" for a truth.
github_reads() {
	in_yaml "$1" "set(d) == {'name', True, 'permissions', 'jobs'} and
		all(('run' in s) != ('uses' in s) for j in d['jobs'].values() for s in j['steps'])"
}

gitlab_reads() {
	in_yaml "$1" "all(isinstance(c, str) for j in d.values() for c in j['script']) and
		d['sockmap']['artifacts']['reports']['junit'] in d['sockmap']['script'][-1]"
}

lava_reads() {
	/usr/bin/python3 - "$1" <<-'PYTHON'
	import sys, yaml
	from lava_common import schemas
	from lava_common.schemas.test import testdef
	job = yaml.safe_load(open(sys.argv[1]))
	schemas.validate(job, strict=True)
	for definition in job["actions"][-1]["test"]["definitions"]:
	    testdef.validate(definition["repository"])
	PYTHON
}

# reads NAME FILE READER SED-SCRIPT: it is read, and is not any longer when the script has spoilt it.
reads() {
	sed "$4" "$2" >"$dir/spoilt.yml"
	cmp -s "$2" "$dir/spoilt.yml" && bail_out "$1: nothing is spoilt"
	row "$1" 0 '' "$3" "$2"
	row "$1-can-fail" 1 '' "$3" "$dir/spoilt.yml"
}

# ---- What they run -------------------------------------------------------------------------------

# commands NAME COMMANDS: in a copy of the tree, on one kernel, half of one suite; this machine has all
# packages, so nothing is installed.
commands() {
	local tree=$dir/$1 commands=$2 cases

	mkdir "$tree" && cp -a --reflink=auto Makefile .clang-format ./*.[ch] ./*.sh completion docs harness \
		html progs prog_tests scripts tests vm .output "$tree" || return
	# shellcheck disable=SC2016 # these are GitHub's
	commands=${commands//'${{ matrix.kernel }}'/$KERNEL} commands=${commands//'${{ matrix.shard }}'/1}
	commands=${commands// -- / -- -a sockmap_verifier }
	(cd "$tree" && KERNEL=$KERNEL SHARD=1/2 bash -e -c "$commands") &&
		xmllint --noout --schema tests/junit.xsd "$tree/artifacts/junit.xml" &&
		grep '"verdict": "PASS"' "$tree/artifacts/verdict.json" || return
	cases=$(grep -c '<testcase' "$tree/artifacts/junit.xml")
	echo "$cases cases" >&2
	((cases >= 20 && cases < $(./test_progs -l -a sockmap_verifier | wc -l)))
}

# Its steps, with a server, a board and LAVA that are none: each subtest is a case, with its result.
lava_steps() {
	mkdir "$dir/board" "$dir/bin" && cp .output/selftest_progs "$dir/board/tested" || return
	cat >"$dir/bin/wget" <<-'STUB'
	#!/bin/sh
	printf '#!/bin/sh\nexec ./tested -a misbehave/fails,misbehave/passes,misbehave/skips "$@"\n' >test_progs
	STUB
	cat >"$dir/bin/lava-test-case" <<-'STUB'
	#!/bin/sh
	echo "$1 $3" >>cases
	STUB
	chmod +x "$dir/bin/"*
	(cd "$dir/board" && PATH=$dir/bin:$PATH sh -c "$1") || return
	diff - "$dir/board/cases" <<-'CASES'
	run fail
	misbehave.passes pass
	misbehave.fails fail
	misbehave.skips skip
	CASES
}

# ---- All of them ---------------------------------------------------------------------------------

KERNEL=${KERNEL:-6.1}
job "GitHub Actions" >"$dir/github.yml"
job GitLab >"$dir/gitlab.yml"
job LAVA >"$dir/lava.yml"

reads github "$dir/github.yml" github_reads 's/uses: actions\/upload.*/run: true\n        &/'
reads gitlab "$dir/gitlab.yml" gitlab_reads 's/junit: .*/junit: elsewhere/'
if /usr/bin/python3 -c 'import lava_common' 2>/dev/null; then
	reads lava "$dir/lava.yml" lava_reads 's/definitions:/definition:/'
else
	! selected lava || skip lava "lava-common is not installed (scripts/deps.sh lava)"
fi
row github-runs 0 '[2-9][0-9] cases' commands github-tree "$(in_yaml "$dir/github.yml" \
	"'\n'.join(s['run'] for s in d['jobs']['sockmap']['steps'] if 'run' in s)")"
row gitlab-runs 0 '[2-9][0-9] cases' commands gitlab-tree "$(in_yaml "$dir/gitlab.yml" \
	"'\n'.join(d['sockmap']['script'])")"
row lava-runs 0 '' lava_steps "$(in_yaml "$dir/lava.yml" \
	"'\n'.join(d['actions'][-1]['test']['definitions'][0]['repository']['run']['steps'])")"

finish "CI jobs"
