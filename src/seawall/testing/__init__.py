"""Talk to an app in a test: over memory streams, with a real WebSocket client, and in virtual time if wanted.

::

    async def test_echo(autojump_clock):
        async with connect(app, "/echo") as client:
            await client.send("hello")
            assert await client.receive() == "hello"

Nothing is mocked: the request is parsed, the guards run, frames are encoded and decoded. Only the network is a pair of
memory streams, so that a test needs no port and, under `trio.testing.MockClock`, no time.

What a client waits for is bounded, by an hour of virtual time, 30 s of real time, or `timeout`; `TimedOut` then says
what it waited for, what came instead, and how the connection stands.

A client can also fail as clients on the internet do: see `Client.stall`, `Client.reset`, `Client.half_close`,
`Client.unplugged`, `Client.ignore_pings` and `Client.ignore_close`. Their docstrings say what the app sees of it, and
when, with the default `Limits`.
"""

from seawall.testing.client import Client, Closed, CloseFrame, Rejected, Serving, connect, serve
from seawall.testing.network import MemoryListener
from seawall.testing.waiting import TimedOut

__all__ = ["Client", "CloseFrame", "Closed", "MemoryListener", "Rejected", "Serving", "TimedOut", "connect", "serve"]
