"""In which order events are handled and answered, what runs at the same time, and what ends them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Events, Limits, public
from seawall.events.running import MAX_STREAMS
from seawall.testing import connect, serve
from tests.kit.memory import living
from tests.kit.talk import Count, Item, Message, Said, Say, Talker, Tick, Wait, app_of, error, talking, with_ref


class Journal:
    """Events that write down when they begin and how they end."""

    def __init__(self, *, concurrent: int = 1) -> None:
        """Write nothing yet."""
        self.lines: list[str] = []
        self.events = events = Events[Anonymous](concurrent=concurrent)

        @events.on(Wait)
        async def wait(conn: Connection[Anonymous], message: Wait) -> None:
            await self.written(f"wait {message.seconds:g}", message.seconds)

        @events.on(Say)
        async def say(conn: Connection[Anonymous], message: Say) -> Said:
            await self.written(message.text, 0)
            return Said(message.text)

        @events.on(Count)
        async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Tick]:
            try:
                for n in range(message.n):
                    yield Tick(n)
                    await trio.sleep(1)
            finally:
                self.lines.append(f"count {message.n} ended")

    async def written(self, name: str, seconds: float) -> None:
        """Take so long."""
        self.lines.append(f"{name} begins")
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.lines.append(f"{name} cancelled")
            raise
        self.lines.append(f"{name} ends")


@pytest.mark.parametrize("refs", [(None, None, None), (1, 2, 3), (1, None, 2), (None, 1, None)], ids=repr)
async def test_in_order(refs: tuple[int | None, ...], autojump_clock: MockClock) -> None:
    """With or without a ref, the next event begins when the one before has ended, and is answered after it."""
    journal = Journal()
    async with talking(journal.events) as talker:
        messages: list[Message] = [
            {"type": "wait", "seconds": 3},
            {"type": "say", "text": "a"},
            {"type": "wait", "seconds": 1},
        ]
        await talker.say(*(with_ref(one, ref) for one, ref in zip(messages, refs, strict=True)))
        await trio.sleep(10)
    assert journal.lines == [f"{name} {how}" for name in ("wait 3", "a", "wait 1") for how in ("begins", "ends")]


async def test_a_stream_holds_nothing_up(autojump_clock: MockClock) -> None:
    """What comes after a stream is handled while it runs."""
    async with talking(Journal().events) as talker:
        await talker.say({"type": "count", "ref": 1}, {"type": "say", "ref": 2, "text": "a"})
        heard = await talker.hear_many(5)
    assert [(one["type"], one["re"]) for one in heard] == [
        ("tick", 1), ("said", 2), ("tick", 1), ("tick", 1), ("end", 1),
    ]  # fmt: skip


async def test_so_many_streams_at_a_time(autojump_clock: MockClock) -> None:
    """The stream that is one too many waits for one that ends, and what came after it waits with it."""
    async with talking(Journal().events) as talker:
        await talker.say(*({"type": "count", "ref": n, "n": 2} for n in range(MAX_STREAMS)))
        await talker.say({"type": "count", "ref": "late", "n": 1}, {"type": "say", "ref": "later", "text": "a"})
        first = await talker.hear_many(MAX_STREAMS)
        assert {one["re"] for one in first} == set(range(MAX_STREAMS))
        await talker.silence(0.5)
        rest = await talker.hear_many(2 * MAX_STREAMS + 3)
        assert {one["re"] for one in rest} == {*range(MAX_STREAMS), "late", "later"}


async def test_a_stream_that_waits_for_room_is_cancelled_at_once(autojump_clock: MockClock) -> None:
    """It does not run, and what came after it is handled."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say(*({"type": "count", "ref": n, "n": 100} for n in range(MAX_STREAMS)))
        await talker.hear_many(MAX_STREAMS)
        await talker.say({"type": "count", "ref": "late", "n": 1}, {"type": "say", "ref": "later", "text": "a"})
        await talker.say({"type": "cancel", "ref": "late"})
        assert {str(one["re"]): one["type"] for one in await talker.hear_many(2)} == {"late": "error", "later": "said"}
    assert "count 1 ended" not in journal.lines


@pytest.mark.parametrize("ref", [None, 1])
async def test_several_at_once(ref: int | None, autojump_clock: MockClock) -> None:
    """With concurrent=2, two events run at a time and a third one waits; answers come as they are ready."""
    journal = Journal(concurrent=2)
    async with talking(journal.events) as talker:
        for n, seconds in enumerate((3, 1, 5)):
            await talker.say(with_ref({"type": "wait", "seconds": seconds}, None if ref is None else n))
        await trio.sleep(0.5)
        assert journal.lines == ["wait 3 begins", "wait 1 begins"]
        await trio.sleep(1)
        assert journal.lines[2:] == ["wait 1 ends", "wait 5 begins"]
        if ref is not None:
            assert [one["re"] for one in await talker.hear_many(3)] == [1, 0, 2]
        await trio.sleep(10)
    assert journal.lines[4:] == ["wait 3 ends", "wait 5 ends"]


async def test_a_cancel_acts_while_all_are_busy(autojump_clock: MockClock) -> None:
    """With concurrent=2 a cancel is seen too while two events run and others wait."""
    journal = Journal(concurrent=2)
    async with talking(journal.events) as talker:
        await talker.say(*({"type": "wait", "ref": n, "seconds": 9} for n in range(4)))
        await talker.say({"type": "cancel", "ref": 1}, {"type": "cancel", "ref": 3})
        assert sorted(str(one) for one in await talker.hear_many(2)) == [str(error("cancelled", n)) for n in (1, 3)]
        assert {one["re"] for one in await talker.hear_many(2)} == {0, 2}
    assert journal.lines.count("wait 9 begins") == 3


# Cancelling.


async def test_cancel_during_a_handler(autojump_clock: MockClock) -> None:
    """The handler is cancelled where it waits, its client is told, and the next event is handled."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say({"type": "wait", "ref": 1, "seconds": 100}, {"type": "say", "ref": 2, "text": "a"})
        await trio.sleep(1)
        assert await talker.ask({"type": "cancel", "ref": 1}) == error("cancelled", 1)
        assert (await talker.hear())["re"] == 2
    assert journal.lines[:2] == ["wait 100 begins", "wait 100 cancelled"]


async def test_cancel_of_an_event_that_waits(autojump_clock: MockClock) -> None:
    """It is answered at once and never handled; those before and behind it are."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say({"type": "wait", "ref": 1, "seconds": 5})
        await talker.say(*({"type": "say", "ref": n, "text": str(n)} for n in (2, 3, 4)))
        assert await talker.ask({"type": "cancel", "ref": 3}) == error("cancelled", 3)
        assert [one["re"] for one in await talker.hear_many(3)] == [1, 2, 4]
        await talker.say({"type": "say", "ref": 3, "text": "again"})
        assert (await talker.hear())["re"] == 3
    assert "3 begins" not in journal.lines


async def test_cancel_before_and_after(autojump_clock: MockClock) -> None:
    """A cancel for what has not come, or has been answered, is about nothing, and says nothing."""
    async with talking(Journal().events) as talker:
        await talker.say({"type": "cancel", "ref": 1}, {"type": "say", "ref": 1, "text": "a"})
        assert (await talker.hear())["type"] == "said"
        await talker.say({"type": "cancel", "ref": 1}, {"type": "cancel", "ref": 1})
        await talker.silence(5)


async def test_cancel_of_an_event_without_a_ref(autojump_clock: MockClock) -> None:
    """It cannot be named: a cancel acts on nothing else."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say({"type": "wait", "seconds": 2}, {"type": "cancel", "ref": 1})
        await trio.sleep(5)
    assert journal.lines == ["wait 2 begins", "wait 2 ends"]


async def test_a_handler_that_finishes_all_the_same(autojump_clock: MockClock) -> None:
    """One that shields its end is answered once: with what it returns if nothing in it was cancelled."""
    events = Events[Anonymous]()

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        if message.text == "look":
            await trio.lowlevel.checkpoint()
        return Said("done")

    async with talking(events) as talker:
        await talker.say({"type": "say", "ref": 1, "text": "look"}, {"type": "cancel", "ref": 1})
        assert await talker.hear() == error("cancelled", 1)
        await talker.say({"type": "say", "ref": 2, "text": ""}, {"type": "cancel", "ref": 2})
        assert await talker.hear() == error("cancelled", 2)  # nothing is sent from a scope that is cancelled
        await talker.silence(10)


@pytest.mark.parametrize("timeout", [None, 60.0], ids=["plain", "bounded"])
async def test_cancel_of_a_stream_behind_an_event_without_a_ref(
    timeout: float | None, autojump_clock: MockClock
) -> None:
    """It acts at once, although the event takes long; this one and those behind it are handled in their order."""
    events = Events[Anonymous]()

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Tick]:
        yield Tick(0)
        await trio.sleep_forever()

    @events.on(Wait, timeout=timeout)
    async def wait(conn: Connection[Anonymous], message: Wait) -> Said:
        await trio.sleep(message.seconds)
        return Said(f"{message.seconds:g}")

    async with talking(events) as talker:
        await talker.say({"type": "count", "ref": 8}, {"type": "wait", "seconds": 9}, {"type": "wait", "seconds": 1})
        assert await talker.hear() == {"type": "tick", "re": 8, "n": 0}
        began = trio.current_time()
        assert await talker.ask({"type": "cancel", "ref": 8}) == error("cancelled", 8)
        assert trio.current_time() - began < 1
        assert await talker.hear_many(2) == [{"type": "said", "text": "9"}, {"type": "said", "text": "1"}]


async def test_cancel_of_a_stream(autojump_clock: MockClock) -> None:
    """What has been yielded has been sent; the generator's `finally` runs, and then the client is told."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say({"type": "count", "ref": 1, "n": 100})
        await talker.hear_many(3)
        await talker.say({"type": "cancel", "ref": 1})
        assert await talker.hear() == error("cancelled", 1)
        assert journal.lines == ["count 100 ended"]
        await talker.silence(5)


@pytest.mark.parametrize("where", ["waits", "sends"])
async def test_the_cleanup_of_a_stream_is_bounded(where: str, autojump_clock: MockClock) -> None:
    """A `finally` may wait, for ``wind_down`` seconds at most, if it was not running when it was cancelled."""
    began, ended = list[float](), list[float]()
    events = Events[Anonymous]()

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        try:
            while True:
                yield Said("x" * 10_000 if where == "sends" else "x")
                if where == "waits":
                    await trio.sleep(1)
        finally:
            began.append(trio.current_time())
            try:
                await trio.sleep_forever()  # noqa: ASYNC102 - what is bounded
            finally:
                ended.append(trio.current_time())

    app = app_of(events, limits=Limits(wind_down=0.5, outbound_buffer=20_000, send_timeout=100, drain_timeout=50))
    async with serve(app) as serving, serving.connect("/") as client:
        talker = Talker(client)
        await talker.say({"type": "count", "ref": 1})
        await talker.hear()
        if where == "sends":
            client.stall()
            await trio.sleep(1)
        await talker.say({"type": "cancel", "ref": 1})
        await trio.sleep(5)
        client.resume()
        while (heard := await talker.hear())["type"] == "said":
            pass
        assert heard == error("cancelled", 1)
    assert ended[0] - began[0] == (0.5 if where == "sends" else 0)


async def test_a_stream_without_a_ref_ends_with_the_connection(autojump_clock: MockClock) -> None:
    """Nobody can cancel it, and it does not keep a connection open whose peer has gone, or that is draining."""
    journal = Journal()
    async with talking(journal.events) as talker:
        await talker.say({"type": "count", "n": 100})
        await talker.hear_many(2)
    assert journal.lines == ["count 100 ended"]


# The end.


async def test_events_that_run_have_time_when_the_peer_leaves(autojump_clock: MockClock) -> None:
    """An event that is being handled may end, as a handler may: within ``wind_down``; it has nobody to answer."""
    journal = Journal()
    async with connect(app_of(journal.events, limits=Limits(wind_down=2)), "/") as client:
        await Talker(client).say({"type": "wait", "ref": 1, "seconds": 3}, {"type": "wait", "ref": 2, "seconds": 1})
        await trio.sleep(1.5)
        await client.aclose()
        await trio.sleep(10)
    assert journal.lines == ["wait 3 begins", "wait 3 ends", "wait 1 begins", "wait 1 ends"]


async def test_two_events_and_one_cannot_answer(autojump_clock: MockClock) -> None:
    """That one has nobody to answer cancels no other: it goes on for its time."""
    journal = Journal(concurrent=2)
    async with connect(app_of(journal.events, limits=Limits(wind_down=5)), "/") as client:
        await Talker(client).say({"type": "wait", "ref": 1, "seconds": 1}, {"type": "wait", "ref": 2, "seconds": 3})
        await trio.sleep(0.5)
        await client.aclose()
        await trio.sleep(10)
    assert journal.lines == ["wait 1 begins", "wait 3 begins", "wait 1 ends", "wait 3 ends"]


async def test_draining(autojump_clock: MockClock) -> None:
    """What has come is handled and answered, streams are cancelled, and the connection ends with 1001."""
    journal = Journal()
    async with serve(app_of(journal.events)) as serving, serving.connect("/") as client:
        talker = Talker(client)
        await talker.say({"type": "count", "ref": 0, "n": 100}, {"type": "wait", "ref": 1, "seconds": 2.5})
        await talker.say({"type": "say", "ref": 2, "text": "a"})
        assert (await talker.hear())["type"] == "tick"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.server.aclose)
            heard: list[dict[str, object]] = []
            while (one := await talker.hear())["type"] != "said":
                heard.append(one)
            assert heard[-1] == {"type": "done", "re": 1}
            assert one == {"type": "said", "re": 2, "text": "a"}
            assert await talker.hear() == error("cancelled", 0)
            assert (await talker.end()).code == 1001
    assert journal.lines[-1] == "count 100 ended"


async def test_closing_while_events_wait(autojump_clock: MockClock) -> None:
    """What waits behind an event is thrown away when the application closes; that event ends in its time."""
    journal = Journal()
    app = App(limits=Limits(wind_down=5))

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(close_later, conn)
        await journal.events(conn)
        journal.lines.append("over")

    async def close_later(conn: Connection[Anonymous]) -> None:
        await trio.sleep(1)
        conn.close_nowait(4000, "enough")

    async with talking(app) as talker:
        await talker.say(*({"type": "wait", "ref": n, "seconds": 3} for n in range(4)))
        assert await talker.end() == (4000, "enough")
        await trio.sleep(10)
    assert journal.lines == ["wait 3 begins", "wait 3 ends", "over"]


async def test_discarding_input_while_events_wait(autojump_clock: MockClock) -> None:
    """After `discard_input` in an event nothing more is handled, and nothing fails."""
    events = Events[Anonymous]()
    handled: list[str] = []

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        handled.append(message.text)
        await trio.sleep(1)
        conn.discard_input()
        return Said("deaf")

    async with talking(events) as talker:
        await talker.say(*({"type": "say", "ref": n, "text": str(n)} for n in range(4)))
        assert (await talker.hear())["re"] == 0
        await talker.say({"type": "say", "ref": 9, "text": "?"})
        await talker.silence(100)
    assert handled == ["0"]


async def test_who_awaits_the_events_may_stop(autojump_clock: MockClock) -> None:
    """When ``await events(conn)`` is cancelled, so is all that it has begun; it may be awaited anew."""
    journal = Journal()
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        before = living()
        for _ in range(2):
            with trio.move_on_after(2):
                await journal.events(conn)
            await wait_all_tasks_blocked()
            assert living() == before
            await conn.send("again")
        assert await conn.receive() == "raw"

    async with talking(app) as talker:
        for _ in range(2):
            await talker.say({"type": "count", "ref": 2, "n": 9}, {"type": "wait", "ref": 1, "seconds": 9})
            heard = [await talker.client.receive()]
            while heard[-1] != "again":
                heard.append(await talker.client.receive())
            assert "cancelled" in str(heard[-2])
        await talker.client.send("raw")
    assert journal.lines.count("wait 9 cancelled") == 2


async def test_two_connections_share_nothing(autojump_clock: MockClock) -> None:
    """A ref that is in use on one connection is free on the other, and a cancel acts on its own connection only."""
    async with serve(app_of(Journal().events)) as serving, serving.connect("/") as one, serving.connect("/") as other:
        first, second = Talker(one), Talker(other)
        for talker in (first, second):
            await talker.say({"type": "wait", "ref": 1, "seconds": 5})
        assert await first.ask({"type": "cancel", "ref": 1}) == error("cancelled", 1)
        assert await second.hear() == {"type": "done", "re": 1}


async def test_the_events_of_two_routes(autojump_clock: MockClock) -> None:
    """One `Events` serves several routes."""
    events = Journal().events
    app = App()
    app.route("/one", guard=public)(events)
    app.route("/two", guard=public)(events)
    async with serve(app) as serving, serving.connect("/one") as one, serving.connect("/two") as two:
        for client in (one, two):
            assert (await Talker(client).ask({"type": "say", "ref": 1, "text": "a"}))["re"] == 1


async def test_other_events_after_the_first(autojump_clock: MockClock) -> None:
    """A handler may await one `Events` after another."""
    first, second = Events[Anonymous](), Events[Anonymous]()

    @first.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        scope.cancel()
        return Said("first")

    @second.on(Item)
    async def item(conn: Connection[Anonymous], message: Item) -> Item:
        return message

    scope = trio.CancelScope()
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        with scope:
            await first(conn)
        await second(conn)

    async with talking(app) as talker:
        await talker.say({"type": "say", "text": "a"})
        await wait_all_tasks_blocked()
        assert await talker.ask({"type": "item", "ref": 1, "id": 3}) == {"type": "item", "re": 1, "id": 3}
