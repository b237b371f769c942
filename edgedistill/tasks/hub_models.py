"""Trained models of Hugging Face: where their files are, which task they are for, and their weights.

Nothing of a model is trusted: its weights are safetensors, and no code of its own is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.packages import require, why_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from edgedistill.tasks.base import Task

PREFIX = "hf:"
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""What is fetched of a model on the hub: neither code nor pickles."""
_WITH_CODE = (CONFIG, PROCESSOR, "processor_config.json", "tokenizer_config.json")


@dataclass(frozen=True)
class HubModel:
    """What a recipe says of a model of Hugging Face, beside which samples it gets."""

    student: Mapping[str, Any]
    """Fields of the student, beside where it is; with `hf`, the place of its files instead of its name and revision."""
    data: Mapping[str, Any]
    """Fields of the data."""


@dataclass(frozen=True)
class Place:
    """Where the files of a model are, and the commit of one on the hub."""

    folder: Path
    revision: str | None


def place(reference: str, revision: str | None = None) -> Place:
    """The files of the model in a folder, or of that name on the hub, which are fetched; UserError where there are none."""
    if (folder := Path(reference).expanduser()).is_dir():
        return Place(folder, None)
    expected = "expected a folder with config.json, or the name of a model on the Hugging Face hub, as hf:owner/name"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(reference, revision=revision, allow_patterns=_FILES))
    except HFValidationError as error:
        raise UserError(f"{PREFIX}{reference}: found no such folder, {expected}") from error
    except LocalEntryNotFoundError as error:
        said = "the hub can't be reached, and the model was not fetched before"
        raise UserError(f"{PREFIX}{reference}: found no such folder, and {said}; {expected}") from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"{PREFIX}{reference}: found no such folder, and the hub says: {_first_line(error)}; {expected}") from error
    return Place(found, found.name)


def task_of(folder: Path) -> Task:
    """The task of this project for the model in `folder`, by optimum's lookup; UserError where none is for it."""
    from edgedistill.tasks import tasks

    check_packages()
    _check_files(folder)
    known = {name: task for task in tasks().values() for name in sorted(task.hub_tasks)}
    architecture = _architecture(folder)
    name = _optimum_task(architecture, folder)
    if name not in known:
        supported = ", ".join(f"{name} (the task {task.name})" for name, task in known.items())
        raise UserError(f"{folder / CONFIG}: found {architecture}, a model for {name}, expected one for {supported}")
    return known[name]


def check_packages() -> None:
    """Raise MissingExtra or UserError where a package that reads models of Hugging Face is missing."""
    require("train")
    if said := why_missing(("optimum",), "hf"):
        raise UserError(said)


def trained(auto: str, folder: Path, without: str = "") -> nn.Module:
    """The model in `folder` with its weights, float32, in evaluation mode.

    auto: the class of transformers that loads it, as AutoModelForImageClassification. without: how weights begin that may be missing, since
    nothing uses them. Raises UserError where the files are damaged, or where a weight is missing: transformers would draw it at random.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    _check_files(folder)
    with _quiet():
        try:
            model, report = getattr(transformers, auto).from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True,
                # Fused attention is exported with checks of masks that no image needs, and delegates leave these to the CPU.
                attn_implementation="eager",
                # Told below, with their names.
                ignore_mismatched_sizes=True,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder}: transformers can't load the model ({_first_line(error)})") from error
    lacking = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    lacking = [key for key in lacking if not without or not key.startswith(without)]
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        found = f"found no weights of the right shape for {', '.join(lacking[:3])}{more}"
        raise UserError(f"{folder}: {found}, expected those of the whole model; save it with save_pretrained")
    return model.eval()


def config_of(folder: Path) -> Any:
    """The configuration of the model in `folder`, as transformers reads it."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / CONFIG}: transformers can't read it ({_first_line(error)})") from error


def labels(folder: Path) -> list[str]:
    """The names of a classifier's outputs in their order. UserError where id2label leaves one out."""
    found: Mapping[int, Any] = config_of(folder).id2label or {}
    numbers = sorted(found)
    if not numbers or numbers != list(range(len(numbers))):
        missing = sorted(set(range(max(numbers, default=0) + 1)) - set(numbers))
        said = f"{len(numbers)} labels without {', '.join(map(str, missing[:5]))}" if numbers else "none"
        raise UserError(f"{folder / CONFIG}: id2label: found {said}, expected one for each output, numbered from 0")
    return [str(found[number]) for number in numbers]


def _check_files(folder: Path) -> None:
    """Raise UserError where the folder has no configuration, no safetensors, or code of its own."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: found no {CONFIG}, expected a model that save_pretrained of transformers wrote")
    for name in _WITH_CODE:
        if (folder / name).is_file() and (named := _json(folder / name).get("auto_map")):
            code = ", ".join(map(str, named.values())) if isinstance(named, dict) else str(named)
            raise UserError(
                f"{folder / name}: found auto_map, which names code of the model's own ({code}), expected a model whose code is in "
                "transformers: no code of a model is run. Load it in a function of yours, and give --model torch:MODULE:FUNCTION"
            )
    if not list(folder.glob("*.safetensors")):
        pickles = ", ".join(sorted(path.name for suffix in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{suffix}")))
        todo = "save it again with save_pretrained of transformers, which writes model.safetensors"
        raise UserError(f"{folder}: found {pickles or 'no weights'}, expected .safetensors files: pickles can run code. {todo}")


def _architecture(folder: Path) -> str:
    found = config_of(folder).architectures
    if not isinstance(found, list) or len(found) != 1:
        raise UserError(f"{folder / CONFIG}: found the architectures {found}, expected one, as ['ResNetForImageClassification']")
    return str(found[0])


def _optimum_task(architecture: str, folder: Path) -> str:
    import transformers
    from optimum.exporters.tasks import TasksManager

    library = TasksManager.infer_library_from_model(str(folder))
    if library == "sentence_transformers":
        # Whatever the architecture was trained for, its tokens are pooled.
        return "feature-extraction"
    if library != "transformers":
        raise UserError(f"{folder / CONFIG}: found a model of {library}, expected one of transformers")
    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        raise UserError(f"{folder / CONFIG}: found the architecture {architecture}, which transformers {transformers.__version__} has not")
    try:
        return str(TasksManager.infer_task_from_model(model_class))
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: found {architecture}, for which optimum knows no task") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as JSON ({_first_line(error)})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: found {type(found).__name__}, expected a JSON object")
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and warnings of transformers: what matters of them is an error here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
