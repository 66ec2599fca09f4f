/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every benchmark needs: pinning, a clock, repeats that alternate the measured code with its floor, and a report.
 *
 * A result is one line {name, value, unit, floor, ratio, note}. value and floor are minima of the repeats; the medians are in the
 * note. A program appends its lines to the file that $UIOMMU_BENCH_OUT names, and prints them as a table.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A measured piece of code: does its work once and returns the time per operation (or per transfer) in ns. */
typedef double (*bench_fn)(void *opaque);

struct bench_sample {
	double min;
	double median;
};

struct bench_pair {
	struct bench_sample value;
	struct bench_sample floor;
};

void bench_pin(pid_t pid, unsigned int cpu);
double bench_now_ns(void);
int bench_compare(const void *a, const void *b); /* of two doubles, for qsort() */

struct bench_sample bench_measure(bench_fn fn, void *opaque, unsigned int repeats);

/* Value and floor in turn, so that a noisy stretch of the machine hits both. */
struct bench_pair bench_measure_pair(bench_fn value, bench_fn floor, void *opaque, unsigned int repeats);

/* @limit is only printed; none if it is negative (or 0 for a ratio). */
void bench_report_pair(const char *name, const char *unit, const struct bench_pair *pair, double limit, const char *note);
/* More is better: @limit is what the ratio has to be at least. */
void bench_report_least(const char *name, const char *unit, double value, double floor, double limit, const char *note);
void bench_report_value(const char *name, const char *unit, double value, double limit, const char *note);
void bench_report_skip(const char *name, const char *why);

#endif
