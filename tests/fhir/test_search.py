from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.mask import compile_mask
from adapters.fhir.outcome import Refused
from adapters.fhir.search import Bounds, Search, View, looks_at_masked, narrow, read_search, read_view
from tests.fhir.given_fhir import TABLES

OBSERVATION, PATIENT, STUDY = (TABLES.types[name] for name in ("Observation", "Patient", "ImagingStudy"))


def found(*query: tuple[str, str], row=OBSERVATION) -> Search:
    return read_search(row, query, TABLES)


def test_filters_keep_their_order_and_repetition():
    search = found(("code", "a,b"), ("date", "ge2026"), ("date", "lt2027"), ("_sort", "-date,status"), ("_count", "5"))
    assert search.filters == (("code", "a,b"), ("date", "ge2026"), ("date", "lt2027"))
    assert search.query == (*search.filters, ("_sort", "-date,status"))
    assert search.count == 5
    assert search.reads == {("code",), ("effective[x]",), ("status",)}


@pytest.mark.parametrize(
    "name",
    [
        "_filter _text _content _query _list _in _has _include _revinclude _contained _containedType _type _score",
        "_include:iterate _revinclude:recurse _has:Observation:patient:code _INCLUDE %5Finclude Code code; phonetic",
        "subject.name subject:Patient.name patient.identifier encounter.subject.name code-value-quantity near",
        "code:text code:in code:not-in code:above code:below code:of-type subject:identifier subject:Person code:x",
        "_getpages _offset _cursor _graphql _account _at _since",
    ],
)
def test_what_no_table_lists_is_refused(name):
    for one in name.split():
        with pytest.raises(Refused):
            found((one, "a"))


@pytest.mark.parametrize(
    "name", ["subject:Patient", "patient:missing", "code:not", "value-string:exact", "date:missing"]
)
def test_modifiers_that_read_nothing_more_are_taken(name):
    value = "true" if name.endswith("missing") else "p1"
    assert found((name, value)).filters == ((name, value),)


@pytest.mark.parametrize(
    "query",
    [
        [("_count", "0")],
        [("_count", "-1")],
        [("_count", "x")],
        [("_count", "１")],
        [("_count", "1"), ("_count", "2")],
        [("_summary", "count")],
        [("_total", "accurate")],
        [("_total", "estimate")],
        [("_summary", "everything")],
        [("_elements", "status"), ("_summary", "true")],
        [("_elements", "nonsense")],
        [("_elements", "status,")],
        [("_sort", "_score")],
        [("_sort", "code,,date")],
        [("_sort", "code:text")],
        [("_sort", "subject.name")],
        [("_sort", "a,b,c,d,e")],
        [("code", "")],
        [("code", "a,,b")],
        [("_id", "a/b")],
        [("_id", "a,..")],
        [("subject", "http://elsewhere/Patient/1")],
        [("subject", "Person/1")],
        [("subject", "Patient?identifier=1")],
        [("subject:missing", "maybe")],
        [("_page", "x"), ("code", "a")],
        [("_page", "x"), ("_page", "y")],
        [("_page", "x"), ("_count", "5")],
    ],
)
def test_values_that_would_tell_more_or_mean_nothing_are_refused(query):
    with pytest.raises(Refused):
        found(*query)


def test_what_only_shapes_the_answer_is_taken_out_of_the_query():
    search = found(("_elements", "code,value"), ("_total", "none"), ("_pretty", "true"), ("_format", "json"))
    assert search == Search("Observation", view=View(("code", "value")))
    assert found(("_summary", "false")).view == View()
    assert found(("_summary", "true")).view == View(summary="true")


def test_a_read_takes_a_view_and_nothing_else():
    assert read_view(PATIENT, (("_elements", "name"), ("_format", "json"))) == View(("name",))
    for query in ([("_id", "a")], [("_elements", "name"), ("_elements", "photo")], [("_summary", "count")]):
        with pytest.raises(Refused):
            read_view(PATIENT, tuple(query))


@pytest.mark.parametrize(
    ("mask", "query", "row", "told"),
    [
        ("patient.telecom", ("phone", "555"), PATIENT, True),
        ("patient.telecom", ("telecom:missing", "true"), PATIENT, True),
        ("patient.telecom", ("_sort", "-email"), PATIENT, True),
        ("patient.telecom", ("family", "a"), PATIENT, False),
        ("patient.birth_date", ("birthdate", "gt1980"), PATIENT, True),
        ("patient.name", ("name:exact", "a"), PATIENT, True),
        ("Patient.name.given", ("name", "a"), PATIENT, True),
        ("result.value", ("value-quantity", "gt5"), OBSERVATION, True),
        ("result.value", ("combo-value-quantity", "gt5"), OBSERVATION, True),
        ("Observation.component.value[x]", ("component-value-concept", "x"), OBSERVATION, True),
        ("patient.telecom", ("code", "a"), OBSERVATION, False),
    ],
)
def test_a_search_that_looks_at_what_is_masked_is_recognised(mask, query, row, told):
    assert looks_at_masked(found(query, row=row), compile_mask(frozenset({mask}), TABLES), TABLES) is told


def test_what_the_decision_leaves_is_added_beside_the_callers_own():
    asked = (("patient", "Patient/a,Patient/z"), ("code", "x"))
    bounds = Bounds(patients=frozenset({"a", "b"}), ids=frozenset({"o1"}))
    assert narrow(OBSERVATION, asked, bounds) == (*asked, ("patient", "Patient/a,Patient/b"), ("_id", "o1"))
    assert narrow(PATIENT, (), Bounds(patients=frozenset({"a"}))) == (("_id", "a"),)
    assert narrow(STUDY, (), Bounds(modalities=frozenset({"DX", "CR"}))) == (("modality", "CR,DX"),)


@pytest.mark.parametrize(
    "bounds", [Bounds(patients=frozenset()), Bounds(ids=frozenset()), Bounds(modalities=frozenset())]
)
def test_where_nothing_can_match_nothing_is_asked(bounds):
    assert narrow(STUDY, (("status", "available"),), bounds) is None


def test_what_cannot_be_spelled_safely_is_left_to_the_check_of_every_row():
    odd = Bounds(patients=frozenset({"a,b"}), modalities=frozenset({"CR|"}))
    assert narrow(STUDY, (), odd) == ()
    assert narrow(STUDY, (), Bounds(patients=frozenset(str(n) for n in range(100)))) == ()


ids = st.frozensets(st.sampled_from("abcdef"), min_size=1)


@given(st.lists(st.sampled_from("abcdef"), min_size=1), ids)
def test_narrowing_never_joins_its_values_to_the_callers(asked, allowed):
    given = (("patient", ",".join(asked)),)
    query = narrow(OBSERVATION, given, Bounds(patients=allowed))
    assert query[: len(given)] == given
    assert {value.removeprefix("Patient/") for value in query[-1][1].split(",")} == allowed


@given(st.lists(st.tuples(st.text(max_size=12) | st.sampled_from(["code", "_sort", "_count", "subject"]), st.text())))
def test_any_parameters_are_read_or_refused_and_nothing_else(query):
    try:
        search = read_search(OBSERVATION, tuple(query), TABLES)
    except Refused as refused:
        assert 400 <= refused.status < 500
    else:
        assert all(name.partition(":")[0] in OBSERVATION.parameters for name, _ in search.filters)
