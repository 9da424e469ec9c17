"""The handshake as data: headers, cookies, the origin, and what its repr leaves out."""

from __future__ import annotations

import pytest

from seawall.handshake import Handshake


def asked(*headers: tuple[str, str], query: str = "") -> Handshake:
    """A handshake with these header fields."""
    return Handshake(path="/chat", query=query, host="chat.example", key="c2VjcmV0", headers=headers, peer="memory")


def test_headers() -> None:
    """Fields are found whatever their case, one by one or joined, in order."""
    handshake = asked(("x-one", "a"), ("x-two", ""), ("x-one", "b, c"))
    assert handshake.values("X-ONE") == ("a", "b, c")
    assert handshake.header("X-One") == "a, b, c"
    assert handshake.header("x-two") == ""
    assert handshake.values("x-three") == ()
    assert handshake.header("x-three") is None


def test_the_origin() -> None:
    """The origin is a header of its own meaning; other clients than browsers have none."""
    assert asked(("origin", "https://chat.example")).origin == "https://chat.example"
    assert asked().origin is None


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], None),
        (["session=abc"], "abc"),
        (["a=1; session=abc; b=2"], "abc"),
        (["a=1;session=abc;b=2"], "abc"),
        (["a=1", "session=abc"], "abc"),
        (["session=abc; session=def"], "abc"),
        (["session=a=b=c"], "a=b=c"),
        (['session="abc"'], "abc"),
        (["session="], ""),
        (["session"], None),
        (["Session=abc"], None),
        (["xsession=abc"], None),
        (["sessionx=abc"], None),
        ([" session=abc "], "abc"),
        ([";;; session=abc"], "abc"),
        (["\xff=\xe9; session=\xe9"], "\xe9"),
    ],
)
def test_cookies(lines: list[str], value: str | None) -> None:
    """The first cookie of the name, over any number of lines; names have their case."""
    assert asked(*(("cookie", line) for line in lines)).cookie("session") == value


def test_the_repr_keeps_secrets() -> None:
    """What may carry a credential is not in the repr, which ends up in logs and tracebacks."""
    handshake = asked(("authorization", "Bearer s3cret"), ("cookie", "token=s3cret"), query="token=s3cret")
    text = repr(handshake)
    assert "s3cret" not in text
    assert "c2VjcmV0" not in text
    assert "'/chat'" in text
    assert "'chat.example'" in text


def test_a_handshake_is_a_value() -> None:
    """It is immutable, compares by what it says, and can be a key."""
    assert asked(("a", "b")) == asked(("a", "b"))
    assert hash(asked(("a", "b"))) == hash(asked(("a", "b")))
    assert asked(("a", "b")) != asked(("a", "c"))
    with pytest.raises(AttributeError):
        asked().path = "/"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
