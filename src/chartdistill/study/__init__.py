"""Around the six verbs: many runs of them, one report. The verb is study.py."""
