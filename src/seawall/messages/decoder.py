"""From the bytes of a message to a value, or to an `InvalidMessage` that tells where, and never what."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeAlias, TypeVar, cast, final

import msgspec

from seawall.errors import ConfigurationError, InvalidMessage
from seawall.messages import problems
from seawall.messages.codec import Codec
from seawall.messages.fields import is_class_of_fields
from seawall.messages.forms import class_of, members_of, union
from seawall.messages.hints import UnresolvedName
from seawall.messages.problems import REF_EXPECTED, REFUSED, TOO_DEEP, Problem
from seawall.messages.records import Behind
from seawall.messages.shapes import Choice, Shape
from seawall.messages.shaping import Envelope, Shaper, check_decodable
from seawall.messages.tags import TAG_FIELD
from seawall.messages.unions import check_tags, check_told_apart

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: What a message is asked and answered by: an integer below 2^53, or text of at most 64 bytes.
Ref: TypeAlias = int | str

_MAX_INTEGER: Final = 2**53 - 1
_MAX_BYTES: Final = 64
#: A character has at most four bytes in UTF-8: text of so many needs no counting.
_SURELY_SHORT: Final = _MAX_BYTES // 4

_REF: Final = union(
    (
        Annotated[int, msgspec.Meta(ge=0, le=_MAX_INTEGER)],
        Annotated[str, msgspec.Meta(max_length=_MAX_BYTES)],
    )
)
#: Whatever has it is no event: the message is looked at again, as an answer.
_NEVER: Final = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]

#: The envelope of an answer.
_ANSWER: Final = (Envelope(name="re", wire=_REF, required=True),)

#: The tag of the class that makes msgspec demand a tag where there is only one class. Nobody can guess it.
_NOBODY: Final = msgspec.defstruct("Nobody", [], tag=uuid.uuid4().hex, tag_field=TAG_FIELD)


def allowed_ref(value: object) -> Ref | None:
    """`value`, if it can be a ``ref``; None otherwise."""
    if type(value) is int:
        return value if 0 <= value <= _MAX_INTEGER else None
    if type(value) is str:
        return value if len(value) <= _SURELY_SHORT or len(value.encode("utf-8", "replace")) <= _MAX_BYTES else None
    return None


def _short_enough(ref: Ref) -> Ref:
    """Its characters have been counted by msgspec, its bytes have not.

    Raises:
      ValueError: it is longer than a ref can be.
    """
    if allowed_ref(ref) is None:
        raise ValueError("a ref that is too long")
    return ref


#: What a message of an event is built with behind its value.
_WITH_REF: Final = Behind("ref if (ref := decoded.ref).__class__ is not str else short(ref)", {"short": _short_enough})


class _Envelope(msgspec.Struct, gc=False):
    """The envelope of any message, read from one that is wrong."""

    type: object = None
    ref: object = None
    re: object = None


class _Wire:
    """What both decoders do with a message that is wrong: find out where, and say so."""

    def __init__(self, codec: Codec, wire: object) -> None:
        """Make the decoders of the codec."""
        self.decode = codec.decoder(wire)
        self._envelope = codec.decoder(_Envelope)
        self._anything = codec.decoder(object)
        self._binary = codec.binary

    def envelope(self, message: str | bytes) -> _Envelope:
        """The envelope, as far as it can be read."""
        try:
            found = self._envelope(message)
        except Exception:  # noqa: BLE001 - the message may be anything
            found = None
        return found if isinstance(found, _Envelope) else _Envelope()

    def invalid(self, message: str | bytes, shape: Shape) -> InvalidMessage:
        """Why `message` is refused."""
        problem = self._problem(message, shape)
        return InvalidMessage(
            problems.shortened(problem.path, problems.MAX_PATH),
            problem.detail,
            code=problem.code,
            ref=allowed_ref(self.envelope(message).ref),
        )

    def wrong_kind(self) -> InvalidMessage:
        """A text message where binary ones are spoken, or the other way round."""
        expected = "binary" if self._binary else "text"
        return InvalidMessage("$", f"expected a {expected} message")

    def _problem(self, message: str | bytes, shape: Shape) -> Problem:
        decoded: object = None
        problem: Problem | None = None
        try:
            decoded = self.decode(message)
        except msgspec.ValidationError as error:
            problem = self._of_msgspec(str(error), message)
        except RecursionError:
            problem = Problem("$", TOO_DEEP)
        except Exception:  # noqa: BLE001 - a codec may raise anything for what is no message of its format
            problem = Problem("$", "malformed")
        if problem is not None:
            return problem
        try:
            found = shape.rebuild(decoded, "$")
            if not isinstance(found, Problem):  # it needs less of the stack than the builder
                (shape.builder() or _same)(decoded)
        except RecursionError:
            return Problem("$", TOO_DEEP)
        except Exception:  # noqa: BLE001 - of a validator that finds fault now and then
            return Problem("$", REFUSED)
        return found if isinstance(found, Problem) else Problem("$", REFUSED)

    def _of_msgspec(self, text: str, message: str | bytes) -> Problem:
        key = problems.may_be_a_key(text)
        if key is not None:
            try:
                outermost = self._anything(message)
            except Exception:  # noqa: BLE001 - as above
                return Problem("$", "malformed")  # behind the field; and whether that is at a place cannot be told
            if isinstance(outermost, dict) and key in outermost:
                text = text[: -len(key) - 1]
        problem = problems.of_msgspec(text)
        if problem.path == f"$.{TAG_FIELD}":
            return Problem(
                problem.path, problem.detail, "unknown_type" if problem.detail != "missing" else problem.code
            )
        return problem


@final
class MessageDecoder(Generic[T_co]):
    """Decodes the messages of one type. Make it with `decoder_for`."""

    def __init__(self, codec: Codec, wire: object, shape: Shape) -> None:
        """For messages of one type, whose shape has been made."""
        self._binary = codec.binary
        self._shape = shape
        self._wire = _Wire(codec, wire)
        self._decode = self._wire.decode
        self._build = cast("Callable[[object], T_co]", shape.builder() or _same)

    def decode(self, message: str | bytes, /) -> T_co:
        """The value of a message; text as str, and a binary message as bytes.

        Raises:
          InvalidMessage: it is not what was asked for; nothing else is raised, whatever `message` is.
        """
        if (type(message) is bytes) is not self._binary:
            del message
            raise self._wire.wrong_kind()
        try:
            return self._build(self._decode(message))
        except Exception:  # noqa: BLE001, S110 - looked into below, outside: an error in flight would carry the message
            pass
        invalid = self._wire.invalid(message, self._shape)
        del message
        raise invalid


def _same(value: object) -> object:
    return value


def decoder_for(codec: Codec, kind: TypeForm[T], /, *, where: str) -> MessageDecoder[T]:
    """The decoder of the messages of one type; made once for each codec and type.

    Args:
      codec: the format.
      kind: an attrs class, a dataclass, a `msgspec.Struct`, a union of them, or a plain type. A message of a class
        brings the ``type`` of that class.
      where: who asks, for messages: ``"route '/chat'"``.

    Raises:
      ConfigurationError: no message can be of this type; the text names the field, and the remedy.
    """
    made = located(where, lambda: _decoder(codec, kind, ()))
    return cast("MessageDecoder[T]", made)


def answer_decoder_for(codec: Codec, kind: TypeForm[T], /, *, where: str) -> MessageDecoder[T]:
    """The same, of messages that carry a ``re``, which is read elsewhere: `EventDecoder.decode` gives it.

    Raises:
      ConfigurationError: as `decoder_for`.
    """
    made = located(where, lambda: _decoder(codec, kind, _ANSWER))
    return cast("MessageDecoder[T]", made)


def located(where: str, make: Callable[[], object]) -> object:
    """What `make` returns; a `ConfigurationError` of it begins with `where`."""
    try:
        return make()
    except UnresolvedName as error:
        raise UnresolvedName(f"{where}: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


#: Decoders by codec, type and envelope. The oldest go if a program makes types without end.
_made: dict[object, MessageDecoder[object]] = {}
_MAX_MADE: Final = 1024


def _decoder(codec: Codec, kind: object, envelope: tuple[Envelope, ...]) -> MessageDecoder[object]:
    key = (codec, kind, envelope)
    try:
        hash(key)
    except TypeError:  # a codec of the application's, or what stands in an Annotated
        return _make(codec, kind, envelope)
    if (known := _made.get(key)) is not None:
        return known
    while len(_made) >= _MAX_MADE:
        del _made[next(iter(_made))]
    made = _made[key] = _make(codec, kind, envelope)
    return made


def _make(codec: Codec, kind: object, envelope: tuple[Envelope, ...]) -> MessageDecoder[object]:
    shaper = Shaper(codec, envelope=envelope)
    shape = message_shape(shaper, kind)
    wire = shape.wire
    if sum(is_message_class(one) for one in members_of(kind)) == 1:
        wire = union((wire, _NOBODY))
    check_decodable(wire, str(kind))
    return MessageDecoder(codec, wire, shape)


def is_message_class(kind: object) -> bool:
    """Whether a member of a union is a class, whose messages bring a ``type``."""
    return is_class_of_fields(class_of(kind))


def message_shape(shaper: Shaper, kind: object) -> Shape:
    """The shape of messages of one type: each class in it is a message of its own.

    Raises:
      ConfigurationError: no message can be of this type.
    """
    kinds = members_of(kind)
    classes = [one for one in kinds if is_message_class(one)]
    check_tags(classes, "the messages")
    shaper.know(classes)
    members = tuple(shaper.message(one) if one in classes else shaper.shape(one, "$") for one in kinds)
    shaper.finish()
    if len(members) == 1:
        return members[0]
    check_told_apart(members, "the messages")
    return Choice(members, union(member.wire for member in members))


class Control(enum.Enum):
    """What is no event, but about one."""

    CANCEL = "cancel"
    """``{"type": "cancel", "ref": ...}``: the event that asked with this ref is to be cancelled."""
    ANSWER = "answer"
    """``{"type": ..., "re": ...}``: answers what was asked with this ref. Whoever waits decodes it."""


#: Builds the value of an event, and has its ref.
_Received: TypeAlias = Callable[[object], tuple[object, Ref | None]]


@final
class EventDecoder:
    """Decodes the messages of a closed set of classes, with their ``ref``."""

    def __init__(self, codec: Codec, kinds: tuple[object, ...], /, *, where: str) -> None:
        """For messages of these classes.

        Args:
          codec: the format.
          kinds: classes and unions of them; ``bytes`` takes binary messages as they are where messages are text, and
            ``str`` the other way round.
          where: who asks, for messages.

        Raises:
          ConfigurationError: as `decoder_for`; or a class has the type ``cancel``, which every `EventDecoder` knows.
        """
        raw = str if codec.binary else bytes
        self._takes_raw = raw in kinds
        classes = [one for kind in kinds if kind is not raw for one in members_of(kind)]
        self._binary = codec.binary
        located(where, lambda: self._make(codec, classes))

    def _make(self, codec: Codec, classes: list[object]) -> None:
        for kind in classes:
            if not is_message_class(kind):
                raise ConfigurationError(f"{kind!r} is no class of messages; write an attrs class for it")
        envelope = (Envelope(name="ref", wire=_REF), Envelope(name="re", wire=_NEVER))
        shaper = Shaper(codec, envelope=envelope)
        shaper.know(classes)
        check_tags([*classes, Cancel], "the events")
        records = [shaper.message(kind) for kind in classes]
        self.names = shaper.finish()
        """The classes of all that is in the messages, by name."""
        cancel = msgspec.defstruct(
            "Cancel",
            [("ref", _REF)],
            tag="cancel",
            tag_field=TAG_FIELD,
            forbid_unknown_fields=codec.unknown_fields == "refuse",
        )
        self._wire = _Wire(codec, union([record.wire for record in records] + [cancel, _NOBODY]))
        self._decode = self._wire.decode
        self._shape = Choice(tuple(records), object)
        self._build = {
            kind: cast("_Received", record.compiled_builder(_WITH_REF))
            for record in records
            for kind in record.wire_kinds()
        }
        self._build[cancel] = _cancelling

    def decode(self, message: str | bytes, /) -> tuple[object, Ref | None]:
        """The value of a message, and the ``ref`` with which it asks for an answer.

        In place of the value stands `Control.CANCEL`, with the ref of what is to be cancelled, or `Control.ANSWER`,
        with that of the question; a raw message is itself, without a ref.

        Raises:
          InvalidMessage: it is none of these; nothing else is raised, whatever `message` is.
        """
        if (type(message) is bytes) is not self._binary:
            if self._takes_raw:
                return message, None
            del message
            raise self._wire.wrong_kind()
        try:
            decoded = self._decode(message)
            return self._build[type(decoded)](decoded)
        except Exception:  # noqa: BLE001, S110 - as in MessageDecoder
            pass
        decoded = None
        found = self._answered_or_invalid(message)
        del message
        if isinstance(found, InvalidMessage):
            raise found
        return Control.ANSWER, found

    def _answered_or_invalid(self, payload: str | bytes) -> Ref | InvalidMessage:
        envelope = self._wire.envelope(payload)
        answered = allowed_ref(envelope.re)
        if answered is not None:
            return answered
        if envelope.re is not None:
            return InvalidMessage("$.re", REF_EXPECTED, ref=allowed_ref(envelope.ref))
        if envelope.ref is not None and allowed_ref(envelope.ref) is None:
            return InvalidMessage("$.ref", REF_EXPECTED)
        return self._wire.invalid(payload, self._shape)


def _cancelling(decoded: object) -> tuple[object, Ref]:
    return Control.CANCEL, _short_enough(cast("Ref", getattr(decoded, "ref", None)))


class Cancel(msgspec.Struct, tag="cancel"):
    """Stands for the type that every `EventDecoder` knows."""
