"""Every exception that Seawall raises.

::

    SeawallError
    ├── ConfigurationError      a mistake in the program; raised when it is defined, never when a client arrives
    ├── Refused                 a guard said no
    │   ├── Unauthorized            401 · 3000   we do not know who you are
    │   │   ├── NoCredentials       nothing was presented (the only refusal after which ``a | b`` asks ``b``)
    │   │   ├── TokenExpired        the token was good once
    │   │   └── RefreshTokenReused  a refresh token was used again: its session is over; carries the session's id
    │   ├── Forbidden               403 · 3003   we know, and the answer is no
    │   ├── TooManyRequests         429 · 1013   slow down
    │   └── Unavailable             503 · 1013   we cannot tell right now
    ├── LimitReached            one of the deadlines of `Limits` has passed
    │   ├── AuthTimeout             408 · 3008   the guards took longer than ``auth_timeout``
    │   ├── IdleTimeout                   3008   no message for ``idle_timeout``
    │   ├── LifetimeReached               3008   the connection is older than ``lifetime``
    │   ├── MessageTimeout                1008   a message was begun and not finished for ``message_timeout``
    │   ├── SlowConsumer                  1008   the peer has taken nothing for ``send_timeout`` (1008 is only logged)
    │   └── KeepaliveLost                 1011   the peer has sent nothing for ``ping_timeout`` after a Ping
    ├── TooManyInvalidMessages        1008   ``max_message_errors`` messages in a row were invalid
    ├── EventTimeout                  3008   a handler of events, or the peer that was asked, took too long
    ├── LeaseExpired            401 · 3000   what a guard proved was valid until now, and was not renewed
    ├── Revoked                 403 · 3003   what a guard proved was taken back by ``app.sessions.revoke``
    ├── SubscriptionLost              1013   a subscription has missed events, and nothing would tell its peer
    ├── Kicked                        3003   ``room.kick`` has ended a subscription, or refuses a new one
    ├── ProtocolViolation       the peer broke RFC 6455; carries the close code
    ├── Draining                the server is stopping; there is nothing more to receive (a trio.EndOfChannel too)
    ├── InvalidMessage                1008   a message is not what was asked for; answered where it is received (1008
    │                                        is for one that is raised elsewhere); says where, and never what it was
    └── Disconnected            this connection is over; raised by what a handler receives and sends with

    ValueError
    └── Invalid                 raised by an application's validator, with the text that the peer may read

The numbers are the HTTP status before the upgrade and the close code after it, as the built-in error policy
gives them; an application's own `ErrorPolicy` may decide otherwise.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import trio


class SeawallError(Exception):
    """The base of everything below."""


class ConfigurationError(SeawallError):
    """The program is put together wrongly; the text names the place and the remedy."""


class Refused(SeawallError):
    """A guard refused the connection.

    The text is for the log. The peer reads what the error policy says, never the text of the exception.
    """

    default: ClassVar[str] = "refused"

    retry_after: float | None = None
    """Seconds after which trying again makes sense."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """Describe the refusal.

        Args:
          message: for the log; a fixed phrase when left out. Keep secrets out of it.
          retry_after: seconds after which trying again makes sense; sent as ``Retry-After`` before the upgrade.
        """
        super().__init__(self.default if message is None else message)
        self.retry_after = retry_after


class Unauthorized(Refused):
    """The credential is missing or wrong: HTTP 401, or close code 3000."""

    default = "unauthorized"


class NoCredentials(Unauthorized):
    """No credential was presented at all; in ``a | b`` this, and only this, asks ``b``."""

    default = "no credentials"


class TokenExpired(Unauthorized):
    """The token was valid, and its ``exp`` has passed (RFC 7519, section 4.1.4)."""

    default = "token expired"


class RefreshTokenReused(Unauthorized):
    """A refresh token was exchanged before, and so somebody has a copy of it: its session has been deleted.

    The access tokens of the session are good until they expire, unless they are revoked::

        except RefreshTokenReused as reused:
            await app.sessions.revoke(session_id=reused.session_id)

    Attributes:
      session_id: the ``sid`` of the session.
      subject: whose session it was.
    """

    default = "refresh token used again"

    session_id: str = ""
    subject: str = ""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        session_id: str = "",
        subject: str = "",
    ) -> None:
        """Describe the refusal.

        Args:
          message: for the log, as in `Refused`.
          retry_after: seconds after which trying again makes sense, as in `Refused`.
          session_id: the ``sid`` of the session.
          subject: whose session it was.
        """
        super().__init__(message, retry_after=retry_after)
        self.session_id = session_id
        self.subject = subject


class Forbidden(Refused):
    """The principal is known and may not: HTTP 403, or close code 3003."""

    default = "forbidden"

    scope: str | None = None
    """The scopes that it would take, separated by spaces."""

    def __init__(
        self, message: str | None = None, *, retry_after: float | None = None, scope: str | None = None
    ) -> None:
        """Describe the refusal.

        Args:
          message: for the log, as in `Refused`.
          retry_after: seconds after which trying again makes sense, as in `Refused`.
          scope: the scopes that it would take, separated by spaces; before the upgrade the client reads them in
            ``WWW-Authenticate`` (RFC 6750, section 3).
        """
        super().__init__(message, retry_after=retry_after)
        self.scope = scope


class TooManyRequests(Refused):
    """The client asks too often: HTTP 429 with ``Retry-After``, or close code 1013."""

    default = "too many requests"


class Unavailable(Refused):
    """Something that the guard needs cannot be reached: HTTP 503, or close code 1013."""

    default = "unavailable"


class LimitReached(SeawallError):
    """A deadline of `seawall.Limits` has passed."""

    default: ClassVar[str] = "limit reached"

    def __str__(self) -> str:
        """The fixed text of the class."""
        return self.default


class AuthTimeout(LimitReached):
    """The guards took longer than ``Limits.auth_timeout``: HTTP 408, or close code 3008."""

    default = "authentication timed out"


class IdleTimeout(LimitReached):
    """No message went either way for ``Limits.idle_timeout``: close code 3008."""

    default = "idle too long"


class LifetimeReached(LimitReached):
    """The connection has been open for ``Limits.lifetime``: close code 3008."""

    default = "lifetime reached"


class SlowConsumer(LimitReached):
    """The peer has taken nothing for ``Limits.send_timeout``: 1008 in log and `Outcome`; the peer sees the end of TCP.

    A Close frame would wait behind the data that the peer does not take, and so none is sent. A subscription raises it,
    too, whose peer is further behind than its `Disconnect` allows.

    Attributes:
      room: of a subscription, its room as the log shows it, such as ``rooms/{room}('lobby')``; empty otherwise.
      lag: what it was further behind than, such as ``Disconnect(256)``; empty if it was not that.
    """

    default = "slow consumer"

    room: str = ""
    lag: str = ""

    def __init__(self, room: str = "", lag: str = "") -> None:
        """Say which room a subscription was of, and by what it has ended."""
        super().__init__(room, lag)
        self.room = room
        self.lag = lag

    def __str__(self) -> str:
        """Say so, for the log; the peer reads that it was too slow, and nothing of this."""
        why = f"further behind than {self.lag} allows" if self.lag else "behind"
        return f"{self.default}: {why} in {self.room}" if self.room else self.default


class MessageTimeout(LimitReached):
    """The peer has begun a message and not finished it for ``Limits.message_timeout``: close code 1008."""

    default = "message timed out"


class KeepaliveLost(LimitReached):
    """The peer has sent nothing for ``Limits.ping_timeout`` after a Ping: close code 1011, if the peer still reads."""

    default = "keepalive lost"


class TooManyInvalidMessages(SeawallError):
    """The last messages of the peer, ``Limits.max_message_errors`` of them, were invalid: close code 1008."""

    def __str__(self) -> str:
        """A fixed text."""
        return "too many invalid messages"


class EventTimeout(SeawallError):
    """A handler of events took longer than its timeout, or the peer did not answer in time: close code 3008."""

    def __str__(self) -> str:
        """A fixed text."""
        return "event timed out"


class LeaseExpired(SeawallError):
    """A guard's proof has run out and was not renewed: HTTP 401, or close code 3000."""

    def __str__(self) -> str:
        """A fixed text."""
        return "lease expired"


class Revoked(SeawallError):
    """What a guard let this connection in by has been revoked: HTTP 403, or close code 3003; see `App.sessions`."""

    def __str__(self) -> str:
        """A fixed text."""
        return "revoked"


class SubscriptionLost(SeawallError):
    """A subscription has missed events of its room, and has no ``wrap`` that tells its peer: close code 1013.

    The ``async with`` of `Connection.subscribe` raises it: at once where what followed the ``since`` is no longer kept,
    later where the reader was behind. The client may connect again, and ask for what is still there.

    Attributes:
      topic: the pattern of the topic.
      lost: how many events; None if that is not known.
      room: the room as the log shows it, such as ``rooms/{room}('lobby')``; a peer may have chosen what it is called.
    """

    topic: str = ""
    lost: int | None = None
    room: str = ""

    def __init__(self, topic: str = "", lost: int | None = None, room: str = "") -> None:
        """Say which topic and which room it was, and how many events are missing."""
        super().__init__(topic, lost, room)
        self.topic = topic
        self.lost = lost
        self.room = room

    def __str__(self) -> str:
        """Say so, for the log."""
        count = "events" if self.lost is None else "1 event" if self.lost == 1 else f"{self.lost} events"
        where = _shown_room(self.topic, self.room)
        return f"{count} of {where} lost" if where else f"{count} lost"


class Kicked(SeawallError):
    """Somebody was put out of a room by its `kick`: close code 3003.

    The ``async with`` of a subscription raises it, also of a new one, for as long as the kick holds.

    Attributes:
      topic: the pattern of the topic.
      room: the room as the log shows it, such as ``rooms/{room}('lobby')``; a peer may have chosen what it is called.
    """

    topic: str = ""
    room: str = ""

    def __init__(self, topic: str = "", room: str = "") -> None:
        """Say which topic and which room it was."""
        super().__init__(topic, room)
        self.topic = topic
        self.room = room

    def __str__(self) -> str:
        """Say so, for the log."""
        where = _shown_room(self.topic, self.room)
        return f"kicked out of {where}" if where else "kicked"


def _shown_room(topic: str, room: str) -> str:
    """The room; its topic where that is all that is known."""
    return room or (repr(topic) if topic else "")


class ProtocolViolation(SeawallError):
    """The peer broke RFC 6455, or sent more than the limits allow.

    Attributes:
      code: the close code to answer with: 1002 (protocol error), 1007 (bad text) or 1009 (too big).
      reason: a constant phrase for the close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        """Say what was broken; `reason` is a constant, never the peer's bytes."""
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        """Show code and reason."""
        return f"{self.code} {self.reason}"


class Draining(SeawallError, trio.EndOfChannel):
    """The server is stopping: `Connection.receive` gives nothing more, while `Connection.send` still works.

    A handler need not catch it: one that escapes ends its own connection as a return would, with close code 1001.

    Attributes:
      connection: the id of the connection that was receiving.
    """

    connection: str = ""

    def __init__(self, connection: str) -> None:
        """Name the connection that was receiving."""
        super().__init__(connection)
        self.connection = connection

    def __str__(self) -> str:
        """Say so."""
        return f"connection {self.connection} receives nothing more, because the server is stopping"


#: Why a message is refused, in one word that the peer reads.
InvalidMessageCode: TypeAlias = Literal["invalid_message", "unknown_type"]


class InvalidMessage(SeawallError):
    """A message is not what was asked for: malformed, of an unknown type, or refused by a validator.

    It tells where, and never what: no value, key, tag or ref of the peer is in its text, arguments or traceback.

    Attributes:
      path: where, from ``$``, the message: ``$.text``, ``$.items[3]``; a key of a mapping is ``[...]``.
      detail: what was expected there; one text of ours per kind of mistake, or that of an `Invalid`.
      code: ``"invalid_message"``, or ``"unknown_type"`` for a ``type`` that is not among those expected.
      ref: the ``ref`` of the message, by which its sender knows the answer; None if it had none that is allowed.
    """

    path: str = "$"
    detail: str = ""
    code: InvalidMessageCode = "invalid_message"
    ref: int | str | None = None

    def __init__(
        self,
        path: str,
        detail: str,
        *,
        code: InvalidMessageCode = "invalid_message",
        ref: int | str | None = None,
    ) -> None:
        """Say where and what was expected; `ref` is kept for the answer and shown nowhere."""
        super().__init__(path, detail)
        self.path = path
        self.detail = detail
        self.code = code
        self.ref = ref

    def __str__(self) -> str:
        """Where, and what was expected."""
        return f"{self.path}: {self.detail}"


class Invalid(ValueError):
    """Raise it in a validator or a converter, or in ``__attrs_post_init__``, with a text that the peer may read.

    The text of any other exception stays inside; the peer reads "refused by its validator".

    Attributes:
      field: the attribute at fault, where several have been compared; None for the one that is validated.
    """

    field: str | None = None

    def __init__(self, text: str, *, field: str | None = None) -> None:
        """Say what is wrong.

        Args:
          text: for the peer, who reads at most 200 bytes of it; repeat no value.
          field: the name of the attribute at fault, as the class spells it, where several have been compared.
        """
        super().__init__(text)
        self.field = field


class Disconnected(SeawallError):
    """The connection is over: `Connection.receive` has nothing more, and `Connection.send` cannot send.

    A handler need not catch it: one that escapes ends its own connection as an ordinary end. Caught in the
    handler of *another* connection and re-raised there, it is an error like any other.

    Attributes:
      connection: the id of the connection that ended.
    """

    connection: str = ""

    def __init__(self, connection: str) -> None:
        """Name the connection that ended."""
        super().__init__(connection)
        self.connection = connection

    def __str__(self) -> str:
        """Say so."""
        return f"connection {self.connection} is closed"
