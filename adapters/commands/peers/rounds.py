"""Rates and waits of several engines, measured in turns.

In each round every engine has one turn, so that whatever else the machine does
falls on all of them. A rate is taken by processor time, which other work
disturbs least, and by the clock; a median of the rounds is what counts. Waits
are single decisions by the clock, in rounds of their own.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

__all__ = ["ENOUGH", "FEWEST", "TICK", "Turns", "percentile", "race"]

FEWEST = 4  # requests to a turn, however slow the engine is
TICK = 1e-6  # no clock of processor time is finer
ENOUGH = 100  # requests, for a 99th percentile to mean something


@dataclass
class Turns:
    """One engine's turns: rates by round, and its waits in microseconds."""

    decide: Callable[[Any], Any]
    asked: Sequence[Any]
    repeat: int = 1
    loaded: float = 0.0
    cpu_rates: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)

    @classmethod
    def fitted(
        cls, decide: Callable[[Any], Any], asked: Sequence[Any], seconds: float, turn: float, loaded: float = 0.0
    ) -> Turns:
        """So many requests to a turn as take about `turn` seconds, where all of them took `seconds`."""
        share = turn / seconds
        count = min(len(asked), max(FEWEST, int(len(asked) * share)))
        return cls(decide, asked[:count], max(1, int(share)), loaded)

    @property
    def rate(self) -> float:
        """Decisions to a second of processor time."""
        return statistics.median(self.cpu_rates)

    @property
    def wall_rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def p50(self) -> float:
        return statistics.median(self.p50s)

    @property
    def p99(self) -> float:
        return statistics.median(self.p99s)

    def take(self) -> None:
        decide, asked = self.decide, self.asked
        begun, spent = perf_counter(), process_time()
        for _ in range(self.repeat):
            for one in asked:
                decide(one)
        spent, took = max(process_time() - spent, TICK), max(perf_counter() - begun, TICK)
        count = len(asked) * self.repeat
        self.cpu_rates.append(count / spent)
        self.rates.append(count / took)

    def wait(self) -> None:
        decide, waits = self.decide, []
        for one in self.asked:
            begun = perf_counter_ns()
            decide(one)
            waits.append((perf_counter_ns() - begun) / 1000)
        self.p50s.append(percentile(waits, 0.5))
        self.p99s.append(percentile(waits, 0.99))


def race(all_turns: Sequence[Turns], rounds: int, waiting: Sequence[Turns]) -> None:
    """Let each take its turns; of those that are `waiting` take the waits, too.

    What was loaded is kept out of the garbage collector's way, as the gateway does.
    """
    gc.collect()
    gc.freeze()
    try:
        for _ in range(rounds):
            for turns in all_turns:
                turns.take()
        for _ in range(rounds):
            for turns in waiting:
                turns.wait()
    finally:
        gc.unfreeze()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0.5 is the median."""
    ordered = sorted(values)
    return statistics.median(ordered) if share == 0.5 else ordered[min(int(len(ordered) * share), len(ordered) - 1)]
