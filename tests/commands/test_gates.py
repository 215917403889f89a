"""What policies must pass: the validator, somebody who answers for warnings, and a second person for what opens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.activation import Event, Policies
from adapters.audit.pseudonym import Pseudonyms
from adapters.cli import main
from adapters.gates.accepted import Accepted
from adapters.gates.approval import Approval
from adapters.gates.candidate import Refused
from adapters.gates.patience import UNIONS, Patience
from adapters.gates.validation import Validation
from adapters.settings import Settings, read
from spir.assurance.checks.registry import CHECKS
from spir.assurance.suppression import read_suppressions
from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_in_slices
from spir.errors import BundleError, DocumentError, Unavailable
from spir.model.request import Request
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import NOON

HEAD = 'spir: "1"\nkind: PolicySet\nname: {name}\nlayer: {layer}\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
ABOVE = '  - {id: above, effect: delegate, operations: ["read:*"], when: "subject.type == \'person\'"}\n'
NURSES = """  - id: nurses
    effect: permit
    operations: ["read:result"]
    when: subject.type == "person" && subject.role == "nurse"
"""
# a system that is a nurse is not delegated to anybody: a warning
CARELESS = NURSES.replace('subject.type == "person" && ', "")
# deleting is not delegated at all: an error
DELETING = NURSES.replace("read:result", "delete:document")
# every nurse, and physicians
WIDER = NURSES.replace('subject.role == "nurse"', 'subject.role in ["nurse", "physician"]')
MASKED = f'{NURSES}    obligations: [{{id: m, type: mask, paths: ["patient.telecom"]}}]\n'


PSEUDONYMS = Pseudonyms(b"k" * 32)


class Site:
    """A folder with a configuration, and policies that come into force from it."""

    def __init__(self, folder: Path, policy: str = "") -> None:
        self.folder = folder
        self.policy = policy
        self.directory = ""
        self.told: list[Event] = []
        (folder / "policies").mkdir(exist_ok=True)
        self.write("national", HEAD.format(name="n", layer="national") + ABOVE)

    def write(self, name: str, text: str) -> None:
        (self.folder / "policies" / f"{name}.yaml").write_text(text, "utf-8")

    def grants(self, policies: str) -> None:
        self.write("ward", HEAD.format(name="w", layer="institution") + policies)

    @property
    def settings(self) -> Settings:
        text = f'[site]\norganization = "cn/a"\n[policy]\nwatch = false\n{self.policy}\n'
        text += f'[directory]\nfile = "{self.directory}"\n'
        return read(text, str(self.folder / "spir.toml"), {})

    def start(self) -> Policies:
        settings = self.settings
        policies = Policies(settings, (Validation(settings), Approval(settings)), compile_in_slices)
        policies.load()
        return policies

    def reload(self, policies: Policies) -> bool:
        async def run() -> bool:
            await policies.begin(self.record, lambda found: None)
            changed = await policies.reload()
            await policies.end()
            return changed

        return asyncio.run(run())

    async def record(self, event: Event) -> None:
        """Details that the trail would leave out are lost: there must be none."""
        kept = AuditEvent(NOON, EventKind.LIFECYCLE, "spir", event.what, "spir", Outcome.SUCCESS, detail=event.detail)
        assert "dropped" not in PSEUDONYMS.sealed(kept)[0], event.detail
        self.told.append(event)

    @property
    def last(self) -> Mapping[str, Any]:
        return self.told[-1].detail


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.grants(NURSES)
    return found


def acknowledge(site: Site, marks: list[str], until: str = "2126-01-01") -> None:
    entries = (f'- {{mark: "{mark}", reason: on purpose, by: a.b, until: {until}}}\n' for mark in marks)
    (site.folder / "acknowledged.yaml").write_text("".join(entries), "utf-8")
    site.policy = 'acknowledged = "acknowledged.yaml"'


def marks_of(details: Mapping[str, Any]) -> list[str]:
    return [told.split()[2] for told in details["validation"]["findings"]]


# -- the validator ---------------------------------------------------------------------------


def test_an_error_is_refused_and_the_last_good_ones_stay(site: Site) -> None:
    policies = site.start()
    before = policies.current
    site.grants(DELETING)
    assert not site.reload(policies)
    assert policies.current is before
    assert "ward.yaml:8" in policies.problems["policies"] and "1 errors" in policies.problems["policies"]
    assert site.told[-1].what == "policies-refused" and site.last["validation"]["error"] == 1
    [told] = site.last["validation"]["findings"]
    assert told.startswith("error ") and "nurses" in told
    site.grants(NURSES)
    assert not site.reload(policies) and policies.problems == {}


def test_nothing_starts_with_an_error(site: Site) -> None:
    site.grants(DELETING)
    with pytest.raises(Refused, match="the validator finds 1 errors"):
        site.start()


def test_warnings_of_the_first_start_stand_until_they_are_mended(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.grants(CARELESS)
    with caplog.at_level(logging.WARNING, "spir.policies"):
        policies = site.start()
    assert any("nurses" in line and "warning" in line for line in caplog.messages)
    site.grants(f"{CARELESS}    description: said otherwise\n")
    site.write("porters", HEAD.format(name="p", layer="institution") + NURSES.replace("nurse", "porter"))
    assert site.reload(policies) and policies.problems == {}
    site.grants(NURSES)
    assert site.reload(policies)
    site.grants(CARELESS)
    assert not site.reload(policies) and "0 errors and 1 warnings" in policies.problems["policies"]


def test_a_warning_needs_somebody_who_answers_for_it(site: Site) -> None:
    policies = site.start()
    site.grants(CARELESS)
    assert not site.reload(policies) and "0 errors and 1 warnings" in policies.problems["policies"]
    marks = marks_of(site.last)
    acknowledge(site, marks)
    policies = _restarted_with(site, NURSES, CARELESS)
    assert policies.problems == {}
    assert [one["mark"] for one in site.last["validation"]["acknowledged"]] == marks
    assert site.last["validation"]["acknowledged"][0]["by"] == "a.b"


def _restarted_with(site: Site, before: str, after: str) -> Policies:
    """Started with some policies, and reloaded with others."""
    site.grants(before)
    policies = site.start()
    site.grants(after)
    site.reload(policies)
    return policies


def test_who_is_on_the_staff_today_is_not_asked(site: Site) -> None:
    (site.folder / "staff.yaml").write_text("- {id: dr.li, properties: {role: physician}}\n", "utf-8")
    site.directory = "staff.yaml"
    policies = site.start()
    site.grants(NURSES.replace("nurse", "midwife"))
    assert site.reload(policies) and policies.problems == {}


def test_an_acknowledgement_that_is_over_counts_for_nothing(site: Site) -> None:
    policies = site.start()
    site.grants(CARELESS)
    site.reload(policies)
    acknowledge(site, marks_of(site.last), until="2020-01-01")
    assert "1 warnings" in _restarted_with(site, NURSES, CARELESS).problems["policies"]


def test_an_error_cannot_be_acknowledged(site: Site) -> None:
    policies = site.start()
    site.grants(DELETING)
    site.reload(policies)
    acknowledge(site, marks_of(site.last))
    assert "1 errors" in _restarted_with(site, NURSES, DELETING).problems["policies"]


def test_acknowledgements_that_cannot_be_read_are_refused(site: Site) -> None:
    acknowledge(site, ["nothing"])
    with pytest.raises(DocumentError, match=r"acknowledged.yaml:1"):
        site.start()
    (site.folder / "acknowledged.yaml").unlink()
    with pytest.raises(DocumentError, match=r"acknowledged.yaml"):
        site.start()


def test_what_the_check_command_suggests_is_what_the_gate_takes(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The same function with the same surroundings: what one has shown, the other does not refuse."""
    site.grants(CARELESS)
    (site.folder / "spir.toml").write_text('[site]\norganization = "cn/a"\n', "utf-8")
    assert main(["check", "-c", str(site.folder / "spir.toml"), "--suggest"]) == 1
    text = capsys.readouterr().out
    for field in ("reason", "by"):
        text = text.replace(f'{field}: ""', f'{field}: "x"')
    text = text.replace('until: ""', 'until: "2126-01-01"')
    acknowledge(site, [one.mark for one in read_suppressions(text, "suggested")])
    assert site.start().problems == {}


def test_where_findings_are_only_warned_of_they_are_logged_and_recorded(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.policy = 'validate = "warn"'
    policies = site.start()
    site.grants(DELETING)
    with caplog.at_level(logging.WARNING, "spir.policies"):
        assert site.reload(policies)
    assert any("nurses" in line and "error" in line for line in caplog.messages)
    assert site.last["validation"]["error"] == 1


def test_where_it_is_off_nothing_is_asked(site: Site) -> None:
    site.policy = 'validate = "off"'
    site.grants(DELETING)
    policies = site.start()
    site.grants(WIDER)
    assert site.reload(policies)
    assert site.last.keys() == {"bundle"}


def test_a_check_that_was_not_finished_is_a_warning(site: Site) -> None:
    site.start()
    site.policy = "validate_seconds = 0.0"
    site.grants(WIDER)
    with pytest.raises(Refused, match=r"0 errors and [1-9]"):
        site.start()


def test_patience_ends() -> None:
    assert Patience(3600).left() and not Patience(0).left()
    assert Patience(3600).step("dead", 0, 1)


def test_questions_about_unions_have_a_share_and_do_not_refuse(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHECKS.keys() >= UNIONS
    monkeypatch.setattr("adapters.gates.patience.SHARE", 0.0)
    patience = Patience(3600)
    assert not any(patience.step(check, 0, 1) for check in UNIONS) and patience.left()
    policies = site.start()
    site.grants(WIDER)
    assert site.reload(policies)
    told = site.last["validation"]["findings"]
    assert {line.split()[1] for line in told} <= UNIONS and told


# -- what has passed once --------------------------------------------------------------------


def test_what_ran_before_a_restart_runs_after_it(site: Site) -> None:
    policies = site.start()
    site.grants(CARELESS)
    site.reload(policies)
    acknowledge(site, marks_of(site.last))
    site.start()
    acknowledge(site, [])
    assert "nurses" in str(site.start().current.rules.sets)


def test_what_was_only_warned_of_has_not_passed(site: Site) -> None:
    site.policy = 'validate = "warn"'
    site.grants(DELETING)
    site.start()
    site.policy = ""
    with pytest.raises(Refused):
        site.start()


def test_fingerprints_are_kept_up_to_a_number(tmp_path: Path) -> None:
    accepted = Accepted(tmp_path / "a.json")
    assert "x" not in accepted
    for number in range(60):
        accepted.add(f"f{number}")
    accepted.add("f20")
    assert "f20" in accepted and "f59" in accepted and "f0" not in accepted
    (tmp_path / "a.json").write_text("{", "utf-8")
    with pytest.raises(Unavailable, match="cannot be read"):
        assert "f20" in accepted


# -- what a change newly permits -------------------------------------------------------------


def test_what_a_change_newly_permits_is_said_with_a_request_and_without_values(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    policies = site.start()
    site.grants(WIDER)
    with caplog.at_level(logging.INFO, "spir.policies"):
        assert site.reload(policies)
    [change] = site.last["newly_permits"]
    assert change["policies"] == ["nurses"] and "physician" in " ".join(change["region"])
    asked, at = Request.from_json(change["request"]), datetime.fromisoformat(change["at"])
    assert policies.current.prepared.decide(asked, NoFacts(), at).permitted
    [line] = [line for line in caplog.messages if "newly permit" in line]
    assert "1 regions by nurses" in line and "physician" not in line


def test_a_change_that_permits_nothing_new_says_nothing_of_it(site: Site) -> None:
    site.grants(WIDER)
    policies = site.start()
    site.grants(NURSES)
    assert site.reload(policies) and "newly_permits" not in site.last


def test_to_owe_less_is_to_be_permitted_more(site: Site) -> None:
    site.grants(MASKED)
    policies = site.start()
    site.grants(NURSES)
    assert site.reload(policies)
    [change] = site.last["newly_permits"]
    assert change["policies"] == ["nurses"]
    site.grants(MASKED)
    assert site.reload(policies) and "newly_permits" not in site.last


# -- a second person -------------------------------------------------------------------------


class Signed(Site):
    """A site whose policies come in bundles, signed by people."""

    KEYS = 'documents = ["site.bundle"]\nrequire_signature = true\nsecond_signature = true\n'

    def __init__(self, folder: Path, keys: str) -> None:
        super().__init__(folder, self.KEYS + keys)
        for name in ("author", "approver", "stranger"):
            assert main(["bundle", "sign", self.bundle(0, NURSES), "--key", str(folder / f"{name}.pem")]) == 0

    def bundle(self, generation: int, policies: str) -> str:
        self.grants(policies)
        path = str(self.folder / "site.bundle")
        assert (
            main(["bundle", "build", str(self.folder / "policies"), "-o", path, "--generation", str(generation or 1)])
            == 0
        )
        return path

    def sign(self, *names: str) -> None:
        for name in names:
            command = ["bundle", "sign", str(self.folder / "site.bundle"), "--key", str(self.folder / f"{name}.pem")]
            assert main(command) == 0


TWO_TRUSTED = 'trusted_keys = ["author.pub", "approver.pub"]'
SECOND_OF_THEIR_OWN = 'trusted_keys = ["author.pub"]\nsecond_keys = ["approver.pub"]'


@pytest.fixture(params=[TWO_TRUSTED, SECOND_OF_THEIR_OWN])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> Signed:
    return Signed(tmp_path, request.param)


def test_what_opens_needs_two_people(signed: Signed) -> None:
    signed.bundle(1, NURSES)
    signed.sign("author")
    with pytest.raises(Refused, match="only author signed it"):  # nothing was in force: all of it is new
        signed.start()
    signed.sign("approver")
    policies = signed.start()
    signed.bundle(2, WIDER)
    signed.sign("author")
    assert not signed.reload(policies)
    assert "a second person signs it" in policies.problems["policies"]
    assert signed.last["newly_permits"][0]["policies"] == ["nurses"]
    signed.sign("author", "stranger")
    assert not signed.reload(policies) and policies.current.generation == 1
    signed.sign("approver")
    assert signed.reload(policies) and policies.current.generation == 2 and policies.problems == {}


def test_what_closes_needs_one(signed: Signed) -> None:
    signed.bundle(1, WIDER)
    signed.sign("author", "approver")
    policies = signed.start()
    signed.bundle(2, NURSES)
    signed.sign("author")
    assert signed.reload(policies) and policies.current.generation == 2


def test_a_change_made_while_the_gateway_was_down_is_a_change(signed: Signed) -> None:
    signed.bundle(1, NURSES)
    signed.sign("author", "approver")
    signed.start()
    signed.bundle(2, WIDER)
    signed.sign("author")
    policies = signed.start()  # with what it had
    assert policies.current.generation == 1 and "a second person" in policies.problems["policies"]
    signed.sign("approver")
    assert signed.start().current.generation == 2


def test_a_rollback_that_opens_is_a_change_too(signed: Signed) -> None:
    signed.bundle(1, WIDER)
    signed.sign("author", "approver")
    policies = signed.start()
    signed.bundle(2, NURSES)
    signed.sign("author")
    assert signed.reload(policies)
    (signed.folder / "spir.toml").write_text(f'[site]\norganization = "cn/a"\n[policy]\n{signed.policy}\n', "utf-8")
    assert main(["bundle", "rollback", "-c", str(signed.folder / "spir.toml")]) == 0
    assert signed.reload(policies) and policies.current.generation == 1
    assert signed.last["newly_permits"]


def test_one_key_under_two_names_is_one_person(tmp_path: Path) -> None:
    site = Signed(tmp_path, 'trusted_keys = ["author.pub", "again.pub"]')
    (tmp_path / "again.pub").write_bytes((tmp_path / "author.pub").read_bytes())
    site.bundle(1, NURSES)
    site.sign("author")
    with pytest.raises(Refused, match="only author, again signed it"):
        site.start()


def test_who_may_only_approve_cannot_author(tmp_path: Path) -> None:
    site = Signed(tmp_path, SECOND_OF_THEIR_OWN)
    site.bundle(1, NURSES)
    site.sign("approver")
    with pytest.raises(BundleError, match="no trusted key"):
        site.start()


def test_a_second_signature_without_signatures_is_refused(site: Site) -> None:
    site.policy = "second_signature = true"
    with pytest.raises(DocumentError, match="second_signature is about signed bundles"):
        assert site.settings


def test_a_bundle_that_the_gateway_would_refuse_is_not_pushed(
    signed: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    config = signed.folder / "spir.toml"
    config.write_text(f'[site]\norganization = "cn/a"\n[policy]\n{signed.policy}\n', "utf-8")
    signed.bundle(1, NURSES)
    signed.sign("author", "approver")
    signed.start()
    for policies, message in ((WIDER, "only author signed it"), (DELETING, "the validator finds 1 errors")):
        draft = signed.folder / "draft.bundle"
        before = (signed.folder / "site.bundle").read_bytes()
        signed.bundle(2, policies)
        signed.sign("author")
        (signed.folder / "site.bundle").rename(draft)
        (signed.folder / "site.bundle").write_bytes(before)
        assert main(["bundle", "push", str(draft), "-c", str(config)]) == 2
        assert message in capsys.readouterr().err
        assert (signed.folder / "site.bundle").read_bytes() == before
