"""What a file holds: one form for each document in it, its kind and the names of its fields known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from spir.language.form import Form, form_of
from spir.language.kinds import permission_map, policy_set, policy_test, template, vocabulary_document
from spir.language.nearest import suggestion
from spir.language.nodes import read_nodes

__all__ = ["KINDS", "LANGUAGE", "LATER", "forms_in", "kind_of", "of_kind"]

LANGUAGE = "1"

# kind -> the fields it may have
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "PolicySet": policy_set.FIELDS,
        "PermissionMap": permission_map.FIELDS,
        "Vocabulary": vocabulary_document.FIELDS,
        "Template": template.FIELDS,
        "PolicyTest": policy_test.FIELDS,
    }
)

# Kinds that the language has a name for and this version does not read.
LATER = ("Destinations", "DeviceProfiles", "BlockRules")


def forms_in(text: str, file: str) -> Iterator[Form]:
    """One form for each document of a file, its kind and its fields checked."""
    for node in read_nodes(text, file):
        form = form_of(node, "the document")
        kind = kind_of(form)
        if kind in LATER:
            raise form.error(f"documents of kind `{kind}` are not supported yet", "kind", "take it out of the policies")
        if kind not in KINDS:
            raise form.error(f"`{kind[:60]}` is no kind of document", "kind", suggestion(kind, KINDS))
        if form.text("spir", "") != LANGUAGE and not _bare(form):
            raise form.error("the document must say which language it is in", "spir", f'write spir: "{LANGUAGE}"')
        yield form_of(node, f"a {kind}", KINDS[kind])


def _bare(form: Form) -> bool:
    """Whether it is a template as other systems exchange it."""
    return "kind" not in form and "spir" not in form and "template_id" in form


def kind_of(form: Form) -> str:
    """Raises DocumentError if it says none."""
    return "Template" if _bare(form) else form.text("kind")


def of_kind(forms: Iterable[Form], kind: str) -> list[Form]:
    return [form for form in forms if kind_of(form) == kind]
