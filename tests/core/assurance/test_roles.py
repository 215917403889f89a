"""Roles of an export: read, reported on, and replaced by policies that decide the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.assurance.roles.access import Access
from spir.assurance.roles.defects import DIRECT
from spir.assurance.roles.reading.columns import NAMES, Columns
from spir.assurance.roles.reading.export import Export, Role, read_export
from spir.assurance.roles.reading.permissions import read_permissions
from spir.assurance.roles.replacing.crowd import Crowd
from spir.assurance.roles.replacing.drafts import Target, as_exported, replacing, written
from spir.assurance.roles.replacing.equality import compare, entity_of
from spir.assurance.roles.replacing.judgement import proposed, version_of
from spir.assurance.roles.report import Report
from spir.assurance.roles.report import report as report_on
from spir.embed import default_vocabulary, library_templates
from spir.engine.attributes import NoFacts
from spir.engine.reference import decide
from spir.errors import DocumentError
from spir.language.document import Documents, read_documents
from spir.model.request import Entity, Request
from tests.core.assurance.hospital import DEPARTMENTS, hospital, vocabulary
from tests.given import NOON

VOCABULARY = read_documents({}, vocabulary_text=default_vocabulary()).vocabulary
TARGET = Target("staff", "cn/h")


def read(text: str) -> Documents:
    return read_documents({"proposal.yaml": text}, vocabulary_text=default_vocabulary())


def access_of(texts: Mapping[str, str], **how: bool) -> Access:
    export = read_export(texts, VOCABULARY)
    return Access(export, read_permissions(export.permissions, VOCABULARY), **how)


def csv(head: str, *lines: str) -> dict[str, str]:
    return {"export.csv": "\n".join((head, *lines)) + "\n"}


def report(access: Access) -> Report:
    return report_on(access, VOCABULARY)


def told(access: Access, points: int) -> set[str]:
    return set(access.catalogue.named(points))


# -- an oracle: the same questions answered one by one, with nothing but lists --------------------

# permission -> the operations and modalities it is about, written out by hand
MEANING = {
    "read:patient": [("read:patient", None), ("read:patient:allergy", None)],
    "read:patient:allergy": [("read:patient:allergy", None)],
    "delete:document": [("delete:document", None)],
    "retrieve:imaging": [("retrieve:imaging", m) for m in ("CR", "DX", "MR", None)],
    "retrieve-study;modality=CR,DX": [(f"{v}:imaging", m) for v in ("search", "retrieve") for m in ("CR", "DX")],
    "retrieve-study;modality=MR": [(f"{v}:imaging", "MR") for v in ("search", "retrieve")],
}
OPERATIONS = sorted({what for all_ in MEANING.values() for what in all_}, key=str)
USERS, ROLES = ("ann", "bob", "cho", "dee"), ("r1", "r2", "r3", "r4")


@dataclass
class Given:
    """An export before it is written down."""

    held: dict[tuple[str, str], bool] = field(default_factory=dict)  # (user, role) -> active
    active: dict[str, bool] = field(default_factory=dict)  # role -> active
    grants: dict[tuple[str, str], bool] = field(default_factory=dict)  # (role or user, permission) -> allow
    parents: set[tuple[str, str]] = field(default_factory=set)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)

    def csv(self) -> dict[str, str]:
        flag = {True: "yes", False: "no"}
        lines = [f"{u},,,,,,{a.get('job', '')},{a.get('dept', '')}" for u, a in self.attributes.items()]
        lines += [f"{user},{role},,,,{flag[active]},," for (user, role), active in self.held.items()]
        lines += [f",{role},,,,{flag[active]},," for role, active in self.active.items()]
        lines += [f",{role},,,{parent},,," for role, parent in sorted(self.parents)]
        for (who, permission), allow in self.grants.items():
            place = f",{who}" if who in ROLES else f"{who},"
            lines.append(f'{place},"{permission}",{"allow" if allow else "deny"},,,,')
        return csv("user,role,permission,effect,parent,active,profession,department", *lines)

    def json(self) -> dict[str, str]:
        people = [
            {"id": u, **({"job": a["job"]} if "job" in a else {}), **({"dept": a["dept"]} if "dept" in a else {})}
            for u, a in self.attributes.items()
        ]
        whole = {
            "users": people,
            "assignments": [{"user": u, "role": r, "revoked": not active} for (u, r), active in self.held.items()],
            "roles": [
                {"name": r, "active": on, "parents": sorted(p for c, p in self.parents if c == r)}
                for r, on in self.active.items()
            ],
            "grants": [
                {("role" if who in ROLES else "user"): who, "permissions": [p], "deny": not allow}
                for (who, p), allow in self.grants.items()
            ],
        }
        return {"export.json": json.dumps(whole, indent=1)}

    # -- what it says --

    def gives(self, role: str) -> Iterator[tuple[str, bool]]:
        """Permissions of a role and of all it inherits from."""
        yield from ((p, allow) for (who, p), allow in self.grants.items() if who == role)
        for child, parent in self.parents:
            if child == role:
                yield from self.gives(parent)

    def may(self, user: str, what: tuple[str, str | None], allow_wins: bool = False) -> bool:
        given = [(p, allow) for (who, p), allow in self.grants.items() if who == user]
        for (one, role), active in self.held.items():
            if one == user and active and self.active[role]:
                given += self.gives(role)
        said = {allow for permission, allow in given if what in MEANING[permission]}
        return True in said and (allow_wins or False not in said)


@st.composite
def exports(draw: st.DrawFn) -> Given:
    pairs = st.dictionaries(
        st.sampled_from(list(product(USERS, ROLES))), st.sampled_from([True, True, False]), max_size=8
    )
    made = Given(draw(pairs), {role: draw(st.sampled_from([True, True, False])) for role in ROLES})
    who = st.tuples(st.sampled_from([*ROLES, *ROLES, *USERS]), st.sampled_from(sorted(MEANING)))
    made.grants = draw(st.dictionaries(who, st.sampled_from([True, True, False]), max_size=12))
    # a role inherits from later ones only: no rings
    downwards = [(a, b) for a, b in product(ROLES, ROLES) if a < b]
    made.parents = set(draw(st.lists(st.sampled_from(downwards), max_size=4)))
    attributes = st.fixed_dictionaries(
        {}, optional={"job": st.sampled_from(["physician", "nurse"]), "dept": st.sampled_from(["icu", "er"])}
    )
    made.attributes = {user: draw(attributes) for user in USERS}
    return made


def request(subject: Entity, what: tuple[str, str | None]) -> Request:
    operation, modality = what
    other = "OT" if operation.endswith("imaging") else None
    return Request.build(subject, operation, {"modality": modality or other})


@settings(max_examples=40, deadline=None)
@given(exports())
def test_a_table_and_an_object_that_say_the_same_are_read_alike(made: Given):
    table, whole = access_of(made.csv()), access_of(made.json())
    assert table.export.roles == {name: whole.export.roles[name] for name in table.export.roles}
    assert table.export.people.keys() == whole.export.people.keys()
    for user, person in table.export.people.items():
        other = whole.export.people[user]
        assert told(table, table.decided(person)) == told(whole, whole.decided(other))
        assert entity_of(table, person) == entity_of(whole, other)


@settings(max_examples=40, deadline=None)
@given(exports(), st.booleans())
def test_a_proposal_and_the_roles_as_policies_decide_everything_as_the_export_does(made: Given, allow_wins: bool):
    """By the reference interpreter, for everybody and everything, without classes of any kind."""
    access = access_of(made.csv(), allow_wins=allow_wins)
    crowd = Crowd(access)
    for drafts in (replacing(access, crowd), as_exported(access, crowd)):
        rules = version_of(written(drafts, TARGET), TARGET, read).rules
        assert compare(access, rules, NOON).holds
        for user, what in product(USERS, OPERATIONS):
            subject = entity_of(access, access.export.people[user])
            found = decide(rules, request(subject, what), NoFacts(), NOON)
            assert found.permitted is made.may(user, what, allow_wins), (user, what)


@settings(max_examples=30, deadline=None)
@given(exports(), st.randoms(use_true_random=False))
def test_what_is_left_out_of_a_document_is_seen(made: Given, drawn):
    access = access_of(made.csv())
    drafts = replacing(access, Crowd(access))
    whole = version_of(written(drafts, TARGET), TARGET, read).rules
    expected = {(user, what) for user, what in product(USERS, OPERATIONS) if made.may(user, what)}
    if not drafts:
        assert not expected
        return
    fewer = list(drafts)
    fewer.pop(drawn.randrange(len(fewer)))
    rules = version_of(written(fewer, TARGET), TARGET, read).rules
    found = {
        (user, what)
        for user, what in product(USERS, OPERATIONS)
        if decide(rules, request(entity_of(access, access.export.people[user]), what), NoFacts(), NOON).permitted
    }
    assert compare(access, rules, NOON).holds is (found == expected)
    assert compare(access, whole, NOON).holds


@settings(max_examples=40, deadline=None)
@given(exports())
def test_to_clean_up_never_permits_anything_new(made: Given):
    exported, clean = access_of(made.csv()), access_of(made.csv(), clean=True)
    for user, person in exported.export.people.items():
        left = clean.decided(clean.export.people[user])
        assert left & ~exported.decided(person) == 0
    assert all(one.how == "another role" for one in report(clean).residues)


# -- the report -----------------------------------------------------------------------------------


def test_a_person_who_is_allowed_and_denied_one_thing_is_a_conflict():
    access = access_of(
        csv(
            "user,role,permission,effect",
            "ann,editor,,",
            "ann,read only,,",
            "bob,editor,,",
            ",editor,delete:document,allow",
            ",editor,read:document,allow",
            ",read only,delete:document,deny",
        )
    )
    found = report(access)
    assert [(c.allowing, c.denying, told(access, c.points), c.people) for c in found.conflicts] == [
        ("editor", "read only", {"delete:document"}, ("ann",))
    ]
    assert not found.sound
    ann, bob = (access.export.people[name] for name in ("ann", "bob"))
    assert told(access, access.decided(ann)) == {"read:document"}
    assert told(access, access.decided(bob)) == {"read:document", "delete:document"}


def test_what_outlived_its_role_is_found_with_its_way():
    access = access_of(
        csv(
            "user,role,permission,parent,active",
            ",project,export:document,,",
            ",project,,,no",
            ",heir,,project,",
            ",other,export:document,,",
            "ann,heir,,,yes",
            "bob,project,,,yes",
            "bob,,export:document,,",
            "cho,other,,,yes",
            "cho,project,,,no",
        )
    )
    found = report(access)
    assert [(r.role, r.how, r.by, r.people) for r in found.residues] == [
        ("project", "inherited", "heir", ("ann",)),
        ("project", "direct", "", ("bob",)),
        ("project", "another role", "other", ("cho",)),
    ]
    assert not found.sound and found.over == ("project",)


def test_equal_contained_unused_and_empty_roles_are_named():
    access = access_of(
        csv(
            "user,role,permission",
            ",a,read:patient",
            ",b,read:patient",
            ",c,read:patient",
            ",c,read:order",
            ",d,",
            "ann,c,",
            "ann,d,",
        )
    )
    found = report(access)
    assert found.equal == (("a", "b"),)
    assert [(one.smaller, one.larger, one.more) for one in found.contained] == [("a", "c", 1), ("b", "c", 1)]
    assert found.unused == ("a", "b") and found.empty == ("d",)
    assert found.sound


def test_whoever_has_less_by_a_role_than_others_keeps_the_less():
    texts = csv("user,role,permission", "ann,r,read:order", "ann,r,read:patient", "bob,r,read:patient")
    access = access_of(texts)
    assert report(access).uneven == (("r", ("bob",), 1),)
    assert told(access, access.decided(access.export.people["bob"])) == {"read:patient"}
    assert proposed(access, access, TARGET, read, NOON).holds


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(USERS), st.sampled_from(ROLES), st.sampled_from(sorted(MEANING))), min_size=1))
def test_a_joined_table_gives_each_person_what_it_says_of_them(rows: set[tuple[str, str, str]]):
    """However uneven the roles in it are."""
    access = access_of(csv("user,role,permission", *(f'{u},{r},"{p}"' for u, r, p in sorted(rows))))
    for user, person in access.export.people.items():
        assert access.decided(person) == access.catalogue.of({p for u, _, p in rows if u == user})
    found = proposed(access, access, TARGET, read, NOON, lambda: False)
    assert found.holds and found.equality.pairs


def test_the_overlap_of_roles_is_what_others_allow_too():
    texts = csv("role,permission", "a,read:patient", "a,read:order", "b,read:patient", "b,read:result", "c,read:vitals")
    found = report(access_of(texts)).overlap
    assert found.rates == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert found.average == pytest.approx(1 / 3) and found.pairwise == pytest.approx(1 / 9)


@settings(max_examples=40, deadline=None)
@given(exports())
def test_a_further_role_never_lowers_the_overlap_of_the_others(made: Given):
    before = report(access_of(made.csv())).overlap
    made.active["r5"] = True
    made.grants["r4", "read:patient"] = True
    texts = made.csv()
    texts["more.csv"] = "role,permission\nr5,read:patient\n"
    after = report(access_of(texts)).overlap
    shared = before.rates.keys() - {"r1", "r2", "r3", "r4"} | (before.rates.keys() & after.rates.keys())
    assert all(0 <= rate <= 1 for rate in after.rates.values())
    unchanged = {name for name in shared if not any(c == name for c, _ in made.parents) and name != "r4"}
    assert all(after.rates[name] >= before.rates[name] for name in unchanged)


def test_a_hospital_of_many_roles_overlaps_more_than_one_of_few():
    few, many = (hospital(roles, 60, permissions) for roles, permissions in ((10, 0), (200, 400)))
    site = read_documents({"v.yaml": vocabulary(50)}, vocabulary_text=default_vocabulary()).vocabulary
    rates = []
    for made in (few, many):
        export = read_export(made.csv(), site)
        rates.append(report(Access(export, read_permissions(export.permissions, site))).overlap)
    assert (rates[0].roles, rates[1].roles) == (10, 200)
    assert rates[0].average < 0.25 < 0.5 < rates[1].average


def test_a_hospital_collapses_to_conditions_on_jobs_and_departments():
    made = hospital(10, 200)
    access = access_of(made.csv())
    assert _roles_of(made.joined()) == _roles_of(made.csv()["grants.csv"])
    found = proposed(access, access, TARGET, read, NOON)
    assert found.holds and found.equality.pairs == 200 * len(access.catalogue.points)
    assert found.counted() == {"by_attributes": len(found.drafts), "by_roles": 0, "by_people": 0}
    assert len(found.drafts) <= 10 < len(DEPARTMENTS)


def _roles_of(text: str) -> Mapping[str, Role]:
    return read_export({"e.csv": text}, VOCABULARY).roles


def test_of_revoked_roles_nothing_is_left_in_a_clean_proposal():
    texts = csv(
        "user,role,permission,parent,active",
        ",p,export:document,,",
        ",p,,,no",
        ",h,,p,",
        ",h,read:document,,",
        "ann,h,,,",
    )
    exported, clean = access_of(texts), access_of(texts, clean=True)
    found = proposed(exported, clean, TARGET, read, NOON)
    assert found.holds and found.dropped == 1
    assert "export:document" in found.before and "export:document" not in found.after


# -- what is refused, with its place --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "empty"),
        ("user,colour\n", 1, "`colour` is not known"),
        ("user,user_id\n", 1, "two columns are the `user`"),
        ("user,role\nann\n", 2, "1 cells"),
        ('user,role\nann,"x\n', 2, "no CSV"),
        ("role,permission,effect\nr,read:order,allow\nr,read:order,maybe\n", 3, "`effect` cannot be `maybe`"),
        ("role,permission,effect\nr,read:order,\n", 2, "`effect` cannot be ``"),
        ("role,effect\nr,deny\n", 2, "names no permission"),
        ("role,active\nr,perhaps\n", 2, "`active` cannot be `perhaps`"),
        ("role,active\nr,yes\nr,no\n", 3, "active by one row"),
        ("user,role,active\na,r,yes\na,r,no\n", 3, "holds the role"),
        ("user,department\na,x\na,y\n", 3, "another `subject.department`"),
        ("user,clearance\na,high\n", 2, "whole number"),
        ("user,parent\na,r\n", 2, "no role that inherits"),
        ("role,parent\na,b\nb,c\nc,a\n", None, "inherits from itself"),
        ("role,parent\na,a\n", 2, "inherits from itself"),
        ("role,resource\na,order\n", 2, "no action"),
        ("role,permission,resource\na,x,order\n", 2, "beside it"),
        ("role,department\n,icu\n", 2, "names no user, no role"),
        ("role,permission,effect,deny\nr,x,allow,no\n", 2, "another what is denied"),
        ("role,active,revoked\nr,yes,no\n", 2, "another what is revoked"),
        ('[{"role": "r"}\n, 7]', 2, "must be an object"),
        ('[{"role": "r"},\n {"role": ["r"], "colour": 1}]', 2, "`colour` is not known"),
        ('[{"role": 1.5}]', 1, "must be text"),
        ('[{"role": "r", "role": "s"}]', 1, "there twice"),
        ('[{"role": "r", "角色": "s"}]', 1, "two fields"),
        ('[{"role": "r", "permissions": [""]}]', 1, "is empty"),
        ('{"roles": [{"name": "r"}]\n', 2, "is expected"),
        ('{"roles": {}}', 1, "is expected"),
        ('{"roles": []} x', 1, "follows"),
        ('[{"role": "r",\n "x', 2, "no JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_by_file_and_line(text: str, line: int | None, message: str):
    with pytest.raises(DocumentError) as refused:
        access_of({"e.csv": text})
    assert message in str(refused.value)
    assert refused.value.location is not None and refused.value.location.file == "e.csv"
    assert line is None or refused.value.location.line == line


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='user,role\n;"[]{}:parent permission\t1', max_size=120))
def test_any_text_is_an_export_or_refused(text: str):
    try:
        access = access_of({"e": text})
    except DocumentError:
        return
    assert report(access).to_json()["roles"] >= 0


def test_permissions_that_are_not_known_here_are_reported_on_and_not_proposed():
    access = access_of(csv("user,role,permission", "ann,r,CAN_DELETE", "ann,s,CAN_DELETE", "bob,s,CAN_READ"))
    found = report(access)
    assert {one.text for one in access.catalogue.unknown} == {"CAN_DELETE", "CAN_READ"}
    assert found.overlap.rates == {"r": 1.0, "s": 0.5}
    with pytest.raises(DocumentError, match=r"CAN_DELETE.*1 more are not known") as refused:
        replacing(access, Crowd(access))
    assert str(refused.value.location) == "export.csv:2"


def test_a_pattern_covers_what_it_is_a_pattern_of():
    access = access_of(csv("user,permission,effect", "ann,read:*,allow", "ann,read:genomics:deidentified,deny"))
    decided = told(access, access.decided(access.export.people["ann"]))
    assert "read:patient" in decided and "read:genomics" in decided
    assert "read:genomics:deidentified" not in decided
    assert proposed(access, access, TARGET, read, NOON).holds


def test_permissions_with_too_many_bounds_together_are_refused():
    values = ",".join(f"m{number}" for number in range(30))
    deps = ",".join(f"d{number}" for number in range(30))
    text = f'role,permission\nr,"query-study;modality={values};department={deps}"\n'
    with pytest.raises(DocumentError, match="too many values"):
        access_of({"e.csv": text})


def test_headers_are_found_in_either_language_with_any_divider():
    for text in (
        "工号;角色;权限;授权\nann;r;read:order;允许\n",
        "\ufeffUser ID\tRole-Name\tPrivilege\nann\tr\tread:order\n",
    ):
        export: Export = access_of({"e.csv": text}).export
        assert export.people["ann"].roles == ("r",) and export.roles["r"].grants[0] == {"read:order"}


def test_no_spelling_of_a_column_is_in_two_places():
    every = [spelling for spellings in NAMES.values() for spelling in spellings]
    assert len(every) == len(set(every))
    assert {path for path in NAMES if path.startswith("subject.")} <= VOCABULARY.attributes.keys()
    assert Columns(VOCABULARY).knows(["trust", "Purpose"]) == 1  # declared: a text; not a share


def test_a_role_that_a_template_says_is_named_with_what_the_template_asks_for():
    shipped = {f"{id}.yaml": text for id, text in library_templates().items()}
    templates = read_documents(shipped, vocabulary_text=default_vocabulary()).templates
    lines = [f"vitals,{verb}:vitals" for verb in ("search", "read", "create", "update")]
    texts = csv("role,permission", *lines, "less,read:vitals", "other,delete:vitals")
    found = report_on(access_of(texts), VOCABULARY, templates).templates
    equal = [(one.role, one.template.id) for one in found if not one.more]
    assert ("vitals", "nurse-vitals-on-ward") in equal and {role for role, _ in equal} == {"vitals"}
    assert {one.role for one in found} == {"vitals", "less"}
    [said] = [one for one in found if (one.role, one.template.id) == ("vitals", "nurse-vitals-on-ward")]
    assert "equals nurse-vitals-on-ward: Nurses and the vitals of their ward" in str(said)
    assert "resource.patient.location" in said.to_json()["asks"]


def test_what_a_proposal_changes_for_others_is_shown_by_requests():
    """A nurse without the role is permitted by the attribute; whoever has the role and is no nurse no longer is."""
    lines = [f"n{number},ward,nurse,read:vitals" for number in range(4)]
    access = access_of(csv("user,role,profession,permission", *lines))
    found = proposed(access, access, TARGET, read, NOON).difference
    [opened], [closed] = found.permitted, found.denied
    assert opened.request.subject.properties["role"] == "nurse"
    assert "ward" not in opened.request.subject.properties.get("roles", ())
    assert closed.request.subject.properties["roles"] == ("ward",)
    late = proposed(access, access, TARGET, read, NOON, lambda: False).difference
    assert not late.changes and late.undecided and not late.proved_equal


def test_a_direct_grant_may_be_the_other_side_of_a_conflict():
    access = access_of(csv("user,role,permission,effect", "ann,r,,", ",r,read:order,deny", "ann,,read:order,allow"))
    assert [(c.allowing, c.denying) for c in report(access).conflicts] == [(DIRECT, "r")]
