"""`FailureHandler`: has the failures of one connection decided, reported and escalated."""

from __future__ import annotations

import secrets
from typing import final

from attrs import define, field

from seawall.exception_groups import exceptions_in
from seawall.policy.ending import Consequence, Ends, Judgement, Nothing, internal_error, judge
from seawall.policy.error_policy import ErrorPolicy, LeafDecision
from seawall.policy.verdicts import Context, Ignore, Phase
from seawall.printable import safe
from seawall.serving.state import AcceptedConnection, ServerState


@final
@define(eq=False)
class FailureHandler:
    """Asks the error policy about each failure of one connection, and reports and escalates as the policy says."""

    _server: ServerState
    _incoming: AcceptedConnection
    policy: ErrorPolicy
    """The app's, and the route's once there is one."""
    route: str = field(init=False, default="")
    """The route's name, once there is one."""
    principal: object = field(init=False, default=None)
    """What the guards have proved; None until then."""
    phase: Phase = field(init=False, default=Phase.TRANSPORT)
    """The phase of a failure for which the caller names none."""
    first: Exception | None = field(init=False, default=None)
    """The first failure of the guards, the handler or its tasks. The guards' resources are told it when left."""

    @property
    def connection(self) -> str:
        """The id of the connection."""
        return self._incoming.id

    @property
    def peer(self) -> str:
        """The other end of the socket."""
        return self._incoming.address

    @property
    def principal_name(self) -> str:
        """Whom the guards have proved, as the log names it."""
        return self._server.reporter.names.name_of(self.principal)

    def handle(self, failure: Exception, phase: Phase, *, accepted: bool) -> Consequence:
        """Judge `failure`, report each leaf of it, and escalate what the policy escalates.

        Returns:
          What the caller has to do to the connection.
        """
        return self._decide(failure, self.context(phase, accepted=accepted))

    def judge_message(self, failure: Exception, message: str) -> Consequence:
        """As `handle`, for a message of the type `message` that has failed after the upgrade."""
        return self._decide(failure, self.context(Phase.MESSAGE, accepted=True, message=message))

    def judge_end(self, failure: Exception, phase: Phase) -> Ends:
        """As `handle`, after the upgrade, for what ends the connection whatever is decided."""
        consequence = self.handle(failure, phase, accepted=True)
        return consequence if isinstance(consequence, Ends) else internal_error(failure, accepted=True)

    def report(self, failure: Exception) -> str:
        """Report `failure`, about which the application has decided itself, and return the id of its incident."""
        context = self.context(Phase.HANDLER, accepted=True)
        leaves = tuple(
            LeafDecision(exception=leaf, verdict=Ignore(), expected=False) for leaf in exceptions_in(failure)
        )
        self._server.report(Judgement(consequence=Nothing(), leaves=leaves), context)
        return context.incident

    def log_release_late(self, name: str) -> None:
        """Log that leaving the resource called `name` took too long."""
        line = f"{self.connection}: leaving {safe(name)} took too long and is cancelled"
        self._server.reporter.log_late("leaving a resource late", self.route, line)

    def log_still_running(self, names: str) -> None:
        """Log that the connection is over, and tasks called `names` are not."""
        line = f"{self.connection}: over, but still running: {safe(names)}"
        self._server.reporter.log_late("still running", self.route, line)

    def _decide(self, failure: Exception, context: Context) -> Consequence:
        judgement = judge(failure, context, self.policy)
        self._server.report(judgement, context)
        return judgement.consequence

    def context(self, phase: Phase, *, accepted: bool, message: str = "") -> Context:
        """The context of a failure that happens now, for the rules of the policy and the log."""
        return Context(
            phase=phase,
            accepted=accepted,
            incident=secrets.token_hex(3),
            route=self.route,
            connection=self._incoming.id,
            peer=self.peer,
            principal=self.principal_name,
            message=message,
        )
