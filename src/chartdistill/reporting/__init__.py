"""The pages of a run and of a study: results in; report.json, report.md, report.html, a model card, study.md and
study.html out. The verb is report.py; `study_page` is called by the study.

`run_results` reads the finished stages of one run folder. What all pages share: `tables` (cells, tables, grids, and
what a difference shows), `plots`, the writers in `markdown`, and base.html.j2. `stages` and `robustness` lay a run's
figures out; `findings` says what they show and what they do not; `error_summary` what the student gets wrong;
`examples` picks records to look at; `page` and `model_card` write. `study_findings`, `memorisation` and `study_page` do
the same for a study. What must hold: no figure without its n, nothing missing shown as a number, no record text outside
report.html, and there only if allowed.
"""
