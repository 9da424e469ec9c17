"""`Gate`: what a guard may see and do while it decides about one connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from seawall.callables import Parameter
from seawall.guards.credential import Credential
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.handshake import Handshake
from seawall.lifespan import Provided

C = TypeVar("C", bound=AnyClaims)
T = TypeVar("T")


class Gate(ABC):
    """What a guard may see and do while it decides about one connection.

    When the handler calls `Connection.renew`, the guards are asked again, over a gate in whose handshake the new token
    stands where the old one was found. It has no messages: `receive_text` and `send_text` raise `ConfigurationError`.
    What the guards tell it (`lease`, `identify`) replaces what they told the first one, when all have let it through.
    """

    def __repr__(self) -> str:
        """Show what was asked for, without what may carry a credential."""
        return f"{type(self).__name__}(handshake={self.handshake!r})"

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

        In a renewal nothing is entered: this returns what was, if the same function made the context manager in the
        same place among all that the guards enter.

        Raises:
          Unauthorized: in a renewal, if it is another one: such a connection cannot be renewed, only opened anew.
        """

    @abstractmethod
    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`, as in `Connection.provided`."""

    @abstractmethod
    def lease(self, *, expires_at: float) -> None:
        """Limit what the guard proves to a deadline, at which the connection ends with close code 3000.

        Args:
          expires_at: when, in Unix time (seconds, as a token's ``exp``).

        Raises:
          ConfigurationError: it is NaN.
        """

    @abstractmethod
    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Name the credential by which the connection is let in; revoking it ends the connection. See `App.sessions`.

        Another call adds a credential: the connection ends when one of them is revoked. It counts among the connections
        of the subject, by the same issuer, until it is over and all tasks of its handler have ended.

        Args:
          credential: its subject, its id and when it was issued, as in `Claims`.
          instead_of: a credential from an earlier call that counts no more.
          skew: by how many seconds the issuer's clock may differ from ours: revoking the subject refuses what was
            issued up to so much later. `bearer` hands on what its verifier allows.

        Raises:
          Unauthorized: it has been revoked, or that is not known any more; see `App`, ``revocations_kept``. In a
            renewal: it is of another issuer, subject or session than all that were named at the door.
          Revoked: in a renewal, if it has been revoked.
          TooManyRequests: its subject has ``Limits.max_connections_per_subject`` connections.
          ConfigurationError: an attribute of it has another type than `Credential` says, or the skew is no number of
            seconds.
        """

    @abstractmethod
    async def admit_by(self, verifier: TokenVerifier[C], token: str, /) -> C:
        """Let in by a token that the guard has found itself: verify, `identify` and `lease` by what it says.

        ::

            @guard(services=verifier.services())
            async def by_key(gate: Gate, proved: Anonymous) -> Claims:
                key = gate.handshake.header("X-Key")
                if key is None:
                    raise NoCredentials
                return await gate.admit_by(verifier, key)

        The connection can be renewed then. While it is, this takes the new token instead of its argument, if it is the
        call by which the connection was let in: the first one that succeeded, in the same place among all calls, and
        with the same verifier. Every other call verifies its argument again.

        Args:
          verifier: says which tokens are good. The guard names its services, because a server that does not know them
            fetches no keys; `bearer` does so by itself.
          token: as the client presents it.

        Returns:
          The claims of the token.

        Raises:
          Unauthorized: the token is not good; or what `identify` raises.
          Unavailable: the verifier cannot fetch the key.
          ConfigurationError: nothing fetches its keys.
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
