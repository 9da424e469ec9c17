"""`Ticket`: a text that is presented once in place of a token, and its digest, which is what is stored. Pure."""

from __future__ import annotations

import json
import re
import secrets
from hashlib import sha256
from typing import Final, final

from attrs import field, frozen

from seawall.errors import Unauthorized

#: Random bytes of a ticket, and how they are written.
SIZE: Final = 32
_WRITTEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@final
@frozen
class Ticket:
    """A ticket. Who reads its digest in a store cannot present it."""

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
        return sha256(self.text.encode()).digest()


def owner_of(issuer: str | None, subject: str | None, token: str) -> bytes:
    """Whose tickets are counted together: a subject's; of a token that names nobody, those that stand for it."""
    named = [token] if subject is None else [issuer, subject]
    return sha256(json.dumps(named).encode()).digest()
