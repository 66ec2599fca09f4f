# SPDX-License-Identifier: BSD-3-Clause
#
# A front door: meson does the work, in build/. Every target first makes sure that what it needs is installed (scripts/deps).

PREFIX ?= /usr/local
DESTDIR ?=
export DESTDIR

BUILD := build
PYTHON := /usr/bin/python3

.DEFAULT_GOAL := all
.PHONY: all build help demo demo-vm check check-long bench install uninstall fuzz format clean

all: build

help:
	@echo 'make             build into $(BUILD)/'
	@echo 'make demo        see what it does, in half a minute'
	@echo 'make demo-vm     a process in a guest and a device share addresses; needs a minute or two, and QEMU (uiommu vm --setup)'
	@echo 'make check       every test and check (check-long: the same with more work per test)'
	@echo 'make bench       the benchmarks; writes $(BUILD)/bench.json'
	@echo 'make fuzz        fuzz each parser for a minute (SECONDS=60)'
	@echo 'make install     to PREFIX=$(PREFIX), below DESTDIR; make uninstall removes it again'
	@echo 'make format      lay out the sources with clang-format'
	@echo 'make clean       remove what was built'

# What a target needs beyond building; everything that is missing is named at once.
NEEDS :=

$(BUILD)/build.ninja:
	@scripts/deps build $(NEEDS)
	@# Where Debian looks for libraries: meson asks dpkg-dev, which may not be here.
	multiarch=$$(gcc -print-multiarch 2>/dev/null); meson setup $(BUILD) --prefix '$(PREFIX)' $${multiarch:+--libdir lib/$$multiarch}

build: $(BUILD)/build.ninja
	@scripts/deps build $(NEEDS)
	@ninja -C $(BUILD)

demo: NEEDS := demo
demo: build
	@$(PYTHON) scripts/demo $(BUILD)

demo-vm: build
	@$(PYTHON) scripts/demo-vm $(BUILD)

check:
	@scripts/deps check
	@$(PYTHON) scripts/check

check-long:
	@scripts/deps check
	@$(PYTHON) scripts/check --long

bench: build
	@scripts/bench $(BUILD)

fuzz:
	@scripts/deps fuzz
	@scripts/fuzz $(or $(SECONDS),60)

install: build
	@meson configure $(BUILD) --prefix '$(PREFIX)'
	@meson install -C $(BUILD)
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ldconfig

uninstall: build
	@meson configure $(BUILD) --prefix '$(PREFIX)'
	@scripts/uninstall $(BUILD)
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ldconfig

format:
	@scripts/deps format
	find src include tests examples bench guest -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf $(BUILD) $(BUILD)-*
