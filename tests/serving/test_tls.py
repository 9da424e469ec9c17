"""TLS contexts that could serve nobody, those that only look so, and one connection that cannot be wrapped."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from typing import Self, cast

import pytest
import trio
import trustme

from seawall import ConfigurationError
from seawall.serving.listening import Listen, open_listeners
from seawall.serving.tls import check_context
from tests.kit.log import recorded
from tests.kit.memory import Doorstep
from tests.kit.sockets import Place, echo_app, server_context, serving
from tests.kit.wire import SOON


def bare(**options: object) -> ssl.SSLContext:
    """A server's context without a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for name, value in options.items():
        setattr(context, name, value)
    return context


def good(**options: object) -> ssl.SSLContext:
    """A server's context with one."""
    context = bare(**options)
    trustme.CA().issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
    return context


def with_ciphers(ciphers: str) -> ssl.SSLContext:
    """One whose ciphers do not fit its certificate, which has an elliptic curve."""
    context = good(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    return context


HOPELESS: dict[str, Callable[[], ssl.SSLContext]] = {
    "a client's": ssl.create_default_context,
    "no certificate": bare,
    "no certificate, TLS 1.3": lambda: bare(minimum_version=ssl.TLSVersion.TLSv1_3),
    "no certificate, TLS 1.2": lambda: bare(maximum_version=ssl.TLSVersion.TLSv1_2),
    "no version": lambda: good(minimum_version=ssl.TLSVersion.TLSv1_3, maximum_version=ssl.TLSVersion.TLSv1_2),
    "no cipher": lambda: with_ciphers("ECDHE-RSA-AES128-GCM-SHA256"),
}


def by_name() -> ssl.SSLContext:
    """A context without a certificate that takes another context for each name."""
    context = bare()
    context.sni_callback = lambda connection, name, _: setattr(connection, "context", server_context())
    return context


FINE: dict[str, Callable[[], ssl.SSLContext]] = {
    "usual": good,
    "wants a certificate": lambda: good(verify_mode=ssl.CERT_REQUIRED),
    "wants a certificate, TLS 1.2": lambda: good(verify_mode=ssl.CERT_REQUIRED, maximum_version=ssl.TLSVersion.TLSv1_2),
    "by name": by_name,
    "TLS 1.3 only": lambda: good(minimum_version=ssl.TLSVersion.TLSv1_3),
    "TLS 1.2 only": lambda: good(maximum_version=ssl.TLSVersion.TLSv1_2),
}


@pytest.mark.parametrize("make", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("how", ["ssl_context", "listeners"])
async def test_mended_17_a_context_that_could_serve_nobody(make: Callable[[], ssl.SSLContext], how: str) -> None:
    """It is refused at the start, by itself and in a listener of Trio's, before anything listens."""
    context, where = make(), Listen(port=0)
    listener = trio.SSLListener(cast("trio.abc.Listener[trio.SocketStream]", Doorstep()), context)
    if how == "listeners":
        where = Listen(listeners=[cast("trio.abc.Listener[trio.abc.Stream]", listener)])
    else:
        where["ssl_context"] = context
    said = r"listening: .*ssl_context.*; (make one for a server|it needs a certificate)"
    with pytest.raises(ConfigurationError, match=said):
        await open_listeners(where)


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
async def test_mended_17_a_context_that_is_fine(make: Callable[[], ssl.SSLContext]) -> None:
    """What only some clients can use, or what is chosen later, is accepted."""
    check_context(make())
    for listener in await open_listeners({"port": 0, "ssl_context": make()}):
        await listener.aclose()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python has it since 3.13")
@pytest.mark.parametrize("version", list(ssl.TLSVersion)[-2:], ids=str)
def test_mended_17_clients_with_a_key_of_their_own(version: ssl.TLSVersion) -> None:
    """A context that knows its clients by a key needs no certificate."""
    context = bare(minimum_version=ssl.TLSVersion.TLSv1_2, maximum_version=version)
    if sys.version_info >= (3, 13):
        context.set_psk_server_callback(lambda identity: {"ada": b"a key"}.get(identity or "", b""))
        context.set_ciphers("PSK")
    check_context(context)


class OutOfSorts(ssl.SSLObject):
    """A connection that cannot be wrapped."""

    @classmethod
    def _create(cls, *_: object, **__: object) -> Self:
        raise ValueError("out of sorts")


async def test_mended_17_one_connection_that_cannot_be_wrapped() -> None:
    """It is closed and logged, ten times a minute at most, and the server goes on; descriptors are not left behind."""
    context = good()
    with recorded() as records:
        async with serving(echo_app(), port=0, ssl_context=context) as place:
            context.sslobject_class = OutOfSorts
            for _ in range(12):
                client = await place.dial_plain()
                with trio.fail_after(SOON):
                    assert await client.stream.receive_some() == b""
            context.sslobject_class = ssl.SSLObject
            await talk(place)
        said = [line for line in records.lines("server") if "TLS" in line]
    assert said == ["a connection cannot be wrapped in TLS: out of sorts; it is closed"] * 10
    assert "2 more of the same were not logged: TLS builtins.ValueError" in records.lines("error")


async def talk(place: Place) -> None:
    """Speak TLS with the server, to whichever certificate it has."""
    client = await place.dial_plain()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert isinstance(client.stream, trio.SocketStream)
    client.tls = trio.SSLStream(client.stream, context, https_compatible=True)
    client.stream = client.tls
    await client.upgrade("/echo")
    await client.echo(b"hello")
    client.close()
