"""An app on a real socket that is killed and started again: who was logged out is, and who was logged in."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define
from websockets.exceptions import InvalidStatus

from tests.kit.processes import PATIENCE, Program, ending, forked, opened

pytestmark = pytest.mark.slow

APP = """
import json, signal, sys
import trio
from seawall import Anonymous, App, Claims, Connection, SeawallError, bearer, public
from seawall.sessions import SqliteRevocations, SqliteSessions, TokenIssuer

app = App(revocations=SqliteRevocations(sys.argv[1]))
secret = "a secret that all of these processes have"
issuer = TokenIssuer(secret, issuer="https://chat.example", audience="chat", store=SqliteSessions(sys.argv[1]))


def said(tokens):
    return json.dumps([tokens.access, tokens.refresh, tokens.session_id])


@app.route("/member", guard=bearer(issuer.verifier))
async def member(conn: Connection[Claims]) -> None:
    async for message in conn:
        await conn.send(message)


@app.route("/issuer", guard=public)
async def issue(conn: Connection[Anonymous]) -> None:
    async for message in conn:
        what, _, argument = message.partition(" ")
        try:
            match what:
                case "begin":
                    await conn.send(said(await issuer.begin(argument)))
                case "renew":
                    await conn.send(said(await issuer.rotate(argument)))
                case "revoke":
                    await app.sessions.revoke(session_id=argument)
                    await conn.send("revoked")
        except SeawallError as error:
            await conn.send(type(error).__name__)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, port=0)
        print("port", server.addresses[0].port, flush=True)


signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever has started us may ignore it
trio.run(main)
"""


@define
class Serving:
    """The app, in a process of its own."""

    program: Program
    port: int

    def ask(self, message: str) -> str:
        """Ask the issuer."""
        with opened(f"ws://127.0.0.1:{self.port}/issuer") as client:
            client.send(message)
            answer = client.recv(PATIENCE)
            assert isinstance(answer, str)
            return answer

    def tokens(self, message: str) -> list[str]:
        """The access token, the refresh token and the session id that it gives."""
        found: list[str] = json.loads(self.ask(message))
        return found

    def lets_in(self, access: str) -> bool:
        """Whether a token opens a connection; if not, it is a 401."""
        try:
            with opened(f"ws://127.0.0.1:{self.port}/member", bearer=access) as client:
                client.send("there?")
                return client.recv(PATIENCE) == "there?"
        except InvalidStatus as refused:
            if refused.response.status_code != 401:
                raise
            return False

    def kill(self) -> None:
        """End it at once."""
        self.program.tell(signal.SIGKILL)
        assert self.program.wait() == -signal.SIGKILL


@contextmanager
def serving(directory: Path) -> Generator[Serving]:
    """Run the app with the file in a directory."""
    (code := directory / "app.py").write_text(APP)
    with forked(str(code), str(directory / "logins.db")) as program:
        yield Serving(program, int(program.stdout.wait_for(r"port (\d+)\n")[1]))


def test_what_was_revoked(tmp_path: Path) -> None:
    """It is refused by the next process, as soon as it listens; so is what was revoked just before the end."""
    with serving(tmp_path) as app:
        lasting, *_ = app.tokens("begin ada")
        revoked = [app.tokens("begin ada") for _ in range(5)]
        assert all(app.lets_in(access) for access, _, _ in revoked)
        with opened(f"ws://127.0.0.1:{app.port}/member", bearer=revoked[0][0]) as client:
            for _, _, session_id in revoked:
                assert app.ask(f"revoke {session_id}") == "revoked"
            app_ended = ending(client)
        assert app_ended == ([], 3003, "revoked")
        app.kill()
    with serving(tmp_path) as app:
        assert not any(app.lets_in(access) for access, _, _ in revoked)
        assert app.lets_in(lasting)


def let_pass(directory: Path, *, seconds: float) -> None:
    """Let all sessions have been used so many seconds earlier."""
    connection = sqlite3.connect(directory / "logins.db")
    connection.execute("UPDATE sessions SET used_at = used_at - ?", (seconds,))
    connection.commit()
    connection.close()


def test_who_was_logged_in(tmp_path: Path) -> None:
    """The refresh token is good; again within 10 s it gives the same; later it ends the session."""
    with serving(tmp_path) as app:
        _, zero, session_id = app.tokens("begin ada")
        _, other, _ = app.tokens("begin ada")
        _, one, _ = app.tokens(f"renew {zero}")
        app.kill()
    let_pass(tmp_path, seconds=60)
    with serving(tmp_path) as app:
        access, two, same_session = app.tokens(f"renew {one}")
        assert same_session == session_id
        assert app.lets_in(access)
        app.kill()
    let_pass(tmp_path, seconds=-1)  # the restart may take a while
    with serving(tmp_path) as app:
        again = app.tokens(f"renew {one}")
        assert again[1:] == [two, session_id]
        assert app.lets_in(again[0])
        app.kill()
    let_pass(tmp_path, seconds=60)
    with serving(tmp_path) as app:
        assert app.ask(f"renew {one}") == "RefreshTokenReused"
        app.kill()
    with serving(tmp_path) as app:
        assert app.ask(f"renew {two}") == "Unauthorized"
        app.tokens(f"renew {other}")


def test_what_another_process_serves(tmp_path: Path) -> None:
    """Two processes have one file: a log-out in one ends connections in the other, within a second, and is a 401."""
    with serving(tmp_path) as one, serving(tmp_path) as other:
        delays = list[float]()
        for _ in range(3):
            access, refresh, session_id = one.tokens("begin ada")
            assert other.lets_in(access)
            with opened(f"ws://127.0.0.1:{other.port}/member", bearer=access) as client:
                assert one.ask(f"revoke {session_id}") == "revoked"
                told = time.monotonic()
                assert ending(client) == ([], 3003, "revoked")
                delays.append(time.monotonic() - told)
            assert not other.lets_in(access)
            other.tokens(f"renew {refresh}")
        assert sorted(delays)[-2] < 1.0  # once the machine may have done something else for so long


def test_the_end_of_the_program(tmp_path: Path) -> None:
    """A program that is told to stop ends at once, and has closed the file, though nobody has told the stores to."""
    with serving(tmp_path) as app:
        _, _, session_id = app.tokens("begin ada")
        app.ask(f"revoke {session_id}")
        assert (tmp_path / "logins.db-wal").exists()
        began = time.monotonic()
        app.program.tell(signal.SIGINT)
        assert app.program.wait() != 0  # it does not handle signals
        assert time.monotonic() - began < 5.0
    assert not (tmp_path / "logins.db-wal").exists()
