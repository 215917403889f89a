"""Documents as people write them, read into policies: `read_documents`.

Texts come in, objects go out; no file is opened here. Whatever is wrong is a
DocumentError with file, line and column. The fingerprint says what the
documents mean, not how they are written: comments, formatting, the spelling of
conditions and the names and order of the files are no part of it, and neither
is whether a policy was written out or made from a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from spir.errors import DocumentError, Location
from spir.language.canonical import canonical
from spir.language.contents import KINDS, LATER, forms_in, of_kind
from spir.language.form import Form
from spir.language.kinds.instance import Making
from spir.language.kinds.permission_map import PermissionMap, read_permission_map
from spir.language.kinds.policy_set import read_policy_set
from spir.language.kinds.policy_test import PolicyTest, read_policy_test
from spir.language.kinds.template import read_template
from spir.language.kinds.vocabulary_document import read_vocabulary
from spir.language.meaning import fingerprint, mark
from spir.language.nodes import Items
from spir.language.phrases import Phrases
from spir.language.shelf import Shelf, Shipped
from spir.language.template import Found, Template
from spir.language.vocabulary import Vocabulary
from spir.model.policy import PolicySet

__all__ = ["KINDS", "LATER", "Documents", "Library", "canonical", "read_documents", "read_tests"]

NO_TEXTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that was read. `policy_sets` holds what the permission maps were compiled to, too.

    `templates` are those of the site; `used` says which template each policy that names one was made from.
    """

    policy_sets: tuple[PolicySet, ...]
    permission_maps: tuple[PermissionMap, ...]
    vocabulary: Vocabulary
    tests: tuple[PolicyTest, ...]
    fingerprint: str
    templates: tuple[Template, ...] = ()
    used: tuple[Found, ...] = ()

    def check_templates(self, at: datetime) -> None:
        """Raises DocumentError for a policy whose template is not valid at a moment.

        To be asked of what is about to come into force. What is in force needs no such check: a policy is
        never valid for longer than its template.
        """
        for found in self.used:
            found.check(at)


def read_documents(
    files: Mapping[str, str], *, vocabulary_text: str, templates: Mapping[str, str] = NO_TEXTS
) -> Documents:
    """Read the texts of documents, by file name. Raises DocumentError.

    `vocabulary_text` is the vocabulary that every site begins with; documents
    of kind Vocabulary among the files add to it. `templates` are the texts, by
    template id, of those that every site may use: only what is named is looked
    up, and a template of the site's own hides all versions of that id. One file
    may hold several documents, divided by `---`. The order of the files does
    not matter.
    """
    return Library(vocabulary_text, templates).read(files)


def read_tests(files: Mapping[str, str]) -> tuple[PolicyTest, ...]:
    """Only the policy tests in these texts; what they are run against is read for each. Raises DocumentError."""
    forms = (form for file in sorted(files) for form in of_kind(forms_in(files[file], file), "PolicyTest"))
    return tuple(read_policy_test(form) for form in forms)


@dataclass(frozen=True, slots=True)
class _File:
    """What one file was read to, under one vocabulary. `marks` are the digests of its policy sets."""

    text: str
    vocabulary: Vocabulary
    additions: tuple[Form, ...]
    templates: tuple[Template, ...]
    sets: tuple[PolicySet, ...]
    maps: tuple[PermissionMap, ...]
    tests: tuple[PolicyTest, ...]
    marks: tuple[str, ...]
    used: tuple[Found, ...]


@dataclass(slots=True)
class _Draft:
    """A file on its way: its forms, unless it is as it was (`known`), and the templates in it."""

    name: str
    text: str
    forms: list[Form]
    templates: tuple[Template, ...]
    known: _File | None = None


class Library:
    """Documents that are read again and again: a file is read anew only when its text, the vocabulary, or a
    template that it uses has changed.

    It remembers the last files that could be read, all of them. For one thread at a time.
    """

    def __init__(self, vocabulary_text: str, templates: Mapping[str, str] = NO_TEXTS) -> None:
        self._vocabulary_text = vocabulary_text
        self._vocabulary: tuple[tuple[Form, ...], Vocabulary] | None = None
        self._files: dict[str, _File] = {}
        self._shipped = Shipped(templates)

    def read(self, files: Mapping[str, str]) -> Documents:
        """As `read_documents`."""
        fresh = {
            file: list(forms_in(files[file], file)) for file in sorted(files) if not self._knows(file, files[file])
        }
        added = [
            of_kind(fresh[file], "Vocabulary") if file in fresh else self._files[file].additions
            for file in sorted(files)
        ]
        vocabulary = self._common(tuple(form for forms in added for form in forms))
        drafts = [self._draft(file, files[file], fresh.pop(file, None), vocabulary) for file in sorted(files)]
        shelf = Shelf(vocabulary, [one for draft in drafts for one in draft.templates], self._shipped)
        phrases = Phrases.of(vocabulary)
        read = [_finished(draft, phrases, shelf) for draft in drafts]
        maps = tuple(found for file in read for found in file.maps)
        sets = (*(found for file in read for found in file.sets), *(found.policies for found in maps))
        _refuse_twins(sets)
        whole = fingerprint((one for file in read for one in file.marks), vocabulary)
        self._files = dict(zip(sorted(files), read, strict=True))
        tests = tuple(test for file in read for test in file.tests)
        used = tuple(found for file in read for found in file.used)
        return Documents(sets, maps, vocabulary, tests, whole, shelf.own, used)

    def _knows(self, file: str, text: str) -> bool:
        return file in self._files and self._files[file].text == text

    def _common(self, additions: tuple[Form, ...]) -> Vocabulary:
        """The vocabulary of the site; the same object for as long as no document adds anything else to it."""
        if self._vocabulary is None or self._vocabulary[0] != additions:
            self._vocabulary = additions, _vocabulary(self._vocabulary_text, additions)
        return self._vocabulary[1]

    def _draft(self, file: str, text: str, forms: list[Form] | None, vocabulary: Vocabulary) -> _Draft:
        known = self._files[file] if forms is None else None
        if known is not None and known.vocabulary is vocabulary:
            return _Draft(file, text, [], known.templates, known)
        forms = list(forms_in(text, file)) if forms is None else forms
        return _Draft(file, text, forms, tuple(read_template(form, vocabulary) for form in of_kind(forms, "Template")))


def _finished(draft: _Draft, phrases: Phrases, shelf: Shelf) -> _File:
    if draft.known is not None and shelf.answers_as_before(draft.known.used):
        return draft.known
    forms = list(forms_in(draft.text, draft.name)) if draft.known is not None else draft.forms
    draft.forms = []  # so that not all files' trees are held until the last one is done
    making, vocabulary = Making(phrases, shelf), phrases.vocabulary
    maps = tuple(read_permission_map(form, vocabulary) for form in of_kind(forms, "PermissionMap"))
    sets = tuple(read_policy_set(form, phrases, making) for form in of_kind(forms, "PolicySet"))
    tests = tuple(read_policy_test(form) for form in of_kind(forms, "PolicyTest"))
    marks = tuple(mark(one) for one in (*sets, *(found.policies for found in maps)))
    additions = tuple(of_kind(forms, "Vocabulary"))
    _let_go(forms)
    return _File(draft.text, vocabulary, additions, draft.templates, sets, maps, tests, marks, tuple(making.found))


def _let_go(forms: list[Form]) -> None:
    """Give up the trees, policy by policy: a large one that goes in one step holds up all other threads meanwhile."""
    parts = [node for form in forms for node in form.fields.entries.values()]
    pieces = [piece for node in parts if isinstance(node, Items) for piece in node.items]
    forms.clear()
    parts.clear()
    while pieces:
        pieces.pop()


def _vocabulary(text: str, additions: Iterable[Form]) -> Vocabulary:
    """The default vocabulary and what the site adds, none of which may say otherwise than another."""
    found = Vocabulary()
    for form in of_kind(forms_in(text, "the default vocabulary"), "Vocabulary"):
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
