"""A Swift package for iOS and macOS: the bundle's folder is the package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from edgedistill.bundle.glue import constants, copy_sources, formats, of_task, package_name, task_files, template
from edgedistill.bundle.readme import README, Usage
from edgedistill.files import write_text
from edgedistill.records.manifest import MANIFEST_FILE, Manifest

_LANGUAGE = "swift"
_PLATFORMS = {"ios": "iOS", "macos": "macOS"}
# Parts of a linked runtime register themselves when a program starts. Nothing calls them, so the linker would leave them out.
_LINK_ALL = "-all_load"
_LINKING = (
    f"In the app's target set the build setting Other Linker Flags to `{_LINK_ALL}`. Without it the linker leaves out parts of the "
    "runtime, and loading fails: a backend or an operator is not found. If the app then has symbols twice, write `-force_load` with each "
    "library of the runtime instead, as the documentation of the runtime shows."
)


def write(folder: Path, manifest: Manifest) -> Usage:
    """Write `Package.swift` and `swift/` into the bundle in `folder`."""
    place, glue, runtimes = folder / _LANGUAGE, of_task(manifest, _LANGUAGE), formats(manifest, _LANGUAGE)
    package = f"{''.join(part.capitalize() for part in package_name(manifest.name).split('-'))}Model"
    model = glue.names[_LANGUAGE][0] if glue else "Model"
    copy_sources(place / "Sources", manifest, _LANGUAGE)
    known = constants(manifest)
    facts = [f"    public static let {key} = {_swift(values)}" for key, (values, _) in known.items()]
    named = [_extension(values, type_) for values, type_ in known.values()]
    generated = template(
        _LANGUAGE, "Generated.swift", name=manifest.name, quoted=_swift(manifest.name), facts="\n".join(facts),
        runtimes=" + ".join(f"Runtimes.{own.name}" for own in runtimes.values()) or "[]", constants="\n".join(named),
    )  # fmt: skip
    write_text(place / "Sources" / "Generated.swift", generated)
    write_text(place / "Tests" / "SelfTestTests.swift", template(_LANGUAGE, "SelfTestTests.swift", package=package, model=model))
    shipped = [MANIFEST_FILE, "golden", *task_files(manifest), *(entry.name for entry in manifest.artifacts)]
    others = {path.name for path in folder.iterdir()} | {README}
    products = [text for own in runtimes.values() for text in own.products]
    text = template(
        _LANGUAGE, "Package.swift", name=manifest.name, package=package, platforms=_platforms(manifest),
        dependencies=_listed(text for own in runtimes.values() for text in own.requires), products=_listed(products),
        excluded=_listed(_swift(name) for name in sorted(others - {*shipped, _LANGUAGE})),
        resources=_listed(f".copy({_swift(name)})" for name in shipped),
        test_linking=f'.unsafeFlags(["-Wl,{_LINK_ALL}"])' if products else "",
    )  # fmt: skip
    write_text(folder / "Package.swift", text)
    call = glue.examples[_LANGUAGE] if glue else "let outputs = try await model.run([:])"
    return Usage(
        language=_LANGUAGE,
        title="In an app for iOS or macOS",
        steps=(
            "In Xcode choose File, Add Package Dependencies, Add Local, and take the folder of this bundle.",
            *([_LINKING] if products else []),
            f"Run the package's test `{package}Tests` on a device: it compares the device with the machine that exported the model.",
            "Load the model:",
        ),
        fence="swift",
        code=f"import {package}\n\nlet model = try await {model}.load()\n{call}",
    )


def _swift(value: object) -> str:
    """A text or a list of texts as Swift writes it; JSON's escapes of control characters are others."""
    if isinstance(value, list):
        return f"[{', '.join(map(_swift, value))}]"
    plain = json.dumps("".join(char if char.isprintable() else " " for char in str(value)), ensure_ascii=False)
    return plain.replace("\\u", "\\\\u")


def _extension(values: list[str], type_: str) -> str:
    """Constants for the values that are names in Swift too."""
    named = [(number, value) for number, value in enumerate(values) if value.isidentifier() and value.isascii()]
    lines = [f"    public static let `{value}` = {type_}(index: {number}, name: {_swift(value)})" for number, value in named]
    return "\n".join([f"\nextension {type_} {{", *lines, "}"]) if lines else ""


def _platforms(manifest: Manifest) -> str:
    """The oldest systems that some artifact runs on."""
    oldest: dict[str, int] = {}
    for entry in manifest.artifacts:
        for system, version in entry.minimum_os.items():
            if system in _PLATFORMS:
                number = int(version.split(".")[0])
                oldest[system] = min(oldest.get(system, number), number)
    return ", ".join(
        f".{_PLATFORMS[system]}(.v{number})" if number <= 18 else f'.{_PLATFORMS[system]}("{number}.0")'
        for system, number in oldest.items()
    )


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
