"""What the files here share: principals, guards and checks of every kind. Checked, never run."""

from __future__ import annotations

from attrs import frozen

from seawall import Anonymous, App, Check, Claims, Connection, Gate, Guard, TokenVerifier, bearer, check, guard

app = App()
verifier = TokenVerifier("secret", algorithms=["HS256"], audience="chat", issuer="https://id.example")


class Person:
    """A principal of an application."""

    name: str = ""


class Admin(Person):
    """A special case of it."""


class Robot:
    """A principal of another kind."""


member = bearer(verifier)


@guard
async def load_person(gate: Gate, claims: Claims) -> Person:
    """The second step."""
    return Person()


@guard
async def promote(gate: Gate, person: Person) -> Admin:
    """The third step."""
    return Admin()


@guard
async def robot(gate: Gate, proved: Anonymous) -> Robot:
    """Another first step."""
    return Robot()


@guard
async def in_room(gate: Gate, person: Person, room: str, *, floor: int = 0) -> Person:
    """A step with path parameters."""
    return person


@check
async def anybody(gate: Gate, principal: object) -> None:
    """Asks for nothing."""


@check
async def adult(gate: Gate, person: Person) -> None:
    """Asks for a person."""


@check
async def senior(gate: Gate, admin: Admin) -> None:
    """Asks for an admin."""


@frozen
class Opens(Guard[Anonymous, Person]):
    """A guard as a class."""

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Person:
        """Let everybody in as a person."""
        return Person()


@frozen
class Looks(Check[Person]):
    """A check as a class."""

    async def inspect(self, gate: Gate, principal: Person, /) -> None:
        """Let through."""


class Plain(Check):
    """A check of anything: the default of `Check`."""

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Let through."""


async def for_anonymous(conn: Connection[Anonymous]) -> None:
    """A handler for anybody."""


async def for_claims(conn: Connection[Claims]) -> None:
    """A handler for who has a token."""


async def for_person(conn: Connection[Person]) -> None:
    """A handler for a person."""


async def for_admin(conn: Connection[Admin]) -> None:
    """A handler for an admin."""


async def for_robot(conn: Connection[Robot]) -> None:
    """A handler for a robot."""


async def for_object(conn: Connection[object]) -> None:
    """A handler that does not care."""


async def for_person_or_robot(conn: Connection[Person | Robot]) -> None:
    """A handler for either."""


async def for_claims_or_nobody(conn: Connection[Claims | Anonymous]) -> None:
    """A handler for members and guests."""


async def for_person_in_room(conn: Connection[Person], room: str, *, floor: int = 0) -> None:
    """A handler with path parameters."""
