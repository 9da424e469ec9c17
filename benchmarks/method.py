"""How it was measured, and on what: both stand beside the numbers."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "seawall",
    "trio",
    "trio-websocket",
    "wsproto",
    "websockets",
    "hypercorn",
    "aiohttp",
    "uvicorn",
    "starlette",
    "uvloop",
    "picows",
    "attrs",
    "msgspec",
    "fastapi",
    "pydantic",
    "cattrs",
)

METHOD = """\
Each server is a process of its own on one core, the client is on another. Counted is the CPU time of the server, of
all its threads, between two moments well inside the work. Each server does each work once a round, one right after
the other, in processes that are new in each round; what is printed is the median of the rounds, and ratios are those
of the medians.

No server is measured cold. Before anything counts, 64 clients have connected to it, echoed messages of 64 bytes to 64
KiB, and vanished with a reset, every second one in the middle of a message of 1 MiB. It matters: an asyncio server on
glibc can take twice as much until the first big buffer has been freed, which such a client sees to.

In every measured round every answer is compared with what it has to be, byte by byte, and what each connection sends
differs from what the others send. Messages are text unless the row says binary. A broadcast goes to 500 subscribers,
each of them checked, by what each library has that is cheapest: `send_nowait` in Seawall, `broadcast()` in
websockets, one send after another in the others, which waits for a subscriber that does not read; with a task for
each of them, which does not, it is a row of its own. In the storm 2,000 clients arrive evenly within a second; one is
served when it has had its first echo. A busy connection has talked twice in five seconds, 1 KiB each time.

A publish is the same broadcast at a pace that all servers keep, 25 messages a second to 500 subscribers or 4 to
5,000; in Seawall by a topic, so that nobody waits for a subscriber that does not read, in the others by a loop. Beside
a room of 3,000 subscribers that get 10 messages a second, a client in a process of its own echoes; counted is how long
one echo in a hundred takes or longer, the best of three tries, in Seawall alone: with a topic, and with a loop over
`send_nowait` that never lets anybody else have a turn. 100 subscribers stop reading while 1,000 messages of 4 KiB a
second are published: counted is the memory of the process beyond what it had before, for each of them.

All servers have their defaults, but for the backlog of the listening socket, which is the same for all; logging is
off everywhere, and the client offers no compression. `websockets`, `aiohttp` and `uvicorn` (with `websockets-sansio`)
run on asyncio; uvicorn and the column with its name on uvloop, hypercorn in its Trio worker. Seawall is installed
with its extra `fast`: masks are applied by the C module of `websockets`, as websockets does itself.

Typed messages are about 100 bytes of JSON, on connections that a JWT has let in: decoded into an object, validated
(two fields have a longest length, one of them a shortest, and a number is not negative) and encoded again. Unknown
fields are refused, and a message that is wrong is answered and not fatal. FastAPI does it with pydantic, which reads
and writes the JSON itself, on uvicorn with `websockets-sansio`, on asyncio and on uvloop. It does the same in the
row of Structs, so how much its two numbers differ says how exact they are. An event has no `ref`.
Decoding alone has no server: each library is a process that decodes and validates one message 100,000 times. cattrs
is there as fast as it is while it refuses unknown fields: `detailed_validation=False`, the hook of the class instead
of the converter, a decoder of msgspec, and a message without a `type`, which is one field less.
"""


def origin() -> str:
    """When it was measured, by which command, on what machine, and with which versions."""
    command = shlex.join(["python", "-m", "benchmarks", *(each for each in sys.argv[1:] if each != "--write")])
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{time.strftime('%Y-%m-%d', time.gmtime())}, `{command}`, on {machine()}; {versions}.\n"


def machine() -> str:
    """Processor, cores, kernel, C library and Python."""
    cores = os.cpu_count() or 1
    parts = [
        _processor(),
        f"{cores} core{'s' if cores > 1 else ''}",
        f"{platform.system()} {platform.release()}",
        " ".join(platform.libc_ver()).strip(),
        f"{platform.python_implementation()} {platform.python_version()}",
    ]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
