"""Bundles of models of texts: the packages of glue code that they hold, in each language."""

import json
import re
import shutil
from pathlib import Path

import pytest
from glue_text_bundle import TextBundle
from glue_texts import wordpiece
from test_glue_kotlin import HARNESS, compile_kotlin
from test_glue_swift import mistakes, without_directives
from test_glue_typescript import called, packages, tool

from edgedistill.bundle.glue import write_glue
from edgedistill.bundle.readme import readme

__all__ = ["packages"]
LANGUAGES = ["python", "typescript", "kotlin", "swift"]
CALLS = {"text-classification": "predict", "embedding": "embed"}


@pytest.fixture(scope="module", params=CALLS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextBundle:
    """A bundle with glue code in each language, as a run writes it."""
    made = TextBundle(tmp_path_factory.mktemp("bundle") / "made", request.param, wordpiece())
    record = made.record()
    record.preprocessing.files["tokenizer.json"] = b""
    (made.folder / "README.md").write_text(readme(record, write_glue(made.folder, record, LANGUAGES)))
    made.write()
    return made


def test_readmes_show_the_call_of_the_task_in_each_language(bundle: TextBundle) -> None:
    text = (bundle.folder / "README.md").read_text()
    call = CALLS[bundle.manifest["task"]]
    for fence in ("python", "ts", "kotlin", "swift"):
        (code,) = re.findall(rf"```{fence}\n(.*?)```", text, re.DOTALL)
        assert re.search(rf"""model\.{call}\(["']What is the weather\?["']\)""", code), code
        assert "rame" not in code, code


def test_the_npm_package_compiles_and_reads_texts(bundle: TextBundle, packages: Path, tmp_path: Path) -> None:
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for path in packages.iterdir():
        if not path.name.startswith("."):
            (modules / path.name).symlink_to(path)
    shutil.copytree(bundle.folder / "typescript", modules / "made-model")
    called(tool("node"), packages / "typescript/bin/tsc", cwd=modules / "made-model")
    model = {"predict": "TextModel", "embed": "EmbeddingModel"}[CALLS[bundle.manifest["task"]]]
    (tmp_path / "self-test.mjs").write_text(f"""
        import * as ort from "onnxruntime-node";
        import {{ {model} }} from "made-model";
        import {{ folderBundle }} from "made-model/folder";
        import {{ onnx }} from "made-model/onnx";
        const model = await {model}.load(folderBundle(process.argv[2]), {{ runtime: onnx(ort) }});
        console.log(JSON.stringify((await model.selfTest()).ok));
    """)
    assert json.loads(called(tool("node"), "self-test.mjs", bundle.folder, cwd=tmp_path)) is True
    package = json.loads((bundle.folder / "typescript/package.json").read_text())
    pinned = json.loads((packages.parent / "package.json").read_text())["devDependencies"]
    assert package["dependencies"] == {
        "@huggingface/tokenizers": pinned["@huggingface/tokenizers"], "onnxruntime-common": ">=1.18",
    }  # fmt: skip


def test_the_kotlin_module_ships_the_tokenizer(bundle: TextBundle) -> None:
    build = (bundle.folder / "kotlin/build.gradle.kts").read_text()
    assert '"manifest.json", "manifest.sig", "golden/**", "tokenizer.json", "student-fp32.onnx"' in build
    names = {path.name for path in (bundle.folder / "kotlin/src/main/kotlin").iterdir()}
    assert {"TextReader.kt", "BertWords.kt", "BytePairs.kt"} <= names
    assert ("Prediction.kt" in names) == (bundle.manifest["task"] == "text-classification")


@pytest.mark.slow
def test_the_kotlin_module_is_well_typed(bundle: TextBundle) -> None:
    sources = sorted((bundle.folder / "kotlin/src/main/kotlin").glob("*.kt"))
    stubs = [path for path in sorted((HARNESS / "stubs").rglob("*")) if path.suffix in (".kt", ".java")]
    classes = compile_kotlin([*sources, *stubs])
    assert (classes / "edgedistill/models/made/Generated.class").exists()


def test_the_swift_package_ships_the_tokenizer(bundle: TextBundle) -> None:
    text = (bundle.folder / "Package.swift").read_text()
    assert '.copy("tokenizer.json")' in text
    for path in (bundle.folder / "Package.swift", *(bundle.folder / "swift").rglob("*.swift")):
        assert mistakes(without_directives(path.read_text())) == [], path
    generated = (bundle.folder / "swift/Sources/Generated.swift").read_text()
    assert ("labels" in generated) == (bundle.manifest["task"] == "text-classification")
