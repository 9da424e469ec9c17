"""A failure without the password that it failed with: not in its text, nor in what its traceback holds."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import cast
from urllib.parse import quote, quote_plus


class AuthenticationFailed(Exception):
    """What ``authenticate()`` has raised had the password in its text, which is therefore not repeated."""


def without_password(failure: Exception, password: str) -> Exception:
    """`failure`, whose frames have no variables any more; or, if a text of it has the password, what says so.

    Whoever reports failures with the variables of all frames, as services for that do, would report the password.
    """
    found = tuple(_all_of(failure, set()))
    for each in found:
        traceback.clear_frames(each.__traceback__)
    texts = [text.replace("\\", "") for each in found for text in _texts(each)]
    if not any(spelling in text for spelling in _spellings(password) for text in texts):
        return failure
    kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in found))
    replaced = AuthenticationFailed(f"authenticate() raised {kinds}, with the password in its text, which is left out")
    return replaced.with_traceback(failure.__traceback__)


def _all_of(failure: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """A failure, what is in it, and what was before it."""
    if failure is None or id(failure) in seen:
        return
    seen.add(id(failure))
    yield failure
    for other in (failure.__cause__, failure.__context__):
        yield from _all_of(other, seen)
    if isinstance(failure, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", failure)
        for member in group.exceptions:
            yield from _all_of(member, seen)


def _spellings(password: str) -> set[str]:
    """As what a text may have it, without backslashes: as it is, or as Python, JSON or an address writes it."""
    escaped = (repr(password)[1:-1], ascii(password)[1:-1], json.dumps(password)[1:-1], repr(password.encode())[2:-1])
    return {each.replace("\\", "") for each in (password, *escaped, quote(password, safe=""), quote_plus(password))}


def _texts(failure: BaseException) -> tuple[str, ...]:
    notes: tuple[object, ...] = tuple(getattr(failure, "__notes__", ()))
    try:
        return (str(failure), repr(failure), *map(str, notes))
    except Exception:  # noqa: BLE001 - what cannot be shown is not shown in the log, either
        return ()
