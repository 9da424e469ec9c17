"""`RefuseWith`: how a client learns that the guards of a route have refused it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from seawall.errors import ConfigurationError

RefuseWith: TypeAlias = Literal["status", "close"]
"""``"status"`` is the HTTP status of a refused handshake, which JavaScript cannot read; with ``"close"`` the upgrade is
accepted and closed at once, with a code and a reason, which it can."""


def check_refuse_with(value: object, *, where: str) -> None:
    """Refuse what a type checker would.

    Raises:
      ConfigurationError: it is something else.
    """
    if not (value is None or value in ("status", "close")):
        raise ConfigurationError(f"{where}: refuse_with={value!r}; give 'status', or 'close' for browsers")
