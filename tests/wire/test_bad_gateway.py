"""A peer's Close with 1014 (bad gateway), which wsproto does not know: the peer gets its own code back."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from seawall.testing import serve
from seawall.wire.frames.control import restored
from seawall.wire.frames.encoder import encode_close
from tests.kit.log import recorded
from tests.kit.memory import Peer, close, request
from tests.kit.sockets import Transport, echo_app, serving
from tests.kit.wire import close_frame


@pytest.mark.parametrize("over", ["plain", "reader", "tls", "unix"])
@pytest.mark.parametrize("early", [False, True], ids=["later", "early"])
async def test_mended_15_a_peers_code_comes_back(over: Transport, early: bool) -> None:
    """Whenever it comes, its code and its reason are in the answer, and in the log; and so for 1011 itself."""
    async with serving(echo_app(), over) as place:
        for code in (1014, 1011, 1013):
            with recorded() as records:
                said = close_frame(code, b"gateway")
                client = await place.open(then=said if early else b"")
                if not early:
                    await client.send(said)
                (last,) = await client.end()
                assert last.closing == (code, "gateway")
                await place.idle(0)
            assert records.ends == [f"peer closed, {code} 'gateway'"]


async def test_mended_15_over_memory(autojump_clock: MockClock) -> None:
    """The same without a socket, and without a reason."""
    async with serve(echo_app()) as served:
        peer = Peer(served.open_stream())
        await peer.say(request("/echo"), close(1014))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        assert await peer.closing() == (1014, "")


def test_mended_15_only_what_was_changed_is_restored() -> None:
    """The answer of wsproto has 1011; a Close of ours that is written instead keeps its code."""
    assert restored(encode_close(1011, "why")) == encode_close(1014, "why")
    for code in (1000, 1001, 1013, 4999):
        assert restored(encode_close(code, "why")) == encode_close(code, "why")
    assert restored(b"\x88\x00") == b"\x88\x00"
