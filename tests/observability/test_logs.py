"""Logging: safe text, the two formatters, and `configure_logging`."""

from __future__ import annotations

import io
import json
import logging
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
import trio

from seawall import Anonymous, App, Connection, public
from seawall.errors import ConfigurationError
from seawall.observability.logs import (
    MAX_TRACEBACK,
    JsonFormatter,
    Log,
    TextFormatter,
    configure_logging,
    connection_log,
    error_log,
    server_log,
)
from seawall.printable import safe
from seawall.testing import serve
from tests.kit.processes import run, run_forked


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Give the logger `seawall` back as the test found it."""
    logger = logging.getLogger("seawall")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


class Hostile:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        """Raise."""
        raise RuntimeError("no repr")


class HostileMapping(Mapping[str, object]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> object:
        """Raise."""
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Raise."""
        raise RuntimeError("no items")

    def __len__(self) -> int:
        """Claim to have one."""
        return 1


def record(message: object = "hello", args: object = (), **attributes: object) -> logging.LogRecord:
    """A record of `seawall.connection` at a known time."""
    return logging.makeLogRecord(
        {
            "name": "seawall.connection",
            "levelname": "INFO",
            "levelno": logging.INFO,
            "created": 1795348800.1239,
            "msg": message,
            "args": args,
            **attributes,
        }
    )


def raised(error: ValueError) -> tuple[type[ValueError], ValueError, object]:
    """The exc_info of an error that was raised."""
    try:
        raise error
    except ValueError as caught:
        return type(caught), caught, caught.__traceback__


def as_json(of: logging.LogRecord) -> dict[str, object]:
    """The record through `JsonFormatter` and a JSON parser; checks that it is one line of ASCII."""
    line = JsonFormatter().format(of)
    assert line.isascii()
    assert line.isprintable()
    return cast("dict[str, object]", json.loads(line))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("größer 日本 🎉", "größer 日本 🎉"),
        ("a\r\nb\t\x1b[0m\x00", r"a\x0d\x0ab\x09\x1b[0m\x00"),
        ("\x7f\x85\xa0", r"\x7f\x85\xa0"),
        ("\u2028\u202e\ufeff", r"\u2028\u202e\ufeff"),
        ("\udc80", r"\udc80"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_safe_escapes_what_is_not_printable(text: str, shown: str) -> None:
    """Control and format characters, line breaks and surrogates are escaped; all other text stays."""
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("abcd\n", 5, "abcd…"),
        ("a\n", 5, r"a\x0a"),
        ("a\nb", 5, "a…"),
        ("\n", 4, r"\x0a"),
        ("\n", 3, "…"),
        ("a", 0, "…"),
        ("", 0, ""),
    ],
)
def test_safe_is_bounded(text: str, limit: int, shown: str) -> None:
    """The result is never longer than the limit (at least the ellipsis), and no escape is cut in two."""
    assert safe(text, limit) == shown


def test_safe_does_not_look_at_the_rest() -> None:
    """A text of megabytes is cut to 200 characters by default."""
    assert safe("x" * 10_000_000) == "x" * 199 + "…"


def test_json_has_the_fixed_names_and_the_fields() -> None:
    """A record is an object with time, level, logger, message and its own fields at the top."""
    assert as_json(record("hello %s", ("you",), seawall={"route": "/a", "bytes": 7, "tls": True, "code": None})) == {
        "time": "2026-11-22T12:00:00.123Z",
        "level": "INFO",
        "logger": "seawall.connection",
        "message": "hello you",
        "route": "/a",
        "bytes": 7,
        "tls": True,
        "code": None,
    }


def test_json_fields_cannot_replace_the_fixed_names() -> None:
    """A field called like one of the fixed names is left out."""
    found = as_json(record(seawall={"level": "forged", "time": 0, "other": 1}))
    assert (found["level"], found["time"], found["other"]) == ("INFO", "2026-11-22T12:00:00.123Z", 1)


def loop() -> list[object]:
    """A list that contains itself."""
    made: list[object] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        ([10**5000], ["<int that has no repr>"]),
        ("line\nbreak\u2028\x00", "line\nbreak\u2028\x00"),
        ("\udc80", r"\udc80"),
        (b"\x00", r"b'\x00'"),
        ({"a": (1, [2])}, {"a": [1, [2]]}),
        ({1: 2, "a\nb": 3}, {"1": 2, r"a\x0ab": 3}),
        (Path("/x").parts, ["/", "x"]),
        (loop(), [[["[[...]]"]]]),
        (Hostile(), "<Hostile that has no repr>"),
        ({Hostile(): Hostile()}, {"<Hostile that has no repr>": "<Hostile that has no repr>"}),
        (HostileMapping(), "<HostileMapping that cannot be read>"),
    ],
)
def test_json_shows_odd_values(value: object, shown: object) -> None:
    """What JSON does not have is shown as text, and no value raises."""
    assert as_json(record(seawall={"value": value}))["value"] == shown


@pytest.mark.parametrize(("fields", "shown"), [(7, 7), (["a"], ["a"]), (HostileMapping(), "<HostileMapping")])
def test_json_shows_fields_that_are_no_mapping(fields: object, shown: object) -> None:
    """What is not a mapping, or cannot be read as one, stays under the name `seawall`."""
    found = as_json(record(seawall=fields))["seawall"]
    assert found == shown or str(found).startswith(str(shown))


def test_a_message_that_does_not_fit_its_arguments_is_still_logged() -> None:
    """A wrong format string shows message and arguments instead of raising."""
    assert as_json(record("%d rooms", ("many",)))["message"] == "%d rooms ('many',)"
    assert TextFormatter().format(record(Hostile())).endswith("<Hostile that has no repr> ()")


def test_json_has_the_traceback() -> None:
    """An exception's traceback is in the field `exception`, line breaks escaped."""
    trace = str(as_json(record(exc_info=raised(ValueError("bad\nvalue"))))["exception"])
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("ValueError: bad\nvalue")


@pytest.mark.parametrize("attributes", [{}, {"exc_info": None}, {"exc_info": (None, None, None)}])
def test_without_an_exception_there_is_no_traceback(attributes: dict[str, object]) -> None:
    """No exception, no field and no extra line."""
    assert "exception" not in as_json(record(**attributes))
    assert TextFormatter().format(record(**attributes)) == "2026-11-22T12:00:00.123Z INFO seawall.connection hello"


def test_a_stack_and_a_traceback_made_elsewhere_are_shown() -> None:
    """A traceback that is text already (from a queue) and a stack are shown one after the other."""
    assert as_json(record(exc_text="trace", stack_info="stack"))["exception"] == "trace\nstack"


def test_a_traceback_that_cannot_be_made_is_shown_as_text() -> None:
    """An exc_info that is not one does not raise."""
    found = as_json(record(exc_info=(ValueError, ValueError("x"), "no traceback")))["exception"]
    assert found == "(<class 'ValueError'>, ValueError('x'), 'no traceback')"


def test_a_long_traceback_keeps_head_and_tail() -> None:
    """Of a long traceback the middle is left out, and the line says how much."""
    trace = str(as_json(record(exc_info=raised(ValueError("x" * 100_000 + "end"))))["exception"])
    assert len(trace) < MAX_TRACEBACK + 100
    assert trace.startswith("Traceback")
    assert " characters left out]\n" in trace
    assert trace.endswith("xend")


def test_text_indents_the_traceback() -> None:
    """No line of a traceback can pass for a record, and escape sequences in it are shown, not sent."""
    lines = TextFormatter().format(record("oh", exc_info=raised(ValueError("a\nb\x1b[0m\u2028c")))).split("\n")
    assert lines[:2] == [
        "2026-11-22T12:00:00.123Z INFO seawall.connection oh",
        "    Traceback (most recent call last):",
    ]
    assert lines[-3:] == ["    ValueError: a", r"    b\x1b[0m", "    c"]


def test_text_passes_the_message_through() -> None:
    """The message is the caller's business."""
    assert TextFormatter().format(record("a\nb")).endswith(" a\nb")


def test_configure_prints_text(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, records of level INFO and above are printed as text."""
    configure_logging()
    server_log.info("started")
    server_log.log(logging.DEBUG, "not shown")
    printed = capsys.readouterr().err
    assert printed.endswith("Z INFO seawall.server started\n")
    assert printed.count("\n") == 1


def test_configure_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With json=True each record is a JSON line."""
    configure_logging(json=True)
    connection_log.log(logging.INFO, "over", fields={"cause": "peer closed"})
    found = json.loads(capsys.readouterr().err)
    assert (found["message"], found["cause"]) == ("over", "peer closed")


@pytest.mark.parametrize("level", ["debug", "NOTSET", 10, 0])
def test_configure_takes_names_and_numbers(capsys: pytest.CaptureFixture[str], level: str | int) -> None:
    """A level is a name in any case, or a number; zero means everything."""
    configure_logging(level=level)
    server_log.log(logging.DEBUG, "shown")
    assert "shown" in capsys.readouterr().err


def test_configure_refuses_an_unknown_level() -> None:
    """A level that does not exist is named, with those that do."""
    with pytest.raises(ConfigurationError, match=r"no log level 'LOUD'; known are .*WARNING"):
        configure_logging(level="LOUD")


def test_the_file_gets_the_error_events(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Records of level WARNING and above are appended to the file, those below are not."""
    file = tmp_path / "errors.log"
    file.write_text("before\n")
    configure_logging(file=file)
    server_log.info("fine")
    error_log.warning("café \udc80")
    before, line = file.read_text(encoding="utf-8").splitlines()
    assert before == "before"
    assert line.endswith(r"WARNING seawall.error café \udc80")
    assert capsys.readouterr().err.count("\n") == 2


def test_the_file_gets_warnings_whatever_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A high level for stderr does not keep warnings from the file."""
    file = tmp_path / "errors.log"
    configure_logging(level="CRITICAL", file=str(file), json=True)
    error_log.warning("careful")
    assert json.loads(file.read_text())["message"] == "careful"
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_file_is_private(tmp_path: Path) -> None:
    """The file is created for its owner only."""
    configure_logging(file=tmp_path / "errors.log")
    assert stat.S_IMODE((tmp_path / "errors.log").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["missing/errors.log", ".", "nul\0"])
def test_a_file_that_cannot_be_written_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """The error names the path and the remedy, and what was configured before still works."""
    configure_logging()
    with pytest.raises(ConfigurationError, match="name a file in a directory that exists") as caught:
        configure_logging(file=tmp_path / name, level="CRITICAL")
    assert repr(str(tmp_path / name)) in str(caught.value)
    server_log.info("still here")
    assert "still here" in capsys.readouterr().err


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A second call replaces the handlers of the first, closes its file, and leaves foreign handlers alone."""
    logger = logging.getLogger("seawall")
    foreign = logging.StreamHandler(io.StringIO())
    logger.addHandler(foreign)
    configure_logging(file=tmp_path / "first.log")
    opened = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    configure_logging(file=tmp_path / "second.log")
    configure_logging()
    error_log.error("once")
    assert capsys.readouterr().err.count("once") == 1
    assert foreign.stream.getvalue().count("once") == 1
    assert [handler.stream for handler in opened] == [None]
    assert (tmp_path / "first.log").read_text() == (tmp_path / "second.log").read_text() == ""
    assert not [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]


def test_configure_keeps_the_records_from_the_root_logger(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """After configure_logging() a handler of the root logger does not print everything a second time."""
    configure_logging()
    server_log.error("here only")
    assert "here only" in capsys.readouterr().err
    assert caplog.records == []


#: That all that has to do with logging is as in an interpreter that has just been started.
UNTOUCHED = """
import logging, seawall.observability.logs as logs
logger = logging.getLogger("seawall")
assert (logger.level, logger.propagate, logging.root.handlers, logs.is_configured()) == (0, True, [], False)
assert not any(getattr(each, "disabled", False) for each in logging.root.manager.loggerDict.values())
assert (logging.root.level, logging.root.manager.disable) == (logging.WARNING, 0)
"""


def printed_by(program: str, *, fresh: bool = False) -> tuple[str, str]:
    """What a program prints, on stdout and on stderr, in an interpreter in which nobody has configured logging."""
    status, out, err = (run if fresh else run_forked)("-c", f"{UNTOUCHED}\n{program}")
    assert status == 0, err
    return out, err


@pytest.mark.parametrize("modules", ["seawall", "seawall.cli, seawall.sessions, seawall.testing"])
def test_importing_configures_nothing(modules: str) -> None:
    """An import leaves levels, and the root logger, to the program."""
    assert printed_by(f"import {modules}\n{UNTOUCHED}", fresh=True) == ("", "")


#: A configuration that takes what is logged, and shows nothing.
INTO_NOTHING = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["null"]},
}

#: What a program does about logging, and how often an error is then printed by us.
CONFIGURED = {
    "nothing": ("", 1),
    "another logger": ("logging.getLogger('mine').addHandler(logging.StreamHandler(sys.stdout))", 1),
    "a level": ("logging.getLogger().setLevel(logging.DEBUG)", 1),
    "basicConfig": ("logging.basicConfig(stream=sys.stdout)", 0),
    "a handler of ours": ("logging.getLogger('seawall').addHandler(logging.StreamHandler(sys.stdout))", 0),
    "a handler of one of ours": ("logging.getLogger('seawall.error').addHandler(logging.StreamHandler(sys.stdout))", 0),
    "a handler of another of ours": ("logging.getLogger('seawall.server').addHandler(logging.NullHandler())", 1),
    "silence": ("logging.getLogger('seawall').addHandler(logging.NullHandler())", 0),
    "a level above": ("logging.getLogger('seawall').setLevel(logging.CRITICAL)", 0),
    "configure_logging": ("logs.configure_logging(level='WARNING')", 1),
    "dictConfig that may disable": ("logging.config.dictConfig({'version': 1})", 1),
    "dictConfig with a handler": (f"logging.config.dictConfig({INTO_NOTHING})", 0),
    "dictConfig": ("logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False})", 1),
    "no stderr": ("sys.stderr = None", 0),
    "a stderr that is closed": ("sys.stderr.close()", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", CONFIGURED)
def test_mended_24_an_error_is_seen_unless_the_program_has_configured_logging(how: str) -> None:
    """What is WARNING or graver is printed on stderr by ourselves, once, as long as nobody else gets it."""
    configure, times = CONFIGURED[how]
    program = (
        f"import logging, logging.config, sys, seawall.observability.logs as logs\n{configure}\n"
        "logs.server_log.info('chatter')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    logs.error_log.log(logging.ERROR, 'incident %s', 'c0ffee', failure=error)\n"
        "logs.error_log.warning('careful')\n"
    )
    _, printed = printed_by(program, fresh=how == "nothing")
    assert "chatter" not in printed
    lines = printed.splitlines()
    for line in ("ERROR seawall.error incident c0ffee", "    ZeroDivisionError: division by zero"):
        assert sum(shown.endswith(line) for shown in lines) == times, printed
    assert sum(line.endswith("WARNING seawall.error careful") for line in lines) == times, printed


#: A program that configures logging before or after its app has been served, and whose handler then fails.
LATE = """
import logging.config, sys, trio
from seawall import App, public
from seawall.testing import connect, serve

app = App()

@app.route("/", guard=public)
async def divide(conn):
    1 / 0

async def main():
    async with serve(app) as serving, serving.connect("/") as client:
        await client.wait_closed()

def configure(**more):
    handler = {"class": "logging.StreamHandler", "stream": sys.stdout}
    logging.config.dictConfig({"version": 1, "handlers": {"out": handler}, "root": {"handlers": ["out"]}, **more})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "seen", "warned"),
    [
        ("configure(); trio.run(main)", 1, 0),
        ("trio.run(main); configure(disable_existing_loggers=False); trio.run(main)", 1, 0),
        ("trio.run(main); configure(loggers={'seawall': {}}); trio.run(main)", 1, 0),
        ("trio.run(main); configure(); trio.run(main); trio.run(main)", 0, 1),
        ("import warnings; warnings.simplefilter('error'); trio.run(main); configure(); trio.run(main)", 0, 0),
    ],
    ids=["before", "not disabling", "naming", "disabling", "disabling, and warnings are errors"],
)
def test_mended_24_a_program_that_configures_logging_late(then: str, seen: int, warned: int) -> None:
    """Before an app is served it may; afterwards a warning says so, if it has disabled our loggers."""
    printed, complained = printed_by(f"{LATE}\n{then}\n")
    assert printed.count("Traceback") == seen
    for name in ("seawall.server", "seawall.error", "seawall.connection"):
        told = f"RuntimeWarning: the logger {name} is disabled, and failures are lost; give dictConfig or fileConfig"
        assert complained.count(told) == warned, complained


def test_mended_24_a_logger_that_is_disabled() -> None:
    """A warning says so once, and nothing is logged; one with a level above is not."""
    log, logger = Log("seawall.disabled"), logging.getLogger("seawall.disabled")
    logger.setLevel(logging.CRITICAL)
    log.error("nothing")
    logger.disabled = True
    with pytest.warns(
        RuntimeWarning, match="the logger seawall.disabled is disabled, .* disable_existing_loggers=False"
    ):
        log.error("lost")
    log.error("lost")
    assert not log.shows(logging.CRITICAL)


def test_mended_24_an_error_of_an_app_that_is_embedded_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under ``app.start`` a handler's exception is printed with its traceback and the incident that the peer reads."""
    app = App()

    @app.route("/", guard=public)
    async def divide(conn: Connection[Anonymous]) -> None:
        raise ZeroDivisionError

    async def main() -> str:
        async with serve(app) as serving, serving.connect("/") as client:
            return (await client.wait_closed()).reason

    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    reason = trio.run(main)
    printed = capsys.readouterr().err
    assert printed.count("\n    ZeroDivisionError\n") == 1
    assert "in divide" in printed
    assert reason.startswith("internal error, incident ")
    assert printed.count(reason.removeprefix("internal error, ")) == 2  # of the failure, and of the connection


@pytest.mark.parametrize("make", [JsonFormatter, TextFormatter])
def test_formatters_work_in_anyones_handler(make: Callable[[], logging.Formatter]) -> None:
    """Both are ordinary formatters, made without arguments."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make())
    handler.handle(record("hello"))
    assert "hello" in stream.getvalue()
