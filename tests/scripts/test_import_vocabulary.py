"""The importer of brand names, on lines in the form of the two sources; all names but the ingredients are invented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.drugs import is_installed
from chartdistill.clinical.vocabulary_file import read_vocabulary
from chartdistill.schema import Task
from places import SCRIPTS

PRODUCTS = (
    "Ingredient~DF;Route~Trade_Name~Applicant~Strength\n"
    "WARFARIN SODIUM~TABLET;ORAL~QUORVANE~HOUSE~5MG\n"
    "AMOXICILLIN; CLAVULANATE POTASSIUM~TABLET;ORAL~TWINFOLD~HOUSE~1G\n"
    "METFORMIN HYDROCHLORIDE~TABLET;ORAL~METFORMIN HYDROCHLORIDE~HOUSE~1G\n"
    "METFORMIN~TABLET;ORAL~SHARED NAME~HOUSE~1G\n"
    "WARFARIN~TABLET;ORAL~SHARED NAME~HOUSE~1G\n"
)


def imported(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "import_vocabulary.py"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_orange_book_and_rxnorm_become_a_vocabulary(tmp_path: Path) -> None:
    products = tmp_path / "products.txt"
    products.write_text(PRODUCTS)
    done = imported(products)
    assert done.stderr == "2 brands written, 1 left out: several meanings\n"
    assert done.stdout.splitlines() == [
        "name,kind,same-as",
        "quorvane,medication,warfarin sodium",
        "twinfold,medication,amoxicillin + clavulanate potassium",
    ]
    names, relations = tmp_path / "RXNCONSO.RRF", tmp_path / "RXNREL.RRF"
    rows = (
        ("1", "RXNORM", "BN", "Quorvane"),
        ("2", "RXNORM", "IN", "warfarin"),
        ("3", "RXNORM", "BN", "Twinfold"),
        ("4", "RXNORM", "IN", "amoxicillin"),
        ("5", "RXNORM", "IN", "clavulanate"),
        ("3", "MTHSPL", "SU", "X"),
    )
    names.write_text(
        "".join(f"{cui}|ENG||||||x||||{source}|{kind}|{cui}|{name}||N||\n" for cui, source, kind, name in rows)
    )
    joined = (("2", "1", "tradename_of"), ("1", "2", "has_tradename"), ("4", "3", "tradename_of"),
              ("5", "3", "tradename_of"), ("2", "4", "form_of"))  # fmt: skip
    relations.write_text("".join(f"{one}||CUI|RO|{other}||CUI|{rela}|x|||\n" for one, other, rela in joined))
    done = imported(names, relations)
    assert done.stdout.splitlines()[1:] == [
        "quorvane,medication,warfarin",
        "twinfold,medication,amoxicillin + clavulanate",
    ]


@pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
def test_what_is_imported_matches_with_and_without_salts(tmp_path: Path) -> None:
    (tmp_path / "products.txt").write_text(PRODUCTS)
    (tmp_path / "names.csv").write_text(imported(tmp_path / "products.txt").stdout)
    drugs = entity_of(
        Task(
            name="t", item="drug", gate_question="?", extraction_question="?", question="?",
            vocabulary=read_vocabulary(tmp_path / "names.csv"),
        )
    )  # fmt: skip
    assert drugs.match_key("Quorvane 5 mg daily") == drugs.match_key("Coumadin") == drugs.match_key("warfarin")
    assert drugs.match_key("Twinfold") == drugs.match_key("Augmentin") == drugs.match_key("amoxicillin-clavulanate")


def test_another_file_is_no_empty_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a,b\n1,2\n")
    done = imported(tmp_path / "other.txt")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no brand found" in done.stderr
    assert imported().returncode == 2
