"""Whatever is sent as a body: refused with a reason or decided as it stands, never permitted, never a defect."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.reading import evaluation as read_evaluation
from adapters.authzen.service import PdpConfig
from spir.errors import RequestError
from tests.authzen.given_pdp import GivenPdp, call, evaluation, pdp

EVALUATION, EVALUATIONS, EXPLAIN, PLAN = (
    "/access/v1/evaluation",
    "/access/v1/evaluations",
    "/v1/explain",
    "/v1/plan",
)
SEARCHES = tuple(f"/access/v1/search/{one}" for one in ("subject", "resource", "action"))
PATHS = (EVALUATION, EVALUATIONS, EXPLAIN, PLAN, *SEARCHES)


def treated():
    port = GivenPdp()
    port.learn("HIS|P001", care_team=("dr.li",))
    return port


APP = pdp(treated())
WHOLE = json.dumps(evaluation())  # this one is permitted
OTHERS = json.dumps(evaluation("dr.wu"))


def answered(path, raw, **more):
    """The reply, which is a decision or a refusal with a reason."""
    reply = call(APP, "POST", path, raw, **more)
    too_long = len(raw) > (PdpConfig().max_explained if path == EXPLAIN else PdpConfig().max_body)
    assert reply.status in ((413,) if too_long else (200, 400)), (reply.status, reply.body)
    for name in ("x-policy-version", "x-request-id", "traceparent"):
        assert reply.headers[name]
    if reply.status != 200:
        assert reply.json["error"]["status"] == reply.status and reply.json["error"]["message"]
    return reply


def permitted(reply):
    """Whether it lets anybody do anything: by an evaluation, an item of a batch, a plan or an explanation."""
    said = reply.json
    decisions = [said, *said.get("evaluations", ())]
    effects = [said.get("effect"), said["decision"]["effect"] if isinstance(said.get("decision"), dict) else ""]
    return any(one.get("decision") is True for one in decisions) or "permit" in effects


# -- JSON that is not quite JSON ---------------------------------------------------------------

ODD = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "'a'",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u00"',
    '"\\x41"',
    '"\t"',
    "undefined",
    "/* a */ 1",
    "[1,]",
    '{"a":1,}',
    "{a:1}",
    "tru",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_json_is_refused_wherever_it_stands(path, odd):
    for text in (odd, WHOLE[:-1] + f',"context":{{"x":{odd}}}}}', WHOLE[:-1] + f',"x":{odd}}}'):
        reply = answered(path, text.encode())
        assert reply.status == 400 or not permitted(reply)


@pytest.mark.parametrize(
    "raw", [WHOLE.encode("utf-16"), WHOLE.encode("utf-8-sig"), b"\xed\xa0\x80", WHOLE.encode() * 2]
)
@pytest.mark.parametrize("path", PATHS)
def test_other_encodings_and_more_than_one_value_are_refused(path, raw):
    assert answered(path, raw).status == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "type", ["", "text/plain", "text/json", "application/json-patch+json", "application/jsonx", "a", "\xff", "*/*"]
)
def test_another_content_type_is_refused(path, type):
    assert answered(path, WHOLE.encode(), type=type).status == 400


# -- names that mean something elsewhere --------------------------------------------------------

KEYS = ["id", "type", "patient", "now", "operation", "patients", "role", "$int", "$time", "", "a.b", "organization"]


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
            max_leaves=4,
        ),
    ),
    st.sampled_from(["subject", "action", "resource", "context"]),
)
def test_any_property_under_any_name_is_decided_and_recorded(properties, place):
    body = evaluation()
    body[place] = {**body[place], "properties": properties} if place != "context" else properties
    for path in (EVALUATION, PLAN):
        answered(path, json.dumps(body).encode())


# -- members that stand twice ------------------------------------------------------------------

SECOND = [
    '"subject":{"type":"person","id":"dr.wu"}',
    '"subj\\u0065ct":{"type":"person","id":"dr.wu"}',
    '"subject" : {"type":"person","id":"dr.wu"}',
    '"action":{"name":"delete"}',
    '"x":1,"x":2',
    '"x":{"y":1,"y":2}',
    '"context":{"a":1,"a":2}',
    '"context":{"a":[{"b":":","b":""}]}',
    '"context":{"a":":::","b":{"c\\u003a":1,"c:":2}}',
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("second", SECOND)
def test_a_member_that_stands_twice_is_refused(path, second):
    """Whoever looks at the body before us might take the other one."""
    for text in (f"{WHOLE[:-1]},{second}}}", f"{{{second},{WHOLE[1:]}"):
        reply = answered(path, text.encode())
        assert reply.status == 400 and "stands there twice" in reply.json["error"]["message"]


def test_a_member_that_stands_twice_in_an_item_is_refused_for_that_item():
    item = '{"action":{"name":"delete"},"action":{"name":"read"}}'
    reply = answered(EVALUATIONS, f'{WHOLE[:-1]},"evaluations":[{item},{{}}]}}'.encode())
    first, second = reply.json["evaluations"]
    assert first["context"]["error"]["status"] == 400 and second["decision"] is True


TEXTS = st.text(st.sampled_from('a:"\\u{}[], é\n'), max_size=6)
TREES = st.recursive(
    TEXTS | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=4).map(tuple),
    max_leaves=12,
)


def written(tree, escape):
    """A tree as JSON text; a tuple of pairs is an object, in which a name may stand twice."""
    if isinstance(tree, tuple):
        members = (f"{json.dumps(name, ensure_ascii=escape)}:{written(value, escape)}" for name, value in tree)
        return f"{{{','.join(members)}}}"
    if isinstance(tree, list):
        return f"[{', '.join(written(one, escape) for one in tree)}]"
    return json.dumps(tree, ensure_ascii=escape)


def twice(tree):
    if isinstance(tree, tuple):
        return len({name for name, _ in tree}) < len(tree) or any(twice(value) for _, value in tree)
    return isinstance(tree, list) and any(map(twice, tree))


@given(TREES, st.booleans(), st.sampled_from(["context", "x"]))
def test_twice_is_told_from_once_wherever_it_is_and_however_it_is_written(tree, escape, place):
    body = f'{WHOLE[:-1]},"{place}":{{"k":{written(tree, escape)}}}}}'.encode()
    if twice(tree):
        with pytest.raises(RequestError, match="twice"):
            read_evaluation(body)
    else:
        read_evaluation(body)


# -- any JSON ----------------------------------------------------------------------------------

WORDS = (
    """subject action resource context deferred unknown evaluations options page type id name properties patient x"""
)
NAMES = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["dr.wu", "person", "result", "HIS|P001"])
)
ANYTHING = st.recursive(
    SCALARS, lambda i: st.lists(i, max_size=3) | st.dictionaries(NAMES, i, max_size=5), max_leaves=8
)


@given(st.sampled_from(PATHS), ANYTHING)
def test_any_json_is_refused_or_denied(path, data):
    assert not permitted(answered(path, json.dumps(data).encode()))


@given(st.sampled_from(PATHS), st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_anything_beside_a_request_that_is_denied_stays_denied(path, more):
    """Everything but who asks for what may be anything."""
    more = {name: value for name, value in more.items() if name not in ("subject", "evaluations")}
    assert not permitted(answered(path, json.dumps({**evaluation("dr.wu"), **more}).encode()))


@given(st.sampled_from(PATHS), st.data())
def test_a_damaged_request_of_somebody_else_is_never_permitted(path, draw):
    raw = bytearray(OTHERS.encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(raw) - 1))
        if draw.draw(st.booleans()):
            raw[at] = draw.draw(st.integers(0, 255))
        else:
            raw[at : at + draw.draw(st.integers(0, 20))] = draw.draw(st.binary(max_size=4))
        if not raw:
            break
    assert not permitted(answered(path, bytes(raw)))


# -- any size ----------------------------------------------------------------------------------

LARGE = [
    '"x":"' + "x" * 200_000 + '"',
    '"context":{"a":"' + "\\u0061" * 30_000 + '"}',
    '"context":{"a":[' + ",".join(["[]"] * 60_000) + "]}",
    '"context":{' + ",".join(f'"k{n}":{n}' for n in range(15_000)) + "}",
    '"context":{"a":1e999}',
    '"x":' + "9" * 200_000,
    '"context":{"a":' + "9" * 4_000 + "}",
    '"context":{"a":-1' + "0" * 100_000 + "}",
    '"evaluations":[' + ",".join(["{}"] * 1000) + "]",
    '"evaluations":[' + ",".join(["{}"] * 60_000) + "]",
    '"deferred":[' + ",".join(['"resource"'] * 10_000) + "]",
    '"context":' + '{"a":' * 20_000 + "1" + "}" * 20_000,
    '"x":' + "[" * 100_000 + "]" * 100_000,
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", range(len(LARGE)))
def test_large_and_deep_bodies_of_somebody_else_are_refused_or_denied(path, number):
    assert not permitted(answered(path, f"{OTHERS[:-1]},{LARGE[number]}}}".encode()))


def test_what_a_body_may_cost_is_bounded():
    """A large body is not multiplied: neither by the items of a batch nor by the policies that look at it."""
    wide = "x" * 100_000
    item = '{"resource":{"type":"result","id":"r1"}}'
    shared = f'{OTHERS[:-1]},"context":{{"a":"{wide}"}},"evaluations":[{",".join([item] * 1000)}]}}'.encode()
    call(APP, "POST", EVALUATIONS, shared)
    tracemalloc.start()
    try:
        for path, raw in ((EVALUATIONS, shared), (EVALUATION, f'{OTHERS[:-1]},"x":"{wide}"}}'.encode())):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            answered(path, raw)
            assert tracemalloc.get_traced_memory()[1] - before < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
