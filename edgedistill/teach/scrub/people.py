"""Patterns of postal addresses and of names that words around them give away, in several languages."""

from __future__ import annotations

import regex

from edgedistill.teach.scrub.rules import ADDRESS, LIKELY, NAME, Rule

_CAP = r"\p{Lu}[\p{L}\p{M}'’.\-]*"
_CITY = rf"{_CAP}(?:[ \-](?:{_CAP}|(?:am|an der|im|in|de|del|della|do|da|dos|la|le|les|lès|sur|sous|upon|sul|aan|den|op)\b)){{0,4}}"
_NUMBER = r"\d{1,5}(?:[ -]?[a-zA-Z]\b(?!\w))?(?:[/\-]\d{1,4}[a-zA-Z]?)?"
_BREAK = r"(?:\s*[,\n·|]\s*|\s+[-–]\s+)"
# What may follow a street: a flat, then postal code and city in the order of the country.
_UNIT = "apt|apartment|suite|ste|unit|flat|room|floor|piso|puerta|appt|apto|int|interno|bus|m|lok|lgh|casa|blq|bloque"
_FLAT = rf"(?:(?:{_BREAK}|\s+)(?:(?i:{_UNIT})\b\.? ?#?(?:[\w-]*\d[\w-]*|[A-Z]\b)|\d{{1,2}}[ºª°](?: ?[A-Z]\b)?))"
_CODE = r"(?:[A-Z]{1,2}-)?(?:\d{5}-?\d{3}|\d{2}-\d{3}|\d{3} \d{2}|\d{4} ?[A-Z]{2}|\d{4,5})(?!\d)"
_UK = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
_POSTAL = (
    rf"(?:{_BREAK}{_CITY},?\s+[A-Z]{{2}},? \d{{5}}(?:-\d{{4}})?"
    rf"|(?:{_BREAK}{_CITY}){{0,2}}{_BREAK}{_UK}"
    rf"|{_BREAK}{_CITY},? (?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT),? \d{{4}}"
    rf"|(?:{_BREAK}{_CITY}){{0,2}}(?:{_BREAK}|\s+){_CODE}(?:{_BREAK}|\s+){_CITY}(?: ?[/,(-]? ?[A-Z]{{2}}\b\)?)?"
    rf"|(?:{_BREAK}{_CITY}){{1,2}}{_BREAK}\d{{5}}(?:-\d{{3}})?)"
)
_MORE = rf"{_FLAT}?{_POSTAL}?"
_ENGLISH = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Ter|Crescent|Close|Parkway|Pkwy|"
    "Highway|Hwy|Circle|Cir|Trail|Trl|Alley|Row|Mews|Grove|Gardens|Hill|Park|Walk|Green|View|Ridge|Path|Plaza|Loop|Pike|Turnpike|Plains|"
    "Heights|Manor|Station|Springs|Spring|Meadows|Meadow|Village|Villages|Valley|Valleys|Forest|Forge|Fork|Forks|Garden|Gateway|Glen|Harbor|"
    "Haven|Hollow|Island|Islands|Isle|Junction|Key|Knoll|Knolls|Lake|Lakes|Landing|Lodge|Mall|Mill|Mills|Mission|Motorway|Mount|Mountain|"
    "Neck|Orchard|Oval|Overpass|Parks|Pass|Passage|Pine|Pines|Points?|Ports?|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|River|Roads|Route|Run|"
    "Shoals?|Shores?|Spurs?|Squares|Stravenue|Stream|Streets|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Union|Unions|Viaduct|Ville|"
    "Vista|Walks|Wall|Ways|Wells?|Canyon|Cape|Causeway|Center|Centers|Circles|Cliffs?|Club|Common|Corners?|Course|Courts|Coves?|Creek|"
    "Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Drives|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Freeway|"
    "Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Bayou|Beach|Bend|Bluffs?|Bottom|Arcade|Annex|Inlet|Lights?|Loaf|Locks?|Skyway|Underpass"
)
_GERMAN = r"(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|ring|damm|ufer|graben|steig|chaussee|promenade|hof|markt|tor|wall|stieg|berg)"
_DUTCH = r"(?:straat|laan|weg|plein|gracht|kade|dijk|dreef|pad|hof|singel|steeg|plantsoen|baan|ring|boulevard|park|wal|markt)"
_SWEDISH = r"(?:gatan|vägen|gränden|gränd|torget|plan|allén|stigen|backen|gata|väg)"
_FRENCH = "rue|avenue|boulevard|bd|chemin|place|allée|impasse|quai|route|cours|square|passage|sentier|villa"
_SPANISH = (
    "Calle|C/|Cl\\.?|Avenida|Avda\\.?|Av\\.?|Plaza|Pza\\.?|Paseo|Camino|Ronda|Carrer|Vía|Glorieta|Cuesta|Callejón|Acceso|"
    "Alameda|Cañada|Pasadizo|Pasaje|Rambla|Urbanización|Vial|Via|Travesía"
)
_ITALIAN = "Via|Viale|Piazza|Piazzale|Corso|Largo|Vicolo|Strada|Contrada|Borgo|Canale|Incrocio|Rotonda|Stretto|Lungomare|Lungotevere|Salita"
_PORTUGUESE = (
    "Rua|R\\.|Avenida|Av\\.?|Travessa|Alameda|Praça|Rodovia|Estrada|Largo|Viela|Via|Vila|Ladeira|Parque|Passarela|Pátio|Setor|Sítio|"
    "Praia|Trecho|Trevo|Vale|Vereda|Viaduto|Loteamento|Lagoa|Lago|Jardim|Fazenda|Favela|Esplanada|Estação|Feira|Distrito|Residencial|Recanto|"
    "Quadra|Núcleo|Morro|Conjunto|Condomínio|Colônia|Chácara|Campo|Área|Aeroporto"
)
_WORDS = (
    rf"(?:{_CAP}|\d{{1,2}}(?:er|e|º|th|nd|rd|st)?|"
    r"(?:de|du|des|la|le|les|l['’]|d['’]|del|della|dello|dei|delle|degli|di|da|do|dos|das|den|der|van|y|e|ks\.)\b)"
)

_AT = "Am|An der|An den|Auf der|Auf dem|Im|In der|In den|Zum|Zur|Unter den|Hinter der|Vor dem"
_SIDE = r"(?:[ ](?:[NSEW]\b\.?|North|South|East|West)(?!\w))"

ADDRESSES = (
    Rule(ADDRESS, rf"(?<![\w.,])\d{{1,6}}[A-Z]?{_SIDE}?(?:[ ](?:\p{{Lu}}[\p{{L}}'’.\-]*|\d{{1,3}}(?:st|nd|rd|th))){{1,4}}?"
                  rf"[ ](?:{_ENGLISH})s?\b\.?{_SIDE}?{_MORE}"),
    # British houses without a street's number, and blocks in front of it.
    Rule(ADDRESS, rf"(?i:(?:flat|studio|unit|apartment|suite) \d{{1,4}}[a-z]?)(?:,\s*|\s*\n\s*|\s+)[^,\n]{{1,40}}{_POSTAL}"),
    Rule(ADDRESS, rf"(?:PSC|CMR|USS|USNS|USNV|USCGC|Unit) [\w ]{{1,30}}{_BREAK}?(?:Box \d+)?{_BREAK}?(?:APO|FPO|DPO) A[AEP],? \d{{5}}"),
    Rule(ADDRESS, rf"\bP\.? ?O\.? Box \d+{_MORE}"),
    Rule(ADDRESS, rf"(?<![\p{{L}}\-])(?:\p{{Lu}}[\p{{L}}.\-]*[ \-]){{0,3}}\p{{Lu}}?[\p{{L}}.\-]*(?i:{_GERMAN}) {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<![\p{{L}}\-])(?:{_AT}) (?:{_CAP} ?){{1,2}} ?{_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<![\p{{L}}\-])(?:{_CAP} ){{0,2}}\p{{Lu}}[\p{{L}}.\-]*{_DUTCH} {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<![\p{{L}}\-])(?:{_CAP} ){{0,2}}\p{{Lu}}?[\p{{L}}\-]*{_SWEDISH} {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?:(?<![\w.,])\d{{1,4}}(?: ?(?:bis|ter|quater))?,? )?(?<!\w)(?i:{_FRENCH}) (?:{_WORDS}[ ]?){{1,6}}{_MORE}", LIKELY),
    Rule(ADDRESS, rf"(?<!\w)(?i:{_SPANISH}) ?(?:{_WORDS}[ ]?){{1,7}},? ?(?:(?:n[º°o.]{{1,2}}|núm\.?) ?)?{_NUMBER}"
                  rf"(?:{_FLAT}){{0,2}}{_POSTAL}?"),
    Rule(ADDRESS, rf"(?<!\w)(?i:{_ITALIAN}) (?:{_WORDS}[ ]?){{1,6}},? ?{_NUMBER}{_FLAT}?{_POSTAL}?"),
    Rule(ADDRESS, rf"(?<!\w)(?i:{_PORTUGUESE}) (?:{_WORDS}[ ]?){{1,7}},? ?(?:n[º°.]{{1,2}} ?)?{_NUMBER}{_FLAT}?{_POSTAL}?"),
    Rule(ADDRESS, rf"(?<!\w)(?:ul\.|ulica|al\.|aleja|pl\.|plac|os\.) ?(?:{_WORDS}[ ]?){{1,5}} ?{_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<!\w){_CITY},? [A-Z]{{2}} \d{{5}}(?:-\d{{4}})?(?!\w)"),
    Rule(ADDRESS, r"\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b", LIKELY),
)  # fmt: skip

_TITLES = (
    "Mr|Mrs|Ms|Miss|Mister|Dr|Prof|Professor|Sir|Madam|Herrn?|Frau|Hr|Monsieur|Madame|Mme|Mlle|Señora?|Sra?|Don|Doña|Signora?|"
    "Signor|Sig|Dott|Dottoressa|Dott\\.ssa|Dhr|Mevr|Mevrouw|Meneer|De heer|Heer|Pan|Pani|Panem|Panią|Pana|Panu|Senhora?|"
    "Senhor|Seu|Dona|Ing|Herra|Rouva|Fru"
)
_TITLE = rf"(?<!\w)(?:(?i:{_TITLES})\b|M\.|Dipl\.-Ing)"
_PARTICLE = r"(?:van der|van den|van de|van|von|zu|de la|de los|de|del|della|di|da|dos|do|du|le|la|ten|ter|den|bin|al|el|y|e)"
PERSON = rf"(?!{_TITLE})\p{{Lu}}[\p{{L}}\p{{M}}'’\-]+(?:[ ](?:{_PARTICLE}[ ])?(?:\p{{Lu}}\.|\p{{Lu}}[\p{{L}}\p{{M}}'’\-]+)){{0,4}}"
_FULL = rf"(?!{_TITLE})\p{{Lu}}[\p{{L}}\p{{M}}'’\-]+(?:[ ](?:{_PARTICLE}[ ])?(?:\p{{Lu}}\.|\p{{Lu}}[\p{{L}}\p{{M}}'’\-]+)){{1,4}}"
_INTRODUCTIONS = (
    "my name is|my name's|this is|i am|i'm|name is|named|called|mein name ist|ich heiße|ich heisse|ich bin|hier ist|"
    "hier spricht|je m'appelle|je suis|mon nom est|c'est|me llamo|mi nombre es|soy|mi chiamo|il mio nome è|sono|mijn naam is|"
    "ik heet|ik ben|meu nome é|me chamo|nazywam się|mam na imię|jestem|jag heter|mitt namn är|minun nimeni on|nimeni on"
)
_CALLED = (
    "my name is|my name's|mein name ist|ich heiße|je m'appelle|me llamo|mi chiamo|mijn naam is|ik heet|me chamo|nazywam się|mam na imię|"
    "jag heter"
)
_FIELDS = (
    "name|full name|contact|customer|patient|client|employee|recipient|sender|from|to|cc|attn|signed|kunde|kundin|"
    "ansprechpartner|absender|empfänger|patientin|nom|prénom|contact|cliente|nombre|paciente|nome|paziente|naam|klant|"
    "contactpersoon|imię i nazwisko|klient|namn|kund|kontakt|nimi|asiakas|user|author|passenger|tenant|applicant|"
    "account holder|kontoinhaber|titulaire|titular|intestatario"
)
_GREETINGS = (
    "dear|hi|hello|hey|sehr geehrter|sehr geehrte|liebe|lieber|hallo|guten tag|moin|cher|chère|bonjour|salut|estimado|"
    "estimada|querido|querida|hola|buenos días|caro|cara|gentile|ciao|buongiorno|beste|geachte|hoi|goedemorgen|prezado|"
    "prezada|olá|oi|caro|drogi|droga|cześć|szanowny|szanowna|dzień dobry|kära|hej|käre|hei|hyvä|moi|thanks|thank you|danke|"
    "merci|gracias|grazie|bedankt|dank je|obrigado|obrigada|dziękuję|tack|kiitos"
)
_CLOSINGS = (
    "regards|best|best regards|kind regards|sincerely|cheers|yours truly|yours sincerely|mit freundlichen grüßen|viele grüße|"
    "liebe grüße|beste grüße|gruß|cordialement|bien à vous|bien cordialement|amicalement|saludos|un saludo|atentamente|"
    "cordiali saluti|distinti saluti|un saluto|saluti|met vriendelijke groet|groeten|groetjes|atenciosamente|abraços|"
    "um abraço|pozdrawiam|z poważaniem|med vänliga hälsningar|vänliga hälsningar|hälsningar|mvh|ystävällisin terveisin|"
    "terveisin"
)

TITLED = regex.compile(rf"(?:{_TITLE}\.?\s+)+")
"""Titles in front of a name."""
NAMES = (
    Rule(NAME, rf"(?<={_TITLE}\.? (?:(?:Dr|Prof|med|h\.c|Ing)\.? )*){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_INTRODUCTIONS})[ ]){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_CALLED})[ ]){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<![\w])(?i:{_FIELDS})[\"']? ?[:=] ?[\"']?){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?:^|[\n.!?\"] ?)(?i:{_GREETINGS}),?[ ]){PERSON}(?=[,!.:;\n]|$| [-–])", 0.8),
    Rule(NAME, rf"(?<=(?i:{_CLOSINGS})[,!.]?\s{{1,2}}){PERSON}(?=[.,;\n]|\s*$)", 0.8),
)  # fmt: skip
