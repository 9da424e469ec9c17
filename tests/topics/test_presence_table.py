"""`MemberTable` and `Lingering`: who is in a room, and who may come back. No wire, no time."""

from __future__ import annotations

import math
from typing import final

import pytest
from attrs import define

from seawall.connection.revocations import CredentialSnapshot, Entry, Selection
from seawall.topics.keys import RoomKey
from seawall.topics.kicks import Who
from seawall.topics.lingering import Lingerer, Lingering
from seawall.topics.presence_changes import Member
from seawall.topics.presence_table import MemberEntry, MemberTable, Said, Subjects, subjects_of
from tests.kit.visitors import Pass

ADA: Subjects = frozenset({("us", "ada")})
BOB: Subjects = frozenset({("us", "bob")})
TEA, MILK = RoomKey("rooms/{room}", ("tea",)), RoomKey("rooms/{room}", ("milk",))


def entry(name: str, value: str = "here") -> MemberEntry[str]:
    """A member whose connection has the same name."""
    return MemberEntry(name, Said(value, value.encode()), name)


def held(one: Pass) -> CredentialSnapshot:
    """What is known of `one`."""
    return CredentialSnapshot.of(one, 0.0)


def test_who_is_whose() -> None:
    """A member is of all the subjects that its credentials name, each of its issuer."""
    several = (held(Pass()), held(Pass(subject=None, token_id="7")), held(Pass(issuer="", subject="ada")))
    assert subjects_of(several) == {("us", "ada"), ("", "ada")}
    assert subjects_of(()) == frozenset()


def test_members_come_and_go() -> None:
    """Members are told in the order in which they joined; each leaves once."""
    table: MemberTable[str] = MemberTable()
    one, two = entry("1"), entry("2", "away")
    table.join(one)
    table.join(two)
    assert table.members() == (Member("1", "here"), Member("2", "away"))
    assert table.has("1")
    assert table.leave(one)
    assert not table.leave(one)
    assert not table.has("1")
    assert table.members() == (Member("2", "away"),)
    assert len(table) == 1


def test_taking_over() -> None:
    """Who lingers is there, of no connection, and is taken over by the same subject only, the last one first."""
    table: MemberTable[str] = MemberTable()
    one, two, three = entry("1"), entry("2"), entry("3")
    for each in (one, two, three):
        table.join(each)
    table.linger(one, ADA)
    table.linger(two, ADA)
    assert [member.id for member in table.members()] == ["1", "2", "3"]
    assert not table.has("1")
    assert table.to_take_over(BOB) is None
    assert table.to_take_over(frozenset()) is None
    assert table.to_take_over(ADA) is two
    table.take_over(two, "4")
    assert table.has("4")
    assert table.to_take_over(ADA) is one
    assert table.leave(one)
    assert table.to_take_over(ADA) is None
    table.linger(two, ADA)
    assert not table.has("4")
    assert table.leave(two)
    assert table.leave(three)
    assert table.members() == ()


@final
@define(eq=False)
class Somebody:
    """A member of whom it is counted how often it left."""

    left: int = 0

    def leave(self) -> None:
        """Leave."""
        self.left += 1


def lingerer(member: Somebody, until: float, who: Pass | None = None, *, key: RoomKey = TEA) -> Lingerer:
    """One that lingers."""
    one = held(who or Pass())
    return Lingerer(key=key, connection="1", held=(one,), subjects=subjects_of((one,)), until=until, member=member)


def test_lingering_ends() -> None:
    """Each leaves when its time is over, once; who has been taken over does not."""
    lingering, some = Lingering(), [Somebody() for _ in range(4)]
    assert lingering.due == math.inf
    several = [lingerer(member, until) for member, until in zip(some, (3, 1, 2, 1), strict=True)]
    for one in several:
        lingering.add(one)
    assert lingering.due == 1
    lingering.discard(several[1])
    lingering.discard(several[1])
    lingering.run_due(0.9)
    assert [member.left for member in some] == [0, 0, 0, 0]
    lingering.run_due(2)
    assert [member.left for member in some] == [0, 0, 1, 1]
    assert lingering.due == 3
    lingering.discard(several[0])
    assert lingering.due == math.inf
    assert len(lingering) == 0
    lingering.run_due(9)
    assert [member.left for member in some] == [0, 0, 1, 1]


def test_revoked_and_kicked_while_lingering() -> None:
    """A revocation or a kick that is about somebody who lingers ends that at once, and nobody else's."""
    lingering, some = Lingering(), [Somebody() for _ in range(4)]
    lingering.add(lingerer(some[0], 5, Pass(issued_at=10.0)))
    lingering.add(lingerer(some[1], 5, Pass(issued_at=20.0)))
    lingering.add(lingerer(some[2], 5, Pass(subject="bob")))
    lingering.add(lingerer(some[3], 5, Pass(subject="bob"), key=MILK))
    lingering.on_revoked(Selection(None, "ada", None, None), Entry(15.0, -math.inf, False, 99.0, False))
    assert [member.left for member in some] == [1, 0, 0, 0]
    lingering.on_kicked(TEA, Who(Selection(None, "bob", None, None), None))
    assert [member.left for member in some] == [1, 0, 1, 0]
    lingering.on_kicked(MILK, Who(Selection(None, None, None, None), "2"))
    assert [member.left for member in some] == [1, 0, 1, 0]
    lingering.on_kicked(MILK, Who(Selection(None, None, None, None), "1"))
    assert [member.left for member in some] == [1, 0, 1, 1]
    lingering.run_due(9)
    assert [member.left for member in some] == [1, 1, 1, 1]


@pytest.mark.parametrize("names", [("ada", "ada", "ada", "bob"), ("bob", "ada", "ada", "ada")])
def test_lingering_is_bounded(names: tuple[str, ...]) -> None:
    """Who has most loses the first of them, before its time; nobody else's flicker."""
    lingering, some = Lingering(at_most=4), [Somebody() for _ in range(5)]
    for number, name in enumerate(names):
        lingering.add(lingerer(some[number], 5 + number, Pass(subject=name)))
    lingering.add(lingerer(some[4], 20, Pass(subject="eve")))
    assert len(lingering) == 4
    assert [member.left for member in some] == [int(number == names.index("ada")) for number in range(5)]


def test_lingering_is_bounded_where_nobody_has_two() -> None:
    """Then it is the first of all, and taking over leaves nothing behind."""
    lingering, some = Lingering(at_most=3), [Somebody() for _ in range(4)]
    for number, member in enumerate(some):
        lingering.add(lingerer(member, 5, Pass(subject=str(number))))
    assert [member.left for member in some] == [1, 0, 0, 0]
    for number in range(100):
        again = lingerer(Somebody(), 5 + number, Pass(subject="eve"))
        lingering.add(again)
        lingering.discard(again)
        assert len(lingering._ends) <= 7  # pyright: ignore[reportPrivateUsage] # nothing else shows it
