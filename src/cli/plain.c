/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/plain.h"

#include <stdint.h>
#include <string.h>

#include "util/util.h"

/* Length of the character that @text begins with; 0: that is no UTF-8. */
static size_t decode(const char *text, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first = (uint8_t)*text;
	size_t length = first < 0x80 ? 1 : first >> 5 == 0x6 ? 2 : first >> 4 == 0xe ? 3 : first >> 3 == 0x1e ? 4 : 0;

	*out = length > 1 ? first & (0x7fu >> length) : first;
	for (size_t i = 1; i < length; i++) {
		if (((uint8_t)text[i] & 0xc0) != 0x80)
			return 0;
		*out = *out << 6 | ((uint8_t)text[i] & 0x3f);
	}
	return *out < least[length] ? 0 : length;
}

static bool printable(uint32_t character)
{
	static const struct {
		uint32_t first, last;
	} others[] = {
		/* control */
		{0, 0x1f},
		{0x7f, 0x9f},
		/* invisible, or they change the order */
		{0x61c, 0x61c},
		{0x200b, 0x200f},
		{0x2028, 0x202e},
		{0x2060, 0x206f},
		{0xfeff, 0xfeff},
		{0xfff9, 0xfffb},
		{0xe0000, 0xe0fff},
		/* none */
		{0xd800, 0xdfff},
		{0x110000, UINT32_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (character >= others[i].first && character <= others[i].last)
			return false;
	return true;
}

void make_plain(char *text, size_t size, bool lines)
{
	char *to = text;
	uint32_t character;

	text[size - 1] = '\0';
	while (*text) {
		size_t length = decode(text, &character);

		if (length && (printable(character) || (lines && *text == '\n'))) {
			memmove(to, text, length);
			to += length;
		} else {
			*to++ = '?';
		}
		text += length ? length : 1;
	}
	*to = '\0';
}
