"""MIL's quantize and dequantize, and the compressed weights (constexpr) that a program unpacks when it is loaded.

The scales of compressed weights stay in float64: coremltools would round their products to the program's float type.
"""

from typing import Any

import numpy as np
import torch

from edgedistill.backends.coreml.mil.values import Operator, Tensor, channelwise, ints


def _quantize(input: Tensor, scale: Tensor, output_dtype: Any, zero_point: Any = None, axis: Any = None) -> Tensor:
    low, high = (0, 255) if output_dtype == "uint8" else (-128, 127)
    # torch.round rounds half to even, as the specification asks.
    steps = torch.round(input / channelwise(scale, input, axis))
    shift = 0.0 if zero_point is None else channelwise(zero_point, input, axis)
    return torch.clamp(steps + shift, low, high)


def _dequantize(input: Tensor, scale: Tensor, zero_point: Any = None, axis: Any = None) -> Tensor:
    shift = 0.0 if zero_point is None else channelwise(zero_point, input, axis)
    return (input - shift) * channelwise(scale, input, axis)


def _affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Any) -> Tensor:
    return _dequantize(quantized_data, scale, zero_point, axis)


def _blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Any = None) -> Tensor:
    """Each scale holds for a block of `data`, whose size on an axis is the quotient of the two sizes."""
    shifted = data if offset is None else data - _to_blocks(offset, data)
    return shifted * _to_blocks(scale, data)


def _to_blocks(parameter: Tensor, like: Tensor) -> Tensor:
    for axis, size in enumerate(like.shape):
        parameter = parameter.repeat_interleave(size // parameter.shape[axis], axis)
    return parameter


def _lut_to_dense(indices: Tensor, lut: Tensor, shape: Any = None, vector_axis: Any = None) -> Tensor:
    """iOS 16 packs the indices in bytes and has one table; iOS 18 has indices [*shape] and tables [*groups, entries, vector]."""
    if shape is not None:
        sizes = ints(shape)
        return lut[_unpacked(indices, int(np.log2(len(lut))), int(np.prod(sizes)))].reshape(sizes)
    tables = lut
    for axis, size in enumerate(indices.shape):
        tables = tables.repeat_interleave(size // tables.shape[axis], axis)
    chosen = indices.long()[..., None, None].expand([*indices.shape, 1, lut.shape[-1]])
    vectors = tables.gather(-2, chosen).squeeze(-2)
    if lut.shape[-1] == 1:
        return vectors.squeeze(-1)
    axis = int(vector_axis) % indices.ndim
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """`count` indices of `bits` each from bytes, the lowest bit first."""
    lowest_first = np.unpackbits(packed.numpy().astype(np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    return torch.from_numpy(lowest_first.astype(np.int64) @ (1 << np.arange(bits)))


def _sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Any = None) -> Tensor:
    """iOS 16 packs the mask in bytes, iOS 18 has it as [*shape]."""
    if shape is not None:
        sizes = ints(shape)
        mask = _unpacked(mask, 1, int(np.prod(sizes))).reshape(sizes)
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


def _lut_to_sparse(indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: Any = None) -> tuple[Tensor, Tensor]:
    dense = _lut_to_dense(_sparse_to_dense(indices_nonzero_data, indices_mask), lut, vector_axis=vector_axis)
    mask = indices_mask if vector_axis is None else indices_mask.repeat_interleave(lut.shape[-1], int(vector_axis))
    return mask, dense[mask != 0]


def _sparse_blockwise_shift_scale(data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Any = None) -> tuple[Tensor, Tensor]:
    dense = _blockwise_shift_scale(_sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


QUANTIZED: dict[str, Operator] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": lambda source_val, output_dtype: source_val,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": _sparse_to_dense,
    "dequantize": _dequantize,
    "quantize": _quantize,
}
