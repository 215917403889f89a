"""From an edited policy to the decision that follows it, and how long any decision waits meanwhile.

    python bench/reload.py [--quick] [--json]

200 roles, a file each, with 50 policies each. One policy of one file is
edited; the time is from the file's last byte to the swap: reading, checking,
compiling all 10,000, recording. `trigger` is SIGHUP or HTTP, `watched` the
polling of files. Meanwhile decisions are made on the same loop, one a
millisecond; how late each of them is done beyond that is what it waited. The
same without a reload stands beside it as the machine's own noise.

Through the gates, all policies are validated and the difference to what is in
force is proved; the first time from nothing, at each edit from what is known of
the policies in force. Each edit changes the 50 policies of one file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.activation import Event, InForce, Policies  # noqa: E402
from adapters.gates.every import gates_of  # noqa: E402
from adapters.settings import read  # noqa: E402
from bench._report import Report, percentile  # noqa: E402
from spir.engine.attributes import NoFacts  # noqa: E402
from spir.engine.compiler import compile_in_slices  # noqa: E402
from spir.model.request import Request  # noqa: E402

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOML = '[site]\norganization = "cn/a"\n[policy]\ndocuments = ["policies"]\n'
HEAD = 'spir: "1"\nkind: PolicySet\nname: role-{0}\nlayer: institution\njurisdiction: cn/a\nversion: 1.0.0\npolicies:\n'
ONE = """\
  - id: p-{role}-{number}
    effect: {effect}
    operations: ["{verb}:{kind}"]
    when: subject.role == "role-{role}" && resource.department == "d{number}" && resource.sensitivity < {below}
"""
VERBS, KINDS = ("search", "read", "view", "update"), ("patient", "allergy", "result", "order", "report")
BEAT = 0.001  # seconds from decision to decision
GOAL_SECONDS, GOAL_WAIT_MS = 1.0, 5.0


def document(role: int, count: int, below: int = 4) -> str:
    policies = (
        ONE.format(
            role=role,
            number=number,
            effect="deny" if number % 10 == 9 else "permit",
            verb=VERBS[number % 4],
            kind=KINDS[number % 5],
            below=below,
        )
        for number in range(count)
    )
    return HEAD.format(role) + "".join(policies)


class Bench:
    """A site of its own; `waits` are milliseconds that decisions were late."""

    def __init__(self, folder: Path, roles: int, each: int, gates: bool = False) -> None:
        self.roles, self.each = roles, each
        self.folder = folder / "policies"
        self.folder.mkdir()
        for role in range(roles):
            self.file(role).write_text(document(role, each), "utf-8")
        settings = read(TOML, str(folder / "spir.toml"), {})
        self.policies = Policies(settings, gates_of(settings) if gates else (), compile_in_slices)
        self.waits: list[float] = []
        self.swapped = asyncio.Event()
        self._edits = 4

    def file(self, role: int) -> Path:
        return self.folder / f"role-{role:03}.yaml"

    def edit(self) -> None:
        self._edits += 1
        self.swapped.clear()
        self.file(self._edits % self.roles).write_text(document(self._edits % self.roles, self.each, self._edits))

    async def record(self, event: Event) -> None:
        if not event.ok:
            raise SystemExit(f"the reload failed: {self.policies.problems}")

    def swap(self, found: InForce) -> None:
        self.swapped.set()

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[None]:
        """Decisions by what is in force, on this loop."""
        task = asyncio.create_task(self._decide())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _decide(self) -> None:
        properties = {"department": "d1", "sensitivity": 1}
        asked = Request.from_json(
            {
                "subject": {"type": "person", "id": "a", "properties": {"role": "role-1"}},
                "action": {"name": "read"},
                "resource": {"type": "allergy", "id": "x", "properties": properties},
            }
        )
        while True:
            due = time.perf_counter() + BEAT
            await asyncio.sleep(BEAT)
            self.policies.current.prepared.decide(asked, NoFacts(), AT)
            self.waits.append((time.perf_counter() - due) * 1000)


async def run(report: Report, runs: int, roles: int, each: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), roles, each)
        policies = bench.policies
        start = time.perf_counter()
        policies.load()
        settings = {"policies": roles * each, "files": roles, "runs": runs, "load": round(os.getloadavg()[0], 1)}
        report.add("load everything the first time", time.perf_counter() - start, "s", **settings)
        async with bench.deciding():
            await asyncio.sleep(2)
        idle, bench.waits = bench.waits, []
        took = []
        await policies.begin(bench.record, bench.swap)
        async with bench.deciding():
            watched = await _watched(bench, runs)
            await policies.end()
            bench.waits.clear()
            for _ in range(runs):
                bench.edit()
                took.append(await _triggered(bench))
        _say(report, settings, took, watched, idle, bench.waits)


async def gated(report: Report, runs: int, roles: int, each: int) -> None:
    """The same through the gates; each edit changes the 50 policies of one file."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), roles, each, gates=True)
        start = time.perf_counter()
        bench.policies.load()
        first = time.perf_counter() - start
        await bench.policies.begin(bench.record, bench.swap)
        await bench.policies.end()
        took = []
        async with bench.deciding():
            for _ in range(runs):
                bench.edit()
                took.append(await _triggered(bench))
        settings = {"policies": roles * each, "changed": each, "runs": runs}
        goal, met = f"<= {GOAL_SECONDS:g} s", statistics.median(took) <= GOAL_SECONDS
        report.add("load through the gates, the first time", first, "s", **settings)
        report.add("reload through the gates", statistics.median(took), "s", goal=goal, met=met, **settings)
        met = max(took) <= GOAL_SECONDS
        report.add("reload through the gates, worst", max(took), "s", goal=goal, met=met, **settings)
        report.add("a decision waits, through the gates, p99", percentile(bench.waits, 0.99), "ms")
        goal, met = f"<= {GOAL_WAIT_MS:g} ms", max(bench.waits) <= GOAL_WAIT_MS
        report.add("a decision waits, through the gates, worst", max(bench.waits), "ms", goal=goal, met=met)


async def _triggered(bench: Bench) -> float:
    """Seconds until what was edited is in force; what it replaces is let go of before this returns."""
    start = time.perf_counter()
    reload = asyncio.create_task(bench.policies.reload())
    await bench.swapped.wait()
    took = time.perf_counter() - start
    assert await reload
    return took


async def _watched(bench: Bench, runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        bench.edit()
        start = time.perf_counter()
        await bench.swapped.wait()
        found.append(time.perf_counter() - start)
    return found


def _say(
    report: Report,
    settings: dict[str, float],
    took: list[float],
    watched: list[float],
    idle: list[float],
    waits: list[float],
) -> None:
    goal, met = f"<= {GOAL_SECONDS:g} s", statistics.median(took) <= GOAL_SECONDS
    report.add("reload to effect, trigger", statistics.median(took), "s", goal=goal, met=met, **settings)
    report.add("reload to effect, trigger, worst", max(took), "s", **settings)
    report.add("reload to effect, watched", statistics.median(watched), "s", **settings)
    for name, share in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        theirs = percentile(idle, share)
        mine = percentile(waits, share)
        report.add(f"a decision waits, {name}", mine, "ms", peer="no reload", value=theirs, **settings)
    met = max(waits) <= GOAL_WAIT_MS
    goal = f"<= {GOAL_WAIT_MS:g} ms"
    worst, noise = max(waits), max(idle)
    report.add("a decision waits, worst", worst, "ms", peer="no reload", value=noise, goal=goal, met=met, **settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer policies and runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = Report("reload", arguments.json)
    runs, roles = (3, 20) if arguments.quick else (7, 200)
    asyncio.run(run(report, runs, roles, 50))
    asyncio.run(gated(report, runs, roles, 50))
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
