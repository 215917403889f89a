"""Statements decided by z3: is there a request for which they hold? (extra `analysis`)

Each variable is two: whether it is present, and its value. Numbers, moments,
clocks and addresses are whole or real numbers; texts are places on a line of
reals that keeps their order (`spir.assurance.proof.places`); what a condition
takes as a whole is a bool. z3 is loaded when a solver is made and not before.

One solver is one z3 context; a question has a bound (`effort`), and what is not
decided within it raises `Undecided`. It never guesses.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import PRESENT, Choice, Domain, Line, Point, Span
from spir.assurance.proof.places import Places
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, All, Related, Statement, Test, Variable, address, opposite
from spir.assurance.proof.terms import tests as leaves
from spir.assurance.proof.world import World
from spir.errors import SpirError

__all__ = ["EFFORT", "Solver", "Undecided", "installed"]

# z3's own measure of work, the same on every machine; a few seconds at most.
EFFORT = 20_000_000
# Should one step of it take long, in milliseconds.
PATIENCE = 10_000

OWN, AROUND = Variable("resource.organization"), Variable("context.organization")


class Undecided(SpirError):
    """The question could not be answered within its bounds, or z3 is not installed."""


def installed() -> bool:
    return importlib.util.find_spec("z3") is not None


class Solver:
    """Questions about the requests of one world."""

    def __init__(self, world: World, effort: int = EFFORT) -> None:
        if not installed():
            raise Undecided("z3 is not installed", hint="install the extra `analysis`")
        import z3

        self._z3 = z3
        self._context = z3.Context()
        self._solver = z3.Solver(ctx=self._context)
        self._solver.set("timeout", PATIENCE)
        self._solver.set("rlimit", effort)
        self._world = world
        self._places = Places()
        self._known: dict[Variable, tuple[Any, Any]] = {}
        self._leaves: dict[Test | Related, Any] = {}
        self._whole: dict[int, tuple[Statement, Any]] = {}
        self._axioms: list[Any] = []
        self._told = 0
        self._given: tuple[Statement, ...] = ()

    # -- asking --

    @contextmanager
    def given(self, *statements: Statement) -> Iterator[None]:
        """While these hold, too."""
        terms = [self._term(statement) for statement in statements]
        self._settle()
        told, before = self._told, self._given
        self._solver.push()
        try:
            self._given = (*before, *statements)
            self._solver.add(*terms)
            yield
        finally:
            self._solver.pop()
            self._given, self._told = before, told  # what was told since is forgotten with it

    def find(self, wanted: Iterable[Statement] = (), unwanted: Iterable[Statement] = ()) -> Box | None:
        """Requests for all of which every one of `wanted` and none of `unwanted` holds; None if there are none.

        Raises Undecided.
        """
        wanted, unwanted = tuple(wanted), tuple(unwanted)
        terms = [self._term(statement) for statement in wanted]
        terms += [self._z3.Not(self._term(statement)) for statement in unwanted]
        self._settle()
        self._solver.push()
        try:
            self._solver.add(*terms)
            answer = self._solver.check()
            if answer == self._z3.sat:
                return self._cell(self._solver.model(), (*self._given, *wanted, *unwanted))
            if answer == self._z3.unsat:
                return None
            raise Undecided(f"z3 did not decide it: {self._solver.reason_unknown()}")
        finally:
            self._solver.pop()

    # -- statements --

    def _term(self, statement: Statement) -> Any:
        """Remembered by identity: the regions of rules are asked about again and again."""
        if isinstance(statement, Test | Related):
            return self._leaf(statement)
        found = self._whole.get(id(statement))
        if found is None:
            found = self._whole[id(statement)] = (statement, self._joined(statement))
        return found[1]

    def _joined(self, statement: Statement) -> Any:
        assert not isinstance(statement, Test | Related)
        parts = [self._term(item) for item in statement.items]
        join = self._z3.And if isinstance(statement, All) else self._z3.Or
        return join(*parts, self._context) if parts else self._bool(isinstance(statement, All))

    def _leaf(self, leaf: Test | Related) -> Any:
        found = self._leaves.get(leaf)
        if found is None:
            made = self._related(leaf) if isinstance(leaf, Related) else self._within(leaf.variable, leaf.domain)
            found = self._leaves[leaf] = made
        return found

    def _within(self, variable: Variable, domain: Domain) -> Any:
        present, value = self._variable(variable)
        if isinstance(domain, Choice):
            inside = self._either([self._is(value, point) for point in sorted(domain.values, key=str)])
            inside = self._z3.Not(inside) if domain.others else inside
        else:
            inside = self._either([self._between(value, span, domain.line) for span in domain.spans])
        if domain.absent:
            return self._z3.Or(self._z3.Not(present), inside)
        return self._z3.And(present, inside)

    def _is(self, value: Any, point: Point) -> Any:
        if isinstance(point, bool):
            return value if point else self._z3.Not(value)
        return value == self._number(self._places.of(str(point)))

    def _between(self, value: Any, span: Span, line: Line) -> Any:
        edges = []
        if span.low is not None:
            low, beyond = self._edge(span.low, line)
            edges.append(value > low if beyond else value >= low)
        if span.high is not None:
            high, beyond = self._edge(span.high, line)
            edges.append(value <= high if beyond else value < high)
        return self._z3.And(*edges, self._context) if edges else self._bool(True)

    def _edge(self, cut: Point, line: Line) -> tuple[Any, bool]:
        """The cut's place; True if it lies directly behind that place."""
        if line is not Line.TEXT:
            assert not isinstance(cut, str)
            return self._number(_exact(cut)) if line is Line.DOUBLE else self._z3.IntVal(int(cut), self._context), False
        place, beyond = self._places.edge(str(cut))
        return self._number(place), beyond

    def _related(self, related: Related) -> Any:
        present, left = self._variable(related.left)
        also, right = self._variable(related.right)
        match related.op:
            case "==":
                holds = left == right
            case "!=":
                holds = left != right
            case "<":
                holds = left < right
            case _:
                holds = left <= right
        return self._z3.And(present, also, holds)

    # -- variables --

    def _variable(self, variable: Variable) -> tuple[Any, Any]:
        """Its presence and its value; what every request keeps to is told once, when it is first named."""
        found = self._known.get(variable)
        if found is None:
            number = len(self._known)
            present = self._z3.Bool(f"p{number}", self._context)
            found = self._known[variable] = (present, self._value(variable, f"v{number}"))
            self._axioms.append(self._within(variable, self._world.universe(variable)))
            if line_of(variable, self._world) is Line.TEXT:
                self._axioms.append(found[1] >= 0)  # no text comes before the empty one
            self._axioms += self._coupled(variable)
        return found

    def _value(self, variable: Variable, name: str) -> Any:
        line = line_of(variable, self._world)
        if line is None:
            return self._z3.Bool(name, self._context)
        sort = self._z3.Real if line in (Line.DOUBLE, Line.TEXT) else self._z3.Int
        return sort(name, self._context)

    def _coupled(self, variable: Variable) -> Iterator[Any]:
        """A map is there if anything in it is; the organisation is the resource's, else the context's, else the
        site's. That a text stands for an address, and a moment for a time of day, is not told: see `Box.example`."""
        above = Variable(variable.path.rpartition(".")[0])
        if variable.node is None and above.path in self._world.maps:
            yield self._z3.Implies(self._variable(variable)[0], self._variable(above)[0])
        if variable == ORGANIZATION:
            whole = self._variable(ORGANIZATION)[1]
            (own, own_text), (around, around_text) = self._variable(OWN), self._variable(AROUND)
            nothing = self._number(self._places.of(""))
            site = whole == self._number(self._places.of(self._world.site.organization))
            own, around = self._z3.And(own, own_text != nothing), self._z3.And(around, around_text != nothing)
            rest = self._z3.If(around, whole == around_text, site)
            yield self._z3.If(own, whole == own_text, rest)

    def _settle(self) -> None:
        """Tell what holds of the variables that were named since."""
        self._solver.add(*self._axioms[self._told :])
        self._told = len(self._axioms)

    # -- answers --

    def _cell(self, model: Any, statements: tuple[Statement, ...]) -> Box:
        """All requests for which each leaf is as true as in the model."""
        domains: dict[Variable, Domain] = {}
        relations: set[Related] = set()
        for leaf in {leaf for statement in statements for leaf in leaves(statement)}:
            true = self._z3.is_true(model.eval(self._leaf(leaf), model_completion=True))
            if isinstance(leaf, Test):
                self._narrow(domains, leaf.variable, leaf.domain if true else leaf.domain.complement())
                continue
            there = [self._there(model, domains, side) for side in (leaf.left, leaf.right)]
            if all(there):
                relations.add(leaf if true else opposite(leaf))
        return Box(self._world, domains, frozenset(relations))

    def _narrow(self, domains: dict[Variable, Domain], variable: Variable, domain: Domain) -> None:
        domains[variable] = domains.get(variable, self._world.universe(variable)) & domain

    def _there(self, model: Any, domains: dict[Variable, Domain], variable: Variable) -> bool:
        found = bool(self._z3.is_true(model.eval(self._variable(variable)[0], model_completion=True)))
        self._narrow(domains, variable, PRESENT if found else PRESENT.complement())
        return found

    # -- small terms --

    def _either(self, terms: list[Any]) -> Any:
        return terms[0] if len(terms) == 1 else self._z3.Or(*terms, self._context) if terms else self._bool(False)

    def _bool(self, value: bool) -> Any:
        return self._z3.BoolVal(value, self._context)

    def _number(self, value: Fraction) -> Any:
        if value.denominator == 1:
            return self._z3.RealVal(value.numerator, self._context)
        return self._z3.Q(value.numerator, value.denominator, self._context)


_LINES = MappingProxyType(
    {"string": Line.TEXT, "int": Line.INT, "double": Line.DOUBLE, "timestamp": Line.MOMENT, "bool": None}
)


def line_of(variable: Variable, world: World) -> Line | None:
    """What its values are; None for true and false. Of what is neither, only the presence is ever asked about."""
    if variable.node is not None:
        return Line.ADDRESS if variable == address(variable.path) else None
    if variable == CLOCK:
        return Line.CLOCK
    return Line.TEXT if variable == ORGANIZATION else _LINES.get(world.kind(variable.path).type)


def _exact(value: float) -> Fraction:
    """The next double after the greatest one is infinite: that is 2**1024 here."""
    return Fraction(2) ** 1024 if value == math.inf else Fraction(value)
