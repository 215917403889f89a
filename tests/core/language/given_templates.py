"""What tests of templates are given: a template and a policy made from it, each with things changed."""

from __future__ import annotations

from spir.language.document import Documents, read_documents
from spir.model.policy import Policy
from tests.core.language.given_documents import VOCABULARY, policy

HEAD = 'spir: "1"\nkind: Template\ntemplate_id: own-department\n'
BODY = """\
version: 1.2.0
effect: permit
operations: ["read:document", "read:report"]
parameters:
  departments: {type: array, items: {type: string}, minItems: 1, examples: [[cardiology]]}
  level: {type: integer, minimum: 1, maximum: 5, default: 3}
conditions:
  subject: ["dept::in(parameters.departments)"]
  resource: ["sensitivity <= parameters.level"]
"""
TEMPLATE = HEAD + BODY
USE = "id: a\ntemplate: own-department\nwith: {departments: [cardiology]}"


def template(parameters: str, condition: str, more: str = "") -> str:
    """One with these parameters (lines without indentation) and this `when`."""
    lines = "".join(f"  {line}\n" for line in parameters.strip("\n").split("\n"))
    head = HEAD + 'effect: permit\noperations: ["read:document"]\n'
    return f"{head}parameters:\n{lines}when: |\n  {condition}\n{more}"


def read(*texts: str, library: dict[str, str] | None = None) -> Documents:
    """Texts are files t0.yaml, t1.yaml ..."""
    files = {f"t{n}.yaml": text for n, text in enumerate(texts)}
    return read_documents(files, vocabulary_text=VOCABULARY, templates=library or {})


def made(template: str = TEMPLATE, use: str = USE) -> Policy:
    """The policy that is made from a template."""
    return read(policy(use), template).policy_sets[0].policies[0]
