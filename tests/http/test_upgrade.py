"""The opening handshake, case by case: what RFC 6455, section 4.2.1, asks for, and what goes down in its place."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request

from seawall.handshake import Handshake
from seawall.http.request import BadRequest, Head
from seawall.http.upgrade import UPGRADE_FIELDS, canonical_head, check_upgrade
from tests.http.test_request import ALPHANUMERIC, IN_VALUES, TOKEN, head_of, read

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")


def opening(*fields: str, without: str = "", method: str = "GET") -> Head:
    """A valid opening handshake with these fields more and one fewer."""
    kept = [field for field in UPGRADE if not without or not field.startswith(without)]
    raw = [field.encode("latin-1") for field in [*kept, *fields]]
    return read(head_of(*raw, line=f"{method} /c?q HTTP/1.1".encode()))


def shake(head: Head) -> Handshake:
    """The handshake that a head asks for."""
    return check_upgrade(head, peer="127.0.0.1:50000", secure=True)


def test_a_handshake() -> None:
    """A valid request becomes a handshake that has everything and shows no secret."""
    head = opening("Origin: https://example.com", "Sec-WebSocket-Protocol: chat, bearer.secret")
    assert shake(head) == Handshake(
        path="/c",
        query="q",
        host="example.com",
        key=KEY,
        headers=head.headers,
        subprotocols=("chat",),  # the other one is a token
        peer="127.0.0.1:50000",
        secure=True,
    )
    assert shake(head).origin == "https://example.com"


@pytest.mark.parametrize(
    ("without", "fields"),
    [
        ("Connection", ["Connection: keep-alive, Upgrade"]),
        ("Connection", ["Connection: keep-alive", "Connection: ,uPGRADE\t,"]),
        ("Upgrade", ["Upgrade: WebSocket"]),
        ("Upgrade", ["Upgrade: h2c", "Upgrade: ,, websocket"]),
        ("", ["Connection: \xe9", "Sec-WebSocket-Extensions: \xff", "Upgrade: \xb5"]),
        ("", ["Origin: null"]),
    ],
)
def test_lists_over_any_number_of_lines(without: str, fields: list[str]) -> None:
    """Tokens are found wherever a list may put them, and unknown bytes beside them are only bytes."""
    assert shake(opening(*fields, without=without)).key == KEY


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ([], ()),
        (["Sec-WebSocket-Protocol: a"], ("a",)),
        (["Sec-WebSocket-Protocol: a,b , c"], ("a", "b", "c")),
        (["Sec-WebSocket-Protocol: b", "Sec-WebSocket-Protocol: ,a,,A"], ("b", "a", "A")),
    ],
)
def test_subprotocols(fields: list[str], offered: tuple[str, ...]) -> None:
    """What is offered keeps its order over any number of lines; empty elements do not count."""
    assert shake(opening(*fields)).subprotocols == offered


METHOD = "only GET opens a WebSocket"
VERSION = "only WebSocket version 13 is spoken here"
PLAIN = "this is a WebSocket endpoint"
CONNECTION = "Connection does not list upgrade"
BAD_KEY = "not exactly one valid Sec-WebSocket-Key"
PROTOCOL = "bad Sec-WebSocket-Protocol"

UNFIT: list[tuple[Head, int, str]] = [
    *((opening(method=method), 405, METHOD) for method in ("POST", "HEAD", "CONNECT", "GETS")),
    (opening(without="Upgrade"), 426, PLAIN),
    (opening("Upgrade: h2c", without="Upgrade"), 426, PLAIN),
    (opening("Upgrade: websockets", "Upgrade: web socket", without="Upgrade"), 426, PLAIN),
    (opening(without="Connection"), 400, CONNECTION),
    (opening("Connection: close", without="Connection"), 400, CONNECTION),
    (opening("Connection: up grade, upgrade\xa0", without="Connection"), 400, CONNECTION),
    (opening(without="Sec-WebSocket-Version"), 426, VERSION),
    (opening("Sec-WebSocket-Version: 13"), 426, VERSION),
    *((opening(f"Sec-WebSocket-Version: {version}", without="Sec-WebSocket-Version"), 426, VERSION)
      for version in ("", "8", "013", "13, 8", "13,13", "1\xb3")),
    (opening(without="Sec-WebSocket-Key"), 400, BAD_KEY),
    (opening(f"Sec-WebSocket-Key: {KEY}"), 400, BAD_KEY),
    *((opening(f"Sec-WebSocket-Key: {key}", without="Sec-WebSocket-Key"), 400, BAD_KEY) for key in (
        "", KEY[:-1], KEY[:-2], KEY + "=", "A" * 22, "A" * 24, "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25j_Q==", "dGhlIHNhbXBs ZSBub25jZQ==", f"{KEY}, {KEY}",
        "\xe9GhlIHNhbXBsZSBub25jZQ==",
    )),
    *((opening(f"Sec-WebSocket-Protocol: {offer}"), 400, PROTOCOL) for offer in (
        "", ",", "a b", "a, a", "a/b", "\xff", "a;q=1", '"a"', "a, \xa0",
    )),
    (opening("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"), 400, PROTOCOL),
    (opening("Origin: https://a.example", "Origin: https://a.example"), 400, "more than one Origin"),
    (Head(method="GET", target="/", path="/", query="", headers=(*opening().headers, ("host", "b"))), 400,
     "not exactly one Host"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "status", "reason"), UNFIT, ids=[str(index) for index in range(len(UNFIT))])
def test_unfit_handshakes(head: Head, status: int, reason: str) -> None:
    """Each departure from RFC 6455, section 4.2.1, has its status and the fields that the status demands."""
    with pytest.raises(BadRequest) as caught:
        shake(head)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    demanded = {405: (("Allow", "GET"),), 426: UPGRADE_FIELDS}
    assert caught.value.headers == demanded.get(status, ())
    assert str(caught.value) == f"{status} {reason}"


@pytest.mark.parametrize("change", [str.lower, str.upper, str.swapcase], ids=["lower", "upper", "swapped"])
def test_names_in_any_case(change: Callable[[str], str]) -> None:
    """The names of fields have no case, and neither have the tokens in Upgrade and Connection."""
    fields = [change(line) for line in UPGRADE[:2]]
    fields += [f"{change(name)}:{value}" for name, _, value in (line.partition(":") for line in UPGRADE[2:])]
    assert shake(read(head_of(*map(str.encode, fields)))).key == KEY


def offers(offer: str) -> tuple[str, ...] | str:
    """The subprotocols that this offers, or why it is refused."""
    try:
        return shake(opening(f"Sec-WebSocket-Protocol: {offer}")).subprotocols
    except BadRequest as bad:
        return bad.reason


def test_every_byte_of_a_subprotocol() -> None:
    """A subprotocol is a token; a comma makes two of it."""
    tokens = {byte: (f"a{chr(byte)}b",) for byte in TOKEN}
    found = {byte: offers(f"a{chr(byte)}b") for byte in IN_VALUES}
    assert found == {**dict.fromkeys(IN_VALUES, PROTOCOL), **tokens, ord(","): ("a", "b")}


def test_every_byte_of_a_key() -> None:
    """A key has the alphabet of base64 (RFC 4648, section 4), and not the one for URLs."""
    accepted: set[int] = set()
    for byte in IN_VALUES - {*b" \t"}:  # white space before a value is not part of it
        try:
            shake(opening(f"Sec-WebSocket-Key: {chr(byte)}{KEY[1:]}", without="Sec-WebSocket-Key"))
        except BadRequest:
            continue
        accepted.add(byte)
    assert accepted == ALPHANUMERIC | {*b"+/"}


def test_mended_15_every_key_of_16_bytes_passes() -> None:
    """Four bits of the last letter are not used, and may be anything: RFC 6455 has one set in section 4.1, item 7."""
    example = "AQIDBAUGBwgJCgsMDQ4PEC=="
    assert shake(opening(f"Sec-WebSocket-Key: {example}", without="Sec-WebSocket-Key")).key == example
    for letter in f"{string.ascii_letters}{string.digits}+/":
        head = opening(f"Sec-WebSocket-Key: {'/' * 21}{letter}==", without="Sec-WebSocket-Key")
        assert shake(head).key.endswith(f"{letter}==")


def test_wants_upgrade() -> None:
    """A request for a page is told from one for a WebSocket by its Upgrade field alone."""
    assert opening().wants_upgrade
    assert not read(head_of()).wants_upgrade


def test_canonical_head() -> None:
    """What goes down holds the key and the chosen subprotocol, and nothing else that a client wrote."""
    shaken = shake(opening("Sec-WebSocket-Protocol: a, chat", "Origin: https://x.example", "X: \xff"))
    assert canonical_head(shaken, None).decode().split("\r\n") == [
        "GET / HTTP/1.1",
        "Host: seawall",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "",
        "",
    ]
    assert canonical_head(shaken, "chat").endswith(b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")


def test_canonical_head_is_understood_below() -> None:
    """The canonical head is an opening handshake to wsproto, and one to ourselves."""
    shaken = shake(opening("Sec-WebSocket-Protocol: a, chat"))
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(canonical_head(shaken, "chat"))
    (event,) = server.events()
    assert isinstance(event, Request)
    assert (event.host, event.target, event.subprotocols) == ("seawall", "/", ["chat"])
    assert shake(read(canonical_head(shaken, "chat"))).subprotocols == ("chat",)


def test_a_subprotocol_must_have_been_offered() -> None:
    """Nothing else can be chosen, so nothing else can get into the canonical head."""
    with pytest.raises(ValueError, match="not one that the client offered"):
        canonical_head(shake(opening("Sec-WebSocket-Protocol: a")), "b\r\nX: y")
