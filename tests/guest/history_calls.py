# SPDX-License-Identifier: BSD-3-Clause
"""Scripts for guest-history (history.c says what their lines are), and the numbers and layouts of iommufd's and VFIO's commands."""

PAGE = 4096
MAX64 = (1 << 64) - 1
MAX32 = (1 << 32) - 1
FIXED, WRITABLE, READABLE = 1, 2, 4
RW = READABLE | WRITABLE
NEST_PARENT, DIRTY, FAULT, PASID = 1, 2, 4, 8
DEVICE_IOVA = 1 << 32 # beyond what x86 reserves


def fields(text):
    """'size flags out:f iova:8': four bytes, if nothing else is said; f: a descriptor."""
    return [(name, width if width == "f" else int(width or 4)) for name, _, width in (word.partition(":") for word in text.split())]


def iommufd(number, text):
    return 0x3b00 | number, fields(text)


def vfio(number, text):
    return 0x3b00 | (100 + number), fields(text)


STRUCTS = {
    "DESTROY": iommufd(0x80, "size id"),
    "IOAS_ALLOC": iommufd(0x81, "size flags out_ioas_id"),
    "IOAS_ALLOW_IOVAS": iommufd(0x82, "size ioas_id num_iovas reserved allowed_iovas:8"),
    "IOAS_COPY": iommufd(0x83, "size flags dst_ioas_id src_ioas_id length:8 dst_iova:8 src_iova:8"),
    "IOAS_IOVA_RANGES": iommufd(0x84, "size ioas_id num_iovas reserved allowed_iovas:8 out_iova_alignment:8"),
    "IOAS_MAP": iommufd(0x85, "size flags ioas_id reserved user_va:8 length:8 iova:8"),
    "IOAS_UNMAP": iommufd(0x86, "size ioas_id iova:8 length:8"),
    "OPTION": iommufd(0x87, "size option_id op:2 reserved:2 object_id val64:8"),
    "VFIO_IOAS": iommufd(0x88, "size ioas_id op:2 reserved:2"),
    "HWPT_ALLOC": iommufd(0x89, "size flags dev_id pt_id out_hwpt_id reserved data_type data_len data_uptr:8 fault_id reserved2"),
    "GET_HW_INFO": iommufd(0x8a, "size flags dev_id data_len data_uptr:8 data_type out_max_pasid_log2:1 reserved:1 more:2 out_capabilities:8"),
    "HWPT_SET_DIRTY_TRACKING": iommufd(0x8b, "size flags hwpt_id reserved"),
    "HWPT_GET_DIRTY_BITMAP": iommufd(0x8c, "size hwpt_id flags reserved iova:8 length:8 page_size:8 data:8"),
    "HWPT_INVALIDATE": iommufd(0x8d, "size hwpt_id data_uptr:8 data_type entry_len entry_num reserved"),
    "FAULT_QUEUE_ALLOC": iommufd(0x8e, "size flags out_fault_id out_fault_fd:f"),
    "IOAS_MAP_FILE": iommufd(0x8f, "size flags ioas_id file start:8 length:8 iova:8"),
    "VIOMMU_ALLOC": iommufd(0x90, "size flags type dev_id hwpt_id out_viommu_id data_len reserved data_uptr:8"),
    "VDEVICE_ALLOC": iommufd(0x91, "size viommu_id dev_id out_vdevice_id virt_id:8"),
    "IOAS_CHANGE_PROCESS": iommufd(0x92, "size reserved"),
    "VEVENTQ_ALLOC": iommufd(0x93, "size flags viommu_id type veventq_depth out_veventq_id out_veventq_fd:f reserved"),
    "HW_QUEUE_ALLOC": iommufd(0x94, "size flags viommu_id type index out_hw_queue_id nesting_parent_iova:8 length:8"),
    "BIND_IOMMUFD": vfio(18, "argsz flags iommufd out_devid token_uuid_ptr:8"),
    "ATTACH_PT": vfio(19, "argsz flags pt_id pasid"),
    "DETACH_PT": vfio(20, "argsz flags pasid"),
    "TYPE1_GET_INFO": vfio(12, "argsz flags iova_pgsizes:8 cap_offset pad"),
    "MAP_DMA": vfio(13, "argsz flags vaddr:8 iova:8 length:8"),
    "UNMAP_DMA": vfio(14, "argsz flags iova:8 length:8"),
    "GROUP_GET_STATUS": vfio(3, "argsz flags"),
    "SET_CONTAINER": vfio(4, "file"),
    "GET_INFO": vfio(7, "argsz flags num_regions num_irqs cap_offset pad"),
    "GET_REGION_INFO": vfio(8, "argsz flags index cap_offset length:8 offset:8"),
    "GET_IRQ_INFO": vfio(9, "argsz flags index count"),
    "SET_IRQS": vfio(10, "argsz flags index start count"),
    "HOT_RESET_INFO": vfio(12, "argsz flags count"),
    "HOT_RESET": vfio(13, "argsz flags count"),
    "FEATURE": vfio(17, "argsz flags"),
}

# Those without a struct.
NUMBERS = {name: number for name, (number, _) in STRUCTS.items()}
NUMBERS |= {"GET_API_VERSION": 0x3b64, "CHECK_EXTENSION": 0x3b65, "SET_IOMMU": 0x3b66, "UNSET_CONTAINER": 0x3b69, "GET_DEVICE_FD": 0x3b6a,
            "RESET": 0x3b6f}

# Of iommufd's, the size of the first version.
LEAST = {"DESTROY": 8, "IOAS_ALLOC": 12, "IOAS_ALLOW_IOVAS": 24, "IOAS_COPY": 40, "IOAS_IOVA_RANGES": 32, "IOAS_MAP": 40, "IOAS_UNMAP": 24,
         "OPTION": 24, "VFIO_IOAS": 12, "HWPT_ALLOC": 24, "GET_HW_INFO": 32, "HWPT_SET_DIRTY_TRACKING": 16, "HWPT_GET_DIRTY_BITMAP": 48,
         "HWPT_INVALIDATE": 32, "FAULT_QUEUE_ALLOC": 16, "IOAS_MAP_FILE": 40, "VIOMMU_ALLOC": 24, "VDEVICE_ALLOC": 24,
         "IOAS_CHANGE_PROCESS": 8, "VEVENTQ_ALLOC": 28, "HW_QUEUE_ALLOC": 40}


def size_of(name):
    return sum(4 if width == "f" else width for _, width in STRUCTS[name][1])


class Script:
    """Lines, and beside each what a reader should see."""

    def __init__(self):
        self.lines, self.labels, self.topic = [], [], ""

    def add(self, line, label=None):
        self.lines.append(line)
        self.labels.append(f"{self.topic}: {label or line}")

    def call(self, fd, name, *, size=None, tail=(), keep=None, number=None, bytes_=None, **given):
        """An ioctl with a struct. @size: what the struct says, otherwise what it is; @bytes_: so many are there of it; @tail: dwords."""
        command, layout = STRUCTS[name]
        there = size_of(name) if bytes_ is None else bytes_
        words, length, offsets = [], 0, {}
        for field, width in layout:
            offsets[field] = length
            length += 4 if width == "f" else width
            value = given.pop(field, 0)
            if field in ("size", "argsz"):
                value = there + 4 * len(tail) if size is None else size
            if length <= there:
                words.append((field, width, value))
        assert not given, given
        data = [f"{width}={value}" for _, width, value in words] + [f"4={word}" for word in tail]
        kept = f" >{keep[0]}@{offsets[keep[1]]}" if keep else ""
        label = [f"{field}={value}" for field, _, value in words] + ([f"+{word}" for word in tail] if any(tail) else [f"+{len(tail)}*0"] if tail else [])
        self.add(f"ioctl {fd} {number or command:#x} {' '.join(data)}{kept}",
                 f"{fd} {name}{f' as {number:#x}' if number else ''} {' '.join(label)}{kept}")

    def value(self, fd, name, value):
        self.add(f"value {fd} {NUMBERS[name]:#x} {value}", f"{fd} {name} {value}")

    def destroy(self, fd, object_id):
        self.call(fd, "DESTROY", id=object_id)

    def ioas(self, fd, name):
        self.call(fd, "IOAS_ALLOC", keep=(name, "out_ioas_id"))

    def map(self, fd, ioas, address, length, iova=None, flags=RW):
        self.call(fd, "IOAS_MAP", ioas_id=ioas, user_va=address, length=length, iova=iova or 0, flags=flags | (iova is not None and FIXED))

    def unmap(self, fd, ioas, iova, length):
        self.call(fd, "IOAS_UNMAP", ioas_id=ioas, iova=iova, length=length)

    def ranges(self, fd, ioas, room=8, where="@array+0"):
        self.call(fd, "IOAS_IOVA_RANGES", ioas_id=ioas, num_iovas=room, allowed_iovas=where)
        self.add("peek array 0 128", "ranges")
        self.add("poke array 0 " + "8=0 " * 16)

    def allow(self, fd, ioas, *pairs, where="@array+0", count=None):
        flat = " ".join(f"8={value}" for pair in pairs for value in pair)
        if flat:
            self.add(f"poke array 0 {flat}")
        self.call(fd, "IOAS_ALLOW_IOVAS", ioas_id=ioas, num_iovas=len(pairs) if count is None else count, allowed_iovas=where)
        self.add("poke array 0 " + "8=0 " * 16)

    def bound(self, fd="iommu", device="device"):
        """An iommufd, with the device in it as $dev."""
        self.add(f"open {fd} iommu")
        self.add(f"open {device} device")
        self.call(device, "BIND_IOMMUFD", iommufd=f"${fd}", bytes_=16, keep=("dev", "out_devid"))

    def attach(self, pt, device="device", **more):
        self.call(device, "ATTACH_PT", pt_id=pt, bytes_=16 if more else 12, flags=1 if more else 0, **more)

    def detach(self, device="device", **more):
        self.call(device, "DETACH_PT", bytes_=12 if more else 8, flags=1 if more else 0, **more)

    def close(self, *names):
        for name in names:
            self.add(f"close {name}")


def memories(s):
    s.add("memory mem 64 rw shared")
    s.add("memory own 16 rw private")
    s.add("memory const 4 r private")
    s.add("memory hole 16 none private")
    s.add("memory array 2 rw private")
    s.add("memory gone 8 rw private")
    s.add("drop gone 8")
