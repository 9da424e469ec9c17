"""`Forwarding`: a subscription of a connection, to which the pump writes what is published in a room."""

from __future__ import annotations

import enum
from types import TracebackType
from typing import Final, Protocol, final

import trio
from attrs import frozen

from seawall.connection.connection import Connection, renewed_principal, state_of
from seawall.connection.session_table import Registration
from seawall.connection.state import ConnectionState
from seawall.entering import warn_not_entered
from seawall.errors import SlowConsumer, SubscriptionLost
from seawall.lag import Lag
from seawall.position import Position, Since
from seawall.room_event import Gap
from seawall.topics.cursor import Cursor, Item
from seawall.topics.ending import leave_block
from seawall.topics.keys import RoomKey, shown_room
from seawall.topics.kicks import RoomConnection
from seawall.topics.log import Log
from seawall.topics.pump import Pump
from seawall.topics.rendering import Renderer, Renderers, Wrap
from seawall.wire.frames.encoder import Frame
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Replying

#: Bytes of frames that are joined into one write, for who is behind. One frame may be larger.
MAX_WRITE: Final = 4096
#: Events that one turn passes over at most, whether or not anything of them is sent.
_MAX_PASSED: Final = 64


@final
@frozen
class SubscribeRequest:
    """Which room a subscription is to read, from where, and how; needed only until it has been let in."""

    key: RoomKey
    since: Since
    wrap: Wrap | None


class SubscriptionSource(Protocol):
    """Where subscriptions come from: a topic."""

    @property
    def name(self) -> str:
        """The pattern, for errors."""
        ...

    @property
    def pump(self) -> Pump:
        """What serves those who read its rooms."""
        ...

    @property
    def renderers(self) -> Renderers:
        """How events are written."""
        ...

    def cursor(self, key: RoomKey, lag: Lag[object], /) -> Cursor:
        """One that is to read a room."""
        ...

    async def ask(self, key: RoomKey, principal: object, /) -> None:
        """Ask whether `principal` may read a room. Raises what says no."""
        ...

    def admit(self, key: RoomKey, state: ConnectionState, /) -> RoomConnection:
        """The connection, as one of a room. Raises if it may not come in."""
        ...

    async def open(self, key: RoomKey, /) -> Log:
        """The log of a room, kept until `release`; there is no checkpoint after it has been found.

        Raises:
          SeawallError: there are too many rooms, or the app is not served.
        """
        ...

    def release(self, log: Log, /) -> None:
        """It is not needed any more."""
        ...


@final
class Status(enum.Enum):
    """How far a subscription is."""

    NEW = "new"
    """It has not been entered."""
    READY = "ready"
    """It can be written to."""
    BEHIND = "behind"
    """Something is pending in the send buffer, which will call `wake`."""
    WOKEN = "woken"
    """It is the pump's turn."""
    OVER = "over"
    """Nothing is written any more."""


_READY: Final = Status.READY


@final
class Forwarding:
    """Forwards what is published in a room to one connection, while the ``async with`` lasts."""

    __slots__ = (
        "_buffer",
        "_connection",
        "_failure",
        "_registration",
        "_request",
        "_scope",
        "_source",
        "_status",
        "cursor",
        "outlet",
        "renderer",
        "slot",
    )

    def __init__(
        self, source: SubscriptionSource, request: SubscribeRequest, connection: Connection[object], lag: Lag[object]
    ) -> None:
        """Say to whom what is forwarded, and how."""
        self.cursor = source.cursor(request.key, lag)
        """How far it is."""
        self.slot = -1
        self._source = source
        self._request: SubscribeRequest | None = request  # until it is let in; the key takes memory
        self._connection = connection
        self._registration: Registration | None = None
        self._status = Status.NEW
        self._scope: trio.CancelScope | None = None
        self._failure: Exception | None = None
        self.renderer: Renderer | None = None
        """How events are written; set when it is let in."""
        self._buffer = state_of(connection).channel.send_buffer
        self.outlet: SendBuffer | None = None
        """Where they are written to, while the next one can be put there without more ado."""

    async def __aenter__(self) -> Forwarding:
        """Begin, with what was published before as `since` says."""
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("a subscription is entered once; call subscribe() for another one")
        self._status = Status.OVER  # until it is let in
        state = state_of(self._connection)
        state.hold(self)
        try:
            self._request = request  # for who asks during a renewal
            self._source.admit(request.key, state)
            await self._source.ask(request.key, self._connection.principal)
            if len(state.subscriptions) > 1:  # one of them may be cancelled, and ends in its task's next turn
                await trio.lowlevel.checkpoint()  # which may be behind ours, as Trio runs them in any order
                await trio.lowlevel.checkpoint()
            self._begin(request, await self._source.open(request.key))
        except BaseException:
            state.subscriptions.discard(self)
            raise
        finally:
            self._request = None
        return self

    def _begin(self, request: SubscribeRequest, log: Log) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            # Who has been kicked meanwhile does not come in, and from here on a kick finds it.
            self._registration = self._source.admit(request.key, state_of(self._connection)).registration
            self.cursor.place(log, request.since, trio.current_time())
            gap = self.cursor.peek() if self.cursor.lost and request.wrap is None else None
            if gap is not None:
                self.cursor.leave()
                raise _lost(self._source.name, self.cursor.log, gap)
        except BaseException:
            self._source.release(log)
            raise
        self.renderer = self._source.renderers.join(request.wrap, state_of(self._connection).format)
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        self._status = Status.WOKEN
        log.readers.add(self)
        self._source.pump.put(self)

    def __del__(self) -> None:
        """Warn, where the last reference has gone."""
        if self._status is Status.NEW:
            warn_not_entered("conn.subscribe(...)", self)

    async def __aexit__(
        self, _: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """End; raise why it has ended before, unless the body has raised something else."""
        self.leave()
        scope, self._scope = self._scope, None
        return leave_block(scope, self._failure, raised, traceback)

    def leave(self) -> None:
        """Read no more; does nothing the second time."""
        renderer, self.renderer = self.renderer, None
        if renderer is None:
            return
        self._halt()
        log = self.cursor.log
        log.readers.remove(self)
        self.cursor.leave()
        self._source.renderers.leave(renderer)
        self._source.release(log)
        state_of(self._connection).subscriptions.discard(self)

    @property
    def position(self) -> Position:
        """Where to go on, for who has had all that was handed to the connection."""
        return self.cursor.position

    @property
    def owner(self) -> RoomConnection:
        """Whose it is, for a kick."""
        if self._registration is None:
            raise RuntimeError("a subscription that has not been let in")
        return RoomConnection(self._connection.id, self._registration)

    def end(self, failure: Exception) -> None:
        """Cancel the body, and raise `failure` where it ends. Only the first call counts."""
        if self._failure is None:
            self._failure = failure
            self._halt()
            if self._scope is not None:
                self._scope.cancel()

    async def ask(self, principal: object, /) -> None:
        """Ask whether `principal`, of a renewal, may read on. Raises what says no."""
        key = self.cursor.log.use.key if self._request is None else self._request.key
        await self._source.ask(key, renewed_principal(self._connection, principal))

    # What the pump does.

    def visit(self) -> None:
        """There are new events."""
        if (fault := self.cursor.fault()) is not None:
            self.end(fault)
        if self._status is _READY:
            if self._buffer.pending:
                self._fall_behind()
            else:
                self._deliver()
        if self._status is Status.BEHIND and (failure := self.cursor.apply_lag()) is not None:
            self.end(failure)

    def wake(self) -> None:
        """Nothing is pending any more."""
        if self._status is Status.BEHIND:
            self._status = Status.WOKEN
            self._source.pump.put(self)

    def resume(self) -> bool:
        """It is its turn, unless it has left meanwhile."""
        if self._status is not Status.WOKEN:
            return False
        self._status = _READY
        self.outlet = None if self.cursor.is_indexed else self._buffer  # else a fault of its key would go unnoticed
        if (fault := self.cursor.fault()) is not None:
            self.end(fault)
        if self._status is _READY:
            if self._buffer.pending:
                self._fall_behind()
            else:
                self._deliver()
        return True

    def needs(self) -> int:
        """What has to stay in the log for it."""
        return self.cursor.log.end if self._status is Status.OVER else self.cursor.needs()

    def _halt(self) -> None:
        self._status = Status.OVER
        self.outlet = None
        self.cursor.release_window()  # the block may take its time to end
        self._buffer.stop_notifying(self)

    def _fall_behind(self) -> None:
        self._status = Status.BEHIND
        self.outlet = None
        self.cursor.fall_behind()
        self._buffer.notify_when_empty(self)

    def _deliver(self) -> None:
        """Write what it has not had: up to 4 KiB, or one frame."""
        if self._buffer.replying is not Replying.OPEN:
            self._halt()  # the connection is over, and its handler will be soon
            return
        number, lost = self.cursor.next, self.cursor.lost
        frames = self._take()
        if frames:
            joined = frames[0] if len(frames) == 1 else b"".join(map(bytes, frames))  # a long one goes by itself
            self._source.pump.written += len(joined)
            if not self._buffer.put_shared(joined, len(frames)) and not self._put_behind(frames, len(joined)):
                self.cursor.rewind(number, lost)
        if self._status is _READY and self.cursor.peek() is not None:
            if self._buffer.pending:
                self._fall_behind()
            else:
                self._status = Status.WOKEN
                self.outlet = None
                self._source.pump.put(self)

    def _put_behind(self, frames: list[Frame], size: int) -> bool:
        """Write behind what a `wrap` has sent itself, so that something is pending now; False if nothing is written."""
        try:
            if self._buffer.is_full(size):
                raise trio.WouldBlock
            for frame in frames:
                self._buffer.put_message_nowait(frame)  # all of them or none: there is room for all
        except trio.WouldBlock:
            self.end(SlowConsumer(shown_room(self.cursor.log.use.key)))
            return False
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._halt()
            return False
        return True

    def _take(self) -> list[Frame]:
        """The next frames, for one write."""
        frames: list[Frame] = []
        size = 0
        most = 0 if self._buffer.deflater is not None else MAX_WRITE  # those that are compressed go one by one
        for _ in range(_MAX_PASSED):
            item = self.cursor.peek()
            if item is None:
                break
            frame = self._frame(item)
            if self._status is not _READY:
                break
            if frame is not None:
                size += len(frame)
                if frames and size > most:
                    break
                frames.append(frame)
            self.cursor.move(item)
        return frames

    def _frame(self, item: Item) -> Frame | None:
        """The frame of an event or a gap; None to send nothing. Ends the subscription if there can be none."""
        renderer = self.renderer
        if renderer is None or (isinstance(item, Gap) and renderer.wrap is None):
            self.end(_lost(self._source.name, self.cursor.log, item))
            return None
        try:
            if isinstance(item, Gap):
                return renderer.gap(item)
            if item.but is not None and item.but == self._connection.id:
                return None
            return renderer.frame(self.cursor.log, self.cursor.next, item)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is this subscription's alone
            self.end(failure)
            return None


def _lost(topic: str, log: Log, item: Item) -> SubscriptionLost:
    """What ends who has nothing that tells of a gap."""
    return SubscriptionLost(topic, item.lost if isinstance(item, Gap) else None, shown_room(log.use.key))
