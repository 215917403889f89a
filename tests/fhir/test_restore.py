from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.document import REMOVE, cut
from adapters.fhir.mask import compile_mask, locate
from adapters.fhir.outcome import Refused
from adapters.fhir.restore import restored
from tests.fhir.given_fhir import TABLES

STORED = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"family": "Lin"}],
    "telecom": [{"value": "555-1234"}],
    "contact": [
        {"name": {"text": "mother"}, "telecom": [{"value": "777-1234"}]},
        {"name": {"text": "friend"}},
        {"telecom": [{"value": "888-1234"}]},
    ],
    "text": {"div": "<div>555-1234</div>"},
}
MASK = compile_mask(frozenset({"patient.telecom", "Patient.contact.telecom"}), TABLES)
WHERE = locate(MASK, STORED, json.dumps(STORED).encode())


def shown() -> dict:
    return json.loads(cut(json.dumps(STORED).encode(), WHERE))


def back(given: dict) -> dict:
    return json.loads(restored(json.dumps(STORED).encode(), WHERE, json.dumps(given).encode()))


def test_what_was_read_and_written_back_is_what_was_stored():
    assert back(shown()) == STORED


def test_what_was_seen_can_be_changed_and_what_was_not_stays():
    assert back({**shown(), "name": [{"family": "Wu"}], "gender": "female"}) == {
        **STORED,
        "name": [{"family": "Wu"}],
        "gender": "female",
    }


def test_items_may_be_added_and_put_in_another_order():
    given = shown()
    given["contact"] = [{"name": {"text": "new"}}, *reversed(given["contact"])]
    assert back(given)["contact"] == [
        {"name": {"text": "new"}},
        STORED["contact"][1],
        STORED["contact"][0],
        STORED["contact"][2],
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_items_cannot_be_changed_or_taken_away_whether_or_not_they_hide_something(index):
    changed, gone = shown(), shown()
    changed["contact"][index]["name"]["text"] = "other"
    del gone["contact"][index]
    for sent in (changed, gone, {**shown(), "contact": []}, {**shown(), "contact": {}}):
        with pytest.raises(Refused) as refused:
            back(sent)
        assert refused.value.status == 422


def test_two_alike_items_get_one_hidden_part_each():
    stored = {"contact": [{"name": "a", "telecom": "1"}, {"name": "a", "telecom": "2"}]}
    where = {"contact": {0: {"telecom": REMOVE}, 1: {"telecom": REMOVE}}}
    given = b'{"contact":[{"name":"a"},{"name":"a"}]}'
    assert json.loads(restored(json.dumps(stored).encode(), where, given)) == stored


def test_a_client_may_write_a_narrative_of_its_own():
    assert back({**shown(), "text": {"div": "mine"}})["text"] == {"div": "mine"}


def test_what_is_hidden_altogether_is_joined_to_what_is_new():
    stored = {"contact": [{"telecom": "1"}]}
    where = {"contact": {0: {"telecom": REMOVE}}}
    raw = json.dumps(stored).encode()
    assert json.loads(restored(raw, where, b"{}")) == stored
    assert json.loads(restored(raw, where, b'{"contact":[{"name":"n"}]}')) == {
        "contact": [{"name": "n"}, {"telecom": "1"}]
    }
    with pytest.raises(Refused):
        restored(raw, where, b'{"contact":{"name":"n"}}')


def test_an_object_on_the_way_must_come_back_too():
    stored, where = b'{"h":{"a":1,"b":2}}', {"h": {"b": REMOVE}}
    assert json.loads(restored(stored, where, b'{"h":{"a":3}}')) == {"h": {"a": 3, "b": 2}}
    for sent in (b"{}", b'{"h":[]}', b'{"h":1}'):
        with pytest.raises(Refused):
            restored(stored, where, sent)


def test_untouched_decimals_keep_their_precision():
    stored = b'{"telecom":0.10}'
    assert restored(stored, {"telecom": REMOVE}, b'{"x":0.40}') == b'{"x":0.40,"telecom":0.10}'


people = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["a", "b"]), "telecom": st.sampled_from(["1", "2"]), "use": st.just("u")}
)


@given(st.lists(people, max_size=4), st.randoms())
def test_a_round_trip_in_any_order_destroys_nothing(contacts, random):
    stored = {"resourceType": "Patient", "contact": contacts, "active": True}
    raw = json.dumps(stored).encode()
    where = locate(compile_mask(frozenset({"Patient.contact.telecom"}), TABLES), stored, raw)
    seen = json.loads(cut(raw, where))
    random.shuffle(seen.get("contact", []))
    after = json.loads(restored(json.dumps(stored).encode(), where, json.dumps(seen).encode()))
    assert sorted(map(str, after["contact"])) == sorted(map(str, contacts))
