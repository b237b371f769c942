"""Executes a Core ML program on any machine: a runner adapter that runs MIL operator by operator in float64.

It proves structure and weights: what the file says is computed exactly. It does not model float16 arithmetic, which
`mil_float16` does, nor the Neural Engine.
Operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.program import After, Program


def versions() -> dict[str, str]:
    """What reads and what executes the program."""
    return {"coremltools": version("coremltools"), "torch": version("torch")}


def prepare(threads: int) -> None:
    """Import the reader and set the threads of the arithmetic."""
    mil_program.prepare(threads)


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 [1, 3, H, W], or the pixels uint8 [1, H, W, 3] of an image, to the program's only output as float32.

    A state is zero at first and keeps what one call wrote for the next, as one MLState of Core ML does. Raises
    ValueError naming every operator that cannot be executed, or the inputs and outputs where there is not one of each.
    """
    return forward(mil_program.read(path), path)


def forward(program: Program, path: str, after: After | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The function of a program with one input and one output; `path` is named when it has others."""
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise ValueError(f"{path}: expected one input and one output, found inputs {[*program.inputs]} and outputs {[*program.outputs]}")
    (image,) = program.inputs

    def call(value: np.ndarray) -> np.ndarray:
        (output,) = mil_program.execute(program, {image: value}, after).values()
        return output.float().numpy()

    return call
