"""Samples of a split, and what rungs and artifacts gave for them: where they are in a run. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgedistill.files import read_arrays
from edgedistill.recipe.precisions import needs_program, program_of
from edgedistill.rows import read_rows

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.records import ArtifactSpec
    from edgedistill.run import Run

SAMPLES = {"val": "work/programs/samples", "holdout": "work/holdout/samples"}
"""Folder of the samples of each split, as programs take them: NAME.npy [N, ...] for each input."""
RUNGS = "rungs"
"""Folder, in that of a step, with a folder for each rung that PyTorch ran: NAME.npy [N, ...] for each output."""
FLOAT, FOUR_BITS = "programs/student-float.pt2", "programs/student-qat.pt2"
"""Programs in floating point, in the folder of the steps: the student, and what the stage qat made of it where it trains for 4 bits."""
OUTPUTS = "outputs"
"""The same of an artifact, in the folder of the step that ran it."""


def samples(run: Run, split: str) -> Mapping[str, np.ndarray]:
    """The samples of a split, [N, ...] by the name of the input; they are read from the disk as they are used.

    Raises DamagedFile where they are not what was written.
    """
    return read_rows(run.path(SAMPLES[split]))


def outputs(run: Run, name: str, split: str) -> dict[str, np.ndarray] | None:
    """What a rung or artifact gave for a split, [N, ...] by the name of the output; None where it did not run there.

    Raises DamagedFile where it is not what was written.
    """
    step = f"{split}-{name}"
    if (ran := run.result(step)) is not None:
        folder = run.work(step, OUTPUTS)
        if "error" in ran or ran.get("unavailable") is not None:
            return None
    else:
        # Programs of post-training precisions are scored on val only; their artifacts on both.
        program = f"program-{program_of(name)}"
        step = "holdout" if split == "holdout" else program if run.result(program) else "programs"
        folder = run.work(step, RUNGS, name)
    if not run.finished(step):
        return None
    run.check(step)
    # A teacher that only writes, or reads other tokens, gives no outputs.
    return (read_arrays(folder) or None) if folder.is_dir() else None


def calibrated(run: Run) -> bool:
    """Whether a run has an int8 program, by training or calibration."""
    return run.work("programs", "student-reference.pt2").exists()


def scales(run: Run, spec: ArtifactSpec) -> dict[str, float]:
    """The size of a step of each output of the program that an artifact was lowered from; empty where it has none."""
    made = run.result(f"program-{spec.precision}" if needs_program(spec.precision) else "programs")
    return (made or {}).get("output_scale", {})


def sizes(run: Run) -> dict[str, int]:
    """The size that each dimension that varies has in the samples of a run."""
    return (run.result("data") or {}).get("sizes", {})
