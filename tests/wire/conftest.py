"""Peers for the wire tests. Each worker has its own, on free ports and in folders of its own.

`@pytest.mark.peer("orthanc", "dcmtk")` skips a test, by name, where one of
them is missing, or fails it where SPIR_REQUIRE_PEERS=1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import chart
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.hook import SandboxHook
from adapters.sandbox.pacs import SandboxPacs
from adapters.sandbox.write import write_dicom
from tests.wire.dcmtk import Dcmtk, StoreScp
from tests.wire.npm_fhir import NpmFhir
from tests.wire.orthanc import Orthanc
from tests.wire.peers import require


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            require(name)


@pytest.fixture(scope="session")
def sandbox_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the invented patients' DICOM files, `P001/...` to `P012/...`."""
    folder = tmp_path_factory.mktemp("sandbox")
    assert list(write_dicom(folder))
    return folder


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory, sandbox_files: Path) -> Iterator[Orthanc]:
    """Orthanc with the invented patients' studies: to be read, not to be stored into."""
    made = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    try:
        made.load(sandbox_files)
        yield made
    finally:
        made.stop()


@pytest.fixture
def empty_orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc of the test's own, empty."""
    made = Orthanc(tmp_path).start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def npm_fhir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NpmFhir]:
    """The FHIR server from npm with the invented charts: to be read, not to be written to."""
    made = NpmFhir(tmp_path_factory.mktemp("npm_fhir")).start()
    try:
        made.fill(chart.everything())
        made.seen()
        yield made
    finally:
        made.stop()


@pytest.fixture
def empty_npm_fhir(tmp_path: Path) -> Iterator[NpmFhir]:
    """A FHIR server from npm of the test's own, empty."""
    made = NpmFhir(tmp_path).start()
    yield made
    made.stop()


@pytest.fixture
def dcmtk(tmp_path: Path) -> Callable[..., Dcmtk]:
    """`dcmtk(port, called="SPIR", calling="VIEWER1", ...)`: dcmtk's tools towards a loopback port."""
    require("dcmtk")
    folder = tmp_path / "dcmtk"
    folder.mkdir()
    return lambda port, **settings: Dcmtk(port, folder, **settings)


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Callable[..., StoreScp]]:
    """`storescp(ae_title="WS1")`: a started storescp, to be used as a move destination."""
    started: list[StoreScp] = []

    def start(**settings: Any) -> StoreScp:
        started.append(StoreScp(tmp_path, **settings).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def sandbox_pacs() -> Iterator[SandboxPacs]:
    """The embedded PACS with the invented patients, started."""
    made = SandboxPacs(sandbox=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def sandbox_fhir() -> Iterator[SandboxFhir]:
    """The embedded FHIR store with the invented charts, started."""
    made = SandboxFhir(sandbox=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def sandbox_hook() -> Iterator[SandboxHook]:
    """A webhook receiver that demands the secret `invented`, started."""
    made = SandboxHook(sandbox=True, secret=b"invented")
    made.start()
    yield made
    made.stop()
