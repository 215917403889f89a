"""The site of the demo: its configuration, its keys, and the sandbox systems around the gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from adapters import mappings
from adapters.sandbox import chart
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.hook import SandboxHook
from adapters.sandbox.pacs import PacsConfig, SandboxPacs
from adapters.sandbox.patients import person
from adapters.sandbox.viewer import Viewer, ViewerConfig

__all__ = ["SECRET", "Sandbox", "Surroundings", "fixture", "lay_out", "token"]

ISSUER = "https://idp.demo.invalid"
SECRET = b"a secret for the demo only"

CONFIG = """\
# The demo's configuration: everything on loopback, free ports, invented people.
[site]
organization = "cn/zj/hospital-a"
timezone = "Asia/Shanghai"
data = "var"
assigning_authority = "HIS"

[policy]
documents = ["policies"]

[directory]
file = "staff.yaml"

[hl7v2]
listen = "127.0.0.1:{hl7v2}"
sources = [{{application = "HIS", facility = "H1", addresses = ["127.0.0.1"]}}]

[dicom]
listen = "127.0.0.1:{dicom}"
ae_title = "SPIR"
pacs = {{address = "127.0.0.1:{pacs}", ae_title = "{pacs_ae}"}}
peers = [{{ae_title = "VIEWER1", addresses = ["127.0.0.1"]}}]
destinations = [{{ae_title = "WS1", address = "127.0.0.1:{storage}"}}]

[fhir]
listen = "127.0.0.1:{facade}"
upstream = "{fhir}"
identifier_systems = {{"HIS" = "urn:oid:1.2.3"}}

[identity]
issuers = [{{issuer = "{issuer}", audience = "spir", jwks = "jwks.json", algorithms = ["ES256"]}}]

[notify.channels]
alert = {{url = "{hook}/alerts", secret_file = "hook.key"}}
workflow = {{kind = "fhir-task", url = "{fhir}"}}

[audit]
signing_key = "audit.key"
"""


def fixture(name: str) -> bytes:
    """A data file of the story: an HL7 message, a policy."""
    root = Path(__file__).resolve().parent.parent
    for place in (root / "fixtures", mappings.folder().parent / "fixtures"):
        if (place / name).is_file():
            return (place / name).read_bytes()
    raise FileNotFoundError(name)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a site has around the gateway: ports of the PACS and of the viewer's storage, base URLs of the FHIR
    server and the webhook; and the ports of its own listeners, 0 for free ones."""

    pacs: int
    pacs_ae: str
    storage: int
    fhir: str
    hook: str
    hl7v2: int = 0
    dicom: int = 0
    facade: int = 0


@dataclass
class Sandbox:
    """The systems around the gateway, running in threads of their own."""

    pacs: SandboxPacs
    fhir: SandboxFhir
    hook: SandboxHook
    viewer: Viewer
    storage: int

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Sandbox]:
        """Start all but the viewer's way to the gateway, which comes with `connect`."""
        with ExitStack() as running:

            def start(system: Any) -> Any:
                system.start()
                running.callback(system.stop)
                return system

            fhir = start(SandboxFhir(sandbox=True))
            hook = start(SandboxHook(sandbox=True, secret=SECRET))
            viewer = start(Viewer(ViewerConfig(("127.0.0.1", 1, "SPIR")), sandbox=True))
            destinations = {"WS1": ("127.0.0.1", viewer.port)}
            pacs = start(SandboxPacs(PacsConfig("SANDBOX", destinations=destinations), sandbox=True))
            yield cls(pacs, fhir, hook, viewer, viewer.port)

    def connect(self, port: int) -> None:
        """Let the viewer ask the gateway from now on."""
        self.viewer.ask(("127.0.0.1", port, "SPIR"))

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(self.pacs.port, "SANDBOX", self.storage, self.fhir.base, self.hook.base)

    @property
    def patient(self) -> str:
        """The FHIR id of the story's patient."""
        return chart.patient_id(person("P001"))

    @property
    def studies(self) -> dict[str, str]:
        """Study Instance UID of the story's patient by modality."""
        return {plan.modalities[0]: plan.uid for plan in person("P001").studies}

    async def resources(self, http: aiohttp.ClientSession, kind: str, count: int) -> list[Any]:
        """What the FHIR server holds of a type, once there are `count`, or after ten seconds."""
        deadline = time.monotonic() + 10
        while True:
            async with http.get(f"{self.fhir.base}/{kind}") as response:
                bundle = await response.json(content_type=None)
            found = [entry["resource"] for entry in bundle.get("entry", ())]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.02)


def lay_out(folder: Path, around: Surroundings) -> Path:
    """Write a site's configuration, the story's policies, and keys into `folder`; the configuration's path."""
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    for name in ("national", "provincial", "institution", "permission_map"):
        (policies / f"{name}.yaml").write_bytes(fixture(f"policies/story/{name}.yaml"))
    (folder / "staff.yaml").write_bytes(fixture("policies/staff.yaml"))
    (folder / "hook.key").write_bytes(SECRET)
    _make_issuer(folder)
    (folder / "spir.toml").write_text(CONFIG.format(issuer=ISSUER, **asdict(around)), "utf-8")
    return folder / "spir.toml"


def token(folder: Path, subject: str, seconds: int = 300) -> str:
    """An access token (RFC 9068) of the demo's own issuer."""
    key = load_pem_private_key((folder / "idp.key").read_bytes(), None)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "spir",
        "sub": subject,
        "client_id": "demo",
        "iat": now,
        "exp": now + seconds,
        "jti": uuid4().hex,
    }
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return jwt.encode(claims, key, "ES256", {"typ": "at+jwt", "kid": "demo"})


def _make_issuer(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "idp.key").write_bytes(pem)
    (folder / "idp.key").chmod(0o600)
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    jwks = {"keys": [{**public, "kid": "demo", "use": "sig", "alg": "ES256"}]}
    (folder / "jwks.json").write_text(json.dumps(jwks), "utf-8")
