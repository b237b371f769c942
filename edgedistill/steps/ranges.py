"""The ranges of activations on val: what endangers float16, and what wastes or clips int8."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.measure.inputs import taken
from edgedistill.records.steps import StepFailed
from edgedistill.records.summary import ActivationRange, Float16Ranges, Int8Ranges
from edgedistill.run import Run, Step
from edgedistill.steps.declared import program_files
from edgedistill.steps.execute import method_of
from edgedistill.steps.parallel import parallel
from edgedistill.verify import stored
from edgedistill.verify.stored import SAMPLES

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.records import ArtifactSpec

_BATCH = 32
INT8 = "int8"
"""What the record of the quantized state is named by; those of files have the name of the file."""
_SAMPLES = {"int8": 256, "float16": 64}
"""How many samples of val are run; float16 programs are executed operator by operator, one sample at a time."""


def scan(run: Run, specs: list[ArtifactSpec]) -> None:
    """Scan the quantized state, where there is one, and each float16 program that can be scanned, in steps `ranges-int8` and `ranges-NAME`.

    The samples are spread evenly over val, and named by their place in it. A program that could not be run is recorded as an error.
    """
    packages = {s.name: s for s in specs if s.precision == "fp16" and s.delegate is None and backend(s.format).ranges}

    def scan_program(name: str) -> None:
        count = _SAMPLES["int8" if name == INT8 else "float16"]
        step = f"ranges-{name}"
        if name == INT8:
            reads = (*program_files("programs/student-reference.pt2"), SAMPLES["val"])
            made_by = Step(step, count, reads=reads, code=("edgedistill.verify.levels",), packages=("torch", "torchao"))
            run.step(made_by, lambda _: _levels(run, count))
        else:
            spec, facts = packages[name], backend(packages[name].format)
            code = (facts.ranges,) if facts.ranges else ()
            made_by = Step(step, count, reads=(spec.path, SAMPLES["val"]), code=code, packages=facts.packages)
            run.step(made_by, lambda _: _float16(run, spec, count))

    parallel("ranges", [*([INT8] if stored.calibrated(run) else []), *packages], scan_program)


def _sample(run: Run, count: int, among: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Places in val, at most `count` of those `among` all, and their samples, [n, ...] by the name of the input."""
    import numpy as np

    from edgedistill.tasks.data import spread

    samples = stored.samples(run, "val")
    among = np.arange(len(next(iter(samples.values())))) if among is None else among
    places = among[spread(len(among), count)]
    return places, {name: np.array(values[places]) for name, values in samples.items()}


def _levels(run: Run, count: int) -> Int8Ranges | StepFailed:
    from edgedistill.export.programs import load_signature
    from edgedistill.tasks.modules import batches_of, in_order
    from edgedistill.verify.levels import LevelUse, int8_levels
    from edgedistill.verify.rungs import load_converted

    places, samples = _sample(run, count)
    program = run.work("programs", "student-reference.pt2")
    method = load_signature(program).forward
    batch = _BATCH if run.made("programs")["batched"] else 1
    uses = int8_levels(load_converted(program), in_order(batches_of(samples, batch), method))
    if not uses:
        return StepFailed(error="no activation of the program is quantized")

    def record(use: LevelUse) -> ActivationRange:
        sample = None if use.sample is None else int(places[use.sample])
        return ActivationRange(**asdict(use) | {"sample": sample, "problem": use.problem})

    return Int8Ranges(
        samples=len(places),
        activations=len(uses),
        layers=[record(use) for use in uses if use.problem],
        least_used=record(min(uses, key=lambda use: use.used)),
        most_clipped=record(max(uses, key=lambda use: use.clipped)),
    )


def _float16(run: Run, spec: ArtifactSpec, count: int) -> Float16Ranges | StepFailed:
    import numpy as np

    from edgedistill.child import ask
    from edgedistill.files import write_arrays

    parts = stored.parts(run, spec, "val")
    if not parts:
        return StepFailed(error="no sample of val has the size of the file")
    places, samples = _sample(run, count, parts[-1][1])
    scanner, package = backend(spec.format).ranges, run.path(spec.path)
    assert scanner is not None
    try:
        with scratch.temporary() as folder:
            write_arrays(folder, samples)
            with taken(folder, method_of(run, spec), spec.input, places=np.arange(len(places))) as inputs:
                answer = ask(scanner, str(package), *map(str, inputs.values()), failed=f"{package}: its ranges could not be scanned")
    except DeviceFailed as error:
        return StepFailed(error=str(error))
    for layer in (*answer["layers"], answer["largest"]):
        if "sample" in layer:
            layer["sample"] = int(places[layer["sample"]])
    return Float16Ranges.model_validate({"samples": len(places), **answer})
