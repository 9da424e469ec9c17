"""What a program says that takes an `App` for an ASGI application, such as ``uvicorn app:app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from seawall.errors import ConfigurationError

Event: TypeAlias = Mapping[str, object]

REMEDY: Final = (
    "a seawall.App is no ASGI application: it is a server itself, on Trio; write app.run(port=8765) and start it with "
    "`python app.py`, without uvicorn, hypercorn or daphne"
)


async def refuse_asgi(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """Let an ASGI server fail at its start with the remedy; one that does not ask then fails at each request.

    Raises:
      ConfigurationError: it is a request.
    """
    if scope.get("type") != "lifespan":
        raise ConfigurationError(REMEDY)
    await receive()
    await send({"type": "lifespan.startup.failed", "message": REMEDY})
