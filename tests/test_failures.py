"""Each row of ``docs/failures.md`` is provoked: what the peer saw, what was logged and what the handler saw are so."""

from __future__ import annotations

import re
from itertools import chain

import pytest
from attrs import evolve
from trio.testing import MockClock

from seawall import App, Cause, Limits, Phase, public
from seawall.policy.error_policy import DEFAULTS
from tests.kit.log import recorded
from tests.kit.memory import Wire, living, request
from tests.kit.sockets import echo, serving
from tests.kit.wire import CLOSE, TEXT, take
from tests.tools.failures import BEGIN, COMMAND, DOCUMENT, MARK, ROWS, TABLES, document
from tests.tools.plots import PLOTS, Watch, play, plot_of
from tests.tools.rows import INCIDENT, Answered, Replied, Told, answered, logged

#: The row that memory streams, which have no address, cannot show.
NETWORKED = "neighbour"

#: What follows the word.
INCIDENTS = re.compile(r"(?<=incident )[0-9a-f]{6}\b")


def seen(written: bytearray) -> Answered | Told | Replied:
    """What a peer made of all that the server has written; an answer with the fields that say more than its length."""
    head, _, rest = bytes(written).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        return answered(bytes(written)) if head else Told(1006)
    heard, replied = bytearray(rest), list[Replied]()
    while (found := take(heard)) is not None:
        if found.opcode == TEXT and found.payload.startswith(b'{"type":"error"'):
            replied.append(Replied(found.payload.decode()))
        if found.opcode == CLOSE:
            assert not heard
            return replied[0] if replied and found.closing == (1000, "") else Told(*found.closing)
    return Told(1006)


def anonymous(peer: Answered | Told | Replied) -> Answered | Told | Replied:
    """What the peer was told, but for the number of the incident."""
    if isinstance(peer, Told):
        return evolve(peer, reason=INCIDENTS.sub(INCIDENT, peer.reason))
    if isinstance(peer, Replied):
        return peer
    return evolve(peer, text=INCIDENTS.sub(INCIDENT, peer.text))


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {NETWORKED}))
async def test_a_row(name: str, autojump_clock: MockClock) -> None:
    """What the row says is what happens: to the peer, in the log, and to the handler; and not one task is left."""
    row, wire, watch = ROWS[name], Wire(), Watch()
    before, escaped = living(), False
    with recorded() as records:
        try:
            await play(plot_of(row), wire, watch)
        except* (SystemExit, KeyboardInterrupt):
            escaped = True
    assert watch.outcome is not None
    log, peer = logged(records, watch.outcome.connection), seen(wire.written)
    assert (anonymous(peer), log) == (row.peer, row.log)
    receiving, busy, seconds = watch.seen
    assert (receiving, busy) == (row.handler.receiving, row.handler.busy)
    assert seconds == pytest.approx(row.handler.seconds)
    assert escaped == (row.make in {SystemExit, KeyboardInterrupt})
    assert living() == before


async def test_a_row_about_addresses() -> None:
    """The one row for which a network is needed."""
    app = App(limits=Limits(max_connections_per_address=1))
    app.route("/echo", guard=public)(echo)
    row = ROWS[NETWORKED]
    async with serving(app) as place:
        await place.open()
        with recorded() as records:
            client = await place.dial()
            await client.send(request("/echo"))
            answer = await client.last_response()
            await place.idle(1)
        place.hang_up()  # or stopping would wait for the answer to a Close
    assert isinstance(row.peer, Answered)
    assert (answer.status, answer.body.decode().strip()) == (row.peer.status, row.peer.text)
    assert answer.header("retry-after") == dict(row.peer.fields)["Retry-After"]
    (ended,) = [record for record in records.found if "overload" in record.getMessage()]
    assert logged(records, ended.getMessage().partition(" ")[0]) == row.log


def test_every_row_is_provoked() -> None:
    """A row that nobody provokes could say anything, and a plot without a row proves nothing."""
    provoked_alike = ROWS.keys() - {NETWORKED}
    assert set(PLOTS) == {name for name in provoked_alike if ROWS[name].make is None and not ROWS[name].said}
    assert len(ROWS) == sum(map(len, TABLES.values())), "two rows of one name"


def test_no_failure_is_left_out() -> None:
    """There is a row for each rule of the built-in policy, each cause of an end, and each phase of a failure."""
    rules = {rule.type.__name__ for rule in DEFAULTS.rules}
    assert rules <= {name for row in ROWS.values() for name in re.findall(r"\w+", row.what)}
    ends = [line.text for row in ROWS.values() for line in row.log.end]
    assert [cause for cause in Cause if not any(text.startswith(f"{cause.value}, ") for text in ends)] == []
    reports = chain.from_iterable(row.log.reports for row in ROWS.values())
    phases = {line.text.partition(":")[0] for line in reports}
    assert phases == {phase.value for phase in Phase}


def test_the_document_is_up_to_date() -> None:
    """What is written is what the code says."""
    old = DOCUMENT.read_text(encoding="utf-8")
    assert BEGIN in old
    assert MARK in old
    assert document(old) == old, f"docs/failures.md is not what the code says; run: {COMMAND}"
