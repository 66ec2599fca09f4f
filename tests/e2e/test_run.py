# SPDX-License-Identifier: BSD-3-Clause
"""uiommu run: programs that know /dev/iommu and nothing of uiommu (in_session.c), and what is left of them."""

import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from conftest import BUILD, ORDINARY, PAGE, TOP, Uiommu

OK, FAULT, USAGE, PERMISSION, OTHER = range(5)
CASES = ("calls", "bad-pointers", "own", "names", "forks", "passing", "threads", "handlers", "sandboxed", "no-descriptors")


@pytest.fixture(scope="session")
def program(staged):
    return os.path.join(staged, "in-session")


@pytest.fixture(scope="session")
def copies(staged):
    return os.path.join(staged, "copies")


def wait_for_end(pidfd):
    select.select([pidfd], [], [])
    os.close(pidfd)


def items(run, sessions, kind):
    listed = run("ls", "--run", "--json", env=sessions.environment)
    assert (listed.status, listed.err) == (OK, "")
    return [item for item in listed.json["items"] if item["type"] == kind]


@pytest.mark.parametrize("case", CASES)
def test_case(run, program, sessions, case):
    ended = run("run", "--", program, case, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


@pytest.mark.parametrize("case", ["walks", "vectors", "relative", "late"])
def test_case_with_a_device(run, program, sessions, case):
    ended = run("run", "--device", "nvme,size=1M", "--", program, case, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


@pytest.mark.parametrize("case", ["vectors", "relative", "late"])
@pytest.mark.parametrize("name", ["in-session", "in-session-static"])
def test_stopped_program_with_a_device(run, staged, sessions, name, case):
    ended = run("run", "--static", "--device", "nvme,size=1M", "--", os.path.join(staged, name), case, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


# Its own filter forbids it openat, and no notification comes before that.
@pytest.mark.parametrize("case", [case for case in CASES if case != "sandboxed"])
def test_case_static(run, program, sessions, case):
    """That nothing can be preloaded is seen by itself."""
    ended = run("run", "--", f"{program}-static", case, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    assert sessions.folders() == []


@pytest.mark.parametrize("case", ["calls", "forks", "passing"])
def test_case_stopped(run, program, sessions, case):
    """A program that has the shim may be stopped all the same."""
    ended = run("run", "--static", "--", program, case, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


def test_static_ends_as_the_program(run, program, sessions):
    assert run("run", "--static", "--", "sh", "-c", "exit 42", env=sessions.environment).status == 42
    assert run("run", "--static", "--", "sh", "-c", "kill -9 $$", env=sessions.environment).status == -signal.SIGKILL
    assert run("run", "--static", "--", "/nonexistent", env=sessions.environment).status == OTHER
    with run.start("run", "--", f"{program}-static", "holds", 1, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
    assert sessions.folders() == []


@pytest.mark.parametrize("static", [False, True])
def test_exec(run, program, sessions, static):
    """A descriptor stays the same file in another program; what is close-on-exec is not there."""
    ended = run("run", "--", f"{program}-static" if static else program, "execs", env=sessions.environment)
    assert (ended.status, ended.out) == (OK, "ok\nok\n")
    assert ended.err.count("\n") == 1 and "errno 9" in ended.err


def test_program_is_the_process(run, sessions):
    """No process of ours is between the caller and the program, or is its child."""
    script = "trap 'exit 42' TERM; kill -TERM $$; wait"
    assert run("run", "--", "sh", "-c", script, env=sessions.environment).status == 42
    shown = run("run", "--", "sh", "-c", "wait; echo $$", env=sessions.environment)
    assert shown.status == OK and int(shown.out) > 0
    killed = run("run", "--", "sh", "-c", "kill -9 $$", env=sessions.environment)
    assert killed.status == -signal.SIGKILL
    assert run("run", "--", "/nonexistent", env=sessions.environment).status == OTHER


@pytest.mark.parametrize("arguments", [[], ["--static"]])
def test_folder_with_a_space(staged, sessions, arguments):
    """Nothing in it can be preloaded under its own name."""
    with tempfile.TemporaryDirectory(prefix="uiommu: ") as folder:
        os.chmod(folder, 0o755)
        place = shutil.copytree(staged, os.path.join(folder, "a place"))
        run = Uiommu(place)
        ended = run("run", *arguments, "--", os.path.join(place, "in-session"), "calls", env=sessions.environment)
        assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
        runtime = sessions.runtime / "no way"
        runtime.mkdir()
        os.chown(runtime, ORDINARY.get("user", -1), -1)
        ended = run("run", *arguments, "--", "true", env={**sessions.environment, "XDG_RUNTIME_DIR": str(runtime)})
        assert (ended.status, ended.out) == (OTHER, "") and "a space or a ':'" in ended.err


def test_usage(run, sessions):
    assert run("run", env=sessions.environment).status == USAGE
    assert run("run", "--", env=sessions.environment).status == USAGE
    bad = run("run", "--nonsense", "--", "true", env=sessions.environment)
    assert bad.status == USAGE and "--nonsense" in bad.err
    assert sessions.folders() == []


def test_script(run, program, sessions):
    """What interprets a script decides how it is run; here a script whose interpreter is linked statically."""
    inner, outer = sessions.runtime / "inner", sessions.runtime / "outer"
    inner.write_text(f"#! {program}-static own\n", encoding="utf-8")
    outer.write_text(f"#!{inner}\n", encoding="utf-8")
    for script in (inner, outer):
        script.chmod(0o755)
    # Its argument is "own", and then the script's name.
    ended = run("run", "--", inner, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    ended = run("run", "--", outer, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    assert sessions.folders() == []


def test_program_of_32_bits(run, sessions):
    program = sessions.runtime / "program"
    program.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(45))
    program.chmod(0o755)
    for options in ([], ["--static"]):
        ended = run("run", *options, "--", program, env=sessions.environment)
        assert ended.status == OTHER and f"run: {program}: a program of 32 bits" in ended.err
    assert sessions.folders() == []


def test_set_uid_program(run, program, staged, sessions):
    """Nothing can be preloaded into what has rights of its own; without these it runs."""
    if "user" not in ORDINARY:
        pytest.skip("needs root, to make a set-uid program of another user")
    if os.statvfs(staged).f_flag & os.ST_NOSUID:
        pytest.skip(f"{staged} is mounted nosuid")
    with_rights = f"{program}-set-uid"
    shutil.copy(program, with_rights)
    for mode in (0o4755, 0o2755):
        os.chmod(with_rights, mode)
        refused = run("run", "--", with_rights, "calls", env=sessions.environment)
        assert (refused.status, refused.out) == (OTHER, "") and f"run: {with_rights}: it is set-uid" in refused.err
        ended = run("run", "--static", "--", with_rights, "calls", env=sessions.environment)
        assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    assert sessions.folders() == []
    # What is no right of anybody: a bit of a file that its group does not execute.
    os.chmod(with_rights, 0o2745)
    ended = run("run", "--", with_rights, "calls", env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


def test_names_in_a_shell(run, sessions):
    """What is not preloaded by hand: redirections, listings, tests of the shell and of coreutils."""
    script = "test -c /dev/iommu && ls /dev/vfio && exec 5<>/dev/iommu && readlink /proc/self/fd/5"
    shown = run("run", "--", "sh", "-c", script, env=sessions.environment)
    assert (shown.status, shown.err) == (OK, "")
    assert shown.out.splitlines()[0] == "devices"
    assert run("run", "--", "sh", "-c", "test -e /sys/bus/pci/devices/0000:00:00.0", env=sessions.environment).status == 1


def test_what_ls_asks(run, sessions):
    """Mode and device numbers, extended attributes, folders."""
    listed = run("run", "--device", "copier", "--", "sh", "-c", "ls -l /dev/iommu && ls -lR /dev/vfio /sys/kernel/iommu_groups",
                 env=sessions.environment)
    assert (listed.status, listed.err) == (OK, "")
    assert re.match(r"crw-rw-rw- .* 10, 255 .* /dev/iommu$", listed.out.splitlines()[0])


def test_objects_are_counted(run, program, sessions):
    with run.start("run", "--", program, "holds", 7, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        assert len(items(run, sessions, "ioas")) == 7
        (file,) = items(run, sessions, "file")
        assert file["name"] == "/dev/iommu"
        assert [item["file"] for item in items(run, sessions, "ioas")] == [file["id"]] * 7
        assert [item["pid"] for item in items(run, sessions, "program")].count(process.pid) == 1
        daemon = sessions.daemon()
        process.stdin.close()
        wait_for_end(daemon)
    assert sessions.folders() == []


def test_objects_have_names(run, program, sessions):
    with run.start("run", "--mock", "--", program, "holds-all", stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        listed = run("ls", "--run", "--json", env=sessions.environment).json["items"]
        kinds = {item["type"] for item in listed}
        assert kinds == {"program", "file", "ioas", "hwpt", "device", "viommu", "fault-queue", "object"}
        files = {item["id"]: item["name"] for item in listed if item["type"] == "file"}
        assert sorted(files.values()) == ["/dev/iommu", "anon_inode:[iommufd-pgfault]"]
        assert all(item["file"] in files for item in listed if item["type"] not in ("program", "file"))
        basic = {"type", "id", "file", "pid", "users", "name", "session"}
        details = [(item["type"], {key: value for key, value in item.items() if key not in basic}) for item in listed if item["id"] <= 8
                   and item["type"] not in ("program", "file", "object")]
        assert details == [("ioas", {"areas": 1, "bytes": 8 * PAGE}), ("device", {"hwpt": 4}), ("hwpt", {"ioas": 1, "flags": "automatic"}),
                           ("hwpt", {"ioas": 1, "flags": "nest-parent"}), ("viommu", {"parent": 5}),
                           ("fault-queue", {"unread": 0, "waiting": 0})]
        plain = run("ls", "--run", env=sessions.environment).out
        assert re.search(r"^hwpt +5 .* ioas=1 flags=nest-parent$", plain, re.MULTILINE)
        daemon = sessions.daemon()
        process.stdin.close()
        wait_for_end(daemon)


# Opens a device by its group.
BY_GROUP = """
import fcntl, os
group, container = os.open("/dev/vfio/0", os.O_RDWR), os.open("/dev/vfio/vfio", os.O_RDWR)
fcntl.ioctl(group, 0x3b68, container.to_bytes(4, "little"))
fcntl.ioctl(container, 0x3b66, 3)
fcntl.ioctl(group, 0x3b6a, b"0000:05:00.0\\0")
print("idle", flush=True)
input()
"""


@pytest.mark.parametrize("way, name", [("cdev", "/dev/vfio/devices/vfio0"), ("group", "[vfio-device 0000:05:00.0]")])
def test_device_is_linked_to_its_object(run, staged, sessions, way, name):
    command = [os.path.join(staged, "dma-driver"), "idle"] if way == "cdev" else [sys.executable, "-c", BY_GROUP]
    with run.start("run", "--device", "accel,bdf=0000:05:00.0", "--", *command, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "idle\n"
        (file,) = (item for item in items(run, sessions, "file") if item["name"] == name)
        (device,) = items(run, sessions, "device")
        assert (file["bdf"], file["iommufd"], file["device"]) == ("0000:05:00.0", device["file"], device["id"])
        plain = run("ls", "--run", env=sessions.environment).out
        link = f"bdf=0000:05:00.0 iommufd={device['file']} device={device['id']}"
        assert re.search(rf"^file +{file['id']} .* {link}$", plain, re.MULTILINE)
        process.kill()


def test_device_without_an_object(run, sessions):
    """One that no iommufd has yet has an address only."""
    script = "exec 5<>/dev/vfio/devices/vfio0; echo held; read line"
    with run.start("run", "--device", "copier", "--", "sh", "-c", script, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        (file,) = items(run, sessions, "file")
        assert (file["bdf"], "iommufd" in file, "device" in file) == ("0000:01:00.0", False, False)
        assert items(run, sessions, "device") == []
        process.kill()


def test_last_copy_outlives_its_opener(run, program, sessions):
    """What a child has inherited stays, and keeps the session, when the program has ended; and ends with the child."""
    script = f"exec 5<>/dev/iommu 6<&0; {program} holds 3 <&6 & exit 0"
    process = run.start("run", "--", "sh", "-c", script, stdin=subprocess.PIPE, env=sessions.environment)
    assert process.stdout.readline() == "held\n"
    assert process.wait() == 0
    assert len(items(run, sessions, "file")) == 2
    assert len(items(run, sessions, "ioas")) == 3
    daemon = sessions.daemon()
    process.stdin.close()
    wait_for_end(daemon)
    process.stdout.close()
    process.stderr.close()
    assert sessions.folders() == []


def inside(sessions, program):
    """The environment of a program of the only session."""
    (folder,) = sessions.folders()
    return {**sessions.environment, "UIOMMU_SESSION": str(folder),
            "LD_PRELOAD": os.path.join(os.path.dirname(program), "src", "abi", "shim", "libuiommu-shim.so")}


def what_it_has(pid):
    """Descriptors and threads of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.parametrize("seed", range(5))
def test_killed_anywhere(run, program, sessions, seed):
    """kill -9 at any moment leaves no file, no object, no descriptor, no thread, no session."""
    chance = random.Random(seed)
    with run.start("run", "--", program, "holds", 1, stdin=subprocess.PIPE, env=sessions.environment) as witness:
        assert witness.stdout.readline() == "held\n"
        environment = inside(sessions, program)
        pid = sessions.daemon_pid()
        for turn in range(9):
            with subprocess.Popen([program, "endless"], stdout=subprocess.PIPE, env=environment, **ORDINARY) as victim:
                for _ in range(chance.randrange(1, 40)):
                    assert victim.stdout.readline() == b"x\n"
                victim.kill()
            if not turn:
                # What is made with the first one stays; its last thread is on its way.
                while len(items(run, sessions, "program")) > 1 or what_it_has(pid)[1] > 3:
                    pass
                before = what_it_has(pid)
        # Everything of the victims has ended before this is answered.
        assert len(items(run, sessions, "file")) == 1
        assert len(items(run, sessions, "ioas")) == 1
        while what_it_has(pid) != before:
            pass
        daemon = sessions.daemon()
        witness.kill()
        wait_for_end(daemon)
    assert sessions.folders() == []


def test_killed_daemon(run, program, sessions):
    """The program gets errors, and the next session removes what is left."""
    with run.start("run", "--", program, "endless", env=sessions.environment) as process:
        assert process.stdout.readline() == "x\n"
        daemon = sessions.daemon()
        signal.pidfd_send_signal(daemon, signal.SIGKILL)
        os.close(daemon)
        _, err = process.communicate()
        assert process.returncode == 1 and "errno 19" in err
    assert len(sessions.folders()) == 1
    with run.start("run", "--", program, "holds", 1, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        assert len(sessions.folders()) == 1
        daemon = sessions.daemon()
        process.stdin.close()
        wait_for_end(daemon)
    assert sessions.folders() == []


TRACED = re.compile(r"\d\d:\d\d:\d\d\.\d{6} \[(\d+)\] (.*) <\d+\.\d{6}>")


@pytest.mark.parametrize("static", [False, True])
def test_trace(run, program, sessions, static):
    trace = sessions.runtime / "trace"
    ended = run("run", "--trace", trace, "--", f"{program}-static" if static else program, "calls", env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    lines = [TRACED.fullmatch(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    assert all(lines) and len({line.group(1) for line in lines}) == 1
    calls = [re.sub(r"<\d+:", "<N:", re.sub(r"0x[0-9a-f]{7,}", "ADDRESS", line.group(2))) for line in lines]
    assert calls[0] == 'open("/dev/iommu", O_RDWR|O_CLOEXEC) = <N:/dev/iommu>'
    assert calls[2:5] == [
        "ioctl(<N:/dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0} => {out_ioas_id=1}) = 0",
        "ioctl(<N:/dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0} => {out_ioas_id=2}) = 0",
        "ioctl(<N:/dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0} => {out_ioas_id=1}) = 0",
    ]
    assert "ioctl(<N:/dev/iommu>, IOMMU_DESTROY, {id=1}) = -1 ENOENT (No such file or directory)" in calls
    assert "ioctl(<N:/dev/iommu>, IOMMU_IOAS_ALLOC, ADDRESS) = -1 EFAULT (Bad address)" in calls
    assert "ioctl(<N:/dev/iommu>, 0x3b10, 0x0) = -1 ENOTTY (Inappropriate ioctl for device)" in calls
    assert "read(<N:/dev/iommu>, ADDRESS, 4, 0x0) = -1 EINVAL (Invalid argument)" in calls
    assert "mmap(<N:/dev/iommu>, 0x1000, PROT_READ, MAP_SHARED, 0x0) = -1 ENXIO (No such device or address)" in calls


def test_trace_that_cannot_be_written(run, sessions):
    ended = run("run", "--trace", "/nonexistent/trace", "--", "true", env=sessions.environment)
    assert ended.status == OTHER and "/nonexistent/trace: No such file or directory" in ended.err
    assert sessions.folders() == []


@pytest.fixture
def stuck_file():
    """The file's name, and the process that does not answer."""
    with subprocess.Popen([os.path.join(BUILD, "tests", "e2e", "stuck-file")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as server:
        name = server.stdout.readline().strip()
        if name.startswith("!"):
            pytest.skip(name[1:])
        yield name, server
        server.stdin.close()


@pytest.mark.parametrize("way", ["struct", "array", "answer", "read", "long-read", "write", "device", "unmap"])
def test_memory_that_never_comes(run, program, sessions, stuck_file, way):
    """A program waits for a page for ever: the others do not, kill -9 ends it, and nothing of it keeps the session."""
    name, server = stuck_file
    with run.start("run", "--device", "nvme,size=1M", "--", program, "holds", 1, stdin=subprocess.PIPE,
                   env=sessions.environment) as witness:
        assert witness.stdout.readline() == "held\n"
        environment = inside(sessions, program)
        with subprocess.Popen([os.path.join(os.path.dirname(program), "stuck-program"), way, name], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=environment, text=True, **ORDINARY) as victim:
            assert server.stdout.readline() == "asked\n"
            if way == "unmap":
                victim.stdin.write("x")
                victim.stdin.flush()
                assert victim.stdout.readline() == "unmapping\n"
            for case in ("calls", "forks", "threads"):
                assert subprocess.run([program, case], env=environment, check=True, capture_output=True, **ORDINARY).stdout == b"ok\n"
            assert len(items(run, sessions, "file")) == (3 if way in ("read", "long-read", "write", "device", "unmap") else 2)
            victim.kill()
            assert victim.wait() == -signal.SIGKILL
            assert victim.stdout.read() == ""
        assert subprocess.run([program, "calls"], env=environment, check=True, capture_output=True, **ORDINARY).stdout == b"ok\n"
        assert len(items(run, sessions, "file")) == 1
        assert len(items(run, sessions, "ioas")) == 1
        daemon = sessions.daemon()
        witness.stdin.close()
        wait_for_end(daemon)
    assert sessions.folders() == []


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def program_of(launcher):
    """The first process of a program that is stopped at system calls."""
    (session,) = children(launcher)
    (program_,) = children(session)
    return program_


@pytest.mark.parametrize("device, arguments", [("nvme,size=1M", []), ("nvme,size=1M", ["--static"]), ("accel", [])])
def test_accesses(run, copies, sessions, device, arguments):
    """A descriptor can what it was opened for, with registers that are memory and with such that are not."""
    ended = run("run", *arguments, "--device", device, "--", copies, "accesses", env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


@pytest.mark.parametrize("way", ["struct", "write", "unmap"])
def test_static_with_memory_that_never_comes(run, program, sessions, stuck_file, way):
    """The same of a program that is stopped at system calls; others are in the session by its folder."""
    name, server = stuck_file
    with run.start("run", "--device", "nvme,size=1M", "--", os.path.join(os.path.dirname(program), "stuck-program-static"), way, name,
                   stdin=subprocess.PIPE, env=sessions.environment) as session:
        assert server.stdout.readline() == "asked\n"
        if way == "unmap":
            session.stdin.write("x")
            session.stdin.flush()
            assert session.stdout.readline() == "unmapping\n"
        environment = inside(sessions, program)
        for case in ("calls", "threads"):
            assert subprocess.run([program, case], env=environment, check=True, capture_output=True, **ORDINARY).stdout == b"ok\n"
        os.kill(program_of(session.pid), signal.SIGKILL)
        out, err = session.communicate()
        assert (session.returncode, out, err) == (-signal.SIGKILL, "", "")
    assert sessions.folders() == []


PRELOADED_OR_NOT = pytest.mark.parametrize("static", [False, True], ids=["preloaded", "static"])


@PRELOADED_OR_NOT
def test_copies(run, copies, sessions, static):
    """Whatever makes or ends a copy of a descriptor: the last one is the end, known before the next call."""
    ended = run("run", "--device", "copier", "--", f"{copies}-static" if static else copies, "copies", env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


@PRELOADED_OR_NOT
def test_ring_of_the_kernel(run, staged, sessions, static):
    """io_uring, of files that are not ours."""
    ended = run("run", "--", os.path.join(staged, "uring-static" if static else "uring"), env=sessions.environment)
    if ended.out.startswith("!"):
        pytest.skip(ended.out[1:].strip())
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


@PRELOADED_OR_NOT
def test_passed_to_another_program(run, copies, sessions, static):
    path, place = f"{copies}-static" if static else copies, sessions.runtime / "place"
    script = f"{path} receives {place} & {path} sends {place} && wait $!"
    ended = run("run", *(["--static"] if static else []), "--", "sh", "-c", script, env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\nok\n", "")


@PRELOADED_OR_NOT
def test_passed_out_of_the_session(run, copies, sessions, static):
    """Who is in no session has a file that it cannot use; as long as it has it, the file stays."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        place = str(sessions.runtime / "place")
        listening.bind(place)
        os.chmod(place, 0o777)
        listening.listen()
        process = run.start("run", "--", f"{copies}-static" if static else copies, "sends", place, env=sessions.environment)
        with listening.accept()[0] as connection:
            fd = socket.recv_fds(connection, 1, 1)[1][0]
            # The program has ended, and closed its end.
            assert connection.recv(1) == b""
        assert process.stdout.read(3) == "ok\n"
        assert len(items(run, sessions, "file")) == 1
        with pytest.raises(OSError):
            fcntl.ioctl(fd, ord(";") << 8 | 0x81, bytearray(12))
        daemon = sessions.daemon()
        os.close(fd)
        wait_for_end(daemon)
        assert (*process.communicate(), process.returncode) == ("", "", OK)
    assert sessions.folders() == []


def test_ways_that_only_the_kernel_sees(run, program, sessions):
    """System calls of its own, and what is executed without our environment: with --static they are seen."""
    if os.path.exists("/dev/iommu"):
        pytest.skip("this machine has a /dev/iommu, which is what such a program sees")
    for words in ([program, "raw"], ["env", "-i", program, "calls"], ["env", "-u", "LD_PRELOAD", program, "calls"]):
        assert run("run", "--", *words, env=sessions.environment).status == 1
        seen = run("run", "--static", "--", *words, env=sessions.environment)
        assert (seen.status, seen.out, seen.err) == (OK, "ok\n", "")
    assert run("run", "--", f"{program}-static", "raw", env=sessions.environment).status == OK


def test_calls_that_are_seen_are_documented():
    """The table in docs/run.md has all functions that the shim defines, and no others."""
    shim = os.path.join(BUILD, "src", "abi", "shim", "libuiommu-shim.so")
    symbols = subprocess.run(["readelf", "-W", "--dyn-syms", shim], check=True, capture_output=True, text=True).stdout
    defined = set()
    # The linker lists those that it makes for a section as well, but hidden: nobody finds them.
    for symbol in re.findall(r" DEFAULT +\d+ ([^ @\n]+)", symbols):
        name = symbol.replace("64v2", "2")
        for end in ("_chk", "_2", "64"):
            name = name.removesuffix(end)
        defined.add(name if "xstat" in name else name.removeprefix("__"))
    with open(os.path.join(TOP, "docs", "run.md"), encoding="utf-8") as file:
        section = file.read().split("### Which calls are seen")[1].split("Not seen")[0]
    seen = {name for row in section.splitlines() if row.startswith("|") for name in re.findall(r"`(\w+)`", row)}
    assert defined == seen


def test_json_of_no_session(run, sessions):
    listed = run("ls", "--run", "--json", env=sessions.environment)
    assert (listed.status, json.loads(listed.out)) == (OK, {"schema": 1, "command": "ls", "items": []})
