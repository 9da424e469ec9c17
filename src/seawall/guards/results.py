"""What guards and checks return, looked at after each of them: what proves nobody lets nobody in.

A check that returns False, or a guard that returns the exception that it should have raised, or the verdict that is for
the policy to give, is a mistake which would open the door to everybody; so is what would have decided, but has not run.
A type checker finds it; here it is found without one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncContextDecorator, ContextDecorator
from functools import lru_cache, partial
from http import HTTPStatus
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    EllipsisType,
    FunctionType,
    GeneratorType,
    MethodType,
    NoneType,
    NotImplementedType,
)
from typing import NoReturn, Protocol, TypeVar

from seawall.callables import describe, returns_bool
from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.step import Step
from seawall.http.exchange import Response
from seawall.lifespan import Provided
from seawall.policy.verdicts import VERDICTS

T = TypeVar("T")
Need_contra = TypeVar("Need_contra", contravariant=True)

#: What says no, or is no answer; the classes of it too.
_REFUSALS = (BaseException, *VERDICTS, Response, HTTPStatus)

#: What has not run: generators, what ``@contextmanager`` makes, functions that nobody has called, handles whose
#: values nobody has taken, and another guard or check, which nobody has asked.
_NOT_RUN = (
    *(GeneratorType, AsyncGeneratorType, ContextDecorator, AsyncContextDecorator),
    *(FunctionType, MethodType, BuiltinFunctionType, partial, property),
    *(Provided, Step),
)

#: What is no principal, or, as a class, may be none.
_SUSPECT = (bool, type, NotImplementedType, EllipsisType, *_REFUSALS, *_NOT_RUN)


def check_annotation(kind: str, function: object) -> None:
    """Refuse a function that says with a bool whether it lets through: True and False would be the same.

    Args:
      kind: what is made of it, ``"a guard"`` or ``"a check"``.
      function: whatever it is.

    Raises:
      ConfigurationError: it returns a bool, by its annotation.
    """
    if callable(function) and returns_bool(function):
        returns = "the principal" if kind == "a guard" else "nothing"
        raise ConfigurationError(
            f"{describe(function)} returns a bool by its annotation, but {kind} returns {returns} and refuses by "
            "raising; write `raise Forbidden(...)`, and change the annotation"
        )


class Written(Protocol):
    """A guard or a check."""

    def owner(self) -> str:
        """Where the function was written that is called, for messages."""
        ...


class Inspecting(Written, Protocol[Need_contra]):
    """A check, which may return anything."""

    def inspect(self, gate: Gate, principal: Need_contra, /) -> Awaitable[object]:
        """Return, or refuse by raising."""
        ...


def proved(guard: Written, principal: T) -> T:
    """`principal`, which `guard` has returned.

    Raises:
      ConfigurationError: it proves nobody: None, a bool, an exception, a verdict or another answer, a class of these,
        an awaitable that nobody has awaited, or something else that has not run.
    """
    kind: type = type(principal)
    if _is_suspect(kind):
        _refuse_suspect(guard, principal)
    return principal


@lru_cache(maxsize=256)  # finding out costs as much as four checks, and an application has few kinds of principals
def _is_suspect(kind: type) -> bool:
    """Whether an instance of `kind` may prove nobody."""
    return kind is NoneType or hasattr(kind, "__await__") or issubclass(kind, _SUSPECT)


def _is_other_class(principal: object) -> bool:
    """Whether it is a class of something that may be a principal, and so may be one itself."""
    return isinstance(principal, type) and not issubclass(principal, _REFUSALS)


def _refuse_suspect(guard: Written, principal: object) -> None:
    if _is_other_class(principal):
        return
    raise ConfigurationError(
        f"{guard.owner()} returned {_shown(principal)}, which proves nobody; return the principal, or refuse with "
        "`raise Unauthorized(...)` or `raise Forbidden(...)`"
    )


async def inspected(check: Inspecting[T], gate: Gate, principal: T) -> None:
    """Ask `check` about `principal`.

    Raises:
      ConfigurationError: it has returned anything but None, which may be meant as a refusal.
    """
    returned = await check.inspect(gate, principal)
    if returned is not None:
        refuse_result(check, returned)


def refuse_result(check: Written, returned: object) -> NoReturn:
    """Say that `check` has returned something, which may be meant as a refusal. Raises as `inspected`."""
    raise ConfigurationError(
        f"{check.owner()} returned {_shown(returned)}, and a check returns nothing; to refuse, "
        "`raise Forbidden(...)`, and to let through, return None"
    )


def _shown(returned: object) -> str:
    """What was returned, without what may be secret in it."""
    if isinstance(returned, CoroutineType):
        returned.close()  # it will never be awaited, of which Python would warn
        return "a coroutine, for which an `await` is missing"
    if returned is None or isinstance(returned, bool):
        return repr(returned)
    if isinstance(returned, type):
        return f"the class {returned.__name__}"
    kind = type(returned)
    return f"a {kind.__name__}, for which an `await` is missing" if hasattr(kind, "__await__") else f"a {kind.__name__}"
