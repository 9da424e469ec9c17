"""Run the Autobahn test-suite against our echo server and judge its report; ``nox -s conformance`` sets it up."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Final, final

import trio
from attrs import frozen

from seawall import App
from tests.conformance.echo import echo_app
from tests.conformance.judge import Cases, differences, read_expected, read_results, table

HERE: Final = Path(__file__).parent

#: What runs in full. 8 and 11 are empty; of 12 and 13 there is a sample.
IN_FULL: Final = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]

#: Seconds for the suite: ten times what it takes on a machine that is not busy.
BOUND: Final = 300
BOUND_DEFLATE: Final = 900


@final
@frozen(kw_only=True)
class Run:
    """What was asked for."""

    binaries: Path
    """Where the suite's own Python is."""
    out: Path
    """Where the reports and the logs go."""
    deflate: bool

    @property
    def log(self) -> Path:
        """What the suite prints."""
        return self.out / "suite.log"

    @property
    def errors(self) -> Path:
        """The failures that the server did not expect."""
        return self.out / "errors.log"


def asked() -> Run:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("binaries", type=Path, help="the directory of the python and the wstest that run the suite")
    parser.add_argument("out", type=Path, help="an empty directory for the reports")
    parser.add_argument(
        "--deflate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the sample of the permessage-deflate cases too",
    )
    given = parser.parse_args()
    binaries: Path = given.binaries
    out: Path = given.out
    return Run(binaries=binaries, out=out, deflate=bool(given.deflate))


def spec(run: Run, url: str, cases: Cases) -> Path:
    """Write down for the suite what to run against which server."""
    sample = [case for case in cases if case.startswith(("12.", "13."))]
    content: dict[str, object] = {
        "outdir": str(run.out),
        "servers": [{"agent": "seawall", "url": url}],
        "cases": [*IN_FULL, *sample],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = run.out / "spec.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


async def ask_suite(run: Run, app: App, cases: Cases) -> None:
    """Serve `app`, and let the suite ask all its questions."""
    python, wstest = run.binaries / "python", run.binaries / "wstest"
    with run.log.open("wb") as log:
        async with trio.open_nursery() as nursery:
            server = await app.start(nursery, port=0)
            path = spec(run, f"{server.addresses[0].url}/", cases)
            with trio.move_on_after(BOUND_DEFLATE if run.deflate else BOUND):
                await trio.run_process(
                    [python, wstest, "--mode", "fuzzingclient", "--spec", path],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            await server.aclose()


def main() -> int:
    """1 if anything is not as expected."""
    run = asked()
    cases = read_expected((HERE / "expected.toml").read_text(encoding="utf-8"), deflate=run.deflate)
    run.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=run.errors, filemode="w", level=logging.ERROR)
    trio.run(ask_suite, run, echo_app(deflate=run.deflate), cases)
    report = run.out / "index.json"
    if not report.exists():
        last = run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        sys.stdout.write("the suite did not finish; the last it said:\n" + "".join(f"  {line}\n" for line in last))
        return 1
    results = read_results(report.read_text(encoding="utf-8"))
    sys.stdout.write(table(cases, results))
    wrong = differences(cases, results)
    if run.errors.stat().st_size:
        wrong.append(f"the server met failures that it did not expect; see {run.errors}")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
