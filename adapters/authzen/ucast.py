"""A residual as a condition tree in the manner of UCAST: `compound` nodes over `field` nodes.

What the tree admits is never less than what the residual admits. A conjunction
with `exact` false admits more: then each row must be asked about once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from spir.model.decision import Atom, Clause, Residual
from spir.model.value import thaw

__all__ = ["condition_tree", "is_exact"]

_OPERATORS: Mapping[str, str] = MappingProxyType(
    {"==": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "in": "in", "has": "exists"}
)


def condition_tree(residual: Residual) -> dict[str, Any]:
    """`{"type": "compound", "operator": "or", "value": [...]}`; no alternatives admit nothing."""
    return {"type": "compound", "operator": "or", "value": [_conjunction(clause) for clause in residual.clauses]}


def is_exact(residual: Residual) -> bool:
    """Whether the tree says all of the residual."""
    return all(clause.exact for clause in residual.clauses)


def _conjunction(clause: Clause) -> dict[str, Any]:
    fields = [field for atom in clause.atoms for field in _fields(atom)]
    tree = {"type": "compound", "operator": "and", "value": fields}
    return {**tree, "policies": list(clause.policies), "exact": clause.exact}


def _fields(atom: Atom) -> list[dict[str, Any]]:
    if atom.op == "between":
        assert isinstance(atom.value, tuple)
        least, most = atom.value
        return [_field("gte", atom.attribute, least), _field("lte", atom.attribute, most)]
    return [_field(_OPERATORS[atom.op], atom.attribute, atom.value)]


def _field(operator: str, name: str, value: Any) -> dict[str, Any]:
    return {"type": "field", "operator": operator, "field": name, "value": thaw(value)}
