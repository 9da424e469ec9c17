"""`SigningKey`: a key that signs tokens, for an application that is its own issuer."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, final

import jwt
from attrs import Factory, field, frozen
from jwt.algorithms import has_crypto

from seawall.errors import ConfigurationError
from seawall.guards.jwt.algorithms import SECRET_SIZES, Algorithm, check_algorithms
from seawall.guards.jwt.key import Key, check_kid
from seawall.guards.jwt.material import Material, bytes_of, prepared

if TYPE_CHECKING or has_crypto:  # the extra `crypto`
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )

#: A private key.
PrivateKey: TypeAlias = "RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey"

#: What a derived ``kid`` is of. No token begins so, and so no signature is the same.
_KID: Final = b"seawall: kid"

#: Bytes of the hash that make a derived ``kid``.
_KID_SIZE: Final = 12


@final
@frozen(kw_only=True)
class _Signing:
    """A key that has been parsed."""

    material: bytes | PrivateKey
    """What PyJWT signs with."""
    private: bytes
    """What other keys are derived from: the secret, or the private key as PKCS #8 (DER)."""
    public: bytes
    """What verifies: the secret, or the PEM of the public key."""
    kid: str
    """A name that is derived from it."""


@final
@frozen
class SigningKey:
    """A key that signs tokens with one algorithm, and verifies them.

    ::

        SigningKey("2026-03", Path("private.pem"), "ES256")

    A public key of its own is not needed: its public half verifies.

    Raises:
      ConfigurationError: the material is no key that can sign with the algorithm, or one that protects nothing; the
        `kid` is no text.
    """

    kid: str | None
    """How its tokens name it, in their header; None: by a name that is derived from the key."""
    material: Material = field(repr=False)
    """A secret for HS*, as text or bytes: 32 bytes for HS256, 48 for HS384, 64 for HS512. For all others a private key
    without a passphrase: a PEM, as text, bytes or the path of a file, which is read at once."""
    algorithm: Algorithm
    """The algorithm that it signs with."""
    _signing: _Signing = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: self._parsed(), takes_self=True)
    )
    verifying: Key = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: self._verifying(), takes_self=True)
    )
    """What verifies its tokens, with the `kid` that they have. For HS* that is the secret."""

    def _parsed(self) -> _Signing:
        check_kid(self.kid, "SigningKey")
        where = "SigningKey"
        check_algorithms((self.algorithm,), where)
        return (_secret if self.algorithm in SECRET_SIZES else _private)(where, self.material, self.algorithm)

    def _verifying(self) -> Key:
        return Key(self._signing.kid if self.kid is None else self.kid, self._signing.public, self.algorithm)

    def sign(self, claims: Mapping[str, object], *, type: str) -> str:  # noqa: A002 - as `Rules` has it
        """A token.

        Args:
          claims: what it says, as JSON.
          type: the ``typ`` of its header.
        """
        headers = {"kid": self.verifying.kid, "typ": type}
        return jwt.encode(dict(claims), self._signing.material, algorithm=self.algorithm, headers=headers)

    def derived(self, label: bytes) -> bytes:
        """A secret of 32 bytes that only who has the key knows: HMAC-SHA256 of `label`.

        Args:
          label: what it is for. It has a colon, which no token has, so that it is none of the signatures of HS256.
        """
        return hmac.digest(self._signing.private, label, hashlib.sha256)


def _secret(where: str, given: object, algorithm: Algorithm) -> _Signing:
    if isinstance(given, str | bytes) and b"PRIVATE KEY-----" in bytes_of(where, given):
        raise ConfigurationError(
            f"{where}: a private key does not sign with {algorithm}, which takes a secret; name its algorithm: "
            "SigningKey(None, pem, 'ES256')"
        )
    secret = prepared(where, given, (algorithm,))
    assert isinstance(secret, bytes)  # noqa: S101 - as the algorithm says
    return _Signing(material=secret, private=secret, public=secret, kid=_kid(hmac.digest(secret, _KID, hashlib.sha256)))


def _private(where: str, given: object, algorithm: Algorithm) -> _Signing:
    pem = bytes_of(where, given)
    if (mistake := _mistake(pem)) is not None:
        raise ConfigurationError(f"{where}: {algorithm} signs with a private key; {mistake}")
    try:
        key: object = load_pem_private_key(pem, password=None)
    except Exception:  # noqa: BLE001 - cryptography raises several kinds, some of which quote what was given
        newlines = r'; its ends of lines are backslashes: text.replace("\\n", "\n")' if rb"\n" in pem else ""
        raise ConfigurationError(f"{where}: the PEM of the private key cannot be parsed{newlines}") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey):
        raise ConfigurationError(f"{where}: a private key of this kind signs with no algorithm that is served here")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    prepared(where, public, (algorithm,))
    return _Signing(
        material=key,
        private=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        public=public,
        kid=_kid(hashlib.sha256(_KID + public).digest()),
    )


def _mistake(pem: bytes) -> str | None:
    """Why this is not the PEM of one private key, and what to do; None if it may be one."""
    if b"ENCRYPTED" in pem:
        return "this one is encrypted; decrypt it where it is kept: openssl pkey -in encrypted.pem -out private.pem"
    if b"OPENSSH PRIVATE KEY" in pem:
        return "this is one of SSH; ssh-keygen -p -m PKCS8 -f FILE rewrites those of RSA and EC as a PEM"
    keys = pem.count(b"PRIVATE KEY-----") // 2
    if keys > 1:
        return "this holds several keys; give one of them"
    if keys == 0 and b"-----BEGIN" in pem:
        return "this holds none; the private key is what the public one was made from"
    if keys == 0:
        return "this is no PEM; a file is given by its path: pathlib.Path('private.pem')"
    return None


def _kid(digest: bytes) -> str:
    return urlsafe_b64encode(digest[:_KID_SIZE]).decode()
