"""`Lag`: what becomes of a reader of a room who does not keep up.

There is none that has the publisher wait: a room would stop as soon as one of its readers does.

A reader is behind while its transport has not taken what was written. Over TLS that is so for some turns of the
scheduler after each write, for who reads well too: give an `n` of some dozens at the least.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypeVar, final

from attrs import frozen

from seawall.callables import check_sync_callback
from seawall.errors import ConfigurationError
from seawall.mistakes import check_counts

T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


@final
@frozen
class DropOldest:
    """At most `n` events wait for who is behind. Those before them are lost, and a `Gap` says so.

    Raises:
      ConfigurationError: `n` is no number of events.
    """

    n: int

    def __attrs_post_init__(self) -> None:
        """Refuse what is no number."""
        check_counts("DropOldest", "events", n=self.n)


@final
@frozen
class DropNewest:
    """At most `n` events wait for who is behind. Those after them are lost, and a `Gap` says so.

    Raises:
      ConfigurationError: `n` is no number of events.
    """

    n: int

    def __attrs_post_init__(self) -> None:
        """Refuse what is no number."""
        check_counts("DropNewest", "events", n=self.n)


@final
@frozen
class Latest(Generic[T_contra]):
    """Of the events of one key only the newest waits for who is behind, such as the last price of each share.

    What a newer one of its key has replaced is not missed, and no `Gap` tells of it. A key that is pushed out, because
    there are more than `at_most`, is.

    Raises:
      ConfigurationError: `key` cannot be called with a value, or `at_most` is no number of keys.
    """

    key: Callable[[T_contra], Hashable]
    """Called once for each event for all who read by the same function, so give one that has a name, and not a new
    lambda for each connection. What it raises ends those who read by it. It must not publish."""
    at_most: int = 1000

    def __attrs_post_init__(self) -> None:
        """Refuse what is no function, and no number."""
        check_sync_callback("Latest", self.key, takes="value")
        check_counts("Latest", "keys", at_most=self.at_most)


@final
@frozen
class Disconnect:
    """At most `n` events wait for who is behind. With one more, its subscription ends with `SlowConsumer`.

    Raises:
      ConfigurationError: `n` is no number of events.
    """

    n: int

    def __attrs_post_init__(self) -> None:
        """Refuse what is no number."""
        check_counts("Disconnect", "events", n=self.n)


#: What becomes of a reader who does not keep up.
Lag: TypeAlias = DropOldest | DropNewest | Latest[T] | Disconnect


def check_lag(where: str, value: object) -> None:
    """Refuse what a type checker would.

    Raises:
      ConfigurationError: it is none of them; the text begins with `where`.
    """
    if not isinstance(value, DropOldest | DropNewest | Latest | Disconnect):
        raise ConfigurationError(
            f"{where}: lag={value!r}; give DropOldest(n), DropNewest(n), Latest(key) or Disconnect(n)"
        )
