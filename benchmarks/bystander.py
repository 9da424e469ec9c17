"""``python -m benchmarks.bystander PORT SECONDS``: one connection that echoes, in a process of its own.

Whoever receives thousands of messages cannot say at the same time how long one of them took.
"""

from __future__ import annotations

import socket
import sys
import time

from benchmarks.sockets import TEXT_FRAME, frame, request

#: Seconds between an answer and the next message.
PAUSE = 0.002

SAID = b"how long does this take? " * 2


def read(connection: socket.socket, size: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < size:
        if not (chunk := connection.recv(size - len(found))):
            sys.exit("the connection has ended")
        found += chunk
    return found


def main(port: int, seconds: float) -> None:
    """Print how long each echo took, in seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request(port, "/echo"))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += read(connection, 1)
        question, expected = frame(TEXT_FRAME, SAID), frame(TEXT_FRAME, SAID, b"")
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            connection.sendall(question)
            if read(connection, len(expected)) != expected:
                sys.exit("an echo was wrong")
            print(time.perf_counter() - start)
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
