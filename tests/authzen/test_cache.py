"""The decision cache: right answers only, and the ones that are asked for most."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen import cache as module
from adapters.authzen.cache import AGEING, NEWCOMERS, DecisionCache
from tests.given import NOON

SECOND = timedelta(seconds=1)


def test_an_answer_is_given_again_to_the_same_question():
    cache: DecisionCache[str] = DecisionCache(2)
    cache.put(b"q", "yes", "b1", 7, NOON, None)
    assert cache.get(b"q", "b1", 7, NOON) == "yes"
    assert (cache.hits, cache.misses) == (1, 0)


def test_another_bundle_or_another_revision_of_the_facts_is_another_question():
    cache: DecisionCache[str] = DecisionCache(2)
    cache.put(b"q", "yes", "b1", 7, NOON, None)
    assert [cache.get(b"q", *now, NOON) for now in (("b2", 7), ("b1", 8), ("b1", 6))] == [None] * 3


def test_no_answer_outlives_its_validity_or_precedes_its_decision():
    cache: DecisionCache[str] = DecisionCache(2)
    cache.put(b"q", "yes", "b1", 7, NOON, NOON + SECOND)
    moments = (NOON - SECOND, NOON, NOON + SECOND - timedelta(microseconds=1), NOON + SECOND)
    assert [cache.get(b"q", "b1", 7, now) for now in moments] == [None, "yes", "yes", None]


def test_what_is_over_already_is_not_kept():
    cache: DecisionCache[str] = DecisionCache(2)
    cache.put(b"q", "yes", "b1", 7, NOON, NOON)
    assert len(cache) == 0


def test_a_question_that_is_asked_once_pushes_nobody_out():
    cache: DecisionCache[str] = DecisionCache(1)
    cache.put(b"a", "a", "b", 0, NOON, None)
    cache.put(b"b", "b", "b", 0, NOON, None)
    assert cache.get(b"a", "b", 0, NOON) == "a"
    cache.put(b"b", "b", "b", 0, NOON, None)
    assert cache.get(b"b", "b", 0, NOON) == "b"


def test_the_questions_that_were_asked_once_are_bounded():
    cache: DecisionCache[str] = DecisionCache(2)
    for number in range(1000):
        cache.put(b"%d" % number, "x", "b", 0, NOON, None)
    assert len(cache) == 2 and len(cache._once) <= 8


def test_the_least_used_leaves_and_the_older_of_two():
    cache: DecisionCache[str] = DecisionCache(2)
    cache.put(b"a", "a", "b", 0, NOON, None)
    cache.put(b"b", "b", "b", 0, NOON, None)
    cache.get(b"a", "b", 0, NOON)
    for name in (b"c", b"d"):
        for _ in range(2):  # asked twice
            cache.put(name, name.decode(), "b", 0, NOON, None)
    assert [cache.get(key, "b", 0, NOON) for key in (b"a", b"b", b"c", b"d")] == ["a", None, None, "d"]


def test_a_question_that_is_asked_often_keeps_its_place_when_the_facts_move_on():
    cache: DecisionCache[int] = DecisionCache(2)
    for facts in range(5):
        assert cache.get(b"often", "b", facts, NOON) is None
        cache.put(b"often", facts, "b", facts, NOON, None)
        for _ in range(2):
            cache.put(b"twice %d" % facts, facts, "b", facts, NOON, None)
    assert cache.get(b"often", "b", 4, NOON) == 4


def test_what_was_asked_often_long_ago_does_not_stay_for_ever():
    cache: DecisionCache[int] = DecisionCache(2)
    cache.put(b"old", 0, "b", 0, NOON, None)
    for _ in range(100):
        cache.get(b"old", "b", 0, NOON)
    for round in range(20 * AGEING):
        for name in (b"x", b"y"):
            if cache.get(name, "b", 0, NOON) is None:
                cache.put(name, round, "b", 0, NOON, None)
    assert cache.get(b"old", "b", 0, NOON) is None


def test_a_cache_without_places_keeps_nothing():
    cache: DecisionCache[int] = DecisionCache(0)
    cache.put(b"q", 1, "b", 0, NOON, None)
    assert cache.get(b"q", "b", 0, NOON) is None


class Plain:
    """The same rules, written as slowly and as plainly as possible; no ageing."""

    def __init__(self, capacity):
        self.capacity, self.kept, self.number, self.once = capacity, {}, 0, set()

    def get(self, key, bundle, facts, now):
        if key not in self.kept:
            return None
        entry = self.kept[key]
        entry["uses"] += 1
        _, kept_bundle, kept_facts, since, until = entry["answer"]
        right = (kept_bundle, kept_facts) == (bundle, facts) and since <= now and (until is None or now < until)
        return entry["answer"][0] if right else None

    def put(self, key, *answer):
        if answer[4] is not None and answer[4] <= answer[3]:
            return
        if key not in self.kept:
            if len(self.kept) == self.capacity and key not in self.once:
                if len(self.once) == NEWCOMERS * self.capacity:
                    self.once.clear()
                self.once.add(key)
                return
            if len(self.kept) == self.capacity:
                self.once.remove(key)
                del self.kept[min(self.kept, key=lambda k: (self.kept[k]["uses"], self.kept[k]["number"]))]
            self.number += 1
            self.kept[key] = {"uses": 1, "number": self.number}
        self.kept[key]["answer"] = answer


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
MOMENTS = st.integers(0, 3).map(lambda seconds: NOON + seconds * SECOND)
GETS = st.tuples(st.just("get"), KEYS, st.sampled_from("xy"), st.integers(0, 1), MOMENTS)
PUTS = st.tuples(
    st.just("put"), KEYS, st.integers(), st.sampled_from("xy"), st.integers(0, 1), MOMENTS, st.none() | MOMENTS
)


@given(st.integers(1, 4), st.lists(GETS | PUTS, max_size=60))
def test_it_answers_as_the_plain_model_does(capacity, steps):
    cache: DecisionCache[int] = DecisionCache(capacity)
    cache._age = -10_000  # the model does not age
    plain = Plain(capacity)
    for what, *arguments in steps:
        assert getattr(cache, what)(*arguments) == getattr(plain, what)(*arguments)
        assert len(cache) <= capacity
        assert sorted(key for _, _, key in cache._order) == sorted(cache._slots)


@given(st.integers(1, 4), st.lists(GETS | PUTS, max_size=60))
def test_ageing_gives_no_wrong_answer(capacity, steps):
    """Every answer that comes back was put in for this bundle, these facts and this time."""
    with patch.object(module, "AGEING", 2):
        aged(capacity, steps)


def aged(capacity, steps):
    cache: DecisionCache[tuple] = DecisionCache(capacity)
    for what, key, *rest in steps:
        if what == "put":
            value, bundle, facts, since, until = rest
            cache.put(key, (key, value, bundle, facts, since, until), bundle, facts, since, until)
            continue
        found = cache.get(key, *rest)
        if found is not None:
            bundle, facts, now = rest
            assert found[0] == key and found[2:4] == (bundle, facts)
            assert found[4] <= now and (found[5] is None or now < found[5])
