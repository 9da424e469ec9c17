"""A cookie as a credential, and origins that are anybody's: refused at definition, however the two come together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError, NoCredentials
from seawall.guards.bearer import bearer
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard, public
from seawall.guards.inherited import inherited
from seawall.guards.origins import Origins, any_origin, same_origin
from seawall.guards.scopes import has_scope
from seawall.http.exchange import Request, Response
from seawall.routing.page_route import Method
from seawall.routing.route import Route
from seawall.routing.router import Router
from seawall.tokens import cookie, first_message, header
from tests.kit.tokens import verifier

LISTED = ["https://chat.example"]

by_cookie = bearer(verifier, header(), cookie("session"))


@frozen
class OurOwn(Guard[Anonymous, str]):
    """A guard that reads a cookie, and says so."""

    async def admit(self, gate: Gate, proved: Anonymous, /) -> str:
        """Believe it."""
        name = gate.handshake.cookie("name")
        if name is None:
            raise NoCredentials
        return name

    def reads_cookie(self) -> bool:
        """Yes."""
        return True


@frozen
class CookieCheck(Check[object]):
    """A check that reads one, and says so."""

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Everybody."""

    def reads_cookie(self) -> bool:
        """Yes."""
        return True


async def handler(conn: Connection[object]) -> None:
    """Do nothing."""


#: Guards for which a cookie is a credential, wherever in a chain.
READERS: dict[str, Guard[Anonymous, object]] = {
    "bearer": by_cookie,
    "with a scope": by_cookie >> has_scope("chat"),
    "first": by_cookie | public,
    "second": bearer(verifier) | by_cookie,
    "half of a left side": (by_cookie >> has_scope("chat")) | public,
    "our own": OurOwn(),
    "a check": CookieCheck() >> public,
    "a check after": public >> CookieCheck(),
    "a check of checks": public >> (CookieCheck() >> CookieCheck()),
    "a check that is inherited": public >> inherited(CookieCheck()),
    "a check on the left": (bearer(verifier) >> CookieCheck()) | public,
    "a guard that comes later": (CookieCheck() >> bearer(verifier)) | public,
}

#: How the origins of the app, of a router, of a router in it and of the route come together, and whether any page may.
TOGETHER: list[tuple[Origins, Origins | None, Origins | None, Origins | None, bool]] = [
    (any_origin, None, None, None, True),
    (["null"], None, None, None, True),  # any page may put a sandboxed frame into itself
    (same_origin, None, None, [*LISTED, "null"], True),
    (["null"], None, None, LISTED, False),
    (same_origin, any_origin, None, None, True),
    (same_origin, None, any_origin, None, True),
    (same_origin, None, None, any_origin, True),
    (LISTED, LISTED, LISTED, any_origin, True),
    (any_origin, LISTED, any_origin, None, True),
    (any_origin, LISTED, None, None, False),
    (any_origin, any_origin, same_origin, None, False),
    (any_origin, any_origin, any_origin, LISTED, False),
    (same_origin, None, None, None, False),
    (same_origin, any_origin, None, same_origin, False),
]


#: Origins of an app, and of what is in it.
REFUSED: list[tuple[Origins, Origins | None]] = [(any_origin, None), (same_origin, any_origin)]
ACCEPTED: list[tuple[Origins, Origins | None]] = [
    *((same_origin, None), (any_origin, LISTED)),
    *((LISTED, None), (any_origin, same_origin)),
]


def by_a_route(door: Guard[Anonymous, object], app: App, origins: Origins | None) -> None:
    """The decorator."""
    app.route("/", guard=door, origins=origins)(handler)


def by_adding(door: Guard[Anonymous, object], app: App, origins: Origins | None) -> None:
    """A value."""
    app.add(Route(path="/", guard=door, handler=handler, origins=origins))


def by_a_mount(door: Guard[Anonymous, object], app: App, origins: Origins | None) -> None:
    """A router behind the guard."""
    router: Router[object] = Router(origins=origins)
    router.route("/", guard=inherited())(handler)
    app.mount("/a", router, guard=door)


@pytest.mark.parametrize("define", [by_a_route, by_adding, by_a_mount])
@pytest.mark.parametrize("door", READERS.values(), ids=READERS)
def test_mended_08_any_page_with_a_visitors_cookie(
    door: Guard[Anonymous, object], define: Callable[[Guard[Anonymous, object], App, Origins | None], None]
) -> None:
    """It is an error that names the handler and the remedy, whether the app says `any_origin` or the route does."""
    text = r"handler\(\) \(.*any_origin lets every page .*\['https://chat.example'\].*bearer\(verifier, header\(\)\)"
    for outer, inner in REFUSED:
        with pytest.raises(ConfigurationError, match=text):
            define(door, App(origins=outer), inner)
    for outer, inner in ACCEPTED:
        define(door, App(origins=outer), inner)


@pytest.mark.parametrize("case", TOGETHER, ids=str)
def test_mended_08_origins_are_inherited(
    case: tuple[Origins, Origins | None, Origins | None, Origins | None, bool],
) -> None:
    """The innermost that says something counts, through mounts in mounts."""
    outermost, outer, inner, own, refused = case
    app, above, below = App(origins=outermost), Router[Anonymous](origins=outer), Router[object](origins=inner)
    below.route("/", guard=inherited(), origins=own)(handler)
    above.mount("/b", below, guard=by_cookie)
    if refused:
        with pytest.raises(ConfigurationError, match="lets every page"):
            app.mount("/a", above, guard=public)
    else:
        app.mount("/a", above, guard=public)


@pytest.mark.parametrize(
    "door", [public, bearer(verifier), bearer(verifier, first_message()), bearer(verifier) | public], ids=range(4)
)
def test_mended_08_other_credentials(door: Guard[Anonymous, object]) -> None:
    """What no browser sends by itself may come from any page."""
    App(origins=any_origin).route("/", guard=door)(handler)


async def answer(request: Request[object]) -> Response:
    """Say so."""
    return Response("done")


@pytest.mark.parametrize("methods", [["POST"], ["GET", "POST"]])
def test_mended_08_what_is_posted(methods: list[Method]) -> None:
    """A page to which any site may post with its visitor's cookies is refused as a route is; one to be got is not."""
    anywhere = App(origins=any_origin)
    with pytest.raises(ConfigurationError, match=r"answer\(\) .* at '/log-out' a cookie is a credential"):
        anywhere.page("/log-out", guard=by_cookie, methods=methods)(answer)
    anywhere.page("/log-out", guard=by_cookie)(answer)
    anywhere.page("/hook", guard=bearer(verifier), methods=methods)(answer)
    App().page("/log-out", guard=by_cookie, methods=methods)(answer)


def test_mended_08_nothing_is_defined() -> None:
    """A mount that is refused because of one route leaves none of its routes."""
    app = App(origins=any_origin)
    router: Router[Anonymous] = Router()
    router.route("/open", guard=public)(handler)
    router.route("/closed", guard=by_cookie)(handler)
    with pytest.raises(ConfigurationError):
        app.mount("/a", router, guard=public)
    router = Router()
    router.route("/open", guard=public)(handler)
    app.mount("/a", router, guard=public)
