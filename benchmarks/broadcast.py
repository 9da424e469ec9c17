"""Broadcast: what it takes a server to give one message to a room full of subscribers. The client is picows."""

from __future__ import annotations

import asyncio
from typing import final

from attrs import define, field, frozen
from picows import WSFrame, WSTransport

from benchmarks.echoes import Client, Tally, conversing
from benchmarks.measures import Measured, Row, cost
from benchmarks.target import Target

#: Seconds that the last subscriber's handler has to begin.
ENTERING = 0.2


@define
class Room:
    """What is said in it: the next message when every subscriber has had the last one, and not before its time."""

    tally: Tally
    text: str
    subscribers: int
    interval: float = 0.0
    """Seconds from one message to the next, at the least."""
    due: float = 0.0
    number: int = 0
    missing: int = 0
    expected: bytes = b""
    speaker: tuple[Client, WSTransport] | None = field(default=None)

    def speak(self) -> None:
        """Say the next message, which differs from all before."""
        assert self.speaker is not None  # noqa: S101 # somebody has come in
        client, transport = self.speaker
        self.number += 1
        said = f"{self.number:08}{self.text[8:]}"
        self.due = asyncio.get_running_loop().time() + self.interval
        self.expected, self.missing = said.encode(), self.subscribers
        self.tally.sent += self.subscribers
        transport.send(client.kind, said)

    def heard(self) -> None:
        """One more has had it."""
        self.missing -= 1
        if not self.missing and self.tally.running:
            self.speak_in_time()

    def speak_in_time(self) -> None:
        """Say the next message, when it is time for it."""
        loop = asyncio.get_running_loop()
        if loop.time() < self.due:
            loop.call_at(self.due, self.speak_in_time)
        elif self.tally.running:
            self.speak()


@final
class Subscriber(Client):
    """One connection of the room; any of them may be the one that speaks."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.tally, room.text, in_flight=0)
        self.room = room

    def start(self, transport: WSTransport) -> None:
        """Come in."""
        self.room.speaker = (self, transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Compare what was heard with what was said."""
        self.expected = self.room.expected
        if self.is_echo(transport, frame):
            self.room.heard()


@final
@frozen(kw_only=True)
class Broadcast:
    """A room in which whatever one says goes to everybody, one message after another."""

    name: str
    title: str
    text: str = field(repr=False)
    path: str = "/room"
    subscribers: int = 500
    interval: float = 0.0
    """Seconds from one message to the next, so that all servers do the same; 0 for as many as there can be."""
    seconds: float = 1.0

    async def measure(self, target: Target) -> Measured:
        """The server's CPU time per delivery."""
        tally = Tally()
        room = Room(tally, self.text, self.subscribers, self.interval)
        clients = [Subscriber(room) for _ in range(self.subscribers)]
        async with conversing(target, tally, clients, self.path):
            await asyncio.sleep(ENTERING)
            room.speak()
            await asyncio.sleep(self.seconds / 3)  # warms up
            spent = await cost(target.cpu, lambda: tally.received, asyncio.sleep(self.seconds))
        return {Row(self.title): spent}
