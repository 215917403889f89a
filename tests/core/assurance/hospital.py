"""A hospital that does not exist, with its roles as such hospitals have them: a few jobs, or one role for everything.

Few roles: one for each job. Many: a job in a department, then the same for its
seniors, for teams and for projects, each copied from another and added to; that
is how roles multiply. Everything follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

JOBS = {
    "physician": ["read:patient", "read:result", "create:order", "update:order", "read:imaging", "create:report"],
    "nurse": ["read:patient", "read:vitals", "create:vitals", "update:vitals", "read:order"],
    "radiographer": ["create:imaging", "update:imaging", "read:order", "retrieve:imaging"],
    "radiologist": ["retrieve:imaging", "read:imaging", "create:report", "update:report", "export:imaging"],
    "pharmacist": ["read:prescription", "update:prescription", "read:allergy", "create:communication"],
    "laboratory": ["create:result", "update:result", "read:specimen", "update:specimen"],
    "registrar": ["create:patient", "update:patient", "create:appointment", "update:appointment"],
    "billing": ["read:encounter", "export:report", "read:organization", "search:encounter"],
    "records": ["search:report", "read:consent", "update:consent", "read:procedure", "delete:task"],
    "auditor": ["read:audit", "search:audit", "export:audit", "read:policy"],
}
DEPARTMENTS = [
    *("cardiology", "surgery", "neurology", "oncology", "paediatrics", "orthopaedics", "urology", "dermatology"),
    *("psychiatry", "emergency", "icu", "gynaecology", "ophthalmology", "radiology", "geriatrics", "nephrology"),
]
VERBS = ["search", "read", "view", "retrieve", "create", "update", "delete", "export"]


@dataclass
class Hospital:
    """Rows as an export has them: people with what they are, assignments, grants, inheritances."""

    people: dict[str, dict[str, str]] = field(default_factory=dict)
    held: dict[str, list[str]] = field(default_factory=dict)
    allows: dict[str, set[str]] = field(default_factory=dict)
    denies: dict[str, set[str]] = field(default_factory=dict)
    permissions: list[str] = field(default_factory=list)

    def csv(self) -> dict[str, str]:
        """The export as three tables."""
        return {
            "people.csv": _lines(
                "user,profession,department", (f"{u},{p['job']},{p['department']}" for u, p in self.people.items())
            ),
            "held.csv": _lines("user,role", (f"{u},{role}" for u, roles in self.held.items() for role in roles)),
            "grants.csv": _lines("role,permission,effect", self._grants()),
        }

    def joined(self) -> str:
        """The same as one table, a line for each permission that somebody has by a role."""
        lines = (
            f"{user},{role},{permission},{effect}"
            for user, roles in self.held.items()
            for role in roles
            for effect, given in (("allow", self.allows), ("deny", self.denies))
            for permission in sorted(given.get(role, ()))
        )
        return _lines("user,role,permission,effect", lines)

    def _grants(self) -> Iterator[str]:
        for effect, given in (("allow", self.allows), ("deny", self.denies)):
            yield from (f"{role},{permission},{effect}" for role, all_ in given.items() for permission in sorted(all_))


def vocabulary(categories: int) -> str:
    """A document that declares so many units as categories of documents: permissions by the thousand."""
    named = ", ".join(f"unit-{number}" for number in range(categories))
    return f'spir: "1"\nkind: Vocabulary\nname: hospital\nversion: 1.0.0\ntypes:\n  document: [{named}]\n'


def hospital(roles: int, people: int, permissions: int = 0, seed: int = 1) -> Hospital:
    """`permissions` adds operations on documents of single units until there are about so many.

    Of those, a role in a department has some with its department in common, and some of its own.
    """
    drawn = random.Random(seed)
    found = Hospital()
    base = sorted({code for codes in JOBS.values() for code in codes})
    units = max(0, permissions - len(base)) // len(VERBS)
    extra = [f"{verb}:document:unit-{unit}" for unit in range(units) for verb in VERBS]
    found.permissions = [*base, *extra]
    common = {name: extra[n * 12 : n * 12 + 8] for n, name in enumerate(DEPARTMENTS)}
    own = iter(extra[len(DEPARTMENTS) * 12 :])
    names = _roles(roles)
    for name, (job, department) in names.items():
        before = found.allows.get(name.rpartition("_")[0], ())
        given = (
            {*JOBS[job], *common.get(department, ())}
            if not before
            else {c for c in sorted(before) if drawn.random() < 0.6}
        )
        found.allows[name] = given | {code for code, _ in zip(own, range(7), strict=False)}
    for number in range(people):
        job, department = drawn.choice(list(JOBS)), drawn.choice(DEPARTMENTS)
        user = f"u{number:05}"
        found.people[user] = {"job": job, "department": department}
        fitting = [n for n, (j, d) in names.items() if j == job and d in ("", department)]
        found.held[user] = [n for n in fitting if n.count("_") <= 1 or drawn.random() < 0.2]
    return found


def _roles(number: int) -> dict[str, tuple[str, str]]:
    """Name -> job and department ("" for all)."""
    jobs = list(JOBS)
    if number <= len(jobs):
        return {job: (job, "") for job in jobs[:number]}
    found: dict[str, tuple[str, str]] = {}
    for suffix in ("", "_senior", "_night", "_project-a", "_project-b", "_temporary"):
        for department in DEPARTMENTS:
            for job in jobs:
                if len(found) < number:
                    found[f"{job}_{department}{suffix}"] = (job, department)
    return found


def _lines(head: str, lines: Iterator[str]) -> str:
    return "\n".join([head, *lines]) + "\n"
