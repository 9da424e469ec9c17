"""Attacks on a log-in page by trying: guessing, finding out who there is, keeping somebody out, and storms of it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from urllib.parse import quote, urlencode

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, ErrorReport, Handshake, Limits, Unavailable
from seawall.clock import unix_time
from seawall.login.answers import Refusal
from seawall.login.attempts import Attempts, Authenticate, LoggedIn, account_of
from seawall.login.checks import MAX_WAITING
from seawall.login.credentials import Credentials
from seawall.login.device_cookie import DeviceMarks
from seawall.login.secrecy import without_password
from seawall.sessions import LoginLimits, TokenIssuer, login_page
from seawall.testing import serve
from tests.kit.log import recorded
from tests.kit.login import PASSWORDS, Accounts, Answer, Browser, Place
from tests.kit.tokens import SECRET
from tests.kit.wall import Wall

MARKS = DeviceMarks(b"k" * 32)
ADA, BOB = (account_of(Credentials(name=name, password="x")) for name in ("ada", "bob"))


@pytest.fixture(autouse=True)
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall, in virtual time."""
    return Wall.instead_of(monkeypatch)


@define
class Trier:
    """Somebody who tries, from where he likes."""

    authenticate: Authenticate = field(factory=lambda: Accounts().authenticate)
    limits: LoginLimits = field(factory=LoginLimits)
    attempts: Attempts = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with no tries."""
        self.attempts = Attempts("/session", self.authenticate, self.limits, MARKS)

    async def tries(
        self, name: str = "ada", password: str = "guess", peer: str = "192.0.2.1", device: str | None = None
    ) -> LoggedIn | Refusal:
        """One try."""
        asked = Handshake(path="/session", host="chat.example", key="", headers=(), peer=f"{peer}:5000")
        return await self.attempts.attempt(asked, Credentials(name=name, password=password), device)

    async def status(
        self, name: str = "ada", password: str = "guess", peer: str = "192.0.2.1", device: str | None = None
    ) -> int:
        """The status of one."""
        found = await self.tries(name, password, peer, device)
        return found.status if isinstance(found, Refusal) else 200


# ------------------------------------------------------------------------------------------------------------ guessing


async def test_five_a_minute_of_an_address(autojump_clock: MockClock) -> None:
    """Whatever names are tried; then ``Retry-After`` says when there is one more. Others are not concerned."""
    trier = Trier()
    assert [await trier.status(f"user{number}") for number in range(7)] == [401] * 5 + [429] * 2
    refused = await trier.tries("ada", PASSWORDS["ada"])
    assert isinstance(refused, Refusal)
    assert refused.retry_after is not None
    assert refused.retry_after == 60 - 5 * 1.0
    assert await trier.status("ada", PASSWORDS["ada"], "192.0.2.2") == 200
    await trio.sleep(refused.retry_after)
    assert await trier.status("ada", PASSWORDS["ada"]) == 200
    assert await trier.status("ada", PASSWORDS["ada"]) == 429


async def test_a_network_of_ipv6_is_an_address(autojump_clock: MockClock) -> None:
    """Whoever has a /64 has not five tries for each address in it."""
    trier = Trier()
    peers = [f"[2001:db8::{number}]" for number in range(1, 9)]
    assert [await trier.status(f"u{peer}", peer=peer) for peer in peers] == [401] * 5 + [429] * 3
    assert await trier.status(peer="[2001:db8:0:1::1]") == 401


async def test_twenty_a_minute_of_an_account(autojump_clock: MockClock) -> None:
    """From however many addresses, however the name is written, and whether there is such an account or not."""
    for name in ("ada", "nobody"):
        trier = Trier()
        written = [name, name.upper(), f" {name}", name.title()]
        found = [await trier.status(written[number % 4], peer=f"192.0.2.{number}") for number in range(22)]
        assert found == [401] * 20 + [429] * 2


async def test_tries_at_once_are_no_more(autojump_clock: MockClock) -> None:
    """A hundred at the same moment are counted before any is checked."""
    accounts = Accounts()
    trier = Trier(accounts.authenticate)
    found: list[int] = []

    async def one(peer: str, name: str) -> None:
        found.append(await trier.status(name, peer=peer))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one, "192.0.2.1", f"user{number}")
    assert sorted(found) == [401] * 5 + [429] * 95
    assert len(accounts.asked) == 5


async def test_a_log_in_gives_no_tries_back(autojump_clock: MockClock) -> None:
    """Whoever has an account cannot log in to it to go on guessing for another one."""
    trier = Trier()
    for name, password in (("ada", "1"), ("bob", PASSWORDS["bob"])) * 2:
        await trier.tries(name, password)
    assert await trier.status("ada", "3") == 401
    assert await trier.status("ada", "4") == 429


# ------------------------------------------------------------------------------------------------------ who there is


async def test_a_name_that_nobody_has_takes_as_long(autojump_clock: MockClock) -> None:
    """The answer and its moment are the same to the last bit, whatever the application does, or does not."""
    moments: dict[str, list[tuple[int, bytes, float]]] = {}

    async def authenticate(name: str, password: str) -> str | None:
        await trio.sleep({"ada": 0.07, "bob": 0.31}.get(name, 0))  # nobody else has a hash to compare with
        return None

    app = App()
    login_page(app, "/session", authenticate, TokenIssuer(SECRET, issuer="i", audience="a"))
    async with serve(app) as serving:
        for name in ("ada", "bob", "nobody"):
            browser = Browser(serving)
            for _ in range(3):
                before = trio.current_time()
                answer = await browser.log_in(name, "guess")
                took = round(trio.current_time() - before, 6)
                moments.setdefault(name, []).append((answer.status, answer.raw.body, took))
    assert moments["ada"] == moments["bob"] == moments["nobody"]
    assert moments["ada"][0] == (401, b'{"error": "wrong name or password"}', 1.0)


async def test_a_check_that_takes_too_long_to_be_hidden(autojump_clock: MockClock) -> None:
    """It is answered at a multiple, and the log says once what to give."""

    async def authenticate(name: str, password: str) -> str | None:
        await trio.sleep(1.6)
        return None

    trier = Trier(authenticate)
    with recorded() as log:
        for _ in range(2):
            before = trio.current_time()
            await trier.status()
            assert trio.current_time() - before == pytest.approx(2.0)
    assert sum("authenticate() took 1.60 s" in line for line in log.lines("server")) == 1


async def test_whoever_logs_in_does_not_wait(autojump_clock: MockClock) -> None:
    """Only failures are held back, and while they are they take no turn."""
    trier = Trier(limits=LoginLimits(checks=1, per_address=100))
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(trier.status, f"user{number}")
        await wait_all_tasks_blocked()
        before = trio.current_time()
        assert await trier.status("ada", PASSWORDS["ada"]) == 200
        assert trio.current_time() == before


# ------------------------------------------------------------------------------------------------- keeping somebody out


async def exhaust(trier: Trier) -> None:
    """Use up all tries that there are for ada, and for an address."""
    for number in range(20):
        assert await trier.status(peer=f"198.51.100.{number}") == 401
    for number in range(5):
        assert await trier.status(f"user{number}") == 401


async def test_others_keep_nobody_out_who_is_known(autojump_clock: MockClock) -> None:
    """A browser that ada has logged in with gets in, also from an address of which others have tried; another not."""
    trier = Trier()
    mark = MARKS.renewed(None, ADA, unix_time())
    await exhaust(trier)
    assert await trier.status("ada", PASSWORDS["ada"], "203.0.113.1") == 429
    assert await trier.status("ada", PASSWORDS["ada"], device=mark) == 200


async def test_a_mark_of_somebody_else_is_worth_nothing(autojump_clock: MockClock) -> None:
    """Of another account, of another server, made up, or too old: it counts as anybody's."""
    trier = Trier()
    await exhaust(trier)
    for device in (
        MARKS.renewed(None, BOB, unix_time()),
        DeviceMarks(b"o" * 32).renewed(None, ADA, unix_time()),
        "A" * 43,
        ".".join(["A" * 43] * 100),
        MARKS.renewed(None, ADA, unix_time() - 31_536_001),
    ):
        assert await trier.status("ada", PASSWORDS["ada"], device=device) == 429


async def test_a_stolen_mark_gives_five_tries_a_minute(autojump_clock: MockClock) -> None:
    """From however many addresses; then it counts as anybody's. Its owner gets another one with each log-in."""
    trier = Trier()
    mark = MARKS.renewed(None, ADA, unix_time())
    await exhaust(trier)
    found = [await trier.status(peer=f"203.0.113.{number}", device=mark) for number in range(7)]
    assert found == [401] * 5 + [429] * 2
    fresh = MARKS.renewed(mark, ADA, unix_time())
    assert await trier.status("ada", PASSWORDS["ada"], device=mark) == 429
    assert await trier.status("ada", PASSWORDS["ada"], device=fresh) == 200


async def test_all_marks_of_a_name_together(autojump_clock: MockClock) -> None:
    """Who has logged in a hundred times has no more turns for it: twenty tries a minute, and then as anybody."""
    trier = Trier()
    marks = [MARKS.renewed(None, ADA, unix_time()) for _ in range(100)]
    found = [await trier.status(peer="203.0.113.1", password=PASSWORDS["ada"], device=mark) for mark in marks]
    assert found == [200] * 25 + [429] * 75
    assert await trier.status("bob", PASSWORDS["bob"], device=MARKS.renewed(None, BOB, unix_time())) == 200


async def test_a_name_like_it_is_not_known(autojump_clock: MockClock) -> None:
    """Where "Ada" is somebody else than "ada", logging in as one gives no tries for the other."""
    place = Place()
    place.accounts.passwords["Ada"] = "eve's"
    async with serve(place.app) as serving:
        eve = Browser(serving)
        assert (await eve.log_in("Ada", "eve's")).status == 200
        while (await Browser(serving).log_in("ada", "guess")).status != 429:
            pass
        assert (await eve.log_in("ada", "guess")).status == 429
        assert (await eve.log_in("Ada", "eve's")).status == 200


async def test_a_known_browser_over_the_wire(autojump_clock: MockClock) -> None:
    """The cookie of a log-in lets it in again after a log-out, while others use up all tries for the account."""
    place = Place()
    async with serve(place.app) as serving:
        ada, eve = Browser(serving), Browser(serving)
        assert (await ada.log_in()).status == 200
        assert (await ada.post("/session/end-all")).said == {"ended": 1}
        while (answer := await eve.log_in("ada", "guess")).status != 429:
            pass
        assert answer.said == {"error": "too many tries"}
        assert 0 < int(answer.raw.header("retry-after")) <= 60
        assert (await eve.submit("ada", "guess")).raw.body == b"too many tries\n"
        assert (await ada.log_in()).status == 200
        eve.cookies["__Host-device"] = "nonsense"
        assert (await eve.log_in()).status == 429
        restarted = Place()
    async with serve(restarted.app) as serving:  # the same key, another process
        ada.serving = eve.serving = serving
        while (await eve.log_in("ada", "guess")).status != 429:
            pass
        assert (await ada.log_in()).status == 200


# --------------------------------------------------------------------------------------------------------------- storms


async def test_two_passwords_at_once(autojump_clock: MockClock) -> None:
    """However many log in: others wait for a moment, and then are told when to come again, and have used no try."""
    running = most = 0

    async def authenticate(name: str, password: str) -> str | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.25)
        running -= 1
        return name

    trier = Trier(authenticate, LoginLimits(checks=2))
    found: list[LoggedIn | Refusal] = []

    async def one(number: int) -> None:
        found.append(await trier.tries("ada", peer=f"192.0.2.{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    refused = [each for each in found if isinstance(each, Refusal)]
    assert most == 2
    assert len(found) - len(refused) == 2 + MAX_WAITING
    assert {(each.status, each.text, each.retry_after) for each in refused} == {(429, "too many tries at once", 5.0)}
    assert [await trier.status(peer=f"192.0.2.{number}") for number in range(3)] == [200, 200, 429]


async def test_a_storm_keeps_nobody_out_who_is_known(autojump_clock: MockClock) -> None:
    """While strangers take all turns and all places to wait, a browser that is known is next."""

    async def authenticate(name: str, password: str) -> str | None:
        await trio.sleep(0.25)
        return name if password == "right" else None

    trier = Trier(authenticate, LoginLimits(checks=2))
    mark = MARKS.renewed(None, ADA, unix_time())
    async with trio.open_nursery() as nursery:
        for number in range(250):
            nursery.start_soon(trier.status, f"user{number}", "guess", f"192.0.2.{number}")
        await wait_all_tasks_blocked()
        before = trio.current_time()
        assert await trier.status("ada", "right", device=mark) == 200
        assert trio.current_time() - before <= 0.5


async def test_who_leaves_while_it_waits_has_not_tried(autojump_clock: MockClock) -> None:
    """A browser that is closed takes no turn, and its try is taken back."""
    trier = Trier(limits=LoginLimits(checks=1))
    async with trio.open_nursery() as outer:

        async def slow(name: str, password: str) -> str | None:
            await trio.sleep(1)
            return name

        trier = Trier(slow, LoginLimits(checks=1))
        outer.start_soon(trier.status, "bob", "x", "192.0.2.9")
        await wait_all_tasks_blocked()
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trier.status)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
    assert await trier.status() == 200


async def test_a_check_that_never_ends(autojump_clock: MockClock) -> None:
    """It is over with ``auth_timeout``, as any page, and leaves its turn to the next one."""

    async def authenticate(name: str, password: str) -> str | None:
        if name == "hangs":
            await trio.sleep_forever()
        return name

    app = App(limits=Limits(auth_timeout=3))
    login_page(
        app, "/session", authenticate, TokenIssuer(SECRET, issuer="i", audience="a"), limits=LoginLimits(checks=1)
    )
    async with serve(app) as serving:
        assert (await Browser(serving).log_in("hangs", "x")).status == 408
        assert (await Browser(serving).log_in("ada", "x")).status == 200


# -------------------------------------------------------------------------------------------------------------- secrets

PASSWORD = "correct horse battery staple"

#: With which all names end here.
SUFFIX = "-xyzzy"


class Mute(Exception):
    """It cannot be shown."""

    def __str__(self) -> str:
        raise ValueError


@define
class Broken:
    """Accounts that fail, each name in its way, with the password wherever a program may have it."""

    async def authenticate(self, name: str, password: str) -> str | None:
        """Fail."""
        copy = [password]
        match name.removesuffix(SUFFIX):
            case "plain":
                raise ValueError("broken")
            case "text":
                raise ValueError(f"no row for {copy}")
            case "group":
                raise ExceptionGroup("several", [KeyError("a"), ValueError(password)])
            case "note":
                failure = ValueError("broken")
                failure.add_note(password)
                raise failure
            case "cause":
                try:
                    self.deeper(password)
                except KeyError as error:
                    raise RuntimeError("in the store") from error
            case "mute":
                raise Mute
            case "down":
                raise Unavailable("the database")
            case _:
                pass
        return None

    def deeper(self, secret: str) -> None:
        """Fail further down."""
        {"a": secret}["b"]


def frames(failure: BaseException, seen: set[int]) -> Iterator[str]:
    """All variables of all frames of a failure, and of those that belong to it."""
    if id(failure) in seen:
        return
    seen.add(id(failure))
    trace: TracebackType | None = failure.__traceback__
    while trace is not None:
        for name, value in trace.tb_frame.f_locals.items():
            try:
                yield f"{trace.tb_frame.f_code.co_name} {name}={value!r}"
            except Exception:  # noqa: BLE001 - what cannot be shown is not
                continue
        trace = trace.tb_next
    for other in (failure.__cause__, failure.__context__, *(getattr(failure, "exceptions", ()))):
        if isinstance(other, BaseException):
            yield from frames(other, seen)


@pytest.mark.parametrize("name", ["plain", "text", "group", "note", "cause", "mute", "down", "nobody"])
@pytest.mark.parametrize("kind", ["json", "form"])
async def test_no_password_in_a_report(autojump_clock: MockClock, name: str, kind: str) -> None:
    """Nor a name: not in the log, nor in a report, nor in the variables of its frames, nor in what is answered."""
    reports: list[ErrorReport] = []
    shown: list[str] = []

    def report(failure: ErrorReport) -> None:
        reports.append(failure)
        shown.extend(frames(failure.exception, set()))
        shown.extend(traceback.format_exception(failure.exception))

    app = App(report=report)
    login_page(app, "/session", Broken().authenticate, TokenIssuer(SECRET, issuer="i", audience="a"))
    async with serve(app) as serving:
        browser = Browser(serving)
        with recorded() as log:
            log_in = browser.log_in if kind == "json" else browser.submit
            answer: Answer = await log_in(name + SUFFIX, PASSWORD)
    assert answer.status == {"nobody": 401, "down": 503}.get(name, 500)
    texts = [answer.raw.body.decode(), repr(answer.raw.headers), *shown]
    texts += [f"{record.getMessage()} {record.exc_text} {record.__dict__}" for record in log.found]
    assert not [text for text in texts if "horse" in text or "xyzzy" in text]
    assert bool(reports) == (name != "nobody")
    if name in ("plain", "cause"):
        assert any("in authenticate" in text for text in shown)  # who looks for the fault finds it
    if name == "text":
        assert any("authenticate() raised ValueError, with the password in its text" in text for text in shown)


def as_bytes(password: str) -> str:
    """As the repr of its bytes."""
    return f"{password.encode()!r}"


def in_a_tuple(password: str) -> str:
    """With something that changes nothing of how it is quoted."""
    return repr((password, "'"))


def as_json(password: str) -> str:
    """With all letters as they are."""
    return json.dumps({"password": password}, ensure_ascii=False)


def as_form(password: str) -> str:
    """As it was posted."""
    return urlencode({"password": password})


@pytest.mark.parametrize("password", ["a\\b'\"c", "p\u00e4ss w\u00f6rd", "tab\tin it", "line\nend", "\\", "plain"])
@pytest.mark.parametrize("spelled", [str, repr, ascii, json.dumps, quote, as_bytes, in_a_tuple, as_json, as_form])
def test_no_password_however_it_is_spelled(spelled: Callable[[str], str], password: str) -> None:
    """As Python, JSON or a form writes it, in the text of a failure, or in what its repr shows."""
    for failure in (ValueError(f"no row for {spelled(password)}"), KeyError(spelled(password))):
        assert str(without_password(failure, password)).startswith("authenticate() raised ")
    unconcerned = ValueError("broken")
    assert without_password(unconcerned, f"{password} 1") is unconcerned


def test_no_password_in_a_repr() -> None:
    """Whoever logs our values logs none."""
    assert PASSWORD not in repr(Credentials(name="ada", password=PASSWORD))
    assert "ada" not in repr(Credentials(name="ada", password=PASSWORD))


# ------------------------------------------------------------------------------------------------- behind proxies


async def test_a_proxy_that_is_not_named_counts_no_addresses(autojump_clock: MockClock) -> None:
    """On this machine, everybody would be one address; the log says once what to name. Accounts are counted."""
    trier = Trier()
    with recorded() as log:
        found = [await trier.status(f"user{number}", peer="127.0.0.1") for number in range(10)]
    assert found == [401] * 10
    assert sum("LoginLimits(proxies=['127.0.0.1'])" in line for line in log.lines("server")) == 1
    asked = Handshake(path="/session", host="chat.example", key="", headers=(), peer="unix")
    with recorded() as log:
        for _ in range(2):
            await Trier().attempts.attempt(asked, Credentials(name="ada", password="guess"), None)
            await trier.attempts.attempt(asked, Credentials(name="ada", password="guess"), None)
    assert sum("LoginLimits(proxies=['unix'])" in line for line in log.lines("server")) == 2  # each of the new ones
    named = Trier(limits=LoginLimits(proxies=["127.0.0.1"]))
    assert [await named.status(f"user{number}", peer="127.0.0.1") for number in range(6)] == [401] * 5 + [429]


async def test_a_proxy_elsewhere_that_is_not_named(autojump_clock: MockClock) -> None:
    """It is one address for everybody, and the log says so, once; not of one that is named, nor without a proxy."""
    forwarded = (("x-forwarded-for", "203.0.113.9"),)
    for named, headers, times in (((), forwarded, 1), (("172.18.0.0/16",), forwarded, 0), ((), (), 0)):
        attempts = Trier(limits=LoginLimits(proxies=named)).attempts
        asked = Handshake(path="/session", host="chat.example", key="", headers=headers, peer="172.18.0.3:5000")
        with recorded() as log:
            for _ in range(2):
                await attempts.attempt(asked, Credentials(name="ada", password="guess"), None)
        assert sum("name it: LoginLimits(proxies=[...])" in line for line in log.lines("server")) == times


async def test_addresses_need_not_be_counted(autojump_clock: MockClock) -> None:
    """Where a proxy in front does it."""
    trier = Trier(limits=LoginLimits(per_address=None))
    assert {await trier.status(f"user{number}") for number in range(20)} == {401}


async def test_what_tokens_say(autojump_clock: MockClock) -> None:
    """Who logs in may have scopes and claims, which the tokens have from then on, also when they are renewed."""

    async def authenticate(name: str, password: str) -> LoggedIn | None:
        return LoggedIn("u17", scopes=["chat:write"], claims={"email": "ada@example.org"})

    issuer = TokenIssuer(SECRET, issuer="i", audience="a")
    app = App()
    login_page(app, "/session", authenticate, issuer)
    async with serve(app) as serving:
        browser = Browser(serving)
        assert (await browser.log_in()).said["subject"] == "u17"
        for _ in range(2):
            claims = await issuer.verifier.verify(browser.cookies["__Host-session"])
            assert (claims.subject, claims.scopes) == ("u17", frozenset({"chat:write"}))
            assert claims.raw["email"] == "ada@example.org"
            await browser.post("/session/renew")
