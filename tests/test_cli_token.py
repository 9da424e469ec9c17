"""``seawall token``: what it issues is good, what it says of a token is right, and it shows no secret."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from seawall.cli import main
from seawall.cli.token import VARIABLE
from tests.kit.processes import run

SECRET = "5ecret-that-no-line-of-any-output-may-ever-show-0123456789"


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the secret; none is in the environment."""
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit status of ``seawall token`` with these arguments, and what it has printed."""
    status = main(["token", *arguments])
    captured = capsys.readouterr()
    for shown in (captured.out, captured.err):
        assert SECRET not in shown
        assert "PRIVATE" not in shown
    return status, captured.out, captured.err


def inspected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token: str, *arguments: str
) -> tuple[int, str, str]:
    """The same of ``inspect``, with a token on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    status, out, err = said(capsys, "inspect", *arguments)
    assert token.rpartition(".")[2] not in out + err  # the signature makes a credential of it
    return status, out, err


def issued(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """A token."""
    status, out, _ = said(capsys, "issue", *arguments)
    assert status == 0
    return out.strip()


def test_issues_what_was_asked_for(secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Claims and header are those of the command line; several scopes are one text, several audiences a list."""
    token = issued(
        capsys, "--secret-file", str(secret), "--subject", "ada", "--issuer", "https://id.example",
        "--audience", "chat", "--audience", "mail", "--scope", "chat:read", "--scope", "chat:write",
        "--session-id", "s1", "--lifetime", "60", "--claim", 'email="ada@example.org"',
        "--claim", 'realm_access={"roles": ["admin"]}',
        "--kid", "k1", "--type", "at+jwt",
    )  # fmt: skip
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="chat")
    assert 55 < claims.pop("exp") - time.time() <= 61
    assert abs(claims.pop("iat") - time.time()) < 5
    assert claims == {
        "sub": "ada", "iss": "https://id.example", "aud": ["chat", "mail"], "scope": "chat:read chat:write",
        "sid": "s1", "email": "ada@example.org", "realm_access": {"roles": ["admin"]},
    }  # fmt: skip
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt", "kid": "k1"}


GOOD = ("--subject", "ada", "--issuer", "id", "--audience", "chat")


def test_the_secret_of_the_environment(
    secret: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file is named, it is taken."""
    monkeypatch.setenv(VARIABLE, SECRET)
    token = issued(capsys, *GOOD)
    assert inspected(capsys, monkeypatch, token, "--audience", "chat", "--issuer", "id")[:2][0] == 0


def test_a_new_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn, long enough, and written where nobody else can read; one that is there is not written over."""
    file = tmp_path / "new"
    for algorithm, size in (("HS256", 32), ("HS512", 64)):
        file.unlink(missing_ok=True)
        options = ("--secret-file", str(file), "--algorithm", algorithm)
        token = issued(capsys, "--new-secret", *options, *GOOD)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(file.read_text().strip()) > size
        status, out, err = inspected(capsys, monkeypatch, token, *options, "--audience", "chat", "--issuer", "id")
        assert (status, out.rpartition("\n\n")[2], err) == (0, "Good.\n", "")
    before = file.read_bytes()
    status, out, err = said(capsys, "issue", "--new-secret", "--secret-file", str(file), *GOOD)
    assert (status, out) == (1, "")
    assert err == "seawall token issue: the file of --secret-file cannot be made: File exists\n"
    assert file.read_bytes() == before


def pem_files(directory: Path, key: PrivateKeyTypes) -> tuple[str, str]:
    """The files of a private key and of its public half."""
    private, public = directory / "private.pem", directory / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256"])
def test_a_key_in_a_file(
    algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The private half signs, the public one verifies; the wrong one is an error in one line."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else rsa.generate_private_key(65537, 2048)
    private, public = pem_files(tmp_path, key)
    token = issued(capsys, "--key-file", private, "--algorithm", algorithm, *GOOD)
    rules = ("--algorithm", algorithm, "--audience", "chat", "--issuer", "id")
    assert inspected(capsys, monkeypatch, token, "--key-file", public, *rules)[0] == 0
    status, out, _ = inspected(capsys, monkeypatch, token, "--key-file", private, *rules)
    assert status == 1
    assert "this is a private key" in out.replace("PRIVATE", "")
    status, out, err = said(capsys, "issue", "--key-file", public, "--algorithm", algorithm, *GOOD)
    assert (status, out) == (1, "")
    assert err.startswith(f"seawall token issue: the key cannot sign with {algorithm} (")


def test_what_is_in_a_token(secret: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Header, claims, dates as people read them; without a key it is not verified, and that is said."""
    token = issued(capsys, "--secret-file", str(secret), *GOOD, "--claim", r'note="\u001b[31m\n"')
    status, out, err = inspected(capsys, monkeypatch, token)
    assert (status, err) == (0, "")
    assert '  alg  "HS256"\n' in out
    assert '  sub   "ada"\n' in out
    assert r'  note  "\u001b[31m\n"' in out
    assert " UTC, 10 minutes from now\n" in out
    assert out.endswith("\nNot verified: no key was given (--secret-file, --key-file).\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--audience", "mail", "--issuer", "id"), "InvalidAudienceError"),
        (("--audience", "chat", "--issuer", "other"), "InvalidIssuerError"),
        (
            (
                "--algorithm",
                "HS384",
            ),
            "of another algorithm",
        ),
        (("--type", "at+jwt"), "of another type"),
    ],
)
def test_what_a_verifier_would_say(
    arguments: tuple[str, ...],
    text: str,
    secret: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a verifier that says it, and the exit status says it too."""
    token = issued(capsys, "--secret-file", str(secret), *GOOD)
    assert inspected(capsys, monkeypatch, token, "--secret-file", str(secret))[0] == 0
    status, out, _ = inspected(capsys, monkeypatch, token, "--secret-file", str(secret), *arguments)
    assert status == 1
    assert f"\nRefused: token refused: {text}" in out


def test_a_token_that_has_expired(
    secret: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be issued, to try what happens."""
    token = issued(capsys, "--secret-file", str(secret), *GOOD, "--lifetime", "-10")
    status, out, err = inspected(capsys, monkeypatch, token, "--secret-file", str(secret))
    assert status == 1
    assert "Warning: it has expired.\n" in err
    assert "\nRefused: token expired.\n" in out


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (("--issuer", "id", "--audience", "chat"), "there is no sub: a verifier refuses it, but for claims=AnyClaims"),
        (("--subject", "ada", "--audience", "chat"), "there is no iss"),
        (("--subject", "ada", "--issuer", "id"), "there is no aud"),
        ((*GOOD, "--lifetime", "864000"), "it is good for 10 days: a verifier refuses more than a day"),
        ((*GOOD, "--claim", 'exp="soon"'), "there is no exp, or it is no date"),
        ((*GOOD, "--claim", "exp=1e300"), "it is good for"),
        ((*GOOD, "--claim", "sub=7"), "sub is not a string: every verifier refuses it"),
        ((*GOOD, "--claim", 'nbf="soon"'), "nbf is not a date: every verifier refuses it"),
    ],
)
def test_warnings(
    options: tuple[str, ...],
    warning: str,
    secret: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a verifier would not like is said when it is issued, and when it is looked at."""
    status, out, err = said(capsys, "issue", "--secret-file", str(secret), *options)
    assert status == 0
    assert f"Warning: {warning}" in err
    assert f"Warning: {warning}" in inspected(capsys, monkeypatch, out.strip())[2]


def test_a_token_without_a_signature(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can have made it."""
    token = jwt.encode({"sub": "ada"}, "", algorithm="none")
    monkeypatch.setattr("sys.stdin", io.StringIO(token))
    _, _, err = said(capsys, "inspect")
    assert "Warning: it is not signed: anybody can have made it.\n" in err


@pytest.mark.parametrize(
    ("weak", "warning"),
    [
        ("short", "the secret has 5 bytes, and a verifier wants 32 for HS256"),
        ("a-string-secret-at-least-256-bits-long", "the secret stands in an example that everybody can read"),
        ("ab" * 20, "the secret has only 2 different bytes"),
    ],
)
def test_a_weak_secret(
    weak: str, warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, without the secret; verifying with it is refused."""
    file = tmp_path / "weak"
    file.write_text(weak)
    status, out, err = said(capsys, "issue", "--secret-file", str(file), *GOOD)
    assert status == 0
    assert err == f"Warning: {warning}{err.partition(warning)[2]}"
    assert err.count("\n") == 1
    status, shown, err = inspected(capsys, monkeypatch, out.strip(), "--secret-file", str(file))
    assert status == 1
    assert f"Warning: {warning}" in err
    assert "\nRefused: TokenVerifier: " in shown
    assert weak == "short" or weak not in shown + err


@pytest.mark.parametrize("garbage", ["", "x", "a.b", "a.b.c", "x" * 100_000, "e30.x.", "\x00"])
def test_what_is_no_token(garbage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, which does not repeat it."""
    monkeypatch.setattr("sys.stdin", io.StringIO(garbage))
    status, out, err = said(capsys, "inspect")
    assert (status, out) == (1, "")
    assert err == ("seawall token inspect: that is no JSON Web Token; three parts with a point between them are one\n")


def test_a_token_in_a_file_and_of_a_header(secret: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may hold the whole value of an Authorization header."""
    file = tmp_path / "token"
    file.write_text(f"Bearer {issued(capsys, '--secret-file', str(secret), *GOOD)}\n")
    status, out, _ = said(capsys, "inspect", "--secret-file", str(secret), str(file))
    assert (status, out.rpartition("\n\n")[2]) == (0, "Good.\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("issue",), f"there is no key; give --secret-file or --key-file, or set ${VARIABLE}"),
        (("issue", "--secret-file", "/nowhere"), "the file of --secret-file cannot be read: FileNotFoundError"),
        (
            ("issue", "--key-file", "/x", "--secret-file", "/x"),
            "give --secret-file or --key-file, not both",
        ),
        (("issue", "--key-file", "/dev/null", "--algorithm", "RS256"), "the key cannot sign with RS256"),
        (("issue", "--new-secret"), "--new-secret needs --secret-file"),
        (("issue", "--secret-file", "/dev/zero"), "the file of --secret-file has more than 65536 characters"),
        (("inspect", "/nowhere"), "the file of the token cannot be read: FileNotFoundError"),
        (("issue", "--secret-file", "/dev/null", "--claim", "iss=7"), "iss has to be a text"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the status is 1."""
    monkeypatch.delenv(VARIABLE, raising=False)
    status, out, err = said(capsys, *arguments)
    assert (status, out) == (1, "")
    assert text in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("sign",), ("issue", "--lifetime", "nan"), ("issue", "--claim", "x"), ("issue", "--claim", "x=y"),
     ("issue", "--claim", "=1"), ("issue", "--algorithm", "none"), ("inspect", "--secret", "x")],
)  # fmt: skip
def test_wrong_command_lines(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Are refused with status 2. There is no option that takes a secret: it would be in the shell's history."""
    with pytest.raises(SystemExit) as stopped:
        main(["token", *arguments])
    assert stopped.value.code == 2
    assert "usage: seawall" in capsys.readouterr().err


def test_a_weak_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that a verifier refuses signs all the same, which is said in a line of ours."""
    file = tmp_path / "key.pem"
    key = rsa.generate_private_key(65537, 1024)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    status, out, err = said(capsys, "issue", "--key-file", str(file), "--algorithm", "RS256", *GOOD)
    assert (status, out.count(".")) == (0, 2)
    assert err == "Warning: the key is too short: a verifier refuses it.\n"


@pytest.mark.parametrize("read", ["error", "nothing"])
def test_no_standard_input(read: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is closed, or holds no text, is a mistake in one line."""
    text = io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdin", text if read == "error" else None)
    status, out, err = said(capsys, "inspect")
    assert (status, out) == (1, "")
    assert err.startswith("seawall token inspect: standard input cannot be read: ")
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
@pytest.mark.parametrize("action", ["issue", "inspect"])
def test_standard_output_is_full(action: str, secret: Path, tmp_path: Path) -> None:
    """It is said in one line, and the status is not 0: nobody has read the token."""
    file = tmp_path / "token"
    file.write_text(jwt.encode({"sub": "ada", "exp": time.time() + 60}, SECRET))
    arguments = ["--secret-file", str(secret), *GOOD] if action == "issue" else [str(file)]
    with Path("/dev/full").open("w") as full:
        program = subprocess.run(  # our own program
            [sys.executable, "-m", "seawall", "token", action, *arguments],
            stdout=full, stderr=subprocess.PIPE, timeout=20, check=False, encoding="utf-8",
        )  # fmt: skip
    assert program.returncode == 1
    assert program.stderr.splitlines()[-1] == (
        f"seawall token {action}: standard output cannot be written: No space left on device"
    )
    assert "Traceback" not in program.stderr


@pytest.mark.slow
def test_nobody_reads_standard_output(tmp_path: Path) -> None:
    """As behind ``| head -1``: it ends without a word."""
    file = tmp_path / "token"
    file.write_text(jwt.encode({"sub": "ada", "aud": "a", "iss": "i", "iat": 1, "exp": time.time() + 60}, SECRET))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        program = subprocess.run(  # our own program
            [sys.executable, "-m", "seawall", "token", "inspect", str(file)],
            stdout=writing, stderr=subprocess.PIPE, timeout=20, check=False, encoding="utf-8",
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (program.returncode, program.stderr) == (1, "")


def test_as_a_program(secret: Path) -> None:
    """One pipes into the other."""
    status, token, _ = run("-m", "seawall", "token", "issue", "--secret-file", str(secret), *GOOD)
    assert status == 0
    assert jwt.decode(token.strip(), SECRET, algorithms=["HS256"], audience="chat")["sub"] == "ada"
