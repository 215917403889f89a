"""The decision point as a part of the gateway: its settings, plans of both protocols, explanations, and reloading."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from adapters.compose import Gateway
from adapters.demo_site import Surroundings, fixture, lay_out, token
from adapters.parts import changes_of
from adapters.settings import load
from spir.exchange import Learn
from spir.record.canonical import decode, request_of

pytestmark = pytest.mark.wire

NOBODY = "http://127.0.0.1:9"
STAFF = """
- {id: pep, type: system, properties: {role: enforcement}, tokens: [pep]}
- {id: ops, type: system, properties: {role: operator}, tokens: [ops]}
"""
CALLERS = """\
spir: "1"
kind: PolicySet
name: callers
layer: national
jurisdiction: cn
version: 1.0.0
policies:
- {id: peps-ask, effect: permit, operations: ["execute:policy"], when: subject.role == "enforcement"}
- {id: ops-reload, effect: permit, operations: ["update:policy:reload"], when: subject.role == "operator"}
"""
IMAGING = {
    "subject": {"type": "person", "id": "dr.li", "properties": {"permissions": ["read:patient:allergy"]}},
    "action": {"name": "search"},
    "resource": {"type": "imaging"},
}


class Site:
    """A gateway with nothing but its decision point, and calls to it over TLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = lay_out(folder, Surroundings(1, "PACS", 1, NOBODY, NOBODY, 1, 1, 1))
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(folder / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)
        (folder / "staff.yaml").write_text(f"{(folder / 'staff.yaml').read_text('utf-8').rstrip()}{STAFF}", "utf-8")
        self.callers = folder / "policies" / "callers.yaml"
        self.callers.write_text(CALLERS, "utf-8")
        section = '[pdp]\nlisten = "127.0.0.1:0"\nbase = "https://pdp.example/authz"\n'
        tls = 'tls = {certificate = "tls.crt", key = "tls.key"}\n'
        text = config.read_text("utf-8").replace('documents = ["policies"]', 'documents = ["policies"]\nwatch = false')
        config.write_text(f"{text}\n{section}{tls}", "utf-8")
        self.settings = load(config)

    def play(self, scene: Callable[[Site], Awaitable[None]]) -> None:
        async def run() -> None:
            self.gateway = await Gateway.open(self.settings)
            await self.gateway.start(frozenset({"pdp"}))
            try:
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.trusting)) as self.http:
                    await scene(self)
            finally:
                await self.gateway.stop()

        asyncio.run(run())

    async def ask(self, path: str, body: Any = None, who: str = "pep") -> tuple[int, Any]:
        url = f"https://localhost:{self.gateway.ports['pdp']}{path}"
        headers = {"Authorization": f"Bearer {token(self.folder, who)}"}
        async with self.http.request("GET" if body is None else "POST", url, json=body, headers=headers) as reply:
            return reply.status, await reply.json()

    async def trail(self, operation: str) -> list[Any]:
        """What the audit trail holds of an operation."""
        query = "select kind, subject, outcome from audit where operation = ? order by seq"
        return await self.gateway.store.read(lambda connection: list(connection.execute(query, (operation,))))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_discovery_names_the_place_that_callers_know(site: Site) -> None:
    async def scene(site: Site) -> None:
        _, found = await site.ask("/.well-known/authzen-configuration")
        assert found["policy_decision_point"] == "https://pdp.example/authz"
        assert found["access_evaluation_endpoint"] == "https://pdp.example/authz/access/v1/evaluation"

    site.play(scene)


def test_a_plan_shows_what_each_protocol_pushes_down(site: Site) -> None:
    async def scene(site: Site) -> None:
        _, said = await site.ask("/v1/plan", IMAGING)
        assert said["pushdown"] == {"dicom": [], "fhir": {"ImagingStudy": None}}  # dr.li treats nobody yet
        at = site.gateway.now()
        admitted = changes_of(fixture("hl7v2/adt_a01.hl7"), site.gateway.directory, site.gateway.identifiers, at)
        await site.gateway.commit(Learn(admitted))
        _, said = await site.ask("/v1/plan", IMAGING)
        assert said["effect"] == "conditional" and said["pushdown"] == {
            "dicom": [{"ModalitiesInStudy": "CR\\DX", "PatientID": "P001"}],
            "fhir": {"ImagingStudy": {"patient": "Patient/{HIS|P001}", "modality": "CR,DX"}},
        }
        _, other = await site.ask("/v1/plan", {**IMAGING, "action": {"name": "read"}})
        assert other["pushdown"] == {}

    site.play(scene)


def test_an_explanation_says_why_and_what_would_change_it(site: Site) -> None:
    async def scene(site: Site) -> None:
        body = {**IMAGING, "action": {"name": "read"}, "resource": {"type": "result", "id": "r1"}}
        status, said = await site.ask("/v1/explain", body)
        assert status == 200 and {layer["layer"] for layer in said["layers"]} == {
            "national",
            "provincial",
            "institution",
        }
        assert said["decision"]["bundle"] == site.gateway.bundle and "smallest_change" in said

    site.play(scene)


class AnyQuestion:
    """Questions that a program might get wrong, and one that tries: odd names, odd values, ids where none belong."""

    KEYS = ("id", "type", "patient", "now", "patients", "role", "$int", "$$x", "", "a.b", "organization", "care_team")
    KEYS += ("category", "modality", "labels", "study", "session", "emergency", "obligations_supported", "proxies")
    TEXTS = ("", "x", "HIS|P001", "n|1", "\n|1", "dr.li", "\u2028", "\0", "x" * 300, "a|b|c", "|", '"|\\')
    PLAIN = (None, True, 0, -1, 5, 2**63, 10**30, -0.0, 1e308)

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 3) -> Any:
        kind = self.random.randrange(4 if depth else 2)
        if kind < 2:
            return self.random.choice((self.PLAIN, self.TEXTS)[kind])
        if kind == 2:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return self.properties(depth - 1)

    def properties(self, depth: int = 3) -> dict[str, Any]:
        return {self.random.choice(self.KEYS): self.value(depth) for _ in range(self.random.randrange(5))}

    def party(self, *types: str) -> dict[str, Any]:
        id = self.random.choice(self.TEXTS)
        return {"type": self.random.choice(types), "id": id, "properties": self.properties()}

    def evaluation(self) -> dict[str, Any]:
        return {
            "subject": self.party("person", "system", "patient"),
            "action": {"name": self.random.choice(("read", "search", "*", "x|y")), "properties": self.properties()},
            "resource": self.party("imaging", "patient", "result", "*", "x:y"),
            "context": self.properties(),
            "deferred": self.random.choice(([], [], ["resource"], ["resource.patient", ""], ["x", "."])),
        }

    def several(self) -> dict[str, Any]:
        return {**self.evaluation(), "evaluations": [self.evaluation() for _ in range(3)]}


def test_whatever_is_asked_is_answered_and_recorded_and_can_be_read_again(site: Site) -> None:
    async def scene(site: Site) -> None:
        at = site.gateway.now()
        admitted = changes_of(fixture("hl7v2/adt_a01.hl7"), site.gateway.directory, site.gateway.identifiers, at)
        await site.gateway.commit(Learn(admitted))
        for seed in range(80):
            one = AnyQuestion(seed)
            search = f"/access/v1/search/{one.random.choice(('subject', 'resource', 'action'))}"
            for path in ("/access/v1/evaluation", "/v1/plan", "/v1/explain", search):
                assert (await site.ask(path, one.evaluation()))[0] in (200, 400), f"seed {seed}"
            assert (await site.ask("/access/v1/evaluations", one.several()))[0] in (200, 400), f"seed {seed}"
        rows = await site.gateway.store.read(lambda connection: list(connection.execute("select body from audit")))
        assert len(rows) > 400
        for (body,) in rows:
            request_of(decode(body))

    site.play(scene)


def test_policies_are_read_again_for_whom_a_policy_permits_it(site: Site) -> None:
    async def scene(site: Site) -> None:
        before = site.gateway.bundle
        assert await site.ask("/v1/reload", {}, "ops") == (
            200,
            {"changed": False, "bundle": before, "generation": 0, "problems": {}},
        )
        assert (await site.ask("/v1/reload", {}))[0] == 403
        site.callers.write_text(CALLERS.replace("peps-ask", "enforcement-asks"), "utf-8")
        status, said = await site.ask("/v1/reload", {}, "ops")
        assert (status, said["changed"], said["bundle"]) == (200, True, site.gateway.bundle)
        assert site.gateway.bundle != before
        assert await site.trail("update:policy:reload") == [
            ("lifecycle", "ops", "success"),
            ("refusal", "pep", "refused"),
            ("lifecycle", "ops", "success"),
        ]
        assert await site.trail("policies") == [("lifecycle", "spir", "success")]

    site.play(scene)


def test_what_cannot_be_read_is_refused_and_changes_nothing(site: Site) -> None:
    async def scene(site: Site) -> None:
        before = site.gateway.bundle
        site.callers.write_text(CALLERS.replace("subject.role", "subject.rolle"), "utf-8")
        status, said = await site.ask("/v1/reload", {}, "ops")
        assert (status, said["changed"], said["bundle"]) == (422, False, before)
        assert "subject.rolle" in said["problems"]["policies"] and said["error"]["status"] == 422
        assert (await site.ask("/readyz"))[0] == 503
        site.callers.write_text(CALLERS, "utf-8")
        assert (await site.ask("/v1/reload", {}, "ops"))[0] == 200
        assert (await site.ask("/readyz"))[0] == 200

    site.play(scene)


def test_clear_text_beyond_this_machine_is_said_at_start(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    text = (site.folder / "spir.toml").read_text("utf-8")
    text = text.replace('tls = {certificate = "tls.crt", key = "tls.key"}', "allow_clear_text = true")
    (site.folder / "spir.toml").write_text(text.replace('"127.0.0.1:0"', '"0.0.0.0:0"'), "utf-8")
    site.settings = load(site.folder / "spir.toml")

    async def scene(site: Site) -> None:
        assert "pdp speaks clear text on 0.0.0.0:0" in caplog.text

    with caplog.at_level(logging.WARNING):
        site.play(scene)
