"""CSV, TSV and Parquet: every row an entry or a rejection that names its line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from chartdistill.errors import InputError
from chartdistill.records.sources import (
    TableSource,
)
from chartdistill.schema import Item
from source_reading import GOLD, SECRET, read


class TestTable:
    @pytest.mark.parametrize("separator", [";", "\t", "|"])
    def test_a_csv_with_another_separator_is_told_so(self, tmp_path: Path, separator: str) -> None:
        path = tmp_path / "a.csv"
        path.write_text(f"id{separator}text\n1{separator}{SECRET}\n")
        with pytest.raises(InputError, match=f"here it is {re.escape(repr(separator))}: export it with commas"):
            read(TableSource(path=path))

    @pytest.mark.parametrize(
        ("content", "said"), [(b"", "is empty"), (gzip.compress(b"id,text\n", mtime=0), "is gzip-compressed")]
    )
    def test_a_file_that_is_no_table_is_called_what_it_is(self, tmp_path: Path, content: bytes, said: str) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read(TableSource(path=path))

    def test_a_missing_column_names_its_option(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("id,note\n1,Cough.\n")
        with pytest.raises(InputError, match=r"no column 'text'; .* as `text_field` of this source"):
            read(TableSource(path=path))
        with pytest.raises(InputError, match=r"no column 'truth'; .* as `gold_field` of this source"):
            read(TableSource(path=path, text_field="note", gold_field="truth"))

    def test_reads_csv_with_long_and_many_line_fields(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        text = "Cough.\n" * 30_000
        path.write_text(f'id,text,gold,extra\n007,"{text}","{{""tests"": [{{""text"": ""TSH""}}]}}",x\n,Fever.,,\n')
        entries, _ = read(TableSource(path=path, gold_field="gold"), 1_000_000)
        assert entries["007"].text == text
        assert entries["007"].gold == {"tests": (Item(text="TSH"),)}
        assert entries["a:2"].gold is None

    @pytest.mark.parametrize("encoding", ["utf-8", "utf8", "utf-8-sig"])
    def test_a_byte_order_mark_is_no_part_of_the_first_column(self, tmp_path: Path, encoding: str) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(b"\xef\xbb\xbfid,text\n007,\xc3\x96dem.\n")
        assert read(TableSource(path=path, encoding=encoding))[0]["007"].text == "Ödem."

    def test_reads_csv_of_a_windows_spreadsheet(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes("text\nÖdem\n".encode("cp1252"))
        with pytest.raises(InputError, match="set `encoding`"):
            read(TableSource(path=path))
        assert read(TableSource(path=path, encoding="cp1252"))[0]["a:1"].text == "Ödem"
        with pytest.raises(ValidationError, match="knows no encoding"):
            TableSource(path=path, encoding="cp9999")

    def test_a_row_that_is_no_csv_is_named_by_the_line_it_begins_in(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        good = 'id,text\n1,"He said ""no""\nand left"\n\n'
        for bad in ('2,"He said \\"no\\" now"\n3,Cough.\n', '2,"Fever.\n3,Cough.\n', '2,"Fever" and cough\n'):
            path.write_text(good + bad)
            with pytest.raises(InputError, match=r"a\.csv: line 5: the row that begins here is not CSV"):
                read(TableSource(path=path))
        path.write_text(good)
        assert list(read(TableSource(path=path))[0]) == ["1"]

    def test_stray_bytes_are_repaired_in_their_row_and_mixed_up_encodings_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes("id,text\n1,Ménière’s\n".encode() + b"2,doesn\x92t take 50 \xb5g\n")
        entries, _ = read(TableSource(path=path))
        assert (entries["1"].text, entries["1"].repaired) == ("Ménière’s", 0)
        assert (entries["2"].text, entries["2"].repaired) == ("doesn’t take 50 µg", 2)
        path.write_bytes(b"id,text\n1,Cough.\n2,50 \xb5g\n")
        with pytest.raises(InputError, match=r"not UTF-8: line 3 is the first .* `encoding` of this source"):
            read(TableSource(path=path))
        path.write_text("id,text\n1,50 µg\n")
        with pytest.raises(InputError, match="is UTF-8, not cp1252"):
            read(TableSource(path=path, encoding="cp1252"))
        path.write_bytes("id,text\n1,50 µg\n".encode("utf-16"))
        assert read(TableSource(path=path))[0]["1"].text == "50 µg"

    def test_fields_without_a_column_are_not_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("id,text\n1,Takes aspirin, zinc\n2,Cough.,\n3\n")
        entries, reasons = read(TableSource(path=path))
        assert list(entries) == ["2"]
        assert reasons == {"a.csv:1": "extra_fields", "a.csv:3": "missing_text"}
        path.write_text("id,text,text\n1,Cough.,Fever.\n")
        with pytest.raises(InputError, match="more than one column 'text'"):
            read(TableSource(path=path))

    def test_ids_that_pandas_wrote_as_floats(self, tmp_path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "a.csv"
        path.write_text("id,text\n1001.0,Cough.\n,Fever.\n1003.0,Rash.\n")
        assert list(read(TableSource(path=path))[0]) == ["1001", "a:2", "1003"]
        path.write_text("id,text\n1.0,Cough.\n2.0,Fever.\n")  # none is missing: versions, say
        assert list(read(TableSource(path=path))[0]) == ["1.0", "2.0"]
        columns = {"id": [7.0, None, float("nan"), 9.0, 9.5], "text": ["A b."] * 5}
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
        entries, reasons = read(TableSource(path=tmp_path / "a.parquet"))
        assert list(entries) == ["7", "a:2", "a:3", "9"]
        assert reasons == {"a.parquet:5": "bad_id"}

    def test_reads_parquet_with_nested_gold(self, tmp_path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "a.parquet"
        rows = [
            {"id": 3, "text": "Cough.", "gold": GOLD | {"diagnosis": None}},
            {"id": 4, "text": None, "gold": None},
        ]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        entries, reasons = read(TableSource(path=path, gold_field="gold"))
        assert entries["3"].gold == {"medication": (Item(text="Velotasartan", status="start"),), "tests": ()}
        assert reasons == {"a.parquet:2": "missing_text"}

    def test_gold_items_may_be_optional(self, tmp_path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        items = [{"text": "EEG"}, {"text": "MRI", "optional": True}]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([{"id": "a", "text": "Cough.", "gold": {"tests": items}}]), tmp_path / "a.parquet"
        )
        (tmp_path / "a.csv").write_text(
            'id,text,gold\na,Cough.,"' + json.dumps({"tests": items}).replace('"', '""') + '"\n'
        )
        for name in ("a.parquet", "a.csv"):
            entries, _ = read(TableSource(path=tmp_path / name, gold_field="gold"))
            assert entries["a"].gold == {"tests": (Item(text="EEG"), Item(text="MRI", optional=True))}
        assert Item(text="EEG").line() == '{"text":"EEG","status":null}', (
            "files without optional gold stay as they were"
        )
        assert Item.model_validate_json(Item(text="MRI", optional=True).line()).optional

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("a.csv", b"note\nCough.\n", "no column 'text'; its columns are note"),
            ("a.csv", b"text\n", "has no rows"),
            ("a.csv", b"", "no column 'text'"),
            ("a.csv", b'text\n"' + SECRET.encode() * 20_000, "quote left open"),
            ("a.parquet", SECRET.encode() * 9, "cannot be read as Parquet"),
            ("a.xlsx", b"x", "must end in"),
        ],
    )
    def test_a_table_that_cannot_be_read_is_an_error(
        self, tmp_path: Path, name: str, data: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message) as caught:
            read(TableSource(path=tmp_path / name))
        assert SECRET not in str(caught.value)

    def test_parquet_with_damaged_text_is_an_error(self, tmp_path: Path) -> None:
        import pyarrow.parquet

        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": SECRET}]), path, compression="none")
        path.write_bytes(path.read_bytes().replace(SECRET.encode(), b"\xff" + SECRET.encode()[1:]))
        with pytest.raises(InputError, match=r"cannot be read as Parquet \(UnicodeDecodeError\)") as caught:
            read(TableSource(path=path))
        assert SECRET[1:] not in str(caught.value)
