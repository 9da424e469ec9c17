"""The messages of a connection as values, and what follows when one of them fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Generic, TypeVar, assert_never, final

import trio
from attrs import frozen

from seawall.connection.message_format import MessageFormat
from seawall.connection.state import ConnectionState
from seawall.errors import Disconnected, Draining, InvalidMessage, TooManyInvalidMessages
from seawall.messages.codec import Sendable
from seawall.messages.decoder import MessageDecoder, Ref
from seawall.messages.encoder import ErrorFrame
from seawall.policy.ending import Ends, Nothing, Replies
from seawall.policy.verdicts import Phase
from seawall.wire.frames.encoder import Frame

T_co = TypeVar("T_co", covariant=True)

#: For who has asked, if the policy ignores what the question has failed with: else it would wait for ever.
_GIVEN_UP: Final = ErrorFrame(code="cancelled")


@final
class TypedMessages(AsyncIterator[T_co], Generic[T_co]):
    """The messages of a connection, decoded. Those that are invalid are passed over, and done to as the policy says."""

    def __init__(self, state: ConnectionState, decoder: MessageDecoder[T_co]) -> None:
        """Decode what the connection of `state` receives."""
        self._state = state
        self._queue = state.channel.queue
        self._decode = decoder.decode

    def __aiter__(self) -> TypedMessages[T_co]:
        """Iterate over them."""
        return self

    async def __anext__(self) -> T_co:
        """The next one that is valid; the iteration ends with the conversation, which the policy may end."""
        while True:
            message = await self._queue.receive(self._state)
            try:
                value = self._decode(message)
            except InvalidMessage as invalid:
                failure = invalid.with_traceback(None)  # whose frames would hold the message
            else:
                self._state.channel.inbound.invalid = 0
                return value
            del message  # likewise
            if not await fail_message(self._state, failure, ref=failure.ref):
                raise StopAsyncIteration

    async def receive(self) -> T_co:
        """The same, once. Raises as `Connection.receive`."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise ending_of(self._state) from None


def ending_of(state: ConnectionState) -> Disconnected | Draining:
    """Why no more messages come from a connection, as `Connection.receive` says it."""
    return Draining(state.id) if state.lifecycle.ended is None else Disconnected(state.id)


async def fail_message(state: ConnectionState, failure: Exception, *, ref: Ref | None, message: str = "") -> bool:
    """Do what the policy decides about a message that has failed: answer it, end the connection, or nothing.

    Args:
      state: of the connection.
      failure: what the message has failed with.
      ref: with which it has asked for an answer; None if it has not.
      message: its type, if that is known.

    Returns:
      Whether the connection goes on; if not, it has ended because of this message.
    """
    answer: Frame | Ends | None
    if isinstance(failure, InvalidMessage) and _is_one_too_many(state):
        answer = state.reports.judge_end(TooManyInvalidMessages(), Phase.TRANSPORT)
    else:
        answer = _answer(state, failure, ref, message)
    if isinstance(answer, Ends):
        state.lifecycle.end(answer.end)
        return False
    if answer is None:
        await trio.lowlevel.checkpoint()
    else:
        with suppress(Disconnected):  # what came before the peer's Close is received all the same
            await send_frame(state, answer)
    return True


async def send_frame(state: ConnectionState, frame: Frame) -> None:
    """Send the frame of a message; as `Connection.send`."""
    try:
        await state.channel.send_buffer.put_message(frame)
    except (trio.ClosedResourceError, trio.BrokenResourceError):
        raise Disconnected(state.id) from None
    state.lifecycle.timeouts.touch()


def _is_one_too_many(state: ConnectionState) -> bool:
    """Count an invalid message."""
    inbound, most = state.channel.inbound, state.lifecycle.timeouts.limits.max_message_errors
    inbound.invalid += 1
    return most is not None and inbound.invalid >= most


def _answer(state: ConnectionState, failure: Exception, ref: Ref | None, message: str) -> Frame | Ends | None:
    """The frame that the policy answers to `failure` with; None for nothing."""
    consequence = state.reports.judge_message(failure, message)
    match consequence:
        case Ends():
            return consequence
        case Nothing():
            return None if ref is None else state.format.answer(_GIVEN_UP, re=ref)
        case Replies():
            made = _made(state.format, consequence)
            if isinstance(made, _Failed):
                return state.reports.judge_end(made.failure, Phase.HANDLER)
            return state.format.answer(made, re=ref)
        case _:
            assert_never(consequence)


@final
@frozen
class _Failed:
    """There is no answer."""

    failure: Exception


def _made(form: MessageFormat, replies: Replies) -> Sendable | _Failed:
    """The answer of the policy, which can be encoded. No ref is in the frames of the traceback if it fails."""
    try:
        made = replies.make.make(replies.exception)
        form.answer(made)
    except Exception as failure:  # noqa: BLE001 - the application's, or it cannot be encoded
        return _Failed(failure)
    return made
