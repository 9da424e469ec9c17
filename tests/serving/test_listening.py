"""Where a server listens: TCP, TLS, Unix sockets, listeners from outside, and what can be wrong with them."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from seawall.errors import ConfigurationError
from seawall.serving.listening import Address, Listen, Listener, address_of, open_listeners
from seawall.wire.transport.sockets import peer_of
from tests.kit.memory import Doorstep
from tests.kit.sockets import echo_app, serving
from tests.kit.wire import RawClient


async def close(listeners: Sequence[Listener]) -> None:
    """Close them all."""
    for listener in listeners:
        await listener.aclose()


async def accept(listener: Listener, client: socket.socket) -> trio.abc.Stream:
    """The server's end of a connection that `client` makes."""
    address = address_of(listener)
    client.connect((address.host, address.port) if address.port else address.host)
    return await listener.accept()


@pytest.fixture
def tls() -> ssl.SSLContext:
    """A server's context."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = trustme.CA().issue_cert("localhost")
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # of pyOpenSSL
    return context


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address(host="127.0.0.1", port=80), "ws://127.0.0.1:80"),
        (Address(host="::1", port=443, secure=True), "wss://[::1]:443"),
        (Address(host="/run/chat"), "unix:/run/chat"),
        (Address(host="memory"), "memory"),
    ],
    ids=["ipv4", "ipv6", "unix", "memory"],
)
def test_urls(address: Address, url: str) -> None:
    """An address shows itself as what a person would type."""
    assert address.url == url


async def test_tcp() -> None:
    """A free port is taken, told, and given back; the peer has an address."""
    [listener] = await open_listeners({"port": 0})
    address = address_of(listener)
    assert (address.host, address.secure) == ("127.0.0.1", False)
    assert address.port > 0
    with socket.socket() as client:
        stream = await accept(listener, client)
        host, port = client.getsockname()
        assert peer_of(stream) == f"{host}:{port}"
        await stream.aclose()
        assert peer_of(stream) == "gone"
    await close([listener])
    [again] = await open_listeners({"port": address.port})
    assert address_of(again) == address
    await close([again])


async def test_ipv6() -> None:
    """An IPv6 peer is shown in brackets."""
    [listener] = await open_listeners({"host": "::1", "port": 0})
    with socket.socket(socket.AF_INET6) as client:
        stream = await accept(listener, client)
        assert peer_of(stream) == f"[::1]:{client.getsockname()[1]}"
        await stream.aclose()
    await close([listener])


async def test_tls(tls: ssl.SSLContext) -> None:
    """With a context it speaks TLS, and the peer is that of the socket below."""
    [listener] = await open_listeners({"ssl_context": tls, "port": 0})
    assert address_of(listener).secure
    with socket.socket() as client:
        stream = await accept(listener, client)
        assert type(stream).__name__ == "SSLStream"
        assert peer_of(stream).startswith("127.0.0.1:")
        await trio.aclose_forcefully(stream)
    await close([listener])


async def test_the_default() -> None:
    """Whoever names nothing gets this machine's 8765, and one line if somebody else has it."""
    found: list[str] = []
    try:
        listeners = await open_listeners({})
    except ConfigurationError as error:
        found.append(str(error))
    else:
        found += [address_of(listener).url for listener in listeners]
        await close(listeners)
    assert found in (
        ["ws://127.0.0.1:8765"],
        ["cannot listen on 127.0.0.1 port 8765: the port is in use; choose another"],
    )


async def test_a_port_that_is_taken() -> None:
    """A busy port, a port that is none, and a name that nobody has, are one line each."""
    [listener] = await open_listeners({"port": 0})
    port = address_of(listener).port
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}: the port is in use; choose"):
        await open_listeners({"port": port})
    with pytest.raises(ConfigurationError, match=r"port 70000: .*; choose another"):
        await open_listeners({"port": 70_000})
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1 port 0: .*; choose another"):
        await open_listeners({"host": "192.0.2.1", "port": 0})
    await close([listener])


async def test_a_unix_socket(tmp_path: Path) -> None:
    """A Unix socket is shown by its path, its peer as ``unix``, and its file goes when it is closed."""
    path = tmp_path / "chat"
    [listener] = await open_listeners({"unix": path})
    assert address_of(listener).url == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        stream = await accept(listener, client)
        assert peer_of(stream) == "unix"
        await stream.aclose()
    await listener.aclose()
    assert not path.exists()


async def test_tls_over_a_unix_socket(tls: ssl.SSLContext, tmp_path: Path) -> None:
    """It is shown by its path too, if somebody makes one."""
    path = tmp_path / "chat"
    [listener] = await open_listeners({"unix": path})
    theirs = trio.SSLListener(cast("trio.abc.Listener[trio.SocketStream]", listener), tls)
    [outer] = await open_listeners({"listeners": [cast("Listener", theirs)]})
    assert address_of(outer).url == f"unix:{path}"
    await outer.aclose()


async def test_a_unix_socket_whose_file_is_gone(tmp_path: Path) -> None:
    """That somebody has removed the file is no error when it is closed."""
    path = tmp_path / "chat"
    [listener] = await open_listeners({"unix": path})
    path.unlink()
    await listener.aclose()


async def test_an_abandoned_unix_socket(tmp_path: Path) -> None:
    """A socket that a dead process has left behind is replaced."""
    path = tmp_path / "chat"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    [listener] = await open_listeners({"unix": str(path)})
    with socket.socket(socket.AF_UNIX) as client:
        await (await accept(listener, client)).aclose()
    await listener.aclose()


async def test_a_unix_socket_that_is_in_use(tmp_path: Path) -> None:
    """A socket that somebody listens on is left alone, even one that is too busy to answer, and so is a file."""
    path = tmp_path / "chat"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen(0)
        for _ in range(3):  # the first attempts fill the queue
            with pytest.raises(ConfigurationError, match="cannot listen on the Unix socket"):
                await open_listeners({"unix": path})
        assert path.is_socket()
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ConfigurationError, match=os.strerror(98)):
        await open_listeners({"unix": file})
    assert file.read_text() == "precious"


async def test_a_path_that_is_none(tmp_path: Path) -> None:
    """A directory that does not exist, and a path that is too long, are one line each."""
    with pytest.raises(ConfigurationError, match="No such file"):
        await open_listeners({"unix": tmp_path / "nowhere" / "chat"})
    with pytest.raises(ConfigurationError, match="too long"):
        await open_listeners({"unix": tmp_path / ("x" * 200)})


async def test_several_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """TCP, a Unix socket and listeners from outside go together; without an address there is no TCP beside others."""
    ours = Doorstep()
    listeners = await open_listeners({"listeners": [ours], "unix": tmp_path / "chat", "port": 0})
    assert {address_of(listener).url.partition(":")[0] for listener in listeners} == {"memory", "unix", "ws"}
    await close(listeners)
    assert await open_listeners({"listeners": [ours]}) == [ours]


@pytest.mark.parametrize("wrong", ["tcp", "unix"])
async def test_all_or_nothing(wrong: str, tmp_path: Path) -> None:
    """When one of several cannot be opened, none is left open."""
    [busy] = await open_listeners({"port": 0})
    ours, path = Doorstep(), tmp_path / "chat"
    if wrong == "tcp":
        with pytest.raises(ConfigurationError, match="in use"):
            await open_listeners({"listeners": [ours], "unix": path, "port": address_of(busy).port})
    else:
        path.write_text("a file")
        with pytest.raises(ConfigurationError, match="Unix socket"):
            await open_listeners({"listeners": [ours], "unix": path, "port": 0})
    assert ours.closed == 1
    assert not path.is_socket()
    await close([busy])


async def test_what_is_no_socket() -> None:
    """Memory streams and their listeners have no address of their own."""
    near, _ = trio.testing.memory_stream_pair()
    assert peer_of(near) == "memory"
    assert address_of(Doorstep()) == Address(host="memory")
    await Doorstep().aclose()


@pytest.mark.parametrize(
    "where",
    [{"ssl": None}, {"prot": 0}, {"host": None}, {"host": ""}, {"port": "8765"}, {"port": None}, {"listeners": []}],
    ids=repr,
)
async def test_an_option_that_says_nothing_opens_nothing(where: dict[str, object]) -> None:
    """A misspelt or empty option never means another address than the one that was meant."""
    with pytest.raises(ConfigurationError, match="listening: "):
        await open_listeners(cast("Listen", where))


async def test_a_successor_keeps_its_file(tmp_path: Path) -> None:
    """A server that stops takes its own Unix socket away, not the one that another has put in its place."""
    path = tmp_path / "socket"
    (first,) = await open_listeners({"unix": path})
    path.unlink()
    (second,) = await open_listeners({"unix": path})
    await first.aclose()
    assert path.is_socket()
    await second.aclose()
    assert not path.exists()
    await second.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
async def test_mended_17_an_abstract_unix_socket() -> None:
    """It is served under its name, shown as Linux writes it, and free again when it is closed."""
    name = f"\0seawall-{os.getpid()}"
    for _ in range(2):
        [listener] = await open_listeners({"unix": name})
        assert address_of(listener).url == f"unix:@{name[1:]}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
            stream = await listener.accept()
            assert peer_of(stream) == "unix"
            await stream.aclose()
        with pytest.raises(ConfigurationError, match=f"cannot listen on the Unix socket @{name[1:]}: "):
            await open_listeners({"unix": name})
        await listener.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
async def test_mended_17_an_abstract_unix_socket_talks() -> None:
    """An app answers on one as on any other."""
    name = f"\0seawall-talks-{os.getpid()}"
    async with serving(echo_app(), unix=name):
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.connect(name)
        client = RawClient(trio.SocketStream(sock), sock)
        await client.upgrade("/echo")
        await client.echo(b"hello")
        client.close()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"unix": "\0"}, "only Linux has abstract sockets, with a name"),
        ({"unix": "/tmp/a\0b"}, "has a zero byte in it"),
        ({"unix": "\0a\0b"}, "has a zero byte in it"),
        ({"unix_mode": 0o660}, "unix_mode= is for the file of a Unix socket; give unix="),
        ({"unix": "\0seawall", "unix_mode": 0o660}, "unix_mode= is for the file of a Unix socket; give unix="),
        ({"unix": "/nowhere/socket", "unix_mode": 660}, "unix_mode=660 is no mode of a file; write it in octal"),
        ({"unix": "/nowhere/socket", "unix_mode": "660"}, "unix_mode='660' is no int; give one"),
    ],
    ids=ascii,
)
async def test_mended_17_unix_options_that_mean_nothing(where: dict[str, object], said: str) -> None:
    """They are refused with the remedy, and nothing is left that listens."""
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a path cannot name it
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        await open_listeners(cast("Listen", where))
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 - as above


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o777])
async def test_mended_17_unix_mode(mode: int, tmp_path: Path) -> None:
    """The socket's file has these permissions, whatever the umask is."""
    path = tmp_path / "chat"
    old = os.umask(0o077)
    try:
        [listener] = await open_listeners({"unix": path, "unix_mode": mode})
        assert stat.S_IMODE(path.stat().st_mode) == mode
        await listener.aclose()
        [listener] = await open_listeners({"unix": path})
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        await listener.aclose()
    finally:
        os.umask(old)
