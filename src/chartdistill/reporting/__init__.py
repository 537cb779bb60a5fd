"""The pages of a report: results in, report.json, report.md and report.html out. The verb is report.py.

`run_results` reads the finished stages of one run folder; `tables` and `stages` lay figures out; `findings` says what
they show and what they do not; `robustness` what an answer hangs on; `error_summary` what the student gets wrong;
`examples` picks records to look at; `plots` draws; `markdown`, `page` and `model_card` write. What must hold: no
figure without its n, nothing missing shown as a number, no record text outside report.html, and there only if allowed.
"""
