"""`InboundBudget`: bounded memory for what nobody has received, taken from those that hold most."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, evolve, field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Gate, Limits, Outcome, guard, public
from seawall.errors import ProtocolViolation
from seawall.testing import serve
from seawall.wire.inbound_budget import COUNTED_FROM, UNTOUCHED, InboundBudget
from tests.kit.channels import alone
from tests.kit.memory import Peer, request, text
from tests.kit.sockets import Transport, everywhere, serving, until
from tests.kit.wire import BINARY, RawClient, frame

KIB: Final = 1024


@define(eq=False)
class One:
    """A connection, as far as the budget knows one."""

    budget: InboundBudget
    hard: int = 4 * 1024 * KIB
    queued: int = 0
    unfinished: int = 0
    faults: list[Exception] = field(factory=list[Exception])
    has_left: bool = False

    def set_hard_mark(self, hard: int, /) -> int:
        """Move the mark."""
        before, self.hard = self.hard, hard
        return before

    def fail(self, fault: Exception, /) -> None:
        """Note why it ends."""
        self.faults.append(fault)
        self.leave()

    @property
    def is_paused(self) -> bool:
        """Whether its mark has been moved."""
        return self.hard == UNTOUCHED

    def put(self, size: int) -> None:
        """A message of this size comes."""
        self.queued += size
        self.budget.put(self, self.queued)

    def take(self, size: int) -> None:
        """Somebody receives so much."""
        size = min(size, self.queued)
        if self.queued >= COUNTED_FROM:
            self.budget.take(self, self.queued - size)
        self.queued -= size

    def hold(self, size: int) -> None:
        """So much is no complete message."""
        self.unfinished = size
        self.budget.hold_unfinished(self, size, is_begun=True)

    def leave(self) -> None:
        """Its socket is closed."""
        self.has_left = True
        self.queued = self.unfinished = 0
        self.budget.hold_unfinished(self, 0, is_begun=False)
        self.budget.forget(self)


def test_mended_13_who_holds_most_is_paused_first() -> None:
    """Above the limit it is the largest first, then the next; nobody below 64 KiB; with room again all go on."""
    budget = InboundBudget(1000 * KIB)
    small, middle, large = One(budget), One(budget), One(budget)
    small.put(60 * KIB)
    middle.put(400 * KIB)
    large.put(500 * KIB)
    assert not any(one.is_paused for one in (small, middle, large))
    small.put(2 * KIB)
    middle.put(60 * KIB)
    assert (small.is_paused, middle.is_paused, large.is_paused) == (False, False, True)
    middle.put(10 * KIB)
    assert (small.is_paused, middle.is_paused, large.is_paused) == (False, True, True)
    large.take(200 * KIB)
    assert (middle.is_paused, large.is_paused) == (True, True)
    large.take(100 * KIB)
    assert (middle.is_paused, large.is_paused) == (False, False)
    assert large.hard == middle.hard == 4 * 1024 * KIB


def test_mended_13_what_is_small_is_not_counted() -> None:
    """Of complete messages and of others, as they come and as they go."""
    budget = InboundBudget(1000 * KIB)
    small = One(budget)
    small.put(COUNTED_FROM - 1)
    small.hold(COUNTED_FROM - 1)
    assert budget.held == 0
    small.take(KIB)
    small.leave()
    assert budget.held == 0


def test_mended_13_what_was_begun_first_ends() -> None:
    """If unfinished messages alone are too much, the oldest goes, with 1013; one that has finished is no longer old."""
    budget = InboundBudget(1000 * KIB)
    old, older, new = One(budget), One(budget), One(budget)
    older.hold(400 * KIB)
    old.hold(400 * KIB)
    older.hold(0)
    older.hold(100 * KIB)
    new.hold(600 * KIB)
    assert [str(fault) for fault in old.faults] == ["1013 too much is unfinished"]
    assert older.faults == new.faults == []
    assert isinstance(old.faults[0], ProtocolViolation)
    new.put(5000 * KIB)
    assert new.is_paused
    assert new.faults == []


Steps = list[tuple[str, int, int]]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "take", "hold", "leave"]), st.integers(0, 5), st.integers(0, 300 * KIB)),
        max_size=60,
    )
)
@example(  # the one that is paused is ended, too
    [
        ("put", 0, 204_801),
        ("put", 2, 307_200),
        ("hold", 2, 25_602),
        ("hold", 0, 307_200),
        ("hold", 1, 179_199),
        ("hold", 0, 0),
    ]
)
def test_mended_13_the_counter_is_the_sum(steps: Steps) -> None:
    """Whatever happens in which order: it counts what is there, pauses nobody small, and is 0 when all have left."""
    budget = InboundBudget(500 * KIB)
    connections = [One(budget) for _ in range(6)]
    for step, which, size in steps:
        one = connections[which]
        match step:
            case "put":
                one.put(size)
            case "take":
                one.take(size)
            case "hold":
                one.hold(size)
            case _:
                one.leave()
        connections = [One(budget) if each.has_left else each for each in connections]
        assert budget.unfinished == sum(each.unfinished for each in connections if each.unfinished >= COUNTED_FROM)
        assert budget.unfinished <= 500 * KIB
        uncounted = sum(each.queued for each in connections) - budget.queued
        assert 0 <= uncounted <= 6 * COUNTED_FROM
        if (budget.queued + budget.unfinished) * 4 <= 500 * KIB * 3:
            assert not any(each.is_paused for each in connections)
    for one in connections:
        one.leave()
    assert (budget.queued, budget.unfinished) == (0, 0)


def test_mended_13_what_waits_to_be_decoded_ends_nobody() -> None:
    """Undecoded bytes count, and pause who holds most, but only messages that have begun can be ended."""
    budget = InboundBudget(500 * KIB)
    waiting, begun, large = One(budget), One(budget), One(budget)
    large.put(300 * KIB)
    budget.hold_unfinished(waiting, 400 * KIB, is_begun=False)
    assert (budget.undecoded, budget.held) == (400 * KIB, 700 * KIB)
    large.put(10 * KIB)
    assert large.is_paused
    begun.hold(450 * KIB)
    budget.hold_unfinished(waiting, 100 * KIB, is_begun=True)
    assert (len(begun.faults), len(waiting.faults)) == (1, 0)
    assert (budget.undecoded, budget.unfinished) == (0, 100 * KIB)
    budget.hold_unfinished(waiting, 0, is_begun=False)
    large.take(310 * KIB)
    assert budget.held == 0


async def test_mended_13_handlers_that_are_behind(autojump_clock: MockClock) -> None:
    """What was read of peers whose handlers are behind, and is not decoded, ends none of them."""
    outcomes = list[Outcome]()
    small = Limits(max_message_size=2 * KIB, inbound_queue=4, total_inbound_buffer=64 * KIB, ping_interval=None)
    app = App(limits=small, on_end=outcomes.append)

    @app.route("/", guard=public)
    async def behind(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    async with serve(app) as server, trio.open_nursery() as nursery:
        for _ in range(10):
            peer = Peer(server.open_stream())
            await peer.open()
            nursery.start_soon(peer.say, text("x" * KIB) * 60)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
        assert outcomes == []


async def test_mended_13_strangers_are_counted_and_not_ended(autojump_clock: MockClock) -> None:
    """What strangers have sent counts while it waits, before the upgrade and after it, and ends none of them."""
    outcomes, entered = list[Outcome](), trio.Event()

    @guard
    async def pondering(gate: Gate, proved: Anonymous) -> Anonymous:
        await entered.wait()
        await gate.accept()
        await trio.sleep(5)
        return proved

    app = App(limits=Limits(total_inbound_buffer=1024 * KIB), on_end=outcomes.append)

    @app.route("/", guard=public >> pondering)
    async def listen(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            pass

    async with serve(app) as server:
        held = server.server._state.budget.inbound  # pyright: ignore[reportPrivateUsage] # as below
        peers = [Peer(server.open_stream()) for _ in range(30)]
        for peer in peers:
            await peer.say(request("/"), text("x" * 1000) * 50)
        await trio.sleep(1)
        assert held.undecoded > 1024 * KIB
        entered.set()
        await trio.sleep(1)
        assert held.undecoded > 1024 * KIB
        await trio.sleep(5)
        assert (held.held, outcomes) == (0, [])


async def test_mended_13_what_was_begun_is_dropped() -> None:
    """A connection that is ended for what it has begun holds nothing of it any more, nor does the counter."""
    made = [await alone(Limits(total_inbound_buffer=1024 * KIB)) for _ in range(2)]
    budget = made[0].budget.inbound
    made[0].feed(frame(BINARY, bytes(900 * KIB))[: 800 * KIB])
    assert budget.unfinished > 700 * KIB
    made[0].channel.fail(ProtocolViolation(1013, "too much is unfinished"))
    made[0].channel.proceed()
    assert budget.held == 0


VIOLATION: Final = b"\xff\xff"

SMALL = Limits(total_inbound_buffer=1024 * KIB, inbound_queue=10_000, ping_interval=None, drain_timeout=60)


@everywhere("plain", "tls", "reader", "unix")
async def test_mended_13_all_together(over: Transport) -> None:
    """Twenty that nobody receives take a megabyte together and a little; a sibling is served; at last all arrives."""
    may_receive = trio.Event()
    app = App(limits=SMALL)

    @app.route("/behind", guard=public)
    async def behind(conn: Connection[Anonymous]) -> None:
        await may_receive.wait()
        total = 0
        async for message in conn:
            total += len(message)
            if total == 400_000:
                await conn.send(str(total))

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    async with serving(app, over) as place:
        sibling = await place.open("/echo")
        clients = [await place.open("/behind", send_buffer=4096) for _ in range(20)]
        whole = b"".join(text("x" * 1000) for _ in range(400))
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.stream.send_all, whole)
            for _ in range(20):
                await sibling.echo(b"served")
                await trio.sleep(0.02)
            held = place.server._state.budget.inbound  # pyright: ignore[reportPrivateUsage] # a leak would be here
            assert 512 * KIB < held.queued < 3 * 1024 * KIB
            may_receive.set()
            for client in clients:
                assert (await client.frame()).payload == b"400000"
        assert held.held == 0
        place.hang_up()


@everywhere("plain", "tls", "reader", "unix")
async def test_mended_13_nothing_stays_counted(over: Transport) -> None:
    """However a connection ends that holds something, and whatever it holds, the counter is what it was."""
    app = App(limits=evolve(SMALL, wind_down=0.1, drain_timeout=6))

    @app.route("/", guard=public)
    async def never(conn: Connection[Anonymous]) -> None:
        with trio.move_on_after(0.3):
            await trio.sleep_forever()
        await conn.receive()

    async with serving(app, over) as place:
        held = place.server._state.budget.inbound  # pyright: ignore[reportPrivateUsage] # as above
        for rest in (b"", text("y" * 100_000)[:50_000], frame(8, b"\x03\xe8"), VIOLATION):
            for leave in (RawClient.close, RawClient.reset, RawClient.finish):
                client = await place.open("/")
                await client.send(text("x" * 100_000), text("z" * 100_000), rest)
                if rest != VIOLATION:  # which has all thrown away at once
                    await until(lambda: held.queued > 0)
                leave(client)
                place.hang_up()
        await place.idle(0)
        assert held.held == 0


@everywhere("plain", "tls", "reader", "unix")
async def test_mended_13_messages_outlive_their_socket(over: Transport) -> None:
    """What a handler may still receive counts after the socket is closed, until it is received or the handler ends."""
    may_receive, received = trio.Event(), list[int]()
    app = App(limits=SMALL)

    @app.route("/", guard=public)
    async def late(conn: Connection[Anonymous]) -> None:
        received.append(len(await conn.receive()))
        await may_receive.wait()
        received.append(len(await conn.receive()))

    async with serving(app, over) as place:
        held = place.server._state.budget.inbound  # pyright: ignore[reportPrivateUsage] # as above
        client = await place.open("/")
        await client.send(*[text("x" * 20_000)] * 4)
        await until(lambda: len(received) == 1 and held.queued > 60_000)
        await client.send(frame(8, b"\x03\xe8"))
        assert (await client.frame()).code == 1000
        client.close()
        await until(lambda: place.polled == 0 or over in ("tls", "reader"))
        await trio.sleep(0.1)
        assert held.queued > 60_000
        may_receive.set()
        await place.idle(0)
        assert (held.held, received) == (0, [20_000] * 2)
        place.hang_up()


def test_mended_13_room_that_the_unfinished_leave() -> None:
    """Who is paused goes on when somebody leaves, or is ended, who held nothing complete."""
    budget = InboundBudget(500 * KIB)
    large, begun = One(budget), One(budget)
    large.put(200 * KIB)
    begun.hold(310 * KIB)
    large.put(10 * KIB)
    assert large.is_paused
    begun.leave()
    assert not large.is_paused
