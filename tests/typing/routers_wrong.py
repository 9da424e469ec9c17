"""Routers that are wrong, one a line: each line is an error for mypy and for pyright, or this file fails the check."""

from __future__ import annotations

from seawall import Anonymous, Claims, Connection, Guard, Limits, Route, Router, has_scope, inherited, public
from tests.typing.house import (
    Admin,
    Person,
    Robot,
    adult,
    app,
    for_admin,
    for_anonymous,
    for_claims,
    for_person,
    for_robot,
    load_person,
    member,
    promote,
    robot,
    senior,
)
from tests.typing.routers import admins, claims, either, install, people, person

# A handler for another principal than the router's.
people.route("/", guard=inherited())(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person has no claims
people.route("/", guard=inherited())(for_admin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
people.route("/", guard=inherited())(for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person is not anonymous
people.route("/", guard=inherited(adult))(for_robot)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person is no robot
either.route("/", guard=inherited())(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a robot
people.route("/", guard=promote)(for_robot)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an admin is no robot
claims.route("/", guard=load_person)(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person has no claims


@admins.route("/", guard=inherited())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an admin has no claims any more
async def decorated(conn: Connection[Claims]) -> None:
    """A handler for claims, among admins."""


# A guard that does not start from it.
people.route("/")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a route that proves nothing more says so
people.route("/", guard=public)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is proved cannot be forgotten
people.route("/", guard=member)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a token is taken from a stranger, and the router has a person
people.route("/", guard=person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
claims.route("/", guard=promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has made a person of the claims
people.route("/", guard=load_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person has no token any more
either.route("/", guard=promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a robot
people.route("/", guard=adult)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check proves nobody; inherited(adult) does
people.route("/", guard=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # None is no guard
people.route("/", guard=inherited)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it has to be called
app.route("/", guard=inherited())(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an app's routes start from Anonymous


# Checks of somebody else.
people.route("/", guard=inherited(senior))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
claims.route("/", guard=inherited(adult))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no person
people.route("/", guard=inherited(has_scope("chat")))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person has no scopes
people.route("/", guard=inherited(adult, senior))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
people.route("/", guard=inherited(promote))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a guard is no check
people.route("/", guard=inherited(adult))(for_admin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check of a person makes no admin


# Mounted behind a guard that proves too little, or does not start from where it is mounted.
app.mount("/a", people)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a mount without a guard would open every door in it
app.mount("/a", people, person)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a guard is given by name
app.mount("/a", people, guard=public)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # nobody is no person
app.mount("/a", people, guard=member)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # claims are no person
app.mount("/a", people, guard=robot)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # a robot is no person
app.mount("/a", people, guard=person | robot)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # it may be a robot
app.mount("/a", people, guard=inherited())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # an app has only Anonymous to hand on
app.mount("/a", people, guard=load_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it does not start from Anonymous
app.mount("/a", people, guard=adult)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check proves nobody
app.mount("/a", people, guard=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # None is no guard
app.mount("/a", admins, guard=person)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # not every person is an admin
app.mount("/a", claims, guard=member | public)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # it may be a guest
people.mount("/a", admins, guard=inherited())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # not every person is an admin
people.mount("/a", admins, guard=inherited(adult))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # not every adult is an admin
people.mount("/a", admins, guard=person >> promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it starts from Anonymous, and the router has a person
people.mount("/a", claims, guard=member)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
claims.mount("/a", admins, guard=promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it starts from a person, and the router has claims


# What is no router, or none of these principals.
app.mount(people, "/a", guard=person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the prefix comes first
app.mount("/a", Router, guard=public)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no router
app.mount("/a", for_anonymous, guard=public)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a handler is no router
app.mount("/a", Route(path="/", guard=public, handler=for_anonymous), guard=public)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a route is added
people.add(Route(path="/", guard=public, handler=for_anonymous))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a route made by hand starts from Anonymous
people.add(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a handler is no route
install(people)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its routes would start from a stranger
narrower: Router[Admin] = people  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # routes for admins could be added
wider: Router[Person] = admins  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it could be mounted behind a guard that proves no admin
of_robots: Guard[Robot, Robot] = inherited(adult)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # a robot is no person
of_another: Guard[Person, Admin] = inherited()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # nothing has made an admin of the person


# What a router can be told.
Router[Anonymous](limits=Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a second Limits would reset the rest
Router[Anonymous](limits={"max_connections": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a limit of the whole server
Router[Anonymous](origins=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # origins are text
Router[Anonymous](compression=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # how?
Router[Anonymous](errors={OSError: 4000})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a policy is a value of its own
Router[Anonymous](report=print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # reports are the app's
Router[Anonymous]("/a")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # where it is mounted says the mount
