"""permessage-deflate: which offers are accepted and how, and what goes in and out of the two streams."""

from __future__ import annotations

import itertools
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.typing import ExtensionName
from wsproto.extensions import PerMessageDeflate

from seawall.compression import Deflate
from seawall.errors import ProtocolViolation
from seawall.wire.frames.deflate import MAX_ELEMENTS, Agreement, Deflater, Inflater, negotiate

LIMIT = 100_000
TAIL = b"\x00\x00\xff\xff"

PLAIN = Deflate(server_max_window_bits=15, client_max_window_bits=15)
SMALL = Deflate()  # 12 bits both ways
FRESH = Deflate(server_context_takeover=False, client_context_takeover=False)

# The answers of `SMALL` to an offer that does not, and to one that does let it choose the client's window.
YES = "permessage-deflate; server_max_window_bits=12"
BOTH = f"{YES}; client_max_window_bits=12"

EVERYTHING = (
    "permessage-deflate; client_max_window_bits=10; server_no_context_takeover; server_max_window_bits=11; "
    "client_no_context_takeover"
)
EVERYTHING_AGREED = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; "
    "client_max_window_bits=10"
)

OFFERS: list[tuple[str, list[str], Deflate, str | None]] = [
    ("no field", [], SMALL, None),
    ("empty field", [""], SMALL, None),
    ("bare", ["permessage-deflate"], SMALL, YES),
    ("bare, largest windows", ["permessage-deflate"], PLAIN, "permessage-deflate"),
    ("Chromium", ["permessage-deflate; client_max_window_bits"], SMALL, BOTH),
    ("Chromium, largest windows", ["permessage-deflate; client_max_window_bits"], PLAIN,
     "permessage-deflate; client_max_window_bits=15"),
    ("no spaces", ["permessage-deflate;client_max_window_bits"], SMALL, BOTH),
    ("many spaces", [" \tpermessage-deflate \t;\t client_max_window_bits \t = \t 12 \t"], SMALL, BOTH),
    # server_no_context_takeover (7.1.1.1)
    ("server_no", ["permessage-deflate; server_no_context_takeover"], PLAIN,
     "permessage-deflate; server_no_context_takeover"),
    ("server_no with a value", ["permessage-deflate; server_no_context_takeover=1"], SMALL, None),
    ("server_no with true", ["permessage-deflate; server_no_context_takeover=true"], SMALL, None),
    ("server_no with an empty string", ['permessage-deflate; server_no_context_takeover=""'], SMALL, None),
    ("server_no twice", ["permessage-deflate" + "; server_no_context_takeover" * 2], SMALL, None),
    # client_no_context_takeover (7.1.1.2)
    ("client_no", ["permessage-deflate; client_no_context_takeover"], PLAIN,
     "permessage-deflate; client_no_context_takeover"),
    ("client_no with a value", ["permessage-deflate; client_no_context_takeover=0"], SMALL, None),
    ("client_no twice", ["permessage-deflate" + "; client_no_context_takeover" * 2], SMALL, None),
    ("neither takes over", ["permessage-deflate; client_no_context_takeover; server_no_context_takeover"], PLAIN,
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    ("neither, of our own accord", ["permessage-deflate"], FRESH,
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"),
    ("neither, both agree", ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], FRESH,
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"),
    # server_max_window_bits (7.1.2.1)
    *((f"server {bits}", [f"permessage-deflate; server_max_window_bits={bits}"], PLAIN,
       f"permessage-deflate; server_max_window_bits={bits}") for bits in range(9, 16)),
    ("server larger than ours", ["permessage-deflate; server_max_window_bits=13"], SMALL, YES),
    ("server smaller than ours", ["permessage-deflate; server_max_window_bits=10"], SMALL,
     "permessage-deflate; server_max_window_bits=10"),
    ("server 8, which zlib cannot", ["permessage-deflate; server_max_window_bits=8"], SMALL, None),
    ("server without a value", ["permessage-deflate; server_max_window_bits"], SMALL, None),
    ("server with an empty string", ['permessage-deflate; server_max_window_bits=""'], SMALL, None),
    *((f"server {value}", [f"permessage-deflate; server_max_window_bits={value}"], SMALL, None)
      for value in ("0", "7", "16", "99999999999999999999", "09", "012", "+12", "-12", "12.0", "0xC", "1_2", "twelve")),
    ("server twice", ["permessage-deflate; server_max_window_bits=12; server_max_window_bits=12"], SMALL, None),
    # client_max_window_bits (7.1.2.2)
    *((f"client {bits}", [f"permessage-deflate; client_max_window_bits={bits}"], PLAIN,
       f"permessage-deflate; client_max_window_bits={bits}") for bits in range(8, 16)),
    ("client larger than ours", ["permessage-deflate; client_max_window_bits=15"], SMALL, BOTH),
    ("client smaller than ours", ["permessage-deflate; client_max_window_bits=9"], SMALL,
     f"{YES}; client_max_window_bits=9"),
    ("client with an empty string", ['permessage-deflate; client_max_window_bits=""'], SMALL, None),
    *((f"client {value}", [f"permessage-deflate; client_max_window_bits={value}"], SMALL, None)
      for value in ("0", "7", "16", "08", "015", "12a")),
    ("client twice", ["permessage-deflate; client_max_window_bits; client_max_window_bits=12"], SMALL, None),
    ("everything", [EVERYTHING], SMALL, EVERYTHING_AGREED),
    # strings in quotes (RFC 6455, section 9.1)
    ("quoted", ['permessage-deflate; client_max_window_bits="12"'], SMALL, BOTH),
    ("quoted, with an escape", [r'permessage-deflate; client_max_window_bits="1\2"'], SMALL, BOTH),
    ("quoted, not a number", ['permessage-deflate; client_max_window_bits=" 12"'], SMALL, None),
    ("quoted flag", ['permessage-deflate; server_no_context_takeover="x"'], SMALL, None),
    ("quoted, then something", ['permessage-deflate; client_max_window_bits="12"3'], SMALL, None),
    ("comma in quotes", ['x; y="a, permessage-deflate, b"'], SMALL, None),
    ("comma in quotes before ours", ['x; y="a,\\",b", permessage-deflate'], SMALL, YES),
    ("quote without an end", ['x; y="a, permessage-deflate'], SMALL, None),
    ("quote without an end, then a line", ['x; y="a', "permessage-deflate"], SMALL, YES),
    ("ours before a quote without an end", ['permessage-deflate, x; y="'], SMALL, YES),
    ("ours with a quote without an end", ['permessage-deflate; client_max_window_bits="12'], SMALL, None),
    ("backslash at the end", ['permessage-deflate; client_max_window_bits="12\\'], SMALL, None),
    # what is no offer of ours, or not well-formed
    ("unknown parameter", ["permessage-deflate; max_window_bits=12"], SMALL, None),
    ("parameter of another case", ["permessage-deflate; Client_Max_Window_Bits"], SMALL, None),
    ("another case", ["Permessage-Deflate"], SMALL, None),
    ("another extension", ["x-webkit-deflate-frame"], SMALL, None),
    ("longer name", ["permessage-deflate2"], SMALL, None),
    ("shorter name", ["permessage-deflat"], SMALL, None),
    ("name with a value", ["permessage-deflate=1"], SMALL, None),
    ("name in quotes", ['"permessage-deflate"'], SMALL, None),
    ("semicolon at the end", ["permessage-deflate;"], SMALL, None),
    ("empty parameter", ["permessage-deflate; ; client_max_window_bits"], SMALL, None),
    ("parameter without a name", ["permessage-deflate; =12"], SMALL, None),
    ("nothing after the equals sign", ["permessage-deflate; client_max_window_bits="], SMALL, None),
    ("two equals signs", ["permessage-deflate; client_max_window_bits==12"], SMALL, None),
    ("space between the words", ["permessage-deflate client_max_window_bits"], SMALL, None),
    ("no token", ["permessage-deflate; client(max)window"], SMALL, None),
    ("bytes outside ASCII", ["permessage-deflate; client_max_window_bits=1\xb2"], SMALL, None),
    ("bytes outside ASCII after it", ["permessage-deflate\xa0"], SMALL, None),
    ("superscript digits", ["permessage-deflate; server_max_window_bits=\xb9\xb2"], SMALL, None),
    ("digits of another script", ["permessage-deflate; server_max_window_bits=\u0661\u0662"], SMALL, None),
    ("control characters", ["permessage-deflate;\x00client_max_window_bits", "\x7f,\x1f"], SMALL, None),
    ("line end", ["permessage-deflate\r\nX: y"], SMALL, None),
    # the first that will do (RFC 7692, section 5)
    ("the first", ["permessage-deflate; server_max_window_bits=10, permessage-deflate"], SMALL,
     "permessage-deflate; server_max_window_bits=10"),
    ("the second", ["permessage-deflate; server_max_window_bits=8, permessage-deflate"], SMALL, YES),
    ("the second, after an unknown parameter", ["permessage-deflate; brotli, permessage-deflate"], SMALL, YES),
    ("the second, after a malformed one", ["permessage-deflate; =, permessage-deflate"], SMALL, YES),
    ("the third", ["x, permessage-deflate; a=b, permessage-deflate; client_max_window_bits"], SMALL, BOTH),
    ("over several lines", ["x-webkit-deflate-frame", "permessage-deflate; z", "permessage-deflate"], SMALL, YES),
    ("the line before counts first", ["permessage-deflate; server_max_window_bits=9", "permessage-deflate"], SMALL,
     "permessage-deflate; server_max_window_bits=9"),
    ("empty elements", [" , ,permessage-deflate, ,"], SMALL, YES),
    ("as many elements as are looked at", ["," * (MAX_ELEMENTS - 1) + "permessage-deflate"], SMALL, YES),
    ("one more", ["," * MAX_ELEMENTS + "permessage-deflate"], SMALL, None),
    ("one more, over lines", ["x"] * MAX_ELEMENTS + ["permessage-deflate"], SMALL, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "config", "answer"), [case[1:] for case in OFFERS], ids=[case[0] for case in OFFERS]
)
def test_offers(offered: list[str], config: Deflate, answer: str | None) -> None:
    """Each offer is accepted with exactly this answer, or declined."""
    agreement = negotiate(offered, config)
    assert (None if agreement is None else agreement.response) == answer


def agree(offer: str, config: Deflate) -> Agreement:
    """What comes of an offer that is good."""
    agreement = negotiate([offer], config)
    assert agreement is not None
    return agreement


def test_a_client_may_have_the_smallest_window() -> None:
    """8 bits are enough for what a zlib that was told 8 sends: it takes 9, and refers back by less than 256 bytes."""
    agreement = agree("permessage-deflate; client_max_window_bits=8", SMALL)
    assert agreement.inbound_bits == 8
    message = b"".join(bytes(range(size)) for size in range(256))
    payload = compressed(message, bits=9)
    octets = [payload[index : index + 1] for index in range(len(payload))]
    assert inflate(agreement.inflater(), *octets) == message


def test_a_client_that_was_not_asked_may_use_the_largest_window() -> None:
    """Without client_max_window_bits in the offer, nothing bounds the client."""
    assert agree("permessage-deflate", SMALL).inbound_bits == 15
    assert agree("permessage-deflate; client_max_window_bits", SMALL).inbound_bits == 12


def test_the_answer_of_a_websockets_client() -> None:
    """The client of websockets takes our answer to every offer that it can make, or we decline."""
    name = ExtensionName("permessage-deflate")
    servers, clients = [None, *range(8, 16)], [None, True, *range(9, 16)]
    declined = 0
    for server_no, client_no, server, client in itertools.product([False, True], [False, True], servers, clients):
        factory = ClientPerMessageDeflateFactory(server_no, client_no, server, client)
        for config in (PLAIN, SMALL, FRESH):
            agreement = negotiate([build_extension([(name, [*factory.get_request_params()])])], config)
            if agreement is None:
                assert server == 8
                declined += 1
                continue
            ((_, parameters),) = parse_extension(agreement.response)
            theirs = factory.process_response_params(parameters, [])
            assert (theirs.remote_max_window_bits, theirs.remote_no_context_takeover) == (
                agreement.outbound_bits,
                not agreement.outbound_takeover,
            )
            assert agreement.inbound_bits >= theirs.local_max_window_bits
            assert not (agreement.inbound_takeover and theirs.local_no_context_takeover)
    assert declined == 4 * len(clients) * 3


def test_an_answer_that_was_not_asked_for_would_be_refused() -> None:
    """The check above can fail: this client refuses a window for itself when it has not offered one."""
    with pytest.raises(NegotiationError):
        ClientPerMessageDeflateFactory(client_max_window_bits=None).process_response_params(
            parse_extension("permessage-deflate; client_max_window_bits=12")[0][1], []
        )


@pytest.mark.parametrize(
    "text",
    [
        "permessage-deflate,",
        ",",
        '"',
        '"",',
        "a;",
        " ",
        " ;",
        "\\",
        'permessage-deflate;x="a\\"b",',
        "permessage-deflate; client_max_window_bits=9;",
    ],
)
def test_hostile_offers_take_no_time(text: str) -> None:
    """A request head full of anything is read in milliseconds, whether it begins well or not."""
    for begin in ("", "permessage-deflate", "permessage-deflate;", 'permessage-deflate; x="'):
        value = (begin + text * 16_384)[:16_384]
        began = time.process_time()
        negotiate([value], SMALL)
        assert time.process_time() - began < 0.05


def compressed(data: bytes, *, bits: int = 15) -> bytes:
    """A whole message as a client compresses it."""
    stream = zlib.compressobj(wbits=-bits)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def final(data: bytes, *, level: int = 6) -> bytes:
    """One final block, or several that end in one."""
    stream = zlib.compressobj(level, wbits=-15)
    return stream.compress(data) + stream.flush(zlib.Z_FINISH)


def inflater(*, bits: int = 15, takeover: bool = True) -> Inflater:
    """One that has seen nothing."""
    return Inflater(bits=bits, takeover=takeover)


def inflate(inflating: Inflater, *pieces: bytes, limit: int = LIMIT) -> bytes:
    """One message in pieces."""
    last = len(pieces) - 1
    plain = b""
    for index, piece in enumerate(pieces):
        plain += inflating.inflate(piece, limit=limit - len(plain), last=index == last)
    return plain


HELLO = bytes.fromhex("f248cdc9c90700")

# The examples of RFC 7692, section 7.2.3, and what stands between their lines.
MESSAGES: list[tuple[str, bytes, bytes]] = [
    ("7.2.3.1: one compressed block", HELLO, b"Hello"),
    ("7.2.3.2: the window is used", HELLO + TAIL + bytes.fromhex("f200110000"), b"HelloHello"),
    ("7.2.3.3: no compression", bytes.fromhex("000500faff48656c6c6f00"), b"Hello"),
    ("7.2.3.4: a final block", bytes.fromhex("f348cdc9c9070000"), b"Hello"),
    ("7.2.3.5: two blocks", bytes.fromhex("f2480500 0000ffff cac9c90700"), b"Hello"),
    ("7.2.3.6: an empty fragment", b"\x00", b""),
    ("nothing at all", b"", b""),
    ("a final block without an empty one after it", bytes.fromhex("f348cdc9c90700"), b"Hello"),
    ("several final blocks", final(b"a") + final(b"bc") + b"\x00", b"abc"),
    ("a final block and another", final(b"a") + compressed(b"bcbcbcbc"), b"abcbcbcbc"),
    ("several final blocks without an empty one after them", final(b"a") + final(b"bc"), b"abc"),
    ("many empty final blocks", b"\x03\x00" * 5000 + HELLO, b"Hello"),
    ("a long final block after a short one", final(b"a") + final(b"x" * 10_000, level=1) + b"\x00",
     b"a" + b"x" * 10_000),
    ("stored final blocks", final(b"abc", level=0) + final(b"x" * 5000, level=0) + b"\x00", b"abc" + b"x" * 5000),
    ("empty blocks", b"\x00\x00\x00\xff\xff" * 1000 + HELLO, b"Hello"),
    ("large", compressed(bytes(range(256)) * 300), bytes(range(256)) * 300),
]  # fmt: skip

CASES = pytest.mark.parametrize(
    ("payload", "plain"), [case[1:] for case in MESSAGES], ids=[case[0] for case in MESSAGES]
)


@CASES
@pytest.mark.parametrize("takeover", [True, False])
def test_messages(payload: bytes, plain: bytes, takeover: bool) -> None:
    """Each payload inflates to its message, whole or byte by byte, and the next message after it too."""
    inflating = inflater(takeover=takeover)
    octets = [payload[index : index + 1] for index in range(len(payload))]
    assert inflate(inflating, payload) == plain
    assert inflate(inflating, *octets, b"") == plain
    assert inflate(inflating, b"", payload) == plain
    assert inflate(inflating, HELLO) == b"Hello"
    assert inflate(inflating, b"") == b""
    assert inflate(inflating, HELLO) == b"Hello"


@CASES
@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_in_pieces(payload: bytes, plain: bytes, size: int) -> None:
    """What comes out and when it is too big do not depend on where a message is cut."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
    assert inflate(inflater(), *pieces) == plain
    assert inflate(inflater(), *pieces, limit=len(plain)) == plain
    if plain:
        least = len(plain) - 1
        assert inflate_until(least, *pieces) == inflate_until(least, payload) == plain


def inflate_until(limit: int, *pieces: bytes) -> bytes:
    """One message that is too big: what comes out up to the piece that shows it."""
    inflating, plain = inflater(), b""
    for index, piece in enumerate(pieces):
        plain += inflating.inflate(piece, limit=limit - len(plain), last=index == len(pieces) - 1)
        if len(plain) > limit:
            break
    return plain


def test_context_takeover() -> None:
    """With takeover a message may refer to the one before it (7.2.3.2); without, it is refused."""
    first, second = HELLO, bytes.fromhex("f200110000")
    inflating = inflater()
    assert inflate(inflating, first) == inflate(inflating, second) == b"Hello"
    forgetful = inflater(takeover=False)
    assert inflate(forgetful, first) == b"Hello"
    with pytest.raises(ProtocolViolation) as violation:
        inflate(forgetful, second)
    assert (violation.value.code, violation.value.reason) == (1007, "invalid compressed data")


def test_a_final_block_ends_its_context() -> None:
    """What comes after a final block cannot refer to what came before it, in the next message either."""
    inflating = inflater()
    assert inflate(inflating, final(b"Hello")) == b"Hello"
    with pytest.raises(ProtocolViolation):
        inflate(inflating, bytes.fromhex("f200110000"))
    inflating = inflater()
    assert inflate(inflating, final(b"Hello") + HELLO) == b"HelloHello"
    assert inflate(inflating, bytes.fromhex("f200110000")) == b"Hello"


def test_a_window_is_kept_to() -> None:
    """What refers to an earlier part, and further back than was agreed, is refused."""
    data = bytes(range(256))
    far = compressed(data + b"\x00" * 2000 + data, bits=15)
    octets = [far[index : index + 1] for index in range(len(far))]
    assert len(inflate(inflater(bits=12), *octets)) == 2512
    with pytest.raises(ProtocolViolation, match="1007 invalid compressed data"):
        inflate(inflater(bits=9), *octets)


CORRUPT = [
    ("a block of a kind that there is not", b"\x06"),
    ("a stored block whose lengths disagree", b"\x00\x05\x00\x00\x00"),
    ("a reference to nothing", bytes.fromhex("f200110000")),
    ("a table that is none", b"\x04\xff\xff\xff"),
    ("corrupt after a final block", b"\x03\x00\x06"),
    ("corrupt after many", b"\x03\x00" * 2000 + b"\x06"),
]


@pytest.mark.parametrize("payload", [case[1] for case in CORRUPT], ids=[case[0] for case in CORRUPT])
def test_corrupt_data(payload: bytes) -> None:
    """What is no compressed data is a violation, as soon as it shows."""
    octets = [payload[index : index + 1] for index in range(len(payload))]
    for pieces in ([payload + b"\x00" * 20], [payload, b""], [*octets, b""]):
        with pytest.raises(ProtocolViolation) as violation:
            inflate(inflater(), *pieces)
        assert (violation.value.code, violation.value.reason) == (1007, "invalid compressed data")


def bomb(size: int) -> bytes:
    """Zeros, a thousand times smaller."""
    stream = zlib.compressobj(9, wbits=-15)
    pieces = [stream.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, stream.flush(zlib.Z_SYNC_FLUSH)]).removesuffix(TAIL)


def test_no_more_is_inflated_than_allowed() -> None:
    """64 MiB in 64 KiB cost the memory and the time of the limit, and one byte tells that there was more."""
    payload = bomb(64 << 20)
    tracemalloc.start()
    began = time.process_time()
    try:
        plain = inflater().inflate(payload, limit=LIMIT, last=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 0.05
    assert len(plain) == LIMIT + 1
    assert peak < 4 * LIMIT + 2 * len(payload) + 64 * 1024


def test_a_limit_of_nothing() -> None:
    """0 is a limit, not the absence of one, also when the tail comes and after a final block."""
    assert inflate(inflater(), b"\x00", limit=0) == b""
    assert inflate(inflater(), b"\x03\x00" * 3, limit=0) == b""
    assert len(inflater().inflate(bomb(1 << 20), limit=0, last=True)) == 1
    assert len(inflater().inflate(final(b"abc") + final(b"def"), limit=2, last=True)) == 3
    assert len(inflater().inflate(final(b"abc") + bomb(1 << 20), limit=5, last=True)) == 6


def blocks_at_once(count: int) -> None:
    """Inflate as many final blocks as there can be."""
    assert inflater().inflate(b"\x03\x00" * count, limit=0, last=True) == b""


def test_time_is_linear() -> None:
    """Sixteen times as many final blocks take about sixteen times as long, not 256 times."""

    def best(count: int) -> float:
        times: list[float] = []
        for _ in range(3):
            began = time.thread_time()
            blocks_at_once(count)
            times.append(time.thread_time() - began)
        return min(times)

    assert best(256_000) < 80 * best(16_000)


def deflater(config: Deflate = SMALL) -> Deflater:
    """One for a client that leaves everything to us."""
    return agree("permessage-deflate", config).deflater()


SENT = [b"", b"Hello", b"Hello", b"", b"", b"x" * 70_000, bytes(range(256)) * 20, b"Hello", b""]


@pytest.mark.parametrize("takeover", [True, False])
def test_what_is_deflated_can_be_inflated(takeover: bool) -> None:
    """Every message comes back, empty ones too, and none has the tail that does not travel."""
    config = Deflate(server_context_takeover=takeover)
    agreement = agree("permessage-deflate", config)
    deflating, inflating = agreement.deflater(), inflater(bits=12, takeover=takeover)
    for message in SENT:
        payload = deflating.deflate(memoryview(message))
        assert not payload.endswith(TAIL)
        assert payload
        assert inflate(inflating, payload) == message


def test_context_is_taken_over_or_not() -> None:
    """With takeover the second of two equal messages is smaller; without, it is the same again."""
    message = b"The quick brown fox jumps over the lazy dog"
    deflating = deflater()
    assert len(deflating.deflate(message)) > 3 * len(deflating.deflate(message))
    deflating = deflater(FRESH)
    assert deflating.deflate(message) == deflating.deflate(message) == compressed(message, bits=12)


@pytest.mark.parametrize("bits", range(9, 16))
def test_our_window_is_kept_to(bits: int) -> None:
    """What we send refers no further back than was agreed."""
    config = Deflate(server_max_window_bits=bits, memory_level=9, level=9)
    deflating, inflating = agree("permessage-deflate", config).deflater(), inflater(bits=bits)
    noise = zlib.compress(bytes(index * index * 7919 >> 8 & 0xFF for index in range(60_000)))
    for message in (noise, noise, b"x" * 1000 + noise):
        assert inflate(inflating, deflating.deflate(message), limit=10 * LIMIT) == message


def test_the_level_counts() -> None:
    """Trying harder gives less."""
    text = b"".join(b"%d %d\n" % (number, number * 7919 % 10_007) for number in range(5000))
    sizes = [len(deflater(Deflate(level=level)).deflate(text)) for level in (1, 6, 9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def held(make: Callable[[], object]) -> float:
    """Bytes that one of what is made holds."""
    make()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [make() for _ in range(20)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / len(kept)


LARGEST = Deflate(level=9, memory_level=9, server_max_window_bits=15, client_max_window_bits=15)
ASKED = "permessage-deflate; client_max_window_bits"


@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng takes more")
@pytest.mark.parametrize(
    ("offer", "config", "deflating", "inflating"),
    [
        (ASKED, Deflate(), 39_000, 11_600),
        ("permessage-deflate", Deflate(), 39_000, 40_300),
        (ASKED, LARGEST, 400_000, 40_300),
        (ASKED, FRESH, 200, 200),
    ],
    ids=["defaults", "client sets no window", "largest", "no context takeover"],
)
def test_memory_of_a_connection(offer: str, config: Deflate, deflating: int, inflating: int) -> None:
    """A connection holds what the docstring says once it is used, and next to nothing before."""
    agreement = agree(offer, config)
    data = bytes(range(256)) * 400
    payload = compressed(data, bits=agreement.inbound_bits)

    def used_deflater() -> Deflater:
        one = agreement.deflater()
        one.deflate(data)
        return one

    def used_inflater() -> Inflater:
        one = agreement.inflater()
        inflate(one, payload, limit=2 * LIMIT)
        return one

    assert 0.9 * deflating - 200 < held(used_deflater) <= deflating + 200
    assert 0.9 * inflating - 200 < held(used_inflater) <= inflating + 200
    assert held(lambda: (agreement.deflater(), agreement.inflater())) < 400


def test_wsproto_takes_our_answer() -> None:
    """What wsproto offers as a client is accepted in all its combinations, and it understands the answer."""
    bits, flags = range(9, 16), [False, True]
    for client_no, client, server_no, server in itertools.product(flags, bits, flags, bits):
        theirs = PerMessageDeflate(client_no, client, server_no, server)
        agreement = agree(f"permessage-deflate; {theirs.offer()}", PLAIN)
        theirs.finalize(agreement.response)
        assert theirs.server_max_window_bits == agreement.outbound_bits == server
        assert theirs.client_max_window_bits == agreement.inbound_bits == client
        assert theirs.server_no_context_takeover == (not agreement.outbound_takeover) == server_no
        assert theirs.client_no_context_takeover == (not agreement.inbound_takeover) == client_no
