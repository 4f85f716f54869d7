# SPDX-License-Identifier: GPL-2.0-only
#
#   make           build ./test_progs
#   make run       install what is missing, build, run everything on this kernel
#   make run-vm    the same on a Debian kernel in QEMU
#   make check     the tests of the project itself, and both of the above
#   make check-vm  all tests of vmtest.sh: every kernel, bisect, arm64
#   make arm64     build .output/arm64/test_progs with Debian's cross compiler
#   make deps      only install what is missing (Debian; as root)
#
# V=1 shows the commands, CC=clang builds with clang. All that is generated is in .output/; a new file
# in progs/, prog_tests/ or harness/ is picked up by itself.

ARCH	?= native
ifeq ($(ARCH),arm64)
OUT	:= .output/arm64
CC	:= aarch64-linux-gnu-gcc
SYSROOT	:= $(or $(shell scripts/sysroot.sh arm64),$(error no libraries for arm64))
LIBDIR	:= $(SYSROOT)/usr/lib/aarch64-linux-gnu
CPPFLAGS := -isystem $(SYSROOT)/usr/include -isystem $(SYSROOT)/usr/include/aarch64-linux-gnu
LDFLAGS	:= -L$(LIBDIR)
export PKG_CONFIG_LIBDIR := $(LIBDIR)/pkgconfig
PROGRAMS := $(OUT)/test_progs $(OUT)/init
else
OUT	:= .output
PROGRAMS = test_progs $(OUT)/init $(OUT)/vmwatch
endif

CLANG	?= clang
BPFTOOL	?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
# Where Debian keeps asm/, which clang does not look for when its target is BPF.
TRIPLET	:= $(shell uname -m)-linux-gnu

CFLAGS	?= -O2 -g
CFLAGS	+= -std=gnu11 -Wall -Wextra -Werror
CPPFLAGS += -D_GNU_SOURCE -I. -I$(OUT)
# Static, so that it runs in a guest that has nothing else, and (which is the same) at a fixed address,
# so that the addresses in a backtrace are those of the symbol table.
LDFLAGS	+= -static
LDLIBS	:= $(shell pkg-config --static --libs-only-l libbpf libelf zlib jansson) $(OUT)/libeu.a
BPF_CFLAGS := -g -O2 -target bpf -Wall -Wextra -Werror -Iprogs -idirafter /usr/include/$(TRIPLET)

SKELS	:= $(patsubst progs/%.bpf.c,$(OUT)/%.skel.h,$(wildcard progs/*.bpf.c))
SRCS	:= test_progs.c network_helpers.c $(wildcard harness/*.c prog_tests/*.c)
OBJS	:= $(SRCS:%.c=$(OUT)/%.o)

Q	:= $(if $(V),,@)
say	 = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

all: $(PROGRAMS)

# The program is generated, hence in $(OUT); the link is what people type.
test_progs: $(OUT)/test_progs
	$(Q)ln -sfn $< $@

$(OUT)/test_progs: $(OBJS) | $(OUT)/libeu.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(OUT)/libeu.a: $(OUT)/compat/libeu.o
	$(Q)ar rcs $@ $<

# The tests of the harness itself: its functions, and its program with tests that misbehave.
UNIT_OBJS := $(patsubst %,$(OUT)/%.o,tests/unit network_helpers \
	$(addprefix harness/,expect glob kmsg known lines plan splat))
CASE_OBJS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/cases/*.c))

selftests: $(OUT)/unit $(OUT)/selftest_progs

$(OUT)/unit: $(UNIT_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@

$(OUT)/selftest_progs: $(filter-out $(OUT)/prog_tests/%,$(OBJS)) $(CASE_OBJS) | $(OUT)/libeu.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(OUT)/%.o: %.c Makefile | $(SKELS)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c $< -o $@

# .incbin is not among the dependencies that the compiler finds.
$(OUT)/harness/splat.o: vm/splats.deny vm/splats.allow

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
	$(Q)$(MAKE) --no-print-directory all selftests
	$(Q)tests/check.sh

check-vm: deps arm64
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/check.sh vm

format:
	clang-format -i $(wildcard *.[ch] */*.[ch] */*/*.[ch])

clean:
	rm -rf $(OUT) test_progs

-include $(OBJS:.o=.d) $(WATCH_OBJS:.o=.d) $(UNIT_OBJS:.o=.d) $(CASE_OBJS:.o=.d) $(SKELS:.skel.h=.bpf.d)
.PRECIOUS: $(OUT)/%.bpf.o
.DELETE_ON_ERROR:
.PHONY: all selftests deps run run-vm arm64 check check-vm format clean
