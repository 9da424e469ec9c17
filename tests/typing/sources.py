"""Sources of tokens and refusals as they are meant: both checkers find nothing here, and these types."""

from __future__ import annotations

from typing import assert_type

from seawall import (
    Anonymous,
    App,
    Check,
    Claims,
    Connection,
    Gate,
    Guard,
    NoCredentials,
    Router,
    bearer,
    check,
    guard,
    inherited,
)
from seawall.tokens import TokenSource, cookie, first_message, header, query, subprotocol
from tests.typing.tokens import Member, members, plain

everywhere = bearer(
    members,
    header(),
    cookie("__Host-session"),
    subprotocol(),
    query("token", reusable=True),
    first_message(ack="ok"),
)
assert_type(everywhere, Guard[Anonymous, Member])
assert_type(subprotocol(), TokenSource)
assert_type(query("token", reusable=True), TokenSource)
assert_type(first_message(ack=None), TokenSource)

app = App()
members_only: Router[Member] = Router(refuse_with="close")


@app.route("/a", guard=everywhere, subprotocols=["chat"], refuse_with="close")
async def closed(conn: Connection[Member]) -> None: ...


@members_only.route("/b", guard=inherited(), refuse_with="status")
async def refused(conn: Connection[Member]) -> None: ...


@guard(services=members.services())
async def by_key(gate: Gate, proved: Anonymous) -> Member:
    key = gate.handshake.header("x-key")
    if key is None:
        raise NoCredentials
    assert_type(await gate.admit_by(plain, key), Claims)
    return assert_type(await gate.admit_by(members, key), Member)


assert_type(by_key, Guard[Anonymous, Member])


@check(services=[*members.services(), *plain.services()])
async def looks(gate: Gate, member: Member, room: str) -> None: ...


assert_type(looks, Check[Member])


@app.route("/c", guard=by_key)
async def keyed(conn: Connection[Member]) -> None: ...
