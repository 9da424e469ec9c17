"""``refuse_with="close"``: a refusal by guards that JavaScript can read; and all that stays a status."""

from __future__ import annotations

from typing import Final

import pytest
import trio
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Close,
    ConfigurationError,
    Connection,
    ErrorPolicy,
    Forbidden,
    Gate,
    Guard,
    LeaseExpired,
    Limits,
    NoCredentials,
    Outcome,
    Refuse,
    Revoked,
    Router,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    bearer,
    guard,
    has_scope,
    inherited,
    public,
)
from seawall.routing.refusing import RefuseWith
from seawall.testing import CloseFrame, Rejected, connect, serve
from seawall.tokens import first_message
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import token, verifier
from tests.kit.wire import RawClient, request


class NotPaid(Exception):
    """A failure of an application's own."""


class Silent(Exception):
    """One for which it has a status only."""


ERRORS: Final = ErrorPolicy().on(NotPaid, Refuse(403), Close(4402, "not paid")).on(Silent, Refuse(403))


def raising(failure: BaseException) -> Guard[Anonymous, Anonymous]:
    """A guard that refuses so."""

    @guard
    async def refusing(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.lowlevel.checkpoint()
        raise failure

    return refusing


async def quiet(conn: Connection[object]) -> None:
    """Say nothing."""


def refusing(door: Guard[Anonymous, object], refuse_with: RefuseWith | None = "close") -> App:
    """An app with one route."""
    app = App(errors=ERRORS)
    app.route("/", guard=door, refuse_with=refuse_with)(quiet)
    return app


async def outcome(app: App, headers: dict[str, str] | None = None, path: str = "/") -> tuple[int, str] | int:
    """Code and reason of a Close, or a status."""
    try:
        async with connect(app, path, headers=headers or {}) as client:
            return await client.wait_closed()
    except Rejected as rejected:
        return rejected.status


@pytest.mark.parametrize(
    ("failure", "closed", "status"),
    [
        (Unauthorized("no"), (3000, "unauthorized"), 401),
        (NoCredentials(), (3000, "unauthorized"), 401),
        (LeaseExpired(), (3000, "lease expired"), 401),
        (Forbidden("no"), (3003, "forbidden"), 403),
        (Revoked(), (3003, "revoked"), 403),
        (NotPaid(), (4402, "not paid"), 403),
        (ExceptionGroup("two", [Forbidden("a"), Forbidden("b")]), (3003, "forbidden"), 403),
        (Silent(), 403, 403),
        (TooManyRequests(retry_after=5), 429, 429),
        (Unavailable(), 503, 503),
        (ExceptionGroup("two", [Forbidden("a"), TooManyRequests()]), 429, 429),
        (ExceptionGroup("two", [Forbidden("a"), ValueError("b")]), 500, 500),
        (ValueError("a bug"), 500, 500),
    ],
    ids=repr,
)
async def test_what_becomes_a_close_code(
    failure: Exception, closed: tuple[int, str] | int, status: int, autojump_clock: MockClock
) -> None:
    """What would be 401 or 403, and has a closing rule; by default nothing does."""
    assert await outcome(refusing(raising(failure))) == closed
    assert await outcome(refusing(raising(failure), "status")) == status
    assert await outcome(refusing(raising(failure), None)) == status


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_it_is_a_whole_handshake_and_a_whole_close(over: Transport) -> None:
    """101 and a Close frame, over each kind of socket, and nothing is left behind."""
    outcomes = list[Outcome]()
    app = App(on_end=outcomes.append)
    app.route("/", guard=bearer(verifier) >> has_scope("chat"), refuse_with="close")(quiet)
    async with serving(app, over) as place:
        for presented, expected in (
            (token(seconds=-5), 3000),
            (token(scope="mail"), 3003),
            (token(scope="chat"), 1000),
        ):
            client = await place.dial()
            await client.send(request("/", b"Authorization: Bearer " + presented.encode()))
            assert (await client.response()).status == 101
            assert (await client.dismissal(answer=True)).code == expected
            client.close()
        await place.idle(0)
    assert [one.code for one in outcomes] == [3000, 3003, 1000]
    assert [one.reason for one in outcomes] == ["unauthorized", "forbidden", ""]


async def test_what_the_client_says_meanwhile_reaches_nobody(autojump_clock: MockClock) -> None:
    """Messages of a client that is refused are read by no guard and no handler."""
    app = refusing(raising(Forbidden("no")))
    async with connect(app, "/") as client:
        assert await client.wait_closed() == CloseFrame(3003, "forbidden")


async def test_what_stays_a_status(autojump_clock: MockClock) -> None:
    """Another origin, a host, a path, a subprotocol, and what there is no room for."""
    app = App(hosts=["chat.example", "seawall.test"], limits=Limits(max_unauthenticated=1))
    app.route("/", guard=bearer(verifier), refuse_with="close", subprotocols=["chat"])(quiet)
    hanging: Guard[Anonymous, object] = bearer(verifier, first_message())
    app.route("/wait", guard=hanging, refuse_with="close")(quiet)

    async def status(path: str, *lines: bytes, host: bytes = b"chat.example") -> int:
        client = RawClient(server.open_stream())
        await client.send(request(path, *lines, host=host))
        return (await client.last_response()).status

    async with serve(app) as server:
        assert await status("/", b"Origin: https://evil.example") == 403
        assert await status("/", host=b"evil.example") == 421
        assert await status("/nowhere") == 404
        assert await status("/", b"Sec-WebSocket-Protocol: news") == 400
        assert await status("/", b"Sec-WebSocket-Protocol: bearer.x") == 400
        assert await status("/", b"Origin: https://a.example", b"Origin: https://b.example") == 400


async def test_routers_hand_it_on(autojump_clock: MockClock) -> None:
    """A route says it itself, or else its router, or the one around."""
    inner, outer, app = Router[object](refuse_with="status"), Router[object](refuse_with="close"), App()
    for router in (inner, outer):
        router.route("/own", guard=inherited(), refuse_with="close")(quiet)
        router.route("/other", guard=inherited(), refuse_with="status")(quiet)
        router.route("/none", guard=inherited())(quiet)
    outer.mount("/inner", inner, guard=inherited())
    app.mount("/outer", outer, guard=bearer(verifier))
    by_close = (3000, "unauthorized")
    for path, expected in (("own", by_close), ("other", 401), ("none", by_close)):
        assert await outcome(app, path=f"/outer/{path}") == expected
    for path, expected in (("own", by_close), ("other", 401), ("none", 401)):
        assert await outcome(app, path=f"/outer/inner/{path}") == expected


async def test_a_peer_that_reads_nothing_is_let_go(autojump_clock: MockClock) -> None:
    """Who neither reads nor answers the Close costs its place for as long as closing may take, and no longer."""
    outcomes = list[Outcome]()
    app = App(on_end=outcomes.append, limits=Limits(close_timeout=2))
    app.route("/", guard=bearer(verifier), refuse_with="close")(quiet)
    async with serve(app) as server:
        client = RawClient(server.open_stream())
        began = trio.current_time()
        await client.send(request("/"))
        while not outcomes:
            await trio.sleep(0.5)
        assert trio.current_time() - began < 4
    assert outcomes[0].code == 3000


def test_what_it_cannot_be() -> None:
    """Something else than the two words is an error where it is said."""
    for wrong in ("Close", 401, True, ""):
        with pytest.raises(ConfigurationError, match=r"refuse_with=.*'status', or 'close'"):
            App().route("/", guard=public, refuse_with=wrong)(quiet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
        with pytest.raises(ConfigurationError, match="Router: refuse_with="):
            Router[object](refuse_with=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
