"""`DeviceMarks`: how a browser shows that somebody has logged in to an account with it before. Pure, but for chance.

Whoever tries many passwords for an account uses up the tries that it has in a minute, and would keep its owner out. A
browser that has been let in once is therefore counted by itself (OWASP, "Slow Down Online Guessing Attacks with Device
Cookies"). What it keeps is a mark for each account, of the last four: chance, a time, and what only the server's key
can make of these and the account's name. It names nobody, and is worth nothing for another account.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, final

#: Seconds for which a mark is good: a year.
LIFETIME: Final = 31_536_000

#: Accounts of which a browser keeps a mark.
_MARKS: Final = 4

#: Bytes of a mark: chance and a time, and what proves them.
_NONCE: Final = 12
_TIME: Final = 4
_PROOF: Final = 16

#: A mark, in base64url without padding.
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@final
class DeviceMarks:
    """Makes and checks them."""

    def __init__(self, *keys: bytes) -> None:
        """Make them with the first of `keys`, of 32 bytes each; those of the others are good too."""
        self._keys = keys

    def find(self, cookie: str | None, account: bytes, now: float) -> bytes | None:
        """What the browser with this cookie is counted by, if somebody has logged in to `account` with it.

        Args:
          cookie: its value; None if there is none.
          account: the name of the account.
          now: Unix time.
        """
        for mark in _marks(cookie):
            data = urlsafe_b64decode(f"{mark}=")
            said, proof = data[: _NONCE + _TIME], data[_NONCE + _TIME :]
            proofs = [hmac.compare_digest(self._proof(key, said, account), proof) for key in self._keys]
            if any(proofs) and now < int.from_bytes(said[_NONCE:], "big") + LIFETIME:
                return said
        return None

    def renewed(self, cookie: str | None, account: bytes, now: float) -> str:
        """The value of the cookie, once somebody has logged in to `account`: with a new mark, and those of others."""
        said = secrets.token_bytes(_NONCE) + max(0, min(int(now), 0xFFFFFFFF)).to_bytes(_TIME, "big")
        mark = urlsafe_b64encode(said + self._proof(self._keys[0], said, account)).rstrip(b"=").decode()
        others = [other for other in _marks(cookie) if self.find(other, account, now) is None]
        return ".".join([mark, *others][:_MARKS])

    def _proof(self, key: bytes, said: bytes, account: bytes) -> bytes:
        return hmac.digest(key, said + account, hashlib.sha256)[:_PROOF]


def _marks(cookie: str | None) -> list[str]:
    """What may be marks."""
    parts = [] if cookie is None else cookie.split(".", _MARKS)[:_MARKS]
    return [part for part in parts if _SHAPE.fullmatch(part)]
