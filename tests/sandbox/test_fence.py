"""Nothing of the sandbox runs by mistake, nor where others could reach it."""

from __future__ import annotations

import pytest

from adapters.sandbox.fence import OutsideSandbox, fence
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.hook import SandboxHook
from adapters.sandbox.pacs import PacsConfig, SandboxPacs
from adapters.sandbox.viewer import Viewer, ViewerConfig


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_is_inside(host):
    fence("thing", host, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost", "", "127.0.0.1.example"])
def test_anything_but_a_loopback_address_is_outside(host):
    with pytest.raises(OutsideSandbox, match=r"127\.0\.0\.1"):
        fence("thing", host, True)


@pytest.mark.parametrize("marker", [False, None, 1, "yes"])
def test_only_true_marks_the_sandbox(marker):
    with pytest.raises(OutsideSandbox, match="sandbox=True"):
        fence("thing", "127.0.0.1", marker)


@pytest.mark.parametrize(
    "start",
    [
        lambda: SandboxPacs(),
        lambda: SandboxPacs(PacsConfig(host="0.0.0.0"), sandbox=True),
        lambda: Viewer(ViewerConfig(("127.0.0.1", 1, "X"))),
        lambda: SandboxFhir(),
        lambda: SandboxFhir(sandbox=True, host="::"),
        lambda: SandboxHook(),
    ],
)
def test_the_stand_ins_hold_to_the_fence(start):
    with pytest.raises(OutsideSandbox):
        start()
