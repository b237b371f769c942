"""The quantize part of a recipe."""

from typing import Literal

from pydantic import Field

from edgedistill.recipe.base import Config


class Quantize(Config):
    """How the student becomes int8."""

    calibration: int = Field(
        512,
        ge=1,
        le=1_000_000,
        description="Training images that show the ranges of activations where no training does: distill: null, int8-static, int16x8.",
    )
    after_training: Literal["none", "static", "equalized", "corrected", "rounded", "tuned"] = Field(
        "static",
        description="What is done beside calibration where no training quantizes: each from static to rounded does what those before it "
        "do. none calibrates nothing, so that no file of the precision int8 can be made.",
    )
    mixed: Literal["none", "auto"] = Field(
        "none",
        description="auto leaves up to three layers that int8 costs most in float32, where that helps measurably; none proposes one.",
    )
