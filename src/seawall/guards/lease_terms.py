"""`LeaseTerms`: what `bearer` says about the lease of a token, beside its end."""

from __future__ import annotations

import math
from typing import final

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.messages.codec import JSON, Sendable
from seawall.messages.encoder import MessageEncoder
from seawall.mistakes import is_number


@final
@frozen
class LeaseTerms:
    """Whether the peer is told before the lease ends, and how long it can be prolonged."""

    warn: Sendable | None = None
    """What the peer is told."""
    max_age: float | None = None
    """Seconds from when the connection was let in, after which no renewal helps."""

    @classmethod
    def parse(cls, warn: Sendable | None, max_age: float | None) -> LeaseTerms:
        """Check what `bearer` was given.

        Raises:
          ConfigurationError: no message can carry `warn`, or `max_age` is no number of seconds above 0.
        """
        if warn is not None:
            _check_message(warn)
        if not (max_age is None or (is_number(max_age) and 0 < max_age < math.inf)):
            raise ConfigurationError(
                f"bearer(max_age={max_age!r}): give a number of seconds above 0, such as 8 * 3600, or None"
            )
        return cls(warn, max_age)


def _check_message(warn: Sendable) -> None:
    """Encode it, as JSON: which codec the route has is not known yet, and what one can carry the others can."""
    try:
        if isinstance(warn, str):
            warn.encode()
        elif not isinstance(warn, bytes):
            MessageEncoder(JSON()).encode(warn)
    except (TypeError, ValueError, ConfigurationError) as error:
        raise ConfigurationError(f"bearer(warn=...): no message can carry it: {error}") from None
