"""A client that speaks in JSON messages to an app whose handlers are `Events`, and messages to speak with."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import cast, final

import trio
from attrs import define, field, frozen, validators

from seawall import Anonymous, App, Connection, Events, Limits, public
from seawall.testing import Client, CloseFrame, connect

Message = Mapping[str, object]


@frozen
class Say:
    """To be said."""

    text: str = field(validator=validators.max_len(10))


@frozen
class Said:
    """What was said."""

    text: str


@frozen
class Item:
    """Has an id of its own."""

    id: int


@frozen
class Count:
    """Asks for so many ticks."""

    n: int = 3


@frozen
class Tick:
    """One of them."""

    n: int


@frozen
class Wait:
    """Asks for patience."""

    seconds: float = 1.0


@frozen
class Ask:
    """What the server asks."""

    q: str = "sure?"


@frozen
class Answer:
    """What the client answers."""

    a: str


@frozen
class Fail:
    """Asks for a failure."""

    how: str = ""


@final
@define(eq=False)
class Talker:
    """Sends and receives messages as dictionaries."""

    client: Client

    async def say(self, *messages: Message) -> None:
        """Send them."""
        for message in messages:
            await self.client.send(json.dumps(message))

    async def hear(self) -> dict[str, object]:
        """The next one."""
        return decoded(await self.client.receive())

    async def hear_many(self, count: int) -> list[dict[str, object]]:
        """So many."""
        return [await self.hear() for _ in range(count)]

    async def ask(self, message: Message) -> dict[str, object]:
        """Send one, and receive one."""
        await self.say(message)
        return await self.hear()

    async def silence(self, seconds: float) -> None:
        """Nothing comes in so many seconds."""
        with trio.move_on_after(seconds):
            heard = await self.client.receive()
            raise AssertionError(f"heard {heard!r}")

    async def end(self) -> CloseFrame:
        """How the app closes."""
        return await self.client.wait_closed()


def decoded(message: str | bytes) -> dict[str, object]:
    """A message in JSON."""
    return cast("dict[str, object]", json.loads(message))


def with_ref(message: Message, ref: object) -> dict[str, object]:
    """The same message, which asks for an answer unless `ref` is None."""
    return {**message} if ref is None else {**message, "ref": ref}


def error(code: str, re: object = None, **more: object) -> dict[str, object]:
    """The error that a client receives."""
    return {"type": "error"} | ({} if re is None else {"re": re}) | {"code": code} | more


def app_of(events: Events[Anonymous], *, path: str = "/", limits: Limits | None = None) -> App:
    """An app whose only route has the events as its handler."""
    app = App(limits=limits or Limits())
    app.route(path, guard=public)(events)
    return app


@asynccontextmanager
async def talking(app: App | Events[Anonymous], path: str = "/") -> AsyncGenerator[Talker]:
    """A client of an app, or of one whose only route has these events."""
    async with connect(app if isinstance(app, App) else app_of(app), path) as client:
        yield Talker(client)


def chat() -> Events[Anonymous]:
    """Events of every kind, for whom none in particular matters."""
    events = Events[Anonymous]()

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        return Said(f"sea:{message.text}")

    @events.on(Item)
    async def item(conn: Connection[Anonymous], message: Item) -> Item:
        return Item(message.id + 1)

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Tick]:
        for n in range(message.n):
            yield Tick(n)

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        await trio.sleep(message.seconds)

    @events.on(Ask)
    async def ask(conn: Connection[Anonymous], message: Ask) -> Said:
        answer = await events.request(conn, message, Answer, timeout=5)
        return Said(answer.a)

    return events
