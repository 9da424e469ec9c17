"""The tables, which every file has, whichever store has made it.

Names are kept as bytes of UTF-8: a text of SQLite cannot have the lone surrogates that JSON can.
"""

from __future__ import annotations

from typing import Final

#: What says that a file is ours: "Seaw".
APPLICATION_ID: Final = 0x53656177

#: Which tables a file has. Every change is another version.
VERSION: Final = 1

SCHEMA: Final = f"""
BEGIN;
CREATE TABLE revocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- one that is later has a higher one, also after deletions
    issuer BLOB,
    subject BLOB,
    session_id BLOB,
    token_id BLOB,
    issued_before REAL NOT NULL,
    revoked_at REAL,
    forgotten_at REAL NOT NULL
);
CREATE INDEX revocations_names ON revocations (subject, session_id, token_id, issuer);
CREATE INDEX revocations_ends ON revocations (forgotten_at);
CREATE TABLE sessions (
    family BLOB PRIMARY KEY,
    session_id BLOB NOT NULL UNIQUE,
    issuer BLOB NOT NULL,
    subject BLOB NOT NULL,
    claims BLOB NOT NULL,
    ends_at REAL NOT NULL,
    current BLOB NOT NULL,
    previous BLOB,
    used_at REAL NOT NULL
);
CREATE INDEX sessions_owners ON sessions (issuer, subject, used_at);
CREATE INDEX sessions_ends ON sessions (ends_at);
CREATE TABLE tickets (
    digest BLOB PRIMARY KEY,
    token BLOB NOT NULL,
    owner BLOB NOT NULL,
    route BLOB NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX tickets_owners ON tickets (owner, expires_at);
CREATE INDEX tickets_ends ON tickets (expires_at);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
COMMIT;
"""


def written(name: str) -> bytes:
    """A name, as it is stored."""
    return name.encode("utf-8", "surrogatepass")


def read(name: bytes) -> str:
    """A name that was stored."""
    return name.decode("utf-8", "surrogatepass")
