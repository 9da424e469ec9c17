"""Several apps in one program: one call serves and drains them, and the log says which is which."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from seawall import Anonymous, App, ConfigurationError, Connection, ListeningApp, public, run_apps
from seawall.serving.labels import label_of_server
from seawall.testing import serve
from tests.kit.log import recorded
from tests.kit.processes import Program, ending, forked, opened

PROGRAM = """
import sys
from seawall import App, public, run_apps

def app(name):
    app = App()
    @app.lifespan
    @asynccontextmanager
    async def life():
        print(name, "begins", flush=True)
        try:
            yield
        finally:
            print(name, "ends", flush=True)
    @app.route("/name", guard=public)
    async def says(conn):
        await conn.send(name)
        async for message in conn:
            await conn.send(message)
    return app

run_apps(app("chat").at(port=0), app("admin").at(unix=sys.argv[1], unix_mode=0o600), app("metrics").at(port=0))
"""


def naming() -> App:
    """An app that says which connection it is."""
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.send(conn.id)
        async for message in conn:
            await conn.send(message)

    return app


@pytest.fixture
def program_file(tmp_path: Path) -> Path:
    """`PROGRAM` in a file."""
    file = tmp_path / "several.py"
    file.write_text("from contextlib import asynccontextmanager\n" + PROGRAM)
    return file


def listening(program: Program) -> dict[str, str]:
    """The addresses of the program's servers by their labels, once all three listen."""
    program.stderr.wait_for(r"s3: listening on .*\n")
    found = re.findall(r"seawall\.server (?:(s\d): )?listening on (\S+)\n", program.stderr.text)
    return dict(found)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_mended_28_one_signal_drains_all(number: signal.Signals, program_file: Path, tmp_path: Path) -> None:
    """Each listens where it was told to, all drain at one signal, and each line of the log says whose it is."""
    path = tmp_path / "admin.sock"
    with forked(str(program_file), str(path)) as program:
        at = listening(program)
        assert at["s2"] == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        with opened(f"{at['']}/name") as chat, opened(f"{at['s3']}/name") as metrics:
            assert (chat.recv(), metrics.recv()) == ("chat", "metrics")
            program.tell(number)
            assert [ending(client)[1] for client in (chat, metrics)] == [1001, 1001]
        assert program.wait() == 0
        said = program.stderr.text
    assert sorted(program.stdout.text.splitlines()) == sorted(
        f"{name} {what}" for name in ("chat", "admin", "metrics") for what in ("begins", "ends")
    )
    assert re.search(rf"seawall\.server draining 1 connections of {at['']}\n", said)
    assert re.search(rf"seawall\.server s2: draining 0 connections of unix:{path}\n", said)
    assert re.search(rf"seawall\.server s3: stopped {at['s3']}\n", said)
    assert re.search(r"seawall\.connection c\d+ .*/name: server draining", said)
    assert re.search(r"seawall\.connection s3-c\d+ .*/name: server draining", said)


@pytest.mark.slow
def test_mended_28_all_or_none(program_file: Path, tmp_path: Path) -> None:
    """If one cannot listen, those before it stop again, and the program says which address it was."""
    path = tmp_path / "admin.sock"
    path.write_text("a file")
    with forked(str(program_file), str(path)) as program:
        assert program.wait() == 1
        assert f"cannot listen on the Unix socket {path}" in program.stderr.text
        assert program.stdout.text.split() == ["chat", "begins", "admin", "begins", "admin", "ends", "chat", "ends"]


def test_mended_28_what_is_no_app() -> None:
    """No app, or an app that does not say where, is an error with the remedy."""
    with pytest.raises(ConfigurationError, match=r"^run_apps\(\) was given no app; give some, as run_apps\(app\.at\("):
        run_apps()
    with pytest.raises(ConfigurationError, match=r"^run_apps\(\) was given <.*App .*>; give .*: app\.at\(port=8765\)"):
        cast("Callable[[object], None]", run_apps)(App())


async def test_mended_28_inside_trio() -> None:
    """A whole program cannot run inside of another one."""
    with pytest.raises(ConfigurationError, match=r"^run_apps\(\) is a whole program, but Trio runs here already"):
        run_apps(App().at(port=0))


def test_mended_28_where_it_listens() -> None:
    """The value holds what the app was told; a mistake in it is found when the program starts."""
    app = App()
    place = app.at(port=1, host="::1")
    assert (place.app, place.where) == (app, {"port": 1, "host": "::1"})
    with pytest.raises(ConfigurationError, match="there is no option 'prot'"):
        run_apps(cast("Callable[..., ListeningApp]", app.at)(prot=1))  # type: ignore[explicit-any]  # for who has no type checker


async def test_mended_28_the_log_says_which() -> None:
    """The second server has a label, and so have its connections; when it has gone, the next one has its place."""
    with recorded() as records:
        async with serve(naming()) as first:
            async with serve(naming()) as second:
                for served, prefix in ((first, ""), (second, "s2-")):
                    async with served.connect("/") as client:
                        assert str(await client.receive()).startswith(f"{prefix}c")
            async with serve(naming()) as third, third.connect("/") as client:
                assert str(await client.receive()).startswith("s2-c")
    assert [line for line in records.lines("server") if "listening" in line] == [
        "listening on memory",
        "s2: listening on memory",
        "s2: listening on memory",
    ]
    assert [line for line in records.lines("server") if "stopped" in line] == [
        "s2: stopped memory",
        "s2: stopped memory",
        "stopped memory",
    ]
    assert [line.partition("-")[0] for line in records.lines("connection")][1:] == ["s2", "s2"]


def test_mended_28_labels() -> None:
    """The smallest number that is free."""
    with label_of_server() as first:
        with label_of_server() as second, label_of_server() as third:
            assert (first, second, third) == ("", "s2", "s3")
        with label_of_server() as fourth:
            assert fourth == "s2"
    with label_of_server() as fifth:
        assert fifth == ""
