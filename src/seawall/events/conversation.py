"""`Conversation`: the events of one connection, from the message to the answer.

Events are handled in the order in which they came. One without a ``ref`` is handled in the task that reads: there is
no scope, no queue and no task for it. One with a ``ref`` has a task with a scope, so that the peer can cancel it, and
the next event waits until it has ended; a stream, or any event if ``concurrent`` allows several, holds up nothing.
While a stream runs, which the peer can cancel, events without a ``ref`` have tasks too, and the reading goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final, Generic, TypeVar, cast, final

import trio
from attrs import define, frozen

from seawall.callables import Parameter
from seawall.connection.connection import Connection, state_of
from seawall.connection.message_format import MessageFormat
from seawall.connection.typed_messages import ending_of, fail_message, send_frame
from seawall.errors import Disconnected, Draining, EventTimeout, InvalidMessage
from seawall.events.event import AnyEvent, arguments_of
from seawall.events.reading import Reading
from seawall.events.running import RunningEvents
from seawall.exception_groups import partition, replace_stray_cancelled, wrap_unprintable
from seawall.messages.codec import Fields
from seawall.messages.decoder import Control, EventDecoder, MessageDecoder, Ref
from seawall.messages.encoder import ErrorCode, ErrorFrame, MessageEncoder
from seawall.wire.frames.encoder import Frame

P = TypeVar("P")
T = TypeVar("T")

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
    framed: Callable[[bytes], Frame]
    """The frame of what `encoder` has encoded."""
    concurrent: int
    """How many events are handled at a time; streams are not counted."""
    pushes: MessageFormat | None
    """For what is sent without being asked for, if not all may be."""


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
        self._running = RunningEvents[P](protocol.concurrent)
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
            self._running.cancel_all(only_streams=True)  # some never end, and nobody can cancel them any more
            while self._running:
                await self._reading.wait_changed()
        finally:
            self._running.cancel_all(only_streams=False)

    async def request(self, ask: Fields, decoder: MessageDecoder[T], timeout: float) -> T:  # noqa: ASYNC109 - the bound is what it is about
        """Ask the peer; see `Events.request`."""
        self._last_question += 1
        ref, question = self._last_question, _Question()
        payload = self._protocol.encoder.ask(ask, ref)
        self._questions[ref] = question
        try:
            with trio.move_on_after(timeout):
                await self._send(payload)
                await self._read_while(lambda: question.answer is None and not self._reading.ended)
        finally:
            del self._questions[ref]
        answer, question.answer = question.answer, None
        if answer is None:
            raise ending_of(self._state) if self._reading.ended else EventTimeout
        try:
            return decoder.decode(answer)
        except InvalidMessage as invalid:
            failure = invalid.with_traceback(None)  # whose frames hold the answer, and so does this one
        del answer
        raise failure

    # Reading.

    async def _handle_all(self) -> None:
        decode, events, inbound = self._protocol.decoder.decode, self._protocol.events, self._state.channel.inbound
        running, concurrent, conn, path = self._running, self._protocol.concurrent, self._conn, self._path
        while True:
            if running.handlers >= concurrent:
                await self._read_while(lambda: running.is_full)
            try:
                received = await self._reading.receive()
            except trio.EndOfChannel:
                self._reading.end()
                return
            try:
                message, ref = decode(received)
            except InvalidMessage as invalid:
                message, ref = _kept(invalid)
            event = events.get(message.__class__)
            if event is None:
                await self._handle_other(message, ref, received)
                continue
            inbound.invalid = 0
            del received  # not to be held while the handler runs
            handler = event.plain
            if ref is not None or handler is None or concurrent > 1 or running.streams:
                await self._begin(event, message, ref)
                continue
            try:
                answer = await handler(conn, message, **(path and arguments_of(event.taken, path)))
                if answer is not None:
                    await self._send(self._protocol.encoder.encode(answer))
            except BaseException as raised:  # noqa: ASYNC103, BLE001 - what is not for the policy is raised again
                await self._fail(event, raised, None)  # noqa: ASYNC102 - in a cancelled scope it only reports

    async def _handle_other(self, message: object, ref: Ref | None, received: str | bytes) -> None:
        """Handle what is no event."""
        if isinstance(message, Control):
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
            try:
                message, ref = self._protocol.decoder.decode(found)
            except InvalidMessage as invalid:
                message, ref = _kept(invalid)
            if message.__class__ is InvalidMessage:
                reading.ahead.append(None)  # it is answered in its turn
            elif isinstance(message, Control):
                reading.take_looked_at()
                await self._act(message, cast("Ref", ref), found)
            elif ref is not None and (ref in self._running or ref in reading.ahead):
                reading.take_looked_at()
                await self._refuse("duplicate_ref", ref)
            else:
                reading.ahead.append(ref)

    async def _act(self, what: Control, ref: Ref, received: str | bytes) -> None:
        """Do what a message says about an event. One that comes too late is about nothing."""
        if what is _CANCEL:
            if not self._running.cancel(ref) and self._reading.take_back(ref):
                await self._refuse("cancelled", ref)
        elif (question := self._questions.get(ref)) is not None and question.answer is None:
            question.answer = received
            self._reading.changed()

    async def _refuse(self, code: ErrorCode, ref: Ref) -> None:
        """Answer an event that has been taken out of the queue, whoever has read it, and had to wait no longer."""
        with trio.CancelScope(shield=True):  # bounded by Limits.send_timeout
            await self._send_error(code, ref)

    # Handling.

    async def _begin(self, event: AnyEvent[P], message: object, ref: Ref | None) -> None:
        """Handle an event in a task of its own; or in this one, if it has neither a ref nor others beside it."""
        if ref is not None and ref in self._running:
            await self._send_error("duplicate_ref", ref)
            return
        is_alone = self._protocol.concurrent == 1 and not self._running.streams  # nothing to be cancelled meanwhile
        if not event.is_stream and ref is None and is_alone:
            await self._handle(event, message, None)
            return
        scope = self._running.reserve(ref)
        if event.is_stream and self._running.is_full_of_streams and not await self._has_room(scope, ref):
            return
        self._running.begin(scope, event)
        self._conn.nursery.start_soon(self._run_task, event, message, ref, scope, name=f"event {event.name}")

    async def _has_room(self, scope: trio.CancelScope, ref: Ref | None) -> bool:
        """Wait until one stream more may run; False if it has been cancelled meanwhile."""
        self._held, has_room = True, False
        try:
            await self._read_while(lambda: self._running.is_full_of_streams and not scope.cancel_called)
            has_room = not scope.cancel_called
        finally:
            self._held = False
            if not has_room:
                self._running.end(scope, ref)
        if not has_room and ref is not None:
            await self._send_error("cancelled", ref)
        return has_room

    async def _run_task(self, event: AnyEvent[P], message: object, ref: Ref | None, scope: trio.CancelScope) -> None:
        try:
            is_over = False
            with scope:
                is_over = not await self._goes_on(self._handle(event, message, ref))
            if ref is not None and (is_over or scope.cancelled_caught):
                await self._goes_on(self._send_error("cancelled", ref))
        finally:
            self._running.end(scope, ref)
            self._reading.changed()
            if self._held or self._reading.ahead:
                self._reading.nudge()

    async def _goes_on(self, step: Awaitable[None]) -> bool:
        """Await `step`, and tell whether the connection is over for it.

        If it is, the task that reads will see that, when it has handled all that came before.
        """
        try:
            await step
        except (Disconnected, Draining) as end:
            if not self._is_end(end):
                raise
            return False
        return True

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
            await self._fail(event, raised, ref)  # noqa: ASYNC102 - as above

    async def _answer(self, event: AnyEvent[P], message: object, ref: Ref | None) -> None:
        encoder, last = self._protocol.encoder, None
        async with AsyncExitStack() as resources:
            outcome = await event.call_guarded(self._conn, message, self._path, resources)
            if event.is_stream:
                await self._send_stream(cast("AsyncGenerator[Fields]", outcome), ref)
                last = None if ref is None else encoder.end(ref)
            else:
                answer = await cast("Awaitable[Fields | None]", outcome)
                if answer is not None:
                    last = encoder.encode(answer, re=ref)
                elif ref is not None:
                    last = encoder.done(ref)
        # What the guard has entered has been left: a transaction that fails at its end has not been answered.
        if last is not None:
            await self._send(last)
        elif ref is not None:  # a resource has swallowed what was raised
            await self._send_error("cancelled", ref)

    async def _send_stream(self, values: AsyncGenerator[Fields], ref: Ref | None) -> None:
        try:
            async for value in values:
                await self._send(self._protocol.encoder.encode(value, re=ref))
        finally:
            seconds = self._state.lifecycle.timeouts.limits.wind_down
            with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
                await values.aclose()

    async def _fail(self, event: AnyEvent[P], raised: BaseException, ref: Ref | None) -> None:
        """Do what the policy decides about what a handler has raised; the rest is raised again.

        Raises:
          BaseException: a part of `raised`: a `Disconnected` or `Draining` of this connection, which is no failure of
            the event; what cancels it; or what stops the program.
        """
        parts = partition(replace_stray_cancelled(raised))
        failures = [failure for failure in parts.failures if not self._is_end(failure)]
        try:
            if parts.fatal:
                wrap_unprintable(raised)
                raise raised
            if failures:
                failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
                await fail_message(self._state, failure, ref=ref, message=event.name)
            if parts.cancelled is not None:
                raise parts.cancelled
            if not failures:
                raise raised
        finally:
            del raised, parts, failures  # a reference cycle would be left to the garbage collector

    def _is_end(self, failure: Exception) -> bool:
        return isinstance(failure, Disconnected | Draining) and failure.connection == self._conn.id

    def _send(self, payload: bytes) -> Awaitable[None]:
        return send_frame(self._state, self._protocol.framed(payload))

    async def _send_error(self, code: ErrorCode, ref: Ref) -> None:
        await self._send(self._protocol.encoder.error(ErrorFrame(code=code), re=ref))


def _kept(invalid: InvalidMessage) -> tuple[InvalidMessage, Ref | None]:
    """An error in place of a message, and the ref that this has nevertheless; the traceback would hold the message."""
    return invalid.with_traceback(None), invalid.ref
