// SPDX-License-Identifier: GPL-2.0-only
/*
 * dladdr(3) knows neither static functions nor, in a static program, anything at all; the symbol
 * table in the file of the program does.
 */
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <unistd.h>

#include "harness/symbolize.h"
#include "network_helpers.h"

static Elf_Scn *find_symbol_table(Elf *elf, GElf_Shdr *header)
{
	Elf_Scn *section = NULL;

	while ((section = elf_nextscn(elf, section))) {
		if (gelf_getshdr(section, header) && header->sh_type == SHT_SYMTAB)
			return section;
	}
	return NULL;
}

static bool covers(const GElf_Sym *sym, GElf_Addr address)
{
	return GELF_ST_TYPE(sym->st_info) == STT_FUNC && address >= sym->st_value &&
	       address < sym->st_value + sym->st_size;
}

static bool look_up(Elf *elf, GElf_Addr address, char *buf, size_t size)
{
	GElf_Shdr header;
	Elf_Scn *section = find_symbol_table(elf, &header);
	Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
	GElf_Sym sym;

	for (int i = 0; data && gelf_getsym(data, i, &sym); i++) {
		if (!covers(&sym, address))
			continue;
		snprintf(buf, size, "%s+0x%llx", elf_strptr(elf, header.sh_link, sym.st_name),
			 (unsigned long long)(address - sym.st_value));
		return true;
	}
	return false;
}

const char *symbolize(const void *address, char *buf, size_t size)
{
	int fd __auto_close = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	Elf *elf;

	snprintf(buf, size, "%p", address);
	if (fd < 0 || elf_version(EV_CURRENT) == EV_NONE)
		return buf;
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf) {
		look_up(elf, (GElf_Addr)address, buf, size);
		elf_end(elf);
	}
	return buf;
}
