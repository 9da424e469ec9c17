"""Guards and checks on real connections: how they compose, what they hold, and how they refuse."""

from __future__ import annotations

import itertools
import math
import operator
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import pytest
import trio
from attrs import field, frozen

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import (
    ConfigurationError,
    Disconnected,
    Forbidden,
    LeaseExpired,
    NoCredentials,
    Refused,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.guards.bearer import bearer
from seawall.guards.functions import check, guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard, public
from seawall.guards.inherited import inherited
from seawall.guards.jwt.claims import Claims
from seawall.guards.jwt.rules import any_audience, any_issuer
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.scopes import has_scope
from seawall.limits import Limits
from seawall.observability.reports import ErrorReport
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Close, Escalate, Ignore, Phase, Refuse
from seawall.testing import CloseFrame, Rejected, connect, serve
from seawall.tokens import AnyClaims, cookie, first_message, header
from tests.kit.renewing import renew_each
from tests.kit.tokens import SECRET, about_anything, by, token, verifier


def by_header(seconds: float = 60.0, **claims: object) -> dict[str, str]:
    """The header that presents a token that is good for so long."""
    return by(token(seconds=seconds, **claims))


@frozen
class User:
    """What an application makes of a token."""

    name: str


@guard
async def load_user(gate: Gate, claims: Claims) -> User:
    """The user that the token is about."""
    return User(claims.subject or "nobody")


@frozen
class Door(Guard[Anonymous, str]):
    """Writes down that it was asked, and gives its name or refuses."""

    name: str
    log: list[str]
    refusal: Exception | None = None

    async def admit(self, gate: Gate, proved: Anonymous, /) -> str:
        """Let in, or refuse."""
        self.log.append(self.name)
        if self.refusal is not None:
            raise self.refusal
        return self.name


@frozen
class Look(Check[object]):
    """Writes down that it was asked, and what about."""

    name: str
    log: list[str]
    refusal: Exception | None = None

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Let through, or refuse."""
        self.log.append(f"{self.name} sees {principal}")
        if self.refusal is not None:
            raise self.refusal


async def tell(conn: Connection[object]) -> None:
    """Say who it is."""
    await conn.send(f"{conn.principal}")


async def echo(conn: Connection[object]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


def telling(door: Guard[Anonymous, object]) -> App:
    """An app that says who came in."""
    app = App()
    app.route("/", guard=door)(tell)
    return app


async def told(door: Guard[Anonymous, object], headers: dict[str, str] | None = None) -> str | bytes:
    """Who the guard says that we are."""
    async with connect(telling(door), "/", headers=headers or {}) as client:
        return await client.receive()


async def rejection(app: App, headers: dict[str, str] | None = None, path: str = "/") -> Rejected:
    """How the app refuses the handshake."""
    with pytest.raises(Rejected) as caught:
        async with connect(app, path, headers=headers or {}):
            pass
    return caught.value


async def status(door: Guard[Anonymous, object], headers: dict[str, str] | None = None) -> int:
    """The status with which the guard refuses."""
    return (await rejection(telling(door), headers)).status


async def test_one_guard_after_the_other() -> None:
    """What the first proves, the second takes, and the handler gets what the last one proves."""
    assert await told(bearer(verifier) >> load_user, by_header()) == "User(name='ada')"
    assert await told(bearer(verifier) >> (load_user >> Look("x", [])), by_header()) == "User(name='ada')"
    assert await told((public >> bearer(verifier)) >> load_user, by_header()) == "User(name='ada')"


async def test_the_second_guard_is_not_asked_when_the_first_refuses() -> None:
    """A chain ends where it is refused."""
    log: list[str] = []
    assert await status(Door("a", log, Forbidden()) >> Look("b", log)) == 403
    assert await status(Look("c", log, Forbidden()) >> Door("d", log)) == 403
    assert log == ["a", "c sees Anonymous()"]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (public, False),
        (bearer(verifier), False),
        (bearer(verifier, header(), cookie("session")), False),
        (bearer(verifier, first_message()), False),
        (bearer(verifier) | public, False),
        (bearer(verifier) >> has_scope("chat"), False),
        (bearer(verifier) >> (has_scope("chat") >> has_scope("admin")) | bearer(verifier, first_message()), False),
        (bearer(verifier) >> load_user, True),
        (Door("ours to call, not ours to know", []), True),
        (bearer(verifier) | Door("second", []), True),
        (Door("first", []) | public, True),
        (Look("before", []) >> public, True),
        (public >> Look("after", []), True),
        (bearer(verifier) >> (has_scope("chat") >> Look("within", [])), True),
        (bearer(verifier) >> (Look("within", []) >> has_scope("chat")), True),
        (public >> check(Look("a function", []).inspect), True),
    ],
    ids=itertools.count(),
)
def test_who_needs_a_task(chain: Guard[Anonymous, object], expected: bool) -> None:
    """Guards of our own need none, and whatever the application wrote does, wherever in a chain it stands."""
    assert chain.needs_task() is expected


async def test_either() -> None:
    """The right guard is asked when the left one found no credential, and only then; the first that says yes wins."""
    log: list[str] = []
    one, none, other = Door("one", log), Door("none", log, NoCredentials()), Door("other", log)
    for door, who, asked in (
        (one | other, "one", ["one"]),
        (none | other, "other", ["none", "other"]),
        (none | none | other, "other", ["none", "none", "other"]),
        (none | (none | other), "other", ["none", "none", "other"]),
        (none | other | one, "other", ["none", "other"]),
    ):
        log.clear()
        assert await told(door) == who
        assert log == asked
    assert await status(none | none) == 401


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Unauthorized(), 401),
        (TokenExpired(), 401),
        (Forbidden(), 403),
        (TooManyRequests(), 429),
        (Unavailable(), 503),
        (Refused(), 500),
        (ValueError(), 500),
    ],
    ids=repr,
)
async def test_a_credential_that_is_wrong_is_refused_at_once(refusal: Exception, code: int) -> None:
    """Only `NoCredentials` asks the other guard: nobody comes in as a stranger with a bad credential."""
    log: list[str] = []
    assert await status(Door("wrong", log, refusal) | public) == code
    assert log == ["wrong"]


async def test_a_bad_token_never_comes_in_as_anonymous() -> None:
    """`bearer(v) | public` lets in who has no token, and refuses who has a bad one."""
    door = bearer(verifier, header(), cookie("session")) | public
    assert await told(door) == "Anonymous()"
    assert "subject='ada'" in str(await told(door, by_header()))
    for headers in (
        by_header(-1),
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Cookie": "session=x"},
        by_header() | {"authorization": "Bearer x"},
    ):
        assert await status(door, headers) == 401


@pytest.mark.parametrize(
    "never",
    [
        public,
        public >> public,
        bearer(verifier, first_message()),
        bearer(verifier) | public,
        (bearer(verifier) >> load_user) | bearer(verifier, first_message()),
        inherited(),
    ],
    ids=["public", "public twice", "first message", "with public last", "with a message last", "inherited"],
)
def test_an_alternative_that_would_never_be_asked(never: Guard[Anonymous, object]) -> None:
    """``public | bearer(...)`` would let a bad token in, and a good one too, as nobody."""
    with pytest.raises(ConfigurationError, match=r"the one behind it would never be asked; write the one that does"):
        _ = never | bearer(verifier)
    assert isinstance(bearer(verifier) | never, Guard)


async def test_checks_on_either_side() -> None:
    """A check sees what is proved where it stands, and the principal stays what it was."""
    log: list[str] = []
    door = Look("a", log) >> Look("b", log) >> Door("ann", log) >> Look("c", log) >> Look("d", log)
    assert await told(door) == "ann"
    assert log == ["a sees Anonymous()", "b sees Anonymous()", "ann", "c sees ann", "d sees ann"]


async def test_a_check_of_checks() -> None:
    """Checks put together are a check, which composes like any other; the first refusal ends it."""
    log: list[str] = []
    both = Look("a", log) >> Look("b", log)
    assert await told(Door("ann", log) >> both) == "ann"
    assert await told(both >> public) == "Anonymous()"
    log.clear()
    assert await status(Door("ann", log) >> (Look("a", log, Forbidden()) >> Look("b", log))) == 403
    assert log == ["ann", "a sees ann"]


async def test_a_wide_check_before_a_narrow_one() -> None:
    """A check of anything may come before a check of something."""
    log: list[str] = []
    door = bearer(verifier) >> (Look("wide", log) >> has_scope("chat")) >> load_user
    assert await told(door, by_header(scope="chat")) == "User(name='ada')"
    assert await status(door, by_header(scope="mail")) == 403
    assert len(log) == 2


@pytest.mark.parametrize(
    ("scope", "passes"),
    [("a b", True), ("b a c", True), (["a", "b"], True), ("a", False), ("", False), ("ab", False), ("A B", False)],
    ids=str,
)
async def test_scopes(scope: object, passes: bool) -> None:
    """All the scopes that are named are needed."""
    door = bearer(verifier) >> has_scope("a", "b")
    if passes:
        assert str(await told(door, by_header(scope=scope))).startswith("Claims(")
    else:
        assert await status(door, by_header(scope=scope)) == 403


@pytest.mark.parametrize("scopes", [(), ("",), ("a", ""), ("a b",), ("a\t",), (" ",)], ids=repr)
def test_a_scope_that_nobody_can_have(scopes: tuple[str, ...]) -> None:
    """A scope is one word; the remedy is shown."""
    with pytest.raises(ConfigurationError, match=r"has_scope\(.*name one scope or several, each a word"):
        has_scope(*scopes)


async def test_path_parameters_reach_guards_and_checks() -> None:
    """By name, converted, and only those that they ask for; one with a default may be left out of the path."""
    seen: list[object] = []

    @guard
    async def room_of(gate: Gate, proved: Anonymous, room: str, *, missing: str = "default") -> str:
        seen.append((room, missing))
        return room

    @check
    async def even(gate: Gate, principal: object, number: int) -> None:
        seen.append(number)
        if number % 2:
            raise Forbidden
        seen.append(gate.params)

    app = App()

    @app.route("/{room}/{number:int}", guard=room_of >> even)
    async def handler(conn: Connection[str], room: str) -> None:
        await conn.send(f"{conn.principal} {room}")

    async with connect(app, "/lobby/4") as client:
        assert await client.receive() == "lobby lobby"
    assert seen == [("lobby", "default"), 4, {"room": "lobby", "number": 4}]
    assert (await rejection(app, path="/lobby/5")).status == 403
    assert (await rejection(app, path="/lobby/x")).status == 404


def shift(left: object, right: object) -> object:
    """One after the other, of whatever."""
    return cast("Operator", operator.rshift)(left, right)  # pyright: ignore[reportUnknownMemberType]  # has no types


def either(left: object, right: object) -> object:
    """One or the other, of whatever."""
    return cast("Operator", operator.or_)(left, right)  # pyright: ignore[reportUnknownMemberType]  # has no types


Operator = Callable[[object, object], object]


@pytest.mark.parametrize("operate", [shift, either])
@pytest.mark.parametrize("operand", [Look("x", []), public], ids=["check", "guard"])
@pytest.mark.parametrize("wrong", [None, "x", object()], ids=["None", "str", "object"])
def test_operands_that_are_none(operate: Callable[[object, object], object], operand: object, wrong: object) -> None:
    """What a type checker refuses is a TypeError where it is written, not a surprise when a client arrives."""
    with pytest.raises(TypeError, match="unsupported operand"):
        operate(operand, wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        operate(wrong, operand)


async def undecorated(gate: Gate, proved: Anonymous) -> Anonymous:
    """What a guard calls."""
    return proved


@pytest.mark.parametrize("operand", [Look("x", []), public], ids=["check", "guard"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            undecorated,
            r"^undecorated\(\) \(.*\) is a function, and no guard or check yet; put @guard over it, or @check",
        ),
        (load_user.admit, r"admit\(\) \(.*\) is a function"),
        (has_scope, r"^has_scope\(\) \(.*\) is a function, .* or call it if it makes one$"),
        (Look, r"^Look is a class, and no guard or check; write `Look\(\)`$"),
    ],
    ids=["function", "method", "maker", "class"],
)
def test_mended_29_a_step_that_is_none_yet(operand: object, wrong: object, said: str) -> None:
    """A function without its decorator and a class without its parentheses are named, with what is missing."""
    with pytest.raises(ConfigurationError, match=said):
        shift(operand, wrong)
    with pytest.raises(ConfigurationError, match=said):
        shift(wrong, operand)
    if operand is public:
        with pytest.raises(ConfigurationError, match=said):
            either(bearer(verifier), wrong)


def test_a_check_is_no_alternative() -> None:
    """A check proves nobody, so it is no way in."""
    for left, right in ((Look("x", []), public), (public, Look("x", [])), (Look("x", []), Look("y", []))):
        with pytest.raises(TypeError, match="unsupported operand"):
            either(left, right)


async def test_a_guard_sees_the_handshake() -> None:
    """Headers, path, query and peer are there before the upgrade."""

    @guard
    async def look(gate: Gate, proved: Anonymous) -> str:
        return f"{gate.handshake.path} {gate.handshake.query} {gate.handshake.header('x-who')} {gate.handshake.peer}"

    app = telling(look)
    async with connect(app, "/?a=b", headers={"X-Who": "ann"}) as client:
        assert await client.receive() == "/ a=b ann memory"


INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

REFUSALS: list[tuple[Refused, int, str, dict[str, str], CloseFrame]] = [
    (Unauthorized(), 401, "unauthorized", INVALID_TOKEN, CloseFrame(3000, "unauthorized")),
    (NoCredentials(), 401, "unauthorized", {"WWW-Authenticate": "Bearer"}, CloseFrame(3000, "unauthorized")),
    (TokenExpired(), 401, "unauthorized", INVALID_TOKEN, CloseFrame(3000, "unauthorized")),
    (Forbidden(), 403, "forbidden", {}, CloseFrame(3003, "forbidden")),
    (TooManyRequests(), 429, "too many requests", {}, CloseFrame(1013, "too many requests")),
    (
        TooManyRequests(retry_after=2.1),
        429,
        "too many requests",
        {"Retry-After": "3"},
        CloseFrame(1013, "too many requests"),
    ),
    (
        Unavailable(retry_after=0),
        503,
        "service unavailable",
        {"Retry-After": "0"},
        CloseFrame(1013, "unavailable"),
    ),
    (
        Forbidden("s3cret detail", retry_after=-1),
        403,
        "forbidden",
        {"Retry-After": "0"},
        CloseFrame(3003, "forbidden"),
    ),
    (Unavailable(retry_after=math.inf), 503, "service unavailable", {}, CloseFrame(1013, "unavailable")),
    (Unavailable(retry_after=math.nan), 503, "service unavailable", {}, CloseFrame(1013, "unavailable")),
]


def by_refusal(case: object) -> str:
    """The id of a case."""
    return f"{case!r} {case.retry_after}" if isinstance(case, Refused) else ""


@pytest.mark.parametrize(("refusal", "code", "body", "headers", "closed"), REFUSALS, ids=by_refusal)
async def test_a_refusal(
    refusal: Refused, code: int, body: str, headers: dict[str, str], closed: CloseFrame, autojump_clock: trio.abc.Clock
) -> None:
    """Before the upgrade a status with a short constant body and its headers; after it a close code. Never the text."""
    door = Door("door", [], refusal)
    rejected = await rejection(telling(door))
    assert (rejected.status, rejected.body) == (code, f"{body}\n")
    for name in ("WWW-Authenticate", "Retry-After"):
        assert rejected.header(name) == headers.get(name)
    assert rejected.header("Connection") == "close"
    async with connect(telling(after_talking(door)), "/") as client:
        assert await client.wait_closed() == closed


def after_talking(door: Guard[Anonymous, object]) -> Guard[Anonymous, object]:
    """The same guard, behind one that accepts the upgrade."""

    @guard
    async def accept(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        return proved

    return accept >> door


async def test_a_refusal_by_a_rule_of_the_application() -> None:
    """A guard may raise whatever the policy knows."""

    class Banned(Exception):
        pass

    app = App(errors=ErrorPolicy().on(Banned, Refuse(451, "not here"), Close(4451, "not here")))
    app.route("/http", guard=Door("", [], Banned()))(tell)
    app.route("/ws", guard=after_talking(Door("", [], Banned())))(tell)
    rejected = await rejection(app, path="/http")
    assert (rejected.status, rejected.body) == (451, "not here\n")
    async with connect(app, "/ws") as client:
        assert await client.wait_closed() == CloseFrame(4451, "not here")


async def test_the_unexpected_has_an_incident_and_no_detail() -> None:
    """What nobody knows is 500 or 1011 with an id, which the report has too, together with everything else."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append)
    app.route("/http", guard=Door("", [], ValueError("s3cret")))(tell)
    app.route("/ws", guard=after_talking(Door("", [], ValueError("s3cret"))), name="talking")(tell)
    rejected = await rejection(app, path="/http")
    found = re.fullmatch(r"internal error, incident ([0-9a-f]{6})\n", rejected.body)
    assert rejected.status == 500
    assert found is not None
    async with connect(app, "/ws") as client:
        closed = await client.wait_closed()
    again = re.fullmatch(r"internal error, incident ([0-9a-f]{6})", closed.reason)
    assert closed.code == 1011
    assert again is not None
    assert [report.incident for report in reports] == [found[1], again[1]]
    assert [report.route for report in reports] == ["/http", "talking"]
    for report in reports:
        assert (report.phase, report.expected, str(report.exception)) == (Phase.GUARD, False, "s3cret")
        assert report.exception.__traceback__ is not None


@pytest.mark.parametrize("talks", [False, True])
async def test_a_guard_that_hangs(talks: bool, autojump_clock: trio.abc.Clock) -> None:
    """It is cut at `auth_timeout`, to the moment; the peer learns why, and what the guard holds is left."""
    log: list[str] = []

    @guard
    async def hang(gate: Gate, proved: Anonymous) -> Anonymous:
        if talks:
            await gate.accept()
        await gate.enter(resource("held", log))
        try:
            await trio.Event().wait()
        finally:
            log.append(f"cut at {trio.current_time()}")
        return proved

    app = App(limits=Limits(auth_timeout=7.5))
    app.route("/", guard=hang)(tell)
    async with serve(app) as serving:
        if talks:
            async with serving.connect("/") as client:
                assert await client.wait_closed() == CloseFrame(3008, "authentication timed out")
                assert trio.current_time() == 7.5
        else:
            with pytest.raises(Rejected) as caught:
                async with serving.connect("/"):
                    pass
            assert (caught.value.status, caught.value.body) == (408, "request timeout\n")
            assert trio.current_time() == 7.5
        await serving.server.aclose()
    assert log == ["enter held", "cut at 7.5", "leave held"]


async def test_a_route_has_its_own_patience(autojump_clock: trio.abc.Clock) -> None:
    """`auth_timeout` can be set for one route; it covers all guards together."""

    @guard
    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(2)
        return proved

    app = App()
    app.route("/short", guard=slow >> slow, limits={"auth_timeout": 3.0})(tell)
    app.route("/long", guard=slow >> slow, limits={"auth_timeout": 5.0})(tell)
    async with serve(app) as serving:
        with pytest.raises(Rejected):
            async with serving.connect("/short"):
                pass
        assert trio.current_time() == 3.0
        async with serving.connect("/long") as client:
            assert await client.receive() == "Anonymous()"


async def test_a_peer_that_leaves_a_guard(autojump_clock: trio.abc.Clock) -> None:
    """Nobody waits long for a guard whose peer has gone: it is cancelled after `wind_down`."""
    cut: list[float] = []

    @guard
    async def hang(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        try:
            await trio.Event().wait()
        finally:
            cut.append(trio.current_time())
        return proved

    async with serve(telling(hang)) as serving:
        async with serving.connect("/"):
            await trio.sleep(2)
        await trio.sleep(2)
    assert cut == [2.0 + Limits().wind_down]


async def test_a_guard_that_talks() -> None:
    """After `accept` it may ask and answer; accepting twice is accepting once; the handler goes on from there."""

    @guard
    async def ask(gate: Gate, proved: Anonymous) -> str:
        await gate.accept()
        await gate.accept()
        await gate.send_text("who are you?")
        return await gate.receive_text()

    async with connect(telling(ask), "/") as client:
        assert await client.receive() == "who are you?"
        await client.send("ann")
        assert await client.receive() == "ann"
        assert await client.wait_closed() == CloseFrame(1000, "")


async def test_a_guard_whose_peer_leaves_in_the_middle() -> None:
    """What a guard awaits raises `Disconnected`, which is nobody's failure."""
    seen: list[str] = []
    reports: list[ErrorReport] = []

    @guard
    async def ask(gate: Gate, proved: Anonymous) -> str:
        await gate.accept()
        with trio.CancelScope(shield=True):
            for operation in (gate.receive_text, lambda: gate.send_text("x")):
                try:
                    await operation()
                except Disconnected as gone:
                    seen.append(gone.connection)
        raise Disconnected(seen[0])

    app = App(report=reports.append)
    app.route("/", guard=ask)(tell)
    async with serve(app) as serving:
        async with serving.connect("/"):
            pass
        await serving.server.aclose()
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert reports == []


def resource(
    name: str, log: list[str], *, enter: Exception | None = None, leave: Exception | None = None
) -> AbstractAsyncContextManager[str]:
    """A resource that writes down what happens to it, and may fail when it is entered or left."""

    @asynccontextmanager
    async def manager() -> AsyncGenerator[str]:
        if enter is not None:
            raise enter
        log.append(f"enter {name}")
        try:
            yield name
        except Exception as error:
            log.append(f"{name} sees {error!r}")
            raise
        finally:
            log.append(f"leave {name}")
            if leave is not None:
                raise leave

    return manager()


@frozen
class Holding(Guard[Anonymous, str]):
    """Enters resources, one after the other."""

    make: Callable[[], list[AbstractAsyncContextManager[str]]]

    async def admit(self, gate: Gate, proved: Anonymous, /) -> str:
        """Enter them all."""
        return " ".join([await gate.enter(one) for one in self.make()])


@frozen
class Held:
    """An app whose guard holds resources, and what happened in it."""

    app: App
    log: list[str] = field(factory=list[str])
    reports: list[ErrorReport] = field(factory=list[ErrorReport])

    async def visit(self) -> CloseFrame | Rejected:
        """Connect, and wait until everything is over; how it ended."""
        async with serve(self.app) as serving:
            try:
                async with serving.connect("/") as client:
                    ended: CloseFrame | Rejected = await client.wait_closed()
            except Rejected as rejected:
                ended = rejected
            await serving.server.aclose()
        return ended


def holding(
    *resources: Callable[[list[str]], AbstractAsyncContextManager[str]],
    raising: Exception | None = None,
    errors: ErrorPolicy | None = None,
    then: Guard[Anonymous, Anonymous] = public,
) -> Held:
    """An app with a guard that holds these, and a handler that may fail."""
    log: list[str] = []
    reports: list[ErrorReport] = []
    app = App(errors=errors, report=reports.append)
    door = then >> Holding(lambda: [make(log) for make in resources])

    @app.route("/", guard=door)
    async def handler(conn: Connection[str]) -> None:
        log.append(f"handler with {conn.principal}")
        if raising is not None:
            raise raising

    return Held(app, log, reports)


def simple(name: str) -> Callable[[list[str]], AbstractAsyncContextManager[str]]:
    """A resource that works."""
    return lambda log: resource(name, log)


async def test_resources_are_left_in_reverse_order() -> None:
    """A resource is held for exactly the life of the connection."""
    held = holding(simple("a"), simple("b"))
    assert await held.visit() == CloseFrame(1000, "")
    assert held.log == ["enter a", "enter b", "handler with a b", "leave b", "leave a"]
    assert held.reports == []


async def test_resources_see_what_the_handler_raised() -> None:
    """Each is told, so that a transaction can be rolled back; the failure is reported once."""
    failure = ValueError("x")
    held = holding(simple("a"), simple("b"), raising=failure)
    closed = await held.visit()
    assert isinstance(closed, CloseFrame)
    assert closed.code == 1011
    assert held.log[3:] == ["b sees ValueError('x')", "leave b", "a sees ValueError('x')", "leave a"]
    assert [(report.phase, report.exception) for report in held.reports] == [(Phase.HANDLER, failure)]


async def test_a_resource_that_suppresses_what_it_sees() -> None:
    """A resource may swallow the failure for itself: those further out see it all the same, and so does the report."""

    @asynccontextmanager
    async def suppressing(log: list[str]) -> AsyncGenerator[str]:
        try:
            yield "b"
        except ValueError:
            log.append("suppressed")

    failure = ValueError("x")
    held = holding(simple("a"), suppressing, raising=failure)
    closed = await held.visit()
    assert isinstance(closed, CloseFrame)
    assert closed.code == 1011
    assert held.log[2:] == ["suppressed", "a sees ValueError('x')", "leave a"]
    assert [report.exception for report in held.reports] == [failure]


async def test_a_resource_that_fails_in_enter() -> None:
    """The guard sees it; uncaught it is the guard's failure, and what was entered before is left."""
    failure = OSError("no database")
    held = holding(simple("a"), lambda log: resource("b", log, enter=failure), raising=None)
    rejected = await held.visit()
    assert isinstance(rejected, Rejected)
    assert rejected.status == 500
    assert held.log == ["enter a", "a sees OSError('no database')", "leave a"]
    assert [(report.phase, report.exception) for report in held.reports] == [(Phase.GUARD, failure)]


async def test_a_guard_may_catch_what_enter_raises() -> None:
    """A resource that cannot be had is an ordinary exception in the guard."""

    @guard
    async def careful(gate: Gate, proved: Anonymous) -> str:
        try:
            return await gate.enter(resource("a", [], enter=OSError("no database")))
        except OSError as error:
            return f"without: {error}"

    assert await told(careful) == "without: no database"


async def test_a_resource_that_fails_in_release() -> None:
    """It is reported as such; the peer has had its close, and the others are left as if nothing had happened."""
    failure = OSError("rollback failed")
    held = holding(simple("a"), lambda log: resource("b", log, leave=failure), simple("c"))
    assert await held.visit() == CloseFrame(1000, "")
    assert held.log[-3:] == ["leave c", "leave b", "leave a"]
    (report,) = held.reports
    assert (report.phase, report.exception, report.verdict) == (Phase.RELEASE, failure, Ignore())


async def test_a_release_can_be_escalated() -> None:
    """A rule may end the server for it."""
    failure = OSError("rollback failed")
    held = holding(lambda log: resource("a", log, leave=failure), errors=ErrorPolicy().on(OSError, Escalate()))
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="rollback failed"), flatten_subgroups=True):
        await held.visit()


@asynccontextmanager
async def with_nursery(name: str, log: list[str], after: float = math.inf) -> AsyncGenerator[str]:
    """A resource that holds a nursery, as brokers and pools do; its task may fail after so many seconds."""

    async def task() -> None:
        await trio.sleep(after)
        raise OSError("connection lost")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        log.append(f"enter {name}")
        try:
            yield name
        finally:
            log.append(f"leave {name}")
            nursery.cancel_scope.cancel()


async def test_resources_that_hold_a_nursery() -> None:
    """They nest as they like; the nursery wraps what the handler raised, which is still reported only once."""
    failure = ValueError("x")
    held = holding(lambda log: with_nursery("a", log), lambda log: with_nursery("b", log), simple("c"), raising=failure)
    closed = await held.visit()
    assert isinstance(closed, CloseFrame)
    assert closed.code == 1011
    assert held.log[4:] == ["c sees ValueError('x')", "leave c", "leave b", "leave a"]
    assert [(report.phase, report.exception) for report in held.reports] == [(Phase.HANDLER, failure)]


async def test_a_resource_that_fails_while_it_is_held(autojump_clock: trio.abc.Clock) -> None:
    """The connection cannot go on without it: it ends by the error policy, and the handler is cancelled."""
    reports: list[ErrorReport] = []
    log: list[str] = []
    app = App(errors=ErrorPolicy().on(OSError, Close(4500, "no broker")), report=reports.append)

    @guard
    async def broker(gate: Gate, proved: Anonymous) -> str:
        await gate.enter(resource("outer", log))
        return await gate.enter(with_nursery("broker", log, after=3))

    @app.route("/", guard=broker)
    async def handler(conn: Connection[str]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append(f"handler ends at {trio.current_time()}")
            raise ValueError("too late")  # the other resources hear of what came first

    async with serve(app) as serving:
        async with serving.connect("/") as client:
            assert await client.wait_closed() == CloseFrame(4500, "no broker")
        await serving.server.aclose()
    assert log[2:] == ["leave broker", "handler ends at 3.0", "outer sees OSError('connection lost')", "leave outer"]
    assert [(report.phase, str(report.exception)) for report in reports] == [
        (Phase.BACKGROUND, "connection lost"),
        (Phase.HANDLER, "too late"),
    ]


async def test_a_resource_that_fails_while_a_guard_decides(autojump_clock: trio.abc.Clock) -> None:
    """Before the upgrade there is a status to send, by the same rule; the guard is cancelled."""
    app = App(errors=ErrorPolicy().on(OSError, Refuse(503, "no broker"), Close(4500)))

    @guard
    async def broker(gate: Gate, proved: Anonymous) -> str:
        name = await gate.enter(with_nursery("broker", [], after=3))
        await trio.Event().wait()
        return name

    app.route("/", guard=broker)(tell)
    rejected = await rejection(app)
    assert (rejected.status, rejected.body) == (503, "no broker\n")


async def test_a_resource_that_does_not_leave(autojump_clock: trio.abc.Clock) -> None:
    """Release is bounded by `close_timeout`: then it is cancelled, and the server goes on."""

    @asynccontextmanager
    async def stubborn() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await trio.sleep_forever()  # noqa: ASYNC102 - the mistake under test

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(stubborn())
        return proved

    async with serve(telling(hold)) as serving:
        async with serving.connect("/") as client:
            assert await client.receive() == "Anonymous()"
            assert await client.wait_closed() == CloseFrame(1000, "")
        before = trio.current_time()
        await serving.server.aclose()
        assert trio.current_time() - before <= Limits().close_timeout


async def test_a_resource_is_left_when_a_later_guard_refuses() -> None:
    """It is told what the guard raised."""
    log: list[str] = []

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource("a", log))
        return proved

    async with serve(telling(hold >> Door("b", log, Forbidden("no")))) as serving:
        with pytest.raises(Rejected):
            async with serving.connect("/"):
                pass
        await serving.server.aclose()
    assert log == ["enter a", "b", "a sees Forbidden('no')", "leave a"]


async def test_a_guard_reads_lifespan_values() -> None:
    """`gate.provided` gives what the app's lifespan yielded; another app's handle is a mistake, and is named."""
    app = App()
    reports: list[ErrorReport] = []
    other = App(report=reports.append)

    @app.lifespan
    @asynccontextmanager
    async def database() -> AsyncGenerator[str]:
        yield "db"

    @guard
    async def connected(gate: Gate, proved: Anonymous) -> str:
        return gate.provided(database)

    app.route("/", guard=connected)(tell)
    other.route("/", guard=connected)(tell)
    async with connect(app, "/") as client:
        assert await client.receive() == "db"
    assert (await rejection(other)).status == 500
    assert isinstance(reports[0].exception, ConfigurationError)
    assert "put @app.lifespan over database()" in str(reports[0].exception)


async def test_a_lease_ends_the_connection(autojump_clock: trio.abc.Clock) -> None:
    """The first of several leases decides, to the moment."""

    @guard
    async def lease(gate: Gate, proved: Anonymous) -> Anonymous:
        now = time.time() - trio.current_time()
        for seconds in (40, 20, 60):
            gate.lease(expires_at=now + seconds)
        return proved

    app = App()
    app.route("/", guard=lease)(echo)
    async with connect(app, "/") as client:
        await client.send("still there")
        assert await client.receive() == "still there"
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
        assert trio.current_time() == pytest.approx(20, abs=0.5)


async def test_a_lease_that_ends_while_guards_decide(autojump_clock: trio.abc.Clock) -> None:
    """What was proved is true no longer: the status is that of a missing credential."""

    @guard
    async def lease(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=time.time() + 3)
        await trio.sleep(5)
        return proved

    rejected = await rejection(telling(lease))
    assert (rejected.status, rejected.header("WWW-Authenticate")) == (401, INVALID_TOKEN["WWW-Authenticate"])


async def test_a_lease_on_a_date_that_is_none() -> None:
    """A date that is no number must not be for ever: it is a mistake of the guard."""
    reports: list[ErrorReport] = []

    @guard
    async def lease(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=math.nan)
        return proved

    app = App(report=reports.append)
    app.route("/", guard=lease)(tell)
    assert (await rejection(app)).status == 500
    assert isinstance(reports[0].exception, ConfigurationError)


Renewing = Callable[[Connection[Claims]], Awaitable[None]]


def renewing(handler: Renewing, door: Guard[Anonymous, Claims] | None = None) -> App:
    """An app whose handler renews its lease."""
    app = App()
    app.route("/", guard=bearer(verifier) if door is None else door)(handler)
    return app


async def test_renewing(autojump_clock: trio.abc.Clock) -> None:
    """A new token of the same subject moves the end of the connection; the leeway is on top, as at the door."""
    lenient = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, leeway=5)
    async with connect(renewing(renew_each, bearer(lenient)), "/", headers=by_header(60)) as client:
        await trio.sleep(50)
        await client.send(token(seconds=90))  # from the start of the test: the clock of tokens does not jump
        assert await client.receive() == "renewed"
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    assert trio.current_time() == pytest.approx(50 + 90 + 5, abs=0.5)


async def test_renewing_to_an_earlier_end(autojump_clock: trio.abc.Clock) -> None:
    """The new token decides, also when it is good for a shorter time."""
    async with connect(renewing(renew_each), "/", headers=by_header(600)) as client:
        await client.send(token(seconds=20))
        assert await client.receive() == "renewed"
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    assert trio.current_time() == pytest.approx(20, abs=0.5)


async def test_renewing_with_what_does_not_prove_the_same(autojump_clock: trio.abc.Clock) -> None:
    """A token that is bad, or about somebody else, is refused; the lease and the connection stay as they were."""
    async with connect(renewing(renew_each), "/", headers=by_header(60, iss="us")) as client:
        for who, claims in (("eve", {"iss": "us"}), ("ada", {"iss": "them"}), ("ada", {})):
            wrong = token(who, seconds=90, **claims)
            await client.send(wrong)
            assert await client.receive() == "Unauthorized: the new token is about another subject"
        for garbage in ("garbage", "", "x" * 10_000, token(seconds=90, iss="us") + "; session=x", "\N{SNOWMAN}"):
            await client.send(garbage)
            assert str(await client.receive()).startswith("Unauthorized: token ")
        await client.send(token(seconds=-1, iss="us"))
        assert await client.receive() == "TokenExpired: token expired"
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    assert trio.current_time() == pytest.approx(60, abs=0.5)


async def test_renewing_without_a_subject() -> None:
    """Two tokens about nobody do not prove the same: what they have in common is nothing."""
    app = App()

    @app.route("/", guard=bearer(about_anything))
    async def handler(conn: Connection[AnyClaims]) -> None:
        try:
            await conn.renew(str(await conn.receive()))
        except Unauthorized as refusal:
            await conn.send(str(refusal))

    async with connect(app, "/", headers=by(token(None, room=1))) as client:
        await client.send(token(None, seconds=90, room=2))
        assert await client.receive() == "the new token is about another subject"


async def test_renewing_too_late(autojump_clock: trio.abc.Clock) -> None:
    """When the lease has ended it cannot be renewed, not even in a cleanup that is shielded."""
    raised: list[Exception] = []

    async def handler(conn: Connection[Claims]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await conn.renew(token(seconds=90))
                except LeaseExpired as error:
                    raised.append(error)

    async with connect(renewing(handler), "/", headers=by_header(5)) as client:
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    assert len(raised) == 1


async def test_renewing_where_nothing_was_leased() -> None:
    """Without such a lease it is a mistake, with the remedy."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append)

    @guard
    async def fixed(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=time.time() + 60)
        return proved

    @app.route("/", guard=fixed)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.renew(token())

    async with connect(app, "/") as client:
        assert (await client.wait_closed()).code == 1011
    assert "put bearer(...) into its chain" in str(reports[0].exception)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"authorization": "bearer {}"},
        {"Authorization": "BEARER   {}"},
        {"Cookie": "session={}"},
        {"Cookie": 'a=b; session="{}"; c=d'},
        {"Authorization": "Basic YTpi", "Cookie": "session={}"},
        {"Authorization": "Bearer {}", "Cookie": "session="},
    ],
    ids=str,
)
async def test_where_a_bearer_token_is_found(headers: dict[str, str]) -> None:
    """In the header, whatever its case, or in the cookie."""
    filled = {name: value.format(token()) for name, value in headers.items()}
    assert "subject='ada'" in str(await told(bearer(verifier, header(), cookie("session")), filled))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer garbage"},
        {"Authorization": "Bearer {} {}"},
        {"Authorization": "Bearer{}"},
        {"Authorization": "{}"},
        {"Cookie": "session={}"},
        {"Authorization": "Bearer {}", "authorization": "Bearer {}"},
    ],
    ids=str,
)
async def test_where_no_bearer_token_is_found(headers: dict[str, str]) -> None:
    """Nothing, something else, something wrong, two of them, or a cookie where none is asked for: 401."""
    filled = {name: value.format(token(), token()) for name, value in headers.items()}
    rejected = await rejection(telling(bearer(verifier)), filled)
    wrong = headers.get("Authorization", "Basic ") not in {"Basic ", "Basic YTpi", ""}
    challenge = INVALID_TOKEN["WWW-Authenticate"] if wrong else "Bearer"
    assert (rejected.status, rejected.header("WWW-Authenticate")) == (401, challenge)
    assert rejected.body == "unauthorized\n"


async def test_a_token_is_a_lease(autojump_clock: trio.abc.Clock) -> None:
    """The connection ends when the token does, with 3000."""
    app = App()
    app.route("/", guard=bearer(verifier))(echo)
    async with connect(app, "/", headers=by_header(30)) as client:
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    assert trio.current_time() == pytest.approx(30, abs=0.5)


async def test_a_token_as_the_first_message(autojump_clock: trio.abc.Clock) -> None:
    """The upgrade is accepted, the token is read, white space around it does not count; it is a lease too."""
    app = App()
    app.route("/", guard=bearer(verifier, first_message()) >> load_user)(echo)
    for sent in (token(seconds=30), f" {token(seconds=30)}\r\n"):
        async with connect(app, "/") as client:
            started = trio.current_time()
            await client.send(sent)
            await client.send("hello")
            assert await client.receive() == "hello"
            assert await client.wait_closed() == CloseFrame(3000, "lease expired")
            assert trio.current_time() - started == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize(
    "message",
    ["", " ", "\n\t", "garbage", "x" * 9_000, token(seconds=-1), f"Bearer {token()}", token().encode(), b"", b"\xff"],
    ids=[
        "empty",
        "space",
        "white space",
        "garbage",
        "oversized",
        "expired",
        "with scheme",
        "binary",
        "no bytes",
        "0xff",
    ],
)
async def test_a_first_message_that_is_no_token(message: str | bytes) -> None:
    """It is refused with 3000, whatever it is."""
    async with connect(telling(bearer(verifier, first_message())), "/") as client:
        await client.send(message)
        assert await client.wait_closed() == CloseFrame(3000, "unauthorized")


async def test_a_first_message_that_is_too_big() -> None:
    """A message over the limit of messages is refused as such, before it is a token."""
    app = App(limits=Limits(max_message_size=1000))
    app.route("/", guard=bearer(verifier, first_message()))(tell)
    async with connect(app, "/") as client:
        await client.send("x" * 1001)
        assert (await client.wait_closed()).code == 1009


async def test_a_first_message_that_never_comes(autojump_clock: trio.abc.Clock) -> None:
    """Who says nothing is cut at `auth_timeout`, to the moment."""
    async with connect(telling(bearer(verifier, first_message())), "/") as client:
        assert await client.wait_closed() == CloseFrame(3008, "authentication timed out")
        assert trio.current_time() == Limits().auth_timeout


async def test_a_policy_tells_expired_from_unauthorized() -> None:
    """A more specific rule of the application wins over the built-in one."""
    app = App(errors=ErrorPolicy().on(TokenExpired, Refuse(401, "expired"), Close(3000, "Token Expired")))
    app.route("/first", guard=bearer(verifier, first_message()))(tell)
    app.route("/header", guard=bearer(verifier))(tell)
    async with connect(app, "/first") as client:
        await client.send(token(seconds=-1))
        assert await client.wait_closed() == CloseFrame(3000, "Token Expired")
    assert (await rejection(app, by_header(-1), "/header")).body == "expired\n"
    assert (await rejection(app, {"Authorization": "Bearer x"}, "/header")).body == "unauthorized\n"


async def test_a_gate_before_the_upgrade(autojump_clock: trio.abc.Clock) -> None:
    """Talking before `accept` is a mistake of the guard and names the remedy; nothing gets in front of the 101."""
    reports: list[ErrorReport] = []

    @guard
    async def hasty(gate: Gate, proved: Anonymous) -> Anonymous:
        with pytest.raises(ConfigurationError, match=r"await gate\.accept"):
            await gate.receive_text()
        await gate.send_text("hello")
        return proved

    app = App(report=reports.append)
    app.route("/", guard=hasty)(tell)
    with pytest.raises(Rejected) as refused:
        async with connect(app, "/"):
            pass
    assert refused.value.status == 500
    assert [type(report.exception) for report in reports] == [ConfigurationError]


async def test_two_tasks_accept(autojump_clock: trio.abc.Clock) -> None:
    """Accepting is idempotent, also for two tasks at the same time."""

    @guard
    async def both(gate: Gate, proved: Anonymous) -> Anonymous:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.accept)
            nursery.start_soon(gate.accept)
        return proved

    async with connect(telling(both), "/") as client:
        assert await client.receive() == "Anonymous()"


@pytest.mark.parametrize("decorate", [guard, check])
def test_a_sync_function_is_no_guard(decorate: Callable[[Callable[..., object]], object]) -> None:  # type: ignore[explicit-any]  # either decorator
    """It is refused where it is written, not when a client arrives."""

    def sync(gate: Gate, proved: Anonymous) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match=r"sync\(\) .* is not an async function"):
        decorate(sync)


async def test_renewal_asks_for_the_scopes(autojump_clock: trio.abc.Clock) -> None:
    """Scopes that no check demands may go; without those that one does, the connection ends."""
    app = renewing(renew_each, bearer(verifier) >> has_scope("chat"))
    async with connect(app, "/", headers=by_header(scope="chat more")) as client:
        await client.send(token(seconds=120, scope="chat"))
        assert await client.receive() == "renewed"
        await client.send(token(seconds=120, scope="more"))
        assert await client.wait_closed() == CloseFrame(3003, "forbidden")


async def test_a_tab_after_bearer(autojump_clock: trio.abc.Clock) -> None:
    """A wrong token behind a tab is a wrong token, not none: it does not come in as anybody else."""
    with pytest.raises(Rejected) as refused:
        async with connect(telling(bearer(verifier) | public), "/", headers={"Authorization": "Bearer\tnonsense"}):
            pass
    assert refused.value.status == 401
