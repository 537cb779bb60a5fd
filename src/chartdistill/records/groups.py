"""Groups (patients) over clusters: what may not be told apart by a split, and in which words that is said.

In: near-duplicate clusters, and the group of each text. Out: clusters in which near-duplicates and groups are joined: a
cluster that touches two groups makes one of them, a group that touches two clusters too, and so on through others. Must
hold: a group's value is held as a hash and never written; names of clusters are those of near-duplicates, so that they
tell nothing of a group and do not depend on the order of the entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from chartdistill.errors import InputError
from chartdistill.records.near_duplicates import DisjointSets
from chartdistill.records.sources import AnySource

SPLIT_BY = "split_by"
"""Key in the manifest of `prepare`: `group` where sources say whose chart an entry is, else `near_duplicates`."""

_INVENTED = ("synthetic", "written")
"""Types of sources without patients."""
_IDS_BY_CHANCE = 0.05
"""Up to this share of a source's ids may hold the value of their group: numbers can be the same by chance."""


def group_key(group: str) -> str:
    """What is held of a group's value in memory."""
    return hashlib.blake2b(group.encode(), digest_size=16).hexdigest()


def join_groups(clusters: Mapping[str, str], members: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Body hash -> cluster, where clusters that share a group are one, named after the first of them by name.

    Args:
        clusters: body hash -> near-duplicate cluster.
        members: (body hash, group) of every entry that has a group.
    """
    names = sorted(set(clusters.values()))
    numbers = {name: number for number, name in enumerate(names)}
    sets = DisjointSets(len(names))
    first: dict[str, int] = {}
    for body, group in members:
        number = numbers[clusters[body]]
        sets.join(first.setdefault(group, number), number)
    return {body: names[sets.find(numbers[cluster])] for body, cluster in clusters.items()}


def split_in_words(manifest: Mapping[str, Any]) -> str:
    """What the split of a prepared run keeps together, as a sentence; empty where all charts are invented, each a
    patient of its own. `manifest`: that of `prepare`."""
    counts, sources = manifest.get("counts", {}), manifest.get("sources") or ()
    if sources and all(source.get("type") in _INVENTED for source in sources):
        return ""
    if manifest.get(SPLIT_BY) != "group":
        return (
            "The split is by chart: near-duplicates stay on one side, but other charts of the same patient may stand "
            "on both, and intervals take them for independent. Where a source knows the patient, set `group_field` or "
            "`group_folder`."
        )
    without = counts.get("without_group", 0)
    alone = f"; {without} charts have no group, and each counts as one of its own" if without else ""
    groups = "1 group" if counts.get("groups") == 1 else f"{counts.get('groups')} groups"
    return (
        f"The split is by group (patient) and near-duplicate: {groups}, none on two sides, the "
        f"largest cluster of {counts.get('largest_cluster')} charts{alone}. Intervals are over these clusters "
        f"({counts.get('clusters')})."
    )


def check_groups(source: AnySource, taken: int, bad: int, grouped: int, shown: int) -> None:
    """Refuse a source that names a group which nothing has, which would pass for a split by patient, and one whose ids
    give the groups away.

    Args:
        taken: entries of the source that have a text, without those that were erased.
        bad: those that have one too, and were rejected for what stands in the group's place.
        grouped: of all with a text, erased or not, those with a group.
        shown: of all, those whose id holds the value of its group.

    Raises:
        InputError: as above.
    """
    where = f"{getattr(source, 'path', source.type)}: {source.grouped_by()}"
    if bad and not grouped:
        raise InputError(
            f"{where}: of {taken + bad} entries none has one that is text or a whole number, {bad} have something else "
            "there (a list, an object, true or false). Name a field with the patient's number, or leave the option out."
        )
    if taken and not grouped:
        raise InputError(
            f"{where}: none of the {taken} entries has one. Name what says whose chart it is, or leave the option out: "
            "the split is then by near-duplicates alone."
        )
    if shown > _IDS_BY_CHANCE * grouped:
        raise InputError(
            f"{where}: {shown} of {grouped} record ids hold the value of their group, and ids stand in reports and in "
            "files that are passed on, where no patient must be named. Set `id_field` to another field, or to one that "
            "is not there (a record is then called file:row); or, where these values name nobody, set "
            "`ids_show_group: true`."
        )
