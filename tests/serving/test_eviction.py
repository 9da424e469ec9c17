"""When too many have not been let in, the oldest of the address that has most gives way; nobody else is kept out."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import final

import pytest
import trio
from attrs import define
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Connection,
    Forbidden,
    Gate,
    Guard,
    Limits,
    Request,
    Response,
    Unauthorized,
    guard,
    public,
)
from seawall.serving.capacity import MAX_OVER_CAPACITY, Capacity, Place
from seawall.serving.eviction import EvictionQueue, Waiting
from seawall.testing import Serving, serve
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import Records, recorded
from tests.kit.memory import BROKEN, Doorstep, Peer, Wire, request, text
from tests.kit.sockets import Place as Running
from tests.kit.sockets import Transport, client_context, echo_app, serving, until
from tests.kit.wire import PATIENCE, SOON
from tests.kit.wire import request as raw_request


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


# The queue.


@final
@define(eq=False)
class Item:
    """Something that can give way."""

    network: str
    number: int = 0


def drained(queue: EvictionQueue) -> list[str]:
    """The networks of all, in the order in which they give way."""
    order: list[str] = []
    while (item := queue.first()) is not None:
        order.append(item.network)
        queue.discard(item)
    return order


def test_mended_11_of_the_address_that_has_most_the_oldest() -> None:
    """Whoever came before it: one of many is the first to go, until its address has no more than others."""
    queue = EvictionQueue(few=0)
    assert queue.first() is None
    for network in "abbcbbcb":
        queue.put(Item(network), Waiting.REQUEST)
    assert drained(queue) == drained_by_hand("abbcbbcb")


def drained_by_hand(networks: str) -> list[str]:
    """The same by counting, where the rank of equals is who got it first."""
    queue = [Item(network, number) for number, network in enumerate(networks)]
    fallen = dict.fromkeys(networks, -1)
    order: list[str] = []
    while queue:
        counts = Counter(item.network for item in queue)
        most = max(counts.values())
        equals = [network for network in counts if counts[network] == most]
        network = min(equals, key=lambda one: (fallen[one], reached(networks, one, most)))
        fallen[network] = len(order)
        order.append(network)
        queue.remove(next(item for item in queue if item.network == network))
    return order


def reached(networks: str, network: str, count: int) -> int:
    """When it had so many for the first time."""
    return [number for number, one in enumerate(networks) if one == network][count - 1]


def test_mended_11_a_request_that_is_not_whole_comes_first() -> None:
    """Within an address, and between addresses that have equally many."""
    queue = EvictionQueue(few=0)
    items = [Item("a", number) for number in range(4)]
    for item, waiting in zip(items, (Waiting.MESSAGE, Waiting.REQUEST) * 2, strict=True):
        queue.put(item, waiting)
    found: list[int] = []
    for _ in items:
        first = queue.first()
        assert isinstance(first, Item)
        found.append(first.number)
        queue.discard(first)
    assert found == [1, 3, 0, 2]
    for network, waiting in (("a", Waiting.MESSAGE), ("b", Waiting.REQUEST), ("c", Waiting.MESSAGE)):
        queue.put(Item(network), waiting)
    assert drained(queue) == ["b", "a", "c"]


def test_mended_11_the_queue_is_right_about_any_history() -> None:
    """Whatever came and went: who gives way has not more waiting than nobody, and is the oldest of its address."""
    chance = random.Random(11)
    for _ in range(200):
        queue, there = EvictionQueue(few=3), dict[Item, Waiting]()
        for step in range(100):
            if there and chance.random() < 0.45:
                gone = chance.choice(list(there))
                del there[gone]
                queue.discard(gone)
                queue.discard(gone)
            elif there and chance.random() < 0.3:
                item, waiting = chance.choice(list(there)), chance.choice(list(Waiting))
                queue.put(item, waiting)
                if there[item] is not waiting:
                    del there[item]
                    there[item] = waiting
            else:
                item, waiting = Item(chance.choice("abcde"), step), chance.choice(list(Waiting))
                there[item] = waiting
                queue.put(item, waiting)
            assert len(queue) == len(there)
            if chance.random() < 0.5:
                first = queue.first()
                counts = Counter(item.network for item in there)
                assert all(queue.count(network) == counts[network] for network in "abcde")
                rivals = [item for item in there if there[item] is not Waiting.NOTHING]
                if not rivals:
                    assert first is None
                    continue
                assert isinstance(first, Item)
                assert counts[first.network] == max(counts[item.network] for item in rivals)
                equals = [item for item in rivals if counts[item.network] == counts[first.network]]
                assert there[first] == min(there[item] for item in equals)
                same = [item for item in equals if item.network == first.network and there[item] is there[first]]
                assert first is same[0]


def test_mended_11_finding_the_next_takes_no_walk() -> None:
    """To replace one of 100,000 takes about as long as to replace one of 1,000, from one address or from many."""

    def seconds(size: int, networks: int) -> float:
        queue = EvictionQueue(few=0)
        for number in range(size):
            queue.put(Item(str(number % networks)), Waiting.REQUEST)
        queue.first()
        best = float("inf")
        for _ in range(5):
            started = time.thread_time()
            for number in range(500):
                first = queue.first()
                assert first is not None
                queue.discard(first)
                queue.put(Item(str(number % networks)), Waiting.REQUEST)
            best = min(best, time.thread_time() - started)
        return best

    for few, many in ((1, 1), (1_000, 100_000)):
        assert seconds(100_000, many) < 20 * seconds(1_000, few)


def test_mended_11_few_among_many_are_not_counted_each_time() -> None:
    """Where most of the unauthenticated do not wait, replacing the others takes no walk over these either."""

    def seconds(size: int) -> float:
        queue = EvictionQueue(few=2 * size)
        for number in range(size):
            queue.put(Item("a", number), Waiting.REQUEST)
        best = float("inf")
        for _ in range(5):
            started = time.thread_time()
            for number in range(100):
                first = queue.first()
                assert first is not None
                queue.discard(first)
                queue.put(Item("a", number), Waiting.REQUEST)
            best = min(best, time.thread_time() - started)
        return best

    assert seconds(50_000) < 20 * seconds(500)


# Who has a place.


@final
@define(eq=False)
class Guest:
    """Somebody in a place."""

    place: Place
    waits: bool = True
    seconds: float = 0
    evicted: int = 0

    def is_waiting(self, what: Waiting, /) -> bool:
        """As it was told."""
        return self.waits

    def evict(self) -> None:
        """Count."""
        self.evicted += 1


def guest(capacity: Capacity, address: str = "192.0.2.1:1") -> Guest:
    """Somebody whose request is awaited."""
    place = capacity.admit(address)
    assert place is not None
    assert place.refusal is None
    found = Guest(place)
    place.wait(Waiting.REQUEST, found)
    return found


def test_mended_11_who_gives_way_has_no_place_any_more() -> None:
    """At once, and is told; it counts among those above the limit until it has left."""
    capacity = Capacity(Limits(max_unauthenticated=2, max_connections_per_address=5))
    first, second, third = (guest(capacity) for _ in range(3))
    assert (first.evicted, second.evicted, third.evicted) == (1, 0, 0)
    assert first.place.refusal is not None
    assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity) == (2, 2, 1)
    assert capacity.per_network == {"192.0.2.1": 2}
    first.place.leave()
    first.place.leave()
    second.place.leave()
    third.place.leave()
    assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity) == (0, 0, 0)
    assert not capacity.per_network
    assert not capacity.waiting


def test_mended_11_who_does_not_give_way() -> None:
    """Nobody whose guards are at work, who has been let in, or for whom something has come; then it is 503."""
    capacity = Capacity(Limits(max_unauthenticated=2))
    working, heard = guest(capacity), guest(capacity)
    working.place.work()
    heard.waits = False
    refused = capacity.admit("192.0.2.2:1")
    assert refused is not None
    assert refused.refusal is not None
    assert not working.evicted + heard.evicted
    working.place.wait(Waiting.MESSAGE)
    heard.place.authenticated()
    heard.place.wait(Waiting.MESSAGE)
    for _ in range(2):
        guest(capacity).place.work()
    assert (working.evicted, heard.evicted) == (1, 0)


def test_mended_11_an_address_is_told_first_that_it_has_too_many() -> None:
    """Nobody gives way to one who is refused anyway."""
    capacity = Capacity(Limits(max_unauthenticated=2, max_connections_per_address=2))
    first, second = guest(capacity), guest(capacity)
    refused = capacity.admit("192.0.2.1:2")
    assert refused is not None
    assert refused.refusal is not None
    assert refused.refusal.status == 429
    assert not first.evicted + second.evicted
    guest(capacity, "192.0.2.2:1")
    assert first.evicted


def test_mended_11_many_who_give_way_at_once_are_not_all_told() -> None:
    """Beyond so many they are closed without a word, for an attacker could keep as many open as it likes."""
    capacity = Capacity(Limits(max_unauthenticated=1))
    guests = [guest(capacity) for _ in range(MAX_OVER_CAPACITY + 10)]
    assert [one.place.is_dropped for one in guests] == [False] * MAX_OVER_CAPACITY + [True] * 9 + [False]
    assert capacity.over_capacity == MAX_OVER_CAPACITY
    for one in guests:
        one.place.leave()
    assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity) == (0, 0, 0)


def test_mended_11_the_last_place_of_all() -> None:
    """Where all ``max_connections`` are taken, those give way that have waited for a second, and no newer ones."""
    capacity = Capacity(Limits(max_connections=2))
    member, silent = guest(capacity), guest(capacity)
    member.place.authenticated()
    assert capacity.admit("192.0.2.2:1") is not None
    assert not silent.evicted
    silent.seconds = 1
    newcomer = guest(capacity, "192.0.2.2:1")
    assert (silent.evicted, newcomer.evicted, member.evicted) == (1, 0, 0)


def test_mended_11_the_last_places_of_an_address_that_has_more() -> None:
    """It gives them up at once to one that has fewer, not to its own: who comes back fast enough keeps nobody out."""
    capacity = Capacity(Limits(max_connections=3))
    silent = [guest(capacity) for _ in range(3)]
    own = capacity.admit("192.0.2.1:1")
    assert own is not None
    assert own.refusal is not None
    first = guest(capacity, "192.0.2.2:1")
    refused = capacity.admit("192.0.2.3:1")
    assert refused is not None
    assert (refused.refusal is None, [one.evicted for one in (*silent, first)]) == (True, [1, 1, 0, 0])
    last = capacity.admit("192.0.2.4:1")
    assert last is not None
    assert last.refusal is not None


def test_mended_11_who_has_just_come_gives_way_to_no_address_that_has_more() -> None:
    """One whose guards are all at work, say: it would take the places of others. After a second anybody gives way."""
    capacity = Capacity(Limits(max_unauthenticated=3))
    working = [guest(capacity) for _ in range(2)]
    for one in working:
        one.place.work()
    alone = guest(capacity, "192.0.2.2:1")
    refused = capacity.admit("192.0.2.1:1")
    assert refused is not None
    assert refused.refusal is not None
    alone.seconds = 1
    guest(capacity)
    assert [one.evicted for one in (*working, alone)] == [0, 0, 1]


def test_mended_11_who_has_not_begun_gives_way() -> None:
    """Many may be accepted in one moment, before any of them is asked for a request; it finds its refusal then."""
    capacity = Capacity(Limits(max_unauthenticated=2))
    first, second, third = (capacity.admit("192.0.2.1:1") for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.refusal is not None
    assert second.refusal is third.refusal is None
    for place in (first, second, third):
        place.leave()
    assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity) == (0, 0, 0)
    assert not capacity.waiting


def test_mended_11_who_has_been_answered_gives_way_first() -> None:
    """At once, however new, before those of its address that say nothing; it is not told anything else."""
    for limits in (Limits(max_unauthenticated=2), Limits(max_connections=2)):
        capacity = Capacity(limits)
        silent, answered = guest(capacity), guest(capacity)
        answered.place.work()
        answered.place.wait(Waiting.CLOSING)
        assert not guest(capacity).evicted
        assert (silent.evicted, answered.evicted, answered.place.is_dropped) == (0, 1, True)
        assert (capacity.admitted, capacity.over_capacity, capacity.dropped) == (2, 0, 1)
        answered.place.leave()
        answered.place.leave()
        assert (capacity.admitted, capacity.over_capacity, capacity.dropped) == (2, 0, 0)


def test_mended_11_so_many_may_be_slow_to_leave() -> None:
    """Who has given way and is not over yet is counted, and when there are too many of these nobody gives way."""
    capacity = Capacity(Limits(max_unauthenticated=2))
    guests = [guest(capacity) for _ in range(2 + 2 * MAX_OVER_CAPACITY)]
    assert (capacity.over_capacity, capacity.dropped) == (MAX_OVER_CAPACITY, MAX_OVER_CAPACITY)
    assert capacity.admit("192.0.2.2:1") is None
    for one in guests[: 2 * MAX_OVER_CAPACITY]:
        assert one.evicted
        one.place.leave()
    guest(capacity)
    assert (guests[-2].evicted, capacity.over_capacity, capacity.dropped) == (1, 1, 0)


# Connections in memory.


async def work(conn: Connection[Anonymous]) -> None:
    """Echo."""
    async for message in conn:
        await conn.send(message)


@guard
async def asking(gate: Gate, proved: Anonymous) -> Anonymous:
    """Wait for a message, and think about it."""
    await gate.accept()
    await gate.receive_text()
    await trio.sleep(1)
    return proved


def app_of(door: Guard[Anonymous, Anonymous] = public, limits: Limits | None = None) -> App:
    """An app with one route, and a page."""
    app = App(limits=limits or Limits(max_unauthenticated=2))
    app.route("/", guard=door)(work)
    return app


async def silent(served: Serving) -> Peer:
    """A connection that says nothing."""
    peer = Peer(served.open_stream())
    await wait_all_tasks_blocked()
    return peer


async def test_mended_11_the_silent_give_way_and_are_told(autojump_clock: MockClock, records: Records) -> None:
    """The oldest reads 503 and is closed soon; whoever comes is served, and the log says what happened."""
    async with serve(app_of()) as served:
        first, second = await silent(served), await silent(served)
        async with served.connect("/") as client:
            await client.send("x")
            assert await client.receive() == "x"
            assert (await first.head()).startswith("HTTP/1.1 503 ")
            started = trio.current_time()
            await first.rest()
            assert trio.current_time() - started <= LINGER
            third = await silent(served)
            await second.say(request())
            assert (await second.head()).startswith("HTTP/1.1 101 ")
            await third.say(request())
            assert (await third.head()).startswith("HTTP/1.1 101 ")
    assert records.ends.count("overload, 503 'too many connections'") == 1


async def test_mended_11_who_waits_in_a_guard_gives_way(autojump_clock: MockClock, records: Records) -> None:
    """After those whose request is not whole, with 1013; a guard that has got its message is left alone."""
    async with serve(app_of(public >> asking)) as served:
        first, second = Peer(served.open_stream()), Peer(served.open_stream())
        for peer in (first, second):
            await peer.open()
        await wait_all_tasks_blocked()
        third = await silent(served)
        assert await first.closing() == (1013, "too many connections")
        await first.stream.aclose()
        await second.say(text("token"))
        await wait_all_tasks_blocked()
        fourth = await silent(served)
        assert await third.status() == 503
        await fourth.say(request())
        await fourth.head()
        await fourth.say(text("token"))
        await wait_all_tasks_blocked()
        refused = await silent(served)
        assert await refused.status() == 503
        await trio.sleep(2)
        for peer in (second, fourth):
            await peer.say(text("x"))
            assert await peer.message() == "x"
    assert sorted(records.ends[:3]) == [
        "overload, 1013 'too many connections'",
        "overload, 503 'too many connections'",
        "overload, 503 'too many connections'",
    ]


async def test_mended_11_a_peer_that_does_not_answer_its_close(autojump_clock: MockClock) -> None:
    """Who gives way after the upgrade is closed soon, whether it answers or not, and its place is free at once."""
    async with serve(app_of(public >> asking, Limits(max_unauthenticated=1))) as served:
        first = Peer(served.open_stream())
        await first.open()
        await wait_all_tasks_blocked()
        second = Peer(served.open_stream())
        await second.open()
        started = trio.current_time()
        assert await first.closing() == (1013, "too many connections")
        await first.rest()
        assert trio.current_time() - started <= 2 * LINGER


async def test_mended_11_a_body_that_does_not_come_gives_way(autojump_clock: MockClock) -> None:
    """A request for a page is whole when its body is."""
    app = app_of(limits=Limits(max_unauthenticated=1))

    @app.page("/form", methods=["POST"])
    async def form(asked: Request[Anonymous]) -> Response:
        raise AssertionError

    async with serve(app) as served:
        first = await silent(served)
        await first.say(b"POST /form HTTP/1.1\r\nHost: testserver\r\nContent-Length: 5\r\n\r\nname")
        await wait_all_tasks_blocked()
        async with served.connect("/") as client:
            await client.send("x")
            assert await client.receive() == "x"
        assert await first.status() == 503


async def test_mended_11_a_flood_of_the_silent_is_bounded(autojump_clock: MockClock) -> None:
    """However many come, there are so many places, and so many that are told; the newest is served."""
    async with serve(app_of()) as served:
        for _ in range(500):
            served.open_stream()
        await wait_all_tasks_blocked()
        held = len(served.server._state.connections)  # pyright: ignore[reportPrivateUsage] # what a flood would fill
        assert held <= MAX_OVER_CAPACITY + 2
        async with served.connect("/") as client:
            await client.send("x")
            assert await client.receive() == "x"


@guard
async def distrusting(gate: Gate, proved: Anonymous) -> Anonymous:
    """Wait for a message, and let nobody in."""
    await gate.accept()
    await gate.receive_text()
    raise Unauthorized("wrong token")


@guard
async def closed(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let nobody in."""
    raise Forbidden("closed")


#: What is answered, by a client that neither reads the answer nor closes its side.
ANSWERED = {
    "nothing there": request("/nothing"),
    "no request": b"\r\n\r\nno request\r\n\r\n",
    "a page": b"GET /page HTTP/1.1\r\nHost: testserver\r\n\r\n",
    "forbidden": request("/closed"),
    "wrong token": request("/distrusting") + text("wrong"),
    "violation": request("/asking") + BROKEN,
}


@pytest.mark.parametrize("saying", ANSWERED.values(), ids=ANSWERED.keys())
async def test_mended_11_who_has_been_answered_keeps_nobody_out(saying: bytes, autojump_clock: MockClock) -> None:
    """It keeps the server waiting for a second, or five after the upgrade, but has no place if another needs one."""
    app = app_of(limits=Limits(max_unauthenticated=2))
    for name, door in (("closed", closed), ("distrusting", distrusting), ("asking", asking)):
        app.route(f"/{name}", guard=public >> door)(work)
    app.page("/page", "hello")
    async with serve(app) as served:
        state = served.server._state  # pyright: ignore[reportPrivateUsage] # what a leak would fill
        peers = [await silent(served) for _ in range(2)]
        started = trio.current_time()
        for peer in peers:
            await peer.say(saying)
        await wait_all_tasks_blocked()
        assert state.capacity.unauthenticated == 2
        async with served.connect("/") as first, served.connect("/") as second:
            for client in (first, second):
                await client.send("x")
                assert await client.receive() == "x"
            late = await silent(served)
            await late.say(request())
            assert (await late.head()).startswith("HTTP/1.1 101 ")
            assert trio.current_time() == started
        for peer in peers:
            assert await peer.rest()  # it has its answer all the same
        await late.stream.aclose()
        await trio.sleep(10)
        capacity = state.capacity
        assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity, capacity.dropped) == (0, 0, 0, 0)
        assert not capacity.waiting
        assert not len(state.connections)


async def test_mended_11_who_does_not_read_gives_way(autojump_clock: MockClock) -> None:
    """A guard that waits for room to send waits for its peer, whatever that has said."""

    @guard
    async def talkative(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        while True:
            await gate.send_text("x" * 100_000)

    app, wire = app_of(limits=Limits(max_unauthenticated=1)), Wire()
    app.route("/talkative", guard=public >> talkative)(work)
    listener = Doorstep()
    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[listener])
        listener.arrive(wire)
        peer = Peer(wire.far)
        await peer.say(request("/talkative"), text("token"))
        await peer.head()
        wire.stall()
        await wait_all_tasks_blocked()
        near, far = memory_stream_pair()
        listener.arrive(near)
        client = Peer(far)
        await client.open()
        await trio.sleep(2 * LINGER)
        assert wire.closed_at <= LINGER
        nursery.cancel_scope.cancel()


async def test_mended_11_a_guard_that_cleans_up_keeps_its_place(autojump_clock: MockClock) -> None:
    """It is at work, though its connection has ended; when it is done the connection gives way."""

    @guard
    async def careful(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        try:
            await gate.receive_text()
            raise Unauthorized("wrong token")
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    async with serve(app_of(public >> careful, Limits(max_unauthenticated=1))) as served:
        first = Peer(served.open_stream())
        await first.open()
        await first.say(BROKEN)
        assert (await first.closing() or (0, ""))[0] == 1002
        assert await (await silent(served)).status() == 503
        await trio.sleep(0.6)
        second = Peer(served.open_stream())
        await second.open()
        assert await first.rest() == b""


async def test_mended_11_slow_cleanups_are_bounded(autojump_clock: MockClock) -> None:
    """Guards that have given way and are slow to clean up are not more than so many, however many strangers come."""
    running = 0

    @guard
    async def careful(gate: Gate, proved: Anonymous) -> Anonymous:
        nonlocal running
        await gate.accept()
        running += 1
        try:
            await gate.receive_text()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
            running -= 1
        return proved

    async with serve(app_of(public >> careful, Limits(max_unauthenticated=10))) as served:
        for _ in range(400):
            stranger = Peer(served.open_stream())
            with suppress(trio.BrokenResourceError):
                await stranger.say(request())
            await wait_all_tasks_blocked()
        assert 10 + MAX_OVER_CAPACITY <= running <= 10 + 2 * MAX_OVER_CAPACITY
        await trio.sleep(200)
        assert not running
        peer = Peer(served.open_stream())
        await peer.open()


# Over sockets.


async def attack(place: Running, saying: bytes) -> None:
    """Connect from an address of one's own, say this and nothing more, and again when that has been closed."""
    while True:
        with trio.socket.socket() as plain:
            await plain.bind(("127.0.0.2", 0))
            await plain.connect((place.at.host, place.at.port))
            stream: trio.abc.Stream = trio.SocketStream(plain)
            if place.at.secure and saying[:1].isalpha():
                stream = trio.SSLStream(stream, client_context(), server_hostname="localhost", https_compatible=True)
            with suppress(trio.BrokenResourceError):
                if saying:
                    await stream.send_all(saying)
                while await stream.receive_some():
                    pass


#: A request that is not whole.
TORN = b"GET / HTTP/1.1\r\nHost: a\r\n"

#: A request with a token that is wrong; the Close that answers it is not answered.
WRONG = raw_request("/distrusting") + text("wrong")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("over", "saying"),
    [(over, saying) for over in ("plain", "tls") for saying in (b"", TORN, raw_request("/asks"), WRONG)]
    + [("tls", b"\x16")],
    ids=["silent", "torn", "asked", "wrong", "tls-silent", "tls-torn", "tls-asked", "tls-wrong", "tls-begun"],
)
@pytest.mark.parametrize("limits", [Limits(max_unauthenticated=20), Limits(max_connections=20)], ids=["door", "house"])
async def test_mended_11_good_clients_under_attack(saying: bytes, over: Transport, limits: Limits) -> None:
    """As many good clients as there are places are all let in, each soon, while one address keeps all places taken."""
    app = echo_app(limits=limits)

    @guard
    async def asks(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.receive_text()
        return proved

    app.route("/asks", guard=asks)(work)
    app.route("/distrusting", guard=public >> distrusting)(work)
    async with serving(app, over) as place, trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(attack, place, saying)
        capacity = place.server._state.capacity  # pyright: ignore[reportPrivateUsage] # what is attacked
        await until(lambda: capacity.unauthenticated == 20 and capacity.over_capacity > 0)
        for _ in range(20):
            began = time.process_time()  # what else the machine does is not counted, the attackers' work is
            with trio.fail_after(PATIENCE):
                client = await place.open()
                await client.echo(b"let in")
            assert time.process_time() - began < SOON
            client.close()
        nursery.cancel_scope.cancel()
