"""`RefreshToken`: a token that is exchanged once for the next one. Pure, but for chance.

It has two parts. The first is the same in all tokens of a session and finds the session; the second differs. Stores
know digests of it only, from which nobody can tell the token: each part has 128 bits of chance at least.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final, final

from attrs import field, frozen

from seawall.errors import Unauthorized
from seawall.mistakes import is_text

#: Bytes of the two parts.
FAMILY_SIZE: Final = 16
STEP_SIZE: Final = 32

#: The characters that the first makes in base64url, and both.
_FAMILY: Final = 22
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{65}")


@final
@frozen
class RefreshToken:
    """A refresh token."""

    text: str = field(repr=False)
    """As a client presents it."""

    @classmethod
    def drawn(cls) -> RefreshToken:
        """The first one of a session."""
        return cls(_encoded(secrets.token_bytes(FAMILY_SIZE)) + _encoded(secrets.token_bytes(STEP_SIZE)))

    @classmethod
    def parsed(cls, text: str) -> RefreshToken:
        """The one that `text` may be.

        Raises:
          Unauthorized: it can be none. The text is not repeated.
        """
        if not (is_text(text) and _SHAPE.fullmatch(text)):  # a field of JSON may be anything
            raise Unauthorized("refresh token refused: it is none")
        return cls(text)

    def successor(self, key: bytes) -> RefreshToken:
        """The next one of the session, which is always the same, and only who has `key` can tell."""
        step = hmac.digest(key, self.text.encode(), hashlib.sha256)
        return RefreshToken(self.text[:_FAMILY] + _encoded(step))

    @property
    def digest(self) -> bytes:
        """What is stored of it: 32 bytes."""
        return hashlib.sha256(b"token:" + self.text.encode()).digest()

    def family(self, owner: tuple[str, ...]) -> bytes:
        """What its session is found by: 32 bytes, which are others for another `owner`."""
        part = json.dumps([self.text[:_FAMILY], *owner]).encode()
        return hashlib.sha256(b"family:" + part).digest()

    @property
    def access_id(self) -> str:
        """The ``jti`` of the access token that is issued with it, always the same; nobody can tell the token by it."""
        return _encoded(hashlib.sha256(b"access:" + self.text.encode()).digest()[:FAMILY_SIZE])


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
