"""An explanation fits into an answer, tells first what made the decision, and says how much it leaves out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.codec import JSON
from adapters.authzen.shorten import shortened

VERDICTS = ["grants", "forbids it", "does not grant", "does not apply", "is met", "depends on the data"]
POLICY = st.builds(
    lambda verdict, size: {"id": "p", "verdict": verdict, "atoms": ["x" * size]},
    st.sampled_from(VERDICTS),
    st.integers(0, 300),
)
LAYERS = st.lists(st.lists(POLICY, max_size=8), min_size=1, max_size=3)


def explanation(layers):
    return {"decision": {}, "layers": [{"layer": str(n), "policies": list(one)} for n, one in enumerate(layers)]}


@given(LAYERS, st.integers(0, 3000))
def test_no_more_than_fits_and_all_of_it_accounted_for(layers, longest):
    said = shortened(explanation(layers), JSON.encode, longest)
    kept = [policy for layer in said["layers"] for policy in layer["policies"]]
    assert sum(len(JSON.encode(policy)) for policy in kept) <= longest
    for layer, before in zip(said["layers"], layers, strict=True):
        assert len(layer["policies"]) + layer.get("left_out", 0) == len(before)
        assert [id(p) for p in layer["policies"]] == [id(p) for p in before if any(p is k for k in layer["policies"])]


@given(LAYERS)
def test_what_fits_is_left_as_it_is(layers):
    assert shortened(explanation(layers), JSON.encode) == explanation(layers)


def test_what_decided_is_told_before_what_did_not():
    silent = [{"id": f"s{n}", "verdict": "does not grant", "atoms": ["x" * 100]} for n in range(50)]
    loud = {"id": "loud", "verdict": "forbids it", "atoms": []}
    [layer] = shortened(explanation([[*silent, loud]]), JSON.encode, 1000)["layers"]
    assert layer["policies"][-1] == loud and layer["left_out"] > 0
