"""Checks a request for an upgrade against RFC 6455, section 4.2.1, with no I/O.

`check_upgrade` makes a `Handshake` of a `Head`, or raises the `BadRequest` that says how to answer. `canonical_head`
writes the request head that trio-websocket is given instead of the client's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from seawall.handshake import Handshake
from seawall.http.request import TOKEN, BadRequest, Head, elements, lists

#: The only version of the protocol (RFC 6455, section 4.1).
VERSION: Final = "13"

#: The fields that a 426 must have (RFC 9110, section 15.5.22; RFC 6455, section 4.4).
UPGRADE_FIELDS: Final = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION))

#: How a subprotocol begins that is none, but carries a token; see `seawall.tokens.subprotocol`.
_TOKEN_PREFIX: Final = "bearer."

_LIST_TOKEN: Final = re.compile(TOKEN)
# Base64 of 16 bytes. Four bits of the last letter are not used, and clients may set them: the key in RFC 6455, section
# 4.1, item 7, has one set.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")


def check_upgrade(head: Head, *, peer: str, secure: bool) -> Handshake:
    """Check a request against RFC 6455, section 4.2.1, and make a `Handshake` of it.

    Args:
      head: what `HeadReader` returned.
      peer: the address of the client, as in `Handshake.peer`.
      secure: whether the connection is TLS.

    Raises:
      BadRequest: 405 for a method other than GET; 426 in HTTP/1.0, if ``Upgrade`` does not list ``websocket``, or if
        there is not exactly one version, 13; 400 for anything else that the section forbids, and for a second
        ``Origin``.
    """
    if head.method != "GET":
        allow = (("Allow", "GET"),)
        raise BadRequest(405, "only GET opens a WebSocket", allow)
    if head.version == "1.0":
        raise BadRequest(426, "a WebSocket needs HTTP/1.1", UPGRADE_FIELDS)
    if not head.wants_upgrade:
        raise BadRequest(426, "this is a WebSocket endpoint", UPGRADE_FIELDS)
    if not lists(head.values("connection"), "upgrade"):
        raise BadRequest(400, "Connection does not list upgrade")
    if tuple(head.values("sec-websocket-version")) != (VERSION,):
        raise BadRequest(426, "only WebSocket version 13 is spoken here", UPGRADE_FIELDS)
    hosts, keys = head.values("host"), head.values("sec-websocket-key")
    if len(hosts) != 1:
        raise BadRequest(400, "not exactly one Host")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise BadRequest(400, "not exactly one valid Sec-WebSocket-Key")
    if len(head.values("origin")) > 1:
        raise BadRequest(400, "more than one Origin")
    return Handshake(
        path=head.path,
        query=head.query,
        host=hosts[0],
        key=keys[0],
        headers=head.headers,
        subprotocols=_subprotocols(head.values("sec-websocket-protocol")),
        peer=peer,
        secure=secure,
    )


def plain_handshake(head: Head, *, peer: str, secure: bool) -> Handshake:
    """What a request for a page brings along: a `Handshake` without key and subprotocols.

    Raises:
      BadRequest: 400 for more than one ``Origin``.
    """
    if len(head.values("origin")) > 1:
        raise BadRequest(400, "more than one Origin")
    return Handshake(
        path=head.path, query=head.query, host=head.host, key="", headers=head.headers, peer=peer, secure=secure
    )


def _subprotocols(values: Sequence[str]) -> tuple[str, ...]:
    """The subprotocols that the client offers: unique tokens, and one or more in a field (section 4.1, item 10).

    What carries a token is left out. Beside it there has to be one that can be answered: a browser fails the connection
    if none is (section 4.1), and the token must not be.
    """
    if not values:
        return ()
    offered = tuple(elements(values))
    tokens = all(_LIST_TOKEN.fullmatch(offer) for offer in offered)
    if not tokens or len(set(offered)) != len(offered) or not offered:
        raise BadRequest(400, "bad Sec-WebSocket-Protocol")
    answerable = tuple([offer for offer in offered if token_in_subprotocol(offer) is None])
    if not answerable:
        raise BadRequest(400, "no subprotocol beside the token")
    return answerable


def token_in_subprotocol(offer: str) -> str | None:
    """The token that `offer`, which is no subprotocol then, carries; None if it is one."""
    begins = offer[: len(_TOKEN_PREFIX)].lower() == _TOKEN_PREFIX
    return offer[len(_TOKEN_PREFIX) :] if begins else None


def select(offered: Sequence[str], own: Sequence[str]) -> str | None:
    """The first of the subprotocols in `offered` that is in `own` as well, or None (RFC 6455, section 4.2.2, item 5).

    A browser fails a handshake in which it has offered some and none was selected (section 4.1).
    """
    return next((name for name in offered if name in own), None)


def canonical_head(handshake: Handshake, subprotocol: str | None) -> bytes:
    """The request head that trio-websocket is given instead of the client's.

    It is constant except for the key and the chosen subprotocol, which have both been checked. So no other parser sees
    the headers that the client wrote.

    Args:
      handshake: the result of `check_upgrade`.
      subprotocol: the chosen one, or None.

    Raises:
      ValueError: the subprotocol is not one that the client offered (RFC 6455, section 4.2.2, item 5).
    """
    lines = [
        "GET / HTTP/1.1",
        "Host: seawall",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {handshake.key}",
        f"Sec-WebSocket-Version: {VERSION}",
    ]
    if subprotocol is not None:
        if subprotocol not in handshake.subprotocols:
            raise ValueError("the subprotocol chosen is not one that the client offered")
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
