"""A Python package for boards and servers, as source and as a wheel."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgedistill.bundle.glue import copy_sources, formats, identifier, of_task, runnable, template
from edgedistill.bundle.readme import Usage
from edgedistill.files import write_text
from edgedistill.records.manifest import Manifest

_LANGUAGE = "python"
_SHARED = (
    "Bundle", "BundleError", "Cancelled", "Closed", "Info", "InputError", "Model", "ModelError", "RuntimeFailed", "RuntimeMissing",
    "SelfTest", "Update", "UpdateError", "Updater",
)  # fmt: skip


def write(folder: Path, manifest: Manifest) -> Usage:
    """Write `python/` into the bundle in `folder`: the package, and its wheel."""
    package = f"{identifier(manifest.name)}_model"
    place, glue, runtimes = folder / _LANGUAGE, of_task(manifest, _LANGUAGE), formats(manifest, _LANGUAGE)
    copy_sources(place / package, manifest, _LANGUAGE)
    base, *others = glue.names[_LANGUAGE] if glue else ("model.Model as _Model",)
    names = [name.rpartition(".")[2] for name in others]
    example = glue.example if glue else "model.run({...})"
    imports = [_import(name) for name in (base, *others)]
    text = template(
        _LANGUAGE, "__init__.py", name=manifest.name, package=package, example=example, imports="\n".join(sorted(imports)),
        names=", ".join(f'"{name}"' for name in sorted({*_SHARED, *names})), base=base.rpartition(" ")[2].rpartition(".")[2],
        runtimes="{" + ", ".join(f'"{name}": "{own.name}"' for name, own in runtimes.items()) + "}",
    )  # fmt: skip
    write_text(place / package / "__init__.py", text)
    write_text(place / package / "py.typed", "")
    extras = {name: own.requires for name, own in runtimes.items()} | {"signature": ("cryptography>=44",), "updates": ("zstandard>=0.23",)}
    extras |= {glue.extra: glue.requires[_LANGUAGE]} if glue and glue.extra else {}
    lines = [f"{name} = {json.dumps(required)}" for name, required in extras.items()]
    version = f"1.0.0+{manifest.model.state_sha256[:12] or 'float'}"
    project = template(_LANGUAGE, "pyproject.toml", package=package, version=version, name=manifest.name, extras="\n".join(lines))
    write_text(place / "pyproject.toml", project)
    wheel = _wheel(place)
    named, entries = runnable(manifest, _LANGUAGE), {entry.name: entry.format for entry in manifest.artifacts}
    first = next((entries[name] for name in manifest.ship.order if entries[name] in named), "")
    chosen = ",".join([first, *([glue.extra] if glue and glue.extra else [])])
    return Usage(
        language=_LANGUAGE,
        title="In a Python app",
        steps=(
            f"Install the package with the runtime of the artifact: `pip install 'python/{wheel}[{chosen}]'`. "
            f"The runtimes are {', '.join(named)}.",
            "Copy the folder of the bundle to the device, and load it:",
        ),
        fence="python",
        code=f"from {package} import Model\n\nwith Model.load('BUNDLE') as model:\n"
        f"    print(model.self_test().describe())\n    print({example.replace(chr(34), chr(39))})",
    )


def _import(name: str) -> str:
    module, _, what = name.partition(".")
    return f"from .{module} import {what}"


def _wheel(project: Path) -> str:
    """Build the wheel of a project beside its pyproject.toml, with fixed times; returns its name."""
    from flit_core.wheel import WheelBuilder

    before = os.environ.get("SOURCE_DATE_EPOCH")
    # The first time that a .zip file can hold.
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"
    partial = project / ".wheel"
    try:
        with partial.open("wb") as file:
            builder = WheelBuilder.from_ini_path(project / "pyproject.toml", file)
            builder.build(editable=False)
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
    partial.rename(project / builder.wheel_filename)
    return builder.wheel_filename
