"""What all servers of the benchmark share: where they listen, how they say so, and the token that opens the door."""

from __future__ import annotations

import signal
import socket
from typing import Final

#: What the JWT of the handshakes is signed with; nobody else ever sees it.
SECRET = "a secret of the benchmark, which protects nothing at all"
ALGORITHM: Final = "HS256"
AUDIENCE, ISSUER = "benchmark", "https://id.example"

#: The paths that ask for a token.
FOR_MEMBERS = ("/jwt", "/typed", "/typed-struct", "/typed-events")

#: A server ends by itself after this many seconds, whatever has become of the one who started it.
LIFETIME = 3600

#: Connections that the kernel keeps until they are accepted. Frameworks that listen once more themselves are told it
#: too: with the 100 that is asyncio's default a storm of clients would wait for the kernel, and not for the server.
BACKLOG = 4096


def listen() -> socket.socket:
    """A listening socket on this machine; its port is printed, which tells that the server is there.

    It may be told before the framework accepts: the kernel keeps connections until then.
    """
    signal.alarm(LIFETIME)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    return listener
