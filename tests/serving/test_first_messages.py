"""What a stranger may send before the guards have let it in: one message at a time, and a small one."""

from __future__ import annotations

import zlib

import pytest
import trio
from attrs import evolve, field, frozen
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Deflate, Gate, Limits, guard, public
from seawall.testing import serve
from tests.kit.memory import Peer, close, text
from tests.kit.sockets import Transport, everywhere, serving
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, PATIENCE, PING, PONG, TEXT, RawClient, frame, request


@frozen
class Talk:
    """A guard that asks for so many words, each when it is told to, and a handler that tells what it receives."""

    words: int = 1
    ask: trio.Event = field(factory=trio.Event)
    may_decide: trio.Event = field(factory=trio.Event)
    asked: list[str] = field(factory=list[str])
    received: list[str | bytes] = field(factory=list[str | bytes])

    def app(self, limits: Limits | None = None) -> App:
        """Both, at the path that a request asks for."""
        app = App(limits=limits or Limits())

        @guard
        async def asking(gate: Gate, proved: Anonymous) -> Anonymous:
            await gate.accept()
            await self.ask.wait()
            for _ in range(self.words):
                self.asked.append(await gate.receive_text())
            await self.may_decide.wait()
            return proved

        @app.route("/echo", guard=asking)
        async def receive(conn: Connection[Anonymous]) -> None:
            async for message in conn:
                self.received.append(message)
                await conn.send(str(len(message)))

        return app


async def test_mended_13_the_rest_waits_as_it_came(autojump_clock: MockClock) -> None:
    """A guard gets its word; what comes behind is for the handler, in order, and may be as large as any message."""
    talk = Talk()
    async with serve(talk.app()) as server:
        peer = Peer(server.open_stream())
        await peer.open("/echo")
        await peer.say(text("token"), text("x" * 40_000), text("y" * 10), frame(PING, b"!"))
        await trio.sleep(1)
        talk.ask.set()
        await trio.sleep(1)
        assert (talk.asked, talk.received) == (["token"], [])
        talk.may_decide.set()
        assert [await peer.message(), await peer.message()] == ["40000", "10"]
        pong = await peer.frame()
        assert pong is not None
        assert (pong.opcode, pong.payload) == (PONG, b"!")


async def test_mended_13_one_for_each_that_is_asked(autojump_clock: MockClock) -> None:
    """A guard that asks again gets the next one; a call that is cancelled has taken none."""
    talk = Talk(words=3)
    async with serve(talk.app()) as server:
        peer = Peer(server.open_stream())
        talk.ask.set()
        await peer.open("/echo")
        await peer.say(text("a"), text("b"))
        await trio.sleep(1)
        await peer.say(text("c"), text("d"))
        talk.may_decide.set()
        assert await peer.message() == "1"
        assert (talk.asked, talk.received) == (["a", "b", "c"], ["d"])


@pytest.mark.parametrize("again", [True, False])
async def test_mended_13_a_cancelled_call_loses_nothing(autojump_clock: MockClock, again: bool) -> None:
    """The word that came in the meantime is there when the guard asks again, or is the handler's."""
    received: list[str | bytes] = []
    app = App()

    @guard
    async def impatient(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        with trio.move_on_after(1):
            await gate.receive_text()
        await trio.sleep(1)
        if again:
            received.append(await gate.receive_text())
        return proved

    @app.route("/", guard=impatient)
    async def receive(conn: Connection[Anonymous]) -> None:
        received.extend([message async for message in conn])

    async with serve(app) as server:
        peer = Peer(server.open_stream())
        await peer.open("/")
        await trio.sleep(1.5)
        await peer.say(text("a"), text("b"))
        await trio.sleep(1)
        await peer.say(close())
        await peer.closing()
    assert received == ["a", "b"]


TOO_BIG = [
    text("x" * 16_385),
    frame(TEXT, b"x" * 16_384, fin=False) + frame(CONTINUATION, b"x"),
    frame(BINARY, bytes(16_385)),
]


@pytest.mark.parametrize("sent", TOO_BIG, ids=["text", "fragments", "binary"])
async def test_mended_13_a_first_message_is_small(autojump_clock: MockClock, sent: bytes) -> None:
    """More than 16 KiB are 1009 while a guard asks, from the header on."""
    talk = Talk()
    talk.ask.set()
    async with serve(talk.app()) as server:
        peer = Peer(server.open_stream())
        await peer.open("/echo")
        await peer.say(sent)
        assert await peer.closing() == (1009, "message too big")


@pytest.mark.parametrize(("limits", "most"), [(Limits(max_first_message=100), 100), (Limits(max_message_size=50), 50)])
async def test_mended_13_as_small_as_is_said(autojump_clock: MockClock, limits: Limits, most: int) -> None:
    """`max_first_message` can be set, and is never more than `max_message_size`."""
    for size, code in ((most, None), (most + 1, 1009)):
        talk = Talk()
        talk.ask.set()
        talk.may_decide.set()
        async with serve(talk.app(limits)) as server:
            peer = Peer(server.open_stream())
            await peer.open("/echo")
            await peer.say(text("x" * size), close())
            closing = await peer.closing()
            assert closing is not None
            assert closing[0] == (code or 1000)
        assert talk.asked == (["x" * size] if code is None else [])


@pytest.mark.parametrize(("size", "said"), [(1024 * 1024, str(1024 * 1024)), (1024 * 1024 + 1, "message too big")])
async def test_mended_13_the_largest_after_the_guards(autojump_clock: MockClock, size: int, said: str) -> None:
    """What was sent before the guards had decided is judged by ``max_message_size`` afterwards."""
    talk = Talk()
    talk.ask.set()
    async with serve(talk.app()) as server:
        peer = Peer(server.open_stream())
        await peer.open("/echo")
        await peer.say(text("token"), text("x" * size))
        await trio.sleep(5)
        talk.may_decide.set()
        found = await peer.frame()
        assert found is not None
        assert said in found.payload.decode("utf-8", "replace")


async def test_mended_13_control_frames_are_not_held_up(autojump_clock: MockClock) -> None:
    """While a guard decides, a Ping before any message is answered, and a Close is seen."""
    talk = Talk()
    async with serve(talk.app()) as server:
        peer = Peer(server.open_stream())
        await peer.open("/echo")
        await peer.say(frame(PING, b"1"))
        found = await peer.frame()
        assert found is not None
        assert (found.opcode, found.payload) == (PONG, b"1")
        await peer.say(frame(CLOSE, b"\x0f\xa0"))
        assert await peer.closing() == (4000, "")
        assert trio.current_time() < 1


@pytest.mark.slow
@pytest.mark.parametrize("over", ["plain", "tls", "reader", "unix"])
async def test_mended_13_a_hundred_strangers(over: Transport) -> None:
    """Of a hundred, each of whom sends a megabyte while its guard thinks, no more is read than 64 KiB each."""
    talk = Talk()
    async with serving(talk.app(evolve(Limits(), auth_timeout=60)), over) as place:
        clients = [await place.dial() for _ in range(100)]
        for client in clients:
            await client.upgrade("/echo")
        whole = text("x" * 1024 * 1024)

        async def pour(client: RawClient) -> None:
            with trio.move_on_after(3):
                await client.stream.send_all(whole)

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(pour, client)
        read = [connection.bytes_in for connection in place.server.connections]
        assert len(read) == 100
        assert 0 < max(read) <= 64 * 1024
        place.hang_up()


async def send_much(client: RawClient, data: bytes) -> None:
    """Send `data` again and again: 64 MiB, which is more than the kernels keep of what nobody reads."""
    for _ in range(64 * 1024 * 1024 // len(data)):
        await client.send(data)


@everywhere("plain", "reader", "unix")
async def test_mended_13_who_goes_on_after_a_refusal_is_reset(over: Transport) -> None:
    """Whoever sends less than a megabyte after a request that is refused reads why; who sends more is reset."""
    async with serving(Talk().app(), over) as place:
        client = await place.dial()
        await client.send(request("/nowhere"), bytes(900_000))
        assert (await client.response()).status == 404
        client = await place.dial()
        await client.send(request("/nowhere"))
        with pytest.raises(trio.BrokenResourceError):
            await send_much(client, bytes(64 * 1024))


@guard
async def refusing(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept, and refuse what comes first after a second, because it is binary."""
    await gate.accept()
    await trio.sleep(1)
    await gate.receive_text()
    return proved


def refusing_app(limits: Limits | None = None) -> App:
    """An app that lets nobody in who sends bytes."""
    app = App(limits=limits or Limits())

    @app.route("/", guard=public >> refusing)
    async def nobody(conn: Connection[Anonymous]) -> None:
        """Never begin."""

    return app


async def test_mended_13_a_refused_client_is_let_go(autojump_clock: MockClock) -> None:
    """The Close that answers a refusal is found behind messages that no guard has asked for."""
    async with serve(refusing_app()) as server:
        peer = Peer(server.open_stream())
        await peer.open()
        await peer.say(frame(BINARY, b"x"), *[text("x")] * 200)
        assert await peer.closing() == (3000, "unauthorized")
        refused_at = trio.current_time()
        await peer.say(close(3000))
        await peer.rest()
        assert trio.current_time() - refused_at < 0.1


@everywhere("plain", "tls", "reader", "unix")
async def test_mended_13_who_goes_on_after_a_guard_has_refused_is_reset(over: Transport) -> None:
    """Of a client that a guard has refused after the upgrade a megabyte is discarded too, and no more."""
    forever = Limits(close_timeout=10 * PATIENCE, drain_timeout=20 * PATIENCE)  # so that it is not time that ends it
    async with serving(refusing_app(forever), over) as place:
        client = await place.open("/")
        await client.send(frame(BINARY, b"x"))
        assert (await client.frame()).closing == (3000, "unauthorized")
        with pytest.raises(trio.BrokenResourceError):
            await send_much(client, frame(BINARY, bytes(64 * 1024)))


def bomb(size: int) -> bytes:
    """A compressed text message that inflates to `size` bytes."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflater.compress(b"x" * size) + deflater.flush(zlib.Z_SYNC_FLUSH)
    whole = bytearray(frame(TEXT, deflated.removesuffix(b"\x00\x00\xff\xff")))
    whole[0] |= 0x40
    return bytes(whole)


@guard
async def unhurried(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept, and ask half a second later."""
    await gate.accept()
    await trio.sleep(0.5)
    await gate.receive_text()
    return proved


def unhurried_app(limits: Limits, received: list[int], *, compression: Deflate | None = None) -> App:
    """An app whose handler notes how large the messages are that it receives."""
    app = App(limits=limits, compression=compression)

    @app.route("/", guard=public >> unhurried)
    async def receive(conn: Connection[Anonymous]) -> None:
        received.extend([len(message) async for message in conn])

    return app


@pytest.mark.parametrize(
    ("limits", "sizes", "found"),
    [
        (Limits(), [10, 20_000, 30_000], [20_000, 30_000]),
        (Limits(max_message_size=1000), [10, 1000, 1001, 10], [1000]),
        (Limits(max_message_size=1000), [10, 50_000], []),
        (Limits(max_first_message=100), [100, 2000], [2000]),
        (Limits(max_first_message=100), [101, 2000], []),
        (Limits(), [16_385, 10], []),
    ],
)
async def test_mended_13_half_closed_before_the_guards_have_decided(
    autojump_clock: MockClock, limits: Limits, sizes: list[int], found: list[int]
) -> None:
    """What a client sent before it closed its side meets the same limits: the first one's, then everybody's."""
    received = list[int]()
    async with serve(unhurried_app(limits, received)) as server:
        stream = server.open_stream()
        peer = Peer(stream)
        await peer.open()
        await peer.say(*[text("x" * size) for size in sizes])
        await stream.send_eof()
        await peer.rest()
        await trio.sleep(5)
    assert received == found


async def test_mended_13_half_closed_and_compressed(autojump_clock: MockClock) -> None:
    """Of what a stranger sent before it closed its side, compression makes no more than two times 64 KiB, counted."""
    received = list[int]()
    app = unhurried_app(Limits(), received, compression=Deflate())
    async with serve(app) as server:
        held = server.server._state.budget.inbound  # pyright: ignore[reportPrivateUsage] # what is counted is the point
        for _ in range(20):
            stream = server.open_stream()
            peer = Peer(stream)
            await peer.open("/", "Sec-WebSocket-Extensions: permessage-deflate")
            await peer.say(bomb(10), bomb(60_000) * 400)
            await stream.send_eof()
        await trio.sleep(0.3)
        assert 20 * 60_000 < held.held < 20 * 2 * 64 * 1024
        await trio.sleep(5)
        assert held.held == 0
    assert received == [60_000] * 40
