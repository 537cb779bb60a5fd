"""Sentence patterns of the synthetic charts.

A pattern is text with slots. `{d}` `{d1}` `{d2}` a drug, `{c}` a condition, `{t}` a test, `{dose}` `{freq}`
`{time}` `{n}` `{sym}` `{sub}` (He/She) `{rel}` (a relative). Patterns whose key is a status put that status on
their drug; patterns under `none` name a drug, condition or test that must NOT be listed.
"""

from __future__ import annotations

MEDICATION: dict[str, tuple[str, ...]] = {
    "start": (
        "Start {d} {dose} {freq}.",
        "We will begin {d} {dose} {freq}.",
        "Prescribed {d} {dose} for {sym}.",
        "A trial of {d} was started today.",
        "{d} {dose} was added for {sym}.",
        "Initiate {d}; recheck in {time}.",
        "Rx: {d} {dose} {freq}.",
        "{sub} was given a new prescription for {d}.",
        "Plan to treat with {d} {dose} for {time}.",
    ),
    "continue": (
        "Continue {d}.",
        "Continue {d} {dose} {freq}.",
        "{sub} remains on {d} {dose}.",
        "{sub} takes {d} {freq}.",
        "No change to {d}.",
        "{d} is working well and will be continued.",
        "{sub} is currently taking {d} {dose} for {sym}.",
        "Keep {d} at the same dose.",
    ),
    "change": (
        "Increase {d} to {dose} {freq}.",
        "Decrease {d} to {dose}.",
        "{d} was reduced to {dose} because of {sym}.",
        "Taper {d} over {time}.",
        "Titrate {d} up to {dose}.",
        "The dose of {d} was doubled.",
        "Change {d} from {freq} to {dose} at bedtime.",
    ),
    "stop": (
        "Discontinue {d}.",
        "Stop {d} because of {sym}.",
        "{d} was discontinued today.",
        "{d} was stopped owing to {sym}.",
        "D/C {d}.",
        "{sub} should no longer take {d}.",
    ),
    "hold": (
        "Hold {d} before the procedure.",
        "{d} is on hold until the next visit.",
        "Hold {d} for {time}.",
        "We are holding {d} while {sym} resolves.",
    ),
    "past": (
        "{sub} took {d} in {year} without benefit.",
        "{sub} failed {d} in the past.",
        "Previously treated with {d}.",
        "{sub} was on {d} years ago.",
        "A prior course of {d} did not help.",
    ),
    "avoid": (
        "{sub} is allergic to {d}.",
        "Avoid {d}.",
        "{d} causes hives.",
        "{sub} has an intolerance to {d} with {sym}.",
        "{d} must not be given.",
    ),
    "given-once": (
        "{sub} received one dose of {d} in the emergency room.",
        "{d} {dose} was given once before the procedure.",
        "A single dose of {d} was administered.",
        "{sub} was given {d} IV x1.",
    ),
    "none": (
        "{pos} {rel} takes {d}.",
        "{pos} {rel} was treated with {d} for {c}.",
        "If {sym} persists, consider {d}.",
        "{d} may be an option in the future.",
        "{sub} has never taken {d}.",
        "{sub} denies use of {d}.",
        "We discussed {d} but {sub_low} declined it.",
    ),
}

MEDICATION_PAIRS: tuple[tuple[str, str, str], ...] = (
    ("Discontinue {d1} and try {d2}.", "stop", "start"),
    ("Discontinue medication {d1} and try {d2} {dose}.", "stop", "start"),
    ("Switch from {d1} to {d2} {dose}.", "stop", "start"),
    ("{d1} was replaced by {d2}.", "stop", "start"),
    ("Stop {d1}, continue {d2}.", "stop", "continue"),
    ("Start {d1} and hold {d2}.", "start", "hold"),
    ("Failed {d1}; start {d2} {dose}.", "past", "start"),
    ("Continue {d1} but reduce {d2} to {dose}.", "continue", "change"),
    ("{sub} takes {d1} and {d2}.", "continue", "continue"),
)

MEDICATION_LIST_HEADINGS = ("MEDICATIONS", "CURRENT MEDICATIONS", "HOME MEDICATIONS", "MEDS")
COPIED_FORWARD = ("(copied from the last visit)", "(list carried forward)", "(per prior note)")
ALLERGY_LINES = ("{d}.", "{d}, which causes {sym}.", "{d1} and {d2}.", "{d} (rash).")
NO_ALLERGY = ("No known drug allergies.", "NKDA.", "None known.")
NO_MEDICATION = ("None.", "{sub} takes no medications.", "No regular medications.")

ALLERGY: tuple[str, ...] = (
    "{sub} is allergic to {a}.",
    "{sub} is allergic to {a}, which causes {r}.",
    "{a} causes {r}.",
    "{sub} has an intolerance to {a} with {r}.",
)
"""`{a}` a substance, `{r}` a reaction; written in where the task `allergy` is among those asked for."""
ALLERGY_NONE: tuple[str, ...] = (
    "{pos} {rel} is allergic to {a}.",
    "{sub} is not allergic to {a}.",
    "{sub} tolerates {a} well.",
)

PROCEDURE: dict[str, tuple[str, ...]] = {
    "done": (
        "{sub} underwent {p} in {year}.",
        "Status post {p}.",
        "{sub} had {p} in {year}.",
        "{p} was performed without complications.",
    ),
    "planned": (
        "Schedule {p} next month.",
        "{sub} will undergo {p}.",
        "{sub} is scheduled for {p} in {time}.",
        "Plan for {p}.",
    ),
    "none": (
        "{sub} declined {p}.",
        "If {sym} persists, consider {p}.",
        "{pos} {rel} had {p} in {year}.",
    ),
}
"""`{p}` a procedure; written in where the task `procedure` is among those asked for."""

PROGNOSIS: tuple[tuple[str, str], ...] = (
    ("Prognosis is {q}.", "{q}"),
    ("The prognosis is {q}.", "{q}"),
    ("Overall prognosis: {q}.", "{q}"),
    ("{pos} prognosis remains {q}.", "{q}"),
    ("{sub} is expected to {o} within {time}.", "expected to {o} within {time}"),
    ("We anticipate that {sub_low} will {o} within {time}.", "will {o} within {time}"),
    ("Life expectancy is about {time}.", "life expectancy is about {time}"),
    ("{sub} will likely {o}.", "will likely {o}"),
    ("The condition is expected to {w} over {time}.", "expected to {w} over {time}"),
)
"""(sentence, item); the item is a verbatim part of the sentence, up to case."""
PROGNOSIS_QUALITIES = (
    "good",
    "excellent",
    "fair",
    "guarded",
    "poor",
    "grave",
    "very good",
    "favorable",
    "unfavorable",
    "uncertain",
    "good with treatment",
    "poor without surgery",
    "fair to good",
    "excellent for full recovery",
)
PROGNOSIS_OUTCOMES = (
    "recover fully",
    "return to work",
    "walk without assistance",
    "regain full strength",
    "return to normal activity",
    "need dialysis",
    "become free of pain",
    "require further surgery",
    "relapse",
    "resume driving",
)
PROGNOSIS_COURSES = ("improve", "worsen", "resolve", "remain stable", "progress slowly")
PROGNOSIS_NONE = (
    "The prognosis was not discussed today.",
    "Prognosis will be reviewed once results are back.",
    "{sub} will return in {time}.",
    "{sub} tolerated the procedure well and left in stable condition.",
    "{sub} was discharged home in good condition.",
    "Questions about the course of the illness were deferred.",
    "{sub} hopes to return to work soon.",
)

DIAGNOSIS: tuple[str, ...] = (
    "{sub} has {c}.",
    "{sub} was diagnosed with {c} in {year}.",
    "{sub} has a history of {c}.",
    "Findings confirm {c}.",
    "Known {c}, stable.",
    "{sub} is followed for {c}.",
    "The biopsy showed {c}.",
)
DIAGNOSIS_HEADINGS = ("ASSESSMENT", "IMPRESSION", "DIAGNOSIS", "DIAGNOSES", "FINAL DIAGNOSIS")
DIAGNOSIS_NONE: tuple[str, ...] = (
    "{pos} {rel} had {c}.",
    "There is a family history of {c}.",
    "{c} was ruled out.",
    "No evidence of {c}.",
    "{sub} denies a history of {c}.",
    "Here for {c} screening.",
    "Rule out {c}.",
)

TEST_ORDERED: tuple[str, ...] = (
    "Order {t}.",
    "Will obtain {t}.",
    "{t} is scheduled for next week.",
    "Check {t} today.",
    "Repeat {t} in {time}.",
    "We will send {t}.",
    "{sub} will need {t} before the next visit.",
    "Schedule {t}.",
    "{t} was ordered.",
)
TEST_PAIRS = ("Order {t1} and {t2}.", "Check {t1} and {t2} in {time}.", "Will obtain {t1} as well as {t2}.")
TEST_NONE: tuple[str, ...] = (
    "{t} was normal.",
    "{t} last year was unremarkable.",
    "{t} from {year} was reviewed.",
    "{t} done today showed no acute change.",
    "If {sym} recurs, consider {t}.",
    "There is no need for {t} now.",
    "{sub} declined {t}.",
)

FILLERS: tuple[str, ...] = (
    "{sub} is here for a follow-up visit.",
    "{sub} reports {sym} for the past {time}.",
    "{sub} denies {sym}, {sym2} or {sym3}.",
    "There is no {sym} today.",
    "{sub} lives with {pos_low} {rel} and works as a {job}.",
    "{sub} does not smoke and drinks alcohol rarely.",
    "{sub} quit smoking in {year}.",
    "Blood pressure is {n}/{n2}, pulse {n2}, temperature 98.{n3}.",
    "Weight is {n} pounds.",
    "The lungs are clear and the heart is regular.",
    "The abdomen is soft and nontender.",
    "There is no edema of the legs.",
    "Gait is normal and strength is full.",
    "The wound is clean and dry.",
    "The neck is supple without masses.",
    "Pupils are equal and reactive.",
    "Skin is warm and dry.",
    "{sub} is alert and in no distress.",
    "{sub} walks {n3} blocks without trouble.",
    "{sub} sleeps {n3} hours a night.",
    "{sub} has {n3} children and {n3} grandchildren.",
    "{sub} was last seen {time} ago.",
    "The {sym} began after {sub_low} lifted a heavy box.",
    "The {sym} is worse in the morning and better with rest.",
    "{sub} rates the {sym} at {n3} out of 10.",
    "{sub} was advised to rest and drink fluids.",
    "{sub} was advised to exercise {n3} times a week.",
    "The plan was discussed with {pos_low} {rel}.",
    "All questions were answered.",
    "Consent was obtained after the risks were explained.",
    "The patient was prepped and draped in the usual manner.",
    "The incision was closed in layers and a dressing was applied.",
    "Estimated blood loss was {n} ml.",
    "Sponge and needle counts were correct.",
    "Review of systems is otherwise negative.",
    "Appetite is normal and weight is steady.",
    "{sub} travelled by car and felt {sym} on the way.",
    "Immunizations are up to date.",
    "{sub} was referred by a {job} at work.",
    "{sub} had surgery on the left knee in {year}.",
)

SYMPTOMS = tuple(
    (
        "cough;headache;nausea;dizziness;fatigue;back pain;chest pain;knee pain;shortness of breath;"
        "rash;fever;insomnia;abdominal pain;itching;swelling;blurred vision;constipation;diarrhea;"
        "palpitations;numbness;weakness;wheezing;joint stiffness;sore throat;heartburn;anxiety;"
        "low mood;ear pain;muscle cramps;bleeding"
    ).split(";")
)
RELATIVES = ("mother", "father", "sister", "brother", "aunt", "uncle", "grandmother", "son", "daughter", "spouse")
JOBS = ("teacher", "driver", "nurse", "farmer", "cook", "clerk", "mechanic", "student", "painter", "engineer")
TIMES = (
    "two weeks",
    "three weeks",
    "six weeks",
    "one month",
    "three months",
    "six months",
    "one year",
    "two years",
    "10 days",
    "five days",
    "several months",
    "four weeks",
)
FREQUENCIES = ("daily", "twice daily", "b.i.d.", "t.i.d.", "at bedtime", "every morning", "weekly", "as needed", "q.d.")
VISITS = (
    "Office Visit",
    "Follow-up Note",
    "Consultation",
    "Discharge Summary",
    "Progress Note",
    "Emergency Room Report",
    "Operative Note",
    "Telephone Note",
    "Letter",
    "SOAP Note",
)
