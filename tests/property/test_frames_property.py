"""Any stream cut anywhere decodes the same, any bytes end well, and wsproto agrees both ways, compressed or not."""

from __future__ import annotations

import zlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Event as WsprotoEvent
from wsproto.extensions import PerMessageDeflate

from seawall.compression import Deflate
from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control
from seawall.wire.frames.decoder import Event, FrameDecoder
from seawall.wire.frames.deflate import Agreement, Inflater, negotiate
from seawall.wire.frames.encoder import encode_close, encode_control, encode_message

MAX_SIZE = 1000
MAX_FRAGMENTS = 5

Trace = list[Event | tuple[int, str]]


def decode(pieces: list[bytes], inflater: Inflater | None = None, *, at_once: bool = False) -> Trace:
    """Events of a fresh decoder, and the violation that ended them, which must be the last.

    Args:
      pieces: what it is given.
      inflater: where compression was agreed on.
      at_once: ask first whether a piece is one message.
    """
    decoder = FrameDecoder(max_message_size=MAX_SIZE, max_fragments=MAX_FRAGMENTS, inflater=inflater)
    trace: Trace = []
    arrived = 0
    for piece in pieces:
        arrived += len(piece)
        if at_once and (message := decoder.receive_message(piece)) is not None:
            trace.append(message)
            continue
        decoder.receive_data(piece)
        try:
            while (event := decoder.next_event()) is not None:
                trace.append(event)
        except ProtocolViolation as violation:
            assert decoder.next_event() is None
            trace.append((violation.code, violation.reason))
        assert decoder.pending <= MAX_SIZE + 14 + 125
        assert decoder.pending <= arrived or inflater is not None
    return trace


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, some perhaps empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def client_frame(first: int, payload: bytes, key: bytes) -> bytes:
    """A masked frame with any first byte."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((first,)) + length + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


keys = st.binary(min_size=4, max_size=4)
payloads = st.one_of(st.binary(max_size=700), st.text(max_size=200).map(str.encode))
# Mostly legal, now and then not: a grammar of frames with faults strewn in.
firsts = st.one_of(st.sampled_from([0x01, 0x81, 0x02, 0x82, 0x00, 0x80, 0x88, 0x89, 0x8A]), st.integers(0, 255))
frames = st.builds(client_frame, firsts, payloads, keys)
streams = st.lists(st.one_of(frames, st.binary(max_size=20)), max_size=10).map(b"".join)


@given(streams, st.lists(st.integers(0, 10_000), max_size=20))
def test_cuts_do_not_matter(stream: bytes, places: list[int]) -> None:
    """Whole, in pieces or byte by byte, a stream has the same events and the same end."""
    whole = decode([stream])
    assert decode(cut(stream, places)) == whole
    assert decode(cut(stream, places), at_once=True) == whole
    assert decode([stream], at_once=True) == whole
    assert decode([stream[index : index + 1] for index in range(len(stream))]) == whole


@given(st.lists(frames, max_size=10))
def test_a_message_at_once_is_the_same(pieces: list[bytes]) -> None:
    """A piece that is a whole message is one, where a message may begin, and nowhere else."""
    assert decode(pieces, at_once=True) == decode(pieces)


@given(st.binary(max_size=200))
def test_any_bytes_end_well(data: bytes) -> None:
    """Bytes of any kind make events or one violation with one of the three codes, and nothing else."""
    for event in decode([data]):
        assert not isinstance(event, tuple) or event[0] in (1002, 1007, 1009)


def whole(trace: Trace) -> Trace:
    """The trace without the reason of a 1007: of a text that is corrupt and no UTF-8, either may be found first."""
    return [(1007, "") if isinstance(event, tuple) and event[0] == 1007 else event for event in trace]


@st.composite
def compressed_streams(draw: st.DrawFn) -> bytes:
    """Messages of one context, compressed or not, in fragments with pings between; and now and then a wrong byte."""
    stream, context = (
        bytearray(),
        zlib.compressobj(draw(st.integers(0, 9)), wbits=-15, memLevel=draw(st.integers(1, 9))),
    )
    for message in draw(st.lists(st.one_of(payloads, st.just(b"ab" * 500), st.just(b"a" * 3000)), max_size=5)):
        first, payload, end = draw(st.sampled_from([0x41, 0x42, 0x01, 0x02])), message, zlib.Z_SYNC_FLUSH
        if first & 0x40:
            if draw(st.booleans()):
                end = zlib.Z_FINISH
            payload = (context.compress(message) + context.flush(end)).removesuffix(b"\x00\x00\xff\xff")
        if end == zlib.Z_FINISH:
            payload += draw(st.sampled_from([b"", b"\x00"]))
            context = zlib.compressobj(wbits=-15)
        pieces = cut(payload, draw(st.lists(st.integers(0, 10_000), max_size=MAX_FRAGMENTS)))
        for index, piece in enumerate(pieces):
            last = 0x80 if index == len(pieces) - 1 else 0
            stream += client_frame(last | (0 if index else first), piece, draw(keys))
            stream += draw(st.sampled_from([b"", client_frame(0x89, b"ping", b"keys")]))
    for index in draw(st.lists(st.integers(0, 10_000), max_size=2)):
        if stream:
            stream[index % len(stream)] = draw(st.integers(0, 255))
    return bytes(stream)


@given(compressed_streams(), st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_cuts_do_not_matter_with_compression(stream: bytes, places: list[int], takeover: bool) -> None:
    """Compressed messages too, good or corrupt, are the same however the stream is cut."""

    def trace(pieces: list[bytes]) -> Trace:
        return whole(decode(pieces, Inflater(bits=15, takeover=takeover)))

    expected = trace([stream])
    assert trace(cut(stream, places)) == expected
    assert trace([stream[index : index + 1] for index in range(len(stream))]) == expected


@given(st.sampled_from([0x41, 0x42, 0xC1, 0xC2]), st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=5))
def test_any_compressed_data_end_well(first: int, data: bytes, places: list[int]) -> None:
    """Bytes of any kind that claim to be compressed make one message, or none yet, or one violation."""
    stream = client_frame(first, data, b"keys")
    trace = decode([stream], Inflater(bits=15, takeover=True))
    assert len(trace) <= 1
    assert whole(trace) == whole(decode(cut(stream, places), Inflater(bits=15, takeover=True)))
    for event in trace:
        assert not isinstance(event, tuple) or event[0] in (1007, 1009)


sendable = st.one_of(st.integers(1000, 1003), st.integers(1007, 1013), st.integers(3000, 4999))
short_text = st.text(st.characters(max_codepoint=0x7F), max_size=123)
messages = st.one_of(st.text(max_size=300), st.binary(max_size=MAX_SIZE))


def fragments(message: str | bytes, places: list[int]) -> list[WsprotoEvent]:
    """A message as wsproto events, one for each fragment."""
    edges = [0, *sorted(place % (len(message) + 1) for place in places), len(message)]
    events: list[WsprotoEvent] = []
    for start, end in pairwise(edges):
        last = len(events) == len(edges) - 2
        if isinstance(message, str):
            events.append(TextMessage(data=message[start:end], message_finished=last))
        else:
            events.append(BytesMessage(data=bytearray(message[start:end]), message_finished=last))
    return events


@given(
    st.lists(st.tuples(messages, st.lists(st.integers(0, 10_000), max_size=MAX_FRAGMENTS - 1)), max_size=5),
    st.binary(max_size=125),
    sendable,
    short_text,
)
def test_wsproto_client_is_understood(
    sent: list[tuple[str | bytes, list[int]]], ping: bytes, code: int, reason: str
) -> None:
    """What wsproto sends as a client, fragmented anyhow, arrives as it was meant."""
    client = Connection(ConnectionType.CLIENT)
    stream = b""
    expected: Trace = []
    for message, places in sent:
        if len(message.encode() if isinstance(message, str) else message) > MAX_SIZE:
            continue
        stream += b"".join(client.send(event) for event in fragments(message, places))
        stream += client.send(Ping(payload=ping))
        expected += [message, Control(Opcode.PING, ping)]
    stream += client.send(CloseConnection(code=code, reason=reason))
    trace = decode([stream])
    end = trace.pop()
    assert trace == expected
    assert isinstance(end, Control)
    assert (end.opcode, end.code, end.reason) == (Opcode.CLOSE, code, reason)


@given(st.lists(messages, max_size=5), st.binary(max_size=125), sendable, short_text)
def test_wsproto_client_understands(sent: list[str | bytes], ping: bytes, code: int, reason: str) -> None:
    """What we send arrives at a wsproto client as it was meant."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(
        b"".join(bytes(encode_message(message)) for message in sent) + encode_control(Opcode.PING, ping)
    )
    client.receive_data(encode_control(Opcode.PONG, ping) + encode_close(code, reason))
    events = list(client.events())
    got = [event.data for event in events if isinstance(event, (TextMessage, BytesMessage))]
    assert got == sent
    assert [event.payload for event in events if isinstance(event, (Ping, Pong))] == [ping, ping]
    end = events[-1]
    assert isinstance(end, CloseConnection)
    assert (end.code, end.reason or "") == (code, reason)


@given(st.binary(max_size=125), st.sampled_from([Opcode.PING, Opcode.PONG]), sendable, short_text)
def test_masked_control_frames_decode_to_themselves(payload: bytes, opcode: Opcode, code: int, reason: str) -> None:
    """A control frame encoded again as a client's is the same control frame."""
    control = Control(opcode, payload)
    goodbye = Control(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode())
    assert decode([control.masked() + goodbye.masked()]) == [control, goodbye]


bits = st.integers(9, 15)
extensions = st.builds(PerMessageDeflate, st.booleans(), bits, st.booleans(), bits)
configs = st.builds(
    Deflate,
    level=st.integers(1, 9),
    memory_level=st.integers(1, 9),
    server_max_window_bits=bits,
    client_max_window_bits=bits,
    server_context_takeover=st.booleans(),
    client_context_takeover=st.booleans(),
    threshold=st.integers(0, 100),
)
# Some that refer to one another, some that do not shrink, some that are longer than a small window.
noise = bytes(index * index * 7919 >> 8 & 0xFF for index in range(MAX_SIZE))
similar = st.sampled_from(["", b"", "{'text': 'hello'}", "{'text': 'hello again'}", "☃" * 300, noise, noise[:600]])
conversations = st.lists(
    st.tuples(st.one_of(messages, similar), st.lists(st.integers(0, 10_000), max_size=MAX_FRAGMENTS - 1)), max_size=8
)


def agreed(extension: PerMessageDeflate, config: Deflate) -> Agreement:
    """What wsproto, as a client, and we have agreed on; both know it."""
    agreement = negotiate([f"permessage-deflate; {extension.offer()}"], config)
    assert agreement is not None
    extension.finalize(agreement.response)
    return agreement


@given(conversations, extensions, configs)
def test_compressing_wsproto_client_is_understood(
    sent: list[tuple[str | bytes, list[int]]], extension: PerMessageDeflate, config: Deflate
) -> None:
    """What wsproto compresses as a client arrives as it was meant, with any windows, with and without takeover."""
    inflater = agreed(extension, config).inflater()
    client = Connection(ConnectionType.CLIENT, [extension])
    stream = b""
    expected: Trace = []
    for message, places in sent:
        if len(message.encode() if isinstance(message, str) else message) > MAX_SIZE:
            continue
        for event in fragments(message, places):
            stream += client.send(event) + client.send(Ping(payload=b"ping"))
            expected.append(Control(Opcode.PING, b"ping"))
        expected.insert(len(expected) - 1, message)
    assert decode([stream], inflater) == expected


@given(conversations, extensions, configs)
def test_compressing_wsproto_client_understands(
    sent: list[tuple[str | bytes, list[int]]], extension: PerMessageDeflate, config: Deflate
) -> None:
    """What we compress arrives at a wsproto client as it was meant, with any windows, with and without takeover."""
    deflater = agreed(extension, config).deflater()
    client = Connection(ConnectionType.CLIENT, [extension])
    for message, _ in sent:
        client.receive_data(bytes(encode_message(message, deflater)))
    got = [event.data for event in client.events() if isinstance(event, (TextMessage, BytesMessage))]
    assert got == [message for message, _ in sent]
