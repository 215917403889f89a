"""The check `unreachable`: permits that nobody can make use of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.terms import Statement, Test, Variable
from spir.assurance.proof.witness import holds
from spir.engine.evaluate import free_attributes
from spir.engine.ruleset import Rule
from spir.model.policy import Kind, OperationPattern
from spir.model.request import Action, Entity, Request

__all__ = ["unreachable"]


def unreachable(examined: Examination) -> Iterator[Finding]:
    """Permits that nobody can make use of, as far as the staff and the protocols are known.

    - **warning** (with a staff directory): nobody in the directory is whom the permit asks
      for: no role, department or permission of anybody fits. Only what the directory knows
      counts; what comes with a token or a certificate could be anything.
    - **note**: no protocol of the gateway asks about the permit's operations, so only callers
      of the decision point can make use of it.

    What the vocabulary itself rules out is found by the check `dead`.

    *Mend:* correct the condition or the directory, or take the permit out.
    """
    permits = examined.of(Kind.PERMIT)
    if examined.surroundings.people is not None:
        yield from _for_nobody(examined, permits, examined.surroundings.people)
    if examined.surroundings.asked is not None:
        asked = _Protocols(examined.surroundings.asked)
        idle = [rule for rule in permits if not asked.about(rule)]
        if idle:
            text = f"no protocol of the gateway asks about what is granted by {names(idle)}"
            mend = "nothing, if callers of the decision point do"
            policies = tuple(map(Named.of, idle))
            yield Finding("unreachable", Severity.NOTE, text, policies, mend=mend, pairs=len(idle))


# -- the staff -------------------------------------------------------------------------------


def _for_nobody(examined: Examination, permits: Sequence[Rule], people: Sequence[Entity]) -> Iterator[Finding]:
    staff = _Staff(examined, people)
    found: dict[frozenset[Statement], list[Rule]] = {}
    for rule in examined.each(permits):
        boxes = examined.region(rule)
        asked = [staff.asked(box) for box in boxes or ()]
        if boxes and not any(staff.fits(each) for each in asked):
            found.setdefault(asked[0], []).append(rule)
    for rules in found.values():
        text = f"nobody in the directory is whom {names(rules)} asks for"
        mend = "correct the condition or the directory, or take the permit out"
        box = (examined.region(rules[0]) or ())[0]
        about = {variable: domain for variable, domain in box.domains.items() if staff.knows(variable)}
        region = Box(box.world, about).words()
        policies = tuple(map(Named.of, rules))
        yield Finding("unreachable", Severity.WARNING, text, policies, region, mend=mend, pairs=len(rules))


class _Staff:
    """Who of the directory satisfies what; a test that many permits share is tried once."""

    def __init__(self, examined: Examination, people: Sequence[Entity]) -> None:
        self._examined = examined
        self._requests = [Request(person, Action(""), Entity("", "")) for person in people]
        self._fitting: dict[Statement, frozenset[int]] = {}

    def knows(self, variable: Variable) -> bool:
        """Whether it depends on nothing but what the directory says of a person."""
        paths = [variable.path] if variable.path else free_attributes(variable.node) if variable.node else ()
        return bool(paths) and all(map(self._tells, paths))

    def _tells(self, path: str) -> bool:
        if path in ("subject.id", "subject.type"):
            return True
        declared = self._examined.vocabulary.declared(path)
        return path.startswith("subject.") and declared is not None and declared.source == "directory"

    def asked(self, box: Box) -> frozenset[Statement]:
        """What the box asks of the person."""
        tests = (Test(variable, domain) for variable, domain in box.domains.items() if self.knows(variable))
        related = (one for one in box.relations if self.knows(one.left) and self.knows(one.right))
        return frozenset((*tests, *related))

    def fits(self, asked: frozenset[Statement]) -> bool:
        """Whether there is anybody of whom all of it is true."""
        everybody = frozenset(range(len(self._requests)))
        return bool(everybody.intersection(*map(self._satisfying, asked)))

    def _satisfying(self, statement: Statement) -> frozenset[int]:
        found = self._fitting.get(statement)
        if found is None:
            world, at = self._examined.world, self._examined.at
            found = self._fitting[statement] = frozenset(
                number for number, request in enumerate(self._requests) if holds(statement, world, request, at)
            )
        return found


# -- the protocols ---------------------------------------------------------------------------


class _Protocols:
    """What they ask about; operations that many rules name are looked up once."""

    def __init__(self, asked: Sequence[OperationPattern]) -> None:
        self._asked = asked
        self._known: dict[OperationPattern, bool] = {}

    def about(self, rule: Rule) -> bool:
        return any(map(self._one, rule.policy.operations))

    def _one(self, pattern: OperationPattern) -> bool:
        found = self._known.get(pattern)
        if found is None:
            found = self._known[pattern] = any(_meet(pattern, other) for other in self._asked)
        return found


def _meet(one: OperationPattern, other: OperationPattern) -> bool:
    parts = ((one.verb, other.verb), (one.type, other.type), (one.category, other.category))
    return all("*" in pair or pair[0] == pair[1] for pair in parts)
