# SPDX-License-Identifier: BSD-3-Clause
"""
uiommu run of programs that are stopped at system calls: the launcher is to its caller what the program would be, in a terminal as well, and
whatever is killed, nothing stays.
"""

import ctypes
import os
import pty
import random
import re
import select
import signal
import subprocess
import termios

import pytest

from conftest import ORDINARY, children

OK = 0
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="session")
def program(staged):
    return os.path.join(staged, "in-session-static")


def wait_for_end(pidfds):
    for pidfd in pidfds:
        select.select([pidfd], [], [])
        os.close(pidfd)


@pytest.fixture
def orphans():
    """What loses its parent during the test is a child of ours. Waits until nothing is left of all that was started."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def wait_for_all():
        while True:
            try:
                status = os.wait()[1]
            except ChildProcessError:
                return
            assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL

    yield wait_for_all
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def family(launcher):
    """A pidfd of each: of the launcher, the session, the program, as far as they are there."""
    found, pid = {}, launcher
    for name in ("launcher", "session", "program"):
        try:
            found[name] = os.pidfd_open(pid)
            pid = next(iter(children(pid)), 0)
        except (FileNotFoundError, ProcessLookupError, ValueError, OSError):
            break
    return found


@pytest.mark.parametrize("who", ["launcher", "session", "program"])
def test_killed_anywhere(run, program, sessions, orphans, who):
    """kill -9 of one of the three, from the start on: the others end, as if it had been the program."""
    chance = random.Random(who)
    for turn in range(8):
        with run.start("run", "--device", "nvme,size=1M", "--", program, "endless", env=sessions.environment,
                       start_new_session=True) as process:
            # First somewhere while it starts, then between or within calls.
            for _ in range(turn and chance.randrange(1, 30)):
                assert process.stdout.readline() == "x\n"
            while who not in (members := family(process.pid)):
                for pidfd in members.values():
                    os.close(pidfd)
            signal.pidfd_send_signal(members[who], signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            wait_for_end(members.values())
            orphans()
            # A killed session's folder is removed by the next one.
            assert len(sessions.folders()) <= (who == "session")
    assert run("run", "--", program, "calls", env=sessions.environment).out == "ok\n"
    assert sessions.folders() == []


def test_killed_launcher_leaves_others(run, program, sessions):
    """What a program has started outlives it and the launcher, and is served."""
    script = f"{program} holds 2 <&6 & echo $!; wait"
    process = run.start("run", "--static", "--", "sh", "-c", f"exec 6<&0; {script}", stdin=subprocess.PIPE, env=sessions.environment)
    assert sorted([process.stdout.readline(), process.stdout.readline()])[1] == "held\n"
    members = family(process.pid)
    process.kill()
    wait_for_end([members["launcher"], members["program"]])
    listed = run("ls", "--run", "--json", env=sessions.environment)
    assert [item["type"] for item in listed.json["items"]].count("ioas") == 2
    process.stdin.close()
    wait_for_end([members["session"]])
    process.stdout.close()
    process.stderr.close()
    process.wait()
    assert sessions.folders() == []


def test_killed_session_ends_others(run, program, sessions, orphans):
    """Without a session they could not open anything any more."""
    script = f"exec 6<&0; {program} holds 2 <&6 & sleep 1000 & sleep 1000"
    with run.start("run", "--static", "--", "sh", "-c", script, stdin=subprocess.PIPE, env=sessions.environment,
                   start_new_session=True) as process:
        assert process.stdout.readline() == "held\n"
        members = family(process.pid)
        signal.pidfd_send_signal(members["session"], signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        wait_for_end(members.values())
        orphans()


VICTIMS = """
import os, random, subprocess, sys
chance, session = random.Random(7), os.getppid()
def has(what):
    return len(os.listdir(f"/proc/{session}/{what}"))
def one(word):
    subprocess.run([sys.argv[1], word], check=True, stdout=subprocess.DEVNULL)
def kill_one():
    with subprocess.Popen([sys.argv[1], "endless"], stdout=subprocess.PIPE) as victim:
        for _ in range(chance.randrange(30)):
            victim.stdout.readline()
        victim.kill()
for _ in range(3):
    kill_one()
one("calls")
before = has("fd")
for _ in range(12):
    kill_one()
one("calls")
print(before, has("fd"))
"""


def test_killed_program_of_a_session(run, program, sessions):
    """Of one that has ended within a session no descriptor stays with the session."""
    ended = run("run", "--static", "--", "/usr/bin/python3", "-c", VICTIMS, program, env=sessions.environment)
    assert (ended.status, ended.err) == (OK, "")
    before, after = ended.out.split()
    assert before == after
    assert sessions.folders() == []


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(") ", 1)[1].startswith("T")


def next_state(pid):
    return os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)[1]


def test_stops_as_the_program(run, program, sessions):
    """Stopped and continued with the program, whoever does it; the session goes on meanwhile."""
    with run.start("run", "--", program, "holds", 1, stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "held\n"
        pid = children(children(process.pid)[0])[0]
        for first, then in ((pid, pid), (pid, process.pid)):
            os.kill(first, signal.SIGSTOP)
            assert os.WIFSTOPPED(next_state(process.pid))
            assert len(run("ls", "--run", "--json", env=sessions.environment).json["items"]) == 3
            os.kill(then, signal.SIGCONT)
            assert os.WIFCONTINUED(next_state(process.pid))
            while is_stopped(pid):
                pass
        os.kill(pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(next_state(process.pid))
        os.kill(pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert sessions.folders() == []


def test_stopped_and_killed_in_a_script(run, program, sessions):
    """Nothing of that reaches others: what has started the launcher is in its group, and alone in a session, as a service's script is."""
    script = f"trap 'echo hung up' HUP; {run.program} run -- {program} holds 1; echo ended $?"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=sessions.environment,
                          start_new_session=True, **ORDINARY) as process:
        assert process.stdout.readline() == "held\n"
        (launcher,) = children(process.pid)
        pid = children(children(launcher)[0])[0]
        os.kill(pid, signal.SIGSTOP)
        while not is_stopped(launcher):
            pass
        os.kill(pid, signal.SIGKILL)
        assert process.stdout.read() == f"ended {128 + signal.SIGKILL}\n"
    assert sessions.folders() == []


SENT = [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGABRT, signal.SIGRTMIN + 3]

TELLS = """
import signal, sys
sent = {int(word) for word in sys.argv[1:]}
signal.pthread_sigmask(signal.SIG_BLOCK, sent)
print("ready", flush=True)
while sent:
    sent.remove(number := signal.sigwait(sent))
    print(int(number), flush=True)
"""


def test_signals_are_passed_on(run, sessions):
    with run.start("run", "--static", "--", "/usr/bin/python3", "-c", TELLS, *[int(number) for number in SENT],
                   env=sessions.environment) as process:
        assert process.stdout.readline() == "ready\n"
        for number in SENT:
            process.send_signal(number)
            assert process.stdout.readline() == f"{int(number)}\n"
        assert process.wait() == OK
    assert sessions.folders() == []


class Terminal:
    """A shell with job control in a terminal that we hold the other end of."""

    def __init__(self, environment):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            if "user" in ORDINARY:
                os.setgroups([])
                os.setgid(ORDINARY["group"])
                os.setuid(ORDINARY["user"])
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"],
                      {**environment, "PS1": "", "TERM": "dumb", "HISTFILE": ""})
        self.seen = ""
        modes = termios.tcgetattr(self.fd)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self.fd, termios.TCSANOW, modes)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        """What has come up to the first match, which is not looked at again."""
        while not (found := re.search(pattern, self.seen)):
            self.seen += os.read(self.fd, 4096).decode()
        self.seen = self.seen[found.end():]
        return found

    def answer_and_interrupt(self):
        """A program that repeats lines, in the foreground: a last one, and ^C."""
        self.type("word\n")
        self.expect("got word\r\n")
        self.type("\x03")
        self.expect("\r\n")

    def hang_up(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(sessions):
    made = Terminal(sessions.environment)
    yield made
    made.hang_up()


def test_terminal(run, sessions, terminal):
    """^Z, fg, bg and ^C of a job."""
    script = "exec 5<>/dev/iommu; echo he\"\"ld; while read line; do echo got $line; done"
    terminal.type(f"{run.program} run --static -- sh -c '{script}'\n")
    terminal.expect("held")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    assert len(run("ls", "--run", "--json", env=sessions.environment).json["items"]) == 3
    # It reads from the terminal, which it may not in the background.
    terminal.type("bg; wait %1; echo waited $?\n")
    terminal.expect(f"waited {128 + signal.SIGSTOP}")
    terminal.type("fg\n")
    terminal.expect("run --")
    terminal.answer_and_interrupt()
    terminal.type("echo status $?\n")
    terminal.expect(f"status {128 + signal.SIGINT}")
    assert sessions.folders() == []


def test_program_that_stops_itself(run, sessions, terminal):
    terminal.type(f"{run.program} run --static -- sh -c 'echo beg\"\"ins; kill -STOP $$; echo goes \"\"on; exit 7'\n")
    terminal.expect("begins")
    terminal.expect("Stopped")
    terminal.type("fg\n")
    terminal.expect("goes on")
    terminal.type("echo status $?\n")
    terminal.expect("status 7")
    assert sessions.folders() == []


def test_shell_with_jobs_of_its_own(run, sessions, terminal):
    """A program that takes the terminal for its children: ^C and ^Z are theirs, and not the launcher's."""
    terminal.type(f"{run.program} run --static -- bash --norc --noprofile --noediting -i\n")
    terminal.type("echo in''ner $$\n")
    terminal.expect("inner ")
    terminal.type("sh -c 'echo ch\"\"ild; while read line; do echo got $line; done'\n")
    terminal.expect("child")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("fg\n")
    terminal.expect("sh -c")
    terminal.answer_and_interrupt()
    terminal.type("echo status $?; exit 9\n")
    terminal.expect(f"status {128 + signal.SIGINT}")
    terminal.type("echo out''er $?\n")
    terminal.expect("outer 9")
    assert sessions.folders() == []


def test_terminal_that_goes(run, program, sessions):
    """Who has the terminal is told of its end, and the session ends with that."""
    terminal = Terminal(sessions.environment)
    terminal.type(f"{run.program} run -- {program} holds 1\n")
    terminal.expect("held")
    daemon = sessions.daemon()
    terminal.hang_up()
    wait_for_end([daemon])
    assert sessions.folders() == []
