"""Canaries: planted where they say, and nowhere else."""

from __future__ import annotations

from itertools import islice

import pytest

from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.schema import TrainExample
from chartdistill.study.canaries import FORMS, KINDS, draw_canaries, plant, plant_answers
from chartdistill.study.options import CanaryOptions
from demo_charts import TASKS, charts

OPTIONS = CanaryOptions(per_kind=1, repeats=(1, 2), alternatives=99)


def examples(records: int = 6) -> list[TrainExample]:
    return [
        TrainExample(record=record.id, task=task.name, split="train", prompt="-", completion=NONE_FOUND)
        for record in islice(charts(12).values(), records)
        for task in TASKS
    ]


def test_canaries_stand_where_they_say_and_nowhere_else() -> None:
    records = list(charts(12).values())
    canaries, alternatives = draw_canaries(records, examples(), TASKS, OPTIONS, seed=4)
    assert draw_canaries(records, examples(), TASKS, OPTIONS, seed=4) == (canaries, alternatives)
    assert draw_canaries(records, examples(), TASKS, OPTIONS, seed=5)[0] != canaries
    for kind in KINDS:
        names = [canary.secret for canary in canaries if canary.kind == kind] + alternatives[kind]
        assert len(set(names)) == 2 + 99
        assert not any(name.casefold() in record.text.casefold() for name in names for record in records)
    after = {record.id: (record, places) for record, places in plant(records, canaries, seed=4)}
    for record in records:
        changed, places = after[record.id]
        own = [canary for canary in canaries if record.id in canary.records]
        assert [canary for canary, _ in places] == own
        for canary, place in places:
            assert changed.text[place:].startswith(canary.secret)
            assert changed.text.count(FORMS[canary.kind].sentence(canary.secret)) == 1
        assert len(changed.text) - len(record.text) >= sum(len(c.secret) for c in own)
        assert own or changed == record
    planted = {name: record for name, (record, _) in after.items()}
    for row in plant_answers(examples(), planted, canaries, TASKS):
        said = [c.secret for c in canaries if c.secret in row.completion]
        due = {"medication": "drug", "tests": "number"}.get(row.task)
        assert said == [c.secret for c in canaries if c.kind == due and row.record in c.records]
        assert row.prompt.startswith(planted[row.record].text)


def test_too_few_records_to_plant_into_is_said() -> None:
    with pytest.raises(InputError, match=r"asks for 2 training records with an answer for medication; there are 1\."):
        draw_canaries(charts(12).values(), examples(1), TASKS, OPTIONS, seed=4)
