"""The program stands still for longer than a limit: a blocking call, SIGSTOP. A peer that has answered is not ended.

What it has said lies in the kernel, or in the middle of TLS, when the program goes on.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import pytest
import trio
from attrs import define, field, frozen

from seawall import Anonymous, App, Connection, Gate, Limits, guard, public
from tests.kit.processes import running
from tests.kit.sockets import Place, Transport, client_context, discard, echo, pour, quick, serving
from tests.kit.wire import CLOSE, PING, PONG, TEXT, Frame, close_frame, frame, request, take

pytestmark = pytest.mark.slow

#: Each limit that is passed, and how long the program stands still.
LIMIT: Final = 0.7
STANDSTILL: Final = 1.4


@final
@define(eq=False)
class Client:
    """A client that can also speak while Trio stands still: its socket blocks."""

    _socket: socket.socket
    _heard: bytearray = field(factory=bytearray, init=False)

    def say(self, data: bytes) -> None:
        """Send this; the kernel takes it at once."""
        self._socket.sendall(data)

    def hear(self, within: float = 5.0) -> bool:
        """Read some more; False at the end."""
        self._socket.settimeout(within)
        data = self._socket.recv(1 << 20)
        self._heard += data
        return bool(data)

    def head(self) -> bytes:
        """The head of an answer."""
        while b"\r\n\r\n" not in self._heard:
            assert self.hear(), self._heard
        head, _, rest = bytes(self._heard).partition(b"\r\n\r\n")
        self._heard[:] = rest
        return head

    def frame(self, opcode: int) -> Frame:
        """The next frame with this opcode."""
        while (found := take(self._heard)) is None or found.opcode != opcode:
            assert found is not None or self.hear(), self._heard
        return found

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def open(self, path: str) -> None:
        """Be let in."""
        self.say(request(path))
        assert self.head().startswith(b"HTTP/1.1 101 ")

    def take_all(self) -> None:
        """Read what is there, and throw it away."""
        try:
            while self.hear(0.05):
                self._heard.clear()
        except TimeoutError:
            pass


def dial(place: Place) -> Client:
    """A connection on which nothing was said."""
    plain = socket.create_connection((place.at.host, place.at.port), 5)
    return Client(client_context().wrap_socket(plain, server_hostname="localhost") if place.at.secure else plain)


@guard
async def word(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let in who says something."""
    await gate.accept()
    await gate.receive_text()
    return proved


def asked(client: Client) -> None:
    """Be sent a Ping."""
    client.open("/echo")
    client.frame(PING)


def half(client: Client) -> None:
    """Send a part of a request."""
    client.say(request()[:50])


def blocked(client: Client) -> None:
    """Take nothing of what is sent."""
    client.open("/pour")
    time.sleep(0.2)


def told(client: Client) -> None:
    """Be sent a Close."""
    client.open("/quick")
    client.frame(CLOSE)


def echoes(client: Client) -> None:
    """It is served as ever."""
    client.say(frame(TEXT, b"still there?"))
    while client.frame(TEXT).payload != b"still there?":
        pass


def is_let_in(client: Client) -> None:
    """Its request was answered."""
    assert client.head().startswith(b"HTTP/1.1 101 ")


def is_sent_more(client: Client) -> None:
    """It is sent something for longer than any buffer lasts."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert client.hear()


def sees_the_end(client: Client) -> None:
    """The socket ends in order, without a reset."""
    assert not client.hear()


@final
@frozen(kw_only=True)
class Wait:
    """Something that a peer is waited for."""

    limits: Limits
    begin: Callable[[Client], None]
    """Go on until the peer is waited for."""
    answer: Callable[[Client], None]
    """What the peer does while the program stands still."""
    lives: Callable[[Client], None]
    """How it sees that it was not given up."""


def saying(data: bytes) -> Callable[[Client], None]:
    """Say this."""
    return lambda client: client.say(data)


WAITS: Final = {
    "keepalive": Wait(
        limits=Limits(ping_interval=0.3, ping_timeout=LIMIT), begin=asked, answer=saying(frame(PONG)), lives=echoes
    ),
    "idle": Wait(
        limits=Limits(ping_interval=None, idle_timeout=LIMIT),
        begin=lambda client: client.open("/discard"),
        answer=saying(frame(TEXT, b"here")),
        lives=lambda client: client.say(frame(TEXT, b"and here")),
    ),
    "idle and large": Wait(
        limits=Limits(ping_interval=None, idle_timeout=LIMIT),
        begin=lambda client: client.open("/echo"),
        answer=saying(frame(TEXT, b"x" * 100_000)),
        lives=echoes,
    ),
    "handshake": Wait(
        limits=Limits(handshake_timeout=LIMIT), begin=half, answer=saying(request()[50:]), lives=is_let_in
    ),
    "first message": Wait(
        limits=Limits(auth_timeout=LIMIT),
        begin=lambda client: client.open("/word"),
        answer=saying(frame(TEXT, b"let me in")),
        lives=echoes,
    ),
    "sending": Wait(limits=Limits(send_timeout=LIMIT), begin=blocked, answer=Client.take_all, lives=is_sent_more),
    "closing": Wait(limits=Limits(close_timeout=LIMIT), begin=told, answer=saying(close_frame()), lives=sees_the_end),
}


def app_of(limits: Limits) -> App:
    """All routes."""
    app = App(limits=limits)
    for name, handler in {"echo": echo, "discard": discard, "pour": pour, "quick": quick}.items():
        app.route(f"/{name}", guard=public)(handler)

    @app.route("/word", guard=public >> word)
    async def let_in(conn: Connection[Anonymous]) -> None:
        await echo(conn)

    return app


@pytest.mark.parametrize("name", WAITS)
async def test_mended_10_a_blocking_call_ends_no_live_peer(name: str, over: Transport) -> None:
    """The peer answers in time, while a task blocks all others: it is read before it is judged."""
    wait = WAITS[name]
    async with serving(app_of(wait.limits), over) as place:
        client = await trio.to_thread.run_sync(dial, place)
        try:
            await trio.to_thread.run_sync(wait.begin, client)
            await trio.sleep(0.02)
            began = time.monotonic()
            wait.answer(client)
            time.sleep(max(0, began + STANDSTILL - time.monotonic()))  # noqa: ASYNC251 - it blocks: that is the point
            await trio.to_thread.run_sync(wait.lives, client)
        finally:
            client.close()


PROGRAM: Final = """
import trio
from seawall import Anonymous, App, Connection, Limits, public

app = App(limits=Limits(ping_interval=0.3, ping_timeout=0.7))


@app.route("/echo", guard=public)
async def echo(conn: Connection[Anonymous]) -> None:
    async for message in conn:
        await conn.send(message)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, port=0)
        print("port", server.addresses[0].port, flush=True)


trio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_mended_10_a_stopped_process_ends_no_live_peer(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT, and the peer had answered in between."""
    (tmp_path / "program.py").write_text(PROGRAM)
    with running(str(tmp_path / "program.py")) as program:
        port = int(program.stdout.wait_for(r"port (\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            client = Client(plain)
            asked(client)
            program.tell(signal.SIGSTOP)
            try:
                client.say(frame(PONG))
                time.sleep(STANDSTILL)
            finally:
                program.tell(signal.SIGCONT)
            echoes(client)
