"""Resizing as products and choices: what is written computes what it replaces."""

from collections.abc import Callable

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators of quantized programs
from made_graphs import Net, changed, names
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends.coreml.rank import leave_out_batch
from edgedistill.backends.coreml.rewrites import write_dilated_maxima, write_out
from edgedistill.backends.litert.constants import put_constants_behind
from edgedistill.export.resizing import choose_nearest, interpolate_by_products, resize_by_products
from edgedistill.quantize.pooling import pool_for_onnx

Compute = Callable[[nn.Module, Tensor], object]
ONE = torch.rand(1, 8, 12, 12)


@pytest.mark.parametrize(
    ("compute", "count"),
    [
        (lambda s, x: F.interpolate(x, size=(9, 20), mode="nearest"), 1),
        (lambda s, x: F.interpolate(x, scale_factor=1.3, mode="nearest"), 1),
        (lambda s, x: F.interpolate(x, size=(6, 6), mode="nearest"), 1),
        (lambda s, x: F.interpolate(x.flatten(2), size=200, mode="nearest"), 1),
        (lambda s, x: F.interpolate(x, size=(19, 7), mode="nearest-exact"), 1),
        (lambda s, x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), 1),
        (lambda s, x: F.interpolate(x, scale_factor=2, mode="nearest"), 0),
    ],
)
def test_the_nearest_value_is_a_choice_of_rows_and_columns(compute: Compute, count: int) -> None:
    graph = changed(Net(compute), choose_nearest, count)
    assert not any("exact" in name for name in names(graph))


@pytest.mark.parametrize(
    "compute",
    [
        lambda s, x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda s, x: F.interpolate(x, size=(9, 20), mode="bicubic", align_corners=True),
        lambda s, x: F.interpolate(x, size=(6, 5), mode="bilinear", antialias=True),
        lambda s, x: F.interpolate(x, size=(6, 1), mode="bicubic", antialias=True),
        lambda s, x: F.interpolate(x.unflatten(1, (2, 4)), size=(3, 5, 7), mode="trilinear"),
    ],
)
def test_interpolations_are_products(compute: Compute) -> None:
    graph = changed(Net(compute), interpolate_by_products, 1)
    assert not any("upsample" in name for name in names(graph))


def test_bilinear_resizing_is_a_product_where_factors_do_not_divide() -> None:
    changed(Net(lambda s, x: F.interpolate(x, scale_factor=1.3, mode="bilinear")), resize_by_products, 1)
    changed(Net(lambda s, x: F.interpolate(x, scale_factor=2, mode="bilinear")), resize_by_products, 0)


@pytest.mark.parametrize(
    ("rule", "compute", "count"),
    [
        (write_dilated_maxima, lambda s, x: F.max_pool2d(x, 3, 2, dilation=2), 1),
        (write_dilated_maxima, lambda s, x: F.max_pool2d(x, (3, 2), (1, 2), (1, 0), (1, 3)), 1),
        (write_dilated_maxima, lambda s, x: F.max_pool2d(x, 3, 2, 1), 0),
        (write_out, lambda s, x: torch.logit(x, 1e-3), 1),
        (write_out, lambda s, x: F.rms_norm(x, (12, 12), weight=s.w), 1),
        (write_out, lambda s, x: sum(s.cell(x.mean((2, 3)))), 1),
        (put_constants_behind, lambda s, x: s.one - x, 1),
        (put_constants_behind, lambda s, x: s.one / (x + 1) + 3 / (x + 2), 2),
        (put_constants_behind, lambda s, x: x / s.one - s.one, 0),
        (leave_out_batch, lambda s, x: x.view(1, 8, 6, 2, 6, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 32, 6, 6), 3),
        (leave_out_batch, lambda s, x: x.view(1, 8, 6, 2, 6, 2).mean(5), 0),
        (pool_for_onnx, lambda s, x: F.avg_pool2d(x, 3, 2, divisor_override=4), 1),
        (pool_for_onnx, lambda s, x: F.avg_pool2d(x, 3, 2), 0),
    ],
)
def test_what_one_converter_gets_wrong_is_written_out(rule: Callable[[torch.fx.GraphModule], int], compute: Compute, count: int) -> None:
    layers = {"w": nn.Parameter(torch.rand(12, 12)), "one": nn.Parameter(torch.full((1,), 2.0)), "cell": nn.LSTMCell(8, 8)}
    changed(Net(compute, **layers), rule, count, ONE)
