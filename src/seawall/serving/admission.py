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

    Raises what they raise. If the route refuses by a close code, the upgrade has been accepted for that.
    """
    entry = route.table_entry
    try:
        if entry.needs_task:
            return await in_own_task(partial(route.admit, gate), name="guards")
        return await route.admit(gate)
    except BaseException as raised:
        if entry.refuses_by_close and not gate.upgrade.accepted and _is_closed(raised, failures):
            with suppress(Disconnected):
                await gate.accept()
        raise


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
