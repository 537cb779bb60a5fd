"""Names of common tests."""

from __future__ import annotations

_TESTS = """
complete blood count; basic metabolic panel; comprehensive metabolic panel; lipid panel; hemoglobin A1c; TSH;
urinalysis; urine culture; blood cultures; liver function tests; PSA; chest x-ray; abdominal ultrasound; renal
ultrasound; carotid ultrasound; echocardiogram; stress test; EKG; Holter monitor; MRI of the brain; MRI of the
lumbar spine; MRI of the knee; CT of the abdomen; CT of the chest; CT of the head; bone density scan; mammogram;
colonoscopy; upper endoscopy; sleep study; nerve conduction study; EEG; pulmonary function tests; bronchoscopy;
skin biopsy; ferritin level; vitamin D level; sed rate; rheumatoid factor; ANA; D-dimer; troponin; BNP; stool
culture; H. pylori breath test; audiogram; visual field test; cystoscopy; bone scan; hip x-ray; knee x-ray;
throat culture; sputum culture; pregnancy test; coagulation panel
"""
TEST_NAMES = tuple(" ".join(name.split()) for name in _TESTS.split(";"))

_TEST_WORDS = """
mrcp; mrv; mre; mpi; ivp; ivu; vcug; rug; ercp; egd; eus; fees; mbs; mugi; ugi; sbft; bes; hida; dtpa; dmsa; mag3;
muga; v/q; vq; dxa; abi; abis; tte; tee; sestamibi; thallium; cardiolite; lexiscan; myoview; tilt; tilt-table; eps;
ecg; ekg; eeg; emg; ncv; ncs; vep; bera; abr; aer; baer; ssep; oae; tympanogram; psg; mslt; pft; pfts; dlco; fev1;
cpet; urodynamics; uroflow; cystometrogram; pvr; hsg; nst; bpp; afi; afp; cvs; colpo; pap; hpv; swab; swabs; wash;
washings; brushings; electrophoresis; immunofixation; immunoelectrophoresis; immunoglobulins; spep; upep; ife;
hba1c; hgba1c; hga1c; a1c; hemoglobin; fructosamine; ogtt; gtt; c-peptide; cbc; cbcs; wbc; wbcs; rbc; rbcs; hct;
hgb; mcv; plt; diff; differential; retic; reticulocytes; ldh; haptoglobin; coombs; dat; tibc; uibc; transferrin;
epo; fibrinogen; fsp; fdp; pt/ptt; aptt; coags; bmp; cmp; chem7; chem-7; sma-7; sma-12; sma-20; lytes; anion;
osmolality; osmolarity; abg; vbg; lactate; ammonia; alt; ast; sgot; sgpt; ggt; alp; bilirubin; lipase; amylase; hdl;
ldl; triglycerides; cpk-mb; ck-mb; ckmb; trop; tropi; ntprobnp; nt-probnp; pro-bnp; homocysteine; apolipoprotein;
ft4; ft3; tfts; tft; tsi; pth; acth; lh; fsh; dhea-s; prolactin; igf-1; shbg; metanephrines; catecholamines;
aldosterone; renin; vma; 5-hiaa; cortisol; ana; anas; anca; asma; ama; dsdna; anti-ccp; ccp; ssa; ssb; hla-b27; ace
level; c3; c4; ch50; rpr; vdrl; fta-abs; mhatp; hbsag; hbsab; hcv; hav; hbv; elisa; western; pcr; rast; ige; ppd;
quantiferon; ifa; cosyntropin; ufc; beta-hcg; bhcg; quant; triple; quad; karyotyping; fish; cytogenetics;
immunophenotyping; leukocytes; leukocyte; eosinophils; o&p; ova; gram-stain; kub; flat-plate; cst; oct; vf; ffa;
erg; ivfa; ca-125; ca125; ca-19-9; ca19-9; cea; psa; calcitonin; thyroglobulin; chromogranin; ceruloplasmin;
alpha-1; angiogram; arteriogram; aortogram; venogram; cta; ctpa; view; views; plate; oblique; recorder; loop;
monitoring; scoping; spectroscopy; elastography; densitometry; dexa; ophthalmoscopy; calorimetry; esr; crp; tox;
utox; uds; chemistries; chemistry; cystogram; sialogram; dacryocystogram; fistulogram; sinogram; discogram;
myelogram; sonohysterogram; endoscopic; laryngoscopic; bronchoscopic; fundus; refraction; pachymetry; keratometry;
topography; biometry; audiometry; tympanometry; posturography; electroretinogram; nasopharyngoscopy; capillaroscopy
; antigen; antigens; analysis; genotype; genotyping; sequencing; microarray; trough; mapping; clearance; capacity;
brca; brca1/2; glucola; 6-minute; six-minute; 6mwt; lhc; rhc; hvf; anc; bx; bxs; qft; dsa;
clotest; immunostains; hus; strobe; panorex; videofluoroscopy;
calprotectin; elastase; lactoferrin; tryptase; procalcitonin; assay; t-spot; tspot; heterophile; aldolase; jak2;
microglobulin; bcr-abl; carboxyhemoglobin; methemoglobin; bal; fobt; mmse; moca; phq-9; gad-7; vng; eng; nipt; fna;
oncotype; hrct; qsart; anti-gbm; anti-smith; cystourethrogram; uds; mibg; pet-ct; ldct
"""
TEST_WORDS = frozenset(" ".join(name.split()) for name in _TEST_WORDS.split(";"))
"""Words, abbreviations mostly, that make a test of any phrase they stand in; from general clinical usage."""

_MEASURED = """
sodium; potassium; chloride; bicarbonate; co2; calcium; ionized calcium; magnesium; phosphorus; phosphate; phosphate
level; uric acid; urea; protein; total protein; albumin; prealbumin; microalbumin; globulin; iron; iron study; iron
saturation; zinc; copper; lead; mercury; vitamin d; vitamin b12; b12; folate; folic acid; vitamin a; vitamin e;
vitamin k; insulin; testosterone; estradiol; estrogen; progesterone; thyroxine; free thyroxine; growth hormone;
digoxin; dilantin; phenytoin; tegretol; carbamazepine; lithium; depakote; valproic acid; theophylline; vancomycin;
vancomycin trough; gentamicin; tobramycin; cyclosporine; tacrolimus; prograf; acetaminophen; salicylate; ethanol;
alcohol; blood type; type; blood group; rh; rh factor; rh type; type and screen; type and cross; type and
crossmatch; crossmatch; antibody screen; complement; complements; thyroid function; liver function; renal function;
kidney function; lung function; cardiac function; platelet function; thyroid; lipids; coagulation; sperm count;
semen; semen analysis; urine analysis; hemogram; crit; counts; sugar; sugars; fasting blood sugar; fbs; rbs;
accu-check; accu-checks; accucheck; accuchecks; fingerstick; fingersticks; fingerstick glucose; blood; blood draw;
ova and parasites; ova and parasite; o and p; stool for o&p; occult blood; hemoccult; hemoccults; fit; cologuard;
sickle cell; sickledex; g6pd; thyroid function evaluation; audiology evaluation; hearing evaluation; vision
evaluation; swallow evaluation; neuropsychological evaluation; urodynamic evaluation; sleep evaluation; cardiac
enzymes; enzymes; isoenzymes; liver enzymes; cardiac workup; metabolic workup; autopsy; pathology report; drug
screen; urine drug; orthostatics; peak flow; peak flows; vital capacity; event recorder; event monitor; loop
recorder; king of hearts; ekg monitor; ambulatory blood pressure; tilt table; upper gi; lower gi; upper gi series;
small bowel series; small bowel follow-through; barium swallow; gastric emptying; flat plate; flat and upright;
acute abdominal series; obstructive series; abdominal series; skeletal survey; bone survey; bone age; c-spine
series; cervical spine series; lateral; ap and lateral; two views; oblique view; panorex; bitewings; mammo;
mammograms; dopplers; carotids; carotid; venous; arterial ; viral load; bone density; bone densities; prothrombin
time; protime; bleeding time; clotting time; thrombin time; eye exam; eye examination; hearing; path; permanent
sections; frozen section; bili; bilis; 24-hour urine; 24 hour urine; 24-hour urine collection; stool sample; sputum
sample; bladder scan; post-void residual; fragile x dna; vitamin d level; 25-hydroxyvitamin d; 25-oh vitamin d
; myoglobin; carnitine; acylcarnitine; amino acid; organic acid; plasma amino acids; urine organic acids; pyruvate;
galectin-3; antithrombin; antithrombin iii; plasminogen; methylmalonic acid; mma; gastrin; vip; glucagon; proinsulin;
17-hydroxyprogesterone; 17-oh progesterone; androstenedione; inhibin; amh; anti-mullerian hormone; thiamine; osm;
ketones; beta-hydroxybutyrate; cotinine; cryoglobulin; rnp; scl-70; jo-1; hla typing; igg subclasses; igg subclass;
galactomannan; beta-d-glucan; dix-hallpike; evoked potential; ecc; pulse ox; pulse oximetry; ankle-brachial index;
ankle brachial index; device interrogation; pacemaker interrogation; icd interrogation; nuchal translucency; cord gas;
cord gases; kleihauer-betke; fetal fibronectin; ffn; ferning; nitrazine; urine; lactic acid; lupus anticoagulant;
protein c; protein s; protein c and s; protein c and protein s; free light chain; light chain; serum free light chain;
factor v leiden; factor viii; ph probe; 24-hour ph probe; wet prep; wet mount; koh prep; koh; tzanck smear; tzanck;
methacholine challenge; food challenge; oral food challenge; thoracentesis; paracentesis; arthrocentesis; lumbar
puncture; scoliosis series; sinus series; shunt series; metastatic series; sentinel node; microsatellite instability;
bronch with bal; hemoccult card; stool card; interferon gamma release assay; interferon-gamma release assay; beta-2
microglobulin; cystatin c
"""
MEASURED = frozenset(" ".join(name.split()) for name in _MEASURED.replace("\n", " ").split(";"))
"""Names that are a test where they are the whole item: what is measured, what is imaged, a function."""

_AGENTS = """
hiv; hiv-1; hiv 1; hiv-1/2; hsv; hsv-1; hsv-2; herpes; herpes simplex; cmv; cytomegalovirus; ebv; epstein-barr;
epstein-barr virus; mono; monospot; parvovirus; parvo; vzv; varicella; zoster; rubella; rubeola; measles; mumps;
hepatitis; hepatitis a; hepatitis b; hepatitis c; hep a; hep b; hep c; hpv; hcv; hbv; hav; rsv; influenza; flu;
influenza a; influenza b; covid; covid-19; adenovirus; enterovirus; rotavirus; norovirus; west nile; gc;
gc/chlamydia; gc/ct; gonorrhea; gonorrhoea; gonococcus; neisseria; n. gonorrhoeae; chlamydia; c. trachomatis;
trichomonas; trich; syphilis; bacterial vaginosis; bv; yeast; candida; gardnerella; gbs; group b strep; group b
streptococcus; group a strep; strep; strep a; rapid strep; streptococcus; staph; staphylococcus; mrsa; vre; esbl;
pseudomonas; e. coli; klebsiella; enterococcus; c. diff; c diff; c. difficile; c difficile; clostridium difficile;
clostridium; h. pylori; h pylori; helicobacter; helicobacter pylori; salmonella; shigella; campylobacter; yersinia;
giardia; cryptosporidium; entamoeba; parasites; pinworm; toxoplasma; toxoplasmosis; toxo; torch; lyme; borrelia;
babesia; ehrlichia; rickettsia; rmsf; bartonella; brucella; leptospira; legionella; mycoplasma; mycoplasma
pneumoniae; pertussis; bordetella; diphtheria; listeria; nocardia; actinomyces; tb; afb; tuberculosis; mac;
mycobacterium; mycobacteria; fungus; fungi; koh; aspergillus; cryptococcus; histoplasma; histoplasmosis;
coccidioides; coccidioidomycosis; blastomyces; blastomycosis; pneumocystis; pcp; malaria; plasmodium; dengue; zika;
rabies
"""
AGENTS = frozenset(" ".join(name.split()) for name in _AGENTS.replace("\n", " ").split(";"))
"""Causes of infections: a test where the chart sends for one, a diagnosis where the patient has it."""
