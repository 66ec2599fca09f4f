/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/vma.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/util.h"

/* From <linux/fs.h> of Linux 6.11; the ABI is fixed, and the header on the machine may be older. */
struct procmap_query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

_Static_assert(sizeof(struct procmap_query) == 104, "struct procmap_query");

#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

enum {
	QUERY_READABLE = 0x01,
	QUERY_WRITABLE = 0x02,
	QUERY_EXECUTABLE = 0x04,
	QUERY_SHARED = 0x08,
	QUERY_COVERING_OR_NEXT = 0x10,
};

enum {
	LINE_MAX_BYTES = PATH_MAX + 128, /* a name with escapes can be longer: its end is cut off then */
	CHUNK = 4096, /* the kernel hands out no more at once */
	ATTEMPTS = 16,
};

/* Keep the end of @name: that is where files differ. */
static void name_set(struct process_vma *out, const char *name, size_t length)
{
	static const char dots[] = "...";
	size_t room = sizeof(out->name) - 1;

	if (length <= room) {
		memcpy(out->name, name, length);
		out->name[length] = 0;
		return;
	}
	room -= sizeof(dots) - 1;
	memcpy(out->name, dots, sizeof(dots) - 1);
	memcpy(out->name + sizeof(dots) - 1, name + length - room, room);
	out->name[sizeof(out->name) - 1] = 0;
}

static int query(struct vmas *vmas, uint64_t address, char *name, uint32_t name_size, struct process_vma *out)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_flags = QUERY_COVERING_OR_NEXT,
		.query_addr = address,
		.vma_name_addr = (uint64_t)(uintptr_t)name,
		.vma_name_size = name_size,
	};

	while (ioctl(vmas->fd, PROCMAP_QUERY_IOCTL, &query) < 0)
		if (errno != EINTR)
			return -errno;
	out->start = query.vma_start;
	out->end = query.vma_end;
	out->access = (query.vma_flags & QUERY_READABLE ? UIOMMU_READ : 0U) |
		      (query.vma_flags & QUERY_WRITABLE ? UIOMMU_WRITE : 0U) |
		      (query.vma_flags & QUERY_EXECUTABLE ? UIOMMU_EXEC : 0U);
	out->file = (struct file_id){makedev(query.dev_major, query.dev_minor), (ino_t)query.inode};
	out->offset = query.vma_offset;
	out->shared = query.vma_flags & QUERY_SHARED;
	if (query.vma_name_size && name)
		name_set(out, name, strnlen(name, query.vma_name_size));
	return query.vma_start <= address ? 0 : -ENOENT;
}

/* Apart from query(): most questions do not need a buffer for a name. */
static __attribute__((noinline)) int query_with_name(struct vmas *vmas, uint64_t address, struct process_vma *out)
{
	char name[PATH_MAX];
	int rc = query(vmas, address, name, sizeof(name), out);

	return rc == -ENAMETOOLONG ? query(vmas, address, NULL, 0, out) : rc;
}

/*
 * Lines of /proc/PID/maps. The file is one that others hold, too (it came over a socket): its read position is shared, so every
 * read says where it wants to go on. As long as nobody reads in between, the kernel goes on at the next address; otherwise it
 * counts bytes from the start, which may end up inside another line if mappings have come or gone. So a line has to be a line, and
 * above the one before; if it is not, start again.
 */
struct lines {
	int fd;
	off_t offset;
	size_t start;
	size_t end;
	char chunk[CHUNK];
	char line[LINE_MAX_BYTES];
};

/* 1 and a line without its newline, its end cut off if it is too long; 0 at the end; -errno. */
static int line_next(struct lines *lines, size_t *length)
{
	for (*length = 0;; lines->start++) {
		if (lines->start == lines->end) {
			ssize_t n = pread(lines->fd, lines->chunk, sizeof(lines->chunk), lines->offset);

			if (n <= 0)
				return n < 0 ? -errno : 0;
			lines->start = 0;
			lines->end = (size_t)n;
			lines->offset += n;
		}
		if (lines->chunk[lines->start] == '\n')
			break;
		if (*length < sizeof(lines->line))
			lines->line[(*length)++] = lines->chunk[lines->start];
	}
	lines->start++;
	return 1;
}

struct cursor {
	const char *at;
	const char *end;
};

static bool take(struct cursor *cursor, char wanted)
{
	if (cursor->at == cursor->end || *cursor->at != wanted)
		return false;
	cursor->at++;
	return true;
}

/* The kernel writes addresses with at least eight digits; fewer means that the line has lost its beginning. */
static bool take_address(struct cursor *cursor, uint64_t *out)
{
	unsigned int digits = 0;

	for (*out = 0; cursor->at < cursor->end && digits <= 16; cursor->at++, digits++) {
		char c = *cursor->at;

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	return digits >= 8 && digits <= 16;
}

static bool take_access(struct cursor *cursor, unsigned int *out, bool *shared)
{
	static const char letters[] = "rwx";
	static const unsigned int bits[] = {UIOMMU_READ, UIOMMU_WRITE, UIOMMU_EXEC};

	*out = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
		if (take(cursor, letters[i]))
			*out |= bits[i];
		else if (!take(cursor, '-'))
			return false;
	*shared = take(cursor, 's');
	return *shared || take(cursor, 'p');
}

/* A number, which ends where no digit is. */
static uint64_t take_number(struct cursor *cursor, unsigned int base)
{
	uint64_t number = 0;

	for (; cursor->at < cursor->end; cursor->at++) {
		char c = *cursor->at;

		if (c >= '0' && c <= '9')
			number = number * base + (uint64_t)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			number = number * base + (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	return number;
}

/* "offset major:minor inode" */
static void take_file(struct cursor *cursor, struct process_vma *out)
{
	unsigned int major_number, minor_number;

	take(cursor, ' ');
	out->offset = take_number(cursor, 16);
	take(cursor, ' ');
	major_number = (unsigned int)take_number(cursor, 16);
	take(cursor, ':');
	minor_number = (unsigned int)take_number(cursor, 16);
	take(cursor, ' ');
	out->file = (struct file_id){makedev(major_number, minor_number), (ino_t)take_number(cursor, 10)};
}

/* "start-end rwxp offset device inode   name" */
static bool line_parse(const struct lines *lines, size_t length, bool name, struct process_vma *out)
{
	struct cursor cursor = {lines->line, lines->line + length};

	if (!take_address(&cursor, &out->start) || !take(&cursor, '-') || !take_address(&cursor, &out->end) ||
	    !take(&cursor, ' ') || !take_access(&cursor, &out->access, &out->shared) || !take(&cursor, ' ') ||
	    out->start >= out->end)
		return false;
	if (!name)
		return true;
	take_file(&cursor, out);
	while (take(&cursor, ' '))
		;
	name_set(out, cursor.at, (size_t)(cursor.end - cursor.at));
	return true;
}

/* As vmas_find(); -EAGAIN: what was read are not the lines of one reader. */
static int parse_once(struct vmas *vmas, uint64_t address, bool name, struct process_vma *out)
{
	struct lines lines = {.fd = vmas->fd};
	uint64_t above = 0;
	size_t length;
	int rc;

	while ((rc = line_next(&lines, &length)) > 0) {
		if (!line_parse(&lines, length, name, out) || out->start < above)
			return -EAGAIN;
		above = out->end;
		if (address < out->end)
			return address >= out->start ? 0 : -ENOENT;
	}
	if (rc < 0)
		return rc;
	*out = (struct process_vma){0};
	return above ? -ENOENT : -ESRCH; /* a file without a line: nobody uses the address space */
}

static int parse(struct vmas *vmas, uint64_t address, bool name, struct process_vma *out)
{
	int rc = -EAGAIN;

	pthread_mutex_lock(&vmas->lock);
	for (int i = 0; i < ATTEMPTS && rc == -EAGAIN; i++)
		rc = parse_once(vmas, address, name, out);
	pthread_mutex_unlock(&vmas->lock);
	return rc;
}

int vmas_find(struct vmas *vmas, uint64_t address, bool name, struct process_vma *out)
{
	*out = (struct process_vma){0};
	if (!vmas->query)
		return parse(vmas, address, name, out);
	return name ? query_with_name(vmas, address, out) : query(vmas, address, NULL, 0, out);
}

void vmas_init(struct vmas *vmas, int fd, bool do_parse)
{
	struct process_vma vma;
	int rc;

	*vmas = (struct vmas){.fd = fd, .query = !do_parse};
	pthread_mutex_init(&vmas->lock, NULL);
	if (do_parse || fd < 0)
		return;
	rc = query(vmas, 0, NULL, 0, &vma);
	vmas->query = rc != -ENOTTY && rc != -EINVAL;
}

void vmas_fini(struct vmas *vmas)
{
	pthread_mutex_destroy(&vmas->lock);
}
