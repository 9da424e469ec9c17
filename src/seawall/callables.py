"""Which path parameters a handler or a guard takes, checked when a route is defined."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeAlias, cast, final
from uuid import UUID

from attrs import frozen

from seawall.errors import ConfigurationError

#: What the value of a path parameter can be.
Parameter: TypeAlias = str | int | float | UUID


@final
@frozen(kw_only=True)
class PathArgument:
    """A keyword parameter that a function takes from the path."""

    name: str
    annotation: object
    """The annotation, resolved; `inspect.Parameter.empty` when there is none."""
    required: bool
    """Whether there is no default."""
    owner: str
    """The function, for messages: ``chat() (app.py:12)``."""


#: What ``X | Y`` and ``Union[X, Y]`` are made of.
_UNIONS = (types.UnionType, typing.Union)  # pyright: ignore[reportDeprecated]  # Optional[X] is still written


if sys.version_info >= (3, 14):
    from annotationlib import Format

    # Annotations are evaluated when they are asked for, and a name that only type checkers know would raise.
    _signature = partial(inspect.signature, annotation_format=Format.FORWARDREF)
else:
    _signature = inspect.signature


def describe(function: Callable[..., object]) -> str:  # type: ignore[explicit-any]  # any function at all
    """Where `function` was written, for messages: its name, file and line."""
    target = _underlying(function)
    code = getattr(target, "__code__", None)
    name = getattr(target, "__qualname__", type(function).__qualname__)
    return f"{name}() ({code.co_filename}:{code.co_firstlineno})" if isinstance(code, types.CodeType) else f"{name}()"


def is_async(function: Callable[..., object]) -> bool:  # type: ignore[explicit-any]  # any function at all
    """Whether `function` was written as ``async def``: itself, or what is behind a method, an instance or a partial."""
    return inspect.iscoroutinefunction(_underlying(function))


def is_async_generator(function: Callable[..., object]) -> bool:  # type: ignore[explicit-any]  # any function at all
    """The same of ``async def`` with a ``yield`` in it."""
    return inspect.isasyncgenfunction(_underlying(function))


def yields(function: Callable[..., object]) -> bool:  # type: ignore[explicit-any]  # any function at all
    """Whether `function` is a generator, async or not, so that calling it runs nothing."""
    target = _underlying(function)
    return inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target)


def check_sync_callback(where: str, function: object, *, takes: str) -> None:
    """Refuse a callback that is async, or cannot be called with the positional arguments `takes`: ``"error, context"``.

    Raises:
      ConfigurationError: it is so; the text begins with `where`.
    """
    if not callable(function):
        raise ConfigurationError(f"{where} was given {function!r}, which cannot be called; give a function")
    if is_async(function):
        raise ConfigurationError(f"{where}: {describe(function)} is async, and nobody would await it; write `def`")
    try:
        inspect.signature(function).bind(*takes.split(", "))
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {describe(function)} is called with ({takes}), which it does not take ({error}); write "
            f"`def name({takes})`, or `lambda {takes}: ...`"
        ) from None
    except ValueError:
        pass  # a function that is written in C may have no signature


def _underlying(function: object) -> object:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    if not (inspect.isroutine(function) or isinstance(function, type)) and callable(function):
        function = type(function).__call__
    return inspect.unwrap(function) if callable(function) else function


def path_arguments(function: Callable[..., object], *, leading: int, first: str = "") -> tuple[PathArgument, ...]:  # type: ignore[explicit-any]  # any function
    """What `function` takes besides its first `leading` positional parameters, which are called `first` in messages.

    Raises:
      ConfigurationError: it takes fewer than `leading` positional parameters, or has positional-only ones after them.
    """
    where = describe(function)
    parameters = list(_signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters[:leading]):
        return ()
    if len(parameters) < leading or any(parameter.kind not in positional for parameter in parameters[:leading]):
        first = first or ("the connection" if leading == 1 else "the gate and what is proved")
        raise ConfigurationError(f"{where} must take {first} as positional parameters, before those of the path")
    found: list[PathArgument] = []
    for parameter in parameters[leading:]:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{where}: parameter {parameter.name!r} is positional-only, but path parameters arrive by keyword; "
                "move it behind the /"
            )
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            found.append(
                PathArgument(
                    name=parameter.name,
                    annotation=_resolve(function, parameter.annotation),
                    required=parameter.default is inspect.Parameter.empty,
                    owner=where,
                )
            )
    return tuple(found)


def returns_bool(function: Callable[..., object]) -> bool:  # type: ignore[explicit-any]  # any function
    """Whether a bool is among what `function` returns by its annotation; False if that is unknown."""
    for known in return_types(function):
        literal = typing.get_args(known) if typing.get_origin(known) is typing.Literal else ()
        if known is bool or any(isinstance(value, bool) for value in literal):
            return True
    return False


def return_types(function: Callable[..., object]) -> tuple[object, ...]:  # type: ignore[explicit-any]  # any function
    """What `function` returns or yields by its annotation: each member of a union; those that are unknown are empty."""
    try:
        annotation = _resolve(function, _signature(function).return_annotation)
    except ValueError:
        return ()  # a function that is written in C may have no signature
    if typing.get_origin(annotation) in (AsyncIterator, AsyncGenerator):
        annotation = typing.get_args(annotation)[0]
    return tuple(
        _resolve(function, member.__forward_arg__) if isinstance(member, typing.ForwardRef) else member
        for member in _members(annotation)
    )


def _resolve(function: Callable[..., object], annotation: object) -> object:  # type: ignore[explicit-any]  # any function
    """Evaluate an annotation that ``from __future__ import annotations`` has left as text; `empty` if that fails."""
    if not isinstance(annotation, str):
        return annotation
    module = sys.modules.get(getattr(_underlying(function), "__module__", ""))
    namespace: dict[str, object] = dict(vars(typing)) | (vars(module) if module is not None else {})
    for _ in range(3):  # what was quoted before is quoted twice now
        if not isinstance(annotation, str):
            return annotation
        try:
            annotation = eval(annotation, namespace)  # noqa: S307 - the program's own source, as get_type_hints does
        except Exception:  # noqa: BLE001 - a name that exists only for type checkers: then only they can check it
            return inspect.Parameter.empty
    return inspect.Parameter.empty


def check_path_arguments(
    path: str, offered: Mapping[str, type], *, owner: str, functions: Iterable[tuple[PathArgument, ...]]
) -> None:
    """Compare what a path offers with what the functions of its route take.

    Args:
      path: the pattern, for messages.
      offered: its placeholders and the types of their values.
      owner: the handler, for messages.
      functions: what the handler and the guards take.

    Raises:
      ConfigurationError: no function takes a placeholder, the path does not offer a required parameter, or an
        annotation disagrees with the converter.
    """
    unclaimed = dict(offered)
    for parameter in (parameter for function in functions for parameter in function):
        unclaimed.pop(parameter.name, None)
        if parameter.name in offered:
            _agree(path, offered[parameter.name], parameter)
        elif parameter.required:
            raise ConfigurationError(
                f"{parameter.owner} takes {parameter.name!r}, which the path {path!r} does not have; "
                f"add {{{parameter.name}}} to the path, or give the parameter a default"
            )
    if unclaimed:
        name = next(iter(unclaimed))
        raise ConfigurationError(
            f"{owner}: path {path!r} has {{{name}}}, but neither the handler nor a guard takes it; "
            f"add a parameter `{name}: {offered[name].__name__}` to the handler, or remove the placeholder"
        )


def _agree(path: str, offered: type, parameter: PathArgument) -> None:
    if not agrees(parameter.annotation, offered):
        raise ConfigurationError(
            f"{parameter.owner}: parameter {parameter.name!r} is annotated {shown(parameter.annotation)}, but the path "
            f"{path!r} gives {offered.__name__}; change the annotation, or the converter in the path"
        )


def agrees(annotation: object, offered: type) -> bool:
    """Whether a parameter of this annotation takes a value of the type `offered`, or may take it."""
    open_ended: tuple[object, ...] = (inspect.Parameter.empty, typing.Any, object, offered)
    return any(
        isinstance(member, typing.ForwardRef) or any(member is kind for kind in open_ended)
        for member in _members(annotation)
    )


def shown(annotation: object) -> str:
    """An annotation, for messages."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _members(annotation: object) -> Iterator[object]:
    """The types that an annotation allows: a union's, and what is in ``Annotated`` or behind ``type X = ...``."""
    annotation = getattr(annotation, "__value__", annotation)
    arguments: tuple[object, ...] = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        arguments = arguments[:1]
    elif origin not in _UNIONS:
        yield annotation
        return
    for argument in arguments:
        yield from _members(argument)
