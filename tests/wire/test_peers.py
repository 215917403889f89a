"""The real peers do what the other wire tests take for granted of them."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter

import pytest

from adapters.sandbox.images import everything
from adapters.sandbox.patients import person
from tests.wire.peers import PEERS, require

pytestmark = [pytest.mark.wire, pytest.mark.peer("dcmtk")]

CR, DX, CT, MR, US = (plan.uid for plan in person("P001").studies)


@pytest.fixture
def tools(orthanc, dcmtk):
    return dcmtk(orthanc.port, called=orthanc.ae_title)


def test_orthanc_holds_every_invented_instance(orthanc):
    assert orthanc.count() == len(list(everything()))


def test_an_empty_orthanc_takes_what_storescu_sends(empty_orthanc, dcmtk, sandbox_files):
    answer = dcmtk(empty_orthanc.port).store(sandbox_files / "P001")
    assert (answer.status, empty_orthanc.count()) == (0x0000, 19)


def test_echo_is_answered(tools):
    assert tools.echo().status == 0x0000


def test_find_gives_rows(tools):
    answer = tools.find("PatientID=P001", r"ModalitiesInStudy=CR\DX", "StudyInstanceUID")
    assert answer.status == 0x0000
    assert {row["StudyInstanceUID"]: row["ModalitiesInStudy"] for row in answer.rows} == {CR: "CR", DX: "DX"}


def test_a_name_in_two_scripts_survives_orthanc(tools):
    (row,) = tools.find("PatientID=P001", "StudyInstanceUID=" + CR, "PatientName").rows
    assert row["PatientName"] == "Wang^Xiaoming=王^小明"


def test_move_delivers_to_storescp(orthanc, tools, storescp):
    target = storescp(ae_title="WS1")
    orthanc.know("WS1", target.port)
    answer = tools.move(f"StudyInstanceUID={CT}", destination="WS1")
    assert (answer.status, answer.completed, answer.failed) == (0x0000, 7, 0)
    assert target.counts() == Counter(CT=7)


def test_get_delivers_on_the_same_association(tools):
    answer = tools.get(f"StudyInstanceUID={US}")
    assert (answer.status, answer.completed, answer.received) == (0x0000, 2, {"US": 2})


def test_the_embedded_pacs_answers_dcmtk_as_orthanc_does(sandbox_pacs, tools, dcmtk, storescp):
    keys = ("PatientID=P00*", r"ModalitiesInStudy=CR\DX\US", "StudyInstanceUID", "AccessionNumber", "PatientName")
    ours = dcmtk(sandbox_pacs.port, called="SANDBOXPACS").find(*keys)
    theirs = tools.find(*keys)
    assert _studies(ours) == _studies(theirs) != {}
    target = storescp(ae_title="WS9")
    sandbox_pacs.destinations["WS9"] = ("127.0.0.1", target.port)
    moved = dcmtk(sandbox_pacs.port, called="SANDBOXPACS").move(f"StudyInstanceUID={DX}", destination="WS9")
    assert (moved.status, target.counts()) == (0x0000, Counter(DX=2))


def test_a_refused_association_says_so(sandbox_pacs, dcmtk):
    sandbox_pacs.stop()
    answer = dcmtk(sandbox_pacs.port).echo()
    assert (answer.status, answer.rows) == (None, ())


def test_the_fhir_server_from_npm_holds_the_invented_charts(npm_fhir):
    found = npm_fhir.request("GET", "/Observation?subject=Patient/pat-p001&category=laboratory")
    assert {entry["resource"]["id"] for entry in found["entry"]} == {"potassium-p001", "glucose-p001"}


def test_the_embedded_store_finds_what_the_fhir_server_from_npm_finds(npm_fhir, sandbox_fhir):
    queries = (
        "Patient?identifier=urn:oid:1.2.3|P003",
        "Observation?subject=Patient/pat-p003&category=vital-signs",
        "Observation?code=http://loinc.org|2823-3&_count=20",
        "AllergyIntolerance?patient=Patient/pat-p004",
        "ImagingStudy?subject=Patient/pat-p001&modality=CR,DX",
        "MedicationRequest?subject=Patient/pat-p009&status=active",
        "Encounter?subject=Patient/pat-p001&status=in-progress",
        "Patient?_id=pat-p001,pat-p002",
    )
    for query in queries:
        theirs = {entry["resource"]["id"] for entry in npm_fhir.request("GET", f"/{query}").get("entry", [])}
        url = f"{sandbox_fhir.base}/{query}"
        ours = {entry["resource"]["id"] for entry in json.loads(urllib.request.urlopen(url).read())["entry"]}
        assert ours == theirs != set(), query


@pytest.mark.parametrize("required", ["", "1"])
def test_a_missing_peer_skips_by_name_or_fails_where_peers_are_required(monkeypatch, required):
    monkeypatch.setitem(PEERS, "absent", ("no-such-program", "nothing"))
    monkeypatch.setenv("SPIR_REQUIRE_PEERS", required)
    expected = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(expected, match="peer `absent` is not installed"):
        require("absent")


def _studies(answer):
    return {
        row["StudyInstanceUID"]: (row["AccessionNumber"], row["PatientName"], row["ModalitiesInStudy"])
        for row in answer.rows
    }
