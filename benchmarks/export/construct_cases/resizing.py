"""Resizing of all modes, and padding of all modes."""

from collections.abc import Callable

from torch import nn
from torch.nn import functional as F

from construct_cases.network import function, module


def _resized(mode: str, size: int | None = None, **options: object) -> Callable[[], nn.Module]:
    wanted = {"size": (size, size)} if size else {"scale_factor": options.pop("scale_factor", 2)}
    return function(lambda x: F.interpolate(x, mode=mode, **wanted, **options))  # type: ignore[arg-type]


CASES = {
    "nearest, x 2": _resized("nearest"),
    "nearest, 16 to 24": _resized("nearest", 24),
    "nearest, 16 to 21": _resized("nearest", 21),
    "nearest, 16 to 10": _resized("nearest", 10),
    "nearest, x 1.3 by factor": _resized("nearest", scale_factor=1.3),
    "nearest-exact, 16 to 24": _resized("nearest-exact", 24),
    "bilinear, x 2": _resized("bilinear"),
    "bilinear, x 2, align_corners": _resized("bilinear", align_corners=True),
    "bilinear, 16 to 24": _resized("bilinear", 24),
    "bilinear, 16 to 21, align_corners": _resized("bilinear", 21, align_corners=True),
    "bilinear, 16 to 9": _resized("bilinear", 9),
    "bilinear, x 1.3 by factor": _resized("bilinear", scale_factor=1.3),
    "bilinear, 16 to 8, antialias": _resized("bilinear", 8, antialias=True),
    "bicubic, x 2": _resized("bicubic"),
    "area, 16 to 8": _resized("area", 8),
    "linear, x 2": function(lambda x: F.interpolate(x.flatten(2), scale_factor=2, mode="linear").unflatten(2, (16, 32))),
    "trilinear, x 2": function(lambda x: F.interpolate(x.unflatten(1, (4, 6)), scale_factor=2, mode="trilinear").flatten(1, 2)),
    "resized to the size of a branch": function(lambda x: x + F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:], mode="bilinear")),
    "pixel_shuffle(2)": function(lambda x: F.pixel_shuffle(x, 2)),
    "pixel_unshuffle(2)": function(lambda x: F.pixel_unshuffle(x, 2)),
    "channel_shuffle(3)": module(lambda: nn.ChannelShuffle(3)),
    "repeat_interleave as x 2": function(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    "zeros": function(lambda x: F.pad(x, (1, 1, 1, 1))),
    "zeros, uneven": function(lambda x: F.pad(x, (0, 1, 2, 0))),
    "zeros before a convolution of stride 2": module(lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(24, 24, 3, 2))),
    "a constant 1.5": function(lambda x: F.pad(x, (1, 1, 1, 1), value=1.5)),
    "minus infinity before max_pool": function(lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)),
    "reflect": function(lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")),
    "replicate": function(lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate")),
    "circular": function(lambda x: F.pad(x, (1, 2, 2, 1), mode="circular")),
    "channels": function(lambda x: F.pad(x, (0, 0, 0, 0, 4, 4))),
    "negative, which crops": function(lambda x: F.pad(x, (-1, -2, -1, 0))),
}  # fmt: skip
