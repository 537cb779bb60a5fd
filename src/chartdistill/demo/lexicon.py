"""Word lists of the synthetic charts: made-up drugs, common conditions, common tests.

Drug names are invented from syllables, so that no list of real drugs helps and a name met in training never
comes back on held-out charts: every name belongs to exactly one of the pools below, by a hash of its letters.
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


CONDITIONS = """
hypertension; type 2 diabetes mellitus; type 1 diabetes mellitus; hyperlipidemia; hypothyroidism;
hyperthyroidism; asthma; chronic obstructive pulmonary disease; atrial fibrillation; coronary artery disease;
congestive heart failure; chronic kidney disease; gastroesophageal reflux disease; peptic ulcer disease;
irritable bowel syndrome; Crohn disease; ulcerative colitis; celiac disease; diverticulosis; cholelithiasis;
hepatitis C; cirrhosis; pancreatitis; iron deficiency anemia; sickle cell disease; deep vein thrombosis;
pulmonary embolism; pneumonia; bronchitis; sinusitis; allergic rhinitis; otitis media; pharyngitis; cellulitis;
psoriasis; eczema; rosacea; osteoarthritis; rheumatoid arthritis; gout; osteoporosis; lumbar disc herniation;
spinal stenosis; carpal tunnel syndrome; rotator cuff tear; plantar fasciitis; fibromyalgia; migraine; epilepsy;
Parkinson disease; multiple sclerosis; peripheral neuropathy; restless legs syndrome; obstructive sleep apnea;
insomnia; major depression; generalized anxiety disorder; bipolar disorder; schizophrenia; attention deficit
disorder; benign prostatic hyperplasia; prostate cancer; breast cancer; colon cancer; lung cancer; melanoma;
basal cell carcinoma; lymphoma; urinary tract infection; pyelonephritis; nephrolithiasis; endometriosis; uterine
fibroids; polycystic ovary syndrome; preeclampsia; cataract; glaucoma; macular degeneration; hearing loss;
vertigo; stroke; transient ischemic attack; aortic stenosis; mitral regurgitation; peripheral artery disease;
varicose veins; hip fracture; ankle sprain; tibial plateau fracture; meniscal tear; hernia; appendicitis; bowel
obstruction; hemorrhoids; anal fissure; sarcoidosis; lupus; Graves disease; Addison disease; vitamin B12
deficiency; obesity
"""
CONDITION_NAMES = tuple(" ".join(name.split()) for name in CONDITIONS.split(";"))

TESTS = """
complete blood count; basic metabolic panel; comprehensive metabolic panel; lipid panel; hemoglobin A1c; TSH;
urinalysis; urine culture; blood cultures; liver function tests; PSA; chest x-ray; abdominal ultrasound; renal
ultrasound; carotid ultrasound; echocardiogram; stress test; EKG; Holter monitor; MRI of the brain; MRI of the
lumbar spine; MRI of the knee; CT of the abdomen; CT of the chest; CT of the head; bone density scan; mammogram;
colonoscopy; upper endoscopy; sleep study; nerve conduction study; EEG; pulmonary function tests; bronchoscopy;
skin biopsy; ferritin level; vitamin D level; sed rate; rheumatoid factor; ANA; D-dimer; troponin; BNP; stool
culture; H. pylori breath test; audiogram; visual field test; cystoscopy; bone scan; hip x-ray; knee x-ray;
throat culture; sputum culture; pregnancy test; coagulation panel
"""
TEST_NAMES = tuple(" ".join(name.split()) for name in TESTS.split(";"))
