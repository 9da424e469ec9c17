"""`MountPath`: where a router is mounted, all mounts above it included, and what its routes take over from there.

Each `Mount` has a prefix, a guard and `Settings`; a `MountPath` joins those of all mounts on the way. An app's own
routes are `AT_THE_ROOT`.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

from attrs import field, frozen

from seawall.compression import RouteCompression
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.inherited import inherited
from seawall.guards.origins import Origins
from seawall.limits import LimitOverrides
from seawall.policy.error_policy import ErrorPolicy

Start_co = TypeVar("Start_co", covariant=True)
Start_contra = TypeVar("Start_contra", contravariant=True)
Inner = TypeVar("Inner")


@final
@frozen(kw_only=True)
class Settings:
    """What routes may say about their connections, and routers on behalf of theirs."""

    errors: ErrorPolicy = field(factory=ErrorPolicy)
    limits: LimitOverrides = field(factory=LimitOverrides)
    origins: Origins | None = None
    compression: RouteCompression = None

    def within(self, outer: Settings | None) -> Settings:
        """These settings, with those of `outer` for whatever is not said here."""
        if outer is None:
            return self
        return Settings(
            errors=self.errors.within(outer.errors),
            limits=outer.limits | self.limits,
            origins=outer.origins if self.origins is None else self.origins,
            compression=outer.compression if self.compression is None else self.compression,
        )


@final
@frozen(kw_only=True)
class MountPath(Generic[Start_co]):
    """Where a router is mounted, all mounts above it included: its path, and what is proved and set there."""

    prefix: str
    guard: Guard[Anonymous, Start_co]
    settings: Settings | None
    """What the routers above say; None where there are none."""
    decided: bool
    """Whether a guard above `Guard.decides`."""

    def joined(self, mount: Mount[Start_co, Inner]) -> MountPath[Inner]:
        """This path with one more mount."""
        return MountPath(
            prefix=join(self.prefix, mount.prefix),
            guard=self.guard >> mount.guard,
            settings=mount.settings.within(self.settings),
            decided=self.decided or mount.guard.decides(),
        )


#: Where an app's own routes are.
AT_THE_ROOT: MountPath[Anonymous] = MountPath(prefix="/", guard=inherited(), settings=None, decided=False)


@final
@frozen(kw_only=True)
class Mount(Generic[Start_contra, Inner]):
    """Where a router is mounted: one element of a `MountPath`."""

    prefix: str
    guard: Guard[Start_contra, Inner]
    settings: Settings


def join(prefix: str, path: str) -> str:
    """A path under a prefix: ``/`` is the root of either."""
    if prefix == "/":
        return path
    return prefix if path == "/" else prefix + path
