"""Reads the head of an HTTP request, with no I/O.

h11 parses it. Before and after that, this module refuses what h11 accepts and a server on the internet should not: lone
CR and LF, control bytes, folded fields, other forms of target, an invalid ``Host``, a contradictory length. The result
is a `Head`, or a `BadRequest` that says how to answer. Whether a body is welcome is for who knows the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Final, final

import h11
from attrs import define, field

#: Bytes of a request head, including its final empty line: the most that we hold for a client that is not known yet.
#: Apache's ``LimitRequestFieldSize`` allows half of it for a single field, which is enough for cookies.
MAX_HEAD: Final = 16 * 1024

#: Header fields of a request, as in Apache's ``LimitRequestFields``. Browsers send about 20.
MAX_FIELDS: Final = 100

#: A token of RFC 9110, section 5.6.2.
TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

#: A longer body than this is said to be as long: numbers of any size take time to convert.
MOST_BYTES: Final = 10**18

_END: Final = b"\r\n\r\n"

# Bytes that a request line must not have: all but printable ASCII and spaces, and a CR or LF on its own.
_BAD_IN_REQUEST_LINE: Final = re.compile(rb"\r[^\n]|(?<!\r)\n|[^ -~\r\n]")
# What fields must not have: control bytes other than TAB, a CR or LF on its own, and a line that begins with white
# space. Such a line continued the one before it until RFC 9112, section 5.2, and was a way to smuggle a header.
_BAD_IN_FIELDS: Final = re.compile(rb"\r[^\n]|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r\n[ \t]")
# All the bytes that fields may have between their line ends.
_PLAIN: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_REQUEST_LINE: Final = re.compile(rf"{TOKEN} ([!-~]+) (HTTP/[0-9]\.[0-9])".encode())
_CONTENT_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*([^\r]*)", re.IGNORECASE)

# A registered name, restricted to the characters of DNS names and ``~``, or an address in brackets (RFC 3986, section
# 3.2.2), and an optional port.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")
# How a target begins: in origin-form, or in absolute-form, which a server has to understand (RFC 9112, section 3.2.2).
# URLs of WebSockets are in use there too (RFC 6455, section 3).
_TARGET: Final = re.compile(rb"/|(?:https?|wss?)://", re.IGNORECASE)


@final
class BadRequest(Exception):
    """The request cannot become a connection; answer it and close.

    Attributes:
      status: the HTTP status.
      reason: a constant phrase, which holds no bytes of the client.
      headers: fields that the status demands.
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Say how to answer."""
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        """Show status and reason."""
        return f"{self.status} {self.reason}"


@final
@define(kw_only=True)
class Head:
    """A request head that is HTTP/1.x and has one valid ``Host``, or none in HTTP/1.0.

    Header bytes are decoded as ISO-8859-1, which loses no byte and never raises. Fields that may hold a credential are
    left out of the repr.
    """

    method: str
    """The method as sent; case matters (RFC 9110, section 9.1)."""

    target: str = field(repr=False)
    """The request target in origin-form (RFC 9112, section 3.2.1), printable ASCII beginning with ``/``."""

    path: str
    """The target up to the first ``?``, still percent-encoded."""

    query: str = field(repr=False)
    """The target after the first ``?``; empty if there is none."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """All header fields in order: names in lower case, values as ISO-8859-1."""

    host: str = ""
    """The host that is asked for, with the port if it was given; empty if the request names none."""

    version: str = "1.1"
    """The version of HTTP."""

    content_length: int = 0
    """Bytes of the body, as announced."""

    is_chunked: bool = False
    """Whether a body of unknown length is announced."""

    _found: Mapping[str, str] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Look through the fields once."""
        self._found = dict(self.headers)

    def values(self, name: str) -> Sequence[str]:
        """The values of every field called `name`, which is in lower case, in order."""
        value = self._found.get(name)
        if value is None:
            return ()
        if len(self._found) == len(self.headers):  # no field comes twice
            return (value,)
        return [value for field_name, value in self.headers if field_name == name]

    @property
    def has_body(self) -> bool:
        """Whether a body is announced that is not empty."""
        return self.is_chunked or self.content_length > 0

    @property
    def wants_upgrade(self) -> bool:
        """Whether ``Upgrade`` lists ``websocket``; if it does not, this is an ordinary request for a page."""
        return lists(self.values("upgrade"), "websocket")


#: Names and values of fields that most clients send: all connections share these strings, which saves memory.
_COMMON: Final = {
    text.encode(): text
    for text in (
        *("host", "connection", "upgrade", "origin", "user-agent", "cookie", "authorization"),
        *("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"),
        *("accept", "accept-encoding", "accept-language", "cache-control", "pragma"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded"),
        *("websocket", "Upgrade", "keep-alive, Upgrade", "13", "no-cache", "gzip, deflate, br", "*/*"),
        *("permessage-deflate; client_max_window_bits", "permessage-deflate"),
    )
}


#: Whole fields that nearly every client sends: a tuple takes 56 bytes, for as long as the connection lives.
_COMMON_FIELDS: Final = {
    (spelled.encode(), value.encode()): (name, _COMMON[value.encode()])
    for name, value in (
        *(("upgrade", "websocket"), ("connection", "Upgrade"), ("connection", "keep-alive, Upgrade")),
        *(("sec-websocket-version", "13"), ("cache-control", "no-cache"), ("pragma", "no-cache")),
        *(("accept-encoding", "gzip, deflate, br"), ("accept", "*/*")),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
    )
    for spelled in (name, name.title(), name.title().replace("websocket".title(), "WebSocket"))
}


@final
class HeadReader:
    """Reads one request head from bytes as they come, and raises as soon as they cannot become a valid one.

    The result does not depend on how the stream is cut into reads, and the time is linear in its length.

    Attributes:
      rest: the bytes after the head, once `receive_data` has returned a `Head`.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rest = b""
        self._buffer = bytearray()
        self._scanned = 0  # bytes that have been checked
        self._fields_at = 0  # where the line end of the request line is; 0 until that line is complete
        self._empty_line = False  # whether an empty line came first

    def receive_data(self, data: bytes) -> Head | None:
        """Take bytes that have come. Must not be called again once it has returned a head or raised.

        Returns:
          The head, or None if more data are needed.

        Raises:
          BadRequest: 400 for an invalid request, 431 above `MAX_HEAD` bytes or `MAX_FIELDS`
            fields, 505 for a version other than HTTP/1.x.
        """
        self._buffer += data
        if not self._scanned and not self._empty_line and self._buffer.startswith(b"\r"):
            if len(self._buffer) == 1:
                return None
            if self._buffer[1] == 0x0A:  # one is allowed (RFC 9112, section 2.2)
                self._empty_line = True
                del self._buffer[:2]
        end = self._scan()
        if end is None:
            return None
        self.rest = bytes(self._buffer[end:])
        return _parse(bytes(self._buffer[:end]), self._fields_at)

    def _scan(self) -> int | None:
        """Check the new bytes; the length of the head, or None if it is incomplete."""
        # Nothing beyond the limit is checked; a CR, or a part of the final empty line, once more with what follows.
        seen = min(len(self._buffer), MAX_HEAD)
        if not self._fields_at and not self._scan_request_line(max(0, self._scanned - 1), seen):
            end = -1
        else:
            start = max(self._fields_at, self._scanned - len(_END) + 1)
            end = self._buffer.find(_END, start, seen)
            stop = seen if end < 0 else end + len(_END)
            if not _is_plain(self._buffer[start:stop]):
                _refuse_if_found(_BAD_IN_FIELDS.search(self._buffer, start, stop))
        self._scanned = seen
        if end >= 0:
            return end + len(_END)
        if len(self._buffer) > MAX_HEAD:
            raise BadRequest(431, "request head too large")
        return None

    def _scan_request_line(self, start: int, stop: int) -> bool:
        """Check the part of the request line that has come; whether the line is complete."""
        if self._buffer and not 0x41 <= self._buffer[0] <= 0x5A:
            # No method in use begins otherwise, and the first byte of TLS, SSH or a stray frame does.
            raise BadRequest(400, "not an HTTP request")
        end = self._buffer.find(b"\r\n", start, stop)
        line = _REQUEST_LINE.fullmatch(self._buffer, 0, end) if end > 0 else None
        if line is None:
            _refuse_if_found(_BAD_IN_REQUEST_LINE.search(self._buffer, start, stop if end < 0 else end + 2))
            if end < 0:
                return False
            raise BadRequest(400, "malformed request line")
        if not line[2].startswith(b"HTTP/1."):
            raise BadRequest(505, "only HTTP/1.x is spoken here")
        if not _TARGET.match(line[1]) or b"#" in line[1]:
            raise BadRequest(400, "request target neither a path nor a URL")
        self._fields_at = end
        return True


def _is_plain(piece: bytes | bytearray) -> bool:
    """Whether `piece` is whole lines of fields without forbidden bytes. False may be wrong: then the regex decides."""
    line_ends = piece.count(b"\r\n")
    return len(piece.translate(None, _PLAIN)) == 2 * line_ends and b"\r\n " not in piece and b"\r\n\t" not in piece


def _refuse_if_found(found: re.Match[bytes] | None) -> None:
    if found is not None:
        raise BadRequest(400, "forbidden bytes in the request head")


def _parse(head: bytes, fields_at: int) -> Head:
    """Let h11 parse a whole head, and refuse what h11 should not accept."""
    if head.count(b"\n", fields_at) - 2 > MAX_FIELDS:
        raise BadRequest(431, "too many header fields")
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        connection.receive_data(head)
        request = connection.next_event()
    except h11.RemoteProtocolError:
        raise BadRequest(400, "malformed request head") from None
    # A head that is complete is a request or an error, so only the second half ever refuses.
    raw = request.headers.raw_items() if isinstance(request, h11.Request) else []  # `items` costs a call for each
    headers = _decoded(raw)
    found = dict(headers)
    is_chunked = "transfer-encoding" in found
    if not isinstance(request, h11.Request) or (is_chunked and "content-length" in found):
        raise BadRequest(400, "request with a body")
    content_length = _length(head) if "content-length" in found else 0
    version = request.http_version.decode("ascii")
    if "host" in found:
        host = found["host"]  # the only one, or h11 raises
        _check_host(host)
    elif version == "1.0":
        host = ""
    else:  # h11 demands it in HTTP/1.1 only
        raise BadRequest(400, "malformed request head")
    target = request.target.decode("ascii")
    if not target.startswith("/"):
        host, target = _split(target)
        headers = (("host", host), *(field for field in headers if field[0] != "host"))
    path, _, query = target.partition("?")
    return Head(
        method=request.method.decode("ascii"),
        target=target,
        path=path,
        query=query,
        headers=headers,
        host=host,
        version=version,
        content_length=content_length,
        is_chunked=is_chunked,
    )


def _decoded(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple(
        [
            _COMMON_FIELDS.get(field)
            or (
                _COMMON.get(name := field[0].lower()) or name.decode("ascii"),
                _COMMON.get(field[1]) or field[1].decode("latin-1"),
            )
            for field in raw
        ]
    )


def _split(url: str) -> tuple[str, str]:
    """The host in a target in absolute-form, which replaces ``Host``, and the target in origin-form."""
    authority, slash, rest = url.partition("://")[2].partition("/")
    host, mark, query = authority.partition("?")  # the path may be missing
    _check_host(host)
    return host, f"/{mark}{query}{slash}{rest}" if mark else f"/{rest}"


def _length(head: bytes) -> int:
    """The length of the body. Two lengths are refused, even if they are equal, and all that is no plain number."""
    # The bytes are searched, because h11 merges several lengths that are equal into one.
    lengths = _CONTENT_LENGTH.findall(head)
    if len(lengths) > 1 or not all(length.strip(b" \t").isdigit() for length in lengths):
        raise BadRequest(400, "bad Content-Length")
    digits = lengths[0].strip(b" \t").lstrip(b"0")
    return int(digits or b"0") if len(digits) < 19 else MOST_BYTES


def _check_host(host: str) -> None:
    """Refuse all but a host with an optional port (RFC 9110, section 7.2)."""
    parts = _HOST.fullmatch(host)
    if parts is None or int(parts[2] or "0") > 0xFFFF:
        raise BadRequest(400, "bad Host")
    if parts[1] is not None:
        try:
            IPv6Address(parts[1])
        except AddressValueError:
            raise BadRequest(400, "bad Host") from None


def elements(values: Sequence[str]) -> list[str]:
    """The elements of a comma-separated list in any number of fields; no empty ones (RFC 9110, section 5.6.1.2)."""
    parts = [part.strip(" \t") for value in values for part in value.split(",")]
    return [part for part in parts if part]


def lists(values: Sequence[str], token: str) -> bool:
    """Whether a list in any number of fields has the element `token`, which is in lower case, in any case."""
    if len(values) == 1 and values[0].lower() == token:  # as nearly always
        return True
    return any(element.lower() == token for element in elements(values))
