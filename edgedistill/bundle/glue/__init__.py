"""Glue code: how an app in Kotlin, Swift, Python or TypeScript loads a bundle, prepares its input, and gets typed results.

The code is plain source beside this file, in the folder of the task, and in that of each format: `glue/LANGUAGE`. It is copied into one
package, with a generated file that has the facts of the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

from edgedistill import tasks
from edgedistill.backends import backend
from edgedistill.backends.base import Glue
from edgedistill.bundle.readme import Usage
from edgedistill.files import write_text
from edgedistill.records.manifest import Manifest
from edgedistill.tasks.base import Glue as TaskGlue

_HERE = Path(__file__).parent


def write_glue(folder: Path, manifest: Manifest, languages: list[str]) -> list[Usage]:
    """Write the glue code of a bundle in each language into `folder`. Returns how an app uses each."""
    return [import_module(f"edgedistill.bundle.glue.in_{language}").write(folder, manifest) for language in languages]


def formats(manifest: Manifest, language: str) -> dict[str, Glue]:
    """The glue code of each format of a bundle that has some in `language`."""
    names = dict.fromkeys(entry.format for entry in manifest.artifacts)
    return {name: glue for name in names if (glue := backend(name).glue.get(language)) is not None}


def of_task(manifest: Manifest, language: str) -> TaskGlue | None:
    """The glue code of the bundle's task, where it has some in `language`."""
    glue = tasks.task(manifest.task).glue
    return glue if glue is not None and language in glue.names else None


def sources(manifest: Manifest, language: str) -> Iterator[Path]:
    """All source files of a bundle's package: what serves every task, then those of the task and of the formats."""
    folders = [_HERE / language]
    if (glue := of_task(manifest, language)) is not None:
        folders += [folder for place in glue.folders if (folder := place / language).is_dir()]
    folders += [_folder(name) / "glue" / language for name in formats(manifest, language)]
    for folder in dict.fromkeys(folders):
        yield from sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".template")


def copy_sources(folder: Path, manifest: Manifest, language: str, replaced: dict[str, str] | None = None) -> None:
    """Copy all source files of a bundle's package into `folder`; each key of `replaced` becomes its value."""
    folder.mkdir(parents=True)
    for path in sources(manifest, language):
        if not replaced:
            shutil.copyfile(path, folder / path.name)
            continue
        text = path.read_text(encoding="utf-8")
        for old, new in replaced.items():
            text = text.replace(old, new)
        write_text(folder / path.name, text)


def template(language: str, file: str, **values: Any) -> str:
    """The text of FILE.template of a language, with each `$value` in it replaced."""
    return Template((_HERE / language / f"{file}.template").read_text(encoding="utf-8")).substitute(values)


def constants(manifest: Manifest) -> dict[str, tuple[list[str], str]]:
    """The lists of texts of a manifest that generated code holds as constants, each with the name of their type."""
    glue, further = tasks.task(manifest.task).glue, manifest.model_extra or {}
    return {key: (list(map(str, further[key])), type_) for key, type_ in (glue.constants if glue else {}).items() if key in further}


def package_name(name: str) -> str:
    """`name` as packages of most languages are called: small letters, digits and hyphens, with a letter first."""
    return identifier(name).strip("_").replace("_", "-")


def identifier(name: str) -> str:
    """`name` as a name in code: small letters, digits and underscores, with a letter first."""
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.lower())
    return plain if plain[:1].isalpha() else f"m_{plain}"


def _folder(format_: str) -> Path:
    """The folder of a format's backend."""
    spec = find_spec(backend(format_).inspect)
    return Path(str(spec and spec.origin)).parent
