"""The Core ML executor on convolutions, products, norms, attention and resizing, against torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from test_mil_operators import Case, check, values
from torch.nn import functional as F

from edgedistill.backends.coreml.mil.ops import OPERATORS


def test_convolutions_over_one_and_three_axes(tmp_path: Path) -> None:
    x = values(1, 4, 3, 4, 5)
    line, plane = x.reshape(1, 4, 60), x.reshape(1, 4, 12, 5)
    w1, w1t = values(6, 2, 3, seed=1), values(4, 3, 4, seed=2)
    w2t, w3, w3t, bias = values(4, 2, 3, 2, seed=3), values(4, 4, 2, 2, 2, seed=4), values(4, 2, 2, 2, 2, seed=5), values(6, seed=6)

    def f32(weight: torch.Tensor) -> np.ndarray:
        return weight.numpy().astype(np.float32)

    def reshaped(shape: list[int], name: str, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: getattr(mb, name)(x=mb.reshape(x=v, shape=shape), **options)

    on_line, on_plane = [1, 4, 60], [1, 4, 12, 5]
    cases: dict[str, Case] = {
        "conv 1d": (
            reshaped(on_line, "conv", weight=f32(w1), bias=f32(bias), groups=2, strides=[2], dilations=[3], pad_type="custom", pad=[1, 2]),
            F.conv1d(F.pad(line, (1, 2)), w1, bias, 2, 0, 3, 2),
        ),
        "conv 3d": (
            lambda mb, v: mb.conv(x=v, weight=f32(w3), strides=[1, 2, 1], pad_type="custom", pad=[1, 0, 0, 1, 1, 1]),
            F.conv3d(F.pad(x, (1, 1, 0, 1, 1, 0)), w3, None, (1, 2, 1)),
        ),
        "transposed 1d": (
            reshaped(on_line, "conv_transpose", weight=f32(w1t), strides=[3], groups=2, bias=f32(bias), pad_type="custom", pad=[2, 1]),
            F.conv_transpose1d(line, w1t, bias, 3, groups=2)[..., 2:-1],
        ),
        "transposed 2d": (
            reshaped(on_plane, "conv_transpose", weight=f32(w2t), strides=[2, 1], dilations=[1, 2]),
            F.conv_transpose2d(plane, w2t, None, (2, 1), dilation=(1, 2)),
        ),
        # 12 * 2 of 25 rows and 5 * 2 of 10 columns: the last row is cut off.
        "transposed same": (
            reshaped(on_plane, "conv_transpose", weight=f32(w2t), strides=[2, 2], pad_type="same"),
            F.conv_transpose2d(plane, w2t, None, 2)[:, :, :24, :10],
        ),
        "transposed 3d": (
            lambda mb, v: mb.conv_transpose(x=v, weight=f32(w3t), strides=[1, 2, 1], pad_type="custom", pad=[1, 0, 0, 1, 1, 1]),
            F.conv_transpose3d(x, w3t, None, (1, 2, 1))[:, :, 1:, :-1, 1:-1],
        ),
        "max 1d": (reshaped(on_line, "max_pool", kernel_sizes=[3], strides=[2], pad_type="valid"), F.max_pool1d(line, 3, 2)),
        "average 3d": (
            lambda mb, v: mb.avg_pool(x=v, kernel_sizes=[2, 2, 2], strides=[1, 1, 2], pad_type="valid"),
            F.avg_pool3d(x, 2, (1, 1, 2)),
        ),
        "l2": (reshaped(on_plane, "l2_pool", kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"), F.lp_pool2d(plane, 2, 2)),
    }
    check(tmp_path, (1, 4, 3, 4, 5), cases, x, tolerance=1e-5)


def test_a_transposed_convolution_reaches_its_output_shape(tmp_path: Path) -> None:
    """Past the last product there is the bias alone, as torch's output_padding has it."""
    from edgedistill.backends.coreml.mil.values import to_tensor

    x, weight, bias = values(1, 3, 5, 4), values(3, 2, 3, 3), values(2)
    expected = F.conv_transpose2d(x, weight, bias, 3, padding=1, output_padding=2)
    shape = to_tensor(np.array(expected.shape))
    got = OPERATORS["conv_transpose"](
        x, weight, strides=[3, 3], pad_type="custom", pad=[1, 1, 1, 1], bias=bias, output_shape=shape, dilations=[1, 1], groups=1
    )
    torch.testing.assert_close(got, expected)


def test_products_norms_and_attention(tmp_path: Path) -> None:
    x = values(2, 4, 3, 6)
    y, vector, square = values(2, 6, 3, 5, seed=1), values(6, seed=2), values(6, 6, seed=3)
    gamma, beta, plane = values(4, seed=4), values(4, seed=5), values(3, 6, seed=6)
    keep = np.array([[True, False, True], [True, True, False], [False, True, True]])

    def f32(value: torch.Tensor) -> np.ndarray:
        return value.numpy().astype(np.float32)

    def attention(**options: Any) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.scaled_dot_product_attention(query=v, key=mb.tanh(x=v), value=mb.square(x=v), **options)

    added = values(3, 3, seed=7)
    key, value = x.tanh(), x.square()
    whole = x.square().sum((1, 2, 3), keepdim=True)
    cases: dict[str, Case] = {
        "matmul": (
            lambda mb, v: mb.matmul(
                x=v, y=mb.matmul(x=f32(square)[None, None], y=mb.reshape(x=v, shape=[2, 4, 6, 3])), transpose_x=False, transpose_y=False
            ),
            x @ (square @ x.reshape(2, 4, 6, 3)),
        ),
        "transposed": (lambda mb, v: mb.matmul(x=v, y=v, transpose_y=True), x @ x.mT),
        "first transposed": (lambda mb, v: mb.matmul(x=v, y=v, transpose_x=True), x.mT @ x),
        "linear": (lambda mb, v: mb.linear(x=v, weight=f32(square), bias=f32(vector)), F.linear(x, square, vector)),
        "einsum": (lambda mb, v: mb.einsum(values=[v, f32(y)], equation="nchw,nwhu->nchu"), torch.einsum("nchw,nwhu->nchu", x, y)),
        "attention": (attention(), F.scaled_dot_product_attention(x, key, value)),
        "attention, mask": (attention(attn_mask=keep), F.scaled_dot_product_attention(x, key, value, attn_mask=torch.from_numpy(keep))),
        "attention, bias": (attention(attn_mask=f32(added)), F.scaled_dot_product_attention(x, key, value, attn_mask=added)),
        "layer_norm": (
            lambda mb, v: mb.layer_norm(x=v, axes=[2, -1], gamma=f32(plane), beta=f32(plane), epsilon=np.float32(0.1)),
            F.layer_norm(x, [3, 6], plane, plane, 0.1),
        ),
        "layer_norm over channels": (
            lambda mb, v: mb.layer_norm(x=v, axes=[1], gamma=f32(gamma), beta=f32(beta), epsilon=np.float32(0.1)),
            F.layer_norm(x.movedim(1, -1), [4], gamma, beta, 0.1).movedim(-1, 1),
        ),
        "instance_norm": (
            lambda mb, v: mb.instance_norm(x=v, gamma=f32(gamma), beta=f32(beta), epsilon=np.float32(0.1)),
            F.instance_norm(x, weight=gamma, bias=beta, eps=0.1),
        ),
        "batch_norm": (
            lambda mb, v: mb.batch_norm(
                x=v, mean=f32(gamma), variance=f32(beta.abs()), gamma=f32(beta), beta=f32(gamma), epsilon=np.float32(0.1)
            ),
            F.batch_norm(x, gamma, beta.abs(), beta, gamma, eps=0.1),
        ),
        "l2_norm": (lambda mb, v: mb.l2_norm(x=v, epsilon=np.float32(0.1)), x / (whole + 0.1).sqrt()),
        "local_response_norm": (
            lambda mb, v: mb.local_response_norm(x=v, size=3, alpha=np.float32(0.5), beta=np.float32(0.75), k=np.float32(2)),
            F.local_response_norm(x, 3, 0.5, 0.75, 2),
        ),
    }
    check(tmp_path, (2, 4, 3, 6), cases, x, "iOS18")


def test_resizing(tmp_path: Path) -> None:
    x = values(1, 2, 4, 5)
    pair = np.array([0.0, 1.0])

    def resize(mode: str, sampling: str, rows: int = 7) -> Callable[[Any, Any], Any]:
        return lambda mb, v: mb.resize(x=v, shape=[rows, 0], resized_dims=np.uint32(2), interpolation_mode=mode, sampling_mode=sampling)

    # The points that the specification lists for two inputs 0 and 1, in 5 and 6 places.
    documented = {
        "UNALIGN_CORNERS": ([0.0, 0.1, 0.5, 0.9, 1.0], [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]),
        "STRICT_ALIGN_CORNERS": ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        "ALIGN_CORNERS": ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        "DEFAULT": ([0.0, 0.4, 0.8, 1.0, 1.0], [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
        "OFFSET_CORNERS": ([0.1, 0.3, 0.5, 0.7, 0.9], [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
    }

    def listed(sampling: str, count: int) -> Callable[[Any, Any], Any]:
        two = pair.astype(np.float32).reshape(1, 1, 2)
        return lambda mb, v: mb.resize_bilinear(
            x=mb.add(x=mb.mul(x=mb.slice_by_size(x=v, begin=[0, 0, 0, 0], size=[1, 1, 1, 2]), y=np.float32(0)), y=two),
            target_size_height=1,
            target_size_width=count,
            sampling_mode=sampling,
        )

    cases: dict[str, Case] = {
        "upsample_bilinear": (
            lambda mb, v: mb.upsample_bilinear(x=v, scale_factor_height=2, scale_factor_width=3, align_corners=False),
            F.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
        ),
        "aligned": (
            lambda mb, v: mb.upsample_bilinear(x=v, scale_factor_height=2, scale_factor_width=3, align_corners=True),
            F.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=True),
        ),
        "upsample_nearest": (
            lambda mb, v: mb.upsample_nearest_neighbor(x=v, scale_factor_height=3, scale_factor_width=2),
            F.interpolate(x, scale_factor=(3, 2)),
        ),
        "resize_nearest_neighbor": (
            lambda mb, v: mb.resize_nearest_neighbor(x=v, target_size_height=7, target_size_width=3),
            F.interpolate(x, size=(7, 3)),
        ),
        # Row i is nearest to 4i / 7, or to (i + 0.5) / 2 - 0.5.
        "resize nearest": (resize("NEAREST_NEIGHBOR", "DEFAULT"), x[:, :, [0, 1, 1, 2, 2, 3, 3]]),
        "resize nearest centers": (resize("NEAREST_NEIGHBOR", "UNALIGN_CORNERS", 8), x[:, :, [0, 0, 1, 1, 2, 2, 3, 3]]),
        "resize linear": (resize("LINEAR", "UNALIGN_CORNERS"), F.interpolate(x, size=(7, 5), mode="bilinear")),
        **{f"{s} {len(p)}": (listed(s, len(p)), np.reshape(p, (1, 1, 1, -1))) for s, both in documented.items() for p in both},
    }
    check(tmp_path, (1, 2, 4, 5), cases, x)
