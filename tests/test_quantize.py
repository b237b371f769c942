"""Quantization-aware training and the quantized state, on a network with a batch norm of its own eps."""

import copy

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.state import QuantizedState, convert, digest, state_tensors
from edgedistill.quantize.ties import break_ties
from edgedistill.tasks.classification.temperature_scaling import divide_layer
from edgedistill.tasks.image_classification.models import signature
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.verify.reference import Reference


def network() -> Preprocessed:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), BatchNormAct2d(8, eps=1e-2, momentum=0.3),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), BatchNormAct2d(8, eps=1e-2, momentum=0.3),
        nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 4),
    ]  # fmt: skip
    return Preprocessed(nn.Sequential(*layers), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


IMAGES = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def trained() -> QATModule:
    module = prepare_qat(plain_batchnorm(network().eval()), signature(16, 10))
    labels = (IMAGES.mean(dim=(1, 2, 3)) * 400).long() % 4
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-2)
    module.train()
    for _ in range(20):
        loss = nn.functional.cross_entropy(module(IMAGES), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@pytest.fixture(scope="module")
def state(trained: QATModule) -> QuantizedState:
    return convert(trained.eval().graph_module, signature(16, 10))


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: nn.Module, ending: str) -> bool:
    return any(not torch.equal(value, module.state_dict()[name]) for name, value in before.items() if name.endswith(ending))


def test_normalisation_is_inside_the_program() -> None:
    module = network().eval()
    by_hand = (IMAGES - torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / torch.tensor([0.2, 0.25, 0.3]).reshape(3, 1, 1)
    assert torch.allclose(module(IMAGES), module.model(by_hand), atol=1e-5)


def test_plain_batchnorm_computes_the_same_and_leaves_no_buffer_to_mutate() -> None:
    module = network().eval()
    plain = plain_batchnorm(module)
    assert not any(isinstance(m, BatchNormAct2d) for m in plain.modules())
    assert torch.equal(plain(IMAGES), module(IMAGES))
    program = torch.export.export(plain, (IMAGES[:1],))
    assert not program.graph_signature.buffers_to_mutate


def test_evaluation_changes_neither_scales_nor_statistics(trained: QATModule) -> None:
    before = snapshot(trained)
    first = trained(IMAGES)
    assert torch.equal(first, trained(IMAGES))
    assert torch.allclose(first[:1], trained(IMAGES[:1]), atol=1e-4), "evaluation must not depend on the batch"
    assert not changed(before, trained, "")


def test_preparing_keeps_the_eps_of_batch_norm() -> None:
    from edgedistill.quantize import qat

    module = plain_batchnorm(network().eval())
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_var.mul_(0.01)
    absorbed = qat._with_default_eps(module)
    assert {m.eps for m in absorbed.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    assert torch.allclose(absorbed(IMAGES), module(IMAGES), rtol=1e-4, atol=1e-4)


def test_freezing_stops_statistics_and_then_ranges(trained: QATModule) -> None:
    kept = snapshot(trained)
    try:
        trained.train()
        trained.freeze(batchnorm=True, observers=False)
        trained(IMAGES * 3)
        assert not changed(kept, trained, "running_mean")
        assert changed(kept, trained, "max_val")
        ranges = snapshot(trained)
        trained.freeze(batchnorm=True, observers=True)
        trained(IMAGES * 9)
        assert not changed(ranges, trained, "max_val")
    finally:
        trained.freeze(batchnorm=False, observers=False)
        trained.eval()
        trained.load_state_dict(kept)


def test_folding_batch_norm_changes_neither_the_function_nor_an_int8_weight(trained: QATModule) -> None:
    from edgedistill.quantize.fold import fold_batchnorm

    for convolution in (nn.Conv2d(3, 8, 3, bias=True), nn.Conv2d(3, 8, 3, bias=False)):
        net = nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        nn.init.uniform_(net[1].weight, 0.5, 2)
        nn.init.normal_(net[1].bias)
        module = prepare_qat(net.eval(), signature(16, 10)).train()
        for _ in range(3):
            module(IMAGES)
        module.eval()
        graph = copy.deepcopy(module.graph_module)
        assert fold_batchnorm(graph) == 1
        assert "batch_norm" not in str(graph.graph)
        with torch.no_grad():
            folded, trained_outputs = graph(IMAGES), module(IMAGES)
        assert torch.allclose(folded, trained_outputs, atol=float(trained_outputs.abs().max()) * 0.02)
        assert (folded == trained_outputs).float().mean() > 0.9, "a step of the last scale where rounding differs, no more"
    assert fold_batchnorm(copy.deepcopy(trained.graph_module)) == 3


def test_a_batch_norm_behind_something_else_is_a_convolution(trained: QATModule) -> None:
    from edgedistill.quantize.fold import fold_batchnorm

    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    graph = prepare_qat(net.eval(), signature(16, 10)).eval().graph_module
    assert fold_batchnorm(graph) == 0
    assert "batch_norm" not in str(graph.graph)


POOLS = [
    (nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), 8, 1),
    (nn.AvgPool2d((2, 3), 1, padding=1), 8, 1),
    (nn.AvgPool2d(2, 2, ceil_mode=True), 7, 4),
    (nn.AvgPool2d(3, 2, ceil_mode=True), 16, 4),
    (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), 8, 4),
    (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), 7, 9),
    (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), 8, 9),
    (nn.AvgPool2d(2, 3, ceil_mode=True), 8, 1),
    (nn.AvgPool2d(5, 3, padding=2, ceil_mode=True, count_include_pad=False), 10, 9),
    (nn.AvgPool2d((3, 1), (2, 1), ceil_mode=True), 8, 2),
    (nn.AvgPool2d(2, divisor_override=3), 8, 1),
    (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, divisor_override=7), 8, 9),
    (nn.AvgPool1d(3, 2, ceil_mode=True), 8, 2),
    (nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), 7, 3),
    (nn.AvgPool3d(2, 2, ceil_mode=True), 7, 8),
    (nn.AvgPool3d(2, divisor_override=3), 8, 1),
]
"""Average poolings, the size of an image, and how many convolutions they become."""


@pytest.mark.parametrize(("pool", "size", "pieces"), POOLS, ids=str)
def test_average_pooling_becomes_convolutions(pool: nn.Module, size: int, pieces: int) -> None:
    from edgedistill.quantize.pooling import pool_by_convolution

    images = torch.rand(2, 5, *[size] * int(type(pool).__name__[-2]))
    graph = torch.export.export(pool, (images,)).module(check_guards=False)
    assert pool_by_convolution(graph) == 1
    assert str(graph.graph).count("aten.conv") == pieces
    assert graph(images).shape == pool(images).shape
    assert torch.allclose(graph(images), pool(images), atol=1e-6)
    assert not list(graph.parameters()), "the weights of an average are not trained"


@pytest.mark.parametrize(("pool", "size", "pieces"), POOLS, ids=str)
def test_only_what_core_ml_computes_differently_is_replaced_for_it(pool: nn.Module, size: int, pieces: int) -> None:
    from edgedistill.quantize.pooling import pool_for_core_ml

    images = torch.rand(2, 5, *[size] * int(type(pool).__name__[-2]))
    graph = torch.export.export(pool, (images,)).module(check_guards=False)
    assert pool_for_core_ml(graph) == ((pool.ceil_mode and pieces > 1) or getattr(pool, "divisor_override", None) is not None)
    assert torch.allclose(graph(images), pool(images), atol=1e-6)


class Sum(nn.Module):
    """An addition whose output lies between two steps for every odd second input, and a flatten that shares its scale."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ops, bounds = torch.ops.quantized_decomposed, (-128, 127, torch.int8)
        total = ops.dequantize_per_tensor(a, 0.5, 0, *bounds) + ops.dequantize_per_tensor(b, 0.25, 0, *bounds)
        total = ops.dequantize_per_tensor(ops.quantize_per_tensor(total.relu(), 0.5, -3, *bounds), 0.5, -3, *bounds)
        return ops.dequantize_per_tensor(ops.quantize_per_tensor(total.flatten(1), 0.5, -3, *bounds), 0.5, -3, *bounds)


def test_no_sum_lies_in_the_middle_between_two_steps() -> None:
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators

    a, b = torch.arange(40, dtype=torch.int8).reshape(1, 40), torch.ones(1, 40, dtype=torch.int8)
    graph = torch.export.export(Sum(), (a, b)).module(check_guards=False)
    sums = a * 0.5 + b * 0.25
    before = {n.args[1] for n in graph.graph.nodes if "quantize" in str(n.target)}
    assert break_ties(graph) == 1
    after = [n.args[1] for n in graph.graph.nodes if "quantize" in str(n.target)]
    (widened,) = set(after) - before
    assert after == [0.5, 0.25, *[widened] * 4], "the inputs keep their scales, and what shares the sum's scale goes with it"
    assert widened == pytest.approx(0.5, rel=1.01e-3)
    assert ((sums / 0.5) % 1 == 0.5).all()
    assert ((sums / widened) % 1 - 0.5).abs().min() > 1e-4
    assert (graph(a, b) - sums).abs().max() <= 0.501 * widened


def test_biases_of_the_state_are_int32_at_the_product_of_the_scales(state: QuantizedState) -> None:
    tensors = state_tensors(state.converted)
    biases = [name for name in tensors if name.endswith(".bias")]
    assert len(biases) == 5
    nodes = [n for n in state.converted.graph.nodes if n.target in (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)]
    for name in biases:
        layer = name.split(".")[0]
        scale = tensors[f"{layer}.input_scale"].float() * tensors[f"{layer}.weight_scale"].float()
        stored = dict(state.converted.named_parameters())[nodes[int(layer)].args[2].target]
        assert tensors[name].dtype == torch.int32
        assert torch.allclose(stored, tensors[name] * scale, rtol=1e-6, atol=0)


def test_float_weights_of_the_unfolded_form_lie_on_the_int8_grid(state: QuantizedState) -> None:
    aten = torch.ops.aten
    folded = [value for name, value in state_tensors(state.converted).items() if name.endswith(".weight")]
    for node, expected in zip(operators(state.unfolded, (aten.conv2d.default, aten.linear.default)), folded, strict=True):
        quantizer = node.args[1].args[0]
        weight, scale = (tensor_of(state.unfolded, argument).double() for argument in quantizer.args[:2])
        steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert torch.allclose(steps, expected.double(), atol=1e-4), "any way of dividing rounds to the same integer"


def test_both_forms_are_one_program(state: QuantizedState, trained: QATModule) -> None:
    assert torch.equal(state.converted(IMAGES), state.unfolded(IMAGES))
    assert not [n for n in state.converted.graph.nodes if n.target == torch.ops.aten.batch_norm.default]
    steps = (state.converted(IMAGES) - trained(IMAGES)).abs() / state.output_scale["logits"]
    assert steps.mean() < 0.5, "converting must not change what was trained"


def test_a_temperature_changes_the_scale_of_the_logits_and_no_integer(state: QuantizedState, trained: QATModule) -> None:
    cooled = convert(trained.eval().graph_module, signature(16, 10), 2.0)
    assert cooled.temperature == 2.0
    for form in ("converted", "unfolded"):
        assert torch.allclose(getattr(cooled, form)(IMAGES), getattr(state, form)(IMAGES) / 2, rtol=1e-6)
    before, after = state_tensors(state.converted), state_tensors(cooled.converted)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"4.weight_scale", "output.scale", "activations"}
    assert cooled.output_scale["logits"] == pytest.approx(state.output_scale["logits"] / 2)
    assert cooled.sha256 != state.sha256


def test_a_temperature_stays_out_of_a_network_that_does_not_end_in_a_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU6())
    module = prepare_qat(net.eval(), signature(16, 10)).train()
    module(IMAGES)
    assert convert(module.eval().graph_module, signature(16, 10), 2.0).temperature == 1.0
    assert torch.equal(
        convert(module.eval().graph_module, signature(16, 10), 2.0).unfolded(IMAGES),
        convert(module.eval().graph_module, signature(16, 10)).unfolded(IMAGES),
    )


def test_a_temperature_goes_into_the_classifier_of_a_float_model() -> None:
    model = timm.create_model("test_resnet", num_classes=4).eval()
    before = model(IMAGES)
    assert divide_layer(model.get_classifier(), 2.0)
    assert torch.allclose(model(IMAGES), before / 2, atol=1e-6)
    assert not divide_layer(timm.create_model("test_resnet", num_classes=0).get_classifier(), 2.0)


def test_the_hash_tells_when_the_state_changes(state: QuantizedState) -> None:
    assert digest(state_tensors(state.converted)) == state.sha256
    other = copy.deepcopy(state.converted)
    last = next(n for n in other.graph.nodes if n.target == torch.ops.aten.linear.default)
    with torch.no_grad():
        other.get_parameter(last.args[2].target).add_(0.5)
    assert digest(state_tensors(other)) != state.sha256


def test_the_reference_is_the_converted_program_without_float32_rounding(state: QuantizedState) -> None:
    reference = Reference(state.converted)
    steps = (reference(IMAGES) - state.converted(IMAGES)).abs() / state.output_scale["logits"]
    assert steps.max() <= 1.01
    assert steps.mean() < 0.1
    assert torch.equal(reference(IMAGES)[:1], reference(IMAGES[:1])), "in float64 the batch size changes nothing"


def test_a_relu6_is_quantized_once_behind_its_convolution() -> None:
    layers = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.ReLU6(inplace=True)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    module = prepare_qat(net, signature(16, 10))
    module.train()(IMAGES * 60)
    graph = convert(module.eval().graph_module, signature(16, 10)).converted
    clamps = operators(graph, (torch.ops.aten.hardtanh.default, torch.ops.aten.hardtanh_.default))
    assert [tuple(node.args[1:]) for node in clamps] == [(0.0, 6.0)] * 2
    assert [node.args[0].target for node in clamps] == [torch.ops.aten.conv2d.default] * 2
    quantized = [user for node in clamps for user in node.users]
    for node in quantized:
        assert node.target == torch.ops.quantized_decomposed.quantize_per_tensor.default
        assert node.args[2] == -128, "no step is spent on negative values"
        assert 255 * node.args[1] <= 6.0 * (1 + 1e-6)


def test_a_mean_has_a_scale_of_its_own(state: QuantizedState) -> None:
    ops = torch.ops.quantized_decomposed
    (mean,) = operators(state.converted, (torch.ops.aten.adaptive_avg_pool2d.default,))
    (quantize,) = mean.users
    assert quantize.args[1] < mean.args[0].args[1] * 0.9, "its range is narrower"
    behind = operators(state.converted, (torch.ops.aten.linear.default,))[0].args[0]
    assert behind.target == ops.dequantize_per_tensor.default
    assert behind.args[1:3] == quantize.args[1:3], "what flattening passes on keeps the mean's scale"


@pytest.mark.parametrize(("size", "changed"), [(2, False), (6, True), (8, True)])
def test_a_mean_over_one_value_keeps_its_scale(size: int, changed: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    module = prepare_qat(net, signature(size, 10))
    module.train()(torch.rand(4, 3, size, size))
    (mean,) = operators(convert(module.eval().graph_module, signature(16, 10)).converted, (torch.ops.aten.adaptive_avg_pool2d.default,))
    (quantize,) = mean.users
    assert (quantize.args[1] != mean.args[0].args[1]) is changed
