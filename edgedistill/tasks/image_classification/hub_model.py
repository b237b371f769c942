"""What a recipe says of an image classifier of Hugging Face: its labels, and the preprocessing that its image processor does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.tasks.hub_models import PROCESSOR, HubModel, labels
from edgedistill.tasks.image_classification.recipe.data import Resize

if TYPE_CHECKING:
    from PIL.Image import Image

_FILTERS = {2: "triangle", 3: "cubic"}
"""Pillow's numbers of BILINEAR and BICUBIC."""
_OTHER_FILTERS = {0: "nearest", 1: "lanczos", 4: "box", 5: "hamming"}
_ALWAYS = {"do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize"}
_STRETCHED_FROM = 384
"""Side from which ConvNeXT's processor stretches an image, and crops nothing."""
_PROBES = ((61, 43), (43, 61), (500, 333), (333, 500), (97, 97), (640, 211))
"""Sizes of images, width and height, on which a processor is compared with what was understood of it."""
_TOLERATED = 2
"""Largest difference of a pixel, of 255: torchvision, which transformers resizes with, has weights of fewer bits than Pillow."""


def hub_model(folder: Path) -> HubModel:
    """Labels and preprocessing of the classifier in `folder`. UserError where it cannot be had exactly, with the field."""
    processor = _processor(folder)
    data = _data(processor, folder / PROCESSOR)
    _check_pixels(processor, data, folder / PROCESSOR)
    return HubModel({"classes": labels(folder)}, data)


def check_order(outputs: list[str], classes: list[str]) -> None:
    """Raise UserError where the folders of images have the names of a model's `outputs`, and sort in another order."""
    wrong = [(name, number) for number, name in enumerate(classes) if name in outputs and (outputs[number : number + 1] != [name])]
    if wrong:
        name, number = wrong[0]
        raise UserError(
            f"--calibration: found '{name}' as class {number} of the images, and as output {outputs.index(name)} of the model. Name the "
            "folders so that they sort in the order of the outputs, as 000, 001, ..., or put the images into one folder without labels"
        )


def _processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    if not (folder / PROCESSOR).is_file():
        raise UserError(
            f"{folder}: found no {PROCESSOR}, expected one: it says how images become what the model sees. Save it with "
            "AutoImageProcessor.save_pretrained, or give the model as torch:MODULE:FUNCTION with --image-size, --mean and --std"
        )
    try:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder / PROCESSOR}: transformers can't read it ({said})") from error


def _data(processor: Any, path: Path) -> dict[str, Any]:
    """Fields of the data that do what the processor says."""
    facts = processor.to_dict()
    for name, value in facts.items():
        if name.startswith(("do_", "rescale_offset")) and name not in _ALWAYS and value:
            raise UserError(f"{path}: {name}: found {value}, expected false: edgedistill does not do this to images")
    size, resize = _geometry(processor, path)
    mean, std = _normalization(processor, path)
    return {"image_size": size, "resize": resize, "mean": mean, "std": std}


def _geometry(processor: Any, path: Path) -> tuple[int, dict[str, Any]]:
    """The side that the model sees, and fields of `Resize`."""
    if not processor.do_resize:
        raise UserError(f"{path}: do_resize: found false, expected true: images of every size have to become those that the model takes")
    resample = int(processor.resample)
    if resample not in _FILTERS:
        found = f"found {resample} ({_OTHER_FILTERS.get(resample, 'unknown')})"
        raise UserError(f"{path}: resample: {found}, expected 2 (bilinear) or 3 (bicubic)")
    sizes = {key: value for key, value in dict(processor.size).items() if value is not None}
    if set(sizes) == {"height", "width"}:
        side, stretch = _square(sizes, path, "size"), True
    elif set(sizes) == {"shortest_edge"}:
        side, stretch = int(sizes["shortest_edge"]), False
    else:
        raise UserError(f"{path}: size: found {sizes}, expected height and width, or shortest_edge")
    seen = side
    if (share := getattr(processor, "crop_pct", None)) is not None and not stretch:
        # As ConvNeXT's, which is also that of ResNet.
        side, stretch = (side, True) if side >= _STRETCHED_FROM else (int(side / share), False)
    elif processor.do_center_crop:
        seen = _square(processor.crop_size, path, "crop_size")
    elif not stretch:
        raise UserError(f"{path}: do_center_crop: found false beside shortest_edge, expected true: the model takes squares of one size")
    if seen > side:
        raise UserError(f"{path}: crop_size: found {seen}, expected at most size, {side}: edgedistill adds no borders")
    return seen, {"side": side, "stretch": stretch, "filter": _FILTERS[resample], "odd_margin": "down"}


def _square(size: Any, path: Path, field: str) -> int:
    height, width = dict(size).get("height"), dict(size).get("width")
    if height is None or height != width:
        raise UserError(f"{path}: {field}: found height {height} and width {width}, expected a square")
    return int(height)


def _normalization(processor: Any, path: Path) -> tuple[list[float], list[float]]:
    """Mean and deviation of RGB in 0..1 that give the numbers which the processor makes of bytes."""
    unit = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    mean, std = (_channels(getattr(processor, name), path, name) if processor.do_normalize else [default] * 3
                 for name, default in (("image_mean", 0.0), ("image_std", 1.0)))  # fmt: skip
    return [value / unit for value in mean], [value / unit for value in std]


def _channels(values: Any, path: Path, field: str) -> list[float]:
    found = [float(value) for value in values] if isinstance(values, list | tuple) else [float(values)] * 3
    if len(found) != 3:
        raise UserError(f"{path}: {field}: found {len(found)} values, expected 3: models see RGB")
    return found


def _check_pixels(processor: Any, data: Mapping[str, Any], path: Path) -> None:
    """Raise UserError unless the processor makes the same of images as `data` says: its class may do more than its fields tell."""

    from edgedistill.tasks.image_classification.decoding import fitted

    rng = np.random.default_rng(0)
    mean, std = (np.array(data[name], np.float64)[:, None, None] for name in ("mean", "std"))
    for width, height in _PROBES:
        image = _probe(rng, width, height)
        ours = np.asarray(fitted(image, data["image_size"], Resize(**data["resize"])), np.float64).transpose(2, 0, 1)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0], np.float64)
        if theirs.shape != ours.shape:
            apart = f"{list(theirs.shape)} and not {list(ours.shape)}"
        elif (worst := np.abs((theirs * std + mean) * 255 - ours).max()) > _TOLERATED + 0.01:
            apart = f"pixels that differ by up to {worst:.0f} of 255"
        else:
            continue
        found = f"found that {type(processor).__name__} makes of an image of {width} x {height} pixels {apart}"
        raise UserError(f"{path}: {found}, from what its fields say: edgedistill does not know this processor's own steps")


def _probe(rng: np.random.Generator, width: int, height: int) -> Image:
    """Random colours with edges and noise."""
    from PIL import Image

    coarse = rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3))
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray((np.repeat(np.repeat(coarse, 7, 0), 7, 1)[:height, :width] + noise).clip(0, 255).astype(np.uint8))
