"""How a socket is put away: half-closed, drained for a second at most, with TLS and without."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from trio.testing import MockClock, open_stream_to_socket_listener

from seawall.wire.transport.lingering import LINGER, abandon, linger
from tests.kit.memory import Wire

LAST_WORD = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"

Tls = trio.SSLStream[trio.abc.Stream]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who vouches for the server."""
    return trustme.CA()


def secure(plain: trio.abc.Stream, plain_far: trio.abc.Stream, authority: trustme.CA) -> tuple[Tls, Tls]:
    """The server's and the client's end of a TLS connection, over those of a plain one."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("seawall.test").configure_cert(server)  # pyright: ignore[reportUnknownMemberType]  # of pyOpenSSL
    client = ssl.create_default_context()
    authority.configure_trust(client)  # pyright: ignore[reportUnknownMemberType]  # as above
    near: Tls = trio.SSLStream(plain, server, server_side=True, https_compatible=True)
    far: Tls = trio.SSLStream(plain_far, client, server_hostname="seawall.test", https_compatible=True)
    return near, far


@asynccontextmanager
async def put_away(stream: trio.abc.Stream, seconds: float) -> AsyncGenerator[None]:
    """Say a last word, put the stream away and see how long it takes; the body is the peer."""
    async with trio.open_nursery() as nursery:

        async def server() -> None:
            await stream.send_all(LAST_WORD)
            start = trio.current_time()
            await linger(stream)
            assert trio.current_time() - start == pytest.approx(seconds)
            await trio.aclose_forcefully(stream)

        nursery.start_soon(server)
        yield


async def test_a_peer_that_goes(autojump_clock: MockClock) -> None:
    """The peer reads the last word and then an end, while it can still send; when it closes, so do we."""
    wire = Wire()
    async with put_away(wire, 0.5):
        assert await wire.far.receive_some() == LAST_WORD
        assert await wire.far.receive_some() == b""
        await wire.far.send_all(b"what it had been saying")
        await trio.sleep(0.5)
        assert wire.closed_at > trio.current_time()
        await wire.far.aclose()
    assert wire.ended_at == 0
    assert wire.closed_at == 0.5


async def test_a_peer_that_stays(autojump_clock: MockClock) -> None:
    """A peer that does nothing costs exactly `LINGER`."""
    wire = Wire()
    async with put_away(wire, LINGER):
        pass
    assert await wire.far.receive_some() == LAST_WORD


async def test_a_peer_that_talks_on(autojump_clock: MockClock) -> None:
    """A peer that never stops sending costs `LINGER` too, and all of it is taken from the socket."""
    wire = Wire()
    async with put_away(wire, LINGER):
        for _ in range(14):
            await wire.far.send_all(b"x" * 100_000)
            await trio.sleep(0.0625)
    assert wire.taken == 14 * 100_000


@pytest.mark.parametrize("where", ["receive", "send"])
async def test_a_peer_that_has_gone(where: str, autojump_clock: MockClock) -> None:
    """A stream that is broken already is no error, and nothing to wait for."""
    wire = Wire()
    async with put_away(wire, 0):
        await wire.far.receive_some()
        if where == "receive":
            wire.receive_error = trio.BrokenResourceError()
            await wire.far.send_all(b"!")
        else:
            await wire.far.aclose()


async def test_a_stream_that_cannot_be_half_closed(autojump_clock: MockClock) -> None:
    """Where there is no half-close the peer gets its second all the same."""

    class Plain(trio.abc.Stream):
        """A stream that is either open or closed."""

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            """Write."""
            await wire.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            """Nobody asks."""
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            """Read."""
            return await wire.receive_some(max_bytes)

        async def aclose(self) -> None:
            """Close."""
            await wire.aclose()

    wire = Wire()
    async with put_away(Plain(), 0.25):
        assert await wire.far.receive_some() == LAST_WORD
        await trio.sleep(0.25)
        await wire.far.aclose()
    assert wire.ended_at > wire.closed_at


async def test_tls_that_is_ended_in_order(autojump_clock: MockClock, authority: trustme.CA) -> None:
    """Over TLS the peer reads a close_notify after the last word; it answers with its own, and the socket is closed."""
    wire = Wire()
    near, far = secure(wire, wire.far, authority)
    async with put_away(near, 0.5):
        assert await far.receive_some() == LAST_WORD
        assert await far.receive_some() == b""
        transport, _ = await far.unwrap()
        await trio.sleep(0.5)
        await transport.aclose()
    assert wire.ended_at == 0
    assert wire.closed_at == 0.5


async def test_tls_whose_peer_stays(autojump_clock: MockClock, authority: trustme.CA) -> None:
    """A peer that answers our close_notify and then keeps the socket costs `LINGER`."""
    wire = Wire()
    near, far = secure(wire, wire.far, authority)
    async with put_away(near, LINGER):
        assert await far.receive_some() == LAST_WORD
        await far.unwrap()
    assert wire.closed_at == LINGER


async def test_tls_whose_peer_is_mute(autojump_clock: MockClock, authority: trustme.CA) -> None:
    """A peer that has read the last word and does not answer our close_notify costs `LINGER`."""
    wire = Wire()
    near, far = secure(wire, wire.far, authority)
    async with put_away(near, LINGER):
        assert await far.receive_some() == LAST_WORD
    assert wire.closed_at == LINGER


async def test_tls_whose_peer_talks_on(autojump_clock: MockClock, authority: trustme.CA) -> None:
    """A peer that sends data where a close_notify was due still has its second to read the last word."""
    wire = Wire()
    near, far = secure(wire, wire.far, authority)
    async with put_away(near, LINGER):
        assert await far.receive_some() == LAST_WORD
        for _ in range(4):
            await far.send_all(b"x" * 1000)
            await trio.sleep(0.125)
    assert wire.closed_at == LINGER
    assert wire.ended_at == 0


async def test_tls_whose_peer_goes(autojump_clock: MockClock, authority: trustme.CA) -> None:
    """A peer that just closes its socket, as most do, is not waited for."""
    wire = Wire()
    near, far = secure(wire, wire.far, authority)
    async with put_away(near, 0.25):
        assert await far.receive_some() == LAST_WORD
        await trio.sleep(0.25)
        await wire.far.aclose()
    assert wire.closed_at == 0.25


@asynccontextmanager
async def connected(authority: trustme.CA | None) -> AsyncGenerator[tuple[trio.abc.Stream, trio.abc.Stream]]:
    """The server's and the client's end of a TCP connection; a TLS one, if there is an authority."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await open_stream_to_socket_listener(listener) as far, await listener.accept() as near:
        if authority is None:
            yield near, far
        else:
            secure_near, secure_far = secure(near, far, authority)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(secure_near.do_handshake)
                await secure_far.do_handshake()
            yield secure_near, secure_far


@pytest.mark.parametrize("is_secure", [False, True])
async def test_its_time_has_passed(*, is_secure: bool, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine was busy for so long the peer reads the last word and an end, however much is unread of it."""
    monkeypatch.setattr("seawall.wire.transport.lingering.LINGER", 0.0)
    async with connected(authority if is_secure else None) as (near, far):
        await far.send_all(b"x")
        assert await near.receive_some(1) == b"x"
        await far.send_all(bytes(50_000))
        await near.send_all(LAST_WORD)
        await linger(near)
        await abandon(near)
        assert b"".join([data async for data in far]) == LAST_WORD
