"""`Conversation`: the events of one connection, from the message to the answer.

Events are handled in the order in which they came. One without a ``ref`` is handled in the task that reads: there is
no scope, no queue and no task for it. One with a ``ref`` has a task with a scope, so that the peer can cancel it, and
the next event waits until it has ended; a stream, or any event if ``concurrent`` allows several, holds up nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final, Generic, TypeAlias, TypeVar, cast, final

import trio
from attrs import define, frozen

from seawall.callables import Parameter
from seawall.connection.connection import Connection, state_of
from seawall.connection.typed_messages import fail_message, send_payload
from seawall.errors import Disconnected, Draining, EventTimeout, InvalidMessage
from seawall.events.event import AnyEvent, arguments_of
from seawall.events.reading import Reading
from seawall.exception_groups import partition
from seawall.messages.codec import Fields
from seawall.messages.decoder import Control, EventDecoder, MessageDecoder, Ref
from seawall.messages.encoder import ErrorFrame, MessageEncoder

P = TypeVar("P")
T = TypeVar("T")

Decode: TypeAlias = Callable[[str | bytes], tuple[object, Ref | None]]

#: Streams of one connection at a time; the next one waits, and what came after it.
MAX_STREAMS: Final = 16

#: Globals, because every message looks: a member of an enum costs as much to find as a call.
_CANCEL: Final = Control.CANCEL


@final
@frozen(kw_only=True, eq=False)
class Protocol(Generic[P]):
    """What the conversations of one `Events` on one route share."""

    events: Mapping[type, AnyEvent[P]]
    """By the class of the message."""
    decoder: EventDecoder
    encoder: MessageEncoder
    """For answers and questions."""
    is_text: bool
    concurrent: int
    """How many events are handled at a time; streams are not counted."""


@define(eq=False)
class _Question:
    """Something that the peer was asked."""

    answer: str | bytes | None = None


@final
class Conversation(Generic[P]):
    """The events of one connection, for as long as ``await events(conn)`` runs."""

    def __init__(self, protocol: Protocol[P], conn: Connection[P], path: Mapping[str, Parameter]) -> None:
        """Nothing is read before `run`."""
        self._protocol = protocol
        self._conn = conn
        self._state = state_of(conn)
        self._path = path
        self._reading = Reading(self._state)
        self._scopes: dict[Ref, trio.CancelScope] = {}  # of events that have asked with a ref
        self._tasks: dict[trio.CancelScope, AnyEvent[P]] = {}  # all events that have a task
        self._held = False  # whether an event waits for room that has been received already
        self._questions: dict[Ref, _Question] = {}
        self._last_question = 0

    async def run(self) -> None:
        """Handle events until there are no more, and until those that have been begun have ended.

        Raises:
          Disconnected: the connection is over.
        """
        try:
            await self._handle_all()
            for scope, event in tuple(self._tasks.items()):
                if event.is_stream:  # some never end by themselves, and nobody can cancel them any more
                    scope.cancel()
            while self._tasks:
                await self._reading.wait_changed()
        finally:
            for scope in self._tasks:
                scope.cancel()

    async def request(self, ask: Fields, decoder: MessageDecoder[T], timeout: float) -> T:
        """Ask the peer; see `Events.request`."""
        self._last_question += 1
        ref, question = self._last_question, _Question()
        payload = self._protocol.encoder.ask(ask, ref)
        self._questions[ref] = question
        try:
            with trio.move_on_after(timeout):
                await send_payload(self._state, payload, is_text=self._protocol.is_text)
                await self._read_while(lambda: question.answer is None and not self._reading.ended)
        finally:
            del self._questions[ref]
        if question.answer is not None:
            return decoder.decode(question.answer)
        if not self._reading.ended:
            raise EventTimeout
        raise self._over()

    def _over(self) -> Disconnected | Draining:
        kind = Draining if self._state.lifecycle.ended is None else Disconnected
        return kind(self._conn.id)

    # Reading.

    async def _handle_all(self) -> None:
        decode, events, inbound = self._protocol.decoder.decode, self._protocol.events, self._state.channel.inbound
        is_inline = self._protocol.concurrent == 1
        while True:
            if self._tasks and self._is_full():
                await self._read_while(self._is_full)
            try:
                received = await self._reading.receive()
            except trio.EndOfChannel:
                self._reading.end()
                return
            message, ref = _decoded(decode, received)
            event = events.get(message.__class__)
            if event is None:
                await self._handle_other(message, ref, received)
                continue
            inbound.invalid = 0
            if ref is None and is_inline and event.is_plain:
                await self._handle_inline(event, message)
            else:
                await self._begin(event, message, ref)

    async def _handle_other(self, message: object, ref: Ref | None, received: str | bytes) -> None:
        """Handle what is no event."""
        if message.__class__ is Control:
            await self._act(message, cast("Ref", ref), received)
        else:
            await fail_message(self._state, cast("InvalidMessage", message), ref=ref)

    async def _read_while(self, is_wanted: Callable[[], bool]) -> None:
        """Read ahead, or have another task do it, for as long as `is_wanted`; it is asked after each change."""
        reading = self._reading
        while is_wanted():
            found = await reading.look_ahead()
            if found is None or not is_wanted():
                continue
            message, ref = _decoded(self._protocol.decoder.decode, found)
            if message.__class__ is InvalidMessage:
                reading.ahead.append(None)  # it is answered in its turn
            elif message.__class__ is Control:
                reading.take_looked_at()
                await self._act(message, cast("Ref", ref), found)
            elif ref is not None and (ref in self._scopes or ref in reading.ahead):
                reading.take_looked_at()
                await self._send_error(ErrorFrame(code="duplicate_ref"), ref)
            else:
                reading.ahead.append(ref)

    async def _act(self, what: Control, ref: Ref, received: str | bytes) -> None:
        """Do what a message says about an event. One that comes too late is about nothing."""
        if what is _CANCEL:
            if (scope := self._scopes.get(ref)) is not None:
                scope.cancel()
            elif self._reading.take_back(ref):
                await self._send_error(ErrorFrame(code="cancelled"), ref)
        elif (question := self._questions.get(ref)) is not None and question.answer is None:
            question.answer = received
            self._reading.changed()

    def _is_full(self) -> bool:
        """Whether the next event has to wait for one that is being handled."""
        running = sum(not event.is_stream for event in self._tasks.values())
        return running >= self._protocol.concurrent

    def _is_full_of_streams(self) -> bool:
        return sum(event.is_stream for event in self._tasks.values()) >= MAX_STREAMS

    # Handling.

    async def _handle_inline(self, event: AnyEvent[P], message: object) -> None:
        try:
            answer = await cast(
                "Awaitable[Fields | None]", event.call(self._conn, message, arguments_of(event.taken, self._path))
            )
            if answer is not None:
                payload = self._protocol.encoder.encode(answer)
                await send_payload(self._state, payload, is_text=self._protocol.is_text)
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - what is not for the policy is raised again
            await self._fail(event, raised, None)

    async def _begin(self, event: AnyEvent[P], message: object, ref: Ref | None) -> None:
        """Handle an event in a task of its own; or in this one, if it has neither a ref nor others beside it."""
        if ref is not None and ref in self._scopes:
            await self._send_error(ErrorFrame(code="duplicate_ref"), ref)
            return
        if not event.is_stream and ref is None and self._protocol.concurrent == 1:
            await self._handle(event, message, None)
            return
        scope = trio.CancelScope()
        if ref is not None:
            self._scopes[ref] = scope
        if event.is_stream and self._is_full_of_streams():
            self._held = True
            try:
                await self._read_while(self._is_full_of_streams)
            finally:
                self._held = False
        self._tasks[scope] = event
        self._conn.nursery.start_soon(self._run_task, event, message, ref, scope, name=f"event {event.name}")

    async def _run_task(self, event: AnyEvent[P], message: object, ref: Ref | None, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._handle(event, message, ref)
            if scope.cancelled_caught and ref is not None:
                await self._send_error(ErrorFrame(code="cancelled"), ref)
        finally:
            del self._tasks[scope]
            if ref is not None:
                del self._scopes[ref]
            self._reading.changed()
            if self._held or self._reading.ahead:
                self._reading.nudge()

    async def _handle(self, event: AnyEvent[P], message: object, ref: Ref | None) -> None:
        """Ask the guard, call the handler and send what it answers; a failure goes to the policy."""
        try:
            if event.timeout is None:
                await self._answer(event, message, ref)
                return
            with trio.move_on_after(event.timeout) as limit:
                await self._answer(event, message, ref)
            if limit.cancelled_caught:
                raise EventTimeout
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - what is not for the policy is raised again
            await self._fail(event, raised, ref)

    async def _answer(self, event: AnyEvent[P], message: object, ref: Ref | None) -> None:
        async with AsyncExitStack() as resources:
            outcome = await event.call_guarded(self._conn, message, self._path, resources)
            if event.is_stream:
                await self._send_stream(cast("AsyncGenerator[Fields]", outcome), ref)
                return
            answer = await cast("Awaitable[Fields | None]", outcome)
            if answer is not None:
                await self._send(self._protocol.encoder.encode(answer, re=ref))
            elif ref is not None:
                await self._send(self._protocol.encoder.done(ref))

    async def _send_stream(self, values: AsyncGenerator[Fields], ref: Ref | None) -> None:
        try:
            async for value in values:
                await self._send(self._protocol.encoder.encode(value, re=ref))
        finally:
            seconds = self._state.lifecycle.timeouts.limits.wind_down
            with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
                await values.aclose()
        if ref is not None:
            await self._send(self._protocol.encoder.end(ref))

    async def _fail(self, event: AnyEvent[P], raised: BaseException, ref: Ref | None) -> None:
        parts = partition(raised)
        failures = [failure for failure in parts.failures if not self._is_end(failure)]
        if parts.fatal or parts.cancelled is not None or not failures:
            try:
                raise raised
            finally:
                del raised, parts, failures  # a reference cycle would be left to the garbage collector
        failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
        await fail_message(self._state, failure, ref=ref, message=event.name)

    def _is_end(self, failure: Exception) -> bool:
        return isinstance(failure, Disconnected | Draining) and failure.connection == self._conn.id

    async def _send(self, payload: bytes) -> None:
        await send_payload(self._state, payload, is_text=self._protocol.is_text)

    async def _send_error(self, frame: ErrorFrame, ref: Ref) -> None:
        await self._send(self._protocol.encoder.error(frame, re=ref))


def _decoded(
    decode: Callable[[str | bytes], tuple[object, Ref | None]], received: str | bytes
) -> tuple[object, Ref | None]:
    """What a message says, and its ref: an `InvalidMessage` if it is none, with the ref that it has nevertheless."""
    try:
        return decode(received)
    except InvalidMessage as invalid:
        failure = invalid.with_traceback(None)  # which would hold the message
    return failure, failure.ref
