# SPDX-License-Identifier: BSD-3-Clause
"""Guests: a kernel of Debian as it is, busybox, and programs of ours, in QEMU (TCG), behind the VT-d of `uiommu qemu-args`.

    with guest.Machine(tools, "nvme,size=16M", modules=["nvme-keyring", "nvme-auth", "nvme-core", "nvme"], programs=[path]) as machine:
        machine.boot()
        assert machine.run("guest-copier") == ["passed"]    # its output; it must end with status 0
        job = machine.start("guest-other")                  # runs beside what comes next
        job.until("half")                                   # lines up to the first that matches
        machine.monitor("system_reset")
        machine.ready()                                     # the next boot has come so far

Commands go to an agent in the guest (tests/guest/agent), by a serial port of their own; the console is for the kernel. At the end of
`with`, and when check_log() is called, the kernel must not have complained of anything but what expect() has declared.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
# Seconds, after which what has not happened will not; longer where tests do more.
PATIENCE = 300 * min(int(os.environ.get("UIOMMU_TEST_SCALE", "1")), 10)

# What Linux says of a VT-d that is a PCI function: its registers are in use before PCI looks at them.
HARMLESS = [r"pci 0000:00:10\.0: BAR 0 .*: can't claim; address conflict with dmar0",
            r"pci 0000:00:10\.0: .*can't claim; address conflict with dmar0"]
# What is an error, whatever its level.
ERRORS = re.compile(r"DMAR: \[|DMAR: DRHD: handling fault|DMAR:.*([Ff]ail|[Ee]rror|[Ii]nvalid\b|[Tt]imeout|[Uu]nsupported)|"
                    r"BUG:|WARNING:|Oops|general protection|Call Trace|UBSAN|KASAN|hung task|lockup")
WARNING = 4


class NoTools(Exception):
    """Why there is no QEMU and no kernel."""


def program(name):
    """A program of the build that is tested."""
    path = TOP / os.environ.get("UIOMMU_BUILD", "build") / name
    assert path.exists(), f"{path} is not built"
    return pathlib.Path(path)


def tools(*options):
    """The folder with QEMU and a kernel, or with a kernel of one's own (--kernel), made if it is not there."""
    done = subprocess.run([TOP / "src/cli/vm/vm-setup", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise NoTools(said[-1] if said else f"vm-setup: exit status {done.returncode}")
    return pathlib.Path(done.stdout.strip())


def children(pid):
    """Of a process with one thread: pids by name."""
    pids = map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return {pathlib.Path(f"/proc/{child}/comm").read_text().strip(): child for child in pids}


class Device:
    """A server of a PCI function: a program that takes the path of a socket and prints a line once it listens."""

    def __init__(self, path):
        self.folder = tempfile.TemporaryDirectory(prefix="uiommu-guest-")
        self.program = path
        self.path = os.path.join(self.folder.name, "socket")
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, self.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.line = self.process.stdout.readline().decode()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        """What it has said on its standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        self.folder.cleanup()
        assert self.process.returncode == 0, said.decode()
        return said.decode()


def vfio_user(path, **more):
    """QEMU's options for a function behind that socket."""
    return "-device", json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": path}, **more})


def say(stream, command, arguments):
    """To a monitor."""
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()


def answer_of(stream):
    while "return" not in (answer := json.loads(stream.readline())):
        assert "error" not in answer, answer
    return answer["return"]


def execute(stream, command, arguments):
    """Of a monitor: the answer."""
    say(stream, command, arguments)
    return answer_of(stream)


class Ended(AssertionError):
    """The guest is no more, or will not do it any more."""


class Job:
    """A command in the guest."""

    def __init__(self, machine, command):
        self.machine, self.command = machine, command
        self.lines, self.taken, self.status = [], 0, None

    def until(self, pattern):
        """The lines that were not asked for yet, up to the first that matches."""
        seen = []
        with self.machine.news:
            while True:
                while self.taken < len(self.lines):
                    seen.append(self.lines[self.taken])
                    self.taken += 1
                    if re.search(pattern, seen[-1]):
                        return seen
                if self.status is not None:
                    raise AssertionError(f"{self.command} has ended without /{pattern}/:\n" + "\n".join(self.lines[-40:]))
                self.machine.wait()

    def end(self):
        """Its exit status, when it has ended."""
        with self.machine.news:
            while self.status is None:
                self.machine.wait()
            return self.status

    def output(self):
        """All its lines, when it has ended as it should."""
        assert self.end() == 0, f"{self.command}: status {self.status}\n" + "\n".join(self.lines[-40:])
        return self.lines


class Machine:
    """A server, as long as this lives, and one QEMU after the other."""

    def __init__(self, tools, *devices, programs=(), modules=(), files=(), append="", options=(), qemu=(), memory="512M", cpus=1,
                 kernel=None):
        self.tools, self.qemu, self.command = tools, list(map(str, qemu)), [tools / "qemu"]
        self.folder = tempfile.TemporaryDirectory(prefix="uiommu-guest-")
        self.expected, self.counts = list(HARMLESS), collections.Counter()
        self.process = self.server = None
        self.console, self.jobs, self.readers = [], {}, []
        self.news = threading.Condition(threading.RLock())
        self.last = b""
        self.alive = self.is_ready = False
        self.listeners = {name: self.listen(name) for name in ("agent", "monitor")}
        self.timer = threading.Timer(PATIENCE, self.give_up)
        self.line = [program("uiommu"), "qemu-args", "--memory", memory, "--cpus", str(cpus), "--kernel", kernel or tools / "vmlinuz",
                     "--file", f"{TOP / 'tests/guest/agent'}:/main", *options]
        for device in devices:
            self.line += ["--device", device]
        for module in modules:
            self.line += ["--module", module]
        for path in programs:
            self.line += ["--file", f"{path}:/bin/{pathlib.Path(path).name}"]
        for path in files:
            self.line += ["--file", str(path)]
        # On a machine that is busy, Linux takes an emulated timer that is late for one that does not work, and panics.
        self.line += ["--append", f"no_timer_check {append}".strip()]
        if self.qemu:
            self.line += ["--", *self.qemu]

    def __enter__(self):
        self.timer.start()
        try:
            self.serve()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None and self.is_ready and self.alive:
                self.check_log()
        finally:
            said = self.end()
        if kind is None:
            assert not said, said

    def listen(self, name):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.folder.name, name))
        listener.listen()
        return listener

    # --- the server ---

    def serve(self):
        """Start it; what it prints is QEMU's line."""
        self.server = subprocess.Popen(list(map(str, self.line)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
        self.arguments = shlex.split(self.server.stdout.readline())
        assert self.arguments, self.server.communicate()[1]

    def server_pid(self):
        """Of the process that has the devices."""
        return children(self.server.pid)["uiommu-server"]

    def seen(self):
        """What `uiommu ls --vm` says of this one."""
        said = subprocess.run([program("uiommu"), "ls", "--vm", "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return next(one for one in json.loads(said.stdout)["guests"] if one["pid"] == self.server.pid)

    def stop_server(self):
        """What it has said."""
        self.server.send_signal(signal.SIGTERM)
        _, said = self.server.communicate()
        self.server = None
        return said.replace("uiommu: ended by signal 15\n", "")

    def kill_server(self):
        """What its launcher says of that."""
        os.kill(self.server_pid(), signal.SIGKILL)
        _, said = self.server.communicate()
        assert self.server.returncode == 4
        self.server = None
        return said

    # --- QEMU ---

    def boot(self, *more):
        """Until the agent is there."""
        line = [*self.command, "-nodefaults", *self.arguments, "-display", "none", "-serial", "stdio",
                "-serial", f"unix:{self.folder.name}/agent", "-qmp", f"unix:{self.folder.name}/monitor", *self.qemu, *more]
        self.process = subprocess.Popen(list(map(str, line)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.console.clear()
        self.alive, self.is_ready = True, False
        self.link = self.accept("agent")
        self.monitor_stream = self.accept("monitor").makefile("rw")
        self.monitor_stream.readline()
        self.monitor("qmp_capabilities")
        self.readers = [threading.Thread(target=self.read_console), threading.Thread(target=self.read_agent)]
        for reader in self.readers:
            reader.start()
        self.begin()
        self.ready()

    def begin(self):
        """What a guest needs to run, when its QEMU is there."""

    def accept(self, name):
        ended = os.pidfd_open(self.process.pid)
        try:
            ready, _, _ = select.select([self.listeners[name], ended], [], [])
        finally:
            os.close(ended)
        if self.listeners[name] not in ready:
            raise Ended("QEMU has ended:\n" + self.process.stdout.read().decode(errors="replace"))
        return self.listeners[name].accept()[0]

    def read_console(self):
        for line in self.process.stdout:
            with self.news:
                self.console.append(re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", line.decode(errors="replace")).strip())
                self.news.notify_all()
        with self.news:
            self.alive = False
            self.news.notify_all()

    def read_agent(self):
        # Closed without an end of file if QEMU is killed with something unread.
        with contextlib.suppress(ConnectionError), self.link.makefile("r", errors="replace", newline="\n") as stream:
            for line in stream:
                line = line.strip("\r\n\0")
                with self.news:
                    if line.endswith("ready"):
                        self.jobs.clear()
                        self.is_ready = True
                    elif line == "again":
                        self.link.sendall(self.last)
                    elif line == "got":
                        self.last = b""
                    elif found := re.fullmatch(r"(\d+)([|!])(.*)", line):
                        job = self.jobs[int(found[1])]
                        if found[2] == "|":
                            job.lines.append(found[3])
                        else:
                            job.status = int(found[3])
                    self.news.notify_all()

    def wait(self):
        """For anything new; with the lock."""
        if not self.alive:
            raise Ended("the guest has ended:\n" + "\n".join(self.console[-60:]))
        self.news.wait()

    def ready(self):
        """The agent of the next boot is there: after boot(), and after a reset of any kind."""
        with self.news:
            while not self.is_ready:
                self.wait()

    def until(self, pattern):
        """The first line of the console that matches."""
        with self.news:
            while not (found := next((line for line in self.console if re.search(pattern, line)), None)):
                self.wait()
            return found

    def start(self, command):
        command = command.strip()
        assert "\n" not in command and command.isascii() and len(command) < 2000
        with self.news:
            assert self.is_ready
            job = Job(self, command)
            number = len(self.jobs) + 1
            self.jobs[number] = job
            line = f"{number} {command}"
            self.last = f"{' ' * 64}run {len(line)} {line}\n".encode()
            self.link.sendall(self.last)
            while self.last:
                self.wait()
        return job

    def run(self, command):
        """Its output."""
        return self.start(command).output()

    def monitor(self, command, **arguments):
        """The answer; what resets the guest makes ready() wait for the next boot."""
        if command == "system_reset":
            self.is_ready = False
        return execute(self.monitor_stream, command, arguments)

    def reboot(self, command="reboot -f"):
        """As the guest does it."""
        with self.news:
            self.start(command)
            self.is_ready = False
        self.ready()

    def kill_qemu(self):
        """Whatever it is at. boot() starts another one with the same server."""
        self.process.kill()
        self.finish_qemu()

    def finish_qemu(self):
        """It ends, or has been told to."""
        for reader in self.readers:
            reader.join()
        self.process.wait()
        self.process.stdout.close()
        self.link.close()
        self.monitor_stream.close()
        self.process, self.readers = None, []
        self.alive = False

    # --- the kernel's log ---

    def expect(self, pattern):
        """The kernel may say this."""
        self.expected.append(pattern)

    def log(self):
        """Pairs of level and text."""
        found = [re.fullmatch(r"<(\d+)>(?:\[ *[\d.]+\] ?)?(.*)", line) for line in self.run("dmesg -r")]
        return [(int(line[1]) & 7, line[2]) for line in found if line]

    def check_log(self):
        """No complaint of an IOMMU's driver, or of the kernel as a whole, that was not declared."""
        bad = [text for level, text in self.log() if (ERRORS.search(text) or (level <= WARNING and "DMAR" in text))
               and not any(re.search(pattern, text) for pattern in self.expected)]
        assert not bad, "the kernel says:\n" + "\n".join(bad)

    # --- the end ---

    def give_up(self):
        for process in (self.process, self.server):
            if process:
                process.kill()

    def end(self):
        """What the server has said."""
        self.timer.cancel()
        if self.process:
            self.kill_qemu()
        said = self.stop_server() if self.server else ""
        for listener in self.listeners.values():
            listener.close()
        self.folder.cleanup()
        return said
