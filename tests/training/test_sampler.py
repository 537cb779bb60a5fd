"""The records of a step, shared out to any number of processes."""

from __future__ import annotations

from chartdistill.training.sampler import StepSampler


def test_a_step_has_the_same_records_for_any_number_of_processes() -> None:
    for processes in (1, 2, 3, 7):
        shares = [list(StepSampler(13, 4, 5, process, processes)) for process in range(processes)]
        steps = [{index for share in shares for index in share[step]} for step in range(4)]
        whole = [set(step) for step in StepSampler(13, 4, 5)]
        assert steps == whole and [len(step) for step in steps] == [4, 4, 4, 1]
    sampler = StepSampler(13, 4, 5)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first and sorted(index for step in sampler for index in step) == list(range(13))
