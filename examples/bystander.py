#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""bystander.py BYTES: a process with some memory. It knows nothing of uiommu.

It says in JSON where its memory is, and then looks at it, or changes it, as it is told on standard input:
    sha256 OFFSET LENGTH | peek OFFSET LENGTH | poke OFFSET HEX | random SEED | zero | protect OFFSET LENGTH none|read|write |
    dumpable 0|1
"""

import ctypes
import hashlib
import json
import mmap
import os
import random
import sys

PR_SET_DUMPABLE = 4
PROTECTIONS = {"none": 0, "read": mmap.PROT_READ, "write": mmap.PROT_READ | mmap.PROT_WRITE}


def main():
    length = int(sys.argv[1])
    # Pages that nobody touches take no memory, so this may be large.
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000))
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    print(json.dumps({"pid": os.getpid(), "address": address, "length": length}), flush=True)

    for line in sys.stdin:
        word, *rest = line.split()
        if word == "sha256":
            offset, count = map(int, rest)
            with memoryview(memory) as view:
                answer = hashlib.sha256(view[offset:offset + count]).hexdigest()
        elif word == "peek":
            offset, count = map(int, rest)
            answer = memory[offset:offset + count].hex()
        elif word == "poke":
            data = bytes.fromhex(rest[1])
            memory[int(rest[0]):int(rest[0]) + len(data)] = data
            answer = "ok"
        elif word == "random":
            memory[:] = random.Random(int(rest[0])).randbytes(length)
            answer = "ok"
        elif word == "zero":
            memory[:] = bytes(length)
            answer = "ok"
        elif word == "protect":
            offset, count = map(int, rest[:2])
            if libc.mprotect(ctypes.c_void_p(address + offset), ctypes.c_size_t(count), PROTECTIONS[rest[2]]):
                raise OSError(ctypes.get_errno(), "mprotect")
            answer = "ok"
        elif word == "dumpable":
            libc.prctl(PR_SET_DUMPABLE, int(rest[0]), 0, 0, 0)
            answer = "ok"
        else:
            answer = "what?"
        print(answer, flush=True)


if __name__ == "__main__":
    main()
