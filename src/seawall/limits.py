"""`Limits`: every deadline, size and count, each with its reason."""

from __future__ import annotations

import sys
from typing import TypedDict, final

from attrs import evolve, fields, frozen

from seawall.errors import ConfigurationError

#: `Limits.inbound_buffer` in multiples of ``max_message_size``, when it is None.
INBOUND_MESSAGES = 4

#: The limits that may be None: no limit, or, for the buffer, one derived from ``max_message_size``.
_MAY_BE_NONE = frozenset(
    {
        "idle_timeout",
        "lifetime",
        "ping_interval",
        "ping_timeout",
        "message_timeout",
        "max_message_errors",
        "inbound_buffer",
        "max_connections_per_address",
        "max_connections_per_subject",
    }
)


#: The largest value of a limit, in any unit; no limit at all is None, where that is allowed.
_MOST = sys.maxsize


class LimitOverrides(TypedDict, total=False):
    """What one route may set for its own connections; everything else stays the app's."""

    auth_timeout: float
    idle_timeout: float | None
    lifetime: float | None
    lease_warning: float
    ping_interval: float | None
    ping_timeout: float | None
    message_timeout: float | None
    send_timeout: float
    close_timeout: float
    wind_down: float
    max_message_size: int
    max_first_message: int
    max_fragments: int
    max_message_errors: int | None
    inbound_queue: int
    inbound_buffer: int | None
    outbound_buffer: int
    max_subscriptions: int


@final
@frozen(kw_only=True)
class Limits:
    """How long anything may take and how large it may grow.

    Times are seconds, sizes are bytes, None means no limit. App-wide by ``App(limits=...)``; a route sets single
    fields with ``limits={"idle_timeout": 60.0}`` and keeps the app's for the rest.

    While the program stands still (a blocking call, a process that is stopped), nobody is read, and nobody is ended for
    it: what has come is read first, and what a peer is waited for ends later by as much as deadlines were minded late,
    if that is more than a tenth of a second. ``lifetime``, leases, draining and ``wind_down`` do not move.
    """

    handshake_timeout: float = 10.0
    """Seconds for TLS and the request head together. 10, as websockets' ``open_timeout``. The peer gets HTTP 408;
    before TLS has come about, only the end of TCP."""

    auth_timeout: float = 10.0
    """Seconds for all guards of a route together. 10, as long as the handshake. The peer gets HTTP 408, or close code
    3008 if a guard has accepted."""

    idle_timeout: float | None = None
    """Seconds without a message in either direction. Off: a feed may be quiet, and Pings find out who is gone, as in
    websockets. Close code 3008."""

    lifetime: float | None = None
    """Seconds since the upgrade. Off, as gRPC's maximum age of a connection, which has the same use: to spread clients
    over machines anew. Close code 3008."""

    lease_warning: float = 30.0
    """Seconds before a lease ends, such as a token's, at which `Connection.expiring` is set and ``bearer(warn=...)``
    tells the peer. 30: time for a client to fetch a token, and more than the 20 between two looks at the wall clock."""

    ping_interval: float | None = 20.0
    """Seconds without a byte from the peer, after which it gets a Ping. 20, as in websockets; below the 60 after which
    nginx drops a silent client."""

    ping_timeout: float | None = 20.0
    """Seconds of silence after that Ping, after which the connection ends. 20, as in websockets; any byte from the peer
    counts, not only a Pong. Close code 1011, if the peer still reads."""

    message_timeout: float | None = 60.0
    """Seconds from the first byte of a message to its last; times in which we do not read, because the handler is
    behind, are not counted. 60, as nginx's ``client_body_timeout``, which counts between two reads: 1 MiB then needs
    140 kbit/s. Close code 1008."""

    send_timeout: float = 10.0
    """Seconds without any progress for which a peer may let its data wait. 10, where nginx has 60, because a handler
    waits as well. The peer sees the end of TCP: a Close would wait behind the data. Log and `Outcome` have 1008."""

    close_timeout: float = 5.0
    """Seconds for closing: the peer's answer, flushing and lingering together. 5, half of websockets' 10. A peer that
    does not answer sees the end of TCP then. A route may only have less."""

    wind_down: float = 1.0
    """Seconds that a handler gets, after its peer is gone and has nothing more to deliver, to finish by itself before
    it is cancelled; that its tasks get when one of them has failed, before the peer is told; and again for cleanup,
    before it no longer keeps its connection's place. 1, where Erlang's supervisors give 5 and trio-websocket none: long
    for a program."""

    drain_timeout: float = 10.0
    """Seconds that draining takes at most, closing included; and seconds in which a handler that receives may take what
    its peer sent before it closed, or ended its side of the stream. 10, well within the 30 that Kubernetes waits after
    SIGTERM. Close code 1001, or 1012 when restarting; HTTP 503 before the upgrade."""

    max_connections: int = 10_000
    """Connections of one server at a time, handshakes included. 10,000, which take a quarter of a GiB while idle, where
    nginx has 512 for each worker. The process needs as many descriptors (``ulimit -n``). One too many gets HTTP 503."""

    max_unauthenticated: int = 1_000
    """Of these, those that have not passed their guards yet, so that unauthenticated clients cannot use up
    ``max_connections``. A tenth; OpenSSH's MaxStartups, for the same, is 100. One too many takes the place of the
    oldest, of the address that has most, whose request is not whole (HTTP 503) or whose guard waits for a message
    (close code 1013); if there is none, it gets HTTP 503 itself."""

    max_connections_per_address: int | None = None
    """Of these, those from one IPv4 address, or from one /64 of IPv6 (RFC 6177: at least what one customer has). Off,
    as in nginx, because behind a proxy everybody comes from its address; set it where clients connect directly. One too
    many gets HTTP 429."""

    max_connections_per_subject: int | None = 1_000
    """Connections of one subject of an issuer in the whole app, as `Gate.identify` has been told, by `bearer` for
    instance. A tenth of ``max_connections``, so that no subject takes them all; a person needs ten. Others leave it to
    the application. One too many gets HTTP 429, or close code 1013."""

    max_message_size: int = 1024 * 1024
    """Bytes of one message's payload. 1 MiB, as in websockets; refused from the frame header. Close code 1009."""

    max_first_message: int = 16 * 1024
    """Bytes of one message while guards talk, such as a token; or ``max_message_size``, if that is less. 16 KiB, as a
    request head. A guard is handed one message at a time; behind it at most 64 KiB wait as they came. Close code
    1009."""

    max_fragments: int = 131_072
    """Frames of one message, empty ones included. 131,072: 1 MiB in fragments of 8 bytes, twice what the Autobahn
    suite sends. Close code 1009."""

    max_message_errors: int | None = 10
    """Messages in a row that fail validation, or are of an unknown type. 10: enough for a client of another version to
    find out, while each costs us an answer. A valid one starts anew. Close code 1008."""

    inbound_queue: int = 64
    """Messages that the handler has not yet taken, from which on the peer is read only twice a second, to find control
    frames. 64, four times websockets' ``max_queue``: room for a burst, while more would only be stale. The peer has to
    wait before it can send more."""

    inbound_buffer: int | None = None
    """Bytes of messages that the handler has not yet taken, from which on the peer is not read. None: 4 x
    ``max_message_size``, where websockets holds 16 frames of any size. The peer has to wait, and so have its control
    frames."""

    total_inbound_buffer: int = 256 * 1024 * 1024
    """Bytes that all connections of a server together hold and no handler has taken; what a connection holds below
    4 KiB is not counted. 256 MiB, 64 times what one may hold. Above it, whoever holds most complete messages is paused
    first, and nobody who holds less than 64 KiB; if unfinished messages alone exceed it, the one that was begun first
    ends with close code 1013."""

    outbound_buffer: int = 1024 * 1024
    """Bytes sent and not yet taken by the transport (kernel, TLS), from which on `send` waits. 1 MiB, the size of one
    message, where asyncio has 64 KiB; an empty buffer takes one message of any size. See ``send_timeout``."""

    max_subscriptions: int = 100
    """Subscriptions to rooms that one connection has at a time, and memberships of them. 100, where AWS IoT has 50: a
    person looks at a few. One too many is a `TooManyRequests`. The values of its memberships have 16 KiB at most, in
    all rooms together."""

    max_rooms: int = 100_000
    """Rooms of an app that take memory at a time, because somebody is in them or because of what they keep: clients
    name rooms. 100,000, ten for each of ``max_connections``, at less than 2 KiB each. One too many is a
    `TooManyRequests`."""

    room_history: int = 64 * 1024 * 1024
    """Bytes of the events that all rooms of an app keep, for who comes back and for who is behind. 64 MiB, twice what
    Redis lets wait for a single subscriber. Above it the room that holds most gives up its oldest events, and who needs
    them has a `Gap`. One event that is larger is a `TooManyRequests`."""

    def __attrs_post_init__(self) -> None:
        """Refuse values and combinations that cannot work."""
        for limit in fields(Limits):
            value: object = getattr(self, limit.name)
            may_be_none, whole = limit.name in _MAY_BE_NONE, "int" in str(limit.type)
            if not (may_be_none if value is None else _is_amount(value, whole=whole)):
                kind = "a whole number" if whole else "a number"
                none = ", or None" if may_be_none else ""
                raise ConfigurationError(f"Limits.{limit.name} is {value!r}; give {kind} greater than 0{none}")
        if self.inbound_buffer is not None and self.inbound_buffer < self.max_message_size:
            raise ConfigurationError(
                f"Limits.inbound_buffer ({self.inbound_buffer}) is smaller than one message "
                f"(max_message_size {self.max_message_size}); raise the one or lower the other"
            )
        if self.total_inbound_buffer < self.max_message_size:
            raise ConfigurationError(
                f"Limits.total_inbound_buffer ({self.total_inbound_buffer}), which is for all connections together, is "
                f"smaller than one message (max_message_size {self.max_message_size}); raise the one or lower the other"
            )
        if self.close_timeout >= self.drain_timeout:
            raise ConfigurationError(
                f"Limits.close_timeout ({self.close_timeout}) leaves a draining server (drain_timeout "
                f"{self.drain_timeout}) no time for its handlers; make it the smaller one"
            )
        if self.wind_down > self.drain_timeout:
            raise ConfigurationError(
                f"Limits.wind_down ({self.wind_down}) is longer than draining may take (drain_timeout "
                f"{self.drain_timeout}), so no handler would get it; make it the smaller one"
            )

    @property
    def inbound_bytes(self) -> int:
        """`inbound_buffer`, or what its None stands for."""
        if self.inbound_buffer is not None:
            return self.inbound_buffer
        return INBOUND_MESSAGES * self.max_message_size

    def override(self, overrides: LimitOverrides) -> Limits:
        """These limits with a route's own over them.

        Raises:
          ConfigurationError: a name is not one that a route may set, or a value cannot work.
        """
        check_overrides(overrides)
        unknown = sorted(set(overrides) - set(LimitOverrides.__annotations__))
        if unknown:
            known = ", ".join(LimitOverrides.__annotations__)
            raise ConfigurationError(f"a route cannot set the limits {unknown}; it can set {known}")
        limits = evolve(self, **overrides) if overrides else self
        if limits.close_timeout > self.close_timeout:
            raise ConfigurationError(
                f"a route's close_timeout ({limits.close_timeout}) is longer than the app's "
                f"({self.close_timeout}), which is what a server that stops has for its last connections; "
                "raise the app's, or lower the route's"
            )
        return limits


def check_limits(value: object) -> None:
    """Refuse what is neither None nor `Limits`, for programs that no type checker has seen.

    Raises:
      ConfigurationError: it is something else.
    """
    if not (value is None or isinstance(value, Limits)):
        raise ConfigurationError(f"App: limits={value!r} are no limits; give Limits(idle_timeout=60), for instance")


def check_overrides(value: object) -> None:
    """Refuse what is no dictionary, for programs that no type checker has seen.

    Raises:
      ConfigurationError: it is none.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"limits={value!r} are not those of one route; give a dictionary, as in limits={{'idle_timeout': 60}}"
        )


def _is_amount(value: object, *, whole: bool) -> bool:
    """Whether `value` is a number that can be a limit: no bool, no infinity and no NaN, which Python has as numbers."""
    kind = int if whole else int | float
    return isinstance(value, kind) and not isinstance(value, bool) and 0 < value <= _MOST
