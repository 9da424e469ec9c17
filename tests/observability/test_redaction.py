"""No credential in the log: neither in messages nor in tracebacks, whoever has put it there and whatever reads it."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import time
from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Forbidden, Gate, Limits, Outcome, guard, public
from seawall.observability.logs import MAX_TRACEBACK, JsonFormatter, TextFormatter, error_log, server_log
from seawall.printable import REDACTED, name_of, redacted, safe
from seawall.testing import Rejected, Serving, serve
from tests.kit.log import Records, recorded
from tests.kit.tokens import signed

TOKEN = signed({"sub": "ada", "scope": "chat:write", "exp": 4_000_000_000})
#: None of its parts is to be found either, nor much of one.
PARTS = [TOKEN[at : at + 24] for at in range(len(TOKEN) - 24)]

#: What may stand around a credential, and what is left of it.
SHOWN = {
    TOKEN: REDACTED,
    f"Bearer {TOKEN}": f"Bearer {REDACTED}",
    f"'line\\n{TOKEN}'": f"'line\\n{REDACTED}'",
    f"session={TOKEN}; theme=dark": f"session={REDACTED}; theme=dark",
    f"/{TOKEN}/rooms": f"/{REDACTED}/rooms",
    TOKEN.rpartition(".")[0]: REDACTED,
    TOKEN[:60] + "…": REDACTED + "…",
    "eyAiYWxnIjogIkhTMjU2IiB9.eyJzdWIiOiJhZGEifQ.c2ln": REDACTED,
    "ewogICJhbGciOiAiSFMyNTYiCn0.eyJzdWIiOiJhZGEifQ.c2ln": REDACTED,
    "ew0KICJhbGciOiAiSFMyNTYiCn0.eyJzdWIiOiJhZGEifQ.": REDACTED,
    "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d": REDACTED,  # encrypted
    "/feed?access_token=opaque&x=1": f"/feed?access_token={REDACTED}&x=1",
    "TICKET=opaque": f"TICKET={REDACTED}",
    "refresh_token=a.b/c+d== next": f"refresh_token={REDACTED} next",
    "next=%2Ffeed%3Ftoken%3Dopaque": f"next=%2Ffeed%3Ftoken%3D{REDACTED}",
    "Session(token='two words', id=7)": f"Session(token={REDACTED}, id=7)",
    "Session(token=b'bytes', id=7)": f"Session(token={REDACTED}, id=7)",
    '{"ticket": "opaque", "id": 7}': f'{{"ticket": {REDACTED}, "id": 7}}',
    "[('token', 'opaque')]": f"[('token', {REDACTED})]",
    "{'token': ['opaque'], 'id': ['7']}": f"{{'token': {REDACTED}], 'id': ['7']}}",  # of `urllib.parse.parse_qs`
    '{"ticket": "opa\\"que", "id": 7}': f'{{"ticket": {REDACTED}, "id": 7}}',
    '{"line": "{\\"ticket\\": \\"opaque\\"}"}': f'{{"line": "{{\\"ticket\\": {REDACTED}}}',  # JSON in JSON
    "b'Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA=='": f"b'Authorization: Bearer {REDACTED}'",
    "chat.v1, bearer.2YotnFZFEjr1zCsicMWpAA": f"chat.v1, bearer.{REDACTED}",
    "bearer.2YotnFZFEjr1zCsicMWpAA": f"bearer.{REDACTED}",
    "basic YWRhOmEgcGFzc3dvcmQ=": f"basic {REDACTED}",
}

#: What is no credential, and stays.
KEPT = [
    "c1 127.0.0.1:50412 Claims:0123456789 /echo: peer closed, 1000 '' after 12.300 s, 4 in, 4 out",
    "token refused: of another type",
    "revoked by token_id: 1 connections end",
    "the tokens=3",
    "eyJ",
    "monkeys.keyboard.newlines.of.they",
    "WWW-Authenticate: Bearer realm",
    "the bearer of a basic ticket",
    "seawall.guards.bearer._admitted_by_token_2()",
    "test_bearer.test_one_of_several_sources",
    "",
]


@pytest.mark.parametrize("text", SHOWN)
def test_mended_20_a_credential_is_redacted(text: str) -> None:
    """Whatever stands around it stays, and doing it again changes nothing."""
    assert redacted(text) == safe(text) == SHOWN[text]
    assert redacted(SHOWN[text]) == SHOWN[text]


@pytest.mark.parametrize("text", KEPT)
def test_mended_20_what_is_no_credential_stays(text: str) -> None:
    """What only looks a little like one is shown."""
    assert redacted(text) == text


@given(st.text("ey JT.o='\"k\nn:t"), st.text())
def test_mended_20_a_token_is_found_anywhere(before: str, after: str) -> None:
    """Whatever comes before and after it, and wherever the text is cut."""
    for shown in (redacted(before + TOKEN + after), safe(before + TOKEN + after, 40)):
        assert not any(part in shown for part in PARTS)


@pytest.mark.parametrize("at", range(0, 210, 7))
def test_mended_20_a_token_that_would_be_cut(at: int) -> None:
    """It is redacted before the text is shortened: no half of it is left, and the text is marked as shortened."""
    shown = safe("x" * at + TOKEN + "y" * 40_000)
    assert "eyJ" not in shown
    assert len(shown) <= 200
    assert shown.endswith("…")


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ",
        "eyJab.",
        "token=",
        "token'",
        "token' ",
        "bearer ",
        "token='",
        "ey",
        "basic",
        ".",
        "token=[",
        "token\\",
        "token':\\",
    ],
)
def test_mended_20_hostile_text_takes_no_longer(unit: str) -> None:
    """A megabyte of what begins like a credential is read once: twenty times as much takes no 400 times as long."""

    def seconds(size: int) -> float:
        began = time.process_time()
        redacted(unit * (size // len(unit)))
        return time.process_time() - began

    assert seconds(1_000_000) < 100 * max(seconds(50_000), 0.001)


def plain(error: BaseException) -> BaseException:
    """As it is."""
    return error


def in_group(error: BaseException) -> BaseException:
    """In a group in a group."""
    return BaseExceptionGroup("outer", [BaseExceptionGroup(f"inner {TOKEN}", [error, ValueError("other")])])


def in_notes(error: BaseException) -> BaseException:
    """In a note of another."""
    other = ValueError("other")
    other.add_note(f"while verifying {error}")
    return other


def in_cause(error: BaseException) -> BaseException:
    """As the cause of another."""
    other = ValueError("other")
    other.__cause__ = error
    return other


def in_context(error: BaseException) -> BaseException:
    """As what another was raised in handling."""
    other = ValueError("other")
    other.__context__ = error
    return other


def in_the_middle(error: BaseException) -> BaseException:
    """Where a long traceback is cut."""
    return ValueError("x" * (MAX_TRACEBACK // 2 - 3_000) + f" {error}" * 300 + "y" * MAX_TRACEBACK)


WAYS = [plain, in_group, in_notes, in_cause, in_context, in_the_middle]

Body = Callable[[Connection[Anonymous]], Awaitable[None]]


def app_with(body: Body, outcomes: list[Outcome]) -> App:
    """An app with a handler, a guard that fails and one that refuses."""
    app = App(on_end=outcomes.append, limits=Limits(close_timeout=2, wind_down=1))
    app.route("/", guard=public)(body)

    @guard
    async def refuses(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden(f"not with {gate.handshake.header('authorization')}")

    @guard
    async def fails(gate: Gate, proved: Anonymous) -> Anonymous:
        raise KeyError(gate.handshake.header("authorization"))

    app.route("/refuses", guard=refuses)(body)
    app.route("/fails", guard=fails)(body)
    return app


def all_of(records: Records) -> str:
    """Everything that a handler could show of what was logged: attributes, and lines of every formatter."""
    shown: list[str] = []
    for record in records.found:
        shown += [repr(vars(record)), repr(record.exc_info)]
        shown += [make().format(record) for make in (logging.Formatter, TextFormatter, JsonFormatter)]
        sent: object = logging.handlers.QueueHandler(queue.SimpleQueue()).prepare(record)
        shown += [repr(vars(sent))]
    return "\n".join(shown)


def assert_clean(records: Records, outcomes: list[Outcome]) -> None:
    """Nothing of the token is in the log, or in what the application is told to log."""
    shown = all_of(records) + repr(outcomes)
    assert REDACTED in shown
    assert not [part for part in PARTS if part in shown]


@pytest.mark.parametrize("way", WAYS)
async def test_mended_20_a_token_that_a_handler_raises(
    way: Callable[[BaseException], BaseException], autojump_clock: MockClock
) -> None:
    """It is found nowhere, however it is raised; the traceback is there, with the function."""
    outcomes = list[Outcome]()

    async def raises(conn: Connection[Anonymous]) -> None:
        raise way(KeyError(f"Bearer {TOKEN}"))

    with recorded() as records:
        async with serve(app_with(raises, outcomes)) as serving, serving.connect("/") as client:
            assert (await client.wait_closed()).code == 1011
    assert_clean(records, outcomes)
    errors = [record for record in records.found if record.name == "seawall.error"]
    assert errors
    for record in errors:
        assert record.exc_info is None
        assert record.exc_text is not None
        assert "in raises" in record.exc_text
        assert len(record.exc_text) <= MAX_TRACEBACK


async def end_of(serving: Serving, path: str) -> None:
    """Ask for a path with a token, and be refused."""
    with pytest.raises(Rejected):
        async with serving.connect(path, headers={"Authorization": f"Bearer {TOKEN}", "Origin": "http://seawall.test"}):
            pass


@pytest.mark.parametrize("path", ["/refuses", "/fails", f"/{TOKEN}", f"/nowhere?token={TOKEN}", f"/token={TOKEN}"])
async def test_mended_20_a_token_of_who_is_not_let_in(path: str, autojump_clock: MockClock) -> None:
    """Not in what a guard raises, and not in a path that there is not."""
    outcomes = list[Outcome]()

    async def never(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    with recorded() as records:
        async with serve(app_with(never, outcomes)) as serving:
            await end_of(serving, path)
    if "?" not in path:
        assert_clean(records, outcomes)
    assert not [part for part in PARTS if part in all_of(records)]


async def test_mended_20_a_token_in_an_origin(autojump_clock: MockClock) -> None:
    """Not in an origin that is refused."""
    outcomes = list[Outcome]()

    async def never(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    with recorded() as records:
        async with serve(app_with(never, outcomes)) as serving:
            with pytest.raises(Rejected):
                async with serving.connect("/", headers={"Origin": f"http://evil.example/?token={TOKEN}"}):
                    pass
    assert_clean(records, outcomes)


async def test_mended_20_a_token_in_the_name_of_a_task(autojump_clock: MockClock) -> None:
    """A task that is named when its connection is over is not named in full."""
    outcomes, release = list[Outcome](), trio.Event()

    async def stuck() -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    async def names(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stuck, name=f"renewal of {TOKEN}")
        await conn.aclose(4000)

    with recorded() as records:
        async with serve(app_with(names, outcomes)) as serving:
            try:
                async with serving.connect("/") as client:
                    assert await client.wait_closed() == (4000, "")
                await trio.sleep(10)
            finally:
                release.set()
    assert any("still running" in line and "renewal of" in line for line in records.lines("server"))
    assert_clean(records, outcomes)


async def test_mended_20_a_token_as_the_reason_of_a_close(autojump_clock: MockClock) -> None:
    """What a peer, or a handler, gives as the reason is in the line of the connection."""
    outcomes = list[Outcome]()
    reason = "token=opaque-but-secret"

    async def closes(conn: Connection[Anonymous]) -> None:
        await conn.aclose(4000, reason)

    with recorded() as records:
        async with serve(app_with(closes, outcomes)) as serving, serving.connect("/") as client:
            assert await client.wait_closed() == (4000, reason)
    assert f"closed by the handler, 4000 'token={REDACTED}'" in records.ends
    assert "opaque" not in all_of(records)


def test_mended_20_the_log_itself_redacts() -> None:
    """Arguments, messages that do not fit them, and failures that cannot be printed."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise OSError(TOKEN)

    with recorded() as records:
        server_log.info("%s and %r", TOKEN, {"token": "opaque"})
        server_log.warning("%d", TOKEN)
        server_log.error(f"100 % of {TOKEN}")
        error_log.log(logging.ERROR, "odd", failure=Odd(TOKEN))
    assert [record.args for record in records.found] == [()] * 4
    assert records.found[0].getMessage() == f"{REDACTED} and {{'token': {REDACTED}}}"
    assert records.found[2].getMessage() == f"100 % of {REDACTED}"
    assert records.found[0].funcName == "test_mended_20_the_log_itself_redacts"
    assert not [part for part in PARTS if part in all_of(records)]
    assert TOKEN not in name_of(KeyError(TOKEN))


@pytest.mark.parametrize("make", [TextFormatter, JsonFormatter])
def test_mended_20_the_formatters_redact_what_others_log(make: Callable[[], logging.Formatter]) -> None:
    """In messages, fields, tracebacks and stacks of a program's own loggers, too."""
    try:
        raise KeyError(TOKEN)
    except KeyError as error:
        record = logging.makeLogRecord(
            {
                "msg": "%s",
                "args": (TOKEN,),
                "exc_info": (KeyError, error, error.__traceback__),
                "stack_info": f"in {TOKEN}",
                "seawall": {"path": f"/{TOKEN}", "deep": [TOKEN, {TOKEN: TOKEN}], "odd": {TOKEN}},
            }
        )
    line = make().format(record)
    assert REDACTED in line
    assert not [part for part in PARTS if part in line]
