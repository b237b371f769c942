"""Image classification: models by timm name, their checkpoints, and images as tensors."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.errors import UserError
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.code import load_checkpoint
from edgedistill.tasks.image_classification.activations import replace_activations


def build_model(
    name: str,
    classes: int,
    *,
    checkpoint: str | None = None,
    pretrained: bool = False,
    seed: int = 0,
    arguments: Mapping[str, Any] | None = None,
    activation: str | None = None,
) -> nn.Module:
    """A timm model with `classes` logits, in evaluation mode.

    arguments: further ones of the timm model. activation: see `activations`.

    Raises UserError when timm has no such model (with the nearest names), when it does not take the arguments, or when the
    safetensors checkpoint does not fit it (naming the keys).
    """
    import timm

    check_name(name, pretrained=pretrained)
    torch.manual_seed(seed)
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=classes, **(arguments or {}))
    except Exception as error:
        # Whatever the code of a model says to arguments that it has no use for.
        if not arguments:
            raise
        raise UserError(f"timm's {name} does not take the arguments {dict(arguments)}: {type(error).__name__}: {error}") from error
    if activation is not None:
        replace_activations(model, activation)
    if checkpoint is not None:
        load_checkpoint(model, Path(checkpoint), name)
    return model.eval()


def check_name(name: str, *, pretrained: bool) -> None:
    """Raise UserError, with the nearest names, where timm has no such model, or no weights of it where they are wanted."""
    import timm

    known = timm.list_models(pretrained=False)
    architecture, _, tag = name.partition(".")
    if architecture not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise UserError(f"timm has no model '{name}'" + (f"; did you mean {' or '.join(near)}?" if near else "; see timm.list_models()"))
    if not tag and not pretrained:
        return
    weights = timm.list_models(f"{architecture}.*", pretrained=True)
    if not weights or (tag and name not in weights):
        has = f"it has {', '.join(weights[:5])}" if weights else "it has none of this model: set pretrained: false"
        raise UserError(f"timm has no weights '{name}'; {has}")


def signature(image_size: int, classes: int) -> Signature:
    """What a classifier takes and gives: one RGB image in 0..1 of `image_size` pixels a side, and a logit for each class."""
    image = TensorSpec(name="image", shape=(1, 3, image_size, image_size), meaning="image", layout="NCHW", range=(0.0, 1.0))
    return Signature.of([image], [TensorSpec(name="logits", shape=(1, classes), meaning="logits")])


def outputs_of(module: nn.Module, label: str, size: int, classes: int) -> int:
    """How many logits a module gives for an image; UserError unless it gives one for each of the `classes`, 0 for any number."""
    shape = f"float32 [1, 3, {size}, {size}]"
    try:
        with torch.no_grad():
            answer = module(torch.zeros(1, 3, size, size))
    except Exception as error:
        # The code of a model raises anything.
        raise UserError(f"{label} failed on an image {shape} ({type(error).__name__}: {error}). {_cause(module, size)}") from error
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or len(answer) != 1:
        found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise UserError(f"{label} gave {found} for an image {shape}, expected one tensor of logits [1, classes]")
    if classes and answer.shape[1] != classes:
        todo = "Name the folders of images after the classes, one for each output, or put the images into one folder without labels"
        raise UserError(f"{label} gives {answer.shape[1]} logits, and the images are of {classes} classes. {todo}")
    return answer.shape[1]


def _cause(module: nn.Module, size: int) -> str:
    """What is known of why a model does not take images, and what to do."""
    # In front of the user's model stands the normalisation of three channels.
    model = module.get_submodule("model")
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if first is not None and first.in_channels != 3:
        return f"Its first convolution takes {first.in_channels} channels, and images have 3; give samples as named arrays, see --input"
    if types := {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()} - {"float32"}:
        return f"Its weights are {', '.join(sorted(types))}, and images are float32; let the function return model.float()"
    return f"Expected a model that takes RGB images of {size} pixels; give the size that it was trained with, see --image-size"


def to_unit(images: np.ndarray) -> torch.Tensor:
    """A float32 tensor in 0..1 of uint8 or float32 images [N, 3, H, W]."""
    tensor = torch.from_numpy(np.array(images))
    return tensor.float().div_(255) if tensor.dtype == torch.uint8 else tensor
