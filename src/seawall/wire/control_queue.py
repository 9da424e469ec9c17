"""`ControlQueue`: the control frames that trio-websocket has not read yet."""

from __future__ import annotations

from typing import Final, final

from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control, restored
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.waiter import Waiter

#: Pings that wait for an answer. If they come faster than we answer, the latest suffice (RFC 6455, section 5.5.3).
MAX_PINGS: Final = 16


@final
class ControlQueue:
    """Control frames that a `MessageChannel` puts in and its `ControlStream` takes out.

    A Ping is answered before the handler is woken for a message that came after the Ping. So a Ping defers the messages
    (`defers_messages`) until trio-websocket has written the Pong and reads again. If the Pong has to wait for room in
    the `SendBuffer`, the messages are announced at once.
    """

    __slots__ = (
        "_bad_gateway",
        "_close",
        "_messages",
        "_pings",
        "_pong_blocked",
        "changed",
        "closed",
        "defers_messages",
    )

    def __init__(self, messages: ReceiveQueue) -> None:
        """Begin empty; `messages` is the queue to announce when the Pings have been answered."""
        self._messages = messages
        self._pings: tuple[bytes, ...] = ()
        self._close: bytes | None = None
        self._bad_gateway = False
        self._pong_blocked = False
        self.changed = Waiter()
        """Wakes `ControlStream.receive_some` whenever what it waits for may have happened."""
        self.defers_messages = False
        """Whether messages are not announced to the handler, because a Ping before them is being answered."""
        self.closed = False
        """Whether trio-websocket reads end-of-file next, even if there are frames for it."""

    def put(self, control: Control) -> None:
        """Queue a Ping or a Close."""
        if control.opcode is Opcode.PING:
            self._pings = (*self._pings[1 - MAX_PINGS :], control.masked())
            self.defers_messages = not self._pong_blocked
        else:
            self._close, self._bad_gateway = control.masked(), control.is_unknown_below
        self.changed.wake()

    def take(self) -> bytes | None:
        """The next frame, masked as wsproto expects it from a client: Pings first; None if there is none."""
        if self._pings:
            ping, self._pings = self._pings[0], self._pings[1:]
            return ping
        close, self._close = self._close, None
        return close

    def answer(self, close: bytes) -> bytes:
        """The Close to send in place of `close`, which trio-websocket has written: the peer gets back its own code."""
        return restored(close) if self._bad_gateway else close

    def drop_pings(self) -> None:
        """Throw away the Pings, which are then never answered."""
        self._pings = ()

    def begin_reading(self) -> None:
        """Note that trio-websocket reads again, so that none of its Pongs waits for room."""
        self._pong_blocked = False

    def release_messages(self, *, pong_blocked: bool = False) -> None:
        """Announce the messages that were deferred.

        Args:
          pong_blocked: whether a Pong waits for room. Until `begin_reading` further Pings then defer no messages.
        """
        self._pong_blocked = pong_blocked
        self.defers_messages = False
        self._messages.announce()

    def close(self) -> None:
        """Let trio-websocket read end-of-file from now on."""
        self.closed = True
        self.changed.wake()
