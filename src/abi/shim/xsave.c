/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/xsave.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <string.h>

enum {
	XMM_AT = 160,
	SIGNAL_MAGIC_AT = 464, /* struct _fpx_sw_bytes: a magic number, the length, and what was saved */
	SIGNAL_HAS_AT = SIGNAL_MAGIC_AT + 8,
	SIGNAL_MAGIC = 0x46505853,
	XSTATE_BV_AT = 512,
	LEAF = 13,
	PARTS = 8,
};

/* By their bits; 0: this processor has none. */
static uint32_t offsets[PARTS], sizes[PARTS];

void xsave_init(void)
{
	static const uint8_t parts[] = {2, 5, 6, 7};
	uint32_t size, offset, c, d;

	offsets[1] = XMM_AT;
	sizes[1] = 16 * 16;
	for (unsigned int i = 0; i < sizeof(parts); i++) {
		if (!__get_cpuid_count(LEAF, parts[i], &size, &offset, &c, &d))
			return;
		offsets[parts[i]] = offset;
		sizes[parts[i]] = size;
	}
}

/* NULL: it is not there. */
static void *part(uint8_t *area, uint64_t has, uint64_t used, uint32_t bit)
{
	const unsigned int i = (unsigned int)__builtin_ctz(bit);

	if (!(has & bit) || !offsets[i])
		return NULL;
	if (!(used & bit))
		memset(area + offsets[i], 0, sizes[i]);
	return area + offsets[i];
}

static uint64_t get(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

void xsave_vectors(uint8_t *area, uint64_t has, struct insn_vectors *out)
{
	const uint64_t used = get(area + XSTATE_BV_AT);

	out->xmm = part(area, has, used, INSN_SSE);
	out->ymm = part(area, has, used, INSN_AVX);
	out->zmm = part(area, has, used, INSN_ZMM);
	out->more = part(area, has, used, INSN_MORE);
	out->masks = part(area, has, used, INSN_MASKS);
	out->written = 0;
}

void xsave_of_signal(uint8_t *area, struct insn_vectors *out)
{
	if ((uint32_t)get(area + SIGNAL_MAGIC_AT) == SIGNAL_MAGIC)
		xsave_vectors(area, get(area + SIGNAL_HAS_AT), out);
	else /* of a processor without XSAVE */
		*out = (struct insn_vectors){.xmm = (uint8_t(*)[16])(area + XMM_AT)};
}

void xsave_written(uint8_t *area, const struct insn_vectors *vectors)
{
	if ((uint32_t)get(area + SIGNAL_MAGIC_AT) == SIGNAL_MAGIC)
		area[XSTATE_BV_AT] |= (uint8_t)vectors->written;
}

#endif
