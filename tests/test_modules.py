"""Any module: twelve of them are exported, quantized, lowered to every format that can hold them, executed, and held to what made them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from made_modules import CASES, Audio, Case
from torch import Tensor, nn

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.export.fitting import check, of_file
from edgedistill.export.lower import lower, lower_one
from edgedistill.export.programs import load_operators, load_signature, save_program
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.quantize.trace import trace
from edgedistill.records import Artifact, ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.flatten import flatten
from edgedistill.tasks.modules import batches_of, predict
from edgedistill.verify.judge import reference, verdict
from edgedistill.verify.outputs import compare
from edgedistill.verify.rungs import references

FORMATS = ("executorch", "coreml", "coreai", "onnx", "litert")
QUICK = {("two_inputs", "onnx"), ("lookup", "onnx")}
MIXED = {"recurrent": 1, "lookup": 1}
"""How many layers of an int8 file compute in floating point."""
SAMPLES = 8


@dataclass(frozen=True)
class Made:
    """What a module, by its own name, and its int8 references give for `arrays`, and the LSB of each quantized output."""

    signature: Signature
    arrays: dict[str, np.ndarray]
    rungs: dict[str, dict[str, np.ndarray]]
    scales: dict[str, float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs and files of all modules, whose names stand where a run has the role student."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="module")
def made(folder: Path) -> Callable[[str], Made]:
    done: dict[str, Made] = {}

    def one(name: str) -> Made:
        if name not in done:
            done[name] = quantized(CASES[name], name, folder)
        return done[name]

    return one


def quantized(case: Case, name: str, folder: Path) -> Made:
    flat, signature = flatten(case.module(), case.specs, label=name)
    state = convert(calibrate(flat, signature, case.samples(48, 2), any_batch=False), signature)
    for form, program in (("float", flat), ("converted", state.converted), ("unfolded", state.unfolded)):
        save_program(program, signature, folder / "programs" / f"{name}-{form}.pt2")
    columns = zip(*case.samples(SAMPLES), strict=True)
    arrays = {spec.name: torch.cat(column).numpy() for spec, column in zip(signature.inputs, columns, strict=True)}
    modules = {name: flat, **references(state.converted)}
    rungs = {rung: predict(module, batches_of(arrays, 1), signature.forward) for rung, module in modules.items()}
    return Made(signature, arrays, rungs, state.output_scale)


@pytest.fixture(scope="module")
def files(request: pytest.FixtureRequest, folder: Path, made: Callable[[str], Made]) -> Callable[[str, str], list[Artifact]]:
    """The files of a module in a format. The first call lowers those of all modules whose tests run, since most time goes into imports."""
    done: dict[tuple[str, str], list[Artifact]] = {}
    chosen = [
        item.callspec.params
        for item in request.session.items
        if item.originalname == test_a_file_computes_the_module_or_its_quantized_program.__name__
    ]

    def of(name: str, kind: str) -> list[Artifact]:
        if (name, kind) not in done:
            names = [params["name"] for params in chosen if params["kind"] == kind]
            for other in names:
                made(other)
            specs = [ArtifactSpec(kind, precision, other) for other in names for precision in (backend(kind).twin, "int8")]
            for artifact in lower(specs, folder, folder, folder / f"{kind}.log", {"model": "modules"}).artifacts:
                done.setdefault((artifact.role, kind), []).append(artifact)
        return done[name, kind]

    return of


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
    [pytest.param(name, kind, marks=[] if (name, kind) in QUICK else pytest.mark.slow) for kind in FORMATS for name in CASES],
)
def test_a_file_computes_the_module_or_its_quantized_program(
    made: Callable[[str], Made], files: Callable[[str, str], list[Artifact]], folder: Path, name: str, kind: str
) -> None:
    module = made(name)
    for artifact in files(name, kind):
        outputs = executed(module, artifact, folder)
        assert list(outputs) == [spec.name for spec in module.signature.outputs]
        found = verdict(artifact, outputs, module.rungs[reference(artifact)], scales=module.scales)
        assert found.ok, found
        quantized = artifact.precision == "int8"
        assert len(artifact.mixed or []) == (MIXED.get(name, 0) if quantized else 0), artifact.mixed
        for key, error in compare(outputs, module.rungs[name]).items():
            assert (error.snr_db or 0) > 20, (key, error)


def executed(module: Made, artifact: Artifact, folder: Path) -> dict[str, np.ndarray]:
    """What the runtime gives, in the types of the file."""
    found = backend(artifact.format).executor(float16=artifact.precision == "fp16")
    assert found is not None
    adapter = import_module(found.module)
    adapter.prepare(1)
    method = of_file(module.signature, artifact).forward
    forward = adapter.load(str(folder / artifact.name), 1, method.model_dump(mode="json"))
    rows = [forward({spec.name: module.arrays[spec.name][[row]].astype(spec.dtype) for spec in method.inputs}) for row in range(SAMPLES)]
    return {spec.name: np.concatenate([row[spec.name] for row in rows]) for spec in method.outputs}


@pytest.mark.parametrize(
    ("layer", "kind", "delegate", "why"),
    [
        (nn.ConvTranspose3d(2, 2, 2), "executorch", None, "no kernel of 3D transposed convolutions; take onnx or coreml"),
        (nn.ConvTranspose3d(2, 2, 2), "litert", None, "an operator of it that its runtime has not .*; take onnx or coreml"),
        (nn.MaxPool3d(2), "executorch", None, "kernels of 2D pools only; take onnx, coreml or litert"),
        (nn.Conv3d(2, 2, 2), "executorch", "vulkan", "Vulkan has operators of 1D and 2D only; take onnx or coreml"),
        (nn.ConvTranspose3d(2, 2, 2), "coreai", None, "coreai-torch has no rule for it .*; take onnx or coreml"),
        (nn.AdaptiveAvgPool3d(1), "coreml", None, "coremltools cannot convert it; take a mean over the last three dimensions"),
    ],
    ids=str,
)
def test_what_a_format_cannot_hold_is_refused_with_the_layer(
    layer: nn.Module, kind: str, delegate: str | None, why: str, tmp_path: Path
) -> None:
    net, spec = nn.Sequential(nn.Conv3d(2, 2, 1), layer), ArtifactSpec(kind, "fp16" if kind == "coreml" else "fp32", delegate=delegate)
    flat, signature = flatten(net, [TensorSpec.parse("clip=float32[1,2,4,4,4]")], label="net")
    refused = rf"^the layer {'0' if 'Conv3d' in str(layer) else '1'} is a \w+: .*{why}"
    save_program(flat, signature, tmp_path / spec.program)
    with pytest.raises(UserError, match=refused):
        check(load_operators(tmp_path / spec.program), signature, spec)


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
    lower_one(fp32, tmp_path, tmp_path, tmp_path / "log", {"model": "audio"})
    session = onnxruntime.InferenceSession(str(tmp_path / fp32.name))
    assert session.get_inputs()[0].shape == [1, 80, "T"]
    for length in (20, 75):
        features = torch.randn(1, 80, length)
        with torch.no_grad():
            expected = net(features).numpy()
        assert np.allclose(session.run(["output"], {"features": features.numpy()})[0], expected, atol=1e-4)
    with pytest.raises(DeviceFailed, match=r"takes one fixed length per file; .*features=float32\[1,80,100\]"):
        lower_one(ArtifactSpec("litert", "fp32"), tmp_path, tmp_path, tmp_path / "log", {"model": "audio"})


def test_a_recurrent_layer_asks_for_a_fixed_length() -> None:
    spec = TensorSpec.parse("features=float32[1,T,16]")
    flat, signature = flatten(CASES["recurrent"].module(), [spec], label="recurrent")
    expected = r"one size of T only, since its recurrent layer gru is traced step by step; .* example features=float32\[1,12,16\]"
    with pytest.raises(UserError, match=expected):
        trace(flat, signature, sizes={"T": 12})


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
