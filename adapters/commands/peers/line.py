"""One line of what a benchmark measured: ours, a peer's from the same run, the goal and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Line"]

VERDICTS = {True: "met", False: "MISSED", None: "-"}


@dataclass(frozen=True, slots=True)
class Line:
    """`ratio` is ours over theirs. `met` is None where nothing was to be met or the peer is not there to judge by."""

    bench: str
    case: str
    ours: float
    unit: str
    peer: str = ""
    value: float | None = None
    goal: str = ""
    met: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return round(self.ours / self.value, 3) if self.value else None

    def to_json(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "case": self.case,
            "ours": round(self.ours, 3),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": None if self.value is None else round(self.value, 3),
            "ratio": self.ratio,
            "goal": self.goal,
            "met": self.met,
            "settings": dict(self.settings),
        }

    def __str__(self) -> str:
        shown = "-" if self.value is None else f"{self.value:.2f}"
        multiple = "" if self.ratio is None else f"x{self.ratio}"
        measured = f"{self.case:40} {self.ours:10.2f} {self.unit:6}"
        return f"{measured} {self.peer:32} {shown:>10} {multiple:11} {self.goal:14} {VERDICTS[self.met]}"
