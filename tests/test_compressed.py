"""permessage-deflate from outside: with the websockets client, and byte by byte with a client of our own."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from functools import partial

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from seawall import Anonymous, App, ConfigurationError, Connection, Deflate, Limits, public
from seawall.compression import RouteCompression
from tests.kit.processes import PATIENCE
from tests.kit.sockets import echo, serving
from tests.kit.wire import TEXT, frame

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate"

#: What cannot be made smaller.
NOISE = random.Random(7692).randbytes(4_000_000)


def compressing(compression: Deflate | None = None, *, limits: Limits | None = None) -> App:
    """An echo server that compresses."""
    app = App(compression=compression or Deflate(), limits=limits)
    app.route("/echo", guard=public)(echo)
    app.route("/plain", guard=public, compression=False)(echo)
    app.route("/small", guard=public, compression=Deflate(server_max_window_bits=9, threshold=0))(echo)
    return app


def deflated(payload: bytes) -> bytes:
    """A payload as RFC 7692 (7.2.1) wants it."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(payload: bytes) -> bytes:
    """A compressed text message in one frame."""
    return frame(TEXT, deflated(payload), rsv=4)


async def talk(app: App, path: str, conversation: Callable[[ClientConnection], None]) -> None:
    """Let the websockets client, which offers compression by itself, hold a conversation."""
    async with serving(app) as place:
        url = f"{place.server.addresses[0].url}{path}"

        def dial() -> None:
            with connect(url, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE) as client:
                conversation(client)

        await trio.to_thread.run_sync(dial)


def _echoed(client: ClientConnection, *, extensions: int) -> None:
    assert len(client.protocol.extensions) == extensions
    for number in range(50):
        said = json.dumps({"number": number, "text": "the same again " * (number % 7), "other": "ä€😀"})
        client.send(said)
        assert client.recv(PATIENCE) == said
    for size in (0, 1, 63, 64, 65, 1000, 70_000, 900_000):
        client.send(b"\x00\x01ab" * (size // 4) + b"x" * (size % 4))
        assert client.recv(PATIENCE) == b"\x00\x01ab" * (size // 4) + b"x" * (size % 4)
    client.send(["frag", "ment", "s ", "of " * 1000])
    assert client.recv(PATIENCE) == "fragments " + "of " * 1000


@pytest.mark.parametrize(
    "config",
    [
        Deflate(),
        Deflate(server_context_takeover=False, client_context_takeover=False),
        Deflate(server_max_window_bits=15, client_max_window_bits=15, level=9, memory_level=9),
        Deflate(server_max_window_bits=9, client_max_window_bits=9, level=1, memory_level=1, threshold=0),
    ],
    ids=["defaults", "no context", "largest", "smallest"],
)
async def test_the_websockets_client_agrees(config: Deflate) -> None:
    """A client that is not ours negotiates, and reads back what it wrote, whatever was agreed on."""
    await talk(compressing(config), "/echo", partial(_echoed, extensions=1))


@pytest.mark.parametrize(("path", "extensions"), [("/plain", 0), ("/small", 1)])
async def test_a_route_says_otherwise(path: str, extensions: int) -> None:
    """False switches it off for a route; a value of its own is what holds there."""
    await talk(compressing(), path, partial(_echoed, extensions=extensions))


async def test_off_unless_asked_for() -> None:
    """An app that does not mention compression agrees to none."""
    app = App()
    app.route("/echo", guard=public)(echo)
    await talk(app, "/echo", partial(_echoed, extensions=0))


def _read_events(client: ClientConnection) -> None:
    for size in (100, 0xFFFF, 0x10000, 100_000, 600_000):
        client.send(str(size))
        assert client.recv(PATIENCE) == "ä" * (size // 2) + "." * (size % 2)


async def test_events_of_rooms_are_compressed() -> None:
    """A client reads what is published in a room as it was, whatever the length of the frame's header was before."""
    app = App(compression=Deflate())
    news = app.topic("news", str)

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(news()):
            async for size in conn:
                await news().publish("ä" * (int(size) // 2) + "." * (int(size) % 2))

    await talk(app, "/", _read_events)


def _too_big(client: ClientConnection) -> None:
    client.send(b"\0" * 5_000_000)  # 5 KB on the wire
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_bomb_is_too_big() -> None:
    """What a message becomes counts, not what it is on the wire."""
    await talk(compressing(), "/echo", _too_big)


async def test_a_client_that_does_not_offer_gets_none() -> None:
    """Without an offer there is no extension in the answer, and a compressed frame is a violation."""
    async with serving(compressing()) as place:
        client = await place.open("/echo")
        await client.send(compressed(b"hello"))
        assert (await client.dismissal()).code == 1002


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xff\xff\xff not deflated", rsv=4), 1007),
        (compressed(b"\xff\xfe"), 1007),
        (frame(0x9, b"", rsv=4), 1002),
        (frame(TEXT, deflated(b"ab"), fin=False, rsv=4) + frame(0x0, b"", rsv=4), 1002),
    ],
    ids=["no deflate stream", "no UTF-8 in it", "a compressed ping", "a compressed continuation"],
)
async def test_violations(data: bytes, code: int) -> None:
    """What breaks RFC 7692 is told so and closed."""
    async with serving(compressing()) as place:
        client = await place.dial()
        answer = await client.upgrade("/echo", OFFER)
        assert answer.header("sec-websocket-extensions").startswith("permessage-deflate")
        await client.send(data)
        assert (await client.dismissal()).code == code


async def test_bad_offers_do_no_harm() -> None:
    """An offer that cannot be kept is declined, and the connection is as good as any other."""
    async with serving(compressing()) as place:
        for offer in (
            b"permessage-deflate; nonsense",
            b"permessage-deflate; server_max_window_bits=99",
            b'";;="',
            b"\xff",
        ):
            client = await place.dial()
            answer = await client.upgrade("/echo", b"Sec-WebSocket-Extensions: " + offer)
            assert "sec-websocket-extensions" not in dict(answer.headers)
            await client.send(frame(TEXT, b"plain"))
            assert (await client.frame()).payload == b"plain"
        place.hang_up()  # or stopping would wait for answers to the Closes


async def test_what_is_not_sent_does_not_count() -> None:
    """A message for which there was no room, or whose send was cancelled, leaves no trace in later ones."""
    app = App(compression=Deflate(threshold=0), limits=Limits(outbound_buffer=1000))
    refused = 0

    @app.route("/", guard=public)
    async def crowd(conn: Connection[Anonymous]) -> None:
        nonlocal refused
        for number in range(8):
            await conn.send(NOISE)  # more than the kernel takes at once: the next one has to wait
            with trio.move_on_after(0.01) as patience:
                await conn.send(f"never {number} " * 50)
            refused += patience.cancelled_caught
            try:
                conn.send_nowait("at once")
            except trio.WouldBlock:
                refused += 1
        await conn.send("the end")

    def read(client: ClientConnection) -> None:
        heard: list[str | bytes] = []
        while heard[-1:] != ["the end"]:
            heard.append(client.recv(PATIENCE))
        assert heard.count(NOISE) == 8

    async with serving(app) as place:
        url = place.server.addresses[0].url

        def dial() -> None:
            with connect(
                f"{url}/", proxy=None, max_size=None, max_queue=1, open_timeout=PATIENCE, close_timeout=PATIENCE
            ) as client:
                trio.from_thread.run(trio.sleep, 0.5)  # the server sends into full buffers meanwhile
                read(client)

        await trio.to_thread.run_sync(dial)
    assert refused


def test_compression_is_checked_where_it_is_written() -> None:
    """True does not say how; the error says what to write."""
    wrong: RouteCompression = True  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] # that is the case
    with pytest.raises(ConfigurationError, match=r"give Deflate\(\)"):
        App(compression=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # as above
    with pytest.raises(ConfigurationError, match=r"route /x: .*give Deflate\(\)"):
        App().route("/x", guard=public, compression=wrong)(echo)
