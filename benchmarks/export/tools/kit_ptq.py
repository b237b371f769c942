"""The kit's calibration after training: `python kit_ptq.py RUN CALIBRATION.npy PROGRAMS RESULT.json`, in the way of `distill: null`.

RUN: a finished run, whose floating-point student is taken. CALIBRATION.npy: uint8 [N, 3, S, S]. PROGRAMS gets the quantized state in the
two forms that converters take, for `edgedistill.export.lower`.
"""

import sys
from pathlib import Path

import numpy as np
import result
import torch

from edgedistill.export.programs import save_program
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.recipe.loading import recorded
from edgedistill.run import Run
from edgedistill.steps.distill import float_rungs
from edgedistill.tasks.image_classification.models import to_unit
from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION

_BATCH = 32


def main(run: str, calibration: str, programs: str, report: str) -> None:
    torch.set_num_threads(1)
    state = Run(Path(run))
    recipe = recorded(state.folder)
    facts = IMAGE_CLASSIFICATION.dataset(recipe, state.work("data")).facts
    student = float_rungs(state, recipe, facts)["student"]
    images = np.load(calibration)
    ports = IMAGE_CLASSIFICATION.signature(recipe, facts)
    batches = ((to_unit(images[start : start + _BATCH]),) for start in range(0, len(images), _BATCH))
    quantized = convert(calibrate(plain_batchnorm(student), ports, batches), ports)
    Path(programs).mkdir(parents=True, exist_ok=True)
    save_program(quantized.converted, ports, Path(programs, "student-converted.pt2"))
    save_program(quantized.unfolded, ports, Path(programs, "student-unfolded.pt2"))
    result.write(report, "edgedistill", "torch", "torchao")


if __name__ == "__main__":
    main(*sys.argv[1:])
