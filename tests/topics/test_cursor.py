"""`Log` and `Cursor` alone: whatever is published, read, lost and given up, readers see one order, or a gap."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable

import pytest
from attrs import define, field

from seawall.errors import SlowConsumer
from seawall.lag import Disconnect, DropNewest, DropOldest, Lag, Latest
from seawall.position import Position, Since
from seawall.room_event import Gap
from seawall.topics.cursor import Cursor
from seawall.topics.entry import OVERHEAD, Entry
from seawall.topics.history_budget import HistoryBudget
from seawall.topics.keys import RoomKey
from seawall.topics.log import Log, Retention
from tests.kit.steps import steps

KEY = RoomKey("rooms/{room}", ("lobby",))


def modulo(by: int) -> Callable[[object], Hashable]:
    """The key of a number: what is left when it is divided."""

    def key(value: object) -> Hashable:
        assert isinstance(value, int)
        return value % by

    return key


@define(eq=False)
class Reader:
    """Reads a log, and remembers what it has seen: numbers of events, and gaps."""

    log: Log
    lag: Lag[object]
    since: Since = None
    seen: list[int | Gap] = field(factory=list[int | Gap])
    failed: Exception | None = None
    is_behind: bool = False
    cursor: Cursor = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.cursor = Cursor(self.lag)
        self.cursor.place(self.log, self.since, 0)

    def read(self, most: int = 1 << 60) -> list[int | Gap]:
        """Read what there is, up to so many; return it."""
        before, self.is_behind = len(self.seen), False
        while len(self.seen) - before < most and (item := self.cursor.peek()) is not None:
            if isinstance(item, Gap):
                self.seen.append(item)
            else:
                assert isinstance(item.value, int)
                assert item.value == self.cursor.next
                self.seen.append(item.value)
            self.cursor.move(item)
        return self.seen[before:]

    def fall_behind(self) -> None:
        """It takes nothing, as the pump finds."""
        if self.failed is None and self.cursor.peek() is not None:
            if not self.is_behind:
                self.cursor.fall_behind()
            self.is_behind = True
            self.failed = self.cursor.apply_lag()


@define(eq=False)
class Bench:
    """A log, who publishes in it, and what the pump does."""

    retention: Retention = field(factory=Retention)
    limit: int = 1 << 30
    budget: HistoryBudget[Log] = field(init=False)
    log: Log = field(init=False)
    readers: list[Reader] = field(factory=list[Reader])

    def __attrs_post_init__(self) -> None:
        """Begin with no event."""
        self.budget = HistoryBudget[Log](self.limit)
        self.log = Log(KEY, "epoch", self.retention, self.budget)

    def publish(self, count: int = 1, now: float = 0) -> None:
        """Publish so many, each of which is its own number."""
        for _ in range(count):
            self.log.append(Entry(self.log.end, None), now)
            self.budget.make_room()

    def reader(self, lag: Lag[object], since: Since = None) -> Reader:
        """One more."""
        reader = Reader(self.log, lag, since)
        self.readers.append(reader)
        return reader

    def round(self, now: float = 0) -> None:
        """Nobody reads; see who is behind, and remove what nobody needs."""
        for reader in self.readers:
            reader.fall_behind()
        self.trim(now)

    def trim(self, now: float = 0) -> None:
        """Remove what nobody needs."""
        needed = (reader.cursor.needs() for reader in self.readers if reader.failed is None)
        self.log.trim(min(needed, default=self.log.end), now)

    def leave(self, reader: Reader) -> None:
        """One less."""
        self.readers.remove(reader)
        reader.cursor.leave()


def check_order(seen: list[int | Gap], first: int) -> None:
    """Events are contiguous from `first` on, but for gaps, which are exact."""
    expected = first
    for item in seen:
        if isinstance(item, Gap):
            assert item.lost is not None
            assert item.before == Position("epoch", expected + item.lost - 1)
            assert item.lost > 0
            expected += item.lost
        else:
            assert item == expected
            expected += 1


LAGS: list[Lag[object]] = [DropOldest(3), DropNewest(3), Disconnect(3)]


@pytest.mark.parametrize("seed", range(300))
def test_whatever_happens_events_are_contiguous_or_have_a_gap(seed: int) -> None:
    """Publishing, reading, falling behind, coming, leaving and giving up in any order: one order, without doubles."""
    chance = random.Random(seed)
    bench = Bench(Retention(chance.choice([0, 2, 10])), limit=chance.choice([1 << 30, 8 * OVERHEAD]))
    first: dict[int, int] = {}
    for _ in range(chance.randrange(200)):
        step = chance.randrange(6)
        if step == 0 and len(bench.readers) < 6:
            reader = bench.reader(chance.choice(LAGS), chance.choice([None, "joined"]))
            first[id(reader)] = reader.cursor.next
            assert reader.cursor.next >= bench.log.end - bench.retention.history
        elif step == 1 and bench.readers:
            bench.leave(chance.choice(bench.readers))
        elif step == 2:
            bench.round()
        elif step == 3 and bench.readers:
            reader = chance.choice(bench.readers)
            if reader.failed is None:
                reader.read(chance.choice([1, 2, 100]))
        elif step == 4 and bench.readers:
            reader = chance.choice(bench.readers)
            behind = bench.log.end - reader.cursor.position.number - 1
            again = Reader(bench.log, Disconnect(3), reader.cursor.position)
            assert sum(item.lost or 0 if isinstance(item, Gap) else 1 for item in again.read()) == behind
            check_order(again.seen, reader.cursor.position.number + 1)
        else:
            bench.publish(chance.choice([1, 1, 2, 20]))
        assert bench.budget.total <= bench.limit
        for reader in bench.readers:
            check_order(reader.seen, first[id(reader)])
    for reader in bench.readers:
        if reader.failed is None:
            reader.read()
            check_order(reader.seen, first[id(reader)])
            assert reader.cursor.next == bench.log.end
    while bench.readers:
        bench.leave(bench.readers[0])
    bench.log.trim(bench.log.end, 0)
    assert bench.budget.total == bench.log.size == len(bench.log.entries) * OVERHEAD
    assert len(bench.log.entries) <= bench.retention.history


@pytest.mark.parametrize("seed", range(200))
def test_the_newest_of_each_key(seed: int) -> None:
    """Under `Latest` events come in order; the last of each key is among them, or was forgotten, which a gap says."""
    chance = random.Random(seed)
    keys, at_most = chance.choice([1, 3, 10]), chance.choice([2, 5, 100])
    bench = Bench(Retention(chance.choice([0, 5])), limit=chance.choice([1 << 30, 8 * OVERHEAD]))
    lag = Latest[object](modulo(keys), at_most)
    begun: dict[int, int] = {}
    for _ in range(chance.randrange(150)):
        step = chance.randrange(5)
        if step == 0 and len(bench.readers) < 4:
            reader = bench.reader(lag, chance.choice([None, "joined"]))
            begun[id(reader)] = reader.cursor.next
        elif step == 1 and bench.readers:
            bench.leave(chance.choice(bench.readers))
        elif step == 2:
            bench.round()
        elif step == 3 and bench.readers:
            chance.choice(bench.readers).read(chance.choice([1, 3, 100]))
        else:
            bench.publish(chance.choice([1, 4, 20]))
        assert bench.budget.total <= bench.limit
    for reader in bench.readers:
        assert reader.failed is None
        reader.read()
        numbers = [item for item in reader.seen if isinstance(item, int)]
        assert numbers == sorted(set(numbers))
        lost = max((item.before.number for item in reader.seen if isinstance(item, Gap)), default=0)
        for key in range(keys):
            newest = max((number for number in range(1, bench.log.end) if number % keys == key), default=0)
            if newest >= begun[id(reader)] and newest > lost:
                assert newest in numbers
    while bench.readers:
        bench.leave(bench.readers[0])
    bench.log.trim(bench.log.end, 0)
    assert bench.log.indexes == ()
    assert bench.budget.total == len(bench.log.entries) * OVERHEAD <= bench.retention.history * OVERHEAD


def test_a_reader_that_stops_under_each_policy() -> None:
    """`DropOldest` has the last of them, `DropNewest` the first, `Disconnect` ends; up to there nobody loses any."""
    bench = Bench()
    oldest, newest, ended = (bench.reader(lag) for lag in LAGS)
    for _ in range(3):
        bench.publish()
        bench.round()
    assert not isinstance(ended.failed, SlowConsumer)
    bench.publish()
    bench.round()
    assert isinstance(ended.failed, SlowConsumer)
    for _ in range(3):
        bench.publish()
        bench.round()
    assert len(bench.log.entries) == 3
    assert oldest.read() == [Gap(Position("epoch", 4), 4), 5, 6, 7]
    assert newest.read() == [1, 2, 3, Gap(Position("epoch", 7), 4)]
    bench.publish()
    assert (oldest.read(), newest.read()) == ([8], [8])
    bench.trim()
    assert bench.budget.total == 0


@pytest.mark.parametrize("lag", LAGS)
def test_a_burst_ends_nobody(lag: Lag[object]) -> None:
    """What comes at once, before anybody can see who is behind, is not what a reader is behind with."""
    bench = Bench()
    reader = bench.reader(lag)
    bench.publish(1000)
    bench.round()
    assert reader.read(10) == list(range(1, 11))
    bench.round()
    bench.publish(3)
    bench.round()
    assert reader.failed is None
    assert reader.read() == list(range(11, 1004))
    bench.trim()
    assert bench.budget.total == 0


def test_from_where_somebody_reads() -> None:
    """A position that is kept goes on behind it; any other begins with one gap, and then all that is kept."""
    bench = Bench(Retention(3))
    bench.publish(10)
    bench.trim()
    for since in range(7, 11):
        assert Reader(bench.log, Disconnect(9), Position("epoch", since)).read() == list(range(since + 1, 11))
    assert Reader(bench.log, Disconnect(9)).read() == [8, 9, 10]
    assert Reader(bench.log, Disconnect(9), "joined").read() == []
    gap = Gap(Position("epoch", 7), 1)
    assert Reader(bench.log, Disconnect(9), Position("epoch", 6)).read() == [gap, 8, 9, 10]
    unknown = Gap(Position("epoch", 7), None)
    for since_unknown in (Position("other", 9), Position("epoch", 11), Position("epoch", 10**18)):
        assert Reader(bench.log, Disconnect(9), since_unknown).read() == [unknown, 8, 9, 10]
    behind = Reader(bench.log, Disconnect(9), Position("other", 9))
    assert Reader(bench.log, Disconnect(9), behind.cursor.position).read()[0] == unknown


def test_nothing_is_kept_without_history() -> None:
    """Whoever comes to a room that keeps nothing misses nothing, and whoever comes back may have."""
    bench = Bench()
    bench.publish(4)
    bench.trim()
    assert Reader(bench.log, Disconnect(9)).read() == []
    assert Reader(bench.log, Disconnect(9), Position("epoch", 4)).read() == []
    assert Reader(bench.log, Disconnect(9), Position("epoch", 2)).read() == [Gap(Position("epoch", 4), 2)]


def test_what_is_too_old() -> None:
    """Events older than the ttl are no history, though somebody who is behind may still need them."""
    bench = Bench(Retention(10, ttl=5))
    slow = bench.reader(DropOldest(100))
    bench.publish(now=0)
    bench.publish(now=2)
    bench.publish(now=4)
    bench.round(now=6)
    assert bench.log.kept_from(6) == 2
    late = Cursor(Disconnect(9))
    late.place(bench.log, None, 6)
    assert late.next == 2
    assert slow.read() == [1, 2, 3]
    bench.trim(now=8.5)
    assert bench.log.base == 3
    bench.trim(now=100)
    assert bench.budget.total == 0


def test_who_needs_what_has_been_given_up_has_a_gap() -> None:
    """When all rooms hold too much, the oldest events go, pinned ones first; each reader has an exact gap."""
    bench = Bench(Retention(5), limit=10 * OVERHEAD)
    readers = [bench.reader(lag) for lag in (DropOldest(100), DropNewest(2), Disconnect(100))]
    for _ in range(6):
        bench.publish()
        bench.round()
    bench.publish(20)
    assert bench.budget.total == bench.limit
    before = Gap(Position("epoch", 16), 16)
    assert readers[0].read() == readers[2].read() == [before, *range(17, 27)]
    assert readers[1].read() == [Gap(Position("epoch", 26), 26)]


def test_a_gap_costs_the_same_however_large_it_is() -> None:
    """Many who find that much has been given up are no more work than many who find that a little has."""
    few, many = Bench(Retention()), Bench(Retention())
    costs = list[int]()
    for bench, lost in ((few, 10), (many, 1000)):
        reader = bench.reader(DropOldest(10_000))
        bench.publish(lost + 1)
        for _ in range(lost):
            bench.log.give_up()

        def find(cursor: Cursor = reader.cursor, lost: int = lost) -> None:
            cursor.rewind(1, 0)
            assert cursor.peek() == Gap(Position("epoch", lost), lost)

        costs.append(steps(find))
    assert costs[0] == costs[1]


def test_a_key_function_that_raises() -> None:
    """Those who read by it learn of that; who comes next has a new index, or what was raised."""
    bench = Bench(Retention(1))

    def key(value: object) -> Hashable:
        if value == 2:
            raise LookupError("no key")
        return "all"

    lag = Latest[object](key)
    reader = bench.reader(lag)
    bench.publish()
    assert reader.cursor.fault() is None
    bench.publish()
    assert isinstance(reader.cursor.fault(), LookupError)
    with pytest.raises(LookupError):
        Cursor(lag).place(bench.log, None, 0)
    bench.publish()
    bench.leave(reader)
    bench.trim()
    assert bench.reader(lag).read() == [3]
    assert len(bench.log.indexes) == 1


def test_the_room_that_holds_most_gives_up_its_own() -> None:
    """A flood in one room costs another nothing; sizes are compared within a factor of two."""
    budget = HistoryBudget[Log](100 * OVERHEAD)
    small, large = (Log(RoomKey("rooms/{room}", (name,)), name, Retention(1000), budget) for name in "ab")
    for number in range(20):
        small.append(Entry(number, None), 0)
    for number in range(500):
        large.append(Entry(number, None), 0)
        assert small not in budget.make_room()
    assert len(small.entries) == 20
    assert len(large.entries) == 80
    small.drop()
    large.drop()
    assert budget.total == 0
