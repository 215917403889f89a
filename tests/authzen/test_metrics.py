"""Counters and their Prometheus text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.metrics import Counters, Histogram, exposition
from adapters.authzen.port import Measure
from tests.authzen.given_pdp import GivenPdp, call, evaluation, pdp

SAMPLE = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (-?[0-9.e+-]+|inf|nan)')


def samples(text):
    """Sample -> value; every line is a sample, a HELP or a TYPE."""
    found = {}
    for line in text.decode().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP [a-z_]+ .*|TYPE [a-z_]+ (counter|gauge|histogram))", line), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        found[match[1] + (match[2] or "")] = float(match[3])
    return found


def test_counters_are_written_by_their_labels():
    counters = Counters("calls_total", "calls", ("kind", "status"))
    counters.child("a", "200").value += 2
    counters.child("b", 'say "hi"\\\n')
    text = exposition([counters], {}, []).decode()
    assert text == (
        "# HELP calls_total calls\n# TYPE calls_total counter\n"
        'calls_total{kind="a",status="200"} 2\ncalls_total{kind="b",status="say \\"hi\\"\\\\\\n"} 0\n'
    )


def test_the_same_labels_are_the_same_child_and_too_many_are_counted_together():
    counters = Counters("c", "c", ("x",), most=2)
    assert counters.child("a") is counters.child("a")
    counters.child("b")
    assert counters.child("c") is counters.child("d")
    assert set(counters.children) == {("a",), ("b",), ("other",)}


@given(st.lists(st.floats(0, 2)))
def test_a_histogram_counts_each_observation_once(values):
    histogram = Histogram((0.5, 1.0))
    for value in values:
        histogram.observe(value)
    below = dict(histogram.below())
    assert below == {
        "0.5": sum(v <= 0.5 for v in values),
        "1.0": sum(v <= 1.0 for v in values),
        "+Inf": len(values),
    }
    assert histogram.count == len(values)


def test_measures_of_one_name_share_one_head():
    measures = [Measure("waiting", 1, {"channel": "a"}, help="h"), Measure("waiting", 2, {"channel": "b"})]
    text = exposition([], {}, measures).decode()
    assert text == '# HELP waiting h\n# TYPE waiting gauge\nwaiting{channel="a"} 1\nwaiting{channel="b"} 2\n'


def test_what_the_decision_point_has_done_is_counted():
    port = GivenPdp(problems={"outbox": "stuck"})
    port.learn("HIS|P001", care_team=("dr.li",))
    app = pdp(port)
    for subject in ("dr.li", "dr.wu", "dr.wu"):
        call(app, "POST", "/access/v1/evaluation", evaluation(subject))
    call(app, "POST", "/access/v1/evaluation", b"{")
    call(app, "POST", "/access/v1/evaluations", {"evaluations": [evaluation(), {}]})
    call(app, "GET", "/nowhere")
    reply = call(app, "GET", "/metrics", bearer="")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(reply.body)
    expected = {
        'spir_pdp_requests_total{operation="evaluate",status="200"}': 3,
        'spir_pdp_requests_total{operation="evaluate",status="400"}': 1,
        'spir_pdp_requests_total{operation="",status="404"}': 1,
        'spir_pdp_decisions_total{protocol="http",effect="permit"}': 2,
        'spir_pdp_decisions_total{protocol="http",effect="deny"}': 2,
        'spir_pdp_decisions_total{protocol="http",effect="error"}': 1,
        'spir_pdp_request_seconds_count{operation="evaluate"}': 4,
        'spir_pdp_cache_lookups_total{result="hit"}': 1,
        f'spir_bundle_info{{fingerprint="{port.bundle}"}}': 1,
        "spir_facts_revision": 1,
        'spir_outbox_waiting{channel="alert"}': 3,
        'spir_unsound{part="outbox"}': 1,
    }
    assert {name: found.get(name) for name in expected} == expected
