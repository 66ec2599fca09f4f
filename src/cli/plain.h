/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that somebody else has chosen: names of programs and files. */
#ifndef CLI_PLAIN_H
#define CLI_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Replace with '?' what is no printable character of UTF-8: afterwards a terminal does nothing with it but print it, in the order
 * that it has, and JSON may contain it. It ends within @size. @lines: ends of lines stay.
 */
void make_plain(char *text, size_t size, bool lines);

#endif
