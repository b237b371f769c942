"""The glue code in Swift: it prepares frames as training does, refuses what it has to, and fits the declarations of Apple's frameworks.

Slow tests compile it on Linux, with what stands in `glue/swift` for what only Apple's systems have. They need `swiftc` in PATH, or
EDGEDISTILL_SWIFT, a command that runs others where Swift is; `glue/swift/toolchain.sh` makes one. The other tests only parse it.
"""

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from string import Template

import numpy as np
import pytest
import tree_sitter
import tree_sitter_swift
from glue_corpus import write_corpus

import edgedistill
from edgedistill.bundle.glue import in_swift
from edgedistill.records.manifest import Manifest
from edgedistill.steps import bundle as bundles
from edgedistill.tasks.image_classification.frames import golden_frames

HERE = Path(__file__).parent / "glue" / "swift"
PACKAGE = Path(edgedistill.__file__).parent
SHARED = PACKAGE / "bundle/glue/swift"
IMAGES = [path for name in ("classification", "image_classification") for path in (PACKAGE / "tasks" / name / "glue/swift").glob("*.swift")]
BACKENDS = sorted(PACKAGE.glob("backends/*/glue/swift"))
SOURCES = sorted([*IMAGES, *(path for folder in (SHARED, *BACKENDS) for path in folder.glob("*.swift"))])
# Each may import those before it.
FRAMEWORKS = ("CoreVideo", "ImageIO", "CoreGraphics", "UIKit", "Accelerate", "CoreImage", "CoreML", "CoreAI", "ExecuTorch")
LABELS = ["cat", "dog", "a 3rd one"]
SIZE, SAMPLES = 4, 3
FILLED = {
    "Package.swift": {
        "name": "quickstart", "package": "QuickstartModel", "platforms": ".iOS(.v17), .macOS(.v14)", "dependencies": "", "products": "",
        "excluded": '"README.md"', "test_linking": "",
        "resources": '.copy("manifest.json"), .copy("golden"), .copy("float.mean"), .copy("bytes.mean")',
    },
    "Generated.swift": {
        "name": "quickstart", "quoted": '"quickstart"',
        "constants": 'extension Label {\n    public static let cat = Label(index: 0, name: "cat")\n}',
        "facts": f"    public static let labels = {json.dumps(LABELS)}",
        "runtimes": "[MeanRuntime.self] + Runtimes.coreML + Runtimes.coreAI + Runtimes.execuTorch",
    },
    "SelfTestTests.swift": {"package": "QuickstartModel", "model": "ImageModel"},
}  # fmt: skip
EXECUTORCH = {
    "dependencies": '.package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.5.0")',
    "products": ", ".join(
        f'.product(name: "{name}", package: "executorch")' for name in ("executorch", "backend_xnnpack", "kernels_optimized")
    ),
    "test_linking": '.unsafeFlags(["-Wl,-all_load"])',
}


def filled(name, **others):
    """A template of the package's files with the values of a bundle."""
    return Template((SHARED / f"{name}.template").read_text()).substitute(FILLED[name] | others)


def mistakes(source):
    """What a grammar of Swift finds wrong: the line and text of each node that it could not parse."""
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language())).parse(source.encode())
    found, nodes = [], [tree.root_node]
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            found.append((node.start_point[0] + 1, (node.text or b"").decode()[:80]))
        nodes += node.children
    return found


def without_directives(source):
    """The source without `#if` and its kin, whose branches are no statements to the grammar where they are the value of a property."""
    return re.sub(r"(?m)^\s*#(if|else|elseif|endif).*$", "", source)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_file_parses(path):
    assert mistakes(without_directives(path.read_text())) == []


@pytest.mark.parametrize("name", FILLED)
def test_the_templates_of_a_package_parse(name):
    assert mistakes(filled(name)) == []
    assert mistakes(filled("Package.swift", **EXECUTORCH)) == []


def test_the_parser_sees_a_broken_file():
    source = (SHARED / "Tensor.swift").read_text()
    assert mistakes(without_directives(source.replace("-> Tensor {", "-> Tensor ", 1)))
    assert mistakes(without_directives(source.replace("switch dtype {", "switch {", 1)))


def test_files_are_short_and_lines_fit():
    paths = [*SOURCES, *SHARED.glob("*.template"), *HERE.rglob("*.swift")]
    assert len(SOURCES) > 15
    assert [path.name for path in paths if len(path.read_text().splitlines()) > 300] == []
    assert [f"{path.name}:{n}" for path in paths for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120] == []


def test_what_serves_every_task_has_no_word_of_one_and_no_format():
    words = re.compile(r"\b(class_?names|classes|labels?|image\w*|logits|onnx|litert|tflite|pte|core ?ml|core ?ai|executorch|ort)\b", re.I)
    found = [(path.name, match[0]) for path in SHARED.glob("*.swift") for match in words.finditer(path.read_text())]
    assert found == []


def prefix():
    """The command before each command of Swift; skips the test where there is no Swift."""
    if command := os.environ.get("EDGEDISTILL_SWIFT"):
        return [command]
    if shutil.which("swiftc") is None:
        pytest.skip("found no swiftc in PATH and no EDGEDISTILL_SWIFT; on Debian, tests/glue/swift/toolchain.sh FOLDER installs Swift")
    return []


def called(*command, cwd, **options):
    return subprocess.run([*prefix(), *map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=580, **options)


def compiled(*arguments, cwd):
    """Run swiftc in the mode of Swift 6, with warnings as errors."""
    done = called("swiftc", "-swift-version", "6", "-warnings-as-errors", "-parse-as-library", "-I", ".", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="session")
def crypto(tmp_path_factory):
    """A folder with the module Crypto, which stands in for swift-crypto."""
    folder = tmp_path_factory.mktemp("crypto")
    compiled(
        "-emit-module", "-emit-library", "-static", "-module-name", "Crypto", "-o", "libCrypto.a", HERE / "Crypto/Crypto.swift", cwd=folder
    )
    return folder


@pytest.fixture(scope="session")
def checks(crypto):
    """Runs the command line of glue/swift/Checks.swift, and gives what it printed."""
    own = [*SHARED.glob("*.swift"), *IMAGES, *sorted(HERE.glob("*.swift"))]
    compiled("-O", "-wmo", "-L", ".", "-lCrypto", "-o", "checks", *own, cwd=crypto)

    def run(*arguments):
        done = called(crypto / "checks", *arguments, cwd=crypto)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    return run


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def write_bundle(folder):
    """A bundle of an artifact of floats and one of bytes, whose scores are the means of red, green and blue times a factor."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (SAMPLES, SIZE, SIZE, 3), np.uint8)
    floats = (pixels.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    means = floats.astype(np.float64).mean((2, 3))
    frames, files = golden_frames(SIZE)
    files = {name: bytes(data) for name, data in files.items()}
    artifacts = []
    for name, factor, kind, values in (("float.mean", 3, "float32-nchw", floats), ("bytes.mean", 7, "uint8-nhwc", pixels)):
        files[name] = str(factor).encode()
        golden = {}
        for direction, what, array in (("inputs", "image", values), ("outputs", "logits", (means * factor).astype(np.float32))):
            path = f"golden/{direction}/{name}/{what}.npy"
            (folder / path).parent.mkdir(parents=True)
            np.save(folder / path, array)
            files[path] = (folder / path).read_bytes()
            golden[direction] = {what: {"path": path, "sha256": sha256(files[path])}}
        image = {"name": "image", "dtype": str(values.dtype), "shape": [1, *values.shape[1:]], "meaning": "image"}
        logits = {"name": "logits", "dtype": "float32", "shape": [1, 3], "meaning": "logits"}
        artifacts.append({
            "name": name, "format": "mean", "precision": "fp32", "delegate": None, "bytes": 1, "sha256": sha256(files[name]), "input": kind,
            "signature": {"inputs": [image], "outputs": [logits]}, "minimum_runtime": {"meanruntime": "1.9"}, "minimum_os": {"ios": "17"},
            "golden": {"count": SAMPLES, **golden, "tolerance": {"logits": 1e-5}},
        })  # fmt: skip
    prepared = {
        "kind": "image", "color": "RGB", "resize": {"shorter_side": SIZE, "filter": "triangle", "antialias": True},
        "crop": {"height": SIZE, "width": SIZE, "place": "center"}, "padding": None,
        "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3, "where": "inside the program"},
    }  # fmt: skip
    outputs = {"logits": {"kind": "scores", "postprocessing": "softmax", "thresholds": None}}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    manifest = {
        "schema": "edgedistill/manifest/3", "name": "quickstart", "task": "image-classification", "labels": LABELS,
        "preprocessing": {"inputs": {"image": prepared}, "outputs": outputs}, "golden_frames": frames, "artifacts": artifacts,
        "ship": {"order": ["float.mean", "bytes.mean"]}, "files": {name: sha256(data) for name, data in files.items()},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path)


def change(folder, *keys, to):
    """Put a value into the manifest, at a place given by its keys."""
    manifest = json.loads((folder / "manifest.json").read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_frames_are_prepared_as_in_training(checks, tmp_path):
    corpus = write_corpus(tmp_path, 500)
    assert checks("corpus", corpus) == "500 frames, 0 wrong:"
    expected = corpus / "3-expected.bin"
    data = bytearray(expected.read_bytes())
    data[5] ^= 1
    expected.write_bytes(data)
    assert checks("corpus", corpus) == "500 frames, 1 wrong: 3"


@pytest.mark.slow
@pytest.mark.parametrize(("artifact", "factor"), [("float.mean", 3), ("bytes.mean", 7)])
def test_a_frame_gets_its_probabilities(checks, bundle, artifact, factor):
    loaded, predicted = checks("bundle", bundle, f"artifact={artifact}", "warmUp", "predict").splitlines()
    assert loaded == f"loaded {artifact} meanruntime 1.9.1 unknown: it does not tell"
    is_cat, best, rest = predicted.split(" ", 2)
    every, top = rest.split("] [")
    powers = [math.exp(np.float32(value) * factor) for value in (1, 0.2, 0.4)]
    expected = [power / sum(powers) for power in powers]
    assert is_cat == "true"
    np.testing.assert_allclose([float(value) for value in every.strip("[").split(", ")], expected, rtol=1e-6)
    assert float(best) == pytest.approx(expected[0], rel=1e-6)
    assert [text.strip('"').rpartition(" ")[0] for text in top.rstrip("]").split(", ")] == ["cat", "a 3rd one"]


@pytest.mark.slow
def test_the_first_artifact_that_can_run_is_taken(checks, bundle):
    assert checks("bundle", bundle, "delegate=gpu") == "loaded float.mean meanruntime 1.9.1 gpu"
    change(bundle, "ship", "order", to=["bytes.mean", "float.mean"])
    assert checks("bundle", bundle).startswith("loaded bytes.mean ")
    change(bundle, "artifacts", 1, "minimum_runtime", "meanruntime", to="1.10")
    assert checks("bundle", bundle).startswith("loaded float.mean ")
    change(bundle, "artifacts", 0, "format", to="other")
    assert checks("bundle", bundle) == (
        "runtimeMissing: no artifact of the bundle can run here. bytes.mean: found meanruntime 1.9.1, expected 1.10 or later; update it; "
        "float.mean: this package has no runtime for other"
    )


@pytest.mark.slow
def test_a_self_test_compares_outputs_and_frames(checks, bundle):
    for artifact in ("float.mean", "bytes.mean"):
        lines = checks("bundle", bundle, f"artifact={artifact}", "selfTest").splitlines()[1:]
        assert lines[0] == f"{artifact} on meanruntime 1.9.1 (unknown: it does not tell): ok"
        assert re.fullmatch(r"  logits: largest difference [\d.e-]+, allowed 1e-05: ok", lines[1])
        assert lines[2:] == [f"  frame {number}: largest difference 0 of 255: ok" for number in range(6)]
    golden = bundle / "golden/outputs/float.mean/logits.npy"
    values = np.load(golden)
    values[1, (values[1].argmax() + 1) % 3] += 8  # Far off, and another decision.
    np.save(golden, values)
    frame = bundle / "golden/frames/2-expected.bin"
    frame.write_bytes(bytes([frame.read_bytes()[0] ^ 1]) + frame.read_bytes()[1:])
    change(bundle, "files", "golden/frames/2-expected.bin", to=sha256(frame.read_bytes()))
    change(bundle, "artifacts", 0, "golden", "outputs", "logits", "sha256", to=sha256(golden.read_bytes()))
    found = checks("bundle", bundle, "selfTest")
    assert "it does not tell): FAILED" in found
    assert "FAILED, most in sample 1" in found
    assert "frame 2: largest difference 1 of 255: FAILED" in found
    assert found.count("FAILED") == 3
    assert found.endswith("1 decision(s) changed")
    values[2, 0] = np.nan
    np.save(golden, values)
    change(bundle, "artifacts", 0, "golden", "outputs", "logits", "sha256", to=sha256(golden.read_bytes()))
    assert "largest difference nan, allowed 1e-05: FAILED, most in sample 2" in checks("bundle", bundle, "selfTest")
    change(bundle, "artifacts", 0, "golden", "outputs", to=None)
    assert "bundle: the bundle has no golden outputs of float.mean" in checks("bundle", bundle, "selfTest")


CHANGES = {
    "newer": (
        ("schema",),
        "edgedistill/manifest/4",
        "found edgedistill/manifest/4, this code reads edgedistill/manifest/3: update",
    ),
    "older": (("schema",), "edgedistill/manifest/2", "found edgedistill/manifest/2, this code reads edgedistill/manifest/3: export the"),
    "foreign": (("schema",), "x", "found x, this code reads edgedistill/manifest/3: export the bundle again"),
    "no name": (("artifacts", 0), {"format": "mean"}, "manifest.json is damaged: found no artifacts.0.name; get the bundle again"),
    "wrong type": (("ship", "order"), 3, "manifest.json is damaged: found another value in ship.order; get the bundle again"),
    "few labels": (("labels",), ["cat", "dog"], "manifest.json has 2 labels, expected 3, as logits has; export the bundle again"),
    "other labels": (("labels",), ["cat", "dog", "cow"], "the labels of manifest.json are not those of this package"),
    "unlisted": (("files",), {}, "found no SHA-256 of float.mean in manifest.json"),
    "hash": (
        ("files", "float.mean"),
        "ab" * 32,
        "float.mean has the SHA-256 4e07408562be, expected abababababab: it was changed",
    ),
    "order": (("ship", "order"), ["a.mean"], "found no artifact a.mean, expected one of float.mean, bytes.mean"),
    "filter": (("preprocessing", "inputs", "image", "resize", "filter"), "box", "'box', this code does 'triangle' or 'cubic'"),
    "crop": (("preprocessing", "inputs", "image", "crop", "height"), 5, "found the crop 'center 5 x 4', this code does 'center 4 x 4'"),
    "sigmoid": (("preprocessing", "outputs", "logits", "postprocessing"), "sigmoid", "found the postprocessing 'sigmoid', this code does"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_does_not_fit_is_refused(checks, bundle, name):
    keys, value, expected = CHANGES[name]
    change(bundle, *keys, to=value)
    found = checks("bundle", bundle)
    assert found.startswith("bundle: ")
    assert expected in found


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/etc/hostname", "../x", "a/../../x", "./x", "a//b", "a\\b", ""])
def test_paths_out_of_the_bundle_are_refused(checks, bundle, path):
    change(bundle, "artifacts", 0, "name", to=path)
    change(bundle, "ship", "order", to=[path])
    change(bundle, "files", path, to="ab" * 32)
    assert checks("bundle", bundle).startswith(f"bundle: manifest.json has the path '{path}', expected a relative one without '..'")


@pytest.mark.slow
def test_files_that_are_missing_changed_or_linked_are_refused(checks, bundle):
    artifact = bundle / "float.mean"
    shutil.move(artifact, bundle / "moved")
    assert checks("bundle", bundle) == "bundle: float.mean is missing or can't be read; get the bundle again"
    artifact.symlink_to("moved")
    assert checks("bundle", bundle).startswith("bundle: float.mean leads through a link")
    artifact.unlink()
    artifact.write_text("4")
    assert checks("bundle", bundle).startswith("bundle: float.mean has the SHA-256 4b227777d4dd, expected 4e07408562be")
    assert checks("bundle", bundle, "artifact=cat.mean").startswith("bundle: found no artifact cat.mean, expected one of")
    (bundle / "manifest.json").write_text("{")
    assert checks("bundle", bundle) == "bundle: manifest.json is damaged: found no JSON object; get the bundle again"
    (bundle / "manifest.json").unlink()
    assert checks("bundle", bundle).startswith("bundle: found no readable manifest.json in ")


@pytest.mark.slow
def test_every_file_of_a_folder_that_is_one_artifact_is_checked(checks, bundle):
    change(bundle, "artifacts", 0, "name", to="golden")
    change(bundle, "ship", "order", to=["golden"])
    assert checks("bundle", bundle).startswith("runtimeFailed: meanruntime can't load golden: ")
    (bundle / "golden/frames/0.bin").write_bytes(b"x")
    assert checks("bundle", bundle).startswith("bundle: golden/frames/0.bin has the SHA-256 ")


@pytest.mark.slow
def test_calls_that_go_wrong_say_so(checks, bundle):
    def said(*words):
        return checks("bundle", bundle, *words).splitlines()[-1]

    assert said("wrongType") == "input: found int32[1, 3, 2, 2] for the input image, expected float32[1, 3, 4, 4]"
    assert said("wrongShape") == "input: found float32[1, 3, 1, 1] for the input image, expected float32[1, 3, 4, 4]"
    assert said("wrongName") == "input: found the inputs picture, expected image"
    assert said("fails").startswith("runtimeFailed: meanruntime can't run float.mean: ")
    assert said("cancelled") == "CancellationError"
    assert said("close", "close", "predict") == "closed: float.mean was closed; load it again"
    (bundle / "float.mean").write_text("no number")
    change(bundle, "files", "float.mean", to=sha256(b"no number"))
    assert said().startswith("runtimeFailed: meanruntime can't load float.mean: ")


@pytest.mark.slow
def test_with_a_public_key_only_a_signed_bundle_loads(checks, bundle):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    key = "key=" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    manifest = bundle / "manifest.json"
    assert checks("bundle", bundle, key).startswith("bundle: found no manifest.sig, expected a signed bundle")
    (bundle / "manifest.sig").write_bytes(private.sign(manifest.read_bytes()))
    assert checks("bundle", bundle, key).startswith("loaded float.mean")
    (bundle / "manifest.sig").write_bytes(Ed25519PrivateKey.generate().sign(manifest.read_bytes()))
    assert checks("bundle", bundle, key).startswith("bundle: manifest.sig is not a signature of manifest.json by this public key")
    (bundle / "manifest.sig").write_bytes(private.sign(manifest.read_bytes()) + b"x")
    assert checks("bundle", bundle, key).startswith("bundle: manifest.sig is not a signature of manifest.json by this public key")
    manifest.write_text("{")
    assert checks("bundle", bundle, key).startswith("bundle: manifest.sig is not a signature")
    assert checks("bundle", bundle, "key=AAAA").startswith("bundle: found a public key of 3 bytes, expected the 32 bytes")


WRONG_FRAMES = {  # number of the format, width, height, bytes, offset, row stride, pixel stride, orientation, planes
    (0, 0, 4, 48, 0, 12, 3, 1, 1): "found a frame of 0 x 4, expected a width and height of 1 or more",
    (0, 2**40, 2**40, 48, 0, 12, 3, 1, 1): "found a frame of 1099511627776 x 1099511627776, expected a width and height of 1 or more",
    (0, 4, 4, 47, 0, 12, 3, 1, 1): "plane 0 of rgb8: found 47 bytes, expected 48 or more",
    (0, 4, 4, 48, 1, 12, 3, 1, 1): "plane 0 of rgb8: found 48 bytes, expected 49 or more",
    (0, 4, 4, 48, -1, 12, 3, 1, 1): "plane 0 of rgb8: found the offset -1 and the pixel stride 3, expected 0 or more and 3 or more",
    (2, 4, 4, 64, 0, 16, 3, 1, 1): "plane 0 of rgba8: found the offset 0 and the pixel stride 3, expected 0 or more and 4 or more",
    (0, 4, 4, 48, 0, 11, 3, 1, 1): "plane 0 of rgb8: found a row stride of 11, expected the 12 bytes of a row or more",
    (0, 4, 4, 48, 0, 12, 3, 9, 1): "found the orientation 9, expected 1 to 8 as in EXIF",
    (0, 4, 4, 48, 0, 12, 3, 0, 1): "found the orientation 0, expected 1 to 8 as in EXIF",
    (4, 51, 1, 51, 0, 51, 1, 1, 1): "found a frame of 51 x 1, expected sides of a ratio of 50 at most",
    (6, 4, 4, 16, 0, 4, 1, 1, 2): "found 2 planes of yuv420, expected 3",
    (0, 4, 4, 48, 0, 12, 3, 1, 3): "found 3 planes of rgb8, expected 1",
    (5, 4, 4, 31, 0, 8, 2, 1, 1): "plane 0 of grey16: found 31 bytes, expected 32 or more",
}


@pytest.mark.slow
def test_frames_that_cannot_be_right_are_refused(checks):
    for numbers, expected in WRONG_FRAMES.items():
        assert checks("frame", ",".join(map(str, numbers))) == f"input: {expected}"
    for numbers in ((0, 4, 4, 47, 0, 12, 3, 1, 1), (0, 4, 4, 62, 0, 16, 4, 1, 1)):
        right = (*numbers[:3], numbers[3] + 1, *numbers[4:])
        assert checks("frame", ",".join(map(str, right))) == "ok 48"


@pytest.mark.slow
def test_npy_files_are_read(checks, tmp_path):
    path = tmp_path / "a.npy"
    for dtype in ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64", "bool"):
        array = np.array([[0, 1, 2], [100, 3, 0]]).astype(dtype)
        if dtype.startswith("float"):
            array = np.array([[1e-7, -0.1, 2], [np.inf, 60000, -6e-5]]).astype(dtype)
        np.save(path, array)
        name, shape, *values = checks("npy", path).replace(", ", ",").split()
        assert (name, shape) == (dtype, "[2,3]")
        np.testing.assert_array_equal([float(value) for value in values], array.astype(np.float64).ravel())
    np.save(path, np.float32(3))
    assert checks("npy", path) == "float32 [] 3.0"
    for version in ((2, 0), (3, 0)):
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.arange(5, dtype=np.int32), version)
        assert checks("npy", path) == "int32 [5] 0.0 1.0 2.0 3.0 4.0"
    whole = path.read_bytes()
    for data, expected in (
        (whole[:-1], "found 19 bytes for int32[5], expected 20"),
        (whole[:40], "a header that is cut short"),
        (b"x" * 80, "another kind of file"),
        (b"", "another kind of file"),
        (whole.replace(b"<i4", b">i4"), "the header"),
        (whole.replace(b"False", b"True "), "the header"),
        (whole.replace(b"NUMPY\x03", b"NUMPY\x04"), "version 4 of the format"),
    ):
        path.write_bytes(data)
        assert checks("npy", path).startswith("error: a.npy: found ")
        assert expected in checks("npy", path)


@pytest.mark.slow
def test_what_only_apple_has_fits_the_documented_declarations(crypto, tmp_path):
    """Types, effects and data races of the files behind canImport; the declarations are the tests' own, so this is no compile for Apple."""
    shutil.copytree(crypto, tmp_path, dirs_exist_ok=True)
    for name in FRAMEWORKS:
        compiled("-emit-module", "-module-name", name, "-o", f"{name}.swiftmodule", HERE / "declarations" / f"{name}.swift", cwd=tmp_path)
    more = [HERE / "Generated.swift", HERE / "MeanRuntime.swift"]
    compiled("-typecheck", "-module-name", "Quickstart", *SOURCES, *more, cwd=tmp_path)
    broken = tmp_path / "CoreMLRuntime.swift"
    source = next(path for path in SOURCES if path.name == broken.name).read_text()
    broken.write_text(source.replace("usage.preferred", "usage.supported"))
    others = [path for path in SOURCES if path.name != broken.name]
    with pytest.raises(AssertionError, match="has no member 'supported'"):
        compiled("-typecheck", "-module-name", "Quickstart", *others, broken, *more, cwd=tmp_path)


@pytest.mark.slow
def test_a_package_with_a_runtime_from_elsewhere_is_a_package(tmp_path):
    """The package manager reads Package.swift; what it depends on is not fetched."""
    (tmp_path / "Package.swift").write_text(filled("Package.swift", **EXECUTORCH))
    done = called("swift", "package", "dump-package", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    package = json.loads(done.stdout)
    assert [target["name"] for target in package["targets"]] == ["QuickstartModel", "QuickstartModelTests"]
    assert len(package["targets"][0]["dependencies"]) == 3
    # Unsafe flags are for the tests alone: no app may depend on a library with them by version.
    settings = [[setting["kind"] for setting in target["settings"]] for target in package["targets"]]
    assert settings == [[], [{"unsafeFlags": {"_0": ["-Wl,-all_load"]}}]]
    (tmp_path / "Package.swift").write_text(filled("Package.swift", platforms="iOS"))
    assert called("swift", "package", "dump-package", cwd=tmp_path).returncode != 0


@pytest.mark.slow
def test_an_app_may_depend_on_the_package_by_version(tmp_path):
    """By the package manager on Linux, with a part of the sources. Unsafe flags of the tests do not count, those of the library do."""
    bundle, app = tmp_path / "bundle", tmp_path / "app"
    for folder in (bundle / "swift/Sources", bundle / "swift/Tests", app / "Sources/app"):
        folder.mkdir(parents=True)
    write_bundle(bundle)
    (bundle / "README.md").write_text("A bundle.")
    (bundle / "swift/Sources/Part.swift").write_text("public let part = 1\n")
    (bundle / "swift/Tests/None.swift").write_text("import XCTest\n")
    whole = filled("Package.swift", test_linking=EXECUTORCH["test_linking"])
    library = '(signed ? [.copy("manifest.sig")] : [])'
    for version, text in (
        ("1.0.0", whole),
        ("1.0.1", whole.replace(library, f"{library}, linkerSettings: [{EXECUTORCH['test_linking']}]")),
    ):
        (bundle / "Package.swift").write_text(text)
        author = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "safe.directory=*"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", version], ["tag", version]):
            subprocess.run(["git", *author, *command], cwd=bundle, check=True, capture_output=True)
    (app / "Sources/app/main.swift").write_text("import QuickstartModel\n\nprint(part)\n")

    def built(version):
        (app / "Package.swift").write_text(
            "// swift-tools-version:6.0\nimport PackageDescription\n\n"
            f'let package = Package(name: "app", dependencies: [.package(url: "{bundle}", exact: "{version}")],\n'
            '    targets: [.executableTarget(name: "app", dependencies: [.product(name: "QuickstartModel", package: "bundle")])])\n'
        )
        return called("swift", "build", "--disable-sandbox", cwd=app)

    done = built("1.0.0")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    refused = built("1.0.1")
    assert refused.returncode != 0
    assert "contains unsafe build flags" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_the_bundle_is_a_swift_package_with_a_self_test(bundle):
    """By the package manager on Linux, with a runtime of the tests and their Crypto; Xcode reads the same Package.swift."""
    (bundle / "README.md").write_text("A bundle.")
    (bundle / "manifest.sig").write_bytes(b"0" * 64)
    for folder in ("swift/Sources", "swift/Tests"):
        (bundle / folder).mkdir(parents=True)
    for path in (*SOURCES, HERE / "MeanRuntime.swift"):
        shutil.copy(path, bundle / "swift/Sources")
    (bundle / "swift/Sources/Generated.swift").write_text(filled("Generated.swift"))
    (bundle / "swift/Tests/SelfTestTests.swift").write_text(filled("SelfTestTests.swift"))
    shutil.copytree(HERE / "Crypto", bundle / "crypto")
    package = filled("Package.swift").replace("targets: [\n", 'targets: [\n        .target(name: "Crypto", path: "crypto"),\n')
    package = package.replace('dependencies: [],\n            path: "."', 'dependencies: ["Crypto"],\n            path: "."')
    (bundle / "Package.swift").write_text(package.replace("exclude: [", 'exclude: ["crypto", '))
    # Two levels of sandboxes do not fit into each other in a container.
    done = called("swift", "build", "--build-tests", "--disable-sandbox", cwd=bundle)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "warning:" not in done.stdout + done.stderr
    resources = {path.name for path in (bundle / ".build/debug/QuickstartModel_QuickstartModel.resources").iterdir()}
    assert resources == {"manifest.json", "manifest.sig", "golden", "float.mean", "bytes.mean"}
    done = called(bundle / ".build/debug/QuickstartModelPackageTests.xctest", cwd=bundle)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "Executed 1 test, with 0 failures" in done.stdout
    assert "bytes.mean on meanruntime 1.9.1" in done.stdout


def test_a_bundle_is_a_package_whose_files_parse(tiny, tmp_path):
    folder = Path(bundles.bundle(tiny / "runs/tiny", ["ios"], tmp_path).bundles["ios"])
    text = (folder / "Package.swift").read_text()
    for path in [folder / "Package.swift", *(folder / "swift").rglob("*.swift")]:
        assert mistakes(without_directives(path.read_text())) == [], path
    # Everything at the root is a resource, a source, or excluded: the package manager warns of the rest.
    for name in {path.name for path in folder.iterdir()} - {"Package.swift", "swift"}:
        assert f'"{name}"' in text, name
    assert 'public static let labels = ["0", "1"' in (folder / "swift/Sources/Generated.swift").read_text()
    assert "Runtimes.coreML + Runtimes.coreAI + Runtimes.execuTorch" in (folder / "swift/Sources/Generated.swift").read_text()


def test_only_a_runtime_that_the_app_links_asks_for_a_linker_flag(tiny, tmp_path):
    """Of the app, by the README, and of the tests of the package; the library itself has no unsafe flags."""
    folder = Path(bundles.bundle(tiny / "runs/tiny", ["ios"], tmp_path / "whole").bundles["ios"])
    library, tests = (folder / "Package.swift").read_text().split(".testTarget(")
    assert "unsafeFlags" not in library
    assert 'linkerSettings: [.unsafeFlags(["-Wl,-all_load"])]' in tests
    assert "set the build setting Other Linker Flags to `-all_load`" in (folder / "README.md").read_text()
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    manifest = manifest.model_copy(update={"artifacts": [entry for entry in manifest.artifacts if entry.format == "coreml"]})
    (tmp_path / "part").mkdir()
    usage = in_swift.write(tmp_path / "part", manifest)
    assert "all_load" not in " ".join(usage.steps) + (tmp_path / "part/Package.swift").read_text()
