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
# Words that mean much else too count in front of a postal code alone.
_PLACE = rf"{_FLAT}{{0,2}}{_POSTAL}"
_ENGLISH = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Crescent|Close|Parkway|"
    "Pkwy|Highway|Hwy|Circle|Cir|Trail|Trl|Alley|Row|Mews|Grove|Gardens|Way"
)
_ENGLISH_TOO = (
    "Annex|Arcade|Bayou|Beach|Bend|Bluff|Bottom|Branch|Bridge|Brook|Burg|Bypas|Camp|Canyon|Cape|Causeway|Center|Cliff|Club|Common|"
    "Corner|Course|Cove|Creek|Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Estate|Expressway|Extension|Fall|Ferry|Field|Flat|"
    "Ford|Forest|Forge|Fork|Freeway|Garden|Gateway|Glen|Green|Harbor|Haven|Height|Hill|Hollow|Inlet|Island|Isle|Junction|Key|"
    "Knoll|Lake|Landing|Light|Loaf|Lock|Lodge|Loop|Mall|Manor|Meadow|Mill|Mission|Motorway|Mount|Mountain|Neck|Orchard|Oval|"
    "Overpas|Park|Pas|Passage|Path|Pike|Pine|Plain|Plaza|Point|Port|Prairie|Radial|Ramp|Ranch|Rapid|Rest|Ridge|River|Route|Run|"
    "Shoal|Shore|Skyway|Spring|Spur|Station|Stravenue|Stream|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Turnpike|Underpas|"
    "Union|Valley|Viaduct|View|Village|Ville|Vista|Walk|Wall|Well"
)
_GERMAN = r"(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|damm|ufer|chaussee|promenade)"
_GERMAN_TOO = r"(?:ring|graben|steig|hof|markt|tor|wall|stieg|berg)"
_AT = "Am|An der|An den|Auf der|Auf dem|Im|In der|In den|Zum|Zur|Unter den|Hinter der|Vor dem"
_DUTCH = r"(?:straat|laan|weg|plein|gracht|kade|dijk|dreef|singel|steeg|plantsoen)"
_DUTCH_TOO = r"(?:pad|hof|baan|ring|boulevard|park|wal|markt)"
_SWEDISH = r"(?:gatan|vägen|gränden|gränd|torget|allén|stigen|backen|gata|väg)"
_FRENCH = "rue|avenue|boulevard|bd|chemin|place|allée|impasse|quai|route|cours|square|passage|sentier|villa"
_SPANISH = (
    "[Cc]alle|C/|Cl\\.|[Aa]venida|Avda\\.?|Av\\.|[Pp]laza|Pza\\.?|[Pp]aseo|Camino|Ronda|Carrer|Vía|Glorieta|Cuesta|Callejón|"
    "Cañada|Pasadizo|Pasaje|Rambla|Urbanización|Travesía"
)
_ITALIAN = "Via|[Vv]iale|[Pp]iazza|Piazzale|Corso|Largo|[Vv]icolo|Contrada|Lungomare|Lungotevere|Salita"
_PORTUGUESE = "[Rr]ua|R\\.|[Aa]venida|Av\\.|[Tt]ravessa|Alameda|[Pp]raça|Rodovia|Estrada|Largo|Viela|Ladeira"
_ROMANCE_TOO = (
    "via|Acceso|Alameda|Vial|Via|Strada|Borgo|Canale|Incrocio|Rotonda|Stretto|Vila|Parque|Passarela|Pátio|Setor|Sítio|Praia|Trecho|Trevo|"
    "Vale|Vereda|Viaduto|Loteamento|Lagoa|Lago|Jardim|Fazenda|Favela|Esplanada|Estação|Feira|Distrito|Residencial|Recanto|Quadra|Núcleo|"
    "Morro|Conjunto|Condomínio|Colônia|Chácara|Campo|Área|Aeroporto"
)
_WORDS = (
    rf"(?:{_CAP}|\d{{1,2}}(?:er|e|º|th|nd|rd|st)?|"
    r"(?:de|du|des|la|le|les|l['’]|d['’]|del|della|dello|dei|delle|degli|di|da|do|dos|das|den|der|van|y|e|ks\.)\b)"
)
_SIDE = r"(?:[ ](?:[NSEW]\b\.?|North|South|East|West)(?!\w))"
_HOUSE = rf"(?<![\w.,])\d{{1,6}}[A-Z]?{_SIDE}?(?:[ ](?:\p{{Lu}}[\p{{L}}'’.\-]*|\d{{1,3}}(?:st|nd|rd|th))){{1,4}}?"
_BEFORE = r"(?<![\p{L}\-])(?:\p{Lu}[\p{L}.\-]*[ \-]){0,3}"
_CAPITAL = r"\p{Lu}[\p{L}.\-]*"

ADDRESSES = (
    Rule(ADDRESS, rf"{_HOUSE}[ ](?:{_ENGLISH})\b\.?{_SIDE}?{_MORE}"),
    Rule(ADDRESS, rf"{_HOUSE}[ ](?:{_ENGLISH_TOO})s?\b\.?{_SIDE}?{_PLACE}"),
    # British houses without a street's number, and blocks in front of it.
    Rule(ADDRESS, rf"(?i:(?:flat|studio|unit|apartment|suite) \d{{1,4}}[a-z]?)(?:,\s*|\s*\n\s*|\s+)[^,\n]{{1,40}}{_POSTAL}"),
    Rule(ADDRESS, rf"(?:PSC|CMR|USS|USNS|USNV|USCGC|Unit) [\w ]{{1,30}}{_BREAK}?(?:Box \d+)?{_BREAK}?(?:APO|FPO|DPO) A[AEP],? \d{{5}}"),
    Rule(ADDRESS, rf"\bP\.? ?O\.? Box \d+{_MORE}"),
    Rule(ADDRESS, rf"{_BEFORE}(?:{_CAPITAL}(?i:{_GERMAN})|(?i:stra(?:ß|ss)e|str\.|platz|weg|allee)(?<=[ \-]\p{{L}}+\.?)) {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"{_BEFORE}{_CAPITAL}(?i:{_GERMAN_TOO}) {_NUMBER}{_PLACE}"),
    Rule(ADDRESS, rf"(?<![\p{{L}}\-])(?:{_AT}) (?:{_CAP} ?){{1,2}} ?{_NUMBER}{_PLACE}"),
    Rule(ADDRESS, rf"{_BEFORE}{_CAPITAL}{_DUTCH} {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"{_BEFORE}{_CAPITAL}{_DUTCH_TOO} {_NUMBER}{_PLACE}"),
    Rule(ADDRESS, rf"{_BEFORE}(?:{_CAPITAL}{_SWEDISH}|(?<=\p{{L}} ){_SWEDISH}) {_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"{_BEFORE}{_CAPITAL}plan {_NUMBER}{_PLACE}"),
    Rule(ADDRESS, rf"(?<![\w.,])\d{{1,4}}(?: ?(?:bis|ter|quater))?,? (?i:{_FRENCH}) (?:{_WORDS}[ ]?){{1,6}}{_MORE}"),
    Rule(ADDRESS, rf"(?<!\w)(?i:{_FRENCH}) (?:{_WORDS}[ ]?){{1,6}}{_PLACE}"),
    Rule(ADDRESS, rf"(?<!\w)(?:{_SPANISH}) ?(?:{_WORDS}[ ]?){{1,7}},? ?(?:(?:n[º°o.]{{1,2}}|núm\.?) ?)?{_NUMBER}{_FLAT}?{_MORE}"),
    Rule(ADDRESS, rf"(?<!\w)(?:{_ITALIAN}) (?:{_WORDS}[ ]?){{1,6}},? ?{_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<!\w)(?:{_PORTUGUESE}) (?:{_WORDS}[ ]?){{1,7}},? ?(?:n[º°.]{{1,2}} ?)?{_NUMBER}{_MORE}"),
    Rule(ADDRESS, rf"(?<!\w)(?:{_ROMANCE_TOO}) (?:{_WORDS}[ ]?){{1,7}},? ?(?:n[º°.]{{1,2}} ?)?{_NUMBER}{_PLACE}"),
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
_NOBODY = (
    "World|Team|All|Everyone|Everybody|Folks|Friends?|Customers?|Colleagues?|Guys|Sirs?|Madam|There|Kunden?|Kundin|Damen|Herren|Zusammen|"
    "Tous|Toutes|Clients?|Clientes?|Todos|Tutti|Allemaal|Klanten?|Alla|Kaikki"
)

NAMES = (
    Rule(NAME, rf"(?<={_TITLE}\.? (?:(?:Dr|Prof|med|h\.c|Ing)\.? )*){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_INTRODUCTIONS})[ ]){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_CALLED})[ ]){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<![\w])(?i:{_FIELDS})[\"']? ?[:=] ?[\"']?){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?:^|[\n.!?\"] ?)(?i:{_GREETINGS}),?[ ])(?!(?i:{_NOBODY})\b){PERSON}(?=[,!.:;\n]|$| [-–])", 0.8),
    Rule(NAME, rf"(?<=(?:^|[\n.!?,;] ?)(?i:{_CLOSINGS})(?:[,!.]?\s*\n\s*|, )){PERSON}(?=[.,;\n]|\s*$)", 0.8),
)  # fmt: skip
