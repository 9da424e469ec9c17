"""Behind a real nginx and a real HAProxy, each configured as ``docs/deployment.md`` says.

Skipped where they are not installed, but not on CI (``CI`` is set there), where that is a failure.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from seawall import App, public
from seawall.http.hosts import Hosts
from tests.kit.log import recorded
from tests.kit.proxies import Proxy, documented, haproxy, health, nginx
from tests.kit.sockets import Place, echo, serving
from tests.kit.wire import PATIENCE, request

pytestmark = pytest.mark.slow

PROXIES: Final[dict[str, Callable[[Path, int], AbstractAsyncContextManager[Proxy]]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
}


def healthy_app(hosts: Hosts | None) -> App:
    """An echo, a page, and a page for health checks."""
    app = App(hosts=hosts)
    app.page("/", "hello")
    app.page("/healthz", "well", media_type="text/plain")
    app.route("/echo", guard=public)(echo)
    return app


@asynccontextmanager
async def behind(name: str, directory: Path, hosts: Hosts | None) -> AsyncGenerator[tuple[Proxy, Place]]:
    """The app behind the proxy of the documentation."""
    async with serving(healthy_app(hosts)) as place, PROXIES[name](directory, place.at.port) as proxy:
        yield proxy, place


async def ask(proxy: Proxy, data: bytes, *, tls: bool = False) -> tuple[int, bytes]:
    """The status and the body of the answer to one request."""
    client = await proxy.dial(tls=tls)
    await client.send(data)
    answer = await client.response()
    client.close()
    return answer.status, answer.body


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", PROXIES)
async def test_mended_21_as_the_documentation_says(name: str, tls: bool, tmp_path: Path) -> None:
    """Pages and WebSockets of the name that is served come through, with the port in Host; other pages do not."""
    async with behind(name, tmp_path, ["chat.example"]) as (proxy, _):
        port = proxy.tls_port if tls else proxy.port
        host = f"chat.example:{port}"
        own = f"{'https' if tls else 'http'}://{host}"
        page = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert await ask(proxy, page, tls=tls) == (200, b"hello")
        assert (await ask(proxy, page.replace(b"chat.", b"evil."), tls=tls))[0] == 421
        for origin, status in (("https://evil.example", 403), (own.removesuffix(f":{port}"), 403), (own, 101)):
            opening = request("/echo", b"Origin: " + origin.encode(), host=host.encode())
            client = await proxy.dial(tls=tls)
            await client.send(opening)
            assert (await client.response()).status == status
            if status == 101:
                await client.echo(b"through a proxy")
            client.close()


async def test_mended_21_the_recipe_with_a_unix_socket(tmp_path: Path) -> None:
    """The same over a socket in the file system."""
    path = str(tmp_path / "chat.sock")
    async with (
        serving(healthy_app(["chat.example"]), unix=path),
        nginx(tmp_path, path, documented("nginx", "recipes.md")) as proxy,
    ):
        host = f"chat.example:{proxy.port}"
        opening = request("/echo", f"Origin: http://{host}".encode(), host=host.encode())
        assert (await ask(proxy, opening))[0] == 101
        assert (await ask(proxy, opening.replace(b"Host: chat", b"Host: evil")))[0] == 421
        assert await ask(proxy, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) == (200, b"hello")


@pytest.mark.parametrize("check", [None, "option httpchk"], ids=["documented", "default"])
async def test_mended_14_haproxy_finds_the_server_well(check: str | None, tmp_path: Path) -> None:
    """Its default health check is OPTIONS in HTTP/1.0 without Host; that of the documentation asks for its own page."""
    async with serving(healthy_app(["chat.example"])) as place, haproxy(tmp_path, place.at.port, check) as proxy:
        with trio.fail_after(PATIENCE):
            assert (await health(proxy)).startswith("L7OK")


async def test_mended_14_nginx_as_it_comes(tmp_path: Path) -> None:
    """With nothing but proxy_pass it speaks HTTP/1.0: it gets pages, and a WebSocket is told that it needs more."""
    location = "location / { proxy_pass http://127.0.0.1:8765; }"
    async with serving(healthy_app(None)) as place, nginx(tmp_path, place.at.port, location) as proxy:
        assert await ask(proxy, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello")
        assert (await ask(proxy, request("/echo", host=b"a")))[0] == 426


async def test_mended_21_a_proxy_that_drops_the_port(tmp_path: Path) -> None:
    """With $host, nginx passes no port, and the log says what is missing."""
    location = (
        "location / { proxy_pass http://127.0.0.1:8765; proxy_http_version 1.1; proxy_set_header Host $host; "
        'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }'
    )
    with recorded() as records:
        async with (
            serving(healthy_app(["chat.example"])) as place,
            nginx(tmp_path, place.at.port, location) as proxy,
        ):
            host = f"chat.example:{proxy.port}"
            opening = request("/echo", f"Origin: http://{host}".encode(), host=host.encode())
            assert (await ask(proxy, opening))[0] == 403
            await place.idle(0)
    (line,) = [one for one in records.lines("connection") if "refused, 403" in one]
    assert (
        f"(origin 'http://{host}' is not that of Host 'chat.example'; behind a proxy pass Host with its port)" in line
    )
