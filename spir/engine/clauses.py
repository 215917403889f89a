"""Clauses made simple: fewer and shorter ones that admit the very same rows.

An atom that others of its clause imply is left out; a clause that no row can
meet is dropped, equal ones become one, and so does a clause that another one
includes, attribute by attribute. A row is admitted by an atom if it is surely
true of it, so a value of another type is admitted by none.

What is not understood is left as it is: the result may be longer than need
be, never different. The policies of a clause that another includes go with
it: what is left names those that say what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from spir.language.values.operators import COMPARISONS, Invalid, instant
from spir.model.condition import Literal
from spir.model.decision import Atom, Clause
from spir.model.value import Value

__all__ = ["simplified"]

# Beyond this an int and a double may be equal without being the same number.
MAX_EXACT = 2**53

LISTED = frozenset(("==", "in"))
UPPER = frozenset(("<", "<="))
LOWER = frozenset((">", ">="))


def simplified(clauses: Iterable[Clause]) -> tuple[Clause, ...]:
    """The same disjunction with less in it. Order is kept; clauses of equal atoms unite their policies."""
    merged: dict[frozenset[Identity], Clause] = {}
    for clause in clauses:
        short = _shortened(clause)
        if short is not None:
            key = frozenset(map(_identity, short.atoms))
            held = merged.get(key)
            merged[key] = short if held is None else _united(held, short)
    return _without_included(tuple(merged.values()))


# -- one clause ------------------------------------------------------------------------------

Identity: TypeAlias = tuple[str, str, Any]


def _identity(atom: Atom) -> Identity:
    """What tells atoms apart. Python holds `True`, `1` and `1.0` equal, a `Literal` does not."""
    value = atom.value
    kind = value.__class__
    return atom.attribute, atom.op, (kind, value) if kind in _SCALARS else Literal(value)


_SCALARS = frozenset((str, int, bool))  # a pair says as much as a literal, and costs less


def _shortened(clause: Clause) -> Clause | None:
    """The clause without the atoms that others imply; None if no row can meet it."""
    if len({atom.attribute for atom in clause.atoms}) == len(clause.atoms):
        return None if any(atom.op == "in" and atom.value == () for atom in clause.atoms) else clause
    atoms = tuple({_identity(atom): atom for atom in clause.atoms}.values())
    groups = _by_attribute(atoms).values()
    if any(map(_impossible, groups)):
        return None
    kept = {_identity(atom) for group in groups for atom in _needed(group)}
    return replace(clause, atoms=tuple(atom for atom in atoms if _identity(atom) in kept))


def _by_attribute(atoms: Iterable[Atom]) -> dict[str, tuple[Atom, ...]]:
    found: dict[str, tuple[Atom, ...]] = {}
    for atom in atoms:
        found[atom.attribute] = (*found.get(atom.attribute, ()), atom)
    return found


def _needed(group: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Those that the rest does not imply. Of two that say the same, one stays."""
    needed = group
    for atom in group:
        rest = tuple(other for other in needed if other is not atom)
        if rest and _implies(rest, _listed(rest), atom):
            needed = rest
    return needed


def _impossible(group: tuple[Atom, ...]) -> bool:
    """Whether no value meets all of these atoms on one attribute."""
    if _listed(group) == {}:
        return True
    absent = Atom(group[0].attribute, "has", False)
    if absent in group:
        return any(atom != absent for atom in group)
    parts = [part for atom in group for part in _parts(atom)]
    lower = [part for part in parts if part.op in LOWER]
    upper = [part for part in parts if part.op in UPPER]
    return any(_crossed(low, high) for low in lower for high in upper)


def _crossed(low: Atom, high: Atom) -> bool:
    strict = low.op == ">" or high.op == "<"
    return _ordered(low.value, high.value) and _true(">=" if strict else ">", low.value, high.value)


# -- several ---------------------------------------------------------------------------------


def _united(one: Clause, other: Clause) -> Clause:
    """One clause for two of equal atoms. One that is exact makes the other's doubt pointless."""
    return replace(one, policies=tuple(sorted({*one.policies, *other.policies})), exact=one.exact or other.exact)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A clause by attribute, and what each attribute is restricted to."""

    clause: Clause
    groups: Mapping[str, tuple[Atom, ...]]
    listed: Mapping[str, Mapping[Any, Value] | None]

    @classmethod
    def of(cls, clause: Clause) -> _Reading:
        groups = _by_attribute(clause.atoms)
        return cls(clause, groups, {attribute: _listed(group) for attribute, group in groups.items()})

    def lies_in(self, other: _Reading) -> bool:
        """Whether the other clause admits every row that this one does."""
        if not other.groups.keys() <= self.groups.keys():
            return False
        return all(
            _implies(self.groups[atom.attribute], self.listed[atom.attribute], atom) for atom in other.clause.atoms
        )


def _without_included(clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
    if len(clauses) < 2:
        return clauses
    kept = [_Reading.of(clause) for clause in clauses]
    for reading in tuple(kept):
        if any(other is not reading and reading.lies_in(other) for other in kept):
            kept = [other for other in kept if other is not reading]
    return tuple(reading.clause for reading in kept)


# -- atoms on one attribute ------------------------------------------------------------------


def _implies(group: tuple[Atom, ...], listed: Mapping[Any, Value] | None, wanted: Atom) -> bool:
    """Whether every value that meets the group meets the wanted atom, all on one attribute."""
    if listed is not None:
        return _all_meet(listed, wanted)
    if any(_identity(atom) == _identity(wanted) for atom in group):
        return True
    given = [part for atom in group for part in _parts(atom)]
    return all(any(_entails(atom, part) for atom in given) for part in _parts(wanted))


def _parts(atom: Atom) -> tuple[Atom, ...]:
    """`between` as its two bounds; anything else as it is."""
    if atom.op == "between" and isinstance(atom.value, tuple) and len(atom.value) == 2:
        low, high = atom.value
        return Atom(atom.attribute, ">=", low), Atom(atom.attribute, "<=", high)
    return (atom,)


def _listed(group: tuple[Atom, ...]) -> dict[Any, Value] | None:
    """The only values that meet the group, by `_key`; None if they cannot be listed."""
    found: dict[Any, Value] | None = None
    for atom in group:
        if atom.op in LISTED:
            values = _values(atom)
            if values is None:
                return None
            found = values if found is None else {key: value for key, value in found.items() if key in values}
    if found is None:
        return None
    rest = [part for atom in group if atom.op not in LISTED for part in _parts(atom)]
    return {key: value for key, value in found.items() if all(_meets(value, atom) for atom in rest)}


def _values(atom: Atom) -> dict[Any, Value] | None:
    """What an `==` or `in` admits, by `_key`; None where equal and the same are not one."""
    values = atom.value if atom.op == "in" and isinstance(atom.value, tuple) else (atom.value,)
    if all(value.__class__ is str for value in values):  # most are, and ids may be many
        return dict(zip(values, values, strict=True))
    try:
        return {_key(value): value for value in values} if all(map(_is_exact, values)) else None
    except Invalid:
        return None


def _key(value: Value) -> Any:
    if isinstance(value, datetime):
        return "timestamp", instant(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", value
    return value if isinstance(value, str) else (type(value).__name__, value)


def _is_exact(value: Value) -> bool:
    """Whether values like it are equal if and only if they are the same."""
    if isinstance(value, (int, float)):
        return abs(value) < MAX_EXACT
    return isinstance(value, (str, datetime)) or type(value).__name__ == "timedelta"


def _all_meet(listed: Mapping[Any, Value], wanted: Atom) -> bool:
    if wanted.op in LISTED:
        values = _values(wanted)
        return values is not None and listed.keys() <= values.keys()
    return all(_meets(value, part) for part in _parts(wanted) for value in listed.values())


def _meets(value: Value, atom: Atom) -> bool:
    """Whether a value, which is there, surely meets the atom."""
    return atom.value is True if atom.op == "has" else _true(atom.op, value, atom.value)


def _true(op: str, left: Value, right: Value) -> bool:
    try:
        return op in COMPARISONS and COMPARISONS[op](left, right)
    except Invalid:
        return False


def _ordered(left: Value, right: Value) -> bool:
    """Whether the two stand in one order, in which nothing is lost by rounding."""
    return _is_exact(left) and _is_exact(right) and (_true("<=", left, right) or _true(">", left, right))


def _entails(given: Atom, wanted: Atom) -> bool:
    """The same for single atoms of which neither lists its values."""
    if _identity(given) == _identity(wanted):
        return True
    if wanted.op == "has":
        return wanted.value is True and given.op != "has"  # what compares is there
    rule = _ENTAILS.get((given.op, wanted.op))
    return rule is not None and _ordered(given.value, wanted.value) and rule(given.value, wanted.value)


def _order(op: str) -> Callable[[Value, Value], bool]:
    return lambda given, wanted: _true(op, given, wanted)


# (given, wanted) -> what must hold between their constants
_ENTAILS: Mapping[tuple[str, str], Callable[[Value, Value], bool]] = MappingProxyType(
    {
        ("<", "<"): _order("<="),
        ("<", "<="): _order("<="),
        ("<=", "<="): _order("<="),
        ("<=", "<"): _order("<"),
        ("<", "!="): _order("<="),
        ("<=", "!="): _order("<"),
        (">", ">"): _order(">="),
        (">", ">="): _order(">="),
        (">=", ">="): _order(">="),
        (">=", ">"): _order(">"),
        (">", "!="): _order(">="),
        (">=", "!="): _order(">"),
    }
)
