"""Samples of a split, and what rungs and artifacts gave for them: where they are in a run. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgedistill.files import read_arrays, write_arrays
from edgedistill.recipe.precisions import needs_program, program_of
from edgedistill.rows import read_rows
from edgedistill.tasks.data import of_one_size

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from edgedistill.records import ArtifactSpec
    from edgedistill.run import Run

SAMPLES = {"val": "work/programs/samples", "holdout": "work/holdout/samples"}
"""Folder of the samples of each split, as programs take them: NAME.npy [N, ...] for each input."""
SIZES = "sizes"
"""Folder, in that of the samples, with NAME.npy [N] for each dimension that varies: the size to which each sample is filled up."""
RUNGS = "rungs"
"""Folder, in that of a step, with a folder for each rung that PyTorch ran: NAME.npy [N, ...] for each output."""
FLOAT, FOUR_BITS = "programs/student-float.pt2", "programs/student-qat.pt2"
"""Programs in floating point, in the folder of the steps: the student, and what the stage qat made of it where it trains for 4 bits."""
OUTPUTS = "outputs"
"""The same of an artifact, in the folder of the step that ran it."""
_PLACES = "places"
"""Folder, beside the outputs of an artifact that takes some of the samples, with `split.npy` [n]: their places in the split."""


def trial(name: str, split: str = "val") -> str:
    """The step that lets a rung or file do whole samples of a split."""
    return f"trial-{name}" if split == "val" else f"{split}-trial-{name}"


def samples(run: Run, split: str) -> Mapping[str, np.ndarray]:
    """The samples of a split, [N, ...] by the name of the input; they are read from the disk as they are used.

    Raises DamagedFile where they are not what was written.
    """
    return read_rows(run.path(SAMPLES[split]))


def parts(run: Run, spec: ArtifactSpec, split: str) -> list[tuple[dict[str, int], np.ndarray | None]]:
    """How an artifact is run on a split: the sizes of dimensions that vary, rising, and the places of the samples that have them.

    A file of one size has one part, or none where no sample has its size. None for places stands for all samples, which have one size.
    """
    groups = of_one_size(read_arrays(run.path(SAMPLES[split], SIZES)))
    if not groups:
        return [(sizes(run), None)]
    return [group for group in groups if spec.sizes in (None, group[0])]


def save_places(folder: Path, places: np.ndarray) -> None:
    """Note, in the folder of the step that ran an artifact, that it was run on the samples with these places in their split only."""
    write_arrays(folder / _PLACES, {"split": places})


def places(run: Run, name: str, split: str) -> np.ndarray | None:
    """Places in a split of the samples that the outputs of a rung or artifact are of, rising; None for all."""
    return read_arrays(run.work(f"{split}-{name}", _PLACES)).get("split")


def outputs(run: Run, name: str, split: str) -> dict[str, np.ndarray] | None:
    """What a rung or artifact gave for a split, [N, ...] by the name of the output, see `places`; None where it did not run there.

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
