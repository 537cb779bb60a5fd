"""A vocabulary from files you have downloaded: brands of RxNorm or of FDA's Orange Book, each with its ingredients.

    python scripts/import_vocabulary.py rrf/RXNCONSO.RRF rrf/RXNREL.RRF > brands.csv     # RxNorm, as its zip unpacks
    python scripts/import_vocabulary.py products.txt > brands.csv                        # the Orange Book's data file

Needs nothing but Python and reaches no network. RxNorm: names of the types BN, IN and MIN, joined by `tradename_of`
(columns: RxNorm Technical Documentation, sections 12.4 and 12.7); use the Current Prescribable Content, which needs no
licence. Orange Book: `~` between columns, `; ` between ingredients. A brand whose products differ in their ingredients
means no one thing: it is left out and counted.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

RXNORM_NAMES = {"BN", "IN", "MIN"}


def main(arguments: list[str]) -> int:
    """Write CSV to standard output; counts go to standard error."""
    match [Path(name) for name in arguments]:
        case [names, relations]:
            found = rxnorm(_lines(names), _lines(relations))
        case [products]:
            found = orange_book(_lines(products))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    brands: dict[str, set[str]] = defaultdict(set)
    for brand, ingredients in found:
        name = " ".join(brand.split()).casefold()
        made_of = " + ".join(sorted(" ".join(one.split()).casefold() for one in ingredients))
        if name and made_of and name not in made_of:
            brands[name].add(made_of)
    if not brands:
        print(f"{arguments[0]}: no brand found; is it the file that the head of this script names?", file=sys.stderr)
        return 3
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("name", "kind", "same-as"))
    writer.writerows((name, "medication", *made_of) for name, made_of in sorted(brands.items()) if len(made_of) == 1)
    several = sum(len(made_of) > 1 for made_of in brands.values())
    print(f"{len(brands) - several} brands written, {several} left out: several meanings", file=sys.stderr)
    return 0


def rxnorm(names: Iterable[str], relations: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """(brand, ingredients) from the lines of RXNCONSO.RRF and RXNREL.RRF."""
    known: dict[str, tuple[str, str]] = {}
    for line in names:
        columns = line.split("|")
        if len(columns) > 14 and columns[11] == "RXNORM" and columns[12] in RXNORM_NAMES:
            known[columns[0]] = (columns[12], columns[14])
    made_of: dict[str, set[str]] = defaultdict(set)
    for line in relations:
        columns = line.split("|")
        if len(columns) > 7 and columns[7] in ("tradename_of", "has_tradename"):
            for brand, other in ((columns[0], columns[4]), (columns[4], columns[0])):
                if known.get(brand, ("",))[0] == "BN" and known.get(other, ("",))[0] == "IN":
                    made_of[brand].add(known[other][1])
    for brand, ingredients in made_of.items():
        yield known[brand][1], ingredients


def orange_book(lines: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """(trade name, ingredients) from the lines of products.txt."""
    for row in csv.DictReader(lines, delimiter="~", quoting=csv.QUOTE_NONE):
        yield row.get("Trade_Name") or "", set((row.get("Ingredient") or "").split("; "))


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        yield from stream


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
