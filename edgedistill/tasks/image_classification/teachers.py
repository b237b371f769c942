"""Teachers of images: modules and model files, whose outputs are brought to the classes of the data."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedistill import child, processes
from edgedistill.backends import of_suffix
from edgedistill.errors import UserError
from edgedistill.recipe.base import Config
from edgedistill.tasks.image_classification.preprocessed import Preprocessed, resized
from edgedistill.tasks.image_classification.recipe.teachers import FileTeacher, HuggingFaceTeacher, TimmTeacher, TorchTeacher
from edgedistill.tasks.image_classification.taps import Taps


class ModuleTeacher:
    """A PyTorch module that teaches. signals: what it is asked for; outputs: positions in its logits, see `Outputs`."""

    def __init__(self, module: nn.Module, signals: Collection[str], outputs: Outputs) -> None:
        self.device = processes.device()
        # A module of the user's own may count on the usual order.
        self.order = torch.channels_last if isinstance(module, Preprocessed) else torch.contiguous_format
        self.taps, self.outputs = Taps(module.eval().to(self.device, memory_format=self.order), signals), outputs  # type: ignore[call-overload]
        self.signals = sorted(signals)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals of a batch, on the device of the module."""
        with torch.no_grad():
            signals = self.taps({"image": inputs["image"].to(self.device, memory_format=self.order)})  # type: ignore[call-overload]
        signals["logits"] = self.outputs(signals["logits"])
        return {name: signals[name] for name in self.signals}


class FileRunner:
    """A model file that teaches by its logits; it is run in a process of its own, which may crash alone."""

    def __init__(self, config: FileTeacher, outputs: Outputs) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        self.config, self.outputs = config, outputs
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_open_file, initargs=(os.getpid(), str(config.file)))

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The logits of a batch."""
        from concurrent.futures.process import BrokenProcessPool

        from edgedistill.errors import DeviceFailed

        try:
            logits = self.pool.submit(_run_file, self._input(inputs["image"])).result()
        except BrokenProcessPool as error:
            raise DeviceFailed(f"the runtime of {self.config.file} crashed while it answered; try the file with its own tools") from error
        except Exception as error:
            raise UserError(f"{self.config.file}: {error}; expected one float32 image of batch 1 in, see layout and input_size") from error
        return {"logits": self.outputs(torch.from_numpy(logits))}

    def _input(self, images: Tensor) -> np.ndarray:
        config = self.config
        if config.input_size is not None:
            images = resized(images, config.input_size)
        if config.mean is not None and config.std is not None:
            images = (images - torch.tensor(config.mean)[:, None, None]) / torch.tensor(config.std)[:, None, None]
        return np.ascontiguousarray((images.permute(0, 2, 3, 1) if config.layout == "nhwc" else images).numpy())


_forward: Any = None
_NAMES = {"inputs": [{"name": "image"}], "outputs": [{"name": "logits"}]}


def _open_file(parent: int, path: str) -> None:
    global _forward  # noqa: PLW0603  the model of this child process
    child.follow(parent, signal.SIGKILL)
    facts = of_suffix(Path(path))
    assert facts is not None, "the recipe takes files of known formats only"
    adapter = importlib.import_module(facts.adapters[0].module)
    adapter.prepare(1)
    try:
        _forward = adapter.load(path, 1, _NAMES)
    except Exception as error:
        # Raised in an initializer, it would be told as a crash.
        _forward = ValueError(f"it can't be loaded ({error})")


def _run_file(images: np.ndarray) -> np.ndarray:
    if isinstance(_forward, ValueError):
        raise _forward
    return np.concatenate([np.asarray(_forward({"image": image[None]})["logits"], np.float32).reshape(1, -1) for image in images])


class Outputs:
    """Brings a teacher's logits [B, its outputs] to the data's classes [B, C].

    names: of its outputs, or None where they are the classes in their order. Outputs of one name are added as probabilities
    (log-sum-exp), a class without an output is -inf, and `merge` takes it from others.
    """

    def __init__(self, teacher: str, names: list[str] | None, classes: list[str]) -> None:
        self.teacher, self.classes = teacher, classes
        self.names = None if names == classes else names
        if self.names is not None and not set(self.names) & set(classes):
            found, expected = ", ".join(self.names[:5]), ", ".join(classes[:5])
            raise UserError(f"teacher {teacher}: none of its classes ({found}, ...) is a class of the data ({expected}, ...)")

    @property
    def known(self) -> np.ndarray:
        """Whether it has an output for each class of the data, bool [C]."""
        return np.array([self.names is None or name in self.names for name in self.classes])

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits of the data's classes, float32 [B, C]."""
        expected = len(self.names or self.classes)
        if logits.ndim != 2 or logits.shape[1] != expected:
            what = "the data has" if self.names is None else "its classes are"
            raise UserError(
                f"teacher {self.teacher} gives logits of shape {tuple(logits.shape)}, and {what} {expected}; "
                "name its outputs in teacher.classes, or take a teacher of the data's classes"
            )
        if self.names is None:
            return logits.float()
        columns = [[i for i, name in enumerate(self.names) if name == class_name] for class_name in self.classes]
        none = logits.new_full((len(logits),), float("-inf"))
        return torch.stack([logits[:, c].logsumexp(dim=1) if c else none for c in columns], dim=1).float()


def outputs_of(config: Config, classes: list[str]) -> Outputs:
    """What brings the outputs of a teacher of the recipe to `classes`."""
    from edgedistill.tasks.image_classification import huggingface

    assert isinstance(config, (TimmTeacher, HuggingFaceTeacher, TorchTeacher, FileTeacher))
    names = config.classes
    if names is None and isinstance(config, HuggingFaceTeacher):
        names = huggingface.names(config, classes)
    return Outputs(config.name, names, classes)
