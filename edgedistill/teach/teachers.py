"""Teachers as sources of signals: whatever they are made of, they answer a batch of images with named tensors."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edgedistill import processes
from edgedistill.backends import of_suffix
from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.recipe.data import Data
from edgedistill.recipe.teachers import FileTeacher, HuggingFaceTeacher, TimmTeacher, TorchModule, TorchTeacher
from edgedistill.tasks.image_classification.models import build_model, load_checkpoint
from edgedistill.tasks.image_classification.preprocessed import Preprocessed, resized
from edgedistill.tasks.image_classification.taps import Taps


class Teacher(Protocol):
    """Answers float32 images [B, 3, S, S] in 0..1 with the signals that are wanted, by name; see `tasks.image_classification.taps`."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The signals of a batch, logits [B, classes of the data] among them."""


def build_module(config: TimmTeacher | HuggingFaceTeacher | TorchTeacher, data: Data, classes: list[str], seed: int) -> nn.Module:
    """The module of a teacher with the weights that its recipe names, in evaluation mode: images in 0..1 to its own logits."""
    if isinstance(config, TimmTeacher):
        count = len(config.classes or classes)
        path = None if config.checkpoint is None else str(config.checkpoint)
        model = build_model(config.model, count, checkpoint=path, pretrained=config.pretrained, seed=seed)
        return Preprocessed(model, tuple(data.mean), tuple(data.std)).eval()
    if isinstance(config, HuggingFaceTeacher):
        from edgedistill.tasks.image_classification.huggingface import load

        return load(config, data, classes, seed).eval()
    return torch_module(config).eval()


def torch_module(config: TorchModule, field: str = "teacher") -> nn.Module:
    """The module that a function of the user's makes, with its checkpoint; UserError where it can't be had."""
    module = _made_by(config.torch, field)
    if config.checkpoint is not None:
        load_checkpoint(module, config.checkpoint, config.torch)
    return module


@contextmanager
def _own_folder() -> Iterator[None]:
    """Let Python find modules in the current folder, which is not on the path of an installed script."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _made_by(reference: str, field: str) -> nn.Module:
    name, _, function = reference.partition(":")
    with _own_folder():
        try:
            made = getattr(importlib.import_module(name), function)()
        except (ImportError, AttributeError) as error:
            expected = "expected a function in a module that Python finds"
            raise UserError(f"{field}.torch: {reference} can't be loaded ({error}); {expected}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"{field}.torch: {reference} gave {type(made).__name__}, expected a torch.nn.Module")
    return made


def code_hash(config: TorchModule) -> str | None:
    """Hash of the file whose code makes the module: its weights alone do not tell what it computes. None where there is no such file."""
    with _own_folder():
        try:
            spec = find_spec(config.torch.partition(":")[0])
        except ImportError:
            return None
    path = None if spec is None or spec.origin is None else Path(spec.origin)
    return sha256_file(path) if path is not None and path.is_file() else None


class ModuleTeacher:
    """A PyTorch module that teaches. signals: what it is asked for; outputs: positions in its logits, see `Outputs`."""

    def __init__(self, module: nn.Module, signals: Collection[str], outputs: Outputs) -> None:
        self.device = processes.device()
        # A module of the user's own may count on the usual order.
        self.order = torch.channels_last if isinstance(module, Preprocessed) else torch.contiguous_format
        self.taps, self.outputs = Taps(module.eval().to(self.device, memory_format=self.order), signals), outputs  # type: ignore[call-overload]
        self.signals = sorted(signals)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The signals of a batch, on the device of the module."""
        with torch.no_grad():
            found = self.taps(images.to(self.device, memory_format=self.order))
        found["logits"] = self.outputs(found["logits"])
        return {name: found[name] for name in self.signals}


class FileRunner:
    """A model file that teaches by its logits; it is run in a process of its own, which may crash alone."""

    def __init__(self, config: FileTeacher, outputs: Outputs) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        self.config, self.outputs = config, outputs
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_open_file, initargs=(str(config.file),))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The logits of a batch."""
        from concurrent.futures.process import BrokenProcessPool

        from edgedistill.errors import DeviceFailed

        try:
            logits = self.pool.submit(_run_file, self._input(images)).result()
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


def _open_file(path: str) -> None:
    global _forward  # noqa: PLW0603  the model of this child process
    found = of_suffix(Path(path))
    assert found is not None, "the recipe takes files of known formats only"
    adapter = importlib.import_module(found.adapters[0].module)
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
        columns = [[i for i, name in enumerate(self.names) if name == wanted] for wanted in self.classes]
        none = logits.new_full((len(logits),), float("-inf"))
        return torch.stack([logits[:, c].logsumexp(dim=1) if c else none for c in columns], dim=1).float()
