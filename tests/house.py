"""The house rules that no linter has; ``nox -s lint`` runs this file. CONTRIBUTING.md says what they are."""

from __future__ import annotations

import ast
import builtins
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Rule(NamedTuple):
    """A number that is bounded."""

    bound: int
    said: str
    """The complaint about a `Measure`."""


RULES = {
    "code": Rule(300, "{name} has {number} lines of code; a module says one thing in at most {bound}"),
    "body": Rule(40, "the body of {name} has {number} lines of code, more than {bound}"),
    "parameters": Rule(4, "{name} takes {number} parameters; more than {bound} become a value"),
    "attributes": Rule(12, "instances of {name} have {number} attributes, more than {bound}: {detail}"),
    "methods": Rule(20, "{name} has {number} methods, more than {bound}"),
    "booleans": Rule(5, "instances of {name} have {number} booleans, more than {bound}; make them an enum: {detail}"),
    "callables": Rule(
        3, "{number} callables are kept by wire and connection, more than {bound}; return events: {detail}"
    ),
}

#: By rule and dotted name: the number that is accepted instead of the bound, and the reason.
Accepted = Mapping[str, Mapping[str, tuple[int, str]]]

#: What exceeds a bound and may stay so.
EXCEPTIONS: Accepted = {
    "parameters": {
        "seawall.app.App.__init__": (13, "what holds for all routes, by keyword"),
        "seawall.app.App.topic": (5, "a pattern, what is published, and what holds for its rooms, by keyword"),
        "seawall.app.App.page": (5, "a fixed page or one on request, by two overloads"),
        "seawall.routing.router.Router.__init__": (6, "what holds for all of its routes, by keyword"),
        "seawall.routing.router.Router.route": (10, "the fields of a Route, by keyword, under a decorator"),
        "seawall.connection.sessions.Sessions.find": (6, "what a connection can be told by, by keyword"),
        "seawall.topics.kicking.Moderated.kick": (5, "what somebody can be told by, by keyword, and for how long"),
        "seawall.connection.sessions.Sessions.revoke": (5, "what a credential can be told by, by keyword"),
        "seawall.login.issuer.TokenIssuer.__init__": (7, "what holds for all of its tokens, by keyword"),
        "seawall.login.page.login_page": (9, "an app and an issuer, what it asks, and names and limits by keyword"),
        "seawall.testing.client.connect": (
            6,
            "one line in a test: what a client can say in its handshake, and its patience",
        ),
        "seawall.testing.client.Serving.connect": (5, "the same, of an app that is served"),
        "seawall.testing.client._dial": (6, "the same, and the stream"),
    },
    "attributes": {
        "seawall.wire.send_buffer.SendBuffer": (
            13,
            "who waits first is kept apart: who is behind takes less",
        ),
        "seawall.wire.frames.decoder.FrameDecoder": (17, "one pure parser: how far it is in a frame, and in a message"),
    },
}

#: What exceeds a bound today, and how it will end. The list only shrinks: a number above what is needed is an error.
OFFENDERS: Accepted = {}

#: Public classes: their attributes and methods are the API, which is as large as its users need it.
PUBLIC = ("seawall.app.App", "seawall.connection.connection.Connection")

#: The modules whose callables are counted: what one connection is made of, below its handler.
CONNECTION = re.compile(r"seawall\.(wire|connection|lifecycle|deadlines|timeouts|leases|sessions)\.")

SILENCER = re.compile(r"(?:type|pyright): *ignore(\[[\w, -]+\])?|noqa(: *[A-Z]+[0-9]+(?:, *[A-Z]+[0-9]+)*)?")
#: Methods of text that take any white space of Unicode where no separator is named.
SEPARATING = {"strip", "lstrip", "rstrip", "split", "rsplit"}
POSTPONED = re.compile(r"\b(TODO|FIXME|XXX)\b(?!: \w+ \w+)")

#: Tokens that make no line a line of code.
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

#: Classes that derive from these have no state that changes.
VALUES = {"typing.NamedTuple", "typing.TypedDict", "enum.Enum", "enum.IntEnum", "enum.StrEnum", "enum.Flag"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


class Measure(NamedTuple):
    """What was counted."""

    rule: str
    module: str
    name: str
    """Of the module, the class or the function; dotted, as the module is."""
    number: int
    line: int = 1
    detail: str = ""


class Attribute(NamedTuple):
    """One place where an attribute of an instance is declared or assigned."""

    name: str
    annotation: ast.expr | None = None
    """Its own, or the one of the parameter that is assigned."""
    value: ast.expr | None = None


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Comments that silence something, or put it off, without saying what and why."""
    with path.open("rb") as file:
        for token in (token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT):
            said = [part.strip() for part in token.string.split("#")]
            silencers = [found for part in said if (found := SILENCER.match(part))]
            if not all(found[1] or found[2] for found in silencers):
                yield token.start[0], "name the rule that is to be silent: ignore[code], noqa: CODE"
            if silencers and not re.search(r"\w", "".join(SILENCER.sub("", part) for part in said)):
                yield token.start[0], "say why, after another #"
            if POSTPONED.search(token.string):
                yield token.start[0], "a TODO needs a reason: `TODO: what, and why not now`"
            if re.search(r"pragma: *no *(cover|branch)", token.string):
                yield token.start[0], "write the test; what cannot run is left out in pyproject.toml"


def white_space(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Where text is split or stripped without saying at what: in a header or a token white space is SP and HTAB alone.

    Python also takes NEL, NBSP and control bytes for white space, and a cookie whose name begins with one for another.
    """
    called: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEPARATING:
            of_type = isinstance(node.func.value, ast.Name) and node.func.value.id in {"str", "bytes"}
            named = [word.value for word in node.keywords if word.arg in {"sep", "chars"}]
            given = [*node.args[1 if of_type else 0 :], *named][:1]
            called.add(node.func)
            if not given or (isinstance(given[0], ast.Constant) and given[0].value is None):
                yield node.lineno, f'.{node.func.attr}() takes NEL and NBSP for white space too; name it: " \\t"'
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in SEPARATING and node not in called:
            yield node.lineno, f'{ast.unparse(node)} without a call takes any white space; write a function with " \\t"'


class Module:
    """One module, and what its names mean."""

    def __init__(self, name: str, source: str) -> None:
        """Parse it; `name` is dotted."""
        self.name = name
        self.tree = ast.parse(source)
        self.code = code_lines(source, self.tree)
        self._imported: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):  # without `as` the first of the dotted names is bound, to itself
                self._imported |= {alias.asname: alias.name for alias in node.names if alias.asname}
                self._imported |= {first: first for alias in node.names if (first := alias.name.partition(".")[0])}
            elif isinstance(node, ast.ImportFrom):
                self._imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def meaning(self, node: ast.expr) -> str:
        """The dotted name that is used in an expression such as ``Guard[A, B]`` or ``attrs.define(eq=False)``."""
        if isinstance(node, ast.Subscript):
            return self.meaning(node.value)
        if isinstance(node, ast.Call):
            return self.meaning(node.func)
        if isinstance(node, ast.Attribute):
            return f"{self.meaning(node.value)}.{node.attr}"
        return self._imported.get(node.id, f"{self.name}.{node.id}") if isinstance(node, ast.Name) else ""

    def mentions(self, node: ast.expr, names: set[str]) -> bool:
        """Whether one of the dotted `names` is anywhere in an expression."""
        return any(isinstance(one, ast.expr) and self.meaning(one) in names for one in ast.walk(node))


def code_lines(source: str, tree: ast.Module) -> set[int]:
    """The lines that are neither blank nor only a comment or a docstring; what stands below a field is one, too."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and text_of(node.value) is not None:
            found.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = source.splitlines()
    return {line for line in found if lines[line - 1].strip()}


def definitions(node: ast.AST, scope: str) -> Iterator[tuple[str, Definition, ast.AST]]:
    """Every function and class below a node: its dotted name, itself, and what it stands in."""
    for child in ast.iter_child_nodes(node):
        inner = f"{scope}.{child.name}" if isinstance(child, Definition) else scope
        if isinstance(child, Definition):
            yield inner, child, node
        yield from definitions(child, inner)


def methods(kind: ast.ClassDef) -> list[Function]:
    """The functions of a class, among them its properties."""
    return [one for one in kind.body if isinstance(one, Function)]


def attributes(kind: ast.ClassDef) -> Iterator[Attribute]:
    """What is declared in a class about the attributes of its instances, and what its methods assign to them."""
    for node in kind.body:
        if isinstance(node, ast.AnnAssign) and not re.match(r"(typing\.)?ClassVar\b", ast.unparse(node.annotation)):
            yield Attribute(ast.unparse(node.target), node.annotation, node.value)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            yield from (Attribute(slot) for one in ast.walk(node.value) if (slot := text_of(one)) is not None)
    for method in methods(kind):
        arguments = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
        annotations = {argument.arg: argument.annotation for argument in arguments}
        for target, annotation, value in assignments(method):
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                for one in alternatives(value):
                    given = annotations.get(one.id) if isinstance(one, ast.Name) else None
                    yield Attribute(target.attr, annotation or given, one)
                yield Attribute(target.attr, annotation)


def text_of(node: ast.AST) -> str | None:
    """The string that a literal is."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def assignments(method: Function) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """All that is assigned to in a method, with the annotation and the value where there are such."""
    for node in ast.walk(method):
        if isinstance(node, ast.AnnAssign):
            yield node.target, node.annotation, node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    yield from ((one, None, value) for one, value in zip(target.elts, node.value.elts, strict=False))
                yield target, None, node.value
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):  # ``with ... as self.x``
            yield node, None, None


def alternatives(value: ast.expr | None) -> list[ast.expr]:
    """The expressions one of which is the value of ``a or b`` or of ``a if c else b``."""
    if isinstance(value, ast.BoolOp):
        return [one for operand in value.values for one in alternatives(operand)]
    if isinstance(value, ast.IfExp):
        return alternatives(value.body) + alternatives(value.orelse)
    return [] if value is None else [value]


def is_boolean(attribute: Attribute) -> bool:
    """Whether it is declared as one, or given one."""
    declared = attribute.annotation is not None and "bool" in ast.unparse(attribute.annotation).split(" | ")
    value = attribute.value
    negates = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    literal = isinstance(value, ast.Constant) and isinstance(value.value, bool)
    return declared or literal or negates or isinstance(value, ast.Compare)


class Tree:
    """The modules that are measured, by dotted name."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Parse them and find what is callable among their names."""
        self.modules = [Module(name, source) for name, source in sources.items()]
        self.classes = {
            name: (module, one)
            for module in self.modules
            for name, one, _ in definitions(module.tree, module.name)
            if isinstance(one, ast.ClassDef)
        }
        self.callables = self._callables()

    def _callables(self) -> set[str]:
        """``Callable``, the aliases of it, and the protocols of a call."""
        found = {"collections.abc.Callable", "typing.Callable"}
        for name, (module, kind) in self.classes.items():
            if is_protocol(module, kind) and any(method.name == "__call__" for method in methods(kind)):
                found.add(name)
        known = 0
        while known < len(found):
            known = len(found)
            for module in self.modules:
                found |= {f"{module.name}.{alias}" for alias, value in aliases(module) if module.mentions(value, found)}
        return found

    def lineage(self, name: str) -> Iterator[tuple[Module, ast.ClassDef]]:
        """A class and those of its bases that are in the tree."""
        if name in self.classes:
            module, kind = self.classes[name]
            yield module, kind
            for base in kind.bases:
                yield from self.lineage(module.meaning(base))

    def is_value(self, name: str) -> bool:
        """Whether instances of a class cannot change, or are exceptions, or there are none."""
        module, kind = self.classes[name]
        bases = [(above, base) for above, one in self.lineage(name) for base in one.bases]
        return (
            is_protocol(module, kind)
            or any(is_frozen(module, mark) for mark in kind.decorator_list)
            or any(above.meaning(base) in VALUES or is_exception(base) for above, base in bases)
        )

    def measures(self) -> Iterator[Measure]:
        """Everything that a rule is about."""
        for module in self.modules:
            yield Measure("code", module.name, module.name, len(module.code))
            for name, one, around in definitions(module.tree, module.name):
                if isinstance(one, Function):
                    yield from in_function(module, name, one, is_method=isinstance(around, ast.ClassDef))
                elif name not in PUBLIC and not self.is_value(name):
                    yield from self._in_class(module, name, one)
        stored = sorted({f"{name}.{one}" for name in self.classes for one in self._stored(name)})
        yield Measure("callables", "seawall", "seawall", len(stored), detail=", ".join(stored))

    def _in_class(self, module: Module, name: str, kind: ast.ClassDef) -> Iterator[Measure]:
        family = [one for _, one in self.lineage(name)]
        functions = {method.name for one in family for method in methods(one)}
        found = [attribute for one in family for attribute in attributes(one) if attribute.name not in functions]
        named = sorted({attribute.name for attribute in found})
        booleans = sorted({attribute.name for attribute in found if is_boolean(attribute)})
        yield Measure("attributes", module.name, name, len(named), kind.lineno, ", ".join(named))
        yield Measure("booleans", module.name, name, len(booleans), kind.lineno, ", ".join(booleans))
        yield Measure("methods", module.name, name, len(functions), kind.lineno)

    def _stored(self, name: str) -> Iterator[str]:
        """The attributes of a class of the connection's modules that hold something to call."""
        module, kind = self.classes[name]
        if CONNECTION.match(name):
            for attribute in attributes(kind):
                if attribute.annotation is not None and module.mentions(attribute.annotation, self.callables):
                    yield attribute.name


def in_function(module: Module, name: str, function: Function, *, is_method: bool) -> Iterator[Measure]:
    """What is counted in a function; self and cls are no parameters."""
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    yield Measure("parameters", module.name, name, len(given) - (is_method and not static), function.lineno)
    body = range(function.body[0].lineno, (function.end_lineno or 0) + 1)
    yield Measure("body", module.name, name, len(module.code.intersection(body)), function.lineno)


def is_protocol(module: Module, kind: ast.ClassDef) -> bool:
    """Whether it is a protocol, which has no instances of its own."""
    return any(module.meaning(base) == "typing.Protocol" for base in kind.bases)


def is_frozen(module: Module, mark: ast.expr) -> bool:
    """Whether a decorator makes values of a class."""
    asked = isinstance(mark, ast.Call) and any(ast.unparse(keyword) == "frozen=True" for keyword in mark.keywords)
    return asked or module.meaning(mark) == "attrs.frozen"


def is_exception(base: ast.expr) -> bool:
    """Whether it is an exception of Python's own."""
    kind: object = getattr(builtins, ast.unparse(base), None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def aliases(module: Module) -> Iterator[tuple[str, ast.expr]]:
    """The names that a module gives to types, and the types."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            yield from ((ast.unparse(target), node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign) and node.value and module.meaning(node.annotation) == "typing.TypeAlias":
            yield ast.unparse(node.target), node.value


def judge(measures: Iterable[Measure], *tables: Accepted) -> Iterator[tuple[Measure | None, str]]:
    """What exceeds its bound and is not accepted, and what is accepted without need."""
    accepted = {
        (rule, name): number
        for table in tables
        for rule, entries in table.items()
        for name, (number, _) in entries.items()
    }
    for measure in measures:
        rule, name, number = measure.rule, measure.name, measure.number
        bound, said = RULES[rule]
        if number <= bound:
            continue
        most = accepted.pop((rule, name), bound)
        if number > most:
            yield (
                measure,
                said.format(**measure._asdict(), bound=bound) + (f" ({most} accepted)" if most > bound else ""),
            )
        elif number < most:
            yield measure, f"{name} is down to {number} ({rule}); write that in place of {most} in tests/house.py"
    for (rule, name), most in accepted.items():
        yield None, f"{name} needs no exception any more ({rule}: {most}); remove it"


def main() -> int:
    """Print what breaks a rule; 1 if anything does."""
    modules = {dotted(path): path for path in sorted(ROOT.joinpath("src").rglob("*.py"))}
    others = [path for top in ("tests", "examples", "benchmarks") for path in sorted(ROOT.joinpath(top).rglob("*.py"))]
    found = [(path, *one) for path in (*modules.values(), *others, ROOT / "noxfile.py") for one in comments(path)]
    tree = Tree({name: path.read_text(encoding="utf-8") for name, path in modules.items()})
    for measure, said in judge(tree.measures(), EXCEPTIONS, OFFENDERS):
        found.append((modules[measure.module], measure.line, said) if measure else (Path(__file__), 1, said))
    found += [(modules[one.name], *said) for one in tree.modules for said in white_space(one.tree)]
    found += [(Path(__file__), 1, f"there is no {name}") for name in PUBLIC if name not in tree.classes]
    sys.stdout.writelines(f"{path.relative_to(ROOT)}:{line}: {said}\n" for path, line, said in found)
    return 1 if found else 0


def dotted(path: Path) -> str:
    """The name of the module in a file."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


if __name__ == "__main__":
    sys.exit(main())
