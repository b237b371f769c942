"""Glue code of texts in Python: the package of a bundle reads texts as training does, and gives labels or embeddings."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from glue_text_bundle import DIMENSIONS, LABELS, TextBundle
from glue_texts import LENGTH, bytelevel, texts, wordpiece

from edgedistill.bundle.glue import write_glue

TASKS = {"text-classification": "labeller", "embedding": "embedder"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextBundle]:
    """A bundle of each task, by the name of its package."""
    made = {}
    for task, name in TASKS.items():
        bundle = TextBundle(tmp_path_factory.mktemp("bundles") / name, task, wordpiece())
        bundle.manifest["name"] = name
        write_glue(bundle.folder, bundle.record(), ["python"])
        bundle.write()
        made[name] = bundle
    return made


@pytest.fixture(scope="module")
def glue(bundles: dict[str, TextBundle]) -> Iterator[dict[str, ModuleType]]:
    """The packages, imported from the bundles."""
    paths = [str(bundle.folder / "python") for bundle in bundles.values()]
    sys.path[:0] = paths
    yield {name: import_module(f"{name}_model") for name in bundles}
    for path in paths:
        sys.path.remove(path)


def test_texts_are_read_as_in_training(bundles: dict[str, TextBundle], glue: dict[str, ModuleType]) -> None:
    bundle = bundles["embedder"]
    with glue["embedder"].Model.load(bundle.folder) as model:
        for text in texts(100):
            expected, found = bundle.arrays(text), model.arrays(text)
            assert {name: found[name].tolist() for name in found} == {name: expected[name].tolist() for name in expected}
            assert len(model.tokens(text)) <= LENGTH


def test_an_embedding_is_what_the_model_gives_and_has_its_cosine_to_others(
    bundles: dict[str, TextBundle], glue: dict[str, ModuleType]
) -> None:
    bundle, package = bundles["embedder"], glue["embedder"]
    with package.Model.load(bundle.folder) as model:
        assert model.dimensions == DIMENSIONS
        one, two = (model.embed(text) for text in ("What is the weather?", "Will it rain?"))
        assert (one.values.dtype, one.values.shape) == (np.float32, (DIMENSIONS,))
        assert one.values == pytest.approx(bundle.answer("What is the weather?"), abs=1e-6)
        expected = float(one.values @ two.values / np.linalg.norm(one.values) / np.linalg.norm(two.values))
        assert one.similarity(two) == pytest.approx(expected, abs=1e-6) == two.similarity(one)
        assert one.similarity(one) == pytest.approx(1)
        assert one.similarity(one) <= 1
        assert one.similarity(package.Embedding(-3 * one.values)) == pytest.approx(-1)
        assert one.similarity(package.Embedding(0 * one.values)) == 0
        with pytest.raises(package.InputError, match="found embeddings of 6 and 5 numbers"):
            one.similarity(package.Embedding(one.values[:5]))
        assert model.embed("word " * 900).values == pytest.approx(bundle.answer("word " * 900), abs=1e-6)


def test_a_label_is_that_of_the_largest_logit(bundles: dict[str, TextBundle], glue: dict[str, ModuleType]) -> None:
    bundle = bundles["labeller"]
    with glue["labeller"].Model.load(bundle.folder) as model:
        assert model.labels == tuple(LABELS)
        for text in texts(40):
            logits = bundle.answer(text).astype(np.float64)
            found = model.predict(text)
            assert found.best.label == LABELS[int(logits.argmax())]
            assert found.probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-6)
            assert found.features == bundle.features(text)


@pytest.mark.parametrize(("name", "call"), [("labeller", "predict"), ("embedder", "embed")])
def test_what_is_no_text_and_cancelled_calls_are_told(
    bundles: dict[str, TextBundle], glue: dict[str, ModuleType], name: str, call: str
) -> None:
    package = glue[name]
    with package.Model.load(bundles[name].folder) as model:
        with pytest.raises(package.InputError, match="found bytes, expected a text"):
            getattr(model, call)(b"apple")
        with pytest.raises(package.Cancelled):
            getattr(model, call)("apple", cancelled=lambda: True)
    with pytest.raises(package.Closed):
        getattr(model, call)("apple")


@pytest.mark.parametrize("name", ["labeller", "embedder"])
def test_a_self_test_sees_another_tokenizer(bundles: dict[str, TextBundle], glue: dict[str, ModuleType], name: str, tmp_path: Path) -> None:
    with glue[name].Model.load(bundles[name].folder) as model:
        found = model.self_test()
        assert found.ok, found.describe()
    other = TextBundle(tmp_path / "other", bundles[name].manifest["task"], wordpiece())
    # Capitals are read as they are.
    wordpiece(lowercase=False).save(str(other.folder / "tokenizer.json"))
    with glue[name].Model.load(other.write()) as model:
        found = model.self_test()
    assert not found.ok
    assert "text 'What is the weather?': FAILED: it is tokenized in another way" in found.describe()


def test_tokenizers_of_other_kinds_are_read_too(glue: dict[str, ModuleType], tmp_path: Path) -> None:
    bundle = TextBundle(tmp_path / "bytes", "embedding", bytelevel())
    # A file that does not say where texts are cut.
    file = bundle.folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation": None}))
    bundle.write()
    with glue["embedder"].Model.load(bundle.folder) as model:
        assert all(model.tokens(text) == bundle.tokenizer.encode(text).ids for text in texts(60))
        assert model.self_test().ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["preprocessing"]["inputs"]["attention_mask"].update(kind="other"), "inputs of the kinds other, text, expected text"),
        (lambda m: m["preprocessing"]["outputs"]["embedding"].update(similarity="dot"), "found the similarity 'dot', expected cosine"),
    ],
)
def test_a_manifest_that_this_code_cannot_follow_is_refused(glue: dict[str, ModuleType], tmp_path: Path, change, said: str) -> None:
    bundle = TextBundle(tmp_path / "bundle", "embedding", wordpiece())
    change(bundle.manifest)
    with pytest.raises(glue["embedder"].BundleError, match=said):
        glue["embedder"].Model.load(bundle.write())


def test_the_packages_have_types_that_hold(bundles: dict[str, TextBundle]) -> None:
    for name, bundle in bundles.items():
        options = ["--strict", "--ignore-missing-imports", "--no-incremental", "--config-file", os.devnull]
        command = [sys.executable, "-m", "mypy", *options, f"{name}_model"]
        done = subprocess.run(command, cwd=bundle.folder / "python", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_readmes_show_the_call_of_the_task(bundles: dict[str, TextBundle]) -> None:
    for name, call in (("labeller", "predict"), ("embedder", "embed")):
        (usage,) = write_glue(bundles[name].folder / "again", bundles[name].record(), ["python"])
        assert f"model.{call}('What is the weather?')" in usage.code
        assert "[onnx,texts]" in usage.steps[0]


SCRIPT = """
import sys
from embedder_model import Model
assert "torch" not in sys.modules
with Model.load(sys.argv[1]) as model:
    assert model.self_test().ok
    print(model.embed("What is the weather?").similarity(model.embed("Will it rain?")))
"""


@pytest.mark.parametrize("each", [False, True])
def test_a_text_is_filled_up_to_the_smallest_bucket_that_holds_it(glue: dict[str, ModuleType], tmp_path: Path, *, each: bool) -> None:
    bundle = TextBundle(tmp_path / "bundle", "embedding", wordpiece(), buckets=(6, 12, LENGTH), each=each)
    lengths = set()
    with glue["embedder"].Model.load(bundle.folder) as model:
        assert model.info.artifact == ("student-fp32-tokens24.onnx" if each else "student-fp32.onnx")
        for text in ["", "What is the weather?", "word " * 9, "word " * 400]:
            lengths.add(model.arrays(text)["input_ids"].shape)
            np.testing.assert_allclose(model.embed(text).values, bundle.answer(text), atol=1e-6)
        model.warm_up(1)
        test = model.self_test()
        assert test.ok, test.describe()
        names = [output.name for output in test.outputs]
    assert lengths == {(1, 6), (1, 12), (1, LENGTH)}
    of_files = [f"embedding of student-fp32-tokens{size}.onnx" for size in (12, 6)]
    assert names == ["embedding", *(of_files if each else [])]


def test_a_file_that_is_named_brings_those_of_the_other_buckets(glue: dict[str, ModuleType], tmp_path: Path) -> None:
    bundle = TextBundle(tmp_path / "bundle", "embedding", wordpiece(), buckets=(6, LENGTH), each=True)
    model = glue["embedder"].Model.load(bundle.folder, artifact="student-fp32-tokens6.onnx")
    np.testing.assert_allclose(model.embed("word " * 400).values, bundle.answer("word " * 400), atol=1e-6)
    model.close()
    for text in ("", "word " * 400):
        with pytest.raises(glue["embedder"].Closed):
            model.embed(text)


@pytest.mark.slow
def test_the_wheel_runs_with_a_runtime_and_the_tokenizer_alone(bundles: dict[str, TextBundle], tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python, folder = tmp_path / "env/bin/python", bundles["embedder"].folder
    (wheel,) = (folder / "python").glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[onnx,texts]"], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "edgedistill"} & {package["name"].lower() for package in json.loads(listed)}
    done = subprocess.run([python, "-c", SCRIPT, folder], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert -1 <= float(done.stdout) <= 1
