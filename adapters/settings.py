"""The one configuration file: `spir.toml` -> frozen settings.

Unknown keys are errors that name the nearest known one. `SPIR__SECTION__KEY`
in the environment overlays the file. Secrets come from files only. Paths are
relative to the file.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from spir.errors import DocumentError, Location

__all__ = ["Address", "Settings", "address", "load", "read", "schema"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every section refuses what it does not know."""


class Tls(_Section, frozen=True, kw_only=True):
    """A listener's TLS. `client_ca` demands client certificates."""

    certificate: str
    key: str
    client_ca: str = ""


class Site(_Section, frozen=True, kw_only=True):
    organization: str
    timezone: str = "UTC"
    data: str = "var"
    keep_days: int = 30  # of messages and of facts that are over
    assigning_authority: str = ""  # of patient identifiers that come without one


class Policy(_Section, frozen=True, kw_only=True):
    documents: tuple[str, ...] = ("policies",)  # folders and files, or one bundle
    trusted_keys: tuple[str, ...] = ()  # public keys (PEM): a bundle must be signed by one of them
    require_signature: bool = False  # nothing but a signed bundle comes into force
    second_signature: bool = False  # a bundle that newly permits anything is signed by a second person, too
    second_keys: tuple[str, ...] = ()  # their public keys; none: another of `trusted_keys`
    validate: Literal["refuse", "warn", "off"] = "refuse"  # what becomes of findings of the validator
    validate_seconds: float = 30.0  # after which what it has not finished is a warning
    acknowledged: str = ""  # file of the warnings that somebody answers for
    keep: int = 5  # bundles to go back to
    watch: bool = True  # read again what has changed


class Directory(_Section, frozen=True, kw_only=True):
    file: str = ""


class Hl7Source(_Section, frozen=True, kw_only=True):
    application: str
    facility: str = ""
    addresses: tuple[str, ...] = ()
    charset: str = ""  # over MSH-18
    certificate: str = ""  # SHA-256 of its TLS client certificate
    validate: bool = False  # check the structure by the standard's tables (extra `hl7v2`)
    numbered: bool = True  # its visits have numbers


class Hl7v2(_Section, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:2575"
    sources: tuple[Hl7Source, ...] = ()
    vip_codes: tuple[str, ...] = ()  # values of PV1-16 that mean a VIP; none: any value does
    tls: Tls | None = None
    allow_clear_text: bool = False


class DicomNode(_Section, frozen=True, kw_only=True):
    """The PACS, or a move destination. `upstream` is the AE title a destination has at the PACS, if it differs."""

    address: str
    ae_title: str
    upstream: str = ""


class DicomPeer(_Section, frozen=True, kw_only=True):
    ae_title: str
    addresses: tuple[str, ...] = ()


class Dicom(_Section, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:11112"
    ae_title: str = "SPIR"
    pacs: DicomNode | None = None
    peers: tuple[DicomPeer, ...] = ()
    destinations: tuple[DicomNode, ...] = ()
    calling_ae_title: str = ""  # who we are to the PACS; our own AE title if empty
    modality_lists: bool = True  # the PACS takes several modalities in one key
    issuers: bool = True  # the PACS may hold patients of several assigning authorities
    loud_denials: bool = False  # a denied C-FIND says 0x0124 instead of finding nothing
    tls: Tls | None = None
    allow_clear_text: bool = False


class Fhir(_Section, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:8080"
    upstream: str = ""
    upstream_token_file: str = ""
    identifier_systems: dict[str, str] = {}
    validate_writes: bool = False
    tls: Tls | None = None
    allow_clear_text: bool = False


class Issuer(_Section, frozen=True, kw_only=True):
    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...]
    token_types: tuple[str, ...] = ()


class Identity(_Section, frozen=True, kw_only=True):
    issuers: tuple[Issuer, ...] = ()


class Channel(_Section, frozen=True, kw_only=True):
    """Where notifications of one channel go. `kind`: webhook, fhir-task or fhir-communication."""

    url: str = ""
    kind: str = "webhook"
    secret_file: str = ""
    allow_clear_text: bool = False


class NotifySection(_Section, frozen=True, kw_only=True):
    channels: dict[str, Channel] = {}


class Pdp(_Section, frozen=True, kw_only=True):
    """The decision point. `socket` and `pipelined` are paths of Unix sockets; `open` asks nobody who it is.

    `base` is its URL as callers see it, behind a proxy or by name; else it is made of `listen`.
    """

    listen: str = "127.0.0.1:8181"
    base: str = ""
    socket: str = ""
    pipelined: str = ""
    open: bool = False
    tls: Tls | None = None
    allow_clear_text: bool = False


class Audit(_Section, frozen=True, kw_only=True):
    signing_key: str = "audit.key"
    checkpoint_seconds: float = 60.0


class Settings(_Section, frozen=True, kw_only=True):
    """All of `spir.toml`. `folder` is where it lies: relative paths start there."""

    site: Site
    policy: Policy = Policy()
    directory: Directory = Directory()
    hl7v2: Hl7v2 | None = None
    dicom: Dicom | None = None
    fhir: Fhir | None = None
    identity: Identity = Identity()
    notify: NotifySection = NotifySection()
    pdp: Pdp | None = None
    audit: Audit = Audit()
    folder: str = "."

    def path(self, name: str) -> Path:
        """A path of this file: absolute as it is, relative from the file's folder."""
        return Path(self.folder) / name

    def text(self, name: str) -> str:
        """The text of a file that the settings name. Raises DocumentError."""
        path = self.path(name)
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DocumentError(
                "cannot be read as UTF-8 text", hint=str(error), location=Location(str(path))
            ) from error

    def secret(self, name: str) -> str:
        """A secret from a file, without the line end; "" for no file."""
        return self.text(name).strip() if name else ""

    def listening(self) -> Iterator[tuple[str, Hl7v2 | Dicom | Fhir | Pdp]]:
        """The listeners of the configuration, by name."""
        for name, section in (("hl7v2", self.hl7v2), ("dicom", self.dicom), ("fhir", self.fhir), ("pdp", self.pdp)):
            if section is not None:
                yield name, section

    def in_clear_text(self) -> Iterator[tuple[str, str]]:
        """Listeners without TLS that other machines can reach, and where."""
        for name, section in self.listening():
            if section.tls is None and not address(section.listen).loopback:
                yield name, section.listen

    @property
    def data(self) -> Path:
        return self.path(self.site.data)

    @property
    def database(self) -> Path:
        """Messages, facts, audit trail and outbox."""
        return self.data / "gateway.db"

    @property
    def checkpoints(self) -> Path:
        """Signed checkpoints of the audit trail; copy them to another place."""
        return self.data / "checkpoints"

    @property
    def signing_key(self) -> Path:
        return self.path(self.audit.signing_key)

    @property
    def origin(self) -> str:
        """The audit trail's name in its checkpoints."""
        return f"spir/{self.site.organization}"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.site.timezone)


class Address(msgspec.Struct, frozen=True):
    """A host (name or IP, without brackets) and a port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def address(text: str) -> Address:
    """`host:port` or `[v6]:port`. Raises DocumentError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise DocumentError(f"`{text}` is not an address", hint="write host:port")
    return Address(host.strip("[]"), int(port))


def load(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read a file and its overlay. Raises DocumentError with the file, and the line where TOML knows it."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            "the configuration cannot be read", hint=str(error), location=Location(str(path))
        ) from error
    return read(text, str(path), os.environ if environment is None else environment)


def read(text: str, name: str, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from TOML text; `name` is the file's path, for errors and for relative paths."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"this is not TOML: {error}", location=Location(name)) from error
    _overlay(data, environment or {})
    _refuse_unknown(data, Settings, "", name, text)
    if "folder" in data:
        raise DocumentError("unknown key `folder`", location=Location(name, _line(text, "folder")))
    try:
        settings = msgspec.convert({**data, "folder": str(Path(name).parent)}, Settings)
    except msgspec.ValidationError as error:
        raise DocumentError(str(error)[:1].lower() + str(error)[1:], location=Location(name)) from error
    _check(settings, name)
    return settings


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file."""
    found = msgspec.json.schema(Settings)
    found["$defs"]["Settings"]["properties"].pop("folder", None)
    return found


def _overlay(data: dict[str, Any], environment: Mapping[str, str]) -> None:
    """`SPIR__SITE__TIMEZONE=UTC` sets [site] timezone; values are JSON where they parse, else text."""
    for name, value in sorted(environment.items()):
        if not name.startswith("SPIR__"):
            continue
        *sections, key = name.removeprefix("SPIR__").lower().split("__")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise DocumentError(f"`{name}` goes through `{section}`, which is no section")
        place[key] = _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refuse_unknown(data: Any, kind: Any, place: str, name: str, text: str) -> None:
    struct = _struct(kind)
    if struct is None:
        items: Iterable[Any] = data if isinstance(data, list) else data.values() if isinstance(data, dict) else ()
        inner = _inner(kind)
        for item in items if inner is not None else ():
            _refuse_unknown(item, inner, place, name, text)
        return
    known = [field for field in struct.__struct_fields__ if field != "folder"]
    hints = get_type_hints(struct)
    for key, value in data.items() if isinstance(data, dict) else ():
        if key in known:
            _refuse_unknown(value, hints[key], f"{place}{key}.", name, text)
        elif key != "folder":
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
            raise DocumentError(f"unknown key `{place}{key}`", hint=hint, location=Location(name, _line(text, key)))


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    for option in (kind, *getattr(kind, "__args__", ())):
        if (
            isinstance(option, type)
            and issubclass(option, msgspec.Struct)
            and getattr(kind, "__origin__", None) is None
        ):
            return option
    return None


def _inner(kind: Any) -> Any:
    """The section that a list or map of sections holds; None for others."""
    return next((argument for argument in get_args(kind) if _struct(argument)), None)


def _line(text: str, key: str) -> int:
    """The first line that sets `key`; 0 if it comes from the environment."""
    bare = key.strip('"')
    for number, line in enumerate(text.splitlines(), 1):
        if bare in line and line.split("#")[0].strip().strip("[]").split("=")[0].strip().strip('"').endswith(bare):
            return number
    return next((n for n, line in enumerate(text.splitlines(), 1) if bare in line.split("#")[0]), 0)


def _check(settings: Settings, name: str) -> None:
    where = Location(name)
    try:
        ZoneInfo(settings.site.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DocumentError(f"`{settings.site.timezone}` is not a time zone", location=where) from error
    if settings.policy.keep < 1:
        raise DocumentError("[policy] keep is at least 1", location=where)
    if settings.policy.second_signature and not settings.policy.require_signature:
        hint = "set require_signature = true, too, and name `trusted_keys`"
        raise DocumentError("[policy] second_signature is about signed bundles", hint=hint, location=where)
    allowed = {name for name, section in settings.listening() if section.allow_clear_text}
    for name, listen in settings.in_clear_text():
        if name not in allowed:
            raise DocumentError(
                f"clear text on `{listen}` beyond loopback",
                hint="give it a [tls] section, or set allow_clear_text = true",
                location=where,
            )
    if settings.pdp is not None:
        _check_pdp(settings.pdp, where)
    if settings.fhir is not None and not settings.fhir.upstream:
        raise DocumentError("[fhir] needs an `upstream`", location=where)
    if settings.dicom is not None and settings.dicom.pacs is None:
        raise DocumentError("[dicom] needs a `pacs`", location=where)


def _check_pdp(section: Pdp, where: Location) -> None:
    if section.open and not address(section.listen).loopback:
        raise DocumentError(
            f"a decision point on `{section.listen}` cannot be open to everybody",
            hint="listen on loopback, or let callers be identified",
            location=where,
        )
    if not section.base:
        return
    try:
        parts = urlsplit(section.base)
        sound = parts.scheme in ("https", "http") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        sound = False
    if not sound or parts.username is not None:
        hint = "write https://HOST or https://HOST/PATH"
        raise DocumentError(
            f"[pdp] base is no address that callers can use: `{section.base}`", hint=hint, location=where
        )
