"""`Failures`: what becomes of the exceptions of one connection."""

from __future__ import annotations

import secrets
from typing import final

from attrs import define, field

from seawall.observability.reports import name_of_principal
from seawall.policy.ending import Consequence, judge
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Context, Phase
from seawall.serving.state import AcceptedConnection, ServerState


@final
@define(eq=False)
class Failures:
    """Lets the error policy decide about each failure of one connection, and reports it."""

    _server: ServerState
    _accepted: AcceptedConnection
    policy: ErrorPolicy
    """The app's, and the route's once there is one."""
    route: str = field(init=False, default="")
    """The route's name, once there is one."""
    principal: object = field(init=False, default=None)
    """Whom the guards have proved, once they have."""
    phase: Phase = field(init=False, default=Phase.TRANSPORT)
    """What has failed if something raises that has not said so."""
    first: Exception | None = field(init=False, default=None)
    """What has ended the guards, the handler or one of its tasks, for the resources that are then left."""

    def judge(self, failure: Exception, phase: Phase, *, accepted: bool) -> Consequence:
        """What is to be done about `failure`; it has been reported, and escalated if that is to be."""
        context = self.context(phase, accepted=accepted)
        judgement = judge(failure, context, self.policy)
        self._server.report(judgement, context)
        return judgement.consequence

    def context(self, phase: Phase, *, accepted: bool) -> Context:
        """What a rule, and the log, may know about a failure that happens now."""
        return Context(
            phase=phase,
            accepted=accepted,
            incident=secrets.token_hex(3),
            route=self.route,
            connection=self._accepted.id,
            peer=self._accepted.address,
            principal=name_of_principal(self.principal),
        )
