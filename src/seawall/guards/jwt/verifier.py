"""`TokenVerifier`: verifies JSON Web Tokens (RFC 7519) with the defaults of RFC 8725."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, Unpack, cast, final, overload

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.claims import AnyClaims, Claims
from seawall.guards.jwt.keys import Keys, key_source
from seawall.guards.jwt.one_issuer import MAX_TOKEN, OneIssuer, Proof
from seawall.guards.jwt.own_claims import ClaimsReader
from seawall.guards.jwt.rules import CheckedRules, Rules, any_issuer, check_rules
from seawall.guards.jwt.unverified import issuer_of
from seawall.guards.service import Service, Serviced, services_of

A = TypeVar("A", bound=AnyClaims)
B = TypeVar("B", bound=AnyClaims)
D = TypeVar("D", bound=AnyClaims)
E = TypeVar("E", bound=AnyClaims)

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    C_co = DefaultTypeVar("C_co", bound=AnyClaims, covariant=True, default=Claims)
else:
    C_co = TypeVar("C_co", bound=AnyClaims, covariant=True)


@final
class TokenVerifier(Serviced, Generic[C_co]):
    """Verifies tokens.

    ::

        verifier = TokenVerifier(secret, algorithms=["HS256"], audience="chat", issuer="https://id.example")

    Raises:
      ConfigurationError: no or an unknown algorithm; keys that do not serve it, or protect nothing; an audience or an
        issuer that is neither named nor waived; a class of claims that cannot be filled from a token; a leeway, a skew
        or a lifetime that is no number of seconds.
    """

    @overload
    def __init__(self: TokenVerifier[Claims], keys: Keys, **rules: Unpack[Rules]) -> None: ...
    @overload
    def __init__(self, keys: Keys, *, claims: type[C_co], **rules: Unpack[Rules]) -> None: ...
    def __init__(self, keys: Keys, *, claims: type[AnyClaims] = Claims, **rules: Unpack[Rules]) -> None:
        """Verify tokens that were signed with `keys`.

        Args:
          keys: a secret, as text or bytes: at least 32 bytes for HS256, 48 for HS384, 64 for HS512; a public key, as
            the text or bytes of a PEM or as the path of a file with one; a `Key`, a `KeyRing` or a `JWKS`.
          claims: the class of what `verify` returns: `Claims`, or an attrs class derived from it, whose fields are
            claims of the token.
          rules: what is demanded of a token; see `Rules`.
        """
        check_rules(rules)
        checked = CheckedRules(**rules)
        reader = ClaimsReader(cast("type[C_co]", claims))  # as the overloads say
        self._issuers: tuple[OneIssuer[C_co], ...] = (OneIssuer(key_source(keys, checked.algorithms), checked, reader),)

    def __repr__(self) -> str:
        """What is demanded, without the keys."""
        return f"TokenVerifier({', '.join(repr(one.rules) for one in self._issuers)})"

    def services(self) -> tuple[Service, ...]:
        """What a server has to run for its keys; `bearer` names it."""
        return services_of(*(one.keys for one in self._issuers))

    async def verify(self, token: str, /) -> C_co:
        """The claims of `token`. It waits only where a key has to be fetched.

        Raises:
          TokenExpired: it was good once.
          Unauthorized: anything else is wrong with it. The text does not repeat the token.
          Unavailable: the keys cannot be fetched.
        """
        return await self._picked(token).verify(token)

    async def prove(self, token: str, /) -> Proof[C_co]:
        """The claims of `token`, and how long they hold. Raises as `verify`."""
        one = self._picked(token)
        return one.proof(await one.verify(token))

    def _picked(self, token: str) -> OneIssuer[C_co]:
        """The issuer that the token names, which has not been verified."""
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"token of more than {MAX_TOKEN} characters")
        if len(self._issuers) == 1:
            return self._issuers[0]
        issuer = issuer_of(token)
        for one in self._issuers:
            if one.rules.is_of(issuer):
                return one
        raise Unauthorized("token refused: of another issuer")


@overload
def by_issuer(first: TokenVerifier[A], second: TokenVerifier[B], /) -> TokenVerifier[A | B]: ...
@overload
def by_issuer(
    first: TokenVerifier[A], second: TokenVerifier[B], third: TokenVerifier[D], /
) -> TokenVerifier[A | B | D]: ...
@overload
def by_issuer(
    first: TokenVerifier[A], second: TokenVerifier[B], third: TokenVerifier[D], fourth: TokenVerifier[E], /
) -> TokenVerifier[A | B | D | E]: ...
@overload
def by_issuer(first: TokenVerifier[A], second: TokenVerifier[A], /, *more: TokenVerifier[A]) -> TokenVerifier[A]: ...
def by_issuer(*verifiers: TokenVerifier[AnyClaims]) -> TokenVerifier[AnyClaims]:
    """A verifier of the tokens of several issuers.

    The ``iss`` of a token, which has not been verified then, picks the verifier, and that one alone decides: a token
    that names one issuer and is signed with the key of another is refused.

    Raises:
      ConfigurationError: two have one issuer, or one accepts any.
    """
    several = cast("TokenVerifier[AnyClaims]", object.__new__(TokenVerifier))
    several._issuers = tuple(one for verifier in verifiers for one in _issuers_of(verifier))  # pyright: ignore[reportPrivateUsage]  # its own module
    _check_distinct(several._issuers)  # pyright: ignore[reportPrivateUsage]  # as above
    return several


def _issuers_of(verifier: object) -> tuple[OneIssuer[AnyClaims], ...]:
    if not isinstance(verifier, TokenVerifier):
        raise ConfigurationError(f"by_issuer() was given a {type(verifier).__name__}; give it verifiers")
    return cast("TokenVerifier[AnyClaims]", verifier)._issuers  # pyright: ignore[reportPrivateUsage]  # its own module


def _check_distinct(issuers: tuple[OneIssuer[AnyClaims], ...]) -> None:
    if len(issuers) < 2:
        raise ConfigurationError("by_issuer() was given no two verifiers; give it one for each issuer")
    for at, one in enumerate(issuers):
        if one.rules.issuer is any_issuer:
            raise ConfigurationError(
                "by_issuer(): a verifier with any_issuer would take the tokens of the others; name its issuer"
            )
        for other in issuers[:at]:
            if one.rules.overlaps(other.rules):
                raise ConfigurationError(
                    f"by_issuer(): two verifiers of the issuer {one.rules.issuer!r}; leave one of them out, or give "
                    "one verifier both keys"
                )
