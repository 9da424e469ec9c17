"""Asking the guards of a route for a connection that has come to it."""

from __future__ import annotations

from functools import partial

from seawall.routing.route import Admitted, AnyRoute
from seawall.serving.gate import ConnectionGate
from seawall.serving.resources import in_own_task


async def admit(route: AnyRoute, gate: ConnectionGate) -> Admitted:
    """Run the guards of `route`, in a task of their own if code of the application is among them.

    Raises what they raise.
    """
    if route.table_entry.needs_task:
        return await in_own_task(partial(route.admit, gate), name="guards")
    return await route.admit(gate)
