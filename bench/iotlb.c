/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb_hit_*: a translation through the public call with the attachment in hand, of pages of a guest's VT-d first stage that are
 * all cached, beside the barest four-way set-associative lookup. dma_read_8: look up, translate and copy 8 bytes, beside that hit.
 * invalidate_*: forget and wait, with nobody in flight or one thread that reads all the time, beside a bare grace period.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uiommu/uiommu.h>
#include <urcu/urcu-memb.h>

#include "guest_ram.h"
#include "harness.h"
#include "util/rcu.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { PAGES = 1024, PASIDS = 16, LOOKUPS = 1 << 16, REPEATS = 60, INVALIDATIONS = 200 };

struct set {
	uint64_t key[4];
	uint64_t value[4];
} __attribute__((aligned(64)));

struct lookup {
	uint64_t address;
	uint32_t pasid; /* from 1 on */
};

struct run {
	struct guest guest;
	struct uiommu_device *device;
	uint32_t device_id, parent, nested[PASIDS + 1];
	struct uiommu_attachment *attachment[PASIDS + 1];
	struct set *sets;
	uint64_t set_mask;
	struct lookup *lookups;
	bool stop, reading;
};

static void make_nested(struct run *run, uint32_t pasid)
{
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = UIOMMU_HWPT_PASID,
		.parent_id = run->parent,
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST,
			  .base = {page_new(&run->guest)},
			  .levels = 4,
			  .output_lg2 = 46,
			  .flags = 3},
	};
	uint64_t page = page_new(&run->guest);

	for (uint64_t i = 0; i < PAGES; i++)
		map_page(&run->guest, nested.first.base[0], VA + i * PAGE, page | 0x7);
	support_check(!uiommu_hwpt_alloc_nested(run->guest.context, &nested, &run->nested[pasid]));
	support_check(!uiommu_attach(run->guest.context, run->device_id, pasid, run->nested[pasid]));
	run->attachment[pasid] = uiommu_attachment_get(run->device, pasid);
}

static void make(struct run *run)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "bench", .pasid_bits = 20};
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_NEST_PARENT, .iotlb_entries = 1 << 16};

	guest_make(&run->guest);
	alloc.parent_id = run->guest.ioas;
	support_check(!uiommu_hwpt_alloc(run->guest.context, &alloc, &run->parent));
	support_check(!uiommu_device_alloc(run->guest.context, &config, &run->device_id));
	run->device = uiommu_device_get(run->guest.context, run->device_id);
	for (uint32_t pasid = 1; pasid <= PASIDS; pasid++)
		make_nested(run, pasid);
}

static uint64_t key_of(const struct lookup *lookup)
{
	return (lookup->address >> 12) | (uint64_t)lookup->pasid << 44;
}

static struct set *set_of(const struct run *run, uint64_t key)
{
	return &run->sets[(key ^ (key >> 44) * 1024) & run->set_mask];
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static inline int way_avx2(const struct set *set, uint64_t key)
{
	__m256i equal =
		_mm256_cmpeq_epi64(_mm256_load_si256((const __m256i *)(const void *)set->key), _mm256_set1_epi64x((long long)key));

	return __builtin_ctz((unsigned int)_mm256_movemask_pd(_mm256_castsi256_pd(equal)) | 16);
}

__attribute__((target("avx2"))) static double bare_avx2(const struct run *run)
{
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		uint64_t key = key_of(&run->lookups[i]);
		const struct set *set = set_of(run, key);
		int way = way_avx2(set, key);

		if (way < 4)
			sum += set->value[way] | (run->lookups[i].address & (PAGE - 1));
	}
	support_check(sum);
	return (bench_now_ns() - begin) / LOOKUPS;
}
#endif

static double bare_plain(const struct run *run)
{
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		uint64_t key = key_of(&run->lookups[i]);
		const struct set *set = set_of(run, key);

		for (unsigned int way = 0; way < 4; way++)
			if (set->key[way] == key) {
				sum += set->value[way] | (run->lookups[i].address & (PAGE - 1));
				break;
			}
	}
	support_check(sum);
	return (bench_now_ns() - begin) / LOOKUPS;
}

static double bare(void *opaque)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return bare_avx2(opaque);
#endif
	return bare_plain(opaque);
}

static double hits(void *opaque)
{
	const struct run *run = opaque;
	struct uiommu_translation out;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		const struct lookup *lookup = &run->lookups[i];

		support_check(!uiommu_translate(run->attachment[lookup->pasid], lookup->address, UIOMMU_READ, &out));
		sum += out.address;
	}
	support_check(sum);
	return (bench_now_ns() - begin) / LOOKUPS;
}

static double reads(void *opaque)
{
	const struct run *run = opaque;
	double begin = bench_now_ns();
	uint64_t sum = 0, value;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		const struct lookup *lookup = &run->lookups[i];

		support_check(!uiommu_dma_read(run->device, lookup->pasid, lookup->address, &value, 8, NULL));
		sum += value;
	}
	support_check(sum + 1);
	return (bench_now_ns() - begin) / LOOKUPS;
}

/* @pages of each of @pasids, in random order, in both caches. */
static void choose(struct run *run, unsigned int pages, unsigned int pasids)
{
	uint64_t sets = 64;

	while (sets * 2 < (uint64_t)pages * pasids)
		sets *= 2;
	free(run->sets);
	run->sets = aligned_alloc(64, sets * sizeof(*run->sets));
	if (!run->lookups)
		run->lookups = malloc(LOOKUPS * sizeof(*run->lookups));
	support_check(run->sets && run->lookups);
	memset(run->sets, 0, sets * sizeof(*run->sets));
	run->set_mask = sets - 1;
	srand(1);
	for (unsigned int i = 0; i < LOOKUPS; i++) {
		struct lookup *lookup = &run->lookups[i];
		uint64_t key;
		struct set *set;

		*lookup = (struct lookup){VA + (uint64_t)(rand() % (int)pages) * PAGE + (uint64_t)(rand() % 512) * 8,
					  1 + (uint32_t)(rand() % (int)pasids)};
		key = key_of(lookup);
		set = set_of(run, key);
		for (unsigned int way = 0; way < 4; way++)
			if (!set->key[way] || set->key[way] == key) {
				set->key[way] = key;
				set->value[way] = PAGE;
				break;
			}
	}
}

static double forget(void *opaque, uint32_t id, uint64_t last)
{
	struct run *run = opaque;
	const struct uiommu_invalidation request = {.start = last == UINT64_MAX ? 0 : VA, .last = last};
	double begin = bench_now_ns();

	for (unsigned int i = 0; i < INVALIDATIONS; i++)
		support_check(!uiommu_hwpt_invalidate(run->guest.context, id, &request, 1));
	return (bench_now_ns() - begin) / INVALIDATIONS;
}

static double forget_page(void *opaque)
{
	return forget(opaque, ((struct run *)opaque)->nested[1], VA + PAGE - 1);
}

static double forget_pasid(void *opaque)
{
	return forget(opaque, ((struct run *)opaque)->nested[1], UINT64_MAX);
}

static double forget_domain(void *opaque)
{
	return forget(opaque, ((struct run *)opaque)->parent, UINT64_MAX);
}

static double grace(void *opaque)
{
	double begin = bench_now_ns();

	(void)opaque;
	for (unsigned int i = 0; i < INVALIDATIONS; i++)
		urcu_memb_synchronize_rcu();
	return (bench_now_ns() - begin) / INVALIDATIONS;
}

static void *busy(void *opaque)
{
	struct run *run = opaque;
	uint64_t value;

	bench_pin(0, 0);
	urcu_memb_register_thread();
	for (unsigned int i = 0; !__atomic_load_n(&run->stop, __ATOMIC_RELAXED); i++) {
		urcu_memb_read_lock(); /* for grace() */
		support_check(!uiommu_dma_read(run->device, 2, VA + i % PAGES * PAGE, &value, 8, NULL));
		urcu_memb_read_unlock();
		__atomic_store_n(&run->reading, true, __ATOMIC_RELEASE);
	}
	urcu_memb_unregister_thread();
	return NULL;
}

static void invalidations(struct run *run)
{
	static const struct {
		const char *name;
		bench_fn fn;
	} kinds[] = {{"invalidate_page", forget_page}, {"invalidate_pasid", forget_pasid}, {"invalidate_domain", forget_domain}};
	struct bench_sample sample;
	struct bench_pair pair;
	pthread_t thread;
	char name[64];

	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		sample = bench_measure(kinds[i].fn, run, REPEATS);
		bench_report_value(kinds[i].name, "ns", sample.min, 1000, "no reader in a section");
	}
	support_check(!pthread_create(&thread, NULL, busy, run));
	while (!__atomic_load_n(&run->reading, __ATOMIC_ACQUIRE))
		sched_yield();
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pair = bench_measure_pair(kinds[i].fn, grace, run, REPEATS);
		snprintf(name, sizeof(name), "%s_busy", kinds[i].name);
		bench_report_pair(name, "ns", &pair, 1.5, "one thread reads; a bare grace period of liburcu");
	}
	__atomic_store_n(&run->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* Threads that translate, each through PASIDs of its own, and one that sleeps, wakes now and then, or invalidates as often. */
enum { CROWD = 2, SPELL_MS = 40, PERIOD_US = 100 };

enum third { SLEEPS, WAKES, INVALIDATES };

struct crowd {
	struct run *run;
	unsigned int threads;
	enum third third;
	bool bare; /* the lookup alone */
	pthread_barrier_t ready;
	bool stop;
	uint64_t done[CROWD * 16]; /* a cache line each */
};

struct one {
	struct crowd *crowd;
	unsigned int number;
};

static void *translate_all(void *opaque)
{
	const struct one *one = opaque;
	struct crowd *crowd = one->crowd;
	struct run *run = crowd->run;
	struct uiommu_translation out;
	uint64_t done = 0;

	bench_pin(0, one->number);
	pthread_barrier_wait(&crowd->ready);
	while (!__atomic_load_n(&crowd->stop, __ATOMIC_RELAXED)) {
		if (crowd->bare) {
			bare(run);
			done += LOOKUPS;
			continue;
		}
		for (unsigned int i = 0; i < 1024; i++) {
			const struct lookup *lookup = &run->lookups[(one->number * (LOOKUPS / 2) + done + i) % LOOKUPS];

			support_check(!uiommu_translate(run->attachment[lookup->pasid], lookup->address, UIOMMU_READ, &out));
		}
		done += 1024;
	}
	crowd->done[one->number * 16] = done;
	return NULL;
}

static void spell(struct crowd *crowd)
{
	double next = bench_now_ns(), end = next + SPELL_MS * 1e6;
	struct run *run = crowd->run;
	struct timespec when;

	for (unsigned int i = 0; bench_now_ns() < end; i++) {
		const struct uiommu_invalidation page = {.start = VA + i % PAGES * PAGE, .last = VA + i % PAGES * PAGE + PAGE - 1};

		if (crowd->third == INVALIDATES)
			support_check(!uiommu_hwpt_invalidate(run->guest.context, run->nested[1 + i % PASIDS], &page, 1));
		/* At fixed times, so that it is this many a second whatever an invalidation takes. */
		next = crowd->third == SLEEPS ? end : next + PERIOD_US * 1e3;
		when = (struct timespec){(time_t)(next / 1e9), (long)(next - (double)(time_t)(next / 1e9) * 1e9)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
	}
	__atomic_store_n(&crowd->stop, true, __ATOMIC_RELAXED);
}

/* Translations per microsecond, of all threads together. */
static double throughput(struct run *run, unsigned int threads, enum third third, bool bare_only)
{
	struct crowd crowd = {.run = run, .threads = threads, .third = third, .bare = bare_only};
	pthread_t thread[CROWD];
	struct one one[CROWD];
	double begin, total = 0;

	pthread_barrier_init(&crowd.ready, NULL, threads + 1);
	for (unsigned int i = 0; i < threads; i++) {
		one[i] = (struct one){&crowd, i};
		support_check(!pthread_create(&thread[i], NULL, translate_all, &one[i]));
	}
	pthread_barrier_wait(&crowd.ready);
	begin = bench_now_ns();
	spell(&crowd);
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	for (unsigned int i = 0; i < threads; i++)
		total += (double)crowd.done[i * 16];
	pthread_barrier_destroy(&crowd.ready);
	return total * 1e3 / (bench_now_ns() - begin);
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

static void threads(struct run *run)
{
	double one = 0, two = 0, woken = 0, disturbed = 0, bare_one = 0, bare_two = 0;
	char note[128];
	cpu_set_t any;

	/* Whoever invalidates runs where there is room. */
	CPU_ZERO(&any);
	for (size_t cpu = 0; cpu < CROWD; cpu++)
		CPU_SET(cpu, &any);
	sched_setaffinity(0, sizeof(any), &any);
	for (unsigned int i = 0; i < REPEATS / 3; i++) {
		one = larger(one, throughput(run, 1, SLEEPS, false));
		two = larger(two, throughput(run, 2, SLEEPS, false));
		woken = larger(woken, throughput(run, 2, WAKES, false));
		disturbed = larger(disturbed, throughput(run, 2, INVALIDATES, false));
		bare_one = larger(bare_one, throughput(run, 1, SLEEPS, true));
		bare_two = larger(bare_two, throughput(run, 2, SLEEPS, true));
	}
	snprintf(note, sizeof(note), "one thread; best of the repeats; two threads of bare lookups: %.2f", bare_two / bare_one);
	bench_report_least("translate_2threads", "per us", two, one, 1.9, note);
	bench_report_least("translate_2threads_inval", "per us", disturbed, woken, 0.9,
			   "10,000 pages/s are invalidated by a third thread; the same with it only waking");
	bench_pin(0, 1);
}

int main(void)
{
	struct run run = {.stop = false};
	struct bench_pair pair;

	bench_pin(0, 1);
	support_check(!uiommu_install_fault_handler());
	make(&run);
	choose(&run, 64, 1);
	pair = bench_measure_pair(hits, bare, &run, REPEATS);
	bench_report_pair("iotlb_hit_64", "ns", &pair, 2.5, "bare 4-way lookup");
	pair = bench_measure_pair(reads, hits, &run, REPEATS);
	bench_report_pair("dma_read_8", "ns", &pair, 2, "iotlb_hit_64");
	choose(&run, PAGES, PASIDS);
	pair = bench_measure_pair(hits, bare, &run, REPEATS);
	bench_report_pair("iotlb_hit_1024x16pasids", "ns", &pair, 2.5, "bare 4-way lookup");
	threads(&run);
	invalidations(&run);
	for (uint32_t pasid = 1; pasid <= PASIDS; pasid++)
		uiommu_attachment_put(run.attachment[pasid]);
	uiommu_device_put(run.device);
	support_check(!uiommu_close(run.guest.context));
	munmap(run.guest.ram, RAM_BYTES);
	free(run.sets);
	free(run.lookups);
	return 0;
}
