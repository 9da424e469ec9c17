"""The examples do what they say: as programs of their own, and in here. The chat has tests of its own."""

from __future__ import annotations

import signal
import time

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from examples import embedded, guide
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.testing import connect, serve
from tests.kit.processes import PATIENCE, ending, opened, run_forked, running
from tests.kit.tokens import signed
from tests.kit.wall import Wall

pytestmark = pytest.mark.slow

SECRET = "a secret of the tests, long enough for HS256"


def verifier(name: str) -> TokenVerifier:
    """Verifies the tokens of one example."""
    return TokenVerifier(SECRET, algorithms=("HS256",), audience=name, issuer=name)


def token(name: str, *, expires_at: float | None = None, **claims: str) -> str:
    """A token for one example, which is good for a minute, if nothing else is said."""
    expires_at = time.time() + 60 if expires_at is None else expires_at
    return signed({"sub": "ada", "aud": name, "iss": name, "exp": int(expires_at), **claims}, SECRET)


@pytest.mark.parametrize("secret", ["", "too short"])
def test_a_missing_or_short_secret_is_one_clear_line(secret: str) -> None:
    """An example that needs a secret says so, and how to make one."""
    status, stdout, stderr = run_forked("examples/guide.py", env={"SEAWALL_SECRET": secret})
    assert (status, stdout) == (1, "")
    (line,) = stderr.splitlines()
    assert line.startswith("Set SEAWALL_SECRET")
    assert "secrets.token_urlsafe(32)" in line


def test_the_guide_as_a_program() -> None:
    """Both servers listen; Ctrl-C tells their clients, and ends without a traceback."""
    with running("examples/guide.py", "0", "0", env={"SEAWALL_SECRET": SECRET}) as program:
        echo, secure = (program.stdout.wait_for(rf"{name} (\S+)\n")[1] for name in ("echo", "secure"))
        with opened(echo) as anybody, opened(secure) as member:
            anybody.send("wave")
            assert anybody.recv(PATIENCE) == "Server received: wave"
            member.send(token("guide"))
            assert member.recv(PATIENCE) == "Authenticated!"
            program.tell(signal.SIGINT)
            for client in (anybody, member):
                assert ending(client) == ([], 1001, "going away")
        assert program.wait() == 0
        assert program.stdout.text.endswith("stopped\n")
        assert program.stderr.text == ""


async def test_the_echo_of_the_guide() -> None:
    """Text comes back with a word before it, bytes as they are."""
    async with connect(guide.echo, "/") as client:
        await client.send("wave")
        assert await client.receive() == "Server received: wave"
        await client.send(b"wave")
        assert await client.receive() == b"wave"


async def test_the_session_of_the_guide(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session echoes, and ends with its token."""
    wall = Wall.instead_of(monkeypatch)
    async with connect(guide.secure_app(verifier("guide")), "/") as client:
        await client.send(token("guide", expires_at=wall.time() + 2))
        assert await client.receive() == "Authenticated!"
        await client.send("wave")
        assert await client.receive() == "Server received: wave"
        assert await client.wait_closed() == (3000, "Token Expired")
        assert trio.current_time() == pytest.approx(2)


@pytest.mark.parametrize(("seconds", "answer"), [(-1, "Token Expired"), (100_000, "Invalid Token")])
async def test_the_refusals_of_the_guide(seconds: float, answer: str) -> None:
    """A refusal is a message and a close with the same text."""
    async with connect(guide.secure_app(verifier("guide")), "/") as client:
        await client.send(token("guide", expires_at=time.time() + seconds))
        assert await client.receive() == answer
        assert await client.wait_closed() == (3000, answer)


def test_embedded_as_a_program() -> None:
    """A subscriber gets the ticks, then 1001, and the program ends by itself."""
    with running("examples/embedded.py", "10") as program:
        url = program.stdout.wait_for(r"listening on (\S+)\n")[1]
        with opened(url) as client:
            message = client.recv(PATIENCE)
            assert isinstance(message, str)
            for number in range(int(message.removeprefix("tick ")) + 1, 11):
                assert client.recv(PATIENCE) == f"tick {number}"
            assert ending(client) == ([], 1001, "going away")
        assert program.wait() == 0
        assert program.stdout.text.endswith("drained\n")
        assert program.stderr.text == ""


async def test_embedded_forgets_who_has_left() -> None:
    """A subscriber that has gone is told nothing, and is not held."""
    async with serve(embedded.app) as serving:
        async with serving.connect("/ticks") as client:
            await trio.testing.wait_all_tasks_blocked()
            embedded.broadcast("one")
            assert await client.receive() == "one"
        await trio.testing.wait_all_tasks_blocked()
        assert not embedded.subscribers
        embedded.broadcast("nobody is there")
