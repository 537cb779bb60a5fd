"""When an answer says nothing else any more."""

from __future__ import annotations

import pytest

from chartdistill.engines.contract import LONGEST_REPEATED, REPEATS, only_repeats


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], False),
        ([7] * (REPEATS - 1), False),
        ([7] * REPEATS, True),
        ([1, 2, 3] * REPEATS, True),
        ([9, 9, *[1, 2, 3] * REPEATS], True),  # whatever stands before
        ([1, 2, 3] * REPEATS + [1], True),  # the same stretch, turned
        ([1, 2, 3] * REPEATS + [4], False),  # it went on
        ([1, 2, 3] * (REPEATS - 1), False),
        (list(range(LONGEST_REPEATED)) * REPEATS, True),
        (list(range(LONGEST_REPEATED + 1)) * REPEATS, False),
    ],
)
def test_one_stretch_so_often_in_a_row(ids: list[int], expected: bool) -> None:
    assert only_repeats(ids) is expected


def test_the_rule_is_that_of_vllm() -> None:
    utils = pytest.importorskip("vllm.v1.core.sched.utils")
    params = pytest.importorskip("vllm.sampling_params").RepetitionDetectionParams(LONGEST_REPEATED, 1, REPEATS)
    for ids in ([7] * REPEATS, [7] * 7, [1, 2] * REPEATS, [3, 1, 2, 1, 2, 1, 2, 1, 2], [*range(70)] * REPEATS):
        assert only_repeats(ids) is utils.check_sequence_repetition(ids, params)
