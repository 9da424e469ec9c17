"""`ControlQueue`: the control frames that trio-websocket has still to be given."""

from __future__ import annotations

from typing import Final, final

from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.waiter import Waiter

#: Pings kept for answering. Of those that come faster than we can answer, the latest suffice (RFC 6455, 5.5.3).
MAX_PINGS: Final = 16


@final
class ControlQueue:
    """What a `MessageChannel` and the `ControlStream` beside it share: the one puts control frames in, the other takes.

    A Ping is answered before the handler is woken for the message that came after it. So from a Ping on messages are
    held (`defers_messages`), until trio-websocket's reader, having answered, comes for more. If its answer has to wait
    for room in the `SendBuffer`, the handler does not wait for that.
    """

    __slots__ = ("_close", "_messages", "_pings", "_pong_blocked", "changed", "closed", "defers_messages")

    def __init__(self, messages: ReceiveQueue) -> None:
        """Begin with none; `messages` are announced when the Pings before them have been answered."""
        self._messages = messages
        self._pings: tuple[bytes, ...] = ()
        self._close: bytes | None = None
        self._pong_blocked = False
        self.changed = Waiter()
        """Woken whenever `ControlStream.receive_some`, which waits for it, is to look again."""
        self.defers_messages = False
        """Whether messages are not announced yet, because a Ping before them is being answered."""
        self.closed = False
        """Whether trio-websocket is to be told end-of-file, whatever else there is."""

    def put(self, control: Control) -> None:
        """Queue a Ping or a Close."""
        if control.opcode is Opcode.PING:
            self._pings = (*self._pings[1 - MAX_PINGS :], control.masked())
            self.defers_messages = not self._pong_blocked
        else:
            self._close = control.masked()
        self.changed.wake()

    def take(self) -> bytes | None:
        """The next one, as wsproto is to read it."""
        if self._pings:
            ping, self._pings = self._pings[0], self._pings[1:]
            return ping
        close, self._close = self._close, None
        return close

    def drop_pings(self) -> None:
        """Answer no more of them."""
        self._pings = ()

    def begin_reading(self) -> None:
        """trio-websocket comes for the next one, so no answer of its waits any more."""
        self._pong_blocked = False

    def release_messages(self, *, pong_blocked: bool = False) -> None:
        """Announce the messages that were held; those of later Pings are not held while `pong_blocked` for room."""
        self._pong_blocked = pong_blocked
        self.defers_messages = False
        self._messages.announce()

    def close(self) -> None:
        """Give trio-websocket end-of-file from now on."""
        self.closed = True
        self.changed.wake()
