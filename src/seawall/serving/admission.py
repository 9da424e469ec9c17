"""Asking the guards of a route; and how a client learns that they have refused it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from seawall.errors import Disconnected
from seawall.exception_groups import partition
from seawall.policy.ending import Ends, judge
from seawall.policy.verdicts import Phase
from seawall.routing.route import Admitted, AnyRoute
from seawall.serving.failures import FailureHandler
from seawall.serving.gate import ConnectionGate
from seawall.serving.resources import in_own_task

#: What a browser would like to know of a refusal: that another token is needed, or that none would help.
_CLOSED: Final = frozenset({401, 403})


async def ask_guards(route: AnyRoute, gate: ConnectionGate, failures: FailureHandler) -> Admitted:
    """Ask the guards of `route`, whose failures `failures` judges.

    When all have let the connection in, it takes the places that are counted. Raises what the guards raise, and as
    `Registration.claim`. If the route refuses by a close code, the upgrade has been accepted for that.
    """
    entry = route.table_entry
    try:
        if entry.needs_task:
            admitted = await in_own_task(partial(route.admit, gate), name="guards")
        else:
            admitted = await route.admit(gate)
        gate.registration.claim(failures)
    except BaseException as raised:  # noqa: ASYNC103 - a refusal is raised again below, and all else here
        if not (entry.refuses_by_close and not gate.upgrade.accepted and _is_closed(raised, failures)):
            raise
        refusal = raised
    else:
        return admitted
    try:
        with suppress(Disconnected):
            await gate.accept()
        raise refusal
    finally:
        del refusal  # a reference cycle would be left to the garbage collector


def _is_closed(raised: BaseException, failures: FailureHandler) -> bool:
    """Whether `raised` is a refusal that JavaScript is to read: 401 or 403, and a close code by a rule."""
    parts = partition(raised)
    if parts.fatal or parts.cancelled is not None or not parts.failures:
        return False
    failure = parts.failures[0] if len(parts.failures) == 1 else ExceptionGroup("several failures", parts.failures)
    refused = judge(failure, failures.context(Phase.GUARD, accepted=False), failures.policy).consequence
    if not (isinstance(refused, Ends) and refused.end.code in _CLOSED):
        return False
    closed = judge(failure, failures.context(Phase.GUARD, accepted=True), failures.policy)
    return isinstance(closed.consequence, Ends) and all(leaf.expected for leaf in closed.leaves)
