"""Makes tests/data/personal.jsonl: sentences with made-up personal data of ten countries, and the places where they stand.

    python tests/made_personal.py

Names, addresses and numbers come from Faker by a seed; they belong to nobody but by chance. Sentences of the set `tuning` may be looked
at when patterns are written; those of the set `test` are only measured.
"""

import json
import random
import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "data" / "personal.jsonl"
# Sentences by locale and set. {kind} is a value; {first} and {last} are parts of a name.
SENTENCES: dict[str, dict[str, list[str]]] = {
    "en_US": {
        "tuning": [
            "Please send the contract to {email} before noon.",
            "My name is {name} and my phone number is {phone}.",
            "{name} moved to {address} last spring.",
            "I paid with card {card}, but the receipt never came.",
            "My SSN is {id}, can you check my refund?",
            "The login came from {ip} at 03:12.",
            "Use the key {key} for the staging server.",
            "Hi {first}, did you talk to {name} about the budget?",
            "Call me at {phone} or write to {email}.",
            "Transfer the deposit to {iban} please.",
            "Ms. {last} asked us to deliver to {address}.",
            "Yesterday {name} met the auditors in Boston.",
        ],
        "test": [
            "You can reach {name} at {email} or {phone} during office hours.",
            "Ship it to {address}, attention {name}.",
            "The customer's social security number, {id}, was printed on the form.",
            "Charge {card} and mail the invoice to {email}.",
            "Dear Mr. {last},\nyour order will arrive at {address}.\nBest regards,\n{name}",
            "Blocked 14 requests by {ip} within a minute.",
            "export API_TOKEN={key}",
            "Our new manager, {name}, starts on Monday.",
            "Voicemail from {phone}: please call back.",
            "The escrow account is {iban}.",
            "I spoke with {name} on the phone and she confirmed the appointment.",
            "email: {email}; tel: {phone}; ip: {ip}",
        ],
    },
    "en_GB": {
        "tuning": [
            "Could you forward this to {email}?",
            "{name} lives at {address} with two cats.",
            "Her National Insurance number is {id}.",
            "Ring me on {phone} after six.",
            "The sort code is missing, but the IBAN is {iban}.",
            "Dear Mrs {last}, thank you for your letter.",
        ],
        "test": [
            "We have your new address as {address}. Is that right?",
            "NI number {id} belongs to {name}.",
            "Text {phone} if the gate is locked.",
            "Kind regards,\n{name}\n{email}",
            "Refund {iban} by Friday, please.",
            "The house was sold to {name} in May.",
        ],
    },
    "de_DE": {
        "tuning": [
            "Bitte schicken Sie die Rechnung an {email}.",
            "Mein Name ist {name} und ich wohne in der {address}.",
            "Sie erreichen mich unter {phone}.",
            "Meine Steuer-ID lautet {id}.",
            "Überweisen Sie den Betrag auf {iban}.",
            "Sehr geehrte Frau {last}, vielen Dank für Ihre Nachricht.",
            "Die Kreditkarte {card} wurde gesperrt.",
        ],
        "test": [
            "Herr {last} hat heute Morgen angerufen, seine Nummer ist {phone}.",
            "Lieferadresse: {address}",
            "Identifikationsnummer {id}, Bankverbindung {iban}",
            "Ich heiße {name}, meine Adresse ist {email}.",
            "Mit freundlichen Grüßen\n{name}",
            "Kunde: {name}, Telefon: {phone}",
            "Das Paket ging an {address} zurück.",
            "Der Server {ip} antwortet seit gestern nicht.",
        ],
    },
    "fr_FR": {
        "tuning": [
            "Envoyez la facture à {email}, s'il vous plaît.",
            "Je m'appelle {name} et j'habite au {address}.",
            "Vous pouvez me joindre au {phone}.",
            "Mon numéro de sécurité sociale est le {id}.",
            "Le virement part sur le compte {iban}.",
            "Bonjour Madame {last}, merci pour votre message.",
        ],
        "test": [
            "M. {last} a déménagé au {address} en mars.",
            "NIR : {id}",
            "Appelez le {phone} avant midi.",
            "Cordialement,\n{name}",
            "Le client {email} demande un remboursement sur {iban}.",
            "La carte {card} a été refusée deux fois.",
        ],
    },
    "es_ES": {
        "tuning": [
            "Escríbeme a {email} cuando puedas.",
            "Me llamo {name} y vivo en {address}.",
            "Mi teléfono es el {phone}.",
            "Mi DNI es {id}.",
            "Haz la transferencia a {iban}.",
        ],
        "test": [
            "El señor {last} llamó desde el {phone}.",
            "Dirección de entrega: {address}",
            "NIF {id}, cuenta {iban}",
            "Un saludo,\n{name}",
            "La tarjeta {card} está a nombre de la señora {last}.",
        ],
    },
    "it_IT": {
        "tuning": [
            "Scrivi a {email} per i dettagli.",
            "Mi chiamo {name} e abito in {address}.",
            "Il mio codice fiscale è {id}.",
            "Chiamami al {phone}.",
            "Il bonifico va su {iban}.",
        ],
        "test": [
            "La signora {last} ha lasciato il numero {phone}.",
            "Spedire a: {address}",
            "Codice fiscale {id}, e-mail {email}",
            "Cordiali saluti,\n{name}",
            "Conto {iban}, carta {card}",
        ],
    },
    "nl_NL": {
        "tuning": [
            "Stuur de factuur naar {email}.",
            "Mijn naam is {name} en ik woon op de {address}.",
            "Mijn BSN is {id}.",
            "Bel me op {phone}.",
            "Maak het bedrag over naar {iban}.",
        ],
        "test": [
            "Mevrouw {last} is bereikbaar op {phone}.",
            "Bezorgadres: {address}",
            "Burgerservicenummer {id}, rekening {iban}",
            "Met vriendelijke groet,\n{name}",
        ],
    },
    "pt_BR": {
        "tuning": [
            "Mande o boleto para {email}.",
            "Meu nome é {name} e meu CPF é {id}.",
            "Ligue para {phone} amanhã.",
            "A entrega é na {address}.",
        ],
        "test": [
            "A senhora {last} mora na {address}.",
            "CPF {id}, telefone {phone}",
            "Atenciosamente,\n{name}",
            "Contato: {email}",
        ],
    },
    "pl_PL": {
        "tuning": [
            "Nazywam się {name}, mój PESEL to {id}.",
            "Proszę o kontakt: {email}.",
            "Mój telefon to {phone}.",
            "Adres dostawy: {address}",
            "Proszę o przelew na {iban}.",
        ],
        "test": [
            "Pan {last} mieszka przy {address}.",
            "PESEL {id}, konto {iban}",
            "Zadzwoń pod {phone} po osiemnastej.",
            "Z poważaniem,\n{name}\n{email}",
        ],
    },
    "sv_SE": {
        "tuning": [
            "Jag heter {name} och mitt personnummer är {id}.",
            "Skicka fakturan till {email}.",
            "Ring mig på {phone}.",
            "Jag bor på {address}.",
        ],
        "test": [
            "Personnummer {id}, telefon {phone}",
            "Leverans till {address}",
            "Med vänliga hälsningar\n{name}",
            "Betala till {iban}, tack.",
        ],
    },
}
# Sentences without personal data, which look as if they had some.
CLEAN: dict[str, list[str]] = {
    "tuning": [
        "Order 4711-20231 ships on 2024-03-05 at 14:30.",
        "Version 1.2.3.4 fixes issue #1234567.",
        "The box weighs 12.5 kg and costs $1,299.00.",
        "Set an alarm for 07:30 on Monday, please.",
        "Turn to page 123 of the manual and press F12.",
        "The meeting on 12/05/2024 was moved to room 204.",
        "Commit 3f2a9c1d fixes the crash in release 10.4.1.",
        "The population grew from 8,804,190 to 8,952,003.",
        "Die Rechnung 2024-00123 vom 03.04.2024 ist bezahlt.",
        "Guten Tag, wann öffnet die Filiale am Samstag?",
        "Le train part à 8 h 45 de la gare de Lyon.",
        "El pedido 88231 llega el 15 de marzo.",
        "Il volo AZ 1234 parte alle 18:20.",
        "What is the weather in Paris on Friday?",
        "Play the album Abbey Road, please.",
        "The ratio was 3:2 after 90 minutes.",
        "ISBN 978-3-16-148410-0 is out of print.",
        "Das Gerät hat 16 GB Speicher und 512 GB Platz.",
    ],
    "test": [
        "Invoice 100234567 was paid on 31 March 2024.",
        "Please upgrade to version 2.10.0.1 before Friday.",
        "Add milk, 6 eggs and 250 g of butter to the shopping list.",
        "The train leaves platform 9 at 10:45.",
        "Serial number A1B2-C3D4-E5F6, made in 2021.",
        "The file has 1048576 bytes and 20480 lines.",
        "Set the volume to 40 percent and play some jazz.",
        "Bestellung Nr. 5567812 wurde am 1.2.2024 versandt.",
        "Die Sitzung beginnt um 9 Uhr im Raum 3.14.",
        "La réunion est reportée au 12 avril à 10 h.",
        "La factura 2024/0098 vence el 30/06/2024.",
        "La riunione è alle 15:00 in sala 12.",
        "De trein van 9:15 heeft vertraging.",
        "O pedido 778899 chega na sexta-feira.",
        "Spotkanie jest o 10:30 w sali 12.",
        "Mötet börjar klockan 14:15 i rum 22.",
        "Chapter 12 explains how the Roman Empire fell.",
        "The scores were 21-19, 18-21 and 15-12.",
        "Release 2024.11.29 needs Python 3.11 or newer.",
        "The GDP was 25,462,700 million dollars in 2022.",
    ],
}
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def steuer_id(draw: random.Random) -> str:
    """A tax number of Germany with its check digit (ISO 7064, MOD 11,10)."""
    numbers = draw.sample(range(10), 9)
    numbers.insert(draw.randrange(1, 10), draw.choice(numbers))
    if numbers[0] == 0 or len(set(numbers)) != 9:
        return steuer_id(draw)
    product = 10
    for digit in numbers:
        product = 2 * ((digit + product) % 10 or 10) % 11
    text = "".join(map(str, [*numbers, (11 - product) % 10]))
    return draw.choice((text, f"{text[:2]} {text[2:5]} {text[5:8]} {text[8:]}"))


def key(draw: random.Random) -> str:
    """A key as services write them, which opens nothing."""

    def made(count: int) -> str:
        return "".join(draw.choices(_ALPHABET, k=count))

    # In pieces, so that no scanner of repositories takes them for real ones.
    return draw.choice(
        ("sk" + "-" + made(40), "gh" + "p_" + made(36), "AK" + "IA" + made(16).upper(), "AI" + "za" + made(35), "xo" + "xb-" + made(30))
    )


def value(kind: str, locale: str, faker: Any, draw: random.Random) -> str:
    """A value of a kind as people of a country write it."""
    country = locale[-2:]
    match kind:
        case "first":
            return str(faker.first_name())
        case "last":
            return str(faker.last_name())
        case "name":
            return f"{faker.first_name()} {faker.last_name()}"
        case "email":
            return str(draw.choice((faker.email, faker.ascii_company_email))())
        case "phone":
            return str(faker.phone_number())
        case "address":
            return str(faker.address()).replace("\n", draw.choice((", ", ", ", "\n")))
        case "card":
            number = str(faker.credit_card_number(card_type=draw.choice(("visa16", "mastercard"))))
            return draw.choice((number, " ".join(re.findall("....", number)), "-".join(re.findall("....", number))))
        case "iban":
            plain = str(faker.iban())
            return draw.choice((plain, " ".join(re.findall(".{1,4}", plain))))
        case "ip":
            return str(draw.choice((faker.ipv4_public, faker.ipv6))())
        case "key":
            return key(draw)
    if country == "DE":
        return steuer_id(draw)
    if country == "GB":
        # Faker makes numbers that are never given out.
        two = draw.choice("ABCEGHJKLMPRST") + draw.choice("ABCEHJLMPRSW")
        plain = f"{two}{draw.randrange(10**6):06d}{draw.choice('ABCD')}"
        return draw.choice((plain, " ".join(re.findall(".{1,2}", plain))))
    return str(getattr(faker, {"ES": "nif", "BR": "cpf", "PL": "pesel"}.get(country, "ssn"))())


def rows(seed: int = 20240229, each: int = 4) -> list[dict[str, Any]]:
    """All sentences `each` times with different values: text, locale, set, and the spans [start, end, kind]."""
    from faker import Faker

    made = []
    for locale, sets in SENTENCES.items():
        faker, draw = Faker(locale), random.Random(f"{seed} {locale}")
        faker.seed_instance(f"{seed} {locale}")
        for name, sentences in sets.items():
            for sentence in sentences * each:
                text, spans = "", []
                for part in re.split(r"(\{\w+\})", sentence):
                    if part.startswith("{"):
                        found = value(part[1:-1], locale, faker, draw)
                        kind = "name" if part in ("{first}", "{last}") else part[1:-1]
                        spans.append([len(text), len(text) + len(found), kind])
                        text += found
                    else:
                        text += part
                made.append({"text": text, "locale": locale, "set": name, "spans": spans})
    for name, sentences in CLEAN.items():
        made += [{"text": sentence, "locale": "none", "set": name, "spans": []} for sentence in sentences]
    return made


def main() -> None:
    FILE.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
