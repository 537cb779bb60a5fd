"""Names of common conditions."""

from __future__ import annotations

_CONDITIONS = """
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
CONDITION_NAMES = tuple(" ".join(name.split()) for name in _CONDITIONS.split(";"))
