"""One connection's life, from accepted to closed: `run_connection`, read from top to bottom, is the whole story.

One nursery is inside the other:

- ``tasks``: trio-websocket's reader, a stream's own reader and writer, the task that closes, and the tasks that hold
  the guards' resources;
- ``nursery``: the guards and the handler, in a task of their own, and what the handler starts. Cancelling its scope,
  which is the lifecycle's, ends them and nothing else.

Whatever ends the connection calls `Lifecycle.end`, from whichever task; the first call counts. It is closed at once, so
that a peer need not wait for a handler's cleanup to read why: by a task of its own, or by trio-websocket's reader,
which is about to end when it was the peer who closed.
"""

from __future__ import annotations

import enum
from contextlib import suppress
from functools import partial
from typing import assert_never, cast, final

import trio
from attrs import define, evolve, field

from seawall.connection.connection import ConnectionState
from seawall.connection.deadlines import Deadline
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.sessions import Registration
from seawall.connection.timeouts import Timeouts
from seawall.errors import AuthTimeout, Disconnected, Draining, SlowConsumer
from seawall.exception_groups import partition, wrap_unprintable
from seawall.http.response import refusal
from seawall.http.upgrade import canonical_head
from seawall.observability.logs import server_log
from seawall.observability.reports import note_of, outcome_of
from seawall.policy.ending import Cause, End, Ends, Nothing, Replies, answered, internal_error
from seawall.policy.verdicts import Phase
from seawall.printable import safe
from seawall.routing.route import AnyRoute
from seawall.serving.capacity import RETRY
from seawall.serving.closing import Closer, Closing, turn_away
from seawall.serving.failures import Failures
from seawall.serving.gate import ConnectionGate, WebSocketUpgrade
from seawall.serving.receiving import Request, receive_request
from seawall.serving.resources import ReleaseLimits, ResourceStack, in_own_task, task_names
from seawall.serving.state import AcceptedConnection, ResolvedSettings, ServerState
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.events import PeerClosed, PeerVanished, SendBlocked, WireEvent
from seawall.wire.frames.deflate import negotiate
from seawall.wire.keepalive import WireLiveness
from seawall.wire.traffic import Traffic
from seawall.wire.transport.sockets import socket_of
from seawall.wire.trio_websocket import TrioWebSocketAdapter


@final
class Stage(enum.IntEnum):
    """How far a connection has come. It is closing once `Lifecycle.ended` is set, wherever that was."""

    RECEIVING = 0
    """Its request is awaited."""
    GUARDS = 1
    """The request is there; the route's guards decide."""
    HANDLER = 2
    """They have let it in, and the handler has begun."""


@trio.lowlevel.enable_ki_protection
async def run_connection(server: ServerState, accepted: AcceptedConnection) -> None:
    """Serve one connection and write down how it ended. Raises nothing that a connection could cause.

    Nothing is waited for before it is among the server's connections.
    """
    if server.connections.stopped:  # between the accepting and now
        await turn_away(accepted)
        return
    runner = cast("ConnectionRunner", None)  # it is made before anything can raise
    try:
        async with trio.open_nursery(strict_exception_groups=True) as tasks:
            try:
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    runner = ConnectionRunner(server, accepted, tasks, nursery)
                    server.connections.add(runner)
                    await runner.begin()
            except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - raised again if not for the policy
                runner.settle(raised)
            else:
                if runner.lifecycle.ended is None:
                    runner.lifecycle.end(server.drain.returned)
            await runner.finish()
            if runner.lifecycle.is_closed and tasks.child_tasks:
                tasks.cancel_scope.cancel()
    except Exception as fault:  # noqa: BLE001 - a fault of our own must not reach the other connections
        await runner.give_up(fault)
    runner.record()


@final
@define(eq=False)
class ConnectionRunner:
    """One connection, as its server, its deadlines and its wire know it."""

    _server: ServerState
    _accepted: AcceptedConnection
    _tasks: trio.Nursery
    _nursery: trio.Nursery
    stage: Stage = field(init=False, default=Stage.RECEIVING)
    lifecycle: Lifecycle = field(init=False)
    _registration: Registration = field(init=False)
    _failures: Failures = field(init=False)
    _resources: ResourceStack = field(init=False)
    _closing: Closing = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the app's own settings."""
        server, scope = self._server, self._nursery.cancel_scope
        deadline = Deadline(server.deadlines, self)
        self.lifecycle = Lifecycle(Timeouts(server.limits), scope, deadline, on_recorded=self._on_recorded)
        self._registration = Registration(server.sessions, self.lifecycle)
        self._failures = Failures(server, self._accepted, server.errors)
        self._resources = ResourceStack(self._tasks, self.settle)
        self._closing = Closing(self._accepted, self.lifecycle, self._failures, self._tasks, self._nursery)

    @property
    def is_handled(self) -> bool:
        """Whether its handler has begun."""
        return self.stage is Stage.HANDLER

    # The story.

    async def begin(self) -> None:
        """Receive the request, and let its guards and its handler begin."""
        if (over_capacity := self._accepted.place.refusal) is not None:
            self._closing.has_request = True  # whatever it would be
            end = End(Cause.OVERLOAD, over_capacity.status, over_capacity.text)
            self._end_by(Ends(end, over_capacity))
            return
        self.lifecycle.limit_stage(self._server.limits.handshake_timeout)
        request = await receive_request(self._accepted, self._server)
        self._closing.has_request = True
        if isinstance(request, Ends):
            self._end_by(request)
            return
        self.stage = Stage.GUARDS
        entry, settings = request.route.table_entry, self._server.settings(request.route)
        self._failures.route, self._failures.policy = entry.name, settings.errors
        self.lifecycle.timeouts.limits = settings.limits
        if not settings.origins.admits(request.handshake):
            detail = safe(ascii(request.handshake.header("origin")))
            self._end_by(answered(refusal(403, "origin not allowed"), detail))
            return
        self.lifecycle.limit_stage(settings.limits.auth_timeout)
        await self._open_wire(request, settings)

    async def _open_wire(self, request: Request, settings: ResolvedSettings) -> None:
        """Start trio-websocket's reader, which now watches the socket, and then the guards with what they hold."""
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on whoever ends the connection finds the wire
        server, stream, asked = self._server, self._accepted.stream, request.handshake
        compression = settings.compression
        agreement = None if compression is None else negotiate(asked.values("sec-websocket-extensions"), compression)
        transport = server.transport(stream, self._tasks)
        channel_settings = ChannelSettings(settings.limits, agreement)
        channel = MessageChannel(transport, channel_settings, server.budget, self._on_wire_event)
        if request.early:
            channel.feed(request.early, trio.current_time())
        self.lifecycle.timeouts.watch(WireLiveness(channel, settings.limits, socket_of(stream)))
        selected = next((name for name in asked.subprotocols if name in settings.subprotocols), None)
        control_stream = ControlStream(channel, canonical_head(asked, selected))
        adapter = TrioWebSocketAdapter(control_stream, extensions=agreement.response if agreement else "")
        self._closing.use(channel, adapter)
        state = ConnectionState(
            id=self._accepted.id,
            handshake=asked,
            subprotocol=selected,
            nursery=self._nursery,
            channel=channel,
            lifecycle=self.lifecycle,
            values=server.values,
        )
        gate = ConnectionGate(
            asked=asked,
            arguments=request.params,
            values=server.values,
            lifecycle=self.lifecycle,
            registration=self._registration,
            resources=self._resources,
            upgrade=WebSocketUpgrade(state, adapter),
        )
        await adapter.start(self._tasks, on_exited=self._on_reader_exited)
        self._nursery.start_soon(self._serve, request.route, gate, state, name=request.route.table_entry.handler)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, route: AnyRoute, gate: ConnectionGate, state: ConnectionState) -> None:
        """Pass the guards, accept the upgrade, run the handler; no scope of ours is around it: see `in_own_task`."""
        try:
            if route.table_entry.needs_task:
                admitted = await in_own_task(partial(route.admit, gate), name="guards")
            else:
                admitted = await route.admit(gate)
        except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - what is not for the policy is raised again
            self.settle(raised, Phase.GUARD)
            return  # noqa: ASYNC104 - `settle` has raised it again, if it was for a cancel scope
        try:
            await gate.accept()
        except Disconnected:
            return
        self.lifecycle.begin()
        self._accepted.place.authenticated()
        self._failures.principal = admitted.principal
        self.stage, self._failures.phase = Stage.HANDLER, Phase.BACKGROUND
        try:
            handling = admitted.handle(state)
            del gate, admitted  # they and what only they hold would be kept for as long as the handler runs
            await handling
        except BaseException as raised:
            if partition(raised).failures or not self.lifecycle.scope.cancel_called:
                self._failures.phase = Phase.HANDLER
            wrap_unprintable(raised)
            raise

    async def finish(self) -> None:
        """After guards and handler: close, if nobody has begun to, and leave the resources."""
        if self._closing.by is Closer.RUNNER:
            await self._closing.close()
        if not self._resources.is_empty:  # else the nursery of whoever closes waits for it, a turn sooner
            await self.lifecycle.wait_closed()
            limits = self.lifecycle.timeouts.limits
            on_late = partial(server_log.warning, "%s: leaving %s took too long and is cancelled", self._accepted.id)
            release = ReleaseLimits(
                seconds=limits.close_timeout, on_late=on_late, cleanup=limits.wind_down, on_stuck=self._give_way
            )
            await self._resources.leave(self._failures.first, release)
        self._resources.close()

    async def give_up(self, fault: Exception) -> None:
        """After a fault of our own: report it, and close the socket without a word."""
        self._failures.judge(fault, Phase.TRANSPORT, accepted=self._closing.is_accepted)
        await self._closing.let_go()

    def record(self) -> None:
        """The connection is over: count it no more, and tell the log and the application how it ended."""
        self.lifecycle.on_finished()
        self._leave()
        end = self.lifecycle.ended or End(Cause.FAILED, 1011, "internal error")
        if self._server.reporter.wants(end.cause):
            about = self._failures.context(Phase.TRANSPORT, accepted=self._closing.is_accepted)
            traffic = Traffic() if self._closing.channel is None else self._closing.channel.traffic()
            self._server.tell(outcome_of(end, about, trio.current_time() - self._accepted.at, traffic))

    # What ends it.

    def drain(self) -> None:
        """The server wants to stop: let the handler finish, turn away what has not come that far."""
        if self.is_handled and self._closing.channel is not None:
            self.lifecycle.drain()
            self._closing.channel.stop_receiving()
        else:
            self.stop()

    def stop(self) -> None:
        """End now: close code 1001 or 1012, or HTTP 503 before the upgrade."""
        end = self._server.drain.stopped
        if self.lifecycle.ended is not None:
            self.lifecycle.extend(0.0)  # over already; what a handler had left to wind down is not ours to wait for
        elif self._closing.is_accepted:
            self.lifecycle.end(end)
        else:
            self._end_by(Ends(evolve(end, code=503), refusal(503, end.reason, headers=RETRY)))

    def on_due(self, now: float) -> None:
        """One of the connection's deadlines has come."""
        lifecycle = self.lifecycle
        if lifecycle.ended is not None:
            if not lifecycle.is_closed:
                self._closing.give_up()
            elif lifecycle.is_overdue(now) and self._nursery.child_tasks:  # else it has only not had its turn yet
                self._give_way(task_names(self._nursery))
        elif now < lifecycle.timeouts.stage_ends_at:
            if (failure := lifecycle.timeouts.check(now)) is not None:
                self._fail(failure, Phase.TRANSPORT)
            else:
                lifecycle.rearm()
        elif self.stage is Stage.RECEIVING:
            self._end_by(answered(refusal(408, "request timed out")))
        else:
            self._fail(AuthTimeout(), Phase.GUARD)

    def on_fault(self, fault: Exception) -> None:
        """`on_due` has failed. The peer is still told, if that is possible."""
        try:
            self._fail(fault, Phase.TRANSPORT)
        except Exception:  # noqa: BLE001 - the second fault has the first one's cause
            with suppress(Exception):
                self.lifecycle.end(End(Cause.FAILED, 1011, "internal error"))
            self.lifecycle.scope.cancel()

    def _on_wire_event(self, event: WireEvent) -> None:
        wind_down = self.lifecycle.timeouts.limits.wind_down
        match event:
            case SendBlocked():
                self.lifecycle.rearm()
            case PeerClosed(code, reason):  # guards get the time as well: what came before the Close is for the handler
                self.lifecycle.end(End(Cause.PEER_CLOSED, code, reason), grace=wind_down)
            case PeerVanished():
                self.lifecycle.end(End(Cause.PEER_VANISHED, 1006), grace=wind_down if self.is_handled else 0.0)
            case Exception():
                self._fail(event, Phase.TRANSPORT)
            case _:
                assert_never(event)

    async def _on_reader_exited(self, crash: BaseException | None) -> None:
        """trio-websocket's reader has ended; if it crashed, the peer is told without it."""
        if crash is not None:
            self.settle(crash, Phase.TRANSPORT)
        elif self.lifecycle.ended is None:  # one that cannot write leaves early: nobody else reads the socket
            self._on_wire_event(PeerVanished())
        if self._closing.by is Closer.READER:
            await self._closing.close()

    def settle(self, raised: BaseException, phase: Phase | None = None) -> None:
        """Decide about what a guard, a handler or a resource raised; raise again what belongs to a cancel scope."""
        parts, phase, accepted = partition(raised), phase or self._failures.phase, self._closing.is_accepted
        for fatal in parts.fatal:
            about = evolve(self._failures.context(phase, accepted=accepted), incident="")  # it is not reported
            self._server.escalate(fatal, note_of(about))
            self._end_by(internal_error(fatal, accepted=accepted))
        failures = [failure for failure in parts.failures if not _is_end_of(self._accepted.id, failure)]
        if failures:
            failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
            self._failures.first = self._failures.first or failure
            self._fail(failure, phase)
        elif parts.failures:
            is_reachable = self._closing.is_reachable
            self.lifecycle.end(self._server.drain.returned if is_reachable else End(Cause.PEER_VANISHED, 1006))
        if parts.cancelled is not None:
            raise parts.cancelled

    def _fail(self, failure: Exception, phase: Phase) -> None:
        """Do what the policy decides about `failure`."""
        if isinstance(failure, SlowConsumer):
            self._closing.give_up()  # a Close would be stuck as well
        consequence = self._failures.judge(failure, phase, accepted=self._closing.is_accepted)
        match consequence:
            case Ends():
                self._end_by(consequence)
            case Replies() | Nothing():
                pass
            case _:
                assert_never(consequence)

    def _end_by(self, ends: Ends) -> None:
        """End, with an HTTP response instead of an upgrade if there is one."""
        if self.lifecycle.ended is None:
            self._closing.response = ends.response
            self.lifecycle.end(ends.end)

    def _on_recorded(self, end: End) -> None:
        self._closing.on_recorded(end)

    def _give_way(self, names: str) -> None:
        """What the application shields goes on, and is waited for; but the connection's place is free."""
        server_log.warning("%s: over, but still running: %s", self._accepted.id, safe(names))
        self._leave()

    def _leave(self) -> None:
        self._server.connections.discard(self)
        self._accepted.place.leave()
        self._registration.leave()


def _is_end_of(connection: str, failure: Exception) -> bool:
    """Whether `failure` only says that the connection of this id is over."""
    return isinstance(failure, Disconnected | Draining) and failure.connection == connection
