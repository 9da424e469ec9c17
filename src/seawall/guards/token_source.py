"""`TokenSource`: where a guard found the token, which is where a renewal puts the new one."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias, assert_never, final

from attrs import evolve, frozen

from seawall.guards.gate import Gate
from seawall.handshake import Handshake

#: A token of RFC 6750, section 2.1, as every JSON Web Token is one: nothing in it ends a cookie or a header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@final
@frozen
class FromHeader:
    """``Authorization: Bearer``."""


@final
@frozen
class FromCookie:
    """A cookie."""

    name: str


@final
@frozen
class FromMessage:
    """The first message."""


TokenSource: TypeAlias = FromHeader | FromCookie | FromMessage


class TokenGate(Gate):
    """A `Gate` of Seawall's own, which guards that take a token tell where they found it."""

    @abstractmethod
    def verified(self, source: TokenSource) -> None:
        """Note that the token from `source` has been verified. In a chain with several, the first one counts."""

    @property
    @abstractmethod
    def speaks_json(self) -> bool:
        """Whether the messages of the route are JSON."""

    @abstractmethod
    def renewed_message(self) -> str | None:
        """What stands in place of the first message, when the connection is renewed; None if that is to be awaited."""


def is_token(text: object) -> bool:
    """Whether `text` can stand in a handshake as a token, without being anything else besides."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def with_token(handshake: Handshake, source: TokenSource, token: str) -> Handshake:
    """`handshake`, with `token` where `source` says, and nowhere else."""
    match source:
        case FromHeader():
            return _with_values(handshake, "authorization", lambda _: f"Bearer {token}")
        case FromCookie(name):
            return _with_values(handshake, "cookie", lambda line: _with_cookie(line, name, token))
        case FromMessage():
            return handshake
        case _:
            assert_never(source)


def _with_values(handshake: Handshake, name: str, change: Callable[[str], str]) -> Handshake:
    headers = tuple((field, change(value) if field == name else value) for field, value in handshake.headers)
    return evolve(handshake, headers=headers)


def _with_cookie(line: str, name: str, token: str) -> str:
    pairs = line.split(";")
    return ";".join(f"{name}={token}" if _key(pair) == name else pair for pair in pairs)


def _key(pair: str) -> str | None:
    key, separator, _ = pair.strip(" \t").partition("=")
    return key if separator else None
