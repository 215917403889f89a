"""A vocabulary with every type, random conditions over it, and random complete requests that keep to it.

Plain `random` with a seed: a failure names the seed. Half of the attributes are
absent in half of the requests.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from spir.assurance.proof.world import World
from spir.engine.ruleset import Rule, Site
from spir.language.typecheck import Kind as Type
from spir.language.vocabulary import Declaration, Vocabulary
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Definitely,
    Has,
    ListOf,
    Literal,
    Not,
    Or,
    Variable,
)
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, Validity
from spir.model.request import Action, Entity, Request
from spir.model.value import freeze

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

ROLES = ("physician", "nurse", "clerk")
PLACES = ("cardiology", "radiology", "surgery")
PEOPLE = ("dr.li", "dr.wang", "nurse.sun", "dr.", "d")
PATHS = ("cn", "cn/zj", "cn/zj/hospital-a", "cn/js", "cnx", "us")
IPS = ("10.1.2.3", "10.2.0.1", "::1", "::ffff:10.1.0.9", "nowhere")
LABELS = ("genetic", "hiv", "research")
STATUSES = ("planned", "active", "finished")
MOMENTS = tuple(NOON + timedelta(hours=n) for n in (-20, -2, -1, 0, 1, 2, 20))
NAN = float("nan")  # one object, for it is equal to no other
VERBS, TYPES, CATEGORIES = ("search", "read", "export"), ("imaging", "report"), ("chest", "head")

TEXTS = {
    "subject.id": PEOPLE,
    "subject.role": ROLES,
    "subject.department": PLACES,
    "resource.department": PLACES,
    "resource.author": PEOPLE,
    "resource.modality": ("CR", "DX", "CT", ""),
    "resource.category": CATEGORIES,
    "resource.organization": PATHS,
    "context.organization": PATHS,
    "subject.organization": PATHS,
    "resource.status": STATUSES,
    "context.ip": IPS,
}
INTS = {
    "subject.clearance": (0, 1, 2, 3, -5, 2**60),
    "resource.sensitivity": (1, 2, 3, 4, 5),
    "context.hour": (0, 7, 12, 23),
}
DOUBLES = {"context.trust": (0.0, 0.25, 0.5, 1.0), "context.risk": (-1.5, 0.5, 2.0, 3.0, 7.25)}
LISTS = {"resource.labels": LABELS, "subject.roles": ROLES, "resource.patient.care_team": PEOPLE}
BOOLS = ("context.trusted", "resource.patient.vip")
TIMES = {"resource.created": MOMENTS, "resource.updated": MOMENTS}
REQUIRED = ("action.name", "subject.id", "subject.type", "resource.type", "context.now", "resource.status")

PAIRS = (
    ("subject.department", "resource.department"),
    ("resource.author", "subject.id"),
    ("subject.organization", "resource.organization"),
    ("subject.clearance", "resource.sensitivity"),
    ("context.trust", "context.risk"),
    ("context.hour", "subject.clearance"),
    ("resource.created", "resource.updated"),
    ("resource.created", "context.now"),
    ("context.trusted", "resource.patient.vip"),
    # an int and a double have no exact reading
    ("context.trust", "subject.clearance"),
    ("context.hour", "context.risk"),
)


def _kinds() -> dict[str, Type]:
    found = {path: Type("string") for path in (*TEXTS, "action.name", "subject.type", "resource.type", "resource.id")}
    found["resource.status"] = Type("string", enum=STATUSES)
    found |= {path: Type("int") for path in INTS} | {path: Type("double") for path in DOUBLES}
    found["resource.sensitivity"] = Type("int", least=1, most=5)
    found["context.trust"] = Type("double", least=0, most=1)
    found |= {path: Type("list<string>") for path in LISTS} | {path: Type("bool") for path in BOOLS}
    found |= {path: Type("timestamp") for path in (*TIMES, "context.now")}
    return found | {"resource.patient": Type("map")}


VOCABULARY = Vocabulary(
    frozenset(VERBS),
    {type: frozenset(CATEGORIES) for type in TYPES},
    {path: Declaration(path, kind, required=path in REQUIRED) for path, kind in _kinds().items()},
)


def world(organization: str = "cn/zj/hospital-a") -> World:
    return World(VOCABULARY, Site(organization, SHANGHAI), NOON)


class Cases:
    """`plain` leaves out what has no exact reading."""

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        self.random = Random(seed)
        self.choose = self.random.choice
        self.plain = plain

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # -- conditions --

    def condition(self, depth: int = 2) -> Condition:
        kind = self.random.random() if depth else 0.0
        if kind < 0.3:
            return self.atom()
        if kind < 0.65:
            return And(self.several(depth))
        if kind < 0.83:
            return Or(self.several(depth))
        if kind < 0.91:
            return Not(self.condition(depth - 1))
        if kind < 0.96:
            return Conditional(*(self.condition(depth - 1) for _ in range(3)))
        return Definitely(self.condition(depth - 1))

    def several(self, depth: int) -> tuple[Condition, ...]:
        return tuple(self.condition(depth - 1) for _ in range(self.choose((2, 2, 3))))

    def conjunction(self, most: int = 5) -> Condition:
        return And(tuple(self.atom() for _ in range(self.random.randint(1, most))))

    def atom(self) -> Condition:
        exact = (self.text, self.text, self.member, self.number, self.number, self.pair, self.pair, self.switch)
        more = (self.has, self.start, self.clock, self.time, self.network, self.label, self.constant)
        whole = () if self.plain else (self.odd, self.odd, self.members)
        return self.choose((*exact, *more, *whole))()

    def path(self, paths: Any) -> Attribute:
        return Attribute(self.choose(tuple(paths)))

    def sides(self, op: str, left: Condition, right: Condition) -> Compare:
        return Compare(op, left, right) if self.chance(0.8) else Compare(op, right, left)

    def text(self) -> Condition:
        path = self.path(TEXTS)
        op = self.choose(("==", "==", "==", "!=", "!=", "<", "<=", ">", ">="))
        return self.sides(op, path, Literal(self.choose(TEXTS[path.path])))

    def member(self) -> Condition:
        path = self.path(TEXTS)
        values = TEXTS[path.path]
        some = tuple(self.random.sample(values, self.random.randint(0, len(values) - 1)))
        if self.chance(0.2):
            return Compare("in", path, ListOf((*map(Literal, some), self.path(TEXTS))))
        return Compare("in", path, Literal(some if self.chance(0.9) else (*some, 3)))

    def number(self) -> Condition:
        path = self.path({**INTS, **DOUBLES})
        values: tuple[float, ...] = (*INTS.get(path.path, (1, 3)), *DOUBLES.get(path.path, (2.5, 0.5)), 10)
        op = self.choose(("==", "!=", "<", "<=", ">", ">=", "in"))
        if op == "in":
            return Compare(op, path, Literal(tuple(self.random.sample(values, 2))))
        return self.sides(op, path, Literal(self.choose(values)))

    def pair(self) -> Condition:
        left, right = self.choose(PAIRS[:-2] if self.plain else PAIRS)
        op = self.choose(("==", "==", "!=", "<", "<=", ">", ">="))
        if self.chance(0.05):
            right = left
        return self.sides(op, Attribute(left), Attribute(right))

    def switch(self) -> Condition:
        path = self.path(BOOLS)
        op = self.choose(("==", "!=", "<", ">="))
        return self.choose((path, Compare(op, path, Literal(self.choose((True, False))))))

    def has(self) -> Condition:
        return Has(self.path((*TEXTS, *INTS, *BOOLS, *LISTS, "resource.patient", "context.now")))

    def start(self) -> Condition:
        name = self.choose(("startsWith", "org.under"))
        if name == "startsWith":
            return Call(
                name,
                (
                    Attribute(self.choose(("resource.author", "subject.id"))),
                    Literal(self.choose(("dr.", "d", "", "x"))),
                ),
            )
        path = self.choose(("resource.organization", "subject.organization", "context.organization"))
        return Call(name, (Attribute(path), Literal(self.choose((*PATHS, "")))))

    def clock(self) -> Condition:
        clocks = ("00:00", "08:00", "12:00", "20:00", "20:00:01", "24:00")
        return Call("time.between", (Literal(self.choose(clocks)), Literal(self.choose(clocks))))

    def time(self) -> Condition:
        path = self.path((*TIMES, "context.now"))
        op = self.choose(("==", "<", "<=", ">", ">=", "!="))
        constant = (
            Literal(self.choose(MOMENTS)) if self.chance(0.7) else Call("timestamp", (Literal("2026-11-21T12:00:00Z"),))
        )
        if self.chance(0.2):
            return Call("within", (constant, Literal("1h"), Literal(timedelta(minutes=90))))
        if self.chance(0.2):
            zone = (Literal(self.choose(("Asia/Shanghai", "Europe/Berlin"))),) if self.chance(0.8) else ()
            zone = (Literal("Asia/Shanghai"),) if self.plain else zone
            return Compare(op, Call("getHours", (Attribute("context.now"), *zone)), Literal(self.choose((8, 20, 7.5))))
        return self.sides(op, path, constant)

    def network(self) -> Condition:
        return Call(
            "ip.in", (Attribute("context.ip"), Literal(self.choose(("10.1.0.0/16", "10.0.0.0/8", "::/64", "::1/128"))))
        )

    def label(self) -> Condition:
        path = self.path(LISTS)
        member = (
            self.path(("subject.id", "subject.role")) if self.chance(0.3) else Literal(self.choose(LISTS[path.path]))
        )
        return Compare("in", member, path)

    def members(self) -> Condition:
        """Of a list, in the long way."""
        name, path = Variable("l"), self.path(LISTS)
        one, some = Literal(self.choose(LISTS[path.path])), Literal(self.some(LISTS[path.path]))
        kind, body = self.choose(
            (
                ("exists", Compare("==", name, one)),
                ("exists", Compare("in", name, some)),
                ("exists", Compare("==", name, Literal(3))),
                ("exists", Compare("!=", name, one)),
                ("all", Compare("!=", name, one)),
                ("all", Not(Compare("in", name, some))),
                ("all", Compare("in", name, some)),
            )
        )
        return Comprehension(kind, path, "l", body)

    def some(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.random.sample(values, self.random.randint(0, 2)))

    def constant(self) -> Condition:
        return self.choose((Literal(True), Literal(False), Literal("x"), Compare("==", Literal(1), Literal("1"))))

    def odd(self) -> Condition:
        """What has no exact reading, or seldom a value at all."""
        author = Attribute("resource.author")
        return self.choose(
            (
                Compare("==", author, Literal(3)),
                Compare("<", Attribute("subject.role"), Attribute("subject.clearance")),
                Compare("==", Attribute("odd"), Literal("x")),
                Attribute("odd.inside"),
                Call("endsWith", (author, Literal("li"))),
                Call("contains", (author, Attribute("subject.id"))),
                Call("matches", (author, Literal("^dr"))),
                Compare(">", Call("size", (Attribute("resource.labels"),)), Literal(1)),
                Compare("==", Attribute("resource.labels"), Literal(("hiv",))),
                Compare(
                    "<", Arithmetic("+", Attribute("subject.clearance"), Literal(1)), Attribute("resource.sensitivity")
                ),
                Compare(">", Arithmetic("/", Attribute("context.hour"), Attribute("subject.clearance")), Literal(1)),
                Call("within", (Attribute("resource.created"), Literal("1h"), Literal("24h"))),
                Comprehension(
                    "exists", Attribute("resource.labels"), "l", Compare("==", Variable("l"), Literal("hiv"))
                ),
                Comprehension(
                    "all", Attribute("subject.roles"), "r", Compare("==", Variable("r"), Attribute("subject.role"))
                ),
                Compare("==", Not(Attribute("context.trusted")), Literal(self.choose((True, False)))),
                Compare("==", And((Attribute("context.trusted"), Has(author))), Attribute("resource.patient.vip")),
                Compare("==", Attribute("context.risk"), Literal(NAN)),
                Call("terminology.matches", (author, Literal("dr.li"), Literal(self.choose((0, 0.5, 1.0))))),
            )
        )

    # -- rules --

    def rule(self, when: Condition | None = None) -> Rule:
        def place(names: tuple[str, ...]) -> str:
            return self.choose((*names, "*"))

        patterns = tuple(
            OperationPattern(place(VERBS), place(TYPES), place(CATEGORIES)) for _ in range(self.choose((1, 1, 2, 3)))
        )
        valid = Validity(*(self.choose((None, None, *MOMENTS)) for _ in range(2)))
        kind, missing = self.choose(tuple(Kind)), self.choose(tuple(OnMissing))
        policy = Policy("p", kind, patterns, when or self.condition(), valid=valid, on_missing=missing)
        return Rule(policy, self.choose(tuple(Layer)), self.choose(("", "cn", "cn/zj", "cn/zj/hospital-a", "us")))

    # -- requests --

    def request(self) -> Request:
        """Every attribute, or half of them; what is required always."""
        present = self.choose((1.0, 0.5))
        given: dict[str, Any] = {
            path: self.choose(values) for path, values in {**TEXTS, **INTS, **DOUBLES, **TIMES}.items()
        }
        given |= {path: self.random.sample(values, self.random.randint(0, 2)) for path, values in LISTS.items()}
        given |= {path: self.chance(0.5) for path in BOOLS}
        kept = {path: value for path, value in given.items() if path in REQUIRED or self.chance(present)}
        tree: dict[str, dict[str, Any]] = {"subject": {}, "resource": {}, "context": {}}
        for path, value in kept.items():
            side, *names = path.split(".")
            place = tree[side]
            for name in names[:-1]:
                place = place.setdefault(name, {})
            place[names[-1]] = value
        who = tree["subject"].pop("id")
        return Request(
            Entity("person", who, freeze(tree["subject"])),  # type: ignore[arg-type]
            Action(self.choose(VERBS)),
            Entity(self.choose(TYPES), self.choose(("", "1")), freeze(tree["resource"])),  # type: ignore[arg-type]
            freeze(tree["context"]),  # type: ignore[arg-type]
        )

    def moment(self) -> datetime:
        return self.choose(MOMENTS) + timedelta(seconds=self.choose((0, 0, 1, -1, 1800)))


def many() -> Condition:
    """More alternatives than boxes are made for."""
    texts = [Attribute(path) for path in ("subject.role", "subject.department", "resource.author")]
    numbers = [Attribute(path) for path in ("subject.clearance", "context.hour", "context.risk", "context.trust")]
    return And(
        tuple(
            Or((Compare("==", text, Literal("x")), Compare(">", number, Literal(at))))
            for text in texts
            for at, number in enumerate(numbers)
        )
    )
