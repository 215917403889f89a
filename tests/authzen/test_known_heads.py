"""A head that was read before means what the parser says it means, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.web.heads import MOST, Heads
from tests.authzen.given_pdp import GivenPdp, evaluation, pdp
from tests.authzen.streams import Forgetful, Noting, conversation, same


def treated():
    port = GivenPdp()
    port.learn("HIS|P001", care_team=("dr.li",))
    return pdp(port)


APP = treated()
BODY = json.dumps(evaluation()).encode()  # this one is permitted
OTHER = json.dumps(evaluation("dr.wu", category="routine")).encode()
LINES = [b"Host: x", b"Authorization: Bearer pep", b"Content-Type: application/json"]
OWN = [
    b"X-Request-ID: mine",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
]


def post(body=BODY, lines=(*LINES,), length=None, start=b"POST /access/v1/evaluation HTTP/1.1"):
    size = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([start, *lines, size, b"", body])


def knowing(*requests):
    """Heads that know those of these requests."""
    heads = Noting()
    for request in requests:
        said, _ = conversation(APP, heads, [request])
        assert said.startswith(b"HTTP/1.1 ")
    assert heads.count == 0
    return heads


def test_a_head_that_was_read_is_known_on_every_connection():
    heads = knowing(post())
    for body in (BODY, OTHER):
        said, closed = conversation(APP, heads, [post(body), post(body)])
        assert said.count(b'{"decision":true' if body is BODY else b'{"decision":false') == 2 and not closed
    assert heads.count == 4


def test_a_request_brings_its_own_ids():
    heads = knowing(post(lines=(*LINES, *OWN)))
    own = [b"X-Request-ID: yours", OWN[1].replace(b"0af7", b"1234")]
    said, _ = conversation(APP, heads, [post(lines=(*LINES, *own))])
    assert heads.count == 1
    assert b"x-request-id: yours\r\n" in said and b"traceparent: 00-1234651916cd43dd8448eb211c80319c-" in said


UNLEARNT = [
    post(lines=(*LINES, b"Connection: close")),
    post(lines=(*LINES, b"Expect: 100-continue")),
    post(lines=(*LINES, b"Content-Length: %d" % len(BODY))),
    post(lines=(*LINES, OWN[0], OWN[0])),
    post(lines=(*LINES, b"X: " + b"x" * 5000)),
    post(lines=(*LINES, *[b"X: x"] * 70)),
    post(start=b"POST /access/v1/evaluation?a HTTP/1.1"),
    post(start=b"POST /v1/plan HTTP/1.1"),
    post(start=b"POST /access/v1/evaluation HTTP/1.0"),
    post() + post(),
    post() + b"\r\n",
    post(length=len(BODY) + 1) + b" ",
]


@pytest.mark.parametrize("request_", UNLEARNT[:-1])
def test_what_is_not_of_the_plain_kind_is_not_learnt(request_):
    heads = Noting()
    for _ in range(2):
        conversation(APP, heads, [request_])
    assert heads.count == 0


def test_what_is_known_is_bounded():
    heads = Heads()
    for number in range(MOST + 10):
        for _ in range(3):
            conversation(APP, heads, [post(lines=(*LINES, b"X: %d" % number))])
    assert len(heads._same) <= MOST and len(heads._alike) <= MOST


def test_who_may_not_ask_is_refused_though_the_head_is_known():
    lines = (LINES[0], b"Authorization: Bearer guest", LINES[2])
    heads = knowing(post(lines=lines))
    said, _ = conversation(APP, heads, [post(lines=lines)])
    assert heads.count == 1 and said.startswith(b"HTTP/1.1 403 ")


# -- whatever arrives --------------------------------------------------------------------------

BASES = [post(), post(lines=(*LINES, *OWN)), post(lines=(OWN[0], *LINES)), post(OTHER)]
INSERTED = st.sampled_from(
    [
        *(line + b"\r\n" for line in (*LINES, *OWN)),
        b"Content-Length: 3\r\n",
        b"content-length:3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"X-Request-ID: \xff\r\n",
        b"X-Request-ID: a b\r\n",
        b" folded\r\n",
        b"\tfolded\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"0",
        b" ",
        b"X: y\n",
        b"\x00",
        b"HTTP/1.1\r\n",
    ]
)


@st.composite
def damaged(draw):
    """A request that is known, or nearly."""
    raw = bytearray(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 2))):
        starts = [at + 2 for at in range(len(raw)) if raw[at : at + 2] == b"\r\n"] or [0]
        at = draw(st.sampled_from(starts) | st.integers(0, len(raw)))
        if draw(st.booleans()):
            raw[at:at] = draw(INSERTED)
        else:
            raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=2))
    if draw(st.booleans()):
        return [bytes(raw)]
    cut = draw(st.integers(0, len(raw)))
    return [piece for piece in (bytes(raw[:cut]), bytes(raw[cut:])) if piece]


KNOWN = knowing(*BASES[:3])


@settings(max_examples=400)
@given(st.lists(damaged(), min_size=1, max_size=3), st.booleans())
def test_known_heads_change_no_answer(requests, together):
    pieces = [piece for request in requests for piece in request]
    if together:
        pieces = [b"".join(pieces)]
    said, closed = conversation(APP, KNOWN, pieces)
    parsed, parted = conversation(APP, Forgetful(), pieces)
    assert (same(said), closed) == (same(parsed), parted)


HEADERS = st.lists(
    st.sampled_from(
        [
            *OWN,
            *LINES,
            b"Content-Type: text/plain",
            b"Content-Type: application/json; charset=utf-8",
            b"Authorization: Bearer guest",
            b"Authorization: Basic x",
            b"X-Request-ID: a b",
            b"traceparent: 00-x",
            b"Accept: */*",
        ]
    ),
    max_size=3,
)


def parts(said):
    """Status line, headers but for the ids, body."""
    head, _, body = same(said).partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, sorted(lines), body


ITEM = {"resource": evaluation("dr.li")["resource"]}
OF_ONE = st.sampled_from(
    [BODY, OTHER, b"{}", b"", b"[", BODY[:-1] + b',"x":1}', BODY[:-1] + b',"context":{"a":[[{}]]}}']
)
ITEMS = st.lists(st.sampled_from([ITEM, {}, {"resource": 1}, {"subject": {"id": "dr.wu"}}, {"x": 1}]), max_size=4)
SEMANTICS = st.sampled_from(["execute_all", "deny_on_first_deny", "permit_on_first_permit", "other"])


@st.composite
def batches(draw):
    """Up to four different items, and sometimes so many that they are not decided at one go."""
    items = draw(ITEMS) * draw(st.sampled_from([1, 1, 1, 30]))
    options = {"evaluations_semantic": draw(SEMANTICS)}
    return json.dumps({**evaluation(), "evaluations": items, "options": options}).encode()


@given(st.sampled_from(["evaluation", "evaluations"]), OF_ONE | batches() | st.binary(max_size=9), HEADERS)
def test_the_quick_way_says_what_the_ordinary_way_says(operation, body, more):
    start = f"POST /access/v1/{operation} HTTP/1.1".encode()
    request = post(body, lines=(*LINES[1:], *more), start=start)
    heads, events = Heads(), APP.services.events
    ordinary, _ = conversation(APP, Heads(), [request], quick=False)
    recorded = noted(APP.services.events[len(events) :])
    for _ in range(3):  # read, found, found again
        events = APP.services.events
        quickly, _ = conversation(APP, heads, [request])
        assert parts(quickly) == parts(ordinary)
        assert noted(APP.services.events[len(events) :]) == recorded


def noted(events):
    """What the trail was told, but for the ids of calls."""
    return [
        (one.kind, one.operation, one.subject, one.outcome, one.request, one.decision, {**one.detail, "trace": ""})
        for one in events
    ]
