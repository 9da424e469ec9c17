"""The face of the package: what is in it, that it is all there, and that everything public is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import seawall
from seawall import errors
from tests.house import ROOT, dotted

#: What an application imports, by what it is for. A name that is missing here or there is a decision to be made.
PROMISED = [
    "App",
    "run_apps",
    "ConnectionSnapshot",
    "ListeningApp",
    "Server",
    "Provided",
    "Route",
    "AnyRoute",
    "Router",
    "inherited",
    "Guard",
    "Check",
    "guard",
    "check",
    "configure_logging",
    "Gate",
    "public",
    "Anonymous",
    "Connection",
    "Handshake",
    "Request",
    "Response",
    "Cookie",
    "redirect",
    "ErrorPolicy",
    "Refuse",
    "Close",
    "Reply",
    "Ignore",
    "Escalate",
    "Limits",
    "Claims",
    "TokenVerifier",
    "bearer",
    "has_scope",
    "same_origin",
    "any_origin",
    "SeawallError",
    "ConfigurationError",
    "Refused",
    "Unauthorized",
    "NoCredentials",
    "TokenExpired",
    "Forbidden",
    "TooManyRequests",
    "Unavailable",
    "Verdict",
    "Disconnected",
    "JSON",
    "MessagePack",
    "Invalid",
    "InvalidMessage",
    "Events",
]

#: What goes with it: what callables of the policy take, overrides, waivers, further errors.
COMPANIONS = [
    "Outcome",
    "Cause",
    "Party",
    "Considered",
    "Context",
    "Deflate",
    "ErrorReport",
    "Phase",
    "LimitOverrides",
    "HasScopes",
    "any_audience",
    "any_host",
    "any_issuer",
    "AuthTimeout",
    "Draining",
    "IdleTimeout",
    "KeepaliveLost",
    "Kicked",
    "LeaseExpired",
    "RefreshTokenReused",
    "Revoked",
    "Sessions",
    "Credential",
    "LifetimeReached",
    "LimitReached",
    "ProtocolViolation",
    "SlowConsumer",
    "SubscriptionLost",
    "MessageTimeout",
    "TooManyInvalidMessages",
    "EventTimeout",
    "Codec",
    "Fields",
    "Sendable",
    "email",
    "normalised_email",
    "tag",
]

#: What the pages import from elsewhere, or users of the test kit have to name. These paths stay when modules move.
FURTHER = {
    "seawall.testing": [
        "Client",
        "CloseFrame",
        "Closed",
        "MemoryListener",
        "Rejected",
        "Serving",
        "TimedOut",
        "connect",
        "serve",
    ],
    "seawall.rooms": [
        "Change",
        "Disconnect",
        "DropNewest",
        "DropOldest",
        "Gap",
        "Joined",
        "Kicked",
        "Lag",
        "Latest",
        "Left",
        "Member",
        "Membership",
        "People",
        "Position",
        "Presence",
        "PresenceChange",
        "PresenceEvent",
        "Room",
        "RoomEvent",
        "Since",
        "SlowConsumer",
        "Snapshot",
        "Subscribable",
        "Subscription",
        "SubscriptionLost",
        "Topic",
        "Updated",
    ],
    "seawall.sessions": [
        "HeldCredential",
        "Lagged",
        "MemoryRevocations",
        "LoggedIn",
        "LoginLimits",
        "LoginPage",
        "MemorySessions",
        "MemoryTickets",
        "RefreshTokenReused",
        "Reused",
        "Revocation",
        "RevocationStore",
        "Rotated",
        "Rotation",
        "SessionClosed",
        "SessionEvent",
        "SessionInfo",
        "SessionOpened",
        "SessionStore",
        "Sessions",
        "SigningKey",
        "SqliteRevocations",
        "SqliteSessions",
        "SqliteTickets",
        "StoredSession",
        "StoredTicket",
        "TicketStore",
        "Tickets",
        "TokenIssuer",
        "Tokens",
        "limit_connections",
        "login_page",
        "rotate",
    ],
    "seawall.tokens": [
        "JWKS",
        "Algorithm",
        "AnyClaims",
        "At",
        "Claims",
        "FetchFailed",
        "Fetching",
        "HttpsGet",
        "Key",
        "KeyRing",
        "Rules",
        "Service",
        "TicketTaker",
        "TokenSource",
        "TokenVerifier",
        "any_audience",
        "any_issuer",
        "any_tenant",
        "by_issuer",
        "cookie",
        "first_message",
        "has",
        "header",
        "https_get",
        "query",
        "subprotocol",
    ],
}

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
PROGRAMS = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("benchmarks/servers/*.py")])

#: The loggers, whose names look like modules.
LOGGERS = ["seawall.server", "seawall.connection", "seawall.error"]


def modules() -> Iterator[ModuleType]:
    """Every module of the package."""
    yield seawall
    for found in pkgutil.walk_packages(seawall.__path__, "seawall."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


MODULES = list(modules())


def test_all_is_sorted() -> None:
    """Sorted as ruff does it: names in capitals first, then of classes, then of functions; no name twice."""
    assert seawall.__all__ == sorted(set(seawall.__all__), key=lambda name: (not name.isupper(), name))


def test_all_is_what_is_promised() -> None:
    """Every name that is promised is there, and nothing that nobody has decided on."""
    assert set(seawall.__all__) == {*PROMISED, *COMPANIONS}


def test_all_is_imported() -> None:
    """Every name in `__all__` is bound, and every name that is bound is in `__all__`."""
    submodules = {name.removeprefix("seawall.").partition(".")[0] for name in (one.__name__ for one in MODULES)}
    bound = {name for name in vars(seawall) if not name.startswith("_")} - submodules
    assert bound - {"check", "guard"} == set(seawall.__all__) - {"check", "guard"}
    assert all(callable(getattr(seawall, name)) for name in ("check", "guard"))


@pytest.mark.parametrize("path", ["seawall", *FURTHER])
def test_a_face_holds_nothing_else(path: str) -> None:
    """Re-exports and `__all__`: no logic, no import that is not a public name."""
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(path))).read_text(encoding="utf-8"))
    docstring, *statements = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(one, ast.ImportFrom | ast.Assign) for one in statements)
    assert sum(isinstance(one, ast.Assign) for one in statements) == 1


def test_every_error_is_public() -> None:
    """Whatever Seawall raises can be caught by a name from the face."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(seawall.__all__)


@pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])
def test_every_module_is_documented(module: ModuleType) -> None:
    """A module says in its first line what it is for."""
    assert (module.__doc__ or "").partition("\n")[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])
def test_everything_public_is_documented(module: ModuleType) -> None:
    """So does every public class, function, method and property, by itself or by what it implements."""
    assert list(undocumented(module)) == []


def undocumented(module: ModuleType) -> Iterator[str]:
    """The public things of a module that have no docstring."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isroutine(thing) and not inspect.getdoc(thing):
            yield name
        if isinstance(thing, type):
            if not (thing.__doc__ or "").strip() or (thing.__doc__ or "").startswith("Method generated by"):
                yield name
            yield from (f"{name}.{member}" for member in members(thing) if not inspect.getdoc(getattr(thing, member)))


def members(kind: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself."""
    for name, member in vars(kind).items():
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            yield name


@pytest.mark.parametrize("path", FURTHER)
def test_what_else_is_promised(path: str) -> None:
    """It can be imported from where the pages say."""
    assert [name for name in FURTHER[path] if not hasattr(importlib.import_module(path), name)] == []


def test_the_test_kit_is_what_is_promised() -> None:
    """It exports what is listed, and nothing else; all that the client's module defines is for users, and exported."""
    kit, client = (importlib.import_module(name) for name in ("seawall.testing", "seawall.testing.client"))
    bound = {name for name, thing in vars(kit).items() if not (name.startswith("_") or isinstance(thing, ModuleType))}
    assert bound == set(kit.__all__) == set(FURTHER["seawall.testing"])
    defined = {name for name, thing in vars(client).items() if getattr(thing, "__module__", None) == client.__name__}
    assert {name for name in defined if not name.startswith("_")} <= bound


@pytest.mark.parametrize("page", [*PAGES, *PROGRAMS], ids=lambda page: page.name)
def test_pages_import_what_is_promised(page: Path) -> None:
    """What programs import, in the pages and beside them, and what the prose names, is in a list above."""
    text = page.read_text(encoding="utf-8")
    programs = [text] if page.suffix == ".py" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    nodes = [node for program in programs for node in ast.walk(ast.parse(program))]
    used = {(node.module, one.name) for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names}
    promised = {("seawall", name) for name in seawall.__all__}
    promised |= {(path, name) for path, names in FURTHER.items() for name in names}
    assert {(path, name) for path, name in used if (path or "").split(".")[0] == "seawall"} <= promised
    if page.suffix == ".md":
        named = set(re.findall(r"`(seawall\.[\w.]+)", text)) - set(LOGGERS)
        assert named <= {*FURTHER, *(f"{path}.{name}" for path, name in promised)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link leads to what is there; one into the source, to the file that defines what the link names."""
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for label, target in re.findall(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)[^)]*\)", prose):
        file = (page.parent / target).resolve()
        assert file.exists(), target
        if file.suffix == ".py" and ROOT / "src" in file.parents:
            definition = rf"^(class|def|async def) {re.escape(label.strip('`'))}\b"
            defined = re.search(definition, file.read_text(encoding="utf-8"), re.MULTILINE)
            assert defined or label.strip("`") == dotted(file), (label, target)
