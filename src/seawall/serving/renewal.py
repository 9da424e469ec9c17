"""`Renewal`: asks the guards of one connection again, with a new token; see `Connection.renew`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, Protocol, TypeVar, final

import trio
from attrs import define, field

from seawall.callables import Parameter
from seawall.clock import unix_time
from seawall.connection.leases import until
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.revocations import CredentialSnapshot, NamedCredentials
from seawall.connection.session_table import Registration
from seawall.connection.state import NOT_RENEWABLE, NothingToRenew, Renewer
from seawall.connection.subscriptions import Review, Subscriptions
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Disconnected,
    Forbidden,
    LeaseExpired,
    Refused,
    Revoked,
    Unauthorized,
)
from seawall.exception_groups import partition
from seawall.guards.connection_limit import ConnectionLimit, LimitedGate
from seawall.guards.credential import Credential
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.sources import FirstMessage
from seawall.guards.token_gate import Presented, Taken, TokenGate, admit
from seawall.guards.token_source import is_token
from seawall.handshake import Handshake
from seawall.lifespan import Provided, Values
from seawall.policy.verdicts import Phase
from seawall.routing.route import AnyRoute
from seawall.serving.gate import ConnectionGate
from seawall.serving.resources import HeldResource, in_own_task

C = TypeVar("C", bound=AnyClaims)
T = TypeVar("T")

#: Of who came in without, where a route has ``bearer(verifier) | public``, or a guard of its own in place of `bearer`.
_WITHOUT_TOKEN: Final = NothingToRenew(Unauthorized, "this connection was let in without a token")


class Failures(Protocol):
    """What a renewal needs of the `FailureHandler`."""

    principal: object

    @property
    def connection(self) -> str:
        """The id of the connection."""
        ...

    def report(self, failure: Exception) -> str:
        """Report what the policy is not asked about."""
        ...


@final
@define(kw_only=True, eq=False)
class Renewal:
    """How one connection was let in, and asking that again. It holds no wire."""

    route: AnyRoute
    """Its guards are asked, all of them."""
    taken: Taken
    """The token by which they have let it in."""
    asked: Handshake
    arguments: Mapping[str, Parameter]
    values: Values
    entered: tuple[HeldResource, ...]
    """What they have entered."""
    lifecycle: Lifecycle
    registration: Registration
    subscriptions: Subscriptions
    failures: Failures
    settle: Callable[[BaseException, Phase], None]
    """Ends the connection because of what a guard has raised, as the policy says."""
    _lock: trio.Lock | None = field(init=False, default=None)  # made by the first `renew`

    async def renew(self, token: str, /) -> None:
        """Ask the guards with `token`; see `Connection.renew`."""
        self._lock = self._lock or trio.Lock()
        async with self._lock:
            await trio.lowlevel.checkpoint_if_cancelled()  # the connection may have ended while this waited
            refusal: Exception | None = None
            try:
                await self._renew(token)
            except BaseException as raised:  # noqa: ASYNC103 - what is not for the policy is raised again
                parts = partition(raised)
                if parts.fatal or parts.cancelled is not None:
                    raise
                refusal = self._refusal(parts.failures)
                del parts
            try:
                if refusal is not None:
                    raise refusal
            finally:
                del refusal  # a reference cycle would be left to the garbage collector

    async def renew_for_session(self, token: str, /) -> bool:
        """The same for `Sessions.renew`: whether it was renewed. What no guard should raise is reported."""
        try:
            await self.renew(token)
        except (Refused, AuthTimeout, LeaseExpired, Revoked, Disconnected):
            return False  # the log has what has ended a connection
        except Exception as failure:  # noqa: BLE001 - a guard's, which must not keep others from being renewed
            self.failures.report(failure)
            return False
        return True

    async def _renew(self, token: str) -> None:
        _raise_if_over(self.lifecycle)
        if not is_token(token):
            raise Unauthorized("token refused: it has characters that no token has")
        gate = RenewalGate(self, token)
        principal, review = await self._ask(gate)
        await trio.lowlevel.checkpoint_if_cancelled()
        # From here on nothing waits: all of it changes, or nothing.
        _raise_if_over(self.lifecycle)
        gate.raise_if_unfinished()
        self.registration.renew(gate.named)
        self.lifecycle.renew(gate.leases)
        self.failures.principal = principal
        review.settle()

    async def _ask(self, gate: RenewalGate) -> tuple[object, Review]:
        """The new principal, and what the checks of all subscriptions say about it: until now, as others may begin."""
        with trio.move_on_after(self.lifecycle.timeouts.limits.auth_timeout) as scope:
            principal = (await in_own_task(partial(self.route.admit, gate), name="guards, for a renewal")).principal
            review = Review(self.subscriptions, principal)
            while not review.is_complete:
                await in_own_task(review.ask, name="checks of subscriptions, for a renewal")
            if not scope.cancel_called:  # else what they have proved has come too late
                return principal, review
        raise AuthTimeout

    def _refusal(self, failures: tuple[Exception, ...]) -> Exception:
        """What to raise because the guards have raised `failures`; ends the connection, if it is to end."""
        failure = failures[0] if len(failures) == 1 else ExceptionGroup("several failures", failures)
        if any(isinstance(leaf, Forbidden | Revoked) for leaf in failures) and self.lifecycle.ended is None:
            self.settle(failure, Phase.GUARD)
            return Disconnected(self.failures.connection)
        return failure


@final
class RenewalGate(TokenGate, LimitedGate):
    """The gate of a renewal: what guards tell it is kept until all have let it through."""

    def __init__(self, renewal: Renewal, token: str) -> None:
        """Let `token` stand where the old one was found."""
        self._renewal = renewal
        source = renewal.taken.source
        self._token = token
        self._handshake = renewal.asked if source is None else source.with_token(renewal.asked, token)
        self._asked_for = 0  # so many of what has been entered
        self._attempts = 0  # so many tokens have been presented to guards
        self._is_taken = False
        self.leases: tuple[float, ...] = ()
        self.named = NamedCredentials()

    @property
    def handshake(self) -> Handshake:
        """What the client asked for, with the new token in place of the old one."""
        return self._handshake

    @property
    def params(self) -> Mapping[str, Parameter]:
        """The path parameters, converted."""
        return self._renewal.arguments

    async def enter(self, context_manager: AbstractAsyncContextManager[T], /) -> T:
        """Hand back what was entered in this place."""
        await trio.lowlevel.checkpoint()
        entered = self._renewal.entered
        if self._asked_for == len(entered):
            raise Unauthorized("the new token leads to more resources than the first one")
        self._asked_for += 1
        return entered[self._asked_for - 1].again(context_manager)

    def provided(self, handle: Provided[T], /) -> T:
        """The lifespan value behind `handle`."""
        return self._renewal.values.get(handle)

    def lease(self, *, expires_at: float) -> None:
        """Prove only until `expires_at`, in Unix time."""
        until(expires_at)  # raises if it is NaN
        self.leases += (expires_at,)

    def identify(self, credential: Credential, *, instead_of: Credential | None = None, skew: float = 0.0) -> None:
        """Say by what the connection goes on: it has to be about those whom it was let in as."""
        renewed = CredentialSnapshot.of(credential, skew)
        self._renewal.registration.raise_if_not_renewable(renewed)
        self.named = self.named.adding(renewed, instead_of)

    def limit(self, limit: ConnectionLimit, /) -> None:
        """Do nothing: the connection has its place."""

    async def take(self, verifier: TokenVerifier[C], presented: Presented, /) -> C:
        """Go on by the new token, if this is where the old one was taken; else ask about the same one again.

        The terms that were agreed about the lease hold on.
        """
        self._attempts += 1
        if not Taken(verifier, presented.source, self._attempts).is_by(self._renewal.taken):
            return await admit(self, verifier, presented.token)
        claims = await admit(self, verifier, self._token)
        self._is_taken = True
        return claims

    async def first_message(self) -> str:
        """The new token, if the old one was the first message; there is no other."""
        await trio.lowlevel.checkpoint()
        if isinstance(self._renewal.taken.source, FirstMessage) and not self._is_taken:
            return self._token
        raise await _no_conversation("receive_text")

    async def accept(self) -> None:
        """It has been accepted."""
        await trio.lowlevel.checkpoint()

    async def receive_text(self) -> str:
        """There is no conversation."""
        raise await _no_conversation("receive_text")

    async def send_text(self, text: str, /) -> None:
        """There is no conversation."""
        raise await _no_conversation("send_text")

    def raise_if_unfinished(self) -> None:
        """Raise `Unauthorized` if the guards have left out something that they did at the door, or were too slow."""
        if not self._is_taken:
            raise Unauthorized("no guard has taken the new token")
        if self._asked_for < len(self._renewal.entered):
            raise Unauthorized("the new token leads to fewer resources than the first one")
        if min(self.leases, default=math.inf) <= unix_time():
            raise Unauthorized("what the new token proves has ended while the guards were asked")


def _raise_if_over(lifecycle: Lifecycle) -> None:
    """Raise if it is too late to renew: `LeaseExpired`, or `Revoked` if that is about to end the connection."""
    timeouts = lifecycle.timeouts
    if lifecycle.ended is not None or timeouts.leases.are_over(trio.current_time()):
        raise LeaseExpired
    if isinstance(timeouts.expired, Revoked):
        raise Revoked


async def _no_conversation(what: str) -> ConfigurationError:
    await trio.lowlevel.checkpoint()
    return ConfigurationError(
        f"gate.{what}() in a renewal: the conversation is the handler's now; let the guard take what it needs from "
        "gate.handshake, or open a new connection instead of renewing this one"
    )


def renewal_of(
    route: AnyRoute, gate: ConnectionGate, failures: Failures, settle: Callable[[BaseException, Phase], None]
) -> Renewer:
    """What renews a connection that has just been let in through `gate`, for its handler and for `Sessions.renew`."""
    if gate.taken is None:
        return _WITHOUT_TOKEN if gate.attempts or route.table_entry.takes_token else NOT_RENEWABLE
    gate.registration.renewal = renewal = Renewal(
        route=route,
        taken=gate.taken,
        asked=gate.asked,
        arguments=gate.arguments,
        values=gate.values,
        entered=gate.resources.held,
        lifecycle=gate.lifecycle,
        registration=gate.registration,
        subscriptions=gate.upgrade.subscriptions,
        failures=failures,
        settle=settle,
    )
    return renewal
