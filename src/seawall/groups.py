"""Exception groups taken apart: what a policy decides, and what nobody may swallow. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, final

import trio
from attrs import frozen


@final
class Carrier(Exception):
    """Carries a failure that cannot be shown; see `carry`."""

    def __init__(self, failure: BaseException) -> None:
        """Carry `failure`."""
        super().__init__()
        self.failure = failure


def carry(raised: BaseException) -> None:
    """Let a task raise a `Carrier` instead of what cannot be shown; to be called before it raises `raised`.

    Trio shows what a task raises, to say why its siblings are cancelled, and ends the whole program if that fails.
    """
    try:
        repr(raised)
    except Exception:  # noqa: BLE001 - a group that is nested too deep raises RecursionError, others what they like
        raise Carrier(raised) from None


def leaves(exception: BaseException) -> Iterator[Exception]:
    """The `Exception` leaves of `exception`, itself if it is no group, each once."""
    seen = set[int]()
    for leaf in flatten(exception):
        if isinstance(leaf, Exception) and id(leaf) not in seen:
            seen.add(id(leaf))
            yield leaf


def flatten(raised: BaseException) -> Iterator[BaseException]:
    """The exceptions in `raised` that are not groups, however deep, in order."""
    pending = [raised]
    while pending:
        head = pending.pop()
        if isinstance(head, BaseExceptionGroup):
            pending.extend(reversed(cast("BaseExceptionGroup[BaseException]", head).exceptions))
        elif isinstance(head, Carrier):
            pending.append(head.failure)
        else:
            yield head


@final
@frozen
class Sifted:
    """What was raised, taken apart by who may decide about it."""

    failures: tuple[Exception, ...]
    """For the policy."""
    fatal: tuple[BaseException, ...]
    """KeyboardInterrupt and SystemExit: never decided by a policy, never consumed."""
    cancelled: BaseException | None
    """The part made of `trio.Cancelled`, to be raised again: it belongs to a cancel scope further out."""


def sift(raised: BaseException) -> Sifted:
    """Take what was raised apart; each exception is in exactly one part."""
    others = [leaf for leaf in flatten(raised) if not isinstance(leaf, Exception | trio.Cancelled)]
    fatal = tuple(leaf for leaf in others if isinstance(leaf, KeyboardInterrupt | SystemExit))
    odd = (_as_failure(leaf) for leaf in others if not isinstance(leaf, KeyboardInterrupt | SystemExit))
    failures = (*leaves(raised), *odd)
    return Sifted(failures, fatal, _group([leaf for leaf in flatten(raised) if isinstance(leaf, trio.Cancelled)]))


def without(raised: BaseException, known: Exception | None) -> BaseException | None:
    """What is left of `raised` without the leaves of `known`; None if nothing is."""
    old = frozenset(id(leaf) for leaf in leaves(known)) if known is not None else frozenset[int]()
    return _group([leaf for leaf in flatten(raised) if id(leaf) not in old])


def _group(several: list[BaseException]) -> BaseException | None:
    """One exception for several. `BaseExceptionGroup.split` would not survive a group nested a thousand deep."""
    if len(several) < 2:
        return several[0] if several else None
    return BaseExceptionGroup("several", several)


def _as_failure(odd: BaseException) -> Exception:
    """A failure that stands for GeneratorExit, asyncio.CancelledError and the like, which mean nothing under Trio."""
    failure = RuntimeError(f"{type(odd).__name__} was raised, which is not an Exception")
    failure.__cause__ = odd
    return failure
