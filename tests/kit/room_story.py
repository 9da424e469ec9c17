"""A model of rooms: what is published in one, what it has to keep, and what each who reads it has to see.

It is told what happens, and shares nothing with the code that does it. Positions are places in the list of all that was
published, found by the text that the publisher was given.
"""

from __future__ import annotations

import math
from typing import final

import trio
from attrs import define, field, frozen

from seawall.errors import SlowConsumer, SubscriptionLost
from seawall.rooms import Disconnect, DropNewest, DropOldest, Gap, Lag, Latest, Position, Since
from tests.kit.rooms import Said, Wrap, tell_some


@frozen
class Published:
    """An event, as its publisher knows it."""

    number: int
    key: int
    at: Position
    but: str | None
    when: float


@final
@define(eq=False)
class Story:
    """What has been published in one room, and what has to be kept of it."""

    history: int
    ttl: float | None
    is_tight: bool
    """Whether memory is so short that less may be kept."""
    newest: Lag[Said] | None = None
    """How it is read by whom the newest event of each key is kept."""
    events: list[Published] = field(factory=list[Published])
    burst: int = 0
    """How many events were published since everybody had a turn."""
    _users: int = 0
    _starts: dict[str, int] = field(factory=dict[str, int])  # by epoch, the index of the first event
    _epoch: str | None = None  # of the log that has to be there now
    _used: float = -math.inf  # when there was the last publish, or the last reader left

    def publish(self, value: Said, at: Position, but: str | None) -> None:
        """An event has been published."""
        now = trio.current_time()
        self._check_epoch(at, is_new=at.number == 1, start=len(self.events))
        assert at.number == len(self.events) - self._starts[at.epoch] + 1, f"{at} is not the next place"
        self.events.append(Published(value.number, value.key, at, but, now))
        self._used = now
        self._epoch = at.epoch if self._users or self.history else None
        self.burst += 1

    def begin(self, at: Position) -> None:
        """Somebody reads now; `at` is of the log that they read."""
        self._check_epoch(at, is_new=at.number == 0, start=len(self.events))
        self._epoch = at.epoch
        self._users += 1

    def touch(self) -> None:
        """Somebody has looked into it."""
        self._expire()
        self._leave()

    def end(self) -> None:
        """Somebody reads no more."""
        self._users -= 1
        self._leave()

    def _leave(self) -> None:
        if self._users:
            return
        self._used = trio.current_time()
        is_empty = self._epoch is None or self._starts[self._epoch] == len(self.events)
        if not self.history or is_empty:
            self._epoch = None

    def _check_epoch(self, at: Position, *, is_new: bool, start: int) -> None:
        """A log that has to be there is the one that is there; another one is new, and begins with nothing."""
        self._expire()
        if at.epoch != self._epoch:
            assert self._epoch is None or self.is_tight, f"{at} is of another time than {self._epoch}"
            assert is_new, f"{at}, of a log that is new"
            assert at.epoch not in self._starts, f"{at} is of a time that is over"
            self._starts[at.epoch] = start

    def _expire(self) -> None:
        if not self._users and self.ttl is not None and trio.current_time() > self._used + self.ttl:
            self._epoch = None

    def knows(self, at: Position) -> bool:
        """Whether it is of some time of this room."""
        return at.epoch in self._starts

    def index(self, at: Position) -> int:
        """The index of the event behind this position, which is of some time of this room."""
        return self._starts[at.epoch] + at.number

    def kept(self) -> int:
        """The index of the first event that is kept for who comes now."""
        now = trio.current_time()
        first = max(self._starts.get(self._epoch or "", len(self.events)), len(self.events) - self.history)
        while self.ttl is not None and first < len(self.events) and self.events[first].when < now - self.ttl:
            first += 1
        return first

    def entry(self, since: Since, lag: Lag[Said]) -> Entry:
        """What somebody has to see first who comes now."""
        self._expire()
        now, is_latest = len(self.events), isinstance(lag, Latest)
        kept = self.kept()
        earliest = self._starts.get(self._epoch or "", now) if is_latest else kept
        must = earliest if lag == self.newest and not self.is_tight else kept
        may_miss_until = now if self.is_tight else must
        oldest = -math.inf if self.ttl is None else trio.current_time() - self.ttl
        if since is None:
            return Entry(earliest, may_miss_until=may_miss_until, oldest=oldest)
        if not isinstance(since, Position):
            return Entry(now)
        if since.epoch != self._epoch or self.index(since) > now:
            return Entry(earliest, is_gap=True, may_miss_until=may_miss_until, oldest=oldest)
        if self.index(since) >= kept or is_latest or self.is_tight:
            return Entry(self.index(since))
        return Entry(kept, is_gap=True, lost=kept - self.index(since))


@final
@frozen
class Entry:
    """What somebody has to see first."""

    next: int
    """The index of the event, behind the gap."""
    is_gap: bool = False
    lost: int | None = None
    may_miss_until: int = 0
    """The index of the first event that is certainly kept."""
    oldest: float = -math.inf
    """Events from before that time need not be kept."""


@final
@define(eq=False)
class Reader:
    """One who reads a room, and what they have seen."""

    story: Story
    since: Since
    lag: Lag[Said]
    wrap: Wrap | None = None
    connection: str | None = None
    """The id of its connection; None for code of the app."""
    got: list[int | Gap] = field(factory=list[int | Gap])
    """Numbers of events, and gaps."""
    entry: Entry | None = None
    """What had to come first, as soon as it was let in."""
    failure: Exception | None = None
    position: Position | None = None
    """When it ended."""
    is_over: bool = False
    is_cut: bool = False
    """Whether not all that it was given has come."""
    has_waited: bool = False
    """Whether it has not read for a while, or more came at once than may wait."""
    came_at: int = 0
    """How many events had been published when it came."""
    backlog: int = 0
    """How many events waited for it when it came, since then everybody had no turn."""

    def begin(self, at: Position) -> None:
        """It has been let in."""
        self.story.begin(at)
        self.entry = self.story.entry(self.since, self.lag)
        self.came_at = len(self.story.events)
        self.backlog = self.came_at - self.entry.next
        self.note_burst()

    def end(self, failure: Exception | None, position: Position | None) -> None:
        """It has ended, or was not let in."""
        self.is_over, self.failure, self.position = True, failure, position
        if self.entry is not None:
            self.story.end()
        elif isinstance(failure, SubscriptionLost):
            expected = self.story.entry(self.since, self.lag)
            assert expected.is_gap or self.story.is_tight or isinstance(self.lag, Latest), f"lost nothing: {self}"
            assert self.wrap is None, self
            self.story.touch()

    def note_burst(self) -> None:
        """Look whether more came at once than may wait."""
        if not isinstance(self.lag, Latest) and self.backlog + self.story.burst > self.lag.n:
            self.has_waited = True

    def check(self) -> None:
        """What it has seen is right."""
        if self.entry is None:
            assert not self.got, f"it has not been let in: {self}"
            return
        walk = _Walk(self, self.entry)
        for item in self.got:
            if isinstance(item, Gap):
                walk.gap(item)
            else:
                walk.event(item)
        walk.finish()


@final
@define(eq=False)
class _Walk:
    """Goes over what somebody has seen."""

    reader: Reader
    entry: Entry
    next: int = field(init=False)
    """The index of what has to come."""
    gaps: int = 0
    """How many there were, but for one at the beginning."""
    run: int = 0
    """How many events came since the last gap."""
    steps: int = 0

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.next = self.entry.next

    def event(self, number: int) -> None:
        """It was given this event."""
        reader, story = self.reader, self.reader.story
        assert self.steps or not self.entry.is_gap, f"no gap in front: {reader}"
        found = [at for at in range(self.next, len(story.events)) if story.events[at].number == number]
        assert found, f"{number} comes twice, out of order, too early, or from nowhere: {reader}"
        self.pass_over(found[0])
        self.next = found[0] + 1
        self.run += 1
        self.steps += 1

    def gap(self, gap: Gap) -> None:
        """It was told of this gap."""
        reader, story = self.reader, self.reader.story
        until = story.index(gap.before)
        if not self.steps and self.entry.is_gap:
            self._check_first(gap, until)
        else:
            self._check_later(gap, until)
            self.gaps += 1
        assert until <= len(story.events), f"{gap} is in the future: {reader}"
        self.next, self.run = until, 0
        self.steps += 1

    def _check_first(self, gap: Gap, until: int) -> None:
        reader, more = self.reader, until - self.entry.next
        assert more >= 0, f"{gap} is told too early: {reader}"
        assert not more or reader.has_waited or reader.story.is_tight or isinstance(reader.lag, Latest), (gap, reader)
        if self.entry.lost is None:
            assert gap.lost is None or reader.story.is_tight, f"{gap}, though nobody can know: {reader}"
        elif not isinstance(reader.lag, Latest):
            assert gap.lost == self.entry.lost + more, f"{gap}, but {self.entry} and {more}: {reader}"

    def _check_later(self, gap: Gap, until: int) -> None:
        reader, lag = self.reader, self.reader.lag
        assert until > self.next, f"{gap} tells of nothing: {reader}"
        if isinstance(lag, Latest):
            return
        assert gap.lost is not None, f"{gap}, though somebody knows: {reader}"
        assert 0 < gap.lost <= until - self.next, f"{gap}, but it had all up to {self.next}: {reader}"
        self.pass_over(until - gap.lost)
        if reader.story.is_tight:
            return
        assert not isinstance(lag, Disconnect), f"a gap: {reader}"
        assert reader.has_waited, f"lost, though it has always read: {reader}"
        if isinstance(lag, DropNewest) and self._sees_all:
            assert self.run >= lag.n, f"{gap}, though only {self.run} waited: {reader}"

    @property
    def _sees_all(self) -> bool:
        """Whether nothing is held back from it for another reason."""
        return self.reader.wrap is not tell_some and all(
            event.but is None or event.but != self.reader.connection for event in self.reader.story.events
        )

    def finish(self) -> None:
        """That was all."""
        reader, story, lag = self.reader, self.reader.story, self.reader.lag
        if reader.is_cut:
            return
        if not reader.is_over:
            assert self.steps or not self.entry.is_gap, f"not told of the gap: {reader}"
            self.pass_over(len(story.events))
            if isinstance(lag, DropOldest) and self.gaps and self._sees_all and not story.is_tight:
                assert self.run >= lag.n, f"lost, though only {self.run} waited: {reader}"
        elif reader.position is not None and (self.steps or not self.entry.is_gap):
            if story.knows(reader.position):
                until = story.index(reader.position)
                assert until >= self.next, f"it has had more than {reader.position}: {reader}"
                self.pass_over(until)
            else:  # who goes on there has a gap
                assert isinstance(lag, Latest) or story.is_tight, reader
        if isinstance(reader.failure, SlowConsumer):
            assert isinstance(lag, Disconnect), reader
            assert reader.has_waited, f"too slow, though it has always read: {reader}"
        if isinstance(reader.failure, SubscriptionLost):
            assert story.is_tight or isinstance(lag, Latest), reader

    def at_entry(self, index: int) -> bool:
        """Whether this event had been published when it came."""
        return index < self.reader.came_at

    def pass_over(self, until: int) -> None:
        """It was not given what comes before this index."""
        reader, events = self.reader, self.reader.story.events
        for index in range(max(self.next, self.entry.may_miss_until), until):
            event = events[index]
            if self.at_entry(index) and event.when < self.entry.oldest:
                continue
            is_own = event.but is not None and event.but == reader.connection
            is_quiet = reader.wrap is tell_some and bool(event.key % 2)
            is_replaced = isinstance(reader.lag, Latest) and any(one.key == event.key for one in events[index + 1 :])
            assert is_own or is_quiet or is_replaced, f"{event} is missing in silence: {reader}"
