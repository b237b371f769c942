"""From a path or name to a validated recipe, with every mistake at once."""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import canonical_hash, read_json, reading, sha256_file
from edgedistill.recipe.base import RecipeError, at_home, nearest, shortened, shown, why_not
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.overrides import apply_overrides, override_of
from edgedistill.recipe.packaged import packaged
from edgedistill.recipe.reading import Lines, Location, dotted, line_of, read_text, read_yaml
from edgedistill.recipe.schema import Recipe, recipe_model, task_of

_FOLDER = packaged("recipes")


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe and where it came from."""

    recipe: Recipe
    path: str
    """What names the file again: the user's path, or `recipes/NAME.yaml` for one of the package."""
    text: str
    """The file as it was read."""
    sha256: str
    """SHA-256 of the file's bytes; what --set changed is in `effective()`."""
    command: str
    """The command that runs this recipe with the same --set options."""

    def place(self, field: str) -> str:
        """Where `field`, as `--set` takes it, stands: the file and the line of the field or of the nearest part around it."""
        if not self.path.endswith((".yaml", ".yml")):
            return self.path
        location = tuple(int(part) if part.isdecimal() else part for part in field.split("."))
        return f"{self.path}:{line_of(read_yaml(self.text, self.path)[1], location)}"

    def effective(self) -> dict[str, Any]:
        """Every field with its value, defaults and --set included, as JSON data; valid as a recipe again."""
        return self.recipe.model_dump(mode="json")


AnyRecipe = str | Path | Mapping[str, object] | LoadedRecipe
"""What a function that takes a recipe can be given: a path, a name of the package's, the fields themselves, or one that is loaded."""


@dataclass(frozen=True)
class RecipeInfo:
    """A line of `edgedistill recipes`."""

    name: str
    command: str
    description: str


def list_recipes() -> list[RecipeInfo]:
    """The recipes of the package, sorted by name: the first comment line is the command, the ones below it describe the recipe."""
    return [_info(path) for path in sorted(_FOLDER.rglob("*.yaml"))]


def _info(path: Path) -> RecipeInfo:
    comments = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comments.append(line.removeprefix("#").strip())
    name = path.relative_to(_FOLDER).with_suffix("").as_posix()
    return RecipeInfo(name, comments[0] if comments else "", " ".join(comments[1:]))


def find_recipe(path_or_name: str) -> tuple[Path, str]:
    """The file of a recipe and what to call it: an existing path goes before a recipe of the package.

    Raises:
        RecipeError: neither is there; the message names the recipes of the package and the nearest one.
    """
    path = at_home(Path(path_or_name))
    if (why := why_not(path, "file")) is None:
        return path, path_or_name
    names = [info.name for info in list_recipes()]
    name = path_or_name.removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")
    if name in names:
        return _FOLDER / f"{name}.yaml", f"recipes/{name}.yaml"
    kind = "a folder" if why_not(path, "folder") is None else "no file and no recipe of the package"
    if not why.startswith("no such"):
        kind = why.partition(":")[0]
    error = f"found {kind} named '{path_or_name}', expected a YAML file or one of {', '.join(names)}{nearest(name, names)}"
    raise RecipeError(path_or_name, [error])


def load_recipe(recipe: AnyRecipe, overrides: Sequence[str] = (), *, trust_code: bool = False) -> LoadedRecipe:
    """Read and validate a recipe, with `overrides` as `--set` takes them (`data.image_size=64`, `distill.stages.0.epochs=1`).

    recipe: the path of a YAML file, the name of a recipe of the package, or the fields themselves; one that is loaded is returned as it is.
    trust_code: whether it may name code to run, as `teacher.torch` does.

    Raises:
        RecipeError: `errors` has one text for each mistake: `file:line: field: found X, expected Y (did you mean 'z'?)`.
    """
    if isinstance(recipe, LoadedRecipe):
        return recipe
    if isinstance(recipe, Mapping):
        return _load_fields(recipe, overrides, trust_code=trust_code)
    file, path = find_recipe(str(recipe))
    text = read_text(file, path)
    value, lines = read_yaml(text, path)
    if not isinstance(value, dict):
        found = "an empty file" if value is None else shown(value)
        raise RecipeError(path, [f"{path}:1: recipe: found {found}, expected a mapping of fields, such as name: my-model"])
    valid = _validated(value, overrides, path, lambda location: f"{path}:{line_of(lines, location)}", lines, trust_code=trust_code)
    trusted = ["--trust-code"] if trust_code else []
    command = shlex.join(["edgedistill", "run", path, *(part for override in overrides for part in ("--set", override)), *trusted])
    return LoadedRecipe(valid, path, text, sha256_file(file), command)


def _load_fields(fields: Mapping[str, object], overrides: Sequence[str], *, trust_code: bool) -> LoadedRecipe:
    """A recipe that a program made: its text is JSON, which is YAML too."""
    where = "the recipe"
    try:
        text = json.dumps(fields, indent=2, default=os.fspath)
        # Half a character, as "\\ud800", is no text.
        json.dumps(fields, ensure_ascii=False, default=os.fspath).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError(where, [f"{where}: {error}; expected text, numbers, lists and dicts"]) from error
    valid = _validated(json.loads(text), overrides, where, lambda location: where, {}, trust_code=trust_code)
    return LoadedRecipe(valid, where, text, hashlib.sha256(text.encode()).hexdigest(), "edgedistill.run(recipe)")


def _validated(
    value: dict[str, object], overrides: Sequence[str], path: str, place: Callable[[Location], str], lines: Lines, *, trust_code: bool
) -> Recipe:
    """The recipe of a file's or program's `value`; `place` says where a field stands."""
    origins, errors = apply_overrides(value, list(overrides))
    recipe, mistakes = find_mistakes(recipe_model(task_of(value)), value, trust_code=trust_code)
    for location, said in sorted(mistakes, key=lambda item: line_of(lines, item[0])):
        override = override_of(origins, location)
        where = place(location) if override is None else f"--set {shortened(override)}"
        errors.append(f"{where}: {dotted(location) or 'recipe'}: {said}")
    if recipe is None or errors:
        raise RecipeError(path, errors)
    return recipe


def recorded(run: Path) -> Recipe:
    """The recipe that the folder of a run was made from, every field with its value. Raises UserError where there is no whole one."""
    record = run / "recipe.json"
    if not record.exists():
        raise UserError(f"{run} has no recipe.json; go on with `edgedistill run` of its recipe")
    content = read_json(record)
    with reading(record):
        effective = content["effective"]
        if canonical_hash(effective) != content["effective_sha256"]:
            raise DamagedFile(record, "was changed")
        return Recipe.model_validate(effective)
