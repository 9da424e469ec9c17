"""`RunningEvents`: how many events have tasks, and how many more may. And which handlers need none."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from seawall import Anonymous, Connection, Gate, check
from seawall.events.event import Event
from seawall.events.running import MAX_STREAMS, RunningEvents
from tests.kit.talk import Said, Say


async def once(_conn: Connection[Anonymous], message: Say) -> Said:
    """Answer once."""
    return Said(message.text)


async def often(_conn: Connection[Anonymous], message: Say) -> AsyncGenerator[Said]:
    """Answer as a stream."""
    yield Said(message.text)


@check
async def nobody(_gate: Gate, _principal: Anonymous) -> None:
    """Let everybody through."""


ONCE = Event[Anonymous, Anonymous](kind=Say, handler=once, guard=None, timeout=None)
STREAM = Event[Anonymous, Anonymous](kind=Say, handler=often, guard=None, timeout=None)


def begun(running: RunningEvents[Anonymous], event: Event[Anonymous, Anonymous], ref: int | None) -> trio.CancelScope:
    """Begin an event, for which there is room."""
    assert not (running.is_full_of_streams if event.is_stream else running.is_full)
    scope = running.reserve(ref)
    running.begin(scope, event)
    return scope


def room(running: RunningEvents[Anonymous]) -> tuple[bool, bool]:
    """Whether there is room for a handler, and for a stream."""
    return not running.is_full, not running.is_full_of_streams


def test_handlers_and_streams_are_counted_apart() -> None:
    """So many handlers and so many streams may run, whichever began first, and one that has ended makes room."""
    running = RunningEvents[Anonymous](2)
    streams = [begun(running, STREAM, number) for number in range(MAX_STREAMS)]
    assert room(running) == (True, False)
    handlers = [begun(running, ONCE, None) for _ in range(2)]
    assert room(running) == (False, False)
    assert len(running) == MAX_STREAMS + 2
    running.end(handlers[0], None)
    assert room(running) == (True, False)
    running.end(streams[0], 0)
    assert room(running) == (True, True)
    assert len(running) == MAX_STREAMS


def test_what_has_not_begun_makes_no_room() -> None:
    """An event that ends before it has begun, because it was cancelled while it waited, counts for nothing."""
    running = RunningEvents[Anonymous](1)
    running.begin(running.reserve(None), ONCE)
    running.end(running.reserve(7), 7)
    assert running.is_full
    assert 7 not in running
    assert len(running) == 1


def test_a_plain_handler_is_one_without_anything_around_it() -> None:
    """Only a handler that has no guard, no timeout and no stream is called where its message is read."""
    assert ONCE.plain is once
    assert STREAM.plain is None
    assert Event[Anonymous, Anonymous](kind=Say, handler=once, guard=None, timeout=1.0).plain is None
    assert Event[Anonymous, Anonymous](kind=Say, handler=once, guard=nobody, timeout=None).plain is None
