"""`Definition`: what a topic says about its rooms, and what they are made of."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate, Final, Never, NoReturn, TypeAlias, TypeVar, cast, final

from attrs import define, field, frozen

from seawall.callables import Parameter, agrees, describe, is_async, path_arguments, return_types, shown
from seawall.connection.state import ConnectionState
from seawall.errors import ConfigurationError
from seawall.lag import Lag
from seawall.topics.cursor import Cursor
from seawall.topics.hub import Hub
from seawall.topics.keys import RoomKey, RoomPattern
from seawall.topics.kicks import RoomConnection
from seawall.topics.kinds import Kinds
from seawall.topics.log import Log, Retention
from seawall.topics.pump import Pump
from seawall.topics.rendering import Renderers

P = TypeVar("P")

#: Asks whether somebody may read: with the principal, and the parameters of the room by their names.
MayRead: TypeAlias = Callable[Concatenate[P, ...], Awaitable[None]]  # type: ignore[explicit-any]  # any parameters
_Asked: TypeAlias = Callable[..., Awaitable[object]]  # type: ignore[explicit-any]  # the same, without a type

#: What a function is annotated with that returns nothing, or of which that is not known.
_NOTHING: Final = (None, type(None), inspect.Parameter.empty, NoReturn, Never)


@final
@frozen
class ReadCheck:
    """Who is asked whether somebody may read."""

    function: _Asked
    wanted: frozenset[str]
    """The parameters of the pattern that it takes."""

    @classmethod
    def parse(cls, pattern: RoomPattern, check: object) -> ReadCheck:
        """Look at what `Topic.readable` was given.

        Raises:
          ConfigurationError: it is no async function of a principal and of parameters of the pattern.
        """
        where = f"topic({pattern.text!r}).readable()"
        if not callable(check):
            raise ConfigurationError(f"{where} was given {check!r}; give an async function of the principal")
        if not is_async(check):
            raise ConfigurationError(f"{where}: {describe(check)} is not an async function; write `async def`")
        if any(kind not in _NOTHING for kind in return_types(check)):
            raise ConfigurationError(f"{where}: {describe(check)} returns something; raise to refuse, return nothing")
        wanted = path_arguments(check, leading=1, first="the principal")
        for one in wanted:
            kind = pattern.parameters.get(one.name)
            if kind is None and one.required:
                raise ConfigurationError(f"{where}: {one.owner} takes {one.name!r}, which the pattern does not have")
            if kind is not None and not agrees(one.annotation, kind):
                raise ConfigurationError(
                    f"{where}: parameter {one.name!r} of {one.owner} is annotated {shown(one.annotation)}, but the "
                    f"pattern gives {kind.__name__}; change the annotation, or the converter in the pattern"
                )
        asked = cast("_Asked", check)  # as it is an async function
        return cls(asked, frozenset(one.name for one in wanted if one.name in pattern.parameters))

    def arguments(self, parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """Those that it takes."""
        return {name: value for name, value in parameters.items() if name in self.wanted}


@final
@define(eq=False, kw_only=True)
class Definition:
    """What a topic says about its rooms. The topic is a typed face of it, and so are they."""

    hub: Hub
    """What all rooms of the app share."""
    pattern: RoomPattern
    """What its rooms are called."""
    kinds: Kinds
    """What is published in them."""
    retention: Retention
    """What they keep."""
    lag: Lag[object]
    """What becomes of a reader that is behind, unless it says otherwise itself."""
    check: ReadCheck | None = None
    """Who is asked whether somebody may read; None: everybody may."""
    is_replaced: bool = field(init=False, default=False)
    """Whether `readable` has made another topic of it, which is the one to use."""

    @property
    def name(self) -> str:
        """The pattern, for errors."""
        return self.pattern.text

    @property
    def pump(self) -> Pump:
        """What serves those who read."""
        return self.hub.pump

    @property
    def renderers(self) -> Renderers:
        """How events are written."""
        return self.hub.renderers

    def check_current(self, used: str) -> None:
        """Refuse what would pass by the check that `readable` has put into another topic.

        Raises:
          ConfigurationError: there is one; the text says how this was `used`.
        """
        if self.is_replaced:
            raise ConfigurationError(
                f"topic {self.name!r} was {used} after readable(), which has made another one of it; use what "
                "readable() has returned"
            )

    def parameters(self, key: RoomKey) -> dict[str, Parameter]:
        """Those of a room, by name."""
        return dict(zip(self.pattern.parameters, key.parameters, strict=True))

    def cursor(self, _: RoomKey, lag: Lag[object], /) -> Cursor:
        """One that is to read a room."""
        return Cursor(lag)

    async def ask(self, key: RoomKey, principal: object, /) -> None:
        """Ask whether `principal` may read a room. Raises what says no."""
        if self.check is not None:
            answer = await self.check.function(principal, **self.check.arguments(self.parameters(key)))
            if answer is not None:
                raise ConfigurationError(
                    f"the check of topic {self.name!r} returned {answer!r}; raise to refuse, or return nothing"
                )

    def admit(self, key: RoomKey, state: ConnectionState, /) -> RoomConnection:
        """The connection as one of a room. Raises as `Kicks.admit`."""
        return self.hub.kicks.admit(key, state.id)

    async def open(self, key: RoomKey, /) -> Log:
        """The log of a room, kept until `release`. Raises as `Engine.open`."""
        return await self.hub.engine.open(key, self.retention)

    def release(self, log: Log, /) -> None:
        """It is not needed any more."""
        self.hub.engine.release(log)
