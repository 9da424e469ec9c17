"""`Moderated`: kicking somebody out of a room, of its topic and of its presence, and letting them in again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

import trio

from seawall.connection.revocations import Selection
from seawall.topics.forwarding import Forwarding
from seawall.topics.hub import Hub
from seawall.topics.keys import RoomKey, log_key
from seawall.topics.kicks import Kickable, Who, check_kick, check_named


class Moderated(ABC):
    """A room out of which somebody can be put: a `Room` of a topic, or the `People` of a presence."""

    __slots__ = ()

    @property
    @abstractmethod
    def _place(self) -> tuple[Hub, RoomKey]:
        """Of which app it is, and what it is called."""

    async def kick(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        session_id: str | None = None,
        connection: str | None = None,
        seconds: float = 3600,
    ) -> int:
        """Put somebody out of the room, and keep them out for a while.

        It is about the connections that match all that is given, by the credentials that let them in. Their
        subscriptions and memberships in this room, which are those of its topic and of the presence of the same
        pattern, end with `Kicked`: close code 3003 if the handler lets it out. New ones are refused in the same way,
        whoever is on the way in included. All of that is done before anything is awaited. The connections go on
        otherwise; `Sessions.end` and `Sessions.revoke` end them.

        ::

            await said(room="lobby").kick(subject="mallory", seconds=600)

        Args:
          issuer: who has issued the credential; empty for those that name nobody.
          subject: whom it identifies.
          session_id: one log-in, such as a token's ``sid``.
          connection: the id of one connection. Whoever connects again has another one.
          seconds: for how long, a week at most; 0 refuses nobody. It is remembered in memory, as long as the app is
            served. Of two kicks that name the same the longer one counts, and
            `unkick` takes both back.

        Returns:
          How many connections had something here that ends.

        Raises:
          ConfigurationError: nobody is named, a name is no text, or `seconds` no such time; or it is another thread
            than the server's.
          Unavailable: the app is not served; or theirs have ended, but so many kicks are remembered that new ones of
            them are not refused.
        """
        who = Who(Selection(issuer, subject, session_id, None), connection)
        check_kick(who, seconds)
        hub, key = self._place
        hub.check_here("kick")
        hub.presences.lingering.on_kicked(key, who)
        try:
            return hub.kicks.kick(key, who, seconds, kickables(hub, key))
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def unkick(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        session_id: str | None = None,
        connection: str | None = None,
    ) -> bool:
        """Take a `kick` back before its time is over: whom it kept out may come in again. What has ended stays so.

        It is about the kick that named the same, and about no other: one by ``subject=`` stands if the one by
        ``session_id=`` is taken back, though both may be about one connection. It is done before anything is awaited.

        ::

            await said(room="lobby").unkick(subject="mallory")

        Returns:
          Whether there was such a kick.

        Raises:
          ConfigurationError: nobody is named, or a name is no text; or it is another thread than the server's.
          Unavailable: the app is not served.
        """
        who = Who(Selection(issuer, subject, session_id, None), connection)
        check_named("unkick", who)
        hub, key = self._place
        hub.check_here("unkick")
        try:
            return hub.kicks.unkick(key, who)
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()


def kickables(hub: Hub, key: RoomKey) -> Iterable[Kickable]:
    """All that connections have in a room."""
    return chain(_subscriptions(hub, key), _subscriptions(hub, log_key(key)), hub.presences.kickables(key))


def _subscriptions(hub: Hub, key: RoomKey) -> Iterator[Kickable]:
    log = hub.engine.find(key)
    if log is not None:
        for reader in log.readers:
            if isinstance(reader, Forwarding):
                yield reader
