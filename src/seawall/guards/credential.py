"""`Credential`: what identifies the proof by which a guard lets a client in, so that it can be revoked."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """What a guard let a client in by; `Claims` are one. It cannot be revoked by an attribute that is None.

    It may have three attributes more, which are taken as None if they are not there:

    - ``issuer``, a `str`: who has issued it. Two subjects of one name are two if their issuers differ.
    - ``session_id``, a `str`: what all credentials of one log-in have in common, such as a token's ``sid``.
    - ``expires_at``, a `float`: when it ends for good, in Unix time.
    """

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
