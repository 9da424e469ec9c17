"""A program: a log-in page whose passwords are hashed with Argon2, in threads, and an echo beside it.

``python -m tests.kit.login_server`` prints the port. Nothing but turns bounds the tries, so that a storm comes through
to the hashing.
"""

from __future__ import annotations

from typing import Final

import trio
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from seawall import App, public
from seawall.sessions import LoginLimits, TokenIssuer, login_page
from tests.kit.login import PASSWORDS
from tests.kit.sockets import echo
from tests.kit.tokens import SECRET

#: One lane: a check is then one thread, and not four.
HASHER: Final = PasswordHasher(parallelism=1)
HASHES: Final = {name: HASHER.hash(password) for name, password in PASSWORDS.items()}

#: What a name that nobody has is compared with.
NOBODY: Final = HASHER.hash("nobody")


async def authenticate(name: str, password: str) -> str | None:
    """Whose they are, after as long a time for a name that nobody has."""
    try:
        await trio.to_thread.run_sync(HASHER.verify, HASHES.get(name, NOBODY), password)
    except VerifyMismatchError:
        return None
    return name if name in HASHES else None


async def main() -> None:
    """Serve, until somebody ends the program."""
    app = App()
    issuer = TokenIssuer(SECRET, issuer="https://chat.example", audience="chat")
    login_page(app, "/session", authenticate, issuer, limits=LoginLimits(per_address=None, per_account=1_000_000))
    app.route("/echo", guard=public)(echo)
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, port=0)
        print(f"listening on {server.addresses[0].port}", flush=True)  # noqa: T201 - what the test waits for


if __name__ == "__main__":
    trio.run(main)
