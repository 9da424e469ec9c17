"""The server that the Autobahn test-suite talks to."""

from __future__ import annotations

from typing import Final

from seawall import Anonymous, App, Connection, Deflate, Limits, public

#: The suite's largest message is 16 MiB; its most fragmented one has 65,536 frames, and an empty one at the end.
LIMITS: Final = Limits(max_message_size=16 * 1024**2, max_fragments=65_537, outbound_buffer=32 * 1024**2)


def echo_app(*, deflate: bool) -> App:
    """An app that sends every message back; with `deflate`, it agrees to permessage-deflate."""
    app = App(limits=LIMITS, compression=Deflate() if deflate else None)

    @app.route("/", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    return app
