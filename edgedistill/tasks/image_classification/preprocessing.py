"""What an app does before and after a classifier, as a manifest says it, and the golden frames that its code is held to."""

from __future__ import annotations

from pydantic import JsonValue

from edgedistill.records.manifest import Preprocessing
from edgedistill.tasks.image_classification.frames import golden_frames
from edgedistill.tasks.image_classification.recipe.data import Data


def preprocessing(data: Data, labels: list[str]) -> Preprocessing:
    """That of a model that was made with `data`; labels: the names of its outputs."""
    size, resize = data.image_size, data.resize
    side = resize.side or size
    sides: dict[str, JsonValue] = {"width": side, "height": side} if resize.stretch else {"shorter_side": side}
    place = "center" if resize.odd_margin == "even" else "center, rounded down"
    image: dict[str, JsonValue] = {
        "kind": "image",
        "color": "RGB",
        "orientation": "upright, as EXIF says",
        "sixteen_bit": "divided by 257",
        "transparency": "composed with white",
        "resize": {**sides, "filter": resize.filter, "antialias": True},
        "crop": {"width": size, "height": size, "place": place},
        "padding": None,
        "normalization": {"mean": list(data.mean), "std": list(data.std), "where": "inside the program"},
    }
    logits: dict[str, JsonValue] = {"kind": "scores", "postprocessing": "softmax", "thresholds": None}
    frames, files = golden_frames(size, resize)
    manifest: dict[str, JsonValue] = {"labels": list(labels), "golden_frames": frames}
    return Preprocessing(inputs={"image": image}, outputs={"logits": logits}, manifest=manifest, files=files)
