"""The page about securing a WebSocket: each of its programs runs, the one of an identity provider too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import jwt
import pytest
from trio.testing import MockClock

from seawall import App
from seawall.cli import main
from seawall.http.https_get import _system_context  # pyright: ignore[reportPrivateUsage]  # to have it forget
from seawall.testing import CloseFrame, Rejected, connect, serve
from tests.kit.keys import key_for
from tests.kit.provider import Provider, provided
from tests.kit.proxies import free_ports
from tests.kit.sockets import authority_file
from tests.kit.tokens import by, signed
from tests.test_readme import PAGES, ROOT, Loader, load

__all__ = ["load"]  # the fixture

PAGE = PAGES[ROOT / "docs" / "secure.md"]
RSA = key_for("RS256")


async def test_a_secret(load: Loader, autojump_clock: MockClock) -> None:
    """A token lets in until it ends; without one there is a 401, and none of the reason."""
    app = load.app('audience="feed"')
    claims = {"sub": "ada", "aud": "feed", "iss": "https://id.example", "exp": time.time() + 60}
    async with connect(app, "/feed", headers=by(signed(claims))) as client:
        assert await client.receive() == "hello, ada"
        await client.send("x")
        assert await client.receive() == "x"
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    for headers in ({}, by(signed({**claims, "aud": "mail"})), by(signed({**claims, "exp": 1}))):
        with pytest.raises(Rejected, match=r"^401 unauthorized$"):
            async with connect(app, "/feed", headers=headers):
                pass


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The token that the page has issued is one that its program takes."""
    issue, inspect = re.findall(r"^seawall token (.*?)(?: > token)?$", PAGE, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert main(["token", *issue.split()]) == 0
    (tmp_path / "token").write_text(capsys.readouterr().out)
    assert main(["token", *inspect.split()]) == 0
    assert capsys.readouterr().out.endswith("\nGood.\n")


@pytest.mark.slow
def test_the_commands_as_they_are_written(tmp_path: Path) -> None:
    """The first block serves, and when it does, the second one is greeted and finds the token good."""
    port = str(free_ports()[0])
    program = PAGE.partition("```python\n")[2].partition("```")[0]
    serving, trying = (block.replace("8765", port) for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "feed.py").write_text(program.replace("8765", port))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shell = ["sh", "-e", "-c"]
    server = subprocess.Popen(
        [*shell, serving.replace(" python ", " exec python ")],  # which is then the one to be told to stop
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    try:
        assert server.stderr is not None
        assert "listening on" in server.stderr.readline()
        said = subprocess.run(
            [*shell, trying],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=20,
            check=True,
            encoding="utf-8",
        ).stdout
    finally:
        server.terminate()
        server.communicate(timeout=10)
    assert said.startswith("hello, ada\n")
    assert said.endswith("\nGood.\n")


def token(provider: Provider, *roles: str, **changes: object) -> str:
    """A token of the provider's."""
    claims: dict[str, object] = {
        "sub": "ada", "aud": "chat", "iss": provider.issuer, "azp": "chat-web", "email": "ada@example.org",
        "exp": time.time() + 60, "iat": time.time(), "realm_access": {"roles": list(roles)}, **changes,
    }  # fmt: skip
    return jwt.encode(claims, RSA, algorithm="RS256", headers={"kid": "1"})


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """What the system trusts is the authority of the tests; it is asked once, and once more afterwards."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file(tmp_path)))
    _system_context.cache_clear()
    yield
    _system_context.cache_clear()


def app_of(provider: Provider, load: Loader, monkeypatch: pytest.MonkeyPatch) -> App:
    """The app of the page, in the realm of this provider."""
    provider.publish(("1", RSA))
    provider.documents["/.well-known/openid-configuration"] = json.dumps(
        {"issuer": provider.issuer, "jwks_uri": provider.url}
    ).encode()
    monkeypatch.setenv("REALM", provider.issuer)
    return load.app("JWKS.discover(REALM)")


@pytest.mark.usefixtures("trusting")
async def test_an_identity_provider(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens let in by header, by cookie and by subprotocol, and are renewed; a role is asked for by its name."""
    async with provided(tls=True) as provider:
        app = app_of(provider, load, monkeypatch)
        async with serve(app) as server:
            origin = {"Origin": "https://chat.example"}
            presented = token(provider)
            async with server.connect("/chat", headers=by(presented)) as client:
                await client.send(json.dumps({"type": "renew", "token": token(provider), "ref": 1}))
                assert json.loads(await client.receive()) == {"type": "renewed", "re": 1}
            async with server.connect("/chat", headers=origin | {"Cookie": f"__Host-session={presented}"}):
                pass
            async with server.connect(
                "/chat", headers=origin, subprotocols=["chat.v1", f"bearer.{presented}"]
            ) as client:
                assert client.subprotocol == "chat.v1"
            async with server.connect("/admin", headers=by(token(provider, "admin", "offline_access"))):
                pass
            for path, headers, status in (
                ("/admin", by(presented), 403),
                ("/chat", by(token(provider, azp="other")), 401),
                ("/chat", by(token(provider, aud="account")), 401),
                ("/chat", by(token(provider, email=7)), 401),
                ("/chat", by(presented) | {"Origin": "https://evil.example"}, 403),
                ("/chat", {}, 401),
            ):
                with pytest.raises(Rejected) as caught:
                    async with server.connect(path, headers=headers):
                        pass
                assert caught.value.status == status


@pytest.mark.usefixtures("trusting")
async def test_the_peer_is_warned(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that has less than half a minute left brings the warning of the page at once."""
    assert '`{"type": "expiring"}`' in PAGE
    async with provided(tls=True) as provider:
        app = app_of(provider, load, monkeypatch)
        async with connect(app, "/chat", headers=by(token(provider, exp=time.time() + 20))) as client:
            assert json.loads(await client.receive()) == {"type": "expiring"}
