"""How long it takes to define many routes, and that nothing stays of those that were refused."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from seawall import Anonymous, App, ConfigurationError, Connection, Route, Router, public
from seawall.routing.paths import PathPattern, PathTable

#: How many routes a small app has.
ROUTES = 1_500


async def anybody(conn: Connection[Anonymous]) -> None:
    """Do nothing."""


async def numbered(conn: Connection[Anonymous], number: int) -> None:
    """Do nothing with a number."""


def literals(count: int) -> None:
    """One route after another."""
    app = App()
    for at in range(count):
        app.route(f"/{at}/x", guard=public)(anybody)


def placeholders(count: int) -> None:
    """Likewise, with a parameter each."""
    app = App()
    for at in range(count):
        app.route(f"/{at}/{{number:int}}", guard=public)(numbered)


def by_hand(count: int) -> None:
    """All at once."""
    App().add(*(Route(path=f"/{at}", guard=public, handler=anybody) for at in range(count)))


def mounts(count: int) -> None:
    """Many routers, of two routes each."""
    app = App()
    for at in range(count // 2):
        router = Router[Anonymous]()
        router.route("/x", guard=public)(anybody)
        router.route("/y", guard=public)(anybody)
        app.mount(f"/{at}", router, guard=public)


def seconds(define: Callable[[int], None], count: int) -> float:
    """The processor time of defining so many routes, with nothing left over for the garbage collector."""
    gc.collect()
    gc.disable()  # how often it looks depends on what else is alive
    try:
        began = time.process_time()
        define(count)
        return time.process_time() - began
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("define", [literals, placeholders, by_hand, mounts])
def test_mended_19_defining_routes_is_not_quadratic(define: Callable[[int], None]) -> None:
    """Ten times as many routes of one app take about as long as those of ten apps, however they are defined."""
    # Other programs disturb both alike, but for moments: a round that they did not disturb decides. It is 1.0 to 1.05
    # now; where each definition only counts those before it, without doing anything with them, it is 1.5 to 1.9.
    assert any(seconds(define, 10 * ROUTES) < 1.3 * sum(seconds(define, ROUTES) for _ in range(10)) for _ in range(4))


def test_mended_19_nothing_stays_of_what_is_refused() -> None:
    """If one of several routes is refused, the others can be defined all the same, and lead somewhere else."""
    app, router = App(), Router[Anonymous]()
    app.route("/taken", guard=public)(anybody)
    router.route("/one", guard=public)(anybody)
    router.route("/{number:int}", guard=public)(numbered)
    router.route("/taken", guard=public)(anybody)
    with pytest.raises(ConfigurationError, match="it takes the same paths as '/taken'"):
        app.mount("/", router, guard=public)
    app.route("/one", guard=public)(anybody)
    app.route("/{number:int}", guard=public)(numbered)


def test_mended_19_a_table_forgets() -> None:
    """What was discarded leads nowhere, hides nothing, and can come again."""
    table: PathTable[str] = PathTable()
    table.add(PathPattern.parse("/{a}"), "a")
    hidden, literal = PathPattern.parse("/{a}/{rest:path}"), PathPattern.parse("/x")
    table.add(hidden, "hidden")
    table.add(literal, "literal")
    with pytest.raises(ConfigurationError, match="can never be reached"):
        table.add(PathPattern.parse("/{all:path}"), "all")
    table.discard(hidden)
    table.discard(literal)
    assert table.find("/x") == ("a", {"a": "x"})
    assert table.find("/x/y") is None
    table.add(PathPattern.parse("/{all:path}"), "all")
    assert table.find("/x/y") == ("all", {"all": "x/y"})
    table.add(literal, "again")
    assert table.find("/x") == ("again", {})
