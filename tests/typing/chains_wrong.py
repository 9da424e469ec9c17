"""Chains that are wrong, one a line: each line is an error for mypy and for pyright, or this file fails the check."""

# pyright: reportUnusedExpression=false
# An expression alone is the case.

from __future__ import annotations

from seawall import Anonymous, Check, Claims, Gate, Guard, bearer, check, guard, has_scope, public
from seawall.tokens import cookie, first_message
from tests.typing.house import (
    Admin,
    Opens,
    Person,
    Robot,
    adult,
    anybody,
    load_person,
    member,
    promote,
    robot,
    senior,
    verifier,
)

# In the wrong order, or with a step left out.
load_person >> member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a person is no stranger
promote >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # an admin has no token any more
member >> promote  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # nobody has made a person of the claims
public >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # nobody has looked at a token
public >> promote  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
member >> public  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # what is proved cannot be forgotten
member >> member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a token is taken from a stranger
load_person >> robot  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a robot is made of a stranger
robot >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a robot has no token
member >> load_person >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a person has no token any more
member >> (promote >> senior)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # the chain in brackets starts from a person


# A check before there is what it asks for.
member >> adult  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # claims are no person
public >> adult  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # nobody is no person
public >> has_scope("chat")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # nobody has no scopes
member >> load_person >> has_scope("chat")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a person has no scopes
member >> load_person >> senior  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # not every person is an admin
adult >> public  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # there is no person before the first guard
adult >> member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
has_scope("chat") >> member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # there are no claims before the first guard
senior >> promote  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a person is no admin yet
adult >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # claims are no person
adult >> has_scope("chat")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # nothing here is a person with scopes
robot >> (anybody >> adult)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a robot is no person


# Alternatives that do not start from the same, or are no guards.
member | load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # the one starts from a stranger, the other from claims
load_person | public  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
promote | load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # the one starts from a person, the other from claims
member | has_scope("chat")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a check proves nobody
adult | member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
adult | senior  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
(member | public) >> load_person  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a guest has no token
(member | public) >> has_scope("chat")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above
(member >> load_person | robot) >> adult  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a robot is no person
(member >> load_person | robot) >> promote  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # as above


# No guard at all.
member >> None  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # None is no guard
member >> Opens  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a class is no guard
member >> load_person.admit  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a method is no guard
None >> member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # None is no check
"token" | member  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # a string is no guard
member | None  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # None is no guard
adult >> None  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # None is neither


# Called something that they are not.
proves_too_little: Guard[Anonymous, Admin] = member >> load_person  # type: ignore[operator]  # pyright: ignore[reportAssignmentType]  # a person need not be an admin
starts_too_late: Guard[Anonymous, Person] = load_person  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # claims are needed
starts_elsewhere: Guard[Claims, Person] = member >> load_person  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a guard of strangers cannot be given claims
takes_too_much: Guard[object, Person] = load_person  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # not everything has claims
half_of_it: Guard[Anonymous, Person] = member >> load_person | robot  # type: ignore[operator]  # pyright: ignore[reportAssignmentType]  # it may be a robot
asks_for_nothing: Check[object] = adult  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it asks for a person
asks_for_less: Check[Person] = senior  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it asks for an admin
a_check: Check[Claims] = member  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a guard is no check
a_guard: Guard[Anonymous, Anonymous] = anybody  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a check is no guard


# Functions that are no guards.
def synchronous(gate: Gate, proved: Anonymous) -> Person:
    return Person()


async def without_gate(proved: Anonymous) -> Person:
    return Person()


async def gate_last(proved: Anonymous, gate: Gate) -> Person:
    return Person()


async def only_gate(gate: Gate) -> Person:
    return Person()


async def returns(gate: Gate, person: Person) -> bool:
    return True


def synchronous_check(gate: Gate, person: Person) -> None:
    return None


async def by_name(gate: Gate, *, claims: Claims) -> Person:
    return Person()


guard(synchronous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not async
guard(without_gate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no gate
guard(gate_last)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes the gate last
guard(only_gate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no principal
guard(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes the principal by name
guard(Person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class
check(synchronous_check)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not async
check(returns)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check that answers would not be heard
check(without_gate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no gate
Guard()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # abstract: admit() is missing
Check()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # abstract: inspect() is missing


class Backwards(Guard[Anonymous, Person]):
    async def admit(self, gate: Gate, proved: Claims, /) -> Person:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # takes claims, but promises to take strangers
        return Person()


class Elsewhere(Guard[Anonymous, Person]):
    async def admit(self, gate: Gate, proved: Anonymous, /) -> Robot:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # proves a robot, but promises a person
        return Robot()


class Demanding(Check[Person]):
    async def inspect(self, gate: Gate, principal: Admin, /) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # asks for an admin, but promises less
        return None


# Arguments.
bearer()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # which tokens are good?
bearer("secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a secret is no verifier
bearer(verifier, "session")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # is this the name of a cookie?
cookie(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a cookie has a name
bearer(verifier, warn={"type": "expiring"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a message has a class
bearer(verifier, warn=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is to be said?
bearer(verifier, max_age="8 hours")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds
bearer(verifier, 3600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # by keyword
bearer(verifier, cookie="session")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a source says where
first_message(verifier)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]  # it takes no token, it says where one is
has_scope(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a scope is a word
has_scope(["chat"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # several scopes are several arguments
