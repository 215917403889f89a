"""Templates from outside: `spir template`, and what a site, a bundle and a gateway make of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.activation import Policies
from adapters.cli import main
from adapters.settings import load
from spir.embed import library_templates
from spir.errors import BundleError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "fixtures/policies/templates/read_doc_sensitive.json").read_text("utf-8")
OWN = (ROOT / "fixtures/policies/language/template.yaml").read_text("utf-8")
SETTINGS = """
[site]
organization = "cn/a"
timezone = "Asia/Shanghai"
[policy]
documents = ["policies"]
trusted_keys = ["keys/board.pub"]
watch = false
"""
HEAD = 'spir: "1"\nkind: PolicySet\nname: site\nlayer: institution\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
USES = (
    f'{HEAD}  - {{id: sensitive, template: read_doc_sensitive, operations: ["read:document"]}}\n'
    "  - {id: wards, template: nurse-vitals-on-ward, with: {wards: [W1], departments: [cardiology]}}\n"
)
REQUEST = {
    "subject": {"type": "person", "id": "dr.li", "properties": {"role": "doctor", "department": "cardiology"}},
    "action": {"name": "read"},
    "resource": {"type": "document", "properties": {"classification": "PHI", "owner": "dr.chen"}},
}
DAY, NIGHT = "2026-11-20T10:00:00+08:00", "2026-11-20T22:00:00+08:00"
NOON = "2026-11-20T12:00:00Z"  # where no configuration says which zone the site's clock has

Spir = Callable[..., Any]


@pytest.fixture
def spir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Spir:
    """`spir("template", "list")` in a site's folder: the decoded answer; an error's text for exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("spir.toml").write_text(SETTINGS, "utf-8")
    for folder in ("policies", "keys"):
        Path(folder).mkdir()
    Path("policies/read_doc_sensitive.json").write_text(SOURCE, "utf-8")
    Path("policies/site.yaml").write_text(USES, "utf-8")
    Path("request.json").write_text(json.dumps(REQUEST), "utf-8")

    def run(*words: str) -> Any:
        code = main([*words, "--json"])
        said = capsys.readouterr()
        return said.err if code == 2 else json.loads(said.out)

    return run


def signed(spir: Spir, file: str = "policies/own.yaml") -> Path:
    Path(file).write_text(OWN, "utf-8")
    spir("template", "sign", file, "--key", "keys/board.pem")
    return Path(file)


# -- the command -----------------------------------------------------------------------------


def test_the_library_is_listed_with_the_sites_own(spir: Spir):
    found = {one["template_id"]: one for one in spir("template", "list", "-p", "policies")}
    assert found.keys() == {*library_templates(), "read_doc_sensitive"}
    assert found["read_doc_sensitive"] == {
        "template_id": "read_doc_sensitive",
        "version": "1.0.0",
        "effect": "permit",
        "title": {},
        "at": "policies/read_doc_sensitive.json:1:1",
    }


def test_titles_are_in_the_readers_language(capsys: pytest.CaptureFixture[str]):
    assert main(["template", "list"]) == main(["template", "list", "--lang", "zh"]) == 0
    said = capsys.readouterr().out
    assert "Emergency access" in said and "急诊绿色通道" in said
    assert main(["template", "show", "emergency-access", "--lang", "zh"]) == 0
    assert 'parameter channel: string, default "alert"' in capsys.readouterr().out


def test_a_template_that_is_not_there_is_said(spir: Spir):
    assert "did you mean `emergency-access`" in spir("template", "show", "emergency-acces")


@pytest.mark.parametrize("name", sorted(library_templates()))
def test_a_new_policy_is_one_that_can_be_read(spir: Spir, capsys: pytest.CaptureFixture[str], name: str):
    assert main(["template", "new", name, "--as", "mine"]) == 0
    Path("policies/site.yaml").write_text(HEAD + capsys.readouterr().out, "utf-8")
    assert main(["fmt", "policies/site.yaml"]) == 0
    capsys.readouterr()
    found = spir("explain", "-p", "policies", "-r", "request.json", "--at", DAY)
    assert found["decision"]["effect"] == "deny"


def test_a_signature_is_checked_against_the_key_that_must_have_made_it(spir: Spir):
    file = signed(spir)
    shown = spir("template", "show", "sensitive-documents-by-day", "-p", str(file), "--key", "keys/board.pub")
    assert shown["signer"] == "board"
    spir("template", "sign", "policies/read_doc_sensitive.json", "--key", "keys/other.pem")
    assert json.loads(Path("policies/read_doc_sensitive.json").read_text("utf-8"))["conditions"]["subject"][0] == (
        "role == 'doctor'"
    )
    words = ("template", "show", "sensitive-documents-by-day", "-p", str(file), "--key", "keys/other.pub")
    assert main(list(words)) == 1


def test_signing_again_signs_what_it_says_now(spir: Spir):
    file = signed(spir)
    changed = file.read_text("utf-8").replace("maximum: 5, default: 3", "maximum: 5, default: 2")
    file.write_text(changed, "utf-8")
    assert "is not the one that its `digest` was made for" in spir("template", "list", "-p", str(file))
    spir("template", "sign", str(file), "--key", "keys/board.pem")
    assert file.read_text("utf-8").count("digest:") == 1
    assert file.read_text("utf-8").startswith("# A template of a site's own")
    shown = spir("template", "show", "sensitive-documents-by-day", "-p", str(file), "--key", "keys/board.pub")
    assert shown["signer"] == "board"


def test_only_a_file_with_one_template_is_signed(spir: Spir):
    two = f"{OWN}---\n{OWN.replace('1.1.0', '1.2.0')}"
    Path("policies/two.yaml").write_text(two, "utf-8")
    assert "the file holds 2 templates" in spir("template", "sign", "policies/two.yaml", "--key", "keys/board.pem")
    assert Path("policies/two.yaml").read_text("utf-8") == two


# -- at a site -------------------------------------------------------------------------------


def test_the_sources_example_decides_at_a_site(spir: Spir):
    ask = ("eval", "-c", "spir.toml", "-r", "request.json", "--at")
    signed(spir)
    found = spir(*ask, DAY)
    assert (found["effect"], found["matched"]) == ("permit", ["sensitive"])
    assert spir(*ask, NIGHT)["effect"] == "deny"


def test_explanations_name_the_template(spir: Spir, capsys: pytest.CaptureFixture[str]):
    ask = ["explain", "-p", "policies", "-r", "request.json", "--at", NOON]
    (policy,) = (one for layer in spir(*ask)["layers"] for one in layer["policies"])
    assert policy["template"] == "read_doc_sensitive 1.0.0"
    main(ask)
    assert "permit sensitive (template read_doc_sensitive 1.0.0): grants" in capsys.readouterr().out


def test_a_bundle_carries_a_sites_templates_and_means_what_they_mean(spir: Spir):
    first = spir("bundle", "build", "policies", "-o", "a.bundle", "--generation", "1")
    assert first["documents"] == ["read_doc_sensitive.json", "site.yaml"]
    Path("policies/read_doc_sensitive.json").write_text(SOURCE.replace("17:00", "18:00"), "utf-8")
    second = spir("bundle", "build", "policies", "-o", "b.bundle", "--after", "a.bundle")
    assert second["fingerprint"] != first["fingerprint"] == second["previous"]


def test_a_template_that_is_no_longer_valid_is_not_packed(spir: Spir):
    old = SOURCE.replace('"effect"', '"valid_until": "2020-01-01T00:00:00Z", "effect"')
    Path("policies/read_doc_sensitive.json").write_text(old, "utf-8")
    said = spir("bundle", "build", "policies", "-o", "a.bundle")
    assert "the template `read_doc_sensitive` is not valid since 2020-01-01T00:00:00+00:00" in said
    assert said.startswith("spir: site.yaml:8:31: ")
    assert not Path("a.bundle").exists()
    assert "is not valid since" in spir("check", "policies")


def test_the_difference_of_two_sites_knows_what_templates_mean(spir: Spir):
    Path("newer").mkdir()
    Path("newer/read_doc_sensitive.json").write_text(SOURCE.replace("17:00", "18:00"), "utf-8")
    Path("newer/site.yaml").write_text(USES, "utf-8")
    assert main(["diff", "policies", "policies"]) == 0
    assert main(["diff", "policies", "newer", "--fail-on", "permit"]) == 1


# -- in a gateway ----------------------------------------------------------------------------


def test_a_change_to_a_template_that_is_not_valid_leaves_the_last_good_policies(spir: Spir):
    signed(spir)
    policies = Policies(load(Path("spir.toml")))
    before = policies.load()
    future = SOURCE.replace('"effect"', '"valid_from": "2999-01-01T00:00:00Z", "effect"')
    Path("policies/read_doc_sensitive.json").write_text(future, "utf-8")
    assert asyncio.run(policies.reload()) is False
    assert policies.current is before
    assert "is not valid before 2999-01-01T00:00:00+00:00" in policies.problems["policies"]


def test_a_template_that_was_changed_after_it_was_signed_is_refused(spir: Spir):
    file = signed(spir)
    policies = Policies(load(Path("spir.toml")))
    policies.load()
    shown = spir("template", "show", "sensitive-documents-by-day", "-p", str(file))
    changed = file.read_text("utf-8").replace("maximum: 5, default: 3", "maximum: 5, default: 2")
    unmarked = "".join(line for line in changed.splitlines(keepends=True) if not line.startswith("digest:"))
    file.write_text(unmarked, "utf-8")  # who forges takes the digest out, too
    assert spir("template", "show", "sensitive-documents-by-day", "-p", str(file))["digest"] != shown["digest"]
    with pytest.raises(BundleError, match="the signature of `board` under the template"):
        Policies(load(Path("spir.toml"))).load()
    assert asyncio.run(policies.reload()) is False
    assert "the signature of `board`" in policies.problems["policies"]
