"""Names what blocks the loop: a handler that computes, or calls something that waits, for more than a second.

While it does, no other connection is served. Trio cannot say so, because nothing of it runs either. So a thread asks
the loop for a sign of life, and looks at the stack of the loop's thread when there is none.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

import trio

from seawall.observability.logs import server_log
from seawall.observability.reports import log_suppressed
from seawall.observability.sampling import LogSampler
from seawall.printable import safe

#: Seconds after which the loop counts as blocked.
LIMIT: Final = 1.0

#: Seconds between two questions: what blocks for longer than `LIMIT` and this is always found.
PERIOD: Final = 0.25

#: The packages whose frames are not the application's.
_OURS: Final = frozenset({"seawall", "trio", "outcome", "trio_websocket"})


@contextmanager
def named_when_blocking() -> Generator[None]:
    """While the block runs, log a WARNING with function and line when the loop of this thread is blocked."""
    watch = _Watch()
    threading.Thread(target=watch.run, name="seawall: what blocks the loop", daemon=True).start()
    try:
        yield
    finally:
        watch.stop()


@final
class _Watch:
    """Asks a loop whether it runs, from another thread."""

    def __init__(self) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._stopped = threading.Event()
        self._sampler = LogSampler()

    def run(self) -> None:
        """Ask until `stop`."""
        while not self._wait(self._stopped, PERIOD):
            answered = threading.Event()
            try:
                self._loop.run_sync_soon(answered.set)
            except trio.RunFinishedError:
                return
            asked_at = time.monotonic()
            if self._wait(answered, LIMIT):
                continue
            if time.monotonic() - asked_at <= 2 * LIMIT:  # else `_wait` has said it, or the whole process stood still
                self._warn()
            while not (answered.wait(PERIOD) or self._stopped.is_set()):
                pass

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event`, and return whether it came; warn if this thread could not run much longer than that.

        Something in C has kept the interpreter to itself then, and not let this thread look while it ran. If the
        process has computed nothing meanwhile, it was stopped, and nobody is to blame.
        """
        began, used = time.monotonic(), time.process_time()
        came = event.wait(seconds)
        if time.monotonic() - began > seconds + LIMIT and time.process_time() - used > LIMIT / 2:
            self._warn()
        return came

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _warn(self) -> None:
        frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage]  # documented
        culprit, inner = culprit_of(frame)
        if self._sampler.admits((culprit,), time.monotonic()):
            log_suppressed((culprit,), self._sampler.take_suppressed((culprit,)))
            server_log.warning(
                "blocked: for more than %.0f s nothing else has run, because of %s%s; await what waits, and give what "
                "computes or blocks to trio.to_thread.run_sync",
                LIMIT,
                culprit,
                f", which is in {inner}" if inner else "",
            )


def culprit_of(innermost: FrameType | None) -> tuple[str, str]:
    """What a thread is doing, for the log: the application's function that Trio runs, and what that is in, if anything.

    Args:
      innermost: the frame that runs, of a thread that runs Trio.
    """
    frames: list[FrameType] = []
    frame = innermost
    while frame is not None and frame.f_globals.get("__name__") != "trio._core._run":  # below it are only tasks
        frames.append(frame)
        frame = frame.f_back
    if not frames:
        return "nothing that can be named", ""
    theirs = [frame for frame in frames if _package(frame) not in _OURS]
    culprit = theirs[-1] if theirs else frames[0]
    return _place(culprit), "" if culprit is frames[0] else _place(frames[0])


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return safe(f"{code.co_qualname}() ({code.co_filename}:{frame.f_lineno})")
