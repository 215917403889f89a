"""What policy tests have tried: whether each policy ever held, and each atom was true, false and unknown.

The percentage counts three goals: every policy held once, every atom was true
once, and false once. "Unknown" is reported and not counted, for some atoms are
always decided. The same policy met in several tests is one policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from spir.engine.explain import LayerTrace, atoms_of
from spir.engine.ruleset import RuleSet
from spir.language.printer import to_cel
from spir.model.condition import Literal
from spir.model.policy import Policy

__all__ = ["TRUTHS", "Coverage", "Covered", "Tally"]

TRUTHS = ("true", "false", "unknown")


@dataclass(frozen=True, slots=True)
class Covered:
    """One policy: whether its condition held in any case, and the truths that each of its atoms had."""

    id: str
    place: str
    met: int
    held: bool
    atoms: tuple[tuple[str, frozenset[str]], ...]

    def gaps(self) -> Iterator[str]:
        """What no case has tried, in words."""
        if not self.held:
            yield "never holds" if self.met else "is in no case"
        if self.met:
            for text, seen in self.atoms:
                missing = [truth for truth in ("true", "false") if truth not in seen]
                if missing:
                    yield f"`{text}` is never {' nor '.join(missing)}"


@dataclass(frozen=True, slots=True)
class Coverage:
    policies: tuple[Covered, ...]

    @property
    def percent(self) -> float:
        """100 where there is nothing to cover."""
        goals = len(self.policies) + 2 * self.atoms
        reached = sum(one.held for one in self.policies) + self.seen("true") + self.seen("false")
        return 100.0 * reached / goals if goals else 100.0

    @property
    def atoms(self) -> int:
        return sum(len(one.atoms) for one in self.policies)

    def seen(self, truth: str) -> int:
        """How many atoms had this truth."""
        return sum(truth in seen for one in self.policies for _, seen in one.atoms)

    def lines(self) -> Iterator[str]:
        held = sum(one.held for one in self.policies)
        atoms = ", ".join(f"{truth} {self.seen(truth)}/{self.atoms}" for truth in TRUTHS)
        yield f"coverage: {self.percent:.1f} %   policies {held}/{len(self.policies)}, atoms {atoms}"
        for one in self.policies:
            yield from (f"  {one.place}: {one.id} {gap}" for gap in one.gaps())

    def to_json(self) -> dict[str, Any]:
        return {
            "percent": round(self.percent, 2),
            "policies": [
                {
                    "id": one.id,
                    "at": one.place,
                    "met": one.met,
                    "held": one.held,
                    "atoms": [{"text": text, **{truth: truth in seen for truth in TRUTHS}} for text, seen in one.atoms],
                }
                for one in self.policies
            ],
        }


@dataclass(slots=True)
class _Seen:
    policy: Policy
    met: int = 0
    held: bool = False
    atoms: dict[str, set[str]] = field(default_factory=dict)


class Tally:
    """Collects what cases show. `watch` every rule set that is tested, then `note` what was traced with it."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def watch(self, rules: RuleSet) -> None:
        for rule in rules.every:
            policy = rule.policy
            texts = (to_cel(atom) for atom in atoms_of(policy.when) if not isinstance(atom, Literal))
            seen = _Seen(policy, atoms={text: set() for text in texts})
            self._seen.setdefault((_place(policy), policy.id), seen)

    def note(self, layers: Iterable[LayerTrace]) -> None:
        for trace in (policy for layer in layers for policy in layer.policies):
            seen = self._seen[trace.place, trace.id]
            seen.met += 1
            seen.held = seen.held or trace.truth == "true"
            for atom in trace.atoms:
                if atom.text in seen.atoms:  # a deferred category adds atoms that nobody wrote
                    seen.atoms[atom.text].add(atom.truth if atom.truth in TRUTHS else "unknown")

    def coverage(self) -> Coverage:
        return Coverage(tuple(self._covered(place, seen) for (place, _), seen in self._seen.items()))

    def _covered(self, place: str, seen: _Seen) -> Covered:
        atoms = tuple((text, frozenset(truths)) for text, truths in seen.atoms.items())
        return Covered(seen.policy.id, place, seen.met, seen.held, atoms)


def _place(policy: Policy) -> str:
    return str(policy.location) if policy.location else ""
