"""Exception groups taken apart: what a policy decides about, and what has to be raised again.

No I/O and no await. `flatten` sets tracebacks, though, and `replace_stray_cancelled` reads the cancel scope of the
running task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import cast, final

import trio
from attrs import frozen


@final
class Carrier(Exception):
    """Carries an exception whose repr raises; see `wrap_unprintable`. `flatten` takes it out again."""

    def __init__(self, failure: BaseException) -> None:
        """Carry `failure`."""
        super().__init__()
        self.failure = failure


def wrap_unprintable(raised: BaseException) -> None:
    """Raise a substitute for `raised` if Trio could not handle that; return if it could.

    To be called where a task of ours is about to raise `raised` into its nursery. Two things are replaced:

    - an exception whose repr raises, by a `Carrier`: Trio calls the repr of what a task raises, to say why its siblings
      are cancelled, and ends the whole program if that fails;
    - a `trio.Cancelled` that belongs to no scope; see `replace_stray_cancelled`.
    """
    if (own := replace_stray_cancelled(raised)) is not raised:
        raise own
    try:
        repr(raised)
    except Exception:  # noqa: BLE001 - a group that is nested too deep raises RecursionError, others what they like
        raise Carrier(raised) from None


def replace_stray_cancelled(raised: BaseException) -> BaseException:
    """`raised` with each `trio.Cancelled` replaced by a RuntimeError, if the running task is not cancelled.

    Such a Cancelled was caught in a cancel scope that is over, and raised later. A nursery would take it for its own
    and swallow it, so that the failure would go unnoticed.
    """
    if trio.current_effective_deadline() == -math.inf:
        return raised
    several = list(flatten(raised))
    if not any(isinstance(leaf, trio.Cancelled) for leaf in several):
        return raised
    own = [_as_failure(leaf) if isinstance(leaf, trio.Cancelled) else leaf for leaf in several]
    return BaseExceptionGroup("a Cancelled that nobody caused", own)


def exceptions_in(exception: BaseException) -> Iterator[Exception]:
    """The leaves of `exception` that are an `Exception`, each once; of one that is not a group, itself."""
    seen = set[int]()
    for leaf in flatten(exception):
        if isinstance(leaf, Exception) and id(leaf) not in seen:
            seen.add(id(leaf))
            yield leaf


def flatten(raised: BaseException) -> Iterator[BaseException]:
    """The exceptions in `raised` that are not groups, however deep, in order.

    A leaf that has never been raised itself has no traceback, and gets that of its group.
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
    """What was raised, in three parts."""

    failures: tuple[Exception, ...]
    """What the error policy decides about."""
    fatal: tuple[BaseException, ...]
    """Each KeyboardInterrupt and SystemExit. A policy does not decide about them; they stop the server."""
    cancelled: BaseException | None
    """Each `trio.Cancelled`, in a group if there are several. To be raised again, for the cancel scope around."""


def partition(raised: BaseException) -> Partition:
    """Take `raised` apart; each leaf is in exactly one part."""
    others = [leaf for leaf in flatten(raised) if not isinstance(leaf, Exception | trio.Cancelled)]
    fatal = tuple(leaf for leaf in others if isinstance(leaf, KeyboardInterrupt | SystemExit))
    odd = (_as_failure(leaf) for leaf in others if not isinstance(leaf, KeyboardInterrupt | SystemExit))
    failures = (*exceptions_in(raised), *odd)
    return Partition(failures, fatal, _group([leaf for leaf in flatten(raised) if isinstance(leaf, trio.Cancelled)]))


def subtract(raised: BaseException, known: Exception | None) -> BaseException | None:
    """The leaves of `raised` that are not in `known`, in a group if there are several; None if there are none."""
    old = frozenset(id(leaf) for leaf in exceptions_in(known)) if known is not None else frozenset[int]()
    return _group([leaf for leaf in flatten(raised) if id(leaf) not in old])


def _group(several: list[BaseException]) -> BaseException | None:
    """A flat group of `several`; one alone as it is. `BaseExceptionGroup.split` fails at a nesting of a thousand."""
    if len(several) < 2:
        return several[0] if several else None
    return BaseExceptionGroup("several", several)


def _as_failure(odd: BaseException) -> Exception:
    """A RuntimeError in place of a stray Cancelled, or of GeneratorExit and the like, which mean nothing under Trio."""
    stray = isinstance(odd, trio.Cancelled)
    why = "though nobody cancelled: it was kept from a scope that is over" if stray else "which is not an Exception"
    failure = RuntimeError(f"{type(odd).__name__} was raised, {why}")
    failure.__cause__ = odd
    return failure
