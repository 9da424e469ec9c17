"""Routes that are wrong, one a line: each line is an error for mypy and for pyright, or this file fails the check."""

# pyright: reportUnusedVariable=false, reportUnusedExpression=false
# A name is bound, and an expression stands alone, to be checked.

from __future__ import annotations

from collections.abc import AsyncIterator

from seawall import (
    Anonymous,
    App,
    Claims,
    Connection,
    Gate,
    Limits,
    Provided,
    Route,
    Server,
    TokenVerifier,
    any_audience,
    any_issuer,
    any_origin,
    public,
    run_apps,
)
from seawall.testing import connect
from tests.typing.house import (
    Admin,
    Opens,
    Person,
    Robot,
    adult,
    anybody,
    app,
    for_admin,
    for_anonymous,
    for_claims,
    for_claims_or_nobody,
    for_object,
    for_person,
    for_person_in_room,
    for_robot,
    load_person,
    member,
    promote,
    robot,
)
from tests.typing.routes import database

person = member >> load_person


# A handler for another principal.
app.route("/", guard=public)(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody is no person
app.route("/", guard=public)(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has no claims
app.route("/", guard=member)(for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # who has shown a token is not anonymous
app.route("/", guard=member)(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no person
app.route("/", guard=person)(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person has no claims
app.route("/", guard=person)(for_admin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
app.route("/", guard=person)(for_robot)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person is no robot
app.route("/", guard=robot)(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a robot is no person
app.route("/", guard=person | robot)(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a robot
app.route("/", guard=member | public)(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a guest
app.route("/", guard=member | public)(for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a member
app.route("/", guard=robot | public)(for_claims_or_nobody)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a robot
app.route("/{room}", guard=public)(for_person_in_room)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody is no person
app.route("/", guard=anybody >> public)(for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check proves nobody


@app.route("/", guard=public)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the same as a decorator
async def decorated(conn: Connection[Person]) -> None:
    """A handler for a person, behind an open door."""


# No guard, or none for this place.
app.route("/")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # an open door has to be declared open
app.route("/", public)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a guard is given by name
app.route("/", guard=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # None is no guard
app.route("/", guard=anybody)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check proves nobody
app.route("/", guard=adult)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
app.route("/", guard=anybody >> anybody)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
app.route("/", guard=load_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it does not start from Anonymous
app.route("/", guard=promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
app.route("/", guard=load_person >> promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
app.route("/", guard=Opens)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no guard
app.route("/", guard=for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a handler is no guard
app.route("/", guard="public")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is no guard


# What is no handler.
def synchronous(conn: Connection[Anonymous]) -> None:
    """Not async."""


async def answers(conn: Connection[Anonymous]) -> str:
    """Return a value, which nobody would get."""
    return ""


async def yields(conn: Connection[Anonymous]) -> AsyncIterator[str]:
    """Yield values, which nobody would get."""
    yield ""


async def nothing() -> None:
    """Take no connection."""


async def bare(conn: Anonymous) -> None:
    """Take the principal without its connection."""


async def by_name(*, conn: Connection[Anonymous]) -> None:
    """Take the connection by name."""


class Chat:
    """A handler as an instance."""

    async def __call__(self, conn: Connection[Person]) -> None:
        """Be a handler."""

    def sync(self, conn: Connection[Anonymous]) -> None:
        """Not async."""


app.route("/", guard=public)(synchronous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not async
app.route("/", guard=public)(answers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an answer is sent, not returned
app.route("/", guard=public)(yields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an answer is sent, not yielded
app.route("/", guard=public)(nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no connection
app.route("/", guard=public)(bare)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no connection
app.route("/", guard=public)(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes the connection by name
app.route("/", guard=public)(lambda conn: None)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]  # not async
app.route("/", guard=public)(Chat())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody is no person
app.route("/", guard=person)(Chat)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no handler
app.route("/", guard=public)(Chat().sync)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not async
app.route("/", guard=public)(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # None is no handler
app.add(app.route("/", guard=public)(for_anonymous))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what comes back is the handler


# The same by hand.
Route(path="/", guard=public, handler=for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody is no person
Route(path="/", guard=person, handler=for_admin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
Route(path="/", guard=member | public, handler=for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a guest
Route(path="/", handler=for_anonymous)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # an open door has to be declared open
Route(path="/", guard=load_person, handler=for_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it does not start from Anonymous
Route(path="/", guard=anybody, handler=for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a check proves nobody
Route(path="/", guard=public, handler=synchronous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not async
Route(path="/", guard=public, handler=answers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an answer is sent, not returned
Route("/", guard=public, handler=for_anonymous)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # everything by name
app.add(for_anonymous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a handler is no route
app.add([Route(path="/", guard=public, handler=for_anonymous)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # several routes are several arguments
elsewhere: Route[Admin] = Route(path="/", guard=person, handler=for_person)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # not every person is an admin


# What a route and an app can be told.
app.route("/", guard=public, limits={"max_connections": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a limit of the whole server
app.route("/", guard=public, limits={"auth_timeout": None})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # guards cannot take for ever
app.route("/", guard=public, limits=Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a second Limits would reset the rest
app.route("/", guard=public, origins=b"https://chat.example")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # origins are text
app.route("/", guard=public, errors={OSError: 4000})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a policy is a value of its own
app.route("/", guard=public, protocols=["chat"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # there is no such argument
App(hosts=b"chat.example")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # hosts are text
App(hosts=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
App(hosts=any_origin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # another waiver
App(origins=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # any origin is called any_origin
App(log_key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a key is text or bytes
App(limits={"idle_timeout": 60})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an app has whole limits
App(same_origin=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # there is no such argument
Limits(auth_timeout=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # guards cannot take for ever
Limits(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name: ten of what?
Limits(idle=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # there is no such limit
Limits(max_message_size="1 MiB")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number of bytes
app.page("/", None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # a page has a body
app.page("/", "", "text/plain")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # by name: what is this?


# Lifespan values.
async def no_context() -> Person:
    """Not a context manager."""
    return Person()


app.lifespan(no_context)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nothing to leave when the app ends
app.lifespan(Person())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a value has no life
narrower: Provided[Admin] = database  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # not every person is an admin


async def reads(conn: Connection[Claims], gate: Gate) -> None:
    """What a connection and a gate do not give."""
    wrong: Robot = conn.provided(database)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a person is no robot
    wrong = gate.provided(database)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # as above
    conn.provided(Person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a type is no handle
    conn.provided("database")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is no handle
    conn.principal.name  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # claims have no name
    conn.principal = conn.principal  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # a connection cannot change hands
    await conn.send(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a message is text or bytes
    await conn.send(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    await conn.send({"text": "hello"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    text: str = await conn.receive()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it may be bytes
    conn.send("hello")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # not awaited
    await conn.send_nowait("hello")  # type: ignore[misc, func-returns-value]  # pyright: ignore[reportGeneralTypeIssues]  # nothing to await
    for _message in conn:  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownVariableType, reportGeneralTypeIssues]  # messages have to be waited for
        pass
    await conn.aclose("bye")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the code comes first
    conn.expires_at + 1  # type: ignore[operator]  # pyright: ignore[reportOptionalOperand]  # where nothing is leased
    await conn.renew(conn.principal)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a token is text
    conn.principal = conn.principal  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # renewing sets it
    await for_admin(conn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no admin
    widened: Connection[Person] = conn  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # claims are no person
    await gate.enter(Person())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a person cannot be entered
    await gate.send_text(b"bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # text
    gate.lease(60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name: from when?
    gate.lease(expires_at=60, renew=for_admin)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the guards are asked again
    gate.lease(expires_at="tomorrow")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a Unix time
    gate.identify("ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is no credential
    gate.identify(conn.principal, conn.principal)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name: instead of what?
    gate.params["room"] = "lobby"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]  # what the client asked for cannot be changed
    gate.handshake.path = "/"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # as above
    await for_object(gate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a gate is no connection


# Sessions.
wrong_app = App()
renewed: int = wrong_app.sessions.renew("token")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # not awaited
wrong_app.sessions = wrong_app.sessions  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # it is the app's for good


# Connections from outside.
async def at_connections(server: Server, conn: Connection[Person]) -> None:
    """What is not so."""
    server.end(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an id is text
    server.connections = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # it is the server's
    await conn.close_nowait()  # type: ignore[func-returns-value, misc]  # pyright: ignore[reportGeneralTypeIssues]  # it does not wait
    conn.report(KeyboardInterrupt())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no Exception
    conn.report("lost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above


App(on_open=at_connections)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it is called with a snapshot


# Several apps in one program.
run_apps(wrong_app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # where?
wrong_app.at(8765)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # by name: a port?
run_apps(wrong_app.at(port="8765"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
wrong_app.at(prot=8765)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # no option
run_apps(wrong_app.at(unix="/run/chat", unix_mode="660"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number, in octal
run_apps([wrong_app.at(port=8765)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # several apps are several arguments


# Tokens.
TokenVerifier("secret", algorithms=["none"], audience="a", issuer="b")  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # no algorithm
TokenVerifier("secret", algorithms=["none"], audience="a", issuer="b")  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # signed by nobody
TokenVerifier("secret", algorithms="HS256", audience="a", issuer="b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list
TokenVerifier("secret", audience="a", issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # which algorithms?
TokenVerifier("secret", algorithms=["HS256"], issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # an audience is asked for, or waived in so many words
TokenVerifier("secret", algorithms=["HS256"], audience="a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # so is an issuer
TokenVerifier("secret", algorithms=["HS256"], audience=None, issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # None waives nothing
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # as above
TokenVerifier("secret", algorithms=["HS256"], audience=any_issuer, issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # the other waiver
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer=any_audience)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # as above
TokenVerifier(7, algorithms=["HS256"], audience="a", issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # a secret is text or bytes
connect(app, "/", timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds are a number
