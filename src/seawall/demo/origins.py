"""That the demo's page, and no other, has opened a connection; and by which names the demo may be asked for."""

from __future__ import annotations

import socket
from typing import final
from urllib.parse import urlsplit

from attrs import frozen

from seawall.errors import Forbidden
from seawall.guards.gate import Gate
from seawall.guards.guard import Check
from seawall.http.hosts import HostCheck


def own_hosts(host: str) -> HostCheck:
    """What a demo that listens on `host` may be asked for.

    That is any address, because those of this machine cannot all be known, ``localhost``, `host` itself and the name of
    the machine. No other name: a stranger could have had it resolved to this machine, and send a page under it.
    """
    return HostCheck.by_address(host, socket.gethostname())


def from_the_page(port: int) -> Check[object]:
    """Let in the page that came from `port` of the host that is asked, under whichever name, and what is no browser.

    `same_origin` would refuse the page on every port but its own, and a list would have to know each address of this
    machine.
    """
    return _FromThePage(port)


@final
@frozen
class _FromThePage(Check[object]):
    port: int

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        origin, asked = gate.handshake.origin, urlsplit(f"//{gate.handshake.host}")
        if origin is None:
            return
        try:
            page = urlsplit(origin)
            is_page = page.scheme == "http" and page.hostname == asked.hostname and (page.port or 80) == self.port
        except ValueError:  # a port that is no number
            is_page = False
        if not is_page:
            raise Forbidden("another page than the demo's")

    def needs_task(self) -> bool:
        return False
