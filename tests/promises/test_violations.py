"""Every way to break RFC 6455 is answered with the right close code, and TCP is closed within a second."""

from __future__ import annotations

import struct
from typing import Final

import pytest
import trio

from seawall import App, Limits
from tests.kit.log import Lines
from tests.kit.sockets import Place, Transport, busy, echo_app, everywhere, quick, slow, surviving
from tests.kit.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    PROMPT,
    SOON,
    TEXT,
    Frame,
    RawClient,
    close_frame,
    frame,
)
from tests.promises.violations import ALLOWED, KINDS, KOSME, SMALL, VIOLATIONS

pytestmark = pytest.mark.slow

#: What a peer may send behind its mistake.
BEHIND: Final = (frame(PING), close_frame(), frame(TEXT, b"more"), b"\xff" * 1000, b"")


def violated_app() -> App:
    """An app with all the states in which a peer may break the rules."""
    app = echo_app(limits=SMALL, busy=busy, quick=quick)
    app.route("/slow", guard=slow)(quick)
    return app


#: Every violation over one kind of connection, and one of each kind over the others: what is decoded is the same.
OVER: Final[dict[Transport, tuple[str, ...]]] = {"plain": tuple(VIOLATIONS), "reader": KINDS, "tls": KINDS}


@pytest.mark.parametrize(("over", "name"), [(over, name) for over, names in OVER.items() for name in names])
@pytest.mark.usefixtures("calm")
async def test_a_violation_is_told_and_ends_the_connection(over: Transport, name: str, log: Lines) -> None:
    """The right code is really on the wire, TCP is closed at once, nothing that follows counts, and the log knows."""
    broken, code = VIOLATIONS[name]
    behind = (*BEHIND, broken) if over == "plain" else BEHIND[-1:]
    async with surviving(violated_app(), over) as place:
        for then in behind:
            client = await place.open()
            await client.send(broken, then)
            found = await client.end()
            # What came before the mistake may have been answered, but only before it.
            assert {one.opcode for one in found[:-1]} <= {PONG, TEXT}
            assert (found[-1].opcode, found[-1].code) == (CLOSE, code)
        early = await place.open(then=broken)
        assert (await early.dismissal()).code == code
        await place.idle(1, within=SOON)
    assert sum(f": protocol violation, {code} " in line for line in log()) == 1 + len(behind)


#: Where a peer may break a rule, and in how many bytes at a time; 0 for all of them with its request.
STATES: Final = {
    "while a guard decides": ("/slow", 0),
    "while the handler is busy": ("/busy", 100),
    "in small pieces": ("/echo", 5),
    "byte by byte": ("/echo", 1),
}


@pytest.mark.parametrize(("path", "size"), STATES.values(), ids=STATES)
@pytest.mark.usefixtures("calm")
async def test_a_violation_is_told_in_every_state(path: str, size: int) -> None:
    """The code does not depend on where the stream is cut, nor on what the connection is doing."""
    few = trio.CapacityLimiter(8)  # in a crowd, who sends byte by byte would not be done before it is let go

    async def violate(broken: bytes, code: int) -> None:
        async with few:
            client = await place.open(path, then=b"" if size else broken)
            if size:
                first = broken[:100]
                for at in range(0, len(first), size):
                    await client.send(first[at : at + size])
                await client.send(broken[100:])
            assert (await client.dismissal()).code == code, broken

    async with surviving(violated_app()) as place, trio.open_nursery() as nursery:
        for broken, code in VIOLATIONS.values():
            nursery.start_soon(violate, broken, code)


async def _insist(place: Place, broken: bytes, code: int) -> None:
    """Break a rule, and go on sending until the connection is gone."""
    client = await place.open()
    await client.send(broken)
    told = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect, client, code)
        await client.insist(bytes(1000), every=0.05)
    assert trio.current_time() - told < PROMPT
    client.close()


async def _expect(client: RawClient, code: int) -> None:
    assert (await client.closed()).code == code


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_tcp_is_closed_whatever_the_peer_does(over: Transport) -> None:
    """Whoever breaks a rule is rid of its connection within a second, though it goes on, or reads nothing."""
    async with surviving(violated_app(), over) as place:
        async with trio.open_nursery() as nursery:
            for broken, code in map(VIOLATIONS.__getitem__, OVER[over]):
                nursery.start_soon(_insist, place, broken, code)
                client = await place.open()
                await client.send(broken)
        await place.idle(1, within=PROMPT)


async def test_good_messages_before_a_violation_are_answered(over: Transport) -> None:
    """What a handler has sent comes before the Close."""
    async with surviving(violated_app(), over) as place:
        client = await place.open()
        await client.echo(b"one")
        await client.send(frame(TEXT, b"\xff"))
        assert (await client.closed()).code == 1007


@pytest.mark.usefixtures("calm")
async def test_a_violation_after_our_close_ends_it_at_once(over: Transport) -> None:
    """We have said 1000 and say nothing more, nor wait any longer."""

    async def violate(broken: bytes) -> None:
        client = await place.open("/quick")
        assert (await client.closed()).code == 1000
        await client.send(broken)
        assert await client.end() == [], broken

    async with surviving(violated_app(), over) as place, trio.open_nursery() as nursery:
        for name in OVER[over]:
            nursery.start_soon(violate, VIOLATIONS[name][0])


# What is allowed


async def test_what_is_just_allowed_passes(over: Transport) -> None:
    """Sizes count bytes, to the last one, and so do pieces; controls may come anywhere, texts be cut anywhere."""
    async with surviving(violated_app(), over) as place:
        client = await place.open()
        for text in ("é" * 50, "x" * 100, "", "\0", "\ufffe\uffff\U0010ffff", "\ud7ff\ue000"):
            await client.echo(text.encode())
        await client.send(frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 18, frame(CONTINUATION, b"end"))
        assert await client.frame() == Frame(TEXT, b"end")
        pieces = [frame(CONTINUATION, KOSME[at : at + 1], fin=False) for at in range(1, len(KOSME))]
        await client.send(frame(TEXT, KOSME[:1], fin=False), *pieces, frame(PONG, bytes(125)), frame(CONTINUATION))
        assert await client.frame() == Frame(TEXT, KOSME)
        await client.send(frame(PING, bytes(125), mask=bytes(4)), frame(BINARY, b"\xff", mask=b"\xff" * 4))
        both = [await client.frame() for _ in range(2)]  # in whichever order
        assert Frame(PONG, bytes(125)) in both
        assert Frame(BINARY, b"\xff") in both


@pytest.mark.usefixtures("calm")
async def test_a_close_that_is_allowed_is_answered(over: Transport) -> None:
    """With the same code, whatever reason fits into it (RFC 6455, section 5.5.1)."""

    async def close(code: int, reason: bytes) -> None:
        client = await place.open()
        await client.send(close_frame(code, reason))
        (last,) = await client.end()
        assert (last.opcode, last.code) == (CLOSE, code)

    async with surviving(violated_app(), over) as place, trio.open_nursery() as nursery:
        for code in ALLOWED:
            for reason in (b"", b"x" * 123, "é".encode() * 61):
                nursery.start_soon(close, code, reason)


# The numbers


def test_how_large_a_message_may_be() -> None:
    """A MiB in 131,072 frames, by default."""
    assert (Limits().max_message_size, Limits().max_fragments) == (1024 * 1024, 131_072)


async def test_a_mebibyte_is_allowed_and_a_byte_more_is_refused_unread(over: Transport) -> None:
    """By default, in bytes, whole or in pieces; the header is enough for a refusal."""
    size = 1024 * 1024
    async with surviving(echo_app(), over) as place:
        client = await place.open()
        async with trio.open_nursery() as nursery:
            half = frame(BINARY, bytes(size // 2), fin=False) + frame(CONTINUATION, bytes(size // 2))
            nursery.start_soon(client.send, frame(BINARY, bytes(size)), half)
            for _ in range(2):
                assert await client.frame() == Frame(BINARY, bytes(size))
        await client.send(b"\x82\xff" + struct.pack("!Q", size + 1))
        assert (await client.dismissal()).code == 1009
        client = await place.open()
        await client.send(frame(BINARY, bytes(size // 2), fin=False), b"\x80\xff" + struct.pack("!Q", size // 2 + 1))
        assert (await client.dismissal()).code == 1009


async def test_so_many_fragments_are_allowed_and_one_more_is_refused() -> None:
    """By default; empty ones count."""
    async with surviving(echo_app(), "plain") as place:
        client = await place.open()
        await client.send(frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 131_070, frame(CONTINUATION, b"end"))
        assert await client.frame() == Frame(TEXT, b"end")
        await client.send(frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 131_071)
        await client.send(frame(PING, b"still here"))
        assert await client.frame() == Frame(PONG, b"still here")
        await client.send(frame(CONTINUATION, fin=False))
        assert (await client.dismissal()).code == 1009
