"""The ends of what is read in rooms: by a kick, a refusal, a failure or a cancellation; what it took is free again."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Claims, Connection, Forbidden, Kicked, SubscriptionLost, TooManyRequests, bearer
from seawall.errors import ConfigurationError, SlowConsumer
from seawall.rooms import Disconnect, DropNewest, DropOldest, Gap, Lag, Latest, Position, Room, RoomEvent, Topic
from seawall.testing import serve
from tests.kit.rooms import PATIENT, Said, in_memory, room_app, table_entries
from tests.kit.tokens import by, token, verifier


async def test_a_kick_is_about_all_that_somebody_reads(autojump_clock: MockClock) -> None:
    """Each subscription in the room ends, of each connection that is meant, and those of nobody else."""
    app, ended = App(limits=PATIENT), list[str]()
    said: Topic[Said] = app.topic("rooms/{room}", Said)

    @app.route("/{room}", guard=bearer(verifier))
    async def handler(conn: Connection[Claims], room: str) -> None:
        async def read() -> None:
            try:
                async with conn.subscribe(said(room=room), since="joined"):
                    await trio.sleep_forever()
            except Kicked:
                ended.append(f"{conn.principal.subject} in {room}")

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read)
            await trio.sleep_forever()

    async with serve(app) as served, AsyncExitStack() as stack:
        for who, room in (("eve", "a"), ("ada", "a"), ("eve", "a"), ("eve", "b")):
            await stack.enter_async_context(served.connect(f"/{room}", headers=by(token(who))))
        await wait_all_tasks_blocked()
        assert await said(room="a").kick(subject="eve") == 2
        await wait_all_tasks_blocked()
        assert ended == ["eve in a"] * 6


async def test_who_is_kicked_is_asked_nothing(autojump_clock: MockClock) -> None:
    """It is refused as kicked, and the check of the topic is not bothered."""
    app, asked, refused = App(limits=PATIENT), list[str](), list[Exception]()

    async def may_read(claims: Claims) -> None:
        asked.append(str(claims.subject))
        raise Forbidden("nobody may")

    said: Topic[Said, Claims] = app.topic("rooms/{room}", Said).readable(may_read)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        try:
            async with conn.subscribe(said(room="a")):
                raise AssertionError("let in")
        except (Kicked, Forbidden) as refusal:
            refused.append(refusal)

    async with serve(app) as served:
        await said(room="a").kick(subject="eve")
        for who in ("eve", "ada"):
            async with served.connect("/", headers=by(token(who))) as client:
                await client.wait_closed()
    assert asked == ["ada"]
    assert [type(one) for one in refused] == [Kicked, Forbidden]


def fail(_: object) -> str:
    """A key, or a wrap, that fails."""
    raise LookupError("of the test")


async def test_what_has_ended_counts_no_more(autojump_clock: MockClock) -> None:
    """However it has: so many subscriptions and rooms may be there afterwards as before."""
    done, waits = list[str](), trio.Event()
    limits = evolve(PATIENT, max_subscriptions=2, max_rooms=2)

    async def may_read(_: object, room: str) -> None:
        await trio.lowlevel.checkpoint()
        if room == "refused":
            raise Forbidden("of the test")
        if room == "slow":
            await trio.sleep_forever()

    async def end_each_way(conn: Connection[object]) -> None:
        async with conn.subscribe(said(room="left")):
            pass
        with trio.move_on_after(1):
            async with conn.subscribe(said(room="cancelled")):
                await trio.sleep_forever()
        with trio.move_on_after(1):
            async with conn.subscribe(said(room="slow")):
                raise AssertionError("let in")
        with pytest.raises(Forbidden):
            async with conn.subscribe(said(room="refused")):
                raise AssertionError("let in")
        with pytest.raises(SubscriptionLost):
            async with conn.subscribe(said(room="lost"), since=Position("elsewhere", 5)):
                raise AssertionError("let in")
        with pytest.raises(LookupError):  # noqa: PT012 - where it is raised is the point
            async with conn.subscribe(said(room="fails"), wrap=fail):
                said(room="fails").publish_nowait(Said(1))
                await trio.sleep_forever()
        with pytest.raises(LookupError):  # noqa: PT012 - where it is raised is the point
            async with conn.subscribe(said(room="fails"), lag=Latest(fail)):
                said(room="fails").publish_nowait(Said(1))
                await trio.sleep_forever()
        with pytest.raises(Kicked):  # noqa: PT012 - where it is raised is the point
            async with conn.subscribe(said(room="kicked")):
                await said(room="kicked").kick(connection=conn.id, seconds=0)
                await trio.sleep_forever()

    async def read(conn: Connection[object], name: str) -> None:
        assert name == "a"
        for _ in range(5):
            await end_each_way(conn)
        async with conn.subscribe(said(room="one")), conn.subscribe(said(room="two")):
            with pytest.raises(TooManyRequests, match="subscriptions"):
                async with conn.subscribe(said(room="one")):
                    raise AssertionError("let in")
            done.append("all")
            await waits.wait()

    app = room_app(read, limits)
    said = app.topic("rooms/{room}", Said).readable(may_read)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await trio.sleep(100)
        assert done == ["all"]
        with pytest.raises(TooManyRequests, match="rooms"):
            async with said(room="three").events():
                raise AssertionError("let in")
        waits.set()
        await peer.rest()
        for _ in range(5):
            with trio.fail_after(100):
                await end_readings(said(room="x"))
        assert table_entries(app) == {}


async def end_readings(room: Room[Said, object]) -> None:
    """Read in code, and end that in each way."""
    async with room.events():
        pass
    with trio.move_on_after(1):
        async with room.events() as events:
            await anext(events)
    with pytest.raises(SlowConsumer):  # noqa: PT012 - where it is raised is the point
        async with room.events(lag=Disconnect(1)):
            for number in range(3):
                room.publish_nowait(Said(number))
                await wait_all_tasks_blocked()
            await trio.sleep_forever()
    with pytest.raises(LookupError):  # noqa: PT012 - where it is raised is the point
        async with room.events(lag=Latest(fail)):
            room.publish_nowait(Said(1))
            await trio.sleep_forever()


@pytest.mark.parametrize("lag", [DropOldest(3), DropNewest(3)])
async def test_what_drops_needs_a_wrap(lag: Lag[Said], autojump_clock: MockClock) -> None:
    """Whichever events are dropped: without one, nothing would tell the peer."""
    refused = list[str]()

    async def read(conn: Connection[object], _: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            conn.subscribe(said(room="x"), lag=lag)
        refused.append(str(caught.value))

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        await (await dial("/a")).rest()
    assert len(refused) == 1
    assert "give a wrap" in refused[0]


async def test_a_room_is_kept_as_long_as_somebody_may_come_back(autojump_clock: MockClock) -> None:
    """For the seconds of its ttl, from the last event or from when the last reader left, whichever is later."""
    app = App(limits=PATIENT)
    room: Room[Said] = app.topic("rooms/{room}", Said, history=5, ttl=10)(room="x")
    async with in_memory(app):
        async with room.events() as events:
            at = [room.publish_nowait(Said(number)) for number in range(200)][-1]
            assert table_entries(app)["rooms with a time to live"] == 1
            await trio.sleep(55)
            assert isinstance(await anext(events), RoomEvent)
        await trio.sleep(8)
        async with room.events(since=at) as events:
            room.publish_nowait(Said(200))
            event = await anext(events)
            assert isinstance(event, RoomEvent)
            assert event.value.number == 200
        await trio.sleep(21)
        async with room.events(since=at) as events:
            room.publish_nowait(Said(201))
            assert isinstance(await anext(events), Gap), "forgotten, and begun anew"


async def test_a_renewal_while_somebody_comes_in(autojump_clock: MockClock) -> None:
    """Whom the check refuses as who they are now does not get in by who they were when it was asked first."""
    app, first, how = App(limits=PATIENT), trio.Event(), list[str]()

    async def may_read(claims: Claims, room: str) -> None:
        if "chat" not in claims.scopes:
            raise Forbidden(f"no {room} for you")
        await first.wait()

    said: Topic[Said, Claims] = app.topic("rooms/{room}", Said).readable(may_read)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        async def read() -> None:
            try:
                async with conn.subscribe(said(room="a")):
                    how.append("let in")
            except Forbidden as refusal:
                how.append(str(refusal))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await conn.renew(token(scope="mail"))
            first.set()

    async with serve(app) as served, served.connect("/", headers=by(token(scope="chat"))) as client:
        await client.wait_closed()
    assert how == ["no a for you"]
    assert table_entries(app) == {}
