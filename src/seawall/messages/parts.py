"""`PartReader`: typed values out of JSON of somebody else's, which has been decoded already."""

from __future__ import annotations

from typing import Final, final

import msgspec

from seawall.errors import InvalidMessage
from seawall.messages.codec import MessagePack
from seawall.messages.problems import REFUSED, TOO_DEEP, Problem, of_msgspec
from seawall.messages.shaping import Shaper

#: Whatever else an object has is no concern of ours. The shapes of MessagePack look whether numbers are finite; those
#: of JSON need not, but Python's `json`, other than msgspec, lets NaN through.
_CODEC: Final = MessagePack(unknown_fields="ignore")


@final
class PartReader:
    """Reads one value of one type."""

    def __init__(self, kind: object, where: str) -> None:
        """Read values of `kind`, which is the annotation of what stands at `where`.

        Raises:
          ConfigurationError: there are no such values in JSON; the text says what to do.
        """
        shaper = Shaper(_CODEC)
        self._shape = shaper.shape(kind, where)
        shaper.finish()
        self._build = self._shape.builder()

    def read(self, value: object, path: str) -> object:
        """The value that `value`, of dictionaries, lists, texts and numbers, stands for.

        Args:
          value: what was decoded.
          path: where it stood, for the error.

        Raises:
          InvalidMessage: it is none; the text says where, and not what it is.
        """
        try:
            decoded = self._decoded(value)
            return decoded if self._build is None else self._build(decoded)
        except msgspec.ValidationError as error:
            problem = of_msgspec(str(error))
            problem = Problem(path + problem.path.removeprefix("$"), problem.detail)
        except RecursionError:
            problem = Problem(path, TOO_DEEP)
        except Exception:  # noqa: BLE001 - whatever a validator raises
            problem = self._refused(value, path)
        raise InvalidMessage(problem.path, problem.detail)

    def _refused(self, value: object, path: str) -> Problem:
        """Which part of it a validator has refused."""
        try:
            found = self._shape.rebuild(self._decoded(value), path)
        except Exception:  # noqa: BLE001 - as above; and of a validator that finds fault now and then
            found = None
        return found if isinstance(found, Problem) else Problem(path, REFUSED)

    def _decoded(self, value: object) -> object:
        return msgspec.convert(value, self._shape.wire, str_keys=True)  # as all keys of JSON are
