"""Events that are wrong, one a line: each line is an error for mypy and for pyright, or this file fails the check."""

# pyright: reportUnusedVariable=false, reportUnusedExpression=false, reportUnusedCoroutine=false
# A name is bound, and an expression stands alone, to be checked.

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from seawall import Claims, Connection, Events, has_scope, public
from tests.typing.events import Ask, Leave, No, Said, Say, Yes
from tests.typing.house import Admin, Person, Robot, adult, app, for_person, load_person, member, promote, robot, senior

events = Events[Person]()


class Plain:
    """A class without fields."""


async def handler(conn: Connection[Person], message: Say) -> Said:
    """A handler."""
    return Said("")


# What it is called with.
@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the handler takes another message
async def other_message(conn: Connection[Person], message: Leave) -> None: ...


@events.on(Say | Leave)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the handler takes one of two messages
async def one_of_two(conn: Connection[Person], message: Say) -> None: ...


@events.on(bytes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # raw messages are bytes
async def raw(conn: Connection[Person], message: str) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the route's principal is a person
async def other_principal(conn: Connection[Robot], message: Say) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # no guard has proved an admin
async def narrower(conn: Connection[Admin], message: Say) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # it takes no message
async def no_message(conn: Connection[Person]) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # it takes no connection
async def no_connection(message: Say) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the message comes second
async def reversed_order(message: Say, conn: Connection[Person]) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the message is positional
async def by_name(conn: Connection[Person], *, message: Say) -> None: ...


# What it is, and what it returns.
@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # it is not async
def synchronous(conn: Connection[Person], message: Say) -> None: ...


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # an iterator is not async
def iterator(conn: Connection[Person], message: Say) -> Iterator[Said]:
    yield Said("")


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a number is no message
async def returns_int(conn: Connection[Person], message: Say) -> int:
    return 3


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a list is no message
async def returns_list(conn: Connection[Person], message: Say) -> list[Said]:
    return []


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a text is no value
async def returns_text(conn: Connection[Person], message: Say) -> str:
    return ""


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a dictionary is no message
async def returns_dict(conn: Connection[Person], message: Say) -> dict[str, str]:
    return {}


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a class without fields is no message
async def returns_plain(conn: Connection[Person], message: Say) -> Plain:
    return Plain()


@events.on(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the number of it is no message
async def returns_either(conn: Connection[Person], message: Say) -> Said | int:
    return 3


@events.on(Say)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a stream of text
async def yields_text(conn: Connection[Person], message: Say) -> AsyncIterator[str]:
    yield ""


@events.on(Say)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a stream of lists
async def yields_lists(conn: Connection[Person], message: Say) -> AsyncIterator[list[Said]]:
    yield []


@events.on(Say, timeout=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the same with an option
async def returns_int_in_time(conn: Connection[Person], message: Say) -> int:
    return 3


# Guards of events.
@events.on(Say, guard=promote)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # the guard has proved an admin
async def after_promote(conn: Connection[Robot], message: Say) -> None: ...


@events.on(Say, guard=adult)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]  # a check proves nothing more
async def after_check(conn: Connection[Admin], message: Say) -> None: ...


events.on(Say, guard=member)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # it starts from nobody
events.on(Say, guard=load_person)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # it starts from claims
events.on(Say, guard=senior)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # the check asks for an admin
events.on(Say, guard=has_scope("write"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # the check asks for claims
events.on(Say, guard=adult >> promote >> load_person)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]  # the chain does not fit
events.on(Say, guard=for_person)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a handler is no guard
events.on(Say, guard="promote")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a name is no guard
events.on(Say, promote)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # a guard is given by name
events.on(Say, guard=Claims)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a class is no guard

# Options.
events.on()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # of which type?
events.on(Say, handler)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # the function comes below
events.on(Say, timeout="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # seconds are a number
events.on(Say, concurrent=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # that is an option of all events
Events[Person](concurrent="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
Events[Person](Said)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
Events[Person](sends=Said, receives=Say)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # no such option
Events[Person, Said]()  # type: ignore[misc]  # pyright: ignore[reportInvalidTypeArguments]  # one parameter, the principal
events.on(Say)(handler, handler)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # one handler


# Questions.
async def question(conn: Connection[Person]) -> None:
    """Ask."""
    await events.request(conn, Ask(), Yes)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # without a timeout nobody would stop waiting
    await events.request(conn, Ask(), Yes, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
    await events.request(conn, "sure?", Yes, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # text is no question
    await events.request(conn, [Ask()], Yes, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list is no message
    await events.request(Ask(), Yes, timeout=5)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]  # of whom?
    await events.request(conn.principal, Ask(), Yes, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a principal is no connection
    await events.request(conn, Ask(), Yes, timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds are a number
    no: No = await events.request(conn, Ask(), Yes, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # the answer is another
    yes: Yes = await events.request(conn, Ask(), Yes | No, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it may be a no
    answer = events.request(conn, Ask(), No, timeout=5)
    answer.why  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # nobody has awaited it
    (await events.request(conn, Ask(), No, timeout=5)).because  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # no such field


# What the handler is afterwards.
async def afterwards(conn: Connection[Person]) -> None:
    """Call handlers."""
    registered = events.on(Say)(handler)
    await registered(conn, Leave())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it takes what it took
    number: int = await registered(conn, Say(""))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # and returns what it returned
    await registered(conn, Say(""), room="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # and has no path parameter


# As the handler of a route.
app.route("/", guard=public)(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody is no person
app.route("/", guard=robot)(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a robot is no person
app.route("/", guard=member)(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no person
app.route("/", guard=robot | (member >> load_person))(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it may be a robot
app.route("/", guard=member >> load_person)(Events[Admin]())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
app.route("/", guard=public)(Events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no handler
app.route("/", guard=events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # events are no guard


async def awaited(conn: Connection[Person], robots: Connection[Robot]) -> None:
    """Await them."""
    await events(robots)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a robot is no person
    await events()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # of whom?
    await events(conn, "lounge")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # path parameters are given by name
    await events(conn, room=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no path has a list
    await Events[Admin]()(conn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every person is an admin
