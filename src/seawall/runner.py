"""`ConnectionRunner`: one connection's life, from accepted to closed.

Read `ConnectionRunner.run` and what it calls, from top to bottom: that is the whole story. One thing runs inside the
other:

- ``_tasks``: trio-websocket's reader, a stream's own reader and writer, the task that closes, and the tasks that hold
  the guards' resources;
- ``_nursery``: the guards and the handler, in a task of their own, and what the handler starts. Cancelling its scope,
  which is the life's, ends them and nothing else.

Whatever ends the connection calls `Lifecycle.end`, from whichever task; the first call counts. It is closed at once,
so that
a peer need not wait for a handler's cleanup to read why: in a task of its own, or in trio-websocket's reader, which is
about to end when it was the peer who closed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar, assert_never, final

import trio
from attrs import define, evolve, field

from seawall.closing import close_websocket, send_response
from seawall.connection import Connection
from seawall.connection_gate import ConnectionGate, ReleaseLimits, ResourceStack, in_own_task, names_of
from seawall.errors import AuthTimeout, Disconnected, Draining, SlowConsumer
from seawall.exception_groups import partition, wrap_unprintable
from seawall.lifecycle import Lifecycle
from seawall.listening import socket_of
from seawall.logs import safe, server_log
from seawall.outcome import Cause, End, cause_of
from seawall.pages import Answer, answer, refusal
from seawall.paths import Parameter
from seawall.policy import ErrorPolicy, LeafDecision
from seawall.reports import name_of, name_of_principal, note_of, outcome_of
from seawall.route import AnyRoute
from seawall.sessions import Registration
from seawall.state import RETRY, AcceptedConnection, ResolvedSettings, ServerState, refusal_headers
from seawall.verdicts import Close, Context, Escalate, Ignore, Phase, Refuse, Reply
from seawall.wire.arrival import Arrival, read_head
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.deflate import negotiate
from seawall.wire.events import PeerClosed, PeerVanished, SendBlocked, WireEvent
from seawall.wire.head import BadRequest, canonical, handshake
from seawall.wire.keepalive import WireLiveness
from seawall.wire.lingering import LINGER, abandon
from seawall.wire.traffic import Traffic
from seawall.wire.trio_websocket import TrioWebSocketAdapter

P = TypeVar("P")


@final
@define(eq=False)
class ConnectionRunner:
    """One connection; `run` does everything."""

    _state: ServerState
    _stream: trio.abc.Stream
    _peer: AcceptedConnection
    _on_over: Callable[[ConnectionRunner], None]
    """Called when the connection no longer counts: when it is over, or should be."""
    is_handled: bool = field(init=False, default=False)
    """Whether the handler has begun."""
    registration: Registration = field(init=False)
    """By what its guards have let it in."""
    _policy: ErrorPolicy = field(init=False)
    _lifecycle: Lifecycle = field(init=False)
    _started: float = field(init=False, factory=trio.current_time)
    _route: str = field(init=False, default="")
    _channel: MessageChannel | None = field(init=False, default=None)
    _authority: TrioWebSocketAdapter = field(init=False)
    _gate: ConnectionGate = field(init=False)
    _tasks: trio.Nursery = field(init=False)
    _nursery: trio.Nursery = field(init=False)
    _resources: ResourceStack = field(init=False)
    _phase: Phase = field(init=False, default=Phase.TRANSPORT)  # what has failed if the inner nursery raises
    _principal: object = field(init=False, default=None)
    _asked: bool = field(init=False, default=False)  # whether a request has come
    _response: Answer | None = field(init=False, default=None)
    _serving: bool = field(init=False, default=False)  # whether guards or handler run: then another task closes
    _closing: bool = field(init=False, default=False)
    _reader_closes: bool = field(init=False, default=False)  # whether trio-websocket's reader does that when it ends
    _failure: Exception | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Begin with the app's own terms."""
        state, self._policy = self._state, self._state.errors
        self._lifecycle = Lifecycle(state.limits, state.deadlines, on_end=self._on_end, on_due=self._on_wire_event)
        self.registration = Registration(state.sessions, self._lifecycle)

    async def run(self) -> None:
        """Live from accepted to closed, and write it down. Raises nothing that a connection could cause."""
        try:
            async with trio.open_nursery(strict_exception_groups=True) as self._tasks:
                self._resources = ResourceStack(self._tasks, self._settle)
                try:
                    async with trio.open_nursery(strict_exception_groups=True) as self._nursery:
                        self._lifecycle.scope = self._nursery.cancel_scope
                        await self._arrive()
                except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - raised again if not for the policy
                    self._settle(raised, self._phase)
                else:
                    self._serving = False  # there is nobody left whom closing in this task would keep waiting
                    self._lifecycle.end(self._returned())
                if not self._closing:
                    await self._close()
                await self._lifecycle.wait_closed()
                await self._leave_resources()
                if self._tasks.child_tasks:
                    self._tasks.cancel_scope.cancel()
        except Exception as fault:  # noqa: BLE001 - a fault of our own must not reach the other sessions
            self._judge(fault, Phase.TRANSPORT)
            await self._let_go()
        self._lifecycle.part()
        self._on_over(self)
        self._tell()

    async def _arrive(self) -> None:
        """Read the request and find out where it leads."""
        if self._peer.over_capacity is not None:
            self._asked = True  # whatever it was
            self._refuse(
                self._peer.over_capacity,
                End(Cause.OVERLOAD, self._peer.over_capacity.status, self._peer.over_capacity.text),
            )
            return
        self._lifecycle.within(
            self._lifecycle.limits.handshake_timeout, lambda: self._refuse(refusal(408, "request timed out"))
        )
        try:
            found = await read_head(self._stream, self._state.poller)
            self._asked = True
            if found is None:
                self._lifecycle.end(End(Cause.PEER_VANISHED, 1006, "before its request"))
                return
            head, early = found
            place = self._state.routes.find(head.path)
            if not head.wants_upgrade:
                page = self._state.pages.get(head.path)
                self._refuse(answer(head, page, is_route=place is not None), detail=safe(ascii(head.path)))
                return
            asked = handshake(head, peer=self._peer.address, secure=self._peer.secure)
        except BadRequest as bad:
            self._asked = True
            self._refuse(refusal(bad.status, bad.reason, headers=bad.headers, head_only=bad.head_only))
            return
        if place is None:
            self._refuse(refusal(404, "not found"), detail=safe(ascii(head.path)))
            return
        await self._enter(*place, Arrival(asked, early))

    async def _enter(self, route: AnyRoute, params: Mapping[str, Parameter], arrival: Arrival) -> None:
        """Check the origin, then let the guards and the handler begin."""
        entry, settings = route.table_entry, self._state.settings(route)
        self._route, self._policy, self._lifecycle.limits = entry.name, settings.errors, settings.limits
        if not settings.origins.admits(arrival.asked):
            self._refuse(refusal(403, "origin not allowed"), detail=safe(ascii(arrival.asked.header("origin"))))
            return
        self._lifecycle.within(self._lifecycle.limits.auth_timeout, lambda: self._fail(AuthTimeout(), Phase.GUARD))
        await self._open_gate(params, arrival, settings)
        self._serving = True
        self._nursery.start_soon(self._serve, route, name=entry.handler)

    async def _open_gate(self, params: Mapping[str, Parameter], arrival: Arrival, settings: ResolvedSettings) -> None:
        """Start the channel and trio-websocket's reader, which now watches the socket."""
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on whoever ends the connection finds the channel
        asked = arrival.asked
        selected = next((name for name in asked.subprotocols if name in settings.subprotocols), None)
        offers = asked.values("sec-websocket-extensions")
        agreement = negotiate(offers, settings.compression) if settings.compression is not None else None
        channel = MessageChannel(
            self._state.transport(self._stream, self._tasks),
            ChannelSettings(self._lifecycle.limits, agreement),
            self._state.budget,
            self._on_wire_event,
        )
        if arrival.early:
            channel.feed(arrival.early, trio.current_time())
        self._channel = channel
        self._lifecycle.watch(WireLiveness(channel, self._lifecycle.limits, socket_of(self._stream)))
        stream = ControlStream(channel, canonical(asked, selected))
        self._authority = TrioWebSocketAdapter(stream, extensions=agreement.response if agreement else "")
        await self._authority.start(self._tasks, on_left=self._on_reader_left)
        self._gate = ConnectionGate(
            asked=asked,
            arguments=params,
            connection=self._peer.connection,
            subprotocol=selected,
            values=self._state.values,
            lifecycle=self._lifecycle,
            registration=self.registration,
            channel=channel,
            authority=self._authority,
            resources=self._resources,
        )

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, route: AnyRoute) -> None:
        """Pass the guards, accept the upgrade, run the handler; no scope of ours is around it: see `in_own_task`."""
        try:
            if route.table_entry.needs_task:
                enter = await in_own_task(partial(route.admit, self._gate), name="guards")
            else:
                enter = await route.admit(self._gate)
        except BaseException as raised:  # noqa: ASYNC103, ASYNC104, BLE001 - what is not for the policy is raised again
            self._settle(raised, Phase.GUARD)
            return  # noqa: ASYNC104 - `_settle` has raised it again, if it was for a cancel scope
        try:
            await self._gate.accept()
        except Disconnected:
            return
        self._lifecycle.open()
        self._state.unauthenticated.discard(self)
        self.is_handled, self._phase = True, Phase.BACKGROUND
        try:
            await enter(self._connection)
        except BaseException as raised:
            if partition(raised).failures or not self._lifecycle.scope.cancel_called:
                self._phase = Phase.HANDLER
            wrap_unprintable(raised)
            raise

    def _connection(self, principal: P) -> Connection[P]:
        self._principal = principal
        return self._gate.pass_through(principal, self._nursery)

    def drain(self) -> None:
        """The server wants to stop: let the handler finish, turn away what has not come that far."""
        if self.is_handled and self._channel is not None:
            self._lifecycle.drain()
            self._channel.stop_receiving()
        else:
            self.stop()

    def stop(self) -> None:
        """End now: close code 1001 or 1012, or HTTP 503 before the upgrade."""
        drain = self._state.drain
        end = drain.end if drain.begun else End(Cause.STOPPED, 1001, "going away")
        if self._lifecycle.ended is not None:
            self._lifecycle.extend(0.0)  # over already; what a handler had left to wind down is not ours to wait for
        elif self._opened:
            self._lifecycle.end(end)
        else:
            self._refuse(refusal(503, end.reason, headers=RETRY), evolve(end, code=503))

    def _on_wire_event(self, event: WireEvent) -> None:
        match event:
            case SendBlocked():
                self._lifecycle.rearm()
            case PeerClosed(code, reason):  # guards get the time as well: what came before the Close is for the handler
                self._lifecycle.end(End(Cause.PEER_CLOSED, code, reason), grace=self._lifecycle.limits.wind_down)
            case PeerVanished():
                grace = self._lifecycle.limits.wind_down if self.is_handled else 0.0
                self._lifecycle.end(End(Cause.PEER_VANISHED, 1006), grace=grace)
            case Exception():
                if isinstance(event, SlowConsumer) and self._channel is not None:
                    self._channel.abort()  # a Close would be stuck as well
                self._fail(event, Phase.TRANSPORT)
            case _:
                assert_never(event)

    async def _on_reader_left(self, crash: BaseException | None) -> None:
        """trio-websocket's reader has ended; if it crashed, the peer is told without it."""
        if crash is not None:
            self._settle(crash, Phase.TRANSPORT)
        elif self._lifecycle.ended is None:  # one that cannot write leaves early: nobody else reads the socket
            self._on_wire_event(PeerVanished())
        if self._reader_closes:
            await self._close()

    def _settle(self, raised: BaseException, phase: Phase) -> None:
        """Decide about what a guard, a handler or a resource raised; raise again what belongs to a cancel scope."""
        sifted = partition(raised)
        for fatal in sifted.fatal:
            self._state.escalate(fatal, note_of(evolve(self._context(phase), incident="")))  # it is not reported
            self._end_internally(fatal)
        failures = [failure for failure in sifted.failures if not self._is_own_end(failure)]
        if failures:
            failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
            self._failure = self._failure or failure
            self._fail(failure, phase)
        elif sifted.failures:
            reachable = self._opened and self._channel is not None and not self._channel.send_buffer.broken
            self._lifecycle.end(self._returned() if reachable else End(Cause.PEER_VANISHED, 1006))
        if sifted.cancelled is not None:
            raise sifted.cancelled

    def _is_own_end(self, failure: Exception) -> bool:
        return isinstance(failure, Disconnected | Draining) and failure.connection == self._peer.connection

    def _returned(self) -> End:
        return self._state.drain.end if self._state.drain.begun else End(Cause.RETURNED, 1000)

    def _fail(self, failure: Exception, phase: Phase) -> None:
        """Let the policy decide, report every leaf, and do what was decided."""
        leaf = self._judge(failure, phase)
        verdict, cause, detail = leaf.verdict, cause_of(leaf.exception), name_of(leaf.exception)
        rule = leaf.rule.type.__name__ if leaf.rule is not None else ""
        match verdict:
            case Refuse(status):
                response = refusal(status, verdict.text, headers=refusal_headers(status, leaf.exception))
                self._refuse(response, End(cause, status, response.text, detail, rule))
            case Close(code, reason):
                self._lifecycle.end(End(cause, code, reason, detail, rule))
            case Escalate():
                self._end_internally(leaf.exception)
            case Ignore() | Reply():
                pass
            case _:
                assert_never(verdict)

    def _judge(self, failure: Exception, phase: Phase) -> LeafDecision:
        return self._state.judge(failure, self._context(phase), self._policy)

    def _context(self, phase: Phase) -> Context:
        return Context(
            phase=phase,
            accepted=self._opened,
            incident=secrets.token_hex(3),
            route=self._route,
            connection=self._peer.connection,
            peer=self._peer.address,
            principal=name_of_principal(self._principal),
        )

    def _end_internally(self, failure: BaseException) -> None:
        end = End(Cause.FAILED, 1011, "internal error", name_of(failure))
        if self._opened:
            self._lifecycle.end(end)
        else:
            self._refuse(refusal(500, end.reason), evolve(end, code=500))

    @property
    def _opened(self) -> bool:
        return self._channel is not None and self._channel.accepted

    def _refuse(self, response: Answer, end: End | None = None, *, detail: str = "") -> None:
        """End with an HTTP answer instead of an upgrade."""
        if self._lifecycle.ended is None:
            self._response = response
            cause = Cause.ANSWERED if response.status < 400 else Cause.REFUSED
            self._lifecycle.end(end or End(cause, response.status, response.text, detail))

    def _on_end(self, end: End) -> None:
        """The end has just been recorded: from this moment only the peer's Close counts."""
        channel = self._channel
        if channel is not None:
            channel.begin_closing()
            if not end.is_peers:
                channel.drop_messages()
            channel.stop_receiving()
            if not channel.accepted:
                channel.abort()  # an upgrade that is just being accepted must not follow the answer
        if self._serving and channel is not None:  # a peer need not wait for a handler's cleanup to read why
            self._closing = True
            self._reader_closes = end.is_peers and self._authority.stream.is_read  # its task is about to end
            if not self._reader_closes:
                self._tasks.start_soon(self._close)

    @trio.lowlevel.enable_ki_protection
    async def _close(self) -> None:
        """Tell the peer why, and close the socket; all within ``close_timeout``."""
        try:
            seconds = LINGER if self._peer.over_capacity is not None else self._lifecycle.limits.close_timeout
            with trio.CancelScope(deadline=trio.current_time() + seconds) as patience:
                if self._channel is not None and self._channel.accepted:
                    await close_websocket(self._channel, self._authority, self._lifecycle.ended, patience)
                elif self._asked or not self._peer.secure:
                    # Before the request there may be no TLS either, and a handshake just to say no is too much.
                    control = self._authority.stream if self._channel is not None else None
                    await send_response(self._stream, control, self._response)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer has gone; there is nobody left to tell
        except Exception as fault:  # noqa: BLE001 - a fault of the layers below; the socket must be closed all the same
            self._judge(fault, Phase.TRANSPORT)
        await self._let_go()

    async def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.abort()
        await abandon(self._stream)
        self._lifecycle.close()
        if self._serving and self._nursery.child_tasks:
            self._lifecycle.mind(self._on_overdue)

    async def _leave_resources(self) -> None:
        limits = self._lifecycle.limits
        on_late = partial(server_log.warning, "%s: leaving %s took too long and is cancelled", self._peer.connection)
        patience = ReleaseLimits(
            seconds=limits.close_timeout, on_late=on_late, cleanup=limits.wind_down, on_stuck=self._give_way
        )
        await self._resources.leave(self._failure, patience)

    def _on_overdue(self) -> None:
        if self._nursery.child_tasks:  # else it has ended, and has only not had its turn yet
            self._give_way(names_of(self._nursery))

    def _give_way(self, names: str) -> None:
        """What the application shields goes on, and is waited for; but the connection's place is free."""
        server_log.warning("%s: over, but still running: %s", self._peer.connection, safe(names))
        self._on_over(self)

    def _tell(self) -> None:
        """Write down how it ended, and tell the application."""
        end = self._lifecycle.ended or End(Cause.FAILED, 1011, "internal error")
        if self._state.reporter.wants(end.cause):
            seconds = trio.current_time() - self._started
            traffic = self._channel.traffic() if self._channel is not None else Traffic()
            self._state.tell(outcome_of(end, self._context(Phase.TRANSPORT), seconds, traffic))
