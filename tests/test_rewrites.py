"""What converters compute wrongly or not at all is rewritten before it reaches them: each rewrite computes what it replaces."""

from collections.abc import Callable

import pytest
import torch
from made_graphs import Net, changed, graph_of, names
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends.coreml.rewrites import join_circular_pads, write_out, write_strides
from edgedistill.backends.executorch.rewrites import write_out_gelu
from edgedistill.backends.litert.linear import flatten_vectors
from edgedistill.backends.litert.transposed import crop_outputs
from edgedistill.errors import UserError
from edgedistill.export.fences import fence_in
from edgedistill.export.resizing import resize_by_products
from edgedistill.quantize.activations import plain_activations
from edgedistill.quantize.graph import operators
from edgedistill.quantize.scheme import xnnpack_quantizer

IMAGE = torch.randn(1, 8, 13, 12)


@pytest.mark.parametrize("compute", [F.logsigmoid, F.hardshrink, lambda x: F.hardshrink(x, 0.2), F.celu, lambda x: F.celu(x, 0.5)])
def test_activations_that_coremltools_does_not_know_are_written_out(compute: Callable[[Tensor], Tensor]) -> None:
    changed(Net(lambda s, x: compute(x)), write_out, 1, IMAGE)


@pytest.mark.parametrize("pool", [torch.max_pool2d, torch.nn.functional.avg_pool2d, lambda x, k: torch.max_pool2d(x, k, [], 1)])
def test_a_pooling_without_a_stride_gets_that_of_its_window(pool: Callable[..., Tensor]) -> None:
    graph = changed(Net(lambda s, x: pool(x, 3)), write_strides, 1, IMAGE)
    (node,) = [node for node in graph.graph.nodes if node.op == "call_function"]
    assert node.args[2] == node.args[1]


@pytest.mark.parametrize("amounts", [(1, 2, 3, 4), (2, 0, 0, 1), (12, 0, 0, 0)])
def test_a_circular_padding_is_a_concatenation(amounts: tuple[int, ...]) -> None:
    changed(Net(lambda s, x: F.pad(x, amounts, mode="circular")), join_circular_pads, 1, IMAGE)
    changed(Net(lambda s, x: F.pad(x, amounts)), join_circular_pads, 0, IMAGE)


def test_a_linear_layer_of_one_vector_is_computed_on_two_dimensions() -> None:
    changed(Net(lambda s, x: s.l(x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1)), l=nn.Linear(8, 5)), flatten_vectors, 1, IMAGE)
    changed(Net(lambda s, x: s.l(x.permute(0, 2, 3, 1)), l=nn.Linear(8, 5)), flatten_vectors, 0, IMAGE)


def test_gelu_with_tanh_is_written_out_for_xnnpack() -> None:
    changed(Net(lambda s, x: F.gelu(x, approximate="tanh") + F.gelu(x)), write_out_gelu, 1, IMAGE)


@pytest.mark.parametrize("options", [{"scale_factor": 1.3}, {"scale_factor": (1.3, 2.0)}, {"scale_factor": 0.7}])
@pytest.mark.parametrize("align", [False, True])
def test_a_resizing_by_an_uneven_factor_is_two_products(options: dict[str, object], align: bool) -> None:
    changed(Net(lambda s, x: F.interpolate(x, mode="bilinear", align_corners=align, **options)), resize_by_products, 1, IMAGE)


def test_other_resizings_stay() -> None:
    for options in ({"scale_factor": 2}, {"size": (17, 19)}):
        changed(Net(lambda s, x, o=options: F.interpolate(x, mode="bilinear", **o)), resize_by_products, 0, IMAGE)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(8, 6, 3, 2, 1, 1),
        nn.ConvTranspose2d(8, 6, (1, 5), (1, 2), (0, 2), (0, 1), bias=False),
        nn.ConvTranspose2d(8, 8, (5, 3), (2, 1), (2, 0), (1, 0), groups=4),
        nn.ConvTranspose2d(8, 6, 3, 3, 2, 2, dilation=2),
    ],
    ids=str,
)
def test_an_output_padding_becomes_a_slice(layer: nn.Module) -> None:
    graph = changed(Net(lambda s, x: s.layer(x), layer=layer), crop_outputs, 1, IMAGE)
    assert sum("conv_transpose" in name for name in names(graph)) == 1


def test_an_output_padding_above_the_padding_is_refused_with_the_layer() -> None:
    graph = graph_of(Net(lambda s, x: s.layer(x), layer=nn.ConvTranspose2d(8, 6, 3, 2, 0, 1)), IMAGE)
    with pytest.raises(UserError, match=r"the layer layer is .* output_padding \[1, 1\] above its padding \[0, 0\]"):
        crop_outputs(graph)


def test_fences_stand_between_an_operator_and_its_quantizations() -> None:
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators

    ops = torch.ops.quantized_decomposed

    def compute(s: nn.Module, x: Tensor) -> Tensor:
        x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8), 0.02, 3, -128, 127, torch.int8)
        x = F.mish(x)
        return ops.dequantize_per_tensor(ops.quantize_per_tensor(x, 0.01, 0, -128, 127, torch.int8), 0.01, 0, -128, 127, torch.int8)

    graph = changed(Net(compute), lambda graph: fence_in(graph, operators(graph, (torch.ops.aten.mish.default,))), 1, IMAGE)
    (mish,) = [node for node in graph.graph.nodes if node.target == torch.ops.aten.mish.default]
    assert "dequantize" not in str(mish.args[0].target)
    assert not any("quantize" in str(user.target) for user in mish.users)


@pytest.mark.parametrize("layer", [nn.RReLU(), nn.RReLU(0.1, 0.5), nn.Hardtanh(-2, 3), nn.Threshold(1, -2)], ids=str)
def test_activations_become_what_converters_know(layer: nn.Module) -> None:
    graph = changed(Net(lambda s, x: s.layer(x), layer=layer), plain_activations, 1, IMAGE)
    (node,) = [node for node in graph.graph.nodes if node.op == "call_function"]
    assert "rrelu" not in str(node.target)
    assert all(isinstance(bound, float) for bound in node.args[1:])


@pytest.mark.parametrize("bounds", [(-1, 2), (None, 0.5), (0.1, None)])
def test_a_clamp_is_the_hardtanh_that_keeps_the_scale(bounds: tuple[float | None, float | None]) -> None:
    graph = changed(Net(lambda s, x: x.clamp(*bounds)), plain_activations, 1, IMAGE)
    assert names(graph) == {"aten.hardtanh.default"}


@pytest.mark.parametrize(("is_qat", "norm", "expected"), [(False, True, 0), (True, True, 2), (True, False, 0)])
def test_patterns_of_batch_norm_are_looked_for_only_where_there_is_one(is_qat: bool, norm: bool, expected: int) -> None:
    layers = [nn.Conv2d(8, 8, 1), *([nn.BatchNorm2d(8)] if norm else [])]
    quantizer = xnnpack_quantizer(graph_of(nn.Sequential(*layers), IMAGE), is_qat=is_qat)
    assert sum("_bn" in pattern.name for pattern in quantizer.SUPPORTED_PATTERNS) == expected
    assert any(pattern.name == "conv" for pattern in quantizer.SUPPORTED_PATTERNS)


def test_each_constant_of_an_onnx_file_is_read_by_one_dequantization() -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from edgedistill.backends.onnx.lower import separate_constants

    constants = {"w": np.ones((2, 2), np.int8), "s": np.float32([1, 2]), "z": np.zeros(2, np.int8)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], [f"w{i}"], axis=0) for i in range(3)]
    # One of them has two readers.
    nodes += [helper.make_node("Sum", ["w0", "w1", "w2"], ["x"]), helper.make_node("Add", ["x", "w0"], ["y"])]
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 2))])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model = helper.make_model(graph)
    separate_constants(model)
    read = [name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in (node.input[0], node.input[2])]
    assert len(set(read)) == 8
    names = [initializer.name for initializer in model.graph.initializer]
    assert len(set(names)) == len(names)
    assert set(read) <= set(names)
