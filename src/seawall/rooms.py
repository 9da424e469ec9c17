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

__all__ = [
    "Disconnect",
    "DropNewest",
    "DropOldest",
    "Gap",
    "Kicked",
    "Lag",
    "Latest",
    "Position",
    "RoomEvent",
    "Since",
    "SlowConsumer",
    "Subscribable",
    "Subscription",
    "SubscriptionLost",
]
