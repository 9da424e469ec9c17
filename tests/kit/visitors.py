"""Connections that are in rooms, without a wire: their credentials, and what has ended."""

from __future__ import annotations

from typing import final

import trio
from attrs import define, field, frozen

from seawall import Limits
from seawall.connection.deadlines import Deadline, DeadlineQueue
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.session_table import Registration, SessionTable
from seawall.connection.timeouts import Timeouts
from seawall.topics.kicks import RoomConnection
from seawall.wire.lateness import Lateness


@final
@frozen(kw_only=True)
class Pass:
    """A credential."""

    issuer: str = "us"
    subject: str | None = "ada"
    session_id: str | None = None
    token_id: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None


@final
@frozen
class Known:
    """What is known of a connection beside that."""

    connection: str
    route: str = "/"
    peer: str = "memory"
    principal_name: str = "somebody"


@final
class Silent:
    """The owner of a deadline that is never due."""

    def on_due(self, now: float) -> None:
        """Is not called."""
        raise AssertionError(now)

    def on_fault(self, fault: Exception) -> None:
        """Is not called."""
        raise fault


def connected(table: SessionTable, name: str, *passes: Pass) -> Registration:
    """A connection that the guards have let in by `passes`."""
    timeouts = Timeouts(Limits(), Lateness())
    deadline = Deadline(DeadlineQueue(), Silent())
    lifecycle = Lifecycle(timeouts, trio.CancelScope(), deadline, listener=None)
    registration = Registration(table, lifecycle)
    for one in passes:
        registration.identify(one, None)
    registration.open(Known(name))
    return registration


@final
@define(eq=False)
class Present:
    """What a connection has in a room."""

    owner: RoomConnection
    ended: list[Exception] = field(factory=list[Exception])

    def end(self, failure: Exception, /) -> None:
        """Keep what has ended it."""
        self.ended.append(failure)
