"""However hard some connections work, or make the server work, the others get their turn.

Fifty clients flood from a process of their own while an innocent connection echoes. The bounds are wide, because the
flood takes one of perhaps two cores, and all else the other one.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Final

import pytest
import trio

from seawall import Anonymous, Connection, Limits
from tests.kit.sockets import Transport, discard, echo_app, pour, serving
from tests.tools.flood import flooding

pytestmark = pytest.mark.slow

#: Seconds of this process that half of all echoes may take. What else the machine does is not counted; but the tracer
#: that measures coverage is, and Python takes about twice as long under it.
TYPICAL: Final = 0.25 if sys.gettrace() is None else 0.5

#: Seconds that any of them may take.
WORST: Final = 3.0

#: So that nobody is ended for the mere number of pieces.
ENDLESS: Final = Limits(max_fragments=1 << 60, close_timeout=0.5, wind_down=0.1)


async def drip(conn: Connection[Anonymous]) -> None:
    """Send little, and as fast as possible."""
    while True:
        await conn.send("x")


@pytest.mark.parametrize(
    ("kind", "over"),
    [
        ("pings", "plain"),
        ("texts", "plain"),
        ("fragments", "plain"),
        ("everything", "plain"),
        ("everything", "tls"),
    ],
)
async def test_a_flood_delays_nobody(kind: str, over: Transport) -> None:
    """Tiny frames, large ones, a handler that echoes, receives or sends as fast as it can: there is a turn for all."""
    app = echo_app(limits=ENDLESS, discard=discard, pour=pour, drip=drip)
    costs: list[float] = []
    async with serving(app, over) as place:
        client = await place.open()
        async with flooding(place.at, kind, 50):
            ends = trio.current_time() + 0.8
            while trio.current_time() < ends:
                before = time.process_time()
                assert await client.echo(b"innocent") < WORST
                costs.append(time.process_time() - before)
                await trio.sleep(0.01)
        place.hang_up()
    assert statistics.median(costs) < TYPICAL
