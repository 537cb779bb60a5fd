"""`erase`: take a patient out of run folders, so that nothing of the charts is left, and prove it.

In: run folders (or a study's), ids of records, or groups. Out: the same folders without what they had of them, and a
tombstone for each record. Must hold: the first thing written is what is to be done, the last thing taken out is the
record itself, so that a kill at any point is made good by the same command; no file is half written; `prepare` does not
bring the record back; the search at the end finds nothing, or names what it found and fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from chartdistill.erasure.cleaning import Taken, clean_file, remove_empty_folders
from chartdistill.erasure.manifests import forget_in_registrations, mark_adapters, recount, rewrite_records
from chartdistill.erasure.plan import UNPROVEN, Plan, begun, new_salt
from chartdistill.erasure.remaking import remake_report, retrain_command
from chartdistill.erasure.search import files_below, search
from chartdistill.erasure.targets import (
    RECORDS,
    REJECTED,
    adapters_in,
    erased_before,
    find_targets,
    group_key,
    homes_of,
    near_duplicates,
    nearest,
    other_texts,
    records_in,
    runs_in,
    texts_of,
    with_near_duplicates_of,
)
from chartdistill.erasure.traces import Runs5, Traces
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.evaluation import REGISTRATIONS
from chartdistill.evaluation.variant import Variant
from chartdistill.runtime.progress import now_and_then
from chartdistill.runtime.run_folder import disk_errors, read_rows, unfinish
from chartdistill.runtime.run_locks import LOCK, ONLOOKERS, UNFINISHED_ERASURE, lock, nobody_looking_on
from chartdistill.runtime.tombstones import SALT, TOMBSTONES, Tombstone, Tombstones, remove_file

_OWN = (TOMBSTONES, SALT, UNFINISHED_ERASURE, UNPROVEN, REGISTRATIONS, LOCK, ONLOOKERS)
EXPORTS = "exports"
"""In a run folder: what `export` writes where no place is named."""
_ANEW = ("report", "cache")
"""Folders of a run that are made again from the rest, or are only a copy of sources."""
_STUDY_PAGES = ("study.json", "study.md", "study.html")
_SHOWN = 20
Say = Callable[[str], None]
_told = now_and_then("erase")


class LeftoverError(ArtefactError):
    """All that could be taken out is, and something of a record is still there."""


def erase(
    folders: Sequence[Path],
    ids: Sequence[str],
    groups: Sequence[str] = (),
    with_near_duplicates: bool = False,
    dry_run: bool = False,
    confirm: Callable[[str], bool] = lambda question: True,
    say: Say = print,
) -> None:
    """Erase records from some run folders.

    Args:
        with_near_duplicates: erase the other records of their clusters too.
        dry_run: only say what would go.
        confirm: asked once for each folder, before anything changes.

    Raises:
        InputError: no folder has a record of this name; names those like it.
        ArtefactError: a folder is no run folder, or in use.
        LeftoverError: the search found something that no verb wrote.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ArtefactError(f"{folder} is no folder. Name run folders, for example runs/demo.")
        if folder.resolve() in [other.resolve().parent for other in folders]:
            raise ArtefactError(f"{folder} is named together with a folder in it; name one of them.")
    if not ids and not groups and not any(begun(folder) for folder in folders):
        raise ConfigError("erase needs --record ID or --group ID: whose charts are to go.")
    unknown = [set(ids) for _ in folders]
    left: list[str] = []
    done: list[Path] = []
    for number, folder in enumerate(dict.fromkeys(folders)):
        with nullcontext() if dry_run else _held(folder):
            left += _go_on(folder, say) if not dry_run else []
            plan, missing = _plan(folder, ids, groups, with_near_duplicates, say)
            unknown[number] = missing
            if plan is None:
                continue
            _tell(plan, say)
            if dry_run:
                _show(plan, say)
                continue
            if not confirm(f"Erase {_records(plan)} from {folder}? This cannot be undone. [yes/no] "):
                raise ConfigError(f"nothing was erased from {folder}: it was not confirmed with `yes`.{_before(done)}")
            plan.write()
            left += _carry_out(plan, say)
            done.append(folder)
    if nowhere := set.intersection(*map(set, unknown)):
        raise _unknown(folders, sorted(nowhere))
    if left:
        raise LeftoverError(
            f"something of what was erased is still in {len(left)} {'file' if len(left) == 1 else 'files'}: "
            f"{', '.join(left[:_SHOWN])}. No verb wrote it, or it cannot be changed: delete it, then run the same "
            "command again, which searches once more."
        )


def _before(done: Sequence[Path]) -> str:
    """Of folders that were asked about before this one."""
    return f" Erased before: {', '.join(map(str, done))}." if done else ""


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """A folder for this erasure alone: nobody writes to it or to a run in it (a study's, a round), and nobody looks at
    its charts."""
    held = sorted({folder, *(path.parent for path in folder.rglob(LOCK))})
    with ExitStack() as stack:
        for one in held:
            stack.enter_context(lock(one, erasing=True))
        stack.enter_context(nobody_looking_on(sorted({*homes_of(folder), *runs_in(folder)})))
        yield


def _plan(
    folder: Path, ids: Sequence[str], groups: Sequence[str], with_near_duplicates: bool, say: Say
) -> tuple[Plan | None, set[str]]:
    """What is to be done in a folder, and the ids that are not there. None where there is nothing to do."""
    homes = homes_of(folder)
    targets, missing = find_targets(folder, homes, ids, groups)
    unknown = set()
    for name in missing:
        if (when := erased_before(homes, name)) is not None:
            say(f"{folder}: record {name} was erased at {when}; nothing of it is left to erase.")
        else:
            unknown.add(name)
    if unknown and set(ids) != unknown:
        say(f"{folder}: has no record {', '.join(sorted(unknown))}.")
    if not targets:
        return None, unknown
    if with_near_duplicates:
        targets = with_near_duplicates_of(folder, homes, targets)
    salt = new_salt()
    own = Runs5(salt).own(texts_of(homes, targets), _told(other_texts(folder, homes, targets), "texts compared"))
    variants = {
        row.id for path in folder.rglob("variants.jsonl") for row in read_rows(path, Variant) if row.record in targets
    }
    others = (record.id for record in records_in(homes) if record.id not in targets)
    traces = Traces(targets, variants, own, salt, others)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    adapters = tuple(adapters_in(folder, targets))
    return Plan(folder, targets, tuple(group_key(group) for group in groups), traces, salt, now, adapters), unknown


def _unknown(folders: Sequence[Path], names: Sequence[str]) -> InputError:
    homes = [home for folder in folders for home in homes_of(folder)]
    where = ", ".join(str(folder) for folder in folders)
    told = []
    for name in names[:_SHOWN]:
        near = nearest(homes, name)
        told.append(f"{name!r}" + (f" (near: {', '.join(map(repr, near))})" if near else ""))
    return InputError(
        f"{where}: no record of this id: {'; '.join(told)}. Ids stand in records/{RECORDS}; where a patient's number "
        "is known instead, give --group."
    )


def _go_on(folder: Path, say: Say) -> list[str]:
    """Finish what an earlier call began and did not prove; returns what is left."""
    plan = begun(folder)
    if plan is None:
        return []
    say(f"{folder}: an erasure of {_records(plan)} was begun at {plan.time} and is gone on with.")
    return _carry_out(plan, say)


def _records(plan: Plan) -> str:
    names = sorted(plan.targets)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {'record' if len(names) == 1 else 'records'} ({', '.join(names[:_SHOWN])}{more})"


def _tell(plan: Plan, say: Say) -> None:
    say(f"{plan.folder}: {_records(plan)}")
    if others := near_duplicates(homes_of(plan.folder), plan.targets):
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
        say(
            f"  stay, though they are near-duplicates of it or charts of the same group: {shown} (--near-duplicates "
            "erases them too)"
        )


def _files(plan: Plan) -> Iterator[Path]:
    """Those to take rows out of, without the records themselves."""
    aside = {home / "records" / name for home in homes_of(plan.folder) for name in (RECORDS, REJECTED)}
    for path in sorted(files_below(plan.folder)):
        if path.name not in _OWN and path not in aside:
            yield path


def _show(plan: Plan, say: Say) -> None:
    for path in _files(plan):
        if gone := _goes_whole(plan, path):
            say(f"  {path.relative_to(plan.folder)}: would be removed ({gone})")
        elif taken := clean_file(path, plan.folder, plan.traces, dry=True):
            say(f"  {path.relative_to(plan.folder)}: {_in_words(taken)} would go")
    for home in homes_of(plan.folder):
        say(f"  {(home / 'records' / RECORDS).relative_to(plan.folder)}: the record itself would go")
    _say_adapters(plan, say)
    say("  nothing was changed (--dry-run)")


def _goes_whole(plan: Plan, path: Path) -> str | None:
    """Why a file goes whatever is in it; None where it is looked at."""
    parts = path.relative_to(plan.folder).parts
    for name in _ANEW:
        if name in parts[:-1] and (
            path.parent == plan.folder or _is_home(plan.folder.joinpath(*parts[: parts.index(name)]))
        ):
            return "made again from what is left" if name == "report" else "a copy of the sources"
    if path.name in _STUDY_PAGES and path.parent == plan.folder:
        return "made again by `chartdistill study`"
    if path.name.startswith(".staged.jsonl") or any(part.startswith(".datasets-") for part in parts):
        return "left by a killed `prepare`"
    learned = {one.folder for one in plan.adapters}
    if "checkpoints" in parts and plan.folder.joinpath(*parts[: parts.index("checkpoints")]) in learned:
        return "a state of a training that learned from it"
    if path.parent in learned and path.name == "fingerprint":
        return "so that no training goes on from such a state"
    if path.name == "README.md" and path.parent.name == "adapter":
        return "made again with the report"
    return None


def _is_home(folder: Path) -> bool:
    return (folder / "records").is_dir()


def _in_words(taken: Taken) -> str:
    parts = [
        "the file" if taken.whole else "",
        f"{taken.rows} {'row' if taken.rows == 1 else 'rows'}" if taken.rows else "",
        f"its name in {taken.named} {'place' if taken.named == 1 else 'places'}" if taken.named else "",
    ]
    return ", ".join(part for part in parts if part)


def _carry_out(plan: Plan, say: Say) -> list[str]:
    """All of it, in an order in which each step can be done again; returns the files that the search found."""
    had_report = {home for home in homes_of(plan.folder) if (home / "report").is_dir()}
    if (plan.folder / UNFINISHED_ERASURE).exists():
        _change(plan, say)
        plan.changed_all()
    else:
        _clean(plan, say)
    _say_adapters(plan, say)
    for home in homes_of(plan.folder):
        if home in had_report or "report" in plan.rows:
            say(f"  report/: {remake_report(home)}")
    left = _prove(plan, say)
    _say_rest(plan, say)
    if not left:
        plan.proven()
    return left


def _change(plan: Plan, say: Say) -> None:
    homes = homes_of(plan.folder)
    students = {one.folder.parent for one in plan.adapters}
    tombstones = {home: _bury(home, plan) for home in {*homes, *students}}
    mark_adapters(plan.adapters, plan.time)
    for home in students:  # of a study's part: it is known by its own manifest whether it is trained
        unfinish(home)
    _clean(plan, say)
    for folder in [one.folder / "checkpoints" for one in plan.adapters] + [home / "cache" for home in homes]:
        if folder.is_dir():
            shutil.rmtree(folder)
    for home in homes:
        forget_in_registrations(home, plan.targets)
        rewrite_records(home, plan.targets, tombstones[home])
        say(f"  {(home / 'records' / RECORDS).relative_to(plan.folder)}: gone; `prepare` leaves it out from now on")
    for home in runs_in(plan.folder):
        recount(home, Tombstones.of(home))
    rows = sum(plan.rows.values()) - plan.rows.get("report", 0)
    for home, known in tombstones.items():
        buried = [row for row in known.rows if row.time == plan.time]
        known.write(home, [row.model_copy(update={"rows": rows}) for row in buried])


def _clean(plan: Plan, say: Say) -> None:
    """Take the records out of all files but records/ itself."""
    for path in _told(list(_files(plan)), "files cleaned"):
        name = path.relative_to(plan.folder).as_posix()
        if gone := _goes_whole(plan, path):
            if "report" in path.parent.parts and "report" not in plan.rows:
                plan.rows["report"] = 1  # so that a call that goes on makes it again
                plan.write()
            with disk_errors(path):
                remove_file(path)
            if not gone.startswith("made again"):
                say(f"  {name}: removed ({gone})")
        elif taken := clean_file(path, plan.folder, plan.traces):
            plan.rows[name] = plan.rows.get(name, 0) + taken.rows + taken.whole
            say(f"  {name}: {_in_words(taken)} gone")
    remove_empty_folders(plan.folder, plan.traces)


def _bury(home: Path, plan: Plan) -> Tombstones:
    """Write the tombstones of a run folder: before anything goes, so that nothing can come back."""
    known = Tombstones.of(home).with_salt(home)
    trained = {name for one in plan.adapters for name in (*one.trained, *one.perhaps)}
    validated = {name for one in plan.adapters for name in one.validated}
    rows = [
        Tombstone(
            time=plan.time, what="record", name=known.hashed("id", one.id), by_place=one.by_place, split=one.split,
            words=tuple(known.hashed("words", body) for body in sorted(one.words)),
            trained=one.id in trained, validated=one.id in validated,
        )
        for one in plan.targets.values()
    ]  # fmt: skip
    rows += [Tombstone(time=plan.time, what="group", name=known.hashed("group", group)) for group in plan.groups]
    before = {row.name: row for row in known.rows}
    merged = [
        row.model_copy(
            update={
                "trained": row.trained or before[row.name].trained,
                "validated": row.validated or before[row.name].validated,
                "words": tuple(dict.fromkeys((*before[row.name].words, *row.words))),
            }
        )
        if row.name in before
        else row
        for row in rows
    ]
    return known.write(home, merged)


def _say_adapters(plan: Plan, say: Say) -> None:
    for one in plan.adapters:
        name = one.folder.relative_to(plan.folder).as_posix()
        said = [
            f"learned from {len(one.trained)}" if one.trained else "",
            f"was chosen by {len(one.validated)}" if one.validated else "",
            f"may have learned from {len(one.perhaps)} (its examples were made anew since)" if one.perhaps else "",
        ]
        say(f"  {name}/: {', '.join(part for part in said if part)} of these records: it is kept, and marked")


def _prove(plan: Plan, say: Say) -> list[str]:
    """Search the whole folder; returns the files that still hold something."""
    aside = {plan.folder / name for name in (UNFINISHED_ERASURE, UNPROVEN)}
    found = search(plan.folder, plan.traces, lambda path: path in aside, lambda files: _told(files, "files searched"))
    own = len(plan.traces.own)
    where = f"{found.files} files ({found.size / 1e6:.1f} MB) of {plan.folder}"
    if not found.left:
        what = f"none of the {own} word 5-grams that only these records had" if own else "no id of these records"
        say(f"  proof: {what} is in any of {where}" + ("" if own else "; no word 5-gram was theirs alone"))
        return []
    for path, kind in found.left.items():
        what = {"words": "words of the record", "id": "its id"}.get(kind, kind)
        say(f"  STILL THERE: {path.relative_to(plan.folder)}: {what}")
    say(f"  no proof: {len(found.left)} of {where} still hold something")
    return [str(path) for path in found.left]


def _say_rest(plan: Plan, say: Say) -> None:
    """What is left for a person to do."""
    say("Left to do, which `erase` does not:")
    if plan.adapters:
        commands = (retrain_command(home, plan.folder) for home in sorted({one.folder.parent for one in plan.adapters}))
        for command in dict.fromkeys(commands):
            say(f"  - train again: {command}")
        for made in sorted(path for one in plan.adapters for path in one.folder.parent.glob(f"{EXPORTS}/*")):
            say(f"  - weights that were exported before: delete {made}, and its copies")
        say("  - what was made of these adapters elsewhere: merged weights, exports, students that started from them")
    sources = sorted({one.source for one in plan.targets.values() if one.source})
    for source in sources[:_SHOWN]:
        say(f"  - the chart itself: {source}")
    if len(sources) > _SHOWN:
        say(f"  - and {len(sources) - _SHOWN} more charts in the same sources")
    say("  - gold and label files beside the charts; answers, reports and exports that were copied elsewhere")
    say("  - backups and snapshots of this folder; what a disk keeps of deleted files")
