"""`PrincipalNames`: who a connection is for, as the log says it without saying who that is."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.printable import safe

#: Bytes of a digest: enough to tell a million subjects apart nearly always. Each is two hexadecimal digits.
DIGEST: Final = 5

#: Bytes of a key: fewer can be guessed, and BLAKE2b (RFC 7693) takes no more.
MIN_KEY: Final = 16
MAX_KEY: Final = 64

#: The key of a process whose apps name none: its digests mean nothing to any other process, nor after a restart.
_PROCESS_KEY: Final = secrets.token_bytes(32)


def _bytes(key: str | bytes | None) -> bytes:
    if key is None:
        return _PROCESS_KEY
    try:
        return key.encode() if isinstance(key, str) else bytes(memoryview(key))  # of an int, bytes() makes zeros
    except (UnicodeEncodeError, TypeError):  # not chained: it holds the key
        raise ConfigurationError("App(log_key=...): not text that UTF-8 can encode, and no bytes") from None


@final
@frozen
class PrincipalNames:
    """Names principals for the log: the type, and a digest of the ``subject`` if there is one, as `Claims` have.

    The digest is ``hashlib.blake2b(subject.encode(), key=log_key, digest_size=5).hexdigest()``. Whoever has the key can
    find the lines of a subject; whoever has only the log learns nothing, even where all subjects can be tried, as
    numbers can.

    Raises:
      ConfigurationError: the key does not have 16 to 64 bytes.
    """

    _key: bytes = field(default=None, converter=_bytes, repr=False, alias="key")

    def __attrs_post_init__(self) -> None:
        """Refuse a key that protects nothing."""
        if not MIN_KEY <= len(self._key) <= MAX_KEY:
            raise ConfigurationError(
                f"App(log_key=...) has {len(self._key)} bytes, and needs {MIN_KEY} to {MAX_KEY}; make one with "
                "`secrets.token_urlsafe(32)`, and give the same to each process whose log is to be compared"
            )

    def name_of(self, principal: object) -> str:
        """The name of `principal`; empty for None."""
        if principal is None:
            return ""
        name = safe(type(principal).__name__)
        try:
            subject: object = getattr(principal, "subject", None)
            if not isinstance(subject, str):
                return name
            text = subject.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(text, key=self._key, digest_size=DIGEST).hexdigest()
        except Exception:  # noqa: BLE001 - code of the application's; its name is no reason to fail
            return name
        return f"{name}:{digest}"
