"""The ranges of activations on val: what endangers float16, and what wastes or clips int8."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.run import Run, Step
from edgedistill.steps.artifacts import parallel
from edgedistill.steps.declared import VAL_SAMPLES, program_files

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.records import ArtifactSpec

_BATCH = 32
INT8 = "int8"
"""What the record of the quantized state is named by; those of files have the name of the file."""
_IMAGES = {"int8": 256, "float16": 64}
"""How many images of val are run; float16 programs are executed operator by operator, one image at a time."""


def scan(run: Run, specs: list[ArtifactSpec]) -> None:
    """Scan the quantized state and each float16 program that can be scanned, in steps `ranges-int8` and `ranges-NAME`.

    The images are spread evenly over val, and named by their place in it. A program that could not be run is recorded as an error.
    """
    packages = {s.name: s for s in specs if s.precision == "fp16" and s.delegate is None and backend(s.format).ranges}

    def one(name: str) -> None:
        count = _IMAGES["int8" if name == INT8 else "float16"]
        step = f"ranges-{name}"
        if name == INT8:
            reads = (*program_files("programs/student-reference.pt2"), VAL_SAMPLES)
            made_by = Step(step, count, reads=reads, code=("edgedistill.verify.levels",), packages=("torch", "torchao"))
            run.step(made_by, lambda _: _levels(run, count))
        else:
            spec, one = packages[name], backend(packages[name].format)
            code = (one.ranges,) if one.ranges else ()
            made_by = Step(step, count, reads=(spec.path, VAL_SAMPLES), code=code, packages=one.packages)
            run.step(made_by, lambda _: _float16(run, spec, count))

    parallel("ranges", [INT8, *packages], one)


def _sample(run: Run, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in val, at most `count`, and their images, float32 [n, 3, S, S]."""
    import numpy as np

    from edgedistill.tasks.data import spread

    images = np.load(run.work("programs", "val.npy"), mmap_mode="r")
    places = spread(len(images), count)
    return places, np.array(images[places])


def _levels(run: Run, count: int) -> dict[str, Any]:
    from edgedistill.export.programs import load_signature
    from edgedistill.quantize.samples import batches
    from edgedistill.verify.levels import int8_levels
    from edgedistill.verify.rungs import load_converted

    places, images = _sample(run, count)
    program = run.work("programs", "student-reference.pt2")
    signature = load_signature(program)
    uses = int8_levels(load_converted(program), batches(signature, {signature.inputs[0].name: images}, _BATCH))

    def told(use: Any) -> dict[str, Any]:
        return asdict(use) | {"sample": None if use.sample is None else int(places[use.sample]), "problem": use.problem}

    return {
        "images": len(images),
        "activations": len(uses),
        "layers": [told(use) for use in uses if use.problem],
        "least_used": told(min(uses, key=lambda use: use.used)),
        "most_clipped": told(max(uses, key=lambda use: use.clipped)),
    }


def _float16(run: Run, spec: ArtifactSpec, count: int) -> dict[str, Any]:
    import numpy as np

    from edgedistill.child import ask
    from edgedistill.tasks.pixels import as_taken

    places, images = _sample(run, count)
    scanner, package = backend(spec.format).ranges, run.path(spec.path)
    assert scanner is not None
    try:
        with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
            chosen = Path(folder, "images.npy")
            np.save(chosen, as_taken(images, spec.input))
            found = ask(scanner, str(package), str(chosen), failed=f"{package}: its ranges could not be scanned")
    except DeviceFailed as error:
        return {"error": str(error)}
    for layer in (*found["layers"], found["largest"]):
        if "sample" in layer:
            layer["sample"] = int(places[layer["sample"]])
    return {"images": len(images), **found}
