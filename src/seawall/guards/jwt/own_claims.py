"""`ClaimsReader`: from the payload of a token to an application's own class of claims."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Generic, TypeVar, cast, final

from attrs import frozen

from seawall.errors import ConfigurationError, InvalidMessage
from seawall.guards.jwt.claims import AnyClaims, Claims, MalformedClaim, registered_claims
from seawall.messages.fields import FieldSpec, attrs_fields, fields_of
from seawall.messages.forms import arguments_of, origin_of
from seawall.messages.parts import PartReader
from seawall.messages.records import first_refusal
from seawall.mistakes import is_text

C = TypeVar("C", bound=AnyClaims)

#: The fields that every class of claims has, and the claim that each is of.
_REGISTERED: Final[Mapping[str, str]] = {
    "subject": "sub",
    "issuer": "iss",
    "audience": "aud",
    "expires_at": "exp",
    "issued_at": "iat",
    "not_before": "nbf",
    "token_id": "jti",
    "session_id": "sid",
    "scopes": "scope",
    "raw": "raw",
}

#: A name that can stand in a path without quotes.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_NO_SUBJECT: Final = (
    "sub is missing; if nobody is meant, give the verifier claims=AnyClaims. Keycloak says it where the client scope "
    "'basic' is one of the client's default scopes"
)


@final
class At:
    """Where a claim stands, if not at the top under the name of the field: ``Annotated[str, At("tid")]``.

    Args:
      names: of the claim, or of the objects that it stands in and then of the claim: ``At("realm_access", "roles")``.

    Raises:
      ConfigurationError: there is no name, or one that is no text.
    """

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        if not names or not all(is_text(name) and name for name in names):
            raise ConfigurationError(f"At{names!r}: name the claim, as in At('tid') or At('realm_access', 'roles')")
        self.names = names

    def __repr__(self) -> str:
        """As it was written."""
        return f"At({', '.join(map(repr, self.names))})"


@final
@frozen
class _Field:
    """One field of an application's own."""

    argument: str
    """Of the parameter of the class."""
    names: tuple[str, ...]
    """Where the claim stands."""
    path: str
    """The same, for messages."""
    required: bool
    reader: PartReader

    def find(self, payload: Mapping[str, object]) -> tuple[object, ...]:
        """What stands there, or nothing.

        Raises:
          MalformedClaim: it would have to stand in something that is no object.
        """
        found: object = payload
        for at, name in enumerate(self.names):
            inside = _object(found)
            if inside is None:
                raise MalformedClaim(f"{_path(self.names[:at])}: expected an object")
            if name not in inside:
                return ()
            found = inside[name]
        return (found,)


@final
class ClaimsReader(Generic[C]):
    """Makes instances of one class of claims."""

    def __init__(self, kind: type[C]) -> None:
        """Look at the class.

        Raises:
          ConfigurationError: it is no attrs class derived from `AnyClaims`; a field cannot be filled from a token, or
            has the name of one of `AnyClaims`.
        """
        _check_class(kind)
        self.kind = kind
        self._make = cast("Callable[..., C]", kind)  # type: ignore[explicit-any]  # with the fields that it has
        self._needs_subject = issubclass(kind, Claims)
        own = [spec for spec in fields_of(kind, {}, kind.__name__) if spec.name not in _REGISTERED]
        self._fields = tuple(_field(spec, kind) for spec in own)

    def read(self, payload: Mapping[str, object], *, now: float, max_lifetime: float) -> C:
        """The claims of a verified payload; see `registered_claims`.

        Raises:
          MalformedClaim: a claim is missing, or is not what its field is. The text has its path and not its value.
        """
        given = registered_claims(payload, now=now, max_lifetime=max_lifetime)
        if self._needs_subject and not given["subject"]:
            raise MalformedClaim(_NO_SUBJECT)
        for field in self._fields:
            found = field.find(payload)
            if found:
                try:
                    given[field.argument] = field.reader.read(found[0], field.path)
                except InvalidMessage as error:
                    raise MalformedClaim(f"{error.path}: {error.detail}") from None
            elif field.required:
                raise MalformedClaim(f"{field.path}: missing")
        try:
            return self._make(**given)
        except Exception:  # noqa: BLE001 - whatever a validator raises, and its text has the value
            raise MalformedClaim(self._fault(given)) from None

    def _fault(self, given: Mapping[str, object]) -> str:
        """Which claim a validator or a converter of the class has refused."""
        try:
            name, _ = first_refusal(self.kind, given) or ("", None)
        except Exception:  # noqa: BLE001 - an instance of this class cannot be made without its __init__
            name = ""
        arguments = {attribute.name: attribute.alias for attribute in attrs_fields(self.kind)}
        path = next((field.path for field in self._fields if field.argument == arguments.get(name)), "a claim")
        return f"{path}: refused by {self.kind.__name__}"


def _check_class(kind: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, AnyClaims)):
        raise ConfigurationError(
            f"TokenVerifier: claims={kind!r}; give an attrs class that is derived from Claims, "
            "@frozen(kw_only=True) class Member(Claims)"
        )
    if "__attrs_attrs__" not in vars(kind):
        raise ConfigurationError(
            f"TokenVerifier: claims={kind.__name__} is no attrs class itself; put @frozen(kw_only=True) over it"
        )
    for owner in kind.__mro__[: kind.__mro__.index(Claims if issubclass(kind, Claims) else AnyClaims)]:
        for name in vars(owner).get("__annotations__", {}):
            if name in _REGISTERED:
                raise ConfigurationError(
                    f"{kind.__name__}.{name} is a field of Claims already, of the claim {_REGISTERED[name]!r}; give "
                    f"it another name, and Annotated[..., At({_REGISTERED[name]!r})]"
                )


def _field(spec: FieldSpec, kind: type) -> _Field:
    where = f"{kind.__name__}.{spec.name}"
    names: tuple[str, ...] = (spec.name,)
    annotation = spec.type
    if origin_of(annotation) is Annotated:
        inner, *metadata = arguments_of(annotation)
        places = [one for one in metadata if isinstance(one, At)]
        if len(places) > 1:
            raise ConfigurationError(f"{where}: a claim stands in one place; write one At")
        if places:
            names = places[0].names
            rest = tuple(one for one in metadata if not isinstance(one, At))
            annotation = Annotated[(inner, *rest)] if rest else inner
    accepts = annotation if spec.attribute is None or spec.attribute.converter is None else spec.accepts
    return _Field(
        argument=spec.argument,
        names=names,
        path=_path(names),
        required=spec.default is None,
        reader=PartReader(accepts, where),
    )


def _object(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _path(names: tuple[str, ...]) -> str:
    return "".join(f".{name}" if _PLAIN.fullmatch(name) else f"[{name!r}]" for name in names).removeprefix(".")
