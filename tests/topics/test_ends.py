"""What a peer is told, and the application, when its subscription ends and the handler lets that out."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Cause, Claims, Connection, Forbidden, Limits, Outcome, bearer, public
from seawall.rooms import Disconnect
from seawall.testing import CloseFrame, connect
from tests.kit.log import recorded
from tests.kit.tokens import by, token, verifier


@frozen
class Said:
    """What somebody has said."""

    text: str


@define
class Ended:
    """What becomes of one connection."""

    outcomes: list[Outcome] = field(factory=list[Outcome])

    def app(self, limits: Limits | None = None) -> App:
        """An app that tells."""
        return App(on_end=self.outcomes.append, limits=limits)

    @property
    def details(self) -> list[str]:
        """What the log says of each."""
        return [one.detail for one in self.outcomes]

    @property
    def how(self) -> list[tuple[Cause, int, str]]:
        """Each end."""
        return [(one.cause, one.code, one.reason) for one in self.outcomes]


async def test_messages_are_lost(autojump_clock: MockClock) -> None:
    """Whoever comes back with a position that is no longer kept, where nothing tells it of a gap, reads 1013."""
    ended = Ended()
    app = ended.app()
    room = app.topic("rooms/{room}", Said, history=1)(room="a")

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        first = room.publish_nowait(Said("1"))
        for text in ("2", "3"):
            room.publish_nowait(Said(text))
        async with conn.subscribe(room, since=first):
            raise AssertionError

    async with connect(app, "/") as client:
        assert await client.wait_closed() == CloseFrame(1013, "messages lost")
    assert ended.how == [(Cause.MESSAGES_LOST, 1013, "messages lost")]
    assert ended.details == ["SubscriptionLost: 1 event of rooms/{room}('a') lost"]


async def test_somebody_is_kicked(autojump_clock: MockClock) -> None:
    """The peer reads 3003 while it is in the room; and again when it comes back before its time."""
    ended = Ended()
    app = ended.app()
    room = app.topic("rooms/{room}", Said)(room="a")

    @app.route("/", guard=bearer(verifier))
    async def handle(conn: Connection[Claims]) -> None:
        async with conn.subscribe(room):
            await trio.sleep_forever()

    async with connect(app, "/", headers=by(token(sub="eve"))) as eve, connect(app, "/", headers=by(token())) as other:
        await wait_all_tasks_blocked()
        assert await room.kick(subject="eve", seconds=60) == 1
        assert await eve.wait_closed() == CloseFrame(3003, "kicked")
        async with connect(app, "/", headers=by(token(sub="eve"))) as again:
            assert await again.wait_closed() == CloseFrame(3003, "kicked")
        await room.publish(Said("peace"))
        assert await other.receive() == '{"type":"said","text":"peace"}'
        await trio.sleep(60)
        async with connect(app, "/", headers=by(token(sub="eve"))) as later:
            await wait_all_tasks_blocked()
            await room.publish(Said("back"))
            assert await later.receive() == '{"type":"said","text":"back"}'
    assert ended.how[:2] == [(Cause.KICKED, 3003, "kicked")] * 2
    assert ended.details[:2] == ["Kicked: kicked out of rooms/{room}('a')"] * 2


async def test_somebody_is_slow(autojump_clock: MockClock) -> None:
    """A peer that takes nothing sees the end of TCP, as one that is too slow for `send`; the log has 1008."""
    ended = Ended()
    app = ended.app(Limits(send_timeout=1000, ping_interval=None))
    room = app.topic("rooms/{room}", Said, lag=Disconnect(3))(room="a")

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(room):
            await trio.sleep_forever()

    async with connect(app, "/") as slow, connect(app, "/") as good:
        slow.stall()
        await wait_all_tasks_blocked()
        for number in range(40):
            await room.publish(Said(str(number) * 20_000))
            await good.receive()
            await trio.sleep(1)
        assert ended.how == [(Cause.SLOW_CONSUMER, 1008, "slow consumer")]
        said = "slow consumer: further behind than Disconnect(3) allows in rooms/{room}('a')"
        assert ended.details == [f"SlowConsumer: {said}"]


async def test_a_stalled_socket_is_told_from_who_is_behind_in_a_room(autojump_clock: MockClock) -> None:
    """Both end as slow; the log has a room only where its policy was what ended it."""
    ended = Ended()
    app = ended.app(Limits(send_timeout=10, ping_interval=None))
    room = app.topic("rooms", Said)()

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(room):
            await trio.sleep_forever()

    async with connect(app, "/") as slow:
        slow.stall()
        await wait_all_tasks_blocked()
        for _ in range(40):
            await room.publish(Said("x" * 20_000))
        await trio.sleep(20)
        assert ended.how == [(Cause.SLOW_CONSUMER, 1008, "slow consumer")]
        assert ended.details == ["SlowConsumer: slow consumer"]


async def test_a_room_whose_changes_are_too_many(autojump_clock: MockClock) -> None:
    """It is called as the room is, and not as the log in which its changes are told."""
    ended = Ended()
    app = ended.app(Limits(send_timeout=1000, ping_interval=None))
    people = app.presence("rooms/{room}", str)(room="a")

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(people, wrap=lambda _: "x" * 20_000, lag=Disconnect(3)):
            await trio.sleep_forever()

    @app.route("/member", guard=public)
    async def member(conn: Connection[Anonymous]) -> None:
        async with people.joined(conn, "") as me:
            for number in range(40):
                await me.update(str(number))
                await trio.sleep(1)

    async with connect(app, "/") as slow:
        slow.stall()
        await wait_all_tasks_blocked()
        async with connect(app, "/member") as busy:
            await busy.wait_closed()
        said = "slow consumer: further behind than Disconnect(3) allows in rooms/{room}('a')"
        assert f"SlowConsumer: {said}" in ended.details


NAMES = {
    "tea\r\nERROR forged": r"rooms/{room}('tea\r\nERROR forged')",
    "\u202egnp": r"rooms/{room}('\u202egnp')",
    "\x1b[31m": r"rooms/{room}('\x1b[31m')",
    "x" * 1024: f"rooms/{{room}}('{'x' * 58}…)",
    "token=abcdefghijklmnop": "rooms/{room}('token=[redacted]')",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=range(len(NAMES)))
async def test_what_a_peer_calls_a_room_is_shown(name: str, shown: str, autojump_clock: MockClock) -> None:
    """In the log alone: printable, shortened, and without credentials; the peer reads a constant."""
    ended = Ended()
    app = ended.app()
    room = app.topic("rooms/{room}", Said)(room=name)

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(room):
            await room.kick(connection=conn.id)
            await trio.sleep_forever()

    with recorded() as records:
        async with connect(app, "/") as client:
            assert await client.wait_closed() == CloseFrame(3003, "kicked")
    assert ended.details == [f"Kicked: kicked out of {shown}"]
    (line,) = records.lines("connection")
    assert f"(Kicked: kicked out of {shown}; by the rule for Kicked)" in line
    assert line.isprintable()


async def test_a_renewal_is_refused_by_the_check_of_a_room(autojump_clock: MockClock) -> None:
    """The renewal itself succeeds; the subscription ends with what the check has raised, and with it the connection."""
    ended = Ended()
    app = ended.app()

    async def may_read(claims: Claims, room: str) -> None:
        if "chat" not in claims.scopes:
            raise Forbidden(f"no {room} for you")

    said = app.topic("rooms/{room}", Said).readable(may_read)

    @app.route("/", guard=bearer(verifier))
    async def handle(conn: Connection[Claims]) -> None:
        async with conn.subscribe(said(room="a")):
            async for message in conn:
                await conn.renew(str(message))
                await conn.send("renewed")

    async with connect(app, "/", headers=by(token(scope="chat"))) as client:
        await client.send(token(scope="chat"))
        assert await client.receive() == "renewed"
        await client.send(token(scope="mail"))
        assert await client.wait_closed() == CloseFrame(3003, "forbidden")
    async with connect(app, "/", headers=by(token(scope="mail"))) as client:
        assert await client.wait_closed() == CloseFrame(3003, "forbidden")
    assert ended.how == [(Cause.REFUSED, 3003, "forbidden")] * 2
