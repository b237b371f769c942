"""The Core ML executor on compressed weights: tables, blocks, sparse ones, and what coremltools.optimize writes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NAMES, plain
from test_mil_models import convert
from test_mil_operators import Case, check
from torch import nn

from edgedistill.backends.coreml.mil import float64 as mil


def test_compressed_weights_of_ios16(tmp_path: Path) -> None:
    """Indices and masks that are packed in bytes, the lowest bit first."""
    table = np.array([-1.0, 0.5, 2.0, 4.0], np.float32)
    indices = np.arange(15).reshape(3, 5) * 7 % 4
    bits = np.stack([indices.reshape(-1) & 1, indices.reshape(-1) >> 1], 1).reshape(-1)
    kept = np.arange(15).reshape(3, 5) % 3 == 0
    few = np.arange(1, 6, dtype=np.float32)
    sparse = np.zeros((3, 5))
    sparse[kept] = few
    steps = (np.arange(15).reshape(3, 5) - 7).astype(np.int8)
    scale, point = np.array([0.5, 1.0, 2.0], np.float32), np.array([1, 0, -1], np.int8)
    shape = np.array([3, 5], np.uint32)

    def weight(name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.linear(x=v, weight=getattr(mb, name)(**options))

    cases: dict[str, Case] = {
        "table": (
            weight("constexpr_lut_to_dense", indices=np.packbits(bits, bitorder="little"), lut=table, shape=shape),
            table.astype(np.float64)[indices].T,
        ),
        "sparse": (
            weight("constexpr_sparse_to_dense", nonzero_data=few, mask=np.packbits(kept, bitorder="little"), shape=shape),
            sparse.T,
        ),
        "affine": (
            weight("constexpr_affine_dequantize", quantized_data=steps, zero_point=point, scale=scale, axis=np.int32(0)),
            ((steps.astype(np.float64) - point[:, None]) * scale[:, None]).T,
        ),
    }
    check(tmp_path, (5, 5), cases, np.eye(5), "iOS16")


def test_compressed_weights_of_ios18(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil import types

    def small(value: Any, kind: Any) -> np.ndarray:
        return np.array(value).astype(types.nptype_from_builtin(kind))

    indices = np.arange(24).reshape(4, 6) * 5 % 4
    tables = np.arange(8, dtype=np.float32).reshape(2, 1, 4, 1) ** 2
    grouped = np.stack([tables[row // 2, 0, indices[row], 0] for row in range(4)]).astype(np.float64)
    vectors = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]], np.float32).reshape(1, 1, 4, 2)
    pairs = vectors[0, 0].astype(np.float64)[indices[:2]]
    data = np.arange(24).reshape(4, 6) % 16 - 8
    scale = np.arange(1, 13, dtype=np.float32).reshape(4, 3) / 8
    offset = np.arange(12).reshape(4, 3) % 5 - 2
    blocks = (data - np.repeat(offset, 2, 1)) * np.repeat(scale, 2, 1).astype(np.float64)
    mask = np.arange(24).reshape(4, 6) % 4 == 0
    few = np.arange(1, 7, dtype=np.float32)
    sparse = np.zeros((4, 6))
    sparse[mask] = few
    some = np.zeros((4, 6))
    some[mask] = tables[0, 0, [0, 1, 2, 3, 0, 1], 0]
    shifted = np.zeros((4, 6))
    shifted[mask] = (np.arange(6) - 3) * np.repeat(scale, 2, 1)[mask]

    def weight(build: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.linear(x=v, weight=build(mb))

    def lut(mb: Any, values: np.ndarray, table: np.ndarray, axis: Any = None) -> Any:
        return mb.constexpr_lut_to_dense(indices=small(values, types.uint2), lut=table, vector_axis=axis)

    def scaled(mb: Any, values: Any, **options: Any) -> Any:
        return mb.constexpr_blockwise_shift_scale(data=values, scale=scale, **options)

    def dense(mb: Any, sparse: Any) -> Any:
        return mb.constexpr_sparse_to_dense(nonzero_data=sparse[1], mask=sparse[0])

    bits = small(mask, types.uint1)
    few_steps = small(np.arange(6) - 3, types.int8)
    cases: dict[str, Case] = {
        "a table a group": (weight(lambda mb: lut(mb, indices, tables)), grouped.T),
        # Rows 0 and 1 of the indices give rows 0, 2 and 1, 3 of the vectors' entries.
        "vectors": (
            weight(lambda mb: lut(mb, indices[:2], vectors, np.int32(0))),
            np.stack([pairs[0, :, 0], pairs[0, :, 1], pairs[1, :, 0], pairs[1, :, 1]]).T,
        ),
        "blocks": (weight(lambda mb: scaled(mb, small(data, types.int4), offset=small(offset, types.int4))), blocks.T),
        "a table, then scales": (
            weight(lambda mb: mb.constexpr_blockwise_shift_scale(data=lut(mb, indices, tables), scale=scale)),
            (grouped * np.repeat(scale, 2, 1)).T,
        ),
        "sparse": (weight(lambda mb: mb.constexpr_sparse_to_dense(nonzero_data=few, mask=bits)), sparse.T),
        "sparse table": (
            weight(
                lambda mb: dense(
                    mb,
                    mb.constexpr_lut_to_sparse(
                        indices_mask=bits, indices_nonzero_data=small([0, 1, 2, 3, 0, 1], types.uint2), lut=tables[:1]
                    ),
                )
            ),
            some.T,
        ),
        "sparse blocks": (
            weight(lambda mb: dense(mb, mb.constexpr_sparse_blockwise_shift_scale(data_mask=bits, nonzero_data=few_steps, scale=scale))),
            shifted.T,
        ),
    }
    check(tmp_path, (6, 6), cases, np.eye(6), "iOS18")


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(48, 64), nn.Linear(64, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(image.flatten(1)).relu())


@pytest.fixture(scope="module")
def layers() -> tuple[Layers, Any, torch.Tensor]:
    """A float module, its package for iOS 18 and an image."""
    torch.manual_seed(0)
    module, image = Layers(), torch.rand(1, 3, 4, 4)
    return module, convert(module, image, "iOS18"), image


@pytest.mark.parametrize(("kind", "stored"), [("table", "constexpr_lut_to_dense"), ("blocks", "constexpr_blockwise_shift_scale")])
def test_weights_that_coremltools_compresses(kind: str, stored: str, layers: tuple[Layers, Any, torch.Tensor], tmp_path: Path) -> None:
    """A 4-bit table for every 16 rows, and int4 in blocks of 16 columns; the expectation is torch with the weights read back."""
    import coremltools.optimize.coreml as cto

    module, model, image = layers
    if kind == "table":
        table = {"mode": "uniform", "nbits": 4, "granularity": "per_grouped_channel", "group_size": 16}
        config, compress = cto.OpPalettizerConfig(**table, weight_threshold=1), cto.palettize_weights
    else:
        blocks = {"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 16}
        config, compress = cto.OpLinearQuantizerConfig(**blocks, weight_threshold=1), cto.linear_quantize_weights
    compressed = compress(model, cto.OptimizationConfig(op_type_configs={"linear": config}))
    path = tmp_path / "compressed.mlpackage"
    compressed.save(str(path))
    weights = _unpacked_by_coremltools(str(path), stored)
    output = plain(mil.load(str(path), 1, NAMES))(image.numpy())
    exact = module(image).detach().numpy()
    # Ten rows are no group of 16: the palettizer leaves the second layer as it is.
    assert len(weights) == (1 if kind == "table" else 2)
    assert np.abs(output - exact).max() > 1e-3
    expected = copy.deepcopy(module)
    for layer, weight in zip((expected.first, expected.second), weights, strict=False):
        np.testing.assert_allclose(weight, layer.weight.detach().numpy(), atol=0.04)
        layer.weight.data = torch.from_numpy(weight).float()
    np.testing.assert_allclose(output, expected(image).detach().numpy(), rtol=1e-5, atol=1e-6)


def _unpacked_by_coremltools(path: str, stored: str) -> list[np.ndarray]:
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(path, skip_model_load=True)
    spec = model.get_spec()
    program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
    found = [operation for operation in program.functions["main"].operations if operation.op_type.startswith("constexpr_")]
    assert {operation.op_type for operation in found} == {stored}
    return [operation.materialized_val_inference() for operation in found]
