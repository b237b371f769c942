"""Patterns of phone numbers and of the numbers by which countries know their people, with the check digits of each."""

from __future__ import annotations

from edgedistill.teach.scrub.rules import ID, LIKELY, PHONE, SURE, WEAK, Rule, digits, luhn


def _modulo(weights: tuple[int, ...], modulus: int, text: str) -> int:
    return sum(weight * int(digit) for weight, digit in zip(weights, digits(text), strict=False)) % modulus


def _steuer_id(text: str) -> bool:
    """ISO 7064, MOD 11,10. Germany's tax number repeats one digit, and does not begin with 0."""
    number, product = digits(text), 10
    if len(number) != 11 or number[0] == "0" or not 8 <= len(set(number[:10])) <= 9:
        return False
    for digit in number[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(number[10])


def _nir(text: str) -> bool:
    """France: 97 less the remainder by 97; Corsica's departments 2A and 2B count as 19 and 18."""
    plain = "".join(filter(str.isalnum, text)).upper().replace("2A", "19", 1).replace("2B", "18", 1)
    return len(plain) == 15 and plain.isdigit() and 97 - int(plain[:13]) % 97 == int(plain[13:])


def _bsn(text: str) -> bool:
    """The Netherlands: weights 9 to 2 and -1, by 11."""
    number = digits(text)
    return len(number) == 9 and int(number) > 0 and _modulo((9, 8, 7, 6, 5, 4, 3, 2, -1), 11, number) == 0


def _cpf(text: str) -> bool:
    """Brazil: two digits, each by weights that fall to 2, by 11."""
    number = digits(text)
    if len(number) != 11 or len(set(number)) == 1:
        return False
    rests = ((10 * _modulo(tuple(range(size + 1, 1, -1)), 11, number[:size]) % 11 % 10, number[size]) for size in (9, 10))
    return all(str(rest) == digit for rest, digit in rests)


def _ahv(text: str) -> bool:
    """Switzerland: EAN-13."""
    return _modulo((1, 3) * 6 + (1,), 10, text) == 0


def _personnummer(text: str) -> bool:
    """Sweden: Luhn over the last ten digits."""
    return luhn(digits(text)[-10:])


def _nhs(text: str) -> bool:
    """The National Health Service: weights 10 to 2, by 11."""
    number = digits(text)
    rest = 11 - _modulo((10, 9, 8, 7, 6, 5, 4, 3, 2), 11, number[:9])
    return len(number) == 10 and rest % 11 == int(number[9])


def _pesel(text: str) -> bool:
    """Poland: weights 1, 3, 7, 9, by 10."""
    return _modulo((1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10, text) == 0


def _tfn(text: str) -> bool:
    """Australia's tax file number."""
    return _modulo((1, 4, 3, 7, 5, 8, 6, 9, 10), 11, text) == 0


def national() -> tuple[Rule, ...]:
    """The patterns; some checks are Presidio's."""
    from presidio_analyzer import predefined_recognizers as known

    return (
        Rule(ID, r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}(?![\w-])", 0.8),
        Rule(ID, r"(?<![\w-])(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}(?![\w-])", WEAK, ("ssn", "social security")),
        Rule(ID, r"(?i)\b(?!bg|gb|nk|kn|nt|tn|zz)[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z] ?\d\d ?\d\d ?\d\d ?[a-d]\b", 0.8),
        Rule(ID, r"(?<![\w-])\d{3}[ -]?\d{3}[ -]?\d{4}(?![\w-])", WEAK, ("nhs",), _nhs),
        Rule(ID, r"(?<![\w-])\d\d ?\d{3} ?\d{3} ?\d{3}(?![\w-])", LIKELY, (), _steuer_id),
        Rule(ID, r"(?<![\w-])[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[ABab]) ?\d{3} ?\d{3} ?\d\d(?![\w-])", SURE, (), _nir),
        Rule(ID, r"(?i)(?<![\w-])\d{8}[- ]?[A-HJ-NP-TV-Z](?![\w-])", SURE, (), known.EsNifRecognizer().validate_result),
        Rule(ID, r"(?i)(?<![\w-])[XYZ][- ]?\d{7}[- ]?[A-Z](?![\w-])", SURE, (), known.EsNieRecognizer().validate_result),
        Rule(ID, r"(?i)\b[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]\b", SURE, (), known.ItFiscalCodeRecognizer().validate_result),
        Rule(ID, r"(?i)\b\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]\b", SURE, (), known.FiPersonalIdentityCodeRecognizer().validate_result),
        Rule(ID, r"(?<![\w-])\d{9}(?![\w-])", WEAK, ("bsn", "burgerservicenummer", "sofinummer"), _bsn),
        Rule(ID, r"(?<![\w-])\d\d(?:[02468][1-9]|[13579][012])(?:0[1-9]|[12]\d|3[01])\d{5}(?![\w-])", LIKELY, (), _pesel),
        Rule(ID, r"(?<![\w-])(?:19|20)?\d\d(?:0[1-9]|1[0-2])(?:[06][1-9]|[1278]\d|[39][01])[-+]\d{4}(?![\w-])", SURE, (), _personnummer),
        Rule(ID, r"(?<![\w-])\d{3}\.\d{3}\.\d{3}-\d\d(?![\w-])", SURE, (), _cpf),
        Rule(ID, r"(?<![\w-])\d{11}(?![\w-])", WEAK, ("cpf",), _cpf),
        Rule(ID, r"(?<![\w-])756\.?\d{4}\.?\d{4}\.?\d\d(?![\w-])", SURE, (), _ahv),
        Rule(ID, r"(?<![\w-])[2-9]\d{3} \d{4} \d{4}(?![\w -]\d)", LIKELY, (), known.InAadhaarRecognizer().validate_result),
        Rule(ID, r"\b[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]\b", LIKELY),
        Rule(ID, r"(?<![\w-])\d{3} ?\d{3} ?\d{3}(?![\w-])", WEAK, ("tfn", "tax file"), _tfn),
        Rule(ID, r"\b[STFGM]\d{7}[A-Z]\b", LIKELY),
        Rule(
            ID,
            r"\b(?:[A-Z]{1,2}\d{6,8}|\d{9}|\d\d[A-Z]{2}\d{5}|[CFGHJK][0-9CFGHJ-NPRTV-Z]{8})\b",
            WEAK,
            ("passport", "reisepass", "passeport", "pasaporte", "passaporto", "paspoort", "passaporte", "pass number"),
        ),
        *phones(),
    )


_CALLED = (
    "phone", "call", "mobile", "cell", "tel", "fax", "whatsapp", "text me", "reach", "ring", "handy", "mobil", "anruf", "rufnummer", "ruf",
    "erreich", "appel", "portable", "joindre", "teléfono", "telefono", "móvil", "llám", "llam", "cellulare", "chiam", "telefoon", "bel",
    "celular", "ligue", "dzwo", "komórk", "ring", "sms", "number", "nummer", "numéro", "número", "numero", "contact",
    "tlf", "gsm", "natel", "puhelin", "volej", "volat", "zap", "movil", "num", "telefoon", "ringen",
)  # fmt: skip
# Words behind which a number is no phone number.
_OTHER = (
    r"(?<!(?i:order|invoice|ticket|case|ref|reference|bestellung|rechnung|commande|facture|pedido|ordine|version|isbn|sku|id|no|nr)"
    r"[ #.:]{0,3})"
)


def phones() -> tuple[Rule, ...]:
    """With the code of a country, as countries write them, and bare digits."""
    end = r"(?:(?: ?(?:x|ext\.?|extension|Durchwahl) ?)\d{1,6})?(?!\w|[-.]\d)"
    before = rf"(?<![\w.,:/+-]){_OTHER}"
    return (
        Rule(PHONE, rf"(?<![\w+])(?:\+|(?<!\d[ .\-])00)[1-9]\d{{0,3}}(?:[ .\-/]?\(?\d{{1,5}}\)?){{2,6}}{end}", 0.9, check=_international),
        # North America: (212) 555-0123, 212-555-0123, 1-212-555-0123.
        Rule(PHONE, rf"{before}(?:1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])\d{{3}}[-. ]\d{{4}}{end}", 0.7),
        # A 0 in front, and groups: 030 1234567, (0)20 7946 0958, 06 12 34 56 78, 0171/1234567.
        Rule(PHONE, rf"{before}\(?0\d{{1,4}}(?:\)|[ \-/.])(?:[ \-/.]{{0,2}}\d{{2,8}}){{1,5}}{end}", LIKELY, check=_with_trunk),
        # Sweden, with six digits behind the area: 08-21 26 38.
        Rule(PHONE, rf"{before}0\d{{1,3}}-\d{{2,3}}(?: ?\d\d){{2}}{end}", 0.7),
        # Groups without it: 612 34 56 78, 333 1234567, (11) 91234-5678.
        Rule(PHONE, rf"{before}\(\d\d\) ?9?\d{{4}}-\d{{4}}{end}", 0.7),
        Rule(PHONE, rf"{before}[1-9]\d{{1,3}}(?:[ .\-]\d{{2,8}}){{1,4}}{end}", WEAK, _CALLED, _length),
        Rule(PHONE, rf"{before}\d{{7,13}}{end}", WEAK, _CALLED, _length),
        # Without blanks and without such a word: with a 0 in front, where a country has such numbers.
        Rule(PHONE, rf"{before}0[1-9]\d{{8,9}}{end}", LIKELY, check=_valid_somewhere),
    )


def _international(text: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse("+" + digits(text.partition("x")[0]).removeprefix("00")))
    except phonenumbers.NumberParseException:
        return False


# Countries whose numbers begin with a 0 at home.
_TRUNK_ZERO = ("GB", "DE", "FR", "IN", "AU", "IT", "NL", "AT", "CH", "BE", "SE", "FI")


def _valid_somewhere(text: str) -> bool:
    import phonenumbers

    return any(phonenumbers.is_valid_number(phonenumbers.parse(text, country)) for country in _TRUNK_ZERO)


def _length(text: str) -> bool:
    return 7 <= len(digits(text)) <= 14 and not _date(text)


def _with_trunk(text: str) -> bool:
    return 9 <= len(digits(text)) <= 12 and not _date(text)


def _date(text: str) -> bool:
    parts = [part for part in text.replace("/", "-").replace(".", "-").replace(" ", "-").split("-") if part]
    return len(parts) == 3 and sorted(map(len, parts)) in ([2, 2, 4], [1, 2, 4], [1, 1, 4], [2, 2, 2])
