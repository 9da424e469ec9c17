"""`Settlement`: what follows for a connection from what its guards, its handler and their tasks have raised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never, final

import trio
from attrs import define, evolve, field

from seawall.connection.lifecycle import Lifecycle
from seawall.connection.state import ConnectionState
from seawall.connection.task_watch import known_failures
from seawall.errors import Disconnected, Draining, SlowConsumer
from seawall.exception_groups import flatten, partition, replace_stray_cancelled
from seawall.http.response import refusal
from seawall.observability.reports import note_of
from seawall.policy.ending import Cause, End, Ends, Nothing, Replies, internal_error
from seawall.policy.verdicts import Phase
from seawall.routing.route import Admitted
from seawall.serving.capacity import RETRY
from seawall.serving.closing import Closing
from seawall.serving.failures import FailureHandler
from seawall.serving.state import ServerState


@final
@define(eq=False)
class Settlement:
    """Has each failure of one connection decided and reported, once, and ends the connection as the policy says.

    A failure is settled when it is known. What the handler raises is, when it has left the handler (`settle_handler`).
    What a task in ``conn.nursery`` raises, Trio hands over when the last of the tasks has ended (`settle_rest`); when
    that takes longer than ``wind_down``, what is known by then is settled before (`settle_known`).
    """

    _server: ServerState
    _lifecycle: Lifecycle
    _failures: FailureHandler
    _closing: Closing
    _nursery: trio.Nursery
    """Of the handler."""
    _settled: tuple[BaseException, ...] = field(init=False, default=())
    """What the nursery will raise although it has been settled."""

    def settle(self, raised: BaseException, phase: Phase | None = None) -> None:
        """Handle what a guard, a handler or a resource raised; raise again what belongs to a cancel scope."""
        parts, phase, accepted = partition(raised), phase or self._failures.phase, self._closing.is_upgraded
        for fatal in parts.fatal:
            about = evolve(self._failures.context(phase, accepted=accepted), incident="")  # no report has one
            self._server.escalate(fatal, note_of(about))
            self.end_by(internal_error(fatal, accepted=accepted))
        failures = [failure for failure in parts.failures if not self._is_end(failure)]
        if failures:
            failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
            self._failures.first = self._failures.first or failure
            self.fail(failure, phase)
        elif parts.failures:
            is_reachable = self._closing.is_reachable
            self._lifecycle.end(self._server.drain.end_of_returned if is_reachable else End(Cause.PEER_VANISHED, 1006))
        if parts.cancelled is not None:
            raise parts.cancelled

    @trio.lowlevel.enable_ki_protection
    def settle_handler(self, raised: BaseException) -> None:
        """Handle what the handler raised, together with what its tasks are known to have raised; as `settle`.

        Nothing of that waits for the tasks that have not ended: they are only cancelled.
        """
        raised = replace_stray_cancelled(raised)
        parts = partition(raised)
        if not (parts.failures or parts.fatal):
            try:
                raise raised
            finally:
                del raised, parts  # or its traceback would hold this frame, and this frame it
        known = self._take_known()
        try:
            self.settle(BaseExceptionGroup("several", [raised, *known]) if known else raised, Phase.HANDLER)
        finally:
            self._lifecycle.cancel_now()

    def settle_known(self) -> None:
        """Handle what the tasks of the handler have raised so far: the others take too long to end."""
        if known := self._take_known():
            self.settle(BaseExceptionGroup("several", known))

    def settle_rest(self, raised: BaseException) -> None:
        """Handle what the nursery of the handler has raised, but for what has been settled; as `settle`."""
        if self._settled:
            rest = [leaf for leaf in flatten(raised) if not any(leaf is known for known in self._settled)]
            self._settled = ()  # a reference cycle would be left to the garbage collector
            if not rest:
                return
            raised = BaseExceptionGroup("several", rest)
        self.settle(raised)

    def fail(self, failure: Exception, phase: Phase) -> None:
        """Do what the policy decides about `failure`."""
        if isinstance(failure, SlowConsumer):
            self._closing.abort_channel()  # a Close would wait behind the data that the peer does not take
        consequence = self._failures.handle(failure, phase, accepted=self._closing.is_upgraded)
        match consequence:
            case Ends():
                self.end_by(consequence)
            case Replies() | Nothing():
                pass
            case _:
                assert_never(consequence)

    def end_by(self, ends: Ends) -> None:
        """End the connection, unless it has ended; before the upgrade the client gets the response of `ends`."""
        if self._lifecycle.ended is None:
            self._closing.response = ends.response
            self._lifecycle.end(ends.end)

    def end_from_outside(self, end: End, *, grace: float) -> bool:
        """End the connection with `end`, or return False if it has ended before.

        The handler has `grace` seconds to return. Before the upgrade the client gets HTTP 503 with the reason.
        """
        if self._lifecycle.ended is not None:
            return False
        if self._closing.is_upgraded:
            self._lifecycle.end(end, grace=grace)
        else:
            retry = () if end.cause is Cause.ENDED else RETRY  # whom the program has ended is not invited
            response = refusal(503, end.reason or "service unavailable", headers=retry)
            self.end_by(Ends(evolve(end, code=503), response))
        return True

    def _take_known(self) -> tuple[BaseException, ...]:
        """What the nursery holds and nobody has settled."""
        known = tuple(leaf for leaf in known_failures(self._nursery) if leaf not in self._settled)
        self._settled += known
        return known

    def _is_end(self, failure: Exception) -> bool:
        """Whether `failure` says that this connection is over, and nothing else."""
        return isinstance(failure, Disconnected | Draining) and failure.connection == self._failures.connection


@trio.lowlevel.disable_ki_protection
async def handle(
    let_in: Callable[[], Awaitable[Admitted | None]], state: ConnectionState, settlement: Settlement
) -> None:
    """Run guards and handler, in one task; for as long as the handler runs, this is the only frame around it.

    It opens no cancel scope: see `seawall.serving.resources.in_own_task`.
    """
    admitted = await let_in()
    if admitted is None:
        return
    try:
        handling = admitted.handle(state)
        del let_in, admitted  # this frame would keep them, and what only they hold, for as long as the handler runs
        await handling
    except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - what is not for the policy is raised again
        settlement.settle_handler(raised)
