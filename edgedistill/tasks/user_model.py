"""The recipe of a trained model: what the options of `edgedistill export --model` say, as if a file had said it."""

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import LoadedRecipe
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.reading import dotted
from edgedistill.recipe.schema import recipe_model, task_of
from edgedistill.tasks import hub_models
from edgedistill.tasks.tensors.samples import is_named

_OPTIONS = {
    "name": "--name", "student": "--model", "student.checkpoint": "--checkpoint", "data.source": "--calibration",
    "data.npz": "--calibration", "data.inputs": "--input", "data.image_size": "--image-size", "data.mean": "--mean", "data.std": "--std",
    "targets": "--target", "threads": "--threads",
}  # fmt: skip
_PREFIX = "torch:"


@dataclass(frozen=True)
class UserModel:
    """A trained model, and the samples that calibrate and verify it: images, or arrays by the names of its inputs."""

    model: str
    """`torch:package.module:function`, or `hf:` with the folder of a model of Hugging Face or its name on the hub."""
    calibration: Path
    """A folder of images, a folder of class folders, an .npz of labelled images or of named arrays, or a table of texts: .jsonl, .csv or
    .parquet with the column `text`."""
    checkpoint: Path | None = None
    inputs: tuple[str, ...] = ()
    """Inputs in their order, as `features=float32[1,80,T]`; without any, the arrays of an .npz are the inputs."""
    image_size: int | None = None
    """224 where nothing is said, as the mean is 0 and the deviation 1; a model of Hugging Face says all three itself."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    name: str | None = None
    threads: int | None = None


def recipe_of(user_model: UserModel, targets: list[str]) -> LoadedRecipe:
    """A recipe that distils nothing: half of the samples calibrate, the other half verify.

    Raises RecipeError with every wrong option at once.
    """
    if user_model.model.startswith(hub_models.PREFIX):
        value = _of_hub(user_model)
    elif user_model.model.startswith(_PREFIX):
        value = _of_code(user_model)
    else:
        expected = "expected torch:package.module:function or hf:FOLDER"
        raise RecipeError("the options", [f"--model: found '{user_model.model}', {expected}"])
    value |= {"teacher": None, "distill": None} | ({"targets": targets} if targets else {})
    value |= {} if user_model.threads is None else {"threads": user_model.threads}
    # Who types the name of code on the command line wants it to run.
    recipe, mistakes = find_mistakes(recipe_model(task_of(value)), value, trust_code=True)
    if recipe is None:
        raise RecipeError("the options", sorted(f"{_option(dotted(location))}: {said}" for location, said in mistakes))
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return LoadedRecipe(recipe, "the options of `edgedistill export`", json.dumps(value), digest, _command(user_model, targets))


def _of_code(user_model: UserModel) -> dict[str, object]:
    """The fields for a module that a function makes."""
    reference = user_model.model.removeprefix(_PREFIX)
    named = bool(user_model.inputs) or is_named(user_model.calibration)
    return {
        "name": user_model.name or reference.rpartition(":")[2],
        **({"task": "tensors"} if named else {}),
        "data": _arrays(user_model) if named else _images(user_model),
        "student": {"torch": reference} | ({} if user_model.checkpoint is None else {"checkpoint": str(user_model.checkpoint)}),
    }


def _of_hub(user_model: UserModel) -> dict[str, object]:
    """The fields for a model of Hugging Face, most of which its own files say."""
    given = {"--" + key.replace("_", "-"): getattr(user_model, key) for key in ("checkpoint", "image_size", "mean", "std")}
    if wrong := [option for option, value in ({**given, "--input": user_model.inputs or None}).items() if value is not None]:
        said = f"found beside {hub_models.PREFIX}, whose files say it; leave it out"
        raise RecipeError("the options", [f"{option}: {said}" for option in wrong])
    reference = user_model.model.removeprefix(hub_models.PREFIX)
    hub_models.check_packages()
    found = hub_models.place(reference)
    task = hub_models.task_of(found.folder)
    model = task.hub_model(found.folder)
    revision = {} if found.revision is None or "hf" in model.student else {"revision": found.revision}
    return {
        "name": user_model.name or re.sub(r"[^A-Za-z0-9._-]", "-", Path(reference).expanduser().resolve().name),
        "task": task.name,
        "data": {"source": _source(user_model.calibration), "split": _HALVES, **model.data},
        "student": {"hf": reference, **revision, **model.student},
    }


_HALVES = {"val": 0.5, "holdout": 0}
_TABLES = (".npz", ".jsonl", ".csv", ".parquet")
"""Suffixes of files that recipes name by their suffix."""


def _arrays(user_model: UserModel) -> dict[str, object]:
    return {"npz": str(user_model.calibration), "inputs": list(user_model.inputs), "split": _HALVES}


def _images(user_model: UserModel) -> dict[str, object]:
    return {
        "source": _source(user_model.calibration), "split": _HALVES,
        "image_size": 224 if user_model.image_size is None else user_model.image_size,
        "mean": list(user_model.mean or (0.0, 0.0, 0.0)), "std": list(user_model.std or (1.0, 1.0, 1.0)),
    }  # fmt: skip


def _source(path: Path) -> dict[str, str]:
    if path.suffix in _TABLES:
        return {path.suffix.removeprefix("."): str(path)}
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")] if path.is_dir() else []
    in_classes = len(entries) > 1 and all(entry.is_dir() for entry in entries)
    return {"imagefolder" if in_classes else "images": str(path)}


def _option(field: str) -> str:
    """The option that gave a field, or the field where none did."""
    fitting = [known for known in _OPTIONS if field == known or field.startswith((f"{known}.", f"{known}["))]
    return _OPTIONS[max(fitting, key=len)] if fitting else field


def _command(user_model: UserModel, targets: list[str]) -> str:
    options = {
        "--model": user_model.model,
        "--checkpoint": user_model.checkpoint,
        "--calibration": user_model.calibration,
        "--image-size": user_model.image_size,
        "--name": user_model.name,
        "--threads": user_model.threads,
    }
    parts = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
    parts += [part for text in user_model.inputs for part in ("--input", text)]
    channels = {name: values for name in ("mean", "std") if (values := getattr(user_model, name)) is not None}
    parts += [part for name, values in channels.items() for part in (f"--{name}", ",".join(f"{value:g}" for value in values))]
    parts += [part for target in targets for part in ("--target", target)]
    return shlex.join(["edgedistill", "export", *parts])
