"""The tables in ``docs/failures.md``: each failure in each phase, and what becomes of it.

What the code knows is asked of the code: what `judge` makes of a failure, lines and levels of
`seawall.observability.reports`, answers to bad requests of `seawall.http.request` and `seawall.http.upgrade`. The rest
stands here, and `test_failures` provokes every row. ``python -m tests.tools.failures --write`` writes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from seawall.connection.message_format import MessageFormat
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Forbidden,
    IdleTimeout,
    InvalidMessage,
    KeepaliveLost,
    LeaseExpired,
    LifetimeReached,
    MessageTimeout,
    NoCredentials,
    ProtocolViolation,
    Revoked,
    SlowConsumer,
    TokenExpired,
    TooManyInvalidMessages,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.http.hosts import HostCheck
from seawall.http.pages import Page, page_response
from seawall.http.request import MAX_FIELDS, MAX_HEAD, BadRequest, HeadReader
from seawall.http.response import SerializedResponse, refusal
from seawall.http.upgrade import check_upgrade
from seawall.limits import Limits
from seawall.messages.codec import JSON
from seawall.observability.reports import log_end, log_report, outcome_of, report_of
from seawall.policy.ending import Cause, End, Ends, Replies, judge, refusal_headers
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Context, Phase
from seawall.printable import name_of
from seawall.serving.capacity import RETRY
from seawall.serving.state import Drain
from seawall.testing.client import HOST
from seawall.wire.traffic import Traffic
from tests.kit.log import recorded
from tests.kit.memory import request
from tests.tools.rows import (
    ELSEWHERE,
    EVENT_FAILURES,
    INCIDENT,
    SERVED,
    SUBSCRIPTION_FAILURES,
    Answered,
    Replied,
    Row,
    Told,
    View,
    Where,
    answered,
    logged,
)

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "failures.md"
COMMAND: Final = "python -m tests.tools.failures --write"

#: What `--write` replaces is between these.
BEGIN, MARK = f"<!-- written by: {COMMAND} -->\n", "<!-- end -->\n"

NEVER = View(text="never begins")
RAISED = View(text="has raised it", receiving="raised")
RETURNED = View(text="has returned", receiving="returned")
LEFT_OFF = View(text="its `async with` is cancelled, and raises it", receiving="raised")
AT_ONCE = View(text="is cancelled at once", receiving="cancelled", busy="cancelled")
REFUSED = View(text="`Disconnected` from `renew`; is cancelled at once", receiving="Disconnected", busy="cancelled")
ENDED = View(
    text="`Disconnected` where it receives or sends; is cancelled at once", receiving="Disconnected", busy="cancelled"
)
WOUND_DOWN = View(
    text="receives what waits, within `drain_timeout`; then, or where it sends, `Disconnected`; what still runs after "
    "`wind_down` is cancelled",
    receiving="Disconnected",
    busy="cancelled",
    seconds=Limits().wind_down,
)
CLOSED = evolve(
    WOUND_DOWN, text="`Disconnected` where it receives or sends; what still runs after `wind_down` is cancelled"
)
DRAINING = View(
    text="`draining` is set, `Draining` where it receives; what still runs `close_timeout` before the end of "
    "`drain_timeout` is cancelled",
    receiving="Draining",
    busy="cancelled",
    seconds=Limits().drain_timeout - Limits().close_timeout,
)
GOES_ON = View(text="the next event is handled", receiving="returned")
NEXT = View(text="receives the next one", receiving="returned")
LEFT = View(text="`draining` is set, `Draining` where it receives; it returns", receiving="Draining")


def failing(failure: Exception, where: Where, handler: View, phase: Phase = Phase.TRANSPORT) -> Row:
    """What the built-in policy makes of `failure`, and what is logged then."""
    context = Context(phase=phase, accepted=where.accepted, incident=INCIDENT, route="/", connection="c1", peer="-")
    judgement = judge(failure, context, ErrorPolicy())
    (leaf,) = judgement.leaves
    peer: Answered | Told | Replied
    match judgement.consequence:
        case Ends(end, None):
            peer = Told(end.code, end.reason)
        case Ends(end):
            peer = Answered(end.code, end.reason, refusal_headers(end.code, failure))
        case Replies(reply, exception):
            frame = MessageFormat(JSON(), "/").answer(reply.make(exception))
            end, peer = End(Cause.RETURNED, 1000), Replied(bytes(frame)[2:].decode())  # it is short
        case _:
            end, peer = End(Cause.RETURNED, 1000), Told(1000)
    with recorded() as records:
        log_report(report_of(leaf, context))
    kind = type(failure)
    what = f"`{kind.__name__}`" if kind.__module__ == "seawall.errors" else "any other exception"
    row = ending(f"{kind.__name__}-{where.name}", what, where, end)
    return evolve(row, peer=peer, handler=handler, log=row.log._replace(reports=logged(records, "c1").reports))


def ending(name: str, what: str, where: Where, end: End) -> Row:
    """An end that is no failure, and what is logged then; the peer is told as `end` says."""
    about = Context(phase=Phase.TRANSPORT, connection="c1", peer="-", route="/")
    outcome = outcome_of(end, about, 0.0, Traffic())
    with recorded() as records:
        log_end(outcome)
    peer = Told(end.code, end.reason) if end.code >= 1000 else Answered(end.code, end.reason)
    return Row(name=name, what=what, where=where, peer=peer, log=logged(records, "c1"), handler=NEVER)


#: What an application raises, each anew.
RAISED_BY_APPLICATIONS: Final[tuple[Callable[[], Exception], ...]] = (
    Unauthorized,
    NoCredentials,
    TokenExpired,
    Forbidden,
    lambda: TooManyRequests(retry_after=30),
    lambda: Unavailable(retry_after=30),
    lambda: RuntimeError("out of paper"),
)

#: Where an application raises, the phase that it is, and what its handler sees then.
WHERE_THEY_RAISE: Final = (
    (Where.GUARD, Phase.GUARD, NEVER),
    (Where.TALK, Phase.GUARD, NEVER),
    (Where.HANDLER, Phase.HANDLER, RAISED),
    (Where.BACKGROUND, Phase.BACKGROUND, AT_ONCE),
    (Where.RESOURCE, Phase.BACKGROUND, ENDED),
    (Where.RELEASE, Phase.RELEASE, RETURNED),
)

#: What a request can be, and an example.
REQUESTS: Final = {
    "no request of HTTP": b"\x16\x03\x01\r\n\r\n",
    "no proper request for a WebSocket": request().replace(b"Connection: Upgrade\r\n", b""),
    "no such route": request("/nowhere"),
    "a method other than GET": request().replace(b"GET", b"POST"),
    "no `Upgrade`, where there is a route": request().replace(b"Upgrade: websocket\r\n", b""),
    "no `Upgrade`, where there is a page": request("/page").replace(b"Upgrade: websocket\r\n", b""),
    "no `Upgrade`, where there is nothing": request("/nowhere").replace(b"Upgrade: websocket\r\n", b""),
    "a version of the protocol other than 13": request().replace(b"Version: 13", b"Version: 8"),
    f"more than {MAX_HEAD // 1024} KiB": request("/", "X: " + "x" * MAX_HEAD),
    f"more than {MAX_FIELDS} fields": request("/", *["X: x"] * MAX_FIELDS),
    "an upgrade in HTTP/1.0": request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another major version of HTTP than 1": request().replace(b"HTTP/1.1", b"HTTP/2.0"),
}

#: What the log says was asked for in vain, or was a page.
ASKED_FOR: Final = {
    "no such route": "'/nowhere'",
    "no `Upgrade`, where there is a route": "'/'",
    "no `Upgrade`, where there is a page": "'/page'",
    "no `Upgrade`, where there is nothing": "'/nowhere'",
}

#: What the log says that something was compared with.
HELD_AGAINST: Final = {
    "host": HostCheck.parse(SERVED).explain(HOST),
    "origin": f"origin {ELSEWHERE!r} is not that of Host {HOST!r}; behind a proxy pass Host with its port",
    "subprotocol": "none of those offered is in subprotocols=[]",
}

#: Where there are too many.
OVERLOADS: Final = frozenset({"full", "crowd", "evicted", "neighbour"})

#: What is where.
PAGES: Final = {"/page": Page.parse("/page", "hello", "text/plain")}
ROUTES: Final = ("/",)


def of_applications() -> Iterator[Row]:
    """What the application raises."""
    for where, phase, handler in WHERE_THEY_RAISE:
        for make in RAISED_BY_APPLICATIONS:
            yield evolve(failing(make(), where, handler, phase), make=make)
        for fatal in (SystemExit, KeyboardInterrupt):
            yield exiting(fatal, where, handler)
    for where in (Where.GUARD, Where.TALK):
        yield returned_nobody(where)
    yield in_cleanup()


def in_cleanup() -> Row:
    """What is raised after the end is reported, and changes nothing."""
    handler = View(text="has raised it, while it was wound down", receiving="raised")
    failed = failing(RuntimeError("out of paper"), Where.AFTER, handler, Phase.HANDLER)
    closed = ending("", "", Where.AFTER, End(Cause.PEER_CLOSED, 4001, "bye"))
    return evolve(failed, peer=closed.peer, log=closed.log._replace(reports=failed.log.reports))


def returned_nobody(where: Where) -> Row:
    """What a guard returns instead of a principal, and a check instead of nothing, is a mistake of the program."""
    mistake = ConfigurationError(
        "member() (chat.py:7) returned a Refuse, which proves nobody; return the principal, or refuse with "
        "`raise Unauthorized(...)` or `raise Forbidden(...)`"
    )
    what = "a guard returns None, a bool, a verdict or what has not run; a check anything but None"
    return evolve(failing(mistake, where, NEVER, Phase.GUARD), what=what)


def exiting(make: type[BaseException], where: Where, handler: View) -> Row:
    """What is no `Exception` is not for a policy: it stops the server."""
    end = End(Cause.FAILED, 1011 if where.accepted else 500, "internal error", name_of(make()))
    if where is Where.RELEASE:
        end = End(Cause.RETURNED, 1000)
    what = f"`{make.__name__}`, which comes out of `app.serve`; the server stops"
    return evolve(ending(f"{make.__name__}-{where.name}", what, where, end), handler=handler, make=make)


def of_limits() -> Iterator[Row]:
    """What has run out, and what the peer broke."""
    yield failing(AuthTimeout(), Where.GUARD, NEVER, Phase.GUARD)
    yield failing(AuthTimeout(), Where.TALK, NEVER, Phase.GUARD)
    yield failing(LeaseExpired(), Where.WIRE_GUARD, NEVER)
    yield failing(LeaseExpired(), Where.WIRE_TALK, NEVER)
    yield failing(LeaseExpired(), Where.WIRE, ENDED)
    yield failing(Revoked(), Where.WIRE_GUARD, NEVER)
    yield failing(Revoked(), Where.WIRE_TALK, NEVER)
    yield failing(Revoked(), Where.WIRE, ENDED)
    yield failing(Forbidden("scope chat is missing"), Where.RENEWAL, REFUSED, Phase.GUARD)
    yield failing(Revoked(), Where.RENEWAL, REFUSED, Phase.GUARD)
    for where in (Where.GUARD, Where.TALK):
        yield one_too_many(where)
    yield invalid()
    yield failing(TooManyInvalidMessages(), Where.MESSAGE, ENDED)
    yield unanswerable()
    for failure in EVENT_FAILURES[:-1]:
        yield failing(failure, Where.EVENT, GOES_ON, Phase.MESSAGE)
    yield failing(EVENT_FAILURES[-1], Where.EVENT, AT_ONCE, Phase.MESSAGE)
    for ended in SUBSCRIPTION_FAILURES:
        row = failing(ended, Where.SUBSCRIPTION, LEFT_OFF, Phase.HANDLER)
        yield evolve(row, peer=Told(1006)) if isinstance(ended, SlowConsumer) else row
    yield failing(IdleTimeout(), Where.WIRE, ENDED)
    yield failing(LifetimeReached(), Where.WIRE, ENDED)
    yield failing(KeepaliveLost(), Where.WIRE, ENDED)
    for where, handler in ((Where.WIRE_TALK, NEVER), (Where.WIRE, ENDED)):
        yield failing(MessageTimeout(), where, handler)
        yield evolve(failing(SlowConsumer(), where, handler), peer=Told(1006))  # a Close would be stuck as well
        for violation in (
            ProtocolViolation(1002, "reserved bits set"),
            ProtocolViolation(1007, "invalid UTF-8"),
            ProtocolViolation(1009, "message too big"),
        ):
            row = failing(violation, where, handler)
            yield evolve(row, name=f"{row.name}-{violation.code}", what=f"{row.what} ({violation.code})")


def invalid() -> Row:
    """Text, where a number is expected."""
    return failing(InvalidMessage("$", "expected an integer, got text"), Where.MESSAGE, NEXT, Phase.MESSAGE)


def unanswerable() -> Row:
    """What the `make` of a `Reply` raises is a failure of the handler."""
    row = failing(RuntimeError("out of paper"), Where.MESSAGE, ENDED, Phase.HANDLER)
    reports = (*invalid().log.reports, *row.log.reports)
    what = "a `Reply` to an `InvalidMessage` raises, or its answer cannot be encoded"
    return evolve(row, what=what, log=row.log._replace(reports=reports))


def one_too_many(where: Where) -> Row:
    """What somebody reads who has as many connections as a subject may have."""
    row = failing(TooManyRequests("too many connections of one subject", retry_after=5), where, NEVER, Phase.GUARD)
    return evolve(row, name=f"subject-{where.name}", what="one more than `max_connections_per_subject`")


def of_requests() -> Iterator[Row]:
    """Who is turned away before a policy is asked."""
    for what, said in REQUESTS.items():
        last_word = answer_to(said)
        cause = Cause.ANSWERED if last_word.status < 400 else Cause.REFUSED
        end = End(cause, last_word.status, last_word.text, ASKED_FOR.get(what, ""))
        row = ending(f"request: {what}", what, Where.REQUEST, end)
        yield evolve(row, peer=answered(last_word.data), said=said)
    for name, what, status, text in (
        ("late", "no whole request within `handshake_timeout`", 408, "request timed out"),
        ("silent", "not a byte within `handshake_timeout`", 408, "request timed out"),
        ("full", "one more than `max_connections`", 503, "too many connections"),
        ("crowd", "one more than `max_unauthenticated`, where none gives way", 503, "too many connections"),
        ("evicted", "it gives way to one more than `max_unauthenticated`", 503, "too many connections"),
        ("neighbour", "one more than `max_connections_per_address`", 429, "too many connections from one address"),
        ("host", "a `Host` that is not served", 421, "this host is not served here"),
        ("origin", "a page from another origin", 403, "origin not allowed"),
        ("subprotocol", "subprotocols, none of which the route speaks", 400, "no subprotocol in common"),
    ):
        detail = HELD_AGAINST.get(name, "")
        cause = Cause.OVERLOAD if name in OVERLOADS else Cause.REFUSED
        end = End(cause, status, text, detail, silent=name == "silent")
        row = ending(name, what, Where.REQUEST, end)
        yield evolve(row, peer=Answered(status, text, RETRY if status in {429, 503} else ()))
    end = End(Cause.OVERLOAD, 1013, "too many connections")
    yield ending("evicted-WIRE_TALK", "it gives way to one more than `max_unauthenticated`", Where.WIRE_TALK, end)
    for name, what in (("gone", "the peer vanishes"), ("probe", "the peer vanishes without having sent a byte")):
        end = End(Cause.PEER_VANISHED, 1006, "before its request", silent=name == "probe")
        yield evolve(ending(name, what, Where.REQUEST, end), peer=Told(1006))


def answer_to(said: bytes) -> SerializedResponse:
    """What a request gets for an answer."""
    try:
        head = HeadReader().receive_data(said)
        assert head is not None, "torn"
        if not head.wants_upgrade:
            return page_response(head, PAGES.get(head.path), is_route=head.path in ROUTES)
        check_upgrade(head, peer="-", secure=False)
    except BadRequest as bad:
        return refusal(bad.status, bad.reason, headers=bad.headers)
    assert head.path not in ROUTES, "there is nothing wrong with it"
    return refusal(404, "not found")


def of_ends() -> Iterator[Row]:
    """What ends a connection without a failure."""
    yield evolve(ending("returned", "the handler returns", Where.HANDLER, End(Cause.RETURNED, 1000)), handler=RETURNED)
    closed = ending(
        "aclose", 'the handler closes: `aclose(4000, "enough")`', Where.HANDLER, End(Cause.CLOSED, 4000, "enough")
    )
    yield evolve(closed, handler=CLOSED)
    noway = ending(
        "close_nowait", "another handler closes it: `conn.close_nowait(4000)`", Where.HANDLER, End(Cause.CLOSED, 4000)
    )
    yield evolve(noway, handler=CLOSED)
    banned, what = End(Cause.ENDED, 4003, "banned"), 'the program ends it: `server.end(id, 4003, "banned")`'
    for where in (Where.REQUEST, Where.GUARD):
        row = ending(f"ended-{where.name}", what, where, evolve(banned, code=503))
        yield evolve(row, peer=Answered(503, "banned"))
    yield ending("ended-TALK", what, Where.TALK, banned)
    yield evolve(ending("ended-HANDLER", what, Where.HANDLER, banned), handler=CLOSED)
    replaced = End(Cause.REPLACED, 3003, "replaced")
    what = 'another one comes, and `limit_connections(..., losing="oldest")` counts it'
    yield evolve(ending("replaced", what, Where.HANDLER, replaced), handler=CLOSED)
    vanished, bye = End(Cause.PEER_VANISHED, 1006), End(Cause.PEER_CLOSED, 4001, "bye")
    for where, handler in ((Where.WIRE_TALK, NEVER), (Where.WIRE, WOUND_DOWN)):
        yield evolve(ending(f"closes-{where.name}", 'the peer closes: 4001 "bye"', where, bye), handler=handler)
        yield evolve(ending(f"vanishes-{where.name}", "the peer vanishes", where, vanished), handler=handler)
    yield ending("vanishes-WIRE_GUARD", "the peer vanishes", Where.WIRE_GUARD, vanished)
    stopped = End(Cause.STOPPED, 1001, "going away")
    for name, what, end in (
        ("drained", "the server drains", Drain(begun=True).end_of_drained),
        ("restarts", "the server drains, `restarting=True`", Drain(begun=True, restarting=True).end_of_drained),
        ("stopped", "`app.serve` is cancelled", stopped),
    ):
        for where in (Where.REQUEST, Where.GUARD):
            row = ending(f"{name}-{where.name}", what, where, evolve(end, code=503))
            yield evolve(row, peer=Answered(503, end.reason, RETRY))
        yield ending(f"{name}-TALK", what, Where.TALK, end)
        row = ending(f"{name}-HANDLER", what, Where.HANDLER, end)
        yield evolve(row, handler=ENDED if end is stopped else DRAINING)
        if end is not stopped:
            row = ending(f"{name}-LEAVE", f"{what}, and the handler returns", Where.HANDLER, end)
            yield evolve(row, handler=LEFT)


#: The tables, by their titles.
TABLES: Final = {
    "What the application raises": tuple(of_applications()),
    "Deadlines, and what the peer breaks": tuple(of_limits()),
    "Requests that come to nothing": tuple(of_requests()),
    "Ends that are no failures": tuple(of_ends()),
}

ROWS: Final = {row.name: row for rows in TABLES.values() for row in rows}

HEADINGS: Final = (
    "what failed",
    "where",
    "what the peer sees",
    "the log: `seawall.connection`",
    "the log: `seawall.error`",
    "what the handler sees",
)


def tables() -> str:
    """All of it, as Markdown."""
    parts = list[str]()
    for title, rows in TABLES.items():
        heading = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
        parts += [f"## {title}", "", *heading, *map(str, rows), ""]
    return "\n".join(parts)


def document(old: str) -> str:
    """What the file should hold, which now holds `old`."""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(MARK)
    return f"{before}{begin}\n{tables()}\n{end}{after}"


def main() -> None:
    """Print the tables, or put them where they belong."""
    parser = argparse.ArgumentParser("python -m tests.tools.failures", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/failures.md")
    if vars(parser.parse_args())["write"]:
        DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(tables())


if __name__ == "__main__":
    main()
