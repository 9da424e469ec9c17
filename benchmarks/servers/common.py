"""What all servers of the benchmark share: where they listen, how they say so, and the token that opens the door."""

from __future__ import annotations

import signal
import socket
from typing import Final

#: What the JWT of the handshakes is signed with; nobody else ever sees it.
SECRET = "a secret of the benchmark, which protects nothing at all"
ALGORITHM: Final = "HS256"
AUDIENCE, ISSUER = "benchmark", "https://id.example"

#: A server ends by itself after this many seconds, whatever has become of the one who started it.
LIFETIME = 3600


def listen() -> socket.socket:
    """A listening socket on this machine; its port is printed, which tells that the server is there.

    It may be told before the framework accepts: the kernel keeps connections until then.
    """
    signal.alarm(LIFETIME)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    return listener
