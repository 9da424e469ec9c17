"""Subprotocols and queries as places for a token, byte by byte; and what a source may not be."""

from __future__ import annotations

from typing import Final

import pytest

from seawall import ConfigurationError, Connection, Unauthorized, inherited, public
from seawall.app import App
from seawall.guards.bearer import bearer
from seawall.guards.requirements import FirstMessage, QueryKey, Requirement, SubprotocolToken
from seawall.handshake import Handshake
from seawall.http.request import BadRequest, HeadReader
from seawall.http.upgrade import check_upgrade
from seawall.printable import redacted, safe
from seawall.routing.router import Router
from seawall.tokens import cookie, first_message, header, query, subprotocol
from tests.kit.tokens import token, verifier
from tests.kit.wire import request

JWT: Final = token()


async def quiet(conn: Connection[object]) -> None:
    """Say nothing."""


def received(path: str = "/", *lines: bytes) -> Handshake:
    """The handshake of a request with these header lines."""
    head = HeadReader().receive_data(request(path, *lines))
    assert head is not None
    return check_upgrade(head, peer="memory", secure=False)


def offering(offers: bytes) -> Handshake:
    """A handshake with these subprotocols."""
    return received("/", b"Sec-WebSocket-Protocol: " + offers)


#: What a client offers; what of it are subprotocols; the token, or None, or Unauthorized.
OFFERS: Final[tuple[tuple[bytes, tuple[str, ...], str | type[Exception] | None], ...]] = (
    (b"chat", ("chat",), None),
    (b"chat, bearer.abc", ("chat",), "abc"),
    (b"bearer.abc,chat", ("chat",), "abc"),
    (b"chat, bearer.a.b.c, news", ("chat", "news"), "a.b.c"),
    (b"chat, Bearer.abc", ("chat",), "abc"),
    (b"chat, BEARER.abc", ("chat",), "abc"),
    (b"chat, bearer.bearer.abc", ("chat",), "bearer.abc"),
    (b"chat, bearer", ("chat", "bearer"), None),
    (b"chat, bearer-abc", ("chat", "bearer-abc"), None),
    (b"chat, xbearer.abc", ("chat", "xbearer.abc"), None),
    (b"chat, bearer.", ("chat",), Unauthorized),
    (b"chat, bearer.abc, bearer.abd", ("chat",), Unauthorized),
    (b"chat, bearer.abc, Bearer.abc", ("chat",), Unauthorized),
    (b"chat, bearer.!#$%&'*+-.^_`|~", ("chat",), "!#$%&'*+-.^_`|~"),
)


@pytest.mark.parametrize(("offers", "subprotocols", "found"), OFFERS, ids=[repr(one[0]) for one in OFFERS])
def test_tokens_among_subprotocols(
    offers: bytes, subprotocols: tuple[str, ...], found: str | type[Exception] | None
) -> None:
    """What begins with ``bearer.`` is a token and no subprotocol, whatever the route asks for."""
    asked = offering(offers)
    assert asked.subprotocols == subprotocols
    if isinstance(found, type):
        with pytest.raises(found):
            subprotocol().find(asked)
    else:
        assert subprotocol().find(asked) == found


@pytest.mark.parametrize(
    "offers",
    [
        b"bearer.abc",
        b"bearer.",
        b"bearer.abc, bearer.abd",
        b"chat, bearer.abc, bearer.abc",
        b"chat, bearer.a/b",
        b"chat, bearer.abc=",
        b"chat, bearer.a b",
        b'chat, "bearer.abc"',
        b"chat, bearer.\xff",
        b"chat, bearer.a;b",
    ],
    ids=repr,
)
def test_offers_that_are_none(offers: bytes) -> None:
    """A token alone cannot be answered, and what is no token of HTTP is no subprotocol: 400."""
    with pytest.raises(BadRequest, match="400"):
        offering(offers)


def test_tokens_in_several_lines_of_subprotocols() -> None:
    """The field may come several times; it is one list."""
    asked = received("/", b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Protocol: bearer.abc, news")
    assert (asked.subprotocols, subprotocol().find(asked)) == (("chat", "news"), "abc")
    renewed = subprotocol().with_token(asked, JWT)
    assert subprotocol().find(renewed) == JWT
    assert renewed.subprotocols == ("chat", "news")
    assert renewed.header("sec-websocket-protocol") == f"chat, bearer.{JWT}, news"


#: A query, and the token that ``query("token")`` finds in it, or None, or Unauthorized.
QUERIES: Final[tuple[tuple[str, str | type[Exception] | None], ...]] = (
    ("", None),
    ("a=b", None),
    ("token=abc", "abc"),
    ("a=b&token=abc&c=d", "abc"),
    ("token=a%2Eb%2ec", "a.b.c"),
    ("t%6Fken=abc", "abc"),
    ("%74%6f%6b%65%6e=%61%62%63", "abc"),
    ("token=a+b", "a+b"),
    ("token=a%2Bb", "a+b"),
    ("token=a=b", "a=b"),
    ("token=a;b", "a;b"),
    ("token=a%26token=b", "a&token=b"),
    ("token=%FF", "\ufffd"),
    ("token=%", "%"),
    ("token=%zz", "%zz"),
    ("token=a%00b", "a\0b"),
    ("TOKEN=abc", None),
    ("token[]=abc", None),
    ("xtoken=abc", None),
    ("token%3Dabc", None),
    (";token=abc", None),
    ("a=b;token=abc", None),
    ("?token=abc", None),
    ("token", Unauthorized),
    ("token=", Unauthorized),
    ("token=abc&token=abc", Unauthorized),
    ("token=abc&t%6Fken=abd", Unauthorized),
    ("token=&token=abc", Unauthorized),
    ("token&token=abc", Unauthorized),
)


@pytest.mark.parametrize(("asked", "found"), QUERIES)
def test_tokens_in_a_query(asked: str, found: str | type[Exception] | None) -> None:
    """Names and values are percent-decoded once; two of the name, or one without a value, are a wrong credential."""
    source, handshake = query("token", reusable=True), received(f"/?{asked}")
    if isinstance(found, type):
        with pytest.raises(found):
            source.find(handshake)
        return
    assert source.find(handshake) == found
    if found is not None:
        renewed = source.with_token(handshake, JWT)
        assert source.find(renewed) == JWT
        kept = [
            part for part in asked.split("&") if "=" in part and not part.lower().startswith(("token", "t%6f", "%74"))
        ]
        assert all(part in renewed.query.split("&") for part in kept)


def test_their_handshakes_and_reprs_show_none() -> None:
    """A token is in no repr, of the handshake before and after a renewal."""
    asked = received(
        f"/?token={JWT}", b"Sec-WebSocket-Protocol: chat, bearer." + JWT.encode(), b"Cookie: s=" + JWT.encode()
    )
    for one in (asked, query("token", reusable=True).with_token(asked, JWT), subprotocol().with_token(asked, JWT)):
        assert JWT not in repr(one)
        assert JWT not in str(one.subprotocols)


def test_what_a_query_is_not() -> None:
    """A name that no parameter has, an argument that is no bool, and sources that stand in each other's way."""
    with pytest.raises(ConfigurationError, match="reusable=True"):
        query("token", reusable=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
    for name in ("", "a b", "a=b", "a&b", "ä", "%74", "a\n", None, 5, b"token"):
        with pytest.raises(ConfigurationError, match="name of a parameter"):
            query(name, reusable=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
    for ack in ("\ud800", 5, b"ok"):
        with pytest.raises(ConfigurationError, match="ack="):
            first_message(ack=ack)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no checker has seen it
    with pytest.raises(ConfigurationError, match="named twice"):
        bearer(verifier, query("a", reusable=True), query("a", reusable=True))
    with pytest.raises(ConfigurationError, match="name it last"):
        bearer(verifier, first_message(ack="ok"), subprotocol())


def test_what_they_ask_for() -> None:
    """Each has words, and a scheme where there is one; only a cookie is sent whatever page asks."""
    sources = (subprotocol(), query("t", reusable=True), query("once"), first_message(ack="ok"))
    assert [source.describe() for source in sources] == [
        Requirement(text="a token among the subprotocols, as bearer.<token>", scheme=SubprotocolToken()),
        Requirement(text="a token in the query, as t=<token>", scheme=QueryKey("t")),
        Requirement(text="a ticket in the query, as once=<ticket>", scheme=QueryKey("once")),
        Requirement(text="a token as the first message", scheme=FirstMessage()),
    ]
    assert not bearer(verifier, header(), *sources).reads_cookie()
    assert bearer(verifier, cookie("s"), *sources).reads_cookie()


def test_a_route_has_something_to_answer() -> None:
    """Where a token may come among the subprotocols, the route speaks one, which is none of these; in routers too."""
    guard = bearer(verifier, header(), subprotocol())
    with pytest.raises(ConfigurationError, match=r"quiet\(\).*subprotocols=\['chat.v1'\]"):
        App().route("/", guard=guard | public)(quiet)
    inner: Router[object] = Router()
    inner.route("/", guard=inherited())(quiet)
    with pytest.raises(ConfigurationError, match="none is there to be answered"):
        App().mount("/a", inner, guard=guard)
    App().route("/", guard=guard, subprotocols=["chat"])(quiet)
    for name in ("bearer.chat", "Bearer.", "bearer.v1"):
        with pytest.raises(ConfigurationError, match="never answered"):
            App().route("/", guard=public, subprotocols=["chat", name])(quiet)


def test_what_a_query_names_is_redacted() -> None:
    """From then on the name's values are redacted in all texts, also where they have not the shape of a token."""
    assert redacted("/?door_key=opaque") == "/?door_key=opaque"
    query("door_key", reusable=True)
    for text in (
        "/?a=b&door_key=opaque&c=d",
        "{'door_key': 'opaque'}",
        '{"door_key": ["opaque"]}',
        "DOOR_KEY=opaque",
        "door_key%3Dopaque",
    ):
        assert "opaque" not in redacted(text)
        assert "opaque" not in safe(text)
        assert redacted(redacted(text)) == redacted(text)
    assert redacted("outdoor_key=wood") == "outdoor_key=wood"
