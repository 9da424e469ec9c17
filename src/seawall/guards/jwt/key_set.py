"""`KeySet`: the public keys that an issuer publishes as a JSON Web Key Set (RFC 7517). Pure: it fetches nothing.

PyJWT makes keys of JWKs. This module refuses what PyJWT would take: secrets and private keys, which everybody may have
read where they are published; keys for encryption; RSA keys that are too short; and two keys of one name. A key that
does not say its algorithm serves the only one that its type and curve leave among the verifier's, whatever a token
says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast, final

import jwt
from attrs import field, frozen

from seawall.guards.jwt.algorithms import ALGORITHMS, CURVES, RSA, RSA_BITS, Algorithm
from seawall.guards.jwt.key_table import MAX_KID, KeyTable, PublicKey, VerificationKey, rsa_bits
from seawall.guards.jwt.unverified import TokenHeader

#: Keys of a set that are looked at: issuers have two or three, a few have a dozen.
MAX_KEYS: Final = 100

#: Members that only a secret or a private key has (RFC 7518, section 6; RFC 8037, section 2).
PRIVATE: Final = ("k", "d", "p", "q", "dp", "dq", "qi", "oth")


class MalformedKeySet(Exception):
    """This is no key set, or none of its keys can be used. The text says why, and nothing of a key but its place."""


@final
@frozen
class PublishedKey:
    """A key of a set, and the algorithms that it may serve: one, or, if it does not say, those of its type."""

    kid: str | None
    algorithms: frozenset[Algorithm]
    material: PublicKey = field(repr=False)


@final
@frozen
class KeySet:
    """The usable keys of an issuer."""

    keys: tuple[PublishedKey, ...]
    skipped: tuple[str, ...]
    """What is wrong with each key that was skipped, by its place in the set. It is for a line of the log."""
    _tables: dict[tuple[Algorithm, ...], KeyTable] = field(
        init=False, repr=False, eq=False, factory=dict[tuple[Algorithm, ...], KeyTable]
    )

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...]) -> VerificationKey | None:
        """The key of a token with this header, for a verifier of these algorithms; None if none or several fit."""
        table = self._tables.get(algorithms)
        if table is None:
            table = self._tables[algorithms] = KeyTable(self._bound(algorithms))
        return table.find(header, 0.0)

    def has(self, kid: str) -> bool:
        """Whether there is a key of this name: if not, the issuer may have a newer set."""
        return any(key.kid == kid for key in self.keys)

    def undecided(self, header: TokenHeader, algorithms: tuple[Algorithm, ...]) -> frozenset[Algorithm]:
        """Those of `algorithms` that a key of a token with this header may serve, if it does not say which one."""
        for key in self.keys:
            served = key.algorithms.intersection(algorithms)
            if header.kid in (None, key.kid) and header.algorithm in served and len(served) > 1:
                return served
        return frozenset()

    def _bound(self, algorithms: tuple[Algorithm, ...]) -> list[VerificationKey]:
        """The keys that serve exactly one of `algorithms`."""
        bound = list[VerificationKey]()
        for key in self.keys:
            served = key.algorithms.intersection(algorithms)
            if len(served) == 1:
                bound.append(VerificationKey(kid=key.kid, algorithm=min(served), material=key.material))
        return bound


class _Unusable(Exception):
    """A key is skipped, and its owner should know."""


class _NotOurs(Exception):
    """A key is for something else than tokens, or of a kind that we do not know (RFC 7517, section 5)."""


Jwk: TypeAlias = Mapping[str, object]


def parse_key_set(data: bytes) -> KeySet:
    """The keys of a JSON Web Key Set.

    Keys that are no good are skipped, and named in `KeySet.skipped`; those that are for encryption, and those of a kind
    that is not known here, are skipped in silence, because many issuers have some.

    Raises:
      MalformedKeySet: this is no such set, or no key of it can be used.
    """
    keys = list[PublishedKey]()
    skipped, others = list[str](), list[str]()
    entries = _entries(data)
    for place, entry in enumerate(entries[:MAX_KEYS], 1):
        try:
            key = _key(entry)
        except _Unusable as error:
            skipped.append(f"key {place}: {error}")
        except _NotOurs as error:
            others.append(f"key {place}: {error}")
        else:
            if key not in keys:
                keys.append(key)
    if len(entries) > MAX_KEYS:
        skipped.append(f"keys {MAX_KEYS + 1} to {len(entries)}: {MAX_KEYS} are the most that are looked at")
    if not keys:
        raise MalformedKeySet(f"no key can be used: {'; '.join((*skipped, *others)) or 'there is none'}")
    skipped += _ambiguous(keys)
    return KeySet(tuple(keys), tuple(skipped))


def _ambiguous(keys: Sequence[PublishedKey]) -> list[str]:
    """What is said of keys that a token cannot tell apart; RFC 7517, section 4.5, lets one of each type have a name."""
    counted = Counter((key.kid, algorithm) for key in keys if key.kid is not None for algorithm in key.algorithms)
    names = dict.fromkeys(kid for (kid, _), count in counted.items() if count > 1)
    return [f"kid {kid!r}: several keys have it for one algorithm, and none of these is used" for kid in names]


@final
class _Repeated:
    """An object of JSON that has a member twice: parsers differ in which of the two they take."""


def _once(members: list[tuple[str, object]]) -> Jwk | _Repeated:
    return found if len(found := dict(members)) == len(members) else _Repeated()


def _entries(data: bytes) -> list[object]:
    try:
        decoded: object = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except Exception as error:  # noqa: BLE001 - json raises RecursionError too
        raise MalformedKeySet(f"it is no JSON ({type(error).__name__})") from None
    keys = cast("Jwk", decoded).get("keys") if isinstance(decoded, dict) else None
    if not isinstance(keys, list):
        raise MalformedKeySet("it is no key set; one is an object with a list of `keys` (RFC 7517, section 5)")
    return cast("list[object]", keys)


def _key(entry: object) -> PublishedKey:
    if isinstance(entry, _Repeated):
        raise _Unusable("it has a member twice")
    if not isinstance(entry, dict):
        raise _Unusable("it is no object")
    jwk = cast("Jwk", entry)
    _check_purpose(jwk)
    algorithms = _algorithms(jwk)
    if jwk.get("kty") == "oct" or any(member in jwk for member in PRIVATE):
        raise _Unusable("it is a secret or a private key, which everybody can read here")
    kid = jwk.get("kid")
    if not (kid is None or (isinstance(kid, str) and len(kid) <= MAX_KID)):
        raise _Unusable("its kid is no text, or is too long")
    return PublishedKey(kid, algorithms, _material(jwk, min(algorithms)))


def _check_purpose(jwk: Jwk) -> None:
    """Refuse a key that is not for verifying (RFC 7517, sections 4.2 and 4.3)."""
    if jwk.get("use") not in (None, "sig"):
        raise _NotOurs("it is not for signatures (use)")
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise _NotOurs("it is not for verifying (key_ops)")


def _algorithms(jwk: Jwk) -> frozenset[Algorithm]:
    """Those that the key may serve: the one that it names, if that fits its type and curve, or all of its type."""
    served = _of_type(jwk)
    named = jwk.get("alg")
    if named is None:
        return served
    if named not in ALGORITHMS:
        raise _NotOurs("its algorithm is not known here (alg)")
    if named not in served:
        raise _Unusable("its algorithm does not fit its type or its curve (alg)")
    return served.intersection({named})


def _of_type(jwk: Jwk) -> frozenset[Algorithm]:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            return RSA
        case "EC", str(curve) if curve in CURVES:
            return frozenset({CURVES[curve]})
        case "OKP", "Ed25519" | "Ed448":
            return frozenset({"EdDSA"})
        case "oct", _:
            return frozenset({"HS256", "HS384", "HS512"})
        case _:
            raise _NotOurs("its type or curve is not known here (kty, crv)")


def _material(jwk: Jwk, algorithm: Algorithm) -> PublicKey:
    try:
        material = cast("PublicKey", jwt.PyJWK(dict(jwk), algorithm).key)
    except Exception as error:  # noqa: BLE001 - what cryptography, int() and base64 raise on odd members
        raise _Unusable(f"it is malformed ({type(error).__name__})") from None
    if (bits := rsa_bits(material)) is not None and bits not in RSA_BITS:
        raise _Unusable(
            f"it is an RSA key of {bits} bits; {RSA_BITS.start} are the least, {RSA_BITS.stop - 1} the most"
        )
    return material
