"""A library reads what has changed, and gives what reading everything would have given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.embed import default_vocabulary
from spir.errors import DocumentError
from spir.language.document import Library, read_documents

VOCABULARY = default_vocabulary()
HEAD = 'spir: "1"\nkind: '
ADDITION = (
    HEAD + "Vocabulary\nname: more\nattributes:\n  subject.grade: {type: int, source: test, description: the grade}\n"
)


def policies(name: str, when: str = 'subject.role == "nurse"') -> str:
    return (
        f"{HEAD}PolicySet\nname: {name}\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\npolicies:\n"
        f"  - {{id: {name}, effect: permit, operations: [\"read:result\"], when: '{when}'}}\n"
    )


TEXTS = [policies("a"), policies("b"), policies("c", "subject.grade > 3"), ADDITION, policies("a", "1 == "), ""]


def test_what_has_not_changed_is_the_same_object() -> None:
    library = Library(VOCABULARY)
    first = library.read({"a.yaml": policies("a"), "b.yaml": policies("b")})
    second = library.read({"a.yaml": policies("a"), "b.yaml": policies("b", 'subject.role == "physician"')})
    assert second.policy_sets[0] is first.policy_sets[0]
    assert second.policy_sets[1] is not first.policy_sets[1] and second.fingerprint != first.fingerprint


def test_what_cannot_be_read_leaves_the_library_as_it_was() -> None:
    library = Library(VOCABULARY)
    first = library.read({"a.yaml": policies("a")})
    with pytest.raises(DocumentError):
        library.read({"a.yaml": policies("a"), "b.yaml": "kind: ["})
    assert library.read({"a.yaml": policies("a")}) == first


@given(st.lists(st.dictionaries(st.sampled_from(["a.yaml", "b.yaml", "c.yaml"]), st.sampled_from(TEXTS)), max_size=6))
def test_reading_again_gives_what_reading_everything_gives(steps: list[dict[str, str]]) -> None:
    library = Library(VOCABULARY)
    for files in steps:
        assert outcome(lambda now=files: library.read(now)) == outcome(
            lambda now=files: read_documents(now, vocabulary_text=VOCABULARY)
        )


def outcome(read) -> object:
    try:
        return read()
    except DocumentError as error:
        return str(error)
