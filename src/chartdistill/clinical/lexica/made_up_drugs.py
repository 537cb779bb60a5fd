"""Made-up drug names, for synthetic charts and for records that must not hold a name anybody knows.

Names are invented from syllables, so that no list of real drugs helps and a name met in training never comes back on
held-out charts: every name belongs to exactly one of the pools below, by a hash of its letters.
"""

from __future__ import annotations

import hashlib
import random

POOLS = {"pretraining": range(0, 6), "train": range(6, 8), "heldout": range(8, 10)}
"""Pool -> hash values (of 10). `pretraining` made the shipped models; the other two are for the demo records."""
_ONSETS = """
ab ac al am an ar at av ax az ba be bi bo bra bu ca ce ci clo co cre cu da de di do dra du el em en er es et fa fe
fi flo fo ga ge gli go gra ha he hy ib il im in ir ja jo ka ke ki la le li lo lu ma me mi mo my na ne ni no nu ob
ol om on or ox pa pe phe pi ple po pra pro ra re ri ro ru sa se si so spi su ta te thi ti to tra tri tu ul ur va ve
vi vo xa xe ya za ze zi zo zu
""".split()
_MIDDLES = """
ba be bi bo bu ca ce co cu da de di do du fa fe fi fo ga ge go ka ke ki la le li lo lu ma me mi mo mu na ne ni no
nu pa pe pi po qui ra re ri ro ru sa se si so ta te ti to tu va ve vi vo xa xi za ze zi zo
""".split()
_ENDINGS = """
pril olol sartan statin mab tinib azole cillin mycin floxacin dipine prazole tidine oxetine azepam zolam gliptin
gliflozin parin xaban triptan setron lukast terol sone solone cort dol fen coxib tine pine done zine vir ximab lol
mide tone zide dar vex rin lix nor tec zan ril cet mox dex via bex
""".split()


def drug_pool(name: str) -> str:
    """The pool a drug name belongs to, from sha256 of its lower-case letters."""
    bucket = hashlib.sha256(name.lower().encode()).digest()[0] % 10
    return next(pool for pool, buckets in POOLS.items() if bucket in buckets)


def drug_name(rng: random.Random, pool: str) -> str:
    """A made-up drug name of `pool`, for example `Velotasartan`; one in four is written in lower case."""
    while True:
        middles = rng.choices((0, 1, 2), (3, 6, 1))[0]
        name = rng.choice(_ONSETS) + "".join(rng.choice(_MIDDLES) for _ in range(middles)) + rng.choice(_ENDINGS)
        if len(name) >= 6 and drug_pool(name) == pool:
            return name if rng.random() < 0.25 else name.capitalize()
