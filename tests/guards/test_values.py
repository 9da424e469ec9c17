"""`has`: a check that the principal has certain values."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, cast

import pytest
from attrs import frozen

from seawall import App, Check, Claims, ConfigurationError, Connection, TokenVerifier, any_audience, any_issuer, bearer
from seawall.testing import Rejected, connect
from seawall.tokens import At, has
from tests.kit.tokens import SECRET, by, signed


class Role(enum.Enum):
    """What somebody may be."""

    ADMIN = "admin"
    MEMBER = "member"


@frozen(kw_only=True)
class Member(Claims):
    """Claims with several values of each kind that can be asked for."""

    roles: Annotated[frozenset[Role], At("realm_access", "roles")] = frozenset()
    groups: tuple[str, ...] = ()
    ranks: frozenset[int] = frozenset()


def roles_of(member: Member) -> frozenset[Role]:
    """The roles of the member.

    Which are those of the realm.
    """
    return member.roles


def groups_of(member: Member) -> tuple[str, ...]:  # noqa: D103 - without one, on purpose
    return member.groups


def ranks_of(member: Member) -> frozenset[int]:  # noqa: D103 - without one, on purpose
    return member.ranks


unnamed: Callable[[Member], Collection[int]] = lambda member: member.ranks  # noqa: E731 - for its name

members = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, claims=Member)


def token(claims: Mapping[str, object]) -> str:
    """A token of a member's with these claims."""
    return signed({"sub": "ada", "exp": time.time() + 60, **claims})


async def status(demand: Check[Member], presented: str) -> int:
    """How a handshake with this token ends."""
    app = App()

    @app.route("/", guard=bearer(members) >> demand)
    async def handler(conn: Connection[Member]) -> None:
        await conn.send(conn.principal.subject)

    try:
        async with connect(app, "/", headers=by(presented)) as client:
            assert await client.receive() == "ada"
    except Rejected as rejected:
        return rejected.status
    return 101


@pytest.mark.parametrize(
    ("demand", "claims", "expected"),
    [
        (has(roles_of, Role.ADMIN), {"realm_access": {"roles": ["admin", "member"]}}, 101),
        (has(roles_of, Role.ADMIN, Role.MEMBER), {"realm_access": {"roles": ["admin", "member"]}}, 101),
        (has(roles_of, Role.ADMIN, Role.MEMBER), {"realm_access": {"roles": ["member"]}}, 403),
        (has(roles_of, Role.ADMIN), {}, 403),
        (has(groups_of, "red"), {"groups": ["blue", "red"]}, 101),
        (has(groups_of, "red"), {"groups": ["redder", "Red", "red "]}, 403),
        (has(ranks_of, 5), {"ranks": [4, 5]}, 101),
        (has(ranks_of, 5), {"ranks": [55]}, 403),
    ],
)  # fmt: skip
async def test_all_of_the_values(demand: Check[Member], claims: dict[str, object], expected: int) -> None:
    """Each value that is wanted has to be there, whole; otherwise the peer gets 403."""
    assert await status(demand, token(claims)) == expected


async def test_a_text_has_no_values() -> None:
    """A function that returns a text, in which a part of it would be found, lets nobody in."""

    def text_of(member: Member) -> str:
        return f"no admin, {member.subject}"

    assert await status(has(text_of, "admin"), token({})) == 500


async def test_a_mapping_has_no_values() -> None:
    """Of one that says of each role whether somebody has it, the names alone would let everybody in."""

    def flags_of(member: Member) -> Mapping[str, bool]:
        return {"admin": member.groups == ("admin",)}

    def keys_of(member: Member) -> Collection[str]:
        return flags_of(member).keys()

    assert await status(has(flags_of, "admin"), token({})) == 500
    assert await status(has(keys_of, "admin"), token({})) == 101


async def roles_later(member: Member) -> frozenset[Role]:  # noqa: D103 - is refused
    return member.roles


@pytest.mark.parametrize("values_of", ["admin", None, roles_later], ids=["text", "None", "async"])
def test_what_gives_no_values(values_of: object) -> None:
    """Is refused where it is written, with the remedy."""
    with pytest.raises(ConfigurationError, match=r"^has\(\) was given .*has\(roles_of, 'admin'\)"):
        has(cast("Callable[[Member], Collection[str]]", values_of), "admin")


def test_nothing_is_wanted() -> None:
    """It would let everybody through."""
    with pytest.raises(ConfigurationError, match=r"^has\(\): name what the principal has to have"):
        has(groups_of)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue] # the mistake


@pytest.mark.parametrize(
    ("demand", "text"),
    [
        (has(roles_of, Role.ADMIN, Role.MEMBER), "The roles of the member: ADMIN, MEMBER"),
        (has(groups_of, "red"), "groups of: red"),
        (has(unnamed, 5), "values: 5"),
    ],
    ids=["docstring", "name", "lambda"],
)
def test_what_it_asks_for(demand: Check[Member], text: str) -> None:
    """A document says it in the words of the function, if it has any."""
    ((requirement,),) = demand.describe()
    assert requirement.text == text
