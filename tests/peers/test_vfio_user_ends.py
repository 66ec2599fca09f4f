# SPDX-License-Identifier: BSD-3-Clause
"""The vfio-user server's end, whatever its peer does."""

import select
import struct

import pytest

import vfio_user
from conftest import program


def test_a_peer_that_does_not_read():
    """A reply that no socket has room for: when some of it is there, the rest is waited with."""
    device = vfio_user.Device(program("tests/peers/peer-device"))
    peer = vfio_user.Peer(device.path)
    peer.send(vfio_user.REGION_READ, struct.pack("<QII", 0, 0, 1 << 20))
    select.select([peer.socket], [], [])
    assert device.stop() == ""
    with pytest.raises(vfio_user.Ended):
        peer.receive()
    peer.close()
