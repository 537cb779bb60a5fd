"""Written-out forms of what charts abbreviate, and second names of the same thing, for the keys scores match by.

From general clinical usage. Left out on purpose: what means several things among findings of one kind ("MS", "MR",
"ARF", "CP"), and names that are near but not the same (hypercholesterolemia is not hyperlipidemia). Must hold: every
form is as `text.phrase_keys` folds it (lower case, singular, spaces for hyphens); the written-out form is never looked
up again.
"""

from __future__ import annotations


def _table(lines: str) -> dict[str, str]:
    """ "written out = form; form" on each line -> {form: written out}, and each written-out form for itself: no form
    inside it is looked up."""
    rows = [line.split("=") for line in lines.strip().splitlines()]
    return {form.strip(): full.strip() for full, forms in rows for form in (full, *forms.split(";"))}


LONGEST = 5
"""Words of the longest form."""


ANY_KIND = _table("""
    left = lt
    right = rt
    bilateral = bilat; both
    history = hx
    status post = s/p
    right upper quadrant = ruq
    left upper quadrant = luq
    right lower quadrant = rlq
    left lower quadrant = llq
    right upper lobe = rul
    left upper lobe = lul
    right lower lobe = rll
    left lower lobe = lll
    right middle lobe = rml
    right lower extremity = rle
    left lower extremity = lle
    right upper extremity = rue
    left upper extremity = lue
    cervical spine = c spine
    lumbar spine = l spine
    thoracic spine = t spine
    abdomen = abdominal
    pelvis = pelvic
    kidney = renal
    lung = pulmonary
    liver = hepatic
    heart = cardiac
    brain = cerebral
    femur = femoral
    chest = thorax; thoracic cavity
    without = w/o
    with = w/
    anterior cruciate ligament = acl
    posterior cruciate ligament = pcl
    medial collateral ligament = mcl
    gastrointestinal = gi
    genitourinary = gu
""")
"""Holds whatever is named. Noun and adjective of an organ are one: "abdominal CT", "CT of the abdomen"."""

CONDITIONS = _table("""
    hypertension = htn; high blood pressure; arterial hypertension; essential hypertension
    diabetes = dm; diabetes mellitus
    type 1 diabetes = iddm; t1dm; t1d; dm1; dm 1; juvenile diabetes; insulin dependent diabetes
    type 1 diabetes = insulin dependent diabetes mellitus
    type 2 diabetes = niddm; t2dm; t2d; dm2; dm 2; dm ii; dmii
    type 2 diabetes = diabetes 2; diabetes ii; diabetes mellitus 2; diabetes mellitus ii
    type 2 diabetes = adult onset diabetes; non insulin dependent diabetes; non insulin dependent diabetes mellitus
    hyperlipidemia = hld
    chronic obstructive lung disease = copd
    coronary artery disease = cad
    congestive heart failure = chf
    heart failure = hf
    chronic kidney disease = ckd
    end stage kidney disease = esrd
    acute kidney injury = aki
    atrial fibrillation = afib; a fib; af
    myocardial infarction = mi; heart attack
    cerebrovascular accident = cva; stroke
    transient ischemic attack = tia
    deep vein thrombosis = dvt; deep venous thrombosis
    normal pressure hydrocephalus = nph
    lung embolism = pe; pulmonary embolus; lung embolus
    supraventricular tachycardia = svt
    arteriosclerotic heart disease = ashd; atherosclerotic heart disease
    chronic kidney insufficiency = cri
    peripheral vascular disease = pvd
    peripheral artery disease = pad; peripheral arterial disease
    abdomen aortic aneurysm = aaa
    gastroesophageal reflux disease = gerd; gastroesophageal reflux; acid reflux; esophageal reflux
    peptic ulcer disease = pud
    irritable bowel syndrome = ibs
    inflammatory bowel disease = ibd
    small bowel obstruction = sbo
    nephrolithiasis = kidney stone; renal stone; renal calculus; kidney calculus
    cholelithiasis = gallstone
    urinary tract infection = uti
    upper respiratory infection = uri; upper respiratory tract infection
    benign prostatic hyperplasia = bph; benign prostatic hypertrophy
    obstructive sleep apnea = osa
    rheumatoid arthritis = ra
    osteoarthritis = oa
    degenerative joint disease = djd
    degenerative disc disease = ddd; degenerative disk disease
    systemic lupus erythematosus = sle
    attention deficit hyperactivity disorder = adhd
    post traumatic stress disorder = ptsd; posttraumatic stress disorder
    generalized anxiety disorder = gad
    major depressive disorder = mdd; major depression
    tuberculosis = tb
    pneumonia = pna
    low back pain = lbp
    shortness breath = sob; dyspnea
    cancer = ca
    fracture = fx
    disease = dz
    infection = infxn
    laceration = lac
    hypothyroidism = underactive thyroid
    hyperthyroidism = overactive thyroid
    herniated disc = disc herniation; disk herniation; herniated disk; herniated nucleus pulposus; hnp
    squamous cell carcinoma = scc
    basal cell carcinoma = bcc
    preterm labor = premature labor
    crohn disease = crohn
    parkinson disease = parkinson
    alzheimer disease = alzheimer
""")
"""Of diagnoses."""

TESTS = _table("""
    ct = cat scan; computed tomography; computerized tomography; computer tomography; cat
    mri = magnetic resonance imaging; mr imaging
    mra = magnetic resonance angiogram; magnetic resonance angiography
    mrcp = magnetic resonance cholangiopancreatography
    pet = positron emission tomography
    ultrasound = us; u/s; sono; sonogram; ultrasonography; sonography; ultrasonogram
    xray = x ray; radiograph; plain film; xr; roentgenogram
    chest xray = cxr; chest film; chest radiograph
    hepatobiliary scan = hida; hida scan
    fine needle aspiration = fna; fine needle aspirate
    urine culture = urine c&s; urine culture and sensitivity
    abdomen xray = kub
    mammogram = mammography
    echocardiogram = echo; echocardiography
    transthoracic echocardiogram = tte
    transesophageal echocardiogram = tee
    electrocardiogram = ekg; ecg; electrocardiography
    electroencephalogram = eeg; electroencephalography
    electromyogram = emg; electromyography
    nerve conduction study = ncs; ncv; nerve conduction velocity
    complete blood count = cbc
    basic metabolic panel = bmp; chem 7; chem7
    comprehensive metabolic panel = cmp
    liver function test = lft; liver function panel; hepatic function panel; liver panel; hepatic panel
    thyroid function test = tft
    lung function test = pft
    urinalysis = ua; u/a
    thyroid stimulating hormone = tsh
    hemoglobin a1c = a1c; hba1c; hgba1c; hgb a1c; hb a1c; glycated hemoglobin; glycosylated hemoglobin
    hemoglobin = hgb; hb
    hematocrit = hct
    hemoglobin hematocrit = h&h; h/h; h and h
    platelet count = plt; platelet
    white blood cell count = wbc; white count; white blood count
    erythrocyte sedimentation rate = esr; sed rate; sedimentation rate
    c reactive protein = crp
    b type natriuretic peptide = bnp; brain natriuretic peptide
    prostate specific antigen = psa
    carcinoembryonic antigen = cea
    antinuclear antibody = ana
    rheumatoid factor = rf
    creatine kinase = ck; cpk; creatine phosphokinase
    blood urea nitrogen = bun
    glucose = blood sugar; blood glucose
    arterial blood gas = abg
    prothrombin time = protime
    partial thromboplastin time = ptt; aptt
    international normalized ratio = inr
    lipid panel = lipid; lipid profile; cholesterol panel
    upper endoscopy = egd; esophagogastroduodenoscopy
    bone density = dexa; dxa; dexa scan; dxa scan; bone density scan; bone densitometry; bone mineral density
    lumbar puncture = lp; spinal tap
    pap smear = pap
    fecal occult blood = fobt; stool guaiac; hemoccult
    ventilation perfusion scan = vq scan; v/q scan; v/q
    catheterization = cath
    polysomnogram = polysomnography; sleep study
""")
"""Of tests."""
