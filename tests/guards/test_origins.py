"""Origins: which pages a browser may connect from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError
from seawall.guards.origins import OriginCheck, Origins, any_origin, same_origin
from seawall.handshake import Handshake


def asked(origin: str | None, host: str = "chat.example", *, secure: bool = False) -> Handshake:
    """A handshake from a page of this origin."""
    headers = () if origin is None else (("origin", origin),)
    return Handshake(path="/", host=host, key="x", headers=headers, peer="memory", secure=secure)


def admits(origins: Origins, origin: str | None, host: str = "chat.example") -> bool:
    """Whether the rule lets the page in."""
    return OriginCheck.parse(origins).admits(asked(origin, host))


SAME = [
    # The plain cases: page and server on one address.
    ("http://chat.example", "chat.example"),
    ("http://chat.example:8765", "chat.example:8765"),
    ("http://127.0.0.1:8765", "127.0.0.1:8765"),
    ("http://localhost:8765", "localhost:8765"),
    # TLS that ends at a proxy, or here: the scheme does not count.
    ("https://chat.example", "chat.example"),
    ("https://chat.example:8443", "chat.example:8443"),
    # Default ports may be there or not.
    ("http://chat.example", "chat.example:80"),
    ("http://chat.example", "chat.example:"),
    ("https://chat.example", "chat.example:443"),
    ("http://chat.example:80", "chat.example"),
    ("https://chat.example:443", "chat.example"),
    ("https://chat.example:443", "chat.example:443"),
    # Case does not count.
    ("HTTPS://Chat.Example", "chat.EXAMPLE"),
    # IPv6.
    ("http://[::1]:8765", "[::1]:8765"),
    ("http://[::1]", "[::1]"),
    ("https://[2001:db8::1]", "[2001:DB8::1]:443"),
    # Names that are legal, if odd.
    ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("http://my_box", "my_box"),
]

OTHER = [
    ("http://evil.example", "chat.example"),
    ("http://chat.example.evil.example", "chat.example"),
    ("http://evil-chat.example", "chat.example"),
    ("http://sub.chat.example", "chat.example"),
    ("http://chat.exampl", "chat.example"),
    # Another port is another origin.
    ("http://chat.example:8080", "chat.example"),
    ("http://chat.example", "chat.example:8080"),
    ("http://chat.example:8080", "chat.example:8081"),
    ("http://chat.example", "chat.example:443"),
    ("https://chat.example", "chat.example:80"),
    ("http://[::1]:1", "[::1]:2"),
    ("http://[::1]", "[::2]"),
    # What is no origin of a page.
    ("null", "chat.example"),
    ("null", "null"),
    ("", "chat.example"),
    ("", ""),
    ("chat.example", "chat.example"),
    ("//chat.example", "chat.example"),
    ("file://", ""),
    ("file://chat.example", "chat.example"),
    ("chrome-extension://abcdefghijklmnop", "abcdefghijklmnop"),
    ("data:text/html,chat.example", "chat.example"),
    # What only looks like ours.
    ("http://chat.example@evil.example", "chat.example"),
    ("http://evil.example@chat.example", "chat.example"),
    ("http://user:pass@chat.example", "chat.example"),
    ("http://chat.example/", "chat.example"),
    ("http://chat.example/path", "chat.example"),
    ("http://chat.example?x", "chat.example"),
    ("http://chat.example#x", "chat.example"),
    ("http://chat.example:", "chat.example"),
    ("http://chat.example:80:80", "chat.example"),
    ("http://chat.example:x", "chat.example"),
    ("http://chat.example:\u0668\u0660", "chat.example"),
    ("http://chat.example ", "chat.example"),
    (" http://chat.example", "chat.example"),
    ("http://chat.example\n", "chat.example"),
    ("http://chat.example http://evil.example", "chat.example"),
    ("http://chat.example, http://evil.example", "chat.example"),
    ("http://chat.example.", "chat.example"),
    ("http://ch\u0430t.example", "chat.example"),
    ("http://\u212aelvin.example", "kelvin.example"),
]


@pytest.mark.parametrize(("origin", "host"), SAME)
def test_the_same_origin(origin: str, host: str) -> None:
    """Host and port alike, default ports and the scheme aside: the page is ours."""
    assert admits(same_origin, origin, host)


@pytest.mark.parametrize(("origin", "host"), OTHER)
def test_another_origin(origin: str, host: str) -> None:
    """Anything else is somebody else's page, or none."""
    assert not admits(same_origin, origin, host)


def test_mended_05_on_tls_a_page_over_plain_http_is_another_origin() -> None:
    """Whoever is in between could have replaced such a page; without TLS here, a proxy may have ended it before."""
    check = OriginCheck.parse(same_origin)
    for origin in ("http://chat.example", "http://chat.example:443", "http://chat.example:80", "HTTP://CHAT.example"):
        for host in ("chat.example", "chat.example:443", "chat.example:80"):
            assert not check.admits(asked(origin, host, secure=True))
    for host in ("chat.example", "chat.example:443"):
        assert check.admits(asked("https://chat.example", host, secure=True))
    assert not check.admits(asked("https://chat.example", "chat.example:8443", secure=True))
    for origin in ("http://chat.example", "https://chat.example"):
        assert check.admits(asked(origin))
    for rule in (any_origin, ["http://chat.example"]):
        assert OriginCheck.parse(rule).admits(asked("http://chat.example", secure=True))


@pytest.mark.parametrize(
    ("rule", "secure", "why"),
    [
        (same_origin, False, "is not that of Host 'chat.example:8443'; behind a proxy pass Host with its port"),
        (same_origin, True, "is not that of Host 'chat.example:8443' over https; if a proxy speaks TLS to us, list"),
        (["https://b.example", "https://a.example"], False, "is none of origins=['https://a.example', 'https://b."),
        ([], True, "is none of origins=[]"),
    ],
    ids=["plain", "TLS", "listed", "nothing listed"],
)
def test_mended_21_a_refused_origin_names_what_it_was_held_against(rule: Origins, secure: bool, why: str) -> None:
    """For the log: the origin, and the host or the list with which it was compared."""
    handshake = asked("http://chat.example", "chat.example:8443", secure=secure)
    assert OriginCheck.parse(rule).explain(handshake).startswith(f"origin 'http://chat.example' {why}")


def test_mended_21_what_names_it_is_bounded_and_escaped() -> None:
    """Whatever a client sends, and however long a list is."""
    many = [f"https://{number}.example" for number in range(1000)]
    for rule in (same_origin, many):
        text = OriginCheck.parse(rule).explain(asked("\x1b[2J\xff" * 2000, "h" * 5000))
        assert len(text) < 500
        assert text.replace("…", "").isascii()
        assert text.isprintable()


@pytest.mark.parametrize("origins", [same_origin, any_origin, [], ["https://chat.example"]], ids=repr)
def test_no_origin_is_no_browser(origins: Origins) -> None:
    """A request without an origin does not come from a page; it passes, whatever the rule."""
    assert admits(origins, None)


def test_any_origin() -> None:
    """Every page, `null` and nonsense included."""
    for origin in ("https://evil.example", "null", "", "\xff"):
        assert admits(any_origin, origin)


def test_listed_origins_match_exactly() -> None:
    """Listed origins are compared as text, and replace the rule for our own."""
    origins = ["https://chat.example", "http://localhost:3000", "app://desktop", "http://[::1]:3000"]
    for origin in origins:
        assert admits(origins, origin)
    for origin in (
        "http://chat.example",
        "https://chat.example:8443",
        "https://www.chat.example",
        "https://chat.example.evil.example",
        "https://CHAT.example",
        "http://localhost",
        "null",
        "",
        "http://chat.example",
    ):
        assert not admits(origins, origin)


def test_mended_23_origins_without_a_host_can_be_listed() -> None:
    """Browsers send them, for sandboxed frames and for files: who wants these lists them, and nobody else has them."""
    for origin in ("null", "file://"):
        assert admits([origin], origin)
        assert not admits([origin], "https://chat.example")
        assert not admits(["https://chat.example"], origin)
        assert not admits(same_origin, origin)
    with pytest.raises(ConfigurationError, match=r"'null' or 'file://' for pages without a host, which are anybody's"):
        OriginCheck.parse(["nil"])


def test_an_empty_list() -> None:
    """No page at all: the clients are programs."""
    assert not admits([], "http://chat.example")


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "Null",
        "file:///",
        "file://chat.example/",
        "chat.example",
        "https://",
        "https://chat.example/",
        "https://chat.example/app",
        "https://Chat.example",
        "HTTPS://chat.example",
        "https://user@chat.example",
        "https://chat.example?x",
        "https://chat.example:",
        "https://chat.example:123456",
        "https://bücher.example",
        "https://chat.example ",
        "https://chat.example\n",
    ],
)
def test_an_entry_that_no_browser_sends(origin: str) -> None:
    """An entry that could never match fails when it is defined, with what to write."""
    with pytest.raises(ConfigurationError, match=r"is not one that a browser sends: write scheme://host.*any_origin"):
        OriginCheck.parse(["https://good.example", origin])


@pytest.mark.parametrize("origin", ["http://a.example:80", "https://a.example:443", "ws://a:80", "wss://a:443"])
def test_an_entry_with_its_default_port(origin: str) -> None:
    """Browsers leave the default port out, so an entry that has it could never match."""
    with pytest.raises(ConfigurationError, match="browsers leave out the default port; remove :"):
        OriginCheck.parse([origin])


@pytest.mark.parametrize("origins", ["https://chat.example", ""])
def test_one_string_is_not_a_list(origins: str) -> None:
    """A string is a sequence of letters to Python; the remedy is shown."""
    with pytest.raises(ConfigurationError, match="give a list, \\["):
        OriginCheck.parse(origins)


@given(st.text(), st.text())
def test_only_a_web_page_of_our_host_gets_in(origin: str, host: str) -> None:
    """Whatever the headers hold: nothing raises, and what gets in names the host."""
    if admits(same_origin, origin, host):
        assert origin.lower().startswith(("http://", "https://"))
        assert host.lower().partition(":")[0].strip("[") in origin.lower()
