"""`JWKS`: the keys that an identity provider publishes, fetched beside the connections.

One task fetches, and is the only one that does, however many ask: those who cannot go on without wait for it, and can
be cancelled without harm to it. Where several servers run a `JWKS`, one of them fetches, and when it stops, the next.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Unpack, final

import trio
from attrs import evolve

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, Unauthorized, Unavailable
from seawall.guards.jwt.algorithms import SECRET_SIZES, Algorithm
from seawall.guards.jwt.key_fetch import CheckedFetching, Fetching, KeyFetch
from seawall.guards.jwt.key_set import KeySet
from seawall.guards.jwt.key_source import KeySource, unknown_key
from seawall.guards.jwt.key_table import VerificationKey
from seawall.guards.jwt.refresh_schedule import Now, RefreshSchedule
from seawall.guards.jwt.unverified import TokenHeader
from seawall.guards.service import Service
from seawall.http.https_get import FetchFailed
from seawall.mistakes import check_names
from seawall.observability.logs import server_log
from seawall.one_run import OneRun
from seawall.printable import safe

#: Seconds after which the wall clock is looked at: Trio's has not gone on while the machine was suspended.
LOOK: Final = 10.0


@final
class JWKS(KeySource, Service):
    """The keys that an identity provider publishes as a JSON Web Key Set (RFC 7517).

    ::

        keys = JWKS("https://id.example/jwks")
        verifier = TokenVerifier(keys, algorithms=["RS256"], audience="chat", issuer="https://id.example")

    A server whose routes use the verifier in a `bearer` fetches them when it starts, and then every five minutes. In a
    program of your own, ``await nursery.start(keys.run)`` does. Where nothing does, verifying is a
    `ConfigurationError`.

    A token whose ``kid`` is not known has them fetched again, ten seconds after the last time at the earliest; before
    that it is refused at once. While the provider cannot be reached, or answers without a key that can be used, the
    keys stay as they are for a day; tokens with others are refused with `Unavailable`, which says when to try again.
    Every failure is a warning in the log.

    Raises:
      ConfigurationError: the URL is not https, or has a user or a fragment; an option is no number of its kind.
    """

    def __init__(self, url: str, /, **how: Unpack[Fetching]) -> None:
        """Use what is published at `url`.

        Args:
          url: of the key set, ``https://``.
          how: see `Fetching`.
        """
        check_names("JWKS", how, Fetching.__annotations__)
        fetching = CheckedFetching(**how)
        self._source = KeyFetch(url, fetching)
        self._schedule = RefreshSchedule(fetching.refresh, fetching.stale, fetching.cool_down)
        self._keys: KeySet | None = None
        self._run = OneRun()
        self._turn = trio.Lock()
        self._is_fetching = False
        self._wanted = trio.Event()
        self._done = trio.Event()

    @classmethod
    def discover(cls, issuer: str, /, **how: Unpack[Fetching]) -> JWKS:
        """The keys of an issuer that says itself where they are (OpenID Connect Discovery 1.0).

        It is asked before each fetch, below its name: ``/.well-known/openid-configuration``. What it says must name the
        very same issuer, and a ``jwks_uri`` that is https. `Fetching.timeout` holds for both together.

        Args:
          issuer: as tokens name it in ``iss``.
          how: see `Fetching`.

        Raises:
          ConfigurationError: as for `JWKS`; or it has a query.
        """
        found = cls(issuer, **how)
        found._source = evolve(found._source, is_issuer=True)
        return found

    def __repr__(self) -> str:
        """Where the keys are."""
        return f"JWKS{'.discover' if self._source.is_issuer else ''}({self._source.url!r})"

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return safe(repr(self))

    def services(self) -> tuple[Service, ...]:
        """Itself."""
        return (self,)

    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """Refuse HS*: whoever reads a published secret can sign with it."""
        if secret := [algorithm for algorithm in algorithms if algorithm in SECRET_SIZES]:
            raise ConfigurationError(
                f"TokenVerifier: {'/'.join(secret)} needs a secret, and {self!r} publishes its keys; name what the "
                "provider signs with, such as 'RS256'"
            )

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """The key of a token with this header, if there is one that is not too old.

        Raises:
          ConfigurationError: nothing fetches the keys, or what does is in another thread.
        """
        self._check_run()
        if not self._run.is_used:
            raise ConfigurationError(
                f"{self!r} does not run, and is not fetched for each token; serve an app whose guard has it in a "
                "`bearer`, write @guard(services=verifier.services()) over a guard of your own that calls the "
                "verifier, or `await nursery.start(keys.run)`"
            )
        if self._keys is None or self._schedule.is_stale(_now()):
            return None
        return self._keys.find(header, algorithms)

    async def fetch(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey:
        """The key, after fetching, if one could be there now and `Fetching.cool_down` has passed."""
        keys = None if self._schedule.is_stale(_now()) else self._keys
        if keys is not None and (header.kid is None or keys.has(header.kid)):
            raise _unusable(keys.undecided(header, algorithms))  # a newer set would not help
        if not self._is_fetching and self._schedule.cooling(_now()) > 0:
            raise self._refusal()
        self._wanted.set()
        await self._done.wait()
        key = self.find(header, algorithms) if self._run.is_used else None
        if key is None:
            raise self._refusal()
        return key

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetch the keys now, and again and again, until cancelled; several of these take turns.

        Args:
          task_status: for ``nursery.start``, which then returns as soon as tokens can be verified; the first ones wait
            for the keys.

        Raises:
          ConfigurationError: it runs in another thread already, under another Trio.
        """
        is_first = not self._run.is_used
        try:
            with self._run.using(self._elsewhere()):
                if is_first:
                    self._schedule.restart(_now())
                task_status.started()
                async with self._turn:
                    while True:
                        await self._wait_for_turn()
                        await self._fetch()
        finally:
            if not self._run.is_used:
                self._tell()

    def _check_run(self) -> None:
        """Refuse another thread than that of `run`: events, locks and clocks are of one."""
        if self._run.is_elsewhere():
            raise ConfigurationError(self._elsewhere())

    def _elsewhere(self) -> str:
        return f"{self!r} runs in another thread; make one for each"

    def _has_failed(self) -> bool:
        """Whether it is not known which keys there are now."""
        return self._schedule.failures > 0 or self._schedule.is_stale(_now())

    def _refusal(self) -> Unauthorized | Unavailable:
        if self._has_failed():
            wait = max(1.0, self._schedule.cooling(_now()))
            return Unavailable(f"{self.name}: the keys cannot be fetched", retry_after=wait)
        return unknown_key()

    async def _wait_for_turn(self) -> None:
        """Wait until it is time, or somebody asks."""
        while (seconds := self._schedule.wait(_now())) > 0 and not self._wanted.is_set():
            with trio.move_on_after(min(seconds, LOOK)):
                await self._wanted.wait()

    async def _fetch(self) -> None:
        self._is_fetching = True
        self._schedule.begin(_now())
        try:
            keys = await self._source.attempt()
        except FetchFailed as error:
            self._schedule.fail(_now())
            self._warn(error)
        else:
            self._replace(keys)
        finally:
            self._is_fetching = False
        self._tell()

    def _replace(self, keys: KeySet) -> None:
        failures, before = self._schedule.failures, () if self._keys is None else self._keys.skipped
        self._schedule.succeed()
        if failures:
            server_log.info("%s: fetched again", self.name)
        if keys.skipped and keys.skipped != before:
            server_log.warning("%s: keys are skipped: %s", self.name, safe("; ".join(keys.skipped), 500))
        self._keys = keys

    def _warn(self, error: FetchFailed) -> None:
        now = _now()
        kept = (
            "there are none" if self._schedule.is_stale(now) else f"those of {self._schedule.age(now):.0f} s ago stay"
        )
        server_log.warning(
            "%s: no keys, and %s; trying again in %.0f s: %s", self.name, kept, self._schedule.wait(now), error
        )

    def _tell(self) -> None:
        """Let those go on who wait for keys."""
        self._done.set()
        self._done, self._wanted = trio.Event(), trio.Event()


def _unusable(undecided: Collection[Algorithm]) -> Unauthorized:
    if not undecided:
        return unknown_key()
    return Unauthorized(
        f"token refused: its key names no algorithm (alg), and may serve {' and '.join(sorted(undecided))}; accept one "
        "of them"
    )


def _now() -> Now:
    return Now(trio.current_time(), unix_time())
