"""Key rings: how one key follows another, in one process and while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.errors import ConfigurationError, Unauthorized, Unavailable
from seawall.guards.jwt.algorithms import Algorithm
from seawall.tokens import Key, KeyRing, TokenVerifier, any_audience, any_issuer
from tests.kit.keys import ec, public_pem, rsa, signed_by
from tests.kit.log import recorded
from tests.kit.tokens import SECRET, verified

OTHER = "another secret that is long enough for all the tokens of these tests"


def verifier(keys: Key | KeyRing, *algorithms: Algorithm) -> TokenVerifier:
    """A verifier that asks for a signature, and for little else."""
    return TokenVerifier(keys, algorithms=algorithms, audience=any_audience, issuer=any_issuer)


def refuses(token: str, by: TokenVerifier) -> bool:
    """Whether the token is refused, as one without a key is."""
    try:
        verified(token, by)
    except Unauthorized as refusal:
        return str(refusal) == "token refused: no key fits its kid and its algorithm"
    return False


def test_the_kid_chooses() -> None:
    """Each key verifies the tokens that name it, by its own algorithm."""
    one = verifier(
        KeyRing(Key("old", SECRET, "HS256"), Key("new", OTHER, "HS256"), Key("rsa", public_pem(rsa()), "RS256")),
        "HS256",
        "RS256",
    )
    for key, algorithm, kid in ((SECRET, "HS256", "old"), (OTHER, "HS256", "new"), (rsa(), "RS256", "rsa")):
        assert verified(signed_by(key, algorithm, {"kid": kid}), one).subject == "ada"
    for key, kid in ((SECRET, "new"), (OTHER, "old")):
        with pytest.raises(Unauthorized, match="InvalidSignatureError"):
            verified(signed_by(key, "HS256", {"kid": kid}), one)
    for kid in ("rsa", "", "OLD", "old ", "../old", "/dev/null", "old\0", "' OR 1=1 --"):
        assert refuses(signed_by(SECRET, "HS256", {"kid": kid}), one)


def test_the_algorithm_is_the_keys() -> None:
    """A verifier of both HS256 and RS256 takes HMAC for no other key than the secret."""
    pem = public_pem(rsa()).decode()
    one = verifier(KeyRing(Key("s", SECRET, "HS256"), Key("rsa", pem, "RS256")), "HS256", "RS256")
    assert refuses(signed_by(SECRET, "HS256", {"kid": "rsa"}), one)
    assert refuses(signed_by(rsa(), "RS256", {"kid": "s"}), one)
    with pytest.raises(Unauthorized, match="another algorithm"):
        verified(signed_by(SECRET, "HS384", {"kid": "s"}), one)


def test_no_kid_in_the_token() -> None:
    """One key for the algorithm, and it is that; several, and it is none."""
    pem = public_pem(rsa())
    one = verifier(KeyRing(Key("a", SECRET, "HS256"), Key("b", pem, "RS256")), "HS256", "RS256")
    assert verified(signed_by(SECRET, "HS256"), one).subject == "ada"
    assert verified(signed_by(rsa(), "RS256"), one).subject == "ada"
    assert refuses(
        signed_by(SECRET, "HS256"), verifier(KeyRing(Key("a", SECRET, "HS256"), Key("b", OTHER, "HS256")), "HS256")
    )


def test_a_key_of_one_name_alone() -> None:
    """A `Key` is a ring of one: its tokens name it, or none."""
    one = verifier(Key("k", SECRET, "HS256"), "HS256")
    assert verified(signed_by(SECRET, "HS256", {"kid": "k"}), one).subject == "ada"
    assert verified(signed_by(SECRET, "HS256"), one).subject == "ada"
    assert refuses(signed_by(SECRET, "HS256", {"kid": "other"}), one)


def test_from_a_key_without_a_name_to_one_with() -> None:
    """The tokens of before a rotation name no key, or name one that nobody ever looked for."""
    one = verifier(KeyRing(Key(None, SECRET, "HS256"), Key("new", OTHER, "HS256")), "HS256")
    assert verified(signed_by(SECRET, "HS256", {"kid": "whatever"}), one).subject == "ada"
    assert verified(signed_by(OTHER, "HS256", {"kid": "new"}), one).subject == "ada"
    assert refuses(signed_by(SECRET, "HS256"), one)


def test_the_end_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `not_after` a key verifies nothing, and the other one is the only one that there is."""
    now = time.time()
    monkeypatch.setattr("seawall.clock.source", lambda: now)
    one = verifier(KeyRing(Key("old", SECRET, "HS256", not_after=now + 5), Key("new", OTHER, "HS256")), "HS256")
    old, new = signed_by(SECRET, "HS256", {"kid": "old"}), signed_by(OTHER, "HS256", {"kid": "new"})
    bare = signed_by(OTHER, "HS256")
    now += 5
    assert verified(old, one).subject == verified(new, one).subject == "ada"
    assert refuses(bare, one)
    now += 0.001
    assert refuses(old, one)
    assert verified(new, one).subject == verified(bare, one).subject == "ada"


def test_rings_that_are_refused() -> None:
    """Two keys that tokens could not tell apart; no key at all; something else than keys, which is not shown."""
    with pytest.raises(ConfigurationError, match="two keys have the kid 'k'"):
        KeyRing(Key("k", SECRET, "HS256"), Key("k", public_pem(ec()), "ES256"))
    with pytest.raises(ConfigurationError, match="two keys have no kid, for HS256"):
        KeyRing(Key(None, SECRET, "HS256"), Key(None, OTHER, "HS256"))
    KeyRing(Key(None, SECRET, "HS256"), Key(None, public_pem(ec()), "ES256"))
    with pytest.raises(ConfigurationError, match="there is no key; give some, or reload="):
        KeyRing()
    with pytest.raises(ConfigurationError, match="a str is no Key") as caught:
        KeyRing(cast("Key", SECRET))
    assert SECRET not in str(caught.value)
    for every in (0, -1, math.inf, math.nan, "5", True):
        with pytest.raises(ConfigurationError, match="give a number of seconds above 0"):
            KeyRing(Key("k", SECRET, "HS256"), every=cast("float", every))
    with pytest.raises(ConfigurationError, match="reload=5; give an async function"):
        KeyRing(reload=cast("Callable[[], Awaitable[list[Key]]]", 5))


def test_a_verifier_that_a_ring_can_never_serve() -> None:
    """A mistake in the algorithms is seen when the verifier is made."""
    with pytest.raises(ConfigurationError, match="no key is for RS256/ES256; the keys are for HS256"):
        verifier(KeyRing(Key("a", SECRET, "HS256"), Key("b", OTHER, "HS256")), "RS256", "ES256")
    verifier(KeyRing(Key("a", SECRET, "HS256")), "RS256", "HS256")


def test_a_ring_shows_no_key() -> None:
    """Its keys, without what they are made of."""
    assert repr(KeyRing(Key("a", SECRET, "HS256"))) == "KeyRing(Key(kid='a', algorithm='HS256', not_after=None))"


class Store:
    """Where keys are loaded from."""

    def __init__(self, *keys: Key) -> None:
        """Have `keys`, until they are replaced."""
        self.keys: Iterable[Key] = keys
        self.asked = list[float]()
        self.failure: Exception | None = None
        self.takes = 0.0

    async def load(self) -> Iterable[Key]:
        """The keys of now."""
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.failure is not None:
            raise self.failure
        return self.keys


async def run(ring: KeyRing, nursery: trio.Nursery) -> None:
    """Run its services, as a server does."""
    for service in ring.services():
        nursery.start_soon(service.run)
    await wait_all_tasks_blocked()


async def test_reloading(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The keys are loaded at the start and then every so many seconds, and replace those of before."""
    store = Store(Key("new", OTHER, "HS256"))
    ring = KeyRing(Key("old", SECRET, "HS256"), reload=store.load, every=300)
    one = verifier(ring, "HS256")
    await run(ring, nursery)
    assert (await one.verify(signed_by(OTHER, "HS256", {"kid": "new"}))).subject == "ada"
    with pytest.raises(Unauthorized):
        await one.verify(signed_by(SECRET, "HS256", {"kid": "old"}))
    store.keys = (key for key in (Key("old", SECRET, "HS256"),))
    await trio.sleep(299)
    assert [key.kid for key in ring.keys] == ["new"]
    await trio.sleep(2)
    assert [key.kid for key in ring.keys] == ["old"]
    assert store.asked == pytest.approx([0, 300], abs=1)


@pytest.mark.parametrize(
    ("keys", "failure", "said"),
    [
        ((), ValueError("no connection"), "ValueError: no connection"),
        ((), ExceptionGroup("both", [OSError("a"), OSError("b")]), "ExceptionGroup"),
        ((), None, "reload gave no key"),
        ((SECRET,), None, "a str is no Key"),
        ((Key("k", SECRET, "HS256"), Key("k", OTHER, "HS256")), None, "two keys have the kid 'k'"),
        (None, None, "TypeError"),
        ((Key("new", public_pem(rsa()), "RS256"),), None, "no key is for HS256; the keys are for RS256"),
    ],
    ids=["raises", "raises a group", "nothing", "no key", "two of one kid", "None", "for none of its verifiers"],
)
async def test_a_failed_reload(
    nursery: trio.Nursery, autojump_clock: MockClock, keys: object, failure: Exception | None, said: str
) -> None:
    """It is a warning, without a key in it; the old keys stay, and the next reload may succeed."""
    store = Store()
    store.keys, store.failure = cast("Iterable[Key]", keys), failure
    ring = KeyRing(Key("old", SECRET, "HS256"), reload=store.load)
    one = verifier(ring, "HS256")
    with recorded() as records:
        await run(ring, nursery)
    (line,) = records.lines("error")
    assert "failed, and the keys stay: " in line
    assert "Store.load" in line
    assert said in line
    assert SECRET not in line
    assert (await one.verify(signed_by(SECRET, "HS256", {"kid": "old"}))).subject == "ada"
    store.keys, store.failure = (Key("new", OTHER, "HS256"),), None
    await trio.sleep(301)
    assert [key.kid for key in ring.keys] == ["new"]


async def test_a_reload_that_hangs(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It has as long as there is between two, and then is a warning like any other failure."""
    store = Store(Key("new", OTHER, "HS256"))
    store.takes = math.inf
    ring = KeyRing(Key("old", SECRET, "HS256"), reload=store.load, every=60)
    with recorded() as records:
        await run(ring, nursery)
        await trio.sleep(61)
    (line,) = records.lines("error")
    assert "TooSlowError" in line
    store.takes = 0.0
    await trio.sleep(61)
    assert [key.kid for key in ring.keys] == ["new"]


async def test_a_ring_that_begins_without_keys(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Until some have been loaded, nobody can tell whether a token is good: that is a 503, and no 401."""
    store = Store(Key("new", OTHER, "HS256"))
    store.takes = 5.0
    ring = KeyRing(reload=store.load)
    one = verifier(ring, "HS256")
    await run(ring, nursery)
    token = signed_by(OTHER, "HS256", {"kid": "new"})
    with pytest.raises(Unavailable) as caught:
        await one.verify(token)
    assert caught.value.retry_after
    await trio.sleep(6)
    assert (await one.verify(token)).subject == "ada"


async def test_a_reload_that_nobody_runs(autojump_clock: MockClock) -> None:
    """Keys that were taken back would be accepted for ever: that is a mistake in the program, and said as one."""
    store = Store()
    ring = KeyRing(Key("old", SECRET, "HS256"), reload=store.load)
    one = verifier(ring, "HS256")
    with pytest.raises(ConfigurationError, match="nothing reloads it"):
        await one.verify(signed_by(SECRET, "HS256"))
    async with trio.open_nursery() as nursery:
        await run(ring, nursery)
        await run(ring, nursery)
        assert (await one.verify(signed_by(SECRET, "HS256"))).subject == "ada"
        nursery.cancel_scope.cancel()
    with pytest.raises(ConfigurationError, match="nothing reloads it"):
        await one.verify(signed_by(SECRET, "HS256"))


def test_no_service_without_a_reload() -> None:
    """There is nothing to do for keys that stay."""
    ring = KeyRing(Key("k", SECRET, "HS256"))
    assert ring.services() == verifier(ring, "HS256").services() == ()
