"""`spir bundle`: build, sign, verify, push and roll back bundles of documents."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.audit.keys import public_key, signing_key, verify
from adapters.bundles import (
    Source,
    archive_of,
    pack,
    read_archive,
    shelf_of,
    trusted_keys,
    unpack,
    write_whole,
)
from adapters.commands.output import FINDING, OK, say
from adapters.gates.candidate import Candidate
from adapters.gates.every import gates_of
from adapters.parts import rules_of
from adapters.settings import Settings, load
from spir.bundle import Bundle, built, newer
from spir.embed import collect, default_vocabulary, library_templates
from spir.errors import BundleError, DocumentError
from spir.language.document import read_documents
from spir.record.checkpoint import CheckpointError, Key

__all__ = ["build", "push", "rollback", "sign", "verified"]


def build(arguments: Namespace) -> int:
    """Documents are read first: what a gateway would refuse is not packed."""
    texts = dict(_named(arguments.paths))
    documents = read_documents(texts, vocabulary_text=default_vocabulary(), templates=library_templates())
    created = datetime.now(UTC).replace(microsecond=0)
    documents.check_templates(created)
    before = unpack(Path(arguments.after)).manifest if arguments.after else None
    generation = arguments.generation or (before.generation + 1 if before else 1)
    if before and generation <= before.generation:
        raise BundleError(f"generation {generation} is not newer than {before.generation}")
    bundle = built(texts, documents.fingerprint, generation, created, before.fingerprint if before else "")
    write_whole(Path(arguments.output), pack(bundle))
    return _said(arguments, bundle)


def sign(arguments: Namespace) -> int:
    """The private key is made if there is none; its public half lies beside it, for `trusted_keys`."""
    path = Path(arguments.file)
    bundle = unpack(path)
    private, key = signing_key(Path(arguments.key), _key_name(arguments.key))
    write_whole(path, pack(bundle.signed(key.public, private.sign)))
    return _said(arguments, bundle, key.name)


def verified(arguments: Namespace) -> int:
    """Against the keys that were given, else those of the configuration. 1 if nobody trusted signed it."""
    bundle = unpack(Path(arguments.file))
    keys = [_key(name) for name in arguments.key]
    if not keys:
        keys = list(trusted_keys(load(Path(arguments.config))))
    try:
        signer = bundle.verified(keys, verify)
    except BundleError as error:
        say(arguments, {"ok": False, "problem": str(error)}, [f"FAIL  {error}"])
        return FINDING
    return _said(arguments, bundle, signer.name)


def push(arguments: Namespace) -> int:
    """Put a bundle where the gateway looks for it, if the gateway would take it. A running one takes it by itself."""
    settings = load(Path(arguments.config))
    archive = archive_of(settings)
    if archive is None:
        raise DocumentError("the site's documents are in folders", hint="[policy] documents must name a bundle")
    source = read_archive(settings, Path(arguments.file))
    assert source.bundle is not None
    if archive.exists():
        newer(source.bundle, unpack(archive).manifest.generation)
    _readable(settings, source)
    write_whole(archive, pack(source.bundle))
    return _said(arguments, source.bundle, source.signer)


def rollback(arguments: Namespace) -> int:
    """Bring a kept bundle back into force. What comes next must be newer than everything before all the same."""
    settings = load(Path(arguments.config))
    shelf = shelf_of(settings)
    state = shelf.state()
    older = [kept for kept in shelf.generations() if kept < state.active]
    if not arguments.to and not older:
        raise BundleError("no older bundle is kept", hint=f"in force is generation {state.active}")
    bundle = shelf.get(arguments.to or older[-1])
    trusted = trusted_keys(settings)
    signer = bundle.verified(trusted, verify).name if trusted else ""
    _readable(settings, Source(bundle.documents, bundle, signer, state))
    shelf.activate(bundle.manifest.generation)
    return _said(arguments, bundle, signer)


def _readable(settings: Settings, source: Source) -> None:
    """Raises for what the gateway would refuse to bring into force."""
    documents = read_documents(source.documents, vocabulary_text=default_vocabulary(), templates=library_templates())
    documents.check_templates(datetime.now(UTC))
    source.check(documents.fingerprint)
    rules = rules_of(settings, documents)
    if not rules.layers(settings.site.organization):
        raise DocumentError(f"no document applies to `{settings.site.organization}`: everything would be denied")
    candidate = Candidate(documents, rules, source)
    for gate in gates_of(settings):
        gate(candidate)


def _named(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Texts by the names they get in the bundle: relative to the folder that was given."""
    seen: set[str] = set()
    for path in map(Path, paths):
        root = path if path.is_dir() else path.parent
        for file, text in collect(path).items():
            name = Path(file).relative_to(root).as_posix()
            if name in seen:
                raise BundleError(f"two documents would be called `{name}`", hint="rename one of them")
            seen.add(name)
            yield name, text


def _key(path: str) -> Key:
    try:
        return public_key(Path(path).read_text("utf-8"), _key_name(path))
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise BundleError(f"`{path}` is no Ed25519 public key", hint=str(error)) from error


def _key_name(path: str) -> str:
    return Path(path).stem.replace(" ", "-").replace("+", "-")


def _said(arguments: Namespace, bundle: Bundle, signer: str = "") -> int:
    manifest = bundle.manifest
    data: Mapping[str, Any] = {
        "ok": True,
        "generation": manifest.generation,
        "fingerprint": manifest.fingerprint,
        "previous": manifest.previous,
        "created": manifest.created.isoformat(),
        "documents": [part.name for part in manifest.parts],
        "signer": signer,
    }
    lines = [
        f"generation {manifest.generation} of {manifest.created.isoformat()}, {len(manifest.parts)} documents",
        f"  {manifest.fingerprint}",
        *([f"  signed by {signer}"] if signer else []),
    ]
    say(arguments, data, lines)
    return OK
