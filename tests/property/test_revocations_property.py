"""Properties of revocations: whatever is revoked stays refused, however small the table, and whoever shares its name.

The limits are those of docs/guards.md: an entry is kept for `KEPT` seconds, or until the one token that it found has
expired, if it names the issuer, because there are several; and a token id that is named together with its subject
stands for what that subject has then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.connection.revocation_store import Revocation
from seawall.connection.revocations import CredentialSnapshot, Entry, Revocations, Selection
from seawall.errors import Unauthorized, Unavailable

START: Final = 1_000_000.0
KEPT: Final = 100.0
SKEW: Final = 5.0


class Issued(NamedTuple):
    """A credential without its dates; few names, so that many are shared."""

    issuer: str
    subject: str | None
    session_id: str | None
    token_id: str | None


WHO: Final = [
    Issued(*named) for named in product(("us", "them"), ("ada", "bob", None), ("s1", "s2", None), ("t1", "t2", "t3"))
]


@frozen
class Step:
    """Some time passes, and then somebody calls `revoke`."""

    seconds: float
    selection: Selection
    issued_before: float | None
    """Relative to that moment."""
    connected: tuple[tuple[Issued, float, float], ...]
    """Who is connected, by a credential of this age and with so long to live."""


def selections() -> st.SearchStrategy[Selection]:
    """Anything but everybody."""
    return st.builds(
        Selection,
        issuer=st.sampled_from([None, "us", "them"]),
        subject=st.sampled_from([None, "ada", "bob"]),
        session_id=st.sampled_from([None, None, "s1", "s2"]),
        token_id=st.sampled_from([None, "t1", "t2", "t3"]),
    ).filter(any)


def steps(*, finds: bool) -> st.SearchStrategy[list[Step]]:
    """A history; `finds` says whether there are connections."""
    connected = st.tuples(
        st.sampled_from(WHO), st.sampled_from([0.0, 1.0, 90.0]), st.sampled_from([1.0, 40.0, math.inf])
    )
    return st.lists(
        st.builds(
            Step,
            seconds=st.sampled_from([0.0, 0.0, 1.0, 30.0]),
            selection=selections(),
            issued_before=st.sampled_from([None, None, None, -10.0, 0.0, 20.0, math.inf]),
            connected=st.lists(connected, max_size=2).map(tuple) if finds else st.just(()),
        ),
        min_size=1,
        max_size=12,
    )


@frozen
class Remembered:
    """A call of `revoke` that did not raise."""

    at: float
    selection: Selection
    issued_before: float | None
    ends_at: float | None
    """When the last of the tokens that it found by id and issuer expires, if it found one and all expire."""

    def demands(self, held: CredentialSnapshot, now: float) -> bool:
        """Whether `held` has to be refused at `now` because of this call."""
        if not self.selection.matches(held):
            return False
        limit = self.at if self.issued_before is None else self.issued_before
        if self.ends_at is not None and now >= self.ends_at:
            return False
        names_one = (self.selection.session_id, self.selection.token_id) != (None, None)
        is_kept = now < max(self.at, limit) + KEPT
        stands_for_all = self.selection.subject is not None and self.selection.token_id is not None
        if self.issued_before is None and names_one and is_kept and not stands_for_all:
            return True
        return held.issued_at < limit or (self.issued_before is None and held.issued_at <= limit + held.skew)


@pytest.fixture(scope="module")
def clock() -> Iterator[list[float]]:
    """The wall clock, which stands still but for what a test does to it."""
    now = [START]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.clock.source", lambda: now[0])
        yield now


def remember(table: Revocations, step: Step, now: float) -> Remembered | None:
    """Call `revoke` as `Sessions` does; None if that raises."""
    before = None if step.issued_before is None else now + step.issued_before
    held = [credential(who, now - age, now + left) for who, age, left in step.connected]
    found = [one for one in held if step.selection.matches(one) and (before is None or one.issued_at < before)]
    ends = [one.expires_at + one.skew for one in found]
    try:
        table.put(step.selection, table.entry_of(step.selection, before, tuple(found)))
    except Unavailable:
        return None
    names_one = step.selection.token_id is not None and step.selection.issuer is not None
    is_exact = names_one and bool(ends) and max(ends) < math.inf
    return Remembered(now, step.selection, before, max(ends) if is_exact else None)


def credential(who: Issued, issued_at: float, expires_at: float) -> CredentialSnapshot:
    """A credential with its dates."""
    return CredentialSnapshot(*who, issued_at=issued_at, expires_at=expires_at, skew=SKEW)


def knowing_both(table: Revocations) -> Revocations:
    """The table, which has seen credentials of both issuers."""
    for issuer in ("us", "them"):
        table.raise_if_revoked(CredentialSnapshot(issuer, None, None, None, START, math.inf, SKEW))
    return table


def is_refused(table: Revocations, held: CredentialSnapshot) -> bool:
    """Whether it would not be let in."""
    try:
        table.raise_if_revoked(held)
    except Unauthorized:
        return True
    return False


@settings(deadline=None)
@given(history=st.booleans().flatmap(lambda finds: steps(finds=finds)), room=st.integers(1, 6))
def test_mended_07_whatever_is_revoked_stays_refused(history: list[Step], room: int, clock: list[float]) -> None:
    """In any order and for any size of the table: until it expires, or the limits that are documented."""
    remembered, clock[0] = list[Remembered](), START
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", room)
        table = knowing_both(Revocations(kept=KEPT))
        for step in history:
            clock[0] += step.seconds
            call = remember(table, step, clock[0])
            remembered += [call] if call is not None else []
            for who, age in product(WHO, (-8.0, -4.0, 0.0, 15.0, 60.0)):
                held = credential(who, clock[0] - age, clock[0] + 50.0)
                for past in remembered:
                    assert is_refused(table, held) or not past.demands(held, clock[0]), (past, held)


@settings(deadline=None)
@given(history=st.booleans().flatmap(lambda finds: steps(finds=finds)), room=st.integers(1, 6))
def test_what_a_store_hands_on_is_refused_alike(history: list[Step], room: int, clock: list[float]) -> None:
    """Another process, which knows only what was stored, refuses whatever was revoked, and with room for it no more."""
    remembered, clock[0] = list[Remembered](), START
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", room)
        table, there, small = (knowing_both(Revocations(kept=KEPT)) for _ in range(3))
        for step in history:
            clock[0] += step.seconds
            stored = stored_by(step, clock[0])
            call = remember(table, step, clock[0])
            fits = hand_on(small, stored)
            remembered += [call] if call is not None and fits else []
            patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", 1000)
            assert hand_on(there, stored)
            patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", room)
            for who, age in product(WHO, (-8.0, -4.0, 0.0, 15.0, 60.0)):
                held = credential(who, clock[0] - age, clock[0] + 50.0)
                for past in remembered:
                    assert is_refused(small, held) or not past.demands(held, clock[0]), (past, held)
                    assert is_refused(there, held) or not past.demands(held, clock[0]), (past, held)
            eve = CredentialSnapshot("others", "eve", "s9", "t9", clock[0] - 40.0, clock[0] + 50.0, 0.0)
            assert not is_refused(there, eve)
            assert not is_refused(small, eve)


def stored_by(step: Step, now: float) -> Revocation:
    """What `Sessions.revoke` stores of a step."""
    before = None if step.issued_before is None else now + step.issued_before
    held = [credential(who, now - age, now + left) for who, age, left in step.connected]
    found = tuple(one for one in held if step.selection.matches(one) and (before is None or one.issued_at < before))
    return Revocations(kept=KEPT).entry_of(step.selection, before, found).stored(step.selection)


def hand_on(table: Revocations, stored: Revocation) -> bool:
    """Let a table have what was stored, as `SessionTable.apply` does; whether it has room."""
    selection = Selection(stored.issuer, stored.subject, stored.session_id, stored.token_id)
    try:
        table.put(selection, Entry.of(stored, KEPT))
    except Unavailable:
        return False
    return True


@settings(deadline=None)
@given(history=steps(finds=True), room=st.integers(1, 6))
def test_mended_07_nobody_else_is_refused(history: list[Step], room: int, clock: list[float]) -> None:
    """Whose subject nobody has named, nor a session or a token that is theirs, is let in as long as tokens are kept."""
    clock[0] = START
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", room)
        table = Revocations(kept=KEPT)
        for step in history:
            clock[0] += step.seconds
            remember(table, step, clock[0])
            for issued_at in (clock[0], clock[0] - 40.0):
                eve = CredentialSnapshot("others", "eve", "s9", "t9", issued_at, clock[0] + 50.0, 0.0)
                assert not is_refused(table, eve)
