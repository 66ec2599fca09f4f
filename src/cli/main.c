/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <uiommu/types.h>

#include "cli/cli.h"
#include "util/util.h"

static const struct command *const commands[] = {
	&command_copy,	&command_fill,	 &command_crc, &command_compare,   &command_ls,	 &command_stat,
	&command_fault, &command_doctor, &command_vm,  &command_qemu_args, &command_run, &command_walk,
};

static void print_usage(FILE *out)
{
	fputs("usage: uiommu COMMAND [OPTIONS]\n\n"
	      "Let a software device work in the address spaces of live processes.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nuiommu COMMAND --help says more; so does uiommu(1).\n", out);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--version") == 0) {
		printf("uiommu %s\n", uiommu_version());
		return finish_output(STATUS_OK);
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		print_usage(stdout);
		return finish_output(STATUS_OK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(name, commands[i]->name) == 0)
			return finish_output(commands[i]->run(commands[i], argc - 1, argv + 1));
	if (*name)
		complain(STATUS_USAGE, "no such command: %s", name);
	print_usage(stderr);
	return STATUS_USAGE;
}
