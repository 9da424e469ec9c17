"""A client that breaks its connection off while a page is made for it, and one that has only finished its request."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Gate, Limits, Outcome, Request, Response, guard, public
from seawall.testing import serve
from seawall.testing.network import MemoryStream
from tests.kit.sockets import EVERYWHERE, Place, Transport, serving, until
from tests.kit.wire import PATIENCE, RawClient

#: What works when the client goes.
Working = Literal["guard", "page"]

POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@define
class Slow:
    """An app whose page, or the guard of it, works until it is cancelled or `go` is set."""

    working: Working = "page"
    go: trio.Event = field(factory=trio.Event)
    began: list[bool] = field(factory=list[bool])
    cancelled: list[bool] = field(factory=list[bool])
    outcomes: list[Outcome] = field(factory=list[Outcome])

    async def work(self) -> None:
        """Take as long as it takes."""
        self.began.append(True)
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled.append(True)
            raise

    def app(self) -> App:
        """The app."""
        app = App(limits=Limits(auth_timeout=PATIENCE * 10), on_end=self.outcomes.append)

        @guard
        async def entry(gate: Gate, proved: Anonymous) -> Anonymous:
            if self.working == "guard":
                await self.work()
            return proved

        @app.page("/", guard=entry, methods=["GET", "POST"])
        async def page(asked: Request[Anonymous]) -> Response:
            if self.working == "page":
                await self.work()
            return Response("made")

        return app

    async def begun(self, client: RawClient, request: bytes) -> None:
        """Send a request, and wait until the work for it has begun."""
        await client.send(request)
        await until(lambda: bool(self.began), PATIENCE)

    async def is_cancelled(self, place: Place) -> None:
        """Wait until the work has been cancelled, and the connection is over and forgotten."""
        await until(lambda: bool(self.cancelled and self.outcomes), PATIENCE)
        await place.idle(0)
        assert place.polled == 0
        (outcome,) = self.outcomes
        assert (outcome.cause.value, outcome.code, outcome.reason) == ("peer vanished", 1006, "before its answer")
        assert outcome.route == "/"


@pytest.mark.parametrize("working", ["guard", "page"])
@pytest.mark.parametrize("request_", [GET, POST, GET + GET], ids=["GET", "POST", "two at once"])
@pytest.mark.parametrize("over", ["plain", "reader", "tls"])
async def test_mended_26_a_reset_cancels_a_page(over: Transport, request_: bytes, working: Working) -> None:
    """Guard and function of a page are cancelled as soon as the connection has been reset, whatever came before."""
    slow = Slow(working)
    async with serving(slow.app(), over) as place:
        client = await place.dial()
        await slow.begun(client, request_)
        client.reset()
        await slow.is_cancelled(place)


@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_mended_26_a_reset_without_a_poller(over: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no epoll, the connection is read for that."""
    monkeypatch.setattr("seawall.wire.transport.poller.sys.platform", "darwin")
    slow = Slow()
    async with serving(slow.app(), over) as place:
        assert place.server._state.poller is None  # pyright: ignore[reportPrivateUsage] # else this shows nothing
        client = await place.dial()
        await slow.begun(client, POST)
        client.reset()
        await slow.is_cancelled(place)


async def test_mended_26_a_unix_socket_that_is_closed() -> None:
    """A Unix socket says whether its peer has closed it or only sends no more."""
    slow = Slow()
    async with serving(slow.app(), "unix") as place:
        client = await place.dial()
        await slow.begun(client, POST)
        client.close()
        await slow.is_cancelled(place)


@pytest.mark.parametrize("over", EVERYWHERE)
@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_mended_26_who_has_finished_is_answered(over: Transport, request_: bytes) -> None:
    """A client that closes its sending side after its request still reads the answer."""
    slow = Slow()
    async with serving(slow.app(), over) as place:
        client = await place.dial_plain() if over == "unix" else await place.dial()
        await slow.begun(client, request_)
        client.finish()
        await trio.sleep(0.05)  # the end of the client's side has arrived
        assert not slow.cancelled
        slow.go.set()
        got = await client.last_response()
        assert (got.status, got.body) == (200, b"made")
        await place.idle(0)
        assert place.polled == 0
    assert [outcome.cause.value for outcome in slow.outcomes] == ["answered"]


@pytest.mark.parametrize("over", ["plain", "tls", "unix"])
async def test_mended_26_a_reset_after_the_end_of_its_side(over: Transport) -> None:
    """Who had finished and then breaks off is noticed as well."""
    slow = Slow()
    async with serving(slow.app(), over) as place:
        client = await place.dial()
        await slow.begun(client, GET)
        client.finish()
        await trio.sleep(0.05)
        assert not slow.cancelled
        client.reset()
        await slow.is_cancelled(place)


@pytest.mark.parametrize("request_", [GET, POST, GET + b"x" * 2_000_000], ids=["GET", "POST", "much"])
async def test_mended_26_a_reset_in_memory(autojump_clock: MockClock, request_: bytes) -> None:
    """The same over a memory stream, which has to be read for that: of what comes, a mebibyte is discarded."""
    slow = Slow()
    async with serve(slow.app()) as server:
        stream = server.open_stream()
        await stream.send_all(request_)
        await wait_all_tasks_blocked()
        assert slow.began
        stream.reset()
        await wait_all_tasks_blocked()
        assert bool(slow.cancelled) == (len(request_) < 1_000_000)
        slow.go.set()


async def test_mended_26_who_has_finished_in_memory(autojump_clock: MockClock) -> None:
    """A memory stream that is half-closed gets its answer."""
    slow = Slow()
    async with serve(slow.app()) as server:
        client = RawClient(server.open_stream())
        await client.send(GET)
        await wait_all_tasks_blocked()
        assert isinstance(client.stream, MemoryStream)
        client.stream.half_close()
        await wait_all_tasks_blocked()
        assert not slow.cancelled
        slow.go.set()
        assert (await client.last_response()).body == b"made"


async def test_mended_26_a_page_that_shields_itself() -> None:
    """The connection has ended, and its socket is closed, although the function cannot be cancelled yet."""
    go, outcomes = trio.Event(), list[Outcome]()
    app, began = App(limits=Limits(close_timeout=0.2, wind_down=0.1), on_end=outcomes.append), list[bool]()

    @app.page("/")
    async def page(asked: Request[Anonymous]) -> Response:
        began.append(True)
        with trio.CancelScope(shield=True):
            await go.wait()
        return Response("made")

    async with serving(app, "plain") as place:
        client = await place.dial()
        await client.send(GET)
        await until(lambda: bool(began), PATIENCE)
        client.reset()
        await until(lambda: place.polled == 0, PATIENCE)
        await place.idle(0)
        other = await place.dial()  # which may get the same descriptor
        await other.send(GET)
        await until(lambda: len(began) == 2, PATIENCE)
        assert place.polled == 1
        go.set()
        assert (await other.last_response()).body == b"made"
    assert sorted(outcome.cause.value for outcome in outcomes) == ["answered", "peer vanished"]


async def test_mended_26_a_page_that_fails_when_it_is_cancelled() -> None:
    """What it raises then is reported; the connection has ended before."""
    slow, outcomes = trio.Event(), list[Outcome]()
    app, reports = (
        App(on_end=outcomes.append, report=lambda report: reports.append(report.exception)),
        list[Exception](),
    )

    @app.page("/", guard=public)
    async def page(asked: Request[Anonymous]) -> Response:
        slow.set()
        try:
            await trio.Event().wait()
        finally:
            raise LookupError

    async with serving(app, "plain") as place:
        client = await place.dial()
        await client.send(GET)
        await slow.wait()
        client.reset()
        await until(lambda: bool(outcomes), PATIENCE)
    assert [type(failure) for failure in reports] == [LookupError]
    assert outcomes[0].code == 1006
