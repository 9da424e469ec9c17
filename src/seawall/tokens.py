"""Where tokens come from and how they are verified: what `seawall` itself does not export.

::

    from seawall import TokenVerifier, bearer
    from seawall.tokens import cookie, header

    member = bearer(verifier, header(), cookie("__Host-session"))
"""

from __future__ import annotations

from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.claims import AnyClaims, Claims
from seawall.guards.jwt.jwks import JWKS
from seawall.guards.jwt.key import Key
from seawall.guards.jwt.key_fetch import Fetching
from seawall.guards.jwt.key_ring import KeyRing
from seawall.guards.jwt.own_claims import At
from seawall.guards.jwt.rules import Rules, any_audience, any_issuer, any_tenant
from seawall.guards.jwt.verifier import TokenVerifier, by_issuer
from seawall.guards.service import Service
from seawall.guards.sources import cookie, first_message, header, query, subprotocol
from seawall.guards.ticket_taker import TicketTaker
from seawall.guards.token_source import TokenSource
from seawall.guards.values import has
from seawall.http.https_get import FetchFailed, HttpsGet, https_get

__all__ = [
    "JWKS",
    "Algorithm",
    "AnyClaims",
    "At",
    "Claims",
    "FetchFailed",
    "Fetching",
    "HttpsGet",
    "Key",
    "KeyRing",
    "Rules",
    "Service",
    "TicketTaker",
    "TokenSource",
    "TokenVerifier",
    "any_audience",
    "any_issuer",
    "any_tenant",
    "by_issuer",
    "cookie",
    "first_message",
    "has",
    "header",
    "https_get",
    "query",
    "subprotocol",
]
