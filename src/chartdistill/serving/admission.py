"""How many charts are in work at once, and when to come back.

In: charts that come and go. Out: a place, or `FullError` with the seconds until there is one, by the rate measured.
Must hold: never more charts than `limit`; every place is given back once, whatever ends the request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType

_REMEMBERED_S = 30.0
"""Of work: an answer that lies so far back counts 1/e of a new one."""
_LONGEST_WAIT_S = 3600


class FullError(Exception):
    """No place is free. `retry_after_s`: when there should be one."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"full for {retry_after_s} s")
        self.retry_after_s = retry_after_s


class TooManyError(Exception):
    """More charts in one request than there are places at all."""


class Rate:
    """Charts answered per second of work, over the last half minute of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered = self._seconds = 0.0
        self._since: float | None = None

    def began(self) -> None:
        """Work is there, after none was."""
        self._since = self._clock()

    def paused(self) -> None:
        """All work is done."""
        self._count(0)
        self._since = None

    def answered(self, charts: int) -> None:
        """So many charts have been answered."""
        self._count(charts)

    def _count(self, charts: int) -> None:
        now = self._clock()
        passed = 0.0 if self._since is None else now - self._since
        kept = math.exp(-passed / _REMEMBERED_S)
        self._answered, self._seconds = self._answered * kept + charts, self._seconds * kept + passed
        self._since = now

    def per_second(self) -> float | None:
        """None: nothing has been answered yet."""
        passed = 0.0 if self._since is None else self._clock() - self._since
        kept = math.exp(-passed / _REMEMBERED_S)
        seconds = self._seconds * kept + passed
        return self._answered * kept / seconds if self._answered and seconds else None


class Admission:
    """The places."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.in_work = 0
        """Charts that have a place."""
        self.rate = Rate(clock)

    def place(self, charts: int = 1) -> Place:
        """Places for so many charts, to be held with `with`.

        Raises:
            TooManyError, FullError
        """
        held = Place(self)
        held.grow(charts)
        return held

    def seconds_until(self, charts: int) -> int:
        """When so many more should find a place: 1 or more, whole."""
        too_many = self.in_work + charts - self.limit
        rate = self.rate.per_second()
        if rate is None:  # nothing is known yet
            return 1
        return min(_LONGEST_WAIT_S, max(1, math.ceil(too_many / rate)))


class Place:
    """Places of one request."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self._charts, self._answered = admission, 0, False

    def grow(self, charts: int) -> None:
        """So many more.

        Raises:
            TooManyError, FullError
        """
        at = self._admission
        if self._charts + charts > at.limit:
            raise TooManyError
        if at.in_work + charts > at.limit:
            raise FullError(at.seconds_until(charts))
        if not at.in_work and charts:
            at.rate.began()
        at.in_work += charts
        self._charts += charts

    def answered(self) -> None:
        """The charts were answered; otherwise the request ended without."""
        self._answered = True

    def leave(self) -> None:
        """Give the places back."""
        at, charts = self._admission, self._charts
        self._charts = 0
        at.in_work -= charts
        if self._answered:
            at.rate.answered(charts)
        if charts and not at.in_work:
            at.rate.paused()

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
