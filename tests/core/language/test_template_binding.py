"""Values for parameters stay values: whatever a person gives, the condition keeps its shape."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import DocumentError
from spir.language.binding import PARAMETERS, bound, lifted
from spir.language.cel import parse
from spir.language.printer import to_cel
from spir.language.walk import nodes
from spir.model.condition import And, Attribute, Compare, Condition, Literal
from tests.core.language.given_documents import HEAD as SET
from tests.core.language.given_templates import read, template

HOSTILE = [
    "x' || 'a' == 'a",
    'x" || true || "',
    "a\nb",
    "a\r\n- id: b",
    "\\",
    "\\U0000",
    "parameters.other",
    "{parameter: other}",
    "${x}",
    "//",
    "]",
    " ",
    "NaN",
    "null",
    "true",
    "",
    "\x00",
    "'",
    '"',
    "\u2028",
    "🏥",
]
TEXT = template("x: {type: string}", 'subject.department == parameters.x && resource.owner != "parameters.x"')
LIST = template("x: {type: array, items: {type: string}}", "subject.department in parameters.x")


def use(template: str, value: object) -> Condition:
    """The condition of a policy that gives `value`, as JSON, for the parameter `x`."""
    policy = {"id": "a", "template": "own-department", "with": {"x": value}}
    written = f"{SET}  - {''.join(map(escaped, json.dumps(policy, ensure_ascii=False)))}\n"
    return read(written, template).policy_sets[0].policies[0].when


def escaped(letter: str) -> str:
    """As YAML escapes it, which folds some line ends that JSON leaves alone."""
    return letter if " " <= letter <= "~" else f"\\U{ord(letter):08x}"


def shape(condition: Condition) -> list[str]:
    return [type(node).__name__ for node in nodes(condition)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(HOSTILE)


@settings(max_examples=150)
@given(texts)
def test_a_text_is_one_literal_whatever_it_says(text: str) -> None:
    found = use(TEXT, text)
    assert shape(found) == ["And", "Compare", "Attribute", "Literal", "Compare", "Attribute", "Literal"]
    assert isinstance(found, And) and found.items[0] == Compare("==", Attribute("subject.department"), Literal(text))
    assert parse(to_cel(found)) == found


@settings(max_examples=50)
@given(st.lists(texts, max_size=5))
def test_a_list_of_texts_is_one_literal(values: list[str]) -> None:
    found = use(LIST, values)
    assert found == Compare("in", Attribute("subject.department"), Literal(tuple(values)))
    assert parse(to_cel(found)) == found


@pytest.mark.parametrize(
    "value", [1, 1.5, True, None, ["a"], [], {"a": "b"}, {"parameter": "x"}, [["a"]], "a" * 2001, "a" * 1_000_000]
)
def test_what_is_no_text_of_its_size_is_no_text(value: object) -> None:
    with pytest.raises(DocumentError, match="`x` must be a string"):
        use(TEXT, value)


@pytest.mark.parametrize("value", ["a", 1, None, {"a": 1}, ["a", 1], ["a", None], [["a"]], ["a"] * 1001])
def test_what_is_no_list_of_texts_is_none(value: object) -> None:
    with pytest.raises(DocumentError, match="`x`"):
        use(LIST, value)


NUMBER = template("x: {type: number, minimum: -10, maximum: 10}", "subject.trust > parameters.x")
WHOLE = template("x: {type: integer}", "subject.clearance > parameters.x")


@pytest.mark.parametrize("value", ["NaN", ".nan", ".inf", "-.inf", "1e400", "'1'", "true", "null", "11", "[1]", "0xz"])
def test_what_is_no_number_within_its_bounds_is_refused(value: str) -> None:
    with pytest.raises(DocumentError):
        read(f"{SET}  - {{id: a, template: own-department, with: {{x: {value}}}}}\n", NUMBER)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**39, 1.0, True, "1"])
def test_what_has_no_64_bits_is_no_whole_number(value: object) -> None:
    with pytest.raises(DocumentError):
        use(WHOLE, value)


@given(st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50)
def test_a_whole_number_is_one_literal(value: int) -> None:
    found = use(WHOLE, value)
    assert found == Compare(">", Attribute("subject.clearance"), Literal(value))
    assert parse(to_cel(found)) == found


# -- constants worked out as the parser would ------------------------------------------------

VALUES = {"t": "08:00", "d": "15m", "n": 3, "m": -3, "b": True, "l": ("a", "b"), "s": "CR", "e": (), "f": 0.5}
ATOMS = (
    "subject.role == parameters.s",
    "parameters.s in subject.roles",
    "subject.role in parameters.l",
    "subject.role in parameters.e",
    'subject.role in [parameters.s, "x"]',
    "time.between(parameters.t, '17:00')",
    "within(resource.created, duration(parameters.d), duration('1h'))",
    "subject.clearance >= parameters.n + 1",
    "subject.clearance >= parameters.m",
    "subject.clearance >= -parameters.n",
    "subject.trust >= parameters.f",
    "parameters.b",
    "!parameters.b",
    'parameters.s == "CR"',
    "parameters.s in parameters.l",
    "parameters.n > 2",
    "subject.roles.exists(r, r == parameters.s)",
    "has(subject.license)",
    "(parameters.b ? subject.clearance : parameters.n) > 2",
    '{"k": parameters.n} == {"k": 3}',
)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=4))
    text = parts[0]
    for part in parts[1:]:
        text = f"({text}) {draw(st.sampled_from(['&&', '||']))} {draw(st.sampled_from(['', '!']))}({part})"
    return text


@settings(max_examples=200)
@given(conditions())
def test_a_bound_condition_is_what_its_own_text_reads_as(text: str) -> None:
    found = bound(lifted(parse(text, variables=(PARAMETERS,))), {name: Literal(v) for name, v in VALUES.items()})
    assert not any(isinstance(node, Attribute) and node.path.startswith(PARAMETERS) for node in nodes(found))
    assert parse(to_cel(found)) == found


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("subject.role in [parameters.s, 'x']", 'subject.role in ["CR", "x"]'),
        ("context.now < timestamp('2026-01-01T00:00:00Z') + duration(parameters.d)", None),
        ("!parameters.b || has(subject.license)", "has(subject.license)"),
        ("parameters.b || has(subject.license)", "true"),
        ("parameters.b ? subject.clearance > 1 : false", "subject.clearance > 1"),
        ("parameters.s == 'MR' && has(subject.id)", "false"),
    ],
)
def test_constants_are_worked_out(text: str, means: str | None) -> None:
    found = bound(lifted(parse(text, variables=(PARAMETERS,))), {name: Literal(v) for name, v in VALUES.items()})
    assert to_cel(found) == (means or 'context.now < timestamp("2026-01-01T00:00:00Z") + duration("900s")')


@pytest.mark.parametrize(
    ("parameter", "condition", "value", "message"),
    [
        ("{type: string}", "time.between(parameters.x, '17:00')", "8", "`from` of `time.between` must be"),
        ("{type: string}", "time.between('17:00', parameters.x)", "17:00", "this `time.between` never has a value"),
        ("{type: string}", "ip.in(parameters.x)", "10.1.2.3/16", "`cidr` of `ip.in` must be a network"),
        ("{type: string}", "subject.id.matches(parameters.x)", "(", "`pattern` of `matches` must be"),
        ("{type: string}", "subject.id.matches(parameters.x)", "a{1000}{1000}", "`pattern` of `matches` must be"),
        ("{type: string}", "resource.patient.encounter_status == parameters.x", "gone", "is never `gone`"),
        ("{type: integer}", "resource.sensitivity == parameters.x", 6, "`resource.sensitivity` is never 6"),
        ("{type: string, format: clock}", "time.between(parameters.x, '17:00')", "8:00", "must be a time of day"),
        ("{type: string, format: network}", "ip.in(parameters.x)", "10.0.0.1/8", "must be a network"),
        ("{type: string, format: date-time}", "context.now > parameters.x", "2026-01-01", "must be a time as"),
        ("{type: string, format: span}", "within(resource.created, parameters.x, '1h')", "1 h", "must be a duration"),
        ("{type: string, pattern: '^[a-z]+$'}", "subject.id == parameters.x", "a\nb", "that matches `^[a-z]+$`"),
        ("{type: string, enum: [a, b]}", "subject.id == parameters.x", "c", "is none of the values it may have"),
        ("{type: string, minLength: 2}", "subject.id == parameters.x", "a", "of a length from 2"),
        (
            "{type: array, items: {type: string}, uniqueItems: true}",
            "subject.id in parameters.x",
            ["a", "a"],
            "has a member twice",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_at_its_place(
    parameter: str, condition: str, value: object, message: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        use(template(f"x: {parameter}", condition), value)
    assert message in caught.value.message
    column = len(SET.split("\n")[-1]) + len('  - {"id": "a", "template": "own-department", "with": {"x": ') + 1
    assert str(caught.value.location) == f"t0.yaml:8:{column}"
