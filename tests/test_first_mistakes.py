"""What somebody gets wrong on the first day, and what the error says: what to write instead."""

from __future__ import annotations

import asyncio
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
    ErrorPolicy,
    Outcome,
    Phase,
    Reply,
    Router,
    TokenVerifier,
    bearer,
    first_message,
    public,
)
from seawall.guards.origins import Origins
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


@pytest.mark.parametrize("proves", [bearer, first_message])
@pytest.mark.parametrize("given", [SECRET, SECRET.encode(), None, TokenVerifier], ids=ascii)
def test_mended_29_a_secret_for_a_verifier(proves: Loose, given: object) -> None:
    """It is refused where it is written, not when a client comes, and the secret is not in the error."""
    with pytest.raises(
        ConfigurationError, match=r"^(bearer|first_message)\(\) was given a \w+; give .*TokenVerifier\("
    ) as caught:
        proves(given)
    assert "5ecret" not in str(caught.value)


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
    assert said == ["a message is str or bytes, not dict; convert it, as with json.dumps or bytes"] * 2


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
