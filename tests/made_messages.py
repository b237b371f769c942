"""Makes tests/data/messages.jsonl: chats, tickets, forms and logs with made-up personal data of 21 countries and regions.

    python tests/made_messages.py

It was written before anybody looked at what the patterns miss in it, and it is only measured: no pattern is written after it. Half of
the messages are in lower case, values too; a third have slips of the pen, outside of values. National numbers are those that
docs/scrubbing.md lists.
"""

import json
import random
import re
from pathlib import Path
from typing import Any

import made_personal

FILE = Path(__file__).parent / "data" / "messages.jsonl"
# Messages by locale, with {kind} for a value as in `made_personal`.
MESSAGES: dict[str, list[str]] = {
    "en_US": [
        "hey its {name} from last week, did u get my mail? im at {email} now",
        "yo can u venmo me, my num is {phone} thx",
        "TICKET #88213 | reporter: {name} <{email}> | prio: high | app crashes on login since tuesday",
        "omg {first} just told me shes moving to {address} lol",
        "agent: can i get your social? user: sure its {id}",
        "cant log in w/ {email}, tried 3x, last ip was {ip}",
        "fwd: pls ship 2 units -> {address} (attn {name})",
        "my card {card} got declined twice, whats going on??",
        "talked to {name} today, super nice guy, he said call {phone} and ask for {first}",
        "2024-11-03T09:14:22Z WARN auth failed user={email} src={ip} attempts=4",
        "ok so heres the key {key} dont share it",
        "Patient: {name}\nDOB on file\nAddr: {address}\nCell: {phone}",
        "tbh {name} and {name} both said no to the offer",
        "order for pickup under {last}, ph {phone}, card ending is fine",
    ],
    "en_GB": [
        "hiya, {name} here again - still no parcel at {address} !!",
        "ni no is {id} if you need it for payroll",
        "bell me on {phone} or whatsapp, cheers {first}",
        "can you change the direct debit to {iban} asap ta",
        "spoke w {name} in accounts, she'll email {email} tmrw",
        "Ticket: boiler broken again. Tenant {name}, property {address}, access via neighbour",
        "delivery note: leave at {address} round the back",
        "moved from {address} last month so pls update ur records",
    ],
    "en_IN": [
        "dear sir, kindly do the needful, my mobile no is {phone}",
        "sir my name is {name} and i am staying at {address}",
        "pls share invoice on {email} or whatsapp {phone}",
        "refund not received till date, regards {name}",
        "mail id: {email}, contact: {phone}",
    ],
    "en_AU": [
        "g'day, {name} speaking, could you ring us back on {phone}",
        "arvo delivery to {address} pls, gate code is with the missus",
        "invoice to {email} thanks legend",
        "site address {address}, foreman {name} ({phone})",
        "no worries mate, ask {first} when you get there",
    ],
    "de_DE": [
        "moin, hier nochmal {name}, paket immer noch nicht da :(",
        "kannst mir unter {phone} schreiben oder per mail {email}",
        "wohne jetzt in der {address}, bitte ändern",
        "ticket 4412: kunde {name} kommt nicht ins portal, ip {ip}, mail {email}",
        "meine steuerid ist {id}, die brauchst du doch oder?",
        "bitte geld auf {iban} überweisen, danke und lg {first}",
        "die frau {last} aus der buchhaltung meint das passt so",
        "Rückruf erbeten: {name}, {phone}, ab 17 Uhr",
        "karte {card} wurde 2x belastet!!!",
        "lieferung ging an {address}, da wohn ich seit 2 jahren nich mehr",
    ],
    "de_AT": [
        "servus, bin unter {phone} erreichbar, baba {first}",
        "wohn in {address}, stiege 2",
        "überweisung auf {iban} ist unterwegs",
        "rechnung bitte an {name}, {address}",
    ],
    "de_CH": [
        "grüezi, min name isch {name}, natel {phone}",
        "ahv nummer wär {id}",
        "adresse: {address}",
        "konto {iban}, lautend auf {name}",
    ],
    "fr_FR": [
        "slt cest {name}, tu peux me rappeler au {phone} stp",
        "jhabite {address} maintenant, faut changer sur le compte",
        "mon num de secu {id}, merci",
        "remboursement svp sur {iban}",
        "mail : {email} / tel : {phone}",
        "la dame au tel sappelle {name} je crois",
        "livraison chez {name}, {address}, sonner 2 fois",
        "ticket 9921 : connexion impossible depuis {ip}, compte {email}",
    ],
    "fr_CA": [
        "allo, mon cell c {phone}",
        "jai déménagé au {address} cet été",
        "demandez {name} à la réception",
        "courriel {email}",
    ],
    "es_ES": [
        "buenas, soy {name}, el pedido no llega a {address}",
        "mi movil {phone} y mi correo {email}",
        "dni {id} para la factura porfa",
        "hacedme el bizum al {phone} jaja",
        "el iban es {iban}, a nombre de {name}",
        "ayer hable con {name} y quedo en llamarme",
    ],
    "es_MX": [
        "que onda, marcame al {phone} wey",
        "vivo en {address}, entre las dos gasolineras",
        "mandalo a {email} plis",
        "pregunta por {name} en recepcion",
    ],
    "it_IT": [
        "ciao sono {name}, ti lascio il cell {phone}",
        "spedite tutto in {address} citofono {last}",
        "cf {id} x la fattura",
        "bonifico fatto su {iban} stamattina",
        "scrivimi a {email} che sul tel non leggo",
        "ieri e passato {name} a ritirare",
    ],
    "nl_NL": [
        "hoi met {name}, pakketje nog niet binnen op {address}",
        "app me ff op {phone}",
        "bsn {id} voor de administratie",
        "geld mag naar {iban} tnv {name}",
        "mailtje naar {email} is ook goed hoor",
    ],
    "pt_BR": [
        "oi sou {name}, meu zap é {phone}",
        "cpf {id} pra nota",
        "entrega na {address} por favor",
        "manda no email {email} blz",
    ],
    "pt_PT": [
        "boas, daqui {name}, telemóvel {phone}",
        "a morada é {address}",
        "transferência para {iban} feita",
        "email {email}",
    ],
    "pl_PL": [
        "hej tu {name}, paczka nie doszla na {address}",
        "tel {phone} albo mail {email}",
        "pesel {id}",
        "przelew na {iban} dzis wyslalem",
    ],
    "sv_SE": [
        "tja, {name} här, nås på {phone}",
        "bor på {address} nu",
        "pnr {id}",
        "swisha till {phone} tack",
    ],
    "da_DK": [
        "hej det er {name}, ring lige på {phone}",
        "ny adresse {address}",
        "mail {email} eller sms {phone}",
        "pengene skal på {iban}",
    ],
    "no_NO": [
        "hei, {name} her, tlf {phone}",
        "bor i {address}",
        "send faktura til {email}",
        "konto {iban}",
    ],
    "fi_FI": [
        "moi, täällä {name}, numero {phone}",
        "osoite on {address}",
        "hetu {id}",
        "tili {iban} kiitos",
    ],
    "cs_CZ": [
        "ahoj tady {name}, volejte {phone}",
        "bydlím na adrese {address}",
        "fakturu na {email} díky",
        "účet {iban}",
    ],
}
# Messages without personal data, which look as if they had some.
CLEAN = [
    "ticket 55120 closed after 3 days, no reply from customer",
    "lol ok see u at 7 then",
    "build 1.14.2.0 is broken on arm64, see log line 88213",
    "invoice 2024-11-0042 over 1,250.00 eur is still open",
    "pls restart node-17 and check port 8443",
    "we sold 12 345 678 units in 2023",
    "meeting moved to 14:00-15:30, room 12 b",
    "part no. 4403-118-7 is out of stock till 2025-02-01",
    "grade 11 section b has 32 students",
    "turn left after 300 m, then 2nd exit",
    "the 5 best lakes in the north are all free to visit",
    "he ran 10 km in 48:12, new record",
    "resolution 1920 x 1080 at 60 hz",
    "tracking 00340434161094021501 says out for delivery",
    "error 0x80070005 when saving file",
    "sku 9780262033848 hat jetzt 20% rabatt",
    "bestellnummer 30 4412 998 bitte stornieren",
    "der zug um 7:45 fällt heute aus",
    "paragraph 12 absatz 3 gilt hier nicht",
    "commande 7788 expédiée le 03/11/2024",
    "le bus 42 passe toutes les 10 minutes",
    "pedido 99120 retrasado hasta el lunes",
    "la partita è finita 3 a 1",
    "bestelling 5521 komt morgen tussen 10 en 12",
    "o jogo foi 2 a 0 ontem",
    "zamowienie 8812 jest w drodze",
    "order 2213 skickades i går",
    "temperatur 21.5 grader, fukt 40 %",
    "play some music by queen",
    "remind me to water the plants at 6",
    "SELECT count(*) FROM orders WHERE id > 100200300",
    "def area(width, height): return width * height",
    "gpu 0: 71 C, 8123 MiB / 24576 MiB",
    "sha256 9f86d081884c7d659a2feaa0c55ad015 does not match",
    "the red line runs from park street to south station",
    "chapter 3, page 112, second paragraph",
    "batch 2024w45 passed, 998 of 1000 ok",
    "happy new year everyone!!",
    "i will see the doctor on monday",
    "thanks a lot, will do",
]
_KEPT_CASE = ("key", "email")


def _typed(kind: str, found: str, draw: random.Random) -> str:
    """A value as people type it: an address on one line, a number without blanks."""
    if kind == "address":
        return found.replace("\n", draw.choice((", ", " ")))
    if kind == "phone" and draw.random() < 0.4:
        return re.sub(r"[ ().-]", "", found) if "x" not in found else found
    return found


def _slipped(text: str, draw: random.Random) -> str:
    """`text` with two letters of a word exchanged, or one left out."""
    words = [match.span() for match in re.finditer(r"[^\W\d_]{4,}", text)]
    if not words:
        return text
    start, end = draw.choice(words)
    place = draw.randrange(start + 1, end - 1)
    return text[:place] + draw.choice((text[place + 1] + text[place], text[place + 1])) + text[place + 2 :]


def rows(seed: int = 20241103, each: int = 3) -> list[dict[str, Any]]:
    """All messages `each` times with different values: text, locale, and the spans [start, end, kind]."""
    from faker import Faker

    made = []
    for locale, messages in MESSAGES.items():
        faker, draw = Faker(locale), random.Random(f"{seed} {locale}")
        faker.seed_instance(f"{seed} {locale}")
        for message in messages * each:
            lower, text, spans = draw.random() < 0.5, "", []
            slips = draw.random() < 1 / 3
            for part in re.split(r"(\{\w+\})", message):
                if not part.startswith("{"):
                    text += _slipped(part, draw) if slips else part
                    continue
                kind = "name" if part in ("{first}", "{last}") else part[1:-1]
                found = _typed(kind, made_personal.value(part[1:-1], locale, faker, draw), draw)
                found = found.lower() if lower and kind not in _KEPT_CASE else found
                spans.append([len(text), len(text) + len(found), kind])
                text += found
            made.append({"text": text, "locale": locale, "spans": spans})
    return [*made, *({"text": text, "locale": "none", "spans": []} for text in CLEAN)]


def main() -> None:
    FILE.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
