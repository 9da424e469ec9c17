"""The verdicts of an `ErrorPolicy`, and the phases of a connection in which each can act. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Generic, TypeAlias, TypeVar, assert_never, final

from attrs import Attribute, field, frozen

from seawall.callables import check_sync_callback
from seawall.errors import ConfigurationError
from seawall.messages.codec import Sendable

E = TypeVar("E", bound=Exception)
E_contra = TypeVar("E_contra", bound=Exception, contravariant=True)

#: Bytes that a close reason may have: the 125 of a control frame less two for the code (RFC 6455, section 5.5).
MAX_REASON = 123


class Phase(enum.Enum):
    """What a connection was doing when something failed. The phase decides which verdicts can act."""

    GUARD = "guard"
    """Running a guard: before the upgrade is accepted `Refuse` can act, after it `Close`."""
    MESSAGE = "message"
    """Validating one message, or handling one event; the connection can go on."""
    HANDLER = "handler"
    """Running the handler, or tasks of it that fail together with it."""
    BACKGROUND = "background"
    """A task in ``conn.nursery``, or the task that holds a guard's resource."""
    RELEASE = "release"
    """Leaving a guard's resource, when the connection is already over."""
    TRANSPORT = "transport"
    """The wire, or a deadline: a protocol violation, a lease, a limit."""


@final
@frozen(kw_only=True)
class Context:
    """What a rule may know about a failure besides the exception."""

    phase: Phase
    """Where it happened."""
    accepted: bool = True
    """Whether the upgrade has been accepted: before it a refusal is an HTTP status, after it a close code."""
    incident: str = ""
    """The id under which this failure is reported."""
    route: str = ""
    """The route's name, or empty before there is one."""
    connection: str = ""
    """The connection's id."""
    peer: str = ""
    """The other end of the socket."""
    principal: str = ""
    """The principal that the guards proved, redacted; empty until they have."""
    message: str = ""
    """The ``type`` of the message that failed, if it is one that the program knows."""


def _is_int(value: object) -> bool:
    """Whether `value` is an int, for programs that no type checker has seen."""
    return isinstance(value, int) and not isinstance(value, bool)


def _error_status(instance: object, attribute: Attribute[int], value: int) -> None:
    if not _is_int(value) or not 400 <= value <= 599:
        raise ConfigurationError(f"Refuse({value!r}): a refusal is an HTTP error; give a status from 400 to 599")


def _error_code(instance: object, attribute: Attribute[int], value: int) -> None:
    if not _is_int(value) or value in {1005, 1006, 1010} or not (1001 <= value <= 1014 or 3000 <= value <= 4999):
        raise ConfigurationError(
            f"Close({value!r}): not a close code for an error (an error is never 1000, and 1004-1006 and 1015 may not "
            "be sent); give 4000-4999 for your own, or one of 1001-1003, 1007-1009, 1011-1014, 3000-3999"
        )
    if value == 1004:
        raise ConfigurationError("Close(1004): the code is reserved (RFC 6455, section 7.4.1); give another")


def _size(instance: object, attribute: Attribute[str], value: str) -> int:
    try:
        return len(str.encode(value))
    except TypeError as error:
        what = f"{type(instance).__name__} {attribute.name} {value!r}"
        raise ConfigurationError(f"{what} is no text; give a str") from error
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{type(instance).__name__} {attribute.name} {value!r} cannot be encoded as UTF-8; remove the surrogate"
        ) from error


def _short(instance: object, attribute: Attribute[str], value: str) -> None:
    size = _size(instance, attribute, value)
    if size > MAX_REASON:
        raise ConfigurationError(f"Close reason of {size} bytes; a close frame has room for {MAX_REASON}: shorten it")


@final
@frozen
class Refuse:
    """Answer the handshake with an HTTP error. Acts before the upgrade is accepted."""

    status: int = field(validator=_error_status)
    """The HTTP status, 400 to 599."""
    body: str = field(default="", validator=_size)
    """The text of the answer; empty means the standard phrase of the status."""

    @property
    def text(self) -> str:
        """The text that the peer reads."""
        if self.body:
            return self.body
        try:
            return HTTPStatus(self.status).phrase.lower()
        except ValueError:
            return "refused"


@final
@frozen
class Close:
    """End the connection with a close code. Acts once the upgrade is accepted."""

    code: int = field(validator=_error_code)
    """The close code: 4000-4999 are the application's; 1000 is refused, because an error is not a normal end."""
    reason: str = field(default="", validator=_short)
    """The reason that the peer reads, at most 123 bytes of UTF-8."""


@final
@frozen
class Reply(Generic[E_contra]):
    """Answer the one message that failed, and go on. Acts in `Phase.MESSAGE` only.

    ::

        errors = ErrorPolicy().on(NoSuchRoom, Reply(lambda error: RoomError(room=error.room)))

    If the message brought a ``ref``, the answer has it as its ``re``.
    """

    make: Callable[[E_contra], Sendable]
    """Makes the answer from the exception: a value, as `Connection.send` takes it. It must not wait."""

    def __attrs_post_init__(self) -> None:
        """Refuse a `make` that cannot be called with an exception."""
        check_sync_callback("Reply(...)", self.make, takes="exception")


@final
@frozen
class Ignore:
    """Go on as if nothing had happened; the failure is still reported. Acts in `Phase.MESSAGE` and `Phase.RELEASE`."""


@final
@frozen
class Escalate:
    """End the server: the exception comes out of ``app.serve`` in the embedding program. Acts everywhere.

    Name your own exception types with it. Under ``on(Exception, Escalate())`` any client could stop the server, with a
    bad token or a bad frame, because `Unauthorized` and `ProtocolViolation` are exceptions too.
    """


Verdict: TypeAlias = Refuse | Close | Reply[E] | Ignore | Escalate
AnyVerdict: TypeAlias = Refuse | Close | Reply[Exception] | Ignore | Escalate

#: The same, to ask an object of any kind whether it is one.
VERDICTS: Final = (Refuse, Close, Reply, Ignore, Escalate)


def applies(verdict: AnyVerdict, context: Context) -> bool:
    """Whether `verdict` can act in this phase.

    Raises:
      TypeError: it is no verdict at all (a callable of the policy returned something else).
    """
    match verdict:
        case Escalate():
            return True
        case Refuse():
            return not context.accepted and context.phase is not Phase.RELEASE
        case Close():
            return context.accepted and context.phase is not Phase.RELEASE
        case Reply():
            return context.phase is Phase.MESSAGE
        case Ignore():
            return context.phase in {Phase.MESSAGE, Phase.RELEASE}
    raise TypeError(f"a rule of the error policy returned {verdict!r}; return Refuse, Close, Reply, Ignore or Escalate")


def severity(verdict: AnyVerdict) -> tuple[int, int, str]:
    """Sorts the gravest first: Escalate, then the lowest code or the highest status, then Reply, then Ignore."""
    match verdict:
        case Escalate():
            return (0, 0, "")
        case Refuse(status, body):
            return (1, -status, body)
        case Close(code, reason):
            return (1, code, reason)
        case Reply() | Ignore():
            return (2 if isinstance(verdict, Reply) else 3, 0, "")
        case _:
            assert_never(verdict)
