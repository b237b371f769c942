"""The recipe of a model of the user: what the options of `edgedistill export --model` say, as if a file had said it."""

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import LoadedRecipe
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.reading import dotted
from edgedistill.recipe.schema import recipe_model, task_of
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
    """`torch:package.module:function`."""
    calibration: Path
    """A folder of images, a folder of class folders, or an .npz of labelled images or of named arrays."""
    checkpoint: Path | None = None
    inputs: tuple[str, ...] = ()
    """Inputs in their order, as `features=float32[1,80,T]`; without any, the arrays of an .npz are the inputs."""
    image_size: int = 224
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    name: str | None = None
    threads: int | None = None


def recipe_of(user_model: UserModel, targets: list[str]) -> LoadedRecipe:
    """A recipe that distils nothing: half of the samples calibrate, the other half verify.

    Raises RecipeError with every wrong option at once.
    """
    if not user_model.model.startswith(_PREFIX):
        raise RecipeError("the options", [f"--model: found '{user_model.model}', expected torch:package.module:function"])
    reference = user_model.model.removeprefix(_PREFIX)
    named = bool(user_model.inputs) or is_named(user_model.calibration)
    value: dict[str, object] = {
        "name": user_model.name or reference.rpartition(":")[2],
        **({"task": "tensors"} if named else {}),
        "data": _arrays(user_model) if named else _images(user_model),
        "teacher": None,
        "student": {"torch": reference} | ({} if user_model.checkpoint is None else {"checkpoint": str(user_model.checkpoint)}),
        "distill": None,
        **({"targets": targets} if targets else {}),
        **({} if user_model.threads is None else {"threads": user_model.threads}),
    }
    # Who types the name of code on the command line wants it to run.
    recipe, mistakes = find_mistakes(recipe_model(task_of(value)), value, trust_code=True)
    if recipe is None:
        raise RecipeError("the options", sorted(f"{_option(dotted(location))}: {said}" for location, said in mistakes))
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return LoadedRecipe(
        recipe, "the options of `edgedistill export`", json.dumps(value), digest, _command(user_model, targets, named=named)
    )


_HALVES = {"val": 0.5, "holdout": 0}


def _arrays(user_model: UserModel) -> dict[str, object]:
    return {"npz": str(user_model.calibration), "inputs": list(user_model.inputs), "split": _HALVES}


def _images(user_model: UserModel) -> dict[str, object]:
    return {
        "source": _source(user_model.calibration), "image_size": user_model.image_size, "split": _HALVES,
        "mean": list(user_model.mean), "std": list(user_model.std),
    }  # fmt: skip


def _source(path: Path) -> dict[str, str]:
    if path.suffix == ".npz":
        return {"npz": str(path)}
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")] if path.is_dir() else []
    in_classes = len(entries) > 1 and all(entry.is_dir() for entry in entries)
    return {"imagefolder" if in_classes else "images": str(path)}


def _option(field: str) -> str:
    """The option that gave a field, or the field where none did."""
    fitting = [known for known in _OPTIONS if field == known or field.startswith((f"{known}.", f"{known}["))]
    return _OPTIONS[max(fitting, key=len)] if fitting else field


def _command(user_model: UserModel, targets: list[str], *, named: bool) -> str:
    options = {
        "--model": user_model.model,
        "--checkpoint": user_model.checkpoint,
        "--calibration": user_model.calibration,
        "--name": user_model.name,
        "--threads": user_model.threads,
    }
    parts = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
    if named:
        parts += [part for text in user_model.inputs for part in ("--input", text)]
    else:
        parts += ["--image-size", str(user_model.image_size)]
        parts += [part for option in ("mean", "std") for part in (f"--{option}", ",".join(f"{v:g}" for v in getattr(user_model, option)))]
    parts += [part for target in targets for part in ("--target", target)]
    return shlex.join(["edgedistill", "export", *parts])
