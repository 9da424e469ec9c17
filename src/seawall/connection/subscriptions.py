"""What one connection reads of rooms: `Subscription`, for its handler; `Subscriptions`, those that it has.

Rooms are none of a connection's concerns: it counts who writes to it from outside, and has them asked when it is
renewed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar, final

from attrs import define, field, frozen

from seawall.callables import describe, is_async
from seawall.errors import ConfigurationError, TooManyRequests
from seawall.lag import Lag, check_lag
from seawall.messages.codec import Sendable
from seawall.position import Position, Since
from seawall.room_event import Gap, RoomEvent

T_contra = TypeVar("T_contra", contravariant=True)


class Subscription(Protocol):
    """What ``async with conn.subscribe(...)`` gives."""

    @property
    def position(self) -> Position:
        """That of the last event that was handed to the connection; before the first one, where reading began.

        It stays when the block has ended: ``since=subscription.position`` goes on there, without doubles, and with a
        `Gap` if the room has not kept what was published meanwhile.
        """
        ...


@final
@frozen(kw_only=True)
class SubscribeOptions(Generic[T_contra]):
    """The arguments of `Connection.subscribe`, checked.

    Raises:
      ConfigurationError: a value is none of those that a type checker would let through.
    """

    since: Since = None
    lag: Lag[T_contra] | None = None
    """None: that of the topic."""
    wrap: Callable[[RoomEvent[T_contra] | Gap], Sendable | None] | None = None
    call: str = "subscribe"
    """Whose they are, for errors."""

    def __attrs_post_init__(self) -> None:
        """Refuse what a type checker would."""
        _check_since(self.since)
        if self.lag is not None:
            check_lag(self.call, self.lag)
        if self.wrap is not None:
            _check_wrap(self.wrap)


class Held(Protocol):
    """A subscription, for the connection that has it. It can be hashed, by its identity."""

    async def ask(self, principal: object, /) -> None:
        """Ask whether `principal`, which a renewal of the connection is about to prove, may read on.

        Raises:
          Exception: it may not. The subscription goes on until the renewal has succeeded.
        """
        ...

    def end(self, failure: Exception, /) -> None:
        """End it because of `failure`, which its ``async with`` raises. Must not raise."""
        ...

    def leave(self) -> None:
        """Take no place in its room any more, whether or not its ``async with`` is left. Must not raise."""
        ...


@final
class Subscriptions:
    """The subscriptions of one connection."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        """Begin with none."""
        self._held: tuple[Held, ...] = ()  # most connections have none, and then this one takes no memory

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        """A snapshot of them."""
        return iter(self._held)

    def __contains__(self, one: Held) -> bool:
        """Whether it is there."""
        return any(other is one for other in self._held)

    def add(self, one: Held, /, *, at_most: int) -> None:
        """Have one more, before anybody is asked whether it may be: a renewal meanwhile has to find it.

        Raises:
          TooManyRequests: there are `at_most` others.
        """
        if len(self._held) >= at_most:
            raise TooManyRequests(
                f"too many subscriptions of one connection: it has Limits.max_subscriptions={at_most}; have it leave a "
                "room before it subscribes to another one, or raise the limit"
            )
        self._held = (*self._held, one)

    def discard(self, one: Held, /) -> None:
        """Have it no more; does nothing if it is not there."""
        self._held = tuple(other for other in self._held if other is not one)

    def release(self, failure: Exception) -> None:
        """End those that are there when the connection's tasks are over: another task has them, or nobody left them."""
        held, self._held = self._held, ()
        for one in held:
            one.end(failure)
            one.leave()

    def without(self, asked: set[Held]) -> Held | None:
        """One that is not among `asked`; None if all are."""
        return next((one for one in self._held if one not in asked), None)


@final
@define(eq=False)
class Review:
    """What the subscriptions of a connection say about the principal of a renewal, before it has succeeded."""

    _subscriptions: Subscriptions
    _principal: object
    _asked: set[Held] = field(init=False, factory=set[Held])
    _refused: list[tuple[Held, Exception]] = field(init=False, factory=list[tuple[Held, Exception]])

    @property
    def is_complete(self) -> bool:
        """Whether each has been asked that there is now."""
        return self._subscriptions.without(self._asked) is None

    async def ask(self) -> None:
        """Ask those that have not been asked, in their order; checks are code of the application."""
        while (one := self._subscriptions.without(self._asked)) is not None:
            self._asked.add(one)
            try:
                await one.ask(self._principal)
            except Exception as refusal:  # noqa: BLE001 - whatever a check raises says no
                self._refused.append((one, refusal))

    def settle(self) -> None:
        """End those that have said no, because the renewal has succeeded."""
        refused, self._refused = self._refused, []
        for one, refusal in refused:
            if one in self._subscriptions:
                one.end(refusal)


def _check_since(value: object) -> None:
    if not (value is None or value == "joined" or isinstance(value, Position)):
        raise ConfigurationError(
            f"since={value!r} is no position; give Position.parse(text) of what a client has kept, 'joined', or None"
        )


def _check_wrap(value: object) -> None:
    if not callable(value):
        raise ConfigurationError(f"wrap={value!r} cannot be called; give a function of a RoomEvent or a Gap")
    if is_async(value):
        raise ConfigurationError(f"wrap: {describe(value)} is async, and nobody would await it; write `def`")
