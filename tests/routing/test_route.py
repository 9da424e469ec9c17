"""Routes: every mistake in one fails when it is defined, and what a good one does with a connection."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import cast
from uuid import UUID

import pytest

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError
from seawall.guards.functions import check, guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard, public
from seawall.guards.origins import Origins, any_origin, same_origin
from seawall.limits import LimitOverrides, Limits
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Close
from seawall.routing.route import Route
from seawall.testing import Rejected, connect, serve
from tests.kit.log import recorded

Handler = Callable[[Connection[Anonymous]], Awaitable[None]]


async def echo(conn: Connection[Anonymous]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


async def in_room(conn: Connection[Anonymous], room: str) -> None:
    """Say which room it is."""
    await conn.send(room)


def defined(path: str, handler: Callable[..., Awaitable[None]], door: Guard[Anonymous, Anonymous] = public) -> None:  # type: ignore[explicit-any]  # handlers of every shape
    """Define a route, as `app.route` does."""
    App().route(path, guard=door)(handler)


MISTAKES: list[tuple[str, Callable[..., Awaitable[None]], str]] = [  # type: ignore[explicit-any]  # as above
    ("/echo/{room}", echo, r"has \{room\}, but neither the handler nor a guard takes it; add a parameter `room: str`"),
    ("/rooms", in_room, r"takes 'room', which the path '/rooms' does not have; add \{room\} to the path"),
    ("/rooms/{Room}", in_room, r"takes 'room', which the path '/rooms/\{Room\}' does not have"),
    ("/rooms/{room:int}", in_room, r"'room' is annotated str, but .* gives int; change the annotation, or the conv"),
    ("rooms/{room}", in_room, r"it does not start with '/'; put one in front"),
    ("/rooms/{room", in_room, r"the braces .* do not pair; write one placeholder per segment"),
    ("/rooms/{room:number}", in_room, r"there is no converter 'number'; known are str, int, float, uuid, path"),
    ("/rooms/{room}/{room}", in_room, r"the name 'room' is there twice; give each placeholder its own"),
]


@pytest.mark.parametrize(("path", "handler", "text"), MISTAKES, ids=[path for path, *_ in MISTAKES])
def test_a_path_that_does_not_fit(path: str, handler: Callable[..., Awaitable[None]], text: str) -> None:  # type: ignore[explicit-any]  # as above
    """Each text begins with the function, its file and its line, and ends with the remedy."""
    with pytest.raises(ConfigurationError, match=rf"^{handler.__name__}\(\) \(.*test_route\.py:\d+\).*{text}"):
        defined(path, handler)


def test_annotations_are_text_here() -> None:
    """This very module has `from __future__ import annotations`: the text is read, in the module of the function."""
    assert in_room.__annotations__["room"] == "str"

    async def with_key(conn: Connection[Anonymous], key: UUID) -> None:
        pass

    defined("/u/{key:uuid}", with_key)
    with pytest.raises(ConfigurationError, match=r"'key' is annotated UUID, but the path '/u/{key:int}' gives int"):
        defined("/u/{key:int}", with_key)


def test_a_guard_takes_path_parameters_too() -> None:
    """They are compared with the path of each route that uses the guard; it is the guard that is named."""

    @guard
    async def member(gate: Gate, proved: Anonymous, room: str) -> Anonymous:
        return proved

    @check
    async def open_hours(gate: Gate, principal: object, hour: int) -> None:
        pass

    defined("/rooms/{room}", echo, member)
    defined("/rooms/{room}", in_room, member)
    defined("/{hour:int}/{room}", in_room, public >> member >> open_hours)
    defined("/{hour:int}/{room}", in_room, (open_hours >> public) | member)
    for wrong, text in (
        ("/rooms", r"member\(\) \(.*\) takes 'room', which the path '/rooms' does not have"),
        ("/rooms/{room:int}", r"member\(\) \(.*\): parameter 'room' is annotated str, but .* gives int"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            defined(wrong, echo, member)
    with pytest.raises(ConfigurationError, match=r"open_hours\(\) \(.*\): parameter 'hour' is annotated int"):
        defined("/{hour}/{room}", echo, member >> open_hours)


def test_the_same_path_twice() -> None:
    """The second route is named, with the path of the first; the first stays."""
    app = App()
    app.route("/rooms/{room}", guard=public)(in_room)

    async def other(conn: Connection[Anonymous], name: str) -> None:
        pass

    with pytest.raises(
        ConfigurationError, match=r"other\(\) \(.*'/rooms/\{name\}': it takes the same paths as '/rooms"
    ):
        app.route("/rooms/{name}", guard=public)(other)


def test_a_route_that_nobody_reaches() -> None:
    """A route behind others that take every path first is a mistake."""
    app = App()

    async def every(conn: Connection[Anonymous], rest: str) -> None:
        pass

    async def deeper(conn: Connection[Anonymous], room: str, rest: str) -> None:
        pass

    app.route("/{room}", guard=public)(in_room)
    app.route("/{room}/{rest:path}", guard=public)(deeper)
    with pytest.raises(ConfigurationError, match=r"every\(\) \(.*'/\{rest:path\}'.*never be reached.*remove one"):
        app.route("/{rest:path}", guard=public)(every)


def test_a_lone_check_is_no_guard() -> None:
    """A check proves nobody; the remedy is shown."""

    @check
    async def adult(gate: Gate, principal: object) -> None:
        pass

    with pytest.raises(
        ConfigurationError, match=r"^echo\(\) \(.*was given a check, which proves nobody; write `check >> p"
    ):
        defined("/", echo, cast("Guard[Anonymous, Anonymous]", adult))


@pytest.mark.parametrize(
    "door",
    [None, object(), Anonymous(), Guard[Anonymous, Anonymous]],
    ids=["None", "object", "principal", "class"],
)
def test_what_is_no_guard(door: object) -> None:
    """Anything else than a guard is a mistake, with an example of a guard."""
    with pytest.raises(ConfigurationError, match=r"^echo\(\) \(.*guard= was given .*; give a Guard, such as `public`"):
        defined("/", echo, cast("Guard[Anonymous, Anonymous]", door))


@pytest.mark.parametrize("door", [echo, guard, type(public)], ids=["handler", "decorator", "class"])
def test_mended_29_what_is_no_guard_yet(door: object) -> None:
    """A function without @guard, or what makes guards and was not called: the error says which of both."""
    with pytest.raises(
        ConfigurationError,
        match=r"guard= was given .*\(\).*, which is no guard yet; put @guard over .*`bearer\(verifier\)`",
    ):
        defined("/", echo, cast("Guard[Anonymous, Anonymous]", door))


def synchronous(conn: Connection[Anonymous]) -> None:
    """Not async."""


async def generator(conn: Connection[Anonymous]) -> AsyncIterator[object]:
    """Yields, so that calling it gives nothing to await."""
    yield conn


class Echo:
    """A handler with a state of its own."""

    def __init__(self, prefix: str) -> None:
        """Put `prefix` before each answer."""
        self.prefix = prefix

    async def __call__(self, conn: Connection[Anonymous]) -> None:
        """Answer one message."""
        await conn.send(f"{self.prefix} {await conn.receive()!s}")

    async def method(self, conn: Connection[Anonymous], room: str) -> None:
        """Say which room it is."""
        await conn.send(f"{self.prefix} {room}")

    @staticmethod
    async def static(conn: Connection[Anonymous]) -> None:
        """Say so."""
        await conn.send("static")

    def sync(self, conn: Connection[Anonymous]) -> None:
        """Not async."""


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (synchronous, "synchronous"),
        (generator, "generator"),
        (Echo("x").sync, "Echo.sync"),
        (Echo, "Echo"),
        (functools.partial(synchronous), "synchronous"),
        (len, "len"),
        (42, "int"),
    ],
)
def test_a_handler_that_is_not_async(handler: object, name: str) -> None:
    """What cannot be awaited fails here, not when a client arrives."""
    with pytest.raises(ConfigurationError, match=rf"{name}\(\).* is not an async function; a handler is `async def`"):
        defined("/", cast("Handler", handler))


def test_a_handler_without_a_connection() -> None:
    """A handler takes the connection first."""

    async def nothing() -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"nothing\(\) \(.*must take the connection as positional"):
        defined("/", nothing)


@pytest.mark.parametrize("subprotocols", [["a b"], ["a,b"], [""], ["chat", "ä"], ["a\n"]], ids=repr)
def test_a_subprotocol_that_is_no_token(subprotocols: Sequence[str]) -> None:
    """A subprotocol is a token (RFC 6455, section 4.1)."""
    with pytest.raises(ConfigurationError, match="is not a token"):
        Route(path="/", guard=public, handler=echo, subprotocols=subprotocols)


def test_subprotocols_in_one_string() -> None:
    """A string is a sequence of letters to Python; the remedy is shown."""
    with pytest.raises(ConfigurationError, match=r"subprotocols='chat': give a list, \['chat'\]"):
        Route(path="/", guard=public, handler=echo, subprotocols="chat")


@pytest.mark.parametrize("origins", ["https://a.example", ["a.example"]], ids=repr)
def test_origins_that_are_none(origins: Origins) -> None:
    """A route's origins are checked like the app's, and the function is named."""
    with pytest.raises(ConfigurationError, match=r"^echo\(\) \(.*https://"):
        Route(path="/", guard=public, handler=echo, origins=origins)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"max_connections": 1}, r"cannot set the limits \['max_connections'\]; it can set auth_timeout"),
        ({"auth_timeout": 0}, r"Limits\.auth_timeout is 0; give a number greater than 0"),
        ({"close_timeout": 6}, "raise the app's, or lower the route's"),
        ({"max_message_size": 200}, "smaller than one message"),
    ],
)
def test_limits_that_cannot_work(limits: dict[str, float], text: str) -> None:
    """A route's limits are held against the app's when the route is added, and the function is named."""
    app = App(limits=Limits(max_message_size=100, inbound_buffer=100))
    with pytest.raises(ConfigurationError, match=rf"^echo\(\) \(.*test_route\.py:\d+\): .*{text}"):
        app.route("/", guard=public, limits=cast("LimitOverrides", limits))(echo)


def test_a_route_that_was_refused_is_not_there() -> None:
    """A mistake leaves the app as it was: another route can have the path."""
    app = App()
    with pytest.raises(ConfigurationError):
        app.route("/", guard=public, limits={"auth_timeout": 0})(echo)
    app.route("/", guard=public)(echo)


async def test_the_decorator_returns_the_function() -> None:
    """A handler can be tested, or used for another route."""
    app = App()
    assert app.route("/a", guard=public)(echo) is echo
    assert app.route("/b", guard=public)(echo) is echo


HANDLERS: dict[str, tuple[Handler, str]] = {
    "a callable instance": (Echo("hello"), "hello x"),
    "a static method": (Echo.static, "static"),
    "a partial": (functools.partial(Echo("hello").method, room="lobby"), "hello lobby"),
}


@pytest.mark.parametrize(("handler", "answer"), HANDLERS.values(), ids=HANDLERS)
async def test_handlers_of_every_kind(handler: Handler, answer: str) -> None:
    """Instances, static methods and partials handle connections like functions."""
    app = App()
    app.add(Route(path="/", guard=public, handler=handler))
    async with connect(app, "/") as client:
        await client.send("x")
        assert await client.receive() == answer


async def test_a_method_with_a_path_parameter() -> None:
    """A bound method takes its parameters from the path."""
    app = App()
    app.route("/rooms/{room}", guard=public)(Echo("in").method)
    async with connect(app, "/rooms/caf%C3%A9") as client:
        assert await client.receive() == "in café"


async def test_parameters_are_converted() -> None:
    """Each converter gives its type; a parameter with a default that the path does not have keeps it."""
    app = App()

    @app.route("/{a}/{b:int}/{c:float}/{d:uuid}/{e:path}", guard=public)
    async def handler(
        conn: Connection[Anonymous], a: str, b: int, c: float, *, d: UUID, e: str, f: str = "default"
    ) -> None:
        await conn.send(repr((a, b, c, str(d), e, f)))

    key = "0f8fad5b-d9cb-469f-a165-70867728950e"
    async with connect(app, f"/x/7/2.5/{key}/p/q") as client:
        assert await client.receive() == repr(("x", 7, 2.5, key, "p/q", "default"))


@pytest.mark.parametrize(
    ("speaks", "offers", "selected"),
    [
        (["chat.v2", "chat.v1"], ["chat.v1", "chat.v2"], "chat.v1"),
        (["chat.v2"], ["chat.v1", "chat.v2"], "chat.v2"),
        (["chat.v2"], [], None),
        ([], [], None),
    ],
)
async def test_a_subprotocol_is_selected(speaks: list[str], offers: list[str], selected: str | None) -> None:
    """The first of the client's that the route speaks; none if there is none, and both ends know it."""
    app = App()

    @app.route("/", guard=public, subprotocols=speaks)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.send(str(conn.subprotocol))

    async with connect(app, "/", subprotocols=offers) as client:
        assert client.subprotocol == selected
        assert await client.receive() == str(selected)


@pytest.mark.parametrize(
    ("speaks", "offers"), [(["chat.v2"], ["chat.v1"]), ([], ["chat.v1", "chat.v2"]), (["CHAT"], ["chat"])]
)
async def test_mended_18_none_of_those_offered_is_spoken(speaks: list[str], offers: list[str]) -> None:
    """A browser fails a 101 that selects none of what it offered: it is 400, and neither guards nor handler run."""
    app, begun = App(), list[str]()

    @guard
    async def notes(gate: Gate, proved: Anonymous) -> Anonymous:
        begun.append("guard")
        return proved

    @app.route("/", guard=notes, subprotocols=speaks)
    async def handler(conn: Connection[Anonymous]) -> None:
        begun.append("handler")

    with recorded() as records, pytest.raises(Rejected, match="400 no subprotocol in common"):
        async with connect(app, "/", subprotocols=offers):
            pass
    assert not begun
    (line,) = [one for one in records.lines("connection") if "refused, 400" in one]
    assert f"none of those offered is in subprotocols={speaks}" in line
    assert "chat.v1" not in line


@pytest.mark.parametrize(
    ("of_app", "of_route", "admitted"),
    [
        (same_origin, None, ["http://seawall.test", "https://seawall.test", None]),
        (any_origin, None, ["http://seawall.test", "https://seawall.test", "https://a.example", "null", None]),
        (["https://a.example"], None, ["https://a.example", None]),
        (any_origin, same_origin, ["http://seawall.test", "https://seawall.test", None]),
        (same_origin, ["https://a.example"], ["https://a.example", None]),
        (["https://a.example"], [], [None]),
        ([], any_origin, ["http://seawall.test", "https://seawall.test", "https://a.example", "null", None]),
    ],
    ids=str,
)
async def test_the_origins_of_a_route(of_app: Origins, of_route: Origins | None, admitted: list[str | None]) -> None:
    """A route's own origins replace the app's; the others get 403, before any guard has been asked."""
    app, asked = App(origins=of_app), list[str]()

    @guard
    async def door(gate: Gate, proved: Anonymous) -> Anonymous:
        asked.append("asked")
        return proved

    app.route("/", guard=door, origins=of_route)(echo)
    async with serve(app) as serving:
        for origin in ("http://seawall.test", "https://seawall.test", "https://a.example", "null", None):
            asked.clear()
            headers = {} if origin is None else {"Origin": origin}
            if origin in admitted:
                async with serving.connect("/", headers=headers):
                    assert asked == ["asked"]
            else:
                with pytest.raises(Rejected) as caught:
                    async with serving.connect("/", headers=headers):
                        pass
                assert (caught.value.status, caught.value.body) == (403, "origin not allowed\n")
                assert asked == []


async def test_a_routes_policy_comes_before_the_apps() -> None:
    """An error goes to the route's policy, then to the app's, then to the defaults."""
    app = App(errors=ErrorPolicy().on(LookupError, Close(4001, "app")).on(OSError, Close(4002, "app")))

    @app.route("/{name}", guard=public, errors=ErrorPolicy().on(LookupError, Close(4003, "route")))
    async def handler(conn: Connection[Anonymous], name: str) -> None:
        raise {"lookup": LookupError(), "os": OSError()}[name]

    async with serve(app) as serving:
        for path, code in (("/lookup", 4003), ("/os", 4002)):
            async with serving.connect(path) as client:
                assert (await client.wait_closed()).code == code


def test_a_route_is_a_value() -> None:
    """It shows what it was made of, and has the path for a name unless it got one."""
    route = Route(path="/rooms/{room}", guard=public, handler=in_room)
    assert route.table_entry.name == "/rooms/{room}"
    assert Route(path="/rooms/{room}", guard=public, handler=in_room, name="chat").table_entry.name == "chat"
    assert "path='/rooms/{room}'" in repr(route)
    with pytest.raises(AttributeError):
        route.path = "/"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
