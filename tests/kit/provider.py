"""An identity provider on this machine, over HTTP or TLS, that does to its clients what a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, final

import trio
from attrs import define, field

from tests.kit.keys import PrivateKey, jwk
from tests.kit.sockets import server_context
from tests.kit.wire import PATIENCE

#: What is done with a client whose request has been read.
Behaviour: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


def key_set(*keys: Mapping[str, object]) -> bytes:
    """A JSON Web Key Set."""
    return json.dumps({"keys": keys}).encode()


def public_set(*keys: tuple[str | None, PrivateKey]) -> bytes:
    """The set of the public halves of `keys`, by their names."""
    return key_set(*(jwk(key, kid=kid, use="sig") for kid, key in keys))


def response(body: bytes = b"", *, status: str = "200 OK", headers: Sequence[str] = (), length: bool = True) -> bytes:
    """An answer, as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else []), "", ""]
    return "\r\n".join(lines).encode() + body


def answering(data: bytes) -> Behaviour:
    """Send `data`, and close."""

    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)

    return answer


@final
@define(eq=False)
class Provider:
    """A provider that runs."""

    url: str
    """Of its key set."""
    behaviour: Behaviour
    """What it does with each client from now on."""
    asked: list[bytes] = field(factory=list[bytes])
    """The heads of the requests, in their order."""
    open: int = 0
    """How many clients it has now."""
    documents: dict[str, bytes] = field(factory=dict[str, bytes])
    """What is served elsewhere, by path."""
    killed: trio.CancelScope = field(factory=trio.CancelScope)
    """Cancelled, it listens no more, and all of its clients are cut off."""
    _changed: trio.Event = field(factory=trio.Event, init=False)

    @property
    def issuer(self) -> str:
        """Its name."""
        return self.url.removesuffix("/jwks")

    def publish(self, *keys: tuple[str | None, PrivateKey]) -> None:
        """Serve the public halves of these keys."""
        self.behaviour = answering(response(public_set(*keys)))

    async def wait_until(self, condition: Callable[[Provider], bool]) -> None:
        """Wait until that is so, for a few seconds at most."""
        with trio.fail_after(PATIENCE):
            while not condition(self):
                await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Read a request, and do what is to be done."""
        self.open += 1
        self._tell()
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some(4096)
                if not data:
                    return
                head += data
            self.asked.append(head)
            self._tell()
            path = head.split(b" ")[1].decode()
            if path in self.documents:
                await stream.send_all(response(self.documents[path]))
            else:
                await self.behaviour(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1
            self._tell()
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def provided(*, tls: bool = False, behaviour: Behaviour | None = None, port: int = 0) -> AsyncGenerator[Provider]:
    """Run a provider; leaving the block closes all that it has, without a word to anybody."""
    provider = Provider("", behaviour or answering(response(b"{}")))

    async def handle(stream: trio.SocketStream) -> None:
        await provider.handle(trio.SSLStream(stream, server_context(), server_side=True) if tls else stream)

    async def run(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:  # noqa: ASYNC128 - serve_tcp calls started()
        with provider.killed:
            await trio.serve_tcp(handle, port, host="127.0.0.1", task_status=task_status)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(run)
        bound: int = listeners[0].socket.getsockname()[1]
        provider.url = f"{'https' if tls else 'http'}://127.0.0.1:{bound}/jwks"
        yield provider
        nursery.cancel_scope.cancel()
