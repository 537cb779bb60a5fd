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
