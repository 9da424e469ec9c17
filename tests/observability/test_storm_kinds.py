"""Every line at WARNING or above that one address can cause at will is folded: two hundred connections, a few lines."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Cause,
    Close,
    Connection,
    ErrorPolicy,
    Gate,
    Limits,
    Outcome,
    Request,
    Response,
    guard,
    public,
)
from seawall.observability.folding import FOLDED, ORDINARY
from seawall.observability.reports import Reporter, log_report
from seawall.observability.sampling import BURST, WINDOW
from seawall.testing import Rejected, Serving, serve
from tests.kit.log import Records, recorded
from tests.kit.memory import request

#: Connections of one address.
MANY = 200

Storm: TypeAlias = Callable[[Serving], Awaitable[None]]


class Banned(Exception):
    """What the application has a rule for."""


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


@guard
async def failing(gate: Gate, proved: Anonymous) -> Anonymous:
    """Fail, as nobody has expected."""
    raise LookupError


@guard
async def banning(gate: Gate, proved: Anonymous) -> Anonymous:
    """Fail by a rule, after talking."""
    await gate.accept()
    raise Banned


@guard
async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
    """Never decide."""
    await trio.Event().wait()
    return proved


@asynccontextmanager
async def sticky() -> AsyncGenerator[None]:
    """Take long to be left."""
    try:
        yield
    finally:
        await trio.sleep(20)  # noqa: ASYNC102 - that is its fault


@asynccontextmanager
async def stuck() -> AsyncGenerator[None]:
    """Take long to be left, even when cancelled."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(40)


@guard
async def holding(gate: Gate, proved: Anonymous) -> Anonymous:
    """Hold a resource that is slow to leave."""
    await gate.enter(sticky())
    return proved


@guard
async def clinging(gate: Gate, proved: Anonymous) -> Anonymous:
    """Hold a resource that does not let itself be cancelled."""
    await gate.enter(stuck())
    return proved


def app_for(outcomes: list[Outcome]) -> App:
    """An app in which much can fail."""
    limits = Limits(
        send_timeout=1.0, message_timeout=2.0, auth_timeout=5.0, close_timeout=1.0, wind_down=0.5,
        max_connections_per_address=None,
    )  # fmt: skip
    app = App(limits=limits, on_end=outcomes.append, errors=ErrorPolicy().on(Banned, Close(4403, "banned")))

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            match message:
                case "fail":
                    raise ValueError
                case "ban":
                    raise Banned
                case "task":
                    conn.nursery.start_soon(fail)
                case "report":
                    conn.report(ValueError())
                    return
                case "pour":
                    while True:
                        await conn.send(bytes(64 * 1024))
                case "sleep":
                    await trio.sleep_forever()
                case "numbers":
                    await conn.receive_as(int)
                case "shield":
                    with trio.CancelScope(shield=True):
                        await trio.sleep(30)
                case _:
                    return

    for path, entry in {"/failing": failing, "/banning": banning, "/undecided": undecided}.items():
        app.route(path, guard=entry)(handler)
    for path, entry in {"/holding": holding, "/clinging": clinging}.items():
        app.route(path, guard=entry)(handler)

    async def page(asked: Request[Anonymous]) -> Response:
        raise ValueError

    app.page("/page")(page)
    app.page("/guarded", guard=failing)(page)
    app.page("/slow", guard=undecided)(page)
    return app


async def fail() -> None:
    """Be a task of a connection that fails."""
    raise ValueError


def rejected(path: str) -> Storm:
    """Be turned away at `path`."""

    async def storm(serving: Serving) -> None:
        with pytest.raises(Rejected):
            async with serving.connect(path):
                pass

    return storm


def says(word: str, path: str = "/", *more: str) -> Storm:
    """Say `word`, perhaps more, and see how the connection ends."""

    async def storm(serving: Serving) -> None:
        async with serving.connect(path) as client:
            for message in (word, *more):
                await client.send(message)
            await client.wait_closed()

    return storm


def raw(said: bytes) -> Storm:
    """Say something in bytes and wait for the end."""

    async def storm(serving: Serving) -> None:
        async with serving.open_stream() as stream:
            await stream.send_all(said)
            while await stream.receive_some():
                pass

    return storm


async def reads_nothing(serving: Serving) -> None:
    """Have something sent, and read none of it."""
    async with serving.open_stream() as stream:
        await stream.send_all(request())
        stream.stall()
        await stream.send_all(b"\x81\x84\0\0\0\0pour")
        await trio.sleep(5)


async def leaves_unheard(serving: Serving) -> None:
    """Say more than the handler takes, and close."""
    async with serving.connect("/") as client:
        for message in ("sleep", "a", "b"):
            await client.send(message)
        await client.aclose()


async def leaves_it_shielded(serving: Serving) -> None:
    """Leave while the handler cannot be cancelled."""
    async with serving.connect("/") as client:
        await client.send("shield")
        await wait_all_tasks_blocked()
        await client.aclose()


async def accepted_and_banned(serving: Serving) -> None:
    """Be let in by a guard that has second thoughts."""
    async with serving.connect("/banning") as client:
        await client.wait_closed()


KINDS: dict[str, Storm] = {
    "a guard that fails": rejected("/failing"),
    "a guard that fails after it has accepted": accepted_and_banned,
    "a guard that takes too long": rejected("/undecided"),
    "a page that fails": raw(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a page's guard that fails": raw(b"GET /guarded HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a page's guard that takes too long": raw(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a handler that fails": says("fail"),
    "a handler that fails by a rule": says("ban"),
    "a task that fails": says("task"),
    "a failure that is reported": says("report"),
    "a message that is never whole": raw(request() + b"\x01\x81\0\0\0\0a"),
    "a client that reads nothing": reads_nothing,
    "messages that nobody receives": leaves_unheard,
    "a handler that does not end": leaves_it_shielded,
    "a resource that is slow to leave": says("leave", "/holding"),
    "a resource that cannot be cancelled": says("leave", "/clinging"),
    "a request that is late": raw(b"GET"),
    "messages that are invalid": says("numbers", "/", *["no number"] * 10),
    "a broken frame": raw(request() + b"\xff" * 20),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_mended_23_two_hundred_connections_of_one_address(
    kind: str, autojump_clock: MockClock, records: Records
) -> None:
    """Ten lines of each sort in a minute, and how many more there were; the application is told of each connection."""
    outcomes = list[Outcome]()
    async with serve(app_for(outcomes)) as serving:
        async with trio.open_nursery() as nursery:
            for _ in range(MANY):
                nursery.start_soon(KINDS[kind], serving)
        await trio.sleep(2 * WINDOW)
    assert len(outcomes) == MANY
    graver = [record for record in records.found if record.levelno >= logging.WARNING]
    assert graver
    counted = [record for record in graver if "more" in record.getMessage()]
    sorts = {(record.name, record.getMessage().partition(": ")[2][:8]) for record in graver if record not in counted}
    for logger, beginning in sorts:
        of = [record for record in graver if record not in counted and record.name == logger]
        assert len([record for record in of if record.getMessage().partition(": ")[2][:8] == beginning]) == BURST
    assert counted
    assert {int(record.getMessage().split(" ")[0]) for record in counted} == {MANY - BURST}


def test_mended_23_every_warning_is_of_a_kind() -> None:
    """A cause is either nothing to worry about or says how its connections are counted."""
    assert ORDINARY | FOLDED.keys() == set(Cause)
    assert not ORDINARY & FOLDED.keys()


async def test_mended_23_nothing_can_be_accepted(autojump_clock: MockClock, records: Records) -> None:
    """Whoever makes descriptors scarce again and again leaves ten lines in a minute."""
    reporter = Reporter(log_report, None)
    for _ in range(MANY):
        reporter.log_exhausted("accept: Too many open files; trying again every 0.1 s")
    assert len(records.lines("server")) == BURST
    reporter.flush_suppressed()
    assert records.lines("error") == [f"{MANY - BURST} more of the same were not logged: accept"]
