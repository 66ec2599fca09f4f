/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/fork.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "util/util.h"

uint32_t *fork_page;

static int page_make(void)
{
	size_t size = (size_t)page_size();
	uint32_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *none = NULL;

	if (page == MAP_FAILED)
		return -ENOMEM;
	if (madvise(page, size, MADV_WIPEONFORK) ||
	    !__atomic_compare_exchange_n(&fork_page, &none, page, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		munmap(page, size);
	return __atomic_load_n(&fork_page, __ATOMIC_ACQUIRE) ? 0 : -ENOMEM;
}

int fork_token(uint32_t *out)
{
	/* Ordinary memory: a child counts on from its parent's, so their tokens differ. */
	static uint32_t last;
	uint32_t none = 0;

	if (!__atomic_load_n(&fork_page, __ATOMIC_ACQUIRE) && page_make())
		return -ENOMEM;
	if (!__atomic_load_n(fork_page, __ATOMIC_RELAXED))
		__atomic_compare_exchange_n(fork_page, &none, __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED), false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	*out = __atomic_load_n(fork_page, __ATOMIC_RELAXED);
	return 0;
}
