"""`has_scope`: a check on what the principal may do."""

from __future__ import annotations

import re
from typing import Final, Protocol, final

from attrs import frozen

from seawall.errors import ConfigurationError, Forbidden
from seawall.guards.gate import Gate
from seawall.guards.guard import Check
from seawall.guards.requirements import Requirement, Requirements
from seawall.mistakes import is_text

#: One scope.
_SCOPE: Final = re.compile(r"\S+")


class HasScopes(Protocol):
    """A principal with scopes, such as `Claims`."""

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it has been given."""
        ...


def has_scope(*scopes: str) -> Check[HasScopes]:
    """Let a principal through that has all of `scopes` (RFC 6749, section 3.3); others get `Forbidden`.

    Raises:
      ConfigurationError: no scope is named, or one has white space in it and could never match.
    """
    if not scopes or not all(is_text(scope) and _SCOPE.fullmatch(scope) for scope in scopes):
        raise ConfigurationError(
            f"has_scope{scopes!r}: name one scope or several, each a word: has_scope('chat:write')"
        )
    return _HasScope(frozenset(scopes))


@final
@frozen
class _HasScope(Check[HasScopes]):
    needed: frozenset[str]

    async def inspect(self, gate: Gate, principal: HasScopes, /) -> None:
        missing = self.needed - principal.scopes
        if missing:
            raise Forbidden(f"scope {' '.join(sorted(missing))} is missing", scope=" ".join(sorted(self.needed)))

    def describe(self) -> Requirements:
        scopes = tuple(sorted(self.needed))
        text = f"the scope{'s' if len(scopes) > 1 else ''} {', '.join(scopes)}"
        return ((Requirement(text=text, scopes=scopes),),)

    def needs_task(self) -> bool:
        return False
