"""``seawall token``: issues tokens for development, and says what is in one."""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Final, TextIO, cast, final

import jwt
import trio
from attrs import frozen

from seawall.cli.token_report import claims_of, report
from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.algorithms import ALGORITHMS, SECRET_SIZES, Algorithm
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.rules import any_audience, any_issuer
from seawall.guards.jwt.secret import weakness_of
from seawall.guards.jwt.verifier import TokenVerifier

#: Holds the secret, if no file does. An argument would stand in the shell's history and in the list of processes.
VARIABLE: Final = "SEAWALL_SECRET"

#: Seconds that a token lives. A `TokenVerifier` refuses one that lives longer than a day.
LIFETIME: Final = 600.0

#: Characters of a token or a file that are read.
_MOST: Final = 64 * 1024


class KeyOptions(argparse.Namespace):
    """What the command line said about the key."""

    secret_file: Path | None
    key_file: Path | None
    algorithm: Algorithm


class IssueOptions(KeyOptions):
    """What it said about a token that is to be issued."""

    claims: list[tuple[str, object]]
    audience: list[str]
    scope: list[str]
    lifetime: float
    kid: str | None
    type: str | None
    new_secret: bool


class InspectOptions(KeyOptions):
    """What it said about a token that is there."""

    audience: list[str]
    issuer: str | None
    type: str | None
    file: Path | None


def add_token_options(parser: argparse.ArgumentParser) -> None:
    """Add the two actions, and what they hold, to the parser of the command."""
    actions = parser.add_subparsers(dest="token", metavar="ACTION", required=True)
    issue = actions.add_parser(
        "issue",
        help="sign a token and print it",
        allow_abbrev=False,  # --secret would be --secret-file
        description="Sign a token and print it. For development: whoever has the secret can be anybody.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_key_options(issue, "a PEM of the private key")
    issue.add_argument("--new-secret", action="store_true", help="draw a secret and write it to the secret file first")
    for option, name, what in (("--subject", "sub", "WHO"), ("--issuer", "iss", "WHO"), ("--session-id", "sid", "ID")):
        issue.add_argument(
            option, dest="claims", action="append", type=partial(_named, name), default=[], metavar=what, help=name
        )
    issue.add_argument("--audience", action="append", default=[], metavar="WHOM", help="aud; may be given again")
    issue.add_argument("--scope", action="append", default=[], metavar="WORD", help="a scope; may be given again")
    issue.add_argument(
        "--lifetime", type=_seconds, default=LIFETIME, metavar="SECONDS", help="until exp; negative: past"
    )
    issue.add_argument(
        "--claim", dest="claims", action="append", type=_claim, default=[], metavar="NAME=JSON", help="any other claim"
    )
    issue.add_argument("--kid", metavar="ID", help="kid, in the header")
    issue.add_argument("--type", metavar="TYPE", help="typ, in the header, such as at+jwt")
    inspect = actions.add_parser(
        "inspect",
        help="say what is in a token, and whether it is good",
        allow_abbrev=False,
        description=(
            "Say what is in a token, which is read from standard input or from a file. With a key, an audience and an "
            "issuer it is verified too. The exit status is 1 if it is no token, or not a good one."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_key_options(inspect, "a PEM of the public key")
    inspect.add_argument("--audience", action="append", default=[], metavar="WHOM", help="who we are; any if left out")
    inspect.add_argument("--issuer", metavar="WHO", help="who must have issued it; any if left out")
    inspect.add_argument("--type", metavar="TYPE", help="the typ that it must have")
    inspect.add_argument("file", nargs="?", type=Path, help="holds the token; standard input if left out")


def _add_key_options(parser: argparse.ArgumentParser, key: str) -> None:
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help=f"holds the secret; else ${VARIABLE} does")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help=key)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="HS256", help="how it is signed")


def run_token(action: str, options: argparse.Namespace) -> int:
    """Issue a token or inspect one, and return the exit status."""
    try:
        issue = action == "issue"
        status = _issue(cast("IssueOptions", options)) if issue else _inspect(cast("InspectOptions", options))
        print(end="", flush=True)  # now, when it can still be said that it fails
    except _Mistake as mistake:
        print(f"seawall token {action}: {mistake}", file=sys.stderr)
        return 1
    except OSError as error:  # of standard output: what else there is to read or to write is a `_Mistake`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left there fails no more at the end
        if not isinstance(error, BrokenPipeError):
            print(f"seawall token {action}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return status


@final
class _Mistake(Exception):
    """What is wrong, in one line, without a secret in it."""


def _issue(options: IssueOptions) -> int:
    if options.new_secret:
        _write_secret(options)
    key = _key(options)
    if key is None:
        raise _Mistake(f"there is no key; give --secret-file or --key-file, or set ${VARIABLE}")
    now = math.floor(time.time())
    registered = {
        "aud": options.audience[0] if len(options.audience) == 1 else options.audience or None,
        "scope": " ".join(options.scope) or None,
        "iat": min(now, math.ceil(now + options.lifetime)),
        "exp": math.ceil(now + options.lifetime),
    }
    claims = {name: value for name, value in registered.items() if value is not None} | dict(options.claims)
    if not isinstance(claims.get("iss", ""), str):
        raise _Mistake("iss has to be a text: PyJWT makes no token with another one")
    if isinstance(key, _Secret):
        _warn(key.weakness(options.algorithm))
    header = {name: value for name, value in (("kid", options.kid), ("typ", options.type)) if value is not None}
    try:
        with warnings.catch_warnings(record=True) as weaknesses:
            warnings.simplefilter("always", jwt.InsecureKeyLengthWarning)
            token = jwt.encode(claims, key.material, algorithm=options.algorithm, headers=header)
    except Exception as error:  # noqa: BLE001 - PyJWT and cryptography raise several kinds, some of which quote the key
        raise _Mistake(f"the key cannot sign with {options.algorithm} ({type(error).__name__})") from None
    if weaknesses and not isinstance(key, _Secret):
        _warn("the key is too short: a verifier refuses it")
    print(token)
    _warn(*report(claims_of(token)).warnings)
    return 0


def _inspect(options: InspectOptions) -> int:
    token = _token(options.file)
    found = claims_of(token)
    if found is None:
        raise _Mistake("that is no JSON Web Token; three parts with a point between them are one")
    said = report(found)
    print(said.text)
    _warn(*said.warnings)
    key = _key(options)
    if key is None:
        print("\nNot verified: no key was given (--secret-file, --key-file).")
        return 0
    if isinstance(key, _Secret):
        _warn(key.weakness(options.algorithm))
    refusal = _refusal(token, key, options)
    print("\nGood." if refusal is None else f"\nRefused: {refusal}.")
    return 0 if refusal is None else 1


def _refusal(token: str, key: _Secret | _File, options: InspectOptions) -> str | None:
    """Why a verifier with this key refuses the token; None if it does not."""
    try:
        verifier = TokenVerifier(
            key.material if isinstance(key, _Secret) else key.path,
            algorithms=[options.algorithm],
            audience=options.audience or any_audience,
            issuer=options.issuer or any_issuer,
            type=options.type,
            claims=AnyClaims,
        )
        trio.run(verifier.verify, token)
    except (ConfigurationError, Unauthorized) as refusal:
        return str(refusal) or type(refusal).__name__
    return None


@final
@frozen
class _Secret:
    """A secret."""

    material: str

    def weakness(self, algorithm: Algorithm) -> str | None:
        """What is wrong with it."""
        needed = SECRET_SIZES.get(algorithm, 0)
        encoded = self.material.encode("utf-8", "surrogateescape")
        if len(encoded) < needed:
            return f"the secret has {len(encoded)} bytes, and a verifier wants {needed} for {algorithm}"
        weakness = weakness_of(encoded)
        return None if weakness is None else f"the secret {weakness}: a verifier refuses it"


@final
@frozen
class _File:
    """A key in a file."""

    path: Path
    material: str


def _key(options: KeyOptions) -> _Secret | _File | None:
    """The key that was named; None if none was."""
    if options.key_file is not None and options.secret_file is not None:
        raise _Mistake("give --secret-file or --key-file, not both")
    if options.key_file is not None:
        return _File(options.key_file, _read(options.key_file, "--key-file"))
    if options.secret_file is not None:
        return _Secret(_read(options.secret_file, "--secret-file").strip(" \t\r\n"))
    secret = os.environ.get(VARIABLE)
    return None if not secret or options.algorithm not in SECRET_SIZES else _Secret(secret)


def _read(path: Path, what: str) -> str:
    """What is in a file. Its name is not repeated: where arguments have been mixed up, it is the secret."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST + 1)
    except (OSError, ValueError) as error:
        raise _Mistake(f"the file of {what} cannot be read: {type(error).__name__}") from None
    if len(text) > _MOST:
        raise _Mistake(f"the file of {what} has more than {_MOST} characters")
    return text


def _write_secret(options: KeyOptions) -> None:
    """Draw a secret and write it to a file that is not there yet, and that nobody else may read."""
    if options.secret_file is None or options.algorithm not in SECRET_SIZES:
        raise _Mistake("--new-secret needs --secret-file, and one of HS256, HS384 and HS512")
    try:
        descriptor = os.open(options.secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _Mistake(f"the file of --secret-file cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(SECRET_SIZES[options.algorithm]) + "\n")


def _token(path: Path | None) -> str:
    text = _standard_input() if path is None else _read(path, "the token")
    return text.strip(" \t\r\n").removeprefix("Bearer ").strip(" ")


def _standard_input() -> str:
    stdin: TextIO | None = sys.stdin  # None, if it was closed
    if stdin is None:
        raise _Mistake("standard input cannot be read: it is closed")
    try:
        return stdin.read(_MOST)
    except (OSError, ValueError) as error:
        raise _Mistake(f"standard input cannot be read: {type(error).__name__}") from None


def _warn(*texts: str | None) -> None:
    for warning in texts:
        if warning is not None:
            print(f"Warning: {warning}.", file=sys.stderr)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not abs(seconds) < 1e10:  # NaN is less than nothing
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _named(name: str, value: str) -> tuple[str, object]:
    return name, value


def _claim(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    try:
        decoded: object = json.loads(value)
    except ValueError:
        separator = ""
    else:
        if name and separator:
            return name, decoded
    raise argparse.ArgumentTypeError(f"{text!r} is no claim; give a name and JSON, such as 'email=\"ada@example.org\"'")
