"""`KeyFetch`: one attempt to get an issuer's keys, by their URL or by that of the issuer (OpenID Connect Discovery)."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias, TypedDict, cast, final

import trio
from attrs import evolve, frozen

from seawall.errors import ConfigurationError
from seawall.guards.jwt.key_set import KeySet, MalformedKeySet, parse_key_set
from seawall.http.https_get import FetchFailed, HttpsGet, Url, https_get
from seawall.mistakes import is_number
from seawall.printable import name_of, safe

#: Gets the document at a URL.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]

#: Where an issuer says what it has, below its name (OpenID Connect Discovery 1.0, section 4).
WELL_KNOWN: Final = "/.well-known/openid-configuration"

#: Seconds that a fetch may take at most: it holds those up who wait for it.
MAX_TIMEOUT: Final = 60.0


class Fetching(TypedDict, total=False):
    """How a `JWKS` fetches."""

    refresh: float
    """Seconds after which keys are fetched again; 300 by default. When that fails, it is tried again after `cool_down`,
    then after twice as long, and so on, up to `refresh`."""
    stale: float
    """Seconds for which keys are used while others cannot be fetched; a day by default."""
    cool_down: float
    """Seconds between two fetches at least, however many tokens name a key that is not known; 10 by default."""
    timeout: float
    """Seconds that a fetch may take, all together; 5 by default, 60 at most."""
    max_bytes: int
    """The most that the key set may have; 65,536 by default."""
    fetch: Fetch
    """Gets the document at a URL, in place of `seawall.tokens.https_get`. `timeout` and `max_bytes` hold for it too."""
    insecure_http: bool
    """Whether ``http://`` is allowed: whoever is on the way can then make keys, and tokens with them."""


@final
@frozen(kw_only=True)
class CheckedFetching:
    """`Fetching`, with its defaults, checked."""

    refresh: float = 300.0
    stale: float = 86_400.0
    cool_down: float = 10.0
    timeout: float = 5.0
    max_bytes: int = 65_536
    fetch: Fetch = https_get
    insecure_http: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse what would fetch nothing, keep nothing, or never end."""
        times = (("refresh", self.refresh), ("stale", self.stale), ("cool_down", self.cool_down))
        for name, seconds in (*times, ("timeout", self.timeout)):
            if not (is_number(seconds) and 0 < seconds < math.inf):
                raise ConfigurationError(f"JWKS: {name}={seconds!r}; give a number of seconds above 0")
        if self.timeout > MAX_TIMEOUT:
            raise ConfigurationError(f"JWKS: timeout={self.timeout!r}; give {MAX_TIMEOUT:g} seconds at most")
        if self.stale < self.refresh:
            raise ConfigurationError(
                f"JWKS: stale={self.stale!r} is less than refresh={self.refresh!r}, so that keys would be too old "
                "before they are fetched again; give more"
            )
        if not (is_number(self.max_bytes) and self.max_bytes >= 1 and self.max_bytes % 1 == 0):
            raise ConfigurationError(f"JWKS: max_bytes={self.max_bytes!r}; give a whole number of bytes, 1 or more")
        _check_fetch(self.fetch)


def _check_fetch(fetch: object) -> None:
    if not callable(fetch):
        raise ConfigurationError(f"JWKS: fetch={fetch!r}; give an async function that takes a URL and returns bytes")


@final
@frozen
class KeyFetch:
    """Where the keys are, and how they are got."""

    url: str
    """Of the key set; or the issuer, if they are to be discovered."""
    how: CheckedFetching
    is_issuer: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse what could never be got."""
        _check_url(self.url, insecure_http=self.how.insecure_http)
        if self.is_issuer and "?" in self.url:
            raise ConfigurationError("JWKS.discover(): an issuer has no query; give it as its tokens name it")

    async def attempt(self) -> KeySet:
        """Get the keys, within the time and the size that are allowed.

        Raises:
          FetchFailed: that was not possible.
        """
        try:
            with trio.fail_after(self.how.timeout):
                url = await self._discovered() if self.is_issuer else self.url
                document = await self._get(url)
        except FetchFailed:
            raise
        except trio.TooSlowError:
            raise FetchFailed(f"it took longer than {self.how.timeout:g} s") from None
        except Exception as error:  # whatever an application's own function raises
            raise FetchFailed(name_of(error)) from error
        try:
            return parse_key_set(document)
        except MalformedKeySet as error:
            raise FetchFailed(safe(str(error), 500)) from None

    async def _get(self, url: str) -> bytes:
        fetch = self.how.fetch
        if isinstance(fetch, HttpsGet):
            fetch = evolve(
                fetch, timeout=self.how.timeout, max_bytes=self.how.max_bytes, insecure_http=self.how.insecure_http
            )
        document = await fetch(url)
        _check_bytes(document)
        if len(document) > self.how.max_bytes:
            raise FetchFailed(f"the answer has more than {self.how.max_bytes} bytes")
        return document

    async def _discovered(self) -> str:
        """Where the issuer says that its keys are."""
        return keys_of(
            await self._get(self.url.removesuffix("/") + WELL_KNOWN), self.url, insecure_http=self.how.insecure_http
        )


def _check_bytes(document: object) -> None:
    """Refuse what a type checker would, of a function of an application's own."""
    if not isinstance(document, bytes):
        raise FetchFailed(f"fetch= gave a {type(document).__name__}; it has to give bytes")


def keys_of(document: bytes, issuer: str, *, insecure_http: bool) -> str:
    """The URL of the keys, in what an issuer says about itself.

    Raises:
      FetchFailed: it is no such document, or one of another issuer.
    """
    try:
        decoded: object = json.loads(document)
    except Exception as error:  # noqa: BLE001 - json raises RecursionError too
        raise FetchFailed(f"what the issuer says about itself is no JSON ({type(error).__name__})") from None
    said: Mapping[str, object] = cast("dict[str, object]", decoded) if isinstance(decoded, dict) else {}
    if said.get("issuer") != issuer:  # OpenID Connect Discovery 1.0, section 4.3: else it could speak for another
        raise FetchFailed("what the issuer says about itself names another issuer, or none")
    url = said.get("jwks_uri")
    if not isinstance(url, str):
        raise FetchFailed("the issuer does not say where its keys are (jwks_uri)")
    try:
        Url.parse(url, insecure_http=insecure_http)
    except FetchFailed as error:
        raise FetchFailed(f"jwks_uri: {error}") from None
    return url


def _check_url(url: object, *, insecure_http: bool) -> None:
    if not isinstance(url, str):
        raise ConfigurationError(f"JWKS was given a {type(url).__name__}; give the URL of the keys, as text")
    try:
        Url.parse(url, insecure_http=insecure_http)
    except FetchFailed as error:
        raise ConfigurationError(
            f"JWKS: {error}; give one such as 'https://id.example/jwks'. insecure_http=True allows http, where whoever "
            "is on the way can make keys"
        ) from None
