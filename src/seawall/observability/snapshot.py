"""`ConnectionSnapshot`: a connection that is open, as it is at one moment."""

from __future__ import annotations

from typing import final

from attrs import field, frozen


@final
@frozen(kw_only=True)
class ConnectionSnapshot:
    """One connection at the moment when it was asked for; ``server.connections`` has one of each."""

    id: str
    """Names it in the log, and for `Server.end`."""
    peer: str
    """The other end of the socket."""
    route: str
    """The route's name; empty until the request has named one."""
    principal: object = field(repr=False)
    """What the guards have proved, after a renewal the new one; None until they have."""
    since: float
    """When it was accepted, in Unix time."""
    messages_in: int
    """Messages from the peer so far, including those that the handler has not taken."""
    messages_out: int
    """Messages to the peer so far, including what still waits to be written."""
    bytes_in: int
    """Bytes from the peer after its request, frame headers included, as the network carried them inside TLS."""
    bytes_out: int
    """Bytes to the peer that the network has taken; likewise."""
    pending_bytes: int
    """Bytes that wait to be written, because the peer does not take them."""
    lease_ends_at: float | None
    """When the first of its leases ends, in Unix time; None if it has none."""
