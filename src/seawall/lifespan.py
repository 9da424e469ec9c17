"""The lifespan values of an app: what ``@app.lifespan`` provides while it is served, and the handles to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar, cast, final

from attrs import field, frozen

from seawall.errors import ConfigurationError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@final
@frozen(eq=False)
class Provided(Generic[T_co]):
    """A handle to a value that ``@app.lifespan`` provides while the app is served; see `Connection.provided`."""

    open: Callable[[], AbstractAsyncContextManager[T_co]] = field(repr=False)
    """Opens the value; entered before the app listens, left after the last connection."""
    name: str
    """The name of the function under ``@app.lifespan``."""


@final
class Values:
    """The lifespan values of one running server."""

    def __init__(self, values: Mapping[Provided[object], object]) -> None:
        """Hold `values`, each under its handle."""
        self._values = values

    def get(self, handle: Provided[T]) -> T:
        """The value behind `handle`.

        Raises:
          ConfigurationError: the handle is another app's.
        """
        if handle not in self._values:
            raise ConfigurationError(
                f"provided({handle.name}): this app does not provide it; put @app.lifespan over {handle.name}()"
            )
        return cast("T", self._values[handle])  # the app stored there what the handle's own function yielded
