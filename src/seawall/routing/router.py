"""`Router`: routes that start from a principal already proved, collected in one place and mounted in another.

A router's type says from which principal its routes start: those of a ``Router[Admin]`` start from an `Admin` who has
been proved already, and so it can only be mounted behind a guard that proves one. Mounting makes routes of the app,
each with the whole path and the whole chain of guards; no router is used when connections arrive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, TypeVar, cast, final

from attrs import field, frozen

from seawall.compression import RouteCompression, check_compression
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError
from seawall.guards.guard import Guard
from seawall.guards.origins import Origins
from seawall.limits import LimitOverrides, check_overrides
from seawall.messages.codec import Codec, check_codec
from seawall.policy.error_policy import ErrorPolicy, check_policy
from seawall.routing.mounting import Mount, MountPath, Settings, join
from seawall.routing.paths import PathPattern, PathTable, Placeholder
from seawall.routing.refusing import RefuseWith, check_refuse_with
from seawall.routing.route import (
    AnyRoute,
    AnyRouteTemplate,
    Endpoint,
    RouteTemplate,
    check_guard,
    check_origins,
    naming,
)

P = TypeVar("P")
Q = ParamSpec("Q")
Start = TypeVar("Start")
Method = TypeVar("Method", bound=Callable[..., object])  # type: ignore[explicit-any]  # any method at all


def _with_guard(method: Method) -> Method:  # type: ignore[explicit-any]  # as above
    """Say what to write where a call of `method` has no ``guard=``; type checkers see that it has to have one."""

    @wraps(method)
    def checked(self: object, *args: object, **options: object) -> object:
        if "guard" not in options:
            raise ConfigurationError(
                f"{method.__name__}({', '.join(map(repr, args[:1]))}): guard= is missing; say who may connect, as with "
                "guard=bearer(verifier), or guard=public for an open door"
            )
        return method(self, *args, **options)

    return cast("Method", checked)  # type: ignore[explicit-any]  # as above


class Router(Generic[Start]):
    """Routes that start from a principal already proved.

    ::

        admin: Router[Admin] = Router(errors=ErrorPolicy().on(NotFound, Close(4404, "not found")))


        @admin.route("/log", guard=inherited())
        async def log(conn: Connection[Admin]) -> None: ...


        app.mount("/admin", admin, guard=member >> promote)  # Guard[Anonymous, Admin]

    An `App` is a ``Router[Anonymous]``, and a router can be mounted in a router. What a route does not set itself is
    taken from its router, then from the router around that one, then from the app.

    A router is mounted when it is complete: what is added to it afterwards is an error at once. It may be mounted
    several times, at different paths.
    """

    def __init__(
        self,
        *,
        errors: ErrorPolicy | None = None,
        limits: LimitOverrides | None = None,
        origins: Origins | None = None,
        compression: RouteCompression = None,
        codec: Codec | None = None,
        refuse_with: RefuseWith | None = None,
    ) -> None:
        """Begin with no routes.

        Args:
          errors: asked after a route's own policy, before that of the router around, or of the app. It also decides
            about failures of the guards of all mounts above this router.
          limits: single limits, over those of the router around, or of the app. A route may say otherwise.
          origins: which web pages may connect, instead of what the routers around and the app say. A route may say
            otherwise.
          compression: how messages are compressed, likewise; False switches it off.
          codec: how typed messages are written, likewise.
          refuse_with: how a client learns that guards have refused it, likewise; `Route` has the details.

        Raises:
          ConfigurationError: an origin is not one that a browser sends, or something is not what it should be.
        """
        check_policy(errors, where="Router")
        check_compression(compression, where="Router")
        if limits is not None:
            check_overrides(limits)
        check_origins(origins)
        check_codec(codec, where="Router")
        check_refuse_with(refuse_with, where="Router")
        self._settings = Settings(
            errors=errors or ErrorPolicy(),
            limits=limits or {},
            origins=origins,
            compression=compression,
            codec=codec,
            refuse_with=refuse_with,
        )
        self._templates: list[AnyRouteTemplate[Start]] = []
        self._table: PathTable[AnyRouteTemplate[Start]] = PathTable()
        self._mounted: str | None = None

    @_with_guard
    def route(
        self,
        path: str,
        *,
        guard: Guard[Start, P],
        errors: ErrorPolicy | None = None,
        limits: LimitOverrides | None = None,
        subprotocols: Sequence[str] = (),
        origins: Origins | None = None,
        compression: RouteCompression = None,
        codec: Codec | None = None,
        refuse_with: RefuseWith | None = None,
        name: str = "",
    ) -> Endpoint[P]:
        """Register the async function below as the handler of `path`; see `Route` for the arguments.

        In a router `guard` starts from what the guards above it have proved, and `path` from the prefix of the mount:
        ``/`` is the prefix itself. Whether parameters and paths fit is checked when the router is mounted.

        Raises:
          ConfigurationError: when the parts do not fit together, another route has the path, or the router is mounted.
        """

        def register(
            handler: Callable[Concatenate[Connection[P], Q], Awaitable[None]], /
        ) -> Callable[Concatenate[Connection[P], Q], Awaitable[None]]:
            self.add(
                RouteTemplate(
                    path=path,
                    guard=guard,
                    handler=handler,
                    errors=ErrorPolicy() if errors is None else errors,
                    limits=limits or {},
                    subprotocols=subprotocols,
                    origins=origins,
                    compression=compression,
                    codec=codec,
                    refuse_with=refuse_with,
                    name=name,
                )
            )
            return handler

        return register

    def add(self, *routes: AnyRouteTemplate[Start]) -> None:
        """Add routes that were made by hand, all or none: to an app, a `Route` each. Raises as `route`."""
        self._add_templates(routes)

    @_with_guard
    def mount(self, prefix: str, router: Router[P], *, guard: Guard[Start, P]) -> None:
        """Put the routes of `router` under `prefix`, behind `guard`.

        The guard runs first, then those of the routes, all within one `Limits.auth_timeout`. Parameters of the prefix
        reach guards and handlers of the routes like their own, and are checked like them, here.

        Args:
          prefix: a path pattern such as ``/admin`` or ``/tenants/{tenant}``; ``/`` adds nothing to the routes' paths.
          router: the router. No route can be added to it from now on.
          guard: proves the principal from which the routes start.

        Raises:
          ConfigurationError: the prefix is no path or ends with a slash, a route does not fit under it, or has the
            path of another; then nothing has been mounted.
        """
        with naming(f"mount({prefix!r})"):
            _check_prefix(prefix)
            check_guard(guard)
            _check_router(router)
            templates = router._templates_to_mount(self)
            self._check_open()
        mount = Mount(prefix=prefix, guard=guard, settings=router._settings)
        self._add_templates([_Mounted(template=template, mount=mount) for template in templates])
        router._mounted = prefix

    def _add_templates(self, templates: Sequence[AnyRouteTemplate[Start]]) -> None:
        """Add all of `templates`, or none. Takes as long however many routes there are already."""
        added: list[AnyRouteTemplate[Start]] = []
        try:
            for template in templates:
                self._add_template(template, added)
                added.append(template)
        except BaseException:
            for template in added:
                self._table.discard(template.pattern)
            raise
        self._templates += templates

    def _add_template(self, template: AnyRouteTemplate[Start], added: Sequence[AnyRouteTemplate[Start]]) -> None:
        """Put `template` into the table, after those that were `added` together with it."""
        with naming(template.owner):
            self._check_open()
            try:
                self._table.add(template.pattern, template)
            except ConfigurationError as error:
                raise ConfigurationError(f"{error}{_same_path(template, (*self._templates, *added))}") from None

    def _check_open(self) -> None:
        if self._mounted is not None:
            raise ConfigurationError(
                f"this router was mounted at {self._mounted!r} before; mount a router when all its routes are there"
            )

    def _templates_to_mount(self, where: object) -> Sequence[AnyRouteTemplate[Start]]:
        """The routes that become `where`'s when this router is mounted there."""
        if where is self:
            raise ConfigurationError("a router cannot be mounted in itself; make another Router for the inner routes")
        return self._templates


def _same_path(template: AnyRouteTemplate[Start], others: Sequence[AnyRouteTemplate[Start]]) -> str:
    """The handler of the other route with the same path, for an error: the paths may be spelt alike."""
    return "".join(
        f" (the other leads to {other.owner})" for other in others if other.pattern.shape == template.pattern.shape
    )


@final
@frozen(kw_only=True)
class _Mounted(AnyRouteTemplate[Start], Generic[Start, P]):
    """A template of a mounted router, as one of the router that it is mounted in."""

    template: AnyRouteTemplate[P]
    mount: Mount[Start, P]
    _pattern: PathPattern = field(init=False)

    def __attrs_post_init__(self) -> None:
        with naming(self.owner):
            pattern = PathPattern.parse(join(self.mount.prefix, self.template.pattern.text))
        object.__setattr__(self, "_pattern", pattern)

    @property
    def pattern(self) -> PathPattern:
        return self._pattern

    @property
    def owner(self) -> str:
        return self.template.owner

    def mounted_at(self, at: MountPath[Start], /) -> AnyRoute:
        return self.template.mounted_at(at.joined(self.mount))


def _check_router(value: object) -> None:
    if not isinstance(value, Router):
        raise ConfigurationError(f"{value!r} is no router; give a Router with the routes")


def _check_prefix(prefix: str) -> None:
    """Refuse a prefix after which no path could follow, even if no route does yet."""
    last = PathPattern.parse(prefix).segments[-1]
    if isinstance(last, Placeholder) and last.converter == "path":
        raise ConfigurationError(
            f"'{{{last.name}:path}}' takes all that is left, so that no route could follow; use {{{last.name}}}"
        )
    if prefix != "/" and not last:
        raise ConfigurationError(f"the prefix ends with '/', with which the routes begin; write {prefix.rstrip('/')!r}")
