"""`Service`: what guards need done beside the connections, found wherever they stand, and run by every server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast, final

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Check,
    ConfigurationError,
    Connection,
    Events,
    Gate,
    Guard,
    Request,
    Response,
    Router,
    check,
    guard,
    inherited,
    public,
)
from seawall.guards.service import services_of
from seawall.testing import serve
from seawall.tokens import Service
from tests.kit.log import recorded
from tests.kit.tokens import verifier


@define  # two that are equal are two services all the same
class Counter(Service):
    """Counts how many of it run."""

    running: int = 0
    begun: int = field(default=0, eq=False)

    @property
    def name(self) -> str:
        """Its name."""
        return "counter"

    async def run(self) -> None:
        """Count until cancelled."""
        self.running += 1
        self.begun += 1
        try:
            await trio.sleep_forever()
        finally:
            self.running -= 1


@final
@frozen
class Needing(Guard[Anonymous, Anonymous]):
    """A guard that needs a service."""

    service: Service

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
        """Let everybody in."""
        return proved

    def services(self) -> tuple[Service, ...]:
        """The one."""
        return (self.service,)


@final
@frozen
class Wanting(Check[object]):
    """A check that needs a service."""

    service: Service

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Let everybody through."""

    def services(self) -> tuple[Service, ...]:
        """The one."""
        return (self.service,)


a, b = Counter(), Counter()


@guard(services=[a, b])
async def needing(gate: Gate, proved: Anonymous) -> Anonymous:
    """A function that needs two."""
    return proved


@check(services=(b,))
async def wanting(gate: Gate, principal: object) -> None:
    """A function that needs one."""


@guard
async def same(gate: Gate, proved: Anonymous) -> Anonymous:
    """A guard that needs none."""
    return proved


@pytest.mark.parametrize(
    ("step", "services"),
    [
        (public, ()),
        (same, ()),
        (Needing(a), (a,)),
        (Wanting(a), (a,)),
        (same >> Needing(a), (a,)),
        (Needing(a) >> Needing(b), (a, b)),
        (Needing(a) >> Needing(a), (a,)),
        (Needing(a) >> Wanting(b), (a, b)),
        (Wanting(a) >> Needing(b), (a, b)),
        (Wanting(a) >> Wanting(b), (a, b)),
        (Needing(a) | Needing(b), (a, b)),
        (same >> Needing(a) | Needing(b), (a, b)),
        (same >> Wanting(a) | public, (a,)),
        (Wanting(a) >> Needing(b) | public, (a, b)),
        (needing, (a, b)),
        (wanting, (b,)),
        (same >> wanting >> needing | public, (b, a)),
        (inherited(wanting), (b,)),
        (inherited(), ()),
        (inherited(Wanting(a), Wanting(b)), (a, b)),
        (same >> inherited(Wanting(a)), (a,)),
    ],
)
def test_every_combinator_passes_them_on(
    step: Guard[Anonymous, Anonymous] | Check[object], services: tuple[Service, ...]
) -> None:
    """Each service that a step needs is known to the chain, once, and which it is decides identity."""
    found = step.services()
    assert [id(service) for service in found] == [id(service) for service in services]


def test_what_is_no_service_is_refused_where_the_route_is_defined() -> None:
    """The mistake is named, and what to write."""

    class Wrong(Guard[Anonymous, Anonymous]):
        async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
            return proved

        def services(self) -> tuple[Service, ...]:
            return [a]  # type: ignore[return-value]  # pyright: ignore[reportReturnType] # the mistake

    app = App()
    with pytest.raises(ConfigurationError, match=r"Wrong\.services\(\) returned .*; return a tuple of"):
        app.route("/", guard=Wrong())(idle)
    with pytest.raises(ConfigurationError, match=r"Wrong\.services\(\)"):
        services_of(same, Wrong())


@pytest.mark.parametrize("decorator", [guard, check])
@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (verifier, r"services=TokenVerifier\(.*\): give a list, such as verifier\.services\(\)"),
        (a, r"services=Counter\(.*\): give a list, such as verifier\.services\(\)"),
        (None, r"services=None: give a list, such as verifier\.services\(\)"),
        ([verifier], r"services= names a TokenVerifier, which .*; a verifier has some: services=verifier.services\(\)"),
    ],
    ids=["verifier", "one", "none", "list"],
)
def test_what_is_no_service_is_refused_over_a_function(decorator: object, wrong: object, remedy: str) -> None:
    """The text says what was most likely meant."""
    unchecked = cast("Callable[..., object]", decorator)  # type: ignore[explicit-any]  # as no type checker has seen it
    with pytest.raises(ConfigurationError, match=rf"^@(guard|check): {remedy}$"):
        unchecked(services=wrong)


async def idle(conn: Connection[Anonymous]) -> None:
    """Do nothing."""


def everywhere(route: Service, mount: Service, page: Service, event: Service) -> App:
    """An app whose services are in all places."""
    app, router, events = App(), Router[Anonymous](), Events[Anonymous]()
    app.route("/", guard=Needing(route))(idle)
    router.route("/inner", guard=inherited(Wanting(route)))(idle)
    app.mount("/outer", router, guard=Needing(mount))

    @app.page("/page", guard=Needing(page))
    async def page_(request: Request[Anonymous]) -> Response:
        raise AssertionError(request)

    app.page("/fixed", "hello")

    @events.on(bytes, guard=Wanting(event))
    async def message(conn: Connection[Anonymous], message: bytes) -> None: ...

    app.route("/events", guard=public)(events)
    return app


async def test_a_server_runs_each_of_them_once(autojump_clock: MockClock) -> None:
    """Those of routes, mounts, pages and events run while the app is served, each once, and again the next time."""
    found = [Counter(), Counter(), Counter(), Counter()]
    app = everywhere(*found)
    for turn in (1, 2):
        async with serve(app):
            await wait_all_tasks_blocked()
            assert [(service.running, service.begun) for service in found] == [(1, turn)] * 4
        assert [service.running for service in found] == [0] * 4


async def test_two_servers_of_one_service_run_it_both(autojump_clock: MockClock) -> None:
    """A service may be that of several apps, and goes on until the last of them has stopped."""
    shared = Counter()
    apps = [everywhere(shared, shared, shared, shared) for _ in range(2)]
    async with serve(apps[0]) as first, serve(apps[1]) as second:
        await wait_all_tasks_blocked()
        assert shared.running == 2
        await first.server.aclose()
        assert shared.running == 1
        await second.server.aclose()
        assert shared.running == 0


@asynccontextmanager
async def served(service: Service) -> AsyncGenerator[None]:
    """Serve an app that needs `service`, and see that it takes connections."""
    app = App()
    app.route("/", guard=Needing(service))(idle)
    async with serve(app) as serving:
        async with serving.connect("/"):
            pass
        yield
        async with serving.connect("/"):
            pass


async def test_one_that_fails_or_returns_harms_nobody(autojump_clock: MockClock) -> None:
    """The failure is logged under the service's name."""

    class Failing(Counter):
        async def run(self) -> None:
            raise OSError("no route to host")

    with recorded() as records:
        async with served(Failing()):
            await wait_all_tasks_blocked()
    assert records.lines("error") == ["counter: OSError: no route to host"]


async def test_one_that_does_not_end_is_named(autojump_clock: MockClock) -> None:
    """What shields itself when the server stops is waited for, and the log says for what."""

    class Stubborn(Counter):
        async def run(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    with recorded() as records:
        async with served(Stubborn()):
            pass
    assert any(line == "stopping, but still running: counter" for line in records.lines("server"))
