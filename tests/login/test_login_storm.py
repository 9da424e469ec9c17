"""A storm of log-ins beside an echo, in processes of their own: few hash at once, and nobody else waits for them."""

from __future__ import annotations

import json
import time

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.kit.processes import running

pytestmark = pytest.mark.slow

#: Seconds of a storm.
SECONDS = 4.0

#: How many storms there may be. Other programs disturb some, hardly all; what a fault of ours disturbs are all.
STORMS = 3

#: Seconds that an echo takes at the most where nobody storms, in 99 of 100 cases, or nothing can be said of a storm.
ALONE = 0.01


def echoed(client: ClientConnection, seconds: float) -> list[float]:
    """How long each echo takes for so many seconds, sorted."""
    took: list[float] = []
    ends = time.monotonic() + seconds
    while (begun := time.monotonic()) < ends:
        client.send("echo")
        assert client.recv() == "echo"
        took.append(time.monotonic() - begun)
        time.sleep(0.005)
    return sorted(took)


def p99(took: list[float]) -> float:
    """Their 99th percentile."""
    return took[len(took) * 99 // 100]


@pytest.mark.parametrize(("clients", "pause"), [(20, 0.0), (100, 0.5)])
def test_an_echo_beside_a_storm(clients: int, pause: float) -> None:
    """Its 99th percentile is at most 50 ms, while passwords are checked all the time."""
    with running("-m", "tests.kit.login_server") as server:
        port = int(server.stdout.wait_for(r"listening on (\d+)")[1])
        with connect(f"ws://localhost:{port}/echo") as client:
            alone = p99(echoed(client, 1))
            if alone > ALONE:
                pytest.skip(f"this machine is busy with others: alone, an echo takes {alone * 1e3:.0f} ms")
            took, measured = beside_a_storm(client, port, clients, pause)
            for _ in range(STORMS - 1):
                if took > 0.05:
                    took, measured = beside_a_storm(client, port, clients, pause)
    assert took <= 0.05, measured


def beside_a_storm(client: ClientConnection, port: int, clients: int, pause: float) -> tuple[float, str]:
    """The 99th percentile of the echoes beside one, and all that was measured."""
    with running("-m", "tests.kit.login_storm", *map(str, (port, clients, pause, SECONDS))) as storm:
        time.sleep(1)  # until they all storm
        took = echoed(client, SECONDS - 2)
        assert storm.wait() == 0
        statuses = json.loads(storm.stdout.text)
    measured = (
        f"{statuses}; {len(took)} echoes: median {took[len(took) // 2] * 1e3:.1f} ms, p99 {p99(took) * 1e3:.1f} ms"
    )
    assert statuses.get("401", 0) >= 4, measured  # passwords were checked all the time
    assert set(statuses) <= {"401", "429"}, measured
    return p99(took), measured
