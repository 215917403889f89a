"""The validator: how long its checks take, and whether they are right.

    python bench/validator.py [--quick] [--json]

Two sets of policies. `clean` is as a hospital would write them: three layers,
nothing to find. `random` is the engine's workload spread over the layers by
chance: policies by the thousand that meet each other everywhere, and hundreds
of findings. Times are processor time from loaded rules to the findings, each
of which the engine has shown, and nothing is remembered from run to run.

Right: pairs of random rules about which the exact core and z3 must say the
same, and one defect of every kind hidden among clean policies, of which all
must be found and nothing else be said. The full run takes half an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.commands.peers.ours import VOCABULARY, written  # noqa: E402
from adapters.commands.peers.workload import Workload  # noqa: E402
from bench._report import Report  # noqa: E402
from spir.assurance.checks.registry import CHECKS  # noqa: E402
from spir.assurance.difference import Version, difference  # noqa: E402
from spir.assurance.proof.solver import installed  # noqa: E402
from spir.assurance.validator import validate  # noqa: E402
from spir.engine.compiler import compile_rules  # noqa: E402
from tests.core.assurance.agreement import BATCH, Agreement, agreement  # noqa: E402
from tests.core.assurance.seeded import AT, DEFECTS, LAYERS, PLACES, Clean, judge, read, validated  # noqa: E402

Files = dict[str, str]

PAIRS = ("conflict", "weakening")
UNIONS = ("shadowing", "redundancy")
DELEGATES = '  - {{id: {0}-delegates, effect: delegate, operations: ["*:*:*"], when: has(subject.department)}}\n'
HEAD = 'spir: "1"\nkind: PolicySet\nname: {0}\nlayer: {0}\njurisdiction: {1}\nversion: 1.0.0\npolicies:\n'
Z3 = "z3 (not installed)"


def clean(size: int) -> Files:
    return Clean(7, size).files()


def scattered(size: int) -> Files:
    """The engine's workload; each policy in a layer by chance."""
    drawn = Random(size)
    texts = {layer: [HEAD.format(layer, PLACES[layer])] for layer in LAYERS}
    for layer in LAYERS[:2]:
        texts[layer].append(DELEGATES.format(layer))
    for rule in Workload("idx", size).rules:
        texts[drawn.choice(LAYERS)].extend(written(rule))
    return {"vocabulary.yaml": VOCABULARY, **{f"{layer}.yaml": "".join(lines) for layer, lines in texts.items()}}


SETS: dict[str, Callable[[int], Files]] = {"clean": clean, "random": scattered}


def timed(report: Report, name: str, size: int, ids: Iterable[str], goal: float | None, runs: int) -> None:
    """The checks together on one set of policies."""
    wanted = list(ids)
    case = f"{name} {size:,}: {' and '.join(wanted) if len(wanted) < 3 else 'all checks'}"
    documents, rules = read(SETS[name](size))
    compiled = compile_rules(rules)
    spent, wall = [], []
    for _ in range(runs):
        cpu, begun = process_time(), perf_counter()
        found = validate(documents, rules, at=AT, compiled=compiled, only=wanted)
        spent.append(process_time() - cpu)
        wall.append(perf_counter() - begun)
    settings = {"policies": size, "runs": runs, "wall": round(median(wall), 3), "findings": len(found.findings)}
    settings |= Counter(f"{one.check} {one.severity.label}" for one in found.findings)
    settings["pairs"] = sum(one.pairs for one in found.findings)
    limit, met = (f"<= {goal:g} s", median(spent) <= goal) if goal is not None else ("", None)
    report.add(case, median(spent), "s", goal=limit, met=met, **settings)


def changed(report: Report, size: int, runs: int) -> None:
    """Two versions: a deny is taken out; the same policies in another order."""
    files = scattered(size)
    old = _version(files)
    for case, new in (("a deny taken out", _without(files)), ("another order", _shuffled(files))):
        other, spent = _version(new), []
        for _ in range(runs):
            begun = process_time()
            found = difference(old, other)
            spent.append(process_time() - begun)
        settings = {"changes": len(found.changes), "undecided": len(found.undecided), "runs": runs}
        met = median(spent) <= 0.2
        report.add(f"random {size:,}: diff, {case}", median(spent), "s", goal="<= 0.2 s", met=met, **settings)


def _version(files: Files) -> Version:
    documents, rules = read(files)
    return Version(rules, documents.vocabulary)


def _policies(text: str) -> tuple[str, list[str]]:
    head, *policies = text.split("  - id: ")
    return head, [f"  - id: {one}" for one in policies]


def _without(files: Files) -> Files:
    head, policies = _policies(files["institution.yaml"])
    first = next(one for one in policies if "effect: deny" in one)
    return {**files, "institution.yaml": head + "".join(one for one in policies if one is not first)}


def _shuffled(files: Files) -> Files:
    head, policies = _policies(files["institution.yaml"])
    Random(1).shuffle(policies)
    return {**files, "institution.yaml": head + "".join(policies)}


def agreed(report: Report, pairs: int) -> None:
    case = f"{pairs:,} pairs of rules: differences"
    if not installed():
        report.add(case, 0, "", peer=Z3, goal="none")
        return
    found = Agreement()
    for seed in range(0, pairs, BATCH):
        more = agreement(min(BATCH, pairs - seed), seed)
        for name in ("asked", "there", "undecided", "untold", "differences"):
            setattr(found, name, getattr(found, name) + getattr(more, name))
    counts = {"questions": found.asked, "there": found.there, "undecided": found.undecided, "untold": found.untold}
    report.add(case, len(found.differences), "", peer="z3", goal="none", met=not found.differences, **counts)
    for one in found.differences:
        print(one, file=sys.stderr)


def seeded(report: Report, size: int, rounds: int) -> None:
    hidden = found = wrong = 0
    for seed in range(rounds):
        among = Clean(seed, size)
        defects = tuple(one for one in (make(among) for make in DEFECTS.values()) if one.check in CHECKS)
        missed, false = judge(defects, validated(among, defects).findings)
        hidden, found, wrong = hidden + len(defects), found + len(defects) - len(missed), wrong + len(false)
        for said in (*missed, *(f"{one.check}: {one.text}" for one in false)):
            print(f"seed {seed}: {said}", file=sys.stderr)
    settings = {"policies": size, "rounds": rounds, "hidden": hidden}
    share = 100 * found / hidden
    report.add(
        f"defects in {size:,}, {rounds} rounds: found", share, "%", goal="100 %", met=found == hidden, **settings
    )
    report.add(f"defects in {size:,}, {rounds} rounds: false", wrong, "", goal="none", met=not wrong, **settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs, pairs and rounds: under 45 seconds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report, quick = Report("validator", arguments.json), arguments.quick
    runs = 2 if quick else 5
    for name in SETS:
        timed(report, name, 1000, PAIRS, 0.1, runs)
        if not quick or name == "clean":
            timed(report, name, 10_000, PAIRS, 5.0, 1 if quick else 3)
        if set(UNIONS) <= set(CHECKS) and installed():
            timed(report, name, 1000, UNIONS, 5.0, 1 if quick else 3)
        else:
            report.add(f"{name} 1,000: {' and '.join(UNIONS)}", 0, "", peer=Z3, goal="<= 5 s")
    timed(report, "clean", 1000, CHECKS, None, 1)
    changed(report, 1000, runs)
    agreed(report, 400 if quick else 100_000)
    seeded(report, 1000, 1 if quick else 200)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
