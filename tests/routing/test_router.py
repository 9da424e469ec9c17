"""Routers: what is mounted is guarded, found and judged as if it had been written out in one place."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from attrs import frozen

from seawall import (
    Anonymous,
    AnyRoute,
    App,
    Check,
    Close,
    ConfigurationError,
    Connection,
    Deflate,
    ErrorPolicy,
    ErrorReport,
    Forbidden,
    Gate,
    Guard,
    LimitOverrides,
    Limits,
    NoCredentials,
    Refuse,
    Route,
    Router,
    any_origin,
    check,
    guard,
    inherited,
    public,
    same_origin,
)
from seawall.compression import RouteCompression
from seawall.guards.origins import Origins
from seawall.testing import CloseFrame, Rejected, connect, serve
from tests.kit.wire import request


@frozen
class Member:
    """Somebody with a name."""

    name: str


@frozen
class Admin(Member):
    """Somebody whom others have to obey."""


Handler = Callable[[Connection[object]], Awaitable[None]]

ADA = {"X-Name": "ada"}
BOB = {"X-Name": "bob"}


@guard
async def member(gate: Gate, proved: Anonymous) -> Member:
    """Believe what the client says."""
    name = gate.handshake.header("x-name")
    if name is None:
        raise NoCredentials("no name")
    return Member(name)


@guard
async def promote(gate: Gate, proved: Member) -> Admin:
    """Only Ada."""
    if proved.name != "ada":
        raise Forbidden("not Ada")
    return Admin(proved.name)


@guard
async def root(gate: Gate, proved: Anonymous) -> Admin:
    """Everybody."""
    return Admin("root")


@check
async def short(gate: Gate, principal: Member) -> None:
    """Only names of three letters."""
    if len(principal.name) != 3:
        raise Forbidden("too long")


@check
async def anyway(gate: Gate, principal: object) -> None:
    """Everybody."""


async def greet(conn: Connection[Member]) -> None:
    """Say who it is."""
    await conn.send(repr(conn.principal))


async def anybody(conn: Connection[object]) -> None:
    """Say who it is."""
    await conn.send(repr(conn.principal))


async def in_tenant(conn: Connection[object], tenant: str) -> None:
    """Say which tenant it is."""
    await conn.send(tenant)


async def wait(conn: Connection[object]) -> None:
    """Stay for ever."""
    await trio.sleep_forever()


async def answer(app: App, path: str, headers: dict[str, str]) -> str | bytes | int:
    """The first message, or the status of the refusal."""
    try:
        async with connect(app, path, headers=headers) as client:
            return await client.receive()
    except Rejected as rejected:
        return rejected.status


async def end(app: App, path: str) -> tuple[CloseFrame, float]:
    """How the app ends a connection of Ada's, and after how many seconds."""
    async with connect(app, path, headers=ADA) as client:
        began = trio.current_time()
        return await client.wait_closed(), trio.current_time() - began


# What is mounted.


async def test_a_router_is_behind_the_guard_of_its_mount(autojump_clock: object) -> None:
    """Its routes start from what that guard proves, and whom it refuses never reaches them."""
    admin: Router[Admin] = Router()

    @admin.route("/log", guard=inherited())
    async def log(conn: Connection[Admin]) -> None:
        await conn.send(repr(conn.principal))

    app = App()
    app.mount("/admin", admin, guard=member >> promote)
    assert await answer(app, "/admin/log", ADA) == "Admin(name='ada')"
    assert await answer(app, "/admin/log", BOB) == 403
    assert await answer(app, "/admin/log", {}) == 401
    assert await answer(app, "/log", ADA) == 404
    assert await answer(app, "/admin", ADA) == 404


async def test_routers_in_routers(autojump_clock: object) -> None:
    """Each level proves more than the one around it; a guard of a level guards that level and what is in it."""
    members: Router[Member] = Router()
    admin: Router[Admin] = Router()
    admin.route("/log", guard=inherited())(anybody)
    members.route("/me", guard=inherited())(greet)
    members.route("/promoted", guard=promote)(anybody)
    members.mount("/admin", admin, guard=promote)
    app = App()
    app.mount("/members", members, guard=member)
    app.route("/", guard=public)(anybody)
    assert await answer(app, "/members/me", BOB) == "Member(name='bob')"
    assert await answer(app, "/members/promoted", BOB) == 403
    assert await answer(app, "/members/promoted", ADA) == "Admin(name='ada')"
    assert await answer(app, "/members/admin/log", BOB) == 403
    assert await answer(app, "/members/admin/log", ADA) == "Admin(name='ada')"
    assert await answer(app, "/members/admin/log", {}) == 401
    assert await answer(app, "/", {}) == "Anonymous()"


async def test_guards_run_from_the_outside_in(autojump_clock: object) -> None:
    """What outer guards hold is released last, and none runs behind one that refuses."""
    told = list[str]()

    def holding(name: str) -> Guard[Anonymous, Anonymous]:
        @asynccontextmanager
        async def resource() -> AsyncGenerator[None]:
            told.append(f"{name} enters")
            try:
                yield
            finally:
                told.append(f"{name} leaves")

        @guard
        async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
            if gate.handshake.header(f"x-{name}") is not None:
                raise Forbidden(name)
            await gate.enter(resource())
            return proved

        return hold

    app, outer, inner = App(), Router[Anonymous](), Router[Anonymous]()
    inner.route("/c", guard=holding("route"))(anybody)
    outer.mount("/b", inner, guard=holding("inner"))
    app.mount("/a", outer, guard=holding("outer"))
    await answer(app, "/a/b/c", {})
    names = ["outer", "inner", "route"]
    assert told == [f"{name} enters" for name in names] + [f"{name} leaves" for name in reversed(names)]
    told.clear()
    assert await answer(app, "/a/b/c", {"X-Inner": "no"}) == 403
    assert told == ["outer enters", "outer leaves"]


async def test_inherited_passes_on_the_very_principal(autojump_clock: object) -> None:
    """Nothing is copied or wrapped, over any number of levels; a check may be asked on the way."""
    ada, seen = Admin("ada"), list[object]()

    @guard
    async def always_ada(gate: Gate, proved: Anonymous) -> Admin:
        return ada

    async def look(conn: Connection[Member]) -> None:
        seen.append(conn.principal)

    app, outer, inner = App(), Router[Member](), Router[Member]()
    inner.route("/x", guard=inherited(short))(look)
    outer.mount("/inner", inner, guard=inherited())
    app.mount("/outer", outer, guard=always_ada)
    await end(app, "/outer/inner/x")
    assert seen == [ada]
    assert seen[0] is ada


async def test_inherited_with_checks(autojump_clock: object) -> None:
    """Each of them can refuse; they read path parameters like any others."""

    @check
    async def of_tenant(gate: Gate, principal: Member, tenant: str) -> None:
        if tenant != principal.name:
            raise Forbidden("elsewhere")

    router: Router[Member] = Router()
    router.route("/", guard=inherited(short, of_tenant))(greet)
    app = App()
    app.mount("/{tenant}", router, guard=member)
    assert await answer(app, "/ada", ADA) == "Member(name='ada')"
    assert await answer(app, "/bob", ADA) == 403
    assert await answer(app, "/carol", {"X-Name": "carol"}) == 403


async def test_a_check_before_any_guard(autojump_clock: object) -> None:
    """A mount may ask a check of whoever comes, and leave it to its routes to prove somebody."""

    @check
    async def by_day(gate: Gate, principal: object) -> None:
        if gate.handshake.header("x-night") is not None:
            raise Forbidden("closed")

    app, router = App(), Router[Anonymous]()
    router.route("/x", guard=member)(greet)
    app.mount("/a", router, guard=inherited(by_day))
    assert await answer(app, "/a/x", ADA) == "Member(name='ada')"
    assert await answer(app, "/a/x", {}) == 401
    assert await answer(app, "/a/x", {"X-Night": "yes"}) == 403


async def test_a_router_in_two_places(autojump_clock: object) -> None:
    """It can be mounted several times, in apps and routers, each time behind a guard and with settings of its own."""
    members: Router[Member] = Router()
    members.route("/me", guard=inherited())(greet)
    strict: Router[Anonymous] = Router(origins=[])
    strict.mount("/again", members, guard=member)
    app = App(origins=any_origin)
    app.mount("/members", members, guard=member)
    app.mount("/roots", members, guard=root)
    app.mount("/strict", strict, guard=public)
    elsewhere = ADA | {"Origin": "https://elsewhere.example"}
    assert await answer(app, "/members/me", elsewhere) == "Member(name='ada')"
    assert await answer(app, "/roots/me", elsewhere) == "Admin(name='root')"
    assert await answer(app, "/strict/again/me", elsewhere) == 403
    assert await answer(app, "/strict/again/me", ADA) == "Member(name='ada')"


@pytest.mark.parametrize(
    ("outer", "inner", "path", "whole"),
    [
        ("/a", "/b", "/c", "/a/b/c"),
        ("/a", "/b", "/", "/a/b"),
        ("/a", "/", "/", "/a"),
        ("/", "/", "/", "/"),
        ("/", "/b", "/c/", "/b/c/"),
        ("/a/b", "/c/d", "/e/f", "/a/b/c/d/e/f"),
        ("/", "/", "/c", "/c"),
    ],
)
async def test_paths_are_joined(outer: str, inner: str, path: str, whole: str, autojump_clock: object) -> None:
    """A slash alone adds nothing on any level: a router's own root is where it is mounted."""
    app, first, second = App(), Router[Anonymous](), Router[Anonymous]()
    second.route(path, guard=inherited())(anybody)
    first.mount(inner, second, guard=public)
    app.mount(outer, first, guard=public)
    assert await answer(app, whole, {}) == "Anonymous()"
    assert await answer(app, f"{whole.rstrip('/')}/" if whole[-1] != "/" else f"{whole}x", {}) == 404


async def test_parameters_of_a_prefix(autojump_clock: object) -> None:
    """They reach the guards of the mount and of the routes, and handlers, converted, beside a route's own."""

    @guard
    async def of_tenant(gate: Gate, proved: Anonymous, tenant: str) -> Member:
        return Member(f"{tenant}'s {gate.handshake.header('x-name')}")

    @check
    async def on_floor(gate: Gate, principal: Member, floor: int) -> None:
        if floor > 9:
            raise Forbidden("too high")

    floors: Router[Member] = Router()

    @floors.route("/rooms/{room}", guard=inherited(on_floor))
    async def room(conn: Connection[Member], floor: int, room: str) -> None:
        await conn.send(f"{conn.principal.name} in {floor!r} {room!r}")

    tenants: Router[Member] = Router()
    tenants.mount("/floors/{floor:int}", floors, guard=inherited())
    tenants.route("/", guard=inherited())(in_tenant)
    app = App()
    app.mount("/tenants/{tenant}", tenants, guard=of_tenant)
    assert await answer(app, "/tenants/acme/floors/3/rooms/lobby", ADA) == "acme's ada in 3 'lobby'"
    assert await answer(app, "/tenants/acme/floors/10/rooms/lobby", ADA) == 403
    assert await answer(app, "/tenants/acme/floors/x/rooms/lobby", ADA) == 404
    assert await answer(app, "/tenants/caf%C3%A9", ADA) == "café"


async def test_an_app_is_a_router_of_anybody(autojump_clock: object) -> None:
    """A function that adds routes to a router adds them to an app; routes made by hand can be added to both."""

    def install(where: Router[Anonymous], *routes: AnyRoute) -> None:
        where.route("/me", guard=member)(greet)
        where.add(*routes)

    by_hand = Route(path="/by-hand", guard=public, handler=anybody), Route(path="/b", guard=member, handler=greet)
    app, router = App(), Router[Anonymous]()
    install(app, *by_hand)
    install(router, *by_hand)
    app.mount("/v1", router, guard=public)
    for prefix in ("", "/v1"):
        assert await answer(app, f"{prefix}/me", ADA) == "Member(name='ada')"
        assert await answer(app, f"{prefix}/by-hand", {}) == "Anonymous()"
        assert await answer(app, f"{prefix}/b", {}) == 401


# What a router says for its routes.


class InRoute(Exception):
    """Known to every level."""


class InInner(Exception):
    """Known to the inner router, and further out."""


class InOuter(Exception):
    """Known to the outer router, and further out."""


class InApp(Exception):
    """Known to the app only."""


FAILURES: list[tuple[type[Exception], int]] = [
    (InRoute, 4001),
    (InInner, 4002),
    (InOuter, 4003),
    (InApp, 4004),
    (Forbidden, 3003),
    (LookupError, 1011),
]


@pytest.mark.parametrize(("failure", "code"), FAILURES)
async def test_policies_from_the_inside_out(failure: type[Exception], code: int, autojump_clock: object) -> None:
    """A route's policy is asked first, then each router's, then the app's, then the defaults."""
    levels = [InRoute, InInner, InOuter, InApp]

    def policy(level: int) -> ErrorPolicy:
        errors = ErrorPolicy()
        for known in levels[: level + 1]:
            errors = errors.on(known, Close(4001 + level))
        return errors

    async def fail(conn: Connection[object]) -> None:
        raise failure

    app = App(errors=policy(3), report=lambda report: None)
    outer: Router[Member] = Router(errors=policy(2))
    inner: Router[Member] = Router(errors=policy(1))
    inner.route("/x", guard=inherited(), errors=policy(0))(fail)
    outer.mount("/inner", inner, guard=inherited())
    app.mount("/outer", outer, guard=member)
    assert (await end(app, "/outer/inner/x"))[0].code == code


async def test_a_routers_policy_decides_about_the_guard_of_its_mount(autojump_clock: object) -> None:
    """As a route's does about its guards; but it says nothing about routes beside the router."""
    app, router = App(), Router[Admin](errors=ErrorPolicy().on(Forbidden, Refuse(404)))
    router.route("/log", guard=inherited())(anybody)
    app.mount("/admin", router, guard=member >> promote)
    app.route("/admin/beside", guard=member >> promote)(anybody)
    assert await answer(app, "/admin/log", BOB) == 404
    assert await answer(app, "/admin/beside", BOB) == 403


LIFETIMES: list[tuple[LimitOverrides, LimitOverrides, LimitOverrides, float]] = [
    ({}, {}, {}, 50),
    ({"lifetime": 40}, {}, {}, 40),
    ({"lifetime": 40}, {"lifetime": 30}, {}, 30),
    ({"lifetime": 40}, {"lifetime": 30}, {"lifetime": 20}, 20),
    ({"lifetime": 40}, {}, {"lifetime": 60}, 60),
    ({"lifetime": 40}, {"idle_timeout": 30}, {"ping_interval": None}, 30),
]


@pytest.mark.parametrize(("outer", "inner", "own", "seconds"), LIFETIMES)
async def test_limits_from_the_inside_out(
    outer: LimitOverrides, inner: LimitOverrides, own: LimitOverrides, seconds: float, autojump_clock: object
) -> None:
    """Each level overrides single limits of the one around it and keeps the rest."""
    app = App(limits=Limits(lifetime=50))
    first: Router[Member] = Router(limits=outer)
    second: Router[Member] = Router(limits=inner)
    second.route("/x", guard=inherited(), limits=own)(wait)
    first.mount("/b", second, guard=inherited())
    app.mount("/a", first, guard=member)
    closed, after = await end(app, "/a/b/x")
    assert closed.code == 3008
    assert after == pytest.approx(seconds)


async def test_all_guards_share_one_timeout(autojump_clock: object) -> None:
    """The innermost ``auth_timeout`` holds for the guards of the mounts and of the route together."""

    @guard
    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(3)
        return proved

    app, router = App(), Router[Anonymous](limits={"auth_timeout": 5})
    router.route("/once", guard=inherited())(anybody)
    router.route("/twice", guard=slow)(anybody)
    router.route("/patient", guard=slow, limits={"auth_timeout": 7})(anybody)
    app.mount("/slow", router, guard=slow)
    assert await answer(app, "/slow/once", {}) == "Anonymous()"
    began = trio.current_time()
    assert await answer(app, "/slow/twice", {}) == 408
    assert trio.current_time() - began == pytest.approx(5)
    assert await answer(app, "/slow/patient", {}) == "Anonymous()"


async def test_a_lease_of_the_mounts_guard(autojump_clock: object) -> None:
    """A principal that is proved until a deadline is proved until then behind the mount as well."""

    @guard
    async def for_an_hour(gate: Gate, proved: Anonymous) -> Member:
        gate.lease(expires_at=time.time() + 3600)
        return Member("ada")

    app, router = App(), Router[Member]()
    router.route("/x", guard=inherited())(wait)
    app.mount("/leased", router, guard=for_an_hour)
    closed, after = await end(app, "/leased/x")
    assert closed.code == 3000
    assert after == pytest.approx(3600, abs=5)


@pytest.mark.parametrize(
    ("of_app", "of_outer", "of_inner", "of_route", "admitted"),
    [
        (same_origin, None, None, None, False),
        (any_origin, None, None, None, True),
        (same_origin, any_origin, None, None, True),
        (same_origin, any_origin, same_origin, None, False),
        (any_origin, None, [], None, False),
        (any_origin, [], None, any_origin, True),
        (same_origin, [], ["https://a.example"], None, True),
    ],
    ids=str,
)
async def test_origins_from_the_inside_out(
    of_app: Origins,
    of_outer: Origins | None,
    of_inner: Origins | None,
    of_route: Origins | None,
    admitted: bool,
    autojump_clock: object,
) -> None:
    """The innermost that says something about origins is heard, and nobody else."""
    app, outer, inner = App(origins=of_app), Router[Anonymous](origins=of_outer), Router[Anonymous](origins=of_inner)
    inner.route("/x", guard=inherited(), origins=of_route)(anybody)
    outer.mount("/b", inner, guard=inherited())
    app.mount("/a", outer, guard=public)
    assert await answer(app, "/a/b/x", {"Origin": "https://a.example"}) == ("Anonymous()" if admitted else 403)


@pytest.mark.parametrize(
    ("of_app", "of_router", "of_route", "window"),
    [
        (None, None, None, None),
        (Deflate(), None, None, b"server_max_window_bits=12"),
        (Deflate(), False, None, None),
        (Deflate(), False, Deflate(server_max_window_bits=9), b"server_max_window_bits=9"),
        (None, Deflate(server_max_window_bits=10), None, b"server_max_window_bits=10"),
        (None, Deflate(), False, None),
    ],
    ids=str,
)
async def test_compression_from_the_inside_out(
    of_app: Deflate | None,
    of_router: RouteCompression,
    of_route: RouteCompression,
    window: bytes | None,
    autojump_clock: object,
) -> None:
    """The innermost that says something about compression is heard."""
    app, router = App(compression=of_app), Router[Anonymous](compression=of_router)
    router.route("/x", guard=inherited(), compression=of_route)(wait)
    app.mount("/a", router, guard=public)
    async with serve(app) as serving, serving.open_stream() as stream:
        await stream.send_all(
            request("/a/x", b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15")
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
    assert head.startswith(b"HTTP/1.1 101")
    assert (b"permessage-deflate" in head) == (window is not None)
    assert (window or b"") in head


async def test_a_route_is_named_by_its_whole_path(autojump_clock: object) -> None:
    """Reports and log tell routes of several mounts apart, unless a route has a name of its own."""
    reports = list[ErrorReport]()

    async def fail(conn: Connection[object]) -> None:
        raise LookupError

    app, router = App(report=reports.append), Router[Anonymous]()
    router.route("/x", guard=inherited())(fail)
    router.route("/y", guard=inherited(), name="why")(fail)
    app.mount("/a/{tenant}", router, guard=tenant_of)
    for path in ("/a/b/x", "/a/b/y"):
        await end(app, path)
    assert [report.route for report in reports] == ["/a/{tenant}/x", "why"]


@guard
async def named(gate: Gate, proved: Anonymous, name: str) -> Member:
    """Take another parameter."""
    return Member(name)


@guard
async def tenant_of(gate: Gate, proved: Anonymous, tenant: str) -> Anonymous:
    """Take the parameter of a prefix."""
    return proved


# Mistakes.


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("", r"it does not start with '/'; put one in front"),
        ("admin", r"it does not start with '/'; put one in front"),
        ("/admin/", r"the prefix ends with '/', with which the routes begin; write '/admin'"),
        ("//", r"it has an empty segment"),
        ("/a//b", r"it has an empty segment"),
        ("/a/../b", r"the dot segment '\.\.' never matches"),
        ("/a?b", r"it has a query or a fragment"),
        ("/{", r"the braces of '{' do not pair"),
        ("/{a:number}", r"there is no converter 'number'"),
        ("/{all:path}", r"takes all that is left, so that no route could follow; use {all}"),
    ],
)
def test_a_prefix_that_is_none(prefix: str, text: str) -> None:
    """It is refused for itself, even while the router is empty; the text says which mount, and what to write."""
    where: Router[Anonymous]
    for where in (App(), Router[Anonymous]()):
        with pytest.raises(ConfigurationError, match=rf"^mount\('.*'\): .*{text}"):
            where.mount(prefix, Router[Anonymous](), guard=public)


async def keyed(conn: Connection[object], tenant: int) -> None:
    """Take a number."""


MISFITS: list[tuple[str, str, Callable[..., Awaitable[None]], str]] = [  # type: ignore[explicit-any]  # handlers of every shape
    ("/a", "/x", in_tenant, r" takes 'tenant', which the path '/a/x' does not have; add {tenant}"),
    ("/{tenant}", "/x", anybody, r"'/{tenant}/x' has {tenant}, but neither the handler nor a guard takes it"),
    ("/{tenant}", "/x", keyed, r"'tenant' is annotated int, but the path '/{tenant}/x' gives str; change"),
    ("/{tenant}", "/{tenant}", in_tenant, r"'/{tenant}/{tenant}': the name 'tenant' is there twice; give each"),
]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("prefix", "path", "handler", "text"), MISFITS)
def test_parameters_that_do_not_fit(prefix: str, path: str, handler: Handler, text: str, nested: bool) -> None:
    """Handlers and guards are compared with the whole path, when it is known; the text names the function."""
    router: Router[Anonymous] = Router()
    router.route(path, guard=inherited())(handler)

    def mount() -> None:
        where = Router[Anonymous]() if nested else App()
        where.mount(prefix, router, guard=public)
        App().mount("/", where, guard=public)

    with pytest.raises(ConfigurationError, match=rf"^{handler.__name__}\(\) \(.*test_router\.py:\d+\).*{text}"):
        mount()


def test_the_guards_parameters_that_do_not_fit() -> None:
    """Those of the guard of a mount are compared with the path of each route under it."""
    router: Router[Anonymous] = Router()
    router.route("/x", guard=inherited())(anybody)
    with pytest.raises(ConfigurationError, match=r"^tenant_of\(\) .* takes 'tenant', which the path '/a/x' does not"):
        App().mount("/a", router, guard=tenant_of)
    App().mount("/{tenant}", router, guard=tenant_of)


def test_what_is_wrong_anywhere_is_wrong_in_a_router() -> None:
    """A mistake that does not depend on the mount fails where the route is defined."""
    router: Router[Anonymous] = Router()

    def synchronous(conn: Connection[object]) -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"synchronous\(\) .* is not an async function"):
        router.route("/x", guard=public)(cast("Callable[[Connection[object]], Awaitable[None]]", synchronous))
    with pytest.raises(ConfigurationError, match=r"anybody\(\) .*does not start with '/'"):
        router.route("x", guard=public)(anybody)
    with pytest.raises(
        ConfigurationError, match=r"anybody\(\) .*was given a check, .* in a router `inherited\(check\)`"
    ):
        router.route("/x", guard=cast("Guard[Anonymous, Anonymous]", short))(anybody)
    with pytest.raises(ConfigurationError, match="is not a token"):
        router.route("/x", guard=public, subprotocols=["a b"])(anybody)
    with pytest.raises(ConfigurationError, match=r"anybody\(\) .*give a list"):
        router.route("/x", guard=public, origins="https://a.example")(anybody)
    with pytest.raises(ConfigurationError, match=r"anybody\(\) .*compression=True is no compression"):
        router.route("/x", guard=public, compression=cast("Deflate", True))(anybody)
    router.route("/x", guard=public)(anybody)
    with pytest.raises(ConfigurationError, match=r"greet\(\) .*'/x': it takes the same paths as '/x'.*anybody\(\)"):
        router.route("/x", guard=member)(greet)


def test_what_a_router_cannot_be_told() -> None:
    """Origins and compression are checked like an app's."""
    with pytest.raises(ConfigurationError, match=r"give a list"):
        Router[Anonymous](origins="https://a.example")
    with pytest.raises(ConfigurationError, match=r"^Router: compression=True is no compression"):
        Router[Anonymous](compression=cast("Deflate", True))


def test_limits_that_cannot_work() -> None:
    """What routers and routes say together is held against the app's limits, and the function is named."""
    router: Router[Anonymous] = Router(limits={"close_timeout": 4})
    router.route("/x", guard=public)(anybody)
    with pytest.raises(ConfigurationError, match=r"^anybody\(\) .*close_timeout \(4\) is longer than the app's \(3\)"):
        App(limits=Limits(close_timeout=3)).mount("/a", router, guard=public)
    App().mount("/a", router, guard=public)


def test_a_path_that_two_routes_have_after_mounting() -> None:
    """Both functions are named, because their paths may look the same."""
    router: Router[Anonymous] = Router()
    router.route("/log", guard=public)(anybody)
    text = r"anybody\(\) \(.*'/admin/log': it takes the same paths as '/admin/log'.*leads to greet\(\) \(.*\.py:\d+\)"
    app = App()
    app.route("/admin/log", guard=member)(greet)
    with pytest.raises(ConfigurationError, match=text):
        app.mount("/admin", router, guard=public)
    app = App()
    app.mount("/{tenant}", router, guard=tenant_of)
    with pytest.raises(
        ConfigurationError, match=r"greet\(\) .*'/{name}/log'.*as '/{tenant}/log'.*leads to anybody\(\)"
    ):
        app.route("/{name}/log", guard=named)(greet)
    with pytest.raises(ConfigurationError, match=r"it takes the same paths as '/{tenant}/log'"):
        app.mount("/{tenant}", router, guard=tenant_of)


def test_a_path_that_nobody_reaches_after_mounting() -> None:
    """The pattern that is never reached is named, with those that take every path first."""

    async def deeper(conn: Connection[object], tenant: str, rest: str) -> None:
        pass

    async def every(conn: Connection[object], rest: str) -> None:
        pass

    router: Router[Anonymous] = Router()
    router.route("/{tenant}", guard=public)(in_tenant)
    router.route("/{tenant}/{rest:path}", guard=public)(deeper)
    app = App()
    app.route("/t/{rest:path}", guard=public)(every)
    with pytest.raises(
        ConfigurationError,
        match=r"deeper\(\) .*'/t/{rest:path}'.*never be reached, because '/t/{tenant}', '/t/{tenant}/{rest:path}'",
    ):
        app.mount("/t", router, guard=public)


async def test_a_mount_that_fails_leaves_nothing(autojump_clock: object) -> None:
    """None of its routes is there, neither router nor app has changed, and the mistake can be mended."""
    router: Router[Member] = Router()
    router.route("/first", guard=inherited())(greet)
    router.route("/second", guard=inherited())(greet)
    outer: Router[Member] = Router()
    outer.route("/r/second", guard=inherited())(anybody)
    app = App()
    app.route("/r/second", guard=public)(anybody)
    with pytest.raises(ConfigurationError, match="it takes the same paths"):
        app.mount("/r", router, guard=member)
    with pytest.raises(ConfigurationError, match="it takes the same paths"):
        outer.mount("/r", router, guard=inherited())
    assert await answer(app, "/r/first", ADA) == 404
    router.route("/third", guard=inherited())(greet)
    app.mount("/r2", router, guard=member)
    for path in ("/r2/first", "/r2/second", "/r2/third"):
        assert await answer(app, path, ADA) == "Member(name='ada')"
    assert await answer(app, "/r/second", {}) == "Anonymous()"


def test_a_route_after_the_mount() -> None:
    """Nobody would reach it where the router was mounted; so it is a mistake, by decorator, by hand and by mount."""
    router: Router[Anonymous] = Router()
    App().mount("/a", router, guard=public)
    text = r"this router was mounted at '/a' before; mount a router when all its routes are there"
    with pytest.raises(ConfigurationError, match=rf"^anybody\(\) \(.*test_router\.py:\d+\): {text}"):
        router.route("/late", guard=public)(anybody)
    with pytest.raises(ConfigurationError, match=rf"^anybody\(\) \(.*test_router\.py:\d+\): {text}"):
        router.add(Route(path="/late", guard=public, handler=anybody))
    with pytest.raises(ConfigurationError, match=rf"^mount\('/late'\): {text}"):
        router.mount("/late", Router[Anonymous](), guard=public)


async def test_an_app_takes_routes_after_a_mount(autojump_clock: object) -> None:
    """Only what has been mounted is complete."""
    app, router = App(), Router[Anonymous]()
    router.route("/x", guard=public)(anybody)
    app.mount("/a", router, guard=public)
    app.route("/b", guard=public)(anybody)
    assert await answer(app, "/b", {}) == "Anonymous()"


def test_a_router_in_itself() -> None:
    """Neither at once nor by way of another."""
    one, other = Router[Anonymous](), Router[Anonymous]()
    with pytest.raises(ConfigurationError, match=r"^mount\('/a'\): a router cannot be mounted in itself; make another"):
        one.mount("/a", one, guard=public)
    one.mount("/a", other, guard=public)
    with pytest.raises(ConfigurationError, match=r"^mount\('/b'\): this router was mounted at '/a' before"):
        other.mount("/b", one, guard=public)


def test_what_is_no_router() -> None:
    """An app has pages, lifespans and limits that a mount would drop; anything else has no routes."""
    app, router = App(), Router[Anonymous]()
    for where in (app, router):
        with pytest.raises(ConfigurationError, match=r"^mount\('/a'\): an App cannot be mounted.* in a Router"):
            where.mount("/a", App(), guard=public)
    with pytest.raises(ConfigurationError, match=r"^mount\('/a'\): .* is no router; give a Router with the routes"):
        app.mount("/a", cast("Router[Anonymous]", anybody), guard=public)


def test_a_mount_without_a_guard() -> None:
    """A check proves nobody, and None is no guard; even if the router is empty."""
    for door in (short, None):
        with pytest.raises(ConfigurationError, match=r"^mount\('/a'\): guard= was given "):
            App().mount("/a", Router[Anonymous](), guard=cast("Guard[Anonymous, Anonymous]", door))


@pytest.mark.parametrize(
    "door",
    [inherited(), inherited(anyway), inherited() >> anyway, anyway >> inherited(), member | inherited()],
    ids=["inherited", "with a check", "then a check", "after a check", "or nobody"],
)
def test_nothing_to_inherit(door: Guard[Anonymous, object]) -> None:
    """A door that is open to all says `public`: `inherited()` cannot open one, on an app or through mounts."""
    text = r"^anybody\(\) \(.*: inherited\(\) has nothing to inherit at '{}'.*says so with `public`"
    with pytest.raises(ConfigurationError, match=text.format("/x")):
        App().route("/x", guard=door)(anybody)
    with pytest.raises(ConfigurationError, match=text.format("/x")):
        App().add(Route(path="/x", guard=door, handler=anybody))
    inner, outer = Router[Anonymous](), Router[Anonymous]()
    inner.route("/x", guard=door)(anybody)
    outer.mount("/b", inner, guard=inherited(anyway))
    with pytest.raises(ConfigurationError, match=text.format("/a/b/x")):
        App().mount("/a", outer, guard=inherited())
    App().mount("/a", outer, guard=public)


def test_something_to_inherit() -> None:
    """A guard anywhere on the way has decided, also on one of two ways that lead through it."""
    app, router = App(), Router[object]()
    router.route("/x", guard=inherited())(anybody)
    router.route("/y", guard=inherited(anyway) >> inherited())(anybody)
    app.mount("/a", router, guard=member | public)
    app.route("/b", guard=public >> inherited())(anybody)
    app.route("/c", guard=anyway >> public >> anyway)(anybody)


def test_inherited_takes_checks_only() -> None:
    """A guard proves more, and belongs in its place."""
    with pytest.raises(ConfigurationError, match=r"^inherited\(\) was given .*; give it checks, such as has_scope"):
        inherited(cast("Check[Anonymous]", public))
