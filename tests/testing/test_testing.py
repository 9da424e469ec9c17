"""The test kit that users get: what it connects, what it raises, and that it gets out of a test's way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    ConfigurationError,
    Connection,
    ErrorPolicy,
    Escalate,
    Forbidden,
    Gate,
    Limits,
    guard,
    public,
)
from seawall.testing import Client, Closed, Rejected, Serving, connect, serve
from seawall.testing.network import MemoryListener
from tests.kit.memory import living


class Trouble(Exception):
    """Something that escalates."""


def echoing() -> App:
    """An app that echoes at ``/echo`` and refuses at ``/private``."""
    app = App(errors=ErrorPolicy().on(Trouble, Escalate()), limits=Limits(max_connections=2))

    @app.route("/echo", guard=public, subprotocols=["v2", "v1"])
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            if message == "raise":
                raise Trouble
            if message == "close":
                await conn.aclose(4000, "as you wish")
            if message == "headers":
                await conn.send(f"{conn.handshake.header('x-test')} {conn.handshake.query} {conn.handshake.host}")
            await conn.send(message)

    @guard
    async def closed(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden(retry_after=3)

    @app.route("/private", guard=closed)
    async def private(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    return app


async def end_of(client: Client) -> None:
    """Let the app close, and trip over it."""
    await client.send("close")
    await client.receive()


async def test_the_example(autojump_clock: MockClock) -> None:
    """What the docstring promises: text and bytes go there and back."""
    before = living()
    async with connect(echoing(), "/echo") as client:
        for message in ("hello", b"\x00\xff", "", "ü" * 100_000):
            await client.send(message)
            assert await client.receive() == message
    assert living() == before


async def test_headers_and_subprotocols(autojump_clock: MockClock) -> None:
    """Header fields as a mapping or as pairs, the query, the host and the subprotocols arrive."""
    for headers in ({"X-Test": "b\xe4r"}, [("X-Test", "b\xe4r")]):
        async with connect(echoing(), "/echo?a=b", headers=headers, subprotocols=["v1", "v3"], host="x.test") as client:
            assert client.subprotocol == "v1"
            await client.send("headers")
            assert await client.receive() == "b\xe4r a=b x.test"
    async with connect(echoing(), "/echo") as client:
        assert client.subprotocol is None


async def test_rejected(autojump_clock: MockClock) -> None:
    """A refusal is raised with its status, its headers and its body; it is no group."""
    with pytest.raises(Rejected) as caught:
        async with connect(echoing(), "/private"):
            raise AssertionError
    assert caught.value.status == 403
    assert caught.value.body == "forbidden\n"
    assert caught.value.header("retry-after") == "3"
    assert caught.value.header("X-Nothing") is None
    with pytest.raises(Rejected) as caught:
        async with connect(echoing(), "/nowhere"):
            raise AssertionError
    assert caught.value.status == 404
    assert str(caught.value) == "404 not found"


@pytest.mark.parametrize("code", [1005, 99999, 0])
async def test_a_client_sends_no_code_that_nobody_may_send(code: int, autojump_clock: MockClock) -> None:
    """It is said so, and the connection goes on."""
    async with connect(echoing(), "/echo") as client:
        with pytest.raises(ConfigurationError, match=rf"^aclose\({code}\): not a code that a client may send"):
            await client.aclose(code)
        await client.send("still here")
        assert await client.receive() == "still here"


async def test_closed(autojump_clock: MockClock) -> None:
    """When the app has closed, receiving and sending say how; what came before it is received first."""
    async with connect(echoing(), "/echo") as client:
        await client.send("one")
        await client.send("close")
        await trio.sleep(0.5)
        assert await client.receive() == "one"
        for attempt in (client.receive, client.receive, lambda: client.send("two")):
            with pytest.raises(Closed) as caught:
                await attempt()
            assert (caught.value.code, caught.value.reason) == (4000, "as you wish")
        assert await client.wait_closed() == (4000, "as you wish")
        assert (await client.wait_closed()).code == 4000


async def test_closing(autojump_clock: MockClock) -> None:
    """A client may close first, and still leave its block in order."""
    async with connect(echoing(), "/echo") as client:
        await client.aclose(4001, "bye")
        with pytest.raises(Closed):
            await client.receive()
        await client.aclose()


async def test_an_app_that_hangs_up(autojump_clock: MockClock) -> None:
    """A handshake that ends without an answer is 1006."""
    async with serve(echoing()) as serving:
        streams = [serving.open_stream() for _ in range(102)]  # two that may stay, a hundred that are told to go
        await wait_all_tasks_blocked()
        with trio.fail_after(10), pytest.raises(Closed) as caught:
            async with serving.connect("/echo"):
                raise AssertionError
        assert caught.value.code == 1006
        for stream in streams:
            await stream.aclose()


async def test_a_network_that_hangs_up(autojump_clock: MockClock) -> None:
    """The same when the request has already been read."""

    async def hang_up() -> None:
        stream = await listener.accept()
        await stream.receive_some()
        await stream.aclose()

    listener = MemoryListener()
    async with serve(echoing()) as served, trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        with trio.fail_after(10), pytest.raises(Closed) as caught:
            async with Serving(served.server, listener).connect("/echo"):
                raise AssertionError
        assert caught.value.code == 1006


async def test_a_failing_assertion_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """What a test raises is not wrapped into a group, wherever it raises it."""
    with pytest.raises(AssertionError, match=r"^mine$"):
        async with connect(echoing(), "/echo"):
            raise AssertionError("mine")
    with pytest.raises(AssertionError, match=r"^mine$"):
        async with serve(echoing()) as serving, serving.connect("/echo"), serving.connect("/echo"):
            raise AssertionError("mine")
    with pytest.raises(Closed):
        async with connect(echoing(), "/echo") as client:
            await end_of(client)


async def test_outcomes_come_out_as_they_are(autojump_clock: MockClock) -> None:
    """Skipping and failing a test are exceptions of their own kind; they are not wrapped either."""
    with pytest.raises(pytest.skip.Exception, match="mine"):
        async with connect(echoing(), "/echo"):
            pytest.skip("mine")
    with pytest.raises(pytest.fail.Exception, match="mine"):
        async with connect(echoing(), "/echo"):
            pytest.fail("mine")


async def test_cancelling_a_test(autojump_clock: MockClock) -> None:
    """A block that is cancelled from outside is left in time, and its server with it."""
    before = living()
    with trio.move_on_after(3) as patience:
        async with connect(echoing(), "/echo"):
            await trio.sleep_forever()
    assert patience.cancelled_caught
    assert trio.current_time() <= 3 + 5
    assert living() == before


async def test_what_the_app_escalates_comes_out(autojump_clock: MockClock) -> None:
    """A server that ends with an error ends the block with it."""
    with pytest.RaisesGroup(Trouble, flatten_subgroups=True):
        async with connect(echoing(), "/echo") as client:
            await client.send("raise")
            await trio.sleep_forever()


async def test_an_assertion_and_an_escalation(autojump_clock: MockClock) -> None:
    """When both the test and the server fail, neither is lost."""
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="mine"), Trouble, flatten_subgroups=True):
        async with connect(echoing(), "/echo") as client:
            await client.send("raise")
            await client.wait_closed()
            raise AssertionError("mine")


async def test_several_clients(autojump_clock: MockClock) -> None:
    """Clients of one served app are independent, also of the order in which they leave."""
    async with serve(echoing()) as serving, serving.connect("/echo") as one:
        async with serving.connect("/echo") as other:
            await one.send("1")
            await other.send("2")
            assert await other.receive() == "2"
        assert await one.receive() == "1"


async def test_draining_a_served_app(autojump_clock: MockClock) -> None:
    """The server is there for tests that stop it; afterwards nobody gets in."""
    async with serve(echoing()) as serving:
        async with serving.connect("/echo") as client, trio.open_nursery() as nursery:
            nursery.start_soon(serving.server.aclose)
            assert await client.wait_closed() == (1001, "going away")
        await serving.server.wait_closed()
        with pytest.raises(trio.BrokenResourceError):
            serving.open_stream()


async def test_a_listener_that_closes_hangs_up(autojump_clock: MockClock) -> None:
    """Connections that nobody has accepted end with the listener, as the kernel would reset them."""
    listener = MemoryListener()
    streams = [listener.connect(), listener.connect()]
    await listener.aclose()
    with trio.fail_after(1):
        for stream in streams:
            assert await stream.receive_some() == b""
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
