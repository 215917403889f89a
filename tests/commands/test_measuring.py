"""`spir bench` and `spir schema` from outside, and that every engine measured gives the answers it should."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from adapters.cli import main
from adapters.commands import measuring
from adapters.commands.peers import contest as measured
from adapters.commands.peers.cases import PEERS, PLAIN, QUICK, Case
from adapters.commands.peers.contest import NOTHING, contest
from adapters.commands.peers.line import Line
from adapters.commands.peers.ours import Ours, documents
from adapters.commands.peers.player import Absent, Entry, Player, Refused, Told
from adapters.commands.peers.rego import modules
from adapters.commands.peers.workload import KINDS, Rule, Workload, holds
from spir.language.document import KINDS as DOCUMENTS
from spir.model.decision import Decision

FIELDS = ("bench", "case", "ours", "unit", "peer", "peer_value", "ratio", "goal", "met", "settings")
SMALL = replace(QUICK, cases=(Case("idx", 30, partial=True), Case("flat", 20)), rounds=2, turn=0.001, requests=40)


def lines(entries: tuple[Entry, ...]) -> list[Line]:
    return list(contest(SMALL, entries))


# -- the workload ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_is_the_same_for_the_same_seed_and_half_of_its_requests_are_permitted(kind: str):
    one, other = Workload(kind, 60), Workload(kind, 60)
    asks = one.asks(100)
    assert (one.rules, asks) == (other.rules, other.asks(100))
    assert sum(ask.permitted for ask in asks) == 50
    assert Workload(kind, 60, seed=12).rules != one.rules


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_permitted_where_a_permit_matches_and_no_deny(kind: str):
    workload = Workload(kind, 200)
    for ask in workload.asks(100):
        about = [rule for rule in workload.rules if (ask.action, ask.type) in rule.operations]
        matched = [rule for rule in about if holds(rule, ask.values)]
        assert ask.matched == {rule.id for rule in matched}
        assert ask.permitted is (bool(matched) and all(rule.permits for rule in matched))


# -- who takes part --------------------------------------------------------------------------


def entered(entry: Entry, rules: tuple[Rule, ...]) -> Player:
    try:
        return entry.load(rules)
    except Absent as error:
        pytest.skip(f"peer `{error}` is not installed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", (PLAIN, *PEERS), ids=lambda entry: entry.name)
def test_every_engine_answers_as_the_plain_interpreter_of_the_workload(entry: Entry, kind: str):
    workload = Workload(kind, 60)
    player = entered(entry, workload.rules)
    for ask in workload.asks(60):
        answer = player.told(player.decide(player.prepared(ask)))
        assert answer.permitted is ask.permitted
        if answer.matched is not None:
            assert answer.matched <= ask.matched and (answer.matched == ask.matched or not ask.permitted)


@pytest.mark.parametrize("kind", KINDS)
def test_ours_names_all_that_matched_and_gives_the_obligations(kind: str):
    workload = Workload(kind, 60)
    ours, masked = Ours(documents(workload.rules)), {rule.id for rule in workload.rules if rule.masks}
    for ask in workload.asks(100):
        decision = ours.decide(ours.prepared(ask))
        assert frozenset(decision.matched) == ask.matched
        assert bool(decision.obligations) is (ask.permitted and bool(ask.matched & masked))


def test_rego_modules_hold_each_policy_once():
    rules = Workload("flat", 4500).rules
    texts = [text for _, text in modules(rules)]
    assert len(texts) == 3 and sum(text.count("input.operation") for text in texts) == len(rules)
    assert sum("default answer" in text for text in texts) == 1


# -- what is said ----------------------------------------------------------------------------


def test_every_line_says_what_was_measured_and_nothing_was_wrong():
    found = lines((PLAIN, *PEERS))
    assert all(tuple(line.to_json()) == FIELDS and line.settings["policies"] in (20, 30) for line in found)
    assert all(line.ours > 0 or line.unit == "" for line in found)
    assert [line.ours for line in found if "wrong" in line.case] == [0, 0, 0]
    against = [line for line in found if line.peer]
    assert all(line.value or "not installed" in line.peer for line in against)
    assert all(f"x{line.ratio}" in str(line) for line in against if line.value)


def missing(rules: object) -> Player:
    raise Absent("nowhere")


def refusing(rules: object) -> Player:
    raise Refused("too many policies")


class Agreeable(Ours):
    """Permits whatever it is asked."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        super().__init__(documents(rules))

    def told(self, answer: Decision) -> Told:
        return replace(super().told(answer), permitted=True)


@pytest.mark.parametrize(
    ("load", "said"),
    ((missing, "peer (not installed)"), (refusing, "peer (refuses)"), (Agreeable, "peer (wrong)")),
)
def test_who_does_not_take_part_is_said_and_no_goal_is_judged_by_it(load: type, said: str):
    entry = Entry("peer", "", "nothing", load, {30: 10**9, 20: 10**9})
    found = [line for line in lines((entry,)) if line.peer not in ("", NOTHING)]
    assert {line.peer for line in found} == {said}
    assert all(line.value is None and line.met is None and line.goal for line in found)


def test_a_goal_is_judged_by_the_ratio():
    def against(times: int) -> set[bool | None]:
        entry = replace(PLAIN, goals={30: times, 20: times})
        return {line.met for line in lines((entry,)) if line.peer == PLAIN.label}

    assert (against(0), against(10**9)) == ({True}, {False})


# -- from outside ----------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "peers"), ((["bench"], {PLAIN.label}), (["bench", "--peers"], None)))
def test_the_command_prints_a_line_for_each_measure(
    arguments: list[str], peers: set[str] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(measuring, "QUICK", SMALL)
    assert main([*arguments, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(tuple(line) == FIELDS for line in found)
    named = {line["peer"] for line in found} - {"", NOTHING}
    assert named == peers if peers else len(named) == 1 + len(PEERS)


def test_a_missed_goal_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(measuring, "QUICK", replace(SMALL, cases=(Case("idx", 20),)))
    monkeypatch.setattr(measured, "LOADS", {20: 0.0})
    assert main(["bench"]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_schema_lists_every_kind_with_its_purpose(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    said = capsys.readouterr().out
    assert all(f"{kind} " in said for kind in DOCUMENTS) and said.count("\n") == len(DOCUMENTS)
    assert main(["schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == DOCUMENTS.keys()
    assert main(["schema", "PolicySet"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "PolicySet"
    assert main(["schema", "PolicySett"]) == 2
    assert "did you mean `PolicySet`" in capsys.readouterr().err
