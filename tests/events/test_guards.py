"""The guards of events: what they prove, hold and may not do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from attrs import define, frozen
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Events,
    Forbidden,
    Gate,
    NoCredentials,
    TooManyRequests,
    Unauthorized,
    bearer,
    check,
    guard,
    has_scope,
    inherited,
    public,
)
from seawall.testing import connect
from seawall.tokens import first_message
from tests.kit.log import recorded
from tests.kit.talk import Answer, Ask, Count, Fail, Said, Say, Talker, Wait, error, talking, with_ref
from tests.kit.tokens import by, token, verifier


@frozen
class Member:
    """Whom the guards of these events prove."""

    name: str


@guard
async def member(gate: Gate, proved: Anonymous) -> Member:
    """Let in who says who they are in the handshake."""
    name = gate.handshake.query.removeprefix("name=")
    if not name:
        raise NoCredentials
    return Member(name)


async def test_a_guard_narrows(autojump_clock: MockClock) -> None:
    """The handler's connection has the principal that the guard proves, and is the same connection."""
    events = Events[Anonymous]()
    ids: list[str] = []

    @events.on(Say, guard=member)
    async def say(conn: Connection[Member], message: Say) -> Said:
        ids.append(conn.id)
        await conn.send("pushed")
        return Said(f"{conn.principal.name}: {message.text}")

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        ids.append(conn.id)
        assert conn.principal == Anonymous()

    async with talking(events, "/?name=ada") as talker:
        await talker.say({"type": "say", "text": "hi"})
        assert await talker.client.receive() == "pushed"
        assert await talker.hear() == {"type": "said", "text": "ada: hi"}
        await talker.ask({"type": "wait", "ref": 1})
    assert len(set(ids)) == 1


@pytest.mark.parametrize("ref", [None, 1])
async def test_no_credentials(ref: int | None, autojump_clock: MockClock) -> None:
    """Who has none is unauthorized, and the connection goes on."""
    events = Events[Anonymous]()

    @events.on(Say, guard=member)
    async def say(conn: Connection[Member], message: Say) -> Said:
        raise AssertionError("unreachable")

    async with talking(events) as talker:
        for _ in range(12):
            message = with_ref({"type": "say", "text": "hi"}, ref)
            assert await talker.ask(message) == error("unauthorized", ref)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Forbidden("not you"), error("forbidden", 1)),
        (Unauthorized("who are you?"), error("unauthorized", 1)),
        (TooManyRequests("slower", retry_after=3), error("too_many_requests", 1, retry_after=3.0)),
    ],
    ids=["forbidden", "unauthorized", "too many"],
)
async def test_a_check(refusal: Exception, expected: object, autojump_clock: MockClock) -> None:
    """A check lets through or refuses, for each message; the handler is not called then."""
    called: list[str] = []
    asked: list[str] = []

    @check
    async def polite(gate: Gate, principal: object, room: str) -> None:
        asked.append(room)
        if gate.params["room"] == "closed":
            raise refusal

    events = Events[Anonymous]()

    @events.on(Say, guard=polite)
    async def say(conn: Connection[Anonymous], message: Say, room: str) -> Said:
        called.append(room)
        return Said(room)

    app = App()
    app.route("/{room}", guard=public)(events)
    async with connect(app, "/closed") as client:
        assert await Talker(client).ask({"type": "say", "ref": 1, "text": "hi"}) == expected
    async with connect(app, "/open") as client:
        assert (await Talker(client).ask({"type": "say", "ref": 1, "text": "hi"}))["text"] == "open"
    assert (asked, called) == (["closed", "open"], ["open"])


async def test_scopes_and_a_renewal_in_the_middle_of_a_stream(autojump_clock: MockClock) -> None:
    """A guard looks at the principal of now; a stream goes on over a renewal, and sees the new one."""
    events = Events[Claims]()

    @guard
    async def writer(gate: Gate, claims: Claims) -> Member:
        if "chat:write" not in claims.scopes:
            raise Forbidden("no scope")
        return Member(claims.subject or "?")

    @events.on(Say, guard=has_scope("chat:write"))
    async def say(conn: Connection[Claims], message: Say) -> Said:
        return Said(message.text)

    @events.on(Fail, guard=writer)
    async def renewing(conn: Connection[Member], message: Fail) -> Said:
        await conn.renew(message.how)
        return Said(conn.principal.name)

    @events.on(Ask)
    async def renew(conn: Connection[Claims], message: Ask) -> None:
        await conn.renew(message.q)

    @events.on(Count)
    async def count(conn: Connection[Claims], message: Count) -> AsyncGenerator[Said]:
        for _ in range(message.n):
            yield Said(" ".join(sorted(conn.principal.scopes)))
            await trio.sleep(1)

    app = App()
    app.route("/", guard=bearer(verifier))(events)
    async with connect(app, "/", headers=by(token(scope="chat:read"))) as client:
        talker = Talker(client)
        assert await talker.ask({"type": "say", "ref": 1, "text": "hi"}) == error("forbidden", 1)
        assert await talker.ask({"type": "fail", "ref": 1, "how": ""}) == error("forbidden", 1)
        assert (await talker.ask({"type": "count", "ref": 2, "n": 3}))["text"] == "chat:read"
        assert await talker.ask({"type": "ask", "ref": 3, "q": token(scope="chat:write")}) == {"type": "done", "re": 3}
        assert [one.get("text") for one in await talker.hear_many(3)] == ["chat:write", "chat:write", None]
        assert (await talker.ask({"type": "say", "ref": 1, "text": "hi"}))["text"] == "hi"
        # A narrowed connection renews the connection that it is; its own principal was proved for this one event.
        assert (await talker.ask({"type": "fail", "ref": 4, "how": token(scope="x")}))["text"] == "ada"
        assert await talker.ask({"type": "say", "ref": 1, "text": "hi"}) == error("forbidden", 1)


@define(eq=False)
class Resource:
    """Writes down when it is entered and left."""

    lines: list[str]
    name: str
    fails: bool = False

    async def __aenter__(self) -> None:
        """Enter."""
        self.lines.append(f"enter {self.name}")
        await trio.lowlevel.checkpoint()

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Leave."""
        self.lines.append(f"leave {self.name} {kind.__name__ if kind else 'well'}")
        if self.fails:
            raise Forbidden("cannot commit")


def holding(lines: list[str], *, fails: bool = False) -> Events[Anonymous]:
    """Events whose guard enters two resources."""

    @check
    async def first(gate: Gate, principal: object) -> None:
        await gate.enter(Resource(lines, "a", fails=fails))
        await gate.enter(Resource(lines, "b"))

    events = Events[Anonymous]()

    @events.on(Say, guard=first)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        lines.append("handle")
        return Said(message.text)

    @events.on(Fail, guard=first)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        raise Forbidden("no")

    @events.on(Wait, guard=first)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        await trio.sleep_forever()

    @events.on(Count, guard=first)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        lines.append("handle")
        yield Said("one")
        lines.append("handled")

    @events.on(Ask, guard=first, timeout=2)
    async def ask(conn: Connection[Anonymous], message: Ask) -> None:
        await events.request(conn, message, Answer, timeout=10)

    return events


@pytest.mark.parametrize("ref", [None, 1])
async def test_enter(ref: int | None, autojump_clock: MockClock) -> None:
    """What a guard enters is left in reverse when that event ends, before it is answered."""
    lines: list[str] = []
    async with talking(holding(lines)) as talker:
        for _ in range(2):
            assert (await talker.ask(with_ref({"type": "say", "text": "hi"}, ref)))["text"] == "hi"
            assert lines == ["enter a", "enter b", "handle", "leave b well", "leave a well"]
            lines.clear()
        await talker.say(with_ref({"type": "count"}, ref))
        await talker.hear_many(1 if ref is None else 2)
        await trio.sleep(1)
        assert lines == ["enter a", "enter b", "handle", "handled", "leave b well", "leave a well"]
        lines.clear()
        assert await talker.ask(with_ref({"type": "fail"}, ref)) == error("forbidden", ref)
        assert lines == ["enter a", "enter b", "leave b Forbidden", "leave a Forbidden"]


async def test_enter_and_cancel(autojump_clock: MockClock) -> None:
    """It is left when the event is cancelled, by its client, by its timeout, or because the peer leaves."""
    lines: list[str] = []
    async with talking(holding(lines)) as talker:
        await talker.say({"type": "wait", "ref": 1})
        await trio.sleep(1)
        assert await talker.ask({"type": "cancel", "ref": 1}) == error("cancelled", 1)
        assert lines == ["enter a", "enter b", "leave b Cancelled", "leave a Cancelled"]
        lines.clear()
        await talker.ask({"type": "ask", "ref": 2})
        assert await talker.hear() == error("timeout", 2)
        assert lines == ["enter a", "enter b", "leave b Cancelled", "leave a Cancelled"]
        lines.clear()
        await talker.say({"type": "wait", "ref": 1})
        await trio.sleep(1)
    assert lines == ["enter a", "enter b", "leave b Cancelled", "leave a Cancelled"]


@pytest.mark.parametrize("type_", ["say", "fail", "count"])
async def test_a_resource_that_cannot_be_left(type_: str, autojump_clock: MockClock) -> None:
    """What leaving raises is what the event fails with: there is one final answer."""
    async with talking(holding([], fails=True)) as talker:
        await talker.say({"type": type_, "ref": 1} | ({"text": "hi"} if type_ == "say" else {}))
        if type_ == "count":
            assert (await talker.hear())["type"] == "said"
        assert await talker.hear() == error("forbidden", 1)
        await talker.silence(3)


async def test_a_resource_that_swallows(autojump_clock: MockClock) -> None:
    """Who has asked is answered, although what the handler has raised was swallowed."""

    @asynccontextmanager
    async def swallowing() -> AsyncGenerator[None]:
        try:
            yield
        except Forbidden:
            pass

    @check
    async def swallow(gate: Gate, principal: object) -> None:
        await gate.enter(swallowing())

    events = Events[Anonymous]()

    @events.on(Fail, guard=swallow)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        raise Forbidden("no")

    async with talking(events) as talker:
        assert await talker.ask({"type": "fail", "ref": 1}) == error("cancelled", 1)
        await talker.say({"type": "fail"})
        await talker.silence(3)


FORBIDDEN_CALLS: dict[str, Callable[[Gate], object]] = {
    "lease": lambda gate: gate.lease(expires_at=1e12),
    "admit_by": lambda gate: gate.admit_by(verifier, "token"),
    "accept": lambda gate: gate.accept(),
    "receive_text": lambda gate: gate.receive_text(),
    "send_text": lambda gate: gate.send_text("hello"),
}


@pytest.mark.parametrize("name", FORBIDDEN_CALLS)
async def test_what_such_a_guard_may_not_do(name: str, autojump_clock: MockClock) -> None:
    """What belongs to the guards of routes is a `ConfigurationError`, and 1011 to the peer."""

    @check
    async def wrong(gate: Gate, principal: object) -> None:
        outcome = FORBIDDEN_CALLS[name](gate)
        if isinstance(outcome, Awaitable):
            await cast("Awaitable[object]", outcome)

    events = Events[Anonymous]()

    @events.on(Say, guard=wrong)
    async def say(conn: Connection[Anonymous], message: Say) -> None:
        raise AssertionError("unreachable")

    with recorded() as log:
        async with talking(events) as talker:
            await talker.say({"type": "say", "text": "hi"})
            code, reason = await talker.end()
    assert code == 1011
    assert reason.startswith("internal error, incident ")
    assert f"gate.{name}() in the guard of an event" in " ".join(
        str(record.exc_info) + record.getMessage() for record in log.found
    )


@pytest.mark.parametrize("kind", ["bearer", "first_message", "within a chain", "one of two"])
def test_guards_that_take_a_token_are_refused(kind: str) -> None:
    """A guard that wants a token is refused where the event is defined; the client has shown its token already."""
    taking = {
        "bearer": bearer(verifier),
        "first_message": bearer(verifier, first_message()),
        "within a chain": bearer(verifier) >> has_scope("x"),
        "one of two": bearer(verifier) | member,
    }[kind]
    events = Events[Anonymous]()
    with pytest.raises(
        ConfigurationError, match=r"say\(\).*test_guards\.py:\d+.*the guard takes a token.*guard=has_scope"
    ):

        @events.on(Say, guard=taking)
        async def say(conn: Connection[object], message: Say) -> None: ...


async def test_combined_guards(autojump_clock: MockClock) -> None:
    """Chains, alternatives and `inherited` work as for routes."""

    @check
    async def not_eve(gate: Gate, who: Member) -> None:
        if who.name == "eve":
            raise Forbidden("eve")

    @check
    async def polite(gate: Gate, who: object) -> None: ...

    events = Events[Anonymous]()

    @events.on(Say, guard=member >> not_eve)
    async def say(conn: Connection[Member], message: Say) -> Said:
        return Said(conn.principal.name)

    @events.on(Fail, guard=member | public)
    async def fail(conn: Connection[Member | Anonymous], message: Fail) -> Said:
        return Said(type(conn.principal).__name__)

    @events.on(Wait, guard=inherited(polite))
    async def wait(conn: Connection[Anonymous], message: Wait) -> None: ...

    async with talking(events, "/?name=eve") as talker:
        assert await talker.ask({"type": "say", "ref": 1, "text": ""}) == error("forbidden", 1)
        assert (await talker.ask({"type": "fail"}))["text"] == "Member"
    async with talking(events) as talker:
        assert (await talker.ask({"type": "fail"}))["text"] == "Anonymous"
        assert await talker.ask({"type": "wait", "ref": 1}) == {"type": "done", "re": 1}


async def test_lifespan_values(autojump_clock: MockClock) -> None:
    """A guard of an event sees what the app provides."""
    app = App()

    @app.lifespan
    @asynccontextmanager
    async def names() -> AsyncGenerator[frozenset[str]]:
        yield frozenset({"ada"})

    @check
    async def known(gate: Gate, who: object) -> None:
        if gate.handshake.query.removeprefix("name=") not in gate.provided(names):
            raise Forbidden("unknown")

    events = Events[Anonymous]()

    @events.on(Say, guard=known)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        return Said(message.text)

    app.route("/", guard=public)(events)
    for name, expected in (("ada", "said"), ("eve", "error")):
        async with connect(app, f"/?name={name}") as client:
            assert (await Talker(client).ask({"type": "say", "text": "hi"}))["type"] == expected


async def test_a_guard_that_proves_nobody(autojump_clock: MockClock) -> None:
    """A guard that returns None, or a check that returns False, lets nobody in: 1011."""

    @guard
    async def forgetful(gate: Gate, proved: Anonymous) -> Member:
        return None  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # as a program without a checker

    events = Events[Anonymous]()

    @events.on(Say, guard=forgetful)
    async def say(conn: Connection[Member], message: Say) -> None:
        raise AssertionError("unreachable")

    async with talking(events) as talker:
        await talker.say({"type": "say", "text": "hi"})
        assert (await talker.end()).code == 1011
