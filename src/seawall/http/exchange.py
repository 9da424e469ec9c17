"""`Request` and `Response`: what a page on request is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar, final
from urllib.parse import parse_qsl

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.handshake import Handshake
from seawall.http.cookies import Cookie
from seawall.http.response import SerializedResponse, serialize_response
from seawall.lifespan import Provided, Values

P_co = TypeVar("P_co", covariant=True)
T = TypeVar("T")

#: Fields of a form that are looked at.
MAX_FORM_FIELDS: Final = 100


@final
@frozen(kw_only=True, eq=False)
class Request(Generic[P_co]):
    """A plain HTTP request for a page, and who the page's guard has proved that it is from."""

    method: str
    """``GET`` or ``POST``; a HEAD request is answered as if it were a GET, without the body."""
    handshake: Handshake
    """Path, query, headers, cookies, peer: as of a connection. There are no subprotocols and no key."""
    principal: P_co
    """What the guard has proved."""
    body: bytes = field(repr=False, default=b"")
    """What was posted, at most 64 KiB; empty for GET."""
    _values: Values = field(repr=False, alias="values")

    def form(self) -> Mapping[str, str]:
        """The fields of a posted HTML form (``application/x-www-form-urlencoded``), each with its first value.

        Fields that are not UTF-8, and forms with more than 100 fields, are no forms: the result is then empty, as it is
        for a body of another type.
        """
        media_type = (self.handshake.header("content-type") or "").partition(";")[0]
        if media_type.strip(" \t").lower() != "application/x-www-form-urlencoded":
            return {}
        try:
            pairs = parse_qsl(
                self.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
            )
        except ValueError:
            return {}
        return dict(reversed(pairs))

    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`. Raises as `Connection.provided`."""
        return self._values.get(handle)


@final
@frozen
class Response:
    """The answer of a page.

    Raises:
      ConfigurationError: it cannot be sent: a status below 200, 204 or 304, a header that Seawall writes itself, or
        one with a line end in it.
    """

    body: str | bytes = field(default="", repr=False)
    """Text is encoded as UTF-8."""
    status: int = field(default=200, kw_only=True)
    """From 200; not 204 and 304, which have no body."""
    media_type: str = field(default="text/plain; charset=utf-8", kw_only=True)
    """What the body is: ``text/html; charset=utf-8`` for a document."""
    headers: Sequence[tuple[str, str]] = field(default=(), kw_only=True, repr=False)
    """Further fields. Without ``Cache-Control`` among them the answer is stored nowhere."""
    cookies: Sequence[Cookie] = field(default=(), kw_only=True)
    """Cookies to set."""

    def __attrs_post_init__(self) -> None:
        """Check that it can be sent."""
        self.serialize()

    def serialize(self) -> SerializedResponse:
        """The bytes to send. Raises as the class."""
        body = _body(self.body)
        try:
            fields = [*self.headers, *(("Set-Cookie", cookie.field_value) for cookie in self.cookies)]
            if not any(name.lower() == "cache-control" for name, _ in self.headers):
                fields.append(("Cache-Control", "no-store"))
            data = serialize_response(
                self.status,
                body.encode() if isinstance(body, str) else body,
                headers=fields,
                media_type=self.media_type,
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"Response(status={self.status!r}) cannot be sent: {error}") from None
        return SerializedResponse(self.status, "page", data)


def _body(value: object) -> str | bytes:
    """The body, after a check that is for programs which no type checker has seen."""
    if not isinstance(value, str | bytes):
        raise ConfigurationError(
            f"Response(): the body cannot be sent: it is str or bytes, not {type(value).__name__}; for JSON give "
            "json.dumps(...), with media_type='application/json'"
        )
    return value


def redirect(location: str, *, cookies: Sequence[Cookie] = ()) -> Response:
    """Send the browser to `location` with a GET (303 See Other), as after a form was posted.

    Args:
      location: a path of this server such as ``/``, or a URL.
      cookies: cookies to set.
    """
    return Response(status=303, headers=[("Location", location)], cookies=cookies)
