/* SPDX-License-Identifier: BSD-3-Clause */
/* Small things that every file may use. */
#ifndef UTIL_UTIL_H
#define UTIL_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Built with ThreadSanitizer, which has to be told of what assembly and the kernel touch. */
#if defined(__SANITIZE_THREAD__)
#define SANITIZE_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZE_THREAD 1
#endif
#endif

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The least power of two that is not less; @value is 1 to 2^63. */
static inline uint64_t round_up_pow2(uint64_t value)
{
	return value > 1 ? UINT64_C(1) << (64 - __builtin_clzll(value - 1)) : 1;
}

/* Does the environment say to do without it? UIOMMU_WITHOUT is a list of names, "a,b"; unknown ones are somebody else's. */
bool feature_is_off(const char *name);

/* From sysconf, once. */
uint64_t page_size(void);

/*
 * Size-extensible structs of the public API: copy what the caller knows into @out (of @known bytes, zero-filled beyond).
 * -EINVAL if @size < @least, -E2BIG if the caller's unknown tail is not zero.
 */
int copy_struct(void *out, size_t known, size_t least, const void *in, size_t size);

#endif
