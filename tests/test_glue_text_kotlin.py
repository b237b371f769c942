"""Glue code of texts in Kotlin, on the JVM: it gives the tokens of training, labels and embeddings."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glue_text_bundle import DIMENSIONS, LABELS, TextBundle
from glue_texts import LENGTH, bytelevel, golden, pieces, texts, wordpiece
from test_glue_kotlin import COMMON, JSON_JAR, ONLY_ANDROID, PACKAGE, compile_kotlin, fails, jars, sources
from tokenizers import AddedToken, Tokenizer

HARNESS = Path(__file__).parent / "glue/kotlin/texts"
TASKS = [PACKAGE / "tasks" / name / "glue/kotlin" for name in ("text", "classification", "text_classification", "embedding")]
TEXTS = ["What is the weather?", "Will it rain?", "", "\u03a3\u0391\u03a3 \U0001f642 \u8a9e", "word " * 400]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def jvm() -> Iterator[Ask]:
    """A function that sends the harness a request and returns its answer, a dict with `answer` or `error`."""
    classes = compile_kotlin([path for folder in (COMMON, *TASKS, HARNESS) for path in sources(folder) if path.name not in ONLY_ANDROID])
    command = ["java", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", f"{classes}:{jars()[0]}:{JSON_JAR}", "edgedistill.glue.MainKt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(do: str, **request: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps({"do": do, **request}, default=str) + "\n")
            process.stdin.flush()
            found: dict[str, Any] = json.loads(process.stdout.readline())
            assert found.pop("open") == 0
            return found

        yield ask
        process.stdin.close()
        assert process.wait(20) == 0


def bundle_of(folder: Path, task: str) -> TextBundle:
    """A bundle whose first artifact is one that the harness runs."""
    bundle = TextBundle(folder, task, wordpiece())
    np.save(folder / "table.npy", bundle.table)
    bundle.manifest["artifacts"].append({**bundle.entry, "name": "table.npy", "format": "mean", "minimum_runtime": {}})
    bundle.manifest["ship"]["order"].append("table.npy")
    bundle.write()
    return bundle


def tokens(jvm: Ask, folder: Path, tokenizer: Tokenizer, given: list[str]) -> dict[str, Any]:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "golden.json").write_text(json.dumps(golden(tokenizer, given)))
    return jvm("tokens", tokenizer=folder / "tokenizer.json", golden=folder / "golden.json", length=LENGTH)


@pytest.mark.parametrize("make", [wordpiece, lambda: wordpiece(lowercase=False), bytelevel], ids=["lowercase", "cased", "bytes"])
def test_500_texts_have_the_tokens_of_training(jvm: Ask, tmp_path: Path, make: Callable[[], Tokenizer]) -> None:
    assert tokens(jvm, tmp_path, make(), texts(500)) == {"answer": {"texts": 500, "wrong": []}}


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("how", ["plain", "lstrip", "rstrip", "single_word"])
def test_added_tokens_are_found(jvm: Ask, tmp_path: Path, how: str, normalized: bool) -> None:
    tokenizer = wordpiece()
    options = {how: True} if how != "plain" else {}
    tokenizer.add_tokens([AddedToken("Aa", normalized=normalized, **options), AddedToken("AaAa", normalized=normalized, **options)])
    given = ["x Aa y", "xAay", "AaAaAa", "Aa", " Aa  Aa ", "aa AA \u00c0a", "Aa_ Aa1 Aa-", "[MASK]Aa[SEP] Aa"]
    assert tokens(jvm, tmp_path, tokenizer, given) == {"answer": {"texts": len(given), "wrong": []}}


def test_what_stands_around_a_text_is_read_in_every_form(jvm: Ask, tmp_path: Path) -> None:
    from tokenizers import processors

    ends = [("[CLS]", 2), ("[SEP]", 3)]
    forms = [
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.TemplateProcessing(single="[CLS] [SEP] $A", special_tokens=ends),
        processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="[CLS] $A", special_tokens=ends)]),
        processors.Sequence([]),
    ]
    for form in forms:
        tokenizer = wordpiece()
        tokenizer.post_processor = form
        tokenizer.enable_truncation(LENGTH)
        assert tokens(jvm, tmp_path, tokenizer, texts(60)) == {"answer": {"texts": 60, "wrong": []}}


def test_tokenizers_of_other_kinds_are_refused(jvm: Ask, tmp_path: Path) -> None:
    from tokenizers import normalizers, pre_tokenizers, processors

    fails(tokens(jvm, tmp_path, pieces(), ["a"]), "UnknownTokenizer", "found the model Unigram in tokenizer.json", "TokenizerReader")
    other = wordpiece()
    other.normalizer = normalizers.NFKC()
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "WordPiece with the normalizer NFKC")
    other = wordpiece()
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "WordPiece with the pre_tokenizer Whitespace")
    other = bytelevel()
    other.normalizer = normalizers.NFC()
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "BPE with a normalizer")
    other = bytelevel()
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "BPE with the pre_tokenizer Metaspace")
    other = bytelevel()
    other.model.end_of_word_suffix = "</w>"
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "BPE with end_of_word_suffix")
    other = wordpiece()
    other.post_processor = processors.Sequence([processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)) for _ in range(2)])
    fails(tokens(jvm, tmp_path, other, ["a"]), "UnknownTokenizer", "several post_processors")
    (tmp_path / "tokenizer.json").write_text("{}")
    answer = jvm("tokens", tokenizer=tmp_path / "tokenizer.json", golden=tmp_path / "golden.json", length=LENGTH)
    fails(answer, "DamagedManifest", "model")


def test_labels_are_those_of_python(jvm: Ask, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    found = jvm("labels", bundle=bundle.folder, texts=TEXTS)["answer"]
    logits = np.stack([bundle.answer(text) for text in TEXTS]).astype(np.float64)
    np.testing.assert_allclose(found["probabilities"], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)
    assert found["labels"] == found["late"] == [LABELS[place] for place in logits.argmax(axis=1)]
    assert found["features"] == [bundle.features(text) for text in TEXTS]
    assert found["ok"], found["describe"]
    assert found["changed"] == 0
    assert found["errors"] == {"cancelled": "Cancelled: the call was cancelled", "closed": "Closed: the model is closed: load it again"}


def test_embeddings_are_those_of_python(jvm: Ask, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "embedding")
    found = jvm("embeddings", bundle=bundle.folder, texts=TEXTS)["answer"]
    expected = np.stack([bundle.answer(text) for text in TEXTS])
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-5)
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found["similarities"], units @ units[0], atol=1e-6)
    assert max(found["similarities"]) <= 1
    assert (found["zero"], found["dimensions"], all(found["late"])) == (0, DIMENSIONS, True)
    assert found["ok"], found["describe"]
    assert found["errors"]["sizes"] == "WrongInput: found embeddings of 6 and 2 numbers, expected two of the same model"


@pytest.mark.parametrize(("task", "call"), [("text-classification", "labels"), ("embedding", "embeddings")])
def test_a_self_test_sees_another_tokenizer(jvm: Ask, tmp_path: Path, task: str, call: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", task)
    wordpiece(lowercase=False).save(str(bundle.folder / "tokenizer.json"))
    found = jvm(call, bundle=bundle.write(), texts=["a"])["answer"]
    assert not found["ok"]
    assert "text 'What is the weather?': FAILED, it has other tokens than in training" in found["describe"]


def test_an_app_may_bring_a_tokenizer_that_cuts(jvm: Ask, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    found = jvm("cut", bundle=bundle.folder, texts=["a"], more=0)["answer"]
    expected = bundle.table[0].astype(np.float64)
    np.testing.assert_allclose(found["probabilities"], [np.exp(expected) / np.exp(expected).sum()], atol=1e-6)
    fails(jvm("cut", bundle=bundle.folder, texts=["a"], more=1), "WrongInput", "found 25 tokens, expected at most 24")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["preprocessing"]["inputs"]["attention_mask"].update(kind="other"), "has no input of the kind mask"),
        (lambda m: m["preprocessing"]["inputs"]["input_ids"].update(length=32), "expected int32[1, 32]"),
        (lambda m: m["preprocessing"]["inputs"]["input_ids"].update(tokenizer="other.json"), "has no SHA-256 of other.json"),
        (lambda m: m["preprocessing"]["outputs"]["embedding"].update(similarity="dot"), "found the similarity dot, expected cosine"),
        (lambda m: m["artifacts"][1]["signature"]["outputs"][0].update(meaning="tensor"), "has no embedding among the outputs"),
    ],
)
def test_a_manifest_that_this_code_cannot_follow_is_refused(jvm: Ask, tmp_path: Path, change: Callable[[Any], None], said: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", "embedding")
    bundle.manifest["artifacts"] = json.loads(json.dumps(bundle.manifest["artifacts"]))
    change(bundle.manifest)
    fails(jvm("embeddings", bundle=bundle.write(), texts=[]), "DamagedManifest", said)


def test_scores_and_labels_have_to_agree(jvm: Ask, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    bundle.manifest["labels"] = LABELS[:2]
    fails(jvm("labels", bundle=bundle.write(), texts=[]), "WrongLabels", "found 2 labels", "gives 3 scores")
    bundle.manifest["labels"] = LABELS
    bundle.manifest["preprocessing"]["outputs"]["logits"]["postprocessing"] = "sigmoid"
    fails(jvm("labels", bundle=bundle.write(), texts=[]), "DamagedManifest", "found the postprocessing sigmoid, expected softmax")


def test_files_fit_into_one_package() -> None:
    for path in (path for folder in TASKS for path in sources(folder)):
        lines = path.read_text().splitlines()
        assert lines[0] == "package edgedistill.glue", path
        assert len(lines) <= 300, path
        assert [line for line in lines if len(line) > 120] == [], path
