"""One session for each question that can be asked of this tree; a plain ``nox`` asks what must hold before a push.

What takes longer, and seldom has another answer, has the tag `ci`: ``nox --tags ci``, as `.ci/run` does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.version import Version

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "venv"  # needs nothing but Python; never downloads an interpreter
nox.options.error_on_missing_interpreters = True  # only those that were found are named below

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"

# Modules without I/O: there is no excuse for a branch that no test takes.
PURE = [
    "callables.py",
    "compression.py",
    "entering.py",
    "errors.py",
    "connection/revocations.py",
    "connection/subscriptions.py",
    "connection/ticket.py",
    "exception_groups.py",
    "guards/credential.py",
    "guards/jwt/claims.py",
    "guards/jwt/refresh_schedule.py",
    "guards/jwt/secret.py",
    "guards/jwt/verifier.py",
    "guards/origins.py",
    "guards/token_source.py",
    "handshake.py",
    "http/cookies.py",
    "http/exchange.py",
    "http/hosts.py",
    "http/pages.py",
    "http/request.py",
    "http/response.py",
    "http/upgrade.py",
    "lag.py",
    "lifespan.py",
    "limits.py",
    "login/answers.py",
    "login/clients.py",
    "login/contents.py",
    "login/cookies.py",
    "login/credentials.py",
    "login/device_cookie.py",
    "login/issuer.py",
    "login/memory_sessions.py",
    "login/refresh_token.py",
    "login/session_store.py",
    "login/tries.py",
    "messages/codec.py",
    "messages/decoder.py",
    "messages/encoder.py",
    "messages/fields.py",
    "messages/forms.py",
    "messages/hints.py",
    "messages/limits.py",
    "messages/positions.py",
    "messages/problems.py",
    "messages/records.py",
    "messages/schema.py",
    "messages/shapes.py",
    "messages/shaping.py",
    "messages/tags.py",
    "messages/validators.py",
    "messages/values.py",
    "observability/outcome.py",
    "observability/principals.py",
    "observability/sampling.py",
    "observability/snapshot.py",
    "policy/checks.py",
    "policy/ending.py",
    "policy/error_policy.py",
    "policy/verdicts.py",
    "position.py",
    "printable.py",
    "room_event.py",
    "routing/mounting.py",
    "routing/paths.py",
    "serving/capacity.py",
    "serving/failures.py",
    "topics/keys.py",
    "topics/patterns.py",
    "wire/budget.py",
    "wire/events.py",
    "wire/frames/codes.py",
    "wire/frames/control.py",
    "wire/frames/decoder.py",
    "wire/frames/deflate.py",
    "wire/frames/encoder.py",
    "wire/frames/masking.py",
    "wire/frames/text.py",
    "wire/inbound_budget.py",
    "wire/lateness.py",
    "wire/message_timer.py",
    "wire/state.py",
    "wire/traffic.py",
]

# What measures how long something takes on a whole machine, and is skipped where tests run side by side.
MEASURING = ["tests/login/test_login_storm.py"]

# What reads frames, and so what may differ where the extra `fast` is not installed.
UNMASKING = ["tests/wire", "tests/test_compressed.py", "tests/property/test_frames_property.py"]

SMOKE = """
import pathlib, seawall
inside = pathlib.Path(seawall.__file__).parent
assert (inside / "py.typed").is_file(), "py.typed is missing: users' checkers would ignore our types"
assert any((inside / "demo").rglob("*.html")), "the page of the demo is missing"
"""


def starts(python: str, proof: str) -> bool:
    """Whether it runs and has what `proof` imports: pyenv's shims are there but refuse, Debian's may lack ensurepip."""
    if (path := shutil.which(python)) is None:
        return False
    return subprocess.run([path, "-c", proof], capture_output=True, check=False).returncode == 0


def interpreter(version: str, proof: str = "import ensurepip") -> str | None:
    """An interpreter of this version: from PATH, else the newest of pyenv's, else the one that runs nox."""
    candidates = [f"python{version}"]
    if root := os.environ.get("PYENV_ROOT"):
        installed = Path(root, "versions").glob(f"{version}.*/bin/python")
        newest_first = sorted(installed, key=lambda python: Version(python.parts[-3]), reverse=True)
        candidates += map(str, newest_first)
    if version == RUNNING:
        candidates.append(sys.executable)
    return next((python for python in candidates if starts(python, proof)), None)


FOUND = {version: python for version in SUPPORTED if (python := interpreter(version))} or {RUNNING: sys.executable}
MISSING = [version for version in SUPPORTED if version not in FOUND]
MAIN = next(iter(FOUND))  # the oldest there is: what it accepts, the newer ones do too
EACH = [nox.param(FOUND[one], id=one, tags=[] if one == MAIN else ["ci"]) for one in FOUND]

nox.options.sessions = ["check"]

# A process for each core; who has nothing left to do takes over from the others.
SPREAD = ("-n", "auto", "--dist", "worksteal")

# Two for each core: while slow tests wait, others work.
WAITING = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def floors() -> list[str]:
    """The lowest version that is declared of each direct dependency, those of the extras included."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *chain.from_iterable(extras)]
    declared = [Requirement(line) for line in lines]
    return [f"{one.name}=={clause.version}" for one in declared for clause in one.specifier if clause.operator == ">="]


def concurrent(*places: str) -> list[str]:
    """The modules that wait, or use Trio: flake8-async has nothing to say of the others, but takes long for each."""
    found = chain.from_iterable([one] if one.is_file() else sorted(one.rglob("*.py")) for one in map(Path, places))
    return [str(one) for one in found if re.search(r"\b(async|await|trio)\b", one.read_text(encoding="utf-8"))]


def install(session: nox.Session, *what: str) -> None:
    """Install into the session's environment. Python compiles what is imported; pip would compile all that is there."""
    session.install("--no-compile", *what)
    # Once, even where PYTHONDONTWRITEBYTECODE is set, as in many containers: the tests start hundreds of programs.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.env["PYTHONPYCACHEPREFIX"] = str((session.cache_dir / "bytecode").resolve())


@nox.session(venv_backend="none")
def check(session: nox.Session) -> None:
    """Do all the tests pass on the oldest Python that is here, and, beside them, types and lint? A plain ``nox``."""
    again = (sys.executable, "-m", "nox", *session.posargs, "--session")
    with ThreadPoolExecutor() as beside:
        checks = beside.submit(lambda: session.run(*again, "types", "lint", silent=True))  # printed afterwards
        try:
            session.run(*again, f"tests({MAIN})")
        finally:
            session.log(checks.result())


@nox.session
@nox.parametrize("python", EACH)
def tests(session: nox.Session) -> None:
    """Do all the tests, fast and slow, pass on each Python that is here?"""
    install(session, "-e", ".[fast]", *group("test"))
    if MISSING:
        session.warn(f"not tested, because not on this machine: Python {', '.join(MISSING)}")
    if not session.posargs:  # pytest rewrites the modules of the tests: once here, or else in each of its processes
        session.run("pytest", "--collect-only", "-qq", silent=True)
    session.run("pytest", *(session.posargs or WAITING))


@nox.session(python=FOUND[MAIN], tags=["ci"])
def coverage(session: nox.Session) -> None:
    """Do the fast tests reach each branch of the modules without I/O, and 95 % of all?"""
    install(session, "-e", ".[fast]", *group("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *SPREAD, "-m", "not slow")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    session.run("coverage", "report", "--fail-under=100", "--include=" + ",".join(f"*/seawall/{name}" for name in PURE))


@nox.session(python=FOUND[MAIN], tags=["ci"])
def pure(session: nox.Session) -> None:
    """Does what reads frames pass without the extra `fast` too, so in Python alone?"""
    install(session, "-e", ".[fast]", *group("test"))
    session.run("python", "-m", "pytest", *SPREAD, "-p", "tests.without_speedups", *UNMASKING, *session.posargs)


@nox.session(python=FOUND[MAIN], tags=["ci"])
def quiet(session: nox.Session) -> None:
    """Does what takes time take no more than it may, where no other test runs beside it?"""
    install(session, "-e", ".[fast]", *group("test"))
    session.run("pytest", *(session.posargs or MEASURING))


@nox.session(python=FOUND[MAIN])
def lowest(session: nox.Session) -> None:
    """Do the tests pass with the lowest versions that we declare?"""
    install(session, "-e", ".", *group("test"), *floors())
    session.run("pytest", *(session.posargs or WAITING))


@nox.session(python=FOUND[MAIN])
def fuzz(session: nox.Session) -> None:
    """Is there a conversation, among minutes of them and never the same ones, that the server is wrong about?"""
    install(session, "-e", ".", *group("test"))
    session.run("python", "-W", "error", "-m", "tests.tools.fuzz", *session.posargs)


@nox.session(python=FOUND[MAIN])
def soak(session: nox.Session) -> None:
    """Is a server, after minutes of clients that come, go, stall and flood, what it was?"""
    install(session, "-e", ".", *group("test"))
    session.run("python", "-W", "error", "-m", "tests.tools.soak", *session.posargs)


@nox.session(python=FOUND[MAIN])
def types(session: nox.Session) -> None:
    """Do mypy and pyright, both strict, accept what is right and refuse every mistake in tests/typing?"""
    install(session, "-e", ".", *group("types"))
    with ThreadPoolExecutor() as beside:  # each works on one core
        pyright = beside.submit(
            session.run,
            "pyright",
            *session.posargs,
            env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},  # asks for no newer release
            silent=True,  # but says what is wrong
        )
        session.run("mypy", *session.posargs)
    session.log(pyright.result())


@nox.session(python=FOUND[MAIN])
def lint(session: nox.Session) -> None:
    """Are style, structured concurrency, the levels of imports and the house rules kept? ``-- tests``: in the tests."""
    install(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff")
    # ASYNC9 wants a checkpoint on every path, but cannot see one in a loop or before an error that is dealt with;
    # ASYNC114 wants every startable function listed here, for a rule about nurseries in __aenter__, which we have not;
    # ASYNC124 wants no async function without an await, but an interface may ask for one.
    # The tests, their kit and tools take it longer than all the rest: `.ci/run` asks for these, by `-- tests`.
    code = concurrent(*(session.posargs or ("src", "examples", "benchmarks")))
    if not code:
        session.error(f"no modules in {', '.join(session.posargs)}")
    session.log(f"flake8-async over {len(code)} modules")
    session.run("flake8", "--select=ASYNC", "--disable=ASYNC9,ASYNC114,ASYNC124", *code, log=False)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})
    session.run("python", "tests/house.py")


@nox.session(python=FOUND[MAIN])
def bench(session: nox.Session) -> None:
    """What does Seawall take for the same work as its peers? ``nox -s bench -- --help`` tells how to ask for a part."""
    install(session, "-e", ".[fast]", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=FOUND[MAIN])
def build(session: nox.Session) -> None:
    """Do the wheel and the sdist hold all that an installation needs?"""
    install(session, "build")
    out = Path(session.create_tmp()).resolve()
    shutil.rmtree(out)
    session.run("python", "-m", "build", "--outdir", str(out))
    for made in sorted(out.glob("seawall-*")):
        venv = out / f"venv{made.suffix}"
        session.run("python", "-m", "venv", str(venv))
        binaries = venv / ("Scripts" if os.name == "nt" else "bin")
        session.run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(made), external=True)
        session.run(str(binaries / "python"), "-I", "-c", SMOKE, external=True)
        session.run(str(binaries / "seawall"), "--version", external=True)


@nox.session(python=FOUND[MAIN])
def conformance(session: nox.Session) -> None:
    """Does the Autobahn test-suite find the server strict? ``-- --deflate``: in permessage-deflate too."""
    python2 = interpreter("2.7", "import zlib, ssl")
    if python2 is None:
        session.error("the Autobahn test-suite is written in Python 2: put a python2.7 on PATH, or into pyenv")
    install(session, "-e", ".")
    tmp = Path(session.create_tmp()).resolve()
    suite, report = tmp / "suite", tmp / "report"
    if not (suite / "complete").exists():  # `nox -R` keeps it
        old = tmp / "virtualenv"
        session.run("python", "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(old), "virtualenv<20.22")
        session.run(
            "python", "-m", "virtualenv", "--quiet", "--clear", "-p", python2, str(suite), env={"PYTHONPATH": str(old)}
        )
        session.run(str(suite / "bin" / "pip"), "install", "--quiet", "autobahntestsuite==0.8.2", external=True)
        (suite / "complete").touch()
    shutil.rmtree(report, ignore_errors=True)
    session.run("python", "-m", "tests.conformance", str(suite / "bin"), str(report), *session.posargs)
