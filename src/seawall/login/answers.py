"""What a log-in page answers: JSON to a script, and to a form what a browser shows. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar, final

from attrs import field, frozen

from seawall.clock import unix_time
from seawall.handshake import Handshake
from seawall.http.cookies import Cookie
from seawall.http.exchange import Request, Response, redirect
from seawall.login.cookies import HostCookie, is_local
from seawall.login.credentials import FORM, media_type
from seawall.login.device_cookie import LIFETIME
from seawall.login.issuer import Tokens

P = TypeVar("P")


@final
@frozen
class Refusal:
    """Why a request is refused."""

    status: int
    text: str
    """What is wrong. It repeats nothing of the request."""
    retry_after: float | None = field(default=None, kw_only=True)
    """Seconds after which trying again makes sense."""


@final
@frozen(kw_only=True)
class Answers:
    """Answers, and the cookies in them."""

    access: HostCookie
    """The cookie with the access token."""
    refresh: HostCookie
    """The one with the refresh token."""
    device: HostCookie
    """The one by which a browser is known."""
    after: str
    """Where a form leads, once it has done what it is for."""

    def tokens(self, request: Request[P], tokens: Tokens, device: str | None = None) -> Response:
        """A pair, in cookies that live as long as the tokens; and whose it is, and until when, for a script.

        Args:
          request: what is answered.
          tokens: the pair.
          device: what its browser is known by from now on.
        """
        local, now = is_local(request.handshake), unix_time()
        cookies = [
            self.access.made(tokens.access, _seconds(tokens.access_expires_at - now), local=local),
            self.refresh.made(tokens.refresh, _seconds(tokens.refresh_expires_at - now), local=local),
        ]
        if device is not None:
            cookies.append(self.device.made(device, LIFETIME, local=local))
        said = {"subject": tokens.subject, "expires_at": tokens.access_expires_at}
        return self._done(request, said, cookies)

    def ended(self, request: Request[P], sessions: int) -> Response:
        """So many sessions have ended."""
        return self._done(request, {"ended": sessions}, self.cleared(request.handshake))

    def refused(self, request: Request[P], refusal: Refusal) -> Response:
        """A refusal, as JSON or as a line of text."""
        status, headers = refusal.status, list[tuple[str, str]]()
        if status == 401:
            headers.append(("WWW-Authenticate", f'Cookie cookie-name="{self.access.name}"'))
        if refusal.retry_after is not None:
            headers.append(("Retry-After", str(_seconds(refusal.retry_after))))
        if media_type(request) == FORM:
            return Response(f"{refusal.text}\n", status=status, headers=headers)
        return _json({"error": refusal.text}, status=status, headers=headers)

    def cleared(self, handshake: Handshake) -> list[Cookie]:
        """The cookies, so that the browser forgets them."""
        local = is_local(handshake)
        return [self.access.cleared(local=local), self.refresh.cleared(local=local)]

    def _done(self, request: Request[P], said: Mapping[str, object], cookies: Sequence[Cookie]) -> Response:
        if media_type(request) == FORM:
            return redirect(self.after, cookies=cookies)
        return _json(said, cookies=cookies)


def _json(
    said: Mapping[str, object],
    *,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    cookies: Sequence[Cookie] = (),
) -> Response:
    return Response(
        json.dumps(said), status=status, media_type="application/json", headers=list(headers), cookies=list(cookies)
    )


def _seconds(seconds: float) -> int:
    """Whole ones, and one at least: a cookie with none is deleted."""
    return max(1, math.ceil(seconds))
