"""The page of the demo, made ready for a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Final

#: What stands in the file where the policy belongs.
PLACE: Final = "CONTENT-SECURITY-POLICY"


def document(*, ports: Iterable[int]) -> str:
    """The page, allowed to run what is written in it and to connect to `ports`, and nothing else."""
    html = files("seawall.demo").joinpath("page.html").read_text(encoding="utf-8")
    directives = (
        "default-src 'none'",
        f"script-src {_hash(html, 'script')}",
        f"style-src {_hash(html, 'style')}",
        "img-src data:",
        # Any host, because a policy cannot name an IPv6 address.
        "connect-src " + " ".join(f"ws://*:{port}" for port in ports),
        "base-uri 'none'",
        "form-action 'none'",
    )
    return html.replace(PLACE, "; ".join(directives))


def _hash(html: str, element: str) -> str:
    """The source expression that allows the one inline `element` (Content Security Policy Level 3, section 2.3.1)."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
