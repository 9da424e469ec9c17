"""What the topics and presences of one app may be called, and how much their rooms keep."""

from __future__ import annotations

import math
import re

import pytest

from seawall.errors import ConfigurationError
from seawall.topics.patterns import Patterns, check_retention


def test_each_pattern_has_one_topic_and_one_presence() -> None:
    """Both speak of the same rooms; a second of either could not be told from the first."""
    patterns = Patterns()
    topic, presence = patterns.add("topic", "rooms/{room}"), patterns.add("presence", "rooms/{room}")
    assert topic.key({"room": "a"}) == presence.key({"room": "a"})
    with pytest.raises(
        ConfigurationError, match=r"topic 'rooms/\{room\}': this app has a topic of this pattern already"
    ):
        patterns.add("topic", "rooms/{room}")
    with pytest.raises(ConfigurationError, match=r"presence 'rooms/\{room\}': this app has a presence of this pattern"):
        patterns.add("presence", "rooms/{room}")


def test_two_spellings_of_one_pattern() -> None:
    """Their rooms would look alike in a log, and a kick in one would say nothing about the other."""
    patterns = Patterns()
    patterns.add("topic", "rooms/{room}")
    with pytest.raises(ConfigurationError, match=re.escape("the pattern 'rooms/{room}', which differs in")):
        patterns.add("presence", "rooms/{name}")
    patterns.add("presence", "rooms/{name:int}")
    patterns.add("topic", "rooms/{room}/chat")
    with pytest.raises(ConfigurationError, match="it is no text"):
        patterns.add("topic", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose


def test_how_much_a_room_keeps() -> None:
    """A number of events, and a number of seconds that is of use only where there are any."""
    for history, ttl in ((0, None), (1, None), (100, 300), (100, 0.5)):
        check_retention("topic 'a'", history, ttl)
    for wrong in (-1, 1.5, True, None, "100"):
        with pytest.raises(ConfigurationError, match=rf"topic 'a': history={wrong!r}; give a number of events"):
            check_retention("topic 'a'", wrong, None)
    for seconds in (0, -1, math.nan, math.inf, True, "300"):
        with pytest.raises(ConfigurationError, match=rf"topic 'a': ttl={seconds!r}; give a number of seconds"):
            check_retention("topic 'a'", 100, seconds)
    with pytest.raises(ConfigurationError, match="of a history that keeps nothing"):
        check_retention("topic 'a'", 0, 300)
