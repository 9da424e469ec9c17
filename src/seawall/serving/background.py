"""`BackgroundTasks`: tasks of a whole server, which run beside its connections."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import final

import trio

from seawall.exception_groups import partition
from seawall.observability.logs import error_log, server_log
from seawall.observability.reports import labelled
from seawall.printable import name_of, safe
from seawall.serving.resources import task_names


@final
class BackgroundTasks:
    """Tasks that run until the last connection of their server is over. When one fails, that is logged and no more."""

    def __init__(self, escalate: Callable[[BaseException, str], None]) -> None:
        """Begin with no tasks. `escalate` is called with a SystemExit or KeyboardInterrupt, and stops the server."""
        self._escalate = escalate
        self._nursery: trio.Nursery | None = None

    def start_soon(self, function: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Run `function` until it returns or the server stops; `name` is for the log.

        Raises:
          RuntimeError: the server does not run.
        """
        if self._nursery is None:
            raise RuntimeError(f"{name} cannot be started: the server does not run")
        self._nursery.start_soon(self._run, function, name, name=name)

    @asynccontextmanager
    async def running(self, label: str = "", *, close_timeout: float) -> AsyncGenerator[None]:
        """Let tasks run inside of the block, and cancel them at its end.

        Those that still run `close_timeout` seconds later are named in the log, under the `label` of their server, and
        waited for.
        """
        async with trio.open_nursery(strict_exception_groups=True) as around:
            async with trio.open_nursery(strict_exception_groups=True) as self._nursery:
                yield
                around.start_soon(self._name_the_late, self._nursery, label, close_timeout)
                self._nursery.cancel_scope.cancel()
            self._nursery = None
            around.cancel_scope.cancel()

    async def _name_the_late(self, nursery: trio.Nursery, label: str, seconds: float) -> None:
        await trio.sleep(seconds)
        line = f"stopping, but still running: {safe(task_names(nursery))}"
        server_log.warning("%s", labelled(label, line))

    @trio.lowlevel.disable_ki_protection
    async def _run(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        try:
            await function()
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - what belongs to a cancel scope is raised again
            parts = partition(raised)
            for fatal in parts.fatal:
                self._escalate(fatal, f"seawall: {name}")
            for failure in parts.failures:
                error_log.log(logging.ERROR, "%s: %s", name, name_of(failure), failure=failure)
            if parts.cancelled is not None:
                raise parts.cancelled from None  # noqa: ASYNC104 - it is the part that has to be
