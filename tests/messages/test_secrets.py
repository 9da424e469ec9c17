"""What a peer has sent is in no error: not in its text, its arguments, its causes or the locals of its traceback."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import attrs
import msgspec
import pytest
from attrs import field, frozen
from attrs.validators import deep_iterable, in_, matches_re, max_len, not_

from seawall import JSON, InvalidMessage, MessagePack, email, normalised_email
from seawall.messages.codec import Codec
from seawall.messages.decoder import EventDecoder, decoder_for
from seawall.messages.encoder import MAX_ERROR, MessageEncoder
from seawall.policy.answers import answer_invalid
from tests.kit.messages import Circle, Colour, Level, Square

SECRET = "hunter2-4111111111111111"


NOBODY = uuid.UUID(int=0)
DOT = Circle(1.0)


def lowered(value: str) -> str:
    """A converter that says what it was given."""
    if value.startswith("hunter2"):
        raise ValueError(f"cannot convert {value!r}")
    return value.lower()


@frozen
class Careless:
    """Validators whose texts repeat values."""

    chosen: str = field(default="a", validator=in_(["a", "b"]))
    matched: str = field(default="a", validator=matches_re("[a-z]"))
    long: str = field(default="a", validator=max_len(5))
    negated: str = field(default="b", validator=not_(in_([SECRET, SECRET * 50_000])))
    each: list[str] = field(factory=list[str], validator=deep_iterable(max_len(3)))
    converted: str = field(default="a", converter=lowered)
    address: str = field(default="a@example.com", validator=email())
    address2: str = field(default="a@example.com", converter=normalised_email)
    number: int = 0
    real: float = 0.0
    yes: bool = False
    raw: bytes = b""
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    word: Literal["a", "b"] = "a"
    id: uuid.UUID = NOBODY
    at: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    day: dt.date = dt.date(2026, 1, 1)
    hour: dt.time = dt.time(1)
    lasts: dt.timedelta = dt.timedelta(1)
    price: decimal.Decimal = decimal.Decimal(1)
    shape: Circle | Square = DOT
    nothing: None = None
    row: tuple[int, int] = (0, 0)
    table: dict[Annotated[str, msgspec.Meta(max_length=5)], int] = field(factory=dict[str, int])
    ids: dict[int, int] = field(factory=dict[int, int])
    pattern: Annotated[str, msgspec.Meta(pattern="^a*$")] = ""


FIELDS = [attribute.name for attribute in attrs.fields(Careless)]


def planted(secret: str) -> Iterator[dict[str, object]]:
    """Messages with the secret as value, key, key of a mapping, tag and ref."""
    for name in FIELDS:
        yield {"type": "careless", name: secret}
        yield {"type": "careless", name: [secret]}
        yield {"type": "careless", name: {secret: 1}}
        yield {"type": "careless", name: {"type": secret}}
        yield {"type": "careless", name: {secret: {secret: secret}}}
    yield {"type": "careless", secret: 1}
    yield {"type": "careless", f"{secret} - at `$.{secret}": 1}
    yield {"type": "careless", "x` - at `$.items[4111111111111111]": 1, "number": secret}
    yield {"type": "careless", "x - at `$[4111111111111111]": 1}
    yield {"type": "careless", "shape": {"type": "circle", f"x - at `$.{secret}": 1}}
    yield {"type": "careless", "shape": {"type": "circle", "radius": 1, f"a` - at `$.{secret}": 1}}
    yield {"type": secret}
    yield {"type": f"{secret} - at `$.{secret}"}
    yield {"type": "careless", "word": f"{secret}' - at `$.{secret}"}
    yield {"type": {secret: secret}}
    yield {"type": "careless", "ref": {secret: secret}}
    yield {"type": "careless", "ref": [secret]}
    yield {"type": "careless", "ref": secret, "number": secret}
    yield {"type": "careless", "re": [secret], "number": "x"}
    yield {secret: secret}


def told(error: BaseException) -> Iterator[str]:
    """Whatever an error carries, in text; what frames of tests hold is not its own."""
    yield str(error)
    yield repr(error)
    yield repr(error.args)
    yield repr({name: value for name, value in vars(error).items() if name != "ref"})
    yield from getattr(error, "__notes__", ())
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield from told(other)
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals["__name__"].startswith("seawall"):
            yield from (repr(value) for value in frame.f_locals.values())
        traceback = traceback.tb_next


@pytest.mark.parametrize("size", [1, 40_000])
@pytest.mark.parametrize("codec", [JSON(), MessagePack(), JSON(unknown_fields="ignore")])
def test_a_planted_secret_is_found_nowhere(size: int, codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    """As value, key, key of a mapping, tag and ref; 1 MB of it too."""
    secret = SECRET * size
    loops = decoder_for(codec, Careless | Circle, where="here")
    alone = decoder_for(codec, Careless, where="here")
    events = EventDecoder(codec, (Careless, Circle), where="here")
    encoder = MessageEncoder(JSON())
    refusals = 0
    for message in planted(secret) if size == 1 else list(planted(secret))[:: 7 if size > 1 else 1]:
        encoded = msgspec.msgpack.encode(message) if codec.binary else json.dumps(message)
        for decode in (loops.decode, alone.decode, events.decode):
            error = refusal(decode, encoded)
            if error is not None:
                refusals += 1
                for text in told(error):
                    assert "411111" not in text  # fewer digits stand in addresses by chance
                    assert "hunter2" not in text
                    assert len(text) < 20_000
                frame = encoder.error(answer_invalid(error)).decode()
                assert "411111" not in frame
                assert len(encoder.error(answer_invalid(error), re=error.ref)) <= MAX_ERROR
    assert refusals > 100 // size
    assert not caplog.records


@pytest.mark.parametrize("codec", [JSON(), MessagePack()])
def test_a_planted_secret_in_what_is_cut_off(codec: Codec) -> None:
    """Nor where the message ends too soon, so that what it has at which place cannot be told."""
    decoder = decoder_for(codec, Careless, where="here")
    for message in planted(SECRET):
        encoded = msgspec.msgpack.encode(message) if codec.binary else json.dumps(message)
        error = refusal(decoder.decode, encoded[:-1])
        assert error is not None
        for text in told(error):
            assert "411111" not in text
            assert "hunter2" not in text


def refusal(decode: Callable[[str | bytes], object], message: str | bytes) -> InvalidMessage | None:
    """Why a message is refused, if it is."""
    try:
        decode(message)
    except InvalidMessage as error:
        return error
    return None
