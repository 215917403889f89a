"""The decision: permit, deny, or conditional on data that is still to come.

A conditional decision carries a residual. Its `condition` is what must be
checked on every row (enforcement). Its `clauses` say the same, or something
weaker, as a disjunction of conjunctions of plain atoms, for adapters to push
into a query (economy): a row that no clause admits, the condition does not
admit either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from spir.model.condition import FALSE, TRUE, Condition
from spir.model.obligation import Obligation
from spir.model.value import Lack, Value, thaw

__all__ = ["Admission", "Atom", "Clause", "Decision", "Effect", "Reason", "Residual", "Tied"]


class Effect(Enum):
    PERMIT = "permit"
    DENY = "deny"
    CONDITIONAL = "conditional"

    __hash__ = object.__hash__  # that of an Enum is a Python function; this is asked once a decision


@dataclass(frozen=True, slots=True)
class Atom:
    """`attribute op value`. op: == != < <= > >= in (value: tuple) between (value: two, inclusive) has (value: bool)."""

    attribute: str
    op: str
    value: Value

    def to_json(self) -> dict[str, Any]:
        return {"attribute": self.attribute, "op": self.op, "value": thaw(self.value)}


@dataclass(frozen=True, slots=True)
class Clause:
    """A conjunction of atoms, with the policies it comes from.

    `exact` is False where a part of the condition has no atom: then the clause
    admits more than the condition, and the check of each row does the rest.
    """

    atoms: tuple[Atom, ...]
    policies: tuple[str, ...] = ()
    exact: bool = True

    def allowed(self, attribute: str) -> frozenset[Value] | None:
        """The constants `attribute` must be one of; None if this clause does not bound it so."""
        found: frozenset[Value] | None = None
        for atom in self.atoms:
            if atom.attribute != attribute or atom.op not in ("==", "in"):
                continue
            value = atom.value if atom.op == "in" and isinstance(atom.value, tuple) else (atom.value,)
            found = frozenset(value) if found is None else found & frozenset(value)
        return found


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left to be enforced on data."""

    condition: Condition
    clauses: tuple[Clause, ...]

    def allowed(self, attribute: str) -> frozenset[Value] | None:
        """All constants that `attribute` can have in an admitted row; None if it is not bounded.

        The empty set means that nothing can match: a writer must then ask the
        peer nothing at all, never ask it for everything.
        """
        found: frozenset[Value] = frozenset()
        for clause in self.clauses:
            values = clause.allowed(attribute)
            if values is None:
                return None
            found |= values
        return found


ADMIT_ALL = Residual(TRUE, (Clause(()),))
ADMIT_NONE = Residual(FALSE, ())


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in one line: `code` for programs, `policy` and `layer` where one policy is the cause."""

    code: str
    text: str
    policy: str = ""
    layer: str = ""

    def to_json(self) -> dict[str, Any]:
        body = {"code": self.code, "text": self.text, "policy": self.policy, "layer": self.layer}
        return {key: value for key, value in body.items() if value}


@dataclass(frozen=True, slots=True)
class Tied:
    """An obligation that depends on the row: it binds unless `condition` turns out false."""

    condition: Condition
    obligation: Obligation


@dataclass(frozen=True, slots=True)
class Decision:
    """The whole answer. `valid_until` is the earliest moment at which it could change by itself."""

    effect: Effect
    operation: str
    residual: Residual = ADMIT_NONE
    obligations: tuple[Obligation, ...] = ()
    tied: tuple[Tied, ...] = ()
    advice: tuple[Obligation, ...] = ()
    matched: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    unknowns: tuple[Lack, ...] = ()
    bundle: str = ""
    facts: int = 0
    valid_until: datetime | None = None
    labels: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Permitted without any further condition."""
        return self.effect is Effect.PERMIT

    @property
    def denied(self) -> bool:
        return self.effect is Effect.DENY

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "effect": self.effect.value,
            "operation": self.operation,
            "obligations": [item.to_json() for item in self.obligations],
            "advice": [item.to_json() for item in self.advice],
            "matched": list(self.matched),
            "reasons": [item.to_json() for item in self.reasons],
            "unknowns": [str(item) for item in self.unknowns],
            "bundle": self.bundle,
            "facts": self.facts,
            "valid_until": self.valid_until.isoformat() if self.valid_until else None,
        }
        if self.effect is Effect.CONDITIONAL:
            body["residual"] = [
                {
                    "all": [atom.to_json() for atom in clause.atoms],
                    "policies": list(clause.policies),
                    "exact": clause.exact,
                }
                for clause in self.residual.clauses
            ]
        return body


@dataclass(frozen=True, slots=True)
class Admission:
    """What a ruling says of one row: whether it may be shown, and what must be done to it first."""

    admitted: bool
    obligations: tuple[Obligation, ...] = ()
