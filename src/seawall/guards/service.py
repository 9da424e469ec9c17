"""`Service`: a job that a guard needs done beside the connections, which every server of the guard runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import cast

from seawall.errors import ConfigurationError


class Service(ABC):
    """A job of a server, such as keeping the keys of an identity provider up to date.

    A guard or a check names those that it needs in its `services`, and each server runs each of them once, from before
    its first connection until after its last. Where two servers have the same service, both run it, at the same time.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in the log."""

    @abstractmethod
    async def run(self) -> None:
        """Do the job until cancelled. What it raises is logged, and ends this service alone."""


class Serviced(ABC):  # noqa: B024 - most have none, and say nothing
    """What may need services."""

    def services(self) -> tuple[Service, ...]:
        """What a server has to run for it; none by default."""
        return ()


def services_of(*users: object) -> tuple[Service, ...]:
    """The services of all those among `users` that may need any, each once.

    Raises:
      ConfigurationError: one of them names something else as a service.
    """
    found: dict[int, Service] = {}
    for user in users:
        if isinstance(user, Serviced):
            named: object = user.services()
            _check_services(user, named)
            found |= {id(service): service for service in user.services()}
    return tuple(found.values())


def each_once(services: Iterable[Service]) -> tuple[Service, ...]:
    """`services`, in their order, each once: two that are equal are two."""
    return tuple({id(service): service for service in services}.values())


def _check_services(user: object, named: object) -> None:
    if not (isinstance(named, tuple) and all(isinstance(one, Service) for one in cast("tuple[object, ...]", named))):
        raise ConfigurationError(
            f"{type(user).__name__}.services() returned {named!r}; return a tuple of seawall.tokens.Service"
        )
