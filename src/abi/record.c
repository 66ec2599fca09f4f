/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/record.h"

#include <string.h>
#include <sys/stat.h>

#include "util/util.h"

/* The piece that what comes now goes on with; or a new one. NULL: there are too many. */
static struct abi_record_piece *piece_for(struct abi_record *record, uint64_t address, bool written)
{
	struct abi_record_piece *piece = record->piece_count ? &record->pieces[record->piece_count - 1] : NULL;

	if (piece && piece->written == written && piece->address + piece->length == address)
		return piece;
	if (record->piece_count == ABI_RECORD_PIECES)
		return NULL;
	piece = &record->pieces[record->piece_count++];
	*piece = (struct abi_record_piece){.address = address, .at = (uint16_t)record->used, .written = written};
	return piece;
}

void abi_record_memory(struct abi_record *record, uint64_t address, const void *data, size_t length, bool written)
{
	struct abi_record_piece *piece = record && length ? piece_for(record, address, written) : NULL;

	if (!piece)
		return;
	length = (size_t)min_u64(length, ABI_RECORD_BYTES - record->used);
	memcpy(record->bytes + record->used, data, length);
	record->used += length;
	piece->length = (uint16_t)(piece->length + length);
}

void abi_record_file(struct abi_record *record, int number, const struct abi_file *file, int fd)
{
	struct stat stat;

	struct abi_record_file *at;

	if (!record || record->file_count == ABI_RECORD_FILES || fstat(fd, &stat))
		return;
	at = &record->files[record->file_count++];
	at->number = number;
	at->inode = stat.st_ino;
	memcpy(at->name, file->name, sizeof(at->name));
}

const uint8_t *abi_record_find(const struct abi_record *record, bool written, uint64_t address, size_t *out)
{
	const uint8_t *found = NULL;

	*out = 0;
	for (size_t i = 0; i < record->piece_count; i++) {
		const struct abi_record_piece *piece = &record->pieces[i];
		uint64_t before = address - piece->address;

		if (piece->written != written || before >= piece->length || piece->length - before < *out)
			continue;
		*out = piece->length - (size_t)before;
		found = record->bytes + piece->at + before;
	}
	return found;
}

void abi_record_apply(const struct abi_record *record, uint64_t address, uint8_t *data, size_t length)
{
	for (size_t i = 0; i < record->piece_count; i++) {
		const struct abi_record_piece *piece = &record->pieces[i];

		for (size_t j = 0; piece->written && j < piece->length; j++)
			if (piece->address + j - address < length)
				data[piece->address + j - address] = record->bytes[piece->at + j];
	}
}
