/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

enum { REPEATS_MAX = 64 };

void bench_pin(pid_t pid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	if (sched_setaffinity(pid, sizeof(set), &set))
		support_die("sched_setaffinity");
}

double bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct bench_sample summarise(double *values, unsigned int count)
{
	qsort(values, count, sizeof(*values), bench_compare);
	return (struct bench_sample){values[0], values[count / 2]};
}

struct bench_sample bench_measure(bench_fn fn, void *opaque, unsigned int repeats)
{
	double values[REPEATS_MAX];

	for (unsigned int i = 0; i < repeats && i < REPEATS_MAX; i++)
		values[i] = fn(opaque);
	return summarise(values, repeats < REPEATS_MAX ? repeats : REPEATS_MAX);
}

struct bench_pair bench_measure_pair(bench_fn value, bench_fn floor, void *opaque, unsigned int repeats)
{
	double values[REPEATS_MAX], floors[REPEATS_MAX];
	unsigned int count = repeats < REPEATS_MAX ? repeats : REPEATS_MAX;

	for (unsigned int i = 0; i < count; i++) {
		floors[i] = floor(opaque);
		values[i] = value(opaque);
	}
	return (struct bench_pair){summarise(values, count), summarise(floors, count)};
}

static void json_number(FILE *out, const char *key, const double *number)
{
	if (number)
		fprintf(out, "\"%s\": %.6g, ", key, *number);
	else
		fprintf(out, "\"%s\": null, ", key);
}

static void report(const char *name, const char *unit, const double *value, const double *floor, const char *note)
{
	const char *path = getenv("UIOMMU_BENCH_OUT");
	double ratio = value && floor ? *value / *floor : 0;
	FILE *out;

	if (!path)
		return;
	out = fopen(path, "a");
	if (!out)
		support_die(path);
	fprintf(out, "{\"name\": \"%s\", ", name);
	json_number(out, "value", value);
	fprintf(out, "\"unit\": \"%s\", ", unit);
	json_number(out, "floor", floor);
	json_number(out, "ratio", value && floor ? &ratio : NULL);
	fprintf(out, "\"note\": \"%s\"}\n", note);
	if (fclose(out))
		support_die(path);
}

void bench_report_pair(const char *name, const char *unit, const struct bench_pair *pair, double limit, const char *note)
{
	double ratio = pair->value.min / pair->floor.min;
	char full[512], judged[32] = "";

	snprintf(full, sizeof(full), "%s%smedian %.6g, floor's median %.6g", note, *note ? "; " : "", pair->value.median,
		 pair->floor.median);
	if (limit > 0)
		snprintf(judged, sizeof(judged), "limit %.2f %s", limit, ratio <= limit ? "ok" : "MISSED");
	printf("%-28s %12.6g %-8s floor %12.6g  ratio %5.2f  %-18s %s\n", name, pair->value.min, unit, pair->floor.min, ratio,
	       judged, full);
	fflush(stdout);
	report(name, unit, &pair->value.min, &pair->floor.min, full);
}

void bench_report_least(const char *name, const char *unit, double value, double floor, double limit, const char *note)
{
	double ratio = value / floor;
	char judged[48];

	snprintf(judged, sizeof(judged), "at least %.2f %s", limit, ratio >= limit ? "ok" : "MISSED");
	printf("%-28s %12.6g %-8s floor %12.6g  ratio %5.2f  %-18s %s\n", name, value, unit, floor, ratio, judged, note);
	fflush(stdout);
	report(name, unit, &value, &floor, note);
}

void bench_report_value(const char *name, const char *unit, double value, double limit, const char *note)
{
	char judged[48] = "";

	if (limit >= 0)
		snprintf(judged, sizeof(judged), "limit %.4g %s", limit, value <= limit ? "ok" : "MISSED");
	printf("%-28s %12.6g %-8s %31s  %-18s %s\n", name, value, unit, "", judged, note);
	fflush(stdout);
	report(name, unit, &value, NULL, note);
}

void bench_report_skip(const char *name, const char *why)
{
	char note[256];

	snprintf(note, sizeof(note), "skipped: %s", why);
	printf("%-28s %s\n", name, note);
	report(name, "ns", NULL, NULL, note);
}
