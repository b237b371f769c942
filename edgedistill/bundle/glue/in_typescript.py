"""An npm package for browsers, Node and React Native."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from edgedistill.bundle.glue import constants, copy_sources, formats, of_task, package_name, template
from edgedistill.bundle.readme import Usage
from edgedistill.files import write_text
from edgedistill.records.manifest import MANIFEST, Manifest

_LANGUAGE = "typescript"


def write(folder: Path, manifest: Manifest) -> Usage:
    """Write `typescript/` into the bundle in `folder`: the source of the package; npm compiles it when an app installs it."""
    place, glue, runtimes = folder / _LANGUAGE, of_task(manifest, _LANGUAGE), formats(manifest, _LANGUAGE)
    name = f"{package_name(manifest.name)}-model"
    copy_sources(place / "src", manifest, _LANGUAGE)
    facts = {"name": manifest.name, "manifestSchema": MANIFEST} | {key: values for key, (values, _) in constants(manifest).items()}
    types = [f"\nexport type {type_} = (typeof facts.{key})[number];" for key, (_, type_) in constants(manifest).items()]
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}," for key, value in facts.items()]
    generated = [
        "/** Facts of this bundle. Written by edgedistill; do not edit. */",
        "export const facts = {",
        *lines,
        "} as const;",
        *types,
    ]
    write_text(place / "src" / "generated.ts", "\n".join(generated) + "\n")
    further = glue.requires.get(_LANGUAGE, ()) if glue else ()
    required = ", ".join(dict.fromkeys([*further, *(text for own in runtimes.values() for text in own.requires)]))
    entry, model, *helpers = glue.names[_LANGUAGE] if glue else ("index", "Model")
    write_text(place / "package.json", template(_LANGUAGE, "package.json", name=name, entry=entry, dependencies=required))
    shutil.copyfile(Path(__file__).parent / _LANGUAGE / "tsconfig.json.template", place / "tsconfig.json")
    runtime = next(iter(runtimes.values()))
    web, node = (product.partition("/")[0] for product in runtime.products)
    call = glue.examples[_LANGUAGE] if glue else "await model.run({ ... })"
    imports = ", ".join(sorted([model, "urlBundle", *helpers], key=str.lower))
    return Usage(
        language=_LANGUAGE,
        title="In a web page or a Node app",
        steps=(
            f"Copy the folder `typescript/` into the app, and install it with a runtime: `npm install ./typescript {web}` for a page, "
            f"`npm install ./typescript {node}` for Node.",
            "Serve the folder of the bundle with the page, or copy it beside the Node app.",
            f"Load it. In Node take `folderBundle` of `{name}/folder` and the module `{node}`:",
        ),
        fence="ts",
        code=f'import * as engine from "{runtime.products[0]}";\nimport {{ {imports} }} from "{name}";\n'
        f'import {{ {runtime.name} }} from "{name}/{runtime.name}";\n\n'
        f'const model = await {model}.load(urlBundle("/BUNDLE/"), {{ runtime: {runtime.name}(engine) }});\n'
        f"console.log((await model.selfTest()).ok);\nconsole.log({call});",
    )
