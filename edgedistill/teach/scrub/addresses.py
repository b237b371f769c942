"""Patterns of postal addresses in several languages: a street with its number, then what may follow of flat, code and city."""

from __future__ import annotations

from edgedistill.teach.scrub.rules import ADDRESS, LIKELY, Rule

_CAP = r"\p{Lu}[\p{L}\p{M}'’.\-]*"
_SMALL = r"(?:de|du|des|la|le|les|l['’]|d['’]|del|della|dello|dei|delle|degli|di|da|do|dos|das|den|der|van|y|e|i|ks\.)"
_WORDS = rf"(?:{_CAP}|\d{{1,2}}(?:er|e|º|th|nd|rd|st)?|{_SMALL}\b)"
_CITY = (
    rf"(?:(?:de|da|do|dos|das|la|le|les|el|los|las) )?{_CAP}"
    rf"(?:[ \-](?:{_CAP}|(?:am|an der|im|in|de|del|della|do|da|dos|das|la|le|les|lès|sur|sous|upon|sul|aan|den|op|nad)\b)){{0,4}}"
)
_NUMBER = r"\d{1,5}(?:[ -]?[a-zA-Z]\b(?!\w)(?:[ ]\d{1,3}(?=[,\n]))?)?(?:[/\-]\d{1,4}[a-zA-Z]?){0,3}"
_BREAK = r"(?:\s*[,\n·|]\s*|\s+[-–]\s+)"
_GAP = rf"(?:{_BREAK}|\s+)"
# What may follow a street: a flat, then postal code and city in the order of the country, behind names of parts of the city.
_UNIT = (
    "apt|apartment|suite|ste|unit|flat|room|floor|piso|puerta|appt|app|appartamento|apto|int|interno|piano|scala|bus|m|lok|lgh|casa|"
    "blq|bloque|stiege|top|etage|kv|depto"
)
_FLAT = (
    rf"(?:{_GAP}(?:(?i:{_UNIT})\b\.? ?#?(?:[\w-]*\d[\w-]*|[A-Z]\b)|\d{{1,2}}\.?[ºª°]?(?i: (?:og|tv|th|etg)\b\.?|(?<=[ºª°])(?: ?[A-Z]\b)?)))"
)
_LONG_CODE = r"(?:[A-Z]{1,2}-)?(?:\d{5}-?\d{3}|\d{2}-\d{3}|\d{3} \d{2}|\d{4} ?[A-Z]{2}\b|\d{5})(?!\d)"
# Four digits are a year, or a price, more often than a code.
_SHORT_CODE = rf"(?:{_BREAK}(?:[A-Z]{{1,2}}-)?\d{{4}}|(?<=\d[A-Za-z]?)\s+(?!19|20)\d{{4}})(?!\d)"
_UK = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
_CANADA = r"(?:[A-Z]{2},? )?[A-Z]\d[A-Z] ?\d[A-Z]\d\b"
_AUSTRALIA = r"(?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT),? \d{4}(?!\d)"
_UNITED_STATES = r"[A-Z]{2},? \d{5}(?:-\d{4})?(?!\d)"
_INDIA = r"(?:[-–] ?)?[1-9]\d{2} ?\d{3}(?!\d)"
_BRAZIL = rf"{_GAP}\d{{5}}-?\d{{3}} {_CITY} / [A-Z]{{2}}\b"
_STATE = r"(?: ?[/,(-]? ?[A-Z]{2}\b\)?)?"
_PARTS = rf"(?:{_GAP}(?:{_CAP}|\d{{1,3}}[ºª°]|{_SMALL}\b)){{0,7}}?"
_POSTAL = (
    rf"(?:{_PARTS},?(?:{_GAP}(?:{_UNITED_STATES}|{_UK}|{_CANADA}|{_AUSTRALIA}|{_LONG_CODE}{_GAP}{_CITY}{_STATE})|{_SHORT_CODE}{_GAP}{_CITY}{_STATE})"
    rf"|(?:{_BREAK}{_CITY}){{1,2}}{_BREAK}\d{{5}}(?:-\d{{3}})?(?!\d)"
    rf"|{_PARTS}{_GAP}{_CAP} ?{_INDIA})"
)
# Words that mean much else too count in front of a postal code alone.
_MORE, _PLACE = rf"{_FLAT}?{_POSTAL}?", rf"{_FLAT}{{0,2}}{_POSTAL}"

_ENGLISH = "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Terrace|Parkway|Pkwy|Highway|Hwy|Crescent"
_ENGLISH_OFTEN = "Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Ter|Close|Circle|Cir|Trail|Trl|Alley|Row|Mews|Grove|Gardens|Way"
_ENGLISH_TOO = (
    "Annex|Arcade|Bayou|Beach|Bend|Bluff|Bottom|Branch|Bridge|Brook|Burg|Bypas|Camp|Canyon|Cape|Causeway|Center|Cliff|Club|Common|"
    "Corner|Course|Cove|Creek|Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Estate|Expressway|Extension|Fall|Ferry|Field|Flat|"
    "Ford|Forest|Forge|Fork|Fort|Freeway|Garden|Gateway|Glen|Green|Harbor|Haven|Height|Hill|Hollow|Inlet|Island|Isle|Junction|Key|"
    "Knoll|Lake|Landing|Light|Loaf|Lock|Lodge|Loop|Mall|Manor|Meadow|Mill|Mission|Motorway|Mount|Mountain|Neck|Orchard|Oval|"
    "Overpas|Park|Pas|Passage|Path|Pike|Pine|Plain|Plaza|Point|Port|Prairie|Radial|Ramp|Ranch|Rapid|Rest|Ridge|River|Route|Rue|Run|"
    "Shoal|Shore|Skyway|Spring|Spur|Station|Stravenue|Stream|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Turnpike|Underpas|"
    "Union|Valley|Viaduct|View|Village|Ville|Vista|Walk|Wall|Well|Nagar|Marg|Chowk|Ganj|Colony|Layout|Vihar|Enclave"
)
_GERMAN = r"(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|damm|ufer|chaussee|promenade)"
_GERMAN_TOO = r"(?:ring|graben|steig|hof|markt|tor|wall|stieg|berg|str)"
_AT = "Am|An der|An den|Auf der|Auf dem|Im|In der|In den|Zum|Zur|Unter den|Hinter der|Vor dem"
_DUTCH = r"(?:straat|laan|weg|plein|gracht|kade|dijk|dreef|singel|steeg|plantsoen)"
_DUTCH_TOO = r"(?:pad|hof|baan|ring|boulevard|park|wal|markt)"
_NORDIC = r"(?:gatan|vägen|gränden|gränd|torget|allén|stigen|backen|gata|väg|gade|vej|gaten|veien|vegen|stræde|plads|katu|kuja|polku|kaari)"
_NORDIC_TOO = r"(?:plan|gate|alle|allé|torv|tie|raitti|bakken|haugen|parken)"
_FRENCH = "rue|avenue|boulevard|bd|chemin|allée|impasse|quai"
_FRENCH_OFTEN = "place|route|cours|square|passage|sentier|villa"
_SPANISH = (
    "[Cc]alle|C/|Cl\\.|C\\.|[Aa]venida|Avda\\.?|Av\\.|[Pp]laza|Pza\\.?|[Pp]aseo|Camino|Ronda|Carrer|Glorieta|Callejón|Calzada|"
    "Cañada|Pasadizo|Rambla|Urbanización|Travesía"
)
_ITALIAN = "[Vv]iale|[Pp]iazza|Piazzale|[Vv]icolo|Contrada|Lungomare|Lungotevere"
_PORTUGUESE = "[Rr]ua|[Aa]venida|Av\\.|[Tt]ravessa|[Pp]raça|Rodovia|Estrada|Ladeira"
_ROMANCE_OFTEN = "Vía|Cuesta|Pasaje|Via|Corso|Largo|Salita|R\\.|Alameda|Viela"
_ROMANCE_TOO = (
    "via|Acceso|Vial|Strada|Borgo|Canale|Incrocio|Rotonda|Stretto|Vila|Parque|Passarela|Pátio|Setor|Sítio|Praia|Trecho|Trevo|"
    "Vale|Vereda|Viaduto|Loteamento|Lagoa|Lago|Jardim|Fazenda|Favela|Esplanada|Estação|Feira|Distrito|Residencial|Recanto|Quadra|Núcleo|"
    "Morro|Conjunto|Condomínio|Colônia|Chácara|Campo|Área|Aeroporto|Privada|Cerrada|Andador|Prolongación|Retorno|Eje vial|Circuito"
)
_SLAVIC = r"ul\.|ulica|ulice|al\.|aleja|pl\.|plac|os\.|nám\.|náměstí|třída"
_SIDE = r"(?:[ ](?:[NSEW]\b\.?|North|South|East|West)(?!\w))"
_HOUSE = rf"(?<![\w.,])\d{{1,6}}[A-Z]?,?{_SIDE}?(?:[ ](?:\p{{Lu}}[\p{{L}}'’.\-]*|\d{{1,3}}(?:st|nd|rd|th))){{1,4}}?"
_BEFORE = r"(?<![\p{L}\-])(?:\p{Lu}[\p{L}.\-]*[ \-]){0,3}"
_CAPITAL = r"\p{Lu}[\p{L}.\-]*"


def _rules(*, recased: bool) -> tuple[Rule, ...]:
    """The patterns. recased: for texts whose words were given capitals; short words often mean something else in them."""
    often = _PLACE if recased else _MORE
    named = rf"(?:{_WORDS}[ ]?){{1,7}}"
    number = rf",? ?(?:(?:n[º°o.]{{1,2}}|núm\.?|#) ?)?{_NUMBER}"
    french = r"(?<![\w.,])\d{1,4}(?: ?(?:bis|ter|quater|[A-Za-z]))?,? "
    patterns = [
        rf"{_HOUSE}[ ](?:{_ENGLISH})\b\.?{_SIDE}?{_MORE}",
        rf"{_HOUSE}[ ](?:{_ENGLISH_OFTEN})\b\.?{_SIDE}?{often}",
        rf"{_HOUSE}[ ](?:{_ENGLISH}|{_ENGLISH_TOO}|{_ENGLISH_OFTEN})s?\b\.?{_SIDE}?{_PLACE}",
        # British houses without a street's number, and blocks in front of it.
        rf"(?i:(?:flat|studio|unit|apartment|suite) \d{{1,4}}[a-z]?){_GAP}[^,\n]{{1,40}}{_POSTAL}",
        rf"(?:PSC|CMR|USS|USNS|USNV|USCGC|Unit) [\w ]{{1,30}}{_BREAK}?(?:Box \d+)?{_BREAK}?(?:APO|FPO|DPO) A[AEP],? \d{{5}}",
        rf"\bP\.? ?O\.? Box \d+{_MORE}",
        rf"{_BEFORE}(?:{_CAPITAL}(?i:{_GERMAN})|(?i:stra(?:ß|ss)e|str\.|platz|weg|allee)(?<=[ \-]\p{{L}}+\.?)) {_NUMBER}{_MORE}",
        rf"{_BEFORE}{_CAPITAL}(?i:{_GERMAN_TOO}) {_NUMBER}{_PLACE}",
        rf"(?<![\p{{L}}\-])(?:{_AT}) (?:{_CAP} ?){{1,2}} ?{_NUMBER}{_PLACE}",
        rf"{_BEFORE}{_CAPITAL}{_DUTCH} {_NUMBER}{_MORE}",
        rf"{_BEFORE}{_CAPITAL}{_DUTCH_TOO} {_NUMBER}{_PLACE}",
        rf"{_BEFORE}(?:{_CAPITAL}{_NORDIC}|(?<=\p{{L}} )(?i:{_NORDIC})) {_NUMBER}{_MORE}",
        rf"{_BEFORE}{_CAPITAL}{_NORDIC_TOO} {_NUMBER}{_PLACE}",
        rf"{french}(?i:{_FRENCH}) {named}{_MORE}",
        rf"{french}(?i:{_FRENCH_OFTEN}) {named}{often}",
        rf"(?<!\w)(?i:{_FRENCH}|{_FRENCH_OFTEN}) {named}{_PLACE}",
        rf"(?<!\w)(?:{_SPANISH}|{_ITALIAN}|{_PORTUGUESE}) ?{named}{number}{_FLAT}?{_MORE}",
        rf"(?<!\w)(?:{_ROMANCE_OFTEN}) ?{named}{number}{_FLAT}?{often}",
        rf"(?<!\w)(?:{_ROMANCE_TOO}) {named}{number}{_PLACE}",
        # Brazil has streets without numbers, in front of a code that nothing else looks like.
        rf"(?<!\w)(?:{_PORTUGUESE}|{_ROMANCE_OFTEN}|{_ROMANCE_TOO}) ?{named}(?:{number})?{_PARTS}{_BRAZIL}",
        rf"(?<!\w)(?i:{_SLAVIC}) ?{named} ?{_NUMBER}{_MORE}",
        # Any name with a number, in front of a line with a code.
        rf"{_BEFORE}{_CAPITAL} {_NUMBER}{_FLAT}?{_BREAK}(?:{_LONG_CODE}|(?!19|20)\d{{4}}(?!\d)) {_CITY}",
        rf"(?<![\w.,])(?:H\.? ?[Nn]o\.? ?)?\d{{1,5}}(?:/\d+)?{_BREAK}(?:{_CAP}{_GAP}){{1,8}}?{_CAP} ?{_INDIA}",
        rf"(?<!\w){_CITY},? [A-Z]{{2}} \d{{5}}(?:-\d{{4}})?(?!\w)",
    ]  # fmt: skip
    rules = tuple(Rule(ADDRESS, pattern, recased=recased) for pattern in patterns)
    return (*rules, Rule(ADDRESS, r"\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b", LIKELY, recased=recased))


ADDRESSES = (*_rules(recased=False), *_rules(recased=True))
