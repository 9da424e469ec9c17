"""What RFC 6455 makes of a client's bytes, and whether what a server answered is right; shares no code with Seawall.

`hear` reads a client's side as the book says. `check` holds an answer against it: whatever was sent, the answer is one
whole HTTP response or a 101 and whole frames, and where the client's bytes leave no doubt, the one Close that is right.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final, final

from attrs import define, field, frozen

from tests.kit.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.tools.conversations import LIMITS

#: Every status that a client's own doing can earn it.
STATUSES: Final = frozenset({101, 200, 400, 401, 403, 404, 405, 408, 421, 426, 431, 505})

#: Routes that go on until the client, or a fault of the client's, ends the connection.
PATIENT: Final = frozenset({b"/echo", b"/pour", b"/ticks"})

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n((?:[!#$%&'*+.^_`|~\w-]+:[ \t]*[ -~]*\r\n)*)\r\n", re.ASCII)


@final
@frozen
class Frame:
    """One frame that the server sent, whole message or not."""

    opcode: int
    payload: bytes
    fin: bool

    @property
    def code(self) -> int:
        """The code of a Close frame; 1005 if it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()


def is_code(code: int) -> bool:
    """Whether a Close frame may carry it (RFC 6455, section 7.4, and the IANA registry)."""
    return (1000 <= code < 1015 and code not in {1004, 1005, 1006}) or 3000 <= code < 5000


def accept(key: str) -> bytes:
    """What proves that a server has read the key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())


# What the client said


@final
@define(eq=False)
class Said:
    """The client's side of a conversation after its handshake, as far as the first thing that ends it."""

    messages: list[tuple[int, bytes]] = field(init=False, factory=list[tuple[int, bytes]])
    pings: list[bytes] = field(init=False, factory=list[bytes])
    codes: set[int] = field(init=False, factory=set[int])
    """How the server must close, if there is a fault or a Close; 1005 is a Close without a code."""
    is_certain: bool = field(init=False, default=False)
    """Whether all of the frame that ends it is there. If not, the server may have been waiting for the rest."""
    _opcode: int = field(init=False, default=0)
    _payload: bytes = field(init=False, default=b"")
    _fragments: int = field(init=False, default=0)

    def take(self, stream: bytes, at: int) -> int:
        """Take one frame; where the next one begins, or -1 if the conversation is over."""
        first, second = stream[at], stream[at + 1]
        width = {126: 2, 127: 8}.get(second & 0x7F, 0)
        start = at + 2 + width + 4
        size = int.from_bytes(stream[at + 2 : at + 2 + width], "big") if width else second & 0x7F
        payload = stream[start : start + size]
        is_whole_header = len(stream) >= start
        if is_whole_header or not width:
            self._judge_size(first & 0x0F, size)
        self.judge_header(first, second)
        if is_whole_header and width:
            self.codes |= {1002} if size < 126 or (width == 8 and not 1 << 16 <= size < 1 << 63) else set()
        elif width:
            self.codes |= {1002, 1009}  # what there is of the length may show it, and need not
        if self.codes or not is_whole_header:
            self.is_certain = is_whole_header
            return -1
        self.is_certain = len(payload) == size
        mask = (stream[start - 4 : start] * (len(payload) // 4 + 1))[: len(payload)]
        plain = (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")
        if first & 8:
            self._take_control(first & 0x0F, plain)
        else:
            self._take_data(first, plain)
        return -1 if self.codes or not self.is_certain else start + size

    def judge_header(self, first: int, second: int) -> None:
        """Look for a fault in the first two bytes of a frame."""
        opcode, is_final, size = first & 0x0F, first >= 0x80, second & 0x7F
        faults = (
            first & 0x70,
            opcode not in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG},
            second < 0x80,
            opcode & 8 and not (is_final and size <= 125),
            opcode == CLOSE and size == 1,
            opcode == CONTINUATION and not self._opcode,
            opcode in {TEXT, BINARY} and self._opcode,
        )
        if any(faults):
            self.codes.add(1002)

    def _judge_size(self, opcode: int, size: int) -> None:
        is_too_long = len(self._payload) + size > LIMITS.max_message_size
        if not opcode & 8 and (is_too_long or (opcode == CONTINUATION and self._fragments >= LIMITS.max_fragments)):
            self.codes.add(1009)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if not self.is_certain:
            return
        if opcode == PING:
            self.pings.append(payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            if payload and not is_code(code):
                self.codes.add(1002)
            elif not _is_text(payload[2:], final=True):
                self.codes.add(1007)
            else:
                self.codes |= {code, 1000}

    def _take_data(self, first: int, payload: bytes) -> None:
        self._opcode = first & 0x0F or self._opcode
        self._payload += payload
        self._fragments += 1
        is_final = first >= 0x80 and self.is_certain
        if self._opcode == TEXT and not _is_text(self._payload, final=is_final):
            self.codes.add(1007)
        elif is_final:
            self.messages.append((self._opcode, self._payload))
            self._opcode, self._payload, self._fragments = 0, b"", 0


def _is_text(payload: bytes, *, final: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(payload, final)
    except UnicodeDecodeError:
        return False
    return True


def hear(stream: bytes) -> Said:
    """Read what a client says after its handshake."""
    said, at = Said(), 0
    while 0 <= at <= len(stream) - 2:
        at = said.take(stream, at)
    if 0 <= at < len(stream):  # one byte of a frame, which may show a fault already
        said.judge_header(stream[at], 0x80)
        said.is_certain = False
    return said


# What the server answered


@final
@frozen(kw_only=True)
class Heard:
    """A server's answer."""

    status: int = 0
    """The HTTP status; 0 if there was no answer at all, or not enough of one."""
    frames: Sequence[Frame] = ()

    @property
    def code(self) -> int | None:
        """The code of the Close, if there was one."""
        return self.frames[-1].code if self.frames and self.frames[-1].opcode == CLOSE else None


def must_end(answer: bytes, sent: bytes) -> bool:
    """Whether the server, which has answered so much by now, has to end the connection without any further word."""
    if not answer.startswith(b"HTTP/1.1 101 "):
        return False
    said = hear(_stream(sent))
    return _path(sent) in PATIENT and said.is_certain and bool(said.codes)


def check(answer: bytes, sent: bytes, *, cut: bool) -> Heard:
    """Hold an answer against what was sent.

    Args:
      answer: all that came.
      sent: all that the client said.
      cut: whether the client has not waited for the end, so that the answer may end anywhere.

    Raises:
      AssertionError: nobody may answer so.
    """
    if not answer:
        return Heard()
    found = _HEAD.match(answer)
    if found is None:
        assert cut, f"no whole HTTP answer: {answer[:200]!r}"
        return Heard()
    status, rest = int(found[1]), answer[found.end() :]
    lines = [line.split(b":", 1) for line in found[2].split(b"\r\n")[:-1]]
    fields = [(name.lower().decode(), value.strip()) for name, value in lines]
    assert status in STATUSES, f"a client must never cause {status}"
    if status != 101:
        _check_refusal(fields, rest, sent, cut=cut)
        return Heard(status=status)
    _check_upgrade(dict(fields), sent)
    return Heard(status=101, frames=_check_frames(rest, sent, cut=cut))


def _stream(sent: bytes) -> bytes:
    return sent[sent.index(b"\r\n\r\n") + 4 :]


def _path(sent: bytes) -> bytes:
    target = sent.split(b" ", 2)[1].partition(b"?")[0]
    return re.sub(rb"(?:http|ws)s?://[^/]*", b"", target, count=1, flags=re.IGNORECASE)


def _check_refusal(fields: list[tuple[str, bytes]], body: bytes, sent: bytes, *, cut: bool) -> None:
    (size,) = [int(value) for name, value in fields if name == "content-length"]
    (connection,) = [value for name, value in fields if name == "connection"]
    assert connection.split(b",")[0] == b"close", fields
    assert not any(name == "transfer-encoding" for name, _ in fields), fields
    assert len(body) <= size, f"{body[size:][:100]!r} follows an HTTP answer"
    assert cut or len(body) == size or (not body and sent.startswith(b"HEAD ")), f"half an answer: {body!r}"


def _check_upgrade(fields: dict[str, bytes], sent: bytes) -> None:
    """A 101 must be right, and must have been asked for in the right words (RFC 6455, section 4.2)."""
    sent = sent.removeprefix(b"\r\n")  # one empty line may come first
    line, *lines = sent[: sent.index(b"\r\n\r\n")].split(b"\r\n")
    assert re.fullmatch(rb"GET ((?i:https?|wss?)://[\w.:~\[\]-]+)?([/?][!-~]*)? HTTP/1\.[1-9]", line), line
    asked = [(name.lower(), value.strip(b" \t")) for name, _, value in (one.partition(b":") for one in lines)]

    def values(name: bytes) -> list[bytes]:
        return [value for key, value in asked if key == name]

    (key,) = values(b"sec-websocket-key")
    assert len(base64.b64decode(key, validate=True)) == 16, key
    assert len(values(b"host")) == 1, asked
    assert not any(value.strip(b"0") for value in values(b"content-length")), asked
    assert not values(b"transfer-encoding"), asked
    assert values(b"sec-websocket-version") == [b"13"], asked
    assert b"websocket" in b",".join(values(b"upgrade")).lower(), asked
    assert b"upgrade" in b",".join(values(b"connection")).lower(), asked
    assert fields["sec-websocket-accept"] == accept(key.decode()), fields
    assert (fields["upgrade"].lower(), fields["connection"].lower()) == (b"websocket", b"upgrade"), fields
    assert fields.keys().isdisjoint({"content-length", "transfer-encoding", "sec-websocket-extensions"}), fields


def _check_frames(data: bytes, sent: bytes, *, cut: bool) -> list[Frame]:
    found, path = list[Frame](), _path(sent)
    for one, rest in _frames(data):
        found.append(one)
        assert one.opcode != CLOSE or not rest, f"{rest!r} follows a Close"
    messages = _check_messages(found)
    code = found[-1].code if found and found[-1].opcode == CLOSE else None
    if path in PATIENT:
        said = hear(_stream(sent))
        # Who does not read to the end may have been too slow.
        assert code is None or code in said.codes or (cut and code == 1008), (
            f"closed with {code}, not with one of {said.codes or 'none'}"
        )
        assert cut or code is not None or not (said.codes and said.is_certain), f"never said one of {said.codes}"
        assert _is_among([one.payload for one in found if one.opcode == PONG], said.pings), "a Pong without a Ping"
        assert path != b"/echo" or messages == said.messages[: len(messages)], "not what was sent"
    return found


def _is_among(some: Sequence[bytes], more: Sequence[bytes]) -> bool:
    """Whether `more` has all of `some`, in this order."""
    rest = iter(more)
    return all(one in rest for one in some)


def _frames(data: bytes) -> Iterator[tuple[Frame, bytes]]:
    """Each whole frame, checked for itself, and what follows it."""
    view, at = memoryview(data), 0
    while len(data) - at >= 2:
        first, size, start = data[at], data[at + 1], at + 2
        assert not first & 0x70, "reserved bits"
        assert first & 0x0F in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}, f"opcode {first & 0x0F}"
        assert size < 0x80, "masked"
        assert not first & 8 or (first >= 0x80 and size <= 125), "no control frame looks like this"
        if size >= 126:
            start += 2 if size == 126 else 8
            if len(data) < start:
                return
            size = int.from_bytes(data[at + 2 : start], "big")
            assert size >= (126 if start == at + 4 else 1 << 16), "the length is not minimal"
        if len(data) < start + size:
            return
        at = start + size
        yield Frame(first & 0x0F, bytes(view[start:at]), first >= 0x80), bytes(view[at : at + 50])


def _check_messages(found: Sequence[Frame]) -> list[tuple[int, bytes]]:
    """The messages; their fragments are in order, text is text, and a Close says something that may be said."""
    opcode, payload, messages = 0, b"", list[tuple[int, bytes]]()
    for one in found:
        if one.opcode == CLOSE:
            assert one.payload == b"" or (len(one.payload) >= 2 and is_code(one.code)), one
            assert "incident" not in one.reason, f"an unexpected failure: {one.reason}"
        elif one.opcode < 8:
            assert (one.opcode == CONTINUATION) == bool(opcode), "a fragment out of order"
            opcode, payload = one.opcode or opcode, payload + one.payload
            assert opcode != TEXT or _is_text(payload, final=one.fin), "text that is not UTF-8"
            if one.fin:
                messages.append((opcode, payload))
                opcode, payload = 0, b""
    return messages
