"""`Handshake`: what the client asked for, as plain values without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from attrs import field, frozen


@final
@frozen(kw_only=True)
class Handshake:
    """An opening handshake that has been checked against RFC 6455, section 4.2.1.

    Header bytes are kept as ISO-8859-1 text, so that no byte is lost and none can raise. What may carry a
    credential (query, headers, subprotocols, key) is left out of the repr.
    """

    path: str
    """The path as sent: still percent-encoded, beginning with ``/``, without the query."""

    query: str = field(repr=False, default="")
    """What followed ``?``, as sent; empty if there was none. May carry a token: do not log it."""

    host: str
    """The ``Host`` header: name or address, and the port if it was given."""

    key: str = field(repr=False)
    """``Sec-WebSocket-Key`` as sent."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """All header fields in order: names in lower case, values as ISO-8859-1."""

    subprotocols: tuple[str, ...] = field(repr=False, default=())
    """The subprotocols that the client offers, the preferred one first; none that carries a token (``bearer.``)."""

    peer: str
    """The other end of the socket: ``127.0.0.1:50000``, ``[::1]:50000``, ``unix`` or ``memory``."""

    secure: bool = False
    """Whether this very connection is TLS. Behind a proxy that ends TLS it is not."""

    def values(self, name: str) -> tuple[str, ...]:
        """The values of every field called `name`, in order. Case does not matter."""
        wanted = name.lower()
        return tuple([value for field_name, value in self.headers if field_name == wanted])

    def header(self, name: str) -> str | None:
        """The field called `name`, several of them joined by ``", "`` (RFC 9110, section 5.3), or None."""
        found = self.values(name)
        return ", ".join(found) if found else None

    @property
    def origin(self) -> str | None:
        """The ``Origin`` header, which browsers send and cannot forge (RFC 6454); None for other clients."""
        return self.header("origin")

    def cookie(self, name: str) -> str | None:
        """The value of the first cookie called `name` (RFC 6265, section 5.4), or None."""
        return next(self._cookies(name), None)

    def cookies(self, name: str) -> tuple[str, ...]:
        """The values of all cookies called `name`, in order.

        A browser sends several when they were set for different paths or domains, and does not say which is which: one
        may come from another site below the same domain.
        """
        return tuple(self._cookies(name))

    def _cookies(self, name: str) -> Iterator[str]:
        for line in self.values("cookie"):
            for pair in line.split(";"):
                key, separator, value = pair.strip(" \t").partition("=")
                if separator and key == name:
                    yield value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
