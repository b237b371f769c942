"""LiteRT on the CPU. On boards without it, tflite-runtime, its older name, is taken."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

NAME, PACKAGE = "litert", "ai-edge-litert"
_PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


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
