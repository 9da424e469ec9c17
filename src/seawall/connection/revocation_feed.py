"""`RevocationFeed`: between the revocations of an app and the `RevocationStore` that it was given."""

from __future__ import annotations

import math
from typing import Final, Protocol, final

import trio

from seawall.connection.revocation_store import Revocation, RevocationStore
from seawall.errors import ConfigurationError, Unavailable
from seawall.exception_groups import partition, replace_stray_cancelled
from seawall.guards.service import Service
from seawall.observability.logs import server_log
from seawall.printable import name_of

#: Seconds in which a store has to have stored something.
STORED_WITHIN: Final = 10.0

#: Seconds in which it has to tell what it has.
LOADED_WITHIN: Final = 60.0

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
          ConfigurationError: it is no `Revocation`.
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
        except BaseException as raised:  # noqa: ASYNC103 - what belongs to a cancel scope is raised again
            if (why := _why(raised)) is None:
                raise
            raise Unavailable(f"the store of revocations has failed: {why}") from raised  # noqa: ASYNC104 - as said
        if scope.cancelled_caught:
            raise _silent(STORED_WITHIN)

    async def load(self) -> None:
        """Apply all that the store has. Raises what the store does.

        Raises:
          ConfigurationError: it has something that is no `Revocation`.
          Unavailable: it has more than can be remembered, or has not answered in a minute.
        """
        problems: list[Exception] = []
        with trio.CancelScope(deadline=trio.current_time() + LOADED_WITHIN) as scope:
            problems = await self._apply_all()
        if scope.cancelled_caught:
            raise _silent(LOADED_WITHIN)
        if problems:
            try:
                raise problems[0]
            finally:
                del problems  # a reference cycle would be left to the garbage collector

    async def _apply_all(self) -> list[Exception]:
        """Apply all that the store has, and return one of each kind of failure: one entry hides no others."""
        problems: dict[type[Exception], Exception] = {}
        for number, revocation in enumerate(await self._store.load(), 1):
            try:
                self._refusing.apply(revocation)
            except (ConfigurationError, Unavailable) as problem:
                problems[type(problem)] = problem
            if not number % AT_A_TIME:
                await trio.lowlevel.checkpoint()
        return sorted(problems.values(), key=lambda problem: isinstance(problem, Unavailable))

    async def run(self) -> None:
        """Apply what others revoke, until cancelled. While the store fails, the app serves on with what it knows."""
        pause = FIRST_PAUSE
        while True:
            began = trio.current_time()
            why = await self._attempt()
            if trio.current_time() - began >= LONGEST_PAUSE:
                pause = FIRST_PAUSE
            server_log.warning(
                "revocations: the store does not tell what others revoke (%s); it is asked again in %g s", why, pause
            )
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(self) -> str:
        """Apply what others revoke, and return why that has ended."""
        try:
            await self._follow()
        except BaseException as raised:  # noqa: ASYNC103 - what belongs to a cancel scope is raised again
            if (why := _why(raised)) is None:
                raise
            return why  # noqa: ASYNC104 - as said
        return "its stream has ended"

    async def _follow(self) -> None:
        with trio.CancelScope(deadline=trio.current_time() + LOADED_WITHIN) as scope:
            async with self._store.changes() as changes:
                problems = await self._apply_all()
                scope.deadline = math.inf
                for problem in problems:  # what is new may be in order, and may still fit
                    _warn(problem)
                del problems
                async for revocation in changes:
                    try:
                        self._refusing.apply(revocation)
                    except Unavailable as full:
                        _warn(full)
        if scope.cancelled_caught:
            raise _silent(LOADED_WITHIN)


def _silent(seconds: float) -> Unavailable:
    return Unavailable(f"the store of revocations has not answered in {seconds:g} s")


def _warn(problem: Exception) -> None:
    server_log.warning("revocations of others: %s", name_of(problem))


def _why(raised: BaseException) -> str | None:
    """What a store has raised, which may be anything, and it may come back; None if it is to be raised again."""
    parts = partition(replace_stray_cancelled(raised))
    if parts.fatal or parts.cancelled is not None:
        return None
    return "; ".join(map(name_of, parts.failures))
