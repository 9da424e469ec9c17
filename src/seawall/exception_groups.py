"""Exception groups taken apart: what a policy decides, and what nobody may swallow. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import cast, final

import trio
from attrs import frozen


@final
class Carrier(Exception):
    """Carries a failure that cannot be shown; see `wrap_unprintable`."""

    def __init__(self, failure: BaseException) -> None:
        """Carry `failure`."""
        super().__init__()
        self.failure = failure


def wrap_unprintable(raised: BaseException) -> None:
    """Let a task raise something else instead of what Trio could not take; to be called before it raises `raised`.

    Trio shows what a task raises, to say why its siblings are cancelled, and ends the whole program if that fails: a
    `Carrier` has what cannot be shown. For the rest see `replace_stray_cancelled`.
    """
    if (own := replace_stray_cancelled(raised)) is not raised:
        raise own
    try:
        repr(raised)
    except Exception:  # noqa: BLE001 - a group that is nested too deep raises RecursionError, others what they like
        raise Carrier(raised) from None


def replace_stray_cancelled(raised: BaseException) -> BaseException:
    """What the running task has raised, with a failure in place of each `trio.Cancelled` that nobody has caused.

    A nursery takes every one for its own, so that one which was kept from a scope that is over would be no failure.
    """
    if trio.current_effective_deadline() == -math.inf:
        return raised
    several = list(flatten(raised))
    if not any(isinstance(leaf, trio.Cancelled) for leaf in several):
        return raised
    own = [_as_failure(leaf) if isinstance(leaf, trio.Cancelled) else leaf for leaf in several]
    return BaseExceptionGroup("a Cancelled that nobody caused", own)


def exceptions_in(exception: BaseException) -> Iterator[Exception]:
    """The `Exception` leaves of `exception`, itself if it is no group, each once."""
    seen = set[int]()
    for leaf in flatten(exception):
        if isinstance(leaf, Exception) and id(leaf) not in seen:
            seen.add(id(leaf))
            yield leaf


def flatten(raised: BaseException) -> Iterator[BaseException]:
    """The exceptions in `raised` that are not groups, however deep, in order.

    One that was put into a group without having been raised gets the group's traceback, for there is no other.
    """
    pending: list[tuple[BaseException, TracebackType | None]] = [(raised, None)]
    while pending:
        head, where = pending.pop()
        if isinstance(head, BaseExceptionGroup):
            inner = cast("BaseExceptionGroup[BaseException]", head).exceptions
            where = head.__traceback__ or where
            pending.extend((leaf, where) for leaf in reversed(inner))
        elif isinstance(head, Carrier):
            pending.append((head.failure, where))
        else:
            if head.__traceback__ is None:
                BaseException.with_traceback(head, where)
            yield head


@final
@frozen
class Partition:
    """What was raised, taken apart by who may decide about it."""

    failures: tuple[Exception, ...]
    """For the policy."""
    fatal: tuple[BaseException, ...]
    """KeyboardInterrupt and SystemExit: never decided by a policy, never consumed."""
    cancelled: BaseException | None
    """The part made of `trio.Cancelled`, to be raised again: it belongs to a cancel scope further out."""


def partition(raised: BaseException) -> Partition:
    """Take what was raised apart; each exception is in exactly one part."""
    others = [leaf for leaf in flatten(raised) if not isinstance(leaf, Exception | trio.Cancelled)]
    fatal = tuple(leaf for leaf in others if isinstance(leaf, KeyboardInterrupt | SystemExit))
    odd = (_as_failure(leaf) for leaf in others if not isinstance(leaf, KeyboardInterrupt | SystemExit))
    failures = (*exceptions_in(raised), *odd)
    return Partition(failures, fatal, _group([leaf for leaf in flatten(raised) if isinstance(leaf, trio.Cancelled)]))


def subtract(raised: BaseException, known: Exception | None) -> BaseException | None:
    """What is left of `raised` without the leaves of `known`; None if nothing is."""
    old = frozenset(id(leaf) for leaf in exceptions_in(known)) if known is not None else frozenset[int]()
    return _group([leaf for leaf in flatten(raised) if id(leaf) not in old])


def _group(several: list[BaseException]) -> BaseException | None:
    """One exception for several. `BaseExceptionGroup.split` would not survive a group nested a thousand deep."""
    if len(several) < 2:
        return several[0] if several else None
    return BaseExceptionGroup("several", several)


def _as_failure(odd: BaseException) -> Exception:
    """A failure that stands for GeneratorExit, asyncio.CancelledError and the like, which mean nothing under Trio."""
    stray = isinstance(odd, trio.Cancelled)
    why = "though nobody cancelled: it was kept from a scope that is over" if stray else "which is not an Exception"
    failure = RuntimeError(f"{type(odd).__name__} was raised, {why}")
    failure.__cause__ = odd
    return failure
