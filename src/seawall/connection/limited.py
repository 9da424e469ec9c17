"""`LimitedConnections`: the connections that a `limit_connections` counts, and which of them has to go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias, final

from seawall.connection.revocations import CredentialSnapshot
from seawall.errors import ConfigurationError, TooManyRequests, Unauthorized
from seawall.guards.connection_limit import ConnectionLimit
from seawall.wire.transport.sockets import network_of

#: When somebody who has too many connections may try again, in seconds.
RETRY_AFTER = 5.0

#: A limit, and whom it counts: an issuer and a subject, or a network.
Group: TypeAlias = tuple[ConnectionLimit, tuple[str, ...]]


class Rival(Protocol):
    """A connection that is counted."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to: it is in nobody's way."""
        ...

    def replace(self) -> None:
        """End it, because another one has come."""
        ...


@final
class LimitedConnections:
    """All groups of connections that are counted together."""

    def __init__(self) -> None:
        """Begin with none."""
        self._groups: dict[Group, dict[Rival, None]] = {}  # each in the order in which they came

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    def claim(self, rival: Rival, groups: tuple[Group, ...]) -> None:
        """Take the places in which the newest would lose. Nothing is taken if one is not free.

        Raises:
          TooManyRequests: it is not.
        """
        wanted = [group for group in groups if group[0].losing == "newest"]
        for group in wanted:
            if len(self._others(rival, group)) >= group[0].at_most:
                raise TooManyRequests(f"too many connections of one {group[0].per}", retry_after=RETRY_AFTER)
        for group in wanted:
            self._groups.setdefault(group, {})[rival] = None

    def open(self, rival: Rival, groups: tuple[Group, ...]) -> None:
        """Take the places in which the oldest loses, and end those that have lost."""
        for group in groups:
            limit = group[0]
            if limit.losing == "oldest":
                others = self._others(rival, group)
                self._groups.setdefault(group, {})[rival] = None
                for loser in others[: max(0, len(others) + 1 - limit.at_most)]:
                    loser.replace()

    def leave(self, rival: Rival, groups: tuple[Group, ...]) -> None:
        """Give all places up that were taken."""
        for group in groups:
            there = self._groups.get(group)
            if there is not None:
                there.pop(rival, None)
                if not there:
                    del self._groups[group]

    def _others(self, rival: Rival, group: Group) -> list[Rival]:
        """Those in `group` that are open, but for `rival`; the oldest first. None if there is room for all of them."""
        there = self._groups.get(group, ())
        if len(there) < group[0].at_most:
            return []
        return [other for other in there if other is not rival and not other.is_over]


def groups_of(limits: Iterable[ConnectionLimit], peer: str, held: Sequence[CredentialSnapshot]) -> tuple[Group, ...]:
    """Where a connection from `peer`, with the credentials `held`, counts.

    Raises:
      Unauthorized: somebody is identified, but not by a subject, and subjects are counted.
      ConfigurationError: nobody is identified, and subjects are counted.
    """
    return tuple((limit, whom) for limit in limits for whom in _counted(limit, peer, held))


def _counted(limit: ConnectionLimit, peer: str, held: Sequence[CredentialSnapshot]) -> Iterator[tuple[str, ...]]:
    """Whom a connection counts for."""
    if limit.per == "address":
        if network := network_of(peer):
            yield (network,)
        return
    if not held:
        raise ConfigurationError(
            'limit_connections(per="subject"): no guard has identified anybody; `bearer` does, a guard of your own '
            'calls gate.identify(...), and strangers are counted per="address"'
        )
    subjects = dict.fromkeys((one.issuer, one.subject) for one in held if one.subject is not None)
    if not subjects:
        raise Unauthorized("a credential without a subject, where the connections of each subject are counted")
    yield from subjects
