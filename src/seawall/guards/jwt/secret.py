"""What is wrong with a shared secret, apart from its size: everybody knows it, or it can be guessed. Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final

#: The fewest different bytes of a secret. One that was drawn by chance has more: of 32 hexadecimal digits one in ten
#: thousand has fewer, and of 64 digits, of base64 and of plain bytes practically none.
MIN_DIFFERENT: Final = 10

#: Secrets of examples, in lower case, that are long enough for one of the algorithms. Whoever has read the page they
#: stand on can sign a token for anybody.
KNOWN: Final = frozenset(
    {
        b"only for trying it out, not for anything real",  # Seawall's own README, once
        b"a-string-secret-at-least-256-bits-long",  # jwt.io, for HS256, HS384 and HS512
        b"a-valid-string-secret-that-is-at-least-384-bits-long",
        b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        b"your-super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase's docker-compose
        b"super-secret-jwt-token-with-at-least-32-characters-long",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
        b"3ek6fd+o0+c7tzbnvfjpmkndi2yaraakzqlk8o2ikoxqu4nf7edah8s3twphwrdwt6r",  # Hasura's documentation
        b"404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",  # tutorials of Spring Boot
        b"change_me_to_a_complex_random_secret",  # Superset's configuration
        b"my-32-character-ultra-secure-and-ultra-long-secret",  # tutorials of Node.js
    }
)


def weakness_of(secret: bytes) -> str | None:
    """Why `secret` protects nothing, as the end of a sentence; None if nothing is known against it."""
    if secret.strip(b" \t\r\n").lower() in KNOWN:
        return "stands in an example that everybody can read"
    if (different := len(set(secret))) < MIN_DIFFERENT:
        return f"has only {different} different bytes, and one that was drawn by chance has at least {MIN_DIFFERENT}"
    return None


def is_encoded_key(secret: bytes) -> bool:
    """Whether `secret` is a public or private key or a certificate: as DER, or as what stands between a PEM's lines.

    PyJWT refuses whole PEMs, and DER where cryptography is installed; what else is left of a key is random enough for a
    secret, but if it is public, everybody can sign with it.
    """
    if b"-----BEGIN" in secret or b"-----END" in secret or _is_der(secret):
        return True
    joined = secret.translate(bytes.maketrans(b"-_", b"+/"), delete=b" \t\r\n=")
    try:
        decoded = b64decode(joined + b"=" * (-len(joined) % 4), validate=True)
    except binascii.Error:
        return False
    return _is_der(decoded) or decoded[4:].startswith((b"ssh-", b"ecdsa-sha2-"))


def _is_der(data: bytes) -> bool:
    """Whether `data` is a SEQUENCE, as long as it says, of which the first member is a SEQUENCE or an INTEGER.

    So are SubjectPublicKeyInfo, X.509's certificates, and what PKCS #1, PKCS #8 and SEC 1 make of keys; of random bytes
    it is one in millions.
    """
    if len(data) < 4 or data[0] != 0x30:
        return False
    more = data[1] & 0x7F if data[1] > 0x7F else 0
    size = int.from_bytes(data[2 : 2 + more]) if more else data[1]
    return len(data) == 2 + more + size and data[2 + more : 3 + more] in {b"\x30", b"\x02"}
