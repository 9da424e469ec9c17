"""`Requirement`: what a guard or a check asks for, in words and as a security scheme, for documents about an app."""

from __future__ import annotations

import re
from typing import Final, TypeAlias, final

from attrs import frozen


@final
@frozen
class HttpBearer:
    """A token in ``Authorization: Bearer`` (RFC 6750): the scheme ``http`` and ``bearer`` of AsyncAPI and OpenAPI."""


@final
@frozen
class CookieKey:
    """A credential in a cookie: ``httpApiKey`` of AsyncAPI, ``apiKey`` of OpenAPI."""

    name: str
    """Of the cookie."""


@final
@frozen
class FirstMessage:
    """A token as the first message, for which neither AsyncAPI nor OpenAPI has a scheme."""


@final
@frozen
class SubprotocolToken:
    """A token among the subprotocols that are offered, ``bearer.<token>``; neither of them has a scheme for it."""


@final
@frozen
class QueryKey:
    """A credential in a parameter of the query: ``httpApiKey`` of AsyncAPI, ``apiKey`` of OpenAPI."""

    name: str
    """Of the parameter."""


SecurityScheme: TypeAlias = HttpBearer | CookieKey | SubprotocolToken | QueryKey | FirstMessage


@final
@frozen(kw_only=True)
class Requirement:
    """One thing that a client has to present, or to be."""

    text: str
    """In words: the first line of a docstring, where an application has written the guard."""
    scheme: SecurityScheme | None = None
    """How a credential is presented, if one is."""
    scopes: tuple[str, ...] = ()
    """The scopes that it takes, sorted."""


#: Alternatives, one of which has to be satisfied. Each says all that it takes, in the order in which it is asked for;
#: an empty one lets everybody through.
Requirements: TypeAlias = tuple[tuple[Requirement, ...], ...]

#: What asks for nothing.
NOTHING: Final[Requirements] = ((),)


def requirement_of(docstring: object, name: str) -> Requirements:
    """What an application's own guard or check asks for: the first line of its docstring, or else its name."""
    text = docstring.lstrip(" \n").partition("\n")[0].rstrip(" ") if isinstance(docstring, str) else ""
    return ((Requirement(text=text or re.sub(r"[\W_]+", " ", name).strip(" ")),),)


def both(first: Requirements, second: Requirements) -> Requirements:
    """What it takes to satisfy one alternative of each."""
    return tuple(one + other for one in first for other in second)
