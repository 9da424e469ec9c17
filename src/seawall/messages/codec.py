"""`Codec`: between the bytes of a message and a value; `JSON` and `MessagePack`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias, assert_never, cast, final, get_args, runtime_checkable

import msgspec
from attrs import frozen

from seawall.errors import ConfigurationError

#: How the names of fields are spelled on the wire: ``room_id`` is ``roomId``, ``RoomId`` or ``room-id``.
Rename: TypeAlias = Literal["camel", "pascal", "kebab"]

#: What becomes of a field that the class does not have.
UnknownFields: TypeAlias = Literal["refuse", "ignore"]


@runtime_checkable
class Fields(Protocol):
    """What can be sent as a message: an instance of an attrs class, a dataclass or a `msgspec.Struct`."""

    @property
    def __match_args__(self) -> tuple[str, ...]:
        """The names of its fields; `attrs`, `dataclasses` and `msgspec` define it."""
        ...


#: What a connection sends.
Sendable: TypeAlias = str | bytes | Fields


class Codec(Protocol):
    """Turns bytes into values and back; write one for another format.

    Tags, classes, validators, the envelope and the texts of errors are not its concern: it is given types that msgspec
    knows (`msgspec.Struct` classes that Seawall has made, with tags, names and limits, and unions of them). A format
    that msgspec does not speak goes through `msgspec.convert`, with ``str_keys=True`` if it has no keys but text, and
    `msgspec.to_builtins`. It has to be hashable, and
    decoders are shared by those that are equal: make it a frozen value.
    """

    @property
    def binary(self) -> bool:
        """Whether its messages are binary; otherwise they are text, in UTF-8."""
        ...

    @property
    def rename(self) -> Rename | None:
        """How the names of fields are spelled; None: as in the class."""
        ...

    @property
    def unknown_fields(self) -> UnknownFields:
        """What becomes of a field that the class does not have."""
        ...

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """A function that decodes messages of one type; called once per type.

        The function raises `msgspec.ValidationError` for what does not fit `kind`, and any exception for what is no
        message of the format. Nothing of either reaches the peer or the log.
        """
        ...

    def encoder(self) -> Callable[[object], bytes]:
        """A function that encodes values that consist of Structs and the types that msgspec knows."""
        ...


@frozen(kw_only=True)
class _Spelling:
    """What the codecs of msgspec have in common.

    Raises:
      ConfigurationError: a word is none of those that are known.
    """

    rename: Rename | None = None
    """``"camel"``: ``room_id`` is ``roomId`` on the wire; ``"pascal"``: ``RoomId``; ``"kebab"``: ``room-id``."""
    unknown_fields: UnknownFields = "refuse"
    """``"ignore"`` for clients that are newer than the server."""

    def __attrs_post_init__(self) -> None:
        """Refuse what a type checker would."""
        spellings: tuple[object, ...] = (None, *get_args(Rename))
        fates: tuple[object, ...] = get_args(UnknownFields)
        for name, value, known in (("rename", self.rename, spellings), ("unknown_fields", self.unknown_fields, fates)):
            if value not in known:
                raise ConfigurationError(
                    f"{type(self).__name__}({name}={value!r}): give one of {', '.join(map(repr, known))}"
                )


@final
@frozen(kw_only=True)
class JSON(_Spelling):
    """JSON in text messages (RFC 8259).

    Of duplicate keys the last one counts. NaN and infinity are refused in both directions.
    """

    @property
    def binary(self) -> bool:
        """False: the messages are text."""
        return False

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """A decoder of msgspec."""
        decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(kind)
        return decoder.decode

    def encoder(self) -> Callable[[object], bytes]:
        """An encoder of msgspec."""
        return msgspec.json.Encoder().encode


@final
@frozen(kw_only=True)
class MessagePack(_Spelling):
    """MessagePack in binary messages. NaN and infinity are refused in both directions."""

    @property
    def binary(self) -> bool:
        """True: the messages are binary."""
        return True

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """A decoder of msgspec."""
        decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(kind)
        return cast("Callable[[str | bytes], object]", decoder.decode)  # is given bytes, because it is binary

    def encoder(self) -> Callable[[object], bytes]:
        """An encoder of msgspec."""
        return msgspec.msgpack.Encoder().encode


def spelled(name: str, rename: Rename | None) -> str:
    """How the name of a field is spelled on the wire."""
    first, *others = [word for word in name.split("_") if word] or [name]
    match rename:
        case None:
            return name
        case "kebab":
            return "-".join((first, *others))
        case "camel" | "pascal":
            beginning = first if rename == "camel" else first[:1].upper() + first[1:]
            return beginning + "".join(word[:1].upper() + word[1:] for word in others)
        case _:
            assert_never(rename)


def check_codec(value: object, *, where: str) -> None:
    """Refuse what a type checker would.

    Raises:
      ConfigurationError: it is neither None nor a `Codec`.
    """
    parts = ("binary", "rename", "unknown_fields", "decoder", "encoder")
    if value is None or (not isinstance(value, type) and all(hasattr(value, part) for part in parts)):
        return
    raise ConfigurationError(f"{where}: codec={value!r} is no codec; give JSON(), MessagePack(), or one of your own")
