"""What must not check about presence. A line that is accepted fails the check: its ignore is unused then."""

from __future__ import annotations

from attrs import frozen

from seawall import App, Connection
from seawall.rooms import Gap, Joined, PresenceChange, RoomEvent
from tests.typing.house import Person
from tests.typing.presence import Who, lobby, people, tell


@frozen
class Price:
    """Of another room."""

    cents: int


app = App()
prices = app.presence("prices", Price)
app.presence("late", Who, linger="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds


def changed(event: RoomEvent[Joined[Who]] | Gap) -> None:
    """Takes less than what there is."""


def told(event: PresenceChange[Who]) -> None:
    """Takes no events."""


async def attend(conn: Connection[Person]) -> None:
    """What does not fit."""
    conn.subscribe(prices(), wrap=tell)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # prices
    conn.subscribe(lobby, wrap=changed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # and who left?
    conn.subscribe(lobby, wrap=told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no events
    conn.subscribe(people, wrap=tell)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # of which room?
    await lobby.kick(user="eve")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a subject
    await lobby.unkick(connection=conn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its id
    await lobby.kick(connection=conn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its id
    await people.kick(subject="eve")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # where?
    lobby.members = ()  # type: ignore[assignment, method-assign]  # pyright: ignore[reportAttributeAccessIssue]  # no
