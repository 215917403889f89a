"""Retrieves: what an identifier resolves to, how it is expanded, how counters add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.dataset import DatasetError
from adapters.dicom.identifier import LEVEL, Retrieval, read_retrieval
from adapters.dicom.message import CMoveRsp
from adapters.dicom.query import request_for
from adapters.dicom.resolve import Budget
from adapters.dicom.retrieve import Counters, Found, Selected, SubRequest, expand, refused_list, resolved, split
from adapters.dicom.rows import Judge, Reading
from adapters.dicom.session import Lookup
from adapters.dicom.status import IdentifierError, Status
from adapters.dicom.tables import Level, Root, Service
from spir.errors import PeerError
from spir.exchange import AskPeer
from spir.model.decision import ADMIT_ALL, Decision, Effect
from spir.model.obligation import Obligation
from tests.dicom.scenes import (
    MASKS,
    MODALITY,
    MOVE,
    PATIENT_ID,
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    SR,
    STUDY_UID,
    Pacs,
    data,
    instance,
    texts,
)
from tests.given import DR_LI, HIS, GivenRuling

REQUEST = request_for(DR_LI, Service.MOVE, {"protocol": "dicom"})
WARD = [
    instance(1, "P001", "CR", "1.1", "1.1.1"),
    instance(2, "P001", "CR", "1.1", "1.1.1"),
    instance(1, "P001", "DX", "1.1", "1.1.3"),
    instance(1, "P001", "SR", "1.1", "1.1.2"),
    instance(1, "P001", "CR", "1.2", "1.2.1"),
    instance(1, "P002", "CR", "1.3", "1.3.1"),
]


def judge(allowed: Any = None, obligations: tuple[Obligation, ...] = ()) -> Judge:
    def mine(row: Mapping[str, Any]) -> bool:
        return row.get("modality") in ("CR", "DX") and (row.get("patient") or {}).get("id") == "HIS|P001"

    decision = Decision(Effect.CONDITIONAL, REQUEST.operation, ADMIT_ALL)
    return Judge(GivenRuling(decision, REQUEST, allowed or mine, obligations), Reading(HIS), MASKS, "SPIR")


def read(level: str, keys: dict[int, str], root: Root = Root.STUDY) -> Retrieval:
    return read_retrieval(root, data(keys, level), True)


def find_out(retrieval: Retrieval, judging: Judge | None = None, pacs: Pacs | None = None, budget: int = 100) -> Found:
    steps = resolved(retrieval, judging or judge(), Budget(budget))
    answer: Any = None
    while True:
        try:
            command = steps.send(answer)
        except StopIteration as done:
            found: Found = done.value
            return found
        assert isinstance(command, AskPeer) and isinstance(command.message, Lookup)
        answer = (pacs or Pacs(WARD)).lookup(command.message)


def named(found: Found) -> list[tuple[str, ...]]:
    return [(one.uid, *one.instances) for one in found.selected]


# -- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("STUDY", {STUDY_UID: "1.1", MODALITY: "SR"}),  # a peer ignores it and sends everything
        ("STUDY", {0x00080050: "A1"}),  # a peer serves it without any UID
        ("STUDY", {STUDY_UID: "1.1", 0x00080050: "A1"}),
        ("STUDY", {STUDY_UID: "1.1", PATIENT_ID: "P001"}),
        ("STUDY", {STUDY_UID: ""}),
        ("STUDY", {STUDY_UID: "1.*"}),
        ("STUDY", {}),
        ("SERIES", {SERIES_UID: "1.1.1"}),
        ("SERIES", {STUDY_UID: "1.1\\1.2", SERIES_UID: "1.1.1"}),
        ("SERIES", {STUDY_UID: "1.1"}),
        ("IMAGE", {STUDY_UID: "1.1", SERIES_UID: "1.1.1"}),
        ("PATIENT", {PATIENT_ID: "P001"}),  # no such level in the study root
        ("", {STUDY_UID: "1.1"}),
    ],
)
def test_a_retrieve_by_anything_but_its_unique_keys_is_refused(level: str, keys: dict[int, str]) -> None:
    with pytest.raises(IdentifierError):
        read(level, keys)


@pytest.mark.parametrize("keys", [{PATIENT_ID: "P*"}, {PATIENT_ID: "P001\\P002"}, {PATIENT_ID: ""}])
def test_a_patient_is_retrieved_by_one_plain_id(keys: dict[int, str]) -> None:
    with pytest.raises(IdentifierError):
        read("PATIENT", keys, Root.PATIENT)


def test_empty_keys_say_nothing() -> None:
    assert read("STUDY", {STUDY_UID: "1.1\\1.2\\1.1", MODALITY: ""}).wanted == ("1.1", "1.2")


@given(st.binary(max_size=120), st.sampled_from(Root), st.booleans())
def test_any_identifier_is_read_or_refused(raw: bytes, root: Root, explicit: bool) -> None:
    for start in (b"", data({}, "STUDY", explicit), data({STUDY_UID: "1.1"}, "SERIES", explicit)):
        try:
            assert read_retrieval(root, start + raw, explicit).wanted
        except DatasetError:
            continue


# -- resolution -----------------------------------------------------------------------------------


def test_a_study_resolves_to_its_permitted_series() -> None:
    found = find_out(read("STUDY", {STUDY_UID: "1.1"}))
    assert (named(found), found.hidden) == ([("1.1.1",), ("1.1.3",)], 1)
    assert [(one.patient, one.expected) for one in found.selected] == [("P001", 2), ("P001", 1)]


def test_several_studies_resolve_to_the_series_of_each() -> None:
    found = find_out(read("STUDY", {STUDY_UID: "1.1\\1.2\\1.3\\9.9"}))
    assert (named(found), found.hidden) == ([("1.1.1",), ("1.1.3",), ("1.2.1",)], 2)


def test_a_patient_resolves_to_the_series_of_all_studies() -> None:
    assert named(find_out(read("PATIENT", {PATIENT_ID: "P001"}, Root.PATIENT))) == [("1.1.1",), ("1.1.3",), ("1.2.1",)]


def test_series_that_do_not_lie_in_the_study_named_are_nothing() -> None:
    found = find_out(read("SERIES", {STUDY_UID: "1.1", SERIES_UID: "1.1.1\\1.3.1\\1.2.1"}))
    assert named(found) == [("1.1.1",)]


def test_instances_that_do_not_lie_in_the_series_named_are_nothing() -> None:
    keys = {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: "1.1.1.2\\1.1.2.1\\1.3.1.1"}
    assert named(find_out(read("IMAGE", keys))) == [("1.1.1", "1.1.1.2")]


def test_a_peer_that_matches_too_much_is_not_believed() -> None:
    class Sloppy(Pacs):
        def lookup(self, lookup: Lookup) -> Any:
            return super().lookup(Lookup(lookup.level, dict.fromkeys(lookup.keys, b"")))

    assert named(find_out(read("STUDY", {STUDY_UID: "1.2"}), pacs=Sloppy(WARD))) == [("1.2.1",)]
    keys = {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: "1.1.1.2"}
    assert named(find_out(read("IMAGE", keys), pacs=Sloppy(WARD))) == [("1.1.1", "1.1.1.2")]


def test_the_class_of_a_named_instance_is_part_of_its_judgement() -> None:
    odd = [*WARD, {**instance(9, "P001", "CR", "1.1", "1.1.1"), SOP_CLASS: SR}]
    keys = {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: "1.1.1.2\\1.1.1.9"}
    found = find_out(read("IMAGE", keys), judge(lambda row: row.get("sop_class") != SR), Pacs(odd))
    assert (named(found), found.hidden) == ([("1.1.1", "1.1.1.2")], 1)


def test_a_study_of_another_patient_than_named_is_nothing() -> None:
    keys = {STUDY_UID: "1.1", SERIES_UID: "1.1.1"}
    assert named(find_out(read("SERIES", {**keys, PATIENT_ID: "P002"}, Root.PATIENT))) == []
    assert named(find_out(read("SERIES", {**keys, PATIENT_ID: "P001"}, Root.PATIENT))) == [("1.1.1",)]


@pytest.mark.parametrize("kind", ["mask", "deidentify"])
def test_series_that_would_have_to_be_changed_are_not_retrieved(kind: str) -> None:
    duty = Obligation("o", kind, {"paths": ("patient.telecom",)})
    found = find_out(read("STUDY", {STUDY_UID: "1.1"}), judge(obligations=(duty,)))
    assert (named(found), found.hidden) == ([], 3)


def test_a_resolution_has_a_budget() -> None:
    with pytest.raises(PeerError, match="too many"):
        find_out(read("STUDY", {STUDY_UID: "1.1\\1.2\\1.3"}), budget=2)


# -- expansion --------------------------------------------------------------------------------------

UIDS = st.integers(0, 30).map(lambda n: f"1.9.{n}")
SELECTED = st.lists(
    st.builds(
        Selected,
        st.just("P001"),
        st.sampled_from(["1.1", "1.2", "1.3"]),
        UIDS,
        st.just({}),
        st.lists(UIDS, max_size=4, unique=True).map(tuple),
        st.integers(0, 9),
    ),
    max_size=12,
    unique_by=lambda one: one.uid,
)


def content(requests: tuple[SubRequest, ...]) -> list[tuple[str, str, str]]:
    """(study, series, instance or "") of all requests, in no order."""
    return sorted(
        (one.study, series, uid) for one in requests for series in one.series for uid in one.instances or ("",)
    )


@given(SELECTED, st.integers(1, 5))
def test_expansion_names_what_was_selected_and_nothing_else(selected: list[Selected], length: int) -> None:
    requests = expand(selected, length)
    assert content(requests) == sorted((one.study, one.uid, uid) for one in selected for uid in one.instances or ("",))
    assert all(len(one.series) <= length and len(one.instances) <= length for one in requests)
    assert all(len(one.series) == 1 for one in requests if one.instances)


@given(SELECTED)
def test_splitting_keeps_the_content_and_the_count(selected: list[Selected]) -> None:
    for request in expand(selected, 10):
        parts = split(request)
        assert not parts or (
            content(parts) == content((request,)) and sum(p.expected for p in parts) == request.expected
        )


def test_an_upstream_identifier_has_unique_keys_only() -> None:
    request = SubRequest("P001", "1.1", ("1.1.1", "1.1.3"))
    assert texts(request.identifier(Root.STUDY, True)) == {
        LEVEL: "SERIES",
        STUDY_UID: "1.1",
        SERIES_UID: "1.1.1\\1.1.3",
    }
    images = SubRequest("P001", "1.1", ("1.1.1",), ("1.1.1.2",))
    assert texts(images.identifier(Root.PATIENT, True)) == {
        LEVEL: "IMAGE",
        PATIENT_ID: "P001",
        STUDY_UID: "1.1",
        SERIES_UID: "1.1.1",
        SOP_UID: "1.1.1.2",
    }
    assert Level.SERIES.name == "SERIES"


# -- counters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counters", "status"),
    [
        (Counters(), Status.SUCCESS),
        (Counters(3), Status.SUCCESS),
        (Counters(2, 1), Status.SOME_FAILED),
        (Counters(2, 0, 1), Status.SOME_FAILED),
        (Counters(0, 3), Status.UNABLE_TO_SUBOPERATE),
    ],
)
def test_the_final_status_is_that_of_all_sub_operations(counters: Counters, status: Status) -> None:
    assert counters.status() is status


def test_counters_add_up() -> None:
    assert Counters(1, 2, 3, ("1",)) + Counters(4, 5, 6, ("2",)) == Counters(5, 7, 9, ("1", "2"))


def test_a_list_is_taken_as_refused_only_if_nothing_was_done() -> None:
    listed = SubRequest("P001", "1.1", ("1.1.1", "1.1.3"))
    single = SubRequest("P001", "1.1", ("1.1.1",))
    refusal = CMoveRsp(1, MOVE, 0xA900)
    assert [refused_list(listed, refusal), refused_list(single, refusal)] == [True, False]
    assert not refused_list(listed, CMoveRsp(1, MOVE, 0xA702, completed=0, failed=2, warning=0))
