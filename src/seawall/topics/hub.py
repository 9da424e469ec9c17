"""`Hub`: what all rooms of one app share: their logs, the pump, and whether the app is served."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import get_ident
from typing import final

import trio

from seawall.connection.message_format import MessageFormat
from seawall.connection.session_table import SessionTable
from seawall.connection.state import ConnectionState
from seawall.errors import ConfigurationError, Unavailable
from seawall.guards.service import Service
from seawall.limits import Limits
from seawall.messages.codec import Codec
from seawall.one_run import OneRun
from seawall.topics.engine import Engine, MemoryEngine
from seawall.topics.kicks import Kicks
from seawall.topics.presences import Presences
from seawall.topics.pump import Pump
from seawall.topics.rendering import Renderers


@final
class Hub(Service):
    """What all rooms of one app share. It is the service that runs the pump: of several servers, one does at a time."""

    def __init__(self, limits: Limits, codec: Codec, table: SessionTable) -> None:
        """Begin with no rooms; the app is not served yet.

        Args:
          limits: of the app.
          codec: of the app; events are written by it when they are published.
          table: who is connected.
        """
        self.format = MessageFormat(codec, "App.topic")
        """How events are written when they are published."""
        self.renderers = Renderers(self.format)
        """How they are written otherwise."""
        self.pump = Pump()
        """Serves who reads."""
        self._table = table
        self.kicks = Kicks(table)
        """Who has been put out."""
        self.presences = Presences()
        """Who is in them."""
        self.pump.timers.append(self.presences.lingering)
        table.revocations.watcher = self.presences.lingering
        self._memory = MemoryEngine(limits, self.pump)
        self.engine: Engine = self._memory
        """Has the logs."""
        self.pump.timers.append(self._memory)
        self._run = OneRun()
        self._servers = 0
        self._thread: int | None = None  # the one in which the app is served
        self._turn = trio.Lock()  # of the servers

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return "topics"

    @contextmanager
    def serving(self) -> Generator[None]:
        """The app is served inside of the block; blocks in one run of Trio may overlap. All is gone after the last.

        Raises:
          ConfigurationError: the app is served in another run of Trio.
        """
        with self._run.using("the rooms of an app are in one run of Trio; serve it in one, or make an app for each"):
            self._servers += 1
            if self._thread is None:
                self._thread = get_ident()
                self._turn = trio.Lock()
                self._memory.begin()
            try:
                yield
            finally:
                self._servers -= 1
                if not self._servers:
                    self.presences.lingering.end()
                    self._memory.end()
                    self.pump.stop()
                    self.kicks.clear()
                    self._thread = None

    async def run(self) -> None:
        """Run the pump, as soon as no other server of the app does."""
        async with self._turn:
            await self.pump.run()

    @property
    def is_served(self) -> bool:
        """Whether the app is."""
        return self._thread is not None

    def check_here(self, call: str) -> None:
        """Refuse a call that is not made where the app is served; `call` is its name.

        Raises:
          Unavailable: it is not served.
          ConfigurationError: it is another thread.
        """
        if get_ident() != self._thread:
            if self._thread is None:
                raise Unavailable(f"{call}(): the app of this room is not served")
            raise ConfigurationError(
                f"{call}() in another thread than the server's; call it with trio.from_thread.run or run_sync"
            )

    def knows(self, state: ConnectionState) -> bool:
        """Whether a connection is of this app; also if it is over, so that nobody can tell."""
        return self._table.get(state.id) is not None or state.lifecycle.ended is not None
