"""The sandbox's stand-ins speak for real: each against an implementation that is not its own where there is one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest
from pynetdicom import _config

from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.hook import SandboxHook
from adapters.sandbox.images import instances
from adapters.sandbox.pacs import SandboxPacs
from adapters.sandbox.patients import person
from adapters.sandbox.quiet import LOGGERS
from adapters.sandbox.viewer import Found, Retrieved, Viewer, ViewerConfig
from spir.errors import PeerError

pytestmark = pytest.mark.wire

P001 = person("P001")
CR, DX, CT, MR, US = (plan.uid for plan in P001.studies)


@pytest.fixture(scope="module")
def pacs() -> Iterator[SandboxPacs]:
    made = SandboxPacs(sandbox=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def viewer(pacs: SandboxPacs) -> Iterator[Viewer]:
    made = Viewer(ViewerConfig(("127.0.0.1", pacs.port, "SANDBOXPACS")), sandbox=True)
    made.start()
    pacs.destinations["WS1"] = ("127.0.0.1", made.port)
    yield made
    made.stop()


def test_the_pacs_answers_an_echo(viewer):
    assert viewer.echo() == 0x0000


def test_the_viewer_sees_rows_as_plain_data(viewer):
    rows = viewer.find(PatientID="P001", ModalitiesInStudy=["CR", "DX"], StudyInstanceUID="").rows
    assert [(row["ModalitiesInStudy"], row["StudyInstanceUID"]) for row in rows] == [("CR", CR), ("DX", DX)]


def test_an_identifier_outside_the_hierarchy_fails(viewer):
    assert viewer.find("SERIES") == Found(0xA900)


def test_a_move_delivers_to_the_viewer(viewer):
    assert viewer.move(StudyInstanceUID=CT) == Retrieved(0x0000, completed=7)
    assert viewer.counts() == Counter(CT=7)


def test_a_move_to_an_unknown_destination_is_refused(viewer):
    assert viewer.move(StudyInstanceUID=CT, destination="NOBODY") == Retrieved(0xA801)


def test_a_get_delivers_over_the_same_association(viewer):
    assert viewer.get(StudyInstanceUID=[CR, US]) == Retrieved(0x0000, completed=4)
    assert viewer.counts() == Counter(CR=2, US=2)


def test_a_stored_instance_can_be_found(viewer):
    made = next(instances(P001))
    made.PatientID, made.SOPInstanceUID, made.StudyInstanceUID = "P999", "2.25.1", "2.25.2"
    assert viewer.store(made) == 0x0000
    assert len(viewer.find(PatientID="P999").rows) == 1


def test_a_pacs_that_is_not_there_is_said_to_be_so():
    absent = Viewer(ViewerConfig(("127.0.0.1", 1, "X"), timeout=2.0), sandbox=True)
    with pytest.raises(PeerError, match="refused"):
        absent.echo()


def test_no_identifier_reaches_a_log(viewer, caplog):
    caplog.set_level(logging.NOTSET)
    viewer.find(PatientID="P001", PatientName="")
    viewer.get(StudyInstanceUID=CR)
    assert "P001" not in caplog.text and "Xiaoming" not in caplog.text and CR not in caplog.text


def test_the_libraries_that_log_identifiers_are_silenced(viewer):
    assert not (_config.LOG_REQUEST_IDENTIFIERS or _config.LOG_RESPONSE_IDENTIFIERS)
    assert all(logging.getLogger(name).level == logging.WARNING for name in LOGGERS)


def test_stopping_twice_is_harmless():
    made = SandboxPacs(sandbox=True, instances=())
    made.start()
    made.stop()
    made.stop()


def test_the_fhir_store_is_served_over_http():
    store = SandboxFhir(sandbox=True)
    store.start()
    try:
        status, kind, body = asyncio.run(_get(f"{store.base}/Patient/pat-p001"))
    finally:
        store.stop()
    assert (status, kind, body["id"]) == (200, "application/fhir+json; charset=utf-8", "pat-p001")


def test_a_body_that_is_too_long_is_refused():
    store = SandboxFhir(sandbox=True)
    store.start()
    try:
        assert asyncio.run(_post(f"{store.base}/Patient", b" " * (5 * 1024 * 1024))) == 413
    finally:
        store.stop()


def test_the_webhook_can_be_waited_for():
    hook = SandboxHook(sandbox=True)
    hook.start()
    try:
        assert asyncio.run(_post(f"{hook.base}/alerts", b"{}")) == 204
        assert hook.wait(1) and hook.deliveries[0].path == "/alerts"
    finally:
        hook.stop()


async def _get(url: str) -> tuple[int, str, dict]:
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return reply.status, reply.headers["content-type"], await reply.json(content_type=None)


async def _post(url: str, body: bytes) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as reply:
        return reply.status
