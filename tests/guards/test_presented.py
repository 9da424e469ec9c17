"""Where a token is presented, byte by byte: cookies, ``Authorization``, and what only looks like one of them."""

from __future__ import annotations

import time
from typing import Final

import pytest

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError, NoCredentials, Unauthorized
from seawall.guards.bearer import bearer
from seawall.guards.guard import public
from seawall.handshake import Handshake
from seawall.http.request import MAX_HEAD, HeadReader
from seawall.http.upgrade import check_upgrade
from seawall.tokens import cookie, header
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import token, verified, verifier
from tests.kit.wire import TEXT, Frame, RawClient, request

#: The header line of a cookie, and the values of the cookies that are called ``__Host-s``.
COOKIES: Final[tuple[tuple[bytes, tuple[str, ...]], ...]] = (
    (b"\x85__Host-s=EVIL; __Host-s=GOOD", ("GOOD",)),
    (b"\xa0__Host-s=EVIL", ()),
    (b"a=1; \x85__Host-s=EVIL", ()),
    (b"a=1;\xa0__Host-s=EVIL;\x85 __Host-s=EVIL", ()),
    (b"__Host-s\x85=EVIL; __Host-s\xa0=EVIL", ()),
    (b"__Host-s=ONE; __Host-s=TWO", ("ONE", "TWO")),
    (b"__Host-s=ONE; a=1;\t__Host-s=ONE", ("ONE", "ONE")),
    (b"__Host-s =x", ()),
    (b"__Host-s\t=x", ()),
    (b'__Host-s="quoted"', ("quoted",)),
    (b'__Host-s="half', ('"half',)),
    (b'__Host-s="', ('"',)),
    (b'__Host-s=""', ("",)),
    (b'__Host-s=""twice""', ('"twice"',)),
    (b"a=1;__Host-s=GOOD;b", ("GOOD",)),
    (b"__Host-s=a=b=c", ("a=b=c",)),
    (b"__Host-s=GOOD\x85", ("GOOD\x85",)),
    (b"__HOST-S=x", ()),
    (b"=__Host-s=EVIL", ()),
    (b"__Host-s", ()),
)


def received(*lines: bytes) -> Handshake:
    """The handshake of a request with these header lines."""
    head = HeadReader().receive_data(request("/", *lines))
    assert head is not None
    return check_upgrade(head, peer="memory", secure=False)


@pytest.mark.parametrize(("line", "values"), COOKIES, ids=[repr(line) for line, _ in COOKIES])
def test_mended_02_cookies_of_a_name(line: bytes, values: tuple[str, ...]) -> None:
    """Around a pair SP and HTAB do not count, and everything else does; `cookie` is the first of `cookies`."""
    handshake = received(b"Cookie: " + line)
    assert handshake.cookies("__Host-s") == values
    assert handshake.cookie("__Host-s") == next(iter(values), None)


def test_mended_02_cookies_of_several_lines() -> None:
    """HTTP/2 proxies may pass cookies on in several fields; they are one list."""
    assert received(b"Cookie: s=1", b"Cookie: a=1; s=2").cookies("s") == ("1", "2")


async def tell(conn: Connection[object]) -> None:
    """Say who it is."""
    await conn.send(type(conn.principal).__name__)


async def answer(client: RawClient, *lines: bytes) -> int | str:
    """The status of a refusal, or who the client is."""
    await client.send(request("/", *lines))
    response = await client.response()
    if response.status != 101:
        return response.status
    frame = await client.frame()
    assert frame == Frame(TEXT, frame.payload)
    return frame.payload.decode()


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_02_a_cookie_that_another_site_has_set(over: Transport) -> None:
    """It is neither the one that only our own host can set nor in its way; two of the name are a wrong credential."""
    good, other = token("ada").encode(), token("eve").encode()
    app = App()
    app.route("/", guard=bearer(verifier, header(), cookie("__Host-s")) | public)(tell)
    async with serving(app, over) as place:
        for cookies, expected in (
            (b"__Host-s=" + good, "Claims"),
            (b"\x85__Host-s=" + other, "Anonymous"),
            (b"\xa0__Host-s=%b; __Host-s=%b" % (other, good), "Claims"),
            (b"__Host-s=%b; __Host-s=%b" % (good, other), 401),
            (b"__Host-s=%b; __Host-s=%b" % (good, good), 401),
            (b"__Host-s=; __Host-s=" + good, 401),
            (b"__Host-s=", "Anonymous"),
        ):
            assert await answer(await place.dial(), b"Cookie: " + cookies) == expected, cookies
            place.hang_up()


JWT: Final = token("ada", seconds=3600).encode()

#: An ``Authorization`` that is a wrong credential, and none that is missing.
WRONG: Final = (
    JWT,
    b"Token " + JWT,
    b"JWT " + JWT,
    b"DPoP " + JWT,
    b"Basic " + JWT,
    b"Bearer" + JWT,
    b"Bearer: " + JWT,
    b"Bearer=" + JWT,
    b"Bearer\x85" + JWT,
    b"Bearer\xa0nonsense",
    b"Bearer,nonsense",
    b'"Bearer ' + JWT + b'"',
    b"\x85Bearer " + JWT,
    b"\xa0" + JWT,
    b"Token token=" + JWT,
    b'Token token="' + JWT + b'"',
    b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
    b"eyJhbGciOiJIUzI1NiJ9..c2lnbmF0dXJl",
    b"eyAiYWxnIjogIkhTMjU2IiB9.e30.c2ln",
    b"ewogImFsZyI6ICJIUzI1NiJ9.e30.c2ln",
    b"eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d",
)

#: An ``Authorization`` of somebody else, such as a proxy's, beside which a client may be anonymous.
OF_OTHERS: Final = (
    b"Basic YTpi",
    b"Negotiate YIIJvwYGKwYBBQUCoIIJszCC",
    b'Digest username="ada", realm="www.example.com", uri="/eyes.of.example/"',
    b"Token 0123456789abcdef",
    b"Bearers x",
    b"1.2.3",
    b"a.b.c",
    b"eye.witness.example",
    b"",
)


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_mended_02_a_token_where_none_is_expected(value: bytes) -> None:
    """What has the shape of a JWT, or nearly the scheme of one, is a wrong credential: it makes nobody a stranger."""
    handshake = received(b"Authorization: " + value)
    with pytest.raises(Unauthorized) as caught:
        verified(header().find(handshake) or pytest.fail("it counts as missing"), verifier)
    assert not isinstance(caught.value, NoCredentials)
    assert JWT.decode() not in str(caught.value)


@pytest.mark.parametrize("value", OF_OTHERS, ids=repr)
def test_mended_02_an_authorization_of_others(value: bytes) -> None:
    """Other schemes are not ours to judge."""
    assert header().find(received(b"Authorization: " + value)) is None


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_02_a_token_under_another_scheme(over: Transport) -> None:
    """`bearer(v) | public` refuses it, and lets in who has another credential or none."""
    app = App()
    app.route("/", guard=bearer(verifier, header(), cookie("s")) | public)(tell)
    async with serving(app, over) as place:
        for lines, expected in (
            ((b"Authorization: Token " + JWT,), 401),
            ((b"Authorization: " + JWT, b"Cookie: s=" + JWT), 401),
            ((b"Authorization: Basic YTpi", b"Cookie: s=" + JWT), "Claims"),
            ((b"Authorization: Basic YTpi",), "Anonymous"),
            ((b"Authorization: Bearer \t " + JWT + b"\t ",), "Claims"),
            ((b"Authorization: Bearer " + JWT, b"Authorization: Basic YTpi"), 401),
            ((b"Authorization: Basic YTpi", b"Authorization: Basic YTpi"), 401),
        ):
            assert await answer(await place.dial(), *lines) == expected, lines
            place.hang_up()


@pytest.mark.parametrize("word", ["ey", "eyJhbGciOiJIUzI1", "ey.", ".", "Bearer ", "Bearer", " ", "e\xa0y", "a" * 16])
def test_mended_02_looking_for_a_token_takes_linear_time(word: str) -> None:
    """No header costs more than a hundredth of a second, however it is made."""
    value = (word * MAX_HEAD)[:MAX_HEAD]
    handshake = Handshake(path="/", host="localhost", key="", headers=(("authorization", value),), peer="memory")
    started = time.thread_time()
    try:
        header().find(handshake)
    except Unauthorized:
        pass
    assert time.thread_time() - started < 0.01


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("chat admin", {"chat", "admin"}),
        ("chat\tadmin", {"chat", "admin"}),
        ("  chat \t admin ", {"chat", "admin"}),
        ("chat\x85admin", {"chat\x85admin"}),
        ("chat\xa0admin", {"chat\xa0admin"}),
        ("chat\x0badmin", {"chat\x0badmin"}),
        ("chat\u2028admin", {"chat\u2028admin"}),
        ("chat\nadmin", {"chat\nadmin"}),
        (" ", set[str]()),
    ],
)
def test_mended_02_scopes_are_separated_by_spaces(scope: str, scopes: set[str]) -> None:
    """Nothing but a space or a tab makes two scopes of one."""
    assert verified(token(scope=scope), verifier).scopes == scopes


@pytest.mark.parametrize("name", ["", " ", "a b", "session=", "a;b", "s\xe9ance", "session\n"])
def test_mended_02_a_cookie_that_cannot_be(name: str) -> None:
    """A name that no cookie has is refused where it is written."""
    with pytest.raises(ConfigurationError, match="no cookie can have this name"):
        bearer(verifier, header(), cookie(name))
