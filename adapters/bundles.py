"""SHELL: bundles on disk: archives that are read with care, keys, and the shelf of the last good ones.

An archive is read into memory, never unpacked: there is no path for it to
lead astray. Its size is bounded before and while it is read. The shelf under
`<data>/bundles` holds the last good bundles and, in `state.json`, which of
them is in force and the highest generation that ever was.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.audit.keys import public_key, verify
from adapters.settings import Settings
from spir.bundle import Bundle, newer
from spir.embed import collect
from spir.errors import BundleError, DocumentError, Unavailable
from spir.language.template import Template
from spir.record.checkpoint import CheckpointError, Key

__all__ = [
    "ARCHIVES",
    "Shelf",
    "Source",
    "State",
    "archive_of",
    "check_templates",
    "pack",
    "read_archive",
    "read_kept",
    "read_members",
    "read_source",
    "second_keys",
    "shelf_of",
    "trusted_keys",
    "unpack",
    "write_whole",
]

ARCHIVES = (".zip", ".tar", ".bundle")
MAX_ARCHIVE = 64 * 1024 * 1024
MAX_MEMBERS = 10_100
MAX_CONTENT = 80 * 1024 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)  # of zip; a bundle's bytes depend on nothing but its content


@dataclass(frozen=True, slots=True)
class State:
    """`active`: the generation in force; `highest`: the highest that ever was. They differ after a rollback."""

    active: int = 0
    highest: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Documents as they lie there: of a bundle, whose signer is `signer` ("" for none), or of folders."""

    documents: Mapping[str, str]
    bundle: Bundle | None = None
    signer: str = ""
    state: State = State()

    @property
    def generation(self) -> int:
        """0 for folders."""
        return self.bundle.manifest.generation if self.bundle else 0

    def check(self, fingerprint: str) -> None:
        """Raises BundleError unless the documents mean here what they meant where the bundle was built."""
        if self.bundle and self.bundle.manifest.fingerprint != fingerprint:
            raise BundleError(
                "the documents of the bundle do not mean what its manifest says",
                hint="it was built with another vocabulary; build it with this version",
            )


class Shelf:
    """The last good bundles, by generation, in one folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    def state(self) -> State:
        """Raises BundleError if it cannot be read: without it, an old bundle could pass for a new one."""
        try:
            data = json.loads(self.state_file.read_bytes())
            found = State(data["active"], data["highest"])
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise BundleError(f"`{self.state_file}` cannot be read", hint=str(error)) from error
        if not all(type(one) is int for one in (found.active, found.highest)) or not 0 <= found.active <= found.highest:
            raise BundleError(f"`{self.state_file}` is malformed")
        return found

    def generations(self) -> list[int]:
        """Those that are kept, oldest first."""
        return sorted(int(path.stem) for path in self.folder.glob("*.bundle") if path.stem.isdecimal())

    def get(self, generation: int) -> Bundle:
        """Raises BundleError."""
        path = self._path(generation)
        if not path.exists():
            kept = ", ".join(map(str, self.generations())) or "none"
            raise BundleError(f"generation {generation} is not kept", hint=f"kept are: {kept}")
        found = unpack(path)
        if found.manifest.generation != generation:
            raise BundleError(f"`{path}` holds another generation")
        return found

    def put(self, bundle: Bundle) -> None:
        """Keep a bundle. Raises Unavailable."""
        write_whole(self._path(bundle.manifest.generation), pack(bundle))

    def activate(self, generation: int) -> State:
        """Note that a kept generation is in force, and let go of the oldest. Raises BundleError, Unavailable."""
        found = State(generation, max(generation, self.state().highest))
        write_whole(self.state_file, json.dumps(asdict(found)).encode())
        for old in self.generations()[: -self._keep]:
            if old != generation:
                self._path(old).unlink(missing_ok=True)
        return found

    def _path(self, generation: int) -> Path:
        return self.folder / f"{generation:012}.bundle"


def shelf_of(settings: Settings) -> Shelf:
    return Shelf(settings.data / "bundles", settings.policy.keep)


def archive_of(settings: Settings) -> Path | None:
    """The archive that the settings name as the site's documents; None where they name folders and files."""
    paths = [settings.path(name) for name in settings.policy.documents]
    archives = [path for path in paths if path.suffix in ARCHIVES]
    if archives and len(paths) > 1:
        raise DocumentError("[policy] documents names a bundle and something else", hint="name the bundle alone")
    return archives[0] if archives else None


def trusted_keys(settings: Settings) -> tuple[Key, ...]:
    """Raises DocumentError."""
    found = _keys(settings, settings.policy.trusted_keys)
    if settings.policy.require_signature and not found:
        raise DocumentError("signatures are required and no key is trusted", hint="see [policy] trusted_keys")
    return found


def second_keys(settings: Settings) -> tuple[Key, ...]:
    """Those of whoever approves changes. Raises DocumentError."""
    return _keys(settings, settings.policy.second_keys)


def _keys(settings: Settings, names: Iterable[str]) -> tuple[Key, ...]:
    found = []
    for name in names:
        try:
            found.append(public_key(settings.text(name), Path(name).stem.replace(" ", "-").replace("+", "-")))
        except CheckpointError as error:
            raise DocumentError(f"`{name}` is no Ed25519 public key", hint=str(error)) from error
    return tuple(found)


def check_templates(settings: Settings, templates: Iterable[Template]) -> None:
    """Raises BundleError for a signature in a trusted key's name that is wrong."""
    signed = [template for template in templates if template.signature is not None]
    trusted = {key.name: key.public for key in trusted_keys(settings)} if signed else {}
    for template in signed:
        template.signed_by(trusted, verify)


def read_source(settings: Settings) -> Source:
    """What the settings name, verified; no document has been read yet. Raises BundleError, DocumentError.

    After a rollback it is the kept bundle, until a newer one arrives.
    """
    trusted = trusted_keys(settings)
    archive = archive_of(settings)
    if archive is not None:
        return _verified(_chosen(archive, shelf_of(settings)), trusted)
    if settings.policy.require_signature:
        raise BundleError("documents in folders are not signed", hint="[policy] documents must name a bundle")
    return Source(collect(*(settings.path(name) for name in settings.policy.documents)))


def read_kept(settings: Settings) -> Source | None:
    """The bundle that was in force last, from the shelf, verified again; None if there is none."""
    shelf = shelf_of(settings)
    state = shelf.state()
    if archive_of(settings) is None or not state.active:
        return None
    return _verified((shelf.get(state.active), state), trusted_keys(settings))


def read_archive(settings: Settings, path: Path) -> Source:
    """A bundle that is to come into force: newer than any before, and signed as the settings demand."""
    state = shelf_of(settings).state()
    bundle = unpack(path)
    newer(bundle, state.highest)
    return _verified((bundle, state), trusted_keys(settings))


def _chosen(archive: Path, shelf: Shelf) -> tuple[Bundle, State]:
    state = shelf.state()
    bundle = unpack(archive)
    if bundle.manifest.generation > state.highest:
        return bundle, state
    kept = shelf.get(state.active)
    if state.active == state.highest and kept.manifest != bundle.manifest:
        newer(bundle, state.highest)  # it is not
    return kept, state


def _verified(found: tuple[Bundle, State], trusted: tuple[Key, ...]) -> Source:
    bundle, state = found
    signer = bundle.verified(trusted, verify).name if trusted else ""
    return Source(bundle.documents, bundle, signer, state)


# -- archives --------------------------------------------------------------------------------


def pack(bundle: Bundle) -> bytes:
    """The archive (zip): the same bytes for the same bundle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in bundle.members().items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(path: Path) -> Bundle:
    """Read an archive, zip or uncompressed tar, into memory. Raises BundleError."""
    try:
        if path.stat().st_size > MAX_ARCHIVE:
            raise BundleError(f"`{path}` is too large", hint=f"at most {MAX_ARCHIVE} bytes")
        return read_members(path.read_bytes(), str(path))
    except OSError as error:
        raise BundleError(f"the bundle `{path}` cannot be read", hint=str(error)) from error


def read_members(data: bytes, name: str) -> Bundle:
    """A bundle from the bytes of its archive. Raises BundleError."""
    members: dict[str, bytes] = {}
    size = 0
    try:
        if data.count(b"PK\x01\x02") > MAX_MEMBERS:  # before a list of millions is made
            raise BundleError(f"`{name}` holds too many members", hint=f"at most {MAX_MEMBERS}")
        for member, content in _zip(data) if data[:2] == b"PK" else _tar(data):
            size += len(content)
            if member in members:
                raise BundleError(f"`{name}` holds a member twice")
            if len(members) >= MAX_MEMBERS or size > MAX_CONTENT:
                raise BundleError(f"`{name}` holds too much", hint=f"at most {MAX_CONTENT} bytes unpacked")
            members[member] = content
    except _BROKEN as error:
        raise BundleError(f"`{name}` is no archive", hint="zip, or tar without compression") from error
    return Bundle.read(members)


# What the readers of archives raise for damaged ones.
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    struct.error,
    RuntimeError,
    NotImplementedError,
    OverflowError,
)


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            with archive.open(info) as file:
                yield info.filename, file.read(MAX_CONTENT + 1)


def _tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            if file is not None:
                yield info.name, file.read(MAX_CONTENT + 1)
            elif not info.isdir():
                raise BundleError("the archive holds something that is neither file nor folder")


def write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk before it is seen. Raises Unavailable."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise Unavailable(f"`{path}` cannot be written", hint=str(error)) from error
