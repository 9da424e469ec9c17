"""An echo that is open to all, and a session behind a token that is sent as the first message.

    SEAWALL_SECRET=$(python -c 'import secrets; print(secrets.token_urlsafe(32))') python examples/guide.py

The session wants a token signed with that secret (HS256), with a "sub", "aud": "guide", "iss": "guide" and an "exp". It
answers "Authenticated!" and echoes until the token expires. A refusal is a message, and then close code 3000.
"""

from __future__ import annotations

import os
import signal
import sys

import trio

from seawall import (
    Anonymous,
    App,
    Claims,
    Close,
    ConfigurationError,
    Connection,
    ErrorPolicy,
    Gate,
    LeaseExpired,
    TokenExpired,
    TokenVerifier,
    Unauthorized,
    bearer,
    guard,
    public,
)
from seawall.tokens import first_message


async def send_back(conn: Connection[object]) -> None:
    """Answer every message, of whomever, until the connection ends."""
    async for message in conn:
        await conn.send(f"Server received: {message}" if isinstance(message, str) else message)


echo = App()


@echo.route("/", guard=public)
async def open_to_all(conn: Connection[Anonymous]) -> None:
    """Ask nobody who they are."""
    await send_back(conn)


def secure_app(verifier: TokenVerifier) -> App:
    """The app behind the token."""
    errors = (
        ErrorPolicy()
        .on(Unauthorized, Close(3000, "Invalid Token"))
        .on(TokenExpired, Close(3000, "Token Expired"))
        .on(LeaseExpired, Close(3000, "Token Expired"))
    )
    app = App(errors=errors)
    token = bearer(verifier, first_message())

    @guard
    async def token_with_answer(gate: Gate, anonymous: Anonymous) -> Claims:
        try:
            return await token.admit(gate, anonymous)
        except Unauthorized as unauthorized:
            refusal = unauthorized
        await gate.send_text("Token Expired" if isinstance(refusal, TokenExpired) else "Invalid Token")
        raise refusal

    @app.route("/", guard=token_with_answer)
    async def session(conn: Connection[Claims]) -> None:
        await conn.send("Authenticated!")
        await send_back(conn)

    return app


async def main(secure: App, echo_port: int, secure_port: int) -> None:
    """Serve both apps until Ctrl-C."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for name, app, port in (("echo", echo, echo_port), ("secure", secure, secure_port)):
                server = await app.start(nursery, port=port)
                print(name, server.addresses[0].url, flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()  # tells every client 1001


if __name__ == "__main__":
    try:
        verifier = TokenVerifier(
            os.environ.get("SEAWALL_SECRET", ""), algorithms=("HS256",), audience="guide", issuer="guide"
        )
    except ConfigurationError as error:
        sys.exit(f"Set SEAWALL_SECRET to a long random secret. {error}")
    echo_port, secure_port = map(int, sys.argv[1:] or (8765, 8888))
    trio.run(main, secure_app(verifier), echo_port, secure_port)
    print("stopped")
