"""The check `source`: attributes that nobody can know."""

from __future__ import annotations

from collections.abc import Iterator

from spir.assurance.checks.examination import Examination
from spir.assurance.finding import Finding, Named, Severity
from spir.engine.evaluate import free_attributes
from spir.engine.ruleset import Rule
from spir.language.nearest import suggestion

__all__ = ["source"]


def source(examined: Examination) -> Iterator[Finding]:
    """Attributes that policies ask about and that no source provides.

    Every attribute of a vocabulary says its `source`: the request itself, the
    caller's verified identity, the staff directory, a protocol adapter, the live
    facts, or the engine.

    - **warning**: it names none of these, so that no request will ever carry the attribute.
      A permit that asks about it does not grant, and a deny that asks about it denies
      wherever it applies.

    *Mend:* correct `source` in the vocabulary, or ask about another attribute.
    """
    if all(one.source in examined.surroundings.sources for one in examined.vocabulary.attributes.values()):
        return
    readers = _readers(examined)
    for path, rules in examined.each(sorted(readers.items())):
        declared = examined.vocabulary.declared(path)
        if declared is None or declared.source in examined.surroundings.sources:
            continue
        named = f"its source `{declared.source}` is not known" if declared.source else "it has no source"
        known = sorted(examined.surroundings.sources)
        hint = suggestion(declared.source, known) if declared.source else f"`source` can be {', '.join(known)}"
        place = f" (declared at {declared.location})" if declared.location else ""
        yield Finding(
            "source",
            Severity.WARNING,
            f"nothing provides `{path}`: {named}",
            tuple(Named.of(rule) for rule in rules),
            mend=f"correct it in the vocabulary{place}: {hint}",
            pairs=len(rules),
        )


def _readers(examined: Examination) -> dict[str, list[Rule]]:
    """Attribute -> the rules that ask about it."""
    found: dict[str, list[Rule]] = {}
    for rule in examined.rules.every:
        for path in free_attributes(rule.policy.when):
            found.setdefault(path, []).append(rule)
    return found
