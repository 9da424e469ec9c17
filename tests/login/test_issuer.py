"""`TokenIssuer`: what its tokens say, and what becomes of a refresh token that is used once, again, or long ago."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import cast

import jwt
import pytest
import trio
from attrs import frozen

from seawall import App, Claims, Connection, TokenVerifier, bearer
from seawall.errors import ConfigurationError, RefreshTokenReused, TokenExpired, Unauthorized, Unavailable
from seawall.guards.jwt.algorithms import Algorithm
from seawall.login.refresh_token import RefreshToken
from seawall.sessions import (
    MemoryRevocations,
    MemorySessions,
    SessionStore,
    SigningKey,
    StoredSession,
    TokenIssuer,
    Tokens,
)
from seawall.testing import serve
from tests.kit.keys import key_for, private_pem
from tests.kit.tokens import SECRET, by

NOW = 1_750_000_000.25
OTHER = "another secret that is long enough for all the tokens"


class Clock:
    """The wall clock of a test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It stands still until a test sets it; what PyJWT reads is real."""
    clock = Clock()
    monkeypatch.setattr("seawall.clock.source", clock)
    return clock


def make(
    key: str | bytes | SigningKey = SECRET,
    *,
    store: SessionStore | None = None,
    previous: tuple[SigningKey | str, ...] = (),
    issuer: str = "https://chat.example",
    audience: str | list[str] = "chat",
) -> TokenIssuer:
    """An issuer."""
    return TokenIssuer(key, issuer=issuer, audience=audience, store=store, previous=previous)


def payload(token: str) -> Mapping[str, object]:
    """What a token says."""
    return cast("dict[str, object]", jwt.decode(token, options={"verify_signature": False}))


def header(token: str) -> Mapping[str, object]:
    """What its header says."""
    return jwt.get_unverified_header(token)


def digests(store: MemorySessions) -> str:
    """All that a store keeps, as text."""
    return repr([vars(store)]) + json.dumps([repr(vars(store))])


# ---------------------------------------------------------------------------------------------------- access tokens


def test_what_an_access_token_says() -> None:
    """The claims of RFC 9068, whole seconds, the type, a kid; and what the application adds."""
    token = make().access("ada", session_id="s1", scopes=["chat:read", "chat:write"], tenant="t", ranks=[1, 2])
    said = dict(payload(token))
    assert len(cast("str", said.pop("jti"))) == 22
    assert said == {
        "iss": "https://chat.example",
        "aud": "chat",
        "sub": "ada",
        "sid": "s1",
        "iat": 1_750_000_000,
        "exp": 1_750_000_600,
        "scope": "chat:read chat:write",
        "tenant": "t",
        "ranks": [1, 2],
    }
    assert header(token).keys() == {"alg", "typ", "kid"}
    assert (header(token)["alg"], header(token)["typ"]) == ("HS256", "at+jwt")


def test_what_it_says_if_little_is_given() -> None:
    """No session, no scope; each has an id of its own; its lifetime can be another."""
    issuer = make(audience=["chat", "mail"])
    token = issuer.access("ada", lifetime=5.5)
    said = payload(token)
    assert said.keys() == {"iss", "aud", "sub", "iat", "exp", "jti"}
    assert (said["aud"], said["exp"]) == (["chat", "mail"], 1_750_000_005)
    assert payload(issuer.access("ada"))["jti"] != said["jti"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_its_verifier(algorithm: Algorithm, clock: Clock) -> None:
    """It takes what the issuer has signed, of every algorithm, and nothing else of the same key."""
    clock.now = 4_000_000_000.0  # which is not over for PyJWT
    material = SECRET + SECRET if algorithm.startswith("HS") else private_pem(key_for(algorithm))
    key = SigningKey("k1", material, algorithm)
    issuer = make(key)
    claims = await issuer.verifier.verify(issuer.access("ada", session_id="s1", scopes=["chat"]))
    assert (claims.subject, claims.session_id, claims.scopes) == ("ada", "s1", frozenset({"chat"}))
    good = {"iss": "https://chat.example", "aud": "chat", "sub": "ada", "exp": 4_000_000_060}
    await issuer.verifier.verify(key.sign(good, type="at+jwt"))
    for bad, kind in (
        (good, "JWT"),
        ({**good, "iss": "https://other.example"}, "at+jwt"),
        ({**good, "aud": "mail"}, "at+jwt"),
        ({**good, "exp": 4_000_100_000}, "at+jwt"),
    ):
        with pytest.raises(Unauthorized):
            await issuer.verifier.verify(key.sign(bad, type=kind))
    tokens = await issuer.begin("ada")
    with pytest.raises(Unauthorized):
        await issuer.verifier.verify(tokens.refresh)


@frozen(kw_only=True)
class Member(Claims):
    """Claims of an application's own."""

    email: str


async def test_its_verifier_of_other_claims(clock: Clock) -> None:
    """They come from what `begin` was given, and all else is demanded as well."""
    clock.now = 4_000_000_000.0
    issuer = make()
    members = issuer.verifier_of(Member)
    tokens = await issuer.begin("ada", claims={"email": "ada@example.org"})
    assert (await members.verify(tokens.access)).email == "ada@example.org"
    assert (await members.verify((await issuer.rotate(tokens.refresh)).access)).email == "ada@example.org"
    with pytest.raises(Unauthorized, match="email"):
        await members.verify(issuer.access("ada"))
    elsewhere = make(audience="mail").access("ada", email="x")
    with pytest.raises(Unauthorized):
        await members.verify(elsewhere)


async def test_replacing_the_key(clock: Clock) -> None:
    """A key of before verifies while it is named, whatever its algorithm; one that is not named does not."""
    clock.now = 4_000_000_000.0
    old, new = make(), make(SigningKey(None, private_pem(key_for("ES256")), "ES256"), previous=(SECRET,))
    await new.verifier.verify(old.access("ada"))
    await new.verifier.verify(new.access("ada"))
    with pytest.raises(Unauthorized):
        await old.verifier.verify(new.access("ada"))
    both = [make(OTHER, previous=(SECRET,)), make(SECRET, previous=(OTHER,))]
    for issuer in both:
        for token in (each.access("ada") for each in both):
            await issuer.verifier.verify(token)


async def test_an_app_of_its_own_tokens(clock: Clock) -> None:
    """A route is opened by an access token of a session; its `sid` is what the session is revoked by."""
    clock.now = 4_000_000_000.0
    issuer = make()
    app = App()

    @app.route("/", guard=bearer(issuer.verifier))
    async def greet(conn: Connection[Claims]) -> None:
        await conn.send(f"{conn.principal.subject} {conn.principal.session_id}")

    tokens = await issuer.begin("ada")
    async with serve(app) as served, served.connect("/", headers=by(tokens.access)) as client:
        assert await client.receive() == f"ada {tokens.session_id}"


# ----------------------------------------------------------------------------------------------------------- sessions


async def test_a_session_begins() -> None:
    """A pair, which says until when each is good; nothing of the tokens is stored, or can be seen in a repr."""
    store = MemorySessions()
    tokens = await make(store=store).begin("ada", scopes=["chat"], claims={"tenant": "t"})
    said = payload(tokens.access)
    assert (said["sub"], said["sid"], said["scope"], said["tenant"]) == ("ada", tokens.session_id, "chat", "t")
    assert (tokens.subject, tokens.access_expires_at) == ("ada", 1_750_000_600)
    assert tokens.refresh_expires_at == 1_750_000_000 + 30 * 86_400
    assert len(tokens.refresh) == 65
    assert len(store) == 1
    for secret in (tokens.refresh, tokens.refresh[:22], tokens.refresh[22:], tokens.access):
        assert secret not in digests(store)
        assert secret not in repr(tokens)


async def test_each_session_is_new() -> None:
    """Two log-ins have nothing in common: nobody can plant the id of a session before it."""
    issuer = make()
    one, two = await issuer.begin("ada"), await issuer.begin("ada")
    assert one.session_id != two.session_id
    assert one.refresh[:22] != two.refresh[:22]
    assert payload(one.access)["jti"] != payload(two.access)["jti"]


async def test_a_session_is_renewed(clock: Clock) -> None:
    """The next pair has the same session and the same claims, another id, and other times; the end stays."""
    issuer = make()
    first = await issuer.begin("ada", scopes=["chat"], claims={"tenant": "t"})
    clock.now += 500
    second = await issuer.rotate(first.refresh)
    before, after = dict(payload(first.access)), dict(payload(second.access))
    assert (after.pop("iat"), after.pop("exp")) == (1_750_000_500, 1_750_001_100)
    assert after.pop("jti") != before.pop("jti")
    assert after.items() <= before.items()
    assert second.refresh != first.refresh
    assert (second.session_id, second.refresh_expires_at) == (first.session_id, first.refresh_expires_at)
    clock.now += 500
    assert (await issuer.rotate(second.refresh)).session_id == first.session_id


async def test_the_end_of_a_session(clock: Clock) -> None:
    """No access token outlives it, and it cannot be renewed then."""
    issuer = make()
    tokens = await issuer.begin("ada")
    clock.now = tokens.refresh_expires_at - 30
    last = await issuer.rotate(tokens.refresh)
    assert last.access_expires_at == tokens.refresh_expires_at
    clock.now = tokens.refresh_expires_at
    with pytest.raises(Unauthorized, match="has ended"):
        await issuer.rotate(last.refresh)


async def test_sessions_are_ended(clock: Clock) -> None:
    """One by its id, or all of a subject, whose ids are told; others stay."""
    issuer = make()
    here, there, elsewhere = [await issuer.begin("ada") for _ in range(3)]
    bob = await issuer.begin("bob")
    await issuer.end(here.session_id)
    await issuer.end(here.session_id)
    assert set(await issuer.end_all("ada")) == {there.session_id, elsewhere.session_id}
    for gone in (here, there, elsewhere):
        with pytest.raises(Unauthorized, match="there was none"):
            await issuer.rotate(gone.refresh)
    await issuer.rotate(bob.refresh)


async def test_issuers_that_share_a_store() -> None:
    """A refresh token of one is unknown to another, of another name or for another audience, and stays good."""
    store = MemorySessions()
    chat = make(store=store)
    tokens = await chat.begin("ada")
    for other in (make(store=store, audience="admin"), make(store=store, issuer="https://admin.example")):
        with pytest.raises(Unauthorized, match="there was none"):
            await other.rotate(tokens.refresh)
    assert await make(store=store, issuer="https://admin.example").end_all("ada") == ()
    await chat.rotate(tokens.refresh)
    assert (await make(store=store, audience=["b", "a"]).begin("ada")).refresh
    both = await make(store=store, audience=["b", "a"]).begin("ada")
    await make(store=store, audience=["a", "b"]).rotate(both.refresh)  # in any order


# ------------------------------------------------------------------------------------------------------------ attacks


@pytest.mark.parametrize("again", ["the same issuer", "another process", "after a restart"])
@pytest.mark.parametrize("later", [0.0, 9.9, -5.0])
async def test_reuse_within_ten_seconds(again: str, later: float, clock: Clock) -> None:
    """The same pair, to the letter, from whoever has the key and the store."""
    store = MemorySessions()
    issuer = make(store=store)
    tokens = await issuer.begin("ada", claims={"tenant": "t"})
    clock.now += 100
    first = await issuer.rotate(tokens.refresh)
    clock.now += later
    other = issuer if again == "the same issuer" else make(store=store)
    assert await other.rotate(tokens.refresh) == first
    assert (await other.rotate(first.refresh)).session_id == tokens.session_id


@pytest.mark.parametrize("last", ["the first", "the second"])
async def test_three_tabs(last: str, clock: Clock) -> None:
    """One tab has the next pair already and goes on with it when another one's request comes: all have that pair."""
    issuer = make(store=MemorySessions())
    tokens = await issuer.begin("ada")
    clock.now += 500
    pair = await issuer.rotate(tokens.refresh)
    clock.now += 1
    assert await issuer.rotate(pair.refresh) == pair
    clock.now += 9
    assert await issuer.rotate(tokens.refresh) == pair
    assert await issuer.rotate(pair.refresh) == pair
    clock.now += 0.1
    if last == "the first":
        with pytest.raises(RefreshTokenReused):
            await issuer.rotate(tokens.refresh)
    else:
        after = await issuer.rotate(pair.refresh)
        assert after.refresh != pair.refresh
        assert after.access_expires_at == pytest.approx(clock.now + 600, abs=1)


async def test_a_session_that_has_just_begun() -> None:
    """Its first token is exchanged at once: nobody else has used it."""
    issuer = make()
    tokens = await issuer.begin("ada")
    assert (await issuer.rotate(tokens.refresh)).refresh != tokens.refresh


async def test_reuse_after_ten_seconds(clock: Clock) -> None:
    """The session is over, for who has stolen the token and for whom it was stolen from; the refusal says which."""
    issuer = make(store=(store := MemorySessions()))
    tokens = await issuer.begin("ada")
    stolen = await issuer.rotate(tokens.refresh)
    clock.now += 10.1
    with pytest.raises(RefreshTokenReused) as caught:
        await issuer.rotate(tokens.refresh)
    assert (caught.value.session_id, caught.value.subject) == (tokens.session_id, "ada")
    assert len(store) == 0
    for gone in (stolen.refresh, tokens.refresh):
        with pytest.raises(Unauthorized, match="there was none"):
            await issuer.rotate(gone)


async def test_reuse_after_a_restart(clock: Clock) -> None:
    """A store that outlives the process knows what was used before."""
    store = MemorySessions()
    tokens = await make(store=store).begin("ada")
    await make(store=store).rotate(tokens.refresh)
    clock.now += 10.1
    with pytest.raises(RefreshTokenReused):
        await make(store=store).rotate(tokens.refresh)


async def test_the_thief_is_first(clock: Clock) -> None:
    """Whoever used it first, and however often since: when the other one comes, both are out."""
    issuer = make()
    tokens = await issuer.begin("ada")
    thief = tokens
    for _ in range(5):
        thief = await issuer.rotate(thief.refresh)
        clock.now += 300
    with pytest.raises(RefreshTokenReused):
        await issuer.rotate(tokens.refresh)
    with pytest.raises(Unauthorized):
        await issuer.rotate(thief.refresh)


async def test_two_tabs_at_once() -> None:
    """Many tasks with one token, over two processes: one pair for all."""
    store = MemorySessions()
    issuers = [make(store=store), make(store=store)]
    tokens = await issuers[0].begin("ada")
    found: list[Tokens] = []

    async def renew(issuer: TokenIssuer) -> None:
        found.append(await issuer.rotate(tokens.refresh))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(renew, issuers[number % 2])
    assert len(found) == 20
    assert all(pair == found[0] for pair in found)


async def test_two_thieves_at_once(clock: Clock) -> None:
    """Of many tasks that reuse a token late, one is told the session; nobody gets a token."""
    issuer = make()
    tokens = await issuer.begin("ada")
    await issuer.rotate(tokens.refresh)
    clock.now += 60
    told: list[str] = []

    async def reuse() -> None:
        with pytest.raises(Unauthorized) as caught:
            await issuer.rotate(tokens.refresh)
        told.append(type(caught.value).__name__)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(reuse)
    assert sorted(told) == ["RefreshTokenReused", *["Unauthorized"] * 19]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_the_same_pair_of_other_algorithms(algorithm: Algorithm) -> None:
    """The refresh token is the same, and the claims are; the signature need not be."""
    store, pem = MemorySessions(), private_pem(key_for(algorithm))
    tokens = await make(SigningKey(None, pem, algorithm), store=store).begin("ada")
    one, two = [await make(SigningKey(None, pem, algorithm), store=store).rotate(tokens.refresh) for _ in range(2)]
    assert one.refresh == two.refresh
    assert payload(one.access) == payload(two.access)


async def test_the_same_pair_while_keys_are_replaced(clock: Clock) -> None:
    """Of two servers one has exchanged the keys already: both give the same refresh token, in any order."""
    store = MemorySessions()
    for one, two in ((SECRET, OTHER), (OTHER, SECRET)):
        tokens = await make(SECRET, store=store).begin("ada")
        first = await make(one, store=store, previous=(two,)).rotate(tokens.refresh)
        second = await make(two, store=store, previous=(one,)).rotate(tokens.refresh)
        assert second.refresh == first.refresh
        assert payload(second.access) == payload(first.access)
        with pytest.raises(Unauthorized, match="another key") as caught:  # that server has only one of them
            await make(two, store=store).rotate(tokens.refresh)
        assert not isinstance(caught.value, RefreshTokenReused)
        await make(two, store=store, previous=(one,)).rotate(first.refresh)


async def test_the_successor_needs_the_key() -> None:
    """Who knows a token, and all that is stored, cannot tell the next one; another key gives another."""
    first = RefreshToken.drawn()
    keys = [SigningKey(None, secret, "HS256").derived(b"a: b") for secret in (SECRET, OTHER)]
    next_ones = {first.successor(key).text for key in [*keys, b"", *keys]}
    assert len(next_ones) == 3
    assert first.successor(keys[0]).text[:22] == first.text[:22]


GARBAGE = {
    "nothing": "",
    "a word": "x",
    "too short": "A" * 64,
    "too long": "A" * 66,
    "very long": "A" * 1_000_000,
    "a line end": "A" * 65 + "\n",
    "padding": "A" * 64 + "=",
    "not ASCII": "Ä" * 65,
    "digits of another script": "٣" * 65,
    "a surrogate": "\udcff" * 65,
    "NUL": "\x00" * 65,
    "unknown": "A" * 65,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage(garbage: str) -> None:
    """It is refused, nothing else happens, and the text does not repeat it."""
    store = MemorySessions()
    issuer = make(store=store)
    await issuer.begin("ada")
    with pytest.raises(Unauthorized, match=r"^refresh token refused") as caught:
        await issuer.rotate(garbage)
    assert type(caught.value) is Unauthorized
    assert len(garbage) < 2 or garbage not in "".join(traceback.format_exception(caught.value))
    assert len(store) == 1


async def test_who_knows_only_half() -> None:
    """The second half alone finds nothing; the first alone ends the session, and gives nothing."""
    issuer = make()
    tokens = await issuer.begin("ada")
    with pytest.raises(Unauthorized, match="there was none"):
        await issuer.rotate("A" * 22 + tokens.refresh[22:])
    with pytest.raises(RefreshTokenReused):
        await issuer.rotate(tokens.refresh[:22] + "A" * 43)


async def test_nothing_is_shown(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """No token, and no part of one or of a key, is in a repr, a log or a traceback of all that happens to it."""
    caplog.set_level(logging.DEBUG)
    issuer = make(previous=(OTHER,))
    tokens = await issuer.begin("ada")
    renewed = await issuer.rotate(tokens.refresh)
    clock.now += 60
    with pytest.raises(RefreshTokenReused) as reused:
        await issuer.rotate(tokens.refresh)
    with pytest.raises(Unauthorized) as unknown:
        await issuer.rotate(renewed.refresh)
    shown = [*map(repr, (issuer, issuer.verifier, tokens, renewed, reused.value, unknown.value)), caplog.text]
    shown += ["".join(traceback.format_exception(error.value)) for error in (reused, unknown)]
    shown += [repr(RefreshToken(tokens.refresh)), repr(SigningKey(None, SECRET, "HS256"))]
    for text in shown:
        for secret in (tokens.refresh, renewed.refresh, tokens.access, renewed.access, SECRET, OTHER):
            assert secret not in text
            assert secret[22:] not in text
    assert repr(issuer).startswith("TokenIssuer(SigningKey(")


class Failing:
    """A store that cannot be reached."""

    async def add(self, session: StoredSession, /) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise Unavailable

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise Unavailable

    async def delete(self, session_id: str, /) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise Unavailable

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise Unavailable


async def test_a_store_that_fails() -> None:
    """Nobody gets a token that is not stored, and nobody is told that he is logged out who is not."""
    issuer = make(store=Failing())
    with pytest.raises(Unavailable):
        await issuer.begin("ada")
    with pytest.raises(Unavailable):
        await issuer.rotate("A" * 65)
    with pytest.raises(Unavailable):
        await issuer.end("x")
    with pytest.raises(Unavailable):
        await issuer.end_all("ada")


# ----------------------------------------------------------------------------------------------------------- mistakes


async def test_a_token_that_is_over(clock: Clock) -> None:
    """An access token expires when it says."""
    issuer = make()
    token = issuer.access("ada")
    with pytest.raises(TokenExpired):
        await issuer.verifier.verify(token)


MISTAKES = {
    "no key": (lambda: make(cast("str", None)), "the key is None"),
    "a short secret": (lambda: make("short"), "a secret of 5 bytes is too short"),
    "a PEM": (lambda: make(private_pem(key_for("ES256")).decode()), r"SigningKey\(None, pem, 'ES256'\)"),
    "two of one kid": (lambda: make(SECRET, previous=(SECRET,)), "two keys have the kid"),
    "no issuer": (lambda: make(issuer=""), "TokenIssuer: issuer=''; give its name"),
    "no audience": (lambda: make(audience=[]), "TokenIssuer: no audience is given"),
    "an empty audience": (lambda: make(audience=["a", ""]), "TokenIssuer: audience=''"),
    "None as an audience": (lambda: make(audience=cast("str", None)), "TokenIssuer: audience=None"),
    "a tenant": (lambda: make(issuer="https://x/{tid}"), "tenants"),
    "a lifetime of nothing": (
        lambda: TokenIssuer(SECRET, issuer="i", audience="a", access_lifetime=0),
        "access_lifetime=0; give a number of seconds from 1 to 86400",
    ),
    "a long lifetime": (lambda: TokenIssuer(SECRET, issuer="i", audience="a", access_lifetime=86_401), "from 1 to"),
    "a lifetime that is text": (
        lambda: TokenIssuer(SECRET, issuer="i", audience="a", access_lifetime=cast("float", "600")),
        "access_lifetime='600'",
    ),
    "a session shorter than its tokens": (
        lambda: TokenIssuer(SECRET, issuer="i", audience="a", refresh_lifetime=599),
        "refresh_lifetime=599; give a number of seconds of at least 600",
    ),
    "an endless session": (
        lambda: TokenIssuer(SECRET, issuer="i", audience="a", refresh_lifetime=float("inf")),
        "refresh_lifetime=inf",
    ),
    "a store of something else": (
        lambda: make(store=cast("SessionStore", MemoryRevocations())),
        "a MemoryRevocations, which has no rotate and no delete and no delete_subject",
    ),
    "a store that nobody called": (lambda: make(store=cast("SessionStore", MemorySessions)), "MemorySessions; call it"),
    "no subject": (lambda: make().access(""), "no subject"),
    "None as a subject": (lambda: make().access(cast("str", None)), "a NoneType that is empty or no text"),
    "a subject of bytes that are no text": (lambda: make().access("\udcff"), "cannot be UTF-8"),
    "a lifetime of a token": (lambda: make().access("ada", lifetime=100_000), "lifetime=100000"),
    "scopes in one text": (lambda: make().access("ada", scopes="chat"), r"give a list, \['chat'\]"),
    "two scopes in one": (lambda: make().access("ada", scopes=["a b"]), "the scope 'a b' is no word"),
    "a scope that is none": (lambda: make().access("ada", scopes=[cast("str", 5)]), "the scope 5 is no word"),
    "a claim that is ours": (lambda: make().access("ada", exp=5), "the claim 'exp' follows from the lifetime"),
    "the scope as a claim": (lambda: make().access("ada", scope="x"), "the claim 'scope' follows from scopes"),
    "a set": (lambda: make().access("ada", roles={"x"}), r"cannot be written as JSON \(TypeError\)"),
    "NaN": (lambda: make().access("ada", rank=float("nan")), r"cannot be written as JSON \(ValueError\)"),
    "much": (lambda: make().access("ada", roles=["x" * 9000]), "none of more than 8192 is accepted"),
}


@pytest.mark.parametrize(("mistake", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(mistake: object, said: str) -> None:
    """Each is told with its remedy, and without a secret."""
    assert callable(mistake)
    with pytest.raises(ConfigurationError, match=said) as caught:
        mistake()
    assert caught.value.__cause__ is None
    assert "MII" not in str(caught.value)


@pytest.mark.parametrize("presented", [None, 5, b"x" * 65, ["x"]], ids=repr)
async def test_what_is_no_text(presented: object) -> None:
    """A field of JSON that is something else is no refresh token, and no fault of ours."""
    with pytest.raises(Unauthorized, match="it is none"):
        await make().rotate(cast("str", presented))


async def test_mistakes_leave_no_session() -> None:
    """What cannot be a token is refused before it is stored."""
    store = MemorySessions()
    issuer = make(store=store)
    for claims in ({"exp": 5}, {"roles": {"x"}}, {"roles": "x" * 9000}):
        with pytest.raises(ConfigurationError):
            await issuer.begin("ada", claims=claims)
    with pytest.raises(ConfigurationError):
        await issuer.begin("")
    assert len(store) == 0


def test_its_verifier_is_one() -> None:
    """Always the same, so that two guards of it are one source of keys."""
    issuer = make()
    assert issuer.verifier is issuer.verifier
    assert isinstance(issuer.verifier, TokenVerifier)
