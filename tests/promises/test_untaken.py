"""What a peer does not take is not kept for it: when its connection has ended, the kernel drops that as well.

A peer that reads nothing and answers the kernel would else have it hold megabytes for ever, for each connection that it
opens: the place in the server is free again, and nothing counts them.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from seawall import Anonymous, App, Connection, Limits, Request, Response, public
from seawall.wire.transport.lingering import UNTAKEN
from tests.kit.sockets import Place, Transport, at_once, discard, echo_app, pour, serving, until
from tests.kit.wire import CLOSE, RawClient, close_frame, frame

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("calm")]

LIMITS: Final = Limits(send_timeout=0.3, close_timeout=0.3, wind_down=0.05, outbound_buffer=8 * 1024 * 1024)

#: Where we see the socket; a stream that somebody else has made hides it.
SEEN: Final[tuple[Transport, ...]] = ("plain", "tls")

#: As much as the kernel takes at once, and more than the peer's does.
SOME: Final = bytes(12 * 1024)

#: More than the kernel takes for a peer that reads nothing.
MUCH: Final = bytes(6 * 1024 * 1024)


async def leave_much(conn: Connection[Anonymous]) -> None:
    """Return while nearly all of a message is still in our own buffer."""
    await conn.send(MUCH)


async def leave_some(conn: Connection[Anonymous]) -> None:
    """Return while what was sent is in the kernel's buffer."""
    await conn.send(SOME)


async def pour_and_read(conn: Connection[Anonymous]) -> None:
    """Send much, and read on."""
    await conn.send(MUCH)
    await discard(conn)


def app_of_much() -> App:
    """An app that sends more than a peer takes."""
    app = echo_app(limits=LIMITS, pour=pour, much=leave_much, some=leave_some)
    app.route("/patient", guard=public, limits={"send_timeout": 60})(pour_and_read)

    @app.page("/page", guard=public)
    async def page(_: Request[Anonymous]) -> Response:
        return Response(MUCH, media_type="application/octet-stream")

    return app


def kept_by_kernel(place: Place, client: RawClient) -> int:
    """How many bytes the server's kernel still has for the client."""
    assert client.socket is not None
    port = client.socket.getsockname()[1]
    here, there = f":{place.at.port:04X}", f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(here) and row[2].endswith(there))


def was_reset(client: RawClient) -> bool:
    """Whether a reset has come; nothing is read for that."""
    assert client.socket is not None
    poll = select.poll()
    poll.register(client.socket.fileno(), select.POLLRDHUP)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def saying(data: bytes) -> Callable[[RawClient], Awaitable[None]]:
    """What has a peer say so."""

    async def say(client: RawClient) -> None:
        await client.send(data)

    return say


async def finish(client: RawClient) -> None:
    """Say that nothing more will come."""
    client.finish()


async def have_much_pending(place: Place) -> None:
    """Wait until something waits in our own buffer, or the end has come."""
    await until(lambda: all(one.pending_bytes for one in place.server.connections))


#: What a peer asks for, and how it ends the connection then; it reads no more than the 101.
STUCK: Final[dict[str, tuple[str, Callable[[RawClient], Awaitable[None]]]]] = {
    "a slow consumer": ("/pour", saying(b"")),
    "the handler has returned": ("/much", saying(b"")),
    "it has closed": ("/patient", saying(close_frame(1000))),
    "a violation": ("/patient", saying(frame(0x3, b""))),
    "it has finished": ("/patient", finish),
}


@pytest.mark.parametrize("case", STUCK)
async def test_mended_11_who_reads_nothing_is_reset(case: str) -> None:
    """Where something waits in our own buffer at the end, and nobody takes it, the peer is reset, and nothing stays."""
    path, end = STUCK[case]

    async def stuck(over: Transport) -> None:
        async with serving(app_of_much(), over) as place:
            client = await place.open(path, receive_buffer=4096)
            await have_much_pending(place)
            await end(client)
            await until(lambda: was_reset(client))
            assert not kept_by_kernel(place, client)
            await place.idle(0)

    await at_once(stuck, *SEEN)


async def test_mended_11_who_does_not_read_a_page_is_reset() -> None:
    """The same, where it is the answer of a page that nobody takes."""

    async def stuck(over: Transport) -> None:
        async with serving(app_of_much(), over) as place:
            client = await place.dial(receive_buffer=4096)
            await client.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: was_reset(client))
            assert not kept_by_kernel(place, client)
            await place.idle(0)

    await at_once(stuck, *SEEN)


async def test_mended_11_what_the_kernel_keeps_is_bounded() -> None:
    """Where all that we had to say is with the kernel, the peer has its time to read it, and no more."""
    async with serving(app_of_much()) as place:
        client = await place.open("/some", receive_buffer=4096)
        await place.idle(0)
        assert kept_by_kernel(place, client)
        await until(lambda: not kept_by_kernel(place, client), within=UNTAKEN + 5)


async def test_mended_11_who_reads_late_reads_all() -> None:
    """A peer that begins to read after the connection has ended finds all that was sent, and the Close."""
    async with serving(app_of_much()) as place:
        client = await place.open("/some", receive_buffer=4096)
        await place.idle(0)
        assert kept_by_kernel(place, client)
        first, last = await client.frame(), await client.frame()
        assert (len(first.payload), last.opcode) == (len(SOME), CLOSE)
