"""What charts name beside drugs and is none: suture and dressing, devices by their brand, foods and other allergens,
fluids and gases, ways of anesthesia, substances of abuse, parts of the body, words of an examination.

In: a name. Out: what it is, or None. Written for this project from general knowledge, by kind; facts of names, under
the licence of the project. Must hold: only whole names count ("saline" is a fluid, "saline nasal spray" a preparation);
what is a drug in one chart and something else in another stands here only where it is hardly ever the drug.
"""

from __future__ import annotations

import re

_KINDS = {
    "a suture, a dressing or a surgical material": """
        vicryl; vicryl rapide; prolene; ethilon; monocryl; pds; pds ii; maxon; dexon; nylon; novafil; surgilon;
        ethibond; mersilene; tevdek; ti-cron; ticron; tycron; fiberwire; fibertape; orthocord; polysorb; biosyn;
        caprosyn; v-loc; quill; stratafix; gore-tex; goretex; silk; silk tie; silk ties; gut; plain gut; chromic;
        chromic gut; catgut; chromic catgut; steel wire; dermalon; surgipro; endoloop; steri-strip; steri strip;
        steristrip; dermabond; indermil; mastisol; benzoin; tincture of benzoin; histoacryl; tegaderm; opsite;
        op-site; telfa; adaptic; xeroform; kerlix; kling; coban; ace wrap; ace bandage; webril; stockinette;
        kerramax; owens gauze; vaseline gauze; iodoform; iodoform gauze; nu-gauze; nugauze; 4x4; 4 x 4; 4x4s;
        fluffs; abd; abd pad; band-aid; bandaid; bulky dressing; duoderm; allevyn; mepilex; mepitel; aquacel;
        biobrane; acticoat; integra; alloderm; apligraf; dermagraft; unna boot; wound vac; vac; ioban; betadine;
        betadine prep; hibiclens; duraprep; chloraprep; chlorhexidine prep; alcohol swab; phisohex; surgicel;
        surgifoam; gelfoam; avitene; oxycel; bone wax; floseal; bioglue; coseal; duraseal; duragen; marlex;
        surgimesh; parietex; proceed mesh; composix; ventralex; perfix; prolene mesh; vicryl mesh; bard mesh; kugel;
        sepramesh; seprafilm; interceed; permacol; surgisis; strattice; dacron; teflon; silastic;
        methylmethacrylate; methyl methacrylate; bone cement; cement; palacos; simplex; grafton; vitoss; dbx;
        infuse; healos; sponge; laps; lap pad; raytec; ray-tec; cottonoid; cottonoids; pledget; pledgets; cellulose;
        plaster; fiberglass; velcro; tape; silk tape; paper tape; umbilical tape; vessel loop
    """,
    "a device or an instrument": """
        bovie; bipolar; monopolar; bipolar cautery; cautery; electrocautery; ligasure; harmonic; harmonic scalpel;
        enseal; argon beam; gyrus; kittner; peanut; weitlaner; gelpi; balfour; bookwalter; omni; omni-tract; deaver;
        richardson; army-navy; senn; ragnell; adson; debakey; kocher; allis; babcock; kelly; mayo; metzenbaum; metz;
        tenotomy; stevens; westcott; castroviejo; vannas; hohmann; homan; bennett; cobb; penfield; woodson;
        kerrison; leksell; midas rex; anspach; cavitron; cusa; cell saver; esmarch; tourniquet; foley; coude;
        malecot; pezzer; penrose; jackson-pratt; jp; hemovac; blake; davol; t-tube; nasogastric; ng; dobhoff; peg;
        mic-key; port-a-cath; portacath; mediport; hickman; broviac; groshong; quinton; permcath; tesio; picc;
        swan-ganz; swan; cordis; arrow; angiocath; intracath; jelco; seldinger; pigtail; judkins; amplatz;
        amplatzer; multipurpose; berman; sones; jl4; jr4; guidewire; glidewire; amplatz wire; bentson; j-wire; wire;
        sheath; balloon; fogarty; cutting balloon; angioseal; angio-seal; perclose; starclose; mynx; femostop;
        taxus; cypher; xience; promus; endeavor; vision stent; palmaz; wallstent; zilver; viabahn; greenfield;
        greenfield filter; ivc filter; aicd; icd; pacer; iabp; impella; lvad; ecmo; medtronic; guidant; st. jude;
        boston scientific; biotronik; zimmer; depuy; stryker; synthes; smith & nephew; arthrex; biomet; dynesys;
        prodisc; peek; harrington; steinmann; steinmann pin; kirschner; k-wire; k-wires; rush rod; dall-miles; lag
        screw; gamma nail; veress; hasson; endocatch; endo catch; endo gia; gia; ta-55; ta-60; eea; stapler; hulka;
        filshie; falope; falope ring; rumi; zumi; sims; cohen; karl storz; storz; olympus; pentax; fujinon; hopkins;
        thermachoice; novasure; essure; iud; acrysof; alcon; tecnis; crystalens; restor; sn60wf; ma60ac; iol; phaco;
        infiniti; legacy; bss; balanced salt solution; barraquer; lieberman; simcoe; honan; honan balloon;
        mcneill-goldman; fox shield; eye shield; eye patch; shield; tympanostomy; pe tube; pe tubes; shiley; bivona;
        t-piece; ambu; lma; laryngeal mask; glidescope; macintosh; miller; cpap; bipap; vpap; ventilator; incentive
        spirometer; nebulizer machine; glucometer; dynamap; dinamap; bair hugger; teds; ted hose; ted stockings;
        scd; scds; venodynes; flowtrons; knee immobilizer; ace; cam walker; cam boot; aso; jewett; tlso; lso;
        philadelphia; miami j; aspen; halo; mayfield; jackson table; wilson frame; allen stirrups; yellowfins; hana;
        arthroscope; cystoscope; laparoscope; bronchoscope; gastroscope; microscope; hearing aid; cochlear implant;
        dentures; contact lenses; glasses; wheelchair; walker; rollator; cane; crutches; sling; brace; orthotic;
        orthotics; afo; prosthesis
    """,
    "a food, or an allergen that is no drug": """
        latex; adhesive; adhesive tape; tape adhesive; band-aids; nickel; metal; metals; jewelry; wool; soap; soaps;
        detergent; perfume; perfumes; fragrance; fragrances; dye; dyes; food; foods; food coloring; shellfish;
        shrimp; crab; lobster; clams; oysters; scallops; seafood; fish; egg; eggs; egg white; milk; dairy; dairy
        products; cow's milk; lactose; gluten; wheat; soy; soybean; corn; nut; nuts; peanut; tree nuts; walnut;
        walnuts; pecans; almond; almonds; cashews; strawberry; strawberries; tomato; tomatoes; banana; bananas;
        kiwi; kiwis; avocado; avocados; citrus; citrus fruits; oranges; mango; melon; chocolate; msg; sulfites;
        mushrooms; beef; pork; chicken; red meat; peppers; onion; onions; grapefruit; grapefruit juice; dust; dust
        mite; dust mites; house dust; mold; molds; pollen; pollens; ragweed; grass; grasses; trees; tree; weeds;
        hay; hay fever; cat; cats; dog; dogs; cat dander; dog dander; dander; animal dander; pet dander; horse;
        horses; feathers; down; cockroach; bee; bees; bee sting; bee stings; bee venom; wasp; wasps; wasp stings;
        hornets; yellow jackets; insect bites; insect stings; fire ants; mosquito bites; poison ivy; poison oak;
        poison sumac; sunlight; sun; cold air; smoke; cigarette smoke; chlorine; environmental allergens; seasonal
        allergens; iodine dye; formula; enfamil; similac; isomil; prosobee; nutramigen; pregestimil; alimentum; good
        start; breast milk; breastmilk; formula milk; rice cereal; pedialyte; gatorade; ensure; boost; glucerna;
        jevity; osmolite; nepro; juice; water; ice chips; popsicles; broth; clear liquids; vegetables; fruit;
        fruits; salt; sugar
    """,
    "a substance that is no medicine": """
        alcohol; ethanol; etoh; beer; wine; liquor; vodka; whiskey; tobacco; cigarette; cigarettes; cigar; cigars;
        pipe; chewing tobacco; snuff; smokeless tobacco; marijuana; cannabis; pot; thc; cocaine; crack; crack
        cocaine; heroin; methamphetamine; crystal meth; meth; speed; ecstasy; mdma; lsd; pcp; angel dust; ghb;
        street drugs; illicit drugs; illegal drugs; recreational drugs; iv drugs; ivda; coffee; tea; soda; cola;
        caffeinated beverages; energy drinks
    """,
    "a fluid, a gas or a blood product": """
        oxygen; o2; home oxygen; supplemental oxygen; room air; air; carbon dioxide; co2; co2 gas; helium; saline;
        normal saline; ns; half normal saline; 0.9% saline; sterile saline; saline irrigation; saline solution;
        sterile water; irrigation; lactated ringer's; lactated ringers; lactated ringer; ringer's lactate; ringer's;
        ringers; ringer's solution; ringers lactate; lr; d5w; d5 1/2 normal saline; d5 half normal saline; d5ns;
        crystalloid; crystalloids; colloid; colloids; iv fluid; iv fluids; intravenous fluid; intravenous fluids;
        ivf; fluids; fluid bolus; saline bolus; blood; whole blood; packed cells; packed red cells; packed red blood
        cells; packed rbc; packed rbcs; prbc; prbcs; red blood cells; ffp; fresh frozen plasma; platelets;
        cryoprecipitate; cell saver blood; autologous blood; plasma
    """,
    "a way of anesthesia, not the drug given": """
        general; general endotracheal; spinal; epidural; regional; local; mac; iv sedation; conscious sedation;
        monitored anesthesia care; bier block; axillary block; interscalene block; femoral block; popliteal block;
        ankle block; digital block; peribulbar; retrobulbar; retrobulbar block; peribulbar block; caudal
    """,
    "a part of the body, or a word of the examination": """
        head; heent; eyes; ears; nose; throat; neck; chest; lungs; lung; heart; abdomen; groin; back; spine; pelvis;
        extremities; extremity; skin; breast; breasts; liver; spleen; kidney; kidneys; bladder; uterus; ovary;
        ovaries; cervix; prostate; testis; testes; scrotum; penis; colon; rectum; bowel; stomach; esophagus;
        duodenum; gallbladder; pancreas; thyroid; brain; fascia; muscle; tendon; ligament; nerve; artery; vein;
        bone; cartilage; meniscus; femur; tibia; humerus; hip; knee; ankle; shoulder; elbow; wrist; hand; foot; toe;
        finger; fingers; tissue; wound; incision; scar; sac; hernia sac; hemostasis; drain; drainage; hematoma;
        suture; sutures; vital signs; blood pressure; pulse; temperature; respirations; weight; height; gait;
        speech; reflexes; babinski; romberg; homans; homan's; murphy; tinel; phalen; lachman; mcmurray; straight leg
        raise; orientation; mood; affect; appetite; bowel sounds; pathology; specimen; specimens
    """,
}  # fmt: skip
_NAMES = {
    " ".join(name.split()): kind
    for kind, names in _KINDS.items()
    for name in names.strip().replace("\n", " ").split(";")
}
_AROUND = re.compile(
    r"^(?:(?:an?|the|some|sterile|plain|warm|cold|nasal|home|supplemental|\d+(?:\.\d+)?|units?|liters?|litres?|l|of|\d-0|#\d\S*)\s+)+"
    r"|\s+(?:sutures?|stitch(?:es)?|tape|gauze|mesh|dressings?|gel\s+foam|products?|allergy|allergies|stings?|venom"
    r"|via\s+nasal\s+cannula|by\s+nasal\s+cannula|per\s+nasal\s+cannula|\d+(?:\.\d+)?\s*(?:l|liters?)(?:/min)?)$",
    re.IGNORECASE,
)
"""What may stand around such a name without making a drug of it."""


def no_drug(name: str) -> str | None:
    """What a name means that is no drug; None where nothing is known against it."""
    plain = " ".join(name.casefold().split()).strip(" .,;:\"'")
    for form in (plain, _AROUND.sub("", plain)):
        found = _NAMES.get(form) or _NAMES.get(form.removesuffix("s"))
        if found is not None:
            return found
    return None
