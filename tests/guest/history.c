/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does the calls of a script, a line each, and prints what came of each: runs inside a guest, whose kernel has the function behind
 * its own vfio-pci, and under `uiommu run`. It judges nothing: test_history.py makes the scripts and compares. It prints neither
 * addresses nor numbers of descriptors. Usage: NAME-OF-THE-FUNCTION SCRIPT
 *
 * A VALUE is a number, $NAME (what was kept; UINT32_MAX if nothing was), or @NAME+NUMBER, an address in a memory. DATA is any
 * number of WIDTH=VALUE (1, 2, 4, 8 bytes; f: 4 bytes that become a descriptor's number), n=TEXT (the function's name, TEXT,
 * NUL), s=TEXT; it ends where no memory is any more.
 *
 *   memory NAME PAGES rw|r|none shared|private     drop NAME PAGES           the first ones are no more
 *   poke NAME OFFSET DATA                          peek NAME OFFSET LENGTH
 *   open NAME iommu|container|group|device         file NAME LENGTH          in memory
 *   eventfd NAME                                   count NAME                what is in it
 *   close NAME                                     poll NAME
 *   ioctl NAME NUMBER DATA [>NAME@OFFSET | >NAME]  value NAME NUMBER VALUE   its argument is no struct
 *   read NAME OFFSET LENGTH                        write NAME OFFSET DATA         OFFSET may be -, the file's own
 *   map NAME OFFSET LENGTH r|rw|x shared|private
 *
 * Each prints its line's number, the result or a negative errno, and what has changed in the data, by dwords.
 */
#include <inttypes.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "vfio.h"

enum { NAMES = 64, DATA = PAGE, NAME_LENGTH = 16, SHOWN = 64 };
#define MEMORY UINT64_C(0x100000000000)
#define APART UINT64_C(0x1000000)

static struct name {
	char text[NAME_LENGTH];
	uint64_t value; /* of a memory its address */
} names[NAMES];

static const char *function;
static char *rest; /* of the line */
static uint8_t *data_end; /* behind it there is nothing */
static unsigned int line;

static char *word(void)
{
	char *found = strtok_r(NULL, " \n", &rest);

	CHECK(found);
	return found;
}

static struct name *name_of(const char *text)
{
	struct name *name = names;

	while (name < names + NAMES && name->text[0] && strcmp(name->text, text) != 0)
		name++;
	CHECK(name < names + NAMES && strlen(text) < NAME_LENGTH);
	if (!name->text[0]) {
		memcpy(name->text, text, strlen(text) + 1);
		name->value = UINT32_MAX;
	}
	return name;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	CHECK(end != text && !*end);
	return value;
}

static uint64_t value_of(char *text)
{
	char *plus;

	if (*text == '$')
		return name_of(text + 1)->value;
	if (*text != '@')
		return number(text);
	plus = strchr(text, '+');
	CHECK(plus);
	*plus = '\0';
	return name_of(text + 1)->value + number(plus + 1);
}

static int descriptor(void)
{
	return (int)name_of(word())->value;
}

static uint64_t value(void)
{
	return value_of(word());
}

/* --- data --- */

struct data {
	uint8_t bytes[DATA], before[DATA];
	bool fd[DATA / 4];
	size_t length;
	uint8_t *at;
	struct {
		struct name *name;
		long offset; /* -1: the result */
	} keep[4];
	unsigned int kept;
};

static void add_text(struct data *data, const char *text, bool name)
{
	int length = snprintf((char *)data->bytes + data->length, DATA - data->length, "%s%s", name ? function : "", text);

	data->length += (size_t)length + 1;
	CHECK(data->length <= DATA);
}

static void add(struct data *data, char *field)
{
	uint64_t number;
	size_t width;

	CHECK(field[0] && field[1] == '=');
	if (field[0] == 'n' || field[0] == 's') {
		add_text(data, field + 2, field[0] == 'n');
		return;
	}
	width = field[0] == 'f' ? 4 : (size_t)(field[0] - '0');
	CHECK(width <= 8 && data->length + width <= DATA);
	data->fd[data->length / 4] = field[0] == 'f';
	number = value_of(field + 2);
	memcpy(data->bytes + data->length, &number, width);
	data->length += width;
}

static void add_keep(struct data *data, char *where)
{
	char *at = strchr(where, '@');

	CHECK(data->kept < 4);
	if (at)
		*at = '\0';
	data->keep[data->kept].name = name_of(where);
	data->keep[data->kept++].offset = at ? (long)number(at + 1) : -1;
}

/* What is left of the line, at the end of its page. */
static struct data *data(void)
{
	static struct data all;
	char *field;

	all = (struct data){.length = 0};
	while ((field = strtok_r(NULL, " \n", &rest)))
		if (*field == '>')
			add_keep(&all, field + 1);
		else
			add(&all, field);
	all.at = data_end - all.length;
	memcpy(all.at, all.bytes, all.length);
	return &all;
}

static void say(int64_t result)
{
	printf("%u %" PRId64, line, result < 0 ? -errno : result);
}

static void say_changes(const struct data *data)
{
	for (size_t at = 0; at < data->length; at += 4) {
		size_t width = data->length - at < 4 ? data->length - at : 4;
		uint32_t now = 0;

		if (!memcmp(data->bytes + at, data->at + at, width))
			continue;
		memcpy(&now, data->at + at, width);
		if (data->fd[at / 4])
			printf(" %zu=fd", at);
		else
			printf(" %zu=%#x", at, now);
	}
	printf("\n");
}

static void keep(const struct data *data, int64_t result)
{
	for (unsigned int i = 0; i < data->kept; i++) {
		uint32_t now = UINT32_MAX;

		if (result >= 0 && data->keep[i].offset < 0)
			now = (uint32_t)result;
		else if (result >= 0)
			memcpy(&now, data->at + data->keep[i].offset, sizeof(now));
		data->keep[i].name->value = now;
	}
}

/* --- memory --- */

static int protection(const char *text)
{
	return !strcmp(text, "rw")  ? PROT_READ | PROT_WRITE
	       : !strcmp(text, "r") ? PROT_READ
	       : !strcmp(text, "x") ? PROT_READ | PROT_EXEC
				    : PROT_NONE;
}

static int sharing(const char *text)
{
	return !strcmp(text, "shared") ? MAP_SHARED : MAP_PRIVATE;
}

/* Where it lies is the same everywhere: IOVAs that are chosen depend on it. */
static void do_memory(void)
{
	static uint64_t next = MEMORY;
	struct name *name = name_of(word());
	uint64_t length = number(word()) * PAGE;
	int wanted = protection(word());

	name->value = next;
	next += APART;
	CHECK(length < APART);
	CHECK(mmap((void *)(uintptr_t)name->value, length, wanted, sharing(word()) | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	      (void *)(uintptr_t)name->value);
}

static void do_drop(void)
{
	const struct name *name = name_of(word());

	CHECK(!munmap((void *)(uintptr_t)name->value, number(word()) * PAGE));
}

static uint8_t *place(void)
{
	uint64_t start = name_of(word())->value;

	return (uint8_t *)(uintptr_t)(start + number(word()));
}

static void do_poke(void)
{
	uint8_t *at = place();
	const struct data *given = data();

	memcpy(at, given->bytes, given->length);
}

static void do_peek(void)
{
	const uint8_t *at = place();
	uint64_t length = number(word());

	printf("%u", line);
	for (uint64_t i = 0; i < length; i += 4) {
		uint32_t now;

		memcpy(&now, at + i, sizeof(now));
		if (now)
			printf(" %" PRIu64 "=%#x", i, now);
	}
	printf("\n");
}

/* --- descriptors --- */

static int open_device(void)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	DIR *folder;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", function);
	folder = opendir(path);
	CHECK(folder);
	while ((entry = readdir(folder)) && entry->d_name[0] == '.')
		;
	CHECK(entry);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.200s", entry->d_name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	closedir(folder);
	return fd;
}

static int open_file_of_group(void)
{
	char path[PATH_MAX], link[300];
	ssize_t length;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", function);
	length = readlink(link, path, sizeof(path) - 1);
	CHECK(length > 0);
	path[length] = '\0';
	snprintf(link, sizeof(link), "/dev/vfio/%.200s", strrchr(path, '/') + 1);
	return open(link, O_RDWR | O_CLOEXEC);
}

/* Of what has none: UINT32_MAX is no descriptor. */
static void made(struct name *name, int fd)
{
	printf("%u %d\n", line, fd < 0 ? -errno : 0);
	name->value = (uint32_t)fd;
}

static void do_open(void)
{
	struct name *name = name_of(word());
	const char *what = word();

	if (!strcmp(what, "device"))
		made(name, open_device());
	else if (!strcmp(what, "group"))
		made(name, open_file_of_group());
	else
		made(name, open(!strcmp(what, "iommu") ? "/dev/iommu" : "/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
}

static void do_file(void)
{
	struct name *name = name_of(word());
	int fd = (int)syscall(SYS_memfd_create, "history", 0);

	CHECK(fd >= 0 && !ftruncate(fd, (off_t)number(word())));
	made(name, fd);
}

static void do_eventfd(void)
{
	made(name_of(word()), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static void do_count(void)
{
	uint64_t count = 0;
	ssize_t result = read(descriptor(), &count, sizeof(count));

	say(result < 0 ? result : (int64_t)count);
	printf("\n");
}

static void do_close(void)
{
	struct name *name = name_of(word());

	say((int)name->value < 0 ? 0 : close((int)name->value));
	printf("\n");
	name->value = UINT32_MAX;
}

static void do_poll(void)
{
	struct pollfd one = {.fd = descriptor(), .events = POLLIN | POLLOUT};

	say(poll(&one, 1, 0));
	printf(" %#x\n", (unsigned int)one.revents);
}

/* --- calls --- */

static void do_ioctl(void)
{
	int fd = descriptor();
	unsigned long command = number(word());
	struct data *given = data();
	bool is_fd = given->kept && given->keep[0].offset < 0;
	int result = ioctl(fd, command, given->at);

	say(is_fd && result > 0 ? 0 : result);
	say_changes(given);
	keep(given, result);
}

static void do_value(void)
{
	int fd = descriptor();
	unsigned long command = number(word());

	say(ioctl(fd, command, value()));
	printf("\n");
}

static void do_read(void)
{
	int fd = descriptor();
	const char *offset = word();
	uint64_t length = number(word());
	const uint8_t *at = data_end - length;
	ssize_t result;

	CHECK(length <= DATA);
	if (*offset == '-')
		result = read(fd, data_end - length, length);
	else
		result = pread(fd, data_end - length, length, (off_t)number(offset));
	say(result);
	for (ssize_t i = 0; i < result && i < SHOWN; i++)
		printf("%s%02x", i ? "" : " ", at[i]);
	printf("\n");
}

static void do_write(void)
{
	int fd = descriptor();
	const char *offset = word();
	const struct data *given = data();

	if (*offset == '-')
		say(write(fd, given->at, given->length));
	else
		say(pwrite(fd, given->at, given->length, (off_t)number(offset)));
	printf("\n");
}

static void do_map(void)
{
	int fd = descriptor(), wanted;
	off_t offset = (off_t)number(word());
	size_t length = number(word());
	void *at;

	wanted = protection(word());
	at = mmap(NULL, length, wanted, sharing(word()), fd, offset);
	say(at == MAP_FAILED ? -1 : 0);
	printf("\n");
	if (at != MAP_FAILED)
		munmap(at, length);
}

static const struct {
	const char *name;
	void (*run)(void);
} calls[] = {
	{"memory", do_memory}, {"drop", do_drop},   {"poke", do_poke},	 {"peek", do_peek},   {"open", do_open},
	{"file", do_file},     {"count", do_count}, {"close", do_close}, {"poll", do_poll},   {"eventfd", do_eventfd},
	{"ioctl", do_ioctl},   {"value", do_value}, {"read", do_read},	 {"write", do_write}, {"map", do_map},
};

static void run(char *text)
{
	const size_t count = sizeof(calls) / sizeof(*calls);
	const char *verb = strtok_r(text, " \n", &rest);
	size_t i = 0;

	while (i < count && strcmp(calls[i].name, verb) != 0)
		i++;
	CHECK(i < count);
	calls[i].run();
}

/* Neither what may be locked nor who may change it depends on who runs this. */
static void drop_capabilities(void)
{
	struct {
		uint32_t version;
		int pid;
	} header = {0x20080522, 0};
	struct {
		uint32_t effective, permitted, inheritable;
	} sets[2];
	const struct rlimit locked = {8 << 20, 8 << 20};

	CHECK(!setrlimit(RLIMIT_MEMLOCK, &locked));
	CHECK(!syscall(SYS_capget, &header, sets));
	sets[0].effective &= ~(1U << 14 | 1U << 24); /* IPC_LOCK, SYS_RESOURCE */
	CHECK(!syscall(SYS_capset, &header, sets));
}

int main(int count, char **arguments)
{
	static char buffer[1 << 16], text[1 << 16];
	FILE *script;
	uint8_t *page;

	CHECK(count == 3);
	function = arguments[1];
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED && !munmap(page + PAGE, PAGE));
	CHECK(mmap(page + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page + PAGE);
	data_end = page + PAGE;
	drop_capabilities();
	script = fopen(arguments[2], "re");
	CHECK(script);
	for (line = 1; fgets(text, sizeof(text), script); line++)
		run(text);
	return 0;
}
