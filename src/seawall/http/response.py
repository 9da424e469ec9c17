"""HTTP responses, with no I/O, for clients that do not get a WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, final

import h11
from attrs import evolve, field, frozen

_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
# The fields that `serialize_response` writes itself; a second one could contradict it.
_OURS: Final = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding"})


def serialize_response(
    status: int,
    body: bytes,
    *,
    headers: Sequence[tuple[str, str]] = (),
    media_type: str = "text/plain; charset=utf-8",
) -> bytes:
    """A whole HTTP/1.1 response, after which the connection is closed.

    A 426 has to name the protocol to upgrade to, and with an ``Upgrade`` field ``Connection`` has to list it (RFC 9110,
    sections 7.8 and 15.5.22). Both are done here.

    Args:
      status: from 200 to 999, but not 204 or 304, which have no body.
      body: sent as it is, with its length.
      headers: further fields; text in ISO-8859-1.
      media_type: what the body is.

    Raises:
      ValueError: the status is another one, or a field is one that this function writes itself, or a name or a value
        is not allowed in a field.
    """
    names = {name.lower() for name, _ in headers}
    if status < 200 or status in (204, 304) or names & _OURS:
        raise ValueError(f"cannot answer {status} with the fields {sorted(names)}: no body, or framing of its own")
    upgrade = [("Upgrade", "websocket")] if status == 426 and "upgrade" not in names else []
    fields = [
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("Connection", "close, Upgrade" if upgrade or "upgrade" in names else "close"),
        ("X-Content-Type-Options", "nosniff"),
        *upgrade,
        *headers,
        ("Date", formatdate(usegmt=True)),
    ]
    return _serialize_with_h11(status, fields, body)


@final
@frozen
class SerializedResponse:
    """An HTTP response, ready to be written."""

    status: int
    text: str
    """The text of a refusal, or ``page``; for the log."""
    data: bytes = field(repr=False)

    def without_body(self) -> SerializedResponse:
        """The same as the answer to a HEAD request (RFC 9110, section 9.3.2): it has the length of its body, and none.

        Whoever makes a response makes it whole; `seawall.serving.closing` leaves the body out of all of them.
        """
        head, end, _ = self.data.partition(b"\r\n\r\n")
        return evolve(self, data=head + end)


def refusal(status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> SerializedResponse:
    """A short plain-text response with an error status.

    No cache may keep it: a 404 or a 410 would be answered to the next client too, who may be let in (RFC 9111, 4.2.2).
    """
    fields = (("Cache-Control", "no-store"), *headers)
    return SerializedResponse(status, text, serialize_response(status, f"{text}\n".encode(), headers=fields))


def _serialize_with_h11(status: int, fields: list[tuple[str, str]], body: bytes) -> bytes:
    # h11 frames a response by the request before it, so it gets one made up: the client's may have been invalid.
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: seawall\r\n\r\n")
    connection.next_event()
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    try:
        answer = h11.Response(status_code=status, headers=raw, reason=_PHRASES.get(status, ""))
        head = connection.send(answer)
    except h11.LocalProtocolError as error:
        # h11 shows the value, which may be a credential.
        names = ", ".join(name for name, _ in fields)
        raise ValueError(
            f"cannot answer {status!r}: it is none from 200 to 999, or a name or a value is not allowed in {names!r}"
        ) from error
    sent = connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())
    return b"".join(part for part in (head, *sent) if part)
