"""Renewing several connections at once, with one token; see `Sessions.renew`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import trio

from seawall.observability.logs import server_log

#: Connections whose guards are asked at the same time: some slow ones hold up nobody, and a thousand are no flood for
#: the database that they ask.
AT_ONCE: Final = 32

#: Seconds for all of them together: half of what a page has by default, in which this is called.
WITHIN: Final = 5.0


class Renewable(Protocol):
    """A connection that was let in by a token."""

    async def renew_for_session(self, token: str, /) -> bool:
        """Renew it, within ``Limits.auth_timeout``. Whether that was done; raises nothing that a guard could cause."""
        ...


async def renew_all(several: Sequence[Renewable], token: str) -> int:
    """Renew `several` connections, and return how many were."""
    waiting, renewed = iter(several), 0

    async def work() -> None:
        nonlocal renewed
        for connection in waiting:
            if await connection.renew_for_session(token):
                renewed += 1

    with trio.move_on_after(WITHIN) as scope:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            for _ in range(min(AT_ONCE, len(several))):
                nursery.start_soon(work, name="renewing connections of a session")
    if scope.cancelled_caught:
        server_log.warning("renewing took more than %g s: the connections that are left keep their leases", WITHIN)
    server_log.info("renewed: %d of %d connections", renewed, len(several))
    return renewed
