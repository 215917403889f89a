from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.bundle import read_page, searchset
from adapters.fhir.projection import project
from adapters.fhir.search import View
from spir.errors import PeerError
from tests.fhir.given_fhir import TABLES

RAW = b'{ "resourceType":"Patient","id":"a", "x":0.40}'


def bundle(entries: bytes, links: bytes = b"[]") -> bytes:
    return b'{"resourceType":"Bundle","type":"searchset","total":9,"link":%s,"entry":[%s]}' % (links, entries)


def test_resources_are_taken_out_byte_for_byte():
    page = read_page(bundle(b'{"fullUrl":"u","resource":%s,"search":{"mode":"match","score":1}}' % RAW), "Patient")
    assert [entry.raw.strip() for entry in page.entries] == [RAW]
    assert page.entries[0].resource == {"resourceType": "Patient", "id": "a", "x": 0.4}
    assert page.next == ""


def test_what_is_no_match_of_the_type_is_left_out():
    entries = [
        b'{"resource":{"resourceType":"Observation","id":"o"}}',
        b'{"resource":%s,"search":{"mode":"include"}}' % RAW,
        b'{"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}}',
        b'{"search":{"mode":"match"}}',
        b'{"resource":%s,"search":[]}' % RAW,
        b'{"resource":null}',
        b'{"resource":[]}',
        b'{"resource":{"resourceType":["Patient"]}}',
    ]
    assert read_page(bundle(b",".join(entries)), "Patient").entries == ()
    assert read_page(b'{"resourceType":"Bundle","type":"searchset"}', "Patient").entries == ()


def test_the_next_link_is_found_among_others():
    links = b'[{"relation":"self","url":"a"},3,{"relation":"next"},{"relation":"next","url":"b"}]'
    assert read_page(bundle(b"", links), "Patient").next == "b"
    assert read_page(bundle(b"", b'{"relation":"next"}'), "Patient").next == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Bundle","type":"history"}',
        b'{"resourceType":"Bundle","type":"searchset","entry":null}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[1]}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"a":1,"a":2}}]}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[],"entry":[]}',
    ],
)
def test_anything_else_is_the_servers_fault(body):
    with pytest.raises(PeerError):
        read_page(body, "Patient")


@given(st.binary(max_size=60) | st.binary(max_size=40).map(bundle))
def test_any_bytes_are_read_or_refused_and_nothing_else(body):
    with contextlib.suppress(PeerError):
        read_page(body, "Patient")


def test_our_own_bundle_says_only_what_we_say():
    body = searchset("https://g", "https://g/Patient", [("Patient/a", RAW)], "https://g/Patient?_page=t", 1)
    assert RAW in body
    assert json.loads(body) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [
            {"relation": "self", "url": "https://g/Patient"},
            {"relation": "next", "url": "https://g/Patient?_page=t"},
        ],
        "entry": [
            {
                "fullUrl": "https://g/Patient/a",
                "resource": {"resourceType": "Patient", "id": "a", "x": 0.4},
                "search": {"mode": "match"},
            }
        ],
    }
    assert json.loads(searchset("https://g", "https://g/Patient", [])) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": "https://g/Patient"}],
    }


OBSERVATION = {
    "resourceType": "Observation",
    "id": "o",
    "meta": {"versionId": "1", "tag": [{"code": "t"}]},
    "text": {"div": "d"},
    "status": "final",
    "_status": {"id": "s"},
    "code": {"text": "c"},
    "category": [{"text": "k"}],
    "valueQuantity": {"value": 1},
    "note": [{"text": "n"}],
    "extension": [{"url": "u"}],
}


@pytest.mark.parametrize(
    ("view", "left_out"),
    [
        (View(("value",)), {"text", "category", "note", "extension"}),
        (View(("note", "category")), {"text", "valueQuantity", "extension"}),
        (View(summary="true"), {"text", "category", "note", "extension"}),
        (View(summary="text"), {"category", "valueQuantity", "note", "extension"}),
        (View(summary="data"), {"text"}),
    ],
)
def test_a_view_leaves_out_what_was_not_asked_for_and_says_so(view, left_out):
    shown = json.loads(project(json.dumps(OBSERVATION).encode(), TABLES.types["Observation"], view))
    assert shown.keys() == OBSERVATION.keys() - left_out
    assert [tag["code"] for tag in shown["meta"]["tag"]] == ["t", "SUBSETTED"]


def test_no_view_is_no_change():
    assert project(RAW, TABLES.types["Patient"], View()) is RAW
