"""The ``seawall`` command: its parser. Each of its commands is a module."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import final

from seawall.cli.demo import DemoOptions, add_demo_options, run_demo
from seawall.cli.token import add_token_options, run_token


@final
class _Options(DemoOptions):
    """What the command line said."""

    version: bool
    command: str | None
    token: str
    """What to do with a token."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status.

    Args:
      argv: the arguments without the program's name; None takes those of the process.

    Raises:
      SystemExit: with status 2 when the arguments make no sense, with 0 after ``--help``.
    """
    parser = _parser()
    options = parser.parse_args(argv, namespace=_Options())
    if options.version:
        print(f"seawall {version('seawall')}")
        return 0
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    return run_token(options.token, options) if options.command == "token" else run_demo(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="seawall", description="WebSocket applications on Trio.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="serve an echo, a session behind a token, and a page to try both",
        description="Serve an echo, a session behind a token, and a page to try both. Ctrl-C stops.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_demo_options(demo)
    add_token_options(
        commands.add_parser(
            "token",
            help="issue a token for development, or say what is in one",
            description="Issue a token for development, or say what is in one.",
        )
    )
    return parser
