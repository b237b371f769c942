"""The glue code in TypeScript: in Node and in Chromium it computes what Pillow and Python's onnxruntime compute, and tells each error.

The packages of npm are installed once, into the environment's folder `glue-node`.
"""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from filelock import FileLock
from glue_corpus import write_corpus
from onnx import TensorProto, helper, numpy_helper

import edgedistill
from edgedistill.gate import risk_model
from edgedistill.gate.router import Router, made_table
from edgedistill.records.router import RiskModel, Rule
from edgedistill.steps import bundle as bundles
from edgedistill.tasks.classification.confidence import confidences
from edgedistill.tasks.image_classification.features import features

HERE = Path(__file__).parent / "glue" / "typescript"
PACKAGE = Path(edgedistill.__file__).parent
SOURCES = [
    PACKAGE / "bundle/glue", PACKAGE / "tasks/classification/glue", PACKAGE / "tasks/image_classification/glue",
    PACKAGE / "backends/onnx/glue",
]  # fmt: skip
INSTALLED = Path(sys.prefix) / "glue-node"
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
SIDE, COUNT = 32, 6
FRAMES = 224  # Each format with each orientation and each kind of colours.
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tool(name):
    if (path := shutil.which(name)) is None:
        pytest.fail(f"found no {name} in PATH; install Node 20 or newer, for example with `apt-get install nodejs npm`")
    return path


def called(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def packages():
    """The folder node_modules with the compiler and both runtimes, as tests/glue/typescript/package.json pins them."""
    wanted = (HERE / "package.json").read_text()
    INSTALLED.mkdir(exist_ok=True)
    with FileLock(INSTALLED / ".lock"):
        done = INSTALLED / ".installed"
        if not done.exists() or done.read_text() != wanted:
            shutil.copy(HERE / "package.json", INSTALLED)
            # Without scripts, since that of onnxruntime-node fetches libraries for GPUs.
            called(tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", cwd=INSTALLED)
            done.write_text(wanted)
    return INSTALLED / "node_modules"


@pytest.fixture(scope="session")
def built(packages, tmp_path_factory):
    """A folder with the package `made`, as a bundle has it, and the compiled checks."""
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
    values = {"name": "made", "entry": "images", "dependencies": '"onnxruntime-common": ">=1.18"'}
    for name in ("package.json", "tsconfig.json"):
        text = (SOURCES[0] / "typescript" / f"{name}.template").read_text()
        (made / name).write_text(Template(text).substitute(values))
    compiler = modules / "typescript" / "bin" / "tsc"
    called(tool("node"), compiler, cwd=made)
    for path in HERE.iterdir():
        if path.name != "generated.ts" and path.is_file():
            shutil.copy(path, folder)
    called(tool("node"), compiler, cwd=folder)
    return folder


def node(built, check, folder="-"):
    return json.loads(called(tool("node"), "dist/node.js", check, folder, cwd=built))


def network(of_bytes):
    """A small network with random weights: the image [1, 3, 32, 32] in 0..1, or its bytes [1, 32, 32, 3], to logits [1, 10]."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 1, (8, 3, 3, 3)),
        "b": rng.normal(0, 1, 8),
        "v": rng.normal(0, 20, (10, 8)),
        "c": rng.normal(0, 1, 10),
    } | ({"top": np.array(255)} if of_bytes else {})
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v", "c"], ["logits"], transB=1),
    ]
    before = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "top"], ["x"]),
    ]
    identity = [helper.make_node("Identity", ["image"], ["x"])]
    kind, shape = (TensorProto.UINT8, [1, SIDE, SIDE, 3]) if of_bytes else (TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(
        (before if of_bytes else identity) + nodes,
        "made",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save(folder, path, array):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / path, array)
    return {"path": path, "sha256": sha256(folder / path)}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(folder, name, form, dtype, shape, samples):
    """An artifact with its golden samples."""
    of_bytes = dtype == "uint8"
    (folder / name).write_bytes(network(of_bytes))
    session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    outputs = np.concatenate([session.run(["logits"], {"image": image[None]})[0] for image in samples])
    image = {"name": "image", "dtype": dtype, "shape": shape, "meaning": "image", "layout": form[-4:].upper(), "range": None}
    logits = {"name": "logits", "dtype": "float32", "shape": [1, 10], "meaning": "logits", "layout": None, "range": None}
    return {
        "name": name,
        "format": "onnx",
        "precision": "fp32",
        "delegate": None,
        "bytes": (folder / name).stat().st_size,
        "sha256": sha256(folder / name),
        "input": form,
        "signature": {"inputs": [image], "outputs": [logits]},
        "minimum_runtime": {"onnxruntime": "1.18"},
        "golden": {
            "count": COUNT,
            "inputs": {"image": save(folder, f"golden/inputs{'-uint8' * of_bytes}/image.npy", samples)},
            "outputs": {"logits": save(folder, f"golden/outputs/{name}/logits.npy", outputs)},
            "tolerance": {"logits": 1e-4},
        },
    }


def frame(folder, corpus):
    """A golden frame: the first of the corpus that is made as the manifest says, as an entry of it."""
    header, *rows = [line.split("\t") for line in (corpus / "index.tsv").read_text().splitlines()]
    wanted = {"size": str(SIDE), "side": str(SIDE), "stretch": "0", "filter": "triangle", "odd_margin": "even"}
    row = next(found for row in rows if wanted.items() <= (found := dict(zip(header, row, strict=True))).items())
    shutil.copy(corpus / row["file"], folder / "golden/frames/1.bin")
    shutil.copy(corpus / row["expected"], folder / "golden/frames/1-expected.bin")
    planes = [dict(zip(("offset", "row_stride", "pixel_stride"), map(int, p.split(":")), strict=True)) for p in row["planes"].split(";")]
    numbers = {name: int(row[name]) for name in ("width", "height", "orientation")}
    texts = {name: row[name] for name in ("format", "matrix", "range")}
    return {"file": "golden/frames/1.bin", "expected": "golden/frames/1-expected.bin", **texts, **numbers, "planes": planes}


def write_manifest(folder, manifest):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("manifest.")]
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": hashes}))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("frames") / "corpus", FRAMES, largest=0)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("bundle")
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    floats = (pixels.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    (folder / "golden/frames").mkdir(parents=True)
    # 40 x 50 pixels of RGB, whose crop test_model compares with Pillow.
    (folder / "golden/frames/0.bin").write_bytes(rng.integers(0, 256, 6000, dtype=np.uint8).tobytes())
    image = {
        "kind": "image",
        "color": "RGB",
        "orientation": "upright",
        "sixteen_bit": "divided by 257",
        "transparency": "composed with white",
        "resize": {"shorter_side": SIDE, "filter": "triangle", "antialias": True},
        "crop": {"height": SIDE, "width": SIDE, "place": "center"},
        "padding": None,
        "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3, "where": "inside the program"},
    }
    temperature = {"value": 1.0, "where": "inside the program"}
    logits = {"kind": "scores", "postprocessing": "softmax", "temperature": temperature, "thresholds": None}
    artifacts = [
        entry(folder, "float.onnx", "float32-nchw", "float32", [1, 3, SIDE, SIDE], floats),
        entry(folder, "bytes.onnx", "uint8-nhwc", "uint8", [1, SIDE, SIDE, 3], pixels),
    ]
    # Nothing in this package runs it, so it is passed over.
    first = artifacts[0] | {"name": "first.bin", "format": "litert"}
    (folder / "first.bin").write_bytes(b"another format")
    manifest = {
        "schema": "edgedistill/manifest/3",
        "name": "made",
        "task": "image-classification",
        "target": {"name": "web", "description": "a page", "minimum_os": "none"},
        "model": {"name": "made", "state_sha256": "0" * 64, "output_scale": {}},
        "preprocessing": {"inputs": {"image": image}, "outputs": {"logits": logits}},
        "labels": LABELS,
        "ship": {"order": ["first.bin", "float.onnx", "bytes.onnx"], "reasons": {}},
        "artifacts": [first, *artifacts],
        "golden_frames": [frame(folder, corpus)],
    }
    write_manifest(folder, manifest)
    return folder


def middle(bundle):
    """What Pillow makes of the first frame, rows first."""
    from PIL import Image

    pixels = np.frombuffer((bundle / "golden/frames/0.bin").read_bytes(), np.uint8).reshape(50, 40, 3)
    image = Image.fromarray(pixels).resize((SIDE, 50), Image.Resampling.BILINEAR).resize((SIDE, 40), Image.Resampling.BILINEAR)
    return np.asarray(image)[4:36]


def check_model(found, bundle, name, runtime):
    """What a model gave is what Python's onnxruntime gives."""
    from scipy.special import softmax

    assert found["info"]["artifact"] == name
    assert found["info"]["runtime"] == runtime
    assert found["info"]["delegate"] == {"name": "cpu", "reason": None}
    expected = np.load(bundle / f"golden/outputs/{name}/logits.npy")
    np.testing.assert_allclose(found["logits"], expected, atol=1e-4)
    test = found["test"]
    assert test["ok"], found["text"]
    assert test["decisionsChanged"] == 0
    assert test["frames"] == [{"index": 0, "largestDifference": 0}]
    assert [(output["name"], output["tolerance"]) for output in test["outputs"]] == [("logits", 1e-4)]
    seen = middle(bundle)
    assert (np.array(found["seen"]).reshape(seen.shape) == seen).all()
    session = onnxruntime.InferenceSession(bundle / "float.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": (seen.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)})[0][0]
    probabilities = softmax(logits.astype(np.float64))
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)
    order = np.argsort(-probabilities)
    assert (found["label"], found["probability"]) == (LABELS[order[0]], max(found["probabilities"]))
    assert [scored["label"] for scored in found["top"]] == [LABELS[i] for i in order[:3]]


def test_frames_are_prepared_as_by_pillow_in_every_byte(built, corpus):
    assert node(built, "corpus", corpus) == {"frames": FRAMES, "wrong": []}


@pytest.mark.slow
def test_500_frames_are_prepared_as_by_pillow_in_every_byte(built, tmp_path):
    assert node(built, "corpus", write_corpus(tmp_path / "corpus", 500)) == {"frames": 500, "wrong": []}


@pytest.mark.parametrize(("name", "check"), [("float.onnx", "model"), ("bytes.onnx", "bytes")])
def test_node_gives_what_python_gives(built, bundle, name, check):
    found = node(built, check, bundle)
    check_model(found, bundle, name, "ONNX Runtime Node")
    assert found["text"].splitlines()[0].startswith(f"{name} by ONNX Runtime Node 1.30.0 on cpu: ok")
    assert found["info"]["version"] == "1.30.0"
    assert found["info"]["threads"] == 1


def test_a_model_without_words_of_images_tests_itself(built, bundle):
    test = node(built, "plain", bundle)
    assert test["ok"]
    assert test["outputs"][0]["largestDifference"] <= 1e-4


@pytest.mark.parametrize("kind", [ml_dtypes.int4, np.int8])
def test_products_with_weights_of_few_bits_round_no_input(built, tmp_path, kind):
    """In a page the runtime never rounds them."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (1, 64)).astype(np.float32)
    steps, scales = rng.integers(-7, 8, (64, 8)), rng.uniform(0.5, 1, (2, 8)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["steps", "scales"], ["weights"], axis=0, block_size=32),
            helper.make_node("MatMul", ["x", "weights"], ["y"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(steps.astype(kind), "steps"), numpy_helper.from_array(scales, "scales")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "product.onnx")
    np.save(tmp_path / "x.npy", x)
    expected = x.astype(np.float64) @ (steps * np.repeat(scales, 32, 0))
    np.testing.assert_allclose(node(built, "product", tmp_path), expected[0], atol=1e-4)


def test_versions_are_compared_by_numbers(built):
    # Pairs in node.ts: 1.2 1.10, 1.10 1.2, 1.18 1.18.0, 1.18.1 1.18, 2.0.0-rc1 1.9, 1.9 2.
    assert node(built, "versions") == [True, False, False, False, False, True]


def test_softmax_of_large_scores_is_finite(built):
    np.testing.assert_allclose(node(built, "softmax"), [1 / (1 + np.e), np.e / (1 + np.e), 0], rtol=1e-12)


def outputs(change):
    """A change of the golden outputs."""

    def changed(folder, manifest):
        path = folder / "golden/outputs/float.onnx/logits.npy"
        np.save(path, change(np.load(path)))

    return changed


def one_byte(folder, manifest):
    expected = folder / "golden/frames/1-expected.bin"
    expected.write_bytes(bytes([expected.read_bytes()[0] ^ 1]) + expected.read_bytes()[1:])


def without(folder, manifest):
    manifest["artifacts"][1]["golden"]["outputs"] = None


def rolled(array):
    """The logits of sample 3 moved by one place."""
    return np.concatenate([array[:3], np.roll(array[3:4], 1, axis=1), array[4:]])


def routed(bundle, folder, by, threshold, always=(), when=(), risk=None, wrong=False):
    """A copy of a bundle with a decision table; wrong: one of its golden rows is."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    router = Router("image-classification", by, None, tuple(always), tuple(when), risk)
    table = made_table(router, {"float.onnx": threshold}).model_dump(mode="json")
    table["golden"][5]["teacher"] ^= wrong
    write_manifest(folder, manifest | {"router": table})
    return folder


def test_a_bundle_without_a_router_never_asks_the_teacher(built, bundle):
    found = node(built, "model", bundle)
    assert (found["asks"], found["test"]["routesWrong"]) == (False, 0)
    assert found["sure"] == found["probability"]


@pytest.mark.parametrize("by", ["entropy", *(pytest.param(by, marks=pytest.mark.slow) for by in ("probability", "margin"))])
def test_answers_go_to_the_teacher_as_the_table_says(built, bundle, tmp_path, by):
    first = node(built, "model", routed(bundle, tmp_path / "none", by, None, wrong=True))
    expected = confidences(np.log([first["probabilities"]]))[by][0]
    assert first["asks"]
    assert first["sure"] == pytest.approx(expected, abs=1e-9)
    assert (first["test"]["ok"], first["test"]["routesWrong"]) == (False, 1)
    assert "wrong rows of the router: 1" in first["text"]
    kept = node(built, "model", routed(bundle, tmp_path / "kept", by, expected - 1e-6, always=[LABELS.index(first["label"]) - 1]))
    assert (kept["asks"], kept["test"]["routesWrong"], kept["test"]["ok"]) == (False, 0, True)


def test_rules_and_a_model_of_the_risk_are_followed(built, bundle, tmp_path):
    first = node(built, "model", bundle)
    seen = np.array(first["seen"], np.uint8).reshape(1, SIDE, SIDE, 3).transpose(0, 3, 1, 2)
    known = features(seen.astype(np.float32) / np.float32(255))
    assert first["features"] == pytest.approx({name: value[0] for name, value in known.items()}, abs=1e-12)
    risk = RiskModel(
        intercept=-1.0, measures={"probability": -0.7, "margin": 0.2, "entropy": -0.1}, features={"red_mean": 2.0, "blue_deviation": -1.5}
    )
    expected = risk_model.confidence(risk, confidences(np.log([first["probabilities"]])), known)[0]
    red = known["red_mean"][0]
    allowed = [Rule(of="red_mean", above=red + 1e-9), Rule(of="red_mean", below=red - 1e-9)]
    kept = node(built, "model", routed(bundle, tmp_path / "kept", "risk", expected - 1e-6, when=allowed, risk=risk))
    assert kept["sure"] == pytest.approx(expected, abs=1e-9)
    assert (kept["asks"], kept["test"]["routesWrong"], kept["test"]["ok"]) == (False, 0, True)
    for name, rule in {"above": Rule(of="red_mean", above=red - 1e-9), "below": Rule(of="red_mean", below=red + 1e-9)}.items():
        assert node(built, "model", routed(bundle, tmp_path / name, "risk", -1.0, when=[rule], risk=risk))["asks"]


def test_a_decision_may_always_go_to_the_teacher(built, bundle, tmp_path):
    assert node(built, "model", routed(bundle, tmp_path / "sent", "margin", -1.0, always=range(10)))["asks"]


@pytest.mark.parametrize(
    ("change", "sample", "decisions", "difference", "text"),
    [
        (outputs(rolled), 3, 1, 0, "(sample 3), allowed 0.0001"),
        (outputs(lambda array: array + 1e-3 * np.eye(COUNT)[:, 2:3]), 2, 0, 0, "largest difference 0.001"),
        (outputs(lambda array: np.full_like(array, np.nan)), 0, None, 0, "largest difference NaN"),
        (one_byte, None, 0, 1, "frame 0: largest difference 1 of 255, allowed 0"),
        (without, None, 0, 0, "nothing was compared"),
    ],
)
def test_a_self_test_fails_where_outputs_or_frames_differ(built, bundle, tmp_path, change, sample, decisions, difference, text):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    change(folder, manifest)
    write_manifest(folder, manifest)
    found = node(built, "model", folder)
    test = found["test"]
    assert not test["ok"]
    assert "float.onnx by ONNX Runtime Node 1.30.0 on cpu: FAILED" in found["text"]
    assert text in found["text"]
    assert test["decisionsChanged"] == decisions or decisions is None
    assert [frame["largestDifference"] for frame in test["frames"]] == [difference]
    assert [output["worstSample"] for output in test["outputs"] if sample is not None] == [sample] * (sample is not None)


def setting(path, value):
    """A change of one field of the manifest."""

    def change(folder, manifest):
        *outer, last = path
        place = functools.reduce(lambda inner, key: inner[key], outer, manifest)
        place[last] = value

    return change


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = list(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
OTHER = list(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def signed(folder):
    (folder / "manifest.sig").write_bytes(KEY.sign((folder / "manifest.json").read_bytes()))


def resigned_and_changed(folder):
    signed(folder)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")


def linked(folder):
    (folder / "float.onnx").rename(folder / "elsewhere")
    (folder / "float.onnx").symlink_to("elsewhere")


def overwritten(name, data=b"changed"):
    return lambda folder: (folder / name).write_bytes(data)


def removed(name):
    return lambda folder: (folder / name).unlink()


def nothing(*_):
    pass


RESIZE = ["preprocessing", "inputs", "image", "resize", "filter"]
SPEC = ["artifacts", 1, "signature", "inputs", 0]
GOLDEN = ["artifacts", 1, "golden", "inputs", "image", "path"]
# By name: change of the manifest, change of the folder after that, options of load, kind of the error, and parts of its message.
BUNDLES = {
    "fine": (nothing, nothing, {}, "none", []),
    "newer": (
        setting(["schema"], "edgedistill/manifest/4"),
        nothing,
        {},
        "schema",
        ["found edgedistill/manifest/4, this code reads edgedistill/manifest/3: update the app's glue code"],
    ),
    "older": (setting(["schema"], "edgedistill/manifest/2"), nothing, {}, "schema", ["manifest/2", "take a bundle that"]),
    "other": (setting(["schema"], "something/1"), nothing, {}, "schema", ["found something/1", "reads edgedistill/manifest/3"]),
    "no manifest": (nothing, removed("manifest.json"), {}, "manifest", ["manifest.json cannot be read", "check the folder"]),
    "damaged": (nothing, overwritten("manifest.json", b"<html>"), {}, "manifest", ['starts with "<html>"', "expected JSON"]),
    "field": (setting(["ship"], [1]), nothing, {}, "manifest", ["ship: found [1], expected an object"]),
    "hash": (nothing, overwritten("float.onnx"), {}, "hash", ["float.onnx", f"found {hashlib.sha256(b'changed').hexdigest()[:12]}"]),
    "golden hash": (nothing, overwritten("golden/inputs/image.npy"), {}, "hash", ["golden/inputs/image.npy", "expected"]),
    "absolute": (setting(["artifacts", 1, "name"], "/etc/passwd"), nothing, {}, "path", ["'/etc/passwd'", "relative path"]),
    "drive": (setting(["artifacts", 1, "name"], "C:/x.onnx"), nothing, {}, "path", ["'C:/x.onnx'"]),
    "parent": (setting(GOLDEN, "golden/../../image.npy"), nothing, {}, "path", ["'golden/../../image.npy'", "without '..'"]),
    "parent frame": (setting(["golden_frames", 0, "file"], "../0.bin"), nothing, {}, "path", ["'../0.bin'"]),
    "link": (nothing, linked, {}, "path", ["float.onnx is a link"]),
    "missing": (nothing, removed("float.onnx"), {}, "missing-file", ["float.onnx cannot be read", "copy the whole bundle"]),
    "labels": (setting(["labels"], LABELS[:9]), nothing, {}, "manifest", ["labels: found 9, expected 10 labels"]),
    "other labels": (setting(["labels", 3], "drei"), nothing, {}, "manifest", ["'drei' as number 3", "'three'", "same bundle"]),
    "runtime": (
        setting(["artifacts", 1, "minimum_runtime"], {"onnxruntime": "99.1"}),
        nothing,
        {},
        "old-runtime",
        ["found ONNX Runtime Node 1.30.0, float.onnx needs onnxruntime 99.1 or newer"],
    ),
    "formats": (setting(["ship", "order"], ["first.bin"]), nothing, {}, "no-artifact", ["first.bin (litert)", "onnx, ort"]),
    "no such artifact": (nothing, nothing, {"artifact": "x.onnx"}, "no-artifact", ["no x.onnx", "the bundle has first.bin, float.onnx"]),
    "named artifact": (nothing, nothing, {"artifact": "bytes.onnx"}, "none", []),
    "image": (setting(["artifacts", 1, "input"], "image"), nothing, {}, "no-artifact", ["float.onnx takes image, expected"]),
    "task": (setting(["task"], "detection"), nothing, {}, "manifest", ['task: found "detection"']),
    "filter": (setting(RESIZE, "box"), nothing, {}, "manifest", ['resize.filter: found "box", expected "triangle" or "cubic"']),
    "spec": (setting([*SPEC, "shape"], [1, 3, 31, 32]), nothing, {}, "manifest", ["input of float.onnx", "float32[1,3,32,32]"]),
    "no program": (nothing, nothing, {"artifact": "first.bin"}, "no-artifact", ["first.bin (litert)"]),
    "signed": (nothing, signed, {"publicKey": PUBLIC}, "none", []),
    "not signed": (nothing, nothing, {"publicKey": PUBLIC}, "signature", ["manifest.sig cannot be read", "sign the bundle"]),
    "other key": (nothing, signed, {"publicKey": OTHER}, "signature", ["not the signature of this manifest.json by the given key"]),
    "changed": (nothing, resigned_and_changed, {"publicKey": PUBLIC}, "signature", ["not the signature of this"]),
    "short signature": (nothing, overwritten("manifest.sig"), {"publicKey": PUBLIC}, "signature", ["found 7 bytes", "expected 64 and 32"]),
    "short key": (nothing, signed, {"publicKey": PUBLIC[1:]}, "signature", ["31 of the key"]),
}


@pytest.fixture(scope="session")
def errors(built, bundle, tmp_path_factory):
    """What loading each of BUNDLES gave."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, (change, after, _, _, _) in BUNDLES.items():
        own = shutil.copytree(bundle, folder / name)
        manifest = json.loads((own / "manifest.json").read_text())
        change(own, manifest)
        write_manifest(own, manifest)
        after(own)
    (folder / "cases.json").write_text(json.dumps({name: options for name, (_, _, options, _, _) in BUNDLES.items()}))
    return node(built, "bundles", folder)


@pytest.mark.parametrize("name", BUNDLES)
def test_each_wrong_bundle_is_told(errors, name):
    _, _, _, kind, parts = BUNDLES[name]
    found = errors[name]
    assert found["kind"] == kind, found
    assert [part for part in parts if part not in found["message"]] == [], found["message"]
    assert "\n" not in found["message"]


MISUSE = {
    "frame: no pixels": ("input", ["found 0 x 4 pixels, expected whole numbers above 0"]),
    "frame: half a pixel": ("input", ["found 1.5 x 4 pixels"]),
    "frame: too long": ("input", ["found 1 x 51 pixels, expected a long side of at most 50 times"]),
    "frame: short plane": ("input", ["plane 0 of 47 bytes, expected at least 48"]),
    "frame: offset": ("input", ["plane 0 of 48 bytes, expected at least 49"]),
    "frame: row stride": ("input", ["a row stride of 11, expected at least 12"]),
    "frame: pixel stride": ("input", ["a pixel stride of 2, expected at least 3"]),
    "frame: negative stride": ("input", ["strides -12 and 3"]),
    "frame: orientation": ("input", ["orientation 9, expected EXIF's 1 to 8"]),
    "frame: format": ("input", ["format rgb9, expected rgb8"]),
    "frame: planes": ("input", ["0 planes, expected 3 for yuv420"]),
    "frame: matrix": ("input", ["matrix bt2020, expected bt601 or bt709"]),
    "frame: range": ("input", ["range limited, expected full or video"]),
    "names": ("input", ["inputs named picture, expected image"]),
    "shape": ("input", ["input image: found float32[1,3,32,31], expected float32[1,3,32,32]"]),
    "dtype": ("input", ["input image: found uint8[1,3,32,32], expected float32[1,3,32,32]"]),
    "length": ("input", ["Float32Array of 3071 numbers", "of 3072"]),
    "cancelled before": ("cancelled", ["was cancelled"]),
    "cancelled while running": ("cancelled", ["was cancelled (the user left)"]),
    "after errors": ("none", []),
    "called before close": ("none", []),
    "closed": ("closed", ["float.onnx was closed", "load it again"]),
    "at the same time": ("none", []),
    "not kept": ("none", []),
    "runtime": ("runtime", ["float.onnx failed: out of memory"]),
    "threads": ("input", ["found 0 threads"]),
    "delegate": ("runtime", ["float.onnx cannot be opened", "abacus"]),
}


def check_misuse(found):
    assert {name: each["kind"] for name, each in found.items()} == {name: kind for name, (kind, _) in MISUSE.items()}
    missing = {name: each["message"] for name, each in found.items() for part in MISUSE[name][1] if part not in each["message"]}
    assert missing == {}


def test_each_wrong_use_is_told(built, bundle):
    check_misuse(node(built, "misuse", bundle))


class Handler(SimpleHTTPRequestHandler):
    """Serves the checks, the bundle and the corpus to a page, and takes its result."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def translate_path(self, path):
        _, first, *rest = path.split("?")[0].split("/")
        root = self.server.folders.get(first)
        return str(root.joinpath(*rest) if root else self.server.folders[""].joinpath(first, *rest))

    def end_headers(self):
        # A page is given threads only if it is isolated from other origins.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.arrived.set()

    def log_message(self, *_):
        pass


def open_page(built, bundle, corpus, profile):
    """What page.ts found in Chromium."""
    assert CHROMIUM, "found no chromium in PATH; install it, for example with `apt-get install chromium`"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folders = {"": built, "bundle": bundle, "corpus": corpus}
    server.arrived, server.result = threading.Event(), None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--no-proxy-server"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"]
    log = profile.with_suffix(".log")
    with log.open("w") as err:
        browser = subprocess.Popen(
            [*command, f"http://127.0.0.1:{server.server_port}/page.html"],
            stdout=err,
            stderr=err,
            env=os.environ | {"HOME": str(profile)},
            start_new_session=True,
        )
    try:
        assert server.arrived.wait(120), log.read_text()[-3000:]
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        server.shutdown()
        server.server_close()
    return server.result


def test_a_page_gives_what_python_gives(built, bundle, corpus, tmp_path):
    found = open_page(built, bundle, corpus, tmp_path / "profile")
    assert "error" not in found, found["error"]
    assert found["corpus"] == {"frames": FRAMES, "wrong": []}
    check_model(found["model"], bundle, "float.onnx", "ONNX Runtime Web")
    assert found["model"]["info"]["threads"] == 2
    check_misuse(found["misuse"])
    assert found["missing"]["kind"] == "manifest"
    assert "404" in found["missing"]["message"]
    frames = found["frames"]
    assert frames["data"] == frames["bitmap"] == frames["video"] == frames["expected"]
    assert frames["camera"] == {"format": "yuv420", "matrix": "bt709", "range": "video"}
    assert (frames["luma"], frames["v"]) == ([0, 5, 10, 15], 257 * 5 % 256)
    assert frames["unloaded"]["kind"] == "input"


SELF_TEST = """
import * as ort from "onnxruntime-node";
import { ImageModel } from "tiny-model";
import { folderBundle } from "tiny-model/folder";
import { onnx } from "tiny-model/onnx";
const model = await ImageModel.load(folderBundle(process.argv[2]), { runtime: onnx(ort) });
const { ok, frames } = await model.selfTest();
console.log(JSON.stringify({ ok, frames: frames.length, artifact: model.info.artifact }));
"""


def test_the_package_of_a_bundle_compiles_and_runs_its_self_test(tiny, packages, tmp_path):
    folder = Path(bundles.bundle(tiny / "runs/tiny", ["web"], tmp_path / "bundles").bundles["web"])
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for path in packages.iterdir():
        if not path.name.startswith("."):
            (modules / path.name).symlink_to(path)
    shutil.copytree(folder / "typescript", modules / "tiny-model")
    called(tool("node"), packages / "typescript/bin/tsc", cwd=modules / "tiny-model")
    (tmp_path / "self-test.mjs").write_text(SELF_TEST)
    found = json.loads(called(tool("node"), "self-test.mjs", folder, cwd=tmp_path))
    first = json.loads((folder / "manifest.json").read_text())["ship"]["order"][0]
    assert found == {"ok": True, "frames": 6, "artifact": first}
    assert "`npm install ./typescript onnxruntime-web`" in (folder / "README.md").read_text()
