"""Routers that are right: routes start from the router's principal, and a mount proves it, or more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_type

from seawall import (
    Anonymous,
    AnyRoute,
    Claims,
    Close,
    Connection,
    Deflate,
    ErrorPolicy,
    Guard,
    Route,
    Router,
    any_origin,
    has_scope,
    inherited,
    public,
)
from seawall.routing.route import Endpoint
from tests.typing.house import (
    Admin,
    Person,
    Robot,
    adult,
    anybody,
    app,
    for_admin,
    for_anonymous,
    for_claims,
    for_object,
    for_person,
    for_person_in_room,
    for_person_or_robot,
    in_room,
    load_person,
    member,
    promote,
    robot,
    senior,
)

T = TypeVar("T")

person = member >> load_person

claims: Router[Claims] = Router()
people: Router[Person] = Router()
admins = Router[Admin](limits={"idle_timeout": 60}, errors=ErrorPolicy().on(OSError, Close(4000)))
either = Router[Person | Robot](origins=any_origin, compression=Deflate())
anyone = Router[object](origins=["https://chat.example"], compression=False)
assert_type(admins, Router[Admin])


# `inherited()` needs no annotation: the principal is the router's.
@people.route("/me", guard=inherited())
async def me(conn: Connection[Person]) -> None:
    """The principal is the router's."""
    assert_type(conn.principal, Person)


assert_type(claims.route("/a", guard=inherited()), Endpoint[Claims])
assert_type(people.route("/b", guard=inherited()), Endpoint[Person])
assert_type(admins.route("/c", guard=inherited()), Endpoint[Admin])
assert_type(either.route("/d", guard=inherited()), Endpoint[Person | Robot])
assert_type(anyone.route("/e", guard=inherited()), Endpoint[object])
assert_type(people.route("/f", guard=inherited())(for_person), Callable[[Connection[Person]], Awaitable[None]])
people.route("/g", guard=inherited())(for_object)
people.route("/h/{room}", guard=inherited())(for_person_in_room)
admins.route("/i", guard=inherited())(for_admin)
admins.route("/j", guard=inherited())(for_person)
either.route("/k", guard=inherited())(for_person_or_robot)
anyone.route("/l", guard=inherited())(for_object)

# With checks, of the principal or of what it is a case of; it stays what it is.
assert_type(inherited(adult), Guard[Person, Person])
assert_type(claims.route("/a", guard=inherited(has_scope("chat"))), Endpoint[Claims])
assert_type(people.route("/b", guard=inherited(adult)), Endpoint[Person])
assert_type(admins.route("/c", guard=inherited(adult)), Endpoint[Admin])
assert_type(admins.route("/d", guard=inherited(anybody, adult, senior)), Endpoint[Admin])
assert_type(admins.route("/e", guard=inherited(anybody >> senior)), Endpoint[Admin])

# Guards that prove more than the router.
assert_type(claims.route("/a", guard=load_person), Endpoint[Person])
assert_type(claims.route("/b", guard=has_scope("chat") >> load_person >> promote), Endpoint[Admin])
assert_type(people.route("/c", guard=promote >> senior), Endpoint[Admin])
assert_type(people.route("/d/{room}", guard=in_room), Endpoint[Person])
assert_type(admins.route("/e/{room}", guard=in_room), Endpoint[Person])
people.route("/f", guard=promote)(for_person)

# Mounted behind guards that prove what the routes start from, or more.
app.mount("/claims", claims, guard=member)
app.mount("/scoped", claims, guard=member >> has_scope("chat"))
app.mount("/people", people, guard=person)
app.mount("/people/{room}", people, guard=person >> in_room)
app.mount("/promoted", people, guard=person >> promote)
app.mount("/either", either, guard=person | robot)
app.mount("/robots", either, guard=robot)
app.mount("/anyone", anyone, guard=public)
app.mount("/members", anyone, guard=member)

# In each other.
people.mount("/admin", admins, guard=promote)
people.mount("/same", Router[Person](), guard=inherited())
people.mount("/grown", Router[Person](), guard=inherited(adult))
admins.mount("/less", people, guard=inherited())
claims.mount("/people", people, guard=load_person)
either.mount("/any", anyone, guard=inherited())


# An app is a router of anybody.
def install(where: Router[Anonymous], *routes: AnyRoute) -> None:
    """Add routes to an app or a router."""
    where.route("/a", guard=public)(for_anonymous)
    where.route("/b", guard=member)(for_claims)
    where.mount("/c", people, guard=person)
    where.add(*routes)


install(app, Route(path="/a", guard=person, handler=for_person))
install(Router[Anonymous](), Route(path="/a", guard=public, handler=for_anonymous))


def about_me(where: Router[T]) -> None:
    """Add a route to any router."""
    assert_type(where.route("/me", guard=inherited()), Endpoint[T])
    where.route("/me", guard=inherited())(for_object)


about_me(people)
about_me(app)
