"""Random policies, requests, facts and rows that meet often enough to matter."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from spir.engine.ruleset import RuleSet, Site
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.facts import Assert, Fact, FactStore, Join, Joining, Snapshot, empty_snapshot
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Entity, Request
from tests.given import NOON

PATIENTS = ("HIS|P1", "HIS|P2", "HIS|P3")
DOCTORS = ("dr.li", "dr.wang")
MODALITIES = ("CR", "DX", "CT")
CATEGORIES = ("chest", "head")

_role = Attribute("subject.role")
_modality = Attribute("resource.modality")
_sensitivity = Attribute("resource.sensitivity")
_team = Attribute("resource.patient.care_team")
_vip = Attribute("resource.patient.vip")


def atoms() -> st.SearchStrategy[Condition]:
    equal = st.sampled_from(("==", "!="))
    order = st.sampled_from(("<", "<=", ">", ">="))
    return st.one_of(
        st.builds(lambda op, v: Compare(op, _role, Literal(v)), equal, st.sampled_from(("physician", "nurse"))),
        st.builds(lambda op, v: Compare(op, _modality, Literal(v)), equal, st.sampled_from(MODALITIES)),
        st.builds(lambda op, v: Compare(op, Literal(v), _modality), equal, st.sampled_from(MODALITIES)),
        st.builds(lambda v: Compare("in", _modality, Literal(tuple(sorted(v)))), st.sets(st.sampled_from(MODALITIES))),
        st.builds(lambda op, v: Compare(op, _sensitivity, Literal(v)), order, st.integers(1, 4)),
        st.builds(lambda op, v: Compare(op, Literal(v), _sensitivity), order, st.integers(1, 4)),
        st.just(Compare("in", Attribute("subject.id"), _team)),
        st.builds(lambda op, v: Compare(op, _vip, Literal(v)), equal, st.booleans()),
        st.just(_vip),
        st.builds(lambda v: Compare("==", Attribute("resource.patient.id"), Literal(v)), st.sampled_from(PATIENTS)),
        st.sampled_from((_modality, _sensitivity, _vip, _team)).map(Has),
        st.just(Compare("==", Attribute("resource.author"), Attribute("subject.id"))),
        st.just(Compare(">", Call("size", (Attribute("resource.labels"),)), Literal(1))),
        st.sampled_from((Literal(True), Literal(False))),
    )


def conditions() -> st.SearchStrategy[Condition]:
    def wider(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        several = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.one_of(several.map(And), several.map(Or), inner.map(Not), st.builds(Conditional, inner, inner, inner))

    return st.recursive(atoms(), wider, max_leaves=6)


def obligations() -> st.SearchStrategy[tuple[Obligation, ...]]:
    path = st.sampled_from(("patient.telecom", "patient.address", "result.note"))
    mask = st.builds(lambda p: Obligation(f"mask-{p}", "mask", {"paths": (p,)}), path)
    profile = st.sampled_from(("pseudonymise", "basic", "strict", "unheard-of"))
    deidentify = st.builds(lambda p: Obligation(f"deid-{p}", "deidentify", {"profile": p}), profile)
    return st.lists(st.one_of(mask, mask, deidentify), max_size=2).map(tuple)


@st.composite
def policies(draw: st.DrawFn, name: str) -> Policy:
    kind = draw(st.sampled_from((Kind.PERMIT, Kind.PERMIT, Kind.DELEGATE, Kind.DENY, Kind.REQUIRE, Kind.OBLIGE)))
    category = draw(st.sampled_from(("*", "*", *CATEGORIES)))
    return Policy(
        name,
        kind,
        (OperationPattern("search", "imaging", category),),
        draw(conditions()),
        draw(obligations()) if kind in (Kind.PERMIT, Kind.OBLIGE) else (),
        draw(validities()),
        on_missing=draw(st.sampled_from(OnMissing)),
    )


def validities() -> st.SearchStrategy[Validity]:
    edge = st.one_of(st.none(), st.none(), st.integers(-3, 3).map(lambda n: NOON + timedelta(seconds=n)))
    return st.builds(Validity, edge, edge)


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    sets = []
    for layer in draw(st.lists(st.sampled_from(Layer), min_size=1, max_size=3)):
        number = len(sets)
        count = draw(st.integers(1, 4))
        jurisdiction = draw(st.sampled_from(("", "cn", "cn/zj", "cn/js")))
        found = tuple(draw(policies(f"{layer.label}-{number}-{n}")) for n in range(count))
        sets.append(PolicySet(f"set-{number}", layer, jurisdiction, "1.0.0", found))
    return RuleSet.of(sets, "sha256:test", Site("cn/zj/hospital-a"))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    joins = {"care_team": Join(Joining.UNION), "vip": Join(Joining.ANY)}
    store = FactStore(empty_snapshot(joins))
    for patient in draw(st.sets(st.sampled_from(PATIENTS))):
        values = {
            "care_team": draw(st.one_of(st.none(), st.sets(st.sampled_from(DOCTORS)).map(lambda s: tuple(sorted(s))))),
            "vip": draw(st.one_of(st.none(), st.booleans())),
        }
        edge = st.one_of(st.none(), st.none(), st.integers(-3, 3).map(lambda n: NOON + timedelta(seconds=n)))
        for attribute, value in values.items():
            if value is not None:
                fact = Fact(("patient", patient), attribute, value, "test", NOON, "visit:1", draw(edge), draw(edge))
                store.apply([Assert(fact)])
    return store.snapshot


def rows() -> st.SearchStrategy[dict[str, object]]:
    optional = {
        "modality": st.sampled_from((*MODALITIES, 7)),
        "sensitivity": st.one_of(st.integers(0, 5), st.just("high")),
        "category": st.sampled_from((*CATEGORIES, "foot")),
        "patient": st.sampled_from((*PATIENTS, "HIS|P9")).map(lambda p: {"id": p}),
        "author": st.sampled_from(DOCTORS),
        "labels": st.lists(st.sampled_from(("a", "b")), max_size=2),
    }
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    properties = draw(st.fixed_dictionaries({}, optional={"role": st.sampled_from(("physician", "nurse", 3))}))
    subject = Entity("person", draw(st.sampled_from(DOCTORS)), properties)
    return Request.build(subject, "search:imaging", deferred=("resource",))
