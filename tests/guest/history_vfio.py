# SPDX-License-Identifier: BSD-3-Clause
"""VFIO's calls: TYPE1 of an iommufd and of a container, a device by its cdev and by its group."""

from history_calls import DEVICE_IOVA, MAX32, MAX64, NUMBERS, PAGE, memories


# --- VFIO's compatible calls of an iommufd, and its containers ---

def type1_calls(s, fd):
    s.topic = f"type1 on {fd}"
    s.value(fd, "GET_API_VERSION", 0)
    for extension in (*range(13), 99, MAX32):
        s.value(fd, "CHECK_EXTENSION", extension)
    for kind in (0, 2, 4, 5, 7, 8, 99):
        s.value(fd, "SET_IOMMU", kind)


def type1_info(s, fd):
    s.topic = f"info of {fd}"
    for size in (0, 8, 15, 16, 20, 23, 24, 32, 48, 64, 80, 96, 112, 200):
        s.call(fd, "TYPE1_GET_INFO", bytes_=16, tail=(0,) * 48, size=size)
    s.call(fd, "TYPE1_GET_INFO", flags=MAX32)
    s.call(fd, "TYPE1_GET_INFO", bytes_=16)
    s.call(fd, "TYPE1_GET_INFO", bytes_=16, size=24)
    s.call(fd, "TYPE1_GET_INFO", bytes_=8, size=24)
    s.value(fd, "TYPE1_GET_INFO", "@hole+0")


def type1_maps(s, fd, base):
    s.topic = f"maps of {fd}"
    good = {"vaddr": "@mem+0", "iova": base, "length": PAGE, "flags": 3}

    def map_(**fields):
        s.call(fd, "MAP_DMA", **{**good, **fields})

    def unmap(**fields):
        s.call(fd, "UNMAP_DMA", **{**{"flags": 2}, **fields})
    for size in (0, 8, 31, 32, 33, 40, MAX32):
        map_(size=size)
        unmap(size=size)
    map_(bytes_=24)
    s.value(fd, "MAP_DMA", "@hole+0")
    s.value(fd, "UNMAP_DMA", "@hole+0")
    for flags in (1, 2, 3, 4, 7, 8, MAX32):
        map_(flags=flags)
        unmap()
    for iova in (1, 0, base + 2048, MAX64, MAX64 - PAGE + 1):
        map_(iova=iova)
    unmap()
    for length in (0, 1, 2048, PAGE + 1, 16 * PAGE, MAX64, 1 << 63):
        map_(length=length)
        unmap()
    for address in ("@mem+1", "@mem+2048", "@const+0", "@gone+0", "@hole+0", MAX64, 0):
        map_(vaddr=address)
        map_(vaddr=address, flags=1)
        unmap()
    s.topic = f"unmaps of {fd}"
    for flags in (0, 1, 2, 3, 4, 6, MAX32):
        map_(length=4 * PAGE)
        unmap(flags=flags)
        unmap(flags=flags, iova=base, length=4 * PAGE)
        unmap(flags=flags, iova=base, length=4 * PAGE)
    for first, pages in ((0, 4), (0, 1), (1, 1), (3, 1), (2, 8), (-1, 6), (-2, 2), (4, 1), (-1, 2), (0, 0), (1, 0)):
        map_(length=4 * PAGE)
        unmap(flags=0, iova=base + first * PAGE, length=pages * PAGE)
        unmap()
        unmap()
    for iova, length in ((1, PAGE), (base, 1), (base + 1, PAGE), (base, MAX64), (MAX64, 1), (MAX64, 2), (MAX64 - PAGE + 1, PAGE), (MAX64 - PAGE + 1, PAGE * 2),
                       (0, MAX64)):
        map_()
        unmap(flags=0, iova=iova, length=length)
        unmap()


def compatible(s):
    """TYPE1 on an iommufd, without and with an IOAS for it."""
    memories(s)
    s.add("open iommu iommu")
    type1_calls(s, "iommu")
    type1_info(s, "iommu")
    s.topic = "the IOAS for VFIO"
    for op in (0, 1, 2, 3, 0xffff):
        for ioas in (0, 99):
            s.call("iommu", "VFIO_IOAS", op=op, ioas_id=ioas)
    s.call("iommu", "VFIO_IOAS", reserved=1)
    s.call("iommu", "MAP_DMA", vaddr="@mem+0", length=PAGE, flags=3)
    s.call("iommu", "UNMAP_DMA", flags=2)
    s.ioas("iommu", "ioas")
    s.call("iommu", "VFIO_IOAS", op=1, ioas_id="$ioas")
    s.call("iommu", "VFIO_IOAS")
    s.value("iommu", "SET_IOMMU", 3)
    type1_maps(s, "iommu", 1 << 20)
    type1_info(s, "iommu")
    type1_calls(s, "iommu")
    type1_info(s, "iommu")
    type1_maps(s, "iommu", 1 << 20)
    s.destroy("iommu", "$ioas")
    s.call("iommu", "VFIO_IOAS")
    s.call("iommu", "VFIO_IOAS", op=2)
    s.close("iommu")


# --- devices ---

REGION = 1 << 40
CONFIG = 7


def device_info(s, fd):
    s.topic = f"what {fd} is"
    for size in (0, 4, 15, 16, 17, 20, 24, 32, 64, MAX32):
        s.call(fd, "GET_INFO", size=size)
        s.call(fd, "GET_INFO", bytes_=16, size=size)
    for index in (*range(11), 99, MAX32):
        s.call(fd, "GET_REGION_INFO", index=index, flags=MAX32, cap_offset=7)
        s.call(fd, "GET_REGION_INFO", index=index, tail=(0,) * 20)
    for size in (0, 8, 31, 32, 33, 40, MAX32):
        s.call(fd, "GET_REGION_INFO", size=size, index=0)
        s.call(fd, "GET_REGION_INFO", size=size, index=CONFIG)
    s.call(fd, "GET_REGION_INFO", bytes_=24, size=32)
    for index in (*range(7), 99, MAX32):
        s.call(fd, "GET_IRQ_INFO", index=index, flags=MAX32, count=77)
    for size in (0, 8, 15, 16, 17, MAX32):
        s.call(fd, "GET_IRQ_INFO", size=size)
    for name in ("GET_INFO", "GET_REGION_INFO", "GET_IRQ_INFO", "SET_IRQS", "HOT_RESET_INFO", "HOT_RESET", "FEATURE"):
        s.value(fd, name, "@hole+0")
        s.value(fd, name, 0)
    s.topic = f"numbers of {fd}"
    for number in range(0x3b64, 0x3b90):
        # Those that have a topic of their own.
        if number not in (0x3b6b, 0x3b6c, 0x3b6d, 0x3b6e, 0x3b6f, 0x3b70, 0x3b71, 0x3b75, 0x3b76, 0x3b77, 0x3b78):
            s.call(fd, "GET_INFO", tail=(0,) * 8, number=number)


def interrupts(s, fd, vectors):
    s.topic = "interrupts"
    for name in ("one", "two"):
        s.add(f"eventfd {name}")

    def set_(flags, index, start, count, *data, **more):
        s.call(fd, "SET_IRQS", flags=flags, index=index, start=start, count=count, tail=data, **more)
    for size in (0, 8, 19, 20, 21, 23, 24, MAX32):
        set_(0x24, 2, 0, 1, "$one", size=size)
    for flags in [*range(64), 1 << 6, MAX32]:
        for index in (0, 1, 2, 3, 4, 5):
            set_(flags, index, 0, 1, "$one")
        set_(flags, 2, 0, 0)
        set_(0x21, 2, 0, 0)
        set_(0x21, 0, 0, 0)
    for index in (0, 1, 2, 3, 4, 5, 99, MAX32):
        for start, count in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, vectors), (0, vectors + 1), (vectors, 1), (vectors - 1, 1), (MAX32, 1), (1, MAX32), (0, MAX32)):
            # Without interrupt remapping Linux has one MSI for a device, however many it asks for.
            if index == 1 and 1 < start + count <= 32:
                continue
            data = ("$one", "$two")[:count] if count < 3 else ("$one",) * count if count <= vectors + 1 else ("$one", "$two")
            set_(0x24, index, start, count, *data)
            set_(0x21, index, start, count)
            set_(0x22, index, start, count, 0x01010101, 0x01010101, 0x01010101, 0x01010101)
            s.add("count one")
            s.add("count two")
        set_(0x21, index, 0, 0)
    s.topic = "descriptors of interrupts"
    for given in ("$iommu", 99, "$device", MAX32, 0xfffffffe, "$mem"):
        for index in (0, 1, 2, 3, 4):
            set_(0x24, index, 0, 1, given)
            set_(0x21, index, 0, 0)
    s.topic = "interrupts that are set up"
    for index in (0, 1, 2, 3, 4):
        set_(0x24, index, 0, 1, "$one")
        for other in (0, 1, 2, 3, 4):
            if other != index:
                set_(0x24, other, 0, 1, "$two")
                s.add("count two")
                set_(0x21, other, 0, 0)
        set_(0x24, index, 0, 1, "$one")
        set_(0x21, index, 0, 1)
        s.add("count one")
        for boolean in (0, 1, 2):
            set_(0x22, index, 0, 1, boolean)
            s.add("count one")
        for action in (0x08, 0x10):
            for kind, data in ((1, ()), (2, (1,)), (2, (0,)), (4, ("$two",)), (4, (MAX32,)), (4, (99,))):
                set_(action | kind, index, 0, 1, *data)
            s.add("count one")
            s.add("count two")
        set_(0x24, index, 0, 1, MAX32)
        set_(0x21, index, 0, 1)
        s.add("count one")
        set_(0x21, index, 0, 0)
        set_(0x21, index, 0, 0)
    s.topic = "vectors"
    for start, count in ((0, vectors), (0, 1), (0, 2), (1, 1), (vectors - 1, 1)):
        set_(0x24, 2, start, count, *(("$one",) * count))
        set_(0x21, 2, 0, vectors)
        s.add("count one")
        set_(0x24, 2, 0, 2, MAX32, "$two")
        set_(0x21, 2, 0, vectors)
        s.add("count one")
        s.add("count two")
        set_(0x24, 1, 0, 1, "$two")
        set_(0x21, 2, 0, 0)
    s.close("one", "two")


def features(s, fd):
    s.topic = "features"
    s.add("eventfd wakeup")
    for feature in (*range(14), 0xffff):
        for flags in range(16):
            for data in ((), (0, 0), ("$wakeup", 0)):
                s.call(fd, "FEATURE", flags=feature | flags << 16, tail=data)
        s.call(fd, "FEATURE", flags=5 | 2 << 16)
    for size in (0, 4, 7, 8, 9, 12, 16, 17, MAX32):
        for feature in (0, 3, 4, 5, 99):
            for flags in (1, 2, 4, 6):
                s.call(fd, "FEATURE", size=size, flags=feature | flags << 16, tail=(MAX32, 0))
    s.topic = "low power"
    for data in (("$wakeup", 0), ("$wakeup", 1), (MAX32, 0), (99, 0), ("$iommu", 0), ("$wakeup",), ()):
        s.call(fd, "FEATURE", flags=4 | 2 << 16, tail=data)
        s.call(fd, "FEATURE", flags=3 | 2 << 16)
        s.add("count wakeup")
        s.add(f"read {fd} {CONFIG * REGION} 4")
        s.add("count wakeup")
        s.call(fd, "FEATURE", flags=5 | 2 << 16)
        s.add("count wakeup")
    s.close("wakeup")


def resets(s, fd):
    s.topic = "resets"
    s.value(fd, "RESET", 0)
    s.value(fd, "RESET", 77)
    for size in (0, 8, 11, 12, 16, 19, 20, 28, MAX32):
        s.call(fd, "HOT_RESET_INFO", size=size, tail=(0,) * 4)
    s.call(fd, "HOT_RESET_INFO", size=20)
    s.call(fd, "HOT_RESET_INFO", size=20, bytes_=8)
    for size in (0, 8, 11, 12): # Linux takes a second for one that is done
        for count in (0, 1, 2, 99, MAX32):
            s.call(fd, "HOT_RESET", size=size, count=count, tail=("$group", "$iommu"))
    s.call(fd, "HOT_RESET", flags=1)
    for number in ("$group", "$iommu", "$device", 99, MAX32):
        s.call(fd, "HOT_RESET", count=1, tail=(number,))
        s.call(fd, "HOT_RESET", count=2, tail=(number, number))


def regions(s, fd, sizes_):
    """Reads and writes at ends, and maps. Of BARs only where nothing changes by itself."""
    s.topic = "regions"
    for width in (1, 2, 3, 4, 5, 7, 8, 16, 64):
        for at in (0, 1, 2, 3, 4, 6, 8, 9, 0x2c, 0x3d, 0x3f, 0x40, 0xfc, 0x100, 0xffc, 0xfff, 0x1000, 0x1001):
            if not {*range(at, at + width)} & {*range(4, 6), *range(16, 40), 0x3c}:
                s.add(f"read {fd} {CONFIG * REGION + at} {width}")
    for index in (*range(7), 8, 9, 99):
        size = sizes_.get(index, 0)
        for at in (0, 1, size - 8, size - 1, size, size + 1, REGION - 1):
            if at >= 0 and (not size or at >= size or size - 8 <= at):
                for width in (0, 1, 2, 4, 8, 16):
                    s.add(f"read {fd} {index * REGION + at} {width}")
        s.add(f"read {fd} {index * REGION + size} 4")
        s.add(f"write {fd} {index * REGION + size} 4=0")
        s.add(f"write {fd} {index * REGION + size} 1=0")
    for at in (0xfff, 0x1000, 0x1001):
        for data in ("1=0", "4=0", "8=0"):
            s.add(f"write {fd} {CONFIG * REGION + at} {data}")
    s.add(f"read {fd} {(1 << 63) - 8} 4")
    s.add(f"read {fd} - 4")
    s.topic = "maps"
    for index in (*range(8), 8, 9, 99):
        size = (sizes_.get(index, 0) + PAGE - 1) // PAGE * PAGE
        for at, length in ((0, PAGE), (0, size), (0, size + PAGE), (size, PAGE), (size - PAGE, PAGE), (size - PAGE, 2 * PAGE), (0, 1), (0, 100), (0, 1 << 39)):
            if at >= 0 and length:
                for access in ("r", "rw", "x"):
                    s.add(f"map {fd} {index * REGION + at} {length} {access} shared")
                s.add(f"map {fd} {index * REGION + at} {length} r private")


def cdev(s, sizes_, vectors):
    memories(s)
    s.topic = "before a bind"
    s.add("open iommu iommu")
    s.add("open device device")
    s.add("open second device")
    s.add("open group group")
    for name in ("GET_INFO", "GET_REGION_INFO", "ATTACH_PT", "DETACH_PT", "FEATURE"):
        s.call("device", name)
    s.value("device", "RESET", 0)
    s.value("device", "UNSET_CONTAINER", 0)
    s.add(f"read device {CONFIG * REGION} 4")
    s.add(f"write device {CONFIG * REGION} 4=0")
    s.add("map device 0 4096 r shared")
    s.topic = "binds"
    good = {"iommufd": "$iommu", "bytes_": 16}

    def bind(device="device", **fields):
        s.call(device, "BIND_IOMMUFD", **{**good, **fields}, keep=("dev", "out_devid") if fields.get("bytes_", 16) >= 16 else None)
    bind()
    s.close("group")
    for size in (0, 4, 15, 12, MAX32, PAGE):
        bind(size=size)
    bind(tail=(0, 0, 1), bytes_=16)
    bind(tail=(0, 0, 0, 1), bytes_=16)
    bind(bytes_=12, size=16)
    for fd in (99, MAX32, 0x80000000, "$device", "$second"):
        bind(iommufd=fd)
    for flags in (1, 2, 3, MAX32):
        bind(flags=flags)
        bind(flags=flags, bytes_=24, token_uuid_ptr="@array+0")
        bind(flags=flags, bytes_=24, token_uuid_ptr="@hole+0")
        bind(flags=flags, iommufd=99)
    s.value("device", "BIND_IOMMUFD", "@hole+0")
    s.value("device", "BIND_IOMMUFD", "@const+0")
    bind(tail=(0, 0, 0, 0), bytes_=16)
    s.topic = "when there is one"
    bind()
    bind("second")
    s.add("open group group")
    s.call("second", "GET_INFO")
    s.destroy("iommu", "$dev")
    device_info(s, "device")
    interrupts(s, "device", vectors)
    features(s, "device")
    resets(s, "device")
    regions(s, "device", sizes_)
    s.topic = "the end of a bind"
    s.close("device")
    s.destroy("iommu", "$dev")
    bind("second")
    s.ioas("iommu", "ioas")
    s.attach("$ioas", device="second")
    s.close("iommu")
    s.attach(0, device="second")
    s.close("second")
    s.add("open group group")
    s.close("group")


def group(s, sizes_, vectors, container):
    """The other way in; @container: what the group is put into."""
    memories(s)
    s.topic = "a group"
    s.add("open group group")
    s.add("open again group")
    s.add("open device device")
    s.add(f"open iommu {container}")
    for size in (0, 4, 7, 8, 12, MAX32):
        s.call("group", "GROUP_GET_STATUS", size=size, flags=MAX32)
    s.call("group", "GROUP_GET_STATUS", bytes_=4, size=8)
    s.value("group", "UNSET_CONTAINER", 0)
    def open_(name, keep=True):
        s.add(f"ioctl group {NUMBERS['GET_DEVICE_FD']:#x} {name}{' >vfio' if keep else ''}")
    for name in ("n=", "n=x", "s=nobody"):
        open_(name, False)
    for fd in (99, MAX32, "$group", "$device"):
        s.call("group", "SET_CONTAINER", file=fd)
    s.value("group", "SET_CONTAINER", "@hole+0")
    type1_calls(s, "iommu")
    s.call("group", "SET_CONTAINER", file="$iommu")
    s.call("group", "SET_CONTAINER", file="$iommu")
    s.call("group", "GROUP_GET_STATUS")
    for kind in (99, 0, 3):
        s.value("iommu", "SET_IOMMU", kind)
    type1_info(s, "iommu")
    open_("s=nobody", False)
    open_("n=x", False)
    s.value("group", "GET_DEVICE_FD", "@hole+0")
    open_("n=")
    s.call("device", "BIND_IOMMUFD", iommufd="$iommu", bytes_=16)
    s.call("vfio", "BIND_IOMMUFD", iommufd="$iommu", bytes_=16)
    s.attach(1, device="vfio")
    s.detach(device="vfio")
    device_info(s, "vfio")
    interrupts(s, "vfio", vectors)
    features(s, "vfio")
    resets(s, "vfio")
    regions(s, "vfio", sizes_)
    type1_maps(s, "iommu", DEVICE_IOVA)
    type1_info(s, "iommu")
    s.topic = "ends of a group"
    s.close("group")
    s.add("open group group")
    s.add("open other device")
    s.call("other", "BIND_IOMMUFD", iommufd="$iommu", bytes_=16)
    s.call("vfio", "GET_INFO")
    s.close("vfio")
    s.close("group")
    s.add("open group group")
    s.call("group", "GROUP_GET_STATUS")
    s.call("group", "SET_CONTAINER", file="$iommu")
    s.value("group", "UNSET_CONTAINER", 0)
    s.value("group", "UNSET_CONTAINER", 0)
    s.close("group", "iommu", "device", "other")
