"""Drugs that go by no ingredient: vaccines, contrast media and tracers, preparations for eye, ear, mouth, skin, joint.

In: nothing. Out: name (lower case) -> the name it goes by. Written for this project from general knowledge of United
States names, for what the installed lexicon lacks; by kind, so that a kind is easy to complete. Facts of names, under
the licence of the project. Must hold: a name here means a drug wherever a chart has it, or it is left out ("Hep B" is a
disease too, and stands with its "vaccine" in `drugs.names_class`).
"""

from __future__ import annotations

_VACCINES = """
    mmr; m-m-r; mmr-ii; mmrv; dtap; dtp; tdap; dtwp; decavac; tenivac; ipv; opv; hib; pedvaxhib; comvax;
    pcv7; pcv15; pcv20; ppsv; ppsv23; hepb; engerix; recombivax; heplisav; gardasil 9; menquadfi;
    trumenba; mcv4; mpsv4; flulaval; fluvirin; fluad; flublok; tiv; laiv; typhim; bcg; tice bcg = bcg; hyperrho;
    hyperhep; octagam; carimune; tuberculin; tubersol = tuberculin; candin = candida skin test antigen
"""
_CONTRAST = """
    visipaque = iodixanol; ultravist = iopromide; oxilan = ioxilan; isovue-m = iopamidol; conray; cysto-conray;
    cystografin; cysto-conray ii; gastroview; cystourografin; reno-60; md-76; magnevist = gadopentetate;
    gadavist = gadobutrol; prohance = gadoteridol; multihance = gadobenate; eovist = gadoxetate; primovist =
    gadoxetate; dotarem = gadoterate; clariscan = gadoterate; optimark = gadoversetamide; ablavar =
    gadofosveset; gadolinium; feridex = ferumoxides; resovist = ferumoxides; definity; optison; lumason;
    imagent; readi-cat = barium sulfate; e-z-paque = barium sulfate; e-z-hd = barium sulfate; volumen = barium
    sulfate; lexiscan = regadenoson; cardiolite; myoview; cardiogen; miraluma; thallium-201; neurolite; mag3;
    mag-3; tc-99m; technetium; fluorodeoxyglucose; f-18 fdg; sulfur colloid; macroaggregated albumin;
    lymphazurin; fluorescein; vision blue; visionblue; trypan blue
"""
_EYE_AND_EAR = """
    vigamox = moxifloxacin; zymaxid = gatifloxacin; azasite = azithromycin; econopred = prednisolone; econopred
    plus = prednisolone; pred forte = prednisolone; inflamase forte = prednisolone; fml = fluorometholone;
    flarex = fluorometholone; eflone = fluorometholone; vexol = rimexolone; zylet = loteprednol and tobramycin;
    xibrom = bromfenac; bromsite = bromfenac; ilevro = nepafenac; acuvail = ketorolac; acular ls = ketorolac;
    blephamide = sulfacetamide and prednisolone; vasocidin = sulfacetamide and prednisolone; metimyd =
    sulfacetamide and prednisolone; pred-g; poly-pred; cipro hc; coly-mycin s; vosol; domeboro; floxin otic;
    dermotic; auralgan; americaine otic; debrox; cerumenex; murine ear; vosol hc; neosporin ophthalmic; triple
    antibiotic; zaditor = ketotifen; timoptic-xe = timolol; betoptic-s = betaxolol; ocupress = carteolol;
    pilocar = pilocarpine; pilopine = pilocarpine; miochol-e = acetylcholine; isopto homatropine = homatropine;
    mydfrin = phenylephrine; ak-dilate = phenylephrine; alcaine = proparacaine; ophthaine = proparacaine;
    ophthetic = proparacaine; tetravisc = tetracaine; systane; refresh plus; refresh tears; refresh pm;
    genteal; theratears; tears naturale; lacri-lube; hypotears; blink tears; muro 128; lacrisert;
    ocuvite; preservision; icaps; triesence = triamcinolone; trivaris = triamcinolone; kenalog-10 =
    triamcinolone; kenalog-40 = triamcinolone
"""
_MOUTH_AND_THROAT = """
    peridex; periogard; perioguard; paroex; prevident; fluoride; gel-kam; phos-flur; luride; poly-vi-flor;
    tri-vi-flor; magic mouthwash; miracle mouthwash = magic mouthwash; duke's mouthwash = magic mouthwash;
    mary's magic potion = magic mouthwash; bmx = magic mouthwash; viscous lidocaine; xylocaine viscous; orajel;
    anbesol; hurricaine; hurricane spray; hurricaine spray; chloraseptic; cepacol; cepastat; exactacain;
    biotene; salivart; oasis mouth; mycelex troche = clotrimazole; kenalog in orabase = triamcinolone;
    septocaine = articaine; articadent = articaine; zorcaine = articaine
"""
_JOINTS_AND_SKIN = """
    synvisc = hyaluronate; synvisc-one = hyaluronate; synvisc one = hyaluronate; hylan g-f 20 = hyaluronate;
    hyalgan = hyaluronate; supartz = hyaluronate; supartz fx = hyaluronate; euflexxa = hyaluronate; orthovisc =
    hyaluronate; monovisc = hyaluronate; gel-one = hyaluronate; gelsyn = hyaluronate; gelsyn-3 = hyaluronate;
    hymovis = hyaluronate; genvisc = hyaluronate; visco-3 = hyaluronate; trivisc = hyaluronate; nuflexxa =
    hyaluronate; voltaren gel = diclofenac; lmx = lidocaine; lmx4 = lidocaine; ela-max = lidocaine; lidopen =
    lidocaine; qutenza = capsaicin; bengay; ben-gay; icy hot; biofreeze; aspercreme; myoflex; tiger balm;
    calamine; caladryl; sarna; aveeno; eucerin; amlactin; aquaphor; vaseline; petrolatum; cetaphil cream;
    lubriderm; vanicream; a and d ointment; desitin; balmex; boudreaux; butt paste; bag balm; cerave; keri
    lotion; ssd cream = silver sulfadiazine; santyl = collagenase; accuzyme; panafil; granulex; xenaderm; nix =
    permethrin; acticin = permethrin; nizoral shampoo; head and shoulders; t-gel; denorex; podocon; ziana;
    veltin; epiduo; duac; benzaclin; benzamycin; juvederm; radiesse; sculptra; belotero; celestone soluspan =
    betamethasone; soluspan = betamethasone; depomedrol = methylprednisolone; medrol dosepak =
    methylprednisolone; medrol dose pack = methylprednisolone; solu-cortef = hydrocortisone; solucortef =
    hydrocortisone; aristospan = triamcinolone
"""
_STOMACH_AND_BOWEL = """
    gi cocktail; g.i. cocktail; green goddess; donnatal; mylanta; riopan; gelusil; rolaids; pepto bismol;
    kaopectate; mylicon; phazyme; infacol; gripe water; golytely; go-lytely; trilyte; half-lytely; moviprep; suprep;
    prepopik; osmoprep; visicol; fleet phospho-soda; phospho-soda; plenvu; gavilyte; fleets enema; fleet's enema;
    soap suds enema; mag citrate = magnesium citrate; citrate of magnesia = magnesium citrate; senokot-s; senna;
    peri-colace; pericolace; fibercon; benefiber; konsyl; perdiem; glycolax; florastor; culturelle; lactinex;
    lactobacillus; vsl#3; bacid; saccharomyces; lomotil; imodium a-d; motofen; zenpep; lactase; preparation h;
    anusol; anusol-hc; proctofoam; analpram; tucks; proctocort; banana bag; rally pack; rally pak; myers cocktail;
    migraine cocktail; multivitamin infusion; mvi; goody bag
"""
_OTHERS = """
    sulfa; sulfa drugs = sulfa; sulfas = sulfa; sulfa antibiotics = sulfa; folfirinox; mfolfox6; mfolfox; darvocet-n
    = darvocet; claritin-d; zyrtec-d; allegra-d; pnv; pnvs = pnv; vanc = vancomycin; doxy = doxycycline; clinda =
    clindamycin; curosurf; survanta; infasurf; surfactant; diuril = chlorothiazide; meridia = sibutramine; redux;
    xenical = orlistat; alli = orlistat; soma = carisoprodol; b12 = cyanocobalamin; vitamin b12 shots =
    cyanocobalamin; hep b vaccine; prevagen; unisom = doxylamine; benadryl cream; toprol xl = metoprolol; toprol-xl
    = metoprolol; inderal la = propranolol; cardizem cd = diltiazem; ambien cr = zolpidem; wellbutrin sr =
    bupropion; wellbutrin xl = bupropion; effexor xr = venlafaxine; glucophage xr = metformin; glucotrol xl =
    glipizide; paxil cr = paroxetine; depakote er = divalproex; seroquel xr = quetiapine; lasix drip = furosemide;
    versed = midazolam; amidate = etomidate; actiq = fentanyl; nimbex = cisatracurium; bloxiverz = neostigmine;
    prostigmin = neostigmine; exparel = bupivacaine; nesacaine = chloroprocaine; brevibloc = esmolol; angiomax =
    bivalirudin; tpa; neulasta = filgrastim; oxytocin; hemabate = carboprost; prepidil = dinoprostone; ortho
    tri-cyclen; yaz; yasmin; climara; nitroquick = nitroglycerin; nitro-dur = nitroglycerin; nitro paste =
    nitroglycerin; nitropaste = nitroglycerin; nitrobid = nitroglycerin; nitro spray = nitroglycerin; parafon forte
    = chlorzoxazone; fiorinal; msir = morphine; roxanol = morphine; avinza = morphine; roxicodone = oxycodone; oxyir
    = oxycodone; tylenol no. 3 = acetaminophen with codeine; tylenol #3 = acetaminophen with codeine; tylenol 3 =
    acetaminophen with codeine; tylenol with codeine = acetaminophen with codeine; tessalon perles = benzonatate;
    tussionex; phenergan with codeine; robitussin ac; rynatan; triaminic; nyquil; dayquil; actifed; theraflu;
    mucinex d; veramyst; dulera; breo; anoro; nph; sliding scale insulin; insulin sliding scale; symlin; avandamet;
    janumet; vytorin; caduet; folfox; folfiri; r-chop; abvd; calcium with vitamin d; os-cal; oscal; caltrate;
    citracal; one-a-day; centrum; theragran; prenate; prenatal vitamins; prenatal vitamin; multivitamin;
    multivitamins; b complex; b-complex; glucosamine; chondroitin; glucosamine chondroitin; echinacea; feverfew;
    valerian; turmeric; niferex; slow fe; kcl = potassium chloride; k-phos; kayexalate; renvela; bicitra;
    neutra-phos; bicarb = sodium bicarbonate; d50; epi-pen; ipecac; gelfoam with thrombin; heparinized saline;
    heparin flush; hep-lock
"""


def _table(entries: str) -> dict[str, str]:
    """ "name; brand = ingredient" -> {name: name, brand: ingredient}."""
    pairs = [" ".join(entry.split()).partition(" = ") for entry in entries.split(";")]
    return {name: known or name for name, _, known in pairs}


PRODUCTS = {
    name: known
    for kind in (
        _VACCINES, _CONTRAST, _EYE_AND_EAR, _MOUTH_AND_THROAT, _JOINTS_AND_SKIN, _STOMACH_AND_BOWEL, _OTHERS,
    )
    for name, known in _table(kind).items()
}  # fmt: skip
SHORT_PRODUCTS = frozenset(name for name in PRODUCTS if len(name) < 4)
"""Those of fewer than four characters; they mean nothing else in a chart."""
