"""Executes a Core ML program on any machine: a runner adapter that runs MIL operator by operator in float64.

It verifies structure and weights: it computes exactly what the file describes. It does not model float16 arithmetic, which
`mil_float16` does, nor the Neural Engine.
Operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from importlib.metadata import version

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.program import After, Program
from edgedistill.measure.runner.naming import Signature, matched, types_of
from edgedistill.measure.runner.samples import Arrays, Forward


def versions() -> dict[str, str]:
    """What reads and what executes the program."""
    return {"coremltools": version("coremltools"), "torch": version("torch")}


def prepare(threads: int) -> None:
    """Import the reader and set the threads of the arithmetic."""
    mil_program.prepare(threads)


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """The program's function from named arrays to named arrays; of an image its pixels, uint8 [1, H, W, 3].

    signature: names and types of inputs and outputs, in their order; without it names are those of the file, and outputs are float32.
    A state is zero at first and keeps what one call wrote for the next, as one MLState of Core ML does. Raises NotExecutable naming
    every operator that has no rule here.
    """
    return forward(mil_program.read(path), signature)


def forward(program: Program, signature: Signature | None = None, after: After | None = None) -> Forward:
    """The function of a program; see `load`."""
    inputs = matched(list(program.inputs), signature, "inputs")
    outputs = matched(list(program.outputs), signature, "outputs")
    dtypes = types_of(signature, outputs)

    def call(arrays: Arrays) -> Arrays:
        values = mil_program.execute(program, {own: arrays[name] for name, own in inputs.items()}, after)
        return {name: values[own].numpy().astype(dtypes[name]) for name, own in outputs.items()}

    return call
