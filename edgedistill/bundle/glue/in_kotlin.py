"""A Gradle module for Android, which has the bundle as assets."""

from __future__ import annotations

import json
from pathlib import Path

from edgedistill.backends import backend
from edgedistill.bundle.glue import constants, copy_sources, formats, identifier, of_task, task_files, template
from edgedistill.bundle.readme import Usage
from edgedistill.files import write_text
from edgedistill.records.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest

_LANGUAGE = "kotlin"
_MIN_SDK = 26
_IN_SOURCES = "edgedistill.glue"


def write(folder: Path, manifest: Manifest) -> Usage:
    """Write `kotlin/` into the bundle in `folder`: a library module, which an app includes."""
    place, glue, runtimes = folder / _LANGUAGE, of_task(manifest, _LANGUAGE), formats(manifest, _LANGUAGE)
    name, model = identifier(manifest.name), glue.names[_LANGUAGE][0] if glue else "Model"
    package, module = f"edgedistill.models.{name}", f"{name.replace('_', '-')}-model"
    sources = place / "src/main/kotlin"
    copy_sources(sources, manifest, _LANGUAGE, {_IN_SOURCES: package})
    write_text(place / "src/main/AndroidManifest.xml", template(_LANGUAGE, "AndroidManifest.xml"))
    # ORT's files and ONNX's are run by one runtime.
    distinct = list({own.name: own for own in runtimes.values()}.values())
    generated = template(
        _LANGUAGE, "Generated.kt", package=package, name=_kotlin(manifest.name),
        facts="".join(_constant(key, values) for key, (values, _) in constants(manifest).items()),
        runtimes="\n".join(f"        {own.name}," for own in distinct),
    )  # fmt: skip
    write_text(sources / "Generated.kt", generated)
    further = glue.requires.get(_LANGUAGE, ()) if glue else ()
    required = dict.fromkeys([*further, *(text for own in distinct for text in own.requires)])
    needed = (MANIFEST_FILE, SIGNATURE_FILE, "golden/**", *task_files(manifest), *(entry.name for entry in manifest.artifacts))
    build = template(
        _LANGUAGE, "build.gradle.kts", namespace=package, min_sdk=_MIN_SDK, asset_folder=module, bundle_folder="..",
        bundle_files=", ".join(map(_kotlin, needed)),
        no_compress=", ".join(_kotlin(backend(format_).suffix.removeprefix(".")) for format_ in runtimes),
        runtime_dependencies="\n".join(f"    implementation({_kotlin(text)})" for text in required),
    )  # fmt: skip
    write_text(place / "build.gradle.kts", build)
    rules = "\n".join(dict.fromkeys(text for own in distinct for text in own.products))
    write_text(place / "consumer-rules.pro", template(_LANGUAGE, "consumer-rules.pro", runtime_rules=rules))
    reader = f'AssetBundle(context, "{module}")'
    call = glue.examples[_LANGUAGE] if glue else "val outputs = model.run(mapOf())"
    return Usage(
        language=_LANGUAGE,
        title="In an Android app",
        steps=(
            f'Name the module in `settings.gradle.kts`: `include(":{module}")` and '
            f'`project(":{module}").projectDir = file("BUNDLE/kotlin")`; and in the app: `implementation(project(":{module}"))`.',
            "Copy the blocks `androidResources` and `packaging` of `kotlin/build.gradle.kts` into the app's own build file: the app "
            "decides what is compressed and how libraries are aligned (pages of 16 KB).",
            "Load the model, off the main thread:",
        ),
        fence="kotlin",
        code=f"import {package}.*\n\nval model = {model}.load({reader})\nLog.i(TAG, model.selfTest().describe())\n{call}",
    )


def _kotlin(text: str) -> str:
    """A text as Kotlin writes it: as JSON does, but that a dollar begins a value."""
    return json.dumps(text, ensure_ascii=False).replace("$", "\\$")


def _constant(key: str, values: list[str]) -> str:
    lines = [f"        {_kotlin(value)}," for value in values]
    return "\n".join(["", f"    public val {key.upper()}: List<String> = listOf(", *lines, "    )", ""])
