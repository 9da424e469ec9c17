"""The house rules that no linter has; ``nox -s lint`` runs this file. CONTRIBUTING.md says what they are."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES, BODY_LINES, PARAMETERS = 400, 40, 4

# Functions that take more parameters, as "module.Class.function", each with its reason. A stale entry is an error.
WIDE = {
    "seawall.app.App.__init__": "what holds for all routes, by keyword",
    "seawall.router.Router.route": "the fields of a Route, by keyword, under a decorator",
    "seawall.testing.connect": "one line in a test: what a client can say in its handshake",
    "seawall.testing._dial": "the same, and the stream",
    "seawall.wire.response.serialized": "the parts of an HTTP answer, by keyword",
}

SILENCER = re.compile(r"(?:type|pyright): *ignore(\[[\w, -]+\])?|noqa(: *[A-Z]+[0-9]+(?:, *[A-Z]+[0-9]+)*)?")
POSTPONED = re.compile(r"\b(TODO|FIXME|XXX)\b(?!: \w+ \w+)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


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


def functions(node: ast.AST, scope: str) -> Iterator[tuple[str, Function, int]]:
    """Every function below a node, with its dotted name and the number of its parameters (self and cls aside)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            given = child.args.posonlyargs + child.args.args + child.args.kwonlyargs
            static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in child.decorator_list)
            yield f"{scope}.{child.name}", child, len(given) - (isinstance(node, ast.ClassDef) and not static)
        inner = f"{scope}.{child.name}" if isinstance(child, Function | ast.ClassDef) else scope
        yield from functions(child, inner)


def shape(module: str, source: str, stale: set[str]) -> Iterator[tuple[int, str]]:
    """Modules, functions and lists of parameters that have grown too long."""
    if (lines := len(source.splitlines())) >= MODULE_LINES:
        yield 1, f"{lines} lines; a module says one thing in fewer than {MODULE_LINES}"
    for name, function, count in functions(ast.parse(source), module):
        first = function.body[ast.get_docstring(function) is not None :][:1]
        if first and (lines := (function.end_lineno or 0) - first[0].lineno + 1) > BODY_LINES:
            yield function.lineno, f"the body of {name} has {lines} lines, more than {BODY_LINES}"
        if count > PARAMETERS and name not in WIDE:
            yield function.lineno, f"{name} takes {count} parameters; more than {PARAMETERS} become a value"
        stale -= {name} if count > PARAMETERS else set()


def main() -> int:
    """Print what breaks a rule; 1 if anything does."""
    modules, stale = sorted(ROOT.joinpath("src").rglob("*.py")), set(WIDE)
    others = [path for top in ("tests", "examples", "benchmarks") for path in sorted(ROOT.joinpath(top).rglob("*.py"))]
    found = [(path, *one) for path in (*modules, *others, ROOT / "noxfile.py") for one in comments(path)]
    for path in modules:
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        found += [(path, *one) for one in shape(module, path.read_text(encoding="utf-8"), stale)]
    found += [(Path(__file__), 1, f"{name} needs no exception any more") for name in sorted(stale)]
    sys.stdout.writelines(f"{path.relative_to(ROOT)}:{line}: {said}\n" for path, line, said in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
