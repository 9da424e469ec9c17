"""`ConnectionState`: what the gate and the handler of one connection share."""

from __future__ import annotations

from typing import Final, Protocol, final

import trio
from attrs import define, field

from seawall.connection.lifecycle import Lifecycle
from seawall.connection.message_format import MessageFormat
from seawall.connection.subscriptions import Held, Subscriptions
from seawall.connection.task_watch import HandlerNursery
from seawall.errors import ConfigurationError, Disconnected, SeawallError
from seawall.handshake import Handshake
from seawall.lifespan import Values
from seawall.policy.ending import Consequence, Ends
from seawall.policy.verdicts import Phase
from seawall.wire.channel import MessageChannel


class Renewer(Protocol):
    """Renews what the guards of one connection have proved."""

    async def renew(self, token: str, /) -> None:
        """Run the guards again, with `token`. Raises as `Connection.renew`.

        There is no checkpoint after everything has changed.
        """
        ...


@final
class NothingToRenew:
    """The `Renewer` of a connection whose guards have taken no token."""

    def __init__(self, kind: type[SeawallError], text: str) -> None:
        """Raise an exception of `kind` with `text`."""
        self._kind = kind
        self._text = text

    async def renew(self, token: str, /) -> None:
        """Raise."""
        await trio.lowlevel.checkpoint()
        raise self._kind(self._text)


#: Of most connections.
NOT_RENEWABLE: Final = NothingToRenew(
    ConfigurationError, "renew(): no guard of this route takes a token; put bearer(...) into its chain"
)


class Reports(Protocol):
    """Tells the log and the application of what has failed, and whose connection it is."""

    @property
    def principal(self) -> object:
        """What the guards of the route have proved, at the door or in the last renewal."""
        ...

    def report(self, failure: Exception) -> str:
        """Report `failure`, and return the id of its incident."""
        ...

    def judge_message(self, failure: Exception, message: str) -> Consequence:
        """Have the policy decide about a message of the type `message` that has failed, and report the failure."""
        ...

    def judge_end(self, failure: Exception, phase: Phase) -> Ends:
        """The same about `failure`, which happened in `phase`, and which ends the connection whatever is decided."""
        ...


@final
@define(kw_only=True, eq=False)  # not frozen: only Seawall sees it, and each field of a frozen one costs a call
class ConnectionState:
    """What the gate and the handler of one connection share. It does not depend on the type of the principal."""

    id: str
    handshake: Handshake
    subprotocol: str | None
    """The one that was selected, if any."""
    nursery: HandlerNursery = field(repr=False)
    """For the guards, the handler, and what the handler starts."""
    channel: MessageChannel = field(repr=False)
    lifecycle: Lifecycle = field(repr=False)
    values: Values = field(repr=False)
    thread: int = field(repr=False)
    """The thread in which the server runs. In any other one, a method could interrupt what runs in this one."""
    reports: Reports = field(repr=False)
    format: MessageFormat = field(repr=False)
    """Of the route: how typed messages are written."""
    renewal: Renewer = field(repr=False, default=NOT_RENEWABLE)

    @property
    def subscriptions(self) -> Subscriptions:
        """Those that it has."""
        return self.lifecycle.subscriptions

    def hold(self, subscription: Held) -> None:
        """Count one more subscription, until it is discarded from `subscriptions`.

        Raises:
          TooManyRequests: there are ``Limits.max_subscriptions`` others.
          Disconnected: the connection is over.
        """
        if self.lifecycle.ended is not None:
            raise Disconnected(self.id)
        self.subscriptions.add(subscription, at_most=self.lifecycle.timeouts.limits.max_subscriptions)

    def end_of_messages(self) -> Exception:
        """What ends an iteration over the messages; `ending_of` says why there are no more."""
        return StopAsyncIteration()

    def on_received(self) -> None:
        """Count for the idle time that a message has been received, and give time for the next if the peer has gone."""
        lifecycle = self.lifecycle
        lifecycle.timeouts.touch()
        if lifecycle.ended is not None and lifecycle.ended.by_peer:
            wind_down(lifecycle, is_unread=len(self.channel.queue) > 0)


def wind_down(lifecycle: Lifecycle, *, is_unread: bool) -> None:
    """Give a handler whose peer has ended the connection ``wind_down`` from now, or time for what it has not read."""
    limits = lifecycle.timeouts.limits
    lifecycle.set_grace(limits.drain_timeout if is_unread else limits.wind_down)
