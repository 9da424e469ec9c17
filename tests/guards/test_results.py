"""What guards and checks return: whatever proves nobody lets nobody in."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, cast, get_args, get_origin

import pytest
from attrs import frozen
from trio.testing import MockClock

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError, Forbidden, NoCredentials, Unauthorized
from seawall.events.events import Events
from seawall.guards.functions import check, guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard, public
from seawall.guards.inherited import inherited
from seawall.guards.scopes import has_scope
from seawall.http.exchange import Request, Response
from seawall.observability.reports import ErrorReport
from seawall.policy.verdicts import VERDICTS, AnyVerdict, Close, Escalate, Ignore, Refuse, Reply
from seawall.routing.router import Router
from seawall.testing import Rejected, connect
from tests.kit.sockets import EVERYWHERE, SHORT, Transport, serving
from tests.kit.wire import request

if TYPE_CHECKING:
    from fractions import Fraction

Step = Callable[..., Awaitable[object]]  # type: ignore[explicit-any]  # what a program without a type checker may write

Loose = Callable[..., object]  # type: ignore[explicit-any]  # a function, for who has no type checker


class Making(Protocol):
    """Makes a step that returns what is made; `accepting` says whether after the upgrade."""

    __name__: str

    def __call__(self, make: Callable[[], object], *, accepting: bool) -> Guard[Anonymous, Anonymous] | Check[object]:
        """Make it."""
        ...


async def tell(conn: Connection[object]) -> None:
    """Say who it is."""
    await conn.send(f"{conn.principal}")


async def later() -> Anonymous:
    """A principal, for those who wait for it."""
    return Anonymous()


async def later_and_later() -> AsyncGenerator[Anonymous]:
    """A principal, for those who ask for the next one."""
    yield Anonymous()


class Promise:
    """What can be awaited and is no coroutine."""

    def keep(self) -> Anonymous:
        """A principal, for who calls it."""
        return Anonymous()

    def __await__(self) -> Generator[None, None, Anonymous]:
        """Give a principal at once."""
        yield from ()
        return Anonymous()


@frozen
class Ask:
    """A message."""


@asynccontextmanager
async def opened() -> AsyncGenerator[Anonymous]:
    """A principal, for those who enter."""
    yield Anonymous()


@contextmanager
def suspended() -> Generator[Anonymous]:
    """The same, without waiting."""
    yield Anonymous()


#: The handle of a lifespan value, where the value was meant.
DATABASE = App().lifespan(opened)

#: What is no principal: how to make it, and how the log calls it.
NOBODY: dict[str, tuple[Callable[[], object], str]] = {
    "None": (lambda: None, "None"),
    "False": (lambda: False, "False"),
    "True": (lambda: True, "True"),
    "an exception": (lambda: Forbidden("s3cret"), "a Forbidden"),
    "an exception that means another thing": (NoCredentials, "a NoCredentials"),
    "a class of exceptions": (lambda: Unauthorized, "the class Unauthorized"),
    "an exit": (SystemExit, "a SystemExit"),
    "a coroutine": (later, "a coroutine, for which an `await` is missing"),
    "NotImplemented": (lambda: NotImplemented, "a NotImplementedType"),
    "a refusal": (lambda: Refuse(403, "s3cret"), "a Refuse"),
    "a close": (lambda: Close(4003, "s3cret"), "a Close"),
    "a reply": (lambda: Reply[Exception](str), "a Reply"),
    "what would be ignored": (Ignore, "a Ignore"),
    "what would end the server": (Escalate, "a Escalate"),
    "a class of verdicts": (lambda: Refuse, "the class Refuse"),
    "a page's answer": (lambda: Response("s3cret", status=403), "a Response"),
    "a status": (lambda: HTTPStatus.FORBIDDEN, "a HTTPStatus"),
    "a generator": (lambda: (who for who in [Anonymous()]), "a generator"),
    "an async generator": (later_and_later, "a async_generator"),
    "an object to await": (Promise, "a Promise, for which an `await` is missing"),
    "a resource that was not entered": (opened, "a _AsyncGeneratorContextManager"),
    "a context that was not entered": (suspended, "a _GeneratorContextManager"),
    "a function that was not called": (lambda: later, "a function"),
    "a method that was not called": (lambda: Promise().keep, "a method"),
    "a method of C": (lambda: "Ada".strip, "a builtin_function_or_method"),
    "a partial": (lambda: partial(later), "a partial"),
    "a property of a class": (lambda: property(lambda _: later()), "a property"),
    "a handle": (lambda: DATABASE, "a Provided"),
    "an ellipsis": (lambda: ..., "a ellipsis"),
    "another guard": (lambda: public, "a _Public"),
    "another check": (lambda: has_scope("chat"), "a _HasScope"),
}

#: What a check returns that may be meant as a refusal.
NOT_NONE: dict[str, tuple[Callable[[], object], str]] = {
    **{name: case for name, case in NOBODY.items() if name != "None"},
    "a text": (lambda: "s3cret", "a str"),
    "zero": (lambda: 0, "a int"),
    "the principal": (Anonymous, "a Anonymous"),
}


def a_guard(make: Callable[[], object], *, accepting: bool) -> Guard[Anonymous, Anonymous]:
    """A guard of a function that returns what is made."""

    @guard
    async def careless(gate: Gate, proved: Anonymous) -> Anonymous:
        if accepting:
            await gate.accept()
        return cast("Anonymous", make())

    return careless


def a_guard_of_a_class(make: Callable[[], object], *, accepting: bool) -> Guard[Anonymous, Anonymous]:
    """The same as a class."""

    class Careless(Guard[Anonymous, Anonymous]):
        async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
            if accepting:
                await gate.accept()
            return cast("Anonymous", make())

    return Careless()


def a_check(make: Callable[[], object], *, accepting: bool) -> Check[object]:
    """A check of a function that returns what is made."""

    @check
    async def careless(gate: Gate, principal: object) -> None:
        if accepting:
            await gate.accept()
        return cast("None", make())

    return careless


def a_check_of_a_class(make: Callable[[], object], *, accepting: bool) -> Check[object]:
    """The same as a class."""

    class Careless(Check[object]):
        async def inspect(self, gate: Gate, principal: object, /) -> None:
            if accepting:
                await gate.accept()
            return cast("None", make())

    return Careless()


@guard
async def further(gate: Gate, proved: object) -> str:
    """Take anything for a principal."""
    return f"let in: {proved!r}"


def routes_of(step: Guard[Anonymous, Anonymous] | Check[object], app: App) -> list[str]:
    """Put the step into every place where one can stand, on routes of the app; their paths."""
    if isinstance(step, Guard):
        chains: list[Guard[Anonymous, object]] = [
            step,
            step >> further,
            public >> step,
            public >> step >> further,
            a_good_check >> step,
            step >> a_good_check,
            step | public,
            (step >> further) | public,
            a_guard_without_credentials | step,
        ]
    else:
        chains = [
            step >> public,
            public >> step,
            public >> (step >> a_good_check),
            public >> (a_good_check >> step),
            (step >> a_good_check) >> public,
            public >> step >> further,
            public >> inherited(step),
            public >> inherited(a_good_check, step) >> further,
            (a_guard_without_credentials >> step) | (public >> step),
        ]
    for number, chain in enumerate(chains):
        app.route(f"/{number}", guard=chain)(tell)
    for prefix, above, below in (
        ("/above", step, inherited()),
        ("/below", public, step),
    ):
        router: Router[Anonymous] = Router()
        router.route("/", guard=below if isinstance(below, Guard) else inherited(below))(tell)
        app.mount(prefix, router, guard=above if isinstance(above, Guard) else above >> public)
    return [*(f"/{number}" for number in range(len(chains))), "/above", "/below"]


@check
async def a_good_check(gate: Gate, principal: object) -> None:
    """Everybody."""


@guard
async def a_guard_without_credentials(gate: Gate, proved: Anonymous) -> Anonymous:
    """Nobody."""
    raise NoCredentials


#: Each way to write a step, with each thing that it must not return, and how the log calls that.
CASES = [
    *((a_guard, *case) for case in NOBODY.values()),
    *((a_check, *case) for case in NOT_NONE.values()),
    *((a_guard_of_a_class, *NOBODY[name]) for name in ("None", "False", "an exception")),
    *((a_check_of_a_class, *NOT_NONE[name]) for name in ("False", "True", "an exception")),
]


@pytest.mark.parametrize("accepting", [False, True], ids=["before the upgrade", "after it"])
@pytest.mark.parametrize(
    ("made_by", "make", "shown"), CASES, ids=[f"{made_by.__name__} {shown}" for made_by, _, shown in CASES]
)
async def test_mended_03_what_proves_nobody(
    made_by: Making, make: Callable[[], object], shown: str, accepting: bool
) -> None:
    """It is an error wherever it stands, with an incident; the report names the function and the remedy."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append)
    paths = routes_of(made_by(make, accepting=accepting), app)
    for path in paths:
        reports.clear()
        if accepting:
            async with connect(app, path) as client:
                closed = await client.wait_closed()
                assert (closed.code, closed.reason[:24]) == (1011, "internal error, incident"), path
        else:
            with pytest.raises(Rejected) as caught:
                async with connect(app, path):
                    pass
            assert (caught.value.status, caught.value.body[:24]) == (500, "internal error, incident"), path
        (report,) = reports
        assert isinstance(report.exception, ConfigurationError)
        said = str(report.exception)
        assert f"returned {shown}" in said
        assert ("Careless." if "class" in made_by.__name__ else "careless()") in said
        assert f"{__file__}:" in said
        assert "raise Forbidden(...)" in said
        assert "s3cret" not in said


@pytest.mark.parametrize("step", [a_guard, a_check])
async def test_mended_03_events(step: Making, autojump_clock: MockClock) -> None:
    """Nor does the guard of an event let one through, whatever it returns."""
    cases = NOBODY if step is a_guard else NOT_NONE
    for make, shown in cases.values():
        reports: list[ErrorReport] = []
        app, events = App(report=reports.append), Events[Anonymous]()

        @events.on(Ask, guard=cast("Check[Anonymous]", step(make, accepting=False)))
        async def on_ask(conn: Connection[Anonymous], ask: Ask) -> None:
            raise AssertionError("it is handled")

        app.route("/", guard=public)(events)
        async with connect(app, "/") as client:
            await client.send('{"type": "ask"}')
            assert (await client.wait_closed()).code == 1011, shown
        (report,) = reports
        assert f"returned {shown}" in str(report.exception)


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_03_a_check_that_returns_false(over: Transport) -> None:
    """Over every transport nobody comes in by it."""
    app = App(limits=SHORT)
    app.route("/echo", guard=public >> a_check(lambda: False, accepting=False))(tell)
    async with serving(app, over) as place:
        client = await place.dial()
        await client.send(request())
        assert (await client.last_response()).status == 500


@pytest.mark.parametrize("step", [a_guard(lambda: None, accepting=False), a_check(lambda: False, accepting=False)])
async def test_mended_03_a_page(step: Guard[Anonymous, Anonymous] | Check[object]) -> None:
    """Nor does a page answer somebody of whom nothing was proved."""
    app = App(limits=SHORT, report=lambda _: None)

    @app.page("/page", guard=step if isinstance(step, Guard) else step >> public)
    async def page(request: Request[Anonymous]) -> Response:
        raise AssertionError("it is asked")

    async with serving(app) as place:
        assert await place.rejected(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n") == 500


def test_mended_03_every_verdict_is_known() -> None:
    """What a policy may say is no principal, whichever verdicts there will be."""
    assert set(VERDICTS) == {get_origin(verdict) or verdict for verdict in get_args(AnyVerdict)}


@pytest.mark.parametrize("decorate", [guard, check])
def test_mended_03_a_function_that_yields(decorate: Loose) -> None:
    """It is refused where it is decorated; the error says what to do with what has to be left again."""

    async def endless(gate: Gate, proved: Anonymous) -> AsyncGenerator[Anonymous]:
        yield proved

    def plain(gate: Gate, proved: Anonymous) -> Generator[Anonymous]:
        yield proved

    for function in (endless, plain):
        with pytest.raises(ConfigurationError, match=r"^@(guard|check): .*\(\) \(.*\) yields, .*`return`.*gate\.enter"):
            decorate(function)


async def test_mended_03_a_coroutine_is_closed() -> None:
    """Nobody will await it, and Python does not warn of that besides."""
    app = App(report=lambda _: None)
    app.route("/", guard=a_guard(later, accepting=False))(tell)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Rejected):
            async with connect(app, "/"):
                pass
        gc.collect()


@pytest.mark.parametrize("principal", ["", 0, 0.0, (), frozenset[str](), int, object()], ids=range(7))
async def test_mended_03_what_is_a_principal(principal: object) -> None:
    """Anything else is one, also what is false, and a class."""

    @guard
    async def proves(gate: Gate, proved: Anonymous) -> object:
        return principal

    app = App()
    app.route("/", guard=proves >> a_good_check)(tell)
    async with connect(app, "/") as client:
        assert await client.receive() == f"{principal}"


Flag = bool


async def plainly(gate: Gate, proved: Anonymous) -> bool:
    """As it is written most often."""
    return True


async def quoted(gate: Gate, proved: Anonymous) -> "bool":  # noqa: UP037 - twice a string, with the import above
    """Quoted."""
    return True


async def in_a_union(gate: Gate, proved: Anonymous) -> bool | None:
    """None is right for a check, and bool is not."""
    return True


async def quoted_within(gate: Gate, proved: Anonymous) -> Annotated["bool", "whether"] | None:  # noqa: UP037 - it may be
    """Quoted inside of something else."""
    return True


async def by_an_alias(gate: Gate, proved: Anonymous) -> Flag:
    """By another name."""
    return True


async def annotated(gate: Gate, proved: Anonymous) -> Annotated[bool, "whether"]:
    """With more about it."""
    return True


async def literally(gate: Gate, proved: Anonymous) -> Literal[True]:
    """Only one of them."""
    return True


class Callee:
    """An object to call."""

    async def __call__(self, gate: Gate, proved: Anonymous) -> bool:
        """Say yes."""
        return True

    async def method(self, gate: Gate, proved: Anonymous) -> bool:
        """Say yes."""
        return True


BOOLS: list[Step] = [
    *(plainly, quoted, in_a_union, quoted_within, by_an_alias, annotated, literally),
    *(Callee(), Callee().method),
]


@pytest.mark.parametrize("decorate", [guard, check])
@pytest.mark.parametrize("function", BOOLS, ids=range(len(BOOLS)))
def test_mended_03_a_bool_is_refused_where_it_is_decorated(function: Step, decorate: Callable[[Step], object]) -> None:
    """Whatever way it is annotated; the error names the function and the remedy."""
    with pytest.raises(ConfigurationError, match=r"\(\) \(.*test_results.py:\d+\) returns a bool .*raise Forbidden"):
        decorate(function)


def test_mended_03_a_bool_is_refused_in_a_class() -> None:
    """Where the class is defined, below other classes too."""
    with pytest.raises(ConfigurationError, match=r"Wrong.admit\(\) \(.*\) returns a bool .*a guard returns the princ"):

        @frozen
        class Wrong(Guard[Anonymous, bool]):
            async def admit(self, gate: Gate, proved: Anonymous, /) -> bool:
                return True

    class Base(Check[object]):
        pass

    with pytest.raises(ConfigurationError, match=r"Adult.inspect\(\) \(.*\) returns a bool .*a check returns nothing"):

        @frozen
        class Adult(Base):
            async def inspect(self, gate: Gate, principal: object, /) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # the mistake
                return True


async def unknown(gate: Gate, proved: Anonymous) -> "Fraction":  # noqa: UP037 - only for type checkers
    """An annotation that cannot be resolved here."""
    raise NotImplementedError


async def never(gate: Gate, proved: Anonymous) -> Coroutine[object, object, bool]:
    """A bool inside of something else is none."""
    raise NotImplementedError


@pytest.mark.parametrize("function", [unknown, never])
def test_mended_03_other_annotations(function: Step) -> None:
    """What is not known to be a bool is not refused at definition."""
    assert isinstance(guard(cast("Callable[[Gate, Anonymous], Awaitable[object]]", function)), Guard)


COMBINED: dict[str, Callable[[object, object], object]] = {
    "and": lambda one, other: one and other,
    "or": lambda one, other: one or other,
    "not": lambda one, _: not one,
    "if": lambda one, other: (other,) if one else (),
}


@pytest.mark.parametrize("combine", COMBINED.values(), ids=COMBINED)
@pytest.mark.parametrize("one", [public, public >> a_good_check, inherited(), has_scope("chat"), a_good_check])
def test_mended_03_and_is_no_way_to_combine(combine: Callable[[object, object], object], one: object) -> None:
    """Python would keep one of the two, and what the other demands would not be asked."""
    with pytest.raises(ConfigurationError, match=r"neither true nor false.*`a >> b` for both, `a \| b` for either"):
        combine(one, public)
