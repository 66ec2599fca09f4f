# SPDX-License-Identifier: BSD-3-Clause
"""Every command of uiommu, with the device in its own process and in a daemon."""

import fcntl
import json
import mmap
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading

import pytest

from conftest import ORDINARY, PAGE, TOP
from peer import BIND, HEADER, HELLO, QUEUE, RECORDS_AREA, Peer, Target, bind_payload, hello_payload

OK, FAULT, USAGE, PERMISSION, OTHER = range(5)


def crc32c(data):
    """Bit by bit, to be independent of everything."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


@pytest.fixture(params=["embedded", "daemon"])
def place(request):
    """The options that say where the device is."""
    if request.param == "embedded":
        return []
    return ["--socket", request.getfixturevalue("daemon").socket]


def test_version_and_help(run):
    version = run("--version")
    assert (version.status, version.err) == (OK, "")
    assert re.fullmatch(r"uiommu \d+\.\d+\.\d+\n", version.out)
    text = run("--help")
    assert (text.status, text.err) == (OK, "")
    for command in ("copy", "fill", "crc", "compare", "ls", "stat", "fault", "doctor", "walk"):
        assert re.search(rf"^  {command} ", text.out, flags=re.M)
        own = run(command, "--help")
        assert (own.status, own.err) == (OK, "")
        assert own.out.startswith(f"usage: uiommu {command} ")
        assert "--json" in own.out


def test_options_are_told_everywhere(run):
    """What --help of a command lists is in its manual page and is completed."""
    commands = re.findall(r"^  ([a-z-]+) ", run("--help").out, flags=re.M)
    assert len(commands) == 12
    completion = pathlib.Path(TOP, "src/cli/uiommu.bash").read_text(encoding="utf-8")
    for command in commands:
        page = pathlib.Path(TOP, "docs/man", "uiommu-run.1.scd" if command == "run" else "uiommu.1.scd").read_text(encoding="utf-8")
        done = subprocess.run(["bash", "-c", completion + '\n_uiommu_options "$1"', "bash", command],
                              capture_output=True, text=True, check=True)
        options = set(re.findall(r"^  (--[a-z-]+)", run(command, "--help").out, flags=re.M))
        assert options <= set(done.stdout.split()), command
        assert not {option for option in options if option not in page} - {"--help"}, command


def test_copy(run, bystander, place):
    source, destination = bystander(), bystander()
    source.ask("random", 1)
    data = source.peek(0, source.length)
    copied = run("copy", "--src", source.place(3), "--dst", destination.place(PAGE + 5), "--len", 3 * PAGE + 1, *place)
    assert (copied.status, copied.out, copied.err) == (OK, "", "")
    expected = bytearray(destination.length)
    expected[PAGE + 5:PAGE + 5 + 3 * PAGE + 1] = data[3:3 + 3 * PAGE + 1]
    assert destination.peek(0, destination.length) == bytes(expected)
    assert source.peek(0, source.length) == data


def test_copy_json(run, bystander, place):
    source, destination = bystander(), bystander()
    source.poke(0, b"some bytes")
    copied = run("copy", "--src", source.place(), "--dst", destination.place(), "--len", 10, "--json", *place)
    assert copied.status == OK
    assert copied.json.pop("nanoseconds") > 0
    assert {**copied.json, "nanoseconds": 1} == {"schema": 1, "command": "copy", "status": "ok", "bytes": 10, "nanoseconds": 1}
    assert destination.peek(0, 11) == b"some bytes\0"


@pytest.mark.parametrize("shift", [-700, 700])
def test_copy_over_itself(run, bystander, place, shift):
    process = bystander()
    process.ask("random", 2)
    data = bytearray(process.peek(0, process.length))
    moved = run("copy", "--src", process.place(1000), "--dst", process.place(1000 + shift), "--len", 9000, *place)
    assert (moved.status, moved.out, moved.err) == (OK, "", "")
    data[1000 + shift:10000 + shift] = data[1000:10000]
    assert process.peek(0, process.length) == bytes(data)


@pytest.mark.parametrize("pattern, expected", [("a5", "a5a5a5a5a5a5a5a5"), ("0x1234", "1234123412341234"),
                                               ("deadBEEF", "deadbeefdeadbeef"), ("0102030405060708", "0102030405060708")])
def test_fill(run, bystander, place, pattern, expected):
    process = bystander()
    filled = run("fill", "--dst", process.place(7), "--len", 19, "--pattern", pattern, *place)
    assert (filled.status, filled.out, filled.err) == (OK, "", "")
    assert process.peek(0, 32) == bytes(7) + (bytes.fromhex(expected) * 3)[:19] + bytes(6)


def test_crc(run, bystander, place):
    process = bystander()
    process.ask("random", 3)
    expected = f"0x{crc32c(process.peek(11, 5000)):08x}"
    text = run("crc", "--src", process.place(11), "--len", 5000, *place)
    assert (text.status, text.out, text.err) == (OK, expected + "\n", "")
    answer = run("crc", "--src", process.place(11), "--len", 5000, "--json", *place).json
    assert (answer["status"], answer["bytes"], answer["algorithm"]) == ("ok", 5000, "crc32c")
    assert int(answer["value"], 16) == int(expected, 16)


def test_crc_known_value(run, bystander):
    process = bystander()
    process.poke(0, b"123456789")
    assert run("crc", "--src", process.place(), "--len", 9).out == "0xe3069283\n"


def test_several_descriptors(run, bystander):
    """More than one descriptor can move; the memory is sparse."""
    length = (1 << 30) + 2 * PAGE
    process = bystander(length)
    process.poke(length - PAGE, b"the end")
    same = run("compare", "--src", process.place(), "--dst", process.place(), "--len", length, "--json")
    assert (same.status, same.json["bytes"]) == (OK, length)
    other = bystander(length)
    differs = run("compare", "--src", process.place(), "--dst", other.place(), "--len", length, "--json")
    assert (differs.status, differs.json["first_difference"]) == (FAULT, length - PAGE)


def test_compare(run, bystander, place):
    one, other = bystander(), bystander()
    one.ask("random", 4)
    other.ask("random", 4)
    same = run("compare", "--src", one.place(), "--dst", other.place(), "--len", "32K", *place)
    assert (same.status, same.out, same.err) == (OK, "equal\n", "")
    byte = one.peek(20000, 1)[0]
    other.poke(20000, bytes([byte ^ 1]))
    differs = run("compare", "--src", one.place(), "--dst", other.place(), "--len", "32K", *place)
    assert (differs.status, differs.err) == (FAULT, "")
    assert differs.out == f"different at byte 20000: {one.place(20000)}, {other.place(20000)}\n"
    answer = run("compare", "--src", one.place(), "--dst", other.place(), "--len", "32K", "--json", *place)
    assert (answer.status, answer.json["status"], answer.json["first_difference"]) == (FAULT, "different", 20000)


def check_fault(outcome, process, address, access, reason):
    """A fault names PASID, address and reason, in words and in JSON."""
    answer = outcome.json
    assert (outcome.status, answer["status"]) == (FAULT, "fault")
    fault = answer["fault"]
    assert (int(fault["address"], 16), fault["access"], fault["reason"], fault["pid"]) == (address, access, reason, process.pid)
    assert fault["pasid"] > 0
    for words in (outcome.err, fault["text"]):
        assert f"PASID {fault['pasid']}" in words
        assert f"{address:#x}" in words
        assert f"could not {access}" in words
        assert f"process {process.pid}" in words
        assert "missing: " in words
    return answer


def test_fault_at_a_hole(run, bystander, place):
    """The part before the hole is done, and the report says so."""
    source, destination = bystander(), bystander()
    source.ask("random", 5)
    source.ask("protect", 2 * PAGE, PAGE, "none")
    copied = run("copy", "--src", source.place(), "--dst", destination.place(), "--len", 4 * PAGE, "--json", *place)
    answer = check_fault(copied, source, source.address + 2 * PAGE, "read", "permission")
    assert answer["bytes"] == 2 * PAGE
    assert answer["fault"]["mapping"]["access"] == "---"
    assert answer["fault"]["mapping"]["contains_address"] is True
    assert destination.peek(0, 2 * PAGE) == source.peek(0, 2 * PAGE)
    assert destination.peek(2 * PAGE, PAGE) == bytes(PAGE)


def test_fault_read_only(run, bystander, place):
    """A write where the process itself may only read; private memory, too."""
    process = bystander()
    process.ask("random", 6)
    process.ask("protect", PAGE, PAGE, "read")
    before = process.peek(0, process.length)
    filled = run("fill", "--dst", process.place(PAGE), "--len", PAGE, "--pattern", "ff", "--json", *place)
    answer = check_fault(filled, process, process.address + PAGE, "write", "permission")
    assert answer["bytes"] == 0
    assert process.peek(0, process.length) == before


def test_fault_unmapped(run, bystander, place):
    process = bystander()
    read = run("crc", "--src", f"{process.pid}:0x10", "--len", 16, "--json", *place)
    answer = check_fault(read, process, 0x10, "read", "unmapped")
    assert answer["fault"]["mapping"] is None or answer["fault"]["mapping"]["contains_address"] is False
    assert "a mapping at this address" in answer["fault"]["text"]


@pytest.mark.parametrize("arguments, complaint", [
    ([], "usage: uiommu COMMAND"),
    (["fly"], "no such command: fly"),
    (["copy"], "--src is missing"),
    (["crc", "--src", "1:0x1000"], "--len is missing"),
    (["crc", "--src", "1:0x1000", "--len", "0"], "--len '0': out of range"),
    (["crc", "--src", "1:0x1000", "--len", "-1"], "--len '-1': not understood"),
    (["crc", "--src", "1:0x1000", "--len", "1k"], "--len '1k': not understood"),
    (["crc", "--src", "1:0x1000", "--len", "16777216T"], "--len '16777216T': out of range"),
    (["crc", "--src", "1:0x1000", "--len", "18446744073709551616"], "out of range"),
    (["crc", "--src", "1:0xffffffffffffffff", "--len", "2"], "wraps"),
    (["crc", "--src", "0x1000", "--len", "1"], "--src '0x1000': not understood"),
    (["crc", "--src", "1:", "--len", "1"], "not understood"),
    (["crc", "--src", ":1", "--len", "1"], "not understood"),
    (["crc", "--src", "0:1", "--len", "1"], "out of range"),
    (["crc", "--src", "4294967297:1", "--len", "1"], "out of range"),
    (["crc", "--src", "1:dead", "--len", "1"], "not understood"),
    (["crc", "--src", "1:0x1000", "--len", "1", "now"], "takes options only"),
    (["crc", "--src", "1:0x1000", "--len"], "no value for '--len'"),
    (["crc", "--speed", "1"], "bad option '--speed'"),
    (["crc", "--json=yes"], "bad option"),
    (["fill", "--dst", "1:0x1000", "--len", "1", "--pattern", "abc"], "--pattern 'abc': not understood"),
    (["fill", "--dst", "1:0x1000", "--len", "1", "--pattern", ""], "not understood"),
    (["fill", "--dst", "1:0x1000", "--len", "1", "--pattern", "gg"], "not understood"),
    (["fill", "--dst", "1:0x1000", "--len", "1", "--pattern", "aabbcc"], "not understood"),
    (["doctor", "--pid", "x"], "--pid 'x': not understood"),
    (["fault", "--count", "0"], "--count '0': out of range"),
    (["ls", "--socket", ""], "--socket '': not understood"),
    (["stat", "--vm"], "bad option '--vm'"),
    (["ls", "--run", "--vm"], "only one of --socket, --run and --vm"),
    (["ls", "--run", "--socket", "x"], "only one of --socket, --run and --vm"),
    (["fault", "--vm", "--socket", "x"], "only one of --socket and --vm"),
    (["run", "true"], "'true': takes options only"),
    (["walk", "0x1000"], "--device is missing"),
    (["walk", "--device", "01:00.0", "1k"], "expected one address"),
])
def test_usage(run, arguments, complaint):
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (USAGE, "")
    assert complaint in outcome.err


def test_suffixes(run, bystander):
    process = bystander(4 << 20)
    for text, length in (("3", 3), ("0x10", 16), ("2K", 2048), ("3M", 3 << 20)):
        assert run("crc", "--src", process.place(), "--len", text, "--json").json["bytes"] == length
    decimal = run("crc", "--src", f"{process.pid}:{process.address}", "--len", 8)
    assert (decimal.status, decimal.out) == (OK, f"0x{crc32c(bytes(8)):08x}\n")


@pytest.fixture
def stranger(bystander):
    """A process of another user."""
    if "user" not in ORDINARY:
        pytest.skip("needs root to start a process of another user")
    return bystander(user=1, group=1)


@pytest.mark.parametrize("command", ["copy", "crc", "fill", "compare"])
def test_permission(run, bystander, stranger, place, command):
    own = bystander()
    options = {"copy": ["--src", own.place(), "--dst", stranger.place()], "crc": ["--src", stranger.place()],
               "fill": ["--dst", stranger.place(), "--pattern", "ff"], "compare": ["--src", own.place(), "--dst", stranger.place()]}
    outcome = run(command, *options[command], "--len", 16, "--json", *place)
    assert outcome.status == PERMISSION
    assert (outcome.json["status"], outcome.json["bytes"]) == ("error", 0)
    assert f"process {stranger.pid}" in outcome.err and "uiommu doctor --pid" in outcome.err
    assert stranger.peek(0, 16) == bytes(16)


def ended_pid():
    """The number of a process that has ended and been waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_no_such_process(run, place):
    pid = ended_pid()
    outcome = run("crc", "--src", f"{pid}:0x1000", "--len", 1, *place)
    assert (outcome.status, outcome.out) == (OTHER, "")
    assert f"process {pid}: there is no such process" in outcome.err


@pytest.mark.parametrize("command", [["ls"], ["stat"], ["fault"], ["crc", "--src", "1:1", "--len", "1"]])
def test_no_daemon(run, command):
    path = "/nonexistent/uiommu/socket"
    outcome = run(*command, "--socket", path)
    assert (outcome.status, outcome.out) == (OTHER, "")
    assert outcome.err == f"uiommu: {path}: no daemon is listening there\n"


def test_socket_from_the_environment(run, daemon):
    assert run("ls", "--json", env={"UIOMMU_SOCKET": daemon.socket}).json["items"]
    missing = run("ls", env={"UIOMMU_SOCKET": "/nonexistent"})
    assert (missing.status, missing.err) == (OTHER, "uiommu: /nonexistent: no daemon is listening there\n")


def test_socket_without_permission(run, daemon):
    if "user" not in ORDINARY:
        pytest.skip("needs root to be another user")
    outcome = run("ls", "--socket", daemon.socket, user=1, group=1, extra_groups=[])
    assert outcome.status == PERMISSION
    assert daemon.socket in outcome.err


def test_full_disk(run, bystander):
    process = bystander()
    with open("/dev/full", "w", encoding="utf-8") as full:
        outcome = run("crc", "--src", process.place(), "--len", 1, stdout=full)
    assert outcome.status == OTHER
    assert outcome.err == "uiommu: standard output: No space left on device\n"


def items(run, daemon, command="ls"):
    return run(command, "--socket", daemon.socket, "--json").json["items"]


def wait_until_idle(run, daemon, command="ls"):
    """What a client had is taken back after it has gone; a daemon that keeps something ends in the suite's time limit."""
    while True:
        left = items(run, daemon, command)
        if [item["type"] for item in left] == ["device"]:
            return left[0]


def test_ls_and_stat(run, daemon, bystander):
    listed = items(run, daemon)
    assert [item["type"] for item in listed] == ["device"]
    text = run("ls", "--socket", daemon.socket)
    assert (text.status, text.err) == (OK, "")
    assert listed[0]["name"] in text.out
    before = items(run, daemon, "stat")[0]

    source, destination = bystander(), bystander()
    copied = run("copy", "--src", source.place(), "--dst", destination.place(), "--len", "8K", "--socket", daemon.socket)
    assert (copied.status, copied.err) == (OK, "")
    after = wait_until_idle(run, daemon, "stat")
    assert after["bytes_read"] - before["bytes_read"] == 8192
    assert after["bytes_written"] - before["bytes_written"] >= 8192
    assert after["descriptors"] - before["descriptors"] == 1
    assert after["faults"] == before["faults"]


def test_fault_command(run, daemon, bystander):
    silent = run("fault", "--socket", daemon.socket)
    assert (silent.status, silent.out, silent.err) == (OK, "", "")
    process = bystander()
    process.ask("protect", 0, PAGE, "read")
    first = run("crc", "--src", f"{process.pid}:0x20", "--len", 1, "--socket", daemon.socket, "--json").json["fault"]
    second = run("fill", "--dst", process.place(8), "--len", 1, "--pattern", "00", "--socket", daemon.socket, "--json").json["fault"]
    faults = run("fault", "--socket", daemon.socket, "--json").json["faults"]
    assert faults == [second, first]
    newest = run("fault", "--socket", daemon.socket, "--count", 1)
    assert newest.status == OK
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", newest.out)
    assert newest.out.endswith(second["text"] + "\n")
    assert "r--" in newest.out and "permission to write" in newest.out


def fault_at(client, pasid, address):
    """Have one byte read, and no record of it."""
    reply = client.call(QUEUE, struct.pack("=IIII", 0, 2, pasid, 0))
    assert reply.error == 0
    with mmap.mmap(reply.fds[0], 4096 + 2 * 64) as ring:
        ring[4096:4128] = struct.pack("=IIQQQ", 0, 0x10 << 24, 0, address, 0)
        ring[4128:4136] = struct.pack("=IHH", 1, 0, 1)
        os.eventfd_write(reply.fds[1], 1)
        reply.close()


NAMES = [("plain", b"plain"), ("\u00fcml\u00e4ut \u65e5\u672c", "\u00fcml\u00e4ut \u65e5\u672c".encode()),
         ("?[31m?]0;x?", b"\x1b[31m\x1b]0;x\x07"), ("a?b?c?d", b"a\nb\rc\td"), ("??ab", b"\xff\xfeab"), ("cut??", b"cut\xe6\x97"),
         ("?[31m", b"\xc2\x9b[31m"), ("a?b", b"a\xe2\x80\xaeb"), ("??", b"\xed\xa0\x80\x7f"), ("??", b"\xc0\x80")]


@pytest.mark.parametrize("shown, name", NAMES, ids=range(len(NAMES)))
def test_names_are_only_printed(run, daemon, bystander, shown, name):
    """Who chooses a name does not choose what it does to a terminal, or to a reader of JSON."""
    client, target = Peer(daemon.socket, hello=False), Target(bystander().process)
    assert client.call(HELLO, hello_payload(comm=name)).error == 0
    bound = client.call(BIND, bind_payload(comm=name), target.bundle)
    assert bound.error == 0
    assert sum(item["name"] == shown for item in items(run, daemon)) == 2
    for command in ("ls", "stat"):
        lines = run(command, "--socket", daemon.socket).out.split("\n")
        assert sum(line.endswith(" " + shown) for line in lines) == 2
    fault_at(client, struct.unpack_from("=I", bound.payload, 8)[0], 0x20)
    while not (faults := run("fault", "--socket", daemon.socket, "--json").json["faults"]):
        pass
    assert faults[0]["comm"] == shown
    assert f"({shown})\n" in faults[0]["text"]
    assert run("fault", "--socket", daemon.socket).out.endswith(faults[0]["text"] + "\n")
    target.close()
    client.close()


def test_own_words_are_valid_json(run):
    outcome = run("crc", "--src", "1:1", "--len", 1, "--socket", b"/nonexistent/\xff\x1b[31m".decode(errors="surrogateescape"), "--json")
    assert outcome.json["message"] == "/nonexistent/??[31m: no daemon is listening there"
    assert outcome.err == f"uiommu: {outcome.json['message']}\n"


def serve_badly(listener, area):
    """Everything is well until the completion area is asked for."""
    connection = listener.accept()[0]
    replies = {HELLO: struct.pack("=iIII32s", 0, 0, 1, 1, b"bad0"), BIND: struct.pack("=iIII", 0, 0, 1, 0),
               RECORDS_AREA: struct.pack("=iIII", 0, 0, 4096, 0)}
    while message := connection.recv(4096):
        _, kind, _, cookie = HEADER.unpack_from(message)
        payload, fds = replies.get(kind, struct.pack("=iI", 0, 0)), [area] if kind == RECORDS_AREA else []
        socket.send_fds(connection, [HEADER.pack(HEADER.size + len(payload), kind, 1, cookie) + payload], fds)
    connection.close()


def memfd(size, seals):
    area = os.memfd_create("area", os.MFD_ALLOW_SEALING)
    os.ftruncate(area, size)
    fcntl.fcntl(area, fcntl.F_ADD_SEALS, seals)
    return area


@pytest.mark.parametrize("size, seals", [(4096 * 32, fcntl.F_SEAL_GROW), (4096 * 32 - 1, fcntl.F_SEAL_SHRINK), (0, fcntl.F_SEAL_SHRINK)])
def test_completion_area_that_may_go_away(run, stage, size, seals):
    """A daemon that is none cannot have its client die of SIGBUS."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.path.join(stage, "bad"))
        os.chmod(listener.getsockname(), 0o777)
        listener.listen()
        area = memfd(size, seals)
        server = threading.Thread(target=serve_badly, args=(listener, area))
        server.start()
        outcome = run("crc", "--src", "1:1", "--len", 1, "--socket", listener.getsockname())
        server.join()
        assert (outcome.status, outcome.err) == (OTHER, f"uiommu: {listener.getsockname()}: no queue: Protocol error\n")
        os.unlink(listener.getsockname())
        os.close(area)


def test_killed_in_the_middle(run, daemon, bystander):
    """The process behind a PASID is killed while the device reads it: a fault, and nothing is left."""
    victim = bystander(1 << 36)
    transfer = run.start("crc", "--src", victim.place(), "--len", victim.length, "--socket", daemon.socket, "--json")
    # 64 GiB take many seconds: once bytes have been read the transfer is in its middle.
    while not any(item["pid"] == victim.pid and item["bytes_read"] for item in items(run, daemon, "stat") if item["type"] == "pasid"):
        assert transfer.poll() is None
    victim.kill()
    result = json.loads(transfer.communicate()[0])
    assert (transfer.returncode, result["status"], result["fault"]["reason"]) == (FAULT, "fault", "process gone")
    assert 0 < result["bytes"] < 1 << 36
    wait_until_idle(run, daemon)
    survivor = bystander()
    assert run("crc", "--src", survivor.place(), "--len", 1, "--socket", daemon.socket).status == OK


def test_doctor(run):
    answer = run("doctor", "--json")
    features = answer.json["features"]
    assert set(features) == {"linux", "procmap_query", "force_override", "pidfd_info", "pidfd_getfd", "process_vm_readv", "perf_event",
                             "membarrier", "userfaultfd", "memfd_seals"}
    release = tuple(int(number) for number in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
    assert features["procmap_query"]["present"] == (release >= (6, 11))
    assert features["pidfd_info"]["present"] == (release >= (6, 13))
    assert os.uname().release in features["linux"]["detail"]
    paranoid = int(pathlib.Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    assert features["perf_event"]["present"] == (paranoid < 3 or os.geteuid() == 0) or "on ourselves" in features["perf_event"]["detail"]
    assert features["memfd_seals"] == {"present": True, "required": True, "detail": "", "without": "no daemon, no registered memory"}
    assert (answer.status, answer.json["status"]) == ((OK, "ok") if features["pidfd_getfd"]["present"] else (OTHER, "error"))
    text = run("doctor", env={"UIOMMU_WITHOUT": "process_vm"})
    assert "PROCMAP_QUERY" in text.out and re.search(r"^UIOMMU_WITHOUT +process_vm", text.out, flags=re.M)


def test_doctor_pid(run, bystander):
    process = bystander()
    healthy = run("doctor", "--pid", process.pid, "--json")
    assert (healthy.status, healthy.json["status"], healthy.json["pid"]) == (OK, "ok", process.pid)
    assert [check["check"] for check in healthy.json["checks"]] == ["exists", "ptrace", "mem", "maps", "auxv", "address_space", "alive",
                                                                   "bind"]
    assert all(check["ok"] for check in healthy.json["checks"])
    text = run("doctor", "--pid", process.pid)
    assert (text.status, text.out.count("ok ")) == (OK, 8)


def test_doctor_pid_of_another_user(run, stranger):
    answer = run("doctor", "--pid", stranger.pid, "--json")
    assert (answer.status, answer.json["status"]) == (PERMISSION, "error")
    checks = {check["check"]: check for check in answer.json["checks"]}
    assert checks["exists"]["ok"] and not checks["ptrace"]["ok"] and not checks["mem"]["ok"] and not checks["bind"]["ok"]
    assert checks["ptrace"]["error"] == "EPERM"
    assert "it runs as uid 1/1/1" in checks["ptrace"]["hint"]


def test_doctor_pid_not_dumpable(run, bystander):
    process = bystander()
    assert process.ask("dumpable", 0) == "ok"
    answer = run("doctor", "--pid", process.pid, "--json")
    assert answer.status == PERMISSION
    hints = {check["check"]: check["hint"] for check in answer.json["checks"]}
    assert hints["ptrace"].startswith("it is not dumpable")


def test_doctor_pid_ended(run):
    pid = ended_pid()
    answer = run("doctor", "--pid", pid, "--json")
    assert (answer.status, [check["error"] for check in answer.json["checks"]]) == (OTHER, ["ESRCH"])


def test_doctor_zombie(run):
    pid = os.fork()
    if pid == 0:
        if "user" in ORDINARY:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    answer = run("doctor", "--pid", pid, "--json")
    os.waitpid(pid, 0)
    assert answer.status in (PERMISSION, OTHER)
    assert not {check["check"]: check["ok"] for check in answer.json["checks"]}["bind"]


def test_completion():
    """bash offers commands, and the options of a command."""
    script = f'''source {TOP}/src/cli/uiommu.bash
        COMP_WORDS=(uiommu co); COMP_CWORD=1; _uiommu; echo "${{COMPREPLY[*]}}"
        COMP_WORDS=(uiommu crc --s); COMP_CWORD=2; _uiommu; echo "${{COMPREPLY[*]}}"
        COMP_WORDS=(uiommu ls --vm --j); COMP_CWORD=3; _uiommu; echo "${{COMPREPLY[*]}}"'''
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "copy compare\n--src --socket\n--json\n"
