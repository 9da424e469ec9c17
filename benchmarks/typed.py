"""The typed message of the benchmark: a class of each kind, with the same four limits. And one as it is sent."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from attrs import field, frozen
from attrs.validators import ge, max_len, min_len

#: What the limits are; pydantic's model in `benchmarks.servers.fastapi` has them too.
MAX_ROOM, MIN_TEXT, MAX_TEXT, MIN_NUMBER = 64, 1, 2000, 0

#: About 100 bytes, and as all encoders here write it, so that an echo is the same bytes.
SAID: Final = '{"type":"say","room":"0000-trio","text":"a chat message with nothing special in it.","number":123456}'
#: The same for who knows the type already.
UNTAGGED: Final = SAID.replace('"type":"say",', "")
#: Where the name of the room begins.
ROOM_AT: Final = SAID.index("0000")


@frozen
class Say:
    """An attrs class."""

    room: str = field(validator=max_len(MAX_ROOM))
    text: str = field(validator=[min_len(MIN_TEXT), max_len(MAX_TEXT)])
    number: int = field(validator=ge(MIN_NUMBER))


class SayStruct(msgspec.Struct, tag="say"):
    """The same as a Struct."""

    room: Annotated[str, msgspec.Meta(max_length=MAX_ROOM)]
    text: Annotated[str, msgspec.Meta(min_length=MIN_TEXT, max_length=MAX_TEXT)]
    number: Annotated[int, msgspec.Meta(ge=MIN_NUMBER)]
