"""`SessionTable`: who is connected, by which credentials; `Registration`: one connection in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Protocol, TypeAlias, final

import trio

from seawall.clock import unix_time
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.limited import RETRY_AFTER, Group, LimitedConnections, groups_of
from seawall.connection.revocation_store import Revocation
from seawall.connection.revocations import CredentialSnapshot, Entry, Identity, NamedCredentials, Revocations, Selection
from seawall.connection.session_events import HeldCredential, SessionClosed, SessionInfo, SessionOpened
from seawall.connection.session_renewal import Renewable
from seawall.connection.session_watch import SessionWatchers
from seawall.errors import ConfigurationError, Revoked, TooManyRequests, Unauthorized
from seawall.guards.connection_limit import ConnectionLimit
from seawall.guards.credential import Credential
from seawall.observability.logs import server_log
from seawall.one_run import OneRun
from seawall.policy.ending import Cause, End
from seawall.wire.transport.sockets import host_of

#: A kind, and the names of that kind by which a connection is found.
_Key: TypeAlias = tuple[str, str | None] | tuple[str, str, str]

#: The end of a connection that has lost to another, and of one for which none was recorded: a fault of ours.
_REPLACED: Final = End(Cause.REPLACED, 3003, "replaced")
_FAULT: Final = End(Cause.FAILED, 1011, "internal error")

#: What a connection begins with.
_NONE_NAMED: Final = NamedCredentials()


class About(Protocol):
    """What is known of a connection that the guards have let in, beside its credentials."""

    @property
    def connection(self) -> str:
        """Its id."""
        ...

    @property
    def route(self) -> str:
        """The name of its route."""
        ...

    @property
    def peer(self) -> str:
        """The other end of the socket."""
        ...

    @property
    def principal_name(self) -> str:
        """Whom the guards have proved, as the log names it."""
        ...


@final
class SessionTable:
    """The connections of one app: those whose guards have named a credential, and those that are open."""

    def __init__(self, *, at_most: int | None, kept: float) -> None:
        """Begin with none; arguments as of `Sessions`."""
        self._at_most = at_most
        self._kept = kept
        self.run: Final = OneRun()
        """In which the app is served."""
        self._registered: set[Registration] = set()
        self._index: dict[_Key, set[Registration]] = {}
        self._open: dict[str, Registration] = {}  # by id, in the order in which they were let in
        self.revocations: Final = Revocations(kept=kept)
        self.watchers: Final = SessionWatchers()
        self.limited: Final = LimitedConnections()

    def __len__(self) -> int:
        """How many connections there are whose guards have named a credential."""
        return len(self._registered)

    def named_by(self, selection: Selection) -> set[Registration]:
        """All connections whose credentials may match, and perhaps others."""
        keys: tuple[_Key, ...] = (
            ("token", selection.token_id),
            ("session", selection.session_id),
            ("subject", selection.subject),
        )
        key = next((key for key in keys if key[1] is not None), None)
        return self._registered if key is None else self._index.get(key, set[Registration]())

    def opened(self) -> tuple[Registration, ...]:
        """All connections that are open, in the order in which they were let in."""
        return tuple(self._open.values())

    def get(self, connection: str) -> Registration | None:
        """The open connection of this id, if there is one."""
        return self._open.get(connection)

    def open(self, name: str, registration: Registration) -> None:
        """Have `registration` found as the connection called `name`, which is open."""
        self._open[name] = registration

    def close(self, name: str) -> None:
        """The opposite."""
        del self._open[name]

    def apply(self, stored: Revocation, /) -> None:
        """Do as `Sessions.revoke` for what a `RevocationStore` has.

        Raises:
          ConfigurationError: it has something else.
          Unavailable: the connections end, but there is no room to remember it.
        """
        if not isinstance(stored, Revocation):  # pyright: ignore[reportUnnecessaryIsInstance] # a store may be anything
            raise ConfigurationError(f"a RevocationStore gave {stored!r}; give values of seawall.sessions.Revocation")
        selection = Selection.of(stored)
        entry = Entry.of(stored, self._kept)
        found = [one for one in self.named_by(selection) if any(map(entry.covers, one.matching(selection)))]
        if ended := sum(one.revoke() for one in found):
            said = selection.said(None if stored.revoked_at is not None else stored.issued_before)
            server_log.info("revoked elsewhere by %s: %d connections end", said, ended)
        self.revocations.put(selection, entry)

    def is_revoked(self, credential: Credential, skew: float) -> bool:
        """Whether `credential` would be refused."""
        try:
            self.revocations.raise_if_revoked(CredentialSnapshot.of(credential, skew))
        except Unauthorized:
            return True
        return False

    def is_session_revoked(self, session: Credential) -> bool:
        """Whether a session that is stored elsewhere has been revoked since it began.

        It is none of those whose revocation is forgotten: see `Revocations.keep_for_sessions`.
        """
        return self.revocations.is_revoked(CredentialSnapshot.of(session, 0.0))

    def raise_if_refused(self, registration: Registration, held: CredentialSnapshot) -> None:
        """Refuse `held` for `registration` if it has been revoked, or if its subject has too many connections.

        Raises:
          Unauthorized: the credential has been revoked.
          TooManyRequests: its subject has `at_most` other connections.
        """
        self.revocations.raise_if_revoked(held)
        if held.subject is not None and self._at_most is not None:
            siblings = self._index.get(("place", held.issuer, held.subject), set[Registration]())
            if registration not in siblings and len(siblings) >= self._at_most:
                raise TooManyRequests("too many connections of one subject", retry_after=RETRY_AFTER)

    def raise_if_not_renewable(self, renewed: CredentialSnapshot) -> None:
        """Refuse `renewed`, which is about somebody who is connected, if it has been revoked.

        Raises:
          Revoked: it has been.
          Unauthorized: that is not known any more.
        """
        if self.revocations.is_revoked(renewed):
            raise Revoked
        self.revocations.raise_if_revoked(renewed)

    def reindex(
        self,
        registration: Registration,
        named: NamedCredentials,
        *,
        instead_of: NamedCredentials,
    ) -> None:
        """Index `registration` by the credentials `named`, and no longer by those that it had before, `instead_of`."""
        now = _keys_of(named)
        for gone in _keys_of(instead_of) - now:
            siblings = self._index[gone]
            siblings.discard(registration)
            if not siblings:
                del self._index[gone]
        for key in now:
            self._index.setdefault(key, set()).add(registration)
        if named.held:
            self._registered.add(registration)
        else:
            self._registered.discard(registration)


def _keys_of(named: NamedCredentials) -> set[_Key]:
    """What a connection is found by, by those of its credentials that count no more too, for a renewal."""
    keys = {key for held in named.held for key in _keys(held)}
    for gone in named.replaced:
        keys.update((kind, name) for kind, name in (("subject", gone.subject), ("session", gone.session_id)) if name)
    return keys


def _keys(held: CredentialSnapshot) -> Iterator[_Key]:
    """What a connection with this credential is found by."""
    if held.subject is not None:
        yield "subject", held.subject
        yield "place", held.issuer, held.subject
    if held.session_id is not None:
        yield "session", held.session_id
    if held.token_id is not None:
        yield "token", held.token_id


@final
class Registration:
    """One connection in a `SessionTable`."""

    __slots__ = ("_about", "_groups", "_lifecycle", "_limits", "_named", "_opened_at", "_table", "renewal")

    def __init__(self, table: SessionTable, lifecycle: Lifecycle) -> None:
        """Begin without a credential: the connection is not in `table` until `identify` or `open`."""
        self._table = table
        self._lifecycle = lifecycle
        self._named = _NONE_NAMED
        self._about: About | None = None  # while it is open
        self._opened_at = math.inf  # when the guards had let it in, in Unix time
        self._limits: tuple[ConnectionLimit, ...] = ()
        self._groups: tuple[Group, ...] = ()
        self.renewal: Renewable | None = None
        """Renews the connection, if it has been let in by a token."""

    def identify(self, credential: Credential, instead_of: Credential | None, skew: float = 0.0) -> None:
        """Add `credential`, in place of `instead_of` if that is given. Raises as `Gate.identify`."""
        if self._lifecycle.ended is None:
            added = CredentialSnapshot.of(credential, skew)
            self._table.raise_if_refused(self, added)
            self._set_named(self._named.adding(added, instead_of))

    def raise_if_not_renewable(self, renewed: CredentialSnapshot) -> None:
        """Refuse a credential with which the connection cannot be renewed.

        Raises:
          Unauthorized: it is about nobody, or about somebody else than those of the connection.
          Revoked: it has been revoked.
        """
        identity = renewed.identity()
        if identity.is_nobody or identity not in self._named.identities():
            raise Unauthorized("the new token is about another subject")
        self._table.raise_if_not_renewable(renewed)

    def renew(self, renewed: NamedCredentials) -> None:
        """Hold `renewed`, which have been checked, instead of those that there were.

        Raises:
          Unauthorized: somebody whom the connection was let in as is missing among them.
          Revoked: one has been revoked since it was checked.
        """
        if self._named.identities() != renewed.identities():
            raise Unauthorized("the new token does not prove all that the first one did")
        for held in renewed.held:
            self._table.raise_if_not_renewable(held)
        self._set_named(renewed)

    def limit(self, limit: ConnectionLimit) -> None:
        """Count the connection for `limit`, from `claim` on."""
        if limit not in self._limits:
            self._limits = (*self._limits, limit)

    def claim(self, about: About) -> None:
        """Take the places that a `limit_connections` bounds: all guards have let the connection in.

        Raises:
          TooManyRequests: there is none left, and who comes has to go.
          Unauthorized, ConfigurationError: as `groups_of`.
        """
        if self._limits:
            self._groups = groups_of(self._limits, about.peer, self._named.held)
            self._table.limited.claim(self, self._groups)

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended, or is about to."""
        return self._lifecycle.ended is not None or self._lifecycle.timeouts.expired is not None

    def replace(self) -> None:
        """End the connection, because another one of the same subject or address has come."""
        self.end(_REPLACED)

    def open(self, about: About) -> None:
        """Have the connection found, unless it has ended: the guards have let it in, and the upgrade is accepted."""
        if self._groups and not self.is_over:
            self._table.limited.open(self, self._groups)
        if self._lifecycle.ended is None:
            self._about, self._opened_at = about, unix_time()
            self._table.open(about.connection, self)
            if self._table.watchers:
                self._table.watchers.tell(SessionOpened(self._info(about)))

    def close(self, end: End) -> None:
        """The opposite, because `end` has been recorded. Does nothing if the connection was not opened."""
        about, self._about = self._about, None
        if about is not None:
            self._table.close(about.connection)
            if self._table.watchers:
                closed = SessionClosed(
                    session=self._info(about), cause=end.cause, code=end.code, reason=end.reason, at=unix_time()
                )
                self._table.watchers.tell(closed)

    def info(self) -> SessionInfo | None:
        """The connection as it is now; None if it is not open."""
        return None if self._about is None else self._info(self._about)

    def _info(self, about: About) -> SessionInfo:
        expires_at = self._lifecycle.timeouts.leases.expires_at
        return SessionInfo(
            id=about.connection,
            route=about.route,
            peer=about.peer,
            principal=about.principal_name,
            credentials=tuple(HeldCredential.of(held) for held in self._named.held),
            opened_at=self._opened_at,
            expires_at=None if expires_at == math.inf else expires_at,
        )

    def is_at(self, route: str | None, address: str | None) -> bool:
        """Whether the connection is open, and of the route and from the `plain_host` that are given."""
        about = self._about
        if about is None:
            return False
        return route in {None, about.route} and (address is None or address == host_of(about.peer))

    def matching(self, selection: Selection) -> tuple[CredentialSnapshot, ...]:
        """Those of the connection's credentials that match `selection`."""
        return tuple(held for held in self._named.held if selection.matches(held))

    def is_about(self, identity: Identity) -> bool:
        """Whether the connection was let in as `identity`, by whatever credential."""
        return identity in self._named.identities()

    async def renew_for_session(self, token: str, /) -> bool:
        """Renew the connection, if it is open and was let in by a token."""
        if self.renewal is None:
            await trio.lowlevel.checkpoint()
            return False
        return await self.renewal.renew_for_session(token)

    def end(self, end: End) -> None:
        """End the connection with `end`; its handler has ``wind_down`` seconds to return."""
        self._lifecycle.end(end, grace=self._lifecycle.timeouts.limits.wind_down)

    def revoke(self) -> bool:
        """End the connection because its credential has been revoked. Returns as `Lifecycle.revoke`."""
        return self._lifecycle.revoke()

    def leave(self) -> None:
        """Remove the connection from the table, because it is over."""
        self.close(_FAULT)
        self.renewal = None  # a reference cycle would be left to the garbage collector
        if self._groups:
            self._table.limited.leave(self, self._groups)
            self._groups = ()
        if self._named.held:
            self._set_named(_NONE_NAMED)

    def _set_named(self, named: NamedCredentials) -> None:
        before, self._named = self._named, named
        self._table.reindex(self, named, instead_of=before)
