"""Counters and their Prometheus text (exposition format 0.0.4). Pure: no clock, no registry, no globals.

A child is made once and bound where it counts, so that counting costs one
addition: `counter.value += 1`. Everything runs on one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from adapters.authzen.port import Measure

__all__ = ["BOUNDS", "CONTENT_TYPE", "Counter", "Counters", "Histogram", "exposition"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# Seconds; the last two of the source's figures, 1.8 ms and 12.4 ms, fall between bounds of their own.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0018, 0.0025, 0.005, 0.0124, 0.025, 0.05, 0.1, 0.25, 1.0)

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Counter:
    """Only ever grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Histogram:
    """How many observations lie at or below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def below(self) -> Iterator[tuple[str, int]]:
        """(bound, observations at or below it), the last bound `+Inf`."""
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total


class Counters:
    """The children of one metric, by the values of its labels. `most`: beyond, values count as "other"."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], most: int = 64) -> None:
        self.name, self.help, self.labels, self.most = name, help, labels, most
        self.children: dict[tuple[str, ...], Counter] = {}

    def child(self, *values: str) -> Counter:
        found = self.children.get(values)
        if found is None:
            values = values if len(self.children) < self.most else ("other",) * len(self.labels)
            found = self.children.setdefault(values, Counter())
        return found


def exposition(
    counters: Iterable[Counters],
    histograms: Mapping[str, tuple[str, Mapping[str, Histogram]]],
    measures: Iterable[Measure],
) -> bytes:
    """All of it as text. `histograms`: name -> (help, children by the value of the label `operation`)."""
    lines: list[str] = []
    for family in counters:
        lines += _head(family.name, family.help, "counter")
        for values, counter in family.children.items():
            lines.append(_line(family.name, dict(zip(family.labels, values, strict=True)), counter.value))
    for name, (help, children) in histograms.items():
        lines += _head(name, help, "histogram")
        for operation, histogram in children.items():
            lines += _histogram(name, {"operation": operation}, histogram)
    lines += _measured(measures)
    return ("\n".join(lines) + "\n").encode()


def _measured(measures: Iterable[Measure]) -> Iterator[str]:
    families: dict[str, list[Measure]] = {}
    for measure in measures:
        families.setdefault(measure.name, []).append(measure)
    for name, members in families.items():
        yield from _head(name, members[0].help, members[0].kind)
        yield from (_line(name, member.labels, member.value) for member in members)


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    for bound, count in histogram.below():
        yield _line(f"{name}_bucket", {**labels, "le": bound}, count)
    yield _line(f"{name}_sum", labels, histogram.sum)
    yield _line(f"{name}_count", labels, histogram.count)


def _head(name: str, help: str, kind: str) -> list[str]:
    said = help.replace("\\", r"\\").replace("\n", r"\n")
    return [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    given = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"{name}{{{given}}} {value}" if given else f"{name} {value}"
