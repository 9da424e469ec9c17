"""permessage-deflate (RFC 7692), the server's side: what is agreed, and the two streams that follow from it.

`negotiate` chooses among the offers of a client; the `Agreement` says what to answer and makes an `Inflater` and a
`Deflater`, one of each for a connection. Nothing here does I/O, and nothing that a client offers raises.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol, final

from attrs import define, field, frozen

from seawall.compression import Deflate
from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import INVALID_DATA

#: The name of the extension (RFC 7692, section 7).
NAME: Final = "permessage-deflate"

#: Elements of ``Sec-WebSocket-Extensions`` that are looked at, empty ones too. Browsers send one or two.
MAX_ELEMENTS: Final = 32

_MAX_BITS: Final = 15  # the window of who has not agreed to a smaller one (RFC 7692, section 7.1.2)
_MIN_BITS: Final = 9  # the least with which zlib deflates, for which `seawall.compression` has the reason

# The empty block that ends a message and does not travel (RFC 7692, section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"

# What follows a final block is inflated in pieces of this many bytes: zlib copies what it has not used each time.
_PIECE: Final = 1024

# RFC 6455, section 9.1. The white space is what RFC 2616, section 2.1, implied. Each repetition is possessive, so no
# byte is looked at twice.
_OWS: Final = r"[ \t]*+"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
_ELEMENT: Final = re.compile(rf'(?:[^",]|{_QUOTED})*+', re.DOTALL)
_PARAMETER: Final = re.compile(rf"{_OWS};{_OWS}({_TOKEN})(?:{_OWS}={_OWS}(?:({_TOKEN})|({_QUOTED})))?+", re.DOTALL)
_EXTENSION: Final = re.compile(rf"{_OWS}({_TOKEN})")
_END: Final = re.compile(_OWS)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)

_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_KNOWN: Final = frozenset({*_FLAGS, "server_max_window_bits", "client_max_window_bits"})

# What may stand for a window: 8 to 15 without leading zeros (RFC 7692, section 7.1.2). A client that wants us to keep
# to 8 is declined, because zlib cannot; to inflate with 8 it can. Of its own window a client need not say how large.
_SERVER_BITS: Final[dict[str | None, int]] = {str(bits): bits for bits in range(_MIN_BITS, _MAX_BITS + 1)}
_CLIENT_BITS: Final[dict[str | None, int]] = {None: _MAX_BITS, "8": 8, **_SERVER_BITS}


@final
@frozen(kw_only=True)
class Agreement:
    """What both sides have agreed on (RFC 7692, section 7.1)."""

    response: str
    """The value of ``Sec-WebSocket-Extensions`` in the answer; made of constants and numbers only."""

    inbound_bits: int
    """The window of what the client sends, in bits."""

    inbound_takeover: bool
    """Whether what the client sends may refer to its earlier messages."""

    outbound_bits: int
    """The window of what we send, in bits."""

    outbound_takeover: bool
    """Whether what we send may refer to our earlier messages."""

    config: Deflate
    """How hard we try."""

    def inflater(self) -> Inflater:
        """For what one client sends. It takes memory when the first compressed message comes."""
        return Inflater(bits=self.inbound_bits, takeover=self.inbound_takeover)

    def deflater(self) -> Deflater:
        """For what is sent to one client. It takes memory when the first message is compressed."""
        return Deflater(bits=self.outbound_bits, takeover=self.outbound_takeover, config=self.config)


def negotiate(extensions: Iterable[str], config: Deflate) -> Agreement | None:
    """The first offer of a client that we can keep to, and our answer; None if there is none.

    An offer that is malformed, that holds a parameter twice or one that we do not know, or that wants what zlib
    cannot do, is passed over (RFC 7692, section 7), and so is whatever else the client offers. Malformed offers do not
    fail the connection, although RFC 6455, section 9.1, says so: a server without extensions would not see them.

    Args:
      extensions: the values of all ``Sec-WebSocket-Extensions`` fields in order; any text at all.
      config: what we would like.
    """
    for offer in _offers(extensions):
        agreement = _agree(offer, config)
        if agreement is not None:
            return agreement
    return None


def _offers(extensions: Iterable[str]) -> Iterator[dict[str, str | None]]:
    """The parameters of each well-formed offer of our extension, the preferred one first."""
    elements = 0
    for line in extensions:
        at = 0
        while at <= len(line) and elements < MAX_ELEMENTS:
            element = _ELEMENT.match(line, at)
            if element is None or line[element.end() : element.end() + 1] == '"':
                break  # a string without an end: where the next offer would begin, nobody can tell
            offer = _offer(line, at, element.end())
            if offer is not None:
                yield offer
            at = element.end() + 1
            elements += 1


def _offer(line: str, at: int, end: int) -> dict[str, str | None] | None:
    """The parameters of the offer that is this part of a line; None if it is none of ours, or malformed."""
    extension = _EXTENSION.match(line, at, end)
    if extension is None or extension[1] != NAME:
        return None
    parameters: dict[str, str | None] = {}
    at = extension.end()
    while parameter := _PARAMETER.match(line, at, end):
        name, token, quoted = parameter.groups()
        if name in parameters:
            return None
        parameters[name] = token if quoted is None else _ESCAPED.sub(r"\1", quoted[1:-1])
        at = parameter.end()
    return parameters if _END.fullmatch(line, at, end) else None


def _agree(offer: dict[str, str | None], config: Deflate) -> Agreement | None:
    """What we answer to an offer; None to decline it."""
    server_bits = _SERVER_BITS.get(offer.get("server_max_window_bits", str(_MAX_BITS)))
    client_bits = _CLIENT_BITS.get(offer.get("client_max_window_bits"))
    if server_bits is None or client_bits is None or not offer.keys() <= _KNOWN:
        return None
    if any(offer.get(flag) is not None for flag in _FLAGS):
        return None
    outbound_takeover = config.server_context_takeover and "server_no_context_takeover" not in offer
    inbound_takeover = config.client_context_takeover and "client_no_context_takeover" not in offer
    response = [NAME]
    if not outbound_takeover:
        response.append("server_no_context_takeover")
    if not inbound_takeover:
        response.append("client_no_context_takeover")
    server_bits = min(server_bits, config.server_max_window_bits)
    if server_bits < _MAX_BITS or "server_max_window_bits" in offer:
        response.append(f"server_max_window_bits={server_bits}")  # not offered, it still spares the client memory
    if "client_max_window_bits" in offer:
        client_bits = min(client_bits, config.client_max_window_bits)
        response.append(f"client_max_window_bits={client_bits}")
    return Agreement(
        response="; ".join(response),
        inbound_bits=client_bits,
        inbound_takeover=inbound_takeover,
        outbound_bits=server_bits,
        outbound_takeover=outbound_takeover,
        config=config,
    )


class _Inflating(Protocol):
    """What `zlib.decompressobj` makes, whose type has no public name."""

    @property
    def eof(self) -> bool:
        """Whether a final block has ended."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came after it."""
        ...

    def decompress(self, data: bytes | bytearray | memoryview, max_length: int, /) -> bytes:
        """At most so many bytes, or without a limit if that is 0."""
        ...


class _Deflating(Protocol):
    """What `zlib.compressobj` makes."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """What of it has become of these data and those before."""
        ...

    def flush(self, mode: int, /) -> bytes:
        """The rest."""
        ...


@final
@define(eq=False, kw_only=True)
class Inflater:
    """Inflates the compressed messages of one client, one after another, in parts as they come.

    A final block ends its data set (RFC 1951, section 3.2.3): what follows it, in the same message or the next, begins
    another one with an empty window, as in Chromium and in ws for Node. zlib could not do otherwise without a second
    copy of the window for every connection. A client that refers further back than was agreed is found out if the place
    came in an earlier part; within one part zlib has it at hand, and uses it.
    """

    _bits: int = field(alias="bits")
    _takeover: bool = field(alias="takeover")
    _stream: _Inflating | None = field(init=False, default=None)
    _begun: bool = field(init=False, default=False)  # whether this message has given the data set some of its bytes

    def inflate(self, data: bytes | bytearray, *, limit: int, last: bool) -> bytes:
        """Inflate some of a message. Time and memory are bounded by the sizes of `data` and `limit`, at any ratio.

        Args:
          data: the next part of its payload.
          limit: bytes that may come out.
          last: whether this is the end of the message.

        Returns:
          What came out. One byte more than `limit` means that the message is too big; nothing beyond that byte has
          been inflated, and the inflater is of no use from then on.

        Raises:
          ProtocolViolation: 1007, this is no compressed data.
        """
        try:
            plain = self._feed(data, limit) if data else b""
            # A message without a byte should have been an empty block (RFC 7692, section 7.2.3.6), and after a final
            # block another one should have come. Both can mean one thing only, and neither has a tail to be given.
            if last and self._begun and len(plain) <= limit:
                plain += self._feed(_TAIL, limit - len(plain))
        except zlib.error:
            # RFC 7692 names no code. The framing was right and the payload is not what it claims to be; and 1007 is
            # also what a text gets that is no UTF-8, which may or may not be found first, depending on the cut.
            raise ProtocolViolation(INVALID_DATA, "invalid compressed data") from None
        if last:
            self._begun = False
            if not self._takeover:
                self._stream = None
        return plain

    def _feed(self, data: bytes | bytearray, limit: int) -> bytes:
        """Up to `limit` bytes and one more."""
        if self._stream is None:
            self._stream = self._start()
        # zlib takes 0 for no limit at all; one more than what is allowed is never 0.
        plain = self._stream.decompress(data, limit + 1)
        self._begun = True
        if self._stream.eof:
            plain += self._feed_next(memoryview(self._stream.unused_data), limit - len(plain))
        return plain

    def _feed_next(self, data: memoryview, limit: int) -> bytes:
        """Inflate what came after a final block: more data sets, or the beginning of one."""
        stream: _Inflating | None = None
        pieces: list[bytes] = []
        while data and limit >= 0:
            if stream is None or stream.eof:
                stream = self._start()
            piece = data[:_PIECE]
            plain = stream.decompress(piece, limit + 1)
            data = data[len(piece) - len(stream.unused_data) :]
            limit -= len(plain)
            pieces.append(plain)
        self._begun = stream is not None and not stream.eof
        self._stream = stream if self._begun else None
        return b"".join(pieces)

    def _start(self) -> _Inflating:
        return zlib.decompressobj(-self._bits)


@final
@define(eq=False, kw_only=True)
class Deflater:
    """Deflates the messages to one client, one after another.

    With context takeover each message may refer to those before it, so what has been deflated must be sent, all of it
    and in the same order: deflate when nothing can come between any more, neither another sender nor a cancellation.
    """

    _bits: int = field(alias="bits")
    _takeover: bool = field(alias="takeover")
    _config: Deflate = field(alias="config")
    _stream: _Deflating | None = field(init=False, default=None)

    @property
    def threshold(self) -> int:
        """Bytes from which a message is worth it."""
        return self._config.threshold

    def deflate(self, payload: bytes | memoryview) -> bytes:
        """The payload of a whole message, compressed (RFC 7692, section 7.2.1)."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(self._config.level, zlib.DEFLATED, -self._bits, self._config.memory_level)
            if self._takeover:
                self._stream = stream
        return stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]
