"""`Topic`: rooms of one pattern, in which values of one type are published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, final

from attrs import evolve

from seawall.callables import Parameter
from seawall.errors import ConfigurationError
from seawall.topics.definition import Definition, MayRead, ReadCheck
from seawall.topics.room import R_contra, Room

P = TypeVar("P")
T = TypeVar("T")


@final
class Topic(Generic[T, R_contra]):
    """Rooms of one pattern, in which values of the type `T` are published.

    Calling it with the parameters of the pattern gives one of its rooms::

        said = app.topic("rooms/{room}", Said, history=100)

        await said(room="lobby").publish(Said("hello"))
    """

    __slots__ = ("_definition",)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: object) -> object:
            """``Topic[Said]`` is ``Topic[Said, object]``, before Python 3.13 too."""
            return super().__class_getitem__(parameters if isinstance(parameters, tuple) else (parameters, object))

    def __init__(self, definition: Definition) -> None:
        """Made by `App.topic`."""
        self._definition = definition

    def __repr__(self) -> str:
        """Which topic it is."""
        return f"Topic({self._definition.name!r})"

    def __call__(self, **parameters: Parameter) -> Room[T, R_contra]:
        """The room with these parameters.

        Raises:
          TypeError: one is missing, or unknown, or not of the type that the pattern names.
          InvalidMessage: text of more than 1,024 bytes, or that cannot be encoded; or a number of more than 64 bits.
          ConfigurationError: `readable` has made another topic of this one.
        """
        self._definition.check_current("called")
        return Room(self._definition, self._definition.pattern.key(parameters))

    def readable(self: Topic[T, object], check: MayRead[P], /) -> Topic[T, P]:
        """The topic for those whose principal `check` lets read; use it in place of this one from now on.

        ::

            async def is_member(user: User, room: str) -> None:
                if room not in user.rooms:
                    raise Forbidden("no member")


            said = app.topic("rooms/{room}", Said).readable(is_member)

        The check is asked whenever somebody subscribes, or wants the history; and again, of each subscription, when its
        connection is renewed, which is then ended if the check says no. Publishing asks nobody.

        Args:
          check: an async function of the principal and of the parameters of the pattern, by name. It raises to refuse,
            and returns nothing.

        Raises:
          ConfigurationError: the check is not async, or takes other parameters; or the topic is readable already.
        """
        definition = self._definition
        definition.check_current("made readable")
        if definition.check is not None:
            raise ConfigurationError(f"topic {definition.name!r} is readable by a check already; put both into one")
        made = evolve(definition, check=ReadCheck.parse(definition.pattern, check))
        definition.is_replaced = True
        return Topic[T, P](made)
