"""Templates: what they become, what they are told when they are wrong, and which of them is taken."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from spir.errors import DocumentError, Location
from spir.language.document import Documents
from spir.language.printer import to_cel
from spir.model.obligation import Obligation
from spir.model.policy import Emergency, Kind, OnMissing, OperationPattern, Origin, Validity
from tests.core.language.given_documents import ROOT, policy
from tests.core.language.given_templates import BODY, HEAD, TEMPLATE, USE, made, read, template

SOURCE = """\
{ "template_id": "read_doc_sensitive", "effect": "allow", "conditions": { "subject": ["role == 'doctor'", \
"dept::in('cardiology')"], "resource": ["classification == 'PHI'", "owner != subject.id"], \
"environment": ["time::between('08:00', '17:00')"] } }
"""
SOURCE_MEANS = (
    'subject.role == "doctor" && subject.department in ["cardiology"] && resource.classification == "PHI" '
    '&& resource.owner != subject.id && time.between("08:00", "17:00")'
)


def refusal(*texts: str, library: dict[str, str] | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read(*texts, library=library)
    return caught.value


def changed(before: str, after: str) -> str:
    assert before in TEMPLATE
    return TEMPLATE.replace(before, after)


# -- the source's example --------------------------------------------------------------------


def test_the_example_of_the_source_is_read_as_it_is_written():
    (found,) = read(SOURCE).templates
    assert (found.id, found.version, found.kind) == ("read_doc_sensitive", "1.0.0", Kind.PERMIT)
    assert to_cel(found.when) == SOURCE_MEANS
    assert (found.operations, found.valid, found.parameters) == ((), Validity(), {})


def test_the_example_is_a_file_of_a_folder_of_policies():
    file: Path = ROOT / "fixtures/policies/templates/read_doc_sensitive.json"
    assert json.loads(file.read_text("utf-8")) == json.loads(SOURCE)
    use = 'id: a\ntemplate: read_doc_sensitive\nversion: ">=1.0 <2"\noperations: ["read:document"]'
    made = read(file.read_text("utf-8"), policy(use)).policy_sets[0].policies[0]
    assert (to_cel(made.when), made.origin) == (SOURCE_MEANS, Origin("read_doc_sensitive", "1.0.0"))


def test_a_template_without_operations_leaves_them_to_the_policy():
    error = refusal(SOURCE, policy("id: a\ntemplate: read_doc_sensitive"))
    assert error.message == "the template `read_doc_sensitive` leaves `operations` to the policy"


# -- what a policy becomes -------------------------------------------------------------------


def test_a_policy_is_what_the_template_says_with_its_values_in_place():
    found = made(use=f"{USE}\nvalid: {{from: 2026-01-01T00:00:00Z}}\nemergency: overridable")
    assert to_cel(found.when) == 'subject.department in ["cardiology"] && resource.sensitivity <= 3'
    assert (found.id, found.kind, found.emergency) == ("a", Kind.PERMIT, Emergency.OVERRIDABLE)
    assert found.operations == (OperationPattern("read", "document"), OperationPattern("read", "report"))
    assert found.valid == Validity(datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    assert found.origin == Origin("own-department", "1.2.0")
    assert found.location == Location("t0.yaml", 8, 5)


def test_a_policy_may_be_about_less_than_its_template():
    assert made(use=f'{USE}\noperations: ["read:report"]').operations == (OperationPattern("read", "report"),)
    error = refusal(TEMPLATE, policy(f'{USE}\noperations: ["read:report", "export:report"]'))
    assert error.message == "the template `own-department` is not about `export:report`"
    assert error.hint == "it is about read:document, read:report"


def test_obligations_of_both_are_the_policys_and_may_hold_parameters():
    more = "obligations:\n  - {type: limit, count: {parameter: level}}\n  - {type: mask, paths: [patient.telecom]}\n"
    found = made(TEMPLATE + more, f"{USE}\nobligations: [{{id: own, type: audit, level: full}}]")
    assert found.obligations == (
        Obligation("a-limit", "limit", {"count": 3}),
        Obligation("a-mask", "mask", {"paths": ("patient.telecom",)}),
        Obligation("own", "audit", {"level": "full"}),
    )


def test_a_policy_and_the_same_written_out_mean_the_same():
    """The fingerprint covers what a template's policies mean, and nothing else of it."""
    written = policy(
        'id: a\neffect: permit\noperations: ["read:document", "read:report"]\n'
        "when: subject.department in ['cardiology'] && resource.sensitivity <= 3"
    )
    assert read(policy(USE), TEMPLATE).fingerprint == read(written).fingerprint
    other = changed("sensitivity <= parameters.level", "sensitivity < parameters.level")
    assert read(policy(USE), other).fingerprint != read(written).fingerprint


def test_a_prohibition_may_be_a_template():
    found = made(changed("effect: permit", "effect: deny\non_missing: ignore"))
    assert (found.kind, found.on_missing) == (Kind.DENY, OnMissing.IGNORE)


# -- which one is taken ----------------------------------------------------------------------


def versions(*names: str) -> list[str]:
    return [changed("1.2.0", name) for name in names]


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ("", "2.1.0"),
        (">=1.0 <2", "1.10.0"),
        (">=1.0, <1.10", "1.9.0"),
        ("1.9.0", "1.9.0"),
        ("=3.0.0-rc.1", "3.0.0-rc.1"),
        (">2", "2.1.0"),
    ],
)
def test_the_highest_version_in_the_range_is_taken(asked: str, taken: str):
    use = f'{USE}\nversion: "{asked}"' if asked else USE
    found = read(policy(use), *versions("1.9.0", "2.1.0", "1.10.0", "3.0.0-rc.1")).policy_sets[0].policies[0]
    assert found.origin == Origin("own-department", taken)


@pytest.mark.parametrize(
    ("use", "message", "hint"),
    [
        ("version: '>=2'", "no version of the template `own-department` is in `>=2`", "there is 1.2.0, 1.9.0"),
        ("version: 'latest'", "`version` is no range of versions", 'as ">=1.0 <2"'),
        ("version: '>= '", "`version` is no range of versions", 'as ">=1.0 <2"'),
    ],
)
def test_a_version_that_is_not_there_is_said(use: str, message: str, hint: str):
    error = refusal(policy(f"{USE}\n{use}"), *versions("1.9.0", "1.2.0"))
    assert (error.message, error.hint) == (message, hint)


def test_a_template_that_is_not_there_is_said_with_the_nearest():
    error = refusal(policy(USE.replace("own-department", "own-departments")), TEMPLATE)
    assert str(error) == ("t0.yaml:9:15: there is no template `own-departments`; did you mean `own-department`?")


def test_one_version_stands_in_one_place():
    assert refusal(TEMPLATE, TEMPLATE).message == "the template `own-department` 1.2.0 is there twice"


def test_the_library_is_asked_only_for_what_is_named():
    class Asked(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            asked.append(name)
            return super().__getitem__(name)

    asked: list[str] = []
    library = Asked({"own-department": TEMPLATE, "broken": "kind: ["})
    assert read(policy("id: b\neffect: deny\noperations: ['*:*']"), library=library).used == ()
    assert asked == []
    found = read(policy(USE), library=library)
    assert asked == ["own-department"]
    assert found.policy_sets[0].policies[0].origin == Origin("own-department", "1.2.0")
    assert found.templates == ()  # those of the site


def test_a_template_of_the_site_hides_the_librarys():
    found = read(policy(USE), changed("1.2.0", "0.1.0"), library={"own-department": TEMPLATE})
    assert found.policy_sets[0].policies[0].origin == Origin("own-department", "0.1.0")


# -- for when it holds -----------------------------------------------------------------------

WINDOW = "valid_from: 2026-01-01T00:00:00Z\nvalid_until: 2027-01-01T00:00:00Z\n"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def limited(valid: str = "") -> Documents:
    return read(policy(f"{USE}\nvalid: {valid}" if valid else USE), TEMPLATE + WINDOW)


def test_a_policy_is_never_valid_for_longer_than_its_template():
    first, last = moment("2026-01-01T00:00:00+00:00"), moment("2027-01-01T00:00:00+00:00")
    middle = moment("2026-06-01T00:00:00+00:00")
    assert limited().policy_sets[0].policies[0].valid == Validity(first, last)
    wider = "{from: 2020-01-01T00:00:00Z, until: 2026-06-01T00:00:00Z}"
    assert limited(wider).policy_sets[0].policies[0].valid == Validity(first, middle)


def test_a_policy_whose_template_is_never_valid_then_is_refused():
    error = refusal(policy(f"{USE}\nvalid: {{until: 2026-01-01T00:00:00Z}}"), TEMPLATE + WINDOW)
    assert error.message == "the template `own-department` is never valid while the policy is"


@pytest.mark.parametrize(
    ("at", "valid", "problem"),
    [
        ("2025-12-31T23:59:59+00:00", "", "is not valid before 2026-01-01T00:00:00+00:00"),
        ("2027-01-01T00:00:00+00:00", "", "is not valid since 2027-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00+00:00", "", ""),
        ("2026-12-31T23:59:59+00:00", "", ""),
        # the policy itself says that it begins later, or has ended
        ("2025-12-31T23:59:59+00:00", "{from: 2026-02-01T00:00:00Z}", ""),
        ("2027-01-01T00:00:00+00:00", "{until: 2026-06-01T00:00:00Z}", ""),
    ],
)
def test_what_comes_into_force_has_a_valid_template(at: str, valid: str, problem: str):
    documents = limited(valid)
    if not problem:
        documents.check_templates(moment(at))
        return
    with pytest.raises(DocumentError) as caught:
        documents.check_templates(moment(at))
    assert caught.value.message == f"the template `own-department` {problem}"
    assert str(caught.value.location) == "t0.yaml:9:15"


# -- digest, certificate, signature ----------------------------------------------------------


def test_a_digest_is_over_what_a_template_means():
    (found,) = read(TEMPLATE).templates
    rewritten = f"# a comment\n{HEAD}" + BODY.replace(
        '["read:document", "read:report"]', "[ read:document, 'read:report' ]"
    )
    assert read(rewritten).templates[0].digest == found.digest
    signed = TEMPLATE + f"digest: {found.digest}\n"
    assert read(signed).templates[0].digest == found.digest


@pytest.mark.parametrize(
    ("before", "after"),
    [("1.2.0", "1.2.1"), ("permit", "deny"), ("<= parameters", "< parameters"), ("default: 3", "default: 4")],
)
def test_what_was_changed_after_the_digest_was_made_is_refused(before: str, after: str):
    signed = TEMPLATE + f"digest: {read(TEMPLATE).templates[0].digest}\n"
    error = refusal(signed.replace(before, after))
    assert error.message == "the template is not the one that its `digest` was made for"
    assert str(error.location).startswith("t0.yaml:13:")


def test_a_fingerprint_of_a_certificate_is_read_in_each_of_its_spellings():
    plain = "ab" * 32
    for text in (plain, plain.upper(), ":".join(["AB"] * 32), f"sha256:{plain}", f"SHA-256:{plain}"):
        assert read(f'{TEMPLATE}cert_fingerprint: "{text}"\n').templates[0].cert_fingerprint == plain
    assert refusal(f"{TEMPLATE}cert_fingerprint: abcd\n").message == "`cert_fingerprint` is no SHA-256"


# -- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "message", "place"),
    [
        ("with: {}", "the template `own-department` needs the parameter `departments`", "9:15"),
        ("with: {departments: [a], levels: 2}", "the template `own-department` has no parameter `levels`", "10:30"),
        ("with: [a]", "`with` must be a mapping", "10:11"),
        ("with: {departments: cardiology}", "`departments` must be a list", "10:25"),
        ("with: {departments: []}", "`departments` has 0 members", "10:25"),
        ("with: {departments: [1]}", "each of `departments` must be a string", "10:26"),
        ("with: {departments: [a], level: 9}", "`level` must be an integer from 1 to 5", "10:37"),
        ("with: {departments: [a], level: '3'}", "`level` must be an integer from 1 to 5", "10:37"),
        ("with: {departments: [a], level: 3.0}", "`level` must be an integer from 1 to 5", "10:37"),
        ("with: {departments: [a], level: true}", "`level` must be an integer from 1 to 5", "10:37"),
        ("with: {departments: [a], level: null}", "`level` must be an integer from 1 to 5", "10:37"),
        ("with: {departments: [a]}\neffect: permit", "a policy made from a template has no field `effect`", "11:5"),
        ("with: {departments: [a]}\nwhen: 'true'", "a policy made from a template has no field `when`", "11:5"),
    ],
)
def test_a_wrong_use_is_said_with_its_place(use: str, message: str, place: str):
    error = refusal(policy(f"id: a\ntemplate: own-department\n{use}"), TEMPLATE)
    assert (error.message, str(error.location)) == (message, f"t0.yaml:{place}")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("parameters.level", "parameters.lvl", "there is no parameter `lvl`"),
        ("parameters.level", "parameters", "`parameters` is not a value itself"),
        ("parameters.level", "parameters['level']", "`parameters` is not a value itself"),
        ("parameters.level", "parameters.level.x", "a int has no field `x`"),
        ("parameters.level", "parameters.departments", "`<=` cannot compare a int with a list<string>"),
        ("sensitivity <= parameters.level", "has(parameters.level)", "a parameter always has a value"),
        ("<= parameters.level", "<= 3", "the parameter `level` is used nowhere"),
        ("default: 3", "default: 6", "`level` must be an integer from 1 to 5"),
        ("type: integer", "type: int", "`type` cannot be `int`"),
        ("minimum: 1, maximum: 5", "minimum: 5, maximum: 1", "`minimum` is above `maximum`"),
        ("minimum: 1", "minLength: 1", "the parameter `level` of type integer has no field `minLength`"),
        ("minItems: 1", "minItems: -1", "`minItems` is out of range"),
        ("version: 1.2.0", "version: '1.2'", "`version` must be a semantic version"),
        ("effect: permit", "effect: alow", "`effect` cannot be `alow`"),
        ("conditions:", "when: 'true'\nconditions:", "a template has `conditions` or `when`"),
        ("  subject:", "  subjects:", "`conditions` has no field `subjects`"),
        ("  level:", "  le-vel:", "this cannot name a parameter"),
        ("read:report", "raed:report", "the verb `raed` is not declared"),
    ],
)
def test_a_wrong_template_is_refused(before: str, after: str, message: str):
    assert refusal(changed(before, after)).message == message


def test_an_obligation_that_names_no_parameter_is_refused():
    error = refusal(TEMPLATE + "obligations: [{type: limit, count: {parameter: levle}}]\n")
    assert (error.message, error.hint) == ("there is no parameter `levle`", "did you mean `level`?")


def test_what_an_example_shows_to_be_wrong_is_wrong_in_the_template():
    error = refusal(template("pattern: {type: string, examples: ['(']}", "subject.id.matches(parameters.pattern)"))
    assert error.message == "`pattern` of `matches` must be an RE2 expression of at most 1000 characters"


def test_a_parameter_cannot_name_an_attribute():
    wrong = template("name: {type: string}", 'resource.patient[parameters.name] == "x"')
    assert refusal(wrong).message == "a parameter cannot name an attribute"
    number = template("n: {type: integer}", 'subject.roles[parameters.n] == "nurse"')
    assert to_cel(made(number, USE.replace("departments: [cardiology]", "n: 0")).when) == 'subject.roles[0] == "nurse"'


def test_a_loop_cannot_hide_the_parameters():
    wrong = template("n: {type: string}", "subject.roles.exists(parameters, parameters == parameters)")
    assert "`parameters`" in refusal(wrong).message


# -- reading again ---------------------------------------------------------------------------


def test_a_file_is_read_anew_when_its_template_has_changed():
    from spir.language.document import Library
    from tests.core.language.given_documents import VOCABULARY

    library = Library(VOCABULARY)
    files = {"a.yaml": policy(USE), "t.yaml": TEMPLATE, "b.yaml": policy("id: b\neffect: deny\noperations: ['*:*']")}
    first = library.read(files)
    again = library.read({**files, "t.yaml": f"# as before\n{TEMPLATE}"})
    assert [one is other for one, other in zip(first.policy_sets, again.policy_sets, strict=True)] == [True, True]
    after = library.read({**files, "t.yaml": changed("default: 3", "default: 2")})
    assert [one is other for one, other in zip(first.policy_sets, after.policy_sets, strict=True)] == [False, True]
    assert to_cel(after.policy_sets[0].policies[0].when).endswith("<= 2")
    with pytest.raises(DocumentError, match="there is no template `own-department`"):
        library.read({name: text for name, text in files.items() if name != "t.yaml"})
    assert library.read(files).fingerprint == first.fingerprint
