"""The DICOM proxy between dcmtk's tools and Orthanc: what passes is what the ruling permits, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.connection import Limits
from adapters.dicom.dataset import encode
from adapters.dicom.dimse import CCancelRq, CFindRq, CMoveRq, CommandField, NRq, encode_command
from adapters.dicom.framing import message_pdus
from adapters.dicom.pdu import PresentationContextItem, RoleSelection, UserIdentityRq
from adapters.dicom.pdu import encode as encode_pdu
from adapters.dicom.proxy import Destination, Peer, ProxyConfig
from adapters.dicom.requestor import AssociationRejected, connect
from adapters.sandbox.patients import person
from spir.errors import Unavailable
from spir.exchange import Identity
from spir.model.obligation import Obligation
from spir.model.request import Request
from spir.record.event import EventKind, Outcome
from tests.given import DR_LI, NOON, GivenRuling, GivenServices, deny
from tests.wire.dcmtk import Dcmtk
from tests.wire.odd_pacs import EndlessPacs, LyingPacs
from tests.wire.orthanc import Orthanc
from tests.wire.peers import free_port, wait_for
from tests.wire.proxied import EXPLICIT, FIND, MOVE, Running, answers, finding, radiographs, request

pytestmark = [pytest.mark.wire, pytest.mark.peer("orthanc", "dcmtk")]

CR, DX, CT, MR, US = (plan.uid for plan in person("P001").studies)
DX_AND_SR = person("P003").studies[0].uid
STUDY_UID, LEVEL = 0x0020000D, 0x00080052
QUICK = Limits(artim=5.0, pdu=5.0, idle=20.0, stall=10.0)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """`run(orthanc, ruler=..., **config)`: a started proxy."""
    started: list[Running] = []

    def start(pacs: Orthanc, ruler: Any = None, services: GivenServices | None = None, **config: Any) -> Running:
        services = services or GivenServices(ruler or radiographs("P001"))
        peers = config.pop("peers", (Peer("VIEWER1", ("127.0.0.1",)), Peer("STRANGER", ("127.0.0.1",))))
        settings = {"host": "127.0.0.1", "port": 0, "limits": QUICK, "peers": peers, **config}
        made = ProxyConfig(settings.pop("pacs_host", "127.0.0.1"), pacs.port, pacs.ae_title, **settings)
        started.append(Running(made, services))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def proxy(run: Callable[..., Running], orthanc: Orthanc) -> Running:
    return run(orthanc)


@pytest.fixture
def viewer(proxy: Running, dcmtk: Callable[..., Dcmtk]) -> Dcmtk:
    return dcmtk(proxy.port)


def by_study(answer: Any, keyword: str = "ModalitiesInStudy") -> dict[str, Any]:
    return {row["StudyInstanceUID"]: row.get(keyword) for row in answer.rows}


# -- C-ECHO, C-FIND --------------------------------------------------------------------------------


def test_an_echo_passes(viewer: Dcmtk) -> None:
    assert viewer.echo().status == 0


def test_only_permitted_studies_are_found(viewer: Dcmtk, proxy: Running) -> None:
    answer = viewer.find("PatientID", "StudyInstanceUID", "ModalitiesInStudy", "PatientName")
    assert (answer.status, by_study(answer)) == (0, {CR: "CR", DX: "DX"})
    assert {row["PatientID"] for row in answer.rows} == {"P001"}
    assert {row["PatientName"] for row in answer.rows} == {"Wang^Xiaoming=王^小明"}
    (event,) = proxy.events
    assert (event.kind, event.operation, event.subject) == (EventKind.DECISION, "search:imaging", "dr.li")
    assert (event.patients, event.detail["shown"]) == (("HIS|P001",), 2)


def test_a_query_for_something_else_finds_nothing(viewer: Dcmtk) -> None:
    for keys in (["PatientID=P002"], ["ModalitiesInStudy=CT"], [f"StudyInstanceUID={CT}"], ["PatientName=Shahe*"]):
        answer = viewer.find("StudyInstanceUID", *keys)
        assert (answer.status, answer.rows) == (0, ())


def test_wild_cards_and_lists_of_the_client_stay_what_they_are(viewer: Dcmtk) -> None:
    assert by_study(viewer.find("StudyInstanceUID", "ModalitiesInStudy=C?", "PatientID=P00*")) == {CR: "CR"}
    assert by_study(viewer.find("StudyInstanceUID", r"ModalitiesInStudy=DX\CT", "PatientID=P001")) == {DX: "DX"}


def test_a_partly_hidden_study_is_shown_without_what_is_hidden(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    tools = dcmtk(run(orthanc, radiographs("P003")).port)
    keys = ("ModalitiesInStudy", "NumberOfStudyRelatedInstances", "SOPClassesInStudy", "StudyInstanceUID")
    (row,) = tools.find(*keys).rows
    assert row["StudyInstanceUID"] == DX_AND_SR
    assert [row[key] for key in keys[:3]] == ["DX", "", ""]
    assert tools.find("ModalitiesInStudy=SR", "StudyInstanceUID").rows == ()


def test_series_and_images_of_permitted_series_only(viewer: Dcmtk) -> None:
    series = viewer.find(f"StudyInstanceUID={CR}", "SeriesInstanceUID", "Modality", level="SERIES")
    assert (series.status, [row["Modality"] for row in series.rows]) == (0, ["CR", "CR"])
    uid = series.rows[0]["SeriesInstanceUID"]
    images = viewer.find(f"StudyInstanceUID={CR}", f"SeriesInstanceUID={uid}", "SOPInstanceUID", level="IMAGE")
    assert (images.status, len(images.rows)) == (0, 1)
    hidden = person("P001").studies[2].series_uid(1)
    assert viewer.find(f"StudyInstanceUID={CT}", "SeriesInstanceUID", level="SERIES").rows == ()
    assert viewer.find(f"StudyInstanceUID={CT}", f"SeriesInstanceUID={hidden}", level="IMAGE").rows == ()


def test_patients_with_something_permitted(viewer: Dcmtk) -> None:
    answer = viewer.find("PatientID", "PatientName", "NumberOfPatientRelatedStudies", level="PATIENT", model="-P")
    assert [row["PatientID"] for row in answer.rows] == ["P001"]
    assert answer.rows[0].get("NumberOfPatientRelatedStudies", "") == ""


def test_relational_queries_are_refused_whatever_orthanc_would_answer(viewer: Dcmtk) -> None:
    answer = viewer.find("SeriesInstanceUID", "Modality=CR", level="SERIES")
    assert (answer.status, answer.rows) == (0xA900, ())


def test_a_denied_query_finds_nothing(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    answer = dcmtk(run(orthanc, deny).port).find("StudyInstanceUID")
    assert (answer.status, answer.rows) == (0, ())


def test_masked_elements_arrive_empty(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    mask = Obligation("hide-names", "mask", {"paths": ("patient.name",)})

    def rule(request: Request) -> GivenRuling:
        return replace(radiographs("P001")(request), obligations=(mask,))

    tools = dcmtk(run(orthanc, rule).port)
    assert {row["PatientName"] for row in tools.find("PatientName", "StudyInstanceUID").rows} == {""}
    assert tools.find("PatientName=Wang*", "StudyInstanceUID").rows == ()


def test_an_undurable_record_is_a_failure(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    class Failing(GivenServices):
        async def commit(self, *items: Any) -> int:
            raise Unavailable("the disk is full")

    tools = dcmtk(run(orthanc, services=Failing(radiographs("P001"))).port)
    assert tools.find("StudyInstanceUID").status == 0xA700


# -- C-MOVE, C-GET ------------------------------------------------------------------------------------


@pytest.fixture
def workstation(run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk], storescp: Any) -> Any:
    """(tools, storescp, proxy): WS1 to clients is WS1 to the PACS, too."""
    target = storescp(ae_title="WS1")
    orthanc.know("WS1", target.port)
    proxy = run(orthanc, radiographs("P001", "P003"), destinations=(Destination("WS1"), Destination("DESK", "WS1")))
    return dcmtk(proxy.port), target, proxy


def test_a_permitted_study_moves(workstation: Any) -> None:
    tools, target, proxy = workstation
    answer = tools.move(f"StudyInstanceUID={CR}", destination="WS1")
    assert (answer.status, answer.completed, answer.failed) == (0, 2, 0)
    assert target.counts() == Counter(CR=2)
    begun, ended = proxy.events
    assert (begun.detail["status"], ended.detail["status"], ended.detail["completed"]) == ("FF00", "0000", 2)


def test_a_destination_has_another_name_at_the_pacs(workstation: Any) -> None:
    tools, target, _ = workstation
    assert tools.move(f"StudyInstanceUID={DX}", destination="DESK").status == 0
    assert target.counts() == Counter(DX=2)


def test_only_permitted_series_of_a_study_move(workstation: Any) -> None:
    tools, target, _ = workstation
    answer = tools.move(f"StudyInstanceUID={DX_AND_SR}", destination="WS1")
    assert (answer.status, answer.completed, answer.failed) == (0, 2, 0)
    assert target.counts() == Counter(DX=2)


def test_a_hidden_study_does_not_move(workstation: Any) -> None:
    tools, target, proxy = workstation
    answer = tools.move(f"StudyInstanceUID={CT}", destination="WS1")
    assert (answer.status, target.counts()) == (0x0124, Counter())
    assert proxy.events[-1].outcome is Outcome.REFUSED


def test_a_list_of_studies_moves_what_is_permitted_of_it(workstation: Any) -> None:
    tools, target, _ = workstation
    answer = tools.move(rf"StudyInstanceUID={CR}\{CT}\{DX_AND_SR}", destination="WS1")
    assert (answer.status, answer.completed, target.counts()) == (0, 4, Counter(CR=2, DX=2))


def test_a_patient_moves_as_far_as_permitted(workstation: Any) -> None:
    tools, target, _ = workstation
    answer = tools.move("PatientID=P001", destination="WS1", level="PATIENT", model="-P")
    assert (answer.status, answer.completed, target.counts()) == (0, 4, Counter(CR=2, DX=2))


def test_an_image_of_a_hidden_series_does_not_move_under_another_name(workstation: Any) -> None:
    tools, target, _ = workstation
    plan, hidden = person("P001").studies[0], person("P001").studies[2]
    keys = (f"StudyInstanceUID={CR}", f"SeriesInstanceUID={plan.series_uid(1)}")
    answer = tools.move(*keys, f"SOPInstanceUID={hidden.image_uid(1, 1)}", destination="WS1", level="IMAGE")
    assert (answer.status, target.counts()) == (0x0124, Counter())
    answer = tools.move(*keys, f"SOPInstanceUID={plan.image_uid(1, 1)}", destination="WS1", level="IMAGE")
    assert (answer.status, target.counts()) == (0, Counter(CR=1))


@pytest.mark.parametrize("key", ["AccessionNumber=A0001", "Modality=CR"])
def test_keys_that_orthanc_would_ignore_or_obey_are_refused(workstation: Any, key: str) -> None:
    tools, target, _ = workstation
    assert tools.move(key, destination="WS1").status == 0xA900
    assert tools.move(f"StudyInstanceUID={CR}", key, destination="WS1").status == 0xA900
    assert target.counts() == Counter()


def test_an_unregistered_destination_gets_nothing(workstation: Any, orthanc: Orthanc, storescp: Any) -> None:
    tools, _, _ = workstation
    elsewhere = storescp(ae_title="ELSEWHERE")
    orthanc.know("ELSEWHERE", elsewhere.port)
    assert tools.move(f"StudyInstanceUID={CR}", destination="ELSEWHERE").status == 0xA801
    assert elsewhere.counts() == Counter()


def test_permitted_instances_are_got(viewer: Dcmtk) -> None:
    answer = viewer.get(f"StudyInstanceUID={DX}")
    assert (answer.status, answer.completed, answer.received) == (0, 2, Counter(DX=2))


def test_hidden_instances_are_not_got(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    tools = dcmtk(run(orthanc, radiographs("P003")).port)
    assert tools.get(f"StudyInstanceUID={CT}").status == 0x0124
    answer = tools.get(f"StudyInstanceUID={DX_AND_SR}")
    assert (answer.status, answer.completed, answer.failed, answer.received) == (0, 2, 0, Counter(DX=2))


# -- C-STORE --------------------------------------------------------------------------------------------


def test_only_permitted_instances_are_stored(
    run: Callable[..., Running], empty_orthanc: Orthanc, dcmtk: Callable[..., Dcmtk], sandbox_files: Path
) -> None:
    proxy = run(empty_orthanc)
    dcmtk(proxy.port).store(sandbox_files / "P001", options=["-nh"])
    stored = {row["Modality"] for row in empty_series(empty_orthanc)}
    assert (empty_orthanc.count(), stored) == (4, {"CR", "DX"})
    outcomes = Counter(event.outcome for event in proxy.events if event.operation == "create:imaging")
    assert outcomes[Outcome.REFUSED] == 15
    wait_for(lambda: sum(event.detail.get("instances", 0) for event in proxy.events) == 4, "the last words")
    assert dcmtk(proxy.port).store(sandbox_files / "P002").status == 0x0124
    assert empty_orthanc.count() == 4


def empty_series(orthanc: Orthanc) -> list[dict[str, str]]:
    return [orthanc.rest("GET", f"/series/{one}")["MainDicomTags"] for one in orthanc.rest("GET", "/series")]


def test_a_stored_instance_is_the_same_bytes(
    run: Callable[..., Running],
    empty_orthanc: Orthanc,
    orthanc: Orthanc,
    dcmtk: Callable[..., Dcmtk],
    sandbox_files: Path,
) -> None:
    uid = person("P001").studies[0].image_uid(1, 1)
    assert dcmtk(run(empty_orthanc).port).store(sandbox_files / "P001" / f"{uid}.dcm").status == 0

    def content(pacs: Orthanc) -> Any:
        found = pacs.rest("POST", "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": uid}})
        return pacs.rest("GET", f"/instances/{found[0]}/tags?simplify")

    assert content(empty_orthanc) == content(orthanc)


# -- associations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"called": "ELSE"}, "Called AE Title Not Recognized"),
        ({"calling": "NOBODY"}, "Calling AE Title Not Recognized"),
        ({"calling": "STRANGER"}, "Calling AE Title Not Recognized"),  # a peer that no identity belongs to
    ],
)
def test_who_is_not_known_is_rejected(
    proxy: Running, dcmtk: Callable[..., Dcmtk], settings: dict[str, str], why: str
) -> None:
    answer = dcmtk(proxy.port, **settings).echo()
    assert answer.status is None
    assert "Rejected Permanent" in answer.output
    assert why in answer.output
    assert [event.kind for event in proxy.events] == [EventKind.REFUSAL]


def test_a_known_name_from_another_address_is_rejected(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    proxy = run(orthanc, peers=(Peer("VIEWER1", ("10.0.0.0/8",)),))
    assert "Calling AE Title Not Recognized" in dcmtk(proxy.port).echo().output


def test_a_user_identity_that_is_not_believed_is_rejected(run: Callable[..., Running], orthanc: Orthanc) -> None:
    proxy = run(orthanc, services=GivenServices(people={}))

    async def scene() -> Any:
        with pytest.raises(AssociationRejected) as caught:
            await connect("127.0.0.1", proxy.port, request(finding(), identity=UserIdentityRq(2, b"dr.li", b"guess")))
        return caught.value.reject

    reject = proxy.do(scene)
    assert (reject.result, reject.source, reject.reason) == (1, 2, 1)


def test_a_pacs_that_is_down_is_a_transient_rejection(
    run: Callable[..., Running], orthanc: Orthanc, dcmtk: Callable[..., Dcmtk]
) -> None:
    class Nowhere:
        port, ae_title = free_port(), "ORTHANC"

    answer = dcmtk(run(Nowhere()).port).echo()  # type: ignore[arg-type]
    assert "Rejected Transient" in answer.output
    assert "Temporary Congestion" in answer.output


def test_services_without_a_policy_are_refused_and_recorded(viewer: Dcmtk, proxy: Running) -> None:
    answer = viewer.find("PatientName", model="-W")
    assert (answer.status, answer.rows) == (None, ())
    assert "No Acceptable Presentation Contexts" in answer.output
    assert [(event.kind, event.detail) for event in proxy.events] == [
        (EventKind.REFUSAL, {"refused": "abstract syntax", "names": ("1.2.840.10008.5.1.4.31",)})
    ]


def test_contexts_and_roles_are_mirrored_and_the_rest_refused(proxy: Running) -> None:
    image = "1.2.840.10008.5.1.4.1.1.1"
    contexts = (
        finding(),
        PresentationContextItem(3, image, ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")),  # deflated, big endian
        PresentationContextItem(5, image, (EXPLICIT,)),
        PresentationContextItem(7, "1.2.840.10008.1.20.1", (EXPLICIT,)),  # storage commitment
        PresentationContextItem(9, "1.2.840.10008.5.1.4.1.2.2.3", (EXPLICIT,)),
    )
    roles = (RoleSelection(image, False, True), RoleSelection("1.2.840.10008.1.20.1", False, True))

    async def scene() -> Any:
        connection = await connect("127.0.0.1", proxy.port, request(*contexts, roles=roles, async_window=(8, 8)))
        answer = connection.association.accepted
        await connection.release()
        return answer

    answer = proxy.do(scene)
    assert [(one.id, one.result) for one in answer.contexts] == [(1, 0), (3, 4), (5, 0), (7, 3), (9, 0)]
    assert answer.user.async_window == (1, 1)
    assert [(role.sop_class, role.scu, role.scp) for role in answer.user.roles] == [(image, False, True)]


def test_an_identity_that_expires_ends_the_association(run: Callable[..., Running], orthanc: Orthanc) -> None:
    class Expiring(GivenServices):
        def identify(self, credentials: Any) -> Identity:
            return Identity(DR_LI, "given", NOON + timedelta(minutes=1))

    services = Expiring(radiographs("P001"))
    proxy = run(orthanc, services=services)

    async def scene() -> list[int]:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        first = [one async for one in answers(connection, CFindRq(1, FIND), {STUDY_UID: ""})]
        services.clock = NOON + timedelta(minutes=2)
        with suppress(Exception):
            async for _ in answers(connection, CFindRq(2, FIND), {STUDY_UID: ""}):
                raise AssertionError("an expired identity was answered")
        return [len(first), int(connection.ended)]

    assert proxy.do(scene) == [3, 1]
    assert proxy.events[-1].detail == {"why": "the identity has expired"}


def test_a_command_on_a_context_of_another_service_is_refused(proxy: Running) -> None:
    async def scene() -> list[int]:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        moved = [status async for status, _ in answers(connection, CMoveRq(1, MOVE, "WS1"), {STUDY_UID: CR})]
        found = [status async for status, _ in answers(connection, CFindRq(2, FIND), {STUDY_UID: ""})]
        await connection.release()
        return moved + found

    assert proxy.do(scene) == [0x0122, 0xFF00, 0xFF00, 0]


def test_an_n_service_has_no_meaning_here(proxy: Running) -> None:
    async def scene() -> list[int]:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        connection.send(1, NRq(CommandField.N_GET_RQ, 1, requested_class=FIND, requested_instance="1.2"))
        event = await connection.next(10)
        found = [status async for status, _ in answers(connection, CFindRq(2, FIND), {STUDY_UID: ""})]
        await connection.release()
        return [event.command.status, *found]

    assert proxy.do(scene) == [0x0211, 0xFF00, 0xFF00, 0]
    assert [(event.kind, event.operation) for event in proxy.events] == [
        (EventKind.REFUSAL, "NRq"),
        (EventKind.DECISION, "search:imaging"),
    ]


def test_as_many_clients_as_the_pacs_serves_may_resolve_at_once(proxy: Running) -> None:
    async def scene() -> list[int]:
        clients = [await connect("127.0.0.1", proxy.port, request(finding())) for _ in range(4)]

        async def series(connection: Any) -> int:
            rows = [one async for one in answers(connection, CFindRq(1, FIND), {STUDY_UID: CR}, "SERIES")]
            return len(rows)

        found = await asyncio.gather(*map(series, clients))
        for connection in clients:
            await connection.release()
        return list(found)

    assert proxy.do(scene) == [3, 3, 3, 3]


def test_no_log_names_a_patient_or_a_study(viewer: Dcmtk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        viewer.find("PatientID=P001", "PatientName", "StudyInstanceUID")
        viewer.find("PatientName=Wang*", "StudyInstanceUID", level="SERIES")
        viewer.get(f"StudyInstanceUID={CR}")
        viewer.move(f"StudyInstanceUID={CT}", destination="NOWHERE")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("spir")]
    assert ours
    assert [line for line in ours if "P001" in line or "Wang" in line or CR in line or CT in line] == []


# -- cancel, abort, and a PACS that dies -------------------------------------------------------------------


@pytest.fixture
def endless(run: Callable[..., Running]) -> Iterator[tuple[Running, EndlessPacs]]:
    """A proxy in front of a PACS that never ends its answers."""
    pacs = EndlessPacs(CR)
    yield run(pacs), pacs
    pacs.stop()


def test_a_cancel_reaches_the_pacs_and_ends_the_query(endless: Any) -> None:
    proxy, pacs = endless

    async def scene() -> int:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        statuses = []
        async for status, _ in answers(connection, CFindRq(7, FIND), {STUDY_UID: ""}):
            if not statuses:
                connection.send(1, CCancelRq(7))
            statuses.append(status)
        await connection.release()
        return statuses[-1]

    assert proxy.do(scene) == 0xFE00
    assert pacs.cancelled == [7]


def test_a_client_that_aborts_ends_the_query_at_the_pacs(endless: Any) -> None:
    proxy, pacs = endless

    async def scene() -> None:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        async for _ in answers(connection, CFindRq(7, FIND), {STUDY_UID: ""}):
            connection.abort()
            connection.close()
            return

    proxy.do(scene)
    wait_for(lambda: pacs.ended == ["AssociationEnded"], "the PACS to learn of it")
    wait_for(lambda: [event.outcome for event in proxy.events][-1:] == [Outcome.ERROR], "the record of it")
    wait_for(lambda: proxy.proxy.associations == 0, "the association to end")
    assert {event.outcome for event in proxy.events[:-1]} <= {Outcome.SUCCESS}  # of the rows that went before


def test_a_client_that_reads_nothing_stops_the_pacs(endless: Any) -> None:
    proxy, pacs = endless

    async def scene() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

        writer.write(encode_pdu(request(finding())))
        await reader.readexactly(6)
        identifier = encode({LEVEL: b"STUDY", STUDY_UID: b""}, True)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(message_pdus(1, encode_command(CFindRq(7, FIND)), identifier, 16384))
        before = -1
        while pacs.sent != before or before == 0:
            before = pacs.sent
            await asyncio.sleep(0.3)
        writer.close()

    proxy.do(scene)
    assert pacs.sent < 200_000


def test_a_pacs_that_is_killed_fails_the_operation_and_ends_the_association(
    run: Callable[..., Running], empty_orthanc: Orthanc, dcmtk: Callable[..., Dcmtk], sandbox_files: Path
) -> None:
    empty_orthanc.load(sandbox_files / "P001")
    proxy = run(empty_orthanc)

    async def scene() -> list[int]:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        first = [status async for status, _ in answers(connection, CFindRq(1, FIND), {STUDY_UID: ""})]
        await asyncio.get_running_loop().run_in_executor(None, empty_orthanc.stop)
        with suppress(Exception):
            async for status, _ in answers(connection, CFindRq(2, FIND), {STUDY_UID: ""}):
                first.append(status)
        return [*first, int(connection.ended)]

    *statuses, ended = proxy.do(scene)
    assert (statuses[:3], ended) == ([0xFF00, 0xFF00, 0], 1)
    assert all(status == 0xA700 for status in statuses[3:])
    assert "Rejected Transient" in dcmtk(proxy.port).echo().output


def test_an_instance_that_is_not_what_was_selected_never_reaches_the_client(
    run: Callable[..., Running], dcmtk: Callable[..., Dcmtk]
) -> None:
    pacs = LyingPacs()
    proxy = run(pacs)
    answer = dcmtk(proxy.port).get("StudyInstanceUID=1.1")
    pacs.stop()
    assert pacs.answers == [0, 0x0124]
    assert (answer.status, answer.completed, answer.failed, answer.received) == (0, 1, 0, Counter(CR=1))
    assert proxy.events[-1].detail["withheld"] == 1


def test_many_operations_share_one_association(proxy: Running) -> None:
    async def scene() -> list[int]:
        connection = await connect("127.0.0.1", proxy.port, request(finding()))
        rows = []
        for number in range(1, 21):
            found = [status async for status, _ in answers(connection, CFindRq(number, FIND), {STUDY_UID: ""})]
            rows.append(len(found))
        await connection.release()
        return rows

    assert proxy.do(scene) == [3] * 20
