"""What is asked of an engine that takes part, and how its Python package is found.

Each is given the policies in the plainest form its own language has for them,
parsed or compiled beforehand, and the requests in the form it takes fastest,
made beforehand too: what is timed is the decision alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any, Protocol

from adapters.commands.peers.workload import Ask, Rule

__all__ = ["Absent", "Entry", "Player", "Refused", "Told", "library"]


class Absent(Exception):
    """The engine's Python package is not installed."""


class Refused(Exception):
    """The engine does not take these policies."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says. `matched`: the policies behind it by id; None where the engine does not name them."""

    permitted: bool
    matched: frozenset[str] | None = None


class Player(Protocol):
    """One engine with its policies loaded. `decide` is timed on what `prepared` made; `told` reads the answer."""

    def prepared(self, ask: Ask) -> Any: ...

    def decide(self, asked: Any) -> Any: ...

    def told(self, answer: Any) -> Told: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine that takes part. `load` raises Absent or Refused; `goals`: by number of policies, how many times
    its rate ours should be."""

    name: str
    distribution: str
    evaluates: str
    load: Callable[[Sequence[Rule]], Player]
    goals: Mapping[int, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name with the version that is installed."""
        if not self.distribution:
            return self.name
        try:
            return f"{self.name} {metadata.version(self.distribution)}"
        except metadata.PackageNotFoundError:
            return self.name


def library(module: str) -> Any:
    """A Python package that is no dependency of ours. Raises Absent."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Absent(module) from error
