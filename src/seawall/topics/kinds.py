"""`Kinds`: of which classes the values of a topic, or of a presence, are."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import cast, final

from attrs import frozen

from seawall.connection.message_format import MessageFormat
from seawall.messages.codec import Sendable
from seawall.messages.encoder import unsendable
from seawall.messages.forms import class_of, members_of, shown


@final
@frozen
class Kinds:
    """The classes of the values that are published in one place. Of a generic class any parameters will do."""

    where: str
    """What it is called, such as ``topic('rooms/{room}')``."""
    classes: type[Sendable] | tuple[type[Sendable], ...]
    """For `isinstance`, by which each value is looked at: one class is faster than a tuple of it."""

    @classmethod
    def parse(cls, written: MessageFormat, kind: object, where: str) -> Kinds:
        """Look at the type that a topic was given: text, bytes, or classes of messages, or a union of such.

        Raises:
          ConfigurationError: no message can carry it; the text begins with `where`.
        """
        members = members_of(kind)
        for member in members:
            if member is not str and member is not bytes:
                written.encoder.check(member, where=where)
        classes = tuple(cast("type[Sendable]", class_of(member)) for member in members)  # or `check` had raised
        return cls(where, classes[0] if len(classes) == 1 else classes)

    def refusal(self, call: str, value: object) -> TypeError:
        """Why `call` does not take a value that is an instance of none of them."""
        if isinstance(value, type) or inspect.isawaitable(value):
            return TypeError(unsendable(value))
        classes = self.classes if isinstance(self.classes, tuple) else (self.classes,)
        wanted = " or ".join(_names(classes))
        (given,) = _names([type(value)])
        return TypeError(
            f"{call}() was given {given}, and {self.where} is of {wanted}; give one of these, or define it with "
            "a union that has both"
        )


def _names(kinds: Iterable[type]) -> list[str]:
    return [kind.__qualname__ if kind.__module__ == "builtins" else shown(kind) for kind in kinds]
