"""`login_page`: logging in, renewing and logging out, on the port of the WebSockets."""

from __future__ import annotations

import inspect
import re
from typing import Final, final

from attrs import frozen

from seawall.app import App
from seawall.callables import describe, is_async
from seawall.clock import unix_time
from seawall.connection.sessions import Sessions, table_of
from seawall.errors import ConfigurationError, RefreshTokenReused, Unauthorized
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.token_source import TokenSource
from seawall.http.exchange import Request, Response
from seawall.http.pages import check_path
from seawall.login.answers import Answers, Refusal
from seawall.login.attempts import Attempts, Authenticate, name_of
from seawall.login.cookies import HostCookie, is_local, is_plain
from seawall.login.credentials import Unreadable, read_credentials
from seawall.login.device_cookie import DeviceMarks
from seawall.login.ending import SessionEnds
from seawall.login.issuer import TokenIssuer, derived_keys
from seawall.login.limits import LoginLimits
from seawall.mistakes import is_text
from seawall.observability.logs import server_log

#: What the server's key is derived by, with which a browser is marked.
_DEVICE: Final = b"seawall: device cookie"

#: Where a form may lead.
_AFTER: Final = re.compile(r"(?:/(?![/\\])|https?://[^/\\])[!-~]*")

_NOT_LOGGED_IN: Final = Refusal(401, "not logged in")
#: It leaves the cookies alone, which are worth nothing: it may come after another tab has logged in, and would delete
#: what that one has set.
_LOGGED_OUT: Final = Refusal(401, "logged out")

_NO_ORIGIN: Final = Refusal(
    403,
    "no Origin: only pages log in here, and browsers say which page it is; to try it with curl, add "
    "-H 'Origin: https://...', with an origin that the app allows",
)
_NO_TLS: Final = Refusal(403, "the page came in plain text, as a password would: open it by https://")


@final
@frozen(eq=False)
class LoginPage:
    """What `login_page` has defined."""

    cookie: TokenSource
    """Where a browser that has logged in presents its access token: for ``bearer(issuer.verifier, login.cookie)``. It
    is the cookie with ``__Host-`` in its name; and, where the page itself does without, on this machine, that."""
    _ends: SessionEnds

    async def end(self, session_id: str) -> int:
        """Log out one browser: end its session, its tokens, and its connections, which read 3003.

        Returns:
          How many connections of this process end.

        Raises:
          Unavailable: all has ended here; a store did not answer, so that it may not be so elsewhere, or after a
            restart. Calling again does no harm.
        """
        return await self._ends.end(session_id)

    async def end_all(self, subject: str) -> int:
        """Log out somebody everywhere: end all sessions of a subject, as `end` ends one.

        It refuses no later log-in, as ``app.sessions.revoke(subject=...)`` does for a minute; and whoever has a session
        can renew nothing any more, as after that.

        Returns:
          How many connections of this process end.

        Raises:
          Unavailable: as `end`.
        """
        _, connections = await self._ends.end_all(subject)
        return connections


def login_page(
    app: App,
    path: str,
    authenticate: Authenticate,
    issuer: TokenIssuer,
    *,
    cookie: str = "__Host-session",
    refresh_cookie: str = "__Host-refresh",
    device_cookie: str = "__Host-device",
    after: str = "/",
    limits: LoginLimits | None = None,
) -> LoginPage:
    """Let browsers log in, renew their tokens and log out, by four pages of `app` to which they post.

    ::

        login = login_page(app, "/session", authenticate, issuer)


        @app.route("/chat", guard=bearer(issuer.verifier, login.cookie))
        async def chat(conn: Connection[Claims]) -> None: ...

    - ``POST /session`` logs in: JSON or a form, with the fields ``username`` and ``password``. It begins a session,
      and ends the one that the browser had.
    - ``POST /session/renew`` exchanges the refresh token for the next pair, and renews the connections of the session.
    - ``POST /session/end`` logs out: the session is over, its connections read 3003, the cookies are gone.
    - ``POST /session/end-all`` does the same to all sessions of whoever is logged in.

    The tokens are in cookies that no script can read and that no other site can send or set. A script gets JSON:
    ``{"subject": "ada", "expires_at": 1750000600}``, in Unix time, which is when to renew; ``{"ended": 1}``; or a
    status from 400 and ``{"error": "..."}``. A form is sent on to `after`, or gets a line of text.

    A request without an ``Origin`` is refused, and one of another page than the app's `origins` allow (403); so is a
    page that came in plain text, except on this machine, for development: there the cookies have no ``__Host-`` and no
    ``Secure``, and the log says so, once.

    Args:
      app: whose pages they are, and whose connections are renewed and ended.
      path: of the log-in; the others are below it.
      authenticate: an async function that takes a name and a password, and returns the subject whose they are, or None.
        It takes as long for a name that nobody has: it hashes in any case. Names have at most 320 bytes and no control
        characters, passwords at most 1,024. What it raises is handled as a failure of any page is, but for
        `Unauthorized`, which is the same as None.
      issuer: issues the tokens. Its verifier is what guards verify with.
      cookie: the name of the cookie with the access token.
      refresh_cookie: that of the cookie with the refresh token.
      device_cookie: that of the one by which a browser is known where somebody has logged in with it before.
      after: where a form leads when it has done what it is for: a path, or a URL. Never what a request says.
      limits: how often somebody may try.

    Raises:
      ConfigurationError: there is a page at one of the paths; the app allows any origin; a cookie's name does not begin
        with ``__Host-``, or is that of another; `authenticate` is not async, or takes something else; `after` is no
        path and no URL.
    """
    _check(app, path, authenticate, issuer)
    access, refresh, device = names = HostCookie(cookie), HostCookie(refresh_cookie), HostCookie(device_cookie)
    if len(set(names)) < len(names):
        raise ConfigurationError(
            "login_page: two of its cookies have one name; give different ones, such as '__Host-session'"
        )
    answers = Answers(access=access, refresh=refresh, device=device, after=_checked_after(after))
    table_of(app.sessions).revocations.keep_for_sessions(issuer.refresh_lifetime)
    ends = SessionEnds(sessions=app.sessions, issuer=issuer, access=access, refresh=refresh)
    marks = DeviceMarks(*derived_keys(issuer, _DEVICE))
    pages = _Pages(
        path, Attempts(path, authenticate, LoginLimits() if limits is None else limits, marks), answers, ends
    )
    for at, page in (("", pages.log_in), ("/renew", pages.renew), ("/end", pages.end), ("/end-all", pages.end_all)):
        app.page(path + at, methods=["POST"], guard=_from_page)(page)
    return LoginPage(access, ends)


@final
class _Pages:
    """The four of them."""

    def __init__(self, path: str, attempts: Attempts, answers: Answers, ends: SessionEnds) -> None:
        """Log in by `attempts`."""
        self._path = path
        self._attempts = attempts
        self._answers = answers
        self._ends = ends
        self._marks = attempts.marks
        self._issuer: TokenIssuer = ends.issuer
        self._sessions: Sessions = ends.sessions
        self._has_told = False

    async def log_in(self, request: Request[Anonymous]) -> Response:
        """Begin a session, and end the one that was presented."""
        if (refused := self._refused(request)) is not None:
            return refused
        credentials = read_credentials(request)
        if isinstance(credentials, Unreadable):
            return self._answers.refused(request, Refusal(credentials.status, credentials.text))
        known_by = self._known_by(request)
        found = await self._attempts.attempt(request.handshake, credentials, known_by)
        if isinstance(found, Refusal):
            return self._answers.refused(request, found)
        await self._ends.end_presented(request.handshake)
        tokens = await self._issuer.begin(found.subject, scopes=found.scopes, claims=found.claims)
        device = self._marks.renewed(known_by, name_of(credentials), unix_time())
        return self._answers.tokens(request, tokens, device)

    async def renew(self, request: Request[Anonymous]) -> Response:
        """Exchange the refresh token, and renew the connections."""
        if (refused := self._refused(request)) is not None:
            return refused
        try:
            presented = self._answers.refresh.find(request.handshake)
            if presented is None:
                return self._answers.refused(request, _NOT_LOGGED_IN)
            tokens = await self._issuer.rotate(presented)
        except RefreshTokenReused as reused:
            server_log.warning("%s/renew: a refresh token was used again, so that its session ends", self._path)
            await self._ends.end(reused.session_id)
            return self._answers.refused(request, _LOGGED_OUT)
        except Unauthorized:
            return self._answers.refused(request, _LOGGED_OUT)
        if self._ends.is_revoked(tokens):
            await self._ends.end(tokens.session_id)
            return self._answers.refused(request, _LOGGED_OUT)
        await self._sessions.renew(tokens.access)
        return self._answers.tokens(request, tokens)

    async def end(self, request: Request[Anonymous]) -> Response:
        """Log out here."""
        if (refused := self._refused(request)) is not None:
            return refused
        found = await self._ends.end_presented(request.handshake)
        return self._answers.ended(request, len(found))

    async def end_all(self, request: Request[Anonymous]) -> Response:
        """Log out everywhere."""
        if (refused := self._refused(request)) is not None:
            return refused
        found = await self._ends.presented(request.handshake)
        subjects = {presented.subject for presented in found if presented.is_proof}
        if not subjects:
            return self._answers.refused(request, _NOT_LOGGED_IN)
        ended = 0
        for subject in subjects:
            also = (one.session_id for one in found if one.subject == subject)
            sessions, _ = await self._ends.end_all(subject, *also)
            ended += sessions
        return self._answers.ended(request, ended)

    def _known_by(self, request: Request[Anonymous]) -> str | None:
        try:
            return self._answers.device.find(request.handshake)
        except Unauthorized:  # several, which is none
            return None

    def _refused(self, request: Request[Anonymous]) -> Response | None:
        """The answer to a request that comes from no page, or from one in plain text; None if it may go on."""
        asked = request.handshake
        if asked.origin is None:
            return self._answers.refused(request, _NO_ORIGIN)
        if is_local(asked):
            if not self._has_told:
                self._has_told = True
                server_log.warning(
                    "%s: without TLS, on this machine: cookies without __Host- and Secure, for development only",
                    self._path,
                )
        elif is_plain(asked):
            return self._answers.refused(request, _NO_TLS)
        return None


@final
@frozen
class _FromPage(Guard[Anonymous, Anonymous]):
    """Lets everybody ask, and says that cookies are credentials here: then the app must not allow any origin."""

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
        return proved

    def needs_task(self) -> bool:
        return False

    def reads_cookie(self) -> bool:
        return True


_from_page: Final = _FromPage()


def _check(app: object, path: str, authenticate: object, issuer: object) -> None:
    """Refuse what could not work. Raises `ConfigurationError`."""
    if not isinstance(app, App):
        raise ConfigurationError(f"login_page() was given a {type(app).__name__}; give the App whose page it is")
    check_path(path)
    if path.endswith("/"):
        raise ConfigurationError(f"login_page({path!r}): there are pages below it; give a path such as '/session'")
    where = f"login_page({path!r})"
    if not isinstance(issuer, TokenIssuer):
        raise ConfigurationError(f"{where} was given a {type(issuer).__name__}; give the TokenIssuer of its tokens")
    if not callable(authenticate):
        raise ConfigurationError(f"{where} was given a {type(authenticate).__name__}; give a function")
    if not is_async(authenticate):
        shown = describe(authenticate)
        raise ConfigurationError(f"{where}: {shown} is not async; write `async def`, and hash in a thread")
    try:
        inspect.signature(authenticate).bind("name", "password")
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {describe(authenticate)} is called with a name and a password, which it does not take ({error})"
        ) from None


def _checked_after(after: str) -> str:
    if not (is_text(after) and _AFTER.fullmatch(after)):  # browsers take //host for another host
        raise ConfigurationError(
            f"login_page: after={after!r} is no path and no URL of http; give such as '/', or 'https://chat.example/'"
        )
    Response(status=303, headers=[("Location", after)])
    return after
