"""`Revocations`: which credentials have been revoked, in a table that is bounded.

An entry outlives what it is about, and is given up only when the table is full and its time has come. What is given up
leaves a date behind: a credential that was issued before it, and is good all the same, lives longer than revocations
are kept, may be one that was revoked, and is refused. Nobody else is.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Final, NamedTuple, Protocol, final

from seawall.clock import unix_time
from seawall.connection.revocation_owners import Owners
from seawall.connection.revocation_store import MAX_REVOCATIONS, Revocation
from seawall.errors import ConfigurationError, Unauthorized, Unavailable
from seawall.guards.credential import Credential
from seawall.observability.logs import server_log


class CredentialSnapshot(NamedTuple):
    """What is known of a credential when a connection is let in by it. The credential itself may change afterwards."""

    issuer: str
    """Empty if it names none."""
    subject: str | None
    session_id: str | None
    token_id: str | None
    issued_at: float
    """Minus infinity if it does not say."""
    expires_at: float
    """Infinity if it does not say."""
    skew: float
    """Seconds by which the clock that wrote these two may differ from ours."""

    @classmethod
    def of(cls, credential: Credential, skew: float) -> CredentialSnapshot:
        """Take what `credential` says now.

        Raises:
          ConfigurationError: it says something of a wrong type, or `skew` is no number of seconds.
        """
        if not 0 <= skew < math.inf:
            raise ConfigurationError(f"gate.identify(skew={skew}); give a number of seconds, such as 60")
        return cls(
            _text(credential, "issuer") or "",
            _text(credential, "subject"),
            _text(credential, "session_id"),
            _text(credential, "token_id"),
            _date(_number(credential, "issued_at"), -math.inf),
            _date(_number(credential, "expires_at"), math.inf),
            skew,
        )

    def identity(self) -> Identity:
        """Whom it is about."""
        is_named = self.subject is not None or self.session_id is not None
        return Identity(self.issuer, self.subject, self.session_id, None if is_named else self.token_id)


class Identity(NamedTuple):
    """Whom a credential is about."""

    issuer: str
    subject: str | None
    session_id: str | None
    token_id: str | None
    """Of a credential that says nothing else."""

    @property
    def is_nobody(self) -> bool:
        """Whether it says nothing at all: two of that kind may be about different people."""
        return (self.subject, self.session_id, self.token_id) == (None, None, None)


class NamedCredentials(NamedTuple):
    """The credentials that the guards of one connection have named; see `Gate.identify`."""

    held: tuple[CredentialSnapshot, ...] = ()
    """Those that count."""
    replaced: frozenset[Identity] = frozenset()
    """Whom those were about that count no more."""

    def adding(self, added: CredentialSnapshot, instead_of: Credential | None) -> NamedCredentials:
        """These and `added`, which counts in place of `instead_of` if that is given."""
        if instead_of is None:
            return NamedCredentials((*self.held, added), self.replaced)
        gone = CredentialSnapshot.of(instead_of, added.skew)  # it may have been named with another skew
        kept = tuple(held for held in self.held if held._replace(skew=added.skew) != gone)
        replaced = self.replaced.union(held.identity() for held in self.held if held not in kept)
        return NamedCredentials((*kept, added), replaced)

    def identities(self) -> frozenset[Identity]:
        """Whom all are about that have been named, those that count no more included."""
        return self.replaced.union(held.identity() for held in self.held)


class Selection(NamedTuple):
    """Whose credentials a revocation is about: those that match in all that is not None."""

    issuer: str | None
    subject: str | None
    session_id: str | None
    token_id: str | None

    @classmethod
    def of(cls, stored: Revocation) -> Selection:
        """Whose `stored` is about."""
        return cls(stored.issuer, stored.subject, stored.session_id, stored.token_id)

    def matches(self, held: CredentialSnapshot) -> bool:
        """Whether `held` is one of them."""
        return (
            self.issuer in {None, held.issuer}
            and self.subject in {None, held.subject}
            and self.session_id in {None, held.session_id}
            and self.token_id in {None, held.token_id}
        )

    @property
    def shape(self) -> tuple[bool, ...]:
        """Which of its fields are not None."""
        return tuple(field is not None for field in self)

    @classmethod
    def naming(cls, held: CredentialSnapshot, shape: tuple[bool, ...]) -> Selection:
        """What names of `held` the fields that `shape` has."""
        issuer, subject, session_id, token_id = shape
        return cls(
            held.issuer if issuer else None,
            held.subject if subject else None,
            held.session_id if session_id else None,
            held.token_id if token_id else None,
        )

    @property
    def names_one_credential(self) -> bool:
        """Whether it is about one credential at most: an id alone may be that of several issuers, or subjects."""
        return None not in {self.issuer, self.subject, self.token_id}

    def said(self, issued_before: float | None) -> str:
        """What it names, and whether a time was named with it, for the log: no values."""
        given = {**self._asdict(), "issued_before": issued_before}
        return ", ".join(name for name, value in given.items() if value is not None)


#: What a revocation of everybody selects.
EVERYBODY: Final = Selection(None, None, None, None)


class _Owner(NamedTuple):
    """A subject of an issuer, or, if that is None, of every issuer."""

    issuer: str | None
    subject: str


class Entry(NamedTuple):
    """One call of `Sessions.revoke`, or several with the same `Selection`."""

    before: float
    """Revoked is what was issued before this, in Unix time, ..."""
    at: float
    """... and what was issued up to this, by a clock that may be ahead by the credential's skew, ..."""
    is_for_good: bool
    """... or, if this is True, whatever matches, also what will be issued later."""
    until: float
    """When all that it is about has ended, if credentials live no longer than revocations are kept."""
    is_exact: bool
    """Whether it is about one credential whose end is known."""

    def merged(self, other: Entry) -> Entry:
        """Both."""
        return Entry(
            max(self.before, other.before),
            max(self.at, other.at),
            self.is_for_good or other.is_for_good,
            max(self.until, other.until),
            self.is_exact and other.is_exact,
        )

    def covers(self, held: CredentialSnapshot) -> bool:
        """Whether `held`, which matches the selection, was issued in time for it."""
        return self.is_for_good or held.issued_at < self.before or held.issued_at <= self.at + held.skew

    def stored(self, selection: Selection) -> Revocation:
        """The same, of `selection`, for a `RevocationStore`."""
        is_by_time = self.at == -math.inf
        covered = max(self.before, -math.inf if is_by_time else math.nextafter(self.at, math.inf))
        return Revocation(
            **selection._asdict(),
            issued_before=math.inf if self.is_for_good else covered,
            revoked_at=None if is_by_time else self.at,
            forgotten_at=self.until,
        )

    @classmethod
    def of(cls, stored: Revocation, kept: float) -> Entry:
        """What `stored` says, of which other processes know what it has found; `kept` as for `Revocations`."""
        at = -math.inf if stored.revoked_at is None else stored.revoked_at
        is_for_good = stored.issued_before == math.inf and stored.revoked_at is not None
        before = -math.inf if is_for_good else stored.issued_before
        kept_until = max(at, before) + kept
        is_exact = Selection.of(stored).names_one_credential and stored.forgotten_at < kept_until
        until = stored.forgotten_at if is_exact else max(stored.forgotten_at, kept_until)
        return cls(before, at, is_for_good, until, is_exact)

    def of_what_there_was(self) -> Entry:
        """The same for what there was then, not for what has been, or will be, issued later."""
        return self._replace(is_for_good=False, is_exact=False)


class RevocationWatcher(Protocol):
    """Is told of each revocation: for what outlives the connections that it ends."""

    def on_revoked(self, selection: Selection, entry: Entry, /) -> None:
        """Do what follows for credentials that match `selection` and that `entry` covers."""
        ...


@final
class Revocations:
    """The revocations of one app."""

    def __init__(self, *, kept: float) -> None:
        """Begin with none; each is kept for `kept` seconds, or until what it found has expired."""
        self._kept = kept
        self._sessions_live = 0.0
        self._entries: dict[Selection, Entry] = {}
        self._shapes: dict[tuple[bool, ...], int] = {}  # which fields the selections name, and how many name these
        self._ends: list[tuple[float, int, Selection]] = []  # a heap; an entry may have gone, or be kept for longer
        self._counter = count()
        self._owners: Owners[_Owner, Selection] = Owners()
        self._everybody: Entry | None = None
        self._given_up: Entry | None = None
        self._has_warned = False
        self.watcher: RevocationWatcher | None = None
        """Told of each before it is remembered, if there is one."""

    def keep_for_sessions(self, seconds: float) -> None:
        """Keep for so long at least what may be about sessions that live so long, and get tokens all the time."""
        self._sessions_live = max(self._sessions_live, seconds)

    def raise_if_revoked(self, held: CredentialSnapshot) -> None:
        """Raise `Unauthorized` if `held` has been revoked, or if that is not known any more."""
        if self.is_revoked(held):
            raise Unauthorized("the credential was revoked")
        if self._may_be_given_up(held):
            raise Unauthorized(
                "the credential lives longer than revocations are kept, and may have been revoked; "
                f"App(revocations_kept={self._kept:g}) is the number of seconds"
            )

    def is_revoked(self, held: CredentialSnapshot) -> bool:
        """Whether `held` has been revoked, for all that is remembered."""
        if self._everybody is not None and self._everybody.covers(held):
            return True
        for shape in self._shapes:
            selection = Selection.naming(held, shape)
            entry = self._entries.get(selection)
            if entry is not None and entry.covers(held):
                return True
        return False

    def _may_be_given_up(self, held: CredentialSnapshot) -> bool:
        if self._given_up is None:
            return False
        if held.issued_at == -math.inf:  # as old as its end says, at the most
            return held.expires_at > unix_time() + self._kept
        return self._given_up.covers(held)

    def entry_of(
        self,
        selection: Selection,
        issued_before: float | None,
        found: tuple[CredentialSnapshot, ...],
        *,
        gets_tokens: bool = True,
    ) -> Entry:
        """What is to be remembered of `selection`.

        Args:
          selection: names something, or there is a time.
          issued_before: only what was issued before this, in Unix time.
          found: the credentials of connections that it has ended.
          gets_tokens: whether a session that it is about may still get some; not if its store has it no more.
        """
        now = unix_time()
        may_renew = gets_tokens and selection.token_id is None
        kept = max(self._kept, self._sessions_live) if may_renew else self._kept
        newest = max((held.issued_at for held in found), default=-math.inf)
        names_one = selection.session_id is not None or selection.token_id is not None
        if issued_before is not None:
            before, at, since = issued_before, -math.inf, max(now, issued_before)
        else:  # later than any that was found
            before, at, since = math.nextafter(newest, math.inf) if found else -math.inf, now, now
        ends = [held.expires_at + held.skew for held in found]
        is_exact = selection.names_one_credential and bool(ends) and max(ends) < math.inf
        known_ends = [end for end in ends if end < math.inf]
        until = max(known_ends) if is_exact else max([since + kept, *known_ends])
        return Entry(before, at, names_one and issued_before is None, until, is_exact)

    def put(self, selection: Selection, entry: Entry) -> None:
        """Remember `entry` of `selection`.

        Raises:
          Unavailable: there is no room.
        """
        if self.watcher is not None:
            self.watcher.on_revoked(selection, entry)
        if selection == EVERYBODY:
            self._everybody = entry if self._everybody is None else self._everybody.merged(entry)
            return
        known = self._entries.get(selection)
        self._put(selection, entry if known is None else known.merged(entry))
        if len(self._entries) > MAX_REVOCATIONS and not self._make_room():
            self._pop(selection)
            raise Unavailable(
                f"{MAX_REVOCATIONS} revocations are remembered and none has had its time: this one ended its "
                "connections, but its credentials are not refused; set App(revocations_kept=...) to the seconds that a "
                "credential lives, name the subject whose token it is, or ask a database in a guard"
            )

    def _put(self, selection: Selection, entry: Entry) -> None:
        known = self._entries.get(selection)
        if known is None:
            self._push_end(entry.until, selection)
            shape = selection.shape
            self._shapes[shape] = self._shapes.get(shape, 0) + 1
        elif (before := _owner(selection, known)) is not None:
            self._owners.discard(before, selection)
        self._entries[selection] = entry
        if (owner := _owner(selection, entry)) is not None:
            self._owners.add(owner, selection)

    def _pop(self, selection: Selection) -> Entry:
        entry, shape = self._entries.pop(selection), selection.shape
        self._shapes[shape] -= 1
        if not self._shapes[shape]:
            del self._shapes[shape]
        if (owner := _owner(selection, entry)) is not None:
            self._owners.discard(owner, selection)
        return entry

    def _make_room(self) -> bool:
        """Give one entry up, or fold those of the owner who has most. False if neither is possible."""
        if self._give_one_up():
            return True
        owner = self._owners.largest()
        if owner is not None:
            self._fold(owner)
        return owner is not None

    def _give_one_up(self) -> bool:
        """Give the entry up whose time came first, if one's has."""
        now = unix_time()
        while self._ends and self._ends[0][0] <= now:
            _, _, selection = heapq.heappop(self._ends)
            entry = self._entries.get(selection)
            if entry is None:
                continue
            if entry.until > now:
                self._push_end(entry.until, selection)
                continue
            self._pop(selection)
            if not entry.is_exact:
                left = entry.of_what_there_was()
                self._given_up = left if self._given_up is None else self._given_up.merged(left)
            return True
        return False

    def _fold(self, owner: _Owner) -> None:
        """Replace what was revoked of one owner, token by token, by all that the owner had then."""
        everything = _everything_of(owner)
        single = [selection for selection in self._owners.of(owner) if selection != everything]
        folded = [self._pop(selection).of_what_there_was() for selection in single]
        if everything in self._entries:
            folded.append(self._entries[everything])
        entry = folded[0]
        for other in folded[1:]:
            entry = entry.merged(other)
        self._put(everything, entry)
        if not self._has_warned:
            self._has_warned = True
            server_log.warning(
                "more than %d revocations: where single tokens of one subject were revoked, all that it had then are",
                MAX_REVOCATIONS,
            )

    def _push_end(self, until: float, selection: Selection) -> None:
        if len(self._ends) > 2 * MAX_REVOCATIONS:  # most are of entries that were folded
            self._ends = [(entry.until, next(self._counter), each) for each, entry in self._entries.items()]
            heapq.heapify(self._ends)
        heapq.heappush(self._ends, (until, next(self._counter), selection))


def _owner(selection: Selection, entry: Entry) -> _Owner | None:
    """Whose all the credentials are that match, if a revocation of all that the owner had then covers them, or would.

    Only what was named counts. Connections that were found show whose some of them are, but others, which are not
    connected, may have the same token id or session: of another issuer, or subject. A session gets further tokens, and
    so a revocation of it is about more than what there was.
    """
    if selection.subject is None:
        return None
    owner = _Owner(selection.issuer, selection.subject)
    names_one = selection.token_id is not None or (selection.session_id is not None and not entry.is_for_good)
    return owner if selection == _everything_of(owner) or (names_one and entry.before < math.inf) else None


def _everything_of(owner: _Owner) -> Selection:
    return Selection(owner.issuer, owner.subject, None, None)


def _text(credential: Credential, name: str) -> str | None:
    value: object = getattr(credential, name, None)
    if value is None or isinstance(value, str):
        return value
    raise _mistyped(credential, name, value, "a str")


def _number(credential: Credential, name: str) -> float | None:
    value: object = getattr(credential, name, None)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise _mistyped(credential, name, value, "a Unix time")


def _mistyped(credential: Credential, name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"gate.identify(): {type(credential).__name__}.{name} is a {type(value).__name__}; a credential has {wanted} "
        "there, or None"
    )


def _date(value: float | None, unknown: float) -> float:
    return value if value is not None and math.isfinite(value) else unknown
