"""`Outcome`: how a connection ended, for the application and the log."""

from __future__ import annotations

from typing import final

from attrs import frozen

from seawall.policy.ending import Cause


@final
@frozen(kw_only=True)
class Outcome:
    """How one connection ended, for ``App(on_end=...)`` and the log."""

    cause: Cause
    """Why it ended; ``cause.by`` says which side ended it."""
    code: int
    """The close code, ours or the peer's; the HTTP status if there never was an upgrade; 1006 if the peer vanished."""
    reason: str
    """The reason that went with the code."""
    detail: str
    """The failure behind it: its type and text, or the path or origin asked for; bounded, escaped, never sent."""
    rule: str
    """The type that the error policy's rule names, if a rule decided, such as ``Unauthorized``."""
    connection: str
    """The connection's id."""
    peer: str
    """The other end of the socket."""
    route: str
    """The route's name; empty if it never got that far."""
    principal: str
    """The principal that the guards proved, as `PrincipalNames` show it. Empty if they proved none."""
    seconds: float
    """How long it lasted, from being accepted until the socket and all resources were gone."""
    messages_in: int
    """Messages from the peer, including those that the handler never took."""
    messages_dropped: int = 0
    """Of these, those that were thrown away because nobody received them, without `Connection.discard_input`."""
    messages_out: int
    """Messages to the peer."""
    bytes_in: int
    """Bytes from the peer after its request, frame headers included, as the network carried them inside TLS."""
    bytes_out: int
    """Bytes to the peer that the network has taken, the answer to the handshake included; likewise."""
    silent: bool = False
    """Whether the peer never sent a byte: a health check, or a connection that a browser keeps in reserve."""
