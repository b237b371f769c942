"""Python glue code: its wheel in a fresh environment, and every error that it tells."""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from glue_corpus import frames
from PIL import Image

from edgedistill.steps.bundle import bundle
from edgedistill.tasks.image_classification.decoding import as_seen, fitted


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(bundle(tiny / "runs/tiny", ["raspberry-pi"], tmp_path_factory.mktemp("bundles")).bundles["raspberry-pi"])


@pytest.fixture(scope="module")
def glue(folder: Path):
    """The package of glue code, imported from the bundle."""
    sys.path.insert(0, str(folder / "python"))
    yield import_module("tiny_model")
    sys.path.remove(str(folder / "python"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "bundle")


def frame_of(glue, golden):
    facts = golden.facts
    planes = [glue.Plane(plane["offset"], plane["row_stride"], plane["pixel_stride"]) for plane in facts["planes"]]
    names = ("format", "width", "height", "orientation", "matrix", "range")
    return glue.Frame(data=golden.data, planes=planes, **{name: facts[name] for name in names})


def assert_equal_to_training(glue, count: int, largest: int) -> None:
    module = import_module("tiny_model.frames")
    wrong = []
    for golden, size, way in frames(count, largest):
        resize = module.Resize(way.side, way.stretch, way.filter == "cubic", way.odd_margin == "down")
        if not np.array_equal(module.prepared(frame_of(glue, golden), size, resize), golden.expected):
            wrong.append((golden.facts, way))
    assert wrong == []


def test_frames_are_prepared_as_in_training(glue) -> None:
    assert_equal_to_training(glue, 90, 1)


@pytest.mark.slow
def test_500_frames_are_prepared_as_in_training(glue) -> None:
    assert_equal_to_training(glue, 500, 7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_files_are_read_as_in_training(glue, tmp_path: Path, mode: str, orientation: int) -> None:
    rng = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (50, 41), np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (50, 41, 4), np.uint8), "RGBA").convert(mode)
    path = tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    files, prepared = import_module("tiny_model.files"), import_module("tiny_model.frames").prepared
    with Image.open(path) as opened:
        expected = np.asarray(fitted(as_seen(opened), 32))
    assert np.array_equal(prepared(files.frame_of(path), 32), expected)


@pytest.mark.parametrize("name", ["student-int8.onnx", "student-fp32.onnx", "student-int8.tflite", "student-fp32.tflite"])
def test_predictions_are_those_of_the_artifact(glue, folder: Path, name: str) -> None:
    with glue.Model.load(folder, artifact=name) as model:
        tested = model.self_test()
        assert tested.ok, tested.describe()
        assert (model.info.artifact, len(tested.frames), len(tested.outputs)) == (name, 6, 1)
        inputs = np.load(folder / "golden/inputs/image.npy")
        expected = np.load(folder / f"golden/outputs/{name}/logits.npy").reshape(16, -1)
        for image, logits in zip(inputs, expected, strict=True):
            pixels = np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)
            found = model.predict(pixels)
            exponents = np.exp(logits - logits.max())
            assert found.best.index == logits.argmax()
            assert found.best.label == str(logits.argmax())
            assert found.probabilities == pytest.approx(exponents / exponents.sum(), abs=1e-4)
            assert [score.index for score in found.top(3)] == np.argsort(-exponents, kind="stable")[:3].tolist()


def test_a_self_test_sees_another_model_and_another_preprocessing(glue, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    files = manifest["files"]
    for path in ("golden/outputs/student-int8.onnx/logits.npy", "golden/frames/3-expected.bin"):
        data = bytearray((copy / path).read_bytes())
        data[-1] ^= 0x40
        (copy / path).write_bytes(data)
        files[path] = import_module("hashlib").sha256(data).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with glue.Model.load(copy, artifact="student-int8.onnx") as model:
        tested = model.self_test()
    assert not tested.ok
    assert "logits: largest difference" in tested.describe()
    assert "FAILED, first in sample 15" in tested.describe()
    assert "frame 3: largest difference 64 of 255: FAILED" in tested.describe()


def refused(glue, error: str, copy: Path, **options) -> str:
    with pytest.raises(getattr(glue, error)) as raised:
        glue.Model.load(copy, **options)
    return str(raised.value)


def rewrite(copy: Path, change) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))


def entry_of(manifest: dict, name: str) -> dict:
    return next(entry for entry in manifest["artifacts"] if entry["name"] == name)


ONNX = "student-int8.onnx"


def test_a_manifest_that_is_not_ours_is_refused(glue, copy: Path, tmp_path: Path) -> None:
    assert "can't be read" in refused(glue, "BundleError", tmp_path / "none")
    for schema, said in (
        ("edgedistill/manifest/4", "update the app's glue code"),
        ("edgedistill/manifest/2", "write the bundle again"),
        (7, "expected"),
    ):
        rewrite(copy, lambda m, schema=schema: m.update(schema=schema))
        assert said in refused(glue, "BundleError", copy)
    (copy / "manifest.json").write_text("{")
    assert "is damaged" in refused(glue, "BundleError", copy)


def test_files_that_changed_or_lead_out_are_refused(glue, copy: Path, tmp_path: Path) -> None:
    path = copy / ONNX
    path.write_bytes(path.read_bytes() + b"\0")
    assert f"{ONNX} has the SHA-256" in refused(glue, "BundleError", copy, artifact=ONNX)
    path.unlink()
    assert "is missing" in refused(glue, "BundleError", copy, artifact=ONNX)
    path.symlink_to(tmp_path)
    assert "is a link" in refused(glue, "BundleError", copy, artifact=ONNX)
    for name in ("../x", "/etc/passwd", "a\\b"):
        other = shutil.copytree(copy, tmp_path / "other", symlinks=True)
        rewrite(other, lambda m, name=name: entry_of(m, ONNX).update(name=name))
        assert "expected one within the bundle" in refused(glue, "BundleError", other, artifact=name)
        shutil.rmtree(other)


def test_labels_of_another_number_are_refused(glue, copy: Path) -> None:
    rewrite(copy, lambda m: m["labels"].append("more"))
    assert "found 11 labels in manifest.json, expected 10" in refused(glue, "BundleError", copy)


def test_a_runtime_that_is_missing_or_too_old_is_refused(glue, copy: Path) -> None:
    assert "found no artifact x, expected one of" in refused(glue, "BundleError", copy, artifact="x")
    rewrite(copy, lambda m: entry_of(m, ONNX).update(minimum_runtime={"onnxruntime": "99.0"}))
    assert "expected 99.0 or later; update it" in refused(glue, "RuntimeMissing", copy, artifact=ONNX)
    rewrite(copy, lambda m: entry_of(m, ONNX).update(format="other"))
    assert "this package has no runtime for other" in refused(glue, "RuntimeMissing", copy, artifact=ONNX)


def test_a_signature_is_required_where_a_key_is_given(glue, tiny: Path, copy: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    mine, other = (Ed25519PrivateKey.generate() for _ in range(2))
    keys = [key.public_key().public_bytes_raw() for key in (mine, other)]
    assert "can't be read" in refused(glue, "BundleError", copy, public_key=keys[0])
    (copy / "manifest.sig").write_bytes(mine.sign((copy / "manifest.json").read_bytes()))
    glue.Model.load(copy, public_key=keys[0]).close()
    assert "is not the signature" in refused(glue, "BundleError", copy, public_key=keys[1])


def test_wrong_inputs_are_refused(glue, folder: Path) -> None:
    with glue.Model.load(folder, artifact=ONNX) as model:
        for array, said in (
            (np.zeros((1, 3, 32, 32)), "found float64"), (np.zeros((1, 3, 31, 32), np.float32), "found float32[1, 3, 31, 32]"), (3, "int"),
        ):  # fmt: skip
            with pytest.raises(glue.InputError) as raised:
                model.run({"image": array})
            assert said in str(raised.value)
        with pytest.raises(glue.InputError, match="found the inputs other, expected image"):
            model.run({"other": np.zeros(1)})
        for image, said in (
            (np.zeros((0, 5, 3), np.uint8), "found a frame of 5 x 0"), (np.zeros((1, 51, 3), np.uint8), "51 x 1"),
            (np.zeros((5, 5, 3)), "expected uint8"), (np.zeros((5, 5, 2), np.uint8), "expected uint8"), (7, "found int"),
            (glue.Frame("rgb8", 4, 4, bytes(47), [glue.Plane(0, 12, 3)]), "found 47 bytes, expected 48"),
            (glue.Frame("rgb8", 4, 4, bytes(48), [glue.Plane(0, 11, 3)]), "strides of 11 and 3"),
            (glue.Frame("rgb8", 4, 4, bytes(48), [glue.Plane(0, 12, 3)], orientation=9), "orientation 9"),
            (glue.Frame("yuv420", 4, 4, bytes(48), [glue.Plane(0, 12, 3)]), "found 1 plane(s) of yuv420, expected 3"),
            (glue.Frame("hsv8", 4, 4, bytes(48), [glue.Plane(0, 12, 3)]), "found the format hsv8"),
        ):  # fmt: skip
            with pytest.raises(glue.InputError) as raised:
                model.predict(image)
            assert said in str(raised.value)


def test_calls_end_when_they_are_cancelled_or_the_model_is_closed(glue, folder: Path) -> None:
    model, image = glue.Model.load(folder, artifact=ONNX), np.zeros((40, 40, 3), np.uint8)
    model.warm_up()
    asked: list[int] = []
    with pytest.raises(glue.Cancelled):
        model.predict(image, cancelled=lambda: bool(asked.append(1)) or len(asked) > 1)
    assert len(asked) == 2
    model.close()
    model.close()
    with pytest.raises(glue.Closed, match="was closed; load it again"):
        model.predict(image)


def test_the_package_has_types_that_hold(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--ignore-missing-imports",
        "--no-incremental",
        "--config-file",
        os.devnull,
        "tiny_model",
    ]
    done = subprocess.run(command, cwd=folder / "python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from tiny_model import Model
assert "PIL" not in sys.modules and "torch" not in sys.modules
with Model.load(sys.argv[1]) as model:
    tested = model.self_test()
    print(tested.describe())
    assert tested.ok and model.info.artifact.endswith(".onnx"), model.info
    print(model.predict(np.zeros((40, 30, 3), np.uint8)).best)
"""


@pytest.mark.slow
def test_the_wheel_runs_with_numpy_and_a_runtime_alone(folder: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    (wheel,) = (folder / "python").glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[onnx]"], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "pillow", "edgedistill"} & {line.partition("==")[0].lower() for line in listed.splitlines()}
    done = subprocess.run([python, "-c", SCRIPT, folder], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Score(label=" in done.stdout
