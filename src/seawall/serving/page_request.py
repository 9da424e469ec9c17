"""Answering a request for a page that is made on request: its body, its guard, its function."""

from __future__ import annotations

from functools import partial
from typing import Final, final

import trio
from attrs import define, frozen

from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.handshake import Handshake
from seawall.http.request import BadRequest, Head
from seawall.lifespan import Values
from seawall.policy.ending import Cause, End, Ends
from seawall.printable import safe
from seawall.routing.page_route import AnyPageRoute, Posted
from seawall.serving.resources import in_own_task

#: Bytes of a body that are read: a form, not an upload.
MAX_BODY: Final = 64 * 1024

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@final
@define(eq=False)
class PageRequest:
    """A request for a page on request, whose body has not been read."""

    page: AnyPageRoute
    head: Head
    handshake: Handshake
    early: bytes
    """What the client sent after its request's head."""


def check_body(head: Head, page: object) -> None:
    """Refuse a body that is not read: only a page that is posted to has one, and its length has to be known.

    Raises:
      BadRequest: 400, 411 or 413.
    """
    if not head.has_body:
        return
    head_only = head.method == "HEAD"
    if not (head.method == "POST" and isinstance(page, AnyPageRoute) and page.takes("POST")):
        raise BadRequest(400, "request with a body", head_only=head_only)
    if head.is_chunked:
        raise BadRequest(411, "a body needs its length")
    if head.content_length > MAX_BODY:
        raise BadRequest(413, "body too large")


async def answer(request: PageRequest, stream: trio.abc.Stream, gate: Gate, values: Values) -> Ends:
    """Read the body, ask guard and function, and say how the connection ends: with their answer. It bounds no time.

    Raises what guard and function raise, in a group.
    """
    try:
        body = await _read_body(request, stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        body = None
    if body is None:
        return Ends(End(Cause.PEER_VANISHED, 1006, "before its request was whole"))
    head = request.head
    posted = Posted(method="GET" if head.method == "HEAD" else head.method, handshake=request.handshake, body=body)
    response = await in_own_task(partial(request.page.respond, gate, posted, values), name=f"page {request.page.path}")
    serialized = response.serialize(head_only=head.method == "HEAD")
    return Ends(End(Cause.ANSWERED, serialized.status, serialized.text, safe(ascii(head.path))), serialized)


async def _read_body(request: PageRequest, stream: trio.abc.Stream) -> bytes | None:
    """The body, as long as the head says; None if the peer has gone before it was whole. What comes after is left."""
    length, body = request.head.content_length, bytearray(request.early)
    if length > len(body) and _expects_continue(request):
        await stream.send_all(_CONTINUE)
    while len(body) < length:
        data = await stream.receive_some(length - len(body))
        if not data:
            return None
        body += data
    return bytes(body[:length])


def _expects_continue(request: PageRequest) -> bool:
    """Whether the client waits to be told to send its body (RFC 9110, section 10.1.1)."""
    expected = request.handshake.header("expect") or ""
    return request.head.version != "1.0" and expected.lower() == "100-continue"


@final
@frozen
class NoUpgrade:
    """The `Upgrade` of a page: there is none to accept."""

    @property
    def accepted(self) -> bool:
        """False."""
        return False

    async def accept(self) -> None:
        """Refuse: a page has no WebSocket."""
        raise ConfigurationError(
            "gate.accept() on a page, which has no WebSocket; let the guards of a page read the request only"
        )

    async def receive(self) -> str | bytes:
        """Refuse, as `accept` does."""
        raise ConfigurationError("a page has no WebSocket to receive from")

    async def send(self, text: str, /) -> None:
        """Refuse, as `accept` does."""
        raise ConfigurationError("a page has no WebSocket to send to")
