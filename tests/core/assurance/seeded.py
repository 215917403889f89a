"""Policies that are clean for a reason, and defects of every kind to hide among them.

Clean: every permit and every deny has a cell of its own, a department and an
operation that no other policy is about, and says so first. So no two of them
meet; each asks for different attributes, so each can be true; whoever it asks
for is on the staff; what is delegated covers all cells, and what is required
holds in each cell it is about, because the permit says the same.

A defect is one or a few more policies, in the cell of a policy that is there or
in one that is free. It is known which check must name which policies, how bad
it is, and which policies are involved at all: whatever a check says about any
others is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from spir.assurance.checks.examination import Surroundings
from spir.assurance.finding import Finding, Severity
from spir.assurance.report import Report
from spir.assurance.validator import validate
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import Documents, read_documents
from spir.model.policy import OperationPattern
from spir.model.request import Entity

__all__ = ["AT", "DEFECTS", "NEVER", "SITE", "Clean", "Defect", "Line", "dead", "judge", "read", "validated"]

AT = datetime(2026, 11, 22, 4, tzinfo=UTC)
SITE = Site("cn/zj/hospital-a", ZoneInfo("Asia/Shanghai"))

VERBS = ("search", "read", "view", "retrieve", "create", "update", "delete", "export", "execute")
TYPES = (
    *("patient", "encounter", "allergy", "result", "order", "report", "imaging", "prescription", "vitals", "document"),
    *("device", "consent", "genomics", "condition", "procedure", "immunization", "appointment", "careplan", "careteam"),
    *("specimen", "task", "communication", "staff", "location"),
)
FREE, FRAME = 4, 4  # operations about which no clean policy is; delegates and requires
ROLES = ("physician", "nurse", "radiologist", "pharmacist", "clerk")
CLOSED, SPARE, FOREIGN = "closed", "annex", "elsewhere"  # departments: of denies; delegated and free; not delegated
LAYERS = ("national", "provincial", "institution")
PLACES = {"national": "cn", "provincial": "cn/zj", "institution": "cn/zj/hospital-a"}
RELEASED, SENIOR = 'resource.classification == "released"', "subject.clearance >= 2"
REQUIRED = {"export": RELEASED, "delete": SENIOR}

# what a permit may ask for beside its cell; no two ask about one attribute
ATOMS: tuple[Callable[[Random], str], ...] = (
    lambda drawn: f'subject.role == "{drawn.choice(ROLES)}"',
    lambda drawn: f"resource.sensitivity <= {drawn.choice((3, 4))}",
    lambda drawn: drawn.choice(("resource.owner != subject.id", "resource.owner == subject.id")),
    lambda drawn: "subject.id in resource.patient.care_team",
    lambda drawn: f'time.between("0{drawn.randint(6, 9)}:00", "1{drawn.randint(6, 9)}:30")',
    lambda drawn: 'context.purpose in ["TREAT", "HPAYMT"]',
    lambda drawn: f"context.trust >= 0.{drawn.randint(2, 8)}",
    lambda drawn: drawn.choice(("context.device_trusted", "!resource.patient.vip")),
    lambda drawn: '(context.location == "ward" || context.emergency)',
    lambda drawn: 'resource.author.startsWith("dr.")',
    lambda drawn: "has(resource.created)",
    lambda drawn: f'resource.modality in ["CR", "{drawn.choice(("CT", "MR"))}"]',
    lambda drawn: 'resource.department == subject.department || subject.license == "visiting"',
    lambda drawn: 'resource.status != "draft"',
)


@dataclass(frozen=True)
class Line:
    """One policy as it is written."""

    id: str
    layer: str
    effect: str
    operations: tuple[str, ...]
    atoms: tuple[str, ...]
    more: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""  # the jurisdiction of a document of its own

    @property
    def text(self) -> str:
        when = " && ".join(f"({atom})" if "||" in atom else atom for atom in self.atoms)
        body = {"id": self.id, "effect": self.effect, "operations": self.operations, "when": when, **self.more}
        return f"  - {json.dumps(body)}\n"


@dataclass(frozen=True)
class Defect:
    """`check` must name all of `named` with this severity. `about` are all policies that any check may name,
    `also` the checks that may do so beside."""

    kind: str
    check: str
    severity: Severity
    lines: tuple[Line, ...] = ()
    named: frozenset[str] = frozenset()
    about: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    vocabulary: str = ""
    asked: str = ""

    def found_in(self, findings: tuple[Finding, ...]) -> bool:
        return any(
            one.check == self.check and one.severity is self.severity and self.named <= _ids(one) for one in findings
        )

    def explains(self, finding: Finding) -> bool:
        return finding.check in {self.check, *self.also} and _ids(finding) <= self.named | self.about


class Clean:
    """So many clean policies from a seed."""

    def __init__(self, seed: int, size: int = 1000) -> None:
        self.drawn = Random(seed)
        operations = [f"{verb}:{type}" for verb in VERBS for type in TYPES]
        self.drawn.shuffle(operations)
        denies = min(len(operations) - FREE, size // 16)
        permits = size - denies - FRAME
        self.free, self.operations = operations[:FREE], operations[FREE : FREE + permits]
        self.permits = [self._permit(number) for number in range(permits)]
        self.lines = [*self._frame(), *self.permits, *map(self._deny, range(denies))]
        lower = [one for one in self.permits if one.layer == "institution"]
        # two atoms beside the department and what is required anyway: a policy with one of them asks for less
        self._victims = [one for one in lower if len(one.atoms) - len(required(one.operations[0])) >= 3]
        self.drawn.shuffle(self._victims)
        self.spares = [one for one in self.operations if not required(one)]  # cells of the annex

    # -- policies --

    def _frame(self) -> Iterator[Line]:
        """Who may grant what at all, and what must hold whoever grants it."""
        yield Line("n-delegates", "national", "delegate", ("*:*:*",), ("has(subject.department)",))
        among = f"subject.department in {json.dumps([*self.departments(), SPARE])}"
        yield Line("p-delegates", "provincial", "delegate", ("*:*:*",), (among,))
        yield Line("n-requires", "national", "require", ("export:*:*",), (RELEASED,))
        yield Line("p-requires", "provincial", "require", ("delete:*:*",), (SENIOR,))

    def departments(self) -> list[str]:
        return [f"d{number}" for number in range(1 + len(self.permits) // len(self.operations))]

    def _permit(self, number: int) -> Line:
        department, at = divmod(number, len(self.operations))
        operation = self.operations[at]
        layer = self.drawn.choices(LAYERS, (5, 15, 80))[0]
        asked = [make(self.drawn) for make in self.drawn.sample(ATOMS, self.drawn.choice((1, 2, 3, 4)))]
        atoms = (f'subject.department == "d{department}"', *asked, *required(operation))
        return Line(f"c{number}", layer, "permit", (operation,), atoms, self._more())

    def _more(self) -> dict[str, Any]:
        choice = self.drawn.random()
        if choice < 0.1:
            return {"valid": {"from": "2026-01-01T00:00:00+08:00", "until": "2031-01-01T00:00:00+08:00"}}
        if choice < 0.25:
            return {"obligations": [{"id": "m", "type": "mask", "paths": ["patient.telecom"]}]}
        if choice < 0.3:
            return {"obligations": [{"id": "l", "type": "limit", "count": self.drawn.choice((10, 100))}]}
        return {"emergency": "overridable"} if choice < 0.35 else {}

    def _deny(self, number: int) -> Line:
        atoms = (f'subject.department == "{CLOSED}-{number}"', self.drawn.choice(ATOMS)(self.drawn))
        more = {"on_missing": self.drawn.choice(("deny", "ignore"))}
        return Line(f"x{number}", self.drawn.choice(LAYERS), "deny", (self.operations[number],), atoms, more)

    # -- where defects go --

    def victim(self, *with_atoms: str) -> Line:
        """A permit of the institution that no other defect is about; with an atom that begins so."""
        for number, one in enumerate(self._victims):
            if all(any(atom.startswith(wanted) for atom in one.atoms) for wanted in with_atoms):
                return self._victims.pop(number)
        raise AssertionError(f"no permit is left with {with_atoms}")

    # -- all of it --

    def files(self, defects: tuple[Defect, ...] = ()) -> dict[str, str]:
        """Documents by file name."""
        found = {"site.yaml": _vocabulary([one.vocabulary for one in defects if one.vocabulary])}
        hidden = [line for one in defects for line in one.lines]
        for layer in LAYERS:
            here = [line for line in (*self.lines, *hidden) if line.layer == layer and not line.place]
            self.drawn.shuffle(here)
            found[f"{layer}.yaml"] = _document(layer, layer, PLACES[layer], here)
        for line in hidden:
            if line.place:
                found[f"{line.id}.yaml"] = _document(line.id, line.layer, line.place, [line])
        return found

    def surroundings(self, defects: tuple[Defect, ...] = ()) -> Surroundings:
        """A member of staff for every department and role; what the protocols ask for."""
        people = tuple(
            Entity("person", f"{role}-{department}", {"role": role, "department": department, "clearance": 3})
            for role in ROLES
            for department in (*self.departments(), SPARE, FOREIGN)
        )
        asked = (*self.operations, *(one.asked for one in defects if one.asked))
        return Surroundings(people, tuple(OperationPattern(*code.split(":"), "*") for code in asked))


def _document(name: str, layer: str, place: str, lines: list[Line]) -> str:
    head = f'spir: "1"\nkind: PolicySet\nname: {name}\nlayer: {layer}\njurisdiction: {place}\nversion: 1.0.0\n'
    return f"{head}policies:\n" + "".join(line.text for line in lines)


def read(files: Mapping[str, str]) -> tuple[Documents, RuleSet]:
    documents = read_documents(files, vocabulary_text=default_vocabulary())
    return documents, RuleSet.of(documents.policy_sets, documents.fingerprint, SITE)


def validated(clean: Clean, defects: tuple[Defect, ...] = ()) -> Report:
    """What all checks say of the documents as they are written."""
    documents, rules = read(clean.files(defects))
    return validate(documents, rules, at=AT, surroundings=clean.surroundings(defects))


def required(operation: str) -> tuple[str, ...]:
    verb = operation.partition(":")[0]
    return (REQUIRED[verb],) if verb in REQUIRED else ()


def _vocabulary(attributes: list[str]) -> str:
    more = "".join(f"  {one}\n" for one in attributes)
    return f'spir: "1"\nkind: Vocabulary\nname: site\nversion: 1.0.0\nattributes:\n{more}' if more else _NOTHING


_NOTHING = 'spir: "1"\nkind: Vocabulary\nname: site\nversion: 1.0.0\n'


def judge(defects: tuple[Defect, ...], findings: tuple[Finding, ...]) -> tuple[list[str], list[Finding]]:
    """The kinds of defects that were not found, and the findings that no defect explains.

    Prohibitions that were hidden ask for attributes, too: notes about one attribute may name several of them.
    """
    missed = [one.kind for one in defects if not one.found_in(findings)]
    stops = {line.id for one in defects for line in one.lines if line.effect in ("deny", "require")}
    rest = [finding for finding in findings if finding.check != "indeterminate" or not _ids(finding) <= stops]
    return missed, [finding for finding in rest if not any(one.explains(finding) for one in defects)]


def _ids(finding: Finding) -> frozenset[str]:
    return frozenset(policy.id for policy in finding.policies)


# -- defects ---------------------------------------------------------------------------------


# conditions that no request can meet
NEVER: tuple[tuple[str, ...], ...] = (
    ('subject.role == "nurse"', 'subject.role == "clerk"'),
    ("resource.sensitivity >= 4", "resource.sensitivity < 4"),
    ("subject.clearance > 1", "subject.clearance < 2"),
    ("resource.department == subject.department", f'resource.department != "{SPARE}"'),
    ('resource.patient.encounter_status == "planned"', 'resource.patient.encounter_status in ["finished"]'),
    ("resource.owner == subject.id", 'resource.owner == "u1"', 'subject.id != "u1"'),
    ('time.between("08:00", "12:00")', 'time.between("13:00", "18:00")'),
    ("!has(subject.id)",),
    ("subject.id in resource.patient.care_team", "!(subject.id in resource.patient.care_team)"),
    ('ip.in("10.0.0.0/8")', 'ip.in("192.168.0.0/16")'),
    ('context.now >= timestamp("2001-01-01T00:00:00Z")', 'context.now < timestamp("2000-01-01T00:00:00Z")'),
    ("resource.sensitivity < subject.clearance", "subject.clearance <= 1"),
    ("resource.owner < subject.id", "subject.id < resource.author", "resource.author == resource.owner"),
    ('org.under(subject.organization, "cn/zj")', 'subject.organization == "us/ny"'),
    ("has(resource.modality)", "!has(resource.modality)"),
    ('resource.author.startsWith("dr.")', 'resource.author == "nurse.wu"'),
    ("context.trust > 0.5 || context.trust < 0.25", "context.trust <= 0.5", "context.trust >= 0.25"),
)


def dead(clean: Clean, excluding: tuple[str, ...], id: str = "s-dead") -> Defect:
    return _alone("dead", "dead", Severity.ERROR, _spare(id, clean, *excluding))


def _over(clean: Clean) -> Defect:
    line = _spare("s-over", clean, 'subject.role == "nurse"')
    until = {"valid": {"from": "2020-01-01T00:00:00+08:00", "until": "2026-11-01T00:00:00+08:00"}}
    return _alone("over", "dead", Severity.NOTE, replace(line, more=until))


def _conflict(kind: str, severity: Severity, atoms: Callable[[Line], tuple[str, ...]], **more: Any) -> Any:
    def made(clean: Clean) -> Defect:
        victim = clean.victim()
        when = {"valid": victim.more["valid"]} if "valid" in victim.more else {}
        deny = replace(victim, effect="deny", atoms=atoms(victim), more={**when, **more})
        return _against(kind, "conflict", severity, victim, deny)

    return made


def _weakened(kind: str, severity: Severity, effect: str, atoms: Callable[[Line], tuple[str, ...]]) -> Any:
    def made(clean: Clean) -> Defect:
        victim, layer = clean.victim(), clean.drawn.choice(LAYERS[:2])
        upper = replace(victim, layer=layer, effect=effect, atoms=atoms(victim), more={})
        return _against(kind, "weakening", severity, victim, upper)

    return made


def _not_delegated(clean: Clean) -> Defect:
    line = replace(_spare("s-undelegated", clean), atoms=(f'subject.department == "{FOREIGN}"',))
    return _alone("not-delegated", "weakening", Severity.ERROR, line)


def _partly_delegated(clean: Clean) -> Defect:
    line = replace(_spare("s-half-delegated", clean), atoms=(f'subject.department in ["{SPARE}", "{FOREIGN}"]',))
    found = _alone("partly-delegated", "weakening", Severity.WARNING, line)
    return replace(found, about=frozenset(("p-delegates",)))


def _subsumed(clean: Clean) -> Defect:
    victim = clean.victim()
    twin = replace(victim, id="s-subsumed", atoms=(*victim.atoms, 'context.protocol == "fhir"'))
    found = _against("subsumed", "subsumption", Severity.WARNING, victim, twin)
    return replace(found, also=found.also | {"redundancy"})


def _obliged(clean: Clean) -> Defect:
    def alert(priority: str) -> dict[str, Any]:
        return {"obligations": [{"id": "a", "type": "notify", "channel": "alert", "priority": priority}]}

    line = _spare("s-high", clean, 'subject.role in ["nurse", "clerk"]')
    other = replace(line, id="s-low", atoms=(*line.atoms[:1], 'subject.role in ["physician", "nurse"]'))
    lines = (replace(line, more=alert("high")), replace(other, more=alert("low")))
    ids = frozenset(one.id for one in lines)
    return Defect("obligations", "obligations", Severity.ERROR, lines, ids, ids)


def _unreachable(clean: Clean) -> Defect:
    return _alone("for-nobody", "unreachable", Severity.WARNING, _spare("s-ghost", clean, 'subject.role == "ghost"'))


def _unasked(clean: Clean) -> Defect:
    line = replace(_spare("s-unasked", clean), operations=(clean.free[1],))
    line = replace(line, atoms=(*line.atoms, *required(clean.free[1])))
    return _alone("unasked", "unreachable", Severity.NOTE, line)


def _source(clean: Clean) -> Defect:
    line = _spare("s-unsourced", clean, 'resource.bed == "12"')
    found = _alone("source", "source", Severity.WARNING, line)
    return replace(found, vocabulary="resource.bed: {type: string, source: rumour}")


def _gap(clean: Clean) -> Defect:
    return Defect("gap", "gap", Severity.NOTE, asked=clean.free[2])


def _shadowed(clean: Clean) -> Defect:
    """Two that stop a part each: denies, or a deny and a require of any layers."""
    victim = clean.victim("resource.sensitivity <=")
    cell, elsewhere = victim.atoms[0], _elsewhere(victim)[0]
    below = Line(
        "s-shade-low", clean.drawn.choice(LAYERS), "deny", victim.operations, (cell, "resource.sensitivity <= 2")
    )
    if clean.drawn.random() < 0.5:
        atoms, effect = (cell, "resource.sensitivity >= 3"), "deny"
    else:
        atoms, effect = (f"{elsewhere} || resource.sensitivity <= 2",), "require"
    above = Line("s-shade-high", clean.drawn.choice(LAYERS), effect, victim.operations, atoms)
    ids = frozenset((victim.id, below.id, above.id))
    return Defect("shadowed", "shadowing", Severity.ERROR, (below, above), ids, ids, _PARTS)


def _redundant(clean: Clean) -> Defect:
    """Two permits that together grant all that one does."""
    victim = clean.victim("resource.sensitivity <=")
    cell = (victim.atoms[0], *required(victim.operations[0]))
    low = replace(victim, id="s-twin-low", atoms=(*cell, "resource.sensitivity <= 2"))
    high = replace(victim, id="s-twin-high", atoms=(*cell, "resource.sensitivity >= 3", "resource.sensitivity <= 4"))
    ids = frozenset((victim.id, low.id, high.id))
    return Defect("redundant", "redundancy", Severity.WARNING, (low, high), ids, ids)


def _undecided(clean: Clean) -> Defect:
    """A deny that asks for what nobody else does."""
    victim = clean.victim()
    deny = replace(
        victim, id="s-undecided", effect="deny", atoms=(*victim.atoms[:1], 'resource.series == "1"'), more={}
    )
    found = _against("undecided", "indeterminate", Severity.NOTE, victim, deny)
    return replace(found, named=frozenset((deny.id,)), also=found.also | {"conflict"})


_PARTS = frozenset(("conflict", "weakening", "shadowing", "redundancy"))


def _spare(id: str, clean: Clean, *atoms: str) -> Line:
    """A permit where no other policy is: in a department that the clean ones leave out."""
    atoms = (f'subject.department == "{SPARE}"', *atoms)
    return Line(id, "institution", "permit", (clean.spares.pop(),), atoms)


def _alone(kind: str, check: str, severity: Severity, line: Line) -> Defect:
    return Defect(kind, check, severity, (line,), frozenset((line.id,)))


def _against(kind: str, check: str, severity: Severity, victim: Line, line: Line) -> Defect:
    line = replace(line, id=f"s-{kind}") if line.id == victim.id else line
    ids = frozenset((victim.id, line.id))
    return Defect(kind, check, severity, (line,), ids, ids, frozenset(("shadowing",)))


def _cell(victim: Line) -> tuple[str, ...]:
    return victim.atoms[:1]


def _across(victim: Line) -> tuple[str, ...]:
    return (*victim.atoms[:1], 'context.protocol == "dicom"')


def _inside(victim: Line) -> tuple[str, ...]:
    return (*victim.atoms, 'context.protocol == "dicom"')


def _elsewhere(victim: Line) -> tuple[str, ...]:
    return (victim.atoms[0].replace("==", "!="),)


def _elsewhere_or(victim: Line) -> tuple[str, ...]:
    return (f'{_elsewhere(victim)[0]} || context.protocol == "dicom"',)


def _ungoverned(clean: Clean) -> Defect:
    return _alone(
        "ungoverned", "ungoverned", Severity.WARNING, replace(_spare("s-elsewhere", clean), place="xx/clinic")
    )


DEFECTS: Mapping[str, Callable[[Clean], Defect]] = {
    "dead": lambda clean: dead(clean, clean.drawn.choice(NEVER)),
    "over": _over,
    "conflict": _conflict("denied", Severity.ERROR, _cell),
    "conflict in part": _conflict("partly-denied", Severity.WARNING, _across),
    "exception": _conflict("exception", Severity.NOTE, _inside, on_missing="ignore"),
    "forbidden above": _weakened("denied-above", Severity.ERROR, "deny", _cell),
    "forbidden above in part": _weakened("partly-denied-above", Severity.WARNING, "deny", _across),
    "never meets a requirement": _weakened("unmet", Severity.ERROR, "require", _elsewhere),
    "narrowed by a requirement": _weakened("narrowed", Severity.NOTE, "require", _elsewhere_or),
    "not delegated": _not_delegated,
    "partly delegated": _partly_delegated,
    "ungoverned": _ungoverned,
    "subsumed": _subsumed,
    "obligations": _obliged,
    "for nobody": _unreachable,
    "unasked": _unasked,
    "source": _source,
    "gap": _gap,
    "shadowed": _shadowed,
    "redundant": _redundant,
    "undecided": _undecided,
}
