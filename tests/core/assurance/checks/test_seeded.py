"""One defect hidden in a clean set of policies: it is found, by its check and its name, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from spir.assurance.checks.examination import Surroundings
from spir.assurance.finding import Finding, Severity
from spir.assurance.validator import validate
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet
from spir.language.document import read_documents
from spir.model.request import Entity

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROUNDS = 4
TYPES = ("report", "result", "vitals", "allergy", "order")
DEPARTMENTS = ("cardiology", "surgery", "oncology", "urology", "neurology", "radiology")
ROLES = ("physician", "nurse")

# Nobody provides the attribute that one of the defects asks about.
WORDS = 'spir: "1"\nkind: Vocabulary\nname: w\nattributes:\n  subject.shift: {type: string}\n'
HEAD = 'spir: "1"\nkind: PolicySet\nname: %s\nlayer: %s\njurisdiction: %s\nversion: 1.0.0\npolicies:\n'
NATION = """\
  - {id: genomes-stay-closed, effect: deny, operations: ["read:genomics"]}
  - {id: reading-is-delegated, effect: delegate, operations: ["read:*"], when: 'subject.type == "person"'}
"""
WARD = "  - {id: nothing-leaves, effect: deny, operations: ['export:*']}\n"
PEOPLE = tuple(
    Entity("person", f"{role}-{where}", {"role": role, "department": where}) for role in ROLES for where in DEPARTMENTS
)

PERSON = 'subject.type == "person"'
# What is wrong -> the check, its severity, and the policy: effect, operation, condition, obligation.
DEFECTS = {
    "two roles at once": (
        *("dead", "error", "permit", "read:report"),
        f'{PERSON} && subject.role == "physician" && subject.role == "nurse"',
        "",
    ),
    "forbids what others grant": ("conflict", "error", "deny", "read:{type}", 'subject.department == "{ward}"', ""),
    "forbids a part": ("conflict", "warning", "deny", "read:{type}", 'resource.classification == "research"', ""),
    "granted against the nation": ("weakening", "error", "permit", "read:genomics", PERSON, ""),
    "nobody let it grant": ("weakening", "error", "permit", "update:{type}", PERSON, ""),
    "more than is delegated": ("weakening", "warning", "permit", "read:document", 'subject.role == "{role}"', ""),
    "granted already": (
        *("subsumption", "warning", "permit", "read:{type}"),
        f'{PERSON} && subject.department == "{{ward}}" && subject.role == "{{role}}" && resource.sensitivity <= 1',
        "",
    ),
    "two priorities": (
        *("obligations", "error", "oblige", "read:{type}", "true"),
        "{type: notify, channel: ward, priority: high}",
    ),
    "nobody is there": (
        *("unreachable", "warning", "permit", "read:document"),
        f'{PERSON} && subject.department == "psychiatry"',
        "",
    ),
    "nobody knows": ("source", "warning", "permit", "read:document", f'{PERSON} && subject.shift == "night"', ""),
}


def clean(random: Random) -> list[str]:
    """Permits of a hospital that meet nothing: each for another type, department and role."""
    found = []
    for kind in TYPES:
        for ward in DEPARTMENTS:
            for role in ROLES:
                when = f'{PERSON} && subject.department == "{ward}" && subject.role == "{role}"'
                if random.random() < 0.5:
                    when += " && resource.sensitivity <= 3"
                owed = "{type: notify, channel: ward, priority: low}" if random.random() < 0.5 else ""
                found.append(written(f"{kind}-{ward}-{role}", "permit", f"read:{kind}", when, owed))
    return found


def written(id: str, effect: str, operation: str, when: str, owed: str = "") -> str:
    duties = f"    obligations: [{owed}]\n" if owed else ""
    return f"  - id: {id}\n    effect: {effect}\n    operations: ['{operation}']\n    when: '{when}'\n{duties}"


def found(policies: list[str]) -> list[Finding]:
    files = {
        "words.yaml": WORDS,
        "nation.yaml": HEAD % ("nation", "national", "cn") + NATION,
        "ward.yaml": HEAD % ("ward", "institution", "cn/zj") + WARD + "".join(policies),
    }
    documents = read_documents(files, vocabulary_text=default_vocabulary())
    rules = RuleSet.of(documents.policy_sets, documents.fingerprint)
    report = validate(documents, rules, at=NOON, surroundings=Surroundings(PEOPLE))
    return [one for one in report.findings if one.severity >= Severity.WARNING]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_clean_set_has_nothing_to_acknowledge(seed: int):
    assert [one.text for one in found(clean(Random(seed)))] == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_hidden_defect_is_found_and_nothing_else_is(defect: str):
    check, severity, *parts = DEFECTS[defect]
    for seed in range(ROUNDS):
        random = Random(seed)
        policies = clean(random)
        place = {"{type}": random.choice(TYPES), "{ward}": random.choice(DEPARTMENTS), "{role}": random.choice(ROLES)}
        hidden = written("hidden", *parts)
        for name, value in place.items():
            hidden = hidden.replace(name, value)
        policies.insert(random.randrange(len(policies)), hidden)
        caught = found(policies)
        assert {(one.check, one.severity.label) for one in caught} >= {(check, severity)}
        assert all("hidden" in [policy.id for policy in one.policies] for one in caught), [one.text for one in caught]
