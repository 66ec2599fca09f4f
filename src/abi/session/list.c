/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What there is, one line for each: type, id, of which file, pid, users, name, with tabs between them; and of an object what else
 * is to be said of it, words "key=value". A number that makes no sense for the type is 0. A file's id is its inode, which a program
 * sees with fstat(2).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "abi/session/session.h"
#include "abi/vfio.h"
#include "util/util.h"

/* Where it is, and which object it is of which file. */
static void list_device(FILE *out, const struct abi_file *file)
{
	uint32_t id = 0;
	const struct abi_file *iommufd = vfio_file_iommufd(file, &id);
	struct stat stat;

	fprintf(out, "bdf=%s", vfio_file_address(file));
	if (iommufd && !fstat(iommufd->descriptor, &stat))
		fprintf(out, " iommufd=%" PRIu64 " device=%" PRIu32, (uint64_t)stat.st_ino, id);
}

void session_list_file(FILE *out, uint64_t id, struct abi_file *file)
{
	struct uiommu_context *context = iommufd_context(file);

	fprintf(out, "file\t%" PRIu64 "\t0\t0\t%u\t%s\t", id, __atomic_load_n(&file->references, __ATOMIC_RELAXED), file->name);
	if (vfio_is_device(file))
		list_device(out, file);
	fprintf(out, "\n");
	if (context)
		objects_list(out, context, id);
}

static void list_programs(FILE *out, struct session *session)
{
	pthread_mutex_lock(&session->lock);
	for (struct member *member = session->members; member; member = member->next)
		fprintf(out, "program\t%" PRIu64 "\t0\t%d\t%u\t-\t\n", member->token, member->facts.pid, member->references);
	pthread_mutex_unlock(&session->lock);
}

FILE *session_memfd(const char *name, int *fd)
{
	FILE *out;
	int copy;

	*fd = memfd_create(name, MFD_CLOEXEC);
	copy = *fd < 0 ? -1 : dup(*fd);
	out = copy < 0 ? NULL : fdopen(copy, "w");
	if (out)
		return out;
	if (copy >= 0)
		close(copy);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return NULL;
}

int session_list(struct session *session, int *fd)
{
	FILE *out = session_memfd("list", fd);

	if (!out)
		return -EMFILE;
	list_programs(out, session);
	held_list(session, out);
	fclose(out);
	return 0;
}
