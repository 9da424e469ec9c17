"""One connection, from accepted to closed: read `run_connection`, then `ConnectionRunner.begin`, `_let_in`, `finish`.

A connection has two nurseries, one inside the other:

- the outer one runs trio-websocket's reader, a stream's own reader and writer, the task that closes, and the tasks that
  hold the guards' resources;
- the inner one runs the guards and the handler, in one task, and what the handler starts. Its cancel scope is the
  lifecycle's: cancelling that ends them and nothing else.

Whatever ends the connection calls `Lifecycle.end`, from any task; the first call counts. Closing begins at once, so
that a peer need not wait for a handler's cleanup to read why. Who closes is one of `Closer`: the connection's own task
if guards and handler have ended; else trio-websocket's reader if the peer has closed; else a task of its own.
"""

from __future__ import annotations

import enum
from contextlib import suppress
from functools import partial
from typing import assert_never, cast, final

import trio
from attrs import define, field

from seawall.connection.deadlines import Deadline
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.session_table import Registration
from seawall.connection.state import ConnectionState
from seawall.connection.task_watch import HandlerNursery
from seawall.connection.timeouts import Timeouts
from seawall.errors import AuthTimeout, Disconnected
from seawall.http.response import refusal
from seawall.http.upgrade import canonical_head, select
from seawall.observability.reports import outcome_of
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.ending import Cause, End, Ends, http_end
from seawall.policy.verdicts import Phase
from seawall.routing.route import Admitted, AnyRoute
from seawall.serving.admission import ask_guards
from seawall.serving.closing import Closer, Closing, turn_away
from seawall.serving.disconnect import DisconnectWatch
from seawall.serving.failures import FailureHandler
from seawall.serving.gate import ConnectionGate, WebSocketUpgrade
from seawall.serving.overload import Candidate
from seawall.serving.page_request import PageGate, PageRequest, answer
from seawall.serving.peer_end import await_end, begin_handling, on_peer_end
from seawall.serving.receiving import UpgradeRequest, receive_request, refuse_upgrade
from seawall.serving.renewal import renewal_of
from seawall.serving.resources import ReleaseLimits, ResourceStack, task_names
from seawall.serving.settlement import Settlement, handle
from seawall.serving.snapshots import snapshot_of
from seawall.serving.state import AcceptedConnection, ResolvedSettings, ServerState
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.events import MessageBegun, PeerClosed, PeerFinished, PeerVanished, SendBlocked, WireEvent
from seawall.wire.frames.deflate import negotiate
from seawall.wire.keepalive import WireLiveness
from seawall.wire.traffic import Traffic
from seawall.wire.transport.sockets import socket_of
from seawall.wire.trio_websocket import TrioWebSocketAdapter


@final
class Stage(enum.IntEnum):
    """How far a connection has come. It can end in any stage; whether it has, `Lifecycle.ended` says."""

    RECEIVING = 0
    """Its request is awaited."""
    GUARDS = 1
    """The request has been received; the route's guards decide."""
    HANDLER = 2
    """The guards have let the connection in, and the handler has begun."""


@trio.lowlevel.enable_ki_protection
async def run_connection(server: ServerState, accepted: AcceptedConnection) -> None:
    """Serve one connection and log how it ended. Raises nothing that a connection could cause.

    It adds the connection to the server's before its first checkpoint, so that a server which stops finds it there.
    """
    if server.connections.stopped:  # the server has stopped since the connection was accepted
        await turn_away(accepted)
        return
    runner = cast("ConnectionRunner", None)  # it is made before anything can raise
    try:
        async with trio.open_nursery(strict_exception_groups=True) as outer:
            try:
                async with trio.open_nursery(strict_exception_groups=True) as inner:
                    runner = ConnectionRunner(server, accepted, outer, inner)
                    server.connections.add(accepted.id, runner)
                    await runner.begin()
            except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - raised again if not for the policy
                runner.settlement.settle_rest(raised)
            else:
                if runner.lifecycle.ended is None:
                    runner.lifecycle.end(server.drain.end_of_returned)
            await runner.finish()
            if runner.lifecycle.is_closed and outer.child_tasks:
                outer.cancel_scope.cancel()
    except Exception as fault:  # noqa: BLE001 - a fault of our own must not reach the other connections
        await runner.fail_internally(fault)
    runner.record()


@final
@define(eq=False)
class ConnectionRunner:
    """Runs one connection. The server, the deadline queue and the wire call its methods."""

    _server: ServerState
    _incoming: AcceptedConnection
    _outer_nursery: trio.Nursery
    """For tasks of ours and the guards' resources; see the module."""
    _inner_nursery: trio.Nursery
    """For the guards, the handler and what the handler starts."""
    stage: Stage = field(init=False, default=Stage.RECEIVING)
    lifecycle: Lifecycle = field(init=False)
    _registration: Registration = field(init=False)
    _failures: FailureHandler = field(init=False)
    _resources: ResourceStack = field(init=False)
    _closing: Closing = field(init=False)
    settlement: Settlement = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the app's own settings."""
        server, outer, inner = self._server, self._outer_nursery, self._inner_nursery
        deadline, timeouts = Deadline(server.deadlines, self), Timeouts(server.limits, server.deadlines.lateness)
        self.lifecycle = Lifecycle(timeouts, inner.cancel_scope, deadline, listener=self)
        self._registration = Registration(server.sessions, self.lifecycle)
        self._failures = FailureHandler(server, self._incoming, server.errors)
        self._closing = Closing(self._incoming, self.lifecycle, self._failures, outer, inner)
        self.settlement = Settlement(server, self.lifecycle, self._failures, self._closing, inner)
        self._resources = ResourceStack(outer, self.settlement)

    @property
    def is_handled(self) -> bool:
        """Whether its handler has begun."""
        return self.stage is Stage.HANDLER

    # From the request to the end, in order.

    async def begin(self) -> None:
        """Receive the request, and let its guards and its handler begin."""
        if (over_capacity := self._incoming.place.refusal) is not None:
            self._closing.has_request = True  # it is not awaited: the answer does not depend on it
            end = End(Cause.OVERLOAD, over_capacity.status, over_capacity.text)
            self.settlement.end_by(Ends(end, over_capacity))
            return
        self.lifecycle.limit_stage(self._server.limits.handshake_timeout)
        Candidate(self._incoming, self.lifecycle, self.settlement, self._closing).begin()
        request = await receive_request(self._incoming, self._server)
        self._closing.has_request = True
        if isinstance(request, Ends):
            self._incoming.place.work()
            self.settlement.end_by(request)
            return
        self.stage = Stage.GUARDS
        if isinstance(request, PageRequest):  # which is not whole before its body is
            self._failures.route = request.page.path
            self.lifecycle.limit_stage(self._server.limits.auth_timeout)
            self._inner_nursery.start_soon(self._answer, request, name=f"page {request.page.path}")
            return
        self._incoming.place.work()
        entry, settings = request.route.table_entry, self._server.settings(request.route)
        self._failures.route, self._failures.policy = entry.name, settings.errors
        self.lifecycle.timeouts.limits = settings.limits
        if (refused := refuse_upgrade(request, settings)) is not None:
            self.settlement.end_by(refused)
            return
        self.lifecycle.limit_stage(settings.limits.auth_timeout)
        gate, state = await self._open_wire(request, settings)
        let_in = partial(self._let_in, request.route, gate, state)
        self._inner_nursery.start_soon(handle, let_in, state, self.settlement, name=entry.handler_name)

    async def _open_wire(
        self, request: UpgradeRequest, settings: ResolvedSettings
    ) -> tuple[ConnectionGate, ConnectionState]:
        """Make the channel, the state and the gate of the connection, and start trio-websocket's reader."""
        await trio.lowlevel.checkpoint_if_cancelled()  # what ends the connection from here on has to close the wire too
        server, stream, asked = self._server, self._incoming.stream, request.handshake
        compression = settings.compression
        agreement = None if compression is None else negotiate(asked.values("sec-websocket-extensions"), compression)
        transport, wanted = server.transport(stream, self._outer_nursery), ChannelSettings(settings.limits, agreement)
        channel = MessageChannel(transport, wanted, server.budget, self)
        if request.early:
            channel.feed(request.early, trio.current_time())
        liveness = WireLiveness(channel, settings.limits, socket_of(stream), server.deadlines.lateness)
        self.lifecycle.timeouts.watch(liveness)
        selected = select(asked.subprotocols, settings.subprotocols) if asked.subprotocols else None
        head = bytearray(canonical_head(asked, selected))
        control_stream = ControlStream(channel, head)
        adapter = TrioWebSocketAdapter(control_stream, extensions=agreement.response if agreement else "")
        self._closing.attach(channel, adapter)
        state = ConnectionState(
            id=self._incoming.id,
            handshake=asked,
            subprotocol=selected,
            nursery=HandlerNursery(self._inner_nursery, server.task_watch),
            channel=channel,
            lifecycle=self.lifecycle,
            values=server.values,
            thread=server.thread,
            reports=self._failures,
            format=settings.format,
        )
        gate = ConnectionGate(
            asked=asked,
            arguments=request.params,
            values=server.values,
            lifecycle=self.lifecycle,
            registration=self._registration,
            resources=self._resources,
            upgrade=WebSocketUpgrade(state, adapter, self._incoming.place),
            tickets=settings.tickets,
        )
        await adapter.start(self._outer_nursery, self)
        head.clear()  # it has been read, and trio-websocket's reader keeps what it has read last
        return gate, state

    @trio.lowlevel.enable_ki_protection
    async def _answer(self, request: PageRequest) -> None:
        """Answer a request for a page that is made on request."""
        gate = PageGate(request.handshake, self._server.values, self._server.sessions, self._resources)
        watch = DisconnectWatch(self._incoming.stream, self._server.poller, self.settlement.end_by)
        try:
            self.settlement.end_by(await answer(request, self._incoming, gate, watch))
        except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - what is not for the policy is raised again
            self.settlement.settle(raised, Phase.GUARD)

    @trio.lowlevel.enable_ki_protection
    async def _let_in(self, route: AnyRoute, gate: ConnectionGate, state: ConnectionState) -> Admitted | None:
        """Run the guards, and accept the upgrade. None if the connection has ended."""
        try:
            admitted = await ask_guards(route, gate, self._failures)
        except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - what is not for the policy is raised again
            self.settlement.settle(raised, Phase.GUARD)
            return None  # noqa: ASYNC104 - `settle` has raised it again if it belongs to a cancel scope
        try:
            state.channel.admit(self.lifecycle.timeouts.limits.max_message_size)
            await gate.let_in()
        except Disconnected:
            return None
        self.lifecycle.begin()
        self._incoming.place.authenticated()
        self._failures.principal = admitted.principal
        state.renewal = renewal_of(route, gate, self._failures, self.settlement.settle)
        self.stage, self._failures.phase = Stage.HANDLER, Phase.BACKGROUND
        begin_handling(state.channel)
        self._registration.open(self._failures)
        self._server.tell_opened(self)
        return admitted

    async def finish(self) -> None:
        """Close, unless another task does so already, and leave the resources. Guards and handler have ended."""
        await self._closing.finish()
        if not self._resources.is_empty:  # without resources the outer nursery waits for a closing task all the same
            await self.lifecycle.wait_closed()
            limits = self.lifecycle.timeouts.limits
            late, stuck = self._failures.log_release_late, self._release_early
            release = ReleaseLimits(
                seconds=limits.close_timeout, on_late=late, cleanup=limits.wind_down, on_stuck=stuck
            )
            await self._resources.leave(self._failures.first, release)
        self._resources.close()

    async def fail_internally(self, fault: Exception) -> None:
        """End the connection because of a bug in Seawall: report it, and close the socket without a Close frame."""
        self._failures.handle(fault, Phase.TRANSPORT, accepted=self._closing.is_upgraded)
        await self._closing.close_socket()

    def record(self) -> None:
        """Count the connection no more, because it is over, and tell the log and the application how it ended."""
        self.lifecycle.on_finished()
        self.lifecycle.subscriptions.release(Disconnected(self._incoming.id))
        self._release()
        end = self.lifecycle.ended or End(Cause.FAILED, 1011, "internal error")
        channel = self._closing.channel
        if self._server.reporter.is_observed(end, dropped=self._closing.on_over()):
            about = self._failures.context(Phase.TRANSPORT, accepted=self._closing.is_upgraded)
            traffic = Traffic() if channel is None else channel.traffic()
            self._server.tell(outcome_of(end, about, trio.current_time() - self._incoming.at, traffic))

    def snapshot(self) -> ConnectionSnapshot | None:
        """The connection as it is now; None if its end has been recorded."""
        return snapshot_of(self._incoming, self.lifecycle, self._failures, self._closing.channel)

    # What can end it.

    def drain(self) -> None:
        """Tell the handler that the server is stopping; if the handler has not begun, end the connection."""
        if self.is_handled and self._closing.channel is not None:
            self.lifecycle.drain()
            self._closing.channel.queue.end()
        else:
            self.stop()

    def stop(self) -> None:
        """End now: close code 1001 or 1012, or HTTP 503 before the upgrade."""
        if self.lifecycle.ended is None:
            self.end(self._server.drain.end_of_stopped)
        self.lifecycle.cancel_now()  # a server that stops gives handlers no grace period

    def end(self, end: End) -> bool:
        """End it, or return False if it has ended before: with `end`, or HTTP 503 and its reason before the upgrade."""
        return self.settlement.end_from_outside(
            end, grace=self.lifecycle.timeouts.limits.wind_down if self.is_handled else 0.0
        )

    def on_due(self, now: float) -> None:
        """Act on the first deadline of the connection, which has come."""
        lifecycle = self.lifecycle
        if lifecycle.is_closed:
            if lifecycle.is_overdue(now) and self._inner_nursery.child_tasks:  # none: all have ended, just now
                self._release_early(task_names(self._inner_nursery))
        elif now < lifecycle.timeouts.stage_ends_at:
            if (failure := lifecycle.check(now)) is not None:
                self.settlement.fail(failure, Phase.TRANSPORT)
        elif self.is_handled and lifecycle.ended is None:
            lifecycle.timeouts.end_stage()
            self.settlement.settle_known()
            if self._closing.channel is not None:
                await_end(lifecycle, self._closing.channel)
            lifecycle.rearm()
        elif not lifecycle.deadline.was_read():
            return  # it is called again
        elif lifecycle.ended is not None:
            self._closing.abort_channel()
        elif self.stage is Stage.RECEIVING:
            self.settlement.end_by(http_end(refusal(408, "request timed out"), silent=self._incoming.silent))
        else:
            self.settlement.fail(AuthTimeout(), Phase.GUARD)

    def on_fault(self, fault: Exception) -> None:
        """End the connection because `on_due` has raised `fault`; the peer is still told, if that is possible."""
        try:
            self.settlement.fail(fault, Phase.TRANSPORT)
        except Exception:  # noqa: BLE001 - a second fault, most likely for the reason of the first
            with suppress(Exception):
                self.lifecycle.end(End(Cause.FAILED, 1011, "internal error"))
            self.lifecycle.scope.cancel()

    def on_wire_event(self, event: WireEvent) -> None:
        """Act on what the wire tells."""
        match event:
            case SendBlocked() | MessageBegun():
                self.lifecycle.rearm()
            case PeerClosed() | PeerVanished() | PeerFinished():
                if (channel := self._closing.channel) is not None:  # there is one, or nothing could tell
                    on_peer_end(self.lifecycle, channel, event, is_handled=self.is_handled)
            case Exception():
                self.settlement.fail(event, Phase.TRANSPORT)
            case _:
                assert_never(event)

    async def on_reader_exited(self, crash: BaseException | None) -> None:
        """End the connection, if it has not ended, because trio-websocket's reader has; `crash` is what that raised."""
        if crash is not None:
            self.settlement.settle(crash, Phase.TRANSPORT)
        elif self.lifecycle.ended is None:  # a reader that cannot write ends early, and nobody else reads the socket
            self.on_wire_event(PeerVanished(reset=True))
        if self._closing.closed_by is Closer.READER:
            await self._closing.close()

    def on_recorded(self, end: End) -> None:
        """Start closing, and let nobody find the connection any more: its end has just been recorded."""
        self._server.task_watch.discard(self._inner_nursery)
        self._registration.close(end)
        self._closing.on_recorded(end)

    def _release_early(self, names: str) -> None:
        """Release the connection's place although tasks of the application, called `names`, have not ended.

        They are shielded from cancellation. The connection's task goes on waiting for them.
        """
        self._failures.log_still_running(names)
        self._release()

    def _release(self) -> None:
        self._server.connections.discard(self._incoming.id)
        self._incoming.place.leave()
        self._registration.leave()
