"""Small fixed HTTP pages on the port of the WebSockets, and the answers to every other plain request.

A page must come from the origin that its WebSocket checks, so it is served from the same port. Each connection gets
one answer and is closed; h11 does the HTTP.
"""

from __future__ import annotations

from typing import final

from attrs import field, frozen

from seawall.wire.head import Head, response


@final
@frozen(kw_only=True)
class Page:
    """A fixed document."""

    body: bytes = field(repr=False)
    media_type: str


@final
@frozen
class Answer:
    """An HTTP answer, ready to be written."""

    status: int
    text: str
    """What it says, for the log."""
    data: bytes = field(repr=False)


def answer(head: Head, page: Page | None, *, is_route: bool) -> Answer:
    """What a request that does not ask for an upgrade gets: the page, or 404, 405 or 426."""
    if page is not None:
        if head.method in {"GET", "HEAD"}:
            data = response(200, page.body, media_type=page.media_type, head_only=head.method == "HEAD")
            return Answer(200, "page", data)
        return refusal(405, "only GET and HEAD", headers=(("Allow", "GET, HEAD"),))
    if not is_route:
        return refusal(404, "not found")
    if head.method != "GET":
        return refusal(405, "only GET", headers=(("Allow", "GET"),))
    return refusal(426, "this is a WebSocket; upgrade to connect", headers=(("Sec-WebSocket-Version", "13"),))


def refusal(status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A short plain answer with an error status."""
    return Answer(status, text, response(status, f"{text}\n".encode(), headers=headers))
