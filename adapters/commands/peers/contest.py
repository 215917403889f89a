"""What the engine is measured at: loads, decisions, residuals; each peer beside it in the same rounds.

Every engine first answers each request it will be timed on, and is compared
with the plain interpreter of the workload: permitted or not, and the ids of the
policies where it names them. One wrong answer, and its figures are not given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter, process_time
from typing import Any

from adapters.commands.peers.cases import LARGE, SLOW, Case, Measure
from adapters.commands.peers.cedar import Cedar
from adapters.commands.peers.line import Line
from adapters.commands.peers.ours import Ours, documents
from adapters.commands.peers.player import Absent, Entry, Player, Refused
from adapters.commands.peers.rounds import ENOUGH, FEWEST, TICK, Turns, race
from adapters.commands.peers.workload import Ask, Workload
from spir.model.request import Request

__all__ = ["NOTHING", "contest"]

RATES = {1000: 200_000, 10_000: 100_000}
LOADS = {1000: 0.3, 10_000: 2.0}
P99 = {1000: 50.0}
RESIDUALS = {1000: 1000}
LOADINGS, LOADING_SECONDS = 5, 1.5
WARM = 10  # passes before the pace is taken: then what is made for requests like those before is there
ROWS = 5  # further rows by which a residual is checked
NOTHING, CALLS = "a call that does nothing", 100_000
PARTIALS = 40  # requests that Cedar evaluates partially: a second or two


def contest(measure: Measure, entries: Sequence[Entry]) -> Iterator[Line]:
    """Measure case by case; a line as soon as it is known."""
    for case in measure.cases:
        yield from _Measured(measure, case).lines(entries)


class _Measured:
    """One case: a workload, its requests, and our engine with its policies."""

    def __init__(self, measure: Measure, case: Case) -> None:
        self.measure, self.case = measure, case
        self.workload = Workload(case.kind, case.size)
        self.asks = self.workload.asks(measure.requests)

    def lines(self, entries: Sequence[Entry]) -> Iterator[Line]:
        ours, load = self._loaded()
        yield load
        asked = [ours.prepared(ask) for ask in self.asks]
        begun = process_time()
        answers = [ours.decide(one) for one in asked]
        spent = max(process_time() - begun, TICK)
        wrong = _wrong(ours, answers, self.asks)
        yield self._line("wrong answers", wrong, "", goal="none", met=not wrong)
        yield self._line("decisions, each new", len(asked) / spent, "1/s")
        mine = self._fitted_warm(ours, asked)
        theirs = [(entry, self._entered(entry)) for entry in entries if not self._sits_out(entry)]
        nothing = Turns(_nothing, asked, CALLS // len(asked))
        self._race(mine, [nothing, *(turns for _, turns in theirs)])
        yield from self._rates(mine)
        yield self._line("decisions, CPU", mine.rate, "1/s", peer=NOTHING, value=nothing.rate)
        for entry, turns in theirs:
            yield self._against(entry, mine, turns)
        if self.case.partial:
            yield from self._residuals(ours, [entry for entry in entries if entry.load is Cedar])

    def _sits_out(self, entry: Entry) -> bool:
        """Where it should be quick, slow engines and those whose figure is no goal do not take part in large cases."""
        large, flat = self.case.size >= LARGE, self.case.kind == "flat"
        return self.measure.quick and ((large and entry.name in SLOW) or (flat and self.case.size not in entry.goals))

    def _race(self, mine: Turns, theirs: Sequence[Turns | str]) -> None:
        playing = [turns for turns in theirs if isinstance(turns, Turns)]
        waiting = [] if self.measure.quick else [turns for turns in playing if len(turns.asked) >= ENOUGH]
        race([mine, *playing], self.measure.rounds, [mine, *waiting])

    # -- loading -----------------------------------------------------------------------------

    def _loaded(self) -> tuple[Ours, Line]:
        texts = documents(self.workload.rules)
        spent: list[float] = []
        wall: list[float] = []
        while len(spent) < LOADINGS and sum(spent) < LOADING_SECONDS:
            cpu, begun = process_time(), perf_counter()
            ours = Ours(texts)
            spent.append(process_time() - cpu)
            wall.append(perf_counter() - begun)
        taken, most = median(spent), LOADS.get(self.case.size)
        goal, met = (f"<= {most:g} s", taken <= most) if most is not None else ("", None)
        return ours, self._line(
            "load, CPU", taken, "s", goal=goal, met=met, wall=round(median(wall), 3), runs=len(spent)
        )

    def _fitted_warm(self, ours: Ours, asked: Sequence[Request]) -> Turns:
        """Turns of requests that were seen before: by the pace of the first time they would be far too short."""
        for _ in range(WARM):
            begun = process_time()
            for one in asked:
                ours.decide(one)
            spent = max(process_time() - begun, TICK)
        return Turns.fitted(ours.decide, asked, spent, self.measure.turn)

    def _entered(self, entry: Entry) -> Turns | str:
        """The engine ready for its turns, its answers checked; or why it takes none."""
        try:
            begun = process_time()
            player = entry.load(self.workload.rules)
            loaded = process_time() - begun
        except Absent:
            return "not installed"
        except Refused as error:
            return f"refuses: {error}"
        return self._fitted(player, loaded)

    def _fitted(self, player: Player, loaded: float) -> Turns | str:
        few = [player.prepared(ask) for ask in self.asks[:FEWEST]]
        begun = process_time()
        for one in few:
            player.decide(one)
        pace = max(process_time() - begun, TICK) / len(few)
        count = max(FEWEST, min(len(self.asks), int(self.measure.turn / pace)))
        asked = [player.prepared(ask) for ask in self.asks[:count]]
        wrong = _wrong(player, [player.decide(one) for one in asked], self.asks)
        if wrong:
            return f"wrong: {wrong} of {count} answers"
        return Turns.fitted(player.decide, asked, pace * count, self.measure.turn, loaded)

    # -- what came of it ---------------------------------------------------------------------

    def _rates(self, mine: Turns) -> Iterator[Line]:
        size = self.case.size
        least, most = RATES.get(size), P99.get(size)
        goal, met = (f">= {least:,}", mine.rate >= least) if least is not None else ("", None)
        yield self._line("decisions, CPU", mine.rate, "1/s", goal=goal, met=met, requests=len(mine.asked))
        yield self._line("decisions, by the clock", mine.wall_rate, "1/s")
        yield self._line("a decision waits, p50", mine.p50, "us")
        goal, met = (f"<= {most:g} us", mine.p99 <= most) if most is not None else ("", None)
        yield self._line("a decision waits, p99", mine.p99, "us", goal=goal, met=met)

    def _against(self, entry: Entry, mine: Turns, theirs: Turns | str, case: str = "decisions, CPU") -> Line:
        times = entry.goals.get(self.case.size)
        goal = f">= {times:,}x" if times is not None else ""
        if isinstance(theirs, str):
            word, _, why = theirs.partition(": ")
            return self._line(case, mine.rate, "1/s", peer=f"{entry.label} ({word})", goal=goal, why=why)
        met = mine.rate >= times * theirs.rate if times is not None else None
        more = {"evaluates": entry.evaluates, "requests": len(theirs.asked), "peer_load_s": round(theirs.loaded, 3)}
        more |= {"peer_wall": round(theirs.wall_rate, 3)}
        if theirs.p99s:
            more |= {"peer_p50_us": round(theirs.p50, 1), "peer_p99_us": round(theirs.p99, 1)}
        return self._line(case, mine.rate, "1/s", peer=entry.label, value=theirs.rate, goal=goal, met=met, **more)

    def _line(self, case: str, ours: float, unit: str, **more: Any) -> Line:
        known = {name: more.pop(name) for name in ("peer", "value", "goal", "met") if name in more}
        settings = {"policies": self.case.size, "rounds": self.measure.rounds, **more}
        return Line("engine", f"{self.case.label}: {case}", ours, unit, settings=settings, **known)

    # -- residuals ---------------------------------------------------------------------------

    def _residuals(self, ours: Ours, entries: Sequence[Entry]) -> Iterator[Line]:
        """Nothing is known of the resource but its type."""
        asked = [ours.unknown(ask) for ask in self.asks]
        begun = process_time()
        answers = [ours.decide(one) for one in asked]
        spent = max(process_time() - begun, TICK)
        wrong = sum(self._unlike(ours, one, ask) for one, ask in zip(asked, self.asks, strict=True))
        yield self._line("residuals, rows judged wrongly", wrong, "", goal="none", met=not wrong)
        kinds = Counter(answer.effect.value for answer in answers)
        yield self._line("residuals, each new", len(asked) / spent, "1/s", **kinds)
        mine = self._fitted_warm(ours, asked)
        theirs = [(entry, self._partial()) for entry in entries]
        self._race(mine, [turns for _, turns in theirs])
        yield self._line("residuals, CPU", mine.rate, "1/s", p50_us=round(mine.p50, 1), p99_us=round(mine.p99, 1))
        for entry, turns in theirs:
            yield self._against(replace(entry, goals=RESIDUALS), mine, turns, "residuals, CPU")

    def _unlike(self, ours: Ours, asked: Request, ask: Ask) -> int:
        """How many rows are judged otherwise than a whole check decides: its own, and those of other requests."""
        judged, wrong = ours.judged(asked), 0
        for other in (ask, *self.asks[:ROWS]):
            values = {**ask.values, **{p: v for p, v in other.values.items() if p.startswith("resource.")}}
            whole = self.workload.permitted(ask.action, ask.type, values)
            wrong += judged.admit(other.under("resource")).admitted is not whole
        return wrong

    def _partial(self) -> Turns | str:
        try:
            player = Cedar(self.workload.rules)
        except Absent:
            return "not installed"
        asks = self.asks[:PARTIALS]
        asked = [player.unknown(ask) for ask in asks]
        begun = process_time()
        answers = [player.partial(one) for one in asked]
        spent = max(process_time() - begun, TICK)
        settled = [(player.settled(answer), ask) for answer, ask in zip(answers, asks, strict=True)]
        wrong = sum(found not in (None, ask.permitted) for found, ask in settled)
        if wrong:
            return f"wrong: {wrong} of {len(asked)} answers"
        return Turns.fitted(player.partial, asked, spent, self.measure.turn)


def _nothing(asked: Any) -> None:
    """What it costs to be asked: by it one tells a slow machine from a slow engine."""


def _wrong(player: Player, answers: Sequence[Any], asks: Sequence[Ask]) -> int:
    """How many answers differ from the plain interpreter's. An engine may name fewer policies than matched, not others,
    and of a permitted request it must name them all."""
    wrong = 0
    for answer, ask in zip(answers, asks, strict=False):
        told = player.told(answer)
        named = told.matched is None or (
            told.matched <= ask.matched and (not ask.permitted or told.matched == ask.matched)
        )
        wrong += told.permitted is not ask.permitted or not named
    return wrong
