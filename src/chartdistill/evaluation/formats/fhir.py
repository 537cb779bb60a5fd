"""HL7 FHIR R4, one Bundle (type collection) for each chart, one a line (NDJSON).

R4 and not R5: it is what hospital systems take, and R5's MedicationStatement has no status for taken, stopped or held
(only recorded, draft and entered-in-error). Checked against the models of fhir.resources (its R4B; these resources are
the same in R4) where that package is installed.

No patient is made up: `subject` only says "patient of record ID", a reference by display, and no date, author, code
system or identifier of a person is written. Names are text, as the chart or the answer has them. What FHIR has no code
for stands in extensions under `urn:chartdistill:`: the status, the place in the chart, whether the chart bears the item
out, and the confidence. Every bundle is tagged as a machine's work that nobody has checked.
Formats: https://hl7.org/fhir/R4/medicationstatement.html, condition.html, servicerequest.html, clinicalimpression.html,
procedure.html, allergyintolerance.html, observation.html, operationoutcome.html
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from chartdistill.clinical.entities import entity_of
from chartdistill.evaluation.formats.answered import Answered
from chartdistill.schema import Task

SYSTEM = "urn:chartdistill:"
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, SYSTEM)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MEDICATION_STATUS = {
    "start": "active", "continue": "active", "change": "active", "stop": "stopped", "hold": "on-hold",
    "past": "completed", "avoid": "not-taken", "given-once": "completed", None: "unknown",
}  # fmt: skip
"""A status of ours -> MedicationStatement.status; one of another task file is `unknown`."""
_PROCEDURE_STATUS = {"done": "completed"}
_ACTIVE = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]
}
"""FHIR's rule ait-1 wants a clinical status of every allergy; of those that there are, this one says that the patient
is at risk of a reaction, as a chart does that lists the allergy."""
_DAYS = {1: (1, "d"), 7: (1, "wk"), 30: (1, "mo"), 365: (1, "a")}
_TAG = {"system": f"{SYSTEM}origin", "code": "machine-extracted", "display": "found by a model, checked by nobody"}
_Resource = dict[str, Any]


def write(charts: Iterator[Answered], out: IO[str], tasks: Sequence[Task]) -> None:
    """Write the bundles of all charts."""
    kinds = {task.name: entity_of(task).task_name for task in tasks}
    check = _checker()
    met: set[str] = set()
    for chart in charts:
        made = bundle(chart, kinds, tasks, chart.source if chart.id in met else "")
        met.add(chart.id)
        check(made)
        out.write(json.dumps(made, ensure_ascii=False) + "\n")


def _checker() -> Callable[[_Resource], object]:
    """Validates a bundle; does nothing where the models are not installed."""
    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError:
        return lambda made: None
    return Bundle.model_validate


def bundle(chart: Answered, kinds: Mapping[str, str], tasks: Sequence[Task] = (), apart: str = "") -> _Resource:
    """One chart. `kinds`: task -> kind of finding, by its own name (`medication`). `apart`: of a further chart with an
    id that an earlier one has, what tells its resources from that one's."""
    made: _Resource = {
        "resourceType": "Bundle",
        "meta": {"tag": [_TAG]},
        "identifier": {"system": f"{SYSTEM}record", "value": _text(chart.id)},
        "type": "collection",
    }
    resources = [_of_item(chart, task, kinds.get(task, ""), item) for task, _, item in chart.items()]
    issues = [] if chart.failure is None else [_issue("error", "processing", chart.failure)]
    for task, said in chart.tasks.items():
        if said.get("items") is None:
            issues.append(_issue("error", "incomplete", f"{task}: {said.get('failure')}"))
        elif chart.none_found(task):
            issues.append(_issue("information", "informational", f"{task}: none found"))
    for task, _, what in chart.waiting(tasks):
        issues.append(_issue("warning", "incomplete", f"{task}: {what}" if task else what))
    if issues:
        resources.append({"resourceType": "OperationOutcome", "issue": issues})
    entries = []
    for number, resource in enumerate(resources):
        parts = [chart.id, str(number), resource["resourceType"], *filter(None, [apart])]
        name = uuid.uuid5(_SPACE, "\n".join(parts))
        entries.append({"fullUrl": f"urn:uuid:{name}", "resource": resource})
    return made | ({"entry": entries} if entries else {})


def _issue(severity: str, code: str, said: str) -> _Resource:
    return {"severity": severity, "code": code, "diagnostics": _text(said)}


def _of_item(chart: Answered, task: str, kind: str, item: Mapping[str, Any]) -> _Resource:
    about = {"display": f"patient of record {_text(chart.id)}"}
    name, status = {"text": _text(item["text"])}, item.get("status")
    common = {"extension": _extensions(chart, item)}
    said = [{"text": note} for note in _notes(item)]
    common |= {"note": said} if said else {}
    if kind == "medication":
        dosage = _dosage(item)
        code = _MEDICATION_STATUS.get(status, "unknown")
        own = {"status": code, "medicationCodeableConcept": name, "subject": about}
        return {"resourceType": "MedicationStatement", **common, **own, **({"dosage": [dosage]} if dosage else {})}
    if kind == "diagnosis":
        return {"resourceType": "Condition", **common, "code": name, "subject": about}
    if kind == "tests" or (kind == "procedure" and status not in _PROCEDURE_STATUS):
        own = {"status": "unknown", "intent": "plan" if kind == "procedure" else "order"}
        return {"resourceType": "ServiceRequest", **common, **own, "code": name, "subject": about}
    if kind == "procedure":
        own = {"status": _PROCEDURE_STATUS[str(status)]}
        return {"resourceType": "Procedure", **common, **own, "code": name, "subject": about}
    if kind == "prognosis":
        return {
            "resourceType": "ClinicalImpression", **common, "status": "completed", "subject": about,
            "prognosisCodeableConcept": [name],
        }  # fmt: skip
    if kind == "allergy":
        known = status not in (None, "unknown", "other")
        reaction = {"reaction": [{"manifestation": [{"text": _text(str(status))}]}]} if known else {}
        own = {"clinicalStatus": _ACTIVE, "code": name, "patient": about}
        return {"resourceType": "AllergyIntolerance", **common, **own, **reaction}
    value = {"valueString": _text(item["text"])}
    own = {"status": "preliminary", "code": {"text": task}}
    return {"resourceType": "Observation", **common, **own, "subject": about, **value}


def _extensions(chart: Answered, item: Mapping[str, Any]) -> list[_Resource]:
    found: list[_Resource] = []
    if item.get("status") is not None:
        found.append({"url": f"{SYSTEM}status", "valueCode": _text(item["status"])})
    if (span := item.get("span")) is not None:
        place: list[_Resource] = [{"url": "start", "valueInteger": span[0]}, {"url": "end", "valueInteger": span[1]}]
        words = _text(chart.words(item) or "")
        place += [{"url": "words", "valueString": words}] if words else []
        found.append({"url": f"{SYSTEM}span", "extension": place})
    found.append({"url": f"{SYSTEM}grounded", "valueBoolean": bool(item.get("grounded"))})
    if item.get("confidence") is not None:
        found.append({"url": f"{SYSTEM}confidence", "valueDecimal": item["confidence"]})
    return found


def _notes(item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("status") == "change":
        yield "The chart changes how it is taken."
    if item.get("status") == "given-once":
        yield "The chart has it given once."
    if item.get("status") == "avoid":
        yield "The chart says to avoid it."
    if item.get("span") is None:
        yield "Nothing in the chart bears this out; do not rely on it."
    elif wrong := item.get("not_in_chart"):
        yield _text(f"Not in the chart: {', '.join(wrong)}.")


def _dosage(item: Mapping[str, Any]) -> _Resource:
    """Dosage of what is said; ranges and times of day, for which R4 has no plain place, as text."""
    found: _Resource = {}
    dose, often, lasts = (item.get(name) for name in ("dose", "frequency", "duration"))
    ranges = [name for name in ("dose", "frequency") if _has_range(item, name)]
    words = [json.dumps({name: item[name]}, ensure_ascii=False) for name in ranges]
    if dose and not _has_range(item, "dose"):
        amount = {"value": dose["number"]} | ({"unit": dose["unit"]} if "unit" in dose else {})
        found["doseAndRate"] = [{"doseQuantity": amount}]
    repeat: _Resource = {}
    if often and not _has_range(item, "frequency") and {"times", "days"} <= often.keys() and often["days"] > 0:
        period, unit = _DAYS.get(often["days"], (often["days"], "d"))
        times = often["times"]
        if times == int(times) and times >= 1:
            repeat |= {"frequency": int(times), "period": period, "periodUnit": unit}
        else:
            words.append(json.dumps({"frequency": often}))
    elif often and not _has_range(item, "frequency"):
        words.append(json.dumps({"frequency": often}, ensure_ascii=False))
    if lasts:
        unit_of_days = {"unit": "day", "system": "http://unitsofmeasure.org", "code": "d"}
        repeat["boundsDuration"] = {"value": lasts["days"]} | unit_of_days
    if repeat:
        found["timing"] = {"repeat": repeat}
    if item.get("route"):
        found["route"] = {"text": _text(item["route"])}
    if item.get("as_needed"):
        found["asNeededBoolean"] = True
    return found | ({"text": _text("; ".join(words))} if words else {})


def _has_range(item: Mapping[str, Any], name: str) -> bool:
    value = item.get(name) or {}
    return any(isinstance(value.get(key), list) for key in ("number", "times"))


def _text(said: str) -> str:
    """Text as FHIR's `string` takes it: no control characters, nothing around it."""
    return _CONTROL.sub("\ufffd", said).strip() or "\ufffd"
