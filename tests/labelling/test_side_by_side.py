"""Several engines on one machine: real processes, together the labels of one engine, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from chartdistill.config import Run, load_run
from chartdistill.engines import Replica, SideBySide, VllmEngine, divide_cards
from chartdistill.errors import ConfigError
from chartdistill.labelling.label import label
from chartdistill.records.prepare import prepare
from chartdistill.runtime.run_folder import read_manifest
from chartdistill.runtime.shards import Shard
from chartdistill.runtime.side_by_side import Child, run_side_by_side
from labelling_run import config, rows_of, silent
from started_shards import Shards


def prepared_with(folder: Path, model: Path, replicas: int | str, records: int = 6) -> Run:
    """One record at a time, so that no answer depends on which other records stand in its batch."""
    path = config(folder, model, records_per_window=1)
    values = yaml.safe_load(path.read_text())
    values["records"][0]["count"] = records
    values["teacher"]["engine"] |= {} if replicas == "auto" else {"replicas": replicas}
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return run


def labels_of(run: Run) -> bytes:
    return (run.dir / "labels" / "labels.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> bytes:
    """The labels of one engine."""
    run = prepared_with(tmp_path_factory.mktemp("whole"), tiny_model, "auto", records=24)
    assert label(run, silent)["engines"] == 1  # there is no card here
    return labels_of(run)


def label_command(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chartdistill", "label", str(folder / "run.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_engine_is_named_and_its_shard_alone_is_asked_again(
    tmp_path: Path, tiny_model: Path, whole: bytes
) -> None:
    run = prepared_with(tmp_path, tiny_model, 2, records=24)
    labels = run.dir / "labels"
    first = label_command(tmp_path)
    shards = Shards(first, kill="1/2", when=labels / "shard-1-of-2.journal.jsonl")
    _, said = first.communicate(timeout=1200)
    assert shards.seen == {"0/2", "1/2"}
    assert first.returncode != 0
    assert "shard 1/2 on engine 2 of 2 was ended by signal 9" in said and "same command again" in said
    assert "shard 0/2 on" not in said
    assert (labels / "shard-0-of-2.jsonl").exists(), "the other went on to its end"
    kept = (labels / "shard-1-of-2.journal.jsonl").read_bytes()
    assert kept and not (labels / "manifest.json").exists()
    second = label_command(tmp_path)
    shards = Shards(second)
    _, said = second.communicate(timeout=1200)
    assert second.returncode == 0, said
    assert shards.seen == {"1/2"}
    assert labels_of(run) == whole
    manifest = read_manifest(labels)
    assert manifest is not None and manifest["engines"] == 2 and manifest["rows_from_shards"] == len(rows_of(run))
    assert manifest["speed"]["records_per_second"] > 0
    assert sorted(path.name for path in labels.iterdir()) == ["labels.jsonl", "manifest.json"]


@pytest.mark.slow
def test_progress_is_one_count_over_all_engines(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared_with(tmp_path, tiny_model, 2)
    told: list[tuple[int, int | None, int]] = []
    label(run, lambda done, total=None, tokens=0: told.append((done, total, tokens)))
    records = len({row.record for row in rows_of(run)})
    assert {total for _, total, _ in told} == {records}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][0] == records
    assert told[-1][2] == sum(row.prompt_tokens + row.completion_tokens for row in rows_of(run))
    again = label(run, silent)
    assert again["engines"] == 2, "all is done"


@pytest.mark.slow
def test_what_failed_in_a_shard_is_judged_by_all_labels_and_asked_no_second_time(
    tmp_path: Path, tiny_model: Path
) -> None:
    """One chart that is too long for the model: a fifth of its shard's labels, a tenth of all."""
    run = prepared_with(tmp_path, tiny_model, 2)
    values = yaml.safe_load((tmp_path / "run.yaml").read_text())
    charts = tmp_path / "charts"
    charts.mkdir()
    for number in range(9):
        (charts / f"{number}.txt").write_text(f"Visit {number}. Start lisinopril 10 mg daily. Blood count ordered.")
    (charts / "long.txt").write_text("The patient feels well and takes aspirin. " * 900)
    values["records"] = [{"type": "folder", "path": str(charts)}]
    for most, ends_well in ((0.12, True), (0.05, False)):
        values["label"]["max_failure_fraction"] = most
        values["run_dir"] = str(tmp_path / f"run-{most}")
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
        run = load_run(tmp_path / "run.yaml")
        prepare(run.config.records, run.dir / "records", run.config.prepare)
        command = label_command(tmp_path)
        shards = Shards(command)
        _, said = command.communicate(timeout=1200)
        assert (command.returncode == 0) == ends_well, said
        assert ("more than label.max_failure_fraction" in said) != ends_well
        assert shards.seen == {"0/2", "1/2"}
        assert not list((run.dir / "labels").glob("shard-*.jsonl")), "what failed would never be asked again"
    failed = [row for row in rows_of(load_run_at(tmp_path, 0.12)) if row.failure]
    assert failed and all("prompt_too_long" in str(row.failure) for row in failed)


def load_run_at(folder: Path, most: float) -> Run:
    return load_run(folder / "run.yaml", run_dir=folder / f"run-{most}")


def test_what_was_finished_before_is_in_the_count_of_all_engines_from_the_first_report_on() -> None:
    """Engines start one after the other: what a later one had finished would pass for done since the first began."""

    class Named(SideBySide):
        def _command(self, shard: Shard) -> list[str]:
            report = (
                "import time; from chartdistill.runtime.side_by_side import Reports; tell = Reports.of_this_process()"
            )
            return [sys.executable, "-c", f"{report}; time.sleep({2 * shard.index}); tell(50); tell(60)"]

    told: list[int] = []
    engines = Named("label", [Replica(0, 2, ("",)), Replica(1, 2, ("",))], [])
    engines.ask(dict.fromkeys(engines.shards, 60), 120, lambda done, *_, **__: told.append(done),
                dict.fromkeys(engines.shards, 50))  # fmt: skip
    assert told == [100, 110, 110, 120]


@pytest.mark.parametrize(
    ("cards", "each", "wanted", "given"),
    [
        ("01234567", 4, "auto", ["0123", "4567"]),
        ("01234567", 1, "auto", list("01234567")),
        ("01234567", 3, "auto", ["012", "345"]),
        ("52", 1, "auto", ["5", "2"]),
        ("01234567", 2, 3, ["01", "23", "45"]),
        ("0", 1, "auto", ["0"]),
        ("01", 4, "auto", ["01"]),  # the engine itself says that it needs more
        ("", 1, "auto", [""]),
        ("", 1, 2, ["", ""]),
    ],
)
def test_each_engine_has_cards_of_its_own(cards: str, each: int, wanted: int | str, given: list[str]) -> None:
    replicas = divide_cards(list(cards), each, wanted)
    assert ["".join(replica.cards) for replica in replicas] == given
    assert all(replica.count == len(given) and replica.index == i for i, replica in enumerate(replicas))


def test_more_engines_than_cards_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"replicas is 3 with 4 cards each, and 8 are here .* Set it to 2"):
        divide_cards(list("01234567"), 4, 3)


def test_a_process_sees_its_own_cards_alone() -> None:
    """What each child is told, read by the child itself."""
    ask = (
        "import os; from chartdistill.runtime.side_by_side import Reports\n"
        "names = ('CUDA_VISIBLE_DEVICES', 'CHARTDISTILL_CPU_THREADS')\n"
        "Reports.of_this_process().tell(**{name: os.environ.get(name) for name in names})"
    )
    replicas = [*divide_cards(list("4567"), 2, "auto"), Replica(0, len(os.sched_getaffinity(0)) + 1)]
    children = [Child([sys.executable, "-c", ask], replica.variables()) for replica in replicas]
    told: dict[int, dict[str, str]] = {}
    assert run_side_by_side(children, told.__setitem__) == [0, 0, 0]
    assert [told[i]["CUDA_VISIBLE_DEVICES"] for i in range(2)] == ["4,5", "6,7"]
    assert told[2]["CHARTDISTILL_CPU_THREADS"] == "1"
    assert VllmEngine().what_determines_an_answer() == VllmEngine(replicas=2).what_determines_an_answer()


@pytest.mark.slow
def test_an_engine_beside_others_takes_no_more_than_its_share_of_the_cores(
    tiny_model: Path, users_environment: dict[str, str]
) -> None:
    ask = (
        "import sys, torch; from pathlib import Path; from chartdistill.engines import TransformersEngine\n"
        "TransformersEngine().load(Path(sys.argv[1])); print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in users_environment.items() if name != "OMP_NUM_THREADS"}
    environment |= Replica(0, len(os.sched_getaffinity(0))).variables()
    command = [sys.executable, "-c", ask, str(tiny_model)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == "1"


def test_children_end_with_the_one_that_started_them() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    program = (
        "import signal, sys; from chartdistill.runtime.side_by_side import Child, run_side_by_side\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"run_side_by_side([Child({sleep!r}, {{}})] * 2, lambda number, facts: None)"
    )
    for how in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen([sys.executable, "-c", program]) as ours:
            until = time.monotonic() + 60
            children: list[psutil.Process] = []
            while len(children) < 2 and time.monotonic() < until:
                children = psutil.Process(ours.pid).children()
                time.sleep(0.05)
            time.sleep(1)  # time to ask the kernel for it
            ours.send_signal(how)
            ours.wait(60)
        assert psutil.wait_procs(children, timeout=20)[1] == []
