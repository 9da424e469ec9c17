"""Receiving a request: from bytes to a route and a handshake, or to the response that the client gets instead.

A request is judged in one order, so that a client learns first what it has to mend first: whether there is room (429,
503; `seawall.serving.capacity`), its head (400, 431, 505), its host (421), whether there is a page or a route at its
path (404), its handshake (405, 426, 400), its origin (403), its subprotocols (400), and at last the route's guards.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Final, Protocol, TypeAlias, final

import trio
from attrs import define, field

from seawall.callables import Parameter
from seawall.handshake import Handshake
from seawall.http.pages import page_response
from seawall.http.request import BadRequest, Head, HeadReader
from seawall.http.response import SerializedResponse, refusal, serialize_response
from seawall.http.upgrade import check_upgrade, plain_handshake, select
from seawall.policy.ending import Cause, End, Ends, http_end
from seawall.printable import safe
from seawall.routing.page_route import AnyPageRoute
from seawall.routing.route import AnyRoute
from seawall.serving.page_request import PageRequest, check_body
from seawall.serving.state import AcceptedConnection, ResolvedSettings, ServerState
from seawall.wire.transport.polled import PolledReceiver
from seawall.wire.transport.poller import Poller

#: Bytes asked of the stream at once.
READ_SIZE: Final = 16 * 1024


@final
@define(eq=False)
class UpgradeRequest:
    """A request for a WebSocket, and the route that its path leads to."""

    handshake: Handshake
    early: bytes = field(repr=False)
    """What the client sent after its request."""
    route: AnyRoute
    params: Mapping[str, Parameter]


#: A request head, and what came after it.
Received: TypeAlias = tuple[Head, bytes]


class Source(Protocol):
    """What a head can be read from: a stream, for instance."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """At least one byte; none at the end."""
        ...


async def read_head(
    stream: trio.abc.ReceiveStream, poller: Poller | None = None, accepted: AcceptedConnection | None = None
) -> Received | None:
    """Read until the request head is whole.

    The caller bounds the time.

    Args:
      stream: what to read from.
      poller: waits for `stream`, if that is a plain socket.
      accepted: is told when the first byte has come.

    Returns:
      The head and the bytes that came after it; None if the peer has gone before the head was whole.

    Raises:
      BadRequest: the head is malformed or too large, or asks for what is not supported.
    """
    if poller is None or not isinstance(stream, trio.SocketStream):
        return await _read(stream, accepted)
    with closing(PolledReceiver(poller, stream)) as receiver:
        return await _read(receiver, accepted)


async def _read(source: Source, accepted: AcceptedConnection | None) -> Received | None:
    reader = HeadReader()
    while True:
        try:
            data = await source.receive_some(READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            if accepted is not None and _is_no_tls(broken):
                accepted.silent = False
            return None
        if not data:
            return None
        if accepted is not None:
            accepted.silent = False
        head = reader.receive_data(bytes(data))
        if head is not None:
            return head, reader.rest


def _is_no_tls(broken: Exception) -> bool:
    """Whether a TLS handshake has failed because of what the peer sent, and not because it has left."""
    cause = broken.__cause__
    return isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)


async def receive_request(accepted: AcceptedConnection, server: ServerState) -> UpgradeRequest | PageRequest | Ends:
    """Read a request and find its route. The caller bounds the time.

    Returns:
      The request; or how the connection ends if nothing is found at its path, is a fixed page, or never comes.
    """
    try:
        received = await read_head(accepted.stream, server.poller, accepted)
        if received is None:
            return Ends(End(Cause.PEER_VANISHED, 1006, "before its request", silent=accepted.silent))
        accepted.head_only = received[0].method == "HEAD"
        return _find(*received, accepted, server)
    except BadRequest as bad:
        return http_end(refusal(bad.status, bad.reason, headers=bad.headers))


def _find(
    head: Head, early: bytes, accepted: AcceptedConnection, server: ServerState
) -> UpgradeRequest | PageRequest | Ends:
    """The page or the route of a request. Raises `BadRequest` if it is no opening handshake."""
    # Where there is only a page, an upgrade is 404; in HTTP/1.0 the field means nothing (RFC 9110, section 7.8).
    wants_upgrade = head.wants_upgrade
    page = None if wants_upgrade and head.version != "1.0" else server.pages.get(head.path)
    if not accepted.hosts.admits(head.host, secure=accepted.secure):
        answer = refusal(421, "this host is not served here")
        return http_end(answer, accepted.hosts.explain(head.host))
    if head.has_body:
        check_body(head, page)
    found = server.routes.find(head.path)
    if found is None or not wants_upgrade:
        if isinstance(page, AnyPageRoute):
            plain = plain_handshake(head, peer=accepted.address, secure=accepted.secure)
            return _refuse_page(page, plain, head.method, server) or PageRequest(page, head, plain, early)
        return http_end(page_response(head, page, is_route=found is not None), safe(ascii(head.path)))
    asked = check_upgrade(head, peer=accepted.address, secure=accepted.secure)
    route, params = found
    return UpgradeRequest(asked, early, route, params)


def _refuse_page(page: AnyPageRoute, asked: Handshake, method: str, server: ServerState) -> Ends | None:
    """How the connection ends if the request is not for the page's function; None if it is."""
    allow = (("Allow", page.allowed),)
    if method == "OPTIONS":
        return http_end(SerializedResponse(200, "options", serialize_response(200, b"", headers=allow)))
    if not page.takes(method):
        return http_end(refusal(405, f"only {page.allowed}", headers=allow), safe(ascii(page.path)))
    if method == "POST":
        if not server.origins.admits(asked):
            return http_end(refusal(403, "origin not allowed"), server.origins.explain(asked))
        if asked.origin is None and asked.header("cookie") is not None:
            # Every browser names the page that posts; without that, another site may have posted with these cookies.
            return http_end(refusal(403, "a request with cookies needs an origin"), safe(ascii(page.path)))
    return None


def refuse_upgrade(request: UpgradeRequest, settings: ResolvedSettings) -> Ends | None:
    """How the connection ends if its origin, or none of its subprotocols, is one of the route's; None if both are."""
    asked = request.handshake
    if not settings.origins.admits(asked):
        return http_end(refusal(403, "origin not allowed"), settings.origins.explain(asked))
    if asked.subprotocols and select(asked.subprotocols, settings.subprotocols) is None:
        # What was offered is not logged: some clients put a token there.
        why = f"none of those offered is in subprotocols={safe(ascii(list(settings.subprotocols)))}"
        return http_end(refusal(400, "no subprotocol in common"), why)
    return None
