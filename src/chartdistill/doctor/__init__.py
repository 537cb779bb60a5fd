"""`doctor`: will a config run on this machine? One file per question, one page of answers.

machine.py: which cards, which driver, what runs on them. weights.py: are the weights here, whole, licensed.
model_shape.py: how large a model is. memory_plan.py: does it fit. workload.py, time_plan.py: how much work, how long.
gold_check.py: does the gold belong to the charts. surroundings.py: versions, ports, offline state, file modes.
shipped.py: which shipped config fits which hardware. diagnosis.py, the verb, asks them all, page.py writes it down.
What other rooms may use: the cards of this machine, and whether models are the demo's.
"""

from chartdistill.doctor.machine import needed_cards, needed_share, parse_cards, require_free_cards
from chartdistill.doctor.models import embedded_model_warning

__all__ = ["embedded_model_warning", "needed_cards", "needed_share", "parse_cards", "require_free_cards"]
