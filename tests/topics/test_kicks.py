"""`Kicks`: who has been put out of which room, without a wire."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from seawall import ConfigurationError, Disconnected, Unavailable
from seawall.connection.revocations import Selection
from seawall.connection.session_table import SessionTable
from seawall.errors import Kicked
from seawall.topics import kicks as module
from seawall.topics.keys import RoomKey
from seawall.topics.kicks import MAX_SECONDS, Kicks, Who, check_kick
from tests.kit.visitors import Pass, Present, connected

TEA, MILK = RoomKey("rooms/{room}", ("tea",)), RoomKey("rooms/{room}", ("milk",))


def who(
    *, issuer: str | None = None, subject: str | None = None, session: str | None = None, connection: str | None = None
) -> Who:
    """Those who match all of this."""
    return Who(Selection(issuer, subject, session, None), connection)


def sessions() -> SessionTable:
    """A table without limits."""
    return SessionTable(at_most=None, kept=3600)


@pytest.mark.parametrize(
    ("kicked", "expected"),
    [
        (who(subject="ada"), {"1", "2", "3"}),
        (who(issuer="them"), {"3", "4"}),
        (who(issuer="us", subject="ada"), {"1", "2"}),
        (who(session="s2"), {"2"}),
        (who(subject="ada", session="s2"), {"2"}),
        (who(subject="bob", session="s2"), set[str]()),
        (who(connection="5"), {"5"}),
        (who(connection="1"), {"1"}),
        (who(connection="1", subject="bob"), set[str]()),
        (who(connection="1", subject="ada"), {"1"}),
        (who(issuer=""), set[str]()),
    ],
)
async def test_whom_a_kick_is_about(kicked: Who, expected: set[str], autojump_clock: MockClock) -> None:
    """Whoever matches all that is given is ended and refused, in this room and in no other; others are left alone."""
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass(session_id="s1"))
    connected(table, "2", Pass(session_id="s2"), Pass(subject="device"))
    connected(table, "3", Pass(issuer="them"))
    connected(table, "4", Pass(issuer="them", subject="bob"))
    connected(table, "5")
    present = [Present(kicks.admit(TEA, name)) for name in "12345"]
    assert kicks.kick(TEA, kicked, 60, [*present, *present[:1]]) == len(expected)
    assert {one.owner.connection for one in present if one.ended} == expected
    assert all(isinstance(failure, Kicked) for one in present for failure in one.ended)
    refused = set[str]()
    for name in "12345":
        kicks.admit(MILK, name)
        try:
            kicks.admit(TEA, name)
        except Kicked:
            refused.add(name)
    assert refused == expected
    await trio.sleep(60)
    for name in "12345":
        kicks.admit(TEA, name)


async def test_a_kick_is_about_who_comes_later_too(autojump_clock: MockClock) -> None:
    """A new connection of the same subject is refused until the time is over; with no seconds nobody is."""
    table = sessions()
    kicks = Kicks(table)
    assert kicks.kick(TEA, who(subject="ada"), 30, ()) == 0
    assert kicks.kick(TEA, who(subject="bob"), 0, ()) == 0
    connected(table, "1", Pass())
    connected(table, "2", Pass(subject="bob"))
    kicks.admit(TEA, "2")
    with pytest.raises(Kicked, match=r"kicked out of rooms/\{room\}\('tea'\)"):
        kicks.admit(TEA, "1")
    await trio.sleep(29.9)
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    await trio.sleep(0.1)
    kicks.admit(TEA, "1")


async def test_the_longest_kick_counts(autojump_clock: MockClock) -> None:
    """A second kick of the same is no second entry, and makes no time shorter."""
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass())
    for seconds in (10, 100, 20):
        kicks.kick(TEA, who(subject="ada"), seconds, ())
    assert len(kicks) == 1
    await trio.sleep(50)
    kicks.kick(MILK, who(subject="bob"), 100, ())
    assert len(kicks) == 2
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    await trio.sleep(50)
    kicks.admit(TEA, "1")
    kicks.kick(MILK, who(subject="bob"), 100, ())
    assert len(kicks) == 1, "what is over is forgotten"
    kicks.clear()
    assert len(kicks) == 0


async def test_who_is_gone_is_not_admitted(autojump_clock: MockClock) -> None:
    """A connection that is not open, or about to end, has nothing to look for in a room."""
    table = sessions()
    kicks = Kicks(table)
    with pytest.raises(Disconnected):
        kicks.admit(TEA, "1")
    registration = connected(table, "1", Pass())
    kicks.admit(TEA, "1")
    registration.leave()
    with pytest.raises(Disconnected):
        kicks.admit(TEA, "1")


async def test_kicks_are_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room that has most makes room for others, is told when there is none for itself, and no heap grows."""
    monkeypatch.setattr(module, "MAX_KICKS", 8)
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass(subject="0"))
    for number in range(8):
        kicks.kick(TEA, who(subject=str(number)), 60, ())
    with pytest.raises(Unavailable, match="kick for fewer seconds"):
        kicks.kick(TEA, who(subject="8"), 60, ())
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    for number in range(200):
        try:
            kicks.kick(MILK if number % 2 else TEA, who(subject=f"{number}"), 60, ())
        except Unavailable:
            continue
    assert len(kicks) == 8
    assert len(kicks._ends) <= 17  # pyright: ignore[reportPrivateUsage] # nothing else shows it
    connected(table, "2", Pass(subject="new"))
    other = RoomKey("rooms/{room}", ("coffee",))
    kicks.kick(other, who(subject="new"), 60, ())
    with pytest.raises(Kicked):
        kicks.admit(other, "2")
    await trio.sleep(60)
    kicks.kick(TEA, who(subject="new"), 60, ())
    assert len(kicks) == 1


async def test_many_kicks_are_over_at_once(autojump_clock: MockClock) -> None:
    """Those that come next forget some of them each, and nobody is refused by one that is not forgotten yet."""
    kicks = Kicks(sessions())
    for number in range(500):
        kicks.kick(TEA, who(subject=str(number)), 60, ())
    await trio.sleep(60)
    kicks.kick(TEA, who(subject="new"), 3600, ())
    assert len(kicks) == 401
    assert not kicks.unkick(TEA, who(subject="499"))
    assert len(kicks) == 301
    connected(kicks.table, "1", Pass(subject="499"))
    kicks.admit(TEA, "1")
    kicks.kick(TEA, who(subject="499"), 60, ())
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    for _ in range(10):
        kicks.kick(TEA, who(subject="new"), 60, ())
    assert len(kicks) == 2
    assert kicks.unkick(TEA, who(subject="499"))


async def test_what_was_forgotten_early_is_no_memory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short kicks that push long ones out, again and again, leave nothing behind; the long ones still end in time."""
    monkeypatch.setattr(module, "MAX_KICKS", 8)
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass(subject="long"))
    for round_ in range(50):
        for number in range(8 - len(kicks)):
            kicks.kick(TEA, who(subject=f"{round_} {number}"), 3600, ())
        for number in range(3):
            kicks.kick(MILK, who(subject=f"{number}"), 1, ())
        await trio.sleep(1)
        kicks.kick(TEA, who(subject="long"), 600, ())
        assert len(kicks) <= 8
        assert len(kicks._ends) <= 17  # pyright: ignore[reportPrivateUsage] # nothing else shows it
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    await trio.sleep(600)
    kicks.admit(TEA, "1")
    await trio.sleep(3600)
    kicks.kick(MILK, who(subject="ada"), 1, ())
    assert len(kicks) == 1


async def test_no_room_of_its_own_for_a_first_kick(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every room has one kick, none is forgotten for another."""
    monkeypatch.setattr(module, "MAX_KICKS", 2)
    kicks = Kicks(sessions())
    for room in ("a", "b"):
        kicks.kick(RoomKey("{room}", (room,)), who(subject="ada"), 60, ())
    with pytest.raises(Unavailable):
        kicks.kick(RoomKey("{room}", ("c",)), who(subject="ada"), 60, ())


@pytest.mark.parametrize(
    ("wrong", "seconds", "text"),
    [
        (who(), 60, "kick\\(\\) of nobody; give an issuer"),
        (who(subject=3), 60, "kick\\(subject=3\\)"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # the point
        (who(subject="ada"), -1, "seconds=-1"),
        (who(subject="ada"), math.nan, "seconds=nan"),
        (who(subject="ada"), math.inf, "a week"),
        (who(subject="ada"), MAX_SECONDS + 1, "a week"),
        (who(subject="ada"), True, "seconds=True"),
    ],
)
def test_wrong_arguments(wrong: Who, seconds: float, text: str) -> None:
    """A kick of nobody, or for a time that is none, is a mistake of the program."""
    with pytest.raises(ConfigurationError, match=text):
        check_kick(wrong, seconds)


async def test_no_names_in_the_log(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The log says by what somebody was kicked, and not whom."""
    caplog.set_level("INFO", "seawall")
    kicks = Kicks(sessions())
    kick = partial(kicks.kick, TEA, seconds=1, kickables=())
    kick(who=who(subject="ada", session="s7"))
    kick(who=who(connection="c9"))
    assert kicks.unkick(TEA, who(connection="c9"))
    assert "'rooms/{room}' by subject, session_id: 0 connections" in caplog.text
    assert "by connection: 0" in caplog.text
    assert "no longer kicked out of a room of 'rooms/{room}' by connection" in caplog.text
    assert not any(name in caplog.text for name in ("ada", "s7", "c9", "tea"))


async def test_a_kick_is_taken_back(autojump_clock: MockClock) -> None:
    """Whom it kept out comes in; another kick that is about the same connection stands, and so does another room's."""
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass(session_id="s1"))
    for key, kicked in ((TEA, who(subject="ada")), (TEA, who(session="s1")), (MILK, who(subject="ada"))):
        kicks.kick(key, kicked, 60, ())
    assert kicks.unkick(TEA, who(subject="ada"))
    assert len(kicks) == 2
    with pytest.raises(Kicked):
        kicks.admit(TEA, "1")
    assert kicks.unkick(TEA, who(session="s1"))
    kicks.admit(TEA, "1")
    with pytest.raises(Kicked):
        kicks.admit(MILK, "1")


async def test_what_is_no_kick_is_not_taken_back(autojump_clock: MockClock) -> None:
    """Not twice, not after its time, and not by a part of what it named, or by more."""
    kicks = Kicks(sessions())
    assert not kicks.unkick(TEA, who(subject="ada"))
    kicks.kick(TEA, who(issuer="us", subject="ada"), 60, ())
    for other in (who(subject="ada"), who(issuer="us"), who(issuer="us", subject="ada", connection="1")):
        assert not kicks.unkick(TEA, other)
    await trio.sleep(60)
    assert not kicks.unkick(TEA, who(issuer="us", subject="ada"))
    kicks.kick(TEA, who(subject="ada"), 60, ())
    assert kicks.unkick(TEA, who(subject="ada"))
    assert not kicks.unkick(TEA, who(subject="ada"))
    assert len(kicks) == 0


async def test_a_kick_after_one_that_was_taken_back_has_its_own_time(autojump_clock: MockClock) -> None:
    """Whether that is shorter than what was left of the first one, or longer."""
    table = sessions()
    kicks = Kicks(table)
    connected(table, "1", Pass())
    for first, second in ((60, 10), (10, 60)):
        kicks.kick(TEA, who(subject="ada"), first, ())
        kicks.unkick(TEA, who(subject="ada"))
        kicks.kick(TEA, who(subject="ada"), second, ())
        await trio.sleep(second - 1)
        with pytest.raises(Kicked):
            kicks.admit(TEA, "1")
        await trio.sleep(1)
        kicks.admit(TEA, "1")
    await trio.sleep(60)
    kicks.kick(MILK, who(subject="bob"), 1, ())
    assert len(kicks) == 1
