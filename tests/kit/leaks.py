"""What no test may leave behind: descriptors, threads, tasks that Seawall has started, entries in a server's tables.

`Watch` sees the tasks as Trio's own instruments do, and through them every server that is served, whoever serves it and
however: nothing of Seawall is replaced, and nothing has to cooperate. It looks at a server's tables when the test is
over, and at what the kernel holds for its poller as it stops: later there is nothing to look at.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar, final

import trio
from attrs import define, field

import seawall
from seawall.serving.runner import run_connection
from seawall.serving.server import Server
from seawall.sqlite import thread
from seawall.sqlite.database import Database
from seawall.wire.transport.poller import Poller

T = TypeVar("T")

#: Where the system shows the descriptors of this process, if it does.
OPEN: Final = Path("/proc/self/fd")

#: Where it shows what an epoll descriptor waits for.
WAITED_FOR: Final = Path("/proc/self/fdinfo")

#: What every poller waits for: to be woken.
WAKEUP: Final = 1

#: A task is Seawall's if its code is below this, or if a task of Seawall's has started it.
CODE: Final = f"{Path(seawall.__file__).parent}{os.sep}"

# The tasks that every server has, for itself, for each listener, and for each connection.
_HOST: Final = inspect.unwrap(Server._host).__code__  # pyright: ignore[reportPrivateUsage] # to be recognised
_ACCEPT: Final = inspect.unwrap(Server._accept).__code__  # pyright: ignore[reportPrivateUsage] # as above
_SESSION: Final = inspect.unwrap(run_connection).__code__

# The task that closes the file of a store when the run is over: it is there until then, and what it has to close is
# looked at afterwards.
_CLOSES: Final = Database._mind.__code__  # pyright: ignore[reportPrivateUsage] # to be recognised


def descriptors() -> dict[str, str]:
    """Which descriptors are open, and on what."""
    found: dict[str, str] = {}
    for name in os.listdir(OPEN):  # noqa: PTH208 - names only, thousands of times
        try:
            found[name] = os.readlink(OPEN / name)  # noqa: PTH115 - as above
        except FileNotFoundError:
            pass  # the one that lists them
    return found


def threads() -> list[str]:
    """Which threads of ours run that should have ended with their run of Trio."""
    return sorted(each.name for each in threading.enumerate() if each.name.startswith(thread.NAME))


def registered(poller: Poller | None) -> int:
    """How many sockets the kernel minds for a poller, while it runs; 0 where the kernel cannot be asked."""
    if poller is None or not WAITED_FOR.exists():
        return 0
    epoll = poller._epoll  # pyright: ignore[reportPrivateUsage] # only the kernel knows better than the poller's table
    return (WAITED_FOR / str(epoll.fileno())).read_text().count("tfd:") - WAKEUP


def entries(server: Server) -> dict[str, int]:
    """What is in the tables of a server; those that are empty are left out."""
    state = server._state  # pyright: ignore[reportPrivateUsage] # what leaks, leaks in here
    found = {
        "connections": len(state.connections),
        "places": state.capacity.admitted,
        "places of those who are not authenticated": state.capacity.unauthenticated,
        "places of those who are too many": state.capacity.over_capacity,
        "places of those who have given way": state.capacity.dropped,
        "networks": len(state.capacity.per_network),
        "sessions of the app": len(state.sessions),
        "names of sessions": len(state.sessions._index),  # pyright: ignore[reportPrivateUsage] # as above
        "open sessions": len(state.sessions._open),  # pyright: ignore[reportPrivateUsage] # as above
        "groups of limited connections": len(state.sessions.limited),
        "watchers of sessions": len(state.sessions.watchers),
        "deadlines": len(state.deadlines),
    }
    if (poller := state.poller) is not None:
        found["sockets that are polled"] = len(poller)
        found["links that decode"] = len(poller._busy)  # pyright: ignore[reportPrivateUsage] # as above
        found["throttled sockets"] = len(poller._throttled)  # pyright: ignore[reportPrivateUsage] # as above
    return {name: count for name, count in found.items() if count}


@final
@define(eq=False)
class Watch(trio.abc.Instrument):
    """Watches what `run` runs; `take` says what is left of it."""

    _tasks: set[trio.lowlevel.Task] = field(init=False, factory=set[trio.lowlevel.Task])  # Seawall's that live
    _users: dict[trio.lowlevel.Task, Server] = field(init=False, factory=dict[trio.lowlevel.Task, Server])
    _served: list[Server] = field(init=False, factory=list[Server])
    _left: list[str] = field(init=False, factory=list[str])
    _main: trio.lowlevel.Task | None = field(init=False, default=None)

    def run(
        self, main: Callable[[], Awaitable[T]], *, clock: trio.abc.Clock | None, instruments: list[trio.abc.Instrument]
    ) -> T:
        """As `trio.run`."""

        async def noted() -> T:
            self._main = trio.lowlevel.current_task()
            return await main()

        return trio.run(noted, clock=clock, instruments=[*instruments, self])

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Note it if it is Seawall's, and whose it is if it is one of those that every server has."""
        code = task.coro.cr_code
        if code is _CLOSES:
            return
        if code.co_filename.startswith(CODE):
            self._tasks.add(task)
            if code is _HOST:
                self._served.append(_server_of(task))
            elif code is _ACCEPT:
                self._users[task] = _server_of(task)
            elif code is _SESSION:
                state = _argument(task, "server")
                self._users[task] = next(server for server in self._served if server._state is state)  # pyright: ignore[reportPrivateUsage] # as above
        elif self._tasks and _spawner() in self._tasks:
            self._tasks.add(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Look at what should have gone with it, or before it."""
        self._tasks.discard(task)
        server = self._users.pop(task, None)
        if server is not None and _is_done_with(server, task):
            count = registered(server._state.poller)  # pyright: ignore[reportPrivateUsage] # as above
            if count:
                self._left.append(f"in the epoll of a server without connections: {count} sockets")
        if task is self._main:  # Trio cancels system tasks next, and all others it has waited for
            self._left += sorted(f"a task: {task.name}" for task in self._tasks)

    def take(self) -> list[str]:
        """What is left. It forgets everything."""
        left = self._left
        for server in self._served:
            left += [f"in a table of a server: {count} {name}" for name, count in entries(server).items()]
        self._main, self._left, self._served = None, [], []
        self._tasks.clear()
        self._users.clear()
        return left


def _server_of(task: trio.lowlevel.Task) -> Server:
    """The server whose method runs in `task`, which has not begun yet."""
    server = _argument(task, "self")
    assert isinstance(server, Server)
    return server


def _argument(task: trio.lowlevel.Task, name: str) -> object:
    """What the function that runs in `task`, which has not begun yet, was given."""
    frame = task.coro.cr_frame
    assert frame is not None
    argument: object = frame.f_locals[name]
    return argument


def _spawner() -> trio.lowlevel.Task | None:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None  # Trio itself


def _is_done_with(server: Server, task: trio.lowlevel.Task) -> bool:
    """Whether, `task` having ended, the server has no connections and will get none; its poller still runs then."""
    state = server._state  # pyright: ignore[reportPrivateUsage] # as above
    if len(state.connections):
        return False
    return task.coro.cr_code is _ACCEPT or state.drain.begun or server._stop.is_set()  # pyright: ignore[reportPrivateUsage] # as above
