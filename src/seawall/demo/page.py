"""The page of the demo, made ready for a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Final

#: What stands in the file where the policy belongs.
PLACE: Final = "CONTENT-SECURITY-POLICY"


def document(*, ports: Iterable[int], code: Mapping[str, str]) -> str:
    """The page, allowed to run what is written in it and to connect to `ports`, and nothing else.

    Args:
      ports: of this demo's servers.
      code: Python to show, by the name under which the page has a place for it.
    """
    page = files("seawall.demo").joinpath("page.html").read_text(encoding="utf-8")
    directives = (
        "default-src 'none'",
        f"script-src {_hash(page, 'script')}",
        f"style-src {_hash(page, 'style')}",
        "img-src data:",
        # Any host, because a policy cannot name an IPv6 address.
        "connect-src " + " ".join(f"ws://*:{port}" for port in ports),
        "base-uri 'none'",
        "form-action 'none'",
    )
    for name, source in code.items():
        page = page.replace(f"CODE OF {name}<", f"{html.escape(source, quote=False)}<")
    return page.replace(PLACE, "; ".join(directives))


def _hash(page: str, element: str) -> str:
    """The source expression that allows the one inline `element` (Content Security Policy Level 3, section 2.3.1)."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
