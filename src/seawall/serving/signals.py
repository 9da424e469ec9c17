"""`serve_until_signalled`: what a main program does, which serves until SIGINT or SIGTERM and then drains."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import trio

from seawall.errors import ConfigurationError
from seawall.observability.logs import server_log
from seawall.serving.server import Server


async def serve_until_signalled(*starts: Callable[[trio.Nursery], Awaitable[Server]]) -> None:
    """Start servers, such as ``partial(app.start, port=8765)``, and drain them all at SIGINT or SIGTERM.

    A second signal, or one before all servers listen, cancels everything. Outside of the main thread Python delivers no
    signals, and a line of the log says so. Returns when all servers have stopped and their lifespans have been left.

    Raises:
      ConfigurationError: an address cannot be bound; what had been started is stopped again.
    """
    mistake: ConfigurationError | None = None
    servers: list[Server] = []
    with _receiving_signals() as signals:
        async with trio.open_nursery(strict_exception_groups=True) as watching:
            stop = trio.CancelScope()
            # From the first moment to the last: a lifespan that hangs can be interrupted as well.
            if signals is not None:
                watching.start_soon(_stop_when_told, signals, servers, len(starts), stop)
            with stop:
                async with trio.open_nursery(strict_exception_groups=True) as serving:
                    try:
                        for start in starts:
                            servers.append(await start(serving))  # noqa: PERF401 - the watcher sees each as it comes
                    except ConfigurationError as error:
                        mistake = error
                        stop.cancel()
            watching.cancel_scope.cancel()
    if mistake is not None:
        raise mistake


@contextmanager
def _receiving_signals() -> Generator[AsyncIterator[int] | None]:
    """The signals that stop servers, as they come; None outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        server_log.warning("not in the main thread: SIGINT and SIGTERM do not drain this server")
        yield None
        return
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        yield signals


async def _stop_when_told(
    signals: AsyncIterator[int], servers: Sequence[Server], expected: int, stop: trio.CancelScope
) -> None:
    async with trio.open_nursery(strict_exception_groups=True) as nursery:
        draining = False
        async for _ in signals:
            if draining or len(servers) < expected:  # one that is still starting cannot be drained
                stop.cancel()
            draining = True
            for server in servers:
                nursery.start_soon(server.aclose)
