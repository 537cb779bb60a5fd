"""The baseline of rules: better than nothing, worse than reading."""

from __future__ import annotations

from chartdistill.config import load_task
from chartdistill.evaluation.rule_baseline import known_names, predict_by_rules, read
from chartdistill.metrics import score_arm
from chartdistill.schema import Item
from demo_charts import TASKS, charts
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


def test_rules_read_what_rules_can() -> None:
    text = (
        "A man with pain. Stop Yasadol and begin Febenor 5 mg. He is allergic to Tirolix. His mother takes Bisolan.\n"
        "He has asthma. No evidence of gout. Order an EEG. EEG was normal. Prognosis is guarded."
    )
    said = read(text, MEDICATION, ())
    assert {(item.text, item.status) for item in said} >= {("Yasadol", "stop")}
    assert not any(item.text == "Bisolan" for item in said)
    by_name = {task.name: task for task in TASKS}
    assert read(text, by_name["diagnosis"], ("asthma", "gout")) == (Item(text="asthma"),)
    assert read(text, by_name["tests"], ("EEG",)) == (Item(text="EEG"),)
    assert read(text, by_name["prognosis"], ()) == (Item(text="guarded"),)
    learned = known_names((task, items) for r in charts(80, seed=9).values() for task, items in (r.gold or {}).items())
    records = charts(40)
    found = score_arm(predict_by_rules(records.values(), TASKS, learned), records, TASKS, resamples=100)
    assert 0.3 < (found["all"]["f1"].value or 0) < 0.95, "better than nothing, worse than reading"
