"""A Core ML program as a list of steps, and its execution operator by operator."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgedistill.backends.coreml.lower import import_coremltools
from edgedistill.backends.coreml.mil.ops import OPERATORS
from edgedistill.backends.coreml.mil.values import Operator, Tensor, to_tensor
from edgedistill.measure.runner.refusal import NotExecutable


class Reference(int):
    """A value that is computed when the program runs: its place among the values of the run."""

    __slots__ = ()


Value = Tensor | str | Reference | list["Value"] | None
"""An argument: a constant, one that is computed, several of them, or none."""


@dataclass(frozen=True)
class Step:
    """One operation: what it computes, from what, and what becomes of its results."""

    name: str
    """Of its first result, as the file names it."""
    operator: str
    compute: Operator
    arguments: dict[str, Value]
    results: list[Reference]
    types: list[str]
    """Declared type of each result: fp16, fp32, int32, bool ..."""
    free: list[Reference]
    """Values that nothing reads after this step."""
    state: Reference | None = None
    """The state that takes the result."""


After = Callable[[Step, dict[str, Value], list[Tensor]], list[Tensor]]
"""What is called after each step with its arguments and results, and gives the results that the program goes on with."""


@dataclass(frozen=True)
class Program:
    """The steps of a program's first function and what goes in and out of them."""

    inputs: dict[str, Reference]
    images: set[str]
    """Names of the inputs that are RGB images, of which the program gets the bytes as numbers [1, 3, H, W]."""
    outputs: dict[str, Reference | Tensor]
    """References, or tensors where an output is a constant."""
    states: dict[int, Tensor]
    """What each state holds, zeros at first; running the program changes it, as one Core ML MLState is changed."""
    steps: list[Step]


def read(path: str, after: After | None = None) -> Program:
    """The program of the package `path`. Compressed weights are unpacked here, and `after` is called on them as well.

    Raises NotExecutable naming every operator that has no rule here, or an image that is not RGB.
    """
    loaded, images = _load(path)
    function = next(iter(loaded.functions.values()))
    known: dict[int, Value] = {}
    inputs, states = _entries(function, known)
    steps, missing = [], []
    for operation in function.operations:
        variables = operation.outputs
        if operation.op_type == "const":
            known[id(variables[0])] = to_tensor(variables[0].val)
            continue
        arguments = {key: variable for key, variable in operation.inputs.items() if variable is not None}
        if lacking := _lacking(operation.op_type, arguments):
            missing.append(f"{lacking} (gives {variables[0].name})")
            continue
        constant = operation.op_type.startswith("constexpr_")
        results = [Reference(len(known) + i) for i in range(len(variables))]
        state = known[id(operation.state)] if operation.op_type == "coreml_update_state" else None
        step = Step(
            name=variables[0].name,
            operator=operation.op_type,
            compute=OPERATORS[operation.op_type],
            arguments={key: _argument(variable, known) for key, variable in arguments.items()},
            results=results,
            types=[_type(variable) for variable in variables],
            free=[],
            state=state if isinstance(state, Reference) else None,
        )
        if constant:
            known.update(zip(map(id, variables), _results(step, step.arguments, after), strict=True))
        else:
            known.update(zip(map(id, variables), results, strict=True))
            steps.append(step)
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise NotExecutable(f"operators of its program are executed by Core ML only: {', '.join(missing[:10])}{more}")
    outputs: dict[str, Reference | Tensor] = {}
    for variable in function.outputs:
        output = known[id(variable)]
        assert isinstance(output, Reference | Tensor)
        outputs[variable.name] = output
    _mark_last_uses(steps, {*(output for output in outputs.values() if isinstance(output, Reference)), *states})
    return Program(inputs, images, outputs, states, steps)


def execute(program: Program, inputs: dict[str, np.ndarray], after: After | None = None) -> dict[str, Tensor]:
    """Outputs by name, in float64, for arrays by input name; of an image its pixels, uint8 [1, H, W, 3]."""
    with torch.no_grad():
        values: dict[int, Tensor] = {
            reference: to_tensor(_pixels(name, inputs[name]) if name in program.images else inputs[name])
            for name, reference in program.inputs.items()
        }
        values.update(program.states)
        for step in program.steps:
            arguments = {key: _resolve(argument, values) for key, argument in step.arguments.items()}
            results = _results(step, arguments, after)
            values.update(zip(step.results, results, strict=True))
            if step.state is not None:
                values[step.state] = program.states[step.state] = results[0]
            for used in step.free:
                del values[used]
        return {name: values[output] if isinstance(output, Reference) else output for name, output in program.outputs.items()}


def prepare(threads: int) -> None:
    """Import the reader and set the threads of the arithmetic."""
    # Only its reader is used: no package that it converts from is needed.
    import_coremltools(("sklearn", "executorch", "torchvision", "torchao", "transformers"))
    torch.set_num_threads(threads)


def _pixels(name: str, image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
        raise ValueError(f"{name} is an image: expected uint8 [1, H, W, 3], found {image.dtype} {list(image.shape)}")
    return image.transpose(0, 3, 1, 2).astype(np.float64)


def _load(path: str) -> tuple[Any, set[str]]:
    """The program of the package, and the names of its inputs that are images."""
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(path, skip_model_load=True)
    spec = model.get_spec()
    images = {port.name: port.type.imageType for port in spec.description.input if port.type.WhichOneof("Type") == "imageType"}
    for name, image in images.items():
        if (space := image.ColorSpace.Name(image.colorSpace)) != "RGB":
            raise NotExecutable(f"its input {name} is an image {space}, and only RGB is executed here")
    return load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir), set(images)


def _entries(function: Any, known: dict[int, Value]) -> tuple[dict[str, Reference], dict[int, Tensor]]:
    """Inputs by name and states at zero, each noted in `known` under its variable."""
    from coremltools.converters.mil.mil import types

    inputs: dict[str, Reference] = {}
    states: dict[int, Tensor] = {}
    for name, placeholder in function.inputs.items():
        reference = Reference(len(known))
        known[id(placeholder)] = reference
        if types.is_state(placeholder.sym_type):
            wrapped = placeholder.sym_type.wrapped_type()
            dtype = torch.bool if wrapped.get_primitive() == types.bool else torch.float64
            states[reference] = torch.zeros([int(size) for size in wrapped.get_shape()], dtype=dtype)
        else:
            inputs[name] = reference
    return inputs, states


def _lacking(operator: str, arguments: Collection[str]) -> str:
    """The operator, where it or one of its arguments has no rule here, or nothing."""
    if operator not in OPERATORS:
        return operator
    parameters = inspect.signature(OPERATORS[operator]).parameters
    unknown = [] if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else [name for name in arguments if name not in parameters]
    return f"{operator} with {' and '.join(unknown)}" if unknown else ""


def _type(variable: Any) -> str:
    from coremltools.converters.mil.mil import types

    return types.builtin_to_string(variable.dtype)


def _argument(variable: Any, known: dict[int, Value]) -> Value:
    if isinstance(variable, (list, tuple)):
        return [_argument(item, known) for item in variable]
    if id(variable) in known:
        return known[id(variable)]
    # A default that coremltools filled in; or the result of an operator that cannot be executed, which `read` reports.
    return None if variable.val is None else to_tensor(variable.val)


def _results(step: Step, arguments: dict[str, Value], after: After | None) -> list[Tensor]:
    try:
        computed = step.compute(**arguments)
    except NotExecutable as error:
        raise NotExecutable(f"{step.operator} (gives {step.name}) is executed by Core ML only: {error}") from error
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot execute {step.operator} (gives {step.name}): {error}") from error
    given = list(computed) if isinstance(computed, tuple) else [computed]
    results = [_whole(step, result) if kind == "int32" else result for result, kind in zip(given, step.types, strict=True)]
    return results if after is None else after(step, arguments, results)


def _whole(step: Step, result: Tensor) -> Tensor:
    """A result that the file declares as int32. Core ML cuts off the fraction of positive quotients, as coremltools' tests expect."""
    cut = result.trunc()
    if torch.equal(cut, result):
        return result
    if step.operator == "real_div" and bool((result >= 0).all()):
        return cut
    raise NotExecutable(f"{step.operator} (gives {step.name}) gives int32 here, and how a fraction is rounded is not documented")


def _resolve(argument: Value, values: dict[int, Tensor]) -> Value:
    if isinstance(argument, Reference):
        return values[argument]
    return [_resolve(item, values) for item in argument] if isinstance(argument, list) else argument


def _references(argument: Value) -> list[Reference]:
    if isinstance(argument, Reference):
        return [argument]
    return [reference for item in argument for reference in _references(item)] if isinstance(argument, list) else []


def _mark_last_uses(steps: list[Step], kept: set[int]) -> None:
    """Note with each step the values that nothing reads after it, so that memory stays that of a few activations."""
    seen = set(kept)
    for step in reversed(steps):
        used = {reference for argument in step.arguments.values() for reference in _references(argument)}
        for reference in {*used, *step.results} - seen:
            step.free.append(reference)
        seen |= {*used, *step.results}
