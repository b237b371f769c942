"""Inputs of bytes: each byte is the number that a float32 image has for it, in every format, and every command takes such a file."""

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSIFIER, NAMES, classifier, plain
from made_documents import TARGET, contents, made_result
from torch import nn

from edgedistill.backends import backend, backends
from edgedistill.backends.delegation import delegation
from edgedistill.backends.inspect import inspect
from edgedistill.bundle.write import write_bundle
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.export.programs import load_signature, save_program
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.quantize.mixed import leave_float
from edgedistill.quantize.state import QuantizedState, convert
from edgedistill.quantize.static import calibrate
from edgedistill.recipe.inputs import SUFFIXES, refusal
from edgedistill.recipe.targets import Target, TargetArtifact, load_target
from edgedistill.records import ArtifactSpec
from edgedistill.records.manifest import Manifest
from edgedistill.steps import flow
from edgedistill.tasks.image_classification.models import signature, to_unit
from edgedistill.tasks.pixels import as_taken
from edgedistill.verify.rungs import references

SIZE = 16
PORTS = signature(SIZE, 3 * SIZE * SIZE)
# Every byte once in each channel, in three orders, and its float32 image.
BYTES = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 77)]).reshape(1, 3, SIZE, SIZE).astype(np.uint8)
IMAGE = BYTES.astype(np.float32) / np.float32(255)


class Pixels(nn.Module):
    """Answers the pixels themselves, through a convolution that multiplies each by 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, groups=3)
        nn.init.ones_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).flatten(1)


def quantized(brightest: int) -> QuantizedState:
    """`Pixels` calibrated on bytes up to `brightest`: 255 gives the scale 1/255, and 250 puts 25 / 255 into the middle of two steps."""
    seen = np.minimum(BYTES, brightest)
    state = convert(calibrate(Pixels().eval(), PORTS, [(to_unit(seen),)]), PORTS)
    # Calibration's ranges are those of a histogram, and not quite these.
    scale = float(np.float32(brightest / 255 / 255))
    for graph in (state.converted, state.unfolded):
        for node in graph.graph.nodes:
            if "quantize_per_tensor" in str(node.target):
                node.args = (node.args[0], scale, -128, *node.args[3:])
        graph.recompile()
    return state


@pytest.fixture(scope="module")
def states() -> dict[int, QuantizedState]:
    return {brightest: quantized(brightest) for brightest in (255, 250)}


def lowered(module: nn.Module, kind: str, precision: str, folder: Path, *, floats: bool = False) -> Path:
    spec = ArtifactSpec(kind, precision, input=backend(kind).inputs[0 if floats else 1])
    save_program(module, PORTS, folder / "program.pt2")
    importlib.import_module(backend(kind).lower).lower(
        torch.export.load(folder / "program.pt2"), PORTS, folder / spec.name, spec, {"model": "pixels"}
    )
    return folder / spec.name


def answer(kind: str, path: Path, images: np.ndarray, folder: Path) -> np.ndarray:
    adapter = executor(kind, float16="fp16" in path.name).module
    if kind != "executorch":
        module = importlib.import_module(adapter)
        module.prepare(1)
        return plain(module.load(str(path), 1, NAMES))(images)
    np.save(folder / "images.npy", images)
    local.execute(
        adapter,
        path,
        folder / "images.npy",
        signature=classifier(images),
        outputs=folder / "out.npy",
        threads=1,
        bench=None,
        log=folder / "log",
        timeout_s=120,
    )
    return np.load(folder / "out.npy")


def test_bytes_are_those_that_the_image_was_made_of() -> None:
    found = as_taken(IMAGE, "uint8-nhwc")
    assert found.dtype == np.uint8
    assert (found == BYTES.transpose(0, 2, 3, 1)).all()
    assert as_taken(IMAGE, "float32-nchw") is IMAGE


@pytest.mark.parametrize(("kind", "brightest"), [("litert", 255), ("litert", 250), ("onnx", 250), ("executorch", 255), ("coreml", 255)])
def test_every_byte_is_the_integer_of_its_float32(states: dict[int, QuantizedState], kind: str, brightest: int, tmp_path: Path) -> None:
    state = states[brightest]
    path = lowered(state.unfolded if kind == "litert" else state.converted, kind, "int8", tmp_path)
    if kind == "onnx":
        # Its own quantizer rounds the middle another way than the reference.
        expected = answer(kind, lowered(state.converted, kind, "int8", tmp_path, floats=True), IMAGE, tmp_path)
    else:
        reference = references(state.converted)["converted" if kind == "coreml" else "integer"]
        expected = reference(torch.from_numpy(IMAGE)).numpy()
    assert len(np.unique(expected)) > 245, "integers differ from byte to byte"
    found = answer(kind, path, as_taken(IMAGE, backend(kind).inputs[1]), tmp_path)
    assert np.abs(found - expected).max() < 1e-6
    facts = inspect(path)
    (port,) = facts.inputs
    if kind == "coreml":
        assert (port.type, port.shape) == ("image RGB", [SIZE, SIZE])
        return
    assert (port.type, port.shape) == ("uint8", [1, SIZE, SIZE, 3])
    outside = delegation(kind, path).outside
    if kind == "litert":
        assert port.scale == pytest.approx(1 / 255)
        # Where the program's own scale is that of bytes, one flip of a bit a byte reads them, and nothing is computed in floating point.
        assert outside == ({"QUANTIZE": 1} if brightest == 255 else {"CAST": 1})
        assert ("DIV" in facts.operators) == (brightest != 255)
    if kind == "executorch":
        assert outside == {"_to_dim_order_copy": 1}


def test_bytes_go_into_a_program_with_a_layer_in_floating_point(states: dict[int, QuantizedState], tmp_path: Path) -> None:
    mixed = leave_float(states[255], [*states[255].trained][:1])
    # The converter takes such a program as it is written, and begins it with QUANTIZE.
    path = lowered(mixed.unfolded, "litert", "int8", tmp_path)
    expected = references(mixed.converted)["integer"](torch.from_numpy(IMAGE)).numpy()
    assert np.abs(answer("litert", path, as_taken(IMAGE, "uint8-nhwc"), tmp_path) - expected).max() < 1e-6


@pytest.mark.parametrize("kind", ["litert", "onnx", "executorch", "coreml"])
def test_every_byte_is_its_float32_in_floating_point(kind: str, tmp_path: Path) -> None:
    path = lowered(Pixels(), kind, "fp16" if kind == "coreml" else "fp32", tmp_path)
    found = answer(kind, path, as_taken(IMAGE, backend(kind).inputs[1]), tmp_path)
    expected = IMAGE.reshape(1, -1)
    assert (found == (expected.astype(np.float16) if kind == "coreml" else expected)).all()


def test_another_array_than_the_file_takes_is_an_error(tmp_path: Path) -> None:
    path = lowered(Pixels(), "coreml", "fp16", tmp_path)
    with pytest.raises(ValueError, match="expected uint8"):
        answer("coreml", path, IMAGE, tmp_path)
    np.save(tmp_path / "images.npy", IMAGE.astype(np.float64))
    with pytest.raises(DeviceFailed, match=r"expected float32\[N,channels,height,width\] with N > 0 for the input image, found float64"):
        local.execute(
            executor("onnx").module,
            path,
            tmp_path / "images.npy",
            signature=CLASSIFIER,
            outputs=None,
            threads=1,
            bench=None,
            log=tmp_path / "log",
            timeout_s=60,
        )


def test_every_input_exists_or_is_refused_with_a_reason() -> None:
    for format_, facts in backends().items():
        exists = facts.inputs
        for kind in SUFFIXES:
            said = refusal(format_, kind)
            assert (said is None) == (kind in exists)
            assert said is None or (said.rpartition("take ")[2] in exists and kind in facts.refusals)
    with pytest.raises(ValueError, match=r"only Core ML takes an image.*take uint8-nhwc"):
        TargetArtifact(format="litert", precision="int8", input="image")
    with pytest.raises(ValueError, match="take image"):
        TargetArtifact(format="coreml", precision="int8", input="uint8-nhwc")
    names = {ArtifactSpec("litert", "int8", input=kind).name for kind in backend("litert").inputs}
    assert names == {"student-int8.tflite", "student-int8-uint8.tflite"}
    assert load_target("ios-camera").artifacts[1].spec.name == "student-fp16-image.mlpackage"


def test_a_target_may_want_both_inputs_and_none_twice() -> None:
    facts = {"name": "t", "description": "d", "minimum_os": "any"}
    plain, pixels = ({"format": "litert", "precision": "int8"} | more for more in ({}, {"input": "uint8-nhwc"}))
    Target.model_validate(facts | {"artifacts": [plain, pixels]})
    with pytest.raises(ValueError, match="each artifact once"):
        Target.model_validate(facts | {"artifacts": [pixels, pixels]})
    with pytest.raises(ValueError, match="its delegate takes no bytes"):
        Target.model_validate(facts | {"artifacts": [plain, pixels], "budgets": {"fallbacks": 0}})


def test_a_manifest_says_what_each_file_takes(tmp_path: Path) -> None:
    records = []
    for kind in ("float32-nchw", "uint8-nhwc"):
        records.append(made_result("onnx", "fp32", input=kind).model_copy(update={"sha256": hashlib.sha256(b"file").hexdigest()}))
        (tmp_path / records[-1].path).parent.mkdir(exist_ok=True)
        (tmp_path / records[-1].path).write_bytes(b"file")
    folder = write_bundle(tmp_path / "both", TARGET, contents(records, signature(SIZE, 3), IMAGE, tmp_path))
    floats, pixels = Manifest.read(folder / "manifest.json").artifacts
    (taken,) = floats.signature.inputs
    assert (floats.input, taken.dtype, taken.shape, taken.range) == ("float32-nchw", "float32", (1, 3, SIZE, SIZE), (0, 1))
    (taken,) = pixels.signature.inputs
    assert (pixels.input, taken.dtype, taken.shape, taken.range) == ("uint8-nhwc", "uint8", (1, SIZE, SIZE, 3), (0, 255))
    assert (np.load(folder / pixels.golden.inputs["image"].path) == BYTES.transpose(0, 2, 3, 1)).all()
    assert (np.load(folder / floats.golden.inputs["image"].path) == IMAGE).all()
    folder = write_bundle(tmp_path / "bytes", TARGET, contents(records[1:], signature(SIZE, 3), IMAGE, tmp_path))
    assert [path.name for path in (folder / "golden").iterdir()] == ["inputs-uint8"]


def test_a_file_of_bytes_is_verified_and_measured_from_elsewhere(tiny: Path, tmp_path: Path) -> None:
    from edgedistill.backends.onnx import lower as onnx

    run = tiny / "runs" / "tiny"
    spec = ArtifactSpec("onnx", "int8", input="uint8-nhwc")
    path = tmp_path / "elsewhere.onnx"
    importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    program = run / "work" / spec.program
    onnx.lower(torch.export.load(program), load_signature(program), path, spec, {})
    found = flow.verify_file(path, run).model_dump(mode="json")
    assert (found["ok"], found["precision"], found["parity"]["reference"]) == (True, "int8", "integer")
    own = json.loads((run / "summary.json").read_text())["artifacts"]
    assert found["score"]["file"] == next(a for a in own if a["name"] == "student-int8.onnx")["score"]["val"]
    measured = flow.bench_file(path).model_dump(mode="json")
    assert (measured["status"], measured["inputs"][0]["dtype"], measured["inputs"][0]["shape"]) == ("ok", "uint8", [1, 32, 32, 3])
    with pytest.raises(UserError, match=r"takes uint8 \[1, 16, 16, 3\].*uint8 \[1, 32, 32, 3\]"):
        flow.verify_file(lowered(Pixels(), "onnx", "fp32", tmp_path), run)
