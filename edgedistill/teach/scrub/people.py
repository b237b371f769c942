"""Patterns of names that words around them give away, in several languages."""

from __future__ import annotations

import regex

from edgedistill.teach.scrub.rules import NAME, Rule

_TITLES = (
    "Mr|Mrs|Ms|Miss|Mister|Dr|Prof|Professor|Sir|Madam|Herrn?|Frau|Hr|Monsieur|Madame|Mme|Mlle|Señora?|Sra?|Don|Doña|Signora?|"
    "Signor|Sig|Dott|Dottoressa|Dott\\.ssa|Dhr|Mevr|Mevrouw|Meneer|De heer|Heer|Pan|Pani|Panem|Panią|Pana|Panu|Senhora?|"
    "Senhor|Seu|Dona|Ing|Herra|Rouva|Fru"
)
_TITLE = rf"(?<!\w)(?:(?i:{_TITLES})\b|M\.|Dipl\.-Ing)"
_PARTICLE = r"(?:van der|van den|van de|van|von|zu|de la|de los|de|del|della|di|da|dos|das|do|du|le|la|ten|ter|den|bin|al|el|y|e)"
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

_FORMAL = "Mr|Mrs|Ms|Herrn?|Frau|Monsieur|Madame|Mme|Mlle|Señora?|Signora|Dhr|Mevr|Mevrouw|Meneer|Senhora?|Pani|Herra|Rouva|Fru"
_SHORT = r"\p{Lu}[\p{L}\p{M}'’\-]+(?:[ ](?:\p{Lu}\.|\p{Lu}[\p{L}\p{M}'’\-]+)){0,2}"

NAMES = (
    Rule(NAME, rf"(?<={_TITLE}\.? (?:(?:Dr|Prof|med|h\.c|Ing)\.? )*){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_INTRODUCTIONS})[ ]){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_CALLED})[ ]){PERSON}", 0.8),
    Rule(NAME, rf"(?<=(?<![\w])(?i:{_FIELDS})[\"']? ?[:=] ?[\"']?){_FULL}", 0.8),
    Rule(NAME, rf"(?<=(?:^|[\n.!?\"] ?)(?i:{_GREETINGS}),?[ ])(?!(?i:{_NOBODY})\b){PERSON}(?=[,!.:;\n]|$| [-–])", 0.8),
    Rule(NAME, rf"(?<=(?:^|[\n.!?,;] ?)(?i:{_CLOSINGS})(?:[,!.]?\s*\n\s*|, )){PERSON}(?=[.,;\n]|\s*$)", 0.8),
    # In small letters only behind words that nothing else follows.
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_FORMAL})\b\.? )\p{{Lu}}[\p{{L}}\p{{M}}'’\-]+", 0.8, recased=True),
    Rule(NAME, rf"(?<=(?<!\w)(?i:{_CALLED})[ ]){_SHORT}", 0.8, recased=True),
)  # fmt: skip
