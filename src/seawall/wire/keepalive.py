"""Whether the peer of a connection is still there (`Keepalive`), and reads what it is sent (`StallDetector`).

A socket alone does not show either. A kernel keeps a connection for hours after its cable was cut, and it buffers what
we write for minutes while the peer does not read. So a silent peer is sent a Ping; and the kernel is asked how many of
the bytes that we have written have been acknowledged, which tells a peer that reads slowly from one that does not read.
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

from seawall.errors import KeepaliveLost, MessageTimeout, SlowConsumer
from seawall.limits import Limits
from seawall.wire.channel import MessageChannel
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.encoder import encode_control
from seawall.wire.lateness import Lateness
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.transport.base import ReadInterest

#: How often in ``send_timeout`` the progress of a peer is measured while something waits to be sent.
SAMPLES: Final = 8

# tcpi_unacked, tcpi_bytes_acked and tcpi_notsent_bytes in Linux's struct tcp_info, which only ever grows at its end.
_TCP_INFO: Final = struct.Struct("=24xI92xQ16xI")


@final
@frozen
class Progress:
    """How many of the bytes that were sent have reached the peer."""

    arrived: int
    """Bytes that the peer's kernel has acknowledged; where ours does not tell, those that the transport has taken."""
    behind: bool
    """Whether further bytes are on their way, or wait to be written."""


_PING: Final = encode_control(Opcode.PING, b"")

_NONE: Final = Progress(0, behind=False)

_NEVER: Final = -math.inf  # once: each `-math.inf` is a new float, in each connection


def measure(buffer: SendBuffer, sock: trio.socket.SocketType | None) -> Progress:
    """Ask the kernel how much was acknowledged on `sock`; if it cannot tell, count what the transport has taken."""
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
    """Send a Ping, unless the buffer is full: what waits there keeps the Ping from the peer."""
    if len(buffer.pending) < buffer.limit:
        with suppress(trio.BrokenResourceError):  # the peer has just gone, which the reader reports
            buffer.put(_PING)


@final
class StallDetector:
    """Finds a peer that acknowledges nothing for ``send_timeout`` seconds while something waits to be sent to it.

    `due` changes when something begins to wait, so its caller calls it again after `SendBlocked`. From then on progress
    is measured `SAMPLES` times in ``send_timeout``, until nothing waits.
    """

    __slots__ = ("_advanced_at", "_buffer", "_lateness", "_next_sample", "_sample", "_send_timeout", "_sock")

    def __init__(
        self, buffer: SendBuffer, send_timeout: float, sock: trio.socket.SocketType | None, lateness: Lateness
    ) -> None:
        """Prepare; `sock` is the socket under the connection, or None if there is none."""
        self._lateness = lateness
        self._buffer = buffer
        self._send_timeout = send_timeout
        self._sock = sock
        self._next_sample = math.inf
        self._sample: Progress = _NONE
        self._advanced_at = _NEVER

    def due(self) -> float:
        """When to `check` next, on Trio's clock. Takes the first measurement if something has begun to wait."""
        blocked_since = self._buffer.blocked_since
        if self._next_sample == math.inf and blocked_since is not None:
            self._sample, self._advanced_at = measure(self._buffer, self._sock), blocked_since
            self._next_sample = blocked_since + self._send_timeout / SAMPLES
        return self._next_sample

    def check(self, now: float) -> SlowConsumer | None:
        """`SlowConsumer` if the peer has stalled. The caller then aborts: a Close would have to wait like the rest."""
        if self._buffer.blocked_since is None:
            self._next_sample = math.inf
            self._buffer.is_watched = False
            return None
        if now < self.due():
            return None
        sample = measure(self._buffer, self._sock)
        if sample.arrived != self._sample.arrived:
            self._sample, self._advanced_at = sample, now
        given_up_at = self._advanced_at + self._send_timeout + self._lateness.since(self._advanced_at)
        self._next_sample = min(now + self._send_timeout / SAMPLES, given_up_at)
        return SlowConsumer() if now >= given_up_at else None


@final
class Keepalive:
    """Pings a peer that was silent for ``ping_interval``; finds it lost if it is still silent ``ping_timeout`` later.

    Any byte that comes ends the silence, not only a Pong.
    """

    __slots__ = (
        "_alive_at",
        "_channel",
        "_first_ping_at",
        "_interval",
        "_last_ping_at",
        "_lateness",
        "_progress_at_ping",
        "_sock",
        "_timeout",
    )

    def __init__(
        self, channel: MessageChannel, limits: Limits, sock: trio.socket.SocketType | None, lateness: Lateness
    ) -> None:
        """Prepare; `sock` is the socket under the channel, or None if there is none."""
        self._channel = channel
        self._lateness = lateness
        self._sock = sock
        self._interval = math.inf if limits.ping_interval is None else limits.ping_interval
        self._timeout = math.inf if limits.ping_timeout is None else limits.ping_timeout
        self._alive_at = math.inf  # no Ping is due before `begin`
        self._first_ping_at: float | None = None  # the first Ping since something last came
        self._last_ping_at = _NEVER  # the last Ping of all
        self._progress_at_ping: Progress = _NONE  # at the first of them

    def begin(self, now: float) -> None:
        """Count the peer's silence from now on, which is the time `now`."""
        self._alive_at = now

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        if self._first_ping_at is None:
            return self._alive_at + self._interval
        return min(self._given_up_at(self._first_ping_at), self._last_ping_at + self._interval)

    def check(self, now: float) -> KeepaliveLost | None:
        """`KeepaliveLost` if the peer has been silent for too long. Sends a Ping if one is due."""
        self._alive_at = max(self._alive_at, self._channel.inbound.heard_at)
        if self._channel.read_interest is ReadInterest.PAUSED:  # we do not read, so its silence says nothing
            self._alive_at, self._first_ping_at = now, None
        elif self._first_ping_at is None or self._alive_at >= self._first_ping_at:
            self._first_ping_at = None
            if now >= self._alive_at + self._interval:
                self._progress_at_ping, self._first_ping_at = measure(self._channel.send_buffer, self._sock), now
                self._ask(now)
        elif now >= self._given_up_at(self._first_ping_at):
            reached = measure(self._channel.send_buffer, self._sock)
            if not self._progress_at_ping.behind or reached.arrived == self._progress_at_ping.arrived:
                return KeepaliveLost()
            self._progress_at_ping, self._first_ping_at = reached, now  # bytes before the Ping were still on their way
        elif now >= self._last_ping_at + self._interval:
            self._ask(now)
        return None

    def _given_up_at(self, asked_at: float) -> float:
        return asked_at + self._timeout + self._lateness.since(asked_at)

    def _ask(self, now: float) -> None:
        self._last_ping_at = now
        ping(self._channel.send_buffer)


@final
class WireLiveness:
    """`Keepalive`, `StallDetector` and the times of messages, as a `seawall.connection.timeouts.Liveness`."""

    __slots__ = ("_channel", "_keepalive", "_lateness", "_message_timeout", "_send_timeout", "_sock", "_stall")

    def __init__(
        self, channel: MessageChannel, limits: Limits, sock: trio.socket.SocketType | None, lateness: Lateness
    ) -> None:
        """Prepare; `sock` is the socket under the channel, or None if there is none."""
        self._channel = channel
        self._lateness = lateness
        self._keepalive = Keepalive(channel, limits, sock, lateness)
        self._sock = sock
        self._send_timeout = limits.send_timeout
        self._message_timeout = math.inf if limits.message_timeout is None else limits.message_timeout
        self._stall: StallDetector | None = None  # made when something has to wait; in most connections nothing does

    def begin(self, now: float) -> None:
        """Count the peer's silence from `now` on. Called when the guards have passed and the upgrade is accepted."""
        self._keepalive.begin(now)

    @property
    def message_at(self) -> float:
        """When a message last came, on Trio's clock; the present time while reading is paused."""
        paused = self._channel.read_interest is ReadInterest.PAUSED
        return trio.current_time() if paused else self._channel.inbound.message_at

    def due(self) -> float:
        """When to `check` next, on Trio's clock. Call it again after `SendBlocked` and `MessageBegun`."""
        buffer = self._channel.send_buffer
        unfinished = math.inf if self._channel.timer.noted_at == math.inf else self._finished_by()
        if self._stall is None:
            if buffer.blocked_since is None:
                return min(unfinished, self._keepalive.due())
            self._stall = StallDetector(buffer, self._send_timeout, self._sock, self._lateness)
        return min(unfinished, self._stall.due(), self._keepalive.due())

    def check(self, now: float) -> KeepaliveLost | MessageTimeout | SlowConsumer | None:
        """The error if the peer has stalled, is lost or finishes no message, else None. Sends a Ping if one is due."""
        stalled = None if self._stall is None else self._stall.check(now)
        if stalled is None and now >= self._finished_by():
            return MessageTimeout()
        return stalled or self._keepalive.check(now)

    def _finished_by(self) -> float:
        """When the message has to be complete that is not; ``inf`` if there is none."""
        begun_at = self._channel.timer.begun_at(is_behind=self._channel.queue.above_soft)
        return begun_at if begun_at == math.inf else begun_at + self._message_timeout + self._lateness.since(begun_at)
