"""Channels for the tests: driven by hand, or over each kind of transport, which must all behave the same."""

from __future__ import annotations

import fcntl
import math
import socket
import termios
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final, Protocol, final

import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from seawall.handshake import Handshake
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.events import MessageBegun, SendBlocked, WireEvent
from seawall.wire.frames import encoder
from seawall.wire.frames.deflate import Agreement
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Reading
from seawall.wire.transport.base import ReadInterest, Receiver
from seawall.wire.transport.polled import HangupWatch, SocketTransport
from seawall.wire.transport.poller import Poller
from seawall.wire.transport.stream import StreamTransport
from tests.kit import sockets
from tests.kit.memory import Peer, Wire
from tests.kit.wire import Frame, frame

#: The kinds of transport: of a plain socket, of any stream, and of a stream with a socket under it that can be watched,
#: as TLS has.
LINKS: Final = ["polled", "streamed", "watched"]

ANSWER: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
ASKED: Final = Handshake(path="/", host="seawall.test", key="dGhlIHNhbXBsZSBub25jZQ==", headers=(), peer="memory")


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """A control frame as trio-websocket gets it: with a mask of zeros."""
    return frame(opcode, payload, mask=bytes(4))


#: Looks at every turn of the scheduler: what is waited for need not last.
until: Final = partial(sockets.until, step=0.0)


class AfterStep(trio.abc.Instrument):
    """Does something whenever a certain task has taken a step, before anybody else has a turn."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        """Do `then` after each step of a task whose name ends with `name`."""
        self._name = name
        self._then = then

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Do it."""
        if task.name.endswith(self._name):
            self._then()


@final
@define(eq=False)
class Hand:
    """A transport that does nothing by itself."""

    room: float = math.inf
    """Bytes that it takes at once."""
    broken: bool = False
    on_write: Callable[[bytes], None] = field(default=lambda data: None)
    """Called with what is taken at once."""
    on_start: Callable[[Receiver], None] = field(default=lambda channel: None)
    """Called by `start`."""
    on_update: Callable[[], None] = field(default=lambda: None)
    """Called by `update`."""
    written: bytearray = field(factory=bytearray)
    updates: int = 0
    lingers: int = 0
    closed: int = 0
    probing: bool = False
    started: int = 0

    def start(self, channel: Receiver, /) -> None:
        """Count."""
        self.started += 1
        self.on_start(channel)

    def write(self, frame: encoder.Frame, /) -> int:
        """Take what there is room for."""
        if self.broken:
            raise trio.BrokenResourceError
        data = bytes(frame)
        count = int(min(self.room, len(data)))
        self.room -= count
        self.written += data[:count]
        self.on_write(data[:count])
        return count

    def drain(self, out: SendBuffer, count: int) -> None:
        """Take some of what waits."""
        taken = bytes(out.pending[:count])
        self.written += taken
        out.mark_written(len(taken))

    def update(self) -> None:
        """Count."""
        self.updates += 1
        self.on_update()

    async def linger(self, most: float, /) -> None:
        """Count."""
        self.lingers += 1

    def close(self) -> None:
        """Count."""
        self.closed += 1

    async def wait_released(self) -> None:
        """There is nothing to wait for."""


@final
@define(eq=False)
class Told:
    """Remembers what the wire tells."""

    events: list[WireEvent] = field(factory=list[WireEvent])

    def on_wire_event(self, event: WireEvent) -> None:
        """Remember."""
        self.events.append(event)


@final
@define(eq=False)
class Alone:
    """A channel on a transport that does nothing by itself, with its control stream."""

    limits: Limits = field(factory=Limits)
    transport: Hand = field(factory=Hand)
    budget: Budget = field(factory=Budget)
    ends: list[WireEvent] = field(factory=list[WireEvent])
    """What was told, but for `SendBlocked` and `MessageBegun`."""
    blocked: list[int] = field(factory=list[int])
    """How much waited, each time that `SendBlocked` was told."""
    channel: MessageChannel = field(init=False)
    control_stream: ControlStream = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the channel."""
        settings = ChannelSettings(self.limits)
        self.channel = MessageChannel(self.transport, settings, self.budget, self)
        self.channel.admit(self.limits.max_message_size)
        self.control_stream = ControlStream(self.channel)

    def on_wire_event(self, event: WireEvent) -> None:
        """Remember."""
        if isinstance(event, SendBlocked):
            self.blocked.append(len(self.channel.send_buffer.pending))
        elif not isinstance(event, MessageBegun):
            self.ends.append(event)

    def wants(self, read_interest: ReadInterest) -> bool:
        """Whether this is what the channel wants; a type checker would think that it never changes."""
        return self.channel.read_interest is read_interest

    def is_at(self, reading: Reading) -> bool:
        """Whether the reading is in this state; as `wants`."""
        return self.channel.reading is reading

    def feed(self, data: bytes) -> None:
        """Play the transport that has read something."""
        self.channel.feed(data, trio.current_time())


async def alone(limits: Limits | None = None, *, closed: bool = False) -> Alone:
    """A channel whose upgrade has been accepted, unless `closed`."""
    made = Alone(limits or Limits())
    if not closed:
        await made.control_stream.send_all(ANSWER)
        del made.transport.written[:]
    return made


@final
@define(eq=False)
class Bench:
    """A channel and its control stream between a peer and a test that plays the part of trio-websocket."""

    nursery: trio.Nursery
    poller: Poller
    over: str
    limits: Limits
    agreement: Agreement | None = None
    budget: Budget = field(factory=Budget)
    ends: list[WireEvent] = field(factory=list[WireEvent])
    """What was told, but for `SendBlocked` and `MessageBegun`."""
    controls: list[bytes] = field(factory=list[bytes])
    """What `read` got."""
    wire: Wire = field(factory=Wire)
    """The near end, if it is a memory stream."""
    near: trio.SocketStream = field(init=False)
    """The near end, if it is a socket."""
    stream: trio.abc.Stream = field(init=False)
    """The near end."""
    transport: SocketTransport | StreamTransport = field(init=False)
    peer: Peer = field(init=False)
    channel: MessageChannel = field(init=False)
    control_stream: ControlStream = field(init=False)
    _left: bool = field(init=False, default=False)
    on_end: Callable[[WireEvent], None] = field(init=False)
    """Told what ends the conversation; a test may put another one here."""

    def __attrs_post_init__(self) -> None:
        """Make the channel."""
        self.on_end = self.ends.append
        if self.over == "streamed":
            self.stream, self.peer = self.wire, Peer(self.wire.far)
        else:
            near, far = trio.socket.socketpair()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least, so that a peer is soon behind
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self.stream, self.peer = trio.SocketStream(near), Peer(trio.SocketStream(far))
            self.near = self.stream
        if self.over == "polled":
            self.transport = SocketTransport(self.poller, self.near)
        else:
            watch = HangupWatch(self.poller, self.near.socket.fileno()) if self.over == "watched" else None
            self.transport = StreamTransport(self.stream, self.nursery, watch)
        settings = ChannelSettings(self.limits, self.agreement)
        self.channel = MessageChannel(self.transport, settings, self.budget, self)
        self.channel.admit(self.limits.max_message_size)
        self.present(b"")

    def on_wire_event(self, event: WireEvent) -> None:
        """Tell of what ends the conversation."""
        if not isinstance(event, SendBlocked | MessageBegun):
            self.on_end(event)

    def present(self, head: bytes) -> None:
        """Make the control stream, with what is read from it first."""
        self.control_stream = ControlStream(self.channel, head)

    async def open(self) -> None:
        """Accept the upgrade, and read."""
        await self.control_stream.send_all(ANSWER)
        assert await self.peer.head()
        self.nursery.start_soon(self.read)

    async def read(self) -> None:
        """Read as trio-websocket does, until end-of-file."""
        while control := await self.control_stream.receive_some(4096):
            self.controls.append(bytes(control))
        self._left = True

    def has_left(self) -> bool:
        """Whether `read` has got to the end."""
        return self._left

    def wants(self, read_interest: ReadInterest) -> bool:
        """Whether this is what the channel wants; a type checker would think that it never changes."""
        return self.channel.read_interest is read_interest

    def is_at(self, reading: Reading) -> bool:
        """Whether the reading is in this state; as `wants`."""
        return self.channel.reading is reading

    def feed(self, data: bytes) -> None:
        """Let the channel have what came with the request."""
        self.channel.feed(data, trio.current_time())

    async def receive_all(self) -> list[str | bytes]:
        """The messages that are there."""
        await wait_all_tasks_blocked()
        found: list[str | bytes] = []
        with trio.move_on_after(0.001):
            try:
                while True:
                    found.append(await self.channel.queue.receive())
            except trio.EndOfChannel:
                pass
        return found

    async def heard(self) -> list[Frame]:
        """The frames that have come to the peer."""
        found: list[Frame] = []
        with trio.move_on_after(0.001):
            while (frame := await self.peer.frame()) is not None:
                found.append(frame)
        return found

    async def block(self) -> None:
        """Let the channel write until its peer, who does not read, is behind."""
        self.wire.stall()
        await self.channel.send("x" * 20_000)
        assert self.channel.send_buffer.pending
        await wait_all_tasks_blocked()

    def taken(self, said: int) -> int:
        """How many of the bytes that the peer has said have been read."""
        if self.stream is self.wire:
            return self.wire.taken
        unread = fcntl.ioctl(self.near.socket.fileno(), termios.FIONREAD, bytes(4))
        return said - int.from_bytes(unread, "little")

    async def finish(self) -> None:
        """Let the peer say that nothing more will come."""
        assert isinstance(self.peer.stream, trio.abc.HalfCloseableStream)
        await self.peer.stream.send_eof()

    def put_away(self) -> None:
        """Give everything up."""
        try:
            self.channel.abort()
        finally:
            for stream in (self.stream, self.peer.stream):
                if isinstance(stream, trio.SocketStream):
                    stream.socket.close()


class Maker(Protocol):
    """Makes a channel over a kind of transport."""

    def __call__(self, over: str, limits: Limits, agreement: Agreement | None = None, /) -> Bench:
        """Make it."""
        ...


@asynccontextmanager
async def benches() -> AsyncGenerator[Maker]:
    """Makes channels that share a poller."""
    async with trio.open_nursery() as nursery:
        poller = Poller()
        await nursery.start(poller.run)
        with ExitStack() as made:

            def make(over: str, limits: Limits, agreement: Agreement | None = None, /) -> Bench:
                one = Bench(nursery, poller, over, limits, agreement)
                made.callback(one.put_away)
                return one

            try:
                yield make
            finally:
                nursery.cancel_scope.cancel()
        assert len(poller) == 0


@asynccontextmanager
async def bench(over: str, limits: Limits | None = None, agreement: Agreement | None = None) -> AsyncGenerator[Bench]:
    """A channel that nothing has happened to yet."""
    async with benches() as make:
        yield make(over, limits or Limits(), agreement)


@asynccontextmanager
async def opened(over: str, limits: Limits | None = None) -> AsyncGenerator[Bench]:
    """A channel that is open and read."""
    async with bench(over, limits) as made:
        await made.open()
        yield made
