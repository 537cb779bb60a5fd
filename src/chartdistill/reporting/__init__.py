"""The pages of a report: results in, report.json, report.md and report.html out.

`results` reads the finished stages of one run folder; `tables` words and formats figures; `claims` says what they
show and what they do not; `trust_gates` judges the student by the config; `glance` says what it gets wrong; `examples`
picks records to look at; `charts` draws; `markdown`, `page` and `model_card` write. What must hold: no figure without
its n, nothing missing shown as a number, no record text outside report.html, and there only where it is allowed.
"""
