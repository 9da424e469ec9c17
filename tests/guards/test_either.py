"""``a | b``: who may say that there is no credential, so that `b` is asked."""

from __future__ import annotations

import pytest
from attrs import frozen

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError, Forbidden, NoCredentials, TokenExpired, Unauthorized
from seawall.guards.bearer import bearer
from seawall.guards.functions import check, guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard, public
from seawall.guards.inherited import inherited
from seawall.guards.jwt.claims import Claims
from seawall.guards.scopes import has_scope
from seawall.observability.reports import ErrorReport
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Refuse
from seawall.routing.router import Router
from seawall.testing import Rejected, connect
from seawall.tokens import cookie, header
from tests.kit.sockets import EVERYWHERE, SHORT, Transport, serving
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import TEXT, Frame, request


@guard
async def second_factor(gate: Gate, proved: object) -> str:
    """A code in a header, besides what has been proved."""
    code = gate.handshake.header("x-code")
    if code is None:
        raise NoCredentials("no code")
    return f"{type(proved).__name__} with {code}"


@check
async def with_code(gate: Gate, principal: object) -> None:
    """The same as a check."""
    if gate.handshake.header("x-code") is None:
        raise NoCredentials("no code")


@frozen
class Coded(Check[object]):
    """The same as a class."""

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Look for a code."""
        if gate.handshake.header("x-code") is None:
            raise NoCredentials("no code")


@check
async def anyway(gate: Gate, principal: object) -> None:
    """Everybody."""


async def tell(conn: Connection[object]) -> None:
    """Say who it is."""
    await conn.send(type(conn.principal).__name__)


async def outcome(door: Guard[Anonymous, object] | App, headers: dict[str, str]) -> int | str | bytes:
    """Who the client is, or the status of the refusal."""
    app = door if isinstance(door, App) else App()
    if isinstance(door, Guard):
        app.route("/", guard=door)(tell)
    try:
        async with connect(app, "/", headers=headers) as client:
            return await client.receive()
    except Rejected as rejected:
        return rejected.status


@guard
async def keyed(gate: Gate, proved: Anonymous) -> int:
    """A key in a header."""
    key = gate.handshake.header("x-key")
    if key is None:
        raise NoCredentials("no key")
    return int(key)


member = bearer(verifier)
started: Guard[Anonymous, Anonymous] = inherited(anyway)
NOTHING: dict[str, str] = {}
TOKEN = by(token("ada", seconds=3600))
CODE = {"X-Code": "1"}

#: Chains of which a later part wants a code.
HALF = {
    "a guard": (member >> second_factor) | public,
    "a guard behind a check": (member >> anyway >> second_factor) | public,
    "a guard in a chain": (member >> (anyway >> second_factor)) | public,
    "a guard in the middle": (member >> second_factor >> second_factor) | public,
    "a check": (member >> with_code) | public,
    "a check of a class": (member >> Coded()) | public,
    "a check among checks": (member >> (anyway >> with_code)) | public,
    "a check behind inherited": (member >> inherited(with_code)) | public,
    "a check before": (anyway >> member >> with_code) | public,
    "in an alternative": (keyed | (member >> second_factor)) | public,
    "after an alternative": ((keyed | member) >> second_factor) | public,
    "an alternative, later": (member >> (second_factor | (inherited() >> second_factor))) | public,
    "a long chain of alternatives": keyed | (member >> second_factor) | public,
    "an alternative on the right": keyed | ((member >> second_factor) | public),
}


@pytest.mark.parametrize("door", HALF.values(), ids=HALF)
async def test_mended_09_half_proved(door: Guard[Anonymous, object]) -> None:
    """Who has a token and no code is refused; who has nothing comes in as anonymous, who has both as themselves."""
    assert await outcome(door, TOKEN) == 401
    assert await outcome(door, NOTHING) == "Anonymous"
    assert await outcome(door, CODE) == "Anonymous"
    assert await outcome(door, TOKEN | CODE) in {"str", "Claims"}
    assert await outcome(door, by("nonsense") | CODE) == 401


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_09_half_proved_over_sockets(over: Transport) -> None:
    """Over every transport."""
    app = App(limits=SHORT)
    app.route("/", guard=HALF["a guard"])(tell)
    presented = b"Authorization: " + TOKEN["Authorization"].encode()
    async with serving(app, over) as place:
        assert await place.rejected(request("/", presented)) == 401
        client = await place.open("/")
        assert await client.frame() == Frame(TEXT, b"Anonymous")


async def test_mended_09_what_the_log_has() -> None:
    """It is `Unauthorized`, a policy's rule for `NoCredentials` is not asked, and the cause says what was missing."""
    reports: list[ErrorReport] = []
    rules = ErrorPolicy().on(NoCredentials, Refuse(418))
    app = App(report=reports.append, errors=rules)
    app.route("/", guard=HALF["a guard"])(tell)
    app.route("/none", guard=member)(tell)
    assert await outcome(app, TOKEN) == 401
    (report,) = reports
    assert type(report.exception) is Unauthorized
    assert isinstance(report.exception.__cause__, NoCredentials)
    with pytest.raises(Rejected) as caught:
        async with connect(app, "/none"):
            pass
    assert caught.value.status == 418


@pytest.mark.parametrize("refusal", [Unauthorized("x"), TokenExpired(), Forbidden("x"), ValueError()], ids=repr)
async def test_mended_09_other_refusals_stay(refusal: Exception) -> None:
    """What a later guard raises else comes out as it is."""

    @guard
    async def refuses(gate: Gate, proved: Claims) -> Claims:
        raise refusal

    reports: list[ErrorReport] = []
    app = App(report=reports.append)
    app.route("/", guard=(member >> refuses) | public)(tell)
    assert await outcome(app, TOKEN) in {401, 403, 500}
    assert [report.exception for report in reports] == [refusal]


#: Chains whose first guard finds no credential, wherever that stands.
NONE = {
    "a guard": member | public,
    "with a later one": (member >> second_factor) | public,
    "behind a check": (anyway >> member) | public,
    "behind checks": (anyway >> (anyway >> member)) | public,
    "behind inherited": (started >> member) | public,
    "behind a check and with a later one": (anyway >> (member >> second_factor)) | public,
    "in an alternative": ((keyed | member) >> anyway) | public,
    "scopes": (member >> has_scope("chat")) | public,
}


@pytest.mark.parametrize("door", NONE.values(), ids=NONE)
async def test_mended_09_nothing_is_presented(door: Guard[Anonymous, object]) -> None:
    """The first guard may say so: checks are skipped, and alternatives looked into."""
    assert await outcome(door, NOTHING) == "Anonymous"


async def test_mended_09_a_check_before_the_first_guard() -> None:
    """It is no guard, and cannot say that there is no credential."""
    assert await outcome((with_code >> member) | public, NOTHING) == 401
    assert await outcome((with_code >> member) | public, CODE) == "Anonymous"


async def test_mended_09_behind_a_mount() -> None:
    """It starts anew: the first guard of a route may find nothing, a later one may not; both for one who is proved."""
    for door, headers, expected in (
        (second_factor | inherited(), TOKEN, "Claims"),
        (second_factor | inherited(), TOKEN | CODE, "str"),
        (second_factor | inherited(), NOTHING, 401),
        ((second_factor >> anyway) | inherited(), TOKEN, "Claims"),
        ((again >> second_factor) | inherited(), TOKEN, 401),
        ((again >> second_factor) | inherited(), TOKEN | CODE, "str"),
    ):
        router: Router[Claims] = Router()
        router.route("/", guard=door)(tell)
        app = App()
        app.mount("/", router, guard=member)
        assert await outcome(app, headers) == expected


@guard
async def again(gate: Gate, proved: Claims) -> Claims:
    """Prove the same once more."""
    return proved


def test_mended_09_what_would_never_be_asked() -> None:
    """If the first guard always finds somebody, whatever follows it, the right side is dead."""
    for never in (public >> member, public >> second_factor, (public >> member) >> second_factor):
        with pytest.raises(ConfigurationError, match="would never be asked"):
            _ = never | public


async def test_mended_09_a_guard_that_need_not_prove() -> None:
    """Who has a token and no code is no stranger, where `inherited` lets pass who has none either."""
    door = ((member | started) >> second_factor) | public
    assert await outcome(door, TOKEN) == 401
    assert await outcome(door, NOTHING) == 401
    assert await outcome(door, TOKEN | CODE) == "str"
    with pytest.raises(ConfigurationError, match="would never be asked"):
        _ = ((member | inherited()) >> second_factor) | public


async def test_mended_09_without_an_alternative() -> None:
    """A chain alone says what its guards say."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append)
    app.route("/", guard=member >> second_factor)(tell)
    assert await outcome(app, TOKEN) == 401
    assert [type(report.exception) for report in reports] == [NoCredentials]


def test_mended_09_the_chain_is_what_it_was() -> None:
    """On the left side of ``|`` it takes the same path parameters, and needs a task as before."""

    @guard
    async def in_room(gate: Gate, proved: Claims, room: str) -> Claims:
        return proved

    @check
    async def at_hour(gate: Gate, principal: object, hour: int) -> None:
        pass

    chain = at_hour >> member >> in_room >> at_hour
    either = chain | public
    assert either.parameters() == chain.parameters()
    assert either.needs_task()
    assert not (member >> has_scope("chat") | public).needs_task()
    assert (bearer(verifier, header(), cookie("s")) >> has_scope("chat") | public).reads_cookie()
    assert not (member >> has_scope("chat") | public).reads_cookie()


class Saying:
    """Says of itself all that a step can say."""

    def takes_token(self) -> bool:
        """Say so."""
        return True

    def accepts(self) -> bool:
        """Say so."""
        return True

    def reads_cookie(self) -> bool:
        """Say so."""
        return True


@frozen
class SayingCheck(Saying, Check[object]):
    """As a check."""

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Let everybody through."""


@frozen
class SayingGuard(Saying, Guard[object, str]):
    """As a guard."""

    async def admit(self, gate: Gate, proved: object, /) -> str:
        """Let everybody in."""
        return "somebody"


@pytest.mark.parametrize(
    "chain",
    [
        keyed >> SayingCheck(),
        (keyed >> SayingCheck()) | public,
        keyed >> inherited(SayingCheck()),
        (keyed >> inherited(SayingCheck())) | public,
        (keyed >> SayingGuard()) | public,
        (SayingCheck() >> keyed) | public,
    ],
    ids=["a chain", "on the left", "inherited", "inherited, on the left", "a guard", "before the first"],
)
def test_what_a_step_says_of_itself_the_chain_says(chain: Guard[Anonymous, object]) -> None:
    """Wherever it stands in the chain."""
    assert chain.takes_token()
    assert chain.accepts()
    assert chain.reads_cookie()
