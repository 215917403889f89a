"""Frozen dataclasses that are quick to make are what they were before in everything else."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from spir.model.swift import swift


@dataclass(frozen=True, slots=True)
class Plain:
    a: int
    b: str = "b"
    c: tuple[int, ...] = field(default_factory=tuple)


@swift
@dataclass(frozen=True, slots=True)
class Quick:
    a: int
    b: str = "b"
    c: tuple[int, ...] = field(default_factory=tuple)


def test_fields_are_given_by_place_or_name_and_have_their_defaults():
    assert Quick(1) == Quick(1, "b", ()) == Quick(c=(), a=1, b="b") != Quick(2)
    assert repr(Quick(1)) == repr(Plain(1)).replace("Plain", "Quick") and hash(Quick(1)) == hash(Plain(1))


@pytest.mark.parametrize(("given", "named"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"a": 1}), ((1,), {"d": 1})])
def test_what_is_missing_or_too_much_is_an_error(given, named):
    with pytest.raises(TypeError):
        Quick(*given, **named)


def test_it_stays_frozen_and_has_no_other_attributes():
    made = Quick(1)
    for name in ("a", "d"):
        with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
            setattr(made, name, 2)
    with pytest.raises(FrozenInstanceError):
        del made.a
    assert type(made) is Quick and not hasattr(made, "__dict__")


def test_it_is_copied_pickled_and_replaced_as_others_are():
    made = Quick(1, "x", (2,))
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), replace(made, a=1)):
        assert other == made and type(other) is Quick
    assert replace(made, a=5) == Quick(5, "x", (2,))
