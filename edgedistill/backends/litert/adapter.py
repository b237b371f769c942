"""LiteRT (formerly TensorFlow Lite) on the CPU, with the XNNPACK delegate that it applies by default."""

import math
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from edgedistill.measure.runner.naming import Signature, in_order, matched
from edgedistill.measure.runner.samples import Arrays, Forward

_NEXT = "_next"
"""What stands behind the name of an input that is kept between calls, in the name of the output that it becomes."""

_CALL = 8
"""What a call costs beside its tokens, in tokens: measured of small models, where it is 6 to 8."""


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"ai-edge-litert": version("ai-edge-litert")}


def prepare(threads: int) -> None:
    """Import the runtime; threads are an option of each interpreter."""
    import ai_edge_litert.interpreter  # noqa: F401


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.tflite) and return its forward function, named arrays to named arrays.

    signature: names of inputs and outputs, in their order; without it they have those of the file. Tensors are resized where a size varies.
    A file that keeps a state takes inputs of any length up to its room, in pieces of the sizes that its methods take.
    """
    from ai_edge_litert.interpreter import Interpreter

    if kept(Interpreter(model_path=path, num_threads=threads)):
        return _keeping(path, threads, signature)
    return open_with(Interpreter, path, threads, signature)


def kept(interpreter: Any) -> list[str]:
    """Names of the inputs of a file that are kept between calls."""
    first = next(iter(interpreter.get_signature_list().values()), None)
    return [name for name in first["inputs"] if f"{name}{_NEXT}" in first["outputs"]] if first else []


def open_with(interpreter_class: Any, path: str, threads: int, signature: Signature | None = None) -> Forward:
    """As `load`, with the Interpreter of whichever package has the interface of TensorFlow Lite."""
    interpreter = interpreter_class(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    ports, results = _ports(interpreter)
    inputs = {name: ports[own] for name, own in matched(list(ports), signature, "inputs").items()}
    outputs = {name: results[own] for name, own in matched(list(results), signature, "outputs").items()}
    places = {name: port["index"] for name, port in inputs.items()}
    result_places = {name: port["index"] for name, port in outputs.items()}
    # The converter has made int32 of int64.
    shorter, longer = _shortened(inputs, signature, "inputs"), _shortened(outputs, signature, "outputs")
    varying = {name: tuple(port["shape"]) for name, port in inputs.items() if -1 in port.get("shape_signature", ())}

    def forward(arrays: Arrays) -> Arrays:
        if varying and any(arrays[name].shape != shape for name, shape in varying.items()):
            varying.update({name: arrays[name].shape for name in varying})
            for name, shape in varying.items():
                interpreter.resize_tensor_input(places[name], shape)
            interpreter.allocate_tensors()
        for name, place in places.items():
            interpreter.set_tensor(place, arrays[name].astype(np.int32) if name in shorter else arrays[name])
        interpreter.invoke()
        # get_tensor copies, so that the next call cannot change what this one returned.
        results = {name: interpreter.get_tensor(place) for name, place in result_places.items()}
        return results | {name: results[name].astype(np.int64) for name in longer} if longer else results

    return forward


def _shortened(ports: dict[str, Any], signature: Signature | None, kind: Literal["inputs", "outputs"]) -> set[str]:
    """Names of tensors that are int64 in the signature and int32 in the file."""
    wide = {spec["name"] for spec in (signature[kind] if signature else []) if spec.get("dtype") == "int64"}
    return {name for name in wide if ports[name]["dtype"] == np.int32}


def _ports(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Details of the inputs and of the outputs by name, in the order of the program that the file was made from."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        details = (runner.get_input_details(), runner.get_output_details())
        inputs, outputs = ({name: ports[name] for name in in_order(ports)} for ports in details)
        return inputs, outputs
    details = (interpreter.get_input_details(), interpreter.get_output_details())
    inputs, outputs = ({port["name"]: port for port in ports} for ports in details)
    return inputs, outputs


def _keeping(path: str, threads: int, signature: Signature | None) -> Forward:
    """The forward function of a file with float32 inputs that are kept between calls, zero at first.

    Its methods differ in one size of their other inputs, and share weights and state. One input does not vary: it takes a place among
    the others, and outputs are of that place; `forward` takes places [1, W] and gives outputs [1, W, ...]. The memory of each kept
    input is also that of the output that it becomes, in which the operator that writes it works; an Interpreter would copy it twice for
    each call.
    """
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options

    # In such a cache are the weights that are packed for this processor, once for all methods. Other systems have none.
    cache = ":memory" if sys.platform in ("linux", "android") else ""
    options = Options(HardwareAccelerator.CPU, CpuOptions(num_threads=threads, xnnpack_weight_cache_path=cache))
    model = CompiledModel.from_file(path, options=options)
    keys = list(model.get_signature_list())
    taken, given = model.get_input_tensor_details(keys[0]), model.get_output_tensor_details(keys[0])
    ports = {key: model.get_input_tensor_details(key) | model.get_output_tensor_details(key) for key in keys}
    state = {name: model.create_input_buffer_by_name(keys[0], name) for name in taken if f"{name}{_NEXT}" in given}
    for name, buffer in state.items():
        buffer.write(np.zeros(taken[name]["shape"], np.float32))
    after = {f"{name}{_NEXT}": buffer for name, buffer in state.items()}
    inputs = matched([name for name in taken if name not in state], signature, "inputs")
    outputs = matched([name for name in given if name not in after], signature, "outputs")
    axes = {own: _axis([ports[key][own]["shape"] for key in keys]) for own in inputs.values()}
    (place,) = (name for name, own in inputs.items() if axes[own] is None)
    parts = {name: own for name, own in inputs.items() if name != place}
    methods = {}
    for key in keys:
        takes = {own: model.create_input_buffer_by_name(key, own) for own in inputs.values()}
        gives = {own: model.create_output_buffer_by_name(key, own) for own in outputs.values()}
        methods[_size(axes, {own: ports[key][own]["shape"] for own in parts.values()})] = (key, takes, gives)

    def call(arrays: Arrays, start: int, size: int) -> Arrays:
        """What the last place of a piece of the inputs gives."""
        key, takes, gives = methods[size]
        for name, own in parts.items():
            takes[own].write(_part(arrays[name], axes[own], start, start + size))
        takes[inputs[place]].write(np.full((1, 1), size - 1, arrays[place].dtype))
        model.run_by_name(key, takes | state, gives | after)
        details = {name: ports[key][own] for name, own in outputs.items()}
        return {name: gives[outputs[name]].read(math.prod(d["shape"]), d["dtype"]).reshape(d["shape"]) for name, d in details.items()}

    def forward(arrays: Arrays) -> Arrays:
        total, asked = _size(axes, {own: arrays[name].shape for name, own in parts.items()}), arrays[place].ravel().tolist()
        found, begin = dict[int, Arrays](), 0
        # A call tells of its last place, so that a piece ends at each that is asked for.
        for end in sorted({*(int(one) + 1 for one in asked), total}):
            for start, size in pieces(end - begin, sorted(methods)):
                found[end - 1] = call(arrays, begin + start, size)
            begin = end
        return {name: np.concatenate([found[one][name] for one in asked], axis=1) for name in outputs}

    return forward


def pieces(total: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and size of pieces of the given `sizes`, in ascending order, that cover `total`, the largest first.

    The last one may begin inside the one before it: what a program with a state computes again, it keeps again at the same place. Raises
    ValueError where no piece is small enough.
    """
    fitting = [size for size in sizes if size <= total]
    if not fitting:
        raise ValueError(f"found an input of size {total}, expected {min(sizes)} or more")
    start = 0
    for size in _cover(total, fitting):
        start = min(start, total - size)
        yield start, size
        start += size


def _cover(rest: int, sizes: list[int]) -> list[int]:
    """The pieces that cover `rest` in the least time; the last may be larger than what it is for."""
    *smaller, largest = sizes
    count, rest = divmod(rest, largest)
    ways = [[largest], *([_cover(rest, smaller)] if smaller else [])] if rest else [[]]
    return [largest] * count + min(ways, key=lambda way: sum(way) + _CALL * len(way))


def _axis(shapes: Sequence[Sequence[int]]) -> int | None:
    """The axis along which the shapes of one tensor differ between methods; None where they are equal."""
    return next((axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1), None)


def _size(axes: dict[str, int | None], shapes: dict[str, Sequence[int]]) -> int:
    """The size that varies, of inputs with the given shapes; 1 where none does."""
    return next((shape[axis] for name, shape in shapes.items() if (axis := axes[name]) is not None), 1)


def _part(array: np.ndarray, axis: int | None, start: int, stop: int) -> np.ndarray:
    return array if axis is None else array[(*[slice(None)] * axis, slice(start, stop))]
