/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands, the members of their structs and the values of these are called, for whoever shows calls to people. */
#ifndef ABI_DESCRIBE_H
#define ABI_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The last one has no name. */
struct abi_name {
	uint32_t value;
	const char *name;
};

enum abi_kind {
	ABI_NUMBER,
	ABI_SIGNED,
	ABI_HEX,
	ABI_FLAGS, /* names, each of a bit; or, of more bits, of what is in all of them */
	ABI_ENUM, /* names */
	ABI_FD, /* a number of the caller's */
	ABI_ARRAY, /* the address of one */
	ABI_TAIL, /* an array that is behind the struct: no bytes */
	ABI_CHAIN, /* the offset of the first of VFIO's capabilities; its array's types are their ids */
	ABI_UNION, /* the struct has the members of an element, chosen by the type: no bytes */
};

struct abi_member {
	const char *name; /* one that begins with "out_" is only an answer; "": a value is enough */
	uint16_t offset;
	uint8_t size; /* 1, 2, 4, 8 */
	uint8_t kind; /* enum abi_kind */
	union {
		const struct abi_name *names; /* FLAGS, ENUM */
		const struct abi_array *array; /* ARRAY, TAIL, CHAIN, UNION */
	};
};

/* The elements that an array has if it is of @type. */
struct abi_element {
	uint32_t type;
	uint16_t size;
	uint16_t count;
	const struct abi_member *members;
};

/* Of 32 bits in the struct it is known how many there are, and of which type. */
struct abi_array {
	uint16_t count_at; /* 0: one */
	uint16_t type_at; /* 0: there is one type */
	uint32_t type_mask;
	uint32_t element_count;
	const struct abi_element *elements;
};

struct abi_description {
	unsigned int command;
	const char *name;
	uint32_t size; /* of the struct; 0: the argument is a number, or nothing */
	uint32_t count;
	const struct abi_member *members;
	const struct abi_name *names; /* of the number */
	bool text; /* the argument is a string's address */
};

/* Of VFIO, the same number is one command of a device and another one of a container or an iommufd. NULL: it has no name. */
enum abi_space { ABI_SPACE_IOMMUFD, ABI_SPACE_DEVICE };

const struct abi_description *abi_describe(enum abi_space space, unsigned int command);

/* Of the selftests' command (describe_mock.c), and what a page request asks for. */
enum { ABI_TEST_SIZE = 72, ABI_TEST_MEMBERS = 3 };
extern const struct abi_member abi_test_members[ABI_TEST_MEMBERS];
extern const struct abi_name abi_fault_permissions[];

/* VFIO's (describe_vfio.c). */
extern const struct abi_description abi_container_commands[], abi_device_commands[];
extern const size_t abi_container_command_count, abi_device_command_count;

/* What @length bytes are that are read of, or written to, the file of this name (abi_file_ops). NULL: bytes. */
const struct abi_element *abi_describe_data(const char *file, bool written, size_t length);

/* --- for the tables --- */

#define ABI_MEMBER(type, member, kind)                                                                                             \
	{                                                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), kind,                               \
		{                                                                                                                  \
			NULL                                                                                                       \
		}                                                                                                                  \
	}
#define ABI_NAMED(type, member, kind, which)                                                                                       \
	{                                                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), kind,                               \
		{                                                                                                                  \
			.names = which                                                                                             \
		}                                                                                                                  \
	}
#define ABI_ARRAY_OF(type, member, which)                                                                                          \
	{                                                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), ABI_ARRAY,                          \
		{                                                                                                                  \
			.array = which                                                                                             \
		}                                                                                                                  \
	}
#define ABI_TAIL_OF(name, offset, which)                                                                                           \
	{                                                                                                                          \
		name, offset, 0, ABI_TAIL,                                                                                         \
		{                                                                                                                  \
			.array = which                                                                                             \
		}                                                                                                                  \
	}
#define ABI_CHAIN_AT(type, member, which)                                                                                          \
	{                                                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), ABI_CHAIN,                          \
		{                                                                                                                  \
			.array = which                                                                                             \
		}                                                                                                                  \
	}
#define ABI_ELEMENT(type, size, members)                                                                                           \
	{                                                                                                                          \
		type, (uint16_t)(size), ARRAY_SIZE(members), members                                                               \
	}
#define NUMBER(type, member) ABI_MEMBER(type, member, ABI_NUMBER)
#define SIGNED(type, member) ABI_MEMBER(type, member, ABI_SIGNED)
#define HEX(type, member) ABI_MEMBER(type, member, ABI_HEX)
#define FD(type, member) ABI_MEMBER(type, member, ABI_FD)
#define FLAGS(type, member, names) ABI_NAMED(type, member, ABI_FLAGS, names)
#define ENUM(type, member, names) ABI_NAMED(type, member, ABI_ENUM, names)

#endif
