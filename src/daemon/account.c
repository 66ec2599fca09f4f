/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/account.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static const char *const names[RESOURCES] = {
	[RESOURCE_EXECUTORS] = "executors",	[RESOURCE_PASIDS] = "pasids", [RESOURCE_QUEUES] = "queues",
	[RESOURCE_DESCRIPTORS] = "descriptors", [RESOURCE_AREAS] = "areas",   [RESOURCE_FDS] = "fds",
	[RESOURCE_DRAINING] = "draining",
};

/* docs/man/uiommud.8.scd has the same numbers. */
const struct limits limits_default = {
	.of =
		{
			[RESOURCE_EXECUTORS] = {1, 256},
			[RESOURCE_PASIDS] = {1024, 4096},
			[RESOURCE_QUEUES] = {64, 1024},
			[RESOURCE_DESCRIPTORS] = {16384, 262144},
			[RESOURCE_AREAS] = {4096, 16384},
			[RESOURCE_FDS] = {8192, 32768},
			[RESOURCE_DRAINING] = {256, 256},
		},
};

const char *resource_name(enum resource resource)
{
	return names[resource];
}

static bool parse_number(const char *text, const char **end, uint32_t *out)
{
	unsigned long value;
	char *stop;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &stop, 10);
	*end = stop;
	*out = (uint32_t)value;
	return !errno && value <= UINT32_MAX;
}

int limits_parse(struct limits *limits, const char *text)
{
	const char *equals = strchr(text, '='), *rest;
	struct limit limit;

	if (!equals || !parse_number(equals + 1, &rest, &limit.client))
		return -EINVAL;
	limit.user = limit.client;
	if (*rest == ':' && !parse_number(rest + 1, &rest, &limit.user))
		return -EINVAL;
	if (*rest)
		return -EINVAL;
	for (unsigned int i = 0; i < RESOURCES; i++) {
		if (strlen(names[i]) == (size_t)(equals - text) && !strncmp(text, names[i], (size_t)(equals - text))) {
			limits->of[i] = limit;
			return 0;
		}
	}
	return -EINVAL;
}

void accounts_init(struct accounts *accounts, const struct limits *limits)
{
	CDS_INIT_LIST_HEAD(&accounts->list);
	accounts->limits = *limits;
}

uint32_t accounts_used(const struct accounts *accounts, enum resource resource)
{
	const struct account *account;
	uint32_t sum = 0;

	cds_list_for_each_entry (account, &accounts->list, link)
		sum += account->used[resource];
	return sum;
}

void accounts_wipe(struct accounts *accounts)
{
	struct account *account, *next;

	cds_list_for_each_entry_safe (account, next, &accounts->list, link)
		explicit_bzero(account, sizeof(*account));
}

int usage_init(struct accounts *accounts, struct usage *usage, uid_t uid)
{
	struct account *account;

	memset(usage, 0, sizeof(*usage));
	cds_list_for_each_entry (account, &accounts->list, link) {
		if (account->uid == uid) {
			account->references++;
			usage->account = account;
			return 0;
		}
	}
	account = calloc(1, sizeof(*account));
	if (!account)
		return -ENOMEM;
	account->uid = uid;
	account->references = 1;
	cds_list_add(&account->link, &accounts->list);
	usage->account = account;
	return 0;
}

void usage_fini(struct usage *usage)
{
	struct account *account = usage->account;

	for (unsigned int i = 0; i < RESOURCES; i++)
		usage_give(usage, i, usage->used[i]);
	usage->account = NULL;
	if (--account->references)
		return;
	cds_list_del(&account->link);
	explicit_bzero(account, sizeof(*account));
	free(account);
}

enum refusal usage_take(const struct accounts *accounts, struct usage *usage, enum resource resource, uint32_t amount)
{
	const struct limit *limit = &accounts->limits.of[resource];
	uint32_t sum;

	if (__builtin_add_overflow(usage->used[resource], amount, &sum) || sum > limit->client)
		return REFUSED_CLIENT;
	if (__builtin_add_overflow(usage->account->used[resource], amount, &sum) || sum > limit->user)
		return REFUSED_USER;
	usage_count(usage, resource, amount);
	return REFUSED_NOT;
}

void usage_count(struct usage *usage, enum resource resource, uint32_t amount)
{
	usage->used[resource] += amount;
	usage->account->used[resource] += amount;
}

void usage_give(struct usage *usage, enum resource resource, uint32_t amount)
{
	if (amount > usage->used[resource])
		amount = usage->used[resource];
	usage->used[resource] -= amount;
	usage->account->used[resource] -= amount;
}

bool usage_is_draining(const struct accounts *accounts, const struct usage *usage)
{
	const struct limit *limit = &accounts->limits.of[RESOURCE_DRAINING];

	return usage->used[RESOURCE_DRAINING] >= limit->client || usage->account->used[RESOURCE_DRAINING] >= limit->user;
}
