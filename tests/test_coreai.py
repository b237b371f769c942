"""Core AI: what its converter and runtime need that others do not, each with the value that would be wrong without."""

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators of quantized programs
from made_graphs import Net
from test_scalar_constants import SIGNATURE as SCALARS
from test_scalar_constants import Scaled
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill import packages
from edgedistill.backends import backend
from edgedistill.backends.coreai import doctor
from edgedistill.backends.inspect import inspect
from edgedistill.errors import UserError
from edgedistill.export.programs import save_program
from edgedistill.files import sha256_tree
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.steps import lowering

IMAGE = TensorSpec(name="image", dtype="float32", shape=(1, 3, 8, 8))


def lowered(module: nn.Module, inputs: list[TensorSpec], outputs: list[TensorSpec], path: Path, precision: str = "fp32") -> Path:
    signature, program = Signature.of(inputs, outputs), path.with_suffix(".pt2")
    save_program(module.eval(), signature, program)
    return lower(program, signature, path, precision)


def lower(program: Path, signature: Signature, path: Path, precision: str) -> Path:
    from edgedistill.backends.coreai.lower import lower as make

    make(torch.export.load(program), signature, path, ArtifactSpec("coreai", precision), {"model": "net"})
    return path


def answer(path: Path, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    from edgedistill.backends.coreai import adapter

    adapter.prepare(1)
    return adapter.load(str(path), 1)(arrays)


def test_a_quantized_scalar_has_its_value(tmp_path: Path) -> None:
    program = tmp_path / "scaled.pt2"
    torch.export.save(torch.export.export(Scaled().eval(), (torch.zeros(1, 3),)), program)
    x = np.array([[1.0, 2.0, -3.0]], np.float32)
    found = answer(lower(program, SCALARS, tmp_path / "scaled.aimodel", "int8"), x=x)
    for (name, given), value in zip(found.items(), (4, -4, 10), strict=True):
        assert np.allclose(given, value * x, rtol=1e-6), name


class Norms(nn.Module):
    """A batch norm behind a convolution and one alone, with variances that float16 does not hold, and a composite operator."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.first, self.second = nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.BatchNorm2d(64)
        with torch.no_grad():
            self.conv.weight.mul_(1e-3)
            for norm in (self.first, self.second):
                norm.running_var.fill_(1e-8)
                norm.weight.uniform_(0.5, 1.5)

    def forward(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(self.second(torch.relu(self.first(self.conv(image))) * 0.01), 2)


@pytest.fixture(scope="module")
def norms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = TensorSpec(name="output", dtype="float32", shape=(1, 64, 3, 3))
    return lowered(Norms(), [IMAGE], [output], tmp_path_factory.mktemp("norms") / "norms.aimodel", "fp16")


def test_norms_are_folded_in_float32_before_a_program_is_float16(norms: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    with torch.no_grad():
        expected = Norms().eval()(torch.from_numpy(image)).numpy()
    found = answer(norms, image=image)["output"]
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(norms: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from test_coreai import lower; from edgedistill.export.programs import load_signature\n"
        "program, path = map(Path, sys.argv[1:]); lower(program, load_signature(program), path, 'fp16')"
    )
    path = tmp_path / "again.aimodel"
    command = [sys.executable, "-c", code, norms.with_suffix(".pt2"), path]
    subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, timeout=300)
    assert sha256_tree(path) == sha256_tree(norms)


def test_inspect_reads_composite_operators_and_a_program_that_changed_is_damaged(norms: Path) -> None:
    found = inspect(norms)
    assert {"conv2d": 2, "avg_pool_2d": 1}.items() <= found.operators.items()
    assert (next(iter(found.weights)), found.version["os"], found.metadata["description"]) == ("float16", "27.0", "net, fp16")
    assert found.macs == 64 * 36 * (27 + 1)
    program = norms / "main.mlirb"
    whole = program.read_bytes()
    program.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(UserError, match="not the one that main"):
        inspect(norms)
    program.write_bytes(whole)


@pytest.mark.parametrize("precision", ["fp32", "int8-weights"])
def test_windows_of_average_pooling_over_the_edge_divide_by_their_values(precision: str, tmp_path: Path) -> None:
    pools = nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(3, 2, ceil_mode=True)
    output = TensorSpec(name="output", dtype="float32", shape=(1, 3, 2, 2))
    path = lowered(nn.Sequential(*pools), [IMAGE], [output], tmp_path / "pools.aimodel", precision)
    image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    expected = nn.Sequential(*pools)(torch.from_numpy(image)).numpy()
    assert np.abs(answer(path, image=image)["output"] - expected).max() < (1e-6 if precision == "fp32" else 2e-3)


@pytest.mark.parametrize(
    "compute",
    [
        lambda s, x: F.elu(x - 0.5, 0.7),
        lambda s, x: F.selu(x - 0.5),
        lambda s, x: x.var((2, 3)) + x.std((2, 3), unbiased=False) + x.var(1).mean((1, 2))[:, None],
        lambda s, x: F.adaptive_avg_pool2d(s.conv(s.scale(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)), 1),
        lambda s, x: s.plain(s.conv(x)) + s.plain(x),
        lambda s, x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        lambda s, x: F.interpolate(x, size=(5, 11), mode="nearest"),
        lambda s, x: (x * 8 - 4).int().float(),
        lambda s, x: torch.softmax(x.masked_fill(s.mask, float("-inf")), 3),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_the_converter_has_no_rule_for_is_written_out(
    compute: Callable[[Any, Tensor], Tensor], precision: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    layers = {"conv": nn.Conv2d(3, 3, 1), "scale": nn.RMSNorm(3), "plain": nn.BatchNorm2d(3, affine=False)}
    layers["mask"] = nn.Buffer(torch.arange(8) > 5)
    net, image = Net(compute, **layers).eval(), np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(image)).numpy()
    output = TensorSpec(name="output", dtype="float32", shape=expected.shape)
    found = answer(lowered(net, [IMAGE], [output], tmp_path / "net.aimodel", precision), image=image)["output"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=(1e-5 if precision == "fp32" else 4e-3) * np.abs(expected).max())


class Mixed(nn.Module):
    """Inputs and outputs of each type, of the ranks 0 to 5; one output is an input, and one stands twice."""

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        made = tuple(value.logical_not() if value.dtype == torch.bool else value + 1 for value in given)
        return (*made, made[0] * 1, given[0] * 1)


def test_types_and_ranks_go_through(tmp_path: Path) -> None:
    types, shapes = (
        ("float32", "float16", "int8", "uint8", "int16", "int32", "bool"),
        ((), (3,), (1, 3), (2, 3), (1, 2, 3), (1, 2, 3, 2, 2), (4,)),
    )
    specs = [TensorSpec(name=f"{dtype}_in", dtype=dtype, shape=shape) for dtype, shape in zip(types, shapes, strict=True)]
    outputs = [spec.model_copy(update={"name": f"{spec.dtype}_out"}) for spec in specs]
    outputs += [outputs[0].model_copy(update={"name": name}) for name in ("again", "same")]
    path = lowered(Mixed(), specs, outputs, tmp_path / "mixed.aimodel")
    arrays = {spec.name: np.random.default_rng(0).integers(0, 9, spec.shape).astype(spec.dtype) for spec in specs}
    found = answer(path, **arrays)
    with torch.no_grad():
        expected = Mixed()(*(torch.from_numpy(array) for array in arrays.values()))
    for spec, value in zip(outputs, expected, strict=True):
        assert found[spec.name].dtype == spec.dtype
        np.testing.assert_array_equal(found[spec.name], value.numpy(), err_msg=spec.name)
    signature = inspect(path).signature
    assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [(spec.name, spec.dtype, spec.shape) for spec in specs]


def test_what_is_not_installed_or_has_no_packages_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = backend("coreai")
    assert packages.why_missing(facts.packages, facts.extra) is None
    known = metadata.version

    def without(name: str) -> str:
        if name == "coreai-torch":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", without)
    monkeypatch.setattr(packages, "is_here", lambda extra: True)
    said = packages.why_missing(facts.packages, facts.extra)
    assert said == "coreai-torch is not installed, and this needs it: pip install 'edgedistill[coreai]'"
    monkeypatch.setattr(packages, "is_here", lambda extra: False)
    assert "has no packages for this one" in str(packages.why_missing(facts.packages, facts.extra))


def test_a_file_whose_converter_is_not_here_is_not_lowered_and_the_others_are(norms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = packages.installed
    monkeypatch.setattr(packages, "installed", lambda names: {k: v for k, v in there(names).items() if k != "coreai-torch"})
    run: Any = SimpleNamespace(work=lambda *parts: norms.with_suffix(".pt2"))
    (file,) = lowering._refused(run, [ArtifactSpec("coreai", "int8"), ArtifactSpec("onnx", "fp32")])
    assert (file.name, file.format) == ("student-int8.aimodel", "coreai")
    assert file.reason.startswith("coreai-torch is not installed, and this needs it")


@pytest.mark.parametrize(
    ("machine", "libc", "found"),
    [
        ("aarch64", ("glibc", "2.36"), "none for Linux on aarch64"),
        ("x86_64", ("", ""), "such as musl"),
        ("x86_64", ("glibc", "2.31"), "glibc 2.31"),
    ],
)
def test_doctor_says_where_there_are_no_packages(machine: str, libc: tuple[str, str], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(doctor.platform, "machine", lambda: machine)
    monkeypatch.setattr(doctor.platform, "libc_ver", lambda: libc)
    (row,) = doctor.rows()
    assert row.status == "missing"
    assert found in row.found
    assert "Linux on x86-64 with glibc 2.34" in str(row.get)
