# SPDX-License-Identifier: BSD-3-Clause
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import peer  # noqa: E402


def program(name):
    build = os.environ.get("UIOMMU_BUILD", "build")
    path = pathlib.Path(build) / name
    if not path.exists():
        pytest.fail(f"{path} is not built")
    return path


def fetched(script, what):
    """Where a script of this folder has put somebody else's programs. It gives a reason, which is the test's, if they cannot be had."""
    done = subprocess.run([pathlib.Path(__file__).parent / script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{what} cannot be had: " + (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.strip()


@pytest.fixture(scope="session")
def daemon():
    running = peer.Daemon(program("uiommud"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def small_daemon():
    """It has room for two clients."""
    running = peer.Daemon(program("uiommud"), ["--executors", "2"])
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def target():
    process = subprocess.Popen(["/bin/sleep", "100000"], stdin=subprocess.DEVNULL, **peer.ordinary())
    made = peer.Target(process)
    yield made
    made.close()


@pytest.fixture
def start():
    """Daemons of one test, with options of its own."""
    running = []

    def start_one(*options):
        running.append(peer.Daemon(program("uiommud"), options))
        return running[-1]

    yield start_one
    assert [service.stop() for service in running] == [0] * len(running)


@pytest.fixture
def strangers(start):
    """Start a daemon that other users may connect to."""
    if os.geteuid():
        pytest.skip("needs root, to connect as somebody else")

    def start_one(*options):
        service = start(*options)
        os.chmod(service.path, 0o666)
        return service

    return start_one


@pytest.fixture
def good(daemon):
    """A well-behaved client that is connected before a case and must still be served after it."""
    client = peer.Peer(daemon.path)
    yield client
    reply = client.call(peer.LIST, bytes(8))
    assert reply.error == 0
    client.close()


@pytest.fixture
def bad(daemon):
    client = peer.Peer(daemon.path)
    yield client
    client.close()
