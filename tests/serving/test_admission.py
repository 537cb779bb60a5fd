"""How many charts are in work at once, and when to come back."""

from __future__ import annotations

import pytest

from chartdistill.serving.admission import Admission, FullError, TooManyError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def busy(admission: Admission, clock: Clock, charts: int, seconds: float) -> None:
    """So many charts, one after another, in so many seconds."""
    for _ in range(charts):
        with admission.place() as place:
            clock.now += seconds / charts
            place.answered()


def test_a_place_is_given_back_once_whatever_ends_the_request() -> None:
    admission = Admission(2)
    with pytest.raises(ZeroDivisionError), admission.place(2):
        raise ZeroDivisionError
    assert admission.in_work == 0
    place = admission.place()
    place.leave()
    place.leave()
    assert admission.in_work == 0


def test_no_more_than_the_limit_are_in_work_and_a_request_that_never_fits_is_told_so() -> None:
    admission = Admission(3)
    with admission.place(2), pytest.raises(FullError):
        admission.place(2)
    assert admission.in_work == 0
    with admission.place() as place:
        with pytest.raises(TooManyError):
            place.grow(3)
        place.grow(2)
        with pytest.raises(FullError):
            admission.place()
    with admission.place(3):
        pass


@pytest.mark.parametrize(("per_second", "wanted", "seconds"), [(2.0, 4, 2), (2.0, 5, 3), (10.0, 1, 1), (0.05, 1, 20)])
def test_the_time_to_come_back_follows_the_rate_that_was_measured(per_second: float, wanted: int, seconds: int) -> None:
    clock = Clock()
    admission = Admission(8, clock)
    busy(admission, clock, 40, 40 / per_second)
    clock.now += 5000  # nothing to do is no slowness
    with admission.place(8), pytest.raises(FullError) as full:
        admission.place(wanted)
    assert full.value.retry_after_s == seconds


def test_an_engine_that_became_slow_is_noticed_while_it_is_silent() -> None:
    clock = Clock()
    admission = Admission(1, clock)
    busy(admission, clock, 100, 10)
    with admission.place():
        waits = []
        for _ in range(3):
            clock.now += 60
            with pytest.raises(FullError) as full:
                admission.place()
            waits.append(full.value.retry_after_s)
    assert 1 < waits[0] < waits[1] < waits[2] <= 3600


def test_what_was_not_answered_is_no_measure() -> None:
    clock = Clock()
    admission = Admission(1, clock)
    for _ in range(50):
        with admission.place():
            clock.now += 0.001  # refused, not answered
    assert admission.rate.per_second() is None
    with admission.place(), pytest.raises(FullError) as full:
        admission.place()
    assert full.value.retry_after_s == 1
