"""`RouteHandler`: a handler that says itself what it takes, and that messages are written for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from seawall.callables import PathArgument, path_arguments
from seawall.messages.codec import Codec


class RouteHandler(ABC):
    """A handler that has more to be looked at than its signature when a route is given to it."""

    @abstractmethod
    def check_route(self, codec: Codec | None) -> tuple[PathArgument, ...]:
        """What it takes from the path; asked when a route is defined with it, and again when its app is known.

        Args:
          codec: of the route; None while that is not known, because its app may say it.

        Raises:
          ConfigurationError: it cannot be the handler of such a route.
        """


def taken_by(handler: Callable[..., object], codec: Codec | None) -> tuple[PathArgument, ...]:  # type: ignore[explicit-any]  # any function
    """What the handler of a route takes from the path.

    Raises:
      ConfigurationError: it takes no connection, or cannot be the handler of a route with this codec.
    """
    asked: object = handler
    if isinstance(asked, RouteHandler):
        return asked.check_route(codec)
    return path_arguments(handler, leading=1)
