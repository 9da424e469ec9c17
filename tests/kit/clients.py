"""The websockets client, which is not ours, as the tests of whole programs use it."""

from __future__ import annotations

import socket

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.kit.processes import PATIENCE


def opened(
    url: str, *, origin: str | None = None, bearer: str | None = None, at: int | None = None
) -> ClientConnection:
    """A connection that is open; everything about it has a deadline.

    Args:
      url: where to, as the ``Host`` header says it.
      origin: the page for which a browser would connect.
      bearer: the token of an ``Authorization`` header.
      at: a port of this machine to connect to, whatever `url` says.
    """
    return connect(
        url,
        sock=None if at is None else socket.create_connection(("127.0.0.1", at), PATIENCE),
        origin=None if origin is None else Origin(origin),
        additional_headers=None if bearer is None else {"Authorization": f"Bearer {bearer}"},
        proxy=None,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
    )


def ending(client: ClientConnection) -> tuple[list[str | bytes], int, str]:
    """The messages that still come, and the code and the reason of the server's close."""
    messages: list[str | bytes] = []
    said: Close | None = None
    while said is None:
        try:
            messages.append(client.recv(PATIENCE))
        except ConnectionClosed as closed:
            said = closed.rcvd or Close(1006, "no close frame")
    return messages, said.code, said.reason
