# SPDX-License-Identifier: BSD-3-Clause
"""What can be wrong with each of iommufd's commands, one after the other."""

from history_calls import DEVICE_IOVA, DIRTY, FIXED, LEAST, MAX32, MAX64, NEST_PARENT, PAGE, PASID, READABLE, RW, STRUCTS, WRITABLE, memories, size_of


# --- sizes, of every command ---

def sizes(s):
    """Short, exact, long with zeroes and with something else, far too long; and numbers that are not quite the command's."""
    memories(s)
    s.bound()
    for name, least in LEAST.items():
        s.topic = f"size of {name}"
        number, known = STRUCTS[name][0], size_of(name)
        for size in sorted({0, 1, 3, 4, least - 1, least - 4}):
            s.call("iommu", name, size=size)
        for there in sorted({least, least + 1, least + 4, known - 4, known - 1, known}):
            if least <= there <= known:
                s.call("iommu", name, size=there, bytes_=there // 4 * 4)
                s.call("iommu", name, size=there)
        s.call("iommu", name, tail=(0,))
        s.call("iommu", name, tail=(0, 0, 0))
        s.call("iommu", name, tail=(0, 1))
        s.call("iommu", name, tail=(0x1000000, 0))
        s.call("iommu", name, size=known + 1, tail=(0,))
        s.call("iommu", name, size=known + 1, tail=(0x100,))
        s.call("iommu", name, size=known + 4)
        s.call("iommu", name, size=PAGE)
        s.call("iommu", name, size=MAX32)
        s.value("iommu", name, "@hole+0")
        s.value("iommu", name, "@const+0")
        s.value("iommu", name, 0)
        for other in (number | 1 << 30, number | 1 << 31, number | 48 << 16, number & 0xff | 0x3a00):
            s.call("iommu", name, number=other)
    s.topic = "numbers"
    for number in [*range(0x3b60, 0x3b82), *range(0x3b95, 0x3ba4), 0, 0x80, 0xffffffff, 0x5401]:
        if number in (0x3b64, 0x3b65, 0x3b66, 0x3b70, 0x3b71, 0x3b72):
            continue
        s.call("iommu", "DESTROY", id=0, number=number)
    s.close("device", "iommu")


# --- I/O address spaces, without a device ---

def ioas_ids(s):
    s.topic = "ids"
    s.add("open iommu iommu")
    for name in "abcd":
        s.ioas("iommu", name)
    s.call("iommu", "IOAS_ALLOC", flags=1)
    s.call("iommu", "IOAS_ALLOC", flags=MAX32)
    for target in (0, "$b", "$b", 77, MAX32, 0x7fffffff, 0x80000000):
        s.destroy("iommu", target)
    s.ioas("iommu", "b")
    s.destroy("iommu", "$a")
    s.destroy("iommu", "$c")
    for name in "ace":
        s.ioas("iommu", name)
    s.add("open other iommu")
    s.ioas("other", "foreign")
    s.destroy("other", "$d")
    s.close("other", "iommu")


def map_errors(s, base):
    s.topic = "what a map refuses"
    good = {"ioas_id": "$ioas", "user_va": "@mem+0", "length": PAGE, "iova": base, "flags": RW | FIXED}

    def bad(**fields):
        s.call("iommu", "IOAS_MAP", **{**good, **fields})
    for flags in (0, FIXED, 8 | RW | FIXED, MAX32, RW):
        bad(flags=flags, iova=base)
        bad(flags=flags, reserved=1)
    bad(reserved=1)
    for ioas in (0, 99, MAX32):
        bad(ioas_id=ioas)
    for iova in (MAX64, MAX64 - PAGE, MAX64 - 1, 1, base + 1, base + 512, base + 2048, 0):
        bad(iova=iova)
        bad(iova=iova, flags=RW)
        bad(iova=iova, user_va=f"@mem+{iova % PAGE}")
        s.unmap("iommu", "$ioas", 0, MAX64)
    for length in (0, 1, 100, 512, 2048, PAGE - 1, PAGE + 1, MAX64, MAX64 - 1, MAX64 - PAGE + 1):
        bad(length=length)
        bad(length=length, flags=RW)
        bad(length=length, flags=0)
        bad(length=length, ioas_id=99)
        s.unmap("iommu", "$ioas", 0, MAX64)
    for address in ("@mem+1", "@mem+100", "@mem+2048", "@mem+4095", "@own+1", 0, 1, PAGE, MAX64, MAX64 - PAGE + 1, MAX64 - PAGE, 1 << 63,
                    "@const+0", "@hole+0", "@gone+0"):
        for flags in (RW, READABLE, WRITABLE):
            bad(user_va=address, flags=flags)
            bad(user_va=address, flags=flags | FIXED)
            s.unmap("iommu", "$ioas", 0, MAX64)
    s.topic = "maps that meet"
    s.map("iommu", "$ioas", "@mem+0", 4 * PAGE, base + 4 * PAGE)
    for at, pages in ((3, 1), (3, 2), (4, 1), (5, 1), (5, 8), (7, 1), (7, 2), (8, 1), (0, 16)):
        s.map("iommu", "$ioas", "@own+0", pages * PAGE, base + at * PAGE)
    s.unmap("iommu", "$ioas", 0, MAX64)


def unmap_errors(s, base):
    s.topic = "what an unmap refuses"
    for i in range(4):
        s.map("iommu", "$ioas", f"@mem+{i * 2 * PAGE}", 2 * PAGE, base + i * 4 * PAGE)
    for at, pages in ((0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (-1, 1), (-1, 2), (2, 3), (-4, 4)):
        s.unmap("iommu", "$ioas", base + at * PAGE, pages * PAGE)
    for iova, length in ((base, 0), (0, 0), (base, MAX64), (MAX64, PAGE), (MAX64, MAX64), (MAX64 - PAGE + 1, PAGE), (MAX64 - PAGE, PAGE * 2),
                         (base + 1, PAGE), (base, PAGE + 1), (base + 1, 2 * PAGE), (base, 1), (1, MAX64 - 1)):
        s.unmap("iommu", "$ioas", iova, length)
        s.call("iommu", "IOAS_UNMAP", ioas_id=99, iova=iova, length=length)
    s.topic = "unmaps of several"
    for i in range(4):
        s.map("iommu", "$ioas", f"@mem+{i * 2 * PAGE}", 2 * PAGE, base + i * 4 * PAGE)
    s.unmap("iommu", "$ioas", base - PAGE, 7 * PAGE)
    s.unmap("iommu", "$ioas", base, 8 * PAGE)
    s.unmap("iommu", "$ioas", base, 100 * PAGE)
    s.unmap("iommu", "$ioas", 0, MAX64)
    s.unmap("iommu", "$ioas", 0, MAX64)


def auto_iovas(s):
    s.topic = "addresses that are chosen"
    for address, pages in (("@mem+0", 1), ("@mem+0", 2), ("@mem+4096", 1), ("@mem+4096", 3), ("@mem+0", 16), ("@own+0", 1), ("@mem+0", 64)):
        s.map("iommu", "$ioas", address, pages * PAGE)
    s.unmap("iommu", "$ioas", 2 * PAGE, PAGE)
    s.unmap("iommu", "$ioas", PAGE, PAGE)
    s.unmap("iommu", "$ioas", PAGE, 2 * PAGE)
    s.map("iommu", "$ioas", "@mem+0", PAGE)
    s.unmap("iommu", "$ioas", 0, MAX64)


def allowed(s, base):
    s.topic = "allowed ranges"
    s.ranges("iommu", "$ioas")
    s.allow("iommu", "$ioas", (base, base + 8 * PAGE - 1))
    s.map("iommu", "$ioas", "@mem+0", 4 * PAGE)
    s.map("iommu", "$ioas", "@mem+0", 4 * PAGE)
    s.map("iommu", "$ioas", "@mem+0", 4 * PAGE)
    s.map("iommu", "$ioas", "@mem+0", PAGE, base + 100 * PAGE)
    s.ranges("iommu", "$ioas")
    for pairs in (((base, base),), ((base + 1, base),), ((base, base + 1), (base, base + 5)), ((base, base + PAGE), (base + PAGE, base + 2 * PAGE)),
                  ((base + 20 * PAGE, base + 21 * PAGE - 1), (base + 8 * PAGE, base + 9 * PAGE - 1)), ((5, 9),), ()):
        s.allow("iommu", "$ioas", *pairs)
        s.map("iommu", "$ioas", "@mem+0", PAGE)
    s.allow("iommu", "$ioas", (base, base + PAGE), where="@hole+0")
    s.allow("iommu", "$ioas", (base, base + PAGE), where="@gone+0", count=0)
    s.allow("iommu", 99, (base, base + PAGE))
    s.allow("iommu", "$ioas", count=2, where="@array+8184")
    s.call("iommu", "IOAS_ALLOW_IOVAS", ioas_id="$ioas", reserved=1)
    s.unmap("iommu", "$ioas", 0, MAX64)
    s.allow("iommu", "$ioas")


def ranges(s):
    s.topic = "ranges, and room for them"
    for room in (0, 1, 2, 8, MAX32):
        s.ranges("iommu", "$ioas", room)
    s.ranges("iommu", "$ioas", 1, "@hole+0")
    s.ranges("iommu", "$ioas", 0, "@hole+0")
    s.ranges("iommu", "$ioas", 1, "@const+0")
    s.ranges("iommu", 99)
    s.call("iommu", "IOAS_IOVA_RANGES", ioas_id="$ioas", reserved=1)
    s.call("iommu", "IOAS_IOVA_RANGES", ioas_id=99, reserved=1)


def copies(s, base):
    s.topic = "copies"
    s.ioas("iommu", "from")
    s.map("iommu", "$from", "@mem+0", 4 * PAGE, base)
    s.map("iommu", "$from", "@mem+16384", 4 * PAGE, base + 4 * PAGE, READABLE)
    s.map("iommu", "$from", "@own+0", 4 * PAGE, base + 12 * PAGE)
    good = {"dst_ioas_id": "$ioas", "src_ioas_id": "$from", "length": PAGE, "dst_iova": base + 64 * PAGE, "src_iova": base, "flags": FIXED | RW}

    def copy(**fields):
        s.call("iommu", "IOAS_COPY", **{**good, **fields})
    for flags in (0, FIXED, 8, MAX32, READABLE, WRITABLE, RW):
        copy(flags=flags)
    for field in ("dst_ioas_id", "src_ioas_id"):
        copy(**{field: 99})
        copy(**{field: "$dev"})
    copy(dst_ioas_id=99, src_ioas_id=99)
    for value in (MAX64, MAX64 - PAGE, 1, 100, 0, PAGE - 1):
        for field in ("length", "dst_iova", "src_iova"):
            copy(**{field: value})
            copy(**{field: value}, flags=RW)
            s.unmap("iommu", "$ioas", 0, MAX64)
    for at, pages in ((0, 4), (0, 5), (0, 8), (3, 2), (7, 2), (8, 1), (8, 4), (11, 1), (11, 2), (12, 4), (12, 5), (1, 2), (4, 1)):
        for flags in (READABLE, RW):
            copy(src_iova=base + at * PAGE, length=pages * PAGE, flags=FIXED | flags)
            copy(src_iova=base + at * PAGE, length=pages * PAGE, flags=flags)
            s.unmap("iommu", "$ioas", 0, MAX64)
    s.topic = "copies within one"
    copy(dst_ioas_id="$from")
    copy(dst_ioas_id="$from", dst_iova=base)
    copy(dst_ioas_id="$from", dst_iova=base + 8 * PAGE, length=4 * PAGE)
    s.unmap("iommu", "$from", 0, MAX64)
    s.destroy("iommu", "$from")
    s.unmap("iommu", "$ioas", 0, MAX64)


def files(s, base):
    s.topic = "files"
    s.add(f"file file {8 * PAGE}")
    good = {"ioas_id": "$ioas", "file": "$file", "start": 0, "length": PAGE, "iova": base, "flags": RW | FIXED}

    def mapped(**fields):
        s.call("iommu", "IOAS_MAP_FILE", **{**good, **fields})
        s.unmap("iommu", "$ioas", 0, MAX64)
    mapped()
    for flags in (0, FIXED, 8 | RW, RW, READABLE, WRITABLE, MAX32):
        mapped(flags=flags)
    for fd in (99, MAX32, "$iommu", "$event"):
        mapped(file=fd)
        mapped(file=fd, length=0)
        mapped(file=fd, ioas_id=99)
    mapped(ioas_id=99)
    for start, length in ((0, 8 * PAGE), (4 * PAGE, 4 * PAGE), (0, 0), (0, 1), (1, PAGE), (100, 512), (0, MAX64), (MAX64, PAGE), (MAX64 - PAGE + 1, PAGE),
                          (MAX64 - PAGE + 2, PAGE), (MAX64 - PAGE, PAGE), (PAGE, PAGE - 1)):
        mapped(start=start, length=length)
        mapped(start=start, length=length, flags=RW)
    mapped(iova=MAX64)
    mapped(iova=base + 1)
    s.call("iommu", "IOAS_MAP_FILE", **good)
    s.call("iommu", "IOAS_MAP_FILE", **good)
    s.call("iommu", "IOAS_COPY", dst_ioas_id="$ioas", src_ioas_id="$ioas", length=PAGE, dst_iova=base + PAGE, src_iova=base, flags=RW | FIXED)
    s.call("iommu", "IOAS_CHANGE_PROCESS")
    s.map("iommu", "$ioas", "@mem+0", PAGE, base + 8 * PAGE)
    s.call("iommu", "IOAS_CHANGE_PROCESS")
    s.call("iommu", "IOAS_CHANGE_PROCESS", reserved=1)
    s.unmap("iommu", "$ioas", 0, MAX64)
    s.call("iommu", "IOAS_CHANGE_PROCESS")
    s.close("file")


def options(s, base):
    s.topic = "options"
    for option in (0, 1, 2, MAX32):
        for op in (0, 1, 2, 0xffff):
            for value in (0, 1, 2, MAX64):
                s.call("iommu", "OPTION", option_id=option, op=op, object_id="$ioas" if option else 0, val64=value)
            s.call("iommu", "OPTION", option_id=option, op=op, object_id=0 if option else "$ioas", val64=1)
            s.call("iommu", "OPTION", option_id=option, op=op, object_id=99, val64=1)
            s.call("iommu", "OPTION", option_id=option, op=op, object_id="$dev", val64=1)
            s.call("iommu", "OPTION", option_id=option, op=op, object_id="$ioas", reserved=1)
    s.topic = "huge pages and alignment"
    for huge in (1, 0, 0, 1, 0):
        s.call("iommu", "OPTION", option_id=1, op=0, object_id="$ioas", val64=huge)
        s.ranges("iommu", "$ioas")
        s.map("iommu", "$ioas", "@mem+512", 512, base + 512)
        s.map("iommu", "$ioas", "@mem+0", PAGE, base + PAGE)
        s.call("iommu", "OPTION", option_id=1, op=1, object_id="$ioas", val64=7)
        s.call("iommu", "OPTION", option_id=1, op=0, object_id="$ioas", val64=0)
        s.call("iommu", "OPTION", option_id=1, op=0, object_id="$ioas", val64=1)
        s.unmap("iommu", "$ioas", 0, MAX64)
    s.call("iommu", "OPTION", option_id=1, op=0, object_id="$ioas", val64=1)


def spaces(s, base):
    map_errors(s, base)
    unmap_errors(s, base)
    auto_iovas(s)
    allowed(s, base)
    ranges(s)
    copies(s, base)
    files(s, base)
    options(s, base)


def beyond(s):
    """What only an IOAS without page tables has: addresses up to the last, and lengths that nothing can have."""
    s.topic = "to the last address"
    for length in (PAGE, 1 << 62, 1 << 63):
        s.map("iommu", "$ioas", "@mem+0", length, MAX64 - length + 1)
        s.map("iommu", "$ioas", "@mem+0", length)
        s.unmap("iommu", "$ioas", 0, MAX64)
    s.allow("iommu", "$ioas", (0, MAX64))
    s.map("iommu", "$ioas", "@mem+0", PAGE)
    s.unmap("iommu", "$ioas", 0, MAX64)
    s.allow("iommu", "$ioas")


def ioas_alone(s):
    """Without page tables nothing is pinned, and there are no alignments."""
    memories(s)
    ioas_ids(s)
    s.topic = "alone"
    s.add("eventfd event")
    s.bound()
    s.ioas("iommu", "ioas")
    spaces(s, 1 << 20)
    beyond(s)
    s.close("event", "device", "iommu")


def ioas_attached(s):
    """The same with a device attached."""
    memories(s)
    s.topic = "attached"
    s.add("eventfd event")
    s.bound()
    s.ioas("iommu", "ioas")
    s.attach("$ioas")
    s.destroy("iommu", "$ioas")
    s.destroy("iommu", "$dev")
    spaces(s, DEVICE_IOVA)
    s.topic = "the end of an attachment"
    s.map("iommu", "$ioas", "@mem+0", PAGE, DEVICE_IOVA)
    s.detach()
    s.map("iommu", "$ioas", "@gone+0", PAGE, DEVICE_IOVA + PAGE)
    s.attach("$ioas")
    s.unmap("iommu", "$ioas", DEVICE_IOVA + PAGE, PAGE)
    s.attach("$ioas")
    s.detach()
    s.detach()
    s.destroy("iommu", "$ioas")
    s.close("event", "device", "iommu")


# --- HWPTs and what belongs to them ---

def hwpt_allocs(s):
    s.topic = "HWPTs"
    good = {"dev_id": "$dev", "pt_id": "$ioas"}

    def alloc(keep=None, end=True, **fields):
        s.call("iommu", "HWPT_ALLOC", **{**good, **fields}, keep=(keep or "made", "out_hwpt_id"))
        if end and not keep:
            s.destroy("iommu", "$made")
    for flags in [*range(17), 32, 1 << 31, MAX32]:
        alloc(flags=flags)
        alloc(flags=flags, fault_id="$queue")
        alloc(flags=flags, fault_id="$ioas")
    for data_type in (0, 1, 2, 3, 4, MAX32):
        for data_len in (0, 1, 8, 24, 32, 64, MAX32):
            alloc(data_type=data_type, data_len=data_len, data_uptr="@array+0")
    alloc(reserved=1)
    alloc(reserved2=1)
    for field in good:
        for wrong in (0, 99, "$queue", "$ioas", "$dev", MAX32):
            alloc(**{field: wrong})
    alloc(keep="plain")
    alloc(keep="parent", flags=NEST_PARENT)
    alloc(keep="dirty", flags=DIRTY)
    alloc(keep="pasids", flags=PASID)
    s.add("poke array 0 8=0 8=0 4=48 4=0")
    for parent in ("$plain", "$parent", "$dirty", "$pasids"):
        s.topic = f"nested on {parent}"
        for flags in range(17):
            alloc(pt_id=parent, flags=flags, data_type=1, data_len=24, data_uptr="@array+0", fault_id="$queue")
        for data_type in (0, 1, 3, 4, MAX32):
            for data_len in (0, 8, 16, 23, 24, 25, 32):
                alloc(pt_id=parent, data_type=data_type, data_len=data_len, data_uptr="@array+0")
        alloc(pt_id=parent, data_type=1, data_len=24, data_uptr="@hole+0")
        alloc(pt_id=parent, data_type=1, data_len=24, data_uptr="@array+8180")
    s.topic = "VT-d's data"
    for flags, address, width, reserved in ((0, 0, 48, 0), (0, PAGE, 48, 0), (0, 1, 48, 0), (1, 0, 48, 0), (2, 0, 48, 0), (4, 0, 48, 0), (7, 0, 48, 0), (8, 0, 48, 0),
                                            (1 << 63, 0, 48, 0), (0, 0, 57, 0), (0, 0, 48, 1), (0, 0, 0, 0), (0, 0, 39, 0), (0, 1 << 60, 48, 0)):
        s.add(f"poke array 0 8={flags} 8={address} 4={width} 4={reserved}")
        alloc(pt_id="$parent", data_type=1, data_len=24, data_uptr="@array+0")
    s.add(f"poke array 0 8=0 8={DEVICE_IOVA} 4=48 4=0")
    alloc(keep="nested", pt_id="$parent", data_type=1, data_len=24, data_uptr="@array+0")
    alloc(pt_id="$nested", data_type=1, data_len=24, data_uptr="@array+0")
    alloc(pt_id="$nested")
    for busy in ("$parent", "$ioas", "$dev", "$queue"):
        s.destroy("iommu", busy)


def invalidations(s):
    s.topic = "invalidations"
    good = {"hwpt_id": "$nested", "data_uptr": "@array+0", "data_type": 0, "entry_len": 24, "entry_num": 1}

    def invalidate(entry=(0, MAX64, 0, 0), **fields):
        s.add(f"poke array 0 8={entry[0]} 8={entry[1]} 4={entry[2]} 4={entry[3]}")
        s.call("iommu", "HWPT_INVALIDATE", **{**good, **fields})
    invalidate()
    for entry in ((0, 1, 0, 0), (PAGE, 1, 1, 0), (PAGE, MAX64, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0), (PAGE, 0, 0, 0), (0, 1, 2, 0), (0, 1, 0, 1), (0, MAX64, MAX32, 0),
                  (MAX64 - PAGE + 1, 1, 0, 0), (MAX64 - PAGE + 1, 2, 0, 0), (PAGE, MAX64 - 1, 0, 0)):
        invalidate(entry)
    for hwpt in (0, 99, "$plain", "$parent", "$ioas", "$dev", "$queue"):
        invalidate(hwpt_id=hwpt)
        invalidate(hwpt_id=hwpt, entry_num=0)
    for fields in ({"data_type": 1}, {"data_type": 2}, {"data_type": MAX32}, {"entry_len": 0}, {"entry_len": 8}, {"entry_len": 23}, {"entry_len": 25},
                   {"entry_len": 32}, {"entry_len": PAGE}, {"entry_len": PAGE + 1}, {"entry_len": MAX32}, {"entry_num": 0}, {"entry_num": 2}, {"entry_num": 1 << 19},
                   {"entry_num": (1 << 19) + 1}, {"entry_num": MAX32}, {"reserved": 1}, {"data_uptr": 0}, {"data_uptr": "@hole+0"}, {"data_uptr": "@array+8180"},
                   {"entry_num": 0, "data_uptr": 0}, {"entry_num": 0, "entry_len": 0}, {"entry_num": 0, "data_type": 1}, {"entry_num": 0, "reserved": 1},
                   {"entry_num": 2, "data_uptr": "@array+8168"}, {"entry_num": 3, "data_uptr": "@array+8144"}):
        invalidate(**fields)
    s.add("poke array 0 " + "8=0 " * 16)


def dirty(s):
    s.topic = "dirty tracking"
    for hwpt in ("$plain", "$dirty", "$nested", "$ioas", "$dev", 0, 99):
        for flags in (0, 1, 1, 2, MAX32):
            s.call("iommu", "HWPT_SET_DIRTY_TRACKING", hwpt_id=hwpt, flags=flags)
        s.call("iommu", "HWPT_SET_DIRTY_TRACKING", hwpt_id=hwpt, flags=1, reserved=1)
    s.map("iommu", "$ioas", "@mem+0", 16 * PAGE, DEVICE_IOVA)
    good = {"hwpt_id": "$dirty", "iova": DEVICE_IOVA, "length": 16 * PAGE, "page_size": PAGE, "data": "@array+0"}

    def bitmap(**fields):
        s.call("iommu", "HWPT_GET_DIRTY_BITMAP", **{**good, **fields})
        s.add("peek array 0 32", "bits")
    for hwpt in ("$dirty", "$plain", "$nested", "$ioas", "$dev", 0, 99):
        for flags in (0, 1, 2, MAX32):
            bitmap(hwpt_id=hwpt, flags=flags)
        bitmap(hwpt_id=hwpt, reserved=1)
    for page_size in (0, 1, 512, 2048, PAGE, 2 * PAGE, 3 * PAGE, 16 * PAGE, 1 << 21, 1 << 40, 1 << 63, MAX64):
        bitmap(page_size=page_size)
    for iova in (0, 1, 2048, DEVICE_IOVA + PAGE, MAX64 - PAGE + 1, MAX64 - 16 * PAGE + 1, MAX64):
        bitmap(iova=iova)
    for length in (0, 1, PAGE, PAGE + 1, 64 * PAGE, MAX64, MAX64 - PAGE + 1):
        bitmap(length=length)
    for where in ("@hole+0", "@const+0", "@array+1", "@array+8191", 0):
        bitmap(data=where)
    s.call("iommu", "HWPT_SET_DIRTY_TRACKING", hwpt_id="$dirty", flags=0)
    bitmap()
    s.unmap("iommu", "$ioas", 0, MAX64)


def hw_info(s):
    s.topic = "hw_info"
    for dev in ("$dev", "$ioas", 0, 99):
        for length in (0, 4, 8, 16, 24, 32, 64, 4096):
            s.call("iommu", "GET_HW_INFO", dev_id=dev, data_len=length, data_uptr="@array+0")
            s.add("peek array 0 8", "flags")
            s.add("peek array 24 64", "behind the info")
            s.add("poke array 0 " + "8=0x1111111111111111 " * 16)
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", data_len=24, data_uptr="@hole+0")
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", data_len=0, data_uptr="@hole+0")
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", data_len=32, data_uptr="@array+8168")
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", data_len=32, data_uptr=0)
    for flags in (1, 2, 3, MAX32):
        for data_type in (0, 1, 5, MAX32):
            s.call("iommu", "GET_HW_INFO", dev_id="$dev", flags=flags, data_type=data_type, data_len=24, data_uptr="@array+0")
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", data_type=5)
    for reserved in (1, 0x100, 0x10000):
        s.call("iommu", "GET_HW_INFO", dev_id="$dev", reserved=reserved)
    s.call("iommu", "GET_HW_INFO", dev_id="$dev", bytes_=32)
    s.add("poke array 0 " + "8=0 " * 16)


def queues(s):
    s.topic = "fault queues"
    s.call("iommu", "FAULT_QUEUE_ALLOC", flags=1, keep=("q", "out_fault_id"))
    s.call("iommu", "FAULT_QUEUE_ALLOC", keep=("q", "out_fault_fd"))
    s.add("poll q")
    for length in (0, 8, 39, 40, 80, 4000):
        s.add(f"read q - {length}")
    for words in ("4=1 4=0", "4=1 4=1", "4=0 4=0", "4=1 4=5", "4=1", "4=1 4=0 4=0", "4=1 4=0 4=1 4=0"):
        s.add(f"write q - {words}")
    s.add("read q 40 40")
    s.add("write q 8 4=1 4=0")
    s.close("q")
    for length in (8, 12):
        s.call("iommu", "FAULT_QUEUE_ALLOC", bytes_=length)
    s.topic = "vIOMMUs"
    good = {"type": 1, "dev_id": "$dev", "hwpt_id": "$parent"}
    for fields in ({}, {"type": 0}, {"type": 2}, {"type": 3}, {"type": MAX32}, {"flags": 1}, {"dev_id": 0}, {"dev_id": 99}, {"dev_id": "$ioas"}, {"hwpt_id": 0},
                   {"hwpt_id": "$plain"}, {"type": 0, "dev_id": 99}, {"type": 2, "hwpt_id": 99}, {"reserved": 1}, {"data_len": 8}):
        s.call("iommu", "VIOMMU_ALLOC", **{**good, **fields}, keep=("viommu", "out_viommu_id"))
        s.destroy("iommu", "$viommu")
    s.topic = "without a vIOMMU"
    for viommu in (0, 99, "$ioas", "$parent", "$dev"):
        for dev in ("$dev", 0, "$ioas"):
            s.call("iommu", "VDEVICE_ALLOC", viommu_id=viommu, dev_id=dev, virt_id=1)
        for fields in ({}, {"flags": 1}, {"type": 0}, {"veventq_depth": 0}, {"veventq_depth": 1 << 19}, {"veventq_depth": (1 << 19) + 1}, {"reserved": 1}):
            s.call("iommu", "VEVENTQ_ALLOC", **{"viommu_id": viommu, "type": 1, "veventq_depth": 4, **fields})
        for fields in ({}, {"flags": 1}, {"type": 0}, {"length": 0}, {"length": MAX64}, {"nesting_parent_iova": MAX64}, {"index": 9},
                       {"nesting_parent_iova": MAX64, "length": 1}, {"nesting_parent_iova": MAX64, "length": 2}):
            s.call("iommu", "HW_QUEUE_ALLOC", **{"viommu_id": viommu, "type": 1, "length": PAGE, **fields})


def attachments(s):
    s.topic = "attachments"
    for pt in ("$plain", "$parent", "$dirty", "$pasids", "$ioas", "$dev", "$queue", 0, 99, MAX32):
        s.attach(pt)
        s.destroy("iommu", pt)
    s.topic = "PASIDs"
    s.call("iommu", "HWPT_ALLOC", dev_id="$dev", pt_id="$ioas", flags=PASID, keep=("pasids", "out_hwpt_id"))
    s.call("iommu", "HWPT_ALLOC", dev_id="$dev", pt_id="$ioas", flags=PASID, keep=("second", "out_hwpt_id"))
    s.detach()
    for rid in ("$plain", "$pasids", None):
        if rid:
            s.attach(rid)
        for pasid in (0, 1, 5, 5, (1 << 20) - 1, 1 << 20, 0x7fffffff, 0x80000000, MAX32):
            for pt in ("$second", "$plain", "$ioas", 0, 99, "$dev"):
                s.attach(pt, pasid=pasid)
            s.destroy("iommu", "$second")
            s.detach(pasid=pasid)
            s.detach(pasid=pasid)
        s.attach("$second", pasid=7)
        s.attach("$plain")
        s.attach("$pasids")
        s.detach()
        s.attach("$plain")
        s.detach()
        s.detach(pasid=7)
    s.topic = "sizes of ATTACH_PT"
    for size in (0, 8, 11, 12, 13, 15, 16, 17, 20, MAX32):
        for flags in (0, 1, 2, 3, MAX32):
            s.call("device", "ATTACH_PT", size=size, flags=flags, pt_id="$pasids", pasid=9)
            s.call("device", "DETACH_PT", size=size, flags=flags, pasid=9)
        s.detach(pasid=9)
        s.detach()
    s.call("device", "ATTACH_PT", bytes_=12, flags=1, size=16, pt_id="$pasids")
    s.call("device", "DETACH_PT", bytes_=8, flags=1, size=12)
    s.value("device", "ATTACH_PT", "@hole+0")
    s.value("device", "DETACH_PT", "@hole+0")


def hwpts(s):
    memories(s)
    s.topic = "HWPTs"
    s.bound()
    s.ioas("iommu", "ioas")
    s.call("iommu", "FAULT_QUEUE_ALLOC", keep=("queue", "out_fault_id"))
    hwpt_allocs(s)
    invalidations(s)
    dirty(s)
    hw_info(s)
    queues(s)
    attachments(s)
    s.close("device", "iommu")
