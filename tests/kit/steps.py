"""How much Python a function does, counted: which a busy machine does not change, as it changes the time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias, final

from attrs import define

_Tracer: TypeAlias = "Callable[[FrameType, str, object], _Tracer]"


def steps(function: Callable[[], object]) -> int:
    """The instructions of Python's virtual machine that `function` takes, and the functions that it calls.

    It has run once before, so that what is remembered is remembered; under the same tracer, because Python 3.12 counts
    nothing of what it traces for the first time.
    """
    _traced(function)
    return _traced(function)


def _traced(function: Callable[[], object]) -> int:
    counter, before = _Counter(), sys.gettrace()
    sys.settrace(counter.trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return counter.found


@final
@define
class _Counter:
    found: int = 0

    def trace(self, frame: FrameType, event: str, argument: object) -> _Tracer:
        """One more has been executed; see `sys.settrace`."""
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            self.found += 1
        return self.trace
