"""Apps that are served beside a test which blocks, as those before a browser do."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import trio

from seawall import App
from tests.kit.leaks import Watch
from tests.kit.sockets import serving


@contextmanager
def served(app: App) -> Generator[str]:
    """Serve `app` on a free port, in a thread of its own; where that is, as ``://host:port``.

    A program of its own would take half a second to start. As with tests under Trio, nothing may be left behind.
    """
    started = SimpleQueue[tuple[str, trio.lowlevel.TrioToken] | None]()
    over, watch = trio.Event(), Watch()

    async def main() -> None:
        async with serving(app) as place:
            started.put((place.at.url.removeprefix("ws"), trio.lowlevel.current_trio_token()))
            await over.wait()

    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(watch.run, main, clock=None, instruments=[])
        run.add_done_callback(lambda _: started.put(None))
        try:
            if (found := started.get()) is not None:
                url, token = found
                try:
                    yield url
                finally:
                    token.run_sync_soon(over.set)
        finally:
            run.result()
    left = watch.take()
    assert not left, f"left behind: {'; '.join(left)}"
