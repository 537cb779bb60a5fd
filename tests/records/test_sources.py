"""Sources: what is read, what is rejected and why, and what is never opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from chartdistill.errors import InputError
from chartdistill.records.sources import (
    AnySource,
    DatasetSource,
    FolderSource,
    JsonlSource,
    PrepareOptions,
    SourceEntry,
    SyntheticSource,
    TableSource,
    say_passed_over,
    source_for,
)
from chartdistill.schema import Item, RejectedRecord
from source_reading import GOLD, SECRET, read, write_lines


class TestFolder:
    def test_reads_sub_folders_in_order_with_ids_from_paths(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        for name in ("c.txt", "b/2.txt", "a.v1.txt"):
            (tmp_path / name).write_text("Cough.")
        (tmp_path / "ignored.md").write_text("Cough.")
        (tmp_path / "b" / "SHOUTED.TXT").write_text("Cough.")
        (tmp_path / ".hidden").write_text("")
        source = FolderSource(path=tmp_path, split="test")
        entries, reasons = read(source)
        assert list(entries) == ["a.v1", "b/2", "c"]
        assert not reasons
        assert source.passed_over() == {".md": 1, ".TXT": 1}
        said = say_passed_over([source, FolderSource(path=tmp_path / "b", pattern="*"), SyntheticSource(count=1)])
        assert said == "passed over, by their name: 2 other files: 1 named *.TXT, 1 named *.md"
        assert say_passed_over([FolderSource(path=tmp_path, pattern="*")]) == ""
        assert not FolderSource(path=tmp_path, pattern="*").passed_over()
        assert entries["b/2"] == SourceEntry("b/2", str(tmp_path / "b/2.txt"), "Cough.", "test")

    @pytest.mark.parametrize(
        ("data", "text", "encoding"),
        [
            ("Ödem. 38 °C".encode(), "Ödem. 38 °C", "utf-8"),
            (b"\xef\xbb\xbfCough", "Cough", "utf-8"),
            ("Ödem – 38 °C".encode("cp1252"), "Ödem – 38 °C", "cp1252"),
            (b"\xd6dem \x81", "Ödem \x81", "latin-1"),
            ("Ödem".encode("utf-16"), "Ödem", "utf-16"),
        ],
    )
    def test_decodes_and_says_how(self, tmp_path: Path, data: bytes, text: str, encoding: str) -> None:
        (tmp_path / "a.txt").write_bytes(data)
        entries, _ = read(FolderSource(path=tmp_path))
        assert (entries["a"].text, entries["a"].encoding) == (text, encoding)

    def test_rejects_with_reasons(self, tmp_path: Path) -> None:
        bad = {
            "empty.txt": b" \n",
            "control.txt": b"\x01\x02" * 9 + SECRET.encode(),
            "odd.txt": b"\xff\xfeC\x00\x00\xd8",
            "large.txt": SECRET.encode() * 200,
        }
        for name, data in bad.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "good.txt").write_text(SECRET)
        (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
        (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
        (tmp_path / "loop").symlink_to(tmp_path)
        os.mkfifo(tmp_path / "pipe.txt")
        entries, reasons = read(FolderSource(path=tmp_path))
        assert list(entries) == ["good"]
        assert reasons == {
            "empty.txt": "empty", "control.txt": "binary", "odd.txt": "binary",
            "large.txt": "too_large", "gone.txt": "unreadable", "self.txt": "symlink_loop", "loop": "symlink_loop",
            "pipe.txt": "unreadable",
        }  # fmt: skip

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_forbidden_file_and_folder_are_unreadable(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Cough.")
        (tmp_path / "a.txt").chmod(0)
        (tmp_path / "closed").mkdir(mode=0)
        _, reasons = read(FolderSource(path=tmp_path))
        assert reasons == {"a.txt": "unreadable", "closed": "unreadable"}

    def test_a_file_name_that_is_not_utf8_is_spelled_out(self, tmp_path: Path) -> None:
        (tmp_path / os.fsdecode(b"\xe4.txt")).write_text("Cough.")
        entries, _ = read(FolderSource(path=tmp_path))
        assert list(entries) == [r"\xe4"]

    def test_missing_empty_and_wrong_paths_are_errors(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere does not exist"):
            read(FolderSource(path=tmp_path / "nowhere"))
        with pytest.raises(InputError, match=r"no file named '\*.txt'"):
            read(FolderSource(path=tmp_path))
        (tmp_path / "a.txt").write_text("Cough.")
        with pytest.raises(InputError, match="is not a folder"):
            read(FolderSource(path=tmp_path / "a.txt"))

    def test_stamp_follows_the_files(self, tmp_path: Path) -> None:
        source = FolderSource(path=tmp_path)
        (tmp_path / "a.txt").write_text("Cough.")
        before = source.stamp()
        (tmp_path / "notes.md").write_text("Cough.")
        assert source.stamp() == before
        (tmp_path / "a.txt").write_text("Cough and fever.")
        assert source.stamp() != before


class TestJsonl:
    def test_reads_fields(self, tmp_path: Path) -> None:
        path = write_lines(
            tmp_path / "charts.jsonl",
            {"note": "Cough.", "key": 7, "part": "test", "gold": GOLD},
            "",
            {"note": "Fever.", "other": 1},
        )
        source = JsonlSource(
            path=path, text_field="note", id_field="key", split_field="part", gold_field="gold", split="train"
        )
        entries, reasons = read(source)
        assert not reasons
        gold = {"medication": (Item(text="Velotasartan", status="start"),), "tests": ()}
        assert entries["7"] == SourceEntry("7", f"{path}:1", "Cough.", "test", gold)
        assert entries["charts:3"] == SourceEntry("charts:3", f"{path}:3", "Fever.", "train", None)

    def test_reads_the_chart_of_api_fine_tuning_prompts(self, tmp_path: Path) -> None:
        question = "\n\nLIST ALL TESTS:"
        path = write_lines(tmp_path / "api.jsonl", {"prompt": f"Cough. {question} "}, {"prompt": "Cough."})
        entries, reasons = read(JsonlSource(path=path, text_field="prompt", text_end="\n\nLIST ALL"))
        assert [entry.text for entry in entries.values()] == ["Cough. "]
        assert reasons == {"api.jsonl:2": "missing_text_end"}

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (f'{{"text": "{SECRET}', "bad_json"),
            (f'["{SECRET}"]', "bad_json"),
            ("[" * 100_000, "bad_json"),
            ('{"id": "a"}', "missing_text"),
            (f'{{"text": ["{SECRET}"]}}', "missing_text"),
            ('{"text": " "}', "empty"),
            (f'{{"text": "{SECRET} \\ud800"}}', "bad_text"),
            (f'{{"text": "{SECRET}", "id": ["{SECRET}"]}}', "bad_id"),
            (f'{{"text": "{SECRET}", "id": true}}', "bad_id"),
            (f'{{"text": "{SECRET}", "id": "\\udfff"}}', "bad_id"),
            (f'{{"text": "{SECRET}", "split": "{SECRET}"}}', "bad_split"),
            (f'{{"text": "{SECRET}", "gold": "{SECRET}"}}', "bad_gold"),
            (f'{{"text": "{SECRET}", "gold": {{"tests": [{{"name": "{SECRET}"}}]}}}}', "bad_gold"),
            (f'{{"text": "{SECRET}", "gold": {{"tests": [{{"text": "\\ud800"}}]}}}}', "bad_gold"),
            (f'{{"text": "{SECRET * 200}"}}', "too_large"),
            (f'{{"text": "{SECRET * 2000}"}}', "too_large"),
        ],
    )
    def test_rejects_a_bad_line_and_reads_on(self, tmp_path: Path, line: str, reason: str) -> None:
        path = write_lines(tmp_path / "a.jsonl", line, {"text": "Cough."})
        max_bytes = 20_000 if line.startswith("[[") else 1000
        entries, reasons = read(JsonlSource(path=path, split_field="split", gold_field="gold"), max_bytes)
        assert reasons == {"a.jsonl:1": reason}
        assert list(entries) == ["a:2"]

    @pytest.mark.parametrize(
        ("gold", "said"),
        [
            ('["a"]', "is no object"),
            (f'{{"{SECRET}": "stop"}}', "a task without a list of items"),
            (f'{{"tests": ["{SECRET}"]}}', "item 1 of task 'tests', no object"),
            (f'{{"tests": [{{"text": "MRI"}}, {{"txt": "{SECRET}"}}]}}', "item 2 of task 'tests', no 'text'"),
            (f'{{"tests": [{{"text": "{SECRET}", "optinal": true}}]}}', "did you mean 'optional'?"),
            (f'{{"tests": [{{"text": "MRI", "{SECRET}": "stop"}}]}}', "an unknown key; gold is {task:"),
            ('{"tests": [{"text": "MRI", "optional": "perhaps"}]}', "a wrong 'optional'"),
            ('{"tests": [{"text": ""}]}', "a wrong 'text'"),
        ],
    )
    def test_an_error_in_gold_says_where_and_what_gold_is(self, tmp_path: Path, gold: str, said: str) -> None:
        path = write_lines(tmp_path / "a.jsonl", f'{{"text": "Cough.", "gold": {gold}}}')
        (row,) = JsonlSource(path=path, gold_field="gold").read()
        assert isinstance(row, RejectedRecord) and row.reason == "bad_gold"
        assert said in row.detail and '[{"text": ..., "status": ..., "optional": true}]' in row.detail
        assert SECRET not in row.model_dump_json()

    def test_whole_numbers_that_became_floats_are_ids(self, tmp_path: Path) -> None:
        ids = ("1001.0", "null", "1e3", '"01"', '"1"', "NaN", "1.5", "9007199254740993.0", "Infinity", '"1.0"')
        lines = [f'{{"id": {one}, "text": "Cough."}}' for one in ids]
        entries, reasons = read(JsonlSource(path=write_lines(tmp_path / "a.jsonl", *lines)))
        assert list(entries) == ["1001", "a:2", "1000", "01", "1", "a:6", "1.0"]
        assert reasons == {"a.jsonl:7": "bad_id", "a.jsonl:8": "bad_id", "a.jsonl:9": "bad_id"}

    def test_gold_that_names_a_task_twice_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text('text,gold\nCough.,"{""tests"": [], ""tests"": [{""text"": ""TSH""}]}"\n')
        assert read(TableSource(path=path, gold_field="gold")) == ({}, {"a.csv:1": "bad_gold"})

    def test_a_line_in_another_encoding_is_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes('{"text": "Ödem"}\n'.encode("cp1252"))
        assert read(JsonlSource(path=path)) == ({}, {"a.jsonl:1": "bad_json"})

    def test_missing_and_empty_files_are_errors(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="does not exist"):
            read(JsonlSource(path=tmp_path / "a.jsonl"))
        (tmp_path / "a.jsonl").touch()
        with pytest.raises(InputError, match="is empty"):
            read(JsonlSource(path=tmp_path / "a.jsonl"))


_SAVE_AND_READ = """
import sys
from pathlib import Path
import datasets
from chartdistill.records.sources import DatasetSource, source_for
folder = Path(sys.argv[1])
rows = datasets.Dataset.from_list([{"id": "a", "text": "Cough."}, {"id": "b", "text": "Fever."}])
rows.save_to_disk(folder / "saved")
datasets.DatasetDict({"east": rows}).save_to_disk(folder / "parts")
rows.to_json(folder / "plain" / "train.jsonl")
scratch = folder / "scratch"
scratch.mkdir()
sources = [source_for(folder / "saved"), DatasetSource(path=folder / "parts", part="east"),
    DatasetSource(path=folder / "plain"), DatasetSource(path=folder / "plain" / "train.jsonl")]
for source in sources:
    print([(entry.id, entry.text) for entry in source.read(1000, scratch)])
print(list(scratch.iterdir()))
"""


@pytest.fixture(scope="module")
def home_and_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("data")
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _SAVE_AND_READ, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return home, done.stdout.splitlines()


class TestDataset:
    def test_reads_saved_and_plain_folders(self, home_and_output: tuple[Path, list[str]]) -> None:
        assert home_and_output[1][:4] == ["[('a', 'Cough.'), ('b', 'Fever.')]"] * 4

    def test_leaves_nothing_in_home_or_scratch(self, home_and_output: tuple[Path, list[str]]) -> None:
        home, output = home_and_output
        assert output[4] == "[]"
        assert [path for path in home.rglob("*") if path.is_file() and b"Cough." in path.read_bytes()] == []

    def test_single_files_are_read_as_by_their_own_sources(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("key,text,part\n001,Cough.,test\n01,Fever.,\n1,Rash.,\n")
        options = {"path": path, "id_field": "key", "split_field": "part", "split": "train"}
        assert read(DatasetSource(**options)) == read(TableSource(**options))
        assert list(read(DatasetSource(**options))[0]) == ["001", "01", "1"]
        path = write_lines(tmp_path / "a.jsonl", '{"text": "Cough.", "text": "Fever."}', {"text": "Rash."})
        assert read(DatasetSource(path=path))[1] == {"a.jsonl:1": "bad_json"}
        with pytest.raises(InputError, match="no part 'test'"):
            read(DatasetSource(path=path, part="test"))

    def test_what_is_not_a_data_set_is_an_error(self, tmp_path: Path) -> None:
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(InputError):
                read(DatasetSource(path=path))
        write_lines(tmp_path / "train.jsonl", {"text": "Cough."})
        with pytest.raises(InputError, match="part 'test'"):
            read(DatasetSource(path=tmp_path, part="test"))


def test_synthetic_charts_depend_on_their_index_only() -> None:
    few, _ = read(SyntheticSource(count=3, seed=5, split="test"))
    many, _ = read(SyntheticSource(count=6, seed=5, split="test"))
    assert list(few.items()) == list(many.items())[:3]
    assert [entry.source for entry in few.values()] == [f"synthetic:train:5:{index}" for index in range(3)]
    other, _ = read(SyntheticSource(count=3, seed=6))
    assert {entry.text for entry in few.values()}.isdisjoint(entry.text for entry in other.values())
    for entry in few.values():
        assert entry.gold is not None
        assert all(item.text in entry.text.replace(":, ", ": ") for items in entry.gold.values() for item in items)


def test_the_source_for_a_path_follows_what_is_there(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet", "a.docx"):
        (tmp_path / name).touch()
    assert source_for(tmp_path) == FolderSource(path=tmp_path)
    assert source_for(tmp_path / "*.docx") == FolderSource(path=tmp_path, pattern="*.docx")
    assert source_for(tmp_path / "a.jsonl") == JsonlSource(path=tmp_path / "a.jsonl")
    assert source_for(tmp_path / "a.csv") == TableSource(path=tmp_path / "a.csv")
    assert source_for(tmp_path / "a.parquet") == TableSource(path=tmp_path / "a.parquet")
    for name, message in (("a.docx", "another kind"), ("nowhere", "does not exist"), ("none/*.txt", "does not exist")):
        with pytest.raises(InputError, match=message):
            source_for(tmp_path / name)


def test_the_union_is_chosen_by_type_and_refuses_unknown_keys(tmp_path: Path) -> None:
    adapter: TypeAdapter[AnySource] = TypeAdapter(AnySource)
    assert adapter.validate_python({"type": "folder", "path": str(tmp_path)}) == FolderSource(path=tmp_path)
    for wrong in ({"type": "fodler", "path": "x"}, {"type": "folder", "path": "x", "glob": "*"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
    with pytest.raises(ValidationError, match="nothing would be left to train on"):
        PrepareOptions(validation_fraction=0.5, test_fraction=0.5)
