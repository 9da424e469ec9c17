"""Real proxies in front of a server of a test, each on a port of its own, configured as ``docs/deployment.md`` says."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, final

import pytest
import trio
from attrs import frozen

from tests.kit.forked import ROOT
from tests.kit.processes import Program
from tests.kit.sockets import certificate, client_context, until
from tests.kit.wire import RawClient

#: Where the documentation has the app listen, which is replaced.
DOCUMENTED: Final = "127.0.0.1:8765"
SOCKET: Final = "/run/chat/chat.sock"


def executable(*names: str, what: str) -> str:
    """The first of `names` that is installed; where there is none the test is skipped, but on CI it fails."""
    for name in names:
        if (found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is not None:
            return found
    missing = f"{' or '.join(names)} is not installed: {what}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def documented(language: str, page: str = "deployment.md") -> str:
    """The one snippet in this language on a page of the documentation."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


@final
@frozen(kw_only=True)
class Proxy:
    """A proxy that runs."""

    port: int
    """Where it speaks plain HTTP."""
    tls_port: int
    """Where it ends TLS."""
    directory: Path

    @property
    def stats(self) -> Path:
        """The socket where HAProxy tells what it has found out."""
        return self.directory / "stats"

    async def dial(self, *, tls: bool) -> RawClient:
        """A connection to it on which nothing has been said."""
        plain = await trio.open_tcp_stream("127.0.0.1", self.tls_port if tls else self.port)
        if not tls:
            return RawClient(plain, plain.socket)
        secure = trio.SSLStream(plain, client_context(), server_hostname="localhost", https_compatible=True)
        return RawClient(secure, plain.socket, secure)


def free_ports() -> tuple[int, int]:
    """Two TCP ports of this machine that nobody has, nor is given by the system before the proxy has them."""
    found: set[int] = set()
    while len(found) < 2:
        port = random.randrange(10_000, 30_000)  # Linux gives out those from 32,768 on
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    one, other = found
    return one, other


def answers(at: int | Path) -> bool:
    """Whether somebody listens there: at a port, or at the path of a Unix socket."""
    with socket.socket(socket.AF_INET if isinstance(at, int) else socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", at) if isinstance(at, int) else str(at)) == 0


@asynccontextmanager
async def running(proxy: Proxy, *command: str, opens: Path | None = None) -> AsyncGenerator[Proxy]:
    """Run a proxy until the block is left; it stays in the foreground, and is ended by its process.

    It opens one place after another, so the block begins when all answer: both ports, and the socket that it `opens`.
    """
    places: list[int | Path] = [proxy.port, proxy.tls_port, *([opens] if opens is not None else [])]
    process = subprocess.Popen(  # noqa: ASYNC220 - it is followed by threads, as `Program` does
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    program = Program(process)
    try:
        await until(lambda: all(map(answers, places)) or process.poll() is not None)
        assert process.poll() is None, program.stderr.text
        yield proxy
    finally:
        process.kill()
        program.wait()


@asynccontextmanager
async def nginx(directory: Path, at: int | str, location: str | None = None) -> AsyncGenerator[Proxy]:
    """The app on port `at`, or at this path, behind nginx, with this location, or with that of the documentation."""
    program = executable("nginx", what="nobody has tried the app behind it")
    port, tls_port = free_ports()
    old, new = (SOCKET, at) if isinstance(at, str) else (DOCUMENTED, f"127.0.0.1:{at}")
    inner = (location or documented("nginx")).replace(old, new)
    assert new in inner
    kept = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    pem = certificate(directory)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr;\n"
        "events {}\n"
        f"http {{ access_log off; {kept}\n"
        f"server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl;\n"
        f"ssl_certificate {pem}; ssl_certificate_key {pem};\n{inner}\n}} }}\n"
    )
    proxy = Proxy(port=port, tls_port=tls_port, directory=directory)
    async with running(proxy, program, "-p", str(directory), "-e", "stderr", "-c", str(configuration)):
        yield proxy


@asynccontextmanager
async def haproxy(directory: Path, at: int, check: str | None = None) -> AsyncGenerator[Proxy]:
    """The app on port `at` behind HAProxy, as in the documentation, or with another health check."""
    program = executable("haproxy", what="nobody has tried the app behind it")
    port, tls_port = free_ports()
    pem = certificate(directory)
    text = documented("haproxy").replace(DOCUMENTED, f"127.0.0.1:{at}").replace(" check\n", " check inter 100ms\n")
    bind = f"bind 127.0.0.1:{port}\n    bind 127.0.0.1:{tls_port} ssl crt {pem}"
    text, binds = re.subn(r"bind :443 ssl crt \S+", bind, text)
    text, checks = re.subn(r"option httpchk.*", check or r"\g<0>", text)
    assert (binds, checks) == (1, 1)
    configuration = directory / "haproxy.cfg"
    proxy = Proxy(port=port, tls_port=tls_port, directory=directory)
    configuration.write_text(f"global\n    stats socket {proxy.stats}\n    maxconn 100\n\n{text}")
    async with running(proxy, program, "-db", "-f", str(configuration), opens=proxy.stats):
        yield proxy


async def health(proxy: Proxy) -> str:
    """What HAProxy has found out about its server in a health check: ``L7OK``; or ``L7STS 405`` for a bad status."""
    found = ""
    while not re.match("L7(OK|STS)", found):  # before that INI; or L4TOUT, when the machine is busy
        async with await trio.open_unix_socket(proxy.stats) as stream:
            await stream.send_all(b"show stat\n")
            answer = b""
            while data := await stream.receive_some():
                answer += data
        names, *rows = [line.split(",") for line in answer.decode().removeprefix("# ").splitlines() if line]
        (row,) = [dict(zip(names, one, strict=False)) for one in rows if one[:2] == ["chat", "one"]]
        found = f"{row['check_status']} {row['check_code']}".strip()
        await trio.sleep(0.05)
    return found
