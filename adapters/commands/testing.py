"""`spir test`: run PolicyTest documents against the policies beside them, and say what they cover."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.commands.output import FINDING, OK, say
from adapters.identity.directory import Directory
from adapters.parts import changes_of
from spir.assurance.coverage import Coverage, Tally
from spir.assurance.junit import to_junit
from spir.assurance.policy_tests import Ground, Premises, Result, facts_of, premises, run_case
from spir.embed import WALL_CLOCK, Engine, collect
from spir.errors import DocumentError, RequestError, SpirError
from spir.language.document import read_tests
from spir.language.kinds.policy_test import Case, PolicyTest
from spir.model.facts import Change, FactStore, empty_snapshot
from spir.model.identity import PatientIdentifiers

__all__ = ["test"]

ENDINGS = ("_test.yaml", "_test.yml", "_test.json")


def test(arguments: Namespace) -> int:
    """0 if every case passes and the coverage is at least `--fail-under`."""
    files = collect(*arguments.paths)
    tests = {name: text for name, text in files.items() if name.endswith(ENDINGS)}
    if not tests:
        raise DocumentError("there are no policy tests here", hint="their files are called *_test.yaml")
    bench = _Bench(tuple(sorted(files.keys() - tests.keys())), arguments.directory)
    suites = [(found, tuple(bench.run(found, case) for case in found.cases)) for found in read_tests(tests)]
    coverage = bench.tally.coverage()
    if arguments.junit:
        _write(arguments.junit, to_junit(suites))
    say(arguments, _json(suites, coverage), _lines(suites, coverage, arguments.fail_under))
    passed = all(result.passed for _, results in suites for result in results)
    return OK if passed and coverage.percent >= arguments.fail_under else FINDING


@dataclass(slots=True)
class _Bench:
    """Runs cases; policies that several cases share are read once. `beside` are files tested where none are named."""

    beside: tuple[str, ...]
    directory: str
    tally: Tally = field(default_factory=Tally)
    engines: dict[tuple[object, ...], Engine] = field(default_factory=dict)

    def run(self, test: PolicyTest, case: Case) -> Result:
        given = premises(test, case)
        engine = self._engine(given, case)
        at = given.now or WALL_CLOCK()
        store = FactStore(empty_snapshot(engine.documents.vocabulary.joins()))
        for text in given.messages:
            store.apply(self._learnt(text, given, case))
        store.apply(facts_of(given.facts, engine.documents.vocabulary, at, case.location))
        result = run_case(case, Ground(engine.rules, store.snapshot, at))
        for trace in result.traces:
            self.tally.note(trace)
        return result

    def _engine(self, given: Premises, case: Case) -> Engine:
        """By the documents that the case names, else those beside it; with what stands in its own file."""
        named = tuple(str(_beside(case, name)) for name in given.documents) or self.beside
        key = (named, case.location.file, given.organization, given.timezone)
        if key not in self.engines:
            _zone(given, case)
            organization, timezone = given.organization, given.timezone
            engine = Engine.load(case.location.file, *named, organization=organization, timezone=timezone)
            if not engine.documents.policy_sets:
                hint = "name them under given.documents, or give their folder"
                raise DocumentError("there are no policies to test", hint=hint, location=case.location)
            self.tally.watch(engine.rules)
            self.engines[key] = engine
        return self.engines[key]

    def _learnt(self, text: str, given: Premises, case: Case) -> tuple[Change, ...]:
        """What a message, or a file that holds one, would have taught a gateway."""
        body = text.encode("utf-8") if text.lstrip().startswith("MSH") else _bytes(_beside(case, text), case)
        body = body.strip() if b"\r" in body else body.strip().replace(b"\n", b"\r")
        at = (given.now or WALL_CLOCK()).astimezone(_zone(given, case))
        try:
            return changes_of(body, self._people(given, case), PatientIdentifiers({}, lenient=True), at)
        except SpirError as error:
            raise DocumentError(f"a message of this case: {error.message}", location=case.location) from error

    def _people(self, given: Premises, case: Case) -> Directory:
        path = _beside(case, given.directory) if given.directory else Path(self.directory) if self.directory else None
        if path is None:
            return Directory()
        return Directory.parse(_bytes(path, case).decode("utf-8", "replace"), str(path))


def _zone(given: Premises, case: Case) -> ZoneInfo:
    try:
        return ZoneInfo(given.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"there is no time zone `{given.timezone[:60]}`"
        raise DocumentError(message, hint="as Asia/Shanghai", location=case.location) from error


def _beside(case: Case, name: str) -> Path:
    return Path(case.location.file).parent / name


def _bytes(path: Path, case: Case) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise DocumentError(f"`{path}` cannot be read: {reason}", location=case.location) from error


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, "utf-8")
    except OSError as error:
        raise RequestError(f"`{name}` cannot be written", hint=error.strerror or "") from error


Suites = list[tuple[PolicyTest, tuple[Result, ...]]]


def _json(suites: Suites, coverage: Coverage) -> Mapping[str, object]:
    return {
        "tests": [
            {"name": test.name, "file": test.location.file, "cases": [result.to_json() for result in results]}
            for test, results in suites
        ],
        "coverage": coverage.to_json(),
    }


def _lines(suites: Suites, coverage: Coverage, least: float) -> Iterator[str]:
    for test, results in suites:
        yield f"{test.location.file}: {test.name}"
        for result in results:
            place = "" if result.passed else f"   ({result.case.location})"
            yield f"  {'ok  ' if result.passed else 'FAIL'}  {result.case.name}{place}"
            yield from (f"        {mismatch}" for mismatch in result.mismatches)
    every = [result.passed for _, results in suites for result in results]
    yield f"{sum(every)} passed, {len(every) - sum(every)} failed"
    yield from coverage.lines()
    if coverage.percent < least:
        yield f"the coverage is below {least:g} %"
