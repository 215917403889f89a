"""The vocabulary: what is declared, what goes together, and what a site may add."""

from __future__ import annotations

import pytest

from spir.errors import ConditionError, DocumentError
from spir.language.cel import parse
from spir.language.vocabulary import Vocabulary
from spir.model.condition import Attribute, Call, Compare, Literal
from spir.model.facts import Join, Joining
from tests.core.language.given_documents import FIXTURES, read


def site(body: str) -> Vocabulary:
    return read(f'spir: "1"\nkind: Vocabulary\nname: site\n{body}').vocabulary


DEFAULT = read().vocabulary
SITE = read(*FIXTURES).vocabulary


def test_the_default_vocabulary_declares_what_the_manual_promises():
    verbs = "search read view retrieve create update delete export notify trigger execute"
    types = "patient encounter allergy result order report imaging prescription vitals document device consent audit"
    subject = "id type role roles department organization license clearance certificate spiffe scopes device"
    resource = "id type category patient organization department owner modality sensitivity classification labels"
    more = "status priority created author study series sop_class"
    patient = "id care_team encounter_status encounter_class location risk_level vip protection labels"
    context = "now ip protocol organization location device_trusted trust risk purpose session patient_session"
    declared = {
        *(f"subject.{name}" for name in f"{subject} secondments purpose permissions".split()),
        *(f"resource.{name}" for name in f"{resource} {more}".split()),
        *(f"resource.patient.{name}" for name in patient.split()),
        *(f"context.{name}" for name in f"{context} emergency destination".split()),
    }
    assert set(verbs.split()) <= DEFAULT.verbs
    assert set(f"{types} policy genomics".split()) <= set(DEFAULT.types)
    assert declared <= set(DEFAULT.attributes)


def test_every_short_name_and_action_of_the_default_vocabulary_means_something():
    assert set(DEFAULT.short.values()) <= set(DEFAULT.attributes)
    bounds = {path for action in DEFAULT.actions.values() for path in action.parameters.values() if path}
    assert bounds <= set(DEFAULT.attributes)


@pytest.mark.parametrize(
    "text",
    [
        "subject.clearance >= 2.5",
        "resource.sensitivity in [4, 5]",
        "resource.labels.exists(label, label.startsWith('x'))",
        "resource.created < context.now - duration('24h')",
        "within(resource.created, '15m', '1h')",
        "has(resource.owner) ? resource.owner == subject.id : false",
        "size(subject.roles) > 0 && subject.roles[0] == 'a'",
        "terminology.matches(resource.category, 'x', 1)",
        "resource.bed.ward == 1 || resource.bed.anything.below == 'x'",
        "resource.shift == 3",
        "'a' in resource.bed",
    ],
)
def test_conditions_that_mean_something(text: str):
    parse(text, vocabulary=SITE)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("subject.rol == 'x'", 9, "the attribute `subject.rol` is not declared; did you mean `subject.role`?"),
        ("resource.patient.careteam == []", 18, "did you mean `resource.patient.care_team`?"),
        ("subject.role.name == 'x'", 14, "`subject.role.name` is not declared"),
        ("rol == 'x'", 1, "did you mean `subject.role`?"),
        ("true && subject.role == 4", 22, "`==` cannot compare a string with a int"),
        ("subject.role != true", 14, "cannot compare a string with a bool"),
        ("resource.labels == 'VIP'", 17, "membership is written `value in list`"),
        ("subject.id in subject.role", 12, "`in` needs a list on its right"),
        ("1 in resource.labels", 3, "a int is never in a list<string>"),
        ("resource.labels < ['a']", 17, "no meaning for a list"),
        ("resource.patient.isolation == 'drops'", 28, "is never `drops`; known: none, contact, airborne"),
        ("'finishd' == resource.patient.encounter_status", 11, "did you mean `finished`?"),
        ("resource.patient.isolation in ['none', 'drops']", 28, "is never `drops`"),
        ("resource.shift == 4", 16, "`resource.shift` is never 4; it lies from 1 to 3"),
        ("subject.role", 9, "a condition must be true or false, this is of type string"),
        ("subject.role && true", 9, "`&&` takes true or false, this is of type string"),
        ("!subject.role", 10, "`!` takes true or false"),
        ("subject.role ? true : false", 9, "`?` takes true or false"),
        ("subject.clearance.startsWith('a')", 9, "`text` of `startsWith` must be of type string"),
        ("subject.role.exists(x, true)", 14, "`exists` goes through a list"),
        ("resource.labels.exists(x, x)", 27, "`exists` takes true or false"),
        ("resource.labels.exists(x, x == 1)", 29, "cannot compare a string with a int"),
        ("resource.labels[0].x == 1", 20, "a string has no field `x`"),
        ("subject.role[0] == 'p'", 13, "a string has no members"),
        ("resource.patient.vip + 1 == 2", 22, "`+` has no meaning"),
    ],
)
def test_conditions_that_can_never_be_decided_are_refused(text: str, column: int, says: str):
    with pytest.raises(ConditionError) as caught:
        parse(text, vocabulary=SITE)
    assert says in str(caught.value)
    assert caught.value.location is not None and caught.value.location.column == column


def test_a_tree_that_was_not_parsed_can_be_checked_too():
    with pytest.raises(ConditionError, match="is not declared"):
        DEFAULT.check(Compare("==", Attribute("subject.nothing"), Literal(1)))
    with pytest.raises(ConditionError, match="no function"):
        DEFAULT.check(Call("nothing", ()))


def test_facts_about_a_patient_are_joined_as_declared():
    joins = SITE.joins()
    assert joins["care_team"] == Join(Joining.UNION)
    assert joins["vip"] == Join(Joining.ANY)
    assert joins["isolation"] == Join(Joining.PRIORITY, ("airborne", "contact", "none"))
    assert joins["encounter_status"].order[0] == "in-progress"
    assert "id" not in joins


def test_a_site_adds_and_never_takes_away():
    found = site("types: {imaging: [frame]}\nattributes: {subject.role: {type: string, enum: [physician]}}")
    assert {"frame", "study"} <= found.types["imaging"]
    assert found.attributes["subject.role"].kind.enum == ("physician",)
    assert found.verbs == DEFAULT.verbs


def test_two_documents_of_a_site_may_not_contradict_each_other():
    one = 'spir: "1"\nkind: Vocabulary\nname: a\nattributes: {resource.bed: {type: string}}'
    with pytest.raises(DocumentError, match="is declared differently in another document"):
        read(one, one.replace("type: string", "type: int"))
    assert read(one, one).vocabulary.attributes["resource.bed"].kind.type == "string"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("attributes: {subject.role: {type: int}}", "is a string already and cannot become a int"),
        ("attributes: {role: {type: string}}", "is no attribute path"),
        ("attributes: {subject.x: {type: text}}", "`type` cannot be `text`"),
        ("attributes: {subject.x: {}}", "has no `type`"),
        ("attributes: {subject.x: {type: int, enum: [a]}}", "only texts can have an `enum`"),
        ("attributes: {subject.x: {type: string, interval: [1, 2]}}", "`interval` is [least, most] of a number"),
        ("attributes: {subject.x: {type: int, interval: [2, 1]}}", "`interval` is empty"),
        ("attributes: {subject.x: {type: int, interval: [a, 1]}}", "must be numbers"),
        ("attributes: {subject.x: {type: int, max_age: 1 day}}", "`max_age` must be a duration"),
        ("attributes: {subject.x: {type: int, join: sum}}", "`join` cannot be `sum`"),
        ("attributes: {subject.x: {type: int, join: {priority: []}}}", "`priority` needs an order"),
        ("attributes: {subject.x: {type: int, requird: true}}", "did you mean `required`?"),
        ("verbs: [Search]", "is no word of a vocabulary"),
        ("types: [a]", "`types` must be a mapping"),
        ("types: {a: b}", "`a` must be a list"),
        ("short: {role: role}", "is no attribute path"),
        ("short: {in: subject.role}", "cannot be a short name"),
        ("actions: {a: {operations: []}}", "the action `a` has no operations"),
        ("actions: {a: {operations: [b]}}", "is not an operation pattern"),
        ("actions: {a: {operations: ['read:patient'], parameters: {x: y}}}", "is no attribute path"),
    ],
)
def test_a_wrong_vocabulary_is_told_how(body: str, says: str):
    with pytest.raises(DocumentError) as caught:
        site(body)
    assert says in str(caught.value)
    assert caught.value.location is not None


def test_an_open_end_of_an_interval_bounds_nothing():
    vocabulary = site("attributes: {subject.x: {type: int, interval: [0, null]}}")
    parse("subject.x == 99999", vocabulary=vocabulary)
    with pytest.raises(ConditionError, match="never -1"):
        parse("subject.x == -1", vocabulary=vocabulary)
