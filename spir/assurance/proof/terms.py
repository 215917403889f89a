"""Statements about complete requests, in two-valued logic: what the checks reason about.

A condition is three-valued; what a check asks is not. "Surely true" and "surely
false" of one condition are two statements here, and a request in which an
attribute is absent can satisfy neither. A statement is a tree over tests of one
variable (`Test`) and relations between two (`Related`); everything else in a
condition is a variable of its own kind (`Variable.node`), true, false or absent.

The box arithmetic (`spir.assurance.proof.box`) and the solver
(`spir.assurance.proof.solver`) both take these trees, so that one can be
checked against the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from spir.assurance.proof.domain import Domain
from spir.model.condition import Condition

__all__ = ["ALWAYS", "NEVER", "All", "Any", "Related", "Statement", "Test", "Variable"]


@dataclass(frozen=True, slots=True)
class Variable:
    """An attribute by its path; or, with `node`, a part of a condition that is taken as a whole.

    A variable with a node has the values True and False, and is absent where the part is unknown.
    """

    path: str
    node: Condition | None = None


@dataclass(frozen=True, slots=True)
class Test:
    """The variable's value, or its absence, is within the domain."""

    variable: Variable
    domain: Domain


@dataclass(frozen=True, slots=True)
class Related:
    """Both variables are present and `left op right`; op is one of == != < <=."""

    op: str
    left: Variable
    right: Variable


@dataclass(frozen=True, slots=True)
class All:
    items: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Any:
    items: tuple[Statement, ...]


Statement: TypeAlias = Test | Related | All | Any

ALWAYS = All(())
NEVER = Any(())
