"""Rooms: what is said in them, who reads it, and what becomes of who does not keep up; beside `seawall` itself.

::

    from seawall import App, Connection
    from seawall.rooms import Disconnect, Gap, Position, RoomEvent
"""

from __future__ import annotations

from seawall.connection.connection import Subscribable
from seawall.connection.subscriptions import Subscription
from seawall.errors import Kicked, SlowConsumer, SubscriptionLost
from seawall.lag import Disconnect, DropNewest, DropOldest, Lag, Latest
from seawall.position import Position, Since
from seawall.room_event import Gap, RoomEvent
from seawall.topics.presence import People, Presence
from seawall.topics.presence_changes import (
    Change,
    Joined,
    Left,
    Member,
    PresenceChange,
    PresenceEvent,
    Snapshot,
    Updated,
)
from seawall.topics.presence_membership import Membership
from seawall.topics.room import Room
from seawall.topics.topic import Topic

__all__ = [
    "Change",
    "Disconnect",
    "DropNewest",
    "DropOldest",
    "Gap",
    "Joined",
    "Kicked",
    "Lag",
    "Latest",
    "Left",
    "Member",
    "Membership",
    "People",
    "Position",
    "Presence",
    "PresenceChange",
    "PresenceEvent",
    "Room",
    "RoomEvent",
    "Since",
    "SlowConsumer",
    "Snapshot",
    "Subscribable",
    "Subscription",
    "SubscriptionLost",
    "Topic",
    "Updated",
]
