"""The checks there are, and their manual: what each finds is its function's docstring, written for readers.

The order is that of the manual and of a run: first what is about one policy,
then pairs, then unions of policies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from spir.assurance.checks.conflict import conflict
from spir.assurance.checks.dead import dead
from spir.assurance.checks.examination import Examination
from spir.assurance.checks.gap import gap
from spir.assurance.checks.indeterminate import indeterminate
from spir.assurance.checks.layers import layers
from spir.assurance.checks.obligations import obligations
from spir.assurance.checks.redundancy import redundancy
from spir.assurance.checks.shadowing import shadowing
from spir.assurance.checks.source import source
from spir.assurance.checks.subsumption import subsumption
from spir.assurance.checks.ungoverned import ungoverned
from spir.assurance.checks.unreachable import unreachable
from spir.assurance.checks.weakening import weakening
from spir.assurance.finding import Finding

__all__ = ["CHECKS", "Check", "manual"]

Run: TypeAlias = Callable[[Examination], Iterator[Finding]]

PREFACE = """# What `spir check` finds

One page for each check, as `spir check --manual` prints them. An **error** means that a policy can never do
what it says; a **warning** must be mended or acknowledged; a **note** is for the reader.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the policies. `run` yields what it found, and its docstring is the manual page."""

    id: str
    run: Run

    @property
    def manual(self) -> str:
        return inspect.cleandoc(self.run.__doc__ or "")

    @property
    def title(self) -> str:
        return self.manual.partition("\n")[0].rstrip(".")


def manual(ids: tuple[str, ...] = ()) -> str:
    """The manual as Markdown; with `ids` the pages of these checks only."""
    pages = (f"## {check.id}\n\n{check.manual}\n" for check in CHECKS.values() if not ids or check.id in ids)
    return "\n".join((*(() if ids else (PREFACE,)), *pages))


def _named(*checks: Check) -> Mapping[str, Check]:
    return MappingProxyType({check.id: check for check in checks})


CHECKS: Mapping[str, Check] = _named(
    Check("dead", dead),
    Check("conflict", conflict),
    Check("weakening", weakening),
    Check("ungoverned", ungoverned),
    Check("subsumption", subsumption),
    Check("obligations", obligations),
    Check("gap", gap),
    Check("unreachable", unreachable),
    Check("source", source),
    Check("shadowing", shadowing),
    Check("redundancy", redundancy),
    Check("indeterminate", indeterminate),
    Check("layers", layers),
)
