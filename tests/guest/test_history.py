# SPDX-License-Identifier: BSD-3-Clause
"""The same calls on /dev/iommu and /dev/vfio, answered by Linux, in a guest whose QEMU has the function, and by `uiommu run`.

Histories are scripts (history_*.py) for one program (history.c), and what it prints has to be the same, line by line: results, errnos, what
has changed in each struct, ids, addresses that were chosen. DIFFERENT has what may be different, and why; docs/iommufd.md and
docs/vfio.md say so as well.
"""

import base64
import gzip
import itertools
import os
import re
import subprocess
import tarfile

import pytest

import guest
import history_iommufd
import history_random
import history_vfio
from history_calls import Script

SCALE = min(int(os.environ.get("UIOMMU_TEST_SCALE", "1")), 20)
# The same program, alone and with the shim in it.
PROGRAMS = ["tests/guest/guest-history", "tests/guest/history"]
# Of each model: how it is asked for, its BARs, its vectors.
MODELS = {"accel": ("accel,bdf=0000:01:00.0", {0: 0x4000, 2: 0x80000, 4: 0x1000}, 16),
          "nvme": ("nvme,size=16M,bdf=0000:02:00.0", {0: 0x4000, 4: 0x1000}, 33)}

# Which call, of which history ("HISTORY/TOPIC: CALL"), what Linux says, what we say (regular expressions of all of it), and why.
DIFFERENT = [
    (r"^sizes/numbers: .* as 0x3b95 ", "-22", "-25", "IOAS_NOIOMMU_GET_PA, of Linux 7.3: here are no physical addresses"),
    (r"^alone/files: iommu IOAS_MAP_FILE .* file=\$(iommu|event) .* length=4096 ", "0.*", "-22", "a file is looked at when it is mapped"),
    (r"^alone/files: iommu IOAS_MAP_FILE .* file=\$file start=184467440737095475[0-9]* ", "0.*", "-22", "a file is looked at when it is mapped"),
    (r"^alone/files: iommu IOAS_UNMAP ", "0 16=0x1000 20=0", "0 16=0 20=0", "so that nothing was mapped there"),
    (r"^anything-.*: iommu IOAS_MAP_FILE ", "-17", "-22", "a file is looked at when it is mapped, before there is anything"),
    (r"^attached/.*: iommu IOAS_IOVA_RANGES ", "(0|-90)( 8=0x2)? 24=0x1000", "(0|-90)( 8=0x1)? 24=0x1000", "nothing is reserved for MSIs"),
    (r"^attached/.*: ranges", "8=0xfedfffff( 16=0xfef00000 24=0xffffffff 28=0x7fff)?", "8=0xffffffff 12=0xffffffff", "and there is no aperture"),
    (r"^hwpts/nested on \$parent: iommu HWPT_ALLOC .* data_type=3 ", "-95", "-22|0 16=0x8", "AMD's nested page tables are offered as well"),
    (r"^hwpts/nested on \$parent: iommu DESTROY ", "-2", "0", "which has made one"),
    (r"^hwpts/VT-d's data: iommu HWPT_ALLOC ", "0 16=0x8", "-95|-22", "what no device takes is refused before one is attached"),
    (r"^hwpts/VT-d's data: iommu DESTROY ", "0", "-2", "so that there is nothing to end"),
    (r"^hwpts/dirty tracking: iommu HWPT_GET_DIRTY_BITMAP .* page_size=12288 ", "0", "-22", "no power of two"),
    (r"^hwpts/dirty tracking: iommu HWPT_GET_DIRTY_BITMAP .* length=0 ", "-22", "-75", "as in Linux 7.2"),
    (r"^hwpts/dirty tracking: iommu HWPT_GET_DIRTY_BITMAP .* data=(@hole\+0|@const\+0|@array\+8191|0)$", "0", "-14", "whether or not anything is dirty"),
    (r"^hwpts/dirty tracking: iommu HWPT_GET_DIRTY_BITMAP ", "0", "-22", "tracking is off, and nothing is left of it"),
    (r"^hwpts/hw_info: flags", "0=0x1( 4=0x11111111)?", "(4=0x11111111)?", "an erratum of Linux's VT-d driver"),
    (r"^hwpts/vIOMMUs: iommu VIOMMU_ALLOC .* type=1 ", "-95", "0 20=0xa|-2|-22", "SMMUv3's vIOMMUs are offered"),
    (r"^hwpts/vIOMMUs: iommu DESTROY ", "-2", "0", "which has made one"),
    (r"^hwpts/PASIDs: device ATTACH_PT .* pasid=0$", "0.*|-16", "-22", "0 is no PASID"),
    (r": (device|vfio) GET_REGION_INFO .* index=[04] ", "0.* 4=0x[7f] .*", "0 4=0x3 .*", "a statically linked program cannot map registers"),
    (r": (device|vfio) GET_REGION_INFO .* index=4 ", "0.* 4=0xf .*", "0 4=0x7 .*", "the table of MSI-X is not reached by a mapping"),
    (r": map (device|vfio) (0|12288|4398046511104) \d+ ", "0", "-22", "a statically linked program cannot map registers"),
    (r"/numbers of (device|vfio): .* as 0x3b74 ", "-22", "-25", "IOEVENTFD is not offered"),
    (r"/low power: count wakeup", "-11", "1", "the guest's kernel has no power management"),
    (r"/resets: (device|vfio) HOT_RESET .* count=[01]( |$)", "-25", "0", "QEMU's port does not say that its link is up again"),
    (r"-group/resets: vfio HOT_RESET_INFO ", "0 8=0x1 12=0x[12] 16=0x[0-9a-f]+", "0 8=0x1 16=0x[0-9a-f]+", "numbers of groups"),
    (r"-group/info of iommu: iommu TYPE1_GET_INFO ", ".* 68=0xffffffff", ".* 68=0x1ffffff", "a container's addresses have 57 bits from the beginning"),
    (r"^iommufd-group/info of iommu: iommu TYPE1_GET_INFO ", "(0|-14) 0=0x58 4=0x3 8=0x40201000.*", "(0|-14) 0=0x48 4=0x3 8=0xfffff000 12=0xffffffff.*",
     "nothing is reserved for MSIs, and pages may have any size"),
    (r"^iommufd-group/ends of a group: open group group", "0", "-16", "a device keeps its group, as Linux's type1 container does"),
]
# Of VFIO's own container (CONFIG_VFIO_CONTAINER), which is no iommufd as ours is.
TYPE1 = [
    (r"type1 on iommu: iommu CHECK_EXTENSION 4", "0", "-19", "is asked before there is an IOMMU"),
    (r"a group: iommu SET_IOMMU|type1 on iommu: iommu SET_IOMMU", "-19", "-22", "types are looked at first"),
    (r"info of iommu: iommu TYPE1_GET_INFO ", ".*8=0x40201000.*", ".*8=0xfffff000 12=0xffffffff.*", "capabilities"),
    (r"maps of iommu: iommu MAP_DMA .* flags=4 ", "-2", "-22", "VADDR is none of iommufd's flags"),
    (r"maps of iommu: iommu MAP_DMA .* iova=18446744073709551615 ", "-75", "-22", "alignment is looked at first"),
    (r"unmaps of iommu: iommu UNMAP_DMA .* flags=4 ", "0", "-22", "VADDR is none of iommufd's flags"),
    (r"unmaps of iommu: iommu UNMAP_DMA .* flags=0 ", "-22|-75", "(0|-2|-75)( 16=0x?[0-9]*)?( 20=0)?", "what iommufd tells even if it fails, and what is cut"),
    (r"unmaps of iommu: iommu UNMAP_DMA .* flags=2 iova=0 length=0", "0 16=0x1000", "0", "after a range of all addresses"),
]
DIFFERENT += [("^container-group/" + call, *rest) for call, *rest in TYPE1]


def histories(model):
    """Scripts by name."""
    _, bars, vectors = MODELS[model]
    makers = {"cdev": lambda s: history_vfio.cdev(s, bars, vectors)}
    if model == "accel":
        makers |= {"iommufd-group": lambda s: history_vfio.group(s, bars, vectors, "iommu"),
                   "container-group": lambda s: history_vfio.group(s, bars, vectors, "container"), "sizes": history_iommufd.sizes, "alone": history_iommufd.ioas_alone, "attached": history_iommufd.ioas_attached,
                   "hwpts": history_iommufd.hwpts, "compatible": history_vfio.compatible}
    for seed in range(2 * SCALE):
        makers[f"interrupts-{seed}"] = history_random.interrupts(seed, 1000, vectors)
        if model == "accel":
            makers[f"alone-{seed}"] = history_random.spaces(seed, 1000, False)
            makers[f"attached-{seed}"] = history_random.spaces(seed, 1000, True)
            makers[f"objects-{seed}"] = history_random.objects(seed, 2000)
            makers[f"anything-{seed}"] = history_random.anything(seed, 2000)
    scripts = {}
    for name, make in makers.items():
        scripts[name] = Script()
        make(scripts[name])
    return scripts


def results(lines):
    """By line of the script."""
    return {int(line.partition(" ")[0]): line.partition(" ")[2] for line in lines}


@pytest.fixture(scope="module")
def linux(tools, iommufd_kernel, tmp_path_factory):
    """The scripts of each model, the files that they are in, and what Linux answers."""
    folder = tmp_path_factory.mktemp("histories")
    scripts = {model: histories(model) for model in MODELS}
    files = {}
    for model, named in scripts.items():
        for name, script in named.items():
            path = folder / f"{model}-{name}"
            path.write_text("\n".join(script.lines) + "\n")
            files[model, name] = path
    packed = folder / "histories.tar"
    with tarfile.open(packed, "w") as archive:
        for path in files.values():
            archive.add(path, path.name)
    with guest.Machine(tools, *(device.partition(",bdf")[0] for device, _, _ in MODELS.values()), kernel=iommufd_kernel,
                       programs=[guest.program("tests/guest/guest-history")], files=[f"{packed}:/histories.tar"],
                       append="vfio_pci.disable_denylist=1") as machine:
        machine.boot()
        machine.expect(r"vfio.*denylist")
        machine.expect(r"MSI interrupts are not secure")
        machine.run("echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
        machine.run("echo Y >/sys/module/iommufd/parameters/allow_unsafe_interrupts")
        machine.run("cd / && tar xf /histories.tar")
        answers = {}
        for model, (device, _, _) in MODELS.items():
            name = device.rpartition("=")[2]
            machine.run(f"cd /sys/bus/pci/devices/{name}; [ ! -e driver ] || echo {name} >driver/unbind; echo vfio-pci >driver_override; "
                        f"echo {name} >/sys/bus/pci/drivers_probe")
            said = machine.run(f"for one in /{model}-*; do echo =$one >>/out; guest-history {name} $one >>/out || {{ tail -n 3 /out; exit 1; }}; done; "
                               "gzip -c /out | base64; rm /out")
            for part in gzip.decompress(base64.b64decode("".join(said))).decode().split(f"=/{model}-")[1:]:
                history, *lines = part.splitlines()
                answers[model, history] = results(lines)
    return scripts, files, answers


def ours(program, model, path):
    done = subprocess.run([guest.program("uiommu"), "run", "--device", MODELS[model][0], "--", guest.program(program),
                           MODELS[model][0].rpartition("=")[2], path], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-500:] + done.stderr
    return results(done.stdout.splitlines())


def reason(used, label, there, here):
    for number, (call, linux, own, _) in enumerate(DIFFERENT):
        if re.search(call, label) and re.fullmatch(linux, there) and re.fullmatch(own, here):
            used.add(number)
            return True
    return False


@pytest.mark.parametrize("model", MODELS)
def test_linux_and_we_answer_the_same(linux, model):
    scripts, files, answers = linux
    unexplained, used = [], set()
    for program, (name, script) in itertools.product(PROGRAMS, scripts[model].items()):
        there, here = answers[model, name], ours(program, model, files[model, name])
        assert there.keys() == here.keys() and len(there) > len(script.lines) / 2
        for number, label in enumerate(script.labels, 1):
            if number not in there or there[number] == here[number]:
                continue
            if not reason(used, f"{name}/{label}", there[number], here[number]):
                unexplained.append(f"{name}/{label}\n    Linux: {there[number]}\n    here:  {here[number]}")
    assert not unexplained, f"{len(unexplained)} differences\n" + "\n".join(unexplained[:200])
    # All reasons are needed.
    if model == "accel":
        assert not [DIFFERENT[number] for number in range(len(DIFFERENT)) if number not in used]
