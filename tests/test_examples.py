"""The examples do what they say: as programs of their own, and in here."""

from __future__ import annotations

import signal
import time

import pytest
import trio
import trio.testing
from websockets.exceptions import InvalidStatus

from examples import chat, embedded, guide
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.testing import Closed, Rejected, connect, serve
from tests.kit.processes import PATIENCE, ending, opened, run, running
from tests.kit.tokens import signed

pytestmark = pytest.mark.slow

SECRET = "a secret of the tests, long enough for HS256"


def verifier(name: str) -> TokenVerifier:
    """Verifies the tokens of one example."""
    return TokenVerifier(keys=SECRET, algorithms=("HS256",), audience=name, issuer=name)


def token(name: str, *, seconds: float = 60, **claims: str) -> str:
    """A token for one example."""
    return signed({"aud": name, "iss": name, "exp": int(time.time() + seconds), **claims}, SECRET)


@pytest.mark.parametrize("example", ["guide", "chat"])
@pytest.mark.parametrize("secret", ["", "too short"])
def test_a_missing_or_short_secret_is_one_clear_line(example: str, secret: str) -> None:
    """An example that needs a secret says so, and how to make one."""
    status, stdout, stderr = run(f"examples/{example}.py", env={"SEAWALL_SECRET": secret})
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


async def test_the_session_of_the_guide() -> None:
    """A session echoes, and ends with its token."""
    async with connect(guide.secure_app(verifier("guide")), "/") as client:
        await client.send(token("guide", seconds=2))
        assert await client.receive() == "Authenticated!"
        await client.send("wave")
        assert await client.receive() == "Server received: wave"
        with trio.fail_after(PATIENCE):
            assert await client.wait_closed() == (3000, "Token Expired")


@pytest.mark.parametrize(("seconds", "answer"), [(-1, "Token Expired"), (100_000, "Invalid Token")])
async def test_the_refusals_of_the_guide(seconds: float, answer: str) -> None:
    """A refusal is a message and a close with the same text."""
    async with connect(guide.secure_app(verifier("guide")), "/") as client:
        await client.send(token("guide", seconds=seconds))
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


def test_chat_as_a_program() -> None:
    """Two members of a room hear each other; SIGTERM drains."""
    with running("examples/chat.py", "0", env={"SEAWALL_SECRET": SECRET}) as program:
        url = program.stderr.wait_for(r"listening on (\S+)\n")[1]
        ada, grace = (token("chat", sub=name, scope="chat:write") for name in ("ada", "grace"))
        with opened(f"{url}/rooms/sea", bearer=ada) as one, opened(f"{url}/rooms/sea", bearer=grace) as other:
            assert [one.recv(PATIENCE), one.recv(PATIENCE)] == ["Ada has come", "Grace has come"]
            assert other.recv(PATIENCE) == "Grace has come"
            other.send("hello")
            assert one.recv(PATIENCE) == other.recv(PATIENCE) == "Grace: hello"
            program.tell(signal.SIGTERM)
            last_words = [ending(client) for client in (one, other)]
            assert [last[1:] for last in last_words] == [(1001, "going away")] * 2
        assert program.wait() == 0


def test_chat_refuses_before_the_upgrade() -> None:
    """No token is 401, a token without the scope or of a stranger is 403."""
    with running("examples/chat.py", "0", env={"SEAWALL_SECRET": SECRET}) as program:
        url = program.stderr.wait_for(r"listening on (\S+)\n")[1]
        for bearer, status in (
            (None, 401),
            (token("chat", sub="ada", scope="chat:read"), 403),
            (token("chat", sub="mallory", scope="chat:write"), 403),
        ):
            with pytest.raises(InvalidStatus) as refused, opened(f"{url}/rooms/sea", bearer=bearer):
                pass
            assert refused.value.response.status_code == status


async def test_chat_has_its_own_errors() -> None:
    """A room that is not there, and a message that is too long, have close codes of the application."""
    app = chat.chat_app(verifier("chat"))
    headers = {"Cookie": f"token={token('chat', sub='ada', scope='chat:write')}"}
    async with connect(app, "/rooms/desert", headers=headers) as client:
        assert await client.wait_closed() == (4404, "no such room")
    async with connect(app, "/rooms/wall", headers=headers) as client:
        await client.send("x" * (chat.LONGEST + 1))
        assert await client.receive() == "Ada has come"
        assert await client.wait_closed() == (4413, "too long")
    with pytest.raises(Rejected) as refused:
        async with connect(app, "/rooms/wall"):
            pass
    assert refused.value.status == 401


async def test_chat_tells_who_has_left() -> None:
    """Who stays hears of who goes."""
    app = chat.chat_app(verifier("chat"))
    ada, grace = (
        {"Authorization": f"Bearer {token('chat', sub=name, scope='chat:write')}"} for name in ("ada", "grace")
    )
    async with serve(app) as serving, serving.connect("/rooms/sea", headers=ada) as staying:
        async with serving.connect("/rooms/sea", headers=grace) as leaving:
            assert await leaving.receive() == "Grace has come"
        heard = [await staying.receive() for _ in range(3)]
    assert heard == ["Ada has come", "Grace has come", "Grace has gone"]
    with pytest.raises(Closed):
        await staying.receive()
