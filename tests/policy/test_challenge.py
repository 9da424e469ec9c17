"""What a refusal tells a client about its token (RFC 6750, section 3), and that no cache keeps it."""

from __future__ import annotations

import pytest

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import (
    Forbidden,
    LeaseExpired,
    NoCredentials,
    Revoked,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.guards.bearer import bearer
from seawall.guards.functions import guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, public
from seawall.guards.scopes import has_scope
from seawall.policy.ending import refusal_headers
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Refuse
from seawall.testing import Rejected, connect
from tests.kit.sockets import EVERYWHERE, SHORT, Transport, serving
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import request

INVALID = 'Bearer error="invalid_token"'
INSUFFICIENT = 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    ("status", "failure", "challenge"),
    [
        (401, NoCredentials(), "Bearer"),
        (401, Unauthorized(), INVALID),
        (401, TokenExpired(), INVALID),
        (401, LeaseExpired(), INVALID),
        (401, KeyError("an application's own"), "Bearer"),
        (403, Forbidden(scope="chat:write"), f'{INSUFFICIENT}, scope="chat:write"'),
        (403, Forbidden(scope="a b"), f'{INSUFFICIENT}, scope="a b"'),
        (403, Forbidden(), None),
        (403, Revoked(), None),
        (403, Unauthorized(), None),
        (404, Forbidden(scope="chat:write"), None),
        (401, Forbidden(scope="chat:write"), "Bearer"),
        (429, TooManyRequests(), None),
        (503, Unavailable(), None),
    ],
    ids=repr,
)
def test_mended_22_challenges(status: int, failure: Exception, challenge: str | None) -> None:
    """A wrong token and a missing scope are told apart from no token; what another token would not mend has none."""
    assert dict(refusal_headers(status, failure)).get("WWW-Authenticate") == challenge


@pytest.mark.parametrize(
    "scope",
    ['a"b', "a\\b", "a\r\nSet-Cookie: a=b", "\xe9", "", " ", "a  b", " a", "a\tb", "x" * 1025, 7, b"a"],
    ids=repr,
)
def test_mended_22_a_scope_that_no_header_holds(scope: object) -> None:
    """An application's own scope may be anything; the header is whole all the same."""
    failure = Forbidden(scope="a")
    failure.scope = scope  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # of any type
    expected = INSUFFICIENT if isinstance(scope, str) else None
    assert dict(refusal_headers(403, failure)).get("WWW-Authenticate") == expected


async def nothing(conn: Connection[object]) -> None:
    """Return."""


@guard
async def gone(gate: Gate, proved: Anonymous) -> Anonymous:
    """Refuse by a status that caches keep unless they are told not to (RFC 9110, section 15.1)."""
    raise KeyError


def refusing() -> App:
    """An app that refuses in many ways."""
    app = App(limits=SHORT, errors=ErrorPolicy().on(KeyError, Refuse(410)))
    app.page("/page", "hello")
    app.route("/open", guard=public)(nothing)
    app.route("/members", guard=bearer(verifier) >> has_scope("chat:write", "admin"))(nothing)
    app.route("/gone", guard=gone)(nothing)
    return app


PRESENTED = b"Authorization: " + by(token("ada", seconds=3600, scope="admin"))["Authorization"].encode()

#: What is asked for, the status, and the challenge.
REFUSED = {
    "no token": (request("/members"), 401, "Bearer"),
    "a wrong token": (request("/members", b"Authorization: Bearer nonsense"), 401, INVALID),
    "a scope too few": (request("/members", PRESENTED), 403, f'{INSUFFICIENT}, scope="admin chat:write"'),
    "a status of its own": (request("/gone"), 410, None),
    "nothing there": (request("/nowhere"), 404, None),
    "a page that is not there": (b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, None),
    "another method": (b"DELETE /page HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, None),
    "no upgrade": (b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, None),
    "another origin": (request("/open", b"Origin: https://evil.example"), 403, None),
    "no HTTP": (b"\x16\x03\x01", 400, None),
}


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_22_what_a_client_reads(over: Transport) -> None:
    """Over every transport, by a status and by a rule of the application."""
    async with serving(refusing(), over) as place:
        for name, (ask, status, challenge) in REFUSED.items():
            client = await place.dial()
            await client.send(ask)
            answer = await client.last_response()
            fields = dict(answer.headers)
            assert answer.status == status, name
            assert fields.get("www-authenticate") == challenge, name
            assert fields["cache-control"] == "no-store", name
        client = await place.dial()
        await client.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page = dict((await client.last_response()).headers)
        assert "no-store" not in page.get("cache-control", ""), "a page is no refusal"


async def test_mended_22_over_memory() -> None:
    """The test client sees the same."""
    headers = by(token("ada", scope="admin"))
    with pytest.raises(Rejected) as caught:
        async with connect(refusing(), "/members", headers=headers):
            pass
    assert caught.value.header("WWW-Authenticate") == f'{INSUFFICIENT}, scope="admin chat:write"'
    assert caught.value.header("Cache-Control") == "no-store"
