"""What policies say again and again, read once: operations, and the parts of their conditions.

Most conditions are comparisons joined by `&&`, and the comparisons of a site
are few: who works where, who treats whom, what may leave the house. So a
condition is divided at its outermost `&&`, and each part is read by the parser
(`spir.language.cel`) when it is first met. What does not divide with certainty
is given to the parser whole, and so is what has an error in it: only the whole
text knows the places.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from spir.errors import ConditionError, DocumentError, Location, RequestError
from spir.language.cel import MAX_DEPTH, MAX_NODES, height, parse
from spir.language.comparison import comparison
from spir.language.form import text_of
from spir.language.lexer import PLAIN_TEXT
from spir.language.nodes import Node
from spir.language.short import ShortNames, parse_short
from spir.language.vocabulary import Vocabulary
from spir.model.condition import And, Condition
from spir.model.policy import OperationPattern

__all__ = ["Conditions", "Operations", "Phrases", "divided"]

_SPACE = "\t\n\f\r "
# Texts without escapes, brackets in pairs, and whatever cannot begin or end either, nor a comment.
_INNER = rf""" (?: [^"'`/\\()\[\]{{}}]++ | {PLAIN_TEXT} )*+ """
_OUTER = rf""" (?: [^"'`/\\()\[\]{{}}]++ | {PLAIN_TEXT} | \( {_INNER} \) | \[ {_INNER} \] )*+ """
# INVARIANT: outside of texts and brackets there is no `&` in a part, and nothing that binds less than `&&`
_PART = re.compile(
    rf""" ( (?: [^"'`/\\()\[\]{{}}&|?]++ | {PLAIN_TEXT} | \( {_OUTER} \) | \[ {_OUTER} \] )++ ) (?: && | \Z ) | .+ """,
    re.VERBOSE | re.DOTALL,
)


def divided(text: str) -> list[str]:
    """What stands between the outermost `&&`; nothing if that is not certain."""
    parts: list[str] = _PART.findall(text)
    whole = sum(map(len, parts)) + 2 * (len(parts) - 1) == len(text)
    return [part.strip(_SPACE) for part in parts] if whole else []


class Operations:
    """The operations that one vocabulary declares, as policies name them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._known: dict[str, OperationPattern] = {}

    def read(self, node: Node) -> OperationPattern:
        """A declared operation or a pattern of them: verb:type or verb:type:category, `*` for any."""
        text = text_of(node, "an operation")
        return self._known.get(text) or self._new(text, node.location)

    def _new(self, text: str, at: Location) -> OperationPattern:
        try:
            pattern = OperationPattern.parse(text)
        except RequestError as error:
            raise DocumentError(error.message, hint=error.hint, location=at) from error
        self.vocabulary.check_operation(pattern, at)
        self._known[text] = pattern
        return pattern


class Conditions:
    """The conditions that can be written with these names. `variables` are others, bound before it is evaluated."""

    def __init__(self, names: ShortNames, variables: Collection[str] = ()) -> None:
        self.names = names
        self.variables = variables
        self._parts: dict[str, Condition] = {}
        self._short: dict[tuple[str, str], Condition] = {}

    def cel(self, text: str, location: Location) -> Condition:
        """As `parse` reads it. Raises ConditionError."""
        # no tree has more nodes than its text has letters
        parts = divided(text) if len(text) <= MAX_NODES else []
        read = [self._parts.get(part) or self._part(part) for part in parts]
        found = [part for part in read if part is not None]
        if not parts or len(found) < len(parts):
            return parse(text, vocabulary=self.names, location=location, variables=self.variables)
        return found[0] if len(found) == 1 else And(tuple(found))

    def _part(self, text: str) -> Condition | None:
        """None if it has an error, or cannot be a part of an And as it is."""
        found = None if self.variables else comparison(text)
        try:
            if found is None:
                found = parse(text, vocabulary=self.names, variables=self.variables)
            else:
                self.names.check(found)
        except ConditionError:
            return None
        if isinstance(found, And) or (len(text) >= MAX_DEPTH and height(found) >= MAX_DEPTH):
            return None
        self._parts[text] = found
        return found

    def short(self, text: str, dimension: str, location: Location | None) -> Condition:
        """As `parse_short` reads it. Raises ConditionError."""
        found = self._short.get((dimension, text))
        if found is None:
            found = self._short[dimension, text] = parse_short(
                text, self.names, dimension=dimension, location=location, variables=self.variables
            )
        return found


@dataclass(frozen=True, slots=True)
class Phrases:
    """Both, for one vocabulary and for as long as its documents are read."""

    vocabulary: Vocabulary
    operations: Operations
    conditions: Conditions

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Phrases:
        return cls(vocabulary, Operations(vocabulary), Conditions(vocabulary))
