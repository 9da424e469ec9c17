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
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Gate, Guard, Limits, Request, Response, guard, public
from seawall.serving.capacity import MAX_OVER_CAPACITY, Capacity, Place
from seawall.serving.eviction import EvictionQueue, Waiting
from seawall.testing import Serving, serve
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import Records, recorded
from tests.kit.memory import Peer, request, text
from tests.kit.sockets import Place as Running
from tests.kit.sockets import Transport, client_context, echo_app, serving, until
from tests.kit.wire import SOON
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
    for network in "abbcbbcb":
        queue.add(Item(network), Waiting.REQUEST)
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
        queue.add(item, waiting)
    found: list[int] = []
    for _ in items:
        first = queue.first()
        assert isinstance(first, Item)
        found.append(first.number)
        queue.discard(first)
    assert found == [1, 3, 0, 2]
    for network, waiting in (("a", Waiting.MESSAGE), ("b", Waiting.REQUEST), ("c", Waiting.MESSAGE)):
        queue.add(Item(network), waiting)
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
            else:
                item, waiting = Item(chance.choice("abcde"), step), chance.choice(list(Waiting))
                there[item] = waiting
                queue.add(item, waiting)
            assert len(queue) == len(there)
            if chance.random() < 0.5:
                first = queue.first()
                if not there:
                    assert first is None
                    continue
                assert isinstance(first, Item)
                counts = Counter(item.network for item in there)
                assert counts[first.network] == max(counts.values())
                same = [item for item in there if item.network == first.network]
                best = min(there[item] for item in same)
                assert first is next(item for item in same if there[item] is best)
                if best is Waiting.MESSAGE:
                    rivals = {item.network for item in there if there[item] is Waiting.REQUEST}
                    assert all(counts[network] < counts[first.network] for network in rivals)


def test_mended_11_finding_the_next_takes_no_walk() -> None:
    """To replace one of 200,000 takes about as long as to replace one of 2,000, from one address or from many."""

    def seconds(size: int, networks: int) -> float:
        queue = EvictionQueue(few=0)
        for number in range(size):
            queue.add(Item(str(number % networks)), Waiting.REQUEST)
        queue.first()
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            for number in range(500):
                first = queue.first()
                assert first is not None
                queue.discard(first)
                queue.add(Item(str(number % networks)), Waiting.REQUEST)
            best = min(best, time.perf_counter() - started)
        return best

    for few, many in ((1, 1), (2_000, 200_000)):
        assert seconds(200_000, many) < 20 * seconds(2_000, few)


# Who has a place.


@final
@define(eq=False)
class Guest:
    """Somebody in a place."""

    place: Place
    waits: bool = True
    for_seconds: float = 0
    evicted: int = 0

    def is_waiting(self, seconds: float, /) -> bool:
        """As it was told."""
        return self.waits and self.for_seconds >= seconds

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
    silent.for_seconds = 1
    newcomer = guest(capacity, "192.0.2.2:1")
    assert (silent.evicted, newcomer.evicted, member.evicted) == (1, 0, 0)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("over", "saying"),
    [(over, saying) for over in ("plain", "tls") for saying in (b"", TORN, raw_request("/asks"))] + [("tls", b"\x16")],
    ids=["silent", "torn", "asked", "tls-silent", "tls-torn", "tls-asked", "tls-begun"],
)
async def test_mended_11_good_clients_under_attack(saying: bytes, over: Transport) -> None:
    """Forty clients that come one after another are all let in, each soon, while one address keeps all places taken."""
    app = echo_app(limits=Limits(max_unauthenticated=20))

    @guard
    async def asks(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.receive_text()
        return proved

    app.route("/asks", guard=asks)(work)
    async with serving(app, over) as place, trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(attack, place, saying)
        capacity = place.server._state.capacity  # pyright: ignore[reportPrivateUsage] # what is attacked
        await until(lambda: capacity.unauthenticated == 20 and capacity.over_capacity > 0)
        for _ in range(40):
            with trio.fail_after(SOON):
                client = await place.open()
                await client.echo(b"let in")
            client.close()
        nursery.cancel_scope.cancel()
