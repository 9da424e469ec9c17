"""What a client says before it has been let in: kept, in order, and no more than 64 KiB of it."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
import trio

from seawall import Anonymous, Forbidden, Gate, guard
from tests.kit.sockets import Transport, echo, echo_app, quick, slow, surviving, until
from tests.kit.wire import BINARY, PATIENCE, PING, PONG, PROMPT, SOON, TEXT, Frame, RawClient, frame, request

pytestmark = pytest.mark.slow

KIB: Final = 1024

#: What the kernels and TLS may hold besides.
BUFFERS: Final = 192 * KIB


@pytest.mark.usefixtures("calm")
async def test_messages_that_come_with_the_handshake_are_kept(over: Transport) -> None:
    """All of them, in order, whether the route lets in at once or makes up its mind first."""
    app = echo_app()
    app.route("/slow", guard=slow)(echo)
    texts = [b"message %d" % number for number in range(1000)]
    early = b"".join(frame(TEXT, text) for text in texts)
    assert len(early) < 64 * KIB
    async with surviving(app, over) as place:
        for path in ("/echo", "/slow"):
            for cut in (0, 1, 100, len(early)):
                client = await place.dial()
                await client.send(request(path), early[:cut])
                if cut < len(early):
                    await client.send(early[cut:])
                assert (await client.response()).status == 101
                assert [(await client.frame()).payload for _ in texts] == texts


async def _insist_in_pieces(client: RawClient, data: bytes, taken: list[int]) -> None:
    """Send in small pieces, and count what was taken."""
    for at in range(0, len(data), KIB):
        await client.stream.send_all(data[at : at + KIB])
        taken[0] += KIB


@pytest.mark.usefixtures("calm")
async def test_no_more_than_64_kib_are_taken_before_the_upgrade(over: Transport) -> None:
    """A client that has not been let in has to wait; nothing that it said is lost when it is."""
    decided = trio.Event()

    @guard
    async def decides(gate: Gate, proved: Anonymous) -> Anonymous:
        await decided.wait()
        return proved

    app = echo_app()
    app.route("/decides", guard=decides)(echo)
    big, taken = bytes(800_000), [0]
    async with surviving(app, over, buffers=16 * KIB) as place:
        client = await place.dial(send_buffer=16 * KIB)
        await client.send(request("/decides"))
        async with trio.open_nursery() as nursery:
            data = frame(BINARY, big) + frame(PING, b"behind it")
            nursery.start_soon(_insist_in_pieces, client, data, taken)
            await until(lambda: taken[0] >= 48 * KIB)
            await trio.sleep(0.4)  # in which no more may follow
            assert taken[0] <= 64 * KIB + BUFFERS
            decided.set()
            assert (await client.response()).status == 101
            found = [await client.frame() for _ in range(2)]
        assert Frame(BINARY, big) in found
        assert Frame(PONG, b"behind it") in found


@pytest.mark.usefixtures("calm")
async def test_a_refusal_is_heard_whatever_was_said_early(over: Transport) -> None:
    """A guard that refuses late answers as one that refuses at once, though megabytes wait."""

    @guard
    async def refuses(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(0.05)
        raise Forbidden

    app = echo_app()
    app.route("/refuses", guard=refuses)(quick)
    async with surviving(app, over) as place:
        client = await place.dial()
        async with trio.open_nursery() as nursery:
            await client.send(request("/refuses"))
            nursery.start_soon(partial(client.insist, frame(BINARY, bytes(100_000)), every=0))
            assert (await client.response()).status == 403
            nursery.cancel_scope.cancel()
        client.close()
        await place.idle(1, within=SOON)


@pytest.mark.parametrize("over", ["plain", "tls", "unix"], indirect=True)
async def test_who_leaves_behind_more_than_is_read_is_not_reset(over: Transport) -> None:
    """A client that half-closes before it has been let in is let go at once, and reads the end as an end."""

    @guard
    async def ponders(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(PATIENCE)
        return proved

    app = echo_app()
    app.route("/ponders", guard=ponders)(echo)
    async with surviving(app, over) as place:
        client = await place.dial()
        await client.send(request("/ponders"), frame(BINARY, bytes(100_000)))
        client.finish()
        with trio.fail_after(PROMPT):
            assert await client.stream.receive_some() == b""
