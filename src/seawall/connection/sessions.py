"""`Sessions`: who is connected, by which credentials; ending that, and revoking the credentials."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from itertools import chain
from typing import Final, final

import trio

from seawall.connection.revocation_feed import RevocationFeed
from seawall.connection.revocation_store import RevocationStore
from seawall.connection.revocations import EVERYBODY, Identity, Selection
from seawall.connection.session_events import SessionEvent, SessionInfo
from seawall.connection.session_renewal import renew_all
from seawall.connection.session_table import SessionTable
from seawall.errors import ConfigurationError, Unauthorized, Unavailable
from seawall.guards.credential import Credential
from seawall.guards.jwt.one_issuer import MAX_TOKEN
from seawall.guards.jwt.unverified import identity_of
from seawall.guards.token_source import is_token
from seawall.mistakes import check_methods, is_count, is_text
from seawall.observability.logs import server_log
from seawall.policy.ending import Cause, End
from seawall.policy.verdicts import Close
from seawall.wire.transport.sockets import plain_host

#: Seconds for which a revocation is remembered: as long as a `TokenVerifier` lets a token live, a day, and its skew.
REVOCATIONS_KEPT: Final = 86_460.0


@final
class Sessions:
    """Who is connected to an app: finding connections, watching them, ending them, revoking their credentials.

    ::

        await app.sessions.revoke(subject="ada")  # logged out, everywhere
        await app.sessions.revoke(session_id="9c41")  # logged out, here
        await app.sessions.revoke(token_id="7f3a")  # one token, which was stolen
        await app.sessions.revoke(issued_before=time.time() + 60)  # everybody, because the key was

    It covers the connections of one process. Revocations are lost when that process ends, unless
    ``App(revocations=...)`` was given a `RevocationStore`, which keeps them and tells other processes. What is
    remembered is bounded: 100,000 revocations, each for ``App(revocations_kept=...)`` seconds, or, if it names a token
    id with its issuer and subject and the token has been found, until that has expired. When there are more, those
    whose time has come are given up first, and then what was revoked by subject and token id becomes one revocation of
    all that this subject had. Name issuer and subject with a token id: an id alone may be that of several, is
    remembered for as long as any of them may live, and never becomes a revocation of one subject; nor does a session,
    which gets further tokens.
    """

    def __init__(
        self, *, at_most: int | None, kept: float = REVOCATIONS_KEPT, store: RevocationStore | None = None
    ) -> None:
        """Begin with no connections.

        Args:
          at_most: how many connections a subject may have; any number if that is None.
          kept: for how many seconds a revocation is remembered.
          store: keeps revocations for other processes, and later ones.
        """
        if store is not None:
            check_methods("App(revocations=...)", store, "load", "add", "changes")
        self._table = SessionTable(at_most=at_most, kept=kept)
        self._feed = None if store is None else RevocationFeed(store, self._table)

    def __len__(self) -> int:
        """How many connections there are whose guards have identified them."""
        return len(self._table)

    # Who is there.

    def find(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        session_id: str | None = None,
        token_id: str | None = None,
        route: str | None = None,
        address: str | None = None,
    ) -> tuple[SessionInfo, ...]:
        """The connections that are open and match all arguments that are given; all that are open, without any.

        Open are those that the guards have let in, until their end is recorded; ``server.connections`` has the others
        too. Call this in Trio's thread, as `revoke`.

        Args:
          issuer: who has issued the credential, as in `revoke`; empty for one that names nobody.
          subject: whom the credential identifies.
          session_id: of which log-in it is.
          token_id: its own id. One credential of the connection has to match in all of these four.
          route: the route's name, which is its path if it has none.
          address: the peer's address without its port, such as ``192.0.2.7``, or ``unix``; an IPv6 address in whatever
            spelling, and an IPv4 one also where the listener is one for IPv6.

        Returns:
          A snapshot of each, in the order in which they were let in.

        Raises:
          ConfigurationError: an argument is no text; or it is another thread.
        """
        selection = Selection(issuer, subject, session_id, token_id)
        _check_texts("find", {**selection._asdict(), "route": route, "address": address})
        self._check_thread("find")
        found = self._table.opened()
        if selection != EVERYBODY:
            named = self._table.named_by(selection)
            found = tuple(one for one in found if one in named and one.matching(selection))
        host = None if address is None else plain_host(address)
        infos = (one.info() for one in found if one.is_at(route, host))
        return tuple(info for info in infos if info is not None)

    def end(self, who: SessionInfo | str, code: int = 3003, reason: str = "") -> bool:
        """End one connection, without waiting for that. Its credential stays good: see `revoke`.

        Its handler sees that it is over, and has ``Limits.wind_down`` seconds to return.

        Args:
          who: what `find` or `watch` has given, or the connection's id.
          code: the close code, as for `Close`.
          reason: what the peer reads, at most 123 bytes of UTF-8.

        Returns:
          Whether it ends because of that. False if it is not open, or not any more.

        Raises:
          ConfigurationError: as `Close` raises; or it is another thread.
        """
        close = Close(code, reason)
        connection = who.id if isinstance(who, SessionInfo) else who
        if not is_text(connection):
            raise ConfigurationError(f"end({who!r}): give a SessionInfo, or the id of a connection")
        self._check_thread("end")
        registration = self._table.get(connection)
        if registration is None:
            return False
        registration.end(End(Cause.ENDED, close.code, close.reason))
        return True

    def watch(self, *, buffer: int = 1000) -> AbstractAsyncContextManager[AsyncIterator[SessionEvent]]:
        """Watch connections open and close, from the beginning of the block on.

        ::

            async with app.sessions.watch() as events:
                here = {session.id: session for session in app.sessions.find()}
                async for event in events:
                    match event:
                        case SessionOpened(session):
                            here[session.id] = session
                        case SessionClosed(session=session):
                            here.pop(session.id, None)
                        case Lagged():
                            here = {session.id: session for session in app.sessions.find()}

        Nobody waits for a watcher. One that is slow is told by `Lagged`, in its place, how many events it has missed.
        `find` may be ahead of what has been taken. The iteration does not end by itself; whoever iterates is cancelled.

        Args:
          buffer: how many events are kept until they are taken, at least 1.

        Raises:
          ConfigurationError: `buffer` is no such number; or it is another thread.
        """
        if not is_count(buffer):
            raise ConfigurationError(f"watch(buffer={buffer!r}): give a number of events, 1 or more")
        self._check_thread("watch")
        return self._table.watchers.watching(buffer)

    # Renewing, and revoking.

    async def renew(self, token: str) -> int:
        """Renew every connection of the token's issuer, subject and session, as `Connection.renew` renews one.

        For pages that renew a cookie that JavaScript cannot read: nobody else can hand the connection its new token. ::

            @app.page("/refresh", methods=["POST"], guard=bearer(verifier, cookie("__Host-session")))
            async def refresh(request: Request[Claims]) -> Response:
                token = issue(request.principal)
                await app.sessions.renew(token)
                return Response("renewed", cookies=[Cookie(name="__Host-session", value=token)])

        Which connections these are is looked up by what the token says, *before anything of it is verified*. Then the
        guards of each route verify it, so that a forged token renews nothing; but they are asked, so call this with
        tokens that you have verified or issued. 32 connections are asked at the same time, each has
        ``Limits.auth_timeout``, and all together have 5 seconds. A connection whose guards refuse the token keeps its
        lease; if one says `Forbidden`, or the token has been revoked, it ends with 3003. If this is cancelled, some
        are renewed and the others are as before. Call it in Trio's thread.

        Returns:
          How many have been renewed. None is no error: nobody may be connected. The log says how many there were.

        Raises:
          Unauthorized: it is no token, or it names neither a subject nor a session.
          ConfigurationError: it is another thread.
        """
        if not trio.lowlevel.in_trio_task():
            raise ConfigurationError("renew() outside of Trio's thread; call it with trio.from_thread.run()")
        self._check_thread("renew")
        await trio.lowlevel.checkpoint()
        if not is_token(token) or len(token) > MAX_TOKEN:
            raise Unauthorized("token refused: it is too long, or has characters that no token has")
        said = identity_of(token)
        identity = Identity(said.issuer, said.subject, said.session_id, None)
        found = self._table.named_by(Selection(None, said.subject, said.session_id, None))
        return await renew_all([connection for connection in found if connection.is_about(identity)], token)

    async def revoke(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        session_id: str | None = None,
        token_id: str | None = None,
        issued_before: float | None = None,
    ) -> int:
        """End the connections of all credentials that match, and refuse these credentials from now on.

        A credential matches if all arguments that are given match it. Its connections end with `Revoked`, close code
        3003; a later connection with it is refused as `Unauthorized`. A credential that does not say when it was issued
        counts as issued before any time.

        All of that is done here before anything is awaited. Then this waits until the `RevocationStore` has it, if
        there is one, for 10 seconds at most; being cancelled does not interrupt that, so that a handler can revoke what
        it was let in by itself. Call this in Trio's thread; from another one, with ``trio.from_thread.run``.

        Args:
          issuer: who has issued them; empty for those that name nobody. Left out, those of every issuer.
          subject: whose credentials. Without a session, a token or a time, it revokes what was issued up to now by a
            clock that may be ahead by the skew that the verifier allows: for so long (60 s) new tokens are refused too.
            Whoever logs out to log in again at once needs `session_id`.
          session_id: those of one log-in, such as a token's ``sid``.
          token_id: the id of one credential.
          issued_before: only credentials that were issued before this, in Unix time. Given alone, those of everybody;
            add the skew of the issuer's clock.

        Returns:
          How many connections of this process end.

        Raises:
          ConfigurationError: nothing is given, which would be everybody; the time is NaN, or a name no text; or it is
            another thread.
          Unavailable: the connections end, but the credentials may be let in later: the store has not answered, or has
            failed, or so much has been revoked lately that this cannot be remembered. Calling again does no harm.
        """
        return await self._revoke(Selection(issuer, subject, session_id, token_id), issued_before, gets_tokens=True)

    async def _revoke(self, selection: Selection, issued_before: float | None, *, gets_tokens: bool) -> int:
        _check_revocation(selection, issued_before)
        self._check_thread("revoke")
        before = math.inf if issued_before is None else issued_before
        matching = ((one, one.matching(selection)) for one in self._table.named_by(selection))
        found = {
            one: early for one, several in matching if (early := tuple(h for h in several if h.issued_at < before))
        }
        ended = sum(registration.revoke() for registration in found)
        server_log.info("revoked by %s: %d connections end", selection.said(issued_before), ended)
        revocations = self._table.revocations
        credentials = tuple(chain.from_iterable(found.values()))
        entry = revocations.entry_of(selection, issued_before, credentials, gets_tokens=gets_tokens)
        full: Unavailable | None = None
        try:
            revocations.put(selection, entry)
        except Unavailable as error:
            full = error
        if self._feed is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:  # which may have more room than we
            await self._feed.add(entry.stored(selection))
        if full is None:
            return ended
        try:
            raise full
        finally:
            del full  # a reference cycle would be left to the garbage collector

    def is_revoked(self, credential: Credential, *, skew: float = 0.0) -> bool:
        """Whether `credential` would be refused; `skew` as in `Gate.identify`."""
        return self._table.is_revoked(credential, skew)

    def _check_thread(self, method: str) -> None:
        """Refuse another thread than the app's: the scopes of its connections are of one run of Trio."""
        if self._table.run.is_elsewhere():
            raise ConfigurationError(
                f"{method}() in another thread than the one in which the app is served; have it called there, by "
                "trio.from_thread.run() or run_sync()"
            )


def table_of(sessions: Sessions) -> SessionTable:
    """What servers use of `sessions`."""
    return sessions._table  # pyright: ignore[reportPrivateUsage] # it is this module's


async def revoke_deleted(sessions: Sessions, session_id: str) -> int:
    """Revoke as `Sessions.revoke`, for a session that is deleted from its store, and so gets no more tokens."""
    selection = Selection(None, None, session_id, None)
    revoke = sessions._revoke  # pyright: ignore[reportPrivateUsage] # as above
    return await revoke(selection, None, gets_tokens=False)


def feed_of(sessions: Sessions) -> RevocationFeed | None:
    """What a server runs for `sessions`; None if there is no store."""
    return sessions._feed  # pyright: ignore[reportPrivateUsage] # as above


def _check_revocation(selection: Selection, issued_before: float | None) -> None:
    """Raise what `Sessions.revoke` says of its arguments, and of the thread."""
    _check_texts("revoke", selection._asdict())
    if selection == EVERYBODY and issued_before is None:
        raise ConfigurationError(
            "revoke() without an issuer, a subject, a session_id, a token_id or a time; if it is to end "
            "everybody's session, say revoke(issued_before=time.time() + 60)"
        )
    if issued_before is not None and math.isnan(issued_before):
        raise ConfigurationError("revoke(issued_before=nan) is before nothing; give a Unix time")
    if not trio.lowlevel.in_trio_task():
        raise ConfigurationError("revoke() outside of Trio's thread; call it with trio.from_thread.run()")


def _check_texts(method: str, named: dict[str, str | None]) -> None:
    for name, value in named.items():
        if not (value is None or is_text(value)):
            raise ConfigurationError(f"{method}({name}={value!r}) matches nobody; give a str")
