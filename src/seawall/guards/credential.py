"""`Credential`: what identifies the proof by which a guard lets a client in, so that it can be revoked."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """What a guard let a client in by; `Claims` are one. It cannot be revoked by an attribute that is None."""

    @property
    def subject(self) -> str | None:
        """Whom it identifies."""
        ...

    @property
    def token_id(self) -> str | None:
        """Its unique id, such as a token's ``jti``."""
        ...

    @property
    def issued_at(self) -> float | None:
        """When it was issued, in Unix time; with None it counts as older than any other."""
        ...
