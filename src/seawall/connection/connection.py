"""`Connection`: a handler's first argument, with which it receives and sends."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from threading import get_ident
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast, final

import trio
from attrs import define, field

from seawall.connection.state import ConnectionState, wind_down
from seawall.connection.subscriptions import SubscribeOptions, Subscription
from seawall.connection.typed_messages import TypedMessages, ending_of
from seawall.errors import ConfigurationError, Disconnected
from seawall.handshake import Handshake
from seawall.lag import Lag
from seawall.lifespan import Provided
from seawall.messages.codec import Sendable
from seawall.policy.ending import Cause, End
from seawall.policy.verdicts import MAX_REASON
from seawall.position import Since
from seawall.room_event import Gap, RoomEvent
from seawall.wire.frames.codes import sendable_code

if TYPE_CHECKING:
    from typing_extensions import TypeForm

P_co = TypeVar("P_co", covariant=True)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


@final
@define(eq=False, repr=False)
class Connection(Generic[P_co]):
    """An open WebSocket connection, whose principal has been proved.

    Iterating gives messages until the conversation is over; see `receive`. It ends when the handler, and all that it
    started in `nursery`, have finished.

    Any number of tasks may send at the same time; only one may receive.
    """

    _state: ConnectionState
    _narrowed: P_co | None = None
    """The principal of an event whose guard has proved more; that of the route changes with a renewal."""
    _is_narrowed: bool = field(default=False, alias="is_narrowed", kw_only=True)

    def __repr__(self) -> str:
        """Show who it is, without what may carry a credential."""
        return f"Connection(id={self.id!r}, principal={self.principal!r}, handshake={self.handshake!r})"

    @property
    def principal(self) -> P_co:
        """What the route's guards proved, at the door or when the connection was last renewed."""
        # The guards are those that have proved the first principal, and their type says what they prove.
        return cast("P_co", self._narrowed if self._is_narrowed else self._state.reports.principal)

    @property
    def id(self) -> str:
        """Names the connection in the log."""
        return self._state.id

    @property
    def handshake(self) -> Handshake:
        """What the client asked for."""
        return self._state.handshake

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was selected, if any."""
        return self._state.subprotocol

    @property
    def nursery(self) -> trio.Nursery:
        """For tasks that live as long as the connection; one that fails ends it, by the error policy.

        When one fails, or the handler does, the others are cancelled. The handler's failure is told the peer at once, a
        task's when the others have ended, or after ``Limits.wind_down`` seconds if they take longer. What those raise
        later is only reported.

        What a task raises must have a repr that does not fail: Trio calls it, and ends the whole program if it raises.
        """
        return self._state.nursery.watched(self._state.lifecycle)

    @property
    def draining(self) -> trio.Event:
        """Set when the server wants to stop: finish what you are doing and return."""
        return self._state.lifecycle.draining

    @property
    def expires_at(self) -> float | None:
        """When the first lease of what the guards proved ends, in Unix time; None if nothing is leased.

        The connection then ends with 3000; earlier if Trio's clock says so first, because the wall clock was set back.
        It is None, too, once the connection is closed.
        """
        expires_at = self._state.lifecycle.timeouts.leases.expires_at
        return None if expires_at == math.inf else expires_at

    @property
    def expiring(self) -> trio.Event:
        """Set ``Limits.lease_warning`` seconds before the first lease ends; at once if the lease is shorter.

        ::

            while True:
                await conn.expiring.wait()
                await conn.renew(await fetch_token())

        Once it has been set, a renewal that prolongs the lease makes a new one: read it anew. One that is not set yet
        stays the same, and is set before the end of the new lease. It is never set where nothing is leased. If the
        wall clock jumps past the end of the lease, because the machine was suspended, there is no warning.

        Raises:
          ConfigurationError: it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise ConfigurationError(
                "conn.expiring in another thread than the server's; read it with "
                "trio.from_thread.run_sync(lambda: conn.expiring)"
            )
        lifecycle = self._state.lifecycle
        event = lifecycle.timeouts.expiring()
        lifecycle.rearm()
        return event

    async def receive(self) -> str | bytes:
        """The next message: text as `str`, binary as `bytes`.

        What the peer sent before it closed, or before it ended its side of the stream, is still delivered: while such
        messages wait the handler has ``Limits.drain_timeout`` seconds in all, and from the last of them
        ``Limits.wind_down``. Those that it has not received by then are thrown away, and `Outcome.messages_dropped`
        counts them. After a reset there are ``Limits.wind_down`` seconds for everything.

        Raises:
          Disconnected: the connection is over, and all its messages have been delivered.
          Draining: the server is stopping; the connection can still send. It is a `trio.EndOfChannel`.
          trio.BusyResourceError: another task is receiving.
        """
        try:
            return await self._state.channel.queue.receive(self._state)
        except StopAsyncIteration:
            raise ending_of(self._state) from None

    def __aiter__(self) -> Connection[P_co]:
        """Iterate over the messages."""
        return self

    def __anext__(self) -> Awaitable[str | bytes]:
        """The next message; the iteration ends where `receive` would raise `Disconnected` or `Draining`."""
        return self._state.channel.queue.receive(self._state)

    def messages(self, kind: TypeForm[T], /) -> TypedMessages[T]:
        """The messages as values of one type, until the conversation is over.

        ::

            async for message in conn.messages(Say | Leave):
                match message:
                    case Say(text):
                        await conn.send(Said(text))
                    case Leave():
                        return
                    case _:
                        assert_never(message)

        A message that is invalid is answered as the error policy says, which is by default an error with its path, and
        the iteration goes on. After ``Limits.max_message_errors`` of them in a row the connection ends, with 1008.

        Args:
          kind: an attrs class, a dataclass or a `msgspec.Struct`; a union of such, whose messages are told apart by
            their ``type``; or a plain type such as ``list[int]``.

        Raises:
          ConfigurationError: no message can be of this type; the text names the field, and the remedy.
        """
        return TypedMessages(self._state, self._state.format.decoder(kind))

    async def receive_as(self, kind: TypeForm[T], /) -> T:
        """The next message that is a valid value of a type; see `messages` for the type, and for the others.

        Raises:
          Disconnected, Draining, trio.BusyResourceError: as `receive`.
          ConfigurationError: as `messages`.
        """
        return await TypedMessages(self._state, self._state.format.decoder(kind)).receive()

    async def send(self, message: Sendable, /) -> None:
        """Send a message: `str` as text, `bytes` as binary, and a value as the codec of the route writes it.

        A value is an instance of an attrs class, a dataclass or a `msgspec.Struct`.

        Waits while more than ``Limits.outbound_buffer`` bytes are waiting to be written; when a peer takes nothing for
        ``Limits.send_timeout`` seconds, the connection ends. That this returns means that the message will be written
        whole, not that it has arrived. When it is cancelled, nothing of the message is sent and the connection goes on.

        Raises:
          Disconnected: the connection is over.
          TypeError: it is none of these: a coroutine that nobody has awaited, for instance, or a class.
          ValueError: the text has a lone surrogate, which UTF-8 cannot carry; or a number is NaN or infinite.
          ConfigurationError: no message can carry a field of its class.
        """
        state = self._state
        frame, buffer = state.format.frame(message), state.channel.send_buffer
        try:
            await buffer.wait_turn(len(frame))
            buffer.put_in_turn(frame)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise Disconnected(state.id) from None
        state.lifecycle.timeouts.touch()

    def send_nowait(self, message: Sendable, /) -> None:
        """Send a message now, for a broadcaster that must not wait for its slowest reader.

        Raises:
          trio.WouldBlock: `send` would have to wait.
          Disconnected, TypeError, ValueError: as `send`.
          ConfigurationError: it is another thread than the server's; call it with ``trio.from_thread.run_sync``.
        """
        state = self._state
        if get_ident() != state.thread:
            raise _wrong_thread("send_nowait")
        try:
            state.channel.send_buffer.put_message_nowait(state.format.frame_for_many(message))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise Disconnected(state.id) from None
        state.lifecycle.timeouts.touch()

    def discard_input(self) -> None:
        """Throw away what the peer sends, from now on, so that it never fills a buffer: for feeds that only send.

        Raises:
          ConfigurationError: it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("discard_input")
        channel, lifecycle = self._state.channel, self._state.lifecycle
        was_unread = len(channel.queue) > 0
        channel.queue.discard()
        if was_unread and lifecycle.ended is not None and lifecycle.ended.by_peer:
            wind_down(lifecycle, is_unread=False)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection and wait until it is closed, for ``Limits.close_timeout`` at most.

        Afterwards `receive` and `send` raise `Disconnected`, and the handler has ``Limits.wind_down`` seconds to
        return. If the connection is already over, nothing is sent.

        Args:
          code: the close code: 1000, or 4000-4999 for the application's own meanings.
          reason: at most 123 bytes of UTF-8.

        Raises:
          ConfigurationError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long or no text; or
            it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("aclose", by="run")
        lifecycle, end = self._state.lifecycle, checked_end("aclose", Cause.CLOSED, code, reason)
        limits = lifecycle.timeouts.limits
        lifecycle.end(end, grace=limits.close_timeout + limits.wind_down)
        await lifecycle.wait_closed()
        if lifecycle.ended is end:
            lifecycle.set_grace(limits.wind_down)

    def close_nowait(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection without waiting for that, from any task: to end another connection, for instance.

        Its handler sees what it sees after `aclose`, and has ``Limits.wind_down`` seconds to return. If the connection
        is already over, nothing happens.

        Args:
          code: as for `aclose`.
          reason: likewise.

        Raises:
          ConfigurationError: as `aclose`; or it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("close_nowait")
        end, lifecycle = checked_end("close_nowait", Cause.CLOSED, code, reason), self._state.lifecycle
        lifecycle.end(end, grace=lifecycle.timeouts.limits.wind_down)

    def report(self, exception: Exception) -> str:
        """Report an exception as an unexpected failure is reported, for a handler that answers it itself and goes on.

        The error policy is not asked, and the connection does not end. ``App(report=...)`` and the log are told, of
        each exception in a group.

        Returns:
          The id of the incident, under which it stands in the log. The peer may read it.

        Raises:
          ConfigurationError: it is no `Exception`; or it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("report")
        _check_exception(exception)
        return self._state.reports.report(exception)

    async def renew(self, token: str) -> None:
        """Prove again, with a new token, all that the route demands.

        All guards of the route are asked again, those of the mounts above it included, in a task of their own and
        within ``Limits.auth_timeout``; the new token stands where `bearer` or `first_message` found the old one. When
        all have let it through, `principal` is the new one and the leases are the new ones. One renewal runs at a time,
        others wait. When it raises, or is cancelled, nothing has changed.

        Raises:
          Unauthorized: the token is wrong, has expired, or is not of the same issuer, subject and session, or a guard
            says so; the connection goes on until its lease ends. So it does if a guard raises anything else, but for:
          Disconnected: a guard has said `Forbidden`, or the token has been revoked, and the connection ends with 3003.
          LeaseExpired: it is too late.
          AuthTimeout: the guards took longer than ``Limits.auth_timeout``.
          ConfigurationError: no guard of this route takes a token; or it is another thread than the server's.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("renew", by="run")
        await self._state.renewal.renew(token)

    def subscribe(
        self: Connection[R],
        room: Subscribable[T, R],
        *,
        since: Since = None,
        lag: Lag[T] | None = None,
        wrap: Callable[[RoomEvent[T] | Gap], Sendable | None] | None = None,
    ) -> AbstractAsyncContextManager[Subscription]:
        """Send what is published in a room to the peer, for as long as the ``async with`` lasts.

        ::

            async with conn.subscribe(said(room=room), since=join.since):
                async for message in conn:
                    ...

        Events are sent in their order, beside what is sent otherwise, and do not count for ``Limits.idle_timeout``. A
        peer that does not keep up makes nobody wait; what becomes of it, `lag` says.

        Args:
          room: that of a topic, ``topic(room="lobby")``. One of a readable topic takes only connections whose principal
            its check is about.
          since: a `Position` goes on behind it, where the peer had been; None begins with all that the room keeps;
            ``"joined"`` with what is published from now on.
          lag: what becomes of this peer if it does not keep up; as the topic says, when left out. `DropOldest` and
            `DropNewest` need a `wrap`.
          wrap: makes the message of an event, or of a `Gap`; None sends nothing. As a rule it is called once for each
            event on a route, also where many subscribe with it: give the same function to all. Without it the values
            are sent as they are.

        Raises, where it is entered:
          Refused: the check of the room says no; `Forbidden` for instance.
          Kicked: who is connected may not come back yet.
          SubscriptionLost: what followed `since` is no longer kept, and there is no `wrap` to tell the peer.
          TooManyRequests: there are ``Limits.max_subscriptions`` of this connection, or ``Limits.max_rooms``.
          Unavailable: the app of the room is not served.
          Disconnected: the connection is over.
          ConfigurationError: the room is another app's; or an argument is none of those above.

        When it ends before its body, the body is cancelled, and the ``async with`` raises why: `SubscriptionLost`,
        `SlowConsumer`, `Kicked`, what its check has raised about a renewal, or what `wrap` has raised.
        """
        if get_ident() != self._state.thread:
            raise _wrong_thread("subscribe", by="run")
        _check_subscribable(room)
        options = SubscribeOptions(since=since, lag=lag, wrap=wrap)
        return room.subscription(self, options)

    def narrowed(self, principal: T, /) -> Connection[T]:
        """The same connection with another principal: what the guard of an event has made of it.

        `renew` on it renews the connection, and does not change that principal.
        """
        return Connection(self._state, principal, is_narrowed=True)

    def provided(self, handle: Provided[T]) -> T:
        """The value that the ``@app.lifespan`` function behind `handle` yielded.

        Raises:
          ConfigurationError: the handle is another app's.
        """
        return self._state.values.get(handle)


class Subscribable(Protocol[T_co, R_contra]):
    """What `Connection.subscribe` takes: a room whose events are `T_co`, for those who have proved `R_contra`."""

    def subscription(
        self, connection: Connection[R_contra], options: SubscribeOptions[T_co], /
    ) -> AbstractAsyncContextManager[Subscription]:
        """Send what is published there to the peer of `connection`, once that is entered; warn if it never is."""
        ...


def renewed_principal(connection: Connection[T], principal: object) -> T:
    """Whom `connection` is about once a renewal has proved `principal`: itself, unless an event has narrowed it."""
    return cast("T", connection._narrowed if connection._is_narrowed else principal)  # pyright: ignore[reportPrivateUsage] # it is this module's


def connection_of(proved: T, state: ConnectionState) -> Connection[T]:
    """The connection of a handler that takes what its guards have `proved`, which is the principal of `state`."""
    return Connection(state)


def state_of(connection: Connection[object]) -> ConnectionState:
    """What the parts of Seawall above a connection use of it."""
    return connection._state  # pyright: ignore[reportPrivateUsage] # it is this module's


def _wrong_thread(method: str, *, by: str = "run_sync") -> ConfigurationError:
    return ConfigurationError(
        f"{method}() in another thread than the server's; call it with trio.from_thread.{by}(conn.{method}, ...)"
    )


def _check_subscribable(value: object) -> None:
    if not callable(getattr(value, "subscription", None)):
        raise ConfigurationError(f"subscribe() was given {value!r}; give a room, as in topic(room='lobby')")


def _check_exception(value: object) -> None:
    if not isinstance(value, Exception):
        raise ConfigurationError(f"report() was given {value!r}; give the exception, as in `except ... as error`")


def checked_end(method: str, cause: Cause, code: int, reason: str) -> End:
    """The end of a connection that the application closes by `method`, with what the peer reads.

    Raises:
      ConfigurationError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long or no text.
    """
    if not sendable_code(code):
        raise ConfigurationError(f"{method}({code!r}): not a code that may be sent; use 1000, or 4000-4999")
    try:
        size = len(str.encode(reason))
    except TypeError:
        raise ConfigurationError(f"{method}(): the reason {reason!r} is no text; give a str") from None
    except UnicodeEncodeError:
        raise ConfigurationError(f"{method}(): the reason cannot be encoded as UTF-8; remove the surrogate") from None
    if size > MAX_REASON:
        raise ConfigurationError(f"{method}(): the reason has more than {MAX_REASON} bytes; shorten it")
    return End(cause, code, reason)
