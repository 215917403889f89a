"""`spir bench`: how fast the engine decides here, against its own interpreter or the peers that are installed.

The quick run of `bench/engine.py`, which a checkout has: the same policies,
requests, peers and goals. Exit code 1 says that a goal was missed.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable

from adapters.commands.output import FINDING, OK
from adapters.commands.peers.cases import NOTES, PEERS, PLAIN, QUICK
from adapters.commands.peers.contest import contest
from adapters.commands.peers.line import Line

__all__ = ["bench", "told"]


def bench(arguments: Namespace) -> int:
    entries = (PLAIN, *PEERS) if arguments.peers else (PLAIN,)
    missed = told(contest(QUICK, entries), arguments.json)
    if not arguments.json:
        print("", *NOTES, sep="\n")
    return FINDING if missed else OK


def told(lines: Iterable[Line], as_json: bool) -> int:
    """Print each line as soon as it is measured: a row of a table, or one JSON object. How many missed their goal."""
    missed = 0
    for line in lines:
        print(json.dumps(line.to_json()) if as_json else line, flush=True)
        missed += line.met is False
    return missed
