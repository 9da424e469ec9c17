"""`Attempts`: tries to log in, which are bounded, few at once, and take the same time however they fail."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias, final

import trio
from attrs import field, frozen

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, Unauthorized
from seawall.handshake import Handshake
from seawall.login.answers import Refusal
from seawall.login.checks import PasswordChecks
from seawall.login.credentials import Credentials
from seawall.login.device_cookie import DeviceMarks
from seawall.login.limits import LoginLimits
from seawall.login.secrecy import without_password
from seawall.login.tries import Tries
from seawall.observability.logs import server_log

#: Seconds after which somebody may try again who had no turn.
_BUSY: Final = 5.0

#: The same for a name that nobody has and for a password that is wrong.
_WRONG: Final = Refusal(401, "wrong name or password")


@final
@frozen
class LoggedIn:
    """Who has logged in, and what the access tokens of the session say besides: see `TokenIssuer.begin`."""

    subject: str
    """Who it is."""
    scopes: Iterable[str] = field(default=(), kw_only=True)
    """The ``scope`` of the tokens."""
    claims: Mapping[str, object] = field(factory=dict[str, object], kw_only=True)
    """What else they say, as JSON."""


Authenticate: TypeAlias = Callable[[str, str], Awaitable[str | LoggedIn | None]]
"""The application's: takes a name and a password, and returns the subject whose they are, or None."""

#: Tries that are counted, and by what.
_Counted: TypeAlias = tuple[tuple[Tries, bytes], ...]


@final
class Attempts:
    """Asks the application, as often as the limits allow."""

    def __init__(self, path: str, authenticate: Authenticate, limits: LoginLimits, marks: DeviceMarks) -> None:
        """Ask `authenticate`; `path` is for the log."""
        self._path = path
        self._authenticate = authenticate
        self._limits = limits
        self.marks = marks
        """What browsers are known by."""
        self._checks = PasswordChecks(limits.checks)
        self._by_address = None if limits.per_address is None else Tries(limits.per_address)
        self._by_account = Tries(limits.per_account)
        self._by_browser = Tries(limits.per_browser)
        self._by_known = Tries(limits.per_account)
        self._told: set[str] = set()

    async def attempt(self, handshake: Handshake, credentials: Credentials, device: str | None) -> LoggedIn | Refusal:
        """Who has these credentials.

        Args:
          handshake: says where they come from.
          credentials: what is tried.
          device: the cookie of what its browser is known by, if it has one.

        Raises what the application raises, but for `Unauthorized`.
        """
        now = trio.current_time()
        counted, known = self._counted(handshake, credentials, device, now)
        if seconds := max((tries.wait(what, now) for tries, what in counted), default=0.0):
            return Refusal(429, "too many tries", retry_after=seconds)
        for tries, what in counted:
            tries.add(what, now)
        has_turn = False
        try:
            has_turn = await self._checks.begin(known=known)
        finally:
            if not has_turn:  # nothing was tried
                for tries, what in counted:
                    tries.take_back(what, now)
        if not has_turn:
            return Refusal(429, "too many tries at once", retry_after=_BUSY)
        begun = trio.current_time()
        try:
            found = await self._ask(credentials)
        finally:
            self._checks.end()
        if found is None:
            await self._wait_since(begun)
            return _WRONG
        return found

    async def _ask(self, credentials: Credentials) -> LoggedIn | None:
        try:
            found = await self._authenticate(credentials.name, credentials.password)
        except Unauthorized:
            return None
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is reported
            raise without_password(failure, credentials.password) from None
        return _checked(found)

    async def _wait_since(self, begun: float) -> None:
        """Wait for the moment at which a failure is answered."""
        floor, took = self._limits.answer_after, trio.current_time() - begun
        if took > floor:
            self._tell(
                f"authenticate() took {took:.2f} s, and LoginLimits(answer_after={floor}) hides how long it takes only "
                "up to that; give more"
            )
        await trio.sleep_until(begun + floor * max(1, math.ceil(took / floor)))

    def _counted(
        self, handshake: Handshake, credentials: Credentials, device: str | None, now: float
    ) -> tuple[_Counted, bool]:
        """What a try is counted by, and whether its browser is known.

        Each log-in makes a mark. So that nobody has as many tries as marks, all of a name are counted together, too.
        """
        name, account = name_of(credentials), account_of(credentials)
        mark = self.marks.find(device, name, unix_time())
        if mark is not None and not (self._by_browser.wait(mark, now) or self._by_known.wait(name, now)):
            return ((self._by_browser, mark), (self._by_known, name)), True
        network = self._limits.clients.network(handshake)
        if self._by_address is None:
            return ((self._by_account, account),), False
        if proxy := self._limits.clients.unnamed(handshake):
            self._tell(
                "tries come through a proxy on this machine, and are not counted by address; name it: "
                f"LoginLimits(proxies=[{proxy!r}])"
            )
        if proxy or not network:
            return ((self._by_account, account),), False
        if self._limits.clients.is_forwarded(handshake):
            self._tell(
                "X-Forwarded-For is not looked at in what no named proxy sends, so that all who come through one are "
                "one address; if this was yours, name it: LoginLimits(proxies=[...])"
            )
        return ((self._by_account, account), (self._by_address, network.encode())), False

    def _tell(self, what: str) -> None:
        """Log something once."""
        kind = what[:20]
        if kind not in self._told:
            self._told.add(kind)
            server_log.warning("%s: %s", self._path, what)


def name_of(credentials: Credentials) -> bytes:
    """By what a browser is known for a name, as it is written: "Ada" may be somebody else than "ada".

    It is a digest, as that of `account_of`.
    """
    return hashlib.sha256(credentials.name.encode()).digest()


def account_of(credentials: Credentials) -> bytes:
    """By what the tries for a name are counted, however it is written: in capitals, or with spaces around it.

    It is a digest, so that no variable has the name which a report could show.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", credentials.name).casefold())
    return hashlib.sha256(folded.strip(" ").encode()).digest()


def _checked(found: object) -> LoggedIn | None:
    """What the application has returned, after a check that is for programs which no type checker has seen."""
    if found is None or isinstance(found, LoggedIn):
        return found
    if isinstance(found, str):
        return LoggedIn(found)
    raise ConfigurationError(
        f"authenticate() returned a {type(found).__name__}; return the subject as a str, a LoggedIn, or None"
    )
