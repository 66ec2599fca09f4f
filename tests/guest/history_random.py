# SPDX-License-Identifier: BSD-3-Clause
"""Histories that are made up from a seed."""

import random

from history_calls import DEVICE_IOVA, FIXED, MAX32, MAX64, PAGE, READABLE, RW, WRITABLE, memories


class Spaces:
    """What a random history of I/O address spaces has made so far: areas by slot, so that no unmap ends within one."""

    SLOTS = 48

    def __init__(self, s, rng, base):
        self.s, self.rng, self.base = s, rng, base
        self.areas = {}
        self.names = []

    def iova(self, slot):
        return self.base + slot * PAGE

    def name(self):
        return self.rng.choice(self.names) if self.names and self.rng.random() < 0.97 else "none"

    def alloc(self):
        if len(self.names) < 4:
            name = next(n for n in ("p", "q", "r", "t") if n not in self.names)
            self.names.append(name)
            self.areas[name] = []
            self.s.ioas("iommu", name)

    def free(self, name, first, count):
        return all(first >= start + length or first + count <= start for start, length in self.areas.get(name, []))

    def map(self):
        name, first, count = self.name(), self.rng.randrange(self.SLOTS), self.rng.choice((1, 1, 1, 2, 4))
        source, offset, flags = self.rng.choice(("mem", "own", "const")), self.rng.randrange(4), self.rng.choice((READABLE, RW, RW, WRITABLE))
        if source == "const":
            offset, flags, count = 0, READABLE, min(count, 4)
        if name in self.areas and self.free(name, first, count):
            self.areas[name].append((first, count))
        self.s.map("iommu", f"${name}", f"@{source}+{offset * PAGE}", count * PAGE, self.iova(first), flags)

    def unmap(self):
        """A page, which cannot end within an area behind one that it has as a whole; or all there is."""
        name, slot = self.name(), self.rng.randrange(self.SLOTS)
        areas = self.areas.get(name, [])
        if areas and self.rng.random() < 0.6:
            slot = self.rng.choice(areas)[0]
        if name in self.areas:
            self.areas[name] = [area for area in areas if area != (slot, 1)]
        self.s.unmap("iommu", f"${name}", self.iova(slot), PAGE)

    def copy(self):
        source, target = self.name(), self.name()
        first, count, to = self.rng.randrange(self.SLOTS), self.rng.randint(1, 6), self.rng.randrange(self.SLOTS)
        areas = self.areas.get(source, [])
        if areas and self.rng.random() < 0.7:
            first, count = self.rng.choice(areas)
            skip = self.rng.randrange(count)
            first, count = first + skip, self.rng.randint(1, count - skip)
        whole = any(start <= first and first + count <= start + length for start, length in areas)
        if not whole and all(not self.free(source, slot, 1) for slot in range(first, first + count)):
            return # of several areas, and several areas it would become
        if whole and self.free(target, to, count) and target in self.areas:
            self.areas[target].append((to, count))
        self.s.call("iommu", "IOAS_COPY", dst_ioas_id=f"${target}", src_ioas_id=f"${source}", length=count * PAGE, dst_iova=self.iova(to),
                    src_iova=self.iova(first), flags=READABLE | FIXED)

    def destroy(self):
        if len(self.names) > 2:
            name = self.rng.choice(self.names)
            self.s.unmap("iommu", f"${name}", 0, MAX64)
            self.s.destroy("iommu", f"${name}")
            self.areas[name] = []

    def everything(self):
        name = self.name()
        if name in self.areas and self.rng.random() < 0.2:
            self.areas[name] = []
            self.s.unmap("iommu", f"${name}", 0, MAX64)

    def huge(self):
        self.s.call("iommu", "OPTION", option_id=1, op=self.rng.randrange(3), object_id=f"${self.name()}", val64=self.rng.randrange(3))

    def ranges(self):
        self.s.ranges("iommu", f"${self.name()}")


def spaces(seed, count, attached):
    def made(s):
        rng = random.Random(seed)
        memories(s)
        s.topic = f"seed {seed}"
        s.bound()
        one = Spaces(s, rng, DEVICE_IOVA if attached else 1 << 20)
        for _ in range(3):
            one.alloc()
        if attached:
            s.attach("$p")
        steps = [one.map] * 8 + [one.unmap] * 6 + [one.copy] * 4 + [one.alloc, one.everything, one.huge]
        steps += [lambda: s.attach(f"${one.name()}"), s.detach] if attached else [one.destroy, one.ranges]
        for _ in range(count):
            rng.choice(steps)()
        s.close("device", "iommu")
    return made


class Objects:
    """A device, page tables of all kinds, attached and detached with and without PASIDs, while what they are made of is taken away."""

    def __init__(self, s, rng):
        self.s, self.rng = s, rng
        self.names = {"ioas": ["i0", "i1", "i2"], "paging": ["h0", "h1", "h2", "h3"], "nested": ["n0", "n1"], "queue": ["f0", "f1"]}

    def of(self, *kinds):
        """A name of one of these kinds; rarely of another one, or of nothing."""
        luck = self.rng.random()
        if luck < 0.03:
            return self.rng.choice(("0", "99", "$dev", "$none"))
        kind = self.rng.choice(kinds if luck < 0.94 else list(self.names))
        return "$" + self.rng.choice(self.names[kind])

    def put(self, kind):
        return self.rng.choice(self.names[kind])

    def odd(self, usual, *others):
        return usual if self.rng.random() < 0.93 else self.rng.choice(others)

    def ioas(self):
        self.s.call("iommu", "IOAS_ALLOC", flags=self.odd(0, 1, 1 << 31), keep=(self.put("ioas"), "out_ioas_id"))

    def queue(self):
        self.s.call("iommu", "FAULT_QUEUE_ALLOC", flags=self.odd(0, 1), keep=(self.put("queue"), "out_fault_id"))

    def paging(self):
        self.s.call("iommu", "HWPT_ALLOC", dev_id=self.odd("$dev", "$i0", 0), pt_id=self.of("ioas"), flags=self.odd(self.rng.randrange(16), 16, 1 << 31),
                    fault_id=self.of("queue"), reserved=self.odd(0, 1), keep=(self.put("paging"), "out_hwpt_id"))

    def nested(self):
        self.s.call("iommu", "HWPT_ALLOC", dev_id=self.odd("$dev", "$i0", 0), pt_id=self.of("paging"), flags=self.rng.choice((0, 0, 4, 8, 12, 1, 2)),
                    fault_id=self.of("queue"), data_type=self.odd(1, 0, 4), data_len=self.odd(24, 0, 16, 32), data_uptr=self.odd("@array+0", "@gone+0"),
                    keep=(self.put("nested"), "out_hwpt_id"))

    def destroy(self):
        self.s.destroy("iommu", self.of("ioas", "paging", "nested", "queue"))

    def attach(self):
        self.s.attach(self.of("ioas", "paging", "paging", "nested"))

    def attach_pasid(self):
        self.s.attach(self.of("ioas", "paging", "paging", "nested"), pasid=self.odd(self.rng.choice((1, 2, 3)), (1 << 20) - 1, 1 << 20))

    def detach(self):
        self.s.detach()

    def detach_pasid(self):
        self.s.detach(pasid=self.rng.choice((1, 2, 3)))

    def track(self):
        self.s.call("iommu", "HWPT_SET_DIRTY_TRACKING", hwpt_id=self.of("paging"), flags=1)

    def map(self):
        # Writable: of a page table that others are nested on, Linux's VT-d wants that for an erratum.
        self.s.map("iommu", self.of("ioas"), f"@mem+{self.rng.randrange(8) * PAGE}", PAGE, DEVICE_IOVA + self.rng.randrange(16) * PAGE)

    def unmap(self):
        self.s.unmap("iommu", self.of("ioas"), DEVICE_IOVA + self.rng.randrange(16) * PAGE, PAGE)

    def lost(self):
        """Memory that cannot be pinned."""
        self.s.map("iommu", self.of("ioas"), "@hole+0", PAGE, DEVICE_IOVA + (16 + self.rng.randrange(4)) * PAGE)

    def unlost(self):
        self.s.unmap("iommu", self.of("ioas"), DEVICE_IOVA + (16 + self.rng.randrange(4)) * PAGE, PAGE)

    def invalidate(self):
        self.s.call("iommu", "HWPT_INVALIDATE", hwpt_id=self.of("nested"), data_uptr="@entry+0", data_type=self.odd(0, 1), entry_len=self.odd(24, 16),
                    entry_num=self.odd(1, 0, 2))

    def info(self):
        self.s.call("iommu", "GET_HW_INFO", dev_id=self.odd("$dev", "$i0", 0))

    def huge(self):
        self.s.call("iommu", "OPTION", option_id=1, op=self.rng.randrange(2), object_id=self.of("ioas"), val64=self.rng.randrange(2))

    def compatible(self):
        self.s.call("iommu", "VFIO_IOAS", op=self.rng.randrange(3), ioas_id=self.of("ioas"))

    def reopen(self):
        """Everything ends, in some order."""
        names = ["device", "iommu"]
        self.rng.shuffle(names)
        self.s.close(*names)
        self.s.bound()


def objects(seed, count):
    def made(s):
        rng = random.Random(seed)
        memories(s)
        s.add("memory entry 1 rw private")
        s.topic = f"seed {seed}"
        s.add("poke array 0 8=0 8=0 4=48 4=0")
        s.add(f"poke entry 0 8=0 8={MAX64} 8=0 8=0 8={MAX64} 8=0")
        s.bound()
        one = Objects(s, rng)
        for make in (one.ioas, one.ioas, one.queue, one.paging, one.paging, one.paging):
            make()
        steps = [one.ioas, one.queue, one.paging, one.paging, one.paging, one.nested, one.nested, one.destroy, one.destroy, one.destroy, one.attach, one.attach,
                 one.attach, one.attach_pasid, one.attach_pasid, one.attach_pasid, one.detach, one.detach_pasid, one.track, one.map, one.map, one.unmap,
                 one.lost, one.unlost, one.unlost, one.invalidate, one.info, one.huge, one.compatible]
        for _ in range(count):
            (one.reopen if rng.random() < 0.003 else rng.choice(steps))()
        s.close("device", "iommu")
    return made


def interrupts(seed, count, vectors):
    """SET_IRQS, and resets, of a device. What config space says, test_config.py has: of MSI, Linux shows what an earlier program left."""
    def made(s):
        rng = random.Random(seed)
        memories(s)
        s.topic = f"seed {seed}"
        events = ["one", "two", "three"]
        for name in events:
            s.add(f"eventfd {name}")
        s.bound()
        for _ in range(count):
            luck = rng.random()
            if luck < 0.005:
                s.close("device")
                s.add("open device device")
                s.call("device", "BIND_IOMMUFD", iommufd="$iommu", bytes_=16)
            elif luck < 0.006:
                s.value("device", "RESET", 0)
            elif luck < 0.15:
                s.add(f"count {rng.choice(events)}")
            else:
                index = rng.choice((0, 1, 2, 2, 2, 3, 4, 5))
                kind, action = rng.choice((1, 2, 4, 4, 4, 8, 3)), rng.choice((8, 16, 32, 32, 32, 32, 0, 48))
                start, number = rng.choice((0, 0, 0, 1, 2, vectors - 1, vectors)), rng.choice((0, 1, 1, 1, 2, 3))
                if index == 1 and 1 < start + number <= 32:
                    start, number = 0, 1
                choices = [*(f"${name}" for name in events), 0xffffffff, 0xffffffff]
                data = [rng.choice(choices) for _ in range(number)] if kind == 4 else [rng.randrange(1 << 32)] if kind == 2 and number else []
                s.call("device", "SET_IRQS", flags=kind | action, index=index, start=start, count=number, tail=data)
        s.close(*events, "device", "iommu")
    return made


# What any member may be, and what addresses may be: a page table of Linux's does not reach as far as ours.
ODD = (0, 1, 2, 3, 4, 7, 8, 9, 16, 255, 0xffff, 0x7fffffff, 0x80000000, MAX32, PAGE - 1, PAGE, PAGE + 1, MAX64)
LESS = (0, 1, 16, PAGE - 1, PAGE, MAX64) # so that no area is whole within a range, and another one not
ACCESS = (0, 1, 2, 3, 6, 7, 8, 9, 16, 0x80000000, MAX32) # never only readable: for an erratum that is not for those that others are nested on
POINTERS = ("@mem+0", "@array+8184", "@hole+0", "@gone+0", "@const+0", 0, MAX64, MAX64 - 7)
IDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99, MAX32, "$dev", "$ioas", "$plain", "$parent", "$nested", "$queue")
# Calls that would be good, and for each member that is made wrong, with what.
CALLS = [
    ("DESTROY", {"id": 0}, {"id": IDS}),
    ("IOAS_ALLOC", {}, {"flags": ODD}),
    ("IOAS_ALLOW_IOVAS", {"ioas_id": "$ioas", "num_iovas": 1, "allowed_iovas": "@array+0"},
     {"ioas_id": IDS, "num_iovas": (0, 1, 2, 3, MAX32), "reserved": ODD, "allowed_iovas": POINTERS}),
    ("IOAS_MAP", {"ioas_id": "$ioas", "user_va": "@mem+0", "length": PAGE, "iova": DEVICE_IOVA, "flags": RW | FIXED},
     {"ioas_id": IDS, "user_va": POINTERS, "length": ODD, "iova": ODD, "flags": ACCESS, "reserved": ODD}),
    ("IOAS_UNMAP", {"ioas_id": "$ioas", "length": PAGE, "iova": DEVICE_IOVA}, {"ioas_id": IDS, "length": LESS, "iova": ODD}),
    ("IOAS_COPY", {"dst_ioas_id": "$ioas", "src_ioas_id": "$ioas", "length": PAGE, "src_iova": DEVICE_IOVA, "dst_iova": DEVICE_IOVA + PAGE, "flags": RW | FIXED},
     {"dst_ioas_id": IDS, "src_ioas_id": IDS, "length": ODD, "src_iova": ODD, "dst_iova": ODD, "flags": ACCESS}),
    ("IOAS_MAP_FILE", {"ioas_id": "$ioas", "file": "$file", "start": PAGE, "length": PAGE, "iova": DEVICE_IOVA + 2 * PAGE, "flags": RW | FIXED},
     {"ioas_id": IDS, "file": (99, MAX32), "start": ODD, "length": ODD, "iova": ODD, "flags": ACCESS}),
    ("IOAS_CHANGE_PROCESS", {}, {"reserved": ODD}),
    ("OPTION", {"option_id": 1, "op": 1, "object_id": "$ioas"}, {"option_id": ODD, "op": ODD, "reserved": ODD, "object_id": IDS, "val64": ODD}),
    ("VFIO_IOAS", {"ioas_id": "$ioas", "op": 1}, {"ioas_id": IDS, "op": ODD, "reserved": ODD}),
    ("HWPT_ALLOC", {"dev_id": "$dev", "pt_id": "$ioas", "fault_id": "$queue"},
     {"dev_id": IDS, "pt_id": IDS, "fault_id": IDS, "flags": ODD, "reserved": ODD, "data_type": (0, 1, 4, MAX32), "data_len": ODD, "reserved2": ODD}),
    ("HWPT_ALLOC", {"dev_id": "$dev", "pt_id": "$parent", "fault_id": "$queue", "data_type": 1, "data_len": 24, "data_uptr": "@entry+0"},
     {"dev_id": IDS, "pt_id": IDS, "fault_id": IDS, "flags": ODD, "reserved": ODD, "data_type": (0, 4, MAX32), "data_len": ODD,
      "data_uptr": ("@hole+0", "@gone+0", 0, MAX64)}),
    ("GET_HW_INFO", {"dev_id": "$dev", "data_len": 24, "data_uptr": "@own+0"},
     {"dev_id": IDS, "flags": ODD, "data_len": (0, 1, 8, 24, 25, 64), "data_uptr": POINTERS[1:], "data_type": (0, 1, 5, MAX32), "reserved": (0, 1)}),
    ("HWPT_SET_DIRTY_TRACKING", {"hwpt_id": "$plain"}, {"hwpt_id": IDS, "flags": ODD, "reserved": ODD}),
    ("HWPT_INVALIDATE", {"hwpt_id": "$nested", "data_uptr": "@entry+32", "entry_len": 24, "entry_num": 1},
     {"hwpt_id": IDS, "data_uptr": ("@hole+0", "@gone+0", 0, MAX64), "data_type": ODD, "entry_len": ODD, "entry_num": ODD, "reserved": ODD}),
    ("FAULT_QUEUE_ALLOC", {"flags": 1}, {"flags": ODD[1:]}),
    ("VDEVICE_ALLOC", {"viommu_id": "$plain", "dev_id": "$dev"}, {"viommu_id": IDS, "dev_id": IDS, "virt_id": ODD}),
    ("VEVENTQ_ALLOC", {"viommu_id": "$plain", "type": 1, "veventq_depth": 1},
     {"viommu_id": IDS, "flags": ODD, "type": ODD, "veventq_depth": ODD, "reserved": ODD}),
    ("HW_QUEUE_ALLOC", {"viommu_id": "$plain", "type": 1, "length": PAGE},
     {"viommu_id": IDS, "flags": ODD, "type": ODD, "index": ODD, "length": ODD, "nesting_parent_iova": ODD}),
    ("MAP_DMA", {"vaddr": "@mem+0", "iova": DEVICE_IOVA + 3 * PAGE, "length": PAGE, "flags": 3},
     {"vaddr": POINTERS, "iova": ODD, "length": ODD, "flags": (2, 3, 4, 8, MAX32)}),
    ("UNMAP_DMA", {"iova": DEVICE_IOVA + 3 * PAGE, "length": PAGE}, {"iova": ODD, "length": LESS, "flags": ODD}),
]


def anything(seed, count):
    """Each call with up to three members that are wrong, or a size, in front of a device that has its memory from $ioas."""
    def made(s):
        rng = random.Random(seed)
        memories(s)
        s.add("memory entry 1 rw private")
        s.add(f"poke entry 0 8=0 8=0 4=48 4=0 8=0 8=0 8={MAX64} 8=0")
        s.add(f"file file {4 * PAGE}")
        s.topic = f"seed {seed}"
        s.bound()
        s.ioas("iommu", "ioas")
        s.attach("$ioas")
        for name, flags in (("plain", 2), ("parent", 1)):
            s.call("iommu", "HWPT_ALLOC", dev_id="$dev", pt_id="$ioas", flags=flags, keep=(name, "out_hwpt_id"))
        s.call("iommu", "FAULT_QUEUE_ALLOC", keep=("queue", "out_fault_id"))
        s.call("iommu", "HWPT_ALLOC", dev_id="$dev", pt_id="$parent", data_type=1, data_len=24, data_uptr="@entry+0", keep=("nested", "out_hwpt_id"))
        for _ in range(count):
            name, good, members = rng.choice(CALLS)
            wrong = {member: rng.choice(members[member]) for member in rng.sample(list(members), rng.choice((0, 1, 1, 1, 2, 3)) % (len(members) + 1))}
            if name == "IOAS_ALLOW_IOVAS":
                s.add(f"poke array 0 8={DEVICE_IOVA} 8={DEVICE_IOVA + rng.choice((0, 1, 64 * PAGE - 1))} 8={rng.choice((0, 1 << 40))} 8={1 << 41}")
            size = rng.choice((0, 4, 8, 12, 16, 24, 28, 32, 36, 40, 44, 48, 64)) if rng.random() < 0.05 else None
            s.call("iommu", name, size=size, **{**good, **wrong})
        s.close("device", "iommu", "file")
    return made
