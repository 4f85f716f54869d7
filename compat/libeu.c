// SPDX-License-Identifier: GPL-2.0-only
/*
 * The static libelf of elfutils 0.192 (Debian 13) refers to two functions of a library that is not
 * shipped. They set up and tear down a tree that only elf_getdata_rawchunk() puts anything into,
 * and neither libbpf nor this program calls that. The linker takes them from here only if libelf
 * itself does not have them.
 */
void eu_search_tree_init(void *tree);
void eu_search_tree_fini(void *tree, void (*free_node)(void *node));

void eu_search_tree_init(void *tree)
{
	(void)tree;
}

void eu_search_tree_fini(void *tree, void (*free_node)(void *node))
{
	(void)tree;
	(void)free_node;
}
