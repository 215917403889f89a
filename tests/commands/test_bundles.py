"""`spir bundle` from outside, and what is on disk behind it: archives, and the shelf of the last good ones."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.bundles import Shelf, State, pack, read_kept, read_members, read_source, shelf_of
from adapters.cli import main
from adapters.settings import load
from spir.bundle import built
from spir.errors import BundleError, DocumentError, SpirError
from tests.given import NOON

SETTINGS = """
[site]
organization = "cn/a"
[policy]
documents = ["site.bundle"]
trusted_keys = ["key.pub"]
require_signature = true
keep = 2
"""


def policy(role: str) -> str:
    return (
        'spir: "1"\nkind: PolicySet\nname: results\nlayer: institution\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
        f'  - {{id: p, effect: permit, operations: ["read:result"], when: \'subject.role == "{role}"\'}}\n'
    )


Spir = Callable[..., Any]


@pytest.fixture
def spir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Spir:
    """`spir("bundle", "build", ...)` in a site's folder: the decoded answer; an error's text for exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("spir.toml").write_text(SETTINGS, "utf-8")
    Path("policies/more").mkdir(parents=True)

    def run(*words: str) -> Any:
        code = main([*words, "--json"])
        said = capsys.readouterr()
        return said.err if code == 2 else json.loads(said.out)

    return run


def make(spir: Spir, generation: int, role: str = "nurse", key: str = "key.pem") -> str:
    """A signed bundle of one document; its file."""
    Path("policies/more/results.yaml").write_text(policy(role), "utf-8")
    name = f"{generation}.bundle"
    assert spir("bundle", "build", "policies", "-o", name, "--generation", str(generation))["ok"]
    assert spir("bundle", "sign", name, "--key", key)["ok"]
    return name


def activate(site: str = "spir.toml") -> None:
    """As a gateway does when it takes a bundle."""
    found = read_source(load(Path(site), {}))
    assert found.bundle is not None
    shelf_of(load(Path(site), {})).put(found.bundle)
    shelf_of(load(Path(site), {})).activate(found.generation)


def in_force() -> int:
    return read_source(load(Path("spir.toml"), {})).generation


def test_a_bundle_is_built_signed_and_verified(spir: Spir) -> None:
    name = make(spir, 1)
    said = spir("bundle", "verify", name)
    assert (said["ok"], said["signer"], said["generation"]) == (True, "key", 1)
    assert said["documents"] == ["more/results.yaml"]


def test_a_bundle_after_another_names_it_and_is_one_generation_on(spir: Spir) -> None:
    name = make(spir, 4)
    after = spir("bundle", "build", "policies", "-o", "next.bundle", "--after", name)
    assert (after["generation"], after["previous"]) == (5, after["fingerprint"])
    refused = spir("bundle", "build", "policies", "-o", "next.bundle", "--after", name, "--generation", "4")
    assert "is not newer" in refused


def test_documents_that_cannot_be_read_are_not_packed(spir: Spir) -> None:
    Path("policies/broken.yaml").write_text("kind: [", "utf-8")
    assert "broken.yaml:2" in spir("bundle", "build", "policies", "-o", "a.bundle")
    assert not Path("a.bundle").exists()


def test_a_bundle_that_nobody_trusted_signed_is_a_finding(spir: Spir) -> None:
    make(spir, 1)
    name = make(spir, 2, key="other.pem")
    assert spir("bundle", "verify", name)["ok"] is False
    assert spir("bundle", "verify", name, "--key", "other.pub")["ok"] is True
    assert "no trusted key" in spir("bundle", "push", name)


def test_push_takes_only_what_is_newer(spir: Spir) -> None:
    assert spir("bundle", "push", make(spir, 2))["ok"] is True
    assert "is not newer" in spir("bundle", "push", make(spir, 1))
    activate()
    assert in_force() == 2
    assert "is not newer" in spir("bundle", "push", make(spir, 2, "physician"))


def test_push_needs_a_site_that_runs_on_a_bundle(spir: Spir) -> None:
    name = make(spir, 1)
    Path("spir.toml").write_text(SETTINGS.replace("site.bundle", "policies"), "utf-8")
    assert "are in folders" in spir("bundle", "push", name)


def test_rollback_goes_back_and_what_comes_next_must_be_newer_than_all(spir: Spir) -> None:
    for generation in (1, 2, 3):
        spir("bundle", "push", make(spir, generation))
        activate()
    assert spir("bundle", "rollback")["generation"] == 2
    assert in_force() == 2
    assert "no older bundle is kept" in spir("bundle", "rollback")
    assert "kept are: 2, 3" in spir("bundle", "rollback", "--to", "1")
    assert "is not newer than 3" in spir("bundle", "push", make(spir, 3, "physician"))
    spir("bundle", "push", make(spir, 4))
    assert in_force() == 4


def test_eval_decides_by_the_bundle_that_the_configuration_names(spir: Spir) -> None:
    spir("bundle", "push", make(spir, 1))
    person = {"type": "person", "id": "sun", "properties": {"role": "nurse"}}
    asked = {"subject": person, "action": {"name": "read"}, "resource": {"type": "result", "id": "1"}}
    Path("request.json").write_text(json.dumps(asked), "utf-8")
    assert spir("eval", "-c", "spir.toml", "-r", "request.json")["effect"] == "permit"


def test_a_stale_bundle_at_the_site_is_refused_and_the_last_good_one_is_there(spir: Spir) -> None:
    make(spir, 1, "physician")
    spir("bundle", "push", make(spir, 2))
    activate()
    Path("site.bundle").write_bytes(Path("1.bundle").read_bytes())
    with pytest.raises(BundleError, match="is not newer than 2"):
        in_force()
    kept = read_kept(load(Path("spir.toml"), {}))
    assert kept is not None and kept.generation == 2


def test_two_bundles_of_one_generation_are_not_the_same(spir: Spir) -> None:
    spir("bundle", "push", make(spir, 1))
    activate()
    Path("site.bundle").write_bytes(Path(make(spir, 1, "physician")).read_bytes())
    with pytest.raises(BundleError, match="is not newer than 1"):
        in_force()


def test_a_kept_bundle_that_was_changed_is_refused(spir: Spir) -> None:
    spir("bundle", "push", make(spir, 1))
    activate()
    [kept] = Path("var/bundles").glob("*.bundle")
    make(spir, 1, "physician", key="other.pem")
    kept.write_bytes(Path("1.bundle").read_bytes())
    with pytest.raises(BundleError, match="no trusted key"):
        read_kept(load(Path("spir.toml"), {}))


def test_folders_are_refused_where_signatures_are_required(spir: Spir) -> None:
    make(spir, 1)
    Path("spir.toml").write_text(SETTINGS.replace("site.bundle", "policies"), "utf-8")
    assert "are not signed" in spir("config", "check")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('trusted_keys = ["key.pub"]', ""), "no key is trusted"),
        (("key.pub", "spir.toml"), "is no Ed25519 public key"),
        (("key.pub", "nowhere.pub"), "cannot be read"),
        (("keep = 2", "keep = 0"), "keep is at least 1"),
        (('["site.bundle"]', '["site.bundle", "policies"]'), "a bundle and something else"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(spir: Spir, change: tuple[str, str], said: str) -> None:
    make(spir, 1)
    Path("spir.toml").write_text(SETTINGS.replace(*change), "utf-8")
    with pytest.raises(DocumentError, match=said):
        read_source(load(Path("spir.toml"), {}))


# -- the shelf -------------------------------------------------------------------------------

BUNDLE = built({"a.yaml": policy("nurse")}, f"sha256:{'0' * 64}", 7, NOON)


def test_an_empty_shelf_has_nothing_in_force(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "none", 3)
    assert (shelf.state(), shelf.generations()) == (State(), [])
    with pytest.raises(BundleError, match="kept are: none"):
        shelf.get(1)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"active": 2, "highest": 1}', '{"active": true, "highest": 1}'])
def test_a_shelf_whose_state_cannot_be_read_gives_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text, "utf-8")
    with pytest.raises(BundleError):
        Shelf(tmp_path, 3).state()


def test_a_bundle_under_the_wrong_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000000000008.bundle").write_bytes(pack(BUNDLE))
    with pytest.raises(BundleError, match="another generation"):
        Shelf(tmp_path, 3).get(8)


# -- archives --------------------------------------------------------------------------------


def tarred(members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_zip_and_tar_hold_the_same_bundle() -> None:
    assert read_members(pack(BUNDLE), "a") == read_members(tarred(BUNDLE.members()), "b") == BUNDLE


def test_an_archive_has_the_same_bytes_whenever_it_is_packed() -> None:
    assert pack(BUNDLE) == pack(read_members(pack(BUNDLE), "a"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(BundleError):
        read_members(tarred({"manifest.json": b""}, kind), "a")


def test_a_name_that_leads_elsewhere_is_no_part_of_a_bundle() -> None:
    with pytest.raises(BundleError, match="the very documents"):
        read_members(tarred({**BUNDLE.members(), "../../evil.yaml": b""}), "a")


def test_a_member_that_is_there_twice_is_refused() -> None:
    buffer = io.BytesIO(pack(BUNDLE))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("manifest.json", b"{}")
    with pytest.raises(BundleError, match="twice"):
        read_members(buffer.getvalue(), "a")


def test_a_small_archive_that_unpacks_to_much_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f"documents/{number}.yaml", b"\0" * (48 * 1024 * 1024))
    assert len(buffer.getvalue()) < 1024 * 1024
    with pytest.raises(BundleError, match="holds too much"):
        read_members(buffer.getvalue(), "a")


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK", b"PK\x03\x04", b"PK\x05\x06"]))
def test_any_bytes_are_a_bundle_or_our_error(data: bytes, head: bytes) -> None:
    with pytest.raises(BundleError):
        read_members(head + data, "a")


@pytest.mark.parametrize("packed", [pack(BUNDLE), tarred(BUNDLE.members())], ids=["zip", "tar"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_archive_is_the_bundle_or_our_error(packed: bytes, data: st.DataObject) -> None:
    text = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        found = read_members(bytes(text), "a")
    except SpirError:
        return
    assert found.manifest.parts == BUNDLE.manifest.parts or found.manifest != BUNDLE.manifest
