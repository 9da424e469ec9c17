"""`Forwarding`: a subscription of a connection, to which the pump writes what is published in a room."""

from __future__ import annotations

import enum
from types import TracebackType
from typing import Final, Protocol, final

import trio

from seawall.connection.state import ConnectionState
from seawall.errors import SubscriptionLost
from seawall.lag import Lag
from seawall.position import Since
from seawall.room_event import Gap
from seawall.topics.cursor import Cursor, Item
from seawall.topics.log import Log
from seawall.topics.pump import Pump
from seawall.topics.rendering import Style
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Replying

#: Bytes of frames that are joined into one write, for who is behind. One frame may be larger.
JOINED: Final = 4096
#: Events that one turn passes over at most, whether or not anything of them is sent.
_TURN: Final = 64


class Entrance(Protocol):
    """Where a subscription comes from: a room, seen from one connection."""

    @property
    def topic(self) -> str:
        """The pattern of the topic, for errors."""
        ...

    @property
    def pump(self) -> Pump:
        """What serves those who read the room."""
        ...

    async def ask(self, principal: object, /) -> None:
        """Ask whether `principal` may read. Raises what says no."""
        ...

    async def open(self) -> Log:
        """The log of the room, kept until `release`; there is no checkpoint after it has been found.

        Raises:
          SeawallError: the connection may not come in, or there is no room for it.
        """
        ...

    def release(self, log: Log, style: Style, /) -> None:
        """Neither log nor style are needed any more."""
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
class Forwarding(Cursor):
    """Forwards what is published in a room to one connection, while the ``async with`` lasts."""

    __slots__ = ("_entrance", "_failure", "_scope", "_since", "_state", "_status", "buffer", "outlet", "style")

    def __init__(self, entrance: Entrance, state: ConnectionState, style: Style, *, since: Since, lag: Lag[object]) -> None:
        """Say from where, to whom, and how."""
        super().__init__(lag)
        self._entrance = entrance
        self._state = state
        self._since = since
        self._status = Status.NEW
        self._scope: trio.CancelScope | None = None
        self._failure: Exception | None = None
        self.style = style
        """How events are written."""
        self.buffer = state.channel.send_buffer
        """Where they are written to."""
        self.outlet: SendBuffer | None = None
        """The same, while the next event can be put there without more ado."""

    async def __aenter__(self) -> Forwarding:
        """Begin, with what was published before as `since` says."""
        if self._status is not Status.NEW:
            raise RuntimeError("a subscription is entered once; call subscribe() for another one")
        self._status = Status.OVER
        self._state.hold(self)
        try:
            await self._begin()
        except BaseException:
            self._state.subscriptions.discard(self)
            raise
        return self

    async def _begin(self) -> None:
        await self._entrance.ask(self._state.reports.principal)
        log = await self._entrance.open()
        try:
            if self._failure is not None:
                raise self._failure
            self.place(log, self._since, trio.current_time())
            if self.lost and self.style.wrap is None:
                item = self.peek()
                self.leave()
                raise SubscriptionLost(self._entrance.topic, item.lost if isinstance(item, Gap) else None)
        except BaseException:
            self._entrance.release(log, self.style)
            raise
        log.readers.add(self)
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        self._status = Status.WOKEN
        self._entrance.pump.wake(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """End; raise why it has ended before, unless the body has raised something else."""
        scope, self._scope = self._scope, None
        self._stop()
        self.log.readers.remove(self)
        self.leave()
        self._state.subscriptions.discard(self)
        self._entrance.release(self.log, self.style)
        caught = scope is not None and scope.__exit__(kind, raised, traceback)
        if self._failure is not None and (raised is None or caught):
            raise self._failure from self._failure.__cause__
        return caught

    @property
    def connection(self) -> str:
        """The id of the connection."""
        return self._state.id

    @property
    def state(self) -> ConnectionState:
        """The connection, as a room knows it."""
        return self._state

    def end(self, failure: Exception) -> None:
        """Cancel the body, and raise `failure` where it ends. Only the first call counts."""
        if self._failure is None:
            self._failure = failure
            self._stop()
            if self._scope is not None:
                self._scope.cancel()

    async def ask(self, principal: object, /) -> None:
        """Ask whether `principal`, of a renewal, may read on. Raises what says no."""
        await self._entrance.ask(principal)

    # What the pump does.

    def visit(self) -> None:
        """There are new events."""
        if self._status is _READY:
            if self.buffer.pending:
                self._fall_behind()
            else:
                self._deliver()
        if self._status is Status.BEHIND:
            failure = self.check_lag()
            if failure is not None:
                self.end(failure)

    def wake(self) -> None:
        """Nothing is pending any more."""
        if self._status is Status.BEHIND:
            self._status = Status.WOKEN
            self._entrance.pump.wake(self)

    def resume(self) -> None:
        """It is its turn."""
        if self._status is not Status.WOKEN:
            return
        self._status = _READY
        if self.buffer.deflater is None or True:
            self.outlet = self.buffer
        if self.buffer.pending:
            self._fall_behind()
        else:
            self._deliver()

    def needs(self) -> int:
        """What has to stay in the log for it."""
        return self.log.end if self._status is Status.OVER else super().needs()

    def _stop(self) -> None:
        self._status = Status.OVER
        self.outlet = None
        self.buffer.stop_notifying(self)

    def _fall_behind(self) -> None:
        self._status = Status.BEHIND
        self.outlet = None
        self.fall_behind()
        self.buffer.notify_when_empty(self)

    def _deliver(self) -> None:
        """Write what it has not had: up to 4 KiB, or one frame."""
        if self.buffer.replying is not Replying.OPEN:
            self._stop()  # the connection is over, and its handler will be soon
            return
        frames = self._take()
        if frames:
            self.buffer.put_shared(b"".join(frames), len(frames))
        if self._status is _READY and self.peek() is not None:
            if self.buffer.pending:
                self._fall_behind()
            else:
                self._status = Status.WOKEN
                self.outlet = None
                self._entrance.pump.wake(self)

    def _take(self) -> list[bytes]:
        """The next frames, for one write."""
        frames: list[bytes] = []
        size = 0
        most = 0 if self.buffer.deflater is not None else JOINED  # those that are compressed go one by one
        for _ in range(_TURN):
            item = self.peek()
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
            self.move(item)
        return frames

    def _frame(self, item: Item) -> bytes | None:
        """The frame of an event or a gap; None to send nothing. Ends the subscription if there can be none."""
        try:
            if isinstance(item, Gap):
                if self.style.wrap is None:
                    self.end(SubscriptionLost(self._entrance.topic, item.lost))
                    return None
                return self.style.gap(item)
            if item.but is not None and item.but == self._state.id:
                return None
            return self.style.frame(self.log, self.next, item)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is this subscription's alone
            self.end(failure)
            return None
