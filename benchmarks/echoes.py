"""Echo: how much CPU time a server takes for a message, and how long the message takes. The client is picows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from typing import final

from attrs import define, field, frozen
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType] # its **kwargs have no type
)

from benchmarks.measures import Failed, Measured, Row, Unit, cost
from benchmarks.sockets import credentials
from benchmarks.target import Target

#: Seconds for what is not measured: connecting, and then the last answers and closing.
PATIENCE = 20.0


@define
class Tally:
    """What all connections of one measurement have done together."""

    sent: int = 0
    received: int = 0
    running: bool = True
    wrong: str = ""
    """The last answer that was no echo."""


class Client(WSListener):
    """One connection: keeps a number of messages in flight, and checks each answer."""

    def __init__(self, tally: Tally, payload: str | bytes, in_flight: int) -> None:
        self.tally, self.payload, self.in_flight = tally, payload, in_flight
        self.kind = WSMsgType.TEXT if isinstance(payload, str) else WSMsgType.BINARY
        self.expected = payload.encode() if isinstance(payload, str) else payload

    def start(self, transport: WSTransport) -> None:
        """Send the first messages."""
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

    def pause_writing(self) -> None:
        """The server does not keep up with what is in flight; picows keeps the rest."""

    def resume_writing(self) -> None:
        """It has caught up."""

    def is_echo(self, transport: WSTransport, frame: WSFrame) -> bool:
        """Compare an answer, its kind and every byte of it, and count it."""
        if frame.msg_type is self.kind and frame.fin and frame.get_payload_as_bytes() == self.expected:
            self.tally.received += 1
            return True
        if not transport.is_close_frame_sent:
            self.tally.wrong = (
                f"no echo, but {frame.msg_type}, {frame.payload_size} bytes: {frame.get_payload_as_bytes()[:80]!r}"
            )
        transport.disconnect(graceful=False)
        return False


@final
class Timed(Client):
    """One connection that sends when it is told to, and notes how long each answer takes."""

    def __init__(self, tally: Tally, payload: str | bytes, delays: list[float]) -> None:
        super().__init__(tally, payload, in_flight=0)
        self.delays, self.times = delays, deque[float]()
        self.transport: WSTransport | None = None

    def start(self, transport: WSTransport) -> None:
        """Keep the connection for later."""
        self.transport = transport

    def send(self, transport: WSTransport) -> None:
        """Send one message, and note when."""
        self.times.append(time.perf_counter())
        super().send(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Note how long an answer took."""
        if self.is_echo(transport, frame):
            self.delays.append(time.perf_counter() - self.times.popleft())


@asynccontextmanager
async def conversing(
    target: Target, tally: Tally, clients: Sequence[Client], path: str = "/echo"
) -> AsyncGenerator[None]:
    """Connections that send and receive; at the end each message has been answered, or the run has failed."""
    transports, headers = list[WSTransport](), credentials(path)
    async with asyncio.timeout(PATIENCE):
        for client in clients:
            url = f"ws://127.0.0.1:{target.port}{path}"
            transport, _ = await ws_connect(partial(_same, client), url, extra_headers=headers)
            transports.append(transport)
    ends = [asyncio.create_task(transport.wait_disconnected()) for transport in transports]
    for client, transport in zip(clients, transports, strict=True):
        client.start(transport)  # not before: a busy server would take long to accept the others
    try:
        yield
    except Failed as failure:
        raise Failed(tally.wrong or str(failure)) from failure
    tally.running = False
    async with asyncio.timeout(PATIENCE):
        while tally.received < tally.sent and not any(end.done() for end in ends):
            await asyncio.sleep(0.01)
        if any(end.done() for end in ends):
            raise Failed(tally.wrong or "a connection has ended too early")
        for transport in transports:
            transport.send_close(WSCloseCode.OK)
        await asyncio.gather(*ends)


def _same(client: Client) -> Client:
    return client


def _own(payload: str | bytes, number: int, at: int = 0) -> str | bytes:
    """The same payload for each connection, but for four bytes: nobody must get what is another one's."""
    mark = f"{number:04}"
    if isinstance(payload, str):
        return payload[:at] + mark + payload[at + 4 :]
    return payload[:at] + mark.encode() + payload[at + 4 :]


@final
@frozen(kw_only=True)
class Echo:
    """As many messages as the server can echo: each connection sends the next when an answer has come."""

    name: str
    title: str
    payload: str | bytes = field(repr=False)
    own_at: int = 0
    """Where in the payload each connection has four characters of its own."""
    path: str = "/echo"
    unit: Unit = Unit.CPU
    """Of the row, and so its table."""
    connections: int = 64
    in_flight: int = 1
    seconds: float = 0.8

    async def measure(self, target: Target) -> Measured:
        """The server's CPU time per message."""
        tally = Tally()
        clients = [
            Client(tally, _own(self.payload, number, self.own_at), self.in_flight) for number in range(self.connections)
        ]
        async with conversing(target, tally, clients, self.path):
            await asyncio.sleep(self.seconds / 3)  # warms up
            spent = await cost(target.cpu, lambda: tally.received, asyncio.sleep(self.seconds))
        return {Row(self.title, self.unit): spent}


@final
@frozen(kw_only=True)
class Latency:
    """So many messages a second over all connections in turn, whether the server keeps up or not."""

    name: str
    title: str
    payload: str | bytes = field(repr=False)
    connections: int = 64
    rate: int
    seconds: float = 1.6

    async def measure(self, target: Target) -> Measured:
        """Percentiles of the time from a message to its echo, and the server's CPU time per message."""
        tally, delays = Tally(), list[float]()
        clients = [Timed(tally, _own(self.payload, number), delays) for number in range(self.connections)]
        turns = cycle(clients)
        async with conversing(target, tally, clients):
            await self._send(turns, self.seconds / 5)  # warms up
            delays.clear()
            spent = await cost(target.cpu, lambda: tally.received, self._send(turns, self.seconds))
        delays.sort()
        percentiles = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        rows = {
            Row(f"{self.title}, {name}", Unit.DELAY): delays[int(share * len(delays))] * 1e6
            for name, share in percentiles.items()
        }
        return {Row(self.title): spent, **rows}

    async def _send(self, turns: Iterator[Timed], seconds: float) -> None:
        start, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            while sent < passed * self.rate:
                client = next(turns)
                assert client.transport is not None  # noqa: S101 # all are connected
                client.send(client.transport)
                sent += 1
            await asyncio.sleep(0.0005)
