"""`Gate`: what a guard may see and do while it decides about one connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias, TypeVar

from seawall.callables import Parameter
from seawall.guards.credential import Credential
from seawall.handshake import Handshake
from seawall.lifespan import Provided

T = TypeVar("T")

#: Proves the same principal from a new token, and returns when that proof ends, in Unix time.
Renew: TypeAlias = Callable[[str], Awaitable[float]]


class Gate(ABC):
    """What a guard may see and do while it decides about one connection."""

    @property
    @abstractmethod
    def handshake(self) -> Handshake:
        """What the client asked for."""

    @property
    @abstractmethod
    def params(self) -> Mapping[str, Parameter]:
        """The path parameters, converted."""

    @abstractmethod
    async def enter(self, context_manager: AbstractAsyncContextManager[T], /) -> T:
        """Hold a resource for exactly the life of the connection.

        It is entered in a task of its own, so it may hold a nursery. When the connection is over, resources are left
        in reverse order, each told the exception that ended the handler.
        """

    @abstractmethod
    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`, as in `Connection.provided`."""

    @abstractmethod
    def lease(self, *, expires_at: float, renew: Renew | None = None) -> None:
        """Prove only until a deadline; the connection then ends with close code 3000.

        Args:
          expires_at: when, in Unix time (seconds, as a token's ``exp``).
          renew: what `Connection.renew` calls: proves the same principal from a new token and returns the new end.
        """

    @abstractmethod
    def identify(self, credential: Credential, *, instead_of: Credential | None = None) -> None:
        """Say by what the connection is let in, so that it ends when that is revoked; see `App.sessions`.

        Called again it adds a credential: the connection ends with whichever is revoked first. Its place among those
        of the subject is free when the connection is over, with all that its handler does.

        Args:
          credential: whom it is about, which one it is and since when, as `Claims` have it.
          instead_of: one that it was let in by before and that counts no more, when a lease is renewed.

        Raises:
          Unauthorized: it has been revoked.
          TooManyRequests: its subject has ``Limits.max_connections_per_subject`` connections.
        """

    @abstractmethod
    async def accept(self) -> None:
        """Accept the upgrade now, in order to talk; a refusal is a close code from here on. Idempotent."""

    @abstractmethod
    async def receive_text(self) -> str:
        """The next message, after `accept`.

        Raises:
          Unauthorized: it is binary.
          Disconnected: the peer has gone.
        """

    @abstractmethod
    async def send_text(self, text: str, /) -> None:
        """Send a message, after `accept`. Raises `Disconnected` when the peer has gone."""
