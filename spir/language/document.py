"""Documents as people write them, read into policies: `read_documents`.

Texts come in, objects go out; no file is opened here. Whatever is wrong is a
DocumentError with file, line and column. The fingerprint says what the
documents mean, not how they are written: comments, formatting, the spelling of
conditions and the names and order of the files are no part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from spir.errors import DocumentError, Location
from spir.language.form import Form, form_of
from spir.language.kinds import permission_map, policy_set, policy_test, vocabulary_document
from spir.language.kinds.permission_map import PermissionMap, read_permission_map
from spir.language.kinds.policy_set import read_policy_set
from spir.language.kinds.policy_test import PolicyTest, read_policy_test
from spir.language.kinds.vocabulary_document import read_vocabulary
from spir.language.nearest import suggestion
from spir.language.nodes import read_nodes
from spir.language.printer import to_cel
from spir.language.vocabulary import Vocabulary
from spir.model.policy import Policy, PolicySet

__all__ = ["KINDS", "LATER", "Documents", "canonical", "read_documents"]

LANGUAGE = "1"

# kind -> the fields it may have
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "PolicySet": policy_set.FIELDS,
        "PermissionMap": permission_map.FIELDS,
        "Vocabulary": vocabulary_document.FIELDS,
        "PolicyTest": policy_test.FIELDS,
    }
)

# Kinds that the language has a name for and this version does not read.
LATER = ("Template", "Destinations", "DeviceProfiles", "BlockRules")


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that was read. `policy_sets` holds what the permission maps were compiled to, too."""

    policy_sets: tuple[PolicySet, ...]
    permission_maps: tuple[PermissionMap, ...]
    vocabulary: Vocabulary
    tests: tuple[PolicyTest, ...]
    fingerprint: str


def read_documents(files: Mapping[str, str], *, vocabulary_text: str) -> Documents:
    """Read the texts of documents, by file name. Raises DocumentError.

    `vocabulary_text` is the vocabulary that every site begins with; documents
    of kind Vocabulary among the files add to it. One file may hold several
    documents, divided by `---`. The order of the files does not matter.
    """
    forms = [form for file in sorted(files) for form in _forms(files[file], file)]
    vocabulary = _vocabulary(vocabulary_text, _of(forms, "Vocabulary"))
    maps = tuple(read_permission_map(form, vocabulary) for form in _of(forms, "PermissionMap"))
    sets = tuple(read_policy_set(form, vocabulary) for form in _of(forms, "PolicySet"))
    tests = tuple(read_policy_test(form) for form in _of(forms, "PolicyTest"))
    policy_sets = (*sets, *(found.policies for found in maps))
    _refuse_twins(policy_sets)
    return Documents(policy_sets, maps, vocabulary, tests, _fingerprint(policy_sets, vocabulary))


def _forms(text: str, file: str) -> Iterable[Form]:
    """One form for each document of a file, its kind and its fields checked."""
    for node in read_nodes(text, file):
        form = form_of(node, "the document")
        kind = form.text("kind")
        if kind in LATER:
            raise form.error(f"documents of kind `{kind}` are not supported yet", "kind", "take it out of the policies")
        if kind not in KINDS:
            raise form.error(f"`{kind[:60]}` is no kind of document", "kind", suggestion(kind, KINDS))
        if form.text("spir", "") != LANGUAGE:
            raise form.error("the document must say which language it is in", "spir", f'write spir: "{LANGUAGE}"')
        yield form_of(node, f"a {kind}", KINDS[kind])


def _of(forms: Iterable[Form], kind: str) -> list[Form]:
    return [form for form in forms if form.text("kind") == kind]


def _vocabulary(text: str, additions: list[Form]) -> Vocabulary:
    """The default vocabulary and what the site adds, none of which may say otherwise than another."""
    found = Vocabulary()
    for form in _of(_forms(text, "the default vocabulary"), "Vocabulary"):
        found = found.extended(read_vocabulary(form))
    added = Vocabulary()
    for form in additions:
        new = read_vocabulary(form)
        _refuse_contradictions(added, new, form)
        added = added.extended(new)
    return found.extended(added)


def _refuse_contradictions(known: Vocabulary, new: Vocabulary, form: Form) -> None:
    """Two documents of a site that declare one name differently: neither may win by the name of its file."""
    tables: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("attributes", known.attributes, new.attributes),
        ("short", known.short, new.short),
        ("actions", known.actions, new.actions),
    )
    for key, before, after in tables:
        for name in before.keys() & after.keys():
            if before[name] != after[name]:
                raise form.error(f"`{name}` is declared differently in another document", key, "declare it once")


def _refuse_twins(policy_sets: Iterable[PolicySet]) -> None:
    seen: dict[str, Location | None] = {}
    for found in policy_sets:
        for policy in found.policies:
            if policy.id in seen:
                raise DocumentError(
                    f"the policy id `{policy.id}` is there twice",
                    hint=f"the other is at {seen[policy.id]}",
                    location=policy.location,
                )
            seen[policy.id] = policy.location


# -- what the documents mean, in one form ----------------------------------------------------


def canonical(data: Any) -> str:
    """JSON with sorted keys and without blanks: equal data gives equal text."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _fingerprint(policy_sets: Iterable[PolicySet], vocabulary: Vocabulary) -> str:
    parts = sorted(canonical(_set_json(found)) for found in policy_sets)
    whole = canonical({"spir": LANGUAGE, "vocabulary": vocabulary.to_json(), "policy_sets": parts})
    return f"sha256:{hashlib.sha256(whole.encode('utf-8')).hexdigest()}"


def _set_json(found: PolicySet) -> dict[str, Any]:
    return {
        "name": found.name,
        "layer": found.layer.label,
        "jurisdiction": found.jurisdiction,
        "version": found.version,
        "policies": [_policy_json(policy) for policy in found.policies],
    }


def _policy_json(policy: Policy) -> dict[str, Any]:
    edges = (policy.valid.start, policy.valid.end)
    return {
        "id": policy.id,
        "effect": policy.kind.value,
        "operations": [str(pattern) for pattern in policy.operations],
        "when": to_cel(policy.when),
        "obligations": [obligation.to_json() for obligation in policy.obligations],
        "valid": [edge.isoformat() if edge else None for edge in edges],
        "emergency": policy.emergency.value,
        "on_missing": policy.on_missing.value,
    }
