"""`RevocationStore`: what several processes have revoked, or what has to outlive one of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Final, Protocol, TypeAlias, cast, final

import trio
from attrs import Attribute, evolve, field, frozen

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, Unavailable
from seawall.mistakes import is_number, is_text

#: Revocations that are remembered one by one.
MAX_REVOCATIONS = 100_000

#: What `MemoryRevocations` keeps for somebody who is slow to take it.
BUFFER: Final = 1_000


def _a_name(instance: object, attribute: Attribute[str | None], value: object) -> None:
    if not (value is None or is_text(value)):
        raise ConfigurationError(f"Revocation: {attribute.name}={value!r} is no text; give a str, or None")


def _a_time(instance: object, attribute: Attribute[float], value: object) -> None:
    if not is_number(value) or math.isnan(cast("float", value)):
        raise ConfigurationError(f"Revocation: {attribute.name}={value!r} is no Unix time")


def _a_time_or_none(instance: object, attribute: Attribute[float | None], value: object) -> None:
    if value is not None:
        _a_time(instance, cast("Attribute[float]", attribute), value)


@final
@frozen(kw_only=True)
class Revocation:
    """What `Sessions.revoke` was told, so that another process, or a later one, refuses the same.

    A credential is refused that has all the names that are not None, and was issued early enough. Without any name, it
    is everybody's.

    Raises:
      ConfigurationError: a name is no text, or a time no number.
    """

    issuer: str | None = field(default=None, validator=_a_name)
    subject: str | None = field(default=None, validator=_a_name)
    session_id: str | None = field(default=None, validator=_a_name)
    token_id: str | None = field(default=None, validator=_a_name)
    issued_before: float = field(validator=_a_time)
    """Refused is what was issued before this, in Unix time. Infinity: whatever matches, also what is issued later."""
    revoked_at: float | None = field(default=None, validator=_a_time_or_none)
    """When that was, in Unix time: refused is also what was issued up to then by a clock that may be ahead by the
    credential's skew. None if a time was named."""
    forgotten_at: float = field(validator=_a_time)
    """When all that it is about has ended, in Unix time: a store may forget it then. It may be infinity."""


class RevocationStore(Protocol):
    """Keeps what has been revoked: for several processes, or for later ones.

    An app asks it at the start and is told of changes; at the door nothing is asked.
    """

    async def load(self) -> Iterable[Revocation]:
        """All that has to be refused. It is called before the app listens, and after each beginning of `changes`.

        Within a minute, together with that beginning; else it is cancelled, and has failed.
        """
        ...

    async def add(self, revocation: Revocation) -> None:
        """Return when `revocation` is stored for good. To add the same again is no mistake.

        Raises:
          Unavailable: it is not stored.
        """
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Revocation]]:
        """What others add from the beginning of the block on; what this process adds may be among it.

        If it raises, or the iterator ends, it is called again a little later, and `load` after it.
        """
        ...


_Names: TypeAlias = tuple[str | None, str | None, str | None, str | None, bool]


@final
class MemoryRevocations:
    """A `RevocationStore` for several apps of one `trio.run`, as of `run_apps`, and for tests.

    It is gone with the process. Whatever it is asked in another event loop, while apps of one listen to it, raises
    `ConfigurationError`.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._entries: dict[_Names, Revocation] = {}
        self._ends: list[tuple[float, int, _Names]] = []  # a heap, with each entry once; it may be kept for longer
        self._counter = count()
        self._listeners: dict[trio.MemorySendChannel[Revocation], None] = {}
        self._loop: trio.lowlevel.TrioToken | None = None  # of the listeners

    def __len__(self) -> int:
        """How many there are, including those whose time has come."""
        return len(self._entries)

    async def load(self) -> tuple[Revocation, ...]:
        """All whose time has not come."""
        await trio.lowlevel.checkpoint()
        self._check_loop()
        self._forget()
        return tuple(self._entries.values())

    async def add(self, revocation: Revocation) -> None:
        """Keep `revocation`, and tell others.

        Raises:
          Unavailable: there are 100,000, and no one's time has come.
        """
        await trio.lowlevel.checkpoint()
        self._check_loop()
        names = _names(revocation)
        known = self._entries.get(names)
        if known is None and len(self._entries) >= MAX_REVOCATIONS:
            self._forget()
            if len(self._entries) >= MAX_REVOCATIONS:
                raise Unavailable(f"{MAX_REVOCATIONS} revocations are stored, and none has had its time")
        if known is None:
            heapq.heappush(self._ends, (revocation.forgotten_at, next(self._counter), names))
        self._entries[names] = revocation if known is None else merged(known, revocation)
        for listener in tuple(self._listeners):
            self._tell(listener, revocation)

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
        """What is added from now on. It ends when 1,000 have not been taken: load again then."""
        self._check_loop()
        send, receive = trio.open_memory_channel[Revocation](BUFFER)
        self._listeners[send] = None
        try:
            async with receive:
                yield receive
        finally:
            self._listeners.pop(send, None)
            send.close()

    def _check_loop(self) -> None:
        loop = trio.lowlevel.current_trio_token()
        if self._listeners and loop is not self._loop:
            raise ConfigurationError("MemoryRevocations in two event loops at once; serve its apps in one trio.run()")
        self._loop = loop

    def _tell(self, listener: trio.MemorySendChannel[Revocation], revocation: Revocation) -> None:
        try:
            listener.send_nowait(revocation)
        except trio.WouldBlock:
            del self._listeners[listener]
            listener.close()

    def _forget(self) -> None:
        now = unix_time()
        while self._ends and self._ends[0][0] <= now:
            _, number, names = self._ends[0]
            if (forgotten_at := self._entries[names].forgotten_at) > now:
                heapq.heapreplace(self._ends, (forgotten_at, number, names))
            else:
                heapq.heappop(self._ends)
                del self._entries[names]


def _names(revocation: Revocation) -> _Names:
    """What two have to have in common to be one: also whether a time was named."""
    named = (revocation.issuer, revocation.subject, revocation.session_id, revocation.token_id)
    return *named, revocation.revoked_at is None


def merged(one: Revocation, other: Revocation) -> Revocation:
    """Both, of the same names."""
    times = [at for at in (one.revoked_at, other.revoked_at) if at is not None]
    return evolve(
        one,
        issued_before=max(one.issued_before, other.issued_before),
        revoked_at=max(times, default=None),
        forgotten_at=max(one.forgotten_at, other.forgotten_at),
    )
