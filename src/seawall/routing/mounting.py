"""`MountPath`: what the routes of a mounted router take over from all mounts above them.

Each `Mount` has a prefix, a guard and `Settings`; a `MountPath` joins those of all mounts from the app down to a
router. An app's own routes have `AT_THE_ROOT`.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

from attrs import field, frozen

from seawall.compression import RouteCompression
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.inherited import inherited
from seawall.guards.origins import Origins
from seawall.limits import LimitOverrides
from seawall.messages.codec import Codec
from seawall.policy.error_policy import ErrorPolicy
from seawall.routing.refusing import RefuseWith

Start_co = TypeVar("Start_co", covariant=True)
Start_contra = TypeVar("Start_contra", contravariant=True)
Inner = TypeVar("Inner")


@final
@frozen(kw_only=True)
class Settings:
    """What a route may set for its connections, and a router for those of all its routes."""

    errors: ErrorPolicy = field(factory=ErrorPolicy)
    limits: LimitOverrides = field(factory=LimitOverrides)
    origins: Origins | None = None
    compression: RouteCompression = None
    codec: Codec | None = None
    refuse_with: RefuseWith | None = None

    def with_fallback(self, outer: Settings | None) -> Settings:
        """These settings, with those of `outer` where these set nothing."""
        if outer is None:
            return self
        return Settings(
            errors=self.errors.within(outer.errors),
            limits=outer.limits | self.limits,
            origins=outer.origins if self.origins is None else self.origins,
            compression=outer.compression if self.compression is None else self.compression,
            codec=outer.codec if self.codec is None else self.codec,
            refuse_with=outer.refuse_with if self.refuse_with is None else self.refuse_with,
        )


@final
@frozen(kw_only=True)
class MountPath(Generic[Start_co]):
    """Everything that holds below all mounts so far: the path, the guard and the settings of these mounts together."""

    prefix: str
    """The prefixes of the mounts, joined."""
    guard: Guard[Anonymous, Start_co]
    """The guards of the mounts, one after the other."""
    settings: Settings | None
    """The settings of the mounted routers, an inner one's over those around it; None if nothing is mounted."""
    has_deciding_guard: bool
    """Whether `Guard.decides` is true for one of the guards."""

    def joined(self, mount: Mount[Start_co, Inner]) -> MountPath[Inner]:
        """This path with `mount` below it."""
        return MountPath(
            prefix=join(self.prefix, mount.prefix),
            guard=self.guard >> mount.guard,
            settings=mount.settings.with_fallback(self.settings),
            has_deciding_guard=self.has_deciding_guard or mount.guard.decides(),
        )


#: The path of an app's own routes, above all mounts.
AT_THE_ROOT: MountPath[Anonymous] = MountPath(prefix="/", guard=inherited(), settings=None, has_deciding_guard=False)


@final
@frozen(kw_only=True)
class Mount(Generic[Start_contra, Inner]):
    """One router mounted in another, or in an app: one step of a `MountPath`."""

    prefix: str
    guard: Guard[Start_contra, Inner]
    settings: Settings


def join(prefix: str, path: str) -> str:
    """`path` below `prefix`. ``/`` adds nothing, as either of the two."""
    if prefix == "/":
        return path
    return prefix if path == "/" else prefix + path
