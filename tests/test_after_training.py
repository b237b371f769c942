"""Int8 without training: channels that are equalised, biases that are corrected, weights whose rounding is fitted."""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import pytest
import torch
from made_graphs import Net, graph_of
from torch import Tensor, nn

from edgedistill.backends.base import STATIC
from edgedistill.errors import UserError
from edgedistill.quantize import tune
from edgedistill.quantize.after_training import WAYS, quantized
from edgedistill.quantize.channels import spans
from edgedistill.quantize.equalize import equalize
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.qat import prepare_qat
from edgedistill.quantize.reconstruct import _rounded
from edgedistill.quantize.scheme import exported
from edgedistill.quantize.state import convert
from edgedistill.recipe.quantize import Quantize
from edgedistill.signature import Signature, TensorSpec

IMAGES = torch.rand(64, 8, 12, 12, generator=torch.Generator().manual_seed(0))
SIGNATURE = Signature.of([TensorSpec(name="image", shape=(1, 8, 12, 12))], [TensorSpec(name="logits", shape=(1, 5))])
SHOWN = [(part,) for part in IMAGES.split(16)]


def conv(inside: int, outside: int, kernel: int = 1, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2, **options)


def uneven(layer: nn.Conv2d | nn.Linear | nn.LayerNorm | nn.BatchNorm2d) -> nn.Module:
    """The layer, whose channels have ranges from 1 to 1/100."""
    with torch.no_grad():
        factors = torch.logspace(0, -2, len(layer.weight))
        layer.weight.mul_(factors.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        # Above 0, so that no channel is cut off by a ReLU.
        layer.bias.copy_(3 * factors)  # type: ignore[union-attr]
    return layer


def classifier(*layers: nn.Module, channels: int = 16) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def residual(m: nn.Module, x: Tensor) -> Tensor:
    first = m.stem(x)
    return m.head((first + m.branch(first)).mean((2, 3)))


def gated(m: nn.Module, x: Tensor) -> Tensor:
    first = torch.relu(m.stem(x))
    gate = torch.sigmoid(m.expand(torch.relu(m.squeeze(first.mean((2, 3), keepdim=True)))))
    return m.head((m.project(first * gate)).mean((2, 3)))


def tokens(m: nn.Module, x: Tensor) -> Tensor:
    rows = x.flatten(2).transpose(1, 2)
    return m.head(m.mix(torch.nn.functional.gelu(m.first(m.norm(rows)))).mean(1))


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "a convolution, ReLU, a convolution": (lambda: classifier(uneven(conv(8, 16)), nn.ReLU(), conv(16, 16, 3)), 2),
    "batch norm": (lambda: classifier(conv(8, 16), uneven(nn.BatchNorm2d(16)), nn.ReLU(), conv(16, 16)), 2),
    "depthwise and pooling": (lambda: classifier(uneven(conv(8, 16)), nn.MaxPool2d(2), conv(16, 16, 3, groups=16), conv(16, 16)), 3),
    "groups": (lambda: classifier(uneven(conv(8, 16)), nn.ReLU(), conv(16, 16, 3, groups=4)), 2),
    "average pooling": (lambda: classifier(uneven(conv(8, 16)), nn.AvgPool2d(2), conv(16, 16)), 2),
    "a sum": (lambda: Net(residual, stem=uneven(conv(8, 16)), branch=uneven(conv(16, 16)), head=nn.Linear(16, 5)), 1),
    "a gate": (
        lambda: Net(
            gated, stem=uneven(conv(8, 16)), squeeze=conv(16, 4), expand=conv(4, 16), project=conv(16, 16), head=nn.Linear(16, 5)
        ), 2,
    ),
    "layer norm": (lambda: Net(tokens, norm=uneven(nn.LayerNorm(8)), first=nn.Linear(8, 8), mix=nn.Linear(8, 6), head=nn.Linear(6, 5)), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_equalised_channels_change_no_bit(name: str) -> None:
    torch.manual_seed(0)
    build, expected = NETS[name]
    graph = exported(build(), SIGNATURE)
    before = graph(IMAGES)
    wide = largest(graph, spans(graph)[0])
    assert equalize(graph, SHOWN) == expected
    assert torch.equal(graph(IMAGES), before)
    assert largest(graph, spans(graph)[0]) < wide / 4


def largest(graph: torch.fx.GraphModule, span: object) -> float:
    """How far the ranges of the channels of a span lie apart."""
    found: dict[str, Tensor] = {}

    class Noting(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            value = super().run_node(n)
            found[n.name] = value  # type: ignore[assignment]
            return value

    with torch.no_grad():
        Noting(graph).run(IMAGES)
    (node, *_) = span.rounded  # type: ignore[attr-defined]
    ranges = found[node.name].abs().movedim(span.values[node], 0)  # type: ignore[attr-defined].flatten(1).amax(1)
    return float(ranges.max() / ranges[ranges > 0].min())


BLOCKED = {
    "Hardswish": nn.Hardswish(),
    "ReLU6": nn.ReLU6(),
    "GELU": nn.GELU(),
    "softmax": nn.Softmax(1),
    "group norm": nn.GroupNorm(4, 16),
    "PReLU": nn.PReLU(16),
}


@pytest.mark.parametrize("name", BLOCKED)
def test_what_is_not_scaled_alike_ends_a_span(name: str) -> None:
    graph = exported(classifier(conv(8, 16), BLOCKED[name], conv(16, 16)), SIGNATURE)
    (span,) = spans(graph)
    assert [writer.target for writer in span.writers] == [torch.ops.aten.conv2d.default]
    assert [reader.target for reader in span.readers] == [torch.ops.aten.linear.default]


def test_a_tensor_that_is_given_out_is_not_scaled() -> None:
    net = Net(lambda m, x: (first := m.first(x), m.second(first)), first=conv(8, 16), second=conv(16, 4))
    assert spans(graph_of(net)) == []
    same = Net(lambda m, x: (first := torch.relu(m.first(x)), m.second(first))[1], first=conv(8, 16), second=conv(16, 4))
    assert len(spans(graph_of(same))) == 1


def test_a_gate_that_is_read_as_a_tensor_is_not_scaled() -> None:
    net = Net(lambda m, x: m.second((first := m.first(x)) * torch.sigmoid(first)), first=conv(8, 16), second=conv(16, 4))
    assert spans(graph_of(net)) == []


def error(way: str, net: nn.Module) -> float:
    """The mean square error of the logits after quantization, in parts of their variance."""
    exact = net(IMAGES)
    given = quantized(copy.deepcopy(net), SIGNATURE, SHOWN, way).converted(IMAGES)
    return float((given - exact).square().mean() / exact.var())


def test_each_way_is_better_where_channels_are_uneven() -> None:
    torch.manual_seed(0)
    inner = conv(16, 16, 3)
    with torch.no_grad():
        # What reads the narrow channels has large weights, as in a trained network.
        inner.weight.mul_(torch.logspace(0, 2, 16).reshape(1, -1, 1, 1))
    net = classifier(uneven(conv(8, 16)), nn.ReLU(), inner, nn.ReLU(), conv(16, 16)).eval()
    with torch.no_grad():
        errors = [error(way, net) for way in WAYS]
    assert errors[1] < errors[0] / 4, errors
    assert errors[2] < errors[1], errors
    assert errors[3] < errors[0] / 5, errors
    assert errors[4] < errors[0] / 3, errors


class Tokens(nn.Module):
    """Whole numbers beside an image, and two outputs, of one sample at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head, self.other = nn.Embedding(9, 8), nn.Linear(8, 5), nn.Linear(8, 3)

    def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both = torch.relu(image.mean((2, 3)) + self.words(tokens).mean(1)).view(1, 8)
        return self.head(both), self.other(both) * 20, tokens.amax(1)


def test_tuning_takes_one_sample_at_a_time_whole_numbers_and_several_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net, tokens = Tokens().eval(), torch.randint(0, 9, (64, 4))
    before = copy.deepcopy(net.state_dict())
    inputs = [TensorSpec(name="image", shape=(1, 8, 12, 12)), TensorSpec(name="tokens", dtype="int64", shape=(1, 4))]
    outputs = [TensorSpec(name=name, shape=(1, size)) for name, size in (("logits", 5), ("other", 3))]
    signature = Signature.of(inputs, [*outputs, TensorSpec(name="largest", dtype="int64", shape=(1,))])
    shown = [(image[None], token[None]) for image, token in zip(IMAGES, tokens, strict=True)]
    monkeypatch.setattr(tune, "_STEPS", 40)
    state = quantized(net, signature, shown, "tuned", any_batch=False)
    with torch.no_grad():
        for given, exact, scale in zip(state.converted(*shown[0]), net(*shown[0]), (*state.output_scale.values(), 1), strict=True):
            assert (given - exact).abs().max() < 6 * scale
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "the student itself is not trained"


def test_a_model_of_whole_numbers_has_nothing_to_be_tuned_to() -> None:
    net = Net(lambda s, x: s.layer(x.mean((2, 3))).argmax(1), layer=nn.Linear(8, 5)).eval()
    signature = Signature.of([TensorSpec(name="image", shape=(1, 8, 12, 12))], [TensorSpec(name="best", dtype="int64", shape=(1,))])
    with pytest.raises(UserError, match="whole numbers only"):
        quantized(net, signature, SHOWN, "tuned")


def test_corrected_biases_leave_no_mean_error() -> None:
    torch.manual_seed(0)
    net = classifier(conv(8, 16), nn.ReLU(), conv(16, 16, 3), nn.Hardswish()).eval()
    with torch.no_grad():
        off = [(quantized(net, SIGNATURE, SHOWN, way).converted(IMAGES) - net(IMAGES)).mean(0).abs().max() for way in WAYS[1:3]]
    assert off[1] < off[0] / 2, off


def test_fitted_rounding_is_better_than_the_nearest_for_what_a_layer_reads() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, scale = torch.randn(6, 12, generator=generator), torch.full((6,), 0.3)
    # Inputs that go together.
    inputs = torch.randn(500, 2, generator=generator) @ torch.randn(2, 12, generator=generator)
    inputs = inputs + 0.05 * torch.randn(500, 12, generator=generator)
    fitted = _rounded(weight, scale, 1, (inputs.mT @ inputs).double()[None])
    nearest = (weight / scale[:, None]).round() * scale[:, None]
    assert torch.equal((fitted / scale[:, None]).round() * scale[:, None], fitted), "on the grid"
    assert (inputs @ (fitted - weight).mT).square().mean() < (inputs @ (nearest - weight).mT).square().mean() / 2
    # Inputs that have nothing to do with each other leave nothing to make up for.
    assert torch.equal(_rounded(weight, scale, 1, torch.eye(12, dtype=torch.float64)[None]), nearest)


def test_the_program_has_the_weights_that_were_fitted() -> None:
    torch.manual_seed(0)
    net = classifier(conv(8, 16), nn.ReLU(), conv(16, 16, 3, groups=16)).eval()
    plain, fitted = (quantized(net, SIGNATURE, SHOWN, way) for way in ("corrected", "rounded"))
    different = [not torch.equal(plain_, fitted_) for plain_, fitted_ in zip(*map(weights, (plain, fitted)), strict=True)]
    assert any(different)
    apart = [(a.int() - b.int()).abs().max() for a, b in zip(*map(weights, (plain, fitted)), strict=True)]
    assert max(apart) <= 20, "a weight moves by some steps at most"


def weights(state: object) -> list[Tensor]:
    graph = state.converted  # type: ignore[attr-defined]
    steps = operators(graph, (torch.ops.quantized_decomposed.dequantize_per_channel.default,))
    return [tensor_of(graph, node.args[0]) for node in steps]


def test_learned_ranges_are_trained_and_go_into_the_program() -> None:
    torch.manual_seed(0)
    net = classifier(conv(8, 16), nn.ReLU(), conv(16, 16, 3)).eval()
    module = prepare_qat(net, SIGNATURE, learned=True)
    factors = [value for name, value in module.named_parameters() if name.endswith("log_factor")]
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    module.train()
    losses = []
    for step in range(12):
        if step == 4:
            assert not any(factor.any() for factor in factors), "ranges are observed at first"
            module.freeze(batchnorm=True, observers=True)
        loss = module(IMAGES).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert all(factor.any() for factor in factors)
    assert all(after < before for before, after in pairwise(losses[4:]))
    given = module.eval()(IMAGES)
    state = convert(module.graph_module, SIGNATURE)
    scale = next(reversed([value for name, value in module.named_buffers() if name.endswith(".scale") and value.numel() == 1]))
    steps = (state.converted(IMAGES) - given).abs() / state.output_scale["logits"]
    assert steps.max() <= 3.01
    assert abs(state.output_scale["logits"] / float(scale) - 1) > 0.01, "the learned scale, and not the observed one"


def scales(net: nn.Module) -> dict[str, float]:
    """The scale of the output of each operator of the calibrated program."""
    graph = quantized(net.eval(), SIGNATURE, SHOWN, "static").converted
    steps = operators(graph, (torch.ops.quantized_decomposed.quantize_per_tensor.default,))
    return {node.args[0].name: float(node.args[1]) for node in steps}  # type: ignore[union-attr, arg-type]


SATURATING = {
    "hardswish": (nn.Hardswish(), 3),
    "hardsigmoid": (nn.Hardsigmoid(), 3),
    "silu": (nn.SiLU(), 8),
    "gelu": (nn.GELU(), 4),
    "sigmoid": (nn.Sigmoid(), 8),
}


@pytest.mark.parametrize("name", SATURATING)
def test_no_steps_are_spent_on_what_an_activation_does_not_tell_apart(name: str) -> None:
    activation, bound = SATURATING[name]
    layer = conv(8, 16)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-9, -1, 128).reshape(16, 8, 1, 1))
    found = scales(classifier(layer, activation))
    assert found["conv2d"] <= (bound + 1) / 255, "from the bound to 0"
    assert scales(classifier(layer, nn.PReLU(16)))["conv2d"] > 2 * found["conv2d"]


def test_a_global_average_has_a_range_of_its_own() -> None:
    torch.manual_seed(0)
    found = scales(classifier(conv(8, 16), nn.ReLU(), nn.MaxPool2d(2)))
    (average,) = [scale for name, scale in found.items() if "avg" in name or "mean" in name]
    assert average < found["max_pool2d"] * 0.9
    # LiteRT's converter drops a mean over one value, and with it a change of scale.
    single = scales(classifier(conv(8, 16), nn.ReLU(), nn.MaxPool2d(12)))
    (average,) = [scale for name, scale in single.items() if "avg" in name or "mean" in name]
    assert average == single["max_pool2d"]


MIXED = {
    "a pool over channels": lambda m, x: m.second(torch.max_pool2d(m.first(x).permute(0, 2, 3, 1), (1, 2)).permute(0, 3, 1, 2)),
    "padded channels": lambda m, x: m.second(nn.functional.pad(m.first(x), (0, 0, 0, 0, 0, -4))),
    "padding that is not 0": lambda m, x: m.second(nn.functional.pad(m.first(x), (1, 1, 1, 1), value=1.0)),
}


@pytest.mark.parametrize("name", MIXED)
def test_channels_that_are_mixed_or_moved_are_not_scaled(name: str) -> None:
    inside = 16 if "not 0" in name else 8 if "pool" in name else 12
    assert spans(graph_of(Net(MIXED[name], first=conv(8, 16), second=conv(inside, 4)))) == []


def test_every_way_is_a_precision_and_a_choice_of_a_recipe() -> None:
    assert tuple(f"int8-{way}" for way in WAYS) == STATIC
    assert get_args(Quantize.model_fields["after_training"].annotation) == ("none", *WAYS)
    with pytest.raises(ValueError, match="expected one of static, equalized"):
        quantized(classifier(conv(8, 16)), SIGNATURE, SHOWN, "best")


class Masked(nn.Module):
    """Attention over seven tokens, of which a mask hides some with -30000."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2)
        hidden = ((1.0 - mask) * -30000.0)[:, None]
        return torch.softmax(scores + hidden, -1) @ self.value(tokens)


def test_a_mask_takes_no_steps_from_the_scores_of_attention() -> None:
    torch.manual_seed(0)
    net = Masked().eval()
    tokens, mask = torch.randn(32, 7, 16), torch.ones(32, 7)
    mask[:, 5:] = 0
    ports = Signature.of(
        [TensorSpec(name="tokens", shape=(1, 7, 16)), TensorSpec(name="mask", shape=(1, 7))], [TensorSpec(name="mixed", shape=(1, 7, 16))]
    )
    with torch.no_grad():
        found = quantized(net, ports, iter([(tokens, mask)]), "static").converted(tokens, mask)
        expected, even = net(tokens, mask), net.value(tokens)[:, :5].mean(1, keepdim=True)
    # With steps of 236 all scores are the same, and what is mixed is the even mean.
    assert (found - expected).abs().mean() < 0.1 * (even - expected).abs().mean()
