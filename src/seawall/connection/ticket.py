"""`Ticket`: a text that is presented once in place of a token, and what is stored of both. Pure."""

from __future__ import annotations

import json
import re
import secrets
from hashlib import sha256, shake_256
from typing import Final, final

from attrs import field, frozen

from seawall.errors import Unauthorized

#: Random bytes of a ticket, and how they are written.
SIZE: Final = 32
_WRITTEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")

#: Before a ticket, in what two different functions are computed from.
_TO_FIND: Final = b"seawall ticket, digest:"
_TO_READ: Final = b"seawall ticket, key:"


@final
@frozen
class Ticket:
    """A ticket. Who reads a store has neither it nor its token: both follow from what only its holder has."""

    text: str = field(repr=False)

    @classmethod
    def drawn(cls) -> Ticket:
        """A new one."""
        return cls(secrets.token_urlsafe(SIZE))

    @classmethod
    def parsed(cls, text: str) -> Ticket:
        """The one that was presented.

        Raises:
          Unauthorized: it has another shape, so that no store need be asked.
        """
        if not _WRITTEN.fullmatch(text):
            raise Unauthorized("ticket refused: it has not the shape of one")
        return cls(text)

    @property
    def digest(self) -> bytes:
        """By what it is found in a store."""
        return sha256(_TO_FIND + self.text.encode()).digest()

    def seal(self, token: str) -> bytes:
        """`token`, which is ASCII, encrypted."""
        return self._masked(token.encode("ascii"))

    def open(self, sealed: bytes) -> str:
        """The token in `sealed`; nonsense, if that was sealed with another ticket."""
        return self._masked(sealed).decode("latin-1")

    def _masked(self, data: bytes) -> bytes:
        # A key stream may be used once: there is one token to a ticket, and the ticket is random. Nothing has to show
        # whether the bytes were changed, because the token is signed.
        stream = shake_256(_TO_READ + self.text.encode()).digest(len(data))
        return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))


def owner_of(issuer: str | None, subject: str | None, token: str) -> bytes:
    """Whose tickets are counted together: a subject's; of a token that names nobody, those that stand for it."""
    named = [token] if subject is None else [issuer, subject]
    return sha256(json.dumps(named).encode()).digest()
