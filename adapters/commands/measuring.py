"""`spir bench`: how fast the engine decides here.

In a checkout it is the quick run of `bench/engine.py`, which measures the peers that are installed in the same
run. Elsewhere a small measure of its own: the engine against the plain interpreter that is its oracle.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

from adapters.commands.output import OK, say
from spir.embed import Engine, default_vocabulary
from spir.engine import reference
from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import read_documents
from spir.model.request import Entity, Request

__all__ = ["bench", "measure"]

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "engine.py"
POLICIES, SECONDS = 1000, 0.5
AT = datetime(2026, 1, 1, tzinfo=UTC)


def bench(arguments: Namespace) -> int:
    if SCRIPT.is_file():
        more = ["--json"] if arguments.json else []
        return subprocess.run(
            [sys.executable, str(SCRIPT), "--quick", *more], cwd=SCRIPT.parents[1], check=False
        ).returncode
    if arguments.peers:
        print("spir: peers are measured in a checkout only, by bench/engine.py", file=sys.stderr)
    found = measure(POLICIES, SECONDS)
    say(arguments, found, (f"{name}: {value:,.1f}" for name, value in found.items()))
    return OK


def measure(policies: int, seconds: float) -> dict[str, float]:
    """Decisions a second on one core at so many policies, each measured for `seconds`; and the time to load them."""
    begun = perf_counter()
    documents = read_documents({"bench.yaml": _document(policies)}, vocabulary_text=default_vocabulary())
    rules = RuleSet.of(documents.policy_sets, documents.fingerprint, Site("cn"))
    engine, view = Engine(compile_rules(rules), documents), NoFacts()
    loaded = perf_counter() - begun
    requests = [_request(number, policies) for number in range(5000)]
    ours = _rate(lambda request: engine.decide(request, view, AT), requests, seconds)
    plain = _rate(lambda request: reference.decide(rules, request, view, AT), requests, seconds)
    return {
        "policies": float(policies),
        "load_seconds": loaded,
        "decisions_per_second": ours,
        "interpreter_per_second": plain,
        "ratio": ours / plain,
    }


def _rate(decide: Callable[[Request], Any], requests: list[Request], seconds: float) -> float:
    """All requests differ, so that no memory of earlier answers is measured while there are any left."""
    done, begun = 0, perf_counter()
    for request in cycle(requests):
        decide(request)
        done += 1
        spent = perf_counter() - begun
        if spent >= seconds:
            break
    return done / spent


def _document(policies: int) -> str:
    head = 'spir: "1"\nkind: PolicySet\nname: bench\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\npolicies:\n'
    line = (
        "  - {{id: p{0}, effect: permit, operations: ['read:result'],"
        ' when: \'subject.department == "d{0}" && resource.status == "final"\'}}\n'
    )
    return head + "".join(line.format(number) for number in range(policies))


def _request(number: int, policies: int) -> Request:
    subject = Entity("person", f"u{number}", {"department": f"d{number % policies}"})
    return Request.build(subject, "read:result", {"status": "final" if number % 2 else "preliminary"})
