/* SPDX-License-Identifier: BSD-3-Clause */
/* The programs of a session. */
#include <errno.h>
#include <stdlib.h>

#include "abi/session/check.h"
#include "abi/session/session.h"

struct member *member_find(struct session *session, uint64_t token)
{
	struct member *member;

	pthread_mutex_lock(&session->lock);
	member = session->members;
	while (member && member->token != token)
		member = member->next;
	if (member)
		member->references++;
	pthread_mutex_unlock(&session->lock);
	return member;
}

struct member *member_with_work(struct session *session)
{
	struct member *member;

	pthread_mutex_lock(&session->lock);
	member = session->members;
	while (member && !check_has_work(member->memory))
		member = member->next;
	if (member)
		member->references++;
	pthread_mutex_unlock(&session->lock);
	return member;
}

struct member *member_before(struct session *session, uint64_t token)
{
	struct member *member;

	pthread_mutex_lock(&session->lock);
	/* The last one is the first in the list. */
	member = session->members;
	while (member && member->token >= token)
		member = member->next;
	if (member)
		member->references++;
	pthread_mutex_unlock(&session->lock);
	return member;
}

void member_put(struct session *session, struct member *member)
{
	struct member **link = &session->members;
	bool last;

	if (!member)
		return;
	pthread_mutex_lock(&session->lock);
	last = !--member->references;
	if (last) {
		while (*link != member)
			link = &(*link)->next;
		*link = member->next;
	}
	pthread_mutex_unlock(&session->lock);
	if (last) {
		watch_end_member(session, member);
		abi_memory_put(member->memory);
		free(member);
	}
}

int member_create(struct session *session, const struct uiommu_process *bundle, const struct member_facts *facts,
		  struct member **out)
{
	struct member *member = calloc(1, sizeof(*member));
	int error;

	if (!member)
		return -ENOMEM;
	error = abi_memory_create(bundle, &member->memory);
	if (!error && session->check) {
		error = check_begin(session, member->memory, facts->pid);
		if (error)
			abi_memory_put(member->memory);
	}
	if (error) {
		free(member);
		return error;
	}
	abi_memory_set_limit(member->memory, facts->lock_limit);
	member->facts = *facts;
	member->references = 1;
	pthread_mutex_lock(&session->lock);
	member->token = ++session->last_token;
	member->next = session->members;
	session->members = member;
	pthread_mutex_unlock(&session->lock);
	*out = member;
	return 0;
}
