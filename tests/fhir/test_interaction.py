from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.interaction import (
    Interaction,
    Verb,
    body_form,
    format_wanted,
    headers_of,
    is_id,
    pairs,
    read,
)
from adapters.fhir.outcome import Refused

TYPES = {"Patient", "Observation"}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", b"/Patient", Interaction(Verb.SEARCH, "Patient")),
        ("HEAD", b"/Patient", Interaction(Verb.SEARCH, "Patient", head=True)),
        ("POST", b"/Patient/_search", Interaction(Verb.SEARCH, "Patient")),
        ("POST", b"/Patient", Interaction(Verb.CREATE, "Patient")),
        ("GET", b"/Patient/a-1.B", Interaction(Verb.READ, "Patient", "a-1.B")),
        ("HEAD", b"/Patient/a", Interaction(Verb.READ, "Patient", "a", head=True)),
        ("GET", b"/Patient/a/_history/2", Interaction(Verb.VREAD, "Patient", "a", "2")),
        ("PUT", b"/Patient/a", Interaction(Verb.UPDATE, "Patient", "a")),
        ("DELETE", b"/Patient/a", Interaction(Verb.DELETE, "Patient", "a")),
    ],
)
def test_the_six_interactions_are_read(method, path, expected):
    assert read(method, path, b"", TYPES) == expected


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", b"", 404),
        ("GET", b"/", 404),
        ("POST", b"/", 404),  # batch and transaction
        ("GET", b"/?_type=Patient", 404),
        ("GET", b"//Patient", 400),
        ("GET", b"/Patient/", 400),
        ("GET", b"/Patient//a", 400),
        ("GET", b"/Patient/.", 400),
        ("GET", b"/Patient/..", 400),
        ("GET", b"/Patient/a/../b", 400),
        ("GET", b"/Patient/%61", 400),
        ("GET", b"/Patient/a%2Fb", 400),
        ("GET", b"/Patient/a;x=1", 400),
        ("GET", b"/Patient\\a", 400),
        ("GET", b"/Patient/\xc3\xa9", 400),
        ("GET", b"/Patient/" + b"a" * 65, 400),
        ("GET", b"/Patient/a_b", 400),
        ("GET", b"/patient/a", 404),
        ("GET", b"/Binary/a", 404),
        ("GET", b"/Patient/a/_history", 404),
        ("GET", b"/Patient/_history", 404),
        ("GET", b"/_history", 404),
        ("GET", b"/Patient/a/Observation", 404),
        ("GET", b"/Patient/a/*", 404),
        ("GET", b"/Patient/$everything", 404),
        ("POST", b"/Patient/a/$validate", 404),
        ("POST", b"/$graphql", 404),
        ("GET", b"/$export", 404),
        ("POST", b"/_search", 400),
        ("PUT", b"/Patient", 405),
        ("DELETE", b"/Patient", 405),
        ("PATCH", b"/Patient/a", 405),
        ("OPTIONS", b"/Patient", 405),
        ("TRACE", b"/Patient", 405),
        ("POST", b"/Patient/a", 400),
    ],
)
def test_everything_else_is_refused_by_name(method, path, status):
    with pytest.raises(Refused) as refused:
        read(method, path, b"", TYPES)
    assert refused.value.status == status
    assert refused.value.code != "not-found"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_takes_no_parameters(method):
    with pytest.raises(Refused):
        read(method, b"/Patient/a", b"_account=Organization/1", TYPES)
    with pytest.raises(Refused):
        read("POST", b"/Patient", b"identifier=x", TYPES)


def test_names_and_values_are_decoded_once():
    assert pairs(b"a=b+c&d%3Ae=%252F&f=1,2&f=3&g=;h=1") == (
        ("a", "b c"),
        ("d:e", "%2F"),
        ("f", "1,2"),
        ("f", "3"),
        ("g", ";h=1"),
    )
    assert pairs(b"") == ()


@pytest.mark.parametrize("query", [b"a=%", b"a=%zz", b"a=%ff", b"a=%00", b"a=%0a", b"a", b"=b", b"a=" + b"x" * 20_000])
def test_a_badly_spelled_query_is_refused(query):
    with pytest.raises(Refused):
        pairs(query)


def test_the_number_of_parameters_is_bounded():
    with pytest.raises(Refused):
        read("GET", b"/Patient", b"&".join([b"_id=a"] * 65), TYPES)


def test_a_posted_search_joins_url_and_form():
    found = read("POST", b"/Patient/_search", b"_id=a", TYPES, form=b"name=b")
    assert found.query == (("_id", "a"), ("name", "b"))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"X-HTTP-Method-Override", b"DELETE")],
        [(b"x-method-override", b"PUT")],
        [(b"X-HTTP-Method", b"PUT")],
        [(b"If-None-Exist", b"identifier=1")],
        [(b"Authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"If-Match", b'"1"'), (b"If-Match", b'"2"')],
    ],
)
def test_headers_that_make_another_request_of_it_are_refused(headers):
    with pytest.raises(Refused):
        headers_of(headers)


def test_other_headers_may_come_twice():
    assert headers_of([(b"Accept", b"a "), (b"ACCEPT", b"b")]) == {"accept": "a, b"}


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+json",
        "application/json",
        "*/*",
        "application/*;q=0.1",
        "application/fhir+xml;q=1, application/fhir+json;q=0.5",
        "application/fhir+json; fhirVersion=4.0",
        "",
    ],
)
def test_json_is_served_to_whoever_takes_it(accept):
    format_wanted({"accept": accept}, ())
    format_wanted({"accept": "application/fhir+xml"}, (("_format", "json"),))
    format_wanted({}, (("_format", "application/fhir json"),))  # a plus that was decoded to a space


@pytest.mark.parametrize(
    ("accept", "query"),
    [
        ("application/fhir+xml", ()),
        ("text/html", ()),
        ("application/fhir+json;q=0", ()),
        ("application/fhir+json; fhirVersion=3.0", ()),
        ("*/*", (("_format", "xml"),)),
        ("*/*", (("_format", "json"), ("_format", "xml"))),
        ("application/fhir+json", (("_format", "text/turtle"),)),
    ],
)
def test_any_other_format_is_406(accept, query):
    with pytest.raises(Refused) as refused:
        format_wanted({"accept": accept}, query)
    assert refused.value.status == 406


@pytest.mark.parametrize(
    "content_type",
    ["", "application/fhir+xml", "text/plain", "application/fhir+json; charset=utf-16", "multipart/form-data", "json"],
)
def test_a_body_of_another_type_is_415(content_type):
    with pytest.raises(Refused) as refused:
        body_form({"content-type": content_type}, form=False)
    assert refused.value.status == 415


def test_bodies_that_are_read():
    body_form({"content-type": "application/fhir+json; charset=UTF-8"}, form=False)
    body_form({"content-type": "application/json"}, form=False)
    body_form({"content-type": "application/x-www-form-urlencoded"}, form=True)
    with pytest.raises(Refused):
        body_form({"content-type": "application/json", "content-encoding": "gzip"}, form=False)
    with pytest.raises(Refused):
        body_form({"content-type": "application/json"}, form=True)


def test_dot_segments_are_no_ids():
    assert is_id("a.b") and is_id("...")
    assert not is_id(".") and not is_id("..") and not is_id("") and not is_id("a/b")


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]) | st.text(max_size=6),
    st.binary(max_size=40).map(lambda raw: b"/" + raw) | st.binary(max_size=20),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_any_request_line_is_read_or_refused_and_nothing_else(method, path, query, form):
    try:
        found = read(method, path, query, TYPES, form)
    except Refused as refused:
        assert 400 <= refused.status < 500
    else:
        assert found.type in TYPES
        assert all(is_id(part) for part in (found.id, found.version) if part)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=20)), max_size=4))
def test_any_headers_are_read_or_refused_and_nothing_else(raw):
    try:
        headers = headers_of(raw)
        format_wanted(headers, ())
        body_form(headers, form=False)
    except Refused as refused:
        assert 400 <= refused.status < 500
