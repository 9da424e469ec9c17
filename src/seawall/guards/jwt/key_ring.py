"""`KeyRing`: several keys, told apart by their ``kid``, so that one can follow another."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, final

import trio

from seawall.callables import describe
from seawall.clock import unix_time
from seawall.errors import ConfigurationError, Unavailable
from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.key import Key
from seawall.guards.jwt.key_source import KeySource, unknown_key
from seawall.guards.jwt.key_table import KeyTable, VerificationKey
from seawall.guards.jwt.unverified import TokenHeader
from seawall.guards.service import Service
from seawall.mistakes import is_number
from seawall.observability.logs import error_log
from seawall.printable import name_of, safe

#: What gives all keys anew.
Reload: TypeAlias = Callable[[], Awaitable[Iterable[Key]]]


@final
class KeyRing(KeySource):
    """The keys of one issuer, of which a token's ``kid`` names one.

    To replace a key, add the new one, wait until every server has it, let the issuer sign with it, and give the old one
    a `Key.not_after`: the moment when the last token that it has signed is over.

    A token without a ``kid`` is accepted where exactly one key is for its algorithm. A key whose ``kid`` is None is for
    tokens whose ``kid`` no other key has.

    Raises:
      ConfigurationError: there is neither a key nor a `reload`; two keys have one ``kid``, or none and the same
        algorithm; `every` is no number of seconds above 0.
    """

    def __init__(self, *keys: Key, reload: Reload | None = None, every: float = 300.0) -> None:
        """Hold `keys`, until `reload` gives others.

        Args:
          keys: the keys to begin with.
          reload: gives all keys that there are then. A server calls it when it begins to serve, and then after every
            `every` seconds. If it raises, gives no key that a verifier can use, or takes longer than `every`, that is
            logged as a warning, and the keys stay as they are. Until it has given some, tokens are refused with
            `Unavailable` if no keys were given to begin with.
          every: seconds.
        """
        _check_keys(keys)
        if not (is_number(every) and 0 < every < math.inf):
            raise ConfigurationError(f"KeyRing: every={every!r}; give a number of seconds above 0")
        if not keys and reload is None:
            raise ConfigurationError("KeyRing: there is no key; give some, or reload=, which gives them")
        _check_reload(reload)
        self._keys = keys
        self._table = KeyTable(key.verifying for key in keys)
        self._algorithms = set[tuple[Algorithm, ...]]()  # of each verifier
        self._reloading = None if reload is None else _Reloading(reload, every, self._replace)

    def __repr__(self) -> str:
        """The keys, without what they are made of."""
        return f"KeyRing({', '.join(map(repr, self._keys))})"

    @property
    def keys(self) -> tuple[Key, ...]:
        """Those that it has now."""
        return self._keys

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """The only key that fits, if there is one.

        Raises:
          ConfigurationError: the keys have to be reloaded, and no server does that.
        """
        if self._reloading is not None and not self._reloading.runs:
            raise ConfigurationError(
                "KeyRing(reload=...): nothing reloads it; give it to the verifier of a `bearer` in the guard of a "
                "route, or write @guard(services=verifier.services()) over a guard of your own that calls the verifier"
            )
        return self._table.find(header, unix_time())

    async def fetch(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey:
        """Refuse the token: there are no other keys before the next reload."""
        if not self._keys:
            raise Unavailable("the keys have not been loaded yet", retry_after=1)
        raise unknown_key()

    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """Refuse algorithms none of which a key serves; keys that are reloaded have to serve them too."""
        if self._keys:
            _check_served(self._keys, algorithms, "TokenVerifier")
        self._algorithms.add(algorithms)

    def services(self) -> tuple[Service, ...]:
        """The reloading, if there is one."""
        return () if self._reloading is None else (self._reloading,)

    def _replace(self, keys: Iterable[Key]) -> None:
        """Hold `keys` instead.

        Raises:
          ConfigurationError: there are none, two of one ``kid``, or none that a verifier could use.
        """
        keys = tuple(keys)
        _check_keys(keys)
        if not keys:
            raise ConfigurationError("KeyRing: reload gave no key")
        for algorithms in self._algorithms:
            _check_served(keys, algorithms, "KeyRing")
        self._keys, self._table = keys, KeyTable(key.verifying for key in keys)


@final
class _Reloading(Service):
    """Reloads the keys of a ring."""

    def __init__(self, reload: Reload, every: float, replace: Callable[[Iterable[Key]], None]) -> None:
        """Call `replace` with what `reload` gives, `every` so many seconds."""
        self._reload = reload
        self._every = every
        self._replace = replace
        self._servers = 0

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"KeyRing(reload={describe(self._reload)})"

    @property
    def runs(self) -> bool:
        """Whether a server runs it."""
        return self._servers > 0

    async def run(self) -> None:
        """Reload until cancelled."""
        self._servers += 1
        try:
            while True:
                await self._reload_once()
                await trio.sleep(self._every)
        finally:
            self._servers -= 1

    async def _reload_once(self) -> None:
        try:
            with trio.fail_after(self._every):
                keys = await self._reload()
            self._replace(keys)
        except Exception as error:  # noqa: BLE001 - whatever it is, the keys stay
            error_log.log(
                logging.WARNING, "%s failed, and the keys stay: %s", safe(self.name), name_of(error), failure=error
            )


def _check_served(keys: tuple[Key, ...], algorithms: tuple[Algorithm, ...], where: str) -> None:
    if not any(key.algorithm in algorithms for key in keys):
        served = dict.fromkeys(key.algorithm for key in keys)
        raise ConfigurationError(f"{where}: no key is for {'/'.join(algorithms)}; the keys are for {'/'.join(served)}")


def _check_reload(reload: object) -> None:
    if reload is not None and not callable(reload):
        raise ConfigurationError(f"KeyRing: reload={reload!r}; give an async function without arguments")


def _check_keys(keys: tuple[object, ...]) -> None:
    seen = set[tuple[str | None, Algorithm | None]]()
    for key in keys:
        if not isinstance(key, Key):  # what it is instead may be secret
            raise ConfigurationError(f"KeyRing: a {type(key).__name__} is no Key; give Key(kid, material, algorithm)")
        name = (key.kid, key.algorithm if key.kid is None else None)
        if name in seen:
            said = f"the kid {key.kid!r}" if key.kid is not None else f"no kid, for {key.algorithm}"
            raise ConfigurationError(f"KeyRing: two keys have {said}, and tokens could mean either; give each its own")
        seen.add(name)
