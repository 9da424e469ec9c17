"""Kicking somebody out of a room: of its topic, and of its presence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import trio

from seawall.connection.revocations import Selection
from seawall.topics.forwarding import Forwarding
from seawall.topics.hub import Hub
from seawall.topics.keys import RoomKey, log_key
from seawall.topics.kicks import Kickable, Who, check_kick


async def kick(hub: Hub, key: RoomKey, who: Who, seconds: float) -> int:
    """End all that `who` have in a room, and refuse them for so many `seconds`. Raises as ``kick`` of a room.

    All of that is done before anything is awaited.
    """
    check_kick(who, seconds)
    hub.check_here("kick")
    hub.presences.lingering.on_kicked(key, who)
    try:
        return hub.kicks.kick(key, who, seconds, kickables(hub, key))
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()


def whom(issuer: str | None, subject: str | None, session_id: str | None, connection: str | None) -> Who:
    """Those who match all of this that is given."""
    return Who(Selection(issuer, subject, session_id, None), connection)


def kickables(hub: Hub, key: RoomKey) -> Iterable[Kickable]:
    """All that connections have in a room."""
    return chain(_subscriptions(hub, key), _subscriptions(hub, log_key(key)), hub.presences.kickables(key))


def _subscriptions(hub: Hub, key: RoomKey) -> Iterator[Kickable]:
    log = hub.engine.find(key)
    if log is not None:
        for reader in log.readers:
            if isinstance(reader, Forwarding):
                yield reader
