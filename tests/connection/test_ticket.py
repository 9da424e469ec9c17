"""Tickets as values: what is drawn, what is none, and whose tickets are counted together."""

from __future__ import annotations

import re

import pytest

from seawall.connection.ticket import Ticket, owner_of
from seawall.errors import Unauthorized


def test_each_is_another() -> None:
    """256 random bits each, in characters that may stand in an address; none is in its repr."""
    drawn = [Ticket.drawn() for _ in range(1000)]
    assert len({ticket.text for ticket in drawn}) == len({ticket.digest for ticket in drawn}) == 1000
    for ticket in drawn[:10]:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", ticket.text)
        assert ticket.text not in repr(ticket)
        assert (len(ticket.digest), ticket.text.encode() in ticket.digest) == (32, False)
        assert Ticket.parsed(ticket.text) == ticket


@pytest.mark.parametrize("text", ["", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "ä", "a" * 42 + "\n", "a" * 9000])
def test_what_is_none(text: str) -> None:
    """What has another shape is refused as it is; the text of the refusal does not repeat it."""
    with pytest.raises(Unauthorized, match="shape") as refused:
        Ticket.parsed(text)
    assert not text or text not in str(refused.value)


def test_whose_they_are() -> None:
    """A subject's, of one issuer, whatever the token is; without a subject, each token's own."""
    assert owner_of("id", "ada", "a") == owner_of("id", "ada", "b")
    others = [owner_of("id", "eve", "a"), owner_of("other", "ada", "a"), owner_of(None, "ada", "a")]
    others += [
        owner_of("id", None, "a"),
        owner_of("id", None, "b"),
        owner_of("idad", "a", "a"),
        owner_of("", "ada", "a"),
    ]
    assert len({owner_of("id", "ada", "a"), *others}) == 8
    assert len(owner_of("id", "\ud800", "a")) == 32
