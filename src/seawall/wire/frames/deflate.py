"""permessage-deflate (RFC 7692), the server's side, with no I/O: the negotiation and the compression.

`negotiate` chooses among the offers of a client. The `Agreement` holds the answer and makes an `Inflater` and a
`Deflater`, one of each for a connection. No offer of a client raises.
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

#: Elements of ``Sec-WebSocket-Extensions`` that are parsed, including empty ones. Browsers send one or two.
MAX_ELEMENTS: Final = 32

_MAX_BITS: Final = 15  # the window unless a smaller one is agreed on (RFC 7692, section 7.1.2)
_MIN_BITS: Final = 9  # the least with which zlib deflates; `seawall.compression` says why

# The empty block at the end of a message, which is not sent (RFC 7692, section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"

# Bytes of a piece in which data after a final block are inflated: each time zlib copies what it has not used.
_PIECE: Final = 1024

# RFC 6455, section 9.1, with the white space that RFC 2616, section 2.1, implies. Each repetition is possessive, so
# each byte is matched once.
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

# The values that a window may have: 8 to 15 without leading zeros (RFC 7692, section 7.1.2). zlib can inflate with 8
# but not deflate, so an offer that asks us to use 8 is declined. The client's own window may be offered with no value.
_SERVER_BITS: Final[dict[str | None, int]] = {str(bits): bits for bits in range(_MIN_BITS, _MAX_BITS + 1)}
_CLIENT_BITS: Final[dict[str | None, int]] = {None: _MAX_BITS, "8": 8, **_SERVER_BITS}


@final
@frozen(kw_only=True)
class Agreement:
    """What both sides have agreed on (RFC 7692, section 7.1)."""

    response: str
    """The value of ``Sec-WebSocket-Extensions`` in the 101; made of constants and numbers only."""

    inbound_bits: int
    """The window for messages of the client, in bits."""

    inbound_takeover: bool
    """Whether messages of the client may refer to its earlier ones."""

    outbound_bits: int
    """The window for our messages, in bits."""

    outbound_takeover: bool
    """Whether our messages may refer to our earlier ones."""

    config: Deflate
    """The settings of the app: level, memory, threshold."""

    def inflater(self) -> Inflater:
        """A new inflater for one connection. It allocates memory when the first compressed message comes."""
        return Inflater(bits=self.inbound_bits, takeover=self.inbound_takeover)

    def deflater(self) -> Deflater:
        """A new deflater for one connection. It allocates memory when the first message is compressed."""
        return Deflater(bits=self.outbound_bits, takeover=self.outbound_takeover, config=self.config)


def negotiate(extensions: Iterable[str], config: Deflate) -> Agreement | None:
    """The agreement on the first offer of a client that we can accept; None if there is none.

    An offer is declined if it is malformed, has a parameter twice or an unknown one, or asks for what zlib cannot do
    (RFC 7692, section 7). Other extensions are ignored. A malformed offer does not fail the connection, although
    RFC 6455, section 9.1, demands that: a server without extensions would not notice it.

    Args:
      extensions: the values of all ``Sec-WebSocket-Extensions`` fields in order; any text at all.
      config: the settings of the app.
    """
    for offer in _offers(extensions):
        agreement = _agree(offer, config)
        if agreement is not None:
            return agreement
    return None


def _offers(extensions: Iterable[str]) -> Iterator[dict[str, str | None]]:
    """The parameters of each well-formed offer of permessage-deflate, in the client's order of preference."""
    elements = 0
    for line in extensions:
        at = 0
        while at <= len(line) and elements < MAX_ELEMENTS:
            element = _ELEMENT.match(line, at)
            if element is None or line[element.end() : element.end() + 1] == '"':
                break  # a string without an end, so that the beginning of the next offer is unknown
            offer = _offer(line, at, element.end())
            if offer is not None:
                yield offer
            at = element.end() + 1
            elements += 1


def _offer(line: str, at: int, end: int) -> dict[str, str | None] | None:
    """The parameters of the offer in ``line[at:end]``; None if it is malformed or of another extension."""
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
    """The agreement on an offer; None to decline the offer."""
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
        response.append(f"server_max_window_bits={server_bits}")  # even if not offered: it saves the client memory
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
    """The objects of `zlib.decompressobj`, whose type has no public name."""

    @property
    def eof(self) -> bool:
        """Whether a final block has ended."""
        ...

    @property
    def unused_data(self) -> bytes:
        """The data after the final block."""
        ...

    def decompress(self, data: bytes | bytearray | memoryview, max_length: int, /) -> bytes:
        """Inflate `data` to at most `max_length` bytes, or without a limit if that is 0."""
        ...


class _Deflating(Protocol):
    """The objects of `zlib.compressobj`."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Deflate `data`; the output that is ready, of these data and those before."""
        ...

    def flush(self, mode: int, /) -> bytes:
        """The rest of the output."""
        ...


@final
@define(eq=False, kw_only=True)
class Inflater:
    """Inflates the compressed messages of one client, one after another, in parts as they come.

    A final block ends its data set (RFC 1951, section 3.2.3). What follows, in the same message or the next, begins
    another data set with an empty window, as in Chromium and in ws for Node: to keep the window, zlib would need a
    second copy of it for every connection. A reference further back than the agreed window is an error if it leads into
    an earlier part; within one part zlib follows it.
    """

    _bits: int = field(alias="bits")
    _takeover: bool = field(alias="takeover")
    _stream: _Inflating | None = field(init=False, default=None)
    _begun: bool = field(init=False, default=False)  # whether the data set holds bytes of the current message

    def inflate(self, data: bytes | bytearray, *, limit: int, last: bool) -> bytes:
        """Inflate a part of a message. Time and memory are bounded by the sizes of `data` and `limit`, at any ratio.

        Args:
          data: the next part of the message's payload.
          limit: bytes that the result may have.
          last: whether this is the end of the message.

        Returns:
          The inflated bytes. One byte more than `limit` means that the message is too big. Then nothing beyond that
          byte has been inflated, and the inflater must not be used any more.

        Raises:
          ProtocolViolation: 1007, the data are corrupt.
        """
        try:
            plain = self._feed(data, limit) if data else b""
            # No tail for a message without any byte, which should have been an empty block (RFC 7692, section 7.2.3.6),
            # nor after a final block, which another block should have followed. What either means is clear.
            if last and self._begun and len(plain) <= limit:
                plain += self._feed(_TAIL, limit - len(plain))
        except zlib.error:
            # RFC 7692 names no code. 1007 is for a payload that is not of its type, in a correct frame. It is also the
            # code for text that is not UTF-8; how the stream is cut decides which of the two faults is found first.
            raise ProtocolViolation(INVALID_DATA, "invalid compressed data") from None
        if last:
            self._begun = False
            if not self._takeover:
                self._stream = None
        return plain

    def _feed(self, data: bytes | bytearray, limit: int) -> bytes:
        """Inflate `data` to at most `limit` bytes and one more."""
        if self._stream is None:
            self._stream = self._start()
        # For zlib 0 is no limit at all; `limit + 1` is never 0.
        plain = self._stream.decompress(data, limit + 1)
        self._begun = True
        if self._stream.eof:
            plain += self._feed_next(memoryview(self._stream.unused_data), limit - len(plain))
        return plain

    def _feed_next(self, data: memoryview, limit: int) -> bytes:
        """Inflate what came after a final block: whole data sets, or the beginning of one."""
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

    With context takeover a message may refer to those before it. So all that was deflated must be sent, and in the same
    order: neither another sender nor a cancellation may come between deflating and sending.
    """

    _bits: int = field(alias="bits")
    _takeover: bool = field(alias="takeover")
    _config: Deflate = field(alias="config")
    _stream: _Deflating | None = field(init=False, default=None)

    @property
    def threshold(self) -> int:
        """Bytes that a message has to have to be compressed."""
        return self._config.threshold

    def deflate(self, payload: bytes | memoryview) -> bytes:
        """The payload of a whole message, compressed (RFC 7692, section 7.2.1)."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(self._config.level, zlib.DEFLATED, -self._bits, self._config.memory_level)
            if self._takeover:
                self._stream = stream
        return stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]
