"""What bounds tries, each part alone: the table, the marks of browsers, the turns, the networks of clients."""

from __future__ import annotations

import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import ConfigurationError, Handshake
from seawall.login.attempts import account_of
from seawall.login.checks import MAX_WAITING, PATIENCE, PasswordChecks
from seawall.login.clients import Clients
from seawall.login.credentials import Credentials
from seawall.login.device_cookie import LIFETIME, DeviceMarks
from seawall.login.issuer import TokenIssuer, derived_keys
from seawall.login.tries import WITHIN, Tries
from seawall.sessions import LoginLimits

KEY, OTHER = b"k" * 32, b"o" * 32

# ------------------------------------------------------------------------------------------------------- the table


def test_so_many_in_a_minute() -> None:
    """The one too many has to wait until the first is a minute ago; what is refused is not counted."""
    tries = Tries(3)
    for now in (0.0, 1.0, 2.0):
        assert tries.wait(b"ada", now) == 0
        tries.add(b"ada", now)
    assert tries.wait(b"ada", 2.0) == 58
    assert tries.wait(b"ada", 59.5) == 0.5
    assert tries.wait(b"bob", 2.0) == 0
    assert tries.wait(b"ada", 60.0) == 0
    tries.add(b"ada", 60.0)
    assert tries.wait(b"ada", 60.0) == 1


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 6))
def test_never_more_in_any_minute(gaps: list[float], at_most: int) -> None:
    """Whenever somebody tries, there are never more in 60 seconds, and nobody waits for longer than it takes."""
    tries, now, allowed = Tries(at_most), 0.0, deque[float]()
    for gap in gaps:
        now += gap
        recent = [time for time in allowed if time + WITHIN > now]
        wait = tries.wait(b"ada", now)
        assert (wait == 0) == (len(recent) < at_most)
        assert wait <= WITHIN + 1e-9
        if not wait:
            tries.add(b"ada", now)
            allowed.append(now)


def test_one_that_was_none_is_taken_back() -> None:
    """It is counted no more; to take back what is not there changes nothing."""
    tries = Tries(1)
    tries.add(b"ada", 5.0)
    tries.take_back(b"ada", 4.0)
    tries.take_back(b"bob", 5.0)
    assert tries.wait(b"ada", 6.0) == 59
    tries.take_back(b"ada", 5.0)
    assert tries.wait(b"ada", 6.0) == 0


def test_another_run_has_another_clock() -> None:
    """An app that is served again, as in the next test of a user's, begins with no tries, whatever its clock says."""
    tries = Tries(1)
    tries.add(b"ada", 900_000.0)
    assert tries.wait(b"ada", 10_000.0) == 0
    tries.add(b"ada", 10_000.0)
    assert tries.wait(b"ada", 10_001.0) == 59
    tries.add(b"bob", 10_002.0)
    assert len(tries) == 2


def test_it_is_bounded_and_keeps_nobody_out() -> None:
    """Any number of names have no more than 65,536 places, and hardly ever somebody else's; a minute later, none."""
    tries = Tries(20)
    for number in range(50_000):
        tries.add(str(number).encode(), 1.0)
    assert 30_000 < len(tries) < 40_000
    assert sum(tries.wait(f"user {number}".encode(), 2.0) > 0 for number in range(1000)) == 0
    tries.add(b"ada", 62.0)
    assert len(tries) == 1


def test_a_place_cannot_be_foreseen() -> None:
    """Who shares a place with whom differs from process to process."""

    def shares(tries: Tries) -> list[int]:
        for number in range(200):
            tries.add(f"victim {number}".encode(), 0.0)
        return [number for number in range(5000) if tries.wait(str(number).encode(), 0.0)]

    assert shares(Tries(1)) != shares(Tries(1))


# ------------------------------------------------------------------------------------------- what browsers are known by


def test_a_browser_is_known_for_an_account() -> None:
    """By a mark, for a year, of which nothing tells the account; and to whoever has the key."""
    marks = DeviceMarks(KEY)
    cookie = marks.renewed(None, b"ada", 1000.0)
    assert len(cookie) == 43
    assert "ada" not in cookie
    assert marks.find(cookie, b"ada", 1000.0 + LIFETIME - 1)
    assert marks.find(cookie, b"ada", 1000.0 + LIFETIME) is None
    assert marks.find(cookie, b"bob", 1000.0) is None
    assert DeviceMarks(OTHER).find(cookie, b"ada", 1000.0) is None
    assert DeviceMarks(OTHER, KEY).find(cookie, b"ada", 1000.0) == marks.find(cookie, b"ada", 1000.0)
    assert marks.renewed(None, b"ada", 1000.0) != cookie


def test_the_keys_of_marks() -> None:
    """They are of an issuer's keys, those of before too, and others for each audience, and for each use."""
    one, new = (f"secret of one server, which is long enough {number}" for number in (1, 2))

    def keys(key: str, *previous: str, audience: str = "chat", label: bytes = b"a: b") -> tuple[bytes, ...]:
        return derived_keys(TokenIssuer(key, issuer="i", audience=audience, previous=previous), label)

    assert len({*keys(one), *keys(new), *keys(one, audience="mail"), *keys(one, label=b"a: c")}) == 4
    assert keys(new, one) == (*keys(new), *keys(one))


def test_a_mark_cannot_be_forged() -> None:
    """A change of any bit that counts makes it nobody's; one in what base64 has to spare changes nothing."""
    marks = DeviceMarks(KEY)
    cookie = marks.renewed(None, b"ada", 1000.0)
    data = bytearray(urlsafe_b64decode(f"{cookie}="))
    known = marks.find(cookie, b"ada", 1000.0)
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            forged = urlsafe_b64encode(changed).rstrip(b"=").decode()
            assert marks.find(forged, b"ada", 1000.0) is None
    spare = next(letter for letter in "ABCDEFGHIJ" if urlsafe_b64decode(f"{cookie[:-1]}{letter}=") != bytes(data))
    assert marks.find(cookie[:-1] + spare, b"ada", 1000.0) in {None, known}


@pytest.mark.parametrize(
    "cookie", [None, "", ".", "a" * 42, "a" * 44, "\u00e4" * 43, "." * 10_000, "a" * 43 + "=", "-" * 43]
)
def test_nonsense_is_no_mark(cookie: str | None) -> None:
    """It finds nobody, and goes, but for what has the shape of one."""
    marks = DeviceMarks(KEY)
    assert marks.find(cookie, b"ada", 0.0) is None
    assert len(marks.renewed(cookie, b"ada", 0.0)) in (43, 87)


def test_a_browser_of_several() -> None:
    """It is known for the last four accounts, each once; the cookie stays small whatever it was before."""
    marks = DeviceMarks(KEY)
    cookie: str | None = None
    names = [b"a", b"b", b"c", b"a", b"d", b"e", b"a"]
    for name in names:
        cookie = marks.renewed(cookie, name, 0.0)
    assert cookie is not None
    assert len(cookie) == 4 * 44 - 1
    assert [name for name in (b"a", b"b", b"c", b"d", b"e") if marks.find(cookie, name, 0.0)] == [
        b"a",
        b"c",
        b"d",
        b"e",
    ]
    assert len(marks.renewed(".".join(["-" * 43] * 90), b"ada", 0.0)) == 4 * 44 - 1


@pytest.mark.parametrize("now", [-5.0, 0.0, 4_294_967_296.0])
def test_a_clock_that_is_wrong(now: float) -> None:
    """A mark is made all the same."""
    assert DeviceMarks(KEY).renewed(None, b"ada", now)


@pytest.mark.parametrize("name", ["Ada", "ADA", " ada ", "\uff21da", "ad\u1d43"])
def test_one_account_however_it_is_written(name: str) -> None:
    """Capitals, spaces and compatible letters give nobody more tries."""
    ada, bob = (account_of(Credentials(name=each, password="x")) for each in ("ada", "bob"))
    assert account_of(Credentials(name=name, password="x")) == ada != bob
    assert b"ada" not in ada


# ---------------------------------------------------------------------------------------------------------- the turns


async def test_turns(autojump_clock: MockClock) -> None:
    """Two at once; whoever is known comes before the others, and each in order; who waits for too long goes."""
    checks = PasswordChecks(2)
    order: list[str] = []

    async def check(name: str, *, known: bool, seconds: float = 1.0) -> None:
        if not await checks.begin(known=known):
            order.append(f"no {name}")
            return
        order.append(name)
        await trio.sleep(seconds)
        checks.end()

    async with trio.open_nursery() as nursery:
        for name, known in (("a", False), ("b", False), ("c", False), ("d", False), ("K", True), ("L", True)):
            seconds = 1.5 if name == "b" else 1.0
            nursery.start_soon(partial(check, name, known=known, seconds=seconds))
            await wait_all_tasks_blocked()
    assert order == ["a", "b", "K", "L", "c", "d"]
    order.clear()
    async with trio.open_nursery() as nursery:
        for name, seconds in (("a", PATIENCE + 1), ("b", PATIENCE), ("c", 1.0), ("d", 1.0), ("e", 1.0)):
            nursery.start_soon(partial(check, name, known=False, seconds=seconds))
            await wait_all_tasks_blocked()
    assert order[:2] == ["a", "b"]
    assert {"no d", "no e"} <= set(order)
    for _ in range(2):
        assert await checks.begin(known=False)


async def test_who_is_cancelled_takes_no_turn(autojump_clock: MockClock) -> None:
    """Neither while it waits, nor at the moment at which its turn comes: no turn is lost."""
    checks = PasswordChecks(1)
    for both in (False, True):
        assert await checks.begin(known=False)
        taken = False
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                nonlocal taken
                if await checks.begin(known=False):
                    taken = True
                    checks.end()

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            if both:
                checks.end()
            nursery.cancel_scope.cancel()
        assert taken is both
        if not both:
            checks.end()


async def test_few_wait(autojump_clock: MockClock) -> None:
    """Of each kind there are so many; the next one is told at once."""
    checks = PasswordChecks(1)
    assert await checks.begin(known=False)
    async with trio.open_nursery() as nursery:
        for known in (False, True):
            for _ in range(MAX_WAITING):
                nursery.start_soon(partial(checks.begin, known=known))
            await wait_all_tasks_blocked()
            before = trio.current_time()
            assert not await checks.begin(known=known)
            assert trio.current_time() == before
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------------------- networks


def asked(peer: str, *forwarded: str, host: str = "chat.example") -> Handshake:
    """A request from a peer, through proxies."""
    headers = tuple(("x-forwarded-for", value) for value in forwarded)
    return Handshake(path="/", host=host, key="", headers=headers, peer=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("192.0.2.7:5000", (), "192.0.2.7"),
        ("[2001:db8::1]:5000", (), "2001:db8::/64"),
        ("[2001:db8::1%eth0]:5000", (), "2001:db8::/64"),
        ("[::ffff:192.0.2.7]:5000", (), "192.0.2.7"),
        ("unix", (), ""),
        ("memory", (), ""),
        ("gone", (), ""),
        # who is no proxy of ours may say what it likes
        ("192.0.2.7:5000", ("198.51.100.1",), "192.0.2.7"),
        # the last one that is no proxy of ours
        ("10.1.2.3:5000", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3:5000", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3:5000", ("203.0.113.9", "198.51.100.1", "10.0.0.9, 10.0.0.1"), "198.51.100.1"),
        ("10.1.2.3:5000", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.1.2.3:5000", ("[2001:db8:0:1::5]:4711",), "2001:db8:0:1::/64"),
        ("10.1.2.3:5000", ("2001:db8:0:1::5",), "2001:db8:0:1::/64"),
        ("10.1.2.3:5000", ("::ffff:198.51.100.1",), "198.51.100.1"),
        # what is no address ends the search where it is
        ("10.1.2.3:5000", ("203.0.113.9, unknown, 10.0.0.1",), "10.0.0.1"),
        ("10.1.2.3:5000", ("nonsense",), "10.1.2.3"),
        ("10.1.2.3:5000", (), "10.1.2.3"),
        ("10.1.2.3:5000", (", ".join(["203.0.113.9"] + ["10.0.0.1"] * 50),), "10.0.0.1"),
    ],
)
def test_the_network_of_a_client(peer: str, forwarded: tuple[str, ...], network: str) -> None:
    """That of the socket, or what a proxy that is trusted has said, or the one before it."""
    assert Clients.behind(["10.0.0.0/8", "2001:db8:ffff::/48"]).network(asked(peer, *forwarded)) == network


def test_a_proxy_on_a_unix_socket() -> None:
    """It is trusted if that is said, and only then."""
    handshake = asked("unix", "198.51.100.1")
    assert Clients.behind(["unix"]).network(handshake) == "198.51.100.1"
    assert Clients.behind(["127.0.0.1"]).network(handshake) == ""
    assert Clients.behind(["unix"]).network(asked("unix")) == ""


def test_a_proxy_on_this_machine_that_is_not_named() -> None:
    """Whoever asks from here for a host that is elsewhere."""
    none, named = Clients.behind([]), Clients.behind(["127.0.0.1"])
    unix = Clients.behind(["unix"])
    assert none.unnamed(asked("127.0.0.1:5")) == unix.unnamed(asked("127.0.0.1:5")) == "127.0.0.1"
    assert none.unnamed(asked("[::1]:5")) == named.unnamed(asked("[::1]:5")) == "::1"
    assert none.unnamed(asked("unix")) == named.unnamed(asked("unix")) == "unix"
    assert named.unnamed(asked("127.0.0.1:5")) == unix.unnamed(asked("unix")) == ""
    assert none.unnamed(asked("127.0.0.1:5", host="localhost:8765")) == none.unnamed(asked("192.0.2.7:5")) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the machine's cores are all that is known")
@pytest.mark.parametrize(("cores", "checks"), [(1, 1), (2, 1), (3, 2), (64, 2)])
def test_a_core_is_left(monkeypatch: pytest.MonkeyPatch, cores: int, checks: int) -> None:
    """Where there is one: a hash takes a core, and the connections need one as well."""

    def affinity(process: int) -> set[int]:
        return set(range(cores))

    monkeypatch.setattr("os.sched_getaffinity", affinity)
    assert LoginLimits().checks == checks


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"per_account": 0}, "per_account=0; give a whole number"),
        ({"per_address": 0}, "per_address=0"),
        ({"per_account": None}, "per_account=None"),
        ({"per_browser": True}, "per_browser=True"),
        ({"checks": 1.5}, r"checks=1\.5"),
        ({"answer_after": 0}, "answer_after=0; give seconds"),
        ({"answer_after": float("nan")}, "answer_after=nan"),
        ({"proxies": "127.0.0.1"}, "give a list"),
        ({"proxies": ["proxy.example"]}, "no address and no network"),
        ({"proxies": ["10.0.0.1/8"]}, "no address and no network"),
        ({"proxies": [5]}, "no address and no network"),
    ],
)
def test_limits_that_bound_nothing(options: dict[str, object], remedy: str) -> None:
    """They are refused, with what to write instead."""
    with pytest.raises(ConfigurationError, match=remedy):
        LoginLimits(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
