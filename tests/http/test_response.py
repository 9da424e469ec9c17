"""HTTP answers, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import h11
import pytest

from seawall.http.pages import Page, page_response
from seawall.http.request import BadRequest, Head
from seawall.http.response import refusal, serialize_response
from seawall.http.upgrade import UPGRADE_FIELDS, check_upgrade
from tests.http.test_request import EARLY, LATE, head_of, read
from tests.http.test_upgrade import UPGRADE


def client_reads(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """What h11, as a client, makes of an answer after which the connection ends."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    assert client.their_state is h11.MUST_CLOSE
    return answer, body


def test_a_response() -> None:
    """An answer is complete, has its length, says that the connection ends, and reads as it was meant."""
    data = serialize_response(404, "néin\n".encode(), headers=[("X-Extra", "caf\xe9")])
    *lines, date, blank, text = data.split(b"\r\n")
    assert [*lines, blank, text] == [
        b"HTTP/1.1 404 Not Found",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 6",
        b"Connection: close",
        b"X-Content-Type-Options: nosniff",
        b"X-Extra: caf\xe9",
        b"",
        "néin\n".encode(),
    ]
    assert date.startswith(b"Date: ")
    said = parsedate_to_datetime(date[6:].decode())
    assert date.endswith(b" GMT")
    assert abs((datetime.now(UTC) - said).total_seconds()) < 60
    answer, body = client_reads(data)
    assert (answer.status_code, body) == (404, "néin\n".encode())


def refused(data: bytes) -> BadRequest:
    """The refusal of these bytes, by the reader or of what they ask for."""
    with pytest.raises(BadRequest) as caught:
        check_upgrade(read(data), peer="127.0.0.1", secure=False)
    return caught.value


def check_answer(data: bytes, status: int, *, head_only: bool = False) -> None:
    """It is one short text with its length, has what its status demands, and says that it is the last."""
    found, body = client_reads(data, "HEAD" if head_only else "GET")
    fields = {name.decode(): value.decode() for name, value in found.headers}
    assert len(fields) == len(list(found.headers))
    assert found.status_code == status
    assert found.reason
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["connection"] == ("close, Upgrade" if status == 426 else "close")
    assert (fields.get("upgrade"), fields.get("sec-websocket-version")) == (
        ("websocket", "13") if status == 426 else (None, None)
    )
    assert ("allow" in fields) == (status == 405)
    length = int(fields["content-length"])
    assert 0 < length <= 64
    assert len(body) == (0 if head_only else length)
    assert head_only or (body.isascii() and body.endswith(b"\n"))


REFUSED = [
    *((data, status) for _, data, status, _ in EARLY + LATE),
    (head_of(*map(str.encode, UPGRADE), line=b"POST / HTTP/1.1"), 405),
    (head_of(), 426),
    (head_of(*map(str.encode, UPGRADE[:3])), 400),
    (head_of(*map(str.encode, UPGRADE[:2])), 426),
    (head_of(UPGRADE[0].encode()), 400),
]


def test_every_refusal_has_its_answer() -> None:
    """Whatever is refused is answered with a short text of ours, its length, and the end of the connection."""
    for data, status in REFUSED:
        bad = refused(data)
        made = refusal(bad.status, bad.reason, headers=bad.headers)
        assert (made.status, made.text) == (status, bad.reason)
        check_answer(made.data, status)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 431, 500, 503, 505])
def test_every_status_has_its_answer(status: int) -> None:
    """What is refused for other reasons than its head is answered in the same way, and to HEAD without a body."""
    check_answer(refusal(status, "no").data, status)
    check_answer(refusal(status, "no").without_body().data, status, head_only=True)


PAGE = Page(body=b"hello", media_type="text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("method", "page", "is_route", "status", "allow"),
    [
        ("GET", PAGE, False, 200, None),
        ("GET", PAGE, True, 200, None),
        ("GET", None, True, 426, None),
        ("GET", None, False, 404, None),
        ("HEAD", PAGE, False, 200, None),
        ("HEAD", PAGE, True, 200, None),
        ("HEAD", None, True, 405, "GET"),
        ("HEAD", None, False, 404, None),
        ("POST", PAGE, False, 405, "GET, HEAD, OPTIONS"),
        ("POST", PAGE, True, 405, "GET, HEAD, OPTIONS"),
        ("POST", None, True, 405, "GET"),
        ("POST", None, False, 404, None),
        ("get", PAGE, True, 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", None, True, 405, "GET"),
        ("OPTIONS", None, False, 404, None),
    ],
)
def test_every_plain_request_has_its_answer(
    method: str, page: Page | None, is_route: bool, status: int, allow: str | None
) -> None:
    """A request that asks for no WebSocket gets the page, or learns why there is none."""
    made = page_response(Head(method=method, target="/", path="/", query="", headers=()), page, is_route=is_route)
    made = made.without_body() if method == "HEAD" else made
    assert made.status == status
    found, body = client_reads(made.data, method)
    assert dict(found.headers).get(b"allow") == (None if allow is None else allow.encode())
    if status == 200:
        assert body == (b"" if method == "HEAD" else b"hello")
        assert dict(found.headers)[b"content-length"] == b"5"
    else:
        check_answer(made.data, status, head_only=method == "HEAD")


def test_an_empty_response() -> None:
    """A body may be empty, and a media type be another one."""
    data = serialize_response(200, b"", media_type="application/json")
    assert b"\r\nContent-Type: application/json\r\nContent-Length: 0\r\n" in data
    assert client_reads(data)[1] == b""


def test_a_response_to_head() -> None:
    """The answer to HEAD has the length of the body and not the body."""
    whole = refusal(404, "no")
    data = whole.without_body().data
    assert data == whole.data[: -len(b"no\n")]
    assert client_reads(data, "HEAD")[1] == b""


@pytest.mark.parametrize("headers", [(), UPGRADE_FIELDS], ids=["bare", "complete"])
def test_upgrade_required(headers: tuple[tuple[str, str], ...]) -> None:
    """A 426 has one Upgrade field and the connection option that belongs to it."""
    answer, _ = client_reads(serialize_response(426, b"no", headers=headers))
    fields = list(answer.headers)
    assert [value for name, value in fields if name == b"upgrade"] == [b"websocket"]
    assert [value for name, value in fields if name == b"connection"] == [b"close, Upgrade"]


def test_unregistered_status() -> None:
    """A status that has no phrase goes without one."""
    assert serialize_response(499, b"").startswith(b"HTTP/1.1 499 \r\n")


@pytest.mark.parametrize(
    ("status", "name", "value"),
    [
        *((status, "X", "y") for status in (-1, 0, 101, 199, 204, 304, 1000)),
        *((403, name, "1") for name in ("Content-Length", "transfer-encoding", "CONNECTION", "Content-Type")),
        *((403, "X", value) for value in ("a\r\nY: b", "a\nb", "\x00", " a", "☃")),
        *((403, name, "a") for name in ("", "a b", "a:", "é", "a\r\nb")),
    ],
)
def test_a_response_that_cannot_be_sent(status: int, name: str, value: str) -> None:
    """A status without a body, framing of one's own, and fields that would split the answer are refused."""
    with pytest.raises(ValueError, match=r"cannot answer|codec can't encode"):
        serialize_response(status, b"", headers=[(name, value)])
