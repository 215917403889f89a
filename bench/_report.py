"""How benchmarks say what they measured: a table for people, one JSON object a line for programs."""

from __future__ import annotations

import json
from typing import Any

from adapters.commands.peers.line import Line
from adapters.commands.peers.rounds import percentile

__all__ = ["Report", "percentile"]


class Report:
    """Prints each case as it is known. `met` is None where a goal could not be judged: the peer is not installed."""

    def __init__(self, bench: str, as_json: bool, **settings: Any) -> None:
        self.bench = bench
        self.as_json = as_json
        self.settings = settings
        self.missed = 0

    def add(
        self,
        case: str,
        ours: float,
        unit: str,
        peer: str = "",
        value: float | None = None,
        goal: str = "",
        met: bool | None = None,
        **settings: Any,
    ) -> None:
        self.say(Line(self.bench, case, ours, unit, peer, value, goal, met, {**self.settings, **settings}))

    def absent(self, case: str, peer: str, goal: str = "") -> None:
        self.add(case, 0, "", peer=f"{peer} (not installed)", goal=goal)

    def say(self, line: Line) -> None:
        self.missed += line.met is False
        print(json.dumps(line.to_json()) if self.as_json else line, flush=True)
