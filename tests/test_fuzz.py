"""Thousands of clients of chance, and that the machinery which holds them against the book would notice a fault.

``nox -s fuzz`` runs longer, with another seed each time.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

import pytest
import trio

from seawall import Anonymous, Connection
from seawall.serving.listening import Address
from tests.kit.sockets import UNDISTURBED, Handler, echo, until
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, close_frame, frame, request
from tests.tools.conversations import LIMITS, REWRITES, Ending, compose
from tests.tools.fuzz import Over, Plan, converse, describe, fuzz, opened, patient_app, watched
from tests.tools.oracle import accept, check, hear

pytestmark = pytest.mark.slow

#: Any will do; one that has found something belongs here for as long as it takes to write a test of its own.
SEED: Final = 6455

#: How many conversations are held over what: ten seconds of work in all.
SHARES: Final[dict[Over, int]] = {"tcp": 1300, "stream": 600, "tls": 350, "unix": 450}

#: What conversations of chance must have led to; if they do not, they are no test of anything.
REACHED: Final = frozenset(
    {
        *(str(status) for status in (101, 200, 400, 401, 404, 426)),
        *(f"close {code}" for code in (1000, 1002, 1007, 1009)),
        *(ending.name for ending in Ending),
        *(rewrite.__name__ for rewrite in REWRITES),
        "messages",
    }
)


@pytest.mark.parametrize("over", SHARES)
async def test_whatever_clients_do_the_server_answers_by_the_book_and_keeps_nothing(over: Over) -> None:
    """It logs no failure, forgets everything, disturbs no innocent connection, and is never wrong about a frame."""
    run = await fuzz(Plan(over=over, seed=SEED, numbers=range(SHARES[over]), seconds=12.0))
    if run.held == SHARES[over]:  # else time was up, on a machine that has other things to do
        assert run.tally.keys() >= REACHED, REACHED - run.tally.keys()


@pytest.mark.parametrize("how", ["drained", "cancelled"])
async def test_stopping_in_the_middle_of_it_all_is_bounded_and_calm(how: str) -> None:
    """However wild the clients are just then, the server ends in time, and logs no failure."""
    numbers, stopped = itertools.count(), trio.Event()

    async def go_on(address: Address) -> None:
        while not stopped.is_set():
            try:
                await converse(address, compose(SEED, next(numbers)))
            except* (AssertionError, OSError, trio.BrokenResourceError):
                pass  # what a server that stops says is not what the book expects of one that goes on

    with watched() as watch:
        async with trio.open_nursery() as clients:
            async with opened(patient_app(), "tcp") as place:
                (address,) = place.server.addresses
                for _ in range(16):
                    clients.start_soon(go_on, address)
                await until(lambda: next(numbers) > 150)
                stopping = trio.current_time()
                if how == "drained":
                    await place.server.aclose()
            assert trio.current_time() - stopping < LIMITS.drain_timeout + UNDISTURBED
            stopped.set()
        assert watch.complaints == []


async def test_nothing_is_kept_while_others_have_deadlines() -> None:
    """What waits for the deadline of a connection must let go of it when it is dead, however many others wait."""
    await fuzz(Plan(over="tcp", seed=SEED, numbers=range(400), members=30))


def test_a_number_is_a_conversation_for_ever() -> None:
    """Seed and number give the same bytes again, or there would be no replaying; others give others."""
    assert [compose(1, number) for number in range(50)] == [compose(1, number) for number in range(50)]
    assert len({compose(seed, 7).steps for seed in range(10)}) == 10


# Would it notice?


async def complaint(first: Handler, count: int = 200) -> str:
    """What a fuzz says about an app whose handler of ``/echo`` is `first`."""
    plan = Plan(over="tcp", seed=SEED, numbers=range(count), app=patient_app(first))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - a group or not; the caller looks at what it says
        await fuzz(plan)
    assert caught.value.__notes__ == [f"again: python -m tests.tools.fuzz --seed {SEED} --over tcp"]
    return describe(caught.value)


async def test_a_failure_in_the_log_is_noticed() -> None:
    """It is reported with the numbers of the conversations that may have caused it."""

    async def crash(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            assert isinstance(message, str), "unexpected"
            await conn.send(message)

    said = await complaint(crash)
    assert "AssertionError: unexpected" in said
    assert f"again: python -m tests.tools.fuzz --seed {SEED} --over tcp --only " in said


async def test_a_wrong_echo_is_noticed() -> None:
    """It is reported with the number of the conversation."""

    async def parrot(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message if isinstance(message, str) else b"something else")

    said = await complaint(parrot)
    assert "not what was sent" in said
    assert f"again: python -m tests.tools.fuzz --seed {SEED} --over tcp --only " in said


async def test_a_leak_is_noticed() -> None:
    """Connections that somebody keeps are counted."""
    kept: list[Connection[Anonymous]] = []

    async def keep(conn: Connection[Anonymous]) -> None:
        kept.append(conn)
        await echo(conn)

    assert "objects of ours have become" in await complaint(keep)


UPGRADED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept(KEY)
)
REFUSED: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"


def served(opcode: int, payload: bytes = b"", **how: bool) -> bytes:
    """A frame as a server sends it."""
    return frame(opcode, payload, mask=None, **how)


#: The client's frames, the answer, and what is wrong with it.
WRONG: Final = {
    "not HTTP": (b"", b"hello", "no whole HTTP answer"),
    "half a head": (b"", UPGRADED[:-2], "no whole HTTP answer"),
    "our own fault": (b"", REFUSED.replace(b"400", b"500") + b"no\n", "500"),
    "half a body": (b"", REFUSED + b"n", "half an answer"),
    "more than the body": (b"", REFUSED + b"no\nHTTP/1.1", "follows an HTTP answer"),
    "no length": (b"", REFUSED.replace(b"Content-Length: 3\r\n", b""), "unpack"),
    "kept alive": (b"", REFUSED.replace(b"close", b"keep-alive") + b"no\n", "keep-alive"),
    "another key": (b"", UPGRADED.replace(b"Accept: ", b"Accept: x"), "accept"),
    "an extension": (b"", UPGRADED[:-2] + b"Sec-WebSocket-Extensions: x\r\n\r\n", "extensions"),
    "reserved bits": (b"", UPGRADED + frame(TEXT, b"x", rsv=4, mask=None), "reserved bits"),
    "an unknown opcode": (b"", UPGRADED + served(3), "opcode 3"),
    "a mask": (b"", UPGRADED + frame(TEXT), "masked"),
    "a long length": (b"", UPGRADED + b"\x82\x7e\x00\x01x", "not minimal"),
    "a fragmented Ping": (b"", UPGRADED + served(PING, fin=False), "no control frame"),
    "a stray continuation": (b"", UPGRADED + served(CONTINUATION), "out of order"),
    "a message in a message": (b"", UPGRADED + served(TEXT, fin=False) + served(TEXT), "out of order"),
    "bad text": (b"", UPGRADED + served(TEXT, b"\xff"), "UTF-8"),
    "a torn frame": (b"", UPGRADED + served(BINARY, bytes(9))[:-3] + served(TEXT, b"abc"), "reserved bits"),
    "something after a Close": (close_frame(), UPGRADED + served(CLOSE) + served(PONG), "follows a Close"),
    "half a code": (close_frame(), UPGRADED + served(CLOSE, b"\x03"), "Frame"),
    "a code that never travels": (close_frame(), UPGRADED + served(CLOSE, b"\x03\xee"), "Frame"),
    "a failure": (b"", UPGRADED + served(CLOSE, b"\x03\xf3internal error, incident 4f1c9a"), "unexpected failure"),
    "another echo": (frame(TEXT, b"a"), UPGRADED + served(TEXT, b"b"), "not what was sent"),
    "an echo of another kind": (frame(TEXT, b"a"), UPGRADED + served(BINARY, b"a"), "not what was sent"),
    "echoes in another order": (
        frame(TEXT, b"a") + frame(TEXT, b"b"), UPGRADED + served(TEXT, b"b") + served(TEXT, b"a"), "not what was sent"
    ),
    "a Pong unasked": (b"", UPGRADED + served(PONG, b"x"), "Pong"),
    "a Pong too many": (frame(PING, b"x"), UPGRADED + served(PONG, b"x") * 2, "Pong"),
    "no Close": (close_frame(), UPGRADED, "never said"),
    "no Close after a fault": (frame(TEXT, b"\xff"), UPGRADED, "never said"),
    "a Close for nothing": (b"", UPGRADED + served(CLOSE, b"\x03\xe8"), "closed with 1000"),
    "another code": (frame(TEXT, b"\xff"), UPGRADED + served(CLOSE, b"\x03\xea"), "closed with 1002"),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "answer", "what"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_noticed(frames: bytes, answer: bytes, what: str) -> None:
    """Each way to answer wrongly is told from the others."""
    with pytest.raises((AssertionError, ValueError), match=re.escape(what)):
        check(answer, request() + frames, cut=False)


@pytest.mark.parametrize(
    ("frames", "answer"),
    [
        (b"", b""),
        (b"", UPGRADED),
        (b"", REFUSED + b"no\n"),
        (frame(TEXT, b"a") * 2, UPGRADED + served(TEXT, b"a")),
        (frame(TEXT, b"ab"), UPGRADED + served(TEXT, b"a", fin=False) + served(PING) + served(CONTINUATION, b"b")),
        (frame(PING, b"a") + frame(PING, b"b"), UPGRADED + served(PONG, b"b")),
        (close_frame(4000, b"bye"), UPGRADED + served(CLOSE, b"\x0f\xa0")),
        (frame(BINARY, bytes(99_999))[:50], UPGRADED + served(CLOSE, b"\x03\xf1too big")),
    ],
)
def test_a_right_answer_is_not_complained_about(frames: bytes, answer: bytes) -> None:
    """The book leaves some freedom, and a client may have stopped anywhere."""
    check(answer, request() + frames, cut=False)
    for end in range(len(answer)):
        check(answer[:end], request() + frames, cut=True)


#: A client's bytes, with which codes they may be answered, and whether there must be a Close.
ENDS: Final = {
    "nothing": (b"", set[int](), False),
    "a message": (frame(TEXT, b"a"), set[int](), True),
    "half a message": (frame(TEXT, b"a")[:-1], set[int](), False),
    "reserved bits": (frame(TEXT, rsv=1), {1002}, True),
    "their first byte": (frame(TEXT, rsv=1)[:1], {1002}, False),
    "unmasked": (frame(TEXT, b"four", mask=None), {1002}, True),
    "a length over 63 bits": (b"\x82\xff" + b"\xff" * 12, {1002, 1009}, True),
    "a length that is not minimal": (b"\x82\xfe\x00\x01" + bytes(5), {1002}, True),
    "half a header with such a length": (b"\x81\xfe\x00\x00\x1b", {1002, 1009}, False),
    "a long Ping": (frame(PING, bytes(126)), {1002}, True),
    "a fragmented Close": (frame(CLOSE, fin=False), {1002}, True),
    "half a code": (frame(CLOSE, b"\x03"), {1002}, True),
    "no code": (frame(CLOSE), {1000, 1005}, True),
    "a bad code": (close_frame(1005), {1002}, True),
    "a bad reason": (close_frame(1000, b"\xff"), {1007}, True),
    "bad text": (frame(TEXT, b"\xff"), {1007}, True),
    "bad text in a fragment": (frame(TEXT, b"\xff", fin=False), {1007}, True),
    "half a character": (frame(TEXT, b"\xe2", fin=False), set[int](), True),
    "half a character at the end": (frame(TEXT, b"\xe2"), {1007}, True),
    "too big": (frame(BINARY, bytes(LIMITS.max_message_size + 1)), {1009}, True),
    "too big in all": (frame(BINARY, bytes(9000), fin=False) + frame(CONTINUATION, bytes(9000)), {1009}, True),
    "too many": (frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * LIMITS.max_fragments, {1009}, True),
    "not too many": (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * (LIMITS.max_fragments - 1), set[int](),
                     True),
    "the first fault counts": (frame(TEXT, b"\xff") + frame(PING, fin=False), {1007}, True),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "codes", "certain"), ENDS.values(), ids=ENDS)
def test_the_book_says_how_a_conversation_ends(stream: bytes, codes: set[int], certain: bool) -> None:
    """What the oracle expects of the clearest cases."""
    said = hear(stream)
    assert said.codes == codes
    assert said.is_certain == certain
