"""Talk to an app in a test: over memory streams, in virtual time if the test likes, with a real WebSocket client.

::

    async def test_echo(autojump_clock):
        async with connect(app, "/echo") as client:
            await client.send("hello")
            assert await client.receive() == "hello"

Nothing is mocked: the request is parsed, the guards run, frames are encoded and decoded. Only the network is a pair of
memory streams, so that a test needs no port and, under `trio.testing.MockClock`, no time.

What goes wrong on the internet a client does when it is told to: see `Client.stall`, `Client.reset`,
`Client.half_close`, `Client.unplugged`, `Client.ignore_pings` and `Client.ignore_close`. Each says what the app gets to
see of it, and when, with `Limits` as they are by default.
"""

from seawall.testing.client import Client, Closed, CloseFrame, Rejected, Serving, connect, serve
from seawall.testing.network import MemoryListener

__all__ = ["Client", "CloseFrame", "Closed", "MemoryListener", "Rejected", "Serving", "connect", "serve"]
