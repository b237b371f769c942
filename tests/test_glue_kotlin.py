"""The Kotlin glue on the JVM: everything but the runtimes and what only Android has, which are compiled against stubs of the libraries."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from glue_corpus import write_corpus

from edgedistill.gate import risk_model
from edgedistill.gate.router import Router, made_table
from edgedistill.records.router import RiskModel, Rule
from edgedistill.steps import bundle as bundles
from edgedistill.tasks.classification.confidence import confidences
from edgedistill.tasks.image_classification.features import features
from edgedistill.tasks.image_classification.frames import GoldenFrame, golden_frames, made

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgedistill"
COMMON = PACKAGE / "bundle/glue/kotlin"
IMAGES = [PACKAGE / f"tasks/{name}/glue/kotlin" for name in ("classification", "image_classification")]
RUNTIMES = [PACKAGE / f"backends/{name}/glue/kotlin" for name in ("litert", "executorch", "onnx")]
HARNESS = Path(__file__).parent / "glue/kotlin"
ONLY_ANDROID = {"AssetBundle.kt", "AndroidFrames.kt", "CameraFrames.kt"}
JSON_JAR = Path("/usr/share/java/com.android.json.jar")
SIZE = 8
LABELS = ["zero", "one", "two"]
RISK = RiskModel(
    intercept=-1.0, measures={"probability": -0.7, "margin": 0.2, "entropy": -0.1}, features={"red_mean": 2.0, "blue_deviation": -1.5}
)
Ask = Callable[..., dict[str, Any]]


def sources(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kt"))


def pure() -> list[Path]:
    """What the JVM runs."""
    return [path for folder in (COMMON, *IMAGES, HARNESS) for path in sources(folder) if path.name not in ONLY_ANDROID]


def jars() -> tuple[Path, Path]:
    """The jar with the compiler and coroutines, and the standard library."""
    if shutil.which("java") is None:
        pytest.fail("java is missing: install a JDK, on Debian `apt-get install openjdk-17-jdk-headless`")
    if not JSON_JAR.exists():
        pytest.fail(f"{JSON_JAR} is missing: `apt-get install libandroid-json-java`, the org.json of Android for the JVM")
    try:
        package = distribution("kotlin-jupyter-kernel")
    except PackageNotFoundError:
        pytest.fail("the Kotlin compiler is missing: `pip install kotlin-jupyter-kernel`, or `make install` again")
    found = [Path(str(package.locate_file(file))) for file in package.files or [] if file.name.endswith(".jar")]
    compiler = next(jar for jar in found if jar.name.endswith("-all.jar"))
    return compiler, next(jar for jar in found if jar.name.startswith("kotlin-stdlib"))


def compile_kotlin(files: list[Path]) -> Path:
    """A folder with the classes of `files`; the same sources are compiled once in an environment."""
    compiler, library = jars()
    options = ["-no-stdlib", "-no-reflect", "-jvm-target", "11", "-Xexplicit-api=strict", "-Werror"]
    digest = hashlib.sha256(f"{compiler.name} {options}".encode())
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    made_before = Path(sys.prefix) / "glue-kotlin" / digest.hexdigest()[:16]
    made_before.parent.mkdir(exist_ok=True)
    with FileLock(made_before.with_suffix(".lock")):
        if not made_before.exists():
            partial = made_before.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            classes = f"{library}:{compiler}:{JSON_JAR}"
            command = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(compiler), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
            done = subprocess.run([*command, *options, "-cp", classes, "-d", partial, *files], capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr[-4000:]
            partial.rename(made_before)
    return made_before


@pytest.fixture(scope="session")
def jvm() -> Iterator[Ask]:
    """A function that sends the harness a request and returns its answer, a dict with `answer` or `error`."""
    classes = compile_kotlin(pure())
    command = ["java", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", f"{classes}:{jars()[0]}:{JSON_JAR}", "edgedistill.glue.MainKt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(do: str, **request: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps({"do": do, **request}, default=str) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
        assert process.wait(20) == 0


class Bundle:
    """A bundle in a folder, whose model file is a matrix; `write` gives it a manifest that its files agree with."""

    def __init__(self, folder: Path, kind: str = "float32-nchw") -> None:
        rng = np.random.default_rng(3)
        self.folder = folder
        self.kind = kind
        shape, self.dtype = ([1, 3, SIZE, SIZE], np.float32) if kind == "float32-nchw" else ([1, SIZE, SIZE, 3], np.uint8)
        self.matrix = (rng.normal(size=(3 * SIZE * SIZE, len(LABELS))) / (10 if kind == "float32-nchw" else 2550)).astype(np.float32)
        samples = rng.random((4, *shape[1:])) if self.dtype == np.float32 else rng.integers(0, 256, (4, *shape[1:]))
        self.samples = samples.astype(self.dtype)
        self.array("model.npy", self.matrix)
        self.array("broken.npy", self.matrix)
        self.array("golden/inputs/image.npy", self.samples)
        self.array("golden/outputs/logits.npy", self.logits(self.samples))
        entries, frames = golden_frames(SIZE)
        for path, data in frames.items():
            self.put(path, data)
        spec = {"name": "image", "dtype": self.samples.dtype.name, "shape": shape, "meaning": "image", "layout": "NCHW", "range": [0, 1]}
        logits = {"name": "logits", "dtype": "float32", "shape": [1, 3], "meaning": "logits", "layout": None, "range": None}
        artifact = {
            "name": "model.npy", "format": "matrix", "precision": "fp32", "delegate": None, "bytes": 1, "input": kind,
            "signature": {"inputs": [spec], "outputs": [logits]}, "minimum_runtime": {"matrix-runtime": "1.2"},
        }  # fmt: skip
        image = {
            "kind": "image", "color": "RGB", "orientation": "upright",
            "sixteen_bit": "divided by 257", "transparency": "composed with white",
            "resize": {"shorter_side": SIZE, "filter": "triangle", "antialias": True},
            "crop": {"height": SIZE, "width": SIZE, "place": "center"}, "padding": None,
            "normalization": {"mean": [0.5], "std": [0.5], "where": "inside the program"},
        }  # fmt: skip
        scores = {"kind": "scores", "postprocessing": "softmax", "temperature": {"value": 1.0, "where": "inside the program"}}
        self.manifest: dict[str, Any] = {
            "schema": "edgedistill/manifest/3", "name": "quickstart", "task": "image-classification",
            "preprocessing": {"inputs": {"image": image}, "outputs": {"logits": scores | {"thresholds": None}}}, "labels": LABELS,
            "ship": {"order": ["other.bin", "model.npy", "broken.npy"]},
            "artifacts": [
                artifact,
                {**artifact, "name": "broken.npy", "format": "broken"},
                {**artifact, "name": "other.bin", "format": "unknown", "sha256": "0" * 64},
            ],
            "golden_frames": entries,
        }  # fmt: skip
        self.write()

    def put(self, path: str, data: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    def array(self, path: str, array: np.ndarray) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / path, array)

    def sha256(self, path: str) -> str:
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()

    def logits(self, samples: np.ndarray) -> np.ndarray:
        return (samples.reshape(len(samples), -1).astype(np.float64) @ self.matrix.astype(np.float64)).astype(np.float32)

    def probabilities(self, frame: GoldenFrame) -> np.ndarray:
        pixels = frame.expected[None]
        if self.dtype == np.float32:
            pixels = (pixels.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
        logits = self.logits(np.ascontiguousarray(pixels))[0].astype(np.float64)
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()

    def write(self) -> None:
        """manifest.json, with the SHA-256 of what is in the folder."""
        paths = (path.relative_to(self.folder).as_posix() for path in sorted(self.folder.rglob("*")) if path.is_file())
        files = {path: self.sha256(path) for path in paths if not path.startswith("manifest.")}
        given = {name: {"path": (path := f"golden/{name}.npy"), "sha256": files[path]} for name in ("inputs/image", "outputs/logits")}
        golden = {
            "count": 4, "inputs": {"image": given["inputs/image"]}, "outputs": {"logits": given["outputs/logits"]},
            "tolerance": {"logits": 1e-6},
        }  # fmt: skip
        for artifact in self.manifest["artifacts"]:
            artifact.update(golden=golden, sha256=files.get(artifact["name"], "0" * 64))
        self.manifest["files"] = files
        self.save()

    def save(self) -> None:
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "bundle")


def described(frame: GoldenFrame, folder: Path) -> dict[str, Any]:
    """`frame` as a request has it."""
    file = folder / "frame.bin"
    file.write_bytes(frame.data)
    planes = ";".join(f"{plane['offset']}:{plane['row_stride']}:{plane['pixel_stride']}" for plane in frame.facts["planes"])
    return {**frame.facts, "planes": planes, "file": file}


@pytest.fixture
def frame(tmp_path: Path) -> tuple[GoldenFrame, dict[str, Any]]:
    """A frame of a camera, and the same as a request has it."""
    golden = made("yuv420", 61, 43, 6, SIZE, np.random.default_rng(5))
    return golden, described(golden, tmp_path)


def fails(answer: dict[str, Any], error: str, *words: str) -> None:
    """Assert that the answer is this error, and that its message has all the words."""
    assert answer.get("error") == error, answer
    missing = [word for word in words if word not in answer["message"]]
    assert missing == [], answer["message"]


# Preparation


@pytest.mark.parametrize("count", [120, pytest.param(500, marks=pytest.mark.slow)])
def test_frames_are_prepared_to_the_bytes_of_training(jvm: Ask, tmp_path: Path, count: int) -> None:
    folder = write_corpus(tmp_path / "corpus", count, largest=2 if count == 500 else 0)
    assert jvm("corpus", folder=folder) == {"answer": {"count": count, "wrong": []}}
    file = folder / "7-expected.bin"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert len(jvm("corpus", folder=folder)["answer"]["wrong"]) == 1


@pytest.mark.parametrize("kind", ["float32-nchw", "uint8-nhwc"])
def test_a_prediction_is_that_of_numpy(jvm: Ask, tmp_path: Path, kind: str, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    bundle = Bundle(tmp_path / "bundle", kind)
    expected = bundle.probabilities(frame[0])
    order = [LABELS[i] for i in np.argsort(-expected)]
    for how in ("predict", "predictAsync"):
        found = jvm(how, bundle=bundle.folder, **frame[1])["answer"]
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-7)
        assert (found["top"], found["top2"]) == (order[0], order[:2])
        assert LABELS[found["index"]] == order[0]
        assert found["probability"] == max(found["probabilities"])
        assert found["text"] == f"{order[0]} {100 * expected.max():.1f}%"


def test_a_crop_may_be_smaller_than_the_shorter_side(jvm: Ask, bundle: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    pixels = rng.integers(0, 256, (12, 30, 3), np.uint8)
    facts = {"format": "rgb8", "width": 30, "height": 12, "orientation": 1, "planes": [{"offset": 0, "row_stride": 90, "pixel_stride": 3}]}
    bundle.manifest["preprocessing"]["inputs"]["image"]["resize"]["shorter_side"] = 12
    bundle.save()
    # (12 - 8) / 2 and (30 - 8) / 2: nothing is resized, the centre is cut out.
    expected = pixels[2:10, 11:19].tobytes().hex()
    request = described(GoldenFrame(facts, pixels.tobytes(), pixels), tmp_path)
    assert jvm("prepared", bundle=bundle.folder, **request)["answer"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("kind", "planes"), [("rgb8", "0:12000:3"), ("yuv420", "0:4000:1;12000000:4000:2;12000001:4000:2")])
def test_a_photo_is_prepared_fast(jvm: Ask, kind: str, planes: str, orientation: int) -> None:
    """Far below what a person notices; docs have the measured figures."""
    request = {"format": kind, "width": 4000, "height": 3000, "orientation": orientation, "planes": planes, "bytes": 36_000_000}
    assert np.median(jvm("time", **request, size=224, times=10)["answer"]) < 400


# The model


def test_what_is_loaded_is_told(jvm: Ask, bundle: Bundle) -> None:
    assert jvm("load", bundle=bundle.folder) == {"answer": "model.npy, matrix-runtime 1.2.3, delegate plain"}
    # A temperature is there only where the model was calibrated.
    del bundle.manifest["preprocessing"]["outputs"]["logits"]["temperature"]
    bundle.save()
    found = jvm("load", bundle=bundle.folder, artifact="broken.npy")
    assert found == {"answer": "broken.npy, broken-runtime 1.0, delegate unknown: it never ran"}


def test_generated_facts_compile(jvm: Ask) -> None:
    assert jvm("facts")["answer"] == {"name": "quickstart", "labels": LABELS}


def test_named_tensors_go_in_and_out(jvm: Ask, bundle: Bundle) -> None:
    sample = bundle.samples[:1]
    found = jvm("run", bundle=bundle.folder, input="image", values=sample.ravel().tolist(), shape=sample.shape)["answer"]
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], bundle.logits(sample)[0], atol=1e-6)


def test_a_size_that_varies_may_be_any(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["artifacts"][0]["signature"]["inputs"][0]["shape"] = ["N", 3, SIZE, SIZE]
    bundle.save()
    sample = bundle.samples[:1]
    request = {"input": "image", "values": sample.ravel().tolist()}
    assert "answer" in jvm("run", bundle=bundle.folder, **request, shape=sample.shape)
    fails(jvm("run", bundle=bundle.folder, **request, shape=[1, 3, SIZE * SIZE]), "WrongInput", "float32[any, 3, 8, 8]")


def test_warming_up_and_many_threads(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    assert jvm("warmUp", bundle=bundle.folder, times=2) == {"answer": "warm"}
    assert jvm("threads", bundle=bundle.folder, **frame[1]) == {"answer": 1}


def test_a_self_test_passes(jvm: Ask, bundle: Bundle) -> None:
    found = jvm("selfTest", bundle=bundle.folder)["answer"]
    assert found["ok"], found
    assert found["frames"] == [0] * 6
    assert found["changed"] == 0
    assert found["describe"].startswith("self-test passed: model.npy, matrix-runtime 1.2.3, delegate plain\n")
    assert "output logits: largest difference" in found["describe"]


@pytest.mark.parametrize("by", ["probability", "margin", "entropy"])
def test_answers_go_to_the_teacher_as_the_table_says(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]], by: str) -> None:
    def asked(threshold: float | None, *always: int) -> list[Any]:
        table = made_table(Router("image-classification", by, None, tuple(always)), {"model.npy": threshold})
        bundle.manifest["router"] = table.model_dump(mode="json")
        bundle.save()
        return jvm("route", bundle=bundle.folder, **frame[1])["answer"]

    probabilities = bundle.probabilities(frame[0])
    expected = confidences(np.log(probabilities[None]))[by][0]
    decided = int(probabilities.argmax())
    assert asked(None) == [pytest.approx(expected, abs=1e-6), True]
    assert asked(expected + 1e-5)[1]
    assert asked(-1.0, decided)[1]
    assert not asked(expected - 1e-5, (decided + 1) % 3)[1]
    assert jvm("selfTest", bundle=bundle.folder)["answer"]["ok"]
    bundle.manifest["router"]["golden"][5]["teacher"] ^= True
    bundle.save()
    found = jvm("selfTest", bundle=bundle.folder)["answer"]
    assert (found["ok"], found["routesWrong"]) == (False, 1)
    assert "router: 1 row(s) of its table are decided in ANOTHER way" in found["describe"]
    bundle.manifest["router"]["by"] = "hope"
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "DamagedManifest", "found router.by hope")


def test_rules_and_a_model_of_the_risk_are_followed(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    def asked(threshold: float, risk: RiskModel | None = None, *when: Rule) -> list[Any]:
        router = Router("image-classification", "risk" if risk else "margin", None, (), when, risk)
        bundle.manifest["router"] = made_table(router, {"model.npy": threshold}).model_dump(mode="json")
        bundle.save()
        assert jvm("selfTest", bundle=bundle.folder)["answer"]["ok"]
        return jvm("route", bundle=bundle.folder, **frame[1])["answer"]

    known = features(frame[0].expected.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    measures = confidences(np.log(bundle.probabilities(frame[0])[None]))
    sure = float(risk_model.confidence(RISK, measures, known)[0])
    assert asked(sure - 1e-5, RISK) == [pytest.approx(sure, abs=1e-6), False]
    assert asked(sure + 1e-5, RISK)[1]
    for name, (value,) in known.items():
        for near, sent in ((-1e-9, True), (1e-9, False)):
            assert asked(-1.0, None, Rule(of=name, above=value + near))[1] == sent
            assert asked(-1.0, None, Rule(of="red_mean", below=-1.0), Rule(of=name, below=value - near))[1] == sent
    kept = next(row for row in bundle.manifest["router"]["golden"] if not row["teacher"])
    kept["features"]["red_mean"] = -5.0
    bundle.save()
    assert jvm("selfTest", bundle=bundle.folder)["answer"]["routesWrong"] == 1
    bundle.manifest["router"]["when"][0]["of"] = "smell"
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "DamagedManifest", "found a router that reads [smell", "red_mean")


def test_a_bundle_without_a_router_never_asks_the_teacher(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    assert jvm("route", bundle=bundle.folder, **frame[1])["answer"] == [
        pytest.approx(bundle.probabilities(frame[0]).max(), abs=1e-6),
        False,
    ]


def test_a_self_test_finds_other_outputs(jvm: Ask, bundle: Bundle) -> None:
    outputs = bundle.logits(bundle.samples)
    outputs[2, np.argmin(outputs[2])] += 100
    bundle.array("golden/outputs/logits.npy", outputs)
    bundle.write()
    found = jvm("selfTest", bundle=bundle.folder)["answer"]
    assert not found["ok"]
    assert found["changed"] == 1
    assert found["outputs"][0][0] == "logits"
    assert float(found["outputs"][0][1]) == pytest.approx(100, abs=1e-3)
    assert found["worst"] == [2]
    assert "FAILED" in found["describe"]
    assert "ABOVE the tolerance" in found["describe"]


def test_a_self_test_finds_a_number_that_is_none(jvm: Ask, bundle: Bundle) -> None:
    outputs = bundle.logits(bundle.samples)
    outputs[0, 0] = np.nan
    bundle.array("golden/outputs/logits.npy", outputs)
    bundle.write()
    assert not jvm("selfTest", bundle=bundle.folder)["answer"]["ok"]


def test_a_self_test_finds_a_frame_that_is_prepared_otherwise(jvm: Ask, bundle: Bundle) -> None:
    path = "golden/frames/1-expected.bin"
    pixels = np.frombuffer((bundle.folder / path).read_bytes(), np.uint8).copy()
    pixels[5] ^= 2
    bundle.put(path, pixels.tobytes())
    bundle.write()
    found = jvm("selfTest", bundle=bundle.folder)["answer"]
    assert not found["ok"]
    assert found["frames"] == [0, 2, 0, 0, 0, 0]
    assert "frame 1: largest difference 2 of 255" in found["describe"]


def test_a_self_test_without_golden_outputs_proves_nothing(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["artifacts"][0]["golden"]["outputs"] = None
    bundle.save()
    found = jvm("selfTest", bundle=bundle.folder)["answer"]
    assert not found["ok"]
    assert found["changed"] is None
    assert "not compared" in found["describe"]


# Errors of a bundle


def test_no_manifest(jvm: Ask, bundle: Bundle) -> None:
    (bundle.folder / "manifest.json").unlink()
    fails(jvm("load", bundle=bundle.folder), "MissingFile", "manifest.json is missing", "copy the bundle again")


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"schema": "edgedistill/manifest/3"}'])
def test_damaged_manifest(jvm: Ask, bundle: Bundle, text: str) -> None:
    (bundle.folder / "manifest.json").write_text(text)
    fails(jvm("load", bundle=bundle.folder), "DamagedManifest", "manifest.json", "copy the bundle again")


def test_newer_manifest(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["schema"] = "edgedistill/manifest/4"
    bundle.save()
    expected = "found edgedistill/manifest/4, this code reads edgedistill/manifest/3: update the app's glue code"
    assert jvm("load", bundle=bundle.folder)["message"] == expected


@pytest.mark.parametrize("schema", ["edgedistill/manifest/2", "edgedistill/run/3", "", None, 3])
def test_other_schema(jvm: Ask, bundle: Bundle, schema: Any) -> None:
    bundle.manifest["schema"] = schema
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "OtherManifest", "this code reads edgedistill/manifest/3")


def test_another_manifest_than_the_one_asked_for(jvm: Ask, bundle: Bundle) -> None:
    own = bundle.sha256("manifest.json")
    assert "answer" in jvm("load", bundle=bundle.folder, manifest=own)
    fails(jvm("load", bundle=bundle.folder, manifest="f" * 64), "ChangedFile", own[:12], "f" * 12)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/model", "absolute"),
        ("a\\b", "absolute"),
        ("../model.npy", ".."),
        ("golden/../../model.npy", ".."),
        ("golden//image.npy", "empty part"),
        ("", "empty part"),
    ],
)
@pytest.mark.parametrize("place", ["files", "artifact", "golden"])
def test_unsafe_path(jvm: Ask, bundle: Bundle, place: str, path: str, words: str) -> None:
    artifact = bundle.manifest["artifacts"][0]
    if place == "files":
        bundle.manifest["files"][path] = "0" * 64
    elif place == "artifact":
        artifact["name"] = path
    else:
        artifact["golden"]["inputs"]["image"]["path"] = path
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "UnsafePath", words, "inside the bundle")


@pytest.mark.parametrize("path", ["model.npy", "golden"])
def test_link(jvm: Ask, bundle: Bundle, path: str, tmp_path: Path) -> None:
    elsewhere = (bundle.folder / path).rename(tmp_path / "elsewhere")
    (bundle.folder / path).symlink_to(elsewhere)
    fails(jvm("selfTest", bundle=bundle.folder), "UnsafePath", path, "leads to a link")


@pytest.mark.parametrize("path", ["model.npy", "golden/inputs/image.npy", "golden/outputs/logits.npy", "golden/frames/2.bin"])
def test_missing_and_changed_file(jvm: Ask, bundle: Bundle, path: str) -> None:
    data = (bundle.folder / path).read_bytes()
    expected = bundle.sha256(path)
    bundle.put(path, data[:-1] + bytes([data[-1] ^ 1]))
    fails(jvm("selfTest", bundle=bundle.folder), "ChangedFile", path, bundle.sha256(path)[:12], f"expected {expected[:12]}")
    (bundle.folder / path).unlink()
    fails(jvm("selfTest", bundle=bundle.folder), "MissingFile", f"{path} is missing")


def test_labels_of_another_number(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["labels"] = LABELS[:2]
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "WrongLabels", "found 2 labels", "3 scores")


def test_no_runtime_for_any_artifact(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["ship"]["order"] = ["other.bin"]
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "NoRuntime", "other.bin (unknown)", "[matrix, broken]", "build.gradle.kts")
    fails(jvm("load", bundle=bundle.folder, artifact="none.npy"), "NoRuntime", "found no artifact none.npy", "model.npy")


def test_runtime_that_is_too_old(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["artifacts"][0]["minimum_runtime"] = {"matrix-runtime": "1.10"}
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "OldRuntime", "found matrix-runtime 1.2.3, expected 1.10 or later")


@pytest.mark.parametrize(
    ("found", "expected", "older"),
    [
        ("1.2.3", "1.2", False), ("1.2", "1.2.0", False), ("1.2", "1.2.1", True), ("1.9", "1.10", True), ("2", "1.99", False),
        ("2.1.0-beta1", "2.1", False), ("2.0.3-alpha", "2.1", True),
    ],
)  # fmt: skip
def test_versions_are_numbers(jvm: Ask, found: str, expected: str, older: bool) -> None:
    assert jvm("older", found=found, expected=expected) == {"answer": older}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.resize.filter", "nearest"), ("image.resize.antialias", False), ("image.color", "BGR"), ("image.kind", "audio"),
        ("image.crop.place", "top"), ("image.crop.width", SIZE + 1), ("image.padding", {"left": 1}),
        ("image.normalization.where", "outside"),
        ("logits.postprocessing", "sigmoid"), ("logits.temperature.where", "outside"), ("logits.kind", "boxes"),
    ],
)  # fmt: skip
def test_preprocessing_that_this_code_does_not_do(jvm: Ask, bundle: Bundle, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    entry = bundle.manifest["preprocessing"]["inputs" if parents[0] == "image" else "outputs"]
    for parent in parents:
        entry = entry[parent]
    entry[last] = value
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "DamagedManifest", "found" if last != "kind" or value == "audio" else "no output")


def test_input_that_is_none_of_android(jvm: Ask, bundle: Bundle) -> None:
    bundle.manifest["artifacts"][0]["input"] = "image"
    bundle.save()
    fails(jvm("load", bundle=bundle.folder), "NoRuntime", "model.npy", "choose another artifact")


# The signature of the manifest


def signed(bundle: Bundle, data: bytes | None = None) -> str:
    """Sign the manifest, or `data`; returns the public key as hexadecimal digits."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    bundle.put("manifest.sig", key.sign((bundle.folder / "manifest.json").read_bytes() if data is None else data))
    return key.public_key().public_bytes_raw().hex()


def test_signature(jvm: Ask, bundle: Bundle) -> None:
    key = signed(bundle)
    assert "answer" in jvm("load", bundle=bundle.folder, key=key)
    # Without a key nobody asks for it.
    assert "answer" in jvm("load", bundle=bundle.folder)
    fails(jvm("load", bundle=bundle.folder, key=key[:-2]), "WrongSignature", "31 bytes", "32 bytes")
    # The signature is checked before anything else of the bundle is.
    (bundle.folder / "manifest.json").write_text("{")
    fails(jvm("load", bundle=bundle.folder, key=key), "WrongSignature", "does not belong", "do not use this bundle")


def test_another_verifier(jvm: Ask, bundle: Bundle) -> None:
    """Androids without Ed25519 take that of a library."""
    key = signed(bundle, b"other")
    fails(jvm("load", bundle=bundle.folder, key=key, verifier="none"), "WrongSignature", "no Ed25519", "ModelOptions.verifier")
    assert "answer" in jvm("load", bundle=bundle.folder, key=key, verifier="own")


@pytest.mark.parametrize("how", ["missing", "other data", "short", "other key"])
def test_wrong_signature(jvm: Ask, bundle: Bundle, how: str) -> None:
    key = signed(bundle, b"other" if how == "other data" else None)
    signature = (bundle.folder / "manifest.sig").read_bytes()
    if how == "other key":
        key = signed(bundle)
        bundle.put("manifest.sig", signature)
    elif how == "short":
        bundle.put("manifest.sig", signature[:-1])
    elif how == "missing":
        (bundle.folder / "manifest.sig").unlink()
    fails(
        jvm("load", bundle=bundle.folder, key=key), "WrongSignature", "manifest.sig", "missing" if how == "missing" else "does not belong"
    )


# Errors of a call


def test_wrong_options(jvm: Ask, bundle: Bundle) -> None:
    fails(jvm("load", bundle=bundle.folder, threads=0), "WrongInput", "found 0 threads", "1 or more")
    fails(jvm("load", bundle=bundle.folder, delegate="gpu"), "WrongInput", "found the delegate gpu", "expected plain")


def test_wrong_tensors(jvm: Ask, bundle: Bundle) -> None:
    values = [0.5] * 3 * SIZE * SIZE
    request = {"bundle": bundle.folder, "values": values, "input": "image"}
    fails(jvm("run", **request, shape=[3, SIZE, SIZE]), "WrongInput", "found float32[3, 8, 8]", "expected float32[1, 3, 8, 8]")
    fails(jvm("run", **request | {"input": "picture"}, shape=[1, 3, SIZE, SIZE]), "WrongInput", "[picture]", "[image]")
    fails(jvm("tensor", values=[1.0, 2.0], shape=[3]), "WrongInput", "found 8 bytes", "float32[3]", "expected 12")
    bundle.manifest["artifacts"][0]["signature"]["inputs"][0]["dtype"] = "int64"
    bundle.save()
    fails(jvm("run", **request, shape=[1, 3, SIZE, SIZE]), "WrongInput", "found float32", "expected int64")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 0}, ["0 x 4", "1 x 1 or more"]),
        ({"height": -1}, ["4 x -1", "1 x 1 or more"]),
        ({"width": 201}, ["201 x 4", "ratio of at most 50"]),
        ({"orientation": 0}, ["orientation 0", "1 to 8"]),
        ({"orientation": 9}, ["orientation 9", "1 to 8"]),
        ({"planes": "0:12:3;0:12:3"}, ["2 planes", "expected 1"]),
        ({"planes": "0:11:3"}, ["row stride of 11", "12 or more"]),
        ({"planes": "0:12:2"}, ["pixel stride of 2", "3 or more"]),
        ({"planes": "1:12:3"}, ["48 bytes", "offset 1", "expected 49 bytes"]),
        ({"planes": "-1:12:3"}, ["offset -1"]),
        ({"bytes": 47}, ["47 bytes", "expected 48 bytes"]),
        ({"format": "yuv420"}, ["1 planes of YUV420", "expected 3"]),
        ({"format": "yuv420", "planes": "0:4:1;16:2:1;20:1:1"}, ["row stride of 1 in plane 2", "2 or more"]),
        ({"format": "yuv420", "planes": "0:4:1;16:2:1;20:2:1", "bytes": 23}, ["23 bytes", "plane 2", "expected 24 bytes"]),
    ],
)
def test_wrong_frame(jvm: Ask, change: dict[str, Any], words: list[str]) -> None:
    request = {"format": "rgb8", "width": 4, "height": 4, "orientation": 1, "planes": "0:12:3", "bytes": 48}
    assert jvm("frame", **request) == {"answer": "RGB8 4 x 4, orientation 1"}
    fails(jvm("frame", **request | change), "WrongInput", *words)


def test_the_last_row_may_be_cut_short(jvm: Ask) -> None:
    request = {"format": "rgb8", "width": 4, "height": 4, "planes": "0:20:3", "bytes": 72}
    assert "answer" in jvm("frame", **request)


def test_runtime_that_fails(jvm: Ask, bundle: Bundle) -> None:
    found = jvm("warmUp", bundle=bundle.folder, times=1, artifact="broken.npy")
    fails(found, "RuntimeFailure", "running broken.npy failed: out of memory")
    assert found["cause"] == "IllegalStateException"
    bundle.array("model.npy", bundle.matrix.T.astype(">f4"))
    bundle.write()
    fails(jvm("load", bundle=bundle.folder), "DamagedManifest", "little-endian")


def test_cancelled(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    """Asked before the preparation, before the run, and after it."""
    request = {"bundle": bundle.folder, **frame[1]}
    assert jvm("asked", **request) == {"answer": 3}
    for when in (1, 2, 3):
        fails(jvm("cancelled", **request, when=when), "Cancelled", "cancelled")
    assert "answer" in jvm("cancelled", **request, when=4)
    assert jvm("coroutine", **request) == {"answer": "told, cancelled"}


def test_closed(jvm: Ask, bundle: Bundle, frame: tuple[GoldenFrame, dict[str, Any]]) -> None:
    fails(jvm("closed", bundle=bundle.folder, **frame[1]), "Closed", "closed", "load it again")


# Arrays


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "i1", "u1", "i2", "u2", "i4", "i8", "?"])
def test_arrays_of_numpy_are_read(jvm: Ask, tmp_path: Path, dtype: str) -> None:
    array = np.array([[0, 1, 2.5, 100], [-1, -7.25, 6e-8, 60000]]) if dtype[0] == "f" else np.array([[0, 1], [2, 100]])
    array = np.abs(array) if dtype[0] == "u" else array
    np.save(tmp_path / "a.npy", array.astype(dtype))
    expected = array.astype(dtype).astype(np.float64).ravel().tolist()
    assert jvm("npy", file=tmp_path / "a.npy") == {"answer": expected}


@pytest.mark.parametrize(
    ("array", "change", "words"),
    [
        (np.zeros(3, ">f4"), None, "little-endian"),
        (np.zeros((2, 3), np.float32, order="F"), None, "C order"),
        (np.zeros(3, np.complex64), None, "little-endian"),
        (np.zeros(3, np.float32), lambda data: data[:-1], "11 bytes of numbers, expected 12"),
        (np.zeros(3, np.float32), lambda data: b"x" + data[1:], "does not start as one"),
        (np.zeros(3, np.float32), lambda data: data[:20], "cut off"),
    ],
)
def test_damaged_arrays(jvm: Ask, tmp_path: Path, array: np.ndarray, change: Callable[[bytes], bytes] | None, words: str) -> None:
    file = tmp_path / "a.npy"
    np.save(file, array)
    if change:
        file.write_bytes(change(file.read_bytes()))
    fails(jvm("npy", file=file), "DamagedManifest", "file.npy", words)


# The sources


def shipped() -> list[Path]:
    return [path for folder in (COMMON, *IMAGES, *RUNTIMES) for path in sources(folder)]


def test_files_fit_into_one_package() -> None:
    names = [path.name for path in shipped()]
    assert len(names) == len(set(names)) > 20
    for path in shipped():
        lines = path.read_text().splitlines()
        assert lines[0] == "package edgedistill.glue", path
        assert len(lines) <= 300, path
        assert [line for line in lines if len(line) > 120] == [], path


def test_what_serves_every_task_has_no_words_of_one() -> None:
    words = re.compile(r"class_?names|\bclasses\b|labels|image_?size|logits|onnx|litert|tflite|executorch|\bpte\b|\bort\b", re.IGNORECASE)
    common = [path for path in COMMON.rglob("*") if path.is_file()]
    assert [(path.name, match[0]) for path in common for match in words.finditer(path.read_text())] == []


def test_templates_have_these_placeholders() -> None:
    found = {path.name: sorted(Template(path.read_text()).get_identifiers()) for path in COMMON.glob("*.template")}
    module = ["asset_folder", "bundle_files", "bundle_folder", "min_sdk", "namespace", "no_compress", "runtime_dependencies"]
    assert found == {
        "build.gradle.kts.template": module,
        "AndroidManifest.xml.template": [],
        "consumer-rules.pro.template": ["runtime_rules"],
        "Generated.kt.template": ["facts", "name", "package", "runtimes"],
    }


def test_the_example_is_made_of_the_template() -> None:
    label_lines = "".join(f'        "{label}",\n' for label in LABELS)
    facts = f"""
    /** What the model tells apart, in the order of its scores. */
    public val LABELS: List<String> = listOf(
{label_lines}    )
"""
    runtimes = '        MatrixRuntime(version = "1.2.3"),\n        BrokenRuntime(),'
    template = Template((COMMON / "Generated.kt.template").read_text())
    text = template.substitute(package="edgedistill.glue", name='"quickstart"', facts=facts, runtimes=runtimes)
    assert text == (HARNESS / "Generated.kt").read_text()


@pytest.mark.slow
def test_everything_is_well_typed_in_another_package(tmp_path: Path) -> None:
    """As the kit copies it: flat, under a name of its own. The libraries are stubs, so this says nothing of how they behave."""
    copies = []
    for path in [*shipped(), *sources(HARNESS)]:
        copy = tmp_path / path.name
        copy.write_text(path.read_text().replace("edgedistill.glue", "com.example.flowers"))
        copies.append(copy)
    stubs = [path for path in sorted((HARNESS / "stubs").rglob("*")) if path.suffix in (".kt", ".java")]
    classes = compile_kotlin([*copies, *stubs])
    assert (classes / "com/example/flowers/LiteRt.class").exists()
    assert not (classes / "edgedistill").exists()


@pytest.mark.slow
def test_a_bundle_has_a_module_that_is_well_typed(tiny: Path, tmp_path: Path) -> None:
    folder = Path(bundles.bundle(tiny / "runs/tiny", ["android"], tmp_path).bundles["android"])
    module = folder / "kotlin"
    sources_of = sorted((module / "src/main/kotlin").glob("*.kt"))
    stubs = [path for path in sorted((HARNESS / "stubs").rglob("*")) if path.suffix in (".kt", ".java")]
    classes = compile_kotlin([*sources_of, *stubs])
    assert (classes / "edgedistill/models/tiny/Generated.class").exists()
    build = (module / "build.gradle.kts").read_text()
    assert 'noCompress += listOf("pte", "tflite")' in build
    assert 'implementation("com.google.ai.edge.litert:litert:1.4.0")' in build
    assert 'dir("..")' in build
    generated = (module / "src/main/kotlin/Generated.kt").read_text()
    assert '        ExecuTorch(version = "1.3.1"),\n        LiteRt(version = "1.4.0"),' in generated
    assert generated.count('        "') == 10
