"""What the gates remember of the policies in force, and of what came last."""

from __future__ import annotations

import weakref
from dataclasses import replace

from adapters.gates.candidate import Candidate, version_of
from adapters.gates.surveys import Surveys
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet
from spir.language.document import Documents, Library

HEAD = 'spir: "1"\nkind: PolicySet\nname: {0}\nlayer: institution\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
ONE = '  - {{id: {0}, effect: permit, operations: ["read:result"], when: subject.role == "{0}"}}\n'
SITE = 'spir: "1"\nkind: Vocabulary\nname: site\nversion: 1.0.0\nverbs: [praise]\n'
WARDS = ("nurse", "porter", "clerk", "midwife", *(f"role-{number}" for number in range(16)))


class Files:
    """A folder of policies that is read again and again."""

    def __init__(self) -> None:
        self.library = Library(default_vocabulary())
        self.texts = {f"{name}.yaml": HEAD.format(name) + ONE.format(name) for name in WARDS}

    def edited(self, name: str, text: str = "# edited\n") -> Documents:
        self.texts[f"{name}.yaml"] += text
        return self.library.read(self.texts)


def candidate(documents: Documents, before: Candidate | None = None) -> Candidate:
    found = Candidate(documents, RuleSet.of(documents.policy_sets, documents.fingerprint))
    return replace(found, before=version_of(before.rules, before.documents, None)) if before else found


def test_what_follows_has_all_that_is_as_it_was_in_common_with_what_is_in_force() -> None:
    files, surveys = Files(), Surveys()
    first = candidate(files.edited("nurse"))
    second = candidate(files.edited("porter"), first)
    before, after = surveys.of(first), surveys.of(second)
    assert surveys.of(second) is after and surveys.in_force(second) is before
    assert [rule.policy.id for rule in after.every if not before.has(rule)] == ["porter"]


def test_what_is_refused_is_not_what_the_next_one_follows() -> None:
    """The refused one has nothing in common with what is in force: its vocabulary is another one."""
    files, surveys = Files(), Surveys()
    first = candidate(files.edited("nurse"))
    before = surveys.of(first)
    files.texts["site.yaml"] = SITE
    assert not any(map(before.has, surveys.of(candidate(files.edited("porter"), first)).every))
    third = surveys.of(candidate(first.documents, first))
    assert all(map(before.has, third.every))


def test_what_comes_back_is_a_change_like_any_other() -> None:
    """A rollback: the policies are those of the first version, and what is in force is the second."""
    files, surveys = Files(), Surveys()
    first = candidate(files.edited("nurse"))
    texts = dict(files.texts)
    surveys.of(first)
    second = candidate(files.edited("porter"), first)
    after = surveys.of(second)
    files.texts = texts
    back = surveys.of(candidate(files.edited("nurse", ""), second))
    assert [rule.policy.id for rule in back.every if not after.has(rule)] == ["porter"]


def test_after_a_restart_the_last_candidate_will_do() -> None:
    """Nothing is known of what is in force: it had passed before."""
    files, surveys = Files(), Surveys()
    in_force = candidate(files.edited("nurse"))
    refused = surveys.of(candidate(files.edited("porter"), in_force))
    found = candidate(files.edited("clerk"), in_force)
    assert [rule.policy.id for rule in surveys.of(found).every if not refused.has(rule)] == ["clerk"]
    assert surveys.in_force(found) is None


def test_no_more_is_remembered_than_what_is_in_force_and_what_came_last() -> None:
    files, surveys = Files(), Surveys()
    now = candidate(files.edited("nurse"))
    known = [weakref.ref(surveys.of(now))]
    for name in WARDS[:4]:
        refused = candidate(files.edited(name), now)
        known.append(weakref.ref(surveys.of(refused)))
        del refused
        following = candidate(files.edited(name), now)
        known.append(weakref.ref(surveys.of(following)))
        assert surveys.in_force(following) is not None
        now = following
    assert [ref() is not None for ref in known] == [False] * (len(known) - 3) + [True, False, True]


def test_of_a_vocabulary_that_is_another_one_everything_is_surveyed() -> None:
    files, surveys = Files(), Surveys()
    first = candidate(files.edited("nurse"))
    before = weakref.ref(surveys.of(first))
    files.texts["site.yaml"] = SITE
    second = candidate(files.edited("nurse"), first)
    assert all(rule in second.rules.every for rule in surveys.of(second).every)
    third = candidate(files.edited("porter"), second)
    assert [rule.policy.id for rule in surveys.of(third).every if not surveys.of(second).has(rule)] == ["porter"]
    assert before() is None
