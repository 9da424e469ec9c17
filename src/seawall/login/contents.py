"""What a `TokenIssuer` is given to write into tokens, checked. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from seawall.errors import ConfigurationError
from seawall.mistakes import is_number, is_text, several

#: The claims that a `TokenIssuer` writes itself, and by what.
_WRITTEN: Final[Mapping[str, str]] = {
    "iss": "the issuer",
    "aud": "the audience",
    "sub": "the subject",
    "exp": "the lifetime",
    "iat": "the clock",
    "nbf": "nothing: a token is good at once",
    "jti": "chance",
    "sid": "the session",
    "scope": "scopes",
}

#: A scope (RFC 6749, section 3.3). A space would make two of it.
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def checked_contents(subject: str, scopes: Iterable[str], claims: Mapping[str, object]) -> str:
    """What tokens say besides what is written into all, as a JSON object.

    Raises:
      ConfigurationError: the subject is none, a scope is no word, or a claim is written otherwise or cannot be JSON.
        The text repeats no value.
    """
    _check_subject(subject)
    words = several("TokenIssuer: scopes", scopes, such_as="['chat:write']")
    for word in words:
        if not is_text(word) or _SCOPE.fullmatch(word) is None:
            raise ConfigurationError(f"TokenIssuer: the scope {word!r} is no word of ASCII characters; give a list")
    for name in claims:
        if name in _WRITTEN:
            raise ConfigurationError(f"TokenIssuer: the claim {name!r} follows from {_WRITTEN[name]}; leave it out")
    contents = {"scope": " ".join(words), **claims} if words else dict(claims)
    try:
        return json.dumps(contents, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:  # not chained: its text may have a value
        raise ConfigurationError(
            f"TokenIssuer: the claims cannot be written as JSON ({type(error).__name__}); give texts, finite numbers, "
            "bools, None, lists, and dicts with texts as keys"
        ) from None


def checked_names(what: str, names: object) -> tuple[str, ...]:
    """The names of issuers or audiences.

    Raises:
      ConfigurationError: there is none, or one is no text, or empty; the text of the error says `what`.
    """
    checked: list[str] = []
    several_names = cast("Iterable[object]", names) if isinstance(names, Iterable) else (names,)
    for name in several_names:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"TokenIssuer: {what}={name!r}; give its name, which all of our tokens have")
        checked.append(name)
    if not checked:
        raise ConfigurationError(f"TokenIssuer: no {what} is given; give its name, which all of our tokens have")
    return tuple(checked)


def checked_seconds(what: str, seconds: float, least: float, most: float) -> float:
    """A number of seconds.

    Raises:
      ConfigurationError: it is none, it is not finite, or it is not from `least` to `most`.
    """
    if not (is_number(seconds) and math.isfinite(seconds) and least <= seconds <= most):
        bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
        raise ConfigurationError(f"TokenIssuer: {what}={seconds!r}; give a number of seconds {bounds}")
    return seconds


def _check_subject(subject: object) -> None:
    """Refuse what no store and no token could hold: a subject that is empty, or no text."""
    if not isinstance(subject, str) or not subject:
        raise ConfigurationError(f"TokenIssuer: a {type(subject).__name__} that is empty or no text is no subject")
    try:
        subject.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("TokenIssuer: the subject cannot be UTF-8; give the id of an account") from None
