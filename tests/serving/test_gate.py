"""The parts of a connection, each built alone: a gate without a wire, what judges failures, what receives a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    Claims,
    ConfigurationError,
    Connection,
    Disconnected,
    Forbidden,
    Gate,
    Handshake,
    LeaseExpired,
    NoCredentials,
    Revoked,
    Sessions,
    TokenExpired,
    Unauthorized,
    bearer,
    check,
    guard,
    has_scope,
)
from seawall.connection.deadlines import Deadline, DeadlineQueue
from seawall.connection.leases import Notice
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.session_table import Registration
from seawall.connection.sessions import table_of
from seawall.connection.subscriptions import Subscriptions
from seawall.connection.timeouts import Timeouts
from seawall.lifespan import Provided, Values
from seawall.limits import Limits
from seawall.messages.codec import Sendable
from seawall.policy.ending import Cause, End, cause_of
from seawall.policy.verdicts import Phase
from seawall.routing.route import Route
from seawall.serving.gate import ConnectionGate
from seawall.serving.renewal import renewal_of
from seawall.serving.resources import ReleaseLimits, ResourceStack
from seawall.tokens import first_message
from seawall.wire.lateness import Lateness
from tests.kit.tokens import by, token, verifier


@define(eq=False)
class Letter:
    """An upgrade that has been accepted, with one message in it, and no wire."""

    message: str | bytes = ""
    accepted: bool = False
    speaks_json: bool = False
    sent: list[str] = field(factory=list[str])

    async def accept(self) -> None:
        """It is."""
        await trio.lowlevel.checkpoint()
        self.accepted = True

    async def receive(self) -> str | bytes:
        """The message."""
        await trio.lowlevel.checkpoint()
        if not self.message:
            raise Disconnected("c1")
        return self.message

    async def send(self, text: str, /) -> None:
        """Keep it."""
        await trio.lowlevel.checkpoint()
        self.sent.append(text)

    def notice(self, message: Sendable, /) -> Notice:
        """None: there is no peer."""
        raise NotImplementedError

    @property
    def subscriptions(self) -> Subscriptions:
        """None yet."""
        return Subscriptions()


@define(eq=False)
class Without:
    """Everything that a gate is made of, without a stream."""

    nursery: trio.Nursery
    deadlines: DeadlineQueue = field(factory=DeadlineQueue)
    upgrade: Letter = field(factory=Letter)
    sessions: Sessions = field(factory=lambda: Sessions(at_most=None))
    settled: list[tuple[str, Phase]] = field(factory=list[tuple[str, Phase]])
    lifecycle: Lifecycle = field(init=False)
    resources: ResourceStack = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the parts."""
        deadline = Deadline(self.deadlines, self)
        timeouts = Timeouts(Limits(), Lateness())
        self.lifecycle = Lifecycle(timeouts, trio.CancelScope(), deadline, listener=None)
        self.resources = ResourceStack(self.nursery, self)

    def settle(self, raised: BaseException, phase: Phase) -> None:
        """Remember."""
        self.settled.append((repr(raised), phase))

    def on_due(self, now: float) -> None:
        """End as a connection does."""
        if (failure := self.lifecycle.timeouts.check(now)) is not None:
            self.lifecycle.end(End(cause_of(failure), 3000))

    def on_fault(self, fault: Exception) -> None:
        """Nothing here fails."""
        raise fault

    def gate(self, headers: dict[str, str], values: Values | None = None) -> ConnectionGate:
        """A gate for a request with these headers."""
        fields = tuple((name.lower(), value) for name, value in headers.items())
        return ConnectionGate(
            asked=Handshake(path="/", host="seawall.test", key="", headers=fields, peer="memory"),
            arguments={},
            values=values or Values({}),
            lifecycle=self.lifecycle,
            registration=Registration(table_of(self.sessions), self.lifecycle),
            resources=self.resources,
            upgrade=self.upgrade,
        )


@frozen
class Pass:
    """A credential that is not a token."""

    issued_at: float
    subject: str = "ada"
    token_id: str | None = None


@asynccontextmanager
async def without_wire() -> AsyncGenerator[Without]:
    """The parts of a gate, and a queue that minds its deadlines."""
    async with trio.open_nursery() as nursery:
        made = Without(nursery)
        nursery.start_soon(made.deadlines.run)
        yield made
        nursery.cancel_scope.cancel()


@check
async def not_banned(gate: Gate, claims: Claims) -> None:
    """A check of an application."""
    if claims.subject == "eve":
        raise Forbidden("banned")


async def test_a_chain_runs_on_a_gate_without_a_wire(autojump_clock: MockClock) -> None:
    """``bearer >> check`` proves, leases and identifies; nothing of it needs a stream."""
    chain = bearer(verifier) >> has_scope("chat") >> not_banned
    async with without_wire() as made:
        gate = made.gate(by(token("ada", seconds=30, scope="chat")))
        claims = await chain.admit(gate, Anonymous())
        assert claims.subject == "ada"
        assert made.lifecycle.timeouts.leases.ends_at == pytest.approx(trio.current_time() + 30, abs=1)
        assert len(made.sessions) == 1
        assert not made.upgrade.accepted
        await trio.sleep(31)
        assert made.lifecycle.ended is not None
        assert made.lifecycle.ended.cause is Cause.LEASE_EXPIRED


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        (dict, NoCredentials),
        (lambda: by(token("ada", seconds=-100, scope="chat")), TokenExpired),
        (lambda: by(token("ada")), Forbidden),
        (lambda: by(token("eve", scope="chat")), Forbidden),
    ],
    ids=["no token", "expired", "no scope", "banned"],
)
async def test_a_chain_refuses_without_a_wire(headers: Callable[[], dict[str, str]], refusal: type[Exception]) -> None:
    """What it raises comes out as it is; deciding about it is somebody else's part."""
    chain = bearer(verifier) >> has_scope("chat") >> not_banned
    async with without_wire() as made:
        with pytest.raises(refusal):
            await chain.admit(made.gate(headers()), Anonymous())


async def test_a_guard_that_talks(autojump_clock: MockClock) -> None:
    """Only accepting and messages need an upgrade; any object will do for one."""
    async with without_wire() as made:
        made.upgrade.message = token("ada")
        claims = await bearer(verifier, first_message()).admit(made.gate({}), Anonymous())
        assert claims.subject == "ada"
        assert made.upgrade.accepted


async def test_talking_before_the_upgrade() -> None:
    """It is a mistake of the guard's, whatever is behind the gate."""
    async with without_wire() as made:
        gate = made.gate({})
        with pytest.raises(ConfigurationError, match=r"gate.send_text\(\) before the upgrade"):
            await gate.send_text("hello")
        with pytest.raises(ConfigurationError, match=r"gate.receive_text\(\) before the upgrade"):
            await gate.receive_text()
        await gate.accept()
        await gate.send_text("hello")
        assert made.upgrade.sent == ["hello"]
        with pytest.raises(Disconnected):
            await gate.receive_text()


async def test_a_revoked_connection_without_a_wire(autojump_clock: MockClock) -> None:
    """Revoking finds a connection by its registration, and ends it by its lifecycle."""
    async with without_wire() as made:
        await bearer(verifier).admit(made.gate(by(token("ada"))), Anonymous())
        assert await made.sessions.revoke(subject="ada") == 1
        await trio.testing.wait_all_tasks_blocked()
        assert made.lifecycle.ended == End(cause_of(Revoked()), 3000)


async def test_resources_without_a_connection(autojump_clock: MockClock) -> None:
    """A resource is entered once, left when it is told, and its failure goes to who was named for that."""
    steps = list[str]()

    @asynccontextmanager
    async def lamp() -> AsyncGenerator[str]:
        steps.append("on")
        try:
            yield "light"
        finally:
            steps.append("off")
            raise OSError("the bulb is broken")

    @guard
    async def lit(gate: Gate, proved: Anonymous) -> str:
        return await gate.enter(lamp())

    async with without_wire() as made:
        assert await lit.admit(made.gate({}), Anonymous()) == "light"
        release = ReleaseLimits(seconds=1, on_late=steps.append, cleanup=1, on_stuck=steps.append)
        await made.resources.leave(None, release)
        assert steps == ["on", "off"]
        assert made.settled == [("OSError('the bulb is broken')", Phase.RELEASE)]


async def test_lifespan_values_at_the_gate() -> None:
    """The gate gives what the app provides."""

    @asynccontextmanager
    async def database() -> AsyncGenerator[str]:
        yield "rows"

    handle = Provided(database, "database")
    async with without_wire() as made:
        assert made.gate({}, Values({handle: "rows"})).provided(handle) == "rows"


async def test_another_wall_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """One function is asked for Unix time: replaced, tokens, leases and revocations go by it."""
    monkeypatch.setattr("seawall.clock.source", lambda: 5_000_000_000.0 + trio.current_time())
    async with without_wire() as made:
        made.lifecycle.lease(5_000_000_000.0 + trio.current_time() + 10)
        assert made.lifecycle.timeouts.leases.ends_at == pytest.approx(trio.current_time() + 10)
        await made.sessions.revoke(subject="ada")
        assert made.sessions.is_revoked(Pass(4_999_999_999.0))
        assert not made.sessions.is_revoked(Pass(5_100_000_000.0))


@define
class Told:
    """What the renewal tells of itself."""

    principal: object = None
    connection: str = "c1"

    def report(self, failure: Exception) -> str:
        """Nothing else fails."""
        raise failure


async def test_mended_01_a_renewal_alone() -> None:
    """It needs no wire: a route, a gate that has let somebody in, and who is told."""
    entered = list[str]()

    @asynccontextmanager
    async def lamp() -> AsyncGenerator[None]:
        entered.append("on")
        yield

    @guard
    async def lit(gate: Gate, claims: Claims) -> str:
        await gate.enter(lamp())
        if claims.token_id == "3":
            raise Forbidden("no more")
        return claims.token_id or ""

    async def never(conn: Connection[str]) -> None:
        raise AssertionError

    route, told = Route(path="/", guard=bearer(verifier) >> lit, handler=never), Told()
    async with without_wire() as made:
        gate = made.gate(by(token(jti="1", sid="s")))
        assert (await route.admit(gate)).principal == "1"
        renewal = renewal_of(route, gate, told, made.settle)
        await renewal.renew(token(jti="2", sid="s", seconds=900))
        assert (told.principal, entered) == ("2", ["on"])
        assert made.lifecycle.timeouts.leases.ends_at == pytest.approx(trio.current_time() + 900, abs=1)
        with pytest.raises(Unauthorized):
            await renewal.renew(token(jti="2", sid="t"))
        with pytest.raises(Disconnected):
            await renewal.renew(token(jti="3", sid="s"))
        assert made.settled == [("Forbidden('no more')", Phase.GUARD)]
        assert told.principal == "2"
        assert await made.sessions.revoke(session_id="s", token_id="2") == 1
        await wait_all_tasks_blocked()
        with pytest.raises(LeaseExpired):  # it has ended
            await renewal.renew(token(jti="4", sid="s"))
        release = ReleaseLimits(seconds=1, on_late=entered.append, cleanup=1, on_stuck=entered.append)
        await made.resources.leave(None, release)
