"""A row of ``docs/failures.md``: what the peer, the log and the handler see when something ends a connection."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, final

from attrs import field, frozen

from seawall.errors import (
    EventTimeout,
    Forbidden,
    Kicked,
    SlowConsumer,
    SubscriptionLost,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tests.kit.log import Records

#: Fields that every refusal has, whatever it says.
USUAL: Final = frozenset(
    {"Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "X-Content-Type-Options"}
)

#: Stands for any incident.
INCIDENT: Final = "4f1c9a"

#: An origin that no route admits.
ELSEWHERE: Final = "https://elsewhere.example"

#: Hosts among which the client's is not.
SERVED: Final = ("chat.example",)

#: What an event fails with; the last one is unexpected.
EVENT_FAILURES: Final = (
    Unauthorized("no"),
    Forbidden("no"),
    TooManyRequests("no", retry_after=30),
    Unavailable("no", retry_after=30),
    EventTimeout(),
    RuntimeError("out of paper"),
)

_TOPIC: Final = "rooms/{room}"
_ROOM: Final = f"{_TOPIC}('lobby')"

#: What a subscription ends with.
SUBSCRIPTION_FAILURES: Final = (
    SubscriptionLost(_TOPIC, 3, _ROOM),
    Kicked(_TOPIC, _ROOM),
    SlowConsumer(_ROOM, "Disconnect(256)"),
)

Fields: TypeAlias = tuple[tuple[str, str], ...]


@final
class Where(enum.Enum):
    """What was going on; ``value`` is the column, and `accepted` whether it was after the upgrade."""

    REQUEST = "the request"
    GUARD = "a guard, before the upgrade"
    TALK = "a guard, after `gate.accept()`"
    HANDLER = "the handler"
    BACKGROUND = "a task in `conn.nursery`"
    RESOURCE = "a guard's resource, while it is held"
    RELEASE = "a guard's resource, as it is left"
    WIRE_GUARD = "transport, during a guard before the upgrade"
    WIRE_TALK = "transport, during a guard after `gate.accept()`"
    WIRE = "transport, while the handler runs"
    MESSAGE = "a message, where the handler receives values"
    EVENT = "an event: its guard or its handler"
    SUBSCRIPTION = "a subscription, while the handler is in it"
    RENEWAL = "a guard, while the handler renews"
    AFTER = "the handler, after the peer has closed"

    @property
    def accepted(self) -> bool:
        """Whether the upgrade has been accepted."""
        return self not in {Where.REQUEST, Where.GUARD, Where.WIRE_GUARD}


@final
@frozen
class Answered:
    """The peer reads an HTTP answer."""

    status: int
    text: str
    fields: Fields = ()

    def __str__(self) -> str:
        """Show it in a cell."""
        return ", ".join([f"HTTP {self.status} `{self.text}`", *(f"`{name}: {value}`" for name, value in self.fields)])


@final
@frozen
class Told:
    """The peer reads a Close frame; 1006 stands for none at all."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        """Show it in a cell."""
        if self.code == 1006:
            return "1006: no Close"
        return f"{self.code} `{self.reason}`" if self.reason else str(self.code)


@final
@frozen
class Replied:
    """The peer reads a message, and the connection goes on."""

    text: str

    def __str__(self) -> str:
        """Show it in a cell."""
        return f"`{self.text}`; the connection goes on"


class Line(NamedTuple):
    """A record of the log, without what differs from run to run."""

    level: str
    text: str
    traceback: bool = False

    def __str__(self) -> str:
        """Show it in a cell."""
        shown = f"`` {self.text} ``" if "`" in self.text else f"`{self.text}`"
        return f"{self.level} {shown}{', with traceback' if self.traceback else ''}"


class Logged(NamedTuple):
    """What was logged about one connection."""

    end: tuple[Line, ...]
    """By ``seawall.connection``."""
    reports: tuple[Line, ...]
    """By ``seawall.error``."""


def logged(records: Records, connection: str) -> Logged:
    """What `records` hold about `connection`."""
    end, reports = list[Line](), list[Line]()
    for record in records.found:
        name, _, rest = record.getMessage().partition(" ")
        if name != connection:
            continue
        text = re.sub(r"incident [0-9a-f]{6}", f"incident {INCIDENT}", rest)
        if record.name == "seawall.connection":  # peer, principal and route; then seconds and counts
            text = re.sub(r" after [0-9.]+ s, \d+ in, \d+ out", "", text.partition(": ")[2])
            end.append(Line(record.levelname, text, bool(record.exc_text)))
        elif record.name == "seawall.error":
            reports.append(Line(record.levelname, text.partition(" ")[2], bool(record.exc_text)))
    return Logged(tuple(end), tuple(reports))


@final
@frozen(kw_only=True)
class View:
    """What a handler sees that receives in one task and is busy in another."""

    text: str
    receiving: str = ""
    """How the task that receives ended; empty if it never began."""
    busy: str = ""
    seconds: float = 0.0
    """How much later the busy one ended."""

    def __str__(self) -> str:
        """Show it in a cell."""
        return self.text


@final
@frozen(kw_only=True)
class Row:
    """One failure or other end, in one place."""

    name: str
    """Names it in the tests."""
    what: str
    where: Where
    peer: Answered | Told | Replied
    log: Logged
    handler: View
    make: Callable[[], BaseException] | None = field(default=None, eq=False)
    """Makes what is raised there, if it is the application that raises it."""
    said: bytes = b""
    """The request, if that is what was wrong."""

    def __str__(self) -> str:
        """Show it in a line."""
        reports = "; ".join(map(str, self.log.reports)) or "—"
        ends = "—" if isinstance(self.peer, Replied) else "; ".join(map(str, self.log.end))
        return f"| {self.what} | {self.where.value} | {self.peer} | {ends} | {reports} | {self.handler} |"


def answered(data: bytes) -> Answered:
    """An answer as it was written, without the fields that all of them have."""
    head, _, body = data.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return Answered(
        int(first.split()[1]), body.rstrip("\n"), tuple((name, value) for name, value in fields if name not in USUAL)
    )
