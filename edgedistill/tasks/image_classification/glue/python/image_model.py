"""A model that tells what an image shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BundleError
from .features import FEATURES, features
from .frames import Frame, Plane, Resize, prepared
from .model import Model, _check_cancelled
from .routing import Router
from .scores import Prediction, check_labels, probabilities
from .self_test import FrameDifference, SelfTest


class ImageModel(Model):
    """A model of images. `load` is that of `Model`."""

    labels: tuple[str, ...]
    size: int

    def _check(self) -> None:
        self.labels = tuple(self.bundle.manifest["labels"])
        (self._input,), (self._output,) = self.entry["signature"]["inputs"], self.entry["signature"]["outputs"]
        check_labels(self.labels, self._output)
        self.router = Router(self.bundle.manifest, self.entry["name"], FEATURES)
        self.size, self._resize = _read(self.bundle.manifest["preprocessing"]["inputs"][self._input["name"]])

    def predict(self, image: Frame | np.ndarray | str | Path | Any, *, cancelled: Callable[[], bool] | None = None) -> Prediction:
        """What an image shows.

        Args:
            image: A frame; an array uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA; or, with Pillow, a path or an image of Pillow.
            cancelled: Asked between the steps; where it gives True, Cancelled is raised.

        Raises:
            InputError: The image has no such type or size.
        """
        _check_cancelled(cancelled)
        pixels = prepared(_frame(image), self.size, self._resize)
        logits = self.run({self._input["name"]: self.tensor(pixels)}, cancelled=cancelled)[self._output["name"]]
        return Prediction(self.labels, probabilities(logits), features(pixels))

    def tensor(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels uint8 [S, S, 3] as the artifact takes them."""
        if self._input["dtype"] == "uint8":
            return pixels[None]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)

    def self_test(self) -> SelfTest:
        """Prepare the golden frames of the bundle and run its golden inputs here; compare with what training and export gave."""
        found = super().self_test()
        frames = []
        for number, facts in enumerate(self.bundle.manifest.get("golden_frames", [])):
            names = ("format", "width", "height", "orientation", "matrix", "range")
            planes = [Plane(plane["offset"], plane["row_stride"], plane["pixel_stride"]) for plane in facts["planes"]]
            frame = Frame(data=self.bundle.checked(facts["file"]).read_bytes(), planes=planes, **{name: facts[name] for name in names})
            expected = np.frombuffer(self.bundle.checked(facts["expected"]).read_bytes(), np.uint8)
            difference = prepared(frame, self.size, self._resize).reshape(-1).astype(int) - expected
            frames.append(FrameDifference(number, int(np.abs(difference).max())))
        return replace(found, frames=tuple(frames), routes_wrong=self.router.wrong_rows())


def _read(facts: dict[str, Any]) -> tuple[int, Resize]:
    """The side of the square that the model sees, and how it is made. Raises BundleError for a way that this code does not know."""
    resize, crop = facts["resize"], facts["crop"]
    known = {"filter": (resize["filter"], ("triangle", "cubic")), "crop.place": (crop["place"], ("center", "center, rounded down"))}
    for field, (found, expected) in known.items():
        if found not in expected:
            raise BundleError(f"manifest.json: found the {field} '{found}', expected {' or '.join(expected)}; get newer code")
    stretch = "width" in resize
    side = resize["width"] if stretch else resize["shorter_side"]
    sides = {crop["width"], crop["height"], *((resize["height"], side) if stretch else ())}
    if crop["width"] != crop["height"] or crop["width"] > side or (stretch and resize["height"] != side):
        raise BundleError(f"manifest.json: found sizes {sorted(sides)}, expected a square crop of at most the resized side {side}")
    return crop["width"], Resize(side, stretch, resize["filter"] == "cubic", crop["place"] != "center")


def _frame(image: Any) -> Frame:
    if isinstance(image, Frame):
        return image
    if isinstance(image, np.ndarray):
        return Frame.of(image)
    from .files import frame_of

    return frame_of(image)
