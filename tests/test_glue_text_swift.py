"""Glue code of texts in Swift: it parses; slow tests compile it on Linux, where it gives the tokens of training, labels and embeddings.

Slow tests need Swift, see test_glue_swift.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glue_text_bundle import LABELS, TextBundle
from glue_texts import bytelevel, golden, pieces, texts, wordpiece
from test_glue_swift import PACKAGE, SHARED, called, compiled, crypto, mistakes, without_directives
from tokenizers import AddedToken, Tokenizer, processors

__all__ = ["crypto"]
HARNESS = Path(__file__).parent / "glue/swift/texts"
TASKS = [PACKAGE / "tasks" / name / "glue/swift" for name in ("text", "classification", "text_classification", "embedding")]
SOURCES = sorted(path for folder in (*TASKS, HARNESS) for path in folder.glob("*.swift"))
TEXTS = ["What is the weather?", "Will it rain?", "", "\u03a3\u0391\u03a3 \U0001f642 \u8a9e", "word " * 400]
Checks = Callable[..., Any]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_file_parses_and_is_short(path: Path) -> None:
    source = path.read_text()
    assert mistakes(without_directives(source)) == []
    assert len(source.splitlines()) <= 300
    assert [line for line in source.splitlines() if len(line) > 120] == []


@pytest.fixture(scope="session")
def checks(crypto: Path) -> Checks:
    """Runs the command line of glue/swift/texts/Checks.swift, and gives what it printed."""
    compiled("-O", "-wmo", "-L", ".", "-lCrypto", "-o", "texts", *sorted(SHARED.glob("*.swift")), *SOURCES, cwd=crypto)

    def run(*arguments: object) -> Any:
        done = called(crypto / "texts", *arguments, cwd=crypto)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


def bundle_of(folder: Path, task: str) -> TextBundle:
    """A bundle whose first artifact is one that the harness runs."""
    bundle = TextBundle(folder, task, wordpiece())
    np.save(folder / "table.npy", bundle.table)
    bundle.manifest["artifacts"].append({**bundle.entry, "name": "table.npy", "format": "mean", "minimum_runtime": {}})
    bundle.manifest["ship"]["order"].append("table.npy")
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    bundle.write()
    return bundle


def tokens(checks: Checks, folder: Path, tokenizer: Tokenizer, given: list[str]) -> Any:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "golden.json").write_text(json.dumps(golden(tokenizer, given)))
    return checks("tokens", folder)


@pytest.mark.slow
@pytest.mark.parametrize("make", [wordpiece, lambda: wordpiece(lowercase=False), bytelevel], ids=["lowercase", "cased", "bytes"])
def test_500_texts_have_the_tokens_of_training(checks: Checks, tmp_path: Path, make: Callable[[], Tokenizer]) -> None:
    assert tokens(checks, tmp_path, make(), texts(500)) == {"texts": 500, "wrong": []}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "lstrip", "rstrip", "single_word"])
def test_added_tokens_are_found(checks: Checks, tmp_path: Path, how: str) -> None:
    given = ["x Aa y", "xAay", "AaAaAa", "Aa", " Aa  Aa ", "aa AA \u00c0a", "Aa_ Aa1 Aa-", "[MASK]Aa[SEP] Aa"]
    for normalized in (False, True):
        tokenizer = wordpiece()
        options = {how: True} if how != "plain" else {}
        tokenizer.add_tokens([AddedToken(text, normalized=normalized, **options) for text in ("Aa", "AaAa")])
        assert tokens(checks, tmp_path, tokenizer, given) == {"texts": len(given), "wrong": []}


@pytest.mark.slow
def test_what_stands_around_a_text_is_read_in_every_form(checks: Checks, tmp_path: Path) -> None:
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    forms = [
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.TemplateProcessing(single="[CLS] [SEP] $A", special_tokens=ends),
        processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="[CLS] $A", special_tokens=ends)]),
    ]
    for form in forms:
        tokenizer = wordpiece()
        tokenizer.post_processor = form
        tokenizer.enable_truncation(24)
        assert tokens(checks, tmp_path, tokenizer, texts(60)) == {"texts": 60, "wrong": []}


@pytest.mark.slow
def test_tokenizers_of_other_kinds_are_refused(checks: Checks, tmp_path: Path) -> None:
    from tokenizers import normalizers, pre_tokenizers

    assert "bundle: found the model Unigram in tokenizer.json" in tokens(checks, tmp_path, pieces(), ["a"])["error"]
    other = wordpiece()
    other.normalizer = normalizers.NFKC()
    assert "WordPiece with the normalizer NFKC" in tokens(checks, tmp_path, other, ["a"])["error"]
    other = bytelevel()
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    assert "BPE with the pre_tokenizer Metaspace" in tokens(checks, tmp_path, other, ["a"])["error"]
    other = bytelevel()
    other.model.end_of_word_suffix = "</w>"
    assert "BPE with end_of_word_suffix" in tokens(checks, tmp_path, other, ["a"])["error"]
    for damaged in ("", "{", '{"a": [1,}', "[" * 1000, '{"a": "', '{"model": {"type": "BPE", "vocab": 3}} x'):
        (tmp_path / "tokenizer.json").write_text(damaged)
        assert "bundle: tokenizer.json: found no JSON at byte" in checks("tokens", tmp_path)["error"]


@pytest.mark.slow
def test_labels_are_those_of_python(checks: Checks, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    found = checks("labels", bundle.folder)
    logits = np.stack([bundle.answer(text) for text in TEXTS]).astype(np.float64)
    np.testing.assert_allclose(found["probabilities"], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)
    assert found["labels"] == [LABELS[place] for place in logits.argmax(axis=1)]
    assert found["ok"], found["describe"]
    assert found["changed"] == 0
    assert found["errors"] == {"cancelled": "CancellationError", "closed": "closed: table.npy was closed; load it again"}


@pytest.mark.slow
def test_embeddings_are_those_of_python(checks: Checks, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "embedding")
    found = checks("embeddings", bundle.folder)
    expected = np.stack([bundle.answer(text) for text in TEXTS])
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-5)
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found["similarities"], units @ units[0], atol=1e-6)
    assert max(found["similarities"]) <= 1
    assert found["zero"] == 0
    assert found["ok"], found["describe"]
    assert found["errors"]["sizes"] == "input: found embeddings of 6 and 2 numbers, expected two of the same model"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "call"), [("text-classification", "labels"), ("embedding", "embeddings")])
def test_a_self_test_sees_another_tokenizer(checks: Checks, tmp_path: Path, task: str, call: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", task)
    wordpiece(lowercase=False).save(str(bundle.folder / "tokenizer.json"))
    found = checks(call, bundle.write())
    assert not found["ok"]
    assert "text 'What is the weather?': FAILED, it has other tokens than in training" in found["describe"]


@pytest.mark.slow
def test_an_app_may_bring_a_tokenizer_that_cuts(checks: Checks, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    expected = bundle.table[0].astype(np.float64)
    np.testing.assert_allclose(checks("cut", bundle.folder, 0)["probabilities"][0], np.exp(expected) / np.exp(expected).sum(), atol=1e-6)
    assert checks("cut", bundle.folder, 1)["error"] == "input: found 25 tokens, expected at most 24: let the tokenizer cut"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "change", "said"),
    [
        ("embedding", lambda m: m["preprocessing"]["inputs"]["attention_mask"].update(kind="other"), "of the kinds other, text"),
        ("embedding", lambda m: m["preprocessing"]["inputs"]["input_ids"].update(length=32), "expected int32[1, 32]"),
        ("embedding", lambda m: m["preprocessing"]["inputs"]["input_ids"].update(tokenizer="other.json"), "no SHA-256 of other.json"),
        ("embedding", lambda m: m["preprocessing"]["outputs"]["embedding"].update(similarity="dot"), "than an embedding with cosines"),
        ("text-classification", lambda m: m.update(labels=LABELS[:2]), "the labels of manifest.json are not those of this package"),
        (
            "text-classification",
            lambda m: m["preprocessing"]["outputs"]["logits"].update(postprocessing="sigmoid"),
            "other outputs than scores with softmax",
        ),
    ],
)
def test_a_manifest_that_this_code_cannot_follow_is_refused(
    checks: Checks, tmp_path: Path, task: str, change: Callable[[Any], None], said: str
) -> None:
    bundle = bundle_of(tmp_path / "bundle", task)
    change(bundle.manifest)
    found = checks("embeddings" if task == "embedding" else "labels", bundle.write())
    assert found["error"].startswith("bundle: ")
    assert said in found["error"]
