"""A dashboard: many values that change all the time, of which a slow reader gets the newest and no others.

    python examples/dashboard.py

Open http://127.0.0.1:8765. Twelve wind turbines, which are made up, report ten times a second each. On a bad network
the page gets fewer of their reports, and never old ones.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import frozen

from seawall import Anonymous, App, Connection, Request, Response, public
from seawall.rooms import Latest

TURBINES = tuple(f"Turbine {number}" for number in range(1, 13))
INTERVAL = 0.1  # seconds between two reports of a turbine
RATED = 3000  # kW, at 12 m/s and above
WEATHER = random.Random()  # noqa: S311 - the weather is no secret
PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


@frozen
class Reading:
    """What a turbine reports."""

    turbine: str
    kilowatts: int
    wind: float
    """Metres a second."""
    number: int
    """Counts the reports of this turbine, so that the page can tell how many it did not need."""


def turbine_of(reading: Reading) -> str:
    """Which readings replace each other."""
    return reading.turbine


app = App()
readings = app.topic("readings", Reading, history=1, lag=Latest(turbine_of))  # and the newest of each


@app.lifespan
@asynccontextmanager
async def wind_farm() -> AsyncGenerator[None]:
    """The turbines, for as long as the app is served."""
    async with trio.open_nursery() as nursery:
        for turbine in TURBINES:
            nursery.start_soon(report, turbine)
        yield
        nursery.cancel_scope.cancel()


async def report(turbine: str) -> None:
    """Publish what one turbine measures. Nobody who reads slowly holds it up."""
    wind = WEATHER.uniform(6, 12)
    number = 0
    while True:
        await trio.sleep(INTERVAL * WEATHER.uniform(0.8, 1.2))
        number += 1
        wind += 0.02 * (9.5 - wind) + WEATHER.gauss(0, 0.3)
        wind = min(max(wind, 2), 16)
        kilowatts = round(RATED * min(max((wind - 3) / 9, 0), 1) ** 3)
        await readings().publish(Reading(turbine, kilowatts, round(wind, 1), number))


@app.route("/live", guard=public)
async def live(conn: Connection[Anonymous]) -> None:
    """Send what the turbines report, until the server stops."""
    conn.discard_input()
    async with conn.subscribe(readings()):
        await conn.draining.wait()


# The page.


def content_security_policy(page: str) -> str:
    """What a browser allows the page: the one script and the one style in it, and to connect to where it came from."""
    hashes: list[str] = []
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes.append(f"{element}-src 'sha256-{digest}'")
    rest = "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; {'; '.join(hashes)}; {rest}"


POLICY = content_security_policy(PAGE)


@app.page("/")
async def page(request: Request[Anonymous]) -> Response:
    """The page, the same for everybody."""
    return Response(PAGE, media_type="text/html; charset=utf-8", headers=[("Content-Security-Policy", POLICY)])


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if sys.argv[1:] else 8765)
