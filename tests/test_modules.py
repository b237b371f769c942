"""Any module: twelve of them are exported, quantized, lowered to every format that can hold them, executed, and held to what made them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from made_modules import CASES, Audio, Case
from torch import Tensor, nn

from edgedistill.backends import backend
from edgedistill.errors import UserError
from edgedistill.export.fitting import of_file
from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature, save_program
from edgedistill.measure import local
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.flatten import flatten
from edgedistill.tasks.modules import batches_of, predict
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.outputs import compare
from edgedistill.verify.reference import Reference

FORMATS = ("executorch", "coreml", "onnx", "litert")
QUICK = {("two_inputs", "onnx"), ("lookup", "onnx")}
REFUSED = {("volume", "executorch"): "kernels of 1D and 2D convolutions only", ("volume", "litert"): "crashes on 3D convolutions"}
MIXED = {"recurrent": 1, "volume": 2, "lookup": 1}
"""How many layers of an int8 file compute in floating point."""
FLOAT_LIMITS = {"fp32": 1e-4, "fp16": 1e-2}
"""Largest difference from the float module as a share of the output's range."""
UNROUNDED_LIMIT = 0.03
"""The same of outputs that are not quantized themselves, but computed from int8 values that may differ by a step."""
SAMPLES = 8


@dataclass(frozen=True)
class Made:
    """The programs of a module in `folder`, what it and its int8 references give for `arrays`, and the LSB of each quantized output."""

    folder: Path
    signature: Signature
    arrays: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    integer: dict[str, np.ndarray]
    converted: dict[str, np.ndarray]
    scales: dict[str, float]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    done: dict[str, Made] = {}

    def one(name: str) -> Made:
        if name not in done:
            done[name] = quantized(CASES[name], name, tmp_path_factory.mktemp(name))
        return done[name]

    return one


def quantized(case: Case, name: str, folder: Path) -> Made:
    flat, signature = flatten(case.module(), case.specs, label=name)
    state = convert(calibrate(flat, signature, case.samples(48, 2), any_batch=False), signature)
    for form, program in (("float", flat), ("converted", state.converted), ("unfolded", state.unfolded)):
        save_program(program, signature, folder / "programs" / f"student-{form}.pt2")
    columns = zip(*case.samples(SAMPLES), strict=True)
    arrays = {spec.name: torch.cat(column).numpy() for spec, column in zip(signature.inputs, columns, strict=True)}
    for key, array in arrays.items():
        (folder / "val").mkdir(exist_ok=True)
        np.save(folder / "val" / f"{key}.npy", array)
    given = [
        predict(module, batches_of(arrays, 1), signature.forward)
        for module in (flat, IntegerReference(state.converted), Reference(state.converted))
    ]
    return Made(folder, signature, arrays, *given, state.output_scale)


@pytest.mark.parametrize("name", CASES)
def test_the_signature_has_a_name_type_and_shape_for_each_output(name: str) -> None:
    case = CASES[name]
    module = case.module()
    flat, signature = flatten(module, case.specs, label=name)
    assert tuple(spec.name for spec in signature.outputs) == case.outputs
    with torch.no_grad():
        given = flat(*case.samples(1)[0])
    values = given if isinstance(given, tuple) else (given,)
    for spec, value in zip(signature.outputs, values, strict=True):
        assert spec.matches(str(value.dtype).removeprefix("torch."), tuple(value.shape))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if (name, kind) in QUICK else pytest.mark.slow)
        for name in CASES
        for kind in FORMATS
        if (name, kind) not in REFUSED
    ],
)
def test_a_file_gives_what_the_module_and_the_quantized_program_give(
    made: Callable[[str], Made], name: str, kind: str, tmp_path: Path
) -> None:
    module, facts = made(name), backend(kind)
    done = lower([ArtifactSpec(kind, facts.twin), ArtifactSpec(kind, "int8")], module.folder, tmp_path, tmp_path / "log", {"model": name})
    for artifact in done.artifacts:
        outputs = executed(module, artifact, tmp_path)
        assert list(outputs) == [spec.name for spec in module.signature.outputs]
        if artifact.precision != "int8":
            for key, error in compare(outputs, module.expected).items():
                assert (np.inf if error.largest is None else error.largest) <= FLOAT_LIMITS[artifact.precision], (key, error)
            assert artifact.mixed is None
            continue
        assert len(artifact.mixed or []) == MIXED.get(name, 0), artifact.mixed
        reference = module.integer if facts.integer_kernels else module.converted
        for key, error in compare(outputs, reference).items():
            if scale := module.scales.get(key):
                steps = np.abs(outputs[key].astype(np.float64) - reference[key]) / scale
                assert (steps <= 2.01).mean() >= 0.995, (key, steps.max())
                assert steps.mean() <= 0.3, key
            else:
                assert (np.inf if error.largest is None else error.largest) <= UNROUNDED_LIMIT, (key, error)
        for key, error in compare(outputs, module.expected).items():
            assert (error.snr_db or 0) > 20, (key, error)


def executed(module: Made, artifact: ArtifactSpec, folder: Path) -> dict[str, np.ndarray]:
    """What the runtime gives, in the types of the file."""
    adapter = backend(artifact.format).executor(float16=artifact.precision == "fp16")
    assert adapter is not None
    method = of_file(module.signature, artifact).forward
    inputs = folder / "inputs"
    inputs.mkdir(exist_ok=True)
    for spec in method.inputs:
        np.save(inputs / f"{spec.name}.npy", module.arrays[spec.name].astype(spec.dtype))
    outputs = folder / f"outputs-{artifact.precision}"
    local.execute(
        adapter.module, folder / artifact.name, inputs, signature=method, outputs=outputs, threads=1, bench=None,
        log=folder / "run.log", timeout_s=300,
    )  # fmt: skip
    return {spec.name: np.load(outputs / f"{spec.name}.npy") for spec in method.outputs}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), REFUSED)
def test_what_a_format_cannot_hold_is_refused_with_the_layer(made: Callable[[str], Made], name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=REFUSED[name, kind]) as raised:
        lower([ArtifactSpec(kind, backend(kind).twin)], made(name).folder, tmp_path, tmp_path / "log", {"model": name})
    assert "layers.0" in str(raised.value)
    assert not list(tmp_path.glob("student*"))


@pytest.mark.slow
def test_a_length_that_varies_stays_one_in_onnx_and_is_refused_elsewhere(tmp_path: Path) -> None:
    import onnxruntime

    spec = TensorSpec.parse("features=float32[1,80,T]")
    net = CASES["audio"].module()
    flat, signature = flatten(net, [spec], label="audio")
    assert str(signature.outputs[0]) == "output=float32[1,12,T]"
    fp32 = ArtifactSpec("onnx", "fp32")
    save_program(flat, signature, tmp_path / fp32.program)
    assert load_signature(tmp_path / fp32.program) == signature
    lower([fp32], tmp_path, tmp_path, tmp_path / "log", {"model": "audio"})
    session = onnxruntime.InferenceSession(str(tmp_path / fp32.name))
    assert session.get_inputs()[0].shape == [1, 80, "T"]
    for length in (20, 75):
        features = torch.randn(1, 80, length)
        with torch.no_grad():
            expected = net(features).numpy()
        assert np.allclose(session.run(["output"], {"features": features.numpy()})[0], expected, atol=1e-4)
    with pytest.raises(UserError, match=r"takes one fixed length per file; .*features=float32\[1,80,100\]"):
        lower([ArtifactSpec("litert", "fp32")], tmp_path, tmp_path, tmp_path / "log", {"model": "audio"})


def test_a_size_of_an_output_that_varies_has_a_name_of_its_own() -> None:
    class Halved(nn.Module):
        def forward(self, x: Tensor) -> dict[str, object]:
            return {"half": x[..., ::2], "same": (x, x * 2), "none": None}

    _, signature = flatten(Halved(), [TensorSpec.parse("x=float32[1,T]")], label="halved")
    assert [str(spec) for spec in signature.outputs] == ["half=float32[1,half_1]", "same_0=float32[1,T]", "same_1=float32[1,T]"]


def test_a_module_that_fails_or_gives_no_tensors_is_named_with_what_it_was_given() -> None:
    with pytest.raises(UserError, match=r"audio failed on features=float32\[1,8,50\] \(RuntimeError.*are names, order, types and sizes"):
        flatten(Audio(), [TensorSpec.parse("features=float32[1,8,50]")], label="audio")

    class Number(nn.Module):
        def forward(self, x: Tensor) -> dict[str, object]:
            return {"x": x + 1, "loss": 0.5}

    with pytest.raises(UserError, match="number: found float as output loss, expected a tensor"):
        flatten(Number(), [TensorSpec.parse("x=float32[1,2]")], label="number")


def test_an_output_that_is_an_input_or_stands_twice_is_a_tensor_of_its_own() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            y = x + 1
            return [x, y, y]

    flat, _ = flatten(Same(), [TensorSpec.parse("x=float32[1,2]")], label="same")
    x = torch.zeros(1, 2)
    given = flat(x)
    assert len({value.data_ptr() for value in (x, *given)}) == 4
