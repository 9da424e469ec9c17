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
        """Enter a resource, and leave it when the connection is over.

        It is entered in a task of its own, so that it may open a nursery. Resources are left in reverse order; the
        exception that ended the handler, if any, is raised in the block of each.
        """

    @abstractmethod
    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`, as in `Connection.provided`."""

    @abstractmethod
    def lease(self, *, expires_at: float, renew: Renew | None = None) -> None:
        """Limit what the guard proves to a deadline, at which the connection ends with close code 3000.

        Args:
          expires_at: when, in Unix time (seconds, as a token's ``exp``).
          renew: what `Connection.renew` calls: proves the same principal from a new token and returns the new end.
        """

    @abstractmethod
    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Name the credential by which the connection is let in; revoking it ends the connection. See `App.sessions`.

        Another call adds a credential: the connection ends when one of them is revoked. It counts among the connections
        of the subject, by the same issuer, until it is over and all tasks of its handler have ended.

        Args:
          credential: its subject, its id and when it was issued, as in `Claims`.
          instead_of: a credential from an earlier call that counts no more, as when a lease is renewed.
          skew: by how many seconds the issuer's clock may differ from ours: revoking the subject refuses what was
            issued up to so much later. `bearer` hands on what its verifier allows.

        Raises:
          Unauthorized: it has been revoked, or that is not known any more; see `App`, ``revocations_kept``.
          TooManyRequests: its subject has ``Limits.max_connections_per_subject`` connections.
          ConfigurationError: an attribute of it has another type than `Credential` says, or the skew is no number of
            seconds.
        """

    @abstractmethod
    async def accept(self) -> None:
        """Accept the upgrade now, to exchange messages. A later refusal is a close code. May be called again."""

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
