"""Addresses, by their syntax alone."""

from __future__ import annotations

import socket
import sys

import pytest
from attrs import field, frozen

from seawall import JSON, ConfigurationError, Invalid, InvalidMessage, email, normalised_email
from seawall.messages.decoder import decoder_for


@frozen
class Invite:
    """An address as it was sent, and one that is normalised."""

    sent: str = field(validator=email())
    normal: str = field(default="a@example.com", converter=normalised_email)


@frozen
class Normal:
    """A converter alone."""

    normal: str = field(converter=normalised_email)


def test_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is asked; a converter gives the normalised address."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    decode = decoder_for(JSON(), Invite, where="here").decode
    value = decode('{"type":"invite","sent":"Ada@EXAMPLE.com","normal":"Ada@EXAMPLE.com"}')
    assert value == Invite("Ada@EXAMPLE.com", "Ada@example.com")


@pytest.mark.parametrize("address", ["", "a", "a@", "@b", "a@b@c", "a@b", "a b@example.com"])
@pytest.mark.parametrize("name", ["sent", "normal"])
def test_what_is_no_address(address: str, name: str) -> None:
    """Refused at its path, and not repeated."""
    values = {"sent": "a@example.com"} | {name: address}
    text = "".join(f',"{key}":"{value}"' for key, value in values.items())
    with pytest.raises(InvalidMessage) as refusal:
        decoder_for(JSON(), Invite, where="here").decode(f'{{"type":"invite"{text}}}')
    assert (refusal.value.path, refusal.value.detail) == (f"$.{name}", "expected an e-mail address")


def test_a_megabyte_is_no_address() -> None:
    """It is not looked at."""
    with pytest.raises(Invalid):
        normalised_email("a" * 1_000_000 + "@example.com")
    with pytest.raises(InvalidMessage, match=r"\$\.sent: expected at most 320 characters"):
        decoder_for(JSON(), Invite, where="here").decode(f'{{"type":"invite","sent":"{"a" * 1_000_000}@example.com"}}')


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "email_validator", None)
    with pytest.raises(ConfigurationError, match=r"pip install seawall\[email\]"):
        email()
    with pytest.raises(ConfigurationError, match=r"here: e-mail.*pip install seawall\[email\]"):
        decoder_for(JSON(unknown_fields="ignore"), Normal, where="here")
