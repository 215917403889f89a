"""How benchmarks say what they measured: a table for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

__all__ = ["Report", "percentile"]


class Report:
    """Prints each case as it is known. `met` is None where a goal could not be judged: the peer is not installed."""

    def __init__(self, bench: str, as_json: bool) -> None:
        self.bench = bench
        self.as_json = as_json
        self.missed = 0

    def add(
        self,
        case: str,
        ours: float,
        unit: str,
        *,
        peer: str = "",
        value: float | None = None,
        goal: str = "",
        met: bool | None = None,
        **settings: Any,
    ) -> None:
        ratio = round(ours / value, 3) if value else None
        self.missed += met is False
        if self.as_json:
            row = {"bench": self.bench, "case": case, "ours": round(ours, 3), "unit": unit, "peer": peer}
            row |= {"peer_value": None if value is None else round(value, 3), "ratio": ratio, "goal": goal}
            print(json.dumps({**row, "met": met, "settings": settings}), flush=True)
            return
        verdict = {True: "met", False: "MISSED", None: "-"}[met]
        shown = "-" if value is None else f"{value:.2f}"
        multiple = "" if ratio is None else f"x{ratio}"
        print(f"{case:40} {ours:10.2f} {unit:6} {peer:26} {shown:>9} {multiple:9} {goal:14} {verdict}", flush=True)

    def absent(self, case: str, peer: str, goal: str = "") -> None:
        self.add(case, 0, "", peer=f"{peer} (not installed)", goal=goal)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0.5 is the median."""
    ordered = sorted(values)
    return statistics.median(ordered) if share == 0.5 else ordered[min(int(len(ordered) * share), len(ordered) - 1)]
