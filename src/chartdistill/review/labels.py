"""The view Labels: a queue ranked by doubt, one label with its chart, and what a person decides about it.

In, out: plain values, as the page sends and gets them (JSON). Must hold: a decision is on disk before the page hears of
it; nobody decides over a decision that he has not seen, nor about an answer that has changed meanwhile.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chartdistill.curation import ACTIONS, Decision, decision_file, in_force, is_about, now, seen_hash
from chartdistill.review.places import items_from, shown_item
from chartdistill.review.refusal import RefusedError, number_of, text_of
from chartdistill.review.shelf import Entry, Place, Shelf, ShelfLabel
from chartdistill.schema import Item, Rejection

PAGE = 50
"""Labels that the queue gives at once."""
SHOWN = ("open", "rejected", "kept", "decided")
_PERSON = "person"


class LabelView:
    """The labels of a run, and one person's decisions.

    `is_hidden`: whether a record must not be shown to this person now (see `gold`).
    """

    def __init__(self, run_dir: Path, person: str, is_hidden: Callable[[str], bool] = lambda record: False) -> None:
        self._run_dir, self._person, self._is_hidden = run_dir, person, is_hidden
        self._shelf = Shelf(run_dir)
        self._file = decision_file(run_dir)
        self._renewing = threading.Lock()

    def shelf(self) -> Shelf:
        """The labels as they are now; as they were, while a stage is being done again."""
        with self._renewing:
            mark = Shelf.mark_of(self._run_dir)
            if None not in mark and mark != self._shelf.mark:
                self._shelf = Shelf(self._run_dir)
            return self._shelf

    def queue(self, given: dict[str, Any]) -> dict[str, Any]:
        """A part of the queue. `show`: one of `SHOWN`, or `all`; `task`, `find` (part of a record's id); `from`: the
        rank of the first label that may be in it.

        Ranks are of all labels, so that what was decided since the part before moves none of those that follow.
        """
        show, task = text_of(given, "show"), text_of(given, "task")
        find, first = text_of(given, "find").strip().casefold(), number_of(given, "from", 0)
        if show not in (*SHOWN, "all"):
            raise RefusedError(f"`show` must be one of {', '.join((*SHOWN, 'all'))}.")
        shelf, decided = self.shelf(), in_force(self._file.rows())
        ranked = [one for one in enumerate(shelf.entries) if not self._is_hidden(one[1].place[0])]
        counts = Counter(kind for _, entry in ranked for kind in _kinds(entry, decided))
        wanted = [
            (rank, entry)
            for rank, entry in ranked
            if (show == "all" or show in _kinds(entry, decided))
            and task in ("", entry.place[1])
            and find in entry.place[0].casefold()
        ]
        rest = [one for one in wanted if one[0] >= first]
        return {
            "total": len(wanted),
            "left": len(rest[PAGE:]),
            "counts": {kind: counts[kind] for kind in SHOWN} | {"all": len(ranked)},
            "entries": [_row(entry, decided.get(entry.place)) | {"rank": rank} for rank, entry in rest[:PAGE]],
        }

    def label(self, given: dict[str, Any]) -> dict[str, Any]:
        """One label with its chart, its items and where they stand, and what speaks against them."""
        found = self._found(given)
        record, label, task = found.record, found.label, found.task
        objections = () if found.curated is None else (*found.curated.rejections, *found.curated.readmitted)
        objections = tuple(one for one in objections if one.filter != _PERSON)
        said = [
            {**shown_item(item, record.text, task), "objections": _shown(objections, item)}
            for item in found.items or ()
        ]
        place = found.entry.place
        rows = [row for row in self._file.rows() if row.place == place]
        return {
            "record": record.id,
            "task": task.name,
            "sample": label.sample,
            "statuses": task.statuses,
            "question": task.question,
            "split": record.split,
            "text": record.text,
            "label": label.key,
            "seen": seen_hash(label, record),
            "state": "kept" if found.entry.is_kept else "rejected",
            "doubt": round(found.entry.doubt, 3),
            "why": found.entry.why,
            "items": said,
            "objections": _shown(objections, None),
            "raw": label.completion if found.items is None else None,
            "failure": label.failure,
            "decision": self._decision(in_force(rows).get(place), found),
            "num_decisions": len(rows),
        }

    def decide(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write a decision down. `action`, `items` of `keep`, and `after`: the id of the decision that the page shows.

        Raises:
            RefusedError: 409 where the label, or the decision about it, is another one by now.
        """
        found, said = self._found(given), text_of(given, "action")
        place, seen = found.entry.place, seen_hash(found.label, found.record)
        if given.get("seen") != seen:
            raise RefusedError("Not saved: the label was made anew meanwhile. It is shown as it is now.", 409)
        action = next((one for one in ACTIONS if one == said), None)
        if action is None:
            raise RefusedError(f"`action` must be one of {', '.join(ACTIONS)}.")
        items = items_from(given.get("items"), found.task) if action == "keep" else None
        after = given.get("after")

        def made(rows: Sequence[Decision]) -> list[Decision]:
            standing = in_force(row for row in rows if row.place == place).get(place)
            if (None if standing is None else standing.id) != after:
                raise RefusedError(_overtaken(standing), 409)
            if action == "undo" and standing is None:
                raise RefusedError("There is no decision about this label to undo.")
            last = max((row.at for row in rows if row.place == place), default="")
            return [
                Decision(
                    id=uuid.uuid4().hex,
                    action=action,
                    record=place[0],
                    task=place[1],
                    sample=place[2],
                    label=found.label.key,
                    seen=seen,
                    items=items,
                    undoes=standing.id if action == "undo" and standing is not None else None,
                    by=self._person,
                    at=max(now(), _just_after(last)),
                )
            ]

        self._file.add(made)
        rows = [row for row in self._file.rows() if row.place == place]
        return {"decision": self._decision(in_force(rows).get(place), found), "num_decisions": len(rows)}

    def locate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Where items that a person wrote stand in the chart."""
        found = self._found(given)
        items = items_from(given.get("items"), found.task)
        return {"items": [shown_item(item, found.record.text, found.task) for item in items]}

    def _found(self, given: dict[str, Any]) -> ShelfLabel:
        place: Place = (text_of(given, "record"), text_of(given, "task"), number_of(given, "sample", 0))
        shelf = self.shelf()
        if place not in shelf or self._is_hidden(place[0]):
            raise RefusedError(
                "There is no such label to look at: it was made anew, or belongs to a held-out record.", 404
            )
        return shelf.label(place)

    def _decision(self, decision: Decision | None, found: ShelfLabel) -> dict[str, Any] | None:
        if decision is None:
            return None
        items = [shown_item(item, found.record.text, found.task) for item in decision.items or ()]
        is_stale = not is_about(decision, found.label, found.record)
        return {
            "id": decision.id,
            "action": decision.action,
            "items": items,
            "by": decision.by,
            "at": decision.at,
            "stale": is_stale,
        }


def _kinds(entry: Entry, decided: dict[Place, Decision]) -> tuple[str, str]:
    return "decided" if entry.place in decided else "open", "kept" if entry.is_kept else "rejected"


def _row(entry: Entry, decision: Decision | None) -> dict[str, Any]:
    record, task, sample = entry.place
    said = None if decision is None else {"action": decision.action, "by": decision.by}
    state = "kept" if entry.is_kept else "rejected"
    return {"record": record, "task": task, "sample": sample, "doubt": round(entry.doubt, 3), "why": entry.why,
            "state": state, "decision": said}  # fmt: skip


def _shown(objections: Sequence[Rejection], item: Item | None) -> list[dict[str, Any]]:
    """What speaks against an item; None: against the label as a whole."""
    fields = {"filter", "reason", "evidence", "span"}
    return [one.model_dump(include=fields) for one in objections if one.item == item]


def _overtaken(standing: Decision | None) -> str:
    if standing is None:
        return "Not saved: the decision that you saw was undone meanwhile. The label is shown as it is now."
    return f"Not saved: {standing.by} decided about this label meanwhile. It is shown as it is now."


def _just_after(at: str) -> str:
    """A clock that was set back must not put a decision before the one that it follows."""
    if not at:
        return ""
    seconds, micro = at[:-8], int(at[-7:-1])
    return f"{seconds}.{micro + 1:06d}Z" if micro < 999_999 else f"{at[:-1]}Z"
