"""Read a condition written in CEL, in the subset that policies may use.

The subset is the CEL grammar without messages, unsigned numbers, optionals,
containers and extensions; with the functions of `spir.language.values.functions`.
Names that begin at subject, resource, action or context are attributes, and
become one node with the whole path; object, operation and environment are
other words for the last three.

Nothing is evaluated here but constants that can be meant in one way only:
lists, maps, times and durations written out. Size, depth and the nesting of
loops are bounded, so that no text makes the reader or an evaluator run away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from types import MappingProxyType
from typing import Protocol

from spir.errors import ConditionError, Location
from spir.language.lexer import ROOTS, Source, Token, TokenStream, Word, short
from spir.language.nearest import nearest, suggestion
from spir.language.values.functions import FUNCTIONS, Function, call
from spir.language.values.operators import MAX_INT, Invalid
from spir.language.values.scalars import EPOCH
from spir.language.walk import children
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Negate,
    Not,
    Or,
    Select,
    Variable,
)

__all__ = ["LOOPS", "MAX_DEPTH", "MAX_NODES", "RESERVED", "ROOTS", "Declared", "Parser", "height", "parse"]

MAX_DEPTH = 64  # levels of the tree
MAX_NESTING = 48  # brackets within brackets
MAX_NODES = 8192
MAX_LOOPS = 4  # comprehensions within comprehensions

LOOPS = ("exists", "all", "exists_one", "filter", "map")
# fmt: off
RESERVED = frozenset((
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
    "null", "package", "namespace", "return", "true", "var", "void", "while",
))
# fmt: on
_NAMESPACES = frozenset(name.partition(".")[0] for name in FUNCTIONS if "." in name)
_CONSTANTS: Mapping[str, bool | None] = MappingProxyType({"true": True, "false": False, "null": None})
_UNARY = frozenset(("!", "-"))
_SUFFIXES = frozenset((".", "[", "{"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_RANKS: Mapping[str, int] = MappingProxyType(
    {
        "||": 1,
        "&&": 2,
        **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
        **dict.fromkeys(("+", "-"), 4),
        **dict.fromkeys(("*", "/", "%"), 5),
    }
)


class Declared(Protocol):
    """What a vocabulary knows that a parser asks for."""

    def check(self, condition: Condition, where: Callable[[Condition], Location | None] = ...) -> None:
        """Raises ConditionError for undeclared attributes and senseless comparisons."""

    def similar(self, name: str) -> str | None:
        """The full path of the attribute that was probably meant by a bare name."""


def parse(
    text: str,
    *,
    vocabulary: Declared | None = None,
    location: Location | None = None,
    variables: Collection[str] = (),
) -> Condition:
    """The condition that `text` says. Raises ConditionError with the place of what is wrong.

    `location` is where the text begins in its document (column 0: not known).
    `variables` are names that somebody will have bound before it is evaluated.
    """
    source = Source(text, location)
    parser = Parser(source, vocabulary, variables)
    condition = parser.whole()
    if vocabulary is not None:
        vocabulary.check(condition, parser.place)
    return condition


class Parser(TokenStream):
    """Recursive descent over the tokens, with precedence climbing for binary operators."""

    def __init__(self, source: Source, vocabulary: Declared | None, variables: Collection[str]) -> None:
        super().__init__(source)
        self.vocabulary = vocabulary
        self.bound = list(variables)
        self.nesting = 0
        self.loops = 0
        # by identity, as equal nodes may stand in several places; the node is kept so that its identity stays its own
        self.places: dict[int, tuple[int, Condition]] = {}

    def whole(self) -> Condition:
        condition = self.expression()
        if self.token.word is not Word.END:
            raise self.unexpected(self.token)
        # no tree is higher than it has nodes, and a node that is not among the places has a parent that is
        if len(self.places) * 2 > MAX_DEPTH and height(condition) > MAX_DEPTH:
            raise self.error(
                "the condition is nested too deeply", self.tokens[0], f"at most {MAX_DEPTH} levels are read"
            )
        return condition

    def place(self, node: Condition) -> Location | None:
        found = self.places.get(id(node))
        return self.source.place(found[0] if found else 0)

    def made(self, node: Condition, token: Token) -> Condition:
        self.places[id(node)] = (token.at, node)
        if len(self.places) > MAX_NODES:
            raise self.error("the condition is too large", token, f"at most {MAX_NODES} parts are read")
        return node

    # -- operators --

    def expression(self) -> Condition:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.error(
                "the condition is nested too deeply", self.token, f"at most {MAX_NESTING} levels of brackets"
            )
        start = self.token
        found = self.binary(1)
        if self.take("?"):
            yes = self.binary(1)
            self.expect(":")
            found = self.made(Conditional(found, yes, self.expression()), start)
        self.nesting -= 1
        return found

    def binary(self, lowest: int) -> Condition:
        """Operators of at least the rank `lowest`, which is 1 or more."""
        left = self.unary()
        while True:
            token = self.tokens[self.index]
            rank = _RANKS.get(token.text, 0)  # no other token is written like an operator
            if rank < lowest:
                return left
            self.index += 1
            left = self.made(_operation(token.text, left, self.binary(rank + 1)), token)

    def unary(self) -> Condition:
        if self.tokens[self.index].text not in _UNARY:
            return self.member(self.primary())
        signs = []
        while self.tokens[self.index].text in _UNARY:
            signs.append(self.advance())
        if signs[-1].text == "-" and self.token.word in (Word.INT, Word.DOUBLE):
            found = self.member(self.number(self.advance(), signs.pop()))
        else:
            found = self.member(self.primary())
        for sign in reversed(signs):
            found = self.made(Not(found) if sign.text == "!" else Negate(found), sign)
        return found

    # -- members --

    def member(self, found: Condition) -> Condition:
        start = self.tokens[self.index - 1]
        while True:
            token = self.tokens[self.index]
            if token.text not in _SUFFIXES:  # no other token is written like one of these signs
                return self.used(found, start)
            self.advance()
            match token.text:
                case ".":
                    found = self.dotted(found, token)
                case "[":
                    found = self.indexed(found, token, start)
                case _:
                    raise self.error("messages are not part of the language", token, "a map is written {'key': value}")

    def used(self, node: Condition, token: Token) -> Condition:
        if isinstance(node, Attribute) and "." not in node.path:
            raise self.error(
                f"`{token.text}` is a dimension, not an attribute", token, f"write `{token.text}.` and a name"
            )
        return node

    def dotted(self, operand: Condition, dot: Token) -> Condition:
        token = self.advance()
        if token.word is Word.QUOTED_NAME:
            return self.quoted(operand, token)
        if token.word is not Word.NAME:
            raise self.unexpected(token, "optional fields are not part of the language" if token.text == "?" else "")
        if self.at("("):
            return self.method(self.used(operand, dot), token)
        return self.selected(operand, token.text, token)

    def selected(self, operand: Condition, name: str, token: Token) -> Condition:
        if isinstance(operand, Attribute):
            return self.made(Attribute(f"{operand.path}.{name}"), token)
        return self.made(Select(operand, name), token)

    def quoted(self, operand: Condition, token: Token) -> Condition:
        name = str(token.value)
        if _NAME.fullmatch(name):
            return self.selected(operand, name, token)
        return self.made(Index(self.used(operand, token), Literal(name)), token)

    def indexed(self, operand: Condition, token: Token, start: Token) -> Condition:
        if self.take("?"):
            raise self.error("optional fields are not part of the language", token)
        key = self.expression()
        self.expect("]")
        # `resource.patient["id"]` and `resource.patient.id` are one attribute
        name = key.value if isinstance(key, Literal) and isinstance(key.value, str) else ""
        if isinstance(operand, Attribute) and _NAME.fullmatch(name):
            return self.selected(operand, name, token)
        return self.made(Index(self.used(operand, start), key), token)

    # -- calls --

    def arguments(self) -> list[Condition]:
        self.expect("(")
        return self.several(")")

    def several(self, closing: str) -> list[Condition]:
        """Expressions up to the closing bracket; a comma may follow the last in a list."""
        found: list[Condition] = []
        while not self.take(closing):
            if found:
                self.expect(",")
                if closing == "]" and self.take(closing):
                    break
            found.append(self.expression())
        return found

    def method(self, receiver: Condition, token: Token) -> Condition:
        if token.text in LOOPS:
            return self.loop(receiver, token)
        function = FUNCTIONS.get(token.text)
        if function is None or not function.receiver:
            names = [name for name, known in FUNCTIONS.items() if known.receiver]
            raise self.unknown_function(token, token.text, [*names, *LOOPS], function)
        return self.called(function, [receiver, *self.arguments()], token)

    def free(self, token: Token) -> Condition:
        if token.text == "has":
            return self.has(token)
        if token.text == "dyn":  # says only that types are not checked
            return self.single(token)
        function = FUNCTIONS.get(token.text)
        if function is None or not function.free:
            names = [name for name, known in FUNCTIONS.items() if known.free and "." not in name]
            raise self.unknown_function(token, token.text, [*names, "has", "dyn"], function)
        return self.called(function, self.arguments(), token)

    def namespaced(self, token: Token) -> Condition:
        self.expect(".")
        return self.qualified(token, f"{token.text}.{self.advance().text}")

    def qualified(self, token: Token, name: str) -> Condition:
        """The call of a function in a namespace, from its arguments on."""
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.unknown_function(token, name, [known for known in FUNCTIONS if "." in known], None)
        arguments = self.arguments()
        if name == "ip.in" and len(arguments) == 1:
            arguments = [self.made(Attribute("context.ip"), token), *arguments]
        return self.called(function, arguments, token)

    def unknown_function(self, token: Token, name: str, known: list[str], other: Function | None) -> ConditionError:
        hint = f"write `{other.signature()}`" if other else suggestion(name, known)
        return self.error(f"`{short(name)}` is no function", token, hint)

    def called(self, function: Function, arguments: list[Condition], token: Token) -> Condition:
        if not function.least <= len(arguments) <= len(function.parameters):
            raise self.error(
                f"`{function.name}` does not take {_count(arguments)}", token, f"write `{function.signature()}`"
            )
        for parameter, argument in zip(function.parameters, arguments, strict=False):
            if isinstance(argument, Literal) and not parameter.accepts(argument.value):
                form = parameter.form or f"of type {' or '.join(parameter.types)}"
                raise self.source.error(
                    f"`{parameter.name}` of `{function.name}` must be {form}", self.places[id(argument)][0]
                )
        return self.made(self.constant(function, tuple(arguments), token), token)

    def constant(self, function: Function, arguments: tuple[Condition, ...], token: Token) -> Condition:
        """The call; a time or a duration that is written out becomes a literal."""
        values = [argument.value for argument in arguments if isinstance(argument, Literal)]
        if len(values) < len(arguments):
            return Call(function.name, arguments)
        try:
            value = call(function.name, values, EPOCH, UTC)
        except Invalid as error:
            raise self.error(f"this `{function.name}` never has a value", token) from error
        return Literal(value) if function.name in ("timestamp", "duration") else Call(function.name, arguments)

    def single(self, token: Token) -> Condition:
        arguments = self.arguments()
        if len(arguments) != 1:
            raise self.error(f"`{token.text}` takes one argument", token)
        return arguments[0]

    def has(self, token: Token) -> Condition:
        operand = self.single(token)
        if not isinstance(operand, (Attribute, Select, Index)):
            raise self.error("`has` takes an attribute or a field", token, "as in `has(resource.modality)`")
        return self.made(Has(operand), token)

    def loop(self, over: Condition, token: Token) -> Condition:
        """`over.kind(name, body[, result])`."""
        self.expect("(")
        name = self.advance()
        if name.word is not Word.NAME or name.text in RESERVED or name.text in ROOTS:
            raise self.error(
                f"`{short(name.text)}` cannot name what `{token.text}` goes through", name, "take a plain name"
            )
        self.loops += 1
        if self.loops > MAX_LOOPS:
            raise self.error("too many loops within loops", token, f"at most {MAX_LOOPS} are read")
        self.bound.append(name.text)
        self.expect(",")
        parts = self.several(")")
        self.bound.pop()
        self.loops -= 1
        if not 1 <= len(parts) <= (2 if token.text == "map" else 1):
            raise self.error(f"`{token.text}` takes a name and a condition", token)
        result = parts[1] if len(parts) > 1 else None
        return self.made(Comprehension(token.text, over, name.text, parts[0], result), token)

    # -- what begins an expression --

    def primary(self) -> Condition:
        token = self.tokens[self.index]
        read = _PRIMARIES.get(token.word)
        if read is None:
            raise self.unexpected(token)
        self.index += 1
        return read(self, token)

    def literal(self, token: Token) -> Condition:
        return self.made(Literal(token.value), token)

    def number(self, token: Token, minus: Token | None = None) -> Condition:
        value = token.value
        assert isinstance(value, (int, float))
        if isinstance(value, int) and value > MAX_INT + (minus is not None):
            raise self.error(f"`{short(token.text)}` is out of range", minus or token, "whole numbers have 64 bits")
        return self.made(Literal(value if minus is None else -value), minus or token)

    def bracket(self, token: Token) -> Condition:
        match token.text:
            case "(":
                inner = self.expression()
                self.expect(")")
                return inner
            case "[":
                return self.made(_list(self.several("]")), token)
            case "{":
                return self.made(self.map(token), token)
            case _:
                raise self.unexpected(token)

    def map(self, token: Token) -> Condition:
        entries: list[tuple[Condition, Condition]] = []
        while not self.take("}"):
            if entries:
                self.expect(",")
                if self.take("}"):
                    break
            key_token = self.token
            key = self.expression()
            if isinstance(key, Literal) and not isinstance(key.value, str):
                raise self.error("the keys of a map are texts", key_token)
            if isinstance(key, Literal) and any(key == known for known, _ in entries):
                raise self.error(f"the key `{short(str(key.value))}` is there twice", key_token)
            self.expect(":")
            entries.append((key, self.expression()))
        return _map(entries)

    def name(self, token: Token) -> Condition:
        if token.text in _CONSTANTS:
            return self.made(Literal(_CONSTANTS[token.text]), token)
        if token.text in RESERVED:
            raise self.unexpected(token, "it is a reserved word")
        if self.at("("):
            return self.free(token)
        if token.text in self.bound:
            return self.made(Variable(token.text), token)
        if token.text in _NAMESPACES and self.at(".") and self.following(2).text == "(":
            return self.namespaced(token)
        if token.text in ROOTS:
            return self.made(Attribute(ROOTS[token.text]), token)
        raise self.unknown_name(token)

    def attribute(self, token: Token) -> Condition:
        """A path written in one go. Its place is that of its last name, as it is for one in pieces."""
        root, _, rest = token.text.partition(".")
        last = token.at + token.text.rfind(".") + 1
        if root not in self.bound:
            found: Condition = Attribute(f"{ROOTS[root]}.{rest}")
            self.places[id(found)] = (last, found)
            return found
        found = Variable(root)
        for name in rest.split("."):
            found = self.made(Select(found, name), token._replace(at=last))
        return found

    def unknown_name(self, token: Token) -> ConditionError:
        meant = self.vocabulary.similar(token.text) if self.vocabulary else None
        meant = meant or nearest(token.text, [*self.bound, *ROOTS])
        hint = f"did you mean `{meant}`?" if meant else "attributes begin with subject, resource, action or context"
        return self.error(f"`{short(token.text)}` is not known", token, hint)


_PRIMARIES: Mapping[Word, Callable[[Parser, Token], Condition]] = MappingProxyType(
    {
        Word.PATH: lambda parser, token: parser.attribute(token),
        Word.NAME: lambda parser, token: parser.name(token),  # which the short spelling reads in its own way
        Word.STRING: Parser.literal,
        Word.BYTES: Parser.literal,
        Word.INT: Parser.number,
        Word.DOUBLE: Parser.number,
        Word.SIGN: Parser.bracket,
    }
)


# -- building --------------------------------------------------------------------------------


def _operation(op: str, left: Condition, right: Condition) -> Condition:
    match op:
        case "&&":
            return And((*_parts(left, And), *_parts(right, And)))
        case "||":
            return Or((*_parts(left, Or), *_parts(right, Or)))
        case "+" | "-" | "*" | "/" | "%":
            return Arithmetic(op, left, right)
        case _:
            return Compare(op, left, right)


def _parts(node: Condition, kind: type[And] | type[Or]) -> tuple[Condition, ...]:
    return node.items if isinstance(node, kind) else (node,)


def _list(items: list[Condition]) -> Condition:
    values = tuple(item.value for item in items if isinstance(item, Literal))
    return Literal(values) if len(values) == len(items) else ListOf(tuple(items))


def _map(entries: list[tuple[Condition, Condition]]) -> Condition:
    values = {
        key.value: value.value
        for key, value in entries
        if isinstance(key, Literal) and isinstance(key.value, str) and isinstance(value, Literal)
    }
    return Literal(MappingProxyType(values)) if len(values) == len(entries) else MapOf(tuple(entries))


def height(condition: Condition) -> int:
    """Levels of the tree, without recursion: the tree may be too deep for it."""
    highest, waiting = 0, [(condition, 1)]
    while waiting:
        node, level = waiting.pop()
        highest = max(highest, level)
        waiting.extend((child, level + 1) for child in children(node))
    return highest


def _count(arguments: list[Condition]) -> str:
    return "1 argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
