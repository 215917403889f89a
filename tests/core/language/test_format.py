"""The canonical form: what it does, that it loses nothing, and what it refuses."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.embed import default_vocabulary
from spir.errors import DocumentError, SpirError
from spir.language.document import read_documents
from spir.language.format import format_document, is_document

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "fixtures/policies").rglob("*.yaml"))
DOCUMENTS = [path for path in FILES if path.name != "staff.yaml"]
HEAD = 'spir: "1"\nkind: PolicySet\nname: a\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\n'


def formatted(text: str, file: str = "a.yaml") -> str:
    made = format_document(text, file)
    assert format_document(made, file) == made
    return made


def policy(text: str) -> str:
    return f"{HEAD}policies:\n{text}"


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "mappings/vocabulary.yaml"], ids=lambda path: path.name)
def test_shipped_documents_mean_the_same_afterwards(path: Path):
    text = path.read_text("utf-8")
    made = formatted(text, str(path))
    if path.parent.name == "story":
        before, after = (read_documents({"a.yaml": t}, vocabulary_text=default_vocabulary()) for t in (text, made))
        assert before.fingerprint == after.fingerprint
    assert Counter(re.findall(r"(?m)^\s*(#.*)$", text)) == Counter(re.findall(r"(?m)^\s*(#.*)$", made))


def test_keys_take_their_order_and_comments_go_with_them():
    text = policy(
        "  # why it is there\n"
        "  - effect: permit   # it grants\n"
        "    # a name\n"
        "    id: p\n"
        "    when: >-\n"
        "      subject.role=='nurse'\n"
        "\n\n"
        "    operations:   # all of them\n"
        "    # reading\n"
        "    - 'read:*'\n"
        "# the end\n"
    )
    assert formatted(text) == policy(
        "  # why it is there\n"
        "  # a name\n"
        "  - id: p\n"
        "    effect: permit  # it grants\n"
        "\n"
        "    operations:  # all of them\n"
        "      # reading\n"
        "      - 'read:*'\n"
        '    when: subject.role == "nurse"\n'
        "# the end\n"
    )


def test_the_head_of_a_document_takes_its_order():
    text = "policies: []\nversion: 1.0.0\nlayer: national\nkind: PolicySet\njurisdiction: cn\nname: a\nspir: '1'\n"
    assert [line.split(":")[0] for line in formatted(text).splitlines()] == [
        "spir", "kind", "name", "layer", "jurisdiction", "version", "policies"
    ]  # fmt: skip


def test_a_long_condition_has_a_line_for_each_part():
    text = policy(
        '  - {id: p, effect: permit, operations: ["read:*"],\n     when: \'subject.role == "physician" && '
        '(context.protocol == "fhir" || context.protocol == "dicom") && has(subject.license)\'}\n'
    )
    assert formatted(text) == policy(
        "  - id: p\n"
        "    effect: permit\n"
        '    operations: ["read:*"]\n'
        "    when: |\n"
        '      subject.role == "physician"\n'
        '      && (context.protocol == "fhir" || context.protocol == "dicom")\n'
        "      && has(subject.license)\n"
    )


def test_what_could_not_stand_without_quotes_is_a_block():
    text = policy("  - id: p\n    effect: permit\n    operations: ['*:*']\n    when: \"!has(subject.license)\"\n")
    assert "    when: |\n      !has(subject.license)\n" in formatted(text)


def test_a_list_with_a_comment_in_it_is_not_put_on_one_line():
    text = policy("  - id: p\n    effect: permit\n    operations: ['read:*',  # to see\n      'search:*']\n")
    assert "    operations:\n      - 'read:*'  # to see\n      - 'search:*'\n" in formatted(text)


def test_several_documents_stay_apart():
    text = policy("  []\n") + "---\n# another\n" + policy(" []\n")
    assert formatted(text).count("---\n# another\nspir:") == 1


def test_json_is_laid_out_too():
    text = '{"kind": "PolicySet", "spir": "1", "policies": [{"when": "subject.id==\\"a\\"", "id": "p"}]}'
    assert formatted(text, "a.json").startswith('{\n  "spir": "1",\n  "kind": "PolicySet",\n  "policies": [\n    {\n')
    assert '"when": "subject.id == \\"a\\""' in formatted(text, "a.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (policy("  - id: p\n    when: |\n      // why\n      true\n"), r"a\.yaml:9:11: a comment inside a condition"),
        (
            policy("  - id: p\n    when: |\n      true == // no 'quote'\n      true\n"),
            r"a\.yaml:9:11: a comment inside a",
        ),
        (policy("  - id: p\n    operations: [\n      a\n      # gone\n    ]\n"), r"a\.yaml:11:7: a comment here"),
        (f"{HEAD}# behind all\n---\n{HEAD}", r"a\.yaml:7:1: a comment here"),
        (policy("  - {id: p, when: 'a.b =='}\n"), r"a\.yaml:8:\d+: "),
        (f"%YAML 1.2\n---\n{HEAD}", "directives"),
        ("- a\n", "no document of ours"),
        ("a: b: c\n", r"a\.yaml:1:5"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(text: str, said: str):
    with pytest.raises(DocumentError, match=said):
        format_document(text, "a.yaml")


def test_text_with_two_slashes_is_no_comment():
    text = policy("  - id: p\n    when: subject.id == \"http://a\" && subject.role == 'a//b'\n")
    assert '"http://a"' in formatted(text) and '"a//b"' in formatted(text)


def test_only_documents_are_documents():
    assert is_document(HEAD, "a.yaml")
    assert not is_document("- {id: dr.li}\n", "a.yaml") and not is_document("", "a.yaml")


LINES = [(path, number) for path in DOCUMENTS for number in range(len(path.read_text("utf-8").splitlines()))]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.data())
def test_comments_wherever_they_stand_are_kept_or_refused(path: Path, data: st.DataObject):
    lines = path.read_text("utf-8").splitlines()
    places = data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=4, unique=True))
    for mark, place in enumerate(sorted(places, reverse=True)):
        own = data.draw(st.booleans())
        indent = data.draw(st.integers(0, 6))
        if own:
            lines.insert(place, f"{' ' * indent}# mark{mark}")
        else:
            lines[place] += f"  # mark{mark}"
    text = "\n".join(lines) + "\n"
    try:
        made = formatted(text, str(path))
    except DocumentError:
        return
    assert all(made.count(f"mark{mark}") == 1 for mark in range(len(places)))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="ab:-#[]{}'\"|> \n,&*!%", max_size=40))
def test_any_text_is_formatted_or_refused(tail: str):
    for text in (tail, HEAD + "description: " + tail, policy("  - id: p\n    when: " + tail)):
        try:
            formatted(text)
        except SpirError:
            continue
