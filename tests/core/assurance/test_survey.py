"""What is carried over from one version to the next: the report is the same as if nothing had been.

Versions follow each other by random edits, as files are edited: what an edit
does not touch is the very same object afterwards. Some are refused, so that the
next one follows an older one; some checks are cut short.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spir.assurance import survey as surveys
from spir.assurance.change import Version
from spir.assurance.checks.examination import Examination
from spir.assurance.difference import difference
from spir.assurance.finding import Severity
from spir.assurance.proof.zone import STEPS, Reasoner
from spir.assurance.report import Report
from spir.assurance.suppression import Suppression
from spir.assurance.survey import Answer, Reach, Survey
from spir.assurance.validator import validate
from spir.engine.compiler import compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.errors import Location
from spir.language.document import Documents
from spir.model.condition import Attribute, Compare, Condition, Literal
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet
from tests.core.assurance.drawn_versions import Drawn
from tests.core.assurance.proof.worlds import MOMENTS, NOON, VOCABULARY, many, world

Sets = tuple[PolicySet, ...]

READ = (OperationPattern("read", "report"),)
NEVER_EXPIRES = datetime(9000, 1, 1, tzinfo=UTC)


class History(Drawn):
    """Versions that follow each other."""

    def first(self) -> Sets:
        more = (
            replace(one, name=f"{one.name}-more", policies=tuple(map(self.again, one.policies))) for one in self.sets()
        )
        return (*self.sets(), *more)

    def again(self, policy: Policy) -> Policy:
        return replace(policy, id=f"{policy.id}-more")

    def next(self, sets: Sets) -> Sets:
        """One set is another one, all of it read again or not; once in a while they come in another order."""
        if self.chance(0.05):
            return tuple(self.random.sample(sets, len(sets)))
        at = self.random.randrange(len(sets)) if sets else 0
        changed = [one for found in sets[at : at + 1] for one in self.change(found)]
        if self.chance(0.5):
            changed = [replace(one, policies=tuple(map(replace, one.policies))) for one in changed]
        return (*sets[:at], *changed, *sets[at + 1 :])

    def moment(self) -> datetime:
        return self.choose(MOMENTS) + timedelta(seconds=self.random.randint(-3, 3))


def rules_of(sets: Sets, site: Site | None = None) -> RuleSet:
    return RuleSet.of(sets, "sha256:drawn", site or world().site)


def survey_of(sets: Sets, before: Survey | None = None) -> Survey:
    return before.then(rules_of(sets), VOCABULARY) if before else Survey.of(rules_of(sets), VOCABULARY)


def report(survey: Survey, at: datetime, suppressions: tuple[Suppression, ...] = (), asked: int = 1_000_000) -> Report:
    """What the checks say, for so many looks at the clock."""
    documents = Documents(survey.rules.sets, (), survey.vocabulary, (), "")
    looks = iter(range(asked))
    return validate(
        documents,
        survey.rules,
        at=at,
        suppressions=suppressions,
        survey=survey,
        step=lambda check, done, total: next(looks, None) is not None,
    )


@pytest.fixture(autouse=True)
def everything_is_carried_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has changed: the versions here are small."""
    monkeypatch.setattr(surveys, "MUCH", 100.0)


@pytest.fixture(params=[0.5, 100.0], ids=["redrawn", "worn"])
def map_of_rules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "WORN", request.param)


# -- the same report -------------------------------------------------------------------------


@pytest.mark.usefixtures("map_of_rules")
@pytest.mark.parametrize("start", (0, 6))
def test_the_report_is_that_of_a_whole_validation(start: int) -> None:
    carried = 0
    for seed in range(start, start + 6):
        drawn = History(seed)
        sets, known = drawn.first(), None
        for number in range(4):
            survey, at = survey_of(sets, known), drawn.moment()
            carried += sum(survey.known("restraint", rule) is not None for rule in survey.every)
            if drawn.chance(0.3):
                report(survey, at, asked=drawn.random.randrange(40))
            else:
                answered = acknowledged(report(survey, at))
                assert report(survey, at, answered) == report(survey_of(sets), at, answered), f"seed {seed}, {number}"
            # what is refused is not followed
            known = known if known and drawn.chance(0.3) else survey
            sets = drawn.next(known.rules.sets)
    assert carried > 10


def acknowledged(found: Report) -> tuple[Suppression, ...]:
    marks = sorted({one.mark for one in found.findings})[::2]
    return tuple(Suppression(mark, "meant", "a.b", NEVER_EXPIRES, Location("a", 1, 1)) for mark in marks)


@pytest.mark.usefixtures("map_of_rules")
def test_the_difference_is_that_of_a_whole_comparison() -> None:
    shown = 0
    for seed in range(30):
        drawn = History(seed)
        sets, known = drawn.first(), None
        for _ in range(3):
            survey = survey_of(sets, known)
            if known:
                old, new = (Version(one.rules, VOCABULARY) for one in (known, survey))
                whole = difference(old, new, at=NOON)
                assert difference(replace(old, survey=known), replace(new, survey=survey), at=NOON) == whole
                shown += len(whole.changes)
            known, sets = survey, drawn.next(sets)
    assert shown > 20


# -- what is carried over --------------------------------------------------------------------


def is_role(role: str) -> Condition:
    return Compare("==", Attribute("subject.role"), Literal(role))


def ward(*policies: Policy, layer: Layer = Layer.INSTITUTION, place: str = "cn") -> PolicySet:
    return PolicySet(f"{layer.label}-{len(policies)}", layer, place, "1.0.0", policies)


NURSES, CLERKS = (Policy(name, Kind.PERMIT, READ, is_role(name)) for name in ("nurse", "clerk"))
NO_NURSES = Policy("no-nurse", Kind.DENY, READ, is_role("nurse"), on_missing=OnMissing.IGNORE)


def carried(survey: Survey, question: str) -> list[str]:
    return [rule.policy.id for rule in survey.every if survey.known(question, rule) is not None]


def test_only_what_meets_a_change_is_asked_again() -> None:
    before = survey_of((ward(NURSES, CLERKS),))
    report(before, NOON)
    after = survey_of((ward(NURSES, CLERKS, NO_NURSES),), before)
    assert carried(before, "shadowing") == ["nurse", "clerk"] and carried(after, "shadowing") == ["clerk"]
    assert carried(after, "subsumption") == ["nurse", "clerk"]  # a deny makes no permit superfluous


def test_a_policy_that_has_gone_is_a_change() -> None:
    before = survey_of((ward(NURSES, NO_NURSES),))
    assert [one.check for one in report(before, NOON).findings if one.severity is Severity.ERROR] == ["conflict"]
    assert not report(survey_of((ward(NURSES),), before), NOON).at_least(Severity.ERROR)


@pytest.mark.parametrize(
    "sets",
    [
        (ward(CLERKS, NURSES),),
        (ward(NURSES, CLERKS, place="cn/zj"),),
        (ward(NURSES, CLERKS), ward(layer=Layer.NATIONAL)),
        (ward(replace(NURSES), replace(CLERKS)),),
    ],
    ids=["in another order", "elsewhere", "under another layer", "read again"],
)
def test_nothing_is_carried_over_where_everything_may_be_otherwise(sets: Sets) -> None:
    before = survey_of((ward(NURSES, CLERKS),))
    report(before, NOON)
    assert carried(survey_of(sets, before), "subsumption") == []


def test_nothing_is_carried_over_to_another_vocabulary_or_site() -> None:
    before = survey_of((ward(NURSES, CLERKS),))
    report(before, NOON)
    sets = (ward(NURSES, CLERKS),)
    others = (
        before.then(rules_of(sets), replace(VOCABULARY, verbs=VOCABULARY.verbs | {"print"})),
        before.then(rules_of(sets, Site("us")), VOCABULARY),
    )
    assert [carried(one, "subsumption") for one in others] == [[], []]
    assert carried(before.then(rules_of(sets), VOCABULARY), "subsumption") == ["nurse", "clerk"]


def test_nothing_is_carried_over_from_where_one_policy_stands_in_two_places() -> None:
    before = survey_of((ward(NURSES), ward(CLERKS, NURSES)))
    report(before, NOON)
    after = survey_of((ward(NURSES), ward(CLERKS)), before)
    assert carried(after, "redundancy") == []
    assert report(after, NOON) == report(survey_of((ward(NURSES), ward(CLERKS))), NOON)


def test_where_much_has_changed_nothing_is_carried_over(monkeypatch: pytest.MonkeyPatch) -> None:
    before = survey_of((ward(NURSES, CLERKS),))
    report(before, NOON)
    monkeypatch.setattr(surveys, "MUCH", 0.4)
    assert carried(survey_of((ward(CLERKS, NURSES, NO_NURSES),), before), "subsumption") == []


def test_what_is_found_out_about_a_candidate_is_not_believed_of_what_it_would_replace() -> None:
    """Neither version was looked at to the end before the other one followed."""
    before = survey_of((ward(NURSES, CLERKS),))
    refused = survey_of((ward(NURSES, CLERKS, NO_NURSES),), before)
    assert report(refused, NOON).at_least(Severity.ERROR)
    assert carried(before, "shadowing") == ["clerk"]
    assert report(before, NOON) == report(survey_of((ward(NURSES, CLERKS),)), NOON)
    assert report(survey_of((ward(NURSES, CLERKS),), refused), NOON) == report(before, NOON)


def test_answers_of_a_kind_say_what_they_are_sensitive_to() -> None:
    """A rule that meets another one may lie within it, and may be apart from the part that matters."""
    before = survey_of((ward(NURSES, CLERKS),))
    nurses = before.every[0]
    nowhere = before.spot(before.every[1])
    assert nowhere is not None
    for name, answer in {
        "meets": Answer(1),
        "within": Answer(1, where=Reach.WITHIN),
        "elsewhere": Answer(1, where=nowhere),
        "another kind": Answer(1, frozenset((Kind.OBLIGE,))),
    }.items():
        before.keep(name, nurses, answer)
    either = Compare("in", Attribute("subject.role"), Literal(("clerk", "nurse")))
    wide = survey_of((ward(NURSES, CLERKS, Policy("wide", Kind.PERMIT, READ, either)),), before)
    narrow = survey_of((ward(NURSES, CLERKS, replace(NURSES, id="narrow")),), before)
    names = ("meets", "within", "elsewhere", "another kind")
    assert [name for name in names if wide.known(name, nurses)] == ["within", "another kind"]
    assert [name for name in names if narrow.known(name, nurses)] == ["elsewhere", "another kind"]


def test_a_policy_with_too_many_alternatives_is_near_to_whatever_it_may_be_about() -> None:
    odd, odd_deny = (Policy(kind.value, kind, READ, many()) for kind in (Kind.PERMIT, Kind.DENY))
    before = survey_of((ward(NURSES, odd, NO_NURSES),))
    report(before, NOON)
    assert carried(before, "shadowing") == ["nurse", "permit"]
    assert carried(survey_of((ward(NURSES, odd),), before), "shadowing") == []
    assert carried(survey_of((ward(NURSES, odd, NO_NURSES, odd_deny),), before), "shadowing") == []


# -- steps that all questions of a check share -----------------------------------------------


class Asked:
    """A question that takes so many steps, and how often it was asked."""

    def __init__(self, steps: int) -> None:
        self.survey = survey_of((ward(NURSES),))
        self.steps, self.times = steps, 0

    def with_left(self, steps: int) -> int:
        """Ask with so many steps left; how many are left then."""
        reasoner = Reasoner(world())
        reasoner.charge(reasoner.left - steps)
        examined = Examination(self.survey, compile_rules(self.survey.rules).decide, NOON)

        def find() -> Answer:
            self.times += 1
            reasoner.charge(self.steps)
            return Answer("found")

        assert examined.reasoned("question", self.survey.every[0], reasoner, find) == "found"
        return reasoner.left


def test_steps_count_whether_they_are_taken_now_or_were_before() -> None:
    asked = Asked(7)
    assert [asked.with_left(STEPS + 10), asked.with_left(STEPS + 9), asked.times] == [STEPS + 3, STEPS + 2, 1]


def test_where_too_few_steps_are_left_everything_is_asked() -> None:
    """Its answer may be another one than with all of them."""
    asked = Asked(7)
    assert [asked.with_left(STEPS + 6), asked.with_left(STEPS + 20), asked.times] == [STEPS - 1, STEPS + 13, 2]
    assert [asked.with_left(STEPS + 6), asked.times] == [STEPS - 1, 3]
