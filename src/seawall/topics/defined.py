"""`DefinedTopics`: the topics and presences of one app."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast, final

from seawall.lag import Lag, Latest, check_lag
from seawall.topics.definition import Definition
from seawall.topics.hub import Hub
from seawall.topics.kinds import Kinds
from seawall.topics.log import Retention
from seawall.topics.patterns import Patterns, check_retention
from seawall.topics.presence import Presence, check_linger
from seawall.topics.topic import Topic

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


@final
class DefinedTopics:
    """The topics and presences of one app."""

    def __init__(self, hub: Hub) -> None:
        """Begin with none."""
        self.hub = hub
        """What all their rooms share."""
        self._patterns = Patterns()

    def topic(self, pattern: str, kind: TypeForm[T], retention: Retention, lag: Lag[T]) -> Topic[T]:
        """One more. Raises as `App.topic`."""
        where = f"topic({pattern!r})"
        check_retention(where, retention.history, retention.ttl)
        check_lag(where, lag)
        kinds = Kinds.parse(self.hub.format, kind, where)
        plain = cast("Lag[object]", lag)  # its key takes the values of this topic, and gets no others
        if isinstance(plain, Latest):
            retention = Retention(retention.history, retention.ttl, plain)
        named = self._patterns.add("topic", pattern)
        return Topic[T](Definition(hub=self.hub, pattern=named, kinds=kinds, retention=retention, lag=plain))

    def presence(self, pattern: str, kind: TypeForm[T], linger: float) -> Presence[T]:
        """One more. Raises as `App.presence`."""
        where = f"presence({pattern!r})"
        check_linger(where, linger)
        kinds = Kinds.parse(self.hub.format, kind, where)
        return Presence[T](self.hub, self._patterns.add("presence", pattern), kinds, linger)
