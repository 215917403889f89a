"""`spir roles`: what is to be said about the roles of an export, and policies that can replace them."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from adapters.commands.output import FINDING, OK, say
from adapters.identity.directory import Directory
from spir.assurance.roles.access import Access
from spir.assurance.roles.reading.export import Export, Value, read_export
from spir.assurance.roles.reading.permissions import read_permissions
from spir.assurance.roles.replacing.drafts import Target
from spir.assurance.roles.replacing.equality import entity_of
from spir.assurance.roles.replacing.judgement import Proposal, proposed
from spir.assurance.roles.report import report
from spir.embed import WALL_CLOCK, collect, default_vocabulary, library_templates
from spir.errors import DocumentError, Location, RequestError, Unavailable
from spir.language.document import Documents, read_documents
from spir.language.template import Template
from spir.language.vocabulary import Vocabulary
from spir.model.value import thaw

__all__ = ["roles"]

LARGEST = 512 * 1024 * 1024  # bytes of an export


def roles(arguments: Namespace) -> int:
    """1 for contradictions and for rights that outlived their role."""
    site = collect(*arguments.policies)
    documents = _read(site, "")
    vocabulary = documents.vocabulary
    texts = {name: _text(Path(name), arguments.encoding) for name in arguments.files}
    export = read_export(texts, vocabulary, arguments.ignore)
    if arguments.directory:
        export = _known(export, Path(arguments.directory), vocabulary)
    exported = Access(export, read_permissions(export.permissions, vocabulary), arguments.allow_wins)
    found = report(exported, vocabulary, _templates(documents))
    proposal = None
    if arguments.propose:
        wanted = Access(export, exported.catalogue, arguments.allow_wins, arguments.clean)
        target = Target(arguments.name, arguments.jurisdiction)
        read = partial(_read, site)
        proposal = proposed(exported, wanted, target, read, WALL_CLOCK(), _Within(arguments.within).left)
        _write(Path(arguments.propose), proposal, wanted)
    say(arguments, _json(found.to_json(), proposal), _lines(found.lines(), proposal, arguments.propose))
    return OK if found.sound and (proposal is None or proposal.holds) else FINDING


@dataclass(slots=True)
class _Within:
    """So many seconds from the first time that it is asked."""

    seconds: float
    end: float = 0.0

    def left(self) -> bool:
        self.end = self.end or time.monotonic() + self.seconds
        return time.monotonic() < self.end


def _read(site: Mapping[str, str], proposal: str) -> Documents:
    """The site's documents, and one more beside them."""
    more = {"(the proposal)": proposal} if proposal else {}
    return read_documents({**site, **more}, vocabulary_text=default_vocabulary(), templates=library_templates())


def _templates(documents: Documents) -> tuple[Template, ...]:
    """The site's own, and those that ship."""
    shipped = {f"{id}.yaml": text for id, text in library_templates().items()}
    found = read_documents(shipped, vocabulary_text=default_vocabulary()).templates
    own = {one.id for one in documents.templates}
    return (*documents.templates, *(one for one in found if one.id not in own))


def _text(path: Path, encoding: str) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise DocumentError(
                "the export is too large", hint=f"at most {LARGEST} bytes", location=Location(str(path))
            )
        return path.read_text(encoding)
    except LookupError as error:
        raise RequestError(f"`{encoding}` is no encoding", hint="as utf-8 or gb18030") from error
    except (OSError, UnicodeDecodeError) as error:
        hint = f"{error}; say how it is encoded with --encoding"[:200]
        raise DocumentError(f"cannot be read as {encoding} text", hint=hint, location=Location(str(path))) from error


def _known(export: Export, path: Path, vocabulary: Vocabulary) -> Export:
    """With what the directory says of the people: it is what decisions are made by."""
    directory = Directory.parse(_text(path, "utf-8"), str(path))
    people = {}
    for id, person in export.people.items():
        entity = directory.entities.get(id)
        said: dict[str, Value] = {}
        for name, value in (entity.properties if entity else {}).items():
            kind = vocabulary.kind(f"subject.{name}")
            if isinstance(value, (str, int)) and kind is not None and kind.type in ("string", "int"):
                said[f"subject.{name}"] = value
        people[id] = replace(person, attributes={**person.attributes, **said})
    return replace(export, people=people)


def _write(folder: Path, proposal: Proposal, wanted: Access) -> None:
    """`before` and `after` are folders of their own, so that `spir diff` and `spir check` take each as it is."""
    directory = "".join(_entries(wanted))
    _check_directory(directory, wanted)
    texts = {
        "before/roles.yaml": proposal.before,
        "after/roles.yaml": proposal.after,
        "staff.yaml": directory,
    }
    for name, text in texts.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise Unavailable(f"`{path}` cannot be written", hint=error.strerror or "") from error


def _entries(access: Access) -> Iterator[str]:
    for person in access.export.people.values():
        entity = entity_of(access, person)
        data = {"id": person.id, "properties": thaw(entity.properties)}
        yield f"- {json.dumps(data, ensure_ascii=False)}\n"


def _check_directory(text: str, access: Access) -> None:
    """A person whom the directory cannot hold would be denied everything."""
    try:
        Directory.parse(text, "staff.yaml")
    except DocumentError as error:
        line = error.location.line if error.location else 0
        people = list(access.export.people.values())
        at = people[line - 1].at if 0 < line <= len(people) else None
        raise DocumentError(
            f"the directory cannot hold this person: {error.message}", hint=error.hint, location=at
        ) from error


def _json(found: dict[str, Any], proposal: Proposal | None) -> dict[str, Any]:
    return found if proposal is None else {**found, "proposal": proposal.to_json()}


def _lines(found: Iterator[str], proposal: Proposal | None, folder: str) -> Iterator[str]:
    yield from found
    if proposal is not None:
        yield from proposal.lines()
        yield f"  written to {folder}: after/ (the proposal), before/ (the roles as policies), staff.yaml (the people)"
        yield f"  what it changes for others: spir diff {folder}/before {folder}/after"
