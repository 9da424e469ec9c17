"""All of the demo in one process, from the first port to the last connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, final

import trio
from attrs import field, frozen

from seawall.demo.apps import LONG_AGO, Surroundings, add_scenes, echo_app, secure_app
from seawall.demo.origins import own_hosts
from seawall.demo.scenes import Feed, Scenes, scenes_app
from seawall.demo.tokens import Issuer
from seawall.serving.listening import Listener, address_of, open_listeners
from seawall.serving.server import Server
from seawall.serving.signals import serve_until_signalled

#: Seconds for which the printed token is good.
AN_HOUR: Final = 3600.0

#: How a browser calls an address that stands for all of them.
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - recognised here, not bound


@final
@frozen(kw_only=True)
class Settings:
    """What can be chosen about the demo."""

    host: str = "127.0.0.1"
    echo_port: int = 8765
    secure_port: int = 8888
    scenes_port: int = 0
    """For the second half of the page; a free one by default, because nobody has to know it."""
    session_seconds: float = 20.0
    """How long the page's tokens are good for."""


@final
@frozen(kw_only=True)
class Announcement:
    """What a person has to know in order to try it."""

    page: str
    echo: str
    secure: str
    valid_token: str = field(repr=False)
    expired_token: str = field(repr=False)


async def serve(settings: Settings, announce: Callable[[Announcement], None]) -> None:
    """Serve the demo until SIGINT or SIGTERM; see `seawall.serving.signals.serve_until_signalled`.

    Args:
      settings: where, and for how long.
      announce: called once both apps are being served.

    Raises:
      ConfigurationError: a port cannot be had.
    """
    async with AsyncExitStack() as stack:
        # All ports are taken before an app is made, because the apps name each other's.
        echo_listeners = await _open(stack, settings.host, settings.echo_port)
        secure_listeners = await _open(stack, settings.host, settings.secure_port)
        scenes_listeners = await _open(stack, settings.host, settings.scenes_port)
        host, echo_port, secure_port = _url_host(echo_listeners), _port(echo_listeners), _port(secure_listeners)
        issuer, hosts = Issuer(), own_hosts(settings.host)
        around = Surroundings(
            issuer=issuer,
            echo_port=echo_port,
            secure_port=secure_port,
            scenes_port=_port(scenes_listeners),
            session_seconds=settings.session_seconds,
            hosts=hosts,
        )
        announcement = Announcement(
            page=f"{origin_of(host, echo_port)}/",
            echo=f"ws://{host}:{echo_port}/",
            secure=f"ws://{host}:{secure_port}/",
            valid_token=issuer.issue(AN_HOUR),
            expired_token=issuer.issue(-LONG_AGO),
        )

        feed = Feed()
        scenes = Scenes(app=scenes_app(issuer, feed, echo_port, hosts), host=settings.host, listeners=scenes_listeners)
        echo = echo_app(around)
        add_scenes(echo, scenes, feed)

        async def start_secure(nursery: trio.Nursery) -> Server:
            server = await secure_app(around).start(nursery, listeners=secure_listeners)
            announce(announcement)
            return server

        await serve_until_signalled(partial(echo.start, listeners=echo_listeners), start_secure)


async def _open(stack: AsyncExitStack, host: str, port: int) -> list[Listener]:
    listeners = await open_listeners({"host": host, "port": port})
    for listener in listeners:
        await stack.enter_async_context(listener)
    return listeners


def _port(listeners: list[Listener]) -> int:
    return address_of(listeners[0]).port


def _url_host(listeners: list[Listener]) -> str:
    host = address_of(listeners[0]).host
    return _WILDCARDS.get(host, f"[{host}]" if ":" in host else host)


def origin_of(host: str, port: int) -> str:
    """What a browser sends as the origin of a page from `host` and `port`, where the usual port is left out."""
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"
