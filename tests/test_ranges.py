"""The scan of activations: which waste or clip int8, how it is told, and what a run keeps of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the quantized operators
from torch import nn

from edgedistill.cli.tables import show_artifacts
from edgedistill.records import ArtifactSpec
from edgedistill.records.documents import Exported
from edgedistill.report import ranges
from edgedistill.run import Run, Step
from edgedistill.verify.levels import int8_levels

BRIGHT = 37
"""The index of the image with the largest value, in the second batch."""
INT8 = (-128, 127, torch.int8)
STEP = 1 / 255


def quantized(x: torch.Tensor, scale: float) -> torch.Tensor:
    """Quantized and dequantized, with 0 at the lowest level."""
    ops = torch.ops.quantized_decomposed
    return ops.dequantize_per_tensor.default(ops.quantize_per_tensor.default(x, scale, -128, *INT8), scale, -128, *INT8)


def batches_of(images: np.ndarray) -> list[tuple[torch.Tensor]]:
    return [(batch,) for batch in torch.from_numpy(images).split(32)]


class Planted(nn.Module):
    """An activation in a range that fits, in one that is 8 times too wide, and in one that is half as wide as its values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fits = quantized(image, STEP)
        return quantized(torch.relu(fits), 8 * STEP) + quantized(torch.mul(fits, 2), STEP)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Images [40, 3, 8, 8] in 0..1 on the grid of 255 levels, the brightest pixel in one of them."""
    images = np.random.default_rng(0).integers(0, 250, (40, 3, 8, 8)).astype(np.float32) / 255
    images[BRIGHT, 2, 5, 1] = 1
    return images


def test_a_range_that_is_wasted_and_one_that_clips_are_named_with_their_sample(images: np.ndarray) -> None:
    fits, wide, narrow = int8_levels(torch.fx.symbolic_trace(Planted()), batches_of(images))
    pixels = np.round(images.astype(np.float64) * 255).ravel()
    # On the grid of eight levels; the middle between two is rounded to the even one by both.
    low, high = np.quantile(np.round(pixels / 8), [0.001, 0.999], method="inverted_cdf")
    assert (wide.name, wide.problem) == ("relu", "wasteful")
    assert wide.used == (high - low + 1) / 256 < 0.14
    assert (wide.low, wide.high) == pytest.approx((0, 8))
    assert (fits.name, fits.problem, fits.clipped) == ("image", None, 0)
    assert fits.used > 0.97
    assert (narrow.name, narrow.problem) == ("mul", "clips")
    assert narrow.clipped == np.mean(2 * pixels > 255)
    assert narrow.largest == pytest.approx(2)
    assert {use.sample for use in (fits, wide, narrow)} == {BRIGHT}


def test_a_single_value_far_out_makes_no_range_used(images: np.ndarray) -> None:
    dim = images / 16
    dim[BRIGHT, 2, 5, 1] = 1
    fits = int8_levels(torch.fx.symbolic_trace(Planted()), batches_of(dim))[0]
    assert (fits.problem, fits.sample) == ("wasteful", BRIGHT)
    assert fits.used == 17 / 256


class Token(nn.Module):
    """A quantized constant of the program beside the images, as a class token is."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1) + quantized(self.token.expand(torch.ops.aten.sym_size.int(image, 0), -1), STEP)


def test_a_constant_belongs_to_no_image(images: np.ndarray) -> None:
    (use,) = int8_levels(torch.fx.symbolic_trace(Token()), batches_of(images))
    assert (use.sample, use.largest, use.used) == (None, 1.0, 1 / 256)


def test_a_run_scans_its_state_and_its_float16_packages(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((tiny / "result.json").read_text())
    int8, (package, float16) = summary["ranges"]["int8"], *summary["ranges"]["float16"].items()
    assert (int8["samples"], float16["samples"], package) == (256, 64, "student-fp16.mlpackage")
    assert int8["activations"] == 28
    assert "." in int8["least_used"]["name"], "the module, and not the node"
    assert float16["layers"] == []
    assert 0 < float16["largest"]["share"] < 0.01
    val = np.load(tiny / "runs/tiny/work/programs/samples/image.npy")
    assert 0 <= float16["largest"]["sample"] < len(val)
    text = (tiny / "runs/tiny/report.html").read_text()
    assert "Levels of int8 in use, on 256 samples of val" in text
    assert "What could leave float16&#39;s range, on 64 samples of val" in text
    show_artifacts(Exported.model_validate(summary))
    shown = capsys.readouterr().out
    assert " of 28 activations waste levels or clip" in shown
    assert f"student-fp16.mlpackage: the largest value, {float16['largest']['largest']:.1f} in {float16['largest']['name']}" in shown


def test_what_was_not_scanned_says_why(tmp_path: Path) -> None:
    state = Run(tmp_path)
    spec = ArtifactSpec("coreml", "fp16")
    state.step(Step(f"ranges-{spec.name}"), lambda _: {"error": "x: its ranges could not be scanned: boom"})
    found = ranges.recorded(state, [spec])
    assert ranges.lines(found) == [
        "int8 ranges: unavailable: not scanned; run `edgedistill verify`",
        "student-fp16.mlpackage: ranges unavailable: x: its ranges could not be scanned: boom",
    ]
    assert ranges.int8({"ranges": found.model_dump()}).rows == []
    (row,) = ranges.float16({"ranges": found.model_dump()}).rows
    assert [cell.text for cell in row] == [spec.name, *["unavailable: x: its ranges could not be scanned: boom"] * 6]
