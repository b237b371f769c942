"""Patterns of personal data that look alike in every country: a regular expression each, its score, and a check of what it matches.

A finding counts from a score of 0.5. Below it stand patterns that many other things match too: they count where one of their `context`
words stands up to five words in front.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

EMAIL, PHONE, CARD, IBAN, ID, ADDRESS, NAME, IP, KEY = "email", "phone", "card", "iban", "id", "address", "name", "ip", "key"
KINDS = (EMAIL, PHONE, CARD, IBAN, ID, ADDRESS, NAME, IP, KEY)
"""What is looked for."""
SURE, LIKELY, WEAK = 1.0, 0.6, 0.3


@dataclass(frozen=True)
class Rule:
    """A pattern of one kind. check: whether what it matches is one. recased: it reads texts whose words were given capitals."""

    kind: str
    regex: str
    score: float = SURE
    context: tuple[str, ...] = ()
    check: Callable[[str], bool | None] | None = None
    recased: bool = False


def digits(text: str) -> str:
    """The digits 0 to 9 in a text."""
    return "".join(char for char in text if "0" <= char <= "9")


def luhn(text: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits(text))):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(text: str) -> bool:
    number = digits(text)
    return 13 <= len(number) <= 19 and len(set(number)) > 1 and luhn(number)


# Characters of an account number by country, from the IBAN registry of ISO 13616.
_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22,
    "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
    "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31,
    "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def _iban(text: str) -> bool:
    plain = "".join(filter(str.isalnum, text)).upper()
    if _LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _iban_patterns() -> str:
    """One alternative for each length, so that no letter of the next word is taken."""
    countries: dict[int, list[str]] = {}
    for country, length in _LENGTHS.items():
        countries.setdefault(length, []).append(country)
    alternatives = (f"(?:{'|'.join(names)})[ -]?\\d\\d(?:[ -]?[A-Z0-9]){{{length - 4}}}" for length, names in countries.items())
    return rf"(?i)(?<![A-Z0-9])(?:{'|'.join(alternatives)})(?![A-Z0-9])"


def _address(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    # These name no machine in particular.
    return not (found.is_loopback or found.is_unspecified or found.is_multicast or found == ipaddress.ip_address("255.255.255.255"))


_KEY_WORD = (
    r"(?:api[ _-]?key|secret(?:[ _-]?(?:access[ _-]?)?key)?|access[ _-]?token|auth[ _-]?token|"
    r"token|passw(?:or)?d|passwort|pwd|mot de passe|contraseña)"
)
_ALPHABET = r"[A-Za-z0-9_\-]"

RULES = (
    Rule(EMAIL, r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]*[\w+-]@(?:[\w-]+\.)+[^\W\d_][\w-]*[^\W_](?![\w@])"),
    Rule(EMAIL, r"(?i)\b[\w.+-]+ ?[\[(] ?at ?[\])] ?[\w-]+(?: ?(?:[\[(] ?dot ?[\])]|\.) ?[\w-]+)+"),
    Rule(
        CARD,
        r"(?<![\w.,-])(?:4\d{3}|5[0-8]\d\d|2[2-7]\d\d|3[04-9]\d\d|6\d{3})(?:[ -]?\d){9,15}(?!\w|[.,-]\d)",
        check=_card,
    ),
    Rule(IBAN, _iban_patterns(), check=_iban),
    Rule(IP, r"(?<![\w.])(?<!(?i:\bv|version|release|build) ?)\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", check=_address),
    Rule(IP, r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])", check=_address),
    Rule(IP, r"(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])"),
    Rule(KEY, rf"(?<!\w)(?:sk|pk|rk)[-_](?:(?:live|test|proj|ant|svcacct)[-_]){{0,2}}{_ALPHABET}{{16,}}"),
    Rule(KEY, r"(?<!\w)(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{20,})"),
    Rule(KEY, r"(?<!\w)(?:xox[abeprs]-[\w-]{10,}|pypi-[\w-]{20,}|dop_v1_[0-9a-f]{32,}|SG\.[\w-]{16,}\.[\w-]{16,})"),
    Rule(KEY, r"(?<!\w)(?:AKIA|ASIA|AROA)[0-9A-Z]{16}(?!\w)"),
    Rule(KEY, r"(?<!\w)AIza[\w-]{30,}"),
    Rule(KEY, r"(?<!\w)eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    Rule(KEY, r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    Rule(KEY, r"(?<=(?i:bearer|basic) )[\w.~+/-]{20,}=*"),
    Rule(KEY, r"(?<=\w://[^\s:/@]{0,64}:)[^\s:/@]{3,}(?=@)"),
    Rule(KEY, rf"(?<=(?i:{_KEY_WORD})[\"']? ?(?:[:=]|is|lautet|ist|est|es) ?[\"']?)(?=\S*\d)[^\s\"',;]{{8,}}"),
)
