"""The short spelling of the source's templates, which parses to the same tree as CEL.

    role == 'doctor'      dept::in('cardiology')      time::between('08:00', '17:00')
    owner != subject.id   classification == 'PHI'

It is CEL with two additions: bare names, which a table (and the dimension they
stand under) gives their full path, and `name::function(arguments)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from spir.errors import ConditionError, Location
from spir.language.cel import LOOPS, RESERVED, ROOTS, Declared, Parser
from spir.language.lexer import Source, Token, Word, short
from spir.language.nearest import suggestion
from spir.language.typecheck import Kind
from spir.language.values.functions import FUNCTIONS
from spir.model.condition import And, Attribute, Compare, Condition, ListOf, Literal

__all__ = ["ShortNames", "parse_short"]


class ShortNames(Declared, Protocol):
    """What a vocabulary knows of bare names."""

    @property
    def short(self) -> Mapping[str, str]: ...

    def kind(self, path: str) -> Kind | None: ...


def parse_short(
    text: str,
    vocabulary: ShortNames,
    *,
    dimension: str = "",
    location: Location | None = None,
    variables: Collection[str] = (),
) -> Condition:
    """The condition that `text` says. Raises ConditionError with the place of what is wrong.

    `dimension` is where bare names are looked for first, in the source's words
    or ours: subject, resource or object, action or operation, context or environment.
    `variables` are names that somebody will have bound before it is evaluated.
    """
    parser = _ShortParser(Source(text, location), vocabulary, ROOTS.get(dimension, ""), variables)
    condition = parser.whole()
    vocabulary.check(condition, parser.place)
    return condition


class _ShortParser(Parser):
    def __init__(self, source: Source, vocabulary: ShortNames, dimension: str, variables: Collection[str] = ()) -> None:
        super().__init__(source, vocabulary, variables)
        self.names = vocabulary
        self.dimension = dimension

    def name(self, token: Token) -> Condition:
        if self.at(":") and self.following().text == ":":
            return self.colons(token)
        if token.text in self.bound or token.text in RESERVED or token.text in ROOTS or self.at("("):
            return super().name(token)
        path = self.path(token.text)
        if path is None:
            return super().name(token)
        return self.made(Attribute(path), token)

    def path(self, name: str) -> str | None:
        """The attribute a bare name stands for: of its dimension if there is one of that name, else by the table."""
        own = f"{self.dimension}.{name}"
        if self.dimension and self.names.kind(own) is not None:
            return own
        return self.names.short.get(name)

    def colons(self, token: Token) -> Condition:
        """`name::function(arguments)`."""
        self.expect(":")
        self.expect(":")
        last = self.advance()
        if last.word is not Word.NAME or not self.at("("):
            raise self.unexpected(last, "write name::function(arguments)")
        qualified = f"{token.text}.{last.text}"
        if qualified in FUNCTIONS:
            return self.qualified(token, qualified)
        path = self.path(token.text)
        if path is None:
            raise self.unknown_name(token)
        return self.applied(self.made(Attribute(path), token), last)

    def applied(self, attribute: Condition, token: Token) -> Condition:
        """A function of the attribute: membership, an interval, or a method as CEL has it."""
        match token.text:
            case "in":
                return self.made(Compare("in", attribute, self.members(token)), token)
            case "between":
                return self.interval(attribute, token)
            case name if name in LOOPS or (name in FUNCTIONS and FUNCTIONS[name].receiver):
                return self.method(attribute, token)
        raise self.no_function(token)

    def no_function(self, token: Token) -> ConditionError:
        known = ["in", "between", *LOOPS, *(name for name, found in FUNCTIONS.items() if found.receiver)]
        return self.error(f"`{short(token.text)}` is no function", token, suggestion(token.text, known))

    def members(self, token: Token) -> Condition:
        """The list after `::in`: its arguments, or the one argument if that is a list itself."""
        arguments = self.arguments()
        if not arguments:
            raise self.error("`in` needs at least one value", token)
        first = arguments[0]
        if len(arguments) == 1 and not (isinstance(first, Literal) and not isinstance(first.value, tuple)):
            return first
        values = [argument.value for argument in arguments if isinstance(argument, Literal)]
        made = Literal(tuple(values)) if len(values) == len(arguments) else ListOf(tuple(arguments))
        return self.made(made, token)

    def interval(self, attribute: Condition, token: Token) -> Condition:
        """`x::between(least, most)`: both ends belong to it."""
        arguments = self.arguments()
        if len(arguments) != 2:
            raise self.error("`between` takes the least and the most", token)
        least = self.made(Compare(">=", attribute, arguments[0]), token)
        most = self.made(Compare("<=", attribute, arguments[1]), token)
        return self.made(And((least, most)), token)
