"""Echo: how much CPU time a server takes for a message, and how long the message takes. The client is picows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import cycle
from typing import final

from attrs import define, field, frozen
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.target import Failed, Target

#: Seconds for everything that is not measured: connecting, the last answers, closing.
PATIENCE = 20.0


@define
class Tally:
    """What all connections of one measurement have done together."""

    sent: int = 0
    received: int = 0
    running: bool = True
    wrong: str = ""
    """The last answer that was no echo."""
    delays: list[float] = field(factory=list[float])
    """Seconds between a message and its echo, where that is asked for."""


class Client(WSListener):
    """One connection: keeps a number of messages in flight, and checks each answer."""

    def __init__(self, tally: Tally, payload: str | bytes, in_flight: int) -> None:
        self.tally, self.payload, self.in_flight = tally, payload, in_flight
        self.kind = WSMsgType.TEXT if isinstance(payload, str) else WSMsgType.BINARY
        self.expected = payload.encode() if isinstance(payload, str) else payload
        self.compared = False
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the first messages."""
        self.transport = transport
        for _ in range(self.in_flight):
            self.send(transport)

    def send(self, transport: WSTransport) -> None:
        """Send one message."""
        self.tally.sent += 1
        transport.send(self.kind, self.payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Check an answer, and send the next message."""
        if self.is_echo(transport, frame) and self.tally.running:
            self.send(transport)

    def is_echo(self, transport: WSTransport, frame: WSFrame) -> bool:
        """Count an answer. Its size and kind are compared, of a connection's first answer every byte."""
        right = frame.msg_type is self.kind and frame.fin and frame.payload_size == len(self.expected)
        if right and (self.compared or frame.get_payload_as_bytes() == self.expected):
            self.compared = True
            self.tally.received += 1
            return True
        if not transport.is_close_frame_sent:
            self.tally.wrong = f"{frame.msg_type}, {frame.payload_size} bytes: {frame.get_payload_as_bytes()[:80]!r}"
        transport.disconnect(graceful=False)
        return False


@final
class Timed(Client):
    """One connection that sends when it is told to, and notes how long each answer takes."""

    def __init__(self, tally: Tally, payload: str | bytes) -> None:
        super().__init__(tally, payload, in_flight=0)
        self.times = deque[float]()

    def send(self, transport: WSTransport) -> None:
        """Send one message, and note when."""
        self.times.append(time.perf_counter())
        super().send(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Note how long an answer took."""
        if self.is_echo(transport, frame):
            self.tally.delays.append(time.perf_counter() - self.times.popleft())


@final
@frozen(kw_only=True)
class Echo:
    """As many messages as the server can echo: each connection sends the next when an answer has come."""

    name: str
    title: str
    payload: str | bytes = field(repr=False)
    connections: int = 64
    in_flight: int = 1
    seconds: float = 1.0

    async def measure(self, target: Target) -> Mapping[str, float]:
        """Microseconds of the server's CPU time per message."""
        tally = Tally()
        clients = [Client(tally, self.payload, self.in_flight) for _ in range(self.connections)]

        async def window(wait: Callable[[float], Awaitable[None]]) -> float:
            await wait(self.seconds / 3)  # warms up
            cpu, received = target.cpu(), tally.received
            await wait(self.seconds)
            return (target.cpu() - cpu) / (tally.received - received)

        return {self.title: await _converse(target, tally, clients, window) * 1e6}


@final
@frozen(kw_only=True)
class Latency:
    """A fixed number of messages a second over all connections, whether the server keeps up or not."""

    name: str
    title: str
    payload: str | bytes = field(repr=False)
    connections: int = 64
    rate: int = 2000
    seconds: float = 3.0

    async def measure(self, target: Target) -> Mapping[str, float]:
        """Microseconds from a message to its echo: percentiles; and the server's CPU time per message."""
        tally = Tally()
        clients = [Timed(tally, self.payload) for _ in range(self.connections)]

        async def window(wait: Callable[[float], Awaitable[None]]) -> float:
            turns = cycle(clients)
            await self._send(turns, self.seconds / 6, wait)
            tally.delays.clear()
            cpu, received = target.cpu(), tally.received
            await self._send(turns, self.seconds, wait)
            return (target.cpu() - cpu) / (tally.received - received)

        cpu = await _converse(target, tally, clients, window)
        delays = sorted(tally.delays)
        percentiles = {f"p{share * 100:g}": delays[int(share * len(delays))] for share in (0.5, 0.99, 0.999)}
        return {f"{self.title}, {name}": seconds * 1e6 for name, seconds in (*percentiles.items(), ("CPU", cpu))}

    async def _send(self, turns: Iterator[Timed], seconds: float, wait: Callable[[float], Awaitable[None]]) -> None:
        start, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            while sent < passed * self.rate:
                client = next(turns)
                assert client.transport is not None  # noqa: S101 # all are connected
                client.send(client.transport)
                sent += 1
            await wait(0.0005)


async def _converse(
    target: Target,
    tally: Tally,
    clients: list[Client] | list[Timed],
    window: Callable[[Callable[[float], Awaitable[None]]], Awaitable[float]],
) -> float:
    """Connect, measure, and make sure that every message has been answered."""
    connected = list[WSTransport]()
    async with asyncio.timeout(PATIENCE):
        for client in clients:
            connected.append((await ws_connect(lambda client=client: client, f"ws://127.0.0.1:{target.port}/echo"))[0])
    ends = [asyncio.create_task(transport.wait_disconnected()) for transport in connected]

    async def wait(seconds: float) -> None:
        ended, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ended:
            raise Failed(f"{target.server.name} has ended a connection, or sent no echo: {tally.wrong}")

    measured = await window(wait)
    tally.running = False
    async with asyncio.timeout(PATIENCE):
        while tally.received < tally.sent:
            await wait(0.01)
        for transport in connected:
            transport.send_close(WSCloseCode.OK)
        await asyncio.gather(*ends)
    return measured
