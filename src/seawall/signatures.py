"""Which path parameters a handler or a guard takes, checked when a route is defined."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import final

from attrs import frozen

from seawall.errors import ConfigurationError


@final
@frozen(kw_only=True)
class Taken:
    """A keyword parameter that a function takes from the path."""

    name: str
    annotation: object
    """The annotation, resolved; `inspect.Parameter.empty` when there is none."""
    required: bool
    """Whether there is no default."""
    by: str
    """The function, for messages: ``chat() (app.py:12)``."""


def describe(function: Callable[..., object]) -> str:  # type: ignore[explicit-any]  # any function at all
    """Where `function` was written, for messages: its name, file and line."""
    target = _underlying(function)
    code = getattr(target, "__code__", None)
    name = getattr(target, "__qualname__", type(function).__qualname__)
    return f"{name}() ({code.co_filename}:{code.co_firstlineno})" if isinstance(code, types.CodeType) else f"{name}()"


def _underlying(function: Callable[..., object]) -> object:  # type: ignore[explicit-any]  # any function at all
    if inspect.isroutine(function) or isinstance(function, type):
        return inspect.unwrap(function)
    return inspect.unwrap(type(function).__call__)


def taken(function: Callable[..., object], *, leading: int) -> tuple[Taken, ...]:  # type: ignore[explicit-any]  # any function
    """What `function` takes besides its first `leading` positional parameters.

    Raises:
      ConfigurationError: it takes fewer than `leading`, or has more that only a position could fill.
    """
    where = describe(function)
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters[:leading]):
        return ()
    if len(parameters) < leading or any(parameter.kind not in positional for parameter in parameters[:leading]):
        raise ConfigurationError(f"{where} must take {leading} positional parameter(s) before the path's own")
    found: list[Taken] = []
    for parameter in parameters[leading:]:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{where}: parameter {parameter.name!r} is positional-only, but path parameters arrive by keyword; "
                "move it behind the /"
            )
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            found.append(
                Taken(
                    name=parameter.name,
                    annotation=_resolve(function, parameter.annotation),
                    required=parameter.default is inspect.Parameter.empty,
                    by=where,
                )
            )
    return tuple(found)


def _resolve(function: Callable[..., object], annotation: object) -> object:  # type: ignore[explicit-any]  # any function
    """Evaluate one annotation that ``from __future__ import annotations`` has left as text, or leave it open."""
    if not isinstance(annotation, str):
        return annotation
    module = sys.modules.get(getattr(_underlying(function), "__module__", ""))
    namespace: dict[str, object] = dict(vars(typing)) | (vars(module) if module is not None else {})
    try:
        return eval(annotation, namespace)  # noqa: S307 - the program's own source, as typing.get_type_hints does
    except Exception:  # noqa: BLE001 - a name that exists only for type checkers: then only they can check it
        return inspect.Parameter.empty


def check(path: str, offered: Mapping[str, type], functions: Iterable[tuple[Taken, ...]]) -> None:
    """Compare what a path offers with what the functions of its route take.

    Raises:
      ConfigurationError: a placeholder that nobody takes, a parameter that the path does not offer, or an annotation
        that disagrees with the converter.
    """
    unclaimed = dict(offered)
    for parameter in (parameter for function in functions for parameter in function):
        unclaimed.pop(parameter.name, None)
        if parameter.name in offered:
            _agree(path, offered[parameter.name], parameter)
        elif parameter.required:
            raise ConfigurationError(
                f"{parameter.by} takes {parameter.name!r}, which the path {path!r} does not have; "
                f"add {{{parameter.name}}} to the path, or give the parameter a default"
            )
    if unclaimed:
        name = next(iter(unclaimed))
        raise ConfigurationError(
            f"path {path!r} has {{{name}}}, but neither its handler nor a guard takes it; "
            f"add a parameter `{name}: {offered[name].__name__}` to the handler, or remove the placeholder"
        )


def _agree(path: str, offered: type, parameter: Taken) -> None:
    annotation = parameter.annotation
    open_ended: tuple[object, ...] = (inspect.Parameter.empty, typing.Any, object)
    if any(annotation is kind for kind in open_ended) or offered in (annotation, *typing.get_args(annotation)):
        return
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    raise ConfigurationError(
        f"{parameter.by}: parameter {parameter.name!r} is annotated {shown}, but the path {path!r} gives "
        f"{offered.__name__}; change the annotation, or the converter in the path"
    )
