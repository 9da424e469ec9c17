"""Logging: the loggers, two formatters, and `configure_logging` for programs that want a sensible set-up.

Seawall writes to three loggers of the standard library:

- ``seawall.server``: a server has started, is draining, has stopped;
- ``seawall.connection``: one line per connection, when it is over;
- ``seawall.error``: each failure; one that no rule of the error policy expected at level ERROR, with its traceback,
  the others at level DEBUG without one.

A library leaves logging to its program; `configure_logging` is for the program to call. As long as it has configured
nothing, what is WARNING or graver is printed on standard error, and the rest nowhere: a failure that nobody is told of
would be worse than a line that nobody asked for. The three loggers are made when an app is served first: what calls
`logging.config.dictConfig` before, after an import of Seawall, does not disable them.

Credentials are `redacted` in all of it, tracebacks included. A record therefore has its text and its traceback as text
(``msg`` without ``args``, ``exc_text`` without ``exc_info``), so that no handler makes them anew from the exception.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from io import TextIOWrapper
from json import dumps
from math import isfinite
from typing import Final, TypeAlias, cast, final

from seawall.errors import ConfigurationError
from seawall.printable import escaped, redacted, safe

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@final
class Log:
    """One of our loggers. What handlers and filters raise, which are the application's, is not raised in callers."""

    def __init__(self, name: str) -> None:
        """Log to the logger `name`."""
        self._name = name
        self._told = False

    @cached_property
    def _logger(self) -> logging.Logger:
        """The logger; not made before it is used, because ``dictConfig`` disables, by default, what exists."""
        return logging.getLogger(self._name)

    def shows(self, level: int) -> bool:
        """Whether a record of `level` would be logged."""
        if self._logger.isEnabledFor(level):
            return True
        if self._logger.disabled and not self._told:
            self._told = True
            with suppress(RuntimeWarning):  # a program that makes errors of warnings would have it raised here
                warnings.warn(
                    f"the logger {self._name} is disabled, and failures are lost; give dictConfig or fileConfig "
                    f"disable_existing_loggers=False, or call it before the app is served",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return False

    def info(self, message: str, *args: object) -> None:
        """Log what happens."""
        self._write(logging.INFO, message, *args)

    def warning(self, message: str, *args: object) -> None:
        """Log what somebody should look at."""
        self._write(logging.WARNING, message, *args)

    def error(self, message: str, *args: object) -> None:
        """Log what has failed."""
        self._write(logging.ERROR, message, *args)

    def log(
        self,
        level: int,
        message: str,
        *args: object,
        fields: Mapping[str, object] | None = None,
        failure: BaseException | None = None,
    ) -> None:
        """Log with `fields` for the JSON formatter, and with the traceback of a `failure`."""
        self._write(level, message, *args, extra=None if fields is None else {"seawall": fields}, failure=failure)

    def _write(
        self,
        level: int,
        message: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        failure: BaseException | None = None,
    ) -> None:
        if not self.shows(level):
            return
        try:
            path, line, function, _ = self._logger.findCaller(stacklevel=3)
            text = redacted(_filled_in(message, args))
            record = self._logger.makeRecord(
                self._logger.name, level, path, line, text, (), None, func=function, extra=extra
            )
            record.exc_text = None if failure is None else traceback_of(failure)
            self._logger.handle(record)
        except Exception:  # noqa: BLE001 - it is shown where `logging` itself shows such a thing
            with suppress(Exception):  # which may be closed
                traceback.print_exc(chain=False)


server_log: Final = Log("seawall.server")
connection_log: Final = Log("seawall.connection")
error_log: Final = Log("seawall.error")

_root: Final = logging.getLogger("seawall")

#: The most characters of a traceback in a log record. The ends say what happened; the middle is mostly recursion.
MAX_TRACEBACK: Final = 16 * 1024
#: How deep containers among the fields are followed; what is deeper (or contains itself) is shown as text.
MAX_DEPTH: Final = 4
_STDERR: Final = "seawall.stderr"
_FILE: Final = "seawall.file"


def traceback_of(failure: BaseException) -> str:
    """The traceback of `failure`, with its causes, groups and notes: redacted, and without the middle if it is long."""
    try:
        trace = "".join(traceback.format_exception(failure)).rstrip("\n")
    except Exception:  # noqa: BLE001 - it reads attributes that may raise anything
        trace = _text(failure)
    return _shortened(redacted(trace))


def _shortened(trace: str) -> str:
    """At most `MAX_TRACEBACK` characters of `trace`: its beginning and its end."""
    if len(trace) <= MAX_TRACEBACK:
        return trace
    half = MAX_TRACEBACK // 2 - 32
    return f"{trace[:half]}\n[{len(trace) - 2 * half} characters left out]\n{trace[-half:]}"


def _filled_in(message: str, args: tuple[object, ...]) -> str:
    """`message` with `args` in it; if they do not fit it, both one after the other."""
    try:
        return message % args if args else message
    except Exception:  # noqa: BLE001 - a mistake in a log call must not end what it reports on
        return f"{message} {_text(args)}"


def _message(record: logging.LogRecord) -> str:
    """The redacted message with its arguments in it; if they do not fit the message, both one after the other."""
    try:
        return redacted(record.getMessage())
    except Exception:  # noqa: BLE001 - a mistake in a log call must not end what it reports on
        return f"{_text(record.msg)} {_text(record.args)}"


def _text(value: object) -> str:
    """A value of any kind in one short line."""
    try:
        return safe(value if isinstance(value, str) else repr(value))
    except Exception:  # noqa: BLE001 - anybody's repr may raise anything
        return f"<{type(value).__name__} that has no repr>"


def _encodable(text: str) -> str:
    """The text with lone surrogates escaped: UTF-8 cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """Exception and stack of the record, redacted, without the middle if long; empty if there is neither."""
    trace = record.exc_text or ""
    if record.exc_info is not None and record.exc_info[0] is not None:
        try:
            trace = formatter.formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - it reads attributes that may raise anything
            trace = _text(record.exc_info)
    return _shortened(redacted("\n".join(part for part in (trace, record.stack_info) if part)))


def _json(value: object, depth: int = MAX_DEPTH) -> Json:
    """`value` as JSON; a value of another kind becomes text, as does an integer that some parsers would round."""
    try:
        return _scalar(value) if depth == 0 else _container(value, depth)
    except Exception:  # noqa: BLE001 - anybody's mapping may raise anything
        return f"<{type(value).__name__} that cannot be read>"


def _container(value: object, depth: int) -> Json:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {_text(key): _json(item, depth - 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [_json(item, depth - 1) for item in cast("list[object] | tuple[object, ...]", value)]
    return _scalar(value)


def _scalar(value: object) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _encodable(redacted(value))
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is float and isfinite(value):
        return value
    return _text(value)


@final
class JsonFormatter(logging.Formatter):
    """One JSON object per line (RFC 8259), in ASCII.

    It has ``time`` (UTC, ISO 8601, milliseconds), ``level``, ``logger``, ``message``, the fields given with
    ``extra={"seawall": {...}}``, and ``exception``, the traceback, if there is one. A field cannot replace one of
    these. Values that JSON does not have are written as text, and no value makes it raise.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, without a line break."""
        line: dict[str, Json] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _json(_message(record)),
        }
        if trace := _traceback(record, self):
            line["exception"] = _json(trace)
        fields = _json(getattr(record, "seawall", None))
        if isinstance(fields, dict):
            line = {**line, **{name: value for name, value in fields.items() if name not in line}}
        elif fields is not None:
            line["seawall"] = fields
        return dumps(line)


@final
class TextFormatter(logging.Formatter):
    """Lines for people: ``2026-11-22T12:00:00.123Z INFO seawall.connection message``.

    The message is passed through, but for credentials: callers that log text from outside use `safe`. The traceback
    follows, indented, so that no line of it can pass for a record, with what is not printable escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and the traceback under it."""
        lines = [f"{_time(record)} {record.levelname} {record.name} {_encodable(_message(record))}"]
        lines += ["    " + "".join(escaped(line)) for line in _traceback(record, self).splitlines()]
        return "\n".join(lines)


class _PrivateFile(logging.FileHandler):
    """A file that only its owner may read: a traceback can show what nobody else should see."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _level(level: str | int) -> int:
    """The number of a level; at least 1, because 0 would ask the root logger."""
    names = logging.getLevelNamesMapping()
    number = names.get(level.upper()) if isinstance(level, str) else _int(level)
    if number is None:
        raise ConfigurationError(f"there is no log level {level!r}; known are {', '.join(names)}")
    return max(number, 1)


def _open_file(file: str | os.PathLike[str]) -> logging.Handler:
    try:
        return _PrivateFile(file)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"cannot write the log file {file!r} ({error}); "
            "name a file in a directory that exists and that this user may write to"
        ) from error


@final
class _LastResort(logging.Handler):
    """Prints what is WARNING or graver on standard error if the record gets to no other handler.

    `logging.lastResort` does the same for loggers without any handler, but prints nothing but the message.
    """

    def __init__(self) -> None:
        """Print text."""
        super().__init__(logging.WARNING)
        self.setFormatter(TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, if nobody else does."""
        if is_configured(record.name) or sys.stderr is None:  # as under pythonw
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - as every handler of `logging` does
            self.handleError(record)


_last_resort: Final = _LastResort()
_root.addHandler(_last_resort)


def is_configured(name: str = "seawall") -> bool:
    """Whether what is logged to the logger `name` reaches a handler of the program's, or of `configure_logging`.

    A `logging.NullHandler` is one: a program that adds it to ``seawall`` wants to hear nothing.
    """
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not _last_resort for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def configure_logging(
    *, level: str | int = "INFO", file: str | os.PathLike[str] | None = None, json: bool = False
) -> None:
    """Print what Seawall logs on stderr, and append warnings and errors to a file if one is named.

    To be called by a program, once. Another call replaces the handlers of the first and closes its file. Handlers that
    the program itself has added to the logger ``seawall`` stay; the root logger no longer gets its records.

    Args:
      level: what is printed: a name such as ``"INFO"`` (case does not matter), or a number.
      file: also append the records of level WARNING and above to this file, whatever `level` is. It is created
        for its owner only (mode 0600); a file that exists keeps its mode.
      json: JSON lines instead of text, in both places.

    Raises:
      ConfigurationError: the file cannot be written, or there is no such level. Nothing has changed then.
    """
    number = _level(level)
    stderr = logging.StreamHandler(sys.stderr)
    stderr.set_name(_STDERR)
    stderr.setLevel(number)
    handlers: list[logging.Handler] = [stderr]
    if file is not None:
        errors = _open_file(file)
        errors.set_name(_FILE)
        errors.setLevel(logging.WARNING)
        handlers.append(errors)
    for old in [handler for handler in _root.handlers if handler.get_name() in (_STDERR, _FILE)]:
        _root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if json else TextFormatter())
        _root.addHandler(handler)
    _root.setLevel(min(handler.level for handler in handlers))
    _root.propagate = False
