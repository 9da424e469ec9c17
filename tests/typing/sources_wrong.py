"""What must not check about sources and refusals. Each line is an error to both, for the reason that stands behind it."""

from __future__ import annotations

from seawall import Anonymous, App, Claims, Connection, Gate, Router, bearer, guard
from seawall.tokens import first_message, query, subprotocol
from tests.typing.tokens import Member, members, plain

app = App()

query()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # of which name?
query(5, reusable=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is a text
query("token", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # reusable= is written out
query("token", reusable="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it is True
subprotocol("chat")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the route names its own
first_message("ok")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ack= is written out
first_message(ack=b"ok")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a text
first_message(ack=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a text
bearer(members, subprotocol)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called
bearer(members, query)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called, with a name
bearer(members, sources=[subprotocol()])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # one after the other
Router[Member](refuse_with="Close")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # misspelt
Router[Member](refuse_with=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one of two words
app.route("/", guard=bearer(members), refuse_with=3000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the policy has the code
app.route("/", guard=bearer(members), refuse_with="code")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one of two words


@guard
async def by_less(gate: Gate, proved: Anonymous) -> Member:
    return await gate.admit_by(plain, "token")  # type: ignore[arg-type]  # pyright: ignore[reportReturnType]  # these claims are no member's


@guard
async def by_nothing(gate: Gate, proved: Anonymous) -> Member:
    return await gate.admit_by(members, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no token, no call


@guard
async def by_secret(gate: Gate, proved: Anonymous) -> Member:
    return await gate.admit_by("secret", "token")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportUnknownVariableType]  # a secret is no verifier


@guard
async def not_awaited(gate: Gate, proved: Anonymous) -> Member:
    return gate.admit_by(members, "token")  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # not awaited


guard(services=members)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # a verifier has services, and is none
guard(members.services())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # services= is written out


@guard(services=members.services())
async def services_and_less(gate: Gate, proved: Anonymous) -> Claims:
    return await gate.admit_by(plain, "token")


@app.route("/d", guard=services_and_less)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no member
async def of_members(conn: Connection[Member]) -> None: ...


@app.route("/", guard=by_less, refuse_with="close")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a member is no text
async def of_another(conn: Connection[str]) -> None: ...
