"""What strangers leave in the log: a few lines of each network in a minute, and nothing of who says nothing."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Cause, Connection, Forbidden, Gate, Limits, Outcome, guard, public
from seawall.observability.logs import connection_log
from seawall.observability.reports import Reporter, log_report
from seawall.observability.sampling import BURST, FORGET_AGAIN, MAX_KINDS, WINDOW, LogSampler
from seawall.testing import Rejected, Serving, serve
from tests.kit.log import Records, recorded
from tests.kit.memory import request
from tests.kit.sockets import EVERYWHERE, Transport, serving, until
from tests.kit.wire import PATIENCE


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


@guard
async def nobody(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let nobody in."""
    raise Forbidden


def app_for(outcomes: list[Outcome]) -> App:
    """An app that refuses, fails, echoes and has a page."""
    app = App(on_end=outcomes.append)

    @app.route("/", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            if message == "fail":
                raise ValueError
            if message == "leave":
                return

    app.route("/closed", guard=nobody)(echo)
    app.page("/page", "hello")
    return app


async def rejected(serving: Serving, path: str, **headers: str) -> None:
    """Ask for what is refused."""
    with pytest.raises(Rejected):
        async with serving.connect(path, headers=headers):
            pass


async def raw(serving: Serving, said: bytes) -> None:
    """Say something in bytes, and leave."""
    async with serving.open_stream() as stream:
        await stream.send_all(said)
        await wait_all_tasks_blocked()


async def storm(serving: Serving, kind: str, number: int) -> None:
    """Be refused so many times."""
    for _ in range(number):
        match kind:
            case "no route":
                await rejected(serving, "/nowhere")
            case "a guard":
                await rejected(serving, "/closed")
            case "an origin":
                await rejected(serving, "/", Origin="https://evil.example")
            case "nonsense":
                await raw(serving, b"nonsense\r\n\r\n")
            case "half a request":
                await raw(serving, b"GET / HTTP/1.1\r\n")
            case "broken frames":
                await raw(serving, request() + b"\xff" * 20)
            case _:
                raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["no route", "a guard", "an origin", "nonsense", "half a request", "broken frames"])
async def test_mended_23_a_storm_of_refusals_is_folded(kind: str, autojump_clock: MockClock, records: Records) -> None:
    """Ten lines in a minute, and how many more there were; the application is told of each."""
    outcomes = list[Outcome]()
    async with serve(app_for(outcomes)) as serving:
        await storm(serving, kind, BURST + 5)
        assert len(records.lines("connection")) == BURST
        await trio.sleep(WINDOW + 1)
        assert len(records.lines("connection")) == BURST + 1
        assert records.lines("connection")[-1] == "5 more connections from memory were refused and are not in the log"
        await storm(serving, kind, BURST + 7)
        assert len(records.lines("connection")) == 2 * BURST + 1
    assert records.lines("connection")[-1] == "7 more connections from memory were refused and are not in the log"
    assert len(outcomes) == 2 * BURST + 12
    folded = [record for record in records.found if "more connections" in record.getMessage()]
    assert {(record.levelno, record.name) for record in folded} == {(logging.WARNING, "seawall.connection")}


async def test_mended_23_what_is_no_warning_is_not_folded(autojump_clock: MockClock, records: Records) -> None:
    """Each connection that was let in and ended well has its line, and so has each page, during a storm too."""
    async with serve(app_for([])) as serving:
        await storm(serving, "no route", 2 * BURST)
        before = len(records.lines("connection"))
        for _ in range(2 * BURST):
            async with serving.connect("/") as client:
                await client.send("leave")
                await client.wait_closed()
            await raw(serving, b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_all_tasks_blocked()
        assert len(records.lines("connection")) == before + 4 * BURST


async def test_mended_23_refusals_hide_no_failure(autojump_clock: MockClock, records: Records) -> None:
    """They are counted apart: who is refused a thousand times has a line about the first failure all the same."""
    async with serve(app_for([])) as serving:
        await storm(serving, "no route", 2 * BURST)
        async with serving.connect("/") as client:
            await client.send("fail")
            await client.wait_closed()
    assert any(end.startswith("error, 1011 'internal error") for end in records.ends)


def ended(peer: str, cause: Cause = Cause.REFUSED) -> Outcome:
    """An outcome of a peer."""
    return Outcome(
        cause=cause, code=404, reason="", detail="", rule="", connection="c1", peer=peer, route="", principal="",
        seconds=0.0, messages_in=0, messages_out=0, bytes_in=0, bytes_out=0,
    )  # fmt: skip


async def test_mended_23_each_network_has_its_own_lines(autojump_clock: MockClock, records: Records) -> None:
    """A storm from one hides nobody else; a network of IPv6 is a /64, and ports do not count."""
    reporter = Reporter(log_report, None)
    for port in range(100):
        reporter.report_outcome(ended(f"10.0.0.1:{port}"))
        reporter.report_outcome(ended(f"[2001:db8::{port:x}]:1"))
    assert len(records.found) == 2 * BURST
    for peer in ("10.0.0.2:1", "[2001:db8:0:1::1]:1", "unix"):
        reporter.report_outcome(ended(peer))
    assert len(records.found) == 2 * BURST + 3
    reporter.flush_suppressed()
    assert records.lines("connection")[-2:] == [
        "90 more connections from 10.0.0.1 were refused and are not in the log",
        "90 more connections from 2001:db8::/64 were refused and are not in the log",
    ]


async def test_mended_23_more_networks_than_are_counted_are_one(autojump_clock: MockClock, records: Records) -> None:
    """A storm from everywhere has its bound too."""
    reporter = Reporter(log_report, None)
    for number in range(5 * MAX_KINDS):
        reporter.report_outcome(ended(f"10.{number >> 8 & 255}.{number & 255}.1:1"))
    assert len(records.found) == MAX_KINDS + BURST
    reporter.flush_suppressed()
    assert records.lines("connection")[-1] == (
        f"{4 * MAX_KINDS - BURST} more connections from others were refused and are not in the log"
    )


def test_mended_23_looking_for_room_costs_little() -> None:
    """A new network each time, when there is room for none, does not make us look through all of them each time."""
    sampler = LogSampler()
    for number in range(MAX_KINDS):
        sampler.admits((str(number),), 0.0)
    table = sampler._counts  # pyright: ignore[reportPrivateUsage] # replaced when it is looked through
    for number in range(100):
        sampler.admits((f"new {number}",), 0.5)
    first = sampler._counts  # pyright: ignore[reportPrivateUsage] # as above
    assert first is not table
    sampler.admits(("another",), 0.5 + FORGET_AGAIN / 2)
    assert sampler._counts is first  # pyright: ignore[reportPrivateUsage] # as above


async def test_mended_23_nothing_is_counted_that_would_not_be_logged(autojump_clock: MockClock) -> None:
    """Where the lines are not wanted, their number is not either."""
    lines: list[str] = []

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, logger = Errors(), logging.getLogger("seawall.connection")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        reporter = Reporter(log_report, None)
        for _ in range(100):
            reporter.report_outcome(ended("10.0.0.1:1"))
        logger.setLevel(logging.WARNING)
        reporter.flush_suppressed()
        assert not lines
        assert connection_log.shows(logging.WARNING)
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def levels(records: Records) -> list[tuple[str, str]]:
    """Level and end of each connection."""
    of = [record.levelname for record in records.found if record.name == "seawall.connection"]
    return list(zip(of, records.ends, strict=True))


@pytest.mark.parametrize("says", [b"", b"G"])
async def test_mended_23_a_connection_in_reserve_is_no_warning(
    says: bytes, autojump_clock: MockClock, records: Records
) -> None:
    """A browser opens one that it may not need; half a request that never becomes whole is one still."""
    outcomes = list[Outcome]()
    async with serve(app_for(outcomes)) as serving, serving.open_stream() as stream:
        if says:
            await stream.send_all(says)
        assert b"408" in await stream.receive_some()
        assert trio.current_time() == Limits().handshake_timeout
    assert levels(records) == [("WARNING" if says else "DEBUG", "refused, 408 'request timed out'")]
    assert [outcome.silent for outcome in outcomes] == [not says]


async def test_mended_23_a_health_check_is_no_line(autojump_clock: MockClock, records: Records) -> None:
    """Who connects and leaves is DEBUG, however often; who leaves in the middle of a request is INFO."""
    async with serve(app_for([])) as serving:
        for _ in range(3 * BURST):
            await raw(serving, b"")
        await raw(serving, b"GET / HTTP/1.1\r\n")
    gone = "peer vanished, 1006 'before its request'"
    assert levels(records) == [("DEBUG", gone)] * 3 * BURST + [("INFO", gone)]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_23_a_health_check_over_sockets(over: Transport, reset: bool, records: Records) -> None:
    """The same on every kind of socket, whether it ends with a FIN or, as HAProxy's, with a reset."""
    outcomes = list[Outcome]()
    async with serving(app_for(outcomes), over) as place:
        client = await place.dial_plain()
        if reset and over != "unix":
            assert client.socket is not None
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        place.hang_up()
        await until(lambda: bool(outcomes), PATIENCE)
    assert levels(records) == [("DEBUG", "peer vanished, 1006 'before its request'")]
    assert outcomes[0].silent


async def test_mended_23_a_client_without_tls_is_no_health_check(records: Records) -> None:
    """Somebody who speaks plain HTTP to a TLS port has made a mistake, and finds the line."""
    outcomes = list[Outcome]()
    async with serving(app_for(outcomes), "tls") as place:
        client = await place.dial_plain()
        await client.send(request())
        await until(lambda: bool(outcomes), PATIENCE)
        place.hang_up()
    assert levels(records) == [("INFO", "peer vanished, 1006 'before its request'")]
    assert not outcomes[0].silent
