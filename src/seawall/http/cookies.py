"""`Cookie`: one that a page sets, checked when it is made (RFC 6265, and its revision 6265bis)."""

from __future__ import annotations

import re
from typing import Final, Literal, final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.http.request import TOKEN

_NAME: Final = re.compile(TOKEN)
#: cookie-octet of RFC 6265, section 4.1.1.
_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")
_PATH: Final = re.compile(r"/[!-:<-~]*")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")

#: Bytes of name and value that every browser keeps.
MAX_COOKIE: Final = 4096


@final
@frozen(kw_only=True)
class Cookie:
    """A cookie to set. The defaults are those of a session: no script reads it, and other sites do not send it.

    Raises:
      ConfigurationError: a browser would drop it, or keep it as something else than it says.
    """

    name: str
    """A name that begins with ``__Host-`` is bound to this very host; the path is then ``/`` and there is no domain."""
    value: str = field(repr=False)
    """Printable ASCII without space, quote, comma, semicolon and backslash; may be a token."""
    max_age: int | None = None
    """Seconds until the browser forgets it; None with the browser's own session, 0 at once, which deletes it."""
    path: str = "/"
    """Below which paths it is sent."""
    domain: str | None = None
    """A domain, with all of whose hosts it is shared; None for this host alone."""
    secure: bool = True
    """Whether it is sent over TLS only; browsers take ``http://localhost`` for secure too."""
    http_only: bool = True
    """Whether it is hidden from scripts."""
    same_site: Literal["Strict", "Lax", "None"] = "Lax"
    """Whether requests that other sites cause bring it; ``None`` needs `secure`."""

    def __attrs_post_init__(self) -> None:
        """Check it."""
        wrong = self._wrong()
        if wrong:
            raise ConfigurationError(f"Cookie({self.name!r}): {wrong}")

    def _wrong(self) -> str:
        """What is wrong with it, and the remedy; empty if nothing is."""
        for attribute in ("name", "value", "path", "domain"):
            given: object = getattr(self, attribute)
            if not isinstance(given, str) and (attribute, given) != ("domain", None):
                return f"{attribute} is no text; give a str"
        prefix = self.name.lower()
        if not _NAME.fullmatch(self.name):
            return "the name is no token (RFC 6265, section 4.1.1); use letters, digits, - and _"
        if not _VALUE.fullmatch(self.value):
            return "the value has a character that cookies cannot hold; encode it, in base64url for instance"
        if len(self.name) + len(self.value) > MAX_COOKIE:
            return f"name and value have more than {MAX_COOKIE} bytes, which browsers drop; keep the data on the server"
        if not _PATH.fullmatch(self.path):
            return f"path={self.path!r} does not begin with /, or has a character that ends it"
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            return f"domain={self.domain!r} is no domain in lower case, such as 'chat.example'"
        if prefix.startswith(("__host-", "__secure-")) and not self.secure:
            return "browsers drop it without secure=True, because of its name"
        if prefix.startswith("__host-") and (self.path != "/" or self.domain is not None):
            return "browsers drop it with another path than '/', or with a domain, because of its name"
        # A text would be written as it is, with the attributes that it holds.
        if type(self.max_age) not in (int, type(None)):
            return f"max_age={self.max_age!r} is no int; give whole seconds"
        if self.same_site not in ("Strict", "Lax", "None"):
            return f"same_site={self.same_site!r}; choose 'Strict', 'Lax' or 'None'"
        if self.same_site == "None" and not self.secure:
            return "browsers drop same_site='None' without secure=True"
        return ""

    @property
    def field_value(self) -> str:
        """The value of a ``Set-Cookie`` field."""
        parts = [f"{self.name}={self.value}", f"Path={self.path}"]
        if self.max_age is not None:
            parts.append(f"Max-Age={self.max_age}")
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.secure:
            parts.append("Secure")
        if self.http_only:
            parts.append("HttpOnly")
        parts.append(f"SameSite={self.same_site}")
        return "; ".join(parts)
