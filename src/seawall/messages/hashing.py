"""Sets and mappings of what the peer chooses: it may choose values that all have one hash.

The hashes of numbers and of UUIDs can be computed by anybody. Where many have the same one, a set compares each with
each, which takes seconds for a single message, and nobody is served meanwhile. So msgspec decodes lists of them, and
mappings with keys of text, which are looked at first. The hashes of text are salted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast, final

import msgspec

#: So many values may have one hash: few enough to compare them all, and more than ever meet by chance.
MOST: Final = 32


@final
class CollidingValues(ValueError):
    """More than `MOST` values that differ have one hash."""


def check_hashes(values: Sequence[object]) -> None:
    """Look at what is about to become a set, or the keys of a mapping.

    Raises:
      CollidingValues: too many of them have one hash.
    """
    if len(values) <= MOST:
        return
    crowded = {number for number, count in Counter(map(hash, values)).items() if count > MOST}
    if not crowded:
        return
    different: defaultdict[int, list[object]] = defaultdict(list)
    for value in values:
        number = hash(value)
        if number not in crowded:
            continue
        known = different[number]
        if value not in known:
            known.append(value)
        if len(known) > MOST:
            raise CollidingValues


def collected(collection: type, items: list[object]) -> object:
    """A list of decoded items, or what else is to be made of it.

    Raises:
      CollidingValues: as `check_hashes`, for a set.
    """
    if collection is list:
        return items
    if collection is not tuple:
        check_hashes(items)
    return cast("Callable[[object], object]", collection)(items)


@final
class KeyReader:
    """Reads the keys of mappings that were decoded as text."""

    def __init__(self, kind: object) -> None:
        """For keys of a type that msgspec knows."""
        generic = cast("Mapping[object, object]", dict)
        self._kind = cast("type[dict[object, object]]", generic[kind, Any])

    def read(self, items: Mapping[str, object]) -> dict[object, object]:
        """The same values by the keys that the texts stand for.

        Raises:
          msgspec.ValidationError: a text stands for none.
          CollidingValues: as `check_hashes`.
        """
        if len(items) <= MOST:
            return self._converted(items.items())
        pairs = iter(items.items())
        parts: list[dict[object, object]] = []
        while part := self._converted(islice(pairs, MOST)):
            parts.append(part)
        check_hashes([key for part in parts for key in part])
        return {key: value for part in parts for key, value in part.items()}

    def _converted(self, items: Iterable[tuple[str, object]]) -> dict[object, object]:
        return msgspec.convert(dict(items), self._kind, str_keys=True)
