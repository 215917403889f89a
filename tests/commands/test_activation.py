"""How policies come into force: all gates first, the record next, one swap last; and nothing at all otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.activation import Event, InForce, Policies, stamps_of
from adapters.gates.candidate import Candidate
from adapters.gates.policy_tests import PolicyTests
from adapters.settings import Settings, read
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet
from spir.errors import DocumentError, Unavailable
from spir.language.document import read_documents

TOML = '[site]\norganization = "cn/a"\n[policy]\nwatch = false\n[directory]\nfile = "staff.yaml"\n'
TEST = """
---
spir: "1"
kind: PolicyTest
name: nurses
cases:
  - name: a nurse reads results
    request:
      subject: {type: person, id: sun, properties: {role: nurse}}
      action: {name: read}
      resource: {type: result, id: "1"}
    expect: {effect: permit}
"""


def policy(role: str, id: str = "p") -> str:
    return (
        f'spir: "1"\nkind: PolicySet\nname: {id}\nlayer: institution\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
        f'  - {{id: {id}, effect: permit, operations: ["read:result"], when: \'subject.role == "{role}"\'}}\n'
    )


class Trail:
    """What was recorded and swapped, in order; `broken` is an audit trail that cannot be written."""

    def __init__(self, broken: bool = False) -> None:
        self.told: list[Any] = []
        self.broken = broken

    async def record(self, event: Event) -> None:
        if self.broken:
            raise Unavailable("the audit trail cannot be written")
        self.told.append(event.what)

    def swap(self, found: InForce) -> None:
        self.told.append(found)


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(policy("nurse"), "utf-8")
    (tmp_path / "staff.yaml").write_text("- {id: sun, properties: {role: nurse}}", "utf-8")
    return read(TOML, str(tmp_path / "spir.toml"), {})


def write(site: Settings, text: str, name: str = "policies/p.yaml") -> None:
    site.path(name).write_text(text, "utf-8")


def reloaded(policies: Policies, trail: Trail) -> bool:
    async def run() -> bool:
        await policies.begin(trail.record, trail.swap)
        changed = await policies.reload()
        await policies.end()
        return changed

    return asyncio.run(run())


def begun(site: Settings, *gates: Any, **more: Any) -> Policies:
    policies = Policies(site, gates, **more)
    policies.load()
    return policies


def test_a_change_is_recorded_and_then_swapped_in_whole(site: Settings) -> None:
    policies, trail = begun(site), Trail()
    before = policies.current
    write(site, policy("physician"))
    assert reloaded(policies, trail)
    assert trail.told == ["policies", policies.current] and policies.problems == {}
    assert policies.current.rules.fingerprint == policies.current.documents.fingerprint != before.rules.fingerprint


def test_what_has_not_changed_is_not_swapped(site: Settings) -> None:
    policies, trail = begun(site), Trail()
    write(site, "# a remark\n" + policy("nurse"))
    assert not reloaded(policies, trail) and trail.told == []


@pytest.mark.parametrize("text", ["kind: [", "kind: PolicySet", policy("nurse") + "---\n" + policy("nurse"), "\x00"])
def test_what_cannot_be_read_leaves_the_last_good_ones(site: Settings, text: str) -> None:
    policies, trail = begun(site), Trail()
    before = policies.current
    write(site, text)
    assert not reloaded(policies, trail)
    assert policies.current is before and trail.told == ["policies-refused"]
    assert "p.yaml" in policies.problems["policies"]
    write(site, policy("nurse"))
    assert not reloaded(policies, trail) and policies.problems == {}


def test_a_folder_that_is_gone_leaves_the_last_good_ones(site: Settings) -> None:
    policies = begun(site)
    site.path("policies/p.yaml").unlink()
    site.path("policies").rmdir()
    assert not reloaded(policies, Trail()) and "does not exist" in policies.problems["policies"]


def test_a_bad_directory_keeps_the_old_one_and_does_not_hold_up_the_policies(site: Settings) -> None:
    policies, trail = begun(site), Trail()
    write(site, "- {id: sun, role: nurse}", "staff.yaml")
    write(site, policy("physician"))
    assert reloaded(policies, trail)
    assert trail.told[:2] == ["directory-refused", "policies"] and list(policies.problems) == ["directory"]
    assert "sun" in policies.current.directory.entities


def test_a_new_directory_comes_with_the_rules_that_are_in_force(site: Settings) -> None:
    policies, trail = begun(site), Trail()
    rules = policies.current.rules
    write(site, "- {id: chen}", "staff.yaml")
    assert reloaded(policies, trail)
    assert list(policies.current.directory.entities) == ["chen"] and policies.current.rules is rules


def test_without_a_record_nothing_comes_into_force(site: Settings) -> None:
    policies, trail = begun(site), Trail(broken=True)
    before = policies.current
    write(site, policy("physician"))
    write(site, "- {id: chen}", "staff.yaml")
    assert not reloaded(policies, trail)
    assert policies.current is before and trail.told == [] and set(policies.problems) == {"policies", "directory"}


def test_a_gate_that_refuses_leaves_the_last_good_ones(site: Settings) -> None:
    def gate(candidate: Candidate) -> Mapping[str, Any]:
        if "physician" in str(candidate.rules.sets):
            raise DocumentError("no physicians here")
        return {}

    policies = begun(site, gate)
    before = policies.current
    write(site, policy("physician"))
    assert not reloaded(policies, Trail())
    assert policies.current is before and policies.problems == {"policies": "no physicians here"}


def test_a_defect_in_a_gate_is_a_refusal_too(site: Settings) -> None:
    def gate(candidate: Candidate) -> Mapping[str, Any]:
        if "physician" in str(candidate.rules.sets):
            raise KeyError("oh")
        return {}

    policies = begun(site, gate)
    write(site, policy("physician"))
    assert not reloaded(policies, Trail()) and "KeyError" in policies.problems["policies"]


def test_rules_are_prepared_slice_by_slice_before_they_come_into_force(site: Settings) -> None:
    def prepare(rules: RuleSet) -> Generator[None, None, str]:
        for _ in rules.every:
            yield
        return f"ready for {rules.fingerprint}"

    policies = begun(site, prepare=prepare)
    write(site, policy("physician"))
    assert reloaded(policies, Trail())
    assert policies.current.prepared == f"ready for {policies.current.rules.fingerprint}"


def test_how_facts_are_joined_cannot_change_under_a_store(site: Settings) -> None:
    policies = begun(site)
    joins = dict(policies.current.documents.vocabulary.joins())
    text = (
        'spir: "1"\nkind: Vocabulary\nname: more\nattributes:\n'
        "  resource.patient.helpers: {type: list<string>, source: fact, join: union, description: who helps}\n"
    )
    try:
        changed = read_documents({"v.yaml": text}, vocabulary_text=default_vocabulary()).vocabulary
    except DocumentError as error:
        pytest.fail(str(error))
    assert dict(changed.joins()) != joins
    write(site, text, "policies/v.yaml")
    assert not reloaded(policies, Trail()) and "start it again" in policies.problems["policies"]


def test_any_change_of_what_is_named_changes_the_stamps(site: Settings) -> None:
    seen = [stamps_of(site)]
    write(site, policy("radiologist"))
    seen.append(stamps_of(site))
    write(site, "", "policies/more.yml")
    seen.append(stamps_of(site))
    write(site, "[]", "staff.yaml")
    seen.append(stamps_of(site))
    site.path("policies/more.yml").unlink()
    seen.append(stamps_of(site))
    assert all(seen.count(one) == 1 for one in seen)


# -- the site's own tests as a gate ----------------------------------------------------------


def test_policies_whose_own_tests_fail_do_not_come_into_force(site: Settings) -> None:
    write(site, policy("nurse") + TEST)
    policies, trail = begun(site, PolicyTests(site)), Trail()
    write(site, policy("physician") + TEST)
    assert not reloaded(policies, trail)
    assert "`a nurse reads results` fails: effect" in policies.problems["policies"]
    write(site, policy("physician") + TEST.replace("permit", "deny"))
    assert reloaded(policies, trail)


def test_a_case_about_other_documents_is_no_gate(site: Settings) -> None:
    write(site, policy("physician") + TEST.replace("cases:", "given: {documents: [elsewhere.yaml]}\ncases:"))
    assert begun(site, PolicyTests(site)).problems == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{messages: [nowhere.hl7]}", "cannot be read"),
        ("{messages: ['MSH|nonsense']}", "a message of this case"),
        ("{timezone: Nowhere/Land}", "no time zone"),
    ],
)
def test_a_case_that_cannot_be_run_refuses_the_policies(site: Settings, given: str, said: str) -> None:
    write(site, policy("nurse") + TEST.replace("cases:", f"given: {given}\ncases:"))
    with pytest.raises(DocumentError, match=said):
        begun(site, PolicyTests(site))
