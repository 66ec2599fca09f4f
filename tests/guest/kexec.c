/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Begin anew with another kernel, without any reset of the machine. The guest has no such program.
 *
 *	guest-kexec KERNEL INITRD
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char line[1024];
	int kernel = argc == 3 ? open(argv[1], O_RDONLY) : -1, initrd = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	int own = open("/proc/cmdline", O_RDONLY);
	ssize_t length = read(own, line, sizeof(line));

	if (kernel < 0 || initrd < 0 || length < 1)
		return 2;
	line[length - 1] = '\0';
	if (syscall(SYS_kexec_file_load, kernel, initrd, (unsigned long)length, line, 0UL))
		printf("kexec_file_load: %s\n", strerror(errno));
	else
		reboot(LINUX_REBOOT_CMD_KEXEC);
	return 1;
}
