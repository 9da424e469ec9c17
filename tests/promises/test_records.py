"""What hostile connections leave in the log: a bounded, escaped line each, ten in a minute, and no fault of ours."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from seawall import App, Outcome, public
from seawall.observability.logs import JsonFormatter, TextFormatter
from seawall.observability.reports import log_end
from tests.kit.sockets import SHORT, Transport, echo, echo_app, surviving
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, PING, SOON, TEXT, close_frame, frame, request
from tests.promises.requests import REFUSED
from tests.promises.violations import SMALL, VIOLATIONS

pytestmark = pytest.mark.slow

POISON: Final = (
    b"\x1b[31m",
    b"\r\nfake 127.0.0.1 line",
    "\u202e\u2028\x85".encode(),
    b"\xff\xfe\x00",
    b"%s%n{0}",
    b"A" * 20_000,
)


def hostilities(count: int) -> Iterator[bytes]:
    """What is sent over `count` connections, before their senders leave."""
    rng = random.Random(26)
    for number in range(count):
        bad = POISON[number % len(POISON)]
        match rng.randrange(7):
            case 0:
                yield rng.randbytes(rng.randrange(1, 500))
            case 1:
                yield request("/").replace(b"GET /", b"GET /" + bad)
            case 2:
                yield request("/echo", b"Origin: " + bad)
            case 3:
                yield request("/echo", b"Cookie: " + bad, host=bad[:100])
            case 4:
                yield request() + close_frame(4000, ("bye\x1b[2J\r\n" + "\u202e" * 30).encode())
            case 5:
                yield request() + frame(TEXT, bad)
            case _:
                yield request() + frame(CLOSE, rng.randbytes(rng.randrange(3, 100)))


@contextmanager
def written(formatter: logging.Formatter) -> Generator[io.StringIO]:
    """What the server writes into its log, as it is configured by default."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    logger = logging.getLogger("seawall")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield output
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.usefixtures("calm")
async def test_a_hostile_run_leaves_bounded_lines(over: Transport) -> None:
    """Hundreds of cases write kilobytes, without a byte that a terminal or a parser of logs would obey.

    Most are folded into a number; their lines, which are written afterwards, are as harmless.
    """
    broken = [request() + frames for frames, _ in VIOLATIONS.values()]
    cases = [*hostilities(100), *(ask for ask, _ in REFUSED.values()), *broken]
    outcomes = list[Outcome]()
    app = App(limits=SMALL, on_end=outcomes.append)
    app.route("/echo", guard=public)(echo)
    async with surviving(app, over) as place:
        with written(TextFormatter()) as text, written(JsonFormatter()) as structured:
            for sent in cases:
                client = await place.dial()
                await client.send(sent)
                client.finish()
                await client.eof()
            await place.idle(1)
        assert len(outcomes) == len(cases)
    with written(TextFormatter()) as all_text, written(JsonFormatter()) as all_structured:
        for outcome in outcomes:
            log_end(outcome)
    assert text.getvalue().count("\n") < len(cases)  # some are no refusals
    for output, whole, size in ((text, all_text, 250), (structured, all_structured, 500)):
        assert whole.getvalue().count("\n") == len(outcomes)
        found = [*output.getvalue().splitlines(), *whole.getvalue().splitlines()]
        assert len(found) == output.getvalue().count("\n") + whole.getvalue().count("\n")
        assert sum(map(len, found)) < 2 * size * len(cases)
        assert all(line.isprintable() and len(line) < 1000 for line in found)
        assert not any(line.startswith("fake") for line in found)


@pytest.mark.usefixtures("calm")
async def test_noise_after_a_good_handshake_is_survived(over: Transport) -> None:
    """Good frames with a byte changed, cut at random, in any order: always an answer or the end, never a hang."""
    rng = random.Random(7)
    good = [
        frame(TEXT, b"hello"),
        frame(BINARY, bytes(300)),
        frame(PING, b"p"),
        frame(CONTINUATION, b"c"),
        close_frame(),
    ]
    async with surviving(echo_app(limits=SHORT), over, within=SOON) as place:
        for _ in range(100):
            noise = bytearray(b"".join(rng.choices(good, k=rng.randrange(1, 6))))
            noise[rng.randrange(len(noise))] = rng.randrange(256)
            client = await place.open(then=bytes(noise[: rng.randrange(1, len(noise) + 1)]))
            await client.send(close_frame())
            client.finish()
            await client.end(answer=False)
