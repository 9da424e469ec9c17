"""Chains that are right: the principal is followed through `>>` and `|`, and nothing needs an annotation."""

from __future__ import annotations

from typing import assert_type

from attrs import frozen

from seawall import (
    Anonymous,
    Check,
    Claims,
    Forbidden,
    Guard,
    HasScopes,
    Provided,
    bearer,
    has_scope,
    public,
)
from seawall.tokens import cookie, first_message, header
from tests.typing.house import (
    Admin,
    Looks,
    Opens,
    Person,
    Plain,
    Robot,
    adult,
    anybody,
    in_room,
    load_person,
    member,
    promote,
    robot,
    senior,
    verifier,
)


@frozen
class Expiring:
    """A message."""

    seconds: int


# One guard.
assert_type(public, Guard[Anonymous, Anonymous])
assert_type(bearer(verifier), Guard[Anonymous, Claims])
assert_type(bearer(verifier, header(), cookie("session")), Guard[Anonymous, Claims])
assert_type(bearer(verifier, first_message()), Guard[Anonymous, Claims])
assert_type(bearer(verifier, header(), warn="expiring", max_age=8 * 3600), Guard[Anonymous, Claims])
assert_type(bearer(verifier, warn=Expiring(30)), Guard[Anonymous, Claims])
assert_type(load_person, Guard[Claims, Person])
assert_type(in_room, Guard[Person, Person])
assert_type(Opens(), Opens)
assert_type(adult, Check[Person])
assert_type(anybody, Check[object])
assert_type(has_scope("chat"), Check[HasScopes])
assert_type(has_scope("chat").reads_cookie(), bool)
assert_type(bearer(verifier, header(), cookie("s")).reads_cookie(), bool)
assert_type(Forbidden("no", scope="chat:write").scope, str | None)

# One after the other.
assert_type(member >> load_person, Guard[Anonymous, Person])
assert_type(member >> load_person >> promote, Guard[Anonymous, Admin])
assert_type(member >> (load_person >> promote), Guard[Anonymous, Admin])
assert_type(load_person >> promote, Guard[Claims, Admin])
assert_type(public >> member, Guard[Anonymous, Claims])
assert_type(public >> public, Guard[Anonymous, Anonymous])
assert_type(Opens() >> promote, Guard[Anonymous, Admin])
assert_type(member >> load_person >> in_room, Guard[Anonymous, Person])

# A check keeps the type, wherever it stands.
assert_type(member >> has_scope("chat"), Guard[Anonymous, Claims])
assert_type(member >> anybody, Guard[Anonymous, Claims])
assert_type(member >> has_scope("chat") >> load_person, Guard[Anonymous, Person])
assert_type(member >> load_person >> adult, Guard[Anonymous, Person])
assert_type(member >> load_person >> promote >> adult, Guard[Anonymous, Admin])
assert_type(member >> load_person >> promote >> adult >> senior >> anybody, Guard[Anonymous, Admin])
assert_type(Opens() >> Looks(), Guard[Anonymous, Person])
assert_type(Opens() >> Plain(), Guard[Anonymous, Person])
assert_type(anybody >> member, Guard[Anonymous, Claims])
assert_type(anybody >> public, Guard[Anonymous, Anonymous])
assert_type(Plain() >> public, Guard[Anonymous, Anonymous])
assert_type(anybody >> member >> has_scope("chat") >> load_person, Guard[Anonymous, Person])
assert_type(anybody >> anybody >> public, Guard[Anonymous, Anonymous])
assert_type(adult >> promote, Guard[Person, Admin])
assert_type(member >> load_person >> (adult >> promote), Guard[Anonymous, Admin])

# A check and a check are a check, of what the narrower one asks for.
assert_type(anybody >> anybody, Check[object])
assert_type(adult >> adult, Check[Person])
assert_type(adult >> anybody, Check[Person])
assert_type(anybody >> adult, Check[Person])
assert_type(adult >> senior, Check[Admin])
assert_type(member >> load_person >> (anybody >> adult), Guard[Anonymous, Person])
assert_type(member >> (anybody >> has_scope("chat")), Guard[Anonymous, Claims])
assert_type(member >> (has_scope("a") >> has_scope("b")), Guard[Anonymous, Claims])

# One or the other is the union.
assert_type(member | public, Guard[Anonymous, Claims | Anonymous])
assert_type(member | robot, Guard[Anonymous, Claims | Robot])
assert_type(member | member, Guard[Anonymous, Claims])
assert_type(member | bearer(verifier, first_message()), Guard[Anonymous, Claims])
assert_type(member >> load_person | robot, Guard[Anonymous, Person | Robot])
assert_type(member >> load_person | robot | public, Guard[Anonymous, Person | Robot | Anonymous])
assert_type((member | public) >> anybody, Guard[Anonymous, Claims | Anonymous])
assert_type((member >> load_person | Opens()) >> adult >> promote, Guard[Anonymous, Admin])
assert_type((member | bearer(verifier, first_message())) >> has_scope("chat") >> load_person, Guard[Anonymous, Person])
assert_type(load_person | load_person, Guard[Claims, Person])

# Guards take less than they are given, and prove more than is asked for.
less: Guard[Admin, object] = in_room
more: Guard[Anonymous, Person] = member >> load_person >> promote
either: Guard[Anonymous, Person | Robot] = robot
narrow: Check[Admin] = adult
narrower: Check[Claims] = has_scope("chat")
narrowest: Check[Claims] = anybody


def widened(handle: Provided[Person]) -> Provided[object]:
    """A handle to a person is one to an object."""
    return handle
