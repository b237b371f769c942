"""The canonical form of programs: what each rule writes, and that it computes what it replaces."""

import functools
import operator
from collections.abc import Callable

import pytest
import torch
from made_graphs import IMAGE, Net, changed, graph_of, names
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from edgedistill.quantize.adaptive import keep_means, pool_by_windows
from edgedistill.quantize.arithmetic import multiply_instead, write_out_factors
from edgedistill.quantize.attention import share_keys
from edgedistill.quantize.bilinear import write_out_bilinear
from edgedistill.quantize.branches import merge_branches
from edgedistill.quantize.broadcast import drop_expansions
from edgedistill.quantize.build import constant
from edgedistill.quantize.canonical import canonical
from edgedistill.quantize.constants import fold_constants, separate_shared
from edgedistill.quantize.graph import CONVOLUTIONS, operators
from edgedistill.quantize.idle import drop_idle
from edgedistill.quantize.inline import inline_regions
from edgedistill.quantize.norms import settle_norms
from edgedistill.quantize.plain_moves import crop_by_slices, repeat_by_cat, rotate_by_flips, shape_by_numbers, shuffle_by_reshape
from edgedistill.quantize.selection import choose_in_rounds
from edgedistill.quantize.splits import select_parts, slice_parts, split_by_slices

_ATEN = torch.ops.aten


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_branches_that_end_in_batch_norms_become_one_convolution(groups: int, stride: int) -> None:
    def branch(size: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(8, 8, size, stride, size // 2, groups=groups, bias=size == 1), nn.BatchNorm2d(8))

    identity = {"d": nn.BatchNorm2d(8)} if stride == 1 else {}
    net = Net(
        lambda s, x: torch.relu(functools.reduce(operator.add, (layer(x) for layer in s.children()))),
        a=branch(3),
        b=branch(1),
        c=branch(5),
        **identity,
    )
    graph = changed(net, merge_branches, 1)
    (merged,) = operators(graph, CONVOLUTIONS)
    assert merged.meta["val"].shape[1] == 8
    assert not operators(graph, (_ATEN.batch_norm.default, _ATEN.add.Tensor))
    in_place = changed(
        Net(lambda s, x: functools.reduce(operator.iadd, (layer(x) for layer in s.children())), **dict(net.named_children())),
        merge_branches,
        1,
    )
    assert not operators(in_place, (_ATEN.batch_norm.default, _ATEN.add_.Tensor))


@pytest.mark.parametrize(
    "compute",
    [
        lambda s, x: s.n(s.a(x)) + x,
        lambda s, x: s.n(s.a(x)) + s.m(s.b(torch.relu(x))),
        lambda s, x: s.a(x) + s.b(x),
        lambda s, x: torch.add(s.n(s.a(x)), s.m(s.b(x)), alpha=2),
        lambda s, x: s.n(s.a(x)) + s.m(s.wide(x)),
    ],
    ids=["residual", "other tensor", "no batch norm", "alpha", "other padding"],
)
def test_other_sums_stay(compute: Callable[[nn.Module, Tensor], object]) -> None:
    layers = {"a": nn.Conv2d(8, 8, 3, padding=1), "b": nn.Conv2d(8, 8, 1), "wide": nn.Conv2d(8, 8, 3, padding=2, dilation=2)}
    changed(Net(compute, **layers, n=nn.BatchNorm2d(8), m=nn.BatchNorm2d(8)), merge_branches, 0)


@pytest.mark.parametrize(
    "compute",
    [
        lambda s, x: torch.cat(x.chunk(2, 1)[::-1], 1),
        lambda s, x: torch.cat(x.chunk(3, 1)[1:], 1),
        lambda s, x: x.split([3, 9], 3)[1],
        lambda s, x: x.split(5, -2)[2],
        lambda s, x: torch.cat(torch.tensor_split(x, 2, 1)[::-1], 1),
    ],
)
def test_parts_of_a_split_become_slices(compute: Callable[[nn.Module, Tensor], object]) -> None:
    graph = graph_of(Net(compute))
    parts = sum(node.target == operator.getitem for node in graph.graph.nodes)
    after = changed(Net(compute), split_by_slices, parts)
    assert not any("split" in name or "chunk" in name or "getitem" in name for name in names(after))


@pytest.mark.parametrize("size", [1, 4, (13, 6), (5, 5), (7, None), (13, 12), 3])
@pytest.mark.parametrize("pool", [F.adaptive_avg_pool2d, F.adaptive_max_pool2d])
def test_adaptive_pooling_becomes_windows(pool: Callable[..., Tensor], size: object) -> None:
    average = pool is F.adaptive_avg_pool2d
    graph = changed(Net(lambda s, x: pool(x, size)), pool_by_windows, 0 if average and size == 1 else 1)
    assert not any("adaptive" in name for name in names(graph)) or (average and size == 1)


def test_places_of_the_largest_values_stay() -> None:
    changed(Net(lambda s, x: F.adaptive_max_pool2d(x, 4, return_indices=True)[1].float()), pool_by_windows, 0)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x: x / x.norm(dim=1, keepdim=True).expand_as(x), 1),
        (lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 13, 12) * x, 1),
        (lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 13, 12).contiguous(), 0),
        (lambda x: x.mean(3, keepdim=True).expand(-1, -1, 13, 12) * x.mean(2, keepdim=True), 0),
    ],
    ids=["as", "to", "read by others", "both smaller"],
)
def test_an_expansion_that_arithmetic_does_is_dropped(compute: Callable[[Tensor], Tensor], expected: int) -> None:
    changed(Net(lambda s, x: compute(x)), drop_expansions, expected)


def test_a_mean_over_an_image_keeps_its_dimensions_for_the_delegate() -> None:
    graph = changed(Net(lambda s, x: x.mean((2, 3))), keep_means, 1)
    (mean,) = operators(graph, (_ATEN.mean.dim,))
    assert mean.args[1:] == ([-1, -2], True)
    for other in (lambda s, x: x.mean((2, 3), keepdim=True), lambda s, x: x.mean((1, 2)), lambda s, x: x.flatten(2).mean(-1)):
        changed(Net(other), keep_means, 0)


@pytest.mark.parametrize(
    "net",
    [
        Net(lambda s, x: s.c(x), c=weight_norm(nn.Conv2d(8, 4, 3))),
        Net(lambda s, x: F.linear(x, s.w.T), w=nn.Parameter(torch.randn(12, 5))),
        Net(lambda s, x: F.conv2d(x, (s.w - s.w.mean()) / s.w.std()), w=nn.Parameter(torch.randn(4, 8, 1, 1))),
    ],
    ids=["weight norm", "transposed", "standardised"],
)
def test_a_computed_weight_becomes_a_parameter(net: nn.Module) -> None:
    graph = changed(net, fold_constants, 1)
    (layer,) = operators(graph, (*CONVOLUTIONS, _ATEN.linear.default))
    assert layer.args[1].op == "get_attr"
    assert dict(graph.named_parameters())[layer.args[1].target].requires_grad


@pytest.mark.parametrize("bias", [True, False])
def test_a_bilinear_layer_is_written_out(bias: bool) -> None:
    graph = changed(Net(lambda s, x: s.b(x.mean((2, 3)), x.amax((2, 3))), b=nn.Bilinear(8, 8, 5, bias=bias)), write_out_bilinear, 1)
    assert not any("bilinear" in name for name in names(graph))


@pytest.mark.parametrize("trained", [True, False])
def test_copies_and_computed_weights_are_trained_where_the_weight_was(trained: bool) -> None:
    shared, scaled = nn.Conv2d(8, 8, 1).requires_grad_(trained), nn.Parameter(torch.randn(8, 8, 1, 1), requires_grad=trained)
    net = Net(lambda s, x: F.conv2d(s.c(torch.relu(s.c(x))), s.w * 2), c=shared, w=scaled)
    graph = changed(net, lambda graph: fold_constants(graph) + separate_shared(graph), 3)
    weights = [node.args[1].target for node in operators(graph, CONVOLUTIONS)]
    assert [name in dict(graph.named_parameters()) and graph.get_parameter(name).requires_grad for name in weights] == [trained] * 3


def test_random_numbers_and_large_constants_are_not_folded() -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(12) + torch.ones(1).expand(512, 1024)[0, 0]

    graph = graph_of(Noise())
    fold_constants(graph)
    assert any("rand" in name for name in names(graph))


def test_layers_that_share_a_weight_get_their_own() -> None:
    graph = changed(Net(lambda s, x: s.c(torch.relu(s.c(x))), c=nn.Conv2d(8, 8, 1)), separate_shared, 2)
    first, second = operators(graph, CONVOLUTIONS)
    assert {str(first.args[1].target), str(first.args[2].target)}.isdisjoint({str(second.args[1].target), str(second.args[2].target)})
    changed(Net(lambda s, x: s.c(x), c=nn.Conv2d(8, 8, 1)), separate_shared, 0)


def test_regions_of_context_managers_become_part_of_the_graph() -> None:
    def compute(s: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            y = s.a(x)
        with torch.no_grad():
            mean = y.mean((2, 3), keepdim=True)
        return s.b(y - mean)

    graph = changed(Net(compute, a=nn.Conv2d(8, 8, 1), b=nn.Conv2d(8, 8, 1)), inline_regions, 2)
    assert all(isinstance(node.target, torch._ops.OpOverload) for node in graph.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda s, x: sum(x.reshape(2, 4, 2, 13, 12)[:, place] for place in range(4)), 4),
        (lambda s, x: x.reshape(2, 8, 13, 3, 4).select(3, -1), 1),
        # The second of the two axes, and axes that something else made.
        (lambda s, x: x.reshape(2, 4, 2, 13, 12).select(2, 1), 0),
        (lambda s, x: x.reshape(2, 4, 13, 2, 12).select(1, 1), 0),
        (lambda s, x: x.select(1, 1), 0),
    ],
)
def test_a_part_of_an_axis_that_was_split_is_a_slice(compute: Callable[[nn.Module, Tensor], object], expected: int) -> None:
    graph = changed(Net(compute), slice_parts, expected)
    assert ("aten.select.int" in names(graph)) == (expected == 0)


@pytest.mark.parametrize(
    ("count", "axis", "largest"), [(3, 1, True), (1, -1, True), (8, 1, True), (2, 2, False), (3, -2, False), (3, -3, True)]
)
def test_few_largest_values_are_chosen_one_after_the_other(count: int, axis: int, largest: bool) -> None:
    graph = changed(Net(lambda s, x: tuple(torch.topk(x, count, axis, largest))), choose_in_rounds, 1)
    assert "aten.topk.default" not in names(graph)


def test_of_equal_values_the_first_is_chosen() -> None:
    graph = graph_of(Net(lambda s, x: torch.topk(x, 3)[1]), IMAGE)
    assert choose_in_rounds(graph) == 1
    places = graph(torch.tensor([1.0, 2.0, 0.0, 2.0, 1.0, 2.0, *[0.0] * 6]).expand(IMAGE.shape))
    assert (places == torch.tensor([1, 3, 5])).all()
    assert "aten.amax.default" not in names(graph)


def test_many_largest_values_are_left_to_the_runtime() -> None:
    assert choose_in_rounds(graph_of(Net(lambda s, x: torch.topk(x.flatten(1), 17)[0]))) == 0


def test_a_program_in_canonical_form_stays_as_it_is() -> None:
    net = Net(lambda s, x: s.b(torch.relu(s.a(x)).mean((2, 3), keepdim=True)).flatten(1), a=nn.Conv2d(8, 8, 3), b=nn.Conv2d(8, 4, 1))
    assert canonical(graph_of(net)) == 0


@pytest.mark.parametrize(
    ("compute", "gone"),
    [
        (lambda s, x: s.c(x[:, :8]), "alias"),
        (lambda s, x: functools.reduce(operator.add, [s.c(x), x.relu()], 0), "sum with 0"),
        (lambda s, x: functools.reduce(operator.iadd, [s.c(x), x.relu()], 0), "sum with 0"),
        (lambda s, x: torch.relu_(torch.relu_(s.c(x)).flatten(1) * 1.0), "mul"),
        (lambda s, x: (s.c(x) * 1.0).relu(), "mul"),
        (lambda s, x: s.c(x).div(1).relu(), "div"),
        (lambda s, x: F.dropout(s.c(x), 0.0).relu(), "dropout"),
    ],
)
def test_what_computes_nothing_is_dropped(compute: Callable[[nn.Module, Tensor], object], gone: str) -> None:
    graph = changed(Net(compute, c=nn.Conv2d(8, 8, 1)), drop_idle, 1)
    assert not any(gone in name for name in names(graph))


def test_what_changes_a_value_or_a_type_stays() -> None:
    changed(Net(lambda s, x: F.dropout(x, 0.5, training=False) + 1), drop_idle, 0)
    changed(Net(lambda s, x: torch.add(x, x, alpha=2)), drop_idle, 0)
    changed(Net(lambda s, x: x + torch.ones(12, dtype=torch.int64) * 1.0), drop_idle, 0)
    # A copy that is written into.
    changed(Net(lambda s, x: torch.relu_((y := x - 0.5) * 1.0) + y), drop_idle, 0)
    changed(Net(lambda s, x: torch.relu_((y := x - 0.5).flatten(1) * 1.0) + y.flatten(1)), drop_idle, 0)
    changed(Net(lambda s, x: torch.relu_(x.flatten(1) * 1.0) + x.flatten(1)), drop_idle, 0)
    # Each output is a tensor of its own.
    changed(Net(lambda s, x: (x * 1, (y := x + 2), y * 1)), drop_idle, 0)


def test_a_check_of_a_type_does_not_outlive_its_constant() -> None:
    graph = changed(Net(lambda s, x: x + torch.arange(12, dtype=torch.int64).to(torch.float32)), canonical, 2)
    assert not any("assert" in name for name in names(graph))


@pytest.mark.parametrize("number", [2, 1.7, -4.0])
def test_a_division_by_a_number_is_a_product(number: float) -> None:
    graph = changed(Net(lambda s, x: (x + 1) / number), multiply_instead, 1)
    assert not any("div" in name for name in names(graph))
    changed(Net(lambda s, x: x / (x + number + 9)), multiply_instead, 0)


@pytest.mark.parametrize(
    ("compute", "layer"),
    [
        (lambda s, x: s.n2(x), "conv2d"),
        (lambda s, x: s.n2(s.c(x) + x), "conv2d"),
        (lambda s, x: s.n2(y := s.c(x)) + y, "conv2d"),
        (lambda s, x: s.n1(s.l(x.mean((2, 3)))), "linear"),
        (lambda s, x: s.n1(s.l(x.flatten(2).transpose(1, 2)).flatten(0, 1)), "linear"),
        (lambda s, x: s.l(s.n1(x.mean((2, 3)))) + s.free(s.n1(x.amax((2, 3)))), "linear"),
    ],
    ids=["alone", "of a sum", "of a convolution with two readers", "behind linear", "behind linear of tokens", "before linear"],
)
def test_a_batch_norm_behind_no_convolution_is_a_layer(compute: Callable[[nn.Module, Tensor], object], layer: str) -> None:
    layers = {"c": nn.Conv2d(8, 8, 1), "l": nn.Linear(8, 8), "free": nn.Linear(8, 8, bias=False)}
    norms = {"n2": nn.BatchNorm2d(8), "n1": nn.BatchNorm1d(8)}
    for norm in norms.values():
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.bias)
    net = Net(compute, **layers, **norms)
    count = sum("batch_norm" in str(node.target) for node in graph_of(net).graph.nodes)
    graph = changed(net, settle_norms, count)
    assert not any("batch_norm" in name for name in names(graph))
    assert any(layer in name for name in names(graph))


def test_a_batch_norm_behind_a_convolution_stays() -> None:
    changed(Net(lambda s, x: s.n(s.c(x)), c=nn.Conv2d(8, 8, 3), n=nn.BatchNorm2d(8)), settle_norms, 0)


@pytest.mark.parametrize("heads", [1, 4])
def test_heads_that_share_keys_are_further_queries(heads: int) -> None:
    def attend(s: nn.Module, x: Tensor) -> Tensor:
        queries = s.q(x).flatten(2).unflatten(1, (4, 2)).transpose(2, 3)
        keys, values = (layer(x)[:, :, ::2, ::2].flatten(2).unflatten(1, (heads, 2)).transpose(2, 3) for layer in (s.k, s.v))
        return F.scaled_dot_product_attention(queries, keys, values, scale=0.3)

    layers = {name: nn.Conv2d(8, size, 1) for name, size in (("q", 8), ("k", 2 * heads), ("v", 2 * heads))}
    graph = changed(Net(attend, **layers), share_keys, int(heads == 1))
    (attention,) = (node for node in graph.graph.nodes if "scaled_dot" in str(node.target))
    assert attention.all_input_nodes[0].meta["val"].shape[1] == heads


def test_constants_of_a_graph_that_was_rewritten_before_keep_their_names_apart() -> None:
    graph = graph_of(Net(lambda s, x: x + torch.arange(12.0).sin()))
    assert fold_constants(graph) == 1
    graph.constant_1 = torch.ones(12)
    (add,) = operators(graph, (_ATEN.add.Tensor,))
    with graph.graph.inserting_before(add):
        first = constant(graph, add, "constant_0", torch.ones(12))
        second = constant(graph, add, "constant_0", torch.ones(12))
    assert [node.target for node in (first, second)] == ["constant_0_1", "constant_0_2"]


@pytest.mark.parametrize(
    ("compute", "gone"),
    [
        (lambda s, x: torch.add(x, x.relu(), alpha=0.5), "rsub"),
        (lambda s, x: torch.sub(x, x.relu(), alpha=-2.0), "rsub"),
        (lambda s, x: 2.5 - x, "rsub"),
    ],
)
def test_factors_of_sums_are_products(compute: Callable[[nn.Module, Tensor], object], gone: str) -> None:
    graph = changed(Net(compute), write_out_factors, 1)
    assert not any("alpha" in node.kwargs or gone in str(node.target) for node in graph.graph.nodes)


@pytest.mark.parametrize(
    ("rule", "compute", "count"),
    [
        (shuffle_by_reshape, lambda s, x: nn.ChannelShuffle(4)(x), 1),
        (crop_by_slices, lambda s, x: F.pad(x, (-1, -2, -1, 0)), 1),
        (crop_by_slices, lambda s, x: F.pad(x, (-1, 2, 3, -2), value=1.5), 1),
        (crop_by_slices, lambda s, x: F.pad(x, (1, 2)), 0),
        *((rotate_by_flips, lambda s, x, turns=turns: torch.rot90(x, turns, (2, 3)), 1) for turns in (1, 2, 3, 4, -1)),
        (rotate_by_flips, lambda s, x: torch.rot90(x), 1),
        (repeat_by_cat, lambda s, x: x.repeat(1, 3, 1, 1), 1),
        (repeat_by_cat, lambda s, x: x.repeat(1, 2, 2, 1), 0),
        (shape_by_numbers, lambda s, x: (x + 1).flatten(2).reshape_as(x), 1),
        (select_parts, lambda s, x: torch.stack(x.unbind(2)[::2]), 13),
    ],
)
def test_moves_that_converters_do_not_know_are_written_out(
    rule: Callable[[torch.fx.GraphModule], int], compute: Callable[[nn.Module, Tensor], object], count: int
) -> None:
    graph = changed(Net(compute), rule, count)
    assert rule(graph) == 0
    assert not any("reshape_as" in name or "rot90" in name or "unbind" in name for name in names(graph))
