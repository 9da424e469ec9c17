"""Issuing tickets: for which tokens, for which routes, how many; and where they are refused at definition."""

from __future__ import annotations

import time
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from seawall import (
    App,
    Claims,
    ConfigurationError,
    Connection,
    Request,
    Response,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    bearer,
    public,
)
from seawall.connection.ticket_store import LIFETIME
from seawall.sessions import MemoryTickets, Tickets
from seawall.testing import serve
from seawall.tokens import header, query
from tests.connection.test_threads import refusal_elsewhere
from tests.kit.sockets import echo
from tests.kit.tokens import SECRET, about_anything, signed, token, verifier
from tests.kit.wall import Wall
from tests.kit.wire import RawClient

members = bearer(verifier, query("ticket"))


async def quiet(conn: Connection[object]) -> None:
    """Return at once."""


def app_of(tickets: MemoryTickets | None = None) -> App:
    """An app with routes that take tickets, and with others."""
    app = App(tickets=tickets)
    app.route("/talk", guard=members, name="talk")(quiet)
    app.route("/a", guard=members, name="twice")(quiet)
    app.route("/b", guard=bearer(verifier), name="twice")(quiet)
    app.route("/header", guard=bearer(verifier, header(), query("token", reusable=True)))(quiet)
    app.route("/open", guard=public)(echo)
    return app


async def test_for_which_tokens() -> None:
    """Those alone that the route would let in, so that a mistaken caller hands out nothing and uses nothing up."""
    store = MemoryTickets()
    app = app_of(store)
    good = token()
    for wrong in ("", "nonsense", good[:-3], good + "\n", f"{good}&a=b", "ä", signed({"sub": "ada"}), "A" * 9000):
        with pytest.raises(Unauthorized, match="token") as refused:
            await app.tickets.issue(wrong, route="/talk")
        assert good[:-3] not in str(refused.value)
    for nothing in (None, 5, good.encode()):
        with pytest.raises(Unauthorized):
            await app.tickets.issue(nothing, route="/talk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
    with pytest.raises(TokenExpired):
        await app.tickets.issue(token(seconds=-5), route="/talk")
    with pytest.raises(Unauthorized):
        await app.tickets.issue(signed({"sub": "ada", "exp": time.time() + 60}, SECRET[::-1]), route="/talk")
    assert len(store) == 0
    assert len(await app.tickets.issue(good, route="/talk")) == 43
    assert len(store) == 1


async def test_for_which_routes() -> None:
    """Named by path or by name; of each mistake the error says what to write instead."""
    app = app_of()
    for named in ("/talk", "talk", "/a"):
        assert len(await app.tickets.issue(token(), route=named)) == 43
    for mistaken, remedy in {
        "/header": "name query('ticket') among the sources",
        "/open": "name query('ticket') among the sources",
        "twice": "2 routes of this name; give the path, such as '/a'",
        "/nowhere": "no such route; those that take tickets are '/talk', '/a'",
        "/talk/": "no such route",
        "/talk?a=b": "no such route",
    }.items():
        with pytest.raises(ConfigurationError, match=r"tickets\.issue") as error:
            await app.tickets.issue(token(), route=mistaken)
        assert remedy in str(error.value)
    for nothing in (None, 5, quiet):
        with pytest.raises(ConfigurationError, match="give the path of a route"):
            await app.tickets.issue(token(), route=nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
    with pytest.raises(ConfigurationError, match="a ticket is issued by the app that takes it"):
        await App().tickets.issue(token(), route="/talk")


async def test_so_many_of_a_subject(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten that have not been presented; others are not concerned, and one that is presented makes room."""
    wall, app = Wall.instead_of(monkeypatch), app_of()
    async with serve(app) as server:
        tickets = [await app.tickets.issue(wall.token(900), route="/talk") for _ in range(10)]
        await trio.sleep(10)
        with pytest.raises(TooManyRequests) as refused:
            await app.tickets.issue(wall.token(900, jti="another"), route="/a")
        assert refused.value.retry_after == pytest.approx(LIFETIME - 10)
        await app.tickets.issue(wall.token(900, "eve"), route="/talk")
        async with server.connect(f"/talk?ticket={tickets[0]}") as client:
            await client.wait_closed()
        await app.tickets.issue(wall.token(900), route="/talk")
        with pytest.raises(TooManyRequests):
            await app.tickets.issue(wall.token(900), route="/talk")
        await trio.sleep(LIFETIME - 10)
        await app.tickets.issue(wall.token(900), route="/talk")


async def test_so_many_in_all(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 by default, and then it is the server that has no room; they end by themselves."""
    wall = Wall.instead_of(monkeypatch)
    app = app_of()
    tokens = [wall.token(900, f"subject {number}") for number in range(1000)]
    for presented in tokens:
        for _ in range(10):
            await app.tickets.issue(presented, route="/talk")
    with pytest.raises(Unavailable) as refused:
        await app.tickets.issue(wall.token(900, "one more"), route="/talk")
    assert refused.value.retry_after == pytest.approx(LIFETIME)
    await trio.sleep(LIFETIME)
    await app.tickets.issue(wall.token(900, "one more"), route="/talk")


async def test_about_nobody() -> None:
    """Without a subject, the tickets of each token are counted for themselves."""
    app = App()
    app.route("/anybody", guard=bearer(about_anything, query("ticket")))(quiet)
    first, second = token(None, jti="1"), token(None, jti="2")
    for _ in range(10):
        await app.tickets.issue(first, route="/anybody")
    with pytest.raises(TooManyRequests):
        await app.tickets.issue(first, route="/anybody")
    await app.tickets.issue(second, route="/anybody")


async def test_what_a_page_answers(autojump_clock: MockClock) -> None:
    """What `issue` raises is the answer of the page that has called it: 401, or 429 and when to try again."""
    app = app_of()

    @app.page("/ticket", methods=["POST"])
    async def ticket(asked: Request[object]) -> Response:
        return Response(await app.tickets.issue(asked.body.decode(), route="/talk"))

    async with serve(app) as server:

        async def post(body: str) -> tuple[int, str]:
            client = RawClient(server.open_stream())
            fields = f"Host: seawall.test\r\nContent-Length: {len(body)}\r\n"
            await client.send(f"POST /ticket HTTP/1.1\r\n{fields}\r\n{body}".encode())
            answer = await client.last_response()
            return answer.status, answer.header("retry-after") if answer.status == 429 else ""

        assert [await post(token()) for _ in range(10)] == [(200, "")] * 10
        assert await post(token()) == (429, "30")
        assert await post("nonsense") == (401, "")


def test_outside_of_trio() -> None:
    """In another thread it says what to call."""
    issuing = app_of().tickets.issue(token(), route="/talk")
    with pytest.raises(ConfigurationError, match="from_thread"):
        issuing.send(None)


async def test_in_a_trio_of_another_thread() -> None:
    """It is refused while the app is served here: store and keys are of this run of Trio."""
    app = app_of()
    issuing = partial(app.tickets.issue, token(), route="/talk")
    async with serve(app):
        assert "another thread than the one in which the app is served" in await refusal_elsewhere(issuing)
        await issuing()
    assert await refusal_elsewhere(issuing) == ""


# At definition.


def test_on_a_page() -> None:
    """A page takes no tickets."""
    app = App()
    with pytest.raises(ConfigurationError, match=r"page\('/page'\): its guard takes tickets, query\('ticket'\)"):

        @app.page("/page", guard=bearer(verifier, header(), query("ticket")))
        async def page(asked: Request[Claims]) -> Response:
            return Response("")


def test_taken_twice() -> None:
    """Of two guards that take one ticket, the second could never be let through; nor could one that is a token, too."""
    for other in (members, bearer(about_anything, header(), query("ticket"))):
        with pytest.raises(ConfigurationError, match="two guards take the ticket in the query's 'ticket'") as error:
            App().route("/", guard=members | other)(quiet)
        assert str(error.value).startswith("quiet() (")
        assert "bearer(by_issuer(first, second), query('ticket'))" in str(error.value)
    App().route("/", guard=members | bearer(about_anything, query("other")))(quiet)
    App().route("/", guard=bearer(verifier, query("a"), query("b")))(quiet)
    with pytest.raises(ConfigurationError, match="to be a ticket and a token; give them two names"):
        bearer(verifier, query("ticket"), header(), query("ticket", reusable=True))
    with pytest.raises(ConfigurationError, match="named twice"):
        bearer(verifier, query("ticket"), query("ticket"))


def test_what_an_app_has() -> None:
    """Each app has tickets of its own, unless it is given a store."""
    app = App()
    assert isinstance(app.tickets, Tickets)
    assert App().tickets is not app.tickets
    for mistaken in (MemoryTickets, 10_000, "tickets.db"):
        with pytest.raises(ConfigurationError, match=r"App\(tickets=...\) was given"):
            App(tickets=mistaken)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
