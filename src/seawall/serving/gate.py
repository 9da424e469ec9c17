"""The `Gate` of one connection: what its guards may see and do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol, TypeVar, final

import trio
from attrs import define, evolve, field, frozen

from seawall.callables import Parameter
from seawall.connection.leases import Notice
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.session_table import Registration
from seawall.connection.state import ConnectionState
from seawall.connection.subscriptions import Subscriptions
from seawall.errors import ConfigurationError, Disconnected, Unauthorized
from seawall.guards.auth_message import token_in
from seawall.guards.connection_limit import ConnectionLimit, LimitedGate
from seawall.guards.credential import Credential
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.lease_terms import LeaseTerms
from seawall.guards.sources import FirstMessage, TicketQuery
from seawall.guards.token_gate import Presented, Taken, TokenGate, admit
from seawall.handshake import Handshake
from seawall.lifespan import Provided, Values
from seawall.messages.codec import JSON, Sendable
from seawall.serving.capacity import Place
from seawall.serving.eviction import Waiting
from seawall.serving.resources import ResourceStack
from seawall.serving.tickets import Redeemer
from seawall.wire.frames.encoder import Frame
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.trio_websocket import TrioWebSocketAdapter

C = TypeVar("C", bound=AnyClaims)
T = TypeVar("T")


class Upgrade(Protocol):
    """The upgrade that a request asks for, and the messages after it."""

    @property
    def accepted(self) -> bool:
        """Whether it has been accepted."""
        ...

    @property
    def speaks_json(self) -> bool:
        """Whether the messages after it are JSON."""
        ...

    async def accept(self) -> None:
        """Accept it, if that has not happened yet. Raises `Disconnected` when the peer has gone."""
        ...

    async def receive(self) -> str | bytes:
        """The next message. Raises `Disconnected` when the peer has gone."""
        ...

    async def send(self, text: str, /) -> None:
        """Send a message. Raises `Disconnected` when the peer has gone."""
        ...

    def notice(self, message: Sendable, /) -> Notice:
        """What sends `message` later. Raises as `MessageFormat.frame`."""
        ...

    @property
    def subscriptions(self) -> Subscriptions:
        """Those of the connection, once it is handled."""
        ...


@final
@define(kw_only=True, eq=False, repr=False)  # not frozen, as `ConnectionState` is not
class ConnectionGate(TokenGate, LimitedGate):
    """The `Gate` of one connection. Only `upgrade` needs a socket, so that a test can put something else there."""

    asked: Handshake
    arguments: Mapping[str, Parameter]
    values: Values
    lifecycle: Lifecycle
    registration: Registration
    resources: ResourceStack
    upgrade: Upgrade
    tickets: Redeemer | None = None
    """Takes the tickets of the route; None if it has none."""
    taken: Taken | None = field(init=False, default=None)
    """The first token by which it was let in; None if there was none."""
    ack: str | None = field(init=False, default=None)
    """What the peer is sent when all guards have let it through."""
    attempts: int = field(init=False, default=0)
    """So many tokens have been presented to guards."""

    @property
    def handshake(self) -> Handshake:
        """What the client asked for."""
        return self.asked

    @property
    def params(self) -> Mapping[str, Parameter]:
        """The path parameters, converted."""
        return self.arguments

    async def enter(self, context_manager: AbstractAsyncContextManager[T], /) -> T:
        """Hold a resource for the life of the connection."""
        return await self.resources.enter(context_manager)

    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`."""
        return self.values.get(handle)

    def lease(self, *, expires_at: float) -> None:
        """Prove only until `expires_at`, in Unix time."""
        self.lifecycle.lease(expires_at)

    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Say by what the connection is let in."""
        self.registration.identify(credential, instead_of, skew)

    def limit(self, limit: ConnectionLimit, /) -> None:
        """Count the connection for `limit`."""
        self.registration.limit(limit)

    async def take(self, verifier: TokenVerifier[C], presented: Presented, /) -> C:
        """Let in by a token, which a renewal can replace."""
        self.attempts += 1
        taken = Taken(verifier, presented.source, self.attempts)
        if isinstance(presented.source, TicketQuery):
            presented = await self._redeemed(presented, presented.source)
        claims = await admit(self, verifier, presented.token)
        self.taken = self.taken or taken
        if isinstance(presented.source, FirstMessage):
            self.ack = presented.source.ack
        self._agree(presented.terms)
        return claims

    async def _redeemed(self, presented: Presented, source: TicketQuery) -> Presented:
        """The token for which a ticket was presented. It stands in the handshake from now on, for a renewal."""
        if self.tickets is None:
            raise ConfigurationError(
                f"query({source.name!r}) in a guard that does not say so, so that nobody can have a ticket for it; let "
                "takes_tickets() of the guard that asks it return what it returns"
            )
        token = await self.tickets.redeem(presented.token)
        self.asked = source.with_token(self.asked, token)
        return evolve(presented, token=token)

    def _agree(self, terms: LeaseTerms) -> None:
        """Prepare the warning, and let the connection end after ``max_age``, whatever is renewed."""
        leases = self.lifecycle.timeouts.own_leases()
        if terms.warn is not None:
            leases.warning.tell_peer(self.upgrade.notice(terms.warn))
        if terms.max_age is not None:
            leases.fix(terms.max_age)
            self.lifecycle.rearm()

    async def first_message(self) -> str:
        """Accept the upgrade, and read the token."""
        await self.accept()
        text = (await self.receive_text()).strip(" \t\r\n")
        return token_in(text) if self.upgrade.speaks_json else text

    async def let_in(self) -> None:
        """Accept the upgrade, if no guard has, because all have let it through; and tell a peer that waits for that.

        If it has been revoked meanwhile, this does not return.
        """
        await self.upgrade.accept()
        if self.ack is not None:
            await self.upgrade.send(self.ack)
        if self.lifecycle.ended is None and self.lifecycle.timeouts.expired is not None:
            await trio.sleep_forever()  # until the `DeadlineQueue` has its turn, which comes next

    async def accept(self) -> None:
        """Accept the upgrade now."""
        await self.upgrade.accept()

    async def receive_text(self) -> str:
        """The next message, if it is text."""
        self._check_accepted("receive_text")
        message = await self.upgrade.receive()
        if isinstance(message, bytes):
            raise Unauthorized("a binary message where text was expected")
        return message

    async def send_text(self, text: str, /) -> None:
        """Send a message."""
        self._check_accepted("send_text")
        await self.upgrade.send(text)

    def _check_accepted(self, what: str) -> None:
        if not self.upgrade.accepted:
            raise ConfigurationError(
                f"gate.{what}() before the upgrade: there is no conversation yet; await gate.accept()"
            )


@final
@define(eq=False)
class WebSocketUpgrade:
    """The `Upgrade` of a connection with a wire."""

    state: ConnectionState
    adapter: TrioWebSocketAdapter
    place: Place

    @property
    def accepted(self) -> bool:
        """Whether it has been accepted."""
        return self.state.channel.accepted

    @property
    def speaks_json(self) -> bool:
        """Whether the messages of the route are JSON."""
        return isinstance(self.state.format.codec, JSON)

    @property
    def subscriptions(self) -> Subscriptions:
        """Those of the connection."""
        return self.state.subscriptions

    async def accept(self) -> None:
        """Accept it, if that has not happened yet."""
        if self.accepted:
            await trio.lowlevel.checkpoint()
            return
        if self.state.lifecycle.ended is not None:
            raise Disconnected(self.state.id)
        try:
            await self.adapter.accept(self.state.subprotocol)
        except trio.BrokenResourceError:
            raise Disconnected(self.state.id) from None

    async def receive(self) -> str | bytes:
        """The next message."""
        self.place.wait(Waiting.MESSAGE)
        try:
            return await self.state.channel.receive_for_guard()
        except trio.EndOfChannel:
            raise Disconnected(self.state.id) from None
        finally:
            self.place.work()

    async def send(self, text: str, /) -> None:
        """Send a message."""
        if self.state.channel.send_buffer.pending:  # there may be no room before the peer has read some of that
            self.place.wait(Waiting.ROOM)
        try:
            await self.state.channel.send(text)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise Disconnected(self.state.id) from None
        finally:
            self.place.work()

    def notice(self, message: Sendable, /) -> Notice:
        """What sends `message` later, which is encoded now: what is wrong with it fails in the guard."""
        return _FrameNotice(self.state.channel.send_buffer, self.state.format.frame(message))


@final
@frozen(eq=False)
class _FrameNotice:
    """One frame, for a peer that takes what it is sent."""

    buffer: SendBuffer
    frame: Frame = field(repr=False)

    def send(self) -> None:
        """Send it now, unless it would have to wait behind others, or the connection is about to be closed."""
        with suppress(trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            self.buffer.put_message_nowait(self.frame)
