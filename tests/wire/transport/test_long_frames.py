"""Long frames over real sockets: what arrives is what was sent, and what the kernel may hold of them."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
import trio

from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.frames.encoder import encode_message
from seawall.wire.transport.polled import UNSENT, SocketTransport
from seawall.wire.transport.poller import Poller
from tests.kit.channels import Told

LONG = bytes(range(256)) * 4096


async def pair(family: socket.AddressFamily) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of one connection; the far one takes little before it is read."""
    if family != socket.AF_INET:  # Unix sockets stand for others that are not TCP, which not every kernel has
        made = [socket.socket(family, one.type, fileno=one.detach()) for one in socket.socketpair()]
        near, far = map(trio.socket.from_stdlib_socket, made)
        return trio.SocketStream(near), trio.SocketStream(far)
    with trio.socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        near = trio.socket.socket(family)
        await near.connect(listening.getsockname())
        far, _ = await listening.accept()
    return trio.SocketStream(near), trio.SocketStream(far)


def allowed(stream: trio.SocketStream) -> int:
    """Bytes that the kernel may hold unsent."""
    return stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)


async def received(far: trio.SocketStream, size: int) -> bytes:
    """The next `size` bytes."""
    found = bytearray()
    with trio.fail_after(20):
        while len(found) < size:
            found += await far.receive_some(size - len(found))
    return bytes(found)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX, socket.AF_VSOCK], ids=["TCP", "Unix", "vsock"])
async def test_long_frames_arrive(family: socket.AddressFamily) -> None:
    """One behind the other, with a short one between them, more than the socket takes at once."""
    poller = Poller()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        near, far = await pair(family)
        with closing(near.socket), closing(far.socket):
            transport = SocketTransport(poller, near)
            channel = MessageChannel(transport, ChannelSettings(Limits()), Budget(), Told())
            sent = [encode_message(message) for message in (LONG, "short", LONG[::-1])]
            for frame in sent:
                nursery.start_soon(channel.send_buffer.put_message, frame)
            await trio.testing.wait_all_tasks_blocked()
            assert channel.send_buffer.pending
            whole = b"".join(map(bytes, sent))
            found = await received(far, len(whole))
            assert sorted(found.count(bytes(frame)) for frame in sent) == [1, 1, 1]
            channel.abort()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("before", "after"), [(1, UNSENT), (16 * 1024, UNSENT), (UNSENT, UNSENT), (1 << 20, 1 << 20), (-1, -1), (0, 0)]
)
async def test_the_kernel_may_hold_more_of_long_frames(before: int, after: int) -> None:
    """Of short messages the kernel takes what Trio allows it, from the first long one on `UNSENT`, or what was more.

    -1 is no limit, and 0 that of the system.
    """
    poller = Poller()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        near, far = await pair(socket.AF_INET)
        with closing(near.socket), closing(far.socket):
            assert allowed(near) == 16 * 1024
            near.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, before)
            channel = MessageChannel(SocketTransport(poller, near), ChannelSettings(Limits()), Budget(), Told())
            channel.send_buffer.put_message_nowait(encode_message(b"x" * 0xFFFF))
            assert allowed(near) == before
            await received(far, 0xFFFF + 4)
            channel.send_buffer.put_message_nowait(encode_message(LONG))
            assert allowed(near) == after
            await received(far, len(LONG) + 10)
            channel.abort()
        nursery.cancel_scope.cancel()
