"""A handler that renews its connection with whatever the client sends."""

from __future__ import annotations

from seawall import AuthTimeout, Connection, TooManyRequests, Unauthorized, Unavailable


async def renew_each(conn: Connection[object]) -> None:
    """Take each message as a token: answer ``renewed``, or with the kind and the text of the refusal."""
    async for message in conn:
        try:
            await conn.renew(str(message))
        except (Unauthorized, TooManyRequests, Unavailable, AuthTimeout) as refusal:
            await conn.send(f"{type(refusal).__name__}: {refusal}")
        else:
            await conn.send("renewed")
