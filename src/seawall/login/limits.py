"""`LoginLimits`: how often somebody may try to log in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.login.clients import Clients
from seawall.mistakes import is_count, is_number


def _checks() -> int:
    """How many passwords are checked at once by default. A hash takes a core for as long as it takes."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(2, cores - 1))


@final
@frozen(kw_only=True)
class LoginLimits:
    """How often somebody may try to log in. Each process counts by itself, and anew when it starts.

    One try too many is 429, with ``Retry-After``. A browser that has logged in to an account before is known there by a
    cookie, for a year: there it is counted by itself, and with others that are known there, so that strangers who try
    use up nothing of what it has.

    Raises:
      ConfigurationError: something is no number, or too small; or a proxy is none.
    """

    per_address: int | None = 5
    """Tries in a minute from one IPv4 address, or one /64 of IPv6; None counts none."""
    per_account: int = 20
    """Tries in a minute for one name, from all addresses, whether there is such an account or not. 20 are 28,800 a day,
    in which the most common passwords are found: refuse these where a password is set."""
    per_browser: int = 5
    """Tries in a minute for one name of a browser that is known there. Further ones count as anybody's; so do those of
    all that are known there together, from `per_account` on, because each log-in makes one more known."""
    checks: int = field(factory=_checks)
    """Passwords that are checked at once: two, or one on a machine of one or two cores, so that a core is left for
    everybody else. For a moment, 16 more wait for their turn, and as many of browsers that are known, who come first;
    for others the server is busy, which is 429 too."""
    answer_after: float = 1.0
    """Seconds after the beginning of a check at which its failure is answered, or a multiple of them: more than it
    takes, so that the time does not tell whether there is such an account."""
    proxies: Sequence[str] = ()
    """The proxies in front, whose ``X-Forwarded-For`` names the client: addresses, networks, ``unix``. Of one on this
    machine that is not named, no addresses are counted, and the log says so, once. One that is elsewhere, and not
    named, is one address for everybody who comes through it, and the log says so, once."""
    clients: Clients = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Check them."""
        for name in ("per_address", "per_account", "per_browser", "checks"):
            value: object = getattr(self, name)
            if not is_count(value) and (name, value) != ("per_address", None):
                raise ConfigurationError(f"LoginLimits: {name}={value!r}; give a whole number, 1 or more")
        if not (is_number(self.answer_after) and 0 < self.answer_after <= 5):
            raise ConfigurationError(
                f"LoginLimits: answer_after={self.answer_after!r}; give seconds, above 0 and at most 5"
            )
        object.__setattr__(self, "clients", Clients.behind(self.proxies))
