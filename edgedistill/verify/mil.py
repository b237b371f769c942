"""Executes a Core ML program on any machine: a runner adapter that runs MIL operator by operator in float64.

It proves structure and weights: what the file says is computed exactly. It does not model float16 arithmetic or the
Neural Engine. Operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgedistill.export.coreml import import_coremltools
from edgedistill.verify.mil_ops import OPERATORS, affine_dequantize, to_tensor

Value = Any


def versions() -> dict[str, str]:
    """What reads and what executes the program."""
    from importlib.metadata import version

    return {"coremltools": version("coremltools"), "torch": version("torch")}


def prepare(threads: int) -> None:
    """Import the reader and set the threads of the arithmetic."""
    import torch

    # Only its reader is used: no package that it converts from is needed.
    import_coremltools(("sklearn", "executorch", "torchvision", "torchao", "transformers"))
    torch.set_num_threads(threads)


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 [1, 3, H, W] to the program's only output as float32.

    Raises ValueError naming every operator that cannot be executed.
    """
    program = _read(path)
    function = next(iter(program.functions.values()))
    constants: dict[str, Value] = {}
    steps: list[tuple[Callable[..., Value], dict[str, Value], str, list[str]]] = []
    missing = []
    for operator in function.operations:
        name = operator.outputs[0].name
        if operator.op_type == "const":
            constants[name] = to_tensor(operator.outputs[0].val)
        elif operator.op_type == "constexpr_affine_dequantize":
            constants[name] = affine_dequantize(**_arguments(operator, constants))
        elif operator.op_type.startswith("constexpr_"):
            constants[name] = to_tensor(operator.materialized_val_inference())
        elif operator.op_type not in OPERATORS:
            missing.append(f"{operator.op_type} (gives {name})")
        else:
            steps.append((OPERATORS[operator.op_type], _arguments(operator, constants), name, []))
    if missing:
        raise ValueError(f"{path}: cannot execute {len(missing)} operator(s): {', '.join(missing[:10])}")
    output = function.outputs[0].name
    _mark_last_uses(steps, output)
    (image,) = function.inputs

    def call(value: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            values: dict[str, Value] = {image: to_tensor(value)}
            for compute, arguments, name, free in steps:
                values[name] = compute(**{key: _resolve(argument, values) for key, argument in arguments.items()})
                for used in free:
                    del values[used]
            return values[output].float().numpy()

    return call


class _Reference(str):
    """The name of a value that is computed when the program runs."""

    __slots__ = ()


def _read(path: str) -> Any:
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load as load_program

    model = coremltools.models.MLModel(path, skip_model_load=True)
    spec = model.get_spec()
    return load_program(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)


def _arguments(operator: Any, constants: dict[str, Value]) -> dict[str, Value]:
    def of(variable: Any) -> Value:
        if isinstance(variable, (list, tuple)):
            return [of(item) for item in variable]
        if variable.name in constants:
            return constants[variable.name]
        return _Reference(variable.name) if variable.val is None else to_tensor(variable.val)

    return {key: of(variable) for key, variable in operator.inputs.items() if variable is not None}


def _resolve(argument: Value, values: dict[str, Value]) -> Value:
    if isinstance(argument, _Reference):
        return values[argument]
    return [_resolve(item, values) for item in argument] if isinstance(argument, list) else argument


def _references(argument: Value) -> list[str]:
    if isinstance(argument, _Reference):
        return [argument]
    return [name for item in argument for name in _references(item)] if isinstance(argument, list) else []


def _mark_last_uses(steps: list[tuple[Any, dict[str, Value], str, list[str]]], output: str) -> None:
    """Note with each step the values that nothing reads after it, so that memory stays that of a few activations."""
    seen = {output}
    for _, arguments, _, free in reversed(steps):
        for name in {n for argument in arguments.values() for n in _references(argument)} - seen:
            seen.add(name)
            free.append(name)
