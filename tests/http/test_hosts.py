"""Hosts: which values of ``Host`` are served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError
from seawall.http.hosts import LOOPBACK, UNRESTRICTED, HostCheck, any_host


def served(hosts: Sequence[str], host: str, *, secure: bool = False) -> bool:
    """Whether these hosts have this one."""
    return HostCheck.parse(hosts).admits(host, secure=secure)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "localhost:1", "localhost:", "localhost.:8765"),
        *("app.localhost", "a.b.localhost:1", "App.LocalHost.:1"),
        *("127.0.0.1", "127.0.0.1:8765", "127.1.2.3", "127.255.255.255:80", "127.0.0.1."),
        *("[::1]", "[::1]:8765", "[0:0:0:0:0:0:0:1]", "[::0001]:1"),
    ],
)
def test_mended_04_what_this_machine_calls_itself(host: str) -> None:
    """Served on loopback by default, with any port and in any spelling."""
    assert LOOPBACK.admits(host, secure=False)
    assert LOOPBACK.admits(host, secure=True)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost"),
        *(".localhost", "..localhost", "localhost..", ".", "..", "a.localhost..", "127.0.0.1.."),
        *("128.0.0.1", "127.0.0", "127.1", "127.0.0.01", "127.0.0.256", "127.0.0.1.1", "127.0.0.x", "127.example"),
        *("10.0.0.1", "0.0.0.0", "2130706433", "0x7f.0.0.1", "[::]", "[::2]", "[::ffff:127.0.0.1]", "[::1", "[]"),
        *("[::1::]", "[.]", "[127.0.0.1]"),
        *("localhost:x", "localhost:80:80", "::1", "local host", "localhost,evil.example", "localhost~", " localhost"),
    ],
)
def test_mended_04_what_a_stranger_has_resolved_to_it(host: str) -> None:
    """Any other name or address, and what only looks like one of ours, is not."""
    assert not LOOPBACK.admits(host, secure=False)
    assert not LOOPBACK.admits(host, secure=True)


@pytest.mark.parametrize(
    ("entry", "yes", "no"),
    [
        (
            "chat.example",
            ["chat.example", "CHAT.example.", "chat.example:1"],
            ["a.chat.example", "achat.example", "example"],
        ),
        ("chat.example.", ["chat.example", "chat.example.:1"], ["chat.example.example"]),
        (
            "*.chat.example",
            ["a.chat.example", "a.b.chat.example:1", "A.chat.example."],
            ["chat.example", ".chat.example", "achat.example", "a.chat.example.evil", "*.chat.exampl"],
        ),
        ("chat.example:8443", ["chat.example:8443", "chat.example:08443"], ["chat.example", "chat.example:443"]),
        ("*.a:1", ["b.a:1"], ["b.a", "b.a:2", "a:1"]),
        ("192.0.2.1", ["192.0.2.1", "192.0.2.1:1"], ["192.0.2.10", "a.192.0.2.1"]),
        ("[2001:db8::1]", ["[2001:DB8:0::1]", "[2001:db8::1]:443"], ["[2001:db8::2]"]),
        ("[2001:db8:0:0::1]:1", ["[2001:db8::1]:1"], ["[2001:db8::1]"]),
        ("my_box", ["my_box"], ["my-box"]),
        ("xn--bcher-kva.example", ["xn--bcher-kva.example"], ["bcher.example"]),
    ],
)
def test_mended_04_entries(entry: str, yes: list[str], no: list[str]) -> None:
    """A name is itself, ``*.`` all that is below it; no port means any, and neither case nor the last dot counts."""
    assert [host for host in yes if not served([entry], host)] == []
    assert [host for host in no if served([entry], host)] == []
    assert [host for host in yes if not served(["else.example", entry, "*.else.example"], host)] == []


def test_mended_04_a_port_that_the_request_leaves_out() -> None:
    """It is 443 over TLS; without TLS it is 80, or 443 where a proxy has ended TLS before."""
    assert served(["a:443"], "a", secure=True)
    assert not served(["a:80"], "a", secure=True)
    assert served(["a:443"], "a")
    assert served(["a:80"], "a:")
    assert not served(["a:8080"], "a")
    assert served(["a:1", "a:2"], "a:2")


@pytest.mark.parametrize("host", ["", "evil.example", "[::1]:1", "nonsense, \xff"])
def test_mended_04_any_host(host: str) -> None:
    """The waiver lets everything pass."""
    assert HostCheck.parse(any_host).admits(host, secure=True)
    assert UNRESTRICTED.admits(host, secure=False)


def test_mended_04_no_host_at_all() -> None:
    """Only a request of HTTP/1.0 can name none, which no browser sends: a load balancer's, for instance."""
    assert LOOPBACK.admits("", secure=False)
    assert served(["chat.example"], "")


def test_mended_30_by_address() -> None:
    """Any address is served, and of all names those of this machine and those that are given."""
    check = HostCheck.by_address("Box.lan.", "0.0.0.0", "no name", "*.lan")
    assert HostCheck.parse(check) is check
    for host in ("10.0.0.1", "10.0.0.1:80", "[2001:DB8::1]:9", "localhost", "a.localhost", "box.lan:1", "BOX.lan."):
        assert check.admits(host, secure=False), host
    for host in (
        "evil.example",
        "10.0.0.1.evil.example",
        "lan",
        "no name",
        "[::g]",
        "1.2.3.256",
        "0x7f.0.0.1",
        "1",
        ".",
    ):
        assert not check.admits(host, secure=False), host
    assert "hosts=['any address', " in check.explain("evil.example")


@pytest.mark.parametrize(
    "entry",
    [
        *("", " ", "*", "*.", "*.*.example", "a.*", "a*.example", "**.example", ".example", "a..b", "-", "a b", "a/b"),
        *("Chat.example", "https://chat.example", "chat.example/", "chat.example:", "chat.example:x", "a:0", "a:65536"),
        *("a:999999", "::1", "[::1", "[::g]", "[fe80::1%eth0]", "127.0.0.0/8", "127.1", "1.2.3.256", "010.0.0.1"),
        *("*.0.0.1", "*.[::1]", "bücher.example", "user@chat.example", "chat.example\n", "a,b"),
    ],
)
def test_mended_04_an_entry_that_no_request_names(entry: str) -> None:
    """An entry that could never match fails when it is defined, with what to write."""
    if entry == "-":
        HostCheck.parse([entry])  # odd, but a request can name it
        return
    with pytest.raises(ConfigurationError, match=r"hosts: .* is no host that a request names; write a name in lower"):
        HostCheck.parse(["good.example", entry])


def test_mended_04_hosts_that_are_no_list() -> None:
    """One string is a sequence of letters to Python, an empty list would serve nobody, and an entry is text."""
    with pytest.raises(ConfigurationError, match=r"hosts='chat.example': give a list, \['chat.example'\]"):
        HostCheck.parse("chat.example")
    empties: tuple[Sequence[str], ...] = ([], ())
    for empty in empties:
        with pytest.raises(ConfigurationError, match="no request could be answered; list the hosts, or say any_host"):
            HostCheck.parse(empty)
    with pytest.raises(ConfigurationError, match="7 is no host that a request names"):
        HostCheck.parse(cast("list[str]", [7]))


def test_mended_04_why_a_host_is_not_served() -> None:
    """The log gets the host and the list, both bounded and escaped, and where to write it."""
    assert HostCheck.parse(["chat.example", "*.a"]).explain("evil.example") == (
        "Host 'evil.example' is none of hosts=['chat.example', '*.a']; if it is yours, App(hosts=[...])"
    )
    assert LOOPBACK.explain("evil.example") == (
        "Host 'evil.example' is none of hosts=['localhost', '*.localhost', '127.0.0.0/8', '[::1]'], "
        "the default on loopback; if it is yours, App(hosts=[...])"
    )
    text = HostCheck.parse([f"a{number}" for number in range(1000)]).explain("\xff\x1b" * 5000)
    assert len(text) < 500
    assert text.replace("…", "").isascii()
    assert text.isprintable()


def test_mended_04_a_long_host_takes_no_time() -> None:
    """What fills a whole request head with dots is refused before its parents are compared."""
    began = time.thread_time()
    for _ in range(100):
        assert not served(["*.example"], ".".join("a" * 8000))
    assert time.thread_time() - began < 2


@given(st.text())
def test_mended_04_only_ours_get_in(host: str) -> None:
    """Whatever a header holds: nothing raises, and what gets in is a name of this machine, or nothing."""
    if LOOPBACK.admits(host, secure=False):
        name = host.lower().partition(":")[0].removesuffix(".")
        assert not host or name.endswith("localhost") or name.startswith(("127.", "["))
