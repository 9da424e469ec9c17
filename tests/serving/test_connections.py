"""What a program can do to connections from outside: look at them, end them, and be told of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Cause,
    ConfigurationError,
    Connection,
    ConnectionSnapshot,
    Disconnected,
    ErrorPolicy,
    ErrorReport,
    Escalate,
    Gate,
    Ignore,
    Limits,
    Outcome,
    Phase,
    guard,
    public,
)
from seawall.testing import CloseFrame, Rejected, connect, serve
from tests.kit.log import recorded
from tests.kit.sockets import EVERYWHERE, Transport, serving, surviving, until
from tests.kit.wire import request

Opened = dict[str, Connection[Anonymous]]


def meeting(opened: Opened, **settings: Callable[[ConnectionSnapshot], None]) -> App:
    """An app whose connections are in `opened` by their names while they are handled, and which echoes."""
    app = App(on_open=settings.get("on_open"))

    @app.route("/{name}", guard=public)
    async def echo(conn: Connection[Anonymous], name: str) -> None:
        opened[name] = conn
        async for message in conn:
            await conn.send(message)

    return app


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_27_close_nowait_of_another(over: Transport) -> None:
    """One handler closes another connection at once and goes on; the peer reads code and reason, nothing else ends."""
    opened: Opened = {}
    app = meeting(opened)

    @app.route("/ban/{name:path}", guard=public)
    async def ban(conn: Connection[Anonymous], name: str) -> None:
        opened[name].close_nowait(4003, "banned")
        opened[name].close_nowait(4004, "once more")
        await conn.send("done")

    async with surviving(app, over) as place:
        victim = await place.open("/victim")
        await until(lambda: "victim" in opened)
        admin = await place.open("/ban/victim")
        assert (await admin.frame()).payload == b"done"
        assert (await victim.dismissal(answer=True)).closing == (4003, "banned")


async def test_mended_27_close_nowait_of_one_that_has_gone() -> None:
    """It does nothing, and harms neither the handler that calls it nor its connection."""
    opened: Opened = {}
    app = meeting(opened)

    @app.route("/end/{name:path}", guard=public)
    async def end(conn: Connection[Anonymous], name: str) -> None:
        opened[name].close_nowait()
        await conn.send("still here")

    async with serve(app) as served:
        async with served.connect("/early") as client:
            await client.aclose()
        async with served.connect("/end/early") as client:
            assert await client.receive() == "still here"
            assert await client.wait_closed() == CloseFrame(1000, "")


async def test_mended_27_close_nowait_of_ones_own(autojump_clock: MockClock) -> None:
    """The handler goes on, can neither send nor receive, and is cancelled `wind_down` later; it is one close."""
    seen: list[object] = []
    app = App(limits=Limits(wind_down=2.0), on_end=lambda outcome: seen.append((outcome.cause, outcome.code)))

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        conn.close_nowait(4000, "enough")
        for call in (conn.receive, partial(conn.send, "x")):
            with pytest.raises(Disconnected):
                await call()
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            seen.append(trio.current_time() - began)

    async with connect(app, "/") as client:
        assert await client.wait_closed() == CloseFrame(4000, "enough")
        await trio.sleep(5)
    assert seen == [pytest.approx(2.0), (Cause.CLOSED, 4000)]


async def test_mended_27_close_nowait_while_much_waits(autojump_clock: MockClock) -> None:
    """A peer that takes nothing does not keep the caller waiting, nor the socket open beyond `close_timeout`."""
    opened: Opened = {}
    app = App(limits=Limits(close_timeout=3.0, wind_down=1.0))

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        opened["slow"] = conn
        await trio.sleep_forever()

    async with serve(app) as served, served.connect("/") as client:
        client.stall()
        with contextlib.suppress(trio.WouldBlock):
            while True:
                opened["slow"].send_nowait(bytes(100_000))
        began = trio.current_time()
        opened["slow"].close_nowait(4000)
        assert trio.current_time() == began
        assert served.server.connections == ()
        await trio.sleep(4.5)
        assert len(served.server._state.connections) == 0  # pyright: ignore[reportPrivateUsage] # a leak would be here
        client.reset()


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (1001, 5, "the reason 5 is no text; give a str"),
        (1005, "", r"1005\): not a code that may be sent; use 1000, or 4000-4999"),
        ("bye", "", r"'bye'\): not a code that may be sent"),
        (4000, "x" * 124, "has more than 123 bytes; shorten it"),
        (4000, "\ud800", "cannot be encoded as UTF-8; remove the surrogate"),
    ],
)
async def test_mended_27_what_cannot_be_sent(code: int, reason: str, said: str) -> None:
    """It is refused as by `aclose`, wherever it is said, and the connection goes on."""
    opened: Opened = {}
    async with serve(meeting(opened)) as served, served.connect("/ada") as client:
        await until(lambda: "ada" in opened)
        conn = opened["ada"]
        with pytest.raises(ConfigurationError, match=rf"^close_nowait\(.*{said}"):
            conn.close_nowait(code, reason)
        with pytest.raises(ConfigurationError, match=rf"^end\(.*{said}"):
            served.server.end(conn.id, code, reason)
        await client.send("on we go")
        assert await client.receive() == "on we go"


@guard
async def leasing(gate: Gate, proved: Anonymous) -> Anonymous:
    """Prove for a minute."""
    gate.lease(expires_at=time.time() + 60)
    return proved


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_27_snapshots(over: Transport) -> None:
    """There is one for each connection that is open, with what has gone through it, and none for one that is not."""
    app = App()

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/leased", guard=leasing, name="for a minute")
    async def leased(conn: Connection[Anonymous]) -> None:
        await conn.receive()

    async with serving(app, over) as place:
        silent = await place.dial()
        await until(lambda: len(place.server.connections) == 1)
        client = await place.open()
        await client.echo(b"hello")
        minute = await place.open("/leased")
        await until(lambda: all(one.principal for one in place.server.connections[1:]))
        nobody, first, second = place.server.connections
        assert (nobody.route, nobody.principal, nobody.messages_in, nobody.bytes_in) == ("", None, 0, 0)
        assert (first.route, first.principal, first.lease_ends_at) == ("/echo", Anonymous(), None)
        assert (first.messages_in, first.messages_out, first.pending_bytes) == (1, 1, 0)
        assert first.bytes_in == 11  # the payload, its mask and its header
        assert first.bytes_out > 7 + 100  # and the answer to the handshake
        assert second.route == "for a minute"
        assert second.lease_ends_at == pytest.approx(time.time() + 60, abs=10)
        assert all(abs(one.since - time.time()) < 10 for one in (nobody, first, second))
        assert len({one.id for one in (nobody, first, second)}) == 3
        assert "Anonymous" not in repr(first)
        silent.close()
        client.close()
        minute.close()
        await until(lambda: place.server.connections == ())


async def test_mended_27_what_waits_to_be_written() -> None:
    """Bytes that the peer does not take are in the snapshot; it does not change afterwards."""
    opened: Opened = {}
    async with serve(meeting(opened)) as served, served.connect("/slow") as client:
        await until(lambda: "slow" in opened)
        client.stall()
        opened["slow"].send_nowait(bytes(200_000))
        await wait_all_tasks_blocked()
        (before,) = served.server.connections
        assert 100_000 < before.pending_bytes <= 200_010
        client.resume()
        assert len(await client.receive()) == 200_000
        (after,) = served.server.connections
        assert (after.pending_bytes, after.messages_out) == (0, 1)
        assert before.pending_bytes > 0
        with pytest.raises(AttributeError):
            before.pending_bytes = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # on purpose


async def test_mended_27_end_by_id() -> None:
    """The one of this id ends, in whatever stage; whoever is not there, or has ended, does not."""
    opened: Opened = {}
    app = meeting(opened)

    @guard
    async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep_forever()

    @app.route("/guarded/{name}", guard=undecided)
    async def never(conn: Connection[Anonymous], name: str) -> None:
        raise AssertionError

    async with serve(app) as served, served.connect("/ada") as ada, served.connect("/bob") as bob:
        server = served.server
        await until(lambda: len(opened) == 2)
        assert server.end(opened["ada"].id, 4003, "banned")
        assert not server.end(opened["ada"].id, 4003, "banned")
        assert not server.end("c0")
        assert await ada.wait_closed() == CloseFrame(4003, "banned")
        assert not server.end(opened["ada"].id)

        async def at_the_door() -> None:
            with pytest.raises(Rejected) as refused:
                async with served.connect("/guarded/eve"):
                    raise AssertionError
            assert (refused.value.status, refused.value.body.strip()) == (503, "not now")
            assert refused.value.header("retry-after") is None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_the_door)
            await until(lambda: any("guarded" in one.route for one in server.connections))
            (eve,) = [one for one in server.connections if "guarded" in one.route]
            assert server.end(eve.id, 4000, "not now")
        await bob.send("still here")
        assert await bob.receive() == "still here"
    assert server.connections == ()
    assert not server.end(opened["bob"].id)


async def test_mended_27_an_end_by_the_program_is_told() -> None:
    """Log and `on_end` say that it was the program."""
    ends: list[Outcome] = []
    app = App(on_end=ends.append)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.receive()

    with recorded() as records:
        async with serve(app) as served, served.connect("/") as client:
            await until(lambda: any(one.principal for one in served.server.connections))
            (one,) = served.server.connections
            served.server.end(one.id, 4000, "enough")
            assert await client.wait_closed() == CloseFrame(4000, "enough")
    assert records.ends == ["ended by the program, 4000 'enough'"]
    assert [(end.cause, end.cause.by.value, end.connection) for end in ends] == [(Cause.ENDED, "application", one.id)]


async def test_mended_27_another_thread() -> None:
    """There all of it is refused, with the remedy."""
    opened: Opened = {}
    async with serve(meeting(opened)) as served, served.connect("/ada") as client:
        await until(lambda: "ada" in opened)
        conn, server = opened["ada"], served.server
        calls: list[Callable[[], object]] = [
            conn.close_nowait,
            partial(conn.report, KeyError()),
            lambda: server.connections,
            partial(server.end, conn.id),
        ]

        def refused() -> int:
            for call in calls:
                with pytest.raises(ConfigurationError, match=r"another thread than the server's; .*trio\.from_thread"):
                    call()
            return len(calls)

        assert await trio.to_thread.run_sync(refused) == 4
        await client.send("still here")
        assert await client.receive() == "still here"

        def by_the_book() -> bool:
            return trio.from_thread.run_sync(server.end, conn.id)

        assert await trio.to_thread.run_sync(by_the_book)


async def test_mended_27_on_open() -> None:
    """It is told of each connection that the guards have let in, before the handler begins; of no other."""
    told: list[ConnectionSnapshot] = []
    opened: Opened = {}

    def on_open(connection: ConnectionSnapshot) -> None:
        told.append(connection)
        assert len(opened) == len(told) - 1

    app = meeting(opened, on_open=on_open)
    app.page("/", "hello")

    async with serve(app) as served:
        with pytest.raises(Rejected):
            async with served.connect("/no/where"):
                raise AssertionError
        for name in ("ada", "bob"):
            async with served.connect(f"/{name}") as client:
                await client.send("hello")
                await client.receive()
    assert [(one.route, one.principal, one.id) for one in told] == [
        ("/{name}", Anonymous(), opened[name].id) for name in ("ada", "bob")
    ]


async def test_mended_27_on_open_that_fails() -> None:
    """What it raises is logged and harms nobody; if it ends the connection, the handler finds it over."""
    opened: Opened = {}

    def on_open(connection: ConnectionSnapshot) -> None:
        raise KeyError("on_open")

    with recorded() as records:
        async with connect(meeting(opened, on_open=on_open), "/ada") as client:
            await client.send("hello")
            assert await client.receive() == "hello"
    assert records.lines("error") == ["App(on_open=...) raised"]


async def test_mended_27_on_open_that_exits() -> None:
    """A SystemExit stops the server, as from `on_end`."""

    def on_open(connection: ConnectionSnapshot) -> None:
        raise SystemExit(3)

    with pytest.RaisesGroup(pytest.RaisesExc(SystemExit), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            app = meeting({}, on_open=on_open)
            server = await app.start(nursery, port=0)
            async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream:
                await stream.send_all(request("/ada"))
                await trio.sleep_forever()


@pytest.mark.parametrize("escalates", [False, True])
async def test_mended_27_report(escalates: bool) -> None:
    """The failure is told under the id that the handler gets, each leaf of it, without asking the policy."""
    reports: list[ErrorReport] = []
    errors = ErrorPolicy().on(Exception, Escalate()) if escalates else None
    app = App(report=reports.append, errors=errors)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            try:
                raise ValueError(message)
            except ValueError as error:
                await conn.send(conn.report(error))
            await conn.send(conn.report(ExceptionGroup("two", [KeyError(1), ExceptionGroup("", [OSError(2)])])))

    async with connect(app, "/") as client:
        for _ in range(2):
            await client.send("hello")
            incidents = [str(await client.receive()) for _ in range(2)]
            assert [report.incident for report in reports[-3:]] == [incidents[0], incidents[1], incidents[1]]
    assert [type(report.exception) for report in reports[:3]] == [ValueError, KeyError, OSError]
    assert {(report.phase, report.verdict, report.expected) for report in reports} == {(Phase.HANDLER, Ignore(), False)}
    assert {(report.route, report.principal) for report in reports} == {("/", "Anonymous")}
    assert reports[0].exception.__traceback__ is not None


async def test_mended_27_report_is_logged() -> None:
    """By default the log has it with its traceback; what is no exception is refused."""
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.send(conn.report(KeyError("lost")))
        for wrong in ("lost", KeyError, KeyboardInterrupt()):
            with pytest.raises(ConfigurationError, match=r"^report\(\) was given .*; give the exception"):
                conn.report(cast("Exception", wrong))

    with recorded() as records:
        async with connect(app, "/") as client:
            incident = await client.receive()
            assert await client.wait_closed() == CloseFrame(1000, "")
    (line,) = records.lines("error")
    assert line.endswith(f"/ handler: KeyError: 'lost' -> Ignore, incident {incident!s}")
