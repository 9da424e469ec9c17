"""Snapshots of connections, put together from their parts."""

from __future__ import annotations

import math

import trio

from seawall.clock import unix_time
from seawall.connection.lifecycle import Lifecycle
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.serving.failures import FailureHandler
from seawall.serving.state import AcceptedConnection
from seawall.wire.channel import MessageChannel
from seawall.wire.traffic import Traffic


def snapshot_of(
    accepted: AcceptedConnection, lifecycle: Lifecycle, failures: FailureHandler, channel: MessageChannel | None
) -> ConnectionSnapshot | None:
    """The connection as it is now; None if its end has been recorded."""
    if lifecycle.ended is not None:
        return None
    wall, now, lease = unix_time(), trio.current_time(), lifecycle.timeouts.leases.ends_at
    traffic = Traffic() if channel is None else channel.traffic()
    return ConnectionSnapshot(
        id=accepted.id,
        peer=accepted.address,
        route=failures.route,
        principal=failures.principal,
        since=wall - (now - accepted.at),
        messages_in=traffic.messages_in,
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        pending_bytes=0 if channel is None else len(channel.send_buffer.pending),
        lease_ends_at=None if lease == math.inf else wall + (lease - now),
    )
