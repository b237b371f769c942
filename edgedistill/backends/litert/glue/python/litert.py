"""LiteRT on the CPU. On boards without it, tflite-runtime, its older name, is taken."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

NAME, PACKAGE = "litert", "ai-edge-litert"
_PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}

_NEXT = "_next"
"""What stands behind the name of an input that is kept between calls, in the name of the output that it becomes."""

_CALL = 8
"""What a call costs beside its tokens, in tokens."""


def _installed() -> tuple[str, str]:
    for package, module in _PACKAGES.items():
        try:
            return module, version_of(package)
        except PackageNotFoundError:
            continue
    raise ImportError("neither ai-edge-litert nor tflite-runtime is installed")


def version() -> str:
    """Version of the installed runtime. Raises ImportError without one."""
    return _installed()[1]


def load(path: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Open a file. Returns the function from named arrays to named arrays, and what computes it."""
    interpreter = import_module(_installed()[0]).Interpreter(model_path=path, num_threads=threads)
    first = next(iter(interpreter.get_signature_list().values()))
    if any(f"{name}{_NEXT}" in first["outputs"] for name in first["inputs"]):
        return _keeping(path, threads, inputs, outputs), "XNNPACK"
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))
    taken = dict(zip(inputs, _places(runner.get_input_details()), strict=True))
    given = dict(zip(outputs, _places(runner.get_output_details()), strict=True))

    def run(arrays: Any) -> Any:
        for name, place in taken.items():
            interpreter.set_tensor(place, arrays[name])
        interpreter.invoke()
        # get_tensor copies, so that the next call can't change what this one returned.
        return {name: interpreter.get_tensor(place) for name, place in given.items()}

    return run, "XNNPACK"


def _places(ports: Any) -> list[int]:
    """Places of tensors that are named args_0, args_1 ... or output_0, output_1 ..., in this order, which is that of the manifest."""
    return [ports[name]["index"] for name in sorted(ports, key=lambda name: int(name.rpartition("_")[2]))]


def _keeping(path: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> Callable[[Any], Any]:
    """The function of a file with further float32 inputs that are kept between calls, zero at first.

    Its methods differ in one size of the other inputs, and share weights and state. One input does not vary: it takes a place among the
    others, and outputs are of that place. The memory of each kept input is also that of the output that it becomes, in which the
    operator that writes it works.
    """
    import numpy as np

    try:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options
    except ImportError as error:
        raise ImportError("a file that keeps a state needs ai-edge-litert>=2.3") from error
    # In such a cache are the weights that are packed for this processor, once for all methods. Other systems have none.
    cache = ":memory" if sys.platform in ("linux", "android") else ""
    options = Options(HardwareAccelerator.CPU, CpuOptions(num_threads=threads, xnnpack_weight_cache_path=cache))
    model = CompiledModel.from_file(path, options=options)
    keys = list(model.get_signature_list())
    ports = {key: model.get_input_tensor_details(key) | model.get_output_tensor_details(key) for key in keys}
    kept = [name for name in ports[keys[0]] if f"{name}{_NEXT}" in ports[keys[0]]]
    state = {name: model.create_input_buffer_by_name(keys[0], name) for name in kept}
    for name, buffer in state.items():
        buffer.write(np.zeros(ports[keys[0]][name]["shape"], np.float32))
    after = {f"{name}{_NEXT}": buffer for name, buffer in state.items()}
    axes = {name: _axis([ports[key][name]["shape"] for key in keys]) for name in inputs}
    (place,) = (name for name in inputs if axes[name] is None)
    parts = [name for name in inputs if name != place]
    methods = {}
    for key in keys:
        takes = {name: model.create_input_buffer_by_name(key, name) for name in inputs}
        gives = {name: model.create_output_buffer_by_name(key, name) for name in outputs}
        methods[_size(axes, {name: ports[key][name]["shape"] for name in parts})] = (key, takes, gives)

    def call(arrays: Any, start: int, size: int) -> dict[str, Any]:
        key, takes, gives = methods[size]
        for name in parts:
            takes[name].write(_part(arrays[name], axes[name], start, start + size))
        takes[place].write(np.full((1, 1), size - 1, arrays[place].dtype))
        model.run_by_name(key, takes | state, gives | after)
        details = {name: ports[key][name] for name in outputs}
        return {name: gives[name].read(math.prod(d["shape"]), d["dtype"]).reshape(d["shape"]) for name, d in details.items()}

    def run(arrays: Any) -> Any:
        total, asked = _size(axes, {name: arrays[name].shape for name in parts}), arrays[place].ravel().tolist()
        found, begin = dict[int, Any](), 0
        # A call tells of its last place, so that a piece ends at each that is asked for.
        for end in sorted({*(int(one) + 1 for one in asked), total}):
            for start, size in _pieces(end - begin, sorted(methods)):
                found[end - 1] = call(arrays, begin + start, size)
            begin = end
        return {name: np.concatenate([found[one][name] for one in asked], axis=1) for name in outputs}

    return run


def _axis(shapes: Sequence[Sequence[int]]) -> int | None:
    """The axis along which the shapes of one tensor differ between methods; None where they are equal."""
    return next((axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1), None)


def _size(axes: dict[str, int | None], shapes: dict[str, Any]) -> int:
    """The size that varies, of inputs with the given shapes; 1 where none does."""
    return next((shape[axis] for name, shape in shapes.items() if (axis := axes[name]) is not None), 1)


def _part(array: Any, axis: int | None, start: int, stop: int) -> Any:
    return array if axis is None else array[(*[slice(None)] * axis, slice(start, stop))]


def _pieces(total: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and size of pieces of the given `sizes`, in ascending order, that cover `total`, the largest first.

    The last one may begin inside the one before it: what is computed again is kept again at the same place.
    """
    start = 0
    for size in _cover(total, [size for size in sizes if size <= total]):
        start = min(start, total - size)
        yield start, size
        start += size


def _cover(rest: int, sizes: list[int]) -> list[int]:
    """The pieces that cover `rest` in the least time; the last may be larger than what it is for."""
    *smaller, largest = sizes
    count, rest = divmod(rest, largest)
    ways = [[largest], *([_cover(rest, smaller)] if smaller else [])] if rest else [[]]
    return [largest] * count + min(ways, key=lambda way: sum(way) + _CALL * len(way))
