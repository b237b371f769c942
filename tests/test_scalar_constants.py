"""A quantized scalar constant keeps its value in what Core ML gets, which coremltools would dequantize in int8."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators of quantized programs
from torch import Tensor, nn

from edgedistill.backends.coreml.lower import lower
from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.executorch.partitioners import prepared
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec

SIGNATURE = Signature.of(
    [TensorSpec(name="x", dtype="float32", shape=(1, 3))],
    [TensorSpec(name=name, dtype="float32", shape=(1, 3)) for name in ("four", "minus_four", "shifted")],
)
# Value in steps, scale and zero point, as the quantizer chooses them: a positive constant has the range from 0 to itself.
CONSTANTS = ((127, 4 / 255, -128), (-128, 4 / 255, 127), (100, 0.05, -100))


class Scaled(nn.Module):
    """Products with constants that stand for 4, -4 and 10."""

    def __init__(self) -> None:
        super().__init__()
        for place, (steps, _, _) in enumerate(CONSTANTS):
            self.register_buffer(f"constant_{place}", torch.tensor(steps, dtype=torch.int8))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor
        stored = [getattr(self, f"constant_{place}") for place in range(len(CONSTANTS))]
        numbers = [dequantize(s, scale, zero, -128, 127, torch.int8) for s, (_, scale, zero) in zip(stored, CONSTANTS, strict=True)]
        return tuple(x * number for number in numbers)


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return torch.export.export(Scaled().eval(), (torch.zeros(1, 3),))


def test_a_package_has_the_value(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "scaled.mlpackage"
    lower(program, SIGNATURE, path, ArtifactSpec("coreml", "int8"), {"model": "scaled"})
    mil.prepare(1)
    x = np.array([[1.0, 2.0, -3.0]], np.float32)
    outputs = mil.load(str(path), 1)({"x": x})
    for (name, found), value in zip(outputs.items(), (4, -4, 10), strict=True):
        assert np.allclose(found, value * x, rtol=1e-6), name


def test_a_program_for_the_core_ml_delegate_has_it_in_floating_point(program: torch.export.ExportedProgram) -> None:
    spec = ArtifactSpec("executorch", "int8", delegate="coreml")
    folded = prepared(program, spec)
    assert not any("dequantize" in str(node.target) for node in folded.graph.nodes)
    x = torch.tensor([[1.0, 2.0, -3.0]])
    for found, expected in zip(folded.module()(x), program.module()(x), strict=True):
        assert torch.equal(found, expected)
    assert prepared(program, ArtifactSpec("executorch", "int8")) is program
