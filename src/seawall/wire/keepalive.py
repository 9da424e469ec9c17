"""`Keepalive`: whether the peer of a connection is still there, and takes what it is sent.

A socket alone does not say so. A kernel keeps a connection whose cable has been cut for hours, and its buffers hide for
minutes that nobody reads. So the peer is asked, by a Ping after a time of silence; and the kernel is asked how much of
what we have written has been acknowledged, because a peer that reads slowly is not one that does not read.
"""

from __future__ import annotations

import math
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final, final

import trio
from attrs import frozen

from seawall.errors import KeepaliveLost, SlowConsumer
from seawall.limits import Limits
from seawall.wire.channel import MessageChannel
from seawall.wire.transport import ReadInterest

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


_NONE: Final = Progress(0, behind=False)


@final
class Keepalive:
    """Looked at by the server's sweeper, when `due` says so."""

    __slots__ = (
        "_advanced_at",
        "_alive_at",
        "_asked_at",
        "_at_ping",
        "_channel",
        "_interval",
        "_next_sample",
        "_on_due",
        "_patience",
        "_pinged_at",
        "_sample",
        "_send_timeout",
        "_transport",
    )

    def __init__(
        self,
        channel: MessageChannel,
        limits: Limits,
        transport: trio.socket.SocketType | None,
        *,
        on_due: Callable[[], None],
    ) -> None:
        """Begin; `transport` is the socket under it all, and `on_due` is called when `due` has become earlier."""
        self._channel = channel
        self._send_timeout = limits.send_timeout
        self._interval = math.inf if limits.ping_interval is None else limits.ping_interval
        self._patience = math.inf if limits.ping_timeout is None else limits.ping_timeout
        self._transport = transport
        self._on_due = on_due
        self._next_sample = math.inf
        self._advanced_at = -math.inf
        self._sample: Progress = _NONE
        self._alive_at = math.inf
        self._pinged_at: float | None = None  # the first Ping that has not been answered
        self._asked_at = -math.inf  # the last one
        self._at_ping: Progress = _NONE
        channel.on_blocked = self._on_blocked

    def begin(self) -> None:
        """Ask the peer from now on, when it is silent."""
        self._alive_at = trio.current_time()

    @property
    def message_at(self) -> float:
        """When a message last came; now, while it is we who do not read."""
        return trio.current_time() if self._channel.read_interest is ReadInterest.PAUSED else self._channel.message_at

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        if self._pinged_at is None:
            return min(self._next_sample, self._alive_at + self._interval)
        return min(self._next_sample, self._pinged_at + self._patience, self._asked_at + self._interval)

    def check(self, now: float) -> KeepaliveLost | SlowConsumer | None:
        """What is wrong with the peer, if anything. It is sent a Ping when it is time."""
        if self._has_stalled(now):
            self._channel.abort()  # a Close would be stuck as well
            return SlowConsumer()
        return self._check_keepalive(now)

    def _has_stalled(self, now: float) -> bool:
        if not self._channel.out.pending:
            self._next_sample = math.inf
            return False
        sample = self._measure()
        if sample.arrived != self._sample.arrived:
            self._sample, self._advanced_at = sample, now
        self._next_sample = min(now + self._send_timeout / SAMPLES, self._advanced_at + self._send_timeout)
        return now >= self._advanced_at + self._send_timeout

    def _check_keepalive(self, now: float) -> KeepaliveLost | None:
        self._alive_at = max(self._alive_at, self._channel.heard_at)
        if self._channel.read_interest is ReadInterest.PAUSED:  # we would not hear it
            self._alive_at, self._pinged_at = now, None
        elif self._pinged_at is None or self._alive_at >= self._pinged_at:
            self._pinged_at = None
            if now >= self._alive_at + self._interval:
                self._at_ping, self._pinged_at = self._measure(), now
                self._ask(now)
        elif now >= self._pinged_at + self._patience:
            reached = self._measure()
            if not self._at_ping.behind or reached.arrived == self._at_ping.arrived:
                return KeepaliveLost()
            self._at_ping, self._pinged_at = reached, now  # what lay before the Ping was still on its way
        elif now >= self._asked_at + self._interval:
            self._ask(now)
        return None

    def _ask(self, now: float) -> None:
        self._asked_at = now
        self._channel.ping()

    def _on_blocked(self) -> None:
        if self._next_sample == math.inf:
            now = trio.current_time()
            self._sample, self._advanced_at = self._measure(), now
            self._next_sample = now + self._send_timeout / SAMPLES
            self._on_due()

    def _measure(self) -> Progress:
        """Ask the kernel; where it cannot tell, what it has taken has to do."""
        if sys.platform == "linux" and self._transport is not None:
            try:
                info = self._transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            except OSError:
                pass  # no TCP
            else:
                in_flight, arrived, waiting = _TCP_INFO.unpack(info.ljust(_TCP_INFO.size, b"\0"))
                return Progress(arrived, behind=bool(in_flight or waiting or self._channel.out.pending))
        return Progress(self._channel.out.gone, behind=bool(self._channel.out.pending))
