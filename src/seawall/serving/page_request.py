"""Answering a request for a page that is made on request: its body, its guard, its function."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, TypeVar, final

import trio
from attrs import define, field, frozen

from seawall.callables import Parameter
from seawall.clock import unix_time
from seawall.connection.session_table import SessionTable
from seawall.errors import ConfigurationError, LeaseExpired, Unauthorized
from seawall.guards.connection_limit import ConnectionLimit, LimitedGate
from seawall.guards.credential import Credential
from seawall.guards.gate import Gate
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.token_gate import admit
from seawall.handshake import Handshake
from seawall.http.request import BadRequest, Head
from seawall.lifespan import Provided, Values
from seawall.policy.ending import Cause, End, Ends
from seawall.printable import safe
from seawall.routing.page_route import AnyPageRoute, Posted
from seawall.serving.disconnect import DisconnectWatch
from seawall.serving.resources import ResourceStack, in_own_task
from seawall.serving.state import AcceptedConnection

C = TypeVar("C", bound=AnyClaims)
T = TypeVar("T")

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
    early: bytes = field(repr=False)
    """What the client sent after its request's head."""


def check_body(head: Head, page: object) -> None:
    """Refuse the body that `head` announces if it is not read.

    Only a page that is posted to has one, and its length has to be known.

    Raises:
      BadRequest: 400, 411 or 413.
    """
    if not (head.method == "POST" and isinstance(page, AnyPageRoute) and page.takes("POST")):
        raise BadRequest(400, "request with a body")
    if head.is_chunked:
        raise BadRequest(411, "a body needs its length")
    if head.content_length > MAX_BODY:
        raise BadRequest(413, "body too large")


async def answer(request: PageRequest, incoming: AcceptedConnection, gate: PageGate, watch: DisconnectWatch) -> Ends:
    """Read the body, ask guard and function, and say how the connection ends: with their answer. It bounds no time.

    While guard and function run, `watch` does.

    Raises what guard and function raise, in a group.
    """
    try:
        body = await _read_body(request, incoming.stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        body = None
    incoming.place.work()
    if body is None:
        return Ends(End(Cause.PEER_VANISHED, 1006, "before its request was whole"))
    head = request.head
    posted = Posted(method="GET" if head.method == "HEAD" else head.method, handshake=request.handshake, body=body)
    del body  # it may hold a password, and who reports a failure may report the variables of all frames
    response = await in_own_task(
        partial(request.page.respond, gate, posted, gate.values), name=f"page {request.page.path}", beside=watch.run
    )
    serialized = response.serialize()
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
@frozen(eq=False, repr=False)
class PageGate(Gate, LimitedGate):
    """The `Gate` of a request for a page. It is over with the answer: nothing is leased, and no place is taken.

    A page is not among the sessions, so that one which revokes the session of its visitor can still answer.
    """

    asked: Handshake
    values: Values
    sessions: SessionTable
    resources: ResourceStack

    @property
    def handshake(self) -> Handshake:
        """What the client asked for."""
        return self.asked

    @property
    def params(self) -> Mapping[str, Parameter]:
        """None: the path of a page is exact."""
        return {}

    async def enter(self, context_manager: AbstractAsyncContextManager[T], /) -> T:
        """Hold a resource until the page has been answered."""
        return await self.resources.enter(context_manager)

    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`."""
        return self.values.get(handle)

    def lease(self, *, expires_at: float) -> None:
        """Refuse what has run out already."""
        if not expires_at > unix_time():
            raise LeaseExpired

    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Refuse a credential that has been revoked."""
        if self.sessions.is_revoked(credential, skew):
            raise Unauthorized("the credential was revoked")

    def limit(self, limit: ConnectionLimit, /) -> None:
        """Do nothing: a page is not among the connections that are counted."""

    async def admit_by(self, verifier: TokenVerifier[C], token: str, /) -> C:
        """Refuse a token that is not good."""
        return await admit(self, verifier, token)

    async def accept(self) -> None:
        """Refuse: a page has no WebSocket."""
        raise _no_websocket("accept")

    async def receive_text(self) -> str:
        """Refuse, as `accept` does."""
        raise _no_websocket("receive_text")

    async def send_text(self, text: str, /) -> None:
        """Refuse, as `accept` does."""
        raise _no_websocket("send_text")


def _no_websocket(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"gate.{what}() for a page, which has no WebSocket; let the guards of a page read the request only"
    )
