"""Where a server listens: the options of ``app.start``, ``app.serve`` and ``app.run``."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TypeAlias, TypedDict, cast, final

import trio
from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.http.hosts import LOOPBACK, UNRESTRICTED, HostCheck
from seawall.observability.logs import server_log
from seawall.serving.accepting import BatchListener
from seawall.serving.tls import TlsListener, check_context
from seawall.wire.transport.sockets import MEMORY, socket_of

Listener: TypeAlias = trio.abc.Listener[trio.abc.Stream]

#: Where an app listens by default: this machine only.
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765


class Listen(TypedDict, total=False):
    """Where to listen. Without `unix` and `listeners` it is TCP, on 127.0.0.1:8765 unless told otherwise."""

    host: str
    """The address or name to bind; a name may stand for several addresses. ``"::"`` or ``"0.0.0.0"`` for all."""
    port: int
    """The TCP port; 0 takes a free one, which ``server.addresses`` tells."""
    ssl_context: ssl.SSLContext
    """Serve TLS on that port, with this server-side context. One with which no client could connect is refused."""
    unix: str | os.PathLike[str]
    """The path of a Unix socket, beside or instead of TCP. A socket that nobody listens on is replaced. On Linux a name
    that begins with ``\\0`` is abstract: there is no file, and every local user can connect."""
    unix_mode: int
    """The permissions of the Unix socket's file, such as ``0o660``; left out, the process's umask decides."""
    listeners: Sequence[Listener]
    """Trio listeners that are open already, beside or instead of these."""


@final
@frozen(kw_only=True)
class Address:
    """Where a server can be reached."""

    host: str
    """The address; the path of a Unix socket; ``memory`` for a listener without a socket."""
    port: int = 0
    """The TCP port; 0 where there is none."""
    secure: bool = False
    """Whether it speaks TLS."""

    @property
    def url(self) -> str:
        """The address as a URL without a path: ``ws://127.0.0.1:8765``, ``wss://[::1]:443``, ``unix:/run/chat``."""
        if not self.port:
            return self.host if self.host == MEMORY else f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.secure else 'ws'}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it, by TCP."""
        if not self.port:
            return False
        address = ip_address(self.host)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback


async def open_listeners(where: Listen) -> list[Listener]:
    """Open what `where` asks for.

    Raises:
      ConfigurationError: the address cannot be bound; the text says which and why.
    """
    _check(where)
    found: list[Listener] = [_checked(listener) for listener in where.get("listeners", ())]
    path = where.get("unix")
    try:
        if not {"host", "port", "ssl_context"}.isdisjoint(where) or not ("listeners" in where or path):
            found.extend(await _open_tcp(where))
        if path is not None:
            found.append(_open_unix(os.fspath(path), where.get("unix_mode")))
    except ConfigurationError:
        for listener in found:
            await listener.aclose()
        raise
    return found


def _check(where: Listen) -> None:
    """Refuse unknown options: with a misspelt one ignored, the server would listen somewhere else than was meant."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "host": str,
        "port": int,
        "ssl_context": ssl.SSLContext,
        "unix": (str, os.PathLike),
        "unix_mode": int,
        "listeners": Sequence,
    }
    for name, value in where.items():
        if name not in kinds:
            raise ConfigurationError(f"listening: there is no option {name!r}; the options are {', '.join(kinds)}")
        if name == "ssl_context":
            check_context(value)
        elif not isinstance(value, kinds[name]) or isinstance(value, bool):
            wanted = getattr(kinds[name], "__name__", "path")
            raise ConfigurationError(f"listening: {name}={value!r} is no {wanted}; give one, or leave it out")
        elif value in ("", ()) or value == []:
            raise ConfigurationError(f"listening: {name}={value!r} says nothing; leave it out, or give a value")
    for listener in where.get("listeners", ()):
        _check_listener(listener)
    _check_unix(where)


def _check_listener(value: object) -> None:
    if not isinstance(value, trio.abc.Listener):
        raise ConfigurationError(f"listening: listeners: {value!r} is no Trio listener; open_tcp_listeners gives some")


def _check_unix(where: Listen) -> None:
    path, mode = os.fspath(where.get("unix", "")), where.get("unix_mode")
    if path.startswith("\0") and (sys.platform != "linux" or len(path) == 1):
        raise ConfigurationError(f"listening: unix={path!r}: only Linux has abstract sockets, with a name; give a path")
    if "\0" in path[1:]:
        raise ConfigurationError(f"listening: unix={path!r} has a zero byte in it; give a path")
    if mode is None:
        return
    if not path or path.startswith("\0"):
        raise ConfigurationError("listening: unix_mode= is for the file of a Unix socket; give unix='/run/chat.sock'")
    if not 0 <= mode <= 0o777:
        raise ConfigurationError(f"listening: unix_mode={mode} is no mode of a file; write it in octal, as 0o660")


def _checked(listener: Listener) -> Listener:
    """The listener itself, or what serves sockets or TLS in place of Trio's own."""
    if isinstance(listener, trio.SocketListener):
        return BatchListener(listener)
    if isinstance(listener, trio.SSLListener):
        return TlsListener.replacing(cast("trio.SSLListener[trio.abc.Stream]", listener))
    return listener


async def _open_tcp(where: Listen) -> list[Listener]:
    host, port = where.get("host", DEFAULT_HOST), where.get("port", DEFAULT_PORT)
    if not 0 <= port <= 65_535:  # the C library would take it modulo 65,536
        raise ConfigurationError(f"cannot listen on {host} port {port}: ports end at 65535; choose another")
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except (OSError, UnicodeError) as error:  # which a host that IDNA cannot encode raises
        why = _why(error) if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot listen on {host} port {port}: {why}; choose another") from error
    context = where.get("ssl_context")
    if context is None:
        return [BatchListener(listener) for listener in listeners]
    return [TlsListener(BatchListener(listener), context) for listener in listeners]


def _why(error: OSError) -> str:
    reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if reason.errno == errno.EADDRINUSE:
        return "the port is in use"
    return reason.strerror or str(reason)


def _open_unix(path: str, mode: int | None) -> Listener:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    is_abstract, is_bound = path.startswith("\0"), False
    try:
        if not is_abstract:
            _remove_abandoned(path)
        listener.bind(path)
        is_bound = True
        if mode is not None:
            Path(path).chmod(mode)  # before anybody can connect, which begins with `listen`
        listener.listen(512)
        opened = BatchListener(trio.SocketListener(trio.socket.from_stdlib_socket(listener)))
        return opened if is_abstract else UnixListener(opened, path)
    except OSError as error:
        listener.close()
        if is_bound and not is_abstract:
            Path(path).unlink(missing_ok=True)
        name = path.replace("\0", "@")  # as Linux writes abstract names
        raise ConfigurationError(f"cannot listen on the Unix socket {name}: {error.strerror or error}") from error


@final
class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A listener on a Unix socket. Closing it removes the file, unless another server has put its own there."""

    def __init__(self, listener: BatchListener, path: str) -> None:
        """Remember which file it is."""
        self.socket = listener.socket
        self._listener = listener
        self._path = Path(path)
        self._inode = self._path.stat().st_ino

    async def accept(self) -> trio.SocketStream:
        """The next connection."""
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Stop listening. The file goes first: once the socket is closed, a successor may bind the path."""
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass
        await self._listener.aclose()


def _remove_abandoned(path: str) -> None:
    """Remove the file of a Unix socket on which nobody listens; leave anything else alone."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # connecting to a listener whose queue is full would block
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()


def address_of(listener: Listener) -> Address:
    """Where `listener` can be reached."""
    below = listener.transport_listener if isinstance(listener, TlsListener) else listener
    bound = below.socket if isinstance(below, UnixListener | BatchListener) else socket_of(below)
    if bound is None:
        return Address(host=MEMORY)
    name: tuple[str, int] | str | bytes = bound.getsockname()
    if isinstance(name, str | bytes):
        return Address(host=os.fsdecode(name).replace("\0", "@"))  # as Linux writes abstract names
    return Address(host=name[0], port=name[1], secure=isinstance(listener, TlsListener))


def host_checks(addresses: Sequence[Address], chosen: HostCheck | None) -> list[HostCheck]:
    """Which hosts are served at each of `addresses`: those of ``App(hosts=...)``, or by default.

    By default, if all TCP addresses of the server are loopback, only the names of this machine are served there: a name
    that a stranger has had resolved to it is not ours. Elsewhere the names cannot be known, and the log says so. Where
    there is no TCP, no browser can be sent.
    """
    if chosen is not None:
        return [chosen] * len(addresses)
    reachable = [address for address in addresses if address.port and not address.is_loopback]
    if reachable:
        server_log.warning(
            "%s: hosts is not set, so that every Host is served, also a name that a stranger has had resolved to this "
            "address; name yours in App(hosts=[...]), or say any_host",
            reachable[0].url,
        )
    return [LOOPBACK if address.port and not reachable else UNRESTRICTED for address in addresses]
