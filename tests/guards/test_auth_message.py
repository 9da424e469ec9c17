"""The first message of a client that speaks JSON: an object with the token, or the bare token."""

from __future__ import annotations

import json

import pytest
from trio.testing import MockClock

from seawall import (
    JSON,
    App,
    Claims,
    Codec,
    Connection,
    ErrorReport,
    MessagePack,
    Unauthorized,
    bearer,
    guard,
)
from seawall.guards.auth_message import token_in
from seawall.guards.gate import Gate
from seawall.testing import connect
from seawall.tokens import first_message
from tests.kit.log import recorded
from tests.kit.tokens import token, verifier

SECRET = "hunter2-4111111111111111"


async def greet(conn: Connection[Claims]) -> None:
    """Say who it is, after each message."""
    await conn.send(conn.principal.subject or "")
    async for _ in conn:
        await conn.send("again")


def serving(codec: Codec | None, reports: list[ErrorReport]) -> App:
    """An app that takes a token by message."""
    app = App(codec=codec, report=reports.append)
    app.route("/", guard=bearer(verifier, first_message()))(greet)
    return app


@pytest.mark.parametrize("codec", [None, JSON(), JSON(rename="camel", unknown_fields="ignore")], ids=repr)
@pytest.mark.parametrize("form", ["{}", '{{"type": "auth", "token": "{}"}}', ' {{"token":"{}","type":"auth"}}\r\n'])
async def test_both_forms(codec: Codec | None, form: str, autojump_clock: MockClock) -> None:
    """Where messages are JSON the token may stand in one, or alone."""
    async with connect(serving(codec, []), "/") as client:
        await client.send(form.format(token(sub="ada")))
        assert await client.receive() == "ada"


async def test_another_codec(autojump_clock: MockClock) -> None:
    """Elsewhere it is the bare token, as text."""
    reports = list[ErrorReport]()
    async with connect(serving(MessagePack(), reports), "/") as client:
        await client.send(token(sub="ada"))
        assert await client.receive() == "ada"
    async with connect(serving(MessagePack(), reports), "/") as client:
        await client.send(json.dumps({"type": "auth", "token": token(sub="ada")}))
        assert await client.wait_closed() == (3000, "unauthorized")


async def test_the_codec_of_the_route(autojump_clock: MockClock) -> None:
    """It counts, not the app's."""
    app = App(codec=MessagePack())
    app.route("/", guard=bearer(verifier, first_message()), codec=JSON())(greet)
    async with connect(app, "/") as client:
        await client.send(json.dumps({"type": "auth", "token": token(sub="ada")}))
        assert await client.receive() == "ada"


MALFORMED = [
    "{",
    '{"type": "auth"',
    '{"type": "auth"}',
    f'{{"type": "auth", "token": ["{SECRET}"]}}',
    f'{{"type": "auth", "token": {{"{SECRET}": 1}}}}',
    f'{{"type": "{SECRET}", "token": "x"}}',
    f'{{"token": "{SECRET}"}}',
    f'{{"type": "auth", "token": "x", "{SECRET}": 1}}',
    f'{{"type": "auth", "token": "{SECRET}"}} {SECRET}',
    "{" * 10_000,
]


@pytest.mark.parametrize("message", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_one(message: str, autojump_clock: MockClock) -> None:
    """It is Unauthorized; nothing of it is in the reason, the report or the log."""
    reports = list[ErrorReport]()
    with recorded() as records:
        async with connect(serving(JSON(), reports), "/") as client:
            await client.send(message)
            assert await client.wait_closed() == (3000, "unauthorized")
    (report,) = reports
    assert type(report.exception) is Unauthorized
    assert report.exception.__context__ is None
    assert str(report.exception).startswith("an auth message that is wrong at $")
    told = [repr(report), *(record.getMessage() + repr(record.args) for record in records.found)]
    assert not any("hunter2" in text or "411111" in text for text in told)


async def test_a_wrong_token_in_it(autojump_clock: MockClock) -> None:
    """A token that is wrong is as wrong in an object."""
    for wrong in (SECRET, "", "a.b.c"):
        reports = list[ErrorReport]()
        async with connect(serving(JSON(), reports), "/") as client:
            await client.send(json.dumps({"type": "auth", "token": wrong}))
            assert await client.wait_closed() == (3000, "unauthorized")
        assert isinstance(reports[0].exception, Unauthorized)
        assert SECRET not in str(reports[0].exception)


async def test_renewal_is_by_the_bare_token(autojump_clock: MockClock) -> None:
    """`Connection.renew` takes a token; in a chain whose first one came in an object too."""

    @guard
    async def pass_on(gate: Gate, claims: Claims) -> Claims:
        return claims

    app = App()

    @app.route("/", guard=bearer(verifier, first_message()) >> pass_on)
    async def renewing(conn: Connection[Claims]) -> None:
        await conn.renew(token(sub="ada"))
        with pytest.raises(Unauthorized):
            await conn.renew(json.dumps({"type": "auth", "token": token(sub="ada")}))
        await conn.send("renewed")

    async with connect(app, "/") as client:
        await client.send(json.dumps({"type": "auth", "token": token(sub="ada")}))
        assert await client.receive() == "renewed"


def test_what_is_no_object_is_the_token() -> None:
    """No token begins like one."""
    for text in ("a.b.c", "", "[]", '"x"', "null"):
        assert token_in(text) == text
    assert token_in('{"type": "auth", "token": ""}') == ""
