"""`TokenSource`: where a client presents its token, which is where a renewal puts the new one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from seawall.guards.requirements import Requirement
from seawall.handshake import Handshake

#: A token of RFC 6750, section 2.1, as every JSON Web Token is one: nothing in it ends a cookie or a header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenSource(ABC):
    """Where a client presents its token; `seawall.tokens` has functions that make one."""

    @abstractmethod
    def find(self, handshake: Handshake, /) -> str | None:
        """The token that is presented here; None if nothing is.

        Raises:
          Unauthorized: something is presented that is no single token.
        """

    @abstractmethod
    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        """`handshake`, with `token` in place of the one that was found here."""

    @abstractmethod
    def describe(self) -> Requirement:
        """What a client has to present, in words and as a security scheme."""


def is_token(text: object) -> bool:
    """Whether `text` can stand in a handshake as a token, without being anything else besides."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None
