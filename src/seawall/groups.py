"""Exception groups taken apart: what a policy decides, and what nobody may swallow. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, final

import trio
from attrs import frozen


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
    if not isinstance(raised, BaseExceptionGroup):
        return Sifted(failures, fatal, raised if isinstance(raised, trio.Cancelled) else None)
    return Sifted(failures, fatal, cast("BaseExceptionGroup[BaseException]", raised).split(trio.Cancelled)[0])


def without(raised: BaseException, known: Exception | None) -> BaseException | None:
    """What is left of `raised` without the leaves of `known`; None if nothing is."""
    old = frozenset(id(leaf) for leaf in leaves(known)) if known is not None else frozenset[int]()
    if isinstance(raised, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", raised).split(lambda leaf: id(leaf) in old)[1]
    return None if id(raised) in old else raised


def _as_failure(odd: BaseException) -> Exception:
    """A failure that stands for GeneratorExit, asyncio.CancelledError and the like, which mean nothing under Trio."""
    failure = RuntimeError(f"{type(odd).__name__} was raised, which is not an Exception")
    failure.__cause__ = odd
    return failure
