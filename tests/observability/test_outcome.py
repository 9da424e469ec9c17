"""How a connection ended, as the application is told: every kind of end, each once, with its numbers."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Iterator
from types import SimpleNamespace
from typing import NoReturn

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Cause,
    Close,
    ConfigurationError,
    Connection,
    ErrorPolicy,
    ErrorReport,
    Forbidden,
    Gate,
    Guard,
    Limits,
    Outcome,
    Party,
    Refuse,
    guard,
    public,
)
from seawall.observability.principals import MAX_KEY, MIN_KEY, PrincipalNames
from seawall.testing import Rejected, connect, serve
from tests.kit.log import Records, recorded
from tests.kit.memory import Wire, close, request, text, wired
from tests.kit.processes import run


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


#: For the digests of subjects, and what makes them.
KEY = b"a key for the digests of these tests"
NAMES = PrincipalNames(KEY)


class NoSuchRoom(Exception):
    """Something that the policy of the app knows."""


@frozen
class User:
    """A principal with a subject."""

    subject: str


@guard
async def ann(gate: Gate, proved: Anonymous) -> User:
    """Everybody is Ann."""
    return User("ann@example.com")


@guard
async def nobody(gate: Gate, proved: Anonymous) -> User:
    """Let nobody in."""
    raise Forbidden("ann@example.com is not welcome")


def told(outcomes: list[Outcome], door: Guard[Anonymous, User] = ann, reports: list[ErrorReport] | None = None) -> App:
    """An app whose outcomes are kept: it echoes at ``/``, and fails when it is told ``fail``."""
    app = App(
        on_end=outcomes.append,
        report=([] if reports is None else reports).append,
        errors=ErrorPolicy().on(NoSuchRoom, Refuse(404), Close(4404, "no such room")),
        limits=Limits(lifetime=100),
        log_key=KEY,
    )

    @app.route("/", guard=door, name="echo")
    async def echo(conn: Connection[User]) -> None:
        async for message in conn:
            if message == "fail":
                raise NoSuchRoom("seven")
            if message == "leave":
                return
            if message == "close":
                await conn.aclose(4000, "enough")
            await conn.send(message)

    app.page("/page", "hello")
    return app


# What the end is, and on whose part; code, reason, and the rule behind it.
ENDS = {
    "leave": (Cause.RETURNED, 1000, "", ""),
    "close": (Cause.CLOSED, 4000, "enough", ""),
    "fail": (Cause.FAILED, 4404, "no such room", "NoSuchRoom"),
    "sleep": (Cause.LIFETIME, 3008, "lifetime reached", "LifetimeReached"),
}


@pytest.mark.parametrize("word", ENDS)
async def test_an_end_of_ours(word: str, autojump_clock: MockClock, records: Records) -> None:
    """It is told once, with code, reason, rule, principal, and what went in and out."""
    outcomes = list[Outcome]()
    async with connect(told(outcomes), "/") as client:
        await client.send("hello")
        assert await client.receive() == "hello"
        if word != "sleep":
            await client.send(word)
        await client.wait_closed()
    (outcome,) = outcomes
    cause, code, reason, rule = ENDS[word]
    assert (outcome.cause, outcome.code, outcome.reason, outcome.rule) == (cause, code, reason, rule)
    assert (outcome.route, outcome.peer, outcome.connection[0]) == ("echo", "memory", "c")
    assert (outcome.messages_in, outcome.messages_out) == (1 + (word != "sleep"), 1)
    assert outcome.seconds == (100 if word == "sleep" else 0)
    digest = hashlib.blake2b(b"ann@example.com", key=KEY, digest_size=5).hexdigest()
    assert outcome.principal == f"User:{digest}"
    (line,) = records.lines("connection")
    assert f"memory User:{digest} echo: {cause.value}, {code} {reason!r} after" in line
    assert "ann@" not in line


async def test_an_end_of_the_peers(autojump_clock: MockClock) -> None:
    """Code and reason are the peer's, and the bytes are those that the network carried."""
    outcomes = list[Outcome]()
    said = text("hello") + close(4001, "bye")
    async with wired(told(outcomes), wire := Wire()) as peer:
        await peer.open()
        await peer.say(said)
        await peer.rest()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
    (outcome,) = outcomes
    assert (outcome.cause, outcome.cause.by) == (Cause.PEER_CLOSED, Party.PEER)
    assert (outcome.code, outcome.reason) == (4001, "bye")
    assert (outcome.messages_in, outcome.bytes_in) == (1, len(said))
    assert (outcome.messages_out, outcome.bytes_out) == (0, len(wire.written))


async def test_what_comes_with_the_request_is_counted_once(autojump_clock: MockClock) -> None:
    """Bytes that were kept until the upgrade, and those after it."""
    outcomes = list[Outcome]()
    early, late = text("early"), text("late") + close(1000)
    async with wired(told(outcomes), Wire()) as peer:
        await peer.open(early=early)
        await peer.say(late)
        await peer.rest()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
    (outcome,) = outcomes
    assert (outcome.messages_in, outcome.bytes_in) == (2, len(early) + len(late))


async def test_who_is_not_let_in(autojump_clock: MockClock) -> None:
    """A refusal names the rule; its detail is for the log, and nobody was proved."""
    outcomes = list[Outcome]()
    with pytest.raises(Rejected):
        async with connect(told(outcomes, nobody), "/"):
            pass
    (outcome,) = outcomes
    assert (outcome.cause, outcome.cause.by, outcome.code) == (Cause.REFUSED, Party.SERVER, 403)
    assert (outcome.rule, outcome.principal, outcome.messages_in) == ("Forbidden", "", 0)


@pytest.mark.parametrize(
    ("asked", "cause", "code", "by"),
    [
        (b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n", Cause.ANSWERED, 200, Party.SERVER),
        (request("/nowhere"), Cause.REFUSED, 404, Party.SERVER),
        (b"nonsense", Cause.REFUSED, 400, Party.SERVER),
        (b"", Cause.PEER_VANISHED, 1006, Party.PEER),
    ],
)
async def test_an_end_before_there_is_a_route(
    asked: bytes, cause: Cause, code: int, by: Party, autojump_clock: MockClock
) -> None:
    """Pages, errors, and who leaves before the request are told of too."""
    outcomes = list[Outcome]()
    async with wired(told(outcomes), Wire()) as peer:
        if asked:
            await peer.say(asked)
            await peer.rest()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
    (outcome,) = outcomes
    assert (outcome.cause, outcome.code, outcome.cause.by, outcome.route) == (cause, code, by, "")
    assert (outcome.messages_in, outcome.messages_out, outcome.bytes_in) == (0, 0, 0)


async def test_an_application_that_fails_to_listen(autojump_clock: MockClock, records: Records) -> None:
    """What ``on_end`` raises is logged, and the next connection is served."""

    def fail(outcome: Outcome) -> None:
        raise NoSuchRoom

    app = App(on_end=fail)

    @app.route("/", guard=public)
    async def leave(conn: Connection[Anonymous]) -> None:
        pass

    async with serve(app) as served:
        for _ in range(2):
            async with served.connect("/") as client:
                assert await client.wait_closed() == (1000, "")
    assert records.lines("error") == ["App(on_end=...) raised"] * 2
    assert records.ends == ["handler returned, 1000 ''"] * 2


async def test_a_report_says_who_and_when(autojump_clock: MockClock) -> None:
    """A failure is reported with the peer, the principal, redacted, and the moment."""
    reports = list[ErrorReport]()
    before = time.time()
    async with connect(told([], reports=reports), "/") as client:
        await client.send("fail")
        assert await client.wait_closed() == (4404, "no such room")
    (report,) = reports
    assert (report.peer, report.principal) == ("memory", NAMES.name_of(User("ann@example.com")))
    assert before <= report.at <= time.time()


class Odd:
    """A principal whose subject cannot be had."""

    @property
    def subject(self) -> str:
        """Raises."""
        raise NoSuchRoom


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        (None, ""),
        (Anonymous(), "Anonymous"),
        (Odd(), "Odd"),
        (User("\ud800"), "User:" + hashlib.blake2b(b"\xed\xa0\x80", key=KEY, digest_size=5).hexdigest()),
        (type("Bad\nName", (), {})(), "Bad\\x0aName"),
    ],
)
def test_names_of_principals(principal: object, name: str) -> None:
    """A name gives away nobody, and can break no line."""
    assert NAMES.name_of(principal) == name


def test_every_cause_is_on_somebodys_part() -> None:
    """The peer's and the application's are named; all the others are the server's."""
    assert {cause for cause in Cause if cause.by is Party.PEER} == {Cause.PEER_CLOSED, Cause.PEER_VANISHED}
    assert {cause for cause in Cause if cause.by is Party.APPLICATION} == {
        Cause.RETURNED,
        Cause.CLOSED,
        Cause.ENDED,
        Cause.FAILED,
    }


class Strange(BaseException):
    """Neither an `Exception` nor Trio's, as what ``pytest.fail`` raises."""


CALLBACKS = ("report", "on_end", "policy")


def app_whose(callback: str, raised: type[BaseException]) -> App:
    """An app with a callback that raises; ``/fails`` leads to it."""

    def odd(*_: object) -> NoReturn:
        raise raised

    match callback:
        case "report":
            app = App(report=odd)
        case "on_end":
            app = App(on_end=odd)
        case _:
            app = App(errors=ErrorPolicy().on(ValueError, odd))

    @app.route("/fails", guard=public)
    async def fails(conn: Connection[Anonymous]) -> None:
        raise ValueError

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    return app


@pytest.mark.parametrize("raised", [OSError, Strange, GeneratorExit])
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_a_callback_that_raises(callback: str, raised: type[BaseException], records: Records) -> None:
    """Nobody notices but the log, which has its traceback."""
    async with serve(app_whose(callback, raised)) as served, served.connect("/echo") as bystander:
        async with served.connect("/fails") as client:
            assert (await client.wait_closed()).code == 1011
        await bystander.send("still there?")
        assert await bystander.receive() == "still there?"
    assert any(record.levelname == "ERROR" and record.exc_text for record in records.found)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_a_callback_that_ends_the_program(
    callback: str, raised: type[BaseException], autojump_clock: MockClock
) -> None:
    """It comes out of ``serve`` in one flat group, with where it was; the others read 1001."""
    codes = list[int]()
    notes = pytest.RaisesExc(raised, check=lambda fatal: fatal.__notes__[0].startswith("seawall: "))
    ends = 2 if callback == "on_end" else 1  # of both connections
    with pytest.RaisesGroup(pytest.RaisesGroup(*[notes] * ends)):
        async with serve(app_whose(callback, raised)) as served, served.connect("/echo") as bystander:
            with trio.CancelScope(shield=True):
                async with served.connect("/fails") as client:
                    await client.wait_closed()
                codes.append((await bystander.wait_closed()).code)
            await trio.sleep_forever()
    assert codes == [1001]


@pytest.mark.parametrize("callback", ["report", "on_end"])
async def test_a_callback_that_always_fails_does_not_fill_the_disk(callback: str, records: Records) -> None:
    """Ten of a kind in a minute, as of any failure, and then their number."""
    async with serve(app_whose(callback, OSError)) as served:
        for _ in range(30):
            async with served.connect("/fails") as client:
                await client.wait_closed()
    said = [record.getMessage() for record in records.found]
    assert said.count(f"App({callback}=...) raised") == 10
    assert any(line.startswith("20 more of the same were not logged: App(") for line in said)


def test_a_subject_that_cannot_be_shown() -> None:
    """A principal may be of any class, and so may its subject."""

    class Subject(str):
        __slots__ = ()

        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            raise OSError(encoding, errors)

    assert NAMES.name_of(User(Subject("ann"))) == "User"


def test_mended_20_a_digest_needs_the_key() -> None:
    """Whoever has only the log cannot try all numbers; who has the key can, and so can another process that has it."""
    numbered = User("4711")
    name = PrincipalNames().name_of(numbered)
    assert name == PrincipalNames().name_of(numbered)
    for function in (hashlib.sha256, hashlib.blake2b, hashlib.sha1, hashlib.md5):
        assert function(b"4711").hexdigest()[:10] not in name
    assert name != NAMES.name_of(numbered) != PrincipalNames("another key, of another process").name_of(numbered)
    assert NAMES.name_of(numbered) == PrincipalNames(KEY.decode()).name_of(numbered)
    assert KEY.decode() not in repr(NAMES)


@pytest.mark.slow
def test_mended_20_two_processes_have_two_keys() -> None:
    """Unless they are given one: the digests of a subject, here and in a new process, cannot be compared."""
    program = (
        "from seawall.observability.principals import PrincipalNames as P\n"
        "from types import SimpleNamespace as N\n"
        "print(P().name_of(N(subject='1')), P('0123456789abcdef').name_of(N(subject='1')))"
    )
    status, out, err = run("-c", program)
    assert (status, err) == (0, "")
    one = SimpleNamespace(subject="1")
    mine, same = PrincipalNames().name_of(one), PrincipalNames("0123456789abcdef").name_of(one)
    yours, as_well = out.split()
    assert mine != yours
    assert same == as_well


@pytest.mark.parametrize("key", ["", "short", b"x" * (MIN_KEY - 1), "x" * (MAX_KEY + 1), "hunter2hunter2hunter2\ud800"])
def test_mended_20_a_key_that_is_none(key: str | bytes) -> None:
    """It is refused when the app is made, and not repeated."""
    with pytest.raises(ConfigurationError, match=r"^App\(log_key=\.\.\.\)") as caught:
        App(log_key=key)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).partition("Error: ")[2]
