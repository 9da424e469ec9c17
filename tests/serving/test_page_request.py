"""Pages that are made on request: what they are asked, what they answer, who may ask, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trio
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Cookie,
    ErrorPolicy,
    Forbidden,
    Gate,
    Limits,
    Outcome,
    Refuse,
    Request,
    Response,
    bearer,
    check,
    guard,
    has_scope,
    public,
    redirect,
)
from seawall.testing import serve
from seawall.testing.client import HOST
from seawall.tokens import first_message
from tests.kit.log import recorded
from tests.kit.memory import Peer, request
from tests.kit.sockets import Transport, echo, serving
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import RawClient
from tests.kit.wire import Response as RawResponse

OVER = ["plain", "tls", "reader", "unix"]
FORM = "Content-Type: application/x-www-form-urlencoded"


def counter_app(*, limits: Limits | None = None) -> App:
    """A page that shows and takes a form, beside a WebSocket of the same path."""
    app = App(limits=limits or Limits(), hosts=["chat.example", "localhost"], origins=["https://chat.example"])
    app.route("/form", guard=public)(echo)

    @app.page("/form", methods=["GET", "POST"])
    async def form(asked: Request[Anonymous]) -> Response:
        if asked.method == "GET":
            return Response(f"<p>{asked.handshake.query}</p>", media_type="text/html; charset=utf-8")
        name = asked.form().get("name", "nobody")
        return Response(f"{name}: {len(asked.body)}", cookies=[Cookie(name="__Host-name", value="x")])

    return app


def ask(method: str, *fields: str, path: str = "/form", version: str = "1.1", body: bytes = b"") -> bytes:
    """A request as it is sent."""
    lines = (f"{method} {path} HTTP/{version}", "Host: chat.example", *fields, "", "")
    return "\r\n".join(lines).encode() + body


def post(body: bytes, *fields: str) -> bytes:
    """A form that is posted from a page of ours."""
    length = f"Content-Length: {len(body)}"
    return ask("POST", length, FORM, "Origin: https://chat.example", *fields, body=body)


async def answer(app: App, sent: bytes, *pieces: bytes) -> RawResponse:
    """What the app says over memory streams."""
    async with serve(app) as server:
        client = RawClient(server.open_stream())
        for piece in (sent, *pieces):
            await client.send(piece)
        return await client.last_response()


@pytest.mark.parametrize("over", OVER)
async def test_mended_26_a_page_is_made_on_request(over: Transport) -> None:
    """GET, HEAD, POST and OPTIONS are answered, each with its own, over every transport; then the connection closes."""
    async with serving(counter_app(), over) as place:

        async def say(sent: bytes) -> RawResponse:
            client = await place.dial()
            await client.send(sent)
            return await client.last_response()

        got = await say(ask("GET", path="/form?a=b"))
        assert (got.status, got.body) == (200, b"<p>a=b</p>")
        assert got.header("content-type") == "text/html; charset=utf-8"
        assert got.header("cache-control") == "no-store"
        assert got.header("connection") == "close"
        got = await say(post(b"name=ada"))
        assert (got.status, got.body) == (200, b"ada: 8")
        assert got.header("set-cookie") == "__Host-name=x; Path=/; Secure; HttpOnly; SameSite=Lax"
        got = await say(ask("OPTIONS"))
        assert (got.status, got.body, got.header("allow")) == (200, b"", "GET, POST, HEAD, OPTIONS")
        got = await say(ask("DELETE"))
        assert (got.status, got.header("allow")) == (405, "GET, POST, HEAD, OPTIONS")
        await place.idle(0)
        client = await place.open("/form")
        client.close()


async def test_mended_26_head_has_no_body(autojump_clock: MockClock) -> None:
    """HEAD says how long the body of a GET would be, and sends none."""
    async with serve(counter_app()) as server:
        peer = Peer(server.open_stream())
        await peer.say(ask("HEAD", path="/form?a=b"))
        head = await peer.rest()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nContent-Length: 10\r\n" in head
        assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"x" * 65_536), 200),
        (post(b"x" * 65_537), 413),
        (ask("POST", "Content-Length: 99999999999999999999"), 413),
        (ask("POST", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 411),
        (ask("POST", "Content-Length: 4", "Content-Length: 4", body=b"name"), 400),
        (ask("GET", "Content-Length: 4", body=b"name"), 400),
        (ask("POST", "Content-Length: 4", path="/nowhere", body=b"name"), 400),
        (ask("PUT", "Content-Length: 4", body=b"name"), 400),
        (request("/form", "Content-Length: 4").replace(HOST.encode(), b"chat.example"), 400),
        (ask("POST", FORM, body=b"name=late"), 200),
    ],
    ids=[
        "64 KiB",
        "more",
        "an endless number",
        "chunked",
        "two lengths",
        "GET",
        "no page",
        "PUT",
        "upgrade",
        "no length",
    ],
)
async def test_mended_26_what_may_be_posted(autojump_clock: MockClock, sent: bytes, status: int) -> None:
    """A body has a length, of 64 KiB at most, and is for a page that is posted to; anything else is refused."""
    assert (await answer(counter_app(), sent)).status == status


async def test_mended_26_a_body_in_pieces(autojump_clock: MockClock) -> None:
    """However the body is cut it arrives whole, and what the client sends after it is nobody's."""
    sent = post(b"name=ada") + b"GET /form HTTP/1.1\r\n\r\n"
    got = await answer(counter_app(), *(sent[at : at + 7] for at in range(0, len(sent), 7)))
    assert (got.status, got.body) == (200, b"ada: 8")


async def test_mended_26_a_client_that_waits_to_be_told(autojump_clock: MockClock) -> None:
    """``Expect: 100-continue`` is answered before the body is sent, and not at all if the body will be refused."""
    async with serve(counter_app()) as server:
        client = RawClient(server.open_stream())
        whole = post(b"name=ada", "Expect: 100-Continue")
        await client.send(whole[:-8])
        assert (await client.response()).status == 100
        await client.send(whole[-8:])
        assert (await client.last_response()).body == b"ada: 8"
        client = RawClient(server.open_stream())
        await client.send(ask("POST", "Expect: 100-continue", "Content-Length: 65537"))
        assert (await client.last_response()).status == 413


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 200),
        (("Origin: https://chat.example", "Cookie: a=b"), 200),
        (("Cookie: a=b",), 403),
        (("Origin: https://evil.example",), 403),
        (("Origin: null", "Cookie: a=b"), 403),
        (("Origin: https://chat.example", "Origin: https://evil.example"), 400),
    ],
)
async def test_mended_26_another_site_posts_nothing(
    autojump_clock: MockClock, fields: tuple[str, ...], status: int
) -> None:
    """A form of another origin is refused, and so are cookies without an origin; a program without either may post."""
    assert (await answer(counter_app(), ask("POST", *fields))).status == status
    assert (await answer(counter_app(), ask("GET", "Cookie: a=b"))).status == 200


async def test_mended_26_a_guard_says_who_asks(autojump_clock: MockClock) -> None:
    """A page behind a guard is 401 without a token, 403 with too small a one, and knows its principal with another."""
    app = App()

    @app.page("/me", guard=bearer(verifier) >> has_scope("read"))
    async def me(asked: Request[Claims]) -> Response:
        return Response(str(asked.principal.subject))

    def with_fields(headers: dict[str, str]) -> bytes:
        return ask("GET", *(f"{name}: {value}" for name, value in headers.items()), path="/me")

    refused = await answer(app, with_fields({}))
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith("Bearer")
    assert (await answer(app, with_fields(by(token(scope="write"))))).status == 403
    got = await answer(app, with_fields(by(token(scope="read"))))
    assert (got.status, got.body) == (200, b"ada")


async def test_mended_26_resources_end_with_the_answer(autojump_clock: MockClock) -> None:
    """What the guard of a page has entered is left when the page has been answered, and the table has no entry left."""
    events: list[str] = []

    @asynccontextmanager
    async def held() -> AsyncGenerator[None]:
        events.append("entered")
        yield
        events.append("left")

    @guard
    async def holding(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(held())
        return proved

    app = App()

    @app.page("/", guard=holding)
    async def page(asked: Request[Anonymous]) -> Response:
        events.append("answered")
        return Response("done")

    assert (await answer(app, ask("GET", path="/"))).status == 200
    assert events == ["entered", "answered", "left"]


async def test_mended_26_guard_and_page_together_are_bounded(autojump_clock: MockClock) -> None:
    """A function that hangs, a guard that hangs, and a body that never comes are 408 after ``auth_timeout``."""
    app = counter_app(limits=Limits(auth_timeout=3))

    @app.page("/hangs")
    async def hangs(asked: Request[Anonymous]) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    for sent in (ask("GET", path="/hangs"), post(b"name=ada")[:-1]):
        begun = trio.current_time()
        assert (await answer(app, sent)).status == 408
        assert 3 <= trio.current_time() - begun < 4


async def test_mended_26_a_page_counts_as_not_let_in(autojump_clock: MockClock) -> None:
    """While pages are being answered they take places of those that no guard has let in: the next one is 503."""
    going_on, may_end = trio.Event(), trio.Event()
    app = App(limits=Limits(max_unauthenticated=1))

    @app.page("/slow")
    async def slow(asked: Request[Anonymous]) -> Response:
        going_on.set()
        await may_end.wait()
        return Response("done")

    async with serve(app) as server:
        first = RawClient(server.open_stream())
        await first.send(ask("GET", path="/slow"))
        await going_on.wait()
        second = RawClient(server.open_stream())
        await second.send(ask("GET", path="/slow"))
        assert (await second.last_response()).status == 503
        may_end.set()
        assert (await first.last_response()).body == b"done"


async def test_mended_26_a_failure_is_told_by_the_policy(autojump_clock: MockClock) -> None:
    """What a page raises is 500 with an incident, or what the app's policy says; a wrong answer names its remedy."""
    outcomes: list[Outcome] = []
    app = App(errors=ErrorPolicy().on(KeyError, Refuse(404)), on_end=outcomes.append)

    @app.page("/fails")
    async def fails(asked: Request[Anonymous]) -> Response:
        raise {"key": KeyError("secret"), "bug": ValueError("secret")}[asked.handshake.query]

    @app.page("/wrong")
    async def wrong(asked: Request[Anonymous]) -> Response:
        return "text"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # what is tested

    with recorded() as log:
        got = await answer(app, ask("GET", path="/fails?key"))
        assert (got.status, b"secret" in got.body) == (404, False)
        got = await answer(app, ask("GET", path="/fails?bug"))
        assert got.status == 500
        assert got.body.startswith(b"internal error, incident ")
        assert (await answer(app, ask("GET", path="/wrong"))).status == 500
    assert any("return a seawall.Response" in (record.exc_text or "") for record in log.found)
    assert [outcome.route for outcome in outcomes] == ["/fails", "/fails", "/wrong"]


async def test_mended_26_a_guard_that_talks_fails_closed(autojump_clock: MockClock) -> None:
    """A guard whose accepting nobody could see at definition is 500 when it accepts; the function is not called."""

    @guard
    async def talks(gate: Gate, proved: Anonymous) -> Anonymous:
        match gate.handshake.query:
            case "accept":
                await gate.accept()
            case "receive":
                await gate.receive_text()
            case _:
                await gate.send_text("")
        return proved

    app = App()

    @app.page("/", guard=talks)
    async def page(asked: Request[Anonymous]) -> Response:
        raise AssertionError

    for way in ("accept", "receive", "send"):
        with recorded() as log:
            assert (await answer(app, ask("GET", path=f"/?{way}"))).status == 500
        assert any("which has no WebSocket" in (record.exc_text or "") for record in log.found)


async def test_mended_26_a_peer_that_leaves(autojump_clock: MockClock) -> None:
    """A peer that goes before its body is whole ends as vanished, without an answer."""
    outcomes: list[Outcome] = []
    app = App(on_end=outcomes.append)

    @app.page("/", methods=["POST"])
    async def page(asked: Request[Anonymous]) -> Response:
        raise AssertionError

    async with serve(app) as server:
        stream = server.open_stream()
        await stream.send_all(ask("POST", "Content-Length: 9", path="/"))
        await stream.send_eof()
        assert await Peer(stream).rest() == b""
    assert [outcome.code for outcome in outcomes] == [1006]


async def nothing(asked: Request[object]) -> Response:
    """Answer."""
    return Response()


@check
async def of_a_room(gate: Gate, principal: object, room: str) -> None:
    """A check that wants a path parameter."""


MISTAKES: list[tuple[Callable[[App], object], str]] = [
    (lambda app: app.page("nowhere")(nothing), "exact path"),
    (lambda app: app.page("/a/{b}")(nothing), "exact path"),
    (lambda app: app.page("/", methods=[])(nothing), r"give \['GET'\]"),
    (lambda app: app.page("/", methods="GET")(nothing), r"give \['GET'\]"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
    (lambda app: app.page("/", methods=["PUT"])(nothing), r"give \['GET'\]"),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: app.page("/")(lambda asked: Response()), "async def"),  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: app.page("/", guard=bearer(verifier, first_message()))(nothing), "bearer"),
    (lambda app: app.page("/", guard=bearer(verifier) | bearer(verifier, first_message()))(nothing), "bearer"),
    (lambda app: app.page("/", guard=of_a_room >> public)(nothing), "has no parameters"),
    (lambda app: (app.page("/")(nothing), app.page("/")(nothing)), "already"),
    (lambda app: (app.page("/", "fixed"), app.page("/")(nothing)), "already"),
    (lambda app: app.page("/")(app.page("/")(nothing)), "already"),
    (lambda app: [register(nothing) for register in (app.page("/"), app.page("/"))], "already"),
    (lambda app: app.page(nothing), "exact path"),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # what is tested
    (lambda app: app.page("/", "secret", guard=bearer(verifier)), "for everybody"),  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportUnknownLambdaType]  # as above
    (lambda app: app.page("/", "secret", methods=["POST"]), "for everybody"),  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportUnknownLambdaType]  # as above
    (lambda app: app.page("/", guard=None)(nothing), "give a Guard"),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]  # as above
    (lambda app: app.page("/", guard="public")(nothing), "give a Guard"),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]  # as above
    (lambda app: app.page("/", guard=of_a_room)(nothing), "proves nobody"),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]  # as above
]


@pytest.mark.parametrize(
    ("define", "remedy"),
    MISTAKES,
    ids=[str(number) for number in range(len(MISTAKES))],
)
def test_mended_26_a_mistake_is_found_at_definition(define: Callable[[App], object], remedy: str) -> None:
    """What could never answer is refused where it is written, with what to write instead."""
    with pytest.raises(ConfigurationError, match=remedy):
        define(App())


DROPPED: list[tuple[Callable[[], object], str]] = [
    (lambda: Response(status=204), "204"),
    (lambda: Response(status=100), "100"),
    (lambda: Response(headers=[("A", "b\r\nC: d")]), "cannot be sent"),
    (lambda: Response(headers=[("Content-Length", "3")]), "cannot be sent"),
    (lambda: Response(None), "cannot be sent"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
    (lambda: redirect("/\r\nSet-Cookie: a=b"), "cannot be sent"),
    (lambda: Response(5), "cannot be sent"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
    (lambda: Response([104, 105]), "cannot be sent"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Response({"a": 1}), "json.dumps"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Response(headers={"Allow": "GET"}), "cannot be sent"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Response(headers=[("A", 5)]), "cannot be sent"),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Response(cookies=["a=b"]), "cannot be sent"),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Cookie(name="a", value="b", max_age="60; Domain=example"), "whole seconds"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Cookie(name="a", value="b", max_age=1.5), "whole seconds"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda: Cookie(name="a b", value=""), "token"),
    (lambda: Cookie(name="a", value="b; HttpOnly"), "base64url"),
    (lambda: Cookie(name="a", value="\r\n"), "base64url"),
    (lambda: Cookie(name="a", value="b" * 4096), "on the server"),
    (lambda: Cookie(name="a", value="b", path="x"), "begin with /"),
    (lambda: Cookie(name="a", value="b", path="/;x"), "begin with /"),
    (lambda: Cookie(name="a", value="b", domain="x; a"), "domain"),
    (lambda: Cookie(name="__Host-a", value="b", path="/x"), "another path"),
    (lambda: Cookie(name="__host-a", value="b", domain="chat.example"), "domain"),
    (lambda: Cookie(name="__Secure-a", value="b", secure=False), "secure=True"),
    (lambda: Cookie(name="a", value="b", same_site="None", secure=False), "secure=True"),
    (lambda: Cookie(name="a", value="b", same_site="none"), "choose"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
]


@pytest.mark.parametrize(
    ("make", "remedy"),
    DROPPED,
    ids=[str(number) for number in range(len(DROPPED))],
)
def test_mended_26_what_a_browser_would_drop_is_refused(make: Callable[[], object], remedy: str) -> None:
    """A response that cannot be sent, and a cookie that a browser would drop, are errors where they are made."""
    with pytest.raises(ConfigurationError, match=remedy):
        make()


def test_how_long_an_answer_is_stored_may_be_said() -> None:
    """Nowhere, unless the answer itself says otherwise, however the field is written."""
    assert b"\r\nCache-Control: no-store\r\n" in Response("text").serialize().data
    said = Response("text", headers=[("cache-control", "max-age=60")]).serialize().data
    assert (said.lower().count(b"cache-control"), b"max-age=60" in said) == (1, True)


def test_mended_26_a_cookie_in_full() -> None:
    """All attributes are written, and the value stays out of the repr."""
    cookie = Cookie(
        name="a", value="secret", max_age=0, path="/x", domain="chat.example", http_only=False, same_site="Strict"
    )
    assert cookie.field_value == "a=secret; Path=/x; Max-Age=0; Domain=chat.example; Secure; SameSite=Strict"
    assert "secret" not in repr(Response(cookies=[cookie])).replace("secure", "")


@pytest.mark.parametrize(
    ("body", "media_type", "form"),
    [
        (b"a=b&a=c&d=", "application/x-www-form-urlencoded", {"a": "b", "d": ""}),
        (b"a=%E2%82%AC+x", "Application/X-WWW-Form-Urlencoded; charset=utf-8", {"a": "\u20ac x"}),
        (b"a=%FF", "application/x-www-form-urlencoded", {}),
        (b"a=\xff", "application/x-www-form-urlencoded", {}),
        (b"&".join([b"a=b"] * 101), "application/x-www-form-urlencoded", {}),
        (b"a=b", "text/plain", {}),
    ],
)
async def test_mended_26_a_form(autojump_clock: MockClock, body: bytes, media_type: str, form: dict[str, str]) -> None:
    """The fields of a form, the first of each name; what is no form has none."""
    seen: list[dict[str, str]] = []
    app = App()

    @app.page("/", methods=["POST"])
    async def page(asked: Request[Anonymous]) -> Response:
        seen.append(dict(asked.form()))
        return redirect("/")

    sent = ask("POST", f"Content-Length: {len(body)}", f"Content-Type: {media_type}", path="/", body=body)
    got = await answer(app, sent)
    assert (got.status, got.header("location")) == (303, "/")
    assert seen == [form]


async def test_mended_26_a_real_client() -> None:
    """Aiohttp fetches a page, posts a form, and brings the cookie that it was given."""
    app = App()

    @app.page("/", methods=["GET", "POST"])
    async def page(asked: Request[Anonymous]) -> Response:
        if asked.method == "POST":
            return redirect("/", cookies=[Cookie(name="name", value=asked.form()["name"], secure=False)])
        return Response(f"hello, {asked.handshake.cookie('name')}")

    async with serving(app) as place:
        url = place.at.url.replace("ws:", "http:")

        async def talk() -> list[str]:
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(cookie_jar=jar, headers={"Origin": url}) as session:
                said: list[str] = []
                async with session.get(f"{url}/") as got:
                    said.append(await got.text())
                async with session.post(f"{url}/", data={"name": "ada"}) as got:
                    said.append(await got.text())
                return said

        assert await trio.to_thread.run_sync(lambda: asyncio.run(talk())) == ["hello, None", "hello, ada"]


async def test_mended_26_a_page_may_log_its_visitor_out(autojump_clock: MockClock) -> None:
    """A page that revokes the session which it was asked in still answers; after that the token is refused."""
    app = App(limits=Limits(max_connections_per_subject=1))

    @app.route("/", guard=bearer(verifier))
    async def waits(conn: Connection[Claims]) -> None:
        async for _ in conn:
            pass

    @app.page("/logout", guard=bearer(verifier), methods=["POST"])
    async def logout(asked: Request[Claims]) -> Response:
        await app.sessions.revoke(session_id=asked.principal.session_id)
        await trio.sleep(1)
        return Response("logged out")

    header = by(token(sid="s"))
    async with serve(app) as server, server.connect("/", headers=header) as client:
        for status, body in ((200, b"logged out"), (401, b"unauthorized\n")):
            raw = RawClient(server.open_stream())
            await raw.send(ask("POST", f"Authorization: {header['Authorization']}", path="/logout"))
            got = await raw.last_response()
            assert (got.status, got.body) == (status, body)
        assert await client.wait_closed() == (3003, "revoked")


async def test_mended_26_a_guard_of_a_page_that_leases(autojump_clock: MockClock) -> None:
    """A lease that has run out is refused; one that lasts is of no consequence, and so is a lifespan value."""
    app = App()

    @app.lifespan
    @asynccontextmanager
    async def greeting() -> AsyncGenerator[str]:
        yield "ahoy"

    @guard
    async def leasing(gate: Gate, proved: Anonymous) -> str:
        gate.lease(expires_at=float(gate.handshake.query))
        assert gate.params == {}
        return gate.provided(greeting)

    @app.page("/", guard=leasing)
    async def page(asked: Request[str]) -> Response:
        return Response(asked.principal + asked.provided(greeting))

    assert (await answer(app, ask("GET", path="/?1"))).status == 401
    assert (await answer(app, ask("GET", path="/?4e9"))).body == b"ahoyahoy"


@pytest.mark.parametrize(("path", "status"), [("/post", 405), ("/forbidden", 403), ("/bug", 500), ("/late", 408)])
async def test_mended_26_no_answer_to_head_has_a_body(autojump_clock: MockClock, path: str, status: int) -> None:
    """A refusal, a failure and a time-out have no body either where the method was HEAD, but say its length."""
    app = App(limits=Limits(auth_timeout=2))

    @app.page("/post", methods=["POST"])
    @app.page("/forbidden")
    @app.page("/bug")
    @app.page("/late")
    async def page(asked: Request[Anonymous]) -> Response:
        if asked.handshake.path == "/forbidden":
            raise Forbidden
        if asked.handshake.path == "/bug":
            raise ValueError("no")
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async with serve(app) as server:
        stream, received = server.open_stream(), bytearray()
        await stream.send_all(ask("HEAD", path=path))
        async for data in stream:
            received += data
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Length: " in received
    assert received.partition(b"\r\n\r\n")[2] == b""


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_mended_12_a_late_page_is_told_at_once(autojump_clock: MockClock, method: str) -> None:
    """A page in a long shielded cleanup keeps neither its client nor its place: the answer comes at the time-out."""
    limits = Limits(auth_timeout=2, wind_down=1, max_unauthenticated=1)
    app = App(limits=limits)

    @app.page("/", methods=["GET", "POST"])
    async def page(asked: Request[Anonymous]) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)
        raise AssertionError("unreachable")

    async with serve(app) as server:
        started = trio.current_time()
        client = RawClient(server.open_stream())
        await client.send(ask(method, path="/"))
        assert (await client.last_response()).status == 408
        assert trio.current_time() - started == pytest.approx(2, abs=0.1)
        await trio.sleep(limits.wind_down + 0.1)
        other = RawClient(server.open_stream())  # it gets the only place, and not a 503
        await other.send(ask("OPTIONS", path="/"))
        assert (await other.last_response()).status == 200


def test_mended_20_the_value_of_a_field_is_not_in_the_error() -> None:
    """A field that cannot be sent is named; its value, which may be a credential, is not."""
    with pytest.raises(ConfigurationError, match="X-Token") as caught:
        Response(headers=[("X-Token", "topsecret\n")])
    assert "topsecret" not in str(caught.value)
