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
from edgedistill.backends import backend, backends
from edgedistill.backends.base import Glue
from edgedistill.bundle.readme import Usage
from edgedistill.files import write_text
from edgedistill.progress import log
from edgedistill.records.manifest import Manifest
from edgedistill.tasks.base import Glue as TaskGlue

_HERE = Path(__file__).parent


def write_glue(folder: Path, manifest: Manifest, languages: list[str]) -> list[Usage]:
    """Write the glue code of a bundle in each language into `folder`, but for those of `left_out`, which are logged.

    Returns how an app uses each.
    """
    without = left_out(manifest, languages)
    for reason in without.values():
        log(f"{manifest.target.name}: {reason}")
    chosen = [language for language in languages if language not in without]
    return [import_module(f"edgedistill.bundle.glue.in_{language}").write(folder, manifest) for language in chosen]


def left_out(manifest: Manifest, languages: list[str]) -> dict[str, str]:
    """Languages in which a bundle gets no glue code, each with the reason, a sentence."""
    if not manifest.signature.state:
        return {}
    reasons = {}
    for language in languages:
        if of_task(manifest, language) is None:
            # Code that takes and gives tensors has neither inputs whose size varies nor a state.
            reasons[language] = (
                f"the files keep a state between calls, and the task {manifest.task} has code for that {_languages(manifest)}. The README "
                "of the bundle says how to call them"
            )
        elif not runnable(manifest, language):
            reasons[language] = f"no runtime for it has the kernels that these files need; take a target with files of {_kept_outside()}"
    return {language: f"There is no glue code in {_titled(language)}: {why}." for language, why in reasons.items()}


def _languages(manifest: Manifest) -> str:
    """In which languages the task of a bundle has glue code."""
    glue = tasks.task(manifest.task).glue
    return f"in {' and '.join(map(_titled, glue.names))} only" if glue else "in no language"


def _titled(language: str) -> str:
    return "TypeScript" if language == "typescript" else language.capitalize()


def _kept_outside() -> str:
    """The formats whose files leave their state to the caller."""
    return " or ".join(own.title for own in backends().values() if own.state == "outside")


def formats(manifest: Manifest, language: str) -> dict[str, Glue]:
    """The glue code of each format of a bundle that has some in `language`."""
    names = dict.fromkeys(entry.format for entry in manifest.artifacts)
    return {name: glue for name in names if (glue := backend(name).glue.get(language)) is not None}


def runnable(manifest: Manifest, language: str) -> list[str]:
    """The formats of a bundle whose glue code in `language` runs its files."""
    names = list(formats(manifest, language))
    if not manifest.signature.state or language != "python":
        return names
    # Packages for Python that keep a state inside of files lack the kernels that read it.
    return [name for name in names if backend(name).state == "outside"]


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


def task_files(manifest: Manifest) -> list[str]:
    """The files that the task adds to a bundle and an app needs, such as a tokenizer; golden ones are in a folder of their own."""
    return [path for path in manifest.preprocessing.files if not path.startswith("golden/")]


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
