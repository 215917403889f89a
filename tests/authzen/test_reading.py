"""What callers send: read as AuthZEN says, or refused with a reason; nothing else, whatever arrives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.reading import Batch, Greeting, batch, evaluation, frame, plan, search
from spir.errors import RequestError
from spir.model.request import Request

ALICE = {"type": "user", "id": "alice"}
READ = {"name": "read"}
RECORD = {"type": "record", "id": "record-1"}
WHOLE = {"subject": ALICE, "action": READ, "resource": RECORD}


def body(**changes):
    """The whole request with some members changed; None takes one away."""
    given = {**WHOLE, **changes}
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


def refused(read, data):
    with pytest.raises(RequestError) as caught:
        read(data)
    return caught.value.message


def test_an_evaluation_is_read_as_the_core_reads_it():
    given = {
        "subject": {**ALICE, "properties": {"role": "nurse", "roles": ["a", "b"]}},
        "action": {"name": "read", "properties": {"soft": True}},
        "resource": {**RECORD, "properties": {"patient": {"id": "HIS|P001"}, "sensitivity": 2}},
        "context": {"ip": "10.0.0.1"},
        "deferred": ["resource.modality"],
    }
    assert evaluation(json.dumps(given).encode()) == Request.from_json(given)


def test_unknown_members_are_ignored():
    assert evaluation(body(foo="bar", futureField={"nested": True})) == evaluation(body())


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": None},
        {"action": None},
        {"resource": None},
        {"subject": {"id": "alice"}},
        {"subject": {"type": "user"}},
        {"subject": {"type": "user", "id": ""}},
        {"subject": {"type": "", "id": "alice"}},
        {"subject": "alice"},
        {"subject": [ALICE]},
        {"action": {}},
        {"action": {"name": ""}},
        {"action": {"name": 123}},
        {"resource": {"id": "record-1"}},
        {"resource": {"type": "record"}},
        {"resource": {"type": "record", "id": 7}},
        {"resource": {**RECORD, "properties": []}},
        {"context": "now"},
        {"context": [1]},
        {"deferred": "resource"},
        {"deferred": [1]},
        {"deferred": ["resource"] * 65},
        {"context": json.loads('{"a":' * 40 + "1" + "}" * 40)},
    ],
)
def test_what_lacks_something_or_has_another_type_is_refused(changes):
    assert refused(evaluation, body(**changes))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"true", b"7", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 50_000, body() + b"x"],
)
def test_what_is_no_object_is_refused(data):
    for read in (evaluation, batch, plan, lambda given: search("subject", given)):
        assert refused(read, data)


def test_errors_say_where_and_not_what():
    assert (
        refused(evaluation, body(action={"name": 123456}))
        == "this is no request: expected `str`, got `int` - at `$.action.name`"
    )


# -- batches -----------------------------------------------------------------------------------


def read_all(found):
    assert isinstance(found, Batch)
    return [found.read(item) for item in found.items]


def test_items_take_what_they_lack_from_the_defaults():
    other = {"type": "record", "id": "record-2"}
    found = batch(
        body(resource=None, context={"ip": "a"}, evaluations=[{"resource": RECORD}, {"resource": other, "context": {}}])
    )
    assert read_all(found) == [
        Request.from_json({**WHOLE, "context": {"ip": "a"}}),
        Request.from_json({**WHOLE, "resource": other}),
    ]


def test_an_entity_of_an_item_replaces_the_default_but_for_its_required_members():
    default = {"type": "record", "properties": {"status": "archived"}}
    [request] = read_all(batch(body(resource=default, evaluations=[{"resource": {"id": "record-1"}}])))
    assert request == Request.from_json(WHOLE)


def test_without_items_it_is_one_evaluation():
    assert batch(body()) == batch(body(evaluations=[])) == Request.from_json(WHOLE)


def test_a_broken_item_breaks_no_other():
    found = batch(body(resource=None, evaluations=[{"resource": RECORD}, {}, 5, {"resource": None}]))
    assert found.read(found.items[0]) == Request.from_json(WHOLE)
    for item in found.items[1:]:
        with pytest.raises(RequestError):
            found.read(item)


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluations": {}},
        {"evaluations": [{}] * 1001},
        {"evaluations": [{}], "options": {"evaluations_semantic": "permit_all"}},
        {"evaluations": [{}], "options": []},
        {"evaluations": [{}], "subject": "alice"},
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(changes):
    assert refused(batch, body(**changes))


def test_the_semantic_is_to_execute_all_unless_said_otherwise():
    chosen = {"evaluations_semantic": "permit_on_first_permit", "another_option": 1}
    assert batch(body(evaluations=[{}])).semantic == "execute_all"
    assert batch(body(evaluations=[{}], options=chosen)).semantic == "permit_on_first_permit"


# -- frames, searches, plans -------------------------------------------------------------------


def test_a_frame_is_a_greeting_an_evaluation_or_a_batch():
    pack = msgspec.msgpack.encode
    assert frame(pack({"bearer": "token"})) == Greeting("token")
    assert frame(pack(WHOLE)) == Request.from_json(WHOLE)
    assert isinstance(frame(pack({**WHOLE, "evaluations": [{}]})), Batch)


def test_a_search_ignores_the_id_of_what_is_searched_for():
    found = search("subject", body())
    assert (found.subject.id, found.resource.id, found.limit, found.token) == ("", "record-1", None, "")
    assert found.asked == search("subject", body(page={"limit": 3, "token": "x"})).asked
    assert found.asked != search("resource", body()).asked


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        ("subject", {"action": None}),
        ("subject", {"resource": {"type": "record"}}),
        ("resource", {"subject": None}),
        ("resource", {"subject": {"type": "user"}}),
        ("action", {"resource": None}),
        ("subject", {"page": []}),
        ("subject", {"page": {"limit": 0}}),
        ("subject", {"page": {"limit": True}}),
        ("subject", {"page": {"token": 1}}),
    ],
)
def test_a_search_that_lacks_something_is_refused(wanted, changes):
    assert refused(lambda data: search(wanted, data), body(**changes))


def test_a_plan_leaves_the_resource_open_unless_it_says_what():
    assert plan(body(resource={"type": "record"})).deferred == {"resource"}
    assert plan(body(deferred=["resource.modality"], unknown=["context.ip"])).deferred == {
        "resource.modality",
        "context.ip",
    }


# -- anything ----------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = """subject action resource context deferred unknown evaluations options evaluations_semantic page token limit
bearer type id name properties patient x"""
NAMES = st.sampled_from(WORDS.split())
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6))
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "subject": st.just(ALICE) | ANYTHING,
        "action": st.just(READ) | ANYTHING,
        "resource": st.just(RECORD) | ANYTHING,
        "context": ANYTHING,
        "deferred": ANYTHING,
        "evaluations": st.lists(ANYTHING, max_size=3) | ANYTHING,
        "page": ANYTHING,
    },
)


def survives(read, data):
    try:
        found = read(data)
    except RequestError:
        return
    for item in found.items if isinstance(found, Batch) else ():
        try:
            found.read(item)
        except RequestError:
            continue


@given(ANYTHING | NEARLY)
def test_any_json_is_read_or_refused(data):
    text = json.dumps(data).encode()
    for read in (
        evaluation,
        batch,
        plan,
        *(lambda d, w=wanted: search(w, d) for wanted in ("subject", "resource", "action")),
    ):
        survives(read, text)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data):
    for read in (evaluation, batch, plan, frame, lambda given: search("action", given)):
        survives(read, data)


@given(NEARLY, st.data())
def test_a_mutated_body_is_read_or_refused(data, draw):
    text = bytearray(json.dumps(data).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        text[draw.draw(st.integers(0, len(text) - 1))] = draw.draw(st.integers(0, 255))
    for read in (evaluation, batch, plan):
        survives(read, bytes(text))


PACKED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.integers(0, 9), inner, max_size=6),
)


@given(PACKED | NEARLY.filter(lambda data: "7" not in json.dumps(data)))
def test_any_msgpack_is_read_or_refused(data):
    try:
        packed = msgspec.msgpack.encode(data)
    except OverflowError:  # integers that msgpack does not have
        return
    survives(frame, packed)


# -- plain values ------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=5), i, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_values_are_those_of_the_core_however_plain_they_are(properties):
    """Text, numbers and short lists become immutable in the decoder, everything else afterwards."""
    given = {**WHOLE, "context": properties}
    expected = Request.from_json(json.loads(json.dumps(given)))
    said = [evaluation(json.dumps(given).encode()), *read_all(batch(body(evaluations=[{"context": properties}])))]
    assert [typed(request.context) for request in said] == [typed(expected.context)] * 2
    assert all(isinstance(request.context, MappingProxyType) for request in said)


def typed(value):
    """A value with the types of all that is in it; which kind of map does not matter."""
    if isinstance(value, Mapping):
        return {name: typed(inner) for name, inner in value.items()}
    return (type(value), [typed(inner) for inner in value]) if isinstance(value, tuple) else (type(value), value)
