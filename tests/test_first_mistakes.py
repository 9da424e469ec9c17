"""What somebody gets wrong on the first day, and what the error says: what to write instead."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import pytest
import trio

from seawall import (
    Anonymous,
    App,
    Close,
    ConfigurationError,
    Connection,
    Context,
    Cookie,
    ErrorPolicy,
    Outcome,
    Phase,
    Reply,
    Request,
    Response,
    Router,
    TokenVerifier,
    bearer,
    configure_logging,
    has_scope,
    public,
    run_apps,
    tokens,
)
from seawall.guards.origins import Origins
from seawall.serving.listening import Listen, open_listeners
from seawall.testing import connect
from tests.kit.processes import running

#: A secret that no error may show.
SECRET = "5ecret, which 1s l0ng en0ugh for HS256"

Loose = Callable[..., object]  # type: ignore[explicit-any]  # a function, for who has no type checker


async def anybody(conn: Connection[Anonymous]) -> None:
    """Do nothing."""


def test_mended_29_a_route_without_a_guard() -> None:
    """The error says what a guard is for and how to open a door to all; of routers and mounts too."""
    said = r"^route\('/chat'\): guard= is missing; say who may connect, .* guard=public for an open door$"
    for router in (App(), Router[Anonymous]()):
        route, mount = cast("Loose", router.route), cast("Loose", router.mount)
        with pytest.raises(ConfigurationError, match=said):
            route("/chat")
        with pytest.raises(ConfigurationError, match=said):
            route("/chat", public)
        with pytest.raises(ConfigurationError, match=r"^route\(<function anybody .*\): guard= is missing"):
            route(anybody)
        with pytest.raises(ConfigurationError, match=r"^mount\('/a'\): guard= is missing; "):
            mount("/a", Router[Anonymous]())


async def test_mended_29_run_inside_trio() -> None:
    """A whole program cannot run inside of another one."""
    with pytest.raises(ConfigurationError, match=r"write `await app\.serve\(\.\.\.\)`, or `await app\.start\(nursery"):
        App().run(port=0)


@pytest.mark.parametrize("run", [App().run, lambda: run_apps(App().at(port=0))], ids=["app.run", "run_apps"])
def test_mended_29_run_inside_asyncio(run: Callable[[], None]) -> None:
    """Nor inside of a loop of asyncio's, which it would block; beside one, in a thread, it may."""

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"^(app\.run|run_apps)\(\) is .* asyncio .*thread of its own"):
            run()

        def fails_there() -> None:
            App().run(port=-1)

        with pytest.raises(ConfigurationError, match="cannot listen"):
            await asyncio.to_thread(fails_there)

    asyncio.run(main())


@pytest.mark.parametrize("method", ["serve", "start"])
def test_mended_29_under_asyncio(method: str) -> None:
    """An app needs Trio; it says so before it does anything."""
    app = App()

    async def main() -> None:
        if method == "serve":
            await app.serve(port=0)
        await app.start(cast("trio.Nursery", None), port=0)

    with pytest.raises(ConfigurationError, match=rf"^app\.{method}\(\) needs Trio, and asyncio is another loop; .*run"):
        asyncio.run(main())


def test_mended_29_a_rule_for_several_types() -> None:
    """A tuple is taken as ``except`` takes one: a rule for each of its types."""
    several = ErrorPolicy().on((KeyError, TimeoutError), Close(4000, "several"))
    assert several == ErrorPolicy().on(KeyError, Close(4000, "several")).on(TimeoutError, Close(4000, "several"))
    for failure in (KeyError(), TimeoutError()):
        assert several.decide(failure, Context(phase=Phase.HANDLER)).verdict == Close(4000, "several")
    assert several.decide(OSError(), Context(phase=Phase.HANDLER)).verdict != Close(4000, "several")


def test_mended_29_a_callback_with_too_few_parameters() -> None:
    """The error names what it is called with; of every callback."""

    def rule(error: KeyError) -> Close:
        return Close(4000)

    def nothing() -> None:
        pass

    with pytest.raises(
        ConfigurationError,
        match=r"^ErrorPolicy\.on\(KeyError\): .*rule\(\) \(.*\) is called with \(exception, context\), which "
        r"it does not take \(.*\); write `def name\(exception, context\)`, or `lambda exception, context: \.\.\.`$",
    ):
        ErrorPolicy().on(KeyError, cast("Callable[[KeyError, Context], Close]", cast("object", rule)))
    with pytest.raises(ConfigurationError, match=r"^App\(on_end=\.\.\.\): .* called with \(outcome\)"):
        App(on_end=cast("Callable[[Outcome], None]", cast("object", nothing)))
    with pytest.raises(ConfigurationError, match=r"^Reply\(\.\.\.\): .* called with \(exception\)"):
        Reply(cast("Callable[[Exception], str]", cast("object", nothing)))


@pytest.mark.parametrize("given", [SECRET, SECRET.encode(), None, TokenVerifier], ids=ascii)
def test_mended_29_a_secret_for_a_verifier(given: object) -> None:
    """It is refused where it is written, not when a client comes, and the secret is not in the error."""
    with pytest.raises(ConfigurationError, match=r"^bearer\(\) was given a \w+; give .*TokenVerifier\(") as caught:
        cast("Loose", bearer)(given)
    assert "5ecret" not in str(caught.value)


def of_route(**options: object) -> object:
    """Define a route with these options."""
    decorate = cast("Loose", App().route)(options.pop("path", "/"), guard=public, **options)
    return cast("Loose", decorate)(anybody)


def of_verifier(**options: object) -> object:
    """Define a verifier with these options."""
    usual = {"algorithms": ["HS256"], "audience": "chat", "issuer": "id"}
    return cast("Loose", TokenVerifier)(options.pop("keys", SECRET), **{**usual, **options})


def of_cookie(**options: object) -> object:
    """Define a cookie with these options."""
    return cast("Loose", Cookie)(**{"name": "session", "value": "s3cret", **options})


async def for_page(request: Request[Anonymous]) -> Response:
    """Answer."""
    raise NotImplementedError


def of_page(**options: object) -> object:
    """Define a page on request with these options."""
    return cast("Loose", cast("Loose", App().page)("/", **options))(for_page)


def of_fixed_page(media_type: object) -> object:
    """Define a fixed page of this type."""
    return App().page("/", "hello", media_type=cast("str", media_type))


def of_mount(prefix: object) -> object:
    """Mount a router at this path."""
    return App().mount(cast("str", prefix), Router[Anonymous](), guard=public)


def of_listening(**where: object) -> object:
    """Listen there."""

    async def main() -> None:
        await open_listeners(cast("Listen", where))

    return trio.run(main)


def of_bearer(cookie: object) -> object:
    """Take a token from this cookie."""
    verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="id")
    return bearer(verifier, tokens.cookie(cast("str", cookie)))


#: What is defined, with which option, what that is by mistake, and what the error says.
MISTAKES: list[tuple[Loose, str, tuple[object, ...], str]] = [
    (
        App,
        "origins",
        (None, 5, b"x", object()),
        r"^origins=.*: give a list, such as \['https://chat.example'\], or say",
    ),
    (App, "origins", ([5], [None], {b"x"}), r"^origin .* is not one that a browser sends: write scheme://host"),
    (App, "hosts", (5, True, b"x", object()), r"^hosts=.*: give a list, such as \['chat.example'\], or say any_host"),
    (App, "revocations_kept", (None, "60", True, []), r"^App\(revocations_kept=.*\); give a number of seconds"),
    (App, "log_key", (-1, 32, [1] * 32, 5.0), r"^App\(log_key=\.\.\.\): not text .*, and no bytes"),
    (of_route, "origins", (5, b"x", [5]), r"origins?[= ]"),
    (of_route, "path", (5, b"/x", ["/"], Path("/x")), r"path pattern .*: it is no text; write one such as '/chat'"),
    (Router, "limits", (5, 0, [], "60"), r"^limits=.* are not those of one route; give a dictionary, as in limits="),
    (of_mount, "prefix", (5, b"/x", None), r"path pattern .*: it is no text; write one such as '/chat'"),
    (of_route, "subprotocols", (None, 5, b"x"), r"subprotocols=.*: give a list, such as \['chat.v1'\]"),
    (of_route, "subprotocols", ([5], [None]), r"subprotocol .* is not a token"),
    (of_route, "name", (None, 5, b"x"), r"name=.* is no text; give a str"),
    (
        of_fixed_page,
        "media_type",
        (None, 5, b"text/html"),
        r"^page\('/'\): media_type .* cannot be sent; use text/html",
    ),
    (of_page, "methods", (None, 5, "GET", [["GET"]], [None], ["PUT"]), r"^page\('/'\): methods=.*; give \['GET'\], "),
    (of_bearer, "cookie", (5, b"x", True), r"^cookie\(.*\): no cookie can have this name; give one such as"),
    (of_verifier, "keys", (None,), r"^TokenVerifier: the key is None; is the environment variable set"),
    (of_verifier, "keys", (5, [SECRET]), r"^TokenVerifier: the key is no str, bytes or Path; give a secret as text"),
    (of_verifier, "keys", (Path(SECRET),), r"^TokenVerifier: a secret is not read from a file"),
    (of_verifier, "algorithms", (None, 5), r"^TokenVerifier: algorithms=.*: give a list, such as \['HS256'\]"),
    (of_verifier, "algorithms", ([["HS256"]], [None]), r"^TokenVerifier: algorithms .*; name some of \['HS256'"),
    (of_verifier, "leeway", (None, "30", True), r"^TokenVerifier: leeway=.*; give a number of seconds"),
    (of_verifier, "skew", (None, "30", True), r"^TokenVerifier: skew=.*; give a number of seconds"),
    (of_verifier, "max_lifetime", (None, "30", True), r"^TokenVerifier: max_lifetime=.*; give a number of seconds"),
    (of_verifier, "type", (5, b"JWT", ""), r"^TokenVerifier: type=.*; give a text, such as 'at\+jwt', or None"),
    (of_cookie, "name", (None, 5, b"x"), r"name is no text; give a str"),
    (of_cookie, "value", (None, 5, b"x"), r"value is no text; give a str"),
    (of_cookie, "path", (None, 5, b"/"), r"path is no text; give a str"),
    (of_cookie, "domain", (5, b"chat.example"), r"domain is no text; give a str"),
    (of_cookie, "same_site", (None, 5, ["Lax"]), r"same_site=.*; choose 'Strict', 'Lax' or 'None'"),
    (configure_logging, "level", (None, 1.5, b"INFO", ["INFO"]), r"^there is no log level .*; known are "),
    (configure_logging, "file", (5.0, ["x"], object()), r"^cannot write the log file .*; name a file in a directory"),
    (
        of_listening,
        "host",
        ("a" * 70, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 70),
        r"^cannot listen on .*; choose another",
    ),
    (of_listening, "port", (True, "80", None), r"^listening: port=.* is no int; give one, or leave it out"),
    (
        of_listening,
        "listeners",
        ("x", [5], [socket.socket]),
        r"^listening: listeners: .* is no Trio listener; open_tcp",
    ),
]


@pytest.mark.parametrize(
    ("define", "option", "mistakes", "said"),
    MISTAKES,
    ids=[f"{row[1]} {number}" for number, row in enumerate(MISTAKES)],
)
def test_mended_29_a_value_of_a_wrong_type(define: Loose, option: str, mistakes: tuple[object, ...], said: str) -> None:
    """It is refused where it is written; the error names the option and the remedy, and shows no secret."""
    for mistake in mistakes:
        with pytest.raises(ConfigurationError, match=said) as caught:
            define(**{option: mistake})
        assert "5ecret" not in str(caught.value)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scope", [None, 5, b"chat", ["chat"]], ids=repr)
def test_mended_29_a_scope_that_is_no_text(scope: object) -> None:
    """The error shows how scopes are named."""
    with pytest.raises(
        ConfigurationError, match=r"^has_scope.*: name one scope or several, each a word: has_scope\('ch"
    ):
        has_scope(cast("str", scope))


@pytest.mark.parametrize("body", [{"status": "ok"}, None, 5, bytearray(b"x")], ids=repr)
def test_mended_29_a_page_that_is_no_text(body: object) -> None:
    """It is refused where it is written; for JSON the error says how."""
    with pytest.raises(
        ConfigurationError, match=r"^page\('/health'\): a body is str or bytes, not \w+; .* json\.dumps"
    ):
        App().page("/health", cast("str", body))


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        (["*"], r"\* stands for nothing; for all of them say origins=any_origin"),
        ("*", r"^origins='\*': say origins=any_origin"),
        (["https://*.chat.example"], r"\* stands for nothing; name each of them"),
        (["https://chat.example:*"], r"\* stands for nothing; name each of them"),
    ],
)
def test_mended_29_a_pattern_of_origins(origins: Origins, said: str) -> None:
    """Origins are compared whole; the error says how to admit all."""
    with pytest.raises(ConfigurationError, match=said):
        App(origins=origins)


async def test_mended_29_a_message_that_is_no_text() -> None:
    """The error says what a message is, and how to send something else; nothing has been sent."""
    app, said = App(), list[str]()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        wrong = cast("str", {"hello": "world"})
        with pytest.raises(TypeError) as caught:
            await conn.send(wrong)
        said.append(str(caught.value))
        with pytest.raises(TypeError) as caught:
            conn.send_nowait(wrong)
        said.append(str(caught.value))

    async with connect(app, "/") as client:
        await client.wait_closed()
    assert (
        said
        == [
            "a dict was to be sent; send text, bytes, or an instance of an attrs class, a dataclass or a msgspec.Struct"
        ]
        * 2
    )


async def test_mended_29_an_app_for_an_asgi_server() -> None:
    """An ASGI server is told at its start, and one that does not ask reads it at its first request."""
    app, sent = App(), list[Mapping[str, object]]()

    async def receive() -> Mapping[str, object]:
        await trio.lowlevel.checkpoint()
        return {"type": "lifespan.startup"}

    async def send(event: Mapping[str, object]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(event)

    await app({"type": "lifespan"}, receive, send)
    assert [event["type"] for event in sent] == ["lifespan.startup.failed"]
    assert "write app.run(port=8765) and start it with `python app.py`" in str(sent[0]["message"])
    with pytest.raises(ConfigurationError, match="no ASGI application: it is a server itself, on Trio"):
        await app({"type": "websocket"}, receive, send)


@pytest.mark.slow
def test_mended_29_under_uvicorn(tmp_path: Path) -> None:
    """The program ends at its start, with the remedy on standard error."""
    Path(tmp_path, "chat.py").write_text("from seawall import App\napp = App()\n")
    with running("-m", "uvicorn", "chat:app", "--port", "0", "--app-dir", str(tmp_path)) as program:
        assert program.wait() != 0
        assert "write app.run(port=8765) and start it with `python app.py`" in program.stderr.text
