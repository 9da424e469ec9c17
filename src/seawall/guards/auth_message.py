"""The first message of a client that speaks JSON: ``{"type": "auth", "token": "..."}``, instead of the bare token."""

from __future__ import annotations

from typing import final

from attrs import frozen

from seawall.errors import InvalidMessage, Unauthorized
from seawall.messages.codec import JSON
from seawall.messages.decoder import decoder_for
from seawall.messages.tags import tag


@final
@tag("auth")
@frozen
class _Auth:
    token: str


_DECODER = decoder_for(JSON(), _Auth, where="first_message")


def token_in(text: str) -> str:
    """The token in a first message: in its ``token`` if it is a JSON object, and otherwise the text itself.

    Raises:
      Unauthorized: it is an object, but not `{"type": "auth", "token": "..."}`.
    """
    if not text.startswith("{"):  # as no token does
        return text
    try:
        return _DECODER.decode(text).token
    except InvalidMessage as invalid:
        where = invalid.path
    raise Unauthorized(f"an auth message that is wrong at {where}")
