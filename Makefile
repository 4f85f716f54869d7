# SPDX-License-Identifier: GPL-2.0-only
#
#   make           build ./test_progs
#   make run       install what is missing, build, run everything on this kernel
#   make run-vm    the same on a Debian kernel in QEMU
#   make check     the tests of the project itself, and both of the above
#   make check-vm  all tests of vmtest.sh: every kernel, bisect, arm64
#   make arm64     build .output/arm64/test_progs with Debian's cross compiler
#   make deps      only install what is missing (Debian; as root)
#   make install   programs, man pages and completion below PREFIX (/usr/local) in DESTDIR
#   make deb       a Debian package of the same, in .output/
#
# V=1 shows the commands, CC=clang builds with clang. All that is generated is in .output/; a new file
# in progs/, prog_tests/ or harness/ is picked up by itself.

VERSION	:= 0.1

# Of the command line only: kernel people have another one in their environment.
ifneq ($(origin ARCH),command line)
ARCH	:= native
endif
ifeq ($(ARCH),arm64)
OUT	:= .output/arm64
MACHINE	:= aarch64
ASM	:= /usr/aarch64-linux-gnu/include
CC	:= aarch64-linux-gnu-gcc
SYSROOT	:= $(or $(shell scripts/sysroot.sh arm64),$(error no libraries for arm64))
LIBDIR	:= $(SYSROOT)/usr/lib/aarch64-linux-gnu
CPPFLAGS := -isystem $(SYSROOT)/usr/include -isystem $(SYSROOT)/usr/include/aarch64-linux-gnu
LDFLAGS	:= -L$(LIBDIR)
export PKG_CONFIG_LIBDIR := $(LIBDIR)/pkgconfig
PROGRAMS := $(OUT)/test_progs $(OUT)/init
else
OUT	:= .output
MACHINE	:= $(shell uname -m)
ASM	:= /usr/include/$(MACHINE)-linux-gnu
PROGRAMS = test_progs $(OUT)/init $(OUT)/mkinitramfs $(OUT)/vmwatch
endif

CLANG	?= clang
BPFTOOL	?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
# What libbpf calls the machine, whose registers a kprobe sees.
BPF_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))

CFLAGS	?= -O2 -g
CFLAGS	+= -std=gnu11 -Wall -Wextra -Werror
CPPFLAGS += -D_GNU_SOURCE -I. -I$(OUT)
# Static, so that it runs in a guest that has nothing else, and (which is the same) at a fixed address,
# so that the addresses in a backtrace are those of the symbol table.
LDFLAGS	+= -static
LDLIBS	:= $(shell pkg-config --static --libs-only-l libbpf libelf zlib jansson) $(OUT)/libeu.a
# ASM is where asm/ is, which clang does not look for when its target is BPF.
BPF_CFLAGS := -g -O2 -target bpf -D__TARGET_ARCH_$(BPF_ARCH) -Wall -Wextra -Werror -Iprogs \
	-idirafter $(ASM)

SKELS	:= $(patsubst progs/%.bpf.c,$(OUT)/%.skel.h,$(wildcard progs/*.bpf.c))
SRCS	:= test_progs.c network_helpers.c $(wildcard harness/*.c prog_tests/*.c)
OBJS	:= $(SRCS:%.c=$(OUT)/%.o)

Q	:= $(if $(V),,@)
say	 = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

all: $(PROGRAMS)

# The program is generated, hence in $(OUT); the link is what people type.
test_progs: $(OUT)/test_progs
	$(Q)ln -sfn $< $@

# What a test sends is a part of its timeline (harness/timeline.c).
WRAP	:= -Wl,--wrap=send -Wl,--wrap=sendmsg -Wl,--wrap=sendfile -Wl,--wrap=splice

$(OUT)/test_progs: $(OBJS) | $(OUT)/libeu.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(WRAP) $^ $(LDLIBS) -o $@

$(OUT)/libeu.a: $(OUT)/compat/libeu.o
	$(Q)ar rcs $@ $<

# The tests of the harness itself: its functions, and its program with tests that misbehave.
UNIT_OBJS := $(patsubst %,$(OUT)/%.o,tests/unit network_helpers \
	$(addprefix harness/,delivery expect glob kmemleak kmsg knob known latency lines plan splat \
	splat_foreign timeline_judge))
CASE_OBJS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/cases/*.c))

selftests: $(OUT)/unit $(OUT)/selftest_progs

$(OUT)/unit: $(UNIT_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@

$(OUT)/selftest_progs: $(filter-out $(OUT)/prog_tests/%,$(OBJS)) $(CASE_OBJS) | $(OUT)/libeu.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(WRAP) $^ $(LDLIBS) -o $@

$(OUT)/%.o: %.c Makefile | $(SKELS)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c $< -o $@

# .incbin is not among the dependencies that the compiler finds.
$(OUT)/harness/splat.o: vm/splats.deny vm/splats.allow
$(OUT)/harness/html.o: html/report.html

$(OUT)/%.bpf.o: progs/%.bpf.c Makefile
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.skel.h: $(OUT)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

# The two sides of a guest: its first process, and what watches it.
$(OUT)/init: $(OUT)/vm/init.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -lz -o $@

$(OUT)/mkinitramfs: $(OUT)/vm/initramfs.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@

WATCH_OBJS := $(patsubst %,$(OUT)/%.o,$(addprefix vm/,watch qemu control hang verdict) \
	$(addprefix harness/,expect glob lines splat))

$(OUT)/vmwatch: $(WATCH_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -ljansson -lz -o $@

deps:
	$(Q)scripts/deps.sh build vm check

run:
	$(Q)scripts/deps.sh build
	$(Q)$(MAKE) --no-print-directory all
	./test_progs

run-vm:
	$(Q)scripts/deps.sh build vm
	$(Q)$(MAKE) --no-print-directory all
	./vmtest.sh

arm64:
	$(Q)scripts/deps.sh build arm64
	$(Q)$(MAKE) --no-print-directory ARCH=arm64 all

check: deps
	$(Q)scripts/deps.sh browser || echo "no browser, and no tests that need one" >&2
	$(Q)scripts/deps.sh lava || echo "no lava-common, and no schema to hold LAVA's job against" >&2
	$(Q)$(MAKE) --no-print-directory all selftests
	$(Q)tests/check.sh

check-vm: deps arm64
	$(Q)$(MAKE) --no-print-directory all selftests
	$(Q)tests/check.sh vm

# What --help says, with a frame.
man: $(OUT)/test_progs.1 $(OUT)/vmtest.1

HELP2MAN := ARGP_HELP_FMT=rmargin=100,header-col=0,opt-doc-col=40 \
	help2man --no-info --no-discard-stderr --source=sockmap-tests --version-string=$(VERSION)

$(OUT)/vmtest: vmtest.sh
	$(Q)ln -sfn ../$< $@

$(OUT)/%.1: docs/man/%.h2m $(OUT)/% vmtest.sh
	$(call say,MAN,$@)
	$(Q)$(HELP2MAN) --include=$< --output=$@ $(OUT)/$*

PREFIX	?= /usr/local
LIBEXEC	:= $(PREFIX)/lib/sockmap-tests
INSTALL	:= install -D -t $(DESTDIR)

# vmtest.sh finds the rest beside itself; the commands are links to both.
install:
	$(Q)scripts/deps.sh build man
	$(Q)$(MAKE) --no-print-directory all man
	$(Q)$(INSTALL)$(LIBEXEC) test_progs vmtest.sh $(addprefix $(OUT)/,init mkinitramfs vmwatch)
	$(Q)$(INSTALL)$(LIBEXEC)/vm $(wildcard vm/*.sh)
	$(Q)$(INSTALL)$(LIBEXEC)/vm -m 644 $(wildcard vm/splats.* vm/*.config)
	$(Q)$(INSTALL)$(LIBEXEC)/vm/expect -m 644 $(wildcard vm/expect/*)
	$(Q)install -d -m 755 $(DESTDIR)$(PREFIX)/bin
	$(Q)ln -sfn ../lib/sockmap-tests/test_progs $(DESTDIR)$(PREFIX)/bin/test_progs
	$(Q)ln -sfn ../lib/sockmap-tests/vmtest.sh $(DESTDIR)$(PREFIX)/bin/vmtest
	$(Q)$(INSTALL)$(PREFIX)/share/man/man1 -m 644 $(OUT)/test_progs.1 $(OUT)/vmtest.1
	$(Q)$(INSTALL)$(PREFIX)/share/doc/sockmap-tests -m 644 README.md $(wildcard docs/*.md)
	$(Q)install -D -m 644 completion/sockmap-tests.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/test_progs
	$(Q)ln -sfn test_progs $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmtest

deb:
	$(Q)rm -rf $(OUT)/deb
	$(Q)$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(CURDIR)/$(OUT)/deb
	$(Q)scripts/deb.sh $(VERSION) $(OUT)/deb $(OUT)

# What docs/redirect-matrix.md is made of: Debian's kernels, in QEMU.
MATRIX_OF ?= 5.10 6.1 6.12 7.3
redirect-matrix: all
	$(Q)scripts/redirect-matrix.sh $(MATRIX_OF)

format:
	clang-format -i $(wildcard *.[ch] */*.[ch] */*/*.[ch])

clean:
	rm -rf $(OUT) test_progs

-include $(OBJS:.o=.d) $(WATCH_OBJS:.o=.d) $(UNIT_OBJS:.o=.d) $(CASE_OBJS:.o=.d) $(SKELS:.skel.h=.bpf.d)
.PRECIOUS: $(OUT)/%.bpf.o $(OUT)/%.skel.h
.DELETE_ON_ERROR:
.PHONY: all selftests man install deb deps run run-vm arm64 check check-vm redirect-matrix format clean
