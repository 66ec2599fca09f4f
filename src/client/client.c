/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/accel/queue.h"
#include "devices/accel/ring.h"
#include "util/fork.h"
#include "util/util.h"

/* --- connect --- */

static int default_path(char *path, size_t size)
{
	const char *given = secure_getenv("UIOMMU_SOCKET"), *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (given && *given)
		return snprintf(path, size, "%s", given) < (int)size ? 0 : -ENAMETOOLONG;
	if (runtime && *runtime == '/' && snprintf(path, size, "%s/uiommu/socket", runtime) < (int)size && !access(path, F_OK))
		return 0;
	return snprintf(path, size, "/run/uiommu/socket") < (int)size ? 0 : -ENAMETOOLONG;
}

static int open_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, rc = 0;

	if (path && strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	if (path)
		strcpy(address.sun_path, path);
	else
		rc = default_path(address.sun_path, sizeof(address.sun_path));
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		/* A socket of another type: something else listens there. */
		rc = errno == EPROTOTYPE ? -EPROTO : -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int hello(struct uiommu_client *client, const char *device)
{
	struct protocol_hello payload = {.version = PROTOCOL_VERSION};
	struct protocol_hello_reply reply;
	struct client_request request = {PROTOCOL_HELLO, &payload, sizeof(payload), NULL, 0, &reply, sizeof(reply), NULL, 0};
	int rc;

	if (device && strlen(device) >= sizeof(payload.device))
		return -ENODEV;
	if (device)
		strcpy(payload.device, device);
	prctl(PR_GET_NAME, payload.comm);
	rc = client_call(client, &request);
	if (!rc && reply.version != PROTOCOL_VERSION)
		rc = -EPROTO;
	return rc;
}

static struct uiommu_client *client_alloc(void)
{
	struct uiommu_client *client = calloc(1, sizeof(*client));

	if (!client || fork_token(&client->owner)) {
		free(client);
		return NULL;
	}
	pthread_mutex_init(&client->lock, NULL);
	pthread_mutex_init(&client->records_lock, NULL);
	pthread_cond_init(&client->received, NULL);
	CDS_INIT_LIST_HEAD(&client->calls);
	client->references = 1;
	client->records_fd = -1;
	return client;
}

int uiommu_client_connect(const char *path, const char *device, struct uiommu_client **out)
{
	struct uiommu_client *client;
	int rc = open_socket(path);

	if (rc < 0)
		return rc;
	client = client_alloc();
	if (!client) {
		close(rc);
		return -ENOMEM;
	}
	client->fd = rc;
	rc = hello(client, device);
	if (rc) {
		uiommu_client_close(client);
		return rc;
	}
	*out = client;
	return 0;
}

void client_get(struct uiommu_client *client)
{
	__atomic_add_fetch(&client->references, 1, __ATOMIC_RELAXED);
}

void client_put(struct uiommu_client *client)
{
	if (__atomic_sub_fetch(&client->references, 1, __ATOMIC_ACQ_REL))
		return;
	/* A fork child has our descriptors and this memory, but not the completion area. */
	if (fork_is_owner(client->owner)) {
		if (client->records)
			munmap(client->records, client->record_count * sizeof(*client->records));
		pthread_cond_destroy(&client->received);
		pthread_mutex_destroy(&client->records_lock);
		pthread_mutex_destroy(&client->lock);
	}
	if (client->records_fd >= 0)
		close(client->records_fd);
	close(client->fd);
	free(client);
}

void uiommu_client_close(struct uiommu_client *client)
{
	if (!client)
		return;
	/* The connection is the parent's as well: its fork child only forgets it. */
	if (fork_is_owner(client->owner))
		shutdown(client->fd, SHUT_RDWR);
	client_put(client);
}

/* --- bind --- */

static int call_plain(struct uiommu_client *client, enum protocol_type type, const void *payload, size_t size, const int *fd)
{
	struct protocol_status reply;
	struct client_request request = {type, payload, size, fd, fd ? 1 : 0, &reply, sizeof(reply), NULL, 0};

	return client_call(client, &request);
}

/* A label for lists: what the process calls itself, seen with our rights. */
static void read_comm(int pidfd, char *comm, size_t size)
{
	char path[64], line[128];
	ssize_t length = 0;
	FILE *info;
	int pid = 0, fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	if (info)
		fclose(info);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	length = read(fd, comm, size - 1);
	close(fd);
	comm[length > 0 ? length : 0] = 0;
	comm[strcspn(comm, "\n")] = 0;
}

static int bind_bundle(struct uiommu_client *client, const struct uiommu_process *process, unsigned int access, uint32_t *pasid)
{
	const int parts[] = {process->mem, process->maps, process->pidfd, process->auxv, process->exec};
	struct protocol_bind payload = {.access = access, .pasid = *pasid};
	struct protocol_bind_reply reply;
	int fds[ARRAY_SIZE(parts)], rc;
	struct client_request request = {PROTOCOL_BIND, &payload, sizeof(payload), fds, 0, &reply, sizeof(reply), NULL, 0};

	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i] < 0)
			continue;
		payload.parts |= 1u << i;
		fds[request.fd_count++] = parts[i];
	}
	read_comm(process->pidfd, payload.comm, sizeof(payload.comm));
	rc = client_call(client, &request);
	if (!rc)
		*pasid = reply.pasid;
	return rc;
}

/* It is there, and will be: otherwise the other side could turn every access into SIGBUS. */
static bool records_fit(int fd, size_t size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat stat;

	return size && seals >= 0 && seals & F_SEAL_SHRINK && !fstat(fd, &stat) && stat.st_size >= (off_t)size;
}

/* With records_lock: have the area, mapped here. */
static int records_map(struct uiommu_client *client)
{
	struct protocol_records_reply reply;
	int fd, rc;
	struct client_request request = {PROTOCOL_RECORDS_AREA, NULL, 0, NULL, 0, &reply, sizeof(reply), &fd, 1};
	size_t size;
	void *memory;

	if (client->records)
		return 0;
	rc = client_call(client, &request);
	if (rc)
		return rc;
	size = reply.count * sizeof(*client->records);
	if (!records_fit(fd, size)) {
		close(fd);
		return -EPROTO;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (memory == MAP_FAILED || madvise(memory, size, MADV_DONTFORK)) {
		if (memory != MAP_FAILED)
			munmap(memory, size);
		close(fd);
		return -ENOMEM;
	}
	client->records = memory;
	client->record_count = reply.count;
	client->records_fd = fd;
	return 0;
}

/* With records_lock. */
static int records_register(struct uiommu_client *client, uint32_t pasid)
{
	struct uiommu_register reg = {.pasid = pasid, .access = UIOMMU_READ | UIOMMU_WRITE, .size = sizeof(reg)};
	int rc = records_map(client);

	if (rc)
		return rc;
	reg.address = (uintptr_t)client->records;
	reg.length = client->record_count * sizeof(*client->records);
	reg.fd = client->records_fd;
	rc = uiommu_client_register(client, &reg);
	if (!rc) {
		client->records_pasid = pasid;
		client->records_binds = 1;
	}
	return rc;
}

/* Only a bind that may write can complete anything; the area goes into the first one. */
static int records_follow(struct uiommu_client *client, bool self, unsigned int access, uint32_t pasid)
{
	int rc = 0;

	pthread_mutex_lock(&client->records_lock);
	if (client->records_pasid == pasid)
		client->records_binds++;
	else if (self && access & UIOMMU_WRITE && !client->records_pasid)
		rc = records_register(client, pasid);
	pthread_mutex_unlock(&client->records_lock);
	return rc;
}

int uiommu_client_bind(struct uiommu_client *client, const struct uiommu_process *process, unsigned int access, uint32_t *pasid)
{
	struct uiommu_process self;
	int rc;

	if (!fork_is_owner(client->owner))
		return -EOWNERDEAD;
	rc = process ? 0 : uiommu_process_open(getpid(), access, &self);
	if (rc)
		return rc;
	rc = bind_bundle(client, process ? process : &self, access, pasid);
	if (!process)
		uiommu_process_close(&self);
	if (rc)
		return rc;
	rc = records_follow(client, !process, access, *pasid);
	if (rc)
		uiommu_client_unbind(client, *pasid);
	return rc;
}

int uiommu_client_unbind(struct uiommu_client *client, uint32_t pasid)
{
	struct protocol_unbind payload = {.pasid = pasid};
	int rc = call_plain(client, PROTOCOL_UNBIND, &payload, sizeof(payload), NULL);

	if (rc)
		return rc;
	pthread_mutex_lock(&client->records_lock);
	if (client->records_pasid == pasid && !--client->records_binds)
		client->records_pasid = 0;
	pthread_mutex_unlock(&client->records_lock);
	return 0;
}

int uiommu_client_register(struct uiommu_client *client, const struct uiommu_register *reg)
{
	struct uiommu_register known;
	struct protocol_register payload;
	int rc = copy_struct(&known, sizeof(known), sizeof(known), reg, reg->size);

	if (rc)
		return rc;
	payload = (struct protocol_register){known.pasid, known.access, known.address, known.length, known.offset};
	return call_plain(client, PROTOCOL_REGISTER, &payload, sizeof(payload), &known.fd);
}

int uiommu_client_unregister(struct uiommu_client *client, uint32_t pasid, uint64_t address, uint64_t length)
{
	struct protocol_unregister payload = {.pasid = pasid, .address = address, .length = length};

	return call_plain(client, PROTOCOL_UNREGISTER, &payload, sizeof(payload), NULL);
}

struct uiommu_accel_record *uiommu_client_records(struct uiommu_client *client, size_t *out_count)
{
	struct uiommu_accel_record *records;

	if (!fork_is_owner(client->owner))
		return NULL;
	pthread_mutex_lock(&client->records_lock);
	records = client->records_pasid ? client->records : NULL;
	*out_count = records ? client->record_count : 0;
	pthread_mutex_unlock(&client->records_lock);
	return records;
}

/* --- IOAS and handles --- */

int uiommu_client_map(struct uiommu_client *client, struct uiommu_ioas_map *map)
{
	struct uiommu_ioas_map known;
	struct protocol_map payload;
	struct protocol_map_reply reply;
	struct client_request request = {PROTOCOL_MAP, &payload, sizeof(payload), &known.fd, 1, &reply, sizeof(reply), NULL, 0};
	int rc = copy_struct(&known, sizeof(known), sizeof(known), map, map->size);

	if (rc)
		return rc;
	if (known.source != UIOMMU_MAP_FILE)
		return -EOPNOTSUPP;
	payload = (struct protocol_map){known.flags, 0, known.offset, known.length, known.iova};
	rc = client_call(client, &request);
	if (!rc)
		map->iova = reply.iova;
	return rc;
}

int uiommu_client_unmap(struct uiommu_client *client, uint64_t iova, uint64_t length)
{
	struct protocol_unmap payload = {iova, length};
	struct protocol_unmap_reply reply;
	struct client_request request = {PROTOCOL_UNMAP, &payload, sizeof(payload), NULL, 0, &reply, sizeof(reply), NULL, 0};

	return client_call(client, &request);
}

int uiommu_client_grant(struct uiommu_client *client, uint32_t pasid, uint16_t *out_handle)
{
	struct protocol_grant payload = {.pasid = pasid};
	struct protocol_grant_reply reply;
	struct client_request request = {PROTOCOL_GRANT, &payload, sizeof(payload), NULL, 0, &reply, sizeof(reply), NULL, 0};
	int rc = client_call(client, &request);

	if (!rc)
		*out_handle = (uint16_t)reply.handle;
	return rc;
}
