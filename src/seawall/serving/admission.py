"""Asking the guards of a route for a connection that has come to it."""

from __future__ import annotations

from functools import partial

from seawall.connection.session_table import About
from seawall.routing.route import Admitted, AnyRoute
from seawall.serving.gate import ConnectionGate
from seawall.serving.resources import in_own_task


async def admit(route: AnyRoute, gate: ConnectionGate, about: About) -> Admitted:
    """Run the guards of `route`, in a task of their own if code of the application is among them.

    When all have let the connection in, it takes the places that are counted. Raises what the guards raise, and as
    `Registration.claim`.
    """
    if route.table_entry.needs_task:
        admitted = await in_own_task(partial(route.admit, gate), name="guards")
    else:
        admitted = await route.admit(gate)
    gate.registration.claim(about)
    return admitted
