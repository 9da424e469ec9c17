"""What nobody on Trio can do without: two system calls and a task for each message. It checks nothing; it is no server.

One epoll descriptor for all sockets, a task for each of them that waits in the cheapest way there is, one frame a read,
whatever it says. In a room it is one system call for each delivery, and nothing else.
"""

from __future__ import annotations

import os
import select
import socket

import trio
from wsproto.utilities import generate_accept_token

from benchmarks.servers import common

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)

#: Opcodes from here on are those of control frames, which are nobody else's business.
CONTROL = 8


class Peer:
    """One connection."""

    def __init__(self, connected: socket.socket, room: set[int]) -> None:
        """Begin with nothing to send."""
        self.socket = connected
        self.room = room
        self.task: trio.lowlevel.Task | None = None
        self.frame = b""

    async def answer(self) -> None:
        """Send each frame that comes, until an empty one does."""
        while True:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
            if not self.frame:
                self.room.discard(self.socket.fileno())
                self.socket.close()
                return
            if self.socket.fileno() in self.room and self.frame[0] & 0x0F < CONTROL:
                for descriptor in self.room:
                    os.write(descriptor, self.frame)
            else:
                os.write(self.socket.fileno(), self.frame)

    def take(self, data: bytes) -> None:
        """Answer the handshake, or wake the task with the frame that is to go back."""
        if data.startswith(b"GET"):
            (key,) = [line[19:] for line in data.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")]
            self.socket.send(ANSWER % generate_accept_token(key))
            if not data.startswith(b"GET /echo"):
                self.room.add(self.socket.fileno())
            return
        self.frame = echo_of(data) if data else b""
        assert self.task is not None  # noqa: S101 # it has been waiting for long
        trio.lowlevel.reschedule(self.task)


def echo_of(frame: bytes) -> bytes:
    """The frame without its mask."""
    at = 4 if frame[1] == 0xFE else 2
    payload, key = frame[at + 4 :], frame[at : at + 4]
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    header = bytes((frame[0], frame[1] & 0x7F)) + frame[2:at]
    return header + (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")


async def main() -> None:
    """Serve until the process is ended."""
    listener, peers, room = common.listen(), dict[int, Peer](), set[int]()
    with select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for descriptor, _ in epoll.poll(0, 256):
                    if descriptor == listener.fileno():
                        peer = Peer(listener.accept()[0], room)
                        peer.socket.setblocking(False)
                        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        peers[peer.socket.fileno()] = peer
                        epoll.register(peer.socket, select.EPOLLIN)
                        nursery.start_soon(peer.answer)
                        continue
                    try:
                        data = os.read(descriptor, 16 * 1024)
                    except ConnectionResetError:
                        data = b""
                    if not data:
                        epoll.unregister(descriptor)
                    peers[descriptor].take(data)


trio.run(main)
