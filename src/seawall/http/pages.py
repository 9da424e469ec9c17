"""Small fixed HTTP pages on the port of the WebSockets, and the responses to all other requests without an upgrade.

A page has to have the origin that its WebSocket checks, so it is served from the same port. Each connection gets one
response and is closed.
"""

from __future__ import annotations

import re
from typing import final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.http.request import Head
from seawall.http.response import SerializedResponse, refusal, serialize_response
from seawall.mistakes import is_text

#: Visible ASCII without ``?`` and ``#``, and without braces: they look like a placeholder, and browsers escape them.
_PATH = re.compile(r"/[!-\"$->@-z|~]*")
_ALLOW = (("Allow", "GET, HEAD, OPTIONS"),)
_MEDIA_TYPE = re.compile(r"[!-~]+(?: [!-~]+)*")


@final
@frozen(kw_only=True)
class Page:
    """A fixed document."""

    body: bytes = field(repr=False)
    media_type: str

    @classmethod
    def parse(cls, path: str, body: str | bytes, media_type: str) -> Page:
        """A page, after checking that clients can request `path` and that body and media type can be sent.

        Raises:
          ConfigurationError: one of the three is invalid.
        """
        check_path(path)
        _check_body(path, body)
        if not (is_text(media_type) and _MEDIA_TYPE.fullmatch(media_type)):
            raise ConfigurationError(
                f"page({path!r}): media_type {media_type!r} cannot be sent; use text/html or alike"
            )
        try:
            return cls(body=body.encode() if isinstance(body, str) else body, media_type=media_type)
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"page({path!r}): the body cannot be encoded; give it as bytes") from error


def check_path(path: object) -> None:
    """Refuse what is not the path of a page.

    Raises:
      ConfigurationError: no client would send it so.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigurationError(f"page({path!r}): give the exact path as it is sent, such as '/about'")


def _check_body(path: str, body: object) -> None:
    """Refuse what a type checker would: clients could not be sent it."""
    if not isinstance(body, str | bytes):
        raise ConfigurationError(
            f"page({path!r}): a body is str or bytes, not {type(body).__name__}; for JSON give json.dumps(...), with "
            "media_type='application/json'"
        )


def page_response(head: Head, page: Page | None, *, is_route: bool) -> SerializedResponse:
    """The response to a request that does not ask for an upgrade: 200 with the page, 404, 405 or 426.

    OPTIONS of a page is 200 without content: load balancers ask so whether a server is well.

    Args:
      head: the request.
      page: the page at its path, or None.
      is_route: whether there is a WebSocket at its path.
    """
    if page is not None:
        if head.method in {"GET", "HEAD"}:
            data = serialize_response(200, page.body, media_type=page.media_type)
            return SerializedResponse(200, "page", data)
        if head.method == "OPTIONS":
            return SerializedResponse(200, "options", serialize_response(200, b"", headers=_ALLOW))
        return refusal(405, "only GET and HEAD", headers=_ALLOW)
    if not is_route:
        return refusal(404, "not found")
    if head.method != "GET":
        return refusal(405, "only GET", headers=(("Allow", "GET"),))
    return refusal(426, "this is a WebSocket; upgrade to connect", headers=(("Sec-WebSocket-Version", "13"),))
