"""`RevocationFeed`: between the revocations of an app and the `RevocationStore` that it was given."""

from __future__ import annotations

from typing import Final, Protocol, final

import trio

from seawall.connection.revocation_store import Revocation, RevocationStore
from seawall.errors import Unavailable
from seawall.guards.service import Service
from seawall.observability.logs import server_log
from seawall.printable import name_of

#: Seconds in which a store has to have stored something.
STORED_WITHIN: Final = 10.0

#: Seconds until a store that has failed is asked again: the first time, and at most. Each time doubles them; a store
#: that has worked for as long as the longest begins anew.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0

#: Revocations that are applied before other tasks have their turn.
AT_A_TIME: Final = 100


class Refusing(Protocol):
    """What refuses credentials: the `Sessions` of an app."""

    def apply(self, stored: Revocation, /) -> None:
        """End the connections that `stored` is about, and refuse their credentials from now on.

        Raises:
          Unavailable: there is no room to remember it.
        """
        ...


@final
class RevocationFeed(Service):
    """Tells a store what an app revokes, and the app what the store has from others."""

    def __init__(self, store: RevocationStore, refusing: Refusing) -> None:
        """For the revocations of `refusing`."""
        self._store = store
        self._refusing = refusing

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return "revocations"

    async def add(self, revocation: Revocation) -> None:
        """Have `revocation` stored; a caller who is cancelled waits for that all the same, 10 seconds at most.

        Raises:
          Unavailable: it is not known to be stored.
        """
        try:
            with trio.CancelScope(deadline=trio.current_time() + STORED_WITHIN, shield=True) as scope:
                await self._store.add(revocation)
        except Unavailable:
            raise
        except Exception as failure:
            raise Unavailable(f"the store of revocations has failed: {name_of(failure)}") from failure
        if scope.cancelled_caught:
            raise Unavailable(f"the store of revocations has not answered in {STORED_WITHIN:g} s")

    async def load(self) -> None:
        """Apply all that the store has. Raises what the store does.

        Raises:
          Unavailable: it has more than can be remembered.
        """
        if (full := await self._apply_all()) is not None:
            try:
                raise full
            finally:
                del full  # a reference cycle would be left to the garbage collector

    async def _apply_all(self) -> Unavailable | None:
        """Apply all that the store has, and return why some of it is not remembered."""
        full: Unavailable | None = None
        for number, revocation in enumerate(await self._store.load(), 1):
            try:
                self._refusing.apply(revocation)
            except Unavailable as error:
                full = error
            if not number % AT_A_TIME:
                await trio.lowlevel.checkpoint()
        return full

    async def run(self) -> None:
        """Apply what others revoke, until cancelled. While the store fails, the app serves on with what it knows."""
        pause = FIRST_PAUSE
        while True:
            began = trio.current_time()
            try:
                await self._follow()
                why = "its stream has ended"
            except Exception as failure:  # noqa: BLE001 - a store may be anything, and it may come back
                why = name_of(failure)
            if trio.current_time() - began >= LONGEST_PAUSE:
                pause = FIRST_PAUSE
            server_log.warning(
                "revocations: the store does not tell what others revoke (%s); it is asked again in %g s", why, pause
            )
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _follow(self) -> None:
        async with self._store.changes() as changes:
            if (missing := await self._apply_all()) is not None:  # what is new may still fit
                _warn_full(missing)
                del missing
            async for revocation in changes:
                try:
                    self._refusing.apply(revocation)
                except Unavailable as full:
                    _warn_full(full)


def _warn_full(full: Unavailable) -> None:
    server_log.warning("revocations of others: %s", name_of(full))
