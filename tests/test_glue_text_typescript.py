"""Glue code of texts in TypeScript: in Node and in Chromium it gives the tokens of training, labels and embeddings."""

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pytest
from glue_text_bundle import DIMENSIONS, LABELS, TextBundle
from glue_texts import bytelevel, golden, pieces, texts, wordpiece
from test_glue_typescript import PACKAGE, called, open_page, packages, tool

__all__ = ["packages"]
HERE = Path(__file__).parent / "glue/typescript/texts"
TASKS = PACKAGE / "tasks"
SOURCES = [
    PACKAGE / "bundle/glue",
    PACKAGE / "backends/onnx/glue",
    *(TASKS / name / "glue" for name in ("text", "classification", "text_classification", "embedding")),
]
KINDS = {"lowercase": wordpiece, "cased": lambda: wordpiece(lowercase=False), "bytes": bytelevel, "pieces": pieces}
TEXTS = ["What is the weather?", "Will it rain?", "", "\u03a3\u0391\u03a3 \U0001f642 \u8a9e", "word " * 400]


@pytest.fixture(scope="session")
def built(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `made`, which has the sources of both tasks, and the compiled checks."""
    folder = tmp_path_factory.mktemp("typescript")
    modules, made = folder / "node_modules", folder / "made"
    (made / "src").mkdir(parents=True)
    modules.mkdir()
    for path in packages.iterdir():
        if not path.name.startswith("."):
            (modules / path.name).symlink_to(path)
    (modules / "made").symlink_to(made)
    for path in (path for source in SOURCES for path in (source / "typescript").glob("*.ts")):
        shutil.copy(path, made / "src")
    shutil.copy(HERE / "generated.ts", made / "src")
    values = {"name": "made", "entry": "labels", "dependencies": '"onnxruntime-common": ">=1.18"'}
    for name in ("package.json", "tsconfig.json"):
        text = (SOURCES[0] / "typescript" / f"{name}.template").read_text()
        (made / name).write_text(Template(text).substitute(values))
    compiler = modules / "typescript/bin/tsc"
    called(tool("node"), compiler, cwd=made)
    for path in (*HERE.iterdir(), HERE.parent / "package.json"):
        if path.name != "generated.ts":
            shutil.copy(path, folder)
    called(tool("node"), compiler, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 texts with their tokens by each kind of tokenizer."""
    folder, given = tmp_path_factory.mktemp("tokens"), texts(500)
    for kind, make in KINDS.items():
        (folder / kind).mkdir()
        tokenizer = make()
        (folder / kind / "texts.json").write_text(json.dumps(golden(tokenizer, given)))
        tokenizer.save(str(folder / kind / "tokenizer.json"))
    (folder / "kinds.json").write_text(json.dumps(list(KINDS)))
    return folder


def bundle_of(folder: Path, task: str, buckets: tuple[int, ...] = ()) -> TextBundle:
    bundle = TextBundle(folder, task, wordpiece(), buckets=buckets)
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    bundle.write()
    return bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def labels(bundles: Path) -> TextBundle:
    return bundle_of(bundles / "labels", "text-classification")


@pytest.fixture(scope="session")
def embeddings(bundles: Path) -> TextBundle:
    # The answer shows what a text was filled up to.
    return bundle_of(bundles / "embeddings", "embedding", (6, 12, 24))


def node(built: Path, check: str, folder: Path) -> Any:
    return json.loads(called(tool("node"), "dist/node.js", check, folder, cwd=built))


def check_tokens(found: Any) -> None:
    assert found == {kind: {"texts": 500, "wrong": []} for kind in KINDS}


def check_labels(found: Any, bundle: TextBundle) -> None:
    logits = np.stack([bundle.answer(text) for text in TEXTS]).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert found["labels"] == [LABELS[place] for place in logits.argmax(axis=1)]
    assert found["features"] == [bundle.features(text) for text in TEXTS]
    assert found["test"]["ok"], found["text"]
    assert (found["test"]["texts"], found["test"]["decisionsChanged"]) == ([], 0)
    check_errors(found["errors"])


def check_embeddings(found: Any, bundle: TextBundle) -> None:
    expected = np.stack([bundle.answer(text) for text in TEXTS])
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-6)
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found["similarities"], units @ units[0], atol=1e-6)
    assert max(found["similarities"]) <= 1
    assert found["zero"] == 0
    assert found["test"]["ok"], found["text"]
    assert found["errors"]["sizes"]["message"] == f"found embeddings of {DIMENSIONS} and 2 numbers, expected two of the same model"
    check_errors(found["errors"])


def check_errors(found: Any) -> None:
    assert found["type"] == {"kind": "input", "message": "found number, expected a text"}
    assert [found[name]["kind"] for name in ("cancelled", "closed")] == ["cancelled", "closed"]


def test_500_texts_have_the_tokens_of_training(built: Path, corpus: Path) -> None:
    check_tokens(node(built, "tokens", corpus))


def test_labels_are_those_of_python(built: Path, labels: TextBundle) -> None:
    check_labels(node(built, "labels", labels.folder), labels)


def test_embeddings_are_those_of_python(built: Path, embeddings: TextBundle) -> None:
    check_embeddings(node(built, "embeddings", embeddings.folder), embeddings)


@pytest.mark.parametrize(("task", "check"), [("text-classification", "labels"), ("embedding", "embeddings")])
def test_a_self_test_sees_another_tokenizer(built: Path, tmp_path: Path, task: str, check: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", task)
    wordpiece(lowercase=False).save(str(bundle.folder / "tokenizer.json"))
    bundle.write()
    found = node(built, check, bundle.folder)
    assert not found["test"]["ok"]
    assert found["test"]["texts"][0] == "What is the weather?"
    assert 'text "What is the weather?": has other tokens than in training' in found["text"]


def test_a_self_test_counts_decisions_that_changed(built: Path, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "text-classification")
    path = bundle.folder / "golden/outputs/student-fp32.onnx/logits.npy"
    np.save(path, np.roll(np.load(path), 1, axis=1))
    bundle.write()
    found = node(built, "labels", bundle.folder)
    assert found["test"]["decisionsChanged"] == bundle.count
    assert f"decisions changed: {bundle.count}" in found["text"]


REFUSED = {
    "kind": (lambda m: m["preprocessing"]["inputs"]["attention_mask"].update(kind="other"), "one of the kind mask"),
    "length": (lambda m: m["preprocessing"]["inputs"]["input_ids"].update(length=32), "expected int32[1,32]"),
    "tokenizer": (
        lambda m: m["preprocessing"]["inputs"]["input_ids"].update(tokenizer="golden/inputs/input_ids.npy"),
        "tokenizer.json cannot",
    ),
    "similarity": (lambda m: m["preprocessing"]["outputs"]["embedding"].update(similarity="dot"), 'found "dot", expected "cosine"'),
    "task": (lambda m: m.update(task="image-classification"), 'found "image-classification", expected text-classification'),
    "output": (lambda m: m["artifacts"][0]["signature"]["outputs"][0].update(meaning="tensor"), "an embedding in float32"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_manifest_that_this_code_cannot_follow_is_refused(built: Path, tmp_path: Path, name: str) -> None:
    change, said = REFUSED[name]
    bundle = bundle_of(tmp_path / "bundle", "embedding")
    change(bundle.manifest)
    bundle.write()
    found = node(built, "refused", bundle.folder)
    assert found["kind"] == "manifest"
    assert said in found["message"]


def test_a_page_gives_what_node_gives(
    built: Path, corpus: Path, bundles: Path, labels: TextBundle, embeddings: TextBundle, tmp_path: Path
) -> None:
    found = open_page(built, bundles, corpus, tmp_path / "profile")
    assert "error" not in found, found["error"]
    check_tokens(found["tokens"])
    check_labels(found["labels"], labels)
    check_embeddings(found["embeddings"], embeddings)
