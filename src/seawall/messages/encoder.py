"""From values to the bytes of a message."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, final

import msgspec

from seawall.errors import ConfigurationError
from seawall.messages.codec import Codec, Fields
from seawall.messages.decoder import Ref, is_message_class, located
from seawall.messages.fields import check_has_instances, is_class_of_fields
from seawall.messages.forms import class_of, is_generic, name_of
from seawall.messages.problems import shortened
from seawall.messages.records import Record
from seawall.messages.shapes import Convert
from seawall.messages.shaping import Shaper
from seawall.messages.tags import TAG_FIELD

#: Bytes that an error has at most, whatever has been refused.
MAX_ERROR: Final = 512

#: Classes that are remembered. If a program makes classes without end, such as one in each call of a handler, they are
#: forgotten now and then.
MAX_CLASSES: Final = 1024

#: Why a message is answered with an error, in one word. An application has codes of its own in values of its own.
ErrorCode: TypeAlias = Literal[
    "invalid_message",
    "unknown_type",
    "duplicate_ref",
    "cancelled",
    "timeout",
    "unauthorized",
    "forbidden",
    "too_many_requests",
    "unavailable",
]


class ErrorFrame(msgspec.Struct, tag="error", tag_field=TAG_FIELD, omit_defaults=True, kw_only=True):
    """``{"type": "error", ...}``: what became of a message that failed."""

    re: Ref | None = None
    code: ErrorCode
    path: str | None = None
    detail: str | None = None
    retry_after: float | None = None


class _Done(msgspec.Struct, tag="done", tag_field=TAG_FIELD):
    re: Ref


class _End(msgspec.Struct, tag="end", tag_field=TAG_FIELD):
    re: Ref


@final
class MessageEncoder:
    """Encodes values of any class; looks at each class once, as long as there are not too many."""

    def __init__(self, codec: Codec, *, only: frozenset[type] | None = None) -> None:
        """For one codec, and for these classes only, or for all; share it among all who speak it."""
        self._only = only
        self.binary = codec.binary
        self._codec = codec
        self._encode = codec.encoder()
        self._shaper = Shaper(codec, sends=True)
        self._filled: dict[type, object] = {}  # by the generic class, the one with its parameters that is sent
        self._records: dict[type, Record] = {}
        self._dumpers: dict[type, Convert] = {}
        self._replies: dict[type, Callable[[object, object], object]] = {}
        self._questions: dict[type, Callable[[object, object], object]] = {}

    def check(self, kind: object, /, *, where: str) -> None:
        """Look at a class that will be sent, when the program is put together: ``Said``, ``Page[Said]``.

        A generic class can be sent only after it has been looked at, because a value does not say of what it is.

        Raises:
          ConfigurationError: no message can carry it; the text names the field, and the remedy.
        """
        located(where, lambda: self._look_at(kind))

    def _look_at(self, kind: object) -> None:
        if not is_message_class(kind):
            raise ConfigurationError(f"{kind!r} is no class of messages; write an attrs class for it")
        origin = class_of(kind)
        check_has_instances(origin, origin.__name__)
        record = self._shaper.message(kind)
        known = self._filled.setdefault(origin, kind) if is_generic(origin) else kind
        if known != kind:
            raise ConfigurationError(
                f"{name_of(known)} and {record.name} cannot both be sent, because a value does not say which it is; "
                f"make a class of each, `class Other({record.name})`"
            )
        self._records[origin] = record
        self._dumpers[origin] = record.dumper()

    def encode(self, value: Fields, /, *, re: Ref | None = None) -> bytes:
        """The message of a value; with `re` as the answer to what was asked with that ``ref``.

        Raises:
          TypeError: it is no instance of a class of fields: a coroutine that nobody awaits, a class, a NamedTuple.
          ValueError: a number in it is NaN or infinite, a text cannot be encoded, it is nested too deeply, or the
            format has no such number or date.
          ConfigurationError: no message can carry a field of its class.
        """
        kind = type(value)
        if re is None:
            dump = self._dumpers.get(kind)
            if dump is None:
                dump = self._dumpers[kind] = self._record(value).dumper()
            try:
                return self._encode(dump(value))
            except (OverflowError, RecursionError) as error:
                raise _too_much(error) from None
        reply = self._replies.get(kind)
        if reply is None:
            reply = self._replies[kind] = self._record(value).dumper_with("re")
        return self._enveloped(reply, value, re)

    def ask(self, value: Fields, ref: Ref, /) -> bytes:
        """The message of a value that asks for an answer, by `ref`. Raises as `encode`."""
        kind = type(value)
        ask = self._questions.get(kind)
        if ask is None:
            ask = self._questions[kind] = self._record(value).dumper_with("ref")
        return self._enveloped(ask, value, ref)

    def _enveloped(self, dump: Callable[[object, object], object], value: Fields, ref: Ref) -> bytes:
        try:
            return self._encode(dump(value, ref))
        except (OverflowError, RecursionError) as error:
            raise _too_much(error) from None

    def _record(self, value: object) -> Record:
        kind = type(value)
        if not is_class_of_fields(kind):
            raise TypeError(unsendable(value))
        if self._only is not None and kind not in self._only:
            raise TypeError(f"a {kind.__qualname__} is none of what is sent here; add it to Events(sends=...)")
        if kind not in self._records and is_generic(kind):
            raise ConfigurationError(
                f"{kind.__qualname__} is generic, and a value does not say of what; send a class of its own, "
                f"`class Other({kind.__qualname__}[...])`, or say beforehand that it is sent"
            )
        record = self._records.get(kind)
        if record is None:
            if len(self._records) - len(self._filled) >= MAX_CLASSES:
                self._forget()
            record = self._records[kind] = self._shaper.message(kind)
        return record

    def _forget(self) -> None:
        """Forget all classes but the generic ones, which were looked at beforehand."""
        self._shaper = Shaper(self._codec, sends=True)
        self._records = {kind: record for kind, record in self._records.items() if kind in self._filled}
        for made in (self._dumpers, self._replies, self._questions):
            made.clear()

    def done(self, re: Ref) -> bytes:
        """``{"type": "done", "re": ...}``: what was asked is done, and there is nothing to say."""
        return self._encode(_Done(re))

    def end(self, re: Ref) -> bytes:
        """``{"type": "end", "re": ...}``: there are no more answers."""
        return self._encode(_End(re))

    def error(self, frame: ErrorFrame, /, *, re: Ref | None = None) -> bytes:
        """``{"type": "error", ...}`` in at most `MAX_ERROR` bytes; with `re` as the answer to what was asked by it."""
        encoded = self._encode(msgspec.structs.replace(frame, re=re))
        room = MAX_ERROR
        while len(encoded) > MAX_ERROR and room > 4:
            room //= 2  # control characters take six bytes each in JSON
            path, detail = shortened(frame.path or "", room), shortened(frame.detail or "", room)
            encoded = self._encode(msgspec.structs.replace(frame, re=re, path=path or None, detail=detail or None))
        return encoded


def _too_much(error: OverflowError | RecursionError) -> ValueError:
    """In place of an error of msgspec, or of Python."""
    if isinstance(error, RecursionError):
        return ValueError("a value is nested too deeply, or contains itself")
    return ValueError("a number or a date is out of the range of the format")


def unsendable(value: object) -> str:
    """Why no message can be made of `value`: it is no instance of a class of fields. A coroutine is closed."""
    if inspect.iscoroutine(value) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
        value.close()  # the error says that it was not awaited; Python's warning would say it again
    if inspect.isawaitable(value):
        return "a coroutine was to be sent, which nobody has awaited; write `await`"
    if isinstance(value, type):
        return f"the class {value.__qualname__} was to be sent; make an instance of it"
    if issubclass(type(value), tuple):
        return f"a {type(value).__qualname__} is a tuple: a message has names; make it an attrs class"
    if isinstance(value, str | bytes):
        return f"a {type(value).__qualname__} was to be sent as a message; make it a field of one, or `conn.send` it"
    return (
        f"a {type(value).__qualname__} was to be sent; send text, bytes, or an instance of an attrs class, a dataclass "
        "or a msgspec.Struct"
    )
