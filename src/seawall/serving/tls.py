"""TLS on a listener: a context that could serve nobody is found at the start, and an error ends one connection only."""

from __future__ import annotations

import ssl
import sys
from typing import Final, TypeAlias, final

import trio

from seawall.errors import ConfigurationError
from seawall.serving.accepting import BatchListener
from seawall.wire.transport.lingering import abandon

_StreamListener: TypeAlias = trio.abc.Listener[trio.abc.Stream]

#: Why a server's handshake fails with every client. That a client shows no certificate, for one, is not among these.
_HOPELESS: Final = frozenset({"NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"})

#: How often both sides may speak in the handshake that tries a context; three times are enough.
_TURNS: Final = 10


def check_context(context: object) -> None:
    """Refuse a TLS context with which no client could connect, by a handshake in memory.

    That a context wants certificates of clients, chooses another by the name that a client asks for, or knows clients
    by a key of theirs (PSK), is nothing wrong.

    Raises:
      ConfigurationError: it is no context, one for clients, or has no certificate or no cipher that fits it.
    """
    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(
            f"listening: ssl_context={context!r} is no ssl.SSLContext; make one: "
            "context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH); context.load_cert_chain('cert.pem')"
        )
    fault = _fault_of(context, psk=False)
    if fault is not None and fault.reason == "NO_SHARED_CIPHER" and sys.version_info >= (3, 13):
        fault = _fault_of(context, psk=True)
    if fault is not None:
        raise ConfigurationError(
            f"listening: with this ssl_context no client could connect ({fault.reason or fault}); it needs a "
            "certificate: context.load_cert_chain('cert.pem', 'key.pem'), and ciphers and versions that fit it"
        ) from fault


def _fault_of(context: ssl.SSLContext, *, psk: bool) -> ssl.SSLError | None:
    """Why no client could connect with `context`, tried with one that knows no key of its own, or, if `psk`, one."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        server = context.wrap_bio(to_server, to_client, server_side=True)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"listening: this ssl_context cannot serve ({error}); make one for a server: "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        ) from error
    if context.sni_callback is not None:  # it chooses the certificate by a name, and we know none
        return None
    client = _client(psk=psk).wrap_bio(to_client, to_server)
    for _ in range(_TURNS):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return None  # it is the client that does not like it
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return error if error.reason in _HOPELESS else None
        return None
    return None


def _client(*, psk: bool) -> ssl.SSLContext:
    """A client that takes whatever a server has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    if psk and sys.version_info >= (3, 13):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK:@SECLEVEL=0")
        context.set_psk_client_callback(lambda _: ("seawall", b"a key that no server knows"))
    return context


@final
class TlsError(Exception):
    """One connection that was accepted cannot be wrapped in TLS, and has been closed."""


@final
class TlsListener(trio.abc.Listener[trio.SSLStream[trio.abc.Stream]]):
    """Accepts TLS connections, as `trio.SSLListener` does; one that cannot be wrapped is closed."""

    def __init__(self, listener: _StreamListener, context: ssl.SSLContext, *, https_compatible: bool = True) -> None:
        """Wrap what `listener` accepts. Raises as `check_context`."""
        check_context(context)
        self.transport_listener = listener
        self._context = context
        self._https_compatible = https_compatible

    @classmethod
    def replacing(cls, listener: trio.SSLListener[trio.abc.Stream]) -> TlsListener:
        """The same as one of Trio's, which would leave a connection open that it cannot wrap. Raises as the class."""
        below = listener.transport_listener
        return cls(
            BatchListener(below) if isinstance(below, trio.SocketListener) else below,
            listener._ssl_context,  # pyright: ignore[reportPrivateUsage]  # Trio has no other way
            https_compatible=listener._https_compatible,  # pyright: ignore[reportPrivateUsage]  # likewise
        )

    async def accept(self) -> trio.SSLStream[trio.abc.Stream]:
        """The next connection, whose handshake has not begun.

        Raises:
          TlsError: it cannot be wrapped, and has been closed; the next one may be better.
        """
        stream = await self.transport_listener.accept()
        try:
            return trio.SSLStream(stream, self._context, server_side=True, https_compatible=self._https_compatible)
        except Exception as error:  # noqa: BLE001 - raised below, once the connection is closed
            fault = error
        await abandon(stream)
        raise TlsError(f"a connection cannot be wrapped in TLS: {fault}") from fault

    async def aclose(self) -> None:
        """Stop listening."""
        await self.transport_listener.aclose()
