"""`JWKS`: one task fetches, at the right times; who logs in meanwhile. In memory and in virtual time."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

import seawall.clock
from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Forbidden,
    Gate,
    TokenVerifier,
    Unauthorized,
    Unavailable,
    bearer,
    guard,
)
from seawall.guards.jwt.key_fetch import WELL_KNOWN
from seawall.testing import Rejected, Serving, serve
from seawall.tokens import JWKS, Fetching
from tests.kit.keys import ec, jwk, renamed, rsa, signed_by
from tests.kit.log import recorded
from tests.kit.provider import key_set, public_set
from tests.kit.tokens import by

URL: Final = "https://id.example/jwks"
ISSUER: Final = "https://id.example"

OLD, NEW = rsa(), rsa(nth=1)


def token(kid: str | None = "old", *, issuer: str = ISSUER, **claims: object) -> str:
    """A good token, by the key of that name if there is one."""
    header = {} if kid is None else {"kid": kid}
    return signed_by(NEW if kid == "new" else OLD, "RS256", header, iss=issuer, aud="chat", **claims)


@final
@define(eq=False)
class Provider:
    """What an application's ``fetch=`` may be: a provider in memory."""

    answer: Callable[[], Awaitable[bytes]] | bytes | Exception = field(default=public_set(("old", OLD)))
    asked: list[float] = field(factory=list[float])
    """When it was asked."""
    now: int = 0
    """How many ask at this moment."""
    most: int = 0
    """How many have ever asked at one moment."""

    async def __call__(self, url: str) -> bytes:
        """Give what there is to give."""
        assert url == URL
        self.asked.append(trio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.lowlevel.checkpoint()
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer if isinstance(self.answer, bytes) else await self.answer()
        finally:
            self.now -= 1


@pytest.fixture
def provider() -> Provider:
    """One that is well."""
    return Provider()


@pytest.fixture
def keys(provider: Provider) -> JWKS:
    """Its keys."""
    return JWKS(URL, fetch=provider)


def verifier_of(keys: JWKS) -> TokenVerifier[Claims]:
    """A verifier by these keys."""
    return TokenVerifier(keys, algorithms=["RS256"], audience="chat", issuer=ISSUER)


@asynccontextmanager
async def running(keys: JWKS) -> AsyncGenerator[TokenVerifier[Claims]]:
    """Keep the keys up to date, as a program of one's own does."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.run)
        await wait_all_tasks_blocked()
        yield verifier_of(keys)
        nursery.cancel_scope.cancel()


async def refused(verifier: TokenVerifier[Claims], presented: str) -> Unauthorized | Unavailable:
    """How a token is refused, and that it is so at once."""
    before = trio.current_time()
    with pytest.raises((Unauthorized, Unavailable)) as caught:
        await verifier.verify(presented)
    assert trio.current_time() == before
    assert isinstance(caught.value, Unauthorized | Unavailable)
    return caught.value


async def hang() -> bytes:
    """Never answer."""
    await trio.sleep_forever()
    raise AssertionError


async def test_they_are_fetched_at_the_start_and_then_every_five_minutes(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """Nobody needs to ask; who does is served from what is there."""
    async with running(keys) as verifier:
        for _ in range(1000):
            assert (await verifier.verify(token())).subject == "ada"
        await trio.sleep(1000)
    assert provider.asked == [0, 300, 600, 900]


async def test_one_that_does_not_run_is_a_mistake(provider: Provider, keys: JWKS) -> None:
    """A fetch for each login would be the way to be attacked; the text says what to do."""
    verifier = verifier_of(keys)
    with pytest.raises(
        ConfigurationError, match=r"JWKS\('https://id.example/jwks'\) does not run.*nursery.start\(keys.run\)"
    ):
        await verifier.verify(token())
    async with running(keys):
        await verifier.verify(token())
    with pytest.raises(ConfigurationError, match="does not run"):
        await verifier.verify(token())
    assert len(provider.asked) == 1


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_guard_of_ones_own_names_them(
    autojump_clock: MockClock, provider: Provider, keys: JWKS, *, is_named: bool
) -> None:
    """A server runs what stands over the function; where nothing does, the text of the error names the remedy."""
    verifier, app, reported = verifier_of(keys), App(), list[str]()

    async def by_key(gate: Gate, proved: Anonymous) -> Claims:
        try:
            return await gate.admit_by(verifier, gate.handshake.header("x-key") or "")
        except ConfigurationError as error:
            reported.append(str(error))
            raise Forbidden from None

    @app.route("/", guard=guard(services=verifier.services())(by_key) if is_named else guard(by_key))
    async def greet(conn: Connection[Claims]) -> None:
        await conn.send(conn.principal.subject)

    async with serve(app) as server:
        try:
            async with server.connect("/", headers={"X-Key": token()}) as client:
                assert await client.receive() == "ada"
        except Rejected:
            (error,) = reported
            assert "write @guard(services=verifier.services()) over a guard of your own" in error
        assert bool(reported) is not is_named
    assert bool(provider.asked) is is_named


async def test_a_program_of_ones_own_verifies_at_once(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """As soon as it has started, tokens can be verified: the first one waits for the keys."""
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.run)
        await verifier_of(keys).verify(token())
        nursery.cancel_scope.cancel()
    assert provider.asked == [0]


async def test_sixty_cold_logins_are_one_fetch(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """Those who come before the keys wait for them together."""

    async def slowly() -> bytes:
        await trio.sleep(3)
        return public_set(("old", OLD))

    provider.answer, subjects = slowly, list[str]()

    async def log_in(verifier: TokenVerifier[Claims], subject: str) -> None:
        subjects.append((await verifier.verify(token(sub=subject))).subject)

    async with running(keys) as verifier, trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(log_in, verifier, str(number))
    assert len(subjects) == 60
    assert provider.asked == [0]


async def test_an_unknown_kid_fetches_every_ten_seconds(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """However many there are; all others are refused at once, and who has a good key is not disturbed."""
    unknown = token("unknown")
    async with running(keys) as verifier:
        for number in range(10_000):
            assert isinstance(await refused(verifier, renamed(unknown, f"unknown-{number}")), Unauthorized)
            if number % 100 == 0:
                assert isinstance(await refused(verifier, unknown), Unauthorized)  # though its signature is good
                await verifier.verify(token())
            await trio.sleep(0.01)
    assert provider.asked == pytest.approx([10 * n for n in range(10)], abs=0.1)
    assert provider.most == 1


@pytest.mark.parametrize(
    "presented",
    [
        token("unknown", issuer="https://other.example"),
        signed_by("a secret that is long enough for this", "HS256", {"kid": "unknown"}, iss=ISSUER, aud="chat"),
        signed_by(ec(), "ES256", {"kid": "unknown"}, iss=ISSUER, aud="chat"),
        signed_by(OLD, "PS256", {"kid": "unknown"}, iss=ISSUER, aud="chat"),
        token(None).replace(".", ".!", 1),
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
    ],
    ids=["issuer", "HS256", "ES256", "PS256", "payload", "no token", "none"],
)
async def test_a_token_that_cannot_be_good_fetches_nothing(
    autojump_clock: MockClock, provider: Provider, keys: JWKS, presented: str
) -> None:
    """Its algorithm, its shape and its issuer are looked at first."""
    async with running(keys) as verifier:
        await trio.sleep(100)
        assert isinstance(await refused(verifier, presented), Unauthorized)
    assert provider.asked == [0]


async def test_a_key_that_is_there_is_not_asked_for(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """A newer set would not help a token of which the set has the kid, or which has none where several keys fit."""
    provider.answer = key_set(jwk(OLD, kid="old", alg="RS256"), jwk(NEW, kid="new", alg="RS512"), jwk(NEW, kid="two"))
    async with running(keys) as verifier:
        await trio.sleep(100)
        for presented in (token("new"), token(None)):
            assert isinstance(await refused(verifier, presented), Unauthorized)
        await verifier.verify(token())
    assert provider.asked == [0]


async def test_rotation(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """A new key is good as soon as somebody has it; one that has been withdrawn is not."""
    async with running(keys) as verifier:
        await trio.sleep(20)
        provider.answer = public_set(("new", NEW))
        await verifier.verify(token("new"))
        assert isinstance(await refused(verifier, token("old")), Unauthorized)
    assert provider.asked == [0, 20]


async def test_while_keys_are_fetched_again_the_known_ones_do(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """A token with a new key waits for the fetch; the others do not."""

    async def slowly() -> bytes:
        await trio.sleep(4)
        return public_set(("old", OLD), ("new", NEW))

    async with running(keys) as verifier:
        await trio.sleep(100)
        provider.answer = slowly
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(verifier.verify, token("new"))
            await wait_all_tasks_blocked()
            await verifier.verify(token())
            assert trio.current_time() == 100
        assert trio.current_time() == 104
    assert provider.asked == [0, 100]


async def test_an_hour_of_outage_harms_nobody(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """The keys stay; it is tried less and less often, and logged each time; tokens with others are told when."""
    with recorded() as records:
        async with running(keys) as verifier:
            provider.answer = OSError("no route to host")
            for _ in range(3600):
                await trio.sleep(1)
                await verifier.verify(token())
            assert len(provider.asked) == 16
            await trio.sleep(20)
            error = await refused(verifier, token("new"))
            assert isinstance(error, Unavailable)
            error = await refused(verifier, token("new"))
            assert isinstance(error, Unavailable)
            assert error.retry_after == 10
            provider.answer = public_set(("new", NEW))
            await trio.sleep(10)
            await verifier.verify(token("new"))
    lines = records.lines("server")
    assert lines[0] == (
        "JWKS('https://id.example/jwks'): no keys, and those of 300 s ago stay; trying again in 10 s: "
        "OSError: no route to host"
    )
    assert lines[-1] == "JWKS('https://id.example/jwks'): fetched again"
    assert len(lines) == len(provider.asked) - 1
    assert {record.levelname for record in records.found if record.name == "seawall.server"} == {"WARNING", "INFO"}


async def test_after_a_day_they_are_too_old(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """A key that nobody has confirmed for so long may have been withdrawn."""
    async with running(keys) as verifier:
        provider.answer = OSError("no route to host")
        await trio.sleep(86_399)
        await verifier.verify(token())
        await trio.sleep(2)
        with pytest.raises(Unavailable):
            await verifier.verify(token())


async def test_a_machine_that_was_suspended(
    autojump_clock: MockClock, provider: Provider, keys: JWKS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trio's clock stands still meanwhile: keys are fetched soon after, and too old ones are not used."""
    began, asleep = time.time(), 0.0
    monkeypatch.setattr(seawall.clock, "source", lambda: began + trio.current_time() + asleep)
    async with running(keys) as verifier:
        await trio.sleep(5)
        asleep = 3600.0
        await trio.sleep(10)
        assert provider.asked == [0, 10]
        provider.answer = OSError("no route to host")
        asleep += 100_000
        await trio.sleep(10)
        with pytest.raises(Unavailable):
            await verifier.verify(token(exp=began + asleep + 60, iat=began + asleep))


async def test_a_wall_clock_that_is_set_forward(
    autojump_clock: MockClock, provider: Provider, keys: JWKS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys seem to be days old: they are fetched again at once, and who asks waits for that."""
    began, ahead = time.time(), 0.0
    monkeypatch.setattr(seawall.clock, "source", lambda: began + trio.current_time() + ahead)
    async with running(keys) as verifier:
        ahead = 3 * 86_400.0
        await verifier.verify(token(exp=began + ahead + 60, iat=began + ahead))
    assert provider.asked == [0, 0]


async def test_a_key_that_could_serve_several_algorithms(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """It serves none, because a token would choose; the refusal says so, for whoever reads the log."""
    several = TokenVerifier(keys, algorithms=["RS256", "PS256"], audience="chat", issuer=ISSUER)
    async with running(keys) as one:
        for presented in (token(), token(None)):
            assert (await one.verify(presented)).subject == "ada"
            text = str(await refused(several, presented))
            assert (
                text
                == "token refused: its key names no algorithm (alg), and may serve PS256 and RS256; accept one of them"
            )
        assert "no key fits" in str(
            await refused(several, signed_by(OLD, "PS256", {"kid": "x"}, iss=ISSUER, aud="chat"))
        )


async def test_a_start_without_the_provider(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """Tokens are answered with 503 and when to try again, at once; one that comes when it is back is let in."""
    provider.answer = OSError("no route to host")
    async with running(keys) as verifier:
        error = await refused(verifier, token())
        assert isinstance(error, Unavailable)
        assert error.retry_after == 10
        await trio.sleep(4)
        error = await refused(verifier, token())
        assert error.retry_after == 6
        provider.answer = public_set(("old", OLD))
        await trio.sleep(6)
        await verifier.verify(token())
    assert provider.asked == [0, 10]


async def test_a_provider_that_hangs(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """It has five seconds, in which who has no key waits."""
    provider.answer = hang
    with recorded() as records:
        async with running(keys) as verifier:
            with pytest.raises(Unavailable) as caught:
                await verifier.verify(token())
            assert (trio.current_time(), caught.value.retry_after) == (5, 5)
    assert "it took longer than 5 s" in records.lines("server")[0]


async def test_who_waits_can_be_cancelled(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """The fetch goes on for the others, and nothing is left of who has gone."""

    async def slowly() -> bytes:
        await trio.sleep(3)
        return public_set(("old", OLD))

    provider.answer = slowly
    async with running(keys) as verifier, trio.open_nursery() as nursery:
        nursery.start_soon(verifier.verify, token())
        with trio.move_on_after(1) as gone:
            await verifier.verify(token())
        assert gone.cancelled_caught
        await wait_all_tasks_blocked()
        assert keys._done.statistics().tasks_waiting == 1  # pyright: ignore[reportPrivateUsage] # what may leak
    assert (trio.current_time(), provider.asked) == (3, [0])


async def test_two_that_run_it_take_turns(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """One fetches at a time; when it stops, even in the middle of a fetch, the other goes on with it."""

    async def slowly() -> bytes:
        await trio.sleep(3)
        return public_set(("old", OLD))

    provider.answer = slowly
    async with trio.open_nursery() as nursery:
        stopping = [trio.CancelScope(), trio.CancelScope()]

        async def run(scope: trio.CancelScope) -> None:
            with scope:
                await keys.run()

        nursery.start_soon(run, stopping[0])
        await wait_all_tasks_blocked()
        nursery.start_soon(run, stopping[1])
        verifier = verifier_of(keys)
        nursery.start_soon(verifier.verify, token())
        await trio.sleep(1)
        stopping[0].cancel()
        await trio.sleep(3)
        await verifier.verify(token())
        assert (provider.asked, provider.most) == ([0, 1], 1)
        await trio.sleep(300)
        assert provider.asked == [0, 1, 301]
        provider.answer = hang
        await trio.sleep(20)
        with trio.CancelScope() as waiting:
            nursery.start_soon(wait_and_cancel, stopping[1])
            with pytest.raises((Unavailable, Unauthorized)):  # and does not wait for ever
                await verifier.verify(token("new"))
        assert not waiting.cancel_called


async def wait_and_cancel(scope: trio.CancelScope) -> None:
    """End what runs in `scope` a second later."""
    await trio.sleep(1)
    scope.cancel()


def test_one_run_after_another(provider: Provider, keys: JWKS) -> None:
    """Two runs of Trio have clocks that show something else."""

    async def once() -> None:
        async with running(keys) as verifier:
            await verifier.verify(token())
            await trio.sleep(250)

    for clock in (MockClock(autojump_threshold=0), MockClock(autojump_threshold=0)):
        trio.run(once, clock=clock)
    assert provider.asked == [0, 0]


async def test_in_two_threads_it_is_a_mistake(keys: JWKS) -> None:
    """Two runs of Trio at a time cannot wait for one another."""

    async def elsewhere() -> None:
        with pytest.raises(ConfigurationError, match=r"JWKS\(.*\) runs in another thread; make one for each"):
            await keys.run()
        for kid in ("unknown", "old"):  # one whose key is there too: its age is not known by another run's clock
            with pytest.raises(ConfigurationError, match="another thread"):
                await verifier_of(keys).verify(token(kid))

    async with running(keys) as verifier:
        await verifier.verify(token())
        for clock in (None, MockClock()):  # one that shows more, or less, than that of the first run
            await trio.to_thread.run_sync(partial(trio.run, elsewhere, clock=clock))


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"keys": []}', b"\xff", b"[" * 50_000, b" " * 65_537, key_set({"kty": "oct", "k": "QUJD"})],
    ids=["nothing", "list", "object", "no keys", "no text", "deep", "large", "secret"],
)
async def test_what_is_no_key_set_changes_nothing(
    autojump_clock: MockClock, provider: Provider, keys: JWKS, answer: bytes
) -> None:
    """The keys that there are stay, as in an outage, and the log says what has come."""
    with recorded() as records:
        async with running(keys) as verifier:
            provider.answer = answer
            await trio.sleep(301)
            await verifier.verify(token())
    (line,) = records.lines("server")
    assert line.startswith(
        "JWKS('https://id.example/jwks'): no keys, and those of 300 s ago stay; trying again in 10 s"
    )


async def test_odd_keys_are_named_once(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """A key that is skipped is a warning, when it is new."""
    provider.answer = key_set(jwk(OLD, kid="old"), jwk(OLD, kid=7))
    with recorded() as records:
        async with running(keys) as verifier:
            await trio.sleep(1000)
            await verifier.verify(token())
    (line,) = records.lines("server")
    assert line == "JWKS('https://id.example/jwks'): keys are skipped: key 2: its kid is no text, or is too long"


async def test_whatever_an_applications_own_fetch_does(
    autojump_clock: MockClock, provider: Provider, keys: JWKS
) -> None:
    """It may raise what it likes, give what it must not, and neither ends the service."""

    async def text() -> bytes:
        return json.loads('"{}"')  # type: ignore[no-any-return]  # the mistake

    async with running(keys) as verifier:
        for answer in (ZeroDivisionError(), ExceptionGroup("both", [OSError()]), trio.TooSlowError(), text):
            provider.answer = answer
            await trio.sleep(300)
        provider.answer = public_set(("new", NEW))
        await trio.sleep(300)
        await verifier.verify(token("new"))


def test_mistakes() -> None:
    """What could never work is refused where it is written."""
    for url in (
        "http://127.0.0.1/jwks",
        "ftp://id.example/",
        "https://user:secret@id.example/jwks",
        "https://id.example/jwks#keys",
        "https://",
        "https://id.example:99999/",
        "/jwks",
        "https://id.example/\r\nHost: other",
    ):
        with pytest.raises(ConfigurationError, match="JWKS: the URL ") as caught:
            JWKS(url)
        assert "secret" not in str(caught.value)
    JWKS("http://127.0.0.1/jwks", insecure_http=True)
    JWKS("HTTPS://[::1]:8443/jwks?tenant=a")
    for name in ("refresh", "stale", "cool_down", "timeout"):
        for value in (0, -1, math.nan, math.inf, True):
            with pytest.raises(ConfigurationError, match=rf"JWKS: {name}={value!r}; give a number of seconds above 0"):
                JWKS(URL, **cast("Fetching", {name: value}))
    with pytest.raises(ConfigurationError, match="timeout=61; give 60 seconds at most"):
        JWKS(URL, timeout=61)
    with pytest.raises(ConfigurationError, match="stale=10 is less than refresh=300"):
        JWKS(URL, stale=10)
    with pytest.raises(ConfigurationError, match=r"max_bytes=0\.5; give a whole number"):
        JWKS(URL, max_bytes=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the mistake
    with pytest.raises(ConfigurationError, match="fetch=None; give an async function"):
        JWKS(URL, fetch=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the mistake
    with pytest.raises(ConfigurationError, match="JWKS was given a NoneType; give the URL"):
        JWKS(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the mistake
    with pytest.raises(
        ConfigurationError, match=r"^JWKS: there is no option 'refrsh'; the options are refresh, stale, "
    ):
        JWKS(URL, refrsh=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] # the mistake
    with pytest.raises(ConfigurationError, match="an issuer has no query"):
        JWKS.discover("https://id.example/?a=b")
    with pytest.raises(ConfigurationError, match=r"HS256 needs a secret, and JWKS.* publishes its keys"):
        TokenVerifier(JWKS(URL), algorithms=["RS256", "HS256"], audience="chat", issuer=ISSUER)


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/", f"{ISSUER}/tenants/7"])
async def test_discovery(autojump_clock: MockClock, issuer: str) -> None:
    """The issuer says where its keys are, below its name, with or without a slash at its end."""
    asked = list[str]()

    async def fetch(url: str) -> bytes:
        asked.append(url)
        if url.endswith(WELL_KNOWN):
            return json.dumps({"issuer": issuer, "jwks_uri": URL}).encode()
        return public_set(("old", OLD))

    keys = JWKS.discover(issuer, fetch=fetch)
    assert repr(keys) == f"JWKS.discover({issuer!r})"
    verifier = TokenVerifier(keys, algorithms=["RS256"], audience="chat", issuer=issuer)
    async with running(keys):
        await verifier.verify(token(issuer=issuer))
    assert asked == [issuer.removesuffix("/") + WELL_KNOWN, URL]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"[]", "names another issuer, or none"),
        (b"<html>", r"is no JSON \(JSONDecodeError\)"),
        (b"[" * 50_000, r"is no JSON \(RecursionError\)"),
        (json.dumps({"jwks_uri": URL}).encode(), "names another issuer"),
        (json.dumps({"issuer": f"{ISSUER}/", "jwks_uri": URL}).encode(), "names another issuer"),
        (json.dumps({"issuer": "https://other.example", "jwks_uri": URL}).encode(), "names another issuer"),
        (json.dumps({"issuer": ISSUER}).encode(), r"does not say where its keys are \(jwks_uri\)"),
        (json.dumps({"issuer": ISSUER, "jwks_uri": [URL]}).encode(), "does not say where its keys are"),
        (
            json.dumps({"issuer": ISSUER, "jwks_uri": "http://id.example/jwks"}).encode(),
            "jwks_uri: the URL is not https",
        ),
        (json.dumps({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}).encode(), "jwks_uri: the URL is not one of"),
    ],
    ids=["list", "page", "deep", "no issuer", "nearly", "other", "no uri", "uris", "http", "file"],
)
async def test_a_discovery_that_is_not_right(autojump_clock: MockClock, document: bytes, problem: str) -> None:
    """Another issuer's document, or one without https, is as none."""

    async def fetch(url: str) -> bytes:
        assert url == ISSUER + WELL_KNOWN
        return document

    keys = JWKS.discover(ISSUER, fetch=fetch)
    with recorded() as records:
        async with running(keys) as verifier:
            with pytest.raises(Unavailable):
                await verifier.verify(token())
    (line,) = records.lines("server")
    assert re.search(problem, line)


def app_of(verifier: TokenVerifier[Claims]) -> App:
    """An app that lets in whoever has a token."""
    app = App()

    @app.route("/", guard=bearer(verifier))
    async def greet(conn: Connection[Claims]) -> None:
        await conn.send(f"hello {conn.principal.subject}")

    return app


async def greeting(serving: Serving) -> str:
    """What the app says to a good token."""
    async with serving.connect("/", headers=by(token())) as client:
        return str(await client.receive())


async def test_a_server_runs_it(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """A server keeps the keys up to date; served again, and in two servers at a time, they are fetched by one."""
    apps = [app_of(verifier_of(keys)), app_of(verifier_of(keys))]
    for _ in range(2):
        async with serve(apps[0]) as first, serve(apps[1]) as second:
            assert [await greeting(first), await greeting(second)] == ["hello ada", "hello ada"]
            await first.server.aclose()
            await trio.sleep(310)
            assert await greeting(second) == "hello ada"
    assert provider.asked == [0, 300, 310, 610]
    assert provider.most == 1


async def test_a_server_without_its_provider(autojump_clock: MockClock, provider: Provider, keys: JWKS) -> None:
    """It starts, says so in the log, and answers 503 with a Retry-After."""
    provider.answer = OSError("no route to host")
    with recorded() as records:
        async with serve(app_of(verifier_of(keys))) as serving:
            with pytest.raises(Rejected) as caught:
                await greeting(serving)
    assert (caught.value.status, caught.value.header("Retry-After")) == (503, "10")
    assert any("no keys, and there are none" in line for line in records.lines("server"))
