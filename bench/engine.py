"""The engine against the peers that are installed: loads, decisions, residuals, reload.

    python bench/engine.py [--quick] [--json]

What is measured and how is told by `adapters.commands.peers`; `spir bench
--peers` runs the same. A reload takes effect as `bench/reload.py` measures it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.commands.peers.cases import EVERYTHING, NOTES, PEERS, PLAIN, QUICK  # noqa: E402
from adapters.commands.peers.contest import contest  # noqa: E402
from bench import reload  # noqa: E402
from bench._report import Report  # noqa: E402

EACH = 50  # policies to a role


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer cases, requests and rounds: under 45 seconds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = Report("engine", arguments.json)
    for line in contest(QUICK if arguments.quick else EVERYTHING, (PLAIN, *PEERS)):
        report.say(line)
    runs, roles = (3, 20) if arguments.quick else (7, 200)
    asyncio.run(reload.run(report, runs, roles, EACH))
    if not arguments.json:
        print("", *NOTES, sep="\n")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
