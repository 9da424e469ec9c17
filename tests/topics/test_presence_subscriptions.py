"""``conn.subscribe(people(...), wrap=...)``: a peer is told who is there, and what changes; in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, ConfigurationError, Connection, Limits, public
from seawall.rooms import Disconnect, DropNewest, DropOldest, Gap, Latest, Position, PresenceChange, RoomEvent, Snapshot
from seawall.testing import CloseFrame, serve
from tests.kit.presence import Watched, Who, heard, meeting, tell
from tests.kit.tokens import by, token


async def test_a_snapshot_and_then_changes(autojump_clock: MockClock) -> None:
    """The peer is told who is there when it comes, and each change after that, once."""
    met = meeting()
    async with serve(met.app) as served, served.connect("/anybody/tea/ada") as ada:
        assert await ada.receive() == "in"
        async with served.connect("/watch/tea") as peer:
            (ada_id,) = [member.id for member in met.room().members()]
            assert await peer.receive() == f"= {ada_id}:ada"
            async with served.connect("/anybody/tea/bob") as bob:
                (_, bob_id) = [member.id for member in met.room().members()]
                assert await peer.receive() == f"+ {bob_id}:bob"
                await bob.send("eve")
                assert await peer.receive() == f"> {bob_id}:eve"
            assert await peer.receive() == f"- {bob_id}:eve"
        async with served.connect("/watch/milk") as peer:
            assert await peer.receive() == "="


async def test_it_is_encoded_once(autojump_clock: MockClock) -> None:
    """A change is wrapped once for all who subscribe by one function; each snapshot is its reader's own."""
    app, calls = App(), list[str]()
    people = app.presence("rooms", Who)

    def counted(event: RoomEvent[PresenceChange[Who]] | Gap) -> str:
        calls.append(tell(event)[:1])
        return tell(event)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        async with conn.subscribe(people(), wrap=counted), people().joined(conn, Who("ada")):
            async for _ in conn:
                pass

    async with serve(app) as served, served.connect("/"), served.connect("/"), served.connect("/") as third:
        assert (await third.receive()) is not None
        await wait_all_tasks_blocked()
        calls.clear()
        async with served.connect("/"):
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert sorted(calls) == ["+", "-", "="]


@pytest.mark.parametrize("lag", [None, DropOldest(4), DropNewest(4)])
async def test_a_peer_that_stops_reading(lag: DropOldest | DropNewest | None, autojump_clock: MockClock) -> None:
    """It is told of a gap, who is there then, and everything from there on; nothing twice."""
    app = App(limits=Limits(send_timeout=100))
    people = app.presence("rooms", Who)

    @app.route("/watch", guard=public)
    async def watch(conn: Connection[object]) -> None:
        async with conn.subscribe(people(), wrap=tell, lag=lag):
            async for _ in conn:
                pass

    @app.route("/be", guard=public)
    async def be(conn: Connection[object]) -> None:
        async with people().joined(conn, Who("0")) as me:
            async for message in conn:
                for number in range(int(message)):
                    await me.update(Who(f"{number}{'x' * 1000}"))
                await conn.send("done")

    async with serve(app) as served, served.connect("/be") as ada, served.connect("/watch") as peer:
        watched = Watched()
        watched.told(heard(str(await peer.receive())))
        peer.stall()
        await ada.send("1300")
        assert await ada.receive() == "done"
        peer.resume()
        while next(iter(watched.present.values()))[:4] != "1299":
            watched.told(heard(str(await peer.receive())))
        assert watched.gaps == 1
        await ada.send("2")
        for _ in range(2):
            watched.told(heard(str(await peer.receive())))
        assert next(iter(watched.present.values()))[:2] == "1x"


async def test_a_kick(autojump_clock: MockClock) -> None:
    """Who is kicked is told no more, and its handler raises."""
    app = App()
    people = app.presence("rooms/{room}", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        async with conn.subscribe(people(room="tea"), wrap=tell):
            await trio.sleep_forever()

    async with serve(app) as served, served.connect("/") as peer:
        assert await peer.receive() == "="
        (session,) = app.sessions.find()
        assert await people(room="milk").kick(connection=session.id) == 0
        assert await people(room="tea").kick(connection=session.id) == 1
        assert await peer.wait_closed() == CloseFrame(3003, "kicked")


async def test_what_is_refused(autojump_clock: MockClock) -> None:
    """A subscription without a wrap, with a position, by Latest, or of another app is a mistake of the program."""
    app, other = App(), App()
    people, elsewhere = app.presence("rooms", Who), other.presence("rooms", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        with pytest.raises(ConfigurationError, match="needs wrap="):
            conn.subscribe(people())
        with pytest.raises(ConfigurationError, match="leave since= out"):
            conn.subscribe(people(), wrap=tell, since=Position("x", 1))
        with pytest.raises(ConfigurationError, match="who has left"):
            conn.subscribe(people(), wrap=tell, lag=Latest(repr))
        with pytest.raises(ConfigurationError, match="another app's presence"):
            conn.subscribe(elsewhere(), wrap=tell)
        async with conn.subscribe(people(), wrap=tell, since="joined", lag=Disconnect(5)) as subscription:
            assert subscription.position is not None
            await conn.send("done")
            await trio.sleep(1)

    async with serve(app) as served, serve(other), served.connect("/") as client:
        assert {await client.receive(), await client.receive()} == {"done", "="}


async def test_a_wrap_that_fails(autojump_clock: MockClock) -> None:
    """It ends the subscriptions that use it, and nobody else's."""
    met = meeting()

    def fails(event: RoomEvent[PresenceChange[Who]] | Gap) -> str:
        if isinstance(event, RoomEvent) and isinstance(event.value, Snapshot):
            return "fine"
        raise LookupError("of the test")

    failed = trio.Event()

    @met.app.route("/failing", guard=public)
    async def failing(conn: Connection[object]) -> None:
        with pytest.raises(LookupError):
            async with conn.subscribe(met.room(), wrap=fails):
                await trio.sleep_forever()
        failed.set()

    async with serve(met.app) as served, served.connect("/watch/tea") as good, served.connect("/failing") as bad:
        assert await good.receive() == "="
        assert await bad.receive() == "fine"
        async with served.connect("/tea/ada", headers=by(token("ada"))):
            assert str(await good.receive()).startswith("+ ")
            await failed.wait()
