"""`ReceiveQueue`: the messages that the handler has not received yet."""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, Protocol, final

import trio

from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.inbound_budget import COUNTED_FROM
from seawall.wire.transport.base import Transport
from seawall.wire.waiter import Waiter

#: The deque of every empty queue: one takes 760 bytes, and the queue of most connections is empty most of the time.
_EMPTY: Final[deque[str | bytes]] = deque(maxlen=0)


@final
class Intake(enum.Enum):
    """What becomes of a message that is put, and what `ReceiveQueue.receive` does when there is none."""

    OPEN = "open"
    """It is queued; `receive` waits."""
    DISCARDED = "discarded"
    """It is thrown away, as the handler has asked for; `receive` waits."""
    ENDED = "ended"
    """It is thrown away, and counted; `receive` raises."""
    DISCARDED_AND_ENDED = "discarded and ended"
    """It is thrown away, as the handler has asked for; `receive` raises."""


# Globals and tuples, because every message looks: a member of an enum costs as much to find as a call.
_OPEN: Final = Intake.OPEN
_ENDLESS: Final = (Intake.OPEN, Intake.DISCARDED)
_DISCARDING: Final = (Intake.DISCARDED, Intake.DISCARDED_AND_ENDED)


class Consumer(Protocol):
    """Who receives the messages of a `ReceiveQueue`. Every message is told, so what it does has to be cheap."""

    def on_received(self) -> None:
        """A message has been received, and has left the queue."""
        ...

    def end_of_messages(self) -> Exception:
        """What is raised once the queue has ended, and every message has been received."""
        ...


@final
class _Nobody:
    """The `Consumer` who wants to know nothing."""

    def on_received(self) -> None:
        """Do nothing."""

    def end_of_messages(self) -> Exception:
        """As Trio's channels say it."""
        return trio.EndOfChannel()


_NOBODY: Final = _Nobody()


def size_of(message: str | bytes) -> int:
    """Bytes of its payload."""
    return len(message if isinstance(message, bytes) else message.encode())


@final
class ReceiveQueue:
    """A queue with two marks, a soft and a hard one, which limit how much is read from the peer.

    At ``inbound_queue`` messages the soft mark is reached, and the peer is read only every `PACE` seconds (of
    `seawall.wire.transport.base`). At ``inbound_buffer`` bytes of memory the hard mark is reached too, and nothing is
    read. The soft mark counts as reached until the queue has fallen to half of both numbers.

    While the handler is behind, the marks alone decide whether an open connection is read (`ReadInterest.THROTTLED` and
    `PAUSED`); the other values of `MessageChannel.read_interest` say whether there is more to decode, and whether the
    conversation has ended. The transports, the poller's schedule and the keepalive, which sends no Ping while reading
    is paused, look at the `ReadInterest` alone. So a new reason to pause belongs here, beside the marks, and has to
    call `Transport.update` when it changes outside of `put`.
    """

    __slots__ = (
        "_arrival",
        "_hard",
        "_intake",
        "_messages",
        "_receiving",
        "_size",
        "_soft",
        "_transport",
        "above_hard",
        "above_soft",
        "budget",
        "dropped",
    )

    def __init__(self, limits: Limits, budget: Budget, transport: Transport) -> None:
        """Begin empty; `Transport.update` is called when the queue falls below a mark."""
        self._soft = limits.inbound_queue
        self._hard = limits.inbound_bytes
        self.budget = budget
        """Of the server."""
        self._transport = transport
        self._messages: deque[str | bytes] = _EMPTY
        self._size = 0
        self._arrival = Waiter()
        self._receiving = False
        self._intake = _OPEN
        self.dropped = 0
        """How many messages have been thrown away, other than by or after `discard`."""
        self.above_soft = False
        """Whether a mark has been reached, and the queue has not fallen to half of both since."""
        self.above_hard = False
        """Whether the hard mark is reached."""

    def put(self, message: str | bytes, *, announced: bool = False) -> None:
        """Queue a message, even above a mark; throw it away after `end` or `discard`.

        The caller looks at the marks afterwards, and calls `announce` to wake the receiver unless it is `announced`.
        """
        if self._intake is not _OPEN:
            if not self.discards:
                self.dropped += 1
            return
        messages = self._messages
        if messages is _EMPTY:
            messages = self._messages = deque()
        messages.append(message)
        # The memory that the message takes: an empty one is not free, and one emoji makes each character take 4 bytes.
        size = self._size = self._size + message.__sizeof__()
        if size >= self._hard:
            self.above_hard = self.above_soft = True
        elif len(messages) >= self._soft:
            self.above_soft = True
        if size >= COUNTED_FROM:
            self.budget.inbound.put(self, size)
        if announced:
            self._arrival.wake()

    def cut(self, most: int) -> None:
        """Throw away the first message of more than `most` bytes, and all that came behind it."""
        sizes = [size_of(message) for message in self._messages]
        for kept, size in enumerate(sizes):
            if size > most:
                while len(self._messages) > kept:
                    self._size -= self._messages.pop().__sizeof__()
                    self.dropped += 1
                self.budget.inbound.take(self, self._size)
                return

    def forget(self) -> None:
        """Nobody receives any more: what is queued no longer counts for all connections together."""
        self.budget.inbound.forget(self)

    def peek(self, position: int, /) -> str | bytes:
        """The message at `position`, which stays in the queue: 0 is the next one, -1 the one that came last."""
        return self._messages[position]

    def take(self, position: int, /) -> str | bytes:
        """Receive the message at `position`, out of its turn, without waiting."""
        message = self._messages[position]
        del self._messages[position]
        self._forget_one(message)
        return message

    def announce(self) -> None:
        """Wake the task in `receive` if a message is queued."""
        if self._messages:
            self._arrival.wake()

    def __len__(self) -> int:
        """How many messages are queued."""
        return len(self._messages)

    @property
    def unreceived(self) -> int:
        """How many messages nobody has received so far, other than because `discard` was called."""
        return self.dropped + len(self._messages)

    @property
    def discards(self) -> bool:
        """Whether `discard` has been called."""
        return self._intake in _DISCARDING

    def clear(self) -> None:
        """Throw away the messages that are queued."""
        self.dropped += len(self._messages)
        self._messages = _EMPTY
        self._size = 0
        self.budget.inbound.take(self, 0)
        self._make_room()

    def end(self) -> None:
        """Queue no more messages: `receive` returns those that are queued and then raises `trio.EndOfChannel`."""
        if self._intake in _ENDLESS:
            self._stop(Intake.DISCARDED_AND_ENDED if self.discards else Intake.ENDED)
        self._arrival.wake()

    def discard(self) -> None:
        """Throw away the messages that are queued and those that are put later, so that no mark is reached again."""
        self.dropped -= len(self._messages)  # they are not wanted
        self.clear()
        self._stop(Intake.DISCARDED if self._intake in _ENDLESS else Intake.DISCARDED_AND_ENDED)

    @trio.lowlevel.enable_ki_protection
    async def receive(self, consumer: Consumer = _NOBODY) -> str | bytes:
        """The next message.

        Args:
          consumer: is told of it; here, because each coroutine around this one costs time for each message.

        Raises:
          trio.EndOfChannel: the queue has ended, and every message has been received; or what the consumer says.
          trio.BusyResourceError: another task is in `receive`.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._receiving = True
        try:
            if not self._messages and self._intake in _ENDLESS:
                await self._arrival.wait()
            elif self.budget.is_spent(len(self._messages[0]) if self._messages else 0):
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            # The message leaves the queue after the last checkpoint, so a cancelled call loses none.
            while not self._messages:
                if self._intake not in _ENDLESS:
                    raise consumer.end_of_messages()
                await self._arrival.wait()
        finally:
            self._receiving = False
        message = self._messages.popleft()
        if self._messages or self.above_soft or self._size >= COUNTED_FROM:
            self._forget_one(message)
        else:  # as nearly always; what follows is what `_forget_one` would do
            self._messages, self._size = _EMPTY, 0
        consumer.on_received()
        return message

    async def wait_arrival(self) -> bool:
        """Wait until a message comes, the queue ends, or `nudge` is called; False if it has ended.

        Raises:
          trio.BusyResourceError: as `receive`.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._receiving = True
        try:
            if self._intake in _ENDLESS:
                await self._arrival.wait()
            else:
                await trio.lowlevel.checkpoint()
        finally:
            self._receiving = False
        return self._intake in _ENDLESS

    def nudge(self) -> None:
        """Let the task in `wait_arrival` return."""
        self._arrival.wake()

    def set_hard_mark(self, hard: int, /) -> int:
        """Put the hard mark at so many bytes, as when all connections together hold too much; where it was before."""
        before, self._hard = self._hard, hard
        if self._intake is _OPEN and self._size >= hard:
            self.above_hard = self.above_soft = True
            self._transport.update()
        elif self.above_soft:
            self._make_room()
        return before

    def _forget_one(self, message: str | bytes) -> None:
        """Count `message` no more, which has left the queue."""
        if not self._messages:
            self._messages = _EMPTY
        if self._size >= COUNTED_FROM:
            self.budget.inbound.take(self, self._size - message.__sizeof__())
        self._size -= message.__sizeof__()
        if self.above_soft:
            self._make_room()

    def _stop(self, intake: Intake) -> None:
        """Throw away what is put from now on, and clear the marks."""
        self._intake = intake
        if self.above_soft:
            self.above_soft = self.above_hard = False
            self._transport.update()

    def _make_room(self) -> None:
        """Compute the marks again, and call `Transport.update` if one of them has changed."""
        before = self.above_soft, self.above_hard
        self.above_hard = self._size >= self._hard
        self.above_soft = self.above_soft and (len(self._messages) * 2 > self._soft or self._size * 2 > self._hard)
        if before != (self.above_soft, self.above_hard):
            self._transport.update()
