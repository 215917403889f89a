"""What policies say never becomes code: names, texts and numbers come in beside the source, never in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.attributes import NoFacts
from spir.engine.compiled import source
from spir.engine.compiled.source import Draft, Unwritable, made, written
from spir.engine.compiler import compile_in_slices, compile_rules
from spir.engine.evaluate import free_attributes
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.language.values.operators import Invalid
from spir.model.condition import (
    And,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Definitely,
    Has,
    Literal,
    Not,
    Or,
    Variable,
)
from spir.model.policy import Kind, Layer, OperationPattern, Policy, PolicySet
from spir.model.request import Entity, Request
from spir.model.value import Unknown, Why
from tests.given import NOON

# All words that generated source may be made of.
WORDS = re.compile(
    r"(def|made|request|view|at|live|if|else|elif|try|except|return|is|in|not|and|or|for|None|True|False"
    r"|__class__|str|int|bool|float|tuple|any|all|context|subject|resource|action|properties|name|type|id|get"
    r"|deferred|doubts?|unsure|v|K|tail|[aegmprvx]\d+|\d+)$"
)

GONE, FAILED, TO_COME = (Unknown.of("a", why) for why in (Why.MISSING, Why.FAILED, Why.DEFERRED))

HOSTILE = (
    "'; import os; os._exit(1) #",
    '"""\nimport os\n"""',
    "\\",
    "{k0}",
    "%s",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{COMBINING ACUTE ACCENT}\x00\r\n\t",
    "__import__('os').system('false')",
    "lambda: 0",
    "𝓀0",
    "a" * 70_000,
)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Everything that is compiled during the test."""
    seen: list[str] = []
    compiled: Callable[[str], Any] = source._code.__wrapped__

    def code(text: str) -> Any:
        seen.append(text)
        return compiled(text)

    monkeypatch.setattr(source, "_code", code)
    yield seen


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def rules_of(*conditions: Condition, id: str = "p", name: str = "search") -> RuleSet:
    patterns = (OperationPattern(name, "imaging"),)
    kinds = (Kind.PERMIT, Kind.DENY, Kind.REQUIRE, Kind.OBLIGE)
    policies = tuple(Policy(f"{id}{n}", kinds[n % 4], patterns, condition) for n, condition in enumerate(conditions))
    return RuleSet.of([PolicySet("s", Layer.INSTITUTION, "", "1.0.0", policies)], "", Site("cn"))


def hostile_values() -> st.SearchStrategy[Any]:
    texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20))
    numbers = st.one_of(st.integers(), st.sampled_from((10**400, -(2**63), 2**64)), st.floats())
    return st.one_of(texts, numbers, st.booleans(), st.binary(max_size=5), st.lists(texts, max_size=3).map(tuple))


@st.composite
def hostile_conditions(draw: st.DrawFn) -> Condition:
    names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="."), min_size=1, max_size=9))
    path = st.builds("{}.{}".format, st.sampled_from(("subject", "resource", "context", "action", "x")), names)
    attribute = path.map(Attribute)
    constant = hostile_values().map(Literal)
    side = st.one_of(attribute, constant)
    compare = st.builds(Compare, st.sampled_from(("==", "!=", "<", ">=", "in")), side, side)
    function = st.sampled_from(("startsWith", "size", "matches", "__import__", "os.system"))
    call = st.builds(lambda name, a, b: Call(name, (a, b)), function, side, side)
    loop = st.builds(
        lambda name, over: Comprehension("exists", over, name, Compare("==", Variable(name), over)), names, side
    )
    atom = st.one_of(compare, compare, call, loop)
    several = st.lists(atom, min_size=1, max_size=3).map(tuple)
    return draw(st.one_of(atom, several.map(And), several.map(Or), atom.map(Not)))


@settings(max_examples=150, deadline=None)
@given(st.lists(hostile_conditions(), min_size=1, max_size=4), st.sampled_from(HOSTILE), hostile_values(), st.data())
def test_hostile_texts_decide_as_the_reference_does(
    conditions: list[Condition], id: str, value: Any, data: st.DataObject
) -> None:
    rules = rules_of(*conditions, id=id)
    compiled = compile_rules(rules)
    names = {path.split(".")[1]: value for c in conditions for path in free_attributes(c)}
    subject = Entity("person", data.draw(st.sampled_from(HOSTILE)), names)
    for deferred in ((), ("resource", "context")):
        request = Request.build(subject, "search:imaging", names, context=names, deferred=deferred)
        assert compiled.decide(request, NoFacts(), NOON) == decide(rules, request, NoFacts(), NOON)


def test_generated_source_is_made_of_our_own_words_only(sources: list[str]) -> None:
    for text in HOSTILE:
        path, constant = Attribute(f"resource.{text}"), Literal(text)
        conditions = (
            Compare("==", path, constant),
            Compare("in", path, Literal((text, 10**400))),
            Compare("<", Attribute(f"subject.{text}"), path),
            Or((Compare("==", Attribute("context.a"), constant), Call("startsWith", (path, constant)))),
            Comprehension("all", path, text, Compare("!=", Variable(text), constant)),
            Compare("==", Attribute(f"action.{text}.{text}"), Literal(-(10**50))),
        )
        compiled = compile_rules(rules_of(*conditions, id=text, name=text))
        subject = Entity("person", "x", {text: text})
        request = Request.build(subject, "search:imaging", {text: text})
        compiled.decide(request, NoFacts(), NOON)
        compiled.decide(Request(subject, request.action, Entity("imaging", text)), NoFacts(), NOON)
    assert sources
    assert {word for text in sources for word in words(text) if not WORDS.match(word)} == set()


def test_conditions_of_one_build_are_compiled_once(sources: list[str]) -> None:
    path = Attribute("resource.modality")
    compiled = compile_rules(rules_of(*(Call("startsWith", (path, Literal(str(n)))) for n in range(50))))
    compiled.decide(Request.build(Entity("person", "x"), "search:imaging", {"modality": "CT"}), NoFacts(), NOON)
    assert len([text for text in sources if "a0" in text]) == 50
    assert len({text for text in sources if "a0" in text}) == 1


@pytest.mark.parametrize("count", [8, 30, 200])
def test_no_step_of_compiling_takes_in_many_attributes(sources: list[str], count: int) -> None:
    """Nobody may wait for long while rules are compiled; and Python compiles a function in one go."""
    names = [f"n{number}" for number in range(count)]
    conditions = [
        *(Compare("==", Attribute(f"resource.{name}"), Literal("x")) for name in names),
        *(Compare("==", Attribute(f"resource.{name}"), Attribute(f"subject.{name}")) for name in names),
    ]
    most = 0
    for _ in compile_in_slices(rules_of(*conditions)):
        most = max(most, sum(map(len, sources)))
        sources.clear()
    assert 0 < most < 8000


def test_generated_functions_have_no_way_to_the_world() -> None:
    function = made("a0", ["return __import__('os')"], [])
    with pytest.raises(NameError):
        function(1)


def test_a_long_condition_is_several_functions_and_those_alike_are_compiled_once(sources: list[str]) -> None:
    ward, own = Attribute("subject.department"), Attribute("resource.department")
    rows = [And((Compare("==", ward, Literal(f"d{n}")), Compare("==", own, Literal(f"x{n}")))) for n in range(60)]
    constants = [Call("startsWith", (Literal(str(n)), Literal("x"))) for n in range(20)]  # they look at nothing
    rules = rules_of(Or((*rows, *constants)))
    compiled = compile_rules(rules)
    assert max(map(len, sources)) < 3000
    assert len({text for text in sources if "a1" in text}) <= 4
    for here, there in (("d0", "x0"), ("d59", "x59"), ("d3", "x4"), (7, "x1"), ("d1", None)):
        request = Request.build(Entity("person", "x", {"department": here}), "search:imaging", {"department": there})
        assert compiled.decide(request, NoFacts(), NOON) == decide(rules, request, NoFacts(), NOON)


@pytest.mark.parametrize("depth", [10, 23, 60])
def test_deep_conditions_are_written_or_left_to_the_interpreter(depth: int) -> None:
    condition: Condition = Compare("==", Attribute("subject.a"), Literal(1))
    for _ in range(depth):
        condition = Not(Or((condition, Compare("==", Attribute("subject.a"), Literal(2)))))
    draft = Draft()
    if depth > 12:
        with pytest.raises(Unwritable):
            written(condition, {"subject.a": "a0"}, draft)
    else:
        text = written(condition, {"subject.a": "a0"}, draft)
        ask = made("a0", [f"return {text}"], draft.constants)
        assert ask(1) is (depth % 2 == 0)
    rules = rules_of(condition)
    request = Request.build(Entity("person", "x", {"a": 1}), "search:imaging")
    assert compile_rules(rules).decide(request, NoFacts(), NOON) == decide(rules, request, NoFacts(), NOON)


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        (Compare("==", Attribute("a"), Literal(1)), (1,), True),
        (Compare("==", Attribute("a"), Literal(1)), (True,), Invalid),
        (Compare("==", Attribute("a"), Literal(1)), (1.0,), True),
        (Compare("<", Attribute("a"), Literal("b")), ("a",), True),
        (Compare("<", Attribute("a"), Literal("b")), (1,), Invalid),
        (Compare("in", Attribute("a"), Literal(("x", "y"))), ("y",), True),
        (Compare("in", Attribute("a"), Literal(("x", "y"))), (3,), Invalid),
        (Compare("in", Literal("x"), Attribute("a")), (("y", "x"),), True),
        (Compare("in", Literal("x"), Attribute("a")), (("y", 1),), Invalid),
        (Compare("in", Literal(1), Attribute("a")), ((True,),), Invalid),
        (And((Attribute("a"), Literal(True))), ("text",), Invalid),
        (And((Attribute("a"), Literal(True))), (False,), False),
        (Has(Attribute("a")), (1,), True),
        (Has(Attribute("a")), (GONE,), False),
        (Has(Attribute("a")), (FAILED,), Invalid),
        (Has(Attribute("a")), (TO_COME,), Invalid),
        (Or((Not(Has(Attribute("a"))), Compare("<", Attribute("a"), Literal(3)))), (GONE,), True),
        (Or((Not(Has(Attribute("a"))), Compare("<", Attribute("a"), Literal(3)))), (4,), False),
        (Or((Not(Has(Attribute("a"))), Compare("<", Attribute("a"), Literal(3)))), (FAILED,), Invalid),
        (Compare("==", Attribute("a"), Literal(())), (GONE,), Invalid),
        (Compare("in", Attribute("a"), Literal(())), (GONE,), Invalid),
        (Compare("==", Call("size", (Attribute("a"),)), Literal(0)), (GONE,), Invalid),
        (Compare("in", Conditional(Literal(True), Attribute("a"), Literal(1)), Literal(())), (GONE,), Invalid),
        (Compare("in", Conditional(Literal(False), Literal(1), Attribute("a")), Literal(())), (TO_COME,), Invalid),
        (Comprehension("all", Attribute("a"), "x", Literal(True)), (GONE,), Invalid),
        (Definitely(Compare("==", Attribute("a"), Literal(1))), (GONE,), False),
        (Definitely(Compare("==", Attribute("a"), Literal(1))), (FAILED,), False),
        (Definitely(Compare("==", Attribute("a"), Literal(1))), (TO_COME,), Invalid),
    ],
)
def test_a_written_condition_is_right_or_says_that_it_does_not_know(
    condition: Condition, values: tuple[Any, ...], expected: Any
) -> None:
    draft = Draft()
    ask = made("a0", [f"return {written(condition, {'a': 'a0'}, draft)}"], draft.constants)
    if expected is Invalid:
        with pytest.raises(Invalid):
            ask(*values)
    else:
        assert ask(*values) is expected
