"""`MustBeEntered`: a context manager that warns if nobody enters it, as a coroutine does if nobody awaits it.

`warn_not_entered` is for those that do so themselves, because there may be many of them.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar, final

T_co = TypeVar("T_co", covariant=True)


@final
class MustBeEntered(AbstractAsyncContextManager[T_co]):
    """Another context manager, which does nothing by itself before ``async with``."""

    __slots__ = ("_call", "_is_entered", "_manager")

    def __init__(self, call: str, manager: AbstractAsyncContextManager[T_co]) -> None:
        """Say how it was made, such as ``conn.subscribe(...)``."""
        self._call = call
        self._manager = manager
        self._is_entered = False

    async def __aenter__(self) -> T_co:
        """Enter the other one."""
        self._is_entered = True
        return await self._manager.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        """Leave the other one."""
        return await self._manager.__aexit__(kind, raised, traceback)  # noqa: ASYNC102 - it is this one's cleanup

    def __del__(self) -> None:
        """Warn, where the last reference has gone."""
        if not self._is_entered:
            warn_not_entered(self._call, self)


def warn_not_entered(call: str, source: object) -> None:
    """Warn that the context manager `source`, which was made by `call`, is gone and has never been entered."""
    warnings.warn(
        f"{call} was never entered, and has done nothing; write `async with {call}`",
        RuntimeWarning,
        stacklevel=3,
        source=source,
    )
