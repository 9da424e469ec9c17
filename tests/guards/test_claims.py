"""Claims of an application's own: an attrs class whose fields are claims, converted strictly."""

from __future__ import annotations

import datetime as dt
import enum
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Literal, NewType, cast

import attrs
import pytest
from attrs import field, frozen
from attrs.validators import ge, in_, max_len
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall import (
    App,
    Claims,
    ConfigurationError,
    Connection,
    TokenVerifier,
    Unauthorized,
    any_audience,
    any_issuer,
    bearer,
)
from seawall.testing import Rejected, connect
from seawall.tokens import AnyClaims, At
from tests.kit.tokens import SECRET, by, signed, token, verified


class Role(enum.Enum):
    """What somebody may be."""

    ADMIN = "admin"
    MEMBER = "member"


@frozen
class Address:
    """The standard claim of OpenID Connect, an object."""

    locality: str
    country: str = "NL"


def upper(text: str) -> str:
    """A converter."""
    return text.upper()


@frozen
class Group:
    """What may be part of another one."""

    of: Group | None = None


@frozen(kw_only=True)
class Grouped(Claims):
    """A claim that may be as deep as a token allows."""

    group: Group | None = None


@frozen(kw_only=True)
class Member(Claims):
    """Claims of many kinds."""

    email: str
    tenant: Annotated[str, At("tid")] = "none"
    roles: Annotated[frozenset[Role], At("realm_access", "roles")] = frozenset()
    team: Annotated[str | None, At("https://chat.example/team")] = None
    level: int = field(default=0, validator=ge(0))
    address: Address | None = None
    born: Annotated[dt.date | None, At("birthdate")] = None
    device: uuid.UUID | None = None
    plan: Literal["free", "paid"] = "free"
    weight: float = 1.0
    locale: str = field(default="EN", converter=upper, validator=max_len(5))
    nested: Annotated[int, At("a", "b", "c")] = 0
    _hidden: str = ""
    computed: str = field(init=False, default="here")


def verifier_of(claims: type[AnyClaims]) -> TokenVerifier[AnyClaims]:
    """A verifier that gives claims of this class."""
    return TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, claims=claims)


def made(claims: Mapping[str, object]) -> str:
    """A token of a member's, but for these claims."""
    return signed({"sub": "ada", "email": "a@b.example", "exp": time.time() + 60, **claims})


members = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, claims=Member)


def test_every_kind_of_claim() -> None:
    """Each field is of its type; claims that no field is for are only in `raw`."""
    presented = token(
        email="ada@example.org",
        tid="t1",
        realm_access={"roles": ["admin", "member"], "other": 1},
        address={"locality": "London", "street": "x"},
        birthdate="1815-12-10",
        device="12345678-1234-5678-1234-567812345678",
        plan="paid",
        weight=7,
        locale="en-gb",
        level=3,
        a={"b": {"c": 5}},
        _hidden="x",
        unknown=[1],
    )
    found = verified(presented, members)
    assert (found.subject, found.email, found.tenant) == ("ada", "ada@example.org", "t1")
    assert found.roles == {Role.ADMIN, Role.MEMBER}
    assert found.address == Address("London")
    assert (found.born, found.device) == (dt.date(1815, 12, 10), uuid.UUID("12345678-1234-5678-1234-567812345678"))
    assert (found.plan, found.weight, found.locale, found.level, found.nested) == ("paid", 7.0, "EN-GB", 3, 5)
    assert (found._hidden, found.computed) == ("x", "here")  # pyright: ignore[reportPrivateUsage]  # is a claim too
    assert found.raw["unknown"] == [1]


def test_a_claim_whose_name_is_no_identifier() -> None:
    """Providers put an address before the name of a claim of their customers'."""
    assert verified(made({"https://chat.example/team": "red"}), members).team == "red"


def test_defaults() -> None:
    """A claim that is not there is the field's default."""
    found = verified(token(email="a@b.example"), members)
    assert (found.tenant, found.roles, found.address, found.locale, found.nested) == (
        "none",
        frozenset(),
        None,
        "EN",
        0,
    )


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"email": None}, "email: missing"),
        ({"email": 7777}, "email: expected text, got an integer"),
        ({"email": ["7777"]}, "email: expected text, got an array"),
        ({"realm_access": {"roles": ["admin", "7777"]}}, "realm_access.roles[...]: expected one of the values"),
        ({"realm_access": {"roles": "7777"}}, "realm_access.roles: expected an array, got text"),
        ({"realm_access": "7777"}, "realm_access: expected an object"),
        ({"realm_access": {"roles": [7777]}}, "realm_access.roles[...]: expected"),
        ({"a": {"b": [7777]}}, "a.b: expected an object"),
        ({"a": {"b": {"c": "7777"}}}, "a.b.c: expected an integer, got text"),
        ({"a": {"b": {"c": True}}}, "a.b.c: expected an integer, got true or false"),
        ({"a": {"b": {"c": 7777.5}}}, "a.b.c: expected an integer"),
        ({"address": {}}, "address.locality: missing"),
        ({"address": {"locality": 7777}}, "address.locality: expected text, got an integer"),
        ({"level": -7777}, "level: refused by Member"),
        ({"locale": "7777777"}, "locale: refused by Member"),
        ({"locale": 7777}, "locale: expected text, got an integer"),
        ({"plan": "7777"}, "plan: expected one of the values"),
        ({"birthdate": "7777"}, "birthdate: expected a date of RFC 3339"),
        ({"device": "7777"}, "device: expected a UUID"),
        ({"weight": float("nan")}, "weight: expected a finite number"),
        ({"weight": "7777"}, "weight: expected a number, got text"),
        ({"https://chat.example/team": 7777}, "['https://chat.example/team']: expected text or null, got an integer"),
        ({"sub": None}, "sub is missing"),
        ({"sub": ""}, "sub is missing"),
    ],
    ids=str,
)
def test_a_claim_that_is_wrong(claims: dict[str, object], text: str) -> None:
    """The refusal has the claim's path and what was expected, and not what it is."""
    with pytest.raises(Unauthorized) as caught:
        verified(made(claims), members)
    assert text in str(caught.value).replace("roles[0]", "roles[...]").replace("roles[1]", "roles[...]")
    assert "7777" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["email", "tid", "realm_access", "address", "birthdate", "device", "plan", "weight", "locale", "a"]
        ),
        JSON_VALUES | st.fixed_dictionaries({"roles": JSON_VALUES}) | st.fixed_dictionaries({"b": JSON_VALUES}),
    )
)
def test_whatever_a_claim_is(claims: Mapping[str, object]) -> None:
    """A token is good or refused, whatever stands in its claims."""
    try:
        verified(made(claims), members)
    except Unauthorized:
        pass


UserId = NewType("UserId", str)


Untyped = attrs.make_class("Untyped", {"role": attrs.field()}, bases=(Claims,), frozen=True, kw_only=True)


@frozen(kw_only=True)
class Callback(Claims):
    """A field that no token can bring."""

    call: type = str


@frozen(kw_only=True)
class Subject(Claims):
    """A field that there is already."""

    subject: UserId  # what is refused


@frozen(kw_only=True)
class TwoPlaces(Claims):
    """A claim in two places."""

    role: Annotated[str, At("a"), At("b")]


class Undecorated(Claims):
    """No attrs class of its own."""

    role: str


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Untyped, r"Untyped\.role has no type; annotate it"),
        (Callback, r"Callback\.call"),
        (
            Subject,
            r"Subject\.subject is a field of Claims already, of the claim 'sub'; give it .*At\('sub'\)",
        ),
        (TwoPlaces, r"TwoPlaces\.role: a claim stands in one place; write one At"),
        (Undecorated, r"claims=Undecorated is no attrs class itself; put @frozen\(kw_only=True\) over it"),
        (dict, r"claims=<class 'dict'>; give an attrs class that is derived from Claims"),
        (Address, r"give an attrs class that is derived from Claims"),
        (None, r"claims=None; give an attrs class that is derived from Claims"),
    ],
)
def test_a_class_that_cannot_be_filled(kind: object, text: str) -> None:
    """Is refused where the verifier is made, with the remedy."""
    with pytest.raises(ConfigurationError, match=text):
        verifier_of(cast("type[AnyClaims]", kind))


@pytest.mark.parametrize("names", [(), ("",), (5,), ("a", None)], ids=repr)
def test_at_names_a_claim(names: tuple[str, ...]) -> None:
    """Nothing, and what is no text, is an error where it is written."""
    with pytest.raises(ConfigurationError, match=r"^At.*: name the claim, as in At\('tid'\)"):
        At(*names)


def test_mappings_by_what_is_no_text() -> None:
    """JSON has keys of text alone; they are converted, and refused if they stand for nothing."""

    @frozen(kw_only=True)
    class Keyed(Claims):
        seats: dict[int, str] = field(factory=dict[int, str])
        rooms: dict[uuid.UUID, int] = field(factory=dict[uuid.UUID, int])
        born: dict[dt.date, int] = field(factory=dict[dt.date, int])

    by_it = verifier_of(Keyed)
    room = uuid.UUID("12345678-1234-5678-1234-567812345678")
    found = cast(
        "Keyed", verified(made({"seats": {"7": "a"}, "rooms": {str(room): 1}, "born": {"1815-12-10": 1}}), by_it)
    )
    assert (found.seats, found.rooms, found.born) == ({7: "a"}, {room: 1}, {dt.date(1815, 12, 10): 1})
    with pytest.raises(Unauthorized, match=r"seats\[\.\.\.\]: expected an integer"):
        verified(made({"seats": {"seven": "a"}}), by_it)


def test_at_a_registered_claim() -> None:
    """It can be had once more, under another name and type."""

    @frozen(kw_only=True)
    class Named(Claims):
        who: Annotated[str, At("sub")]

    assert cast("Named", verified(token("ada"), verifier_of(Named))).who == "ada"


def test_claims_about_nobody() -> None:
    """`AnyClaims` waives the subject, also for a class of one's own."""

    @frozen(kw_only=True)
    class Service(AnyClaims):
        client_id: str

    found = verified(token(None, client_id="bot"), verifier_of(Service))
    assert found.subject is None
    assert cast("Service", found).client_id == "bot"


def test_a_derived_class() -> None:
    """A class of claims may be derived from another one."""

    @frozen(kw_only=True)
    class Admin(Member):
        desk: str = field(validator=in_(["a", "b"]))

    found = cast("Admin", verified(token(email="a@b.example", desk="a"), verifier_of(Admin)))
    assert (found.email, found.desk) == ("a@b.example", "a")
    with pytest.raises(Unauthorized, match=r"desk: refused by Admin"):
        verified(token(email="a@b.example", desk="c"), verifier_of(Admin))


def test_a_claim_that_is_nested_too_deeply() -> None:
    """JSON may be deeper than objects can be made; it is refused for that, and not for what a validator would say."""
    groups = verifier_of(Grouped)

    def refused(depth: int) -> str | None:
        group: dict[str, object] = {}
        for _ in range(depth):
            group = {"of": group}
        try:
            verified(made({"group": group}), groups)
        except Unauthorized as error:
            return str(error)
        return None

    assert refused(100) is None
    assert refused(700) == "token refused: group: nested too deeply"
    assert {refused(depth) for depth in range(200, 700, 10)} <= {None, refused(700)}


def test_claims_are_compared_and_shown_without_the_rest() -> None:
    """`raw` is not in the text, so that what no field is for is not in a log."""
    found = verified(token(email="a@b.example", secret_claim="5ecret"), members)
    assert "5ecret" not in repr(found)
    assert attrs.evolve(found, email="x").email == "x"


async def test_the_log_says_what_keycloak_needs(caplog: pytest.LogCaptureFixture) -> None:
    """A token without a subject is a 401; its line in the log names the remedy, and the peer reads nothing of it."""
    app = App()

    @app.route("/", guard=bearer(members))
    async def handler(conn: Connection[Member]) -> None:
        await conn.send(conn.principal.email)

    with caplog.at_level(logging.WARNING, "seawall.connection"), pytest.raises(Rejected) as caught:
        async with connect(app, "/", headers=by(token(None, email="a@b.example"))):
            pass
    assert caught.value.status == 401
    assert "Keycloak" not in str(caught.value)
    assert "the client scope 'basic'" in caplog.text
    async with connect(app, "/", headers=by(token(email="a@b.example"))) as client:
        assert await client.receive() == "a@b.example"
