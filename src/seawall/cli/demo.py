"""``seawall demo``: its options, and what it prints while the demo is served."""

from __future__ import annotations

import argparse
import math
import sys

import trio

from seawall.demo.serving import Announcement, Settings, serve
from seawall.errors import ConfigurationError
from seawall.observability import logs

#: Seconds of a demo session; a token for longer is nothing that one waits for.
LONGEST_SESSION = 3600.0


class DemoOptions(argparse.Namespace):
    """What the command line said about the demo."""

    host: str
    echo_port: int
    secure_port: int
    session_seconds: float


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add what `DemoOptions` holds to the parser of the command."""
    defaults = Settings()
    parser.add_argument("--host", default=defaults.host, help="the address or name to listen on")
    parser.add_argument(
        "--echo-port", type=_port, default=defaults.echo_port, metavar="PORT", help="page and echo; 0 is any free port"
    )
    parser.add_argument(
        "--secure-port", type=_port, default=defaults.secure_port, metavar="PORT", help="the session; 0 as above"
    )
    parser.add_argument(
        "--session-seconds",
        type=_seconds,
        default=defaults.session_seconds,
        metavar="SECONDS",
        help="how long the page's tokens are good for",
    )


def run_demo(options: DemoOptions) -> int:
    """Serve the demo until SIGINT or SIGTERM, and return the exit status."""
    settings = Settings(
        host=options.host,
        echo_port=options.echo_port,
        secure_port=options.secure_port,
        session_seconds=options.session_seconds,
    )
    logs.configure_logging()
    try:
        trio.run(serve, settings, _announce)
    except ConfigurationError as error:
        print(f"seawall demo: {error} (--host, --echo-port, --secure-port)", file=sys.stderr)
        return 1
    print("\nStopped.")
    return 0


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= LONGEST_SESSION:  # NaN is not between anything
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; give seconds from 1 to {LONGEST_SESSION:.0f}")
    return seconds


def _announce(demo: Announcement) -> None:
    print(
        f"""
Seawall demo

  Page    {demo.page}
  Echo    {demo.echo}    answers "Server received: ..."
  Secure  {demo.secure}    wants a token as the first message

  A token that is good for an hour:
  {demo.valid_token}

  A token that has expired:
  {demo.expired_token}

Open the page in a browser, or send a token with any WebSocket client. Ctrl-C stops.
""",
        flush=True,
    )
