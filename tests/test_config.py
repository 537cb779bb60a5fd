"""Configs: every shipped file is valid, and every mistake is answered with the place and what is allowed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run, load_task
from chartdistill.errors import ConfigError, InputError, ModelError
from chartdistill.run_config import RunConfig
from chartdistill.run_file import derive, read_run, write_run
from demo_config import written
from places import ROOT

RUNS = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if not path.name.startswith("study-")]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert [task.name for task in load_run(path).tasks] == ["medication", "prognosis", "diagnosis", "tests"]


@pytest.mark.parametrize(
    "teacher",
    [
        None,
        {"labels": "labels.jsonl"},
        {"labels": {"path": "labels.jsonl", "format": "rows"}},
        {"model": "a/b", "adapter": "adapter", "engine": {"type": "transformers"}},
        {"model": "a/b", "engine": {"type": "openai", "urls": ["http://127.0.0.1:8000/v1"], "model_name": "m"}},
    ],
    ids=["as shipped", "labels", "labels with options", "adapter", "endpoint"],
)
@pytest.mark.parametrize("without_none", [False, True])
def test_a_config_that_is_written_down_reads_the_same(teacher: Any, without_none: bool, tmp_path: Path) -> None:
    """As `train` keeps it beside the adapter, and as a study or a round derives another one."""
    changes = {"records": [{"type": "folder", "path": str(tmp_path), "gold": {"path": "gold.jsonl"}}]}
    path = written(tmp_path, lambda values: values.update(changes | ({} if teacher is None else {"teacher": teacher})))
    config = load_run(path).config
    text = config.model_dump_json(exclude_none=without_none)
    assert RunConfig.model_validate_json(text) == config


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        (["start", "stop", "start"], "start stands there twice"),
        (["start", ""], "'' cannot be read back"),
        (["start | now"], "without `|`"),
        ([" start"], "' start' cannot be read back"),
        (["start\nstop"], "on one line"),
        ("start", "must be a list"),
    ],
)
def test_statuses_that_an_answer_could_not_hold_are_refused(statuses: Any, message: str, tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "configs/tasks/medication.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump({**values, "statuses": statuses}), encoding="utf-8")
    with pytest.raises(ConfigError, match="statuses: ") as caught:
        load_task(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "configs/tasks").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_task_is_valid(path: Path) -> None:
    assert load_task(path).name == path.stem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: (v.update(label={"constrain": "spans"}), v["teacher"].update(engine={"type": "openai"})),
            r"label\.constrain asks for words of the chart.*use engine\.type vllm or transformers",
        ),
        (
            lambda v: (
                v.update(evaluate={"also": ["student constrained"]}),
                v["student"].update(engine={"type": "openai"}),
            ),
            r"evaluate\.also asks for words of the chart",
        ),
        (lambda v: v.update(evaluate={"constrain": "span"}), r"evaluate\.constrain"),
        (lambda v: v.update(techer=1), r"techer: unknown option; did you mean `teacher`\?"),
        (lambda v: v["train"].update(learnin_rate=1), r"train.learnin_rate: .*did you mean `learning_rate`\?"),
        (
            lambda v: v["train"].update(lora={"rank": 640}),
            r"train\.lora\.rank is 640, and vLLM serves adapters of a rank up to 512.*engine\.type: transformers",
        ),
        (
            lambda v: v["train"].update(lora={"use_dora": True}),
            r"train\.lora\.use_dora is true, and vLLM serves no DoRA",
        ),
        (lambda v: v["train"].update(lora={"rnk": 4}), r"train.lora.rnk: .*did you mean `rank`\?"),
        (lambda v: v["teacher"]["engine"].update(dtyp="x"), r"dtyp: unknown option; did you mean `dtype`\?"),
        (lambda v: v["records"][0].update(cuont=3), r"cuont: unknown option; did you mean `count`\?"),
        (lambda v: v["train"].update(epochs="many"), r"train.epochs: .*number.*\(got 'many'\)"),
        (lambda v: v["train"].update(epochs=float("inf")), r"train.epochs: .*finite number \(got inf\)"),
        (lambda v: v.update(label={"temperature": float("inf")}), r"label.temperature: .*finite number"),
        (lambda v: v["train"].update(epochs=-1), r"train.epochs: .*greater than 0 \(got -1\)"),
        (lambda v: v["teacher"]["engine"].update(type="vlm"), r"teacher.engine: .*'vllm'"),
        (
            lambda v: v.update(label={"strategy_by_task": {"medications": "direct"}}),
            r"label.strategy_by_task: this run has no such task; did you mean `medication`\? \(got 'medications'\)",
        ),
        (lambda v: v.pop("student"), r"student: required, but not given"),
        (lambda v: v["evaluate"].update(split="train"), "evaluate.split is `train`"),
        (lambda v: v.update(tasks=[v["tasks"][0]] * 2), "same name"),
        (lambda v: v.update(tasks="medication.yaml"), r"tasks: must be a list.* \(got 'medication.yaml'\)"),
        (lambda v: v.update(records=[]), "records: needs at least 1, has 0"),
        (lambda v: v.update(records=[{"type": "foldr", "path": "x"}]), r"type 'foldr'; did you mean 'folder'\?$"),
        (lambda v: v.update(records=2024), r"records: must be a list, .* \(got 2024\)$"),
        (
            lambda v: v.update(records=[{"type": "folder", "path": 2024}]),
            r"path: must be a path, as text: one of digits stands in quotes \(got 2024\)$",
        ),
        (lambda v: v.update(records=["charts"]), r"records.0: must hold `key: value` lines \(got 'charts'\)$"),
        (lambda v: v["teacher"].update(engine="vllm"), "teacher.engine: must hold `key: value` lines"),
        (
            lambda v: v.update(gates=[{"metric": "join_f1", "at_least": 0.9}]),
            r"gates.0.metric: .*did you mean `joint_f1`\? \(got 'join_f1'\)",
        ),
        (lambda v: v.update(gates=[{"metric": "f1", "at_lest": 0.9}]), r"gates.0.at_lest: .*did you mean `at_least`\?"),
        (
            lambda v: v.update(gates=[{"metric": "f1"}]),
            "gates.0: the gate on f1 needs exactly one of at_least and at_most",
        ),
        (lambda v: v.update(gates=[{"metric": "f1", "at_least": 0.5, "at_most": 0.9}]), "needs exactly one of"),
        (lambda v: v.update(gates=[{"metric": "f1", "at_most": 0.9}]), "of f1 higher is better.*use at_least"),
        (lambda v: v.update(gates=[{"metric": "invented_rate", "at_least": 0.1}]), "lower is better.*use at_most"),
        (lambda v: v.update(gates=[{"metric": "invented_rate", "at_most": 5}]), r"between 0 and 1 \(5% is 0.05\)"),
        (lambda v: v.update(gates=[{"metric": "f1", "at_least": -0.1}]), r"gates.0.at_least: .*greater.* \(got -0.1\)"),
        (
            lambda v: v.update(gates=[{"metric": "f1", "at_least": 1.2, "of": "rules"}]),
            r"gates.0.of: .*'teacher' or 'base'",
        ),
        (
            lambda v: v.update(gates=[{"metric": "f1", "at_least": 0.9, "task": "medications"}]),
            r"gates.0.task: this run has no such task; did you mean `medication`\? \(got 'medications'\)",
        ),
        *(
            (lambda v, gate=gate: v.update(gates=[gate]), message)
            for gate, message in (
                (
                    {"metric": "invented_rate", "at_most": 0},
                    r"gates.0: .*few says nothing. Write {metric: invented_rate, at_most: 0, least_n: 60} .*, or "
                    r"{metric: invented_rate, at_most: 0.05, by: bound}",
                ),
                ({"metric": "confabulation_rate", "at_most": 0, "of": "teacher"}, "few says nothing"),
                ({"metric": "invented_rate", "at_most": 0, "by": "bound"}, "could never be passed"),
                ({"metric": "invented_rate", "at_most": 0, "by": "bound", "least_n": 60}, "could never be passed"),
                ({"metric": "abstention_specificity", "at_least": 1}, r"asks for 1, .*at_least: 0.95, by: bound"),
                ({"metric": "precision", "at_least": 1.0}, "few says nothing"),
                ({"metric": "invented_rate", "at_most": 0, "least_n": 0}, r"gates.0.least_n: .*greater.* \(got 0\)"),
            )
        ),
        (lambda v: v.update(report={"include_txt": True}), r"report.include_txt: .*did you mean `include_text`\?"),
    ],
)
def test_mistakes_are_answered_with_place_and_remedy(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(written(tmp_path, change))


def test_gates_and_the_text_of_the_report_are_options(tmp_path: Path) -> None:
    gates = [{"metric": "joint_f1", "at_least": 0.9, "of": "teacher"}, {"metric": "items_per_record", "at_most": 9}]
    run = load_run(written(tmp_path, lambda v: v.update(gates=gates, report={"include_text": False})))
    assert [(gate.number, gate.task, gate.by) for gate in run.config.gates] == [
        (0.9, "all", "value"),
        (9, "all", "value"),
    ]
    assert run.config.report.include_text is False
    assert load_run(written(tmp_path, lambda v: v.pop("gates", None))).config.gates == ()


def test_a_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist. Files there: .*demo.yaml"):
        load_run(ROOT / "configs" / "dem.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_run(bad)
    for indented in ("name: demo\n\trun_dir: x\n", "records:\n\t- {type: folder}\n", "a:\n  b: 1\n\tc: 2\n"):
        bad.write_text(indented)
        line = next(i for i, text in enumerate(indented.splitlines(), 1) if text.startswith("\t"))
        with pytest.raises(ConfigError, match=f"line {line} has a tab before its text; .*spaces") as stop:
            load_run(bad)
        assert "\n" not in str(stop.value)
    for empty in ("", "\n\n", "# nothing yet\n", "---\n"):
        bad.write_text(empty)
        with pytest.raises(ConfigError, match="is empty; it must hold `key: value` lines"):
            load_run(bad)
    for no_text in (b"\xff\xfen\x00a\x00", b"caf\xe9: 1", b"a: \x00", b"PK\x03\x04"):
        bad.write_bytes(no_text)
        with pytest.raises(ConfigError, match="is no text file in UTF-8"):
            load_run(bad)
    bad.write_text("just text")
    with pytest.raises(ConfigError, match="must hold"):
        load_run(bad)


def test_records_and_run_dir_override_the_file(tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "a.txt").write_text("Takes Velorim.")
    run = load_run(written(tmp_path), records=charts, run_dir=tmp_path / "out")
    assert run.dir == tmp_path / "out"
    assert [source.type for source in run.config.records] == ["folder"]
    with pytest.raises(InputError, match="no-such-folder"):
        load_run(written(tmp_path), records=tmp_path / "no-such-folder")


def test_every_option_is_documented() -> None:
    # The string under a field is its only documentation, so it must be there.
    import inspect

    from chartdistill import run_config

    source = inspect.getsource(run_config)
    for name in RunConfig.model_fields:
        assert f"    {name}:" in source


def test_a_model_folder_that_cannot_or_should_not_be_loaded(tmp_path: Path, tiny_model: Path) -> None:
    import shutil

    def with_model(folder: str) -> None:
        run = load_run(written(tmp_path, lambda v: v["student"].update(model=folder)))
        run.model_folder("student")

    with pytest.raises(ModelError, match=r"does not exist.*make demo$"):
        with_model("no-such-model")
    with pytest.raises(ModelError, match=r"not on this machine.*hf download Some/Model"):
        with_model("Some/Model")
    broken = tmp_path / "model"
    shutil.copytree(tiny_model, broken)
    with_model(str(broken))
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickle files \(pytorch_model.bin\)"):
        with_model(str(broken))
    (broken / "pytorch_model.bin").rename(broken / "model.safetensors")
    for path in broken.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        with_model(str(broken))
    (broken / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(ModelError, match="auto_map"):
        with_model(str(broken))
    (broken / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config.json"):
        with_model(str(broken))


def test_a_hub_model_is_found_in_the_folder_models_in_the_revision_that_is_asked_for(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    run = load_run(written(tmp_path, lambda v: v["student"].update(model="Some/Model", revision="a" * 40)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"--revision a{40} --local-dir models/Model` and copy the folder to models/"):
        run.model_folder("student")
    folder = tmp_path / "models/Model"
    shutil.copytree(tiny_model, folder)
    assert run.model_folder("student") == folder
    note = folder / ".cache/huggingface/download/config.json.metadata"
    note.parent.mkdir(parents=True)
    note.write_text(f"{'a' * 40}\n{'0' * 40}\n1.0\n")
    assert run.model_folder("student") == folder
    note.write_text(f"{'b' * 40}\n{'0' * 40}\n1.0\n")
    with pytest.raises(ModelError, match=r"is revision b{40} of its model, the config asks for a{40}"):
        run.model_folder("student")


def test_four_bit_weights_and_fsdp_exclude_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, lambda v: v.update(train={"load_in_4bit": True, "parallel": "fsdp"}))
    with pytest.raises(ConfigError, match=r"train: parallel is `fsdp`, but 4-bit weights .* set parallel: ddp"):
        load_run(path)


def test_a_gate_on_zero_with_a_least_n_is_taken_and_spelled_as_written(tmp_path: Path) -> None:
    gates = [
        {"metric": "stop_as_continue_rate", "at_most": 0.0, "least_n": 60},
        {"metric": "items_per_record", "at_most": 0.0},
        {"metric": "joint_f1", "at_least": 1.0, "of": "teacher"},
    ]
    run = load_run(written(tmp_path, lambda v: v.update(gates=gates)))
    for gate, as_written in zip(run.config.gates, gates, strict=True):
        assert yaml.safe_load(gate.spelled()) == as_written


def test_the_seed_of_the_demos_held_out_charts_follows_its_rule_and_is_no_other() -> None:
    phrase = "chartdistill demo: held-out charts, second set"
    chosen = int.from_bytes(hashlib.sha256(phrase.encode()).digest()[:4])
    text = (ROOT / "configs/demo.yaml").read_text()
    assert phrase in text
    sources = yaml.safe_load(text)["records"]
    assert [source["seed"] for source in sources if source["split"] == "test"] == [chosen]


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_dir: ~/runs/x` made a folder called `~` where the command was run."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def change(values: dict[str, Any]) -> None:
        source = {"type": "folder", "path": "~/charts", "pattern": "~/*.txt", "gold": {"path": "~/gold.jsonl"}}
        values |= {"run_dir": "~/run", "system": "~/x", "records": [source]}

    config = load_run(written(tmp_path, change)).config
    assert (config.run_dir, config.system) == (tmp_path / "run", "~/x")
    source = config.records[0].model_dump(mode="json")
    assert (source["path"], source["pattern"]) == (str(tmp_path / "charts"), "~/*.txt")
    assert source["gold"]["path"] == str(tmp_path / "gold.jsonl")


@pytest.mark.parametrize("value", ["2026-02-30", "1" * 5000, "[" * 3000])
def test_a_value_that_python_cannot_hold_is_refused_in_a_sentence(value: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(f"system: x\nname: {value}\n")
    with pytest.raises(ConfigError, match=r"(?s)odd\.yaml.*(reads as a date or a number.*line 2|too deep)"):
        load_run(tmp_path / "odd.yaml")


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    text = (ROOT / "configs/demo.yaml").read_text(encoding="utf-8")
    path = tmp_path / "twice.yaml"
    path.write_text(f"{text}\nname: other\n", encoding="utf-8")
    last = len(text.splitlines()) + 2
    with pytest.raises(ConfigError, match=rf"`name` stands twice, first in line \d+\n.*twice.yaml.*line {last}"):
        load_run(path)
    path.write_text("teacher: {model: a, model: b}", encoding="utf-8")
    with pytest.raises(ConfigError, match="`model` stands twice, first in line 1"):
        load_run(path)


def test_a_config_made_of_a_run_finds_the_charts_that_records_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a round: its `config.yaml` lies elsewhere than the config it is made of."""
    (tmp_path / "charts").mkdir()
    monkeypatch.chdir(tmp_path)
    run = load_run(ROOT / "configs/demo.yaml", Path("charts"), Path("runs/mine"))
    made = load_run(derive(run, tmp_path / "runs/mine/rounds/1", {"rounds": 0}))
    [source] = made.config.records
    assert source.model_dump()["path"] == tmp_path / "charts"


@pytest.mark.parametrize(("section", "seed"), [("train", -1), ("train", 1 << 32), ("evaluate", -1)])
def test_a_seed_that_no_generator_takes_is_refused_before_any_work(tmp_path: Path, section: str, seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.seed: .*\(got {seed}\)"):
        load_run(written(tmp_path, lambda values: values.setdefault(section, {}).update(seed=seed)))


def test_a_run_whose_config_lies_in_a_folder_of_another_encoding_is_written_down(tmp_path: Path) -> None:
    """As on disks that were written when names were Latin-1."""
    folder = tmp_path / os.fsdecode(b"m\xe4rz")
    folder.mkdir()
    run = load_run(written(folder), run_dir=tmp_path / "run")
    (run.dir / "adapter").mkdir(parents=True)
    write_run(run)
    assert read_run(run.dir).base == folder


def test_a_task_file_is_offered_only_what_it_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text((ROOT / "configs/tasks/tests.yaml").read_text() + "zzz: 1\n")
    with pytest.raises(ConfigError, match=r"zzz: unknown option; allowed: .*statuses") as caught:
        load_task(path)
    assert "shown_charts" not in str(caught.value) and "vocabulary" not in str(caught.value)
