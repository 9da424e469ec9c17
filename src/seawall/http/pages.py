"""Small fixed HTTP pages on the port of the WebSockets, and the answers to every other plain request.

A page must come from the origin that its WebSocket checks, so it is served from the same port. Each connection gets
one answer and is closed; h11 does the HTTP.
"""

from __future__ import annotations

import re
from typing import final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.http.request import Head
from seawall.http.response import Response, refusal, serialize_response

#: Visible ASCII; braces would look like a placeholder, and are escaped by browsers.
_PATH = re.compile(r"/[!-\"$->@-z|~]*")
_MEDIA_TYPE = re.compile(r"[!-~]+(?: [!-~]+)*")


@final
@frozen(kw_only=True)
class Page:
    """A fixed document."""

    body: bytes = field(repr=False)
    media_type: str

    @classmethod
    def parse(cls, path: str, body: str | bytes, media_type: str) -> Page:
        """The page at `path`, once it is sure that it can be asked for and sent.

        Raises:
          ConfigurationError: it cannot.
        """
        if not _PATH.fullmatch(path):
            raise ConfigurationError(f"page({path!r}): give the exact path as it is sent, such as '/about'")
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ConfigurationError(
                f"page({path!r}): media_type {media_type!r} cannot be sent; use text/html or alike"
            )
        try:
            return cls(body=body.encode() if isinstance(body, str) else body, media_type=media_type)
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"page({path!r}): the body cannot be encoded; give it as bytes") from error


def page_response(head: Head, page: Page | None, *, is_route: bool) -> Response:
    """What a request that does not ask for an upgrade gets: the page, or 404, 405 or 426."""
    head_only = head.method == "HEAD"
    if page is not None:
        if head.method in {"GET", "HEAD"}:
            data = serialize_response(200, page.body, media_type=page.media_type, head_only=head_only)
            return Response(200, "page", data)
        return refusal(405, "only GET and HEAD", headers=(("Allow", "GET, HEAD"),))
    if not is_route:
        return refusal(404, "not found", head_only=head_only)
    if head.method != "GET":
        return refusal(405, "only GET", headers=(("Allow", "GET"),), head_only=head_only)
    return refusal(426, "this is a WebSocket; upgrade to connect", headers=(("Sec-WebSocket-Version", "13"),))
