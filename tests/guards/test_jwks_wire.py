"""`JWKS` over real sockets: providers that rotate, die, drip, redirect, flood and publish what is odd."""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Unpack

import pytest
import trio

from seawall import App, Claims, Connection, TokenVerifier, Unauthorized, Unavailable, bearer
from seawall.guards.jwt.key_fetch import WELL_KNOWN
from seawall.testing import Serving, serve
from seawall.tokens import JWKS, Fetching, HttpsGet
from tests.guards.test_keys_set import BAD, OTHERS
from tests.kit.keys import ec, jwk, renamed, rsa, signed_by
from tests.kit.leaks import descriptors
from tests.kit.log import recorded
from tests.kit.provider import Behaviour, Provider, answering, key_set, provided, public_set, response
from tests.kit.sockets import client_context
from tests.kit.tokens import by
from tests.kit.wire import SOON

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])

#: Gets documents from the providers of these tests.
GET: Final = HttpsGet(ssl_context=client_context())


def keys_of(provider: Provider, **how: Unpack[Fetching]) -> JWKS:
    """The keys of a provider."""
    own: Fetching = {"fetch": GET, "insecure_http": provider.url.startswith("http:"), "cool_down": 0.05}
    return JWKS(provider.url, **(own | how))


def verifier_of(keys: JWKS) -> TokenVerifier[Claims]:
    """A verifier by these keys."""
    return TokenVerifier(keys, algorithms=["RS256", "ES256"], audience="chat", issuer="id")


def token(kid: str, nth: int = 0) -> str:
    """A token by the `nth` key."""
    return signed_by(rsa(nth=nth), "RS256", {"kid": kid}, iss="id", aud="chat")


@asynccontextmanager
async def served(keys: JWKS) -> AsyncGenerator[Serving]:
    """Serve an app that lets in by these keys."""
    app = App()

    @app.route("/", guard=bearer(verifier_of(keys)))
    async def greet(conn: Connection[Claims]) -> None:
        await conn.send(f"hello {conn.principal.subject}")

    async with serve(app) as serving:
        yield serving


async def log_in(serving: Serving, presented: str) -> None:
    """Connect by a token."""
    async with serving.connect("/", headers=by(presented)) as client:
        assert await client.receive() == "hello ada"


@contextmanager
def nothing_left() -> Generator[None]:
    """See that no thread was started in the block, and that no descriptor is open that was not before."""
    threads, opened = set(threading.enumerate()), len(descriptors())
    yield
    assert set(threading.enumerate()) <= threads  # one of an earlier test may have ended
    assert len(descriptors()) <= opened


@BOTH
async def test_log_in_by_a_providers_key(*, tls: bool) -> None:
    """The server fetches the keys when it starts, once, and leaves nothing behind."""
    with nothing_left():
        async with provided(tls=tls) as provider:
            provider.publish(("one", rsa()))
            async with served(keys_of(provider, cool_down=10)) as serving, trio.open_nursery() as nursery:
                for _ in range(60):
                    nursery.start_soon(log_in, serving, token("one"))
            assert len(provider.asked) == 1


@BOTH
async def test_discovery(*, tls: bool) -> None:
    """The issuer says where its keys are."""
    async with provided(tls=tls) as provider:
        provider.publish(("one", rsa()))
        about = {"issuer": provider.issuer, "jwks_uri": provider.url}
        provider.documents[WELL_KNOWN] = json.dumps(about).encode()
        keys = JWKS.discover(provider.issuer, fetch=GET, insecure_http=not tls)
        async with served(keys) as serving:
            await log_in(serving, token("one"))
        assert [head.split(b" ")[1].decode() for head in provider.asked] == [WELL_KNOWN, "/jwks"]


@pytest.mark.slow
@BOTH
async def test_rotated_and_killed_under_load(*, tls: bool) -> None:
    """Nobody whose key is known is refused, whatever the provider does; a new key is good as soon as it is there."""
    done, new = 0, False

    async def keep_logging_in(serving: Serving) -> None:
        nonlocal done
        while True:
            await log_in(serving, token("two", 1) if new else token("one"))
            done += 1

    with nothing_left():
        async with provided(tls=tls) as provider:
            provider.publish(("one", rsa()))
            keys = keys_of(provider, refresh=0.1, timeout=SOON)
            port = int(provider.url.split(":")[2].partition("/")[0])

            async def fetched() -> None:
                """A fetch that has begun since is over, because another one has begun."""
                before = len(provider.asked)
                await provider.wait_until(lambda provider: len(provider.asked) >= before + 2)

            async with served(keys) as serving, trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(keep_logging_in, serving)
                provider.publish(("one", rsa()), ("two", rsa(nth=1)))
                await fetched()
                new = True  # whoever asks by the old key meanwhile still may
                await trio.sleep(0.3)
                provider.publish(("two", rsa(nth=1)))
                await fetched()
                provider.killed.cancel()
                with trio.fail_after(SOON):
                    while not keys._schedule.failures:  # noqa: ASYNC110 # pyright: ignore[reportPrivateUsage] # that it was so
                        await trio.sleep(0.05)
                async with provided(tls=tls, port=port) as again:
                    again.publish(("two", rsa(nth=1)), ("three", rsa(nth=2)))
                    await again.wait_until(lambda again: bool(again.asked))
                    await log_in(serving, token("three", 2))
                nursery.cancel_scope.cancel()
    assert done > 20  # each of them, again and again


async def drip(stream: trio.abc.Stream) -> None:
    """Send a good key set, one byte a second, as long as somebody is there."""
    for byte in response(public_set(("two", rsa(nth=1)))):
        await stream.send_all(bytes([byte]))
        with trio.move_on_after(1):
            await silence(stream)
            return


async def silence(stream: trio.abc.Stream) -> None:
    """Say nothing."""
    while await stream.receive_some(1024):
        pass


async def gibibyte(stream: trio.abc.Stream) -> None:
    """Send and send."""
    await stream.send_all(response(length=False))
    while True:
        await stream.send_all(b" " * 65_536)


NEW = public_set(("two", rsa(nth=1)))

WRONG: dict[str, Behaviour] = {
    "a byte a second": drip,
    "silence": silence,
    "1 GiB": gibibyte,
    "1 GiB said": answering(response(length=False, headers=["Content-Length: 1073741824"])),
    "302": answering(response(status="302 Found", headers=["Location: /elsewhere"])),
    "gzip": answering(response(gzip.compress(NEW), headers=["Content-Encoding: gzip"])),
    "gzip without a word": answering(response(gzip.compress(NEW))),
    "a list": answering(response(b"[]")),
    "a list of keys": answering(response(json.dumps(json.loads(NEW)["keys"]).encode())),
    "no keys": answering(response(b'{"keys": []}')),
    "half": answering(response(NEW)[:-100]),
    "a page": answering(response(b"<html>", headers=["Content-Type: text/html"])),
    "500": answering(response(NEW, status="500 Internal Server Error")),
    "nothing": answering(b""),
}


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("behaviour", WRONG.values(), ids=WRONG)
async def test_what_a_provider_must_not_do(behaviour: Behaviour, *, tls: bool) -> None:
    """All the time the key that is known lets in; one that is only there is not; no thread, and nothing left."""
    with nothing_left(), recorded() as records:
        async with provided(tls=tls) as provider:
            provider.publish(("one", rsa()))
            provider.documents["/elsewhere"] = NEW
            async with served(keys_of(provider, timeout=0.3, cool_down=0.2)) as serving:
                await log_in(serving, token("one"))
                await trio.sleep(0.2)
                provider.behaviour = behaviour
                before = time.monotonic()
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(expect_503, serving, token("two", 1))
                    await log_in(serving, token("one"))
                took = time.monotonic() - before
                assert took < SOON
                assert 2 <= len(provider.asked) <= 2 + took / 0.2
                provider.publish(("one", rsa()))  # or there would be others, soon
                await provider.wait_until(lambda provider: not provider.open)
                await log_in(serving, token("one"))
    assert [line for line in records.lines("server") if re.search("no keys, and those of [0-9] s ago stay", line)]


async def expect_503(serving: Serving, presented: str) -> None:
    """See that a token is refused because the keys are not known."""
    with pytest.raises(Exception, match="503"):
        await log_in(serving, presented)


@pytest.mark.parametrize("tls", [True], ids=["tls"])
async def test_every_odd_key(*, tls: bool) -> None:
    """Beside a good key each of them does nothing, through the wire as well."""
    async with provided(tls=tls) as provider:
        provider.publish(("one", rsa()))
        keys = keys_of(provider, cool_down=0.000_001)
        verifier = verifier_of(keys)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keys.run)
            await provider.wait_until(lambda provider: bool(provider.asked))
            await verifier.verify(token("one"))
            for number, (odd, _) in enumerate((BAD | OTHERS).values()):
                good = jwk(ec(nth=1), kid=f"good-{number}")
                provider.behaviour = answering(response(key_set(odd, good)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # some are no objects
                signed = signed_by(ec(nth=1), "ES256", {"kid": f"good-{number}"}, iss="id", aud="chat")
                assert (await verifier.verify(signed)).subject == "ada"
                with pytest.raises((Unauthorized, Unavailable)):
                    await verifier.verify(signed_by(rsa(), "RS256", {"kid": "k"}, iss="id", aud="chat"))
            nursery.cancel_scope.cancel()


@pytest.mark.slow
@BOTH
async def test_ten_thousand_unknown_kids(*, tls: bool) -> None:
    """They are answered at once, and the provider is asked as often as it may be; good tokens do not notice."""
    with nothing_left():
        async with provided(tls=tls) as provider:
            provider.publish(("one", rsa()))
            keys = keys_of(provider, cool_down=0.5)
            verifier, unknown, good = verifier_of(keys), token("unknown"), 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keys.run)
                await provider.wait_until(lambda provider: bool(provider.asked))
                before = time.monotonic()

                async def ask(first: int) -> None:
                    nonlocal good
                    for number in range(first, first + 500):
                        with pytest.raises(Unauthorized):
                            await verifier.verify(renamed(unknown, f"unknown-{number}"))
                        if number % 50 == 0:
                            with pytest.raises(Unauthorized):
                                await verifier.verify(unknown)  # though its signature is good
                            await verifier.verify(token("one"))
                            good += 1
                        await trio.lowlevel.checkpoint()

                async with trio.open_nursery() as asking:
                    for first in range(0, 10_000, 500):
                        asking.start_soon(ask, first)
                took = time.monotonic() - before
                nursery.cancel_scope.cancel()
            assert good == 200
            assert len(provider.asked) <= 1 + math.ceil((took + 0.1) / 0.5)
