"""While something large is built, threads switch often and the collector rests; afterwards all is as it was."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Generator, Iterator

import pytest

from adapters.yielding import SWITCH, finished, giving_way


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def state() -> tuple[float, bool]:
    return round(sys.getswitchinterval(), 6), gc.isenabled()


def test_the_interpreter_is_as_it_was_afterwards() -> None:
    before = state()
    with giving_way:
        assert state() == (SWITCH, False) and before[1]
    assert state() == before


def test_it_is_as_it_was_after_an_error_too() -> None:
    before = state()
    with pytest.raises(ValueError), giving_way:
        raise ValueError
    assert state() == before


def test_who_leaves_first_does_not_take_it_from_the_others() -> None:
    """A look at the files may begin before a reload and end within it."""
    before = state()
    giving_way.__enter__()
    giving_way.__enter__()
    giving_way.__exit__(None, None, None)
    assert state() == (SWITCH, False)
    giving_way.__exit__(None, None, None)
    assert state() == before


def test_what_is_kept_is_out_of_the_collectors_sight() -> None:
    frozen = gc.get_freeze_count()
    with giving_way:
        large = [[n] for n in range(1000)]
        giving_way.keep()
    assert gc.get_freeze_count() > frozen + 1000
    assert not any(one is large for one in gc.get_objects())


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with giving_way:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_steps_run_to_their_end_in_any_thread() -> None:
    def steps(made: list[int]) -> Generator[None, None, int]:
        for n in range(5):
            made.append(n)
            yield
        return sum(made)

    found: list[int] = [finished(steps([]))]
    beside = threading.Thread(target=lambda: found.append(finished(steps([]))))
    beside.start()
    beside.join()
    assert found == [10, 10]
