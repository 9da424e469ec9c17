"""`EventGate`: what the guard of an event may see and do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NoReturn, TypeVar, final

import trio

from seawall.callables import Parameter
from seawall.connection.state import ConnectionState
from seawall.errors import ConfigurationError
from seawall.guards.credential import Credential
from seawall.guards.gate import Gate
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.handshake import Handshake
from seawall.lifespan import Provided

C = TypeVar("C", bound=AnyClaims)
T = TypeVar("T")


@final
class EventGate(Gate):
    """The gate of one event, on a connection that is open.

    A guard may look at the handshake, at the path and at lifespan values, and may enter resources, which are left in
    reverse order when that event has ended. It was decided at the door how long the connection is good and by what it
    can be revoked, and the conversation is that of the events; so the rest raises `ConfigurationError`.
    """

    def __init__(self, state: ConnectionState, arguments: Mapping[str, Parameter], resources: AsyncExitStack) -> None:
        """For one event of the connection of `state`."""
        self._state = state
        self._arguments = arguments
        self._resources = resources

    @property
    def handshake(self) -> Handshake:
        """What the client asked for when it connected."""
        return self._state.handshake

    @property
    def params(self) -> Mapping[str, Parameter]:
        """The path parameters, as they were handed to the events."""
        return self._arguments

    async def enter(self, context_manager: AbstractAsyncContextManager[T], /) -> T:
        """Enter a resource, in the task of the event, and leave it when the event has ended."""
        return await self._resources.enter_async_context(context_manager)

    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`."""
        return self._state.values.get(handle)

    def lease(self, *, expires_at: float) -> None:
        """Raise: the connection was let in by its route's guards."""
        _refuse("lease")

    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Raise, likewise."""
        _refuse("identify")

    async def admit_by(self, verifier: TokenVerifier[C], token: str, /) -> C:
        """Raise, likewise."""
        await trio.lowlevel.checkpoint()
        _refuse("admit_by")

    async def accept(self) -> None:
        """Raise, likewise."""
        await trio.lowlevel.checkpoint()
        _refuse("accept")

    async def receive_text(self) -> str:
        """Raise, likewise."""
        await trio.lowlevel.checkpoint()
        _refuse("receive_text")

    async def send_text(self, text: str, /) -> None:
        """Raise, likewise."""
        await trio.lowlevel.checkpoint()
        _refuse("send_text")


def _refuse(what: str) -> NoReturn:
    raise ConfigurationError(
        f"gate.{what}() in the guard of an event: the connection has been let in; put what uses it into the guard of "
        "the route"
    )
