"""The Core ML executor's operators against torch and numpy: hand-made programs with one result a case."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.ops import OPERATORS
from edgedistill.measure.runner.refusal import NotExecutable

Case = tuple[Callable[[Any, Any], Any], Any]
"""What a program computes from its input, given coremltools' builder, and what it has to give."""


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers that float32 holds exactly, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def results(folder: Path, shape: tuple[int, ...], cases: dict[str, Case], x: Any, opset: str = "iOS17") -> Iterator[tuple[str, Any, Any]]:
    """Name, result and expectation of each case, all computed from `x` by one package that no pass has changed."""
    mil_program.prepare(1)
    import coremltools as ct
    from coremltools.converters.mil import Builder

    target = ct.target[opset]

    @Builder.program(input_specs=[Builder.TensorSpec(shape)], opset_version=target)
    def program(x: Any) -> Any:
        outputs = [build(Builder, x) for build, _ in cases.values()]
        # Integers and booleans leave a program as float32.
        return tuple(Builder.cast(x=o, dtype="fp32") if "fp" not in str(o.dtype) else o for o in outputs)

    options: Any = {"minimum_deployment_target": target, "skip_model_load": True, "pass_pipeline": ct.PassPipeline.EMPTY}
    path = folder / "operators.mlpackage"
    ct.convert(program, compute_precision=ct.precision.FLOAT32, **options).save(str(path))
    read = mil_program.read(str(path))
    (name,) = read.inputs
    outputs = mil_program.execute(read, {name: np.asarray(x, dtype=np.float32)}).values()
    assert len(outputs) == len(cases)
    for (case, (_, expected)), output in zip(cases.items(), outputs, strict=True):
        yield case, output.double().numpy(), np.asarray(expected, dtype=np.float64)


def check(folder: Path, shape: tuple[int, ...], cases: dict[str, Case], x: Any, opset: str = "iOS17", tolerance: float = 1e-6) -> None:
    for case, output, expected in results(folder, shape, cases, x, opset):
        assert output.shape == expected.shape, (case, output.shape, expected.shape)
        np.testing.assert_allclose(output, expected, rtol=tolerance, atol=tolerance, err_msg=case)


def test_elementwise_operators(tmp_path: Path) -> None:
    x = 3 * values(1, 3, 2, 5)
    # Values in the middle of two whole numbers, a zero, and one that is far from it.
    x[0, 0, 0] = torch.tensor([0.5, 1.5, -2.5, 0.0, 30.0])
    two, small = np.float32(2), np.float32(0.5)
    slopes = np.array([0.1, 0.2, 0.3], np.float32)
    inside = torch.tanh(x) * 0.9
    positive = x.abs() + 0.5

    def unary(name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=v, **options)

    def on_inside(name: str) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.mul(x=mb.tanh(x=v), y=np.float32(0.9)))

    def on_positive(name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.add(x=mb.abs(x=v), y=small), **options)

    def binary(name: str, y: np.float32 = two) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=v, y=y)

    def logic(name: str) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.greater(x=v, y=np.float32(0)), y=mb.less(x=v, y=np.float32(1)))

    more, less = x > 0, x < 1
    wide = slopes.astype(np.float64).reshape(1, 3, 1, 1)
    cases: dict[str, Case] = {
        "abs": (unary("abs"), x.abs()),
        "ceil": (unary("ceil"), x.ceil()),
        "cos": (unary("cos"), x.cos()),
        "cosh": (on_inside("cosh"), inside.cosh()),
        "erf": (unary("erf"), x.erf()),
        "exp": (on_inside("exp"), inside.exp()),
        "exp2": (on_inside("exp2"), inside.exp2()),
        "floor": (unary("floor"), x.floor()),
        "round": (unary("round"), np.round(x.numpy())),
        "sign": (unary("sign"), x.sign()),
        "sin": (unary("sin"), x.sin()),
        "sinh": (on_inside("sinh"), inside.sinh()),
        "square": (unary("square"), x.square()),
        "tan": (on_inside("tan"), inside.tan()),
        "acos": (on_inside("acos"), inside.acos()),
        "asin": (on_inside("asin"), inside.asin()),
        "atan": (unary("atan"), x.atan()),
        "atanh": (on_inside("atanh"), inside.atanh()),
        "log": (on_positive("log"), positive.log()),
        "log epsilon": (on_positive("log", epsilon=two), (positive + 2).log()),
        "sqrt": (on_positive("sqrt"), positive.sqrt()),
        "rsqrt": (on_positive("rsqrt"), positive.rsqrt()),
        "rsqrt epsilon": (on_positive("rsqrt", epsilon=two), (positive + 2).rsqrt()),
        "inverse": (on_positive("inverse"), 1 / (positive + float(np.float32(1e-4)))),
        "threshold": (unary("threshold", alpha=small), x.clamp(min=0.5)),
        "to int": (lambda mb, v: mb.cast(x=v, dtype="int32"), x.trunc()),
        "to bool": (lambda mb, v: mb.cast(x=v, dtype="bool"), x != 0),
        "sub": (binary("sub"), x - 2),
        "real_div": (binary("real_div"), x / 2),
        "floor_div": (binary("floor_div"), np.floor_divide(x.numpy(), 2)),
        "mod": (binary("mod"), np.mod(x.numpy(), 2)),
        "pow": (binary("pow", np.float32(3)), x**3),
        "maximum": (binary("maximum"), x.clamp(min=2)),
        "minimum": (binary("minimum"), x.clamp(max=2)),
        "equal": (binary("equal", small), x == 0.5),
        "not_equal": (binary("not_equal", small), x != 0.5),
        "greater": (binary("greater", small), x > 0.5),
        "greater_equal": (binary("greater_equal", small), x >= 0.5),
        "less": (binary("less", small), x < 0.5),
        "less_equal": (binary("less_equal", small), x <= 0.5),
        "and": (logic("logical_and"), more & less),
        "or": (logic("logical_or"), more | less),
        "xor": (logic("logical_xor"), more ^ less),
        "not": (lambda mb, v: mb.logical_not(x=mb.greater(x=v, y=np.float32(0))), ~more),
        "select": (
            lambda mb, v: mb.select(cond=mb.greater(x=v, y=np.float32(0)), a=v, b=mb.square(x=v)),
            torch.where(more, x, x.square()),
        ),
        "clamped_relu": (unary("clamped_relu", alpha=small, beta=two), torch.where(x >= 0, x, x / 2).clamp(max=2)),
        "elu": (unary("elu", alpha=small), F.elu(x, 0.5)),
        "gelu": (unary("gelu"), F.gelu(x)),
        "gelu tanh": (unary("gelu", mode="TANH_APPROXIMATION"), F.gelu(x, approximate="tanh")),
        "gelu sigmoid": (unary("gelu", mode="SIGMOID_APPROXIMATION"), x * torch.sigmoid(1.702 * x)),
        "leaky_relu": (unary("leaky_relu", alpha=small), F.leaky_relu(x, 0.5)),
        "linear_activation": (unary("linear_activation", alpha=small, beta=two), x / 2 + 2),
        "prelu": (unary("prelu", alpha=slopes), F.prelu(x, torch.from_numpy(slopes).double())),
        "scaled_tanh": (unary("scaled_tanh", alpha=two, beta=small), 2 * torch.tanh(x / 2)),
        "softplus": (unary("softplus"), np.logaddexp(0, x.numpy())),
        "softplus_parametric": (unary("softplus_parametric", alpha=slopes, beta=slopes), wide * np.logaddexp(0, wide * x.numpy())),
        "softsign": (unary("softsign"), F.softsign(x)),
        # hardswish as coremltools writes it
        "hardswish": (
            lambda mb, v: mb.mul(x=v, y=mb.sigmoid_hard(x=v, alpha=np.float32(1 / 6), beta=np.float32(0.5))),
            F.hardswish(x),
        ),
    }
    check(tmp_path, (1, 3, 2, 5), cases, x)


def test_reductions_and_orders(tmp_path: Path) -> None:
    x = values(2, 3, 4)
    positive = x.abs()

    def reduce(name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=v, **options)

    def of_positive(name: str) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.abs(x=v), axes=[1])

    cases: dict[str, Case] = {
        "sum": (reduce("reduce_sum", axes=[-1, 0]), x.sum((0, 2))),
        "sum of all": (reduce("reduce_sum", keep_dims=True), x.sum().reshape(1, 1, 1)),
        "mean": (reduce("reduce_mean", axes=[1], keep_dims=True), x.mean(1, keepdim=True)),
        "max": (reduce("reduce_max", axes=[0, 1]), x.amax((0, 1))),
        "min": (reduce("reduce_min", axes=[2]), x.amin(2)),
        "prod": (reduce("reduce_prod", axes=[0, 2]), x.prod(2).prod(0)),
        "l1": (reduce("reduce_l1_norm", axes=[1]), x.abs().sum(1)),
        "l2": (reduce("reduce_l2_norm", axes=[1]), x.norm(dim=1)),
        "sum of squares": (reduce("reduce_sum_square", axes=[1]), x.square().sum(1)),
        "log of sum": (of_positive("reduce_log_sum"), positive.sum(1).log()),
        "log of sum of exp": (reduce("reduce_log_sum_exp", axes=[1]), x.logsumexp(1)),
        "argmax": (reduce("reduce_argmax", axis=-1), x.argmax(-1)),
        "argmin": (reduce("reduce_argmin", axis=1, keep_dims=True), x.argmin(1, keepdim=True)),
        "cumsum": (reduce("cumsum", axis=1), x.cumsum(1)),
        "cumsum exclusive": (reduce("cumsum", axis=1, exclusive=True), x.cumsum(1) - x),
        "cumsum reverse": (reduce("cumsum", axis=2, reverse=True), x.flip(2).cumsum(2).flip(2)),
        "top values": (lambda mb, v: mb.topk(x=v, k=2, axis=1)[0], x.topk(2, 1).values),
        "top indices": (lambda mb, v: mb.topk(x=v, k=2, axis=1, ascending=True)[1], x.topk(2, 1, largest=False).indices),
        "argsort": (reduce("argsort", axis=-1), x.argsort(-1, descending=True)),
        "argsort ascending": (reduce("argsort", axis=0, ascending=True), x.argsort(0)),
        "softmax": (reduce("softmax", axis=1), x.softmax(1)),
    }
    check(tmp_path, (2, 3, 4), cases, x)


def test_slices_and_rearrangements(tmp_path: Path) -> None:
    x = values(2, 4, 6)
    image = {"shape": [1, 4, 2, 6]}
    as_image = x.reshape(1, 4, 2, 6)

    def slice_(**options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.slice_by_index(x=v, **options)

    def pad(mode: str) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.pad(x=v, pad=[1, 2, 3, 1], mode=mode, constant_val=np.float32(7))

    def shuffle(name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.reshape(x=v, **image), **options)

    odd_rows = torch.full_like(x, 0.0)
    odd_rows[:, 1::2] = 1
    cases: dict[str, Case] = {
        "backwards": (
            slice_(begin=[0, 3, 5], end=[2, 0, 0], stride=[1, -1, -2], end_mask=[False, False, True]),
            x.flip(1)[:, :3].flip(2)[..., ::2],
        ),
        "from the end": (slice_(begin=[-1, 0, -3], end=[2, 4, -1]), x[-1:, :, -3:-1]),
        "one place": (
            slice_(
                begin=[0, -1, 1],
                end=[0, 0, 5],
                begin_mask=[True, False, False],
                end_mask=[True, False, False],
                squeeze_mask=[False, True, False],
            ),
            x[:, -1, 1:5],
        ),
        "by size": (lambda mb, v: mb.slice_by_size(x=v, begin=[0, 1, 2], size=[2, 2, -1]), x[:, 1:3, 2:]),
        "update": (
            lambda mb, v: mb.slice_update(
                x=v,
                update=mb.mul(x=slice_(begin=[0, 1, 0], end=[2, 4, 6], stride=[1, 2, 1])(mb, v), y=np.float32(3)),
                begin=[0, 1, 0],
                end=[2, 4, 6],
                stride=[1, 2, 1],
            ),
            x * (1 + 2 * odd_rows),
        ),
        "split": (lambda mb, v: mb.split(x=v, num_splits=3, axis=2)[1], x[..., 2:4]),
        "split sizes": (lambda mb, v: mb.split(x=v, split_sizes=[1, 3], axis=1)[1], x[:, 1:]),
        "stack": (lambda mb, v: mb.stack(values=[v, mb.square(x=v)], axis=1), torch.stack([x, x.square()], 1)),
        "concat": (lambda mb, v: mb.concat(values=[v, mb.square(x=v)], axis=-1), torch.cat([x, x.square()], -1)),
        "interleave": (
            lambda mb, v: mb.concat(values=[v, mb.square(x=v)], axis=1, interleave=True),
            torch.stack([x, x.square()], 2).reshape(2, 8, 6),
        ),
        "pad": (pad("constant"), F.pad(x, (3, 1, 1, 2), value=7)),
        "pad reflect": (pad("reflect"), np.pad(x.numpy(), [(0, 0), (1, 2), (3, 1)], "reflect")),
        "pad replicate": (pad("replicate"), np.pad(x.numpy(), [(0, 0), (1, 2), (3, 1)], "edge")),
        "tile": (lambda mb, v: mb.tile(x=v, reps=[1, 2, 3]), x.tile(1, 2, 3)),
        "reverse": (lambda mb, v: mb.reverse(x=v, axes=[0, 2]), x.flip(0, 2)),
        "band": (lambda mb, v: mb.band_part(x=v, lower=1, upper=2), x.triu(-1).tril(2)),
        "flatten": (lambda mb, v: mb.flatten2d(x=v, axis=2), x.reshape(8, 6)),
        "keep a size": (lambda mb, v: mb.reshape(x=v, shape=[0, -1, 3]), x.reshape(2, -1, 3)),
        "windows": (lambda mb, v: mb.sliding_windows(x=v, axis=1, size=2, stride=2), x.unfold(1, 2, 2).movedim(-1, 2)),
        "pixel_shuffle": (shuffle("pixel_shuffle", upscale_factor=2), F.pixel_shuffle(as_image, 2)),
        "pixel_unshuffle": (shuffle("pixel_unshuffle", downscale_factor=np.uint32(2)), F.pixel_unshuffle(as_image, 2)),
        # Channel 4 * i + 2 * j + c is channel c of the place (i, j) of a block.
        "depth_to_space": (
            lambda mb, v: mb.depth_to_space(x=mb.reshape(x=v, shape=[1, 8, 2, 3]), block_size=2),
            x.reshape(1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6),
        ),
        "space_to_depth": (
            lambda mb, v: mb.space_to_depth(x=mb.depth_to_space(x=mb.reshape(x=v, shape=[1, 8, 2, 3]), block_size=2), block_size=2),
            x.reshape(1, 8, 2, 3),
        ),
        "crop": (shuffle("crop", crop_height=[0, 1], crop_width=[2, 1]), as_image[..., :1, 2:5]),
        "like": (
            lambda mb, v: mb.reshape_like(
                x=mb.reshape(x=v, shape=[48]), ref_tensors=[v, v], begins=[0, 1], ends=[1, 0], end_masks=[False, True]
            ),
            x,
        ),
    }
    check(tmp_path, (2, 4, 6), cases, x, "iOS18")


def test_gathers_and_scatters(tmp_path: Path) -> None:
    x = values(2, 3, 4)
    rows = np.array([[2, 0], [1, 1]], np.int32)
    places = np.array([[0, 2], [1, 0]], np.int32)
    along = np.array([[[0, 3], [1, 1], [2, 0]], [[3, 3], [0, 1], [2, 2]]], np.int32)
    column = torch.from_numpy(places).long()
    add_rows = x.clone()
    add_rows[:, [2, 0]] += 1
    written = x.clone()
    written[column[:, 0], column[:, 1]] = 1.0
    ones = np.ones((2, 2, 4), np.float32)
    cases: dict[str, Case] = {
        "gather": (lambda mb, v: mb.gather(x=v, indices=rows, axis=1), x[:, rows.astype(int)]),
        "gather one": (lambda mb, v: mb.gather(x=v, indices=np.int32(2), axis=-1), x[..., 2]),
        "gather in batches": (
            lambda mb, v: mb.gather(x=v, indices=rows, axis=1, batch_dims=1),
            torch.stack([x[0][[2, 0]], x[1][[1, 1]]]),
        ),
        "along": (lambda mb, v: mb.gather_along_axis(x=v, indices=along, axis=2), x.gather(2, torch.from_numpy(along).long())),
        "nd": (lambda mb, v: mb.gather_nd(x=v, indices=places), x[column[:, 0], column[:, 1]]),
        "nd in batches": (lambda mb, v: mb.gather_nd(x=v, indices=places, batch_dims=1), torch.stack([x[0, 0, 2], x[1, 1, 0]])),
        "scatter": (lambda mb, v: mb.scatter(data=v, indices=np.array([2, 0], np.int32), updates=ones, axis=1, mode="add"), add_rows),
        "scatter nd": (lambda mb, v: mb.scatter_nd(data=v, indices=places, updates=ones[0], mode="update"), written),
        "scatter along": (
            lambda mb, v: mb.scatter_along_axis(data=v, indices=rows.reshape(2, 2, 1)[:, :, [0] * 4], updates=ones, axis=1, mode="sub"),
            x.scatter_add(1, torch.from_numpy(rows).long()[..., None].expand(2, 2, 4), -torch.ones(2, 2, 4).double()),
        ),
        "one_hot": (
            lambda mb, v: mb.one_hot(
                indices=mb.reduce_argmax(x=v, axis=-1), one_hot_vector_size=4, axis=1, on_value=np.float32(3), off_value=np.float32(-1)
            ),
            F.one_hot(x.argmax(-1), 4).movedim(-1, 1) * 4.0 - 1,
        ),
        "non_zero": (lambda mb, v: mb.non_zero(x=mb.cast(x=mb.greater(x=v, y=np.float32(0.5)), dtype="int32")), torch.nonzero(x > 0.5)),
        # A shape, a length and a range that are known only when the program runs.
        "range": (
            lambda mb, v: mb.range_1d(
                start=np.int32(0),
                end=mb.cast(x=mb.reduce_sum(x=mb.mul(x=v, y=np.float32(0)), axes=[0, 1, 2]), dtype="int32"),
                step=np.int32(1),
            ),
            torch.empty(0),
        ),
        "fill": (lambda mb, v: mb.fill(shape=mb.shape(x=v), value=np.float32(2.5)), torch.full((2, 3, 4), 2.5)),
        "fill_like": (lambda mb, v: mb.fill_like(ref_tensor=v, value=np.int32(3)), torch.full((2, 3, 4), 3.0)),
    }
    check(tmp_path, (2, 3, 4), cases, x)


@pytest.mark.parametrize(("mode", "expected"), [("mul", [6, 0.5]), ("div", [2 / 3, 2]), ("max", [3, 1]), ("min", [1, 0.5])])
def test_scatter_modes(mode: str, expected: list[float]) -> None:
    # 2 meets 3 and 1, and 1 meets a half.
    data, indices, updates = torch.tensor([2.0, 1.0]), torch.tensor([0, 1, 0]), torch.tensor([3.0, 0.5, 1.0])
    np.testing.assert_allclose(OPERATORS["scatter"](data, indices, updates, mode=mode), expected, rtol=1e-6)


def test_what_the_documentation_leaves_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotExecutable, match="even size 2"):
        OPERATORS["local_response_norm"](values(1, 3, 2), 2)
    with pytest.raises(NotExecutable, match="from 2 to 4 is not documented"):
        OPERATORS["resize"](values(1, 1, 2), [4], 1, "NEAREST_NEIGHBOR")
    with pytest.raises(NotExecutable, match="align_corners together with half_pixel_centers"):
        OPERATORS["upsample_bilinear"](values(1, 1, 2, 2), 2, 2, True, True)

    def halves(mb: Any, x: Any) -> Any:
        return mb.real_div(x=mb.cast(x=x, dtype="int32"), y=np.int32(2))

    check(tmp_path, (2,), {"positive": (halves, [2, 3])}, [5, 6])
    with pytest.raises(NotExecutable, match=r"real_div .* how a fraction is rounded is not documented"):
        check(tmp_path, (2,), {"negative": (halves, [-2, 3])}, [-5, 6])


def test_negative_indices_count_from_the_end_before_ios_17_only() -> None:
    x, indices = values(3), torch.tensor([-1, 0])
    assert OPERATORS["gather"](x, indices).tolist() == [x[2], x[0]]
    for operator in ("gather", "gather_along_axis"):
        with pytest.raises(ValueError, match="found the index -1; since iOS 17"):
            OPERATORS[operator](x, indices, validate_indices=False)
