"""`spir roles` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main
from adapters.identity.directory import Directory
from spir.embed import Engine
from spir.model.request import Request

EXPORT = Path(__file__).resolve().parents[2] / "fixtures" / "roles"
FILES = (str(EXPORT / "people.csv"), str(EXPORT / "roles.json"))


def test_the_export_is_reported_on(capsys: pytest.CaptureFixture[str]):
    assert main(["roles", *FILES, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["roles"], said["revoked"], said["people"], said["blocked"]) == (7, ["project-2023-q3"], 10, 0)
    assert said["overlap"]["rates"]["night-nurse"] == 1.0
    assert said["conflicts"] == [
        {
            "allowing": "ward-nurse",
            "denying": "read-only",
            "permissions": ["create:vitals", "update:vitals"],
            "people": ["nurse.he"],
        }
    ]
    assert [(one["role"], one["how"], one["by"], one["people"]) for one in said["residual"]] == [
        ("project-2023-q3", "inherited", "archivist", ["clerk.lu"]),
        ("project-2023-q3", "direct", "", ["temp.fu"]),
        ("records-clerk", "another role", "archivist", ["clerk.lu"]),
    ]
    assert said["equal"] == [["ward-nurse", "night-nurse"]] and said["unused"] == ["night-nurse"]


def test_a_proposal_decides_as_the_export_with_the_directory_written_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["roles", *FILES, "--propose", str(tmp_path), "--jurisdiction", "cn/h"]) == 1
    assert "decided as the export says: 150 of 150 pairs" in capsys.readouterr().out
    people = Directory.parse((tmp_path / "staff.yaml").read_text("utf-8"), "staff.yaml").entities
    before, after = (Engine.load(tmp_path / name, organization="cn/h") for name in ("before", "after"))
    asked = [
        ("dr.li", "retrieve:imaging", {"modality": "CR"}, True),
        ("dr.li", "retrieve:imaging", {"modality": "MR"}, False),
        ("dr.chen", "retrieve:imaging", {"modality": "CR"}, False),
        ("nurse.gao", "update:vitals", {}, True),
        ("nurse.he", "update:vitals", {}, False),
        ("clerk.lu", "export:document", {}, True),
        ("temp.fu", "export:document", {}, True),
        ("temp.fu", "read:document", {}, False),
    ]
    for user, operation, properties, permitted in asked:
        request = Request.build(people[user], operation, properties)
        assert before.decide(request).permitted is permitted, (user, operation)
        assert after.decide(request).permitted is permitted, (user, operation)


def test_a_clean_proposal_leaves_out_what_outlived_its_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["roles", *FILES, "--propose", str(tmp_path), "--clean", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["proposal"]
    assert said["equal"] and said["dropped"] == 2
    assert "export:document" not in (tmp_path / "after" / "roles.yaml").read_text("utf-8")
    assert "export:document" in (tmp_path / "before" / "roles.yaml").read_text("utf-8")


def test_what_is_proposed_is_in_canonical_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["roles", *FILES, "--propose", str(tmp_path)])
    assert main(["fmt", "--check", str(tmp_path / "before"), str(tmp_path / "after")]) == 0


def test_an_export_without_contradictions_is_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "e.csv").write_text("user,role,permission\nann,r,read:order\n", "utf-8")
    assert main(["roles", str(tmp_path / "e.csv")]) == 0
    assert capsys.readouterr().out.startswith("1 roles in force (0 revoked), 1 people\n")


def test_what_a_vocabulary_declares_may_be_a_permission_and_an_attribute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "site.yaml").write_text(
        'spir: "1"\nkind: Vocabulary\nname: site\nversion: 1.0.0\nattributes:\n'
        "  subject.grade: {type: int, source: directory}\n"
        'actions:\n  can_sign: {operations: ["update:report"]}\n',
        "utf-8",
    )
    lines = "".join(f"u{n},{n % 2},r{n % 2},CAN_SIGN,{'allow' if n % 2 else 'deny'}\n" for n in range(8))
    (tmp_path / "e.csv").write_text(f"user,grade,role,permission,effect\n{lines}", "utf-8")
    command = ["roles", str(tmp_path / "e.csv"), "-p", str(tmp_path / "site.yaml"), "--propose", str(tmp_path / "out")]
    assert main(command) == 0
    text = (tmp_path / "out" / "after" / "roles.yaml").read_text("utf-8")
    assert "subject.grade == 1" in text and 'operations: ["update:report"]' in text


def test_the_directory_says_what_people_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "e.csv").write_text("user,role,permission\nann,r,read:order\nbob,r,read:order\ncho,s,\n", "utf-8")
    (tmp_path / "staff.yaml").write_text(
        "".join(
            f"- {{id: {n}, properties: {{role: {r}, license: x}}}}\n" for n, r in (("ann", "nurse"), ("bob", "nurse"))
        ),
        "utf-8",
    )
    command = ["roles", str(tmp_path / "e.csv"), "--directory", str(tmp_path / "staff.yaml")]
    assert main([*command, "--propose", str(tmp_path)]) == 0
    assert 'subject.role == "nurse"' in (tmp_path / "after" / "roles.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (b"user,colour\n", (), "e.csv:1: the column `colour` is not known"),
        ("工号,角色\n甲,乙\n".encode("gb18030"), (), "cannot be read as utf-8 text"),
        (b"user\n", ("--encoding", "klingon"), "`klingon` is no encoding"),
        (
            "user,role,permission\n甲,r,read:order\n".encode(),
            ("--propose", "out"),
            "e.csv:2: the directory cannot hold",
        ),
        (b"user,role,permission\na,r,fly\n", ("--propose", "out"), "e.csv:2: `fly` is not an operation"),
        (b"user,role,permission\na,r,fly:order\n", ("--propose", "out"), "the verb `fly` is not declared"),
    ],
)
def test_what_cannot_be_read_ends_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    more: tuple[str, ...],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    Path("e.csv").write_bytes(content)
    assert main(["roles", "e.csv", *more]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_an_export_may_be_in_another_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "e.csv").write_bytes("工号,角色,权限\na1,护士,read:order\n".encode("gb18030"))
    assert main(["roles", str(tmp_path / "e.csv"), "--encoding", "gb18030", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overlap"]["rates"] == {"护士": 0.0}
