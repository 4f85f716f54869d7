#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The recipe in docs/bisecting.md, word for word but for its line "yours", on a git repository whose
# commits select kernel images: good ones, bad ones, one that does not build, one that does not boot
# and one that cannot be tested.
#
#   tests/bisect.sh [GOOD BAD]    what -k takes; by default Debian kernels of which BAD has a bug that
#                                 sockmap_listen finds (unbound UDP sockets are accepted)
set -u -o pipefail

HERE=$(cd "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
readonly HERE
good=${1:-debian:6.1} bad=${2:-debian:6.18}
# shellcheck source=tests/lib.sh
source "$HERE/tests/lib.sh"
scratch bisect

# Where vmtest.sh finds that kernel.
image_of() {
	"$HERE/vmtest.sh" --print-cmd -k "$1" 2>"$dir/log" | grep -oE -- '-kernel [^ ]+' | sed 's/-kernel //'
}

# An invalid instruction where the kernel proper begins, when there are no handlers yet: the machine
# resets at once.
break_image() {
	local setup_sectors

	setup_sectors=$(od -An -tu1 -j 497 -N 1 "$1")
	printf '\x0f\x0b' | dd of="$1" bs=1 seek=$(((setup_sectors + 1) * 512)) conv=notrunc status=none
}

# ---- A tree ----------------------------------------------------------------------------------------

# What vm/build-kernel.sh wants of a tree: a configuration, and an image. The file "image" chooses it.
make_tree() {
	mkdir -p "$dir/linux" "$dir/images" && cd "$dir/linux" || exit 1
	cp "$(image_of "$good")" "$dir/images/good" && cp "$(image_of "$bad")" "$dir/images/bad" || exit 1
	cp "$dir/images/good" "$dir/images/unbootable"
	break_image "$dir/images/unbootable"
	git init -q . && git config user.name t && git config user.email t@localhost || exit 1
	printf '%s\n' '.*' '!.gitignore' arch >.gitignore
	touch Kconfig
	cat >Makefile <<-MAKE
	tinyconfig: ; touch \$(KCONFIG_CONFIG)
	olddefconfig: ; ! grep -q unconfigurable image || sed -i /BPF_SYSCALL/d \$(KCONFIG_CONFIG)
	bzImage: ; mkdir -p arch/x86/boot && cp "$dir/images/\$\$(cat image)" arch/x86/boot/bzImage
	MAKE
	git add -A
}

commit() {
	echo "$1" >image
	echo "$2" >note
	git add -A
	git commit -q -m "$2" || exit 1
}

# The first that is bad has testable neighbours: no bisect could tell it from others.
make_history() {
	commit good "first"
	git tag first
	commit broken "does not build"
	commit good "good again"
	commit unbootable "does not boot"
	commit good "good once more"
	commit good "a comment"
	commit bad "the culprit"
	commit bad "another comment"
	commit unconfigurable "lacks an option"
	commit bad "still bad"
	commit broken "does not build either"
	commit bad "last"
	git tag last
}

# ---- The recipe ------------------------------------------------------------------------------------

recipe() {
	sed -n '/^    cp -r/,/^$/s/^    //p' "$HERE/docs/bisecting.md" |
		sed 's/^GOOD=.*# yours$/GOOD=first BAD=last TESTS=sockmap_listen/'
}

run_recipe() {
	local want got skips status

	mkdir "$dir/sockmap-tests" &&
		tar -C "$HERE" --exclude=./.output/vm --exclude=./.git -cf - . | tar -C "$dir/sockmap-tests" -xf - ||
		exit 1
	(cd "$dir" && bash -e -u -c "$(recipe)") >"$dir/log" 2>&1
	status=$?
	result "the recipe runs" "$( ((status == 0)) || echo "exit status $status")" "$dir/log"
	want=$(git log --format=%h --grep='^the culprit' -1)
	got=$(git rev-parse --short refs/bisect/bad 2>/dev/null)
	result "it finds the culprit" "$([[ $got == "$want" ]] || echo "found $got, not $want")"
	skips=$(grep -c ' skip ' "$dir/tests-copy/.output/vm/bisect/bisect.log")
	result "commits without a verdict are skipped" "$( ((skips)) || echo "there was none among the steps")"
	result "bisect.log has a line a step" "$(grep -vE \
		'^[0-9a-f]{12} (PASS good|FAIL bad|(BOOTFAIL|UNTESTABLE) skip) [0-9.]+ s' \
		"$dir/tests-copy/.output/vm/bisect/bisect.log" | sed 's/^/line: /')"
	git bisect reset >/dev/null 2>&1
}

# ---- Single steps ------------------------------------------------------------------------------------

# step NAME COMMIT STATUS PATTERN OPTION...: of one commit, outside a session.
step() {
	git checkout -q --detach "$(git log --format=%h --grep="^$2\$" -1 last)" || exit 1
	try "$3" "$4" "$dir/sockmap-tests/vmtest.sh" --build --bisect -k . -o "$dir/step" "${@:5}" -- \
		-a 'sockmap_listen/sockmap IPv4 UDP test_insert_opened'
	tried "$1"
}

single_steps() {
	step good first 0 'PASS good'
	step bad 'the culprit' 1 'FAIL bad'
	step unbuildable 'does not build' 125 'UNTESTABLE skip'
	step unbootable 'does not boot' 125 'BOOTFAIL skip'
	step unconfigurable 'lacks an option' 125 'CONFIG_BPF_SYSCALL'
	step expected-boot-failure 'does not boot' 1 'BOOTFAIL bad' --expect boot
	step boots-at-least 'the culprit' 0 'it boots' --expect boot
	step nothing-of-the-last 'does not build' 125 'UNTESTABLE skip [0-9]+\.[0-9] s not built; see .*build.log' --expect boot
	step another-class 'the culprit' 125 'not the failure' --expect crash
	step match 'the culprit' 1 'FAIL bad' --match 'insert_opened.*FAIL'
	step no-match 'the culprit' 125 'nothing matches' --match 'no such text'
	step invert-bad 'the culprit' 0 'FAIL good' --invert
	step invert-good first 1 'PASS bad' --invert
	step wrong-option first 128 'unknown option' --nonsense
	step no-qemu first 128 'INFRA abort|missing' --qemu-arg --nonsense
}

make_tree
make_history
run_recipe
single_steps
finish bisect
