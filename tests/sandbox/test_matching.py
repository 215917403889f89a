"""Attribute matching of the sandbox PACS, key by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import PersonName

from adapters.sandbox.matching import matches, texts

VALUES = st.lists(st.text(alphabet="abcXYZ019^-. ", min_size=1, max_size=8), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("vr", "wanted", "held", "answer"),
    [
        ("LO", ["P001"], ["P001"], True),
        ("LO", ["p001"], ["P001"], False),
        ("LO", ["P00?"], ["P001"], True),
        ("LO", ["P*"], ["P001"], True),
        ("LO", ["P*2"], ["P001"], False),
        ("PN", ["shahe*"], ["Shahe^Meihua=沙盒^美华"], True),
        ("PN", ["沙盒^*"], ["Shahe^Meihua=沙盒^美华"], True),
        ("CS", ["CR", "DX"], ["DX", "SR"], True),
        ("CS", ["CR", "DX"], ["CT"], False),
        ("UI", ["1.2", "1.3"], ["1.3"], True),
        ("UI", ["1.*"], ["1.3"], False),
        ("DA", ["20260101-20261231"], ["20260630"], True),
        ("DA", ["20260101-"], ["20251231"], False),
        ("DA", ["-20251231"], ["20251231"], True),
        ("DA", ["20260630"], ["20260630"], True),
        ("TM", ["08-09"], ["083000"], True),
        ("IS", ["1"], ["1"], True),
    ],
)
def test_a_key_matches_a_value_as_the_standard_says(vr, wanted, held, answer):
    assert matches(vr, wanted, held) is answer


@given(st.sampled_from(["LO", "PN", "DA", "UI", "CS"]), VALUES)
def test_an_empty_key_matches_everything(vr, held):
    assert matches(vr, [], held) and matches(vr, [""], held)


@given(st.sampled_from(["LO", "CS", "UI"]), VALUES)
def test_a_value_matches_itself(vr, held):
    assert matches(vr, [held[0]], held)


@given(st.text(max_size=30))
def test_any_text_may_be_a_key(key):
    assert matches("LO", [key], ["value"]) in (True, False)


def test_a_missing_value_matches_only_the_universal_key():
    assert matches("LO", ["*"], [])
    assert not matches("LO", ["P001"], [])


def test_texts_of_an_element_are_its_values():
    assert texts(None) == texts("") == ()
    assert texts(["CR", "DX"]) == ("CR", "DX")
    assert texts(PersonName("Shahe^Meihua")) == ("Shahe^Meihua",)
    assert texts(7) == ("7",)
