"""`ReceiveQueue`: the messages that the handler has not yet taken."""

from __future__ import annotations

from collections import deque
from typing import Final, final

import trio

from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.transport.base import Transport
from seawall.wire.waiter import Waiter

#: What every empty queue holds: a deque takes 760 bytes, which most connections do without most of the time.
_EMPTY: Final[deque[str | bytes]] = deque(maxlen=0)


@final
class ReceiveQueue:
    """A queue with two marks.

    Above the soft one (``inbound_queue`` messages) the peer is read only now and then; above the hard one
    (``inbound_buffer`` bytes of memory) not at all. Once either has been reached, the peer is read only now and then
    until the queue is below half of both.

    The marks are the only reason not to read a peer whose upgrade was accepted. `MessageChannel.read_interest` and the
    answer of `MessageChannel.feed` are made of them; the transports, the poller's schedule and the keepalive, which
    does not ask a peer that we would not hear, go by the `ReadInterest` alone. So a new reason to pause the reading is
    set and cleared here, where the marks are, and calls `Transport.update` when it changes outside of `put`.
    """

    __slots__ = (
        "_arrival",
        "_budget",
        "_dropping",
        "_ended",
        "_hard",
        "_messages",
        "_receiving",
        "_size",
        "_soft",
        "_transport",
        "above_hard",
        "above_soft",
    )

    def __init__(self, limits: Limits, budget: Budget, transport: Transport) -> None:
        """Begin empty; `transport` is updated when the queue falls below a mark."""
        self._soft = limits.inbound_queue
        self._hard = limits.inbound_bytes
        self._budget = budget
        self._transport = transport
        self._messages: deque[str | bytes] = _EMPTY
        self._size = 0
        self._arrival = Waiter()
        self._receiving = False
        self._ended = False  # whether `receive` raises when there is no message
        self._dropping = False  # whether `put` throws away
        self.above_soft = False
        """Whether a mark has been reached, and the queue has not been below half of both since."""
        self.above_hard = False
        """Whether it is above the hard mark."""

    def put(self, message: str | bytes) -> None:
        """Queue a message, room or not, unless messages are thrown away by now.

        Who calls this looks at the marks first, and calls `announce` afterwards.
        """
        if self._dropping:
            return
        if self._messages is _EMPTY:
            self._messages = deque()
        self._messages.append(message)
        # The memory that it takes: an empty message counts, and an emoji makes each character four bytes.
        self._size += message.__sizeof__()
        if self._size >= self._hard:
            self.above_hard = self.above_soft = True
        elif len(self._messages) >= self._soft:
            self.above_soft = True

    def announce(self) -> None:
        """Wake the receiver if there is something for it."""
        if self._messages:
            self._arrival.wake()

    def clear(self) -> None:
        """Throw away what is queued."""
        self._messages = _EMPTY
        self._size = 0
        self._make_room()

    def end(self) -> None:
        """Queue no more messages; `receive` gives what is queued and then raises `trio.EndOfChannel`."""
        self._ended = True
        self._drop()
        self._arrival.wake()

    def discard(self) -> None:
        """Throw away what is queued and what is put from now on: the queue is never above a mark again."""
        self.clear()
        self._drop()

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
          trio.EndOfChannel: there will be none.
          trio.BusyResourceError: another task is already waiting for it.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._receiving = True
        try:
            if not (self._messages or self._ended):
                await self._arrival.wait()
            elif self._budget.is_spent(len(self._messages[0]) if self._messages else 0):
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            # The message is taken after the last checkpoint: a cancelled call has taken none.
            while not self._messages:
                if self._ended:
                    raise trio.EndOfChannel
                await self._arrival.wait()
        finally:
            self._receiving = False
        message = self._messages.popleft()
        if not self._messages:
            self._messages = _EMPTY
        self._size -= message.__sizeof__()
        if self.above_soft:
            self._make_room()
        return message

    def _drop(self) -> None:
        """Throw away what is put from now on, so that no mark counts any more."""
        self._dropping = True
        if self.above_soft:
            self.above_soft = self.above_hard = False
            self._transport.update()

    def _make_room(self) -> None:
        """Look at the marks again, and update the transport if the queue has just fallen below one."""
        before = self.above_soft, self.above_hard
        self.above_hard = self._size >= self._hard
        self.above_soft = self.above_soft and (len(self._messages) * 2 > self._soft or self._size * 2 > self._hard)
        if before != (self.above_soft, self.above_hard):
            self._transport.update()
