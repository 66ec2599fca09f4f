# SPDX-License-Identifier: BSD-3-Clause
"""Histories that are made up from a seed."""

import random

from history_calls import DEVICE_IOVA, FIXED, MAX64, PAGE, READABLE, RW, WRITABLE, memories


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
        name, first, count = self.name(), self.rng.randrange(self.SLOTS), self.rng.randint(1, 6)
        source, offset, flags = self.rng.choice(("mem", "own", "const")), self.rng.randrange(4), self.rng.choice((READABLE, RW, RW, WRITABLE))
        if source == "const":
            offset, flags, count = 0, READABLE, min(count, 4)
        if name in self.areas and self.free(name, first, count):
            self.areas[name].append((first, count))
        self.s.map("iommu", f"${name}", f"@{source}+{offset * PAGE}", count * PAGE, self.iova(first), flags)

    def unmap(self):
        name = self.name()
        first, count = self.rng.randrange(self.SLOTS), self.rng.randint(1, 12)
        areas = sorted(self.areas.get(name, []))
        if areas and self.rng.random() < 0.6:
            first, count = self.rng.choice(areas)
        whole = [area for area in areas if first <= area[0] and sum(area) <= first + count]
        cut = [area for area in areas if area not in whole and area[0] < first + count and sum(area) > first]
        if whole and cut:
            return
        if not cut:
            self.areas[name] = [area for area in areas if area not in whole]
        self.s.unmap("iommu", f"${name}", self.iova(first), count * PAGE)

    def copy(self):
        source, target = self.name(), self.name()
        first, count, to = self.rng.randrange(self.SLOTS), self.rng.randint(1, 6), self.rng.randrange(self.SLOTS)
        areas = self.areas.get(source, [])
        if areas and self.rng.random() < 0.7:
            first, count = self.rng.choice(areas)
            skip = self.rng.randrange(count)
            first, count = first + skip, self.rng.randint(1, count - skip)
        # Of one area, and readable: whether it is writable is the calls' business.
        if any(start <= first and first + count <= start + length for start, length in areas) and self.free(target, to, count) and target in self.areas:
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
