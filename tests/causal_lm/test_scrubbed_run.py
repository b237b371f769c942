"""A whole run whose prompts and answers hold personal data: none of it stands anywhere in its folder."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import edgedistill
from made_llm import fields, write_jsonl
from made_service import served
from tokenizers import Tokenizer

PEOPLE = [
    {"name": f"{first} {last}", "email": f"{first.lower()}.{last.lower()}@corp.example", "phone": f"+49 170 55{number:05d}"}
    for number, (first, last) in enumerate(
        zip(("Annegret", "Thaddeus", "Wilhelmine"), ("Quellmann", "Ostrander", "Zabrowski"), strict=True)
    )
]
# What the teacher says by itself, and no prompt has.
KNOWN_TO_TEACHER = "ottilie.brandauer@corp.example"


@pytest.mark.slow
def test_no_personal_value_stands_in_any_file_of_a_run_with_answers(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 4)
    rows = [
        {
            "prompt": f"My name is {one['name']}. Mail {one['email']} or call {one['phone']} about order {number}.",
            "completion": one["email"],
        }
        for number in range(120)
        for one in [PEOPLE[number % len(PEOPLE)]]
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    with served(answer=lambda prompt: f"I wrote to {KNOWN_TO_TEACHER}, as {prompt}") as url:
        made = fields(teacher={"endpoint": {"base_url": url, "model": "m"}, "answers": {}})
        made["data"] |= {"source": {"jsonl": "rows.jsonl"}, "format": "text", "scrub": {"names": [], "key": str(secret)}, "length": 160}
        made["distill"]["stages"] = [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(made))
        done = edgedistill("run", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "tiny"
    answers = json.loads((run / "work/records/answers.json").read_text())["result"]
    assert answers["kept"] > 0
    values = [value for one in PEOPLE for value in (*one.values(), *one["name"].split())] + [KNOWN_TO_TEACHER]
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    tokenizer = Tokenizer.from_file(str(next(run.rglob("work/data/**/tokenizer.json"))))
    texts = [(path, text) for path in files for text in _readings(path, tokenizer)]
    # The texts are there, with pseudonyms.
    assert any(b"about order" in text and b"[EMAIL_" in text for path, text in texts if path.suffix == ".npy")
    found = {(str(path), value) for path, text in texts for value in values if value.lower().encode() in text.lower()}
    assert not found
    assert not [value for value in values if value.lower() in (done.stdout + done.stderr).lower()]


def _readings(path: Path, tokenizer: Tokenizer) -> Iterator[bytes]:
    """The bytes of a file, and of what it packs: files of an archive, and the texts of an array of tokens."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if path.suffix == ".npy" and (tokens := np.load(path)).ndim in (1, 2) and np.issubdtype(tokens.dtype, np.integer):
        rows = np.atleast_2d(tokens).astype(np.int64)
        if rows.size and rows.min() >= 0 and rows.max() < tokenizer.get_vocab_size():
            yield "\n".join(tokenizer.decode_batch(rows.tolist(), skip_special_tokens=False)).encode()
