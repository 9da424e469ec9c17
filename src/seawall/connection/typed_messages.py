"""The messages of a connection as values, and what follows when one of them fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Generic, TypeVar, assert_never, final

import trio

from seawall.connection.state import ConnectionState
from seawall.errors import Disconnected, InvalidMessage, TooManyInvalidMessages
from seawall.messages.decoder import MessageDecoder, Ref
from seawall.messages.encoder import ErrorFrame
from seawall.policy.ending import Ends, Nothing, Replies
from seawall.wire.frames.encoder import encode_payload

T_co = TypeVar("T_co", covariant=True)

#: For who has asked, if the policy ignores what the question has failed with: else it would wait for ever.
_GIVEN_UP: Final = ErrorFrame(code="cancelled")


@final
class TypedMessages(AsyncIterator[T_co], Generic[T_co]):
    """The messages of a connection, decoded. Those that are invalid are passed over, and done to as the policy says."""

    def __init__(
        self, receive: Callable[[], Awaitable[str | bytes]], decoder: MessageDecoder[T_co], state: ConnectionState
    ) -> None:
        """Decode what `receive` returns, which receives from the connection of `state`."""
        self._receive = receive
        self._decode = decoder.decode
        self._state = state

    def __aiter__(self) -> TypedMessages[T_co]:
        """Iterate over them."""
        return self

    async def __anext__(self) -> T_co:
        """The next one that is valid. Raises as `receive`, and `Disconnected` if the policy ends the connection."""
        while True:
            message = await self._receive()
            try:
                value = self._decode(message)
            except InvalidMessage as invalid:
                failure = invalid
            else:
                self._state.channel.inbound.invalid = 0
                return value
            del message  # or it would be in the traceback of what is raised
            await fail_message(self._state, failure, ref=failure.ref)


async def fail_message(state: ConnectionState, failure: Exception, *, ref: Ref | None, message: str = "") -> None:
    """Do what the policy decides about a message that has failed: answer it, end the connection, or nothing.

    Args:
      state: of the connection.
      failure: what the message has failed with.
      ref: with which it has asked for an answer; None if it has not.
      message: its type, if that is known.

    Raises:
      Disconnected: the connection has ended, because of this message or before.
    """
    if isinstance(failure, InvalidMessage) and _is_one_too_many(state):
        failure = TooManyInvalidMessages()
    answer = _answer(state, failure, ref, message)
    if answer is None:
        await trio.lowlevel.checkpoint()
    else:
        payload, is_text = answer
        await send_payload(state, payload, is_text=is_text)


async def send_payload(state: ConnectionState, payload: bytes, *, is_text: bool) -> None:
    """Send a message that is encoded; as `Connection.send`."""
    try:
        await state.channel.send_buffer.put_message(encode_payload(payload, is_text=is_text))
    except (trio.ClosedResourceError, trio.BrokenResourceError):
        raise Disconnected(state.id) from None
    state.lifecycle.timeouts.touch()


def send_payload_nowait(state: ConnectionState, payload: bytes, *, is_text: bool) -> None:
    """Send a message that is encoded; as `Connection.send_nowait`."""
    try:
        state.channel.send_buffer.put_message_nowait(encode_payload(payload, is_text=is_text))
    except (trio.ClosedResourceError, trio.BrokenResourceError):
        raise Disconnected(state.id) from None
    state.lifecycle.timeouts.touch()


def _is_one_too_many(state: ConnectionState) -> bool:
    """Count an invalid message."""
    inbound, most = state.channel.inbound, state.lifecycle.timeouts.limits.max_message_errors
    inbound.invalid += 1
    return most is not None and inbound.invalid >= most


def _answer(state: ConnectionState, failure: Exception, ref: Ref | None, message: str) -> tuple[bytes, bool] | None:
    """What the policy has answered to `failure`, and whether that is text; None for nothing."""
    consequence = state.reports.judge_message(failure, message)
    match consequence:
        case Ends():
            raise _ended(state, consequence)
        case Nothing():
            return None if ref is None else state.format.encode(_GIVEN_UP, re=ref)
        case Replies(reply, exception):
            try:
                return state.format.encode(reply.make(exception), re=ref)
            except Exception as raised:  # noqa: BLE001 - the application's, or it cannot be encoded
                fault = raised
            raise _ended(state, state.reports.judge_answer(fault))
        case _:
            assert_never(consequence)


def _ended(state: ConnectionState, ends: Ends) -> Disconnected:
    state.lifecycle.end(ends.end)
    return Disconnected(state.id)
