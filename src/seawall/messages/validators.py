"""Validators beside those of attrs."""

from __future__ import annotations

from typing import Final, final

from attrs import Attribute, frozen

from seawall.errors import ConfigurationError, Invalid

#: Characters of an address: 64 before the @, 255 behind it (RFC 5321, section 4.5.3.1).
MAX_ADDRESS: Final = 320


@final
@frozen
class Email:
    """Made by `email`."""

    def __call__(self, instance: object, attribute: Attribute[str], value: str) -> None:
        """Refuse what is no address, as a validator of attrs.

        Raises:
          Invalid: it is none; the text does not repeat it.
        """
        normalised_email(value)


def email() -> Email:
    """Validates an e-mail address by its syntax: ``field(validator=email())``.

    No network is asked, and nobody has proved that the address is theirs. The value stays as it was sent; for the
    normalised one use the converter `normalised_email`. It needs the extra: ``pip install seawall[email]``.

    Raises:
      ConfigurationError: email-validator is not installed.
    """
    try:
        import email_validator  # noqa: F401, PLC0415 - of an optional extra; only whether it is there  # pyright: ignore[reportUnusedImport]  # as said
    except ImportError:
        raise ConfigurationError(
            "e-mail addresses are checked by email-validator, which is not installed: pip install seawall[email]"
        ) from None
    return Email()


def normalised_email(value: str) -> str:
    """The address as it is best written, with its domain in lower case: ``field(converter=normalised_email)``.

    It refuses what `email` refuses, and needs the same extra, which is asked for when a route takes the class.

    Raises:
      Invalid: it is no address; the text does not repeat it.
    """
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - of an optional extra

    if len(value) <= MAX_ADDRESS:
        try:
            return validate_email(value, check_deliverability=False).normalized
        except EmailNotValidError:
            pass  # its text repeats the address
    raise Invalid("expected an e-mail address")
