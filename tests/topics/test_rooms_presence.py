"""Presence at its edges: readers who are behind, members who go in odd ways, and what is free again behind them."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Claims, ConfigurationError, Connection, Disconnected, Kicked, TooManyRequests, bearer, public
from seawall.rooms import DropNewest, DropOldest
from seawall.testing import serve
from tests.kit.memory import text
from tests.kit.presence import Who, meeting, tell
from tests.kit.rooms import PATIENT, in_memory, network_of, pinned, table_entries
from tests.kit.tokens import by, token, verifier


@pytest.mark.parametrize(
    ("lag", "expected"),
    [(DropNewest(3), ["11", "12", "13", "14", "gap", "20"]), (DropOldest(3), ["11", "gap", "20"])],
)
async def test_behind_before_it_was_told_anything(
    lag: DropNewest | DropOldest, expected: list[str], autojump_clock: MockClock
) -> None:
    """What was kept for it is let go with its snapshot, and from there on so much waits for it as it says."""
    app = App(limits=PATIENT)
    people = app.presence("rooms", Who)

    @app.route("/watch", guard=public)
    async def watch(conn: Connection[object]) -> None:
        await conn.receive()
        await conn.send("something that waits")
        async with conn.subscribe(people(), wrap=tell, lag=lag):
            await trio.sleep_forever()

    @app.route("/be", guard=public)
    async def be(conn: Connection[object]) -> None:
        async with people().joined(conn, Who("0")) as me:
            async for message in conn:
                await me.update(Who(str(message)))

    async with in_memory(app) as dial:
        ada, peer = await dial("/be"), await dial("/watch")

        async def update(numbers: range) -> None:
            for number in numbers:
                await ada.say(text(str(number)))
                await wait_all_tasks_blocked()

        async def told(count: int) -> list[str]:
            return [(await peer.message()).replace(":", " ").split()[-1] for _ in range(count)]

        network_of(peer).stall()
        await peer.say(text("go"))
        await wait_all_tasks_blocked()
        await update(range(1, 11))
        network_of(peer).resume()
        assert await told(2) == ["waits", "10"]
        await wait_all_tasks_blocked()
        assert pinned(app) == 0
        network_of(peer).stall()
        await update(range(11, 21))  # the first of which is on its way
        network_of(peer).resume()
        assert await told(len(expected)) == expected
        await update(range(21, 22))
        assert await told(1) == ["21"]
        assert pinned(app) == 0


async def test_a_body_that_fails_as_its_peer_goes(autojump_clock: MockClock) -> None:
    """Nobody lingers then: the block has not ended because the peer has gone."""
    app = App(limits=PATIENT)
    people = app.presence("rooms", Who, linger=60)

    @app.route("/{how}", guard=bearer(verifier))
    async def be(conn: Connection[Claims], how: str) -> None:
        with suppress(LookupError):
            async with people().joined(conn, Who(how)):
                try:
                    await conn.receive()
                except Disconnected:
                    if how == "fails":
                        raise LookupError("of the test") from None
                    raise

    async with serve(app) as served:
        for how in ("fails", "goes"):
            async with served.connect(f"/{how}", headers=by(token(how))) as client:
                await wait_all_tasks_blocked()
                client.reset()
            await wait_all_tasks_blocked()
        assert [member.value.name for member in people().members()] == ["goes"]


async def test_who_lingers_is_gone_in_time(mock_clock: MockClock) -> None:
    """Whoever asks as soon as that time is over is told so, though no task has had a turn since then."""
    met = meeting(linger=10)
    async with serve(met.app) as served:
        async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
            assert await ada.receive() == "in"
            ada.reset()
        await wait_all_tasks_blocked()
        mock_clock.jump(9.5)
        assert met.names() == ["ada"]
        mock_clock.jump(1)
        assert met.names() == []


async def test_what_members_take_is_free_again(autojump_clock: MockClock) -> None:
    """However they come and go, and where they were refused: places of their connection, rooms, all of it."""
    app, refused = App(limits=evolve(PATIENT, max_subscriptions=2, max_rooms=2, wind_down=1)), list[str]()
    people = app.presence("rooms/{room}", Who)

    @app.route("/", guard=public)
    async def be(conn: Connection[object]) -> None:
        for number in range(10):
            async with people(room=f"left {number}").joined(conn, Who("1")):
                with pytest.raises(ConfigurationError, match="already"):
                    async with people(room=f"left {number}").joined(conn, Who("2")):
                        raise AssertionError("twice")
            with trio.move_on_after(1):
                async with people(room="cancelled").joined(conn, Who("3")):
                    await trio.sleep_forever()
            with pytest.raises(Kicked):  # noqa: PT012 - where it is raised is the point
                async with people(room="kicked").joined(conn, Who("4")):
                    await people(room="kicked").kick(connection=conn.id, seconds=0)
                    await trio.sleep_forever()
        async with people(room="a").joined(conn, Who("5")), people(room="b").joined(conn, Who("6")):
            with pytest.raises(TooManyRequests, match="subscriptions"):
                async with people(room="c").joined(conn, Who("7")):
                    raise AssertionError("three")
        refused.append("the last")

    async with in_memory(app) as dial:
        await (await dial("/")).rest()
        assert refused == ["the last"]
        assert table_entries(app) == {}


async def test_nothing_is_left_of_who_came_back(autojump_clock: MockClock) -> None:
    """Who has been away for a moment, and then leaves, is as if it had always been there."""
    met = meeting(linger=10)
    async with serve(met.app) as served:
        async with served.connect("/tea/eve", headers=by(token("eve"))) as eve:
            assert await eve.receive() == "in"
            async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
                assert await ada.receive() == "in"
                ada.reset()
            await wait_all_tasks_blocked()
            async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
                assert await ada.receive() == "in"
                await ada.send(".")
                await ada.send("still connected")
                assert await ada.receive() == "still connected"
                assert met.names() == ["eve"]
                assert await met.room().kick(subject="ada", seconds=0) == 0
        await trio.sleep(20)
        assert table_entries(met.app) == {}


async def test_who_waits_for_a_block_to_end_waits_no_longer(autojump_clock: MockClock) -> None:
    """Where the connection is in the room still, the next block begins as soon as the one before it has ended."""
    app, began = App(limits=evolve(PATIENT, wind_down=8)), list[float]()
    people = app.presence("rooms", Who)

    @app.route("/", guard=public)
    async def be(conn: Connection[object]) -> None:
        async def first() -> None:
            async with people().joined(conn, Who("first")):
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                before = trio.current_time()
                async with people().joined(conn, Who("second")):
                    began.append(trio.current_time() - before)

    async with in_memory(app) as dial:
        await (await dial("/")).rest()
    assert began == [3.0]
