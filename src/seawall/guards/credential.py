"""`Credential`: by what a guard lets somebody in, as far as it can be named when it is revoked."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """What a guard let somebody in by; `Claims` are one. What is None cannot be named when it is revoked."""

    @property
    def subject(self) -> str | None:
        """Whom it is about."""
        ...

    @property
    def token_id(self) -> str | None:
        """What tells it from all others, such as ``jti``."""
        ...

    @property
    def issued_at(self) -> float | None:
        """When it was issued, in Unix time; one that does not say counts as older than any other."""
        ...
