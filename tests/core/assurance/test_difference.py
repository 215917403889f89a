"""Two versions of the policies, compared by what they decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from spir.assurance.difference import Bounds, Difference, Direction, Version, difference
from spir.assurance.duties import demanded
from spir.assurance.proof import zone
from spir.embed import default_vocabulary
from spir.engine import reference
from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import read_documents
from spir.model.decision import Decision
from spir.model.request import Request
from tests.core.assurance.drawn_versions import Drawn, version

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)

INSTITUTION = """\
spir: "1"
kind: PolicySet
name: {name}
layer: {layer}
jurisdiction: cn/a
version: 1.0.0
policies:
"""
READ = """{id: read, effect: permit, operations: ["read:report"], when: 'subject.role == "physician"'}"""
SECRET = '{id: secret, effect: deny, operations: ["read:report"], when: resource.sensitivity >= 4}'
BOTH = ", obligations: [{id: a, type: mask, paths: [patient.telecom, result.note]}]}"
EACH = ", obligations: [{id: b, type: mask, paths: [result.note]}, {id: c, type: mask, paths: [patient.telecom]}]}"
AUDIT = '{{id: {0}, effect: oblige, operations: ["read:report"], obligations: [{{id: a, type: audit, level: {0}}}]}}'


def document(*policies: str, layer: str = "institution", name: str = "given") -> str:
    if not policies:
        return INSTITUTION.format(name=name, layer=layer).replace("policies:\n", "policies: []\n")
    return INSTITUTION.format(name=name, layer=layer) + "".join(f"  - {policy}\n" for policy in policies)


def read(*documents: str, site: Site = Site("cn/a")) -> Version:
    files = {f"{number}.yaml": text for number, text in enumerate(documents)}
    return Version.of(read_documents(files, vocabulary_text=default_vocabulary()), site)


def compared(old: Version, new: Version, solver: bool = True) -> Difference:
    return difference(old, new, at=AT, solver=solver)


# -- whatever the policies are ---------------------------------------------------------------


def direction(before: Decision, after: Decision) -> Direction | None:
    if before.permitted != after.permitted:
        return Direction.PERMIT if after.permitted else Direction.DENY
    same = not after.permitted or demanded(before.obligations) == demanded(after.obligations)
    return None if same else Direction.OBLIGE


@cache
def samples() -> tuple[tuple[Request, datetime], ...]:
    drawn = Drawn(0)
    return tuple((drawn.request(), drawn.moment()) for _ in range(2000))


@pytest.mark.parametrize("start", range(0, 30, 10))
def test_what_samples_find_is_found_and_what_is_shown_is_so(start: int) -> None:
    for seed in range(start, start + 10):
        drawn = Drawn(seed)
        sets = drawn.sets()
        old, new = version(sets), version(drawn.changed(sets))
        found = compared(old, new, solver=seed % 2 == 0)
        engines = compile_rules(old.rules), compile_rules(new.rules)
        sampled = set()
        for request, at in samples():
            sampled.add(direction(*(engine.decide(request, NoFacts(), at) for engine in engines)))
        missed = sampled - {None} - {change.direction for change in found.changes}
        assert not missed or found.undecided, f"seed {seed}: {missed}"
        for change in found.changes:
            said = [reference.decide(each.rules, change.request, NoFacts(), change.at) for each in (old, new)]
            assert direction(*said) is change.direction, f"seed {seed}"
            assert (change.before.effect, change.after.effect) == (said[0].effect, said[1].effect)


@pytest.mark.parametrize("seed", range(100, 115))
def test_the_way_back_is_the_same_way(seed: int) -> None:
    drawn = Drawn(seed)
    sets = drawn.sets()
    old, new = version(sets), version(drawn.changed(sets))
    there, back = compared(old, new), compared(new, old)
    assert bool(there.permitted) is bool(back.denied)
    assert bool(there.denied) is bool(back.permitted)
    assert bool(there.obliged) is bool(back.obliged)


# -- nothing changes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([READ, SECRET], [SECRET, READ]),
        ([READ], [READ.replace('subject.role == "physician"', '!(subject.role != "physician")')]),
        ([READ], [READ, READ.replace("id: read", "id: again")]),
        ([READ, SECRET], [READ, SECRET, SECRET.replace("secret", "most-secret").replace(">= 4", ">= 5")]),
        (
            [READ],
            [
                READ.replace("subject.role", "has(subject.department) && subject.role"),
                READ.replace("id: read", "id: no-department").replace(
                    "subject.role", "!has(subject.department) && subject.role"
                ),
            ],
        ),
        ([READ, SECRET], [READ.replace('"physician"', '"physician" && resource.sensitivity < 4'), SECRET]),
        ([READ[:-1] + BOTH], [READ[:-1] + EACH]),
    ],
    ids=["order", "negation", "twice", "inside", "split", "said twice", "masks"],
)
def test_policies_that_are_written_otherwise_and_mean_the_same(old: list[str], new: list[str]) -> None:
    for solver in (True, False):
        found = compared(read(document(*old)), read(document(*new, name="other")), solver)
        assert found.proved_equal and found.changes == ()


# -- something does --------------------------------------------------------------------------


def test_a_deny_that_is_gone_lets_requests_through() -> None:
    (change,) = compared(read(document(READ, SECRET)), read(document(READ))).changes
    assert change.direction is Direction.PERMIT
    assert [policy.id for policy in change.policies] == ["secret"]
    assert change.cause == "`secret` is gone"
    assert (change.at, change.after.matched) == (AT, ("read",))
    assert "sensitivity 4 to 5 or absent" in change.region


def test_a_deny_that_ignores_what_is_missing_lets_through_what_lacks_it() -> None:
    lenient = SECRET[:-1] + ", on_missing: ignore}"
    (change,) = compared(read(document(READ, SECRET)), read(document(READ, lenient))).changes
    assert change.direction is Direction.PERMIT
    assert "sensitivity" not in change.request.resource.properties
    assert change.cause == "`secret` says something else (on_missing)"


def test_a_permit_that_is_widened_and_narrowed_changes_both_ways() -> None:
    moved = READ.replace('== "physician"', 'in ["nurse"]')
    found = compared(read(document(READ)), read(document(moved)))
    assert [change.request.subject.properties["role"] for change in found.permitted] == ["nurse"]
    assert [change.request.subject.properties["role"] for change in found.denied] == ["physician"]


def test_a_layer_that_says_nothing_denies_what_it_does_not_delegate() -> None:
    found = compared(read(document(READ)), read(document(READ), document(layer="provincial", name="above")))
    (change,) = found.changes
    assert (change.direction, change.policies) == (Direction.DENY, ())
    assert change.after.reasons[0].code == "not-delegated"
    back = compared(read(document(READ), document(layer="provincial", name="above")), read(document(READ)))
    assert [change.direction for change in back.changes] == [Direction.PERMIT]


def test_a_delegation_that_is_narrowed_denies_in_the_layers_below() -> None:
    above = '{id: may, effect: delegate, operations: ["*:report"]}'
    narrow = above[:-1] + ", when: resource.sensitivity <= 2}"
    found = compared(
        read(document(READ), document(above, layer="national", name="above")),
        read(document(READ), document(narrow, layer="national", name="above")),
    )
    assert [(change.direction, change.policies[0].id) for change in found.changes] == [(Direction.DENY, "may")]


def test_a_set_that_is_for_more_places_permits_in_the_places_around() -> None:
    wider = document(READ).replace("jurisdiction: cn/a", "jurisdiction: cn")
    (change,) = compared(read(document(READ)), read(wider)).changes
    assert (change.direction, change.cause) == (Direction.PERMIT, "`read` says something else (jurisdiction)")
    assert change.region == "read:report, role is physician, in cn but not cn/a"
    assert change.request.resource.properties["organization"] == "cn"


def test_an_obligation_that_is_weakened_is_told() -> None:
    owes = READ[:-1] + ", obligations: [{id: a, type: limit, count: %d}]}"
    (change,) = compared(read(document(owes % 5)), read(document(owes % 50))).changes
    assert change.direction is Direction.OBLIGE
    counts = [each.obligations[0].properties["count"] for each in (change.before, change.after)]
    assert counts == [5, 50]


def test_obligations_that_cannot_be_joined_deny() -> None:
    audits = [AUDIT.format(level) for level in ("basic", "full")]
    (change,) = compared(read(document(READ, audits[0])), read(document(READ, *audits))).denied
    assert change.after.reasons[0].code == "obligations-conflict"
    (back,) = compared(read(document(READ, *audits)), read(document(READ, audits[0]))).permitted
    assert back.before.reasons[0].code == "obligations-conflict"


def test_only_so_many_regions_are_shown_for_one_cause() -> None:
    wards = [
        READ.replace("id: read", f"id: ward-{n}").replace('subject.role == "physician"', f'subject.department == "{n}"')
        for n in range(6)
    ]
    everything = '{id: closed, effect: deny, operations: ["*:*"]}'
    found = difference(read(document(*wards, everything)), read(document(*wards)), bounds=Bounds(regions=3))
    assert len(found.permitted) == 3
    assert found.remarks == ("more may be newly permitted because of `closed` than are shown",)


# -- what cannot be told ---------------------------------------------------------------------


def test_what_can_neither_be_shown_nor_ruled_out_is_not_decided() -> None:
    odd = READ.replace('subject.role == "physician"', "resource.labels.size() > 9 && resource.labels.size() < 3")
    found = compared(read(document(SECRET)), read(document(SECRET, odd)))
    assert found.changes == () and not found.proved_equal
    assert found.undecided == (
        "whether requests are newly permitted because of `read`: "
        "no request was found that shows it, nor a proof that there is none",
    )


def test_alternatives_without_number_go_to_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = " && ".join(
        f'(subject.{one} == "a" || resource.{other} == "b")'
        for one, other in zip(
            ("role", "department", "license", "certificate", "spiffe", "device", "purpose"),
            ("department", "owner", "modality", "classification", "status", "priority", "author"),
            strict=True,
        )
    )
    wide = READ.replace('subject.role == "physician"', pairs)
    old, new = read(document(wide)), read(document(wide.replace("id: read", "id: renamed")))
    assert compared(old, new).proved_equal
    (change,) = compared(read(document()), new).changes
    assert change.direction is Direction.PERMIT
    assert "too many alternatives" in compared(old, new, solver=False).undecided[0]
    monkeypatch.setattr(zone, "installed", lambda: False)
    assert "install the extra `analysis`" in compared(old, new).undecided[0]


def test_other_words_and_another_site_are_remarked_on() -> None:
    more = 'spir: "1"\nkind: Vocabulary\nname: more\nattributes:\n  subject.badge: {type: string}\n'
    shanghai = Site("cn/a/b", ZoneInfo("Asia/Shanghai"))
    found = compared(read(document(READ)), read(document(READ), more, site=shanghai))
    assert found.remarks == (
        "vocabulary: the attribute `subject.badge` is new",
        "site: the organisation was `cn/a` and is `cn/a/b`",
        "site: the time zone was `UTC` and is `Asia/Shanghai`",
    )
    assert found.undecided == (
        "requests that name no organisation belong to another one; only those that name one were compared",
    )


def test_a_time_of_day_in_another_zone_is_not_decided() -> None:
    night = READ.replace('subject.role == "physician"', 'time.between("08:00", "17:00")')
    found = compared(read(document(night)), read(document(night), site=Site("cn/a", ZoneInfo("Asia/Shanghai"))))
    assert found.undecided == ("conditions on the time of day were compared as if the time zone had not changed",)


def test_an_attribute_that_changes_its_type_is_taken_as_a_whole() -> None:
    old = read(document(READ))
    kinds = dict(old.vocabulary.attributes)
    kinds["subject.role"] = replace(kinds["subject.role"], kind=replace(kinds["subject.role"].kind, type="int"))
    new = replace(old, vocabulary=replace(old.vocabulary, attributes=kinds))
    assert compared(old, new).remarks == ("vocabulary: `subject.role` is declared otherwise",)
    assert compared(old, new).changes == ()


def test_what_is_said_of_emergencies_is_remarked_on() -> None:
    found = compared(read(document(SECRET)), read(document(SECRET[:-1] + ", emergency: overridable}")))
    assert found.proved_equal and found.remarks == ("`secret`: emergency was never and is overridable",)


def test_an_empty_version_permits_nothing() -> None:
    nothing = Version(RuleSet.of((), "sha256:none", Site("cn/a")), read(document(READ)).vocabulary)
    assert [change.direction for change in compared(read(document(READ)), nothing).changes] == [Direction.DENY]
