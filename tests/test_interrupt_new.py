"""What `serve` does must not be cut in two by Ctrl-C."""

from __future__ import annotations

import trio

from seawall import App


class Probe(trio.abc.Listener[trio.abc.Stream]):
    """A listener to which nobody comes, and which remembers whether Ctrl-C could land where it is closed."""

    protected: bool | None = None

    async def accept(self) -> trio.abc.Stream:
        """Wait for ever."""
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        """Remember."""
        self.protected = trio.lowlevel.currently_ki_protected()
        await trio.lowlevel.checkpoint()


async def test_serving_is_protected_from_ctrl_c() -> None:
    """Between its lines a server is not interrupted: its sessions would wait for ever to be told to stop."""
    listener = Probe()
    async with trio.open_nursery() as nursery:
        await App().start(nursery, listeners=[listener])
        nursery.cancel_scope.cancel()
    assert listener.protected
