"""A peer that goes, however and whenever it does, frees all that it held within a second, and disturbs nobody."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from seawall import Anonymous, Connection, Gate, Limits, guard
from tests.kit.sockets import (
    EVERYWHERE,
    SHORT,
    Transport,
    busy,
    echo_app,
    everywhere,
    pour,
    quick,
    surviving,
    undecided,
    until,
)
from tests.kit.wire import BINARY, PING, PONG, SOON, TEXT, Frame, RawClient, close_frame, frame, request

pytestmark = pytest.mark.slow


def leave(client: RawClient, how: str) -> None:
    """Go away without a Close frame."""
    match how:
        case "reset":
            client.reset()
        case "half-close":
            client.finish()
        case _:
            client.close()


@pytest.mark.parametrize("over", EVERYWHERE)
@pytest.mark.parametrize("stage", ["connected", "in the head", "undecided", "echoing", "in a frame", "busy", "pouring"])
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.usefixtures("calm")
async def test_a_peer_that_leaves_frees_everything_at_once(how: str, stage: str, over: Transport) -> None:
    """Whenever a peer vanishes, also while a guard is undecided or a handler busy, nothing is held for it."""
    app = echo_app(limits=SHORT, busy=busy, pour=pour)
    app.route("/undecided", guard=undecided)(quick)
    async with surviving(app, over, within=SOON) as place:
        client = await place.dial()
        match stage:
            case "connected":
                await until(lambda: place.sessions == 2)
            case "in the head":
                await client.send(request()[:50])
                await until(lambda: place.sessions == 2)
            case "undecided":
                await client.send(request("/undecided"), frame(TEXT, b"early"))
                await trio.testing.wait_all_tasks_blocked()
            case "echoing":
                await client.upgrade()
            case "in a frame":
                await client.upgrade(then=frame(TEXT, bytes(1000))[:-1])
            case "busy":
                await client.upgrade("/busy", then=frame(TEXT, b"unread"))
            case _:
                await client.upgrade("/pour")
        leave(client, how)


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.usefixtures("calm")
async def test_a_head_that_ends_early_is_freed_at_once(how: str, over: Transport) -> None:
    """A connection that ends at any byte before its request is whole does not wait for a deadline."""
    whole = request()
    async with surviving(echo_app(), over, within=SOON) as place:
        clients = [await place.dial() for _ in whole]
        for size, client in enumerate(clients):
            if size:
                await client.send(whole[:size])
        await until(lambda: place.sessions == 1 + len(whole))
        for client in clients:
            leave(client, how)
        await place.idle(1, within=SOON)


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.usefixtures("calm")
async def test_a_tls_handshake_that_ends_early_is_freed_at_once(how: str) -> None:
    """So it is when not even TLS had got that far."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20)
    async with surviving(echo_app(), "tls", within=SOON) as place:
        clients = [await place.dial_plain() for _ in hello]
        for size, client in enumerate(clients):
            if size:
                await client.send(hello[:size])
        await until(lambda: place.sessions == 1 + len(hello))
        for client in clients:
            leave(client, how)
        await place.idle(1, within=SOON)


@pytest.mark.parametrize("over", EVERYWHERE)
@pytest.mark.parametrize("farewell", ["reset", "close", "half-close", "close frame"])
async def test_a_handler_that_is_busy_is_cancelled_when_its_peer_leaves(farewell: str, over: Transport) -> None:
    """A handler that looks elsewhere is cancelled after `wind_down`, however the peer leaves."""
    cancelled = trio.Event()

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with surviving(echo_app(limits=SHORT, busy=busy), over) as place:
        client = await place.open("/busy")
        if farewell == "close frame":
            await client.send(close_frame(4321))
            assert (await client.dismissal()).code == 4321
        else:
            leave(client, farewell)
        with trio.fail_after(SOON):
            await cancelled.wait()


def test_what_a_handler_gets_when_its_peer_has_gone() -> None:
    """By default a second to finish by itself."""
    assert Limits().wind_down == 1


@everywhere()
async def test_a_handler_that_receives_is_cancelled_too_when_its_peer_has_gone(over: Transport) -> None:
    """Messages of a peer that vanished without a Close give its handler no more time than it would have without."""
    cancelled = trio.Event()

    async def slowly(conn: Connection[Anonymous]) -> None:
        try:
            while True:
                await conn.receive()
                await trio.sleep(0.04)
        finally:
            cancelled.set()

    async with surviving(echo_app(limits=SHORT, slowly=slowly), over) as place:
        client = await place.open("/slowly", then=frame(TEXT) * 60)
        await client.send(frame(PING))
        assert (await client.frame()).opcode == PONG
        client.reset()
        with trio.fail_after(SOON):
            await cancelled.wait()


@pytest.mark.parametrize(
    ("farewell", "code"),
    [("reset", None), ("end", None), ("close", 1000), ("binary", 3000), ("violation", 1002), ("silence", 3008)],
)
async def test_a_peer_leaves_while_a_guard_talks_to_it(farewell: str, code: int | None, over: Transport) -> None:
    """Between the upgrade and the handler everything ends as it does later, and at once."""

    @guard
    async def talks(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.send_text("who are you?")
        await gate.receive_text()
        return proved

    app = echo_app(limits=Limits(auth_timeout=0.5) if farewell == "silence" else None)
    app.route("/talk", guard=talks)(quick)
    sent = {"close": close_frame(), "binary": frame(BINARY, b"\xff"), "violation": frame(3), "silence": b""}
    async with surviving(app, over) as place:
        client = await place.open("/talk")
        assert await client.frame() == Frame(TEXT, b"who are you?")
        match farewell:
            case "reset":
                client.reset()
            case "end":
                client.close()
            case _:
                await client.send(sent[farewell])
                assert (await client.dismissal(answer=code in {3000, 3008})).code == code
        await place.idle(1, within=SOON)


@pytest.mark.usefixtures("calm")
async def test_a_port_scanner_may_reset_while_its_answer_is_written(over: Transport) -> None:
    """A plain GET whose sender resets, with megabytes of answer under way, harms nobody."""
    app = echo_app()
    app.page("/big", bytes(8 * 1024 * 1024))
    get = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    async with surviving(app, over, within=SOON) as place:
        for path in (b"/big", b"/", b"/echo", b"/\xff"):
            for reading in (False, True):
                client = await place.dial()
                await client.send(get % path)
                if reading:
                    assert await client.stream.receive_some(10)
                client.reset()


@pytest.mark.usefixtures("calm")
async def test_a_request_whose_sender_resets_at_once_harms_nobody(over: Transport) -> None:
    """Also when it would have been accepted, with data that nobody will read any more."""
    async with surviving(echo_app(), over, within=SOON) as place:
        for then in (b"", frame(TEXT, b"late"), close_frame(), frame(TEXT, bytes(100_000))):
            for _ in range(10):
                client = await place.dial()
                await client.send(request(), then)
                client.reset()


@pytest.mark.usefixtures("calm")
async def test_a_thousand_clients_connect_and_drop() -> None:
    """Their slots and descriptors are free as soon as they have gone."""
    async with surviving(echo_app(), within=SOON) as place:
        for number in range(1000):
            client = await place.dial()
            if number % 2:
                await client.send(request()[: number % 150 + 1])
            leave(client, ("close", "half-close", "reset")[number % 3])
            client.close()
        await place.idle(1, within=SOON)
