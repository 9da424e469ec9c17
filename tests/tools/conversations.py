"""Conversations that a client should not have with a server, each drawn from a seed and a number. No I/O.

The same seed and number give the same `Script` for ever, so that one that breaks something can be had again.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, TypeAlias, final

from attrs import evolve, frozen

from seawall.limits import Limits
from tests.kit.tokens import signed
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, close_frame, frame, request

#: Under what the server of `tests.tools.fuzz` runs: everything is easily too large, but a good client that shares a
#: busy machine with all the others is not easily too slow.
LIMITS: Final = Limits(
    handshake_timeout=12.0,
    auth_timeout=12.0,
    send_timeout=1.0,
    close_timeout=3.0,
    wind_down=0.1,
    drain_timeout=6.0,
    max_message_size=16 * 1024,
    max_fragments=64,
    inbound_buffer=512 * 1024,
    outbound_buffer=64 * 1024,
)

SECRET: Final = "what the fuzz signs with, and nothing else does"

#: When the token expires: the year 2100, because the same number has to give the same bytes on every day.
FOREVER: Final = 4_102_444_800

#: The same with Pings of the server's between everything else. No answer is missed, because none ever comes.
PINGING: Final = evolve(LIMITS, ping_interval=0.05, ping_timeout=60.0)

#: What the guard of ``/talk`` wants to hear.
PASSWORD: Final = b"friend"

#: The routes of the server of `tests.tools.fuzz`; the first one is asked for most.
ROUTES: Final = ("/echo", "/busy", "/pour", "/ticks", "/fickle", "/curt", "/brief", "/held", "/member", "/talk")

#: Sizes at which something about a frame changes.
SIZES: Final = (0, 0, 1, 2, 5, 125, 126, 127, 300, 4096)

Step: TypeAlias = bytes | float
Rewrite: TypeAlias = Callable[[random.Random, list[bytes]], list[bytes]]


@final
class Ending(enum.Enum):
    """What a client does when it has said everything."""

    POLITE = "wait for every echo, then close as one should"
    FINISH = "wait for an answer, half-close, and read to the end"
    HASTE = "half-close, and read to the end"
    WAIT = "read to the end"
    LEAVE = "close the TCP connection"
    RESET = "reset the TCP connection"
    STALL = "read nothing for a while, then as HASTE"
    DEAF = "read nothing ever, then reset the TCP connection"

    @property
    def reads(self) -> bool:
        """Whether the client reads from the beginning."""
        return self not in {Ending.STALL, Ending.DEAF}


@final
@frozen(kw_only=True)
class Script:
    """What one client does."""

    name: str
    """How it was made."""
    steps: tuple[Step, ...]
    """Segments, and pauses in seconds."""
    ending: Ending
    status: int | None = None
    """The HTTP status that it must get; None if that is not known."""
    is_raw: bool = False
    """Leave TLS out, even where it is spoken."""

    @property
    def sent(self) -> bytes:
        """All that it says."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))


def compose(seed: int, number: int) -> Script:
    """The conversation with this number."""
    rng = random.Random(f"{seed}/{number}")
    (make,) = rng.choices([make for make, _ in _KINDS], [weight for _, weight in _KINDS])
    return make(rng)


# Good conversations


@cache
def credentials() -> bytes:
    """The header that lets one into ``/member``."""
    presented = signed({"aud": "fuzz", "iss": "fuzz", "sub": "fuzzer", "exp": FOREVER}, SECRET)
    return b"Authorization: Bearer " + presented.encode()


def opening(rng: random.Random, path: str) -> bytes:
    """A good request for `path`."""
    extra = [credentials()] if path == "/member" else []
    if rng.random() < 0.2:
        extra.append(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    if rng.random() < 0.1:
        extra += [b"X-%d: %s" % (number, b"v" * rng.randrange(200)) for number in range(rng.randrange(20))]
    return request(path, *extra)


def words(rng: random.Random, size: int) -> bytes:
    """About `size` bytes of UTF-8, of all lengths of characters."""
    return "".join(rng.choice("aé€😀\x00") for _ in range(size // 2)).encode()


def message(rng: random.Random) -> list[bytes]:
    """The frames of one message, perhaps with control frames between them."""
    is_text, size = rng.random() < 0.5, rng.choice(SIZES)
    payload = words(rng, size) if is_text else rng.randbytes(size)
    parts = [payload]
    while rng.random() < 0.3:
        last = parts.pop()
        at = rng.randrange(len(last) + 1)
        parts += [last[:at], last[at:]]
    opcodes = [TEXT if is_text else BINARY, *[CONTINUATION] * (len(parts) - 1)]
    found: list[bytes] = []
    for number, (opcode, part) in enumerate(zip(opcodes, parts, strict=True), 1):
        found.append(frame(opcode, part, fin=number == len(parts), mask=rng.randbytes(4)))
        if rng.random() < 0.1:
            found.append(control(rng))
    return found


def control(rng: random.Random) -> bytes:
    """A Ping or a Pong."""
    return frame(rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 4, 125))), mask=rng.randbytes(4))


def farewell(rng: random.Random) -> bytes:
    """A good Close frame."""
    reason = words(rng, 20)
    return rng.choice((frame(CLOSE), close_frame(), close_frame(rng.choice((1001, 1011, 3000, 4999)), reason)))


def conversation(rng: random.Random, path: str | None = None) -> list[bytes]:
    """A request and the frames that follow it."""
    path = path or rng.choice(ROUTES if rng.random() < 0.5 else ROUTES[:1])
    found = [opening(rng, path)]
    if path == "/talk" and rng.random() < 0.8:
        found.append(frame(TEXT, PASSWORD))
    for _ in range(rng.randrange(8)):
        found += message(rng)
    return [*found, farewell(rng)] if rng.random() < 0.5 else found


# What is done to them


def flip(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Change some bits, mostly of the frames."""
    return [*units[:1], _flipped(rng, b"".join(units[1:]))] if rng.random() < 0.8 else [_flipped(rng, b"".join(units))]


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9) if changed else 0):
        changed[rng.randrange(min(len(changed), rng.choice((8, 1 << 20))))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Stop in the middle."""
    whole = b"".join(units)
    return [whole[: rng.randrange(len(whole) + 1)]]


def repeat(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Say something again, sooner or later."""
    again = [rng.choice(units)] * rng.choice((1, 1, 2, 40))
    at = rng.randrange(len(units) + 1)
    return [*units[:at], *again, *units[at:]]


def reorder(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Say the same in another order."""
    kept = rng.choice((0, 1, 1, 1))
    return [*units[:kept], *rng.sample(units[kept:], len(units) - kept)]


def drop(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Leave something out."""
    at = rng.randrange(len(units))
    return [*units[:at], *units[at + 1 :]]


def splice(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Go on with another conversation, at the edge of a frame or anywhere."""
    other = conversation(rng)
    if rng.random() < 0.5:
        return [*units[: rng.randrange(1, len(units) + 1)], *other[rng.randrange(len(other)) :]]
    mine, theirs = b"".join(units), b"".join(other)
    return [mine[: rng.randrange(len(mine) + 1)], theirs[rng.randrange(len(theirs)) :]]


def intrude(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Put something in that does not belong there."""
    stranger = rng.choice((wild, misplaced, noise))(rng)
    at = rng.randrange(1, len(units) + 1)
    return [*units[:at], stranger, *units[at:]]


def wild(rng: random.Random) -> bytes:
    """A frame with a header of chance: opcode, bits, mask, and a length that is a lie or not written as it should."""
    first = rng.choice((rng.randrange(256), 0x80 | rng.choice((0, 1, 2, 8, 9, 10)), rng.choice((0, 1, 2, 9))))
    masked = 0x80 if rng.random() < 0.85 else 0
    size = rng.choice((rng.randrange(126), rng.randrange(1 << 16), 16 * 1024 + 1, 1 << 16, 1 << 31, 1 << 63))
    width = rng.choice((0, 2, 8))
    code = {0: size % 126, 2: 126, 8: 127}[width]
    length = (size % (1 << 8 * width)).to_bytes(width, "big") if width else b""
    return bytes([first, masked | code]) + length + rng.randbytes(4 + min(size, rng.randrange(400)))


def misplaced(rng: random.Random) -> bytes:
    """A frame that breaks one rule, or a pair of which the second one comes too late."""
    bad = (
        frame(CONTINUATION, b"stray"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(TEXT, b"half \xe2\x82", fin=True),
        frame(PING, b"", fin=False),
        frame(PING, bytes(126)),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, bytes(126)),
        close_frame(rng.choice((0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535))),
        close_frame(1000, b"\xff"),
        close_frame() + frame(PING, b"late"),
        close_frame() + frame(TEXT, b"late"),
        close_frame() * 2,
        frame(TEXT, b"one", fin=False) + frame(BINARY, b"two"),
        frame(TEXT, b"unmasked", mask=None),
        frame(BINARY, bytes(16 * 1024 + 1)),
        frame(rng.choice((3, 7, 11, 15)), b"unknown"),
        frame(TEXT, b"compressed", rsv=rng.randrange(1, 8)),
        frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * rng.choice((62, 63, 64)),
    )
    return rng.choice(bad)


def noise(rng: random.Random) -> bytes:
    """Bytes of chance."""
    return rng.randbytes(rng.choice((1, 10, 200, 2000)))


REWRITES: Final[tuple[Rewrite, ...]] = (flip, flip, truncate, repeat, reorder, drop, splice, intrude, intrude)


# Hostile request heads


def hostile(rng: random.Random) -> bytes:
    """A request that is wrong, or looks as if it were."""
    good = opening(rng, rng.choice(ROUTES))
    line = rng.choice(good.split(b"\r\n")[1:-2])
    poison = rng.choice((b"\x00", b"\r", b"\n", b"\xff", b"\x1b[31m", b"%s{0}", b"\r\n ", b"A" * 20_000, b"", b":"))
    changed = (
        good.replace(line, line + poison),
        good.replace(line + b"\r\n", b""),
        good.replace(line, line + b"\r\n" + line),
        good.replace(line, line.replace(b":", b" :")),
        good.replace(line, line.swapcase()),
        good.replace(b"GET", rng.choice((b"POST", b"HEAD", b"get", b"CONNECT", b"PRI", b""))),
        good.replace(b"HTTP/1.1", rng.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b""))),
        good.replace(b" /", rng.choice((b" ", b" //", b" http://localhost/", b" /%00", b" /\xe9", b" *", b"  /"))),
        good.replace(b": 13", rng.choice((b": 8", b": 13, 8", b": 013", b":13"))),
        good.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n"))),
        good.replace(KEY.encode(), rng.choice((b"", b"short", KEY[:-4].encode(), b"A" * 24, KEY.encode() * 2))),
        good.replace(b": websocket", rng.choice((b": h2c", b": h2c, WebSocket", b":"))),
        good.replace(b"Bearer ", rng.choice((b"Basic ", b"Bearer x", b"Bearer \xff", b"Bearer"))),
        good.replace(b"localhost", rng.choice((b"a@b", b"[::1", b"x:99999", b"xn--\xff", b""))),
        good[:-2] + b"Content-Length: 5\r\n\r\nhello",
        good[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        good[:-2] + b"Origin: https://elsewhere.example\r\n\r\n",
        good[:-2] + b"".join(b"X-%d: y\r\n" % number for number in range(rng.choice((90, 200)))) + b"\r\n",
        request(rng.choice(("/page", "/nowhere", "/"))).replace(b"Upgrade: websocket\r\n", b""),
        good.replace(b"Upgrade: websocket\r\n", b""),
        b"\r\n" * rng.randrange(1, 4) + good,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(100),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    )
    return rng.choice(changed)


# Whole scripts


def cut(rng: random.Random, units: Sequence[bytes]) -> tuple[Step, ...]:
    """Distribute it over segments, with pauses here and there."""
    whole, pieces = b"".join(units), list(units)
    match rng.randrange(4):
        case 0:
            pieces = [whole]
        case 1:
            edges = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(1, 6)))
            pieces = [whole[start:end] for start, end in zip([0, *edges], [*edges, len(whole)], strict=True)]
        case 2:
            at = rng.randrange(len(whole) + 1)
            pieces = [whole[:at], *[bytes([byte]) for byte in whole[at : at + 30]], whole[at + 30 :]]
        case _:
            pass
    steps: list[Step] = []
    for piece in filter(None, pieces):
        steps.append(piece)
        if rng.random() < 0.3:
            steps.append(0.0 if rng.random() < 0.7 else rng.uniform(0.0005, 0.01))
    return tuple(steps)


def _script(rng: random.Random, name: str, units: Sequence[bytes]) -> Script:
    """Say this and end somehow; who leaves without a word does so at any point."""
    steps, endings = (
        cut(rng, units),
        (Ending.FINISH, Ending.HASTE, Ending.LEAVE, Ending.RESET, Ending.STALL, Ending.DEAF),
    )
    (ending,) = rng.choices(endings, (50, 10, 12, 18, 2, 8))
    if ending in {Ending.LEAVE, Ending.RESET, Ending.DEAF}:
        steps = (*steps[: rng.randrange(len(steps) + 1)], rng.choice((0.0, rng.uniform(0, 0.02))))
    return Script(name=name, steps=steps, ending=ending)


def _good(rng: random.Random) -> Script:
    """Nothing is wrong with it; the others say little if this one fails."""
    units = [unit for unit in conversation(rng, "/echo") if unit[0] != 0x80 | CLOSE]
    return Script(name="good", steps=cut(rng, units), ending=Ending.POLITE, status=101)


def _abrupt(rng: random.Random) -> Script:
    """Good, but for how it ends."""
    return _script(rng, "abrupt", conversation(rng))


def _mutated(rng: random.Random) -> Script:
    units, names = conversation(rng), list[str]()
    while not names or rng.random() < 0.3:
        rewrite = rng.choice(REWRITES)
        units = rewrite(rng, units) or [b"\x00"]
        names.append(rewrite.__name__)
    return _script(rng, "+".join(names), units)


def _wild(rng: random.Random) -> Script:
    return _script(rng, "wild", [opening(rng, rng.choice(ROUTES)), *[wild(rng) for _ in range(rng.randrange(1, 5))]])


def _hostile(rng: random.Random) -> Script:
    return _script(rng, "hostile", [hostile(rng), *conversation(rng)[1:]])


def _noise(rng: random.Random) -> Script:
    if rng.random() < 0.5:
        return evolve(_script(rng, "noise", [noise(rng)]), is_raw=True)
    return _script(rng, "noise", [opening(rng, rng.choice(ROUTES)), noise(rng)])


def _flood(rng: random.Random) -> Script:
    """Very much of something small, or something large."""
    what = (
        frame(PING) * 2000,
        frame(PING, bytes(125)) * 300,
        frame(PONG) * 2000,
        frame(TEXT) * 2000,
        frame(TEXT, b"x" * 100) * 400,
        frame(BINARY, bytes(16 * 1024)) * 6,
        (frame(TEXT, b"", fin=False) + frame(CONTINUATION)) * 500,
    )
    return _script(rng, "flood", [opening(rng, rng.choice(ROUTES)), rng.choice(what)])


def _silent(rng: random.Random) -> Script:
    """Nothing at all, or not enough."""
    said = opening(rng, "/echo")[: rng.choice((0, 1, 100))]
    return evolve(_script(rng, "silent", [said]), is_raw=not said)


def _refused(rng: random.Random) -> Script:
    """What is answered with a known status."""
    path, status = rng.choice((("/page", 200), ("/echo", 426), ("/nowhere", 404)))
    head, ending = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode(), Ending.HASTE
    if rng.random() < 0.5:
        head, ending, status = request("/member"), Ending.WAIT, 401  # who half-closes here has left before the guard
    return Script(name="refused", steps=cut(rng, [head]), ending=ending, status=status)


_KINDS: Final[tuple[tuple[Callable[[random.Random], Script], int], ...]] = (
    (_good, 8),
    (_abrupt, 12),
    (_mutated, 40),
    (_wild, 8),
    (_hostile, 16),
    (_noise, 6),
    (_flood, 3),
    (_silent, 3),
    (_refused, 4),
)
