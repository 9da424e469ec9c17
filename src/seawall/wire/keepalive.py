"""Whether the peer of a connection is still there (`Keepalive`), and takes what it is sent (`StallDetector`).

A socket alone does not say so. A kernel keeps a connection whose cable has been cut for hours, and its buffers hide for
minutes that nobody reads. So the peer is asked, by a Ping after a time of silence; and the kernel is asked how much of
what we have written has been acknowledged, because a peer that reads slowly is not one that does not read.
"""

from __future__ import annotations

import math
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, final

import trio
from attrs import frozen

from seawall.errors import KeepaliveLost, SlowConsumer
from seawall.limits import Limits
from seawall.wire.channel import MessageChannel
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.encoder import encode_frame
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.transport.base import ReadInterest

#: How often in ``send_timeout`` we look whether a peer that is behind makes progress.
SAMPLES: Final = 8

# tcpi_unacked, tcpi_bytes_acked and tcpi_notsent_bytes in Linux's struct tcp_info, which only ever grows at its end.
_TCP_INFO: Final = struct.Struct("=24xI92xQ16xI")


@final
@frozen
class Progress:
    """How far what was written has come."""

    arrived: int
    """Bytes that the peer's system has, as far as can be told."""
    behind: bool
    """Whether there are others on their way."""


_PING: Final = encode_frame(Opcode.PING, b"")

_NONE: Final = Progress(0, behind=False)


def measure(buffer: SendBuffer, sock: trio.socket.SocketType | None) -> Progress:
    """Ask the kernel about the socket `sock`; where it cannot tell, what it has taken has to do."""
    if sys.platform == "linux" and sock is not None:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except OSError:
            pass  # no TCP
        else:
            in_flight, arrived, waiting = _TCP_INFO.unpack(info.ljust(_TCP_INFO.size, b"\0"))
            return Progress(arrived, behind=bool(in_flight or waiting or buffer.pending))
    return Progress(buffer.bytes_written, behind=bool(buffer.pending))


def ping(buffer: SendBuffer) -> None:
    """Send a Ping, if the peer could get it at all: behind a full buffer it is of no use."""
    if len(buffer.pending) < buffer.limit:
        with suppress(trio.BrokenResourceError):  # the peer has just gone, as the reader will find out
            buffer.put(_PING)


@final
class StallDetector:
    """Finds a peer that makes no progress for ``send_timeout`` with what it has been sent.

    It asks `SendBuffer.blocked_since`, so whoever heard of `SendBlocked` asks `due` anew. From then on it looks
    `SAMPLES` times in ``send_timeout``, until nothing waits any more.
    """

    __slots__ = ("_advanced_at", "_buffer", "_next_sample", "_sample", "_send_timeout", "_sock")

    def __init__(self, buffer: SendBuffer, send_timeout: float, sock: trio.socket.SocketType | None) -> None:
        """Prepare; `sock` is the socket under the connection, if there is one."""
        self._buffer = buffer
        self._send_timeout = send_timeout
        self._sock = sock
        self._next_sample = math.inf
        self._sample: Progress = _NONE
        self._advanced_at = -math.inf

    def due(self) -> float:
        """When to `check` next, on Trio's clock. If something has begun to wait, progress is measured from now on."""
        blocked_since = self._buffer.blocked_since
        if self._next_sample == math.inf and blocked_since is not None:
            self._sample, self._advanced_at = measure(self._buffer, self._sock), blocked_since
            self._next_sample = blocked_since + self._send_timeout / SAMPLES
        return self._next_sample

    def check(self, now: float) -> SlowConsumer | None:
        """Whether the peer has stalled. Whoever is told gives the connection up: a Close would be stuck as well."""
        if self._buffer.blocked_since is None:
            self._next_sample = math.inf
            self._buffer.is_watched = False
            return None
        if now < self.due():
            return None
        sample = measure(self._buffer, self._sock)
        if sample.arrived != self._sample.arrived:
            self._sample, self._advanced_at = sample, now
        given_up_at = self._advanced_at + self._send_timeout
        self._next_sample = min(now + self._send_timeout / SAMPLES, given_up_at)
        return SlowConsumer() if now >= given_up_at else None


@final
class Keepalive:
    """Asks a silent peer after ``ping_interval``, and gives it up if it is still silent ``ping_timeout`` later."""

    __slots__ = (
        "_alive_at",
        "_channel",
        "_first_ping_at",
        "_interval",
        "_last_ping_at",
        "_progress_at_ping",
        "_sock",
        "_timeout",
    )

    def __init__(self, channel: MessageChannel, limits: Limits, sock: trio.socket.SocketType | None) -> None:
        """Prepare; `sock` is the socket under the channel, if there is one."""
        self._channel = channel
        self._sock = sock
        self._interval = math.inf if limits.ping_interval is None else limits.ping_interval
        self._timeout = math.inf if limits.ping_timeout is None else limits.ping_timeout
        self._alive_at = math.inf  # nobody is asked before `begin`
        self._first_ping_at: float | None = None  # the first Ping that has not been answered
        self._last_ping_at = -math.inf  # the last one
        self._progress_at_ping: Progress = _NONE

    def begin(self) -> None:
        """Ask the peer from now on, when it is silent."""
        self._alive_at = trio.current_time()

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        if self._first_ping_at is None:
            return self._alive_at + self._interval
        return min(self._first_ping_at + self._timeout, self._last_ping_at + self._interval)

    def check(self, now: float) -> KeepaliveLost | None:
        """Whether the peer is to be given up. It is sent a Ping when it is time."""
        self._alive_at = max(self._alive_at, self._channel.inbound.heard_at)
        if self._channel.read_interest is ReadInterest.PAUSED:  # we would not hear it
            self._alive_at, self._first_ping_at = now, None
        elif self._first_ping_at is None or self._alive_at >= self._first_ping_at:
            self._first_ping_at = None
            if now >= self._alive_at + self._interval:
                self._progress_at_ping, self._first_ping_at = measure(self._channel.send_buffer, self._sock), now
                self._ask(now)
        elif now >= self._first_ping_at + self._timeout:
            reached = measure(self._channel.send_buffer, self._sock)
            if not self._progress_at_ping.behind or reached.arrived == self._progress_at_ping.arrived:
                return KeepaliveLost()
            self._progress_at_ping, self._first_ping_at = reached, now  # what lay before the Ping was still on its way
        elif now >= self._last_ping_at + self._interval:
            self._ask(now)
        return None

    def _ask(self, now: float) -> None:
        self._last_ping_at = now
        ping(self._channel.send_buffer)


@final
class WireLiveness:
    """Both, and the idle time, for the one deadline of a connection: a `seawall.connection.timeouts.Liveness`."""

    __slots__ = ("_channel", "_keepalive", "_send_timeout", "_sock", "_stall")

    def __init__(self, channel: MessageChannel, limits: Limits, sock: trio.socket.SocketType | None) -> None:
        """Prepare; `sock` is the socket under the channel, if there is one."""
        self._channel = channel
        self._keepalive = Keepalive(channel, limits, sock)
        self._sock = sock
        self._send_timeout = limits.send_timeout
        self._stall: StallDetector | None = None  # made when something has to wait, as in most connections nothing does

    def begin(self) -> None:
        """The upgrade is accepted: ask the peer from now on, when it is silent."""
        self._keepalive.begin()

    @property
    def message_at(self) -> float:
        """When a message last came; now, while it is we who do not read."""
        paused = self._channel.read_interest is ReadInterest.PAUSED
        return trio.current_time() if paused else self._channel.inbound.message_at

    def due(self) -> float:
        """When to `check` next, on Trio's clock; to be asked anew when `SendBlocked` was told."""
        buffer = self._channel.send_buffer
        if self._stall is None:
            if buffer.blocked_since is None:
                return self._keepalive.due()
            self._stall = StallDetector(buffer, self._send_timeout, self._sock)
        return min(self._stall.due(), self._keepalive.due())

    def check(self, now: float) -> KeepaliveLost | SlowConsumer | None:
        """What is wrong with the peer, if anything. It is sent a Ping when it is time."""
        stalled = None if self._stall is None else self._stall.check(now)
        return stalled or self._keepalive.check(now)
