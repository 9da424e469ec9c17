"""`BatchListener`: several connections are accepted in a row, and everybody else still has a turn."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from seawall.errors import ConfigurationError
from seawall.serving.accepting import AT_A_TIME, BatchListener
from seawall.serving.listening import open_listeners
from tests.kit.sockets import until


@asynccontextmanager
async def listening() -> AsyncGenerator[tuple[trio.SocketListener, BatchListener, tuple[str, int]]]:
    """Trio's listener, ours over it, and where both listen."""
    [given] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = BatchListener(given)
    try:
        yield given, listener, given.socket.getsockname()
    finally:
        await listener.aclose()


async def test_those_who_wait_are_accepted_in_a_row() -> None:
    """A batch of them without a checkpoint, then one checkpoint; and each is another connection."""
    async with listening() as (_, listener, address):
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(2 * AT_A_TIME)]
            found = [await listener.accept()]
            for _ in range(AT_A_TIME - 1):
                with trio.testing.assert_no_checkpoints():
                    found.append(await listener.accept())
            with trio.testing.assert_checkpoints():
                found.append(await listener.accept())
            found.extend([await listener.accept() for _ in range(AT_A_TIME - 1)])
            assert {stream.socket.getpeername() for stream in found} == {client.getsockname() for client in clients}
            for stream in found:
                await stream.aclose()


async def test_it_waits_for_the_next() -> None:
    """If nobody waits, and can be cancelled then; the next connection is not lost."""
    async with listening() as (_, listener, address):
        with trio.move_on_after(0) as scope:
            await listener.accept()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                stream = await listener.accept()
                await stream.send_all(b"hello")
                await stream.aclose()

            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            client = await trio.open_tcp_stream(*address)
            assert await client.receive_some() == b"hello"
            await client.aclose()


@pytest.mark.parametrize("by", ["us", "its giver"])
async def test_it_is_closed_while_it_waits(by: str) -> None:
    """By its owner, or by who has given Trio's listener to the server: nobody can connect any more."""
    async with listening() as (given, listener, address):
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await (listener if by == "us" else given).aclose()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()


async def test_a_closed_one_is_refused() -> None:
    """When the server starts, with what to do."""
    [given] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await given.aclose()
    with pytest.raises(ConfigurationError, match="the listener has been closed; leave that to the server"):
        await open_listeners({"listeners": [given]})


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ECONNABORTED], ids=["exhausted", "passing"])
async def test_what_the_kernel_says_is_raised(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """As by Trio's listener: the server decides what follows, and the next connection is accepted."""
    accept = socket.socket.accept
    refusing = True

    def refuse(listening: socket.socket) -> tuple[socket.socket, object]:
        if refusing:
            raise OSError(code, "no")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", refuse)
    async with listening() as (_, listener, address):
        with socket.create_connection(address):
            with pytest.raises(OSError, match="no"):
                await listener.accept()
            refusing = False
            stream = await listener.accept()
            await stream.aclose()


async def test_others_have_their_turn_between_two_batches() -> None:
    """Under a flood of connections: a task that only wants to run runs."""
    turns = 0
    async with listening() as (_, listener, address):
        with ExitStack() as stack:
            for _ in range(4 * AT_A_TIME):
                stack.enter_context(socket.create_connection(address))
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    nonlocal turns
                    while True:
                        turns += 1
                        await trio.lowlevel.checkpoint()

                nursery.start_soon(run)
                streams = [await listener.accept() for _ in range(4 * AT_A_TIME)]
                nursery.cancel_scope.cancel()
            for stream in streams:
                await stream.aclose()
    assert turns >= 3  # a turn before each batch but the first, which may come before the task begins


async def test_a_servers_listener_takes_all_who_come() -> None:
    """Also if they come while it accepts others."""
    async with listening() as (_, listener, address):
        accepted = 0
        async with trio.open_nursery() as nursery:

            async def accept_all() -> None:
                nonlocal accepted
                while True:
                    await (await listener.accept()).aclose()
                    accepted += 1

            nursery.start_soon(accept_all)
            for number in range(1, 3 * AT_A_TIME):
                with socket.create_connection(address):
                    if number % 7 == 0:
                        await until(lambda: accepted == number)  # noqa: B023 - awaited here
            await until(lambda: accepted == 3 * AT_A_TIME - 1)
            nursery.cancel_scope.cancel()
