"""Who takes part in what: the peers, the cases, and how thoroughly they are measured.

What the peers do: all of them try every policy at every request (the scope of
Cedar's policies is tried first, and pycasbin's FastEnforcer looks up the
operation). What we do not do: try all. The lead grows with the number of
policies, and at ten of them it is small.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.commands.peers.casbin import Casbin, FastCasbin
from adapters.commands.peers.cedar import Cedar
from adapters.commands.peers.ours import Plain
from adapters.commands.peers.player import Entry
from adapters.commands.peers.rego import RegoInterpreted, RegoMachine
from adapters.commands.peers.vakt import Vakt

__all__ = ["EVERYTHING", "LARGE", "NOTES", "PEERS", "PLAIN", "QUICK", "SLOW", "Case", "Measure"]

LINEAR = "every policy"

PLAIN = Entry("our reference interpreter", "", LINEAR, Plain)
PEERS = (
    Entry("cedarpy", "cedarpy", LINEAR, Cedar, {1000: 100, 10_000: 1000}),
    Entry("regorus RVM", "gordon-to-regorus", LINEAR, RegoMachine, {1000: 40}),
    Entry("regorus, interpreted", "gordon-to-regorus", LINEAR, RegoInterpreted),
    Entry("vakt", "vakt", LINEAR, Vakt),
    Entry("pycasbin", "casbin", LINEAR, Casbin, {1000: 5000}),
    Entry("pycasbin FastEnforcer", "casbin", "the policies of the operation", FastCasbin),
)
SLOW = ("pycasbin", "pycasbin FastEnforcer", "our reference interpreter", "regorus, interpreted")

LARGE = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    size: int
    partial: bool = False

    @property
    def label(self) -> str:
        return f"{self.kind} {self.size:,}"


@dataclass(frozen=True, slots=True)
class Measure:
    """How thoroughly: rounds, the seconds of one turn, requests, and whether slow peers sit out large cases."""

    cases: tuple[Case, ...]
    rounds: int
    turn: float
    requests: int
    quick: bool = False


QUICK = Measure(
    (Case("idx", 10), Case("idx", 1000, partial=True), Case("idx", 10_000), Case("flat", 1000), Case("flat", 10_000)),
    rounds=5,
    turn=0.05,
    requests=1000,
    quick=True,
)
EVERYTHING = Measure(
    tuple(Case(kind, size, kind == "idx") for kind in ("idx", "flat") for size in (10, 100, 1000, 10_000)),
    rounds=7,
    turn=0.3,
    requests=4000,
)
NOTES = (
    "peers try every policy at every request, ours does not: its lead grows with their number, and is small at 10",
    "ours names the ids of all policies that matched and gives obligations; of the peers cedarpy names policies",
    "rates are by processor time and warm; `each new` is the first time that a request was seen after loading",
)
