"""Does a file of gold belong to the charts it stands beside? `prepare` refuses one that does not, but only then."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from chartdistill.config import Run
from chartdistill.doctor.check import Check, State
from chartdistill.doctor.models import first_sentence
from chartdistill.errors import ConfigError, InputError
from chartdistill.records import AnySource, GoldFile, SourceEntry, body_hash, clean, read_annotations

_MOST_READ = 20_000
"""As many charts as the amount of work is counted from."""
_SHOWN = 3


def check_gold(run: Run, absent: State) -> Iterator[Check]:
    """One line for each source whose gold is in a file of its own; `absent`: where charts or file are not here."""
    for source in run.config.records:
        if source.gold is None:
            continue
        if not source.gold.path.exists():
            yield Check("gold", absent, f"{source.gold.path} does not exist", "correct `gold:`, or leave it out")
            continue
        try:
            yield _match(run, source)
        except (ConfigError, InputError) as error:
            yield Check("gold", "no", *first_sentence(error))


def _match(run: Run, source: AnySource) -> Check:
    assert source.gold is not None
    gold = GoldFile(source.gold, run.tasks)
    charts, found, with_gold = 0, list[str](), 0
    with tempfile.TemporaryDirectory() as scratch:  # private to this user
        for entry in islice(source.read(run.config.prepare.max_bytes, Path(scratch)), _MOST_READ):
            if not isinstance(entry, SourceEntry):
                continue
            text = clean(entry.text).text
            charts += 1
            found += [entry.id] if len(found) < _SHOWN else []
            with_gold += gold.of_record(entry.id, body_hash(text), text, entry.filed_as) is not None
    if not charts:
        return Check("gold", "warning", f"{source.gold.path}: no chart could be read that it may belong to")
    if not with_gold:
        theirs = [one.key for one in read_annotations(source.gold, run.tasks).answers if one.key is not None]
        said = f"{source.gold.path} has gold of none of the {charts:,} charts; they are called {', '.join(found)}"
        said += f", in the gold {', '.join(dict.fromkeys(theirs[:_SHOWN]))}" if theirs else ""
        remedy = "give charts and gold the same ids (of a folder: the path below it, without its ending), or the gold "
        return Check("gold", "no", said, remedy + "the charts' text: docs/existing-labels.md")
    gold.require_match({})
    said = f"{source.gold.path}: {with_gold:,} of {charts:,} charts have gold"
    return Check("gold", "ok", said)
